//! A dump as text: rows that stream, in columns that are set before the first.

use std::fmt::Write as _;

use waltool::format::{Fields, Position, Record, Value};
use waltool::scan::Found;
use waltool::span::{Kind, Span};
use waltool::{Log, Shown, shown};

use super::{ASIDE, BAD, DOUBTFUL, LABEL, Look, Out, Painted, Size, Spans, Time, hex};

/// A value of more bytes is cut in a row; `--json` has all of them.
const BYTES_MAX: usize = 32;

/// Rows of a log's spans.
pub struct Rows<'l> {
    log: &'l Log,
    look: Look,
    panel: bool,
    columns: Columns,
    row: String,
}

/// Widths, in characters.
#[derive(Clone, Copy)]
struct Columns {
    position: usize,
    /// What a position of segment and offset takes.
    segment_offset: usize,
    offset: usize,
    len: usize,
    kind: usize,
    transaction: usize,
    commit: usize,
}

impl Columns {
    fn of(log: &Log) -> Self {
        let format = log.format();
        let digits = |number: u64| number.max(1).ilog10() as usize + 1;
        // The length is a guess for a stream, and rows that need more take it.
        let bytes = digits(log.bytes().unwrap_or(0));
        let segment_offset = Position::SegmentOffset(0).to_string().len();
        let position = match format.position(0) {
            Position::Number(_) => bytes,
            Position::SegmentOffset(_) => segment_offset,
        };
        let kinds = format.kinds().iter().map(|kind| kind.len());
        Self {
            position: position.max("position".len()),
            segment_offset,
            offset: bytes.max("offset".len()),
            len: "length".len(),
            kind: kinds.chain(["unwritten".len()]).max().unwrap_or(0),
            transaction: "transaction".len(),
            commit: "commit".len(),
        }
    }
}

impl<'l> Rows<'l> {
    /// Rows of `log`, with a panel of each payload's bytes or without.
    pub fn new(log: &'l Log, look: Look, panel: bool) -> Self {
        Self { log, look, panel, columns: Columns::of(log), row: String::new() }
    }

    /// The columns up to the length, which all rows have.
    fn start(&self, position: Option<Position>, span: &Span, out: &mut Out) {
        let Columns { position: width, offset, len, .. } = self.columns;
        match position {
            Some(Position::Number(number)) => out.number_right(number, width),
            Some(position) => {
                out.blanks(width - self.columns.segment_offset);
                out.position(position);
            }
            None => {
                out.blanks(width - 1);
                out.put(b"-");
            }
        }
        out.put(b"  ");
        out.number_right(span.offset, offset);
        out.put(b"  ");
        out.number_right(span.len, len);
        out.put(b"  ");
    }

    fn record(&mut self, span: &Span, record: &Record<'_>, beyond: bool, out: &mut Out) {
        let format = self.log.format();
        self.start(Some(format.position(record.meta.lsn)), span, out);
        let Columns { kind, transaction, commit, .. } = self.columns;
        out.text_left(format.kind(record), kind + 2);
        match record.meta.transaction {
            0 => {
                out.blanks(transaction - 1);
                out.put(b"-");
            }
            number => out.number_right(number, transaction),
        }
        out.put(b"  ");
        out.text_left(if record.meta.commit.is_some() { "yes" } else { "" }, commit);
        format.describe(record, &mut Words { out, look: self.look });
        if beyond {
            out.text(format_args!("  {}", self.look.paint(DOUBTFUL, "beyond_damage")));
        }
        out.put(b"\n");
        if self.panel {
            hex::panel(record.payload, self.look, out);
        }
    }

    fn other(&mut self, found: &Found<'_>, out: &mut Out) {
        let span = found.span;
        let start = out.taken(|out| self.start(None, &span, out));
        self.row.clear();
        self.row.push_str(&String::from_utf8_lossy(&start));
        let style = match span.kind {
            Kind::Damage(_) | Kind::Torn(_) | Kind::Gap(_) => BAD,
            Kind::Header => LABEL,
            Kind::Record(_) | Kind::Padding | Kind::Stale | Kind::Unwritten => ASIDE,
        };
        let _ = write!(self.row, "{}", span.kind.name());
        match span.kind {
            Kind::Damage(fault) | Kind::Torn(fault) => {
                let _ = write!(self.row, " to offset {}: {fault}", span.end());
                if let Some(flip) = fault.flip() {
                    let _ = write!(self.row, "; one flipped bit explains it: byte {}, bit {}", flip.offset, flip.bit);
                }
            }
            Kind::Gap(gap) => {
                let _ = write!(self.row, ": {gap}");
            }
            Kind::Header | Kind::Record(_) | Kind::Padding | Kind::Stale | Kind::Unwritten => {}
        }
        if span.kind == Kind::Header && self.log.segments().len() > 1 {
            let name = &self.log.segments()[span.segment as usize].name;
            let _ = write!(self.row, " of {}", shown(name.as_ref()));
        }
        let row: Painted<&str> = self.look.paint(style, &self.row);
        out.text(row);
        if let Some(header) = found.header {
            self.log.format().describe_header(header, &mut Words { out, look: self.look });
        }
        out.put(b"\n");
    }
}

impl Spans for Rows<'_> {
    fn begin(&mut self, out: &mut Out) {
        let Columns { position, offset, len, kind, transaction, commit, .. } = self.columns;
        let head = format!(
            "{:>position$}  {:>offset$}  {:>len$}  {:<kind$}  {:>transaction$}  {:<commit$}  fields",
            "position", "offset", "length", "kind", "transaction", "commit"
        );
        out.line(self.look.paint(LABEL, head));
    }

    fn span(&mut self, found: &Found<'_>, beyond: bool, out: &mut Out) {
        match &found.record {
            Some(record) => self.record(&found.span, record, beyond, out),
            None => self.other(found, out),
        }
    }
}

/// Fields as `name=value`.
struct Words<'o> {
    out: &'o mut Out,
    look: Look,
}

impl Fields for Words<'_> {
    fn field(&mut self, name: &'static str, value: Value<'_>) {
        self.out.put(b"  ");
        if self.look.color {
            self.out.text(self.look.paint(ASIDE, format_args!("{name}=")));
        } else {
            self.out.put(name.as_bytes());
            self.out.put(b"=");
        }
        match value {
            Value::Number(number) => self.out.number(number),
            Value::Hex(number) => self.out.hex32(number),
            // It may hold nothing from a log, but this is where that would show.
            Value::Text(text) => self.out.text(Shown(text.to_string().as_bytes())),
            Value::Flag(flag) => self.out.text(if flag { "yes" } else { "no" }),
            Value::Bytes(bytes) => bytes_in_row(bytes, self.out),
            Value::Time(time) => self.out.text(Time(time)),
        }
    }
}

/// Readable bytes in quotes, others in hexadecimal; a long value is cut.
fn bytes_in_row(bytes: &[u8], out: &mut Out) {
    let begin = &bytes[..bytes.len().min(BYTES_MAX)];
    let readable = !bytes.is_empty() && begin.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"');
    if readable {
        out.text(format_args!("\"{}\"", Shown(begin)));
    } else {
        out.hex(begin);
    }
    if begin.len() < bytes.len() {
        out.text(format_args!("… ({})", Size(bytes.len() as u64)));
    }
}

/// Payloads and nothing else.
pub struct Raw;

impl Spans for Raw {
    fn begin(&mut self, _: &mut Out) {}

    fn span(&mut self, found: &Found<'_>, _beyond: bool, out: &mut Out) {
        if let Some(record) = &found.record {
            out.put(record.payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(value: Value<'_>) -> String {
        Out::captured(|out| Words { out, look: Look::default() }.field("name", value))
    }

    #[test]
    fn fields_are_names_and_values() {
        assert_eq!(words(Value::Number(7)), "  name=7");
        assert_eq!(words(Value::Hex(0x8d31)), "  name=00008d31");
        assert_eq!(words(Value::Flag(false)), "  name=no");
        assert_eq!(words(Value::Bytes(b"key")), "  name=\"key\"");
        assert_eq!(words(Value::Bytes(b"a\x1b[2J")), "  name=611b5b324a");
    }

    #[test]
    fn a_long_value_is_cut_and_says_how_long_it_is() {
        assert_eq!(words(Value::Bytes(&[b'x'; 100])), format!("  name=\"{}\"… (100 bytes)", "x".repeat(32)));
    }

    #[test]
    fn text_cannot_drive_the_terminal() {
        assert_eq!(words(Value::Text(&"\x1b[2J")), "  name=\\u{1b}[2J");
    }
}
