//! What programs do with a log.

use waltool::wal::Durability::{self, Buffered, Durable, Written};
use waltool::wal::Options;

use crate::chance::Chance;
use crate::model::Shape::{self, Data, Mark, Mixed, SetLen, Write};

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Open,
    Commit(Shape, Durability),
    Sync,
    /// Of all that is known to be committed but the last so many.
    Checkpoint(usize),
    Read,
    Close,
    Drop,
}

use Step::{Checkpoint, Close, Commit, Drop, Open, Read, Sync};

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub segment: u64,
    pub zero_fill: bool,
    pub reserve: bool,
    pub unsynced: u64,
}

impl Config {
    const PLAIN: Self = Self { segment: 64 << 20, zero_fill: false, reserve: false, unsynced: u64::MAX };

    pub const fn plain() -> Self {
        Self::PLAIN
    }

    pub fn options(self) -> Options {
        let options = Options::new().segment_bytes(self.segment).unsynced_max(self.unsynced);
        options.zero_fill(self.zero_fill).reserve(self.reserve)
    }
}

pub struct Script {
    pub name: &'static str,
    pub config: Config,
    pub steps: Vec<Step>,
}

/// What is done with every log that was recovered.
pub const AFTERWARDS: [Step; 4] = [Open, Commit(Data(100), Durable), Read, Close];

/// Where segments begin to hold records.
const RECORDS: u64 = 8192;

fn durable(shapes: &[Shape]) -> Vec<Step> {
    shapes.iter().map(|shape| Commit(*shape, Durable)).collect()
}

fn script(name: &'static str, config: Config, steps: &[&[Step]]) -> Script {
    Script { name, config, steps: steps.concat() }
}

/// The same for every seed.
pub fn fixed() -> Vec<Script> {
    let plain = Config::PLAIN;
    let filled = Config { zero_fill: true, ..plain };
    let small = Config { segment: RECORDS + 700, ..plain };
    let grouped = [
        Open,
        Commit(Data(30), Buffered),
        Commit(Mixed(200), Buffered),
        Commit(Data(700), Durable),
        Commit(Write(90), Written),
        Commit(SetLen, Buffered),
        Commit(Data(5), Written),
        Sync,
        Commit(Mark, Buffered),
        Commit(Data(1), Buffered),
        Commit(Mark, Durable),
        Read,
        Commit(Data(61), Buffered),
        Close,
    ];
    let ends = [
        Open,
        Commit(Data(400), Durable),
        Close,
        Open,
        Commit(Write(30), Durable),
        Drop,
        Open,
        Drop,
        Open,
        Commit(Data(800), Buffered),
        Drop,
        Open,
        Read,
        Commit(Data(20), Written),
        Close,
        Open,
    ];
    let checkpoints = [
        &[Open][..],
        &durable(&[Data(300), Write(300), Data(310), Mixed(100), Data(20)]),
        &[Checkpoint(0), Commit(Data(200), Durable), Commit(Data(400), Durable), Commit(Write(300), Buffered)],
        &[Commit(Data(250), Durable), Checkpoint(2), Checkpoint(0), Read, Commit(Data(9), Durable), Close],
        &[Open, Checkpoint(0), Commit(SetLen, Durable), Drop, Open, Commit(Data(70), Durable), Checkpoint(0), Close],
    ];
    vec![
        script(
            "sizes",
            plain,
            &[&[Open], &durable(&[Data(1), Write(1), Data(511), Mark, Data(513), Mixed(700), SetLen, Write(5000)])],
        ),
        script("blocks", plain, &[&[Open], &durable(&[Data(40_000), Mixed(20_000), Mark, Data(7)]), &[Close]]),
        script("group", plain, &[&grouped]),
        script("group filled", filled, &[&grouped]),
        script("group small", Config { segment: RECORDS + 400, ..plain }, &[&grouped]),
        script(
            "rotation",
            small,
            &[&[Open], &durable(&[Data(300), Mark, Data(290), Write(310), Data(5), Data(600), SetLen]), &[Close]],
        ),
        script(
            "rotation filled and reserved",
            Config { zero_fill: true, reserve: true, ..small },
            &[&[Open], &durable(&[Data(300), Data(290), Write(310)]), &[Commit(Data(500), Buffered), Close]],
        ),
        script("reserved", Config { reserve: true, ..small }, &[&ends]),
        script("checkpoints", small, &checkpoints),
        script("checkpoints filled", Config { zero_fill: true, ..small }, &checkpoints),
        script("ends", plain, &[&ends]),
        script("ends filled", filled, &[&ends]),
        script(
            "longer than a segment",
            Config { segment: RECORDS, ..plain },
            &[&[Open], &durable(&[Data(1), Data(20_000), Mark, Write(30_000)]), &[Drop, Open], &durable(&[Data(3)])],
        ),
        script(
            "bounded",
            Config { unsynced: 600, ..plain },
            &[&[Open], &[Commit(Data(250), Written); 5], &[Commit(Data(90), Buffered); 3], &[Drop, Open]],
        ),
        block_ends(plain),
    ]
}

/// Logs that are closed where so many bytes of a block are left: the mark goes there, or behind a PAD, or behind zeros.
fn block_ends(config: Config) -> Script {
    let mut steps = Vec::new();
    for left in (0..=48).step_by(8) {
        // A DATA record and its COMMIT fill the first block but for these.
        let shape = Data(32768 - RECORDS as usize - 24 - 48 - left);
        steps.extend([Open, Commit(shape, Durable), Close]);
    }
    steps.extend([Open, Commit(Data(24_480), Durable), Commit(Mark, Durable), Commit(Data(1), Durable), Drop, Open]);
    Script { name: "block ends", config, steps }
}

/// A script that a seed chooses.
pub fn random(seed: u64) -> Script {
    let mut chance = Chance::new(seed);
    let config = Config {
        segment: chance.one_of(&[RECORDS, RECORDS + 500, RECORDS + 1500, 40_000, 64 << 20]),
        zero_fill: chance.below(3) == 0,
        reserve: chance.below(4) == 0,
        unsynced: chance.one_of(&[300, u64::MAX, u64::MAX, u64::MAX]),
    };
    let mut steps = vec![Open];
    let mut open = true;
    for _ in 0..4 + chance.below(12) {
        let step = match chance.below(20) {
            _ if !open => Open,
            0..12 => Commit(shape(&mut chance), chance.one_of(&[Durable, Durable, Durable, Written, Buffered])),
            12 | 13 => Sync,
            14..17 => Checkpoint(chance.below(3) as usize),
            17 => Read,
            18 => Close,
            _ => Drop,
        };
        open = !matches!(step, Close | Drop);
        steps.push(step);
    }
    Script { name: "random", config, steps }
}

fn shape(chance: &mut Chance) -> Shape {
    let len = match chance.below(8) {
        0 => 1 + chance.below(8),
        1..5 => 1 + chance.below(600),
        5 | 6 => 400 + chance.below(2000),
        _ => 24_000 + chance.below(700),
    } as usize;
    match chance.below(8) {
        0 => Mark,
        1 => SetLen,
        2 => Mixed(len.min(3000)),
        3 | 4 => Write(len),
        _ => Data(len),
    }
}
