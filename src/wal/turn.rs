//! A turn with the writer: one thread at a time has it, and it is handed on when the turn is dropped, however that comes about.
//!
//! A *leader* has its turn to write the present batch; it does so outside the lock, and others join the next batch meanwhile. Who rotates,
//! takes a checkpoint or closes keeps the lock, so that nothing is encoded meanwhile.

use std::ops::{Deref, DerefMut};

use super::error::Result;
use super::meeting::Access;
use super::records::Rotation;
use super::state::State;
use super::sync::{Ordering, Patience};
use super::writer::{Ended, Writer};

#[must_use = "a turn that is dropped is over"]
pub(super) struct Turn<'t, 'm> {
    access: &'t mut Access<'m>,
    /// Missing after a failure: the log has none any more.
    writer: Option<Writer>,
}

impl<'m> Access<'m> {
    /// Waits until nobody has the writer, and takes it. Whoever waits here has it before the next leader.
    pub(super) fn turn(&mut self) -> Result<Turn<'_, 'm>> {
        self.meeting().here()?;
        self.check()?;
        while self.writer.is_none() {
            let free = self.meeting().free();
            let seen = free.look();
            self.wanting += 1;
            self.outside(|| free.wait(seen));
            self.wanting -= 1;
            self.check()?;
        }
        Ok(Turn { writer: self.writer.take(), access: self })
    }

    /// A turn to lead the present batch: if nobody has the writer, or waits to have it.
    pub(super) fn turn_to_lead(&mut self) -> Option<Turn<'_, 'm>> {
        if self.wanting > 0 {
            return None;
        }
        let writer = self.writer.take()?;
        Some(Turn { access: self, writer: Some(writer) })
    }
}

impl Turn<'_, '_> {
    /// Writes the present batch, with all who join it until then. Others go on meanwhile. `joined`: the leader is one of those who did.
    pub(super) fn lead(mut self, joined: bool) -> Result<()> {
        self.gather();
        let others = self.batch.joined > usize::from(joined);
        self.write_batch(others, |access, write| access.outside(write))
    }

    /// Writes what is gathered, and syncs it if `sync` says so or somebody in the batch waits for that. Nobody goes on meanwhile.
    pub(super) fn flush(&mut self, sync: bool) -> Result<()> {
        self.batch.sync |= sync;
        self.write_batch(true, |_, write| write())
    }

    /// Runs a step that writes files; nobody goes on meanwhile. Its failure is the log's.
    fn step(&mut self, step: impl FnOnce(&mut Writer) -> Result<(), Ended>) -> Result<()> {
        let Some(writer) = &mut self.writer else { return self.check() };
        let stepped = step(writer);
        self.note(stepped)
    }

    /// Goes on in a new segment: all of the one before is on the disk.
    pub(super) fn rotate(&mut self, rotation: Rotation) -> Result<()> {
        self.step(|writer| writer.next_segment(&rotation.header, &rotation.head, rotation.seal.as_deref()))?;
        self.records.rotated(rotation);
        Ok(())
    }

    /// Writes the last record of the log.
    pub(super) fn end(&mut self, mark: &[u8]) -> Result<()> {
        self.step(|writer| writer.end(mark))
    }

    /// Writes what is gathered and gives the files up: nothing more will be written.
    pub(super) fn retire(mut self) -> Result<()> {
        self.flush(false)?;
        self.writer = None;
        self.access.end();
        Ok(())
    }

    /// Lets those join who took part lately, for a while: threads that were just told of their commit are about to come with the next.
    fn gather(&mut self) {
        let Some(writer) = &self.writer else { return };
        let expected = self.access.expected;
        if self.access.batch.sync && self.access.batch.joined < expected {
            let gathered = self.access.meeting().gathered();
            let mut patience = Patience::new(writer.sync_time / 3);
            self.access.outside(|| while gathered.load(Ordering::Acquire) < expected && patience.lasts() {});
        }
    }

    fn write_batch(
        &mut self,
        others: bool,
        run: impl FnOnce(&mut Access<'_>, &mut dyn FnMut() -> Result<(), Ended>) -> Result<(), Ended>,
    ) -> Result<()> {
        let Some(writer) = &mut self.writer else { return self.access.check() };
        let (number, mut batch) = self.access.take_batch(std::mem::take(&mut writer.spare));
        self.access.meeting().gathered().store(0, Ordering::Release);
        let written = run(self.access, &mut || writer.write(&mut batch));
        if written.is_ok() {
            // Before anybody can see that the batch is done.
            self.access.set_durable(writer.durable());
            self.access.expected = batch.joined + self.access.batch.joined;
            self.access.set_done(number);
            self.access.finished(number, others && batch.joined > 0);
            batch.clear();
            writer.spare = batch;
        }
        self.note(written)
    }

    /// Takes note of how it went, and of what is on the disk now.
    fn note(&mut self, outcome: Result<(), Ended>) -> Result<()> {
        let durable = self.access.meeting().durable();
        match (outcome, &self.writer) {
            (Ok(()), Some(writer)) => self.access.set_durable(writer.durable()),
            (Ok(()), None) => {}
            (Err(error), _) => {
                self.writer = None;
                self.access.fail(durable, error);
            }
        }
        self.access.check()
    }
}

/// The turn is over: whoever is next is woken when the lock is left.
impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.access.give_back(writer);
        }
    }
}

impl Deref for Turn<'_, '_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.access
    }
}

impl DerefMut for Turn<'_, '_> {
    fn deref_mut(&mut self) -> &mut State {
        self.access
    }
}
