//! The `waltool` command.
fn main() {}
