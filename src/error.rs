//! What stops the tool. Bad bytes in a log are never an [`Error`]: they are a [`Fault`](crate::span::Fault) in a span.

use std::io;
use std::path::{Path, PathBuf};

/// `{:?}` of an error is its text: `main` prints an error that it returns in that way.
macro_rules! debug_as_text {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use debug_as_text;

/// The reason why a command cannot go on. Each variant is one answer to "what can the caller do about it".
///
/// The text says the whole story, the system's reason included, and `{:?}` prints that text too: so an error that `main` returns is
/// readable. What the text has said already, `source()` does not repeat; [`io_error`](Self::io_error) has it for programs.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to open or read.
    #[error("{}: cannot read{}: {cause}", crate::shown(path), at(*offset))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Where in the file, when the reading had begun.
        offset: Option<u64>,
        /// What the system said.
        cause: io::Error,
    },
    /// The system refused to create, write, sync, rename or remove.
    #[error("{}: cannot {doing}: {cause}", crate::shown(path))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The verb that failed: "write", "sync", "rename".
        doing: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A fifo, a device, a socket: nothing that can be read twice or judged.
    #[error("{}: is {what}, not a regular file", crate::shown(path))]
    NotRegular {
        /// The path as given.
        path: PathBuf,
        /// "a fifo", "a device", "a directory".
        what: &'static str,
    },
    /// The file became shorter while it was read, so no verdict about it would be true.
    #[error("{}: shrank from {was} to {now} bytes while it was read; run the command again", crate::shown(path))]
    Changed {
        /// The file.
        path: PathBuf,
        /// Bytes when it was opened.
        was: u64,
        /// Bytes that could be read.
        now: u64,
    },
    /// The file was begun anew, or is changed faster than it can be read, so no verdict about it would be true.
    #[error("{}: was written over at offset {offset} while it was read; run the command again", crate::shown(path))]
    Rewritten {
        /// The file.
        path: PathBuf,
        /// Where that was found out.
        offset: u64,
    },
    /// No format knows these bytes.
    #[error("{}: not recognised as a write-ahead log: {why}", crate::shown(path))]
    Unknown {
        /// The path as given.
        path: PathBuf,
        /// What it looks like instead, and what would help.
        why: String,
    },
    /// Intact, but from a version that this program does not know.
    #[error("{}: offset {offset}: {what} {value} is newer than this waltool understands", crate::shown(path))]
    TooNew {
        /// The segment.
        path: PathBuf,
        /// Where it says so.
        offset: u64,
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A line of a dump that no log can be made of.
    #[error("{}: line {line}: {}", crate::shown(path), crate::Shown(why.as_bytes()))]
    Line {
        /// The file of the dump.
        path: PathBuf,
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The arguments do not make sense together.
    #[error("{0}")]
    Usage(String),
    /// It could be done, but would lose data or hit the wrong file.
    #[error("{}: refused: {why}", crate::shown(path))]
    Refused {
        /// What would have been changed.
        path: PathBuf,
        /// The reason, and the command that would work.
        why: String,
    },
}

fn at(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at offset {offset}"))
}

impl Error {
    /// The system refused to open or read `path`.
    pub fn read(path: &Path, cause: io::Error) -> Self {
        Self::Read { path: path.into(), offset: None, cause }
    }

    /// The system refused to change `path`; `doing` is the verb.
    pub fn write(path: &Path, doing: &'static str, cause: io::Error) -> Self {
        Self::Write { path: path.into(), doing, cause }
    }

    /// What was asked would lose data or hit the wrong file.
    pub fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused { path: path.into(), why: why.into() }
    }

    /// What the system said, where it was the system that refused: a full disk is `StorageFull`, say.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Read { cause, .. } | Self::Write { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// The same about a file that is known under another name: what lies below `from` is shown below `to`.
    #[must_use]
    pub fn moved(mut self, from: &Path, to: &Path) -> Self {
        let path = match &mut self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::NotRegular { path, .. }
            | Self::Changed { path, .. }
            | Self::Rewritten { path, .. }
            | Self::Unknown { path, .. }
            | Self::TooNew { path, .. }
            | Self::Line { path, .. }
            | Self::Refused { path, .. } => path,
            Self::Usage(_) => return self,
        };
        if let Ok(rest) = path.strip_prefix(from) {
            *path = if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) };
        }
        self
    }

    /// The exit code that this error ends with; 2, 5, 6 or 7.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unknown { .. } | Self::TooNew { .. } | Self::Line { .. } => 5,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::NotRegular { .. }
            | Self::Changed { .. }
            | Self::Rewritten { .. } => 6,
            Self::Refused { .. } => 7,
        }
    }

    /// The log changed under its reader, as it may while it is in use: whoever opens it anew may succeed. A file that has
    /// vanished is one that a checkpoint has removed since the directory was listed, or was never there.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Changed { .. } | Self::Rewritten { .. } => true,
            Self::Read { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

debug_as_text!(Error);

/// The result of everything that can be stopped.
pub type Result<T, E = Error> = std::result::Result<T, E>;
