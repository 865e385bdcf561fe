//! Every promise in a log, held against what had really been synced: the end of the records that the last sync covered before the
//! COMMIT was written. No more, or damage that a crash explains is called corruption; no less, or rot passes for a crash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use waltool::vfs::Sim;
use waltool::vfs::sim::Call;
use waltool::wal::Durability;

use crate::explore::{Story, first_seed};
use crate::model::{Model, Shape};
use crate::player::Player;
use crate::scripts::{self, Config, Script, Step};

const BLOCK: usize = 32768;
const RECORDS: usize = 8192;
const COMMIT: u8 = 5;
const SEAL: u8 = 6;
const PAD: u8 = 7;

/// A record, as the format's document says, without any check.
struct Record {
    start: usize,
    end: usize,
    kind: u8,
    promise: u32,
}

/// The records of a segment from its start to the first place that holds none.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut at = RECORDS;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    while at + 24 <= bytes.len() {
        let left = BLOCK - at % BLOCK;
        if left < 24 {
            at += left;
            continue;
        }
        if bytes[at..at + 2] != [0x9d, 0xe7] {
            break;
        }
        let len = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        let end = at + 24 + len.next_multiple_of(8);
        let promise = if bytes[at + 2] == COMMIT { u32_at(at + 24 + 20) } else { 0 };
        found.push(Record { start: at, end, kind: bytes[at + 2], promise });
        at = end;
    }
    found
}

/// What was done to one file: numbers of the calls that wrote, with their bytes, and of those that synced.
#[derive(Default)]
struct History {
    writes: Vec<(u64, u64, u64)>,
    syncs: Vec<u64>,
}

impl History {
    /// The call that wrote the byte at `offset` last: zeros were written before records.
    fn written(&self, offset: usize) -> u64 {
        let offset = offset as u64;
        let of = |(_, from, to): &&(u64, u64, u64)| (*from..*to).contains(&offset);
        self.writes.iter().rev().find(of).expect("what is there was written").0
    }

    fn synced_before(&self, call: u64) -> u64 {
        self.syncs.iter().copied().filter(|sync| *sync < call).max().expect("the header was synced")
    }
}

/// By the name that a file has at the end; until it was renamed it had another, which its handle keeps in the trace.
fn histories(trace: &[Call]) -> BTreeMap<PathBuf, History> {
    let mut histories: BTreeMap<PathBuf, History> = BTreeMap::new();
    for call in trace {
        let path = call.path.to_str().expect("a name of ours").trim_end_matches(".tmp");
        let history = histories.entry(path.into()).or_default();
        match (call.name, call.bytes) {
            ("write_at", Some((from, to))) => history.writes.push((call.number, from, to)),
            ("sync_all" | "sync_data", _) => history.syncs.push(call.number),
            _ => {}
        }
    }
    histories
}

/// Compares all promises in the files of a disk; gives how many.
fn compare(sim: &Sim) -> usize {
    let histories = histories(&sim.trace());
    let mut compared = 0;
    for (path, bytes) in sim.files() {
        if path.extension().is_none_or(|extension| extension != "wal") {
            continue;
        }
        let (records, history) = (records(&bytes), &histories[&path]);
        for commit in records.iter().filter(|record| record.kind == COMMIT) {
            let sync = history.synced_before(history.written(commit.start));
            let covered = records.iter().filter(|record| record.kind != PAD && history.written(record.end - 1) < sync);
            let expected = covered.map(|record| record.end).max().unwrap_or(RECORDS);
            let at = commit.start;
            assert_eq!(commit.promise as usize, expected, "the promise of the COMMIT at {at} in {}", path.display());
            compared += 1;
        }
    }
    compared
}

/// No segment has a record before the SEAL of the one before it is on the disk. Gives how many have one.
fn seals_come_first(sim: &Sim) -> usize {
    let (histories, files) = (histories(&sim.trace()), sim.files());
    let segments: Vec<_> = files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "wal")).collect();
    let mut seals = 0;
    for pair in segments.windows(2) {
        let ((path, bytes), (next_path, next_bytes)) = (pair[0], pair[1]);
        let seal = records(bytes).pop().filter(|last| last.kind == SEAL);
        let (Some(seal), Some(first)) = (seal, records(next_bytes).into_iter().next()) else { continue };
        let (sealed, begun) = (histories[path].written(seal.start), histories[next_path].written(first.start));
        let synced = histories[path].syncs.iter().any(|sync| (sealed..begun).contains(sync));
        assert!(synced, "{} has records before the SEAL of {}", next_path.display(), path.display());
        seals += 1;
    }
    seals
}

fn play(script: &Script, seed: u64) -> (usize, usize) {
    let mut player = Player::fresh(seed, script.config);
    let sim = player.sim.clone();
    let _story = Story(&sim, format_args!("{} of seed {seed}: {:?}", script.name, script.steps));
    player.play_until_off(&script.steps);
    (compare(&sim), seals_come_first(&sim))
}

/// So much that it is written although nobody waits for it.
fn flood() -> Script {
    let many = [Step::Commit(Shape::Data(70_000), Durability::Buffered); 9];
    let last = [
        Step::Commit(Shape::Data(1), Durability::Durable),
        Step::Commit(Shape::Mark, Durability::Durable),
        Step::Close,
    ];
    Script { name: "flood", config: Config::plain(), steps: [&[Step::Open][..], &many, &last].concat() }
}

#[test]
fn every_promise_is_what_the_last_sync_had_covered() {
    let first = first_seed() << 20;
    let random = (first..first + 2000).map(|seed| (scripts::random(seed), seed));
    let all = scripts::fixed().into_iter().chain([flood()]).map(|script| (script, 1)).chain(random);
    let (mut scripts, mut promises, mut seals) = (0, 0, 0);
    for (script, seed) in all {
        let (compared, met) = play(&script, seed);
        (scripts, promises, seals) = (scripts + 1, promises + compared, seals + met);
    }
    assert!(promises > 5000 && seals > 500, "{promises} and {seals}");
    figure!("{promises} promises compared and {seals} SEALs met, in {scripts} scripts");
}

#[test]
fn the_reader_of_promises_finds_the_records_of_a_log() {
    let script = &scripts::fixed()[0];
    let mut player = Player::new(Sim::new(1), Model::default(), script.config);
    player.sim.put(Path::new("/data/neighbour"), b"").expect("a new disk");
    player.play_until_off(&script.steps);
    let files = player.sim.files();
    let bytes = &files[Path::new("/data/log/00000001.wal")];
    let found = records(bytes);
    assert_eq!(found.iter().filter(|record| record.kind == COMMIT).count(), 8);
    assert_eq!(found.last().map(|record| record.end), Some(bytes.len()));
}
