//! What a line of a dump says, and what can be wrong with it.

use crate::error::{Error, debug_as_text};
use crate::formats::native::encode::WriteError;
use crate::formats::native::layout::{Lsn, PAYLOAD_MAX, SegmentHeader};
use crate::formats::native::payload::{Checkpoint, RecordKind, SetLen, WRITE_MAX, Write};

/// A line of a dump. What a line leaves open is `None`.
#[derive(Clone, Debug)]
pub enum Line<'a> {
    /// A copy of a segment's header: the first begins the segment, the second repeats it.
    Header(HeaderLine),
    /// A record of a transaction.
    Record(RecordLine<'a>),
    /// The end of a transaction.
    Commit(CommitLine),
    /// The end of a segment.
    Seal(SealLine),
}

/// What is kept of a segment's header. The nonces, and where the predecessor ends, are made anew; the first segment's
/// predecessor is not loaded, so what is said of it is kept.
#[derive(Clone, Debug, Default)]
pub struct HeaderLine {
    /// The segment's number.
    pub number: u32,
    /// The log's name.
    pub log_id: Option<[u8; 16]>,
    /// The target's name.
    pub target_id: Option<[u8; 16]>,
    /// The nonce of the first segment's predecessor.
    pub prev_nonce: Option<u32>,
    /// Where the first segment's predecessor ends.
    pub prev_end: Option<u32>,
    /// The number of the first transaction.
    pub first_transaction: Option<u64>,
    /// Where replay had to start.
    pub redo_lsn: Option<Lsn>,
    /// When the segment was created, in nanoseconds since 1970.
    pub created_ns: Option<u64>,
}

/// A record of a transaction: a write, setlen, data or checkpoint.
#[derive(Clone, Debug)]
pub struct RecordLine<'a> {
    /// Its kind.
    pub kind: RecordKind,
    /// Its flags.
    pub flags: u8,
    /// Its payload, byte for byte.
    pub payload: &'a [u8],
    /// The number of the transaction that the dump shows it in.
    pub transaction: Option<u64>,
}

/// A commit. Where its transaction begins is known.
#[derive(Clone, Debug, Default)]
pub struct CommitLine {
    /// The number of the transaction; the next one without.
    pub transaction: Option<u64>,
    /// When, in nanoseconds since 1970; without, when the log is loaded.
    pub time_ns: Option<u64>,
    /// The promise; the start of the transaction without, or where it would promise what is not written yet.
    pub durable_off: Option<u32>,
    /// The writer closed the segment with it.
    pub close: bool,
}

/// The end of a segment that has a successor.
#[derive(Clone, Debug, Default)]
pub struct SealLine {
    /// The successor's number.
    pub next_number: Option<u32>,
}

impl RecordLine<'_> {
    /// Whether a reader would take it.
    pub(super) fn check(&self) -> Result<(), LineError> {
        let (len, name) = (self.payload.len(), self.kind.name());
        let expected = match self.kind {
            RecordKind::Write if Write::parse(self.payload).is_none() => format!("9 to {}", WRITE_MAX + 8),
            RecordKind::SetLen if SetLen::parse(self.payload).is_none() => "8".into(),
            RecordKind::Checkpoint if Checkpoint::parse(self.payload).is_none() => "16, 24 or 48".into(),
            RecordKind::Data if len > PAYLOAD_MAX => format!("at most {PAYLOAD_MAX}"),
            RecordKind::Commit | RecordKind::Seal | RecordKind::Pad => return Err(LineError::Kind(name)),
            _ if self.flags & !self.kind.flags() != 0 => {
                return Err(LineError::Flags { kind: name, flags: self.flags });
            }
            RecordKind::Checkpoint
                if Checkpoint::parse(self.payload).is_some_and(|checkpoint| checkpoint.flags() != self.flags) =>
            {
                return Err(LineError::Flags { kind: name, flags: self.flags });
            }
            _ => return self.check_range(),
        };
        Err(LineError::Payload { kind: name, len, expected })
    }

    fn check_range(&self) -> Result<(), LineError> {
        let write = Write::parse(self.payload).filter(|_| self.kind == RecordKind::Write);
        let beyond = write.filter(|write| write.offset.checked_add(write.bytes.len() as u64).is_none());
        beyond.map_or(Ok(()), |write| Err(LineError::Range { offset: write.offset, len: write.bytes.len() }))
    }
}

impl HeaderLine {
    /// The second copy of a header says nothing new.
    pub(super) fn agrees_with(&self, first: &SegmentHeader) -> Result<(), LineError> {
        let differs = [
            ("log_id", self.log_id.is_some_and(|id| id != first.log_id)),
            ("target_id", self.target_id.is_some_and(|id| id != first.target_id)),
            ("first_transaction", self.first_transaction.is_some_and(|number| number != first.first_transaction)),
            ("redo_lsn", self.redo_lsn.is_some_and(|lsn| lsn != first.redo_lsn)),
            ("created", self.created_ns.is_some_and(|time| time != first.created_ns)),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            Some((field, _)) => Err(LineError::Copy { number: first.number, field }),
            None => Ok(()),
        }
    }
}

/// Why a line cannot be loaded.
#[derive(thiserror::Error)]
pub enum LineError {
    /// The log could not be written; no fault of the line.
    #[error(transparent)]
    File(#[from] Error),
    /// No line at all.
    #[error("there is no header and no record in it")]
    Empty,
    /// A kind that is no record of a transaction.
    #[error("{0} is no record of a transaction")]
    Kind(&'static str),
    /// A payload that its kind cannot have.
    #[error("a {kind} has a payload of {expected} bytes, not of {len}")]
    Payload {
        /// The kind.
        kind: &'static str,
        /// How many bytes there are.
        len: usize,
        /// How many there may be.
        expected: String,
    },
    /// A write whose end no offset can name.
    #[error("a write of {len} bytes at target_offset {offset} ends beyond the last offset of 64 bits")]
    Range {
        /// Where it starts in the target.
        offset: u64,
        /// Its length.
        len: usize,
    },
    /// Flags that its kind does not have.
    #[error("a {kind} cannot have the flags {flags:#04x}")]
    Flags {
        /// The kind.
        kind: &'static str,
        /// All flags.
        flags: u8,
    },
    /// A record that no segment can hold.
    #[error(transparent)]
    Record(WriteError),
    /// A header behind records of a log without one.
    #[error("a header behind records that have none; each segment needs its header, or none does")]
    LateHeader,
    /// A segment number that is never used.
    #[error("segments are numbered from 1, not from 0")]
    NumberZero,
    /// Segments without order.
    #[error(
        "the header of segment {found} behind segment {after}; the lines of a segment are missing, doubled or out of order"
    )]
    Number {
        /// The present segment.
        after: u32,
        /// The segment of the line.
        found: u32,
    },
    /// A segment of another log.
    #[error("log_id is not that of the segments before: this is another log")]
    Foreign,
    /// Two copies of a header that differ.
    #[error("{field} is not what the first copy of the header of segment {number} says")]
    Copy {
        /// The segment.
        number: u32,
        /// Where they differ.
        field: &'static str,
    },
    /// A seal that names another segment than the next.
    #[error("the seal names segment {found}, and the next is {expected}")]
    Successor {
        /// The next segment's number.
        expected: u32,
        /// The number in the line.
        found: u32,
    },
    /// A seal at the end.
    #[error("segment {number} is sealed, and the header of its successor is missing")]
    NoSuccessor {
        /// The sealed segment.
        number: u32,
    },
    /// Records behind a seal or a close mark.
    #[error("the segment has ended; the header of the next must come first")]
    Ended,
    /// A segment that ends within a transaction.
    #[error("the transaction before it is not committed, and no segment ends within a transaction")]
    OpenTransaction,
    /// A record of a transaction behind another one's.
    #[error("it is of transaction {found}, and the commit of transaction {open} is missing before it")]
    Uncommitted {
        /// The transaction that is open.
        open: u64,
        /// That of the line.
        found: u64,
    },
    /// A number that a transaction before has.
    #[error("transaction {found}: numbers rise, so it is {least} at least")]
    Transaction {
        /// The number in the line.
        found: u64,
        /// The lowest that is free.
        least: u64,
    },
    /// The last number that there is: no transaction could follow.
    #[error("transaction {}: numbers end before that", u64::MAX)]
    LastNumber,
    /// Time that goes back.
    #[error("its time is before that of the commit before it")]
    Time,
}

debug_as_text!(LineError);
