//! Writes a native log of two transactions by one thread, and reads it back.
//!
//! `cargo run --example write_log -- NEW_DIRECTORY`

use std::path::PathBuf;

use waltool::formats::native::encode::Entry;
use waltool::formats::native::log_writer::{LogOptions, LogWriter};
use waltool::{Log, Report};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: write_log NEW_DIRECTORY");
        std::process::exit(2);
    };
    std::fs::create_dir(&folder)?;

    // A real program draws the ids and nonces from the system's random numbers.
    let options =
        LogOptions { log_id: *b"an example's log", target_id: [0; 16], created_ns: 0, segment_limit: 64 << 20 };
    let mut nonce = 0;
    let mut log = LogWriter::create(&folder, &options, || {
        nonce += 1;
        nonce
    })?;
    log.transaction(&[Entry::Write { offset: 0, bytes: b"hello, world" }], 1)?;
    // Durable from here on; the next commit promises it.
    log.sync()?;
    log.transaction(&[Entry::Write { offset: 7, bytes: b"there" }, Entry::SetLen(12)], 2)?;
    log.finish(3)?;

    let log = Log::open(&folder, None)?;
    let report = Report::of(&log, |_bytes_read| {})?;
    println!("{}: {} transactions, {}", waltool::shown(&folder), report.prefix.transactions, report.verdict());
    Ok(())
}
