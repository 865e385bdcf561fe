//! What a program and its readers see on the system's own files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use waltool::wal::{DurableFile, Options, Result, WalError};
use waltool::{Error, Log, Report, Verdict};

fn write(file: &DurableFile, offset: u64, text: &str) {
    let mut transaction = file.begin();
    transaction.write(offset, text.as_bytes());
    transaction.commit().unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn error(result: Result<DurableFile>) -> WalError {
    result.err().expect("an error")
}

fn refused(result: Result<DurableFile>) -> String {
    let error = error(result);
    assert!(matches!(error, WalError::Stopped(Error::Refused { .. })), "{error}");
    error.to_string()
}

#[test]
fn the_file_changes_at_a_checkpoint_and_not_at_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    let mut file = DurableFile::open(&path).unwrap();
    write(&file, 0, "one");
    assert!(!path.exists());
    file.checkpoint().unwrap();
    assert_eq!(read(&path), "one");
    write(&file, 3, " two");
    let mut transaction = file.begin();
    transaction.write(8, b"three").set_len(11);
    transaction.commit().unwrap();
    assert_eq!(read(&path), "one");
    file.close().unwrap();
    assert_eq!(read(&path), "one two\0thr");
    let report = Report::of(&Log::open(&folder.path().join("totals.wal"), None).unwrap(), |_| ()).unwrap();
    assert_eq!((report.verdict(), report.segments), (Verdict::Clean, 1));
}

#[test]
fn what_was_committed_and_not_folded_in_is_there_after_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    let file = Options::new().segment_bytes(20_000).open_file(&path).unwrap();
    for number in 0..10 {
        write(&file, number * 5000, &number.to_string().repeat(5000));
    }
    drop(file);
    let file = DurableFile::open(&path).unwrap();
    let expected: String = (0..10).map(|number| number.to_string().repeat(5000)).collect();
    assert!(read(&path) == expected);
    assert_eq!(std::fs::read_dir(file.log_path()).unwrap().count(), 2, "LOCK and one segment");
}

#[test]
fn opening_and_closing_without_a_commit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    DurableFile::open(&path).unwrap().close().unwrap();
    assert!(!path.exists());
    let file = DurableFile::open(&path).unwrap();
    write(&file, 0, "one");
    file.close().unwrap();
    let names = || {
        let entries = std::fs::read_dir(folder.path().join("totals.wal")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, std::fs::metadata(&path).unwrap().modified().unwrap())
    };
    let before = names();
    for _ in 0..3 {
        DurableFile::open(&path).unwrap().close().unwrap();
    }
    assert_eq!(names(), before);
}

#[test]
fn a_reader_keeps_the_file_that_it_has_opened() {
    use std::io::Read;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    let mut file = DurableFile::open(&path).unwrap();
    write(&file, 0, "before");
    file.checkpoint().unwrap();
    let mut reader = std::fs::File::open(&path).unwrap();
    write(&file, 0, "after!");
    file.checkpoint().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), read(&path).as_str()), ("before", "after!"));
}

#[test]
fn the_mode_that_a_file_was_given_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    let mut file = DurableFile::open(&path).unwrap();
    write(&file, 0, "one");
    file.checkpoint().unwrap();
    for given in [0o640, 0o444, 0o2750] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(given)).unwrap();
        write(&file, 0, &format!("{given:o}"));
        file.checkpoint().unwrap();
        assert_eq!((mode(), read(&path)), (given, format!("{given:o}")));
    }
}

#[test]
fn a_file_is_opened_by_one_program_at_a_time_whatever_it_calls_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("totals"), folder.path().join("link"));
    std::fs::write(&path, "mine").unwrap();
    symlink(&path, &link).unwrap();
    let file = DurableFile::open(&link).unwrap();
    refused(DurableFile::open(&path));
    write(&file, 0, "yours");
    file.close().unwrap();
    assert_eq!(read(&path), "yours");
    assert!(link.is_symlink());
}

#[test]
fn a_file_that_is_gone_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    let mut file = DurableFile::open(&path).unwrap();
    write(&file, 0, "one");
    file.checkpoint().unwrap();
    write(&file, 3, " two");
    std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    let error = file.checkpoint().expect_err("a refusal").to_string();
    assert!(error.contains("totals: refused: it is gone"), "{error}");
    drop(file);
    assert_eq!(refused(DurableFile::open(&path)), error);
    assert!(!path.exists());
    std::fs::rename(folder.path().join("elsewhere"), &path).unwrap();
    DurableFile::open(&path).unwrap();
    assert_eq!(read(&path), "one two");
}

#[test]
fn a_file_that_was_there_before_its_log_is_never_made_of_the_log_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    std::fs::write(&path, "from before").unwrap();
    let file = DurableFile::open(&path).unwrap();
    assert_eq!(read(&path), "from before");
    write(&file, 5, "now");
    drop(file);
    std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    refused(DurableFile::open(&path));
    std::fs::rename(folder.path().join("elsewhere"), &path).unwrap();
    DurableFile::open(&path).unwrap();
    assert_eq!(read(&path), "from nowore");
}

#[test]
fn what_is_no_file_gets_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder");
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(error(DurableFile::open(&path)), WalError::Stopped(Error::NotRegular { .. })));
    assert!(matches!(error(DurableFile::open(path.join(".."))), WalError::Stopped(Error::NotRegular { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn threads_commit_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totals");
    let file = DurableFile::open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let file = &file;
            scope.spawn(move || (0..25).for_each(|number| write(file, number * 4 + thread, &thread.to_string())));
        }
    });
    file.close().unwrap();
    assert_eq!(read(&path), "0123".repeat(25));
}
