//! The kinds of record and what each carries. A payload is parsed from its exact bytes, without padding; a length that
//! its kind cannot have is `None`.
//!
//! ```text
//! write       u64 target offset | 1..=32736 bytes
//! setlen      u64 length
//! data        0..=32744 bytes
//! checkpoint  u64 redo LSN | u64 target length
//!             STATE: | u32 CRC of the target | u32 1 (fact) or 2 (intent)
//!             a fact may go on: | u64 inode | u64 modified, ns | u64 changed, ns
//! commit      u64 transaction | u64 time, ns | u32 first_off | u32 durable_off
//! seal        u32 next segment number | u32 next nonce
//! pad         zeros
//! ```

use std::ops::Range;

use super::layout::{Lsn, PAYLOAD_MAX};
use crate::bytes;
use crate::format::{Role, Seen, TargetState};
use crate::vfs::FileTimes;

/// On DATA: this continues the DATA before it.
pub const CONT: u8 = 1;
/// On DATA: the next DATA continues this.
pub const MORE: u8 = 2;
/// On COMMIT: the writer closed the segment and appends nothing more to it.
pub const CLOSE: u8 = 4;
/// On CHECKPOINT: it says what the target's content is.
pub const STATE: u8 = 8;

/// The most bytes a single WRITE changes.
pub const WRITE_MAX: usize = PAYLOAD_MAX - Write::OFFSET.end;
/// The longest DATA, over all its fragments: bounds what a reader may have to join.
pub const DATA_MAX: usize = 1 << 30;

/// The kinds this version knows. Another number, under valid CRCs, is newer than this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// Bytes for the target; [`Write`].
    Write = 1,
    /// A new length of the target; [`SetLen`].
    SetLen = 2,
    /// Bytes that only the application understands.
    Data = 3,
    /// How far the target holds the log; [`Checkpoint`].
    Checkpoint = 4,
    /// The end of a transaction; [`Commit`].
    Commit = 5,
    /// The end of a segment that has a successor; [`Seal`].
    Seal = 6,
    /// The unused rest of a block.
    Pad = 7,
}

impl RecordKind {
    /// Every kind, by number.
    pub const ALL: [Self; 7] =
        [Self::Write, Self::SetLen, Self::Data, Self::Checkpoint, Self::Commit, Self::Seal, Self::Pad];

    /// The kind of this number, if it is known.
    #[inline]
    pub const fn from_u8(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Write),
            2 => Some(Self::SetLen),
            3 => Some(Self::Data),
            4 => Some(Self::Checkpoint),
            5 => Some(Self::Commit),
            6 => Some(Self::Seal),
            7 => Some(Self::Pad),
            _ => None,
        }
    }

    /// The name used in text and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::SetLen => "setlen",
            Self::Data => "data",
            Self::Checkpoint => "checkpoint",
            Self::Commit => "commit",
            Self::Seal => "seal",
            Self::Pad => "pad",
        }
    }

    /// The flags this version knows on this kind. Another bit, under valid CRCs, is newer than this code.
    #[inline]
    pub const fn flags(self) -> u8 {
        match self {
            Self::Data => CONT | MORE,
            Self::Commit => CLOSE,
            Self::Checkpoint => STATE,
            Self::Write | Self::SetLen | Self::Seal | Self::Pad => 0,
        }
    }
}

impl From<RecordKind> for u8 {
    fn from(kind: RecordKind) -> u8 {
        kind as u8
    }
}

/// Bytes that a transaction puts into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write<'a> {
    /// Where in the target.
    pub offset: u64,
    /// What.
    pub bytes: &'a [u8],
}

impl<'a> Write<'a> {
    const OFFSET: Range<usize> = 0..8;

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(self.bytes);
    }

    /// Reads a payload; a write of no bytes is none.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let bytes = payload.get(Self::OFFSET.end..)?;
        let fits = !bytes.is_empty() && bytes.len() <= WRITE_MAX;
        fits.then(|| Self { offset: bytes::u64_le(&payload[Self::OFFSET]), bytes })
    }
}

/// A new length of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLen {
    /// The length.
    pub len: u64,
}

impl SetLen {
    /// The bytes of the payload.
    pub fn encode(&self) -> [u8; 8] {
        self.len.to_le_bytes()
    }

    /// Reads a payload.
    #[inline]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        Some(Self { len: u64::from_le_bytes(payload.try_into().ok()?) })
    }
}

/// A statement that the target holds, durably, everything below a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Replay onto the target starts here.
    pub redo_lsn: Lsn,
    /// The length that the target has, or will have.
    pub target_len: u64,
    /// Its content, if something is said of that.
    pub state: Option<TargetState>,
}

impl Checkpoint {
    const REDO_LSN: Range<usize> = 0..8;
    const TARGET_LEN: Range<usize> = 8..16;
    const CRC: Range<usize> = 16..20;
    const ROLE: Range<usize> = 20..24;
    const INODE: Range<usize> = 24..32;
    const MODIFIED_NS: Range<usize> = 32..40;
    const CHANGED_NS: Range<usize> = 40..48;
    const FACT: u32 = 1;
    const INTENT: u32 = 2;

    /// The bytes of the payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&self.redo_lsn.0.to_le_bytes());
        out.extend_from_slice(&self.target_len.to_le_bytes());
        let Some(TargetState { crc, role }) = self.state else { return out };
        let number = if role == Role::Intent { Self::INTENT } else { Self::FACT };
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        if let Role::Fact(Some(Seen { inode, times })) = role {
            for field in [inode, times.modified_ns, times.changed_ns] {
                out.extend_from_slice(&field.to_le_bytes());
            }
        }
        out
    }

    /// The flags of the record.
    pub fn flags(&self) -> u8 {
        if self.state.is_some() { STATE } else { 0 }
    }

    /// The bytes of the payload, counted.
    #[expect(clippy::len_without_is_empty, reason = "no payload is empty")]
    pub fn len(&self) -> usize {
        match self.state.map(|state| state.role) {
            None => Self::TARGET_LEN.end,
            Some(Role::Intent | Role::Fact(None)) => Self::ROLE.end,
            Some(Role::Fact(Some(_))) => Self::CHANGED_NS.end,
        }
    }

    /// Reads a payload.
    #[inline]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let number = |field: Range<usize>| payload.get(field).map(bytes::u64_le);
        let (redo_lsn, target_len) = (Lsn(number(Self::REDO_LSN)?), number(Self::TARGET_LEN)?);
        let state = match payload.get(Self::ROLE).map(bytes::u32_le) {
            None => None,
            Some(role) => {
                let seen = payload.get(Self::CHANGED_NS).map(bytes::u64_le).map(|changed_ns| Seen {
                    inode: bytes::u64_le(&payload[Self::INODE]),
                    times: FileTimes { modified_ns: bytes::u64_le(&payload[Self::MODIFIED_NS]), changed_ns },
                });
                let role = match role {
                    Self::FACT => Role::Fact(seen),
                    Self::INTENT => Role::Intent,
                    _ => return None,
                };
                Some(TargetState { crc: bytes::u32_le(&payload[Self::CRC]), role })
            }
        };
        let checkpoint = Self { redo_lsn, target_len, state };
        (payload.len() == checkpoint.len()).then_some(checkpoint)
    }
}

/// The end of a transaction, and a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The number of the transaction: one more than in the COMMIT before.
    pub transaction: u64,
    /// When, in nanoseconds since 1970; never below the COMMIT before.
    pub time_ns: u64,
    /// Where the transaction's first record stands. The COMMIT's own offset makes an empty transaction: a mark.
    pub first_off: u32,
    /// A sync had covered the segment up to here when this was encoded: damage below it is not what a crash leaves.
    pub durable_off: u32,
}

impl Commit {
    /// The bytes of every COMMIT's payload.
    pub const LEN: usize = 24;
    const TRANSACTION: Range<usize> = 0..8;
    const TIME_NS: Range<usize> = 8..16;
    const FIRST_OFF: Range<usize> = 16..20;
    const DURABLE_OFF: Range<usize> = 20..24;

    /// The bytes of the payload.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[Self::TRANSACTION].copy_from_slice(&self.transaction.to_le_bytes());
        out[Self::TIME_NS].copy_from_slice(&self.time_ns.to_le_bytes());
        out[Self::FIRST_OFF].copy_from_slice(&self.first_off.to_le_bytes());
        out[Self::DURABLE_OFF].copy_from_slice(&self.durable_off.to_le_bytes());
        out
    }

    /// Puts another promise into the payload of a COMMIT, [`LEN`](Self::LEN) bytes.
    pub(super) fn set_durable_off(payload: &mut [u8], durable_off: u32) {
        payload[Self::DURABLE_OFF].copy_from_slice(&durable_off.to_le_bytes());
    }

    /// Reads a payload.
    #[inline]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; Self::LEN] = payload.try_into().ok()?;
        Some(Self {
            transaction: bytes::u64_le(&payload[Self::TRANSACTION]),
            time_ns: bytes::u64_le(&payload[Self::TIME_NS]),
            first_off: bytes::u32_le(&payload[Self::FIRST_OFF]),
            durable_off: bytes::u32_le(&payload[Self::DURABLE_OFF]),
        })
    }
}

/// The end of a segment whose successor is durable: without that successor, a file is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The successor's number.
    pub next_number: u32,
    /// The successor's nonce.
    pub next_nonce: u32,
}

impl Seal {
    /// The bytes of every SEAL's payload.
    pub const LEN: usize = 8;
    const NEXT_NUMBER: Range<usize> = 0..4;
    const NEXT_NONCE: Range<usize> = 4..8;

    /// The bytes of the payload.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[Self::NEXT_NUMBER].copy_from_slice(&self.next_number.to_le_bytes());
        out[Self::NEXT_NONCE].copy_from_slice(&self.next_nonce.to_le_bytes());
        out
    }

    /// Reads a payload.
    #[inline]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; Self::LEN] = payload.try_into().ok()?;
        Some(Self {
            next_number: bytes::u32_le(&payload[Self::NEXT_NUMBER]),
            next_nonce: bytes::u32_le(&payload[Self::NEXT_NONCE]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_payload_is_read_back_and_other_lengths_are_not() {
        let set_len = SetLen { len: 1 << 40 };
        let commit = Commit { transaction: 9, time_ns: u64::MAX, first_off: 8192, durable_off: 1 << 31 };
        let seal = Seal { next_number: 2, next_nonce: 0xffee_ddcc };
        assert_eq!(SetLen::parse(&set_len.encode()), Some(set_len));
        assert_eq!(Commit::parse(&commit.encode()), Some(commit));
        assert_eq!(Seal::parse(&seal.encode()), Some(seal));
        let zeros = [0; 64];
        for len in 0..zeros.len() {
            let payload = &zeros[..len];
            assert_eq!(SetLen::parse(payload).is_some(), len == 8, "{len}");
            assert_eq!(Commit::parse(payload).is_some(), len == 24, "{len}");
            assert_eq!(Seal::parse(payload).is_some(), len == 8, "{len}");
            assert_eq!(Write::parse(payload).is_some(), len > 8, "{len}");
        }
    }

    #[test]
    fn a_checkpoint_says_nothing_of_the_content_or_that_it_is_so_or_that_it_will_be() {
        let times = FileTimes { modified_ns: 1 << 60, changed_ns: 2 << 60 };
        let facts = [None, Some(Seen { inode: 7, times })].map(Role::Fact);
        let states = facts.into_iter().chain([Role::Intent]).map(|role| Some(TargetState { crc: 0xfeed_face, role }));
        for (state, expected) in states.chain([None]).zip([24, 48, 24, 16]) {
            let checkpoint = Checkpoint { redo_lsn: Lsn::new(3, 8192), target_len: 77, state };
            let mut payload = checkpoint.encode();
            assert_eq!((payload.len(), checkpoint.len()), (expected, expected));
            assert_eq!(Checkpoint::parse(&payload), Some(checkpoint));
            for len in (0..64).filter(|len| ![16, expected].contains(len)) {
                payload.resize(len, 0);
                let short = Checkpoint::parse(&payload).filter(|_| len != 24);
                assert_eq!(short, None, "{len}");
            }
        }
        for role in [0, 3] {
            let mut payload = vec![0; 24];
            payload[20] = role;
            assert_eq!(Checkpoint::parse(&payload), None, "role {role}");
        }
        let mut intent_of_a_file = vec![0; 48];
        intent_of_a_file[20] = 2;
        assert_eq!(Checkpoint::parse(&intent_of_a_file), None);
    }

    #[test]
    fn a_write_is_read_back_up_to_the_longest() {
        let bytes = vec![0x5a; WRITE_MAX];
        for bytes in [&bytes[..1], &bytes[..]] {
            let (write, mut payload) = (Write { offset: u64::MAX, bytes }, Vec::new());
            write.encode(&mut payload);
            assert_eq!(Write::parse(&payload), Some(write));
            assert!(payload.len() <= PAYLOAD_MAX);
        }
        assert_eq!(Write::parse(&vec![0; PAYLOAD_MAX + 1]), None);
    }

    #[test]
    fn a_kind_has_one_number_and_one_name() {
        for number in 0..=u8::MAX {
            let kind = RecordKind::from_u8(number);
            assert_eq!(kind, RecordKind::ALL.into_iter().find(|&kind| u8::from(kind) == number));
        }
        let names = RecordKind::ALL.map(RecordKind::name);
        assert_eq!(names, ["write", "setlen", "data", "checkpoint", "commit", "seal", "pad"]);
    }
}
