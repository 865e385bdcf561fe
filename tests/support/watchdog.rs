//! Turns a hang into a failure that says what goes on.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Without a pat for so long, something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

type State = Box<dyn Fn() -> String + Send>;

/// Barks where nobody pats it.
pub struct Watchdog {
    pats: Arc<AtomicU64>,
    state: Arc<Mutex<State>>,
    /// Dropped with this, which ends its thread.
    _end: Sender<()>,
}

impl Watchdog {
    pub fn new() -> Self {
        let (pats, state) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Box::new(String::new) as State)));
        let (end, ended) = channel();
        let (patted, shown) = (pats.clone(), state.clone());
        thread::spawn(move || {
            let mut before = None;
            while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let now = patted.load(Ordering::Relaxed);
                if before.replace(now) == Some(now) {
                    let state = shown.lock().unwrap_or_else(PoisonError::into_inner)();
                    eprintln!("HANG: nothing happened for {PATIENCE:?}, after {now} steps\n{state}");
                    // The threads that hang cannot be ended otherwise.
                    process::exit(101);
                }
            }
        });
        Self { pats, state, _end: end }
    }

    /// What is said of a hang from now on.
    pub fn watch(&self, state: impl Fn() -> String + Send + 'static) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(state);
        self.pat();
    }

    /// Something happened.
    #[allow(dead_code, reason = "not every test does many things")]
    pub fn pat(&self) {
        self.pats.fetch_add(1, Ordering::Relaxed);
    }
}
