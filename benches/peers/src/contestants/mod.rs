//! Who takes part: a contestant opens logs, and a log appends.

mod fjall;
mod limits;
mod okaywal;
mod raft_engine;
mod sqlite;
mod waltool;

use std::any::Any;
use std::path::Path;

use anyhow::Result;

/// What an append promises when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// The record survives a power cut.
    Durable,
    /// The kernel has the record: it survives the end of the process.
    Written,
    /// The record is in the memory of the process.
    Buffered,
}

/// A program that takes part.
pub trait Contestant: Sync {
    /// Its name, as in `--only`.
    fn name(&self) -> &'static str;

    /// Whether it can keep this promise with so many threads.
    fn offers(&self, promise: Promise, threads: usize) -> bool;

    /// How many threads it takes to have so many appends at once.
    fn threads(&self, appends: usize) -> usize {
        appends
    }

    /// Opens a new log in an empty directory, whose appends keep the promise; has the work done, and closes it.
    ///
    /// # Errors
    /// What the contestant or the work says.
    fn with_log(&self, folder: &Path, promise: Promise, threads: usize, work: Work<'_>) -> Result<()>;

    /// Opens a log that was written before and reads every record of it. `None` where there is nothing to open: a limit.
    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>>;
}

/// What is done with a log while it is open.
pub type Work<'a> = &'a mut dyn FnMut(&dyn Log) -> Result<()>;

/// An open log.
pub trait Log: Sync {
    /// Appends one record, and returns when what was promised holds. `thread` counts from 0; no two threads have the same.
    ///
    /// # Errors
    /// What the contestant says; the log is of no use then.
    fn append(&self, thread: usize, record: &[u8]) -> Result<()>;
}

/// What was found in a log, which is still open: closing it is not part of reading.
pub struct Reading {
    /// Records.
    pub records: u64,
    /// Their bytes, together.
    pub bytes: u64,
    _open: Box<dyn Any>,
}

impl Reading {
    fn new(records: u64, bytes: u64, open: impl Any) -> Self {
        Self { records, bytes, _open: Box::new(open) }
    }
}

/// The contestant that goals are set for.
pub const OURS: &str = "waltool";
/// The reachable limit of durable appends.
pub const GATHER: &str = "gather";
/// The limit of appends that are not synced.
pub const PWRITE: &str = "pwrite";
/// The programs that waltool is compared with.
pub const PEERS: &[&str] = &["okaywal", "raft-engine", "fjall", "sqlite"];
/// Those of them in which threads share a sync. In the others one thread appends for a while and the rest wait, so that most appends are
/// of one that did not wait.
pub const GROUP_PEERS: &[&str] = &["okaywal", "raft-engine"];
/// Those of them that are written in Rust.
pub const RUST_PEERS: &[&str] = &["okaywal", "raft-engine", "fjall"];

/// Everybody, in the order of the tables.
pub static ALL: &[&dyn Contestant] = &[
    &waltool::Waltool,
    &waltool::Tickets,
    &limits::Gather,
    &okaywal::Okaywal,
    &raft_engine::RaftEngine,
    &fjall::Fjall,
    &sqlite::Sqlite,
    &limits::Pwrite,
    &limits::PwriteSync,
];
