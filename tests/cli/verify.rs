//! `waltool verify`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::bench::{Bench, FIRST_COMMIT, Run, run, waltool};

fn verify(log: &Path) -> Run {
    run(waltool().arg("verify").arg(log))
}

fn verify_json(log: &Path) -> (i32, Value) {
    let run = run(waltool().args(["verify", "--json"]).arg(log));
    assert_eq!(run.err, "");
    let [line] = &run.json()[..] else { panic!("{} lines", run.out.lines().count()) };
    (run.code, line.clone())
}

#[test]
fn a_clean_log_is_one_line_and_exit_0() {
    let bench = Bench::new();
    let log = bench.native("log", 3);
    let clean = verify(&log);
    assert_eq!((clean.code, clean.err.as_str(), clean.out.lines().count()), (0, "", 1));
    let path = log.display();
    assert!(clean.out.starts_with(&format!("{path}: clean — 10 records, 3 whole transactions, ")), "{}", clean.out);
}

#[test]
fn the_first_line_of_a_corrupt_log_says_what_matters() {
    let bench = Bench::new();
    let log = bench.sqlite("bitflip-middle-512");
    let corrupt = verify(&log);
    assert_eq!(corrupt.code, 4);
    let path = log.display();
    let expected = [
        format!("{path}: corrupt — acknowledged data is damaged at offset 34336 (frame 65)"),
        "  proof      81 frames intact behind the damage, 11 of them commits: they were written later, so what stood \
         before was whole"
            .into(),
        "  damage     34336..34872  536 bytes  checksum: stored 1658d5946d06bcfb, computed 4c5dea94d39524fb".into(),
        "             one flipped bit explains it: byte 34561, bit 0".into(),
        "  before     64 frames, 7 whole transactions; 1 to 64".into(),
        "  committed  up to offset 31656, frame 59; 5 frames behind it not committed".into(),
        "  behind     intact: 81 frames, 10 whole transactions".into(),
        format!("  next       waltool repair --fix-bit {path}"),
        "             puts the flipped bit right and keeps the byte as it was; where that is not all:".into(),
        format!("             waltool repair --salvage --output {path}.salvaged {path}"),
        "             makes a new log of all whole transactions and leaves this one as it is".into(),
    ];
    assert_eq!(corrupt.out.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_json_has_exactly_the_promised_keys() {
    let bench = Bench::new();
    let log = bench.sqlite("bitflip-middle-512");
    let (code, line) = verify_json(&log);
    assert_eq!(code, 4);
    let file = "bitflip-middle-512.db-wal";
    let expected = json!({
        "log": log, "format": "sqlite", "verdict": "corrupt", "segments": 1, "bytes": 78288, "records": 64,
        "transactions": 7, "first": "1", "last": "64",
        "valid_end": {"file": file, "offset": 34336}, "committed_end": {"file": file, "offset": 31656},
        "salvageable": 81, "salvageable_transactions": 10, "stale_bytes": 0, "undecided": 0,
        "appended_behind": null,
        "damage": [{"file": file, "offset": 34336, "len": 536, "fault": "checksum",
            "detail": "checksum: stored 1658d5946d06bcfb, computed 4c5dea94d39524fb",
            "bit_flip": {"offset": 34561, "bit": 0}}],
        "proof": "81 frames intact behind the damage, 11 of them commits: they were written later, so what stood before was whole",
    });
    assert_eq!(line, expected);
}

#[test]
fn what_was_appended_behind_a_torn_tail_has_a_sentence_a_key_and_a_way_on() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/native/appended-behind-tear");
    let (code, line) = verify_json(format!("{root}/log").as_ref());
    let expected = json!({"file": "00000001.wal", "offset": 11400, "records": 6, "transactions": 3});
    assert_eq!((code, &line["appended_behind"]), (4, &expected));
    let told = verify(format!("{root}/log").as_ref());
    let sentence = "  appended   a program went on appending behind a torn tail at offset 11400: 6 records of 3 transactions that \
                    it has written since are behind it, and a normal recovery stops before them\n             1 of these \
                    transactions can be read whole; ";
    assert!(told.out.contains(sentence), "{}", told.out);
    assert!(told.out.contains("waltool repair --salvage --output "), "{}", told.out);

    let (code, line) = verify_json(format!("{root}-unpromised/log").as_ref());
    let expected = json!({"file": "00000001.wal", "offset": 11400, "records": 2, "transactions": 1});
    assert_eq!((code, &line["appended_behind"]), (4, &expected));
}

#[test]
fn a_clean_log_has_no_proof_and_no_damage() {
    let bench = Bench::new();
    let (code, line) = verify_json(&bench.native("log", 2));
    assert_eq!(
        (code, &line["verdict"], &line["proof"], &line["damage"]),
        (0, &json!("clean"), &json!(null), &json!([]))
    );
    assert_eq!(line["first"], "00000001:00002000");
}

#[test]
fn an_empty_log_has_neither_a_first_nor_a_last_record() {
    let bench = Bench::new();
    let (code, line) = verify_json(&bench.sqlite("header-only"));
    assert_eq!((code, &line["first"], &line["last"], &line["segments"]), (0, &json!(null), &json!(null), &json!(1)));
}

#[test]
fn a_torn_tail_is_exit_3_and_names_the_command_that_cuts() {
    let bench = Bench::new();
    let log = bench.sqlite("torn-midframe-1024");
    let torn = verify(&log);
    assert_eq!(torn.code, 3);
    assert!(torn.out.contains("torn-tail — a write never finished at offset 70248 (frame 68)"), "{}", torn.out);
    assert!(torn.out.contains("waltool repair --dry-run "), "{}", torn.out);
}

#[test]
fn a_missing_segment_is_incomplete_and_exit_4() {
    let bench = Bench::new();
    let log = bench.native_in_segments("log", 60, 12 * 1024);
    fs::remove_file(log.join("00000002.wal")).expect("a second segment");
    let text = verify(&log);
    assert_eq!(text.code, 4);
    assert!(text.out.contains("log: incomplete — segment 2 is missing; what is there is intact"), "{}", text.out);
    let (code, line) = verify_json(&log);
    assert_eq!((code, &line["verdict"]), (4, &json!("incomplete")));
    let damage = json!([{"file": "00000003.wal", "offset": 0, "len": 0, "fault": "missing-segment",
        "detail": "segment 2 is missing", "bit_flip": null}]);
    assert_eq!(line["damage"], damage);
}

#[test]
fn files_are_named_relative_to_the_log() {
    let bench = Bench::new();
    let log = bench.native("log", 3);
    bench.flip(&log.join("00000001.wal"), 8192 + 30);
    let (code, line) = verify_json(&log);
    assert_eq!((code, &line["damage"][0]["file"]), (4, &json!("00000001.wal")));
}

#[test]
fn more_damage_than_fits_a_screen_is_counted() {
    let bench = Bench::new();
    let log = bench.native("log", 60);
    for transaction in 0..30 {
        bench.flip(&log.join("00000001.wal"), 8192 + 136 * transaction + 30);
    }
    let text = verify(&log).out;
    assert!(text.contains("one flipped bit explains it"), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("… and ") && line.contains(" more; ")), "{text}");
    assert!(text.lines().count() < 40, "{text}");
}

#[test]
fn times_of_commits_are_printed_in_utc() {
    let bench = Bench::new();
    let log = bench.native("log", 2);
    bench.cut(&log.join("00000001.wal"), 8192 + 150);
    let text = verify(&log).out;
    assert!(text.contains(FIRST_COMMIT) || text.contains("committed  up to offset 8192"), "{text}");
}

#[test]
fn of_several_logs_the_worst_decides_and_errors_do_not_stop_the_others() {
    let bench = Bench::new();
    let clean = bench.native("clean", 2);
    let corrupt = bench.sqlite("bitflip-middle-512");
    let torn = bench.sqlite("torn-midframe-1024");
    let missing = bench.path("missing");
    let all = run(waltool().arg("verify").args([&clean, &missing, &corrupt, &torn]));
    assert_eq!(all.code, 6);
    assert!(all.err.contains("missing: cannot read: No such file"), "{}", all.err);
    let summary: Vec<_> = all.out.lines().rev().take(4).collect();
    for (line, word) in summary.iter().rev().zip(["clean", "not read", "corrupt", "torn-tail"]) {
        assert!(line.contains(word), "{line}");
    }
    let readable = run(waltool().args(["verify", "--json"]).args([&clean, &corrupt, &torn]));
    assert_eq!((readable.code, readable.json().len()), (4, 3));
    let mild = run(waltool().arg("verify").args([&clean, &torn]));
    assert_eq!(mild.code, 3);
}

#[test]
fn the_order_of_the_answers_is_that_of_the_arguments_for_any_number_of_threads() {
    let bench = Bench::new();
    let logs: Vec<_> = (0..12).map(|n| bench.native(&format!("log{n}"), 1 + 7 * (n % 4))).collect();
    let by_one = run(waltool().args(["verify", "--json", "-j1"]).args(&logs));
    let by_many = run(waltool().args(["verify", "--json", "-j8"]).args(&logs));
    assert_eq!((by_one.code, by_one.json().len()), (0, 12));
    assert_eq!(by_one.out, by_many.out);
}

#[test]
fn quiet_says_nothing_of_clean_logs() {
    let bench = Bench::new();
    let clean = bench.native("clean", 2);
    let quiet = run(waltool().args(["verify", "-q"]).arg(&clean));
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));
    let torn = run(waltool().args(["verify", "-q"]).arg(bench.sqlite("torn-midframe-1024")));
    assert!(torn.out.contains("torn-tail"));
}

#[test]
fn neither_bytes_nor_times_of_a_log_change() {
    let bench = Bench::new();
    let log = bench.sqlite("bitflip-middle-512");
    let (bytes, before) = (fs::read(&log).expect("a log"), fs::metadata(&log).expect("a log"));
    std::thread::sleep(std::time::Duration::from_millis(20));
    verify(&log);
    run(waltool().args(["dump", "--tail", "3"]).arg(&log));
    let after = fs::metadata(&log).expect("a log");
    let times = |m: &fs::Metadata| [m.mtime(), m.mtime_nsec(), m.atime(), m.atime_nsec(), m.ctime(), m.ctime_nsec()];
    assert_eq!(times(&after), times(&before));
    assert_eq!(fs::read(&log).expect("a log"), bytes);
    assert_eq!(fs::read_dir(bench.dir.path()).expect("a directory").count(), 1, "something was created");
}

#[test]
fn a_log_that_is_mostly_hole_takes_no_more_memory_than_another() {
    const LONG: u64 = 8 << 40;
    let bench = Bench::new();
    let log = bench.sqlite("clean-512-be");
    bench.cut(&log, LONG);
    // Address space, which the allocator takes 64 MiB of for each thread: far more than is used.
    let script = "ulimit -v 400000; exec \"$0\" verify -j 2 \"$1\"";
    let output = run(Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_waltool")]).arg(&log));
    assert_eq!(output.code, 3, "{}", output.err);
    assert!(output.out.contains("8.0 TiB"), "{}", output.out);
}

#[test]
fn standard_input_is_a_log_too() {
    let bench = Bench::new();
    let bytes = fs::read(bench.sqlite("bitflip-middle-512")).expect("a log");
    let stdin = run(waltool().args(["verify", "--json", "-"]).write_stdin(bytes));
    assert_eq!((stdin.code, &stdin.json()[0]["log"], &stdin.json()[0]["records"]), (4, &json!("-"), &json!(64)));
}

#[test]
fn format_overrides_what_the_log_looks_like() {
    let bench = Bench::new();
    let log = bench.sqlite("clean-512-be");
    let forced = run(waltool().args(["verify", "--format", "native", "--json"]).arg(&log));
    assert_eq!(forced.json()[0]["format"], "native");
    assert_ne!(forced.code, 0);
}
