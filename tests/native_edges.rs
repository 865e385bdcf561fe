//! Native logs at the edges: newer versions, sparse files, chains that break in odd places.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use support::{Bench, Disk, Owned, Read, pattern};
use waltool::format::{Role, TargetState};
use waltool::formats::native::layout::{HEADER_LEN, Lsn, RECORDS_START, SegmentHeader, TWIN};
use waltool::formats::native::payload::{Checkpoint, RecordKind, STATE};
use waltool::formats::native::writer::SegmentWriter;
use waltool::span::{Fault, Gap, Kind};
use waltool::{Error, Log, Report, Scan, Verdict};

fn chained(segments: u32) -> Disk {
    let mut bench = Bench::new();
    for segment in 0..segments {
        bench.write(u64::from(segment), &pattern(400, segment as usize));
        bench.commit();
        if segment + 1 < segments {
            bench.rotate();
        }
    }
    bench.disk()
}

fn reheaded(mut disk: Disk, segment: usize, copies: &[usize], change: impl Fn(&mut SegmentHeader)) -> Disk {
    let mut header = SegmentHeader::parse(disk.file(segment)).unwrap();
    change(&mut header);
    for &at in copies {
        disk.file(segment)[at..at + HEADER_LEN].copy_from_slice(&header.encode());
    }
    disk
}

#[test]
fn a_newer_version_in_either_header_is_newer_and_not_damage() {
    for copies in [&[0, TWIN][..], &[0], &[TWIN]] {
        let mut disk = reheaded(chained(1), 0, copies, |header| header.version = 2);
        if copies == [TWIN] {
            // The first copy is hit, so only the other can say it.
            disk = disk.zero(0, 0..512);
        }
        let error = Report::of(&disk.log(), |_| {}).err();
        assert!(matches!(error, Some(Error::TooNew { value: 2, .. })), "{copies:?}: {error:?}");
    }
}

#[test]
fn two_intact_headers_that_differ_are_damage() {
    let report = reheaded(chained(1), 0, &[TWIN], |header| header.created_ns += 1).report();
    assert_eq!(report.verdict(), Verdict::Corrupt);
    assert!(matches!(report.faults[0].kind, Kind::Damage(Fault::Identity { .. })), "{:?}", report.faults);
}

#[test]
fn a_single_segment_misses_nothing_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in chained(3).0 {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let report = Report::of(&Log::open(&path, None).unwrap(), |_| {}).unwrap();
        assert_eq!(report.verdict(), Verdict::Clean, "{}", path.display());
    }
}

#[test]
fn several_missing_segments_are_one_gap() {
    let report = chained(5).lose(1).lose(1).report();
    let missing = Kind::Gap(Gap::Missing { first: 2, last: 3 });
    assert_eq!(report.faults.iter().map(|span| span.kind).collect::<Vec<_>>(), [missing]);
    assert_eq!((report.verdict(), report.beyond.transactions), (Verdict::Incomplete, 2));
}

#[test]
fn an_empty_file_is_no_clean_segment() {
    for segment in 0..3 {
        let report = chained(3).cut(segment, 0).report();
        assert_ne!(report.verdict(), Verdict::Clean, "segment {segment}");
        assert_eq!(
            report.bytes,
            chained(3).0.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
                - chained(3).0[segment].1.len() as u64
        );
    }
}

/// A file gets its name when both copies of its header are on the disk, so no crash leaves it without one.
#[test]
fn a_segment_that_has_lost_both_headers_is_corrupt_also_where_nothing_else_is_left() {
    let headers = Bench::new().disk();
    let len = headers.0[0].1.len() as u64;
    for disk in [headers.clone().zero(0, 0..len), headers.clone().cut(0, 0), headers.clone().cut(0, 100)] {
        assert_eq!(disk.report().verdict(), Verdict::Corrupt, "{:?}", disk.scan().spans);
    }
    let chain = chained(3);
    let len = chain.0[2].1.len() as u64;
    for disk in [chain.clone().zero(2, 0..len), chain.clone().cut(2, 0), chain.clone().cut(2, 4096)] {
        let report = disk.report();
        assert_eq!((report.verdict(), report.prefix.transactions), (Verdict::Corrupt, 2), "{:?}", report.faults);
    }
}

/// A page that was written to a wrong place is intact, and says so by its number; the other copy is the segment's own.
#[test]
fn a_header_that_went_astray_costs_nothing_but_itself() {
    for (from, to) in [(0, 1), (2, 1), (1, 2), (1, 0)] {
        for at in [0, TWIN] {
            let mut disk = chained(3);
            let page = disk.file(from)[at..at + 4096].to_vec();
            disk.file(to)[at..at + 4096].copy_from_slice(&page);
            let report = disk.report();
            assert_eq!(report.verdict(), Verdict::Corrupt, "{at} of {from} over {to}: {:?}", report.faults);
            assert_eq!(report.fault_count, 1, "{:?}", report.faults);
            assert_eq!(report.prefix.transactions + report.beyond.transactions, 3);
        }
    }
}

/// Its nonce stands in the header of the next segment and in the SEAL of the one before.
#[test]
fn records_of_another_segment_are_refused_where_both_headers_are_lost() {
    for (from, to) in [(0, 1), (2, 1), (1, 0), (0, 2)] {
        let mut disk = chained(3).zero(to, 0..RECORDS_START as u64);
        let len = disk.file(from).len().min(disk.file(to).len());
        let records = disk.file(from)[RECORDS_START..len].to_vec();
        disk.file(to)[RECORDS_START..len].copy_from_slice(&records);
        assert_eq!(disk.report().verdict(), Verdict::Corrupt);
        let sound = chained(3).scan();
        for found in disk.scan().records {
            let same = |own: &Owned| (own.meta.lsn, &own.payload) == (found.meta.lsn, &found.payload);
            assert!(sound.records.iter().any(same), "{from} over {to}: {found:?}");
        }
    }
}

#[test]
fn a_segment_is_read_under_its_own_name_only_so_nothing_comes_twice_or_too_early() {
    let mut doubled = chained(4);
    *doubled.file(0) = doubled.file(2).clone();
    for (disk, left) in
        [(doubled, vec![2, 3, 4]), (chained(4).swap(0, 2), vec![2, 4]), (chained(4).swap(1, 2), vec![1, 4])]
    {
        assert_eq!(disk.report().verdict(), Verdict::Incomplete);
        let segments: Vec<_> = disk.scan().records.iter().map(|record| record.meta.lsn >> 32).collect();
        assert!(segments.is_sorted(), "{segments:?}");
        assert_eq!(segments.chunk_by(|a, b| a == b).map(|run| run[0]).collect::<Vec<_>>(), left);
    }
}

/// A crash tore what was not synced, and zeros stand where something was: only the torn commits still say that it was synced.
#[test]
fn zeros_below_a_promise_that_only_damage_testifies_are_corruption() {
    let mut bench = Bench::new();
    while bench.end() < 50_000 {
        bench.write(0, &pattern(3000, 1));
        bench.commit();
    }
    bench.promise();
    while bench.end() < 80_000 {
        bench.write(0, &pattern(3000, 2));
        bench.commit();
    }
    let torn = bench.disk().zero(0, 65_536..65_540);
    assert_eq!(torn.report().verdict(), Verdict::TornTail);
    assert_eq!(torn.zero(0, 32_768..65_536).report().verdict(), Verdict::Corrupt);
}

/// A sparse file is passed by its holes, and must come to what its bytes come to.
#[test]
fn a_hole_is_what_its_zeros_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    while bench.end() < 6 << 20 {
        bench.write(0, &pattern(20_000, 1));
        bench.commit();
        bench.promise();
    }
    bench.rotate();
    bench.commit();
    let disk = bench.disk();
    let len = disk.0[0].1.len() as u64;
    // Inside the segment; up to its end, over the limit; behind its end.
    for hole in [2 << 20..4 << 20, 3 << 20..len, len..len + (5 << 20)] {
        let mut zeroed = disk.clone();
        zeroed.file(0).resize(len.max(hole.end) as usize, 0);
        zeroed.file(0)[hole.start as usize..hole.end as usize].fill(0);
        for (name, bytes) in &zeroed.0 {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
            let parts = bytes.chunks(4096).zip((0..).step_by(4096));
            for (part, at) in parts.filter(|(part, _)| part.iter().any(|&byte| byte != 0)) {
                file.write_all_at(part, at).unwrap();
            }
        }
        let log = Log::open(folder.path(), None).unwrap();
        let (sparse, full) = (Read::of(&log, 256 * 1024), Read::of(&zeroed.log(), 256 * 1024));
        assert_eq!(sparse.spans, full.spans, "{hole:?}");
        let expected = if hole.start < len { Verdict::Corrupt } else { Verdict::Clean };
        for threads in [1, 3] {
            assert_eq!(Report::by_threads(&log, threads, |_| {}).unwrap().verdict(), expected, "{hole:?}");
        }
    }
}

/// Behind both lost headers the records and the successor still tell where the segment ends.
#[test]
fn residue_stays_residue_when_both_headers_are_lost() {
    let mut bench = Bench::new();
    bench.write(0, b"kept");
    bench.commit();
    bench.write(0, b"not kept");
    bench.recover(|_| {});
    bench.write(0, b"later");
    bench.commit();
    let disk = bench.disk();
    let payloads = |disk: &Disk| disk.scan().payloads().iter().map(|(_, p)| p.to_vec()).collect::<Vec<_>>();
    assert_eq!(payloads(&disk.clone().zero(0, 0..8192)), payloads(&disk));
}

/// A seal that goes to the next block, behind every rest that a block can have.
#[test]
fn a_seal_is_found_wherever_it_fits() {
    let mut met = 0;
    for rest in (0..=64).step_by(8) {
        let mut bench = Bench::new();
        let len = 32768 - bench.end() - 24 - 48 - rest;
        bench.data(&pattern(len as usize, 1));
        bench.commit();
        assert_eq!(32768 - bench.end(), rest);
        bench.rotate();
        bench.commit();
        let disk = bench.disk();
        let (read, report) = (disk.scan(), disk.report());
        assert_eq!((report.verdict(), report.stale_bytes), (Verdict::Clean, 0), "{rest} bytes left");
        assert!(read.records.iter().any(|record| record.kind == "seal"), "{rest} bytes left");
        for window in [1, 7, 64] {
            assert_eq!(Read::of(&disk.log(), window), read, "{rest} bytes left, by {window}");
        }
        met += 1;
    }
    assert_eq!(met, 9);
}

#[test]
fn promises_hidden_by_a_hit_header_are_heard() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        bench.write(0, &pattern(100, 1));
        bench.commit();
        bench.promise();
    }
    let disk = bench.disk().zero(0, 8192..8704);
    let report = disk.report();
    assert_eq!((report.verdict(), report.undecided), (Verdict::Corrupt, 1));
    assert_eq!(report.beyond.records, 0);
    let log = disk.log();
    let mut scan = Scan::new(&log).window(4096);
    let mut heard = 0;
    while let Some(found) = scan.next().unwrap() {
        heard = heard.max(found.durable);
    }
    assert_eq!(heard, 8192 + 49 * (136 + 48));
}

#[test]
fn commits_in_damage_are_proven_as_far_as_a_promise_reaches() {
    let mut bench = Bench::new();
    let ends: Vec<u64> = (0..4)
        .map(|_| {
            bench.write(0, &pattern(100, 1));
            bench.commit()
        })
        .collect();
    bench.promise_to(ends[1]);
    bench.write(0, &pattern(40_000, 1));
    bench.commit();
    let report = bench.disk().zero(0, 8192..8200).report();
    assert_eq!(report.verdict(), Verdict::Corrupt);
    assert_eq!(report.undecided, 3, "the third, the fourth and the fifth");
}

#[test]
fn a_mark_of_closing_in_damage_is_no_transaction() {
    let mut bench = Bench::new();
    bench.write(0, &pattern(100, 1));
    bench.commit();
    bench.promise();
    bench.close();
    let report = bench.disk().zero(0, 8192..8200).report();
    assert_eq!((report.verdict(), report.undecided), (Verdict::Corrupt, 0));
}

#[test]
fn after_damage_the_transaction_is_known_from_its_commit_on() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.write(0, &pattern(100, 1));
        bench.commit();
    }
    bench.write(0, &pattern(40_000, 1));
    bench.set_len(1);
    bench.commit();
    bench.write(0, &pattern(100, 1));
    bench.commit();
    let records = bench.disk().zero(0, 8192..32768).scan().records;
    let transactions: Vec<_> = records.iter().map(|record| (record.kind, record.meta.transaction)).collect();
    assert_eq!(transactions, [("write", 0), ("setlen", 0), ("commit", 4), ("write", 5), ("commit", 5)]);
}

#[test]
fn a_flipped_bit_of_a_header_is_put_back_however_many_there_are() {
    let mut bench = Bench::new();
    let mut places = vec![RECORDS_START as u64];
    for _ in 0..100 {
        bench.write(0, &pattern(100, 1));
        places.push(bench.commit());
    }
    let disk = places[..100].iter().fold(bench.disk(), |disk, &place| disk.flip(0, place + 9, 3));
    let report = disk.report();
    assert_eq!((report.fault_count, report.beyond.records), (100, 100));
}

#[test]
fn a_checkpoint_whose_flags_and_payload_disagree_is_damage() {
    let plain = Checkpoint { redo_lsn: Lsn::new(1, 8192), target_len: 7, state: None };
    let state = TargetState { crc: 5, role: Role::Intent };
    let with_state = Checkpoint { state: Some(state), ..plain };
    for (checkpoint, flags, verdict) in [
        (plain, 0, Verdict::Clean),
        (with_state, STATE, Verdict::Clean),
        (plain, STATE, Verdict::Corrupt),
        (with_state, 0, Verdict::Corrupt),
    ] {
        let header = SegmentHeader::parse(chained(1).file(0)).unwrap();
        let mut segment = SegmentWriter::create(Vec::new(), &header).unwrap();
        segment.append(RecordKind::Checkpoint, flags, &checkpoint.encode()).unwrap();
        segment.commit(header.created_ns).unwrap();
        segment.promise(segment.end()).unwrap();
        segment.close_mark(header.created_ns).unwrap();
        let name = chained(1).0[0].0.clone();
        let report = Disk(vec![(name, segment.finish().unwrap())]).report();
        assert_eq!(report.verdict(), verdict, "{checkpoint:?} with flags {flags:#x}");
    }
}
