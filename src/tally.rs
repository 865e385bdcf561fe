//! Counting good records. Two tallies of neighbouring parts join to the tally of the whole, so that parts can be
//! counted by several threads.

use std::collections::VecDeque;

use crate::decode::{Commit, Meta};

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
    /// The last whole commit.
    pub committed: Option<Committed>,
    /// The highest promise met: all below it had reached the disk.
    pub durable: u64,
    /// A transaction that begins below this offset is not whole: damage ends here.
    pub floor: u64,
    /// Commits that no promise covers yet; counted only in a tally of a format whose commits promise.
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
        // Also where damage hit a part of the transaction: whether it had been acknowledged is what nobody knows.
        if commit.counts && self.promising {
            self.unproven.push(end);
        }
        if commit.first.is_some_and(|first| first >= self.floor) {
            self.transactions += u64::from(commit.counts);
            self.committed = Some(Committed { end, lsn: meta.lsn, records: self.records, time: commit.time });
        }
    }

    /// Counts what calls itself a commit inside damage that ends at `end`, in a format whose commits promise.
    pub fn claim(&mut self, count: u64, end: u64) {
        for _ in 0..count {
            self.unproven.push(end);
        }
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
        self.end = next.end.or(self.end);
        self.promise(next.durable);
        self.unproven.append(next.unproven);
    }
}

/// Commits at the tail that nothing proves durable. A log written without any sync has as many as it has commits, so
/// only the last of them are kept one by one; the older ones are a number that the next promise above them clears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unproven {
    older: u64,
    ends: VecDeque<u64>,
}

const KEPT_MAX: usize = 4096;

impl Unproven {
    /// How many.
    pub fn count(&self) -> u64 {
        self.older + self.ends.len() as u64
    }

    #[inline]
    fn push(&mut self, end: u64) {
        if self.ends.len() == KEPT_MAX {
            self.ends.pop_front();
            self.older += 1;
        }
        self.ends.push_back(end);
    }

    #[inline]
    fn prove(&mut self, durable: u64) {
        while self.ends.front().is_some_and(|&end| end <= durable) {
            self.ends.pop_front();
            self.older = 0;
        }
    }

    fn append(&mut self, next: Unproven) {
        if next.older > 0 {
            self.older += self.ends.len() as u64 + next.older;
            self.ends.clear();
        }
        for end in next.ends {
            self.push(end);
        }
    }
}
