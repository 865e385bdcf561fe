//! What is committed, against SQLite itself: real logs, made by random work and copied while the connection is open (so
//! as a killed process leaves them), then hurt. SQLite recovers one copy, we replay onto another, and the databases must
//! be the same bytes.
//!
//! `PROPTEST_CASES` raises the number of cases.

mod sqlite;

use std::path::Path;

use proptest::prelude::*;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sqlite::{assert_partition, log, replayed, spans};
use waltool::{Report, Verdict};

const HEADER_LEN: u64 = 32;
const FRAME_HEADER_LEN: u64 = 24;

/// What a connection does.
#[derive(Clone, Debug)]
enum Work {
    /// Commits this many rows of this many bytes.
    Insert(u16, u16),
    /// Commits a change of every n-th row.
    Update(u8),
    /// Commits the deletion of every n-th row.
    Delete(u8),
    /// Commits nothing new: the page is written again as it was.
    Same,
    /// Writes more than the cache holds, and takes it back.
    RollBack(u16),
    /// Brings committed pages home; the next writer may begin the log anew.
    Checkpoint(&'static str),
    /// Commits a new table.
    Table,
}

/// How the log is hurt, as parts of 65536 of its length.
#[derive(Clone, Debug)]
enum Harm {
    None,
    Cut(u16),
    Flip(u16, u8),
    /// A bit of the log's header, or of a frame's.
    FlipHead(u16, u8),
    Zero(u16),
    Append(u16),
}

/// How a log is made.
#[derive(Clone, Debug)]
struct Making {
    page_size: u32,
    auto_vacuum: u8,
    cache_pages: u8,
    padded: bool,
    work: Vec<Work>,
    /// Rows that a last transaction writes without a commit.
    open: u16,
    harm: Harm,
}

impl Making {
    fn is_checkpointed(&self) -> bool {
        self.work.iter().any(|work| matches!(work, Work::Checkpoint(_)))
    }
}

fn work() -> impl Strategy<Value = Work> {
    let mode = prop_oneof![Just("PASSIVE"), Just("FULL"), Just("RESTART"), Just("TRUNCATE")];
    prop_oneof![
        4 => (1..40_u16, 0..900_u16).prop_map(|(rows, len)| Work::Insert(rows, len)),
        3 => (1..9_u8).prop_map(Work::Update),
        2 => (1..5_u8).prop_map(Work::Delete),
        1 => Just(Work::Same),
        1 => (1..60_u16).prop_map(Work::RollBack),
        2 => mode.prop_map(Work::Checkpoint),
        1 => Just(Work::Table),
    ]
}

fn making() -> impl Strategy<Value = Making> {
    let harm = prop_oneof![
        2 => Just(Harm::None),
        3 => any::<u16>().prop_map(Harm::Cut),
        4 => (any::<u16>(), 0..8_u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        3 => (any::<u16>(), any::<u8>()).prop_map(|(at, bit)| Harm::FlipHead(at, bit)),
        2 => any::<u16>().prop_map(Harm::Zero),
        1 => (1..5000_u16).prop_map(Harm::Append),
    ];
    let pages = prop_oneof![4 => 9..13_u32, 1 => 13..17_u32].prop_map(|bits| 1 << bits);
    let work = prop::collection::vec(work(), 1..14);
    let open = prop_oneof![Just(0), 1..60_u16];
    (pages, 0..3_u8, 1..20_u8, prop::bool::weighted(0.2), work, open, harm).prop_map(
        |(page_size, auto_vacuum, cache_pages, padded, work, open, harm)| Making {
            page_size,
            auto_vacuum,
            cache_pages,
            padded,
            work,
            open,
            harm,
        },
    )
}

fn connect(database: &Path, padded: bool) -> Connection {
    let name = format!("file:{}?psow={}", database.display(), u8::from(!padded));
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(name, flags).expect("a connection")
}

/// The database and its log, as they are while the connection is open.
fn made(making: &Making) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    let connection = connect(&database, making.padded);
    let run = |sql: &str| connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    run(&format!("PRAGMA page_size={}; PRAGMA auto_vacuum={};", making.page_size, making.auto_vacuum));
    // Only with full syncs does SQLite fill sectors; the others would just be slow.
    let synchronous = if making.padded { "FULL" } else { "OFF" };
    run(&format!("PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint=0;"));
    run(&format!("PRAGMA cache_size={}; PRAGMA cache_spill={};", making.cache_pages, making.cache_pages));
    run("CREATE TABLE t0 (a INTEGER PRIMARY KEY, b BLOB); CREATE INDEX i0 ON t0 (b);");
    let mut tables = 1;
    for work in &making.work {
        do_work(work, &mut tables, &run);
    }
    if making.open > 0 {
        run(&format!("BEGIN; {}", insert(making.open, 700, 0)));
    }
    let log = database.with_extension("db-wal");
    (std::fs::read(&database).expect("the database"), std::fs::read(log).expect("the log"))
}

fn insert(rows: u16, len: u16, table: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO t{table} (b) SELECT randomblob({len}) FROM n;"
    )
}

fn do_work(work: &Work, tables: &mut u32, run: &dyn Fn(&str)) {
    let table = *tables - 1;
    match *work {
        Work::Insert(rows, len) => run(&insert(rows, len, table)),
        Work::Update(nth) => run(&format!("UPDATE t{table} SET b = randomblob(90) WHERE a % {nth} = 0;")),
        Work::Delete(nth) => run(&format!("DELETE FROM t0 WHERE a % {nth} = 0; PRAGMA incremental_vacuum(3);")),
        Work::Same => run(&format!("UPDATE t{table} SET b = b;")),
        Work::RollBack(rows) => run(&format!("BEGIN; {} ROLLBACK;", insert(rows, 900, 0))),
        Work::Checkpoint(mode) => run(&format!("PRAGMA wal_checkpoint({mode});")),
        Work::Table => {
            run(&format!("CREATE TABLE t{tables} (a INTEGER PRIMARY KEY, b BLOB);"));
            *tables += 1;
        }
    }
}

/// Hurts the log; where that is a flipped bit, its byte.
fn hurt(log: &mut Vec<u8>, making: &Making) -> Option<usize> {
    let place = |at: u16, len: usize| (usize::from(at) * len) >> 16;
    let len = log.len();
    match making.harm {
        Harm::None => None,
        Harm::Cut(at) => {
            log.truncate(place(at, len + 1));
            None
        }
        Harm::Flip(at, bit) => flip(log, place(at, len), bit),
        Harm::FlipHead(at, bit) => {
            let frame_len = (FRAME_HEADER_LEN + u64::from(making.page_size)) as usize;
            let frame = place(at, len) / frame_len;
            let head = if frame == 0 { 0 } else { HEADER_LEN as usize + (frame - 1) * frame_len };
            flip(log, head + usize::from(bit) / 8 % FRAME_HEADER_LEN as usize, bit % 8)
        }
        Harm::Zero(at) => {
            let at = place(at, len) / 512 * 512;
            log[at..len.min(at + 512)].fill(0);
            None
        }
        Harm::Append(len) => {
            let mut state = u64::from(len);
            let noise = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            });
            log.extend(noise.take(len.into()));
            None
        }
    }
}

fn flip(log: &mut [u8], at: usize, bit: u8) -> Option<usize> {
    *log.get_mut(at)? ^= 1 << bit;
    Some(at)
}

/// The frames that SQLite finds committed, and the database that it makes of them.
fn recovered(database: &[u8], log: &[u8]) -> Option<(u64, Vec<u8>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    std::fs::write(&path, database).expect("the database");
    std::fs::write(path.with_extension("db-wal"), log).expect("the log");
    let connection = connect(&path, false);
    // Opens the log, which a checkpoint alone does not always do.
    let _ = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let checkpoint = |mode: &str, column: usize| {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(column))
    };
    let frames = match checkpoint("PASSIVE", 1) {
        Ok(frames) => u64::try_from(frames).expect("a log"),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => return None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(checkpoint("TRUNCATE", 0), Ok(0), "nobody else is there");
    drop(connection);
    Some((frames, std::fs::read(path).expect("the database")))
}

/// Where SQLite is silent, we say what is wrong.
fn check_verdict(making: &Making, healthy: &Report, report: &Report, flipped: Option<usize>) {
    let verdict = report.verdict();
    match (&making.harm, flipped) {
        // Frames of a transaction that was never finished may be in any state; nothing of them was committed.
        (Harm::None, _) => assert!(verdict <= Verdict::TornTail, "{verdict} of a healthy log"),
        (Harm::Cut(_), _) => assert!(verdict <= Verdict::TornTail, "{verdict} of a cut log"),
        (Harm::Append(_), _) => assert!(verdict <= Verdict::TornTail, "{verdict} of a log with noise behind it"),
        (_, Some(at)) => {
            let at = at as u64;
            let (end, committed) = (healthy.prefix.end.offset, healthy.prefix.committed_end.offset);
            // SQLite drops all that was committed behind the bit, without a word.
            if committed > HEADER_LEN && at < committed - (FRAME_HEADER_LEN + u64::from(making.page_size)) {
                assert_eq!(verdict, Verdict::Corrupt, "bit at {at}, commit ends at {committed}");
            }
            if at < end {
                assert_ne!(verdict, Verdict::Clean, "bit at {at}, frames end at {end}");
                let named = report.faults[0].kind.fault().and_then(|fault| fault.flip());
                assert!(named.is_none_or(|named| named.offset == at), "bit at {at}, found {named:?}");
            }
        }
        // Zeros over zeros are no harm.
        (_, None) => {}
    }
}

fn check(making: &Making) {
    let (database, mut bytes) = made(making);
    let healthy = Report::of(&log(&bytes), |_| {}).expect("a report");
    let flipped = hurt(&mut bytes, making);
    let log = log(&bytes);
    let report = Report::of(&log, |_| {}).expect("a report");
    let spans = spans(&bytes, 4096);
    assert_partition(&spans, bytes.len());
    check_verdict(making, &healthy, &report, flipped);
    let Some((frames, image)) = recovered(&database, &bytes) else {
        // The log lost what a checkpoint had already brought home: old pages over newer ones are no database.
        assert!(making.is_checkpointed() && !matches!(making.harm, Harm::None), "SQLite refuses a sound database");
        return;
    };
    let committed = &report.prefix;
    assert_eq!(committed.committed_records, frames, "frames up to the last commit");
    let end = committed.committed_end.offset;
    let frame_len = FRAME_HEADER_LEN + u64::from(making.page_size);
    assert_eq!(end.saturating_sub(HEADER_LEN), frames * frame_len, "the last commit's end");
    assert!(replayed(&database, &log, end) == image, "another database than SQLite's, {} frames", frames);
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_committed_is_what_sqlite_recovers(making in making()) {
        check(&making);
    }
}
