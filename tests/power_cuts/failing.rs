//! Makes each call of each script fail, in each way, once and for ever: what is then said must be true, and the log must go on.

use std::error::Error as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{Access, Sim, Vfs};
use waltool::wal::WalError;

use crate::explore::{Case, Count, Story, crashes};
use crate::model::{Model, Shape};
use crate::player::{LOG, Player, unknown};
use crate::scripts::{AFTERWARDS, Step};

const FAILURES: [Failure; 4] = [Failure::Io, Failure::Full, Failure::Interrupted, Failure::Short];
const TIMES: [Times; 2] = [Times::Once, Times::Forever];
const LOOKS: [Op; 5] = [Op::Open, Op::Look, Op::Read, Op::Lock, Op::Random];

/// What failing calls led to.
#[derive(Default)]
pub struct Met {
    pub runs: AtomicU64,
    pub noticed: AtomicU64,
    pub stuck: AtomicU64,
    pub count: Count,
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// Of all calls that change something, if of none.
    op: Option<Op>,
    at: u64,
    failure: Failure,
    times: Times,
}

/// The `call`-th call of a script fails, and the `call`-th look of each kind.
pub fn fail(case: &Case<'_>, met: &Met) {
    for failure in FAILURES {
        for times in TIMES {
            run(case, Fault { op: None, at: case.call, failure, times }, met);
        }
    }
    let op = LOOKS[case.call as usize % LOOKS.len()];
    for failure in FAILURES {
        run(case, Fault { op: Some(op), at: 1 + case.call / LOOKS.len() as u64 * 3, failure, times: Times::Once }, met);
    }
}

fn run(case: &Case<'_>, fault: Fault, met: &Met) {
    let Fault { op, at, failure, times } = fault;
    let config = case.script.config;
    let mut player = Player::fresh(case.seed, config);
    let sim = player.sim.clone();
    let _story = Story(&sim, format_args!("{fault:?}"));
    match op {
        None => sim.fail(at, failure, times),
        Some(op) => sim.fail_op(op, at, failure, times),
    }
    met.runs.fetch_add(1, Relaxed);
    play_and_listen(&mut player, &case.script.steps, fault, met);
    player.wal = None;
    sim.heal();
    // What was handed to the system may be lost once a sync has failed.
    let model = player.model.crashed();
    let mut chance = case.chance();
    if is_stuck(&sim.fork()) {
        met.stuck.fetch_add(1, Relaxed);
    } else {
        goes_on(&Player::new(sim.fork(), model.clone(), config), case, met);
    }
    for seed in crashes(&sim, 2, &mut chance) {
        let after = sim.crash(seed);
        let _story = Story(&after, format_args!("healed, crash {seed}"));
        match chance.below(8) {
            0 => met.count.check_well(&after, &model, config, &mut chance),
            _ => drop(met.count.check(&after, &model, config)),
        }
    }
}

/// A change of names that this disk takes for written, and will never write, whoever syncs what: a directory's sync failed, and
/// nobody could take the change back. Only a new start of the machine shows what is really there.
fn is_stuck(sim: &Sim) -> bool {
    for path in sim.files().into_keys() {
        let file = sim.open(&path, Access::Change).expect("a file");
        file.sync_all().expect("a disk that was healed");
    }
    for folder in ["/", "/data", LOG] {
        if sim.stat(Path::new(folder)).is_ok() {
            sim.sync_folder(Path::new(folder)).expect("a disk that was healed");
        }
    }
    sim.unsynced()
}

/// Plays all steps, and holds each error to what it says.
fn play_and_listen(player: &mut Player, mut steps: &[Step], fault: Fault, met: &Met) {
    loop {
        let (done, result) = player.play(steps);
        let Err(error) = result else { return };
        met.noticed.fetch_add(1, Relaxed);
        assert!(!must_not_be_noticed(player, fault), "{:?}: {error}", steps[done]);
        says_what_and_where(&error);
        if let Some((from, to)) = unknown(&error) {
            assert!(from <= to, "unknown from {from} to {to}");
            let acknowledged = player.model.acknowledged();
            assert!(
                acknowledged.is_none_or(|lsn| lsn < from),
                "{acknowledged:?} was acknowledged, unknown from {from}"
            );
            let returned = player.model.last_returned();
            assert!(returned.is_none_or(|lsn| lsn < to), "{returned:?} was returned, unknown up to {to}");
            player.model.durable_below(from);
            return refuses_everything(player, &error);
        }
        // Only before anything was written, or behind the CHECKPOINT, where old segments are removed, the log goes on.
        let failed = player.sim.trace().iter().any(|call| call.failure.is_some());
        let before = matches!(steps[done], Step::Open | Step::Checkpoint(_)) || !failed;
        assert!(before, "{:?} failed in writing, and says {error}", steps[done]);
        player.sim.heal();
        match steps[done] {
            Step::Checkpoint(_) => player.settle_checkpoint(),
            // It was to sync what the last process had only written.
            Step::Open => player.model = player.model.crashed(),
            _ => {}
        }
        player.wal = player.wal.take().filter(|_| !matches!(steps[done], Step::Open | Step::Close));
        let left = &steps[done + 1..];
        let to_next_opening = left.iter().position(|step| matches!(step, Step::Open)).unwrap_or(left.len());
        steps = match (player.wal.is_some(), is_stuck(&player.sim.fork())) {
            (true, false) => left,
            (true, true) => &left[..to_next_opening],
            (false, false) => &left[to_next_opening..],
            (false, true) => return,
        };
    }
}

/// Short reads and writes are continued, and interrupted ones repeated.
fn must_not_be_noticed(player: &Player, fault: Fault) -> bool {
    let repeated = match fault.op {
        Some(op) => op == Op::Read,
        None => player.sim.trace().iter().filter(|call| call.failure.is_some()).all(|call| call.name == "write_at"),
    };
    fault.failure == Failure::Short || fault.failure == Failure::Interrupted && repeated
}

/// An error names a path, and says the system's reason once.
fn says_what_and_where(error: &WalError) {
    let text = error.to_string();
    assert!(text.contains("/data"), "{text}");
    let reason = error.io_error().unwrap_or_else(|| panic!("{text}: no reason")).to_string();
    assert_eq!(text.matches(&reason).count(), 1, "{text}");
    assert!(error.source().is_none(), "{text}");
}

/// After a failure that leaves something unknown, every later call says the same.
fn refuses_everything(player: &mut Player, first: &WalError) {
    let calls = player.sim.changes();
    let said = unknown(first);
    let Some(wal) = player.wal.take() else { return };
    let mut transaction = wal.begin();
    transaction.data(b"no more");
    let commit = transaction.commit().map(|_| ());
    let read = wal.committed(wal.redo_lsn()).map(|_| ());
    let checkpoint = wal.checkpoint(waltool::formats::native::layout::Lsn(0), 0);
    for (name, result) in [("commit", commit), ("sync", wal.sync()), ("committed", read), ("checkpoint", checkpoint)] {
        let error = result.expect_err(name);
        assert_eq!(unknown(&error), said, "{name}: {error}");
    }
    assert_eq!(unknown(&wal.close().expect_err("close")), said);
    assert_eq!(player.sim.changes(), calls, "something was written after a failure");
}

/// The log is opened on the same disk, whose memory may lie. What it gives then is on the disk, and so is what is committed next.
fn goes_on(player: &Player, case: &Case<'_>, met: &Met) {
    let config = case.script.config;
    let _story = Story(&player.sim, format_args!("healed, and opened again"));
    let mut chance = case.chance();
    let opened = met.count.check(&player.sim, &player.model, config);
    for seed in crashes(&player.sim, 2, &mut chance) {
        let after = player.sim.crash(seed);
        let _story = Story(&after, format_args!("healed, opened, crash {seed}"));
        met.count.check(&after, &opened.model, config);
    }
    let mut again = Player::new(player.sim.clone(), opened.model, config);
    again.play_until_off(&AFTERWARDS);
    for seed in crashes(&again.sim, 1, &mut chance) {
        let after = again.sim.crash(seed);
        let _story = Story(&after, format_args!("healed, opened, written, crash {seed}"));
        met.count.check(&after, &again.model, config);
    }
}

/// The error of a transaction that cannot be logged is no failure of the disk.
#[test]
fn a_transaction_that_cannot_be_logged_leaves_the_log_as_it_is() {
    let mut player = Player::fresh(1, crate::scripts::Config::plain());
    let (_, opened) = player.play(&[Step::Open, Step::Commit(Shape::Data(9), Default::default())]);
    opened.expect("a new log");
    let wal = player.wal.as_ref().expect("a log");
    let mut transaction = wal.begin();
    transaction.write(u64::MAX, b"nowhere");
    assert!(matches!(transaction.commit(), Err(WalError::Transaction(_))));
    let model: Model = player.model.clone();
    player.play_until_off(&[Step::Read, Step::Close]);
    Count::default().check(&player.sim.crash(1), &model, crate::scripts::Config::plain());
}
