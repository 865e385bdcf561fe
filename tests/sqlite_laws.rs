//! The laws of a scan, on logs that SQLite writes in the test: what may be read from a log that was cut, or in which one
//! bit flipped; what shows that it is in use; and that threads change nothing.

mod sqlite;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rusqlite::Connection;
use sqlite::{assert_partition, good_frames, log, replayed, report, spans};
use waltool::format::{CLUE_LEN, Clue, Lock, Match};
use waltool::formats::by_name;
use waltool::span::{Fault, Kind};
use waltool::{Log, Report, Verdict};

const HEADER_LEN: usize = 32;
const FRAME_LEN: usize = 24 + 512;

/// A connection to a new database with this page size, and what holds its folder.
fn connect(page_size: u32) -> (tempfile::TempDir, PathBuf, Connection) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    let connection = Connection::open(&database).expect("a connection");
    let setup = format!(
        "PRAGMA page_size={page_size}; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; \
         CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB);"
    );
    connection.execute_batch(&setup).expect("a table");
    (folder, database, connection)
}

/// A small log as SQLite writes it: some transactions of one page and more.
fn small() -> Vec<u8> {
    let (_folder, database, connection) = connect(512);
    for len in [10, 900, 20, 30] {
        connection.execute("INSERT INTO t (b) VALUES (randomblob(?))", [len]).expect("a row");
    }
    let bytes = std::fs::read(database.with_extension("db-wal")).expect("the log");
    let frames = (bytes.len() - HEADER_LEN) / FRAME_LEN;
    assert!((8..16).contains(&frames), "{frames} frames");
    bytes
}

/// Every bit of the log's header and of the frames' headers, and of the pages one in 17; with `EVERY_BIT=1` all.
fn bits(len: usize) -> impl Iterator<Item = usize> {
    let every = std::env::var_os("EVERY_BIT").is_some();
    let in_head = |bit: usize| bit / 8 < HEADER_LEN || (bit / 8 - HEADER_LEN) % FRAME_LEN < 24;
    (0..len * 8).filter(move |&bit| every || in_head(bit) || bit % 17 == 0)
}

#[test]
fn any_cut_of_a_clean_log_is_a_prefix_without_damage() {
    let whole = small();
    let frames = good_frames(&whole);
    assert_eq!(report(&whole).verdict(), Verdict::Clean);
    for len in 0..whole.len() {
        let cut = &whole[..len];
        let spans = spans(cut, 4096);
        assert_partition(&spans, len);
        assert!(spans.iter().all(|(span, _)| !matches!(span.kind, Kind::Damage(_))), "cut at {len}: {spans:?}");
        let good = good_frames(cut);
        assert_eq!(good[..], frames[..len.saturating_sub(HEADER_LEN) / FRAME_LEN], "cut at {len}");
        let on_the_grid = len == 0 || len >= HEADER_LEN && (len - HEADER_LEN).is_multiple_of(FRAME_LEN);
        let verdict = if on_the_grid { Verdict::Clean } else { Verdict::TornTail };
        assert_eq!(report(cut).verdict(), verdict, "cut at {len}");
    }
}

#[test]
fn any_flipped_bit_is_noticed_and_adds_no_frame() {
    let whole = small();
    let frames = good_frames(&whole);
    let (mut flips, mut undetected, mut unnamed) = (0, 0, 0);
    for bit in bits(whole.len()) {
        flips += 1;
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        let mut bytes = whole.clone();
        bytes[at] ^= mask;
        let report = report(&bytes);
        undetected += usize::from(report.verdict() == Verdict::Clean);
        for (offset, frame) in good_frames(&bytes) {
            assert!(frames.contains(&(offset, frame)), "bit {bit}: a frame at {offset} that was not there");
        }
        // One frame is lost, or none: where only its salts or its own sum are hit, the chain proves it.
        assert!(report.prefix.records + report.beyond.records + 1 >= frames.len() as u64, "bit {bit}");
        let named = report.faults.first().and_then(|span| span.kind.fault()?.flip());
        assert!(named.is_none_or(|flip| (flip.offset, 1 << flip.bit) == (at as u64, mask)), "bit {bit}: {named:?}");
        unnamed += usize::from(named.is_none());
        let last = whole.len() - FRAME_LEN;
        let verdict = if at < last { Verdict::Corrupt } else { Verdict::TornTail };
        // The last frame's salts are outside its sum: the chain proves that this commit is here, so it was hit later.
        let verdict = if (last + 8..last + 16).contains(&at) { Verdict::Corrupt } else { verdict };
        assert_eq!(report.verdict(), verdict, "bit {bit}");
    }
    assert_eq!(undetected, 0);
    // In the highest bits of its words the sum is too weak to tell one place from another.
    assert!(unnamed * 4 < flips, "{unnamed} of {flips} flips without a name");
}

#[test]
fn a_flipped_bit_in_an_earlier_life_is_never_taken_for_loss() {
    let (_folder, database, connection) = connect(512);
    let run = |sql: &str| connection.execute_batch(sql).expect("a statement");
    run("INSERT INTO t (b) VALUES (randomblob(3000)); PRAGMA wal_checkpoint(FULL); INSERT INTO t (b) VALUES (1);");
    let whole = std::fs::read(database.with_extension("db-wal")).expect("the log");
    let clean = report(&whole);
    let end = clean.prefix.end.offset as usize;
    assert_eq!((clean.verdict(), clean.stale_bytes), (Verdict::Clean, (whole.len() - end) as u64));
    for bit in bits(whole.len()).filter(|bit| bit / 8 >= end) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let report = report(&bytes);
        assert_eq!((report.prefix, report.beyond), (clean.prefix, clean.beyond), "bit {bit}");
        // Nothing protects what is stale but its salts, so most bits go unnoticed; a hit salt may be any write's.
        let salts = (8..16).contains(&((bit / 8 - HEADER_LEN) % FRAME_LEN));
        assert!(report.verdict() == Verdict::Clean || salts && report.verdict() == Verdict::TornTail, "bit {bit}");
    }
}

#[test]
fn the_spans_of_a_hurt_log_do_not_depend_on_what_is_read_at_once() {
    let whole = small();
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let expected = spans(&bytes, 1024 * 1024);
        assert_partition(&expected, bytes.len());
        for window in [1, 7, 64, 5000] {
            assert_eq!(spans(&bytes, window), expected, "byte {at}, {window} bytes at once");
        }
    }
}

/// A log with what is left of a transaction that was rolled back, and its last commit's end.
fn with_leftovers() -> (Vec<u8>, usize) {
    let (_folder, database, connection) = connect(512);
    let run = |sql: &str| connection.execute_batch(sql).expect("a statement");
    run("INSERT INTO t (b) VALUES (1); PRAGMA cache_size=4; PRAGMA cache_spill=4;");
    run("BEGIN; INSERT INTO t (b) VALUES (randomblob(30000)); INSERT INTO t (b) VALUES (randomblob(30000)); ROLLBACK;");
    run("INSERT INTO t (b) VALUES (randomblob(1500));");
    let bytes = std::fs::read(database.with_extension("db-wal")).expect("the log");
    let end = report(&bytes).prefix.committed_end.offset as usize;
    assert!(bytes.len() > end + 3 * FRAME_LEN, "nothing is left of the rollback");
    (bytes, end)
}

#[test]
fn what_a_rollback_left_is_clean() {
    let (bytes, end) = with_leftovers();
    let report = report(&bytes);
    assert_eq!((report.verdict(), report.row().label), (Verdict::Clean, 'I'));
    assert_eq!((report.beyond.records, report.stale_bytes), (0, (bytes.len() - end) as u64));
}

#[test]
fn what_two_rollbacks_left_is_clean() {
    let (_folder, database, connection) = connect(512);
    let run = |sql: &str| connection.execute_batch(sql).expect("a statement");
    run("INSERT INTO t (b) VALUES (1); PRAGMA cache_size=4; PRAGMA cache_spill=4;");
    for len in [30_000, 8000] {
        run(&format!("BEGIN; INSERT INTO t (b) VALUES (randomblob({len})); ROLLBACK; INSERT INTO t (b) VALUES (1);"));
    }
    let bytes = std::fs::read(database.with_extension("db-wal")).expect("the log");
    let unlinked = spans(&bytes, 4096)
        .into_iter()
        .filter(|(span, _)| matches!(span.kind, Kind::Damage(Fault::Unlinked { .. })))
        .count();
    let report = report(&bytes);
    assert_eq!((unlinked, report.verdict(), report.beyond.records), (2, Verdict::Clean, 0));
    assert_eq!(report.stale_bytes, bytes.len() as u64 - report.prefix.committed_end.offset);
}

#[test]
fn a_hit_commit_before_what_a_rollback_left_is_not_clean() {
    let (whole, end) = with_leftovers();
    for at in [end - 100, end - FRAME_LEN + 1, end - FRAME_LEN + 20] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(b"hurt");
        let report = report(&bytes);
        assert_eq!((report.verdict(), report.beyond.records), (Verdict::TornTail, 0), "byte {at}");
    }
    let mut bytes = whole;
    bytes[end - FRAME_LEN + 9..][..4].copy_from_slice(b"hurt");
    let report = report(&bytes);
    assert_eq!((report.verdict(), report.beyond.records), (Verdict::Corrupt, 1), "its salts");
}

#[test]
fn what_a_rollback_left_is_not_salvaged() {
    let (mut bytes, end) = with_leftovers();
    let frames = (end - HEADER_LEN) / FRAME_LEN;
    let first = HEADER_LEN + 24 + 100;
    bytes[first..first + 4].copy_from_slice(b"hurt");
    let beyond = report(&bytes).beyond;
    assert_eq!((report(&bytes).verdict(), beyond.records), (Verdict::Corrupt, frames as u64 - 1));
    // Cut within a frame of it, the log is torn, but no frame more is worth anything.
    let (mut bytes, end) = with_leftovers();
    bytes.truncate(end + 2 * FRAME_LEN + 100);
    let report = report(&bytes);
    assert_eq!((report.verdict(), report.beyond.records, report.stale_bytes), (Verdict::TornTail, 0, FRAME_LEN as u64));
}

#[test]
fn a_rollback_leaves_nothing_at_the_beginning() {
    let (_folder, database, connection) = connect(512);
    let run = |sql: &str| connection.execute_batch(sql).expect("a statement");
    run("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA cache_size=4; PRAGMA cache_spill=4;");
    run("BEGIN; INSERT INTO t (b) VALUES (randomblob(30000));");
    let mut bytes = std::fs::read(database.with_extension("db-wal")).expect("the log");
    let whole = report(&bytes);
    assert_eq!((whole.verdict(), whole.prefix.commits), (Verdict::Clean, 0));
    bytes[HEADER_LEN + 24 + 100..][..4].copy_from_slice(b"hurt");
    let report = report(&bytes);
    assert_eq!((report.verdict(), report.beyond.records), (Verdict::TornTail, whole.prefix.records - 1));
}

#[test]
fn frames_of_a_later_life_than_the_header_are_not_stale() {
    let (_folder, database, connection) = connect(512);
    let run = |sql: &str| connection.execute_batch(sql).expect("a statement");
    let read = || std::fs::read(database.with_extension("db-wal")).expect("the log");
    let before = read();
    run("PRAGMA wal_checkpoint(FULL); INSERT INTO t (b) VALUES (randomblob(4000));");
    let mut bytes = read();
    assert_eq!(report(&bytes).verdict(), Verdict::Clean);
    assert_ne!(bytes[..HEADER_LEN], before[..HEADER_LEN]);
    // As if the new header had never reached the disk, and the frames behind it had.
    bytes[..HEADER_LEN].copy_from_slice(&before[..HEADER_LEN]);
    assert_eq!(report(&bytes).verdict(), Verdict::TornTail);
}

#[test]
fn noise_behind_a_log_is_not_stale() {
    let mut bytes = small();
    let end = bytes.len();
    let mut state = 1_u64;
    bytes.extend(
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .take(20 * FRAME_LEN + 100),
    );
    let report = report(&bytes);
    assert_eq!((report.verdict(), report.stale_bytes), (Verdict::TornTail, 0));
    assert_eq!((report.prefix.end.offset, report.fault_bytes), (end as u64, (bytes.len() - end) as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_are_partitioned_whatever_is_read_at_once(
        parts in prop::collection::vec((0..3_u8, any::<u16>(), 1..1500_usize), 0..12),
    ) {
        let (small, leftovers) = (small(), with_leftovers().0);
        let mut bytes = Vec::new();
        for (kind, at, len) in parts {
            let source = [&small, &leftovers][usize::from(at % 2)];
            let at = (usize::from(at) * source.len()) >> 16;
            match kind {
                0 => bytes.extend_from_slice(&source[at..source.len().min(at + len)]),
                1 => bytes.extend_from_slice(&source[..source.len().min(len * 4)]),
                _ => bytes.resize(bytes.len() + len, at as u8),
            }
        }
        let expected = spans(&bytes, 1024 * 1024);
        assert_partition(&expected, bytes.len());
        for window in [1, 64, 5000] {
            prop_assert_eq!(&spans(&bytes, window), &expected);
        }
    }
}

#[test]
fn a_log_without_header_is_read_by_trial() {
    let whole = small();
    let frames = good_frames(&whole).len() as u64;
    for zeroed in [4, HEADER_LEN, HEADER_LEN + 24, HEADER_LEN + 2 * FRAME_LEN] {
        let mut bytes = whole.clone();
        bytes[..zeroed].fill(0);
        let report = report(&bytes);
        assert_eq!(report.verdict(), Verdict::Corrupt, "{zeroed} bytes");
        // Zeroed frames are lost, and with them the seed of the next.
        let lost = if zeroed <= HEADER_LEN { 0 } else { zeroed.div_ceil(FRAME_LEN) as u64 + 1 };
        let first = u64::from(zeroed == HEADER_LEN);
        assert!(report.beyond.records + lost + first >= frames, "{zeroed} bytes: {}", report.beyond.records);
    }
}

#[test]
fn threads_change_nothing() {
    let (_folder, database, connection) = connect(4096);
    let run = |sql: &str| connection.execute_batch(sql).expect("a statement");
    for _ in 0..40 {
        run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) \
             INSERT INTO t (b) SELECT randomblob(9000) FROM n; UPDATE t SET b = b WHERE a = 1; UPDATE t SET b = b WHERE a = 1;");
    }
    let path = database.with_extension("db-wal");
    let whole = std::fs::read(&path).expect("the log");
    assert!(whole.len() > 9 << 20, "{} bytes are no work for several threads", whole.len());
    let copy = path.with_extension("copy");
    for hurt in [None, Some(5 << 20), Some((5 << 20) + 12345), Some(whole.len() - 3)] {
        let mut bytes = whole.clone();
        hurt.into_iter().for_each(|at| bytes[at] ^= 4);
        std::fs::write(&copy, &bytes).expect("a copy");
        let log = Log::open(&copy, None).expect("recognised");
        let one = Report::of(&log, |_| {}).expect("a report");
        let four = Report::by_threads(&log, 4, |_| {}).expect("a report");
        assert_eq!((one.prefix, one.beyond), (four.prefix, four.beyond), "{hurt:?}");
        assert_eq!((one.verdict(), one.faults), (four.verdict(), four.faults), "{hurt:?}");
        assert_eq!((one.bytes, one.stale_bytes, one.undecided), (four.bytes, four.stale_bytes, four.undecided));
    }
}

#[test]
fn salvaged_frames_make_a_clean_log_that_replays_alike() {
    let (_folder, database, connection) = connect(1024);
    connection
        .execute_batch("INSERT INTO t (b) VALUES (randomblob(5000)); INSERT INTO t (b) VALUES (1);")
        .expect("rows");
    let base = std::fs::read(&database).expect("the database");
    let old = log(&std::fs::read(database.with_extension("db-wal")).expect("the log"));
    let format = old.format();
    let (mut rebuild, mut bytes) = (format.rebuild(), Vec::new());
    let mut scan = waltool::Scan::new(&old);
    while let Some(found) = scan.next().expect("a span") {
        if let Some(header) = found.header {
            rebuild.segment(None, Some(header), &mut bytes);
        } else if let Some(record) = found.record {
            rebuild.record(&record, &mut bytes).expect("a frame");
        }
    }
    rebuild.end(false, &mut bytes);
    let end = report(&bytes).prefix.committed_end.offset;
    assert_eq!((report(&bytes).verdict(), end), (Verdict::Clean, bytes.len() as u64));
    assert_eq!(replayed(&base, &log(&bytes), end), replayed(&base, &old, u64::MAX));
}

fn probe(name: &str, bytes: &[u8]) -> Match {
    let head = &bytes[..bytes.len().min(CLUE_LEN)];
    let clue = Clue { name: OsStr::new(name), head, whole: head.len() == bytes.len() };
    by_name("sqlite").expect("the format").probe(&clue)
}

#[test]
fn a_log_is_known_by_its_magic_by_what_links_or_by_its_name() {
    let whole = small();
    let mut unmagical = whole.clone();
    unmagical[..4].fill(0xee);
    let mut headless = whole.clone();
    headless[..HEADER_LEN].fill(0);
    assert_eq!(probe("whatever", &whole), Match::Magic);
    assert_eq!(probe("whatever", &unmagical), Match::Checksum);
    assert_eq!(probe("app.db-wal", &headless), Match::Checksum);
    assert_eq!(probe("whatever", &headless), Match::No);
    assert_eq!(probe("app.db-wal", b""), Match::Name);
    assert_eq!(probe("app.db", b""), Match::No);
    assert_eq!(probe("wal", &[0x37, 0x7f]), Match::No);
}

#[test]
fn an_open_connection_holds_the_lock_that_the_room_names() {
    let (_folder, database, connection) = connect(512);
    let lock = by_name("sqlite").expect("the format").lock(&database.with_extension("db-wal"));
    let Lock::Record { path, start, len } = &lock else { panic!("{lock:?}") };
    assert_eq!(*path, database);
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else { return };
    // "12: POSIX  ADVISORY  READ 4242 08:01:1234 1073741826 1073742335"
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("the database"));
    let held = locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, _, pid, file, from, to] = words[..] else { return false };
        let own = pid == std::process::id().to_string() && file.rsplit(':').next() == Some(&inode.to_string());
        own && from == start.to_string() && to == (start + len - 1).to_string()
    });
    assert!(held, "no lock on {start}+{len} of inode {inode}:\n{locks}");
    drop(connection);
}

#[test]
fn only_a_name_that_sqlite_gives_has_a_database_beside_it() {
    let format = by_name("sqlite").expect("the format");
    for name in ["saved.wal", "-wal", "logs/-wal"] {
        assert_eq!(format.lock(Path::new(name)), Lock::None, "{name}");
    }
}
