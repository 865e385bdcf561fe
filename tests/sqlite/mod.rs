//! What the tests of SQLite's log share: cases on disk, spans of bytes in memory, and a database with a log applied.

#![allow(dead_code)] // each test uses a part of it

use std::path::{Path, PathBuf};

use waltool::format::Op;
use waltool::formats::by_name;
use waltool::span::{Kind, Span};
use waltool::{Log, Report, Scan};

/// Folders with real logs, by their names.
pub fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sqlite");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(root).expect("the fixtures").map(|entry| entry.expect("a fixture").path()).collect();
    cases.sort();
    cases
}

/// A log in memory.
pub fn log(bytes: &[u8]) -> Log {
    let format = by_name("sqlite").expect("the format");
    Log::memory(format, [("test.db-wal".to_owned(), bytes.to_vec())])
}

/// A report of bytes in memory, span by span and by small reads: tests that make thousands of them need no large buffer.
pub fn report(bytes: &[u8]) -> Report {
    let log = log(bytes);
    let mut report = Report::new(log.format());
    let mut scan = Scan::new(&log).window(4096);
    while let Some(found) = scan.next().expect("bad bytes are no error") {
        report.add(&found);
    }
    report.finish();
    report
}

/// The spans of bytes in memory, each record's LSN beside its span.
pub fn spans(bytes: &[u8], window: usize) -> Vec<(Span, Option<u64>)> {
    let log = log(bytes);
    let mut scan = Scan::new(&log).window(window);
    let mut spans = Vec::new();
    while let Some(found) = scan.next().expect("bad bytes are no error") {
        spans.push((found.span, found.record.map(|record| record.meta.lsn)));
    }
    spans
}

/// The spans run from 0 to the end without gap or overlap.
pub fn assert_partition(spans: &[(Span, Option<u64>)], len: usize) {
    let mut end = 0;
    for (span, _) in spans {
        assert_eq!(span.offset, end, "{span:?}");
        assert!(span.len > 0, "{span:?}");
        end = span.end();
    }
    assert_eq!(end, len as u64);
}

/// The frames that stand in good records, by offset and bytes.
pub fn good_frames(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let good = spans(bytes, 4096).into_iter().filter(|(span, _)| matches!(span.kind, Kind::Record(_)));
    good.map(|(span, _)| (span.offset, bytes[span.offset as usize..span.end() as usize].to_vec())).collect()
}

/// The database `base` with every frame of the log below `end` applied.
pub fn replayed(base: &[u8], log: &Log, end: u64) -> Vec<u8> {
    let mut image = base.to_vec();
    let mut scan = Scan::new(log);
    while let Some(found) = scan.next().expect("bad bytes are no error") {
        if found.span.end() > end {
            break;
        }
        let Some(record) = found.record else { continue };
        let apply = &mut |op: Op<'_>| match op {
            Op::Write { offset, bytes } => {
                let (from, to) = (offset as usize, offset as usize + bytes.len());
                image.resize(image.len().max(to), 0);
                image[from..to].copy_from_slice(bytes);
            }
            Op::SetLen(len) => image.resize(len as usize, 0),
        };
        log.format().replay(&record, apply).expect("a good record can be applied");
    }
    image
}
