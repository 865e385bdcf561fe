//! Reading a log that is open: what is committed, from a position on.

use std::path::{Path, PathBuf};

use super::error::Result;
use crate::error::Error;
use crate::formats::native::encode::Entry;
use crate::formats::native::layout::Lsn;
use crate::formats::native::payload::{Checkpoint, MORE, RecordKind, SetLen, Write};
use crate::formats::native::{Native, kind_and_flags};
use crate::log::Log;
use crate::scan::Scan;
use crate::span::{Kind, Span};
use crate::vfs::Disk;

/// The committed part of a log, from a position on. See [`Wal::committed`](super::Wal::committed).
pub struct Committed {
    path: PathBuf,
    /// `None` where nothing is committed.
    log: Option<Log>,
    from: Lsn,
    end: Lsn,
}

/// An entry of a committed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Where it begins in the log. Not for [`Wal::checkpoint`](super::Wal::checkpoint), which takes the end of a transaction: [`Committed::end`].
    pub lsn: Lsn,
    /// The number of its transaction, from 1; entries of one transaction follow one another.
    pub transaction: u64,
    /// What was logged. A long write comes in several parts, each at its own offset.
    pub entry: Entry<'a>,
}

/// Gives entries one by one. See [`Committed::entries`].
pub struct Entries<'c> {
    path: &'c Path,
    scan: Option<Scan<'c>>,
    from: Lsn,
    end: Lsn,
    payload: Vec<u8>,
}

impl Committed {
    pub(super) fn new(disk: &Disk, path: &Path, from: Lsn, end: Lsn) -> Result<Self> {
        let log =
            if from < end { Some(Log::open_on(disk, path, Some(&Native))?.since(from.segment().into())) } else { None };
        let oldest = log.as_ref().and_then(|log| log.segments().first()?.number);
        if let Some(oldest) = oldest.filter(|&oldest| oldest > from.segment().into()) {
            let why = format!("what stood at {from} was removed by a checkpoint: the log begins with segment {oldest}");
            return Err(Error::refused(path, why).into());
        }
        Ok(Self { path: path.into(), log, from, end })
    }

    /// Directly after the last commit that is read here: where the next reading may go on, and what [`Wal::checkpoint`](super::Wal::checkpoint) takes
    /// once all entries are applied.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// The log from the segment on in which the reading begins; `None` where nothing is committed.
    pub(super) fn into_log(self) -> Option<Log> {
        self.log
    }

    /// The entries, in their order.
    pub fn entries(&self) -> Entries<'_> {
        let scan = self.log.as_ref().map(Scan::new);
        Entries { path: &self.path, scan, from: self.from, end: self.end, payload: Vec::new() }
    }
}

impl Entries<'_> {
    /// The next entry, or `None` behind the last.
    ///
    /// # Errors
    /// [`Error::Refused`] where the log has been damaged since it was opened, [`Error::Read`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend bytes from its own buffer")]
    pub fn next(&mut self) -> Result<Option<Logged<'_>>> {
        self.payload.clear();
        let Some((kind, lsn, transaction)) = self.fetch()? else { return Ok(None) };
        let payload = &self.payload[..];
        let entry = match kind {
            RecordKind::Write => Write::parse(payload).map(|Write { offset, bytes }| Entry::Write { offset, bytes }),
            RecordKind::SetLen => SetLen::parse(payload).map(|SetLen { len }| Entry::SetLen(len)),
            RecordKind::Checkpoint => Checkpoint::parse(payload)
                .map(|Checkpoint { redo_lsn, target_len, state }| Entry::Checkpoint { redo_lsn, target_len, state }),
            RecordKind::Data => Some(Entry::Data(payload)),
            RecordKind::Commit | RecordKind::Seal | RecordKind::Pad => None,
        };
        let entry = entry.expect("the scan yields no record whose payload its kind does not have");
        Ok(Some(Logged { lsn, transaction, entry }))
    }

    /// Brings the payload of the next entry, the fragments of DATA joined, into the buffer.
    fn fetch(&mut self) -> Result<Option<(RecordKind, Lsn, u64)>> {
        let Some(scan) = &mut self.scan else { return Ok(None) };
        let log = scan.log();
        let mut begun = None;
        while let Some(found) = scan.next()? {
            if place(log, &found.span) >= self.end {
                // What a crash left there is no part of the log.
                break;
            }
            let Some(record) = found.record else {
                if let Kind::Damage(fault) | Kind::Torn(fault) = found.span.kind {
                    let why = format!("damaged at offset {} since it was opened: {fault}", found.span.offset);
                    return Err(Error::refused(self.path, why).into());
                }
                continue;
            };
            let lsn = Lsn(record.meta.lsn);
            let Some((kind, flags)) = kind_and_flags(&record) else { continue };
            if lsn < self.from || matches!(kind, RecordKind::Commit | RecordKind::Seal | RecordKind::Pad) {
                continue;
            }
            self.payload.extend_from_slice(record.payload);
            let first = *begun.get_or_insert(lsn);
            if kind != RecordKind::Data || flags & MORE == 0 {
                return Ok(Some((kind, first, record.meta.transaction)));
            }
        }
        Ok(None)
    }
}

/// Where a span begins. The files of a log that is open have numbers.
fn place(log: &Log, span: &Span) -> Lsn {
    let number = log.segments()[span.segment as usize].number.unwrap_or_default();
    Lsn(number << 32 | span.offset)
}
