//! What stops a program that writes a log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, debug_as_text};
use crate::formats::native::encode::WriteError;
use crate::formats::native::layout::Lsn;
use crate::report::Report;

/// Why a log cannot be opened or written.
///
/// The text says the whole story in a few lines, and `{:?}` prints that text too, as with [`Error`].
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// A write, sync or rename failed, in this call or in an earlier one. What lies below `from` is durable; whether what was written from
    /// there to `to` is, nobody knows, and nothing more is written to this log by this [`Wal`](super::Wal). Open the log again: its
    /// recovery reads what the disk really has.
    #[error("{}: durable up to {from}, unknown from there to {to}: {cause}", crate::shown(path))]
    DurabilityUnknown {
        /// The log.
        path: PathBuf,
        /// Everything below is on the disk.
        from: Lsn,
        /// Nothing behind this was ever handed to the system.
        to: Lsn,
        /// What failed; the same for all who hear of it.
        cause: Arc<Error>,
    },
    /// This process does not own the log, or not any more; nothing more is written to it by this [`Wal`](super::Wal). `why` says which it is:
    ///
    /// - The process is a child (`fork`) of the one that opened the log. The parent goes on as before. The child may open the log for itself
    ///   once the parent has closed it. Until the child ends or drops its copy, a parent that was killed leaves the log locked.
    /// - LOCK or the segment that was written was removed, renamed or replaced while the log was open, or its directory was. Another
    ///   program may have opened the log since. Every commit that had returned before was in the log then; one that returned this error is in it or
    ///   not. Find out who changed the directory, then drop this [`Wal`](super::Wal) and open the log again: it shows what is there.
    #[error("{}: this process does not own the log: {why}", crate::shown(path))]
    NotOwner {
        /// The log.
        path: PathBuf,
        /// What made it so.
        why: String,
    },
    /// The log is damaged where a crash cannot have done it, or a part of it is missing: writing on would bury that. Nothing was changed.
    #[error("{}: refused: the log is {}: {}\n  see: waltool verify {}", crate::shown(path), report.verdict(), proof(report), crate::quoted(path))]
    Damaged {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        report: Box<Report>,
    },
    /// What is committed could not be brought into the file: the disk is full, say. The file is whole, as it was or already up to date, and
    /// the log has everything.
    #[error(
        "{}: could not be brought up to date: {cause}\n  it is intact, and what is committed is safe in {}: the next checkpoint or opening tries again",
        crate::shown(path),
        crate::shown(log)
    )]
    NotApplied {
        /// The file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
        /// What failed.
        cause: Error,
    },
    /// The transaction cannot be logged: it is too long, or a write of it would end beyond the longest file. Nothing of it was written.
    #[error(transparent)]
    Transaction(#[from] WriteError),
    /// Everything else that stops us, before anything was written.
    #[error(transparent)]
    Stopped(#[from] Error),
}

impl WalError {
    /// What the system said, where it was the system that refused: a full disk is `StorageFull`, say.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::DurabilityUnknown { cause, .. } => cause.io_error(),
            Self::NotApplied { cause, .. } | Self::Stopped(cause) => cause.io_error(),
            Self::Transaction(WriteError::Io(cause) | WriteError::File { cause, .. }) => Some(cause),
            Self::Transaction(_) | Self::NotOwner { .. } | Self::Damaged { .. } => None,
        }
    }
}

debug_as_text!(WalError);

fn proof(report: &Report) -> String {
    report.proof().map(|proof| proof.to_string()).unwrap_or_default()
}

/// The result of what can be stopped.
pub type Result<T, E = WalError> = std::result::Result<T, E>;
