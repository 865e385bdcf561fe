//! A new log of all whole transactions of a damaged one, those behind the damage included.
//!
//! The log is read twice: first for the runs of neighbouring whole transactions, then for their records, which go to the
//! format's own [`Rebuild`]. Memory is flat but for the list of runs.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use crate::durable::{self, CHUNK, Temp};
use crate::error::{Error, Result};
use crate::format::Rebuild;
use crate::log::Log;
use crate::report::{Counted, Report};
use crate::rights::Origin;
use crate::scan::{Found, Scan};
use crate::span::Kind;
use crate::verdict::Verdict;
use crate::vfs::VfsFile;

/// Runs of whole transactions in one log, a bound on memory: damage between so many is beyond salvage in one go.
const RUNS_MAX: usize = 1024 * 1024;

/// Whole transactions that follow one another in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    segment: u32,
    start: u64,
    end: u64,
}

/// What can be salvaged of a log.
pub struct Survey {
    /// The log as it is.
    pub report: Report,
    /// Whole transactions.
    pub transactions: u64,
    /// Intact records, those of broken or unfinished transactions included.
    pub intact: u64,
    /// Records of whole transactions.
    pub records: u64,
    runs: Vec<Run>,
    /// The first intact header.
    header: Option<Vec<u8>>,
}

impl Survey {
    /// Looks for the whole transactions of `log`. `progress` hears how many bytes have been read.
    ///
    /// # Errors
    /// As [`Scan::next`]; [`Error::Refused`] where there is nothing to salvage, or where damage splits the log into more
    /// runs than memory should hold.
    pub fn of(log: &Log, progress: &mut dyn FnMut(u64)) -> Result<Self> {
        let mut survey = Self {
            report: Report::new(log.format()),
            transactions: 0,
            intact: 0,
            records: 0,
            runs: Vec::new(),
            header: None,
        };
        let mut scan = Scan::new(log);
        let mut place = Standing::default();
        let mut read = 0;
        while let Some(found) = scan.next()? {
            read += found.span.len;
            progress(read);
            survey.report.add(&found);
            if survey.header.is_none() {
                survey.header = found.header.map(<[u8]>::to_vec);
            }
            survey.add(&found, &mut place, !log.format().has_transactions());
            if survey.runs.len() > RUNS_MAX {
                return Err(Error::refused(
                    log.path(),
                    "damage splits it into more parts than can be salvaged at once",
                ));
            }
        }
        survey.report.finish();
        if survey.runs.is_empty() {
            return Err(Error::refused(log.path(), "no whole transaction is in it, so there is nothing to salvage"));
        }
        Ok(survey)
    }

    fn add(&mut self, found: &Found<'_>, standing: &mut Standing, each_whole: bool) {
        let span = found.span;
        if span.segment != standing.segment {
            *standing = Standing { segment: span.segment, ..Standing::default() };
        }
        let Some(record) = &found.record else {
            if let Kind::Damage(_) | Kind::Torn(_) = span.kind {
                (standing.floor, standing.waiting) = (span.end(), 0);
            }
            return;
        };
        self.intact += 1;
        standing.waiting += 1;
        let since = *standing.since.get_or_insert(span.offset);
        let (first, counts) = match record.meta.commit {
            Some(commit) => (commit.first, commit.counts),
            None => (each_whole.then_some(span.offset), each_whole),
        };
        let Some(first) = first.filter(|&first| first >= standing.floor) else {
            if record.meta.commit.is_some() {
                standing.waiting = 0;
            }
            return;
        };
        self.transactions += u64::from(counts);
        match self.runs.last_mut() {
            Some(run) if run.segment == span.segment && since >= first => run.end = span.end(),
            _ => self.runs.push(Run { segment: span.segment, start: first, end: span.end() }),
        }
        self.records += standing.waiting;
        (standing.since, standing.waiting) = (None, 0);
    }

    /// Writes the complete transactions of `log` as `new`: a file for a file, a directory for a directory. Nobody has more rights to `new`
    /// than to `log`. When it returns, all of `new` is on the disk and verified; before that nothing has that name.
    ///
    /// # Errors
    /// [`Error::Refused`] where `new` exists, or where the log changed meanwhile; [`Error::Write`].
    pub fn write(&self, log: &Log, new: &Path, progress: &mut dyn FnMut(u64)) -> Result<Report> {
        durable::may_create(log.disk(), new, Some(log))?;
        let disk = &**log.disk();
        let mut temp = if log.is_folder() {
            Temp::folder(log.disk(), new, Origin::another_at(disk, log.path())?)?
        } else {
            Temp::file(log.disk(), new, Origin::another_at(disk, log.segment_path(0))?)?
        };
        let rebuild = log.format().rebuild();
        let mut writing = Writing { log, temp: &mut temp, rebuild, out: Vec::new(), open: None, segment: None };
        if let Some(header) = &self.header {
            writing.rebuild.belong(header);
        }
        writing.all(&self.runs, progress)?;
        let report = Report::of(&Log::open_on(log.disk(), temp.path(), Some(log.format()))?, |_| ())?;
        let whole = report.prefix.transactions;
        if report.verdict() != Verdict::Clean || whole != self.transactions {
            let why = format!(
                "the salvaged log would be {} with {whole} of {} transactions; did the log change meanwhile?",
                report.verdict(),
                self.transactions
            );
            return Err(Error::refused(log.path(), why));
        }
        temp.place_new()?;
        Ok(report)
    }
}

/// What is known of the present segment.
#[derive(Default)]
struct Standing {
    segment: u32,
    /// A transaction that begins below this is not whole: damage ends here.
    floor: u64,
    /// The first record behind the last whole transaction.
    since: Option<u64>,
    /// Records behind the last whole transaction.
    waiting: u64,
}

/// The new log while it is written.
struct Writing<'a> {
    log: &'a Log,
    temp: &'a mut Temp,
    rebuild: Box<dyn Rebuild>,
    out: Vec<u8>,
    /// The file of the present segment, where each has its own.
    open: Option<(Box<dyn VfsFile>, PathBuf)>,
    segment: Option<u32>,
}

impl Writing<'_> {
    fn all(&mut self, runs: &[Run], progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut scan = Scan::new(self.log);
        let mut runs = runs.iter().copied().peekable();
        let (mut offset, mut read) = (0, 0);
        while let Some(found) = scan.next()? {
            let span = found.span;
            read += span.len;
            progress(read);
            self.reach(span.segment, found.header, &mut offset)?;
            let behind = |run: &Run| (run.segment, run.end) <= (span.segment, span.offset);
            while runs.next_if(behind).is_some() {}
            let Some(record) = &found.record else { continue };
            if !runs.peek().is_some_and(|run| run.segment == span.segment && run.start <= span.offset) {
                continue;
            }
            self.begin(span.segment, None, &mut offset)?;
            self.rebuild.record(record, &mut self.out).map_err(|fault| {
                let why = format!("the record at offset {} cannot be written again: {fault}", span.offset);
                Error::refused(self.log.path(), why)
            })?;
            self.flush(CHUNK, &mut offset)?;
        }
        let last = self.log.segments().len() as u32 - 1;
        self.reach(last, None, &mut offset)?;
        self.begin(last, None, &mut offset)?;
        self.finish(false, &mut offset)
    }

    /// The scan stands in `segment`: those before it are begun, even where nothing of them is whole, and ended.
    fn reach(&mut self, segment: u32, header: Option<&[u8]>, offset: &mut u64) -> Result<()> {
        let next = self.segment.map_or(0, |segment| segment + 1);
        for before in next..segment {
            self.begin(before, None, offset)?;
        }
        if header.is_some() { self.begin(segment, header, offset) } else { Ok(()) }
    }

    fn begin(&mut self, segment: u32, header: Option<&[u8]>, offset: &mut u64) -> Result<()> {
        if self.segment.is_some_and(|present| present >= segment) {
            return Ok(());
        }
        if self.segment.is_some() {
            self.finish(true, offset)?;
        }
        self.segment = Some(segment);
        let segments = self.log.segments();
        // Numbers run on without a gap, whatever is missing in the old log.
        let number = segments[0].number.map(|first| first + u64::from(segment));
        self.rebuild.segment(number, header, &mut self.out);
        if self.log.is_folder() {
            let old = &segments[segment as usize];
            let name = number.and_then(|number| self.log.format().segment_name(number));
            let name = name.unwrap_or_else(|| OsString::from(&old.name));
            let origin = Origin::another_at(&**self.log.disk(), self.log.segment_path(segment))?;
            self.open = Some((self.temp.create(&name, origin)?, self.temp.path().join(&name)));
            *offset = 0;
        }
        Ok(())
    }

    fn finish(&mut self, followed: bool, offset: &mut u64) -> Result<()> {
        self.rebuild.end(followed, &mut self.out);
        self.flush(0, offset)?;
        match self.open.take() {
            Some((file, path)) => durable::sync(&*file, &path),
            None => Ok(()),
        }
    }

    fn flush(&mut self, above: usize, offset: &mut u64) -> Result<()> {
        if self.out.len() <= above {
            return Ok(());
        }
        let (file, path) = match &self.open {
            Some((file, path)) => (&**file, path.as_path()),
            None => (self.temp.handle(), self.temp.path()),
        };
        durable::write_at(file, path, &self.out, *offset)?;
        *offset += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}

impl Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.report.format();
        let noun = format.record_noun();
        let whole = Counted(self.transactions, "whole transaction");
        writeln!(f, "kept:     {whole} of {}", Counted(self.records, noun))?;
        write!(
            f,
            "left out: {}, {} of transactions that are not whole",
            Counted(self.report.fault_count, "damaged place"),
            Counted(self.intact - self.records, noun),
        )?;
        if format.paged() && self.report.beyond.transactions > 0 {
            write!(
                f,
                "\nnote:     what stands behind the damage may depend on pages of the transaction that was lost; after \
                 replay, check the database with PRAGMA integrity_check"
            )?;
        }
        Ok(())
    }
}
