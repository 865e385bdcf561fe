//! A progress bar on standard error: only on a terminal, and only for work that takes long.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far the command has come, over all of its logs. Shared by threads.
pub struct Progress {
    total: u64,
    done: AtomicU64,
    /// When the bar may appear; `None` where nobody would see it.
    start: Option<Instant>,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    /// A bar for `total` bytes; none for 0.
    pub fn new(total: u64) -> Self {
        let start = (total > 0).then(Instant::now);
        Self { total, done: AtomicU64::new(0), start, bar: OnceLock::new() }
    }

    /// A listener for one log's reading, told each time how many bytes have been read so far.
    pub fn listener(&self) -> impl FnMut(u64) {
        let mut before = 0;
        move |offset: u64| {
            self.advance(offset.saturating_sub(before));
            before = offset.max(before);
        }
    }

    /// Runs `print` with the bar out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match self.bar.get() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn advance(&self, bytes: u64) {
        let Some(start) = self.start else { return };
        let done = self.done.fetch_add(bytes, Relaxed) + bytes;
        if start.elapsed() >= PATIENCE {
            self.bar.get_or_init(|| bar(self.total)).set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: u64) -> ProgressBar {
    let template = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    // The template is a constant, and the completions test runs every command: a wrong one would not get this far.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}
