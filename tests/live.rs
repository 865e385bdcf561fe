//! Logs that are written while they are read: what a writer does meanwhile is never taken for damage, and what is damaged is.

#[macro_use]
#[path = "support/figure.rs"]
mod figure;

mod support;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use support::{Bench, Noise, is_fault, pattern, segment_name};
use waltool::decode::{Begin, Decode, Input, Need, Step};
use waltool::formats::native::layout::{Lsn, RECORDS_START, SegmentHeader, VERSION};
use waltool::formats::native::writer::SegmentWriter;
use waltool::span::{Kind, Span};
use waltool::{Error, Log, Report, Scan, Verdict};

const BLOCK: u64 = 32 * 1024;
/// How much the readers below read at a time: from a few records to many blocks.
const WINDOWS: [usize; 5] = [100, 5000, 40_000, 100_000, 256 * 1024];

/// What a segment writer hands on, until it is put into the file.
#[derive(Clone, Default)]
struct Batch(Arc<Mutex<Vec<u8>>>);

impl Write for Batch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a log as the library's writer does, at full speed: segments filled with zeros ahead, batches in place, a promise of
/// all before each batch, segments sealed and cut to what they hold, and those that a checkpoint frees deleted. It never syncs:
/// reader and writer see the same cache, and waiting for the disk would only make them meet less often.
struct Live {
    folder: PathBuf,
    writer: SegmentWriter<Batch>,
    batch: Batch,
    file: File,
    end: u64,
    noise: Noise,
    time: u64,
}

const SEGMENT: u64 = 3 << 20;
const KEPT: u32 = 4;

impl Live {
    fn begin(folder: &Path, seed: u64) -> Self {
        let header = SegmentHeader {
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            number: 1,
            log_id: *b"a log being read",
            nonce: 77,
            prev_nonce: 0,
            prev_end: 0,
            first_transaction: 1,
            redo_lsn: Lsn::new(1, RECORDS_START as u32),
            created_ns: 0,
            target_id: [0; 16],
        };
        let (writer, batch, file) = Self::segment(folder, &header);
        let end = RECORDS_START as u64;
        Self { folder: folder.into(), writer, batch, file, end, noise: Noise(seed), time: 0 }
    }

    fn segment(folder: &Path, header: &SegmentHeader) -> (SegmentWriter<Batch>, Batch, File) {
        let path = folder.join(segment_name(header.number));
        let temporary = path.with_extension("wal.tmp");
        let file = File::create_new(&temporary).unwrap();
        let batch = Batch::default();
        let mut writer = SegmentWriter::create(batch.clone(), header).unwrap();
        writer.promise(RECORDS_START as u32).unwrap();
        let mut bytes = std::mem::take(&mut *batch.0.lock().unwrap());
        bytes.resize(SEGMENT as usize, 0);
        file.write_all_at(&bytes, 0).unwrap();
        fs::rename(&temporary, &path).unwrap();
        (writer, batch, file)
    }

    /// A few transactions, put into the file in a few writes, and promised by the next.
    fn batch(&mut self) -> u64 {
        let transactions = 1 + self.noise.below(8) as u64;
        for _ in 0..transactions {
            let len = [20, 300, 5000, 40_000][self.noise.below(4)];
            self.writer.write(self.time, &pattern(1 + self.noise.below(len), 3)).unwrap();
            self.time += 1;
            self.writer.commit(self.time).unwrap();
        }
        self.put();
        if self.end > SEGMENT - (512 << 10) {
            self.rotate();
        }
        transactions
    }

    fn put(&mut self) {
        let bytes = std::mem::take(&mut *self.batch.0.lock().unwrap());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + self.noise.below(60_000)));
            self.file.write_all_at(now, self.end).unwrap();
            self.end += now.len() as u64;
            rest = later;
        }
        self.writer.promise(self.end as u32).unwrap();
    }

    fn rotate(&mut self) {
        let header = self.writer.header();
        // What a checkpoint in the segment has said: those that are deleted below are needed no more.
        let redo = Lsn::new((header.number + 2).saturating_sub(KEPT).max(1), RECORDS_START as u32);
        let next = self.writer.next_header(header.nonce + 1, redo, self.time);
        let (writer, batch, file) = Self::segment(&self.folder, &next);
        self.writer.seal(next.number, next.nonce).unwrap();
        self.put();
        self.file.set_len(self.end).unwrap();
        (self.writer, self.batch, self.file, self.end) = (writer, batch, file, RECORDS_START as u64);
        if let Some(old) = next.number.checked_sub(KEPT).filter(|&old| old > 0) {
            fs::remove_file(self.folder.join(segment_name(old))).unwrap();
        }
    }
}

/// What `read` gives, asked again while the log changes under it, as the commands do.
fn settled<T>(mut read: impl FnMut() -> waltool::Result<T>) -> T {
    let answers = (0..1000).map(|_| read());
    let mut lasting = answers.skip_while(|answer| answer.as_ref().is_err_and(Error::is_passing));
    lasting.next().expect("it comes to rest").unwrap_or_else(|error| panic!("{error}"))
}

/// The report of every span as a dump sees it, and how often the scan went back.
fn dumped(log: &Log) -> waltool::Result<(Report, u64)> {
    let (mut scan, mut report) = (Scan::new(log), Report::new(log.format()));
    while let Some(found) = scan.next()? {
        report.add(&found);
    }
    report.finish();
    Ok((report, scan.returns()))
}

/// Reads `path` in every way until `done`, and says how often, and how many races were met. Each report must be one that a
/// crash could leave, and pass `check`.
fn read_until(done: &AtomicBool, path: &Path, check: impl Fn(&Report)) -> (u64, u64) {
    let (mut loops, mut races) = (0, 0);
    let calm = |report: &Report| {
        let calm = matches!(report.verdict(), Verdict::Clean | Verdict::TornTail);
        assert!(calm, "{}: {:?}", report.verdict(), report.faults);
        check(report);
    };
    while !done.load(Relaxed) || loops < 3 {
        for threads in [1, 2] {
            calm(&settled(|| Report::by_threads(&Log::open(path, None)?, threads, |_| {})));
        }
        let (report, returns) = settled(|| dumped(&Log::open(path, None)?));
        calm(&report);
        (loops, races) = (loops + 1, races + returns);
    }
    (loops, races)
}

#[test]
fn a_native_log_under_a_writer_at_full_speed_is_never_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let seed = 0x11fe;
    let mut live = Live::begin(folder.path(), seed);
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (loops, races) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while written.load(Relaxed) < 20_000 {
                written.fetch_add(live.batch(), Relaxed);
            }
            done.store(true, Relaxed);
        });
        read_until(&done, folder.path(), |report| {
            let damage = report.faults.iter().find(|span| matches!(span.kind, Kind::Damage(_)));
            assert_eq!(damage, None);
        })
    });
    figure!("seed {seed:#x}: {loops} loops beside {written:?} transactions, {races} races met");
    let report = Report::of(&Log::open(folder.path(), None).unwrap(), |_| {}).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean);
}

/// A segment of transactions of many sizes over several blocks, each of which promises all before it, and where each ends.
fn segment() -> (Vec<u8>, Vec<u64>) {
    let mut bench = Bench::new();
    let mut ends = Vec::new();
    for n in 0..40 {
        bench.write(n, &pattern([90, 700, 9000][n as usize % 3], n as usize));
        ends.push(bench.commit());
        bench.promise();
    }
    (bench.disk().0.remove(0).1, ends)
}

/// The log of one segment of these bytes, open to be changed.
fn file(folder: &Path, bytes: &[u8]) -> (PathBuf, File) {
    let path = folder.join(segment_name(1));
    fs::write(&path, bytes).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    (path, file)
}

/// The log's spans, when it is changed by `change` after the scan has yielded what stands before `from`.
fn interrupted(path: &Path, window: usize, from: u64, change: impl FnOnce()) -> (waltool::Result<Vec<Span>>, u64) {
    let log = Log::open(path, None).unwrap();
    let mut scan = Scan::new(&log).window(window);
    let mut spans = Vec::new();
    while spans.last().is_none_or(|span: &Span| span.end() < from) {
        spans.push(scan.next().unwrap().expect("more").span);
    }
    change();
    let rest = loop {
        match scan.next() {
            Ok(Some(found)) => spans.push(found.span),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (rest.map(|()| spans), scan.returns())
}

#[test]
fn records_that_appear_where_zeros_were_read_are_read_in_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = segment();
    let mut races = 0;
    for window in WINDOWS {
        for &from in &ends {
            let mut early = bytes[..from as usize].to_vec();
            early.resize(bytes.len(), 0);
            let (path, file) = file(folder.path(), &early);
            let write = || file.write_all_at(&bytes[from as usize..], from).unwrap();
            let (spans, returns) = interrupted(&path, window, from, write);
            let spans = spans.unwrap();
            assert!(!spans.iter().any(is_fault), "window {window} from {from}: {spans:?}");
            assert_eq!(spans.last().map(Span::end), Some(bytes.len() as u64));
            let commits = spans.iter().filter(|span| ends.contains(&span.end())).count();
            // What was zeros to the end when it was read may stay so: the log as it was when it was opened.
            assert!(commits == ends.len() || returns == 0, "{commits} of {} commits", ends.len());
            races += returns;
        }
    }
    figure!("{races} races");
    assert!(races >= 40, "{races} races");
}

#[test]
fn half_a_record_that_becomes_whole_is_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = segment();
    let mut races = 0;
    for window in WINDOWS {
        for pair in ends.windows(2) {
            // Up to the middle of the next transaction's write.
            let (from, half) = (pair[0], (pair[0] + 60) as usize);
            let mut early = bytes[..half].to_vec();
            early.resize(bytes.len(), 0);
            let (path, file) = file(folder.path(), &early);
            let write = || file.write_all_at(&bytes[half..], half as u64).unwrap();
            let (spans, returns) = interrupted(&path, window, from, write);
            assert!(!spans.as_ref().unwrap().iter().any(is_fault), "window {window} from {from}: {spans:?}");
            races += returns;
        }
    }
    figure!("{races} races");
    assert!(races >= 40, "{races} races");
}

#[test]
fn what_is_damaged_stays_damaged_while_the_log_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bytes, ends) = segment();
    let hit = ends[9] as usize + 40;
    bytes[hit] ^= 1;
    for window in WINDOWS {
        for &from in &ends[..20] {
            let mut early = bytes[..ends[20] as usize].to_vec();
            early.resize(bytes.len(), 0);
            let (path, file) = file(folder.path(), &early);
            let write = || file.write_all_at(&bytes[ends[20] as usize..], ends[20]).unwrap();
            let before = from.min(ends[9]);
            let (spans, _) = interrupted(&path, window, before, write);
            let damage: Vec<_> = spans.unwrap().into_iter().filter(is_fault).collect();
            let [Span { offset, kind: Kind::Damage(_), .. }] = damage[..] else { panic!("{damage:?}") };
            assert_eq!(offset, ends[9], "window {window} from {from}");
            assert_eq!(Report::of(&Log::open(&path, None).unwrap(), |_| {}).unwrap().verdict(), Verdict::Corrupt);
        }
    }
}

/// A decoder during whose work at one place somebody writes over another.
struct Meddled {
    inner: Box<dyn Decode + Send>,
    at: u64,
    write: Arc<dyn Fn() + Send + Sync>,
}

impl Decode for Meddled {
    fn begin(&mut self, begin: &Begin<'_>) {
        self.inner.begin(begin);
    }

    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        if input.offset == self.at {
            (self.write)();
        }
        self.inner.step(input)
    }

    fn copy(&self) -> Option<Box<dyn Decode + Send>> {
        let (at, write) = (self.at, self.write.clone());
        Some(Box::new(Self { inner: self.inner.copy()?, at, write }))
    }
}

#[test]
fn a_place_that_is_changed_at_each_look_is_given_up_and_never_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bytes, ends) = segment();
    bytes[ends[5] as usize..][..100].fill(0);
    let at = ends[5];
    let (path, file) = file(folder.path(), &bytes);
    let noise = Mutex::new(Noise(9));
    let write = move || file.write_all_at(&noise.lock().unwrap().bytes(90), at).unwrap();
    let log = Log::open(&path, None).unwrap();
    // At the place itself its bytes have been read already.
    let decoder = Meddled { inner: log.format().decoder(), at, write: Arc::new(write) };
    let mut scan = Scan::with(&log, Box::new(decoder));
    let error = loop {
        match scan.next() {
            Ok(found) => assert!(!is_fault(&found.expect("no end").span)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Rewritten { offset, .. } if offset == at), "{error}");
    assert!(error.is_passing() && error.exit_code() == 6);
    figure!("given up after {} returns", scan.returns());
}

#[test]
fn a_sqlite_log_that_is_begun_anew_is_not_judged_by_its_old_life() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wal) = (folder.path().join("app.db"), folder.path().join("app.db-wal"));
    let database = database(&path);
    let mut noise = Noise(4);
    let fill = || {
        (0..60)
            .for_each(|_| assert_eq!(database.execute("INSERT INTO t VALUES (NULL, randomblob(900))", []).unwrap(), 1))
    };
    fill();
    let (mut races, mut reads) = (0, 0);
    for _ in 0..20 {
        let log = Log::open(&wal, None).unwrap();
        let mut scan = Scan::new(&log).window(5000);
        for _ in 0..1 + noise.below(40) {
            scan.next().unwrap();
        }
        database.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        fill();
        let end = loop {
            match scan.next() {
                Ok(Some(found)) => assert!(!matches!(found.span.kind, Kind::Damage(_)), "{found:?}"),
                other => break other.map(|_| ()),
            }
        };
        reads += 1;
        races += u64::from(end.is_err_and(|error| error.is_passing()));
    }
    assert!(races >= reads - 2, "{races} of {reads}");
}

#[test]
fn zeros_that_a_closing_writer_gives_back_are_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = segment();
    let mut ahead = bytes.clone();
    ahead.resize(bytes.len() + 40 * BLOCK as usize, 0);
    for window in WINDOWS {
        for &from in &ends {
            let (path, file) = file(folder.path(), &ahead);
            let (spans, _) = interrupted(&path, window, from, || file.set_len(bytes.len() as u64).unwrap());
            assert!(!spans.unwrap().iter().any(is_fault), "window {window} from {from}");
        }
        let (path, file) = file(folder.path(), &ahead);
        let (spans, _) = interrupted(&path, window, ends[30], || file.set_len(ends[10]).unwrap());
        assert!(spans.as_ref().is_err_and(Error::is_passing), "window {window}: {spans:?}");
    }
}

#[test]
fn a_successor_that_came_later_is_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    bench.write(0, b"before");
    bench.commit();
    bench.rotate();
    let disk = bench.disk();
    let path = |number| folder.path().join(segment_name(number));
    fs::write(path(1), &disk.0[0].1).unwrap();
    let log = Log::open(folder.path(), None).unwrap();
    let verdict = |log: &Log| Report::of(log, |_| {}).unwrap().verdict();
    assert_eq!(verdict(&log), Verdict::Incomplete);
    fs::write(path(2), &disk.0[1].1).unwrap();
    assert_eq!(verdict(&log), Verdict::Clean);
    fs::rename(path(2), path(3)).unwrap();
    assert_eq!(verdict(&log), Verdict::Clean, "the log went on by more than one segment");
    fs::remove_file(path(3)).unwrap();
    assert_eq!(verdict(&log), Verdict::Incomplete);
}

#[test]
fn segments_that_a_checkpoint_deletes_ask_for_another_try() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.write(0, b"something");
        bench.commit();
        bench.rotate();
    }
    bench.checkpoint(Lsn::new(2, RECORDS_START as u32), 0);
    bench.commit();
    for (name, bytes) in bench.disk().0 {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let log = Log::open(folder.path(), None).unwrap();
    fs::remove_file(folder.path().join(segment_name(1))).unwrap();
    let error = Report::of(&log, |_| {}).expect_err("a segment is gone");
    assert!(error.is_passing(), "{error}");
    let again = Report::of(&Log::open(folder.path(), None).unwrap(), |_| {}).unwrap();
    assert_eq!((again.verdict(), again.segments), (Verdict::Clean, 3));
}

/// A database in WAL mode with a small cache, so that large transactions spill into the log before they commit.
fn database(path: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(path).unwrap();
    let pragmas = "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = 8;
                   PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 200000;
                   CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB);";
    database.execute_batch(pragmas).unwrap();
    database
}

/// Small transactions, large ones that rewrite their own frames, rollbacks, checkpoints of every kind.
fn change(database: &rusqlite::Connection, noise: &mut Noise) {
    let put = "INSERT OR REPLACE INTO t VALUES (abs(random()) % 500, randomblob(abs(random()) % 1500))";
    match noise.below(40) {
        0 => database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap(),
        1..4 => database.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap(),
        4..10 => {
            database.execute_batch("BEGIN").unwrap();
            for _ in 0..noise.below(120) {
                database.execute(put, []).unwrap();
            }
            database.execute_batch(if noise.below(4) == 0 { "ROLLBACK" } else { "COMMIT" }).unwrap();
        }
        _ => assert_eq!(database.execute(put, []).unwrap(), 1),
    }
}

#[test]
fn a_sqlite_log_under_a_writer_is_never_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wal) = (folder.path().join("app.db"), folder.path().join("app.db-wal"));
    let writer = database(&path);
    let seed = 0x5e1f;
    let done = AtomicBool::new(false);
    let (loops, races) = std::thread::scope(|scope| {
        let done = &done;
        // The last connection takes the log with it when it closes.
        let writing = scope.spawn(move || {
            let mut noise = Noise(seed);
            (0..6000).for_each(|_| change(&writer, &mut noise));
            done.store(true, Relaxed);
            writer
        });
        let met = read_until(done, &wal, |_| {});
        drop(writing.join());
        met
    });
    figure!("seed {seed:#x}: {loops} loops beside 6000 changes, {races} races met");
}
