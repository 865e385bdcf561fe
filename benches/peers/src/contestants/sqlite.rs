//! SQLite in WAL mode: a transaction of one insert per record, with `synchronous=FULL` where it is to be durable.

use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use rusqlite::Connection;

use super::{Contestant, Log, Promise, Reading, Work};

pub struct Sqlite;

impl Contestant for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn offers(&self, promise: Promise, _: usize) -> bool {
        promise != Promise::Buffered
    }

    fn with_log(&self, folder: &Path, promise: Promise, _: usize, work: Work<'_>) -> Result<()> {
        let connection = connect(folder)?;
        let synchronous = if promise == Promise::Durable { "FULL" } else { "OFF" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch("CREATE TABLE log (id INTEGER PRIMARY KEY, record BLOB NOT NULL)")?;
        grow(&connection)?;
        work(&Table(Mutex::new(connection)))
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        Some(read)
    }
}

fn connect(folder: &Path) -> Result<Connection> {
    let connection = Connection::open(folder.join("log.db"))?;
    // With one connection the index of the log need not be shared.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Ok(connection)
}

/// Lets the log become as long as it gets before SQLite begins it anew, as it is in a database that has been used for a while: appends
/// that make the file longer are several times as slow.
fn grow(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
             INSERT INTO log (record) SELECT zeroblob(4000) FROM n;
         DELETE FROM log; VACUUM; PRAGMA wal_checkpoint(RESTART);",
    )?;
    Ok(())
}

/// One connection for all threads: SQLite has one writer at a time, and a lock hands over faster than its busy handler.
struct Table(Mutex<Connection>);

impl Log for Table {
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        let connection = self.0.lock().expect("no thread panics while it inserts");
        connection.prepare_cached("INSERT INTO log (record) VALUES (?1)")?.execute([record])?;
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Reading> {
    let connection = connect(folder)?;
    let (mut records, mut bytes) = (0, 0);
    {
        let mut select = connection.prepare("SELECT record FROM log ORDER BY id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            records += 1;
            bytes += std::hint::black_box(row.get_ref(0)?.as_blob()?).len() as u64;
        }
    }
    Ok(Reading::new(records, bytes, connection))
}
