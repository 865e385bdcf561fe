//! Where records go and how they are encoded, for every writer of the format: pure functions, so that all of them lay
//! out the same bytes.

use std::io;
use std::path::PathBuf;

use super::layout::{Lsn, PAYLOAD_MAX, RECORD_HEADER, RecordHeader, padded, payload_crc, rest_of_block};
use super::payload::{Checkpoint, Commit, DATA_MAX, RecordKind};
use crate::error::debug_as_text;
use crate::format::TargetState;
use crate::vfs::LEN_MAX;

/// Bytes up to this long are never split, and no fragment shorter than this is cut off: a small write is one record
/// in a dump, at a cost of at most 2 % of a block.
pub const SPLIT_MIN: usize = 512;
static ZEROS: [u8; PAYLOAD_MAX] = [0; PAYLOAD_MAX];

/// What stops a writer.
#[derive(thiserror::Error)]
pub enum WriteError {
    /// Writing failed. How much of the last records is in the file is not known.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file operation on a segment failed.
    #[error("{}: {cause}", crate::shown(path))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An earlier write failed, so the state of the file is unknown and nothing more is written to it.
    #[error("an earlier write failed: what is durable is unknown")]
    Poisoned,
    /// The segment was sealed or closed.
    #[error("the segment is sealed or closed")]
    Ended,
    /// The segment would grow past what an offset can name. Nothing was written.
    #[error("the transaction is too long: its segment would have {end} bytes, and a segment has {max} at most")]
    SegmentFull {
        /// Where it would end.
        end: u64,
        /// Where it may end.
        max: u64,
    },
    /// A payload or DATA is too long.
    #[error("an entry of {len} bytes is too long: it has {max} at most")]
    TooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A write that ends beyond [`LEN_MAX`].
    #[error("a write of {len} bytes at offset {offset} would end beyond the longest file that there can be")]
    TargetRange {
        /// Where it starts.
        offset: u64,
        /// Its length.
        len: usize,
    },
    /// A length over [`LEN_MAX`].
    #[error("a length of {len} bytes is more than a file can have")]
    TargetLen {
        /// The length.
        len: u64,
    },
    /// The file system of the target, or this process's own limit, has no room for files of such a length.
    #[error(
        "{}: it would be {len} bytes long; by the file system, or by `ulimit -f`, it can have {max}",
        crate::shown(path)
    )]
    TargetMax {
        /// The target.
        path: PathBuf,
        /// How long it would be.
        len: u64,
        /// How long it can be.
        max: u64,
    },
    /// A record of kind 0, which is invalid.
    #[error("records of kind 0 are invalid")]
    KindZero,
    /// A close or a seal while records wait for their commit.
    #[error("the transaction from {first_off:#x} on is not committed")]
    TransactionOpen {
        /// Where its first record stands.
        first_off: u32,
    },
    /// A promise of bytes that were never written.
    #[error("a promise up to {offset:#x}, but the segment ends at {end:#x}")]
    Promise {
        /// How far the promise goes.
        offset: u32,
        /// Where the segment ends.
        end: u32,
    },
}

debug_as_text!(WriteError);

/// One thing a transaction records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Bytes for the target; as many WRITEs as they take.
    Write {
        /// Where in the target.
        offset: u64,
        /// What; no bytes are no record.
        bytes: &'a [u8],
    },
    /// A new length of the target.
    SetLen(u64),
    /// Bytes of the application; as many DATA fragments as they take, at least one.
    Data(&'a [u8]),
    /// How far the target holds the log.
    Checkpoint {
        /// Replay starts here.
        redo_lsn: Lsn,
        /// The length the target had.
        target_len: u64,
        /// Its content, if something is said of that.
        state: Option<TargetState>,
    },
}

impl Entry<'_> {
    /// How long the target is at least once this is applied: what a transaction asks of its file system.
    pub fn reach(&self) -> u64 {
        match *self {
            Entry::Write { bytes: [], .. } | Entry::Data(_) | Entry::Checkpoint { .. } => 0,
            Entry::Write { offset, bytes } => offset.saturating_add(bytes.len() as u64),
            Entry::SetLen(len) => len,
        }
    }

    /// Where a segment that ends at `end` will end with this entry behind it; an error if no segment can hold the entry.
    pub fn end_from(&self, end: u64) -> Result<u64, WriteError> {
        let (head, mut left) = match *self {
            Entry::Write { offset, bytes } => {
                if bytes.is_empty() {
                    return Ok(end);
                }
                if offset.saturating_add(bytes.len() as u64) > LEN_MAX {
                    return Err(WriteError::TargetRange { offset, len: bytes.len() });
                }
                (WRITE_HEAD, bytes.len())
            }
            Entry::Data(bytes) => {
                if bytes.len() > DATA_MAX {
                    return Err(WriteError::TooLong { len: bytes.len(), max: DATA_MAX });
                }
                (0, bytes.len())
            }
            Entry::SetLen(len) if len > LEN_MAX => return Err(WriteError::TargetLen { len }),
            Entry::SetLen(_) => (8, 0),
            Entry::Checkpoint { redo_lsn, target_len, state } => (Checkpoint { redo_lsn, target_len, state }.len(), 0),
        };
        let mut end = end;
        loop {
            let piece = first_piece(end, head, left);
            end = end_of(end, head + piece);
            left -= piece;
            if left == 0 {
                return Ok(end);
            }
        }
    }
}

/// The target offset before the bytes of a WRITE.
pub(super) const WRITE_HEAD: usize = 8;

/// Where a record with `len` bytes of payload goes in a segment that ends at `end`: there, or at the next block when the
/// rest of this one is too short.
pub fn place(end: u64, len: usize) -> u64 {
    let rest = rest_of_block(end);
    if RECORD_HEADER + padded(len) <= rest { end } else { end + rest as u64 }
}

/// Where the segment ends once that record is in it.
pub fn end_of(end: u64, len: usize) -> u64 {
    place(end, len) + (RECORD_HEADER + padded(len)) as u64
}

/// What a segment keeps free for its last record. A close mark is the longest, and the rest of a block too short for it
/// comes before it.
const TAIL_ROOM: u64 = (2 * (RECORD_HEADER + padded(Commit::LEN))) as u64;

/// Where a segment that ends at `end` will end with this transaction and its last record behind it, at most; an error if no
/// segment can hold one of the entries.
pub fn transaction_end<'a>(end: u64, entries: impl IntoIterator<Item = Entry<'a>>) -> Result<u64, WriteError> {
    let end = entries.into_iter().try_fold(end, |end, entry| entry.end_from(end))?;
    Ok(end_of(end, Commit::LEN) + TAIL_ROOM)
}

/// How many of `left` bytes the next record takes when each record has `head` bytes of payload before them. Long bytes
/// fill the rest of the block, so that pages of 16 KiB do not waste half the file.
pub(super) fn first_piece(end: u64, head: usize, left: usize) -> usize {
    let room = rest_of_block(end).saturating_sub(RECORD_HEADER + head);
    if left <= room || (left > SPLIT_MIN && room >= SPLIT_MIN) { left.min(room) } else { left.min(PAYLOAD_MAX - head) }
}

/// Appends one record to `out`: header, the payload from its parts, padding. `offset` is where the record will stand in
/// the segment; the parts are at most [`PAYLOAD_MAX`] bytes together.
pub fn push_record(out: &mut Vec<u8>, kind: u8, flags: u8, nonce: u32, offset: u32, parts: &[&[u8]]) {
    let start = out.len();
    let body = start + RECORD_HEADER;
    out.extend_from_slice(&[0; RECORD_HEADER]);
    for part in parts {
        out.extend_from_slice(part);
    }
    let len = out.len() - body;
    assert!(len <= PAYLOAD_MAX, "a payload of {len} bytes");
    out.resize(body + padded(len), 0);
    let payload_crc = payload_crc(&out[body..]);
    let header = RecordHeader { kind, flags, len: len as u16, nonce, offset, payload_crc };
    out[start..body].copy_from_slice(&header.encode());
}

/// Appends what fills the block from `offset` on: zeros where no header fits, else a PAD.
pub fn push_rest(out: &mut Vec<u8>, nonce: u32, offset: u32) {
    let rest = rest_of_block(offset.into());
    match rest.checked_sub(RECORD_HEADER) {
        Some(len) => push_record(out, RecordKind::Pad.into(), 0, nonce, offset, &[&ZEROS[..len]]),
        None => out.extend_from_slice(&ZEROS[..rest]),
    }
}

/// Puts another promise into the COMMIT record that `bytes` begin with: a sync may have covered more since it was encoded.
pub fn set_promise(bytes: &mut [u8], durable_off: u32) {
    let (head, body) = bytes.split_at_mut(RECORD_HEADER);
    let body = &mut body[..padded(Commit::LEN)];
    Commit::set_durable_off(body, durable_off);
    let header =
        head.first_chunk().and_then(|head| RecordHeader::parse(head).ok()).expect("a record that was encoded here");
    head.copy_from_slice(&RecordHeader { payload_crc: payload_crc(body), ..header }.encode());
}
