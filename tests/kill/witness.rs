//! Who knows what the killed program was told, and what its log held before.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use waltool::formats::native::layout::{Lsn, RECORDS_START};
use waltool::wal::{Committed, Durability, Entry, Wal};
use waltool::{Log, Report, Verdict};

use super::child::{Line, Name};

/// What is known of the log, and how much was seen.
#[derive(Default)]
pub struct Witness {
    /// What was in the log when it was looked at last, with the LSNs.
    known: BTreeMap<Name, Lsn>,
    /// Everything up to here may have been removed.
    applied: Lsn,
    acknowledged: u64,
    torn: u64,
    removed: u64,
    segments: u32,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, torn, removed, segments, .. } = self;
        write!(
            f,
            "{acknowledged} acknowledged, {torn} logs torn, {removed} transactions removed by checkpoints, {segments} segments"
        )
    }
}

impl Witness {
    /// Kills came at all the places that matter.
    pub fn has_seen_enough(&self, kills: u64) -> bool {
        self.acknowledged > 10 * kills && self.removed > kills && u64::from(self.segments) > kills / 2
    }

    /// Looks at the log after a kill.
    pub fn check(&mut self, path: &Path, session: u32, said: &[Line]) -> Result<(), String> {
        let Some(oldest) = oldest_segment(path) else {
            return if self.known.is_empty() && !said.iter().any(|line| matches!(line, Line::Committed { .. })) {
                Ok(())
            } else {
                Err("the log is gone".into())
            };
        };
        let report = Report::of(&Log::open(path, None).map_err(|error| error.to_string())?, |_| ());
        match report.map(|report| report.verdict()) {
            Ok(Verdict::Clean) => {}
            Ok(Verdict::TornTail) => self.torn += 1,
            other => return Err(format!("after a kill the log is {other:?}")),
        }
        let wal = Wal::open(path).map_err(|error| error.to_string())?;
        let committed = wal.committed(Lsn::new(oldest, RECORDS_START as u32)).map_err(|error| error.to_string())?;
        if let Err(error) = wal.committed(wal.redo_lsn()) {
            return Err(format!("what is not applied cannot be read: {error}"));
        }
        self.segments = self.segments.max(wal.recovery().end.segment());
        let found = transactions(&committed)?;
        let acknowledged = self.hear(session, said);
        self.nothing_is_missing(oldest, &found, acknowledged)?;
        self.nothing_came_from_nowhere(session, said, &found)?;
        numbers_follow(&found)?;
        self.known = found.into_iter().collect();
        Ok(())
    }

    /// What the program could rely on: each commit that waited for the system or the disk, and all of its thread before it.
    fn hear(&mut self, session: u32, said: &[Line]) -> Vec<(Name, Lsn)> {
        let mut acknowledged = Vec::new();
        let mut waiting = BTreeMap::<u32, Vec<(Name, Lsn)>>::new();
        for line in said {
            match *line {
                Line::Step => {}
                Line::Applied(lsn) => self.applied = self.applied.max(lsn),
                Line::Committed { thread, number, lsn } => {
                    let name = Name { session, thread, number };
                    let waiting = waiting.entry(thread).or_default();
                    waiting.push((name, lsn));
                    if name.durability() != Durability::Buffered {
                        acknowledged.append(waiting);
                    }
                }
            }
        }
        self.acknowledged += acknowledged.len() as u64;
        acknowledged
    }

    /// All that was acknowledged or was there before is there, unless a checkpoint may have removed its segment.
    fn nothing_is_missing(
        &mut self,
        oldest: u32,
        found: &[(Name, Lsn)],
        acknowledged: Vec<(Name, Lsn)>,
    ) -> Result<(), String> {
        let there: BTreeMap<_, _> = found.iter().copied().collect();
        for (name, lsn) in self.known.iter().map(|(name, lsn)| (*name, *lsn)).chain(acknowledged) {
            if there.contains_key(&name) {
                continue;
            }
            if lsn > self.applied || lsn.segment() >= oldest {
                return Err(format!("{name:?} at {lsn} is lost; applied up to {}", self.applied));
            }
            self.removed += 1;
        }
        Ok(())
    }

    /// Each transaction was there before, or was begun by the program that was killed: one a thread was on its way.
    fn nothing_came_from_nowhere(&self, session: u32, said: &[Line], found: &[(Name, Lsn)]) -> Result<(), String> {
        let mut begun = BTreeMap::<u32, u32>::new();
        for line in said {
            if let Line::Committed { thread, number, .. } = *line {
                begun.insert(thread, number + 1);
            }
        }
        for (name, lsn) in found {
            let was_begun = name.session == session && name.number <= begun.get(&name.thread).copied().unwrap_or(0);
            if !was_begun && self.known.get(name) != Some(lsn) {
                return Err(format!("{name:?} at {lsn} was never begun, or had been lost, or stood elsewhere"));
            }
        }
        Ok(())
    }
}

/// The lowest number of a segment, if there is one.
fn oldest_segment(path: &Path) -> Option<u32> {
    let names = std::fs::read_dir(path).ok()?.map(|entry| entry.expect("an entry").file_name());
    let number = |name: std::ffi::OsString| u32::from_str_radix(name.to_str()?.strip_suffix(".wal")?, 16).ok();
    names.filter_map(number).min()
}

/// The transactions of the log, each as it was committed, byte for byte.
fn transactions(committed: &Committed) -> Result<Vec<(Name, Lsn)>, String> {
    let mut entries = committed.entries();
    let mut found = Vec::<(Name, Lsn)>::new();
    let mut open: Option<(u64, Unread)> = None;
    while let Some(logged) = entries.next().map_err(|error| error.to_string())? {
        if let Some((_, before)) = open.take_if(|(number, _)| *number != logged.transaction) {
            before.end()?;
        }
        match logged.entry {
            Entry::Data(data) => {
                let name = Name::parse(data).filter(|_| open.is_none()).ok_or(format!("data at {}", logged.lsn))?;
                let (expected, write) = name.content();
                if data != expected {
                    return Err(format!("{name:?} at {} has other bytes", logged.lsn));
                }
                found.push((name, logged.lsn));
                open = Some((logged.transaction, Unread { name, write }));
            }
            Entry::Write { offset, bytes } => match &mut open {
                Some((_, unread)) => unread.write(offset, bytes)?,
                None => return Err(format!("a write without its beginning at {}", logged.lsn)),
            },
            Entry::Checkpoint { .. } => {}
            Entry::SetLen(_) => return Err(format!("a record at {} that nobody wrote", logged.lsn)),
        }
    }
    open.map_or(Ok(()), |(_, last)| last.end())?;
    Ok(found)
}

/// What of a transaction must still come.
struct Unread {
    name: Name,
    write: Option<(u64, Vec<u8>)>,
}

impl Unread {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        match &mut self.write {
            Some((at, left)) if *at == offset && left.starts_with(bytes) => {
                *at += bytes.len() as u64;
                left.drain(..bytes.len());
                Ok(())
            }
            _ => Err(format!("{:?} writes other bytes", self.name)),
        }
    }

    fn end(self) -> Result<(), String> {
        let whole = self.write.is_none_or(|(_, left)| left.is_empty());
        if whole { Ok(()) } else { Err(format!("{:?} is half there", self.name)) }
    }
}

/// The transactions of a thread stand in their order and without a gap.
fn numbers_follow(found: &[(Name, Lsn)]) -> Result<(), String> {
    let mut last = BTreeMap::<(u32, u32), u32>::new();
    for (name, lsn) in found {
        let before = last.insert((name.session, name.thread), name.number);
        if before.is_some_and(|before| before + 1 != name.number) {
            return Err(format!("{name:?} at {lsn} follows number {before:?}"));
        }
    }
    Ok(())
}
