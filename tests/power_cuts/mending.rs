//! Repairing a log that a crash left, taking the repair back, and replaying the log onto its target: cut and made to fail at every call, each
//! leaves what was, or what comes of it, and the next run ends the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use waltool::plan::{Plan, Wish};
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::vfs::Sim;
use waltool::vfs::sim::{Failure, Times};
use waltool::{Error, Log, Report, Result, Verdict, repair};

use crate::chance::Chance;
use crate::explore::{Case, Count, Story, crashes};
use crate::model::Model;
use crate::player::{LOG, Player, is_no_worse_than_torn, verify};
use crate::scripts::{Config, Step};

const TARGET: &str = "/data/target";
const FAILURES: [Failure; 3] = [Failure::Io, Failure::Full, Failure::Short];

#[derive(Default)]
pub struct Mended {
    pub logs: AtomicU64,
    pub repaired: AtomicU64,
    pub cuts: AtomicU64,
}

/// A log after a crash, with what it is known to hold.
struct Crashed<'a> {
    sim: &'a Sim,
    model: Model,
    config: Config,
}

/// A script is cut at one call; what is left is repaired and replayed.
pub fn mend(case: &Case<'_>, mended: &Mended) {
    let player = case.play();
    let _story = Story(&player.sim, format_args!("cut before call {}", case.call));
    let mut chance = case.chance();
    for seed in crashes(&player.sim, 4, &mut chance) {
        let sim = player.sim.crash(seed);
        let _story = Story(&sim, format_args!("crash {seed}"));
        let config = case.script.config;
        let Some(report) = verify(&sim) else { continue };
        // What an opening would give is what repair and replay have to keep.
        let opened = Count::default().check(&sim.fork(), &player.model.crashed(), config);
        let crashed = Crashed { sim: &sim, model: opened.model, config };
        mended.logs.fetch_add(1, Relaxed);
        if report.verdict() == Verdict::TornTail {
            mended.repaired.fetch_add(1, Relaxed);
            crashed.repair(&mut chance, mended);
        }
        crashed.replay(&mut chance, mended);
    }
}

fn repair_now(sim: &Sim) -> Result<()> {
    let wish = Wish::default();
    let log = Log::open_on(&sim.disk(), Path::new(LOG), None)?;
    let plan = Plan::of(&log, &Report::of(&log, |_| ())?, &wish)?;
    repair::in_place(&log, &wish, &plan, None).map(|_| ())
}

/// Undoes what there is to undo.
fn undo_now(sim: &Sim) -> Result<()> {
    match repair::undo(&sim.disk(), Path::new(LOG), None, None) {
        Err(Error::Refused { why, .. }) if why.starts_with("no quarantine file") => Ok(()),
        other => other.map(|_| ()),
    }
}

fn replay_now(sim: &Sim) -> Result<()> {
    let log = Log::open_on(&sim.disk(), Path::new(LOG), None)?;
    let replay = Replay::of(&log, Path::new(TARGET), Until::End, TARGET_MAX, &mut |_| {})?;
    replay.run(To::Replace, &mut |_| {}).map(|_| ())
}

/// The files of the log proper.
fn segments(sim: &Sim) -> BTreeMap<PathBuf, Vec<u8>> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wal");
    sim.files().into_iter().filter(|(path, _)| is_segment(path)).collect()
}

/// A cut that was interrupted may leave zeros, which are no part of a log.
fn same_but_for_zeros(mut a: BTreeMap<PathBuf, Vec<u8>>, mut b: BTreeMap<PathBuf, Vec<u8>>) -> bool {
    for bytes in a.values_mut().chain(b.values_mut()) {
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
    }
    a == b
}

/// Runs something on copies of a disk that lose their power at a call, or on which it fails, and hands over what each then is.
fn interrupted(
    sim: &Sim,
    act: fn(&Sim) -> Result<()>,
    chance: &mut Chance,
    mended: &Mended,
    then: &mut dyn FnMut(&Sim),
) {
    let whole = sim.fork();
    act(&whole).expect("nothing fails");
    let calls = whole.changes();
    for call in 1..=calls {
        let cut = sim.fork();
        cut.cut_before(call);
        act(&cut).expect_err("the power is off");
        for seed in crashes(&cut, 2, chance) {
            let after = cut.crash(seed);
            let _story = Story(&cut, format_args!("cut before call {call}, crash {seed}"));
            mended.cuts.fetch_add(1, Relaxed);
            then(&after);
        }
        let failing = sim.fork();
        let (failure, times) = (chance.one_of(&FAILURES), chance.one_of(&[Times::Once, Times::Forever]));
        failing.fail(call, failure, times);
        let _story = Story(&failing, format_args!("{failure:?} at call {call}, {times:?}"));
        let result = act(&failing);
        assert!(failure != Failure::Short || result.is_ok(), "a short write is noticed");
        failing.heal();
        mended.cuts.fetch_add(1, Relaxed);
        then(&failing);
        then(&failing.crash(chance.next()));
    }
}

impl Crashed<'_> {
    fn repair(&self, chance: &mut Chance, mended: &Mended) {
        let (before, whole) = (segments(self.sim), self.sim.fork());
        repair_now(&whole).expect("a torn log can be repaired");
        assert_eq!(verify(&whole).map(|report| report.verdict()), Some(Verdict::Clean));
        let after = segments(&whole);
        self.holds(&whole);
        interrupted(self.sim, repair_now, chance, mended, &mut |sim| {
            self.holds(sim);
            repair_now(sim).expect("a second run finishes it");
            assert!(same_but_for_zeros(segments(sim), after.clone()), "the second run ends elsewhere");
            undo_now(sim).expect("it can be taken back");
            assert!(segments(sim) == before, "not what was before the repair");
        });
        interrupted(&whole, undo_now, chance, mended, &mut |sim| {
            self.holds(sim);
            undo_now(sim).expect("a second run finishes it");
            assert!(segments(sim) == before, "not what was before the repair");
        });
    }

    /// The log is no worse than torn, and holds what it held.
    fn holds(&self, sim: &Sim) {
        is_no_worse_than_torn(sim, &self.model);
        let mut player = Player::new(sim.fork(), self.model.clone(), self.config);
        player.play_until_off(&[Step::Open]);
        assert_eq!(player.model.count(), self.model.count());
    }

    fn replay(&self, chance: &mut Chance, mended: &Mended) {
        let disk = self.sim.fork();
        // A log that begins anew belongs to the target at its checkpoint.
        let base = (!disk.files().contains_key(Path::new("/data/log/00000001.wal")))
            .then(|| self.model.target(self.model.begin()));
        if let Some(base) = &base {
            disk.put(Path::new(TARGET), base).expect("a new file");
        }
        let expected = self.model.target(self.model.count());
        interrupted(&disk, replay_now, chance, mended, &mut |sim| {
            let target = sim.bytes(Path::new(TARGET));
            assert!(target == base || target.as_ref() == Some(&expected), "neither the old target nor the new");
            replay_now(sim).expect("a second run finishes it");
            assert!(sim.bytes(Path::new(TARGET)).as_ref() == Some(&expected), "the second run ends elsewhere");
            replay_now(sim).expect("once more is the same");
            assert!(sim.bytes(Path::new(TARGET)).as_ref() == Some(&expected), "twice is not once");
        });
    }
}
