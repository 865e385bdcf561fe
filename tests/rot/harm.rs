//! What a disk that lies does to a log.

use std::ops::Range;

use waltool::vfs::Sim;

use super::support::Noise;
use super::written::{BLOCK, Files, HEADER, PAGE, RECORDS_START, SECTOR, Written, files, path_of};

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// One bit is another.
    Bit,
    /// Several bytes are anything.
    Bytes,
    /// A sector is zeros, or anything.
    Sector,
    /// A sector, page or block is what it was before it was written last.
    Lost,
    /// A sector, page or block was written to another place of its segment, and perhaps not to its own.
    Misplaced,
    /// A sector, page or block was written to the same place of another segment.
    Astray,
    /// A page of 4 KiB is zeros, or anything.
    Page,
    /// A block of 32 KiB is zeros, or anything.
    Block,
    /// The header's page or that of its twin is zeros, or anything, or has another bit.
    Header,
    /// A run of zeros of any length, anywhere.
    Zeros,
    /// Two of the above.
    Two,
    /// A segment is an older state of itself.
    Older,
    /// A segment has lost its end.
    Short,
    /// Two segments have each other's names.
    Exchanged,
    /// A segment is not there.
    Removed,
    /// A segment is there a second time, under another's name or a name of its own.
    Doubled,
}

impl Harm {
    const SMALL: [Self; 10] = [
        Self::Bit,
        Self::Bytes,
        Self::Sector,
        Self::Lost,
        Self::Misplaced,
        Self::Astray,
        Self::Page,
        Self::Block,
        Self::Header,
        Self::Zeros,
    ];
    const LARGE: [Self; 6] = [Self::Two, Self::Older, Self::Short, Self::Exchanged, Self::Removed, Self::Doubled];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::SMALL.into_iter().chain(Self::LARGE)
    }
}

/// A log that is being damaged.
pub struct Victim<'w> {
    pub log: &'w Written,
    pub sim: Sim,
    pub noise: &'w mut Noise,
}

impl Victim<'_> {
    /// Damages the log, perhaps without an effect.
    pub fn suffer(&mut self, harm: Harm) {
        let files = files(&self.sim);
        let number = self.number(&files);
        let len = files[&number].len();
        match harm {
            Harm::Bit => {
                let at = self.place(number, len);
                let bit = self.noise.below(8);
                self.change(number, at..at + 1, |bytes, _| bytes[0] ^= 1 << bit);
            }
            Harm::Bytes => {
                let at = self.place(number, len);
                let count = 2 + self.noise.below(40);
                self.change(number, at..at + count, anything);
            }
            Harm::Sector => self.overwrite(number, len, SECTOR),
            Harm::Page => self.overwrite(number, len, PAGE),
            Harm::Block => self.overwrite(number, len, BLOCK),
            Harm::Header => {
                let at = [0, PAGE][self.noise.below(2)];
                match self.noise.below(3) {
                    0 => self.change(number, at..at + PAGE, zeros),
                    1 => self.change(number, at..at + PAGE, anything),
                    _ => {
                        self.change(number, at..at + 128, |bytes, noise| bytes[noise.below(128)] ^= 1 << noise.below(8))
                    }
                }
            }
            Harm::Zeros => {
                let at = self.place(number, len);
                let count = 1 + self.noise.below(2 * BLOCK);
                self.change(number, at..at + count, zeros);
            }
            Harm::Lost => {
                let size = self.size();
                let at = self.place(number, len) / size * size;
                self.lose(number, at..at + size);
            }
            Harm::Misplaced => self.misplace(number, &files),
            Harm::Astray => self.go_astray(number, &files),
            Harm::Two => {
                for _ in 0..2 {
                    let harm = Harm::SMALL[self.noise.below(Harm::SMALL.len())];
                    self.suffer(harm);
                }
            }
            Harm::Older => {
                let past = &self.log.segments[&number].past;
                if let Some(index) = past.len().checked_sub(1) {
                    let older = past[self.noise.below(index + 1)].clone();
                    self.put(number, &older);
                }
            }
            Harm::Short => {
                let len = self.place(number, len);
                self.put(number, &files[&number][..len]);
            }
            Harm::Exchanged => {
                let other = self.number(&files);
                self.put(number, &files[&other]);
                self.put(other, &files[&number]);
            }
            Harm::Removed if files.len() > 1 => {
                waltool::vfs::Vfs::remove(&self.sim, &path_of(number)).expect("a file");
            }
            Harm::Removed => {}
            Harm::Doubled => {
                let last = *files.keys().next_back().expect("a segment");
                let other = if self.noise.below(2) == 0 { last + 1 } else { self.number(&files) };
                self.put(other, &files[&number]);
            }
        }
    }

    fn number(&mut self, files: &Files) -> u32 {
        *files.keys().nth(self.noise.below(files.len())).expect("a segment")
    }

    fn size(&mut self) -> usize {
        [SECTOR, SECTOR, PAGE, BLOCK][self.noise.below(4)]
    }

    /// A place in a segment of this length: often in the header of a record, or at the edge of a block.
    fn place(&mut self, number: u32, len: usize) -> usize {
        let records = &self.log.segments[&number].records;
        let at = match self.noise.below(8) {
            0..3 if !records.is_empty() => records[self.noise.below(records.len())].at + self.noise.below(HEADER),
            3 => self.noise.below(RECORDS_START),
            4 => {
                let edge = self.noise.below(len / BLOCK + 1) * BLOCK;
                edge.saturating_sub(self.noise.below(2) * (1 + self.noise.below(HEADER)))
            }
            5 => self.noise.below(len),
            _ => self.noise.below(records.last().map_or(len, |record| record.end())),
        };
        at.min(len - 1)
    }

    fn put(&self, number: u32, bytes: &[u8]) {
        self.sim.put(&path_of(number), bytes).expect("a file");
    }

    /// Changes bytes of a segment, as far as it has them.
    fn change(&mut self, number: u32, range: Range<usize>, change: impl FnOnce(&mut [u8], &mut Noise)) {
        let mut bytes = self.sim.bytes(&path_of(number)).expect("a segment");
        let end = range.end.min(bytes.len());
        if range.start < end {
            change(&mut bytes[range.start..end], self.noise);
            self.put(number, &bytes);
        }
    }

    fn overwrite(&mut self, number: u32, len: usize, size: usize) {
        let at = self.place(number, len) / size * size;
        let with = if self.noise.below(2) == 0 { zeros } else { anything };
        self.change(number, at..at + size, with);
    }

    fn lose(&mut self, number: u32, range: Range<usize>) {
        for sector in range.start / SECTOR..range.end / SECTOR {
            self.sim.lose(&path_of(number), sector as u64);
        }
    }

    fn misplace(&mut self, number: u32, files: &Files) {
        let (size, bytes) = (self.size(), &files[&number]);
        let mut place = || self.place(number, bytes.len()) / size * size;
        let (from, to) = (place(), place());
        let end = bytes.len().min(from + size);
        self.change(number, to..to + end - from, |there, _| there.copy_from_slice(&bytes[from..][..there.len()]));
        if self.noise.below(2) == 0 && from != to {
            self.lose(number, from..from + size);
        }
    }

    fn go_astray(&mut self, number: u32, files: &Files) {
        let (size, bytes, to) = (self.size(), &files[&number], self.number(files));
        let at = self.place(number, bytes.len()) / size * size;
        let end = bytes.len().min(at + size);
        self.change(to, at..end, |there, _| there.copy_from_slice(&bytes[at..][..there.len()]));
    }
}

fn zeros(bytes: &mut [u8], _: &mut Noise) {
    bytes.fill(0);
}

fn anything(bytes: &mut [u8], noise: &mut Noise) {
    bytes.copy_from_slice(&noise.bytes(bytes.len()));
}
