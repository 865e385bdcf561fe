//! Reading a log that is open: what is committed, from a position on.

use std::path::{Path, PathBuf};

use super::error::{Result, WalError};
use crate::error::Error;
use crate::formats::native::encode::Entry;
use crate::formats::native::layout::Lsn;
use crate::formats::native::payload::{CONT, Checkpoint, DATA_MAX, MORE, RecordKind, SetLen, Write};
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
///
/// A record belongs to the log only when a commit claims it, and the commit comes after it. So one scan goes ahead, from commit to commit,
/// and a second one gives the records that each of them claims: a transaction may be longer than memory.
pub struct Entries<'c> {
    path: &'c Path,
    ahead: Option<Scan<'c>>,
    scan: Option<Scan<'c>>,
    claim: Option<Claim>,
    from: Lsn,
    end: Lsn,
    payload: Vec<u8>,
}

/// The records of one transaction.
#[derive(Clone, Copy)]
struct Claim {
    first: Lsn,
    commit: Lsn,
    transaction: u64,
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
        let scan = || self.log.as_ref().map(Scan::new);
        Entries {
            path: &self.path,
            ahead: scan(),
            scan: scan(),
            claim: None,
            from: self.from,
            end: self.end,
            payload: Vec::new(),
        }
    }
}

impl Entries<'_> {
    /// The next entry, or `None` behind the last. After an error there is none.
    ///
    /// # Errors
    /// [`Error::Refused`] where the log has been damaged since it was opened, or is not as the format wants it; [`Error::Read`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend bytes from its own buffer")]
    pub fn next(&mut self) -> Result<Option<Logged<'_>>> {
        self.payload.clear();
        let fetched = self.fetch();
        let Some((kind, lsn, transaction)) = fetched.inspect_err(|_| (self.ahead, self.scan) = (None, None))? else {
            return Ok(None);
        };
        let payload = &self.payload[..];
        let entry = match kind {
            RecordKind::Write => Write::parse(payload).map(|Write { offset, bytes }| Entry::Write { offset, bytes }),
            RecordKind::SetLen => SetLen::parse(payload).map(|SetLen { len }| Entry::SetLen(len)),
            RecordKind::Checkpoint => Checkpoint::parse(payload)
                .map(|Checkpoint { redo_lsn, target_len, state }| Entry::Checkpoint { redo_lsn, target_len, state }),
            RecordKind::Data => Some(Entry::Data(payload)),
            RecordKind::Commit | RecordKind::Seal | RecordKind::Pad => None,
        };
        match entry {
            Some(entry) => Ok(Some(Logged { lsn, transaction, entry })),
            None => Err(no_entry(self.path, lsn)),
        }
    }

    /// Brings the payload of the next entry, the fragments of DATA joined, into the buffer.
    fn fetch(&mut self) -> Result<Option<(RecordKind, Lsn, u64)>> {
        let Self { path, ahead: Some(ahead), scan: Some(scan), claim, from, end, payload } = self else {
            return Ok(None);
        };
        let log = scan.log();
        let mut begun = None;
        loop {
            let Some(here) = *claim else {
                *claim = next_claim(path, ahead, *end)?;
                if claim.is_some() { continue } else { return Ok(None) }
            };
            let Some(found) = scan.next()? else { return Err(no_entry(path, here.commit)) };
            if !is_part(path, log, &found.span, *end)? {
                return Err(no_entry(path, here.commit));
            }
            let Some(record) = found.record else { continue };
            let (lsn, Some((kind, flags))) = (Lsn(record.meta.lsn), kind_and_flags(&record)) else { continue };
            if lsn < here.first.max(*from).min(here.commit) {
                continue;
            }
            let continues = kind == RecordKind::Data && flags & CONT != 0;
            if continues != begun.is_some() || payload.len() + record.payload.len() > DATA_MAX {
                return Err(no_entry(path, begun.unwrap_or(lsn)));
            }
            if lsn >= here.commit {
                *claim = None;
                continue;
            }
            payload.extend_from_slice(record.payload);
            let first = *begun.get_or_insert(lsn);
            if kind != RecordKind::Data || flags & MORE == 0 {
                return Ok(Some((kind, first, here.transaction)));
            }
        }
    }
}

/// The records that the next commit claims; `None` behind the last.
fn next_claim(path: &Path, scan: &mut Scan<'_>, end: Lsn) -> Result<Option<Claim>> {
    let log = scan.log();
    while let Some(found) = scan.next()? {
        if !is_part(path, log, &found.span, end)? {
            break;
        }
        let Some(record) = found.record else { continue };
        if let Some(commit) = record.meta.commit {
            let lsn = Lsn(record.meta.lsn);
            let first = commit.first.map_or(lsn, |first| Lsn::new(lsn.segment(), first as u32));
            return Ok(Some(Claim { first, commit: lsn, transaction: record.meta.transaction }));
        }
    }
    Ok(None)
}

/// Whether a span stands before the end of the log. What a crash left behind that is no part of it.
fn is_part(path: &Path, log: &Log, span: &Span, end: Lsn) -> Result<bool> {
    if place(log, span) >= end {
        return Ok(false);
    }
    let why = match span.kind {
        Kind::Damage(fault) | Kind::Torn(fault) => fault.to_string(),
        Kind::Gap(gap) => gap.to_string(),
        _ => return Ok(true),
    };
    let file = crate::shown(log.segment_path(span.segment));
    let why = format!("{file} is damaged at offset {} since the log was opened: {why}", span.offset);
    Err(Error::refused(path, why).into())
}

fn no_entry(path: &Path, lsn: Lsn) -> WalError {
    let see = crate::quoted(path);
    let why = format!(
        "the records at {lsn} are no entry: a part is missing or is not allowed there
  see: waltool dump {see}"
    );
    Error::refused(path, why).into()
}

/// Where a span begins. The files of a log that is open have numbers.
fn place(log: &Log, span: &Span) -> Lsn {
    let number = log.segments()[span.segment as usize].number.unwrap_or_default();
    Lsn(number << 32 | span.offset)
}
