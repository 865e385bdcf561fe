//! The commands that change files, killed at any moment and run again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use waltool::wal::Options;

use super::spawn;
use super::support::{Noise, pattern};

const KILLS: usize = 40;
/// The sidecar of a target that is changed in place.
const APPLIED: &str = "target.waltool-applied";

/// A folder with a log, and a target for it.
struct Scene {
    folder: tempfile::TempDir,
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

impl Scene {
    /// A log of some megabytes with a torn tail of some more, and a target that is older.
    fn new(torn: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let wal = Options::new().segment_bytes(1 << 20).open(&log).expect("a log");
        for number in 0..40 {
            let mut transaction = wal.begin();
            transaction.write(number * 50_000, &pattern(100_000, number as usize));
            transaction.commit().expect("a commit");
        }
        wal.close().expect("an end");
        if torn {
            let last = last_segment(&log);
            let mut bytes = fs::read(&last).expect("a segment");
            bytes.extend(Noise(7).bytes(4 << 20));
            fs::write(last, bytes).expect("a torn tail");
        }
        fs::write(folder.path().join("target"), pattern(300_000, 3)).expect("a target");
        Self { folder }
    }

    fn copy(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, bytes) in files(self.folder.path()) {
            let to = folder.path().join(path);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::write(to, bytes).expect("a copy");
        }
        Self { folder }
    }

    /// All files; of what says how far a log was applied only that it is there, for it counts its own changes too.
    fn files(&self) -> Files {
        let mut files = files(self.folder.path());
        files.iter_mut().filter(|(path, _)| path.ends_with(APPLIED)).for_each(|(_, bytes)| bytes.clear());
        files
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waltool"));
        command.args(arguments).current_dir(self.folder.path());
        spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Runs the command to its end: its exit code, and how often one could look before it came.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, usize) {
        let mut child = self.spawn(arguments);
        let mut looks = 0;
        loop {
            if let Some(status) = child.try_wait().expect("its end") {
                return (status.code(), looks);
            }
            looks += 1;
        }
    }

    /// Kills the command after so many looks, unless it has ended before. Whether it was killed.
    fn kill(&self, arguments: &[&str], looks: usize) -> bool {
        let mut child = self.spawn(arguments);
        let ended = (0..looks).any(|_| child.try_wait().expect("its end").is_some());
        child.kill().expect("a kill");
        child.wait().expect("its end");
        !ended
    }
}

fn last_segment(log: &Path) -> PathBuf {
    let paths = fs::read_dir(log).expect("a log").map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).max().expect("a segment")
}

fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inside) = open.pop() {
        for entry in fs::read_dir(folder.join(&inside)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = inside.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                open.push(path);
            } else {
                found.insert(path, fs::read(entry.path()).expect("a file"));
            }
        }
    }
    found
}

/// Kills the command at any moment; `between` must hold of what that leaves, and a second run must come to what one run alone comes to.
fn a_second_run_finishes(arguments: &[&str], torn: bool, between: impl Fn(&Files, &Files, &Files) -> bool) {
    let scene = Scene::new(torn);
    let before = scene.files();
    let finished = scene.copy();
    let (code, mut looks) = finished.run(arguments);
    assert_eq!(code, Some(0), "{arguments:?}");
    let after = finished.files();
    assert!(before != after);
    let mut noise = Noise(11);
    let (mut killed, mut unfinished) = (0, 0);
    for kill in 0..KILLS {
        let scene = scene.copy();
        let was_killed = scene.kill(arguments, noise.below(looks));
        // How many looks fit into a run depends on what else the machine does.
        looks = if was_killed { looks + looks / 8 } else { looks - looks / 8 }.max(8);
        let left = scene.files();
        (killed, unfinished) = (killed + usize::from(was_killed), unfinished + usize::from(left != after));
        let about = format!("{arguments:?}, kill {kill}, which left {:?}", left.keys());
        assert!(between(&left, &before, &after), "{about}");
        assert_eq!(scene.run(arguments).0, Some(0), "{about}");
        let differs = |(path, bytes): &(&PathBuf, &Vec<u8>)| after.get(*path) != Some(*bytes);
        let again = scene.files();
        assert_eq!(again.iter().filter(differs).map(|(path, _)| path).next(), None, "{about}");
        assert_eq!(again.len(), after.len(), "{about}");
    }
    figure!("{arguments:?}: {killed} of {KILLS} killed, {unfinished} of them before the end");
    assert!(unfinished > KILLS / 10, "{unfinished} were killed before the end");
}

#[test]
fn a_killed_repair_leaves_the_log_or_the_result_and_is_finished_by_the_next() {
    a_second_run_finishes(&["repair", "--yes", "log"], true, |left, before, after| {
        let log =
            |files: &Files| -> Files { segments(files).map(|(path, bytes)| (path.clone(), bytes.clone())).collect() };
        log(left) == log(before) || log(left) == log(after)
    });
}

#[test]
fn a_killed_replay_leaves_the_target_or_the_result_and_is_finished_by_the_next() {
    a_second_run_finishes(&["replay", "log", "--onto", "target"], false, |left, before, after| {
        let target = Path::new("target");
        segments(left).eq(segments(before)) && (left[target] == before[target] || left[target] == after[target])
    });
}

#[test]
fn a_killed_replay_in_place_is_finished_by_the_next() {
    a_second_run_finishes(&["replay", "log", "--onto", "target", "--in-place"], false, |left, before, _| {
        segments(left).eq(segments(before))
    });
}

fn segments(files: &Files) -> impl Iterator<Item = (&PathBuf, &Vec<u8>)> {
    files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "wal"))
}
