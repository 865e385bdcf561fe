//! Reads a log by the library and tells where it is damaged and what can be read behind that.
//!
//! `cargo run --example postmortem -- fixtures/sqlite/bitflip-middle-512/app.db-wal`

use std::path::PathBuf;

use waltool::span::Kind;
use waltool::{Log, Report, Scan, shown};

fn main() -> waltool::Result<()> {
    let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: postmortem LOG");
        std::process::exit(2);
    };
    let log = Log::open(&path, None)?;

    let report = Report::of(&log, |_bytes_read| {})?;
    println!("{}: {} ({})", shown(&path), report.verdict(), log.format().name());
    if let Some(proof) = report.proof() {
        println!("because {proof}");
    }

    // The same bytes once more, span by span: nothing of the log is left out.
    let (mut scan, mut behind) = (Scan::new(&log), 0_u64);
    let mut damaged = false;
    while let Some(found) = scan.next()? {
        if let Kind::Damage(fault) | Kind::Torn(fault) = found.span.kind {
            println!("{} bytes at offset {}: {fault}", found.span.len, found.span.offset);
            damaged = true;
        }
        behind += u64::from(damaged && found.record.is_some());
    }
    println!("{} transactions before, {behind} records behind", report.prefix.transactions);
    Ok(())
}
