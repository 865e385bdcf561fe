//! Every way to read a log, held against what was written.

use std::path::Path;

use waltool::formats::native::layout::Lsn;
use waltool::salvage::Survey;
use waltool::{Error, Log, Report, Scan};

use super::truth::Truth;
use super::written::{CHECKPOINT, COMMIT, HEADER, SEAL, Transaction, Written};

const SALVAGED: &str = "/salvaged";

/// Reads everything, and looks whether each record was written at its place.
pub fn all(found: &Log, log: &Written) -> Result<Report, String> {
    let mut report = Report::new(found.format());
    let mut scan = Scan::new(found);
    while let Some(found) = scan.next().map_err(|error| error.to_string())? {
        report.add(&found);
        let Some(record) = found.record else { continue };
        let lsn = Lsn(record.meta.lsn);
        let (at, span) = (lsn.offset() as usize, found.span);
        let known = log.segments.get(&lsn.segment()).and_then(|segment| {
            segment.records.binary_search_by_key(&at, |record| record.at).ok()?;
            let end = at + HEADER + record.payload.len();
            Some(segment.bytes[at..at + HEADER] == *record.head && segment.bytes[at + HEADER..end] == *record.payload)
        });
        if known != Some(true) || span.offset != at as u64 {
            return Err(format!("a record at {lsn} that was not written: {span:?} {:?}", record.meta));
        }
    }
    report.finish();
    Ok(report)
}

/// Salvages the log, and looks whether the new one has what it must have, and nothing else.
pub fn salvage(found: &Log, truth: &Truth<'_>, log: &Written) -> Result<(), String> {
    let all = log.transactions();
    let mut wanted = all.iter().filter(|one| !one.residue && truth.is_whole(one)).peekable();
    let survey = match Survey::of(found, &mut |_| ()) {
        Ok(survey) => survey,
        Err(Error::Refused { .. }) if wanted.peek().is_none() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let new = Path::new(SALVAGED);
    survey.write(found, new, &mut |_| ()).map_err(|error| error.to_string())?;
    let (mut rest, mut given) = (&all[..], 0);
    let salvaged = Log::open_on(found.disk(), new, None).map_err(|error| error.to_string())?;
    transactions(&salvaged, |number, contents| {
        given += 1;
        let same =
            |one: &Transaction<'_>| one.number == number && !truth.is_refuted(one) && is_same(log, one, contents);
        // What a crash took may have been written again, under the same number.
        let here = rest.iter().position(|one| same(one) && truth.is_whole(one)).or_else(|| rest.iter().position(same));
        let Some(here) = here else {
            return Err(format!(
                "salvage gave transaction {number}, which was not written there, or given, or left out"
            ));
        };
        let one = &rest[here];
        rest = &rest[here + 1..];
        match wanted.next_if(|wanted| (wanted.segment, wanted.number) <= (one.segment, one.number)) {
            Some(due) if (due.segment, due.number) < (one.segment, one.number) => Err(lost(due)),
            _ => Ok(()),
        }
    })?;
    match wanted.next() {
        Some(due) => Err(lost(due)),
        None if given == survey.transactions => Ok(()),
        None => Err(format!("{given} transactions salvaged, of {}", survey.transactions)),
    }
}

fn lost(due: &Transaction<'_>) -> String {
    let commit = due.records[due.records.len() - 1].at;
    format!("salvage lost transaction {} of segment {}, whose commit is at {commit}", due.number, due.segment)
}

/// Kind, flags and payload.
type Content = (u8, u8, Vec<u8>);

/// Gives the transactions of a log, the number and what is in it.
fn transactions(log: &Log, mut give: impl FnMut(u64, &[Content]) -> Result<(), String>) -> Result<(), String> {
    let mut scan = Scan::new(log);
    let mut contents = Vec::new();
    while let Some(found) = scan.next().map_err(|error| error.to_string())? {
        let Some(record) = found.record else { continue };
        let (kind, flags) = (record.head[2], record.head[3]);
        match kind {
            COMMIT => {
                give(record.meta.transaction, &contents)?;
                contents.clear();
            }
            SEAL => {}
            _ => contents.push((kind, flags, record.payload.to_vec())),
        }
    }
    Ok(())
}

/// The transaction is the one that was written. Salvage puts the LSN of a checkpoint right, for records move.
fn is_same(log: &Written, one: &Transaction<'_>, contents: &[Content]) -> bool {
    let bytes = &log.segments[&one.segment].bytes;
    let mut contents = contents.iter();
    let same =
        one.records.iter().filter(|record| record.kind != COMMIT && record.kind != super::written::PAD).all(|record| {
            let payload = &bytes[record.at + HEADER..][..record.len];
            contents.next().is_some_and(|(kind, flags, found)| {
                let payload = if record.kind == CHECKPOINT { &payload[8..] } else { payload };
                let found = if record.kind == CHECKPOINT { found.get(8..).unwrap_or_default() } else { &found[..] };
                (*kind, *flags, found) == (record.kind, record.flags, payload)
            })
        });
    same && contents.next().is_none()
}
