//! Many threads and one log, at full speed, on the system's own files: nobody waits for ever, nothing is lost, and nothing is there that was
//! never committed.
//!
//! `WALTOOL_STRESS_SECONDS=1800 cargo test --release --test stress -- --nocapture` goes on for so long; 20 without it.

#[path = "between/mod.rs"]
mod between;
#[macro_use]
#[path = "support/figure.rs"]
mod figure;
#[path = "support/watchdog.rs"]
mod watchdog;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use between::Between;
use waltool::formats::native::layout::Lsn;
use waltool::vfs::{Sim, Vfs};
use waltool::wal::{Durability, Entry, Options, Result, Ticket, Wal, WalError};
use waltool::{Error, Log, Report, Verdict};
use watchdog::Watchdog;

/// What no transaction that was committed holds.
const NEVER: &[u8] = b"never";

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One thread, over all rounds: it numbers its transactions.
#[derive(Clone, Default)]
struct Author {
    name: u64,
    /// The last number that was committed, and where.
    number: u64,
    lsn: Lsn,
}

impl Author {
    fn next<W: std::ops::Deref<Target = Wal>>(
        &mut self,
        mut transaction: waltool::wal::Transaction<W>,
    ) -> waltool::wal::Transaction<W> {
        self.number += 1;
        transaction.data(&[self.name.to_le_bytes(), self.number.to_le_bytes()].concat());
        transaction
    }

    fn submit(&mut self, wal: &Wal) -> Result<Ticket> {
        let ticket = self.next(wal.begin()).submit()?;
        self.lsn = ticket.lsn();
        Ok(ticket)
    }

    /// One of all the things that a program can do.
    fn step(&mut self, wal: &Arc<Wal>, chance: &mut Chance) -> Result<()> {
        match chance.below(24) {
            0..12 => {
                let durability = [Durability::Durable, Durability::Written, Durability::Buffered];
                self.lsn = self.next(wal.begin()).commit_with(durability[chance.below(3) as usize])?;
            }
            12 => {
                let lsn = self.submit(wal)?.wait()?;
                assert!(lsn < wal.durable_lsn());
            }
            13 => {
                let lsn = block_on(self.submit(wal)?)?;
                assert!(lsn < wal.durable_lsn());
            }
            14 => drop(self.submit(wal)?),
            15 => {
                let tickets: Vec<_> = (0..8).map(|_| self.submit(wal)).collect::<Result<_>>()?;
                let (odd, even): (Vec<_>, Vec<_>) = tickets.into_iter().partition(|ticket| ticket.lsn().0 % 32 == 0);
                odd.into_iter().try_for_each(|ticket| ticket.wait().map(drop))?;
                even.into_iter().try_for_each(|ticket| block_on(ticket).map(drop))?;
            }
            16 => {
                // The transaction owns the log, and is committed elsewhere.
                let transaction = self.next(wal.begin_owned());
                self.lsn = thread::spawn(move || transaction.commit()).join().expect("no panic")?;
            }
            17 => wal.sync()?,
            18 => {
                wal.wait_durable(self.lsn)?;
                assert!(self.lsn < wal.durable_lsn() || self.lsn == Lsn(0));
            }
            19 => drop(block_on(wal.when_durable(self.lsn)?)?.to_string()),
            20 => {
                let refused = wal.checkpoint(Lsn(u64::MAX), 0);
                assert!(matches!(refused, Err(WalError::Stopped(Error::Usage(_)))), "{refused:?}");
            }
            21 => {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let mut transaction = wal.begin();
                    transaction.data(NEVER);
                    let _ticket = self.submit(wal).expect("a ticket");
                    resume_unwind(Box::new(()));
                }));
                assert!(panicked.is_err());
            }
            22 => {
                let mut transaction = wal.begin();
                transaction.data(NEVER).write(u64::MAX, NEVER);
                assert!(matches!(transaction.commit(), Err(WalError::Transaction(_))));
            }
            _ if chance.below(10) == 0 => {
                self.lsn = self.next(wal.begin()).commit()?;
                wal.checkpoint(self.lsn, 0)?;
            }
            _ => {
                let committed = wal.committed(wal.durable_lsn());
                // A checkpoint may have removed where that is.
                assert!(matches!(
                    &committed,
                    Ok(_) | Err(WalError::Stopped(Error::Refused { .. } | Error::Read { .. }))
                ));
            }
        }
        Ok(())
    }
}

/// What an opened log holds is what its authors have committed.
fn check(wal: &Wal, authors: &[Author]) {
    assert_eq!(wal.durable_lsn(), wal.recovery().end);
    let redo_lsn = wal.redo_lsn();
    let committed = wal.committed(redo_lsn).expect("it is opened");
    let mut entries = committed.entries();
    let mut last = BTreeMap::new();
    while let Some(logged) = entries.next().expect("readable") {
        let Entry::Data(bytes) = logged.entry else { continue };
        assert_ne!(bytes, NEVER);
        let (name, number) = bytes.split_at(8);
        let [name, number] = [name, number].map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
        if let Some(before) = last.insert(name, number) {
            assert_eq!(number, before + 1, "of author {name}");
        }
    }
    for Author { name, number, lsn } in authors {
        assert!(*lsn < redo_lsn || last.get(name) == Some(number), "author {name}: {number} at {lsn} of {last:?}");
    }
}

/// One life of the log: opened, written by threads, and closed or dropped.
fn round(path: &Path, number: u64, authors: &mut [Author], watchdog: &Watchdog) {
    let segment = [9_000, 100_000, 4 << 20][number as usize % 3];
    let unsynced = if number % 4 == 3 { 20_000 } else { u64::MAX };
    let wal =
        Options::new().segment_bytes(segment).unsynced_max(unsynced).open(path).expect("what the last round left");
    check(&wal, authors);
    let wal = Arc::new(wal);
    let watched = Arc::downgrade(&wal);
    watchdog.watch(move || format!("round {number}: {:#?}", watched.upgrade()));
    let threads = if number.is_multiple_of(2) { 64 } else { 7 };
    thread::scope(|scope| {
        for author in &mut authors[..threads] {
            let wal = wal.clone();
            scope.spawn(move || {
                let mut chance = Chance((number + 1) * 7919 + author.name * 104_729 + 1);
                for _ in 0..40 {
                    author.step(&wal, &mut chance).expect("nothing fails");
                    watchdog.pat();
                }
            });
        }
    });
    watchdog.watch(move || format!("round {number}, at its end"));
    let wal = Arc::into_inner(wal).expect("all threads have ended");
    if number.is_multiple_of(2) {
        wal.close().expect("nothing fails")
    } else {
        drop(wal)
    }
    watchdog.pat();
    let report = Report::of(&Log::open(path, None).expect("a log"), |_| ()).expect("readable");
    assert!(matches!(report.verdict(), Verdict::Clean | Verdict::TornTail), "{report:?}");
}

#[test]
fn many_threads_do_all_there_is_and_nothing_hangs_or_is_lost() {
    let seconds = std::env::var("WALTOOL_STRESS_SECONDS").map_or(20, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let end = Instant::now() + Duration::from_secs(seconds);
    let watchdog = Watchdog::new();
    let mut authors: Vec<_> = (0..64).map(|name| Author { name, ..Author::default() }).collect();
    let mut rounds = 0;
    while rounds < 3 || Instant::now() < end {
        round(&folder.path().join("log"), rounds, &mut authors, &watchdog);
        rounds += 1;
    }
    let transactions: u64 = authors.iter().map(|author| author.number).sum();
    figure!("{transactions} transactions in {rounds} rounds, 0 hangs");
}

/// The disk panics at one call. The thread that made it has the panic, all others are told of a failure, and all that was acknowledged
/// is there.
#[test]
fn a_disk_that_panics_at_any_call_holds_nobody_up() {
    let watchdog = Watchdog::new();
    let panics = AtomicU64::new(0);
    for n in 1..=60 {
        let sim = Sim::new(n);
        sim.create_folder(Path::new("/log"), 0o700).expect("a folder");
        let disk = Between::new(sim.disk(), 0, || resume_unwind(Box::new("the disk")));
        let segment = if n % 2 == 0 { 8500 } else { 1 << 20 };
        let wal = Options::new().segment_bytes(segment).disk(Arc::new(disk.clone())).open("/log").expect("a new log");
        disk.after(n);
        let wal = Arc::new(wal);
        let watched = Arc::downgrade(&wal);
        watchdog.watch(move || format!("a panic at call {n}: {:#?}", watched.upgrade()));
        let acknowledged: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u64)
                .map(|thread| {
                    let (wal, panics) = (&wal, &panics);
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        for number in 0..6 {
                            let mut transaction = wal.begin();
                            transaction.data(&(10 * thread + number).to_le_bytes());
                            let call = AssertUnwindSafe(|| match thread % 3 {
                                0 => transaction.commit(),
                                1 => transaction.submit()?.wait(),
                                _ => block_on(transaction.submit()?),
                            });
                            match catch_unwind(call) {
                                Ok(Ok(_)) => acknowledged.push(10 * thread + number),
                                Ok(Err(WalError::DurabilityUnknown { .. })) => {}
                                Ok(Err(error)) => panic!("{error}"),
                                Err(_) => drop(panics.fetch_add(1, Relaxed).to_string()),
                            }
                        }
                        acknowledged
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        drop(wal);
        watchdog.pat();
        let wal = Options::new().disk(sim.crash(n).disk()).open("/log").expect("what a crash left");
        let committed = wal.committed(wal.redo_lsn()).expect("it is opened");
        let mut entries = committed.entries();
        let mut survived = Vec::new();
        while let Some(logged) = entries.next().expect("readable") {
            let Entry::Data(bytes) = logged.entry else { continue };
            survived.push(u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
        }
        assert!(acknowledged.iter().all(|one| survived.contains(one)), "{acknowledged:?} of {survived:?}");
    }
    let panics = panics.into_inner();
    assert!(panics >= 10, "{panics} panics");
    figure!("60 disks that panic, {panics} panics met by threads that commit");
}
