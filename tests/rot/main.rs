//! A disk that lies about bytes which the log itself says were synced: rot, lost writes, misplaced writes. Random logs of all shapes
//! are written on a simulated disk, with power cuts and recoveries in between, and damaged in one way after another. Of each damaged log it
//! is demanded that
//!
//! - the verdict is corrupt where promised bytes are hit, and incomplete where a segment is missing or is not the one its name says;
//! - opening it to write refuses, and changes no byte;
//! - no reading gives a record that was not written, at the place where it was written;
//! - salvage gives back every whole transaction that was not hit, once and in order;
//! - damage that no promise covers is never called worse than a torn tail, and costs nothing that was promised.
//!
//! What is promised, hit and whole is worked out from what was written and synced when, and never read by the code that is tested.
//!
//! `WALTOOL_STATES` sets how many logs are damaged where they promise something (100,000), `WALTOOL_SEED` the seed of the first log. A
//! failure prints the seed of its log, which comes first where that is given:
//! `WALTOOL_SEED=4711 WALTOOL_STATES=1 cargo test --test rot`.

#[macro_use]
#[path = "../support/figure.rs"]
mod figure;
#[path = "../support/mod.rs"]
mod support;

mod harm;
mod read;
mod truth;
mod written;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use harm::{Harm, Victim};
use support::Noise;
use truth::{Demand, Truth};
use waltool::vfs::Sim;
use waltool::wal::{Options, Wal, WalError};
use waltool::{Log, Verdict};
use written::{Files, LOG, Written, files, written};

/// Each log is damaged so often in each way.
const ROUNDS: u64 = 4;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// How many damaged logs there were of one kind, by what was demanded of them.
#[derive(Clone, Copy, Default)]
struct Counts {
    promised: u64,
    undecided: u64,
}

type Tally = BTreeMap<Harm, Counts>;

#[test]
fn a_disk_that_lies_about_promised_bytes_is_found_out() {
    let (states, first) = (from_environment("WALTOOL_STATES", 100_000), from_environment("WALTOOL_SEED", 1));
    let (next, done, tally) = (AtomicU64::new(first), AtomicU64::new(0), Mutex::new(Tally::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < states {
                    let found = damage_a_log(next.fetch_add(1, Ordering::Relaxed));
                    let promised: u64 = found.values().map(|counts| counts.promised).sum();
                    done.fetch_add(promised, Ordering::Relaxed);
                    let mut tally = tally.lock().expect("no thread failed");
                    for (harm, counts) in found {
                        let all = tally.entry(harm).or_default();
                        all.promised += counts.promised;
                        all.undecided += counts.undecided;
                    }
                }
            });
        }
    });
    let (logs, tally) = (next.into_inner() - first, tally.into_inner().expect("no thread failed"));
    figure!("{logs} logs from seed {first} on; damaged where they promise something, and where they do not:");
    for (harm, Counts { promised, undecided }) in &tally {
        figure!("{:>12} {promised:>8} {undecided:>8}", format!("{harm:?}"));
    }
    assert!(done.into_inner() >= states);
    for harm in Harm::all().filter(|_| states >= 10_000) {
        assert!(tally.get(&harm).is_some_and(|counts| counts.promised > states / 1000), "{harm:?} was hardly tried");
    }
}

/// Writes the log of this seed and damages it in every way.
fn damage_a_log(seed: u64) -> Tally {
    let log = written(seed);
    let mut tally = Tally::new();
    if log.segments.is_empty() {
        return tally;
    }
    let sound = files(&log.sim);
    assert_ne!(
        Truth::new(&log, &sound).demand(),
        Demand::Corrupt,
        "log {seed}: promised bytes are gone before any harm"
    );
    look(&log, &log.sim.fork(), &sound, false).unwrap_or_else(|why| panic!("log {seed}, not damaged: {why}"));
    let mut noise = Noise(seed.wrapping_mul(0xa076_1d64_78bd_642f) | 1);
    for round in 0..ROUNDS {
        for harm in Harm::all() {
            let sim = log.sim.fork();
            Victim { log: &log, sim: sim.clone(), noise: &mut noise }.suffer(harm);
            let damaged = files(&sim);
            if damaged == sound {
                continue;
            }
            // Behind the end that a later segment vouches for there is residue, of any kind.
            let shows = harm == Harm::Bit && damaged.last_key_value() != sound.last_key_value();
            let demand = look(&log, &sim, &damaged, shows);
            let demand = demand.unwrap_or_else(|why| panic!("log {seed}, {harm:?} of round {round}: {why}"));
            let counts = tally.entry(harm).or_default();
            *if demand == Demand::Torn { &mut counts.undecided } else { &mut counts.promised } += 1;
        }
    }
    tally
}

/// Reads a damaged log in every way, and says what was demanded of it, or else what was wrong. `shows`: the damage does not look like space
/// that was never written, nor like a log that ended before.
fn look(log: &Written, sim: &Sim, files: &Files, shows: bool) -> Result<Demand, String> {
    let truth = Truth::new(log, files);
    let demand = truth.demand();
    let found = Log::open_on(&sim.disk(), LOG.as_ref(), None).map_err(|error| error.to_string())?;
    let report = read::all(&found, log)?;
    let verdict = report.verdict();
    let right = match demand {
        Demand::Corrupt => verdict == Verdict::Corrupt,
        Demand::Incomplete => verdict == Verdict::Corrupt || verdict == Verdict::Incomplete,
        Demand::Torn => verdict == Verdict::TornTail || verdict == Verdict::Clean && !shows,
    };
    if !right {
        return Err(format!("{verdict} and not {demand:?}: {:?}", report.faults));
    }
    let opened = Options::new().disk(sim.disk()).open(LOG);
    opens_as_it_must(&truth, demand, opened)?;
    if written::files(sim) != *files {
        return Err("opening it changed it".into());
    }
    read::salvage(&found, &truth, log)?;
    Ok(demand)
}

/// What opening a log to write must come to: a refusal, or all that is whole.
fn opens_as_it_must(truth: &Truth<'_>, demand: Demand, opened: Result<Wal, WalError>) -> Result<(), String> {
    match (demand, opened) {
        (Demand::Torn, Ok(wal)) => {
            let (end, (number, whole)) = (wal.recovery().end, truth.recovered());
            let same = end.segment() == number && end.offset() as usize == whole;
            if same { Ok(()) } else { Err(format!("recovered up to {end}, and whole up to {whole} of {number}")) }
        }
        (Demand::Torn, Err(error)) => Err(format!("opening failed: {error}")),
        (_, Err(WalError::Damaged { .. })) => Ok(()),
        (_, Err(error)) => Err(format!("another refusal: {error}")),
        (_, Ok(wal)) => Err(format!("opened: {:?}", wal.recovery())),
    }
}
