//! waltool: a transaction of one entry per record.

use std::path::Path;

use anyhow::Result;
use waltool::wal::{Durability, Entry, Wal};

use super::{Contestant, Log, Promise, Reading, Work};

pub struct Waltool;

impl Contestant for Waltool {
    fn name(&self) -> &'static str {
        super::OURS
    }

    fn offers(&self, _: Promise, _: usize) -> bool {
        true
    }

    fn with_log(&self, folder: &Path, promise: Promise, _: usize, work: Work<'_>) -> Result<()> {
        let durability = match promise {
            Promise::Durable => Durability::Durable,
            Promise::Written => Durability::Written,
            Promise::Buffered => Durability::Buffered,
        };
        let log = Transactions { wal: Wal::open(folder.join("log"))?, durability };
        work(&log)?;
        Ok(log.wal.close()?)
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        Some(read)
    }
}

struct Transactions {
    wal: Wal,
    durability: Durability,
}

impl Log for Transactions {
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        let mut transaction = self.wal.begin();
        transaction.data(record);
        transaction.commit_with(self.durability)?;
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Reading> {
    let wal = Wal::open(folder.join("log"))?;
    let committed = wal.committed(wal.redo_lsn())?;
    let mut entries = committed.entries();
    let (mut records, mut bytes) = (0, 0);
    while let Some(logged) = entries.next()? {
        if let Entry::Data(record) = logged.entry {
            records += 1;
            bytes += std::hint::black_box(record).len() as u64;
        }
    }
    Ok(Reading::new(records, bytes, wal))
}
