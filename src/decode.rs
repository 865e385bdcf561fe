//! The contract of a format's parser: a pure step over a slice. It knows no files, loops over nothing, and allocates
//! by nothing it read.

use std::any::Any;
use std::ops::Range;

use crate::span::{Fault, Gap, Piece};
use crate::tally::{Tally, Unproven};

/// A segment's bytes from `offset` on, as far as they were read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is at hand. How much that is has no meaning: ask with [`first`](Self::first) and [`upto`](Self::upto).
    pub bytes: &'a [u8],
    /// Where `bytes` begins in the segment.
    pub offset: u64,
    /// No more will come: `bytes` runs to the segment's end.
    pub end: bool,
}

/// "Call again when at least this many bytes are at hand."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need(
    /// Bytes, counted from the input's offset.
    pub usize,
);

impl<'a> Input<'a> {
    /// Exactly `n` bytes. `Need` at the segment's end means that the structure is cut.
    #[inline]
    pub fn first(&self, n: usize) -> Result<&'a [u8], Need> {
        self.bytes.get(..n).ok_or(Need(n))
    }

    /// `n` bytes, or fewer where the segment ends before.
    #[inline]
    pub fn upto(&self, n: usize) -> Result<&'a [u8], Need> {
        match self.bytes.get(..n) {
            Some(bytes) => Ok(bytes),
            None if self.end => Ok(self.bytes),
            None => Err(Need(n)),
        }
    }

    /// The same input, `n` bytes further on.
    #[inline]
    pub fn skip(&self, n: usize) -> Input<'a> {
        let n = n.min(self.bytes.len());
        Input { bytes: &self.bytes[n..], offset: self.offset + n as u64, end: self.end }
    }
}

/// The next `len` bytes, and what they are. `len` is at least 1, except for [`Class::Gap`], where it is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken.
    pub len: usize,
    /// What they are.
    pub class: Class,
}

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A header; `durable` is a promise it makes, as an offset in this segment: everything below had reached the disk.
    Header {
        /// See there.
        durable: u64,
        /// The number of the first transaction behind it; 0 where it does not say.
        transaction: u64,
    },
    /// Prescribed fill.
    Padding,
    /// Intact bytes of an earlier life of the file.
    Stale,
    /// Zeros that may be preallocated space.
    Unwritten,
    /// Bad bytes.
    Damage {
        /// What is wrong.
        fault: Fault,
        /// What stands here calls itself a commit.
        claims_commit: bool,
    },
    /// A record, or a piece of one, whose checks hold.
    Record {
        /// How much of the record.
        piece: Piece,
        /// The payload, as a range in the step's bytes.
        body: Range<usize>,
        /// What the record says of itself. Only that of the last piece counts.
        meta: Meta,
    },
    /// A record whose own frame is hit, but whose content a later record proves.
    Proven {
        /// What is wrong with the frame.
        fault: Fault,
        /// The payload, as a range in the step's bytes.
        body: Range<usize>,
        /// What the record says of itself.
        meta: Meta,
    },
    /// A part of the log is missing here.
    Gap(Gap),
    /// Intact, but of a version that this program does not know: the scan ends with an error.
    Newer {
        /// The field that says so.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

impl Class {
    /// There is, or may be, something wrong with it.
    pub(crate) fn is_doubtful(&self) -> bool {
        matches!(self, Self::Damage { .. } | Self::Proven { .. } | Self::Stale | Self::Unwritten)
    }

    /// Bad bytes that do not call themselves a commit.
    pub fn damage(fault: Fault) -> Self {
        Self::Damage { fault, claims_commit: false }
    }
}

/// A whole record that neither ends anything nor changes what a decoder knows. See [`Decode::plain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Bytes taken.
    pub len: usize,
    /// The payload, as a range in them.
    pub body: Range<usize>,
    /// What the record says of itself.
    pub meta: Meta,
}

/// What a record says of itself, for folds that know no format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The record's position in the format's own terms; printed by [`Format::position`](crate::format::Format::position).
    pub lsn: u64,
    /// The transaction that the record belongs to, from 1; 0 where that is not known, or the format has none.
    pub transaction: u64,
    /// The record ends a transaction.
    pub commit: Option<Commit>,
    /// Everything below this offset of the segment had reached the disk when the record was made; 0 is no promise.
    pub durable: u64,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Offset of the transaction's first record; `None` where damage hides it.
    pub first: Option<u64>,
    /// It counts as a transaction; a repetition of the one before, or a mark of closing, does not.
    pub counts: bool,
    /// When, in nanoseconds since 1970; `None` where the format does not say.
    pub time: Option<u64>,
}

/// What damaged bytes still say. See [`Decode::testimony`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Testimony {
    /// The highest promise in them, as an offset in the segment; 0 is none.
    pub durable: u64,
    /// Where the intact commits in them end that count as transactions.
    pub commits: Unproven,
    /// All intact commits in them.
    pub hidden: Hidden,
}

/// Intact commits that damage hides: they are known, but not read as records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// How they go on from what stands before them.
    pub opening: Opening,
    /// The number of the last of those that count as a transaction; 0 is none.
    pub last: u64,
    /// Records of their transactions that are intact too, themselves included.
    pub records: u64,
}

impl Hidden {
    /// With those that follow.
    pub(crate) fn join(&mut self, next: Hidden) {
        self.opening.join(next.opening);
        self.last = if next.last > 0 { next.last } else { self.last };
        self.records += next.records;
    }
}

/// How a part of a log goes on from what stands before it: by the lowest number that one of its intact commits has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The number; 0 where there is none.
    pub transaction: u64,
    /// Where the transaction of that number begins, and the last of them where there are several; 0 where damage hides it.
    pub first: u64,
}

impl Opening {
    /// With that of the part that follows.
    pub(crate) fn join(&mut self, next: Opening) {
        let lower = self.transaction == 0 || next.transaction < self.transaction;
        if next.transaction > 0 && (lower || next.transaction == self.transaction && next.first > self.first) {
            *self = next;
        }
    }
}

/// Earlier bytes by which a place was judged. See [`Decode::premise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Premise {
    /// Where they stand in the segment.
    pub offset: u64,
    /// What they were.
    pub bytes: [u8; 8],
}

/// What a decoder learns of a segment before its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// Its index in the log, from 0.
    pub segment: u32,
    /// The number in its name, where its name has one.
    pub number: Option<u64>,
    /// The log is a single file, given without its neighbours: nothing can be said to be missing.
    pub alone: bool,
    /// The identity that most segments share; `None` where that is not known, or the format has none.
    pub log_id: Option<[u8; 16]>,
    /// The first bytes of the next segment (at most [`HEAD_LEN`]); `None` for the last.
    pub next: Option<&'a [u8]>,
}

/// How much of the next segment a decoder may see.
pub const HEAD_LEN: usize = 8192;

/// A place where reading can begin without the bytes before it. See [`Decode::fork`].
pub struct Fork {
    /// A decoder that stands at `offset`.
    pub decoder: Box<dyn Decode + Send>,
    /// Where the bytes begin that it must be given.
    pub offset: u64,
    /// What [`Tally::records`] counts from here on begins at this offset: lower bytes are read, but belong to the part before.
    pub counts_from: u64,
}

/// A format's only parser. **For implementations:** `step` must move forward (`len` > 0) except when it returns a
/// [`Class::Gap`]; when it returns [`Need`] nothing in `self` has changed; it never looks at `input.bytes.len()`.
pub trait Decode: Any {
    /// A segment begins. State of the chain (log id, nonces, sequence) stays; state within a segment is reset.
    fn begin(&mut self, begin: &Begin<'_>);

    /// Takes the next bytes. Called only while there is at least one byte.
    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need>;

    /// Called after a step, or an [`end`](Self::end), that gave [`Class::Damage`]: what those bytes still testify, in a format that can tell a commit by
    /// itself, though nothing leads up to it. It is evidence for the verdict; what stands there is not read as records.
    fn testimony(&mut self) -> Testimony {
        Testimony::default()
    }

    /// A copy, with which reading can begin here once more; `None` where a writer may still change bytes before this place,
    /// or where the format cannot. Also asked between [`begin`](Self::begin) and the first step.
    fn copy(&self) -> Option<Box<dyn Decode + Send>> {
        None
    }

    /// Called after a step that took no good bytes, or mended ones: those before it that it was judged by, where a writer may still change them.
    fn premise(&self) -> Option<Premise> {
        None
    }

    /// The segment has ended after `len` bytes: what is missing there, as [`Class::Gap`], or as [`Class::Damage`] when
    /// the segment is known to have been longer.
    fn end(&mut self, len: u64) -> Option<Class> {
        let _ = len;
        None
    }

    /// The next `len` bytes are a hole of a sparse file, all zeros. How many of them can be passed in one step, and as
    /// what; `None`: read them.
    fn hole(&mut self, offset: u64, len: u64) -> Option<(u64, Class)> {
        let _ = (offset, len);
        None
    }

    /// A decoder that begins in the middle of the present segment, at or behind `near`, as if everything before had been
    /// good; `None` where the format cannot. Called after the segment's header was read.
    fn fork(&self, near: u64) -> Option<Fork> {
        let _ = near;
        None
    }

    /// This decoder began in the middle of a segment and has read its part; `before`, of the same format, has read all that comes before that.
    /// From here on it knows what it would know if it had read both.
    fn follow(&mut self, before: &dyn Decode) {
        let _ = before;
    }

    /// What `step` would take next, if that is an intact, whole record that is at hand; `None` leaves the rest to `step`, and
    /// `self` unchanged. Only for speed: a counted record costs no [`Step`].
    fn plain(&mut self, input: &Input<'_>) -> Option<Plain> {
        let _ = input;
        None
    }

    /// Takes as many good, whole records (and padding between them) as are at hand, and counts them: the bytes taken,
    /// and the step that came then, which is not counted.
    ///
    /// This is `step` in a loop and nothing more. It stands here so that the loop is compiled once per format with the
    /// step inlined: one dynamic call per window instead of one per record.
    fn skim(&mut self, input: &Input<'_>, tally: &mut Tally) -> (usize, Result<Step, Need>) {
        let mut taken = 0;
        loop {
            let rest = input.skip(taken);
            if let Some(Plain { len, meta, .. }) = self.plain(&rest) {
                taken += len;
                tally.add(&meta, input.offset + taken as u64);
                continue;
            }
            if rest.bytes.is_empty() {
                return (taken, Err(Need(1)));
            }
            match self.step(&rest) {
                Ok(Step { len, class: Class::Record { piece: Piece::Full, meta, .. } }) => {
                    taken += len;
                    tally.add(&meta, input.offset + taken as u64);
                }
                Ok(Step { len, class: Class::Padding }) => taken += len,
                other => return (taken, other),
            }
        }
    }
}
