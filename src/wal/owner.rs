//! Who may write a log: the process that opened it, as long as the log's directory and its LOCK are where they were then.
//!
//! The path is resolved once, at opening: a later `chdir`, or a symbolic link that is turned, leads nobody to other files. Messages
//! show the path as it was given.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, getpid};

use super::error::{Result, WalError};
use crate::error::Error;
use crate::formats::native::LOCK;
use crate::locks::{self, Held, Named};
use crate::vfs::Disk;

/// Which process opened a log. Holds nothing.
#[derive(Clone)]
pub(super) struct Opener {
    process: Pid,
    given: PathBuf,
}

impl Opener {
    /// The log's path as it was given, for messages.
    pub(super) fn given(&self) -> &Path {
        &self.given
    }

    /// Refuses in a child of the process that opened the log. There, what another thread of the parent was doing is never finished: whoever
    /// waits for it, or for a mutex that it holds, waits for ever. So this is asked before waiting.
    pub(super) fn here(&self) -> Result<()> {
        if self.process == getpid() {
            return Ok(());
        }
        let why = "this process is a child (fork) of the one that opened the log: open the log after the fork";
        Err(WalError::NotOwner { path: self.given.clone(), why: why.into() })
    }
}

/// The ownership of a log.
pub(super) struct Owner {
    disk: Disk,
    opener: Opener,
    folder: PathBuf,
    lock: Held,
}

impl Owner {
    /// Takes the log in the directory `path`, which exists.
    pub(super) fn of(disk: &Disk, path: &Path) -> Result<Self> {
        let folder = disk.canonicalize(path).map_err(|cause| Error::read(path, cause))?;
        let lock = locks::own(&**disk, &folder.join(LOCK)).map_err(|error| error.moved(&folder, path))?;
        let opener = Opener { process: getpid(), given: path.into() };
        Ok(Self { disk: disk.clone(), opener, folder, lock })
    }

    /// The log's directory, for everything that is done to files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same, for messages.
    pub(super) fn given(&self) -> &Path {
        self.opener.given()
    }

    /// The process whose log this is.
    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// The lock itself, for whoever else works under it.
    pub(super) fn lock(&self) -> &Held {
        &self.lock
    }

    /// See [`Opener::here`].
    pub(super) fn here(&self) -> Result<()> {
        self.opener.here()
    }

    /// Refuses where the log has another owner, or none.
    pub(super) fn must_be_ours(&self) -> Result<()> {
        self.here()?;
        self.lost(None)?.map_or(Ok(()), |why| Err(WalError::NotOwner { path: self.given().into(), why }))
    }

    /// Why the log is not ours any more, if that is so: it lost its LOCK, or `segment` its name.
    pub(super) fn lost(&self, segment: Option<&Named>) -> Result<Option<String>, Error> {
        let lock = (Path::new(LOCK), self.lock.lost(&*self.disk));
        let segment = segment.map(|name| (name.path(), name.lost(&*self.disk)));
        for (path, lost) in [lock].into_iter().chain(segment) {
            let Some(lost) = lost.map_err(|error| self.shown(error))? else { continue };
            let name = crate::shown(path.file_name().map_or(path, Path::new)).to_string();
            let why = format!("{name} {lost} while the log was open; another program may be writing it now");
            return Ok(Some(why));
        }
        Ok(None)
    }

    /// The error with the path as it was given.
    pub(super) fn shown(&self, error: Error) -> Error {
        error.moved(&self.folder, self.given())
    }

    /// See [`shown`](Self::shown).
    pub(super) fn all_shown(&self, error: WalError) -> WalError {
        match error {
            WalError::Stopped(error) => WalError::Stopped(self.shown(error)),
            WalError::Damaged { report, .. } => WalError::Damaged { path: self.given().into(), report },
            other => other,
        }
    }
}
