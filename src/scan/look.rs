//! The second look: a log may be written while it is read, so damage is only believed of bytes that stay as they were judged.
//!
//! What was read as zeros, or as half a record, may be whole a moment later, and a promise read after that tells of it as
//! durable. So whoever promised that the bytes in doubt were final did so before they are looked at again here: where they
//! are the same, the damage is real. Where they are not, the scan goes back and reads on from there. It gets on, since the
//! source has the length that it had when it was opened.
//!
//! Where a writer may still change what it has not committed, an intact record behind the damage is not the last word, and the
//! commit behind it asks for one more look.

use super::Scan;
use crate::decode::{Class, Decode, Premise, Step};
use crate::error::{Error, Result};
use crate::window::{WINDOW, Window};

/// Bytes that are compared, where one step took fewer: it may have been judged by what follows it.
const LOOK: usize = 32 * 1024;
/// How much of a segment's beginning is compared; it holds every format's header.
const HEAD: usize = 128;
/// A place that is found changed so often in a row is written over faster than it can be read.
const RETURNS_MAX: u32 = 64;

/// What a second look needs to know of the first.
#[derive(Default)]
pub(super) struct Looks {
    /// How the present segment began.
    head: Vec<u8>,
    /// The first bad bytes in doubt, with what they were judged by.
    doubted: Option<Doubted>,
    /// The first damage since the last commit that was found the same, though its writer may yet change it.
    believed: Option<Doubted>,
    /// Where the scan can begin again.
    mark: Option<Mark>,
    /// The last place it went back to, and how often in a row.
    returns: (u64, u32),
    /// How often it went back at all.
    pub(super) met: u64,
}

struct Doubted {
    offset: u64,
    bytes: Vec<u8>,
    premise: Option<Premise>,
}

struct Mark {
    offset: u64,
    decoder: Box<dyn Decode + Send>,
}

impl Looks {
    /// What was yielded as damage may still turn out to be none.
    pub(super) fn is_open(&self) -> bool {
        self.believed.is_some()
    }

    /// A segment begins.
    pub(super) fn begin(&mut self, window: &Window, decoder: &dyn Decode) {
        *self = Self { met: self.met, ..Self::default() };
        self.mark(window, decoder);
    }

    /// Nothing is in doubt where the decoder stands, so the scan can go back to here; now and then is enough.
    pub(super) fn mark(&mut self, window: &Window, decoder: &dyn Decode) {
        let offset = window.offset();
        let near = self.mark.as_ref().is_some_and(|mark| offset < mark.offset + WINDOW as u64);
        if !near
            && window.file_len().is_some()
            && let Some(decoder) = decoder.copy()
        {
            self.mark = Some(Mark { offset, decoder });
        }
    }

    /// A step is about to be taken from the window.
    #[inline]
    pub(super) fn first_step(&mut self, window: &Window, step: &Step) {
        if window.offset() == 0 && window.file_len().is_some() {
            self.head = window.bytes()[..step.len.min(HEAD)].to_vec();
        }
    }

    /// A step is about to be taken that is in doubt.
    pub(super) fn doubt(&mut self, window: &Window, step: &Step, decoder: &dyn Decode) {
        if self.doubted.is_none() && window.file_len().is_some() {
            let bytes = window.bytes();
            let bytes = bytes[..bytes.len().min(step.len.max(LOOK))].to_vec();
            self.doubted = Some(Doubted { offset: window.offset(), bytes, premise: decoder.premise() });
        }
    }
}

impl Scan<'_> {
    /// Whether what is in doubt from `start` on is still as it was judged. If not, the scan stands before it again.
    pub(super) fn confirm(&mut self, start: u64) -> Result<bool> {
        let Some(doubted) = self.looks.doubted.take() else { return Ok(true) };
        self.same_life(start)?;
        let same = self.is_same(&doubted)?;
        if !same {
            self.go_back(start)?;
        } else if self.decoder.copy().is_none() {
            self.looks.believed.get_or_insert(doubted);
        }
        Ok(same)
    }

    /// A commit was read: what was believed before it is final.
    pub(super) fn committed(&mut self) -> Result<()> {
        let Some(believed) = self.looks.believed.take() else { return Ok(()) };
        if self.is_same(&believed)? { Ok(()) } else { Err(self.rewritten(believed.offset)) }
    }

    fn is_same(&mut self, doubted: &Doubted) -> Result<bool> {
        let same_premise = match &doubted.premise {
            Some(Premise { offset, bytes }) => self.still_has(*offset, bytes)?,
            None => true,
        };
        Ok(same_premise && self.still_has(doubted.offset, &doubted.bytes)?)
    }

    /// The segment begins as it did.
    fn same_life(&mut self, offset: u64) -> Result<()> {
        let head = std::mem::take(&mut self.looks.head);
        // Where the beginning itself is in doubt, it may change as any other place.
        let same = offset == 0 || self.still_has(0, &head)?;
        self.looks.head = head;
        if same { Ok(()) } else { Err(self.rewritten(0)) }
    }

    /// The file has not lost anything but what stood behind all that is valid: a writer that closes gives back the zeros that
    /// it had before it.
    pub(super) fn not_cut(&mut self) -> Result<()> {
        let len = self.offset();
        let Some(was) = self.window.as_ref().and_then(Window::file_len).filter(|&was| was > len) else { return Ok(()) };
        self.same_life(len)?;
        let valid = self.doubt.start().unwrap_or(len);
        let path = || self.log.segment_path(self.segment).into();
        let now = self.window.as_ref().map_or(Ok(len), Window::len_now);
        let now = now.map_err(|cause| Error::Read { path: path(), offset: Some(len), cause })?;
        if now < valid || self.doubt.has_damage() {
            return Err(Error::Changed { path: path(), was, now: now.min(len) });
        }
        Ok(())
    }
    fn still_has(&mut self, offset: u64, bytes: &[u8]) -> Result<bool> {
        let Some(window) = &mut self.window else { return Ok(true) };
        window.still_has(offset, bytes).map_err(|cause| Error::Read {
            path: self.log.segment_path(self.segment).into(),
            offset: Some(offset),
            cause,
        })
    }

    /// Takes up reading at a place where it has been, with the decoder as it was there. What stands before it was yielded.
    fn go_back(&mut self, to: u64) -> Result<()> {
        let times = if self.looks.returns.0 == to { self.looks.returns.1 + 1 } else { 1 };
        self.looks.returns = (to, times);
        self.looks.met += 1;
        let mark = self.looks.mark.as_ref().filter(|_| times <= RETURNS_MAX);
        let Some((from, decoder)) = mark.and_then(|mark| Some((mark.offset, mark.decoder.copy()?))) else {
            return Err(self.rewritten(to));
        };
        self.decoder = decoder;
        self.doubt.clear();
        self.open.spans.clear();
        if let Some(window) = &mut self.window {
            window.restart(from);
        }
        while self.offset() < to {
            match self.step()? {
                Some(step) if self.offset() + step.len as u64 <= to => self.pass(&step),
                _ => return Err(self.rewritten(to)),
            }
        }
        Ok(())
    }

    fn pass(&mut self, step: &Step) {
        if let Class::Damage { .. } = step.class {
            self.decoder.testimony();
        }
        self.window.as_mut().map(|window| window.take(step.len));
    }

    fn rewritten(&self, offset: u64) -> Error {
        Error::Rewritten { path: self.log.segment_path(self.segment).into(), offset }
    }
}
