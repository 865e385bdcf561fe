//! What a repair would change, as data, and what is lost by it: told before anything is done.

use std::fmt::{self, Display};

use crate::error::{Error, Result};
use crate::format::Format;
use crate::log::{Log, len_of};
use crate::ranges::Ranges;
use crate::report::{Counted, Place, Report, Totals};
use crate::scan::Scan;
use crate::span::Kind;
use crate::tally::Tally;
use crate::verdict::Verdict;

/// What the caller wants and permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Cut at the first damage even where acknowledged data stands behind it.
    pub cut_at_damage: bool,
    /// What that loses is accepted.
    pub accept_loss: bool,
    /// Flip back single bits that explain failed checks, and cut nothing.
    pub fix_bit: bool,
}

/// One change to one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The segment ends here from now on.
    Truncate {
        /// Its index in the log, from 0.
        segment: u32,
        /// Its new length in bytes.
        at: u64,
        /// Bytes that go.
        len: u64,
    },
    /// The whole segment goes.
    Remove {
        /// Its index in the log, from 0.
        segment: u32,
        /// Bytes that go.
        len: u64,
    },
    /// One bit is turned over.
    Patch {
        /// The segment's index in the log, from 0.
        segment: u32,
        /// The byte, counted from the segment's start.
        offset: u64,
        /// The bit of that byte, 0 the least significant.
        bit: u8,
    },
}

/// Edits in the order in which they are made: an interruption between any two leaves a log for which the same wish gives
/// the rest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The verdict that the plan answers.
    pub verdict: Verdict,
    /// What is changed; nothing where nothing is wrong.
    pub edits: Vec<Edit>,
    /// A single bit explains some damage, and this plan does not use that.
    pub bit_would_help: bool,
}

impl Plan {
    /// What is to be done about `log` as `report` found it.
    ///
    /// # Errors
    /// [`Error::Refused`] where the wish does not permit what would be needed; [`Error::Read`].
    pub fn of(log: &Log, report: &Report, wish: &Wish) -> Result<Self> {
        let refused = |why: String| Err(Error::refused(log.path(), why));
        let verdict = report.verdict();
        let flips = report.faults.iter().any(|span| flip_of(span.kind).is_some());
        let edits = match verdict {
            Verdict::Clean => Vec::new(),
            _ if wish.fix_bit && flips => patches(report),
            _ if wish.fix_bit => {
                return refused("no damage here is explained by a single bit; --fix-bit has nothing to fix".into());
            }
            Verdict::TornTail => cut(log, report)?,
            Verdict::Corrupt | Verdict::Incomplete if wish.cut_at_damage && wish.accept_loss => cut(log, report)?,
            Verdict::Corrupt | Verdict::Incomplete => return refused(why_not(log, report, wish, flips)),
        };
        Ok(Self { verdict, edits, bit_would_help: flips && !wish.fix_bit })
    }

    /// Ends `log` behind the last whole transaction before the first damage; for a copy, in which what is not committed has
    /// no business.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn of_committed(log: &Log, report: &Report) -> Result<Self> {
        let Totals { end, committed_end, .. } = report.prefix;
        let place = if log.format().has_transactions() { committed_end } else { end };
        Ok(Self { verdict: report.verdict(), edits: cut_at(log, place)?, bit_would_help: false })
    }

    /// Nothing would be left of `log`.
    pub fn removes_all_of(&self, log: &Log) -> bool {
        let removed = self.edits.iter().filter(|edit| matches!(edit, Edit::Remove { .. })).count();
        removed == log.segments().len()
    }

    /// Bytes that leave the log.
    pub fn bytes(&self) -> u64 {
        self.edits
            .iter()
            .map(|edit| match edit {
                Edit::Truncate { len, .. } | Edit::Remove { len, .. } => *len,
                Edit::Patch { .. } => 0,
            })
            .sum()
    }

    /// Where the log ends when it was cut; `None` where nothing is cut.
    pub fn cut(&self) -> Option<Place> {
        let places = self.edits.iter().filter_map(|edit| match *edit {
            Edit::Truncate { segment, at, .. } => Some(Place { segment, offset: at }),
            Edit::Remove { segment, .. } => Some(Place { segment, offset: 0 }),
            Edit::Patch { .. } => None,
        });
        places.min()
    }
}

fn flip_of(kind: Kind) -> Option<crate::bitflip::Flip> {
    match kind {
        Kind::Damage(fault) | Kind::Torn(fault) => fault.flip(),
        _ => None,
    }
}

fn patches(report: &Report) -> Vec<Edit> {
    let flips = report.faults.iter().filter_map(|span| Some((span.segment, flip_of(span.kind)?)));
    flips.map(|(segment, flip)| Edit::Patch { segment, offset: flip.offset, bit: flip.bit }).collect()
}

/// Cuts where the valid part ends; where that would not be a log, behind its last commit.
fn cut(log: &Log, report: &Report) -> Result<Vec<Edit>> {
    let fault =
        report.first_fault().map_or(Place::default(), |span| Place { segment: span.segment, offset: span.offset });
    let end = report.prefix.end;
    // The seal that names a missing successor stands behind the last commit, and would name it after the cut too.
    let missing = report.faults.iter().any(|span| matches!(span.kind, Kind::Gap(_)) && span.segment <= end.segment + 1);
    let committed = missing || end.segment < fault.segment || end.offset < log.format().shortest();
    cut_at(log, if committed { report.prefix.committed_end } else { end })
}

/// The last segments first and the truncation last, so that what is left behind an interruption is cut at the same place.
fn cut_at(log: &Log, place: Place) -> Result<Vec<Edit>> {
    let count = log.segments().len() as u32;
    let shortest = log.format().shortest();
    let mut edits = Vec::new();
    for segment in (place.segment..count).rev() {
        let was = len_of(&**log.disk(), log.segment_path(segment))?;
        match segment {
            _ if segment > place.segment || place.offset < shortest => {
                edits.push(Edit::Remove { segment, len: was });
            }
            _ if was > place.offset => {
                edits.push(Edit::Truncate { segment, at: place.offset, len: was - place.offset });
            }
            _ => {}
        }
    }
    Ok(edits)
}

fn why_not(log: &Log, report: &Report, wish: &Wish, flips: bool) -> String {
    let quoted = crate::quoted(log.path());
    let mut why = match report.proof() {
        Some(proof) => format!("the log is {}: {proof}", report.verdict()),
        None => format!("the log is {}", report.verdict()),
    };
    if wish.cut_at_damage {
        why.push_str("\n  cutting loses what stands behind the damage; --cut-at-damage needs --accept-loss with it");
        return why;
    }
    // A line each, so that it can be copied.
    if flips {
        why.push_str(&format!("\n  one bit explains the damage:     waltool repair --fix-bit {quoted}"));
    }
    why.push_str(&format!(
        "\n  to keep all whole transactions:  waltool repair --salvage --output NEW {quoted}\
         \n  to cut nevertheless:             waltool repair --cut-at-damage --accept-loss {quoted}"
    ));
    why
}

/// What a plan loses, and what it keeps.
#[derive(Clone)]
pub struct Loss {
    /// Bytes that go.
    pub bytes: u64,
    /// Damaged or missing places among them.
    pub damaged: u64,
    /// Intact records among them.
    pub records: u64,
    /// Whole transactions among them.
    pub transactions: u64,
    /// Commits among them whose transaction is hit.
    pub broken_transactions: u64,
    /// LSN of the first intact record that goes.
    pub first: Option<u64>,
    /// LSN of the last intact record that goes.
    pub last: Option<u64>,
    /// What those records write in the target.
    pub touches: Ranges,
    /// Records that stay.
    pub kept_records: u64,
    /// Whole transactions that stay.
    pub kept_transactions: u64,
    /// LSN of the last commit that stays.
    pub kept_commit: Option<u64>,
    format: &'static dyn Format,
}

impl Loss {
    /// What `plan` loses of `log`. Reads the log once more where something intact goes.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn of(log: &Log, report: &Report, plan: &Plan) -> Result<Self> {
        let (before, behind) = (&report.prefix, &report.beyond);
        let mut loss = Self {
            bytes: plan.bytes(),
            damaged: 0,
            records: 0,
            transactions: 0,
            broken_transactions: 0,
            first: None,
            last: None,
            touches: Ranges::default(),
            kept_records: before.records,
            kept_transactions: before.transactions,
            kept_commit: before.committed,
            format: log.format(),
        };
        let Some(cut) = plan.cut() else { return Ok(loss) };
        loss.damaged = report.fault_count;
        loss.transactions = behind.transactions;
        loss.broken_transactions = behind.commits - behind.transactions;
        let at_fault = cut == before.end;
        if !at_fault {
            loss.kept_records = before.committed_records;
        }
        if behind.records > 0 || loss.kept_records < before.records {
            loss.look(log, cut, at_fault)?;
        }
        Ok(loss)
    }

    fn look(&mut self, log: &Log, cut: Place, at_fault: bool) -> Result<()> {
        let mut scan = Scan::new(log);
        let mut met_fault = false;
        loop {
            if at_fault && !met_fault {
                scan.skim(&mut Tally::default(), None, &mut |_| ())?;
            }
            let Some(found) = scan.next()? else { return Ok(()) };
            met_fault |= matches!(found.span.kind, Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_));
            let place = Place { segment: found.span.segment, offset: found.span.offset };
            let Some(record) = found.record.filter(|_| place >= cut) else { continue };
            self.records += 1;
            self.first.get_or_insert(record.meta.lsn);
            self.last = Some(record.meta.lsn);
            self.touches.add_record(self.format, &record);
        }
    }
}

impl Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = self.format.record_noun();
        writeln!(f, "goes:  {}, {}", Counted(self.bytes, "byte"), Counted(self.damaged, "damaged place"))?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let (first, last) = (self.format.position(first), self.format.position(last));
            write!(f, "       {} intact ({first} to {last})", Counted(self.records, noun))?;
            writeln!(
                f,
                ", {}, {} hit",
                Counted(self.transactions, "whole transaction"),
                Counted(self.broken_transactions, "transaction")
            )?;
        }
        if !self.touches.is_empty() {
            writeln!(f, "       they write {} of the target", self.touches)?;
        }
        write!(f, "stays: {}", Counted(self.kept_records, noun))?;
        write!(f, ", {}", Counted(self.kept_transactions, "transaction"))?;
        match self.kept_commit {
            Some(commit) => write!(f, ", the last at {}", self.format.position(commit)),
            None => Ok(()),
        }
    }
}
