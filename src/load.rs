//! A new native log from the lines of a dump: the inverse of reading one.
//!
//! Lines come one at a time and their records are laid out as every writer of the format does, so the lines of a log give
//! its records back at their old positions. The log stands under another name until all of it is synced and verified.

mod line;

use std::path::Path;

pub use line::{CommitLine, HeaderLine, Line, LineError, RecordLine, SealLine};

use crate::durable::{self, Temp};
use crate::error::{Error, Result};
use crate::formats::native::Native;
use crate::formats::native::encode::{WriteError, place};
use crate::formats::native::layout::{
    Lsn, RECORD_HEADER, RECORDS_START, SEGMENT_MAX, SegmentHeader, VERSION, rest_of_block,
};
use crate::formats::native::log_writer::segment_name;
use crate::formats::native::payload::{CLOSE, Commit, RecordKind, Seal};
use crate::formats::native::writer::SegmentWriter;
use crate::log::Log;
use crate::report::Report;
use crate::rights::Origin;
use crate::verdict::Verdict;
use crate::vfs::{self, Appender, Disk};

/// Without header lines, a segment that is longer than this takes no further transaction.
const SEGMENT_FULL: u32 = 64 * 1024 * 1024;

/// A log that was loaded.
pub struct Loaded {
    /// The log as it was read back before it got its name.
    pub report: Report,
    /// Records behind the last commit: a transaction that never ended.
    pub uncommitted: u64,
    /// Records that stand elsewhere than their lines say.
    pub moved: u64,
}

/// Builds a log from lines. Dropped before [`finish`](Self::finish), so also after an error, it leaves nothing behind.
pub struct Loader {
    temp: Temp,
    now_ns: u64,
    segment: Option<SegmentWriter<Appender>>,
    /// The segments are those of the header lines, not of a length.
    by_headers: bool,
    /// Records stand in the present segment.
    begun: bool,
    ended: Option<Ended>,
    /// The transaction that the present records belong to.
    open: Option<Open>,
    next_transaction: u64,
    time_ns: u64,
    records: u64,
    moved: u64,
}

/// How the present segment ended.
#[derive(Clone, Copy)]
enum Ended {
    Closed,
    /// By a seal, which names the successor's nonce.
    Sealed {
        next_nonce: u32,
    },
}

#[derive(Clone, Copy)]
struct Open {
    first_off: u32,
    records: u64,
    /// As its lines call it.
    number: Option<u64>,
}

impl Loader {
    /// Begins the log `output`, a directory that must not exist; the umask decides who may use it. `now_ns` is the time, in nanoseconds since 1970, of what
    /// has none in its line.
    ///
    /// # Errors
    /// [`Error::Refused`] where `output` exists, [`Error::Write`].
    pub fn create(output: &Path, now_ns: u64) -> Result<Self> {
        Self::create_on(&vfs::real(), output, now_ns)
    }

    /// As [`create`](Self::create), on `disk`.
    ///
    /// # Errors
    /// See there.
    pub fn create_on(disk: &Disk, output: &Path, now_ns: u64) -> Result<Self> {
        durable::may_create(disk, output, None)?;
        Ok(Self {
            temp: Temp::folder(disk, output, Origin::Nothing)?,
            now_ns,
            segment: None,
            by_headers: false,
            begun: false,
            ended: None,
            open: None,
            next_transaction: 1,
            time_ns: 0,
            records: 0,
            moved: 0,
        })
    }

    /// Takes the next line. `stood` is where its record stood in the log that was dumped, if that is known.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn add(&mut self, line: &Line<'_>, stood: Option<Lsn>) -> Result<(), LineError> {
        match line {
            Line::Header(line) => return self.header(line),
            Line::Record(line) => self.record(line, stood)?,
            Line::Commit(line) => self.commit(line, stood)?,
            Line::Seal(line) => self.seal(line, stood)?,
        }
        self.records += 1;
        self.begun = true;
        Ok(())
    }

    /// Ends the log, reads it back, and gives it its name. All of it is on the disk then. `listen` is told how many bytes
    /// have been read.
    ///
    /// # Errors
    /// [`LineError`]; as [`Report::of`]; [`Error::Write`].
    pub fn finish(mut self, listen: impl FnMut(u64)) -> Result<Loaded, LineError> {
        if self.segment.is_none() {
            return Err(LineError::Empty);
        }
        match self.ended {
            Some(Ended::Sealed { .. }) if self.by_headers => {
                return Err(LineError::NoSuccessor { number: self.number() });
            }
            Some(Ended::Sealed { .. }) => self.next()?,
            Some(Ended::Closed) | None => {}
        }
        self.leave()?;
        let report = Report::of(&Log::open_on(self.temp.disk(), self.temp.path(), Some(&Native))?, listen)?;
        let (verdict, records) = (report.verdict(), report.prefix.records);
        if verdict != Verdict::Clean || records != self.records {
            let why = format!("it was read back as {verdict}, with {records} of {} records", self.records);
            return Err(Error::refused(self.temp.path(), why).into());
        }
        self.temp.place_new()?;
        Ok(Loaded { report, uncommitted: self.open.map_or(0, |open| open.records), moved: self.moved })
    }

    fn header(&mut self, line: &HeaderLine) -> Result<(), LineError> {
        let Some(present) = self.segment.as_ref().map(SegmentWriter::header) else {
            return self.first_header(line);
        };
        if !self.by_headers {
            return Err(LineError::LateHeader);
        }
        if line.number == present.number && !self.begun {
            return line.agrees_with(present);
        }
        if present.number.checked_add(1) != Some(line.number) {
            return Err(LineError::Number { after: present.number, found: line.number });
        }
        if line.log_id.is_some_and(|log_id| log_id != present.log_id) {
            return Err(LineError::Foreign);
        }
        if self.open.is_some() {
            return Err(LineError::OpenTransaction);
        }
        // A jump comes with the commit that has the number: headers follow what stands before them.
        self.first_transaction(line.first_transaction)?;
        let mut header = self.next_header()?;
        header.target_id = line.target_id.unwrap_or(header.target_id);
        header.redo_lsn = line.redo_lsn.unwrap_or(header.redo_lsn);
        header.created_ns = line.created_ns.unwrap_or(header.created_ns);
        self.leave()?;
        self.enter(&header)
    }

    fn first_header(&mut self, line: &HeaderLine) -> Result<(), LineError> {
        if line.number == 0 {
            return Err(LineError::NumberZero);
        }
        let header = SegmentHeader {
            number: line.number,
            prev_nonce: line.prev_nonce.unwrap_or(0),
            prev_end: line.prev_end.unwrap_or(0),
            first_transaction: self.first_transaction(line.first_transaction)?,
            redo_lsn: line.redo_lsn.unwrap_or(Lsn::new(line.number, RECORDS_START as u32)),
            created_ns: line.created_ns.unwrap_or(self.now_ns),
            target_id: line.target_id.unwrap_or([0; 16]),
            ..self.plain_header(line.log_id)?
        };
        self.by_headers = true;
        self.enter(&header)
    }

    /// The header of segment 1 of a log, a new one unless it is named.
    fn plain_header(&self, log_id: Option<[u8; 16]>) -> Result<SegmentHeader> {
        Ok(SegmentHeader {
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            number: 1,
            log_id: log_id.map_or_else(|| self.random(), Ok)?,
            nonce: u32::from_le_bytes(self.random()?),
            prev_nonce: 0,
            prev_end: 0,
            first_transaction: self.next_transaction,
            redo_lsn: Lsn::new(1, RECORDS_START as u32),
            created_ns: self.now_ns,
            target_id: [0; 16],
        })
    }

    fn first_transaction(&self, found: Option<u64>) -> Result<u64, LineError> {
        let least = self.next_transaction;
        let number = found.unwrap_or(least);
        is_free(number, least).map(|()| number)
    }

    /// The header of the segment behind the present one, with the nonce that a seal has named.
    fn next_header(&self) -> Result<SegmentHeader> {
        let nonce = match self.ended {
            Some(Ended::Sealed { next_nonce }) => next_nonce,
            Some(Ended::Closed) | None => u32::from_le_bytes(self.random()?),
        };
        let present = self.present();
        Ok(present.next_header(nonce, present.header().redo_lsn, self.now_ns))
    }

    fn record(&mut self, line: &RecordLine<'_>, stood: Option<Lsn>) -> Result<(), LineError> {
        line.check()?;
        let number = self.open.and_then(|open| open.number);
        if let (Some(open), Some(found)) = (number, line.transaction)
            && open != found
        {
            return Err(LineError::Uncommitted { open, found });
        }
        self.make_room(line.transaction)?;
        is_free(line.transaction.unwrap_or(self.next_transaction), self.next_transaction)?;
        self.reach(stood, line.payload.len())?;
        let lsn = self.append(line.kind, line.flags, line.payload, stood)?;
        let open = self.open.get_or_insert(Open { first_off: lsn.offset(), records: 0, number: None });
        open.records += 1;
        open.number = open.number.or(line.transaction);
        Ok(())
    }

    fn commit(&mut self, line: &CommitLine, stood: Option<Lsn>) -> Result<(), LineError> {
        let open = self.open;
        if line.close && open.is_some() {
            return Err(LineError::OpenTransaction);
        }
        let least = self.next_transaction.max(open.and_then(|open| open.number).unwrap_or(0));
        let transaction = line.transaction.unwrap_or(least);
        is_free(transaction, least)?;
        let time_ns = line.time_ns.unwrap_or(self.now_ns.max(self.time_ns));
        if time_ns < self.time_ns {
            return Err(LineError::Time);
        }
        self.make_room(line.transaction)?;
        let own_off = self.reach(stood, Commit::LEN)?;
        let first_off = open.map_or(own_off, |open| open.first_off);
        // All of the log is synced before it gets its name, so whatever stands before a commit may be promised.
        let durable_off = line.durable_off.filter(|&offset| offset <= own_off).unwrap_or(first_off);
        let commit = Commit { transaction, time_ns, first_off, durable_off };
        let flags = if line.close { CLOSE } else { 0 };
        self.append(RecordKind::Commit, flags, &commit.encode(), stood)?;
        (self.open, self.time_ns) = (None, time_ns);
        self.next_transaction = transaction.saturating_add(1);
        self.ended = line.close.then_some(Ended::Closed);
        Ok(())
    }

    fn seal(&mut self, line: &SealLine, stood: Option<Lsn>) -> Result<(), LineError> {
        if self.open.is_some() {
            return Err(LineError::OpenTransaction);
        }
        self.make_room(None)?;
        let next = self.number().saturating_add(1);
        if let Some(found) = line.next_number.filter(|&found| self.by_headers && found != next) {
            return Err(LineError::Successor { expected: next, found });
        }
        self.write_seal(stood)
    }

    fn write_seal(&mut self, stood: Option<Lsn>) -> Result<(), LineError> {
        let next_nonce = u32::from_le_bytes(self.random()?);
        let next_number = self.number().saturating_add(1);
        self.append(RecordKind::Seal, 0, &Seal { next_number, next_nonce }.encode(), stood)?;
        self.ended = Some(Ended::Sealed { next_nonce });
        Ok(())
    }

    /// Sees to it that the next record of a log without header lines has a segment; with them, that its segment goes on.
    fn make_room(&mut self, transaction: Option<u64>) -> Result<(), LineError> {
        let Some(segment) = &self.segment else {
            self.next_transaction = transaction.unwrap_or(1).max(1);
            let header = self.plain_header(None)?;
            return self.enter(&header);
        };
        if self.by_headers {
            return if self.ended.is_some() { Err(LineError::Ended) } else { Ok(()) };
        }
        let full = self.open.is_none() && segment.end() >= SEGMENT_FULL;
        if full && self.ended.is_none() {
            self.write_seal(None)?;
            self.records += 1;
        }
        if self.ended.is_some() { self.next() } else { Ok(()) }
    }

    /// Goes on in a new segment.
    fn next(&mut self) -> Result<(), LineError> {
        let header = self.next_header()?;
        self.leave()?;
        self.enter(&header)
    }

    fn enter(&mut self, header: &SegmentHeader) -> Result<(), LineError> {
        let name = segment_name(header.number);
        let path = self.temp.path().join(&name);
        let file = self.temp.create(name.as_ref(), Origin::Nothing)?;
        let segment = SegmentWriter::create(Appender::new(file), header);
        self.segment = Some(segment.map_err(|source| Error::write(&path, "write", source))?);
        self.next_transaction = header.first_transaction;
        (self.begun, self.ended) = (false, None);
        Ok(())
    }

    /// Ends the present segment's file: all of it is on the disk then.
    fn leave(&mut self) -> Result<(), LineError> {
        let Some(segment) = self.segment.take() else { return Ok(()) };
        let path = self.temp.path().join(segment_name(segment.header().number));
        let out = segment.finish().map_err(|error| line_error(error, &path))?;
        Ok(durable::sync(out.file(), &path)?)
    }

    /// The offset of the next record. Writers may fill a block early; where the line's record stood behind such a fill, so
    /// does this one.
    fn reach(&mut self, stood: Option<Lsn>, len: usize) -> Result<u32, LineError> {
        let end = u64::from(self.present().end());
        let next_block = end + rest_of_block(end) as u64;
        let stood_there = stood.is_some_and(|stood| stood.0 == u64::from(self.number()) << 32 | next_block);
        // An offset past 32 bits is past the longest segment, which the writer refuses.
        let at = place(end, len) as u32;
        if !stood_there || u64::from(at) == next_block || next_block >= SEGMENT_MAX {
            return Ok(at);
        }
        let fill = vec![0; rest_of_block(end) - RECORD_HEADER];
        self.append(RecordKind::Pad, 0, &fill, None)?;
        Ok(next_block as u32)
    }

    fn append(&mut self, kind: RecordKind, flags: u8, payload: &[u8], stood: Option<Lsn>) -> Result<Lsn, LineError> {
        let path = self.temp.path().join(segment_name(self.number()));
        let segment = self.segment.as_mut().expect("a segment is there from the first line on");
        let lsn = segment.append(kind, flags, payload).map_err(|error| line_error(error, &path))?;
        self.moved += u64::from(stood.is_some_and(|stood| stood != lsn));
        Ok(lsn)
    }

    fn present(&self) -> &SegmentWriter<Appender> {
        self.segment.as_ref().expect("a segment is there from the first line on")
    }

    fn number(&self) -> u32 {
        self.present().header().number
    }

    fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let filled = self.temp.disk().random(&mut bytes);
        filled.map_err(|source| Error::read(Path::new("the system's random numbers"), source))?;
        Ok(bytes)
    }
}

fn line_error(error: WriteError, path: &Path) -> LineError {
    match error {
        WriteError::Io(cause) => Error::write(path, "write", cause).into(),
        other => LineError::Record(other),
    }
}

/// Numbers rise, and each is there once: of a number that comes again, nobody could tell which transaction was meant.
fn is_free(found: u64, least: u64) -> Result<(), LineError> {
    match found {
        _ if found < least => Err(LineError::Transaction { found, least }),
        u64::MAX => Err(LineError::LastNumber),
        _ => Ok(()),
    }
}
