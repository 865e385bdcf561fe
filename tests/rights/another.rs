//! What is made from another file grants nobody more than that does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::logs::{Sqlite, change, native, segment};
use super::people::{
    ACL, ALL, MEMBER, NEIGHBOUR, OWNER, OWNER_AND_MEMBER, Person, STRANGER, acl, attach, complaint, done, dress,
    folder, give, is_root, may, open_by_default, rights, set_mode, succeeded,
};

/// A folder with a torn log and a damaged one of SQLite, and a native log with a torn tail in several segments.
fn prepare(folder: &Path) {
    for (case, name) in [("torn-midframe-1024", "torn"), ("bitflip-middle-512", "bad")] {
        let made = Sqlite::copy(case);
        fs::copy(made.path("app.db"), folder.join(format!("{name}.db"))).expect("a copy");
        fs::copy(made.log(), folder.join(format!("{name}.db-wal"))).expect("a copy");
    }
    let log = native(folder, 8, 9000, false);
    let last = (1..).find(|number| !segment(&log, number + 1).exists()).expect("a last segment");
    change(&segment(&log, last), |bytes| bytes.truncate(bytes.len() - 5));
    fs::write(folder.join("target"), "").expect("a target");
}

/// The files of which something is made.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let named = ["torn.db", "torn.db-wal", "bad.db", "bad.db-wal", "target", "log"].map(|name| folder.join(name));
    let segments = fs::read_dir(folder.join("log")).expect("a folder").map(|entry| entry.expect("an entry").path());
    segments.chain(named).collect()
}

/// Commands, what each makes in the folder `made`, and of what.
const WAYS: [(&str, &str, &str); 8] = [
    ("copy torn.db-wal made/new", "new", "torn.db-wal"),
    ("copy log made/new", "new", "log"),
    ("repair --output made/new torn.db-wal", "new", "torn.db-wal"),
    ("repair --output made/new log", "new", "log"),
    ("repair --salvage --output made/new bad.db-wal", "new", "bad.db-wal"),
    ("repair --salvage --output made/new log", "new", "log"),
    ("replay torn.db-wal --onto torn.db --output made/new", "new", "torn.db"),
    ("replay log --onto target --output made/new", "new", "target"),
];

/// Ways that only who may write the log has.
const OF_THE_OWNER: [(&str, &str, &str); 2] = [
    ("repair --yes --quarantine-dir made torn.db-wal", ".quarantine", "torn.db-wal"),
    ("replay log --onto target --in-place", "target.waltool-applied", "target"),
];

/// What was made, and what each of it was made of.
fn made(folder: &Path, name: &str, source: &str) -> Vec<(PathBuf, PathBuf)> {
    let paths = |folder: &Path| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let ends = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(name));
    let path = paths(&folder.join("made")).chain(paths(folder)).find(ends).expect("something made");
    let source = folder.join(source);
    let mut pairs = vec![(path.clone(), source.clone())];
    if path.is_dir() {
        pairs.extend(paths(&path).map(|file| (file.clone(), source.join(file.file_name().expect("a name")))));
        assert!(pairs.len() > 2, "several segments");
    }
    pairs
}

#[test]
fn nobody_may_do_more_with_what_is_made_from_a_file() {
    if !is_root() {
        return;
    }
    for (arguments, name, source) in WAYS.into_iter().chain(OF_THE_OWNER) {
        let folder = folder();
        prepare(folder.path());
        fs::create_dir(folder.path().join("made")).expect("a folder");
        open_by_default(&folder.path().join("made"));
        open_by_default(folder.path());
        sources(folder.path()).iter().for_each(|path| dress(path));
        done(folder.path(), arguments);
        for (path, source) in made(folder.path(), name, source) {
            let (is, was) = (rights(&path), rights(&source));
            assert_eq!((is.owner, is.mode), (was.owner, was.mode), "{arguments}: {}", path.display());
            assert_eq!(may(&path), may(&source), "{arguments}: {}", path.display());
            assert_eq!(is.attributes.get("user.note"), was.attributes.get("user.note"), "{arguments}");
            assert!(!is.attributes.contains_key("trusted.note"), "{arguments}");
        }
    }
}

#[test]
fn what_is_made_of_a_log_grants_no_more_than_the_folder_of_that() {
    if !is_root() {
        return;
    }
    for (mode, granted) in [(0o755, 0o644), (0o750, 0o640), (0o700, 0o600)] {
        let folder = folder();
        let log = native(folder.path(), 3, 1 << 20, true);
        set_mode(&log, mode);
        set_mode(&segment(&log, 1), 0o644);
        done(folder.path(), "replay log --onto none");
        assert_eq!(rights(&folder.path().join("none")).mode, granted, "{mode:o}");
    }
}

#[test]
fn an_ordinary_user_rescues_the_log_of_another_and_grants_nobody_more() {
    if !is_root() {
        return;
    }
    // By the mode: what all may read, what a group may, and more than the owner. By an ACL.
    let list = acl(6, (STRANGER.0, 4), 0, 4, 0);
    let cases = [
        (STRANGER, 0o644, 0o755, None),
        (MEMBER, 0o640, 0o750, None),
        (MEMBER, 0o460, 0o570, None),
        (STRANGER, 0o446, 0o557, None),
        (STRANGER, 0o640, 0o750, Some(list)),
    ];
    for (rescuer, mode, folder_mode, list) in cases {
        for (arguments, name, source) in WAYS {
            let folder = folder();
            prepare(folder.path());
            let of_him = folder.path().join("made");
            fs::create_dir(&of_him).expect("a folder");
            // What is new there is of another group at first.
            give(&of_him, Person(rescuer.0, NEIGHBOUR.1));
            set_mode(&of_him, 0o2755);
            for path in sources(folder.path()) {
                std::os::unix::fs::chown(&path, Some(OWNER.0), Some(MEMBER.1)).expect("a new owner");
                set_mode(&path, if path.is_dir() { folder_mode } else { mode });
                if let Some(list) = &list {
                    let mut list = list.clone();
                    // Folders can be entered.
                    let enter = if path.is_dir() { 1 } else { 0 };
                    [6, 14, 30].iter().for_each(|&at| list[at] |= enter);
                    attach(&path, ACL, &list);
                }
            }
            let output = rescuer.run(folder.path(), arguments);
            succeeded(&output, arguments);
            let said = complaint(&output);
            assert!(
                said.contains(&format!("belongs to user {}", rescuer.0)) && said.contains("user 1001 and group 1002"),
                "{said}"
            );
            for (path, source) in made(folder.path(), name, source) {
                let is = rights(&path);
                assert_eq!((is.owner.0, is.attributes.len()), (rescuer.0, 0), "{arguments}");
                if rescuer.1 == MEMBER.1 && mode == 0o640 {
                    // He may give it to his group.
                    assert_eq!((is.owner.1, is.mode & 0o070), (MEMBER.1, rights(&source).mode & 0o070), "{arguments}");
                }
                assert_eq!(rescuer.may(&path), "rw", "{arguments}: {}", path.display());
                for person in ALL.into_iter().chain([OWNER_AND_MEMBER]).filter(|person| person.0 != rescuer.0) {
                    let (is, was) = (person.may(&path), person.may(&source));
                    let more = is.chars().any(|right| !was.contains(right));
                    assert!(!more, "{arguments}, {mode:o}: {person:?} has {is} and had {was}: {}", path.display());
                }
            }
        }
    }
}

#[test]
fn a_log_that_its_owner_may_only_read_is_copied_and_repaired() {
    if !is_root() {
        return;
    }
    for (arguments, name, source) in WAYS {
        let folder = folder();
        prepare(folder.path());
        fs::create_dir(folder.path().join("made")).expect("a folder");
        give(&folder.path().join("made"), OWNER);
        for path in sources(folder.path()) {
            give(&path, OWNER);
            set_mode(&path, if path.is_dir() { 0o555 } else { 0o444 });
        }
        let output = OWNER.run(folder.path(), arguments);
        succeeded(&output, arguments);
        for (path, source) in made(folder.path(), name, source) {
            assert_eq!(rights(&path), rights(&source), "{arguments}");
        }
    }
}

#[test]
fn a_file_system_without_acls_gets_what_only_the_owner_may_use() {
    if !is_root() {
        return;
    }
    let folder = folder();
    prepare(folder.path());
    let made = folder.path().join("made");
    fs::create_dir(&made).expect("a folder");
    let Some(_mounted) = Mounted::at(&made) else {
        figure!("skipped: ramfs, which has no ACLs, cannot be mounted here");
        return;
    };
    dress(&folder.path().join("torn.db-wal"));
    let with = run_and_look(folder.path(), "copy torn.db-wal made/new", "made/new");
    set_mode(&folder.path().join("bad.db"), 0o640);
    let without = run_and_look(folder.path(), "replay bad.db-wal --onto bad.db --output made/plain", "made/plain");
    assert_eq!(with, (0, 0o600, (OWNER.0, MEMBER.1)));
    assert_eq!(without.1, 0o640);
}

/// A file system without extended attributes, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(folder: &Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(folder).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(folder.into()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run_and_look(folder: &Path, arguments: &str, made: &str) -> (i32, u32, (u32, u32)) {
    let output = super::people::run(folder, arguments);
    let made = rights(&folder.join(made));
    (output.status.code().unwrap_or(-1), made.mode, made.owner)
}
