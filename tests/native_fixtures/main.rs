//! The logs of `fixtures/native`: each is made again here, byte by byte, and read; what must come out stands in its
//! `expected.json`. `BLESS=1` writes the files anew. What is expected is worked out from the rules of `docs/formats/native.md`
//! where the case is made, never taken from what the program said.

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod single;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Disk, Segments};
use waltool::span::Kind;
use waltool::{Log, Report};

/// A log and what it must come to.
pub struct Case {
    name: &'static str,
    /// How it was made, in words.
    origin: &'static str,
    disk: Disk,
    expected: Expected,
}

/// The numbers of `verify --json`.
#[derive(Clone)]
pub struct Expected {
    verdict: &'static str,
    records: u64,
    transactions: u64,
    valid_end: (&'static str, u64),
    committed_end: (&'static str, u64),
    salvageable: u64,
    salvageable_transactions: u64,
    undecided: u64,
    stale_bytes: u64,
    damage: Vec<Damage>,
    appended_behind: Option<Appended>,
}

/// The offset of a tear in the first file, and how many records and transactions were appended behind it.
type Appended = (u64, u64, u64);

/// File, offset, length, fault, and the flipped bit where one explains it.
type Damage = (&'static str, u64, u64, &'static str, Option<(u64, u8)>);

const ONE: &str = "00000001.wal";
const TWO: &str = "00000002.wal";
const THREE: &str = "00000003.wal";

impl Expected {
    /// A clean log of one segment that ends with a commit which nothing proves durable.
    fn clean(records: u64, transactions: u64, end: u64) -> Self {
        Self {
            verdict: "clean",
            records,
            transactions,
            valid_end: (ONE, end),
            committed_end: (ONE, end),
            salvageable: 0,
            salvageable_transactions: 0,
            undecided: 1,
            stale_bytes: 0,
            damage: Vec::new(),
            appended_behind: None,
        }
    }

    fn json(&self) -> Value {
        let place = |(file, offset): (&str, u64)| json!({"file": file, "offset": offset});
        let damage = |&(file, offset, len, fault, flip): &Damage| {
            let flip = flip.map(|(offset, bit)| json!({"offset": offset, "bit": bit}));
            json!({"file": file, "offset": offset, "len": len, "fault": fault, "bit_flip": flip})
        };
        let appended = self.appended_behind.map(|(offset, records, transactions)| {
            json!({"file": ONE, "offset": offset, "records": records, "transactions": transactions})
        });
        json!({
            "verdict": self.verdict,
            "records": self.records,
            "transactions": self.transactions,
            "valid_end": place(self.valid_end),
            "committed_end": place(self.committed_end),
            "salvageable": self.salvageable,
            "salvageable_transactions": self.salvageable_transactions,
            "undecided": self.undecided,
            "stale_bytes": self.stale_bytes,
            "damage": self.damage.iter().map(damage).collect::<Vec<_>>(),
            "appended_behind": appended,
        })
    }
}

fn found(log: &Log, report: &Report) -> Value {
    let file = |segment: u32| log.segments()[segment as usize].name.to_str();
    let place = |place: waltool::report::Place| json!({"file": file(place.segment), "offset": place.offset});
    let damage = report.faults.iter().map(|span| {
        let (fault, flip) = match span.kind {
            Kind::Damage(fault) | Kind::Torn(fault) => (fault.name(), fault.flip()),
            Kind::Gap(gap) => (gap.name(), None),
            _ => panic!("{span:?} among the faults"),
        };
        let flip = flip.map(|flip| json!({"offset": flip.offset, "bit": flip.bit}));
        json!({"file": file(span.segment), "offset": span.offset, "len": span.len, "fault": fault, "bit_flip": flip})
    });
    let appended = report.appended_behind.map(|appended| {
        let (records, transactions) = (appended.records, appended.transactions);
        json!({"file": file(appended.tear.segment), "offset": appended.tear.offset, "records": records, "transactions": transactions})
    });
    json!({
        "verdict": report.verdict().name(),
        "records": report.prefix.records,
        "transactions": report.prefix.transactions,
        "valid_end": place(report.prefix.end),
        "committed_end": place(report.prefix.committed_end),
        "salvageable": report.beyond.records,
        "salvageable_transactions": report.beyond.transactions,
        "undecided": report.undecided,
        "stale_bytes": report.stale_bytes,
        "damage": damage.collect::<Vec<_>>(),
        "appended_behind": appended,
    })
}

fn cases() -> Vec<Case> {
    let cases: Vec<_> = single::cases().into_iter().chain(chain::cases()).collect();
    assert!(cases.len() >= 38, "{} cases", cases.len());
    cases
}

fn bless(folder: &Path, case: &Case) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder.join("log")).unwrap();
    for (name, bytes) in &case.disk.0 {
        fs::write(folder.join("log").join(name), bytes).unwrap();
    }
    fs::write(folder.join("origin.md"), format!("# {}\n\n{}\n", case.name, case.origin)).unwrap();
    let text = serde_json::to_string_pretty(&case.expected.json()).unwrap();
    fs::write(folder.join("expected.json"), text + "\n").unwrap();
}

fn on_disk(fixture: &support::fixtures::Fixture) -> Segments {
    fixture.segments.clone()
}

#[test]
fn every_native_fixture_is_as_it_is_made_and_comes_to_what_is_expected() {
    let room = support::fixtures::root().join("native");
    let cases = cases();
    if std::env::var_os("BLESS").is_some() {
        cases.iter().for_each(|case| bless(&room.join(case.name), case));
    }
    let fixtures: Vec<_> = support::fixtures::all().into_iter().filter(|fixture| fixture.room == "native").collect();
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    assert_eq!(fixtures.iter().map(|fixture| &fixture.case[..]).collect::<Vec<_>>(), names);

    let mut size = 0;
    for fixture in &fixtures {
        let case = cases.iter().find(|case| case.name == fixture.case).unwrap();
        let segments = on_disk(fixture);
        assert!(segments == case.disk.0, "{}: other bytes than this test makes", case.name);
        size += segments.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        assert!(room.join(case.name).join("origin.md").is_file(), "{}", case.name);

        let expected = fs::read_to_string(room.join(case.name).join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(expected, case.expected.json(), "{}: expected.json says otherwise than this test", case.name);
        for log in [fixture.log(), Log::open(&fixture.path, None).unwrap()] {
            let report = Report::of(&log, |_| {}).unwrap();
            let found = found(&log, &report);
            let show = |value: &Value| serde_json::to_string_pretty(value).unwrap();
            assert!(
                found == expected,
                "{}: found {}\nexpected {}\n({})",
                case.name,
                show(&found),
                show(&expected),
                case.origin
            );
        }
    }
    assert!(size < 1_300_000, "{size} bytes of fixtures");
}
