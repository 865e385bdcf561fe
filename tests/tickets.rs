//! Tickets as a program uses them, on the system's own files. What power cuts, failures and schedules do to them is proved in `schedules` and `stress`.

#[path = "support/watchdog.rs"]
mod watchdog;

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use waltool::formats::native::layout::Lsn;
use waltool::wal::{Durability, DurableFile, Entry, Options, Ticket, Wal, WalError};
use waltool::{Error, Log, Report};
use watchdog::Watchdog;

/// One test at a time: one of them counts threads.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn submit(wal: &Wal, bytes: &[u8]) -> Ticket {
    let mut transaction = wal.begin();
    transaction.data(bytes);
    transaction.submit().expect("a ticket")
}

fn all(wal: &Wal) -> Vec<Vec<u8>> {
    let committed = wal.committed(wal.redo_lsn()).expect("it is open");
    let mut entries = committed.entries();
    let mut found = Vec::new();
    while let Some(logged) = entries.next().expect("readable") {
        if let Entry::Data(bytes) = logged.entry {
            found.push(bytes.to_vec());
        }
    }
    found
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(Mutex<usize>);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        *self.0.lock().expect("no panic") += 1;
    }
}

fn poll(ticket: &mut Ticket, waker: &Waker) -> Poll<Result<Lsn, WalError>> {
    std::pin::Pin::new(ticket).poll(&mut Context::from_waker(waker))
}

#[test]
fn tickets_are_in_the_order_of_their_submission_and_say_when_it_is_durable() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let wal = Wal::open(folder.path()).expect("a new log");
    assert_eq!(wal.durable_lsn(), wal.recovery().end);
    let tickets: Vec<_> = (0..1000_u32).map(|number| submit(&wal, &number.to_le_bytes())).collect();
    assert!(tickets.is_sorted_by_key(Ticket::lsn));
    for ticket in tickets {
        let lsn = ticket.lsn();
        assert_eq!(ticket.wait().expect("nothing fails"), lsn);
        assert!(lsn < wal.durable_lsn());
    }
    let expected: Vec<_> = (0..1000_u32).map(|number| number.to_le_bytes().to_vec()).collect();
    assert_eq!(all(&wal), expected);
}

#[test]
fn a_ticket_that_nobody_waits_for_wakes_its_task_and_is_ready() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let wal = Wal::open(folder.path()).expect("a new log");
    let mut ticket = submit(&wal, b"one");
    let (early, late) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut polled = poll(&mut ticket, &early.clone().into());
    // The last waker counts.
    if polled.is_pending() {
        polled = poll(&mut ticket, &late.clone().into());
    }
    let woken = polled.is_pending();
    wal.sync().expect("nothing fails");
    drop(wal);
    assert_eq!(*late.0.lock().expect("no panic"), usize::from(woken));
    assert_eq!(*early.0.lock().expect("no panic"), 0);
    assert!(matches!(poll(&mut ticket, Waker::noop()), Poll::Ready(Ok(lsn)) if lsn == ticket.lsn()));
}

#[test]
fn a_log_that_is_dropped_or_closed_is_free_and_its_tickets_are_true() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    for (round, close) in [false, true].into_iter().enumerate() {
        let wal = Wal::open(folder.path()).expect("the lock is free");
        let tickets: Vec<_> = (0..100).map(|_| submit(&wal, b"late")).collect();
        if close {
            wal.close().expect("nothing fails")
        } else {
            drop(wal)
        }
        let report = Report::of(&Log::open(folder.path(), None).expect("a log"), |_| ()).expect("readable");
        assert_eq!(report.prefix.transactions, 100 * (round as u64 + 1));
        let again = Wal::open(folder.path()).expect("no ticket keeps it open");
        assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
        assert_eq!(again.durable_lsn(), again.recovery().end);
    }
}

#[test]
fn a_transaction_that_owns_its_log_is_committed_where_it_was_sent() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let wal = Arc::new(Wal::open(folder.path()).expect("a new log"));
    let mut transaction = wal.begin_owned();
    transaction.data(b"here");
    drop(wal);
    let lsn = thread::spawn(move || {
        transaction.data(b"there");
        transaction.commit()
    })
    .join();
    assert!(lsn.expect("no panic").is_ok());
    assert_eq!(all(&Wal::open(folder.path()).expect("it was dropped")), [b"here".to_vec(), b"there".to_vec()]);
}

#[test]
fn a_commit_that_waited_for_less_can_be_waited_for_later() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let wal = Wal::open(folder.path()).expect("a new log");
    for durability in [Durability::Buffered, Durability::Written, Durability::Durable] {
        let mut transaction = wal.begin();
        transaction.data(b"x");
        let lsn = transaction.commit_with(durability).expect("nothing fails");
        assert_eq!(lsn < wal.durable_lsn(), durability == Durability::Durable);
        wal.wait_durable(lsn).expect("nothing fails");
        assert!(lsn < wal.durable_lsn());
        assert_eq!(wal.when_durable(lsn).expect("a ticket").wait().expect("nothing fails"), lsn);
    }
    wal.wait_durable(wal.end()).expect("the end is a position too");
    let beyond = Lsn(wal.end().0 + 1);
    assert!(matches!(wal.wait_durable(beyond), Err(WalError::Stopped(Error::Usage(_)))));
    assert!(matches!(wal.when_durable(beyond), Err(WalError::Stopped(Error::Usage(_)))));
}

/// The last 2 MiB and a transaction each are all that is not on the disk.
#[test]
fn what_was_submitted_and_is_not_on_the_disk_is_bounded() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let wal = Wal::open(folder.path()).expect("a new log");
    let bytes = vec![7; 300_000];
    let mut dropped = Lsn(0);
    for _ in 0..150 {
        dropped = submit(&wal, &bytes).lsn();
        // The log has one segment, so LSNs differ by bytes.
        let waiting = dropped.0 - wal.durable_lsn().0.max(Lsn::new(1, 0).0);
        assert!(waiting <= 2 * (1024 * 1024 + 2 * 300_000), "{waiting} bytes");
    }
    wal.wait_durable(dropped).expect("nothing fails");
    assert_eq!(dropped.segment(), 1);
}

/// The threads of this process that lead for tickets.
fn helpers() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("this is Linux");
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "waltool").count()
}

#[test]
fn a_thread_begins_with_the_first_submission_and_ends_with_the_log() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let wal = Options::new().segment_bytes(20_000).open(folder.path()).expect("a new log");
    let mut transaction = wal.begin();
    transaction.data(&[1; 30_000]);
    let lsn = transaction.commit().expect("nothing fails");
    wal.sync().expect("nothing fails");
    wal.wait_durable(lsn).expect("nothing fails");
    wal.checkpoint(lsn, 0).expect("nothing fails");
    assert_eq!(helpers(), 0);
    let ticket = submit(&wal, b"x");
    submit(&wal, b"y");
    // A thread gives itself its name, and the system shows one for a moment after it was joined.
    let watchdog = Watchdog::new();
    watchdog.watch(|| format!("{} helpers, and not 1", helpers()));
    while helpers() != 1 {
        thread::yield_now();
    }
    drop(wal);
    watchdog.watch(|| format!("{} helpers, and not 0", helpers()));
    while helpers() != 0 {
        thread::yield_now();
    }
    assert!(ticket.wait().is_ok());
}

#[test]
fn a_file_is_changed_by_what_was_submitted() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut file = DurableFile::open(&path).expect("a new file");
    let mut transaction = file.begin();
    transaction.write(0, b"submitted");
    let ticket = transaction.submit().expect("a ticket");
    file.checkpoint().expect("nothing fails");
    assert_eq!(fs::read(&path).expect("a file"), b"submitted");
    file.close().expect("nothing fails");
    assert!(ticket.wait().is_ok());
}
