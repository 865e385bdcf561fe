//! Where output goes, and what happens when it cannot go there.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::bench::{Bench, run, waltool};

fn binary() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin("waltool"))
}

#[test]
fn a_pipe_that_is_closed_is_a_quiet_success() {
    let bench = Bench::new();
    let log = bench.native("log", 3000);
    for arguments in [&["dump"][..], &["dump", "--json"], &["dump", "--hex"], &["dump", "--raw"], &["verify"]] {
        let mut child = binary()
            .args(arguments)
            .arg(&log)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        drop(child.stdout.take());
        let mut complaint = String::new();
        let stderr = child.stderr.as_mut().expect("stderr");
        stderr.read_to_string(&mut complaint).expect("text on stderr");
        assert_eq!((child.wait().expect("an end").code(), complaint.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_6_and_said() {
    let bench = Bench::new();
    let log = bench.native("log", 3);
    for arguments in [&["dump"][..], &["verify"], &["dump", "--json"]] {
        let full = File::options().write(true).open("/dev/full").expect("the full device");
        let output = binary().args(arguments).arg(&log).stdout(full).output().expect("a run");
        assert_eq!(output.status.code(), Some(6), "{arguments:?}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("standard output: cannot write: No space left"), "{complaint}");
    }
}

#[test]
fn help_that_cannot_be_written_is_6_and_said() {
    for arguments in ["--help", "--version"] {
        let full = File::options().write(true).open("/dev/full").expect("the full device");
        let output = binary().arg(arguments).stdout(full).output().expect("a run");
        assert_eq!(output.status.code(), Some(6), "{arguments}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("waltool: standard output: cannot write"));
    }
}

#[test]
fn an_argument_is_escaped_in_the_message_that_refuses_it() {
    let bench = Bench::new();
    let log = bench.sqlite("clean-512-be");
    for option in ["--from=@\u{1b}[31m", "--from=\u{1b}[31m", "--kind=\u{1b}[31m", "--since=\u{1b}[31m"] {
        let output = run(waltool().args(["dump", option]).arg(&log));
        assert_eq!((output.code, output.err.contains('\u{1b}')), (2, false), "{option:?}");
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let bench = Bench::new();
    let log = bench.sqlite("bitflip-middle-512");
    let colour = |command: &mut assert_cmd::Command| run(command.arg(&log)).out.contains("\u{1b}[");
    assert!(!colour(waltool().arg("verify")), "not in a pipe");
    assert!(colour(waltool().args(["verify", "--color=always"])));
    assert!(colour(waltool().args(["--color=always", "dump", "--limit=1"])));
    assert!(colour(waltool().args(["verify", "--color=always"]).env("NO_COLOR", "1")), "asked for by name");
    assert!(!colour(waltool().args(["verify", "--color=never"]).env("CLICOLOR_FORCE", "1")));
    assert!(!colour(waltool().args(["verify", "--json", "--color=always"])), "JSON has none");
}

#[test]
fn results_go_to_stdout_and_nothing_else_does() {
    let bench = Bench::new();
    let run = run(waltool().args(["verify", "--json"]).arg(bench.native("log", 2)).arg(bench.path("gone")));
    assert_eq!((run.code, run.json().len()), (6, 1));
    assert_eq!(run.err.lines().count(), 1);
}
