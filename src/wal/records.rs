//! The log's last segment, as its records are encoded.

use super::error::Result;
use super::transaction::Changes;
use super::writer::Batch;
use crate::formats::native::encode::{WriteError, transaction_end};
use crate::formats::native::layout::{Lsn, RECORD_HEADER, RECORDS_START, SegmentHeader, padded};
use crate::formats::native::payload::Commit;
use crate::formats::native::writer::SegmentWriter;

/// Bytes of a COMMIT record.
pub(super) const COMMIT_LEN: u64 = (RECORD_HEADER + padded(Commit::LEN)) as u64;

type Encoder = SegmentWriter<Vec<u8>>;

pub(super) struct Records {
    segment: Segment,
    /// The last commit's LSN and time.
    pub(super) last: Lsn,
    pub(super) time_ns: u64,
    /// Where replay starts.
    pub(super) redo_lsn: Lsn,
}

enum Segment {
    /// There is none yet since the log was opened. This is what its header will say, but for nonce and time.
    First(SegmentHeader),
    Open(Encoder),
}

/// The bytes of a rotation.
pub(super) struct Rotation {
    pub(super) header: SegmentHeader,
    /// The first bytes of the new segment.
    pub(super) head: Vec<u8>,
    /// The record that ends the old one, if there is one.
    pub(super) seal: Option<Vec<u8>>,
    next: Encoder,
}

impl Records {
    /// Of a log whose last commit is `last`, and which goes on with a segment of the header `first`.
    pub(super) fn new(first: SegmentHeader, (last, time_ns): (Lsn, u64)) -> Self {
        Self { redo_lsn: first.redo_lsn, segment: Segment::First(first), last, time_ns }
    }

    fn open(&self) -> Option<&Encoder> {
        match &self.segment {
            Segment::First(_) => None,
            Segment::Open(encoder) => Some(encoder),
        }
    }

    /// Where the records end. `None` before the first commit since the log was opened.
    pub(super) fn end(&self) -> Option<Lsn> {
        self.open().map(|encoder| Lsn::new(encoder.header().number, encoder.end()))
    }

    /// Directly after the last commit. `None` likewise.
    pub(super) fn committed_end(&self) -> Option<Lsn> {
        self.open().map(|encoder| Lsn::new(encoder.header().number, encoder.last_commit_end()))
    }

    /// The segment takes these changes: it stays below its limit in bytes, or they are longer than that by themselves.
    pub(super) fn has_room(&self, changes: &Changes, limit: u64) -> bool {
        let Some(encoder) = self.open() else { return false };
        let end = encoder.end().into();
        end == RECORDS_START as u64 || transaction_end(end, changes.entries()).is_ok_and(|end| end <= limit)
    }

    /// Encodes a transaction, for which there is room, at the end of a batch.
    pub(super) fn append(&mut self, changes: &Changes, now_ns: u64, batch: &mut Batch) -> Lsn {
        let Segment::Open(encoder) = &mut self.segment else { panic!("room for a transaction is room in a segment") };
        self.time_ns = self.time_ns.max(now_ns);
        let encoded = changes.entries().try_for_each(|entry| encoder.entry(&entry));
        let lsn = encoded.and_then(|()| encoder.commit(self.time_ns)).expect("it was measured: it has room");
        self.last = lsn;
        // The first of a batch is taken over as it is.
        if batch.bytes.is_empty() {
            std::mem::swap(&mut batch.bytes, encoder.get_mut());
        } else {
            batch.bytes.append(encoder.get_mut());
        }
        batch.commits.push(batch.bytes.len() - COMMIT_LEN as usize);
        lsn
    }

    /// Encodes the end of this segment, all of which is on the disk, and the beginning of the next.
    pub(super) fn next_segment(&mut self, nonce: u32, now_ns: u64) -> Result<Rotation> {
        let created_ns = now_ns.max(self.time_ns);
        let header = match &self.segment {
            Segment::First(first) => SegmentHeader { nonce, created_ns, ..first.clone() },
            Segment::Open(full) => full.next_header(nonce, self.redo_lsn, created_ns),
        };
        let mut next = Encoder::create(Vec::new(), &header).map_err(WriteError::from)?;
        let head = std::mem::take(next.get_mut());
        next.promise(RECORDS_START as u32)?;
        let seal = match &mut self.segment {
            Segment::First(_) => None,
            Segment::Open(full) => {
                full.seal(header.number, header.nonce)?;
                Some(std::mem::take(full.get_mut()))
            }
        };
        Ok(Rotation { header, head, seal, next })
    }

    /// The rotation is on the disk: records go to the new segment.
    pub(super) fn rotated(&mut self, rotation: Rotation) {
        self.segment = Segment::Open(rotation.next);
    }

    /// Encodes the mark that ends a log in good order; `None` where nothing was committed since it was opened.
    pub(super) fn close_mark(&mut self, now_ns: u64) -> Result<Option<Vec<u8>>> {
        let Segment::Open(encoder) = &mut self.segment else { return Ok(None) };
        encoder.close_mark(now_ns.max(self.time_ns))?;
        Ok(Some(std::mem::take(encoder.get_mut())))
    }
}
