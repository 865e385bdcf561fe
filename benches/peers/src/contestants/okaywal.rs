//! okaywal: an entry per record, which only `commit` ends and which is synced then.
//!
//! It has no commit without a sync. What comes nearest is a chunk of an entry that is still open: it has a position and a checksum of its
//! own and lies in okaywal's buffer of 16 KiB.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use okaywal::{
    Configuration, Entry, EntryId, EntryWriter, LogManager, LogVoid, ReadChunkResult, SegmentReader, WriteAheadLog,
};

use super::{Contestant, Log, Promise, Reading, Work};

pub struct Okaywal;

impl Contestant for Okaywal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn offers(&self, promise: Promise, threads: usize) -> bool {
        promise == Promise::Durable || promise == Promise::Buffered && threads == 1
    }

    fn with_log(&self, folder: &Path, promise: Promise, _: usize, work: Work<'_>) -> Result<()> {
        let log = settings(folder).open(LogVoid)?;
        if promise == Promise::Durable { work(&Entries(log)) } else { work(&Chunks(Mutex::new(log.begin_entry()?))) }
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        Some(read)
    }
}

/// One file that is large enough, all zeros: neither a file that grows nor a checkpoint falls into the measurement.
fn settings(folder: &Path) -> Configuration {
    Configuration::default_for(folder).preallocate_bytes(64 << 20).checkpoint_after_bytes(u64::MAX)
}

struct Entries(WriteAheadLog);

impl Log for Entries {
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        let mut entry = self.0.begin_entry()?;
        entry.write_chunk(record)?;
        entry.commit()?;
        Ok(())
    }
}

/// Chunks of one entry.
struct Chunks<'a>(Mutex<EntryWriter<'a>>);

impl Log for Chunks<'_> {
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        self.0.lock().expect("one thread appends").write_chunk(record)?;
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Reading> {
    let found = Arc::new(Mutex::new(Found::default()));
    let log = settings(folder).open(Reader { found: found.clone(), chunk: Vec::new() })?;
    let found = found.lock().expect("recovery is over");
    Ok(Reading::new(found.records, found.bytes, log))
}

#[derive(Debug, Default)]
struct Found {
    records: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Reader {
    found: Arc<Mutex<Found>>,
    chunk: Vec<u8>,
}

impl LogManager for Reader {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut found = self.found.lock().expect("recovery has one thread");
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            self.chunk.resize(chunk.bytes_remaining() as usize, 0);
            chunk.read_exact(&mut self.chunk)?;
            if !chunk.check_crc()? {
                return Err(io::ErrorKind::InvalidData.into());
            }
            found.bytes += std::hint::black_box(&self.chunk).len() as u64;
        }
        found.records += 1;
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}
