//! `waltool dump`.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bench::{Bench, Run, of_span, run, waltool};

fn dump(log: &Path, arguments: &[&str]) -> Run {
    run(waltool().arg("dump").args(arguments).arg(log))
}

fn positions(log: &Path, arguments: &[&str]) -> Vec<String> {
    let run = dump(log, &[&["--json", "--no-payload"], arguments].concat());
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    of_span(&run.json(), "record").iter().map(|line| line["lsn"].as_str().expect("a position").into()).collect()
}

#[test]
fn rows_have_aligned_columns_under_a_head() {
    let bench = Bench::new();
    let text = dump(&bench.native("log", 2), &[]);
    assert_eq!((text.code, text.err.as_str()), (0, ""));
    let head = text.out.lines().next().expect("a head");
    let at = head.find("kind").expect("a column of kinds");
    let kinds: Vec<_> = text.out.lines().skip(3).map(|line| line[at..].split(' ').next().expect("a kind")).collect();
    assert_eq!(kinds, ["data", "write", "commit", "data", "write", "commit", "commit"]);
}

#[test]
fn a_record_is_a_json_object_with_its_fields() {
    let bench = Bench::new();
    let lines = dump(&bench.native("log", 1), &["--json"]).json();
    let header = of_span(&lines, "header")[0];
    assert_eq!((&header["offset"], &header["number"]), (&json!(0), &json!(1)));
    let expected = json!({"span": "record", "file": "00000001.wal", "offset": 8192, "len": 40,
        "lsn": "00000001:00002000", "kind": "data", "transaction": 1, "commit": false, "bytes": 13,
        "payload": hex::encode("transaction 0")});
    assert_eq!(*of_span(&lines, "record")[0], expected);
    let commit = of_span(&lines, "record")[2];
    assert_eq!((&commit["commit"], &commit["time"]), (&json!(true), &json!("2026-11-20T02:10:00Z")));
}

#[test]
fn damage_is_a_line_and_what_stands_behind_it_is_marked() {
    let bench = Bench::new();
    let log = bench.sqlite("bitflip-middle-512");
    let run = dump(&log, &["--json", "--no-payload"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "exit 0 when all was printed");
    let lines = run.json();
    let at = lines.iter().position(|line| line["span"] == "damage").expect("a damage");
    let damage = json!({"span": "damage", "file": "bitflip-middle-512.db-wal", "offset": 34336, "len": 536, "fault": "checksum",
        "detail": "checksum: stored 1658d5946d06bcfb, computed 4c5dea94d39524fb", "bit_flip": {"offset": 34561, "bit": 0}});
    assert_eq!(lines[at], damage);
    assert_eq!((at, lines.len()), (65, 1 + 64 + 1 + 81));
    assert!(lines[..at].iter().all(|line| line.get("beyond_damage").is_none()));
    assert!(lines[at + 1..].iter().all(|line| line["beyond_damage"] == true));
}

#[test]
fn text_says_that_a_log_is_not_whole() {
    let bench = Bench::new();
    let text = dump(&bench.sqlite("bitflip-middle-512"), &[]);
    assert_eq!(text.code, 0);
    assert_eq!(text.out.matches("beyond_damage").count(), 81);
    assert!(text.out.contains("one flipped bit explains it: byte 34561, bit 0"));
    assert!(text.err.contains("waltool verify"), "{}", text.err);
}

#[test]
fn strict_gives_the_code_of_the_verdict() {
    let bench = Bench::new();
    for (case, code) in [("bitflip-middle-512", 4), ("torn-midframe-1024", 3), ("clean-512-be", 0)] {
        let log = bench.sqlite(case);
        assert_eq!(dump(&log, &["--strict"]).code, code, "{case}");
        assert_eq!(dump(&log, &["--strict", "--limit=1"]).code, code, "{case}");
    }
}

#[test]
fn a_range_of_positions_has_both_its_ends() {
    let bench = Bench::new();
    let log = bench.sqlite("clean-512-be");
    assert_eq!(positions(&log, &["--from=3", "--to=5"]), ["3", "4", "5"]);
    assert_eq!(positions(&log, &["--from=117"]), ["117", "118"]);
    assert_eq!(positions(&log, &["--to=1"]), ["1"]);
    assert_eq!(positions(&log, &["--from=5", "--to=3"]), [""; 0]);
}

#[test]
fn an_offset_selects_the_record_that_covers_it() {
    let bench = Bench::new();
    let log = bench.sqlite("clean-512-be");
    let second = 32 + 536;
    assert_eq!(positions(&log, &[&format!("--from=@{second}"), "--limit=1"]), ["2"]);
    assert_eq!(positions(&log, &[&format!("--from=@{}", second + 535), "--limit=1"]), ["2"]);
    assert_eq!(positions(&log, &[&format!("--to=@{second}")]), ["1", "2"]);
    assert_eq!(positions(&log, &[&format!("--from=@{:#x}", second - 1), &format!("--to=@{}", second - 1)]), ["1"]);
}

#[test]
fn damage_belongs_to_a_range_that_reaches_around_it() {
    let bench = Bench::new();
    let log = bench.sqlite("bitflip-middle-512");
    for (arguments, damage) in [
        (["--from=1", "--to=64"], 0),
        (["--from=60", "--to=66"], 1),
        (["--from=65", "--to=65"], 1),
        (["--from=66", "--to=66"], 1),
        (["--from=67", "--to=70"], 0),
        (["--from=@34560", "--to=@34561"], 1),
        (["--from=@34872", "--to=@40000"], 0),
        (["--from=@0", "--to=@34335"], 0),
        (["--tail=3", "--kind=frame"], 0),
        (["--limit=65", "--kind=commit"], 1),
    ] {
        let run = dump(&log, &[&["--json"], &arguments[..]].concat());
        assert_eq!(of_span(&run.json(), "damage").len(), damage, "{arguments:?}");
    }
}

#[test]
fn the_tail_of_a_torn_log_shows_the_tear() {
    let bench = Bench::new();
    let log = bench.sqlite("torn-midframe-1024");
    let spans = |options: &[&str]| {
        let lines = run(waltool().args(["dump", "--json", "--no-payload"]).args(options).arg(&log)).json();
        lines.iter().map(|line| line["span"].as_str().expect("a word").to_string()).collect::<Vec<_>>()
    };
    assert_eq!(spans(&["--tail=2"]), ["header", "record", "record", "torn"]);
    assert_eq!(spans(&["--tail=1", "--kind=commit"]), ["header", "record", "torn"]);
    assert_eq!(spans(&["--tail=1", "--kind=commit", "--to=65"]), ["header", "record"]);
    assert_eq!(spans(&["--tail=1", "--to=@70247"]), ["header", "record"]);
    assert_eq!(spans(&["--limit=1"]), ["header", "record"]);
    assert!(run(waltool().args(["dump", "--tail=2"]).arg(&log)).err.contains("not all of it is intact"));
    bench.cut(&log, 100);
    assert_eq!(spans(&["--tail=2"]), ["header", "torn"]);
}

#[test]
fn limit_and_tail_count_the_records_that_the_other_options_select() {
    let bench = Bench::new();
    let log = bench.native("log", 5);
    let commits = positions(&log, &["--kind=commit"]);
    assert_eq!(commits.len(), 6, "five and the mark of closing");
    assert_eq!(positions(&log, &["--kind=commit", "--limit=2"]), commits[..2]);
    assert_eq!(positions(&log, &["--kind=commit", "--tail=2"]), commits[4..]);
    assert_eq!(positions(&log, &["--tail=1000"]).len(), 16);
    assert_eq!(positions(&log, &["--tail=0"]), [""; 0]);
    assert_eq!(positions(&log, &["--limit=0"]), [""; 0]);
    assert_eq!(positions(&log, &["--kind=data", "--kind=write"]).len(), 10);
}

#[test]
fn times_select_whole_transactions() {
    let bench = Bench::new();
    let log = bench.native("log", 5);
    let all = positions(&log, &[]);
    assert_eq!(positions(&log, &["--since=2026-11-20T02:10:01Z", "--until=2026-11-20 02:10:02"]), all[3..9]);
    assert_eq!(positions(&log, &["--until=2026-11-20T02:10:00.5Z"]), all[..3]);
    assert_eq!(positions(&log, &["--since=2026-11-20T03:10:04+01:00"]), all[12..]);
    assert_eq!(positions(&log, &["--since=2027-01-01"]), [""; 0]);
}

#[test]
fn times_select_over_segments() {
    let bench = Bench::new();
    let log = bench.native_in_segments("log", 60, 12 * 1024);
    let lines = dump(&log, &["--json", "--since=2026-11-20 02:10:10", "--until=2026-11-20 02:10:49"]).json();
    let commits: Vec<_> = of_span(&lines, "record").into_iter().filter(|line| line["kind"] == "commit").collect();
    assert_eq!(commits.len(), 40);
    assert_eq!(commits[39]["time"], "2026-11-20T02:10:49Z");
}

#[test]
fn what_cannot_be_selected_is_refused_with_what_can() {
    let bench = Bench::new();
    let (sqlite, native) = (bench.sqlite("clean-512-be"), bench.native_in_segments("log", 60, 12 * 1024));
    for (log, argument, says) in [
        (&sqlite, "--kind=comit", "there are: frame, commit"),
        (&sqlite, "--since=2026-11-20", "carry no time"),
        (&sqlite, "--from=abc", "@offset"),
        (&sqlite, "--to=@x", "not an offset"),
        (&native, "--from=@8192", "several segments"),
        (&native, "--from=17", "00000001:00002000"),
        (&native, "--since=yesterday", "2026-11-20T02:10:00Z"),
    ] {
        let run = dump(log, &[argument]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{argument}");
        assert!(run.err.contains(says), "{argument}: {}", run.err);
    }
}

#[test]
fn a_stream_cannot_be_read_twice_but_it_can_be_dumped() {
    let bench = Bench::new();
    let bytes = fs::read(bench.native("log", 3).join("00000001.wal")).expect("a segment");
    for argument in ["--tail=1", "--since=2026-11-20", "--until=2026-11-20"] {
        let run = run(waltool().args(["dump", argument, "-"]).write_stdin(bytes.clone()));
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{argument}");
        assert!(run.err.contains("only once"), "{}", run.err);
    }
    let run = run(waltool().args(["dump", "--json", "--kind=write", "-"]).write_stdin(bytes));
    assert_eq!((run.code, of_span(&run.json(), "record").len()), (0, 3));
}

#[test]
fn spans_account_for_every_byte() {
    let bench = Bench::new();
    let cases = [
        "restart-stale-1024",
        "bitflip-and-stale-1024",
        "garbage-tail-1024",
        "walheader-pagesize-4096",
        "uncommitted-hole-512",
    ];
    for case in cases {
        let log = bench.sqlite(case);
        let lines = dump(&log, &["--spans", "--json", "--no-payload"]).json();
        let mut end = 0;
        for line in &lines {
            assert_eq!(line["offset"], end, "{case}: {line}");
            end += line["len"].as_u64().expect("a length");
        }
        assert_eq!(end, fs::metadata(&log).expect("a log").len(), "{case}");
    }
}

#[test]
fn hex_shows_offsets_bytes_and_characters() {
    let bench = Bench::new();
    let text = dump(&bench.native("log", 1), &["--hex", "--kind=data"]).out;
    let panel = "    00000000  74 72 61 6e 73 61 63 74  69 6f 6e 20 30           |transaction 0|";
    assert_eq!(text.lines().last(), Some(panel));
}

#[test]
fn raw_is_the_payloads_and_nothing_else() {
    let bench = Bench::new();
    let raw = dump(&bench.native("log", 3), &["--raw", "--kind=data"]);
    assert_eq!((raw.code, raw.out.as_str()), (0, "transaction 0transaction 1transaction 2"));
}
