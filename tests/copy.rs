//! Copies of logs that are written at full speed meanwhile, and of a disk whose power fails meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use rusqlite::Connection;
use waltool::copy::{Copied, copy};
use waltool::formats::native::layout::Lsn;
use waltool::vfs::sim::{Failure, Times};
use waltool::vfs::{self, Disk, Sim};
use waltool::wal::{Options, Wal};
use waltool::{Error, Log, Report, Result, Scan, Verdict};

/// Of each log that is written meanwhile.
const COPIES: u64 = 100;

fn copied(path: &Path, new: &Path) -> Result<Copied> {
    copy(&vfs::real(), path, None, new, &mut |_| ())
}

fn verdict(path: &Path) -> Verdict {
    Report::of(&Log::open(path, None).expect("a log"), |_| ()).expect("a report").verdict()
}

/// What each transaction of a log says, by the LSN of its commit. Those that say nothing, checkpoints and marks, are not among them.
fn transactions(path: &Path) -> BTreeMap<u64, Vec<u8>> {
    let log = Log::open(path, None).expect("a log");
    let (mut found, mut open) = (BTreeMap::new(), Vec::new());
    let mut scan = Scan::new(&log);
    while let Some(step) = scan.next().expect("readable") {
        let Some(record) = step.record else { continue };
        if log.format().kind(&record) == "data" {
            open.extend_from_slice(record.payload);
        } else if record.meta.commit.is_some() && !open.is_empty() {
            found.insert(record.meta.lsn, std::mem::take(&mut open));
        }
    }
    assert!(open.is_empty(), "a transaction without its commit");
    found
}

fn commit(wal: &Wal, text: &[u8]) -> Lsn {
    let mut transaction = wal.begin();
    transaction.data(text);
    transaction.commit().expect("a commit")
}

/// Ends the writers, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What the writers know: each transaction whose commit returned, and how far checkpoints may have taken the log away.
#[derive(Default)]
struct History {
    committed: Mutex<BTreeMap<u64, Vec<u8>>>,
    applied: AtomicU64,
    over: AtomicBool,
}

impl History {
    fn write(&self, wal: &Wal, thread: u64) {
        for number in (0_u64..).take_while(|_| !self.over.load(SeqCst)) {
            let text = format!("{thread}:{number}:{}", "x".repeat((number * 37 % 3000) as usize)).into_bytes();
            let lsn = commit(wal, &text);
            self.committed.lock().unwrap().insert(lsn.0, text);
        }
    }

    fn checkpoint(&self, wal: &Wal) {
        let mut size = 0;
        while !self.over.load(SeqCst) {
            let (now, last) = {
                let committed = self.committed.lock().unwrap();
                (committed.len(), committed.keys().rev().nth(100).copied())
            };
            if let Some(last) = last.filter(|_| now > size + 500) {
                size = now;
                self.applied.store(last, SeqCst);
                wal.checkpoint(Lsn(last), 0).expect("a checkpoint");
            }
        }
    }
}

/// A copy, with what was known when it began and when it was there.
struct Taken {
    transactions: BTreeMap<u64, Vec<u8>>,
    acknowledged_before: u64,
    applied_after: u64,
}

impl Taken {
    fn check(&self, history: &BTreeMap<u64, Vec<u8>>) {
        let Some((&first, _)) = self.transactions.first_key_value() else {
            assert!(self.acknowledged_before <= self.applied_after, "an empty copy");
            return;
        };
        let (&last, _) = self.transactions.last_key_value().expect("it has a first");
        assert!(last >= self.acknowledged_before, "{last:x} is below what was acknowledged before");
        let oldest = history.keys().copied().find(|&lsn| lsn > self.applied_after);
        assert!(oldest.is_none_or(|oldest| first <= oldest), "{first:x} is above what no checkpoint took away");
        let expected: BTreeMap<_, _> = history.range(first..=last).map(|(lsn, text)| (*lsn, text.clone())).collect();
        assert!(self.transactions == expected, "not the history from {first:x} to {last:x}");
    }
}

#[test]
fn beside_writers_at_full_speed_every_copy_is_clean_and_holds_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join("log"), folder.path().join("new"));
    let wal = Options::new().segment_bytes(256 * 1024).open(&path).unwrap();
    let history = History::default();
    let first = commit(&wal, b"first").0;
    history.committed.lock().unwrap().insert(first, b"first".to_vec());
    let (mut taken, mut tries, mut tries_max, mut tails) = (Vec::new(), 0, 0, 0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (wal, history) = (&wal, &history);
            scope.spawn(move || history.write(wal, thread));
        }
        scope.spawn(|| history.checkpoint(&wal));
        let _over = Over(&history.over);
        for _ in 0..COPIES {
            let acknowledged_before = history.committed.lock().unwrap().last_key_value().map_or(first, |(lsn, _)| *lsn);
            let copied = copied(&path, &new).unwrap_or_else(|error| panic!("{error}"));
            let applied_after = history.applied.load(SeqCst);
            assert_eq!(verdict(&new), Verdict::Clean);
            tries += u64::from(copied.tries);
            tries_max = tries_max.max(copied.tries);
            tails += u64::from(copied.bytes_left_out() > 0);
            taken.push(Taken { transactions: transactions(&new), acknowledged_before, applied_after });
            std::fs::remove_dir_all(&new).unwrap();
        }
    });
    let history = history.committed.into_inner().unwrap();
    taken.iter().for_each(|taken| taken.check(&history));
    println!(
        "{COPIES} copies in {:?} beside {} commits; {tries} tries, {tries_max} at most; {tails} with something left out",
        begun.elapsed(),
        history.len()
    );
    wal.close().unwrap();
}

#[test]
fn a_copy_can_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join("log"), folder.path().join("new"));
    let wal = Options::new().segment_bytes(20_000).open(&path).unwrap();
    (0..50).for_each(|number| _ = commit(&wal, &[number; 1000]));
    copied(&path, &new).unwrap();
    let before = transactions(&path);
    assert_eq!(transactions(&new), before);
    let other = Wal::open(&new).unwrap();
    let lsn = commit(&other, b"on");
    other.close().unwrap();
    assert_eq!(verdict(&new), Verdict::Clean);
    assert_eq!(transactions(&new).into_iter().filter(|(at, _)| *at < lsn.0).collect::<BTreeMap<_, _>>(), before);
    assert_eq!(transactions(&path), before);
}

/// The last number that was committed to a SQLite log, by the page that has it.
fn last_counter(path: &Path) -> Option<u64> {
    let log = Log::open(path, None).expect("a log");
    let mut scan = Scan::new(&log);
    let (mut last, mut before) = (None, None);
    while let Some(step) = scan.next().expect("readable") {
        let Some(page) = step.record.map(|record| record.payload) else { continue };
        let Some(at) = page.windows(8).position(|window| window == b"counter=") else { continue };
        let digits = std::str::from_utf8(&page[at + 8..at + 18]).expect("digits");
        last = digits.parse().ok();
        assert!(before.is_none() || before.map(|number: u64| number + 1) == last, "{before:?}, then {last:?}");
        before = last;
    }
    last
}

/// A commit; now and then the log begins anew before the next.
fn update(connection: &Connection, number: u64) {
    let filler = number % 3000;
    let sql = format!(
        "BEGIN; UPDATE t SET v='counter={number:010}'; INSERT INTO filler VALUES(randomblob({filler})); COMMIT;"
    );
    connection.execute_batch(&sql).expect("a commit");
    if number.is_multiple_of(1000) {
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).expect("a checkpoint");
        connection.execute_batch("DELETE FROM filler").expect("a commit");
    }
}

#[test]
fn beside_sqlite_that_checkpoints_and_begins_its_log_anew_every_copy_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("app.db");
    let (path, new) = (folder.path().join("app.db-wal"), folder.path().join("new.db-wal"));
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=200;
             CREATE TABLE t(v); INSERT INTO t VALUES('counter=0000000000'); CREATE TABLE filler(v);",
        )
        .unwrap();
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut tries, mut tries_max, mut refused, mut lives) = (0, 0, 0, BTreeSet::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let (over, acknowledged) = (&over, &acknowledged);
        scope.spawn(move || {
            for number in (1..).take_while(|_| !over.load(SeqCst)) {
                update(&connection, number);
                acknowledged.store(number, SeqCst);
            }
        });
        let _over = Over(over);
        for _ in 0..COPIES {
            let before = acknowledged.load(SeqCst);
            let copied = match copied(&path, &new) {
                Err(error @ Error::Refused { .. }) => {
                    assert!(error.to_string().contains("it changed during each"), "{error}");
                    refused += 1;
                    continue;
                }
                copied => copied.unwrap_or_else(|error| panic!("{error}")),
            };
            assert_eq!(verdict(&new), Verdict::Clean);
            let last = last_counter(&new);
            assert!(last.is_none_or(|last| last >= before), "{last:?}, but {before} was acknowledged");
            lives.insert(std::fs::read(&new).unwrap()[16..24].to_vec());
            tries += u64::from(copied.tries);
            tries_max = tries_max.max(copied.tries);
            std::fs::remove_file(&new).unwrap();
        }
    });
    println!(
        "{COPIES} copies in {:?} beside {} commits, from {} lives of the log; {tries} tries, {tries_max} at most; {refused} refused",
        begun.elapsed(),
        acknowledged.load(SeqCst),
        lives.len()
    );
    assert!(lives.len() > 1 && refused < COPIES / 10, "{} lives, {refused} refused", lives.len());
}

/// A log of three segments on a simulated disk, whose last transaction never ended.
fn written(disk: &Disk) {
    let wal = Options::new().disk(disk.clone()).segment_bytes(12_000).open("/log").unwrap();
    (0..6).for_each(|number| _ = commit(&wal, &[number; 1500]));
}

fn copy_on(sim: &Sim) -> Result<Copied> {
    copy(&sim.disk(), Path::new("/log"), None, Path::new("/new"), &mut |_| ())
}

/// The files of the disk below this folder.
fn below(sim: &Sim, folder: &str) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    sim.files().into_iter().filter(|(path, _)| path.starts_with(folder)).collect()
}

/// A disk with a log, and what the copy of it is.
fn prepared() -> (Sim, BTreeMap<std::path::PathBuf, Vec<u8>>) {
    let sim = Sim::new(20);
    written(&sim.disk());
    let sim = sim.kill().crash(1);
    let whole = sim.fork();
    copy_on(&whole).unwrap();
    (sim, below(&whole, "/new"))
}

fn assert_absent_or_whole(sim: &Sim, whole: &BTreeMap<std::path::PathBuf, Vec<u8>>, about: &str) {
    let new = below(sim, "/new");
    assert!(new.is_empty() || new == *whole, "{about}: {:?}", new.keys());
}

#[test]
fn a_power_cut_at_every_call_leaves_the_copy_absent_or_whole() {
    let (sim, whole) = prepared();
    let log = below(&sim, "/log");
    let done = sim.fork();
    copy_on(&done).unwrap();
    let calls = done.changes() - sim.changes();
    assert!(calls > 10, "{calls} calls");
    let mut crashes = 0;
    for call in 1..=calls + 1 {
        let cut = sim.fork();
        cut.cut_before(sim.changes() + call);
        let result = copy_on(&cut);
        assert_eq!(result.is_ok(), call > calls, "call {call}");
        for seed in 0..30 {
            let after = cut.crash(seed);
            let about = format!("power cut before call {call} of {calls}, seed {seed}");
            assert_absent_or_whole(&after, &whole, &about);
            assert_eq!(below(&after, "/log"), log, "{about}");
            if below(&after, "/new").is_empty() {
                assert!(result.is_err(), "{about}: the copy that was promised is gone");
                copy_on(&after).unwrap_or_else(|error| panic!("{about}: {error}"));
                assert_eq!(below(&after, "/new"), whole, "{about}");
                assert_eq!(after.files().len(), log.len() + whole.len(), "{about}: a leftover");
            }
            crashes += 1;
        }
    }
    println!("{crashes} power cuts at {calls} calls");
}

#[test]
fn a_failing_call_leaves_the_copy_absent_or_whole() {
    let (sim, whole) = prepared();
    let done = sim.fork();
    copy_on(&done).unwrap();
    let calls = done.changes() - sim.changes();
    for (failure, times) in [(Failure::Io, Times::Once), (Failure::Full, Times::Once), (Failure::Full, Times::Forever)]
    {
        for call in 1..=calls {
            let failing = sim.fork();
            failing.fail(sim.changes() + call, failure, times);
            let result = copy_on(&failing);
            let about = format!("{failure:?} {times:?} at call {call} of {calls}");
            assert!(matches!(result, Err(Error::Write { .. })), "{about}");
            assert_absent_or_whole(&failing, &whole, &about);
            failing.heal();
            if below(&failing, "/new").is_empty() {
                copy_on(&failing).unwrap_or_else(|error| panic!("{about}: {error}"));
                assert_eq!(below(&failing, "/new"), whole, "{about}");
            }
        }
    }
}
