//! Small logs, all of them: every state that a power cut can leave at every call, where each unsynced sector is old or new, each length one that
//! the file had, and any subset of the changes of names arrived.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::Relaxed;

use waltool::vfs::Sim;
use waltool::wal::Durability;

use crate::explore::{Count, Story};
use crate::model::{Model, Shape};
use crate::player::Player;
use crate::scripts::{Config, Step};

const ALL: [Durability; 3] = [Durability::Durable, Durability::Written, Durability::Buffered];

/// Sizes of three transactions on sectors of 512 bytes, six sectors in all at most.
const PATTERNS: [[Shape; 3]; 6] = [
    // Several in one sector.
    [Shape::Data(20), Shape::Write(40), Shape::Data(60)],
    // Over a sector's end.
    [Shape::Data(250), Shape::Data(300), Shape::Write(200)],
    // One of several sectors, first, in the middle, and behind a mark.
    [Shape::Data(1200), Shape::Data(40), Shape::Write(500)],
    [Shape::Write(60), Shape::Data(1500), Shape::SetLen],
    [Shape::Data(430), Shape::Mark, Shape::Mixed(300)],
    // Each ends where a sector does: 72 bytes are a DATA header and a COMMIT.
    [Shape::Data(512 - 72), Shape::Data(1024 - 72), Shape::Data(512 - 72)],
];

struct Small {
    sector: NonZeroUsize,
    config: Config,
    met: HashSet<u64>,
    count: Count,
}

impl Small {
    fn new(sector: usize, config: Config) -> Self {
        let sector = NonZeroUsize::new(sector).expect("a size");
        Self { sector, config, met: HashSet::new(), count: Count::default() }
    }

    fn player(&self) -> Player {
        Player::on(Sim::with_sector(1, self.sector), self.config)
    }

    /// All states at all calls of some steps, but for those that were met before.
    fn check(&mut self, steps: &[Step]) -> u128 {
        let mut whole = self.player();
        whole.play_until_off(steps);
        let mut states = 0;
        for call in 1..=whole.sim.changes() + 1 {
            let mut player = self.player();
            player.sim.cut_before(call);
            player.play_until_off(steps);
            let model = player.model.crashed();
            let all = player.sim.states();
            states += all.total();
            for (number, state) in all.enumerate() {
                if !self.met.insert(hash(&state, &model)) {
                    continue;
                }
                let _story = Story(&player.sim, format_args!("cut before call {call} of {steps:?}, state {number}"));
                self.count.check(&state, &model, self.config);
            }
        }
        states
    }
}

/// The same files and the same that may be relied on: nothing new.
fn hash(state: &Sim, model: &Model) -> u64 {
    let mut hasher = DefaultHasher::new();
    (state.files(), format!("{model:?}")).hash(&mut hasher);
    hasher.finish()
}

/// The three transactions, with every choice of durabilities: in one go, and each in a segment of its own behind an opening.
fn scripts() -> impl Iterator<Item = Vec<Step>> {
    let choices = ALL.into_iter().flat_map(|a| ALL.into_iter().flat_map(move |b| ALL.map(|c| [a, b, c])));
    choices.flat_map(|choice| {
        PATTERNS.into_iter().flat_map(move |shapes| {
            let commit = |at: usize| Step::Commit(shapes[at], choice[at]);
            let (open, drop, close) = (Step::Open, Step::Drop, Step::Close);
            [
                vec![open, commit(0), commit(1), commit(2), close],
                vec![open, commit(0), drop, open, commit(1), close, open, commit(2), drop, open],
            ]
        })
    })
}

fn all_states(sector: usize, config: Config) {
    let mut small = Small::new(sector, config);
    let states: u128 = scripts().map(|steps| small.check(&steps)).sum();
    let (distinct, torn) = (small.met.len(), small.count.torn.load(Relaxed));
    assert!(states > 30_000 && distinct > 500, "{states} states, {distinct} distinct");
    figure!(
        "all {states} states, {distinct} of them distinct, {torn} of these torn, 0 violations; sectors of {sector}, {config:?}"
    );
}

#[test]
fn every_state_of_a_small_log_is_recovered() {
    all_states(256, Config::plain());
}

#[test]
fn every_state_of_a_small_log_with_space_ahead_is_recovered() {
    all_states(256, Config { zero_fill: true, reserve: true, segment: 20_000, ..Config::plain() });
}

#[test]
fn every_state_of_a_small_log_with_a_segment_for_each_is_recovered() {
    all_states(256, Config { segment: 8192, ..Config::plain() });
}
