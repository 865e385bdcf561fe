//! What the segments of a native log say of one another, and what is wrong where two of them contradict each other.

mod support;

use std::fs;

use support::{Bench, Disk, pattern};
use waltool::formats::native::layout::{HEADER_LEN, Lsn, SegmentHeader, TWIN};
use waltool::formats::native::payload::{CONT, Checkpoint, Commit, MORE, RecordKind};
use waltool::formats::native::writer::SegmentWriter;
use waltool::span::{Fault, Gap, Kind};
use waltool::wal::{Wal, WalError};
use waltool::{Error, Report, Verdict};

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

/// A segment that ends with one transaction, by the header of the next, while a second writer has gone on in it.
fn two_writers(and_then: impl FnOnce(&mut Bench)) -> Disk {
    let mut bench = Bench::new();
    bench.write(0, b"before the other program came");
    bench.commit();
    let end = bench.promise();
    let own = bench.header().clone();
    and_then(&mut bench);
    let mut disk = bench.disk();
    disk.0.truncate(1);
    let (prev_end, number, nonce) = (end as u32, 2, own.nonce + 100);
    let next = SegmentHeader { number, nonce, prev_nonce: own.nonce, prev_end, first_transaction: 2, ..own };
    let mut other = Bench::beginning(&next);
    other.commit();
    disk.0.extend(other.disk().0);
    disk
}

fn assert_two_writers(disk: &Disk, fault: Fault, says: &[&str]) {
    let report = disk.report();
    assert_eq!((report.verdict(), report.row().label), (Verdict::Corrupt, 'L'), "{:?}", report.faults);
    assert_eq!(report.faults[0].kind, Kind::Damage(fault));
    assert_eq!((report.prefix.transactions, report.beyond.transactions), (1, 1));
    let proof = report.proof().unwrap().to_string();
    says.iter().for_each(|part| assert!(proof.contains(part), "{part} is not in: {proof}"));
}

#[test]
fn a_promise_beyond_the_end_that_the_next_segment_names_proves_two_writers() {
    // A WRITE of 29 bytes takes 64, a COMMIT 48.
    let end = 8192 + 64 + 48;
    let disk = two_writers(|bench| {
        bench.commit();
        bench.promise();
        bench.commit();
    });
    let (at, durable) = (end + 48, end + 48);
    assert_two_writers(
        &disk,
        Fault::WrittenOn { at, durable, end },
        &["two programs", "offset 8352", "everything below 8352", "ended at 8304"],
    );
}

#[test]
fn a_close_mark_after_the_end_proves_two_writers_after_a_single_commit() {
    let end = 8192 + 64 + 48;
    let disk = two_writers(|bench| {
        bench.commit();
        bench.close();
    });
    assert_two_writers(&disk, Fault::WrittenOn { at: end + 48, durable: end + 48, end }, &[]);
}

#[test]
fn a_promise_deep_in_what_a_second_writer_left_is_found() {
    let disk = two_writers(|bench| {
        for size in [20_000, 20_000, 40_000] {
            bench.write(0, &pattern(size, 3));
        }
        bench.promise();
        bench.commit();
    });
    let report = disk.report();
    assert_eq!(report.verdict(), Verdict::Corrupt);
    let found = matches!(report.faults[0].kind, Kind::Damage(Fault::WrittenOn { durable: 88_000.., end: 8304, .. }));
    assert!(found, "{:?}", report.faults);
}

#[test]
fn a_seal_for_another_segment_after_the_end_proves_two_writers() {
    let end = 8192 + 64 + 48;
    let nonce = u64::from(Bench::new().header().nonce);
    let disk = two_writers(Bench::rotate);
    assert_two_writers(
        &disk,
        Fault::SealedForAnother { at: end, found: nonce + 1, expected: nonce + 100 },
        &["two programs", "offset 8304", "5eed0002", "5eed0065"],
    );
}

#[test]
fn what_a_crash_leaves_after_the_end_proves_no_second_writer() {
    // Neither promises more than the sync before the crash.
    let crash = |bench: &mut Bench| {
        bench.write(0, &pattern(40_000, 1));
        bench.commit();
        bench.commit();
    };
    let disk = two_writers(crash);
    assert_clean(&disk, 2);
    assert!(disk.report().stale_bytes > 40_000);
    // A promise under a checksum that is wrong, or in another segment's record, is none.
    let second = two_writers(|bench| {
        bench.commit();
        bench.promise();
        bench.commit();
    });
    assert_clean(&second.clone().flip(0, 8352 + 24, 0), 2);
    assert_clean(&second.flip(0, 8352 + 8, 0), 2);
}

#[test]
fn an_intact_record_that_speaks_of_a_place_after_its_own_is_no_torn_tail() {
    let tail = |kind: RecordKind, payload: &[u8]| {
        let mut writer = SegmentWriter::create(Vec::new(), Bench::new().header()).unwrap();
        writer.append(kind, 0, payload).unwrap();
        let disk = Disk(vec![(support::segment_name(1), writer.finish().unwrap())]);
        (disk.report().verdict(), disk.report().faults.first().map(|span| span.kind))
    };
    let commit = |first_off, durable_off| Commit { transaction: 1, time_ns: 1, first_off, durable_off }.encode();
    let ahead = |found, own| (Verdict::Corrupt, Some(Kind::Torn(Fault::Ahead { found, own })));
    assert_eq!(tail(RecordKind::Commit, &commit(8192, 8192)), (Verdict::Clean, None));
    assert_eq!(tail(RecordKind::Commit, &commit(8200, 8192)), ahead(8200, 8192));
    assert_eq!(tail(RecordKind::Commit, &commit(8192, 9000)), ahead(9000, 8192));
    let checkpoint = |redo: Lsn| Checkpoint { redo_lsn: redo, target_len: 0, state: None }.encode();
    let own = Lsn::new(1, 8192);
    assert_eq!(tail(RecordKind::Checkpoint, &checkpoint(own)), (Verdict::Clean, None));
    assert_eq!(tail(RecordKind::Checkpoint, &checkpoint(Lsn(own.0 + 1))), ahead(own.0 + 1, own.0));
}

/// Another log, of so many segments.
fn other(segments: u64) -> Disk {
    let mut bench = Bench::of(b"some other log..");
    for segment in 0..segments {
        if segment > 0 {
            bench.rotate();
        }
        bench.commit();
    }
    bench.disk()
}

#[test]
fn a_foreign_segment_before_the_log_does_not_make_the_log_foreign() {
    let since_second = reheaded(four(), 3, |header| header.redo_lsn = Lsn::new(2, 8192)).lose(0);
    assert_clean(&since_second, 3);
    let mut with_stray = since_second.clone();
    with_stray.0.insert(0, other(1).0.remove(0));
    assert_incomplete(&with_stray, &[Gap::Foreign], 0, 3);
    // The stray is no part of the log, whose beginning is missing as well.
    let mut lost = four().lose(0).lose(0);
    lost.0.insert(0, other(1).0.remove(0));
    assert_incomplete(&lost, &[Gap::Beginning { first: 1, last: 2 }, Gap::Foreign], 0, 2);
    // Nothing is missing between it and the log.
    let mut far = reheaded(four(), 3, |header| header.redo_lsn = Lsn::new(3, 8192)).lose(0).lose(0);
    far.0.insert(0, other(1).0.remove(0));
    assert_incomplete(&far, &[Gap::Foreign], 0, 2);
}

#[test]
fn where_no_log_has_most_segments_none_is_chosen() {
    let mut disk = four().lose(0).lose(0);
    disk.0.splice(0..0, other(2).0);
    let Err(Error::Refused { why, .. }) = Report::of(&disk.log(), |_| ()) else { panic!("a log was chosen") };
    let ids = [b"some other log..", b"waltool fixture."].map(|id| format!("{:032x}", u128::from_be_bytes(*id)));
    for part in [&ids[0], &ids[1], "segments 1, 2, from transaction 1 on", "segments 3, 4, from transaction 3 on"] {
        assert!(why.contains(part), "{part} is not in: {why}");
    }
    disk.0.remove(0);
    assert_eq!(disk.report().verdict(), Verdict::Incomplete);
}

/// A directory with these files.
fn on_disk(disk: &Disk) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    disk.0.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    folder
}

#[test]
fn a_log_with_a_gap_or_a_contradiction_is_not_opened() {
    let mut several = four().lose(0).lose(0);
    several.0.splice(0..0, other(2).0);
    let damaged = [
        four().lose(0),
        reheaded(four(), 1, |header| header.prev_end = 8200),
        reheaded(four(), 1, |header| header.first_transaction = 7),
        reheaded(four(), 1, |header| header.redo_lsn = Lsn::new(9, 8192)),
        two_writers(Bench::rotate),
    ];
    for disk in damaged {
        let folder = on_disk(&disk);
        assert!(matches!(Wal::open(folder.path()), Err(WalError::Damaged { .. })));
    }
    let folder = on_disk(&several);
    assert!(matches!(Wal::open(folder.path()), Err(WalError::Stopped(Error::Refused { .. }))));
}

/// All entries of a log that was opened as `sound` and is read as `disk`.
fn entries(sound: &Disk, disk: &Disk) -> Result<Vec<String>, WalError> {
    let folder = on_disk(sound);
    let wal = Wal::open(folder.path()).unwrap();
    let committed = wal.committed(Lsn::new(1, 8192)).unwrap();
    disk.0.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    let (mut entries, mut found) = (committed.entries(), Vec::new());
    while let Some(logged) = entries.next()? {
        found.push(format!("{} {:?}", logged.transaction, logged.entry));
    }
    Ok(found)
}

#[test]
fn an_entry_is_never_joined_over_the_end_of_a_segment() {
    let two = |first: &[(RecordKind, u8, &[u8])], second: &[(RecordKind, u8, &[u8])]| {
        let mut header = Bench::new().header().clone();
        let mut disk = Disk(Vec::new());
        for records in [first, second] {
            let mut writer = SegmentWriter::create(Vec::new(), &header).unwrap();
            for &(kind, flags, payload) in records {
                writer.append(kind, flags, payload).unwrap();
            }
            if header.number == 2 || first.len() > 1 {
                writer.commit(1).unwrap();
            }
            let prev_end = writer.end();
            let next = SegmentHeader { prev_end, ..writer.next_header(header.nonce + 1, header.redo_lsn, 1) };
            disk.0.push((support::segment_name(header.number), writer.finish().unwrap()));
            header = next;
        }
        disk
    };
    let whole: (RecordKind, u8, &[u8]) = (RecordKind::Data, 0, b"abc");
    let begin: (RecordKind, u8, &[u8]) = (RecordKind::Data, MORE, b"abcdefgh");
    let end: (RecordKind, u8, &[u8]) = (RecordKind::Data, CONT, b"ij");
    let sound = two(&[whole, whole], &[whole]);
    let data = r#"Data([97, 98, 99])"#;
    let given = entries(&sound, &sound).unwrap();
    assert_eq!(given, [format!("1 {data}"), format!("1 {data}"), format!("2 {data}")]);
    assert_eq!(entries(&two(&[begin, end], &[whole]), &two(&[begin, end], &[whole])).unwrap().len(), 2);
    let set_len: (RecordKind, u8, &[u8]) = (RecordKind::SetLen, 0, &[0; 8]);
    for wrong in [
        two(&[begin], &[whole]),
        two(&[begin], &[set_len]),
        two(&[begin], &[end]),
        two(&[whole, begin], &[whole]),
        two(&[whole, begin], &[end]),
        two(&[begin, whole], &[whole]),
        two(&[begin, set_len], &[whole]),
        two(&[end, whole], &[whole]),
    ] {
        let refused = entries(&sound, &wrong);
        assert!(matches!(refused, Err(WalError::Stopped(Error::Refused { .. }))), "{refused:?} of {:?}", wrong.scan());
    }
}

#[test]
fn records_that_no_commit_claims_are_no_entries() {
    let mut writer = SegmentWriter::create(Vec::new(), Bench::new().header()).unwrap();
    writer.set_len(1).unwrap();
    let first_off = writer.end();
    writer.set_len(2).unwrap();
    let commit = Commit { transaction: 1, time_ns: 1, first_off, durable_off: 8192 };
    writer.append(RecordKind::Commit, 0, &commit.encode()).unwrap();
    writer.set_len(3).unwrap();
    let disk = Disk(vec![(support::segment_name(1), writer.finish().unwrap())]);
    assert_eq!(entries(&disk, &disk).unwrap(), ["1 SetLen(2)"]);
}
