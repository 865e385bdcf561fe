//! A simulated disk: files in memory that know what of them is durable, whose power can be cut at every call and whose calls can be
//! made to fail. All that happens by chance is decided by seeds, so that what was found once is found again.
//!
//! ```
//! use std::path::Path;
//! use waltool::vfs::{Sim, Vfs, write_all_at};
//!
//! # fn main() -> std::io::Result<()> {
//! let sim = Sim::new(1);
//! let file = sim.create_new(Path::new("/log"))?;
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
//! **Bytes.** Per sector that was written since its file was synced: what was synced, or what any write since made of it; or one of these up to
//! some byte and another from there on; or anything at all in those bytes that were being changed. Each sector for itself, for caches and disks
//! write in any order.
//!
//! **The bytes of a sector that were not being changed keep their value**, also where their neighbours become garbage. A log that appends cannot
//! do without that, unless it begins every commit in a sector of its own: the sector that holds the end of what was promised is written again
//! with what follows. SQLite assumes the same ("powersafe overwrite"), for disks finish the sector that they are at, and what a file system
//! writes again beside new bytes is what was there.
//!
//! **Lengths.** Any that the file had since its sync, whatever became of the bytes. Bytes behind it are lost. Where the length arrived and the
//! bytes did not there are zeros, or garbage where bytes were being written. When a file is cut, the rest of its last sector may be cleared
//! before the length arrives.
//!
//! **Names.** Each creation, renaming and removal is one step, and any of them may be undone without the others, until
//! [`sync_folder`](Vfs::sync_folder) of its directory returns; of both, where a file moved from one to another. Journals of today keep their
//! order, but nobody promises that. Syncing a change also writes earlier ones of the same name or the same file. Syncing a file
//! does nothing for its name, nor its name for its bytes. What has no name left is gone. A file or directory has one name; there are no
//! links.
//!
//! **Mode and owner** of a file are the old or the new, until [`sync_all`](VfsFile::sync_all). Locks are gone. What was durable stays: a
//! disk that lies is a matter of [`Sim::rot`], [`Sim::lose`] and [`Sim::misplace`].
//!
//! # What a failed sync leaves
//!
//! As on Linux: of the sectors that were to be written each arrived, was torn or did not arrive, and *all* pass for written from then on. Reads see
//! the new bytes until [`drop_clean`](VfsFile::drop_clean), later syncs succeed and do not write them again, and a power cut shows what
//! the disk really has. Only who writes a sector again has it written again. A failed sync of a directory is alike: later
//! ones do nothing for the changes that it was to write.
//!
//! # Paths
//!
//! Relative paths begin at the root, which is there from the start.

mod calls;
mod content;
mod direct;
mod fate;
mod file;
mod machine;
mod names;
mod open;
mod rng;
mod shown;
mod states;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::{Access, Disk, Stat, Vfs, VfsFile};
use calls::Asked;
pub use calls::{Call, Failure, Op, Times};
use fate::Cut;
use machine::Machine;
use names::{Edit, Ino};
use open::{Open, Shared};
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

    /// A disk as it may be after the power failed now and came back. The seed chooses one of the legal states; the disk itself stays as it is.
    /// On the new one everything is durable, nothing is open, no call was made and none will fail.
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
        States::new(self.lock().clone())
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
        !machine.names.pending().is_empty() || machine.files.values().any(|file| !file.is_synced())
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

impl Sim {
    /// Begins a call that changes what is at `path`.
    fn change(
        &self,
        op: Op,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
    ) -> io::Result<(MutexGuard<'_, Machine>, Option<Failure>)> {
        let mut machine = self.lock();
        let asked = Asked { op, name, path: path.into(), to: to.map(Arc::from), bytes: None };
        let failure = machine.calls.change(asked)?;
        Ok((machine, failure))
    }

    fn look(&self, op: Op) -> io::Result<MutexGuard<'_, Machine>> {
        let mut machine = self.lock();
        machine.calls.look(op)?;
        Ok(machine)
    }

    fn create(
        &self,
        mut machine: MutexGuard<'_, Machine>,
        name: &'static str,
        path: &Path,
        access: Access,
    ) -> io::Result<Box<dyn VfsFile>> {
        let path: Arc<Path> = path.into();
        let failure =
            machine.calls.change(Asked { op: Op::Create, name, path: path.clone(), to: None, bytes: None })?;
        let place = machine.free_place(&path)?;
        let (happens, result) = machine.outcome(failure);
        let ino = happens.then(|| machine.create(place));
        result?;
        let ino = ino.ok_or(Errno::IO)?;
        Ok(Open::boxed(&self.machine, &mut machine, ino, access, path))
    }

    fn rename(&self, name: &'static str, from: &Path, to: &Path, over: bool) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Rename, name, from, Some(to))?;
        let (source, target) = (machine.place(from)?, machine.place(to)?);
        let ino = machine.must_be_at(&source)?;
        if let Some(other) = machine.at(&target) {
            if !over {
                return Err(Errno::EXIST.into());
            }
            if other == ino {
                return Ok(());
            }
            may_replace(&machine, ino, other)?;
        }
        if Machine::full_path(to)?.starts_with(Machine::full_path(from)?) {
            return Err(Errno::INVAL.into());
        }
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.edit(Edit::Move { ino, from: source, to: target });
        }
        result
    }

    fn remove_at(&self, name: &'static str, path: &Path, folder: bool) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Remove, name, path, None)?;
        let at = machine.place(path)?;
        let ino = machine.must_be_at(&at)?;
        match (machine.files.contains_key(&ino), folder) {
            (false, false) => return Err(Errno::ISDIR.into()),
            (true, true) => return Err(Errno::NOTDIR.into()),
            _ => {}
        }
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.edit(Edit::Remove { ino, at });
        }
        result
    }
}

/// As a rename replaces: a file a file, a directory an empty directory.
fn may_replace(machine: &Machine, ino: Ino, other: Ino) -> io::Result<()> {
    match (machine.files.contains_key(&ino), machine.files.contains_key(&other)) {
        (true, true) => Ok(()),
        (true, false) => Err(Errno::ISDIR.into()),
        (false, true) => Err(Errno::NOTDIR.into()),
        (false, false) if machine.list(other).is_empty() => Ok(()),
        (false, false) => Err(Errno::NOTEMPTY.into()),
    }
}

impl Vfs for Sim {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>> {
        let mut machine = self.lock();
        if access == Access::Lock && machine.find(path).is_err() {
            return self.create(machine, "open", path, access);
        }
        machine.calls.look(Op::Open)?;
        let ino = machine.find(path)?;
        if !machine.files.contains_key(&ino) && access != Access::Read {
            return Err(Errno::ISDIR.into());
        }
        Ok(Open::boxed(&self.machine, &mut machine, ino, access, path.into()))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.create(self.lock(), "create_new", path, Access::Change)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let machine = self.look(Op::Look)?;
        Ok(machine.stat(machine.find(path)?))
    }

    fn stat_link(&self, path: &Path) -> io::Result<Stat> {
        self.stat(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let machine = self.look(Op::Look)?;
        machine.find(path)?;
        Machine::full_path(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let machine = self.look(Op::Look)?;
        Ok(machine.list(machine.folder(folder)?))
    }

    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Create, "create_folder", path, None)?;
        let place = machine.free_place(path)?;
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.create_folder(place, mode);
        }
        result
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename("rename_new", from, to, false)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename("rename_over", from, to, true)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.remove_at("remove", path, false)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        for name in self.list(path)? {
            let path = path.join(name);
            if self.list(&path).is_ok() {
                self.remove_folder(&path)?;
            } else {
                self.remove(&path)?;
            }
        }
        self.remove_at("remove_folder", path, true)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::SyncFolder, "sync_folder", path, None)?;
        let folder = machine.folder(path)?;
        match failure {
            None | Some(Failure::Short) => machine.names.sync(folder),
            Some(Failure::Interrupted) => return Err(Failure::Interrupted.error()),
            Some(failure @ (Failure::Io | Failure::Full)) => {
                machine.names.fail_sync(folder);
                return Err(failure.error());
            }
        }
        machine.forget();
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        let mut machine = self.lock();
        let (now, step) = machine.clock;
        machine.clock.0 = now.saturating_add(step);
        now
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut machine = self.look(Op::Random)?;
        machine.random.fill(out);
        Ok(())
    }
}
