//! A bench of verbs: write a native log in memory, harm it, read it. And the fixtures of all formats.
#![allow(dead_code, reason = "each test uses some of the verbs")]

pub mod fixtures;

use std::ops::Range;

use waltool::decode::Meta;
use waltool::format::Format;
use waltool::formats::native::Native;
use waltool::formats::native::layout::{Lsn, RECORDS_START, SegmentHeader, VERSION};
use waltool::formats::native::writer::SegmentWriter;
use waltool::span::{Kind, Span};
use waltool::{Log, Report, Scan};

/// Files of a log, by name, in their order.
pub type Segments = Vec<(String, Vec<u8>)>;

/// 2026-01-01 00:00:00 UTC.
pub const NEW_YEAR: u64 = 1_767_225_600_000_000_000;
/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// `len` bytes without a zero among them, the same every time.
pub fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 7 + at / 251 + seed) % 251) as u8 + 1).collect()
}

/// Writes a native log in memory, segment by segment, with fixed nonces and times.
pub struct Bench {
    done: Segments,
    writer: SegmentWriter<Vec<u8>>,
    commits: u64,
}

impl Bench {
    /// A log whose header alone is written and synced.
    pub fn new() -> Self {
        Self::of(b"waltool fixture.")
    }

    /// The same with this log id.
    pub fn of(log_id: &[u8; 16]) -> Self {
        Self::beginning(&SegmentHeader {
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            number: 1,
            log_id: *log_id,
            nonce: 0x5eed_0001,
            prev_nonce: 0,
            prev_end: 0,
            first_transaction: 1,
            redo_lsn: Lsn::new(1, RECORDS_START as u32),
            created_ns: NEW_YEAR,
            target_id: *b"fixture's target",
        })
    }

    /// A log that begins with this header.
    pub fn beginning(header: &SegmentHeader) -> Self {
        let mut bench =
            Self { done: Vec::new(), writer: SegmentWriter::create(Vec::new(), header).unwrap(), commits: 0 };
        bench.writer.promise(RECORDS_START as u32).unwrap();
        bench
    }

    /// A log that never promises anything, as a writer leaves it that never syncs.
    pub fn without_promise() -> Self {
        let mut bench = Self::new();
        bench.writer = SegmentWriter::create(Vec::new(), &bench.writer.header().clone()).unwrap();
        bench
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> u64 {
        self.writer.write(offset, bytes).unwrap();
        self.end()
    }

    pub fn set_len(&mut self, len: u64) -> u64 {
        self.writer.set_len(len).unwrap();
        self.end()
    }

    pub fn data(&mut self, bytes: &[u8]) -> u64 {
        self.writer.data(bytes).unwrap();
        self.end()
    }

    pub fn checkpoint(&mut self, redo_lsn: Lsn, target_len: u64) -> u64 {
        self.writer.checkpoint(redo_lsn, target_len).unwrap();
        self.end()
    }

    /// One second after the commit before.
    pub fn commit(&mut self) -> u64 {
        self.commits += 1;
        self.writer.commit(NEW_YEAR + self.commits * SECOND).unwrap();
        self.end()
    }

    /// A sync: the commits from now on promise all that was written.
    pub fn promise(&mut self) -> u64 {
        let end = self.writer.end();
        self.writer.promise(end).unwrap();
        end.into()
    }

    /// A sync that reached only so far: the commits from now on promise that.
    pub fn promise_to(&mut self, end: u64) {
        self.writer.promise(end as u32).unwrap();
    }

    /// Where the segment ends.
    pub fn end(&self) -> u64 {
        self.writer.end().into()
    }

    /// Sync, new segment, SEAL.
    pub fn rotate(&mut self) {
        self.writer.promise(self.writer.end()).unwrap();
        let next = self.next_header();
        self.writer.seal(next.number, next.nonce).unwrap();
        self.begin(&next);
    }

    /// A crash, and a new segment that continues behind the last commit; no SEAL. `harm` does what the crash did.
    pub fn recover(&mut self, harm: impl FnOnce(&mut Vec<u8>)) {
        self.writer.flush().unwrap();
        self.begin(&self.next_header());
        harm(&mut self.done.last_mut().unwrap().1);
    }

    /// The same, but recovery counts the segment only up to `prev_end`, in which there are `transactions` commits.
    pub fn recover_at(&mut self, prev_end: u64, first_transaction: u64, harm: impl FnOnce(&mut Vec<u8>)) {
        self.writer.flush().unwrap();
        self.begin(&SegmentHeader { prev_end: prev_end as u32, first_transaction, ..self.next_header() });
        harm(&mut self.done.last_mut().unwrap().1);
    }

    /// Sync, close mark.
    pub fn close(&mut self) -> u64 {
        self.commits += 1;
        self.writer.close_mark(NEW_YEAR + self.commits * SECOND).unwrap();
        self.end()
    }

    /// The header of the segment that is written.
    pub fn header(&self) -> &SegmentHeader {
        self.writer.header()
    }

    /// All files as they are.
    pub fn disk(mut self) -> Disk {
        self.writer.flush().unwrap();
        self.keep();
        Disk(self.done)
    }

    fn next_header(&self) -> SegmentHeader {
        let header = self.writer.header();
        self.writer.next_header(header.nonce + 1, header.redo_lsn, NEW_YEAR + self.commits * SECOND)
    }

    fn begin(&mut self, next: &SegmentHeader) {
        self.keep();
        self.writer = SegmentWriter::create(Vec::new(), next).unwrap();
        self.writer.promise(RECORDS_START as u32).unwrap();
    }

    fn keep(&mut self) {
        self.done.push((segment_name(self.writer.header().number), self.writer.get_ref().clone()));
    }
}

/// The file name of a native segment.
pub fn segment_name(number: u32) -> String {
    format!("{number:08x}.wal")
}

/// A log as it stands on a disk, open to harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk(pub Segments);

impl Disk {
    /// A file, by its index.
    pub fn file(&mut self, segment: usize) -> &mut Vec<u8> {
        &mut self.0[segment].1
    }

    pub fn flip(mut self, segment: usize, offset: u64, bit: u8) -> Self {
        self.file(segment)[offset as usize] ^= 1 << bit;
        self
    }

    pub fn cut(mut self, segment: usize, len: u64) -> Self {
        self.file(segment).truncate(len as usize);
        self
    }

    pub fn zero(mut self, segment: usize, range: Range<u64>) -> Self {
        self.file(segment)[range.start as usize..range.end as usize].fill(0);
        self
    }

    /// Zeros behind the last byte, up to `len`.
    pub fn preallocate(mut self, segment: usize, len: u64) -> Self {
        self.file(segment).resize(len as usize, 0);
        self
    }

    /// Takes a file away.
    pub fn lose(mut self, segment: usize) -> Self {
        self.0.remove(segment);
        self
    }

    /// Lets two files exchange their names.
    pub fn swap(mut self, a: usize, b: usize) -> Self {
        let (x, y) = (std::mem::take(self.file(a)), std::mem::take(self.file(b)));
        (*self.file(a), *self.file(b)) = (y, x);
        self
    }

    /// The log, as found in a directory.
    pub fn log(&self) -> Log {
        Log::memory(&Native, self.0.iter().cloned())
    }

    pub fn report(&self) -> Report {
        Report::of(&self.log(), |_| {}).unwrap()
    }

    pub fn scan(&self) -> Read {
        Read::of(&self.log(), 4096)
    }
}

/// A record that a scan gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub segment: u32,
    pub kind: &'static str,
    pub meta: Meta,
    pub head: Vec<u8>,
    pub payload: Vec<u8>,
    /// Damage stands before it.
    pub beyond: bool,
}

/// Everything that a scan gave.
#[derive(Debug, PartialEq)]
pub struct Read {
    pub spans: Vec<Span>,
    pub records: Vec<Owned>,
}

impl Read {
    pub fn of(log: &Log, window: usize) -> Self {
        let mut read = Self { spans: Vec::new(), records: Vec::new() };
        let mut scan = Scan::new(log).window(window);
        let mut beyond = false;
        while let Some(found) = scan.next().unwrap() {
            beyond |= is_fault(&found.span);
            read.spans.push(found.span);
            read.records.extend(found.record.map(|record| Owned {
                segment: found.span.segment,
                kind: log.format().kind(&record),
                meta: record.meta,
                head: record.head.to_vec(),
                payload: record.payload.to_vec(),
                beyond,
            }));
        }
        read
    }

    pub fn payloads(&self) -> Vec<(&'static str, &[u8])> {
        self.records.iter().map(|record| (record.kind, &record.payload[..])).collect()
    }

    pub fn has(&self, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.spans.iter().any(|span| wanted(&span.kind))
    }
}

/// Damage, tear or gap.
pub fn is_fault(span: &Span) -> bool {
    match span.kind {
        Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_) => true,
        Kind::Header | Kind::Record(_) | Kind::Padding | Kind::Stale | Kind::Unwritten => false,
    }
}

/// Law 1: the spans of each segment run from 0 to its end, without gap or overlap.
pub fn assert_partition(spans: &[Span], lens: &[u64], about: &str) {
    let mut ends = vec![0; lens.len()];
    let mut segment = 0;
    for span in spans {
        assert!(span.segment >= segment, "{about}: back to segment {} in {spans:?}", span.segment);
        segment = span.segment;
        let end = &mut ends[segment as usize];
        assert_eq!(span.offset, *end, "{about}: {spans:?}");
        *end = span.end();
    }
    assert_eq!(ends, lens, "{about}: {spans:?}");
}

/// A format's log in memory, from files of any bytes.
pub fn log_of(format: &'static dyn Format, segments: &Segments) -> Log {
    Log::memory(format, segments.iter().cloned())
}

/// Numbers without pattern, the same in every run.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
