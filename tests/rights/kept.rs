//! What replaces a file, or changes it, keeps all rights to it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use waltool::wal::{DurableFile, WalError};

use super::logs::{Sqlite, change, native, segment};
use super::people::{
    STRANGER, attach, complaint, copy_program, done, dress, folder, is_root, may, open_by_default, rights, set_mode,
    succeeded,
};

fn sqlite(folder: &Path, case: &str) {
    let made = Sqlite::copy(case);
    for name in ["app.db", "app.db-wal"] {
        fs::copy(made.path(name), folder.join(name)).expect("a copy");
    }
}

fn torn(folder: &Path) {
    sqlite(folder, "torn-midframe-1024");
}

fn flipped(folder: &Path) {
    sqlite(folder, "bitflip-middle-512");
}

fn totals(folder: &Path) {
    commit(folder, "one");
}

fn commit(folder: &Path, text: &str) {
    let file = DurableFile::open(folder.join("totals")).expect("a file");
    let mut transaction = file.begin();
    transaction.write(0, text.as_bytes());
    transaction.commit().expect("committed");
    file.close().expect("closed");
}

fn in_place(folder: &Path) {
    native(folder, 3, 1 << 20, true);
    fs::write(folder.join("target"), "").expect("a target");
}

type Way = (&'static str, fn(&Path), &'static str, fn(&Path));

/// What is done to which file.
const WAYS: [Way; 6] = [
    ("replay", torn, "app.db", |folder| done(folder, "replay app.db-wal --onto app.db")),
    ("replay, in place", torn, "app.db", |folder| done(folder, "replay app.db-wal --onto app.db --in-place")),
    ("replay, sidecar", in_place, "target", |folder| done(folder, "replay log --onto target --in-place")),
    ("undo of a cut", torn, "app.db-wal", |folder| {
        done(folder, "repair --yes app.db-wal");
        done(folder, "repair --undo app.db-wal");
    }),
    ("undo of a bit", flipped, "app.db-wal", |folder| {
        done(folder, "repair --yes --fix-bit app.db-wal");
        done(folder, "repair --undo app.db-wal");
    }),
    ("a file through a log", totals, "totals", |folder| commit(folder, "two")),
];

#[test]
fn a_file_that_is_replaced_keeps_owner_mode_acl_and_attributes() {
    if !is_root() {
        return;
    }
    for (what, prepare, name, act) in WAYS {
        let folder = folder();
        let path = folder.path().join(name);
        prepare(folder.path());
        dress(&path);
        open_by_default(folder.path());
        let (before, allowed) = (rights(&path), may(&path));
        assert_eq!(allowed, ["rw", "", "r", "", ""], "{what}: the owner, and who is named");
        act(folder.path());
        assert_eq!(rights(&path), before, "{what}");
        assert_eq!(may(&path), allowed, "{what}");
    }
}

#[test]
fn a_file_without_an_acl_gets_none_from_its_folder() {
    if !is_root() {
        return;
    }
    for (what, prepare, name, act) in WAYS {
        let folder = folder();
        let path = folder.path().join(name);
        prepare(folder.path());
        set_mode(&path, 0o664);
        open_by_default(folder.path());
        let before = rights(&path);
        act(folder.path());
        assert_eq!(rights(&path), before, "{what}");
    }
}

#[test]
fn a_segment_that_was_removed_comes_back_as_it_was() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let log = native(folder.path(), 12, 9000, true);
    change(&segment(&log, 2), |bytes| bytes[8200] ^= 0xff);
    let third = segment(&log, 3);
    dress(&third);
    let (mut before, allowed) = (rights(&third), may(&third));
    done(folder.path(), "repair --yes --cut-at-damage --accept-loss log");
    assert!(!third.exists());
    done(folder.path(), "repair --undo log");
    before.attributes.remove("trusted.note");
    assert_eq!((rights(&third), may(&third)), (before, allowed));
}

/// As a write to the file takes it away.
#[test]
fn what_a_program_may_by_its_file_is_not_kept_with_other_content() {
    if !is_root() {
        return;
    }
    for (arguments, made) in
        [("replay app.db-wal --onto app.db", "app.db"), ("replay app.db-wal --onto app.db --output new", "new")]
    {
        let folder = folder();
        torn(folder.path());
        let revision_2 = [2_u32 << 24, 1 << 10, 0, 0, 0].map(u32::to_le_bytes).concat();
        attach(&folder.path().join("app.db"), "security.capability", &revision_2);
        done(folder.path(), arguments);
        assert_eq!(rights(&folder.path().join(made)).attributes.into_keys().collect::<Vec<_>>(), [""; 0], "{made}");
    }
}

#[test]
fn a_file_whose_rights_cannot_be_kept_is_not_replaced() {
    if !is_root() {
        return;
    }
    let folder = folder();
    torn(folder.path());
    set_mode(folder.path(), 0o777);
    let path = folder.path().join("app.db");
    set_mode(&path, 0o666);
    let (before, bytes) = (rights(&path), fs::read(&path).expect("a file"));
    let names = || fs::read_dir(folder.path()).expect("a folder").count();
    let there = names();
    let output = STRANGER.run(folder.path(), "replay app.db-wal --onto app.db");
    assert_eq!(output.status.code(), Some(7), "{}", complaint(&output));
    assert!(complaint(&output).contains("its owner, user 0 and group 0"), "{}", complaint(&output));
    assert_eq!((rights(&path), fs::read(&path).expect("a file"), names()), (before.clone(), bytes, there));
    succeeded(&STRANGER.run(folder.path(), "replay app.db-wal --onto app.db --in-place"), "in place");
    assert_eq!(rights(&path), before);
}

#[test]
fn a_file_that_cannot_be_replaced_stays_and_its_log_keeps_what_is_committed() {
    // This test again, as another user.
    if let Some(path) = std::env::var_os("WALTOOL_RIGHTS_FILE") {
        let write = |mut file: DurableFile| {
            let mut transaction = file.begin();
            transaction.write(0, b"new");
            transaction.commit()?;
            file.checkpoint()
        };
        let error = DurableFile::open(&path).and_then(write).expect_err("refused");
        assert!(matches!(error, WalError::NotApplied { .. }), "{error}");
        assert!(error.to_string().contains("its owner, user 0 and group 0"), "{error}");
        return;
    }
    if !is_root() {
        return;
    }
    let folder = folder();
    let (path, test) = (folder.path().join("totals"), folder.path().join("test"));
    fs::write(&path, "old").expect("a file");
    set_mode(folder.path(), 0o777);
    let before = rights(&path);
    copy_program(&std::env::current_exe().expect("this test"), &test);
    let name = "kept::a_file_that_cannot_be_replaced_stays_and_its_log_keeps_what_is_committed";
    let mut command = Command::new(&test);
    command.args(["--exact", name]).env("WALTOOL_RIGHTS_FILE", &path).uid(STRANGER.0).gid(STRANGER.1);
    let output = command.output().expect("a run");
    succeeded(&output, &String::from_utf8_lossy(&output.stdout));
    assert_eq!((fs::read_to_string(&path).expect("a file"), rights(&path)), ("old".into(), before.clone()));
    // Who may replace it finds what was committed.
    DurableFile::open(&path).expect("a file").close().expect("closed");
    assert_eq!((fs::read_to_string(&path).expect("a file"), rights(&path)), ("new".into(), before));
}
