//! Inputs that are no logs, and files that are no files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::bench::{Bench, run, waltool};

/// Both verbs refuse it with this code, nothing on stdout, and a message that says this.
fn refused(log: &Path, code: i32, says: &str) {
    for verb in ["verify", "dump"] {
        let run = run(waltool().arg(verb).arg(log));
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{verb}: {}", run.err);
        assert!(run.err.starts_with("waltool: ") && run.err.contains(says), "{verb}: {}", run.err);
    }
}

#[test]
fn a_file_that_is_not_there_is_6_and_named() {
    refused(&Bench::new().path("gone.db-wal"), 6, "gone.db-wal: cannot read: No such file");
}

#[test]
fn a_sqlite_log_that_is_gone_beside_its_database_is_explained() {
    let bench = Bench::new();
    bench.file("app.db", b"SQLite format 3\0");
    refused(&bench.path("app.db-wal"), 6, "SQLite removes its log when the last connection closes");
}

#[test]
fn what_is_no_log_is_5_and_says_what_it_is() {
    let bench = Bench::new();
    refused(&bench.file("notes.txt", b"Dear diary,\n"), 5, "this is text");
    refused(&bench.file("log.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"), 5, "zcat ");
    refused(&bench.file("a log.gz", b"\x1f\x8b\x08"), 5, "/a log.gz' | waltool verify -");
    refused(&bench.file("one", b"\xff"), 5, "--format NAME");
    refused(&bench.file("none", b""), 5, "empty");
    refused(&bench.file("app.db", &[b"SQLite format 3\0".as_slice(), &[0; 4080]].concat()), 5, "app.db-wal");
}

#[test]
fn a_directory_without_segments_is_5() {
    let bench = Bench::new();
    refused(bench.dir.path(), 5, "a directory without segments");
    let log = bench.sqlite("clean-512-be");
    refused(bench.dir.path(), 5, log.to_str().expect("a name in UTF-8"));
}

#[test]
fn a_fifo_and_a_device_are_6_without_waiting_for_a_writer() {
    let bench = Bench::new();
    let fifo = bench.path("fifo");
    mkfifoat(CWD, &fifo, Mode::RWXU).expect("a fifo");
    refused(&fifo, 6, "waltool verify - < ");
    refused(Path::new("/dev/null"), 6, "is a device, not a regular file");
}

#[test]
fn a_circle_of_links_is_6() {
    let bench = Bench::new();
    symlink(bench.path("b"), bench.path("a")).expect("a link");
    symlink(bench.path("a"), bench.path("b")).expect("a link");
    refused(&bench.path("a"), 6, "symbolic links");
}

#[test]
fn a_file_that_may_not_be_read_is_6() {
    let bench = Bench::new();
    let log = bench.sqlite("clean-512-be");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o000)).expect("no permission");
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root; then the log is as good as any.
        assert_eq!(run(waltool().arg("verify").arg(&log)).code, 0);
    } else {
        refused(&log, 6, "Permission denied");
    }
}

#[test]
fn a_name_cannot_drive_the_terminal() {
    let bench = Bench::new();
    let clean = fs::read(bench.sqlite("clean-512-be")).expect("a log");
    let name = bench.dir.path().join(OsStr::from_bytes(b"a\x1b[2J\n\xff-wal"));
    fs::write(&name, clean).expect("a log");
    let text = run(waltool().arg("verify").arg(&name));
    assert_eq!((text.code, text.out.lines().count()), (0, 1));
    assert!(text.out.contains("a\\u{1b}[2J\\n\\xff-wal: clean"), "{}", text.out);
    let json = run(waltool().args(["verify", "--json"]).arg(&name));
    assert!(json.json()[0]["log"].as_str().expect("a path").ends_with("a\u{1b}[2J\n\\xff-wal"), "{}", json.out);
    assert!(!json.out.contains('\u{1b}'));
    fs::remove_file(&name).expect("a log");
    refused(&name, 6, "a\\u{1b}[2J\\n\\xff-wal: cannot read");
}

#[test]
fn a_newer_version_is_5_and_never_called_corrupt() {
    let bench = Bench::new();
    let log = bench.sqlite("header-only");
    let mut header = fs::read(&log).expect("a log");
    header[7] += 1;
    let _ = fs::write(&log, header);
    let run = run(waltool().arg("verify").arg(&log));
    assert_ne!(run.code, 1);
    assert_ne!(run.code, 70);
}
