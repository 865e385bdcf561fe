//! Where threads meet: the state of the log behind a lock, and the bells at which they sleep.
//!
//! [`Meeting::with`] is the only way to the state, and whoever leaves it wakes those who can go on now. So there is nothing that an early
//! return could forget, and a panic while the lock is held becomes a failure of the log that everybody is told.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{PoisonError, TryLockError};

use super::error::Result;
use super::owner::Opener;
use super::state::{News, State};
use super::sync::{ALL, AtomicU64, AtomicUsize, Bell, Mutex, MutexGuard, Ordering};
use crate::formats::native::layout::Lsn;

pub(super) struct Meeting {
    opener: Opener,
    state: Mutex<State>,
    /// The last batch that was written, and synced if it asked for that. Changed with the lock held, read without it.
    done: AtomicU64,
    /// Everything below this LSN is on the disk. Likewise.
    durable: AtomicU64,
    /// How many have joined the present batch: what a leader looks at while it waits for more.
    gathered: AtomicUsize,
    /// Where those sleep who wait for an even batch, and those who wait for an odd one.
    finished: [Bell; 2],
    /// Where those sleep who want the writer for themselves.
    free: Bell,
    /// Where the helper sleeps.
    help: Bell,
}

impl Meeting {
    /// For a log of which everything below `durable` is on the disk.
    pub(super) fn new(opener: Opener, state: State, durable: Lsn) -> Self {
        Self {
            opener,
            state: Mutex::new(state),
            done: AtomicU64::new(0),
            durable: AtomicU64::new(durable.0),
            gathered: AtomicUsize::new(0),
            finished: Default::default(),
            free: Bell::default(),
            help: Bell::default(),
        }
    }

    /// Does `work` with the lock held, then wakes whom it concerns. If the work panics, the log has failed before anybody else sees it.
    ///
    /// # Errors
    /// Those of the work; and in a child of the process that opened the log, where the lock may be held by a thread that does not exist there.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Access<'_>) -> Result<T>) -> Result<T> {
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.here()?;
                self.lock()
            }
        };
        let mut access = Access { meeting: self, state: Some(state) };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut access)));
        if outcome.is_err() {
            access.fail_by_panic(self.durable());
        }
        let wakers = access.take_wakers();
        access.leave();
        // These are the program's code, which may use the log: so nothing of it is in this thread's hands now.
        for waker in wakers {
            // Whatever it does, the others are to be woken.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Refuses in a child of the process that opened the log. Asked before anything that waits.
    pub(super) fn here(&self) -> Result<()> {
        self.opener.here()
    }

    pub(super) fn is_done(&self, batch: u64) -> bool {
        self.done.load(Ordering::Acquire) >= batch
    }

    pub(super) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    pub(super) fn gathered(&self) -> &AtomicUsize {
        &self.gathered
    }

    /// Where those sleep who wait for this batch.
    pub(super) fn bell(&self, batch: u64) -> &Bell {
        &self.finished[batch as usize % 2]
    }

    pub(super) fn free(&self) -> &Bell {
        &self.free
    }

    pub(super) fn help(&self) -> &Bell {
        &self.help
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic gets past `with`; and if one did, the state would still say what is true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called without the lock, so that those who wake need not wait for it.
    fn wake(&self, news: &News) {
        if news.ended {
            self.finished.iter().chain([&self.free, &self.help]).for_each(|bell| bell.ring(ALL));
        }
        for (bell, finished) in self.finished.iter().zip(news.finished) {
            if finished {
                bell.ring(ALL);
            }
        }
        if news.turn {
            self.free.ring(1);
        }
        if let Some(batch) = news.lead {
            self.bell(batch).ring(1);
        }
        if news.help {
            self.help.ring(1);
        }
    }
}

/// Without waiting for the lock.
impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Meeting");
        shown.field("durable", &self.durable()).field("done", &self.done.load(Ordering::Acquire));
        match self.state.try_lock() {
            Ok(state) => shown.field("state", &*state),
            Err(TryLockError::Poisoned(state)) => shown.field("state", &**state.get_ref()),
            Err(TryLockError::WouldBlock) => shown.field("state", &format_args!("locked")),
        };
        shown.finish_non_exhaustive()
    }
}

/// The state, with the lock held.
pub(super) struct Access<'m> {
    meeting: &'m Meeting,
    /// Missing only within [`outside`](Self::outside).
    state: Option<MutexGuard<'m, State>>,
}

impl<'m> Access<'m> {
    pub(super) fn meeting(&self) -> &'m Meeting {
        self.meeting
    }

    /// Does `work` without the lock, and takes the lock again.
    pub(super) fn outside<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.leave();
        let outcome = catch_unwind(AssertUnwindSafe(work));
        self.state = Some(self.meeting.lock());
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Takes note that a batch is written.
    pub(super) fn set_done(&mut self, batch: u64) {
        self.meeting.done.store(batch, Ordering::Release);
    }

    /// Takes note that everything below `lsn` is on the disk.
    pub(super) fn set_durable(&mut self, lsn: Lsn) {
        self.meeting.durable.fetch_max(lsn.0, Ordering::AcqRel);
    }

    fn leave(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        let news = state.news();
        drop(state);
        self.meeting.wake(&news);
    }
}

const HELD: &str = "the lock is held, but for the work done outside of it, which does not have this";

impl Deref for Access<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect(HELD)
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect(HELD)
    }
}
