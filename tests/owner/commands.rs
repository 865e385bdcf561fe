//! What changes a log or its target looks at its lock right before: a program may have begun since.

use std::path::Path;
use std::sync::{Arc, Mutex};

use waltool::format::Lock;
use waltool::plan::{Plan, Wish};
use waltool::vfs::{Disk, Sim, real};
use waltool::wal::{Durability, Options, Wal};
use waltool::{Log, Report, locks, repair};

use super::between::Between;
use super::{commit, entries, put};

const LOG: &str = "/log";

#[test]
fn a_lock_that_lost_its_file_or_came_to_have_one_is_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    for (disk, folder) in [(Sim::new(1).disk(), Path::new("/")), (real(), folder.path())] {
        let (path, away) = (folder.join("LOCK"), folder.join("away"));
        let lock = Lock::Flock(path.clone());
        let why = |held: &locks::Held| held.check(&*disk).expect_err("no lock").to_string();

        let nothing = locks::hold(&*disk, &lock).unwrap();
        assert!(!nothing.holds());
        nothing.check(&*disk).unwrap();
        put(&disk, &path, b"");
        assert!(why(&nothing).contains("was created"), "{}", why(&nothing));

        let held = locks::hold(&*disk, &lock).unwrap();
        held.check(&*disk).unwrap();
        disk.rename_new(&path, &away).unwrap();
        assert!(why(&held).contains("was removed or renamed"), "{}", why(&held));
        put(&disk, &path, b"");
        assert!(why(&held).contains("was replaced"), "{}", why(&held));
        locks::hold(&*disk, &lock).unwrap().check(&*disk).unwrap();
        disk.rename_over(&away, &path).unwrap();
        held.check(&*disk).unwrap();
    }
}

#[test]
fn a_lock_is_taken_on_the_file_that_has_its_name() {
    let path = Path::new("/LOCK");
    for (n, another_takes_it) in (1..=4).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Sim::new(n).disk();
        put(&disk, path, b"");
        let taken = Arc::new(Mutex::new(None));
        let (other, raw) = (taken.clone(), disk.clone());
        let between = Between::new(disk.clone(), n, move || {
            raw.remove(path).unwrap();
            *other.lock().unwrap() = another_takes_it.then(|| locks::own(&*raw, path).expect("nobody has it"));
        });
        let held = locks::own(&between, path);
        assert!(between.happened(), "fewer than {n} calls");
        match taken.lock().unwrap().take() {
            Some(other) => {
                assert!(held.is_err(), "call {n}: there are two owners");
                other.check(&*disk).unwrap();
            }
            None => held.unwrap().check(&*disk).unwrap(),
        }
    }
}

/// Repairs a log with a torn tail, without LOCK or with one; before the `n`-th call a program opens the log, having removed LOCK. Whether there
/// was such a call.
fn repair_between(n: u64, locked: bool) -> bool {
    let sim = Sim::new(n);
    let disk = sim.disk();
    let options = |disk: &Disk| Options::new().disk(disk.clone()).zero_fill(false);
    let wal = options(&disk).open(LOG).unwrap();
    commit(&wal, "one", Durability::Durable).unwrap();
    commit(&wal, "two", Durability::Durable).unwrap();
    drop(wal);
    let segment = Path::new("/log/00000001.wal");
    let bytes = sim.bytes(segment).unwrap();
    sim.put(segment, &bytes[..bytes.len() - 10]).unwrap();
    let lock = Path::new("/log/LOCK");
    if !locked {
        disk.remove(lock).unwrap();
    }

    let taken: Arc<Mutex<Option<Wal>>> = Arc::default();
    let (other, raw) = (taken.clone(), disk.clone());
    let between = Between::new(disk.clone(), n, move || {
        let _ = raw.remove(lock);
        let wal = options(&raw).open(LOG).expect("nobody has this LOCK");
        commit(&wal, "three", Durability::Durable).expect("its owner");
        *other.lock().unwrap() = Some(wal);
    });
    let log = Log::open_on(&disk, Path::new(LOG), None).unwrap();
    let wish = Wish::default();
    let plan = Plan::of(&log, &Report::of(&log, |_| ()).unwrap(), &wish).unwrap();
    let watched: Disk = Arc::new(between.clone());
    let repaired =
        Log::open_on(&watched, Path::new(LOG), None).and_then(|log| repair::in_place(&log, &wish, &plan, None));
    if !between.happened() {
        repaired.map(drop).unwrap();
        return false;
    }
    let wal = taken.lock().unwrap().take().expect("it has the log open");
    commit(&wal, "four", Durability::Durable).unwrap_or_else(|error| panic!("call {n}: {error}"));
    wal.close().unwrap();
    assert_eq!(entries(&options(&disk).open(LOG).unwrap()), ["one", "three", "four"], "call {n}");
    true
}

#[test]
fn whenever_a_program_begins_during_a_repair_its_commits_are_kept() {
    for locked in [true, false] {
        let calls = (1..).take_while(|&n| repair_between(n, locked)).count();
        assert!(calls > 30, "{calls} calls");
    }
}
