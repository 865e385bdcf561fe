//! Carries a [`Plan`] out: the only code that changes a log found on a disk.
//!
//! In place: lock, look again, keep what goes, edit, sync, look again. Killed between any two system calls, the log is
//! as it was or as it becomes (or, where several segments go, on the way), and the same command finishes the work.

mod undo;

use std::io;
use std::path::Path;

pub use undo::{Undone, undo};

use crate::decode::HEAD_LEN;
use crate::durable::{self, Temp};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::locks::{self, Held};
use crate::log::Log;
use crate::plan::{Edit, Plan, Wish};
use crate::quarantine::{self, Kept, Taken};
use crate::report::Report;
use crate::rights::Origin;
use crate::vfs::{self, Disk, VfsFile};

/// What a repair did.
pub struct Done {
    /// The files that keep what was taken out.
    pub kept: Vec<Kept>,
    /// The log as it is now; `None` where nothing is left of it.
    pub after: Option<Report>,
}

/// Repairs `log` where it stands. What goes is kept in `quarantine`, or beside the log. When it returns, both are on the disk.
///
/// # Errors
/// [`Error::Refused`] while the log's program holds its lock, or when the log is no longer as it was when `plan` was made.
/// [`Error::Write`]: before the first edit nothing has changed.
pub fn in_place(log: &Log, wish: &Wish, plan: &Plan, quarantine: Option<&Path>) -> Result<Done> {
    let lock = lock(log)?;
    let log = look_again(log, wish, plan)?;
    permits(&log, plan, None)?;
    let mut kept = Vec::new();
    for edit in &plan.edits {
        let (segment, taken, offset) = match *edit {
            Edit::Truncate { segment, at, .. } => (segment, Taken::Cut, at),
            Edit::Remove { segment, .. } => (segment, Taken::Cut, 0),
            Edit::Patch { segment, offset, .. } => (segment, Taken::Byte, offset),
        };
        kept.push(quarantine::keep(log.disk(), log.segment_path(segment), taken, offset, quarantine)?);
    }
    for edit in &plan.edits {
        lock.check(&**log.disk())?;
        make(&log, edit)?;
    }
    Ok(Done { kept, after: report_after(log.disk(), log.path(), log.format())? })
}

/// Whether a plan may be carried out: in place, or as the new log `new`. Looks only.
///
/// # Errors
/// [`Error::Refused`] where a segment may not be changed, or where `new` exists or nothing of the log would be left for it;
/// [`Error::Read`].
pub fn permits(log: &Log, plan: &Plan, new: Option<&Path>) -> Result<()> {
    let Some(new) = new else { return if plan.edits.is_empty() { Ok(()) } else { may_change(log) } };
    durable::may_create(log.disk(), new, Some(log))?;
    if plan.removes_all_of(log) {
        return Err(Error::refused(log.path(), "nothing would be left of it, so there is nothing to write"));
    }
    Ok(())
}

fn may_change(log: &Log) -> Result<()> {
    for index in 0..log.segments().len() as u32 {
        if let Some(why) = log.format().read_only(&log.head(index, HEAD_LEN)?) {
            let why = format!("{why}; --output NEW writes a repaired copy");
            return Err(Error::refused(log.segment_path(index), why));
        }
    }
    Ok(())
}

fn lock(log: &Log) -> Result<Held> {
    locks::hold(&**log.disk(), &log.format().lock(log.segment_path(0)))
}

/// The same log, opened behind the lock, if it still asks for the same plan.
fn look_again(log: &Log, wish: &Wish, plan: &Plan) -> Result<Log> {
    let now = Log::open_on(log.disk(), log.path(), Some(log.format()))?;
    let report = Report::of(&now, |_| ())?;
    if Plan::of(&now, &report, wish)? != *plan {
        return Err(Error::refused(log.path(), "the log has changed since the plan was made; run the command again"));
    }
    Ok(now)
}

/// Makes one edit. When it returns, that is on the disk.
pub(crate) fn make(log: &Log, edit: &Edit) -> Result<()> {
    let disk = &**log.disk();
    match *edit {
        Edit::Truncate { segment, at, .. } => {
            let path = log.segment_path(segment);
            let file = durable::open_for_change(disk, path)?;
            durable::set_len(&*file, path, at)?;
            durable::sync(&*file, path)
        }
        Edit::Remove { segment, .. } => {
            let path = log.segment_path(segment);
            durable::remove(disk, path)?;
            durable::sync_dir(disk, durable::folder_of(path))
        }
        Edit::Patch { segment, offset, bit } => {
            let path = log.segment_path(segment);
            let file = durable::open_for_change(disk, path)?;
            flip(&*file, path, offset, bit)?;
            durable::sync(&*file, path)
        }
    }
}

fn flip(file: &dyn VfsFile, path: &Path, offset: u64, bit: u8) -> Result<()> {
    let mut byte = [0];
    vfs::read_exact_at(file, &mut byte, offset).map_err(|source| Error::read(path, source))?;
    durable::write_at(file, path, &[byte[0] ^ 1 << bit], offset)
}

fn report_after(disk: &Disk, path: &Path, format: &'static dyn Format) -> Result<Option<Report>> {
    match Log::open_on(disk, path, Some(format)) {
        Ok(log) => Report::of(&log, |_| ()).map(Some),
        Err(Error::Unknown { .. }) => Ok(None),
        Err(Error::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the repaired log as `new`, a file for a file and a directory for a directory, and leaves `log` as it is. Nobody has more rights to
/// `new` than to `log`. When it returns, all of `new` is on the disk; before that nothing has that name.
///
/// # Errors
/// As [`permits`]; [`Error::Write`].
pub fn to_copy(log: &Log, plan: &Plan, new: &Path) -> Result<Done> {
    permits(log, plan, Some(new))?;
    let temp = if log.is_folder() {
        let mut temp = Temp::folder(log.disk(), new, Origin::another_at(&**log.disk(), log.path())?)?;
        for (index, segment) in (0..).zip(log.segments()) {
            if plan.edits.iter().any(|edit| matches!(edit, Edit::Remove { segment, .. } if *segment == index)) {
                continue;
            }
            let origin = Origin::another_at(&**log.disk(), log.segment_path(index))?;
            let file = temp.create(segment.name.as_ref(), origin)?;
            write_segment(log, plan, index, &*file, &temp.path().join(&segment.name))?;
        }
        temp
    } else {
        let temp = Temp::file(log.disk(), new, Origin::another_at(&**log.disk(), log.segment_path(0))?)?;
        write_segment(log, plan, 0, temp.handle(), temp.path())?;
        temp
    };
    temp.place_new()?;
    Ok(Done { kept: Vec::new(), after: report_after(log.disk(), new, log.format())? })
}

fn write_segment(log: &Log, plan: &Plan, index: u32, to: &dyn VfsFile, to_path: &Path) -> Result<()> {
    let from = log.segment_path(index);
    let (source, mut len) = crate::log::open_regular(&**log.disk(), from)?;
    for edit in &plan.edits {
        if let Edit::Truncate { segment, at, .. } = *edit
            && segment == index
        {
            len = at;
        }
    }
    durable::copy_prefix(&*source, from, len, to, to_path, &mut |_| ())?;
    for edit in &plan.edits {
        if let Edit::Patch { segment, offset, bit } = *edit
            && segment == index
        {
            flip(to, to_path, offset, bit)?;
        }
    }
    Ok(())
}
