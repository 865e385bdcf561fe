//! Checksums of the formats: pure functions over slices.

use std::sync::LazyLock;

/// CRC-32 (IEEE 802.3: reflected polynomial `0xEDB88320`, all ones in, all ones out), as in zlib.
#[inline]
pub fn crc32(bytes: &[u8]) -> u32 {
    // The lengths of fixed records, at which the crate's way to its vector code costs more than the sum.
    match bytes.len() {
        8 => bytes.try_into().map_or(0, crc32_fixed::<8>),
        16 => bytes.try_into().map_or(0, crc32_fixed::<16>),
        24 => bytes.try_into().map_or(0, crc32_fixed::<24>),
        _ => {
            let mut hasher = HASHER.clone();
            hasher.update(bytes);
            hasher.finalize()
        }
    }
}

/// A new one would ask each time what the processor can do, which for a short record is a quarter of the work.
static HASHER: LazyLock<crc32fast::Hasher> = LazyLock::new(crc32fast::Hasher::new);

/// The CRC-32 of a 20-byte record header.
#[inline]
pub fn crc32_20(header: &[u8; 20]) -> u32 {
    crc32_fixed(header)
}

/// [`crc32_20`] of a header whose last 8 bytes are zero, for [`crc32_20_with`]: headers that begin alike share it.
#[inline]
pub fn crc32_20_start(start: &[u8; 12]) -> u32 {
    added::<12, 8>(start) ^ const { crc32_of_zeros(20) }
}

/// [`crc32_20`] of a header that begins with what gave `start` and ends with `rest`.
#[inline]
pub fn crc32_20_with(start: u32, rest: &[u8; 8]) -> u32 {
    start ^ added::<8, 0>(rest)
}

/// The polynomial of [`crc32`], reflected.
pub(crate) const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `BYTE_THEN_ZEROS[n][b]`: the remainder of byte `b` followed by `n` zero bytes.
static BYTE_THEN_ZEROS: [[u32; 256]; 24] = {
    let mut tables = [[0; 256]; 24];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut zeros = 0;
        while zeros < 24 {
            let mut bit = 0;
            while bit < 8 {
                remainder = (remainder >> 1) ^ (POLYNOMIAL * (remainder & 1));
                bit += 1;
            }
            tables[zeros][byte] = remainder;
            zeros += 1;
        }
        byte += 1;
    }
    tables
};

/// A CRC is linear: the sum of N bytes is that of N zeros and, per byte, a remainder that depends on the byte and its place
/// alone, so no lookup waits for another. Caller's duty: N is a multiple of 4, at most 24.
#[inline]
fn crc32_fixed<const N: usize>(bytes: &[u8; N]) -> u32 {
    added::<N, 0>(bytes) ^ const { crc32_of_zeros(N) }
}

/// What N bytes add to the sum of zeros where `BEHIND` bytes follow them. Caller's duty: as for [`crc32_fixed`].
#[inline]
fn added<const N: usize, const BEHIND: usize>(bytes: &[u8; N]) -> u32 {
    const { assert!(N.is_multiple_of(4) && N != 0 && N + BEHIND <= BYTE_THEN_ZEROS.len()) };
    let (tables, _) = BYTE_THEN_ZEROS[BEHIND..BEHIND + N].as_chunks::<4>();
    let (words, _) = bytes.as_chunks::<4>();
    let mut sum = 0;
    for (&[a, b, c, d], [t0, t1, t2, t3]) in words.iter().zip(tables.iter().rev()) {
        sum ^= (t3[usize::from(a)] ^ t2[usize::from(b)]) ^ (t1[usize::from(c)] ^ t0[usize::from(d)]);
    }
    sum
}

/// All ones at the start of a register of four bytes are the same as four inverted bytes at the start of the message.
const fn crc32_of_zeros(len: usize) -> u32 {
    let mut remainder = 0;
    let mut at = 0;
    while at < 4 {
        remainder ^= BYTE_THEN_ZEROS[len - 1 - at][0xFF];
        at += 1;
    }
    !remainder
}

/// How SQLite's sum reads the words of its input; what it stores is big-endian in both cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Little-endian words: magic `0x377f0682`.
    Little,
    /// Big-endian words: magic `0x377f0683`.
    Big,
}

/// The state, and the result, of SQLite's WAL checksum.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum {
    /// The first word, as stored at offset 24 of the log and 16 of a frame.
    pub s0: u32,
    /// The second word, stored behind the first.
    pub s1: u32,
}

impl Sum {
    fn plus(self, other: Sum) -> Sum {
        Sum { s0: self.s0.wrapping_add(other.s0), s1: self.s1.wrapping_add(other.s1) }
    }

    pub(crate) fn minus(self, other: Sum) -> Sum {
        Sum { s0: self.s0.wrapping_sub(other.s0), s1: self.s1.wrapping_sub(other.s1) }
    }
}

/// SQLite's WAL checksum of `bytes`, carried on from `seed` (SQLite, `walChecksumBytes`): over the words x,
///
/// ```text
/// for i = 0, 2, 4, ...:   s0 += x[i] + s1;   s1 += x[i+1] + s0        (mod 2^32)
/// ```
///
/// Caller's duty: the length is a multiple of 8.
///
/// # Panics
///
/// On any other length.
#[inline]
pub fn sqlite_sum(order: Order, seed: Sum, bytes: &[u8]) -> Sum {
    assert!(bytes.len().is_multiple_of(8), "SQLite's sum over {} bytes", bytes.len());
    match order {
        Order::Little => sum_of_words(u32::from_le_bytes, seed, bytes),
        Order::Big => sum_of_words(u32::from_be_bytes, seed, bytes),
    }
}

/// What `seed` becomes over `words` words of zero, in pairs: an odd last word is not counted.
#[inline]
pub fn advance(seed: Sum, words: u64) -> Sum {
    let mut sum = seed;
    let mut pairs = words / 2;
    while pairs != 0 {
        let (before, at) = FIBONACCI[pairs.trailing_zeros() as usize];
        let after = before.wrapping_add(at);
        sum = Sum {
            s0: before.wrapping_mul(sum.s0).wrapping_add(at.wrapping_mul(sum.s1)),
            s1: at.wrapping_mul(sum.s0).wrapping_add(after.wrapping_mul(sum.s1)),
        };
        pairs &= pairs - 1;
    }
    sum
}

/// What `len` bytes added to `sum`, whatever the seed: equal for equal bytes wherever they stand in the chain of frames.
#[inline]
pub fn sqlite_content(seed: Sum, sum: Sum, len: usize) -> Sum {
    sum.minus(advance(seed, len as u64 / 4))
}

/// F(2n - 1) and F(2n) for n = 2^i, mod 2^32. A pair of zero words maps (s0, s1) by [[1, 1], [1, 2]], n pairs by
/// [[F(2n-1), F(2n)], [F(2n), F(2n+1)]].
const FIBONACCI: [(u32, u32); 64] = {
    let mut numbers = [(1_u32, 1_u32); 64];
    let mut i = 1;
    while i < 64 {
        let (before, at) = numbers[i - 1];
        let after = before.wrapping_add(at);
        numbers[i] = (
            before.wrapping_mul(before).wrapping_add(at.wrapping_mul(at)),
            at.wrapping_mul(before.wrapping_add(after)),
        );
        i += 1;
    }
    numbers
};

/// Strands that run side by side in [`run_strands`].
const STRANDS: usize = 4;

/// Bytes that a strand takes in a step: two vectors.
const STEP: usize = 32;

/// The smallest page. Below it the join of the strands costs as much as they save.
const STRANDS_MIN: usize = 512;

#[inline]
fn sum_of_words(word: impl Fn([u8; 4]) -> u32 + Copy, seed: Sum, bytes: &[u8]) -> Sum {
    if bytes.len() < STRANDS_MIN {
        return sum_in_series(word, seed, bytes);
    }
    let (front, rest) = bytes.split_at(bytes.len() - bytes.len() % (STRANDS * STEP));
    let words = front.len() as u64 / 4;
    let strands = run_strands(word, front);
    let content =
        strands.iter().fold(Sum::default(), |sum, strand| advance(sum, words / STRANDS as u64).plus(strand.sum()));
    sum_in_series(word, advance(seed, words).plus(content), rest)
}

#[inline]
fn sum_in_series(word: impl Fn([u8; 4]) -> u32, seed: Sum, bytes: &[u8]) -> Sum {
    let mut sum = seed;
    for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        sum.s0 = sum.s0.wrapping_add(word([a, b, c, d])).wrapping_add(sum.s1);
        sum.s1 = sum.s1.wrapping_add(word([e, f, g, h])).wrapping_add(sum.s0);
    }
    sum
}

/// The words that fill a vector register of every x86-64 and of aarch64.
type Lanes = [u32; 4];

/// A part of the input as a polynomial in Z, a shift by four words, under way.
///
/// Written word for word the recurrence is Fibonacci's, t = t' + t'' + x: a shift by one word is a z with z^2 = z + 1.
/// Four words are then a Z = z^4 with Z^2 = 7Z - 1, so that each lane of a vector of four words adds up its own words by
/// Horner's rule modulo Z^2 - 7Z + 1, which is u = x + 7 u' - u''. No lane looks at another before the end.
#[derive(Clone, Copy, Default)]
struct Strand {
    /// u, the newest.
    last: Lanes,
    /// u', the one before.
    before: Lanes,
}

impl Strand {
    /// Horner's rule leaves u + (Z - 7) u', and Z - 7 = -Z^-1. The last word of lane l adds itself times F(3 - l) to s0 and
    /// times F(4 - l) to s1: these are the weights of u, and those of u', four words back, F(-1 - l) and F(-l).
    fn sum(&self) -> Sum {
        let weigh = |lanes: &Lanes, weights: [i32; 4]| {
            let terms = lanes.iter().zip(weights).map(|(lane, weight)| lane.wrapping_mul(weight.cast_unsigned()));
            terms.fold(0, u32::wrapping_add)
        };
        let added = Sum { s0: weigh(&self.last, [2, 1, 1, 0]), s1: weigh(&self.last, [3, 2, 1, 1]) };
        let taken = Sum { s0: weigh(&self.before, [1, -1, 2, -3]), s1: weigh(&self.before, [0, 1, -1, 2]) };
        added.minus(taken)
    }
}

/// Runs a strand over each quarter of `bytes`, which hides the latency of a lane's three operations. Caller's duty: a
/// multiple of `STRANDS * STEP` bytes.
///
/// Out of line, and the result in memory: where the lanes are taken apart behind the loop, the compiler also keeps them
/// apart in the loop, at a fifth of the speed.
#[inline(never)]
fn run_strands(word: impl Fn([u8; 4]) -> u32 + Copy, bytes: &[u8]) -> [Strand; STRANDS] {
    let (steps, _) = bytes.as_chunks::<STEP>();
    let count = steps.len() / STRANDS;
    let quarters: [_; STRANDS] = std::array::from_fn(|k| &steps[k * count..][..count]);
    let mut strands = [Strand::default(); STRANDS];
    for i in 0..count {
        for (strand, quarter) in strands.iter_mut().zip(quarters) {
            // Two vectors a step: the newer of `last` and `before` changes sides, and neither is copied.
            let [first, second] = vectors(word, &quarter[i]);
            replace_older(&mut strand.before, &strand.last, first);
            replace_older(&mut strand.last, &strand.before, second);
        }
    }
    strands
}

#[inline(always)]
fn vectors(word: impl Fn([u8; 4]) -> u32 + Copy, step: &[u8; STEP]) -> [Lanes; 2] {
    let (words, _) = step.as_chunks::<4>();
    std::array::from_fn(|half| std::array::from_fn(|lane| word(words[4 * half + lane])))
}

/// u = x + 7 u' - u'', in the place of u''.
#[inline(always)]
fn replace_older(older: &mut Lanes, newer: &Lanes, x: Lanes) {
    for lane in 0..4 {
        older[lane] = x[lane].wrapping_sub(older[lane]).wrapping_add(newer[lane].wrapping_mul(7));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without pattern, the same in every run (xorshift64).
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(step).collect()
    }

    fn crc32_bit_by_bit(bytes: &[u8]) -> u32 {
        let step = |r: u32| (r >> 1) ^ (POLYNOMIAL * (r & 1));
        !bytes.iter().fold(!0, |r, &byte| (0..8).fold(r ^ u32::from(byte), |r, _| step(r)))
    }

    fn sum_by_definition(order: Order, seed: Sum, bytes: &[u8]) -> Sum {
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|word| match order {
                Order::Little => crate::bytes::u32_le(word),
                Order::Big => crate::bytes::u32_be(word),
            })
            .collect();
        let Sum { mut s0, mut s1 } = seed;
        for pair in words.chunks_exact(2) {
            s0 = s0.wrapping_add(pair[0]).wrapping_add(s1);
            s1 = s1.wrapping_add(pair[1]).wrapping_add(s0);
        }
        Sum { s0, s1 }
    }

    const SEED: Sum = Sum { s0: 0x9E37_79B9, s1: 0xF39C_C060 };

    #[test]
    fn the_crc_of_nine_digits_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(&[0; 32]), 0x190A_55AD);
        assert_eq!(crc32(&[0xFF; 32]), 0xFF6C_AB0B);
    }

    #[test]
    fn the_crc_is_the_division_bit_by_bit_at_every_length() {
        for len in (0..300).chain([511, 512, 513, 4072, 4096, 32744]) {
            let bytes = noise(len as u64, len);
            assert_eq!(crc32(&bytes), crc32_bit_by_bit(&bytes), "{len} bytes");
        }
    }

    #[test]
    fn the_crc_of_a_header_is_that_of_its_bytes() {
        for seed in 0..100 {
            let header: [u8; 20] = std::array::from_fn(|at| noise(seed, 20)[at]);
            assert_eq!(crc32_20(&header), crc32_bit_by_bit(&header));
        }
        assert_eq!(crc32_20(&[0; 20]), crc32_bit_by_bit(&[0; 20]));
    }

    #[test]
    fn the_crc_of_a_header_is_that_of_its_two_parts() {
        for seed in 0..100 {
            let header = noise(seed, 20);
            let (start, rest) = header.split_first_chunk().expect("20 bytes");
            let rest = rest.try_into().expect("the other 8");
            assert_eq!(crc32_20_with(crc32_20_start(start), rest), crc32_bit_by_bit(&header));
        }
    }

    #[test]
    fn sqlites_sum_is_its_recurrence_at_every_length() {
        for len in (0..2048).step_by(8).chain([4096, 4104, 8192, 32768, 65528, 65536]) {
            let bytes = noise(len as u64 + 7, len);
            for order in [Order::Little, Order::Big] {
                for seed in [Sum::default(), SEED] {
                    let expected = sum_by_definition(order, seed, &bytes);
                    assert_eq!(sqlite_sum(order, seed, &bytes), expected, "{order:?}, {len} bytes");
                }
            }
        }
    }

    #[test]
    fn sqlites_sum_wraps_where_all_bits_are_set() {
        let bytes = [0xFF; 4096];
        let seed = Sum { s0: u32::MAX, s1: u32::MAX };
        assert_eq!(sqlite_sum(Order::Big, seed, &bytes), sum_by_definition(Order::Big, seed, &bytes));
    }

    #[test]
    fn a_sum_over_two_parts_is_the_sum_over_both() {
        let bytes = noise(3, 8 + 4096);
        let (header, page) = bytes.split_at(8);
        let sum = sqlite_sum(Order::Little, sqlite_sum(Order::Little, SEED, header), page);
        assert_eq!(sum, sum_by_definition(Order::Little, SEED, &bytes));
    }

    #[test]
    fn an_advance_is_a_sum_over_zeros() {
        for pairs in (0..200).chain([512, 1000, 8192]) {
            let zeros = vec![0; 8 * pairs];
            let expected = sum_by_definition(Order::Big, SEED, &zeros);
            assert_eq!(advance(SEED, 2 * pairs as u64), expected, "{pairs} pairs");
            assert_eq!(advance(SEED, 2 * pairs as u64 + 1), expected, "{pairs} pairs and a word");
        }
        let (near, far) = (u64::from(u32::MAX), u64::MAX - u64::from(u32::MAX) - 1);
        assert_eq!(advance(advance(SEED, near - 1), far), advance(SEED, near - 1 + far));
    }

    #[test]
    fn equal_bytes_have_equal_content_behind_different_seeds() {
        let page = noise(11, 1024);
        let other = Sum { s0: 5, s1: 0 };
        let content = |seed, page: &[u8]| sqlite_content(seed, sqlite_sum(Order::Little, seed, page), page.len());
        assert_eq!(content(SEED, &page), content(other, &page));
        assert_eq!(content(SEED, &page), sqlite_sum(Order::Little, Sum::default(), &page));
        let mut changed = page.clone();
        changed[700] ^= 1;
        assert_ne!(content(SEED, &page), content(SEED, &changed));
    }

    #[test]
    #[should_panic(expected = "SQLite's sum over 12 bytes")]
    fn a_sum_over_half_a_pair_is_a_bug_of_the_caller() {
        sqlite_sum(Order::Little, SEED, &[0; 12]);
    }
}
