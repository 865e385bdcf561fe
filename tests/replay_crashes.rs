//! Replay where the power is cut and calls fail: whatever happens, the sidecar says nothing that is not so, and the next run ends at the
//! same bytes.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::Noise;
use waltool::formats::native::layout::{HEADER_LEN, Lsn, RECORDS_START, SegmentHeader, TWIN};
use waltool::replay::sidecar::{self, Mark, State};
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::vfs::Sim;
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::wal::{Durability, Options};
use waltool::{Log, Result, Scan};

const LOG: &str = "/log";
const TARGET: &str = "/target";
const SIDECAR: &str = "/target.waltool-applied";

/// A disk with a log and its target, as it was when the log began, and the target at each commit.
struct Bench {
    sim: Sim,
    /// By the LSN behind the commit; 0 is the beginning.
    states: BTreeMap<u64, Vec<u8>>,
    /// LSN of each commit and behind it.
    commits: Vec<(u64, u64)>,
}

impl Bench {
    /// Transactions that overwrite, lengthen and cut what others wrote, over several segments.
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let mut noise = Noise(seed * 2 + 1);
        let mut target = noise.bytes(2500);
        sim.put(Path::new(TARGET), &target).unwrap();
        let mut states = vec![target.clone()];
        let wal = Options::new().disk(sim.disk()).segment_bytes(10_500).zero_fill(false).open(LOG).unwrap();
        for _ in 0..8 {
            let mut transaction = wal.begin();
            for _ in 0..1 + noise.below(3) {
                let offset = noise.below(4000);
                if noise.below(4) == 0 {
                    transaction.set_len(offset as u64);
                    target.resize(offset, 0);
                } else {
                    let len = 1 + noise.below(1500);
                    let bytes = noise.bytes(len);
                    transaction.write(offset as u64, &bytes);
                    target.resize(target.len().max(offset + len), 0);
                    target[offset..offset + len].copy_from_slice(&bytes);
                }
            }
            transaction.commit().unwrap();
            states.push(target.clone());
        }
        wal.close().unwrap();
        let commits = commits(&sim);
        // The mark of closing is a commit too, and changes nothing.
        states.push(target);
        assert_eq!(commits.len() + 1, states.len());
        let ends = std::iter::once(0).chain(commits.iter().map(|(_, end)| *end));
        assert!(Lsn(commits[8].0).segment() > 2, "{} segments", Lsn(commits[8].0).segment());
        Self { states: ends.zip(states).collect(), commits, sim: sim.crash(0) }
    }

    /// The same after a replay in place up to the commit of this number.
    fn replayed(number: usize, seed: u64) -> Self {
        let bench = Self::new(seed);
        replay(&bench.sim, Until::Lsn(bench.commits[number].0), To::InPlace).unwrap();
        Self { sim: bench.sim.crash(0), ..bench }
    }

    fn last(&self) -> (u64, &Vec<u8>) {
        let (end, bytes) = self.states.last_key_value().unwrap();
        (*end, bytes)
    }

    /// What the sidecar says is so. Gives it.
    fn check(&self, sim: &Sim, about: &str) -> Option<Mark> {
        let said = sidecar::look(&sim.kill(), Path::new(TARGET));
        let said = said.unwrap_or_else(|error| panic!("{about}: {error}"))?.mark;
        assert!(said.high == 0 || self.states.contains_key(&said.high), "{about}: {said:?}");
        if said.state == State::Clean {
            let target = sim.bytes(Path::new(TARGET));
            assert!(target.as_ref() == self.states.get(&said.applied), "{about}: the target is not at {said:?}");
        }
        Some(said)
    }

    /// A replay of everything that nothing disturbs ends at the last commit.
    fn finish(&self, sim: &Sim, to: To<'_>, about: &str) {
        replay(sim, Until::End, to).unwrap_or_else(|error| panic!("{about}: {error}"));
        let (end, bytes) = self.last();
        for sim in [sim.clone(), sim.crash(0), sim.crash(1)] {
            assert!(sim.bytes(Path::new(TARGET)).as_ref() == Some(bytes), "{about}: another target");
            let said = self.check(&sim, about);
            if to == To::InPlace {
                assert_eq!(said.map(|said| (said.state, said.applied)), Some((State::Clean, end)), "{about}");
            }
        }
    }
}

fn commits(sim: &Sim) -> Vec<(u64, u64)> {
    let log = Log::open_on(&sim.disk(), Path::new(LOG), None).unwrap();
    let mut scan = Scan::new(&log);
    let mut commits = Vec::new();
    while let Some(found) = scan.next().unwrap() {
        if let Some(record) = found.record.filter(|record| record.meta.commit.is_some()) {
            commits.push((record.meta.lsn, record.meta.lsn - found.span.offset + found.span.end()));
        }
    }
    commits
}

fn replay(sim: &Sim, until: Until, to: To<'_>) -> Result<()> {
    let log = Log::open_on(&sim.disk(), Path::new(LOG), None)?;
    Replay::of(&log, Path::new(TARGET), until, TARGET_MAX, &mut |_| {})?.run(to, &mut |_| {})?;
    Ok(())
}

/// What stood in the sidecar after the power was back, over a whole test.
#[derive(Debug, Default)]
struct Met {
    none: u32,
    replaying: u32,
    clean: u32,
}

impl Met {
    fn add(&mut self, said: Option<Mark>) {
        match said.map(|said| said.state) {
            None => self.none += 1,
            Some(State::Replaying) => self.replaying += 1,
            Some(State::Clean) => self.clean += 1,
        }
    }
}

/// Cuts the power at each call of a replay, brings it back in several ways, and cuts the next runs too.
fn cut_everywhere(bench: &Bench, to: To<'_>, seed: u64, met: &mut Met) {
    let mut noise = Noise(seed + 77);
    let mut cuts = 0;
    for call in 1.. {
        let sim = bench.sim.fork();
        sim.cut_before(call);
        let result = replay(&sim, Until::End, to);
        if !sim.is_off() {
            result.unwrap();
            break;
        }
        cuts += 1;
        for crash in 0..12 {
            let about = format!("seed {seed}, {to:?}, call {call}, crash {crash}");
            let mut after = sim.crash(crash);
            met.add(bench.check(&after, &about));
            for again in 0..noise.below(4) as u64 {
                after.cut_before(1 + noise.below(cuts + 5) as u64);
                let _ = replay(&after, Until::End, [To::InPlace, To::Replace][noise.below(2)]);
                bench.check(&after, &about);
                after = if noise.below(3) == 0 { after.kill() } else { after.crash(crash + again) };
                met.add(bench.check(&after, &about));
            }
            bench.finish(&after, to, &about);
        }
    }
    assert!(cuts > 10, "{cuts} calls");
}

#[test]
fn a_power_cut_at_every_call_in_place_is_finished_by_the_next_run() {
    let mut met = Met::default();
    for seed in 1..5 {
        cut_everywhere(&Bench::new(seed), To::InPlace, seed, &mut met);
        cut_everywhere(&Bench::replayed(3, seed), To::InPlace, seed, &mut met);
    }
    assert!(met.none > 100 && met.replaying > 100 && met.clean > 100, "{met:?}");
}

#[test]
fn a_power_cut_at_every_call_of_a_replacement_leaves_a_true_sidecar() {
    let mut met = Met::default();
    for seed in 1..5 {
        cut_everywhere(&Bench::replayed(3, seed), To::Replace, seed, &mut met);
    }
    assert!(met.none == 0 && met.replaying > 100 && met.clean > 100, "{met:?}");
    let bench = Bench::new(5);
    bench.finish(&bench.sim, To::Replace, "without a sidecar");
    assert_eq!(bench.sim.bytes(Path::new(SIDECAR)), None, "none is made");
}

#[test]
fn a_power_cut_where_the_target_was_gone_and_its_sidecar_was_not() {
    let mut met = Met::default();
    for seed in 1..3 {
        // What the log makes of nothing is what it makes of no bytes.
        let mut bench = Bench::new(seed);
        bench.sim.put(Path::new(TARGET), b"").unwrap();
        let log = Log::open_on(&bench.sim.disk(), Path::new(LOG), None).unwrap();
        for (lsn, end) in bench.commits.clone() {
            let new = format!("/new{end}");
            let replay = Replay::of(&log, Path::new(TARGET), Until::Lsn(lsn), TARGET_MAX, &mut |_| {}).unwrap();
            replay.run(To::New(Path::new(&new)), &mut |_| {}).unwrap();
            bench.states.insert(end, bench.sim.bytes(Path::new(&new)).unwrap());
        }
        replay(&bench.sim, Until::Lsn(bench.commits[2].0), To::InPlace).unwrap();
        let disk = bench.sim.disk();
        disk.remove(Path::new(TARGET)).unwrap();
        disk.sync_folder(Path::new("/")).unwrap();
        bench.sim = bench.sim.crash(0);
        let gone = |sim: &Sim| sim.bytes(Path::new(TARGET)).is_none();
        assert!(gone(&bench.sim));
        for to in [To::InPlace, To::Replace] {
            for call in 1.. {
                let sim = bench.sim.fork();
                sim.cut_before(call);
                let _ = replay(&sim, Until::End, to);
                if !sim.is_off() {
                    break;
                }
                for crash in 0..12 {
                    let (about, after) = (format!("seed {seed}, {to:?}, call {call}, crash {crash}"), sim.crash(crash));
                    if !gone(&after) {
                        met.add(bench.check(&after, &about));
                    }
                    bench.finish(&after, to, &about);
                }
            }
        }
    }
    assert!(met.none == 0 && met.replaying > 10 && met.clean > 10, "{met:?}");
}

#[test]
fn every_call_fails_once_and_for_ever_and_nothing_untrue_is_said() {
    let (mut failed, mut passed) = (0, 0);
    for (bench, to) in
        [(Bench::new(6), To::InPlace), (Bench::replayed(3, 7), To::InPlace), (Bench::replayed(3, 8), To::Replace)]
    {
        let whole = bench.sim.fork();
        replay(&whole, Until::End, to).unwrap();
        for failure in [Failure::Io, Failure::Full, Failure::Interrupted, Failure::Short] {
            for (call, times) in (1..=whole.changes()).flat_map(|call| [(call, Times::Once), (call, Times::Forever)]) {
                let about = format!("{to:?}, {failure:?} {times:?} at call {call}");
                let sim = bench.sim.fork();
                sim.fail(call, failure, times);
                match replay(&sim, Until::End, to) {
                    Ok(()) => passed += 1,
                    Err(_) => failed += 1,
                }
                for after in [sim.kill(), sim.crash(call), sim.crash(call + 1000)] {
                    bench.check(&after, &about);
                }
                let folder = sim.trace().iter().any(|call| call.failure.is_some() && call.name == "sync_folder");
                bench.finish(&sim.crash(call), to, &about);
                // A name whose sync failed is lost for good, and no later sync says so.
                if !folder {
                    bench.finish(&sim.kill(), to, &about);
                }
            }
        }
    }
    assert!(failed > 100 && passed > 50, "{failed} failed, {passed} did not");
}

#[test]
fn after_a_failed_sync_the_next_mark_is_not_written_over_the_last_that_is_on_the_disk() {
    let bench = Bench::replayed(3, 16);
    let mut failed = 0;
    for call in 1.. {
        let sim = bench.sim.fork();
        sim.fail(call, Failure::Io, Times::Once);
        if replay(&sim, Until::End, To::InPlace).is_ok() {
            break;
        }
        let of_sidecar = sim.trace().iter().any(|call| call.failure.is_some() && *call.path == *Path::new(SIDECAR));
        for cut in (1..30).filter(|_| of_sidecar) {
            failed += 1;
            let next = sim.kill();
            next.cut_before(cut);
            let _ = replay(&next, Until::End, To::InPlace);
            for crash in 0..20 {
                bench.check(&next.crash(crash), &format!("call {call} failed, cut {cut}, crash {crash}"));
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn what_the_target_was_given_no_power_cut_takes_from_the_log() {
    for to in [To::InPlace, To::Replace] {
        let bench = Bench::replayed(3, 17);
        let wal = Options::new().disk(bench.sim.disk()).open(LOG).unwrap();
        for durability in [Durability::Durable, Durability::Written] {
            let mut transaction = wal.begin();
            transaction.write(0, b"the end");
            transaction.commit_with(durability).unwrap();
        }
        let killed = bench.sim.kill();
        replay(&killed, Until::End, to).unwrap();
        let said = |sim: &Sim| sidecar::look(sim, Path::new(TARGET)).unwrap().unwrap().mark;
        let applied = said(&killed);
        for crash in 0..50 {
            let after = killed.crash(crash);
            replay(&after, Until::End, to).unwrap_or_else(|error| panic!("crash {crash}: {error}"));
            assert_eq!(said(&after), applied, "crash {crash}");
        }
    }
}

#[test]
fn a_read_that_fails_leaves_everything_as_it_was_or_is_said() {
    let bench = Bench::replayed(3, 9);
    let mut failed = 0;
    for op in [Op::Open, Op::Look, Op::Read, Op::Lock] {
        for call in 1.. {
            let sim = bench.sim.fork();
            let before = sim.calls_of(op);
            sim.fail_op(op, before + call, Failure::Io, Times::Once);
            let result = replay(&sim, Until::End, To::InPlace);
            if sim.calls_of(op) < before + call {
                break;
            }
            failed += u32::from(result.is_err());
            let about = format!("{op:?} {call}: {result:?}");
            bench.check(&sim, &about);
            bench.finish(&sim.crash(call), To::InPlace, &about);
        }
    }
    assert!(failed > 20, "{failed} failed");
}

fn segment(number: u32) -> PathBuf {
    Path::new(LOG).join(format!("{number:08x}.wal"))
}

/// Has the segment say that replay begins with it, as after a checkpoint: else the log would be incomplete without those before it.
fn begin_redo_at(sim: &Sim, number: u32) {
    let mut bytes = sim.bytes(&segment(number)).unwrap();
    let header = SegmentHeader::from_either(&bytes).unwrap();
    let header = SegmentHeader { redo_lsn: Lsn::new(number, RECORDS_START as u32), ..header }.encode();
    for copy in [0, TWIN] {
        bytes[copy..copy + HEADER_LEN].copy_from_slice(&header);
    }
    sim.put(&segment(number), &bytes).unwrap();
}

#[test]
fn what_was_interrupted_is_not_finished_by_a_log_that_has_lost_its_beginning() {
    let (mut refused, mut finished) = (0, 0);
    for seed in 10..14 {
        let bench = Bench::replayed(5, seed);
        for call in 1.. {
            let sim = bench.sim.fork();
            sim.cut_before(call);
            let _ = replay(&sim, Until::End, To::InPlace);
            if !sim.is_off() {
                break;
            }
            for crash in 0..8 {
                let after = sim.crash(crash);
                let said = bench.check(&after, "after the cut").expect("a sidecar");
                let begins = Lsn(bench.commits[5].1);
                let disk = after.disk();
                for number in 1..begins.segment() {
                    disk.remove(&segment(number)).unwrap();
                }
                begin_redo_at(&after, begins.segment());
                match replay(&after, Until::End, To::InPlace) {
                    Ok(()) => finished += 1,
                    Err(error) => {
                        assert_eq!((said.state, error.exit_code()), (State::Replaying, 7), "{error}");
                        assert!(error.to_string().contains("--output NEW"), "{error}");
                        refused += 1;
                        continue;
                    }
                }
                let target = after.bytes(Path::new(TARGET));
                assert!(target.as_ref() == Some(bench.last().1), "seed {seed}, call {call}, crash {crash}");
            }
        }
    }
    assert!(refused > 50 && finished > 50, "{refused} refused, {finished} finished");
}
