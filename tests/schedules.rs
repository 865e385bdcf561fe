//! Group commit under a scheduler that tries interleavings: `RUSTFLAGS="--cfg shuttle" cargo test --test schedules`. Without that flag
//! there is nothing here.
//!
//! A schedule that fails is printed by shuttle, and replayed by `shuttle::replay`. `WALTOOL_SCHEDULES` sets how many are tried, of
//! all kinds together.
#![cfg(shuttle)]

#[path = "between/mod.rs"]
mod between;
#[macro_use]
#[path = "support/figure.rs"]
mod figure;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as StdMutex};

use between::Between;
use shuttle::thread;
use waltool::formats::native::layout::Lsn;
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{Disk, Sim};
use waltool::wal::{Durability, Options, Ticket, Wal, WalError};
use waltool::{Error, Log, Report, Scan, Verdict};

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
        Self::on(sim.disk(), sim, options)
    }

    /// A new log on `disk`, which leads to the simulated one.
    fn on(disk: Disk, sim: Sim, options: Options) -> Arc<Self> {
        sim.disk().create_folder(Path::new(LOG), 0o700).expect("a folder");
        let wal = options.disk(disk).open(LOG).expect("a new log");
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

    /// Submits a transaction. `self.told` says when it is durable.
    fn submit(&self, name: u8) -> Result<Ticket, WalError> {
        let mut transaction = self.wal.begin();
        transaction.data(&[name]);
        transaction.submit()
    }

    fn told(&self, name: u8) {
        self.acknowledged.lock().expect("no panic").insert(name);
    }

    /// What was acknowledged survives a power cut now; whoever is at work is interrupted anywhere.
    fn cut_now(&self, seed: u64) {
        let acknowledged = self.acknowledged.lock().expect("no panic").clone();
        if acknowledged.is_empty() {
            return;
        }
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

/// Random and priority-bounded schedules, so many of each.
fn try_schedules(count: usize, run: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(run.clone(), count);
    shuttle::check_pct(run, count, 3);
}

type Work = Box<dyn FnOnce() + Send>;

/// Runs these threads to their end.
fn run_all(threads: Vec<Work>) {
    let threads: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn whatever_the_schedule_a_refused_checkpoint_holds_nobody_up() {
    let count = schedules() / 32;
    try_schedules(count, || {
        let run = Run::new(Sim::new(1), Options::new().zero_fill(false));
        let commits = |name: u8| {
            let run = run.clone();
            Box::new(move || {
                for round in 0..2 {
                    run.commit(10 * name + round, Durability::Durable).expect("nothing fails");
                }
            }) as Work
        };
        let checked = run.clone();
        let refused = Box::new(move || {
            for _ in 0..2 {
                let refused = checked.wal.checkpoint(Lsn(u64::MAX), 0);
                assert!(matches!(refused, Err(WalError::Stopped(Error::Usage(_)))), "{refused:?}");
            }
        });
        run_all(vec![commits(0), commits(1), refused]);
        assert_eq!(whole(&run.sim.kill()).len(), 4);
    });
    figure!("{} schedules of 2 threads and a checkpoint that is refused", 2 * count);
}

#[test]
fn whatever_the_schedule_buffered_commits_over_rotations_hold_nobody_up() {
    let count = schedules() / 32;
    try_schedules(count, || {
        let run = Run::new(Sim::new(1), small());
        let commits = |name: u8, durability| {
            let run = run.clone();
            Box::new(move || {
                for round in 0..3 {
                    run.commit(10 * name + round, durability).expect("nothing fails");
                }
            }) as Work
        };
        run_all(vec![
            commits(0, Durability::Buffered),
            commits(1, Durability::Durable),
            commits(2, Durability::Durable),
        ]);
        run.wal.sync().expect("nothing fails");
        assert_eq!(whole(&run.sim.crash(1)).len(), 9);
    });
    figure!("{} schedules of buffered and durable commits over rotations", 2 * count);
}

/// Each checkpoint is about the thread's own last commit, and the segments that one removes are none that another is about to remove.
#[test]
fn whatever_the_schedule_checkpoints_at_the_same_time_are_all_done() {
    let count = schedules() / 32;
    try_schedules(count, || {
        let number = RUNS.fetch_add(1, Relaxed);
        let sim = Sim::new(number);
        // Threads take turns at the calls of the disk, too.
        let disk = Between::every(sim.disk(), 1, thread::yield_now);
        let run = Run::on(Arc::new(disk), sim, small());
        let checkpoints = |name: u8| {
            let run = run.clone();
            Box::new(move || {
                for round in 0..2 {
                    let lsn = run.commit(10 * name + round, Durability::Durable).expect("nothing fails");
                    run.wal.checkpoint(lsn, 0).expect("nothing fails");
                    assert!(run.wal.redo_lsn() > lsn);
                }
            }) as Work
        };
        run_all(vec![checkpoints(0), checkpoints(1), checkpoints(2)]);
        let crashed = run.sim.crash(number);
        let wal = Options::new().disk(crashed.disk()).open(LOG).expect("a log that a crash left");
        assert_eq!(wal.redo_lsn(), run.wal.redo_lsn());
    });
    figure!("{} schedules of 3 threads with checkpoints", 2 * count);
}

/// The disk panics in the middle of a thread's work. That thread has the panic, all others an error, and nobody waits for ever.
#[test]
fn whatever_the_schedule_a_panic_of_the_disk_is_told_to_all() {
    let count = schedules() / 16;
    try_schedules(count / 2, || {
        let number = RUNS.fetch_add(1, Relaxed);
        let sim = Sim::new(number);
        let disk = Between::new(sim.disk(), 0, || resume_unwind(Box::new("the disk")));
        let run = Run::on(
            Arc::new(disk.clone()),
            sim,
            if number % 2 == 0 { small() } else { Options::new().zero_fill(false) },
        );
        disk.after(1 + number / 2 % 40);
        let calls = |name: u8| {
            let run = run.clone();
            Box::new(move || {
                let mut ended = false;
                for round in 0..3 {
                    let call = AssertUnwindSafe(|| match name {
                        2 if round == 1 => run.wal.sync(),
                        _ => run.commit(10 * name + round, Durability::Durable).map(drop),
                    });
                    match catch_unwind(call) {
                        Ok(Ok(())) => assert!(!ended, "a log that failed goes on"),
                        Ok(Err(WalError::DurabilityUnknown { .. })) | Err(_) => ended = true,
                        Ok(Err(error)) => panic!("{error}"),
                    }
                }
            }) as Work
        };
        run_all(vec![calls(0), calls(1), calls(2)]);
        if disk.happened() {
            assert!(matches!(run.wal.sync(), Err(WalError::DurabilityUnknown { .. })));
        }
        run.cut_now(number);
    });
    figure!("{} schedules with a disk that panics", count);
}

/// What a thread had in its hands when it panicked was never committed, and holds nobody up.
#[test]
fn whatever_the_schedule_a_thread_that_panics_with_a_transaction_holds_nobody_up() {
    let count = schedules() / 64;
    try_schedules(count, || {
        let run = Run::new(Sim::new(1), small());
        let commits = |name: u8| {
            let run = run.clone();
            Box::new(move || {
                run.commit(name, Durability::Durable).expect("nothing fails");
            }) as Work
        };
        let panicking = run.clone();
        let panics = Box::new(move || {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let mut transaction = panicking.wal.begin();
                transaction.data(&[99]);
                panicking.commit(2, Durability::Buffered).expect("nothing fails");
                resume_unwind(Box::new(()));
            }));
            assert!(panicked.is_err());
            panicking.commit(3, Durability::Durable).expect("nothing fails");
        });
        run_all(vec![commits(0), commits(1), panics]);
        let mut all = whole(&run.sim.kill());
        all.sort();
        assert_eq!(all, [0, 1, 2, 3]);
    });
    figure!("{} schedules with a thread that panics", 2 * count);
}

/// A ticket is waited for, one is awaited, and one is dropped, beside a thread that commits. Then the log is dropped: whatever was submitted
/// is on the disk.
#[test]
fn whatever_the_schedule_what_is_submitted_becomes_durable() {
    let count = schedules() / 32;
    for options in [Options::new().zero_fill(false), small()] {
        try_schedules(count / 2, move || {
            let number = RUNS.fetch_add(1, Relaxed);
            let run = Run::new(Sim::new(number), options.clone());
            let here = || run.clone();
            let (waits, awaits, drops, commits) = (here(), here(), here(), here());
            run_all(vec![
                Box::new(move || {
                    let (first, second) = (waits.submit(0).expect("a ticket"), waits.submit(1).expect("a ticket"));
                    let lsn = second.wait().expect("nothing fails");
                    assert!(lsn < waits.wal.durable_lsn() && first.lsn() < lsn);
                    (0..2).for_each(|name| waits.told(name));
                    waits.cut_now(number);
                    // It came before one that is durable.
                    assert!(shuttle::future::block_on(first).expect("nothing fails") < lsn);
                }) as Work,
                Box::new(move || {
                    let ticket = awaits.submit(10).expect("a ticket");
                    let lsn = ticket.lsn();
                    assert_eq!(shuttle::future::block_on(ticket).expect("nothing fails"), lsn);
                    assert!(lsn < awaits.wal.durable_lsn());
                    awaits.told(10);
                    awaits.cut_now(number);
                }),
                Box::new(move || drop(drops.submit(20).expect("a ticket"))),
                Box::new(move || {
                    commits.commit(30, Durability::Durable).expect("nothing fails");
                }),
            ]);
            let Run { sim, wal, .. } = Arc::into_inner(run).expect("all threads have ended");
            if number % 2 == 0 {
                drop(wal)
            } else {
                wal.close().expect("nothing fails")
            }
            let mut all = whole(&sim.crash(number));
            all.sort();
            assert_eq!(all, [0, 1, 10, 20, 30]);
        });
    }
    figure!("{} schedules of tickets beside commits", 2 * count);
}

/// Whoever only has tickets depends on the helper: nobody else leads.
#[test]
fn whatever_the_schedule_the_helper_leads_what_nobody_waits_for() {
    let count = schedules() / 64;
    try_schedules(count, || {
        let number = RUNS.fetch_add(1, Relaxed);
        let run = Run::new(Sim::new(number), if number % 2 == 0 { small() } else { Options::new().zero_fill(false) });
        let futures = |name: u8| {
            let run = run.clone();
            Box::new(move || {
                for round in 0..2 {
                    let ticket = run.submit(10 * name + round).expect("a ticket");
                    shuttle::future::block_on(ticket).expect("nothing fails");
                    run.told(10 * name + round);
                    // A checkpoint may have removed what it was about.
                    if number % 4 != 1 {
                        run.cut_now(number);
                    }
                }
            }) as Work
        };
        let checked = run.clone();
        let beside = Box::new(move || {
            let lsn = checked.commit(99, Durability::Buffered).expect("nothing fails");
            match number % 4 {
                0 => checked.wal.sync().expect("nothing fails"),
                1 => checked.wal.checkpoint(lsn, 0).expect("nothing fails"),
                2 => checked.wal.wait_durable(lsn).expect("nothing fails"),
                _ => {
                    let ticket = checked.wal.when_durable(lsn).expect("a ticket");
                    assert_eq!(shuttle::future::block_on(ticket).expect("nothing fails"), lsn);
                }
            }
            assert!(lsn < checked.wal.durable_lsn());
            checked.wal.wait_durable(lsn).expect("it is durable already");
            assert!(checked.wal.wait_durable(Lsn(u64::MAX)).is_err());
        });
        run_all(vec![futures(0), futures(1), beside]);
    });
    figure!("{} schedules of futures alone", 2 * count);
}

/// The watermark never promises what a power cut at that moment takes.
#[test]
fn whatever_the_schedule_what_lies_below_the_durable_lsn_survives() {
    let count = schedules() / 32;
    try_schedules(count, || {
        let number = RUNS.fetch_add(1, Relaxed);
        let run = Run::new(Sim::new(number), if number % 2 == 0 { small() } else { Options::new().zero_fill(false) });
        let (first, second, looks) = (run.clone(), run.clone(), run.clone());
        let committed = Arc::new(StdMutex::new(Vec::new()));
        let seen = committed.clone();
        run_all(vec![
            Box::new(move || {
                for name in 0..3 {
                    let lsn = first.commit(name, [Durability::Written, Durability::Buffered][number as usize % 2]);
                    committed.lock().expect("no panic").push((name, lsn.expect("nothing fails")));
                }
                first.wal.sync().expect("nothing fails");
            }) as Work,
            Box::new(move || {
                second.commit(10, Durability::Durable).expect("nothing fails");
                second.submit(11).expect("a ticket").wait().expect("nothing fails");
            }),
            Box::new(move || {
                let mut before = looks.wal.durable_lsn();
                for look in 0..4 {
                    thread::yield_now();
                    let durable = looks.wal.durable_lsn();
                    assert!(before <= durable, "{before} to {durable}");
                    before = durable;
                    let known = seen.lock().expect("no panic").clone();
                    known.iter().filter(|(_, lsn)| *lsn < durable).for_each(|(name, _)| looks.told(*name));
                    looks.cut_now(number + look);
                }
            }),
        ]);
    });
    figure!("{} schedules of the durable LSN", 2 * count);
}

/// A disk that fails or panics: every ticket ends with an error or is durable, and the log can be dropped.
#[test]
fn whatever_the_schedule_a_failure_is_told_to_all_who_have_tickets() {
    let count = schedules() / 32;
    try_schedules(count, || {
        let number = RUNS.fetch_add(1, Relaxed);
        let sim = Sim::new(number);
        let panics = number % 2 == 0;
        let disk = Between::new(sim.disk(), 0, || resume_unwind(Box::new("the disk")));
        let run = Run::on(Arc::new(disk.clone()), sim.clone(), Options::new().zero_fill(false));
        if panics {
            disk.after(1 + number / 2 % 40);
        } else {
            sim.fail_op(Op::Sync, sim.calls_of(Op::Sync) + 1 + number % 5, Failure::Io, Times::Once);
        }
        let threads = |name: u8| {
            let run = run.clone();
            Box::new(move || {
                for round in 0..2 {
                    let name = 10 * name + round;
                    let call = AssertUnwindSafe(|| {
                        let ticket = run.submit(name)?;
                        match name {
                            0..10 => ticket.wait(),
                            10..20 => shuttle::future::block_on(ticket),
                            _ => Ok(ticket.lsn()),
                        }
                    });
                    match catch_unwind(call) {
                        Ok(Ok(_)) if name < 20 => run.told(name),
                        Ok(Ok(_)) | Ok(Err(WalError::DurabilityUnknown { .. })) | Err(_) => {}
                        Ok(Err(error)) => panic!("{error}"),
                    }
                }
            }) as Work
        };
        run_all(vec![threads(0), threads(1), threads(2)]);
        sim.heal();
        run.cut_now(number);
        drop(Arc::into_inner(run).expect("all threads have ended"));
    });
    figure!("{} schedules of tickets on a disk that fails or panics", 2 * count);
}

/// A future that owns the log may be dropped by its waker, on the helper.
#[test]
fn whatever_the_schedule_a_log_that_its_own_waker_drops_ends() {
    struct Last(StdMutex<Option<Arc<Run>>>);
    impl std::task::Wake for Last {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().expect("no panic").take());
        }
    }
    let count = schedules() / 64;
    try_schedules(count, || {
        let sim = Sim::new(1);
        let run = Run::new(sim.clone(), Options::new().zero_fill(false));
        let mut ticket = run.submit(1).expect("a ticket");
        let other = run.submit(2).expect("a ticket");
        let waker = Arc::new(Last(StdMutex::new(Some(run)))).into();
        let mut context = std::task::Context::from_waker(&waker);
        let _ = std::pin::Pin::new(&mut ticket).poll(&mut context);
        drop(waker);
        ticket.wait().expect("nothing fails");
        other.wait().expect("nothing fails");
    });
    figure!("{} schedules of a log that is dropped by a waker", 2 * count);
}
