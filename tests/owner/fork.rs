//! A program that forks while it has a log open: the child has a copy of everything but the threads.
//!
//! Each test is run again as a program of its own, for which `fork.c` makes [`parent_id`] fork.

use std::io::{Read, Write, pipe};
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, WaitOptions, waitpid};
use waltool::formats::native::layout::Lsn;
use waltool::locks;
use waltool::vfs::real;
use waltool::wal::{Durability, DurableFile, Options, Wal};
use waltool::{Log, Report, Verdict};

use super::{commit, entries, why};

/// Tells the test that it is the program, and which folder is its own.
const FOLDER: &str = "WALTOOL_FORKS_IN";
/// Turns a hang into a failure, in seconds.
const WATCHDOG: &str = "120";

/// Runs `program` in a process that can fork.
fn forking(test: &str, program: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return program(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let (own, library) = (folder.path().join("own"), folder.path().join("fork.so"));
    std::fs::create_dir(&own).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/owner/fork.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.expect("a C compiler").success());
    let mut command = Command::new("timeout");
    command.arg(WATCHDOG).arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("fork::{test}"), "--nocapture", "--test-threads=1"]);
    let ended = command.env(FOLDER, own).env("LD_PRELOAD", library).output().unwrap();
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{}: {}{}", ended.status, said(&ended.stdout), said(&ended.stderr));
    assert!(said(&ended.stdout).contains("1 passed"), "{}", said(&ended.stdout));
}

/// Forks: `child` runs in the child, which then ends; `parent` in the parent, which then waits for that.
fn fork(child: impl FnOnce(), parent: impl FnOnce()) {
    let number = parent_id();
    if number == 0 {
        let ended = catch_unwind(AssertUnwindSafe(child));
        std::process::exit(if ended.is_ok() { 0 } else { 101 });
    }
    parent();
    let pid = Pid::from_raw(number as i32).expect("a child");
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("a child").expect("its end");
    assert_eq!(status.exit_status(), Some(0), "the child failed: {status:?}");
}

fn in_child(child: impl FnOnce()) {
    fork(child, || ());
}

/// The files of a log, by name.
fn files(log: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

fn refused<T>(result: waltool::wal::Result<T>) {
    let why = why(result);
    assert!(why.contains("child"), "{why}");
}

#[test]
fn a_child_that_ends_leaves_the_lock_to_its_parent() {
    forking("a_child_that_ends_leaves_the_lock_to_its_parent", |folder| {
        let log = folder.join("log");
        let mut wal = Some(Wal::open(&log).unwrap());
        let parent = |wal: &Option<Wal>, text, durability| commit(wal.as_ref().unwrap(), text, durability).unwrap();
        parent(&wal, "one", Durability::Durable);
        parent(&wal, "buffered", Durability::Buffered);
        in_child(|| drop(wal.take()));
        let second = Wal::open(&log).expect_err("it is still locked").to_string();
        assert!(second.contains("another program has it open"), "{second}");
        parent(&wal, "two", Durability::Durable);
        wal.unwrap().close().unwrap();
        assert_eq!(entries(&Wal::open(&log).unwrap()), ["one", "buffered", "two"]);
    });
}

#[test]
fn a_child_that_ends_leaves_a_file_to_its_parent() {
    forking("a_child_that_ends_leaves_a_file_to_its_parent", |folder| {
        let path = folder.join("totals");
        let mut file = Some(DurableFile::open(&path).unwrap());
        let write = |file: &Option<DurableFile>, text: &[u8]| {
            let mut transaction = file.as_ref().unwrap().begin();
            transaction.write(0, text);
            transaction.commit().unwrap();
        };
        write(&file, b"one");
        in_child(|| drop(file.take()));
        assert!(DurableFile::open(&path).is_err());
        write(&file, b"two");
        file.unwrap().close().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    });
}

#[test]
fn a_child_is_refused_whatever_it_asks_and_changes_nothing() {
    forking("a_child_is_refused_whatever_it_asks_and_changes_nothing", |folder| {
        let log = folder.join("log");
        let mut wal = Some(Options::new().segment_bytes(100_000).open(&log).unwrap());
        commit(wal.as_ref().unwrap(), "one", Durability::Durable).unwrap();
        commit(wal.as_ref().unwrap(), "buffered", Durability::Buffered).unwrap();
        let before = files(&log);
        in_child(|| {
            let wal = wal.take().unwrap();
            for _ in 0..2 {
                refused(commit(&wal, "child", Durability::Durable));
                refused(commit(&wal, "child", Durability::Written));
                refused(wal.sync());
                refused(wal.checkpoint(Lsn(0), 0));
                refused(wal.committed(Lsn(0)));
                assert_eq!((wal.redo_lsn(), wal.path()), (Lsn::new(1, 8192), &*log));
            }
            // What nobody waits for is refused when it is to be written.
            refused((0..40).try_for_each(|_| commit(&wal, &"x".repeat(10_000), Durability::Buffered)));
            refused(wal.close());
        });
        assert_eq!(files(&log), before);
        let wal = wal.unwrap();
        assert_eq!(entries(&wal), ["one", "buffered"]);
        wal.close().unwrap();
        let report = Report::of(&Log::open(&log, None).unwrap(), |_| ()).unwrap();
        assert_eq!(report.verdict(), Verdict::Clean);
    });
}

#[test]
fn a_child_is_refused_a_file_and_changes_nothing() {
    forking("a_child_is_refused_a_file_and_changes_nothing", |folder| {
        let path = folder.join("totals");
        let mut file = Some(DurableFile::open(&path).unwrap());
        let mut transaction = file.as_ref().unwrap().begin();
        transaction.write(0, b"one");
        transaction.commit().unwrap();
        let before = files(&folder.join("totals.wal"));
        in_child(|| {
            let mut file = file.take().unwrap();
            let mut transaction = file.begin();
            transaction.write(0, b"two");
            refused(transaction.commit());
            refused(file.checkpoint());
            refused(file.close());
        });
        assert_eq!(files(&folder.join("totals.wal")), before);
        assert!(!path.exists());
        file.unwrap().close().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    });
}

#[test]
fn a_child_waits_for_no_thread_that_it_does_not_have() {
    forking("a_child_waits_for_no_thread_that_it_does_not_have", |folder| {
        let log = folder.join("log");
        let wal = Options::new().segment_bytes(1 << 20).open(&log).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for durability in [Durability::Buffered, Durability::Buffered, Durability::Durable] {
                let (wal, done) = (&wal, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Acquire) {
                        commit(wal, "parent", durability).unwrap();
                    }
                });
            }
            for _ in 0..100 {
                in_child(|| {
                    let _ = commit(&wal, "child", Durability::Buffered);
                    refused((0..200).try_for_each(|_| commit(&wal, &"x".repeat(10_000), Durability::Buffered)));
                    refused(commit(&wal, "child", Durability::Durable));
                    refused(wal.sync());
                    wal.redo_lsn();
                });
            }
            done.store(true, Ordering::Release);
        });
        assert!(entries(&wal).iter().all(|text| text == "parent"));
    });
}

#[test]
fn a_child_may_open_the_log_once_its_parent_has_closed_it() {
    forking("a_child_may_open_the_log_once_its_parent_has_closed_it", |folder| {
        let log = folder.join("log");
        let wal = Wal::open(&log).unwrap();
        commit(&wal, "parent", Durability::Durable).unwrap();
        let (mut closed, mut close) = pipe().unwrap();
        // The child keeps its copy all the while.
        let wal = std::cell::Cell::new(Some(wal));
        let child = || {
            closed.read_exact(&mut [0]).unwrap();
            let own = Wal::open(&log).unwrap();
            commit(&own, "child", Durability::Durable).unwrap();
            own.close().unwrap();
        };
        fork(child, || {
            wal.take().unwrap().close().unwrap();
            close.write_all(&[1]).unwrap();
        });
        assert_eq!(entries(&Wal::open(&log).unwrap()), ["parent", "child"]);
    });
}

#[test]
fn a_lock_belongs_to_the_process_that_took_it() {
    forking("a_lock_belongs_to_the_process_that_took_it", |folder| {
        let (disk, path) = (real(), folder.join("LOCK"));
        let mut held = Some(locks::own(&*disk, &path).unwrap());
        in_child(|| {
            let held = held.take().unwrap();
            assert!(!held.holds());
            assert!(held.check(&*disk).unwrap_err().to_string().contains("forked"));
        });
        assert!(locks::own(&*disk, &path).is_err(), "the child gave it up");
        held.as_ref().unwrap().check(&*disk).unwrap();
        drop(held);
        locks::own(&*disk, &path).unwrap().check(&*disk).unwrap();
    });
}
