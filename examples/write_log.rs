//! Writes a log of two transactions, and reads back what is committed. Run again, it goes on where it ended.
//!
//! `cargo run --example write_log -- DIRECTORY`

use waltool::shown;
use waltool::wal::{Result, Wal};

fn main() -> Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: write_log DIRECTORY");
        std::process::exit(2);
    };
    let wal = Wal::open(&folder)?;

    let mut transaction = wal.begin();
    transaction.write(0, b"hello, world");
    let lsn = transaction.commit()?;
    println!("{lsn} is on the disk");

    // Both changes are in the log, or none.
    let mut transaction = wal.begin();
    transaction.write(7, b"there").set_len(12);
    transaction.commit()?;

    let committed = wal.committed(wal.redo_lsn())?;
    let mut entries = committed.entries();
    while let Some(logged) = entries.next()? {
        println!("{} transaction {}: {:?}", logged.lsn, logged.transaction, logged.entry);
    }
    wal.close()?;
    println!("waltool verify {}", shown(folder.as_ref()));
    Ok(())
}
