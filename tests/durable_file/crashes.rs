//! On a simulated disk: power cuts, calls that fail, a full disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use waltool::Error;
use waltool::vfs::Sim;
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::wal::{Durability, DurableFile, Options, Result, WalError};

/// The file on the simulated disk, after so many transactions; `None` where it does not exist.
type State = Option<Vec<u8>>;

fn path() -> &'static Path {
    Path::new("/totals")
}

fn found(sim: &Sim) -> State {
    sim.bytes(path())
}

/// What transaction `number` does: a head over several sectors, a place of its own, and now and then a cut. No two states are the same.
fn change(number: usize) -> (Vec<u8>, (u64, Vec<u8>), Option<u64>) {
    let own = (900 + number as u64 * 300, vec![100 + number as u8; 400]);
    (vec![number as u8; 1300], own, number.is_multiple_of(3).then_some(1100 + number as u64))
}

fn states(count: usize) -> Vec<State> {
    let mut bytes = Vec::new();
    let mut put = |offset: usize, part: &[u8], cut: Option<u64>| {
        let len = bytes.len().max(offset + part.len());
        bytes.resize(len, 0);
        bytes[offset..offset + part.len()].copy_from_slice(part);
        bytes.resize(cut.unwrap_or(bytes.len() as u64) as usize, 0);
        bytes.clone()
    };
    let mut states = vec![None];
    for number in 1..=count {
        let (head, own, cut) = change(number);
        put(0, &head, None);
        states.push(Some(put(own.0 as usize, &own.1, cut)));
    }
    states
}

/// So many does a whole run commit.
const TRANSACTIONS: usize = 8;

/// What a run has done, as its program knows it. All numbers count transactions.
#[derive(Clone, Debug, Default)]
struct Progress {
    begun: usize,
    /// Durable, as the library said.
    acknowledged: usize,
    /// The file was at this when the last checkpoint or opening had returned,
    published: usize,
    /// and will be at this after the one that runs.
    next: usize,
}

impl Progress {
    fn commit(&mut self, file: &DurableFile) -> Result<()> {
        self.commit_with(file, Durability::Durable)?;
        self.acknowledged = self.begun;
        Ok(())
    }

    fn commit_with(&mut self, file: &DurableFile, durability: Durability) -> Result<()> {
        self.begun += 1;
        let (head, own, cut) = change(self.begun);
        let mut transaction = file.begin();
        transaction.write(0, &head).write(own.0, &own.1);
        if let Some(len) = cut {
            transaction.set_len(len);
        }
        transaction.commit_with(durability).map(drop)
    }

    fn publish<T>(&mut self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.next = self.begun;
        let done = step()?;
        (self.published, self.acknowledged) = (self.next, self.next);
        Ok(done)
    }

    fn open(&mut self, sim: &Sim) -> Result<DurableFile> {
        let options = Options::new().segment_bytes(12_000).disk(sim.disk());
        self.publish(|| options.open_file(path()))
    }

    /// A program that opens the file three times: it closes it, drops it, and closes it again.
    fn run(&mut self, sim: &Sim) -> Result<()> {
        let mut file = self.open(sim)?;
        self.commit(&file)?;
        self.commit(&file)?;
        self.publish(|| file.checkpoint())?;
        self.commit(&file)?;
        self.publish(|| file.close())?;
        let file = self.open(sim)?;
        self.commit(&file)?;
        self.commit(&file)?;
        drop(file);
        let mut file = self.open(sim)?;
        self.commit(&file)?;
        self.commit_with(&file, Durability::Buffered)?;
        self.publish(|| file.checkpoint())?;
        self.commit(&file)?;
        self.publish(|| file.close())
    }

    /// The file is what it was before the checkpoint that ran, or what it is after it; gives its number.
    fn check(&self, sim: &Sim, about: &str) -> usize {
        let number = self.number(sim, about);
        assert!([self.published, self.next].contains(&number), "{about}: state {number}, after {self:?}");
        number
    }

    /// After the next opening the file has all that was acknowledged, and a further one changes nothing.
    fn check_reopened(&self, sim: &Sim, about: &str) -> usize {
        reopen(sim).unwrap_or_else(|error| panic!("{about}: {error:?}, after {self:?}"));
        let number = self.number(sim, about);
        assert!((self.acknowledged..=self.begun).contains(&number), "{about}: state {number}, after {self:?}");
        let before = sim.files();
        reopen(sim).unwrap();
        assert_eq!(sim.files(), before, "{about}: opened twice");
        number
    }

    fn number(&self, sim: &Sim, about: &str) -> usize {
        let found = found(sim);
        let number = states(self.begun).iter().position(|state| *state == found);
        number.unwrap_or_else(|| panic!("{about}: half a file, after {self:?}"))
    }
}

fn reopen(sim: &Sim) -> Result<()> {
    Progress::default().open(sim).map(drop)
}

fn whole_run(sim: &Sim) -> Progress {
    let mut progress = Progress::default();
    progress.run(sim).unwrap();
    assert_eq!((progress.acknowledged, progress.check(sim, "the whole run")), (TRANSACTIONS, TRANSACTIONS));
    progress
}

#[test]
fn a_power_cut_at_any_call_shows_and_loses_no_half_transaction() {
    let calls = {
        let sim = Sim::new(1);
        whole_run(&sim);
        sim.changes()
    };
    let mut met = BTreeMap::new();
    for cut in 1..=calls {
        let sim = Sim::new(1);
        sim.cut_before(cut);
        let mut progress = Progress::default();
        assert!(progress.run(&sim).is_err() && sim.is_off(), "the power was off at call {cut}");
        for seed in 0..8 {
            let about = format!("cut before call {cut}, crash seed {seed}");
            let crashed = sim.crash(seed);
            let at_once = progress.check(&crashed, &about);
            let again = crashed.fork();
            let then = progress.check_reopened(&crashed, &about);
            assert!(then >= at_once, "{about}: from state {at_once} back to {then}");
            *met.entry((at_once < then, then > progress.acknowledged)).or_insert(0) += 1;
            if seed == 0 {
                cut_while_opening(&again, &progress, (at_once, then), &about);
            }
        }
    }
    // The file was up to date or behind its log, and in both cases a commit that nobody had heard of was kept, or there was none.
    assert_eq!(met.len(), 4, "{calls} calls: {met:?}");
}

/// Cuts the power at every call of the opening that follows a power cut. The file is at `from`, and would come to `to`.
fn cut_while_opening(sim: &Sim, progress: &Progress, (from, to): (usize, usize), about: &str) {
    for cut in 1.. {
        let sim = sim.fork();
        sim.cut_before(cut);
        if reopen(&sim).is_ok() {
            assert!(cut > 1 || from == to, "{about}: an opening with work to do makes calls");
            break;
        }
        let about = format!("{about}; then cut before call {cut} of the opening");
        let crashed = sim.crash(cut);
        let progress = Progress { published: from, next: to, ..progress.clone() };
        let number = progress.check(&crashed, &about);
        let then = progress.check_reopened(&crashed, &about);
        assert!(then >= number, "{about}: from state {number} back to {then}");
    }
}

#[test]
fn a_call_that_fails_shows_and_loses_no_half_transaction() {
    let (calls, of_kind) = {
        let sim = Sim::new(2);
        whole_run(&sim);
        let kinds = [Op::Open, Op::Look, Op::Read, Op::Lock, Op::Random];
        (sim.changes(), kinds.map(|kind| (kind, sim.calls_of(kind))))
    };
    assert!(of_kind.iter().all(|(_, count)| *count > 0), "{of_kind:?}");
    let mut failed = 0;
    for failure in [Failure::Io, Failure::Full, Failure::Interrupted, Failure::Short] {
        for times in [Times::Once, Times::Forever] {
            for n in 1..=calls {
                let about = format!("call {n} fails {times:?}: {failure:?}");
                failed += u32::from(fails(|sim| sim.fail(n, failure, times), &about));
            }
        }
    }
    for (kind, count) in of_kind {
        for n in 1..=count {
            let about = format!("{kind:?} {n} fails");
            failed += u32::from(fails(|sim| sim.fail_op(kind, n, Failure::Io, Times::Once), &about));
        }
    }
    assert!(failed > 4 * calls as u32, "{failed} runs that failed");
}

/// Runs the program where calls fail, and says whether it noticed.
fn fails(arrange: impl FnOnce(&Sim), about: &str) -> bool {
    let sim = Sim::new(2);
    arrange(&sim);
    let mut progress = Progress::default();
    let failed = progress.run(&sim).is_err();
    progress.check(&sim, about);
    sim.heal();
    for seed in 0..2 {
        let about = format!("{about}, crash seed {seed}");
        let crashed = sim.crash(seed);
        progress.check(&crashed, &about);
        progress.check_reopened(&crashed, &about);
    }
    let killed = sim.kill();
    let then = progress.check_reopened(&killed, &format!("{about}, the process ends"));
    assert!(failed || then == TRANSACTIONS, "{about}: no error, and state {then}");
    failed
}

#[test]
fn a_checkpoint_on_a_full_disk_fails_and_a_later_one_finishes() {
    let prepared = || {
        let sim = Sim::new(3);
        let mut progress = Progress::default();
        let mut file = progress.open(&sim).unwrap();
        progress.commit(&file).unwrap();
        progress.publish(|| file.checkpoint()).unwrap();
        progress.commit(&file).unwrap();
        progress.commit(&file).unwrap();
        (sim, progress, file)
    };
    let (mut kept, mut unknown) = (0, 0);
    for n in 1.. {
        let (sim, mut progress, mut file) = prepared();
        sim.fail(sim.changes() + n, Failure::Full, Times::Forever);
        let result = progress.publish(|| file.checkpoint());
        let about = format!("the disk is full from call {n} on");
        let number = progress.check(&sim, &about);
        sim.heal();
        match result {
            Ok(()) => break,
            Err(WalError::NotApplied { path: named, .. }) => {
                assert_eq!(named, path());
                kept += u32::from(number == 1);
                progress.publish(|| file.checkpoint()).unwrap();
            }
            Err(WalError::DurabilityUnknown { .. }) => {
                unknown += 1;
                assert!(file.checkpoint().is_err(), "{about}: nothing more is claimed");
            }
            Err(WalError::Stopped(Error::Write { .. })) => progress.publish(|| file.checkpoint()).unwrap(),
            Err(error) => panic!("{about}: {error:?}"),
        }
        drop(file);
        assert_eq!(progress.check_reopened(&sim, &about), 3, "{about}");
    }
    assert!(kept > 1 && unknown > 1, "{kept} {unknown}");
}

#[test]
fn a_file_that_was_there_before_its_log_survives_a_power_cut_at_any_call_of_its_first_opening() {
    let before = vec![7; 2000];
    let sim = Sim::new(4);
    sim.put(path(), &before).unwrap();
    for cut in 1.. {
        let sim = sim.fork();
        sim.cut_before(cut);
        let done = reopen(&sim).is_ok();
        for seed in 0..8 {
            let crashed = sim.crash(seed);
            assert_eq!(found(&crashed), Some(before.clone()), "cut before call {cut}, crash seed {seed}");
            reopen(&crashed).unwrap();
            assert_eq!(found(&crashed), Some(before.clone()), "cut before call {cut}, crash seed {seed}: opened");
        }
        if done {
            assert!(cut > 10, "{cut} calls");
            break;
        }
    }
}

#[test]
fn nothing_but_the_file_and_its_log_remains() {
    let sim = Sim::new(5);
    whole_run(&sim);
    let left: Vec<PathBuf> = sim.files().into_keys().collect();
    let folders: Vec<_> = left.iter().map(|path| path.parent().unwrap().to_str().unwrap()).collect();
    assert_eq!(folders, ["/", "/totals.wal", "/totals.wal"], "{left:?}");
}
