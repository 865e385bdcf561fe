//! The scan: steps of a decoder become spans that partition every byte of every segment.
//!
//! 1. It moves by `step.len` only, so the spans of a segment touch each other by construction.
//! 2. A span is final when it is yielded. The pieces of an unfinished record wait in `open`: with the last piece they
//!    come out as a record, else they become damage.
//! 3. What follows the last good record waits in `doubt`. Something good behind it makes it damage; the end of the log
//!    makes it a torn tail. Stale and unwritten bytes stay what they are unless something good follows them.
//! 4. A decoder that needs more than the segment has left has met a cut.
//! 5. Damage in a file is believed after a second look, for the file may be written meanwhile.

mod doubt;
mod look;
mod whole;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::decode::{Begin, Class, Decode, Fork, HEAD_LEN, Hidden, Input, Meta, Need, Plain, Step, Testimony};
use crate::error::{Error, Result};
use crate::format::Record;
use crate::log::Log;
use crate::span::{Fault, Kind, Piece, Span};
use crate::tally::{Tally, Unproven};
use crate::window::{WINDOW, Window};
use doubt::{Body, Doubt, Item};
use look::Looks;
use whole::Whole;

/// The largest record that is joined from pieces, in bytes, unless [`Scan::record_max`] says otherwise.
pub const RECORD_MAX: usize = 16 * 1024 * 1024;
/// Pieces that one record may have; a bound on memory, far above what [`RECORD_MAX`] needs at a block a piece.
const PIECES_MAX: usize = 64 * 1024;
/// A hole must be this long before it is worth asking a decoder to pass it unread.
const HOLE_MIN: u64 = 1024 * 1024;

/// A span, with what it holds.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The bytes' place and kind.
    pub span: Span,
    /// The record that this span completes.
    pub record: Option<Record<'a>>,
    /// The bytes of a header.
    pub header: Option<&'a [u8]>,
    /// A promise by a header, or by a commit inside damage: everything below this offset of the segment had reached the disk.
    pub durable: u64,
    /// In damage: where what calls itself a commit ends.
    pub claims: Unproven,
    /// By a header: the number of the first transaction behind it; 0 where it does not say.
    pub transaction: u64,
    /// In damage: intact commits that it hides.
    pub hidden: Hidden,
}

impl Found<'_> {
    /// A span about which there is nothing else to say.
    pub fn of(span: Span) -> Self {
        Self {
            span,
            record: None,
            header: None,
            durable: 0,
            claims: Unproven::default(),
            transaction: 0,
            hidden: Hidden::default(),
        }
    }
}

/// Reads a log from its beginning to its end.
pub struct Scan<'l> {
    log: &'l Log,
    decoder: Box<dyn Decode + Send>,
    chunk: usize,
    record_max: usize,
    /// Looked for before the first segment.
    whole: Option<Whole>,
    segment: u32,
    window: Option<Window>,
    buffer: Vec<u8>,
    ready: VecDeque<Item>,
    open: Open,
    doubt: Doubt,
    looks: Looks,
}

/// The pieces of a record whose end has not come yet.
#[derive(Default)]
struct Open {
    spans: Vec<Span>,
    joined: Vec<u8>,
}

impl<'l> Scan<'l> {
    /// A scan of `log` by its format's decoder.
    pub fn new(log: &'l Log) -> Self {
        Self::with(log, log.format().decoder())
    }

    /// A scan of `log` by another decoder.
    pub fn with(log: &'l Log, decoder: Box<dyn Decode + Send>) -> Self {
        Self {
            log,
            decoder,
            chunk: WINDOW,
            record_max: RECORD_MAX,
            whole: None,
            segment: 0,
            window: None,
            buffer: Vec::new(),
            ready: VecDeque::new(),
            open: Open::default(),
            doubt: Doubt::default(),
            looks: Looks::default(),
        }
    }

    /// Reads this many bytes at a time. The spans do not depend on it.
    pub fn window(mut self, bytes: usize) -> Self {
        self.chunk = bytes;
        self
    }

    /// Joins records up to this many bytes.
    pub fn record_max(mut self, bytes: usize) -> Self {
        self.record_max = bytes;
        self
    }

    /// The log that is read.
    pub fn log(&self) -> &'l Log {
        self.log
    }

    /// Index of the segment that is read.
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Where the scan stands in its segment, in bytes.
    pub fn offset(&self) -> u64 {
        self.window.as_ref().map_or(0, Window::offset)
    }

    /// How often bytes turned out to be written meanwhile, and were read again.
    pub fn returns(&self) -> u64 {
        self.looks.met
    }

    /// The decoder, as it stands.
    pub fn decoder(&self) -> &(dyn Decode + Send) {
        &*self.decoder
    }

    /// Goes on at another place of the present segment, as if everything before had been good and read. For folds that
    /// counted that part by other means, after [`skim`](Self::skim) stopped at no fault.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn jump(&mut self, fork: Fork) -> Result<()> {
        assert!(self.is_quiet(), "a jump out of doubt");
        let source = self.log.source(self.segment)?;
        let buffer = self.window.take().map(Window::into_buffer).unwrap_or_default();
        let window = Window::new(source, fork.offset, self.chunk, buffer);
        self.looks.mark(&window, &*fork.decoder);
        self.window = Some(window);
        self.decoder = fork.decoder;
        while self.offset() < fork.counts_from {
            let Some(Step { len, class: Class::Padding }) = self.step()? else { break };
            self.window.as_mut().map(|window| window.take(len));
        }
        Ok(())
    }

    /// Nothing waits to be yielded or judged.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.is_empty() && self.is_sure() && !self.looks.is_open()
    }

    /// Nothing that was read waits for what comes next.
    fn is_sure(&self) -> bool {
        self.doubt.is_empty() && self.open.spans.is_empty()
    }

    /// The next span, or `None` behind the last.
    ///
    /// # Errors
    /// [`Error::Read`] and its like; [`Error::TooNew`]. Never for bad bytes.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend a payload from its own buffer")]
    pub fn next(&mut self) -> Result<Option<Found<'_>>> {
        if let Some((span, at, Plain { body, meta, .. })) = self.plain() {
            let taken = |range: Range<usize>| self.window.as_ref().map_or(&[][..], |window| window.taken(range));
            let (head, payload) = (taken(at..at + body.start), taken(at + body.start..at + body.end));
            let record = Some(Record { meta, head, payload });
            return Ok(Some(Found { record, ..Found::of(span) }));
        }
        let item = loop {
            if let Some(item) = self.ready.pop_front() {
                break item;
            }
            if !self.begin_segment()? {
                return Ok(None);
            }
            if !self.ready.is_empty() {
                continue;
            }
            match self.step()? {
                Some(step) => {
                    if let Some(item) = self.settle(step)? {
                        break item;
                    }
                }
                None => self.end_segment()?,
            }
        };
        Ok(Some(self.lend(item)))
    }

    /// Moves behind a record that neither needs a thought nor gives one to what stands before it, as nearly all do: what
    /// [`step`](Self::step) and [`settle`](Self::settle) would come to, on a shorter way.
    #[inline]
    fn plain(&mut self) -> Option<(Span, usize, Plain)> {
        if !self.is_quiet() {
            return None;
        }
        let window = self.window.as_mut()?;
        let offset = window.offset();
        let input = Input { bytes: window.bytes(), offset, end: window.ended() };
        let plain = self.decoder.plain(&input)?;
        let at = window.take(plain.len);
        let kind = Kind::Record(Piece::Full);
        Some((Span { segment: self.segment, offset, len: plain.len as u64, kind }, at, plain))
    }

    /// Counts good records as far as they go in the present segment, without yielding them; [`next`](Self::next) then
    /// gives what stands behind them. Stops at the offset `until`, which must be a record's beginning. `progress` hears the
    /// offset after each window.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn skim(&mut self, tally: &mut Tally, until: Option<u64>, progress: &mut dyn FnMut(u64)) -> Result<()> {
        if !self.is_quiet() {
            return Ok(());
        }
        let Some(window) = &mut self.window else { return Ok(()) };
        let looks = &mut self.looks;
        let mut watch = |window: &Window, decoder: Option<&dyn Decode>| {
            progress(window.offset());
            if let Some(decoder) = decoder {
                looks.mark(window, decoder);
            }
        };
        let stop = skim(window, &mut *self.decoder, tally, until, &mut watch).map_err(|cause| Error::Read {
            path: self.log.segment_path(self.segment).into(),
            offset: Some(window.offset()),
            cause,
        })?;
        if let Some(step) = stop {
            let item = self.settle(step)?;
            self.ready.extend(item);
        }
        Ok(())
    }

    fn lend(&self, item: Item) -> Found<'_> {
        let taken = |range: Range<usize>| self.window.as_ref().map_or(&[][..], |window| window.taken(range));
        let mut found = Found {
            durable: item.durable,
            claims: item.claims,
            transaction: item.transaction,
            hidden: item.hidden,
            ..Found::of(item.span)
        };
        match item.body {
            Body::None => {}
            Body::Header(bytes) => found.header = Some(taken(bytes)),
            Body::Record { meta, head, payload } => {
                found.record = Some(Record { meta, head: taken(head), payload: taken(payload) });
            }
            Body::Joined(meta) => {
                found.record = Some(Record { meta, head: &[], payload: &self.open.joined });
            }
        }
        found
    }

    fn begin_segment(&mut self) -> Result<bool> {
        if self.window.is_some() {
            return Ok(true);
        }
        let count = self.log.segments().len();
        let whole = match self.whole {
            Some(whole) => whole,
            None => self.look_at_all()?,
        };
        let Some(segment) = self.log.segments().get(self.segment as usize) else { return Ok(false) };
        let next = self.segment + 1;
        let head = if (next as usize) < count { Some(self.log.head(next, HEAD_LEN)?) } else { None };
        self.decoder.begin(&Begin {
            segment: self.segment,
            number: segment.number,
            alone: self.log.is_alone(),
            log_id: whole.log_id,
            next: head.as_deref(),
        });
        let source = self.log.source(self.segment)?;
        let window = Window::new(source, 0, self.chunk, std::mem::take(&mut self.buffer));
        self.looks.begin(&window, &*self.decoder);
        self.window = Some(window);
        Ok(true)
    }

    fn look_at_all(&mut self) -> Result<Whole> {
        let whole = *self.whole.insert(Whole::of(self.log)?);
        let span = |gap| Span { segment: 0, offset: 0, len: 0, kind: Kind::Gap(gap) };
        self.ready.extend(whole.missing.map(|gap| Item::new(span(gap), Body::None)));
        Ok(whole)
    }

    fn fill(&mut self, need: usize) -> Result<()> {
        let sure = self.is_sure();
        let Some(window) = &mut self.window else { return Ok(()) };
        if sure {
            self.looks.mark(window, &*self.decoder);
        }
        window.fill(need).map_err(|cause| Error::Read {
            path: self.log.segment_path(self.segment).into(),
            offset: Some(window.offset()),
            cause,
        })
    }

    /// The decoder's next step, with as much input as it asks for; `None` at the segment's end.
    fn step(&mut self) -> Result<Option<Step>> {
        loop {
            let Some(window) = &self.window else { return Ok(None) };
            let input = Input { bytes: window.bytes(), offset: window.offset(), end: window.ended() };
            let need = if input.bytes.is_empty() { Err(Need(1)) } else { self.decoder.step(&input) };
            let Err(Need(need)) = need else { return Ok(need.ok()) };
            let have = input.bytes.len();
            if !input.end {
                assert!(need > have, "a decoder that asks for {need} bytes has {have}");
                self.fill(need)?;
            } else if have == 0 {
                return Ok(None);
            } else {
                let fault = Fault::Cut { need: need as u64, have: have as u64 };
                return Ok(Some(Step { len: have, class: Class::damage(fault) }));
            }
        }
    }

    /// Moves behind a step and decides what comes out of it now: at most one item directly, the rest by `ready`.
    fn settle(&mut self, step: Step) -> Result<Option<Item>> {
        let Some(window) = &mut self.window else { return Ok(None) };
        let offset = window.offset();
        self.looks.first_step(window, &step);
        if step.class.is_doubtful() {
            self.looks.doubt(window, &step, &*self.decoder);
        }
        let at = window.take(step.len);
        let shift = |range: Range<usize>| at + range.start..at + range.end;
        let span = |kind| Span { segment: self.segment, offset, len: step.len as u64, kind };
        let item = match step.class {
            Class::Record { piece: Piece::Full, body, meta } => {
                let body = Body::Record { meta, head: at..at + body.start, payload: shift(body) };
                Item::new(span(Kind::Record(Piece::Full)), body)
            }
            Class::Proven { fault, body, meta } => {
                let body = Body::Record { meta, head: at..at + body.start, payload: shift(body) };
                Item::new(span(Kind::Damage(fault)), body)
            }
            Class::Record { piece, body, meta } => {
                let (span, body) = (span(Kind::Record(piece)), shift(body));
                return self.join(span, body, meta);
            }
            Class::Header { durable, transaction } => {
                let body = Body::Header(at..at + step.len);
                Item { durable, transaction, ..Item::new(span(Kind::Header), body) }
            }
            Class::Gap(gap) => Item::new(span(Kind::Gap(gap)), Body::None),
            Class::Padding => {
                let span = span(Kind::Padding);
                return Ok(self.fill_between(span));
            }
            Class::Stale => return self.doubted(Item::new(span(Kind::Stale), Body::None)),
            Class::Unwritten => return self.doubted(Item::new(span(Kind::Unwritten), Body::None)),
            Class::Damage { fault, claims_commit } => {
                let Testimony { durable, commits: mut claims, hidden } = self.decoder.testimony();
                let item = Item::new(span(Kind::Damage(fault)), Body::None);
                if claims_commit {
                    claims.push(item.span.end());
                }
                return self.doubted(Item { claims, durable, hidden, ..item });
            }
            Class::Newer { what, value } => {
                let path = self.log.segment_path(self.segment).into();
                return Err(Error::TooNew { path, offset, what, value });
            }
        };
        self.good(item)
    }

    /// Something intact: what was in doubt before it is damage.
    fn good(&mut self, item: Item) -> Result<Option<Item>> {
        let within = matches!(item.span.kind, Kind::Header) && !self.open.spans.is_empty();
        if within {
            self.open.spans.push(item.span);
            return Ok(None);
        }
        if let Body::Record { meta: Meta { commit: Some(_), .. }, .. } = item.body {
            self.committed()?;
        }
        let proven = matches!(item.span.kind, Kind::Damage(_));
        if self.is_sure() && !proven {
            return Ok(Some(item));
        }
        self.abandon();
        if self.confirm(self.doubt.start().unwrap_or(item.span.offset))? {
            self.ready.extend(self.doubt.resolve_before_good());
            self.ready.push_back(item);
        }
        Ok(None)
    }

    fn fill_between(&mut self, span: Span) -> Option<Item> {
        if !self.open.spans.is_empty() {
            self.open.spans.push(span);
            None
        } else if self.doubt.is_empty() {
            Some(Item::new(span, Body::None))
        } else {
            self.doubt.push(Item::new(span, Body::None));
            None
        }
    }

    fn doubted(&mut self, item: Item) -> Result<Option<Item>> {
        self.abandon();
        self.doubt.push(item);
        self.pass_hole()?;
        Ok(None)
    }

    /// In a sparse file the zeros of a hole are passed unread, as far as the decoder knows what they are.
    fn pass_hole(&mut self) -> Result<()> {
        let Some(window) = &mut self.window else { return Ok(()) };
        if !window.bytes().iter().take(64).all(|&byte| byte == 0) {
            return Ok(());
        }
        let hole = window.hole();
        if hole < HOLE_MIN {
            return Ok(());
        }
        let offset = window.offset();
        let Some((len, class)) = self.decoder.hole(offset, hole) else { return Ok(()) };
        assert!(len <= hole, "a decoder passes more than the hole");
        window.pass(len);
        let kind = match class {
            Class::Damage { fault, .. } => Kind::Damage(fault),
            _ => Kind::Unwritten,
        };
        self.doubt.push(Item::new(Span { segment: self.segment, offset, len, kind }, Body::None));
        Ok(())
    }

    /// A piece of a record. The last one brings the others out.
    fn join(&mut self, span: Span, body: Range<usize>, meta: Meta) -> Result<Option<Item>> {
        let begins = matches!(span.kind, Kind::Record(Piece::First));
        if begins {
            self.abandon();
            self.open.joined.clear();
        } else if self.open.spans.is_empty() {
            self.doubt.push(Item::new(Span { kind: Kind::Damage(Fault::Orphan), ..span }, Body::None));
            return Ok(None);
        }
        let payload = self.window.as_ref().map_or(&[][..], |window| window.taken(body));
        if self.open.joined.len() + payload.len() > self.record_max || self.open.spans.len() >= PIECES_MAX {
            self.open.spans.push(span);
            self.abandon();
            return Ok(None);
        }
        self.open.joined.extend_from_slice(payload);
        self.open.spans.push(span);
        if matches!(span.kind, Kind::Record(Piece::Last)) && self.confirm(self.doubt.start().unwrap_or(span.offset))? {
            self.ready.extend(self.doubt.resolve_before_good());
            let spans = self.open.spans.drain(..).map(|span| Item::new(span, Body::None));
            self.ready.extend(spans);
            if let Some(last) = self.ready.back_mut() {
                last.body = Body::Joined(meta);
            }
        }
        Ok(None)
    }

    /// The open record has no end: its pieces are damage.
    fn abandon(&mut self) {
        for span in self.open.spans.drain(..) {
            self.doubt.push(Item::new(Span { kind: Kind::Damage(Fault::NoEnd), ..span }, Body::None));
        }
    }

    fn end_segment(&mut self) -> Result<()> {
        self.abandon();
        if let Some(start) = self.doubt.start().filter(|_| self.doubt.has_damage())
            && !self.confirm(start)?
        {
            return Ok(());
        }
        self.not_cut()?;
        let Some(window) = self.window.take() else { return Ok(()) };
        let len = window.offset();
        self.buffer = window.into_buffer();
        let missing = self.decoder.end(len);
        let span = |kind| Span { segment: self.segment, offset: len, len: 0, kind };
        if let Some(Class::Damage { fault, .. }) = missing {
            let Testimony { durable, .. } = self.decoder.testimony();
            self.doubt.push(Item { durable, ..Item::new(span(Kind::Damage(fault)), Body::None) });
        }
        let last = self.segment as usize + 1 == self.log.segments().len();
        self.ready.extend(self.doubt.resolve_at_end(last));
        if let Some(Class::Gap(gap)) = missing
            && !self.log.went_on(gap)
        {
            self.ready.push_back(Item::new(span(Kind::Gap(gap)), Body::None));
        }
        self.segment += 1;
        Ok(())
    }
}

/// Counts good records up to `until` or the end of the segment, or to the first step that is something else: that step.
/// `watch` sees the window after each reading, and the decoder if it stands at the window's beginning.
pub(crate) fn skim(
    window: &mut Window,
    decoder: &mut dyn Decode,
    tally: &mut Tally,
    until: Option<u64>,
    watch: &mut dyn FnMut(&Window, Option<&dyn Decode>),
) -> io::Result<Option<Step>> {
    loop {
        let left = until.map_or(u64::MAX, |until| until - window.offset());
        let bytes = window.bytes();
        let bytes = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        let input = Input { bytes, offset: window.offset(), end: window.ended() };
        let (taken, stop) = decoder.skim(&input, tally);
        window.take(taken);
        watch(window, stop.is_err().then_some(&*decoder));
        match stop {
            Ok(step) => return Ok(Some(step)),
            Err(Need(need)) if window.ended() || need as u64 > left - taken as u64 => return Ok(None),
            Err(Need(need)) => window.fill(need)?,
        }
    }
}
