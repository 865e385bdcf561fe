//! Exit codes, decided here and nowhere else.

use std::io;
use std::process::ExitCode;

use waltool::{Error, Verdict};

/// How the command ends. The numbers are a contract with scripts; 1 is never used, so that a wrapper's own failure is not
/// mistaken for a verdict.
///
/// Of several outcomes the worst wins, and the order of severity is the order of the numbers: a log that could not be
/// read (6) weighs more than one that is corrupt (4), because nothing at all is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, or clean.
    Done = 0,
    /// Wrong arguments.
    Usage = 2,
    /// A write that never finished.
    TornTail = 3,
    /// Corrupt or incomplete.
    Damaged = 4,
    /// Not recognised, or newer than this program.
    Unknown = 5,
    /// The system refused to read or write.
    Io = 6,
    /// It would lose data or hit the wrong file.
    Refused = 7,
    /// A bug in waltool.
    Bug = 70,
}

impl Exit {
    /// The worse of two.
    pub fn worst(self, other: Exit) -> Exit {
        self.max(other)
    }

    /// The exit that an error ends with. A reader that closed the pipe has what it wanted: that is success.
    pub fn of(error: &anyhow::Error) -> Exit {
        let io = error.chain().find_map(|cause| match cause.downcast_ref::<Error>() {
            Some(error) => error.io_error(),
            None => cause.downcast_ref::<io::Error>(),
        });
        if io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) {
            return Exit::Done;
        }
        match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
            Some(error) => Exit::from_code(error.exit_code()),
            None if io.is_some() => Exit::Io,
            None => Exit::Bug,
        }
    }

    fn from_code(code: u8) -> Exit {
        let all = [Exit::Done, Exit::Usage, Exit::TornTail, Exit::Damaged, Exit::Unknown, Exit::Io, Exit::Refused];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Bug)
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        Exit::from_code(verdict.exit_code())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_keep_their_codes() {
        assert_eq!(Exit::from(Verdict::Clean) as u8, 0);
        assert_eq!(Exit::from(Verdict::TornTail) as u8, 3);
        assert_eq!(Exit::from(Verdict::Incomplete) as u8, 4);
        assert_eq!(Exit::from(Verdict::Corrupt) as u8, 4);
    }

    #[test]
    fn errors_keep_their_codes() {
        let usage = anyhow::Error::from(Error::Usage("no".into()));
        assert_eq!(Exit::of(&usage), Exit::Usage);
        assert_eq!(Exit::of(&usage.context("while reading arguments")), Exit::Usage);
        let refused = Error::refused("a".as_ref(), "no");
        assert_eq!(Exit::of(&refused.into()), Exit::Refused);
    }

    #[test]
    fn a_closed_pipe_is_success_and_a_full_disk_is_not() {
        let write = |kind: io::ErrorKind| anyhow::Error::from(Error::write("out".as_ref(), "write", kind.into()));
        assert_eq!(Exit::of(&write(io::ErrorKind::BrokenPipe)), Exit::Done);
        assert_eq!(Exit::of(&write(io::ErrorKind::StorageFull)), Exit::Io);
    }

    #[test]
    fn the_worst_of_several_wins() {
        let worst = [Exit::TornTail, Exit::Io, Exit::Damaged, Exit::Done].into_iter().fold(Exit::Done, Exit::worst);
        assert_eq!(worst, Exit::Io);
    }
}
