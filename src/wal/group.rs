//! Group commit: whoever commits encodes its records behind those that wait already; one of those that wait, the leader, writes and syncs
//! for all of them, and then hands on.
//!
//! There is one writer, so the next write waits for the sync before it, and a batch can promise all that stands in front of it.
//! A commit gets its place in the log when it joins a batch, and the promise is put in when the batch is written.
//!
//! A leader whose batch is smaller than the last ones waits for the others, a third of a sync at most: threads that were just told of their
//! commit are about to come back with the next.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::Durability;
use super::error::{Result, WalError};
use super::sync::{ALL, AtomicU64, AtomicUsize, Bell, Condvar, Mutex, MutexGuard, Ordering, Patience};
use super::transaction::Changes;
use super::writer::{Batch, Ended, Writer};
use crate::error::Error;
use crate::formats::native::encode::{WriteError, transaction_end};
use crate::formats::native::layout::{Lsn, RECORD_HEADER, RECORDS_START, SEGMENT_MAX, SegmentHeader, padded};
use crate::formats::native::payload::Commit;
use crate::formats::native::writer::SegmentWriter;
use crate::vfs::Disk;

/// Commits that wait for nothing are written when this much is gathered, in bytes.
const BUFFER_MAX: usize = 256 * 1024;

/// The records of the present segment, as they are encoded.
type Encoder = SegmentWriter<Vec<u8>>;

/// A log that is written, shared by threads.
pub(super) struct Group {
    path: PathBuf,
    disk: Disk,
    limits: Limits,
    state: Mutex<State>,
    /// Where replay starts.
    redo_lsn: AtomicU64,
    /// The last batch that was written, and synced if it asked for that. Changed behind the lock, looked at without.
    done: AtomicU64,
    /// Where those sleep who wait for an even batch, and those who wait for an odd one.
    finished: [Bell; 2],
    /// Those who want the writer for themselves.
    free: Condvar,
    /// How many wait for the present batch: what a leader looks at while it waits.
    gathered: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A segment that is longer takes no further transaction, in bytes.
    pub(super) segment: u64,
    /// So many bytes may wait for a sync after a commit that does not ask for one.
    pub(super) unsynced: u64,
}

struct State {
    /// What the first segment's header will say, until there is a commit for it.
    first: Option<SegmentHeader>,
    encoder: Option<Encoder>,
    /// The last commit's LSN and time.
    last: Lsn,
    time_ns: u64,
    redo_lsn: Lsn,
    batch: Batch,
    /// The present batch's number.
    number: u64,
    /// Missing while a leader has it, and for good after a failure.
    writer: Option<Writer>,
    /// Threads that want the writer for themselves: nobody becomes a leader before they had it.
    wanting: usize,
    /// How many commits the next batch can expect.
    expected: usize,
    failure: Option<Failure>,
}

/// What became unknown, and why.
#[derive(Clone)]
struct Failure {
    from: Lsn,
    to: Lsn,
    cause: Ended,
}

impl Group {
    /// A log at `path` whose last commit is `last`, and which goes on with a segment of the header `first`.
    pub(super) fn new(
        path: &Path,
        disk: Disk,
        limits: Limits,
        (last, time_ns): (Lsn, u64),
        first: SegmentHeader,
        writer: Writer,
    ) -> Self {
        let state = State {
            last,
            time_ns,
            redo_lsn: first.redo_lsn,
            first: Some(first),
            encoder: None,
            batch: Batch::default(),
            number: 1,
            writer: Some(writer),
            wanting: 0,
            expected: 1,
            failure: None,
        };
        Self {
            path: path.into(),
            disk,
            limits,
            redo_lsn: AtomicU64::new(state.redo_lsn.0),
            state: Mutex::new(state),
            done: AtomicU64::new(0),
            finished: Default::default(),
            free: Condvar::new(),
            gathered: AtomicUsize::new(0),
        }
    }

    /// See [`Transaction::commit_with`](super::Transaction::commit_with).
    pub(super) fn commit(&self, changes: &Changes, durability: Durability) -> Result<Lsn> {
        let fresh = transaction_end(RECORDS_START as u64, changes.entries())?;
        if fresh > SEGMENT_MAX {
            return Err(WriteError::SegmentFull { end: fresh, max: SEGMENT_MAX }.into());
        }
        let mut state = self.lock();
        self.check(&state)?;
        while !state.has_room(changes, self.limits.segment) {
            state = self.with_writer(state)?;
            if !state.has_room(changes, self.limits.segment) {
                self.next_segment(&mut state)?;
            }
        }
        let lsn = state.append(changes, self.disk.now_ns())?;
        if durability == Durability::Buffered && state.batch.bytes.len() < BUFFER_MAX {
            return Ok(lsn);
        }
        state.batch.sync |= durability == Durability::Durable || state.is_over(self.limits.unsynced);
        state.batch.waiting += 1;
        self.gathered.store(state.batch.waiting, Ordering::Release);
        self.wait(state).map(|()| lsn)
    }

    /// Waits until the present batch is written; writes it, if nobody else does.
    fn wait<'s>(&'s self, mut state: MutexGuard<'s, State>) -> Result<()> {
        let mine = state.number;
        loop {
            let bell = self.bell(mine);
            let seen = bell.look();
            if self.is_done(mine) {
                return Ok(());
            }
            self.check(&state)?;
            match state.take_writer() {
                Some(writer) => return self.lead(state, writer),
                // Somebody wants the writer for himself, and may have been overtaken.
                None if state.writer.is_some() => self.free.notify_one(),
                None => {}
            }
            drop(state);
            bell.wait(seen);
            if self.is_done(mine) {
                return Ok(());
            }
            state = self.lock();
        }
    }

    fn is_done(&self, number: u64) -> bool {
        self.done.load(Ordering::Acquire) >= number
    }

    fn bell(&self, number: u64) -> &Bell {
        &self.finished[number as usize % 2]
    }

    /// Writes the present batch, with all who join it meanwhile.
    fn lead<'s>(&'s self, mut state: MutexGuard<'s, State>, mut writer: Writer) -> Result<()> {
        if state.batch.sync && state.batch.waiting < state.expected {
            let expected = state.expected;
            drop(state);
            let mut patience = Patience::new(writer.sync_time / 3);
            while self.gathered.load(Ordering::Acquire) < expected && patience.lasts() {}
            state = self.lock();
        }
        let (number, mut batch) = self.begin_batch(&mut state, &mut writer);
        drop(state);
        let written = writer.write(&mut batch);
        let mut state = self.lock();
        // The leader is one of those who waited.
        let others = batch.waiting - 1;
        let told = self.end_batch(&mut state, number, batch, writer, written, others);
        let checked = self.check(&state);
        drop(state);
        self.tell(told);
        checked
    }

    /// Takes the present batch; the next begins.
    fn begin_batch(&self, state: &mut State, writer: &mut Writer) -> (u64, Batch) {
        let batch = std::mem::replace(&mut state.batch, std::mem::take(&mut writer.spare));
        self.gathered.store(0, Ordering::Release);
        state.number += 1;
        (state.number - 1, batch)
    }

    /// Takes note of how writing a batch ended, and says who is to be told.
    fn end_batch(
        &self,
        state: &mut State,
        number: u64,
        mut batch: Batch,
        mut writer: Writer,
        written: Result<(), Ended>,
        others: usize,
    ) -> Told {
        match written {
            Ok(()) => {
                self.done.store(number, Ordering::Release);
                state.expected = batch.waiting + state.batch.waiting;
                batch.clear();
                writer.spare = batch;
                state.writer = Some(writer);
            }
            Err(error) => state.fail(&writer, error),
        }
        state.told(number, others)
    }

    /// Wakes whom a batch's end, or the writer's return, concerns.
    fn tell(&self, told: Told) {
        let Told { number, finished, next, wanting } = told;
        if finished > 0 {
            self.bell(number).ring(finished);
        }
        if next > 0 {
            self.bell(number + 1).ring(next);
        }
        if wanting > 0 {
            self.free.notify_all();
        }
    }

    /// Waits until no leader is at work. What comes then is done behind the lock, so that nobody can become one meanwhile.
    fn with_writer<'s>(&'s self, mut state: MutexGuard<'s, State>) -> Result<MutexGuard<'s, State>> {
        while state.writer.is_none() {
            self.check(&state)?;
            state.wanting += 1;
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.wanting -= 1;
        }
        Ok(state)
    }

    /// Writes what is gathered, and syncs it if `sync` says so. All this behind the lock.
    fn flush(&self, state: &mut State, sync: bool) -> Result<()> {
        let Some(mut writer) = state.writer.take() else { return self.check(state) };
        let (number, mut batch) = self.begin_batch(state, &mut writer);
        batch.sync |= sync;
        let written = writer.write(&mut batch);
        let others = batch.waiting;
        let told = self.end_batch(state, number, batch, writer, written, others);
        self.tell(told);
        self.check(state)
    }

    /// Runs a step that writes files, with nobody beside it; an error of it is the end of this writer.
    fn step(&self, state: &mut State, step: impl FnOnce(&mut Writer) -> Result<(), Ended>) -> Result<()> {
        let Some(mut writer) = state.writer.take() else { return self.check(state) };
        match step(&mut writer) {
            Ok(()) => state.writer = Some(writer),
            Err(error) => {
                state.fail(&writer, error);
                self.release(state);
            }
        }
        self.check(state)
    }

    /// Goes on in a new segment. Every crash between two of these steps leaves a legal log; `docs/formats/native.md` lists them.
    fn next_segment(&self, state: &mut State) -> Result<()> {
        self.flush(state, true)?;
        let mut nonce = [0; 4];
        self.disk.random(&mut nonce).map_err(|source| Error::read(&self.path, source))?;
        let nonce = u32::from_le_bytes(nonce);
        let created_ns = self.disk.now_ns().max(state.time_ns);
        let full = state.encoder.take();
        let header = match (&full, state.first.take()) {
            (Some(full), _) => full.next_header(nonce, state.redo_lsn, created_ns),
            (None, Some(first)) => SegmentHeader { nonce, created_ns, ..first },
            // The first header is there until the first segment is.
            (None, None) => return self.check(state),
        };
        let mut next = Encoder::create(Vec::new(), &header).map_err(WriteError::from)?;
        let head = std::mem::take(next.get_mut());
        let seal = full.map(|full| seal(full, &header));
        self.step(state, |writer| writer.next_segment(&header, &head, seal.as_deref()))?;
        next.promise(RECORDS_START as u32)?;
        state.encoder = Some(next);
        Ok(())
    }

    /// See [`Wal::sync`](super::Wal::sync).
    pub(super) fn sync(&self) -> Result<()> {
        let mut state = self.lock();
        self.check(&state)?;
        state = self.with_writer(state)?;
        self.flush(&mut state, true)?;
        self.release(&state);
        Ok(())
    }

    /// Hands everything that is gathered to the system, and says where the log then ends: behind its last commit. `None` before the first
    /// commit since it was opened.
    pub(super) fn written_end(&self) -> Result<Option<Lsn>> {
        let mut state = self.lock();
        self.check(&state)?;
        state = self.with_writer(state)?;
        self.flush(&mut state, false)?;
        self.release(&state);
        Ok(state.encoder.as_ref().map(|encoder| Lsn::new(encoder.header().number, encoder.last_commit_end())))
    }

    /// See [`Wal::checkpoint`](super::Wal::checkpoint). Gives where replay now starts.
    pub(super) fn checkpoint(&self, applied: Lsn, target_len: u64) -> Result<Lsn> {
        let mut state = self.lock();
        self.check(&state)?;
        state = self.with_writer(state)?;
        if applied > state.last {
            let why = format!("nothing was committed at {applied}; the last commit is at {}", state.last);
            return Err(Error::Usage(why).into());
        }
        let all = state.last == applied;
        if all {
            self.next_segment(&mut state)?;
        }
        let redo_lsn = match &state.encoder {
            Some(encoder) if all => Lsn::new(encoder.header().number, RECORDS_START as u32),
            _ => Lsn(applied.0 + COMMIT_LEN),
        };
        let changes = Changes::checkpoint(redo_lsn.max(state.redo_lsn), target_len, None);
        if !state.has_room(&changes, self.limits.segment) {
            self.next_segment(&mut state)?;
        }
        state.append(&changes, self.disk.now_ns())?;
        self.flush(&mut state, true)?;
        state.redo_lsn = redo_lsn.max(state.redo_lsn);
        self.redo_lsn.store(state.redo_lsn.0, Ordering::Release);
        self.release(&state);
        Ok(state.redo_lsn)
    }

    /// See [`Wal::close`](super::Wal::close).
    pub(super) fn close(&self) -> Result<()> {
        let mut state = self.lock();
        self.check(&state)?;
        state = self.with_writer(state)?;
        self.flush(&mut state, true)?;
        let Some(mut encoder) = state.encoder.take() else { return Ok(()) };
        let time_ns = self.disk.now_ns().max(state.time_ns);
        encoder.close_mark(time_ns)?;
        let mark = std::mem::take(encoder.get_mut());
        self.step(&mut state, |writer| writer.end(&mark))
    }

    /// Where replay starts.
    pub(super) fn redo_lsn(&self) -> Lsn {
        Lsn(self.redo_lsn.load(Ordering::Acquire))
    }

    /// After work behind the lock: lets in who waited meanwhile.
    fn release(&self, state: &State) {
        self.tell(state.told(state.number - 1, 0));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, state: &State) -> Result<()> {
        let Some(Failure { from, to, cause }) = state.failure.clone() else { return Ok(()) };
        let path = self.path.clone();
        Err(match cause {
            Ended::Failed(cause) => WalError::DurabilityUnknown { path, from, to, cause },
            Ended::NotOwner(why) => WalError::NotOwner { path, why },
        })
    }
}

/// How many are to be woken, of those who wait for batch `number`, for the one behind it, and for the writer.
struct Told {
    number: u64,
    finished: u32,
    next: u32,
    wanting: usize,
}

/// Bytes of a COMMIT record.
const COMMIT_LEN: u64 = (RECORD_HEADER + padded(Commit::LEN)) as u64;

/// The bytes of the record that names a segment's successor.
fn seal(mut full: Encoder, next: &SegmentHeader) -> Vec<u8> {
    full.seal(next.number, next.nonce).expect("every transaction leaves room for the last record, and none is open");
    std::mem::take(full.get_mut())
}

impl State {
    /// The writer, for a leader: if it is there, and nobody wants it for himself.
    fn take_writer(&mut self) -> Option<Writer> {
        if self.wanting == 0 { self.writer.take() } else { None }
    }

    /// Who is to be woken when batch `number` has ended, for which so many sleep.
    fn told(&self, number: u64, others: usize) -> Told {
        let failed = self.failure.is_some();
        let finished = if others > 0 || failed { ALL } else { 0 };
        let next = match self.batch.waiting {
            _ if failed => ALL,
            0 => 0,
            _ if self.wanting > 0 => 0,
            _ => 1,
        };
        Told { number, finished, next, wanting: self.wanting }
    }

    /// The present segment takes these changes: it stays below its limit, or they are longer than that by themselves.
    fn has_room(&self, changes: &Changes, limit: u64) -> bool {
        let Some(encoder) = &self.encoder else { return false };
        let end = encoder.end().into();
        end == RECORDS_START as u64 || transaction_end(end, changes.entries()).is_ok_and(|end| end <= limit)
    }

    /// Encodes a transaction behind what is gathered.
    fn append(&mut self, changes: &Changes, now_ns: u64) -> Result<Lsn> {
        // There is room for it, so there is a segment.
        let encoder = self.encoder.as_mut().expect("room for a transaction is room in a segment");
        for entry in changes.entries() {
            encoder.entry(&entry)?;
        }
        self.time_ns = self.time_ns.max(now_ns);
        let lsn = encoder.commit(self.time_ns)?;
        self.last = lsn;
        // The first of a batch is taken over as it is.
        if self.batch.bytes.is_empty() {
            std::mem::swap(&mut self.batch.bytes, encoder.get_mut());
        } else {
            self.batch.bytes.append(encoder.get_mut());
        }
        self.batch.commits.push(self.batch.bytes.len() - COMMIT_LEN as usize);
        Ok(lsn)
    }

    /// More waits for a sync than may.
    fn is_over(&self, unsynced_max: u64) -> bool {
        let written = self.writer.as_ref().map_or(0, Writer::unsynced);
        written + self.batch.bytes.len() as u64 > unsynced_max
    }

    fn fail(&mut self, writer: &Writer, cause: Ended) {
        let encoded = self.encoder.as_ref().map(|encoder| Lsn::new(encoder.header().number, encoder.end()));
        let (from, to) = writer.unknown();
        self.failure = Some(Failure { from, to: encoded.unwrap_or(to).max(to), cause });
    }
}
