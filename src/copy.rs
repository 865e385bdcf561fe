//! A copy of a log that may be written at full speed meanwhile: all whole transactions that stood in it when the copy began, and nothing that is
//! not committed.
//!
//! What is read of a file while it is written need not be a state that the file ever had, so it is not the log that is judged but the
//! copy. Segments are copied from the lowest on, each up to the length that it has when it is opened. Then there are four cases:
//!
//! 1. What stands behind the last whole transaction of the copy was in flight, or never finished: it is cut off.
//! 2. The copy ends with a seal, and the log has gone on in a segment that was not yet there when the directory was listed: the seal is cut off.
//! 3. A file was begun anew, was removed by a checkpoint, or was read in an order in which nobody wrote it: the copy is begun again.
//! 4. The same damage is found twice in a row: it stands in the log.

use std::io;
use std::path::Path;

use crate::durable::{self, Temp};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::log::{self, Log};
use crate::plan::Plan;
use crate::repair;
use crate::report::Report;
use crate::rights::Origin;
use crate::span::{Gap, Kind, Span};
use crate::verdict::Verdict;
use crate::vfs::Disk;

/// How often a copy is begun of a log that changes meanwhile.
const TRIES_MAX: u32 = 64;
/// The first bytes of a segment, by which it is known whether its file was begun anew: the shortest header of any format.
const HEAD_LEN: usize = 32;

/// A log that was copied.
pub struct Copied {
    /// The bytes as they were read, with what was then cut off.
    pub read: Report,
    /// The copy.
    pub report: Report,
    /// How often it was begun.
    pub tries: u32,
}

impl Copied {
    /// Bytes behind the last whole transaction that are not in the copy, but for those that were never written.
    pub fn bytes_left_out(&self) -> u64 {
        let written = |report: &Report| report.bytes.saturating_sub(report.unwritten_bytes);
        written(&self.read).saturating_sub(written(&self.report))
    }

    /// Intact records among them.
    pub fn records_left_out(&self) -> u64 {
        let Report { prefix, beyond, .. } = &self.read;
        (prefix.records + beyond.records).saturating_sub(self.report.prefix.records)
    }
}

/// What came of one try.
enum Try {
    /// What was read, and what the copy is.
    Done(Box<(Report, Report)>),
    Damaged(Box<Report>),
    Changed,
}

/// Copies the log at `path` as `new`, a file for a file and a directory for a directory. Nobody has more rights to `new` than to the log. No lock
/// is taken. `format` overrides detection. `progress` hears how many bytes have been copied and read back, up to twice the length of the log. When it
/// returns, all of `new` is on the disk and verified; before that nothing has that name.
///
/// # Errors
/// [`Error::Refused`] where `new` exists; where the log is damaged or incomplete, or holds nothing; and where it changes too fast.
/// As [`Log::open`]; [`Error::Write`].
pub fn copy(
    disk: &Disk,
    path: &Path,
    format: Option<&'static dyn Format>,
    new: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied> {
    let mut before: Option<Span> = None;
    for tries in 1..=TRIES_MAX {
        before = match attempt(disk, path, format, new, progress) {
            Ok(Try::Done(reports)) => {
                let (read, report) = *reports;
                return Ok(Copied { read, report, tries });
            }
            Ok(Try::Damaged(report)) => {
                let first = report.first_fault().copied();
                if first.is_some() && first == before {
                    return Err(Error::refused(path, why_damaged(path, new, &report)));
                }
                first
            }
            Ok(Try::Changed) => None,
            Err(error) if is_segment_gone(&error, path) && tries < TRIES_MAX => None,
            Err(error) => return Err(error),
        };
    }
    let why = format!("it changed during each of {TRIES_MAX} tries to copy it; try again when less is written to it");
    Err(Error::refused(path, why))
}

/// A checkpoint has removed a segment since the directory was listed.
fn is_segment_gone(error: &Error, log: &Path) -> bool {
    matches!(error, Error::Read { path, cause, .. } if path != log && cause.kind() == io::ErrorKind::NotFound)
}

fn attempt(
    disk: &Disk,
    path: &Path,
    format: Option<&'static dyn Format>,
    new: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Try> {
    let log = Log::open_on(disk, path, format)?;
    permits(&log, new)?;
    let (temp, bytes) = draft(&log, new, progress)?;
    let draft = Log::open_on(disk, temp.path(), Some(log.format()))?;
    if is_begun_anew(&log, &draft)? {
        return Ok(Try::Changed);
    }
    let read = Report::of(&draft, |offset| progress(bytes + offset));
    let read = read.map_err(|error| of_the_log(error, &log, &draft))?;
    if !is_sound(&log, &read)? {
        return Ok(Try::Damaged(read.into()));
    }
    let plan = Plan::of_committed(&draft, &read)?;
    if plan.removes_all_of(&draft) {
        return Err(Error::refused(path, "no whole transaction is in it, so there is nothing to copy"));
    }
    for edit in &plan.edits {
        repair::make(&draft, edit)?;
    }
    let draft = Log::open_on(disk, temp.path(), Some(log.format()))?;
    let report = if plan.edits.is_empty() { read.clone() } else { Report::of(&draft, |_| ())? };
    if report.verdict() != Verdict::Clean {
        return Ok(Try::Damaged(report.into()));
    }
    temp.place_new()?;
    Ok(Try::Done((read, report).into()))
}

/// What is said of the draft, whose name nobody knows, is true of the log.
fn of_the_log(error: Error, log: &Log, draft: &Log) -> Error {
    let Error::TooNew { path, offset, what, value } = error else { return error };
    let index = (0..log.segments().len() as u32).find(|index| draft.segment_path(*index) == path);
    let path = index.map_or(path, |index| log.segment_path(index).into());
    Error::TooNew { path, offset, what, value }
}

fn permits(log: &Log, new: &Path) -> Result<()> {
    durable::may_create(log.disk(), new, Some(log))?;
    let number = log.format().segment_number(log::name_of(new));
    if !log.is_folder() && number.is_some_and(|number| log.segments()[0].number.is_some_and(|own| own != number)) {
        return Err(Error::refused(
            new,
            "it would be taken for another segment of the log; give it the segment's own name",
        ));
    }
    Ok(())
}

/// The bytes of the log as they can be read now, not durable, and how many they are.
fn draft(log: &Log, new: &Path, progress: &mut dyn FnMut(u64)) -> Result<(Temp, u64)> {
    let disk = &**log.disk();
    let folder = log.is_folder();
    let mut temp = match folder {
        true => Temp::folder(log.disk(), new, Origin::another_at(disk, log.path())?)?,
        false => Temp::file(log.disk(), new, Origin::another_at(disk, log.segment_path(0))?)?,
    };
    let mut bytes = 0;
    for (index, segment) in (0..).zip(log.segments()) {
        let from = log.segment_path(index);
        let (source, len) = log::open_regular(disk, from)?;
        let mut progress = |copied| progress(bytes + copied);
        let copied = if folder {
            let to = temp.path().join(&segment.name);
            let file = temp.create(segment.name.as_ref(), Origin::another(&*source, from)?)?;
            durable::copy_prefix(&*source, from, len, &*file, &to, &mut progress)
        } else {
            durable::copy_prefix(&*source, from, len, temp.handle(), temp.path(), &mut progress)
        };
        match copied {
            // A writer that ends a segment gives back the room that it had taken ahead. Whatever else it was, the copy shows.
            Ok(()) | Err(Error::Changed { .. }) => bytes += len,
            Err(error) => return Err(error),
        }
    }
    Ok((temp, bytes))
}

/// A file of the log has other first bytes than those that were copied of it: its writer has begun it anew, and what was copied may be of
/// both. Files that are gone were whole before that.
fn is_begun_anew(log: &Log, draft: &Log) -> Result<bool> {
    for index in 0..log.segments().len() as u32 {
        match log.head(index, HEAD_LEN) {
            Ok(head) if head != draft.head(index, HEAD_LEN)? => return Ok(true),
            Err(Error::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            other => drop(other?),
        }
    }
    Ok(false)
}

/// Nothing is wrong with what was read that cutting it behind its last whole transaction does not put right.
fn is_sound(log: &Log, read: &Report) -> Result<bool> {
    match (read.verdict(), read.faults.as_slice()) {
        (Verdict::Clean | Verdict::TornTail, _) => Ok(true),
        (Verdict::Incomplete, [Span { kind: Kind::Gap(Gap::NoSuccessor { number }), .. }]) => {
            let now = Log::open_on(log.disk(), log.path(), Some(log.format()))?;
            Ok(now.segments().iter().any(|segment| segment.number >= Some(*number)))
        }
        (Verdict::Incomplete | Verdict::Corrupt, _) => Ok(false),
    }
}

fn why_damaged(path: &Path, new: &Path, report: &Report) -> String {
    let proof = report.proof().map(|proof| format!(": {proof}")).unwrap_or_default();
    let (path, new) = (crate::quoted(path), crate::quoted(new));
    format!(
        "the log is {}{proof}\
         \n  to keep it as it is, as evidence:  cp -a {path} {new}\
         \n  to keep all whole transactions:    waltool repair --salvage --output {new} {path}",
        report.verdict()
    )
}
