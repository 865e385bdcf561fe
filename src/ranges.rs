//! The places of a target that records touch, in bounded memory.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::format::{Format, Op, Record};

/// Ranges that are kept apart; further ones are only said to be there.
pub const RANGES_MAX: usize = 4096;
/// Ranges that are shown in a sentence.
const SHOWN_MAX: usize = 12;

/// Byte ranges of a target: sorted, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    apart: BTreeMap<u64, u64>,
    /// There are more, which are not listed.
    pub more: bool,
    /// Targets are made of pages of this many bytes; 0 where they are not.
    pub page: u64,
}

impl Ranges {
    /// Adds what a record writes.
    pub fn add_record(&mut self, format: &dyn Format, record: &Record<'_>) {
        // Records whose content cannot be replayed touch nothing.
        let _ = format.replay(record, &mut |op| {
            if let Op::Write { offset, bytes } = op {
                if format.paged() {
                    self.page = bytes.len() as u64;
                }
                self.add(offset, bytes.len() as u64);
            }
        });
    }

    /// Adds `len` bytes at `start`.
    pub fn add(&mut self, start: u64, len: u64) {
        let (mut start, mut end) = (start, start.saturating_add(len));
        // The usual case: what follows the last write.
        if let Some((&first, last)) = self.apart.range_mut(..=end).next_back()
            && first <= start
            && start <= *last
        {
            *last = end.max(*last);
            return;
        }
        while let Some((first, last)) = self.apart.range(..=end).next_back().map(|(&first, &last)| (first, last)) {
            if last < start {
                break;
            }
            self.apart.remove(&first);
            (start, end) = (start.min(first), end.max(last));
        }
        if self.apart.len() < RANGES_MAX {
            self.apart.insert(start, end);
        } else {
            self.more = true;
        }
    }

    /// Drops what lies at or behind `len`.
    pub fn clip(&mut self, len: u64) {
        self.apart.split_off(&len);
        if let Some(mut last) = self.apart.last_entry() {
            *last.get_mut() = len.min(*last.get());
        }
    }

    /// Nothing is touched.
    pub fn is_empty(&self) -> bool {
        self.apart.is_empty()
    }

    /// The ranges, as first byte and end.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.apart.iter().map(|(&start, &end)| (start, end))
    }

    /// Bytes in all of them; at least so many where there are [`more`](Self::more).
    pub fn bytes(&self) -> u64 {
        self.iter().map(|(start, end)| end - start).sum()
    }
}

/// "3 pages (2, 7-8)", "120 bytes in 2 ranges (0-99, 4096-4115)".
impl Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_least = if self.more { "at least " } else { "" };
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let (bytes, count) = (self.bytes(), self.apart.len() as u64);
        match bytes.checked_div(self.page) {
            Some(pages) => write!(f, "{at_least}{pages} page{} (", plural(pages))?,
            None => write!(f, "{at_least}{bytes} byte{} in {count} range{} (", plural(bytes), plural(count))?,
        }
        for (n, (start, end)) in self.iter().take(SHOWN_MAX).enumerate() {
            let (first, last) = match self.page {
                0 => (start, end.max(start + 1) - 1),
                page => (start / page + 1, end / page),
            };
            let comma = if n > 0 { ", " } else { "" };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        f.write_str(if self.apart.len() > SHOWN_MAX || self.more { ", …)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut ranges = Ranges::default();
        parts.iter().for_each(|&(start, len)| ranges.add(start, len));
        ranges.iter().collect()
    }

    #[test]
    fn neighbours_and_overlaps_become_one() {
        assert_eq!(of(&[(0, 10), (10, 10), (30, 5)]), [(0, 20), (30, 35)]);
        assert_eq!(of(&[(30, 5), (0, 10), (5, 30)]), [(0, 35)]);
        assert_eq!(of(&[(0, 4), (8, 4), (4, 4)]), [(0, 12)]);
        assert_eq!(of(&[(8, 4), (0, 20)]), [(0, 20)]);
        assert_eq!(of(&[(0, 20), (4, 4)]), [(0, 20)]);
    }

    #[test]
    fn any_order_gives_the_bytes_that_were_touched() {
        let mut random = 1u64;
        for _ in 0..200 {
            let (mut ranges, mut bytes) = (Ranges::default(), [false; 256]);
            for _ in 0..30 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (start, len) = ((random >> 40) % 240, 1 + (random >> 33) % 16);
                ranges.add(start, len);
                (start..start + len).for_each(|at| bytes[at as usize] = true);
            }
            let mut listed = [false; 256];
            ranges.iter().for_each(|(start, end)| (start..end).for_each(|at| listed[at as usize] = true));
            assert_eq!(listed, bytes);
            assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.1 < b.0));
        }
    }

    #[test]
    fn beyond_the_bound_it_says_that_there_are_more() {
        let mut ranges = Ranges::default();
        (0..RANGES_MAX as u64 + 1).for_each(|n| ranges.add(n * 10, 5));
        assert!(ranges.more);
        assert!(ranges.to_string().starts_with("at least 20480 bytes in 4096 ranges (0-4, 10-14"));
    }

    #[test]
    fn pages_are_counted_from_one() {
        let mut ranges = Ranges { page: 4096, ..Ranges::default() };
        [1u64, 6, 7].iter().for_each(|page| ranges.add(page * 4096, 4096));
        assert_eq!(ranges.to_string(), "3 pages (2, 7-8)");
    }
}
