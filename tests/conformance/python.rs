//! The other reader, in a process that answers one log after another.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

pub struct Python {
    process: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// `None`, with a word about it, on a machine without Python; where `CI` is set that is a failure. `WALTOOL_READER` is another reader.
    pub fn start() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/walt1.py");
        let mut command = Command::new("python3");
        match std::env::var_os("WALTOOL_READER") {
            Some(reader) => command = Command::new(reader),
            None => _ = command.arg(script),
        }
        let process = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = match process {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assert!(std::env::var_os("CI").is_none(), "python3 is missing: the conformance test needs it");
                figure!("SKIPPED: python3 is not on this machine");
                return None;
            }
            Err(error) => panic!("python3: {error}"),
        };
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Some(Self { asks: process.stdin.take(), answers, process })
    }

    /// What it says of a log.
    pub fn read(&mut self, path: &Path) -> Vec<Value> {
        let asks = self.asks.as_mut().expect("open until this is dropped");
        writeln!(asks, "{}", path.display()).expect("walt1.py ended early; its message is above");
        let mut lines = vec![self.line(path)];
        let count = |key: &str| lines[0][key].as_u64().unwrap_or(0);
        let records = count("records") + count("salvageable");
        for _ in 0..records {
            lines.push(self.line(path));
        }
        lines
    }

    fn line(&mut self, path: &Path) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a line of text");
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{}: walt1.py said {line:?}: {error}", path.display()))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.asks = None;
        let _ = self.process.wait();
    }
}
