//! What the threads that write a log share, behind the lock of their [`meeting`](super::meeting).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::task::Waker;

use super::error::{Result, WalError};
use super::records::Records;
use super::sync::thread::JoinHandle;
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
    /// Those who wait for a batch without a thread, by its number and their own.
    wakers: BTreeMap<(u64, u64), Waker>,
    next_waker: u64,
    /// The thread that leads batches for which no thread waits, once there is one.
    pub(super) helper: Option<JoinHandle<()>>,
    failure: Option<Failure>,
    /// Nothing more will be written.
    ended: bool,
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
    /// Those who wait for it without a thread.
    wakers: Vec<Waker>,
    ended: bool,
    /// There may be a batch to write now: the writer came back, or something was submitted.
    ready: bool,
}

/// Which threads are to be woken.
pub(super) struct News {
    /// Everybody: nothing more will be written.
    pub(super) ended: bool,
    /// Those who wait for an even batch, and those who wait for an odd one.
    pub(super) finished: [bool; 2],
    /// One of those who want the writer for themselves.
    pub(super) turn: bool,
    /// One of those who wait for this batch, to lead it.
    pub(super) lead: Option<u64>,
    /// The helper, to lead the present batch.
    pub(super) help: bool,
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
            wakers: BTreeMap::new(),
            next_waker: 0,
            helper: None,
            failure: None,
            ended: false,
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
        let later = self.wakers.split_off(&(number + 1, 0));
        self.happened.wakers.extend(std::mem::replace(&mut self.wakers, later).into_values());
    }

    /// The writer is back.
    pub(super) fn give_back(&mut self, writer: Writer) {
        self.writer = Some(writer);
        self.happened.ready = true;
    }

    /// Somebody waits for the present batch without a thread that could lead it.
    pub(super) fn submitted(&mut self) {
        self.happened.ready = true;
    }

    /// Has `waker` woken when a batch is written, or can no longer be. `slot` is the place of the one who waits, if it has one already; gives
    /// the waker that was there, to be dropped without the lock: it is the program's code.
    #[must_use]
    pub(super) fn wake_after(&mut self, batch: u64, slot: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let slot = *slot.get_or_insert_with(|| {
            self.next_waker += 1;
            self.next_waker
        });
        self.wakers.insert((batch, slot), waker)
    }

    /// Those to be woken now.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.happened.wakers)
    }

    /// Only the helper is there to lead the present batch.
    pub(super) fn needs_help(&self) -> bool {
        self.batch.joined > 0 && self.batch.sleepers == 0
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The end of this log's writing: of what lies above `durable` nobody knows whether it is on the disk.
    pub(super) fn fail(&mut self, durable: Lsn, cause: Ended) {
        let to = self.records.end().unwrap_or(durable).max(durable);
        self.failure.get_or_insert(Failure { from: durable, to, cause });
        self.end();
    }

    /// Nothing more will be written, and the files are closed.
    pub(super) fn end(&mut self) {
        self.writer = None;
        self.ended = true;
        self.happened.ended = true;
        self.happened.wakers.extend(std::mem::take(&mut self.wakers).into_values());
    }

    /// The same where a panic stopped a thread in the middle of its work.
    pub(super) fn fail_by_panic(&mut self, durable: Lsn) {
        let source = io::Error::other("a thread panicked while it was writing");
        self.fail(durable, Error::write(&self.path.clone(), "write", source).into());
    }

    /// Who can go on, after all that has happened: to be woken once the lock is free.
    pub(super) fn news(&mut self) -> News {
        let Happened { finished, ended, ready, wakers } = std::mem::take(&mut self.happened);
        self.happened.wakers = wakers;
        let free = ready && self.writer.is_some();
        let turn = free && self.wanting > 0;
        let lead = (free && !turn && self.batch.sleepers > 0).then_some(self.number);
        let help = free && !turn && self.needs_help();
        News { ended, finished, turn, lead, help }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("last", &self.records.last)
            .field("batch", &self.number)
            .field("bytes", &self.batch.bytes.len())
            .field("sync", &self.batch.sync)
            .field("joined", &self.batch.joined)
            .field("sleepers", &self.batch.sleepers)
            .field("expected", &self.expected)
            .field("writer_is_here", &self.writer.is_some())
            .field("wanting", &self.wanting)
            .field("wakers", &self.wakers.len())
            .field("helper", &self.helper.is_some())
            .field("ended", &self.ended)
            .field("failure", &self.check().err())
            .finish()
    }
}
