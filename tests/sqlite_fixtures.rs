//! Logs that SQLite wrote, with what is known of each. See `origin.md` in each case's folder.

mod sqlite;

use std::path::Path;

use serde_json::Value;
use sqlite::{assert_partition, cases, replayed, report, spans};
use waltool::bitflip::Flip;
use waltool::{Log, Report};

/// Cases that must be there: a walk that finds none proves nothing.
const CASES_MIN: usize = 23;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Calls `check` with each case's name, its log, and what is expected of it.
fn each_case(mut check: impl FnMut(&str, &Path, &Value)) {
    let cases = cases();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(case.join("expected.json")).expect("what is expected");
        let expected = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(case.join("origin.md").exists(), "{name}: how was it made?");
        check(&name, case, &expected);
    }
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
}

fn bytes(case: &Path, file: &str) -> Vec<u8> {
    std::fs::read(case.join(file)).unwrap_or_else(|error| panic!("{}: {file}: {error}", case.display()))
}

#[test]
fn every_case_is_recognised_and_judged_as_its_making_says() {
    each_case(|name, case, expected| {
        let log = Log::open(&case.join("app.db-wal"), None).expect("recognised");
        assert_eq!(log.format().name(), "sqlite", "{name}");
        let report = Report::of(&log, |_| {}).expect("read");
        let (prefix, beyond) = (&report.prefix, &report.beyond);
        let verdict = Value::from(report.verdict().name());
        let verdicts = expected["verdict"].as_array().expect("verdicts");
        assert!(verdicts.contains(&verdict), "{name}: {verdict}, not {verdicts:?}");
        let found = [prefix.records, prefix.commits, prefix.transactions, prefix.end.offset];
        let wanted = ["records", "commits", "transactions", "valid_end"].map(|key| number(&expected[key]));
        assert_eq!(found, wanted, "{name}: records, commits, transactions, valid end");
        let found = [prefix.committed_records, prefix.committed_end.offset, report.stale_bytes];
        let wanted = ["committed_records", "committed_end", "stale_bytes"].map(|key| number(&expected[key]));
        // Leftovers of a rolled-back transaction count as stale, which a look at the salts alone does not tell.
        let leftovers = if name.starts_with("rollback-leftover") { report.bytes - prefix.end.offset } else { 0 };
        assert_eq!(found, [wanted[0], wanted[1], wanted[2] + leftovers], "{name}: committed records and end, stale");
        let salvageable = number(&expected["salvageable"][0])..=number(&expected["salvageable"][1]);
        assert!(salvageable.contains(&beyond.records), "{name}: {} beyond, not {salvageable:?}", beyond.records);
    });
}

#[test]
fn every_frame_that_can_be_proven_is_salvageable() {
    each_case(|name, case, expected| {
        let beyond = report(&bytes(case, "app.db-wal")).beyond.records;
        assert_eq!(beyond, number(&expected["salvageable"][1]), "{name}");
    });
}

#[test]
fn a_flipped_bit_is_named_where_one_was_flipped() {
    let mut flips = 0;
    each_case(|name, case, expected| {
        let report = report(&bytes(case, "app.db-wal"));
        let named: Vec<Flip> = report.faults.iter().filter_map(|span| span.kind.fault()?.flip()).collect();
        let made = expected["damage"].as_array().expect("damage").iter().filter(|damage| !damage["bit"].is_null());
        let made = made.map(|damage| Flip { offset: number(&damage["offset"]), bit: number(&damage["bit"]) as u8 });
        let made: Vec<Flip> = made.collect();
        assert_eq!(named, made, "{name}");
        flips += made.len();
    });
    assert_eq!(flips, 3);
}

#[test]
fn the_committed_frames_make_the_database_that_sqlite_makes() {
    each_case(|name, case, expected| {
        let log = Log::open(&case.join("app.db-wal"), None).expect("recognised");
        let image = replayed(&bytes(case, "app.db"), &log, number(&expected["committed_end"]));
        assert!(image == bytes(case, "expected.db"), "{name}: another database");
    });
}

#[test]
fn the_spans_are_the_same_whatever_is_read_at_once() {
    each_case(|name, case, _| {
        let bytes = bytes(case, "app.db-wal");
        let whole = spans(&bytes, 1024 * 1024);
        assert_partition(&whole, bytes.len());
        for window in [64, 5000] {
            assert_eq!(spans(&bytes, window), whole, "{name}, {window} bytes at once");
        }
        for window in [1, 7] {
            if bytes.len() < 80_000 {
                assert_eq!(spans(&bytes, window), whole, "{name}, {window} bytes at once");
            }
        }
    });
}
