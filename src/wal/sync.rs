//! The primitives that threads meet at: the standard library's, or those of `shuttle`, which tries their schedules
//! (`RUSTFLAGS="--cfg shuttle"`).

#[cfg(not(shuttle))]
pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(shuttle))]
pub(super) use std::thread;
use std::time::Duration;
#[cfg(not(shuttle))]
use std::{sync::atomic::AtomicU32, time::Instant};

#[cfg(not(shuttle))]
use rustix::thread::futex;
#[cfg(shuttle)]
use shuttle::sync::Condvar;
#[cfg(shuttle)]
pub(super) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
#[cfg(shuttle)]
pub(super) use shuttle::thread;
#[cfg(shuttle)]
use std::sync::PoisonError;

/// Everybody who sleeps at a bell. The system takes the number as a signed one.
pub(super) const ALL: u32 = i32::MAX as u32;

/// Where threads sleep until something has happened. Who wakes needs no lock, so that many can go on at once.
///
/// A thread [looks](Self::look), then looks whether it must sleep, then [waits](Self::wait): what happens after the first look does not
/// let it sleep.
#[cfg(not(shuttle))]
#[derive(Default)]
pub(super) struct Bell(AtomicU32);

#[cfg(not(shuttle))]
impl Bell {
    pub(super) fn look(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps until the bell is rung, if it was not since the look. May return for no reason.
    pub(super) fn wait(&self, seen: u32) {
        let _ = futex::wait(&self.0, futex::Flags::PRIVATE, seen, None);
    }

    /// Wakes so many of those who sleep.
    pub(super) fn ring(&self, count: u32) {
        self.0.fetch_add(1, Ordering::Release);
        let _ = futex::wake(&self.0, futex::Flags::PRIVATE, count);
    }
}

/// The same by the primitives whose schedules are tried.
#[cfg(shuttle)]
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<u32>,
    awake: Condvar,
}

#[cfg(shuttle)]
impl Bell {
    pub(super) fn look(&self) -> u32 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait(&self, seen: u32) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if *rung == seen {
            drop(self.awake.wait(rung));
        }
    }

    pub(super) fn ring(&self, count: u32) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.wrapping_add(1);
        if count == 1 { self.awake.notify_one() } else { self.awake.notify_all() }
    }
}

/// How long a leader waits for others.
pub(super) struct Patience {
    #[cfg(not(shuttle))]
    until: Instant,
    #[cfg(shuttle)]
    looks: usize,
}

#[cfg(not(shuttle))]
impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { until: Instant::now() + limit }
    }

    /// Lets other threads run; `false` once the time is over.
    pub(super) fn lasts(&mut self) -> bool {
        std::thread::yield_now();
        Instant::now() < self.until
    }
}

/// Time has no meaning where schedules are tried: a few looks, with anything in between.
#[cfg(shuttle)]
impl Patience {
    pub(super) fn new(_: Duration) -> Self {
        Self { looks: 3 }
    }

    pub(super) fn lasts(&mut self) -> bool {
        shuttle::thread::yield_now();
        self.looks = self.looks.saturating_sub(1);
        self.looks > 0
    }
}
