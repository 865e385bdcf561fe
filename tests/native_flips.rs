//! Every cut and every flipped bit of every clean native fixture: none goes unseen, and each gets the verdict that the promises
//! of the log allow.

#[macro_use]
#[path = "support/figure.rs"]
mod figure;

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;

use support::fixtures::{self, Fixture};
use support::{Disk, Read};
use waltool::formats::native::layout::{RECORDS_START, SegmentHeader};
use waltool::span::{Fault, Kind, Span};
use waltool::{Report, Scan, Verdict};

/// A clean log, and what its own bytes say about it.
struct Clean {
    name: String,
    disk: Disk,
    spans: Vec<Span>,
    /// Per segment: the highest promise.
    promised: Vec<u64>,
    /// Per segment: where its successor says that it ends.
    limits: Vec<Option<u64>>,
}

impl Clean {
    fn of(fixture: Fixture) -> Option<Self> {
        let disk = Disk(fixture.segments.clone());
        if report(&disk).verdict() != Verdict::Clean {
            return None;
        }
        let headers: Vec<_> = disk.0.iter().map(|(_, bytes)| SegmentHeader::parse(bytes).unwrap()).collect();
        let prev_end = |header: &SegmentHeader| Some(u64::from(header.prev_end).max(RECORDS_START as u64));
        let limits: Vec<_> = headers[1..].iter().map(prev_end).chain([None]).collect();
        let read = disk.scan();
        let promised = limits.iter().zip(0..).map(|(limit, segment)| {
            let own = read.records.iter().filter(|record| record.segment == segment).map(|record| record.meta.durable);
            own.max().unwrap_or(0).max(limit.unwrap_or(RECORDS_START as u64))
        });
        Some(Self { name: fixture.name(), promised: promised.collect(), spans: read.spans, limits, disk })
    }

    fn span_at(&self, segment: usize, offset: u64) -> &Span {
        let here = |span: &&Span| span.segment as usize == segment && (span.offset..span.end()).contains(&offset);
        self.spans.iter().find(here).unwrap()
    }

    /// Behind the end that the next segment vouches for: a SEAL that a crash may tear, or residue.
    fn is_residue(&self, segment: usize, offset: u64) -> bool {
        self.limits[segment].is_some_and(|limit| offset >= limit)
    }

    fn about(&self, what: &str, segment: usize, offset: u64) -> String {
        format!("{}: {what} segment {segment} at {offset}", self.name)
    }
}

fn clean_fixtures() -> Vec<Clean> {
    let native = fixtures::all().into_iter().filter(|fixture| fixture.room == "native");
    let clean: Vec<_> = native.filter_map(Clean::of).collect();
    assert!(clean.len() >= 15, "{} clean native fixtures", clean.len());
    clean
}

/// As [`Report::of`], with a window as small as these logs.
fn report(disk: &Disk) -> Report {
    let log = disk.log();
    let mut report = Report::new(log.format());
    let mut scan = Scan::new(&log).window(16 * 1024);
    while let Some(found) = scan.next().unwrap() {
        report.add(&found);
    }
    report.finish();
    report
}

#[test]
fn every_cut_is_a_prefix_or_torn_and_corrupt_only_below_a_promise() {
    let mut counts = BTreeMap::<&str, u64>::new();
    for clean in clean_fixtures() {
        for segment in 0..clean.disk.0.len() {
            for len in 0..clean.disk.0[segment].1.len() as u64 {
                let cut = clean.disk.clone().cut(segment, len);
                let found = report(&cut);
                let (expected, what) = expected_of_cut(&clean, segment, len);
                let about = clean.about("cut of", segment, len);
                assert!(expected.contains(&found.verdict()), "{about}: {} instead of {expected:?}", found.verdict());
                *counts.entry(what).or_default() += 1;
            }
        }
    }
    let cuts: u64 = counts.values().sum();
    figure!("{cuts} cuts, 0 undetected: {counts:?}");
    assert!(cuts > 200_000 && counts.len() >= 5, "{cuts} cuts");
}

/// The verdicts that a cut may get, and why.
fn expected_of_cut(clean: &Clean, segment: usize, len: u64) -> (&'static [Verdict], &'static str) {
    let last = clean.limits[segment].is_none();
    if !last {
        return match clean.is_residue(segment, len) {
            true => (&[Verdict::Clean], "behind the end that the next segment vouches for"),
            false => (&[Verdict::Corrupt], "below the end that the next segment vouches for"),
        };
    }
    if len < RECORDS_START as u64 {
        return (&[Verdict::Corrupt], "in the headers, which were synced before the file had its name");
    }
    let span = clean.span_at(segment, len);
    match span.kind {
        Kind::Unwritten => (&[Verdict::Clean], "in space never written"),
        Kind::Padding => (&[Verdict::Clean, Verdict::TornTail], "in fill"),
        _ if span.offset == len => (&[Verdict::Clean], "between two records"),
        Kind::Record(_) => (&[Verdict::TornTail], "in a record"),
        kind => panic!("{kind:?} in the records of a clean log"),
    }
}

#[test]
fn every_flipped_bit_is_seen_and_corrupt_exactly_below_the_promise() {
    let work = Mutex::new(clean_fixtures().into_iter());
    let total = Mutex::new(Flips::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(clean) = work.lock().unwrap().next() else { return };
                    let mut flips = Flips::default();
                    flips.all_of(&clean);
                    total.lock().unwrap().join(&flips);
                }
            });
        }
    });
    let total = total.into_inner().expect("every flip is as expected");
    figure!("{total:?}, 0 undetected");
    assert!(total.flips > 1_500_000 && total.corrupt > 0 && total.torn > 0, "{total:?}");
    assert!(total.exact * 100 >= total.by_checksum * 99, "{total:?}");
}

/// What all flips came to.
#[derive(Debug, Default)]
struct Flips {
    flips: u64,
    corrupt: u64,
    torn: u64,
    /// In bytes that are no part of the log: residue, and a SEAL behind the end that the next segment vouches for.
    residue: u64,
    /// Reported with a checksum that fails.
    by_checksum: u64,
    /// Of these, the bit was named.
    exact: u64,
    /// Among zeros: fill, the rest of a header's page.
    in_zeros: u64,
    /// In space never written, where no checksum is.
    in_unwritten: u64,
}

impl Flips {
    fn join(&mut self, other: &Flips) {
        let Flips { flips, corrupt, torn, residue, by_checksum, exact, in_zeros, in_unwritten } = other;
        self.flips += flips;
        self.corrupt += corrupt;
        self.torn += torn;
        self.residue += residue;
        self.by_checksum += by_checksum;
        self.exact += exact;
        self.in_zeros += in_zeros;
        self.in_unwritten += in_unwritten;
    }

    fn all_of(&mut self, clean: &Clean) {
        let mut disk = clean.disk.clone();
        for segment in 0..disk.0.len() {
            for offset in 0..disk.0[segment].1.len() as u64 {
                for bit in 0..8 {
                    disk = disk.flip(segment, offset, bit);
                    self.one(clean, &disk, segment, offset, bit);
                    disk = disk.flip(segment, offset, bit);
                }
            }
        }
    }

    fn one(&mut self, clean: &Clean, disk: &Disk, segment: usize, offset: u64, bit: u8) {
        self.flips += 1;
        let found = report(disk);
        let about = || clean.about("flip of", segment, offset) + &format!(" bit {bit}: {:?}", found.faults);
        if clean.is_residue(segment, offset) {
            self.residue += 1;
            assert_eq!(found.verdict(), Verdict::Clean, "{}", about());
            return;
        }
        if offset < clean.promised[segment] {
            self.corrupt += 1;
            assert_eq!(found.verdict(), Verdict::Corrupt, "{}", about());
        } else {
            self.torn += 1;
            assert_eq!(found.verdict(), Verdict::TornTail, "{}", about());
        }
        let [fault] = found.faults[..] else { panic!("{}", about()) };
        assert!((fault.offset..fault.end()).contains(&offset), "{}", about());
        let (Kind::Damage(fault) | Kind::Torn(fault)) = fault.kind else { panic!("{}", about()) };
        match fault {
            _ if clean.span_at(segment, offset).kind == Kind::Unwritten => self.in_unwritten += 1,
            Fault::Checksum { flip, .. } => {
                self.by_checksum += 1;
                if let Some(flip) = flip {
                    self.exact += 1;
                    assert_eq!((flip.offset, flip.bit), (offset, bit), "{}", about());
                }
            }
            Fault::Reserved => self.in_zeros += 1,
            _ => panic!("{}", about()),
        }
    }
}

#[test]
fn a_flipped_bit_costs_the_record_it_hits_and_no_other() {
    let (mut flips, mut kept) = (0, 0);
    for clean in clean_fixtures().into_iter().filter(|clean| clean.disk.0.len() == 1) {
        let all = Read::of(&clean.disk.log(), 4096).records;
        for offset in (0..clean.disk.0[0].1.len() as u64).step_by(97) {
            let read = clean.disk.clone().flip(0, offset, (offset % 8) as u8).scan();
            let hit = clean.span_at(0, offset);
            let lost = usize::from(matches!(hit.kind, Kind::Record(_)));
            let payloads: Vec<_> = all.iter().map(|record| (record.meta.lsn, &record.payload)).collect();
            let surviving = read.records.iter().map(|record| (record.meta.lsn, &record.payload));
            assert!(
                surviving.clone().all(|record| payloads.contains(&record)),
                "{}",
                clean.about("flip of", 0, offset)
            );
            assert_eq!(surviving.count() + lost, all.len(), "{}", clean.about("flip of", 0, offset));
            flips += 1;
            kept += read.records.len();
        }
    }
    assert!(flips > 1000 && kept > flips, "{flips} flips, {kept} records");
}
