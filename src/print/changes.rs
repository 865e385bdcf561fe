//! JSON of the commands that write something: `repair`, `replay`, `load` and `copy`, one object each.

use std::path::Path;

use waltool::copy::Copied;
use waltool::format::Format;
use waltool::load::Loaded;
use waltool::plan::{Edit, Loss, Plan};
use waltool::ranges::Ranges;
use waltool::repair::{Done, Undone};
use waltool::replay::sidecar::Mark;
use waltool::replay::{Applied, Replay};
use waltool::salvage::Survey;
use waltool::{Log, Report};

use super::json::Object;
use super::{Out, Time};

/// A repair, planned or done.
pub fn repair(
    log: &Log,
    report: &Report,
    plan: &Plan,
    loss: &Loss,
    done: Option<&Done>,
    output: Option<&Path>,
    out: &mut Out,
) {
    let mut object = begin(log.path(), out);
    object.text("format", log.format().name());
    object.text("verdict", report.verdict().name());
    edits(log, plan, object.key("edits"));
    self::loss(log.format(), loss, object.key("loss"));
    object.flag("fix_bit_possible", plan.bit_would_help);
    object.flag("done", done.is_some());
    let kept = done.map_or(&[][..], |done| &done.kept);
    list(kept, object.key("quarantine"), |kept, out| {
        let mut inner = Object::begin(out);
        inner.name("path", kept.path.as_os_str());
        inner.number("offset", kept.offset);
        inner.end();
    });
    path("output", output, &mut object);
    after(done.and_then(|done| done.after.as_ref()), &mut object);
    object.end();
    out.put(b"\n");
}

/// A salvage, planned or done.
pub fn salvage(log: &Log, survey: &Survey, output: &Path, written: Option<&Report>, out: &mut Out) {
    let mut object = begin(log.path(), out);
    object.text("format", log.format().name());
    object.text("verdict", survey.report.verdict().name());
    object.number("transactions", survey.transactions);
    object.number("records", survey.records);
    object.number("records_left_out", survey.intact - survey.records);
    object.number("damaged", survey.report.fault_count);
    object.flag("done", written.is_some());
    path("output", Some(output), &mut object);
    after(written, &mut object);
    object.end();
    out.put(b"\n");
}

/// What was put back.
pub fn undo(log: &Path, undone: &Undone, out: &mut Out) {
    let mut object = begin(log, out);
    object.number("bytes", undone.bytes);
    for (key, kept) in [("put_back", &undone.back), ("left", &undone.left)] {
        list(kept, object.key(key), |kept, out| {
            let mut inner = Object::begin(out);
            inner.name("file", &kept.segment);
            inner.number("offset", kept.offset);
            inner.end();
        });
    }
    object.end();
    out.put(b"\n");
}

/// A replay, looked into or done.
pub fn replay(log: &Log, replay: &Replay<'_>, output: Option<&Path>, applied: Option<Applied>, out: &mut Out) {
    let survey = &replay.survey;
    let mut object = begin(log.path(), out);
    object.text("format", log.format().name());
    object.text("verdict", survey.report.verdict().name());
    object.name("target", replay.target().as_os_str());
    path("output", output, &mut object);
    object.flag("done", applied.is_some());
    object.number("transactions", survey.stop.map_or(0, |stop| stop.transactions));
    object.number("records", survey.stop.map_or(0, |stop| stop.records));
    match survey.stop {
        Some(stop) => object.position("last", log.format().position(stop.lsn)),
        None => object.null("last"),
    }
    match survey.stop.and_then(|stop| stop.time) {
        Some(time) => object.shown("last_time", &Time(time)),
        None => object.null("last_time"),
    }
    object.number("changes", survey.changes);
    ranges(&survey.ranges, &mut object);
    object.number("target_bytes", survey.len);
    match replay.sidecar() {
        Some(mark) => sidecar(log.format(), &mark, object.key("sidecar")),
        None => object.null("sidecar"),
    }
    object.end();
    out.put(b"\n");
}

/// What was said of the target before the replay.
fn sidecar(format: &dyn Format, mark: &Mark, out: &mut Out) {
    let mut object = Object::begin(out);
    object.text("state", mark.state.name());
    object.position("applied", format.position(mark.applied));
    object.position("high", format.position(mark.high));
    object.end();
}

/// A log that was loaded.
pub fn load(log: &Path, loaded: &Loaded, out: &mut Out) {
    let report = &loaded.report;
    let mut object = begin(log, out);
    object.text("format", report.format().name());
    object.text("verdict", report.verdict().name());
    object.number("segments", report.segments);
    object.number("bytes", report.bytes);
    object.number("records", report.prefix.records);
    object.number("transactions", report.prefix.transactions);
    object.number("uncommitted", loaded.uncommitted);
    object.number("moved", loaded.moved);
    object.end();
    out.put(b"\n");
}

/// A log that was copied.
pub fn copy(log: &Path, output: &Path, copied: &Copied, out: &mut Out) {
    let report = &copied.report;
    let mut object = begin(log, out);
    object.text("format", report.format().name());
    object.text("verdict", copied.read.verdict().name());
    path("output", Some(output), &mut object);
    object.number("segments", report.segments);
    object.number("bytes", report.bytes);
    object.number("records", report.prefix.records);
    object.number("transactions", report.prefix.transactions);
    match report.prefix.committed {
        Some(lsn) => object.position("last", report.format().position(lsn)),
        None => object.null("last"),
    }
    object.number("bytes_left_out", copied.bytes_left_out());
    object.number("records_left_out", copied.records_left_out());
    object.number("tries", copied.tries.into());
    after(Some(report), &mut object);
    object.end();
    out.put(b"\n");
}

fn begin<'o>(log: &Path, out: &'o mut Out) -> Object<'o> {
    let mut object = Object::begin(out);
    object.name("log", log.as_os_str());
    object
}

fn path(key: &str, path: Option<&Path>, object: &mut Object<'_>) {
    match path {
        Some(path) => object.name(key, path.as_os_str()),
        None => object.null(key),
    }
}

fn after(report: Option<&Report>, object: &mut Object<'_>) {
    match report {
        Some(report) => object.text("verdict_after", report.verdict().name()),
        None => object.null("verdict_after"),
    }
}

fn list<T>(items: &[T], out: &mut Out, mut each: impl FnMut(&T, &mut Out)) {
    out.put(b"[");
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.put(b",");
        }
        each(item, out);
    }
    out.put(b"]");
}

fn edits(log: &Log, plan: &Plan, out: &mut Out) {
    list(&plan.edits, out, |edit, out| {
        let mut object = Object::begin(out);
        let (word, segment) = match *edit {
            Edit::Truncate { segment, .. } => ("truncate", segment),
            Edit::Remove { segment, .. } => ("remove", segment),
            Edit::Patch { segment, .. } => ("flip", segment),
        };
        object.text("edit", word);
        object.name("file", &log.segments()[segment as usize].name);
        match *edit {
            Edit::Truncate { at, len, .. } => {
                object.number("offset", at);
                object.number("len", len);
            }
            Edit::Remove { len, .. } => {
                object.number("offset", 0);
                object.number("len", len);
            }
            Edit::Patch { offset, bit, .. } => {
                object.number("offset", offset);
                object.number("bit", bit.into());
            }
        }
        object.end();
    });
}

fn loss(format: &dyn Format, loss: &Loss, out: &mut Out) {
    let mut object = Object::begin(out);
    object.number("bytes", loss.bytes);
    object.number("damaged", loss.damaged);
    object.number("records", loss.records);
    object.number("transactions", loss.transactions);
    object.number("broken_transactions", loss.broken_transactions);
    for (key, lsn) in [("first", loss.first), ("last", loss.last)] {
        match lsn {
            Some(lsn) => object.position(key, format.position(lsn)),
            None => object.null(key),
        }
    }
    ranges(&loss.touches, &mut object);
    object.number("records_kept", loss.kept_records);
    object.number("transactions_kept", loss.kept_transactions);
    object.end();
}

/// Byte ranges of the target, as first byte and end.
fn ranges(ranges: &Ranges, object: &mut Object<'_>) {
    let out = object.key("ranges");
    for (n, (start, end)) in ranges.iter().enumerate() {
        out.put(if n == 0 { b"[[" } else { b",[" });
        out.number(start);
        out.put(b",");
        out.number(end);
        out.put(b"]");
    }
    out.put(if ranges.is_empty() { b"[]" } else { b"]" });
    object.flag("ranges_omitted", ranges.more);
}
