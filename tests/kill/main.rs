//! `kill -9` on the real file system: a program that logs, and the commands that change files, killed at any moment.
//!
//! A child process, which is this test again, opens a log and commits from several threads, with all durabilities, with rotations and
//! checkpoints, and says each thing that it was told is done. It is killed after any number of lines. Then of what it was told all is in the
//! log, whole and in order, and nothing that was never begun; and the next child goes on with the same log.
//!
//! `WALTOOL_KILLS` sets how often (250), `WALTOOL_SEED` what is done and after how many lines the kill comes (1); a failure prints
//! both. The moment of a kill is never quite the same again. Ten thousand: `WALTOOL_KILLS=10000 cargo test --test kill`.

#[macro_use]
#[path = "../support/figure.rs"]
mod figure;
#[path = "../support/mod.rs"]
mod support;

mod child;
mod command;
mod witness;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use child::Line;
use support::Noise;
use witness::Witness;

/// Tells the test that it is the child, and where the log is.
const CHILD: &str = "WALTOOL_KILLED_LOG";
/// Which opening of the log this is.
const SESSION: &str = "WALTOOL_KILLED_SESSION";

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_a_killed_program_was_told_is_in_its_log() {
    if let Some(log) = std::env::var_os(CHILD) {
        return child::write(Path::new(&log), from_environment(SESSION, 0) as u32);
    }
    let (kills, seed) = (from_environment("WALTOOL_KILLS", 250), from_environment("WALTOOL_SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut witness = Witness::default();
    for kill in 0..kills {
        let session = seed.wrapping_mul(1_000_003).wrapping_add(kill) as u32;
        let lines = if noise.below(3) == 0 { noise.below(6) } else { noise.below(150) };
        let said = run_and_kill(log.as_os_str(), session, lines);
        // What another test spawns holds all that is open here, locks too, until it runs its own program.
        let quiet = SPAWNING.lock();
        let checked = witness.check(&log, session, &said);
        drop(quiet);
        checked.unwrap_or_else(|why| panic!("seed {seed}, kill {kill} of {kills}, after {lines} lines: {why}"));
    }
    figure!("{kills} kills from seed {seed} on: {witness}");
    assert!(witness.has_seen_enough(kills), "{witness}");
}

/// Held while a process is spawned, and while nothing may be.
static SPAWNING: Mutex<()> = Mutex::new(());

fn spawn(command: &mut Command) -> Child {
    let _spawning = SPAWNING.lock();
    command.spawn().expect("a process")
}

/// Runs a child up to so many lines, kills it, and gives all that it said.
fn run_and_kill(log: &OsStr, session: u32, lines: usize) -> Vec<Line> {
    let own = std::env::current_exe().expect("this test");
    let mut command = Command::new(own);
    command.args(["--exact", "what_a_killed_program_was_told_is_in_its_log", "--nocapture"]);
    let mut child = spawn(command.env(CHILD, log).env(SESSION, session.to_string()).stdout(Stdio::piped()));
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut said = Vec::new();
    let mut text = String::new();
    let mut killed = false;
    loop {
        if !killed && said.len() >= lines {
            child.kill().expect("a kill");
            killed = true;
        }
        text.clear();
        if out.read_line(&mut text).expect("what it says") == 0 {
            break;
        }
        said.extend(Line::parse(&text));
    }
    let status = child.wait().expect("its end");
    assert_eq!(status.signal(), Some(9), "session {session}: it ended by itself after {} lines", said.len());
    said
}
