//! Group commit: whoever commits encodes its records after those that wait already; one of those that wait, the leader, writes and syncs
//! for all of them.
//!
//! There is one writer, so the next write waits for the sync before it, and a batch can promise all that lies before it.
//! A commit gets its place in the log when it joins a batch, and the promise is put in when the batch is written.
//!
//! A leader whose batch is smaller than the last ones waits for the others, a third of a sync at most: threads that were just told of their
//! commit are about to come back with the next.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Durability;
use super::error::Result;
use super::meeting::{Access, Meeting};
use super::owner::Opener;
use super::records::{COMMIT_LEN, Records};
use super::state::State;
use super::sync::{AtomicU64, Ordering};
use super::ticket::Ticket;
use super::transaction::Changes;
use super::turn::Turn;
use super::writer::Writer;
use crate::error::Error;
use crate::format::TargetState;
use crate::formats::native::encode::{WriteError, transaction_end};
use crate::formats::native::layout::{Lsn, RECORDS_START, SEGMENT_MAX, SegmentHeader};
use crate::vfs::Disk;

/// Commits that wait for nothing are written when this much is gathered, in bytes.
const BUFFER_MAX: usize = 256 * 1024;
/// Who submits more than this, in bytes, waits until it is written.
const SUBMITTED_MAX: usize = 1024 * 1024;

/// A log that is written, shared by threads.
pub(super) struct Group {
    opener: Opener,
    disk: Disk,
    limits: Limits,
    /// Where replay starts; changed with the lock held, read without it.
    redo_lsn: AtomicU64,
    meeting: Meeting,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A segment that is longer takes no further transaction, in bytes.
    pub(super) segment: u64,
    /// So many bytes may wait for a sync after a commit that does not ask for one.
    pub(super) unsynced: u64,
}

/// A batch that a thread waits for, and the look at the bell at which it may sleep.
struct Waiting {
    batch: u64,
    seen: u32,
}

impl Group {
    /// The log of `opener`, whose last commit is `last`, and which goes on with a segment of the header `first`.
    pub(super) fn new(
        opener: &Opener,
        disk: Disk,
        limits: Limits,
        last: (Lsn, u64),
        first: SegmentHeader,
        writer: Writer,
    ) -> Self {
        let durable = writer.durable();
        let redo_lsn = AtomicU64::new(first.redo_lsn.0);
        let state = State::new(opener.given(), Records::new(first, last), writer);
        Self { opener: opener.clone(), disk, limits, redo_lsn, meeting: Meeting::new(opener.clone(), state, durable) }
    }

    /// See [`Transaction::commit_with`](super::Transaction::commit_with).
    pub(super) fn commit(&self, changes: &Changes, durability: Durability) -> Result<Lsn> {
        fits(changes)?;
        let (lsn, waiting) = self.meeting.with(|access| {
            access.check()?;
            self.make_room(access, changes, usize::MAX)?;
            let lsn = access.append(changes, self.disk.now_ns());
            if durability == Durability::Buffered && access.batch.bytes.len() < BUFFER_MAX {
                return Ok((lsn, None));
            }
            let sync = durability == Durability::Durable || access.is_over(self.limits.unsynced);
            Ok((lsn, join(access, sync)?))
        })?;
        self.wait(waiting)?;
        Ok(lsn)
    }

    /// See [`Transaction::submit`](super::Transaction::submit).
    pub(super) fn submit(self: &Arc<Self>, changes: &Changes) -> Result<Ticket> {
        fits(changes)?;
        self.meeting.with(|access| {
            access.check()?;
            self.begin_helper(access)?;
            self.make_room(access, changes, SUBMITTED_MAX)?;
            let lsn = access.append(changes, self.disk.now_ns());
            Ok(Ticket::new(self, lsn, submit(access)))
        })
    }

    /// A ticket for what was committed up to `lsn`, of whatever durability. See [`Wal::when_durable`](super::Wal::when_durable).
    pub(super) fn when_durable(self: &Arc<Self>, lsn: Lsn) -> Result<Ticket> {
        self.meeting.with(|access| {
            if is_durable(access, lsn)? {
                return Ok(Ticket::new(self, lsn, 0));
            }
            self.begin_helper(access)?;
            Ok(Ticket::new(self, lsn, submit(access)))
        })
    }

    /// See [`Wal::wait_durable`](super::Wal::wait_durable).
    pub(super) fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        let waiting =
            self.meeting.with(|access| if is_durable(access, lsn)? { Ok(None) } else { join(access, true) })?;
        self.wait(waiting)
    }

    /// Waits for a batch that somebody has a ticket for.
    pub(super) fn wait_for(&self, batch: u64) -> Result<()> {
        if self.meeting.is_done(batch) {
            return Ok(());
        }
        self.meeting.here()?;
        let waiting = self.meeting.with(|access| {
            if access.number == batch {
                access.batch.sleepers += 1;
            }
            lead_or_sleep(access, batch)
        })?;
        self.wait(waiting)
    }

    /// The same without a thread that waits; see [`State::wake_after`].
    pub(super) fn poll(&self, batch: u64, slot: &mut Option<u64>, waker: &Waker) -> Poll<Result<()>> {
        if self.meeting.is_done(batch) {
            return Poll::Ready(Ok(()));
        }
        // A waker is the program's code: it is cloned, and another dropped, without the lock.
        let waker = waker.clone();
        let mut before = None;
        let polled = self.meeting.here().and_then(|()| {
            self.meeting.with(|access| {
                if self.meeting.is_done(batch) {
                    return Ok(Poll::Ready(()));
                }
                access.check()?;
                before = access.wake_after(batch, slot, waker);
                Ok(Poll::Pending)
            })
        });
        drop(before);
        polled.map_or_else(|error| Poll::Ready(Err(error)), |poll| poll.map(Ok))
    }

    /// Waits until less than `max` bytes wait to be written, and the present segment takes these changes; writes and rotates for that.
    fn make_room(&self, access: &mut Access<'_>, changes: &Changes, max: usize) -> Result<()> {
        loop {
            if access.batch.bytes.len() >= max {
                let turn = access.turn()?;
                if turn.batch.bytes.len() >= max {
                    turn.lead(false)?;
                }
            } else if !access.records.has_room(changes, self.limits.segment) {
                let mut turn = access.turn()?;
                if !turn.records.has_room(changes, self.limits.segment) {
                    self.next_segment(&mut turn)?;
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Waits until a batch is written; writes it, if nobody else does.
    fn wait(&self, mut waiting: Option<Waiting>) -> Result<()> {
        while let Some(Waiting { batch, seen }) = waiting {
            self.meeting.bell(batch).wait(seen);
            if self.meeting.is_done(batch) {
                break;
            }
            waiting = self.meeting.with(|access| lead_or_sleep(access, batch))?;
        }
        Ok(())
    }

    /// Goes on in a new segment. Every crash between two of these steps leaves a legal log; `docs/formats/native.md` lists them.
    fn next_segment(&self, turn: &mut Turn<'_, '_>) -> Result<()> {
        turn.flush(true)?;
        let mut nonce = [0; 4];
        self.disk.random(&mut nonce).map_err(|source| Error::read(self.path(), source))?;
        let rotation = turn.records.next_segment(u32::from_le_bytes(nonce), self.disk.now_ns())?;
        turn.rotate(rotation)
    }

    /// See [`Wal::sync`](super::Wal::sync).
    pub(super) fn sync(&self) -> Result<()> {
        let waiting = self.meeting.with(|access| {
            access.check()?;
            join(access, true)
        })?;
        self.wait(waiting)
    }

    /// Hands everything that is gathered to the system, and says where the log then ends: directly after its last commit. `None` before the
    /// first commit since it was opened.
    pub(super) fn written_end(&self) -> Result<Option<Lsn>> {
        let (end, waiting) = self.meeting.with(|access| {
            access.check()?;
            let end = access.records.committed_end();
            Ok((end, join(access, false)?))
        })?;
        self.wait(waiting)?;
        Ok(end)
    }

    /// See [`Wal::checkpoint`](super::Wal::checkpoint); a transaction ends at `applied`. Gives where replay now starts.
    pub(super) fn checkpoint(&self, applied: Lsn, target_len: u64, target: Option<TargetState>) -> Result<Lsn> {
        self.meeting.with(|access| {
            access.check()?;
            if applied <= access.records.redo_lsn {
                return Ok(access.records.redo_lsn);
            }
            let mut turn = access.turn()?;
            let all = applied.0 >= turn.records.last.0 + COMMIT_LEN;
            if all {
                self.next_segment(&mut turn)?;
            }
            let redo_lsn = match turn.records.committed_end() {
                Some(end) if all => end,
                _ => applied,
            };
            let redo_lsn = redo_lsn.max(turn.records.redo_lsn);
            let changes = Changes::checkpoint(redo_lsn, target_len, target);
            if !turn.records.has_room(&changes, self.limits.segment) {
                self.next_segment(&mut turn)?;
            }
            turn.append(&changes, self.disk.now_ns());
            turn.flush(true)?;
            turn.records.redo_lsn = redo_lsn;
            self.redo_lsn.store(redo_lsn.0, Ordering::Release);
            Ok(redo_lsn)
        })
    }

    /// Directly after the last commit. `None` before the first commit since the log was opened.
    pub(super) fn end(&self) -> Option<Lsn> {
        self.meeting.with(|access| Ok(access.records.committed_end())).ok().flatten()
    }

    /// See [`Wal::close`](super::Wal::close).
    pub(super) fn close(&self) -> Result<()> {
        self.meeting.with(|access| {
            let mut turn = access.turn()?;
            turn.flush(true)?;
            let mark = turn.records.close_mark(self.disk.now_ns())?;
            mark.map_or(Ok(()), |mark| turn.end(&mark))
        })
    }

    pub(super) fn durable_lsn(&self) -> Lsn {
        self.meeting.durable()
    }

    pub(super) fn path(&self) -> &Path {
        self.opener.given()
    }

    pub(super) fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// Where replay starts.
    pub(super) fn redo_lsn(&self) -> Lsn {
        Lsn(self.redo_lsn.load(Ordering::Acquire))
    }
}

/// Refuses a transaction that no segment can hold.
fn fits(changes: &Changes) -> Result<()> {
    let end = transaction_end(RECORDS_START as u64, changes.entries())?;
    if end > SEGMENT_MAX {
        return Err(WriteError::SegmentFull { end, max: SEGMENT_MAX }.into());
    }
    Ok(())
}

/// What was committed up to `lsn` is on the disk already.
fn is_durable(access: &Access<'_>, lsn: Lsn) -> Result<bool> {
    let durable = access.meeting().durable();
    if lsn < durable {
        return Ok(true);
    }
    let end = access.records.committed_end().unwrap_or(durable);
    if lsn > end {
        return Err(Error::Usage(format!("nothing was committed at {lsn}: the log ends at {end}")).into());
    }
    access.check()?;
    Ok(durable >= end)
}

/// Has the present batch written and synced without a thread that waits. Gives its number.
fn submit(access: &mut Access<'_>) -> u64 {
    access.batch.sync = true;
    access.batch.joined += 1;
    access.meeting().gathered().store(access.batch.joined, Ordering::Release);
    access.submitted();
    access.number
}

/// Joins those who wait for the present batch, and leads it if nobody else can.
fn join(access: &mut Access<'_>, sync: bool) -> Result<Option<Waiting>> {
    access.meeting().here()?;
    access.batch.sync |= sync;
    access.batch.joined += 1;
    access.batch.sleepers += 1;
    access.meeting().gathered().store(access.batch.joined, Ordering::Release);
    let batch = access.number;
    lead_or_sleep(access, batch)
}

/// What a thread does next that waits for `batch`: nothing, once that is written.
fn lead_or_sleep(access: &mut Access<'_>, batch: u64) -> Result<Option<Waiting>> {
    let meeting = access.meeting();
    if meeting.is_done(batch) {
        return Ok(None);
    }
    access.check()?;
    match access.turn_to_lead() {
        Some(turn) => turn.lead(true).map(|()| None),
        None => Ok(Some(Waiting { batch, seen: meeting.bell(batch).look() })),
    }
}

/// What is going on, for a person. Waits for nothing.
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Wal");
        shown.field("path", &self.path()).field("meeting", &self.meeting).finish()
    }
}
