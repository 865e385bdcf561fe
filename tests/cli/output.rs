//! Where output goes, and what happens when it cannot go there.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::{Bench, run, waltool};
use crate::logs::files;

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

#[test]
fn nothing_new_is_written_among_the_files_of_a_log() {
    let bench = Bench::new();
    let (log, other) = (bench.native("log", 3), bench.native("other", 3));
    let lines = bench.file("lines", run(waltool().args(["dump", "--json"]).arg(&log)).out.as_bytes());
    let onto = bench.path("target");
    let (before, other_before) = (files(&log), files(&other));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    for folder in [&log, &other] {
        for name in ["00000009.wal", "00000001.wal.tmp", "LOCK", "new"] {
            let new = text(&folder.join(name));
            let commands = [
                ["load", &*text(&lines), "--output", &*new].join("\n"),
                ["copy", &*text(&log), &*new].join("\n"),
                ["repair", "--output", &*new, &*text(&log)].join("\n"),
                ["repair", "--salvage", "--output", &*new, &*text(&log)].join("\n"),
                ["replay", &*text(&log), "--onto", &*text(&onto), "--output", &*new].join("\n"),
            ];
            for command in commands {
                let output = run(waltool().args(command.lines()));
                assert_eq!(output.code, 7, "{command}: {} {}", output.out, output.err);
                assert!(output.err.contains("name something elsewhere"), "{command}: {}", output.err);
            }
        }
    }
    assert_eq!((files(&log), files(&other)), (before, other_before));
    assert!(!onto.exists());
    // Beside a log, and beside a segment that was given by itself, there is room.
    assert_eq!(run(waltool().arg("load").arg(&lines).arg("--output").arg(bench.path("new"))).code, 0);
    assert_eq!(run(waltool().arg("copy").arg(log.join("00000001.wal")).arg(log.join("kept"))).code, 0);
    assert_eq!(run(waltool().arg("verify").arg(&log)).code, 0);
}
