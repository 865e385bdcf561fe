//! Good records counted by several threads.
//!
//! A healthy log is good from its beginning to near its end, so that part is cut in chunks at places where a decoder can
//! begin ([`Decode::fork`]), and each chunk is counted as if all before it were good. The chunks join in their order up to the
//! first that is not good from end to end; from there on, and always in the last chunk, the scan goes on alone. What is
//! damaged is thus judged by one thread in one order, and the report is the same for any number of threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::decode::Fork;
use crate::error::Result;
use crate::log::Log;
use crate::scan::{self, Scan};
use crate::tally::Tally;
use crate::window::{Source, WINDOW, Window};

/// Bytes that a thread takes at a time.
const CHUNK: u64 = 2 * 1024 * 1024;
/// Chunks that are cut at a time: a bound on memory for files of any length.
const BATCH: usize = 2048;

/// The bytes between two places where a decoder can begin.
struct Chunk {
    index: usize,
    fork: Fork,
    end: u64,
}

/// Chunks to be counted, and what came of those that are.
struct Work {
    chunks: std::vec::IntoIter<Chunk>,
    /// Counted before their turn to join.
    counted: BTreeMap<usize, (Tally, Fork)>,
    joined: Tally,
    /// A decoder that stands behind what has joined.
    behind: Option<Fork>,
    /// Chunks that have joined.
    count: usize,
    broken: bool,
}

/// Counts as much of the present segment as is good into `tally`, by `threads` threads, and moves the scan behind it.
///
/// # Errors
/// As [`Scan::next`].
pub(crate) fn skim(
    scan: &mut Scan<'_>,
    tally: &mut Tally,
    threads: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    while scan.is_quiet() && batch(scan, tally, threads, progress)? {}
    Ok(())
}

/// The same for the next [`BATCH`] chunks. Whether all were good and more may follow.
fn batch(scan: &mut Scan<'_>, tally: &mut Tally, threads: usize, progress: &mut dyn FnMut(u64)) -> Result<bool> {
    let (log, segment) = (scan.log(), scan.segment());
    let Source::File { len, .. } = log.source(segment)? else { return Ok(false) };
    let places = places(scan, len);
    let [first, .., _] = places[..] else { return Ok(false) };
    scan.skim(tally, Some(first), progress)?;
    if scan.offset() != first || !scan.is_quiet() {
        return Ok(false);
    }
    let chunk =
        |(index, ends): (usize, &[u64])| Some(Chunk { index, fork: scan.decoder().fork(ends[0])?, end: ends[1] });
    let chunks: Vec<Chunk> = places.windows(2).enumerate().map_while(chunk).collect();
    let work = Mutex::new(Work {
        chunks: chunks.into_iter(),
        counted: BTreeMap::new(),
        joined: std::mem::take(tally),
        behind: None,
        count: 0,
        broken: false,
    });
    std::thread::scope(|scope| {
        for _ in 1..threads.min(places.len() - 1) {
            scope.spawn(|| work_off(&work, log, segment, &mut |_| {}));
        }
        work_off(&work, log, segment, progress);
    });
    let work = work.into_inner().unwrap_or_else(PoisonError::into_inner);
    *tally = work.joined;
    let Some(behind) = work.behind else { return Ok(false) };
    scan.jump(behind)?;
    Ok(work.count == BATCH)
}

/// Where the next chunks begin; the chunk that begins at the last of them is left to the next batch or to the scan.
fn places(scan: &Scan<'_>, len: u64) -> Vec<u64> {
    let mut places = Vec::new();
    let mut near = scan.offset();
    while places.len() <= BATCH
        && let Some(fork) = scan.decoder().fork(near).filter(|fork| fork.counts_from < len)
    {
        places.push(fork.counts_from);
        near = fork.counts_from + CHUNK;
    }
    places
}

/// Counts chunks until there are none. What cannot be read here, the scan will read again and say so.
fn work_off(work: &Mutex<Work>, log: &Log, segment: u32, progress: &mut dyn FnMut(u64)) {
    let lock = || work.lock().unwrap_or_else(PoisonError::into_inner);
    let mut buffer = Vec::new();
    loop {
        let chunk = {
            let mut work = lock();
            if work.broken { None } else { work.chunks.next() }
        };
        let Some(Chunk { index, mut fork, end }) = chunk else { return };
        progress(end);
        let mut tally = Tally::new(lock().joined.is_promising());
        let good = log.source(segment).is_ok_and(|source| {
            let mut window = Window::new(source, fork.offset, WINDOW, std::mem::take(&mut buffer));
            let stop = scan::skim(&mut window, &mut *fork.decoder, &mut tally, Some(end), &mut |_, _| {});
            let good = matches!(stop, Ok(None)) && window.offset() == end;
            buffer = window.into_buffer();
            good
        });
        let mut work = lock();
        if good {
            let behind = Fork { decoder: fork.decoder, offset: end, counts_from: end };
            work.counted.insert(index, (tally, behind));
            work.join();
        } else {
            work.broken = true;
        }
    }
}

impl Work {
    /// Joins what has been counted, as far as nothing is missing between.
    fn join(&mut self) {
        while let Some((tally, mut behind)) = self.counted.remove(&self.count) {
            self.joined.join(tally);
            if let Some(before) = &self.behind {
                behind.decoder.follow(&*before.decoder);
            }
            self.behind = Some(behind);
            self.count += 1;
        }
    }
}
