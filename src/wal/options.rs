//! How a log is written.

use std::path::Path;

use super::error::Result;
use super::group::Limits;
use super::writer::Layout;
use super::{DurableFile, Wal};
use crate::formats::native::layout::{RECORDS_START, SEGMENT_MAX};
use crate::vfs::{self, Disk};

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The transaction is on the disk: a power cut does not undo it.
    #[default]
    Durable,
    /// The system has it: it survives the end of this process, not a power cut.
    Written,
    /// Nothing: it is in this process's memory, and goes to the system with the next commit that waits for something, with
    /// [`Wal::sync`], or once 256 KiB are gathered.
    Buffered,
}

/// How a log is opened and written.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("log");
/// use waltool::wal::Options;
/// let wal = Options::new().segment_bytes(16 << 20).reserve(true).open(&path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) disk: Disk,
    pub(super) target_id: Option<[u8; 16]>,
    segment_bytes: u64,
    unsynced_max: u64,
    zero_fill: bool,
    reserve: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The options of [`Wal::open`].
    pub fn new() -> Self {
        Self {
            disk: vfs::real(),
            target_id: None,
            segment_bytes: 64 << 20,
            unsynced_max: u64::MAX,
            zero_fill: true,
            reserve: false,
        }
    }

    /// A segment that would grow past this many bytes is left for a new one; 64 MiB. A transaction that is longer has a segment of its own, up to
    /// 4 GiB.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(RECORDS_START as u64, SEGMENT_MAX);
        self
    }

    /// A commit that leaves more than this many bytes unsynced waits until they are on the disk, whatever its [`Durability`]; no bound by default.
    pub fn unsynced_max(mut self, bytes: u64) -> Self {
        self.unsynced_max = bytes;
        self
    }

    /// Takes the room for a whole segment when it is created, so that a full disk shows there and not at a commit. Off by default.
    pub fn reserve(mut self, reserve: bool) -> Self {
        self.reserve = reserve;
        self
    }

    /// Writes zeros ahead of the records, which makes each sync cheaper: up to 1 MiB at a time, given back when the segment ends. On by default.
    pub fn zero_fill(mut self, zero_fill: bool) -> Self {
        self.zero_fill = zero_fill;
        self
    }

    /// The random name of the file that the log is about: replay refuses another. An existing log must have the same.
    pub fn target_id(mut self, id: [u8; 16]) -> Self {
        self.target_id = Some(id);
        self
    }

    /// Another file system than the system's own.
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// Opens the log at `path` with these options.
    ///
    /// # Errors
    /// As [`Wal::open`]; [`Error::Refused`](crate::Error::Refused) where the log is about another target.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Wal> {
        Wal::open_with(path.as_ref(), self)
    }

    /// Opens the file at `path`, whose log is written with these options.
    ///
    /// # Errors
    /// As [`DurableFile::open`].
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<DurableFile> {
        DurableFile::open_with(path.as_ref(), self)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { segment: self.segment_bytes, unsynced: self.unsynced_max }
    }

    pub(super) fn layout(&self) -> Layout {
        // At most the longest segment, which fits.
        let reserve = if self.reserve { self.segment_bytes as u32 } else { 0 };
        Layout { zero_fill: self.zero_fill, reserve }
    }
}
