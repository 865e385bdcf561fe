//! A simulated disk: files in memory that know what of them is durable, whose power can be cut at every call and whose calls
//! can be made to fail. All that happens by chance is decided by seeds, so that what was found once is found again.
//!
//! ```
//! use std::path::Path;
//! use waltool::vfs::{PRIVATE, Sim, Vfs, write_all_at};
//!
//! # fn main() -> std::io::Result<()> {
//! let sim = Sim::new(1);
//! let file = sim.create_new(Path::new("/log"), PRIVATE)?;
//! write_all_at(&*file, b"one", 0)?;
//! file.sync_data()?;
//! sim.sync_folder(Path::new("/"))?;
//! write_all_at(&*file, b"two", 3)?;
//! for seed in 0..100 {
//!     let after = sim.crash(seed).bytes(Path::new("/log")).expect("its name is durable");
//!     assert!(after.starts_with(b"one"), "seed {seed}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a power cut leaves
//!
//! **Bytes.** Per sector that was written since its file was synced: what was synced, or what any write since made of it; or
//! one of these up to some byte and another from there on; or anything at all in those bytes that were being changed. Each
//! sector for itself, for caches and disks write in any order.
//!
//! **The bytes of a sector that were not being changed keep their value**, also where their neighbours become garbage. A log
//! that appends cannot do without that, unless it begins every commit in a sector of its own: the sector that holds the end
//! of what was promised is written again with what follows. SQLite assumes the same ("powersafe overwrite"), for disks finish
//! the sector that they are at, and what a file system writes again beside new bytes is what was there.
//!
//! **Lengths.** Any that the file had since its sync, whatever became of the bytes; while one call wrote several pages, it
//! had the length up to each of them. Bytes behind it are lost. Where the length arrived and the bytes did not there are
//! zeros, or garbage where bytes were being written. When a file is cut, the rest of its last sector may be cleared before
//! the length arrives.
//!
//! **Names.** Each creation, renaming and removal is one step, and any of them may be undone without the others, until
//! [`sync_folder`](super::Vfs::sync_folder) of its directory returns; of both, where a file moved from one to another. Journals of
//! today keep their order, but nobody promises that. Syncing a change also writes earlier ones of the same name or the same
//! file. Syncing a file does nothing for its name, nor its name for its bytes. What has no name left is gone. A file or
//! directory has one name; there are no links.
//!
//! **Rights** of a file are any that it had since its [`sync_all`](super::VfsFile::sync_all), those of a directory any since its
//! [`sync_folder`](super::Vfs::sync_folder). A file's **times** are the old or the new, until its
//! [`sync_all`](super::VfsFile::sync_all). They are those of the [clock](Sim::set_clock), which advances only when it is looked at: calls
//! between two looks have the same time. Locks are gone. What was
//! durable stays: a disk that lies is a matter of [`Sim::rot`], [`Sim::lose`] and [`Sim::misplace`].
//!
//! # What a failed sync leaves
//!
//! As on Linux: of the sectors that were to be written each arrived, was torn or did not arrive, and *all* pass for written
//! from then on. Reads see the new bytes until [`drop_clean`](super::VfsFile::drop_clean), later syncs succeed and do not write them
//! again, and a power cut shows what the disk really has. Only who writes a sector again has it written again. A failed sync
//! of a directory is alike: later ones do nothing for the changes that it was to write.
//!
//! # Rights
//!
//! They are kept and forbid nothing: whoever asks is root. An ACL is an attribute like any other and has nothing to do with the mode.
//!
//! # Paths
//!
//! Relative paths begin at the root, which is there from the start.

mod calls;
mod content;
mod direct;
mod fate;
mod file;
mod granted;
mod machine;
mod names;
mod open;
mod paths;
mod rng;
mod shown;
mod states;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Disk;
pub use calls::{Call, Failure, Op, Times};
use fate::Cut;
use machine::Machine;
use open::Shared;
pub use states::States;

/// Bytes of a sector, unless said otherwise.
const SECTOR: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not 0");

/// A simulated disk. A clone is the same disk; [`fork`](Self::fork) makes another.
#[derive(Clone)]
pub struct Sim {
    machine: Shared,
}

impl Sim {
    /// An empty disk with sectors of 512 bytes. Everything that happens by chance is decided by the seed.
    pub fn new(seed: u64) -> Self {
        Self::with_sector(seed, SECTOR)
    }

    /// An empty disk with sectors of so many bytes. With few of them, few states show every way to tear.
    pub fn with_sector(seed: u64, sector: NonZeroUsize) -> Self {
        Self::of(Machine::new(seed, sector.get()))
    }

    fn of(machine: Machine) -> Self {
        Self { machine: Arc::new(Mutex::new(machine)) }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        open::lock(&self.machine)
    }

    /// This disk, for what takes any.
    pub fn disk(&self) -> Disk {
        Arc::new(self.clone())
    }

    /// A copy that goes its own way: the same bytes, counters, faults and chances. Nothing is open on it, and no lock is held.
    pub fn fork(&self) -> Self {
        let mut machine = self.lock().clone();
        machine.close_all();
        Self::of(machine)
    }

    /// A disk as it may be after the power failed now and came back; the seed chooses one of the legal states. On it everything is
    /// durable, nothing is open, no call was made and none will fail. This one stays as it is.
    pub fn crash(&self, seed: u64) -> Self {
        let machine = self.lock();
        let mut cut = Cut::new(machine.chance.branch(seed), machine.amount());
        Self::of(machine.crashed(&mut cut, seed))
    }

    /// The disk after the process died now: what it wrote is there, synced or not, and waits to be durable. Nothing is open, no
    /// call was made and none will fail.
    pub fn kill(&self) -> Self {
        Self::of(self.lock().killed())
    }

    /// Every disk as it may be after the power failed now, if no sector is torn.
    pub fn states(&self) -> States {
        States::new(self.lock().killed())
    }

    /// Cuts the power before the `n`-th call that changes something, counted from 1 since the disk is there: that call and all that
    /// follow, reads too, fail and change nothing.
    pub fn cut_before(&self, n: u64) {
        self.lock().calls.cut_before(n);
    }

    /// A call has met the cut.
    pub fn is_off(&self) -> bool {
        self.lock().calls.is_off()
    }

    /// Makes the `n`-th call fail that changes something, counted from 1 since the disk is there, and perhaps all behind it. Of
    /// several failures for one call the first that was asked for happens.
    pub fn fail(&self, n: u64, failure: Failure, times: Times) {
        self.lock().calls.fail(None, n, failure, times);
    }

    /// As [`fail`](Self::fail), for the `n`-th call of one kind; also of those that change nothing.
    pub fn fail_op(&self, op: Op, n: u64, failure: Failure, times: Times) {
        self.lock().calls.fail(Some(op), n, failure, times);
    }

    /// No call fails any more, unless the power is off.
    pub fn heal(&self) {
        self.lock().calls.heal();
    }

    /// Calls so far that change something or sync.
    pub fn changes(&self) -> u64 {
        self.lock().calls.changes()
    }

    /// Calls so far that change nothing.
    pub fn looks(&self) -> u64 {
        self.lock().calls.looks()
    }

    /// Calls so far of one kind.
    pub fn calls_of(&self, op: Op) -> u64 {
        self.lock().calls.of(op)
    }

    /// The calls that changed something or synced, the last ten thousand of them.
    pub fn trace(&self) -> Vec<Call> {
        self.lock().calls.trace().iter().cloned().collect()
    }

    /// Something is not durable yet.
    pub fn unsynced(&self) -> bool {
        let machine = self.lock();
        !machine.names.pending().is_empty()
            || machine.names.rights_wait()
            || machine.files.values().any(|file| !file.is_synced())
    }

    /// Sets what permissions new files and directories lack: 022 at first.
    pub fn set_umask(&self, umask: u32) {
        self.lock().umask = umask;
    }

    /// Sets how long a file can be, in bytes: as long as offsets go at first. Longer ones that are there stay.
    pub fn set_len_max(&self, len: u64) {
        self.lock().len_max = len.min(super::LEN_MAX);
    }

    /// Sets the clock: the time that it shows next, and what it advances by with every look at it, both in nanoseconds.
    pub fn set_clock(&self, now_ns: u64, step_ns: u64) {
        self.lock().clock = (now_ns, step_ns);
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.lock();
        write!(f, "Sim({} calls, {} files)", machine.calls.changes(), machine.files.len())
    }
}
