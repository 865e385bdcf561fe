//! The file system, the clock and the source of randomness behind a trait: everything in this crate that reads a log or changes a
//! file does so through a [`Vfs`], so that all of it can be run where the power fails.
//!
//! [`real`] is the system's own, and [`Sim`] is one in memory whose power can be cut. A path means the same to every method; relative ones are relative to where the process
//! stands.

mod real;
pub mod sim;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::Real;
pub use sim::Sim;

/// A file system that can be shared.
pub type Disk = Arc<dyn Vfs>;

/// The system's own files, clock and randomness.
pub fn real() -> Disk {
    Arc::new(Real)
}

/// What kind of thing has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Folder,
    /// Something that cannot be read twice; its name for people: "a fifo", "a device", "a socket".
    Other(&'static str),
    /// A symbolic link; only [`Vfs::stat_link`] gives it.
    Link,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub len: u64,
    /// Bytes that are really stored; less than `len` where there are holes.
    pub stored: u64,
    /// Device and number: two names of one file have one identity.
    pub id: (u64, u64),
    /// Names that it has; 0 once it was removed.
    pub links: u64,
    /// Permissions, the lower twelve bits.
    pub mode: u32,
    /// Its owner, as user and group.
    pub owner: (u32, u32),
    /// When it was changed last.
    pub times: FileTimes,
}

/// When a file was changed, in nanoseconds since 1970; 0 for a time before that. The file system's clock may advance in steps of
/// several milliseconds, or of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTimes {
    /// The last change of its content. Whoever may write the file can set it to any value.
    pub modified_ns: u64,
    /// The last change of its content, its name, its rights or its times. Only the file system sets it.
    pub changed_ns: u64,
}

/// The extended attributes of a file or directory, by name: `user.origin`, `security.selinux`. An ACL is one of them.
pub type Attributes = BTreeMap<OsString, Vec<u8>>;

/// Who may do what with a file or directory, and what is attached to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Permissions, the lower twelve bits. Where there is an ACL, those of the group are its mask.
    pub mode: u32,
    /// Its owner, as user and group.
    pub owner: (u32, u32),
    /// Those that this process may see; none where the file system knows none.
    pub attributes: Attributes,
}

/// Permissions of a new file that nobody but its owner may use.
pub const PRIVATE: u32 = 0o600;
/// As [`PRIVATE`], of a directory.
pub const PRIVATE_FOLDER: u32 = 0o700;
/// Permissions of a new file that is made from nothing: the umask takes away what the user does not grant.
pub const OPEN: u32 = 0o666;
/// As [`OPEN`], of a directory.
pub const OPEN_FOLDER: u32 = 0o777;

/// The longest file that an offset of the system can address, in bytes.
pub const LEN_MAX: u64 = i64::MAX as u64;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read, without a trace in its time of access where that is permitted, and without waiting for a fifo.
    Read,
    /// To be read and written.
    Change,
    /// To be locked: it is created if need be, with the permissions [`OPEN`] less the umask, and its content does not matter.
    Lock,
}

/// A file system. Nothing that changes it is durable before a sync; the methods say of what.
pub trait Vfs: Send + Sync + fmt::Debug {
    /// Opens a file, behind any symbolic link.
    ///
    /// # Errors
    /// What the system says, as for all methods here.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>>;
    /// Creates a file that must not exist, and opens it to be read and written. Its permissions are `mode` less the umask; where the
    /// directory has a default ACL, `mode` less what that does not grant. A symbolic link of that name is in the way, wherever it leads.
    /// The name is durable after [`sync_folder`](Self::sync_folder).
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn VfsFile>>;
    /// What is known of a file, behind any symbolic link.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// What is known of whatever has this very name.
    fn stat_link(&self, path: &Path) -> io::Result<Stat>;
    /// The path without symbolic links in it.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    /// The names in a directory, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Creates a directory; its permissions come of `mode` as those of a [file](Self::create_new). Durable after a sync of its parent.
    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Gives `from` the name `to`, in one step; fails with `AlreadyExists` where that is taken. Durable after a sync of the
    /// directories.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives `from` the name `to` in place of whatever has it, in one step. Durable after a sync of the directories.
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name. Durable after a sync of the directory.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// When it returns, the names in the directory are on the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// How long a file can be that this process makes in the directory, in bytes: by the file system's bound and the process's own (`ulimit -f`).
    /// [`LEN_MAX`] where the system cannot say. No file that has a name is made or changed for it.
    fn len_max(&self, folder: &Path) -> io::Result<u64> {
        let _ = folder;
        Ok(LEN_MAX)
    }
    /// The time, in nanoseconds since 1970.
    fn now_ns(&self) -> u64;
    /// Fills `out` with bytes that nobody can guess.
    fn random(&self, out: &mut [u8]) -> io::Result<()>;
}

/// An open file. Methods take `&self`: the system's files can be used by several threads.
pub trait VfsFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file. May read less, and may be interrupted.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bytes` at `offset`, and says how many. Not durable yet.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or adds zeros. Not durable yet.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Sees to it that there is room on the disk for the bytes `from..to`, so that writing them cannot fail for want of it. The
    /// file's length stays.
    fn reserve(&self, from: u64, to: u64) -> io::Result<()>;
    /// When it returns, the bytes are on the disk, and as much about the file as it takes to read them again: its length. After an error
    /// nothing is known, and a second call that succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// As [`sync_data`](Self::sync_data), and all that is known about the file.
    fn sync_all(&self) -> io::Result<()>;
    /// What is known of the file.
    fn stat(&self) -> io::Result<Stat>;
    /// Who may do what with the file or directory. This and what follows works however it was opened; what is set is durable after
    /// [`sync_all`](Self::sync_all), of a directory after [`sync_folder`](Vfs::sync_folder).
    fn rights(&self) -> io::Result<Rights>;
    /// Gives it to a user and a group.
    fn set_owner(&self, owner: (u32, u32)) -> io::Result<()>;
    /// Sets its permissions, the lower twelve bits. Where it has an ACL, the bits of the group are the mask of that.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Gives an extended attribute a value; `None` removes it. An ACL takes effect at once.
    fn set_attribute(&self, name: &OsStr, value: Option<&[u8]>) -> io::Result<()>;
    /// Takes the lock that one open file can hold at a time, until it is dropped. `false`: another holds it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Gives that lock up, also where a process that this one has begun holds the open file for a moment.
    fn unlock(&self) {}
    /// The bytes from `offset` to the next that are really stored, at most up to `len`; 0 where there is no hole, or nobody knows.
    fn hole(&self, offset: u64, len: u64) -> u64 {
        let _ = (offset, len);
        0
    }
    /// Drops what memory holds of the file and the disk has too, so that the next read asks the disk; and has the disk
    /// begin with what it has not. A hint, and it promises nothing.
    fn drop_clean(&self) {}
    /// The system's own file, for what only that can do: POSIX record locks, copying inside the kernel.
    fn real(&self) -> Option<&std::fs::File> {
        None
    }
}

/// Reads exactly `buffer.len()` bytes at `offset`.
///
/// # Errors
/// `UnexpectedEof` where the file ends before.
pub fn read_exact_at(file: &dyn VfsFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => (buffer, offset) = (&mut buffer[n..], offset + n as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`: short writes are continued, interrupted ones repeated.
///
/// # Errors
/// How much was written is then not known.
pub fn write_all_at(file: &dyn VfsFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => (bytes, offset) = (&bytes[n..], offset + n as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes to a file from its start on, each time behind what was written before.
pub struct Appender {
    file: Box<dyn VfsFile>,
    offset: u64,
}

impl Appender {
    /// Nothing written yet.
    pub fn new(file: Box<dyn VfsFile>) -> Self {
        Self { file, offset: 0 }
    }

    /// The file.
    pub fn file(&self) -> &dyn VfsFile {
        &*self.file
    }
}

impl io::Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
