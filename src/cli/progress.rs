//! A progress bar on standard error: only on a terminal, and only for work that takes long.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far the command has come, over all of its logs. Shared by threads.
pub struct Progress(Option<Bar>);

struct Bar {
    start: Instant,
    done: AtomicU64,
    /// Hidden at first, so that it has measured the speed when it appears.
    bar: ProgressBar,
    appears: Once,
}

impl Progress {
    /// A bar for `total` bytes; none for 0.
    pub fn new(total: u64) -> Self {
        let bar = || {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
            Bar { start: Instant::now(), done: AtomicU64::new(0), bar: bar.with_style(style()), appears: Once::new() }
        };
        Self((total > 0).then(bar))
    }

    /// A listener for one log's reading, told each time how many bytes have been read so far.
    pub fn listener(&self) -> impl FnMut(u64) {
        let mut before = 0;
        move |offset: u64| {
            if let Some(bar) = &self.0 {
                bar.advance(offset.saturating_sub(before));
                before = offset.max(before);
            }
        }
    }

    /// Runs `print` with the bar out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.bar.suspend(print),
            None => print(),
        }
    }
}

impl Bar {
    fn advance(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Relaxed);
        // A dump comes by with every record; a look at the clock for each would cost more than the record.
        if before >> 20 != (before + bytes) >> 20 {
            self.bar.set_position(before + bytes);
            if self.start.elapsed() >= PATIENCE {
                self.appears.call_once(|| self.bar.set_draw_target(ProgressDrawTarget::stderr()));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    // The template is a constant that the test below reads.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_logs_add_up_and_none_goes_back() {
        let progress = Progress::new(10 << 20);
        let (mut one, mut two) = (progress.listener(), progress.listener());
        for (first, second) in [(1 << 20, 0), (3 << 20, 5 << 20), (2 << 20, 5 << 20)] {
            one(first);
            two(second);
        }
        let bar = progress.0.as_ref().expect("a bar");
        assert_eq!((bar.done.load(Relaxed), bar.bar.position()), (8 << 20, 8 << 20));
    }

    #[test]
    fn nothing_to_do_has_no_bar() {
        let progress = Progress::new(0);
        progress.listener()(1 << 30);
        assert_eq!(progress.aside(|| 7), 7);
    }
}
