//! `waltool repair`, by the command.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use rusqlite::Connection;

use crate::bench::{Run, run, waltool};
use crate::logs::{Sqlite, files, native, segment};

const WALTOOL: &str = env!("CARGO_BIN_EXE_waltool");

fn repair(log: &Path, options: &[&str]) -> Run {
    run(waltool().arg("repair").args(options).arg(log))
}

#[test]
fn without_a_terminal_it_shows_the_plan_and_names_the_command_that_works() {
    let made = Sqlite::copy("torn-midframe-1024");
    let before = files(made.folder.path());
    let output = repair(&made.log(), &[]);
    assert_eq!(output.code, 7, "{}", output.err);
    assert!(output.out.contains("plan:  cut app.db-wal at offset"), "{}", output.out);
    assert!(output.err.contains("waltool repair --yes "), "{}", output.err);
    assert_eq!(files(made.folder.path()), before);
}

#[test]
fn a_dry_run_changes_nothing_and_succeeds_where_the_repair_would() {
    let torn = Sqlite::copy("torn-midframe-1024");
    let corrupt = Sqlite::copy("bitflip-middle-512");
    for (made, options, exit) in [
        (&torn, &["--dry-run"][..], 0),
        (&corrupt, &["--dry-run"], 7),
        (&corrupt, &["--dry-run", "--cut-at-damage", "--accept-loss"], 0),
        (&corrupt, &["--dry-run", "--fix-bit"], 0),
        (&torn, &["--dry-run", "--fix-bit"], 7),
    ] {
        let before = files(made.folder.path());
        let output = repair(&made.log(), options);
        assert_eq!(output.code, exit, "{options:?}: {}", output.err);
        assert_eq!(files(made.folder.path()), before, "{options:?}");
    }
}

#[test]
fn a_dry_run_fails_where_the_repair_would_because_of_its_output() {
    let made = Sqlite::copy("torn-midframe-1024");
    let (taken, log) = (made.path("app.db"), made.log());
    for options in [&["--dry-run"][..], &["--dry-run", "--salvage"]] {
        for taken in [&taken, &log] {
            let output = repair(&log, &[options, &["--output", taken.to_str().expect("text")]].concat());
            assert_eq!(output.code, 7, "{options:?}: {}", output.out);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, false);
    let inside = segment(&log, 9);
    let output = repair(&log, &["--dry-run", "--output", inside.to_str().expect("text")]);
    assert_eq!(output.code, 7, "{}", output.out);
}

#[test]
fn a_log_of_which_nothing_is_left_is_taken_away_when_told_and_undone_from_another_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 1, 1 << 20, false);
    fs::File::options().write(true).open(segment(&log, 1)).expect("a segment").set_len(100).expect("cut");
    let (before, kept) = (files(&log), folder.path().join("kept"));
    fs::create_dir(&kept).expect("a folder");
    let kept = ["--quarantine-dir", kept.to_str().expect("text")];
    assert_eq!(repair(&log, &[&["--yes"][..], &kept].concat()).code, 7, "no crash takes a segment's header");
    let output = repair(&log, &[&["--yes", "--cut-at-damage", "--accept-loss"][..], &kept].concat());
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
    assert!(output.out.contains("the log is gone; what it was is kept"), "{}", output.out);
    assert_eq!(run(waltool().arg("verify").arg(&log)).code, 5);
    assert_eq!(repair(&log, &[&["--undo"][..], &kept].concat()).code, 0);
    assert_eq!(files(&log), before);
}

#[test]
fn the_commands_in_a_refusal_can_be_pasted_into_a_shell() {
    let made = Sqlite::copy("bitflip-middle-512");
    let log = made.path("my app.db-wal");
    fs::rename(made.log(), &log).expect("renamed");
    let output = repair(&log, &["--yes"]);
    let quoted = format!("waltool repair --fix-bit '{}'", log.display());
    assert!(output.err.contains(&quoted), "{}", output.err);
}

#[test]
fn yes_cuts_and_undo_puts_back() {
    let made = Sqlite::copy("torn-midframe-1024");
    let before = files(made.folder.path());
    assert_eq!(repair(&made.log(), &["--yes"]).code, 0);
    assert_eq!(run(waltool().arg("verify").arg(made.log())).code, 0);
    let again = repair(&made.log(), &["--yes"]);
    assert_eq!(again.code, 0);
    assert!(again.out.contains("nothing to repair"), "{}", again.out);
    assert_eq!(repair(&made.log(), &["--undo"]).code, 0);
    assert_eq!(files(made.folder.path()), before);
    assert_eq!(repair(&made.log(), &["--undo"]).code, 7, "nothing is left to undo");
}

#[test]
fn a_cut_points_to_the_single_bit_that_would_save_it() {
    let made = Sqlite::copy("bitflip-last-4096");
    let output = repair(&made.log(), &["--dry-run"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("waltool repair --fix-bit"), "{}", output.out);
}

#[test]
fn json_tells_the_plan_the_loss_and_what_was_kept() {
    let made = Sqlite::copy("bitflip-middle-512");
    let output = repair(&made.log(), &["--json", "--yes", "--cut-at-damage", "--accept-loss"]);
    assert_eq!(output.code, 0, "{}", output.err);
    let json = &output.json()[0];
    assert_eq!(json["verdict"], "corrupt");
    assert_eq!(json["edits"][0]["edit"], "truncate");
    assert_eq!((&json["loss"]["records"], &json["loss"]["transactions"]), (&81.into(), &10.into()));
    assert_eq!((&json["done"], &json["verdict_after"]), (&true.into(), &"clean".into()));
    let kept = json["quarantine"][0]["path"].as_str().expect("a path");
    assert_eq!(fs::read(kept).expect("kept").len(), 43952);
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for options in [
        &["repair", "-"][..],
        &["repair", "x", "--salvage"],
        &["repair", "x", "--accept-loss"],
        &["repair", "x", "--undo", "--fix-bit"],
        &["replay", "-", "--onto", "x"],
        &["replay", "x"],
    ] {
        let output = run(waltool().args(options));
        assert_eq!(output.code, 2, "{options:?}: {}", output.err);
    }
}

#[test]
fn a_log_that_sqlite_has_open_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    let connection = Connection::open(&database).expect("a database");
    connection
        .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2);")
        .expect("a log");
    let log = folder.path().join("app.db-wal");
    let mut bytes = fs::read(&log).expect("a log");
    bytes.truncate(bytes.len() - 100);
    fs::write(&log, &bytes).expect("torn");
    let locked = repair(&log, &["--yes"]);
    assert_eq!(locked.code, 7, "{}", locked.out);
    assert!(locked.err.contains("app.db: refused: another program has it open"), "{}", locked.err);
    assert_eq!(fs::read(&log).expect("a log"), bytes);
    let onto = run(waltool().arg("replay").arg(&log).arg("--onto").arg(&database));
    assert_eq!(onto.code, 7, "{}", onto.out);
    std::mem::forget(connection); // Closing would write the log back.
}

#[test]
fn a_native_log_whose_writer_holds_its_lock_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, false);
    let file = fs::File::options().write(true).open(segment(&log, 1)).expect("a segment");
    file.set_len(file.metadata().expect("a length").len() - 5).expect("torn");
    let lock = fs::File::open(log.join("LOCK")).expect("a lock file");
    lock.lock().expect("a lock");
    assert_eq!(repair(&log, &["--yes"]).code, 7);
    drop(lock);
    assert_eq!(repair(&log, &["--yes"]).code, 0);
}

#[test]
fn a_full_disk_leaves_the_log_untouched() {
    let made = Sqlite::copy("torn-midframe-1024");
    let tail = vec![0x33; 64 * 1024];
    let mut bytes = made.bytes("app.db-wal");
    bytes.extend_from_slice(&tail);
    fs::write(made.log(), bytes).expect("a long tail");
    let before = files(made.folder.path());
    // No file may grow past 16 KiB; without the trap the signal would end the command before it can say so.
    let script = "ulimit -f 16; exec \"$0\" repair --yes \"$1\"";
    let output = run(Command::new("bash").args(["-c", script, WALTOOL]).arg(made.log()));
    assert_eq!(output.code, 6, "{}", output.out);
    assert!(output.err.contains("cannot write"), "{}", output.err);
    assert_eq!(files(made.folder.path()), before);
}

#[test]
fn salvage_writes_a_new_log_and_says_what_is_left_out() {
    let made = Sqlite::copy("bitflip-middle-512");
    let new = made.path("new-wal");
    let options = ["--salvage", "--output", new.to_str().expect("text")];
    let output = repair(&made.log(), &options);
    assert_eq!(output.code, 0, "{}", output.err);
    let text = output.out;
    assert!(text.contains("17 whole transactions of 135 frames"), "{text}");
    assert!(text.contains("integrity_check"), "{text}");
    assert_eq!(repair(&made.log(), &options).code, 7, "never over a file that exists");
}

#[test]
fn a_log_of_a_terabyte_that_is_all_hole_behind_its_end_is_cut_and_put_back_without_reading_it() {
    const TERABYTE: u64 = 1 << 40;
    let made = Sqlite::copy("clean-4096-le");
    let whole = made.bytes("app.db-wal");
    fs::File::options().write(true).open(made.log()).expect("the log").set_len(TERABYTE).expect("a sparse file");
    let output = repair(&made.log(), &["--yes"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(made.bytes("app.db-wal"), whole);
    let undone = repair(&made.log(), &["--undo"]);
    assert_eq!(undone.code, 0, "{}", undone.err);
    assert_eq!(fs::metadata(made.log()).expect("the log").len(), TERABYTE);
    let copied = repair(&made.log(), &["--yes", "--output", made.path("new-wal").to_str().expect("text")]);
    assert_eq!(copied.code, 0, "{}", copied.err);
    assert_eq!(made.bytes("new-wal"), whole);
}
