//! The few building blocks of every change to a file, and what is on the disk when each returns. Nothing here replaces a
//! file unless its name says so, and nothing follows a symbolic link in a name that it creates.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Gid, Mode, RenameFlags, Uid};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sparse::{self, Part, Sum};

/// Mode of a file that has no original: its owner's only, for logs hold what databases hold.
const PRIVATE: u32 = 0o600;
/// Bytes that a copy moves at a time.
pub const CHUNK: usize = 256 * 1024;

/// Creates a file that must not exist, readable and writable, with the mode and owner of `like` or else for its owner only.
/// Nothing is durable yet.
///
/// # Errors
/// [`Error::Write`]; also when the owner of `like` cannot be given to it.
pub fn create_new(path: &Path, like: Option<&Metadata>) -> Result<File> {
    let failed = |doing| move |source: io::Error| Error::write(path, doing, source);
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(PRIVATE).custom_flags(flags);
    let file = options.open(path).map_err(failed("create"))?;
    if let Some(like) = like {
        let own = file.metadata().map_err(failed("create"))?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            let (owner, group) = (Uid::from_raw(like.uid()), Gid::from_raw(like.gid()));
            rustix::fs::fchown(&file, Some(owner), Some(group))
                .map_err(|errno| Error::write(path, "keep the owner of", errno.into()))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(like.mode() & 0o7777))
            .map_err(|errno| Error::write(path, "keep the mode of", errno.into()))?;
    }
    Ok(file)
}

/// Opens a file that exists for reading and writing.
///
/// # Errors
/// [`Error::NotRegular`], [`Error::Write`].
pub fn open_for_change(path: &Path) -> Result<File> {
    let failed = |source: io::Error| Error::write(path, "open for writing", source);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotRegular { path: path.into(), what: "something else" });
    }
    File::options().read(true).write(true).open(path).map_err(failed)
}

/// Writes all of `bytes` at `offset`. Not durable yet.
///
/// # Errors
/// [`Error::Write`].
pub fn write_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
    file.write_all_at(bytes, offset).map_err(|source| Error::write(path, "write", source))
}

/// Makes the file `len` bytes long: cuts it, or adds zeros. Not durable yet.
///
/// # Errors
/// [`Error::Write`].
pub fn set_len(file: &File, path: &Path, len: u64) -> Result<()> {
    file.set_len(len).map_err(|source| Error::write(path, "set the length of", source))
}

/// When it returns, the file's bytes and length are on the disk; its name only after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`]: what is on the disk is then unknown.
pub fn sync(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|source| Error::write(path, "sync", source))
}

/// Has the disk begin with what was written, so that a later [`sync`] waits for less. Promises nothing.
pub fn start_sync(file: &File) {
    // On Linux this advice starts writing dirty pages and drops only clean ones. It is a hint: failing costs time only.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// When it returns, the names in the directory are on the disk.
///
/// # Errors
/// [`Error::Write`].
pub fn sync_dir(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::write(path, "sync", source))
}

/// Gives `from` the name `to`, which must be free. Durable after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`]; its source is `AlreadyExists` where the name is taken.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    let renamed = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without the flag; a link refuses to replace just as well, but cannot be made to a directory.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_new(from, to),
        other => other.map_err(io::Error::from),
    };
    renamed.map_err(|source| Error::write(to, "create", source))
}

fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        // Renaming a directory replaces an empty directory at most.
        return match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(from, to),
        };
    }
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

/// Gives `from` the name `to` in place of whatever has it, in one step. Durable after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`].
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|source| Error::write(to, "replace", source))
}

/// Removes a file's name. Durable after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`].
pub fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|source| Error::write(path, "remove", source))
}

/// Copies the first `len` bytes of `from` to `to`, a new file: inside the kernel where the file system can, holes as holes. Not
/// durable yet.
///
/// # Errors
/// [`Error::Changed`] where `from` has become shorter, [`Error::Write`].
pub fn copy_prefix(from: &File, from_path: &Path, len: u64, to: &mut File, to_path: &Path) -> Result<()> {
    let metadata = from.metadata().map_err(|source| Error::read(from_path, source))?;
    let copied = if metadata.blocks() * 512 < metadata.len() {
        let end = sparse::read(from, from_path, 0, len, |offset, part| write_part(to, to_path, &part, offset))?;
        set_len(to, to_path, end)?;
        end
    } else {
        let mut from = from;
        from.seek(SeekFrom::Start(0)).map_err(|source| Error::read(from_path, source))?;
        io::copy(&mut from.take(len), to).map_err(|source| Error::write(to_path, "write", source))?
    };
    if copied < len {
        return Err(Error::Changed { path: from_path.into(), was: len, now: copied });
    }
    Ok(())
}

/// Copies `from..` of a file into `to`, leaving out zeros, and gives the length and CRC-32 of what was copied. Not durable yet.
///
/// # Errors
/// [`Error::Read`], [`Error::Write`].
pub fn copy_tail(source: &File, source_path: &Path, from: u64, to: &File, to_path: &Path) -> Result<(u64, u32)> {
    let mut sum = Sum::default();
    let end = sparse::read(source, source_path, from, u64::MAX, |offset, part| {
        sum.add(&part);
        write_part(to, to_path, &part, offset - from)
    })?;
    set_len(to, to_path, end - from)?;
    Ok((end - from, sum.finish()))
}

/// Writes a part of a file at `offset`, unless it is zeros, which a new file has there anyhow.
fn write_part(to: &File, to_path: &Path, part: &Part<'_>, offset: u64) -> Result<()> {
    match part {
        Part::Bytes(bytes) if !crate::bytes::all_zero(bytes) => write_at(to, to_path, bytes, offset),
        Part::Bytes(_) | Part::Hole(_) => Ok(()),
    }
}

/// The directory that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A file or directory under another name beside the one it will become. Dropped before it was placed, it is removed.
pub struct Temp {
    path: PathBuf,
    target: PathBuf,
    file: Option<File>,
    placed: bool,
}

impl Temp {
    /// A new file beside `target`, with the mode and owner of `like`. What an earlier run left there is removed.
    ///
    /// # Errors
    /// [`Error::Refused`] while another run writes it; [`Error::Write`].
    pub fn file(target: &Path, like: Option<&Metadata>) -> Result<Self> {
        let path = folder_of(target).join(temp_name(target));
        clear_leftover(&path)?;
        let file = create_new(&path, like)?;
        let temp = Self { path, target: target.into(), file: Some(file), placed: false };
        // The lock tells a leftover from a file that is being written.
        match rustix::fs::flock(temp.handle(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if temp.handle().metadata().is_ok_and(|file| file.nlink() > 0) => Ok(temp),
            // Between its creation and its lock another run took it for a leftover; the name is that run's now.
            Ok(()) | Err(Errno::WOULDBLOCK) => Err(temp.lost()),
            Err(errno) => Err(Error::write(&temp.path, "lock", errno.into())),
        }
    }

    /// A new directory beside `target`, with the mode of the directory `like`. What an earlier run left there is removed.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn folder(target: &Path, like: &Path) -> Result<Self> {
        let mode = std::fs::metadata(like).map_err(|source| Error::read(like, source))?.permissions();
        let path = folder_of(target).join(temp_name(target));
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            std::fs::remove_dir_all(&path).map_err(|source| Error::write(&path, "remove", source))?;
        }
        let created = std::fs::create_dir(&path).and_then(|()| std::fs::set_permissions(&path, mode));
        created.map_err(|source| Error::write(&path, "create", source))?;
        Ok(Self { path, target: target.into(), file: None, placed: false })
    }

    fn lost(mut self) -> Error {
        self.placed = true;
        busy(&self.path)
    }

    /// Where it is until it is placed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file. Only for [`Temp::file`].
    pub fn handle(&self) -> &File {
        self.file.as_ref().expect("a temporary file, not a directory")
    }

    /// As [`handle`](Self::handle), for writers.
    pub fn handle_mut(&mut self) -> &mut File {
        self.file.as_mut().expect("a temporary file, not a directory")
    }

    /// Syncs it and gives it its name, which must be free. When it returns, all of it is on the disk under its name.
    ///
    /// # Errors
    /// [`Error::Write`]; its source is `AlreadyExists` where the name is taken. Nothing remains then.
    pub fn place_new(self) -> Result<()> {
        self.sync()?;
        rename_new(&self.path, &self.target)?;
        self.named()
    }

    /// As [`place_new`](Self::place_new), under another name in the same directory.
    ///
    /// # Errors
    /// See there.
    pub fn place_new_as(mut self, target: &Path) -> Result<()> {
        self.target = target.into();
        self.place_new()
    }

    /// Syncs it and puts it in the place of the file of its name, in one step. When it returns, that is on the disk.
    ///
    /// # Errors
    /// [`Error::Write`]; the old file or the new one is there, never less.
    pub fn replace(self) -> Result<()> {
        self.sync()?;
        rename_over(&self.path, &self.target)?;
        self.named()
    }

    fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => sync(file, &self.path),
            None => sync_dir(&self.path),
        }
    }

    fn named(mut self) -> Result<()> {
        self.placed = true;
        sync_dir(folder_of(&self.target))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Best effort: what remains is recognised and removed by the next run.
        if !self.placed {
            let _ = match self.file {
                Some(_) => std::fs::remove_file(&self.path),
                None => std::fs::remove_dir_all(&self.path),
            };
        }
    }
}

fn temp_name(target: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or(OsStr::new("new")));
    name.push(".waltool-tmp");
    name
}

fn clear_leftover(path: &Path) -> Result<()> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let left = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|source| Error::write(path, "replace", source))?,
    };
    let id = |file: io::Result<Metadata>| file.map(|file| (file.dev(), file.ino())).ok();
    match rustix::fs::flock(&left, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if id(left.metadata()) == id(path.symlink_metadata()) => remove(path),
        // What was opened has been placed or removed meanwhile; what has the name now is not known to be left over.
        Ok(()) | Err(_) => Err(busy(path)),
    }
}

fn busy(path: &Path) -> Error {
    Error::refused(path, "another waltool is writing this file")
}

/// Fails early where a name that must be free is taken.
///
/// # Errors
/// [`Error::Refused`].
pub fn must_be_free(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::refused(path, "it exists already; --output names something new")),
        Err(_) => Ok(()),
    }
}

/// Writes to a file in large pieces: neighbouring writes become one.
pub struct Gather<'f> {
    file: &'f File,
    path: &'f Path,
    offset: u64,
    buffer: Vec<u8>,
    /// Bytes handed over since the disk was last told to begin.
    waiting: u64,
}

/// So much is handed to the system before the disk is told to begin with it.
const WAITING_MAX: u64 = 16 * 1024 * 1024;

impl<'f> Gather<'f> {
    /// Nothing gathered yet.
    pub fn new(file: &'f File, path: &'f Path) -> Self {
        Self { file, path, offset: 0, buffer: Vec::with_capacity(CHUNK), waiting: 0 }
    }

    /// Writes `bytes` at `offset`, now or with the next.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        let follows = offset == self.offset + self.buffer.len() as u64;
        if !follows || self.buffer.len() + bytes.len() > CHUNK {
            self.flush()?;
            self.offset = offset;
        }
        if bytes.len() >= CHUNK {
            return write_at(self.file, self.path, bytes, offset);
        }
        self.buffer.write_all(bytes).map_err(|source| Error::write(self.path, "write", source))
    }

    /// Makes the file `len` bytes long, after what came before.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn set_len(&mut self, len: u64) -> Result<()> {
        self.flush()?;
        set_len(self.file, self.path, len)
    }

    /// Hands everything to the system. Not durable yet.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn flush(&mut self) -> Result<()> {
        write_at(self.file, self.path, &self.buffer, self.offset)?;
        self.waiting += self.buffer.len() as u64;
        self.buffer.clear();
        if self.waiting >= WAITING_MAX {
            self.waiting = 0;
            start_sync(self.file);
        }
        Ok(())
    }
}
