//! At no moment does anybody have more rights to what is being made than to what it is made from.

#[path = "../between/mod.rs"]
mod between;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use between::Between;
use waltool::Log;
use waltool::copy::copy;
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::vfs::{Disk, real};
use waltool::wal::Options;

use super::logs::{Sqlite, native};
use super::people::{ALL, Rights, dress, folder, is_root, may, open_by_default, rights, set_mode};

type Way = (&'static str, fn(&Path), &'static str, fn(&Disk, &Path));

fn sqlite(folder: &Path) {
    let made = Sqlite::copy("clean-512-be");
    for name in ["app.db", "app.db-wal"] {
        fs::copy(made.path(name), folder.join(name)).expect("a copy");
    }
}

fn segments(folder: &Path) {
    native(folder, 4, 9000, true);
}

fn totals(folder: &Path) {
    fs::write(folder.join("totals"), "old").expect("a file");
}

fn replay(disk: &Disk, folder: &Path, to: To<'_>) {
    let log = Log::open_on(disk, &folder.join("app.db-wal"), None).expect("a log");
    let replay = Replay::of(&log, &folder.join("app.db"), Until::End, TARGET_MAX, &mut |_| ()).expect("a replay");
    replay.run(to, &mut |_| ()).expect("replayed");
}

fn commit(disk: &Disk, folder: &Path) {
    let mut file = Options::new().disk(disk.clone()).open_file(folder.join("totals")).expect("a file");
    let mut transaction = file.begin();
    transaction.write(0, b"new");
    transaction.commit().expect("committed");
    file.checkpoint().expect("in the file");
}

const WAYS: [Way; 4] = [
    ("replay", sqlite, "app.db", |disk, folder| replay(disk, folder, To::Replace)),
    ("replay, output", sqlite, "app.db", |disk, folder| replay(disk, folder, To::New(&folder.join("new")))),
    ("copy", segments, "log/00000001.wal", |disk, folder| {
        copy(disk, &folder.join("log"), None, &folder.join("new"), &mut |_| ()).expect("copied");
    }),
    ("a file through a log", totals, "totals", commit),
];

/// What is in a folder and below it, but for what was there.
fn below(folder: &Path, but: &[PathBuf], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(&path, but, found);
        }
        if !but.contains(&path) {
            found.push(path);
        }
    }
}

/// Looks at all that is new, and notes where anybody may do more with it than with what it is made of.
struct Guard {
    root: PathBuf,
    there: Vec<PathBuf>,
    /// What people may do with the file, and with a directory that something is made of.
    allowed: [Vec<String>; 2],
    /// Who may do what follows from the rights of a file and of its folder; the system is asked once.
    known: BTreeMap<(Rights, Rights), Vec<String>>,
    looks: usize,
    wrong: Vec<String>,
}

impl Guard {
    fn look(&mut self) {
        let mut new = Vec::new();
        below(&self.root, &self.there, &mut new);
        for path in new {
            self.looks += 1;
            let granted = (rights(&path), rights(path.parent().expect("a folder")));
            let is = self.known.entry(granted).or_insert_with(|| may(&path));
            for (is, was) in is.iter().zip(&self.allowed[usize::from(path.is_dir())]) {
                if is.chars().any(|right| !was.contains(right)) {
                    self.wrong.push(format!("{} is open to {is:?} where it was {was:?}", path.display()));
                }
            }
        }
    }
}

#[test]
fn what_is_made_is_never_open_to_more_than_in_the_end() {
    if !is_root() {
        return;
    }
    for (what, prepare, source, act) in WAYS {
        for acl in [true, false] {
            let folder = folder();
            prepare(folder.path());
            let mut there = Vec::new();
            below(folder.path(), &[], &mut there);
            for path in &there {
                match acl {
                    true => dress(path),
                    false => set_mode(path, if path.is_dir() { 0o750 } else { 0o640 }),
                }
            }
            open_by_default(folder.path());
            let log = folder.path().join("log");
            let nobody = vec![String::new(); ALL.len()];
            let allowed = [may(&folder.path().join(source)), if log.exists() { may(&log) } else { nobody }];
            assert!(!acl || !allowed[0][0].is_empty(), "{what}: somebody may read it");
            let root = folder.path().to_owned();
            let guard = Guard { root, there, allowed, known: BTreeMap::new(), looks: 0, wrong: Vec::new() };
            let guard = Arc::new(Mutex::new(guard));
            let watching = guard.clone();
            let disk: Disk = Arc::new(Between::every(real(), 1, move || watching.lock().unwrap().look()));
            act(&disk, folder.path());
            let guard = guard.lock().unwrap();
            assert!(guard.looks > 5 && guard.wrong.is_empty(), "{what}: {} looks, {:?}", guard.looks, guard.wrong);
        }
    }
}
