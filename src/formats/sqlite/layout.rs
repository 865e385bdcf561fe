//! The bytes of a log: fields, and what can be said of a header or a frame alone.

use std::ops::Range;

use crate::bytes::u32_be;
use crate::checksum::{Order, Sum, sqlite_sum};

/// Bytes of the log's header.
pub(super) const HEADER_LEN: usize = 32;
const MAGIC: Range<usize> = 0..4;
const VERSION: Range<usize> = 4..8;
const PAGE_SIZE: Range<usize> = 8..12;
const CHECKPOINT: Range<usize> = 12..16;
const SALTS: Range<usize> = 16..24;
/// What the header's checksum covers; the checksum stands behind it.
pub(super) const HEADER_COVERED: Range<usize> = 0..24;
const HEADER_SUM: Range<usize> = 24..32;

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_LEN: usize = 24;
const PAGE: Range<usize> = 0..4;
const COMMIT_SIZE: Range<usize> = 4..8;
/// What a frame's checksum covers of its header; the salts and the checksum itself are left out.
pub(super) const FRAME_COVERED: Range<usize> = 0..8;
/// Where a frame's salts stand in it.
pub(super) const FRAME_SALTS: Range<usize> = 8..16;
/// Where a frame's checksum stands in it.
pub(super) const FRAME_SUM: Range<usize> = 16..24;

/// Magic number of a log whose checksums read little-endian words; the last bit set, big-endian ones.
pub(super) const MAGIC_LITTLE: u32 = 0x377f_0682;
/// See [`MAGIC_LITTLE`].
pub(super) const MAGIC_BIG: u32 = 0x377f_0683;
/// The only version of the format so far.
pub(super) const VERSION_KNOWN: u32 = 3_007_000;
/// The largest page, and so the largest payload.
pub(super) const PAGE_SIZE_MAX: usize = 65536;
/// Bytes of the largest frame.
pub(super) const FRAME_LEN_MAX: usize = FRAME_HEADER_LEN + PAGE_SIZE_MAX;
/// Every page size that a database can have.
pub(super) const PAGE_SIZES: [usize; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/// Both salts: what tells one life of the file from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salts {
    /// Grows by one at each restart of the log.
    pub salt1: u32,
    /// Random.
    pub salt2: u32,
}

impl Salts {
    fn parse(field: &[u8]) -> Self {
        Self { salt1: u32_be(&field[..4]), salt2: u32_be(&field[4..]) }
    }

    /// Both as one number, the first above.
    pub fn joined(self) -> u64 {
        u64::from(self.salt1) << 32 | u64::from(self.salt2)
    }
}

/// Both words of a checksum as one number, the first above.
pub(super) fn joined(sum: Sum) -> u64 {
    u64::from(sum.s0) << 32 | u64::from(sum.s1)
}

fn parse_sum(field: &[u8]) -> Sum {
    Sum { s0: u32_be(&field[..4]), s1: u32_be(&field[4..]) }
}

/// The log's header as it stands, right or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub magic: u32,
    pub version: u32,
    pub page_size: u32,
    pub checkpoint: u32,
    pub salts: Salts,
    pub sum: Sum,
}

impl Header {
    /// Caller's duty: [`HEADER_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        Self {
            magic: u32_be(&bytes[MAGIC]),
            version: u32_be(&bytes[VERSION]),
            page_size: u32_be(&bytes[PAGE_SIZE]),
            checkpoint: u32_be(&bytes[CHECKPOINT]),
            salts: Salts::parse(&bytes[SALTS]),
            sum: parse_sum(&bytes[HEADER_SUM]),
        }
    }

    /// How the log's checksums read words, by the magic number.
    pub fn order(&self) -> Option<Order> {
        match self.magic {
            MAGIC_LITTLE => Some(Order::Little),
            MAGIC_BIG => Some(Order::Big),
            _ => None,
        }
    }

    /// The page size in bytes, if a database can have it.
    pub fn page_len(&self) -> Option<usize> {
        PAGE_SIZES.into_iter().find(|&size| size as u64 == u64::from(self.page_size))
    }

    /// A new header of this version, with its checksum.
    pub fn encode(order: Order, page_len: usize, checkpoint: u32, salts: Salts) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let magic = if order == Order::Little { MAGIC_LITTLE } else { MAGIC_BIG };
        bytes[MAGIC].copy_from_slice(&magic.to_be_bytes());
        bytes[VERSION].copy_from_slice(&VERSION_KNOWN.to_be_bytes());
        bytes[PAGE_SIZE].copy_from_slice(&(page_len as u32).to_be_bytes());
        bytes[CHECKPOINT].copy_from_slice(&checkpoint.to_be_bytes());
        bytes[SALTS].copy_from_slice(&salts.joined().to_be_bytes());
        let sum = header_sum(order, &bytes);
        bytes[HEADER_SUM].copy_from_slice(&joined(sum).to_be_bytes());
        bytes
    }
}

/// The checksum that a header should have. Caller's duty: [`HEADER_LEN`] bytes.
pub(super) fn header_sum(order: Order, header: &[u8]) -> Sum {
    sqlite_sum(order, Sum::default(), &header[HEADER_COVERED])
}

/// A frame's header as it stands, right or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Number of the page, from 1.
    pub page: u32,
    /// In a commit frame the size of the database in pages, else 0.
    pub commit_size: u32,
    pub salts: Salts,
    pub sum: Sum,
}

impl Frame {
    /// Caller's duty: at least [`FRAME_HEADER_LEN`] bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Self {
        Self {
            page: u32_be(&bytes[PAGE]),
            commit_size: u32_be(&bytes[COMMIT_SIZE]),
            salts: Salts::parse(&bytes[FRAME_SALTS]),
            sum: parse_sum(&bytes[FRAME_SUM]),
        }
    }

    /// By their headers, `next` may stand behind this frame.
    pub fn may_precede(&self, next: &Self) -> bool {
        self.salts == next.salts && self.salts != Salts::default() && self.page > 0 && next.page > 0
    }

    /// The header of a frame that follows one with the sum `seed`, and its own sum.
    pub fn encode(&self, order: Order, seed: Sum, image: &[u8]) -> ([u8; FRAME_HEADER_LEN], Sum) {
        let mut bytes = [0; FRAME_HEADER_LEN];
        bytes[PAGE].copy_from_slice(&self.page.to_be_bytes());
        bytes[COMMIT_SIZE].copy_from_slice(&self.commit_size.to_be_bytes());
        bytes[FRAME_SALTS].copy_from_slice(&self.salts.joined().to_be_bytes());
        let sum = sqlite_sum(order, sqlite_sum(order, seed, &bytes[FRAME_COVERED]), image);
        bytes[FRAME_SUM].copy_from_slice(&joined(sum).to_be_bytes());
        (bytes, sum)
    }
}

/// The checksum that a whole frame should have behind one with the sum `seed`. Caller's duty: a whole frame.
#[inline]
pub(super) fn frame_sum(order: Order, seed: Sum, frame: &[u8]) -> Sum {
    let sum = sqlite_sum(order, seed, &frame[FRAME_COVERED]);
    sqlite_sum(order, sum, &frame[FRAME_HEADER_LEN..])
}

/// The second of two neighbouring slots continues the first by the checksum stored there.
pub(super) fn links(order: Order, first: &[u8], second: &[u8]) -> bool {
    let (a, b) = (Frame::parse(first), Frame::parse(second));
    a.may_precede(&b) && frame_sum(order, a.sum, second) == b.sum
}
