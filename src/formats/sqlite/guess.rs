//! A log whose header is hit: its page size, byte order and salts are found by trial, because only the right ones make
//! frames link.

use super::layout::{
    FRAME_HEADER_LEN, FRAME_LEN_MAX, Frame, HEADER_COVERED, HEADER_LEN, Header, PAGE_SIZE_MAX, PAGE_SIZES, Salts,
    VERSION_KNOWN, frame_sum, header_sum, joined, links,
};
use crate::bitflip::{self, Flip, Place};
use crate::bytes::all_zero;
use crate::checksum::{Order, Sum};
use crate::span::Fault;

/// How far a trial looks: four of the largest frames, so that one of them may be hit.
pub(super) const GUESS_LEN: usize = 4 * FRAME_LEN_MAX;
/// Pairs of slots that look like frames and are summed up, at most, in all trials on one log.
const TRIALS_MAX: u32 = 4096;

/// What must be known to read frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub order: Order,
    /// Bytes of a frame, its header included.
    pub frame_len: usize,
    pub salts: Salts,
    /// How often the log was restarted, as far as the header says.
    pub checkpoint: u32,
}

impl Geometry {
    /// What a header says, if it is right in itself; its version is for the caller to look at.
    pub fn of(header: &Header) -> Option<Self> {
        let (order, page_len) = (header.order()?, header.page_len()?);
        let frame_len = FRAME_HEADER_LEN + page_len;
        Some(Self { order, frame_len, salts: header.salts, checkpoint: header.checkpoint })
    }

    /// The first slot at or behind `offset`.
    pub fn slot_behind(&self, offset: u64) -> u64 {
        slot_behind(self.frame_len, offset)
    }
}

fn slot_behind(frame_len: usize, offset: u64) -> u64 {
    let len = frame_len as u64;
    HEADER_LEN as u64 + offset.saturating_sub(HEADER_LEN as u64).div_ceil(len) * len
}

/// What a hit header was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    pub geometry: Geometry,
    /// What seeds the first frame: proven if that frame verifies by it.
    pub seed: Sum,
    /// The one bit that makes the header right, if exactly one does.
    pub flip: Option<Flip>,
}

impl Guess {
    fn fixed((header, flip): &(Header, Flip)) -> Option<Self> {
        Some(Self { geometry: Geometry::of(header)?, seed: header.sum, flip: Some(*flip) })
    }

    /// The first frame has the salts of this header, and follows its sum.
    fn is_followed_by(&self, body: &[u8]) -> bool {
        let Geometry { order, frame_len, salts, .. } = self.geometry;
        body.get(..frame_len).is_some_and(|slot| {
            let frame = Frame::parse(slot);
            frame.salts == salts && frame.page > 0 && frame_sum(order, self.seed, slot) == frame.sum
        })
    }
}

/// What is wrong with a header. Caller's duty: [`HEADER_LEN`] bytes that are not right.
pub(super) fn fault(bytes: &[u8], guess: Option<&Guess>) -> Fault {
    let header = Header::parse(bytes);
    let flip = guess.and_then(|guess| guess.flip);
    let order = guess.filter(|_| flip.is_some()).map(|guess| guess.geometry.order).or(header.order());
    let Some(order) = order.filter(|_| !all_zero(&bytes[..HEADER_LEN])) else {
        return if all_zero(&bytes[..HEADER_LEN]) { Fault::Hole } else { Fault::Header };
    };
    let (stored, computed) = (joined(header.sum), joined(header_sum(order, bytes)));
    if stored == computed {
        return Fault::Length { len: header.page_size.into(), max: PAGE_SIZE_MAX as u64 };
    }
    Fault::Checksum { stored, computed, flip }
}

/// Finds out how to read the frames behind a hit header. `bytes` begins with the header and holds [`GUESS_LEN`] bytes,
/// or the whole log where that is shorter.
pub(super) fn guess(bytes: &[u8], trials: &mut u32) -> Option<Guess> {
    let (header, body) = bytes.split_at_checked(HEADER_LEN)?;
    // The sum is weak in the highest bits of its words: several flips may explain it, and the first frame tells which.
    let fixes: Vec<Guess> = unflipped(header).iter().filter_map(Guess::fixed).collect();
    if let Some(fixed) = fixes.iter().find(|fixed| fixed.is_followed_by(body)) {
        return Some(*fixed);
    }
    if let [fixed] = fixes[..] {
        return Some(fixed);
    }
    let any_fix = || fixes.first().map(|fixed| Guess { flip: None, ..*fixed });
    by_seed(header, body).or_else(|| linked(header, bytes, trials)).or_else(any_fix)
}

fn linked(header: &[u8], bytes: &[u8], trials: &mut u32) -> Option<Guess> {
    let header = Header::parse(header);
    let mut geometry = by_links(0, bytes, trials)?;
    if geometry.salts == header.salts {
        geometry.checkpoint = header.checkpoint;
    }
    Some(Guess { geometry, seed: header.sum, flip: None })
}

/// The header with one bit flipped back, for each bit that makes it right in every field.
fn unflipped(bytes: &[u8]) -> Vec<(Header, Flip)> {
    let stored = Header::parse(bytes).sum;
    let fix = |order: Order, place: Place| {
        let flip = match place {
            Place::Covered { byte, bit } => Flip { offset: byte as u64, bit },
            Place::Stored { byte, bit } => Flip { offset: (HEADER_COVERED.end + byte) as u64, bit },
        };
        let mut fixed = [0; HEADER_LEN];
        fixed.copy_from_slice(bytes);
        fixed[flip.offset as usize] ^= 1 << flip.bit;
        let fixed = Header::parse(&fixed);
        let right = fixed.order() == Some(order) && fixed.page_len().is_some() && fixed.version == VERSION_KNOWN;
        right.then_some((fixed, flip))
    };
    let places = |order| bitflip::sqlite_places(order, Sum::default(), [&bytes[HEADER_COVERED], &[]], stored);
    let orders = [Order::Little, Order::Big].into_iter();
    orders.flat_map(|order| places(order).filter_map(move |place| fix(order, place))).collect()
}

/// The first frame verifies by the header's checksum, as stored or as computed.
fn by_seed(bytes: &[u8], body: &[u8]) -> Option<Guess> {
    let header = Header::parse(bytes);
    let fits = |page_len: usize, order: Order, seed: Sum| {
        let slot = body.get(..FRAME_HEADER_LEN + page_len)?;
        let frame = Frame::parse(slot);
        if frame.page == 0 || frame_sum(order, seed, slot) != frame.sum {
            return None;
        }
        let geometry = Geometry { order, frame_len: slot.len(), salts: frame.salts, checkpoint: header.checkpoint };
        Some(Guess { geometry, seed, flip: None })
    };
    PAGE_SIZES.into_iter().find_map(|page_len| {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            fits(page_len, order, header.sum).or_else(|| fits(page_len, order, header_sum(order, bytes)))
        })
    })
}

/// The first pair of slots that link, on the grid of any page size. `bytes` begins at `offset` of the log.
pub(super) fn by_links(offset: u64, bytes: &[u8], trials: &mut u32) -> Option<Geometry> {
    let mut best: Option<(usize, Geometry)> = None;
    for page_len in PAGE_SIZES {
        let frame_len = FRAME_HEADER_LEN + page_len;
        let mut at = (slot_behind(frame_len, offset) - offset) as usize;
        while best.is_none_or(|(found, _)| at < found)
            && let Some(pair) = bytes.get(at..at + 2 * frame_len)
        {
            if let Some(order) = linking(pair, trials) {
                let salts = Frame::parse(pair).salts;
                // How often the log was restarted is not known here, so older salts are told by their links alone.
                best = Some((at, Geometry { order, frame_len, salts, checkpoint: 0 }));
            }
            at += frame_len;
        }
    }
    best.map(|(_, geometry)| geometry)
}

fn linking(pair: &[u8], trials: &mut u32) -> Option<Order> {
    let (first, second) = pair.split_at(pair.len() / 2);
    if !Frame::parse(first).may_precede(&Frame::parse(second)) || *trials == TRIALS_MAX {
        return None;
    }
    *trials += 1;
    [Order::Little, Order::Big].into_iter().find(|&order| links(order, first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of `count` frames whose pages hold their own numbers.
    fn log(order: Order, page_len: usize, count: u32) -> Vec<u8> {
        let salts = Salts { salt1: 7, salt2: 0x1234_5678 };
        let mut bytes = Header::encode(order, page_len, 3, salts).to_vec();
        let mut seed = Header::parse(&bytes).sum;
        for page in 1..=count {
            let image = vec![page as u8; page_len];
            let (head, sum) = Frame { page, commit_size: page, salts, sum: seed }.encode(order, seed, &image);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&image);
            seed = sum;
        }
        bytes
    }

    #[test]
    fn a_header_with_any_bit_flipped_is_known_again() {
        for order in [Order::Little, Order::Big] {
            let right = log(order, 1024, 1);
            for bit in 0..HEADER_LEN * 8 {
                let mut bytes = right.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let flip = Flip { offset: bit as u64 / 8, bit: bit as u8 % 8 };
                let guess = guess(&bytes, &mut 0);
                assert_eq!(fault(&bytes, guess.as_ref()).flip(), Some(flip), "{order:?}, bit {bit}");
                let geometry = guess.map(|guess| guess.geometry);
                assert_eq!(geometry, Geometry::of(&Header::parse(&right)), "{order:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn every_page_size_and_order_is_found_behind_a_header_of_noise() {
        for order in [Order::Little, Order::Big] {
            for page_len in PAGE_SIZES {
                let mut bytes = log(order, page_len, 3);
                bytes[..HEADER_LEN].fill(0x5a);
                let found = guess(&bytes, &mut 0).map(|guess| (guess.geometry.order, guess.geometry.frame_len));
                assert_eq!(found, Some((order, FRAME_HEADER_LEN + page_len)));
            }
        }
    }

    #[test]
    fn a_single_frame_is_found_by_the_checksum_that_the_header_stores() {
        let mut bytes = log(Order::Big, 2048, 1);
        bytes[8..12].fill(0xde);
        let found = guess(&bytes, &mut 0).map(|guess| (guess.geometry.order, guess.geometry.frame_len));
        assert_eq!(found, Some((Order::Big, FRAME_HEADER_LEN + 2048)));
    }

    #[test]
    fn noise_links_nowhere() {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        });
        let noise: Vec<u8> = noise.take(GUESS_LEN).collect();
        assert_eq!(guess(&noise, &mut 0), None);
        assert_eq!(guess(&vec![0; GUESS_LEN], &mut 0), None);
    }
}
