//! The laws of reading, over every format and every fixture. A law that met nothing, or a format without a fixture, fails.

mod support;

use std::collections::{BTreeSet, HashSet};
use std::process::Command;

use proptest::prelude::*;
use support::fixtures::{self, Fixture};
use support::{Noise, Owned, Read, Segments, assert_partition, log_of};
use waltool::format::Format;
use waltool::formats::{self, FORMATS};
use waltool::span::{Fault, Kind, Span};
use waltool::{Error, Log, Report, Scan, Verdict};

/// Files longer than this are sampled where a law would try every place.
const SMALL: usize = 16 * 1024;

/// Every fixture, with the name of each format among them.
fn met() -> Vec<Fixture> {
    let fixtures = fixtures::all();
    let met: BTreeSet<_> = fixtures.iter().map(|fixture| fixture.format.name()).collect();
    let known: BTreeSet<_> = FORMATS.iter().map(|format| format.name()).collect();
    assert_eq!(met, known, "every format has fixtures");
    fixtures
}

/// The fixtures whose verdict is clean; every format has one.
fn met_clean() -> Vec<Fixture> {
    let clean = |fixture: &Fixture| Report::of(&fixture.log(), |_| {}).is_ok_and(|r| r.verdict() == Verdict::Clean);
    let fixtures: Vec<_> = met().into_iter().filter(clean).collect();
    let formats: BTreeSet<_> = fixtures.iter().map(|fixture| fixture.format.name()).collect();
    assert_eq!(formats.len(), FORMATS.len(), "every format has a clean fixture: {formats:?}");
    fixtures
}

fn lens(segments: &Segments) -> Vec<u64> {
    segments.iter().map(|(_, bytes)| bytes.len() as u64).collect()
}

/// The spans of a log, as far as this program understands it.
fn spans(log: &Log, window: usize) -> Result<Vec<Span>, Error> {
    let mut scan = Scan::new(log).window(window);
    let mut spans = Vec::new();
    while let Some(found) = scan.next()? {
        spans.push(found.span);
    }
    Ok(spans)
}

/// All places of a small file; of a long one the ends of its spans, their neighbours, and `count` others.
fn places(len: usize, spans: &[Span], segment: usize, count: usize) -> Vec<usize> {
    if len <= SMALL {
        return (0..len).collect();
    }
    let mut noise = Noise(len as u64 | 1);
    let ends = spans.iter().filter(|span| span.segment as usize == segment).map(|span| span.end() as usize);
    let near = ends.step_by(1 + spans.len() / 100).flat_map(|end| [end.saturating_sub(1), end, end + 1]);
    let others = (0..count).map(|_| noise.below(len));
    near.chain(others).filter(|&at| at < len).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn spans_partition_every_segment_and_do_not_depend_on_the_window() {
    for fixture in met() {
        let log = fixture.log();
        let whole = Read::of(&log, waltool_window());
        assert_partition(&whole.spans, &lens(&fixture.segments), &fixture.name());
        for window in [1, 7, 64, 5000] {
            assert!(Read::of(&log, window) == whole, "{} by {window}", fixture.name());
        }
    }
}

/// What a scan reads at once when nobody says otherwise.
fn waltool_window() -> usize {
    256 * 1024
}

#[test]
fn a_cut_of_a_clean_log_gives_a_prefix_of_its_records_and_no_damage() {
    let mut cuts = 0;
    for mut fixture in met_clean() {
        let all = Read::of(&fixture.log(), 4096);
        if all.has(|kind| matches!(kind, Kind::Damage(_))) {
            // What a rolled-back transaction left is clean by its verdict only.
            continue;
        }
        let last = fixture.segments.len() - 1;
        let bytes = fixture.segments[last].1.clone();
        // The header of a later segment vouches for the end of the one before; without it, residue there is damage.
        let header = all.spans.iter().find(|span| span.segment > 0 && span.segment as usize == last);
        let least = header.map_or(0, |header| header.end() as usize);
        for at in places(bytes.len(), &all.spans, last, 300).into_iter().filter(|&at| at >= least) {
            fixture.segments[last].1 = bytes[..at].to_vec();
            let read = Read::of(&fixture.log(), 4096);
            let about = format!("{} cut at {at}", fixture.name());
            assert_partition(&read.spans, &lens(&fixture.segments), &about);
            assert!(same(&read.records, &all.records[..read.records.len().min(all.records.len())]), "{about}");
            // Frames of a rolled-back transaction begin with one that does not link, in a healthy log too.
            let leftover =
                |span: &Span| all.spans.contains(span) && matches!(span.kind, Kind::Damage(Fault::Unlinked { .. }));
            let damage = read.spans.iter().find(|span| matches!(span.kind, Kind::Damage(_)) && !leftover(span));
            assert_eq!(damage, None, "{about}");
            cuts += 1;
        }
    }
    assert!(cuts > 1000, "{cuts} cuts");
}

fn same(a: &[Owned], b: &[Owned]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.payload == b.payload && a.meta.lsn == b.meta.lsn)
}

#[test]
fn a_flipped_bit_adds_no_record_that_was_not_there() {
    let mut flips = 0;
    for mut fixture in met_clean() {
        let all = Read::of(&fixture.log(), 4096);
        let known: HashSet<_> = all.records.iter().map(|record| (record.meta.lsn, &record.payload[..])).collect();
        for segment in 0..fixture.segments.len() {
            for at in places(fixture.segments[segment].1.len(), &all.spans, segment, 300) {
                let bit = (at * 5 + segment) % 8;
                fixture.segments[segment].1[at] ^= 1 << bit;
                let read = Read::of(&fixture.log(), 4096);
                fixture.segments[segment].1[at] ^= 1 << bit;
                let new = read.records.iter().find(|record| !known.contains(&(record.meta.lsn, &record.payload[..])));
                assert!(new.is_none(), "{} segment {segment}, byte {at}, bit {bit}: {new:?}", fixture.name());
                flips += 1;
            }
        }
    }
    assert!(flips > 1000, "{flips} flips");
}

/// What was done to a fixture's bytes.
#[derive(Clone, Debug)]
enum Harm {
    Noise { at: usize, seed: u64, len: usize },
    Fill { at: usize, byte: u8, len: usize },
    Copy { from: usize, to: usize, len: usize },
    Cut(usize),
    Extend { seed: u64, len: usize },
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = || prop_oneof![0..200_000_usize, (0..400_usize).prop_map(|block| block * 512)];
    let len = || prop_oneof![1..40_usize, Just(512), Just(4096), 1..9000_usize];
    prop_oneof![
        (place(), 1..u64::MAX, len()).prop_map(|(at, seed, len)| Harm::Noise { at, seed, len }),
        (place(), prop_oneof![Just(0), Just(0xff), any::<u8>()], len()).prop_map(|(at, byte, len)| Harm::Fill {
            at,
            byte,
            len
        }),
        (place(), place(), len()).prop_map(|(from, to, len)| Harm::Copy { from, to, len }),
        place().prop_map(Harm::Cut),
        (1..u64::MAX, len()).prop_map(|(seed, len)| Harm::Extend { seed, len }),
    ]
}

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let range = |at: usize, len: usize, of: usize| {
            let at = at % (of + 1);
            at..(at + len).min(of)
        };
        let size = bytes.len();
        match *self {
            Self::Noise { at, seed, len } => {
                let range = range(at, len, size);
                let noise = Noise(seed).bytes(range.len());
                bytes[range].copy_from_slice(&noise);
            }
            Self::Fill { at, byte, len } => bytes[range(at, len, size)].fill(byte),
            Self::Copy { from, to, len } => {
                let to = range(to, len, size);
                let from = range(from, to.len(), size);
                let to = to.start..to.start + from.len();
                bytes.copy_within(from, to.start);
                debug_assert!(to.end <= size);
            }
            Self::Cut(at) => bytes.truncate(at % (size + 1)),
            Self::Extend { seed, len } => bytes.extend(Noise(seed).bytes(len)),
        }
    }
}

/// Laws 1 and 2 for bytes that may say that they are newer than this program, or that they are of several logs.
fn assert_lawful(log: &Log, segments: &Segments, about: &str) {
    let whole = spans(log, waltool_window());
    let small = spans(log, 7);
    match (whole, small) {
        (Ok(whole), Ok(small)) => {
            assert_eq!(whole, small, "{about}");
            assert_partition(&whole, &lens(segments), about);
            let report = Report::of(log, |_| {}).unwrap();
            assert_eq!(report.bytes, lens(segments).iter().sum::<u64>(), "{about}");
            let faults = whole.iter().filter(|span| support::is_fault(span)).count() as u64;
            assert!(report.fault_count == faults || report.verdict() == Verdict::Clean, "{about}");
        }
        (Err(Error::TooNew { offset: a, .. }), Err(Error::TooNew { offset: b, .. })) => assert_eq!(a, b, "{about}"),
        // Segments of two logs, as many of the one as of the other: nobody can tell which of them is meant.
        (Err(Error::Refused { why: a, .. }), Err(Error::Refused { why: b, .. })) if a.contains("several logs") => {
            assert_eq!(a, b, "{about}");
        }
        (whole, small) => panic!("{about}: {whole:?} against {small:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_partitioned(seed in 1..u64::MAX, len in 0..70_000_usize, sparse in any::<bool>()) {
        let mut bytes = Noise(seed).bytes(len);
        if sparse {
            bytes.iter_mut().filter(|byte| **byte > 12).for_each(|byte| *byte = 0);
        }
        for &format in FORMATS {
            let segments = [("00000001.wal".to_owned(), bytes.clone()), ("00000002.wal".to_owned(), bytes[len / 2..].to_vec())];
            let segments = segments[..if format.segments() == waltool::format::Segments::One { 1 } else { 2 }].to_vec();
            assert_lawful(&log_of(format, &segments), &segments, format.name());
        }
    }

    #[test]
    fn any_harm_to_a_log_is_partitioned(pick in any::<prop::sample::Index>(), segment in any::<prop::sample::Index>(), harms in prop::collection::vec(harm(), 1..5)) {
        for &format in FORMATS {
            let fixtures: Vec<_> = ALL.iter().filter(|(name, _)| *name == format.name()).collect();
            let mut segments = fixtures[pick.index(fixtures.len())].1.clone();
            let segment = segment.index(segments.len());
            harms.iter().for_each(|harm| harm.apply(&mut segments[segment].1));
            assert_lawful(&log_of(format, &segments), &segments, format.name());
        }
    }
}

/// The format and the bytes of each fixture.
static ALL: std::sync::LazyLock<Vec<(&'static str, Segments)>> =
    std::sync::LazyLock::new(|| met().into_iter().map(|fixture| (fixture.format.name(), fixture.segments)).collect());

/// Bytes that ask for as much memory as they can, each behind the beginning of a real log.
fn greedy(format: &dyn Format) -> Vec<(&'static str, Vec<u8>)> {
    const LEN: usize = 24 << 20;
    let fixtures: Vec<_> = ALL.iter().filter(|(name, _)| *name == format.name()).collect();
    let longest = fixtures.iter().map(|(_, segments)| &segments[0].1).max_by_key(|bytes| bytes.len()).unwrap();
    let behind_head = |fill: &mut dyn FnMut(usize) -> Vec<u8>| {
        let mut bytes = longest[..longest.len().min(8192)].to_vec();
        bytes.extend(fill(LEN));
        bytes
    };
    let mut noise = Noise(11);
    let mut holes = longest.repeat(LEN / longest.len());
    holes.chunks_mut(8192).step_by(2).for_each(|chunk| chunk[..64].fill(0xff));
    vec![
        ("all bits set", behind_head(&mut |len| vec![0xff; len])),
        ("lengths of 2 GiB", behind_head(&mut |len| [0x7f, 0xff, 0xff, 0xff].repeat(len / 4))),
        ("small numbers", behind_head(&mut |len| [1, 0, 0, 0].repeat(len / 4))),
        ("noise", behind_head(&mut |len| noise.bytes(len))),
        ("one log again and again", longest.repeat(LEN / longest.len())),
        ("hit all over", holes),
    ]
}

/// Not a test of its own: reads the log named by `WALTOOL_GREEDY` and says how much memory that took.
#[test]
#[ignore = "run by memory_stays_bounded_whatever_the_bytes"]
fn read_a_greedy_log() {
    let Some(path) = std::env::var_os("WALTOOL_GREEDY") else { return };
    let format = std::env::var("WALTOOL_GREEDY_FORMAT").ok().and_then(|name| formats::by_name(&name));
    let log = Log::open(path.as_ref(), format).unwrap();
    assert!(matches!(spans_counted(&log), Ok(1..) | Err(Error::TooNew { .. })));
    assert!(matches!(Report::by_threads(&log, 2, |_| {}), Ok(_) | Err(Error::TooNew { .. })));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak {} kB", peak.trim().trim_end_matches(" kB"));
}

fn spans_counted(log: &Log) -> Result<usize, Error> {
    let mut scan = Scan::new(log);
    let mut count = 0;
    while scan.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[test]
fn memory_stays_bounded_whatever_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000001.wal");
    let mut logs = 0;
    for format in FORMATS {
        for (what, bytes) in greedy(*format) {
            std::fs::write(&path, &bytes).unwrap();
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "read_a_greedy_log", "--ignored", "--nocapture"])
                .env("WALTOOL_GREEDY", &path)
                .env("WALTOOL_GREEDY_FORMAT", format.name())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{} {what}: {text}", format.name());
            let peak = text.split("peak ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            let peak = peak.unwrap_or_else(|| panic!("{} {what}: {text}", format.name()));
            assert!(peak < 64 * 1024, "{} {what}: {peak} kB", format.name());
            logs += 1;
        }
    }
    assert!(logs >= 6 * FORMATS.len(), "{logs} logs");
}
