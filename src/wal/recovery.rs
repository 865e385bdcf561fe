//! Opening a log after whatever happened to it. Idempotent, and nothing that is there is changed: the log goes on in a new segment, whose header
//! says where the one before ends (`prev_end`). That header is the single commit point of a recovery.
//!
//! F is the highest promise in the last segment, V the end of its last whole transaction before the first gap. All segments before must be
//! valid up to where their successor says they end. V < F, or any error before, is damage that no crash explains: refused.

use std::path::Path;

use super::error::{Result, WalError};
use crate::decode::HEAD_LEN;
use crate::durable;
use crate::error::Error;
use crate::format::Format;
use crate::formats::native::layout::{Lsn, RECORDS_START, SegmentHeader, VERSION};
use crate::formats::native::payload::{Checkpoint, RecordKind};
use crate::formats::native::{Native, kind_and_flags};
use crate::log::{self, Log};
use crate::report::Report;
use crate::scan::Scan;
use crate::span::Kind;
use crate::verdict::Verdict;
use crate::vfs::Disk;

/// What opening a log found.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The whole log as it was found; `None` for a new one.
    pub report: Option<Report>,
    /// V: where the log ends, directly after its last complete transaction. Where it begins, for a new one.
    pub end: Lsn,
    /// F: everything below this was on the disk, as the log itself says.
    pub promised: Lsn,
    /// Bytes behind the end that are not counted to the log: what never was a whole transaction, or stands behind a hole.
    pub residue: u64,
    /// Commits that nobody can prove acknowledged or not. Those before `end` are kept.
    pub undecided: u64,
}

/// What a log goes on from.
pub(super) struct Found {
    pub(super) recovery: Recovery,
    /// The header of the next segment, but for its nonce and time.
    pub(super) next: SegmentHeader,
    /// LSN and time of the last commit.
    pub(super) last: Lsn,
    pub(super) time_ns: u64,
}

/// Reads the log in the directory `path` and sees to it that what it gives is on the disk.
pub(super) fn recover(disk: &Disk, path: &Path, target_id: Option<[u8; 16]>) -> Result<Found> {
    let names = disk.list(path).map_err(|source| Error::read(path, source))?;
    let last = names.iter().filter_map(|name| Some((Native.segment_number(name)?, name))).max();
    let Some((_, last)) = last else { return new_log(disk, path, target_id) };
    settle(disk, path, &path.join(last))?;
    let log = Log::open_on(disk, path, Some(&Native))?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let report = Report::by_threads(&log, threads, |_| ())?;
    match report.verdict() {
        Verdict::Clean | Verdict::TornTail => {}
        Verdict::Corrupt | Verdict::Incomplete => {
            return Err(WalError::Damaged { path: path.into(), report: Box::new(report) });
        }
    }
    let index = log.segments().len() as u32 - 1;
    let head = log.head(index, HEAD_LEN)?;
    if let Some(why) = Native.read_only(&head) {
        return Err(Error::refused(log.segment_path(index), why).into());
    }
    let Some(header) = SegmentHeader::from_either(&head) else {
        // Both copies were synced before the file got its name, so the report has said so.
        return Err(WalError::Damaged { path: path.into(), report: Box::new(report) });
    };
    if target_id.is_some_and(|id| id != header.target_id) {
        return Err(Error::refused(path, "the log is about another target").into());
    }
    let tail = Tail::of(disk, log.segment_path(index), &header, &report)?;
    Ok(tail.go_on(&header, report))
}

/// Has the disk take what memory still holds of the last segment, and reads it from there: after a failed sync memory may hold what the
/// disk has not, and call it clean.
fn settle(disk: &Disk, path: &Path, last: &Path) -> Result<()> {
    let (file, _) = log::open_regular(&**disk, last)?;
    durable::sync(&*file, last)?;
    durable::sync_dir(&**disk, path)?;
    file.drop_clean();
    Ok(())
}

fn new_log(disk: &Disk, path: &Path, target_id: Option<[u8; 16]>) -> Result<Found> {
    durable::sync_dir(&**disk, durable::folder_of(path))?;
    let mut log_id = [0; 16];
    disk.random(&mut log_id).map_err(|source| Error::read(path, source))?;
    let next = SegmentHeader {
        version: VERSION,
        incompatible: 0,
        compatible: 0,
        number: 1,
        log_id,
        nonce: 0,
        prev_nonce: 0,
        prev_end: 0,
        first_transaction: 1,
        redo_lsn: Lsn::new(1, RECORDS_START as u32),
        created_ns: 0,
        target_id: target_id.unwrap_or_default(),
    };
    let recovery = Recovery { report: None, end: next.redo_lsn, promised: Lsn(0), residue: 0, undecided: 0 };
    Ok(Found { recovery, next, last: Lsn(0), time_ns: 0 })
}

/// What the last segment says, up to its end.
struct Tail {
    end: u32,
    promised: u32,
    residue: u64,
    last: Lsn,
    time_ns: u64,
    redo_lsn: Lsn,
    next_transaction: u64,
}

impl Tail {
    fn of(disk: &Disk, path: &Path, header: &SegmentHeader, report: &Report) -> Result<Self> {
        let place = report.prefix.committed_end;
        let here = place.segment + 1 == report.segments as u32;
        // Offsets in a segment fit 32 bits.
        let end = if here { place.offset as u32 } else { RECORDS_START as u32 };
        let mut tail = Self {
            end,
            promised: RECORDS_START as u32,
            residue: 0,
            last: Lsn(report.prefix.committed.unwrap_or(0)),
            time_ns: report.prefix.committed_time.unwrap_or(0).max(header.created_ns),
            redo_lsn: header.redo_lsn,
            next_transaction: header.first_transaction,
        };
        let log = Log::open_on(disk, path, Some(&Native))?;
        let mut scan = Scan::new(&log);
        let mut redo_lsn = None;
        while let Some(found) = scan.next()? {
            let behind = found.span.end().saturating_sub(end.into()).min(found.span.len);
            tail.residue += if found.span.kind == Kind::Unwritten { 0 } else { behind };
            tail.promised = tail.promised.max(found.durable as u32);
            let Some(record) = &found.record else { continue };
            tail.promised = tail.promised.max(record.meta.durable as u32);
            if found.span.end() > end.into() {
                continue;
            }
            if let Some((RecordKind::Checkpoint, _)) = kind_and_flags(record) {
                redo_lsn = Checkpoint::parse(record.payload).map(|checkpoint| checkpoint.redo_lsn);
            }
            if record.meta.commit.is_some() {
                tail.next_transaction = record.meta.transaction.saturating_add(1);
                tail.redo_lsn = redo_lsn.take().unwrap_or(tail.redo_lsn);
            }
        }
        Ok(tail)
    }

    fn go_on(self, header: &SegmentHeader, report: Report) -> Found {
        let at = |offset| Lsn::new(header.number, offset);
        let recovery = Recovery {
            end: at(self.end),
            promised: at(self.promised),
            residue: self.residue,
            undecided: report.undecided,
            report: Some(report),
        };
        let next = SegmentHeader {
            version: VERSION,
            number: header.number.saturating_add(1),
            nonce: 0,
            prev_nonce: header.nonce,
            prev_end: self.end,
            first_transaction: self.next_transaction,
            redo_lsn: self.redo_lsn,
            ..header.clone()
        };
        Found { recovery, next, last: self.last, time_ns: self.time_ns }
    }
}
