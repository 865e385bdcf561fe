//! Repair, undo and salvage, by the library.

mod logs;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use logs::{Sqlite, cases, change, files, native, refused, report, segment, verdict};
use waltool::formats::native::layout::{HEADER_LEN, SegmentHeader, TWIN};
use waltool::plan::{Edit, Loss, Plan, Wish};
use waltool::repair::{self, Done, Undone};
use waltool::salvage::Survey;
use waltool::{Log, Result, Verdict, vfs};

const TAIL: Wish = Wish { cut_at_damage: false, accept_loss: false, fix_bit: false };
const CUT: Wish = Wish { cut_at_damage: true, accept_loss: true, fix_bit: false };
const FIX: Wish = Wish { cut_at_damage: false, accept_loss: false, fix_bit: true };

fn plan(log: &Log, wish: &Wish) -> Result<Plan> {
    Plan::of(log, &waltool::Report::of(log, |_| ())?, wish)
}

fn repair(path: &Path, wish: &Wish) -> Result<Done> {
    let log = Log::open(path, None)?;
    repair::in_place(&log, wish, &plan(&log, wish)?, None)
}

fn undo(path: &Path, quarantine: Option<&Path>) -> Result<Undone> {
    repair::undo(&vfs::real(), path, None, quarantine)
}

#[test]
fn every_torn_tail_is_cut_clean_and_undo_gives_every_byte_back() {
    let mut torn = 0;
    for case in cases() {
        let made = Sqlite::copy(&case);
        if verdict(&made.log()) != Verdict::TornTail {
            continue;
        }
        torn += 1;
        let before = files(made.folder.path());
        repair(&made.log(), &TAIL).expect("repaired");
        assert_eq!(verdict(&made.log()), Verdict::Clean, "{case}");
        let once = files(made.folder.path());
        assert!(repair(&made.log(), &TAIL).expect("nothing to do").kept.is_empty());
        assert_eq!(files(made.folder.path()), once, "{case}: a second repair changes nothing");
        undo(&made.log(), None).expect("undone");
        assert_eq!(files(made.folder.path()), before, "{case}: undone");
    }
    assert!(torn >= 5, "{torn} torn tails");
}

#[test]
fn a_corrupt_log_is_refused_and_stays_as_it_is() {
    let made = Sqlite::copy("bitflip-middle-512");
    let before = files(made.folder.path());
    let why = refused(repair(&made.log(), &TAIL));
    assert!(why.contains("--salvage") && why.contains("--fix-bit"), "{why}");
    let why = refused(repair(&made.log(), &Wish { accept_loss: false, ..CUT }));
    assert!(why.contains("--accept-loss"), "{why}");
    assert_eq!(files(made.folder.path()), before);
}

#[test]
fn a_cut_at_damage_says_what_it_loses_before_it_cuts() {
    let made = Sqlite::copy("bitflip-middle-512");
    let log = Log::open(&made.log(), None).expect("a log");
    let report = report(&made.log());
    let plan = Plan::of(&log, &report, &CUT).expect("a plan");
    let loss = Loss::of(&log, &report, &plan).expect("a loss");
    assert_eq!(plan.edits, [Edit::Truncate { segment: 0, at: 34336, len: 43952 }]);
    assert_eq!((loss.bytes, loss.damaged, loss.records), (43952, 1, 81));
    assert_eq!((loss.transactions, loss.broken_transactions, loss.kept_transactions), (10, 1, 7));
    assert_eq!((loss.first, loss.last), (Some(66), Some(146)));
    assert!(loss.to_string().contains("28 pages (1-4, 8-9,"), "{loss}");
    repair::in_place(&log, &CUT, &plan, None).expect("cut");
    assert_eq!(verdict(&made.log()), Verdict::Clean);
}

#[test]
fn fixing_a_bit_restores_the_healthy_bytes() {
    for case in ["bitflip-middle-512", "bitflip-last-4096"] {
        let made = Sqlite::copy(case);
        let damaged = made.bytes("app.db-wal");
        repair(&made.log(), &FIX).expect("fixed");
        assert_eq!(verdict(&made.log()), Verdict::Clean, "{case}");
        let fixed = made.bytes("app.db-wal");
        let differing = fixed.iter().zip(&damaged).filter(|(a, b)| a != b).count();
        assert_eq!((differing, fixed.len()), (1, damaged.len()), "{case}");
        undo(&made.log(), None).expect("undone");
        assert_eq!(made.bytes("app.db-wal"), damaged, "{case}");
    }
    let made = Sqlite::copy("torn-midframe-1024");
    refused(repair(&made.log(), &FIX));
}

#[test]
fn an_interrupted_repair_is_finished_by_the_next() {
    let done = Sqlite::copy("torn-midframe-1024");
    repair(&done.log(), &TAIL).expect("repaired");
    let end = files(done.folder.path());
    let kept = end.keys().find(|name| name.ends_with(".quarantine")).expect("a quarantine file").clone();
    let temp = format!(".{}.waltool-tmp", kept.replace(&kept[kept.len() - 20..], ".quarantine"));

    // Killed while the quarantine file was written, once it was in place, and with both.
    for (left, whole) in [(true, false), (false, true), (true, true)] {
        let made = Sqlite::copy("torn-midframe-1024");
        if left {
            fs::write(made.path(&temp), "half a cop").expect("a leftover");
        }
        if whole {
            fs::write(made.path(&kept), &end[&kept]).expect("a quarantine file");
        }
        repair(&made.log(), &TAIL).expect("repaired");
        assert_eq!(files(made.folder.path()), end);
    }
}

#[test]
fn an_interrupted_undo_is_finished_by_the_next() {
    let made = Sqlite::copy("garbage-tail-1024");
    let before = files(made.folder.path());
    repair(&made.log(), &TAIL).expect("repaired");
    let cut = files(made.folder.path());
    let (short, long) = (cut["app.db-wal"].len(), before["app.db-wal"].len());
    for len in [short, short + 1, (short + long) / 2, long] {
        for (name, bytes) in &cut {
            fs::write(made.path(name), bytes).expect("written");
        }
        change(&made.log(), |bytes| bytes.extend_from_slice(&before["app.db-wal"][short..len]));
        undo(&made.log(), None).expect("undone");
        assert_eq!(files(made.folder.path()), before, "{len} bytes were back");
    }
}

/// A power cut in the middle of the cut leaves the last sector in part cleared and the length as it was. The next run keeps that too.
#[test]
fn a_cut_that_two_runs_made_is_undone_from_what_the_first_kept() {
    let made = Sqlite::copy("torn-midframe-1024");
    let before = files(made.folder.path());
    let end = repair(&made.log(), &TAIL).expect("repaired").kept[0].offset as usize;
    for cleared in [1, 40, before["app.db-wal"].len() - end] {
        change(&made.log(), |bytes| {
            bytes.extend_from_slice(&before["app.db-wal"][end..]);
            bytes[end..end + cleared].fill(0);
        });
        repair(&made.log(), &TAIL).expect("repaired again");
    }
    undo(&made.log(), None).expect("undone");
    assert_eq!(files(made.folder.path())["app.db-wal"], before["app.db-wal"]);
}

#[test]
fn undo_is_refused_once_the_log_was_written_to() {
    let made = Sqlite::copy("torn-midframe-1024");
    repair(&made.log(), &TAIL).expect("repaired");
    change(&made.log(), |bytes| bytes.extend_from_slice(&[0xaa; 40]));
    let before = files(made.folder.path());
    refused(undo(&made.log(), None));
    assert_eq!(files(made.folder.path()), before);
}

#[test]
fn a_damaged_quarantine_file_is_not_put_back() {
    let made = Sqlite::copy("torn-midframe-1024");
    let done = repair(&made.log(), &TAIL).expect("repaired");
    change(&done.kept[0].path, |bytes| bytes[0] ^= 1);
    let before = files(made.folder.path());
    let why = refused(undo(&made.log(), None));
    assert!(why.contains("CRC"), "{why}");
    assert_eq!(files(made.folder.path()), before);
}

#[test]
fn an_earlier_quarantine_of_other_bytes_is_kept() {
    let made = Sqlite::copy("torn-midframe-1024");
    let first = repair(&made.log(), &TAIL).expect("repaired").kept.remove(0);
    let len = made.bytes("app.db-wal").len();
    change(&made.log(), |bytes| bytes.extend_from_slice(&[0x55; 100]));
    let second = repair(&made.log(), &TAIL).expect("repaired again").kept.remove(0);
    assert_eq!((first.offset, second.offset), (len as u64, len as u64));
    assert_ne!(first.path, second.path);
    assert_eq!(fs::read(&second.path).expect("kept"), [0x55; 100]);
    assert_eq!(crc32fast::hash(&fs::read(&first.path).expect("kept")), first.sum);
    // Both fit the same place now, and waltool does not guess.
    refused(undo(&made.log(), None));
}

#[test]
fn a_quarantine_may_be_in_another_folder() {
    let made = Sqlite::copy("torn-midframe-1024");
    let before = files(made.folder.path());
    let elsewhere = tempfile::tempdir().expect("a folder");
    let log = Log::open(&made.log(), None).expect("a log");
    repair::in_place(&log, &TAIL, &plan(&log, &TAIL).expect("a plan"), Some(elsewhere.path())).expect("repaired");
    assert_eq!(files(made.folder.path()).len(), before.len());
    assert_eq!(files(elsewhere.path()).len(), 1);
    refused(undo(&made.log(), None));
    undo(&made.log(), Some(elsewhere.path())).expect("undone");
    assert_eq!(files(made.folder.path()), before);
    assert_eq!(files(elsewhere.path()).len(), 0);
}

#[test]
fn a_plan_for_another_state_of_the_log_is_refused() {
    let made = Sqlite::copy("torn-midframe-1024");
    let log = Log::open(&made.log(), None).expect("a log");
    let plan = plan(&log, &TAIL).expect("a plan");
    change(&made.log(), |bytes| bytes.push(0x77));
    let before = files(made.folder.path());
    refused(repair::in_place(&log, &TAIL, &plan, None));
    assert_eq!(files(made.folder.path()), before);
}

#[test]
fn a_repaired_copy_leaves_the_original_alone_and_never_replaces() {
    let made = Sqlite::copy("torn-midframe-1024");
    let before = files(made.folder.path());
    let log = Log::open(&made.log(), None).expect("a log");
    let plan = plan(&log, &TAIL).expect("a plan");
    refused(repair::to_copy(&log, &plan, &made.path("app.db")));
    repair::to_copy(&log, &plan, &made.path("new-wal")).expect("a copy");
    assert_eq!(verdict(&made.path("new-wal")), Verdict::Clean);
    let mut after = files(made.folder.path());
    after.remove("new-wal");
    assert_eq!(after, before);
}

#[test]
fn a_repaired_copy_of_a_directory_has_its_mode_and_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 3, 1 << 20, false);
    fs::set_permissions(&log, fs::Permissions::from_mode(0o750)).expect("a mode");
    // Only root may give it away; for everybody else there is but one owner.
    let _ = chown(&log, Some(65534), Some(65534));
    let (opened, new) = (Log::open(&log, None).expect("a log"), folder.path().join("new"));
    repair::to_copy(&opened, &plan(&opened, &Wish::default()).expect("a plan"), &new).expect("a copy");
    let of = |path: &Path| fs::metadata(path).map(|file| (file.mode(), file.uid(), file.gid())).expect("a folder");
    assert_eq!(of(&new), of(&log));
}

#[test]
fn segments_behind_the_damage_go_whole_and_come_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 12, 9000, true);
    change(&segment(&log, 2), |bytes| bytes[8200] ^= 0xff);
    let before = files(&log);
    assert!(before.len() > 4, "several segments");
    assert_eq!(verdict(&log), Verdict::Corrupt);
    refused(repair(&log, &TAIL));
    let done = repair(&log, &CUT).expect("cut");
    assert_eq!(done.after.expect("a log").verdict(), Verdict::Clean);
    assert!(!segment(&log, 3).exists() && segment(&log, 1).exists());

    // Killed between the edits: the last segments are gone, the cut is not made.
    let cut = files(&log);
    fs::write(segment(&log, 2), &before["00000002.wal"]).expect("written");
    repair(&log, &CUT).expect("cut");
    assert_eq!(files(&log), cut);

    undo(&log, None).expect("undone");
    assert_eq!(files(&log), before);
}

#[test]
fn a_native_log_without_its_second_half_of_a_segment_is_cut_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 5, 1 << 20, false);
    let whole = fs::read(segment(&log, 1)).expect("a segment");
    for len in [whole.len() - 1, whole.len() - 60, 8200, 8192] {
        fs::write(segment(&log, 1), &whole[..len]).expect("cut");
        let was = verdict(&log);
        repair(&log, &TAIL).expect("repaired");
        assert_eq!(verdict(&log), Verdict::Clean, "{len} bytes, {was}");
    }
}

#[test]
fn a_native_segment_whose_header_is_cut_or_hit_goes_whole_and_comes_back() {
    for (segments, len) in [(1, 0), (1, 100), (1, 4096), (1, 5000), (3, 100), (3, 5000)] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = native(folder.path(), 2 * segments, 9000, false);
        let last = files(&log).into_keys().rfind(|name| name.ends_with(".wal")).expect("a segment");
        change(&log.join(&last), |bytes| bytes.truncate(len));
        let before = files(&log);
        let path = if segments == 1 { log.join(&last) } else { log.clone() };
        let opened = Log::open(&path, Some(&waltool::formats::native::Native)).expect("a log");
        let plan = plan(&opened, &CUT).expect("a plan");
        let done = repair::in_place(&opened, &CUT, &plan, None).expect("cut");
        assert!(!log.join(&last).exists(), "{len} bytes of {last}");
        assert_eq!(
            done.after.map(|after| after.verdict()),
            (segments > 1).then_some(Verdict::Clean),
            "{len} of {last}"
        );
        undo(&path, None).expect("undone");
        assert_eq!(files(&log), before);
    }
}

#[test]
fn a_native_segment_with_unknown_compatible_flags_is_read_and_copied_but_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = native(folder.path(), 6, 9000, false);
    change(&segment(&path, 2), |bytes| {
        let mut header = SegmentHeader::parse(bytes).expect("a header");
        header.compatible = 0x10;
        bytes[TWIN..][..HEADER_LEN].copy_from_slice(&header.encode());
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    });
    assert_eq!(verdict(&path), Verdict::Clean);
    let last = files(&path).into_keys().rfind(|name| name.ends_with(".wal")).expect("a segment");
    change(&path.join(last), |bytes| bytes.truncate(bytes.len() - 5));
    let before = files(&path);
    assert_eq!(verdict(&path), Verdict::TornTail);
    refused(repair(&path, &TAIL));
    let log = Log::open(&path, None).expect("a log");
    let plan = plan(&log, &TAIL).expect("a plan");
    refused(repair::permits(&log, &plan, None));
    assert_eq!(files(&path), before);
    let copied = repair::to_copy(&log, &plan, &folder.path().join("new")).expect("a copy");
    assert_eq!(copied.after.expect("a log").verdict(), Verdict::Clean);
}

#[test]
fn a_missing_segment_is_refused_and_cut_only_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 12, 9000, true);
    fs::remove_file(segment(&log, 2)).expect("lost");
    assert_eq!(verdict(&log), Verdict::Incomplete);
    refused(repair(&log, &TAIL));
    repair(&log, &CUT).expect("cut");
    assert_eq!(verdict(&log), Verdict::Clean);
    assert_eq!(report(&log).segments, 1);
}

#[test]
fn garbage_behind_a_seal_whose_segment_is_missing_goes_with_the_seal() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = native(folder.path(), 12, 9000, true);
    let count = files(&log).keys().filter(|name| name.ends_with(".wal")).count() as u32;
    (2..=count).for_each(|number| fs::remove_file(segment(&log, number)).expect("lost"));
    change(&segment(&log, 1), |bytes| bytes.extend([0x33; 100]));
    repair(&log, &CUT).expect("cut");
    assert_eq!(verdict(&log), Verdict::Clean);
}

#[test]
fn salvage_keeps_every_whole_transaction_before_and_behind_the_damage() {
    let mut salvaged = 0;
    for case in cases() {
        let made = Sqlite::copy(&case);
        let log = Log::open(&made.log(), None).expect("a log");
        let old = report(&made.log());
        let whole = old.prefix.transactions + old.beyond.transactions;
        match Survey::of(&log, &mut |_| {}) {
            Err(error) => assert_eq!((error.exit_code(), whole), (7, 0), "{case}: {error}"),
            Ok(survey) => {
                assert_eq!(survey.transactions, whole, "{case}");
                let new = survey.write(&log, &made.path("new-wal"), &mut |_| {}).expect("salvaged");
                assert_eq!((new.verdict(), new.prefix.transactions), (Verdict::Clean, whole), "{case}");
                // Every SQLite frame of a whole transaction is written again, and no other.
                assert_eq!(new.prefix.records, survey.records, "{case}");
                salvaged += u64::from(old.beyond.transactions > 0);
            }
        }
        assert_eq!(made.bytes("app.db-wal"), fs::read(logs::fixtures().join(&case).join("app.db-wal")).expect("a log"));
    }
    assert!(salvaged >= 4, "{salvaged} logs with transactions behind the damage");
}

#[test]
fn salvage_of_segments_closes_the_gaps() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = native(folder.path(), 12, 9000, true);
    let count = report(&path).prefix.transactions;
    change(&segment(&path, 2), |bytes| bytes[8200] ^= 0xff);
    fs::remove_file(segment(&path, 4)).expect("lost");
    let log = Log::open(&path, None).expect("a log");
    let survey = Survey::of(&log, &mut |_| {}).expect("something whole");
    let new = folder.path().join("new");
    let after = survey.write(&log, &new, &mut |_| {}).expect("salvaged");
    assert_eq!(after.verdict(), Verdict::Clean);
    assert!(after.prefix.transactions < count && after.prefix.transactions >= count / 3);
    refused(survey.write(&log, &new, &mut |_| {}).map(|_| ()));
}
