//! One measurement of one contestant, in a fresh directory.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::contestants::{Contestant, Log, Promise, Reading};
use crate::figure::{Figure, LATENCY_THREADS, RECORD_LEN};

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Of each measurement that goes by time.
    pub span: Duration,
    /// Of payload, at most, that is appended without a sync in one measurement.
    pub unsynced_bytes: usize,
    /// In a log that is read.
    pub records: u64,
}

/// Figures and what they came to.
pub type Figures = Vec<(Figure, f64)>;

/// Bytes that no compression makes shorter.
pub fn record(len: usize) -> Vec<u8> {
    let mut random = crate::random::Random::new(len as u64);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Durable appends from several threads. A quarter of the span goes before it, unmeasured.
pub fn durable(contestant: &dyn Contestant, threads: usize, effort: &Effort) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let mut figures = Vec::new();
    contestant.with_log(folder.path(), Promise::Durable, threads, &mut |log| {
        settle(folder.path())?;
        let mut latencies = append_for(log, contestant.threads(threads), effort.span)?;
        ensure!(!latencies.is_empty(), "not one append in {:?}", effort.span);
        latencies.sort_unstable();
        figures.push((Figure::Durable { threads }, latencies.len() as f64 / effort.span.as_secs_f64()));
        // With more appends than threads, what a call took is not what its append took.
        if threads == LATENCY_THREADS && contestant.threads(threads) == threads {
            for percentile in [50, 99] {
                let micros = of_hundred(&latencies, percentile).as_nanos() as f64 / 1e3;
                figures.push((Figure::Latency { threads, percentile }, micros));
            }
        }
        Ok(())
    })?;
    Ok(figures)
}

/// The latency that so many of a hundred appends keep to.
fn of_hundred(sorted: &[Duration], percentile: u8) -> Duration {
    sorted[(sorted.len() - 1) * usize::from(percentile) / 100]
}

/// How long each append took that ended within the span.
fn append_for(log: &dyn Log, threads: usize, span: Duration) -> Result<Vec<Duration>> {
    let record = record(RECORD_LEN);
    let from = Instant::now() + span / 4;
    let to = from + span;
    let appender = |thread| {
        let mut latencies = Vec::with_capacity(1 << 16);
        let mut begin = Instant::now();
        while begin < to {
            log.append(thread, &record)?;
            let end = Instant::now();
            if from <= end && end < to {
                latencies.push(end - begin);
            }
            begin = end;
        }
        Ok(latencies)
    };
    thread::scope(|scope| {
        let appenders: Vec<_> = (0..threads).map(|thread| scope.spawn(move || appender(thread))).collect();
        let mut all = Vec::new();
        for appender in appenders {
            let latencies: Result<Vec<Duration>> = appender.join().expect("an appender returns its errors");
            all.extend(latencies?);
        }
        Ok(all)
    })
}

/// Appends of one thread without a sync, until so many bytes or the span are over. An eighth of the bytes goes before, unmeasured.
pub fn unsynced(contestant: &dyn Contestant, promise: Promise, len: usize, effort: &Effort) -> Result<Figures> {
    const BETWEEN_LOOKS: usize = 64;
    let folder = tempfile::tempdir()?;
    let record = record(len);
    let appends = effort.unsynced_bytes / len;
    let mut rate = 0.0;
    contestant.with_log(folder.path(), promise, 1, &mut |log| {
        settle(folder.path())?;
        for _ in 0..appends / 8 {
            log.append(0, &record)?;
        }
        let begin = Instant::now();
        let mut done = 0;
        while done < appends && begin.elapsed() < effort.span {
            for _ in 0..BETWEEN_LOOKS {
                log.append(0, &record)?;
            }
            done += BETWEEN_LOOKS;
        }
        rate = done as f64 / begin.elapsed().as_secs_f64();
        Ok(())
    })?;
    Ok(vec![(Figure::Unsynced { promise, len }, rate)])
}

/// Writes the log that is to be read: each record with an append of its own.
pub fn fill(contestant: &dyn Contestant, folder: &Path, records: u64) -> Result<()> {
    let record = record(RECORD_LEN);
    if contestant.offers(Promise::Written, 1) {
        return contestant
            .with_log(folder, Promise::Written, 1, &mut |log| (0..records).try_for_each(|_| log.append(0, &record)));
    }
    let threads = 64;
    contestant.with_log(folder, Promise::Durable, threads, &mut |log| {
        let share = |thread: usize| records / threads as u64 + u64::from((thread as u64) < records % threads as u64);
        let record = &record;
        thread::scope(|scope| {
            let appenders: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(move || (0..share(thread)).try_for_each(|_| log.append(thread, record))))
                .collect();
            appenders.into_iter().try_for_each(|appender| appender.join().expect("an appender returns its errors"))
        })
    })
}

/// Opens a copy of a log that was filled, and reads all of it. The copy is in memory.
pub fn reopen(read: fn(&Path) -> Result<Reading>, filled: &Path, effort: &Effort) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    copy(filled, folder.path())?;
    settle(folder.path())?;
    let begin = Instant::now();
    let reading = read(folder.path())?;
    let took = begin.elapsed();
    let found = (reading.records, reading.bytes);
    let expected = (effort.records, effort.records * RECORD_LEN as u64);
    ensure!(found == expected, "read {found:?} records and bytes of {expected:?}");
    Ok(vec![(Figure::Reopen, effort.records as f64 / took.as_secs_f64())])
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// Waits until the disk has all that was written before, so that no measurement pays for another.
fn settle(folder: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(folder)?).context("syncing the file system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_appends_keep_to_p50() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!([50, 99].map(|percentile| of_hundred(&sorted, percentile).as_micros()), [100, 198]);
    }
}
