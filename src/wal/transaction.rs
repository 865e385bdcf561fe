//! What is logged together: all of it, or nothing.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::error::Result;
use super::group::Group;
use super::{Durability, Ticket, Wal};
use crate::format::TargetState;
use crate::formats::native::encode::Entry;
use crate::formats::native::layout::Lsn;

/// Changes that become one transaction. Nothing is in the log before the commit; dropped without one, nothing ever is, also where a panic
/// drops it.
///
/// | ended by | when it returns, the transaction |
/// |---|---|
/// | [`commit`](Self::commit) | is on the disk, and survives a power cut |
/// | [`commit_with`](Self::commit_with) | is as durable as was asked for |
/// | [`submit`](Self::submit) | is in the memory of this process; it is on the disk when its [`Ticket`] says so |
///
/// `W` is how it holds the log: `&Wal` from [`Wal::begin`], `Arc<Wal>` from [`Wal::begin_owned`]. The latter can be sent to another thread, and keeps
/// the log open.
#[must_use = "a transaction that is dropped logs nothing"]
pub struct Transaction<W: Deref<Target = Wal>> {
    wal: W,
    changes: Changes,
}

/// The entries of a transaction, with their bytes in one piece of memory.
#[derive(Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

enum Part {
    Write { offset: u64, bytes: Range<usize> },
    SetLen(u64),
    Data(Range<usize>),
    Checkpoint { redo_lsn: Lsn, target_len: u64, state: Option<TargetState> },
}

impl Changes {
    /// The entries, in their order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.parts.iter().map(|part| match part {
            Part::Write { offset, bytes } => Entry::Write { offset: *offset, bytes: &self.bytes[bytes.clone()] },
            Part::SetLen(len) => Entry::SetLen(*len),
            Part::Data(bytes) => Entry::Data(&self.bytes[bytes.clone()]),
            Part::Checkpoint { redo_lsn, target_len, state } => {
                Entry::Checkpoint { redo_lsn: *redo_lsn, target_len: *target_len, state: *state }
            }
        })
    }

    /// A checkpoint by itself.
    pub(super) fn checkpoint(redo_lsn: Lsn, target_len: u64, state: Option<TargetState>) -> Self {
        Self { bytes: Vec::new(), parts: vec![Part::Checkpoint { redo_lsn, target_len, state }] }
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

impl<W: Deref<Target = Wal>> Transaction<W> {
    pub(super) fn new(wal: W) -> Self {
        Self { wal, changes: Changes::default() }
    }

    /// `bytes` for the target file from `offset` (in bytes) on. Any length; none is no change. The bytes are copied.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> &mut Self {
        let bytes = self.changes.keep(bytes);
        self.changes.parts.push(Part::Write { offset, bytes });
        self
    }

    /// A new length for the target file, in bytes: it is cut there, or grows by zeros.
    pub fn set_len(&mut self, len: u64) -> &mut Self {
        self.changes.parts.push(Part::SetLen(len));
        self
    }

    /// Bytes that only the application understands, up to 1 GiB; they come back as one from [`Committed::entries`](super::Committed::entries). The bytes are copied.
    pub fn data(&mut self, bytes: &[u8]) -> &mut Self {
        let bytes = self.changes.keep(bytes);
        self.changes.parts.push(Part::Data(bytes));
        self
    }

    /// Logs all of it. When it returns, the transaction is on the disk and survives a power cut. Threads that commit at the same time share
    /// one write and one sync. The LSN is that of the COMMIT record; later commits have higher ones. A transaction without changes is a
    /// mark, and durable as well.
    ///
    /// # Errors
    /// [`WalError::Transaction`](super::WalError::Transaction) where it is longer than a segment can hold (4 GiB), and where the target would be longer than
    /// a file can be (2<sup>63</sup> - 1 bytes; for a [`DurableFile`](super::DurableFile) what its file system allows): nothing was written, and the log goes on.
    /// [`WalError::DurabilityUnknown`](super::WalError::DurabilityUnknown) after a failed write or sync.
    /// [`WalError::NotOwner`](super::WalError::NotOwner) in a child of `fork`, and where the log has lost its LOCK or its directory.
    pub fn commit(self) -> Result<Lsn> {
        self.commit_with(Durability::Durable)
    }

    /// Logs all of it, and waits for as much as `durability` says. Transactions become durable in the order of their LSNs: whichever later
    /// commit or [`Wal::sync`] is durable, this one is.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_with(self, durability: Durability) -> Result<Lsn> {
        self.group()?.commit(&self.changes, durability)
    }

    /// Logs all of it, to be durable soon, without waiting for that: the ticket can be waited for or awaited. When this returns, the transaction is in
    /// the memory of this process and has its LSN: commits and submissions that begin after that come later in the log. It becomes durable
    /// with the next sync, even if nobody waits and the ticket is dropped. A crash before that may lose it, and then all that comes later.
    ///
    /// It returns at once, with two exceptions, in which it writes and syncs first: where the segment is full, and where 1 MiB or more is gathered that
    /// nobody has begun to write. This bounds the memory: one batch is gathered and one is written, and submissions bring each to 1 MiB and a
    /// transaction at most.
    ///
    /// The first submission begins a thread, which does the writing where no other thread waits for it. It ends with the log.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), where that is known already; and [`Error::Write`](crate::Error::Write) where the thread cannot be begun. Nothing was
    /// logged then.
    pub fn submit(self) -> Result<Ticket> {
        self.wal.owner.here()?;
        self.group()?.submit(&self.changes)
    }

    /// Where it is logged, if the target can hold it.
    fn group(&self) -> Result<&Arc<Group>> {
        let Wal { group, reach, .. } = &*self.wal;
        reach.as_ref().map_or(Ok(()), |reach| reach.admits(&self.changes))?;
        Ok(group)
    }
}

impl<W: Deref<Target = Wal>> fmt::Debug for Transaction<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("entries", &self.changes.parts.len()).finish_non_exhaustive()
    }
}
