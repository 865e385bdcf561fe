//! The bytes of a segment, shared by the decoder and the writers. Little-endian; the CRC is CRC-32 (IEEE).
//!
//! ```text
//! segment   0      128           4096   4224          8192                32768               65536
//!           +------+-------------+------+-------------+-------------------+-------------------+--
//!           |header| zeros       |twin  | zeros       | records           | records           |
//!           +------+-------------+------+-------------+-------------------+-------------------+--
//!           |<------------------ block 0 ---------------------------------|<---- block 1 ---->|
//!
//! header    0        8    10   12      16      20      24              40      44      48      52
//!           +--------+----+----+-------+-------+-------+---------------+-------+-------+-------+
//!           | magic  |ver |len |incomp |compat |number | log id        |nonce  |prev n.|prev e.|
//!           +--------+----+----+-------+-------+-------+---------------+-------+-------+-------+
//!           52      56        64        72        80              96            124    128
//!           +-------+---------+---------+---------+---------------+-------------+------+
//!           | 0     |first tx |redo LSN |created  | target id     | 0           | CRC  |
//!           +-------+---------+---------+---------+---------------+-------------+------+
//!
//! record    0      2    3     4      6      8        12       16       20       24
//!           +------+----+-----+------+------+--------+--------+--------+--------+---------+-------+
//!           |magic |kind|flags| len  | 0    | nonce  | offset |body CRC|head CRC| payload | zeros |
//!           +------+----+-----+------+------+--------+--------+--------+--------+---------+-------+
//! ```
//!
//! A segment header is valid if and only if
//! 1. bytes 0..8 are [`MAGIC`];
//! 2. bytes 124..128 are the CRC of bytes 0..124;
//! 3. the version is [`VERSION`] and no incompatible flag is set (else it is newer than this code, not broken);
//! 4. the header length is [`HEADER_LEN`];
//! 5. bytes 52..56 and 96..124 are zero.
//!
//! A record is valid if and only if
//! 1. it stands where a record can stand: behind a valid record, behind a record whose header alone is valid (its length is
//!    proven), or at the start of a block, which in block 0 is [`RECORDS_START`];
//! 2. bytes 20..24 are the CRC of bytes 0..20;
//! 3. bytes 0..2 are [`RECORD_MAGIC`], bytes 6..8 are zero, the kind is not 0 and the length at most [`PAYLOAD_MAX`];
//! 4. the nonce is the segment's, and the offset is the record's own;
//! 5. it ends within its block;
//! 6. bytes 16..20 are the CRC of the payload and its padding.
//!
//! [`RecordHeader::parse`] checks 2 and 3; the rest takes the segment, so it is the decoder's.

use std::ops::Range;

pub use super::lsn::{Lsn, LsnError};
use crate::{bytes, checksum};

/// The size of a block. No record crosses one, so after damage a reader finds the next record without a search, and
/// payload bytes are never tried as records.
pub const BLOCK: usize = 32 * 1024;
/// The bytes of a segment header. Its second use is as the value of the field of this name: room for growth.
pub const HEADER_LEN: usize = 128;
/// Where the header's twin starts: a page of its own, so one bad sector or one torn page does not take both.
pub const TWIN: usize = 4096;
/// Where records start: behind both pages of the header.
pub const RECORDS_START: usize = 8192;
/// The bytes of a record header; fewer left in a block are zeros.
pub const RECORD_HEADER: usize = 24;
/// The longest payload, a whole block less a header: a flipped length cannot ask for an absurd allocation.
pub const PAYLOAD_MAX: usize = BLOCK - RECORD_HEADER;
/// Records start at multiples of this.
pub const ALIGN: usize = 8;
/// The longest segment: one block short of 4 GiB, so that an offset, and the end, fit 32 bits.
pub const SEGMENT_MAX: u64 = (1 << 32) - BLOCK as u64;
/// The first bytes of a segment. The high bit and the line end inside show damage by a transfer in text mode.
pub const MAGIC: [u8; 8] = *b"\x89WALT\r\n\x1a";
/// The version written and read here.
pub const VERSION: u16 = 1;
/// The first bytes of a record.
pub const RECORD_MAGIC: [u8; 2] = [0x9d, 0xe7];

const _: () = assert!(PAYLOAD_MAX.is_multiple_of(ALIGN) && PAYLOAD_MAX <= u16::MAX as usize);
const _: () = assert!(RECORDS_START < BLOCK && RECORDS_START.is_multiple_of(ALIGN));
const _: () = assert!(SEGMENT_MAX <= u32::MAX as u64 && SEGMENT_MAX.is_multiple_of(BLOCK as u64));

/// What conversions of line ends, and a round through UTF-8, make of [`MAGIC`].
const MAGIC_MANGLED: [&[u8]; 6] = [
    b"\x89WALT\n\x1a",
    b"\x89WALT\n\n\x1a",
    b"\x89WALT\r\r\n\x1a",
    b"\x89WALT\r\n\r\n\x1a",
    b"\xc2\x89WALT",
    b"\xef\xbf\xbdWALT",
];

mod header {
    use super::Range;

    pub const MAGIC: Range<usize> = 0..8;
    pub const VERSION: Range<usize> = 8..10;
    pub const LEN: Range<usize> = 10..12;
    pub const INCOMPATIBLE: Range<usize> = 12..16;
    pub const COMPATIBLE: Range<usize> = 16..20;
    pub const NUMBER: Range<usize> = 20..24;
    pub const LOG_ID: Range<usize> = 24..40;
    pub const NONCE: Range<usize> = 40..44;
    pub const PREV_NONCE: Range<usize> = 44..48;
    pub const PREV_END: Range<usize> = 48..52;
    pub const ZERO_A: Range<usize> = 52..56;
    pub const FIRST_TRANSACTION: Range<usize> = 56..64;
    pub const REDO_LSN: Range<usize> = 64..72;
    pub const CREATED_NS: Range<usize> = 72..80;
    pub const TARGET_ID: Range<usize> = 80..96;
    pub const ZERO_B: Range<usize> = 96..124;
    pub const CHECKED: Range<usize> = 0..124;
    pub const CRC: Range<usize> = 124..128;
}

pub(super) mod record {
    use super::Range;

    pub const MAGIC: Range<usize> = 0..2;
    pub const KIND: usize = 2;
    pub const FLAGS: usize = 3;
    pub const LEN: Range<usize> = 4..6;
    pub const ZERO: Range<usize> = 6..8;
    pub const NONCE: Range<usize> = 8..12;
    pub const OFFSET: Range<usize> = 12..16;
    pub const PAYLOAD_CRC: Range<usize> = 16..20;
    pub const CHECKED: Range<usize> = 0..20;
    pub const CRC: Range<usize> = 20..24;
}

/// The bytes of a record header before its offset: alike in all records of a segment that have one kind and one length.
pub(super) const RECORD_START: usize = record::OFFSET.start;

/// The CRC of a record's body: its payload and the padding behind it, so that every byte is covered.
#[inline]
pub fn payload_crc(body: &[u8]) -> u32 {
    checksum::crc32(body)
}

/// What a payload of `len` bytes takes with its padding.
#[inline]
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// The bytes from `offset` to the end of its block; a whole block at the start of one.
#[inline]
pub const fn rest_of_block(offset: u64) -> usize {
    BLOCK - (offset % BLOCK as u64) as usize
}

/// What a segment says of itself. Written at 0 and again at [`TWIN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The version of the layout; [`VERSION`].
    pub version: u16,
    /// Features without which the segment cannot be read. None is defined.
    pub incompatible: u32,
    /// Features without which the segment can be read but must not be altered. None is defined.
    pub compatible: u32,
    /// The segment's number in its log, from 1: finds files that were renamed, swapped or doubled.
    pub number: u32,
    /// The random name of the log: finds foreign segments.
    pub log_id: [u8; 16],
    /// The random name of the segment, repeated in each of its records.
    pub nonce: u32,
    /// The predecessor's nonce: an older or forked predecessor is refused. 0 in the first segment.
    pub prev_nonce: u32,
    /// Where the predecessor's last COMMIT ends ([`RECORDS_START`] if it has none): proves its length. 0 in the first segment.
    pub prev_end: u32,
    /// The number of the first transaction here: counts what is missing over a gap.
    pub first_transaction: u64,
    /// Where replay had to start when the segment was created.
    pub redo_lsn: Lsn,
    /// When the segment was created, in nanoseconds since 1970.
    pub created_ns: u64,
    /// The random name of the file the log is for, or zeros: replay refuses another.
    pub target_id: [u8; 16],
}

/// Why bytes are not a segment header. [`HeaderFault::answer`] sorts the faults into three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Other magic.
    #[error("not a WALT1 segment")]
    NotOurs,
    /// The magic as a conversion of line ends or of the text's encoding leaves it.
    #[error("a WALT1 segment that was transferred as text: line ends or encoding were converted")]
    TextMode,
    /// The bytes end within the header.
    #[error("the header is cut: {have} of {HEADER_LEN} bytes")]
    Cut {
        /// How many bytes there are.
        have: usize,
    },
    /// The CRC does not hold.
    #[error("header checksum: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the header.
        computed: u32,
    },
    /// Intact, of another version.
    #[error("version {0}, newer than this tool")]
    Version(u16),
    /// Intact, with incompatible flags that are unknown here.
    #[error("incompatible flags {0:#010x}, newer than this tool")]
    Incompatible(u32),
    /// Intact, of another length.
    #[error("a header of {0} bytes, newer than this tool")]
    HeaderLength(u16),
    /// Intact, with a reserved field that is not zero.
    #[error("a reserved field of the header is not zero")]
    Reserved,
}

/// The three answers to "can this segment be read".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Some other file.
    NotOurs,
    /// Intact, and beyond this code.
    TooNew,
    /// Ours, and damaged.
    Broken,
}

impl HeaderFault {
    /// Which of the three it is.
    pub fn answer(self) -> Answer {
        match self {
            Self::NotOurs => Answer::NotOurs,
            Self::Version(_) | Self::Incompatible(_) | Self::HeaderLength(_) => Answer::TooNew,
            Self::TextMode | Self::Cut { .. } | Self::Checksum { .. } | Self::Reserved => Answer::Broken,
        }
    }
}

impl SegmentHeader {
    /// The bytes of the header, as this version writes them.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[header::MAGIC].copy_from_slice(&MAGIC);
        out[header::VERSION].copy_from_slice(&self.version.to_le_bytes());
        out[header::LEN].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        out[header::INCOMPATIBLE].copy_from_slice(&self.incompatible.to_le_bytes());
        out[header::COMPATIBLE].copy_from_slice(&self.compatible.to_le_bytes());
        out[header::NUMBER].copy_from_slice(&self.number.to_le_bytes());
        out[header::LOG_ID].copy_from_slice(&self.log_id);
        out[header::NONCE].copy_from_slice(&self.nonce.to_le_bytes());
        out[header::PREV_NONCE].copy_from_slice(&self.prev_nonce.to_le_bytes());
        out[header::PREV_END].copy_from_slice(&self.prev_end.to_le_bytes());
        out[header::FIRST_TRANSACTION].copy_from_slice(&self.first_transaction.to_le_bytes());
        out[header::REDO_LSN].copy_from_slice(&self.redo_lsn.0.to_le_bytes());
        out[header::CREATED_NS].copy_from_slice(&self.created_ns.to_le_bytes());
        out[header::TARGET_ID].copy_from_slice(&self.target_id);
        let sum = checksum::crc32(&out[header::CHECKED]);
        out[header::CRC].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the header at the start of `bytes`. The CRC is checked before version and flags are believed; flags before
    /// length and reserved fields, which they may change.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let magic_len = bytes.len().min(MAGIC.len());
        if bytes[..magic_len] != MAGIC[..magic_len] || bytes.is_empty() {
            let text = MAGIC_MANGLED.iter().any(|mangled| bytes.starts_with(mangled));
            return Err(if text { HeaderFault::TextMode } else { HeaderFault::NotOurs });
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(HeaderFault::Cut { have: bytes.len() });
        };
        let (stored, computed) = (bytes::u32_le(&bytes[header::CRC]), checksum::crc32(&bytes[header::CHECKED]));
        if stored != computed {
            return Err(HeaderFault::Checksum { stored, computed });
        }
        let version = bytes::u16_le(&bytes[header::VERSION]);
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let incompatible = bytes::u32_le(&bytes[header::INCOMPATIBLE]);
        if incompatible != 0 {
            return Err(HeaderFault::Incompatible(incompatible));
        }
        let len = bytes::u16_le(&bytes[header::LEN]);
        if usize::from(len) != HEADER_LEN {
            return Err(HeaderFault::HeaderLength(len));
        }
        if !bytes::all_zero(&bytes[header::ZERO_A]) || !bytes::all_zero(&bytes[header::ZERO_B]) {
            return Err(HeaderFault::Reserved);
        }
        Ok(Self {
            version,
            incompatible,
            compatible: bytes::u32_le(&bytes[header::COMPATIBLE]),
            number: bytes::u32_le(&bytes[header::NUMBER]),
            log_id: id(&bytes[header::LOG_ID]),
            nonce: bytes::u32_le(&bytes[header::NONCE]),
            prev_nonce: bytes::u32_le(&bytes[header::PREV_NONCE]),
            prev_end: bytes::u32_le(&bytes[header::PREV_END]),
            first_transaction: bytes::u64_le(&bytes[header::FIRST_TRANSACTION]),
            redo_lsn: Lsn(bytes::u64_le(&bytes[header::REDO_LSN])),
            created_ns: bytes::u64_le(&bytes[header::CREATED_NS]),
            target_id: id(&bytes[header::TARGET_ID]),
        })
    }

    /// The header of a segment by its first bytes, from either copy.
    pub fn from_either(head: &[u8]) -> Option<Self> {
        Self::from_either_of(head, None)
    }

    /// The header of the segment of this number by its first bytes: a copy that says so, or else either. A page that was written to a
    /// wrong place is intact, and the other copy is still there.
    pub fn from_either_of(head: &[u8], number: Option<u64>) -> Option<Self> {
        let at = |at: usize| Self::parse(head.get(at..at + HEADER_LEN)?).ok();
        let is_named = |header: &Self| number == Some(header.number.into());
        let (first, twin) = (at(0), at(TWIN));
        let named = [&first, &twin].into_iter().flatten().find(|header| is_named(header)).cloned();
        named.or(first).or(twin)
    }
}

fn id(field: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(field);
    id
}

/// What stands before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the payload is; see [`RecordKind`](super::payload::RecordKind). An unknown one is newer than this code.
    pub kind: u8,
    /// Bits whose meaning depends on the kind.
    pub flags: u8,
    /// The bytes of the payload, without padding.
    pub len: u16,
    /// The segment's nonce: refuses records of another segment or an earlier life of the file.
    pub nonce: u32,
    /// The record's own offset: refuses records that were copied or moved.
    pub offset: u32,
    /// The CRC of payload and padding.
    pub payload_crc: u32,
}

/// Why 24 bytes are not a record header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The CRC of the header does not hold; nothing else in it is believed.
    #[error("record header checksum: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the header.
        computed: u32,
    },
    /// Intact, with another magic.
    #[error("record magic {0:02x?}")]
    Magic([u8; 2]),
    /// Intact, with a reserved field that is not zero.
    #[error("reserved field of the record is {0:#06x}, not zero")]
    Reserved(u16),
    /// Intact, with a length over [`PAYLOAD_MAX`].
    #[error("payload length {0} over {PAYLOAD_MAX}")]
    Length(u16),
    /// Intact, of kind 0, which is invalid so that zeros are never a record.
    #[error("record kind 0")]
    Kind,
}

impl RecordHeader {
    /// What the record takes in the file: header, payload and padding.
    #[inline]
    pub const fn total_len(&self) -> usize {
        RECORD_HEADER + padded(self.len as usize)
    }

    /// The bytes of the header.
    #[inline]
    pub fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut out = [0; RECORD_HEADER];
        out[record::MAGIC].copy_from_slice(&RECORD_MAGIC);
        out[record::KIND] = self.kind;
        out[record::FLAGS] = self.flags;
        out[record::LEN].copy_from_slice(&self.len.to_le_bytes());
        out[record::NONCE].copy_from_slice(&self.nonce.to_le_bytes());
        out[record::OFFSET].copy_from_slice(&self.offset.to_le_bytes());
        out[record::PAYLOAD_CRC].copy_from_slice(&self.payload_crc.to_le_bytes());
        let sum = checksum::crc32(&out[record::CHECKED]);
        out[record::CRC].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a header. Whether nonce and offset belong here, and whether the payload holds, is for the caller.
    #[inline]
    pub fn parse(bytes: &[u8; RECORD_HEADER]) -> Result<Self, RecordFault> {
        // Twenty bytes and four are all of it.
        let Some((checked, stored)) = bytes.split_first_chunk() else { return Err(RecordFault::Kind) };
        let (stored, computed) = (bytes::u32_le(stored), checksum::crc32_20(checked));
        if stored != computed {
            return Err(RecordFault::Checksum { stored, computed });
        }
        if bytes[record::MAGIC] != RECORD_MAGIC {
            return Err(RecordFault::Magic([bytes[record::MAGIC.start], bytes[record::MAGIC.start + 1]]));
        }
        let zero = bytes::u16_le(&bytes[record::ZERO]);
        if zero != 0 {
            return Err(RecordFault::Reserved(zero));
        }
        let len = bytes::u16_le(&bytes[record::LEN]);
        if usize::from(len) > PAYLOAD_MAX {
            return Err(RecordFault::Length(len));
        }
        let kind = bytes[record::KIND];
        if kind == 0 {
            return Err(RecordFault::Kind);
        }
        Ok(Self {
            kind,
            flags: bytes[record::FLAGS],
            len,
            nonce: bytes::u32_le(&bytes[record::NONCE]),
            offset: bytes::u32_le(&bytes[record::OFFSET]),
            payload_crc: bytes::u32_le(&bytes[record::PAYLOAD_CRC]),
        })
    }
}

#[cfg(test)]
mod tests;
