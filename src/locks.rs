//! Keeping a log's own program away while its files are changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockOffsetType, FlockType, Pid, getpid};

use crate::error::{Error, Result};
use crate::format::Lock;
use crate::vfs::{Access, Vfs, VfsFile};

/// So often a file is locked that has lost its name by then, before that is an error.
const TRIES: usize = 16;

/// A lock that is held until this is dropped. A POSIX record lock also ends when this process closes any other handle of
/// the same file, so nobody in it should open that file meanwhile.
///
/// It belongs to the process that took it. A child of `fork` has a copy of it: there it holds nothing, and dropping it leaves the
/// parent's lock alone.
#[must_use]
pub struct Held(State);

enum State {
    /// There is nothing that a writer would lock.
    Free,
    /// There was no file to lock.
    Absent(PathBuf),
    Locked(Locked),
}

struct Locked {
    file: Box<dyn VfsFile>,
    name: Named,
    process: Pid,
}

impl Held {
    fn of(file: Box<dyn VfsFile>, path: &Path) -> io::Result<Self> {
        let name = Named::of(&*file, path)?;
        Ok(Self(State::Locked(Locked { file, name, process: getpid() })))
    }

    /// A lock is really held: a writer would have been noticed, and none can begin while [`check`](Self::check) succeeds.
    pub fn holds(&self) -> bool {
        matches!(&self.0, State::Locked(locked) if locked.is_ours())
    }

    /// This is the process that took the lock, not a child of it. Costs one system call.
    pub fn is_ours(&self) -> bool {
        match &self.0 {
            State::Locked(locked) => locked.is_ours(),
            State::Free | State::Absent(_) => true,
        }
    }

    /// What happened to the name of the locked file since, if it leads elsewhere now: then the lock keeps nobody away.
    ///
    /// # Errors
    /// [`Error::Read`] where that cannot be told.
    pub fn lost(&self, disk: &dyn Vfs) -> Result<Option<Lost>> {
        match &self.0 {
            State::Free => Ok(None),
            State::Locked(locked) => locked.name.lost(disk),
            State::Absent(path) => match disk.stat(path) {
                Ok(_) => Ok(Some(Lost::Created)),
                Err(error) if is_absent(&error) => Ok(None),
                Err(cause) => Err(Error::read(path, cause)),
            },
        }
    }

    /// Looks whether the lock still keeps others away. Whoever changes a file under a lock asks right before the change.
    ///
    /// # Errors
    /// [`Error::Refused`] where it does not: in a child of the process that took it, and where the locked file lost its name, or where
    /// there was none and now is. [`Error::Read`].
    pub fn check(&self, disk: &dyn Vfs) -> Result<()> {
        let path = match &self.0 {
            State::Free => return Ok(()),
            State::Absent(path) => path,
            State::Locked(locked) => &locked.name.path,
        };
        if !self.is_ours() {
            return Err(Error::refused(path, "the process that this one was forked from has locked it, not this one"));
        }
        self.lost(disk)?.map_or(Ok(()), |lost| {
            let why = format!("it {lost} meanwhile, so another program may be at work; run the command again");
            Err(Error::refused(path, why))
        })
    }
}

impl Locked {
    fn is_ours(&self) -> bool {
        self.process == getpid()
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // To close the file is not enough: another thread may be starting a program, which has a copy of it until it runs. In a child
        // of fork it is all that may be done: child and parent share the lock, and to unlock would take it from both.
        if self.is_ours() {
            self.file.unlock();
        }
    }
}

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing has it: removed, renamed, or a directory on the way to it was.
    Gone,
    /// Another file has it.
    Replaced,
    /// Nothing had it, and something has it now.
    Created,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "was removed or renamed",
            Self::Replaced => "was replaced by another file",
            Self::Created => "was created",
        })
    }
}

/// The name of a file that is open, which keeps others from having its number.
pub struct Named {
    path: PathBuf,
    id: (u64, u64),
}

impl Named {
    /// `path`, which names the open file now, or should.
    ///
    /// # Errors
    /// What the system says when asked about the file.
    pub fn of(file: &dyn VfsFile, path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), id: file.stat()?.id })
    }

    /// The name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What happened to the name, if it does not lead to the file any more.
    ///
    /// # Errors
    /// [`Error::Read`] where that cannot be told.
    pub fn lost(&self, disk: &dyn Vfs) -> Result<Option<Lost>> {
        match disk.stat(&self.path) {
            Ok(stat) if stat.id == self.id => Ok(None),
            Ok(_) => Ok(Some(Lost::Replaced)),
            Err(error) if is_absent(&error) => Ok(Some(Lost::Gone)),
            Err(cause) => Err(Error::read(&self.path, cause)),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Takes the lock as a writer of the log does: the file is created if need be.
///
/// # Errors
/// [`Error::Refused`] while another has it; [`Error::Write`].
pub fn own(disk: &dyn Vfs, path: &Path) -> Result<Held> {
    let failed = |cause| Error::write(path, "lock", cause);
    let open = || disk.open(path, Access::Lock).map(Opened::File).map_err(failed);
    take(disk, path, failed, open, |file| file.try_lock())
}

enum Opened {
    File(Box<dyn VfsFile>),
    Nothing(State),
}

/// Locks the file that `open` gives. Between the two it may have lost its name, and a lock on a file without one keeps nobody away: then
/// the one that has the name now is locked.
fn take(
    disk: &dyn Vfs,
    path: &Path,
    failed: impl Fn(io::Error) -> Error,
    open: impl Fn() -> Result<Opened>,
    lock: impl Fn(&dyn VfsFile) -> io::Result<bool>,
) -> Result<Held> {
    for _ in 0..TRIES {
        let file = match open()? {
            Opened::File(file) => file,
            Opened::Nothing(state) => return Ok(Held(state)),
        };
        if !lock(&*file).map_err(&failed)? {
            return Err(held(path));
        }
        let held = Held::of(file, path).map_err(&failed)?;
        if held.lost(disk)?.is_none() {
            return Ok(held);
        }
    }
    Err(Error::refused(path, format!("it was replaced each of the {TRIES} times that it was locked")))
}

/// Takes the lock that a writer of the log would hold. Without a file to lock there is nothing to take. Creates nothing.
///
/// # Errors
/// [`Error::Refused`] while a writer holds it; [`Error::Read`].
pub fn hold(disk: &dyn Vfs, lock: &Lock) -> Result<Held> {
    match lock {
        Lock::None => Ok(Held(State::Free)),
        Lock::Flock(path) => flock(disk, path),
        Lock::Record { path, start, len } => record(disk, path, *start, *len),
    }
}

fn flock(disk: &dyn Vfs, path: &Path) -> Result<Held> {
    let failed = |cause| Error::read(path, cause);
    let open = || match disk.open(path, Access::Read) {
        Err(error) if is_absent(&error) => Ok(Opened::Nothing(State::Absent(path.into()))),
        other => other.map(Opened::File).map_err(failed),
    };
    take(disk, path, failed, open, |file| file.try_lock())
}

/// Record locks are the system's: on a disk that is not, there is nobody to lock against.
fn record(disk: &dyn Vfs, path: &Path, start: u64, len: u64) -> Result<Held> {
    let open = || match disk.open(path, Access::Change) {
        Ok(file) if file.real().is_some() => Ok(Opened::File(file)),
        Ok(_) => Ok(Opened::Nothing(State::Free)),
        Err(error) if is_absent(&error) => Ok(Opened::Nothing(State::Absent(path.into()))),
        Err(_) => look(disk, path, start, len).map(|()| Opened::Nothing(State::Free)),
    };
    take(disk, path, |cause| Error::read(path, cause), open, lock_all)
}

/// A lock on the whole file meets every lock on a part of it.
fn lock_all(file: &dyn VfsFile) -> io::Result<bool> {
    let Some(real) = file.real() else { return Ok(true) };
    match rustix::fs::fcntl_lock(real, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A file that may not be written can still be asked whether somebody holds a lock.
fn look(disk: &dyn Vfs, path: &Path, start: u64, len: u64) -> Result<()> {
    let file = disk.open(path, Access::Read).map_err(|cause| Error::read(path, cause))?;
    let Some(real) = file.real() else { return Ok(()) };
    let mut ask = Flock::from(FlockType::WriteLock);
    (ask.start, ask.length, ask.offset_type) = (start, len, FlockOffsetType::Set);
    match rustix::process::fcntl_getlk(real, &ask) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(held(path)),
        Err(errno) => Err(Error::read(path, errno.into())),
    }
}

fn held(path: &Path) -> Error {
    Error::refused(path, "another program has it open and locked; stop that program first")
}
