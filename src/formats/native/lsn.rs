//! The name of a position in a log.

use std::fmt;
use std::str::FromStr;

/// The position of a record in a log: the segment's number in the high half, the offset in the low one. It never
/// repeats, orders as the log does, and prints as `0000002a:00012340`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position `offset` in segment number `segment`.
    #[inline]
    pub const fn new(segment: u32, offset: u32) -> Self {
        Self((segment as u64) << 32 | offset as u64)
    }

    /// The number of the segment.
    #[inline]
    pub const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The offset in the segment's file.
    #[inline]
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{:08x}", self.segment(), self.offset())
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position: expected eight hex digits, a colon, eight hex digits, as in 0000002a:00012340")]
pub struct LsnError(String);

impl FromStr for Lsn {
    type Err = LsnError;

    /// Takes the printed form only: a lost digit would silently be another position.
    fn from_str(text: &str) -> Result<Self, LsnError> {
        let half = |digits: &str| {
            let whole = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            whole.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once(':')
            .and_then(|(segment, offset)| Some(Self::new(half(segment)?, half(offset)?)))
            .ok_or_else(|| LsnError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_prints_and_reads_as_two_halves() {
        let lsn = Lsn::new(0x2a, 0x12340);
        assert_eq!(lsn.to_string(), "0000002a:00012340");
        assert_eq!("0000002A:00012340".parse(), Ok(lsn));
        assert_eq!((lsn.segment(), lsn.offset()), (0x2a, 0x12340));
        assert!(Lsn::new(1, u32::MAX) < Lsn::new(2, 0));
        for wrong in ["", ":", "2a:12340", "0000002a00012340", "+000002a:00012340", "0000002a:000123400"] {
            assert!(wrong.parse::<Lsn>().is_err(), "{wrong}");
        }
    }
}
