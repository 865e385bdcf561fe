//! Logs for tests that change files: real ones of SQLite, copied; native ones, written here.

#![allow(dead_code)] // each test uses a part of it

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use waltool::formats::native::encode::Entry;
use waltool::formats::native::log_writer::{LogOptions, LogWriter};
use waltool::{Error, Log, Report, Result, Verdict};

/// A folder with `app.db`, `app.db-wal` and `expected.db` of a fixture.
pub struct Sqlite {
    pub folder: TempDir,
}

impl Sqlite {
    pub fn copy(case: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let from = fixtures().join(case);
        for name in ["app.db", "app.db-wal", "expected.db"] {
            fs::copy(from.join(name), folder.path().join(name)).expect("a copy");
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.path("app.db-wal")
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("a file")
    }
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sqlite")
}

/// All cases with their names; a walk that finds none proves nothing.
pub fn cases() -> Vec<String> {
    let names = fs::read_dir(fixtures()).expect("the fixtures");
    let names: Vec<_> = names.map(|entry| entry.expect("a case").file_name().into_string().expect("a name")).collect();
    assert!(names.len() >= 23, "{} cases", names.len());
    names
}

/// Files of a folder by name, without those that a lock leaves.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("a name");
    entries.map(|entry| (name(&entry), fs::read(entry.path()).expect("a file"))).collect()
}

pub fn report(path: &Path) -> Report {
    Report::of(&Log::open(path, None).expect("a log"), |_| ()).expect("a report")
}

pub fn verdict(path: &Path) -> Verdict {
    report(path).verdict()
}

/// A native log of `transactions`, each of which writes 100 bytes of its number at 50 times its number.
pub fn native(folder: &Path, transactions: u64, segment_limit: u64, finished: bool) -> PathBuf {
    native_of(&folder.join("log"), [[1; 16], [0; 16]], transactions, segment_limit, finished)
}

/// The same in the folder `path`, with these ids of the log and its target.
pub fn native_of(path: &Path, ids: [[u8; 16]; 2], transactions: u64, segment_limit: u64, finished: bool) -> PathBuf {
    fs::create_dir(path).expect("a folder");
    fs::write(path.join("LOCK"), "").expect("a lock file");
    let [log_id, target_id] = ids;
    let options = LogOptions { log_id, target_id, created_ns: 0, segment_limit };
    let mut nonce = 7;
    let nonces = move || {
        nonce += 1;
        nonce
    };
    let mut log = LogWriter::create(path, &options, nonces).expect("a log");
    for number in 1..=transactions {
        let bytes = [number as u8; 100];
        log.transaction(&[Entry::Write { offset: number * 50, bytes: &bytes }], number * 1000).expect("a commit");
        log.sync().expect("a sync");
    }
    match finished {
        true => drop(log.finish(transactions * 1000).expect("a mark")),
        false => drop(log),
    }
    path.into()
}

/// The target that the first `transactions` of [`native`] make.
pub fn native_target(transactions: u64) -> Vec<u8> {
    let mut target = Vec::new();
    for number in 1..=transactions as usize {
        target.resize(target.len().max(number * 50 + 100), 0);
        target[number * 50..][..100].fill(number as u8);
    }
    target
}

/// The segment of a log.
pub fn segment(log: &Path, number: u32) -> PathBuf {
    log.join(format!("{number:08x}.wal"))
}

pub fn change(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file");
    edit(&mut bytes);
    fs::write(path, bytes).expect("written");
}

/// Why a call was refused, which it must have been.
pub fn refused<T>(result: Result<T>) -> String {
    match result {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}
