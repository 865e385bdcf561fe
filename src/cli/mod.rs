//! The command line: arguments and wiring, one file per command.

mod completions;
mod context;
mod copy;
mod dump;
mod exit;
mod formats;
mod load;
mod man;
pub mod message;
mod progress;
mod repair;
mod replay;
mod select;
mod time;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use waltool::format::Format;
use waltool::formats as list;

pub use context::{Color, Context};
pub use exit::Exit;

/// fsck for write-ahead logs.
///
/// Dumps, verifies, copies, repairs and replays the logs that databases leave behind. LOG is a file, a directory of segments, or
/// `-` for standard input where nothing needs to be read twice. The format is found by looking at the content. Commands
/// that only read take no lock, create nothing, and are safe on a live log.
#[derive(Parser)]
#[command(name = "waltool", version, arg_required_else_help = true, after_help = EXIT_HELP)]
pub struct Cli {
    /// When to use colour; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,

    #[command(subcommand)]
    command: Command,
}

/// The exit codes, for help and manual.
const EXIT_HELP: &str = "\
Exit codes:
  0   clean, or done and nothing lost
  2   wrong arguments
  3   torn-tail: a write never finished; cutting it loses nothing that is proven acknowledged
  4   corrupt: acknowledged data is damaged; or incomplete: a segment is missing
  5   not recognised, or newer than this waltool
  6   cannot read or write
  7   refused: would lose data, wrong target, locked by a writer
  70  a bug in waltool
Of several logs the worst decides: the highest code.";

#[derive(Subcommand)]
enum Command {
    Dump(dump::DumpArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Replay(replay::ReplayArgs),
    Load(load::LoadArgs),
    Copy(copy::CopyArgs),
    Formats(formats::FormatsArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    fn run(&self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Dump(args) => dump::run(args, context),
            Self::Verify(args) => verify::run(args, context),
            Self::Repair(args) => repair::run(args, context),
            Self::Replay(args) => replay::run(args, context),
            Self::Load(args) => load::run(args, context),
            Self::Copy(args) => copy::run(args, context),
            Self::Formats(args) => formats::run(args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(args, context),
        }
    }
}

/// Which format the log has, for commands that read one.
#[derive(Args)]
pub struct FormatArg {
    /// Take LOG for this format, whatever it looks like
    #[arg(long = "format", value_name = "NAME", value_parser = format_parser())]
    pub format: Option<&'static dyn Format>,
}

fn format_parser() -> impl TypedValueParser<Value = &'static dyn Format> {
    let names = PossibleValuesParser::new(list::FORMATS.iter().map(|format| format.name()));
    names.try_map(|name| list::by_name(&name).ok_or("no such format"))
}

/// One log, for commands that take exactly one.
#[derive(Args)]
pub struct LogArg {
    /// A file, a directory of segments, or `-` for standard input
    #[arg(value_name = "LOG", value_hint = clap::ValueHint::AnyPath)]
    pub log: PathBuf,
    #[command(flatten)]
    pub format: FormatArg,
}

/// Parses the arguments and runs the command.
pub fn main() -> Exit {
    // A limit on file sizes is then an error of the write that meets it, which leaves nothing behind, and not a death.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print().map_err(anyhow::Error::from);
            return match printed {
                _ if error.use_stderr() => Exit::Usage,
                Err(failed) => end(&failed.context("standard output: cannot write")),
                Ok(()) => Exit::Done,
            };
        }
    };
    cli.command.run(&Context::new(cli.color)).unwrap_or_else(|error| end(&error))
}

/// What an error ends with, after it was said. A reader that has read enough is none.
fn end(error: &anyhow::Error) -> Exit {
    let exit = Exit::of(error);
    if exit != Exit::Done {
        message::error(error);
    }
    exit
}
