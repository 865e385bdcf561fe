//! Whatever is taken from an open log, every call that says something of it says so from then on.

use std::path::{Path, PathBuf};

use waltool::formats::native::layout::Lsn;
use waltool::vfs::{Disk, Sim, real};
use waltool::wal::{Durability, DurableFile, Options, Result, Wal};
use waltool::{Log, Report, Verdict};

use super::{commit, entries, put, why};

/// What happens to an open log.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    LockRemoved,
    LockRenamed,
    LockReplaced,
    FolderRenamed,
    FolderRemoved,
    FolderReplaced,
    SegmentRemoved,
    SegmentRenamed,
    SegmentReplaced,
}

use Loss::*;

const LOSSES: [Loss; 9] = [
    LockRemoved,
    LockRenamed,
    LockReplaced,
    FolderRenamed,
    FolderRemoved,
    FolderReplaced,
    SegmentRemoved,
    SegmentRenamed,
    SegmentReplaced,
];

impl Loss {
    fn is_of_a_segment(self) -> bool {
        matches!(self, SegmentRemoved | SegmentRenamed | SegmentReplaced)
    }

    /// `segment` is the one that is written.
    fn happen(self, disk: &Disk, log: &Path, segment: &str) {
        let (lock, segment, away) = (log.join("LOCK"), log.join(segment), log.with_extension("away"));
        let replace = |path: &Path| {
            put(disk, &away, b"another");
            disk.rename_over(&away, path)
        };
        match self {
            LockRemoved => disk.remove(&lock),
            LockRenamed => disk.rename_new(&lock, &log.join("LOCK.bak")),
            LockReplaced => replace(&lock),
            FolderRenamed => disk.rename_new(log, &away),
            FolderRemoved => disk.remove_folder(log),
            FolderReplaced => disk.rename_new(log, &away).map(|()| {
                let other = Options::new().disk(disk.clone()).open(log).expect("a new log");
                commit(&other, "other", Durability::Durable).expect("its only writer");
            }),
            SegmentRemoved => disk.remove(&segment),
            SegmentRenamed => disk.rename_new(&segment, &log.join("kept")),
            SegmentReplaced => replace(&segment),
        }
        .expect("it happens");
    }

    fn says(self, why: &str) -> bool {
        let name = if self.is_of_a_segment() { ".wal " } else { "LOCK " };
        let what = match self {
            LockReplaced | FolderReplaced | SegmentReplaced => "was replaced by another file",
            _ => "was removed or renamed",
        };
        why.contains(&format!("{name}{what}"))
    }
}

/// What a program does then; each says something of the log.
type Ask = fn(&Wal) -> Result<()>;

const ASKS: [(&str, Ask); 8] = [
    ("durable", |wal| commit(wal, "two", Durability::Durable)),
    ("written", |wal| commit(wal, "two", Durability::Written)),
    ("buffered, then sync", |wal| {
        commit(wal, "two", Durability::Buffered)?;
        wal.sync()
    }),
    ("buffered until that is much", |wal| {
        (0..40).try_for_each(|_| commit(wal, &"x".repeat(10_000), Durability::Buffered))
    }),
    ("a new segment", |wal| commit(wal, &"x".repeat(120_000), Durability::Buffered)),
    ("sync", |wal| wal.sync()),
    ("read", |wal| wal.committed(wal.redo_lsn()).map(drop)),
    ("checkpoint", |wal| wal.checkpoint(Lsn(0), 0)),
];

/// The system's disk and a simulated one, each with a folder.
fn disks() -> Vec<(Disk, PathBuf, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().expect("a folder");
    vec![(Sim::new(1).disk(), "/".into(), None), (real(), folder.path().canonicalize().unwrap(), Some(folder))]
}

fn open(disk: &Disk, log: &Path) -> Wal {
    Options::new().disk(disk.clone()).segment_bytes(100_000).open(log).expect("a log")
}

/// Calls `act` with a log that was opened a moment ago, and one that has committed since.
fn each_log(act: impl Fn(&Disk, &Path, Wal, Loss)) {
    for (disk, folder, _kept) in disks() {
        for loss in LOSSES {
            for fresh in [true, false] {
                let log = folder.join("log");
                let wal = open(&disk, &log);
                commit(&wal, "one", Durability::Durable).expect("its owner");
                let wal = if fresh {
                    drop(wal);
                    open(&disk, &log)
                } else {
                    wal
                };
                // What nobody writes may be taken away: that is for the next opening to find.
                if !(fresh && loss.is_of_a_segment()) {
                    act(&disk, &log, wal, loss);
                }
                for name in ["log", "log.away"] {
                    let _ = disk.remove_folder(&folder.join(name));
                }
            }
        }
    }
}

#[test]
fn a_writer_that_lost_its_log_says_so_at_the_next_call() {
    for (name, ask) in ASKS {
        each_log(|disk, log, wal, loss| {
            loss.happen(disk, log, "00000001.wal");
            let said = why(ask(&wal));
            assert!(loss.says(&said), "{name}, {loss:?}: {said}");
            for (_, later) in ASKS {
                assert_eq!(why(later(&wal)), said, "{name}, {loss:?}");
            }
            assert_eq!(why(wal.close()), said, "{name}, {loss:?}");
        });
    }
}

#[test]
fn a_close_says_so_too() {
    each_log(|disk, log, wal, loss| {
        loss.happen(disk, log, "00000001.wal");
        let said = why(wal.close());
        assert!(loss.says(&said), "{loss:?}: {said}");
    });
}

#[test]
fn a_writer_that_lost_its_log_writes_nothing_more_and_removes_nothing() {
    for loss in [LockRemoved, LockReplaced, FolderReplaced] {
        let sim = Sim::new(1);
        let (disk, log) = (sim.disk(), Path::new("/log"));
        let wal = open(&disk, log);
        for number in 0..4 {
            commit(&wal, &format!("{number}{}", "x".repeat(80_000)), Durability::Durable).expect("its owner");
        }
        loss.happen(&disk, log, "00000004.wal");
        why(commit(&wal, "in flight", Durability::Durable));
        let before = sim.files();
        for (_, ask) in ASKS {
            why(ask(&wal));
        }
        why(wal.close());
        assert_eq!(sim.files(), before, "{loss:?}");
    }
}

#[test]
fn a_second_writer_that_opens_a_log_without_its_lock_has_all_that_was_acknowledged() {
    for (disk, folder, _kept) in disks() {
        let log = folder.join("log");
        let first = open(&disk, &log);
        commit(&first, "durable", Durability::Durable).expect("its owner");
        commit(&first, "written", Durability::Written).expect("its owner");
        disk.remove(&log.join("LOCK")).expect("removed");
        let second = open(&disk, &log);
        assert_eq!(entries(&second), ["durable", "written"]);
        why(commit(&first, "lost", Durability::Durable));
        commit(&second, "second", Durability::Durable).expect("its owner");
        drop(first);
        commit(&second, "still", Durability::Durable).expect("its owner");
        second.close().expect("its owner");
        assert_eq!(entries(&open(&disk, &log)), ["durable", "written", "second", "still"]);
        let report = Report::of(&Log::open_on(&disk, &log, None).expect("a log"), |_| ()).expect("readable");
        assert_eq!(report.verdict(), Verdict::Clean);
    }
}

#[test]
fn a_file_whose_log_was_lost_is_left_as_it_is() {
    type AskFile = fn(DurableFile) -> Result<()>;
    let asks: [AskFile; 3] = [
        |file| {
            let mut transaction = file.begin();
            transaction.write(0, b"two");
            transaction.commit().map(drop)
        },
        |mut file| file.checkpoint(),
        |file| file.close(),
    ];
    for (disk, folder, _kept) in disks() {
        for (loss, ask) in LOSSES.into_iter().flat_map(|loss| asks.map(|ask| (loss, ask))) {
            let path = folder.join("totals");
            let file = Options::new().disk(disk.clone()).open_file(&path).expect("a file");
            let mut transaction = file.begin();
            transaction.write(0, b"one");
            transaction.commit().expect("its owner");
            loss.happen(&disk, &folder.join("totals.wal"), "00000001.wal");
            let said = why(ask(file));
            assert!(loss.says(&said), "{loss:?}: {said}");
            assert!(disk.stat(&path).is_err(), "{loss:?}: made of a log of others");
            for name in ["totals.wal", "totals.away"] {
                let _ = disk.remove_folder(&folder.join(name));
            }
        }
    }
}

#[test]
fn whether_the_log_is_still_there_must_be_known() {
    use waltool::vfs::sim::{Failure, Op, Times};
    use waltool::wal::WalError;

    let sim = Sim::new(1);
    let wal = open(&sim.disk(), Path::new("/log"));
    commit(&wal, "one", Durability::Durable).expect("its owner");
    sim.fail_op(Op::Look, sim.calls_of(Op::Look) + 1, Failure::Io, Times::Once);
    let error = commit(&wal, "two", Durability::Durable).expect_err("it cannot be told");
    let WalError::DurabilityUnknown { from, to, .. } = &error else { panic!("{error}") };
    assert!(from < to && error.to_string().contains("LOCK"), "{error}");
}
