//! A copy, and what a writer does between any two of its calls.

mod between;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use between::Between;
use rusqlite::Connection;
use waltool::copy::{Copied, copy};
use waltool::vfs::{Disk, Sim};
use waltool::wal::{Options, Wal};
use waltool::{Error, Log, Report, Result, Scan, Verdict};

const LOG: &str = "/log";
const NEW: &str = "/new";

/// The transactions of a native log: what each says, by the LSN of its commit.
fn transactions(disk: &Disk, path: &str) -> BTreeMap<u64, Vec<u8>> {
    let log = Log::open_on(disk, Path::new(path), None).unwrap();
    let (mut found, mut open) = (BTreeMap::new(), Vec::new());
    let mut scan = Scan::new(&log);
    while let Some(step) = scan.next().unwrap() {
        let Some(record) = step.record else { continue };
        open.extend_from_slice(if log.format().kind(&record) == "data" { record.payload } else { &[] });
        if record.meta.commit.is_some() && !open.is_empty() {
            found.insert(record.meta.lsn, std::mem::take(&mut open));
        }
    }
    found
}

/// A native log of a few segments, with a writer that has it open.
struct Written {
    wal: Wal,
    history: BTreeMap<u64, Vec<u8>>,
    /// What a checkpoint says is applied.
    applied: u64,
}

impl Written {
    fn new(disk: &Disk) -> Self {
        let wal = Options::new().disk(disk.clone()).segment_bytes(20_000).open(LOG).unwrap();
        let mut written = Self { wal, history: BTreeMap::new(), applied: 0 };
        (0..8).for_each(|number| written.commit(number, 3000));
        written
    }

    fn commit(&mut self, number: u8, len: usize) {
        let text = vec![number; len];
        let mut transaction = self.wal.begin();
        transaction.data(&text);
        self.history.insert(transaction.commit().unwrap().0, text);
    }

    fn last(&self) -> u64 {
        *self.history.last_key_value().unwrap().0
    }

    /// Some bytes, then enough to begin other segments.
    fn grow(&mut self, segments: u8) {
        self.commit(100, 10);
        (0..6 * segments).for_each(|number| self.commit(101 + number, 4000));
    }

    fn checkpoint(&mut self) {
        self.applied = self.last();
        self.wal.checkpoint(waltool::formats::native::layout::Lsn(self.applied), 0).unwrap();
    }
}

/// Copies while `act` happens before the `n`-th call; gives the copy, and whether there was such a call.
fn copied_between(disk: &Disk, n: u64, act: impl FnMut() + Send + 'static) -> (Result<Copied>, bool) {
    let between = Between::new(disk.clone(), n, act);
    let disk: Disk = Arc::new(between.clone());
    (copy(&disk, Path::new(LOG), None, Path::new(NEW), &mut |_| ()), between.happened())
}

/// Lets `act` happen between any two calls of a copy.
fn beside(what: &str, act: fn(&mut Written)) {
    let (mut tries_max, mut n) = (0, 0);
    loop {
        n += 1;
        let disk = Sim::new(n).disk();
        let written = Arc::new(Mutex::new(Written::new(&disk)));
        let acknowledged = written.lock().unwrap().last();
        let acting = written.clone();
        let (copied, happened) = copied_between(&disk, n, move || act(&mut acting.lock().unwrap()));
        let copied = copied.unwrap_or_else(|error| panic!("{what} before call {n}: {error}"));
        let report = Report::of(&Log::open_on(&disk, Path::new(NEW), None).unwrap(), |_| ()).unwrap();
        assert_eq!(report.verdict(), Verdict::Clean, "{what} before call {n}: {:?}", report.faults);
        let found = transactions(&disk, NEW);
        let Written { history, applied, .. } = &*written.lock().unwrap();
        let first = found.keys().next().copied().unwrap_or(u64::MAX);
        let last = found.keys().next_back().copied().unwrap_or(0);
        assert!(last >= acknowledged || acknowledged <= *applied, "{what} before call {n}: it ends at {last:x}");
        assert!(history.keys().all(|lsn| lsn <= applied || *lsn >= first), "{what} before call {n}: from {first:x}");
        assert!(history.range(first..=last.max(first)).eq(&found), "{what} before call {n}: not the history");
        tries_max = tries_max.max(copied.tries);
        if !happened {
            println!("{what}: before any of {} calls; {tries_max} tries at most", n - 1);
            assert!(n > 50, "{n} calls");
            return;
        }
    }
}

#[test]
fn what_a_writer_does_between_two_calls_is_in_the_copy_or_behind_it() {
    beside("a commit", |written| written.commit(99, 100));
    beside("a long commit", |written| written.commit(99, 9000));
    beside("the next segment", |written| written.grow(1));
    beside("more segments", |written| written.grow(3));
    beside("a checkpoint", Written::checkpoint);
    beside("all of it", |written| {
        written.grow(1);
        written.checkpoint();
        written.grow(2);
    });
}

#[test]
fn a_log_that_goes_on_in_new_segments_all_the_time_is_copied_at_once() {
    let disk = Sim::new(1).disk();
    let mut written = Written::new(&disk);
    let acknowledged = written.last();
    let written_on = Between::every(disk.clone(), 20, move || written.commit(99, 15_000));
    let copied = copy(&(Arc::new(written_on) as Disk), Path::new(LOG), None, Path::new(NEW), &mut |_| ()).unwrap();
    assert_eq!((copied.tries, copied.read.verdict()), (1, Verdict::Incomplete));
    assert!(transactions(&disk, NEW).contains_key(&acknowledged));
}

/// The file of a SQLite log: in one life, and begun anew over it, commit by commit until nothing of it is left.
fn lives() -> (Vec<u8>, Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("app.db")).unwrap();
    let read = || std::fs::read(folder.path().join("app.db-wal")).unwrap();
    let insert = || connection.execute("INSERT INTO t VALUES(randomblob(300))", []).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(v);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    (0..20).for_each(|_| _ = insert());
    let first = read();
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    let anew = (0..24).map(|_| {
        insert();
        read()
    });
    (first, anew.collect())
}

/// The committed part of a SQLite log.
fn committed(bytes: &[u8]) -> &[u8] {
    let format = waltool::formats::by_name("sqlite").unwrap();
    let report = Report::of(&Log::memory(format, [("log".into(), bytes.to_vec())]), |_| ()).unwrap();
    &bytes[..report.prefix.committed_end.offset as usize]
}

#[test]
fn a_sqlite_log_that_begins_anew_between_two_calls_is_copied_as_it_was_or_as_it_is() {
    let (first, anew) = lives();
    assert!(anew[0].len() == first.len() && anew[23].len() > first.len(), "it is written over");
    let (mut old, mut new, mut tries_max) = (0, 0, 0);
    for now in &anew {
        for n in 1.. {
            let sim = Sim::new(n);
            sim.put(Path::new(LOG), &first).unwrap();
            let (meddled, bytes) = (sim.clone(), now.clone());
            let (copied, happened) =
                copied_between(&sim.disk(), n, move || meddled.put(Path::new(LOG), &bytes).unwrap());
            let copied = copied.unwrap_or_else(|error| panic!("begun anew before call {n}: {error}"));
            let found = sim.bytes(Path::new(NEW)).unwrap();
            let is = |bytes: &[u8]| found == committed(bytes);
            // What is longer when it is read than when it was opened is copied up to the length that it had.
            let is_new = is(now) || is(&now[..first.len()]);
            assert!(is(&first) || is_new, "begun anew before call {n}: {} bytes of neither", found.len());
            (old, new) = (old + u64::from(is(&first)), new + u64::from(is_new));
            tries_max = tries_max.max(copied.tries);
            if !happened {
                break;
            }
        }
    }
    println!("{old} copies of the log as it was, {new} as it is; {tries_max} tries at most");
    assert!(old > 0 && new > 0 && tries_max > 1);
}

#[test]
fn a_log_that_begins_anew_during_every_try_is_refused() {
    let (first, anew) = lives();
    let sim = Sim::new(1);
    sim.put(Path::new(LOG), &first).unwrap();
    let (meddled, mut turn) = (sim.clone(), 0);
    let each = Between::every(sim.disk(), 3, move || {
        turn += 1;
        meddled.put(Path::new(LOG), if turn % 2 == 0 { &first } else { &anew[11] }).unwrap();
    });
    let refused = copy(&(Arc::new(each) as Disk), Path::new(LOG), None, Path::new(NEW), &mut |_| ());
    let Err(error @ Error::Refused { .. }) = refused else { panic!("not refused") };
    assert_eq!(error.exit_code(), 7);
    assert!(error.to_string().contains("it changed during each of 64 tries"), "{error}");
    assert_eq!(sim.files().len(), 1, "nothing is left of the tries");
}
