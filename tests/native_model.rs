//! Random workloads against a model: what was written is read back; damage below a promise is always corruption and costs only
//! what it hits; a power cut is never called corruption and loses nothing that was synced. Neither looks as if a program had gone on
//! appending behind a torn tail.

#[macro_use]
#[path = "support/figure.rs"]
mod figure;

mod support;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::{Bench, Disk, Noise, Read, is_fault, pattern};
use waltool::Verdict;
use waltool::formats::native::layout::{Lsn, RECORD_HEADER, RecordHeader};
use waltool::formats::native::payload::{Checkpoint, MORE, SetLen, Write};
use waltool::span::Kind;

const BLOCK: u64 = 32 * 1024;
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Action {
    Write { offset: u64, len: usize },
    SetLen(u64),
    Data(usize),
    Checkpoint(u64),
    Commit,
    Sync,
    Rotate,
}

fn action() -> impl Strategy<Value = Action> {
    let len = || prop_oneof![6 => 1..300_usize, 3 => 300..5000_usize, 1 => 20_000..70_000_usize];
    prop_oneof![
        6 => (0..1_u64 << 40, len()).prop_map(|(offset, len)| Action::Write { offset, len }),
        1 => (0..=i64::MAX as u64).prop_map(Action::SetLen),
        2 => prop_oneof![Just(0), len()].prop_map(Action::Data),
        1 => (0..9000_u64).prop_map(Action::Checkpoint),
        6 => Just(Action::Commit),
        4 => Just(Action::Sync),
        1 => Just(Action::Rotate),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 1..40)
}

/// One thing that a transaction records, as the application sees it.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Data(Vec<u8>),
    Checkpoint(u64, u64),
}

/// A workload that was carried out.
struct Run {
    disk: Disk,
    transactions: Vec<Vec<Entry>>,
    /// Entries behind the last commit.
    open: Vec<Entry>,
    /// Where each transaction's commit ends: segment and offset.
    ends: Vec<(usize, u64)>,
    /// What the last sync covered in the last segment.
    synced: u64,
    /// The highest promise that a commit of the last segment carries.
    promised: u64,
    /// Where each later segment says that the one before it ends.
    limits: Vec<u64>,
}

/// Two WRITEs of which the second continues the first are one, as a long one is several.
fn push(entries: &mut Vec<Entry>, entry: Entry) {
    match (entries.last_mut(), entry) {
        (Some(Entry::Write(offset, bytes)), Entry::Write(next, more)) if *offset + bytes.len() as u64 == next => {
            bytes.extend(more);
        }
        (_, entry) => entries.push(entry),
    }
}

fn run(actions: &[Action]) -> Run {
    let mut bench = Bench::new();
    let (mut transactions, mut open, mut ends, mut limits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut synced, mut promised) = (8192, 8192);
    let (mut last_commit, mut anything_open) = (8192, false);
    for (seed, action) in actions.iter().enumerate() {
        match *action {
            Action::Write { offset, len } => {
                bench.write(offset, &pattern(len, seed));
                push(&mut open, Entry::Write(offset, pattern(len, seed)));
                anything_open = true;
            }
            Action::SetLen(len) => {
                bench.set_len(len);
                push(&mut open, Entry::SetLen(len));
                anything_open = true;
            }
            Action::Data(len) => {
                bench.data(&pattern(len, seed));
                push(&mut open, Entry::Data(pattern(len, seed)));
                anything_open = true;
            }
            Action::Checkpoint(len) => {
                bench.checkpoint(Lsn::new(1, 8192), len);
                push(&mut open, Entry::Checkpoint(Lsn::new(1, 8192).0, len));
                anything_open = true;
            }
            Action::Commit => {
                last_commit = bench.commit();
                (promised, anything_open) = (synced, false);
                ends.push((limits.len(), last_commit));
                transactions.push(std::mem::take(&mut open));
            }
            Action::Sync => synced = bench.promise(),
            Action::Rotate if anything_open => {}
            Action::Rotate => {
                bench.rotate();
                limits.push(last_commit);
                (synced, promised, last_commit) = (8192, 8192, 8192);
            }
        }
    }
    Run { disk: bench.disk(), transactions, open, ends, synced, promised, limits }
}

/// The transactions of a scan, and what stands behind the last commit.
fn entries(read: &Read) -> (Vec<Vec<Entry>>, Vec<Entry>) {
    let (mut transactions, mut open) = (Vec::new(), Vec::new());
    let mut fragments: Option<Vec<u8>> = None;
    for record in &read.records {
        let payload = &record.payload;
        match record.kind {
            "write" => {
                let write = Write::parse(payload).unwrap();
                push(&mut open, Entry::Write(write.offset, write.bytes.to_vec()));
            }
            "setlen" => open.push(Entry::SetLen(SetLen::parse(payload).unwrap().len)),
            "checkpoint" => {
                let checkpoint = Checkpoint::parse(payload).unwrap();
                open.push(Entry::Checkpoint(checkpoint.redo_lsn.0, checkpoint.target_len));
            }
            "data" => {
                let head = RecordHeader::parse(record.head.first_chunk().unwrap()).unwrap();
                let mut bytes = fragments.take().unwrap_or_default();
                bytes.extend(payload);
                if head.flags & MORE != 0 {
                    fragments = Some(bytes);
                } else {
                    open.push(Entry::Data(bytes));
                }
            }
            "commit" => transactions.push(std::mem::take(&mut open)),
            "seal" => assert!(open.is_empty() && fragments.is_none()),
            kind => panic!("{kind}"),
        }
    }
    (transactions, open)
}

/// Runs `test` on this many random workloads, each with a seed for what happens to it.
fn on_workloads(cases: u32, test: impl Fn(&Run, &mut Noise) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) });
    let outcome = runner.run(&(actions(), 1..u64::MAX), |(actions, seed)| test(&run(&actions), &mut Noise(seed)));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_was_written_is_read_back() {
    on_workloads(400, |run, _| {
        let read = run.disk.scan();
        prop_assert_eq!(entries(&read), (run.transactions.clone(), run.open.clone()));
        let report = run.disk.report();
        prop_assert_eq!(report.verdict(), Verdict::Clean);
        prop_assert_eq!(report.prefix.transactions, run.transactions.len() as u64);
        prop_assert_eq!(report.prefix.records, read.records.len() as u64);
        prop_assert_eq!(report.stale_bytes, 0);
        prop_assert!(read.records.is_sorted_by_key(|record| record.meta.lsn));
        let numbers: Vec<_> = read.records.iter().filter(|r| r.kind == "commit").map(|r| r.meta.transaction).collect();
        prop_assert_eq!(numbers, (1..=run.transactions.len() as u64).collect::<Vec<_>>());
        let undecided = |&&(segment, end): &&(usize, u64)| segment == run.limits.len() && end > run.promised;
        prop_assert_eq!(report.undecided, run.ends.iter().filter(undecided).count() as u64);
        Ok(())
    });
}

#[test]
fn damage_below_a_promise_is_corruption_and_costs_what_it_hits() {
    let damaged = Cell::new(0_u64);
    on_workloads(1000, |run, noise| {
        let before = run.disk.scan();
        for _ in 0..8 {
            let segment = noise.below(run.disk.0.len());
            let promised = run.limits.get(segment).copied().unwrap_or(run.promised) as usize;
            let at = noise.below(promised);
            let most = [1, 30, 600][noise.below(3)];
            let len = 1 + noise.below(most);
            let range = at..(at + len).min(promised);
            let mut disk = run.disk.clone();
            let garbage = if noise.below(2) == 0 { vec![0; range.len()] } else { noise.bytes(range.len()) };
            disk.file(segment)[range.clone()].copy_from_slice(&garbage);
            if disk == run.disk {
                continue;
            }
            damaged.set(damaged.get() + 1);
            let report = disk.report();
            prop_assert_eq!(report.appended_behind, None, "{:?} of segment {}", &range, segment);
            prop_assert_eq!(
                report.verdict(),
                Verdict::Corrupt,
                "{:?} of segment {}: {:?}",
                range,
                segment,
                report.faults
            );
            assert_loses_only_what_was_hit(&before, &disk.scan(), segment as u32, range.start as u64..range.end as u64);
        }
        Ok(())
    });
    figure!("{} damaged logs, all of them corrupt", damaged.get());
    assert!(damaged.get() > 3000);
}

#[test]
fn a_power_cut_is_never_corruption_and_loses_nothing_synced() {
    let (cut, torn) = (Cell::new(0_u64), Cell::new(0_u64));
    on_workloads(1000, |run, noise| {
        let last = run.disk.0.len() - 1;
        let acknowledged =
            run.ends.iter().filter(|&&(segment, end)| segment < last || end <= run.synced).count() as u64;
        for _ in 0..8 {
            let disk = power_cut(run, last, noise);
            cut.set(cut.get() + 1);
            let report = disk.report();
            let is_torn = report.verdict() == Verdict::TornTail;
            torn.set(torn.get() + u64::from(is_torn));
            prop_assert!(is_torn || report.verdict() == Verdict::Clean, "{}: {:?}", report.verdict(), report.faults);
            prop_assert_eq!(report.appended_behind, None);
            prop_assert!(
                report.prefix.transactions >= acknowledged,
                "{} of {acknowledged}",
                report.prefix.transactions
            );
            let read = disk.scan();
            let (found, _) =
                entries(&Read { records: read.records.into_iter().take_while(|r| !r.beyond).collect(), ..read });
            prop_assert!(run.transactions.starts_with(&found));
        }
        Ok(())
    });
    figure!("{} power cuts, {} of them torn, none corrupt", cut.get(), torn.get());
    assert!(cut.get() == 8000 && torn.get() > 2000, "{} of {} torn", torn.get(), cut.get());
}

/// Every record is there whose bytes were not hit, unless the header of one before it in its block was.
fn assert_loses_only_what_was_hit(before: &Read, after: &Read, segment: u32, hit: std::ops::Range<u64>) {
    let at = |lsn: u64| lsn & 0xffff_ffff;
    let header_hit = before.spans.iter().filter(|span| {
        let header = span.offset..span.offset + RECORD_HEADER as u64;
        let can_hide = matches!(span.kind, Kind::Record(_) | Kind::Padding);
        span.segment == segment && can_hide && header.start < hit.end && hit.start < header.end
    });
    let hidden_from: Vec<u64> = header_hit.map(|span| span.offset).collect();
    for record in &before.records {
        let (start, end) = (
            at(record.meta.lsn),
            at(record.meta.lsn) + (RECORD_HEADER + record.payload.len().next_multiple_of(8)) as u64,
        );
        let is_hit = record.segment == segment && start < hit.end && hit.start < end;
        let hidden =
            record.segment == segment && hidden_from.iter().any(|&from| from <= start && from / BLOCK == start / BLOCK);
        let kept =
            after.records.iter().any(|other| other.meta.lsn == record.meta.lsn && other.payload == record.payload);
        assert!(kept || is_hit || hidden, "lost {record:?} by {hit:?} in segment {segment}");
    }
    for record in &after.records {
        let known = |other: &&support::Owned| other.meta.lsn == record.meta.lsn && other.payload == record.payload;
        assert!(before.records.iter().any(|other| known(&other)), "new {record:?}");
    }
    assert!(after.spans.iter().any(is_fault));
}

/// The last segment as a crash may leave it: synced bytes stay; each sector behind them has arrived, or not, or holds anything;
/// the file is as long as it was at any time since the sync, or was allocated ahead. Of the segments before only a SEAL can be torn.
fn power_cut(run: &Run, last: usize, noise: &mut Noise) -> Disk {
    let mut disk = run.disk.clone();
    for (segment, limit) in run.limits.iter().enumerate() {
        if noise.below(4) == 0 && segment + 1 == last && run.ends.iter().all(|&(of, _)| of < last) {
            let len = *limit as usize + noise.below(disk.0[segment].1.len() - *limit as usize + 1);
            disk.file(segment).truncate(len);
        }
    }
    let synced = run.synced as usize;
    let file = disk.file(last);
    match noise.below(3) {
        0 => {
            let len = synced + noise.below(file.len() - synced + 1);
            file.truncate(len);
        }
        1 => file.resize(file.len().next_multiple_of(BLOCK as usize), 0),
        _ => {}
    }
    let garbage = noise.below(4) == 0;
    let first = synced / SECTOR;
    for sector in first..file.len().div_ceil(SECTOR) {
        let range = (sector * SECTOR).max(synced)..((sector + 1) * SECTOR).min(file.len());
        match noise.below(4) {
            0 | 1 => {}
            2 if garbage => {
                let bytes = noise.bytes(range.len());
                file[range].copy_from_slice(&bytes);
            }
            _ => file[range].fill(0),
        }
    }
    disk
}
