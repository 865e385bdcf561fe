//! The one door to standard error. Nothing that goes through it can move a terminal's cursor.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::PanicHookInfo;
use std::path::Path;

use waltool::{Error, Shown};

use crate::print::quoted;

/// Says what stopped a command or one of its logs, with its causes, and the command that would have worked.
pub fn error(error: &anyhow::Error) {
    say(format_args!("{error:#}"));
    if let Some(hint) = error.downcast_ref().and_then(hint) {
        say(hint);
    }
}

/// Says something that does not stop the command.
pub fn warn(text: impl Display) {
    say(text);
}

/// Says so where `new`, which was made from `source`, does not belong to the owner of that.
pub fn warn_of_owner(source: &Path, new: &Path) {
    let owner = |path: &Path| path.metadata().map(|file| (file.uid(), file.gid())).ok();
    let (Some(was), Some(is)) = (owner(source), owner(new)) else { return };
    if was != is {
        let (new, source) = (waltool::shown(new), waltool::shown(source));
        warn(format_args!(
            "{new}: belongs to user {} and group {}, because the owner of {source}, user {} and group {}, could not be kept; \
             nobody else has more rights to it than to {source}",
            is.0, is.1, was.0, was.1
        ));
    }
}

/// Says that waltool itself is at fault.
pub fn bug(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic");
    let text = Shown(text.as_bytes());
    match panic.location() {
        Some(place) => say(format_args!("a bug: {text} ({}:{})", place.file(), place.line())),
        None => say(format_args!("a bug: {text}")),
    }
}

fn say(text: impl Display) {
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "waltool: {text}");
}

fn hint(error: &Error) -> Option<String> {
    match error {
        Error::NotRegular { path, what: "a fifo" } => Some(format!("try: waltool verify - < {}", quoted(path))),
        Error::Read { path, cause, .. } if cause.kind() == io::ErrorKind::NotFound => closed_sqlite(path),
        _ => None,
    }
}

/// A SQLite log that is not there, beside a database that is.
fn closed_sqlite(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix("-wal")?;
    let database = path.with_file_name(name);
    database.exists().then(|| {
        format!(
            "SQLite removes its log when the last connection closes; then {} holds all of it",
            waltool::shown(&database)
        )
    })
}
