//! The vocabulary of a scan: what each byte of a segment is, and what is wrong with it. No I/O.

use std::fmt::{self, Display};

use crate::bitflip::Flip;

/// A run of bytes of one segment, and what they are. The spans of a segment touch each other from 0 to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the segment in its log, from 0.
    pub segment: u32,
    /// First byte, counted from the segment's start.
    pub offset: u64,
    /// Bytes; 0 only for [`Kind::Gap`] and for damage that is a lack of bytes.
    pub len: u64,
    /// What the bytes are.
    pub kind: Kind,
}

impl Span {
    /// The offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// What a span is. What it *means* (torn tail, corruption) is the verdict's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A header of a segment, page or block.
    Header,
    /// A record, or a piece of one, whose checks hold.
    Record(Piece),
    /// Fill between records that the format prescribes.
    Padding,
    /// Intact, but of an earlier life of the file: never replayed, never evidence.
    Stale,
    /// Zeros that were never written: preallocated space.
    Unwritten,
    /// Bad bytes with good ones after them, in this segment or in a later one.
    Damage(Fault),
    /// Bad bytes with nothing good after them.
    Torn(Fault),
    /// No bytes: a place where a part of the log is missing.
    Gap(Gap),
}

impl Kind {
    /// The name in `--json` and in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Record(_) => "record",
            Self::Padding => "padding",
            Self::Stale => "stale",
            Self::Unwritten => "unwritten",
            Self::Damage(_) => "damage",
            Self::Torn(_) => "torn",
            Self::Gap(_) => "gap",
        }
    }

    /// What is wrong with the span.
    pub fn fault(&self) -> Option<Fault> {
        match *self {
            Self::Damage(fault) | Self::Torn(fault) => Some(fault),
            Self::Header | Self::Record(_) | Self::Padding | Self::Stale | Self::Unwritten | Self::Gap(_) => None,
        }
    }
}

/// How much of a record a span holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Full,
    /// Its beginning.
    First,
    /// Neither its beginning nor its end.
    Middle,
    /// Its end.
    Last,
}

/// What is wrong with a span. Numbers only, so that a scan allocates nothing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The segment ends before the structure does.
    Cut {
        /// Bytes that the structure needs.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// A checksum does not hold.
    Checksum {
        /// As found in the log.
        stored: u64,
        /// As computed from the bytes.
        computed: u64,
        /// The one bit that explains the difference, if exactly one does.
        flip: Option<Flip>,
    },
    /// A whole record that does not continue the chain, directly behind a commit: the first of an unfinished or
    /// rolled-back transaction, or a hit record.
    Unlinked {
        /// As found in the log.
        stored: u64,
        /// As computed from the bytes.
        computed: u64,
        /// The one bit that explains the difference, if exactly one does.
        flip: Option<Flip>,
    },
    /// A length that cannot be.
    Length {
        /// As found.
        len: u64,
        /// The largest that the format allows here.
        max: u64,
    },
    /// A type, or another enumerated field, that the format does not have.
    Type(u8),
    /// Bytes that are right by their checksum but say that they belong elsewhere, or nowhere.
    Identity {
        /// The field's value.
        found: u64,
        /// The value that belongs here.
        expected: u64,
    },
    /// A record whose identity field is hit: its checksum leaves that field out, and proves that it belongs here.
    Stamp {
        /// The field's value.
        found: u64,
        /// The value that belongs here.
        expected: u64,
        /// The one bit that explains the difference, if exactly one does.
        flip: Option<Flip>,
    },
    /// A record that speaks of a place after its own, which was not there when it was written.
    Ahead {
        /// The place, as an offset in the segment or an LSN.
        found: u64,
        /// The record's own.
        own: u64,
    },
    /// Behind the end that the next segment names, a commit that could only be written by another program than the one that wrote that segment.
    WrittenOn {
        /// Where the commit begins.
        at: u64,
        /// How far the segment had been synced, as it says.
        durable: u64,
        /// Where the segment ends, as the next one says.
        end: u64,
    },
    /// Behind the end that the next segment names, a seal that names another next segment.
    SealedForAnother {
        /// Where the seal begins.
        at: u64,
        /// The nonce of the next segment, as the seal says.
        found: u64,
        /// The nonce of the one that is there.
        expected: u64,
    },
    /// A field or area that must be zero is not.
    Reserved,
    /// A header that is no header of this format.
    Header,
    /// A part of a record without its beginning.
    Orphan,
    /// A record without its end.
    NoEnd,
    /// Zeros where a record belongs.
    Hole,
}

impl Fault {
    /// The name in `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Checksum { .. } => "checksum",
            Self::Unlinked { .. } => "unlinked",
            Self::Length { .. } => "length",
            Self::Type(_) => "type",
            Self::Identity { .. } => "identity",
            Self::Stamp { .. } => "stamp",
            Self::Ahead { .. } => "ahead",
            Self::WrittenOn { .. } | Self::SealedForAnother { .. } => "two-writers",
            Self::Reserved => "reserved",
            Self::Header => "header",
            Self::Orphan => "orphan",
            Self::NoEnd => "no-end",
            Self::Hole => "hole",
        }
    }

    /// Intact bytes contradict what the log says elsewhere: neither a crash nor rot leaves that.
    pub fn contradicts(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::WrittenOn { .. } | Self::SealedForAnother { .. })
    }

    /// The single bit that explains a failed check.
    pub fn flip(&self) -> Option<Flip> {
        match self {
            Self::Checksum { flip, .. } | Self::Unlinked { flip, .. } | Self::Stamp { flip, .. } => *flip,
            _ => None,
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cut { need, have } => write!(f, "cut short: {need} bytes needed, {have} there"),
            Self::Checksum { stored, computed, .. } => {
                write!(f, "checksum: stored {stored:08x}, computed {computed:08x}")
            }
            Self::Unlinked { stored, computed, .. } => {
                write!(
                    f,
                    "does not continue the chain (a transaction that was rolled back or never finished, or a hit record): \
                     stored {stored:08x}, computed {computed:08x}"
                )
            }
            Self::Length { len, max } => write!(f, "length {len}, at most {max} possible"),
            Self::Type(found) => write!(f, "type {found} does not exist"),
            Self::Identity { found, expected } => {
                write!(f, "belongs elsewhere: {found:08x} where {expected:08x} belongs")
            }
            Self::Stamp { found, expected, .. } => {
                write!(f, "belongs here by its checksum, but says {found:08x} where {expected:08x} belongs")
            }
            Self::Ahead { found, own } => {
                write!(f, "an intact record at {own:#x} speaks of {found:#x}, which comes after it")
            }
            Self::WrittenOn { at, durable, end } => write!(
                f,
                "two programs wrote this log: the commit at offset {at} was written when everything below {durable} had been \
                 synced, and the next segment says that this one ended at {end}"
            ),
            Self::SealedForAnother { at, found, expected } => write!(
                f,
                "two programs wrote this log: the seal at offset {at} names a next segment with nonce {found:08x}, and the one \
                 that is there has {expected:08x}"
            ),
            Self::Reserved => write!(f, "bytes that must be zero are not"),
            Self::Header => write!(f, "not a header of this format"),
            Self::Orphan => write!(f, "a part of a record without its beginning"),
            Self::NoEnd => write!(f, "a record without its end"),
            Self::Hole => write!(f, "zeros where a record belongs"),
        }
    }
}

/// What is missing between two segments, or at the end of the last. What is there is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The log begins with a later segment than replay does.
    Beginning {
        /// Number of the segment in which replay starts.
        first: u64,
        /// Number of the segment before the first that is there.
        last: u64,
    },
    /// Segments are not there.
    Missing {
        /// Number of the first that is missing.
        first: u64,
        /// Number of the last that is missing.
        last: u64,
    },
    /// The segment carries another log's identity.
    Foreign,
    /// The segment says that it is another one: renamed, copied or swapped.
    Misnamed {
        /// The number in its name.
        name: u64,
        /// The number in its header.
        header: u64,
    },
    /// The segment continues another version of its predecessor.
    Forked {
        /// The predecessor's nonce as this segment knows it.
        expected: u64,
        /// The predecessor's nonce as found.
        found: u64,
    },
    /// The segment says that its predecessor ends where no commit of it ends.
    End {
        /// The number of the segment.
        number: u64,
        /// Where its predecessor ends, as it says.
        end: u64,
    },
    /// The segment's first transaction does not follow the last of its predecessor.
    Transaction {
        /// The number of the segment.
        number: u64,
        /// The number of its first transaction, as it says.
        first: u64,
        /// The number that follows the last commit of its predecessor.
        expected: u64,
    },
    /// The segment says that replay starts at a place that comes after its own beginning.
    Ahead {
        /// The number of the segment.
        number: u64,
        /// The number of the segment in which replay starts, as it says.
        segment: u64,
        /// The offset in that.
        offset: u64,
    },
    /// The last segment was sealed for a successor that is not there.
    NoSuccessor {
        /// The successor's number.
        number: u64,
    },
}

impl Gap {
    /// The name in `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Beginning { .. } | Self::Missing { .. } => "missing-segment",
            Self::Foreign => "foreign-segment",
            Self::Misnamed { .. } => "misplaced-segment",
            Self::Forked { .. } => "forked-segment",
            Self::End { .. } => "end-mismatch",
            Self::Transaction { .. } => "transaction-mismatch",
            Self::Ahead { .. } => "redo-ahead",
            Self::NoSuccessor { .. } => "missing-successor",
        }
    }
}

impl Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Beginning { first, last } if first == last => {
                write!(
                    f,
                    "segment {first} is missing: replay starts in it, and no committed checkpoint allows its removal"
                )
            }
            Self::Beginning { first, last } => {
                write!(
                    f,
                    "segments {first} to {last} are missing: replay starts in segment {first}, and no committed checkpoint \
                     allows their removal"
                )
            }
            Self::Missing { first, last } if first == last => write!(f, "segment {first} is missing"),
            Self::Missing { first, last } => write!(f, "segments {first} to {last} are missing"),
            Self::Foreign => write!(f, "the segment belongs to another log"),
            Self::Misnamed { name, header } => write!(f, "named {name}, but its header says segment {header}"),
            Self::Forked { expected, found } => {
                write!(f, "continues a predecessor with nonce {expected:08x}, not the one here ({found:08x})")
            }
            Self::End { number, end } => {
                let before = number.saturating_sub(1);
                write!(f, "segment {number} says that segment {before} ends at offset {end}, and no commit ends there")
            }
            Self::Transaction { number, first, expected } => {
                let before = number.saturating_sub(1);
                write!(
                    f,
                    "segment {number} says that its first transaction is {first}, and after segment {before} it is {expected}"
                )
            }
            Self::Ahead { number, segment, offset } => {
                write!(
                    f,
                    "segment {number} says that replay starts at offset {offset} of segment {segment}, which comes later"
                )
            }
            Self::NoSuccessor { number } => write!(f, "sealed for segment {number}, which is not there"),
        }
    }
}
