//! A report made by several threads is the same as one made by one, wherever the damage is.

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use support::{Bench, Noise, pattern};
use waltool::{Log, Report};

const BLOCK: u64 = 32 * 1024;
/// What one thread takes at a time.
const CHUNK: u64 = 2 * 1024 * 1024;

/// All that a report says.
fn facts(report: &Report) -> String {
    let Report {
        segments,
        bytes,
        prefix,
        beyond,
        faults,
        fault_count,
        fault_bytes,
        stale_bytes,
        unwritten_bytes,
        undecided,
        appended_behind,
        ..
    } = report;
    let proof = report.proof().map(|proof| proof.to_string());
    format!(
        "{} {} {proof:?} segments {segments} bytes {bytes}\nprefix {prefix:?}\nbeyond {beyond:?}\n{fault_count} faults of \
         {fault_bytes}: {faults:?}\n{appended_behind:?}\nstale {stale_bytes} unwritten {unwritten_bytes} undecided {undecided}",
        report.verdict(),
        report.row().label,
    )
}

/// The facts, if any number of threads finds the same.
fn agreed(path: &Path, about: &str) -> String {
    let log = Log::open(path, None).unwrap();
    let alone = facts(&Report::of(&log, |_| {}).unwrap());
    for threads in [2, 3, 5] {
        let many = facts(&Report::by_threads(&log, threads, |_| {}).unwrap());
        assert!(many == alone, "{about}, {threads} threads:\n{many}\nagainst one:\n{alone}");
    }
    alone
}

/// Nine MiB and more of transactions of many sizes, the last of them not promised.
fn long() -> Vec<u8> {
    let mut bench = Bench::new();
    let mut noise = Noise(5);
    while bench.end() < 9 << 20 {
        for _ in 0..1 + noise.below(4) {
            let len = if noise.below(20) == 0 { 30_000 + noise.below(40_000) } else { 1 + noise.below(2000) };
            bench.write(noise.next(), &pattern(len, len));
        }
        let end = bench.commit();
        if noise.below(3) == 0 {
            bench.promise_to(end);
        }
    }
    bench.disk().0.remove(0).1
}

#[test]
fn damage_in_any_chunk_is_reported_alike_by_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000001.wal");
    let bytes = long();
    fs::write(&path, &bytes).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let len = bytes.len() as u64;
    assert!(agreed(&path, "clean").starts_with("clean"));

    // Chunks begin at the first block behind the headers.
    let borders = (0..).map(|chunk| BLOCK + chunk * CHUNK).take_while(|&at| at < len);
    let mut places: Vec<u64> = borders.flat_map(|at| [at - 1, at, at + 30, at + CHUNK / 2 + 77]).collect();
    places.extend([4096, 8192, len - 1, len - 40, len - BLOCK]);
    places.retain(|&at| at < len);
    let mut hits = 0;
    for at in places {
        let zeroed = 700.min(len - at) as usize;
        for (what, hit) in [
            ("flipped", vec![bytes[at as usize] ^ 4]),
            ("zeroed", vec![0; zeroed]),
            ("garbage", Noise(at).bytes(zeroed)),
        ] {
            file.write_all_at(&hit, at).unwrap();
            let facts = agreed(&path, &format!("{what} at {at}"));
            file.write_all_at(&bytes[at as usize..at as usize + hit.len()], at).unwrap();
            hits += usize::from(!facts.starts_with("clean"));
        }
    }
    assert!(hits >= 60, "{hits} hits");

    for cut in [len - 1, len - 100, 3 * CHUNK + BLOCK, 2 * CHUNK + 5000, CHUNK, BLOCK, 9000] {
        fs::write(&path, &bytes[..cut as usize]).unwrap();
        agreed(&path, &format!("cut at {cut}"));
    }
}

#[test]
fn damage_in_two_chunks_is_reported_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000001.wal");
    let bytes = long();
    let mut noise = Noise(77);
    for round in 0..20 {
        let mut hit = bytes.clone();
        for _ in 0..1 + noise.below(6) {
            let at = noise.below(hit.len() - 5000);
            let len = 1 + noise.below(5000);
            hit[at..at + len].fill(0);
        }
        fs::write(&path, hit).unwrap();
        agreed(&path, &format!("round {round}"));
    }
}

#[test]
fn commits_that_a_late_promise_covers_in_part_are_counted_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000001.wal");
    let mut bench = Bench::new();
    let mut ends = Vec::new();
    // Some 90,000 small transactions, each of which promises what stood far before it.
    while bench.end() < 5 * CHUNK {
        ends.push(bench.commit());
        if ends.len().is_multiple_of(7919) {
            bench.promise_to(ends[ends.len() / 3]);
        }
    }
    let promised = ends[(ends.len() / 7919 * 7919) / 3];
    fs::write(&path, bench.disk().0.remove(0).1).unwrap();
    let facts = agreed(&path, "late promises");
    let undecided: u64 = facts.rsplit(' ').next().unwrap().parse().unwrap();
    let expected = ends.iter().filter(|&&end| end > promised).count() as u64;
    // Commits that are not among the last 4096 are counted by the block.
    assert!((expected..=expected + BLOCK / 48).contains(&undecided), "{undecided} of {expected}");
}

#[test]
fn a_seal_at_the_end_of_a_chunk_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000001.wal");
    let border = BLOCK + 2 * CHUNK;
    let mut bench = Bench::new();
    while bench.end() < border - BLOCK {
        bench.data(&pattern(5000, 1));
        bench.commit();
    }
    // Up to 32 bytes before the border: a DATA of what is left, and its COMMIT.
    let rest = border - bench.end() - 32 - 48 - 24;
    bench.data(&pattern(rest as usize, 2));
    bench.commit();
    bench.rotate();
    let mut bytes = bench.disk().0.remove(0).1;
    assert_eq!(bytes.len() as u64, border);
    bytes.resize((border + 3 * CHUNK) as usize, 0);
    fs::write(&path, bytes).unwrap();
    let facts = agreed(folder.path(), "sealed at the border");
    assert!(facts.starts_with("incomplete"), "{facts}");
}

#[test]
fn logs_of_several_segments_are_reported_alike() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    for segment in 0..3 {
        while bench.end() < 5 << 20 {
            bench.write(1, &pattern(9000, segment));
            bench.commit();
            bench.promise();
        }
        bench.rotate();
    }
    bench.commit();
    let disk = bench.disk();
    let write = |disk: &support::Disk| {
        disk.0.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
        agreed(folder.path(), "several segments")
    };
    assert!(write(&disk).starts_with("clean"));
    for segment in 0..3 {
        let facts = write(&disk.clone().zero(segment, 3_000_000..3_001_000));
        assert!(facts.starts_with("corrupt"), "{facts}");
        let facts = write(&disk.clone().cut(segment, 3_000_000));
        assert!(facts.starts_with("corrupt"), "{facts}");
    }
}
