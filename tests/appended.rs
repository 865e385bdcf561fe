//! Logs of a program that went on appending behind a torn tail, which is the most repeated bug of young logs; and logs that look like it
//! and are none.

mod support;

use support::{Bench, Disk, NEW_YEAR, Noise, SECOND, pattern, segment_name};
use waltool::formats::native::encode::{place, push_record, push_rest};
use waltool::formats::native::layout::rest_of_block;
use waltool::formats::native::payload::{Commit, RecordKind, Write};
use waltool::report::{AppendedBehind, Place};
use waltool::salvage::Survey;
use waltool::{Log, Report, Verdict};

const BLOCK: u64 = 32 * 1024;

/// A program that opens a segment for append and writes on at its end, wherever that is.
struct Appender {
    file: Vec<u8>,
    nonce: u32,
    next: u64,
    promise: u32,
    records: u64,
}

impl Appender {
    /// Opens the only segment of a log of which it has found `transactions`.
    fn open(mut disk: Disk, nonce: u32, transactions: u64) -> Self {
        let file = std::mem::take(disk.file(0));
        Self { file, nonce, next: transactions + 1, promise: 8192, records: 0 }
    }

    fn align(mut self) -> Self {
        self.file.resize(self.file.len().next_multiple_of(8), 0);
        self
    }

    fn record(&mut self, kind: RecordKind, payload: impl FnOnce(u32) -> Vec<u8>, len: usize) -> u32 {
        let offset = place(self.file.len() as u64, len);
        let end = self.file.len();
        if offset > end as u64 && end.is_multiple_of(8) {
            push_rest(&mut self.file, self.nonce, end as u32);
        }
        self.file.resize(offset as usize, 0);
        push_record(&mut self.file, kind.into(), 0, self.nonce, offset as u32, &[&payload(offset as u32)]);
        self.records += 1;
        offset as u32
    }

    /// A transaction of WRITEs of these lengths.
    fn transaction(&mut self, lens: &[usize]) {
        let mut first = None;
        for &len in lens {
            let payload = |_| {
                let mut payload = Vec::new();
                Write { offset: 9, bytes: &pattern(len, 5) }.encode(&mut payload);
                payload
            };
            first.get_or_insert(self.record(RecordKind::Write, payload, 8 + len));
        }
        let (transaction, durable_off) = (self.next, self.promise);
        let payload = |own| {
            let first_off = first.unwrap_or(own);
            let time_ns = NEW_YEAR + transaction * SECOND;
            Commit { transaction, time_ns, first_off, durable_off }.encode().to_vec()
        };
        self.record(RecordKind::Commit, payload, Commit::LEN);
        self.next += 1;
    }

    /// A sync.
    fn promise(&mut self) {
        self.promise = self.file.len() as u32;
    }

    fn disk(self) -> Disk {
        Disk(vec![(segment_name(1), self.file)])
    }
}

/// `transactions` synced ones, then one of 2000 bytes and its commit: the log, and where that one begins and ends.
fn before(transactions: u64) -> (Disk, u32, u64, u64) {
    let mut bench = Bench::new();
    for n in 0..transactions {
        bench.write(n, &pattern(200, 1));
        bench.commit();
        bench.promise();
    }
    let (nonce, start) = (bench.header().nonce, bench.end());
    bench.write(7, &pattern(2000, 2));
    let end = bench.commit();
    (bench.disk(), nonce, start, end)
}

/// What a crash left of the last transaction, from `start` to `end`.
fn tears(disk: &Disk, start: u64, end: u64) -> Vec<(&'static str, Disk)> {
    let sector = (start + 600) / 512 * 512;
    vec![
        ("cut in the header", disk.clone().cut(0, start + 10)),
        ("cut behind the header", disk.clone().cut(0, start + 24)),
        ("cut in the payload", disk.clone().cut(0, start + 333)),
        ("cut in the commit", disk.clone().cut(0, end - 11)),
        ("cut between the payload and the commit", disk.clone().cut(0, end - 48).zero(0, start + 900..end - 48)),
        ("zeros alone", disk.clone().zero(0, start..end)),
        ("its first sectors lost", disk.clone().zero(0, start..sector)),
        ("sectors lost in its midst", disk.clone().zero(0, sector..sector + 512)),
        ("cut and allocated ahead", disk.clone().cut(0, start + 333).preallocate(0, end + 700)),
    ]
}

#[test]
fn what_was_appended_behind_a_tear_is_found_and_counted() {
    let shapes: [(&str, u64, &[usize]); 6] = [
        ("a mark", 1, &[]),
        ("one small", 1, &[50]),
        ("three small", 3, &[50, 60]),
        ("three of some kilobytes", 3, &[5000]),
        ("forty over several blocks", 40, &[5000, 20]),
        ("two large", 2, &[50, 30_000, 30_000]),
    ];
    let mut met = 0;
    for transactions in [0, 1, 7] {
        let (disk, nonce, start, end) = before(transactions);
        for (tear, torn) in tears(&disk, start, end) {
            for (shape, count, lens) in shapes {
                for (aligned, promising) in [(true, true), (true, false), (false, true), (false, false)] {
                    let about =
                        format!("{shape} behind {transactions} and {tear}, aligned {aligned}, promising {promising}");
                    let mut appender = Appender::open(torn.clone(), nonce, transactions);
                    if aligned {
                        appender = appender.align();
                    }
                    for _ in 0..count {
                        appender.transaction(lens);
                        if promising {
                            appender.promise();
                        }
                    }
                    let records = appender.records;
                    assert_found(&appender.disk(), transactions, start, count, records, lens.len() as u64, &about);
                    met += 1;
                }
            }
        }
    }
    println!("{met} logs");
    assert_eq!(met, 3 * 9 * 6 * 4);
}

fn assert_found(disk: &Disk, before: u64, start: u64, count: u64, records: u64, each: u64, about: &str) {
    let report = disk.report();
    assert_eq!((report.verdict(), report.prefix.transactions), (Verdict::Corrupt, before), "{about}");
    let Some(AppendedBehind { tear, records: found, transactions }) = report.appended_behind else {
        panic!("{about}: {:?}", report.faults);
    };
    // What is intact of the torn transaction stands before the tear.
    assert!(tear.segment == 0 && (start..start + 2100).contains(&tear.offset), "{about}: {tear:?}");
    assert_eq!(transactions, count, "{about}");
    // Of a transaction that begins in the tear's block and ends in another, the first records are not known.
    assert!((records.saturating_sub(each)..=records + 1).contains(&found), "{about}: {found} of {records}");
}

#[test]
fn salvage_keeps_what_stands_behind_the_block_of_the_tear() {
    let (disk, nonce, start, end) = before(3);
    let mut appender = Appender::open(disk.cut(0, start + 333), nonce, 3);
    for _ in 0..40 {
        appender.transaction(&[5000]);
        appender.promise();
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join(segment_name(1)), folder.path().join("new.wal"));
    std::fs::write(&path, &appender.disk().0[0].1).unwrap();
    let log = Log::open(&path, None).unwrap();
    let survey = Survey::of(&log, &mut |_| {}).unwrap();
    let hidden = 40 + 3 - survey.transactions;
    assert!((1..=(BLOCK - end) / 5000 + 2).contains(&hidden), "{hidden} are in the tear's block");
    let salvaged = survey.write(&log, &new, &mut |_| {}).unwrap();
    assert_eq!((salvaged.verdict(), salvaged.prefix.transactions), (Verdict::Clean, survey.transactions));
}

#[test]
fn a_tear_that_may_have_been_fill_proves_nothing() {
    let mut bench = Bench::new();
    bench.write(0, &pattern(20_000, 1));
    let start = bench.commit();
    // Does not fit the rest of the block.
    bench.checkpoint(waltool::formats::native::layout::Lsn::new(1, 8192), 0);
    bench.write(0, &pattern(400, 1));
    while bench.end() < BLOCK - 300 {
        bench.commit();
    }
    let fill = bench.end();
    bench.data(&pattern(400, 3));
    assert!(bench.end() > BLOCK, "the DATA begins the next block");
    bench.commit();
    let disk = bench.disk();
    assert_eq!(disk.report().verdict(), Verdict::Clean);
    let mut noise = Noise(3);
    for _ in 0..200 {
        let at = fill + noise.below(rest_of_block(fill)) as u64;
        let hit = disk.clone().flip(0, at, noise.below(8) as u8);
        assert_eq!((hit.report().verdict(), hit.report().appended_behind), (Verdict::TornTail, None), "bit of {at}");
        let hit = disk.clone().zero(0, fill..at.max(fill + 24));
        assert_eq!(hit.report().appended_behind, None, "zeros to {at}");
    }
    assert!(start < fill);
}

#[test]
fn a_transaction_that_is_lost_whole_leaves_a_gap_in_the_numbers() {
    for promising in [true, false] {
        let mut bench = Bench::new();
        let mut ends = vec![8192];
        for n in 0..30 {
            bench.write(n, &pattern(300 + 500 * (n as usize % 7), 1));
            ends.push(bench.commit());
            if promising {
                bench.promise();
            }
        }
        let disk = bench.disk();
        for pair in ends.windows(2).take(28) {
            for garbage in [false, true] {
                let mut hit = disk.clone().zero(0, pair[0]..pair[1]);
                if garbage {
                    let range = pair[0] as usize..pair[1] as usize;
                    let noise = Noise(pair[0]).bytes(range.len());
                    hit.file(0)[range].copy_from_slice(&noise);
                }
                let report = hit.report();
                assert_eq!(report.appended_behind, None, "{pair:?}");
                assert_ne!(report.verdict(), Verdict::Clean);
            }
        }
    }
}

#[test]
fn hit_headers_are_no_tear() {
    let mut bench = Bench::new();
    bench.write(0, b"something");
    bench.commit();
    let disk = bench.disk();
    for at in [5, 50, 4096, 4150, 5000] {
        assert_eq!(disk.clone().flip(0, at, 3).report().appended_behind, None, "{at}");
    }
}

#[test]
fn only_the_first_tear_stops_a_recovery_and_all_behind_it_counts() {
    let (disk, nonce, start, _) = before(2);
    let mut appender = Appender::open(disk.cut(0, start + 100), nonce, 2);
    (0..20).for_each(|_| appender.transaction(&[3000]));
    let torn_again = appender.file.len() - 1500;
    let mut disk = appender.disk();
    disk.file(0).truncate(torn_again);
    let mut appender = Appender::open(disk, nonce, 2 + 19);
    (0..20).for_each(|_| appender.transaction(&[3000]));
    let report = appender.disk().report();
    let appended = report.appended_behind.expect("two tears");
    assert_eq!((appended.tear, appended.transactions), (Place { segment: 0, offset: start }, 39));
}

#[test]
fn a_log_that_says_nothing_of_the_kind_has_no_such_sentence() {
    let report = |disk: &Disk| Report::of(&disk.log(), |_| {}).unwrap();
    let (disk, _, start, end) = before(5);
    assert_eq!(report(&disk).appended_behind, None);
    for (tear, torn) in tears(&disk, start, end) {
        let report = report(&torn);
        assert_eq!(report.appended_behind, None, "{tear}");
        assert!(report.verdict() <= Verdict::TornTail, "{tear}");
    }
}
