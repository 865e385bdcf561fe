//! What the segments of a native log say of one another, and what is wrong where two of them contradict each other.

mod support;

use support::{Bench, Disk, pattern};
use waltool::formats::native::layout::{HEADER_LEN, Lsn, SegmentHeader, TWIN};
use waltool::span::{Gap, Kind};
use waltool::{Report, Verdict};

/// Four segments of one transaction each, sealed but for the last.
fn four() -> Disk {
    let mut bench = Bench::new();
    for segment in 0..4 {
        if segment > 0 {
            bench.rotate();
        }
        bench.write(segment, &pattern(400, segment as usize));
        bench.commit();
    }
    bench.disk()
}

/// The log, with both copies of a segment's header changed and their checksums right.
fn reheaded(mut disk: Disk, segment: usize, change: impl FnOnce(&mut SegmentHeader)) -> Disk {
    let mut header = SegmentHeader::parse(disk.file(segment)).unwrap();
    change(&mut header);
    for at in [0, TWIN] {
        disk.file(segment)[at..at + HEADER_LEN].copy_from_slice(&header.encode());
    }
    disk
}

fn gaps(report: &Report) -> Vec<Gap> {
    let gap = |kind| if let Kind::Gap(gap) = kind { gap } else { panic!("{kind:?} among the faults") };
    report.faults.iter().map(|span| gap(span.kind)).collect()
}

/// Incomplete by these gaps, with so many complete transactions before them and after.
fn assert_incomplete(disk: &Disk, expected: &[Gap], before: u64, after: u64) {
    let report = disk.report();
    assert_eq!((report.verdict(), &gaps(&report)[..]), (Verdict::Incomplete, expected));
    assert_eq!((report.prefix.transactions, report.beyond.transactions), (before, after));
}

fn assert_clean(disk: &Disk, transactions: u64) {
    let report = disk.report();
    assert_eq!((report.verdict(), report.prefix.transactions), (Verdict::Clean, transactions), "{:?}", report.faults);
}

#[test]
fn segments_that_replay_needs_are_missing_at_the_beginning() {
    assert_incomplete(&four().lose(0), &[Gap::Beginning { first: 1, last: 1 }], 0, 3);
    assert_incomplete(&four().lose(0).lose(0), &[Gap::Beginning { first: 1, last: 2 }], 0, 2);
}

#[test]
fn the_header_of_any_segment_allows_the_removal_of_those_before_its_redo() {
    let since_third = |segment| reheaded(four(), segment, |header| header.redo_lsn = Lsn::new(3, 8192));
    assert_clean(&since_third(3).lose(0).lose(0), 2);
    assert_clean(&since_third(3).lose(0), 3);
    assert_incomplete(&since_third(3).lose(0).lose(0).lose(0), &[Gap::Beginning { first: 3, last: 3 }], 0, 1);
    assert_clean(&since_third(2).lose(0).lose(0), 2);
}

/// Three segments; in the last, a checkpoint that says where replay starts.
fn with_checkpoint(redo: Lsn, and_then: impl FnOnce(&mut Bench)) -> Disk {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.commit();
        bench.rotate();
    }
    bench.commit();
    bench.checkpoint(redo, 0);
    and_then(&mut bench);
    bench.disk()
}

fn commit(bench: &mut Bench) {
    bench.commit();
}

#[test]
fn a_checkpoint_allows_the_removal_only_when_it_is_committed() {
    let third = Lsn::new(3, 8192);
    assert_clean(&with_checkpoint(third, commit).lose(0).lose(0), 2);
    let lost = [Gap::Beginning { first: 1, last: 2 }];
    assert_incomplete(&with_checkpoint(third, |_| ()).lose(0).lose(0), &lost, 0, 1);
    assert_incomplete(&with_checkpoint(Lsn::new(1, 8192), commit).lose(0).lose(0), &lost, 0, 2);
    let last = |bench: &mut Bench| {
        bench.checkpoint(Lsn::new(1, 8192), 0);
        bench.commit();
    };
    assert_incomplete(&with_checkpoint(third, last).lose(0).lose(0), &lost, 0, 2);
}

#[test]
fn a_checkpoint_whose_transaction_is_damaged_allows_nothing() {
    let third = Lsn::new(3, 8192);
    let end = with_checkpoint(third, commit).file(2).len() as u64;
    let disk = with_checkpoint(third, commit).flip(2, end - 1, 0).lose(0).lose(0);
    let report = disk.report();
    assert_eq!(report.verdict(), Verdict::Incomplete, "{:?}", report.faults);
    assert_eq!(report.faults[0].kind, Kind::Gap(Gap::Beginning { first: 1, last: 2 }));
}

#[test]
fn the_end_of_a_segment_by_its_successor_is_that_of_a_commit() {
    let end = four().file(0).len() as u64 - 32;
    for wrong in [end - 48, end - 8, end + 8, 8191, 0] {
        let disk = reheaded(four(), 1, |header| header.prev_end = wrong as u32);
        let before = u64::from(wrong > end - 48);
        assert_incomplete(&disk, &[Gap::End { number: 2, end: wrong }], before, 3);
    }
}

#[test]
fn a_segments_first_transaction_follows_the_last_of_the_segment_before() {
    for (segment, expected) in [(1, 2), (2, 3), (3, 4)] {
        for first in [0, 1, expected - 1, expected + 1, expected + 5, u64::MAX] {
            let disk = reheaded(four(), segment, |header| header.first_transaction = first);
            let number = segment as u64 + 1;
            let mut gaps = vec![Gap::Transaction { number, first, expected }];
            gaps.retain(|_| first != expected);
            assert_incomplete(&disk, &gaps, expected - 1, 5 - expected);
        }
    }
}

#[test]
fn after_a_segment_without_a_commit_comes_its_own_first_transaction() {
    let chain = |first| {
        let mut bench = Bench::new();
        bench.commit();
        bench.rotate();
        bench.write(0, b"a crash comes before the commit");
        bench.recover(|_| ());
        bench.commit();
        reheaded(bench.disk(), 2, |header| header.first_transaction = first)
    };
    assert_clean(&chain(2), 2);
    assert_incomplete(&chain(3), &[Gap::Transaction { number: 3, first: 3, expected: 2 }], 1, 1);
}

#[test]
fn replay_does_not_start_after_the_segment_that_says_so() {
    for (redo, number) in [(Lsn::new(9, 8192), 2), (Lsn::new(2, 8200), 2), (Lsn::new(3, 8192), 2), (Lsn::new(2, 0), 1)]
    {
        let disk = reheaded(four(), number as usize - 1, |header| header.redo_lsn = redo);
        let (segment, offset) = (redo.segment().into(), redo.offset().into());
        assert_incomplete(&disk, &[Gap::Ahead { number, segment, offset }], number - 1, 5 - number);
    }
    assert_clean(&reheaded(four(), 1, |header| header.redo_lsn = Lsn::new(2, 8192)), 4);
}
