//! `waltool load`: a native log from the lines of `dump --json`.

mod line;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use waltool::load::{LineError, Loaded, Loader};
use waltool::report::Counted;
use waltool::{Error, shown};

use super::{Context, Exit, message};
use crate::print::{changes, quoted};
use line::Wrong;

/// The longest line. The longest record takes 64 KiB of hexadecimal.
const LINE_MAX: u64 = 1024 * 1024;

/// Build a native log from the lines of `dump --json`
///
/// Lines of an untouched dump give the same records at the same positions. Header lines name the log and begin its
/// segments; without any it is a new log. Nonces, and what fills blocks, are made anew. Lines of damage are refused.
/// Nothing has the name LOG before all of it is on the disk and verified.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct LoadArgs {
    /// The lines, or `-` for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The log to write, a directory that does not exist
    #[arg(long, short, value_name = "LOG", value_hint = clap::ValueHint::AnyPath)]
    output: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
A line written by hand needs its kind and what is in the record:
  {\"kind\":\"write\",\"target_offset\":0,\"text\":\"hello\"}      or \"hex\":\"68656c6c6f\"
  {\"kind\":\"setlen\",\"target_len\":4096}
  {\"kind\":\"data\",\"text\":\"for the application\"}           \"more\":true, \"continues\":true: fragments
  {\"kind\":\"checkpoint\",\"redo_lsn\":\"00000001:00002000\",\"target_len\":4096}
                                                          \"target_crc\":\"3610a686\",\"state\":\"fact\": its content
  {\"kind\":\"commit\",\"time\":\"2026-11-20T02:10:00Z\"}        without a time: now; \"close\":true ends the log
A `payload` is the whole record in hexadecimal, as dump prints it; fields beside it must agree with it. `file`, `offset`,
`len` and `first_off` are not read, and unknown fields are ignored.

Exit codes: 5 for a line that is no line of a native log, 7 for lines of damage and where LOG exists.

Examples:
  waltool dump --json metrics.log | waltool load - --output copy.log
  waltool dump --json metrics.log | grep -v '\"transaction\":7,' | waltool load - --output without-7.log";

pub fn run(args: &LoadArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut out = context.out()?;
    let (input, len) = open(&args.file)?;
    let progress = context.progress(|| len);
    // A clock before 1970 is as good as none.
    let now_ns = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
    let loader = Loader::create(&args.output, now_ns)?;
    let mut lines = Lines { path: &args.file, input, number: 0, read: 0, line: Vec::new() };
    let loaded = lines.load(loader, progress.listener())?;
    drop(progress);
    if args.json {
        changes::load(&args.output, &loaded, &mut out);
    } else {
        out.line(format_args!("{}: {}", shown(&args.output), state(&loaded)));
    }
    out.finish()?;
    if loaded.moved > 0 {
        let (records, s) = (Counted(loaded.moved, "record"), if loaded.moved == 1 { "s" } else { "" });
        message::warn(format_args!(
            "{records} stand{s} elsewhere than the lines say; redo_lsn in headers and checkpoints is as it was"
        ));
    }
    Ok(Exit::Done)
}

fn state(loaded: &Loaded) -> String {
    let prefix = &loaded.report.prefix;
    let records = Counted(prefix.records, "record");
    let transactions = Counted(prefix.transactions, "transaction");
    let segments = Counted(loaded.report.segments, "segment");
    let uncommitted = match loaded.uncommitted {
        0 => String::new(),
        count => format!("; {} at the end not committed", Counted(count, "record")),
    };
    format!("{records}, {transactions}, {segments}{uncommitted}")
}

/// The lines, and how many bytes there are (0: not known).
fn open(path: &Path) -> Result<(Box<dyn BufRead>, u64), Error> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            let why = "standard input is a terminal; pipe lines into it: waltool dump --json LOG | waltool load - …";
            return Err(Error::Usage(why.into()));
        }
        return Ok((Box::new(io::stdin().lock()), 0));
    }
    let failed = |source| Error::read(path, source);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        let log = quoted(path);
        let why = format!("{} is a directory; its lines are what waltool dump --json {log} prints", shown(path));
        return Err(Error::Usage(why));
    }
    Ok((Box::new(BufReader::with_capacity(256 * 1024, file)), metadata.len()))
}

struct Lines<'p> {
    path: &'p Path,
    input: Box<dyn BufRead>,
    /// Of the present line, from 1.
    number: u64,
    read: u64,
    line: Vec<u8>,
}

impl Lines<'_> {
    fn load(&mut self, mut loader: Loader, mut listen: impl FnMut(u64)) -> Result<Loaded, Error> {
        let mut payload = Vec::new();
        while self.next()? {
            listen(self.read);
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            match line::parse(&self.line, &mut payload) {
                Ok(Some((line, stood))) => loader.add(&line, stood).map_err(|error| self.wrong(error))?,
                Ok(None) => {}
                Err(Wrong::Line(why)) => return Err(self.at(why)),
                Err(Wrong::Damage(why)) => return Err(self.damage(&why)),
            }
        }
        loader.finish(|_| ()).map_err(|error| match error {
            LineError::Empty => {
                let why = "there is no header and no record in it; it should hold what waltool dump --json prints";
                self.at(why.into())
            }
            other => self.wrong(other),
        })
    }

    /// Reads a line; false at the end.
    fn next(&mut self) -> Result<bool, Error> {
        self.line.clear();
        self.number += 1;
        let mut input = self.input.by_ref().take(LINE_MAX + 1);
        let len = input.read_until(b'\n', &mut self.line).map_err(|source| Error::read(self.path, source))? as u64;
        self.read += len;
        if len > LINE_MAX {
            return Err(self.at(format!("it is longer than {LINE_MAX} bytes")));
        }
        Ok(len > 0)
    }

    fn wrong(&self, error: LineError) -> Error {
        match error {
            LineError::File(error) => error,
            other => self.at(other.to_string()),
        }
    }

    fn at(&self, why: String) -> Error {
        Error::Line { path: self.path.into(), line: self.number, why }
    }

    fn damage(&self, what: &str) -> Error {
        let why = format!(
            "line {}: {what}; make an intact log first (waltool repair, or waltool repair --salvage --output NEW LOG) \
             and load the dump of that",
            self.number
        );
        Error::refused(self.path, why)
    }
}
