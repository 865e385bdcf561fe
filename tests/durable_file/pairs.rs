//! A file and a log that do not belong together are refused, and nothing of them is changed; those that do are opened, whatever was done to
//! them.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::wal::{DurableFile, Result, Wal, WalError};
use waltool::{Error, Log};

/// A folder for files with their logs.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.wal"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file of this text, which its log knows, and a change from its sixth byte on that is only in the log.
    fn pair(&self, name: &str, text: &str, change: &str) {
        let file = self.open(name);
        write(&file, 0, text);
        file.close().unwrap();
        let file = self.open(name);
        write(&file, 6, change);
    }

    fn open(&self, name: &str) -> DurableFile {
        DurableFile::open(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Copies a file or a folder, with its times.
    fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp").arg("-a").arg(self.path(from)).arg(self.path(to)).status().unwrap();
        assert!(status.success());
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn exchange(&self, a: &str, b: &str) {
        self.rename(a, "exchanged");
        self.rename(b, a);
        self.rename("exchanged", b);
    }

    /// All that a file and its log hold.
    fn held(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.log(name)).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.chain([self.path(name)]).filter(|path| path.exists()).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    }

    /// Says why the pair is refused; opening changes nothing of it, once and again.
    fn refused(&self, name: &str) -> String {
        let before = self.held(name);
        let why = [(); 2].map(|()| refusal(DurableFile::open(self.path(name))));
        assert!(self.held(name) == before, "{name} was changed");
        assert_eq!(why[0], why[1]);
        why[0].clone()
    }
}

fn write(file: &DurableFile, offset: u64, text: &str) {
    let mut transaction = file.begin();
    transaction.write(offset, text.as_bytes());
    transaction.commit().unwrap();
}

fn refusal<T>(result: Result<T>) -> String {
    let error = result.err().expect("a refusal");
    assert!(matches!(error, WalError::Stopped(Error::Refused { .. })), "{error}");
    error.to_string()
}

/// As `touch` does, `seconds` after 1970.
fn touch(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn replay(log: &Path, target: &Path, until: Until, to: To<'_>) {
    let log = Log::open(log, None).unwrap();
    Replay::of(&log, target, until, TARGET_MAX, &mut |_| ()).unwrap().run(to, &mut |_| ()).unwrap();
}

/// What is done, in words and in deed.
type Case<T> = (&'static str, fn(&T));

#[test]
fn exchanged_logs_are_refused_and_open_once_they_are_exchanged_back() {
    let desk = Desk::new();
    desk.pair("f", "first file", "FILE");
    desk.pair("g", "other file", "FILE");
    desk.exchange("f.wal", "g.wal");
    for name in ["f", "g"] {
        let why = desk.refused(name);
        assert!(why.contains("do not belong together"), "{why}");
        assert_eq!(why.matches("10 bytes, CRC-32 ").count(), 2, "{why}");
    }
    desk.exchange("f.wal", "g.wal");
    drop((desk.open("f"), desk.open("g")));
    assert_eq!((desk.read("f"), desk.read("g")), ("first FILE".into(), "other FILE".into()));
}

#[test]
fn exchanged_files_are_refused_also_when_their_logs_have_nothing_for_them() {
    let desk = Desk::new();
    for (name, text) in [("f", "first file"), ("g", "other file")] {
        let file = desk.open(name);
        write(&file, 0, text);
        file.close().unwrap();
    }
    desk.exchange("f", "g");
    desk.refused("f");
    desk.refused("g");
}

#[test]
fn an_older_log_beside_a_newer_file_is_refused() {
    let desk = Desk::new();
    let mut file = desk.open("h");
    write(&file, 0, "balance=100;seq=1");
    file.checkpoint().unwrap();
    write(&file, 8, "200");
    desk.copy("h.wal", "older");
    write(&file, 8, "300;seq=2");
    file.close().unwrap();
    desk.rename("h.wal", "newer");
    desk.rename("older", "h.wal");
    desk.refused("h");
    assert_eq!(desk.read("h"), "balance=300;seq=2");
    desk.exchange("h.wal", "newer");
    desk.open("h");
}

#[test]
fn an_older_file_beside_a_newer_log_is_refused() {
    let desk = Desk::new();
    let mut file = desk.open("h");
    write(&file, 0, "balance=100;seq=1");
    file.checkpoint().unwrap();
    desk.copy("h", "older");
    write(&file, 8, "200;seq=2");
    file.checkpoint().unwrap();
    write(&file, 12, "SEQ");
    drop(file);
    desk.exchange("h", "older");
    desk.refused("h");
    desk.exchange("h", "older");
    desk.open("h");
    assert_eq!(desk.read("h"), "balance=200;SEQ=2");
}

#[test]
fn a_file_that_was_replaced_or_edited_or_cut_is_refused() {
    let edits: [Case<Path>; 4] = [
        ("replaced", |path| fs::write(path, "brand new, unrelated").unwrap()),
        ("by a file of the same length", |path| {
            let new = path.with_extension("new");
            fs::write(&new, "first fi1e").unwrap();
            fs::rename(new, path).unwrap();
        }),
        ("one byte, and its time put back", |path| {
            let times = fs::metadata(path).unwrap();
            let times =
                FileTimes::new().set_modified(times.modified().unwrap()).set_accessed(times.accessed().unwrap());
            fs::write(path, "first fi1e").unwrap();
            File::options().write(true).open(path).unwrap().set_times(times).unwrap();
        }),
        ("to nothing", |path| fs::write(path, "").unwrap()),
    ];
    for (about, edit) in edits {
        let desk = Desk::new();
        desk.pair("f", "first file", "FILE");
        edit(&desk.path("f"));
        let why = desk.refused("f");
        let was = format!("10 bytes, CRC-32 {:08x}", crc32fast::hash(b"first file"));
        assert!(why.contains(&was), "{about}: {why}");
        assert!(why.contains("mv "), "{about}: {why}");
        fs::write(desk.path("f"), "first file").unwrap();
        desk.open("f");
        assert_eq!(desk.read("f"), "first FILE", "{about}");
    }
}

#[test]
fn a_file_that_is_replaced_while_it_is_open_is_refused_at_the_next_checkpoint() {
    let desk = Desk::new();
    let mut file = desk.open("f");
    write(&file, 0, "first file");
    file.checkpoint().unwrap();
    write(&file, 6, "FILE");
    desk.rename("f", "aside");
    fs::write(desk.path("f"), "brand new, unrelated").unwrap();
    let why = refusal(file.checkpoint());
    assert!(why.contains("10 bytes") && why.contains("20 bytes"), "{why}");
    assert_eq!(desk.read("f"), "brand new, unrelated");
    desk.exchange("f", "aside");
    file.close().unwrap();
    assert_eq!(desk.read("f"), "first FILE");
}

#[test]
fn a_file_that_comes_from_elsewhere_before_the_first_checkpoint_is_refused() {
    let desk = Desk::new();
    let file = desk.open("f");
    write(&file, 0, "first file");
    drop(file);
    fs::write(desk.path("f"), "not of this log").unwrap();
    let why = desk.refused("f");
    assert!(why.contains("empty, before the first commit"), "{why}");
    fs::write(desk.path("f"), "").unwrap();
    desk.open("f");
    assert_eq!(desk.read("f"), "first file");
}

#[test]
fn a_pair_that_is_moved_or_copied_or_touched_opens() {
    let moves: [Case<Desk>; 4] = [
        ("copied with times", |desk| {
            desk.copy("f", "g");
            desk.copy("f.wal", "g.wal");
        }),
        ("copied without times", |desk| {
            fs::copy(desk.path("f"), desk.path("g")).unwrap();
            desk.copy("f.wal", "g.wal");
        }),
        ("renamed", |desk| {
            desk.rename("f", "g");
            desk.rename("f.wal", "g.wal");
        }),
        ("touched", |desk| {
            desk.rename("f", "g");
            desk.rename("f.wal", "g.wal");
            touch(&desk.path("g"), 1_000_000_000);
        }),
    ];
    for (about, act) in moves {
        let desk = Desk::new();
        desk.pair("f", "first file", "FILE");
        act(&desk);
        desk.open("g").close().unwrap();
        assert_eq!(desk.read("g"), "first FILE", "{about}");
        desk.open("g").close().unwrap();
    }
}

#[test]
fn a_file_without_its_log_is_taken_on_as_it_is_and_not_copied() {
    let desk = Desk::new();
    desk.pair("f", "first file", "FILE");
    fs::remove_dir_all(desk.log("f")).unwrap();
    let inode = || fs::metadata(desk.path("f")).unwrap().ino();
    let before = inode();
    desk.open("f").close().unwrap();
    assert_eq!((inode(), desk.read("f").as_str()), (before, "first file"));
    // And from then on it is known.
    fs::write(desk.path("f"), "first fi1e").unwrap();
    desk.refused("f");
}

#[test]
fn a_further_name_of_the_file_goes_on_naming_what_it_named() {
    let desk = Desk::new();
    desk.pair("f", "first file", "FILE");
    fs::hard_link(desk.path("f"), desk.path("other")).unwrap();
    desk.open("f").close().unwrap();
    assert_eq!((desk.read("f"), desk.read("other")), ("first FILE".into(), "first file".into()));
}

#[test]
fn a_symbolic_link_leads_to_the_pair() {
    let desk = Desk::new();
    desk.pair("f", "first file", "FILE");
    std::os::unix::fs::symlink(desk.path("f"), desk.path("link")).unwrap();
    desk.open("link").close().unwrap();
    assert_eq!(desk.read("f"), "first FILE");
    fs::write(desk.path("f"), "first fi1e").unwrap();
    refusal(DurableFile::open(desk.path("link")));
}

#[test]
fn a_file_that_is_gone_is_told_from_one_that_never_was() {
    let desk = Desk::new();
    desk.pair("f", "first file", "FILE");
    desk.rename("f", "aside");
    let why = desk.refused("f");
    assert!(why.contains("it is gone"), "{why}");
    desk.rename("aside", "f");
    desk.open("f");
}

#[test]
fn a_log_from_before_logs_knew_their_file_is_believed_and_knows_it_from_then_on() {
    for changed in [false, true] {
        let desk = Desk::new();
        fs::write(desk.path("f"), "first file").unwrap();
        let wal = Wal::open(desk.log("f")).unwrap();
        let mut transaction = wal.begin();
        transaction.set_len(10);
        let last = transaction.commit().unwrap();
        wal.checkpoint(last, 10).unwrap();
        if changed {
            let mut transaction = wal.begin();
            transaction.write(6, b"FILE");
            transaction.commit().unwrap();
        }
        wal.close().unwrap();
        desk.open("f").close().unwrap();
        assert_eq!(desk.read("f"), if changed { "first FILE" } else { "first file" });
        fs::write(desk.path("f"), "first fi1e").unwrap();
        desk.refused("f");
    }
}

#[test]
fn what_a_replay_made_of_the_file_is_known() {
    for to in [To::Replace, To::InPlace] {
        for by_hand in [Until::End, Until::Lsn(0)] {
            let desk = Desk::new();
            let file = desk.open("f");
            write(&file, 0, "first file");
            file.close().unwrap();
            let file = desk.open("f");
            write(&file, 6, "FI");
            let mut transaction = file.begin();
            transaction.write(8, b"LE").set_len(12);
            let last = transaction.commit().unwrap();
            drop(file);
            let until = if by_hand == Until::End { Until::End } else { Until::Lsn(last.0 - 1) };
            replay(&desk.log("f"), &desk.path("f"), until, to);
            assert_eq!(desk.read("f"), if by_hand == Until::End { "first FILE\0\0" } else { "first FIle" });
            desk.open("f").close().unwrap();
            assert_eq!(desk.read("f"), "first FILE\0\0");
            assert!(!desk.path("f.waltool-applied").exists(), "the log knows the file itself");
            replay(&desk.log("f"), &desk.path("f"), Until::End, to);
            desk.open("f").close().unwrap();
        }
    }
}

#[test]
fn what_a_replay_made_and_somebody_edited_is_refused() {
    let desk = Desk::new();
    desk.pair("f", "first file", "FILE");
    replay(&desk.log("f"), &desk.path("f"), Until::End, To::InPlace);
    fs::write(desk.path("f"), "first FI1E").unwrap();
    desk.refused("f");
}

#[test]
fn a_replay_does_not_make_a_wrong_pair_a_right_one() {
    for to in [To::Replace, To::InPlace] {
        let desk = Desk::new();
        desk.pair("f", "first file", "FILE");
        fs::write(desk.path("f"), "other file").unwrap();
        replay(&desk.log("f"), &desk.path("f"), Until::End, to);
        assert_eq!(desk.read("f"), "other FILE");
        desk.refused("f");
        replay(&desk.log("f"), &desk.path("f"), Until::End, to);
        desk.refused("f");
    }
}
