//! `waltool verify`: a verdict for each log, with its evidence.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

use waltool::{Error, Log, Report, Verdict};

use super::progress::Progress;
use super::{Context, Exit, FormatArg, message};
use crate::print::{Out, json, report};

/// Check every byte of a log and give a verdict with its evidence
///
/// Nothing is changed, not even a time of access where the system permits that, and no lock is taken. A log that cannot
/// be read does not keep the others from being checked; the exit code is the worst of all.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waltool verify app.db-wal
  waltool verify --json *.db-wal | jq -r 'select(.verdict != \"clean\").log'
  zcat backup.wal.gz | waltool verify -")]
pub struct VerifyArgs {
    /// Files, directories of segments, or `-` for standard input
    #[arg(value_name = "LOG", required = true, value_hint = clap::ValueHint::AnyPath)]
    logs: Vec<PathBuf>,
    #[command(flatten)]
    format: FormatArg,
    /// One JSON object a log
    #[arg(long)]
    json: bool,
    /// Print nothing about clean logs
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Use so many threads [default: one per processor]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

type Checked = anyhow::Result<(Log, Report)>;

pub fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let progress = context.progress(|| total(args));
    let mut session = Session { args, context, out: context.out()?, worst: Exit::Done, outcomes: Vec::new() };
    let threads = args.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    if args.logs.len() == 1 || threads == 1 {
        for path in &args.logs {
            let checked = check(path, args, context, threads, &progress);
            progress.aside(|| session.print(path, checked))?;
        }
    } else {
        session.side_by_side(threads, &progress)?;
    }
    drop(progress);
    session.end()
}

/// Bytes of all logs. What cannot be measured cannot be read either, and says so when its turn comes.
fn total(args: &VerifyArgs) -> u64 {
    let files = args.logs.iter().filter(|path| path.as_os_str() != "-");
    files.filter_map(|path| Log::open(path, args.format.format).ok()?.bytes().ok()).sum()
}

fn check(path: &Path, args: &VerifyArgs, context: &Context, threads: usize, progress: &Progress) -> Checked {
    context.settled(|| {
        let log = context.open(path, args.format.format)?;
        let report = Report::by_threads(&log, threads, progress.listener())?;
        Ok((log, report))
    })
}

/// What has been printed so far.
struct Session<'a> {
    args: &'a VerifyArgs,
    context: &'a Context,
    out: Out,
    worst: Exit,
    outcomes: Vec<report::Outcome>,
}

impl Session<'_> {
    /// Checks logs on several threads, and prints them in the order of the arguments.
    fn side_by_side(&mut self, threads: usize, progress: &Progress) -> anyhow::Result<()> {
        let (args, context) = (self.args, self.context);
        let next = AtomicUsize::new(0);
        let (send, receive) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads.min(args.logs.len()) {
                let (send, next) = (send.clone(), &next);
                scope.spawn(move || {
                    while let index = next.fetch_add(1, Relaxed)
                        && let Some(path) = args.logs.get(index)
                        && send.send((index, check(path, args, context, 1, progress))).is_ok()
                    {}
                });
            }
            drop(send);
            let mut early = BTreeMap::new();
            for (index, checked) in receive {
                early.insert(index, checked);
                while let Some(checked) = early.remove(&self.outcomes.len()) {
                    let path = &args.logs[self.outcomes.len()];
                    progress.aside(|| self.print(path, checked))?;
                }
            }
            Ok(())
        })
    }

    fn print(&mut self, path: &Path, checked: Checked) -> Result<(), Error> {
        match checked {
            Ok((log, report)) => {
                let verdict = report.verdict();
                self.worst = self.worst.worst(verdict.into());
                if self.args.json {
                    json::report(&log, &report, &mut self.out);
                } else if !(self.args.quiet && verdict == Verdict::Clean) {
                    report::report(&log, &report, self.context.look, &mut self.out);
                }
                self.outcomes.push((path.into(), Some(report)));
            }
            Err(error) => {
                // In the order in which a reader of both streams expects them.
                self.out.flush()?;
                message::error(&error);
                self.worst = self.worst.worst(Exit::of(&error));
                self.outcomes.push((path.into(), None));
            }
        }
        self.out.settle()
    }

    fn end(mut self) -> anyhow::Result<Exit> {
        if self.outcomes.len() > 1 && self.worst != Exit::Done && !self.args.json {
            self.out.put(b"\n");
            report::summary(&self.outcomes, &mut self.out);
        }
        self.out.finish()?;
        Ok(self.worst)
    }
}
