//! Cuts the power before every call of every script, and looks at what may be left.

use std::fmt::{self, Display};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use waltool::Verdict;
use waltool::vfs::Sim;

use crate::chance::Chance;
use crate::model::Model;
use crate::player::{Player, is_no_worse_than_torn, no_segment_is_worse_than_torn, verify};
use crate::scripts::{self, AFTERWARDS, Config, Script, Step};

/// Scripts that chance writes, in each round.
const RANDOM: u64 = 6;

/// A number of the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What chance begins with. Each round has the next.
pub fn first_seed() -> u64 {
    number("WALTOOL_SEED").unwrap_or(1)
}

/// The fixed scripts and those of a seed.
pub fn scripts_of(seed: u64) -> Vec<Script> {
    let random = (0..RANDOM).map(|number| scripts::random(seed << 8 | number));
    scripts::fixed().into_iter().chain(random).collect()
}

/// A script and the call before which the power fails.
#[derive(Clone, Copy)]
pub struct Case<'s> {
    pub test: &'static str,
    pub seed: u64,
    pub number: usize,
    pub script: &'s Script,
    pub call: u64,
}

impl Case<'_> {
    pub fn chance(&self) -> Chance {
        Chance::new(self.seed << 32 | (self.number as u64) << 16 | self.call)
    }

    /// Plays the script until the power fails. Gives the disk at that moment.
    pub fn play(&self) -> Player {
        let mut player = Player::fresh(self.seed, self.script.config);
        player.sim.cut_before(self.call);
        player.play_until_off(&self.script.steps);
        player
    }
}

impl Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { test, seed, number, script, call } = self;
        let name = script.name;
        writeln!(f, "script {number} ({name}), call {call}; {:?}: {:?}", script.config, script.steps)?;
        write!(f, "WALTOOL_SEED={seed} WALTOOL_SCRIPT={number} WALTOOL_CALL={call} cargo test --test power_cuts {test}")
    }
}

/// Tells what led to a panic, if one comes: what was played, what of it chance chose, and every call on that disk.
pub struct Story<'a>(pub &'a Sim, pub fmt::Arguments<'a>);

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.1, self.0);
        }
    }
}

/// Every script of a seed with each of its calls, and one behind the last.
fn cases<'s>(test: &'static str, seed: u64, scripts: &'s [Script]) -> Vec<Case<'s>> {
    let (only_script, only_call) = (number("WALTOOL_SCRIPT"), number("WALTOOL_CALL"));
    let mut cases = Vec::new();
    for (number, script) in scripts.iter().enumerate() {
        if only_script.is_some_and(|only| only != number as u64) {
            continue;
        }
        let case = |call| Case { test, seed, number, script, call };
        let calls = case(u64::MAX).play().sim.changes() + 1;
        cases.extend((1..=calls).filter(|call| only_call.is_none_or(|only| only == *call)).map(case));
    }
    cases
}

/// Runs `work` on all cases of one round after another, by several threads, until it has counted enough. Gives the rounds.
pub fn rounds(test: &'static str, enough: impl Fn() -> bool + Sync, work: impl Fn(&Case<'_>) + Sync) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for round in 0.. {
        let scripts = scripts_of(first_seed() + round);
        let cases = cases(test, first_seed() + round, &scripts);
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let run = || {
            while let Some(case) = cases.get(next.fetch_add(1, Relaxed))
                && !failed.load(Relaxed)
                && !(enough() && round > 0)
            {
                let told = Told { case, failed: &failed };
                work(case);
                drop(told);
            }
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
            run();
            others.into_iter().for_each(|other| other.join().expect("no violation"));
        });
        if enough() || number("WALTOOL_SCRIPT").is_some() {
            return round + 1;
        }
    }
    0
}

/// One violation is told, and the other threads end.
struct Told<'a> {
    case: &'a Case<'a>,
    failed: &'a AtomicBool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        static ONE: Mutex<()> = Mutex::new(());
        if std::thread::panicking() && !self.failed.swap(true, Relaxed) {
            let _one = ONE.lock();
            eprintln!("{}", self.case);
        }
    }
}

/// States that were looked at.
#[derive(Default)]
pub struct Count {
    pub states: AtomicU64,
    pub torn: AtomicU64,
}

impl Count {
    /// A log after a crash: it is no worse than torn, and opening it gives all that was acknowledged and nothing else. Gives what
    /// it is after the opening.
    pub fn check(&self, sim: &Sim, model: &Model, config: Config) -> Player {
        let torn = is_no_worse_than_torn(sim, model);
        self.states.fetch_add(1, Relaxed);
        self.torn.fetch_add(torn.into(), Relaxed);
        let mut player = Player::new(sim.clone(), model.clone(), config);
        player.play_until_off(&[Step::Open]);
        player
    }

    /// All that must hold after a crash.
    pub fn check_well(&self, sim: &Sim, model: &Model, config: Config, chance: &mut Chance) {
        no_segment_is_worse_than_torn(sim);
        self.check(&sim.fork(), model, config);
        opens_twice_alike(&sim.fork(), model, config);
        let mut whole = Player::new(sim.fork(), model.clone(), config);
        let _story = Story(&whole.sim.clone(), format_args!("afterwards {AFTERWARDS:?}"));
        whole.play_until_off(&AFTERWARDS);
        let after = whole.sim.crash(chance.next());
        self.check(&after, &whole.model.crashed(), config);
        let report = verify(&after).expect("a log");
        let closed = (report.verdict(), report.undecided);
        assert_eq!(closed, (Verdict::Clean, 0), "the log was closed, and the power failed after that");
        let calls = whole.sim.changes();
        for _ in 0..3 {
            self.check_cut_again(sim, model, config, 1 + chance.below(calls), chance);
        }
    }

    /// The power fails again, while the log is opened, written and closed, or the process dies.
    fn check_cut_again(&self, sim: &Sim, model: &Model, config: Config, call: u64, chance: &mut Chance) {
        let mut player = Player::new(sim.fork(), model.clone(), config);
        let again = player.sim.clone();
        let _story = Story(&again, format_args!("cut again before call {call} of {AFTERWARDS:?}"));
        player.sim.cut_before(call);
        player.play_until_off(&AFTERWARDS);
        for seed in crashes(&again, 4, chance) {
            let after = again.crash(seed);
            let _story = Story(&after, format_args!("crash {seed} then"));
            self.check(&after, &player.model.crashed(), config);
        }
        self.check(&again.kill(), &player.model, config);
    }
}

/// Seeds for crashes of a disk: a few, or one where everything is durable.
pub fn crashes(sim: &Sim, some: usize, chance: &mut Chance) -> Vec<u64> {
    (0..if sim.unsynced() { some } else { 1 }).map(|_| chance.next()).collect()
}

/// Opening changes nothing that is there, so opening again gives the same.
fn opens_twice_alike(sim: &Sim, model: &Model, config: Config) {
    let mut player = Player::new(sim.clone(), model.clone(), config);
    let mut states = Vec::new();
    for _ in 0..2 {
        let (_, opened) = player.play(&[Step::Open]);
        opened.expect("it could be opened before");
        states.push(player.state().expect("a log that is open"));
        player.wal = None;
    }
    assert!(states[0] == states[1], "opening twice gives something else");
}

/// The power is cut, and the process killed, at one call of a script.
pub fn cut(case: &Case<'_>, count: &Count) {
    let player = case.play();
    let config = case.script.config;
    let _story = Story(&player.sim, format_args!("cut before call {}", case.call));
    let mut chance = case.chance();
    for seed in crashes(&player.sim, 8, &mut chance) {
        let after = player.sim.crash(seed);
        let _story = Story(&after, format_args!("crash {seed}"));
        count.check_well(&after, &player.model.crashed(), config, &mut chance);
    }
    let killed = player.sim.kill();
    count.check_well(&killed, &player.model, config, &mut chance);
    // What an opening gave is on the disk, also what the process that died had not synced.
    let opened = count.check(&killed, &player.model, config);
    for _ in 0..2 {
        let seed = chance.next();
        let _story = Story(&killed, format_args!("killed, opened, crash {seed}"));
        count.check(&killed.crash(seed), &opened.model, config);
    }
}
