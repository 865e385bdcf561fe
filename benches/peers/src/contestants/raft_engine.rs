//! raft-engine: a batch of one entry per record. Each thread has a raft group of its own, as in TiKV; all groups share one log, and
//! its write queue gathers what they bring.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use protobuf::descriptor::UninterpretedOption;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::{Contestant, Log, Promise, Reading, Work};

pub struct RaftEngine;

impl Contestant for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn offers(&self, promise: Promise, _: usize) -> bool {
        promise != Promise::Buffered
    }

    fn with_log(&self, folder: &Path, promise: Promise, threads: usize, work: Work<'_>) -> Result<()> {
        // A file that is full of zeros already, so that no sync makes room.
        let engine = Engine::open(Config { prefill_for_recycle: true, ..settings(folder)? })?;
        let groups = (0..threads).map(|_| Mutex::default()).collect();
        work(&Groups { engine, sync: promise == Promise::Durable, groups })
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        Some(read)
    }
}

fn settings(folder: &Path) -> Result<Config> {
    Ok(Config {
        dir: folder.to_str().context("a path that is text")?.to_owned(),
        target_file_size: ReadableSize::mb(64),
        purge_threshold: ReadableSize::mb(64),
        ..Config::default()
    })
}

/// A number and bytes, as in the `eraftpb.Entry` of TiKV, from among the messages that protobuf brings along.
type RaftEntry = UninterpretedOption;

struct Indexed;

impl MessageExt for Indexed {
    type Entry = RaftEntry;

    fn index(entry: &RaftEntry) -> u64 {
        entry.get_positive_int_value()
    }
}

struct Groups {
    engine: Engine,
    sync: bool,
    groups: Vec<Mutex<Group>>,
}

#[derive(Default)]
struct Group {
    batch: LogBatch,
    entry: RaftEntry,
    index: u64,
}

impl Log for Groups {
    fn append(&self, thread: usize, record: &[u8]) -> Result<()> {
        let mut group = self.groups[thread].lock().expect("one thread has this group");
        let Group { batch, entry, index } = &mut *group;
        *index += 1;
        entry.set_positive_int_value(*index);
        let bytes = entry.mut_string_value();
        bytes.clear();
        bytes.extend_from_slice(record);
        batch.add_entries::<Indexed>(thread as u64, std::slice::from_ref(entry))?;
        self.engine.write(batch, self.sync)?;
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Reading> {
    const AT_ONCE: u64 = 1024;
    let engine = Engine::open(settings(folder)?)?;
    let (mut records, mut bytes) = (0, 0);
    let mut entries = Vec::new();
    for group in engine.raft_groups() {
        let (Some(first), Some(last)) = (engine.first_index(group), engine.last_index(group)) else { continue };
        for begin in (first..=last).step_by(AT_ONCE as usize) {
            let end = (begin + AT_ONCE).min(last + 1);
            entries.clear();
            engine.fetch_entries_to::<Indexed>(group, begin, end, None, &mut entries)?;
            records += entries.len() as u64;
            bytes +=
                std::hint::black_box(&entries).iter().map(|entry| entry.get_string_value().len() as u64).sum::<u64>();
        }
    }
    Ok(Reading::new(records, bytes, engine))
}
