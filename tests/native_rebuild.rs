//! A native log rebuilt from the whole transactions of a damaged one.

mod support;

use std::fs;
use std::path::Path;

use support::{Bench, Disk, Owned, Read, fixtures, pattern};
use waltool::formats::native::layout::{Lsn, SegmentHeader};
use waltool::formats::native::payload::{Checkpoint, Commit};
use waltool::salvage::Survey;
use waltool::{Log, Verdict};

/// What a transaction is, wherever it stands: the kinds and payloads of its records, its number and its time.
#[derive(Debug, PartialEq)]
struct Transaction {
    number: u64,
    time_ns: u64,
    entries: Vec<(&'static str, Vec<u8>)>,
}

/// The whole transactions of a log, worked out from the records alone: all of their bytes follow one another without damage.
fn transactions(read: &Read) -> Vec<Transaction> {
    let mut transactions = Vec::new();
    let faults = |record: &Owned, first: u64| {
        let own = record.meta.lsn & 0xffff_ffff;
        let hit =
            |span: &&waltool::span::Span| span.segment == record.segment && span.end() > first && span.offset < own;
        read.spans.iter().filter(hit).any(support::is_fault)
    };
    for commit in read.records.iter().filter(|record| record.kind == "commit") {
        let Commit { transaction, time_ns, first_off, .. } = Commit::parse(&commit.payload).unwrap();
        if !commit.meta.commit.unwrap().counts || faults(commit, first_off.into()) {
            continue;
        }
        let within = |record: &&Owned| {
            let offset = record.meta.lsn & 0xffff_ffff;
            record.segment == commit.segment && offset >= first_off.into() && record.meta.lsn < commit.meta.lsn
        };
        let entries = read.records.iter().filter(within).map(|record| match Checkpoint::parse(&record.payload) {
            // Its LSN moves with the segments.
            Some(checkpoint) if record.kind == "checkpoint" => {
                (record.kind, Checkpoint { redo_lsn: Lsn(0), ..checkpoint }.encode())
            }
            _ => (record.kind, record.payload.clone()),
        });
        transactions.push(Transaction { number: transaction, time_ns, entries: entries.collect() });
    }
    transactions
}

fn rebuilt(path: &Path) -> Option<(Read, Vec<SegmentHeader>)> {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let log = Log::open(path, None).unwrap();
    let survey = Survey::of(&log, &mut |_| {}).ok()?;
    let report = survey.write(&log, &new, &mut |_| {}).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(report.verdict(), Verdict::Clean);
    let log = Log::open(&new, None).unwrap();
    let headers = (0..log.segments().len() as u32).map(|segment| fs::read(log.segment_path(segment)).unwrap());
    let headers = headers.map(|bytes| SegmentHeader::parse(&bytes).unwrap()).collect();
    Some((Read::of(&log, 4096), headers))
}

#[test]
fn every_native_fixture_is_rebuilt_with_all_its_whole_transactions() {
    let (mut logs, mut count) = (0, 0);
    for fixture in fixtures::all().into_iter().filter(|fixture| fixture.room == "native") {
        let before = transactions(&Read::of(&fixture.log(), 4096));
        let Some((read, headers)) = rebuilt(&fixture.path) else {
            assert!(before.is_empty(), "{}: not rebuilt: {before:?}", fixture.name());
            continue;
        };
        assert_eq!(transactions(&read), before, "{}", fixture.name());
        assert!(!read.spans.iter().any(support::is_fault), "{}", fixture.name());
        // The first may be another log's.
        let last = fixture.segments.last().and_then(|(_, bytes)| SegmentHeader::parse(bytes).ok());
        for (header, number) in headers.iter().zip(headers[0].number..) {
            assert_eq!(header.number, number, "{}", fixture.name());
            if let Some(last) = &last {
                assert_eq!((header.log_id, header.target_id), (last.log_id, last.target_id), "{}", fixture.name());
            }
        }
        logs += 1;
        count += before.len();
    }
    assert!(logs >= 40 && count >= 80, "{logs} logs, {count} transactions");
}

fn write(disk: &Disk, folder: &Path) {
    disk.0.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
}

#[test]
fn the_log_keeps_its_identity_where_the_first_header_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.write(0, b"first");
        bench.commit();
        bench.rotate();
    }
    let header = bench.header().clone();
    write(&bench.disk().zero(0, 0..8192), folder.path());
    let (read, headers) = rebuilt(folder.path()).unwrap();
    assert_eq!(transactions(&read).len(), 2);
    assert!(headers.iter().all(|new| (new.log_id, new.target_id) == (header.log_id, header.target_id)), "{headers:?}");
}

#[test]
fn a_log_without_any_header_is_rebuilt_as_a_log_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    bench.write(0, b"alone");
    bench.commit();
    write(&bench.disk().zero(0, 0..8192), folder.path());
    let (read, headers) = rebuilt(folder.path()).unwrap();
    assert_eq!(transactions(&read).len(), 1);
    assert_ne!(headers[0].log_id, [0; 16]);
}

#[test]
fn a_checkpoint_never_says_more_than_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    bench.write(0, &pattern(900, 1));
    bench.commit();
    bench.rotate();
    bench.write(0, &pattern(5000, 2));
    bench.commit();
    let applied = bench.end();
    bench.write(0, &pattern(300, 3));
    bench.commit();
    bench.rotate();
    bench.checkpoint(Lsn::new(2, applied as u32), 10_000);
    bench.commit();
    // The record of 5000 bytes is lost, so what stood behind it moves below the checkpoint's LSN.
    write(&bench.disk().flip(1, 9000, 1), folder.path());
    let (read, _) = rebuilt(folder.path()).unwrap();
    let checkpoint = read.records.iter().find(|record| record.kind == "checkpoint").unwrap();
    let redo = Checkpoint::parse(&checkpoint.payload).unwrap().redo_lsn;
    let unapplied = read.records.iter().find(|record| record.payload.get(8..) == Some(&pattern(300, 3))).unwrap();
    assert!(redo.0 <= unapplied.meta.lsn, "{redo} is above {}", Lsn(unapplied.meta.lsn));
}
