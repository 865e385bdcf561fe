//! Waiting for durability without a thread for each transaction.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::error::Result;
use super::group::Group;
use crate::formats::native::layout::Lsn;

/// What was submitted is about to be durable: to be waited for, or awaited by any executor. Its output is the LSN of the commit.
///
/// From [`Transaction::submit`](super::Transaction::submit) and [`Wal::when_durable`](super::Wal::when_durable). What it stands for becomes durable
/// whether or not anybody waits, and also where the ticket is dropped. It keeps no log open; where the log is closed or dropped before, what was submitted
/// is on the disk when that returns, and the ticket says so.
///
/// The output is `Ok` once the transaction is on the disk and survives a power cut. It is an error where that is not known and never will be: after
/// a failed write or sync ([`WalError::DurabilityUnknown`](super::WalError::DurabilityUnknown)), where the log was lost
/// ([`WalError::NotOwner`](super::WalError::NotOwner)), and in a child of the process that opened the log. A ticket never waits for ever.
pub struct Ticket {
    group: Arc<Group>,
    lsn: Lsn,
    /// Once this batch is written and synced.
    batch: u64,
    /// The place of its waker.
    slot: Option<u64>,
}

impl Ticket {
    pub(super) fn new(group: &Arc<Group>, lsn: Lsn, batch: u64) -> Self {
        Self { group: group.clone(), lsn, batch, slot: None }
    }

    /// The LSN of the commit, known before it is durable.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Waits until it is durable. The thread may do the writing for all who wait.
    ///
    /// # Errors
    /// As said [above](Self).
    pub fn wait(self) -> Result<Lsn> {
        self.group.wait_for(self.batch).map(|()| self.lsn)
    }
}

impl Future for Ticket {
    type Output = Result<Lsn>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Lsn>> {
        let Self { group, lsn, batch, slot } = &mut *self;
        match group.poll(*batch, slot, context.waker()) {
            Poll::Ready(done) => Poll::Ready(done.map(|()| *lsn)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("lsn", &self.lsn).field("batch", &self.batch).finish_non_exhaustive()
    }
}
