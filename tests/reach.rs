//! What no file can hold is refused when it is committed: once it is in the log, no checkpoint could ever be made again.

use std::fs;
use std::path::Path;
use std::process::Command;

use waltool::Error;
use waltool::formats::native::encode::WriteError;
use waltool::vfs::sim::{Op, Sim};
use waltool::vfs::{self, LEN_MAX};
use waltool::wal::{DurableFile, Options, Result, Transaction, Wal, WalError};

fn commit(mut transaction: Transaction<&Wal>, change: impl FnOnce(&mut Transaction<&Wal>)) -> Result<()> {
    change(&mut transaction);
    transaction.commit().map(drop)
}

fn write(transaction: Transaction<&Wal>, offset: u64, bytes: &[u8]) -> Result<()> {
    commit(transaction, |it| {
        it.write(offset, bytes);
    })
}

fn set_len(transaction: Transaction<&Wal>, len: u64) -> Result<()> {
    commit(transaction, |it| {
        it.set_len(len);
    })
}

#[test]
fn a_change_beyond_the_longest_file_that_there_can_be_is_refused_by_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    let end = wal.end();
    for (offset, len) in [(LEN_MAX, 1), (LEN_MAX - 9, 10), (1 << 63, 1), (u64::MAX - 4, 4), (u64::MAX, 2)] {
        let error = write(wal.begin(), offset, &vec![7; len]).expect_err("a refusal");
        let refused = matches!(error, WalError::Transaction(WriteError::TargetRange { .. }));
        assert!(refused && error.to_string().contains(&offset.to_string()), "{error}");
    }
    for len in [LEN_MAX + 1, u64::MAX] {
        let error = set_len(wal.begin(), len).expect_err("a refusal");
        let refused = matches!(error, WalError::Transaction(WriteError::TargetLen { .. }));
        assert!(refused && error.to_string().contains(&len.to_string()), "{error}");
    }
    assert_eq!(wal.end(), end, "nothing was logged");
    write(wal.begin(), u64::MAX, b"").unwrap();
    write(wal.begin(), LEN_MAX - 10, &[7; 10]).unwrap();
    set_len(wal.begin(), LEN_MAX).unwrap();
    assert!(wal.end() > end, "the log goes on");
}

/// A durable file on a simulated disk whose files can be `max` bytes long.
fn simulated(max: u64) -> (Sim, Options) {
    let sim = Sim::new(1);
    sim.set_len_max(max);
    let options = Options::new().disk(sim.disk()).zero_fill(false);
    (sim, options)
}

const FILE: &str = "/file";
const MAX: u64 = 1 << 40;

#[test]
fn a_durable_file_takes_what_its_file_system_holds_and_refuses_the_rest() {
    let (sim, options) = simulated(MAX);
    let mut file = options.open_file(FILE).unwrap();
    for (offset, len) in [(MAX, 1), (MAX - 4, 5), (1 << 62, 5)] {
        let error = write(file.begin(), offset, &vec![7; len]).expect_err("a refusal");
        let WalError::Transaction(WriteError::TargetMax { path, len: wanted, max }) = &error else { panic!("{error}") };
        assert_eq!((path.as_path(), *wanted, *max), (Path::new(FILE), offset + len as u64, MAX));
    }
    assert!(set_len(file.begin(), MAX + 1).is_err());
    // Cut again in the same transaction, it would still have to be so long for a moment.
    let long_for_a_moment = commit(file.begin(), |it| {
        it.write(MAX, b"x").set_len(5);
    });
    assert!(long_for_a_moment.is_err());
    write(file.begin(), 0, b"first").unwrap();
    write(file.begin(), MAX - 5, b"last!").unwrap();
    file.checkpoint().unwrap();
    assert_eq!(sim.disk().stat(Path::new(FILE)).unwrap().len, MAX);
    set_len(file.begin(), 5).unwrap();
    file.close().unwrap();
    assert_eq!(sim.disk().stat(Path::new(FILE)).unwrap().len, 5);
}

#[test]
fn the_file_system_is_asked_once_and_not_for_what_fits_anywhere() {
    let (sim, options) = simulated(MAX);
    let file = options.open_file(FILE).unwrap();
    let looks = |offset: u64| {
        let before = sim.calls_of(Op::Look);
        write(file.begin(), offset, b"x").unwrap();
        sim.calls_of(Op::Look) - before
    };
    looks(0);
    let short = looks(0);
    assert_eq!(looks((1 << 31) - 2), short);
    assert_eq!([looks(1 << 31), looks(1 << 32), looks(1 << 33)], [short + 1, short, short]);
}

#[test]
fn a_log_that_makes_the_file_too_long_says_which_transaction_and_what_to_do() {
    let (sim, options) = simulated(LEN_MAX);
    let file = options.open_file(FILE).unwrap();
    write(file.begin(), 0, b"first").unwrap();
    write(file.begin(), 1 << 62, b"far").unwrap();
    write(file.begin(), 5, b"later").unwrap();
    drop(file);

    sim.set_len_max(MAX);
    let names = || sim.disk().list(Path::new("/file.wal")).unwrap();
    let before = names();
    let error = options.open_file(FILE).err().expect("a refusal");
    let WalError::Stopped(Error::Refused { path, .. }) = &error else { panic!("{error}") };
    assert_eq!(path, Path::new(FILE));
    let text = error.to_string();
    for part in
        ["transaction 2 of its log", "4611686018427387907 bytes", "1099511627776", "waltool dump --json /file.wal"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(sim.disk().stat(Path::new(FILE)).is_err(), "the file is as it was: not there");
    assert_eq!(names(), before);

    sim.set_len_max(LEN_MAX);
    options.open_file(FILE).unwrap().close().unwrap();
    assert_eq!(sim.disk().stat(Path::new(FILE)).unwrap().len, (1 << 62) + 3);
}

#[test]
fn what_a_commit_took_a_checkpoint_can_do_on_this_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let max = vfs::real().len_max(folder.path()).unwrap();
    assert!(max >= 1 << 31, "{max}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file was made to find that out");
    let lengths = [1 << 31, 1 << 40, max - 1, max, max.saturating_add(1), 1 << 62, LEN_MAX];
    for len in lengths {
        for by_write in [true, false] {
            let mut file = DurableFile::open(&path).unwrap();
            write(file.begin(), 0, b"first").unwrap();
            let taken = if by_write { write(file.begin(), len - 1, b"x") } else { set_len(file.begin(), len) };
            assert_eq!(taken.is_ok(), len <= max, "{len} of {max}: {taken:?}");
            set_len(file.begin(), 5).unwrap();
            file.checkpoint().unwrap_or_else(|error| panic!("{len} of {max}: {error}"));
            file.close().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"first");
        }
    }
}

/// Not a test by itself: what the next one runs in a process of its own.
#[test]
fn under_a_limit() {
    let Some(path) = std::env::var_os("WALTOOL_UNDER_A_LIMIT") else { return };
    let file = DurableFile::open(path).unwrap();
    write(file.begin(), 0, b"first").unwrap();
    let error = write(file.begin(), 1 << 40, b"x").expect_err("a refusal");
    assert!(matches!(error, WalError::Transaction(WriteError::TargetMax { .. })), "{error}");
    assert!(error.to_string().contains("ulimit -f"), "{error}");
    file.close().unwrap();
}

#[test]
fn a_limit_of_the_process_is_met_by_an_error_and_not_by_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    // 3 or 6 GiB, by the shell.
    let script = "ulimit -f 6291456; exec \"$0\" --exact under_a_limit --nocapture";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap()).env("WALTOOL_UNDER_A_LIMIT", &path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(&path).unwrap(), b"first");
}

#[test]
fn what_no_file_can_hold_is_refused_when_it_is_submitted_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = DurableFile::open(folder.path().join("file")).unwrap();
    let mut transaction = file.begin();
    transaction.set_len(LEN_MAX);
    assert!(matches!(transaction.submit(), Err(WalError::Transaction(_))));
    file.close().unwrap();
}
