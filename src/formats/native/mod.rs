//! WALT1, the log that `waltool` itself writes. `docs/formats/native.md` describes the bytes without any Rust.
//!
//! - [`lsn`], [`layout`], [`payload`]: the bytes, and what makes them valid; shared by readers and writers;
//! - [`encode`]: where records go and how they are encoded; shared by all writers;
//! - [`writer`]: one segment, written in order;
//! - [`log_writer`]: a directory of segments, written by one thread, with rotation.

pub mod encode;
pub mod layout;
pub mod log_writer;
pub mod lsn;
pub mod payload;
pub mod writer;
