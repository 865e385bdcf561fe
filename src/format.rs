//! What a format must answer, beside [parsing](crate::decode): how it is recognised, what its records hold, what they
//! do to a target. There is no list of formats here; it is in [`formats`](crate::formats).

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use crate::decode::{Decode, Meta};
use crate::span::Fault;
use crate::vfs::FileTimes;

/// A record with its meaning, lent by the scan.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What the record says of itself.
    pub meta: Meta,
    /// The record's own header, as it stands in the log; empty for a record joined from pieces.
    pub head: &'a [u8],
    /// What was appended.
    pub payload: &'a [u8],
}

/// What detection may look at.
#[derive(Clone, Copy, Debug)]
pub struct Clue<'a> {
    /// The file's name, without its folder.
    pub name: &'a OsStr,
    /// The first bytes, at most [`CLUE_LEN`].
    pub head: &'a [u8],
    /// `head` is the whole file.
    pub whole: bool,
}

/// How much of a file detection looks at: room for a header and two of the largest pages.
pub const CLUE_LEN: usize = 160 * 1024;

/// How sure a format is that a file is its own; more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// It is not.
    No,
    /// Only the name says so.
    Name,
    /// A checksum holds where it should.
    Checksum,
    /// The magic number, in a header whose checksum may or may not hold.
    Magic,
}

/// A change that a record makes to a target file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// These bytes, at this offset.
    Write {
        /// In the target.
        offset: u64,
        /// What is written.
        bytes: &'a [u8],
    },
    /// The target has this length from now on.
    SetLen(u64),
}

/// What a record says of the content of the target, as far as a checksum tells it; its length is told beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// CRC-32 of all its bytes.
    pub crc: u32,
    /// What is said with that.
    pub role: Role,
}

/// Whether the target is so or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The target is so, durably, and holds everything before the record; and what the file system says of it, if that can be
    /// relied on: while it says the same, nobody has changed the content.
    Fact(Option<Seen>),
    /// A file with this content, which holds everything before the record, is about to take the target's place. Until the next fact
    /// the target is as before or so.
    Intent,
}

/// What the file system says of a file. Not its device, whose number may change from one start of the system to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number on its device.
    pub inode: u64,
    /// When it was changed.
    pub times: FileTimes,
}

/// Where a record's fields go. Text and JSON implement it; rooms describe, printers print.
pub trait Fields {
    /// A number or a word.
    fn field(&mut self, name: &'static str, value: Value<'_>);
}

/// A field's value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A count, an offset, a number.
    Number(u64),
    /// A 32-bit identity, best read in hexadecimal.
    Hex(u32),
    /// A word or a position that the format itself printed; never bytes from a log.
    Text(&'a dyn Display),
    /// Yes or no.
    Flag(bool),
    /// Bytes from the log.
    Bytes(&'a [u8]),
    /// Nanoseconds since 1970.
    Time(u64),
}

/// How segments of a log relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// A log is one file.
    One,
    /// A log runs on from file to file.
    Continuous,
}

/// What a segment's header says of the log that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The random name of the log.
    pub log_id: [u8; 16],
    /// The number of the segment.
    pub number: u64,
    /// The number of the segment's first transaction.
    pub transaction: u64,
    /// The number of the segment in which replay started when this one was created: those before it may be gone.
    pub redo: u64,
    /// The random name of the file that the log is about; zeros for none.
    pub target_id: [u8; 16],
    /// LSN of the segment's first byte. That of any other is as much higher as it is further on.
    pub start: u64,
    /// What of the log stands before this segment is below this LSN.
    pub begins: u64,
}

/// A format of logs.
pub trait Format: Sync {
    /// The name in `--format` and JSON.
    fn name(&self) -> &'static str;
    /// What it is, for `waltool formats`: one line.
    fn about(&self) -> &'static str;
    /// Its checksum, for `waltool formats`.
    fn checksum(&self) -> &'static str;
    /// How it is recognised, for `waltool formats`.
    fn recognised_by(&self) -> &'static str;
    /// What a record is called: "frame", "record".
    fn record_noun(&self) -> &'static str {
        "record"
    }
    /// How segments relate.
    fn segments(&self) -> Segments;
    /// Every commit says how far the log was durable, so an intact commit behind damage proves nothing by itself.
    fn commits_promise(&self) -> bool;
    /// Records belong to transactions; else each stands for itself.
    fn has_transactions(&self) -> bool {
        true
    }
    /// Commits carry a time.
    fn has_time(&self) -> bool;
    /// Whether a program that went on appending behind a torn record may have left it in the bytes `from..to` of a segment, and not
    /// only what the format itself puts there: headers, and fill. `false` where intact transactions cannot stand behind a tear.
    fn may_hold_tear(&self, from: u64, to: u64) -> bool {
        let _ = (from, to);
        false
    }
    /// How sure it is that this file is its own.
    fn probe(&self, clue: &Clue<'_>) -> Match;
    /// The number of a segment by its name; `None` when a file of this name is not a segment of a log directory.
    fn segment_number(&self, name: &OsStr) -> Option<u64>;
    /// A file of this name in a log directory is the log's own: a segment, or what its writer keeps beside them.
    fn owns(&self, name: &OsStr) -> bool {
        self.segment_number(name).is_some()
    }
    /// The name of a segment with this number in a log directory; `None` where logs have no directory.
    fn segment_name(&self, number: u64) -> Option<OsString> {
        let _ = number;
        None
    }
    /// A segment shorter than this is none. A cut that would leave less of it takes it away whole.
    fn shortest(&self) -> u64 {
        0
    }
    /// Why a segment that begins with `head` ([`HEAD_LEN`](crate::decode::HEAD_LEN) bytes or all of it) may be read but not
    /// changed, as the end of a sentence; `None` if it may.
    fn read_only(&self, head: &[u8]) -> Option<String> {
        let _ = head;
        None
    }
    /// What the header in `head` (the bytes of a header span, or [`HEAD_LEN`](crate::decode::HEAD_LEN) bytes of a segment) says of its
    /// log; `None` where the format's headers say nothing of the kind, or none is intact.
    fn identity(&self, head: &[u8]) -> Option<Identity> {
        let _ = head;
        None
    }
    /// The number of the segment in which replay starts once this record is committed: those before it may be gone. `None` for a record that
    /// does not say.
    fn redo(&self, record: &Record<'_>) -> Option<u64> {
        let _ = record;
        None
    }
    /// A parser that stands before the first segment.
    fn decoder(&self) -> Box<dyn Decode + Send>;
    /// A record's position as people write it.
    fn position(&self, lsn: u64) -> Position;
    /// The position that a person wrote, as an LSN; `None` if it is none of this format.
    fn parse_position(&self, text: &str) -> Option<u64>;
    /// The kinds of record that [`kind`](Self::kind) can give.
    fn kinds(&self) -> &'static [&'static str];
    /// The record's kind.
    fn kind(&self, record: &Record<'_>) -> &'static str;
    /// The fields of a record, apart from its payload.
    fn describe(&self, record: &Record<'_>, out: &mut dyn Fields);
    /// The fields of a segment's header: the bytes of a header span.
    fn describe_header(&self, header: &[u8], out: &mut dyn Fields);
    /// What shows that a program has the log open for writing; `segment` is the path of any segment.
    fn lock(&self, segment: &Path) -> Lock;
    /// A writer of new logs of this format, for salvage.
    fn rebuild(&self) -> Box<dyn Rebuild>;
    /// What a committed record does to a target; records come in their order, whole transactions only.
    fn replay<'a>(&self, record: &Record<'a>, apply: &mut dyn FnMut(Op<'a>)) -> Result<(), Fault>;
    /// What a record says of the target's length and content; `None` where it says nothing of the content.
    fn states(&self, record: &Record<'_>) -> Option<(u64, TargetState)> {
        let _ = record;
        None
    }
    /// Targets are made of pages of one length, numbered from 1. Of the lengths that records give them only the last
    /// counts: pages behind it are dropped, and what stood there before a shorter length in between comes back.
    fn paged(&self) -> bool {
        false
    }
    /// Whether a target that begins with `head` (all of it, or [`HEAD_LEN`](crate::decode::HEAD_LEN) bytes) can be the one
    /// that `first`, the log's first record, was written for.
    ///
    /// # Errors
    /// Why it cannot, as the end of a sentence.
    fn fits(&self, first: &Record<'_>, head: &[u8]) -> Result<(), String> {
        let _ = (first, head);
        Ok(())
    }
}

impl fmt::Debug for dyn Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a writer of the format shows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// It holds `flock` on this file while it writes.
    Flock(PathBuf),
    /// It holds a POSIX record lock in this range of this file while it is connected.
    Record {
        /// The file.
        path: PathBuf,
        /// The first byte of the range.
        start: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// It does not.
    None,
}

/// Encodes whole transactions as a new log, segment by segment. Knows no files: it appends to `out`.
pub trait Rebuild {
    /// An intact header of the old log, before the first segment: the new log is to have its identity. Not called where the old
    /// log has none.
    fn belong(&mut self, header: &[u8]) {
        let _ = header;
    }
    /// A segment begins that takes the place of the one with this number; `header` is that one's, where it is intact.
    fn segment(&mut self, number: Option<u64>, header: Option<&[u8]>, out: &mut Vec<u8>);
    /// The next record of a whole transaction, as the scan lent it. Records that only the writer can make (marks of closing or
    /// sealing) are left out.
    ///
    /// # Errors
    /// The record does not fit the format.
    fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Fault>;
    /// The segment ends; `followed` says whether another begins behind it.
    fn end(&mut self, followed: bool, out: &mut Vec<u8>);
}

/// How a format prints an LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// A plain number.
    Number(u64),
    /// Segment and offset: `0000002a:00012340`.
    SegmentOffset(u64),
}

impl Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Number(n) => write!(f, "{n}"),
            Self::SegmentOffset(lsn) => write!(f, "{:08x}:{:08x}", lsn >> 32, lsn & 0xffff_ffff),
        }
    }
}
