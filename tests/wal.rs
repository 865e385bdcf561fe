//! The log as a program uses it, on the system's own files. What power cuts, failing calls and schedules do to it is proved elsewhere.

use std::collections::BTreeSet;
use std::path::Path;

use waltool::formats::native::layout::Lsn;
use waltool::wal::{Durability, Entry, Options, Result, Wal, WalError};
use waltool::{Error, Log, Report, Verdict};

/// What is committed from `from` on, as one line an entry.
fn entries(wal: &Wal, from: Lsn) -> Vec<String> {
    let committed = wal.committed(from).unwrap();
    let mut entries = committed.entries();
    let mut found = Vec::new();
    while let Some(logged) = entries.next().unwrap() {
        found.push(match logged.entry {
            Entry::Data(bytes) => format!("{} data {}", logged.transaction, String::from_utf8_lossy(bytes)),
            other => format!("{} {other:?}", logged.transaction),
        });
    }
    found
}

fn log(wal: &Wal, text: &str) -> Result<Lsn> {
    let mut transaction = wal.begin();
    transaction.data(text.as_bytes());
    transaction.commit()
}

fn verify(path: &Path) -> Report {
    Report::of(&Log::open(path, None).unwrap(), |_| ()).unwrap()
}

fn segments(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<_> = names.filter(|name| name != "LOCK").collect();
    names.into_iter().collect()
}

#[test]
fn what_is_committed_is_there_after_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let wal = Wal::open(&path).unwrap();
    assert!(wal.recovery().report.is_none());
    log(&wal, "one").unwrap();
    let mut transaction = wal.begin();
    transaction.write(7, b"seven").set_len(12).data(b"two");
    transaction.commit().unwrap();
    let expected =
        ["1 data one", "2 Write { offset: 7, bytes: [115, 101, 118, 101, 110] }", "2 SetLen(12)", "2 data two"];
    assert_eq!(entries(&wal, wal.redo_lsn()), expected);
    drop(wal);

    let wal = Wal::open(&path).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), expected);
    let recovery = wal.recovery();
    assert_eq!((recovery.residue, recovery.undecided), (0, 1), "{recovery:?}");
    assert_eq!(segments(&path).len(), 1, "an opening without a commit creates nothing");
    log(&wal, "three").unwrap();
    assert_eq!(entries(&wal, recovery.end), ["3 data three"]);
    wal.close().unwrap();
    assert_eq!(verify(&path).verdict(), Verdict::Clean);
    assert_eq!(segments(&path), ["00000001.wal", "00000002.wal"]);
}

#[test]
fn a_transaction_that_is_dropped_was_never_there() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    wal.begin().data(b"nobody");
    log(&wal, "somebody").unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), ["1 data somebody"]);
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    log(&wal, "mine").unwrap();
    let second = Wal::open(folder.path());
    assert!(matches!(second, Err(WalError::Stopped(Error::Refused { .. }))));
    assert_eq!(verify(folder.path()).prefix.transactions, 1);
    drop(wal);
    Wal::open(folder.path()).unwrap();
}

#[test]
fn a_log_goes_on_over_many_segments_and_gives_back_what_was_split() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(100_000);
    let wal = options.open(folder.path()).unwrap();
    let long = "x".repeat(70_000);
    for number in 0..10 {
        log(&wal, &format!("{number}{long}")).unwrap();
    }
    let found = entries(&wal, wal.redo_lsn());
    assert_eq!(found.len(), 10);
    for (number, entry) in found.iter().enumerate() {
        assert_eq!(*entry, format!("{} data {number}{long}", number + 1));
    }
    assert_eq!(segments(folder.path()).len(), 10);
    let report = verify(folder.path());
    assert_eq!((report.verdict(), report.prefix.transactions), (Verdict::Clean, 10));
}

#[test]
fn a_transaction_longer_than_a_segment_has_one_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(20_000).open(folder.path()).unwrap();
    log(&wal, "short").unwrap();
    let mut transaction = wal.begin();
    transaction.write(0, &vec![5; 1_000_000]);
    transaction.commit().unwrap();
    log(&wal, "short again").unwrap();
    wal.close().unwrap();
    let report = verify(folder.path());
    assert_eq!((report.verdict(), report.prefix.transactions, report.segments), (Verdict::Clean, 3, 3));
}

#[test]
fn a_checkpoint_of_everything_leaves_one_small_segment() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(50_000).open(folder.path()).unwrap();
    let mut last = Lsn(0);
    for number in 0..20 {
        last = log(&wal, &format!("{number}{}", "y".repeat(20_000))).unwrap();
    }
    wal.checkpoint(last, 4711).unwrap();
    assert_eq!(segments(folder.path()).len(), 1);
    assert_eq!(
        entries(&wal, wal.redo_lsn()),
        ["21 Checkpoint { redo_lsn: Lsn(%), target_len: 4711, state: None }"
            .replace('%', &wal.redo_lsn().0.to_string())]
    );
    log(&wal, "after").unwrap();
    let redo_lsn = wal.redo_lsn();
    drop(wal);
    let wal = Wal::open(folder.path()).unwrap();
    assert_eq!(wal.redo_lsn(), redo_lsn);
    assert_eq!(entries(&wal, redo_lsn)[1..], ["22 data after"]);
    assert!(wal.committed(Lsn::new(1, 8192)).is_err(), "segment 1 is gone");
    wal.close().unwrap();
    assert_eq!(verify(folder.path()).verdict(), Verdict::Clean);
}

#[test]
fn a_checkpoint_of_a_part_keeps_what_is_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(50_000).open(folder.path()).unwrap();
    let lsns: Vec<_> = (0..10).map(|number| log(&wal, &format!("{number}{}", "y".repeat(20_000))).unwrap()).collect();
    wal.checkpoint(lsns[6], 0).unwrap();
    let left = entries(&wal, wal.redo_lsn());
    assert!(left[0].starts_with("8 data 7y"), "{}", &left[0][..10]);
    assert_eq!(left.len(), 4, "three transactions and the checkpoint");
    assert!(matches!(wal.checkpoint(Lsn::new(99, 8192), 0), Err(WalError::Stopped(Error::Usage(_)))));
    // An older one than before changes nothing.
    wal.checkpoint(lsns[0], 0).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn())[0], left[0]);
}

#[test]
fn commits_that_wait_for_less_are_there_with_the_next_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    for (text, durability) in [("b", Durability::Buffered), ("w", Durability::Written), ("c", Durability::Buffered)] {
        let mut transaction = wal.begin();
        transaction.data(text.as_bytes());
        transaction.commit_with(durability).unwrap();
    }
    assert_eq!(verify(folder.path()).prefix.transactions, 2, "what waits for nothing is in memory");
    wal.sync().unwrap();
    assert_eq!(verify(folder.path()).prefix.transactions, 3);
    log(&wal, "d").unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), ["1 data b", "2 data w", "3 data c", "4 data d"]);
    wal.close().unwrap();
    let report = verify(folder.path());
    assert_eq!((report.verdict(), report.undecided), (Verdict::Clean, 0));
}

#[test]
fn what_is_buffered_is_written_when_the_log_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    let mut transaction = wal.begin();
    transaction.data(b"late");
    transaction.commit_with(Durability::Buffered).unwrap();
    drop(wal);
    assert_eq!(verify(folder.path()).prefix.transactions, 1);
}

#[test]
fn many_threads_commit_and_all_of_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(64 * 1024).open(folder.path()).unwrap();
    let wal = &wal;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let mut before = Lsn(0);
                for number in 0..200 {
                    let lsn = log(wal, &format!("{thread} {number}")).unwrap();
                    assert!(lsn > before);
                    before = lsn;
                }
            });
        }
    });
    let found = entries(wal, wal.redo_lsn());
    assert_eq!(found.len(), 1600);
    for thread in 0..8 {
        let mine: Vec<_> = found.iter().filter_map(|entry| entry.split_once(&format!("data {thread} "))).collect();
        let numbers: Vec<usize> = mine.iter().map(|(_, number)| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    }
    assert_eq!(verify(folder.path()).verdict(), Verdict::Clean);
}

#[test]
fn damage_that_no_crash_explains_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    log(&wal, "one").unwrap();
    log(&wal, "two").unwrap();
    wal.close().unwrap();
    let path = folder.path().join("00000001.wal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8192 + 25] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = Wal::open(folder.path()).expect_err("a refusal");
    let WalError::Damaged { report, .. } = &error else { panic!("{error}") };
    assert_eq!(report.verdict(), Verdict::Corrupt);
    assert!(error.to_string().contains("waltool verify"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(segments(folder.path()), ["00000001.wal"]);
}

#[test]
fn a_torn_tail_is_left_as_residue_and_the_log_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().zero_fill(false).open(folder.path()).unwrap();
    log(&wal, "one").unwrap();
    log(&wal, "two").unwrap();
    drop(wal);
    let path = folder.path().join("00000001.wal");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();

    let wal = Wal::open(folder.path()).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), ["1 data one"]);
    assert_eq!(wal.recovery().report.as_ref().unwrap().verdict(), Verdict::TornTail);
    assert!(wal.recovery().residue > 0);
    log(&wal, "two again").unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), ["1 data one", "2 data two again"]);
    wal.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes[..bytes.len() - 10]);
    assert_eq!(verify(folder.path()).verdict(), Verdict::Clean);
}

#[test]
fn a_torn_mark_behind_the_last_commit_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().zero_fill(false).open(folder.path()).unwrap();
    log(&wal, "one").unwrap();
    wal.close().unwrap();
    let path = folder.path().join("00000001.wal");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();

    let wal = Wal::open(folder.path()).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), ["1 data one"]);
}

#[test]
fn a_log_about_another_target_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().target_id(*b"the first target").open(folder.path()).unwrap();
    log(&wal, "one").unwrap();
    wal.close().unwrap();
    let other = Options::new().target_id(*b"another one, see").open(folder.path());
    assert!(matches!(other, Err(WalError::Stopped(Error::Refused { .. }))));
    Wal::open(folder.path()).unwrap();
}

#[test]
fn a_transaction_that_no_segment_holds_is_refused_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    let mut transaction = wal.begin();
    transaction.write(u64::MAX, b"beyond the end");
    assert!(matches!(transaction.commit(), Err(WalError::Transaction(_))));
    log(&wal, "on").unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()), ["1 data on"]);
}

#[test]
fn room_that_was_reserved_is_given_back_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(1 << 20).reserve(true).open(folder.path()).unwrap();
    log(&wal, "one").unwrap();
    wal.close().unwrap();
    let report = verify(folder.path());
    assert_eq!((report.verdict(), report.unwritten_bytes, report.bytes < 9000), (Verdict::Clean, 0, true));
}

/// A program that is being started has a copy of every open file for a moment, so that closing the lock's file frees nothing.
#[test]
fn a_log_that_was_dropped_is_free_at_once_though_other_threads_start_programs() {
    let folder = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                std::process::Command::new("true").status().unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            drop(Wal::open(folder.path()).unwrap());
        }
    });
}
