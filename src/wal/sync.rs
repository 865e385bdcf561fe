//! The primitives that threads meet at: the standard library's, or those of `shuttle`, which tries their schedules
//! (`RUSTFLAGS="--cfg shuttle"`).

#[cfg(not(shuttle))]
pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(shuttle))]
use std::time::{Duration, Instant};

#[cfg(shuttle)]
pub(super) use shuttle::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(shuttle)]
use std::time::Duration;

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
