//! A file: what reads see, what the disk has, and what was written since they were the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::content::{Content, PAGE};
use super::fate::{Arrived, Fate};
use super::granted::Granted;
use super::rng::Rng;
use crate::vfs::{FileTimes, Rights};

/// What one write, or a cut, made of a sector.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// The moment of the call that did.
    pub(super) call: u64,
    pub(super) bytes: Arc<[u8]>,
    /// The bytes of the sector that were written; none by a cut.
    pub(super) written: Range<usize>,
}

/// A length, and the moment of the call that gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) call: u64,
    pub(super) len: u64,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    sector: usize,
    /// What reads see.
    cached: Content,
    /// What the disk has of the sectors that are not dirty, and had of those that are.
    durable: Content,
    /// What each sector was before it was synced last.
    before: Content,
    /// Sectors written since the last sync, and all that they were since.
    dirty: BTreeMap<u64, Vec<Version>>,
    /// Sectors that a failed sync did not write and took for written: reads see what the disk has not.
    lost: BTreeSet<u64>,
    /// The durable length, and those it had since.
    lengths: Vec<Length>,
    reserved: Vec<Range<u64>>,
    rights: Granted,
    times: FileTimes,
    durable_times: FileTimes,
    /// How many have it open.
    pub(super) opened: usize,
}

impl File {
    pub(super) fn new(sector: usize, rights: Rights) -> Self {
        Self {
            sector,
            cached: Content::default(),
            durable: Content::default(),
            before: Content::default(),
            dirty: BTreeMap::new(),
            lost: BTreeSet::new(),
            lengths: vec![Length { call: 0, len: 0 }],
            reserved: Vec::new(),
            rights: Granted::new(rights),
            times: FileTimes::default(),
            durable_times: FileTimes::default(),
            opened: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.lengths.last().map_or(0, |length| length.len)
    }

    fn durable_len(&self) -> u64 {
        self.lengths.first().map_or(0, |length| length.len)
    }

    pub(super) fn sector(&self) -> usize {
        self.sector
    }

    pub(super) fn lengths(&self) -> &[Length] {
        &self.lengths
    }

    pub(super) fn dirty(&self) -> &BTreeMap<u64, Vec<Version>> {
        &self.dirty
    }

    pub(super) fn lost(&self) -> &BTreeSet<u64> {
        &self.lost
    }

    pub(super) fn rights(&self) -> &Rights {
        self.rights.now()
    }

    /// Bytes that the disk keeps for it.
    pub(super) fn stored(&self) -> u64 {
        let holes = |range: &Range<u64>| {
            let stored: u64 = self.cached.runs(range.clone()).map(|run| run.end - run.start).sum();
            range.end - range.start - stored
        };
        self.cached.stored() + self.reserved.iter().map(holes).sum::<u64>()
    }

    pub(super) fn next_stored(&self, offset: u64) -> Option<u64> {
        self.cached.next_stored(offset)
    }

    /// Everything of it is on the disk.
    pub(super) fn is_synced(&self) -> bool {
        self.dirty.is_empty() && self.lengths.len() == 1 && !self.rights.wait()
    }

    pub(super) fn times(&self) -> FileTimes {
        self.times
    }

    /// Its content is changed now.
    pub(super) fn touch(&mut self, now_ns: u64) {
        self.times = FileTimes { modified_ns: now_ns, changed_ns: now_ns };
    }

    /// Something else about it is changed now: its name, its rights.
    pub(super) fn touch_node(&mut self, now_ns: u64) {
        self.times.changed_ns = now_ns;
    }

    pub(super) fn rights_wait(&self) -> bool {
        self.rights.wait()
    }

    /// Reads what there is at `offset`, and says how much.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let part = out.len().min(left);
        self.cached.read(offset, &mut out[..part]);
        part
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], call: u64) {
        if bytes.is_empty() {
            return;
        }
        self.clear(offset, call);
        self.cached.write(offset, bytes);
        let (size, end) = (self.sector as u64, offset + bytes.len() as u64);
        for sector in offset / size..end.div_ceil(size) {
            let start = sector * size;
            let written = offset.saturating_sub(start)..size.min(end - start);
            self.push(sector, written.start as usize..written.end as usize, call);
        }
        let page = PAGE as u64;
        for boundary in (offset / page + 1..end.div_ceil(page)).map(|next| next * page).chain([end]) {
            self.push_length(boundary.max(self.len()), call);
        }
    }

    pub(super) fn set_len(&mut self, len: u64, call: u64) {
        if len > self.len() {
            self.clear(len, call);
            return self.push_length(len, call);
        }
        self.cached.cut(len);
        self.reserved.iter_mut().for_each(|range| range.end = range.end.min(len));
        self.reserved.retain(|range| !range.is_empty());
        // A file system clears the rest of the last block before it writes the new length.
        let last = len / self.sector as u64;
        if !len.is_multiple_of(self.sector as u64) {
            self.push_if_changed(last, call);
        }
        self.lost.split_off(&len.div_ceil(self.sector as u64));
        self.push_length(len, call);
    }

    /// Sees to zeros from the end of the file up to `to`. Where the disk has something else, from before the file was cut, they are
    /// waiting to be written.
    fn clear(&mut self, to: u64, call: u64) {
        if to <= self.len() {
            return;
        }
        let size = self.sector as u64;
        let sectors = self.len() / size..to.div_ceil(size);
        let mut other: BTreeSet<u64> = self.dirty.range(sectors.clone()).map(|(sector, _)| *sector).collect();
        for run in self.durable.runs(sectors.start * size..to) {
            other.extend(run.start / size..run.end.div_ceil(size));
        }
        for sector in other {
            self.push_if_changed(sector, call);
        }
    }

    fn push_length(&mut self, len: u64, call: u64) {
        if len != self.len() {
            self.lengths.push(Length { call, len });
        }
    }

    fn push(&mut self, sector: u64, written: Range<usize>, call: u64) {
        let bytes = self.sector_of(&self.cached, sector).into();
        self.lost.remove(&sector);
        self.dirty.entry(sector).or_default().push(Version { call, bytes, written });
    }

    fn push_if_changed(&mut self, sector: u64, call: u64) {
        let now = self.sector_of(&self.cached, sector);
        let same = match self.dirty.get(&sector).and_then(|versions| versions.last()) {
            Some(version) => *version.bytes == *now,
            None => self.sector_of(&self.durable, sector) == now,
        };
        if !same {
            self.push(sector, 0..0, call);
        }
    }

    fn sector_of(&self, content: &Content, sector: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.sector];
        content.read(sector * self.sector as u64, &mut bytes);
        bytes
    }

    pub(super) fn reserve(&mut self, range: Range<u64>) {
        let mut whole = range;
        self.reserved.retain(|other| {
            let apart = other.end < whole.start || whole.end < other.start;
            if !apart {
                whole = whole.start.min(other.start)..whole.end.max(other.end);
            }
            apart
        });
        self.reserved.extend((!whole.is_empty()).then_some(whole));
    }

    /// The disk keeps room for these bytes already.
    pub(super) fn has_room(&self, range: Range<u64>) -> bool {
        let size = PAGE as u64;
        (range.start / size..range.end.div_ceil(size)).all(|page| {
            let part = range.start.max(page * size)..range.end.min((page + 1) * size);
            let reserved = |whole: &Range<u64>| whole.start <= part.start && part.end <= whole.end;
            self.cached.runs(part.clone()).next().is_some() || self.reserved.iter().any(reserved)
        })
    }

    pub(super) fn set_rights(&mut self, rights: Rights) {
        self.rights.set(rights);
    }

    /// Bytes and length are on the disk then, and with `rights` those too.
    pub(super) fn sync(&mut self, rights: bool) {
        for &sector in self.dirty.keys() {
            self.before.write(sector * self.sector as u64, &self.sector_of(&self.durable, sector));
        }
        let mut durable = self.cached.clone();
        for &sector in &self.lost {
            durable.write(sector * self.sector as u64, &self.sector_of(&self.durable, sector));
        }
        durable.cut(self.len());
        self.durable = durable;
        self.dirty.clear();
        self.lengths = vec![Length { call: 0, len: self.len() }];
        if rights {
            self.rights.sync();
            self.durable_times = self.times;
        }
    }

    /// A sync that fails: each sector arrived or did not, and all are taken for written. The length still waits.
    pub(super) fn fail_sync(&mut self, fate: &mut dyn Fate) {
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            let old = self.sector_of(&self.durable, sector);
            let new = self.arrived(sector, &old, &versions, fate);
            self.before.write(sector * self.sector as u64, &old);
            if *new != *self.sector_of(&self.cached, sector) {
                self.lost.insert(sector);
            }
            self.durable.write(sector * self.sector as u64, &new);
        }
    }

    /// Reads see what the disk has, where that was taken for written.
    pub(super) fn drop_clean(&mut self) {
        for sector in std::mem::take(&mut self.lost) {
            self.cached.write(sector * self.sector as u64, &self.sector_of(&self.durable, sector));
        }
        self.cached.cut(self.len());
    }

    /// The file when the power is back.
    pub(super) fn settle(&self, fate: &mut dyn Fate) -> Self {
        let times = if self.times == self.durable_times || fate.times() { self.times } else { self.durable_times };
        if self.is_synced() && self.lost.is_empty() {
            return Self { opened: 0, reserved: Vec::new(), times, durable_times: times, ..self.clone() };
        }
        let (mut durable, mut old) = (self.durable.clone(), vec![0; self.sector]);
        for (&sector, versions) in &self.dirty {
            let start = sector * self.sector as u64;
            self.durable.read(start, &mut old);
            let new = self.arrived(sector, &old, versions, fate);
            if *new != *old {
                durable.write(start, &new);
            }
        }
        let len = if self.lengths.len() > 1 { fate.length(&self.lengths) } else { self.len() };
        durable.cut(len);
        let rights = self.rights.settle(fate);
        Self {
            cached: durable.clone(),
            durable,
            before: self.before.clone(),
            lengths: vec![Length { call: 0, len }],
            times,
            durable_times: times,
            ..Self::new(self.sector, rights)
        }
    }

    fn arrived<'a>(&self, sector: u64, old: &'a [u8], versions: &'a [Version], fate: &mut dyn Fate) -> Cow<'a, [u8]> {
        let version = |index: usize| index.checked_sub(1).map_or(old, |index| &versions[index].bytes[..]);
        match fate.sector(old, versions) {
            Arrived::Whole(index) => version(index).into(),
            Arrived::Torn { front, back, at } => [&version(front)[..at], &version(back)[at..]].concat().into(),
            Arrived::Garbage(seed) => self.garbage(sector, old, versions, Rng::new(seed)).into(),
        }
    }

    /// Anything in the bytes that were being changed; the others keep their value. Behind the durable end every byte that was
    /// written is one of them, also a zero: the disk had no such byte.
    fn garbage(&self, sector: u64, old: &[u8], versions: &[Version], mut rng: Rng) -> Vec<u8> {
        let known =
            usize::try_from(self.durable_len().saturating_sub(sector * self.sector as u64)).unwrap_or(usize::MAX);
        let mut noise = vec![0; self.sector];
        rng.fill(&mut noise);
        let mut bytes = old.to_vec();
        for version in versions {
            for at in version.written.clone() {
                if at >= known || version.bytes[at] != old[at] {
                    bytes[at] = noise[at];
                }
            }
        }
        bytes
    }
}

/// What a test does to a file past the file system.
impl File {
    /// All of it, as reads see it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len()).unwrap_or(usize::MAX)];
        self.cached.read(0, &mut bytes);
        bytes
    }

    /// Replaces all of it, on the disk too.
    pub(super) fn put(&mut self, bytes: &[u8], now_ns: u64) {
        let mut content = Content::default();
        content.write(0, bytes);
        self.before = std::mem::replace(&mut self.durable, content.clone());
        self.cached = content;
        self.dirty.clear();
        self.lost.clear();
        self.lengths = vec![Length { call: 0, len: bytes.len() as u64 }];
        self.touch(now_ns);
        self.durable_times = self.times;
    }

    /// Changes a sector on the disk; reads see it unless newer bytes wait there. `false`: the disk has no such sector.
    pub(super) fn damage(&mut self, sector: u64, change: impl FnOnce(&mut [u8])) -> bool {
        let Some(mut bytes) = self.durable_sector(sector) else { return false };
        change(&mut bytes);
        let start = sector * self.sector as u64;
        self.durable.write(start, &bytes);
        if !self.dirty.contains_key(&sector) {
            self.cached.write(start, &bytes);
            self.cached.cut(self.len());
            self.lost.remove(&sector);
        }
        true
    }

    /// What the disk has of a sector, up to the end of the file there.
    pub(super) fn durable_sector(&self, sector: u64) -> Option<Vec<u8>> {
        let start = sector.checked_mul(self.sector as u64)?;
        let left = self.durable_len().checked_sub(start).filter(|left| *left > 0)?;
        let mut bytes = self.sector_of(&self.durable, sector);
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        Some(bytes)
    }

    /// What a sector was before it was synced last.
    pub(super) fn sector_before(&self, sector: u64) -> Vec<u8> {
        self.sector_of(&self.before, sector)
    }
}
