//! `waltool replay`, by the command.

use std::fs;

use crate::bench::{run, waltool};
use crate::logs::{Sqlite, files, native, native_target, segment};

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
