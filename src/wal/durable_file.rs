//! A file whose changes go through a log: a reader sees whole transactions, and what was committed survives whatever happens.
//!
//! ```
//! use waltool::wal::DurableFile;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("totals.txt");
//! let file = DurableFile::open(&path)?; // up to date, whatever happened before
//! let mut transaction = file.begin();
//! transaction.write(0, b"night 7\n").write(8, b"orders 4711\n").set_len(20);
//! transaction.commit()?; // in the log, on the disk; the file is as it was
//! file.close()?; // the file is replaced, in one step
//! assert_eq!(std::fs::read(&path)?, b"night 7\norders 4711\n");
//! # Ok(())
//! # }
//! ```
//!
//! The log is a directory beside the file, which has the file's name and `.wal`. The log is the truth; the file is what was made of it.
//!
//! - **Commit:** when [`Transaction::commit`] returns, the transaction is on the disk, in the log. The file is not touched.
//! - **Checkpoint:** all that is committed goes into the file in one step: into a copy, which is synced, takes the file's name, and that is synced
//!   too. Only then is the log made small. When it returns, all this is on the disk.
//! - **Open:** what the file does not have yet goes into it, in the same way. When it returns, the file is on the disk at the last commit.
//!
//! **Readers** open the file and read it, without a lock and at any time. What they have opened is the file before or after a checkpoint and stays
//! that: whole transactions, never half of one. Nobody else may write it.
//!
//! **The cost** of a checkpoint, and of an opening that finds work to do, is a copy of the file, and room for that copy. A commit costs only what
//! it changes. So checkpoint large files rarely: until then the log grows, and nothing is at risk.
//!
//! A file that does not exist is created by the first checkpoint that has a change for it; the umask decides who may read it. From then on each
//! checkpoint keeps its owner, mode, ACL and extended attributes, or it is [refused](crate::rights) and the file stays as it is. The log is for
//! its owner only. Further names of the file (hard links) go on naming the old file.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{Result, WalError};
use super::{Options, Recovery, Transaction, Wal, make_folder};
use crate::durable;
use crate::error::Error;
use crate::formats::native::layout::Lsn;
use crate::log::{Log, regular};
use crate::replay::{Replay, To, Until};
use crate::vfs::{Disk, Kind, PRIVATE_FOLDER, Vfs};

/// A file that is changed by transactions. See the [module](self).
pub struct DurableFile {
    /// Behind any symbolic link: the file is replaced, not the link. For messages.
    path: PathBuf,
    /// The same from the root on, resolved at opening: a later `chdir` does not lead to another file.
    file: PathBuf,
    disk: Disk,
    wal: Wal,
}

impl DurableFile {
    /// Opens the file at `path` and its log, the directory `<path>.wal`, which is created if need be. When it returns, the file is on the
    /// disk, at the last committed transaction.
    ///
    /// # Errors
    /// As [`Wal::open`]; [`WalError::NotApplied`], on a full disk above all; [`Error::Refused`] where the file is gone and the log no
    /// longer has all of it. In each case file and log hold what they held: once the cause is gone, open again.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_file(path)
    }

    pub(super) fn open_with(path: &Path, options: &Options) -> Result<Self> {
        let disk = options.disk.clone();
        let path = behind_link(&*disk, path)?;
        let found = len(&*disk, &path)?;
        let log = log_path(&path)?;
        // It holds what the file holds, and who may read that is decided later: by the umask or by whoever gives it a mode.
        make_folder(&disk, &log, PRIVATE_FOLDER)?;
        let wal = options.open(log)?;
        let folder = durable::folder_of(&path);
        let folder = disk.canonicalize(folder).map_err(|cause| Error::read(folder, cause))?;
        let file = folder.join(path.file_name().unwrap_or_default());
        let file = Self { path, file, disk, wal };
        if let (None, Some(len)) = (&file.recovery().report, found) {
            file.adopt(len)?;
        }
        file.fold()?;
        Ok(file)
    }

    /// Begins a transaction. When its commit returns, it is on the disk, in the log; the file is as it was until the next
    /// [`checkpoint`](Self::checkpoint) or opening. Threads may commit at the same time (`&DurableFile`).
    pub fn begin(&self) -> Transaction<'_> {
        self.wal.begin()
    }

    /// Brings the file to the last commit, in one step, and makes the log small. When it returns, both are on the disk. Without a commit since
    /// the last time it does nothing. Nobody commits meanwhile; threads that share the file keep it in a lock for that.
    ///
    /// # Errors
    /// [`WalError::NotApplied`]: the log has everything, and this or an opening can be tried again. [`Error::Refused`] where the file is
    /// gone. [`WalError::DurabilityUnknown`]: open the file again. [`Error::Write`] where an old part of the log could not be removed: the next
    /// checkpoint tries again.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.fold()
    }

    /// Checkpoint, and the end of the log in good order. A file that is dropped without it loses no durable commit: the next opening
    /// brings it up to date.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn close(mut self) -> Result<()> {
        self.checkpoint()?;
        self.wal.close()
    }

    /// What opening the log found.
    pub fn recovery(&self) -> &Recovery {
        self.wal.recovery()
    }

    /// The file; where a symbolic link was named, what it leads to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's directory.
    pub fn log_path(&self) -> &Path {
        self.wal.path()
    }

    /// Takes on a file of `len` bytes that has no log: this transaction, which changes nothing, makes the first checkpoint. From then on the
    /// log begins after the file, and nobody takes it for the file's whole history.
    fn adopt(&self, len: u64) -> Result<()> {
        let mut transaction = self.begin();
        transaction.set_len(len);
        transaction.commit().map(drop)
    }

    fn fold(&self) -> Result<()> {
        // Or the file could have what a power cut takes from the log.
        self.wal.sync()?;
        let redo_lsn = self.wal.redo_lsn();
        let Some(log) = self.wal.committed(redo_lsn)?.into_log() else { return Ok(()) };
        // Only what begins in the first segment is the file's whole history.
        if redo_lsn.segment() > 1 && len(&*self.disk, &self.file)?.is_none() {
            return Err(self.gone(redo_lsn));
        }
        let applied = self.apply(&log).or_else(|cause| {
            self.wal.owner.must_be_ours()?;
            Err(WalError::NotApplied { path: self.path.clone(), log: self.log_path().into(), cause })
        })?;
        applied.map_or(Ok(()), |(last, len)| self.wal.checkpoint(last, len))
    }

    /// Applies what is in the log, and says up to which commit, and how long the file now is; `None` where there was nothing to do.
    fn apply(&self, log: &Log) -> Result<Option<(Lsn, u64)>, Error> {
        // How long a file can be is for the file system to say.
        let lock = self.wal.owner.lock();
        let replay = Replay::of(log, &self.file, Until::End, u64::MAX, &mut |_| ())?.by_the_writer(lock);
        let Some(stop) = replay.survey.stop.filter(|_| replay.survey.changes > 0) else { return Ok(None) };
        replay.run(To::Replace, &mut |_| ())?;
        Ok(Some((Lsn(stop.lsn), replay.survey.len)))
    }

    fn gone(&self, redo_lsn: Lsn) -> WalError {
        let log = crate::quoted(self.log_path());
        let why = format!(
            "it is gone, and its log begins after it: {log} has only what was committed from {redo_lsn} on\n  \
             to go on:      put the file back as it was\n  \
             to begin anew: move {log} away"
        );
        Error::refused(&self.path, why).into()
    }
}

/// What a symbolic link leads to: two names of one file must not have two logs.
fn behind_link(disk: &dyn Vfs, path: &Path) -> Result<PathBuf> {
    match disk.stat_link(path) {
        Ok(stat) if stat.kind == Kind::Link => {
            Ok(disk.canonicalize(path).map_err(|source| Error::read(path, source))?)
        }
        _ => Ok(path.into()),
    }
}

/// The length of the file, if there is one.
fn len(disk: &dyn Vfs, path: &Path) -> Result<Option<u64>> {
    match disk.stat(path) {
        Ok(stat) => {
            regular(path, stat.kind)?;
            Ok(Some(stat.len))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::read(path, source).into()),
    }
}

fn log_path(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::Usage(format!("{}: names no file", crate::shown(path))))?;
    let mut name = name.to_owned();
    name.push(".wal");
    Ok(path.with_file_name(name))
}
