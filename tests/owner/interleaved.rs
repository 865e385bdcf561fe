//! A second program that removes LOCK and opens the log before any call of the first.

use std::path::Path;
use std::sync::{Arc, Mutex};

use waltool::vfs::{Disk, Sim};
use waltool::wal::{Durability, DurableFile, Options, Result, Wal};
use waltool::{Log, Report, Verdict};

use super::between::Between;
use super::{commit, entries, why};

const LOG: &str = "/log";

fn options(disk: &Disk) -> Options {
    Options::new().disk(disk.clone()).segment_bytes(20_000)
}

/// What the first program does. `told` has what was acknowledged and not applied since; it stops at the first error.
fn first(wal: Wal, told: &mut Vec<String>) -> Result<()> {
    let mut applied = wal.begin();
    applied.data(b"applied");
    let applied = applied.commit()?;
    tell(&wal, told, "durable".into(), Durability::Durable)?;
    tell(&wal, told, "written".into(), Durability::Written)?;
    tell(&wal, told, "long".repeat(4000), Durability::Written)?;
    commit(&wal, "buffered", Durability::Buffered)?;
    wal.sync()?;
    tell(&wal, told, "rotated".repeat(2000), Durability::Durable)?;
    // From here on what the log had before may be gone, with its segment.
    told.retain(|text| text != "old");
    wal.checkpoint(applied, 0)?;
    tell(&wal, told, "last".into(), Durability::Durable)?;
    wal.close()
}

fn tell(wal: &Wal, told: &mut Vec<String>, text: String, durability: Durability) -> Result<()> {
    commit(wal, &text, durability)?;
    told.push(text);
    Ok(())
}

/// The second program: it makes itself the owner.
fn second(disk: &Disk) -> Wal {
    // It is not there while the first opens the log.
    let _ = disk.remove(&Path::new(LOG).join("LOCK"));
    options(disk).open(LOG).expect("nobody else has this LOCK")
}

/// Runs both, the second before the `n`-th call of the first. Whether there was such a call.
fn run(n: u64, commits_at_once: bool) -> bool {
    let disk = Sim::new(n).disk();
    commit(&options(&disk).open(LOG).expect("a log"), "old", Durability::Durable).expect("its owner");
    let taken: Arc<Mutex<Option<Wal>>> = Arc::default();
    let (other, raw) = (taken.clone(), disk.clone());
    let between = Between::new(disk.clone(), n, move || {
        let wal = second(&raw);
        if commits_at_once {
            commit(&wal, "second", Durability::Durable).expect("its owner");
        }
        *other.lock().unwrap() = Some(wal);
    });
    let mut told = vec!["old".to_owned()];
    let opened = options(&(Arc::new(between.clone()) as Disk)).open(LOG);
    let ended = opened.and_then(|wal| first(wal, &mut told));
    if !between.happened() {
        ended.expect("nobody came between");
        return false;
    }
    let wal = taken.lock().unwrap().take().expect("the second has it open");
    let ended = ended.err().map(|error| error.to_string());
    // The first may have made the next segment before it noticed. Then the second is told, and opens the log again.
    let added = commits_at_once || commit(&wal, "second", Durability::Durable).is_ok();
    told.extend(added.then(|| "second".to_owned()));
    drop(wal);
    let wal = options(&disk).open(LOG).expect("a log that two programs had open");
    let found = entries(&wal);
    for text in &told {
        let count = found.iter().filter(|other| *other == text).count();
        assert_eq!(
            count,
            1,
            "call {n}: {:?}... is there so often; the first ended with {ended:?}",
            &text[..4.min(text.len())]
        );
    }
    commit(&wal, "third", Durability::Durable).expect("its only owner");
    wal.close().expect("its only owner");
    let report = Report::of(&Log::open_on(&disk, Path::new(LOG), None).expect("a log"), |_| ()).expect("readable");
    assert_eq!(report.verdict(), Verdict::Clean, "call {n}: {report:?}");
    true
}

#[test]
fn whenever_a_second_program_takes_the_log_what_anybody_was_told_is_there() {
    for commits_at_once in [true, false] {
        let calls = (1..).take_while(|&n| run(n, commits_at_once)).count();
        assert!(calls > 100, "{calls} calls");
    }
}

#[test]
fn whenever_a_lock_is_removed_during_an_opening_there_is_one_owner() {
    let mut refused = 0;
    for n in 1.. {
        let disk = Sim::new(n).disk();
        commit(&options(&disk).open(LOG).expect("a log"), "old", Durability::Durable).expect("its owner");
        let taken: Arc<Mutex<Option<Wal>>> = Arc::default();
        let (other, raw) = (taken.clone(), disk.clone());
        let between = Between::new(disk.clone(), n, move || *other.lock().unwrap() = Some(second(&raw)));
        let opened = options(&(Arc::new(between.clone()) as Disk)).open(LOG);
        if !between.happened() {
            break;
        }
        match opened {
            Ok(wal) => drop(why(commit(&wal, "first", Durability::Written))),
            Err(error) => {
                assert!(error.to_string().contains("refused"), "call {n}: {error}");
                refused += 1;
            }
        }
        let wal = taken.lock().unwrap().take().expect("the second has it open");
        commit(&wal, "second", Durability::Durable).unwrap_or_else(|error| panic!("call {n}: {error}"));
    }
    assert!(refused >= 3, "{refused} refused");
}

/// What a file holds, by the number at its start.
fn number(disk: &Disk, path: &Path) -> u8 {
    let mut byte = [0];
    let file = disk.open(path, waltool::vfs::Access::Read).expect("the file");
    waltool::vfs::read_exact_at(&*file, &mut byte, 0).expect("a byte");
    byte[0]
}

fn add(file: &DurableFile, number: u8) -> Result<()> {
    let mut transaction = file.begin();
    transaction.write(0, &[number]);
    transaction.commit().map(drop)
}

#[test]
fn whenever_a_second_program_takes_the_log_of_a_file_the_file_does_not_go_back() {
    let path = Path::new("/totals");
    let mut folded = 0;
    for n in 1.. {
        let disk = Sim::new(n).disk();
        let raw = disk.clone();
        let told = Arc::new(Mutex::new(0));
        let newest = told.clone();
        let between = Between::new(disk.clone(), n, move || {
            let _ = raw.remove(Path::new("/totals.wal/LOCK"));
            // It is refused while the first one's copy of the file is being made.
            let Ok(file) = options(&raw).open_file(path) else { return };
            add(&file, 100).expect("its owner");
            *newest.lock().unwrap() = 100;
            if file.close().is_ok() {
                assert_eq!(number(&raw, path), 100);
            }
        });
        let first: Disk = Arc::new(between.clone());
        let tell = |number: u8| *told.lock().unwrap() = number;
        let ended = options(&first).open_file(path).and_then(|mut file| {
            for number in 1..=2 {
                add(&file, number)?;
                tell(number);
                file.checkpoint()?;
            }
            file.close()
        });
        if !between.happened() {
            ended.expect("nobody came between");
            break;
        }
        folded += u32::from(*told.lock().unwrap() == 100);
        let file = options(&disk).open_file(path).expect("a file that two programs had open");
        assert_eq!(number(&disk, path), *told.lock().unwrap(), "call {n}: the first ended with {ended:?}");
        drop(file);
    }
    assert!(folded > 50, "{folded}");
}
