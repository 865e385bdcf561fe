//! The few building blocks of every change to a file, and what is on the disk when each returns. Nothing here replaces a
//! file unless its name says so, and nothing follows a symbolic link in a name that it creates.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
pub use crate::log::folder_of;
use crate::log::{Log, regular};
use crate::rights::Origin;
use crate::sparse::{self, Part, Sum};
use crate::vfs::{self, Access, Disk, Kind, Vfs, VfsFile};

/// Bytes that a copy moves at a time.
pub const CHUNK: usize = 256 * 1024;
/// Bytes that the kernel is asked to copy at a time.
const STEP: u64 = 16 * 1024 * 1024;

/// Creates a file that must not exist, to be read and written; its permissions are `mode` less the umask. Nothing is durable yet.
///
/// # Errors
/// [`Error::Write`].
pub fn create_new(disk: &dyn Vfs, path: &Path, mode: u32) -> Result<Box<dyn VfsFile>> {
    disk.create_new(path, mode).map_err(|source| Error::write(path, "create", source))
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

/// A file or directory under another name beside the one it will become. Until it is placed, it is its maker's alone, unless it is
/// made from nothing or replaces a file. Dropped before that, it is removed.
pub struct Temp {
    disk: Disk,
    path: PathBuf,
    target: PathBuf,
    kind: Kind,
    /// Locked to the end: that tells it from a leftover.
    handle: Box<dyn VfsFile>,
    origin: Origin,
    /// The files in the directory, with what each has its rights from.
    within: Vec<(PathBuf, Origin)>,
    placed: bool,
}

impl Temp {
    /// A new file beside `target`. What an earlier run left there is removed.
    ///
    /// # Errors
    /// [`Error::Refused`] while another run writes it, and where it is to replace a file whose rights it cannot have; [`Error::Write`].
    pub fn file(disk: &Disk, target: &Path, origin: Origin) -> Result<Self> {
        Self::begin(disk, target, origin, Kind::File)
    }

    /// A new directory beside `target`. What an earlier run left there is removed.
    ///
    /// # Errors
    /// [`Error::Refused`] while another run writes it; [`Error::Write`].
    pub fn folder(disk: &Disk, target: &Path, origin: Origin) -> Result<Self> {
        Self::begin(disk, target, origin, Kind::Folder)
    }

    fn begin(disk: &Disk, target: &Path, origin: Origin, kind: Kind) -> Result<Self> {
        let path = folder_of(target).join(temp_name(target));
        clear_leftover(&**disk, &path)?;
        let failed = |source| Error::write(&path, "create", source);
        let handle = match kind {
            Kind::Folder => {
                disk.create_folder(&path, origin.folder_mode()).map_err(failed)?;
                disk.open(&path, Access::Read).map_err(failed)?
            }
            _ => disk.create_new(&path, origin.mode()).map_err(failed)?,
        };
        let (disk, target) = (disk.clone(), target.into());
        let temp = Self { disk, path, target, kind, handle, origin, within: Vec::new(), placed: false };
        // Between its creation and its lock another run may have taken it for a leftover; the name is that run's then.
        if !locks_what_is_at(&*temp.disk, &*temp.handle, &temp.path)? {
            return Err(temp.lost());
        }
        // What would be refused in the end is refused before the work.
        if matches!(temp.origin, Origin::InPlaceOf(_)) {
            temp.origin.give(&*temp.handle, &temp.path)?;
        }
        Ok(temp)
    }

    fn lost(mut self) -> Error {
        self.placed = true;
        busy(&self.path)
    }

    /// Creates a file of that name in the [directory](Self::folder). It has its rights once the directory is placed.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create(&mut self, name: &OsStr, origin: Origin) -> Result<Box<dyn VfsFile>> {
        let path = self.path.join(name);
        let file = create_new(&*self.disk, &path, origin.mode())?;
        self.within.push((path, origin));
        Ok(file)
    }

    /// Where it is until it is placed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file or directory.
    pub fn handle(&self) -> &dyn VfsFile {
        &*self.handle
    }

    /// The file system that it is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Gives it its rights, syncs it and gives it its name, which must be free. When it returns, all of it is on the disk under its name.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot have its rights, or would have more than it may; [`Error::Write`]; its source is `AlreadyExists`
    /// where the name is taken. Nothing remains then.
    pub fn place_new(self) -> Result<()> {
        self.finish()?;
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

    /// Gives it its rights, syncs it and puts it in the place of the file of its name, in one step. When it returns, that is on the disk.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot have its rights; [`Error::Write`]; the old file or the new one is there, never less.
    pub fn replace(self) -> Result<()> {
        self.finish()?;
        rename_over(&*self.disk, &self.path, &self.target)?;
        self.named()
    }

    fn finish(&self) -> Result<()> {
        for (path, origin) in &self.within {
            let file = match self.disk.open(path, Access::Read) {
                // Whoever made it has removed it again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(|source| Error::write(path, "open", source))?,
            };
            origin.give(&*file, path)?;
            sync(&*file, path)?;
        }
        self.origin.give(&*self.handle, &self.path)?;
        match self.kind {
            Kind::Folder => sync_dir(&*self.disk, &self.path),
            _ => sync(&*self.handle, &self.path),
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
            let _ = match self.kind {
                Kind::Folder => self.disk.remove_folder(&self.path),
                _ => self.disk.remove(&self.path),
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

/// Removes what an earlier run left, unless a run has it locked.
fn clear_leftover(disk: &dyn Vfs, path: &Path) -> Result<()> {
    let failed = |source| Error::write(path, "replace", source);
    let kind = match disk.stat_link(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(failed)?.kind,
    };
    if kind != Kind::Folder {
        // What is no file, a symbolic link above all, was not left by a run.
        regular(path, kind)?;
    }
    let left = match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        left => left.map_err(failed)?,
    };
    // What was opened may have been placed or removed meanwhile; what has the name now is not known to be left over.
    match locks_what_is_at(disk, &*left, path)? {
        true if kind == Kind::Folder => disk.remove_folder(path).map_err(|source| Error::write(path, "remove", source)),
        true => remove(disk, path),
        false => Err(busy(path)),
    }
}

/// Locks the open file or directory; `false` where another has it locked, or where the path names another one by now.
fn locks_what_is_at(disk: &dyn Vfs, file: &dyn VfsFile, path: &Path) -> Result<bool> {
    let failed = |source| Error::write(path, "lock", source);
    if !file.try_lock().map_err(failed)? {
        return Ok(false);
    }
    let id = file.stat().map_err(failed)?.id;
    match disk.stat_link(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        there => Ok(there.map_err(failed)?.id == id),
    }
}

fn busy(path: &Path) -> Error {
    Error::refused(path, "another waltool is writing it")
}

/// Fails early where nothing new may get the name `path`: where the name is taken, and where the new thing would be among the files of a log, whose
/// readers would take it for one of them. Beside a log that is given as a single file, `log`, other names are free. Whatever writes something new
/// asks here.
///
/// # Errors
/// [`Error::Refused`].
pub fn may_create(disk: &Disk, path: &Path, log: Option<&Log>) -> Result<()> {
    if log.is_some_and(|log| log.claims(path)) {
        return Err(Error::refused(path, "it is a file of the log, or would be among them; name something elsewhere"));
    }
    if let Some(around) = Log::around(disk, path)
        && !log.is_some_and(|log| log.is_part_of(&around))
    {
        let why = format!("{} is the directory of a log; name something elsewhere", crate::shown(around.path()));
        return Err(Error::refused(path, why));
    }
    must_be_free(&**disk, path)
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
