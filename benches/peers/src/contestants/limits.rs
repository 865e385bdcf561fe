//! What can be reached with a file and nothing else: no format, no checksum, no recovery.
//!
//! All write over a file of zeros that is on the disk already, so that no sync has to make room or change a length. At its end
//! they begin again at its start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::futex;

use super::{Contestant, Log, Promise, Reading, Work};

const FILE_LEN: u64 = 64 << 20;
const POISONED: &str = "no thread panics while it holds the lock";

fn zeros(folder: &Path) -> Result<File> {
    let file = File::create_new(folder.join("zeros")).context("a file of zeros")?;
    // Not in larger pieces: the kernel would keep each in memory as one large folio, and small writes into such a folio take
    // several times as long (ext4, Linux 6.18).
    let block = vec![0; 64 << 10];
    for at in (0..FILE_LEN).step_by(block.len()) {
        file.write_all_at(&block, at)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// Where the next `len` bytes go, and what follows them.
fn place(next: u64, len: usize) -> (u64, u64) {
    let at = if next + len as u64 <= FILE_LEN { next } else { 0 };
    (at, at + len as u64)
}

/// One thread: pwrite, and nothing else.
pub struct Pwrite;

impl Contestant for Pwrite {
    fn name(&self) -> &'static str {
        super::PWRITE
    }

    fn offers(&self, promise: Promise, threads: usize) -> bool {
        promise != Promise::Durable && threads == 1
    }

    fn with_log(&self, folder: &Path, _: Promise, _: usize, work: Work<'_>) -> Result<()> {
        work(&Bare { file: zeros(folder)?, next: Mutex::default(), sync: false })
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        None
    }
}

/// One thread: pwrite, then fdatasync.
pub struct PwriteSync;

impl Contestant for PwriteSync {
    fn name(&self) -> &'static str {
        "pwrite+fdatasync"
    }

    fn offers(&self, promise: Promise, threads: usize) -> bool {
        promise == Promise::Durable && threads == 1
    }

    fn with_log(&self, folder: &Path, _: Promise, _: usize, work: Work<'_>) -> Result<()> {
        work(&Bare { file: zeros(folder)?, next: Mutex::default(), sync: true })
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        None
    }
}

struct Bare {
    file: File,
    next: Mutex<u64>,
    sync: bool,
}

impl Log for Bare {
    fn append(&self, _: usize, record: &[u8]) -> Result<()> {
        let mut next = self.next.lock().expect(POISONED);
        let (at, end) = place(*next, record.len());
        *next = end;
        self.file.write_all_at(record, at)?;
        if self.sync {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// Group commit and nothing else. One thread leads: it waits up to a third of a sync for the threads that were in the last batches,
/// writes what all of them brought and syncs it. The others sleep until they are covered.
pub struct Gather;

impl Contestant for Gather {
    fn name(&self) -> &'static str {
        super::GATHER
    }

    fn offers(&self, promise: Promise, _: usize) -> bool {
        promise == Promise::Durable
    }

    fn with_log(&self, folder: &Path, _: Promise, threads: usize, work: Work<'_>) -> Result<()> {
        let batch = Mutex::new(Batch { seen: vec![None; threads], ..Batch::default() });
        work(&Group {
            file: zeros(folder)?,
            batch,
            gathered: AtomicUsize::new(0),
            durable: AtomicU64::new(0),
            bell: Default::default(),
        })
    }

    fn reopen(&self) -> Option<fn(&Path) -> Result<Reading>> {
        None
    }
}

struct Group {
    file: File,
    batch: Mutex<Batch>,
    /// How many are in the batch: what its leader looks at.
    gathered: AtomicUsize,
    /// The batches below this are durable.
    durable: AtomicU64,
    /// The others sleep here until it rings, those of even and those of odd batches: at most two batches have members at a time. A
    /// futex and not a condition variable, so that nobody who is covered needs the lock to go home.
    bell: [AtomicU32; 2],
}

/// The batch that is being gathered.
#[derive(Default)]
struct Batch {
    /// Its number. All batches below are durable once nobody leads.
    number: u64,
    bytes: Vec<u8>,
    /// The batch in which each thread was last.
    seen: Vec<Option<u64>>,
    led: bool,
    next: u64,
    /// How long a sync takes, lately.
    sync: Duration,
    /// The bytes of the batch before, for their room.
    spare: Vec<u8>,
    failed: bool,
}

impl Log for Group {
    fn append(&self, thread: usize, record: &[u8]) -> Result<()> {
        let mut batch = self.lock();
        let mine = batch.number;
        batch.bytes.extend_from_slice(record);
        batch.seen[thread] = Some(mine);
        self.gathered.fetch_add(1, Ordering::Release);
        loop {
            ensure!(!batch.failed, "a sync failed");
            if !batch.led {
                return self.lead(batch);
            }
            let bell = &self.bell[(mine % 2) as usize];
            let rung = bell.load(Ordering::Acquire);
            drop(batch);
            // It returns at once if the bell has rung since. Whatever it says, what counts is whether we are covered.
            let _ = futex::wait(bell, futex::Flags::PRIVATE, rung, None);
            if self.covers(mine) {
                return Ok(());
            }
            batch = self.lock();
            if self.covers(mine) {
                return Ok(());
            }
        }
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().expect(POISONED)
    }

    fn covers(&self, batch: u64) -> bool {
        self.durable.load(Ordering::Acquire) > batch
    }

    fn lead<'a>(&'a self, mut batch: MutexGuard<'a, Batch>) -> Result<()> {
        batch.led = true;
        batch = self.gather(batch);
        let number = batch.number;
        batch.number += 1;
        self.gathered.store(0, Ordering::Release);
        let spare = std::mem::take(&mut batch.spare);
        let mut bytes = std::mem::replace(&mut batch.bytes, spare);
        let (at, end) = place(batch.next, bytes.len());
        batch.next = end;
        drop(batch);

        let begin = Instant::now();
        let written = self.file.write_all_at(&bytes, at).and_then(|()| self.file.sync_data());
        let took = begin.elapsed();

        let mut batch = self.lock();
        bytes.clear();
        batch.spare = bytes;
        batch.sync = if batch.sync.is_zero() { took } else { (batch.sync * 7 + took) / 8 };
        batch.led = false;
        batch.failed = written.is_err();
        if !batch.failed {
            self.durable.store(number + 1, Ordering::Release);
        }
        drop(batch);
        self.ring(number, u32::MAX >> 1);
        // Somebody of the next batch has to lead it; after an error all have to hear of it.
        self.ring(number + 1, if written.is_ok() { 1 } else { u32::MAX >> 1 });
        written.context("the file of zeros")
    }

    fn ring(&self, batch: u64, for_at_most: u32) {
        let bell = &self.bell[(batch % 2) as usize];
        bell.fetch_add(1, Ordering::Release);
        let _ = futex::wake(bell, futex::Flags::PRIVATE, for_at_most);
    }

    /// Waits until all are there that were in the two batches before, at most for a third of a sync. It lets them run, and does not
    /// sleep: to be woken would take longer than most of them need.
    fn gather<'a>(&'a self, batch: MutexGuard<'a, Batch>) -> MutexGuard<'a, Batch> {
        let number = batch.number;
        let cohort = batch.seen.iter().flatten().filter(|&&seen| seen + 2 >= number).count();
        let until = Instant::now() + batch.sync / 3;
        drop(batch);
        while self.gathered.load(Ordering::Acquire) < cohort && Instant::now() < until {
            thread::yield_now();
        }
        self.lock()
    }
}
