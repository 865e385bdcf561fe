//! The command beside a system that refuses: each of its calls that change something fails once, by `strace`, and what is then on the disk is
//! what was there before or what the finished command makes, under its own name. Run again, the command finishes.

#[path = "logs/mod.rs"]
mod logs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Instant;

use logs::{Sqlite, change, native, segment};
use tempfile::TempDir;
use waltool::{Log, Report, Verdict};

const WALTOOL: &str = env!("CARGO_BIN_EXE_waltool");
/// `openat` is made to fail where it creates a file. A question mark: not every machine has the call.
const CALLS: [&str; 15] = [
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "?rename",
    "renameat2",
    "ftruncate",
    "copy_file_range",
    "openat",
    "?unlink",
    "unlinkat",
    "?mkdir",
    "?chmod",
    "fchmod",
    "flock",
];
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];

/// The files and folders below a folder, by their paths in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A command, and where it is run.
struct Case {
    name: &'static str,
    arguments: &'static str,
    prepare: fn(&Path),
    /// A file that an interruption leaves half changed; the same command finishes it.
    in_place: Option<&'static str>,
    /// The result has random numbers in it, and so many transactions.
    random: Option<u64>,
}

impl Case {
    const fn of(name: &'static str, arguments: &'static str, prepare: fn(&Path)) -> Self {
        Self { name, arguments, prepare, in_place: None, random: None }
    }

    const fn in_place(self, file: &'static str) -> Self {
        Self { in_place: Some(file), ..self }
    }

    const fn random(self, transactions: u64) -> Self {
        Self { random: Some(transactions), ..self }
    }
}

const CASES: [Case; 14] = [
    Case::of("repair", "repair --yes app.db-wal", torn),
    Case::of("repair, bit", "repair --yes --fix-bit app.db-wal", flipped),
    Case::of("repair, segments", "repair --yes --cut-at-damage --accept-loss log", hit_in_the_middle),
    Case::of("undo", "repair --undo app.db-wal", repaired).in_place("app.db-wal"),
    Case::of("repair, output", "repair --output new app.db-wal", torn),
    Case::of("repair, folder", "repair --output new log", torn_segments),
    Case::of("salvage", "repair --salvage --output new app.db-wal", flipped),
    Case::of("salvage, folder", "repair --salvage --output new log", hit_in_the_middle).random(11),
    Case::of("replay", "replay app.db-wal --onto app.db", torn),
    Case::of("replay, in place", "replay app.db-wal --onto app.db --in-place", torn).in_place("app.db"),
    Case::of("replay, output", "replay log --onto none --output new", segments),
    Case::of("load", "load lines --output new", lines).random(12),
    Case::of("copy", "copy app.db-wal new", torn),
    Case::of("copy, folder", "copy log new", torn_segments),
];

fn sqlite(folder: &Path, case: &str) {
    let made = Sqlite::copy(case);
    for name in ["app.db", "app.db-wal"] {
        fs::copy(made.path(name), folder.join(name)).expect("a copy");
    }
}

fn torn(folder: &Path) {
    sqlite(folder, "torn-midframe-1024");
    // What a killed run left.
    fs::write(folder.join(".new.waltool-tmp"), "half").expect("a leftover");
}

fn flipped(folder: &Path) {
    sqlite(folder, "bitflip-middle-512");
}

fn repaired(folder: &Path) {
    torn(folder);
    let output = Command::new(WALTOOL).args(["repair", "--yes", "app.db-wal"]).current_dir(folder).output();
    assert!(output.expect("a run").status.success());
}

fn segments(folder: &Path) {
    native(folder, 12, 9000, true);
}

fn hit_in_the_middle(folder: &Path) {
    let log = native(folder, 12, 9000, false);
    change(&segment(&log, 1), |bytes| bytes[8192 + 30] ^= 3);
}

fn torn_segments(folder: &Path) {
    let log = native(folder, 8, 9000, false);
    let last = (1..).find(|number| !segment(&log, number + 1).exists()).expect("a last segment");
    change(&segment(&log, last), |bytes| bytes.truncate(bytes.len() - 5));
    fs::create_dir(folder.join(".new.waltool-tmp")).expect("a leftover");
    fs::write(folder.join(".new.waltool-tmp/00000001.wal"), "half").expect("a leftover");
}

fn lines(folder: &Path) {
    segments(folder);
    let output = Command::new(WALTOOL).args(["dump", "--json", "log"]).current_dir(folder).output().expect("a run");
    fs::write(folder.join("lines"), output.stdout).expect("lines");
}

impl Case {
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        (self.prepare)(folder.path());
        folder
    }

    fn command(&self, program: &str, options: &[&str], folder: &Path) -> Output {
        let mut command = Command::new(program);
        command.args(options).args(self.arguments.split(' ')).current_dir(folder).env_remove("RUST_BACKTRACE");
        command.output().unwrap_or_else(|error| panic!("{program}: {error}; to install it: apt-get install strace"))
    }

    fn run(&self, folder: &Path) -> Output {
        self.command(WALTOOL, &[], folder)
    }

    /// Runs with these options of strace; gives what was traced too.
    fn traced(&self, folder: &Path, options: &[&str]) -> (Output, String) {
        let trace = tempfile::NamedTempFile::new().expect("a file");
        let path = trace.path().to_str().expect("text");
        let output = self.command("strace", &[&["-f", "-qq", "-o", path], options, &[WALTOOL]].concat(), folder);
        (output, fs::read_to_string(path).expect("a trace"))
    }

    /// What is in the folder. Where new segments get random numbers, what counts is whether all transactions are there.
    fn files(&self, folder: &Path) -> Files {
        let mut files = Files::new();
        walk(folder, folder, &mut files);
        if let Some(transactions) = self.random
            && files.keys().any(|path| path.starts_with("new"))
        {
            let report = Log::open(&folder.join("new"), None).and_then(|log| Report::of(&log, |_| ()));
            let whole = |new: Report| new.verdict() == Verdict::Clean && new.prefix.transactions == transactions;
            files.retain(|path, _| !path.starts_with("new"));
            files.insert("new".into(), vec![report.is_ok_and(whole).into()]);
        }
        files
    }

    /// Lets one call after the other fail, and gives how many there were, and what was wrong then.
    fn inject(&self, finished: &Files, call: &str, error: &str) -> (usize, Vec<String>) {
        let numbers: Numbers = if call == "openat" { self.creations() } else { Box::new(1..) };
        let (mut injected, mut wrong) = (0, Vec::new());
        for number in numbers {
            let folder = self.folder();
            let before = self.files(folder.path());
            let what = format!("{call}:error={error}:when={number}");
            let options = ["-e", &format!("trace={call}"), "-e", &format!("inject={what}")];
            let (output, trace) = self.traced(folder.path(), &options);
            if !trace.contains("(INJECTED)") {
                assert!(output.status.success(), "{what}, which was not met: {}", text(&output.stderr));
                break;
            }
            injected += 1;
            if let Err(why) = self.judge(&output, call.contains("unlink"), &before, finished, folder.path()) {
                let Output { status, stdout, stderr } = &output;
                let (arguments, said) = (self.arguments, text(stdout) + &text(stderr));
                wrong.push(format!("{why}\nafter waltool {arguments}, with {what}: {status}\n{said}{trace}"));
            }
        }
        (injected, wrong)
    }

    /// Which of its calls of `openat` create files.
    fn creations(&self) -> Numbers {
        let (_, trace) = self.traced(self.folder().path(), &["-e", "trace=openat"]);
        let opened = trace.lines().filter(|line| line.contains("openat("));
        let numbers = (1..).zip(opened).filter(|(_, line)| line.contains("O_CREAT")).map(|(number, _)| number);
        Box::new(numbers.collect::<Vec<u64>>().into_iter())
    }

    /// Whether that was a failure as it should be: what was there or what will be is there, and the command can be run again. Only what
    /// could not be removed may be left of the run.
    fn judge(
        &self,
        output: &Output,
        may_leave: bool,
        before: &Files,
        finished: &Files,
        folder: &Path,
    ) -> Result<(), String> {
        let after = self.files(folder);
        let done = results(&after) == results(finished);
        match output.status.code() {
            Some(0) => ensure(done, || "success, but it is not done".into())?,
            Some(6) => ensure(names_a_path(&text(&output.stderr), folder), || "nothing is named".into())?,
            code => return Err(format!("exit code {code:?}")),
        }
        for (path, bytes) in results(&after) {
            let known = before.get(path) == Some(bytes) || finished.get(path) == Some(bytes);
            let begun = self.in_place.is_some_and(|name| Path::new(name) == path);
            ensure(known || begun, || format!("{} is half written", path.display()))?;
        }
        let left = after.keys().find(|path| is_temporary(path) && !before.contains_key(*path));
        ensure(left.is_none() || may_leave, || format!("{left:?} is left"))?;
        for path in before.keys().filter(|path| finished.contains_key(*path)) {
            ensure(after.contains_key(path), || format!("{} is gone", path.display()))?;
        }
        let again = self.run(folder);
        match again.status.code() {
            Some(0) => {}
            Some(7) if done => {}
            code => return Err(format!("run again: {code:?} {}", text(&again.stderr))),
        }
        let last = self.files(folder);
        ensure(results(&last) == results(finished), || format!("run again, it is not done: {:?}", last.keys()))?;
        ensure(done || last == *finished, || format!("run again, it leaves something: {:?}", last.keys()))
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A message says what could not be done to what.
fn names_a_path(said: &str, folder: &Path) -> bool {
    let path = said.strip_prefix("waltool: ").and_then(|said| said.split_once(": cannot ")).map(|(path, _)| path);
    path.is_some_and(|path| path == "standard output" || folder.join(path).starts_with(folder))
}

fn walk(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("below it").into();
        if path.is_dir() {
            files.insert(name, Vec::new());
            walk(root, &path, files);
        } else {
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
}

/// The name of a file that is being written, which nobody takes for a result.
fn is_temporary(path: &Path) -> bool {
    let mut names = path.iter().filter_map(|name| name.to_str());
    names.any(|name| name.starts_with('.') && name.ends_with(".waltool-tmp"))
}

fn results(files: &Files) -> BTreeMap<&PathBuf, &Vec<u8>> {
    files.iter().filter(|(path, _)| !is_temporary(path)).collect()
}

type Numbers = Box<dyn Iterator<Item = u64>>;

#[test]
fn every_call_that_fails_leaves_what_was_or_what_will_be_and_the_next_run_finishes() {
    let begun = Instant::now();
    let finished: Vec<Files> = CASES
        .iter()
        .map(|case| {
            let folder = case.folder();
            let output = case.run(folder.path());
            assert!(output.status.success(), "{}: {}", case.name, text(&output.stderr));
            case.files(folder.path())
        })
        .collect();
    let jobs =
        (0..CASES.len()).flat_map(|case| CALLS.iter().flat_map(move |call| ERRORS.map(|error| (case, call, error))));
    let (jobs, all) = (Mutex::new(jobs), Mutex::new(vec![(0, Vec::new()); CASES.len()]));
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let next = || jobs.lock().unwrap().next();
                while let Some((case, call, error)) = next() {
                    let (injected, wrong) = CASES[case].inject(&finished[case], call, error);
                    let case = &mut all.lock().unwrap()[case];
                    case.0 += injected;
                    case.1.extend(wrong);
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    for (case, (injected, wrong)) in CASES.iter().zip(&all) {
        println!("{:17} {injected:4} calls failed, {} of them badly", case.name, wrong.len());
        wrong.iter().for_each(|wrong| println!("{wrong}"));
        assert!(*injected > 0, "{}: no call was made to fail", case.name);
    }
    println!("{} in {:?}", all.iter().map(|(injected, _)| injected).sum::<usize>(), begun.elapsed());
    assert!(all.iter().all(|(_, wrong)| wrong.is_empty()), "see above");
}
