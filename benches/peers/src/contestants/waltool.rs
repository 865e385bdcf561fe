//! waltool: a transaction of one entry per record; committed by a thread each, or submitted by one thread that has a ticket for each.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use waltool::wal::{Durability, Entry, Ticket, Wal};

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

/// One thread, with as many tickets as others have threads.
pub struct Tickets;

impl Contestant for Tickets {
    fn name(&self) -> &'static str {
        "tickets"
    }

    fn offers(&self, promise: Promise, _: usize) -> bool {
        promise == Promise::Durable
    }

    fn threads(&self, _: usize) -> usize {
        1
    }

    fn with_log(&self, folder: &Path, _: Promise, appends: usize, work: Work<'_>) -> Result<()> {
        let log = InFlight { wal: Wal::open(folder.join("log"))?, tickets: Mutex::default(), appends };
        work(&log)?;
        Ok(log.wal.close()?)
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        None
    }
}

struct InFlight {
    wal: Wal,
    tickets: Mutex<VecDeque<Ticket>>,
    appends: usize,
}

impl Log for InFlight {
    /// Returns when the oldest append in flight is durable, once there are so many.
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        let mut transaction = self.wal.begin();
        transaction.data(record);
        let ticket = transaction.submit()?;
        let mut tickets = self.tickets.lock().expect("one thread appends");
        tickets.push_back(ticket);
        if tickets.len() >= self.appends
            && let Some(oldest) = tickets.pop_front()
        {
            oldest.wait()?;
        }
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
