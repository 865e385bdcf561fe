//! A fresh directory, logs to put into it, and the command.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;
use waltool::formats::native::encode::Entry;
use waltool::formats::native::log_writer::{LogOptions, LogWriter};

/// The first transaction's commit; each later one comes a second later.
pub const FIRST_COMMIT: &str = "2026-11-20T02:10:00Z";
const FIRST_COMMIT_NS: u64 = 1_795_140_600_000_000_000;
const SECOND: u64 = 1_000_000_000;

pub struct Bench {
    pub dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory for tests") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file for tests");
        path
    }

    /// A native log: transactions of two records and a commit each, promised by a sync before the next.
    pub fn native(&self, name: &str, transactions: u64) -> PathBuf {
        self.native_in_segments(name, transactions, u64::MAX)
    }

    pub fn native_in_segments(&self, name: &str, transactions: u64, segment_limit: u64) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir(&dir).expect("a directory for a log");
        let options = LogOptions { log_id: [7; 16], target_id: [0; 16], created_ns: FIRST_COMMIT_NS, segment_limit };
        let mut nonce = 0;
        let nonces = move || {
            nonce += 1;
            nonce
        };
        let mut writer = LogWriter::create(&dir, &options, nonces).expect("a log");
        for number in 0..transactions {
            let data = format!("transaction {number}");
            let entries =
                [Entry::Data(data.as_bytes()), Entry::Write { offset: 16 * number, bytes: &[number as u8; 16] }];
            writer.transaction(&entries, FIRST_COMMIT_NS + number * SECOND).expect("a transaction");
            writer.sync().expect("a sync");
        }
        writer.finish(FIRST_COMMIT_NS + transactions * SECOND).expect("an end");
        dir
    }

    /// The log that SQLite wrote in a case of `fixtures/`, under a name that is its own.
    pub fn sqlite(&self, case: &str) -> PathBuf {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sqlite").join(case).join("app.db-wal");
        self.file(&format!("{case}.db-wal"), &fs::read(from).expect("a fixture"))
    }

    /// Flips the lowest bit of a byte.
    pub fn flip(&self, path: &Path, offset: usize) {
        let mut bytes = fs::read(path).expect("a log");
        bytes[offset] ^= 1;
        fs::write(path, bytes).expect("a log");
    }

    pub fn cut(&self, path: &Path, len: u64) {
        fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("a log");
    }
}

pub fn waltool() -> Command {
    let mut command = Command::cargo_bin("waltool").expect("the command");
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").timeout(std::time::Duration::from_secs(60));
    command
}

/// What one run gave.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn run(command: &mut Command) -> Run {
    let output = command.output().expect("a run");
    Run {
        code: output.status.code().expect("an exit code, not a signal"),
        out: String::from_utf8(output.stdout).expect("text on stdout"),
        err: String::from_utf8(output.stderr).expect("text on stderr"),
    }
}

impl Run {
    /// Each line as a JSON object.
    pub fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }
}

/// The objects of one kind of span.
pub fn of_span<'v>(lines: &'v [Value], span: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["span"] == span).collect()
}
