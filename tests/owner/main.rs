//! One writer, whatever happens: LOCK or segments are removed, renamed or replaced while a log is open, the directory too; other
//! programs open it then; the process forks.

#[path = "../between/mod.rs"]
mod between;

mod commands;
mod fork;
mod interleaved;
mod losses;
mod paths;

use waltool::vfs::Disk;
use waltool::wal::{Durability, Entry, Result, Wal, WalError};

use std::path::Path;

fn commit(wal: &Wal, text: &str, durability: Durability) -> Result<()> {
    let mut transaction = wal.begin();
    transaction.data(text.as_bytes());
    transaction.commit_with(durability).map(drop)
}

/// What the log gives, transaction by transaction.
fn entries(wal: &Wal) -> Vec<String> {
    let committed = wal.committed(wal.redo_lsn()).expect("readable");
    let mut entries = committed.entries();
    let mut found = Vec::new();
    while let Some(logged) = entries.next().expect("readable") {
        if let Entry::Data(text) = logged.entry {
            found.push(String::from_utf8_lossy(text).into_owned());
        }
    }
    found
}

/// Why this is not the owner.
fn why<T>(result: Result<T>) -> String {
    match result.err() {
        Some(WalError::NotOwner { path: _, why }) => why,
        Some(other) => panic!("another error: {other}"),
        None => panic!("a success"),
    }
}

/// Puts a file of these bytes there.
fn put(disk: &Disk, path: &Path, bytes: &[u8]) {
    let file = disk.create_new(path, 0o600).expect("a new file");
    waltool::vfs::write_all_at(&*file, bytes, 0).expect("written");
}
