//! The calls of a disk: counted, written down, cut off by the power and made to fail.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `create_new`, `create_folder`, and `open` to lock where that creates the file.
    Create,
    /// `write_at`.
    Write,
    /// `set_len`.
    SetLen,
    /// `reserve`.
    Reserve,
    /// `set_owner`, `set_mode` and `set_attribute`.
    SetRights,
    /// `sync_data` and `sync_all`.
    Sync,
    /// `rename_new` and `rename_over`.
    Rename,
    /// `remove`; `remove_folder` is one for each name in it and one for its own.
    Remove,
    /// `sync_folder`.
    SyncFolder,
    /// `open` of a file that exists.
    Open,
    /// `stat`, `stat_link`, `canonicalize` and `list`.
    Look,
    /// `read_at`.
    Read,
    /// `try_lock`.
    Lock,
    /// `random`.
    Random,
}

impl Op {
    const COUNT: usize = Self::Random as usize + 1;

    /// It changes something, or syncs.
    pub fn changes(self) -> bool {
        self <= Self::SyncFolder
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `EIO`. A write may have written a part. A sync has written some sectors and takes the others for written. What changes
    /// names, a length or rights may have happened or not.
    Io,
    /// `ENOSPC`. As `Io` for writes and syncs; everything else did not happen. Writes into room that was reserved or is used
    /// already succeed.
    Full,
    /// `EINTR`: nothing happened. [`Times::Forever`] interrupts every second call, or who repeats would do so forever.
    Interrupted,
    /// A read or a write moves only a part, one byte at least. Other calls succeed.
    Short,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Io | Self::Short => Errno::IO.into(),
            Self::Full => Errno::NOSPC.into(),
            Self::Interrupted => Errno::INTR.into(),
        }
    }
}

/// How often a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// That call alone.
    Once,
    /// That call and all that follow.
    Forever,
}

/// A call that changed something or synced, or failed to; for messages.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number: the first changing call is 1.
    pub number: u64,
    /// The method.
    pub name: &'static str,
    /// The path, as the caller gave it; an open file's, as it was opened.
    pub path: Arc<Path>,
    /// The new name, of a rename.
    pub to: Option<Arc<Path>>,
    /// The bytes that were asked for, from and to, where the call is about some.
    pub bytes: Option<(u64, u64)>,
    /// How it was made to fail.
    pub failure: Option<Failure>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}: {} {}", self.number, self.name, self.path.display())?;
        if let Some(to) = &self.to {
            write!(f, " to {}", to.display())?;
        }
        if let Some((from, to)) = self.bytes {
            write!(f, " {from}..{to}")?;
        }
        match self.failure {
            Some(failure) => write!(f, " ({failure:?})"),
            None => Ok(()),
        }
    }
}

/// A call as it comes in.
pub(super) struct Asked {
    pub(super) op: Op,
    pub(super) name: &'static str,
    pub(super) path: Arc<Path>,
    pub(super) to: Option<Arc<Path>>,
    pub(super) bytes: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Fault {
    /// Of all changing calls, if of none.
    op: Option<Op>,
    at: u64,
    failure: Failure,
    times: Times,
}

impl Fault {
    fn hits(&self, op: Op, change: u64, of_op: u64) -> bool {
        let number = match self.op {
            Some(own) if own == op => of_op,
            None if op.changes() => change,
            _ => return false,
        };
        match (self.times, self.failure) {
            (Times::Once, _) => number == self.at,
            (Times::Forever, Failure::Interrupted) => number >= self.at && (number - self.at).is_multiple_of(2),
            (Times::Forever, _) => number >= self.at,
        }
    }
}

/// Calls that the trace keeps.
const TRACE_MAX: usize = 10_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// The moment at which the counting began.
    start: u64,
    changes: u64,
    looks: u64,
    of: [u64; Op::COUNT],
    cut: Option<u64>,
    off: bool,
    faults: Vec<Fault>,
    trace: VecDeque<Call>,
}

impl Calls {
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts all changing calls in order, also those before a kill.
    pub(super) fn moment(&self) -> u64 {
        self.start + self.changes
    }

    /// Nothing was called, and nothing fails.
    pub(super) fn restarted(&self) -> Self {
        Self { start: self.moment(), ..Self::default() }
    }

    pub(super) fn looks(&self) -> u64 {
        self.looks
    }

    pub(super) fn of(&self, op: Op) -> u64 {
        self.of[op as usize]
    }

    pub(super) fn is_off(&self) -> bool {
        self.off
    }

    pub(super) fn trace(&self) -> &VecDeque<Call> {
        &self.trace
    }

    pub(super) fn cut_before(&mut self, n: u64) {
        self.cut = Some(n);
    }

    pub(super) fn fail(&mut self, op: Option<Op>, at: u64, failure: Failure, times: Times) {
        self.faults.push(Fault { op, at, failure, times });
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
    }

    /// A call that changes something: it is counted and written down, and fails if the power is off.
    pub(super) fn change(&mut self, asked: Asked) -> io::Result<Option<Failure>> {
        self.off |= self.cut.is_some_and(|cut| self.changes + 1 >= cut);
        self.powered()?;
        self.changes += 1;
        let failure = self.failure(asked.op);
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        let Asked { name, path, to, bytes, .. } = asked;
        self.trace.push_back(Call { number: self.changes, name, path, to, bytes, failure });
        Ok(failure)
    }

    /// A call that changes nothing.
    pub(super) fn look(&mut self, op: Op) -> io::Result<Option<Failure>> {
        self.powered()?;
        self.looks += 1;
        match self.failure(op) {
            Some(Failure::Short) if op == Op::Read => Ok(Some(Failure::Short)),
            Some(Failure::Short) | None => Ok(None),
            Some(failure) => Err(failure.error()),
        }
    }

    fn powered(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn failure(&mut self, op: Op) -> Option<Failure> {
        self.of[op as usize] += 1;
        let (change, of_op) = (self.changes, self.of[op as usize]);
        self.faults.iter().find(|fault| fault.hits(op, change, of_op)).map(|fault| fault.failure)
    }
}
