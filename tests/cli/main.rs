//! The command as scripts and people meet it.

mod bench;
mod completions;
mod copy;
mod dump;
mod help;
mod inputs;
mod load;
#[path = "../logs/mod.rs"]
mod logs;
mod output;
mod readme;
mod repair;
mod replay;
mod verify;
