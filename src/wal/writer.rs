//! The files of a log that is written: creates segments, writes batches, syncs. Used by one thread at a time, and of no use after its first
//! error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::owner::Owner;
use crate::durable;
use crate::error::Error;
use crate::formats::native::encode::set_promise;
use crate::formats::native::layout::{Lsn, RECORDS_START, SEGMENT_MAX, SegmentHeader};
use crate::formats::native::log_writer::segment_name;
use crate::locks::Named;
use crate::vfs::{Disk, OPEN, VfsFile};

type Result<T, E = Ended> = std::result::Result<T, E>;

/// Zeros are written ahead of the records, between these many bytes and these: a sync of bytes in space that the file has already costs
/// less than one that makes it longer.
const AHEAD_MIN: u32 = 64 * 1024;
const AHEAD_MAX: u32 = 1024 * 1024;
const PAGE: u64 = 4096;
/// Written with one call. Longer ones would have the system keep the file in larger units of memory, of which each later sync of a
/// few bytes then has to look after a whole one.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// Why a writer is of no use any more.
#[derive(Clone)]
pub(super) enum Ended {
    /// A call failed: what is on the disk is not known.
    Failed(Arc<Error>),
    /// The log is not ours any more; why.
    NotOwner(String),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// Records that go to the file together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Where its COMMITs stand in `bytes`.
    pub(super) commits: Vec<usize>,
    /// Somebody waits for it to be durable.
    pub(super) sync: bool,
    /// How many came to it, to wait until it is written.
    pub(super) joined: usize,
    /// How many of those sleep, or are about to, and can be woken to lead it.
    pub(super) sleepers: usize,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.commits.clear();
        (self.sync, self.joined, self.sleepers) = (false, 0, 0);
    }
}

/// How a log's files are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) zero_fill: bool,
    /// The room that a segment is given on the disk when it is created, in bytes.
    pub(super) reserve: u32,
}

pub(super) struct Writer {
    disk: Disk,
    owner: Arc<Owner>,
    layout: Layout,
    /// Where the log ended when it was opened; all of that is on the disk.
    opened_at: Lsn,
    segment: Option<Segment>,
    /// The last batch's room, for the next.
    pub(super) spare: Batch,
    /// How long a sync takes, lately.
    pub(super) sync_time: Duration,
}

/// The segment that is written.
struct Segment {
    number: u32,
    /// For messages.
    path: PathBuf,
    name: Named,
    file: Box<dyn VfsFile>,
    /// Where the records in the file end.
    end: u32,
    /// How far they are on the disk.
    synced: u32,
    /// Where the zeros behind them end: the file's length.
    filled: u32,
}

impl Writer {
    pub(super) fn new(disk: Disk, owner: Arc<Owner>, layout: Layout, opened_at: Lsn) -> Self {
        let (spare, sync_time) = (Batch::default(), Duration::ZERO);
        Self { disk, owner, layout, opened_at, segment: None, spare, sync_time }
    }

    /// Everything below this is on the disk.
    pub(super) fn durable(&self) -> Lsn {
        self.segment.as_ref().map_or(self.opened_at, |segment| Lsn::new(segment.number, segment.synced))
    }

    /// Bytes of records that are not known to be on the disk.
    pub(super) fn unsynced(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| (segment.end - segment.synced).into())
    }

    /// Goes on in a new segment of this header, whose first bytes are `head`. The present one, synced, ends with the record `seal`. When it
    /// returns, all of that is on the disk.
    pub(super) fn next_segment(&mut self, header: &SegmentHeader, head: &[u8], seal: Option<&[u8]>) -> Result<()> {
        // Where the log is not ours any more, nothing there is ours to remove or to create.
        self.check()?;
        let shown = |error| self.owner.shown(error);
        let (next, temporary) = self.prepare(header, head).map_err(shown)?;
        self.check()?;
        self.name(&next, &temporary).map_err(shown)?;
        if let Some(seal) = seal {
            self.end(seal)?;
        }
        self.segment = Some(next);
        Ok(())
    }

    /// Writes and syncs a segment under a temporary name: a reader never meets half a header.
    fn prepare(&self, header: &SegmentHeader, head: &[u8]) -> Result<(Segment, PathBuf), Error> {
        let (name, disk) = (segment_name(header.number), &*self.disk);
        let path = self.owner.folder().join(&name);
        let temporary = path.with_extension("wal.tmp");
        // Left by a crash; the lock says that nobody writes it now, and it is no part of the log.
        if disk.stat_link(&temporary).is_ok() {
            durable::remove(disk, &temporary)?;
        }
        // Whoever may not enter the log's directory need not be able to read its files either.
        let folder = self.owner.folder();
        let granted = disk.stat(folder).map_err(|cause| Error::read(folder, cause))?.mode;
        let file = durable::create_new(disk, &temporary, OPEN & granted)?;
        if self.layout.reserve > 0 {
            durable::reserve(&*file, &temporary, 0, self.layout.reserve.into())?;
        }
        durable::write_at(&*file, &temporary, head, 0)?;
        let end = RECORDS_START as u32;
        let named = Named::of(&*file, &path).map_err(|cause| Error::read(&temporary, cause))?;
        let path = self.owner.given().join(name);
        let mut segment = Segment { number: header.number, path, name: named, file, end, synced: end, filled: end };
        if self.layout.zero_fill {
            segment.fill_ahead(end)?;
        }
        durable::sync(&*segment.file, &temporary)?;
        Ok((segment, temporary))
    }

    /// Gives a segment its name, which is on the disk when this returns.
    fn name(&self, segment: &Segment, temporary: &Path) -> Result<(), Error> {
        let (disk, path) = (&*self.disk, segment.name.path());
        durable::rename_new(disk, temporary, path)?;
        durable::sync_dir(disk, self.owner.folder()).inspect_err(|_| {
            // Later syncs may do nothing for this name and succeed, and a log that went on behind it could lose it. Nothing is in it.
            let _ = disk.remove(path);
        })
    }

    /// Writes a batch behind what is there, promising what is on the disk, and syncs it if it asks for that. When it returns, whoever waits for
    /// the batch may be told: the log is still ours.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<()> {
        let Some(segment) = &mut self.segment else { return self.check() };
        for &at in &batch.commits {
            set_promise(&mut batch.bytes[at..], segment.synced);
        }
        // A batch holds what its segment has room for, so the sum fits.
        let end = segment.end + batch.bytes.len() as u32;
        if self.layout.zero_fill && batch.sync && end > segment.filled {
            segment.fill_ahead(end)?;
        }
        durable::write_at(&*segment.file, &segment.path, &batch.bytes, segment.end.into())?;
        segment.end = end;
        segment.filled = segment.filled.max(end);
        if batch.sync { self.sync() } else { self.check() }
    }

    /// When it returns, all that was written is on the disk, and the log is still ours.
    fn sync(&mut self) -> Result<()> {
        let Some(segment) = self.segment.as_ref().filter(|segment| segment.synced < segment.end) else {
            return self.check();
        };
        let begun = Instant::now();
        durable::sync_data(&*segment.file, &segment.path)?;
        let took = begun.elapsed();
        self.sync_time = if self.sync_time.is_zero() { took } else { (self.sync_time * 7 + took) / 8 };
        self.check()?;
        self.segment.iter_mut().for_each(|segment| segment.synced = segment.end);
        Ok(())
    }

    /// Writes the last record of the segment, gives back the room behind it, and syncs.
    pub(super) fn end(&mut self, record: &[u8]) -> Result<()> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        durable::write_at(&*segment.file, &segment.path, record, segment.end.into())?;
        segment.end += record.len() as u32;
        if self.layout.reserve > 0 || segment.filled > segment.end {
            durable::set_len(&*segment.file, &segment.path, segment.end.into())?;
        }
        segment.filled = segment.end;
        self.sync()
    }

    /// The log still has the LOCK that we hold, and the segment its name. Asked after a write or sync and before anybody is told of it: whoever took
    /// the log over did so with another LOCK, so reads the log only after this one was gone, and finds all that anybody was told of.
    fn check(&self) -> Result<()> {
        let lost = self.owner.lost(self.segment.as_ref().map(|segment| &segment.name))?;
        lost.map_or(Ok(()), |why| Err(Ended::NotOwner(why)))
    }
}

impl Segment {
    /// Writes zeros from the end of the file on, as far as is worth while for records that end at `end`.
    fn fill_ahead(&mut self, end: u32) -> Result<(), Error> {
        let ahead = (end / 4).clamp(AHEAD_MIN, AHEAD_MAX);
        let to = (u64::from(end) + u64::from(ahead)).next_multiple_of(PAGE).min(SEGMENT_MAX) as u32;
        while self.filled < to {
            let len = (to - self.filled).min(ZEROS.len() as u32);
            durable::write_at(&*self.file, &self.path, &ZEROS[..len as usize], self.filled.into())?;
            self.filled += len;
        }
        Ok(())
    }
}
