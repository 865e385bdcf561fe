//! Counting good records. Two tallies of neighbouring parts join to the tally of the whole, so that parts can be
//! counted by several threads.

use std::collections::VecDeque;

use crate::decode::{Commit, Meta, Opening};

/// What a run of good records of one segment comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Whole transactions.
    pub transactions: u64,
    /// Commits, whole or not: the evidence that something was acknowledged.
    pub commits: u64,
    /// LSN of the first record.
    pub first: Option<u64>,
    /// LSN of the last record.
    pub last: Option<u64>,
    /// Offset behind the last record.
    pub end: Option<u64>,
    /// The lowest number of its commits, whole or not.
    pub opening: Opening,
    /// Number of the last commit that counts as a transaction, whole or not; 0 where there is none, or it is not known.
    pub number: u64,
    /// The last whole commit.
    pub committed: Option<Committed>,
    /// The highest promise met: all below it had reached the disk.
    pub durable: u64,
    /// A transaction that begins below this offset is not whole: damage ends here.
    pub floor: u64,
    /// Where commits end; kept only in a tally of a format whose commits promise.
    pub unproven: Unproven,
    promising: bool,
}

/// Where a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Offset behind its commit.
    pub end: u64,
    /// LSN of its commit.
    pub lsn: u64,
    /// Records of this tally up to it.
    pub records: u64,
    /// Its time, in nanoseconds since 1970.
    pub time: Option<u64>,
}

impl Tally {
    /// An empty tally; `promising` says that every commit of the format carries a promise, so that it is worth knowing which
    /// commits none covers.
    pub fn new(promising: bool) -> Self {
        Self { promising, ..Self::default() }
    }

    pub(crate) fn is_promising(&self) -> bool {
        self.promising
    }

    /// Counts a record that ends at `end`. Inlined, a record that is no commit is a few stores.
    #[inline(always)]
    pub fn add(&mut self, meta: &Meta, end: u64) {
        self.records += 1;
        self.first.get_or_insert(meta.lsn);
        self.last = Some(meta.lsn);
        self.end = Some(end);
        if meta.durable > self.durable {
            self.promise(meta.durable);
        }
        if let Some(commit) = &meta.commit {
            self.commit(meta, commit, end);
        }
    }

    #[inline(never)]
    fn commit(&mut self, meta: &Meta, commit: &Commit, end: u64) {
        self.commits += 1;
        self.opening.join(Opening { transaction: meta.transaction, first: commit.first.unwrap_or(0) });
        if commit.counts {
            self.number = meta.transaction;
        }
        // Also where damage hit a part of the transaction: whether it had been acknowledged is what nobody knows.
        if commit.counts && self.promising {
            self.unproven.push(end);
        }
        if commit.first.is_some_and(|first| first >= self.floor) {
            self.transactions += u64::from(commit.counts);
            self.committed = Some(Committed { end, lsn: meta.lsn, records: self.records, time: commit.time });
        }
    }

    /// Takes note of what calls itself a commit inside damage, in a format whose commits promise.
    pub fn claim(&mut self, claims: &Unproven) {
        self.unproven.append(claims.clone());
    }

    /// Commits that no promise covers.
    pub fn undecided(&self) -> u64 {
        self.unproven.count(self.durable)
    }

    /// Takes note that all below `durable` had reached the disk.
    pub fn promise(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
        self.unproven.prove(self.durable);
    }

    /// Appends the tally of the part of the same segment that follows.
    pub fn join(&mut self, next: Tally) {
        if let Some(committed) = next.committed {
            self.committed = Some(Committed { records: self.records + committed.records, ..committed });
        }
        self.records += next.records;
        self.transactions += next.transactions;
        self.commits += next.commits;
        self.first = self.first.or(next.first);
        self.last = next.last.or(self.last);
        self.opening.join(next.opening);
        self.number = if next.number > 0 { next.number } else { self.number };
        self.end = next.end.or(self.end);
        self.promise(next.durable);
        self.unproven.append(next.unproven);
    }
}

/// Where commits end, to count those that no promise covers. A log written without any sync has as many as it has commits, so
/// only the last of them are kept one by one, and the older ones are counted by the block: they are proven block by block.
///
/// What stands here depends on the commits alone and not on when a promise became known, so parts join to the same whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unproven {
    older: VecDeque<Block>,
    ends: VecDeque<u64>,
}

const KEPT_MAX: usize = 4096;
/// A segment of 4 GiB has 128 Ki blocks: two MiB of counts.
const BLOCK: u64 = 32 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    /// All of its commits end here or before.
    end: u64,
    commits: u64,
}

impl Unproven {
    /// How many end behind `durable`.
    pub fn count(&self, durable: u64) -> u64 {
        let oldest_kept = self.ends.front().copied().unwrap_or(0);
        let hit = self.older.iter().filter(|block| block.end > durable && durable < oldest_kept);
        let older = hit.map(|block| block.commits);
        let ends = self.ends.iter().filter(|&&end| end > durable);
        older.sum::<u64>() + ends.count() as u64
    }

    /// A commit that ends at `end`.
    #[inline]
    pub(crate) fn push(&mut self, end: u64) {
        self.ends.push_back(end);
        if self.ends.len() > KEPT_MAX
            && let Some(oldest) = self.ends.pop_front()
        {
            self.push_block(Block { end: oldest.next_multiple_of(BLOCK), commits: 1 });
        }
    }

    fn push_block(&mut self, block: Block) {
        match self.older.back_mut() {
            Some(last) if last.end == block.end => last.commits += block.commits,
            _ => self.older.push_back(block),
        }
    }

    fn prove(&mut self, durable: u64) {
        while self.older.front().is_some_and(|block| block.end <= durable) {
            self.older.pop_front();
        }
    }

    /// With those of the part that follows.
    pub(crate) fn append(&mut self, next: Unproven) {
        if !next.older.is_empty() {
            for end in std::mem::take(&mut self.ends) {
                self.push_block(Block { end: end.next_multiple_of(BLOCK), commits: 1 });
            }
        }
        next.older.into_iter().for_each(|block| self.push_block(block));
        next.ends.into_iter().for_each(|end| self.push(end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_as_the_whole_does_whatever_is_promised() {
        let ends: Vec<u64> = (1..20_000).map(|n| n * 48 + n % 7).collect();
        let all = |ends: &[u64]| {
            let mut unproven = Unproven::default();
            ends.iter().for_each(|&end| unproven.push(end));
            unproven
        };
        let whole = all(&ends);
        for at in [1, 100, 4096, 5000, 15_000, 19_900] {
            let (mut first, second) = (all(&ends[..at]), all(&ends[at..]));
            first.append(second);
            assert_eq!(first, whole, "joined at {at}");
        }
        for durable in [0, 47, 48, 100_000, BLOCK * 10, ends[16_000], ends[19_000], ends[19_998]] {
            let exact = ends.iter().filter(|&&end| end > durable).count() as u64;
            let count = whole.count(durable);
            let slack = if durable >= ends[16_000] { 0 } else { BLOCK / 48 };
            assert!((exact..=exact + slack).contains(&count), "{count} of {exact} above {durable}");
            let mut proven = whole.clone();
            proven.prove(durable);
            assert_eq!(proven.count(durable), count);
        }
    }
}
