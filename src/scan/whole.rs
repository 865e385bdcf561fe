//! What the segments of a directory say together, before the first of them is read: whose log it is, and whether its beginning is there.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Scan;
use crate::decode::HEAD_LEN;
use crate::error::{Error, Result};
use crate::format::Identity;
use crate::log::{Log, Segment};
use crate::span::{Gap, Kind};

/// See the [module](self).
#[derive(Clone, Copy, Default)]
pub(super) struct Whole {
    /// The log that most segments belong to.
    pub(super) log_id: Option<[u8; 16]>,
    /// Segments that replay needs, and that are missing before the first.
    pub(super) missing: Option<Gap>,
}

impl Whole {
    /// Reads the heads of all segments; and records only where the heads alone would say that something is missing.
    ///
    /// # Errors
    /// [`Error::Refused`] where the segments belong to several logs and none of these has most of them; as [`Scan::next`].
    pub(super) fn of(log: &Log) -> Result<Self> {
        if log.is_alone() {
            return Ok(Self::default());
        }
        let heads = heads(log)?;
        let log_id = log_of_most(log, &heads)?;
        let missing = if log.is_all() { beginning(log, &heads, log_id)? } else { None };
        Ok(Self { log_id, missing })
    }
}

/// What each segment's header says, by the segment's index; nothing where it has another number than its name, and speaks of another place.
fn heads(log: &Log) -> Result<Vec<Option<Identity>>> {
    let head = |(index, segment): (u32, &Segment)| {
        let head = log.format().identity(&log.head(index, HEAD_LEN)?);
        Ok(head.filter(|head| segment.number.is_none_or(|number| number == head.number)))
    };
    (0..).zip(log.segments()).map(head).collect()
}

/// The log to which more than half of the segments belong.
fn log_of_most(log: &Log, heads: &[Option<Identity>]) -> Result<Option<[u8; 16]>> {
    let mut logs = BTreeMap::<[u8; 16], Vec<&Identity>>::new();
    for head in heads.iter().flatten() {
        logs.entry(head.log_id).or_default().push(head);
    }
    let all: usize = logs.values().map(Vec::len).sum();
    match logs.iter().find(|(_, heads)| heads.len() * 2 > all) {
        Some((log_id, _)) => Ok(Some(*log_id)),
        None if logs.is_empty() => Ok(None),
        None => Err(Error::refused(log.path(), several(&logs))),
    }
}

fn several(logs: &BTreeMap<[u8; 16], Vec<&Identity>>) -> String {
    let mut why = "it holds segments of several logs, and none of these has most of them:".to_owned();
    for (log_id, heads) in logs {
        let numbers: Vec<String> = heads.iter().map(|head| head.number.to_string()).collect();
        let first = heads.first().map_or(0, |head| head.transaction);
        let plural = if heads.len() == 1 { "" } else { "s" };
        let log_id = u128::from_be_bytes(*log_id);
        let _ =
            write!(why, "\n  log {log_id:032x}: segment{plural} {}, from transaction {first} on", numbers.join(", "));
    }
    why.push_str("\n  move the files of all but one log to a directory of their own, and run the command again");
    why
}

/// What is missing before the first segment of the log `log_id`.
fn beginning(log: &Log, heads: &[Option<Identity>], log_id: Option<[u8; 16]>) -> Result<Option<Gap>> {
    let own = heads.iter().flatten().filter(|head| Some(head.log_id) == log_id);
    let mut numbered = log.segments().iter().zip(heads);
    let first = numbered.find(|(_, head)| head.is_none_or(|head| Some(head.log_id) == log_id));
    let (Some(redo), Some(first)) = (own.map(|head| head.redo).max(), first.and_then(|(first, _)| first.number)) else {
        return Ok(None);
    };
    if redo >= first {
        return Ok(None);
    }
    // The last segment first: the headers of later ones repeat what a checkpoint says.
    for index in (0..heads.len() as u32).rev() {
        if has_checkpoint(log, index, log_id, first)? {
            return Ok(None);
        }
    }
    Ok(Some(Gap::Beginning { first: redo, last: first - 1 }))
}

/// Whether a complete transaction of a segment says that replay starts in segment `number` or later.
fn has_checkpoint(log: &Log, index: u32, log_id: Option<[u8; 16]>, number: u64) -> Result<bool> {
    let mut scan = Scan::new(log);
    (scan.segment, scan.whole) = (index, Some(Whole { log_id, missing: None }));
    // Where the last checkpoint without a commit is, and where damage ends: what begins before that is no complete transaction.
    let (mut said, mut floor) = (None, 0);
    while let Some(found) = scan.next()?.filter(|found| found.span.segment == index) {
        let span = found.span;
        if let Kind::Damage(_) | Kind::Torn(_) = span.kind {
            floor = span.end();
        }
        let Some(record) = found.record else { continue };
        if let Some(redo) = log.format().redo(&record) {
            said = Some((span.offset, redo));
        }
        if let Some(commit) = record.meta.commit {
            let claims = |&(at, redo): &(u64, u64)| {
                redo >= number && commit.first.is_some_and(|first| floor <= first && first <= at)
            };
            if said.take().is_some_and(|said| claims(&said)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
