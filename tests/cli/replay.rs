//! `waltool replay`, by the command.

use std::fs;
use std::path::Path;

use crate::bench::{run, waltool};
use crate::logs::{Sqlite, change, files, native, native_target, segment};

#[test]
fn a_corrupt_log_gives_the_state_before_the_damage_elsewhere_and_says_so() {
    let made = Sqlite::copy("bitflip-middle-512");
    let (onto, new) = (made.path("app.db"), made.path("new.db"));
    let refused = run(waltool().arg("replay").arg(made.log()).arg("--onto").arg(&onto));
    assert_eq!(refused.code, 7);
    assert!(refused.err.contains("--output NEW"), "{}", refused.err);
    let output = run(waltool().arg("replay").arg(made.log()).arg("--onto").arg(&onto).arg("--output").arg(&new));
    assert_eq!(output.code, 4);
    assert!(output.err.contains("THE LOG IS CORRUPT"), "{}", output.err);
    assert!(output.err.contains("81 frames and 11 commits behind it are not in it"), "{}", output.err);
    assert!(fs::read(&new).expect("a database") == made.bytes("expected.db"));
}

#[test]
fn a_dry_run_lists_what_would_change_and_changes_nothing() {
    let made = Sqlite::copy("clean-512-be");
    let (onto, before) = (made.path("app.db"), made.bytes("app.db"));
    let run = |options: &[&str]| run(waltool().arg("replay").arg(made.log()).arg("--onto").arg(&onto).args(options));
    let output = run(&["--dry-run"]);
    assert_eq!(output.code, 0, "{}", output.err);
    let (text, len) = (&output.out, made.bytes("expected.db").len());
    assert!(text.contains("changes: ") && text.contains(&format!("length:  {len} bytes")), "{text}");
    let output = run(&["--dry-run", "--json"]);
    let json = &output.json()[0];
    assert_eq!((&json["done"], &json["target_bytes"]), (&false.into(), &len.into()));
    assert!(made.bytes("app.db") == before);
}

#[test]
fn until_takes_a_position_an_offset_or_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, true);
    let commits = 8192 + 136; // a WRITE of 108 bytes and its header, then the commit
    for (number, until) in
        [(1, format!("@{commits}")), (1, format!("00000001:{commits:08x}")), (2, "1970-01-01T00:00:00.000002Z".into())]
    {
        let new = folder.path().join("new");
        let mut command = waltool();
        command.arg("replay").arg(&log).arg("--onto").arg(folder.path().join("none"));
        let output = run(command.args(["--until", &until, "--output"]).arg(&new));
        assert_eq!(output.code, 0, "{until}: {}", output.err);
        assert_eq!(fs::read(&new).expect("a target"), native_target(number), "{until}");
        fs::remove_file(&new).expect("removed");
    }
    let mut command = waltool();
    command.arg("replay").arg(&log).arg("--onto").arg(folder.path().join("none"));
    assert_eq!(run(command.args(["--until", "soon"])).code, 2);
}

#[test]
fn a_log_is_never_replayed_onto_itself_nor_among_its_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, true);
    let before = files(&log);
    let none = folder.path().join("none");
    let alias = folder.path().join("alias");
    std::os::unix::fs::symlink(segment(&log, 1), &alias).expect("a link");
    for (source, onto) in [(&log, segment(&log, 1)), (&segment(&log, 1), segment(&log, 1)), (&log, alias)] {
        let output = run(waltool().arg("replay").arg(source).arg("--onto").arg(&onto));
        assert_eq!(output.code, 7, "{}", output.err);
        assert!(output.err.contains("a file of the log, or"), "{}", output.err);
    }
    let mut command = waltool();
    command.arg("replay").arg(&log).arg("--onto").arg(&none).arg("--output").arg(segment(&log, 2));
    assert_eq!(run(&mut command).code, 7);
    assert_eq!(run(waltool().arg("replay").arg(&log).arg("--onto").arg(segment(&log, 2))).code, 7);
    assert_eq!(files(&log), before);
}

#[test]
fn a_size_limit_is_kept() {
    let made = Sqlite::copy("clean-512-be");
    let mut command = waltool();
    command.arg("replay").arg(made.log()).arg("--onto").arg(made.path("app.db"));
    let output = run(command.args(["--max-target-size", "1024"]));
    assert_eq!(output.code, 7, "{}", output.err);
}

#[test]
fn a_replay_in_place_keeps_a_sidecar_and_a_dry_run_tells_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, true);
    let target = folder.path().join("target");
    fs::write(&target, "").expect("a target");
    let replay = |options: &[&str]| run(waltool().arg("replay").arg(&log).arg("--onto").arg(&target).args(options));
    let dry = replay(&["--in-place", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("sidecar: none"), "{}", dry.out);
    assert!(replay(&["--dry-run", "--json"]).json()[0]["sidecar"].is_null());
    assert_eq!(replay(&["--in-place", "--until", "00000001:00002140"]).code, 0);
    assert_eq!(fs::read(&target).expect("a target"), native_target(2));
    let dry = replay(&["--dry-run"]);
    assert!(dry.out.contains("sidecar: the target holds the log up to 00000001:00002170"), "{}", dry.out);
    let at = "00000001:00002170";
    let expected = serde_json::json!({"state": "clean", "applied": at, "high": at});
    assert_eq!(replay(&["--dry-run", "--json"]).json()[0]["sidecar"], expected);
    // As an interrupted run leaves it: the second mark never reached the disk.
    change(&folder.path().join("target.waltool-applied"), |bytes| bytes[4096..].fill(0));
    let dry = replay(&["--dry-run"]);
    let interrupted = format!("sidecar: a replay up to {at} was interrupted");
    assert!(dry.out.contains(&interrupted), "{}", dry.out);
}

#[test]
fn a_refusal_by_the_sidecar_names_the_command_that_works_and_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, true);
    let (target, base, new) = (folder.path().join("target"), folder.path().join("base"), folder.path().join("new"));
    fs::write(&target, "").expect("a target");
    fs::write(&base, "").expect("its copy");
    let replay = |options: &[&str]| {
        run(waltool().current_dir(folder.path()).args(["replay", "log", "--until", "@8512"]).args(options))
    };
    let whole = run(waltool().arg("replay").arg(&log).arg("--onto").arg(&target).arg("--in-place"));
    assert_eq!(whole.code, 0, "{}", whole.err);
    let refused = replay(&["--onto", "target"]);
    assert_eq!((refused.code, refused.out.as_str()), (7, ""));
    assert!(refused.err.contains("waltool replay log --onto BASE --output NEW --until ..."), "{}", refused.err);
    let works = replay(&["--onto", "base", "--output", "new"]);
    assert_eq!((works.code, works.err.as_str()), (0, ""));
    assert_eq!(fs::read(&new).expect("a result"), native_target(2));
    // From the target itself it is written, with a warning.
    let doubtful = replay(&["--onto", "target", "--output", "newer"]);
    assert_eq!(doubtful.code, 0);
    assert!(doubtful.err.contains("may hold changes up to 00000001:00002258"), "{}", doubtful.err);
}

#[test]
fn the_help_says_what_is_assumed_of_a_target_without_a_sidecar() {
    let help = run(waltool().args(["replay", "--help"])).out;
    for part in ["TARGET.waltool-applied", "is taken at its word"] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn no_file_of_a_log_is_a_target_by_any_of_its_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, false);
    for name in ["LOCK", "00000002.wal.tmp", "00000001.wal.cut-at-9000.00000000.quarantine", "README"] {
        fs::write(log.join(name), "of the log").expect("a file");
    }
    let beside = |name: &str| folder.path().join(name);
    let (hard, soft) = (beside("hard"), beside("soft"));
    let other = beside("other");
    fs::create_dir(&other).expect("a folder");
    for (name, bytes) in files(&log) {
        fs::write(other.join(name), bytes).expect("a file");
    }
    let before = (files(&log), files(&other));
    let refused = |log: &Path, target: &Path| {
        for options in [&[][..], &["--in-place"], &["--dry-run"]] {
            let output = run(waltool().arg("replay").arg(log).arg("--onto").arg(target).args(options));
            assert_eq!(output.code, 7, "{} {options:?}: {} {}", target.display(), output.out, output.err);
        }
    };
    for name in before.0.keys() {
        fs::hard_link(log.join(name), &hard).expect("a name");
        std::os::unix::fs::symlink(log.join(name), &soft).expect("a name");
        let round = log.join("..").join(log.file_name().expect("a name")).join(name);
        for target in [&log.join(name), &round, &hard, &soft] {
            refused(&log, target);
            if name != "README" && !name.ends_with("quarantine") {
                refused(&segment(&log, 1), target);
            }
        }
        if name != "README" {
            refused(&log, &other.join(name));
        }
        fs::remove_file(&hard).and_then(|()| fs::remove_file(&soft)).expect("removed");
    }
    assert_eq!((files(&log), files(&other)), before);

    let target = beside("target");
    assert_eq!(run(waltool().arg("replay").arg(&log).arg("--onto").arg(&target)).code, 0);
    assert_eq!(run(waltool().arg("replay").arg(&log).arg("--onto").arg(&target).arg("--in-place")).code, 0);
    let sidecar = beside("target.waltool-applied");
    fs::hard_link(&sidecar, &hard).expect("a name");
    let said = fs::read(&sidecar).expect("a sidecar");
    refused(&log, &sidecar);
    refused(&log, &hard);
    assert_eq!(fs::read(&sidecar).expect("a sidecar"), said);
}
