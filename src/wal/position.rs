//! Which positions a checkpoint takes: those at which a transaction of the log ends. Nobody keeps a list of all commits, so the log itself
//! is asked: the block of the position is read and followed from its start, so that bytes of a payload never pass for a record.

use std::fmt;
use std::path::{Path, PathBuf};

use super::owner::Owner;
use super::records::COMMIT_LEN;
use crate::error::{Error, Result};
use crate::formats::native::layout::{
    BLOCK, Lsn, RECORD_HEADER, RECORDS_START, RecordHeader, SegmentHeader, payload_crc, rest_of_block,
};
use crate::formats::native::log_writer::segment_name;
use crate::formats::native::payload::RecordKind;
use crate::log::open_regular;
use crate::vfs::{Disk, VfsFile, read_exact_at};

const COMMIT: u32 = COMMIT_LEN as u32;
const START: u32 = RECORDS_START as u32;

/// Where the last transaction ends that `applied` covers. `applied` is the position of a COMMIT or the one directly after it; the start of a
/// segment is the end of the segment before. The log of `owner` ends at `end`, and is written up to there.
///
/// # Errors
/// [`Error::Usage`] for every other position; [`Error::Refused`] where the log has been damaged since it was opened; [`Error::Read`], also where
/// a checkpoint has removed that part of the log.
pub(super) fn end_of(disk: &Disk, owner: &Owner, applied: Lsn, end: Lsn) -> Result<Lsn> {
    let (folder, given) = (owner.folder(), owner.given());
    let (number, offset) = (applied.segment(), applied.offset());
    if applied == end {
        return Ok(end);
    }
    if number == 0 || offset < START {
        return Err(refused(given, applied, "no record can be there"));
    }
    if applied > end {
        return Err(refused(given, applied, format_args!("nothing is committed there, the log ends at {end}")));
    }
    let segment = Segment::open(disk, folder, number)?;
    let limit =
        if number == end.segment() { end.offset() } else { Segment::open(disk, folder, number + 1)?.header.prev_end };
    if offset > limit {
        let why = format_args!("the log has nothing there, its segment {number} ends at {}", Lsn::new(number, limit));
        return Err(refused(given, applied, why));
    }
    let found = if offset < limit { segment.look(offset, limit)? } else { Found::End };
    let before = offset.checked_sub(COMMIT).filter(|&before| before >= START);
    if found == Found::Commit {
        Ok(Lsn::new(number, offset + COMMIT))
    } else if offset == START || before.map(|before| segment.look(before, limit)).transpose()? == Some(Found::Commit) {
        Ok(applied)
    } else {
        Err(refused(given, applied, found))
    }
}

fn refused(log: &Path, applied: Lsn, why: impl fmt::Display) -> Error {
    Error::Usage(format!(
        "{}: no checkpoint at {applied}: {why}\n  a checkpoint takes what `commit` returned, `Committed::end` of what was applied, or `Wal::end`",
        crate::shown(log)
    ))
}

struct Segment {
    path: PathBuf,
    file: Box<dyn VfsFile>,
    header: SegmentHeader,
}

/// What is at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Commit,
    /// A record of another kind.
    Record(&'static str),
    /// A record that begins before.
    Within(&'static str),
    /// Zeros at the end of a block.
    Fill,
    /// Nothing of the log.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => write!(f, "a commit record is there"),
            Self::Record(kind) => write!(f, "a {kind} record is there, not a commit"),
            Self::Within(kind) => write!(f, "it is inside a {kind} record"),
            Self::Fill => write!(f, "it is in the unused end of a block"),
            Self::End => write!(f, "the log ends there, but not with a commit"),
        }
    }
}

impl Segment {
    fn open(disk: &Disk, folder: &Path, number: u32) -> Result<Self> {
        let path = folder.join(segment_name(number));
        let (file, _) = open_regular(&**disk, &path)?;
        let mut head = [0; RECORDS_START];
        read_exact_at(&*file, &mut head, 0).map_err(|cause| Error::read(&path, cause))?;
        match SegmentHeader::from_either_of(&head, Some(number.into())) {
            Some(header) => Ok(Self { path, file, header }),
            None => Err(damaged(&path, 0)),
        }
    }

    /// What is at `offset`, where the log has something up to `limit`.
    fn look(&self, offset: u32, limit: u32) -> Result<Found> {
        let (offset, limit) = (u64::from(offset), u64::from(limit));
        let start = (offset / BLOCK as u64 * BLOCK as u64).max(RECORDS_START as u64);
        let end = (offset + COMMIT_LEN).min(start + rest_of_block(start) as u64).min(limit);
        let mut block = vec![0; (end - start) as usize];
        let read = read_exact_at(&*self.file, &mut block, start);
        read.map_err(|cause| Error::Read { path: self.path.clone(), offset: Some(start), cause })?;
        let mut here = start;
        while rest_of_block(here) >= RECORD_HEADER {
            let bytes = &block[(here - start) as usize..];
            let header = self.record(bytes, here).ok_or_else(|| damaged(&self.path, here))?;
            let next = here + header.total_len() as u64;
            let kind = RecordKind::from_u8(header.kind);
            let name = kind.map_or("newer", RecordKind::name);
            match bytes.get(RECORD_HEADER..header.total_len()) {
                _ if next <= offset => here = next,
                _ if here < offset => return Ok(Found::Within(name)),
                _ if kind != Some(RecordKind::Commit) => return Ok(Found::Record(name)),
                Some(body) if payload_crc(body) == header.payload_crc => return Ok(Found::Commit),
                _ => return Err(damaged(&self.path, here)),
            }
        }
        Ok(Found::Fill)
    }

    /// The header of the record that begins at `offset`, with `bytes`.
    fn record(&self, bytes: &[u8], offset: u64) -> Option<RecordHeader> {
        let header = RecordHeader::parse(bytes.first_chunk()?).ok()?;
        (header.nonce == self.header.nonce && u64::from(header.offset) == offset).then_some(header)
    }
}

fn damaged(path: &Path, offset: u64) -> Error {
    Error::refused(path, format!("damaged at offset {offset} since it was opened"))
}
