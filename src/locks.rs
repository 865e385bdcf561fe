//! Keeping a log's own program away while its files are changed.

use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockOffsetType, FlockType};

use crate::error::{Error, Result};
use crate::format::Lock;
use crate::vfs::{Access, Vfs, VfsFile};

/// A lock that is held until this is dropped. A POSIX record lock also ends when this process closes any other handle of
/// the same file, so nobody in it should open that file meanwhile.
#[must_use]
pub struct Held(Option<Box<dyn VfsFile>>);

impl Held {
    /// A lock is really held: a writer would have been noticed, and none can begin.
    pub fn holds(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // To close the file is not enough: another thread may be starting a program, which has a copy of it until it runs.
        if let Some(file) = &self.0 {
            file.unlock();
        }
    }
}

/// Takes the lock as a writer of the log does: the file is created if need be.
///
/// # Errors
/// [`Error::Refused`] while another has it; [`Error::Write`].
pub fn own(disk: &dyn Vfs, path: &Path) -> Result<Held> {
    let failed = |source| Error::write(path, "lock", source);
    let file = disk.open(path, Access::Lock).map_err(failed)?;
    if file.try_lock().map_err(failed)? { Ok(Held(Some(file))) } else { Err(held(path)) }
}

/// Takes the lock that a writer of the log would hold. Without a file to lock there is nothing to take. Creates nothing.
///
/// # Errors
/// [`Error::Refused`] while a writer holds it; [`Error::Read`].
pub fn hold(disk: &dyn Vfs, lock: &Lock) -> Result<Held> {
    match lock {
        Lock::None => Ok(Held(None)),
        Lock::Flock(path) => flock(disk, path),
        Lock::Record { path, start, len } => record(disk, path, *start, *len),
    }
}

fn flock(disk: &dyn Vfs, path: &Path) -> Result<Held> {
    let file = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held(None)),
        other => other.map_err(|source| Error::read(path, source))?,
    };
    match file.try_lock() {
        Ok(true) => Ok(Held(Some(file))),
        Ok(false) => Err(held(path)),
        Err(source) => Err(Error::read(path, source)),
    }
}

/// Record locks are the system's: on a disk that is not, there is nobody to lock against.
fn record(disk: &dyn Vfs, path: &Path, start: u64, len: u64) -> Result<Held> {
    let file = match disk.open(path, Access::Change) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held(None)),
        Err(_) => return look(disk, path, start, len),
    };
    let Some(real) = file.real() else { return Ok(Held(None)) };
    // A lock on the whole file meets every lock on a part of it.
    match rustix::fs::fcntl_lock(real, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Held(Some(file))),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(held(path)),
        Err(errno) => Err(Error::read(path, errno.into())),
    }
}

/// A file that may not be written can still be asked whether somebody holds a lock.
fn look(disk: &dyn Vfs, path: &Path, start: u64, len: u64) -> Result<Held> {
    let file = disk.open(path, Access::Read).map_err(|source| Error::read(path, source))?;
    let Some(real) = file.real() else { return Ok(Held(None)) };
    let mut ask = Flock::from(FlockType::WriteLock);
    (ask.start, ask.length, ask.offset_type) = (start, len, FlockOffsetType::Set);
    match rustix::process::fcntl_getlk(real, &ask) {
        Ok(None) => Ok(Held(None)),
        Ok(Some(_)) => Err(held(path)),
        Err(errno) => Err(Error::read(path, errno.into())),
    }
}

fn held(path: &Path) -> Error {
    Error::refused(path, "another program has it open and locked; stop that program first")
}
