//! Which spans of a log a dump prints: a range, a kind, so many of them.

use waltool::format::{Format, Position};
use waltool::report::Place;
use waltool::scan::{Found, Scan};
use waltool::span::{Kind, Piece, Span};
use waltool::{Error, Log, Shown};

/// Faults that wait for the first selected record behind them; older ones are dropped.
const HELD_MAX: usize = 64;

/// One end of a range; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A record's position, as the format counts.
    Lsn(u64),
    /// A byte.
    Place(Place),
}

impl Bound {
    /// Reads `@offset`, or the format's own position.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn parse(text: &str, log: &Log) -> Result<Self, Error> {
        let format = log.format();
        let Some(offset) = text.strip_prefix('@') else {
            let example = match format.position(0) {
                Position::Number(_) => format.position(65),
                Position::SegmentOffset(_) => format.position(1 << 32 | 8192),
            };
            let wrong = || {
                Error::Usage(format!(
                    "{} is not a {} position like {example}, nor an @offset",
                    Shown(text.as_bytes()),
                    format.name()
                ))
            };
            return format.parse_position(text).map(Self::Lsn).ok_or_else(wrong);
        };
        let shown = Shown(offset.as_bytes());
        if log.segments().len() > 1 {
            let why = format!("@{shown} is ambiguous in a log of several segments: name one segment file as LOG");
            return Err(Error::Usage(why));
        }
        let number = match offset.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => offset.parse().ok(),
        };
        let offset = number.ok_or_else(|| Error::Usage(format!("@{shown} is not an offset in bytes")))?;
        Ok(Self::Place(Place { segment: 0, offset }))
    }
}

/// What to print, and how far it has come.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Nothing before this.
    pub from: Option<Bound>,
    /// Nothing behind this.
    pub to: Option<Bound>,
    /// Only records of these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Selected records to pass over.
    pub skip: u64,
    /// Selected records to print.
    pub limit: u64,
    /// The records to print are the last ones: the faults behind them belong to them.
    pub to_end: bool,
    /// Fill, stale and unwritten bytes, and pieces of records too.
    pub spans: bool,
    /// LSN of the last record that was met.
    last: Option<u64>,
    started: bool,
    beyond: bool,
    first_piece: Option<Span>,
    held: Vec<Span>,
}

impl Selection {
    /// Everything but fill.
    pub fn all() -> Self {
        Self {
            from: None,
            to: None,
            kinds: Vec::new(),
            skip: 0,
            limit: u64::MAX,
            to_end: false,
            spans: false,
            last: None,
            started: false,
            beyond: false,
            first_piece: None,
            held: Vec::new(),
        }
    }

    /// Nothing more will be selected.
    pub fn done(&self) -> bool {
        self.limit == 0 && !self.to_end
    }

    /// Damage stands before what comes next.
    pub fn beyond(&self) -> bool {
        self.beyond
    }

    /// Gives `found` to `print` if it is selected, after the faults that stand directly before it.
    #[inline]
    pub fn take(&mut self, found: &Found<'_>, format: &dyn Format, mut print: impl FnMut(&Found<'_>, bool)) {
        if let Kind::Record(Piece::Full) = found.span.kind {
            self.record(found, format, &mut print);
        } else {
            self.other(found, format, &mut print);
        }
    }

    fn other(&mut self, found: &Found<'_>, format: &dyn Format, print: &mut impl FnMut(&Found<'_>, bool)) {
        let fault = matches!(found.span.kind, Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_));
        self.beyond |= fault;
        match found.span.kind {
            _ if self.done() => {}
            Kind::Header => print(found, self.beyond),
            Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_) => {
                self.fault(found, print);
                // A proven record's bytes are damage all the same, and where bytes are counted they count once.
                if found.record.is_some() && !self.spans {
                    self.record(found, format, print);
                }
            }
            Kind::Record(_) if self.spans => self.record(found, format, print),
            Kind::Record(_) => self.piece(found, format, print),
            Kind::Padding | Kind::Stale | Kind::Unwritten if self.spans => self.fill(found, print),
            Kind::Padding | Kind::Stale | Kind::Unwritten => {}
        }
    }

    /// The log has ended: the faults behind its last record are part of an open range.
    pub fn end(&mut self, print: &mut impl FnMut(&Found<'_>, bool)) {
        if !self.done() && self.skip == 0 {
            self.release(print);
        }
    }

    fn fault(&mut self, found: &Found<'_>, print: &mut impl FnMut(&Found<'_>, bool)) {
        if !self.surrounds(&found.span) {
            return;
        }
        if self.held.len() == HELD_MAX {
            self.held.remove(0);
        }
        self.held.push(found.span);
        if self.under_way() {
            self.release(print);
        }
    }

    fn fill(&mut self, found: &Found<'_>, print: &mut impl FnMut(&Found<'_>, bool)) {
        if self.under_way() && self.surrounds(&found.span) {
            print(found, self.beyond);
        }
    }

    fn release(&mut self, print: &mut impl FnMut(&Found<'_>, bool)) {
        for span in self.held.drain(..) {
            print(&Found::of(span), true);
        }
    }

    #[inline]
    fn record(&mut self, found: &Found<'_>, format: &dyn Format, print: &mut impl FnMut(&Found<'_>, bool)) {
        let Some(record) = &found.record else { return self.fill(found, print) };
        let (span, lsn) = (&found.span, record.meta.lsn);
        self.last = Some(lsn);
        if self.limit == 0 {
            return;
        }
        if !self.begun(span, lsn) {
            self.held.clear();
            return;
        }
        if self.ended(span, lsn) {
            // What is held stands between two records, and the range, if only with its end, between them too.
            return self.end(print);
        }
        if !self.kinds.is_empty() && !self.kinds.iter().any(|wanted| wanted == format.kind(record)) {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            self.held.clear();
            return;
        }
        self.started = true;
        if !self.held.is_empty() {
            self.release(print);
        }
        self.limit -= 1;
        print(found, self.beyond);
    }

    /// A piece of a record: with the last one, all of it is a record.
    fn piece(&mut self, found: &Found<'_>, format: &dyn Format, print: &mut impl FnMut(&Found<'_>, bool)) {
        if found.record.is_none() {
            self.first_piece.get_or_insert(found.span);
            return;
        }
        let mut span = Span { kind: Kind::Record(Piece::Full), ..found.span };
        if let Some(first) = self.first_piece.take().filter(|first| first.segment == span.segment) {
            (span.offset, span.len) = (first.offset, span.end() - first.offset);
        }
        self.record(&Found { span, ..found.clone() }, format, print);
    }

    /// A record was printed, or none has to be met first.
    fn under_way(&self) -> bool {
        self.started || self.skip == 0 && !matches!(self.from, Some(Bound::Lsn(_)))
    }

    /// Whether the range has begun with a record.
    fn begun(&self, span: &Span, lsn: u64) -> bool {
        match self.from {
            Some(Bound::Lsn(from)) => lsn >= from,
            Some(Bound::Place(from)) => end(span) > from,
            None => true,
        }
    }

    /// Whether the range ends before a record.
    fn ended(&self, span: &Span, lsn: u64) -> bool {
        match self.to {
            Some(Bound::Lsn(to)) => lsn > to,
            Some(Bound::Place(to)) => begin(span) > to,
            None => false,
        }
    }

    /// Whether the range covers a span without a position: what stands between two records belongs to both. Where it
    /// begins at a position the caller waits for the record behind the span.
    fn surrounds(&self, span: &Span) -> bool {
        let after = match self.from {
            Some(Bound::Place(from)) => end(span) > from,
            Some(Bound::Lsn(_)) | None => true,
        };
        let before = match self.to {
            Some(Bound::Lsn(to)) => self.last.is_none_or(|lsn| lsn < to),
            Some(Bound::Place(to)) => begin(span) <= to,
            None => true,
        };
        after && before
    }
}

fn begin(span: &Span) -> Place {
    Place { segment: span.segment, offset: span.offset }
}

/// Behind the span's last byte; a lack of bytes is taken for one byte.
fn end(span: &Span) -> Place {
    Place { segment: span.segment, offset: span.offset + span.len.max(1) }
}

/// How many records of the log a selection has.
///
/// # Errors
/// As [`Scan::next`].
pub fn count(log: &Log, mut selection: Selection, mut progress: impl FnMut(u64)) -> Result<u64, Error> {
    let mut count = 0;
    let mut scan = Scan::new(log);
    let mut meter = Meter::default();
    while let Some(found) = scan.next()? {
        progress(meter.add(&found.span));
        selection.take(&found, log.format(), |found, _| count += u64::from(found.record.is_some()));
    }
    Ok(count)
}

/// The range of the transactions that were committed between two times. Times of commits never go back, so that the
/// transactions of a range stand side by side. `None` where there are none.
///
/// # Errors
/// As [`Scan::next`].
pub fn between(
    log: &Log,
    since: u64,
    until: u64,
    mut progress: impl FnMut(u64),
) -> Result<Option<(Bound, Bound)>, Error> {
    let mut range: Option<(Place, Place)> = None;
    let mut scan = Scan::new(log);
    let mut meter = Meter::default();
    while let Some(found) = scan.next()? {
        progress(meter.add(&found.span));
        let span = found.span;
        let Some(commit) = found.record.and_then(|record| record.meta.commit) else { continue };
        if commit.time.is_none_or(|time| time < since || time > until) {
            continue;
        }
        let place = |offset| Place { segment: span.segment, offset };
        let last = place(span.end() - 1);
        match &mut range {
            Some((_, to)) => *to = last,
            None => range = Some((place(commit.first.unwrap_or(span.offset)), last)),
        }
    }
    Ok(range.map(|(from, to)| (Bound::Place(from), Bound::Place(to))))
}

/// Bytes of a log up to a span, over all segments.
#[derive(Default)]
pub struct Meter(u64);

impl Meter {
    /// Counts a span.
    pub fn add(&mut self, span: &Span) -> u64 {
        self.0 += span.len;
        self.0
    }
}
