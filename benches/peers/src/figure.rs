//! What is measured, and what it ought to be.

use std::fmt;

use crate::contestants::{GATHER, GROUP_PEERS, PEERS, PWRITE, Promise, RUST_PEERS};

/// Length of a record, in bytes, where nothing else is said.
pub const RECORD_LEN: usize = 100;
/// Threads whose latency is looked at.
pub const LATENCY_THREADS: usize = 16;

/// One figure of a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Durable appends per second.
    Durable { threads: usize },
    /// The latency of durable appends that so many of a hundred keep to, in microseconds.
    Latency { threads: usize, percentile: u8 },
    /// Appends per second of one thread, without a sync.
    Unsynced { promise: Promise, len: usize },
    /// Records per second, from opening the log to having read the last.
    Reopen,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Durable { threads: 1 } => write!(f, "durable, 1 thread, /s"),
            Self::Durable { threads } => write!(f, "durable, {threads} threads, /s"),
            Self::Latency { threads, percentile } => write!(f, "durable, {threads} threads, p{percentile} us"),
            Self::Unsynced { promise: Promise::Buffered, len } => write!(f, "buffered, {len} B, /s"),
            Self::Unsynced { promise: _, len } => write!(f, "written, {len} B, /s"),
            Self::Reopen => write!(f, "reopen and read, records/s"),
        }
    }
}

/// What a ratio of waltool to the best of some others must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing is asked; it is good to know.
    Open,
}

impl Bound {
    /// Whether a ratio keeps to it.
    pub fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
            Self::Open => true,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound:.2}"),
            Self::AtMost(bound) => write!(f, "<= {bound:.2}"),
            Self::Open => Ok(()),
        }
    }
}

impl Figure {
    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        !matches!(self, Self::Latency { .. })
    }

    /// Whom waltool is compared with here, each time with the best of them, and what is asked.
    pub fn goals(self) -> Vec<(&'static [&'static str], Bound)> {
        use Bound::{AtLeast, AtMost, Open};
        match self {
            Self::Durable { threads: 1 } => vec![(PEERS, AtLeast(0.90)), (&[GATHER], Open)],
            Self::Durable { .. } => vec![(PEERS, AtLeast(1.5)), (&[GATHER], AtLeast(0.95))],
            Self::Latency { percentile, .. } => {
                let bound = AtMost(if percentile == 50 { 0.70 } else { 0.80 });
                vec![(GROUP_PEERS, bound), (PEERS, Open), (&[GATHER], Open)]
            }
            Self::Unsynced { .. } => vec![(&[PWRITE], AtLeast(0.80)), (RUST_PEERS, AtLeast(1.9))],
            Self::Reopen => vec![(&["okaywal"], AtLeast(7.0)), (&["raft-engine"], AtLeast(7.0))],
        }
    }
}
