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
//! A write changes the bytes that it names and no others. To replace a text by a shorter one takes its [`set_len`](Transaction::set_len) too, or the
//! end of the old text stays:
//!
//! ```
//! # use waltool::wal::DurableFile;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("totals.txt");
//! # std::fs::write(&path, b"night 7\norders 4711\n")?;
//! let mut file = DurableFile::open(&path)?;
//! let text = b"night 8\norders 9\n";
//! let mut transaction = file.begin();
//! transaction.write(0, text).set_len(text.len() as u64);
//! transaction.commit()?;
//! file.checkpoint()?;
//! assert_eq!(std::fs::read(&path)?, text);
//! # Ok(())
//! # }
//! ```
//!
//! **The log knows its file** by length and CRC-32, which it states with each checkpoint. Opening refuses a file that is in no state of which the
//! log knows: another file, an older or a newer one, an edited one, one that is gone. Nothing is changed then, and the error says what the file was, what it
//! is, and how to go on. So a backup needs both, of one moment; a file and its log can be moved, restored and touched as one likes, as long
//! as the content stays. A file without a log is taken on as it is. What `waltool replay` made of the file is known too, as long as its
//! sidecar is beside it. A checksum is no signature: who means to deceive can.
//!
//! **Readers** open the file and read it, without a lock and at any time. What they have opened is the file before or after a checkpoint and stays
//! that: whole transactions, never half of one. Nobody else may write it.
//!
//! **The cost** of a checkpoint, and of an opening that finds work to do, is a copy of the file, one reading of it for its checksum, and room for that copy. A
//! commit costs only what it changes. So checkpoint large files rarely: until then the log grows, and nothing is at risk. An opening that
//! finds nothing to do does not read the file if inode number and times are as the log says; otherwise it reads it once.
//!
//! A file that does not exist is created by the first checkpoint that has a change for it; the umask decides who may read it. From then on each
//! checkpoint keeps its owner, mode, ACL and extended attributes, or it is [refused](crate::rights) and the file stays as it is. The log is for
//! its owner only. Further names of the file (hard links) go on naming the old file.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{Result, WalError};
use super::reach::Reach;
use super::{Options, Recovery, Transaction, Wal, folder};
use crate::durable;
use crate::error::Error;
use crate::format::Seen;
use crate::formats::native::layout::Lsn;
use crate::log::{Log, open_regular, regular};
use crate::replay::content::settled;
use crate::replay::{Content, Known, Replay, To, Until};
use crate::vfs::{Disk, Kind, PRIVATE_FOLDER, Vfs, VfsFile};

/// A file that had to be read is stated again from this length on, in bytes: to read a shorter one costs less than the syncs of a statement.
const STATED_AGAIN_MIN: u64 = 1 << 20;

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
    /// As [`Wal::open`]; [`WalError::NotApplied`], on a full disk above all; [`Error::Refused`] where the file is not as its log left it, or
    /// is gone. In each case file and log hold what they held: once the cause is gone, open again.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_file(path)
    }

    pub(super) fn open_with(path: &Path, options: &Options) -> Result<Self> {
        let disk = options.disk.clone();
        let path = behind_link(&*disk, path)?;
        // What is no file gets no log.
        is_there(&*disk, &path)?;
        let log = log_path(&path)?;
        // It holds what the file holds, and who may read that is decided later: by the umask or by whoever gives it a mode.
        folder::prepare(&disk, &log, PRIVATE_FOLDER)?;
        let mut wal = options.open(log)?;
        let beside = durable::folder_of(&path);
        let beside = disk.canonicalize(beside).map_err(|cause| Error::read(beside, cause))?;
        let file = beside.join(path.file_name().unwrap_or_default());
        wal.reach = Some(Reach::new(&disk, &file));
        let file = Self { path, file, disk, wal };
        file.fold()?;
        Ok(file)
    }

    /// Begins a transaction. When its commit returns, it is on the disk, in the log; the file is as it was until the next
    /// [`checkpoint`](Self::checkpoint) or opening. Threads may commit at the same time (`&DurableFile`).
    pub fn begin(&self) -> Transaction<&Wal> {
        self.wal.begin()
    }

    /// Brings the file to the last commit, in one step, and makes the log small. When it returns, both are on the disk. Without a commit since
    /// the last time it does nothing. Nobody commits meanwhile; threads that share the file keep it in a lock for that.
    ///
    /// # Errors
    /// [`WalError::NotApplied`]: the log has everything, and this or an opening can be tried again. [`Error::Refused`] where the file is
    /// gone, or somebody else has changed or replaced it. [`WalError::DurabilityUnknown`], [`WalError::NotOwner`]: open the file again. [`Error::Write`] where an old part of the log could not be removed: the next
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

    fn fold(&self) -> Result<()> {
        // Or the file could have what a power cut takes from the log.
        self.wal.sync()?;
        let redo_lsn = self.wal.redo_lsn();
        let log = self.wal.committed(redo_lsn)?.into_log();
        match log {
            None => self.adopt(),
            // Only what begins in the first segment is the file's whole history.
            Some(_) if redo_lsn.segment() > 1 && !is_there(&*self.disk, &self.file)? => Err(self.gone(redo_lsn)),
            Some(log) => self.apply(&log, redo_lsn),
        }
    }

    /// Brings the file to the last commit, if it is the file of this log.
    fn apply(&self, log: &Log, redo_lsn: Lsn) -> Result<()> {
        // How long a file can be is for the file system to say.
        let replay = Replay::of(log, &self.file, Until::End, u64::MAX, &mut |_| ());
        let replay = replay.map_err(|cause| self.not_applied(cause))?.by_the_writer(self.wal.owner.lock());
        let known = replay.known().map_err(|cause| self.not_applied(cause))?;
        match known {
            Known::Not(None) => return Err(self.gone(redo_lsn)),
            Known::Not(Some(content)) => return Err(self.unlike(&replay, content)),
            Known::Unsaid if replay.survey.changes == 0 => self.adopt()?,
            Known::Read { content, seen } if replay.survey.changes == 0 => self.state_again(content, seen)?,
            Known::Unchanged if replay.survey.changes == 0 => {}
            // A log that says nothing of its file is from before logs did; its file is taken to be the right one.
            Known::Unsaid | Known::Unchanged | Known::Read { .. } => self.replace(&replay)?,
        }
        replay.forget_sidecar();
        Ok(())
    }

    /// Makes the new content, states what it is, gives it the file's name, and states that it has it. A crash between any two of these
    /// steps leaves a file that the log knows.
    fn replace(&self, replay: &Replay<'_>) -> Result<()> {
        let failed = |cause| self.not_applied(cause);
        self.must_fit(replay.survey.len_max)?;
        replay.permits(To::Replace).map_err(failed)?;
        let made = replay.make_in_place(&mut |_| ()).map_err(failed)?;
        let content = made.content().map_err(failed)?;
        let last = self.wal.intend(content)?;
        let placed = made.place(None).map_err(failed)?;
        self.wal.checkpoint_of(last, content, placed.seen)
    }

    /// Takes on the file as it is, if there is one: from now on the log knows it, and begins after it.
    fn adopt(&self) -> Result<()> {
        if is_there(&*self.disk, &self.file)? { self.state() } else { Ok(()) }
    }

    /// The file has been read because it was moved, restored or touched. States what the file system says of it now, lest it is read each
    /// time.
    fn state_again(&self, content: Content, seen: Option<Seen>) -> Result<()> {
        if content.len < STATED_AGAIN_MIN || seen.is_none() {
            return Ok(());
        }
        let (file, _) = open_regular(&*self.disk, &self.file)?;
        self.state_of(&*file, content, seen)
    }

    /// States what the file is.
    fn state(&self) -> Result<()> {
        let (file, _) = open_regular(&*self.disk, &self.file)?;
        let stat = || file.stat().map_err(|source| Error::read(&self.path, source));
        let before = stat()?;
        let content = Content::of(&*file, &self.path)?;
        let now = stat()?;
        if now != before || content.len != before.len {
            return Err(Error::Changed { path: self.path.clone(), was: before.len, now: now.len }.into());
        }
        self.state_of(&*file, content, settled(&before))
    }

    fn state_of(&self, file: &dyn VfsFile, content: Content, seen: Option<Seen>) -> Result<()> {
        // Whoever put it there need not have synced it.
        durable::sync(file, &self.path)?;
        durable::sync_dir(&*self.disk, durable::folder_of(&self.file))?;
        // A mark, so that the log begins after everything that is committed.
        let last = self.begin().commit()?;
        self.wal.checkpoint_of(last, content, seen)
    }

    fn not_applied(&self, cause: Error) -> WalError {
        // Whoever lost the log changes nothing, for that reason.
        let lost = self.wal.owner.must_be_ours().err();
        lost.unwrap_or_else(|| WalError::NotApplied { path: self.path.clone(), log: self.log_path().into(), cause })
    }

    /// Refuses a log of which a transaction makes the file longer than it can be here: it was written elsewhere, or by a program that did not ask.
    fn must_fit(&self, len_max: u64) -> Result<()> {
        let Some(reach) = &self.wal.reach else { return Ok(()) };
        let Some(max) = reach.exceeded_by(len_max)? else { return Ok(()) };
        let committed = self.wal.committed(self.wal.redo_lsn())?;
        let mut entries = committed.entries();
        while let Some(logged) = entries.next()? {
            if logged.entry.reach() > max {
                return Err(self.too_long(logged.transaction, logged.entry.reach(), max));
            }
        }
        Ok(())
    }

    fn too_long(&self, number: u64, len: u64, max: u64) -> WalError {
        let log = crate::quoted(self.log_path());
        let mut other = self.log_path().as_os_str().to_owned();
        other.push(".new");
        let other = crate::quoted(Path::new(&other));
        let why = format!(
            "transaction {number} of its log makes it {len} bytes long; by the file system, or by `ulimit -f`, it can have {max}\n  \
             to keep everything:  move the file and {log} to where files can be so long\n  \
             to leave out transaction {number}, make a log without it and put that in the place of {log}:\n  \
             waltool dump --json {log} | grep -v '\"transaction\":{number},' | waltool load - --output {other}"
        );
        Error::refused(&self.path, why).into()
    }

    fn gone(&self, redo_lsn: Lsn) -> WalError {
        let log = crate::quoted(self.log_path());
        let why = format!(
            "it is gone, and its log begins after it: {log} has only what was committed from {redo_lsn} on\n  \
             to go on:             put the file back as it was\n  \
             to begin a new file:  move {log} away"
        );
        Error::refused(&self.path, why).into()
    }

    /// The file is in no state of which the log knows.
    fn unlike(&self, replay: &Replay<'_>, is: Content) -> WalError {
        let (log, path) = (crate::quoted(self.log_path()), crate::quoted(&self.path));
        let said = &replay.survey.said;
        let was = match said.fact.or(said.last) {
            Some(stated) => format!("{}, at {}", stated.content, Lsn(stated.lsn)),
            None => "empty, before the first commit".into(),
        };
        let interrupted = if replay.is_interrupted() {
            format!("  to finish the replay that was interrupted:    waltool replay {log} --onto {path} --in-place\n")
        } else {
            String::new()
        };
        let why = format!(
            "the file and its log do not belong together, or the file was changed without its log\n  \
             its log says that it was:  {was}\n  \
             it is:                     {is}\n\
             {interrupted}  \
             if the file is the wrong one, or was changed:  put back the file that belongs to {log}\n  \
             if the log is the wrong one:                   put back the log that belongs to {path}\n  \
             to keep the file without what only the log has:  mv {log} {log}.old"
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

/// Whether there is a file; anything else that is there is an error.
fn is_there(disk: &dyn Vfs, path: &Path) -> Result<bool> {
    match disk.stat(path) {
        Ok(stat) => {
            regular(path, stat.kind)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::read(path, source).into()),
    }
}

fn log_path(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::Usage(format!("{}: names no file", crate::shown(path))))?;
    let mut name = name.to_owned();
    name.push(".wal");
    Ok(path.with_file_name(name))
}
