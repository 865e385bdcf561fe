//! The `waltool` command: parse, run, exit code.

mod cli;
mod print;

use std::process::ExitCode;

use cli::{Exit, message};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(message::bug));
    let exit = std::panic::catch_unwind(cli::main).unwrap_or(Exit::Bug);
    exit.into()
}
