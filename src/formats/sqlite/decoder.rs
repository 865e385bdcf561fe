//! The parser: a header, then frames on a grid, each checked by the sum that the one before left.
//!
//! Damage never loses the grid, only the seed of the next frame. The frame's *stored* sum is then the seed: frames that
//! link from it are as good as any, and what they stand behind was once whole.

use super::guess::{self, GUESS_LEN, Geometry};
use super::layout::{
    FRAME_COVERED, FRAME_HEADER_LEN, FRAME_SALTS, FRAME_SUM, Frame, HEADER_LEN, Header, Salts, VERSION_KNOWN,
    frame_sum, header_sum, joined, links,
};
use crate::bitflip::{self, Flip, Place};
use crate::bytes::all_zero;
use crate::checksum::{Order, Sum, sqlite_content};
use crate::decode::{Begin, Class, Commit, Decode, Fork, Input, Meta, Need, Premise, Step};
use crate::span::{Fault, Piece};

/// Bad frames of one log in which the flipped bit is looked for: a search costs as much as some checksums.
const SEARCHES_MAX: u32 = 64;
/// Earlier lives of the file whose salts are known by their distance alone. Older ones must link.
const LIVES_MAX: u32 = 4096;
/// Later lives whose frames may stand under a header that never reached the disk: theirs are not stale.
const LATER_MAX: u32 = 16;

/// The parser of one log.
#[derive(Clone, Default)]
pub(super) struct Decoder {
    at: At,
    trials: u32,
    searches: u32,
}

/// Where the parser stands.
#[derive(Clone, Default)]
enum At {
    /// Before the header.
    #[default]
    Start,
    /// Behind a hit header, and nothing links yet.
    Lost,
    /// Before the frame that only seeds the next, which begins a part of the log. See [`Decode::fork`].
    Lead(Chain),
    /// Before a frame.
    Frame(Chain),
}

/// What is known before a frame.
#[derive(Clone)]
struct Chain {
    geometry: Geometry,
    seed: Sum,
    trust: Trust,
    /// Transactions so far.
    transactions: u64,
    /// The transactions so far are all there is, so that the next one's number is known.
    numbered: bool,
    /// Offset of the present transaction's first frame; `None` where damage hides it.
    first: Option<u64>,
    /// The frame before was a commit.
    ended: Option<Ended>,
    /// Whether this may be the rest of a transaction that was rolled back.
    rest: Rest,
    /// The slot before is of an earlier life with these salts.
    stale: Option<Salts>,
    /// The sum of the frame before the last bad slot. Until the commit SQLite may put another image into a frame, and then
    /// mends the sums of all from there on.
    premise: Option<Premise>,
}

/// Whether the next slot may be what a transaction left that was rolled back.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Rest {
    /// The log was begun anew, or a transaction is under way.
    #[default]
    No,
    /// A commit stands before it, or what calls itself one.
    May,
    /// It follows a frame of one.
    Is,
}

/// What stands behind the seed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The slot before is right, so its sum is.
    Proven,
    /// The slot before is bad, but carries the log's salts.
    Stored,
    /// The slot before is of an earlier life, or of none.
    Foreign,
}

/// What speaks for a slot that does not continue the chain.
enum Evidence {
    /// Nothing.
    None,
    /// Its salts, or its links: it is of an earlier life of the file.
    Earlier,
    /// The chain: only a field that no checksum covers is hit, or the checksum itself.
    Content(Fault),
}

/// A commit frame that was just read.
#[derive(Clone, Copy)]
struct Ended {
    seed: Sum,
    sum: Sum,
    /// The first frame of its transaction.
    first: Option<u64>,
}

impl Chain {
    fn new(geometry: Geometry, seed: Sum) -> Self {
        Self {
            geometry,
            seed,
            trust: Trust::Proven,
            transactions: 0,
            numbered: true,
            first: Some(HEADER_LEN as u64),
            ended: None,
            rest: Rest::No,
            stale: None,
            premise: None,
        }
    }

    #[inline]
    fn frame(&mut self, input: &Input<'_>, searches: &mut u32) -> Result<Step, Need> {
        let Geometry { order, frame_len, salts, .. } = self.geometry;
        let slot = input.upto(frame_len)?;
        if slot.len() < frame_len {
            return self.rest(slot);
        }
        let frame = Frame::parse(slot);
        if frame.salts == salts && frame.page > 0 {
            let sum = frame_sum(order, self.seed, slot);
            if sum == frame.sum {
                let meta = self.pass(&frame, sum, input.offset);
                let class = Class::Record { piece: Piece::Full, body: FRAME_HEADER_LEN..frame_len, meta };
                return Ok(Step { len: frame_len, class });
            }
        }
        self.bad(input, slot, &frame, searches)
    }

    /// The log ends within a frame: behind an earlier life that is its own torn tail.
    fn rest(&self, rest: &[u8]) -> Result<Step, Need> {
        let head = rest.get(..FRAME_HEADER_LEN).map(Frame::parse);
        if self.stale.is_some() || head.is_some_and(|frame| self.is_earlier(frame.salts)) {
            return Ok(Step { len: rest.len(), class: Class::Stale });
        }
        Err(Need(self.geometry.frame_len))
    }

    /// A slot whose frame does not continue the chain.
    #[cold]
    fn bad(&mut self, input: &Input<'_>, slot: &[u8], frame: &Frame, searches: &mut u32) -> Result<Step, Need> {
        let before = input.offset.checked_sub(self.geometry.frame_len as u64);
        let at = before.filter(|_| self.trust == Trust::Proven).map(|frame| frame + FRAME_SUM.start as u64);
        let premise = at.map(|offset| Premise { offset, bytes: joined(self.seed).to_be_bytes() });
        let step = self.explain(input, slot, frame, searches)?;
        self.premise = premise;
        Ok(step)
    }

    fn explain(&mut self, input: &Input<'_>, slot: &[u8], frame: &Frame, searches: &mut u32) -> Result<Step, Need> {
        let Geometry { order, frame_len, salts, .. } = self.geometry;
        let computed = frame_sum(order, self.seed, slot);
        let proven = match self.evidence(input, frame, computed)? {
            Evidence::Content(fault) => fault,
            Evidence::Earlier => {
                self.pass_bad(frame, Some(frame.salts));
                return Ok(Step { len: frame_len, class: Class::Stale });
            }
            Evidence::None => {
                let fault = self.fault(input, slot, computed, searches)?;
                self.pass_bad(frame, None);
                if let Fault::Unlinked { .. } = fault {
                    self.rest = Rest::Is;
                }
                let claims_commit = frame.salts == salts && frame.commit_size > 0;
                return Ok(Step { len: frame_len, class: Class::Damage { fault, claims_commit } });
            }
        };
        let meta = self.pass(frame, computed, input.offset);
        let class = Class::Proven { fault: proven, body: FRAME_HEADER_LEN..frame_len, meta };
        Ok(Step { len: frame_len, class })
    }

    /// What a slot is that does not continue the chain.
    fn evidence(&self, input: &Input<'_>, frame: &Frame, computed: Sum) -> Result<Evidence, Need> {
        let Geometry { frame_len, salts, .. } = self.geometry;
        if frame.page > 0 && self.trust != Trust::Foreign {
            let flip = |found: u64, expected: u64, field: usize| {
                let at = (found ^ expected).is_power_of_two().then(|| (found ^ expected).trailing_zeros() as usize)?;
                Some(Flip { offset: input.offset + (field + 7 - at / 8) as u64, bit: at as u8 % 8 })
            };
            if computed == frame.sum {
                let (found, expected) = (frame.salts.joined(), salts.joined());
                let flip = flip(found, expected, FRAME_SALTS.start);
                return Ok(Evidence::Content(Fault::Stamp { found, expected, flip }));
            }
            let pair = input.upto(2 * frame_len)?;
            if pair.len() == 2 * frame_len && self.proves(&pair[frame_len..], computed) {
                let (stored, computed) = (joined(frame.sum), joined(computed));
                let flip = flip(stored, computed, FRAME_SUM.start);
                return Ok(Evidence::Content(Fault::Checksum { stored, computed, flip }));
            }
        }
        Ok(if self.is_stale(input, frame)? { Evidence::Earlier } else { Evidence::None })
    }

    /// What is wrong with a slot that is neither a frame nor of an earlier life.
    fn fault(&self, input: &Input<'_>, slot: &[u8], computed: Sum, searches: &mut u32) -> Result<Fault, Need> {
        let Geometry { order, salts, .. } = self.geometry;
        let frame = Frame::parse(slot);
        if all_zero(slot) {
            return Ok(Fault::Hole);
        }
        if frame.salts != salts {
            return Ok(Fault::Identity { found: frame.salts.joined(), expected: salts.joined() });
        }
        if frame.sum == computed {
            return Ok(Fault::Identity { found: frame.page.into(), expected: 1 });
        }
        let leftover = self.is_leftover(input, slot, &frame)?;
        let parts = [&slot[FRAME_COVERED], &slot[FRAME_HEADER_LEN..]];
        let search = self.trust == Trust::Proven && *searches < SEARCHES_MAX;
        *searches += u32::from(search);
        let places = search.then(|| bitflip::sqlite_places(order, self.seed, parts, frame.sum));
        let mut places = places.into_iter().flatten();
        let (stored, computed) = (joined(frame.sum), joined(computed));
        Ok(match (places.next(), places.next()) {
            (None, _) if leftover => Fault::Unlinked { stored, computed, flip: None },
            (Some(place), None) => Fault::Checksum { stored, computed, flip: Some(flip_at(place, input.offset)) },
            (None | Some(_), _) => Fault::Checksum { stored, computed, flip: None },
        })
    }

    /// Whether a bad frame looks like the first that is left of a transaction that was rolled back: it follows a commit
    /// or an older rest, is no commit itself, and seeds the next. Any other may be of a transaction that was committed.
    fn is_leftover(&self, input: &Input<'_>, slot: &[u8], frame: &Frame) -> Result<bool, Need> {
        let Geometry { order, frame_len, .. } = self.geometry;
        if self.rest == Rest::No || frame.page == 0 || frame.commit_size > 0 {
            return Ok(false);
        }
        let pair = input.upto(2 * frame_len)?;
        Ok(pair.len() == 2 * frame_len && links(order, slot, &pair[frame_len..]))
    }

    /// Moves behind a good frame at `offset`.
    #[inline]
    fn pass(&mut self, frame: &Frame, sum: Sum, offset: u64) -> Meta {
        let len = self.geometry.frame_len as u64;
        let (lsn, end) = ((offset - HEADER_LEN as u64) / len + 1, offset + len);
        let mut transaction = self.transactions + 1;
        let mut commit = None;
        if frame.commit_size == 0 {
            self.ended = None;
            self.rest = if self.rest == Rest::Is { Rest::Is } else { Rest::No };
        } else {
            let repeated =
                self.ended.filter(|ended| self.content(ended.seed, ended.sum) == self.content(self.seed, sum));
            let first = repeated.map_or(self.first, |ended| ended.first);
            commit = Some(Commit { first, counts: repeated.is_none(), time: None });
            transaction -= u64::from(repeated.is_some());
            self.transactions = transaction;
            self.ended = Some(Ended { seed: self.seed, sum, first });
            (self.first, self.rest) = (Some(end), Rest::May);
        }
        (self.seed, self.trust, self.stale) = (sum, Trust::Proven, None);
        // SQLite syncs the header before it writes the first frame, so a frame promises the header.
        Meta { lsn, transaction: if self.numbered { transaction } else { 0 }, commit, durable: HEADER_LEN as u64 }
    }

    /// What a frame's page, number and commit size added to the sum: equal for equal frames.
    fn content(&self, seed: Sum, sum: Sum) -> Sum {
        sqlite_content(seed, sum, self.geometry.frame_len - FRAME_HEADER_LEN + FRAME_COVERED.len())
    }

    /// Moves behind a slot that is not a frame of this log: what it stores seeds the next. `stale` has its salts if it is
    /// of an earlier life.
    fn pass_bad(&mut self, frame: &Frame, stale: Option<Salts>) {
        self.seed = frame.sum;
        self.trust = if frame.salts == self.geometry.salts { Trust::Stored } else { Trust::Foreign };
        // Salts of zero belong to the run that they stand in.
        self.stale = if stale == Some(Salts::default()) { self.stale } else { stale };
        (self.numbered, self.first, self.ended) = (false, None, None);
        self.rest = match self.rest {
            _ if self.trust == Trust::Stored && frame.commit_size > 0 => Rest::May,
            Rest::Is => Rest::Is,
            Rest::May | Rest::No => Rest::No,
        };
    }

    /// The sum `computed` for the slot before seeds the frame in `next`: both are proven.
    fn proves(&self, next: &[u8], computed: Sum) -> bool {
        let frame = Frame::parse(next);
        frame.salts == self.geometry.salts
            && frame.page > 0
            && frame_sum(self.geometry.order, computed, next) == frame.sum
    }

    /// Whether a slot with other salts than the log's is of an earlier life of the file.
    fn is_stale(&self, input: &Input<'_>, frame: &Frame) -> Result<bool, Need> {
        let Geometry { frame_len, salts, .. } = self.geometry;
        if frame.salts == salts {
            return Ok(false);
        }
        if let Some(run) = self.stale {
            // A transaction that was never finished leaves frames without salts and sum, in an earlier life too.
            let unfinished = frame.page > 0 && frame.salts == Salts::default() && frame.sum == Sum::default();
            if frame.salts == run || unfinished {
                return Ok(true);
            }
        }
        if self.is_earlier(frame.salts) {
            return Ok(true);
        }
        if (1..=LATER_MAX).contains(&frame.salts.salt1.wrapping_sub(salts.salt1)) {
            return Ok(false);
        }
        let Some(pair) = input.upto(2 * frame_len)?.get(..2 * frame_len) else { return Ok(false) };
        let (slot, next) = pair.split_at(frame_len);
        Ok([Order::Little, Order::Big].into_iter().any(|order| links(order, slot, next)))
    }

    /// These are the salts of one of the last lives: salt-1 grew by one at each restart, and salt-2 was drawn anew.
    fn is_earlier(&self, salts: Salts) -> bool {
        let Geometry { salts: own, checkpoint, .. } = self.geometry;
        let lives = own.salt1.wrapping_sub(salts.salt1);
        salts.salt2 != own.salt2 && (1..=checkpoint.min(LIVES_MAX)).contains(&lives)
    }
}

impl Decoder {
    fn header(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let bytes = input.first(HEADER_LEN)?;
        let header = Header::parse(bytes);
        let right = header.order().is_some_and(|order| header_sum(order, bytes) == header.sum);
        if right && header.version != VERSION_KNOWN {
            let class = Class::Newer { what: "format version", value: header.version.into() };
            return Ok(Step { len: HEADER_LEN, class });
        }
        if let Some(geometry) = Geometry::of(&header).filter(|_| right) {
            self.at = At::Frame(Chain::new(geometry, header.sum));
            return Ok(Step { len: HEADER_LEN, class: Class::Header { durable: 0, transaction: 0 } });
        }
        let guess = guess::guess(input.upto(GUESS_LEN)?, &mut self.trials);
        let fault = guess::fault(bytes, guess.as_ref());
        self.at = guess.map_or(At::Lost, |guess| At::Frame(Chain::new(guess.geometry, guess.seed)));
        Ok(Step { len: HEADER_LEN, class: Class::damage(fault) })
    }

    /// Looks for frames behind a hit header, and passes what stands before them.
    fn search(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let bytes = input.upto(GUESS_LEN)?;
        let mut len = bytes.len().min(GUESS_LEN / 2);
        if let Some(geometry) = guess::by_links(input.offset, bytes, &mut self.trials) {
            let chain = Chain::new(geometry, Sum::default());
            let chain = Chain { trust: Trust::Foreign, numbered: false, first: None, ..chain };
            self.at = At::Frame(chain);
            len = (geometry.slot_behind(input.offset) - input.offset) as usize;
            if len == 0 {
                return self.step(input);
            }
        }
        let fault = if all_zero(&bytes[..len]) { Fault::Hole } else { Fault::Header };
        Ok(Step { len, class: Class::damage(fault) })
    }

    /// The frame before a part of the log: its sum seeds the part, and it may be the commit that the part repeats.
    fn lead(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let At::Lead(chain) = &self.at else { return Err(Need(1)) };
        let Geometry { order, frame_len, .. } = chain.geometry;
        let slot = input.first(frame_len)?;
        let frame = Frame::parse(slot);
        let mut chain = chain.clone();
        chain.seed = frame.sum;
        // A part is only used where everything before it was good, so its first transaction is whole wherever it began.
        chain.first = Some(input.offset + frame_len as u64);
        chain.ended = (frame.commit_size > 0).then(|| {
            let seed = Sum::default();
            Ended { seed, sum: frame_sum(order, seed, slot), first: chain.first }
        });
        chain.rest = if frame.commit_size > 0 { Rest::May } else { Rest::No };
        self.at = At::Frame(chain);
        Ok(Step { len: frame_len, class: Class::Padding })
    }
}

/// A place that the search found in a frame's covered bytes or its checksum, as a place in the log.
fn flip_at(place: Place, frame: u64) -> Flip {
    let (at, bit) = match place {
        Place::Covered { byte, bit } if byte < FRAME_COVERED.len() => (byte, bit),
        Place::Covered { byte, bit } => (byte - FRAME_COVERED.len() + FRAME_HEADER_LEN, bit),
        Place::Stored { byte, bit } => (FRAME_SUM.start + byte, bit),
    };
    Flip { offset: frame + at as u64, bit }
}

impl Decode for Decoder {
    fn begin(&mut self, _: &Begin<'_>) {
        *self = Self::default();
    }

    #[inline]
    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        match &mut self.at {
            At::Frame(chain) => chain.frame(input, &mut self.searches),
            At::Start => self.header(input),
            At::Lost => self.search(input),
            At::Lead(_) => self.lead(input),
        }
    }

    fn copy(&self) -> Option<Box<dyn Decode + Send>> {
        let is_final = match &self.at {
            At::Start => true,
            At::Frame(chain) => chain.ended.is_some(),
            At::Lost | At::Lead(_) => false,
        };
        is_final.then(|| Box::new(self.clone()) as _)
    }

    fn premise(&self) -> Option<Premise> {
        match &self.at {
            At::Frame(chain) => chain.premise,
            At::Start | At::Lost | At::Lead(_) => None,
        }
    }

    fn hole(&mut self, _: u64, len: u64) -> Option<(u64, Class)> {
        let class = Class::damage(Fault::Hole);
        match &mut self.at {
            At::Lost => Some((len, class)),
            At::Frame(chain) => {
                let whole = len - len % chain.geometry.frame_len as u64;
                if whole > 0 {
                    chain.pass_bad(&Frame::parse(&[0; FRAME_HEADER_LEN]), None);
                }
                (whole > 0).then_some((whole, class))
            }
            At::Start | At::Lead(_) => None,
        }
    }

    fn fork(&self, near: u64) -> Option<Fork> {
        let At::Frame(chain) = &self.at else { return None };
        let len = chain.geometry.frame_len as u64;
        let slot = near.saturating_sub(HEADER_LEN as u64).div_ceil(len).max(1);
        let counts_from = slot.checked_mul(len)?.checked_add(HEADER_LEN as u64)?;
        let chain = Chain { numbered: false, ..Chain::new(chain.geometry, Sum::default()) };
        let decoder = Self { at: At::Lead(chain), ..Self::default() };
        Some(Fork { decoder: Box::new(decoder), offset: counts_from - len, counts_from })
    }
}
