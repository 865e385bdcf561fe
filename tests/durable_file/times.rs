//! What the file system says of a file is believed where a change would show in it, and only there. On the simulated disk, whose clock
//! advances only when it is looked at.

use std::path::Path;

use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::vfs::sim::{Call, Failure, Op, Times};
use waltool::vfs::{Access, Sim, Vfs, write_all_at};
use waltool::wal::{DurableFile, Options, Result};
use waltool::{Log, replay::sidecar};

const BIG: usize = 3 << 20;

fn path() -> &'static Path {
    Path::new("/totals")
}

fn open(sim: &Sim) -> Result<DurableFile> {
    Options::new().zero_fill(false).disk(sim.disk()).open_file(path())
}

fn write(file: &DurableFile, offset: u64, bytes: &[u8]) {
    let mut transaction = file.begin();
    transaction.write(offset, bytes);
    transaction.commit().unwrap();
}

/// A file of so many bytes, which its log knows.
fn known(sim: &Sim, len: usize) {
    let file = open(sim).unwrap();
    write(&file, 0, &vec![7; len]);
    file.close().unwrap();
}

/// Changes a byte in place, as nobody may; the clock stands still.
fn edit(sim: &Sim) {
    let file = sim.open(path(), Access::Change).unwrap();
    write_all_at(&*file, b"!", 5).unwrap();
}

/// Reads and changes that an opening takes.
fn cost(sim: &Sim) -> (u64, u64) {
    let before = (sim.calls_of(Op::Read), sim.changes());
    drop(open(sim).unwrap());
    (sim.calls_of(Op::Read) - before.0, sim.changes() - before.1)
}

/// Gives the file new times and leaves its content.
fn touch(sim: &Sim) {
    let bytes = sim.bytes(path()).unwrap();
    sim.put(path(), &bytes).unwrap();
}

#[test]
fn a_change_in_the_same_step_of_the_clock_is_seen() {
    for step in [0, 1, 1_000_000] {
        let sim = Sim::new(1);
        sim.set_clock(1_800_000_000_000_000_000, step);
        known(&sim, 4000);
        drop(open(&sim).unwrap());
        edit(&sim);
        assert!(open(&sim).is_err(), "a clock of steps of {step} ns");
    }
}

#[test]
fn an_opening_does_not_read_a_file_that_is_as_the_log_says() {
    let (short, long) = (Sim::new(2), Sim::new(2));
    known(&short, 4000);
    known(&long, BIG);
    // It does not depend on the length, but for a log that begins in the same place.
    assert_eq!(cost(&short), cost(&long));
}

#[test]
fn a_file_that_was_touched_is_read_once() {
    let sim = Sim::new(3);
    known(&sim, BIG);
    let unchanged = cost(&sim);
    touch(&sim);
    // As after `cp -a`: it was modified before it came here.
    sim.now_ns();
    sim.rename_over(path(), Path::new("/aside")).unwrap();
    sim.rename_over(Path::new("/aside"), path()).unwrap();
    assert!(cost(&sim).0 > unchanged.0 + BIG as u64 / (1 << 20) - 1, "it is read");
    assert_eq!(cost(&sim), unchanged);
}

#[test]
fn a_short_file_that_was_touched_is_read_and_nothing_is_written_for_it() {
    let sim = Sim::new(4);
    known(&sim, 4000);
    let unchanged = cost(&sim);
    touch(&sim);
    for _ in 0..2 {
        let touched = cost(&sim);
        assert!(touched.0 > unchanged.0);
        assert_eq!(touched.1, unchanged.1);
    }
}

#[test]
fn a_file_on_a_clock_that_stands_still_is_read_each_time_and_opens() {
    let sim = Sim::new(5);
    sim.set_clock(1_800_000_000_000_000_000, 0);
    known(&sim, BIG);
    let (reads, changes) = cost(&sim);
    assert!(reads > BIG as u64 / (1 << 20));
    assert_eq!(cost(&sim), (reads, changes));
}

#[test]
fn an_opening_that_is_interrupted_again_and_again_just_before_the_file_is_replaced_comes_to_its_end() {
    let sim = Sim::new(6);
    known(&sim, 4000);
    let file = open(&sim).unwrap();
    write(&file, 10, b"then");
    drop(file);
    let before = sim.bytes(path());
    let is_the_last = |call: &Call| call.to.as_deref() == Some(path());
    let mut state = sim.kill();
    for round in 0..6 {
        let whole = state.kill();
        drop(open(&whole).unwrap());
        let call = whole.trace().iter().find(|call| is_the_last(call)).unwrap().number;
        state.cut_before(call);
        assert!(open(&state).is_err());
        // The log has one more statement about the file each time, and the file is as none of the last ones says.
        state = if round % 2 == 0 { state.kill() } else { state.crash(round) };
        assert_eq!(state.bytes(path()), before);
    }
    let edited = state.fork();
    edit(&edited);
    assert!(open(&edited).is_err());
    drop(open(&state).unwrap());
    assert_eq!(&state.bytes(path()).unwrap()[9..15], b"\x07then\x07");
}

#[test]
fn every_state_that_was_about_to_be_is_known_and_no_other() {
    let sim = Sim::new(7);
    known(&sim, 4000);
    let mut file = open(&sim).unwrap();
    let mut about_to_be = Vec::new();
    for round in 0..4 {
        write(&file, round * 100, b"more");
        // The name does not reach the disk, and the checkpoint says so; the file may be as before or as after.
        sim.fail_op(Op::SyncFolder, sim.calls_of(Op::SyncFolder) + 2, Failure::Io, Times::Once);
        file.checkpoint().unwrap_err();
        about_to_be.push(sim.bytes(path()).unwrap());
    }
    drop(file);
    let last = about_to_be.last().unwrap().clone();
    for bytes in &about_to_be {
        let sim = sim.kill();
        sim.put(path(), bytes).unwrap();
        drop(open(&sim).unwrap());
        assert!(sim.bytes(path()).unwrap() == last);
        sim.put(path(), bytes).unwrap();
        assert_eq!(open(&sim).is_ok(), *bytes == last, "what was before the last statement is an older file");
    }
    edit(&sim);
    assert!(open(&sim).is_err());
}

#[test]
fn a_file_that_is_taken_on_is_on_the_disk_before_its_log_says_so() {
    let sim = Sim::new(8);
    let file = sim.create_new(path(), 0o600).unwrap();
    write_all_at(&*file, &[7; 4000], 0).unwrap();
    drop(file);
    drop(open(&sim).unwrap());
    for seed in 0..50 {
        let crashed = sim.crash(seed);
        assert_eq!(crashed.bytes(path()).map(|bytes| bytes == [7; 4000]), Some(true), "crash seed {seed}");
        drop(open(&crashed).unwrap());
    }
}

/// As a person does after a crash.
fn replay_by_hand(sim: &Sim) -> waltool::Result<()> {
    let log = Log::open_on(&sim.disk(), Path::new("/totals.wal"), None)?;
    Replay::of(&log, path(), Until::End, TARGET_MAX, &mut |_| ())?.run(To::InPlace, &mut |_| ()).map(drop)
}

#[test]
fn a_sidecar_that_a_crash_left_beside_a_file_that_has_gone_on_is_in_nobodys_way() {
    let sim = Sim::new(9);
    known(&sim, 4000);
    write(&open(&sim).unwrap(), 10, b"then");
    replay_by_hand(&sim).unwrap();
    let beside = sidecar::path_of(path());
    let left = sim.bytes(&beside).unwrap();
    drop(open(&sim).unwrap());
    assert_eq!(sim.bytes(&beside), None, "the log knows the file itself");
    for commit in [false, true] {
        let sim = sim.fork();
        sim.put(&beside, &left).unwrap();
        if commit {
            let file = Options::new().zero_fill(false).disk(sim.disk()).open(Path::new("/totals.wal")).unwrap();
            let mut transaction = file.begin();
            transaction.write(20, b"now");
            transaction.commit().unwrap();
        }
        replay_by_hand(&sim.fork()).unwrap();
        drop(open(&sim).unwrap());
        assert_eq!(sim.bytes(path()).unwrap().get(20..23).unwrap() == b"now", commit);
        assert_eq!(sim.bytes(&beside), None);
    }
}

#[test]
fn a_sidecar_of_an_older_log_does_not_make_an_older_file_right() {
    let sim = Sim::new(10);
    known(&sim, 4000);
    write(&open(&sim).unwrap(), 10, b"then");
    replay_by_hand(&sim).unwrap();
    let older = sim.fork();
    let mut file = open(&sim).unwrap();
    write(&file, 10, b"now!");
    file.checkpoint().unwrap();
    write(&file, 12, b"!!!!");
    drop(file);
    for path in [path(), &sidecar::path_of(path())] {
        sim.put(path, &older.bytes(path).unwrap()).unwrap();
    }
    assert!(open(&sim).is_err());
}

#[test]
fn a_replay_by_hand_that_is_interrupted_is_finished_by_hand_and_then_known() {
    let sim = Sim::new(11);
    known(&sim, 4000);
    write(&open(&sim).unwrap(), 10, b"then");
    let (mut at_once, mut finished) = (0, 0);
    for cut in 1.. {
        let interrupted = sim.fork();
        interrupted.cut_before(cut);
        if replay_by_hand(&interrupted).is_ok() {
            break;
        }
        for seed in 0..4 {
            let crashed = interrupted.crash(seed);
            match open(&crashed) {
                Ok(_) => at_once += 1,
                Err(error) => {
                    let why = error.to_string();
                    assert!(why.contains("waltool replay /totals.wal --onto /totals --in-place"), "{why}");
                    replay_by_hand(&crashed).unwrap();
                    drop(open(&crashed).unwrap());
                    finished += 1;
                }
            }
            assert_eq!(&crashed.bytes(path()).unwrap()[9..15], b"\x07then\x07", "cut before call {cut}, seed {seed}");
        }
    }
    assert!(at_once > 0 && finished > 0, "{at_once} opened at once, {finished} after the replay was finished");
}
