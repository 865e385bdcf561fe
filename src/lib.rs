//! `waltool` reads, judges, repairs and replays write-ahead logs.
//!
//! The layers, from the bottom up; a module uses only what stands above it in this list:
//! [`bytes`], [`checksum`], [`bitflip`], [`error`]: arithmetic and the error that stops us;
//! [`span`], [`decode`], [`format`]: the vocabulary and the contract of a format;
//! [`formats`]: one room per format, and the list of them;
//! [`log`], [`scan`]: a path becomes segments, segments become spans;
//! [`report`], [`verdict`], [`plan`], [`replay`], [`repair`]: folds of a scan, and the edits they ask for.

pub mod bitflip;
pub mod bytes;
pub mod checksum;
