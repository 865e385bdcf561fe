//! WALT1, the log that `waltool` itself writes. `docs/formats/native.md` describes the bytes without any Rust.
//!
//! - [`lsn`], [`layout`], [`payload`]: the bytes, and what makes them valid; shared by readers and writers;
//! - [`decoder`]: the parser; `alike`: its short cut for records like the one before;
//! - [`encode`]: where records go and how they are encoded; shared by all writers;
//! - [`writer`]: one segment, written in order;
//! - [`log_writer`]: a directory of segments, written by one thread, with rotation;
//! - `view`, `rebuild`: what records say, and a new log from old records.

mod alike;
pub mod decoder;
pub mod encode;
pub mod layout;
pub mod log_writer;
pub mod lsn;
pub mod payload;
mod rebuild;
mod view;
pub mod writer;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::decode::Decode;
use crate::format::{
    Clue, Fields, Format, Identity, Lock, Match, Op, Position, Rebuild, Record, Segments, TargetState,
};
use crate::span::Fault;
pub use view::kind_and_flags;

use layout::{HEADER_LEN, Lsn, MAGIC, RECORDS_START, RecordHeader, SegmentHeader, TWIN, rest_of_block};
use payload::{Checkpoint, RecordKind, SetLen, Write};

/// The file in a log directory whose lock says that somebody writes the log.
pub(crate) const LOCK: &str = "LOCK";

/// The native format.
pub struct Native;

impl Format for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn about(&self) -> &'static str {
        "WALT1, the log of this library: a directory of segments"
    }

    fn checksum(&self) -> &'static str {
        "CRC-32 (IEEE), one for each record's header and one for its payload"
    }

    fn recognised_by(&self) -> &'static str {
        "the signature 89 57 41 4C 54 0D 0A 1A at offset 0 or 4096"
    }

    fn segments(&self) -> Segments {
        Segments::Continuous
    }

    fn commits_promise(&self) -> bool {
        true
    }

    fn has_time(&self) -> bool {
        true
    }

    fn may_hold_tear(&self, from: u64, to: u64) -> bool {
        // The rest of a block may have been a PAD.
        from >= RECORDS_START as u64 && to != from + rest_of_block(from) as u64
    }

    fn probe(&self, clue: &Clue<'_>) -> Match {
        let signed = |at: usize| clue.head.get(at..at + MAGIC.len()) == Some(&MAGIC[..]);
        let record = clue.head.get(RECORDS_START..).and_then(|rest| rest.first_chunk());
        if signed(0) || signed(TWIN) || SegmentHeader::parse(clue.head).is_ok() {
            Match::Magic
        } else if record.is_some_and(|record| RecordHeader::parse(record).is_ok()) {
            Match::Checksum
        } else if self.segment_number(clue.name).is_some() {
            Match::Name
        } else {
            Match::No
        }
    }

    fn segment_number(&self, name: &OsStr) -> Option<u64> {
        let digits = name.to_str()?.strip_suffix(".wal")?;
        let plain = digits.len() == 8 && digits.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        u64::from_str_radix(digits, 16).ok().filter(|&number| plain && number > 0)
    }

    fn owns(&self, name: &OsStr) -> bool {
        // A segment has another name until it is complete.
        let name = Path::new(name);
        let complete = if name.extension() == Some(OsStr::new("tmp")) { name.with_extension("") } else { name.into() };
        name == Path::new(LOCK) || self.segment_number(complete.as_os_str()).is_some()
    }

    fn segment_name(&self, number: u64) -> Option<OsString> {
        u32::try_from(number).ok().map(|number| log_writer::segment_name(number).into())
    }

    fn read_only(&self, head: &[u8]) -> Option<String> {
        let unknown = SegmentHeader::from_either(head)?.compatible;
        let why = format!("its header has flags {unknown:#010x}, newer than this waltool: it may be read, not changed");
        (unknown != 0).then_some(why)
    }

    fn identity(&self, head: &[u8]) -> Option<Identity> {
        let header = SegmentHeader::from_either(head)?;
        Some(Identity {
            log_id: header.log_id,
            number: header.number.into(),
            transaction: header.first_transaction,
            redo: header.redo_lsn.segment().into(),
            target_id: header.target_id,
            start: Lsn::new(header.number, 0).0,
            begins: Lsn::new(header.number.saturating_sub(1), header.prev_end).0,
        })
    }

    fn redo(&self, record: &Record<'_>) -> Option<u64> {
        let checkpoint = view::kind(record).filter(|kind| *kind == RecordKind::Checkpoint);
        checkpoint
            .and_then(|_| Checkpoint::parse(record.payload))
            .map(|checkpoint| checkpoint.redo_lsn.segment().into())
    }

    fn shortest(&self) -> u64 {
        RECORDS_START as u64
    }

    fn decoder(&self) -> Box<dyn Decode + Send> {
        Box::new(decoder::Decoder::default())
    }

    fn position(&self, lsn: u64) -> Position {
        Position::SegmentOffset(lsn)
    }

    fn parse_position(&self, text: &str) -> Option<u64> {
        text.parse::<Lsn>().ok().map(|lsn| lsn.0)
    }

    fn kinds(&self) -> &'static [&'static str] {
        view::KINDS
    }

    fn kind(&self, record: &Record<'_>) -> &'static str {
        view::kind(record).map_or("unknown", RecordKind::name)
    }

    fn describe(&self, record: &Record<'_>, out: &mut dyn Fields) {
        view::describe(record, out);
    }

    fn describe_header(&self, header: &[u8], out: &mut dyn Fields) {
        if let Ok(header) = SegmentHeader::parse(&header[..header.len().min(HEADER_LEN)]) {
            view::describe_header(&header, out);
        }
    }

    fn lock(&self, segment: &Path) -> Lock {
        segment.parent().map_or(Lock::None, |folder| Lock::Flock(folder.join(LOCK)))
    }

    fn rebuild(&self) -> Box<dyn Rebuild> {
        Box::new(rebuild::Rebuilder::default())
    }

    fn replay<'a>(&self, record: &Record<'a>, apply: &mut dyn FnMut(Op<'a>)) -> Result<(), Fault> {
        match view::kind(record) {
            Some(RecordKind::Write) => {
                let write = Write::parse(record.payload).ok_or(Fault::Orphan)?;
                apply(Op::Write { offset: write.offset, bytes: write.bytes });
            }
            Some(RecordKind::SetLen) => {
                apply(Op::SetLen(SetLen::parse(record.payload).ok_or(Fault::Orphan)?.len));
            }
            _ => {}
        }
        Ok(())
    }
    fn states(&self, record: &Record<'_>) -> Option<(u64, TargetState)> {
        let checkpoint = view::kind(record).filter(|&kind| kind == RecordKind::Checkpoint);
        let Checkpoint { target_len, state, .. } = checkpoint.and_then(|_| Checkpoint::parse(record.payload))?;
        Some((target_len, state?))
    }
}
