//! Records of one kind and one length. Their headers begin alike and differ in offset and checksums only, so a run of them
//! has the first half of one header parsed, and the others' compared with it.

use std::ops::Range;

use super::layout::{
    PAYLOAD_MAX, RECORD_HEADER, RECORD_MAGIC, RECORD_START, padded, payload_crc, record, rest_of_block,
};
use super::payload::RecordKind;
use crate::bytes::{u16_le, u32_le};
use crate::checksum::{crc32_20_start, crc32_20_with};
use crate::decode::Input;

/// How plain records begin: bytes of a transaction, which most records are. The others change what a decoder knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alike {
    /// Zeros before the first, which no record begins with.
    start: [u8; RECORD_START],
    /// Of the start.
    sum: u32,
    len: u16,
}

impl Alike {
    /// The start of a plain record's header, as far as it can be told without the header's checksum.
    pub(super) fn of(start: &[u8; RECORD_START]) -> Option<Self> {
        let (flags, len) = (start[record::FLAGS], u16_le(&start[record::LEN]));
        let plain = match RecordKind::from_u8(start[record::KIND])? {
            RecordKind::Write => flags == 0 && len > 8,
            RecordKind::Data => flags & !RecordKind::Data.flags() == 0,
            RecordKind::SetLen | RecordKind::Checkpoint | RecordKind::Commit | RecordKind::Seal | RecordKind::Pad => {
                false
            }
        };
        let sound = start[record::MAGIC] == RECORD_MAGIC
            && u16_le(&start[record::ZERO]) == 0
            && usize::from(len) <= PAYLOAD_MAX;
        (plain && sound).then(|| Self { start: *start, sum: crc32_20_start(start), len })
    }

    /// The segment that they are of.
    pub(super) fn nonce(&self) -> u32 {
        u32_le(&self.start[record::NONCE])
    }

    /// Whether a header begins like this.
    #[inline(always)]
    pub(super) fn begins(&self, start: &[u8; RECORD_START]) -> bool {
        self.start == *start && self.len > 0
    }

    /// What each takes in the file.
    #[inline(always)]
    pub(super) fn total_len(&self) -> usize {
        RECORD_HEADER + padded(self.len.into())
    }

    /// The payload of the record that stands here and begins like this, if it is at hand, intact and in its place.
    #[inline(always)]
    pub(super) fn body(&self, input: &Input<'_>) -> Option<Range<usize>> {
        let (head, _) = input.bytes.split_first_chunk::<RECORD_HEADER>()?;
        let (rest, stored) = head[RECORD_START..].split_first_chunk()?;
        let sound = crc32_20_with(self.sum, rest) == u32_le(stored)
            && u64::from(u32_le(&head[record::OFFSET])) == input.offset
            && self.total_len() <= rest_of_block(input.offset);
        let body = input.bytes.get(RECORD_HEADER..self.total_len()).filter(|_| sound)?;
        let intact = payload_crc(body) == u32_le(&head[record::PAYLOAD_CRC]);
        intact.then(|| RECORD_HEADER..RECORD_HEADER + usize::from(self.len))
    }
}
