//! SQLite's write-ahead log, `<database>-wal`: whole images of pages, ended by commit frames.
//!
//! ```text
//! log    := header frame*                      frame k stands at 32 + (k - 1) * (24 + page size)
//! header := magic:4 version:4 page_size:4 checkpoint:4 salt1:4 salt2:4 s0:4 s1:4
//! frame  := page:4 commit_size:4 salt1:4 salt2:4 s0:4 s1:4 image:page_size        all big-endian
//! ```
//!
//! The header is valid if and only if
//! 1. its magic number is 0x377f0682 or, where sums read big-endian words, 0x377f0683;
//! 2. its page size is a power of two from 512 to 65536;
//! 3. its checksum over the 24 bytes before it holds, from a seed of zeros;
//! 4. its version is 3007000 (another is a newer log, not a bad one).
//!
//! A frame is valid if and only if
//! 1. its salts are the header's;
//! 2. its page number is not zero;
//! 3. its checksum over its first 8 bytes and its image holds, from the sum of the frame before (the first from the
//!    header's);
//! 4. every frame before it is valid.
//!
//! Committed is what the last valid frame with a commit size ends. What may stand behind it without being damage, and
//! how reading goes on behind damage, is in `docs/formats/sqlite.md`.

mod decoder;
mod guess;
mod layout;
mod rebuild;

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layout::{FRAME_HEADER_LEN, Frame, HEADER_LEN, Header, VERSION_KNOWN};

use crate::bytes;
use crate::checksum::Order;
use crate::decode::Decode;
use crate::format::{Clue, Fields, Format, Lock, Match, Op, Position, Rebuild, Record, Segments, Value};
use crate::span::Fault;

/// SQLite's write-ahead log.
pub struct Sqlite;

/// How a database begins.
const DATABASE_MAGIC: &[u8] = b"SQLite format 3\0";
/// Its header.
const DATABASE_HEADER_LEN: usize = 100;
/// Where its header has the page size.
const DATABASE_PAGE_SIZE: Range<usize> = 16..18;
/// What SQLite adds to the database's name.
const SUFFIX: &[u8] = b"-wal";
/// The bytes of the database on which every connection holds a shared lock (SQLite, `SHARED_FIRST`).
const SHARED_FIRST: u64 = 0x4000_0002;
/// How many they are (SQLite, `SHARED_SIZE`).
const SHARED_LEN: u64 = 510;

impl Format for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn about(&self) -> &'static str {
        "SQLite write-ahead log: page images in frames"
    }

    fn checksum(&self) -> &'static str {
        "two 32-bit Fibonacci-weighted sums, carried from frame to frame"
    }

    fn recognised_by(&self) -> &'static str {
        "magic 377f0682 or 377f0683; name ending -wal; frames that link"
    }

    fn record_noun(&self) -> &'static str {
        "frame"
    }

    fn segments(&self) -> Segments {
        Segments::One
    }

    fn commits_promise(&self) -> bool {
        false
    }

    fn has_time(&self) -> bool {
        false
    }

    fn probe(&self, clue: &Clue<'_>) -> Match {
        let named = clue.name.as_bytes().ends_with(SUFFIX);
        let header = clue.head.get(..HEADER_LEN).map(Header::parse);
        if header.is_some_and(|header| header.order().is_some()) {
            return Match::Magic;
        }
        let versioned = header.is_some_and(|header| header.version == VERSION_KNOWN);
        if (named || versioned) && guess::guess(clue.head, &mut 0).is_some() {
            return Match::Checksum;
        }
        if named { Match::Name } else { Match::No }
    }

    fn segment_number(&self, _: &OsStr) -> Option<u64> {
        None
    }

    fn decoder(&self) -> Box<dyn Decode + Send> {
        Box::new(decoder::Decoder::default())
    }

    fn position(&self, lsn: u64) -> Position {
        Position::Number(lsn)
    }

    fn parse_position(&self, text: &str) -> Option<u64> {
        text.parse().ok().filter(|&number| number > 0)
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["frame", "commit"]
    }

    fn kind(&self, record: &Record<'_>) -> &'static str {
        let commit = rebuild::parse(record).is_ok_and(|frame| frame.commit_size > 0);
        if commit { "commit" } else { "frame" }
    }

    fn describe(&self, record: &Record<'_>, out: &mut dyn Fields) {
        let Some(head) = record.head.get(..FRAME_HEADER_LEN) else { return };
        let Frame { page, commit_size, salts, sum } = Frame::parse(head);
        out.field("page", Value::Number(page.into()));
        out.field("commit_size", Value::Number(commit_size.into()));
        out.field("salt1", Value::Hex(salts.salt1));
        out.field("salt2", Value::Hex(salts.salt2));
        out.field("s0", Value::Hex(sum.s0));
        out.field("s1", Value::Hex(sum.s1));
    }

    fn describe_header(&self, header: &[u8], out: &mut dyn Fields) {
        let Some(header) = header.get(..HEADER_LEN).map(Header::parse) else { return };
        out.field("magic", Value::Hex(header.magic));
        let order = match header.order() {
            Some(Order::Little) => "little-endian",
            Some(Order::Big) => "big-endian",
            None => "unknown",
        };
        out.field("order", Value::Text(&order));
        out.field("version", Value::Number(header.version.into()));
        out.field("page_size", Value::Number(header.page_size.into()));
        out.field("checkpoint", Value::Number(header.checkpoint.into()));
        out.field("salt1", Value::Hex(header.salts.salt1));
        out.field("salt2", Value::Hex(header.salts.salt2));
        out.field("s0", Value::Hex(header.sum.s0));
        out.field("s1", Value::Hex(header.sum.s1));
    }

    fn lock(&self, segment: &Path) -> Lock {
        let database = segment.as_os_str().as_bytes().strip_suffix(SUFFIX).filter(|name| !name.ends_with(b"/"));
        database.filter(|name| !name.is_empty()).map_or(Lock::None, |name| Lock::Record {
            path: PathBuf::from(OsStr::from_bytes(name)),
            start: SHARED_FIRST,
            len: SHARED_LEN,
        })
    }

    fn rebuild(&self) -> Box<dyn Rebuild> {
        Box::new(rebuild::Rebuilder::default())
    }

    fn replay<'a>(&self, record: &Record<'a>, apply: &mut dyn FnMut(Op<'a>)) -> Result<(), Fault> {
        let Frame { page, commit_size, .. } = rebuild::parse(record)?;
        let page_len = record.payload.len() as u64;
        apply(Op::Write { offset: u64::from(page - 1) * page_len, bytes: record.payload });
        if commit_size > 0 {
            apply(Op::SetLen(u64::from(commit_size) * page_len));
        }
        Ok(())
    }

    fn paged(&self) -> bool {
        true
    }

    fn fits(&self, first: &Record<'_>, head: &[u8]) -> Result<(), String> {
        if head.is_empty() {
            return Ok(());
        }
        let Some(header) = head.get(..DATABASE_HEADER_LEN).filter(|header| header.starts_with(DATABASE_MAGIC)) else {
            return Err("the target is not a SQLite database".into());
        };
        // 65536 does not fit the field.
        let page_size = match bytes::u16_be(&header[DATABASE_PAGE_SIZE]) {
            1 => 65536,
            size => usize::from(size),
        };
        match first.payload.len() {
            len if len == page_size => Ok(()),
            len => Err(format!(
                "its pages have {len} bytes, those of the target {page_size}: not the log of this database"
            )),
        }
    }
}
