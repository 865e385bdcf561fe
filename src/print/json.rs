//! JSON, one object a line. Written by hand straight into the output's buffer: a dump has one of these per record, and a
//! tree of values for each would cost more than reading the log.

use std::ffi::OsStr;
use std::fmt::{Display, Write as _};
use std::os::unix::ffi::OsStrExt;

use waltool::format::{Fields, Format, Position, Record, Value};
use waltool::report::Place;
use waltool::scan::Found;
use waltool::span::{Kind, Piece, Span};
use waltool::{Log, Report};

use super::{DECIMAL, Out, Spans, Time};

/// Keys up to this long are written with their number in one piece.
const KEY_BRIEF: usize = 20;

/// An object that is being written. Keys are constants, in need of no escape.
pub struct Object<'o> {
    out: &'o mut Out,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Begins one.
    pub fn begin(out: &'o mut Out) -> Self {
        out.put(b"{");
        Self { out, empty: true }
    }

    /// Ends it.
    pub fn end(self) {
        self.out.put(b"}");
    }

    /// A key, after which its value must be written.
    #[inline]
    pub fn key(&mut self, key: &str) -> &mut Out {
        self.out.put(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        self.out.put(key.as_bytes());
        self.out.put(b"\":");
        self.out
    }

    pub fn number(&mut self, key: &str, number: u64) {
        if key.len() > KEY_BRIEF {
            return self.key(key).number(number);
        }
        let before: &[u8] = if std::mem::take(&mut self.empty) { b"\"" } else { b",\"" };
        self.out.brief::<{ KEY_BRIEF + DECIMAL + 4 }>(|brief| {
            brief.put(before);
            brief.put(key.as_bytes());
            brief.put(b"\":");
            brief.number(number);
        });
    }

    pub fn text(&mut self, key: &str, text: &str) {
        string(text, self.key(key));
    }

    pub fn shown(&mut self, key: &str, value: &dyn Display) {
        self.text(key, &value.to_string());
    }

    pub fn flag(&mut self, key: &str, flag: bool) {
        self.key(key).put(if flag { b"true" } else { b"false" });
    }

    pub fn null(&mut self, key: &str) {
        self.key(key).put(b"null");
    }

    pub fn name(&mut self, key: &str, name: &OsStr) {
        os_string(name, self.key(key));
    }

    pub fn position(&mut self, key: &str, position: Position) {
        let out = self.key(key);
        out.put(b"\"");
        out.position(position);
        out.put(b"\"");
    }

    fn strings(&mut self, key: &str, texts: &[&str]) {
        let out = self.key(key);
        for (n, text) in texts.iter().enumerate() {
            out.put(if n == 0 { b"[" } else { b"," });
            string(text, out);
        }
        out.put(if texts.is_empty() { b"[]" } else { b"]" });
    }
}

impl Fields for Object<'_> {
    fn field(&mut self, name: &'static str, value: Value<'_>) {
        match value {
            Value::Number(number) => self.number(name, number),
            Value::Flag(flag) => self.flag(name, flag),
            Value::Text(text) => self.shown(name, &text),
            Value::Time(time) => self.shown(name, &Time(time)),
            Value::Hex(number) => {
                let out = self.key(name);
                out.put(b"\"");
                out.hex32(number);
                out.put(b"\"");
            }
            Value::Bytes(bytes) => {
                let out = self.key(name);
                out.put(b"\"");
                out.hex(bytes);
                out.put(b"\"");
            }
        }
    }
}

/// A string with its quotes. Control characters of both sets and bidirectional overrides are escaped, so that not even
/// JSON moves a terminal's cursor.
fn string(text: &str, out: &mut Out) {
    out.put(b"\"");
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.put(text.as_bytes());
    } else {
        text.chars().for_each(|c| escaped(c, out));
    }
    out.put(b"\"");
}

/// A file's name: as [`string`], with bytes that are not UTF-8 as the text `\xNN`.
fn os_string(name: &OsStr, out: &mut Out) {
    out.put(b"\"");
    for chunk in name.as_bytes().utf8_chunks() {
        chunk.valid().chars().for_each(|c| escaped(c, out));
        for byte in chunk.invalid() {
            out.text(format_args!("\\\\x{byte:02x}"));
        }
    }
    out.put(b"\"");
}

fn escaped(c: char, out: &mut Out) {
    match c {
        '"' | '\\' => out.text(format_args!("\\{c}")),
        '\n' => out.put(b"\\n"),
        '\t' => out.put(b"\\t"),
        c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
            out.text(format_args!("\\u{:04x}", c as u32));
        }
        c => {
            let _ = out.write_char(c);
        }
    }
}

/// A report: the keys are a contract with scripts, and are only ever added to.
pub fn report(log: &Log, report: &Report, out: &mut Out) {
    let position = |lsn| log.format().position(lsn);
    let mut object = Object::begin(out);
    object.name("log", log.path().as_os_str());
    object.text("format", log.format().name());
    object.text("verdict", report.verdict().name());
    object.number("segments", report.segments.max(1));
    object.number("bytes", report.bytes);
    object.number("records", report.prefix.records);
    match log.format().has_transactions() {
        true => object.number("transactions", report.prefix.transactions),
        false => object.null("transactions"),
    }
    for (key, lsn) in [("first", report.prefix.first), ("last", report.prefix.last)] {
        match lsn {
            Some(lsn) => object.position(key, position(lsn)),
            None => object.null(key),
        }
    }
    place("valid_end", log, report.prefix.end, &mut object);
    place("committed_end", log, report.prefix.committed_end, &mut object);
    object.number("salvageable", report.beyond.records);
    match log.format().has_transactions() {
        true => object.number("salvageable_transactions", report.beyond.transactions),
        false => object.null("salvageable_transactions"),
    }
    object.number("stale_bytes", report.stale_bytes);
    object.number("undecided", report.undecided);
    match &report.appended_behind {
        Some(appended) => {
            let mut inner = Object::begin(object.key("appended_behind"));
            inner.name("file", &log.segments()[appended.tear.segment as usize].name);
            inner.number("offset", appended.tear.offset);
            inner.number("records", appended.records);
            inner.number("transactions", appended.transactions);
            inner.end();
        }
        None => object.null("appended_behind"),
    }
    let list = object.key("damage");
    list.put(b"[");
    for (n, span) in report.faults.iter().enumerate() {
        if n > 0 {
            list.put(b",");
        }
        let mut damage = Object::begin(list);
        location(log, span, &mut damage);
        fault(span, &mut damage);
        damage.end();
    }
    list.put(b"]");
    let listed = report.faults.len() as u64;
    if report.fault_count > listed {
        object.number("damage_omitted", report.fault_count - listed);
    }
    match report.proof() {
        Some(proof) => object.shown("proof", &proof),
        None => object.null("proof"),
    }
    object.end();
    out.put(b"\n");
}

fn place(key: &str, log: &Log, place: Place, object: &mut Object<'_>) {
    let mut inner = Object::begin(object.key(key));
    inner.name("file", &log.segments()[place.segment as usize].name);
    inner.number("offset", place.offset);
    inner.end();
}

fn location(log: &Log, span: &Span, object: &mut Object<'_>) {
    object.name("file", &log.segments()[span.segment as usize].name);
    object.number("offset", span.offset);
    object.number("len", span.len);
}

fn fault(span: &Span, object: &mut Object<'_>) {
    let (name, detail, flip) = match span.kind {
        Kind::Damage(fault) | Kind::Torn(fault) => (fault.name(), fault.to_string(), fault.flip()),
        Kind::Gap(gap) => (gap.name(), gap.to_string(), None),
        Kind::Header | Kind::Record(_) | Kind::Padding | Kind::Stale | Kind::Unwritten => return,
    };
    object.text("fault", name);
    object.text("detail", &detail);
    match flip {
        Some(flip) => {
            let mut inner = Object::begin(object.key("bit_flip"));
            inner.number("offset", flip.offset);
            inner.number("bit", u64::from(flip.bit));
            inner.end();
        }
        None => object.null("bit_flip"),
    }
}

/// A format, for `waltool formats --json`.
pub fn format(format: &dyn Format, verbs: &[&str], out: &mut Out) {
    let mut object = Object::begin(out);
    object.text("name", format.name());
    object.text("about", format.about());
    object.strings("verbs", verbs);
    object.text("checksum", format.checksum());
    object.text("recognised_by", format.recognised_by());
    object.strings("kinds", format.kinds());
    object.end();
    out.put(b"\n");
}

/// A dump's lines.
pub struct Lines<'l> {
    log: &'l Log,
    payload: bool,
    /// What stands between the span's name and its offset: the present segment's name, written once.
    file: Vec<u8>,
    segment: Option<u32>,
}

impl<'l> Lines<'l> {
    /// Lines of `log`'s spans, with or without payloads.
    pub fn new(log: &'l Log, payload: bool) -> Self {
        Self { log, payload, file: Vec::new(), segment: None }
    }

    fn enter(&mut self, segment: u32, out: &mut Out) {
        if self.segment != Some(segment) {
            self.segment = Some(segment);
            self.file = out.taken(|out| {
                out.put(b"\",\"file\":");
                os_string(&self.log.segments()[segment as usize].name, out);
                out.put(b",\"offset\":");
            });
        }
    }

    #[inline]
    fn start<'o>(&self, span: &Span, name: &str, out: &'o mut Out) -> Object<'o> {
        out.put(b"{\"span\":\"");
        out.put(name.as_bytes());
        out.put(&self.file);
        out.number(span.offset);
        out.put(b",\"len\":");
        out.number(span.len);
        Object { out, empty: false }
    }

    /// The one place where the time of a dump is spent: keys and their quotes are written in one piece.
    fn record(&self, span: &Span, record: &Record<'_>, beyond: bool, out: &mut Out) {
        let format = self.log.format();
        let position = format.position(record.meta.lsn);
        out.put(b"{\"span\":\"record");
        out.put(&self.file);
        out.brief::<128>(|brief| {
            brief.number(span.offset);
            brief.put(b",\"len\":");
            brief.number(span.len);
            brief.put(b",\"lsn\":\"");
            brief.position(position);
            brief.put(b"\",\"kind\":\"");
        });
        out.put(format.kind(record).as_bytes());
        out.brief::<64>(|brief| {
            brief.put(b"\",\"transaction\":");
            match record.meta.transaction {
                0 => brief.put(b"null"),
                number => brief.number(number),
            }
            match record.meta.commit {
                Some(_) => brief.put(b",\"commit\":true"),
                None => brief.put(b",\"commit\":false"),
            }
        });
        let mut object = Object { out, empty: false };
        if let Kind::Record(piece @ (Piece::First | Piece::Middle | Piece::Last)) = span.kind {
            object.text("piece", piece_name(piece));
        }
        format.describe(record, &mut object);
        if beyond {
            object.flag("beyond_damage", true);
        }
        if self.payload {
            object.field("payload", Value::Bytes(record.payload));
        }
        object.out.put(b"}\n");
    }

    fn other(&self, found: &Found<'_>, out: &mut Out) {
        let mut object = self.start(&found.span, found.span.kind.name(), out);
        if let Kind::Record(piece) = found.span.kind {
            object.text("piece", piece_name(piece));
        }
        if let Some(header) = found.header {
            self.log.format().describe_header(header, &mut object);
        }
        fault(&found.span, &mut object);
        object.end();
        out.put(b"\n");
    }
}

fn piece_name(piece: Piece) -> &'static str {
    match piece {
        Piece::Full => "full",
        Piece::First => "first",
        Piece::Middle => "middle",
        Piece::Last => "last",
    }
}

impl Spans for Lines<'_> {
    fn begin(&mut self, _: &mut Out) {}

    fn span(&mut self, found: &Found<'_>, beyond: bool, out: &mut Out) {
        self.enter(found.span.segment, out);
        match &found.record {
            Some(record) => self.record(&found.span, record, beyond, out),
            None => self.other(found, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_json_whatever_they_hold() {
        let nasty = "a\"b\\c\n\t\u{1b}[2J\u{7f}\u{9b}\u{202e}größe\u{0}";
        let written = Out::captured(|out| string(nasty, out));
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), nasty);
        assert!(!written.contains(|c: char| c.is_control() || c == '\u{202e}'), "{written}");
    }

    #[test]
    fn a_name_that_is_not_text_is_still_json() {
        let written = Out::captured(|out| os_string(OsStr::from_bytes(b"a\xff\"\n.wal"), out));
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), "a\\xff\"\n.wal");
    }

    #[test]
    fn every_value_has_its_json() {
        let written = Out::captured(|out| {
            let mut object = Object::begin(out);
            object.field("n", Value::Number(u64::MAX));
            object.field("h", Value::Hex(0x1f));
            object.field("t", Value::Text(&"x\"y"));
            object.field("f", Value::Flag(true));
            object.field("b", Value::Bytes(&[0, 255]));
            object.field("w", Value::Time(1));
            object.end();
        });
        let expected = r#"{"n":18446744073709551615,"h":"0000001f","t":"x\"y","f":true,"b":"00ff","w":"1970-01-01T00:00:00.000000001Z"}"#;
        assert_eq!(written, expected);
    }
}
