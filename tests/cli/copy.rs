//! `waltool copy`, by the command. Logs that are written meanwhile are in `tests/copy.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::bench::{Bench, Run, run, waltool};
use crate::logs::{Sqlite, cases, files, segment, verdict};
use waltool::Verdict;
use waltool::formats::native::layout::{HEADER_LEN, SegmentHeader, TWIN};

fn copy(log: &Path, new: &Path, options: &[&str]) -> Run {
    run(waltool().arg("copy").args(options).arg(log).arg(new))
}

#[test]
fn every_log_that_sqlite_left_is_copied_clean_or_refused() {
    let (mut copied, mut refused) = (0, 0);
    for case in cases() {
        let made = Sqlite::copy(&case);
        let (before, new) = (files(made.folder.path()), made.path("new-wal"));
        let output = copy(&made.log(), &new, &[]);
        match verdict(&made.log()) {
            Verdict::Clean | Verdict::TornTail => {
                assert_eq!((output.code, verdict(&new)), (0, Verdict::Clean), "{case}: {}", output.err);
                assert!(made.bytes("app.db-wal").starts_with(&made.bytes("new-wal")), "{case}");
                fs::remove_file(new).expect("a copy");
                copied += 1;
            }
            Verdict::Incomplete | Verdict::Corrupt => {
                assert_eq!((output.code, output.out.as_str()), (7, ""), "{case}: {}", output.err);
                refused += 1;
            }
        }
        assert_eq!(files(made.folder.path()), before, "{case}");
    }
    assert!(copied >= 10 && refused >= 5, "{copied} copied, {refused} refused");
}

#[test]
fn what_is_not_committed_is_left_out_and_said() {
    let made = Sqlite::copy("torn-midframe-1024");
    let output = copy(&made.log(), &made.path("a-wal"), &[]);
    assert!(
        output.out.ends_with(
            "a-wal: 63 frames, 12 transactions, 64.5 KiB; left out behind the last whole transaction: 4 frames, 4.8 KiB\n"
        ),
        "{}",
        output.out
    );
    let json = &copy(&made.log(), &made.path("b-wal"), &["--json"]).json()[0];
    assert_eq!((&json["verdict"], &json["verdict_after"]), (&"torn-tail".into(), &"clean".into()));
    assert_eq!((&json["records"], &json["transactions"], &json["last"]), (&63.into(), &12.into(), &"63".into()));
    assert_eq!((&json["records_left_out"], &json["bytes_left_out"]), (&4.into(), &4916.into()));
    assert_eq!(json["tries"], 1);
}

#[test]
fn a_flipped_bit_in_the_tail_is_pointed_to() {
    let made = Sqlite::copy("bitflip-last-4096");
    let output = copy(&made.log(), &made.path("new-wal"), &[]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.err.contains("a single flipped bit explains why not all was copied"), "{}", output.err);
}

#[test]
fn a_damaged_log_is_refused_with_the_proof_and_the_commands_that_work() {
    let made = Sqlite::copy("bitflip-middle-512");
    let new = made.path("new one");
    let output = copy(&made.log(), &new, &[]);
    assert_eq!(output.code, 7, "{}", output.out);
    assert!(output.err.contains("the log is corrupt: 81 frames intact behind the damage"), "{}", output.err);
    let commands = output.err.lines().filter_map(|line| line.split_once(":  ")).map(|(_, command)| command.trim());
    let commands: Vec<_> = commands.collect();
    assert_eq!(commands.len(), 2, "{}", output.err);
    let binary = Path::new(env!("CARGO_BIN_EXE_waltool")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    for command in commands {
        let run = run(assert_cmd::Command::new("sh").env("PATH", &path).args(["-c", command]));
        assert_eq!(run.code, 0, "{command}: {}", run.err);
        fs::remove_file(&new).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

#[test]
fn a_log_with_a_lost_segment_is_refused() {
    let bench = Bench::new();
    for name in ["middle", "last"] {
        let log = bench.native_in_segments(name, 8, 9000);
        let last = fs::read_dir(&log).expect("a log").count() as u32;
        let lost = if name == "middle" { 2 } else { last };
        fs::remove_file(segment(&log, lost)).expect("a segment");
        let output = copy(&log, &bench.path("new"), &[]);
        assert_eq!(output.code, 7, "without segment {lost} of {last}: {}", output.out);
        assert!(output.err.contains("the log is incomplete"), "{}", output.err);
        assert!(!bench.path("new").exists());
    }
}

#[test]
fn nothing_is_replaced_and_nothing_is_put_among_the_segments() {
    let bench = Bench::new();
    let log = bench.native_in_segments("log", 8, 9000);
    let before = files(&log);
    fs::create_dir(bench.path("empty")).expect("a folder");
    for new in [bench.path("empty"), log.clone(), segment(&log, 1), segment(&log, 99)] {
        let output = copy(&log, &new, &[]);
        assert_eq!(output.code, 7, "{}: {}", new.display(), output.out);
    }
    let other = bench.path("00000009.wal");
    let output = copy(&segment(&log, 1), &other, &[]);
    assert_eq!(output.code, 7, "{}", output.out);
    assert!(output.err.contains("another segment"), "{}", output.err);
    let own = bench.path("00000001.wal");
    assert_eq!(copy(&segment(&log, 1), &own, &[]).code, 0);
    assert_eq!(verdict(&own), Verdict::Clean);
    assert_eq!(files(&log), before);
    assert_eq!(fs::read_dir(bench.dir.path()).expect("a folder").count(), 3, "log, empty and a segment");
}

#[test]
fn mode_and_owner_are_the_originals_and_its_time_of_access_is_not_touched() {
    let bench = Bench::new();
    let log = bench.native_in_segments("log", 8, 9000);
    let first = segment(&log, 1);
    fs::set_permissions(&log, fs::Permissions::from_mode(0o750)).expect("a mode");
    fs::set_permissions(&first, fs::Permissions::from_mode(0o640)).expect("a mode");
    // Only root may give files away.
    let _ = chown(&log, Some(65534), Some(65534)).and_then(|()| chown(&first, Some(65534), Some(65534)));
    let names: Vec<String> = files(&log).into_keys().collect();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in &names {
        let file = fs::File::options().write(true).open(log.join(name)).expect("a segment");
        file.set_times(fs::FileTimes::new().set_accessed(long_ago)).expect("times");
    }
    let new = bench.path("new");
    assert_eq!(copy(&log, &new, &[]).code, 0);
    let of = |path: &Path| fs::metadata(path).map(|file| (file.mode(), file.uid(), file.gid())).expect("a file");
    assert_eq!(of(&new), of(&log));
    for name in &names {
        assert_eq!(of(&new.join(name)), of(&log.join(name)), "{name}");
        let accessed = fs::metadata(log.join(name)).and_then(|file| file.accessed()).expect("times");
        assert_eq!(accessed, long_ago, "{name}");
    }
}

#[test]
fn a_log_that_is_newer_is_named_by_its_own_name() {
    let bench = Bench::new();
    let log = bench.native("log", 1);
    crate::logs::change(&segment(&log, 1), |bytes| {
        let mut header = SegmentHeader::from_either(bytes).expect("a header");
        header.incompatible = 1;
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        bytes[TWIN..TWIN + HEADER_LEN].copy_from_slice(&header.encode());
    });
    let output = copy(&log, &bench.path("new"), &[]);
    assert_eq!(output.code, 5, "{}", output.err);
    assert!(output.err.contains("log/00000001.wal: offset 0: "), "{}", output.err);
}

#[test]
fn a_log_that_is_locked_is_copied_all_the_same() {
    let bench = Bench::new();
    let log = bench.native_in_segments("log", 8, 9000);
    let lock = fs::File::create(log.join("LOCK")).expect("a lock file");
    lock.lock().expect("a lock");
    assert_eq!(copy(&log, &bench.path("new"), &[]).code, 0);
    assert!(!bench.path("new/LOCK").exists());
}

#[test]
fn a_log_of_a_terabyte_that_is_all_hole_behind_its_end_is_copied_without_reading_it() {
    let made = Sqlite::copy("clean-4096-le");
    let whole = made.bytes("app.db-wal");
    fs::File::options().write(true).open(made.log()).expect("the log").set_len(1 << 40).expect("a sparse file");
    let output = copy(&made.log(), &made.path("new-wal"), &[]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(made.bytes("new-wal") == whole);
}

#[test]
fn a_stream_and_a_missing_name_are_usage_errors() {
    let bench = Bench::new();
    let log = bench.native("log", 1);
    assert_eq!(copy(Path::new("-"), &bench.path("new"), &[]).code, 2);
    assert_eq!(run(waltool().arg("copy").arg(&log)).code, 2);
    assert_eq!(copy(&bench.path("none"), &bench.path("new"), &[]).code, 6);
}
