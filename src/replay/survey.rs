//! The first reading of a replay: where to stop, what will be written, and which writes a later one makes needless.

use std::collections::HashMap;

use super::known::{Said, Stated};
use crate::error::{Error, Result};
use crate::format::{Op, Record};
use crate::log::Log;
use crate::ranges::Ranges;
use crate::report::{Place, Report};
use crate::scan::{Found, Scan};
use crate::span::Kind;

/// Writes of one transaction, and places of the target, that are remembered one by one. Above that every write is made,
/// needless ones too.
const REMEMBERED_MAX: usize = 512 * 1024;
/// Abandoned parts of a log that are remembered.
const ABANDONED_MAX: usize = 64 * 1024;

/// The last commit that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All there are.
    End,
    /// None above this LSN.
    Lsn(u64),
    /// None that begins behind this offset of the first segment.
    Offset(u64),
    /// None later than this, in nanoseconds since 1970.
    Time(u64),
}

/// The commit at which a replay stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Its LSN.
    pub lsn: u64,
    /// Behind it.
    pub end: Place,
    /// The same as an LSN, where the segment's header says what those are there.
    pub end_lsn: Option<u64>,
    /// Its time, in nanoseconds since 1970.
    pub time: Option<u64>,
    /// Whole transactions up to it.
    pub transactions: u64,
    /// Records up to it.
    pub records: u64,
}

impl Until {
    fn wants(self, record: &Record<'_>, offset: u64) -> bool {
        match self {
            Self::End => true,
            Self::Lsn(lsn) => record.meta.lsn <= lsn,
            Self::Offset(last) => offset <= last,
            Self::Time(last) => record.meta.commit.and_then(|commit| commit.time).is_none_or(|time| time <= last),
        }
    }

    /// Nothing behind this commit can be wanted.
    fn ends_at(self, record: &Record<'_>, offset: u64) -> bool {
        self == Self::Lsn(record.meta.lsn) || self == Self::Offset(offset)
    }
}

/// What a replay up to some commit does to its target.
pub struct Survey {
    /// The log as it is.
    pub report: Report,
    /// Where to stop; `None` where nothing that is wanted is committed.
    pub stop: Option<Stop>,
    /// The state that is asked for is whole: its last commit is named, or a later one stands before any damage.
    pub reached: bool,
    /// LSN of the first commit.
    pub first_commit: Option<u64>,
    /// What is written.
    pub ranges: Ranges,
    /// Changes that are made to the target; 0 where the records are only for the application.
    pub changes: u64,
    /// The target's length afterwards.
    pub len: u64,
    /// The longest that the target is meanwhile.
    pub len_max: u64,
    /// What the log says of its target.
    pub(crate) said: Said,
    /// CRC-32 of the headers before the stop, so that the second reading knows the log again.
    pub(super) identity_at_stop: u32,
    identity: u32,
    /// LSN of the present segment's first byte.
    start: Option<u64>,
    /// An LSN, and whether a commit ends there.
    high: Option<u64>,
    pub(super) met: bool,
    pub(super) latest: Latest,
    /// Records that no commit claims, before the stop.
    pub(super) abandoned: Vec<(Place, Place)>,
    until: Until,
    paged: bool,
    closed: bool,
    open: Transaction,
}

/// The last write to each place of the target: by offset, its number and length in one word.
#[derive(Default)]
pub(super) struct Latest {
    writes: HashMap<u64, u64>,
    /// There were too many to know them all.
    lost: bool,
}

const LEN_BITS: u32 = 20;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;

impl Latest {
    fn note(&mut self, write: &Write) {
        if write.len <= LEN_MASK && !self.lost {
            self.writes.insert(write.offset, write.number << LEN_BITS | write.len);
            if self.writes.len() > REMEMBERED_MAX {
                self.lose();
            }
        }
    }

    fn lose(&mut self) {
        (self.writes, self.lost) = (HashMap::new(), true);
    }

    /// A later write covers this one.
    pub(super) fn outdates(&self, write: &Write) -> bool {
        let latest = self.writes.get(&write.offset).copied().unwrap_or(0);
        latest >> LEN_BITS > write.number && latest & LEN_MASK >= write.len
    }
}

/// A write to the target, without its bytes.
#[derive(Clone, Copy)]
pub(super) struct Write {
    /// Counted through the whole log, from 1, abandoned ones included.
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

#[derive(Clone, Copy)]
enum Effect {
    Write(Write),
    SetLen(u64),
}

/// What the transaction that is not yet committed has done so far.
#[derive(Default)]
struct Transaction {
    segment: u32,
    /// The record's offset, and what it does.
    effects: Vec<(u64, Effect)>,
    /// There were too many to remember.
    forgotten: Option<Forgotten>,
    /// What it says of the target, and the record's offset.
    stated: Option<(u64, Stated)>,
    records: u64,
    /// Writes of the whole log up to here.
    number: u64,
}

/// Effects that are known only in sum.
#[derive(Clone, Copy, Default)]
struct Forgotten {
    changes: u64,
    set_len: Option<u64>,
    end: u64,
    /// The longest that it makes the target meanwhile.
    len_max: u64,
}

impl Transaction {
    fn take(&mut self, log: &Log, record: &Record<'_>, offset: u64) -> Result<()> {
        self.records += 1;
        if let Some(state) = log.format().states(record) {
            self.stated = Some((offset, Stated::new(record.meta.lsn, state)));
        }
        let replayed = log.format().replay(record, &mut |op| {
            let effect = match op {
                Op::Write { offset, bytes } => {
                    self.number += 1;
                    Effect::Write(Write { number: self.number, offset, len: bytes.len() as u64 })
                }
                Op::SetLen(len) => Effect::SetLen(len),
            };
            if self.effects.len() < REMEMBERED_MAX {
                self.effects.push((offset, effect));
            } else {
                self.forgotten.get_or_insert_default().take(effect);
            }
        });
        replayed.map_err(|fault| {
            let position = log.format().position(record.meta.lsn);
            Error::refused(
                log.path(),
                format!("the {} at {position} cannot be applied: {fault}", log.format().record_noun()),
            )
        })
    }
}

impl Forgotten {
    fn take(&mut self, effect: Effect) {
        self.changes += 1;
        match effect {
            Effect::Write(write) => self.end = self.end.max(write.offset.saturating_add(write.len)),
            Effect::SetLen(len) => (self.set_len, self.end) = (Some(len), 0),
        }
        self.len_max = self.len_max.max(self.end).max(self.set_len.unwrap_or(0));
    }
}

impl Survey {
    /// Reads `log` for a replay up to `until` onto a target that is `base` bytes long, begins with `head`, and is said to hold
    /// changes up to the LSN `high`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a wrong target; as [`Scan::next`].
    pub fn of(
        log: &Log,
        until: Until,
        target: (u64, &[u8]),
        high: Option<u64>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        Self::read(log, until, target, high, Said::default(), progress)
    }

    /// As [`of`](Self::of), adding what the log says of its target to `said`.
    pub(super) fn read(
        log: &Log,
        until: Until,
        (base, head): (u64, &[u8]),
        high: Option<u64>,
        said: Said,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let mut survey = Self {
            report: Report::new(log.format()),
            stop: None,
            reached: false,
            first_commit: None,
            ranges: Ranges::default(),
            changes: 0,
            len: base,
            len_max: base,
            said,
            identity_at_stop: 0,
            identity: 0,
            start: None,
            high,
            met: false,
            latest: Latest::default(),
            abandoned: Vec::new(),
            until,
            paged: log.format().paged(),
            closed: false,
            open: Transaction::default(),
        };
        let mut scan = Scan::new(log);
        let (mut fits, mut read) = (false, 0);
        while let Some(found) = scan.next()? {
            read += found.span.len;
            progress(read);
            if let (Some(record), false) = (&found.record, fits) {
                log.format().fits(record, head).map_err(|why| Error::refused(log.path(), why))?;
                fits = true;
            }
            survey.report.add(&found);
            if !survey.closed {
                survey.add(log, &found)?;
            }
        }
        survey.report.finish();
        if survey.paged {
            survey.ranges.clip(survey.len);
            survey.len_max = survey.len;
        }
        survey.open = Transaction::default();
        Ok(survey)
    }

    fn add(&mut self, log: &Log, found: &Found<'_>) -> Result<()> {
        let span = found.span;
        if let Some(header) = found.header {
            self.identity = identity(self.identity, header);
            self.start = log.format().identity(header).map(|identity| identity.start);
        }
        if let Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_) = span.kind {
            self.closed = true;
            return Ok(());
        }
        let Some(record) = &found.record else { return Ok(()) };
        if span.segment != self.open.segment {
            self.abandon(log, u64::MAX)?;
            self.open = Transaction { segment: span.segment, number: self.open.number, ..Transaction::default() };
        }
        let Some(commit) = record.meta.commit else { return self.open.take(log, record, span.offset) };
        self.first_commit.get_or_insert(record.meta.lsn);
        if !self.until.wants(record, span.offset) {
            (self.reached, self.closed) = (true, true);
            return Ok(());
        }
        self.open.take(log, record, span.offset)?;
        let first = commit.first.unwrap_or(span.offset);
        self.abandon(log, first)?;
        self.commit(first);
        let end_lsn = self.start.map(|start| start + span.end());
        self.met |= end_lsn.is_some() && end_lsn == self.high;
        let (transactions, records) = self.stop.map_or((0, 0), |stop| (stop.transactions, stop.records));
        self.stop = Some(Stop {
            lsn: record.meta.lsn,
            end: Place { segment: span.segment, offset: span.end() },
            end_lsn,
            time: commit.time,
            transactions: transactions + u64::from(commit.counts),
            records: records + std::mem::take(&mut self.open.records),
        });
        self.identity_at_stop = self.identity;
        self.reached = self.until.ends_at(record, span.offset);
        Ok(())
    }

    /// The open transaction counts from `first` on.
    fn commit(&mut self, first: u64) {
        if let Some((_, stated)) = self.open.stated.take().filter(|(at, _)| *at >= first) {
            self.said.add(stated);
        }
        let mut effects = std::mem::take(&mut self.open.effects);
        for (_, effect) in effects.drain(..).filter(|(at, _)| *at >= first) {
            self.changes += 1;
            match effect {
                Effect::Write(write) => {
                    self.ranges.add(write.offset, write.len);
                    self.latest.note(&write);
                    if self.paged {
                        self.ranges.page = write.len;
                    } else {
                        self.len = self.len.max(write.offset.saturating_add(write.len));
                    }
                }
                Effect::SetLen(len) => self.len = len,
            }
            self.len_max = self.len_max.max(self.len);
        }
        self.open.effects = effects;
        if let Some(forgotten) = self.open.forgotten.take() {
            self.ranges.more = true;
            self.latest.lose();
            self.changes += forgotten.changes;
            let end = if self.paged { 0 } else { forgotten.end };
            self.len = forgotten.set_len.unwrap_or(self.len).max(end);
            self.len_max = self.len_max.max(self.len).max(forgotten.len_max);
        }
    }

    /// Effects of records below `first` are never committed: the second reading must pass them.
    fn abandon(&mut self, log: &Log, first: u64) -> Result<()> {
        let segment = self.open.segment;
        let Some(&(offset, _)) = self.open.effects.first().filter(|(at, _)| *at < first) else { return Ok(()) };
        self.abandoned.push((Place { segment, offset }, Place { segment, offset: first }));
        if self.abandoned.len() > ABANDONED_MAX {
            return Err(Error::refused(log.path(), "it holds too many unfinished transactions to be replayed at once"));
        }
        Ok(())
    }
}

/// The CRC-32 of headers, one after the other.
pub(super) fn identity(before: u32, header: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(before);
    sum.update(header);
    sum.finalize()
}
