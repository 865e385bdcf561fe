//! Two readers of one document: `walt1.py`, which follows `docs/formats/native.md` rule by rule, and this library. They
//! must agree on every native fixture, and on logs that are damaged or forged by chance. Where they differ, one of the
//! two is wrong, or the document does not say what is right.
//!
//! `WALTOOL_CASES` sets the number of damaged logs (4,000), `WALTOOL_SEED` the seed of the first. A failure prints it:
//! `WALTOOL_SEED=4711 WALTOOL_CASES=1 cargo test --test conformance`.

#[macro_use]
#[path = "../support/figure.rs"]
mod figure;
#[path = "../support/mod.rs"]
mod support;

mod harm;
mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use harm::Harm;
use python::Python;
use serde_json::{Value, json};
use support::{Bench, Noise, Segments, fixtures, pattern};
use waltool::error::Error;
use waltool::formats::native::Native;
use waltool::report::Place;
use waltool::span::Kind;
use waltool::{Log, Report, Result, Scan};

/// Differences that a failure shows.
const SHOWN: usize = 10;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What the library says of a log, in the words of the other reader: a line for the log, and one for each record.
fn library(path: &Path) -> Vec<Value> {
    match read(path) {
        Ok(lines) => lines,
        Err(Error::TooNew { .. }) => vec![json!({"verdict": "newer"})],
        Err(Error::Refused { .. }) => vec![json!({"verdict": "refused"})],
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let log = Log::open(path, Some(&Native))?;
    let report = Report::of(&log, |_| {})?;
    let file = |segment: u32| log.segments()[segment as usize].name.to_str();
    let (mut damage, mut records) = (Vec::new(), Vec::new());
    let mut scan = Scan::new(&log);
    while let Some(found) = scan.next()? {
        let span = found.span;
        if let Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_) = span.kind {
            damage.push(json!({"file": file(span.segment), "offset": span.offset, "len": span.len}));
        }
        if let Some(record) = found.record {
            let transaction = (record.meta.transaction > 0).then_some(record.meta.transaction);
            let kind = log.format().kind(&record);
            records.push(json!({
                "file": file(span.segment), "offset": span.offset, "len": span.len,
                "kind": kind, "transaction": transaction,
            }));
        }
    }
    let place = |place: Place| json!({"file": file(place.segment), "offset": place.offset});
    let mut lines = vec![json!({
        "verdict": report.verdict().name(),
        "records": report.prefix.records,
        "transactions": report.prefix.transactions,
        "salvageable": report.beyond.records,
        "salvageable_transactions": report.beyond.transactions,
        "undecided": report.undecided,
        "stale_bytes": report.stale_bytes,
        "valid_end": place(report.prefix.end),
        "committed_end": place(report.prefix.committed_end),
        "damage": damage,
    })];
    lines.append(&mut records);
    Ok(lines)
}

/// Where the two differ first.
fn difference(path: &Path, python: &mut Python) -> Option<String> {
    let (library, other) = (library(path), python.read(path));
    for (at, (ours, theirs)) in library.iter().zip(&other).enumerate() {
        let keys = ours.as_object().into_iter().chain(theirs.as_object()).flat_map(|object| object.keys());
        let differing: BTreeSet<_> = keys.filter(|key| ours[&key[..]] != theirs[&key[..]]).collect();
        if !differing.is_empty() {
            return Some(format!("line {at} differs in {differing:?}\n  the library: {ours}\n  walt1.py:    {theirs}"));
        }
    }
    let (ours, theirs) = (library.len() - 1, other.len() - 1);
    (ours != theirs).then(|| format!("the library lists {ours} records, walt1.py {theirs}"))
}

fn native_fixtures() -> Vec<fixtures::Fixture> {
    fixtures::all().into_iter().filter(|fixture| fixture.room == "native").collect()
}

#[test]
fn the_other_reader_agrees_over_every_fixture() {
    let Some(mut python) = Python::start() else { return };
    for fixture in native_fixtures() {
        let files = fixture.segments.iter().map(|(name, _)| fixture.path.join(name));
        for path in files.chain([fixture.path.clone()]) {
            assert_eq!(difference(&path, &mut python), None, "{}", path.display());
        }
        let text = fs::read_to_string(fixture.path.with_file_name("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let found = &python.read(&fixture.path)[0];
        for (key, value) in found.as_object().unwrap().iter().filter(|(key, _)| *key != "damage") {
            assert_eq!(value, &expected[key], "{}: {key}", fixture.name());
        }
    }
}

#[test]
fn the_other_reader_agrees_where_chance_hardly_goes() {
    let Some(mut python) = Python::start() else { return };
    let room = tempfile::tempdir().unwrap();
    // A block with room for a PAD and not for the SEAL, and the PAD is damaged: the SEAL does not promise it.
    let mut bench = Bench::new();
    bench.write(0, &pattern(24_472, 1));
    assert_eq!(bench.commit(), 32_744);
    bench.rotate();
    let seal = bench.disk().zero(0, 32_744..32_760).0;
    // A block with room for no header, whose rest is not zero.
    let mut bench = Bench::new();
    bench.write(0, &pattern(24_480, 1));
    assert_eq!(bench.commit(), 32_752);
    bench.write(0, b"the next block");
    bench.commit();
    let rest = bench.disk().flip(0, 32_760, 3).0;
    for (about, log) in [("seal", seal), ("rest", rest)] {
        let folder = write(&room.path().join(about), &log);
        let first = folder.join(&log[0].0);
        assert_eq!(library(&first)[0]["verdict"], "torn-tail", "{about}");
        assert_eq!(difference(&first, &mut python), None, "{about}");
        assert_eq!(difference(&folder, &mut python), None, "{about}");
    }
}

#[test]
fn the_other_reader_agrees_over_damage_of_every_kind() {
    let Some(mut python) = Python::start() else { return };
    let (cases, first) = (from_environment("WALTOOL_CASES", 4_000), from_environment("WALTOOL_SEED", 1));
    let logs: Vec<Segments> = native_fixtures().into_iter().map(|fixture| fixture.segments).collect();
    let room = tempfile::tempdir().unwrap();
    let (mut verdicts, mut harms, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for seed in first..first + cases {
        let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut log =
            if noise.below(2) == 0 { harm::long_log(&mut noise) } else { logs[noise.below(logs.len())].clone() };
        let done: Vec<Harm> = (0..1 + noise.below(3)).map(|_| Harm::some(&mut log, &mut noise)).collect();
        let folder = write(&room.path().join(seed.to_string()), &log);
        let alone = noise.below(8) == 0;
        let path = if alone { folder.join(&log[noise.below(log.len())].0) } else { folder.clone() };
        if let Some(difference) = difference(&path, &mut python) {
            wrong.push(format!("WALTOOL_SEED={seed} WALTOOL_CASES=1 ({done:?}): {difference}"));
        }
        *verdicts.entry(library(&path)[0]["verdict"].to_string()).or_insert(0) += 1;
        done.into_iter().for_each(|harm| *harms.entry(harm).or_insert(0) += 1);
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{} of {cases} logs differ; the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(SHOWN)].join("\n")
    );
    figure!("{cases} logs from seed {first} on: {verdicts:?}, {harms:?}");
    if cases >= 1_000 {
        assert_eq!(verdicts.len(), 6, "a verdict that was never met: {verdicts:?}");
        assert_eq!(harms.len(), Harm::ALL.len(), "a harm that was never done: {harms:?}");
    }
}

fn write(folder: &Path, log: &Segments) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in log {
        fs::write(folder.join(name), bytes).unwrap();
    }
    folder.into()
}
