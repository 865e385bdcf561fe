//! `waltool` reads, judges, repairs and replays write-ahead logs.
//!
//! The layers, from the bottom up; a module uses only what stands above it in this list:
//!
//! - [`bytes`], [`checksum`], [`bitflip`], [`error`]: arithmetic, and the error that stops us;
//! - [`vfs`]: the file system, real or simulated, the clock and randomness behind a trait; nothing above it in the library touches the
//!   system's own;
//! - [`span`], [`tally`], [`decode`], [`format`](mod@format): the vocabulary, and the contract of a format;
//! - [`formats`]: one room per format, and the list of them;
//! - [`log`], [`scan`]: a path becomes segments, segments become spans;
//! - [`verdict`], [`report`], [`ranges`]: folds of a scan;
//! - [`rights`], [`durable`], [`locks`]: whose a new file is, and the steps of every change to a file;
//! - [`plan`], [`repair`], [`quarantine`], [`salvage`], [`replay`], [`load`], [`copy`]: what changes logs and their targets;
//! - [`wal`]: the library that writes a log.

pub mod bitflip;
pub mod bytes;
pub mod checksum;
pub mod copy;
pub mod decode;
pub mod durable;
pub mod error;
pub mod format;
pub mod formats;
pub mod load;
pub mod locks;
pub mod log;
mod parallel;
pub mod plan;
pub mod quarantine;
pub mod ranges;
pub mod repair;
pub mod replay;
pub mod report;
pub mod rights;
pub mod salvage;
pub mod scan;
mod shown;
pub mod span;
mod sparse;
pub mod tally;
pub mod verdict;
pub mod vfs;
pub mod wal;
mod window;

pub use error::{Error, Result};
pub use log::Log;
pub use report::Report;
pub use scan::Scan;
pub use shown::{Shown, quoted, shown};
pub use verdict::Verdict;

/// README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
