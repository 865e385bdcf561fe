//! `waltool completions`: a script for a shell, from the arguments themselves.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Context, Exit};

/// Print a completion script for a shell
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "waltool", &mut script);
    let mut out = context.out()?;
    out.put(&script);
    out.finish()?;
    Ok(Exit::Done)
}
