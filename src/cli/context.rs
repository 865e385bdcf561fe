//! What a command knows of its surroundings: terminals, colours, and how to reach a log.

use std::io::{self, IsTerminal};
use std::path::Path;

use anstream::{AutoStream, ColorChoice};
use rustix::fs::FileType;
use waltool::format::Format;
use waltool::{Error, Log};

use super::progress::Progress;
use crate::print::{Look, Out};

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// How often a log is opened that changes while it is read.
const TRIES: u32 = 64;

/// The surroundings of a command.
pub struct Context {
    /// Standard output is a terminal.
    pub terminal: bool,
    /// How text on standard output looks.
    pub look: Look,
    progress: bool,
}

impl Context {
    /// Looks at the standard streams once.
    pub fn new(color: Color) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => AutoStream::choice(&stdout) != ColorChoice::Never,
        };
        let width = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col as usize);
        let width = width.filter(|&columns| terminal && columns >= 40);
        // A bar in a pipe's terminal would be drawn over the pager that reads the pipe.
        let piped = rustix::fs::fstat(&stdout).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo());
        Self { terminal, look: Look { color, width }, progress: io::stderr().is_terminal() && !piped }
    }

    /// Standard output, for results.
    ///
    /// # Errors
    /// The descriptor cannot be had.
    pub fn out(&self) -> anyhow::Result<Out> {
        Ok(Out::stdout(self.terminal)?)
    }

    /// A bar for work over `total` bytes (0: not known), shown only to people, and only when it takes long.
    pub fn progress(&self, total: impl FnOnce() -> u64) -> Progress {
        Progress::new(if self.progress { total() } else { 0 })
    }

    /// What `read` gives, which opens a log and reads it. Where the log changed under it, as logs in use do, `read` is asked again.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn settled<T>(&self, mut read: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let passing = |error: &anyhow::Error| error.downcast_ref().is_some_and(Error::is_passing);
        (1..TRIES).map(|_| read()).find(|answer| !answer.as_ref().is_err_and(passing)).unwrap_or_else(read)
    }

    /// Opens a log: a file, a directory of segments, or `-`.
    ///
    /// # Errors
    /// As [`Log::open`]; [`Error::Usage`] for a terminal as input.
    pub fn open(&self, path: &Path, format: Option<&'static dyn Format>) -> Result<Log, Error> {
        if path == Path::new("-") && io::stdin().is_terminal() {
            return Err(Error::Usage(
                "standard input is a terminal; pipe a log into it: waltool verify - < LOG".into(),
            ));
        }
        Log::open(path, format)
    }
}
