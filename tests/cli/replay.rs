//! `waltool replay`, by the command.

use std::fs;

use crate::logs::{Sqlite, native, native_target};
use crate::{code, stderr, stdout, waltool};

#[test]
fn a_corrupt_log_gives_the_state_before_the_damage_elsewhere_and_says_so() {
    let made = Sqlite::copy("bitflip-middle-512");
    let (onto, new) = (made.path("app.db"), made.path("new.db"));
    let refused = waltool().arg("replay").arg(made.log()).arg("--onto").arg(&onto).output().expect("it runs");
    assert_eq!(code(&refused), 7);
    assert!(stderr(&refused).contains("--output NEW"), "{}", stderr(&refused));
    let output = waltool().arg("replay").arg(made.log()).arg("--onto").arg(&onto).arg("--output").arg(&new).output();
    let output = output.expect("it runs");
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("THE LOG IS CORRUPT"), "{}", stderr(&output));
    assert!(stderr(&output).contains("81 frames and 11 commits behind it are not in it"), "{}", stderr(&output));
    assert!(fs::read(&new).expect("a database") == made.bytes("expected.db"));
}

#[test]
fn a_dry_run_lists_what_would_change_and_changes_nothing() {
    let made = Sqlite::copy("clean-512-be");
    let (onto, before) = (made.path("app.db"), made.bytes("app.db"));
    let run = |options: &[&str]| {
        waltool().arg("replay").arg(made.log()).arg("--onto").arg(&onto).args(options).output().expect("it runs")
    };
    let output = run(&["--dry-run"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let (text, len) = (stdout(&output), made.bytes("expected.db").len());
    assert!(text.contains("changes: ") && text.contains(&format!("length:  {len} bytes")), "{text}");
    let output = run(&["--dry-run", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
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
        let output = command.args(["--until", &until, "--output"]).arg(&new).output().expect("it runs");
        assert_eq!(code(&output), 0, "{until}: {}", stderr(&output));
        assert_eq!(fs::read(&new).expect("a target"), native_target(number), "{until}");
        fs::remove_file(&new).expect("removed");
    }
    let mut command = waltool();
    command.arg("replay").arg(&log).arg("--onto").arg(folder.path().join("none"));
    assert_eq!(code(&command.args(["--until", "soon"]).output().expect("it runs")), 2);
}

#[test]
fn a_size_limit_is_kept() {
    let made = Sqlite::copy("clean-512-be");
    let mut command = waltool();
    command.arg("replay").arg(made.log()).arg("--onto").arg(made.path("app.db"));
    let output = command.args(["--max-target-size", "1024"]).output().expect("it runs");
    assert_eq!(code(&output), 7, "{}", stderr(&output));
}
