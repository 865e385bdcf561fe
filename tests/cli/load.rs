//! `waltool load`: the inverse of `dump --json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};
use waltool::Verdict;
use waltool::format::{Role, Seen, TargetState};
use waltool::formats::native::encode::Entry;
use waltool::formats::native::layout::{Lsn, SegmentHeader, rest_of_block};
use waltool::formats::native::log_writer::{LogOptions, LogWriter};
use waltool::formats::native::payload::RecordKind;
use waltool::formats::native::writer::SegmentWriter;
use waltool::vfs::{self, FileTimes};
use waltool::wal::{DurableFile, Wal};

use crate::bench::{Bench, FIRST_COMMIT, Run, run, waltool};
use crate::logs::{self, verdict};

fn dump(log: &Path) -> String {
    let run = run(waltool().args(["dump", "--json"]).arg(log));
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    run.out
}

/// Loads `lines` as the log `copy`.
fn load(bench: &Bench, lines: &str) -> (Run, PathBuf) {
    let copy = bench.path("copy");
    let file = bench.file("log.ndjson", lines.as_bytes());
    (run(waltool().arg("load").arg(file).arg("--output").arg(&copy)), copy)
}

/// The lines without what is made anew: the nonces.
fn kept(lines: &str) -> Vec<Value> {
    let keep = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let object = line.as_object_mut().expect("an object");
        for key in ["nonce", "prev_nonce", "next_nonce"] {
            object.remove(key);
        }
        if object.get("kind") == Some(&json!("seal")) {
            object.remove("payload");
        }
        line
    };
    lines.lines().map(keep).collect()
}

fn round_trip(log: &Path) {
    let bench = Bench::new();
    let lines = dump(log);
    let (run, copy) = load(&bench, &lines);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", log.display());
    assert_eq!(kept(&dump(&copy)), kept(&lines), "{}", log.display());
    assert_eq!(verdict(&copy), Verdict::Clean);
}

/// Says that `lines` were refused, and checks that nothing is left of them.
fn refused(lines: &str, code: i32, why: &str) {
    let bench = Bench::new();
    let (run, _) = load(&bench, lines);
    assert_eq!((run.code, run.out.as_str()), (code, ""), "{lines}: {}", run.err);
    assert!(run.err.contains(why), "{lines}: {} lacks {why}", run.err);
    assert_eq!(logs::files(bench.dir.path()).into_keys().collect::<Vec<_>>(), ["log.ndjson"]);
}

#[test]
fn each_clean_log_is_loaded_as_it_was_and_each_other_is_refused() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/native");
    let (mut clean, mut other) = (0, 0);
    for case in fs::read_dir(fixtures).expect("the fixtures") {
        let log = case.expect("a case").path().join("log");
        if verdict(&log) == Verdict::Clean {
            round_trip(&log);
            clean += 1;
        } else {
            refused(&dump(&log), 7, "waltool repair --salvage");
            other += 1;
        }
    }
    assert!(clean >= 15 && other >= 25, "{clean} clean, {other} others");
}

#[test]
fn a_rotated_log_keeps_its_segments_and_a_salvaged_one_its_numbers() {
    let bench = Bench::new();
    round_trip(&bench.native_in_segments("rotated", 40, 9000));
    let log = bench.native("hit", 5);
    bench.flip(&log.join("00000001.wal"), 8192 + 200);
    let salvaged = bench.path("salvaged");
    let run = run(waltool().args(["repair", "--salvage", "--output"]).arg(&salvaged).arg(&log));
    assert_eq!(run.code, 0, "{}", run.err);
    round_trip(&salvaged);
}

#[test]
fn a_block_that_another_writer_filled_early_is_filled_early_again() {
    let bench = Bench::new();
    let log = bench.native("log", 1);
    let path = log.join("00000001.wal");
    let header = SegmentHeader::parse(&fs::read(&path).expect("a segment")).expect("a header");
    let mut segment = SegmentWriter::create(Vec::new(), &header).expect("a segment");
    for _ in 0..2 {
        segment.data(b"x").expect("a record");
        segment.append(RecordKind::Pad, 0, &vec![0; rest_of_block(segment.end().into()) - 24]).expect("a pad");
        segment.commit(9).expect("a commit");
    }
    fs::write(&path, segment.finish().expect("bytes")).expect("a log");
    round_trip(&log);
}

/// Bytes short, long, and around the ends of blocks.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![0..40_usize, 480..560_usize, 24_500..24_600_usize, 32_700..32_800_usize, 0..100_000_usize];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_a_writer_writes_is_loaded_as_it_was(
        transactions in prop::collection::vec(prop::collection::vec((0..4, any::<u32>(), bytes()), 0..4), 1..8),
        segment_limit in 8192..200_000_u64,
        finished: bool,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let options = LogOptions { log_id: [3; 16], target_id: [4; 16], created_ns: 5, segment_limit };
        let mut nonce = 0;
        let nonces = move || { nonce += 1; nonce };
        let mut writer = LogWriter::create(dir.path(), &options, nonces).expect("a log");
        for (time_ns, entries) in transactions.iter().enumerate() {
            let entries: Vec<_> = entries.iter().map(|(kind, number, bytes)| match kind {
                0 => Entry::Write { offset: (*number).into(), bytes },
                1 => Entry::SetLen((*number).into()),
                2 => Entry::Checkpoint { redo_lsn: Lsn::new(1, *number % 8192), target_len: 7, state: state(*number) },
                _ => Entry::Data(bytes),
            }).collect();
            writer.transaction(&entries, time_ns as u64).expect("a commit");
            if time_ns % 2 == 0 {
                writer.sync().expect("a sync");
            }
        }
        match finished {
            true => drop(writer.finish(1000).expect("a mark")),
            false => drop(writer),
        }
        round_trip(dir.path());
    }
}

#[test]
fn standard_input_is_read_and_the_result_is_one_line() {
    let bench = Bench::new();
    let lines = dump(&bench.native_in_segments("log", 40, 9000));
    let mut command = waltool();
    command.args(["load", "-", "--output", "copy"]).current_dir(bench.dir.path()).write_stdin(lines.clone());
    let text = run(&mut command);
    assert_eq!(text.out, "copy: 128 records, 40 transactions, 8 segments\n", "{}", text.err);
    let mut command = waltool();
    command.args(["load", "-", "--json", "-o", "second"]).current_dir(bench.dir.path()).write_stdin(lines);
    let json = &run(&mut command).json()[0];
    assert_eq!(
        (&json["log"], &json["verdict"], &json["format"]),
        (&"second".into(), &"clean".into(), &"native".into())
    );
    assert_eq!((&json["records"], &json["transactions"], &json["segments"]), (&128.into(), &40.into(), &8.into()));
    assert_eq!((&json["uncommitted"], &json["moved"]), (&0.into(), &0.into()));
}

#[test]
fn lines_without_headers_make_a_new_log() {
    let bench = Bench::new();
    let lines = dump(&bench.native_in_segments("log", 3, 8400));
    let records: Vec<_> = lines.lines().filter(|line| !line.contains("\"header\"")).collect();
    let (run, copy) = load(&bench, &records.join("\n"));
    assert_eq!(run.code, 0, "{}", run.err);
    let loaded = kept(&dump(&copy));
    assert_ne!(loaded[0]["log_id"], json!("07".repeat(16)));
    let is_record = |line: &&Value| line["span"] == "record";
    assert_eq!(
        loaded.iter().filter(is_record).collect::<Vec<_>>(),
        kept(&lines).iter().filter(is_record).collect::<Vec<_>>()
    );
}

#[test]
fn lines_can_be_written_by_hand() {
    let bench = Bench::new();
    let lines = format!(
        r#"{{"kind":"write","target_offset":2,"text":"hé","comment":"unknown fields are ignored"}}

{{"kind":"write","target_offset":0,"hex":"4142"}}
{{"kind":"write","payload":"05000000000000005a"}}
{{"kind":"setlen","target_len":7}}
{{"kind":"data","text":"","more":true}}
{{"kind":"data","hex":"ff","continues":true}}
{{"kind":"checkpoint","redo_lsn":"00000001:00002000","target_len":7}}
{{"kind":"commit","time":"{FIRST_COMMIT}"}}
{{"kind":"write","target_offset":0,"text":"never committed"}}"#
    );
    let (loaded, copy) = load(&bench, &lines);
    let expected =
        format!("{}: 9 records, 1 transaction, 1 segment; 1 record at the end not committed\n", copy.display());
    assert_eq!((loaded.out, loaded.err.as_str()), (expected, ""));
    let new = bench.path("new");
    let replay = run(waltool().arg("replay").arg(&copy).arg("--onto").arg(&new));
    assert_eq!(replay.code, 0, "{}", replay.err);
    assert_eq!(fs::read(&new).expect("a target"), "ABh\u{e9}Z\0".as_bytes());
    let commit = &kept(&dump(&copy))[9];
    assert_eq!((&commit["time"], &commit["first_off"]), (&FIRST_COMMIT.into(), &8192.into()));
    assert_eq!(verdict(&copy), Verdict::Clean);
}

/// Each of the things that a checkpoint can say of its target's content.
fn state(number: u32) -> Option<TargetState> {
    let times = FileTimes { modified_ns: u64::from(number) << 30, changed_ns: 1_795_140_600_000_000_001 };
    let role = match number % 4 {
        0 => return None,
        1 => Role::Intent,
        2 => Role::Fact(None),
        _ => Role::Fact(Some(Seen { inode: number.into(), times })),
    };
    Some(TargetState { crc: number, role })
}

#[test]
fn what_a_checkpoint_says_of_its_target_is_shown_and_loaded_from_what_is_shown() {
    let bench = Bench::new();
    let options = LogOptions { log_id: [3; 16], target_id: [4; 16], created_ns: 5, segment_limit: 1 << 20 };
    fs::create_dir(bench.path("log")).expect("a directory");
    let mut writer = LogWriter::create(&bench.path("log"), &options, || 7).expect("a log");
    let checkpoint = |number| Entry::Checkpoint { redo_lsn: Lsn::new(1, 8192), target_len: 9, state: state(number) };
    writer.transaction(&[0, 1, 2, 3].map(checkpoint), 1).expect("a commit");
    writer.finish(2).expect("a mark");
    let said: Vec<_> =
        kept(&dump(&bench.path("log"))).into_iter().filter(|line| line["kind"] == "checkpoint").collect();
    let fields = |line: &Value| ["target_crc", "state", "inode", "modified", "changed"].map(|key| line[key].clone());
    let (none, shown) = (Value::Null, "2026-11-20T02:10:00.000000001Z");
    assert_eq!(fields(&said[0]), [&none; 5].map(Value::clone));
    assert_eq!(fields(&said[1]), [json!("00000001"), json!("intent"), none.clone(), none.clone(), none.clone()]);
    assert_eq!(fields(&said[2]), [json!("00000002"), json!("fact"), none.clone(), none.clone(), none.clone()]);
    let modified = "1970-01-01T00:00:03.221225472Z";
    assert_eq!(fields(&said[3]), [json!("00000003"), json!("fact"), json!(3), json!(modified), json!(shown)]);
    // The payload is left out, so that each field is needed.
    let by_fields = said.iter().cloned().map(|mut line| {
        line.as_object_mut().expect("an object").remove("payload").expect("a payload");
        line.to_string()
    });
    let by_fields: Vec<String> = by_fields.collect();
    let (run, copy) = load(&bench, &format!("{}\n{{\"kind\":\"commit\"}}", by_fields.join("\n")));
    assert_eq!(run.code, 0, "{}", run.err);
    let payloads = |lines: &[Value]| lines.iter().map(|line| line["payload"].clone()).collect::<Vec<_>>();
    let loaded: Vec<_> = kept(&dump(&copy)).into_iter().filter(|line| line["kind"] == "checkpoint").collect();
    assert_eq!(payloads(&loaded), payloads(&said));
}

#[test]
fn a_checkpoint_that_contradicts_itself_is_refused() {
    let bench = Bench::new();
    let line = |rest: String| {
        let line = format!(r#"{{"kind":"checkpoint","redo_lsn":"00000001:00002000","target_len":7,{rest}}}"#);
        let (run, _) = load(&bench, &line);
        assert_eq!(run.code, 5, "{}", run.err);
        run.err
    };
    let seen = r#""inode":3,"modified":"2026-11-20T02:10:00Z","changed":"2026-11-20T02:10:00Z""#;
    for (rest, why) in [
        (r#""target_crc":"00000001""#.into(), "fact or intent"),
        (r#""state":"fact""#.into(), "a state needs target_crc"),
        (r#""target_crc":"00000001","state":"fiction""#.into(), "there are: fact, intent"),
        (r#""target_crc":"00000001","state":"fact","inode":3"#.into(), "belong together"),
        (format!(r#""target_crc":"00000001","state":"intent",{seen}"#), "an intent has no inode"),
    ] {
        let err = line(rest);
        assert!(err.contains(why), "{err}");
    }
    let payload = "0020000001000000".to_string() + "0700000000000000" + "01000000" + "01000000";
    let (run, _) = load(
        &bench,
        &format!(r#"{{"kind":"checkpoint","payload":"{payload}","state":"intent","target_crc":"00000001"}}"#),
    );
    assert!(run.code == 5 && run.err.contains("not those of the payload"), "{}", run.err);
}

#[test]
fn a_transaction_can_be_left_out_and_the_others_move_up() {
    let bench = Bench::new();
    let lines = dump(&bench.native("log", 4));
    let rest: Vec<_> = lines.lines().filter(|line| !line.contains("\"transaction\":2,")).collect();
    let (run, copy) = load(&bench, &rest.join("\n"));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("7 records stand elsewhere"), "{}", run.err);
    let numbers: Vec<_> = kept(&dump(&copy)).iter().filter(|line| line["commit"] == true).cloned().collect();
    assert_eq!(numbers.iter().map(|line| line["transaction"].clone()).collect::<Vec<_>>(), [1, 3, 4, 5]);
    assert_eq!(verdict(&copy), Verdict::Clean);
}

#[test]
fn a_line_that_is_wrong_is_named_with_what_is_wrong() {
    let good = r#"{"kind":"write","target_offset":0,"text":"x"}"#;
    let cases = [
        (r#"{"kind":"write","payload":"00zz"}"#, "payload: Invalid character 'z'"),
        (r#"{"kind":"write","payload":"000"}"#, "Odd number of digits"),
        (r#"{"kind":"write","payload":"0000"}"#, "a payload of 9 to 32744 bytes, not of 2"),
        (r#"{"kind":"write","target_offset":1,"payload":"000000000000000041"}"#, "by the payload it is 0"),
        (r#"{"kind":"write","target_offset":0,"bytes":2,"text":"x"}"#, "bytes is 2"),
        (r#"{"kind":"write","text":"x"}"#, "needs its payload, or target_offset"),
        (r#"{"kind":"data"}"#, "needs its payload, or hex or text"),
        (r#"{"kind":"data","hex":"00","text":"x"}"#, "say the same twice"),
        (r#"{"kind":"write","target_offset":18446744073709551615,"text":"x"}"#, "ends beyond the last offset"),
        (r#"{"kind":"write","target_offset":18446744073709551614,"text":"xy"}"#, "ends beyond the last offset"),
        (r#"{"kind":"setlen","target_len":-1}"#, "invalid value"),
        (r#"{"kind":"commit","commit":false}"#, "commit is false"),
        (r#"{"kind":"commit","time":"soon"}"#, "time: not a time like"),
        (r#"{"kind":"commit","transaction":0}"#, "transaction 0: numbers rise"),
        (r#"{"kind":"commit","close":true}"#, "not committed"),
        (r#"{"kind":"seal"}"#, "not committed"),
        (r#"{"kind":"pad"}"#, "unknown; there are: write, setlen"),
        (r#"{"span":"header","number":1}"#, "a header behind records that have none"),
        (r#"{"span":"record"}"#, "without its kind"),
        (r#"{"span":"tear\u001b"}"#, "unknown"),
        (r#"{"lsn":"1"}"#, "neither a span nor a kind"),
        (r#"{"kind":"write","targ"#, "not JSON: EOF"),
        ("\u{89}WALT", "not JSON"),
    ];
    for (line, why) in cases {
        refused(&format!("{good}\n{line}\n{good}\n"), 5, "log.ndjson: line 2: ");
        refused(&format!("{good}\n{line}"), 5, why);
    }
}

#[test]
fn lines_that_contradict_each_other_are_refused() {
    let bench = Bench::new();
    let lines = dump(&bench.native_in_segments("log", 3, 8400));
    let commit = lines.lines().position(|line| line.contains("\"commit\":true")).expect("a commit");
    let rest: Vec<_> = lines.lines().enumerate().filter(|(at, _)| *at != commit).map(|(_, line)| line).collect();
    refused(&rest.join("\n"), 5, "line 5: the transaction before it is not committed");
    refused(&lines.replacen("\"number\":2", "\"number\":4", 1), 5, "segment 4 behind segment 1");
    refused(&lines.replacen("\"next_segment\":2", "\"next_segment\":3", 1), 5, "next_segment is 3");
    let other = lines.replacen(&"07".repeat(16), &"08".repeat(16), 1);
    refused(&other, 5, "line 2: log_id is not what the first copy");
    refused(&other.replacen(&"07".repeat(16), &"08".repeat(16), 1), 5, "another log");
    let (sealed, _) = lines.split_once("{\"span\":\"header\",\"file\":\"00000002").expect("a second segment");
    refused(sealed, 5, "segment 1 is sealed");
    let lines = dump(&bench.native("one", 3));
    let behind = format!("{lines}{{\"kind\":\"data\",\"text\":\"x\"}}\n");
    refused(&behind, 5, "line 13: the segment has ended");
    let time = |second| format!("{{\"kind\":\"commit\",\"time\":\"2026-01-01T00:00:0{second}Z\"}}\n");
    refused(&format!("{}{}", time(2), time(1)), 5, "line 2: its time is before");
    let data = |number| format!("{{\"kind\":\"data\",\"text\":\"x\",\"transaction\":{number}}}\n");
    refused(&format!("{}{}", data(1), data(2)), 5, "the commit of transaction 1 is missing");
    let commit = |number| format!("{{\"kind\":\"commit\",\"transaction\":{number}}}\n");
    for (before, after) in [(5, 5), (5, 4), (5, 0), (u64::MAX - 1, 1)] {
        let rise = format!("line 2: transaction {after}: numbers rise");
        refused(&format!("{}{}", commit(before), commit(after)), 5, &rise);
        refused(&format!("{}{}{}", commit(before), data(after), commit(u64::MAX - 1)), 5, &rise);
    }
    refused(&commit(0), 5, "line 1: transaction 0: numbers rise");
    refused(&data(0), 5, "line 1: transaction 0: numbers rise");
    refused(&format!("{0}{0}", commit(u64::MAX)), 5, "line 1: transaction 18446744073709551615: numbers end");
}

#[test]
fn what_is_no_dump_of_a_native_log_is_refused() {
    let bench = Bench::new();
    let sqlite = dump(&bench.sqlite("clean-512-be"));
    refused(&sqlite, 5, "line 1: a header without a number is not of a native log");
    let (_, frames) = sqlite.split_once('\n').expect("lines");
    refused(frames, 5, "line 1: a frame of SQLite's log; only logs of the native format");
    refused("", 5, "what waltool dump --json prints");
    refused("\n\n", 5, "no header and no record");
    refused(&format!("{{\"kind\":\"data\",\"text\":\"{}\"}}", "x".repeat(1 << 20)), 5, "longer than 1048576 bytes");
    refused(
        &format!("{{\"kind\":\"data\",\"text\":\"{}\"}}", "x".repeat(40_000)),
        5,
        "at most 32744 bytes, not of 40000",
    );
    let beyond = r#"{"kind":"data","text":"x","beyond_damage":true}"#;
    refused(beyond, 7, "line 1: the record stands behind damage");
    let log = bench.native("log", 1);
    let run = run(waltool().arg("load").arg(&log).arg("--output").arg(bench.path("copy")));
    assert_eq!(run.code, 2);
    assert!(run.err.contains("waltool dump --json"), "{}", run.err);
}

#[test]
fn what_exists_is_never_replaced() {
    let bench = Bench::new();
    let lines = dump(&bench.native("log", 1));
    let copy = bench.file("copy", b"evidence");
    let (run, _) = load(&bench, &lines);
    assert_eq!((run.code, run.out.as_str()), (7, ""));
    assert!(run.err.contains("exists already"), "{}", run.err);
    assert_eq!(fs::read(copy).expect("the file"), b"evidence");
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let bench = Bench::new();
    let file = bench.file("log.ndjson", dump(&bench.native("log", 1000)).as_bytes());
    let before = fs::read_dir(bench.dir.path()).expect("a folder").count();
    let script = "ulimit -f 16; exec \"$0\" load \"$1\" --output \"$2\"";
    let binary = assert_cmd::cargo::cargo_bin("waltool");
    let output = Command::new("sh").args(["-c", script]).arg(binary).arg(file).arg(bench.path("copy")).output();
    let output = output.expect("a run");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{complaint}");
    assert!(complaint.contains("00000001.wal: cannot write"), "{complaint}");
    assert_eq!(fs::read_dir(bench.dir.path()).expect("a folder").count(), before);
}

#[test]
fn the_umask_decides_who_may_read_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let copy = load(&bench, r#"{"kind":"data","text":"x"}"#).1;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    fs::create_dir(bench.path("plain")).expect("a folder");
    fs::write(bench.path("plain/file"), "").expect("a file");
    assert_eq!(mode(&copy), mode(&bench.path("plain")));
    assert_eq!(mode(&copy.join("00000001.wal")), mode(&bench.path("plain/file")));
}

#[test]
fn the_way_on_from_a_transaction_that_no_file_can_hold_leaves_out_that_one() {
    let bench = Bench::new();
    let (path, log) = (bench.path("a file"), bench.path("a file.wal"));
    if vfs::real().len_max(bench.dir.path()).expect("a length") >= 1 << 62 {
        return println!("files can be so long here");
    }
    let file = DurableFile::open(&path).expect("a file");
    let mut first = file.begin();
    first.write(0, b"first");
    first.commit().expect("a commit");
    file.close().expect("a file");
    // As a program wrote it that did not ask the file system.
    let wal = Wal::open(&log).expect("a log");
    let mut far = wal.begin();
    far.write(0, b"lost!").write(1 << 62, b"far");
    far.commit().expect("a commit");
    let mut last = wal.begin();
    last.write(5, b" last");
    last.commit().expect("a commit");
    drop(wal);

    let error = DurableFile::open(&path).err().expect("a refusal").to_string();
    let command = error.lines().last().expect("a command").trim();
    let tools = assert_cmd::cargo::cargo_bin("waltool");
    let tools = tools.parent().expect("a folder").to_str().expect("text");
    let run = Command::new("sh").args(["-c", &format!("PATH={tools}:$PATH; {command}")]).output().expect("a run");
    assert!(run.status.success(), "{command}: {run:?}");
    fs::rename(&log, bench.path("kept")).expect("a name");
    fs::rename(bench.path("a file.wal.new"), &log).expect("a name");
    DurableFile::open(&path).expect("a file").close().expect("a file");
    assert_eq!(fs::read(&path).expect("a file"), b"first last");
}
