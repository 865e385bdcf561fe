//! Group commit under a scheduler that tries interleavings: `RUSTFLAGS="--cfg shuttle" cargo test --test schedules`. Without that flag
//! there is nothing here.
//!
//! A schedule that fails is printed by shuttle, and replayed by `shuttle::replay`. `WALTOOL_SCHEDULES` sets how many are tried, of
//! all kinds together.
#![cfg(shuttle)]

#[macro_use]
#[path = "support/figure.rs"]
mod figure;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as StdMutex};

use shuttle::thread;
use waltool::formats::native::layout::Lsn;
use waltool::vfs::Sim;
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::wal::{Durability, Options, Wal, WalError};
use waltool::{Log, Report, Scan, Verdict};

const LOG: &str = "/log";

fn schedules() -> usize {
    std::env::var("WALTOOL_SCHEDULES").map_or(100_000, |text| text.parse().expect("a number"))
}

/// What a log holds for good: the data of its whole transactions, by an own reading of the scan.
fn whole(sim: &Sim) -> Vec<u8> {
    let log = Log::open_on(&sim.disk(), Path::new(LOG), None).expect("a log");
    let report = Report::of(&log, |_| ()).expect("readable");
    assert!(matches!(report.verdict(), Verdict::Clean | Verdict::TornTail), "{report:?}");
    let end = report.prefix.committed;
    let mut scan = Scan::new(&log);
    let mut found = Vec::new();
    while let Some(span) = scan.next().expect("readable") {
        let Some(record) = span.record else { continue };
        if end.is_some_and(|end| record.meta.lsn < end) && record.meta.commit.is_none() && record.payload.len() == 1 {
            found.push(record.payload[0]);
        }
    }
    found
}

/// One run: threads that commit, with what was acknowledged as durable.
struct Run {
    sim: Sim,
    wal: Wal,
    acknowledged: StdMutex<BTreeSet<u8>>,
}

impl Run {
    fn new(sim: Sim, options: Options) -> Arc<Self> {
        sim.disk().create_folder(Path::new(LOG), 0o700).expect("a folder");
        let wal = options.disk(sim.disk()).open(LOG).expect("a new log");
        Arc::new(Self { sim, wal, acknowledged: StdMutex::default() })
    }

    fn commit(&self, name: u8, durability: Durability) -> Result<Lsn, WalError> {
        let mut transaction = self.wal.begin();
        transaction.data(&[name]);
        let lsn = transaction.commit_with(durability)?;
        if durability == Durability::Durable {
            self.acknowledged.lock().expect("no panic").insert(name);
        }
        Ok(lsn)
    }

    /// What was acknowledged survives a power cut now; whoever is at work is interrupted anywhere.
    fn cut_now(&self, seed: u64) {
        let acknowledged = self.acknowledged.lock().expect("no panic").clone();
        let survived: BTreeSet<u8> = whole(&self.sim.crash(seed)).into_iter().collect();
        assert!(acknowledged.is_subset(&survived), "{acknowledged:?} acknowledged, {survived:?} survived, seed {seed}");
    }
}

/// Segments that hold one or two transactions, so that threads meet at rotations as well.
fn small() -> Options {
    Options::new().segment_bytes(8192 + 300).zero_fill(false)
}

static RUNS: AtomicU64 = AtomicU64::new(0);

/// Three threads, each with its own kind of call.
fn threads_meet(options: Options) {
    let number = RUNS.fetch_add(1, Relaxed);
    let run = Run::new(Sim::new(number), options);
    let threads: Vec<_> = (0..3_u8)
        .map(|thread| {
            let run = run.clone();
            thread::spawn(move || {
                let first = run.commit(10 * thread, Durability::Durable).expect("nothing fails");
                match thread {
                    0 => run.wal.sync().expect("nothing fails"),
                    1 => drop(run.commit(91, Durability::Buffered).expect("nothing fails")),
                    _ => drop(run.commit(92, Durability::Written).expect("nothing fails")),
                }
                let second = run.commit(10 * thread + 1, Durability::Durable).expect("nothing fails");
                assert!(second > first);
                if number % 3 == u64::from(thread) {
                    run.cut_now(number);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    // All are there, once, and in the order of their threads.
    let all = whole(&run.sim.kill());
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(sorted, [0, 1, 10, 11, 20, 21, 91, 92]);
    for first in [0, 10, 20] {
        let at = |name| all.iter().position(|&other| other == name);
        assert!(at(first) < at(first + 1));
    }
}

#[test]
fn whatever_the_schedule_what_is_acknowledged_survives_and_nobody_waits_for_ever() {
    shuttle::check_random(|| threads_meet(Options::new().zero_fill(false)), schedules() / 4);
    shuttle::check_pct(|| threads_meet(Options::new().zero_fill(false)), schedules() / 8, 3);
    figure!("{} schedules of 3 threads", schedules() / 4 + schedules() / 8);
}

#[test]
fn whatever_the_schedule_rotations_lose_nothing() {
    shuttle::check_random(|| threads_meet(small()), schedules() / 8);
    shuttle::check_pct(|| threads_meet(small()), schedules() / 8, 3);
    figure!("{} schedules of 3 threads with rotations", schedules() / 4);
}

#[test]
fn two_threads_in_every_interleaving() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let schedules = schedules() / 4;
    shuttle::check_dfs(
        move || {
            let seed = counted.fetch_add(1, Relaxed);
            let run = Run::new(Sim::new(1), Options::new().zero_fill(false));
            run.commit(9, Durability::Durable).expect("nothing fails");
            let threads: Vec<_> = (0..2)
                .map(|name| {
                    let run = run.clone();
                    thread::spawn(move || {
                        run.commit(name, Durability::Durable).expect("nothing fails");
                        run.cut_now(seed);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        },
        Some(schedules),
    );
    let count = count.load(Relaxed);
    let all = if count < schedules as u64 { "all" } else { "the first" };
    figure!("{all} {count} interleavings of 2 threads");
}

/// The sync that fails is told to everybody whom it concerns, and nobody is told that all is well afterwards.
#[test]
fn whatever_the_schedule_a_failed_sync_is_told_to_all_who_wait() {
    shuttle::check_random(
        || {
            let number = RUNS.fetch_add(1, Relaxed);
            let sim = Sim::new(number);
            let run = Run::new(sim.clone(), Options::new().zero_fill(false));
            run.commit(99, Durability::Durable).expect("nothing fails yet");
            sim.fail_op(Op::Sync, sim.calls_of(Op::Sync) + 1 + number % 3, Failure::Io, Times::Once);
            let threads: Vec<_> = (0..3)
                .map(|name| {
                    let run = run.clone();
                    thread::spawn(move || {
                        let mut failed = false;
                        for round in 0..2 {
                            match run.commit(10 * name + round, Durability::Durable) {
                                Ok(_) => assert!(!failed, "a writer that failed goes on"),
                                Err(WalError::DurabilityUnknown { from, to, .. }) => {
                                    assert!(from < to, "{from} to {to}");
                                    failed = true;
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                        failed
                    })
                })
                .collect();
            let failed: Vec<bool> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
            if failed.contains(&true) {
                assert!(matches!(run.wal.sync(), Err(WalError::DurabilityUnknown { .. })));
            }
            sim.heal();
            run.cut_now(number);
        },
        schedules() / 8,
    );
    figure!("{} schedules with a sync that fails", schedules() / 8);
}
