//! A report as text, for somebody at three in the morning: the sentence that matters, its evidence, the next command.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use waltool::format::{Format, Position};
use waltool::report::{Counted, Place, Report, Totals};
use waltool::span::{Kind, Span};
use waltool::{Log, Verdict, shown};

use super::{BAD, DOUBTFUL, GOOD, HIT, LABEL, Look, Out, Size, Time, quoted};

/// Faults that are shown one by one.
const SHOWN_MAX: usize = 10;
/// Columns before the text of a line.
const INDENT: usize = 13;

/// Prints a log's report: one line when it is clean.
pub fn report(log: &Log, report: &Report, look: Look, out: &mut Out) {
    let page = Page { log, report, format: log.format(), look };
    page.sentence(out);
    if report.verdict() != Verdict::Clean {
        if let Some(proof) = report.proof() {
            page.entry("proof", &proof, out);
        }
        page.appended(out);
        page.faults(out);
        page.totals(out);
        page.rest(out);
        page.next(out);
    }
}

struct Page<'r> {
    log: &'r Log,
    report: &'r Report,
    format: &'static dyn Format,
    look: Look,
}

impl Page<'_> {
    fn sentence(&self, out: &mut Out) {
        let verdict = self.report.verdict();
        let style = match verdict {
            Verdict::Clean => GOOD,
            Verdict::TornTail => DOUBTFUL,
            Verdict::Incomplete | Verdict::Corrupt => BAD,
        };
        let path = self.look.paint(LABEL, shown(self.log.path()));
        let verdict_word = self.look.paint(style, verdict.name());
        out.line(format_args!("{path}: {verdict_word} — {}", self.what_it_means(verdict)));
    }

    fn what_it_means(&self, verdict: Verdict) -> String {
        let at = self.report.first_fault().map_or_else(String::new, |span| self.place_of(span));
        if let Some(span) = self.report.contradiction() {
            return format!("the log contradicts itself{}", self.place_of(span));
        }
        match verdict {
            Verdict::Clean => self.clean(),
            Verdict::TornTail => format!("a write never finished{at}; nothing acknowledged is proven lost"),
            Verdict::Corrupt if self.report.appended_behind.is_some() => {
                format!("what a program wrote behind a torn tail{at} is out of reach")
            }
            Verdict::Corrupt => format!("acknowledged data is damaged{at}"),
            Verdict::Incomplete => {
                let faults = &self.report.faults;
                let gap = faults.iter().find_map(|span| match span.kind {
                    Kind::Gap(gap) => Some(gap.to_string()),
                    _ => None,
                });
                let gap = gap.unwrap_or_else(|| "a part is missing".into());
                match faults.iter().find(|span| !matches!(span.kind, Kind::Gap(_))) {
                    Some(torn) => format!("{gap}; besides, a write never finished{}", self.place_of(torn)),
                    None => format!("{gap}; what is there is intact"),
                }
            }
        }
    }

    fn clean(&self) -> String {
        let report = self.report;
        let mut text = format!("{}, {} ({})", self.counts(&report.prefix), Size(report.bytes), self.format.name());
        let loose = report.prefix.records - report.prefix.committed_records;
        if self.format.has_transactions() && loose > 0 {
            text += &format!("; {} at the end not committed", self.noun(loose));
        }
        if report.stale_bytes > 0 {
            text += &format!("; {} of an earlier life of the file", Size(report.stale_bytes));
        }
        if report.unwritten_bytes > 0 {
            text += &format!("; {} not yet written", Size(report.unwritten_bytes));
        }
        text
    }

    /// " at offset 34336 (frame 65)"
    fn place_of(&self, span: &Span) -> String {
        let end = self.report.prefix.end;
        let mut text = format!(" at offset {}", span.offset);
        let next = self.report.prefix.last.map(|last| self.position(last));
        match next {
            Some(Position::Number(last)) if (span.segment, span.offset) == (end.segment, end.offset) => {
                text += &format!(" ({} {})", self.format.record_noun(), last + 1);
            }
            None if span.offset == 0 => text += " (the header)",
            _ if self.log.segments().len() > 1 => text += &format!(" of {}", self.segment(span.segment)),
            _ => {}
        }
        text
    }

    fn appended(&self, out: &mut Out) {
        let Some(appended) = &self.report.appended_behind else { return };
        let text = format!(
            "a program went on appending behind a torn tail at {}: {} of {} that it has written since are behind it, and a \
             normal recovery stops before them",
            self.place(appended.tear),
            self.noun(appended.records),
            Counted(appended.transactions, "transaction"),
        );
        self.entry("appended", &text, out);
        if self.report.beyond.transactions < appended.transactions {
            let text = format!(
                "{} of these transactions can be read whole; the others stand in the block of the tear, or are damaged",
                self.report.beyond.transactions
            );
            self.entry("", &text, out);
        }
    }

    fn faults(&self, out: &mut Out) {
        let report = self.report;
        let shown = &report.faults[..report.faults.len().min(SHOWN_MAX)];
        let widest = |text: fn(&Span) -> String| shown.iter().map(|span| text(span).len()).max().unwrap_or(0);
        let range = |span: &Span| format!("{}..{}", span.offset, span.end());
        let size = |span: &Span| Size(span.len).to_string();
        let (range_width, size_width) = (widest(range), widest(size));
        for (n, span) in shown.iter().enumerate() {
            let label = if n == 0 { "damage" } else { "" };
            let mut text = match span.kind {
                Kind::Gap(gap) => gap.to_string(),
                Kind::Damage(fault) | Kind::Torn(fault) => {
                    format!("{:>range_width$}  {:>size_width$}  {fault}", range(span), size(span))
                }
                _ => continue,
            };
            if self.log.segments().len() > 1 {
                text = format!("{}  {text}", self.segment(span.segment));
            }
            self.entry(label, &text, out);
            if let Kind::Damage(fault) | Kind::Torn(fault) = span.kind
                && let Some(flip) = fault.flip()
            {
                let text = format!("one flipped bit explains it: byte {}, bit {}", flip.offset, flip.bit);
                self.entry("", &self.look.paint(HIT, text), out);
            }
        }
        let more = report.fault_count - shown.len() as u64;
        if more > 0 {
            self.entry("", &format!("… and {more} more; {} damaged in all", Size(report.fault_bytes)), out);
        }
    }

    fn totals(&self, out: &mut Out) {
        let report = self.report;
        let mut before = self.counts(&report.prefix);
        if let (Some(first), Some(last)) = (report.prefix.first, report.prefix.last) {
            before += &format!("; {} to {}", self.position(first), self.position(last));
        }
        self.entry("before", &before, out);
        if self.format.has_transactions() {
            let mut committed = format!("up to {}", self.place(report.prefix.committed_end));
            if let Some(lsn) = report.prefix.committed {
                committed += &format!(", {} {}", self.format.record_noun(), self.position(lsn));
            }
            if let Some(time) = report.prefix.committed_time {
                committed += &format!(", {}", Time(time));
            }
            let loose = report.prefix.records - report.prefix.committed_records;
            if loose > 0 {
                committed += &format!("; {} behind it not committed", self.noun(loose));
            }
            self.entry("committed", &committed, out);
        }
        if report.beyond.records > 0 {
            self.entry("behind", &format!("intact: {}", self.counts(&report.beyond)), out);
        }
    }

    fn rest(&self, out: &mut Out) {
        let report = self.report;
        if report.undecided > 0 {
            let text = format!(
                "{} at the end: nothing in the log proves that it was durable, or that it was not",
                Counted(report.undecided, "commit")
            );
            self.entry("undecided", &text, out);
        }
        if report.stale_bytes > 0 {
            self.entry("stale", &format!("{} of an earlier life of the file", Size(report.stale_bytes)), out);
        }
        if report.unwritten_bytes > 0 {
            self.entry("unwritten", &format!("{} that were never written", Size(report.unwritten_bytes)), out);
        }
    }

    fn next(&self, out: &mut Out) {
        let path = self.log.path();
        let command = |text: String| self.look.paint(LABEL, text).to_string();
        if self.log.is_stream() {
            return self.entry("next", &"save the stream to a file; only a file can be repaired", out);
        }
        let log = quoted(path);
        match self.report.verdict() {
            Verdict::Clean => {}
            Verdict::TornTail => {
                self.entry("next", &command(format!("waltool repair --dry-run {log}")), out);
                self.entry("", &"shows what a cut would take away; without --dry-run it cuts", out);
            }
            verdict @ (Verdict::Corrupt | Verdict::Incomplete) => {
                let output = quoted(&beside(path));
                let mut label = "next";
                if verdict == Verdict::Incomplete {
                    self.entry(label, &"bring the missing part back if there is a copy of it; if there is none:", out);
                    label = "";
                }
                if self.report.faults.iter().any(|span| span.kind.fault().is_some_and(|fault| fault.flip().is_some())) {
                    self.entry(label, &command(format!("waltool repair --fix-bit {log}")), out);
                    self.entry(
                        "",
                        &"puts the flipped bit right and keeps the byte as it was; where that is not all:",
                        out,
                    );
                    label = "";
                }
                self.entry(label, &command(format!("waltool repair --salvage --output {output} {log}")), out);
                self.entry("", &"makes a new log of all whole transactions and leaves this one as it is", out);
            }
        }
    }

    /// "64 frames, 7 whole transactions"
    fn counts(&self, totals: &Totals) -> String {
        let records = self.noun(totals.records);
        if !self.format.has_transactions() {
            return records;
        }
        format!("{records}, {}", Counted(totals.transactions, "whole transaction"))
    }

    fn position(&self, lsn: u64) -> Position {
        self.format.position(lsn)
    }

    fn noun(&self, count: u64) -> String {
        Counted(count, self.format.record_noun()).to_string()
    }

    fn place(&self, place: Place) -> String {
        match self.log.segments().len() {
            1 => format!("offset {}", place.offset),
            _ => format!("offset {} of {}", place.offset, self.segment(place.segment)),
        }
    }

    fn segment(&self, index: u32) -> String {
        shown(self.log.segments()[index as usize].name.as_ref()).to_string()
    }

    /// A label and a text, which goes on below itself where the terminal is narrow.
    fn entry(&self, label: &str, text: &dyn Display, out: &mut Out) {
        let label = format!("  {label:<width$}", width = INDENT - 2);
        let mut start = label.as_str();
        let indent = " ".repeat(INDENT);
        for line in wrapped(&text.to_string(), self.look.width.map(|width| width - INDENT)) {
            out.line(format_args!("{start}{line}"));
            start = &indent;
        }
    }
}

/// A name for what is salvaged from a log.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    while name.as_bytes().ends_with(b"/") {
        name = OsStr::from_bytes(&name.as_bytes()[..name.len() - 1]).to_owned();
    }
    name.push(".salvaged");
    name.into()
}

/// Lines of at most `width` characters, broken at single spaces; columns inside the text stay together with their
/// spaces. A word that is too long stays whole, so that it can be copied.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.into()] };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let len = anstream::adapter::strip_str(word).to_string().chars().count();
        let begins = lines.len() == 1 && used == 0 && lines[0].is_empty();
        if !begins && used + 1 + len > width {
            lines.push(String::new());
            used = 0;
        } else if !begins {
            lines.last_mut().expect("never empty").push(' ');
            used += 1;
        }
        lines.last_mut().expect("never empty").push_str(word);
        used += len;
    }
    lines
}

/// A line of the summary of several logs: its name, and what was found, or that it could not be read.
pub type Outcome = (PathBuf, Option<Report>);

fn some(count: u64, shown: &dyn Display) -> String {
    if count > 0 { shown.to_string() } else { "-".into() }
}

/// A table of several logs.
pub fn summary(outcomes: &[Outcome], out: &mut Out) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["log", "verdict", "records", "transactions", "damaged", "behind it"]);
    for (path, report) in outcomes {
        let log = shown(path).to_string();
        let Some(report) = report else {
            table.add_row([log, "not read".into()]);
            continue;
        };
        let transactions = match report.format().has_transactions() {
            true => report.prefix.transactions.to_string(),
            false => "-".into(),
        };
        table.add_row([
            log,
            report.verdict().name().into(),
            report.prefix.records.to_string(),
            transactions,
            some(report.fault_bytes, &Size(report.fault_bytes)),
            some(report.beyond.records, &report.beyond.records),
        ]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        out.line(line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_breaks_between_words_and_never_inside_one() {
        let lines = wrapped("one two three fourfourfour", Some(8));
        assert_eq!(lines, ["one two", "three", "fourfourfour"]);
        assert_eq!(wrapped("one two", None), ["one two"]);
    }

    #[test]
    fn colours_take_no_room() {
        let painted = Look { color: true, width: None }.paint(HIT, "one").to_string();
        assert_eq!(wrapped(&format!("{painted} two"), Some(7)).len(), 1);
    }
}
