//! `waltool repair`: says what a cut loses, then cuts; or salvages, fixes a bit, or puts back.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use waltool::plan::{Edit, Loss, Plan, Wish};
use waltool::repair::{self, Done};
use waltool::salvage::Survey;
use waltool::{Error, Log, Report, Verdict, shown, vfs};

use super::{Context, Exit, LogArg, message};
use crate::print::{Out, Size, changes, quoted};

/// Cut a torn tail, after saying what the cut loses
///
/// A torn tail is cut where it begins. A corrupt or incomplete log is refused unless told what to lose, or to salvage.
/// The bytes that go are kept in a quarantine file first, and --undo puts them back.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waltool repair --dry-run app.db-wal
  waltool repair --yes app.db-wal && waltool repair --undo app.db-wal
  waltool repair --salvage --output app.db-wal.salvaged app.db-wal")]
pub struct RepairArgs {
    #[command(flatten)]
    log: LogArg,
    /// Only show what would be done; exit 0 if it could be
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Cut at the first damage, whatever stands behind it
    #[arg(long, conflicts_with_all = ["salvage", "fix_bit", "undo"])]
    cut_at_damage: bool,
    /// Accept that --cut-at-damage loses acknowledged data
    #[arg(long, requires = "cut_at_damage")]
    accept_loss: bool,
    /// Write a new log of all whole transactions, those behind the damage too
    #[arg(long, requires = "output", conflicts_with_all = ["fix_bit", "undo"])]
    salvage: bool,
    /// Write the result as NEW and leave the log as it is
    #[arg(long, short, value_name = "NEW", value_hint = clap::ValueHint::AnyPath)]
    output: Option<PathBuf>,
    /// Flip back the single bits that explain failed checks; cut nothing
    #[arg(long, conflicts_with = "undo")]
    fix_bit: bool,
    /// Put back what earlier repairs took out
    #[arg(long, conflicts_with = "output")]
    undo: bool,
    /// Keep what is taken out in DIR instead of beside the log
    #[arg(long, value_name = "DIR", conflicts_with = "output", value_hint = clap::ValueHint::DirPath)]
    quarantine_dir: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RepairArgs, context: &Context) -> anyhow::Result<Exit> {
    let path = &args.log.log;
    if path == Path::new("-") {
        return Err(Error::Usage("a stream cannot be repaired; save it to a file first".into()).into());
    }
    let mut out = context.out()?;
    if args.undo {
        return undo(args, out);
    }
    let log = context.open(path, args.log.format.format)?;
    let exit = if args.salvage { salvage(args, context, &log, &mut out)? } else { cut(args, context, &log, &mut out)? };
    out.finish()?;
    Ok(exit)
}

fn cut(args: &RepairArgs, context: &Context, log: &Log, out: &mut Out) -> anyhow::Result<Exit> {
    let progress = context.progress(|| log.bytes().unwrap_or(0));
    let report = Report::of(log, progress.listener())?;
    drop(progress);
    let wish = Wish { cut_at_damage: args.cut_at_damage, accept_loss: args.accept_loss, fix_bit: args.fix_bit };
    let plan = Plan::of(log, &report, &wish)?;
    let loss = Loss::of(log, &report, &plan)?;
    if !args.json {
        say_plan(log, &report, &plan, &loss, out);
        out.flush()?;
    }
    repair::permits(log, &plan, args.output.as_deref())?;
    let nothing = plan.edits.is_empty() && args.output.is_none();
    let done = match args.dry_run || nothing {
        true => None,
        false => Some(carry_out(args, log, &wish, &plan)?),
    };
    let after = done.as_ref().and_then(|done| done.after.as_ref()).map(Report::verdict);
    if args.json {
        changes::repair(log, &report, &plan, &loss, done.as_ref(), args.output.as_deref(), out);
    } else if let Some(done) = &done {
        say_done(args, log, done, after, out);
    }
    if let Some(done) = &done {
        warn_of_owners(args, log, done);
    }
    Ok(after.map_or(Exit::Done, Exit::from))
}

fn say_plan(log: &Log, report: &Report, plan: &Plan, loss: &Loss, out: &mut Out) {
    let path = shown(log.path());
    if plan.edits.is_empty() {
        return out.line(format_args!("{path}: {}, nothing to repair", plan.verdict));
    }
    out.line(format_args!("{path}: {}", plan.verdict));
    if let Some(proof) = report.proof() {
        out.line(format_args!("why:   {proof}"));
    }
    for edit in &plan.edits {
        let name = |segment: u32| shown(log.segments()[segment as usize].name.as_ref());
        match *edit {
            Edit::Truncate { segment, at, len } => {
                out.line(format_args!("plan:  cut {} at offset {at}: {}", name(segment), Size(len)));
            }
            Edit::Remove { segment, len } => out.line(format_args!("plan:  remove {}: {}", name(segment), Size(len))),
            Edit::Patch { segment, offset, bit } => {
                out.line(format_args!("plan:  flip back bit {bit} of byte {offset} of {}", name(segment)));
            }
        }
    }
    if plan.cut().is_some() {
        out.line(loss);
    }
    if plan.bit_would_help {
        let log = quoted(log.path());
        out.line(format_args!("note:  a single flipped bit explains the damage; instead of cutting, try"));
        out.line(format_args!("       waltool repair --fix-bit {log}"));
    }
}

fn carry_out(args: &RepairArgs, log: &Log, wish: &Wish, plan: &Plan) -> anyhow::Result<Done> {
    if let Some(new) = &args.output {
        return Ok(repair::to_copy(log, plan, new)?);
    }
    if !args.yes {
        confirm(args, log, plan)?;
    }
    Ok(repair::in_place(log, wish, plan, args.quarantine_dir.as_deref())?)
}

fn confirm(args: &RepairArgs, log: &Log, plan: &Plan) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let options = [(args.cut_at_damage, "--cut-at-damage --accept-loss "), (args.fix_bit, "--fix-bit ")];
        let options: String = options.iter().filter(|(given, _)| *given).map(|(_, option)| *option).collect();
        let why = format!("nobody to ask; to go on: waltool repair --yes {options}{}", quoted(log.path()));
        return Err(Error::refused(log.path(), why).into());
    }
    let question = match plan.cut() {
        Some(_) => format!("Cut {}?", waltool::report::Counted(plan.bytes(), "byte")),
        None => format!("Flip {}?", waltool::report::Counted(plan.edits.len() as u64, "bit")),
    };
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::refused(log.path(), "not confirmed; nothing was changed").into()),
    }
}

/// Says which of the files that were made do not belong to the owner of the log.
fn warn_of_owners(args: &RepairArgs, log: &Log, done: &Done) {
    for kept in &done.kept {
        let segment = log.segments().iter().position(|segment| kept.segment == segment.name);
        let source = segment.map_or(log.path(), |index| log.segment_path(index as u32));
        message::warn_of_owner(source, &kept.path);
    }
    if let Some(new) = &args.output {
        message::warn_of_owner(log.path(), new);
    }
}

fn say_done(args: &RepairArgs, log: &Log, done: &Done, after: Option<Verdict>, out: &mut Out) {
    let now = after.map_or("gone; what it was is kept", Verdict::name);
    for kept in &done.kept {
        out.line(format_args!("kept:  {}", shown(&kept.path)));
    }
    match &args.output {
        Some(new) => out.line(format_args!("done:  {} is written; it is {now}", shown(new))),
        None => {
            out.line(format_args!("done:  the log is {now}"));
            let folder = args.quarantine_dir.as_ref();
            let folder = folder.map_or(String::new(), |folder| format!("--quarantine-dir {} ", quoted(folder)));
            out.line(format_args!("undo:  waltool repair --undo {folder}{}", quoted(log.path())));
        }
    }
}

fn salvage(args: &RepairArgs, context: &Context, log: &Log, out: &mut Out) -> anyhow::Result<Exit> {
    let new = args.output.as_deref().unwrap_or(Path::new(""));
    waltool::durable::may_create(log.disk(), new, Some(log))?;
    let looking = context.progress(|| log.bytes().unwrap_or(0));
    let survey = Survey::of(log, &mut looking.listener())?;
    drop(looking);
    if !args.json {
        out.line(format_args!("{}: {}", shown(log.path()), survey.report.verdict()));
        out.line(&survey);
        out.flush()?;
    }
    let writing = context.progress(|| log.bytes().unwrap_or(0));
    let after = match args.dry_run {
        true => None,
        false => Some(survey.write(log, new, &mut writing.listener())?),
    };
    drop(writing);
    if args.json {
        changes::salvage(log, &survey, new, after.as_ref(), out);
    } else if let Some(after) = &after {
        out.line(format_args!("done:     {} is written; it is {}", shown(new), after.verdict()));
    }
    if after.is_some() {
        message::warn_of_owner(log.path(), new);
    }
    Ok(Exit::Done)
}

fn undo(args: &RepairArgs, mut out: Out) -> anyhow::Result<Exit> {
    let path = &args.log.log;
    if args.dry_run {
        return Err(Error::Usage("--undo has no dry run; it only puts back what fits, and loses nothing".into()).into());
    }
    let undone = repair::undo(&vfs::real(), path, args.log.format.format, args.quarantine_dir.as_deref())?;
    for left in &undone.left {
        message::warn(format_args!("{}: no longer fits the log; left where it is", shown(&left.path)));
    }
    if args.json {
        changes::undo(path, &undone, &mut out);
    } else {
        for back in &undone.back {
            out.line(format_args!("put back: {} at offset {}", shown(back.segment.as_ref()), back.offset));
        }
        out.line(format_args!("{}: {} put back", shown(path), Size(undone.bytes)));
    }
    out.finish()?;
    Ok(Exit::Done)
}
