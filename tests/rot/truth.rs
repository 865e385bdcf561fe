//! What must be said of a damaged log, by what is known of how it was written. Nothing here is read by the code that is tested.

use std::collections::BTreeSet;

use super::written::{BLOCK, CHECKPOINT, Files, HEADER, RECORDS_START, Record, Transaction, Written};

/// What a verdict must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Bytes are hit that a promise covers.
    Corrupt,
    /// A segment is missing, or is not the one that its name says.
    Incomplete,
    /// All that is hit may be what a crash left.
    Torn,
}

/// A damaged log beside what was written.
pub struct Truth<'w> {
    log: &'w Written,
    files: &'w Files,
    /// Files of which both headers say that they are another segment.
    misnamed: BTreeSet<u32>,
}

impl<'w> Truth<'w> {
    pub fn new(log: &'w Written, files: &'w Files) -> Self {
        let misnamed = files.iter().filter(|(name, bytes)| {
            let own = log.segments.get(name).is_some_and(|segment| segment.header_stands(bytes));
            !own && log.segments.values().any(|segment| segment.header_stands(bytes))
        });
        Self { log, files, misnamed: misnamed.map(|(name, _)| *name).collect() }
    }

    pub fn demand(&self) -> Demand {
        let mut names = self.files.keys().copied();
        let first = names.next().unwrap_or(0);
        let missing = names.enumerate().any(|(index, name)| name != first + 1 + index as u32);
        if missing || !self.misnamed.is_empty() || self.has_lost_its_last() {
            Demand::Incomplete
        } else if self.files.keys().any(|&name| self.hits_promised(name)) {
            Demand::Corrupt
        } else if self.has_lost_its_first(first) {
            Demand::Incomplete
        } else {
            Demand::Torn
        }
    }

    /// Neither a header nor a committed checkpoint that is left says that replay starts in segment `first` or later.
    fn has_lost_its_first(&self, first: u32) -> bool {
        let redo = |lsn: &[u8]| u32::from_le_bytes(lsn[4..8].try_into().expect("four bytes"));
        let standing = self
            .log
            .segments
            .iter()
            .filter(|(name, segment)| self.files.get(name).is_some_and(|bytes| segment.header_stands(bytes)));
        let by_headers = standing.map(|(_, segment)| redo(&segment.bytes[64..72])).max();
        let is_committed = |transaction: &Transaction<'_>| self.is_whole(transaction) && !self.is_refuted(transaction);
        let transactions = self.log.transactions();
        let checkpoints = transactions.iter().filter(|transaction| is_committed(transaction)).flat_map(|transaction| {
            let bytes = &self.log.segments[&transaction.segment].bytes;
            let checkpoints = transaction.records.iter().filter(|record| record.kind == CHECKPOINT);
            checkpoints.map(|record| redo(&bytes[record.at + HEADER..]))
        });
        by_headers.into_iter().chain(checkpoints).max().is_some_and(|redo| redo < first)
    }

    /// The last segment says that there was another.
    fn has_lost_its_last(&self) -> bool {
        let last = self.files.last_key_value().and_then(|(name, bytes)| Some((self.log.segments.get(name)?, bytes)));
        last.is_some_and(|(segment, bytes)| segment.seal_stands(bytes))
    }

    /// Something besides its records says what the nonce of a segment is.
    fn knows_nonce_of(&self, number: u32) -> bool {
        let there = |number: u32| Some((self.log.segments.get(&number)?, self.files.get(&number)?));
        let by_header = |number| there(number).is_some_and(|(segment, bytes)| segment.header_stands(bytes));
        by_header(number)
            || by_header(number + 1)
            || there(number - 1).is_some_and(|(before, bytes)| before.seal_stands(bytes))
    }

    /// The record's header is hit, and not only in one bit, which its checksum puts back where the nonce confirms it.
    fn hides(&self, number: u32, record: &Record, bytes: &[u8]) -> bool {
        let Some(found) = bytes.get(record.at..record.at + HEADER) else { return true };
        let written = &self.log.segments[&number].bytes[record.at..record.at + HEADER];
        let flipped: u32 = found.iter().zip(written).map(|(a, b)| (a ^ b).count_ones()).sum();
        flipped > u32::from(self.knows_nonce_of(number))
    }

    /// Bytes of this segment are not what they were that something that is still there says had been synced.
    fn hits_promised(&self, name: u32) -> bool {
        let (segment, bytes) = (&self.log.segments[&name], &self.files[&name]);
        !segment.stands(0, self.promised(name), bytes)
    }

    /// How far a segment is promised by what stands.
    fn promised(&self, name: u32) -> usize {
        let (segment, bytes) = (&self.log.segments[&name], &self.files[&name]);
        if let Some(end) = self.end_by_next(name) {
            return end;
        }
        let stands = |commit: &&Record| {
            !self.hides(name, commit, bytes) && segment.stands(commit.at + HEADER, commit.end(), bytes)
        };
        let promises = segment.commits().filter(stands).map(|commit| segment.promises[&commit.at]);
        // A file has its name only once both copies of the header were synced.
        promises.max().unwrap_or(0).max(RECORDS_START)
    }

    /// Where a segment ends by the header of the next, if that can be read.
    fn end_by_next(&self, name: u32) -> Option<usize> {
        let next = self.log.segments.get(&(name + 1))?;
        next.header_stands(self.files.get(&(name + 1))?).then_some(self.log.segments[&name].end).flatten()
    }

    /// Where recovery must find the end of the last segment.
    pub fn recovered(&self) -> (u32, usize) {
        let (&name, bytes) = self.files.last_key_value().expect("a segment");
        (name, self.log.segments[&name].whole(bytes))
    }

    /// All of it is there and can be reached: no header of a record before it in its blocks is hit, but for one bit.
    pub fn is_whole(&self, transaction: &Transaction<'_>) -> bool {
        let segment = &self.log.segments[&transaction.segment];
        let Some(bytes) = self.files.get(&transaction.segment) else { return false };
        if self.misnamed.contains(&transaction.segment) {
            return false;
        }
        let (first, last) = (transaction.records[0], transaction.records[transaction.records.len() - 1]);
        segment.stands(first.at, last.end(), bytes)
            && !segment.records.iter().any(|record| {
                // Behind the first block of the transaction its own headers lead on, and they stand.
                record.at / BLOCK == first.at / BLOCK
                    && record.at < first.at
                    && self.hides(transaction.segment, record, bytes)
            })
    }

    /// The next segment says that the transaction is none.
    pub fn is_refuted(&self, transaction: &Transaction<'_>) -> bool {
        let last = transaction.records[transaction.records.len() - 1];
        self.end_by_next(transaction.segment).is_some_and(|end| last.end() > end)
    }
}
