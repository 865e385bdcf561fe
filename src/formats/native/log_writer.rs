//! A log of several segments, written by one thread into a directory: what `load`, tests and fixtures need. Given the
//! same nonces and times it writes the same bytes.
//!
//! It syncs a segment when it leaves it, when it is told to ([`LogWriter::sync`]) and at the end, not with each commit.

use std::io;
use std::path::{Path, PathBuf};

use super::encode::{Entry, WriteError, transaction_end};
use super::layout::{Lsn, RECORDS_START, SEGMENT_MAX, SegmentHeader, VERSION};
use super::writer::SegmentWriter;
use crate::vfs::{self, Appender, Disk, OPEN, Vfs};

/// The file name of segment `number`.
pub fn segment_name(number: u32) -> String {
    format!("{number:08x}.wal")
}

/// What the first header of a log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The random name of the log.
    pub log_id: [u8; 16],
    /// The random name of the target, or zeros.
    pub target_id: [u8; 16],
    /// When the log was created, in nanoseconds since 1970.
    pub created_ns: u64,
    /// How long a segment may grow before the next transaction goes to a new one. A transaction that is longer by itself
    /// still gets a segment of its own.
    pub segment_limit: u64,
}

/// Writes a log. After an error that touched a file the writer refuses everything: what is durable is unknown.
pub struct LogWriter<N: FnMut() -> u32> {
    disk: Disk,
    dir: PathBuf,
    segment_limit: u64,
    nonces: N,
    /// `None` once a file operation has failed.
    segment: Option<SegmentWriter<Appender>>,
    redo_lsn: Lsn,
    time_ns: u64,
}

impl<N: FnMut() -> u32> LogWriter<N> {
    /// Begins a log with segment 1 in the existing directory `dir`, which holds no segments. `nonces` names each
    /// segment: random, or the same every time for the same bytes.
    pub fn create(dir: &Path, options: &LogOptions, nonces: N) -> Result<Self, WriteError> {
        Self::create_on(&vfs::real(), dir, options, nonces)
    }

    /// As [`create`](Self::create), on `disk`.
    pub fn create_on(disk: &Disk, dir: &Path, options: &LogOptions, mut nonces: N) -> Result<Self, WriteError> {
        let header = SegmentHeader {
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            number: 1,
            log_id: options.log_id,
            nonce: nonces(),
            prev_nonce: 0,
            prev_end: 0,
            first_transaction: 1,
            redo_lsn: Lsn::new(1, RECORDS_START as u32),
            created_ns: options.created_ns,
            target_id: options.target_id,
        };
        Ok(Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            segment_limit: options.segment_limit.min(SEGMENT_MAX),
            nonces,
            redo_lsn: header.redo_lsn,
            segment: Some(create_segment(&**disk, dir, &header)?),
            time_ns: 0,
        })
    }

    /// Writes one transaction, in a new segment if this one is too full, and returns the position of its COMMIT. It is
    /// written, not yet durable. A time below the last commit's is raised to it.
    pub fn transaction(&mut self, entries: &[Entry<'_>], time_ns: u64) -> Result<Lsn, WriteError> {
        let fresh = transaction_end(RECORDS_START as u64, entries.iter().copied())?;
        if fresh > SEGMENT_MAX {
            return Err(WriteError::SegmentFull { end: fresh, max: SEGMENT_MAX });
        }
        let mut segment = self.segment.take().ok_or(WriteError::Poisoned)?;
        let time_ns = time_ns.max(self.time_ns);
        let end = segment.end().into();
        if end > RECORDS_START as u64 && transaction_end(end, entries.iter().copied())? > self.segment_limit {
            segment = self.rotate(segment, time_ns)?;
        }
        let path = self.path(&segment);
        let lsn = commit(&mut segment, entries, time_ns).map_err(|error| locate(error, &path))?;
        for entry in entries {
            if let Entry::Checkpoint { redo_lsn, .. } = entry {
                self.redo_lsn = *redo_lsn;
            }
        }
        self.time_ns = time_ns;
        self.segment = Some(segment);
        Ok(lsn)
    }

    /// Syncs what is written; the commits from now on promise it.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        let mut segment = self.segment.take().ok_or(WriteError::Poisoned)?;
        self.sync_segment(&mut segment)?;
        self.segment = Some(segment);
        Ok(())
    }

    /// Closes the log: a sync, the close mark, a sync. Returns the position of the mark.
    pub fn finish(mut self, time_ns: u64) -> Result<Lsn, WriteError> {
        let mut segment = self.segment.take().ok_or(WriteError::Poisoned)?;
        self.sync_segment(&mut segment)?;
        let path = self.path(&segment);
        let lsn = segment.close_mark(time_ns.max(self.time_ns)).map_err(|error| locate(error, &path))?;
        self.sync_segment(&mut segment)?;
        Ok(lsn)
    }

    /// Every crash between two of these steps leaves a legal log; `docs/formats/native.md` lists them.
    fn rotate(
        &mut self,
        mut full: SegmentWriter<Appender>,
        time_ns: u64,
    ) -> Result<SegmentWriter<Appender>, WriteError> {
        self.sync_segment(&mut full)?;
        let header = full.next_header((self.nonces)(), self.redo_lsn, time_ns);
        let next = create_segment(&*self.disk, &self.dir, &header)?;
        let path = self.path(&full);
        full.seal(header.number, header.nonce).map_err(|error| locate(error, &path))?;
        self.sync_segment(&mut full)?;
        Ok(next)
    }

    fn sync_segment(&self, segment: &mut SegmentWriter<Appender>) -> Result<(), WriteError> {
        let path = self.path(segment);
        segment.flush().map_err(|error| locate(error, &path))?;
        segment.get_ref().file().sync_all().map_err(|cause| WriteError::File { path, cause })?;
        segment.promise(segment.end())
    }

    fn path(&self, segment: &SegmentWriter<Appender>) -> PathBuf {
        self.dir.join(segment_name(segment.header().number))
    }
}

fn commit(segment: &mut SegmentWriter<Appender>, entries: &[Entry<'_>], time_ns: u64) -> Result<Lsn, WriteError> {
    for entry in entries {
        segment.entry(entry)?;
    }
    segment.commit(time_ns)
}

fn locate(error: WriteError, path: &Path) -> WriteError {
    match error {
        WriteError::Io(cause) => WriteError::File { path: path.to_owned(), cause },
        other => other,
    }
}

/// Creates a segment under its name, durably and whole: a reader never meets half a header. An existing file of that name
/// is an error and stays as it is.
fn create_segment(disk: &dyn Vfs, dir: &Path, header: &SegmentHeader) -> Result<SegmentWriter<Appender>, WriteError> {
    let path = dir.join(segment_name(header.number));
    let temporary = path.with_extension("wal.tmp");
    let create = || -> io::Result<SegmentWriter<Appender>> {
        let file = disk.create_new(&temporary, OPEN)?;
        let mut segment = SegmentWriter::create(Appender::new(file), header)?;
        segment.get_ref().file().sync_all()?;
        if let Err(taken) = disk.rename_new(&temporary, &path) {
            disk.remove(&temporary)?;
            return Err(taken);
        }
        disk.sync_folder(dir)?;
        segment.promise(RECORDS_START as u32).map_err(io::Error::other)?;
        Ok(segment)
    };
    create().map_err(|cause| WriteError::File { path: path.clone(), cause })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::formats::native::layout::{RECORD_HEADER, RecordHeader};
    use crate::formats::native::payload::{Commit, RecordKind, Seal};

    fn options(segment_limit: u64) -> LogOptions {
        LogOptions { log_id: *b"a log of several", target_id: [7; 16], created_ns: 5, segment_limit }
    }

    fn counter() -> impl FnMut() -> u32 {
        let mut nonce = 0x100;
        move || {
            nonce += 1;
            nonce
        }
    }

    fn segments(dir: &Path) -> Vec<Vec<u8>> {
        let names = || fs::read_dir(dir).expect("a directory");
        let bytes: Vec<_> = (1..).map_while(|number| fs::read(dir.join(segment_name(number))).ok()).collect();
        assert_eq!(names().count(), bytes.len(), "only segments, without a gap");
        bytes
    }

    /// The records of a segment's only block, with their offsets.
    fn records(segment: &[u8]) -> Vec<(RecordHeader, &[u8])> {
        let mut records = Vec::new();
        let mut at = RECORDS_START;
        while let Some(bytes) = segment[at..].first_chunk() {
            let header = RecordHeader::parse(bytes).expect("a record");
            records.push((header, &segment[at + RECORD_HEADER..][..header.len.into()]));
            at += header.total_len();
        }
        records
    }

    #[test]
    fn a_full_segment_is_sealed_and_its_successor_vouches_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = LogWriter::create(dir.path(), &options(9000), counter()).expect("a log");
        let redo_lsn = Lsn::new(1, 8300);
        for time_ns in [30, 20, 40] {
            let checkpoint = Entry::Checkpoint { redo_lsn, target_len: 0, state: None };
            log.transaction(&[Entry::Write { offset: 0, bytes: &[1; 400] }, checkpoint], time_ns).expect("a commit");
        }
        let mark = log.finish(0).expect("a mark");
        let segments = segments(dir.path());
        assert_eq!(segments.len(), 3);

        let headers: Vec<_> = segments.iter().map(|bytes| SegmentHeader::parse(bytes).expect("a header")).collect();
        let commit_end = RECORDS_START as u32 + 432 + 40 + 48;
        assert_eq!((headers[0].number, headers[0].prev_nonce, headers[0].prev_end), (1, 0, 0));
        assert_eq!((headers[1].number, headers[1].prev_nonce, headers[1].prev_end), (2, 0x101, commit_end));
        assert_eq!((headers[2].number, headers[2].prev_nonce, headers[2].prev_end), (3, 0x102, commit_end));
        assert_eq!(headers.iter().map(|header| header.nonce).collect::<Vec<_>>(), [0x101, 0x102, 0x103]);
        assert_eq!(headers.iter().map(|header| header.first_transaction).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(headers.iter().map(|header| header.created_ns).collect::<Vec<_>>(), [5, 30, 40]);
        assert_eq!((headers[0].redo_lsn, headers[1].redo_lsn), (Lsn::new(1, 8192), redo_lsn));
        assert!(headers.iter().all(|header| header.log_id == headers[0].log_id && header.target_id == [7; 16]));

        let (last, payload) = *records(&segments[0]).last().expect("a record");
        assert_eq!((last.kind, last.offset), (RecordKind::Seal.into(), commit_end));
        assert_eq!(Seal::parse(payload), Some(Seal { next_number: 2, next_nonce: 0x102 }));

        let times: Vec<_> = segments
            .iter()
            .flat_map(|segment| records(segment))
            .filter(|(header, _)| header.kind == u8::from(RecordKind::Commit))
            .map(|(_, payload)| Commit::parse(payload).expect("a commit").time_ns)
            .collect();
        assert_eq!(times, [30, 30, 40, 40]);
        assert_eq!(mark, Lsn::new(3, commit_end));
    }

    #[test]
    fn the_same_nonces_and_times_write_the_same_bytes() {
        let write = || {
            let dir = tempfile::tempdir().expect("a directory");
            let mut log = LogWriter::create(dir.path(), &options(40_000), counter()).expect("a log");
            for time_ns in 0..20 {
                log.transaction(&[Entry::Data(&[9; 5000]), Entry::SetLen(time_ns)], time_ns).expect("a commit");
                log.sync().expect("a sync");
            }
            log.finish(100).expect("a mark");
            segments(dir.path())
        };
        let first = write();
        assert_eq!(first.len(), 4);
        assert!(first.iter().all(|segment| segment.len() <= 40_000));
        assert_eq!(first, write());
    }

    #[test]
    fn a_transaction_over_the_limit_has_a_segment_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = LogWriter::create(dir.path(), &options(0), counter()).expect("a log");
        for number in 1..=3 {
            let lsn = log.transaction(&[Entry::Data(&[1; 100_000])], 0).expect("a commit");
            assert_eq!(lsn.segment(), number);
        }
        log.finish(0).expect("a mark");
        assert_eq!(segments(dir.path()).len(), 3);
    }

    #[test]
    fn an_existing_segment_is_never_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(segment_name(1));
        fs::write(&path, "evidence").expect("a file");
        let log = LogWriter::create(dir.path(), &options(0), counter());
        assert!(matches!(log, Err(WriteError::File { path: at, .. }) if at == path));
        assert_eq!(fs::read(&path).expect("the file"), b"evidence");
        assert_eq!(segments(dir.path()).len(), 1);
    }

    #[test]
    fn a_failed_rotation_poisons_the_writer() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = LogWriter::create(dir.path(), &options(0), counter()).expect("a log");
        log.transaction(&[], 0).expect("a commit");
        fs::write(dir.path().join(segment_name(2)), "in the way").expect("a file");
        assert!(matches!(log.transaction(&[], 0), Err(WriteError::File { .. })));
        assert!(matches!(log.transaction(&[], 0), Err(WriteError::Poisoned)));
        assert!(matches!(log.sync(), Err(WriteError::Poisoned)));
        assert!(matches!(log.finish(0), Err(WriteError::Poisoned)));
    }
}
