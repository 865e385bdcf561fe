//! Group commit: whoever commits encodes its records after those that wait already; one of those that wait, the leader, writes and syncs
//! for all of them.
//!
//! There is one writer, so the next write waits for the sync before it, and a batch can promise all that lies before it.
//! A commit gets its place in the log when it joins a batch, and the promise is put in when the batch is written.
//!
//! A leader whose batch is smaller than the last ones waits for the others, a third of a sync at most: threads that were just told of their
//! commit are about to come back with the next.

use std::sync::Arc;

use super::Durability;
use super::error::Result;
use super::meeting::{Access, Meeting};
use super::owner::Owner;
use super::records::{COMMIT_LEN, Records};
use super::state::State;
use super::sync::{AtomicU64, Ordering};
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

/// A log that is written, shared by threads.
pub(super) struct Group {
    owner: Arc<Owner>,
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
    /// A log of `owner` whose last commit is `last`, and which goes on with a segment of the header `first`.
    pub(super) fn new(
        owner: Arc<Owner>,
        disk: Disk,
        limits: Limits,
        last: (Lsn, u64),
        first: SegmentHeader,
        writer: Writer,
    ) -> Self {
        let durable = writer.durable();
        let redo_lsn = AtomicU64::new(first.redo_lsn.0);
        let state = State::new(owner.given(), Records::new(first, last), writer);
        Self { owner, disk, limits, redo_lsn, meeting: Meeting::new(state, durable) }
    }

    /// See [`Transaction::commit_with`](super::Transaction::commit_with).
    pub(super) fn commit(&self, changes: &Changes, durability: Durability) -> Result<Lsn> {
        let fresh = transaction_end(RECORDS_START as u64, changes.entries())?;
        if fresh > SEGMENT_MAX {
            return Err(WriteError::SegmentFull { end: fresh, max: SEGMENT_MAX }.into());
        }
        // A commit that waits for nothing costs too little to ask each time whether this is a child of fork. So whoever would have to wait asks, or to
        // write: for the lock first, which a thread may hold that is not there.
        if !self.meeting.is_free() {
            self.owner.here()?;
        }
        let (lsn, waiting) = self.meeting.with(|access| {
            access.check()?;
            while !access.records.has_room(changes, self.limits.segment) {
                self.owner.here()?;
                let mut turn = access.turn()?;
                if !turn.records.has_room(changes, self.limits.segment) {
                    self.next_segment(&mut turn)?;
                }
            }
            let lsn = access.append(changes, self.disk.now_ns());
            if durability == Durability::Buffered && access.batch.bytes.len() < BUFFER_MAX {
                return Ok((lsn, None));
            }
            self.owner.here()?;
            let sync = durability == Durability::Durable || access.is_over(self.limits.unsynced);
            Ok::<_, super::WalError>((lsn, join(access, sync)?))
        })?;
        self.wait(waiting)?;
        Ok(lsn)
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
        self.disk.random(&mut nonce).map_err(|source| Error::read(self.owner.given(), source))?;
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
            Ok::<_, super::WalError>((end, join(access, false)?))
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
        self.meeting.with(|access| access.records.committed_end())
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

    /// Where replay starts.
    pub(super) fn redo_lsn(&self) -> Lsn {
        Lsn(self.redo_lsn.load(Ordering::Acquire))
    }
}

/// Joins those who wait for the present batch, and leads it if nobody else can.
fn join(access: &mut Access<'_>, sync: bool) -> Result<Option<Waiting>> {
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
        Some(turn) => turn.lead().map(|()| None),
        None => Ok(Some(Waiting { batch, seen: meeting.bell(batch).look() })),
    }
}
