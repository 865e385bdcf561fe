//! The oracle: what was attempted, and what was acknowledged. It knows what a program that calls the log knows, and nothing of how the
//! log does it.

use std::ops::RangeInclusive;

use waltool::formats::native::layout::Lsn;

use crate::chance::Chance;

/// Bytes of a COMMIT record: a checkpoint of a part starts behind one.
const COMMIT_LEN: u64 = 48;

/// What kind of transaction; with a number it says every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Mark,
    Data(usize),
    Write(usize),
    SetLen,
    Mixed(usize),
}

/// An entry of a transaction, as it went in or as it came out.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    Data(Vec<u8>),
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Checkpoint { redo_lsn: Lsn, target_len: u64 },
}

/// All that a transaction holds follows from its number.
pub fn content(number: u64, shape: Shape) -> Vec<Change> {
    let bytes = |part: u64, len: usize| {
        let mut bytes = vec![0; len];
        Chance::new(number << 8 | part).fill(&mut bytes);
        // A byte by itself says whose it is.
        bytes[0] = number as u8;
        bytes
    };
    let offset = number * 1237 % 9000;
    match shape {
        Shape::Mark => Vec::new(),
        Shape::Data(len) => vec![Change::Data(bytes(0, len))],
        Shape::Write(len) => vec![Change::Write { offset, bytes: bytes(1, len) }],
        Shape::SetLen => vec![Change::SetLen(offset + number)],
        Shape::Mixed(len) => vec![
            Change::Write { offset, bytes: bytes(2, len) },
            Change::Data(bytes(3, len.div_ceil(2))),
            Change::SetLen(offset + len as u64 + number),
            Change::Data(bytes(4, 1)),
            Change::Write { offset: offset + 2 * len as u64, bytes: bytes(5, len) },
        ],
    }
}

/// What a log gave as one transaction.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    pub transaction: u64,
    pub lsn: Lsn,
    pub changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Transaction(Shape),
    /// All before `since` is applied, the last of it committed at `applied`.
    Checkpoint {
        since: usize,
        applied: Lsn,
    },
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    number: u64,
    what: What,
    /// Once the commit has returned.
    lsn: Option<Lsn>,
}

/// What a program may rely on.
#[derive(Clone, Debug, Default)]
pub struct Model {
    attempted: Vec<Attempt>,
    next: u64,
    /// So many survive a power cut.
    durable: usize,
    /// So many survive the end of the process.
    written: usize,
}

impl Model {
    fn attempt(&mut self, what: What) -> u64 {
        let number = self.next;
        self.next += 1;
        self.attempted.push(Attempt { number, what, lsn: None });
        number
    }

    /// A transaction is about to be committed. Gives its number.
    pub fn commits(&mut self, shape: Shape) -> u64 {
        self.attempt(What::Transaction(shape))
    }

    /// A checkpoint is about to be made. Gives the commit up to which everything is applied, `back` before the last of which the
    /// place is known, and the length of the target; `None` where no place is known that no earlier checkpoint has passed.
    pub fn checkpoints(&mut self, back: usize) -> Option<(Lsn, u64)> {
        let passed = self.begin_of(self.attempted.len());
        let known: Vec<_> = (passed..self.attempted.len()).filter(|&at| self.attempted[at].lsn.is_some()).collect();
        let at = *known.get(known.len().checked_sub(1 + back)?)?;
        let applied = self.attempted[at].lsn?;
        let number = self.attempt(What::Checkpoint { since: at + 1, applied });
        Some((applied, target_len(number)))
    }

    /// The last commit has returned.
    pub fn returned(&mut self, lsn: Lsn) {
        if let Some(last) = self.attempted.last_mut() {
            last.lsn = Some(lsn);
        }
    }

    /// The last attempt was refused: nothing of it was logged.
    pub fn refused(&mut self) {
        self.attempted.pop();
    }

    /// All that was attempted is acknowledged as handed to the system.
    pub fn all_written(&mut self) {
        self.written = self.attempted.len();
    }

    /// All that was attempted is acknowledged as durable.
    pub fn all_durable(&mut self) {
        self.all_written();
        self.durable = self.written;
    }

    /// All below is said to be durable, whatever failed behind it.
    pub fn durable_below(&mut self, from: Lsn) {
        let below = self.attempted.iter().rposition(|attempt| attempt.lsn.is_some_and(|lsn| lsn < from));
        self.durable = self.durable.max(below.map_or(0, |at| at + 1));
        self.written = self.written.max(self.durable);
    }

    /// The power failed, or what was handed to the system may be lost in another way.
    pub fn crashed(&self) -> Self {
        Self { written: self.durable, ..self.clone() }
    }

    /// Nothing was acknowledged.
    pub fn owes_nothing(&self) -> bool {
        self.written == 0
    }

    /// The last commit that was acknowledged as durable.
    pub fn acknowledged(&self) -> Option<Lsn> {
        self.attempted[..self.durable].iter().rev().find_map(|attempt| attempt.lsn)
    }

    /// The last commit that has returned.
    pub fn last_returned(&self) -> Option<Lsn> {
        self.attempted.iter().rev().find_map(|attempt| attempt.lsn)
    }

    /// A log was opened and gave this: no less than was acknowledged, nothing that was not attempted, in order and byte by byte. It
    /// is all there will be from now on.
    pub fn opened(&mut self, given: &[Given], end: Lsn) -> Result<(), String> {
        let has = self.agree(given)?;
        let owed = self.written;
        if *has.end() < owed {
            return Err(format!("{owed} were acknowledged, {} are there", has.end()));
        }
        let known = self.attempted[..owed].iter().filter_map(|attempt| attempt.lsn).max();
        if let Some(lsn) = known.filter(|lsn| *lsn >= end) {
            return Err(format!("the commit at {lsn} was acknowledged, the log ends at {end}"));
        }
        self.attempted.truncate(owed.max(*has.start()));
        self.all_durable();
        Ok(())
    }

    /// A log that is open gives all that was attempted.
    pub fn has_all(&self, given: &[Given]) -> Result<(), String> {
        let has = self.agree(given)?;
        let all = self.attempted.len();
        if has.contains(&all) { Ok(()) } else { Err(format!("{has:?} of {all} are there")) }
    }

    /// How many of the attempted a log has. It cannot tell about marks at the end, which have no entries.
    fn agree(&self, given: &[Given]) -> Result<RangeInclusive<usize>, String> {
        if let Some(pair) = given.windows(2).find(|pair| pair[0].transaction >= pair[1].transaction) {
            return Err(format!("transaction {} before {}", pair[0].transaction, pair[1].transaction));
        }
        let mut begins: Vec<usize> = self.checkpointed().map(|(_, since)| since).chain([0]).collect();
        begins.dedup();
        let mut why = Vec::new();
        for begin in begins {
            match self.run_from(begin, given) {
                Ok(has) if self.begin_of(*has.start()) == begin => return Ok(has),
                Ok(has) => why.push(format!("{has:?}, but it begins at {begin}")),
                Err(error) => why.push(format!("from {begin} on: {error}")),
            }
        }
        Err(format!("{} transactions that are not what was attempted: {}", given.len(), why.join("; ")))
    }

    /// Checkpoints that were attempted: where each stands, and what the log begins with after it.
    fn checkpointed(&self) -> impl Iterator<Item = (usize, usize)> {
        self.attempted.iter().enumerate().filter_map(|(at, attempt)| match attempt.what {
            What::Checkpoint { since, .. } => Some((at, since)),
            What::Transaction(_) => None,
        })
    }

    /// What a log begins with that has so many of the attempted.
    fn begin_of(&self, count: usize) -> usize {
        self.checkpointed().filter(|(at, _)| *at < count).map(|(_, since)| since).max().unwrap_or(0)
    }

    fn run_from(&self, begin: usize, given: &[Given]) -> Result<RangeInclusive<usize>, String> {
        let mut next = begin;
        for one in given {
            next = self.with_entries(next).ok_or("more than was attempted")?;
            self.attempted[next].is(one).map_err(|error| format!("number {next}: {error}"))?;
            next += 1;
        }
        Ok(next..=self.with_entries(next).unwrap_or(self.attempted.len()))
    }

    /// The first from `at` on that is no mark.
    fn with_entries(&self, at: usize) -> Option<usize> {
        let is_none = |attempt: &Attempt| matches!(attempt.what, What::Transaction(Shape::Mark));
        (at..self.attempted.len()).find(|&at| !is_none(&self.attempted[at]))
    }

    /// The target after the first `count` of the attempted.
    pub fn target(&self, count: usize) -> Vec<u8> {
        let mut target = Vec::new();
        for attempt in &self.attempted[..count] {
            if let What::Transaction(shape) = attempt.what {
                content(attempt.number, shape).iter().for_each(|change| change.apply(&mut target));
            }
        }
        target
    }

    /// How many were attempted; after an opening, how many there are.
    pub fn count(&self) -> usize {
        self.attempted.len()
    }

    /// What the log begins with.
    pub fn begin(&self) -> usize {
        self.begin_of(self.attempted.len())
    }
}

fn target_len(number: u64) -> u64 {
    number * 31 + 5
}

impl Attempt {
    fn is(&self, given: &Given) -> Result<(), String> {
        let same = match self.what {
            What::Transaction(shape) => content(self.number, shape) == given.changes,
            What::Checkpoint { applied, .. } => {
                // The log begins anew with it, or goes on behind what is applied.
                let [Change::Checkpoint { redo_lsn, target_len: len }] = given.changes[..] else {
                    return Err("no checkpoint".into());
                };
                len == target_len(self.number) && (redo_lsn == given.lsn || redo_lsn == Lsn(applied.0 + COMMIT_LEN))
            }
        };
        if same { Ok(()) } else { Err(format!("{:?} is something else at {}", self.what, given.lsn)) }
    }
}

impl Change {
    fn apply(&self, target: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let start = *offset as usize;
                target.resize(target.len().max(start + bytes.len()), 0);
                target[start..start + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(len) => target.resize(*len as usize, 0),
            Self::Data(_) | Self::Checkpoint { .. } => {}
        }
    }
}
