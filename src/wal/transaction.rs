//! What is logged together: all of it, or nothing.

use std::ops::Range;

use super::error::Result;
use super::{Durability, Wal};
use crate::format::TargetState;
use crate::formats::native::encode::Entry;
use crate::formats::native::layout::Lsn;

/// Changes that become one transaction. Nothing is in the log before the commit; dropped without one, nothing ever is.
#[must_use = "a transaction that is dropped logs nothing"]
pub struct Transaction<'w> {
    wal: &'w Wal,
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

impl<'w> Transaction<'w> {
    pub(super) fn new(wal: &'w Wal) -> Self {
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
        if let Some(reach) = &self.wal.reach {
            reach.admits(&self.changes)?;
        }
        self.wal.group.commit(&self.changes, durability)
    }
}
