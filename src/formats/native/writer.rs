//! One segment, written in order by one thread.
//!
//! The writer gathers records in memory and hands them on with each commit. It never syncs: what a sync has covered is
//! the caller's to say ([`SegmentWriter::promise`]).

use std::io;

pub use super::encode::{Entry, WriteError};
use super::encode::{WRITE_HEAD, end_of, first_piece, push_record, push_rest};
use super::layout::{
    HEADER_LEN, Lsn, PAYLOAD_MAX, RECORD_HEADER, RECORDS_START, SEGMENT_MAX, SegmentHeader, TWIN, VERSION, padded,
};
use super::payload::{CLOSE, CONT, Checkpoint, Commit, MORE, RecordKind, Seal, SetLen};

/// How much is gathered before it is written although no commit asks for it: bounds the memory of a large transaction.
const GATHER_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Poisoned,
}

/// Writes one segment.
#[derive(Debug)]
pub struct SegmentWriter<W: io::Write> {
    out: W,
    header: SegmentHeader,
    gathered: Vec<u8>,
    state: State,
    end: u32,
    /// Where the open transaction's first record stands.
    first_off: Option<u32>,
    last_commit_end: u32,
    durable_off: u32,
    next_transaction: u64,
    time_ns: u64,
}

impl<W: io::Write> SegmentWriter<W> {
    /// Begins a segment: writes both copies of the header and the zeros around them.
    pub fn create(mut out: W, header: &SegmentHeader) -> io::Result<Self> {
        let mut head = [0; RECORDS_START];
        head[..HEADER_LEN].copy_from_slice(&header.encode());
        head[TWIN..TWIN + HEADER_LEN].copy_from_slice(&header.encode());
        out.write_all(&head)?;
        Ok(Self {
            out,
            header: header.clone(),
            gathered: Vec::new(),
            state: State::Open,
            end: RECORDS_START as u32,
            first_off: None,
            last_commit_end: RECORDS_START as u32,
            durable_off: 0,
            next_transaction: header.first_transaction,
            time_ns: 0,
        })
    }

    /// Appends one record as it is, of any kind, after filling the block if the rest is too short for it. For loaders
    /// and tests; the methods below give each kind its payload. A COMMIT appended here counts as one.
    pub fn append(&mut self, kind: impl Into<u8>, flags: u8, payload: &[u8]) -> Result<Lsn, WriteError> {
        self.record(kind.into(), flags, &[payload])
    }

    /// Appends one entry. Either all of its records are appended or, after an error, none.
    pub fn entry(&mut self, entry: &Entry<'_>) -> Result<(), WriteError> {
        self.check_end(entry.end_from(self.end.into())?)?;
        match *entry {
            Entry::Write { mut offset, bytes: mut left } => {
                while !left.is_empty() {
                    let (piece, rest) = left.split_at(first_piece(self.end.into(), WRITE_HEAD, left.len()));
                    self.record(RecordKind::Write.into(), 0, &[&offset.to_le_bytes(), piece])?;
                    offset += piece.len() as u64;
                    left = rest;
                }
            }
            Entry::Data(mut left) => {
                let mut cont = 0;
                loop {
                    let (piece, rest) = left.split_at(first_piece(self.end.into(), 0, left.len()));
                    let more = if rest.is_empty() { 0 } else { MORE };
                    self.record(RecordKind::Data.into(), cont | more, &[piece])?;
                    if rest.is_empty() {
                        break;
                    }
                    (left, cont) = (rest, CONT);
                }
            }
            Entry::SetLen(len) => {
                self.record(RecordKind::SetLen.into(), 0, &[&SetLen { len }.encode()])?;
            }
            Entry::Checkpoint { redo_lsn, target_len, state } => {
                let checkpoint = Checkpoint { redo_lsn, target_len, state };
                self.record(RecordKind::Checkpoint.into(), checkpoint.flags(), &[&checkpoint.encode()])?;
            }
        }
        Ok(())
    }

    /// Records `bytes` for the target from `offset` on.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.entry(&Entry::Write { offset, bytes })
    }

    /// Records a new length of the target.
    pub fn set_len(&mut self, len: u64) -> Result<(), WriteError> {
        self.entry(&Entry::SetLen(len))
    }

    /// Records bytes of the application.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.entry(&Entry::Data(bytes))
    }

    /// Records that the target durably holds everything below `redo_lsn`.
    pub fn checkpoint(&mut self, redo_lsn: Lsn, target_len: u64) -> Result<(), WriteError> {
        self.entry(&Entry::Checkpoint { redo_lsn, target_len, state: None })
    }

    /// Commits what was appended since the last commit (a mark, if nothing was) and writes all that is gathered.
    /// A time below the last commit's is raised to it.
    pub fn commit(&mut self, time_ns: u64) -> Result<Lsn, WriteError> {
        self.commit_record(0, time_ns, self.durable_off)
    }

    /// Ends the segment with a mark that promises everything before it. The caller has just synced all of that, and
    /// syncs again behind it; then nothing at the tail is undecided.
    pub fn close_mark(&mut self, time_ns: u64) -> Result<Lsn, WriteError> {
        self.check_no_transaction()?;
        // Not its own offset: what fills the block before it is not synced.
        self.commit_record(CLOSE, time_ns, self.end)
    }

    /// Ends the segment with the name of its successor, whose file and header the caller has made durable.
    pub fn seal(&mut self, next_number: u32, next_nonce: u32) -> Result<Lsn, WriteError> {
        self.check_no_transaction()?;
        let lsn = self.record(RecordKind::Seal.into(), 0, &[&Seal { next_number, next_nonce }.encode()])?;
        self.flush()?;
        Ok(lsn)
    }

    /// States that a sync has covered the segment up to `offset`; the commits from now on promise it. A lower offset
    /// than before changes nothing.
    pub fn promise(&mut self, offset: u32) -> Result<(), WriteError> {
        if offset > self.end {
            return Err(WriteError::Promise { offset, end: self.end });
        }
        self.durable_off = self.durable_off.max(offset);
        Ok(())
    }

    /// Writes what is gathered. Commits, the close mark and the seal do so themselves.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if self.state == State::Poisoned {
            return Err(WriteError::Poisoned);
        }
        let written = self.out.write_all(&self.gathered).and_then(|()| self.out.flush());
        self.gathered.clear();
        if written.is_err() {
            self.state = State::Poisoned;
        }
        Ok(written?)
    }

    /// Where the segment ends, gathered records included.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Where the last COMMIT ends, and [`RECORDS_START`] without one: the successor's `prev_end`.
    pub fn last_commit_end(&self) -> u32 {
        self.last_commit_end
    }

    /// The header the segment began with.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The header of the segment that continues this one. Past the last 32-bit number it repeats this one's, whose file
    /// name is taken, so that the log ends there with an error.
    pub fn next_header(&self, nonce: u32, redo_lsn: Lsn, created_ns: u64) -> SegmentHeader {
        SegmentHeader {
            version: VERSION,
            number: self.header.number.saturating_add(1),
            nonce,
            prev_nonce: self.header.nonce,
            prev_end: self.last_commit_end,
            first_transaction: self.next_transaction,
            redo_lsn,
            created_ns,
            ..self.header.clone()
        }
    }

    /// What the segment is written to; gathered records are not in it yet.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// As [`get_ref`](Self::get_ref), to take away what was written.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes what is gathered and gives back what the segment was written to.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.flush()?;
        Ok(self.out)
    }

    fn commit_record(&mut self, flags: u8, time_ns: u64, durable_off: u32) -> Result<Lsn, WriteError> {
        let end = self.check_end(end_of(self.end.into(), Commit::LEN))?;
        let own_off = end - (RECORD_HEADER + Commit::LEN) as u32;
        let commit = Commit {
            transaction: self.next_transaction,
            time_ns: time_ns.max(self.time_ns),
            first_off: self.first_off.unwrap_or(own_off),
            durable_off,
        };
        let lsn = self.record(RecordKind::Commit.into(), flags, &[&commit.encode()])?;
        self.flush()?;
        Ok(lsn)
    }

    fn record(&mut self, kind: u8, flags: u8, parts: &[&[u8]]) -> Result<Lsn, WriteError> {
        match self.state {
            State::Open => {}
            State::Ended => return Err(WriteError::Ended),
            State::Poisoned => return Err(WriteError::Poisoned),
        }
        let len = parts.iter().map(|part| part.len()).sum();
        if len > PAYLOAD_MAX {
            return Err(WriteError::TooLong { len, max: PAYLOAD_MAX });
        }
        if kind == 0 {
            return Err(WriteError::KindZero);
        }
        let end = self.check_end(end_of(self.end.into(), len))?;
        let offset = end - (RECORD_HEADER + padded(len)) as u32;
        if offset != self.end {
            push_rest(&mut self.gathered, self.header.nonce, self.end);
        }
        push_record(&mut self.gathered, kind, flags, self.header.nonce, offset, parts);
        self.end = end;
        self.note(kind, flags, offset, len);
        if self.gathered.len() >= GATHER_MAX {
            self.flush()?;
        }
        Ok(Lsn::new(self.header.number, offset))
    }

    /// Keeps the state of the segment in step with the record that was just gathered.
    fn note(&mut self, kind: u8, flags: u8, offset: u32, len: usize) {
        match RecordKind::from_u8(kind) {
            Some(RecordKind::Commit) => {
                let at = self.gathered.len() - padded(len);
                if let Some(commit) = Commit::parse(&self.gathered[at..at + len]) {
                    self.next_transaction = commit.transaction.saturating_add(1);
                    self.time_ns = self.time_ns.max(commit.time_ns);
                }
                self.first_off = None;
                self.last_commit_end = self.end;
                if flags & CLOSE != 0 {
                    self.state = State::Ended;
                }
            }
            Some(RecordKind::Seal) => self.state = State::Ended,
            Some(RecordKind::Pad) => {}
            Some(RecordKind::Write | RecordKind::SetLen | RecordKind::Data | RecordKind::Checkpoint) | None => {
                self.first_off.get_or_insert(offset);
            }
        }
    }

    fn check_end(&self, end: u64) -> Result<u32, WriteError> {
        // SEGMENT_MAX fits 32 bits, as layout.rs proves.
        if end <= SEGMENT_MAX { Ok(end as u32) } else { Err(WriteError::SegmentFull { end, max: SEGMENT_MAX }) }
    }

    fn check_no_transaction(&self) -> Result<(), WriteError> {
        self.first_off.map_or(Ok(()), |first_off| Err(WriteError::TransactionOpen { first_off }))
    }
}

#[cfg(test)]
mod tests;
