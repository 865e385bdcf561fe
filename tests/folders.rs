//! A log and a durable file are opened in directories of their own: one that holds something else is refused, and is left as it is.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use waltool::Error;
use waltool::wal::{DurableFile, Wal, WalError};

/// All that is in a directory, by name.
fn content(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (format!("{:?}", entry.file_name()), fs::read(entry.path()).ok())).collect()
}

fn put(folder: &Path, names: &[&str]) {
    for name in names {
        fs::write(folder.join(name), name).unwrap();
    }
}

/// Opening is refused, names `what`, and leaves no trace.
#[track_caller]
fn refused(folder: &Path, what: &[&str]) {
    let before = content(folder);
    let error = Wal::open(folder).err().unwrap_or_else(|| panic!("{} was opened", folder.display()));
    let WalError::Stopped(Error::Refused { path, .. }) = &error else { panic!("{error}") };
    assert_eq!(path, folder);
    let text = error.to_string();
    assert!(what.iter().all(|what| text.contains(what)) && text.contains("directory of its own"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
    assert_eq!(content(folder), before);
}

fn commit(wal: &Wal) {
    let mut transaction = wal.begin();
    transaction.data(b"something");
    transaction.commit().unwrap();
}

#[test]
fn a_directory_that_holds_something_else_is_refused_and_gets_no_lock_file() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["report.odt"]);
    refused(folder.path(), &["report.odt"]);
    put(folder.path(), &["CURRENT", "000003.log", "MANIFEST-000002", "zebra"]);
    refused(folder.path(), &["000003.log, CURRENT, MANIFEST-000002 and 2 more"]);
    // Another program's lock makes it no log.
    put(folder.path(), &["LOCK", "00000001.wal.tmp"]);
    refused(folder.path(), &["CURRENT"]);

    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    refused(folder.path(), &["sub"]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(OsStr::from_bytes(b"\x1b]0;pwned\x07\xff")), "").unwrap();
    refused(folder.path(), &["\\u{1b}]0;pwned\\u{7}\\xff"]);
}

#[test]
fn files_that_only_have_the_names_of_segments_are_no_log() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["00000001.wal", "20260101.wal"]);
    refused(folder.path(), &["00000001.wal, 20260101.wal"]);
    // One true segment makes the directory a log; what is wrong with it is then for the report to say.
    let wal = Wal::open(folder.path().join("log")).unwrap();
    commit(&wal);
    wal.close().unwrap();
    fs::copy(folder.path().join("log/00000001.wal"), folder.path().join("00000001.wal")).unwrap();
    let error = Wal::open(folder.path()).expect_err("a refusal");
    assert!(matches!(error, WalError::Damaged { .. }), "{error}");
}

#[test]
fn an_empty_directory_and_what_a_crash_leaves_are_opened() {
    for names in [&[][..], &["LOCK"], &["LOCK", "00000001.wal.tmp"], &["lost+found", "LOCK"], &["00000001.wal.tmp"]] {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), names);
        let wal = Wal::open(folder.path()).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        commit(&wal);
        wal.close().unwrap();
        assert_eq!(Wal::open(folder.path()).unwrap().recovery().report.as_ref().unwrap().prefix.transactions, 1);
    }
}

#[test]
fn a_strangers_file_beside_the_segments_of_a_log_is_no_matter() {
    for lock in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let wal = Wal::open(folder.path()).unwrap();
        commit(&wal);
        wal.close().unwrap();
        put(folder.path(), &["README"]);
        if !lock {
            fs::remove_file(folder.path().join("LOCK")).unwrap();
        }
        commit(&Wal::open(folder.path()).unwrap());
        assert_eq!(fs::read(folder.path().join("README")).unwrap(), b"README");
    }
}

#[test]
fn a_durable_file_does_not_take_a_directory_that_is_not_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("totals"), folder.path().join("totals.wal"));
    fs::create_dir(&log).unwrap();
    put(&log, &["photo.jpeg"]);
    let before = content(&log);
    let error = DurableFile::open(&path).err().expect("a refusal");
    assert!(error.to_string().contains("photo.jpeg"), "{error}");
    assert_eq!(content(&log), before);
    assert!(!path.exists());

    fs::remove_dir_all(&log).unwrap();
    put(folder.path(), &["totals.wal"]);
    let error = DurableFile::open(&path).err().expect("a refusal");
    assert!(error.to_string().contains("a log is a directory, and this is none"), "{error}");
    assert_eq!(fs::read(&log).unwrap(), b"totals.wal");
}
