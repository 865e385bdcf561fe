//! The commands, run as a user runs them; one file for each.

#[path = "../logs/mod.rs"]
mod logs;
mod repair;
mod replay;

use std::process::{Command, Output};

/// The built command.
pub fn waltool() -> Command {
    Command::new(env!("CARGO_BIN_EXE_waltool"))
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
