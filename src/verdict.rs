//! The verdict: one answer to a log, by a table that can be walked whole.
//!
//! A valid record behind the damage does not by itself prove corruption, because unsynced sectors reach the disk in any
//! order. So a *promise* decides where the format makes one, then an intact *commit* behind the damage, and a segment
//! that continues behind it always does.

use std::fmt::{self, Display};

/// What a log is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every byte is accounted for.
    Clean,
    /// What a crash leaves: cutting it loses nothing that is proven acknowledged.
    TornTail,
    /// A segment is missing, doubled, foreign or out of order; what is there is intact.
    Incomplete,
    /// Acknowledged bytes are damaged or out of reach, with the proof.
    Corrupt,
}

impl Verdict {
    /// The word in JSON and text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::TornTail => "torn-tail",
            Self::Incomplete => "incomplete",
            Self::Corrupt => "corrupt",
        }
    }

    /// The exit code that stands for it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::TornTail => 3,
            Self::Incomplete | Self::Corrupt => 4,
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Yes-or-no questions about the spans of a log. Their order is the order of the columns in [`ROWS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// There is damage, or a torn tail.
    pub fault: bool,
    /// A segment is missing, doubled, foreign or out of order.
    pub gap: bool,
    /// Some damage begins below the highest promise that could be read.
    pub promised: bool,
    /// Intact bytes contradict what the log says elsewhere, which neither a crash nor rot leaves.
    pub contradicted: bool,
    /// A later segment continues behind some damage.
    pub continued: bool,
    /// The transactions' numbers go on over the first damage, and what is damaged was none: a program wrote on behind a tear.
    pub appended: bool,
    /// Every commit of this format carries a promise, so that where none covers the damage a crash explains it.
    pub promising: bool,
    /// An intact commit stands behind the damage.
    pub commit_behind: bool,
    /// All damage is unlinked beginnings of runs that link, without a commit: rolled-back transactions.
    pub leftover: bool,
}

/// A row of the decision table: answers (`1` yes, `0` no, `-` either) and what follows from them.
pub struct Row {
    /// Its name, in tests and documents.
    pub label: char,
    /// One character per question, in the order of [`Evidence`]'s fields.
    pub pattern: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// Why this is right.
    pub why: &'static str,
}

/// The decision table. Exactly one row fits any evidence.
pub const ROWS: [Row; 12] = [
    row('A', "00-------", Verdict::Clean, "nothing is wrong, nothing is missing"),
    row('B', "01-------", Verdict::Incomplete, "what is there is intact, but not all of it is there"),
    row('C', "1-1------", Verdict::Corrupt, "the log itself says that the damaged bytes had been synced"),
    row('L', "1-01-----", Verdict::Corrupt, "intact bytes contradict each other, which no crash leaves"),
    row('D', "1-001----", Verdict::Corrupt, "a later segment is begun only when the one before is whole"),
    row(
        'K',
        "1-0001---",
        Verdict::Corrupt,
        "a program went on appending behind a torn tail: cutting there loses what it wrote",
    ),
    row('E', "1000001--", Verdict::TornTail, "no promise covers the damage: a crash before the next sync explains it"),
    row('F', "1100001--", Verdict::Incomplete, "a torn tail, and a missing segment besides"),
    row('G', "1-000001-", Verdict::Corrupt, "a later commit is intact, so what it follows was once whole"),
    row('H', "11000000-", Verdict::Incomplete, "a torn tail, and a missing segment besides"),
    row('I', "100000001", Verdict::Clean, "frames of a rolled-back transaction, which the next one will overwrite"),
    row('J', "100000000", Verdict::TornTail, "nothing committed follows: a write that never finished explains it"),
];

const fn row(label: char, pattern: &'static str, verdict: Verdict, why: &'static str) -> Row {
    Row { label, pattern, verdict, why }
}

impl Evidence {
    fn answers(&self) -> [bool; 9] {
        [
            self.fault,
            self.gap,
            self.promised,
            self.contradicted,
            self.continued,
            self.appended,
            self.promising,
            self.commit_behind,
            self.leftover,
        ]
    }

    /// The row that fits.
    pub fn judge(&self) -> &'static Row {
        let mut rows = ROWS.iter().filter(|row| row.fits(self));
        // The test below walks all 2^9 combinations: exactly one row fits each.
        rows.next().expect("a row for every evidence")
    }
}

impl Row {
    fn fits(&self, evidence: &Evidence) -> bool {
        self.pattern.bytes().zip(evidence.answers()).all(|(want, is)| match want {
            b'1' => is,
            b'0' => !is,
            _ => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(bits: u16) -> Evidence {
        let bit = |n: u16| bits >> n & 1 == 1;
        Evidence {
            fault: bit(0),
            gap: bit(1),
            promised: bit(2),
            contradicted: bit(3),
            continued: bit(4),
            appended: bit(5),
            promising: bit(6),
            commit_behind: bit(7),
            leftover: bit(8),
        }
    }

    #[test]
    fn exactly_one_row_fits_each_of_the_512_combinations() {
        let mut met = std::collections::BTreeSet::new();
        for bits in 0..512 {
            let fitting: Vec<char> = ROWS.iter().filter(|row| row.fits(&evidence(bits))).map(|row| row.label).collect();
            assert_eq!(fitting.len(), 1, "{:?} fits {fitting:?}", evidence(bits));
            met.extend(fitting);
        }
        assert_eq!(met.len(), ROWS.len(), "a row that nothing fits");
    }

    #[test]
    fn more_evidence_of_loss_never_gives_a_milder_verdict() {
        let worse: [fn(&mut Evidence); 6] = [
            |e| e.gap = true,
            |e| e.promised = true,
            |e| e.contradicted = true,
            |e| e.continued = true,
            |e| e.appended = true,
            |e| e.fault = true,
        ];
        for bits in 0..512 {
            for add in worse {
                let (before, mut after) = (evidence(bits), evidence(bits));
                add(&mut after);
                assert!(after.judge().verdict >= before.judge().verdict, "{before:?} against {after:?}");
            }
        }
    }

    #[test]
    fn a_torn_tail_or_better_is_never_said_where_cutting_loses_what_was_written_later() {
        for bits in 0..512 {
            let evidence = evidence(bits);
            if evidence.fault && (evidence.promised || evidence.contradicted || evidence.continued || evidence.appended)
            {
                assert_eq!(evidence.judge().verdict, Verdict::Corrupt, "{evidence:?}");
            }
        }
    }

    #[test]
    fn the_document_shows_this_table() {
        let document = include_str!("../docs/design.md");
        for row in &ROWS {
            let answers: Vec<String> = row.pattern.chars().map(String::from).collect();
            let line = format!("| {} | {} | {} |", row.label, answers.join(" | "), row.verdict);
            assert!(document.contains(&line), "docs/design.md lacks: {line}");
        }
    }
}
