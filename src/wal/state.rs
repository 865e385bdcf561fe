//! What the threads that write a log share, behind the lock of their [`meeting`](super::meeting).

use std::io;
use std::path::{Path, PathBuf};

use super::error::{Result, WalError};
use super::records::Records;
use super::transaction::Changes;
use super::writer::{Batch, Ended, Writer};
use crate::error::Error;
use crate::formats::native::layout::Lsn;

pub(super) struct State {
    path: PathBuf,
    pub(super) records: Records,
    /// What was encoded and not yet written.
    pub(super) batch: Batch,
    /// The number of that batch.
    pub(super) number: u64,
    /// How many commits that batch can expect.
    pub(super) expected: usize,
    /// Missing while somebody has it, in a [`Turn`](super::turn::Turn), and for good after a failure.
    pub(super) writer: Option<Writer>,
    /// Threads that want the writer for themselves: nobody leads a batch before they had it.
    pub(super) wanting: usize,
    failure: Option<Failure>,
    /// What has happened since the lock was taken.
    happened: Happened,
}

/// What became unknown, and why.
#[derive(Clone)]
struct Failure {
    from: Lsn,
    to: Lsn,
    cause: Ended,
}

#[derive(Default)]
struct Happened {
    /// An even batch is written, or an odd one, and others than the one who wrote it wait for it.
    finished: [bool; 2],
    failed: bool,
    /// The writer came back.
    returned: bool,
}

/// Who is to be woken.
#[derive(Default)]
pub(super) struct News {
    /// Everybody.
    pub(super) failed: bool,
    /// Those who wait for an even batch, and those who wait for an odd one.
    pub(super) finished: [bool; 2],
    /// One of those who want the writer for themselves.
    pub(super) turn: bool,
    /// One of those who wait for this batch, to lead it.
    pub(super) lead: Option<u64>,
}

impl State {
    pub(super) fn new(path: &Path, records: Records, writer: Writer) -> Self {
        Self {
            path: path.into(),
            records,
            batch: Batch::default(),
            number: 1,
            expected: 1,
            writer: Some(writer),
            wanting: 0,
            failure: None,
            happened: Happened::default(),
        }
    }

    /// # Errors
    /// What everybody is told after a failure.
    pub(super) fn check(&self) -> Result<()> {
        let Some(Failure { from, to, cause }) = self.failure.clone() else { return Ok(()) };
        let path = self.path.clone();
        Err(match cause {
            Ended::Failed(cause) => WalError::DurabilityUnknown { path, from, to, cause },
            Ended::NotOwner(why) => WalError::NotOwner { path, why },
        })
    }

    /// Encodes a transaction, for which there is room, after what is gathered.
    pub(super) fn append(&mut self, changes: &Changes, now_ns: u64) -> Lsn {
        self.records.append(changes, now_ns, &mut self.batch)
    }

    /// After a commit more would wait for a sync than may.
    pub(super) fn is_over(&self, unsynced_max: u64) -> bool {
        let written = self.writer.as_ref().map_or(0, Writer::unsynced);
        written + self.batch.bytes.len() as u64 > unsynced_max
    }

    /// Takes the present batch, to be written; the next one begins.
    pub(super) fn take_batch(&mut self, room: Batch) -> (u64, Batch) {
        self.number += 1;
        (self.number - 1, std::mem::replace(&mut self.batch, room))
    }

    /// A batch is written. If nobody but its leader had joined it, nobody needs to be told.
    pub(super) fn finished(&mut self, number: u64, others: bool) {
        // One turn can write several.
        self.happened.finished[number as usize % 2] |= others;
    }

    /// The writer is back.
    pub(super) fn give_back(&mut self, writer: Writer) {
        self.writer = Some(writer);
        self.happened.returned = true;
    }

    /// The end of this log's writing: of what lies above `durable` nobody knows whether it is on the disk.
    pub(super) fn fail(&mut self, durable: Lsn, cause: Ended) {
        let to = self.records.end().unwrap_or(durable).max(durable);
        self.failure.get_or_insert(Failure { from: durable, to, cause });
        self.writer = None;
        self.happened.failed = true;
    }

    /// The same where a panic stopped a thread in the middle of its work.
    pub(super) fn fail_by_panic(&mut self, durable: Lsn) {
        let source = io::Error::other("a thread panicked while it was writing");
        self.fail(durable, Error::write(&self.path.clone(), "write", source).into());
    }

    /// Who can go on, after all that has happened: to be woken once the lock is free.
    pub(super) fn news(&mut self) -> News {
        let Happened { finished, failed, returned } = std::mem::take(&mut self.happened);
        let free = returned && self.writer.is_some();
        let turn = free && self.wanting > 0;
        let lead = (free && !turn && self.batch.sleepers > 0).then_some(self.number);
        News { failed, finished, turn, lead }
    }
}
