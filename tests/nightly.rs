//! `examples/nightly_metrics.rs`, killed for real and on full disks, while a dashboard reads what it writes.

mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::Noise;

/// The name of night `number`, from 1.
fn night(number: usize) -> String {
    format!("{}-{:02}-{:02}", 2020 + number / 336, number % 336 / 28 + 1, number % 28 + 1)
}

/// Samples of a night: a few metrics, one of them twice, and now and then one that was never there.
fn samples(number: usize) -> Vec<(String, u64)> {
    let metrics = 3 + number / 10;
    (0..5).map(|sample| (format!("metric-{}", (number + sample) % metrics), (number * 10 + sample) as u64)).collect()
}

/// The file as it must be when the first `nights` are in; nothing before the first.
fn expected(nights: usize) -> String {
    let mut totals: Vec<(String, u64)> = Vec::new();
    for (name, value) in (1..=nights).flat_map(samples) {
        match totals.iter_mut().find(|(other, _)| *other == name) {
            Some((_, total)) => *total += value,
            None => totals.push((name, value)),
        }
    }
    let mut lines = vec![("night".into(), night(nights))];
    lines.extend(totals.iter().map(|(name, total)| (name.clone(), total.to_string())));
    let sum: u64 = totals.iter().map(|(_, total)| total).sum();
    lines.push((format!("{} metrics", totals.len()), sum.to_string()));
    let lines = lines.iter().map(|(name, value)| format!("{name:20} {value:>20}\n"));
    if nights == 0 { String::new() } else { lines.collect() }
}

fn read(file: &Path) -> String {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.unwrap(),
    }
}

/// How many nights are in a file that a dashboard has read, or why it cannot be trusted.
fn whole(text: &str) -> Result<usize, String> {
    let Some((first, rest)) = text.split_once('\n') else {
        return if text.is_empty() { Ok(0) } else { Err("half a line".into()) };
    };
    let lines: Vec<_> = rest.lines().collect();
    let value = |line: &str| {
        line.rsplit(' ').next().unwrap_or_default().parse::<u64>().map_err(|error| format!("{line}: {error}"))
    };
    let (last, metrics) = lines.split_last().ok_or("one line")?;
    if !last.starts_with(&format!("{} metrics ", metrics.len())) {
        return Err(format!("{} lines, and at the end: {last}", metrics.len()));
    }
    let sum = metrics.iter().map(|line| value(line)).sum::<Result<u64, _>>()?;
    if sum != value(last)? {
        return Err(format!("a sum of {sum}, and at the end: {last}"));
    }
    let number = (1..=336 * 3).find(|number| first.ends_with(&night(*number)));
    number.ok_or_else(|| format!("not a night: {first}"))
}

/// Cargo builds the examples before it runs all tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/nightly_metrics");
    assert!(path.is_file(), "{} is missing: cargo build --example nightly_metrics", path.display());
    path
}

fn start(mut job: Command, file: &Path, number: usize) -> Child {
    job.arg(file).arg(night(number)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = job.spawn().unwrap();
    let lines: String = samples(number).iter().map(|(name, value)| format!("{name} {value}\n")).collect();
    // A job that ends without reading them breaks the pipe.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child
}

fn run(file: &Path, number: usize) -> Output {
    start(Command::new(example()), file, number).wait_with_output().unwrap()
}

/// The job said that the night is durable, now or before.
fn is_in(stdout: &[u8]) -> bool {
    String::from_utf8_lossy(stdout).lines().any(|line| line.starts_with("night ") && line.contains(" is in"))
}

/// Runs the job to its end: the night was in already, or was not.
fn finish(file: &Path, number: usize) -> bool {
    let output = run(file, number);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && is_in(&output.stdout), "night {number}: {stderr}");
    assert_eq!(read(file), expected(number), "night {number}");
    output.stdout.ends_with(b"already\n")
}

fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// How a job ended that was to be killed.
struct Ended {
    /// It had not come to its end before.
    killed: bool,
    acknowledged: bool,
}

/// Kills the job at some moment of its run, which takes about `typical`: at any, or behind its word that the night is in.
fn kill(noise: &mut Noise, file: &Path, number: usize, typical: Duration) -> Ended {
    let mut child = start(Command::new(example()), file, number);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    if noise.below(2) == 0 {
        stdout.read_line(&mut said).unwrap();
        spin(typical.mul_f64(noise.below(1000) as f64 / 3000.0));
    } else {
        spin(typical.mul_f64(noise.below(1000) as f64 / 1000.0));
    }
    child.kill().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "night {number}: {status}");
    Ended { killed: !status.success(), acknowledged: is_in(said.as_bytes()) }
}

/// Reads all the time, as a dashboard does: always a whole file, of a night that was begun, and never an older one than before.
fn watch(file: &Path, begun: &AtomicUsize, over: &AtomicBool) -> usize {
    let (mut reads, mut before) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let text = read(file);
        let number = whole(&text).unwrap_or_else(|why| panic!("{why}; in:\n{text}"));
        assert!((before..=begun.load(Ordering::SeqCst)).contains(&number), "night {number} after {before}");
        assert_eq!(text, expected(number));
        (reads, before) = (reads + 1, number);
    }
    reads
}

/// Ends the watch, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_job_that_is_killed_loses_no_night_and_counts_none_twice() {
    const SEED: u64 = 0x6e69_6768_7473;
    const NIGHTS: usize = 80;
    println!("seed {SEED:#x}");
    let mut noise = Noise(SEED);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("totals");
    let (begun, over) = (AtomicUsize::new(1), AtomicBool::new(false));
    let (mut early, mut late) = (0, 0);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&file, &begun, &over));
        let over = Over(&over);
        let clock = Instant::now();
        finish(&file, 1);
        let typical = clock.elapsed();
        for number in 2..=NIGHTS {
            begun.store(number, Ordering::SeqCst);
            let mut acknowledged = false;
            for _ in 0..noise.below(4) {
                let ended = kill(&mut noise, &file, number, typical);
                acknowledged |= ended.acknowledged;
                early += u32::from(ended.killed && !ended.acknowledged);
                late += u32::from(ended.killed && ended.acknowledged);
            }
            let already = finish(&file, number);
            assert!(already || !acknowledged, "night {number} was acknowledged, and lost");
        }
        drop(over);
        reader.join().unwrap()
    });
    println!("killed before it was in: {early}, behind that: {late}; the file was read {reads} times");
    assert!(early > 0 && late > 0 && reads > 0);
}

/// Runs the job for night 3, with less room than it needs: room for nothing, for a little more each time, until it is enough. `restricted` gives
/// the job for so little room, and `relieve` takes the restriction away.
fn grow_until_there_is_room(file: &Path, cause: &str, restrict: impl Fn(u64) -> Command, relieve: impl Fn()) {
    let (mut failed, mut late) = (0, 0);
    for room in 0.. {
        let _ = std::fs::remove_file(file);
        let _ = std::fs::remove_dir_all(file.with_extension("wal"));
        finish(file, 1);
        finish(file, 2);
        let output = start(restrict(room), file, 3).wait_with_output().unwrap();
        let (acknowledged, stderr) = (is_in(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let about = format!("room {room}: {}, {stderr}", output.status);
        let found = read(file);
        assert!(found == expected(2) || acknowledged && found == expected(3), "{about}, and this file:\n{found}");
        relieve();
        if output.status.success() {
            assert_eq!(found, expected(3), "{about}");
            break;
        }
        assert_eq!(output.status.code(), Some(1), "{about}");
        assert!(stderr.contains(file.to_str().unwrap()) && stderr.contains(cause), "{about}");
        let already = finish(file, 3);
        assert!(already || !acknowledged, "{about}: acknowledged, and lost");
        (failed, late) = (failed + 1, late + u32::from(acknowledged));
    }
    println!("{failed} jobs failed for want of room, {late} of them behind their word that the night is in");
    assert!(failed > 10, "{failed} jobs failed");
}

#[test]
fn a_job_that_may_write_no_further_leaves_the_last_night_and_finishes_when_run_again() {
    let folder = tempfile::tempdir().unwrap();
    // The system's answer to a file over its limit is a signal, unless that is ignored, and then an error.
    let limited = |room: u64| {
        let mut job = Command::new("sh");
        job.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", room * 8)]).arg(example());
        job
    };
    grow_until_there_is_room(&folder.path().join("totals"), "File too large", limited, || ());
}

/// A small disk of its own, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount one.
    fn mount(path: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(path).output().ok()?;
        output.status.success().then(|| Self(path.into()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves so many blocks free.
    fn fill(&self, free: u64) {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let len = stat.f_bavail.saturating_sub(free) * stat.f_bsize;
        std::fs::write(self.ballast(), vec![1; len as usize]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking(), "umount {}", self.0.display());
    }
}

#[test]
fn a_job_on_a_full_disk_leaves_the_last_night_and_finishes_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        // Past the harness, which keeps to itself what tests that pass print.
        let said = b"nightly: no full disk was tried: this user may not mount one; the test with a limit on file sizes stands for it\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    };
    let full = |room| {
        disk.fill(room);
        Command::new(example())
    };
    let relieve = || std::fs::remove_file(disk.ballast()).unwrap();
    grow_until_there_is_room(&folder.path().join("totals"), "No space left on device", full, relieve);
}
