//! What a power cut leaves of what was on its way to the disk.

use super::file::{Length, Version};
use super::names::Change;
use super::rng::Rng;

/// What a sector is when the power is back. Numbers are of its versions: 0 what was synced, then each since.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrived {
    Whole(usize),
    /// One version up to a byte, from there on another.
    Torn {
        front: usize,
        back: usize,
        at: usize,
    },
    /// Anything, by this seed.
    Garbage(u64),
}

/// Decides about all that was unsynced, item by item, in one order.
pub(super) trait Fate {
    /// A sector that was `old` and then had these versions, one at least.
    fn sector(&mut self, old: &[u8], versions: &[Version]) -> Arrived;
    /// One of several lengths, of which the first is durable.
    fn length(&mut self, lengths: &[Length]) -> u64;
    /// One of so many rights, of which the first are durable.
    fn rights(&mut self, count: usize) -> usize;
    /// New times arrived.
    fn times(&mut self) -> bool;
    /// A change of names arrived.
    fn change(&mut self, change: &Change) -> bool;
}

/// A failed sync: each sector for itself.
impl Fate for Rng {
    fn sector(&mut self, old: &[u8], versions: &[Version]) -> Arrived {
        let count = versions.len() + 1;
        match self.below(8) {
            0 | 1 => Arrived::Whole(0),
            2 | 3 => Arrived::Whole(count - 1),
            4 => Arrived::Whole(self.index(count)),
            5 | 6 => {
                let front = self.index(count);
                let back = (front + 1 + self.index(count - 1)) % count;
                Arrived::Torn { front, back, at: self.index(old.len() + 1) }
            }
            _ => Arrived::Garbage(self.next()),
        }
    }

    fn length(&mut self, lengths: &[Length]) -> u64 {
        lengths[self.index(lengths.len())].len
    }

    fn rights(&mut self, count: usize) -> usize {
        self.index(count)
    }

    fn times(&mut self) -> bool {
        self.coin()
    }

    fn change(&mut self, _: &Change) -> bool {
        self.coin()
    }
}

/// What is unsynced, so that a plan can single one out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) sectors: usize,
    pub(super) lengths: usize,
    pub(super) changes: usize,
    /// The first call that is not wholly on the disk, and the last.
    pub(super) calls: (u64, u64),
}

/// How a power cut treats the items of one kind. Bugs live at the extremes, so a uniform choice is one plan among many.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Nothing,
    Everything,
    /// All calls before this one arrived, this one is halfway, none behind it.
    Until(u64),
    /// The item of this number alone.
    Only(usize),
    /// All but the item of this number.
    AllBut(usize),
    /// Each for itself; so many in sixteen arrive whole, and so many not at all.
    Each {
        whole: u64,
        none: u64,
    },
}

/// What becomes of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    None,
    All,
    Until(u64),
    Some,
}

impl Plan {
    fn draw(rng: &mut Rng, items: usize, calls: (u64, u64)) -> Self {
        match rng.below(8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::Until(calls.0 + rng.below(calls.1.saturating_sub(calls.0) + 1)),
            4 => Self::Only(rng.index(items)),
            5 => Self::AllBut(rng.index(items)),
            6 => Self::Each { whole: 0, none: 0 },
            _ => {
                let whole = rng.below(17);
                Self::Each { whole, none: rng.below(17 - whole) }
            }
        }
    }

    fn share(self, item: usize, rng: &mut Rng) -> Share {
        match self {
            Self::Nothing => Share::None,
            Self::Everything => Share::All,
            Self::Until(call) => Share::Until(call),
            Self::Only(one) => [Share::None, Share::Some][usize::from(item == one)],
            Self::AllBut(one) => [Share::All, Share::Some][usize::from(item == one)],
            Self::Each { whole, none } => match rng.below(16) {
                n if n < whole => Share::All,
                n if n < whole + none => Share::None,
                _ => Share::Some,
            },
        }
    }
}

/// A power cut that a seed chooses.
pub(super) struct Cut {
    rng: Rng,
    /// Decides about times alone, so that a seed leaves the same bytes and names whatever times there are.
    times: Rng,
    sectors: (Plan, usize),
    lengths: (Plan, usize),
    changes: (Plan, usize),
}

impl Cut {
    pub(super) fn new(mut rng: Rng, amount: Amount) -> Self {
        let calls = amount.calls;
        let mut sectors = Plan::draw(&mut rng, amount.sectors, calls);
        let mut lengths = Plan::draw(&mut rng, amount.lengths, calls);
        let mut changes = Plan::draw(&mut rng, amount.changes, calls);
        // In half of all cuts, names, lengths and bytes went the same way: that is a disk that keeps some order.
        if rng.coin() {
            match sectors {
                // A number of one sector says nothing of lengths and names.
                Plan::Only(_) | Plan::AllBut(_) => (lengths, changes) = (Plan::Everything, Plan::Everything),
                same => (lengths, changes) = (same, same),
            }
        } else if amount.changes > 0 && rng.below(4) == 0 {
            // The names arrive before what they name.
            (changes, sectors) = (Plan::Everything, Plan::Nothing);
            lengths = [Plan::Nothing, lengths][rng.index(2)];
        }
        let times = rng.branch(1);
        Self { rng, times, sectors: (sectors, 0), lengths: (lengths, 0), changes: (changes, 0) }
    }
}

fn share((plan, item): &mut (Plan, usize), rng: &mut Rng) -> Share {
    *item += 1;
    plan.share(*item - 1, rng)
}

impl Fate for Cut {
    fn sector(&mut self, old: &[u8], versions: &[Version]) -> Arrived {
        match share(&mut self.sectors, &mut self.rng) {
            Share::None => Arrived::Whole(0),
            Share::All => Arrived::Whole(versions.len()),
            Share::Some => self.rng.sector(old, versions),
            Share::Until(call) => {
                let before = versions.iter().take_while(|version| version.call < call).count();
                match versions.get(before) {
                    Some(version) if version.call == call => halfway(&mut self.rng, before, old.len()),
                    _ => Arrived::Whole(before),
                }
            }
        }
    }

    fn length(&mut self, lengths: &[Length]) -> u64 {
        let until = |call| lengths.iter().take_while(|length| length.call < call).count();
        let chosen = match share(&mut self.lengths, &mut self.rng) {
            Share::None => lengths.first(),
            Share::All => lengths.last(),
            Share::Some => lengths.get(self.rng.index(lengths.len())),
            Share::Until(call) => {
                let (before, through) = (until(call), until(call + 1));
                lengths.get(before.saturating_sub(1) + self.rng.index(through - before + 1))
            }
        };
        chosen.map_or(0, |length| length.len)
    }

    fn rights(&mut self, count: usize) -> usize {
        self.rng.index(count)
    }

    fn times(&mut self) -> bool {
        self.times.coin()
    }

    fn change(&mut self, change: &Change) -> bool {
        match share(&mut self.changes, &mut self.rng) {
            Share::None => false,
            Share::All => true,
            Share::Some => self.rng.coin(),
            Share::Until(call) => change.call < call || change.call == call && self.rng.coin(),
        }
    }
}

/// A sector that a call was just changing, from version `before` to the next.
fn halfway(rng: &mut Rng, before: usize, size: usize) -> Arrived {
    let after = before + 1;
    match rng.below(4) {
        0 => Arrived::Whole(before),
        1 => Arrived::Whole(after),
        2 => Arrived::Torn { front: after, back: before, at: rng.index(size + 1) },
        _ => Arrived::Torn { front: before, back: after, at: rng.index(size + 1) },
    }
}
