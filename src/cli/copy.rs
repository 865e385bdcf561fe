//! `waltool copy`: the whole transactions of a log, also of one that is being written.

use std::path::{Path, PathBuf};

use waltool::copy::{Copied, copy};
use waltool::report::Counted;
use waltool::span::Kind;
use waltool::{Error, Log, shown, vfs};

use super::{Context, Exit, LogArg, message};
use crate::print::{Size, changes, quoted};

/// Take a copy of a log, also while it is written
///
/// NEW is a file for a file and a directory for a directory, with the owner and the rights of LOG as far as you may give them. It ends behind the last whole
/// transaction, holds every one that was acknowledged before the copy began, and verifies clean; nothing has its name before
/// that. LOG is not locked, and nothing of it changes. What is damaged is not copied: to keep evidence, use cp -a.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waltool copy metrics.log /backup/metrics.log
  waltool copy app.db-wal /backup/app.db-wal && waltool verify /backup/app.db-wal
  waltool copy --json metrics.log snapshot | jq .last")]
pub struct CopyArgs {
    #[command(flatten)]
    log: LogArg,
    /// The copy, which must not exist
    #[arg(value_name = "NEW", value_hint = clap::ValueHint::AnyPath)]
    new: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CopyArgs, context: &Context) -> anyhow::Result<Exit> {
    let LogArg { log, format } = &args.log;
    if log == Path::new("-") {
        return Err(Error::Usage("a stream can be read only once; save it to a file first".into()).into());
    }
    let mut out = context.out()?;
    let bytes = || Log::open(log, format.format).and_then(|log| log.bytes()).unwrap_or(0);
    let progress = context.progress(|| 2 * bytes());
    let copied = copy(&vfs::real(), log, format.format, &args.new, &mut progress.listener())?;
    drop(progress);
    if args.json {
        changes::copy(log, &args.new, &copied, &mut out);
    } else {
        out.line(format_args!("{}: {}", shown(&args.new), state(&copied)));
    }
    out.finish()?;
    message::warn_of_owner(log, &args.new);
    if one_bit_explains(&copied) {
        let log = quoted(log);
        message::warn(format_args!("a single flipped bit explains why not all was copied; see: waltool verify {log}"));
    }
    Ok(Exit::Done)
}

/// "63 frames, 12 transactions, 66.6 KiB; left out behind the last whole transaction: 4 frames, 4.9 KiB"
fn state(copied: &Copied) -> String {
    let report = &copied.report;
    let noun = report.format().record_noun();
    let records = Counted(report.prefix.records, noun);
    let transactions = Counted(report.prefix.transactions, "transaction");
    let mut text = format!("{records}, {transactions}, {}", Size(report.bytes));
    if copied.bytes_left_out() > 0 {
        text += "; left out behind the last whole transaction: ";
        if copied.records_left_out() > 0 {
            text += &format!("{}, ", Counted(copied.records_left_out(), noun));
        }
        text += &Size(copied.bytes_left_out()).to_string();
    }
    text
}

/// What was left out may have been acknowledged: a torn write does not look like that.
fn one_bit_explains(copied: &Copied) -> bool {
    copied.read.faults.iter().any(|span| match span.kind {
        Kind::Damage(fault) | Kind::Torn(fault) => fault.flip().is_some(),
        _ => false,
    })
}
