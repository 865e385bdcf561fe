//! A log's verdict with its evidence: a fold of a scan.

use std::fmt::{self, Display};

use crate::decode::{Hidden, Opening};
use crate::error::Result;
use crate::format::Format;
use crate::log::Log;
use crate::parallel;
use crate::scan::{Found, Scan};
use crate::span::{Fault, Kind, Span};
use crate::tally::{Committed, Tally};
use crate::verdict::{Evidence, Row, Verdict};

/// Faults that a report lists one by one; the others are only counted.
pub const LISTED_MAX: usize = 1000;

/// A place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the segment, from 0.
    pub segment: u32,
    /// Offset in it, in bytes.
    pub offset: u64,
}

/// What was found in a part of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records.
    pub records: u64,
    /// Whole transactions.
    pub transactions: u64,
    /// Commits, those of transactions that are not whole included.
    pub commits: u64,
    /// LSN of the first record.
    pub first: Option<u64>,
    /// LSN of the last record.
    pub last: Option<u64>,
    /// Behind the last record or header.
    pub end: Place,
    /// Behind the last whole transaction, or behind the header where there is none.
    pub committed_end: Place,
    /// LSN of the last whole transaction's commit.
    pub committed: Option<u64>,
    /// Time of the last whole transaction's commit, in nanoseconds since 1970.
    pub committed_time: Option<u64>,
    /// Records up to that commit.
    pub committed_records: u64,
}

/// What a program wrote that went on appending behind a torn tail instead of cutting it. All of it is behind the tear, where a normal
/// recovery does not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBehind {
    /// Where the tear begins.
    pub tear: Place,
    /// Intact records behind it, those included that damage hides from a reading.
    pub records: u64,
    /// Transactions behind it, by their numbers.
    pub transactions: u64,
}

/// What is known of a log after a scan.
#[derive(Clone, Debug)]
pub struct Report {
    format: &'static dyn Format,
    /// Segments met.
    pub segments: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// What stands before the first damage.
    pub prefix: Totals,
    /// What stands behind it.
    pub beyond: Totals,
    /// Damage, tears and gaps in their order, the first [`LISTED_MAX`].
    pub faults: Vec<Span>,
    /// All of them.
    pub fault_count: u64,
    /// Bytes in them.
    pub fault_bytes: u64,
    /// Bytes of earlier lives of the file.
    pub stale_bytes: u64,
    /// Bytes that were never written.
    pub unwritten_bytes: u64,
    /// Commits at the tail that nothing proves durable or not.
    pub undecided: u64,
    /// The numbers of the transactions prove that a program wrote on behind the first damage, which is a tear.
    pub appended_behind: Option<AppendedBehind>,
    evidence: Evidence,
    tear: Option<Tear>,
    /// Intact records that damage hides.
    hidden: u64,
    broken: Option<BrokenPromise>,
    /// The first fault that contradicts what the log says elsewhere.
    contradiction: Option<Span>,
    /// A segment before the present one has a fault.
    hit_before: bool,
    leftover: Option<Leftover>,
    current: Current,
}

/// What follows an unlinked record without a commit: by its looks the rest of a rolled-back transaction.
#[derive(Clone, Debug)]
struct Leftover {
    /// What was counted behind the damage before it.
    behind: Tally,
    /// Bytes of its records.
    bytes: u64,
    /// Nothing but unlinked records interrupts it, and no other fault stands before it.
    only: bool,
}

/// The first damage, which may turn out to be a tear that something was written behind.
#[derive(Clone, Copy, Debug)]
struct Tear {
    place: Place,
    /// The number of the transaction that follows those before it; 0 where it is not known.
    next: u64,
    /// The number of the last behind it.
    last: u64,
}

/// Damage below a promise.
#[derive(Clone, Copy, Debug)]
struct BrokenPromise {
    damage: Place,
    promise: u64,
}

/// The present segment, whose counts are not yet in the totals: a promise in it may still decide about them.
#[derive(Clone, Debug, Default)]
struct Current {
    segment: u32,
    seen: u64,
    before: Tally,
    behind: Tally,
    header_end: Option<u64>,
    /// The number of its first transaction, by its header.
    first: u64,
    lowest_fault: Option<u64>,
    /// Where the first space begins that looks as if it had never been written.
    lowest_unwritten: Option<u64>,
}

impl Current {
    fn new(segment: u32, promising: bool) -> Self {
        Self { segment, before: Tally::new(promising), behind: Tally::new(promising), ..Self::default() }
    }
}

impl Report {
    /// An empty report, to be filled by [`add`](Self::add).
    pub fn new(format: &'static dyn Format) -> Self {
        Self {
            format,
            segments: 0,
            bytes: 0,
            prefix: Totals::default(),
            beyond: Totals::default(),
            faults: Vec::new(),
            fault_count: 0,
            fault_bytes: 0,
            stale_bytes: 0,
            unwritten_bytes: 0,
            undecided: 0,
            appended_behind: None,
            tear: None,
            hidden: 0,
            evidence: Evidence { promising: format.commits_promise(), ..Evidence::default() },
            broken: None,
            contradiction: None,
            hit_before: false,
            leftover: None,
            current: Current::default(),
        }
    }

    /// Reads a log to its end. `progress` hears how many bytes have been read, now and then.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn of(log: &Log, progress: impl FnMut(u64)) -> Result<Self> {
        Self::by_threads(log, 1, progress)
    }

    /// The same report, made by several threads where the log is long enough and a regular file.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn by_threads(log: &Log, threads: usize, mut progress: impl FnMut(u64)) -> Result<Self> {
        let mut report = Self::new(log.format());
        let mut scan = Scan::new(log);
        loop {
            report.skim(&mut scan, threads, &mut progress)?;
            let Some(found) = scan.next()? else { break };
            report.add(&found);
        }
        report.finish();
        Ok(report)
    }

    /// Counts the good records that come next in `scan`, without looking at each.
    fn skim(&mut self, scan: &mut Scan<'_>, threads: usize, progress: &mut impl FnMut(u64)) -> Result<()> {
        if self.segments > 0 && scan.segment() == self.current.segment {
            let before = self.bytes;
            let mut progress = |offset| progress(before + offset);
            if threads > 1 && self.fault_count == 0 && !scan.log().is_stream() {
                parallel::skim(scan, &mut self.current.before, threads, &mut progress)?;
            }
            let from = scan.offset();
            scan.skim(self.tally(), None, &mut progress)?;
            self.current.seen = scan.offset();
            if let Some(leftover) = &mut self.leftover {
                leftover.bytes += self.current.seen - from;
            }
        }
        Ok(())
    }

    /// Takes a span into account. Every span of the scan must come, in order, unless it was skimmed.
    pub fn add(&mut self, found: &Found<'_>) {
        let span = found.span;
        if self.segments == 0 || span.segment != self.current.segment {
            self.close_segment();
            self.segments += 1;
            self.current = Current::new(span.segment, self.format.commits_promise());
        }
        self.current.seen = self.current.seen.max(span.end());
        let claims = found.claims.count(0);
        match span.kind {
            Kind::Padding | Kind::Record(_) => {}
            Kind::Header => self.header(found),
            Kind::Stale => self.stale_bytes += span.len,
            Kind::Unwritten => {
                self.unwritten_bytes += span.len;
                self.current.lowest_unwritten.get_or_insert(span.offset);
            }
            Kind::Gap(_) => self.fault(span),
            Kind::Damage(_) | Kind::Torn(_) => {
                self.fault(span);
                self.hide(&found.hidden);
                if self.format.commits_promise() {
                    self.tally().claim(&found.claims);
                    self.tally().promise(found.durable);
                } else if matches!(span.kind, Kind::Torn(_)) {
                    self.undecided += claims;
                }
                if found.record.is_none() {
                    self.current.behind.floor = span.end();
                }
            }
        }
        if let Some(record) = &found.record {
            self.tally().add(&record.meta, span.end());
        }
        self.follow_leftover(&span, claims);
    }

    /// Takes note where a rolled-back transaction's rest begins, goes on, or turns out to be none.
    fn follow_leftover(&mut self, span: &Span, claims: u64) {
        self.disprove_leftover();
        match (span.kind, &mut self.leftover) {
            (Kind::Damage(Fault::Unlinked { flip: None, .. }), None) => {
                let only = self.fault_count == 1;
                self.leftover = Some(Leftover { behind: self.current.behind.clone(), bytes: 0, only });
            }
            (Kind::Damage(Fault::Unlinked { flip: None, .. }) | Kind::Stale, Some(_)) => {}
            (Kind::Record(_), Some(leftover)) => leftover.bytes += span.len,
            (Kind::Damage(Fault::Checksum { .. }) | Kind::Torn(Fault::Cut { .. }), Some(leftover)) if claims == 0 => {
                leftover.only = false;
            }
            (_, leftover) => *leftover = None,
        }
    }

    /// No commit follows what is left of a rolled-back transaction.
    fn disprove_leftover(&mut self) {
        let commits = self.current.behind.commits;
        self.leftover.take_if(|leftover| commits > leftover.behind.commits);
    }

    /// What a rolled-back transaction left is as good as stale.
    fn drop_leftover(&mut self) {
        self.disprove_leftover();
        let Some(leftover) = self.leftover.take() else { return };
        self.evidence.leftover = leftover.only;
        self.stale_bytes += leftover.bytes;
        self.current.behind = leftover.behind;
    }

    /// No more spans will come.
    pub fn finish(&mut self) {
        self.drop_leftover();
        self.close_segment();
        self.current = Current::default();
        self.evidence.commit_behind = self.beyond.commits > 0;
        if let (Some(appended), Some(tear)) = (&mut self.appended_behind, self.tear) {
            appended.records = self.beyond.records + self.hidden;
            appended.transactions = tear.last.saturating_add(1).saturating_sub(tear.next);
        }
        if self.row().label == 'I' {
            // Everything behind the last good frame is of the transaction that was rolled back, or older.
            self.stale_bytes = self.bytes - self.prefix.end.offset - self.unwritten_bytes;
            self.faults.clear();
            (self.fault_count, self.fault_bytes) = (0, 0);
        }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.row().verdict
    }

    /// The row of the decision table that gave the verdict.
    pub fn row(&self) -> &'static Row {
        self.evidence.judge()
    }

    /// What the verdict rests on, in a sentence; nothing for a clean log.
    pub fn proof(&self) -> Option<Proof<'_>> {
        (self.row().verdict != Verdict::Clean).then_some(Proof(self))
    }

    /// Where the log contradicts itself, if the verdict rests on that.
    pub fn contradiction(&self) -> Option<&Span> {
        self.contradiction.as_ref().filter(|_| self.row().label == 'L')
    }

    /// The format of the log.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// Where the first damage, tear or gap begins.
    pub fn first_fault(&self) -> Option<&Span> {
        self.faults.first()
    }

    fn tally(&mut self) -> &mut Tally {
        if self.fault_count > 0 { &mut self.current.behind } else { &mut self.current.before }
    }

    fn header(&mut self, found: &Found<'_>) {
        self.tally().promise(found.durable);
        self.evidence.continued |= self.hit_before;
        if self.fault_count == 0 {
            self.current.header_end = Some(found.span.end());
            self.current.first = found.transaction;
        }
    }

    /// Takes commits into account that damage hides.
    fn hide(&mut self, hidden: &Hidden) {
        let behind = &mut self.current.behind;
        behind.opening.join(hidden.opening);
        behind.number = if hidden.last > 0 { hidden.last } else { behind.number };
        self.hidden += hidden.records;
    }

    /// Whether a transaction behind a tear in this segment has the number that follows the last before it, and does not begin where the
    /// damage does. Then what is damaged was none: a program that came up again wrote on behind it.
    fn goes_on(&self, tear: &Tear, behind: &Tally) -> bool {
        let Opening { transaction, first } = behind.opening;
        let torn = tear.place.offset;
        tear.next > 0 && transaction == tear.next && first > torn && self.format.may_hold_tear(torn, first)
    }

    fn fault(&mut self, span: Span) {
        if self.faults.len() < LISTED_MAX {
            self.faults.push(span);
        }
        self.fault_count += 1;
        self.fault_bytes += span.len;
        if let Kind::Gap(_) = span.kind {
            self.evidence.gap = true;
        } else {
            if self.fault_count == 1 {
                let Current { before, first, .. } = &self.current;
                let next = if before.number > 0 { before.number.saturating_add(1) } else { *first };
                self.tear = Some(Tear { place: place_of(&span), next, last: 0 });
            }
            self.evidence.fault = true;
            if span.kind.fault().is_some_and(|fault| fault.contradicts()) {
                self.evidence.contradicted = true;
                self.contradiction.get_or_insert(span);
            }
            self.current.lowest_fault.get_or_insert(span.offset);
        }
    }

    fn close_segment(&mut self) {
        let Current { segment, seen, mut before, mut behind, header_end, lowest_fault, lowest_unwritten, .. } =
            std::mem::take(&mut self.current);
        if let Some(mut tear) = self.tear {
            if tear.place.segment == segment && self.goes_on(&tear, &behind) {
                self.evidence.appended = true;
                self.appended_behind = Some(AppendedBehind { tear: tear.place, records: 0, transactions: 0 });
            }
            tear.last = if behind.number > 0 { behind.number } else { tear.last };
            self.tear = Some(tear);
        }
        self.bytes += seen;
        let promise = before.durable.max(behind.durable);
        before.promise(promise);
        behind.promise(promise);
        self.undecided += before.undecided() + behind.undecided();
        // What a promise covers was written, whatever it looks like now. The promise then is one that damage behind it still testifies.
        let lost = lowest_fault.into_iter().chain(lowest_unwritten).min();
        if let Some(offset) = lost.filter(|&offset| offset < promise) {
            self.evidence.promised = true;
            self.broken.get_or_insert(BrokenPromise { damage: Place { segment, offset }, promise });
        }
        self.hit_before |= lowest_fault.is_some();
        if let Some(offset) = header_end {
            self.prefix.end = Place { segment, offset };
            if self.prefix.committed.is_none() {
                self.prefix.committed_end = self.prefix.end;
            }
        }
        self.prefix.absorb(segment, &before);
        self.beyond.absorb(segment, &behind);
    }
}

fn place_of(span: &Span) -> Place {
    Place { segment: span.segment, offset: span.offset }
}

impl Totals {
    fn absorb(&mut self, segment: u32, tally: &Tally) {
        if let Some(Committed { end, lsn, records, time }) = tally.committed {
            self.committed_end = Place { segment, offset: end };
            self.committed = Some(lsn);
            self.committed_time = time.or(self.committed_time);
            self.committed_records = self.records + records;
        }
        if let Some(offset) = tally.end {
            self.end = Place { segment, offset };
        }
        self.records += tally.records;
        self.transactions += tally.transactions;
        self.commits += tally.commits;
        self.first = self.first.or(tally.first);
        self.last = tally.last.or(self.last);
    }
}

/// The sentence behind a verdict. See [`Report::proof`].
pub struct Proof<'a>(&'a Report);

impl Display for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let noun = report.format.record_noun();
        let beyond = &report.beyond;
        let first = report.first_fault().map_or(0, |span| span.offset);
        if let Some(fault) = report.contradiction().and_then(|span| span.kind.fault()) {
            return write!(f, "{fault}");
        }
        match (report.row().label, report.broken) {
            ('C', Some(BrokenPromise { damage, promise })) => write!(
                f,
                "the log promises that everything below offset {promise} had reached the disk; the damage begins at {}",
                damage.offset
            ),
            ('D', _) => write!(f, "a later segment continues the log: it is begun only when the one before is whole"),
            ('K', _) => write!(
                f,
                "the transactions' numbers go on over the damage, so it never was one: a program came up again and wrote on behind it",
            ),
            ('G', _) => write!(
                f,
                "{} intact behind the damage, {} of them commit{}: they were written later, so what stood before was whole",
                Counted(beyond.records, noun),
                beyond.commits,
                if beyond.commits == 1 { "" } else { "s" },
            ),
            ('E', _) => {
                write!(f, "no promise of the log reaches offset {first}: a crash before the next sync explains it")
            }
            ('J', _) if beyond.records > 0 => write!(
                f,
                "{} intact behind offset {first}, but no commit: nothing committed is lost",
                Counted(beyond.records, noun)
            ),
            ('J', _) => write!(f, "nothing valid follows offset {first}: a write that never finished explains it"),
            ('B' | 'F' | 'H', _) => write!(f, "what is there is intact, but not all of it is there"),
            (_, _) => write!(f, "{}", report.row().why),
        }
    }
}

/// A number with its noun: "1 frame", "2 frames".
pub struct Counted(
    /// How many.
    pub u64,
    /// Of what, in the singular.
    pub &'static str,
);

impl Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}
