//! The way back: bytes that a repair kept return to the log.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::lock;
use crate::durable::{self, CHUNK, Temp};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::formats;
use crate::log::{Log, is_folder, open_regular};
use crate::quarantine::{self, Kept, Taken};
use crate::rights::Origin;
use crate::sparse::{self, Part};
use crate::vfs::{self, Access, Disk, Vfs, VfsFile};

/// What [`undo`] did.
pub struct Undone {
    /// Quarantine files whose bytes are back; they are removed.
    pub back: Vec<Kept>,
    /// Quarantine files that no longer fit the log; they stay.
    pub left: Vec<Kept>,
    /// Bytes that were put back.
    pub bytes: u64,
}

/// Puts back what repairs took out of the log at `path` on `disk`, the latest cut first. When it returns, the bytes are durable,
/// and only then are the quarantine files removed. An interrupted run is finished by the next. There must be room for a second copy
/// of the longest segment that is changed.
///
/// # Errors
/// [`Error::Refused`] where there is nothing to put back, where a quarantine file is damaged, and where the log was
/// written to since.
pub fn undo(
    disk: &Disk,
    path: &Path,
    format: Option<&'static dyn Format>,
    quarantine: Option<&Path>,
) -> Result<Undone> {
    let log = Log::open_on(disk, path, format).ok();
    let lock = log.as_ref().map(lock).transpose()?;
    let in_folder = is_folder(&**disk, path);
    let folder = if in_folder { path } else { durable::folder_of(path) };
    let ours = |name: &OsStr| match &log {
        _ if !in_folder => Some(name) == path.file_name(),
        Some(log) => log.format().segment_number(name).is_some(),
        // All of it was taken away; what was a segment can be told by its name only.
        None => formats::FORMATS.iter().any(|format| format.segment_number(name).is_some()),
    };
    let mut left = quarantine::find(&**disk, quarantine.unwrap_or(folder), &ours)?;
    if left.is_empty() {
        return Err(Error::refused(
            path,
            "no quarantine file of this log is here; --quarantine-dir names another folder",
        ));
    }
    for kept in &left {
        kept.open(&**disk)?;
    }
    let mut undone = Undone { back: Vec::new(), left: Vec::new(), bytes: 0 };
    while let Some(at) = next_fitting(&**disk, folder, &left)? {
        let kept = left.remove(at);
        lock.as_ref().map_or(Ok(()), |lock| lock.check(&**disk))?;
        undone.bytes += put_back(disk, &folder.join(&kept.segment), &kept)?;
        undone.back.push(kept);
    }
    if undone.back.is_empty() {
        return Err(Error::refused(path, "the log was written to since it was cut; what was kept no longer fits"));
    }
    undone.left = left;
    Ok(undone)
}

/// The first of `kept` whose bytes belong right where their segment ends now, or where one byte differs by one bit; of several that belong
/// there, the one that has all.
fn next_fitting(disk: &dyn Vfs, folder: &Path, kept: &[Kept]) -> Result<Option<usize>> {
    let mut fitting = Vec::new();
    for (at, one) in kept.iter().enumerate() {
        let segment = folder.join(&one.segment);
        if fits(disk, &segment, one)? {
            fitting.push(at);
        }
    }
    let Some(&first) = fitting.first() else { return Ok(None) };
    let place = |at: usize| (&kept[at].segment, kept[at].taken, kept[at].offset);
    fitting.retain(|&at| place(at) == place(first));
    for &at in &fitting {
        let mut all = true;
        for &other in &fitting {
            all &= other == at || is_rest_of(disk, &kept[other], &kept[at])?;
        }
        if all {
            return Ok(Some(at));
        }
    }
    let why = format!("{} fits the same place; move one of the two away", crate::shown(&kept[fitting[1]].path));
    Err(Error::refused(&kept[first].path, why))
}

/// `rest` is what an interrupted cut left of the bytes in `kept`, and the run that finished it kept again.
fn is_rest_of(disk: &dyn Vfs, rest: &Kept, kept: &Kept) -> Result<bool> {
    let ((some, len), (all, size)) = (rest.open(disk)?, kept.open(disk)?);
    let begun = || begun(&*some, &*all, 0, len).map_err(|source| Error::read(&rest.path, source));
    Ok(kept.taken == Taken::Cut && len <= size && begun()?)
}

fn fits(disk: &dyn Vfs, segment: &Path, kept: &Kept) -> Result<bool> {
    let failed = |source| Error::read(segment, source);
    let file = match disk.open(segment, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(kept.taken == Taken::Cut && kept.offset == 0);
        }
        other => other.map_err(failed)?,
    };
    let len = file.stat().map_err(failed)?.len;
    // Its content was held against its name when the undo began, and is again before it is written.
    let (content, size) = open_regular(disk, &kept.path)?;
    match kept.taken {
        Taken::Cut if len < kept.offset || len > kept.offset + size => Ok(false),
        Taken::Cut => begun(&*file, &*content, kept.offset, len).map_err(failed),
        Taken::Byte => {
            let (mut is, mut was) = ([0], [0]);
            if len <= kept.offset || size != 1 {
                return Ok(false);
            }
            vfs::read_exact_at(&*file, &mut is, kept.offset).map_err(failed)?;
            vfs::read_exact_at(&*content, &mut was, 0).map_err(|source| Error::read(&kept.path, source))?;
            Ok((is[0] ^ was[0]).count_ones() <= 1)
        }
    }
}

/// What stands behind `offset` is what an interrupted run wrote: the kept bytes, or zeros that did not reach the disk.
fn begun(file: &dyn VfsFile, content: &dyn VfsFile, offset: u64, len: u64) -> io::Result<bool> {
    let (mut is, mut was) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = offset;
    while at < len {
        let n = (len - at).min(CHUNK as u64) as usize;
        vfs::read_exact_at(file, &mut is[..n], at)?;
        vfs::read_exact_at(content, &mut was[..n], at - offset)?;
        if is[..n].iter().zip(&was[..n]).any(|(is, was)| *is != 0 && is != was) {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
}

/// Puts the bytes back and makes that durable, then removes the quarantine file. Gives their number. The segment is replaced in one step: were
/// it written in place, a power cut could leave bytes that look like those of a writer.
fn put_back(disk: &Disk, segment: &Path, kept: &Kept) -> Result<u64> {
    let (content, size) = kept.open(&**disk)?;
    match disk.canonicalize(segment) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let temp = Temp::file(disk, segment, Origin::another(&*content, &kept.path)?)?;
            durable::copy_prefix(&*content, &kept.path, size, temp.handle(), temp.path(), &mut |_| ())?;
            temp.place_new()?;
        }
        file => {
            let file = file.map_err(|source| Error::read(segment, source))?;
            whole(disk, &file, &*content, kept)?.replace()?;
        }
    }
    durable::remove(&**disk, &kept.path)?;
    durable::sync_dir(&**disk, durable::folder_of(&kept.path))?;
    Ok(size)
}

/// The segment with what was taken out of it.
fn whole(disk: &Disk, segment: &Path, content: &dyn VfsFile, kept: &Kept) -> Result<Temp> {
    let (file, len) = open_regular(&**disk, segment)?;
    let temp = Temp::file(disk, segment, Origin::in_place_of(&*file, segment)?)?;
    let stays = match kept.taken {
        Taken::Cut => kept.offset,
        Taken::Byte => len,
    };
    durable::copy_prefix(&*file, segment, stays, temp.handle(), temp.path(), &mut |_| ())?;
    let end = sparse::read(content, &kept.path, 0, u64::MAX, |offset, part| match part {
        Part::Bytes(bytes) => durable::write_at(temp.handle(), temp.path(), bytes, kept.offset + offset),
        Part::Hole(_) => Ok(()),
    })?;
    // What a hole leaves out at the end is zeros again.
    durable::set_len(temp.handle(), temp.path(), stays.max(kept.offset + end))?;
    Ok(temp)
}
