//! The system's own files.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    Advice, CWD, FallocateFlags, FlockOperation, Gid, Mode, OFlags, RenameFlags, SeekFrom, Uid, XattrFlags,
};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Access, Attributes, FileTimes, Kind, LEN_MAX, OPEN, Rights, Stat, Vfs, VfsFile};

/// The longest list of extended attributes, and the longest value of one, that Linux gives.
const ATTRIBUTE_MAX: usize = 64 * 1024;

/// The system's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Vfs for Real {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>> {
        let file = match access {
            Access::Read => open_to_read(path)?,
            Access::Change => File::options().read(true).write(true).open(path)?,
            Access::Lock => {
                let mut options = File::options();
                options.read(true).write(true).create(true).truncate(false).mode(OPEN).open(path)?
            }
        };
        Ok(Box::new(file))
    }

    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn VfsFile>> {
        let mut options = File::options();
        let flags = OFlags::NOFOLLOW.bits() as i32;
        let file = options.read(true).write(true).create_new(true).mode(mode).custom_flags(flags).open(path)?;
        Ok(Box::new(file))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        std::fs::metadata(path).map(|metadata| stat(&metadata))
    }

    fn stat_link(&self, path: &Path) -> io::Result<Stat> {
        std::fs::symlink_metadata(path).map(|metadata| stat(&metadata))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(path)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system without the flag; a link refuses to replace just as well, but cannot be made to a directory.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_new(from, to),
            other => other.map_err(io::Error::from),
        }
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn len_max(&self, folder: &Path) -> io::Result<u64> {
        let file = match rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR) {
            Ok(file) => File::from(file),
            // A file system without files that have no name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => return Ok(LEN_MAX),
            Err(errno) => return Err(errno.into()),
        };
        // To go over the process's limit is not an error but a signal.
        let limit = getrlimit(Resource::Fsize).current.map_or(LEN_MAX, |limit| limit.min(LEN_MAX));
        let (mut fits, mut over) = (0, limit + 1);
        let mut len = limit;
        while over - fits > 1 {
            match rustix::fs::ftruncate(&file, len) {
                Ok(()) => fits = len,
                Err(Errno::FBIG | Errno::INVAL) => over = len,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            len = fits + (over - fits) / 2;
        }
        Ok(fits)
    }

    fn now_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&self, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match getrandom(&mut *out, GetRandomFlags::empty()) {
                Ok(n) => out = &mut out[n..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl VfsFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::KEEP_SIZE, from, to.saturating_sub(from)) {
            // A file system that cannot: the room is then taken with each write.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.metadata().map(|metadata| stat(&metadata))
    }

    fn rights(&self) -> io::Result<Rights> {
        let Stat { mode, owner, .. } = VfsFile::stat(self)?;
        Ok(Rights { mode, owner, attributes: attributes(self)? })
    }

    fn set_owner(&self, (user, group): (u32, u32)) -> io::Result<()> {
        Ok(rustix::fs::fchown(self, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(self, Mode::from_raw_mode(mode))?)
    }

    fn set_attribute(&self, name: &OsStr, value: Option<&[u8]>) -> io::Result<()> {
        match value {
            Some(value) => rustix::fs::fsetxattr(self, name, value, XattrFlags::empty())?,
            None => rustix::fs::fremovexattr(self, name)?,
        }
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(self, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn unlock(&self) {
        let _ = rustix::fs::flock(self, FlockOperation::Unlock);
    }

    fn hole(&self, offset: u64, len: u64) -> u64 {
        match rustix::fs::seek(self, SeekFrom::Data(offset)) {
            Ok(stored) => stored.min(len).saturating_sub(offset),
            Err(Errno::NXIO) => len.saturating_sub(offset),
            Err(_) => 0,
        }
    }

    fn drop_clean(&self) {
        // On Linux this advice starts writing dirty pages and drops only clean ones.
        let _ = rustix::fs::fadvise(self, 0, None, Advice::DontNeed);
    }

    fn real(&self) -> Option<&File> {
        Some(self)
    }
}

/// Only a file's owner may read it without leaving a trace in its time of access.
fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty())
        .or_else(|_| rustix::fs::open(path, flags, Mode::empty()))?;
    Ok(File::from(file))
}

fn attributes(file: &File) -> io::Result<Attributes> {
    let (mut names, mut value) = (vec![0; ATTRIBUTE_MAX], vec![0; ATTRIBUTE_MAX]);
    let len = match rustix::fs::flistxattr(file, &mut names[..]) {
        // A file system without them.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
        other => other?,
    };
    let mut found = Attributes::new();
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(OsStr::from_bytes) {
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(len) => drop(found.insert(name.to_owned(), value[..len].to_vec())),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(found)
}

fn stat(metadata: &Metadata) -> Stat {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Folder,
        () if kind.is_symlink() => Kind::Link,
        () if kind.is_fifo() => Kind::Other("a fifo"),
        () if kind.is_socket() => Kind::Other("a socket"),
        () => Kind::Other("a device"),
    };
    Stat {
        kind,
        len: metadata.len(),
        stored: metadata.blocks().saturating_mul(512),
        id: (metadata.dev(), metadata.ino()),
        links: metadata.nlink(),
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        times: FileTimes {
            modified_ns: since_1970(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: since_1970(metadata.ctime(), metadata.ctime_nsec()),
        },
    }
}

/// Nanoseconds; 0 before 1970.
fn since_1970(seconds: i64, ns: i64) -> u64 {
    u64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(ns)).unwrap_or_default()
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
