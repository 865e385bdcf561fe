//! Single-bit evidence: whether one flipped bit explains a failed check. A torn or misdirected write changes many bits; a
//! check that one bit explains is rot. Both searches invert the checksum's arithmetic and none computes it again.

use crate::checksum::{self, Order, Sum};

/// A flipped bit of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flip {
    /// The offset of its byte in the segment.
    pub offset: u64,
    /// The bit in that byte; 0 is the least significant.
    pub bit: u8,
}

/// A flipped bit, as seen from the check that it fails. Bit 0 is the least significant of its byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the bytes that the check covers.
    Covered {
        /// Counted from the first covered byte.
        byte: usize,
        /// The bit in that byte.
        bit: u8,
    },
    /// In the stored checksum itself.
    Stored {
        /// Counted as stored: a CRC is little-endian, SQLite's sum is s0 and s1, both big-endian.
        byte: usize,
        /// The bit in that byte.
        bit: u8,
    },
}

/// Beyond this many bytes the remainders of single bits repeat: the order of x modulo the polynomial is 2^32 - 1.
const CRC32_LEN_MAX: usize = (u32::MAX as usize - 32) / 8;

/// The one flipped bit that explains why `len` bytes have the CRC-32 `computed` where `stored` was written.
///
/// For any two different sums the chance to find one is (8 `len` + 32) / 2^32, 1 in 16,000 for 32 KiB. Two flipped bits
/// are never taken for one up to 11,450 bytes, where the polynomial's distance is 4; above, where its first multiples with
/// three terms begin, about as seldom as any other damage.
pub fn crc32(len: usize, stored: u32, computed: u32) -> Option<Place> {
    let syndrome = stored ^ computed;
    if syndrome.is_power_of_two() {
        let at = syndrome.trailing_zeros();
        return Some(Place::Stored { byte: at as usize / 8, bit: at as u8 % 8 });
    }
    if syndrome == 0 || len > CRC32_LEN_MAX {
        return None;
    }
    // A CRC is linear, so the syndrome is the remainder of a message that is zero but for the flipped bit. Taken back over
    // the words behind that bit and over its own, it is the bit. The first word may begin before the message.
    let mut remainder = syndrome;
    let mut end = len;
    while end > 0 {
        remainder = word_back(remainder);
        if remainder.is_power_of_two() {
            let at = remainder.trailing_zeros();
            let byte = (end + at as usize / 8).checked_sub(4)?;
            return Some(Place::Covered { byte, bit: at as u8 % 8 });
        }
        end = end.saturating_sub(4);
    }
    None
}

/// The remainder of which four bytes of zeros made this one.
fn word_back(remainder: u32) -> u32 {
    let [a, b, c, d] = remainder.to_le_bytes().map(usize::from);
    (WORD_BACK[0][a] ^ WORD_BACK[1][b]) ^ (WORD_BACK[2][c] ^ WORD_BACK[3][d])
}

/// [`word_back`] for each value of each byte of a remainder.
static WORD_BACK: [[u32; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut entry = 0;
    while entry < 1024 {
        let (place, byte) = (entry / 256, entry % 256);
        let mut remainder = (byte as u32) << (8 * place);
        let mut bit = 0;
        while bit < 32 {
            // The reflected polynomial has its highest bit set: that bit shows whether the step forth added it.
            let added = remainder >> 31;
            remainder = ((remainder ^ (checksum::POLYNOMIAL * added)) << 1) | added;
            bit += 1;
        }
        tables[place][byte] = remainder;
        entry += 1;
    }
    tables
};

/// The one flipped bit that explains why `parts`, from `seed` on, do not have SQLite's sum `stored`.
///
/// None where several would: see [`sqlite_places`], whose first item is already evidence of rot, if not of its place.
pub fn sqlite_sum(order: Order, seed: Sum, parts: [&[u8]; 2], stored: Sum) -> Option<Place> {
    let mut places = sqlite_places(order, seed, parts, stored);
    match (places.next(), places.next()) {
        (Some(place), None) => Some(place),
        (None | Some(_), _) => None,
    }
}

/// Every single bit of `parts` and of `stored` whose flip would make SQLite's sum right, the stored ones first.
///
/// They can be several, since the sum is weak in the high bits of its words: it adds 2^b times a pair of neighbours in
/// Fibonacci's row, which repeats mod 2^(32 - b) after 3 * 2^(31 - b) words (bit 31: after three). A bit of the last word and
/// the same of s1 differ by a carry only. For any two different sums the chance to find any is below 2^-44 for a 64 KiB page.
///
/// None if nothing failed, or if the length of a part is not a multiple of 8.
pub fn sqlite_places(order: Order, seed: Sum, parts: [&[u8]; 2], stored: Sum) -> impl Iterator<Item = Place> {
    let in_pairs = parts.iter().all(|part| part.len().is_multiple_of(8));
    let computed = in_pairs.then(|| parts.iter().fold(seed, |sum, part| checksum::sqlite_sum(order, sum, part)));
    computed.into_iter().flat_map(move |computed| {
        let in_words = flips_in_words(order, parts, stored.minus(computed));
        flip_in_stored(stored, computed).into_iter().chain(in_words)
    })
}

fn flip_in_stored(stored: Sum, computed: Sum) -> Option<Place> {
    let join = |sum: Sum| u64::from(sum.s0) << 32 | u64::from(sum.s1);
    let changed = join(stored) ^ join(computed);
    if !changed.is_power_of_two() {
        return None;
    }
    let at = changed.trailing_zeros();
    Some(Place::Stored { byte: 7 - at as usize / 8, bit: at as u8 % 8 })
}

/// The flips that would add `missing` to the sum of `parts`, from the last word to the first.
fn flips_in_words(order: Order, parts: [&[u8]; 2], missing: Sum) -> impl Iterator<Item = Place> {
    let [head, tail] = parts.map(|part| part.as_chunks::<4>().0);
    let indices = (0..head.len() + tail.len()).rev();
    // A word adds itself times two neighbours of Fibonacci's row, the last word times (0, 1), and each step to the front
    // moves one on in the row. Taken back as many steps, the missing sum is what its word lacks, times (0, 1).
    let mut missing = missing;
    indices.zip(head.iter().chain(tail).rev()).filter_map(move |(index, &word)| {
        let lacking = (missing.s0 == 0).then_some(missing.s1);
        missing = Sum { s0: missing.s1.wrapping_sub(missing.s0), s1: missing.s0 };
        flip_in_word(order, word, lacking?).map(|(byte, bit)| Place::Covered { byte: 4 * index + byte, bit })
    })
}

/// The byte and bit whose flip adds `lacking` to the word: plus a power of two if the bit is clear, minus one if it is set.
fn flip_in_word(order: Order, word: [u8; 4], lacking: u32) -> Option<(usize, u8)> {
    let value = match order {
        Order::Little => u32::from_le_bytes(word),
        Order::Big => u32::from_be_bytes(word),
    };
    let at = lacking.trailing_zeros();
    let flipped = value ^ 1_u32.checked_shl(at)?;
    let byte = match order {
        Order::Little => at as usize / 8,
        Order::Big => 3 - at as usize / 8,
    };
    (flipped.wrapping_sub(value) == lacking).then_some((byte, at as u8 % 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes;

    /// Numbers without pattern, the same in every run (xorshift64).
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
        }

        fn below(&mut self, bound: usize) -> usize {
            self.next() as usize % bound
        }

        fn bytes(&mut self, len: usize) -> Vec<u8> {
            (0..len).map(|_| self.next() as u8).collect()
        }
    }

    const ORDERS: [Order; 2] = [Order::Little, Order::Big];

    fn flip(bytes: &mut [u8], bit: usize) {
        bytes[bit / 8] ^= 1 << (bit % 8);
    }

    fn covered(bit: usize) -> Place {
        Place::Covered { byte: bit / 8, bit: (bit % 8) as u8 }
    }

    fn stored(bit: usize) -> Place {
        Place::Stored { byte: bit / 8, bit: (bit % 8) as u8 }
    }

    fn crc_place_after(message: &[u8], bits: &[usize]) -> Option<Place> {
        let mut changed = message.to_vec();
        bits.iter().for_each(|&bit| flip(&mut changed, bit));
        crc32(message.len(), checksum::crc32(message), checksum::crc32(&changed))
    }

    #[test]
    fn each_flipped_bit_of_a_short_message_is_found_by_its_crc() {
        for len in (1..=40).chain([104]) {
            let message = Noise(len as u64).bytes(len);
            for bit in 0..8 * len {
                assert_eq!(crc_place_after(&message, &[bit]), Some(covered(bit)), "bit {bit} of {len} bytes");
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_a_long_message_is_found_by_its_crc() {
        let mut noise = Noise(1);
        for len in [4095, 4096, 32744] {
            let message = noise.bytes(len);
            let sampled: Vec<_> = (0..300).map(|_| noise.below(8 * len)).collect();
            for bit in [0, 7, 8 * len - 8, 8 * len - 1].into_iter().chain(sampled) {
                assert_eq!(crc_place_after(&message, &[bit]), Some(covered(bit)), "bit {bit} of {len} bytes");
            }
        }
    }

    #[test]
    fn each_flipped_bit_of_a_stored_crc_is_found() {
        for len in [0, 1, 104, 32744] {
            let computed = checksum::crc32(&Noise(9).bytes(len));
            for bit in 0..32 {
                let mut encoded = computed.to_le_bytes();
                flip(&mut encoded, bit);
                assert_eq!(crc32(len, u32::from_le_bytes(encoded), computed), Some(stored(bit)));
            }
        }
    }

    #[test]
    fn two_flipped_bits_are_never_one_to_the_crc_of_a_page() {
        let mut noise = Noise(2);
        for len in [2, 16, 104, 4096] {
            let message = noise.bytes(len);
            for _ in 0..2000 {
                let (first, second) = (noise.below(8 * len), noise.below(8 * len));
                if first != second {
                    assert_eq!(
                        crc_place_after(&message, &[first, second]),
                        None,
                        "bits {first}, {second} of {len} bytes"
                    );
                }
            }
        }
    }

    #[test]
    fn equal_crcs_and_absurd_lengths_have_no_flip() {
        assert_eq!(crc32(100, 7, 7), None);
        assert_eq!(crc32(0, 0, u32::MAX), None);
        assert_eq!(crc32(usize::MAX, 0, u32::MAX), None);
    }

    const SEED: Sum = Sum { s0: 0x9E37_79B9, s1: 0xF39C_C060 };

    fn sum(order: Order, parts: [&[u8]; 2]) -> Sum {
        parts.iter().fold(SEED, |sum, part| checksum::sqlite_sum(order, sum, part))
    }

    /// All places and the one place named for a frame of which these bits were flipped after its sum was stored.
    fn places_after(order: Order, frame: &[u8], bits: &[usize]) -> (Vec<Place>, Option<Place>) {
        let (header, page) = frame.split_at(8);
        let stored = sum(order, [header, page]);
        let mut changed = frame.to_vec();
        bits.iter().for_each(|&bit| flip(&mut changed, bit));
        let (header, page) = changed.split_at(8);
        let places = sqlite_places(order, SEED, [header, page], stored).collect();
        (places, sqlite_sum(order, SEED, [header, page], stored))
    }

    /// The bit's place is among those found, is the one named unless there are others, and each flip found is a cure.
    fn assert_found(order: Order, frame: &[u8], bit: usize) -> bool {
        let (places, named) = places_after(order, frame, &[bit]);
        assert!(places.contains(&covered(bit)), "{order:?}, bit {bit} of {} bytes: {places:?}", frame.len());
        assert_eq!(named, (places.len() == 1).then_some(covered(bit)));
        named.is_some()
    }

    #[test]
    fn each_flipped_bit_of_a_small_frame_is_found_by_sqlites_sum() {
        for order in ORDERS {
            for len in [8, 16, 24, 72] {
                let frame = Noise(len as u64).bytes(len);
                let named = (0..8 * len).filter(|&bit| assert_found(order, &frame, bit)).count();
                assert!(named >= 8 * len * 3 / 5, "{named} of {} bits named", 8 * len);
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_a_page_is_found_by_sqlites_sum() {
        let mut noise = Noise(3);
        for (order, page) in ORDERS.into_iter().flat_map(|order| [(order, 4096), (order, 65536)]) {
            let frame = noise.bytes(8 + page);
            let bits: Vec<_> = (0..200).map(|_| noise.below(8 * frame.len())).collect();
            let named = bits.into_iter().filter(|&bit| assert_found(order, &frame, bit)).count();
            assert!(named >= 200 * 2 / 5, "{named} of 200 bits named in {page} bytes");
        }
    }

    /// The last word and s1 can stand for each other; bits of other words are named where Fibonacci's row does not repeat.
    #[test]
    fn low_bits_before_the_last_word_are_named() {
        for order in ORDERS {
            let frame = Noise(4).bytes(8 + 512);
            for word in 0..frame.len() / 4 - 1 {
                for low in 0..24 {
                    let byte = if order == Order::Little { low / 8 } else { 3 - low / 8 };
                    assert!(assert_found(order, &frame, 8 * (4 * word + byte) + low % 8));
                }
            }
        }
    }

    #[test]
    fn every_place_found_is_a_cure() {
        let mut noise = Noise(5);
        for order in ORDERS {
            let frame = noise.bytes(8 + 512);
            let right = sum(order, [&frame, &[]]);
            for bit in (0..8 * frame.len()).step_by(5) {
                let mut changed = frame.clone();
                flip(&mut changed, bit);
                for place in sqlite_places(order, SEED, [&changed, &[]], right) {
                    if let Place::Covered { byte, bit } = place {
                        let mut cured = changed.clone();
                        cured[byte] ^= 1 << bit;
                        assert_eq!(sum(order, [&cured, &[]]), right, "{place:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_flipped_bit_of_a_stored_sum_is_found() {
        for order in ORDERS {
            let frame = Noise(6).bytes(8 + 1024);
            let (header, page) = frame.split_at(8);
            let right = sum(order, [header, page]);
            for bit in 0..64 {
                let mut encoded = [right.s0.to_be_bytes(), right.s1.to_be_bytes()].concat();
                flip(&mut encoded, bit);
                let wrong = Sum { s0: bytes::u32_be(&encoded[..4]), s1: bytes::u32_be(&encoded[4..]) };
                let places: Vec<_> = sqlite_places(order, SEED, [header, page], wrong).collect();
                assert_eq!(places[0], stored(bit));
                let named = sqlite_sum(order, SEED, [header, page], wrong);
                assert_eq!(named, (places.len() == 1).then_some(stored(bit)));
            }
        }
    }

    /// Two bits can be one to this sum: equal high bits, or the neighbours of Fibonacci's row that add up to the next.
    #[test]
    fn two_flipped_bits_are_seldom_one_to_sqlites_sum() {
        let mut noise = Noise(7);
        for order in ORDERS {
            let frame = noise.bytes(8 + 4096);
            let pairs = (0..3000).map(|_| [noise.below(8 * frame.len()), noise.below(8 * frame.len())]);
            let pairs: Vec<_> = pairs.filter(|[first, second]| first != second).collect();
            let (mut found, mut named) = (0, 0);
            for pair in &pairs {
                let (places, place) = places_after(order, &frame, pair);
                found += usize::from(!places.is_empty());
                named += usize::from(place.is_some());
            }
            assert!(found * 40 < pairs.len() && named * 400 < pairs.len(), "{found} found, {named} named");
        }
    }

    #[test]
    fn right_sums_and_half_pairs_have_no_flip() {
        let page = [1; 16];
        let right = sum(Order::Little, [&[], &page]);
        assert_eq!(sqlite_places(Order::Little, SEED, [&[], &page], right).count(), 0);
        assert_eq!(sqlite_sum(Order::Little, SEED, [&[], &[]], SEED), None);
        for len in [1, 4, 7, 12] {
            assert_eq!(sqlite_sum(Order::Big, SEED, [&page, &page[..len]], right), None);
            assert_eq!(sqlite_sum(Order::Big, SEED, [&page[..len], &page], right), None);
        }
    }
}
