//! An error says what failed, where and why, and says it once: in its text, where `main` returns it, and where a program prints the chain of
//! its causes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use waltool::Error;
use waltool::formats::native::encode::WriteError;
use waltool::formats::native::layout::Lsn;
use waltool::load::LineError;
use waltool::wal::{Wal, WalError};

/// The three ways in which programs print an error.
fn told(error: &dyn std::error::Error) -> [String; 3] {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    let chain = causes.fold(error.to_string(), |story, cause| format!("{story}: {cause}"));
    [error.to_string(), format!("{error:?}"), chain]
}

/// Each way of printing says the same, has `parts` in this order, each once, and fits in a few lines.
#[track_caller]
fn says(error: &dyn std::error::Error, parts: &[&str]) {
    let [text, debug, chain] = told(error);
    assert_eq!(debug, text);
    assert_eq!(chain, text);
    assert!(text.lines().count() <= 4, "{text}");
    assert!(text.lines().all(|line| line.len() <= 240), "{text}");
    let mut from = 0;
    for part in parts {
        assert_eq!(text.matches(part).count(), 1, "{part:?} in {text:?}");
        from += text[from..].find(part).unwrap_or_else(|| panic!("{part:?} comes too early in {text:?}"));
    }
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

const FULL: &str = "No space left on device (os error 28)";

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/data/{name}"))
}

#[test]
fn a_failed_call_is_told_with_its_path_and_the_systems_reason() {
    let denied = || io::Error::from_raw_os_error(13);
    says(&Error::read(&path("a"), denied()), &["/data/a: cannot read: Permission denied (os error 13)"]);
    let read = Error::Read { path: path("a"), offset: Some(4096), cause: denied() };
    says(&read, &["/data/a: cannot read at offset 4096: Permission denied"]);
    says(&Error::write(&path("a"), "sync", full()), &["/data/a: cannot sync: ", FULL]);

    says(&WriteError::Io(full()), &[FULL]);
    says(&WriteError::File { path: path("a\x1b[2J"), cause: full() }, &["/data/a\\u{1b}[2J: ", FULL]);
    says(&LineError::from(Error::write(&path("a"), "write", full())), &["/data/a: cannot write: ", FULL]);
}

#[test]
fn what_stops_a_log_is_told_with_its_cause() {
    let cause = || Error::write(&path("log/00000001.wal"), "write", full());
    let (from, to) = (Lsn::new(1, 8192), Lsn::new(1, 8240));
    let unknown = WalError::DurabilityUnknown { path: path("log"), from, to, cause: Arc::new(cause()) };
    let place = "durable up to 00000001:00002000, unknown from there to 00000001:00002030";
    says(&unknown, &["/data/log: ", place, "/data/log/00000001.wal: cannot write: ", FULL]);
    let not_applied = WalError::NotApplied { path: path("file"), log: path("file.wal"), cause: cause() };
    says(&not_applied, &["/data/file: ", "could not be brought up to date", FULL, "safe in /data/file.wal"]);
    says(&WalError::from(cause()), &["/data/log/00000001.wal: cannot write: ", FULL]);

    for error in [unknown, not_applied, WalError::from(cause()), WriteError::Io(full()).into()] {
        let reason = error.io_error().unwrap_or_else(|| panic!("{error}: no reason"));
        assert_eq!(reason.kind(), io::ErrorKind::StorageFull, "{error}");
    }
    assert!(WalError::from(Error::Usage("no".into())).io_error().is_none());
}

#[test]
fn a_damaged_log_is_told_in_two_lines_and_not_with_its_whole_report() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    for text in ["one", "two"] {
        let mut transaction = wal.begin();
        transaction.data(text.as_bytes());
        transaction.commit().unwrap();
    }
    wal.close().unwrap();
    let segment = folder.path().join("00000001.wal");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[8192 + 25] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let error = Wal::open(folder.path()).expect_err("a refusal");
    says(&error, &[": refused: the log is corrupt: ", "waltool verify "]);
}
