//! The write path against power cuts and failing calls, on a simulated disk. The oracle is a model of what was attempted and of what
//! was acknowledged, never the implementation.

#[macro_use]
#[path = "../support/figure.rs"]
mod figure;
mod chance;
mod explore;
mod failing;
mod mending;
mod model;
mod names;
mod player;
mod promises;
mod scripts;
mod small;

use std::sync::atomic::Ordering::Relaxed;

use explore::{Count, first_seed, number};

#[test]
fn what_is_acknowledged_survives_every_power_cut() {
    let count = Count::default();
    let states = number("WALTOOL_STATES").unwrap_or(100_000);
    let enough = || count.states.load(Relaxed) >= states;
    let name = "what_is_acknowledged_survives_every_power_cut";
    let rounds = explore::rounds(name, enough, |case| explore::cut(case, &count));
    figure!(
        "{} crash states, {} of them torn, 0 violations; {rounds} rounds from seed {}",
        count.states.load(Relaxed),
        count.torn.load(Relaxed),
        first_seed()
    );
}

#[test]
fn what_is_said_after_a_failing_call_is_true() {
    let met = failing::Met::default();
    let states = number("WALTOOL_STATES").unwrap_or(0);
    let enough = || met.count.states.load(Relaxed) >= states;
    let rounds = explore::rounds("what_is_said_after_a_failing_call_is_true", enough, |case| failing::fail(case, &met));
    figure!(
        "{} runs with a failing call, of which {} were told and {} left names stuck; {} states, 0 violations; {rounds} rounds from seed {}",
        met.runs.load(Relaxed),
        met.noticed.load(Relaxed),
        met.stuck.load(Relaxed),
        met.count.states.load(Relaxed),
        first_seed()
    );
}

#[test]
fn a_log_that_a_crash_left_is_repaired_and_replayed_whatever_interrupts_that() {
    let mended = mending::Mended::default();
    let enough = || mended.cuts.load(Relaxed) >= number("WALTOOL_STATES").unwrap_or(0);
    let name = "a_log_that_a_crash_left_is_repaired_and_replayed_whatever_interrupts_that";
    let rounds = explore::rounds(name, enough, |case| mending::mend(case, &mended));
    figure!(
        "{} logs replayed, {} of them repaired and taken back; {} interruptions, 0 violations; {rounds} rounds from seed {}",
        mended.logs.load(Relaxed),
        mended.repaired.load(Relaxed),
        mended.cuts.load(Relaxed),
        first_seed()
    );
}
