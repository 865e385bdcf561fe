//! How fast and how small `waltool` is, as ratios against other programs that read the same bytes in the same run.
//!
//! Machines differ and are noisy, so nothing here is a time: two commands run in turn (A B A B …), nine times or more,
//! and the ratio of their medians is printed beside the goal. Files lie in the page cache.
//!
//! `cargo bench --bench speed` for all of it; `-- verify` for the rows whose name holds that word. `WALTOOL_BENCH_MB`
//! sets the size of the logs (512), `WALTOOL_BENCH_RUNS` the runs (9).

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use waltool::formats::native::layout::{Lsn, SegmentHeader};
use waltool::formats::native::writer::SegmentWriter;

const WALTOOL: &str = env!("CARGO_BIN_EXE_waltool");

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("recover") => recover(Path::new(&args[1])),
        Some("checkpoint") => checkpoint(Path::new(&args[1])),
        Some("peak") => peak(&args[1..]),
        filter => Bench::new(filter.unwrap_or_default()).run(),
    }
}

/// Files to measure on, and which rows are wanted.
struct Bench {
    folder: tempfile::TempDir,
    filter: String,
    megabytes: u64,
    runs: usize,
}

impl Bench {
    fn new(filter: &str) -> Self {
        let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            filter: filter.into(),
            megabytes: number("WALTOOL_BENCH_MB", 512),
            runs: (number("WALTOOL_BENCH_RUNS", 9) as usize).max(9),
        }
    }

    fn wants(&self, row: &str) -> bool {
        row.contains(&self.filter)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) {
        println!("{} MiB a log, medians of {} runs, two commands in turn\n", self.megabytes, self.runs);
        println!("{:<52} {:>10} {:>10} {:>7}  goal", "what", "waltool", "other", "ratio");
        self.native();
        self.sqlite();
        self.memory();
    }

    fn native(&self) {
        for (size, name) in [(4096, "4 KiB"), (100, "100 B")] {
            let log = self.path(&format!("{size}.wal"));
            native_log(&log, size, self.megabytes << 20);
            let log = log.to_str().expect("a temporary path is text");
            let goals = if size == 4096 { ("<= 1.10", "<= 0.70") } else { ("<= 1.60", "(<= 0.70)") };
            let cat = [&["cat", log]];
            let row = |what: &str, args: &[&str], goal: &str| {
                self.row(&format!("{what}, native, {name} records / cat"), &[&[WALTOOL], args].concat(), cat[0], goal);
            };
            row("verify, 1 thread", &["verify", "-j1", log], goals.0);
            row("verify, 2 threads", &["verify", "-j2", log], goals.1);
            if size == 100 {
                row("dump --json without payload", &["dump", "--json", "--no-payload", log], "<= 3.0");
                row("dump --json with payload", &["dump", "--json", log], "<= 7.0");
            }
            fs::remove_file(log).expect("the log is ours");
        }
    }

    fn sqlite(&self) {
        if !self.wants("SQLite") && !["verify", "replay"].iter().any(|word| self.wants(word)) {
            return;
        }
        let (base, db, wal) = (self.path("base.db"), self.path("app.db"), self.path("app.db-wal"));
        sqlite_log(&base, &db, self.megabytes << 20);
        let me = std::env::current_exe().expect("this program has a path");
        let text = |path: &Path| path.to_str().expect("a temporary path is text").to_owned();
        let (me, db_text, wal_text, base_text) = (text(&me), text(&db), text(&wal), text(&base));
        let verify = [WALTOOL, "verify", "-j1", &wal_text];
        self.row("verify, 1 thread, SQLite, 4 KiB pages / cat", &verify, &["cat", &wal_text], "<= 1.40");
        self.row(
            "verify, 2 threads, SQLite, 4 KiB pages / cat",
            &[WALTOOL, "verify", "-j2", &wal_text],
            &["cat", &wal_text],
            "(<= 0.70)",
        );
        self.row("verify, 1 thread, SQLite / sqlite's recovery", &verify, &[&me, "recover", &db_text], "<= 0.55");
        let (out, copy) = (text(&self.path("out.db")), text(&self.path("copy.db")));
        let replay = format!("rm -f {out}; exec {WALTOOL} replay {wal_text} --onto {base_text} --output {out}");
        // The database that the log makes, so that both write as many bytes.
        shell(&replay);
        let whole = text(&self.path("whole.db"));
        fs::copy(&out, &whole).expect("room for a copy");
        self.row(
            "replay, SQLite / cp of the database",
            &["sh", "-c", &replay],
            &["sh", "-c", &format!("rm -f {copy}; exec cp {whole} {copy}")],
            "<= 1.50",
        );
        let folder = text(&self.path("checkpointed"));
        let again = format!(
            "rm -rf {folder}; mkdir {folder}; cp {base_text} {folder}/app.db; cp {wal_text} {folder}/app.db-wal"
        );
        let checkpoint = format!("exec {me} checkpoint {folder}/app.db");
        self.compare("replay, SQLite / wal_checkpoint", ("true", &replay), (&again, &checkpoint), "<= 0.50");
    }

    fn memory(&self) {
        if !self.wants("memory") {
            return;
        }
        println!("\n{:<52} {:>10} {:>10} {:>10}  goal", "peak memory, MiB", "1 MiB", "1 GiB", "10 GiB");
        let logs: Vec<String> =
            [(1, 1), (1024, 1024), (10 * 1024, 64)].map(|(apparent, stored)| self.sparse(apparent, stored)).into();
        for command in [&["verify", "-j1"][..], &["verify"], &["dump", "--json"], &["repair", "--dry-run"]] {
            let peaks: Vec<f64> = logs.iter().map(|log| peak_of(&[&[WALTOOL], command, &[log]].concat())).collect();
            let row = format!("{} of a SQLite log", command.join(" "));
            println!("{row:<52} {:>10.1} {:>10.1} {:>10.1}  <= 8", peaks[0], peaks[1], peaks[2]);
        }
    }

    /// A SQLite log of so many MiB by its length, the first `stored` of them written and the rest a hole.
    fn sparse(&self, apparent: u64, stored: u64) -> String {
        let (base, db) = (self.path("sparse.db"), self.path(&format!("sparse{apparent}.db")));
        sqlite_log(&base, &db, stored << 20);
        let log = db.with_extension("db-wal");
        let mut file = File::options().write(true).open(&log).expect("the log is ours");
        let end = file.seek(SeekFrom::End(0)).expect("a file has an end");
        file.set_len(end.max(apparent << 20)).expect("a hole takes no room");
        log.to_str().expect("a temporary path is text").into()
    }

    fn row(&self, name: &str, ours: &[&str], other: &[&str], goal: &str) {
        if self.wants(name) {
            let (a, b) = self.medians(|| timed(ours), || timed(other));
            print_row(name, a, b, goal);
        }
    }

    /// As [`row`](Self::row), with something to prepare before each run that is not timed.
    fn compare(&self, name: &str, ours: (&str, &str), other: (&str, &str), goal: &str) {
        if self.wants(name) {
            let one = |(prepare, command): (&str, &str)| {
                shell(prepare);
                timed(&["sh", "-c", command])
            };
            let (a, b) = self.medians(|| one(ours), || one(other));
            print_row(name, a, b, goal);
        }
    }

    fn medians(&self, ours: impl Fn() -> Duration, other: impl Fn() -> Duration) -> (Duration, Duration) {
        let mut times: Vec<(Duration, Duration)> = (0..=self.runs).map(|_| (ours(), other())).skip(1).collect();
        let mut median = |of: fn(&(Duration, Duration)) -> Duration| {
            times.sort_by_key(of);
            of(&times[times.len() / 2])
        };
        (median(|pair| pair.0), median(|pair| pair.1))
    }
}

fn print_row(name: &str, a: Duration, b: Duration, goal: &str) {
    let ratio = a.as_secs_f64() / b.as_secs_f64();
    println!("{name:<52} {:>8.1}ms {:>8.1}ms {ratio:>7.2}  {goal}", a.as_secs_f64() * 1e3, b.as_secs_f64() * 1e3);
}

fn timed(command: &[&str]) -> Duration {
    let start = Instant::now();
    let status = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok(), "{command:?} does not start");
    start.elapsed()
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).status().expect("a shell");
    assert!(status.success(), "{script}");
}

/// One segment of records of `size` bytes, ten to a transaction.
fn native_log(path: &Path, size: usize, len: u64) {
    let header = SegmentHeader {
        version: 1,
        incompatible: 0,
        compatible: 0,
        number: 1,
        log_id: [7; 16],
        nonce: 0x5eed_1e55,
        prev_nonce: 0,
        prev_end: 0,
        first_transaction: 1,
        redo_lsn: Lsn::new(1, 8192),
        created_ns: 0,
        target_id: [0; 16],
    };
    let file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a temporary file"));
    let mut segment = SegmentWriter::create(file, &header).expect("room for the log");
    let record: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
    for count in 1.. {
        segment.data(&record).expect("room for the log");
        if count % 10 == 0 {
            segment.promise(segment.end()).expect("the end is written");
            segment.commit(count).expect("room for the log");
            if u64::from(segment.end()) >= len {
                break;
            }
        }
    }
    segment.finish().expect("room for the log").flush().expect("room for the log");
}

/// A database of one empty page, and the same with a log of about `len` bytes: rows of half a page, a thousand to a transaction.
fn sqlite_log(base: &Path, db: &Path, len: u64) {
    let wal = db.with_extension("db-wal");
    let living = db.with_extension("living");
    let connection = rusqlite::Connection::open(&living).expect("a database");
    connection.execute_batch("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; CREATE TABLE t(a BLOB); PRAGMA wal_checkpoint(TRUNCATE);").expect("SQLite");
    fs::copy(&living, base).expect("room for a copy");
    fs::copy(&living, db).expect("room for a copy");
    let living_wal = living.with_extension("living-wal");
    while fs::metadata(&living_wal).map_or(0, |metadata| metadata.len()) < len {
        let rows = (len / 4096).clamp(1, 2000);
        connection
            .execute_batch(&format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT randomblob(1900) FROM n;"))
            .expect("SQLite");
    }
    fs::copy(&living_wal, &wal).expect("room for a copy");
}

/// What SQLite does at its first read of a database with a log: builds its index of the log. Nothing is written back.
fn recover(db: &Path) {
    let _ = fs::remove_file(db.with_extension("db-shm"));
    let connection = rusqlite::Connection::open(db).expect("a database");
    let count: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("SQLite");
    assert_eq!(count, 1);
    // Closing would write the log back into the database.
    std::process::exit(0);
}

fn checkpoint(db: &Path) {
    let connection = rusqlite::Connection::open(db).expect("a database");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("SQLite");
}

/// Runs a command in a process of its own, so that the peak of all children is that of this one.
fn peak_of(command: &[&str]) -> f64 {
    let me = std::env::current_exe().expect("this program has a path");
    let output = Command::new(me).arg("peak").args(command).output().expect("this program starts");
    let kib = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
    kib.expect("a number of KiB") / 1024.0
}

fn peak(command: &[String]) {
    let status = Command::new(&command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok(), "{command:?} does not start");
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel counts").max_rss());
}
