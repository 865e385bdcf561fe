//! WALT1, the log that `waltool` itself writes.
//!
//! - [`lsn`], [`layout`], [`payload`]: the bytes, and what makes them valid; shared by readers and writers.

pub mod layout;
pub mod lsn;
pub mod payload;
