//! `waltool replay`: the committed records of a log, applied to a target.

use std::path::{Path, PathBuf};

use waltool::replay::sidecar::State;
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::{Error, Log, Verdict, shown};

use super::select::Bound;
use super::{Context, Exit, LogArg, message, time};
use crate::print::{Out, Size, Time, changes, quoted};

/// Apply the committed changes of a log to a target file
///
/// Only whole transactions are applied, in their order, and replaying twice equals once. A copy of TARGET is changed, synced, and
/// renamed over TARGET in one step, unless --output or --in-place says otherwise. With --until, TARGET must be as it was
/// when the log began: later changes that have reached it already are not taken back.
///
/// With --in-place, the file TARGET.waltool-applied beside TARGET says how far the log has reached it, so that an interrupted replay is
/// known for what it is, and a wrong log, one that lacks a part, or an --until too early is refused (for formats whose logs have a name;
/// SQLite's have none). Where there is such a file, a replay that replaces TARGET minds it too; with --output it forbids nothing.
/// Without it, TARGET is taken at its word: it holds everything from before the log, and nothing behind the commit that is stopped at.
/// The file belongs to TARGET as it is: copy and move them together, and remove it when you put another TARGET there.
///
/// Where LOG says what its target is (the library's DurableFile has it do so), and TARGET is that, the file is written for a replacement too.
/// It then holds the length and checksum of the result, and the program that writes LOG accepts the replayed TARGET.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waltool replay app.db-wal --onto app.db --output recovered.db
  waltool replay metrics.log/ --onto metrics.bin
  waltool replay metrics.log/ --onto base.bin --output then.bin --until 2026-11-20T02:10:00Z")]
pub struct ReplayArgs {
    #[command(flatten)]
    log: LogArg,
    /// The file that the log's changes belong to
    #[arg(long, value_name = "TARGET", value_hint = clap::ValueHint::FilePath)]
    onto: PathBuf,
    /// Write the result as NEW and leave TARGET as it is
    #[arg(long, short, value_name = "NEW", conflicts_with = "in_place", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Change TARGET itself, without a copy; after an interruption, run it again
    #[arg(long)]
    in_place: bool,
    /// Stop at the last commit that is not behind this position, @offset or time
    #[arg(long, value_name = "POS|TIME")]
    until: Option<String>,
    /// Only show what would change
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Refuse to make TARGET longer than this
    #[arg(long, value_name = "BYTES", default_value_t = TARGET_MAX)]
    max_target_size: u64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ReplayArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.log.log == Path::new("-") {
        return Err(Error::Usage("a replay reads the log twice, and a stream can be read only once".into()).into());
    }
    let log = context.open(&args.log.log, args.log.format.format)?;
    let until = args.until.as_deref().map_or(Ok(Until::End), |text| until(text, &log))?;
    let looking = context.progress(|| log.bytes().unwrap_or(0));
    let replay = Replay::of(&log, &args.onto, until, args.max_target_size, &mut looking.listener())?;
    drop(looking);
    let to = match &args.output {
        Some(new) => To::New(new),
        None if args.in_place => To::InPlace,
        None => To::Replace,
    };
    let mut out = context.out()?;
    if args.dry_run && !args.json {
        say_plan(&log, &replay, &mut out);
        out.flush()?;
    }
    replay.permits(to)?;
    let existed = args.onto.exists();
    let applying = context.progress(|| log.bytes().unwrap_or(0));
    let applied = if args.dry_run { None } else { Some(replay.run(to, &mut applying.listener())?) };
    drop(applying);
    warn(args, &log, &replay);
    if applied.is_some() {
        warn_of_owner(args, &log, existed);
    }
    if args.json {
        changes::replay(&log, &replay, args.output.as_deref(), applied, &mut out);
    } else if applied.is_some() {
        let result = args.output.as_deref().unwrap_or(&args.onto);
        out.line(format_args!("{}: {}", shown(result), state(&log, &replay)));
    }
    out.finish()?;
    Ok(match replay.verdict() {
        // What is missing behind a torn tail was never acknowledged.
        Verdict::Clean | Verdict::TornTail => Exit::Done,
        damaged => damaged.into(),
    })
}

fn until(text: &str, log: &Log) -> Result<Until, Error> {
    match Bound::parse(text, log) {
        Ok(Bound::Lsn(lsn)) => Ok(Until::Lsn(lsn)),
        Ok(Bound::Place(place)) => Ok(Until::Offset(place.offset)),
        Err(error) if text.starts_with('@') => Err(error),
        Err(error) => match time::parse(text) {
            Ok(time) if log.format().has_time() => Ok(Until::Time(time)),
            Ok(_) => Err(Error::Usage(format!("{} commits carry no time; name a position", log.format().name()))),
            Err(why) if log.format().has_time() => Err(Error::Usage(format!("{error}; and it is {why}"))),
            Err(_) => Err(error),
        },
    }
}

fn say_plan(log: &Log, replay: &Replay<'_>, out: &mut Out) {
    let survey = &replay.survey;
    out.line(format_args!("{}: {}", shown(replay.target()), state(log, replay)));
    if survey.changes > 0 {
        out.line(format_args!("changes: {}", survey.ranges));
    }
    out.line(format_args!("length:  {}", waltool::report::Counted(survey.len, "byte")));
    if replay.keeps_sidecar() {
        out.line(format_args!("sidecar: {}", said(log, replay)));
    }
}

/// What the file beside the target says of it.
fn said(log: &Log, replay: &Replay<'_>) -> String {
    let at = |lsn| log.format().position(lsn);
    match replay.sidecar() {
        None => "none that says how far the log has reached the target".into(),
        Some(mark) if mark.state == State::Clean => format!("the target holds the log up to {}", at(mark.applied)),
        Some(mark) => {
            format!("a replay up to {} was interrupted; it can be run again, to there or further", at(mark.high))
        }
    }
}

/// "12 transactions, up to frame 40 of 2026-…, 3.2 MiB"
fn state(log: &Log, replay: &Replay<'_>) -> String {
    let (format, survey) = (log.format(), &replay.survey);
    let Some(stop) = survey.stop else { return "nothing is committed, nothing changes".into() };
    let mut text = format!("{}", waltool::report::Counted(stop.transactions, "transaction"));
    text += &format!(" up to {} {}", format.record_noun(), format.position(stop.lsn));
    if let Some(time) = stop.time {
        text += &format!(" of {}", Time(time));
    }
    match survey.changes {
        0 => text += "; the records are for the application that wrote them, none of them changes a target file",
        _ => text += &format!("; {}", Size(survey.len)),
    }
    text
}

/// Says so where what was made is not its source's owner's: the target's, or the log's where there was no target.
fn warn_of_owner(args: &ReplayArgs, log: &Log, existed: bool) {
    let new = args.output.as_deref().unwrap_or(&args.onto);
    if args.output.is_some() || !existed {
        message::warn_of_owner(if existed { &args.onto } else { log.path() }, new);
    }
}

fn warn(args: &ReplayArgs, log: &Log, replay: &Replay<'_>) {
    let survey = &replay.survey;
    let report = &survey.report;
    let path = shown(log.path());
    match replay.verdict() {
        Verdict::Clean => {}
        Verdict::TornTail => {
            let (bytes, last) = (Size(report.fault_bytes), "applied up to the last commit before it");
            message::warn(format_args!("{path}: a write of {bytes} never finished; {last}"));
        }
        verdict => {
            let proof = report.proof().map(|proof| proof.to_string()).unwrap_or_default();
            message::warn(format_args!("{path}: THE LOG IS {}: {proof}", verdict.name().to_uppercase()));
            message::warn(format_args!(
                "{path}: the result is the state before the damage; {} and {} behind it are not in it",
                waltool::report::Counted(report.beyond.records, log.format().record_noun()),
                waltool::report::Counted(report.beyond.commits, "commit"),
            ));
        }
    }
    if let (Some(_), Some(high)) = (&args.output, replay.ahead()) {
        let (target, high) = (shown(replay.target()), log.format().position(high));
        message::warn(format_args!(
            "{target}: by its sidecar it may hold changes up to {high}, which are then in the result too"
        ));
    }
    let mut beside = replay.target().as_os_str().to_owned();
    beside.push("-wal");
    let beside = PathBuf::from(beside);
    let shortened = args.until.is_some() && survey.reached;
    if shortened && args.output.is_none() && log.format().paged() && beside.exists() {
        let wal = quoted(&beside);
        message::warn(format_args!(
            "{wal} is still beside the target: SQLite will apply all of it; move it away first"
        ));
    }
}
