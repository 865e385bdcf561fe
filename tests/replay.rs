//! Replay, by the library.

mod logs;

use std::fs;
use std::path::Path;

use logs::{Sqlite, cases, change, native, native_target, refused, report, segment, verdict};
use waltool::format::{Role, TargetState};
use waltool::formats::native::encode::Entry;
use waltool::formats::native::layout::Lsn;
use waltool::formats::native::log_writer::{LogOptions, LogWriter};
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::{Log, Result, Verdict};

fn replay(log: &Path, onto: &Path, until: Until, to: To<'_>) -> Result<Verdict> {
    let log = Log::open(log, None)?;
    let replay = Replay::of(&log, onto, until, TARGET_MAX, &mut |_| {})?;
    replay.run(to, &mut |_| {})?;
    Ok(replay.verdict())
}

#[test]
fn replay_makes_the_database_that_sqlite_makes() {
    for case in cases() {
        let made = Sqlite::copy(&case);
        let before = made.bytes("app.db");
        replay(&made.log(), &made.path("app.db"), Until::End, To::New(&made.path("new.db"))).expect("replayed");
        assert!(made.bytes("new.db") == made.bytes("expected.db"), "{case}: another database");
        assert!(made.bytes("app.db") == before, "{case}: the target stays");
    }
}

#[test]
fn replaying_twice_equals_once_in_every_way() {
    for case in cases() {
        for to in [To::Replace, To::InPlace] {
            let made = Sqlite::copy(&case);
            let damaged = matches!(verdict(&made.log()), Verdict::Corrupt | Verdict::Incomplete);
            for _ in 0..2 {
                let before = made.bytes("app.db");
                match replay(&made.log(), &made.path("app.db"), Until::End, to) {
                    Ok(_) => assert!(!damaged && made.bytes("app.db") == made.bytes("expected.db"), "{case}"),
                    Err(error) => {
                        assert!(damaged && error.exit_code() == 7, "{case}: {error}");
                        assert!(made.bytes("app.db") == before, "{case}: refused, so not touched");
                    }
                }
            }
        }
    }
}

#[test]
fn until_a_commit_gives_the_prefix_that_ends_there() {
    let made = Sqlite::copy("clean-512-be");
    let whole = made.bytes("app.db-wal");
    let commits = commits(&made.log());
    assert!(commits.len() > 5, "{} commits", commits.len());
    for (number, (lsn, end)) in commits.into_iter().enumerate() {
        let (cut, by_cut) = (made.path("cut-wal"), made.path(&format!("cut{number}.db")));
        fs::write(&cut, &whole[..end as usize]).expect("a prefix");
        replay(&cut, &made.path("app.db"), Until::End, To::New(&by_cut)).expect("replayed");
        let by_until = made.path(&format!("until{number}.db"));
        replay(&made.log(), &made.path("app.db"), Until::Lsn(lsn), To::New(&by_until)).expect("replayed");
        assert!(fs::read(by_until).expect("a file") == fs::read(by_cut).expect("a file"), "commit {lsn}");
    }
}

fn commits(log: &Path) -> Vec<(u64, u64)> {
    let log = Log::open(log, None).expect("a log");
    let mut scan = waltool::Scan::new(&log);
    let mut commits = Vec::new();
    while let Some(found) = scan.next().expect("a span") {
        let commit = found.record.filter(|record| record.meta.commit.is_some());
        commits.extend(commit.map(|record| (record.meta.lsn, found.span.end())));
    }
    commits
}

#[test]
fn what_is_damaged_behind_the_commit_that_was_asked_for_is_no_concern() {
    let made = Sqlite::copy("bitflip-middle-512");
    let onto = made.path("app.db");
    let verdict = replay(&made.log(), &onto, Until::Lsn(20), To::Replace).expect("replayed");
    assert_eq!(verdict, Verdict::Clean);
    refused(replay(&made.log(), &onto, Until::Lsn(1000), To::Replace));
    refused(replay(&made.log(), &onto, Until::Lsn(1), To::Replace));
}

#[test]
fn a_native_log_makes_its_target_from_nothing_and_stops_where_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 12, 9000, true);
    let target = folder.path().join("target");
    replay(&log, &target, Until::End, To::Replace).expect("replayed");
    assert_eq!(fs::read(&target).expect("a target"), native_target(12));
    for number in 1..=12 {
        let new = folder.path().join(format!("new{number}"));
        let nothing = folder.path().join("nothing");
        replay(&log, &nothing, Until::Time(number * 1000 + 999), To::New(&new)).expect("replayed");
        assert_eq!(fs::read(&new).expect("a target"), native_target(number), "until {number}");
    }
    replay(&log, &target, Until::End, To::InPlace).expect("replayed again");
    assert_eq!(fs::read(&target).expect("a target"), native_target(12));
}

#[test]
fn a_gap_is_refused_where_it_would_change_the_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 12, 9000, true);
    fs::remove_file(segment(&log, 3)).expect("lost");
    let (target, new) = (folder.path().join("target"), folder.path().join("new"));
    fs::write(&target, "as it was").expect("a target");
    refused(replay(&log, &target, Until::End, To::Replace));
    refused(replay(&log, &target, Until::End, To::InPlace));
    assert_eq!(fs::read(&target).expect("a target"), b"as it was");
    assert_eq!(replay(&log, &target, Until::End, To::New(&new)).expect("elsewhere"), Verdict::Incomplete);
}

#[test]
fn a_torn_native_tail_is_replayed_up_to_its_last_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 5, 1 << 20, false);
    change(&segment(&log, 1), |bytes| bytes.truncate(bytes.len() - 10));
    assert_eq!(report(&log).verdict(), Verdict::TornTail);
    let target = folder.path().join("target");
    replay(&log, &target, Until::End, To::Replace).expect("replayed");
    assert_eq!(fs::read(&target).expect("a target"), native_target(4));
}

#[test]
fn a_target_that_would_grow_too_long_is_refused_before_a_byte_is_written() {
    let made = Sqlite::copy("clean-512-be");
    let log = Log::open(&made.log(), None).expect("a log");
    let len = made.bytes("expected.db").len() as u64;
    let onto = made.path("app.db");
    assert!(Replay::of(&log, &onto, Until::End, len, &mut |_| {}).is_ok());
    let why = refused(Replay::of(&log, &onto, Until::End, len - 1, &mut |_| {}).map(|_| ()));
    assert!(why.contains("--max-target-size"), "{why}");
}

#[test]
fn a_wrong_target_is_refused() {
    let made = Sqlite::copy("clean-512-be");
    let onto = made.path("app.db");
    fs::write(&onto, "no database at all").expect("written");
    let why = refused(replay(&made.log(), &onto, Until::End, To::Replace));
    assert!(why.contains("not a SQLite database"), "{why}");
    let other = Sqlite::copy("clean-4096-le");
    let why = refused(replay(&made.log(), &other.path("expected.db"), Until::End, To::InPlace));
    assert!(why.contains("512") && why.contains("4096"), "{why}");
    let missing = replay(&made.log(), &made.path("nowhere.db"), Until::End, To::Replace);
    assert!(missing.is_err_and(|error| error.to_string().contains("nowhere.db") && error.exit_code() == 6));
}

#[test]
fn an_existing_file_is_never_the_new_one() {
    let made = Sqlite::copy("clean-512-be");
    refused(replay(&made.log(), &made.path("app.db"), Until::End, To::New(&made.path("expected.db"))));
}

#[test]
fn the_mode_of_the_target_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let made = Sqlite::copy("clean-512-be");
    let onto = made.path("app.db");
    fs::set_permissions(&onto, fs::Permissions::from_mode(0o640)).expect("a mode");
    replay(&made.log(), &onto, Until::End, To::Replace).expect("replayed");
    assert_eq!(fs::metadata(&onto).expect("a file").permissions().mode() & 0o7777, 0o640);
}

#[test]
fn a_target_that_is_gone_is_not_made_of_a_log_that_says_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, target) = (folder.path().join("log"), folder.path().join("target"));
    fs::create_dir(&log).expect("a log");
    let options = LogOptions { log_id: [1; 16], target_id: [0; 16], created_ns: 1, segment_limit: 1 << 20 };
    let mut writer = LogWriter::create(&log, &options, || 7).expect("a log");
    let state = Some(TargetState { crc: crc32fast::hash(b"old text"), role: Role::Fact(None) });
    let fact = Entry::Checkpoint { redo_lsn: Lsn::new(1, 8192), target_len: 8, state };
    writer.transaction(&[fact, Entry::Write { offset: 4, bytes: b"news" }], 2).expect("a commit");
    writer.finish(3).expect("a mark");
    let error = replay(&log, &target, Until::End, To::Replace).expect_err("nothing to begin with");
    assert!(error.exit_code() == 6 && !target.exists(), "{error}");
    fs::write(&target, "old text").expect("a target");
    replay(&log, &target, Until::End, To::Replace).expect("replayed");
    assert_eq!(fs::read(&target).expect("a target"), b"old news");
}
