//! Single-bit evidence.

/// A bit of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Byte offset in the segment.
    pub offset: u64,
    /// Bit of that byte, 0 the least significant.
    pub bit: u8,
}
