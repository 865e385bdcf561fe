//! The path of a log is resolved when it is opened, and shown as it was given.

use std::os::unix::fs::symlink;

use waltool::wal::{Durability, DurableFile, Options, Wal};

use super::{commit, entries, why};

#[test]
fn a_link_that_is_turned_leads_no_writer_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["one", "two"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    symlink(path("one"), path("log")).unwrap();
    let wal = Options::new().segment_bytes(20_000).open(path("log")).unwrap();
    commit(&wal, "before", Durability::Durable).unwrap();
    std::fs::remove_file(path("log")).unwrap();
    symlink(path("two"), path("log")).unwrap();
    let other = Wal::open(path("log")).unwrap();
    commit(&other, "other", Durability::Durable).unwrap();

    commit(&wal, &"x".repeat(20_000), Durability::Durable).unwrap();
    assert_eq!(std::fs::read_dir(path("one")).unwrap().count(), 3, "LOCK and two segments");
    let last = wal.redo_lsn().max(waltool::formats::native::layout::Lsn::new(1, 8192));
    assert_eq!(wal.committed(last).unwrap().entries().next().unwrap().unwrap().transaction, 1);
    assert_eq!(entries(&other), ["other"]);
    assert_eq!(wal.path(), path("log"));
    wal.close().unwrap();
    assert_eq!(entries(&Wal::open(path("one")).unwrap()).len(), 2);
}

#[test]
fn messages_show_the_path_as_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("real")).unwrap();
    symlink(path("real"), path("log")).unwrap();
    let wal = Wal::open(path("log")).unwrap();
    let text = Wal::open(path("log")).expect_err("a second writer").to_string();
    assert!(text.starts_with(&format!("{}: refused", path("log/LOCK").display())), "{text}");
    commit(&wal, "one", Durability::Durable).unwrap();
    // A segment can be created by nobody while something has its name.
    std::fs::write(path("real/00000002.wal"), b"in the way").unwrap();
    let text = commit(&wal, &"x".repeat(70 << 20), Durability::Durable).expect_err("no segment").to_string();
    assert!(text.contains(&path("log/00000002.wal").display().to_string()), "{text}");
    std::fs::remove_file(path("real/LOCK")).unwrap();
    drop(wal);
    std::fs::remove_file(path("real/00000002.wal")).unwrap();

    let wal = Wal::open(path("log")).unwrap();
    std::fs::remove_file(path("real/LOCK")).unwrap();
    let error = wal.sync().expect_err("no LOCK");
    assert!(error.to_string().starts_with(&path("log").display().to_string()), "{error}");
    why::<()>(Err(error));
}

#[test]
fn a_file_behind_a_folder_that_is_turned_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["one", "two"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    symlink(path("one"), path("current")).unwrap();
    let file = DurableFile::open(path("current/totals")).unwrap();
    let mut transaction = file.begin();
    transaction.write(0, b"mine");
    transaction.commit().unwrap();
    std::fs::remove_file(path("current")).unwrap();
    symlink(path("two"), path("current")).unwrap();
    file.close().unwrap();
    assert_eq!(std::fs::read(path("one/totals")).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(path("two")).unwrap().count(), 0);
}
