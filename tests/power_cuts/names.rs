//! Directories whose sync fails: later syncs of them succeed and do nothing for what that one was to write.

use waltool::vfs::Sim;
use waltool::vfs::sim::{Failure, Times};
use waltool::wal::Durability::Durable;

use crate::explore::{Count, Story};
use crate::model::Shape::Data;
use crate::player::Player;
use crate::scripts::{AFTERWARDS, Config, Step};

const SEGMENT: u64 = 8192 + 400;

fn call_number(sim: &Sim, is: impl Fn(&waltool::vfs::sim::Call) -> bool) -> u64 {
    sim.trace().iter().find(|call| is(call)).expect("such a call").number
}

/// Plays some steps with a call that fails, the log's opening and closing on the healed disk, and crashes that.
fn fails_and_goes_on(steps: &[Step], at: u64, afterwards: &[Step]) {
    let config = Config { segment: SEGMENT, ..Config::plain() };
    let mut player = Player::fresh(1, config);
    let sim = player.sim.clone();
    let _story = Story(&sim, format_args!("call {at} fails"));
    sim.fail(at, Failure::Io, Times::Once);
    let (_, failed) = player.play(steps);
    failed.expect_err("a directory that is not synced");
    player.model = player.model.crashed();
    if afterwards.iter().any(|step| matches!(step, Step::Open)) {
        player.wal = None;
    }
    player.play_until_off(afterwards);
    for seed in 0..50 {
        Count::default().check(&sim.crash(seed), &player.model.crashed(), config);
    }
}

fn trace_of(steps: &[Step]) -> Sim {
    let mut player = Player::fresh(1, Config { segment: SEGMENT, ..Config::plain() });
    player.play_until_off(steps);
    player.sim
}

#[test]
fn a_folder_that_could_not_be_synced_is_made_anew() {
    let steps = [Step::Open];
    let at = call_number(&trace_of(&steps), |call| call.name == "sync_folder");
    fails_and_goes_on(&steps, at, &AFTERWARDS);
}

#[test]
fn a_segment_whose_name_could_not_be_synced_is_made_anew() {
    let steps = [Step::Open, Step::Commit(Data(300), Durable), Step::Commit(Data(300), Durable)];
    let created = |call: &waltool::vfs::sim::Call| call.path.ends_with("00000002.wal.tmp") && call.name == "rename_new";
    let at = call_number(&trace_of(&steps), created) + 1;
    fails_and_goes_on(&steps, at, &AFTERWARDS);
}

#[test]
fn nothing_is_removed_any_more_once_a_removal_could_not_be_synced() {
    let more = [Step::Commit(Data(300), Durable), Step::Commit(Data(300), Durable), Step::Checkpoint(0)];
    let steps = [&[Step::Open][..], &more].concat();
    let at = call_number(&trace_of(&steps), |call| call.name == "remove") + 1;
    fails_and_goes_on(&steps, at, &more);
}
