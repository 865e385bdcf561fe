//! Figures of a proof belong into the output of a run that passes; what `println!` prints is kept back there.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line that is always seen. The name of the thread is that of the test.
pub fn print(line: Arguments<'_>) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    // One write a line, so that tests that run side by side do not mix theirs.
    let _ = std::io::stderr().write_all(format!("  {test}: {line}\n").as_bytes());
}

/// As `println!`, and seen.
#[macro_export]
macro_rules! figure {
    ($($line:tt)*) => { $crate::figure::print(format_args!($($line)*)) };
}
