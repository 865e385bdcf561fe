//! fjall: an insert per record under keys that count up; its journal is the log.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Contestant, Log, Promise, Reading, Work};

pub struct Fjall;

impl Contestant for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn offers(&self, promise: Promise, threads: usize) -> bool {
        promise == Promise::Durable || threads == 1
    }

    fn with_log(&self, folder: &Path, promise: Promise, _: usize, work: Work<'_>) -> Result<()> {
        let (database, keyspace) = open(folder, promise)?;
        work(&Journal { database, keyspace, next: AtomicU64::new(0), sync: promise == Promise::Durable })
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        Some(read)
    }
}

/// With room for everything in memory, so that no table is written meanwhile. An insert gives its record to the kernel only where that
/// is promised: the sync of a durable one does so itself.
fn open(folder: &Path, promise: Promise) -> Result<(Database, Keyspace)> {
    let database = Database::builder(folder).open()?;
    let options = || {
        KeyspaceCreateOptions::default().max_memtable_size(1 << 30).manual_journal_persist(promise != Promise::Written)
    };
    let keyspace = database.keyspace("log", options)?;
    Ok((database, keyspace))
}

struct Journal {
    database: Database,
    keyspace: Keyspace,
    next: AtomicU64,
    sync: bool,
}

impl Log for Journal {
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        self.keyspace.insert(key, record)?;
        if self.sync {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Reading> {
    let (database, keyspace) = open(folder, Promise::Written)?;
    let (mut records, mut bytes) = (0, 0);
    for item in keyspace.iter() {
        records += 1;
        bytes += std::hint::black_box(item.value()?).len() as u64;
    }
    Ok(Reading::new(records, bytes, (database, keyspace)))
}
