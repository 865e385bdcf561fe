//! The command as scripts and people meet it.

mod bench;
mod completions;
mod dump;
mod help;
mod inputs;
mod output;
mod verify;
