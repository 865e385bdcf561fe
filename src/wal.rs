//! A write-ahead log that programs use: log first, make it durable, only then touch the file.
//!
//! ```
//! use waltool::wal::Wal;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.wal");
//! let wal = Wal::open(&path)?;
//! let mut transaction = wal.begin();
//! transaction.data(b"order 4711").data(b"stock -1");
//! let lsn = transaction.commit()?; // on the disk from here on
//! assert_eq!(lsn.to_string(), "00000001:00002048");
//! wal.close()?;
//!
//! let wal = Wal::open(&path)?; // reads the log again, after a crash as well
//! let committed = wal.committed(wal.redo_lsn())?;
//! let mut entries = committed.entries();
//! while let Some(logged) = entries.next()? {
//!     println!("{} {:?}", logged.lsn, logged.entry);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The log is a directory in the [native format](crate::formats::native), which the command reads: `waltool verify`, `dump`, `repair`, `replay`. What
//! it promises:
//!
//! - A transaction is in the log whole or not at all, and once [`Transaction::commit`] has returned it survives a power cut.
//! - Transactions become durable in the order of their LSNs.
//! - Whatever a crash leaves, [`Wal::open`] goes on from it, changes no byte that is there, and tells what it found. Damage that no crash
//!   explains it refuses.
//! - After a failed write or sync nothing is claimed and nothing more is written: [`WalError::DurabilityUnknown`].
//! - One writer: a second [`Wal::open`] is refused, by another process as well. Readers need no lock and may read at any time. Where the
//!   lock stops nobody any more (LOCK or the directory was removed, renamed or replaced) and in a child of `fork`, nothing is
//!   acknowledged: [`WalError::NotOwner`].
//!
//! A [`Wal`] is shared by threads as it is (`&Wal`, or in an `Arc`); threads that commit together share a sync. One thread can do the same with
//! many transactions at once: it [submits](Transaction::submit) them and has a [`Ticket`] for each, which it waits for or awaits.
//!
//! ```
//! use std::sync::Arc;
//! use waltool::wal::Wal;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.wal");
//! let wal = Arc::new(Wal::open(&path)?);
//! let mut tickets = Vec::new();
//! for order in 0..100_u32 {
//!     let mut transaction = wal.begin_owned(); // may be sent to another thread
//!     transaction.data(&order.to_le_bytes());
//!     tickets.push(transaction.submit()?); // returns at once
//! }
//! for ticket in tickets {
//!     let lsn = ticket.wait()?; // or, in a future: ticket.await?
//!     assert!(lsn < wal.durable_lsn());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`transaction`], [`ticket`], `group`, `writer`: from changes to bytes on the disk;
//! - [`recovery`], [`committed`]: from the disk to what was committed;
//! - [`durable_file`]: a file that is changed through a log;
//! - [`options`], [`error`].

pub mod committed;
pub mod durable_file;
pub mod error;
mod folder;
mod group;
mod helper;
mod meeting;
pub mod options;
mod owner;
mod position;
mod reach;
mod records;
pub mod recovery;
mod state;
mod sync;
pub mod ticket;
pub mod transaction;
mod turn;
mod writer;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError};

pub use committed::{Committed, Entries, Logged};
pub use durable_file::DurableFile;
pub use error::{Result, WalError};
pub use options::{Durability, Options};
pub use recovery::Recovery;
pub use ticket::Ticket;
pub use transaction::Transaction;

pub use crate::error::Error;
pub use crate::formats::native::encode::{Entry, WriteError};
pub use crate::formats::native::layout::Lsn;
pub use crate::report::Report;
pub use crate::vfs::Disk;

use crate::durable;
use crate::format::{Format, Role, Seen, TargetState};
use crate::formats::native::Native;
use crate::replay::Content;
use crate::vfs::OPEN_FOLDER;
use group::Group;
use owner::Owner;
use reach::Reach;
use sync::Mutex;
use transaction::Changes;
use writer::Writer;

/// A write-ahead log, open for writing. See the [module](self).
pub struct Wal {
    disk: Disk,
    group: Arc<Group>,
    recovery: Recovery,
    /// Checkpoints, one at a time: the next waits until this one has removed what it may.
    checkpoints: Mutex<Removals>,
    /// How long the target can be, where it is known what that is.
    reach: Option<Reach>,
    /// Kept to the end.
    owner: Arc<Owner>,
}

#[derive(Default)]
struct Removals {
    /// A sync of the directory after a removal failed or never ended. Later ones may do nothing for it and succeed; were another segment
    /// removed then, a power cut could bring back the one below it, and leave a gap.
    ended: bool,
}

impl Wal {
    /// Opens the log at `path`, a directory, which is created if need be (its parent must exist): the umask decides who may read it. Its files
    /// grant what the directory does, as far as the umask lets them. What a crash left is recovered: see
    /// [`recovery`](Self::recovery). When it returns, everything that [`committed`](Self::committed) gives is on the disk. No segment is
    /// created before the first commit.
    ///
    /// # Errors
    /// [`WalError::Damaged`] where acknowledged transactions are damaged or a segment is missing; [`Error::Refused`] while another program has
    /// the log open, and where the directory holds something else than a log: then nothing is created in it, not even the lock file.
    /// [`Error::Read`], [`Error::Write`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    fn open_with(path: &Path, options: &Options) -> Result<Self> {
        let disk = options.disk.clone();
        folder::prepare(&disk, path, OPEN_FOLDER)?;
        let owner = Arc::new(Owner::of(&disk, path)?);
        let found =
            recovery::recover(&disk, owner.folder(), options.target_id).map_err(|error| owner.all_shown(error))?;
        let writer = Writer::new(disk.clone(), owner.clone(), options.layout(), found.recovery.end);
        let last = (found.last, found.time_ns);
        let group = Arc::new(Group::new(owner.opener(), disk.clone(), options.limits(), last, found.next, writer));
        Ok(Self { disk, group, recovery: found.recovery, checkpoints: Mutex::default(), reach: None, owner })
    }

    /// Begins a transaction. It holds nothing up: other threads commit meanwhile, and the order in the log is that of the commits.
    pub fn begin(&self) -> Transaction<&Self> {
        Transaction::new(self)
    }

    /// As [`begin`](Self::begin), with a handle of its own: the transaction can be sent to another thread or kept in a future. It keeps the log open.
    pub fn begin_owned(self: &Arc<Self>) -> Transaction<Arc<Self>> {
        Transaction::new(self.clone())
    }

    /// When it returns, every commit that has returned is on the disk, whatever its [`Durability`] was.
    ///
    /// # Errors
    /// [`WalError::DurabilityUnknown`]; [`WalError::NotOwner`].
    pub fn sync(&self) -> Result<()> {
        self.owner.here()?;
        self.group.sync()
    }

    /// Everything below this is on the disk: a commit at `lsn` survives a power cut once `lsn < durable_lsn()`. Never goes back. Directly
    /// after opening it is where [`recovery`](Self::recovery) found the log's end.
    pub fn durable_lsn(&self) -> Lsn {
        self.group.durable_lsn()
    }

    /// Waits until what was committed up to `lsn` is on the disk, whatever its [`Durability`] was, and has it synced for that. `lsn` is what a
    /// commit returned, or the end of the log.
    ///
    /// # Errors
    /// [`Error::Usage`] where nothing was committed there yet; [`WalError::DurabilityUnknown`] where it is not known to be on the disk and
    /// never will be; [`WalError::NotOwner`].
    pub fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        self.owner.here()?;
        self.group.wait_durable(lsn)
    }

    /// As [`wait_durable`](Self::wait_durable), without waiting: by a ticket, whose output is `lsn`.
    ///
    /// # Errors
    /// As [`wait_durable`](Self::wait_durable).
    pub fn when_durable(&self, lsn: Lsn) -> Result<Ticket> {
        self.owner.here()?;
        self.group.when_durable(lsn)
    }

    /// Records that the target durably holds everything up to `applied` and is `target_len` bytes long, and removes the segments that nobody
    /// needs any more. The caller has applied all of that and synced the target before. `applied` is one of
    ///
    /// - what [`Transaction::commit`] returned: that transaction and all before it are applied;
    /// - [`Committed::end`]: all that [`entries`](Committed::entries) gave is applied;
    /// - [`end`](Self::end): all of the log is applied. The log then begins again and is as small as it can be.
    ///
    /// A position at or below [`redo_lsn`](Self::redo_lsn) is checkpointed already: nothing is recorded, and where its segment is removed it is not
    /// checked either. When it returns, all this is on the disk.
    ///
    /// # Errors
    /// [`Error::Usage`] for a position at which no transaction ends (an entry's, say): nothing was changed, and the log goes on.
    /// [`WalError::DurabilityUnknown`]; [`WalError::NotOwner`]; [`Error::Write`] where an old segment could not be removed: the checkpoint is on the disk, and the next
    /// one tries again, or the first after the next opening where it was the sync of a removal that failed.
    pub fn checkpoint(&self, applied: Lsn, target_len: u64) -> Result<()> {
        self.checkpoint_with(applied, target_len, None)
    }

    fn checkpoint_with(&self, applied: Lsn, target_len: u64, state: Option<TargetState>) -> Result<()> {
        self.owner.here()?;
        let applied = self.end_of(applied)?;
        // Commits wait while the group has its turn, and not while segments are removed.
        let mut removals = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let redo_lsn = self.group.checkpoint(applied, target_len, state)?;
        self.remove_below(redo_lsn.segment(), &mut removals)
    }

    /// States that a file of this content, which has everything that is committed, is about to take the target's place. When it returns,
    /// that is on the disk.
    fn intend(&self, content: Content) -> Result<Lsn> {
        self.owner.here()?;
        let state = Some(TargetState { crc: content.crc, role: Role::Intent });
        self.group.commit(&Changes::checkpoint(self.redo_lsn(), content.len, state), Durability::Durable)
    }

    /// As [`checkpoint`](Self::checkpoint), and states what the target is.
    fn checkpoint_of(&self, applied: Lsn, content: Content, seen: Option<Seen>) -> Result<()> {
        self.checkpoint_with(applied, content.len, Some(TargetState { crc: content.crc, role: Role::Fact(seen) }))
    }

    /// Where the last transaction ends that `applied` covers.
    fn end_of(&self, applied: Lsn) -> Result<Lsn> {
        let end = self.written_end()?;
        match position::end_of(&self.disk, &self.owner, applied, end) {
            // A checkpoint, perhaps that of another thread just now, has removed its segment: it is applied already.
            Err(error) if error.is_passing() && applied.segment() < self.redo_lsn().segment() => Ok(applied),
            other => other.map_err(|error| self.owner.shown(error).into()),
        }
    }

    /// The lowest is removed first, and each removal is on the disk before the next, so that a crash leaves no gap.
    fn remove_below(&self, number: u32, removals: &mut Removals) -> Result<()> {
        if removals.ended {
            return Ok(());
        }
        let folder = self.owner.folder();
        let shown = |error| self.owner.shown(error);
        let names = self.disk.list(folder).map_err(|source| Error::read(self.path(), source))?;
        let numbered = names.iter().filter_map(|name| Some((Native.segment_number(name)?, name)));
        let mut old: Vec<_> = numbered.filter(|(other, _)| *other < number.into()).collect();
        old.sort();
        for (_, name) in old {
            // Another log may be in the directory's place.
            self.owner.must_be_ours()?;
            durable::remove(&*self.disk, &folder.join(name)).map_err(shown)?;
            removals.ended = true;
            durable::sync_dir(&*self.disk, folder).map_err(shown)?;
            removals.ended = false;
        }
        Ok(())
    }

    /// What is committed from `from` on, by transactions whose commit had returned when this was called. `from` is where an entry
    /// begins, or behind the last: an LSN that [`redo_lsn`](Self::redo_lsn) or [`Committed::end`] gave.
    ///
    /// # Errors
    /// [`Error::Refused`] where a checkpoint has removed that part of the log; [`WalError::DurabilityUnknown`]; [`WalError::NotOwner`].
    pub fn committed(&self, from: Lsn) -> Result<Committed> {
        self.owner.here()?;
        let end = self.written_end()?;
        Committed::new(&self.disk, self.owner.folder(), from, end).map_err(|error| self.owner.all_shown(error))
    }

    /// Where the log ends, directly after its last commit: what [`checkpoint`](Self::checkpoint) takes where everything so far is applied, right after
    /// opening too. Of a new log it is where the log begins. Where other threads commit meanwhile, ask before looking at what is to be applied:
    /// whatever is committed later lies after it.
    pub fn end(&self) -> Lsn {
        // In a child process nobody may wait for the group, and nothing comes of any position.
        self.owner.here().ok().and_then(|()| self.group.end()).unwrap_or(self.recovery.end)
    }

    /// As [`end`](Self::end); everything before it is handed to the system.
    fn written_end(&self) -> Result<Lsn> {
        Ok(self.group.written_end()?.unwrap_or(self.recovery.end))
    }

    /// Where replay onto the target has to start: behind what the last checkpoint says is applied.
    pub fn redo_lsn(&self) -> Lsn {
        self.group.redo_lsn()
    }

    /// What opening the log found, and what it left out.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        self.owner.given()
    }

    /// Ends the log in good order: whatever happens to its bytes from then on is told apart from a crash. When it returns, everything is
    /// on the disk. A log that is dropped without it is recovered at the next opening, and loses no durable commit; dropping it writes and
    /// syncs what was [submitted](Transaction::submit), and writes what is [`Durability::Buffered`], and only tickets hear of errors.
    ///
    /// # Errors
    /// [`WalError::DurabilityUnknown`]; [`WalError::NotOwner`].
    pub fn close(self) -> Result<()> {
        self.owner.here()?;
        self.group.close()
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        // In a child of the process that opened it there is nothing to end.
        if self.owner.here().is_ok() {
            // Nor is there anybody to tell that the disk panicked.
            let _ = catch_unwind(AssertUnwindSafe(|| self.group.stop()));
        }
    }
}

/// What goes on at this moment, for a person who looks for the reason of something. Waits for nothing, so that it can be printed at any time.
impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.group.fmt(f)
    }
}
