//! The file beside a target that says how far the log has reached it: what it says, and what it forbids.

mod logs;

use std::fs;
use std::path::{Path, PathBuf};

use logs::{Sqlite, change, native, native_of, native_target, refused, segment};
use tempfile::TempDir;
use waltool::formats::native::layout::{Lsn, SegmentHeader, TWIN};
use waltool::replay::sidecar::{self, Mark, PAGE, Proof, Sidecar, State};
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::rights::Origin;
use waltool::vfs::{self, Real};
use waltool::{Error, Log, Result};

/// Behind the commit of this number, where all are in segment 1: each transaction is 136 bytes of WRITE and 48 of COMMIT.
fn behind(number: u64) -> u64 {
    Lsn::new(1, 8192 + 184 * number as u32).0
}

/// The LSN of that commit.
fn commit(number: u64) -> Until {
    Until::Lsn(behind(number) - 48)
}

fn run(log: &Path, onto: &Path, until: Until, to: To<'_>) -> Result<()> {
    let log = Log::open(log, None)?;
    Replay::of(&log, onto, until, TARGET_MAX, &mut |_| {})?.run(to, &mut |_| {})?;
    Ok(())
}

fn said(target: &Path) -> Mark {
    sidecar::look(&Real, target).expect("a sidecar that can be read").expect("a sidecar").mark
}

fn clean(number: u64) -> Mark {
    let (applied, high) = (behind(number), behind(number));
    Mark { state: State::Clean, log_id: [1; 16], target_id: [0; 16], applied, high, proof: Proof::None }
}

/// A log of five transactions and its target, empty and then replayed in place up to the commit of this number.
fn bench(number: u64) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 5, 1 << 20, false);
    let target = folder.path().join("target");
    fs::write(&target, "").expect("a target");
    run(&log, &target, commit(number), To::InPlace).expect("replayed");
    (folder, log, target)
}

#[test]
fn a_replay_in_place_says_how_far_it_came() {
    let (_folder, log, target) = bench(2);
    assert_eq!((said(&target), fs::read(&target).expect("a target")), (clean(2), native_target(2)));
    for (until, number) in [(commit(2), 2), (commit(4), 4), (Until::End, 5), (Until::End, 5)] {
        run(&log, &target, until, To::InPlace).expect("replayed");
        assert_eq!((said(&target), fs::read(&target).expect("a target")), (clean(number), native_target(number)));
    }
}

#[test]
fn a_replacement_minds_a_sidecar_and_makes_none() {
    let (folder, log, target) = bench(2);
    refused(run(&log, &target, commit(1), To::Replace));
    run(&log, &target, Until::End, To::Replace).expect("replayed");
    assert_eq!((said(&target), fs::read(&target).expect("a target")), (clean(5), native_target(5)));
    let other = folder.path().join("other");
    run(&log, &other, Until::End, To::Replace).expect("replayed");
    assert!(!sidecar::path_of(&other).exists());
}

#[test]
fn a_new_file_is_written_whatever_the_sidecar_of_the_target_says() {
    let (folder, log, target) = bench(5);
    let before = fs::read(sidecar::path_of(&target)).expect("a sidecar");
    let new = folder.path().join("new");
    run(&log, &target, commit(3), To::New(&new)).expect("replayed");
    assert_eq!(fs::read(sidecar::path_of(&target)).expect("a sidecar"), before);
    assert!(!sidecar::path_of(&new).exists());
    fs::write(sidecar::path_of(&target), "what is this?").expect("written");
    run(&log, &target, Until::End, To::New(&folder.path().join("newer"))).expect("replayed");
}

#[test]
fn a_new_file_is_not_put_beside_the_sidecar_of_another() {
    let (folder, log, target) = bench(2);
    let new = folder.path().join("new");
    fs::copy(sidecar::path_of(&target), sidecar::path_of(&new)).expect("a copy");
    let why = refused(run(&log, &target, Until::End, To::New(&new)));
    assert!(why.contains("new.waltool-applied"), "{why}");
    assert!(!new.exists());
}

#[test]
fn the_sidecar_of_a_target_that_is_gone_forbids_nothing_and_is_brought_up_to_date() {
    for to in [To::Replace, To::InPlace] {
        let (folder, _, target) = bench(5);
        fs::remove_file(&target).expect("removed");
        let log = native_of(&folder.path().join("other"), [[2; 16], [3; 16]], 4, 1 << 20, false);
        run(&log, &target, Until::End, to).expect("replayed");
        let mark = Mark { log_id: [2; 16], target_id: [3; 16], ..clean(4) };
        assert_eq!((said(&target), fs::read(&target).expect("a target")), (mark, native_target(4)));
    }
}

/// Why this replay is refused in both ways that change the target; neither changes anything.
fn refusal(log: &Path, target: &Path, until: Until) -> String {
    let files = || [fs::read(target).expect("a target"), fs::read(sidecar::path_of(target)).expect("a sidecar")];
    let before = files();
    let why = [To::Replace, To::InPlace].map(|to| refused(run(log, target, until, to)));
    assert_eq!(why[0], why[1]);
    assert!(files() == before, "{}", why[0]);
    assert!(why[0].contains("target: refused: ") && why[0].contains("target.waltool-applied says"), "{}", why[0]);
    why[0].clone()
}

#[test]
fn another_log_is_refused() {
    let (folder, _, target) = bench(2);
    let log = native_of(&folder.path().join("other"), [[2; 16], [0; 16]], 5, 1 << 20, false);
    let why = refusal(&log, &target, Until::End);
    for part in [&"01".repeat(16), &"02".repeat(16), "\n  if another file has its name since:  rm "] {
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_log_about_another_target_is_refused() {
    let (folder, _, target) = bench(2);
    let log = native_of(&folder.path().join("other"), [[1; 16], [9; 16]], 5, 1 << 20, false);
    let why = refusal(&log, &target, Until::End);
    assert!(why.contains(&"00".repeat(16)) && why.contains(&"09".repeat(16)), "{why}");
}

/// Lets the header of a segment say that replay starts at `redo`.
fn allow_removal(path: &Path, redo: Lsn) {
    let mut bytes = fs::read(path).expect("a segment");
    let header = SegmentHeader { redo_lsn: redo, ..SegmentHeader::parse(&bytes).expect("a header") }.encode();
    [0, TWIN].iter().for_each(|&at| bytes[at..at + header.len()].copy_from_slice(&header));
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_log_that_has_lost_what_the_target_lacks_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 5, 8192 + 2 * 184 + 100, false);
    allow_removal(&segment(&log, 3), Lsn::new(3, 8192));
    let target = folder.path().join("target");
    fs::write(&target, "").expect("a target");
    run(&log, &target, commit(2), To::InPlace).expect("replayed");
    fs::remove_file(segment(&log, 1)).expect("removed");
    let ahead = folder.path().join("ahead");
    fs::copy(&target, &ahead).expect("a copy");
    fs::copy(sidecar::path_of(&target), sidecar::path_of(&ahead)).expect("a copy");
    run(&log, &ahead, Until::End, To::InPlace).expect("it holds all that is gone");
    assert_eq!(fs::read(&ahead).expect("a target"), native_target(5));
    fs::remove_file(segment(&log, 2)).expect("removed");
    let why = refusal(&log, &target, Until::End);
    for part in ["up to 00000001:00002170", "begins at 00000002:00002170", "--output NEW"] {
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_target_that_is_ahead_of_the_log_is_refused() {
    let (folder, _, target) = bench(5);
    let log = native_of(&folder.path().join("older"), [[1; 16], [0; 16]], 3, 1 << 20, false);
    let why = refusal(&log, &target, Until::End);
    for part in ["up to 00000001:00002398", "ends at 00000001:00002228", "--onto BASE --output NEW"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(!why.contains("--until"), "{why}");
}

#[test]
fn a_point_below_what_the_target_may_hold_is_refused() {
    let (_folder, log, target) = bench(4);
    for until in [commit(3), Until::Offset(behind(3) - 48), Until::Time(3999)] {
        let until = if let Until::Offset(lsn) = until { Until::Offset(lsn & 0xffff_ffff) } else { until };
        let why = refusal(&log, &target, until);
        for part in ["up to 00000001:000022e0", "stops at 00000001:00002228", "--output NEW --until ..."] {
            assert!(why.contains(part), "{why}");
        }
    }
}

#[test]
fn a_log_without_the_commit_that_the_target_is_at_is_refused() {
    let (folder, _, target) = bench(2);
    // The same ids, other records: a log that went on differently from a copy.
    let log = native_of(&folder.path().join("fork"), [[1; 16], [0; 16]], 1, 1 << 20, false);
    let copy = waltool::wal::Options::new().zero_fill(false).open(&log).expect("recovered");
    let mut transaction = copy.begin();
    transaction.write(7, b"something else");
    transaction.commit().expect("a commit");
    copy.close().expect("closed");
    assert!(segment(&log, 2).exists());
    let why = refusal(&log, &target, Until::End);
    assert!(why.contains("up to 00000001:00002170, where no commit of") && why.contains("--output NEW"), "{why}");
}

#[test]
fn a_sidecar_that_is_damaged_in_both_slots_is_refused_and_in_one_is_not() {
    let (_folder, log, target) = bench(3);
    let beside = sidecar::path_of(&target);
    let whole = fs::read(&beside).expect("a sidecar");
    change(&beside, |bytes| bytes[PAGE + 60] ^= 1);
    assert_eq!(said(&target), Mark { state: State::Replaying, applied: 0, ..clean(3) });
    run(&log, &target, Until::End, To::InPlace).expect("from the older slot");
    assert_eq!(said(&target), clean(5));
    type Harm = fn(&mut Vec<u8>);
    let harms: [Harm; 4] = [
        |bytes| [60, PAGE + 60].into_iter().for_each(|at| bytes[at] ^= 1),
        |bytes| bytes.truncate(PAGE),
        |bytes| bytes.push(0),
        Vec::clear,
    ];
    for harm in harms {
        fs::write(&beside, &whole).expect("written");
        change(&beside, harm);
        let why = refused(run(&log, &target, Until::End, To::InPlace));
        for part in ["target.waltool-applied: refused: it is damaged", "--output NEW", "rm "] {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(refused(run(&log, &target, Until::End, To::Replace)), why);
    }
}

#[test]
fn a_newer_sidecar_is_not_called_damaged() {
    let (_folder, log, target) = bench(3);
    change(&sidecar::path_of(&target), |bytes| {
        bytes[8] = 3;
        let sum = crc32fast::hash(&bytes[..124]).to_le_bytes();
        bytes[124..128].copy_from_slice(&sum);
    });
    let error = run(&log, &target, Until::End, To::InPlace).expect_err("newer");
    assert!(matches!(error, Error::TooNew { what: "version", value: 3, .. }), "{error}");
}

#[test]
fn what_another_run_did_meanwhile_is_noticed() {
    let (_folder, path, target) = bench(2);
    let log = Log::open(&path, None).expect("a log");
    let early = Replay::of(&log, &target, commit(4), TARGET_MAX, &mut |_| {}).expect("looked into");
    run(&path, &target, Until::End, To::InPlace).expect("replayed");
    let why = refused(early.run(To::InPlace, &mut |_| {}));
    assert!(why.contains("run the command again"), "{why}");
    assert_eq!((said(&target), fs::read(&target).expect("a target")), (clean(5), native_target(5)));
}

#[test]
fn two_runs_do_not_change_one_target_at_a_time() {
    let (_folder, log, target) = bench(2);
    let held = Sidecar::open(&Real, &target).expect("opened").expect("a sidecar");
    for to in [To::InPlace, To::Replace] {
        let why = refused(run(&log, &target, Until::End, to));
        assert!(why.contains("another waltool"), "{why}");
    }
    assert_eq!(fs::read(&target).expect("a target"), native_target(2));
    drop(held);
    run(&log, &target, Until::End, To::InPlace).expect("replayed");
}

#[test]
fn a_sidecar_stands_beside_the_file_itself_and_has_its_mode() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (folder, log, _) = bench(2);
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&real, "").expect("a target");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink(&real, &link).expect("a link");
    run(&log, &link, Until::End, To::InPlace).expect("replayed");
    assert!(!sidecar::path_of(&link).exists());
    assert_eq!(said(&real), clean(5));
    let mode = fs::metadata(sidecar::path_of(&real)).expect("a sidecar").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn a_format_whose_logs_have_no_name_has_no_sidecar() {
    let made = Sqlite::copy("clean-512-be");
    let onto = made.path("app.db");
    fs::write(sidecar::path_of(&onto), "not ours").expect("written");
    run(&made.log(), &onto, Until::End, To::InPlace).expect("replayed");
    assert_eq!(fs::read(sidecar::path_of(&onto)).expect("a file"), b"not ours");
}

#[test]
fn a_new_sidecar_is_whole_under_its_name_or_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("target");
    let sidecar = Sidecar::create(&vfs::real(), &target, Origin::Nothing, clean(1)).expect("created");
    assert_eq!((sidecar.slot().sequence, said(&target)), (1, clean(1)));
    assert!(Sidecar::create(&vfs::real(), &target, Origin::Nothing, clean(2)).is_err(), "none is replaced");
    assert_eq!(said(&target), clean(1));
}
