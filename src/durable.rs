//! The few building blocks of every change to a file, and what is on the disk when each returns. Nothing here replaces a
//! file unless its name says so, and nothing follows a symbolic link in a name that it creates.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
pub use crate::log::folder_of;
use crate::log::regular;
use crate::sparse::{self, Part, Sum};
use crate::vfs::{self, Access, Disk, Kind, PRIVATE, PRIVATE_FOLDER, Stat, Vfs, VfsFile};

/// Bytes that a copy moves at a time.
pub const CHUNK: usize = 256 * 1024;
/// Bytes that the kernel is asked to copy at a time.
const STEP: u64 = 16 * 1024 * 1024;

/// Creates a file that must not exist, readable and writable, with the mode and owner of `like` or else for its owner only.
/// Nothing is durable yet.
///
/// # Errors
/// [`Error::Write`]; also when the owner of `like` cannot be given to it.
pub fn create_new(disk: &dyn Vfs, path: &Path, like: Option<&Stat>) -> Result<Box<dyn VfsFile>> {
    let failed = |doing| move |source| Error::write(path, doing, source);
    let file = disk.create_new(path, PRIVATE).map_err(failed("create"))?;
    if let Some(Err(source)) = like.map(|like| set_owner(&*file, like)) {
        // Best effort: nobody else knows that it is there.
        let _ = disk.remove(path);
        return Err(failed("keep the owner and mode of")(source));
    }
    Ok(file)
}

fn set_owner(file: &dyn VfsFile, like: &Stat) -> io::Result<()> {
    let is = file.stat()?;
    if is.owner != like.owner {
        file.set_owner(like.owner)?;
    }
    file.set_mode(like.mode)
}

/// Opens a file that exists for reading and writing.
///
/// # Errors
/// [`Error::NotRegular`], [`Error::Write`].
pub fn open_for_change(disk: &dyn Vfs, path: &Path) -> Result<Box<dyn VfsFile>> {
    let failed = |source| Error::write(path, "open for writing", source);
    regular(path, disk.stat(path).map_err(failed)?.kind)?;
    disk.open(path, Access::Change).map_err(failed)
}

/// Writes all of `bytes` at `offset`. Not durable yet.
///
/// # Errors
/// [`Error::Write`].
pub fn write_at(file: &dyn VfsFile, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
    vfs::write_all_at(file, bytes, offset).map_err(|source| Error::write(path, "write", source))
}

/// Makes the file `len` bytes long: cuts it, or adds zeros. Not durable yet.
///
/// # Errors
/// [`Error::Write`].
pub fn set_len(file: &dyn VfsFile, path: &Path, len: u64) -> Result<()> {
    file.set_len(len).map_err(|source| Error::write(path, "set the length of", source))
}

/// When it returns, the file's bytes and length are on the disk; its name only after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`]: what is on the disk is then unknown.
pub fn sync(file: &dyn VfsFile, path: &Path) -> Result<()> {
    file.sync_all().map_err(|source| Error::write(path, "sync", source))
}

/// As [`sync`], for the bytes and the length alone, which is all that reading them again takes.
///
/// # Errors
/// [`Error::Write`]: what is on the disk is then unknown.
pub fn sync_data(file: &dyn VfsFile, path: &Path) -> Result<()> {
    file.sync_data().map_err(|source| Error::write(path, "sync", source))
}

/// Takes room on the disk for the bytes `from..to` of the file, whose length stays.
///
/// # Errors
/// [`Error::Write`], on a full disk above all.
pub fn reserve(file: &dyn VfsFile, path: &Path, from: u64, to: u64) -> Result<()> {
    file.reserve(from, to).map_err(|source| Error::write(path, "take room for", source))
}

/// Has the disk begin with what was written, so that a later [`sync`] waits for less. Promises nothing.
pub fn start_sync(file: &dyn VfsFile) {
    file.drop_clean();
}

/// When it returns, the names in the directory are on the disk.
///
/// # Errors
/// [`Error::Write`].
pub fn sync_dir(disk: &dyn Vfs, path: &Path) -> Result<()> {
    disk.sync_folder(path).map_err(|source| Error::write(path, "sync", source))
}

/// Gives `from` the name `to`, which must be free. Durable after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`]; its source is `AlreadyExists` where the name is taken.
pub fn rename_new(disk: &dyn Vfs, from: &Path, to: &Path) -> Result<()> {
    disk.rename_new(from, to).map_err(|source| Error::write(to, "create", source))
}

/// Gives `from` the name `to` in place of whatever has it, in one step. Durable after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`].
pub fn rename_over(disk: &dyn Vfs, from: &Path, to: &Path) -> Result<()> {
    disk.rename_over(from, to).map_err(|source| Error::write(to, "replace", source))
}

/// Removes a file's name. Durable after [`sync_dir`].
///
/// # Errors
/// [`Error::Write`].
pub fn remove(disk: &dyn Vfs, path: &Path) -> Result<()> {
    disk.remove(path).map_err(|source| Error::write(path, "remove", source))
}

/// Copies the first `len` bytes of `from` to `to`, a new file: inside the kernel where the file system can, holes as holes.
/// `progress` hears how many bytes have been copied. Not durable yet.
///
/// # Errors
/// [`Error::Changed`] where `from` has become shorter: as much as there is has been copied. [`Error::Write`].
pub fn copy_prefix(
    from: &dyn VfsFile,
    from_path: &Path,
    len: u64,
    to: &dyn VfsFile,
    to_path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let stat = from.stat().map_err(|source| Error::read(from_path, source))?;
    let copied = match (from.real(), to.real()) {
        (Some(mut from), Some(mut to)) if stat.stored >= stat.len => {
            from.seek(SeekFrom::Start(0)).map_err(|source| Error::read(from_path, source))?;
            let failed = |source| Error::write(to_path, "write", source);
            let mut copied = 0;
            loop {
                match io::copy(&mut from.take(STEP.min(len - copied)), &mut to).map_err(failed)? {
                    0 => break copied,
                    step => copied += step,
                }
                progress(copied);
            }
        }
        _ => {
            let end = sparse::read(from, from_path, 0, len, |offset, part| {
                progress(offset);
                write_part(to, to_path, &part, offset)
            })?;
            set_len(to, to_path, end)?;
            end
        }
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
pub fn copy_tail(
    source: &dyn VfsFile,
    source_path: &Path,
    from: u64,
    to: &dyn VfsFile,
    to_path: &Path,
) -> Result<(u64, u32)> {
    let mut sum = Sum::default();
    let end = sparse::read(source, source_path, from, u64::MAX, |offset, part| {
        sum.add(&part);
        write_part(to, to_path, &part, offset - from)
    })?;
    set_len(to, to_path, end - from)?;
    Ok((end - from, sum.finish()))
}

/// Writes a part of a file at `offset`, unless it is zeros, which a new file has there anyhow.
fn write_part(to: &dyn VfsFile, to_path: &Path, part: &Part<'_>, offset: u64) -> Result<()> {
    match part {
        Part::Bytes(bytes) if !crate::bytes::all_zero(bytes) => write_at(to, to_path, bytes, offset),
        Part::Bytes(_) | Part::Hole(_) => Ok(()),
    }
}

/// A file or directory under another name beside the one it will become. Dropped before it was placed, it is removed.
pub struct Temp {
    disk: Disk,
    path: PathBuf,
    target: PathBuf,
    file: Option<Box<dyn VfsFile>>,
    placed: bool,
}

impl Temp {
    /// A new file beside `target`, with the mode and owner of `like`. What an earlier run left there is removed.
    ///
    /// # Errors
    /// [`Error::Refused`] while another run writes it; [`Error::Write`].
    pub fn file(disk: &Disk, target: &Path, like: Option<&Stat>) -> Result<Self> {
        let path = folder_of(target).join(temp_name(target));
        clear_leftover(&**disk, &path)?;
        let file = create_new(&**disk, &path, like)?;
        let temp = Self { disk: disk.clone(), path, target: target.into(), file: Some(file), placed: false };
        // The lock tells a leftover from a file that is being written.
        match temp.handle().try_lock() {
            Ok(true) if temp.handle().stat().is_ok_and(|file| file.links > 0) => Ok(temp),
            // Between its creation and its lock another run took it for a leftover; the name is that run's now.
            Ok(_) => Err(temp.lost()),
            Err(source) => Err(Error::write(&temp.path, "lock", source)),
        }
    }

    /// A new directory beside `target`, with the mode and owner of the directory `like`. What an earlier run left there is removed.
    ///
    /// # Errors
    /// [`Error::Write`]; also when the owner of `like` cannot be given to it.
    pub fn folder(disk: &Disk, target: &Path, like: &Path) -> Result<Self> {
        let like = disk.stat(like).map_err(|source| Error::read(like, source))?;
        let temp = Self::folder_with(disk, target, like.mode)?;
        let keep = || {
            let made = disk.open(&temp.path, Access::Read)?;
            set_owner(&*made, &like)
        };
        keep().map_err(|source| Error::write(&temp.path, "keep the owner and mode of", source))?;
        Ok(temp)
    }

    /// As [`folder`](Self::folder), for its owner only.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn private_folder(disk: &Disk, target: &Path) -> Result<Self> {
        Self::folder_with(disk, target, PRIVATE_FOLDER)
    }

    fn folder_with(disk: &Disk, target: &Path, mode: u32) -> Result<Self> {
        let path = folder_of(target).join(temp_name(target));
        if disk.stat_link(&path).is_ok_and(|there| there.kind == Kind::Folder) {
            disk.remove_folder(&path).map_err(|source| Error::write(&path, "remove", source))?;
        }
        disk.create_folder(&path, mode).map_err(|source| Error::write(&path, "create", source))?;
        Ok(Self { disk: disk.clone(), path, target: target.into(), file: None, placed: false })
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
    pub fn handle(&self) -> &dyn VfsFile {
        self.file.as_deref().expect("a temporary file, not a directory")
    }

    /// The file system that it is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Syncs it and gives it its name, which must be free. When it returns, all of it is on the disk under its name.
    ///
    /// # Errors
    /// [`Error::Write`]; its source is `AlreadyExists` where the name is taken. Nothing remains then.
    pub fn place_new(self) -> Result<()> {
        self.sync()?;
        rename_new(&*self.disk, &self.path, &self.target)?;
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
        rename_over(&*self.disk, &self.path, &self.target)?;
        self.named()
    }

    fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => sync(&**file, &self.path),
            None => sync_dir(&*self.disk, &self.path),
        }
    }

    fn named(mut self) -> Result<()> {
        self.placed = true;
        sync_dir(&*self.disk, folder_of(&self.target))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Best effort: what remains is recognised and removed by the next run.
        if !self.placed {
            let _ = match self.file {
                Some(_) => self.disk.remove(&self.path),
                None => self.disk.remove_folder(&self.path),
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

fn clear_leftover(disk: &dyn Vfs, path: &Path) -> Result<()> {
    let failed = |source| Error::write(path, "replace", source);
    match disk.stat_link(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // What is no file, a symbolic link above all, was not left by a run.
        there => regular(path, there.map_err(failed)?.kind)?,
    }
    let left = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        left => left.map_err(failed)?,
    };
    let id = |file: io::Result<Stat>| file.map(|file| file.id).ok();
    match left.try_lock() {
        Ok(true) if id(left.stat()) == id(disk.stat_link(path)) => remove(disk, path),
        // What was opened has been placed or removed meanwhile; what has the name now is not known to be left over.
        Ok(_) => Err(busy(path)),
        Err(source) => Err(Error::write(path, "lock", source)),
    }
}

fn busy(path: &Path) -> Error {
    Error::refused(path, "another waltool is writing this file")
}

/// Fails early where a name that must be free is taken.
///
/// # Errors
/// [`Error::Refused`].
pub fn must_be_free(disk: &dyn Vfs, path: &Path) -> Result<()> {
    match disk.stat_link(path) {
        Ok(_) => Err(Error::refused(path, "it exists already; name something new")),
        Err(_) => Ok(()),
    }
}

/// Writes to a file in large pieces: neighbouring writes become one.
pub struct Gather<'f> {
    file: &'f dyn VfsFile,
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
    pub fn new(file: &'f dyn VfsFile, path: &'f Path) -> Self {
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
        self.buffer.extend_from_slice(bytes);
        Ok(())
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
