//! Random logs, and what is known of them without reading them: which bytes the writer put where, and how far each commit that it
//! wrote could promise the bytes before it, since a sync had covered them when it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use waltool::formats::native::layout::Lsn;
use waltool::vfs::{Access, Sim, Vfs};
use waltool::wal::{Durability, Options, Result, Wal};

use super::support::{Noise, pattern, segment_name};

pub const LOG: &str = "/log";
// The format's numbers, as its document has them.
pub const BLOCK: usize = 32 * 1024;
pub const PAGE: usize = 4096;
pub const SECTOR: usize = 512;
pub const SEGMENT_HEADER: usize = 128;
pub const RECORDS_START: usize = 8192;
pub const HEADER: usize = 24;
pub const CHECKPOINT: u8 = 4;
pub const COMMIT: u8 = 5;
pub const SEAL: u8 = 6;
pub const PAD: u8 = 7;
pub const CLOSE: u8 = 4;

/// The segments of a log by the numbers in their names.
pub type Files = BTreeMap<u32, Vec<u8>>;

pub fn path_of(number: u32) -> PathBuf {
    Path::new(LOG).join(segment_name(number))
}

/// The segments that are on a disk.
pub fn files(sim: &Sim) -> Files {
    let number = |path: PathBuf| {
        let name = path.strip_prefix(LOG).ok()?.to_str()?.strip_suffix(".wal")?.to_owned();
        u32::from_str_radix(&name, 16).ok()
    };
    sim.files().into_iter().filter_map(|(path, bytes)| Some((number(path)?, bytes))).collect()
}

/// A record, where the writer put it.
#[derive(Clone, Copy)]
pub struct Record {
    pub at: usize,
    /// Bytes of its payload.
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
}

impl Record {
    pub fn end(&self) -> usize {
        self.at + HEADER + self.len.next_multiple_of(8)
    }
}

/// The records of a segment that nothing has happened to.
fn records(bytes: &[u8]) -> Vec<Record> {
    let (mut records, mut at) = (Vec::new(), RECORDS_START);
    loop {
        let rest = BLOCK - at % BLOCK;
        if rest < HEADER {
            at += rest;
            continue;
        }
        let Some(head) = bytes.get(at..at + HEADER).filter(|head| head.starts_with(&[0x9d, 0xe7])) else { break };
        let len = u16::from_le_bytes([head[4], head[5]]).into();
        let record = Record { at, len, kind: head[2], flags: head[3] };
        at = record.end();
        records.push(record);
    }
    records
}

/// A segment as it was written.
#[derive(Clone)]
pub struct Segment {
    pub bytes: Vec<u8>,
    pub records: Vec<Record>,
    /// What each commit promises, by where it stands.
    pub promises: BTreeMap<usize, usize>,
    /// Where the next segment says that this one ends.
    pub end: Option<usize>,
    /// What the file held before, at one time and another.
    pub past: Vec<Vec<u8>>,
    /// How far a sync has covered it.
    synced: usize,
    /// A checkpoint has removed it.
    removed: bool,
}

impl Segment {
    fn new() -> Self {
        let (records, promises) = (Vec::new(), BTreeMap::new());
        Self {
            bytes: Vec::new(),
            records,
            promises,
            end: None,
            past: Vec::new(),
            synced: RECORDS_START,
            removed: false,
        }
    }

    pub fn commits(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().filter(|record| record.kind == COMMIT)
    }

    pub fn seal(&self) -> Option<&Record> {
        self.records.last().filter(|record| record.kind == SEAL)
    }

    /// Where the last commit ends.
    fn last_end(&self) -> usize {
        self.commits().next_back().map_or(RECORDS_START, Record::end)
    }

    /// These bytes of the segment are in `bytes` as they were written.
    pub fn stands(&self, from: usize, to: usize, bytes: &[u8]) -> bool {
        bytes.get(from..to).is_some_and(|bytes| bytes == &self.bytes[from..to])
    }

    /// It has a SEAL, and that is in `bytes`.
    pub fn seal_stands(&self, bytes: &[u8]) -> bool {
        self.seal().is_some_and(|seal| self.stands(seal.at, seal.end(), bytes))
    }

    /// One of the copies of its header is in `bytes`.
    pub fn header_stands(&self, bytes: &[u8]) -> bool {
        [0, PAGE].iter().any(|&at| self.stands(at, at + SEGMENT_HEADER, bytes))
    }

    /// Where the last commit ends before which `bytes` is as it was written.
    pub fn whole(&self, bytes: &[u8]) -> usize {
        let ends = self.commits().map(Record::end);
        ends.take_while(|&end| self.stands(RECORDS_START, end, bytes)).last().unwrap_or(RECORDS_START)
    }

    /// The file has become `bytes` by one call.
    fn grow(&mut self, bytes: Vec<u8>) {
        if bytes == self.bytes {
            return;
        }
        let old = std::mem::replace(&mut self.bytes, bytes);
        if !old.is_empty() {
            self.past.push(old);
        }
        self.records = records(&self.bytes);
        let mut end = RECORDS_START;
        for record in &self.records {
            if record.kind == COMMIT {
                // All that stands before a close mark was synced, but for what fills the block before it.
                let promise = if record.flags & CLOSE != 0 { end } else { self.synced };
                self.promises.entry(record.at).or_insert(promise);
            }
            end = if record.kind == PAD { end } else { record.end() };
        }
    }
}

/// A log on a disk, with all that is known of it.
pub struct Written {
    pub sim: Sim,
    pub segments: BTreeMap<u32, Segment>,
}

/// Writes a log by this seed: some openings, in each some transactions, and then whatever ends it.
pub fn written(seed: u64) -> Written {
    let mut author = Author::new(seed);
    let sessions = 1 + author.noise.below(3);
    for _ in 0..sessions {
        author.session();
    }
    if author.noise.below(3) > 0 {
        author.arrive();
    }
    author.find_again();
    Written { sim: author.sim, segments: author.segments }
}

struct Author {
    noise: Noise,
    sim: Sim,
    options: Options,
    segments: BTreeMap<u32, Segment>,
    /// The last segment of earlier openings, to which nothing is written any more, and where what is whole in it ends.
    past: (u32, usize),
    /// Commits of this opening.
    lsns: Vec<Lsn>,
}

impl Author {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds make logs that have nothing in common.
        let mut noise = Noise((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        noise.next();
        let limit = [9000, 16_000, 30_000, 70_000, 1 << 20][noise.below(5)];
        let options = Options::new().segment_bytes(limit).zero_fill(noise.below(4) == 0);
        Self { sim: Sim::new(noise.next()), options, segments: BTreeMap::new(), past: (0, 0), lsns: Vec::new(), noise }
    }

    /// From an opening to what ends it.
    fn session(&mut self) {
        let wal = self.open();
        if self.noise.below(5) == 0 {
            self.sim.cut_before(self.sim.changes() + 1 + self.noise.below(30) as u64);
        }
        for _ in 0..1 + self.noise.below(10) {
            let done = self.act(&wal);
            self.note();
            match done {
                Ok(synced) => self.returned(synced),
                Err(error) => {
                    assert!(self.sim.is_off(), "{error}");
                    break;
                }
            }
        }
        match self.noise.below(4) {
            _ if self.sim.is_off() => drop(wal),
            0 | 1 => wal.close().unwrap_or_else(|error| assert!(self.sim.is_off(), "{error}")),
            2 => drop(wal),
            _ => {
                self.sim = self.sim.crash(self.noise.next());
                return;
            }
        }
        self.note();
        let off = self.sim.is_off();
        self.sim = if off { self.sim.crash(self.noise.next()) } else { self.sim.kill() };
    }

    /// Opens the log. What it then begins with is what the disk has as it was written, up to the first thing that it has not.
    fn open(&mut self) -> Wal {
        let there = self.find_again();
        let wal = self.options.clone().disk(self.sim.disk()).open(LOG).expect("what a crash leaves can be opened");
        let number = there.keys().next_back().copied().unwrap_or(0);
        self.past = (number, 0);
        self.lsns.clear();
        if let Some(last) = self.segments.get_mut(&number) {
            let whole = last.whole(&there[&number]);
            assert!(whole >= last.synced, "{whole} of {} is left", last.synced);
            assert_eq!(wal.recovery().end, Lsn::new(number, whole as u32));
            (last.end, self.past) = (None, (number, whole));
        }
        wal
    }

    /// What a crash has left: without segments whose creation or with those whose removal it has undone. One that was removed had its end
    /// written by the same call, and synced.
    fn find_again(&mut self) -> Files {
        let there = files(&self.sim);
        self.segments.retain(|number, _| there.contains_key(number));
        for (number, segment) in self.segments.iter_mut().filter(|(_, segment)| segment.removed) {
            segment.grow(there[number].clone());
        }
        there
    }

    /// One call. Whether everything is on the disk when it has returned.
    fn act(&mut self, wal: &Wal) -> Result<bool> {
        let lsns = self.lsns.len();
        match self.noise.below(24) {
            0 => wal.sync().map(|()| true),
            1 if lsns > 0 => wal.checkpoint(self.lsns[self.noise.below(lsns)], 4711).map(|()| true),
            _ => self.transaction(wal),
        }
    }

    fn transaction(&mut self, wal: &Wal) -> Result<bool> {
        let mut transaction = wal.begin();
        for _ in 0..self.noise.below(4) {
            let len = match self.noise.below(10) {
                0..6 => self.noise.below(200),
                6..9 => 200 + self.noise.below(2000),
                _ => 2000 + self.noise.below(30_000),
            };
            let bytes = self.payload(len);
            match self.noise.below(8) {
                0..4 => transaction.write(self.noise.next(), &bytes),
                4..7 => transaction.data(&bytes),
                _ => transaction.set_len(self.noise.next()),
            };
        }
        let durability = match self.noise.below(10) {
            0..6 => Durability::Durable,
            6..8 => Durability::Written,
            _ => Durability::Buffered,
        };
        let lsn = transaction.commit_with(durability)?;
        self.lsns.push(lsn);
        Ok(durability == Durability::Durable)
    }

    /// Bytes for a payload: noise, a pattern, zeros, or the log's own records.
    fn payload(&mut self, len: usize) -> Vec<u8> {
        let own = self.segments.values().next_back().and_then(|segment| segment.bytes.get(RECORDS_START..));
        match self.noise.below(5) {
            0 | 1 => self.noise.bytes(len),
            2 => pattern(len, len),
            3 => vec![0; len],
            _ => own.unwrap_or_default().iter().copied().cycle().take(len).collect(),
        }
    }

    /// Takes note of what a call wrote.
    fn note(&mut self) {
        let (past, whole) = self.past;
        let mut there = files(&self.sim);
        for (number, segment) in &mut self.segments {
            segment.removed = !there.contains_key(number);
        }
        for (number, bytes) in there.split_off(&(past + 1)) {
            self.segments.entry(number).or_insert_with(Segment::new).grow(bytes);
            if let Some(before) = self.segments.get_mut(&(number - 1)) {
                before.end = Some(if number - 1 == past { whole } else { before.last_end() });
            }
        }
    }

    /// A call has returned: the segments that it left are sealed, and perhaps all that was written is on the disk.
    fn returned(&mut self, synced: bool) {
        let mut own: Vec<_> = self.segments.range_mut(self.past.0 + 1..).filter(|(_, own)| !own.removed).collect();
        let Some((_, last)) = own.pop() else { return };
        if synced {
            last.synced = last.last_end();
        }
        for (number, left) in own {
            assert!(left.seal().is_some(), "segment {number} is not sealed");
        }
    }

    /// In time the system writes everything to the disk, and nobody hears of it.
    fn arrive(&mut self) {
        for number in files(&self.sim).into_keys() {
            let file = self.sim.open(&path_of(number), Access::Change).expect("a segment");
            file.sync_all().expect("a sync");
        }
    }
}

/// A transaction, where it was written.
pub struct Transaction<'w> {
    pub segment: u32,
    pub number: u64,
    /// Its records and what stands between them, the commit last.
    pub records: &'w [Record],
    /// It stands behind where the next segment says that this one ends.
    pub residue: bool,
}

impl Written {
    /// All transactions that were ever written, in their order.
    pub fn transactions(&self) -> Vec<Transaction<'_>> {
        let mut found = Vec::new();
        for (&segment, written) in &self.segments {
            let commits: BTreeSet<usize> = written.commits().map(|commit| commit.at).collect();
            for run in written.records.split_inclusive(|record| commits.contains(&record.at)) {
                let commit = run.last().expect("a run has a record");
                if commit.kind != COMMIT || commit.flags & CLOSE != 0 {
                    continue;
                }
                // A fill before the first record is no part of the transaction.
                let first = run.iter().take_while(|record| record.kind == PAD).count();
                let number = written.bytes[commit.at + HEADER..][..8].try_into().expect("eight bytes");
                let residue = written.end.is_some_and(|end| commit.end() > end);
                let number = u64::from_le_bytes(number);
                found.push(Transaction { segment, number, records: &run[first..], residue });
            }
        }
        found
    }
}
