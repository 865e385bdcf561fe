//! A disk for people: what was called, and what is not durable yet.

use std::fmt;
use std::ops::Range;

use super::Sim;
use super::file::File;
use super::names::{Change, Edit};

impl fmt::Display for Sim {
    /// A line for each call of the [`trace`](Sim::trace), then one for each file and each name that is not durable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.lock();
        let trace = machine.calls.trace();
        let left_out = machine.calls.changes() - trace.len() as u64;
        if left_out > 0 {
            writeln!(f, "{left_out} calls, and then")?;
        }
        trace.iter().try_for_each(|call| writeln!(f, "{call}"))?;
        if machine.calls.is_off() {
            writeln!(f, "the power is off")?;
        }
        for (path, ino) in machine.named() {
            if let Some(file) = machine.files.get(&ino).filter(|file| !file.is_synced() || !file.lost().is_empty()) {
                writeln!(f, "not durable: {}: {}", path.display(), Waiting(file))?;
            }
        }
        machine.names.pending().iter().try_for_each(|change| writeln!(f, "not durable: {change}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.edit() {
            Edit::Create { at, .. } => write!(f, "the name {}", at.name.display()),
            Edit::Move { from, to, .. } => write!(f, "{} renamed to {}", from.name.display(), to.name.display()),
            Edit::Remove { at, .. } => write!(f, "{} removed", at.name.display()),
        }
    }
}

/// What of a file waits.
struct Waiting<'a>(&'a File);

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let (dirty, lost) = (runs(self.0.dirty().keys()), runs(self.0.lost().iter()));
        parts.extend((!dirty.is_empty()).then(|| format!("sectors {dirty}")));
        parts.extend((!lost.is_empty()).then(|| format!("sectors {lost} lost by a failed sync")));
        if let [durable, since @ ..] = self.0.lengths()
            && !since.is_empty()
        {
            let since: Vec<_> = since.iter().map(|length| length.len.to_string()).collect();
            parts.push(format!("length {}, then {}", durable.len, since.join(", ")));
        }
        if self.0.rights_wait() {
            parts.push("rights".into());
        }
        f.write_str(&parts.join("; "))
    }
}

/// Numbers in order, as runs: `0..3, 7..8`.
fn runs<'a>(numbers: impl Iterator<Item = &'a u64>) -> String {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs.iter().map(|run| format!("{run:?}")).collect::<Vec<_>>().join(", ")
}
