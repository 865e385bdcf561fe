//! A checkpoint takes the positions at which transactions end, and no other: what was not applied is never left out of a replay.

use std::collections::BTreeMap;
use std::path::Path;

use waltool::formats::native::layout::Lsn;
use waltool::wal::{Durability, Entry, Options, Transaction, Wal, WalError};
use waltool::{Error, Log, Scan};

/// The entries from `from` on, as transaction and text; those of checkpoints left out.
fn entries(wal: &Wal, from: Lsn) -> Vec<(u64, String)> {
    let committed = wal.committed(from).unwrap();
    let mut entries = committed.entries();
    let mut found = Vec::new();
    while let Some(logged) = entries.next().unwrap() {
        match logged.entry {
            Entry::Checkpoint { .. } => {}
            entry => found.push((logged.transaction, format!("{entry:?}"))),
        }
    }
    found
}

fn log(wal: &Wal, change: impl FnOnce(&mut Transaction<&Wal>), durability: Durability) -> Lsn {
    let mut transaction = wal.begin();
    change(&mut transaction);
    transaction.commit_with(durability).unwrap()
}

fn data(wal: &Wal, bytes: &[u8]) -> Lsn {
    log(
        wal,
        |it| {
            it.data(bytes);
        },
        Durability::Durable,
    )
}

/// Every file of a log but its lock.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
    files.filter(|(name, _)| name != "LOCK").collect()
}

fn copy(from: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files(from) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// The COMMITs of a log, as the reader finds them: position, end and number.
fn commits(folder: &Path) -> Vec<(Lsn, Lsn, u64)> {
    let log = Log::open(folder, None).unwrap();
    let mut scan = Scan::new(&log);
    let mut found = Vec::new();
    while let Some(item) = scan.next().unwrap() {
        let Some(record) = item.record.filter(|record| record.meta.commit.is_some()) else { continue };
        let lsn = Lsn(record.meta.lsn);
        found.push((lsn, Lsn::new(lsn.segment(), item.span.end() as u32), record.meta.transaction));
    }
    found
}

/// A log with all there is: blocks with unused ends, DATA in pieces, marks, checkpoints, seals, a close, and a tail that a crash left, with an
/// intact commit in it, before the last segment.
fn rich_log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(70_000).zero_fill(false);
    let wal = options.open(folder.path()).unwrap();
    for number in 0..40u32 {
        let bytes = number.to_string().repeat(300 + 7 * number as usize);
        log(
            &wal,
            |it| {
                it.write(number.into(), bytes.as_bytes()).data(b"more");
            },
            Durability::Written,
        );
    }
    data(&wal, &[b'x'; 40_000]);
    log(&wal, |_| (), Durability::Durable);
    log(&wal, |_| (), Durability::Durable);
    wal.close().unwrap();

    let wal = options.open(folder.path()).unwrap();
    data(&wal, b"of the second opening");
    let lost = log(
        &wal,
        |it| {
            it.data(b"lost");
        },
        Durability::Written,
    );
    log(
        &wal,
        |it| {
            it.data(b"intact, but after a hole");
        },
        Durability::Written,
    );
    drop(wal);
    let segment = folder.path().join(format!("{:08x}.wal", lost.segment()));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[lost.offset() as usize] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();

    let wal = options.open(folder.path()).unwrap();
    assert!(wal.recovery().residue > 0);
    data(&wal, b"of the third opening");
    data(&wal, b"the last");
    drop(wal);
    folder
}

#[track_caller]
fn refused(wal: &Wal, position: Lsn) {
    let error = wal.checkpoint(position, 0).expect_err("a refusal");
    let WalError::Stopped(Error::Usage(text)) = &error else { panic!("{position}: {error}") };
    assert!(text.contains(&position.to_string()), "{text}");
    assert!(text.contains(&*wal.path().to_string_lossy()) && text.contains("`commit`"), "{text}");
}

#[test]
fn of_all_positions_a_checkpoint_takes_those_at_which_a_transaction_ends() {
    let folder = rich_log();
    let commits = commits(folder.path());
    let files = files(folder.path());
    let wal = Wal::open(folder.path()).unwrap();
    let all = entries(&wal, wal.redo_lsn());
    assert!(commits.len() > 45 && files.len() > 2, "{} commits, {} segments", commits.len(), files.len());
    // Where the last transaction ends that a position covers.
    let mut ends: BTreeMap<Lsn, Lsn> = BTreeMap::new();
    for (number, _) in (1u32..).zip(&files) {
        ends.insert(Lsn::new(number, 8192), Lsn::new(number, 8192));
    }
    ends.extend(commits.iter().flat_map(|&(lsn, end, _)| [(end, end), (lsn, end)]));

    let mut tried = 0;
    for (number, bytes) in (1u32..).zip(files.values()) {
        for offset in 0..bytes.len() as u32 + 64 {
            let position = Lsn::new(number, offset);
            // Records begin at multiples of 8; in the first bytes of each page every position is tried.
            if !ends.contains_key(&position) && (offset % 8 == 0 || offset % 4096 < 64) {
                refused(&wal, position);
                tried += 1;
            }
        }
    }
    let behind = Lsn::new(files.len() as u32 + 1, 8192);
    for position in [Lsn(0), Lsn(1), Lsn(8192), behind, Lsn::new(2, u32::MAX), Lsn(u64::MAX - 47), Lsn(u64::MAX)] {
        refused(&wal, position);
    }
    assert!(tried > 10_000, "{tried}");
    assert_eq!(entries(&wal, wal.redo_lsn()), all);
    assert_eq!(self::files(folder.path()), files, "a refusal changes nothing");
    drop(wal);

    for (&position, &end) in &ends {
        let folder = copy(folder.path());
        let wal = Wal::open(folder.path()).unwrap();
        wal.checkpoint(position, 0).unwrap_or_else(|error| panic!("{position}: {error}"));
        let first_left = commits.iter().filter(|commit| commit.1 > end).map(|commit| commit.2).min();
        let left: Vec<_> = all.iter().filter(|entry| first_left.is_some_and(|first| entry.0 >= first)).collect();
        assert_eq!(entries(&wal, wal.redo_lsn()).iter().collect::<Vec<_>>(), left, "{position}");
        drop(wal);
        let wal = Wal::open(folder.path()).unwrap();
        assert_eq!(entries(&wal, wal.redo_lsn()).iter().collect::<Vec<_>>(), left, "{position}, opened again");
    }
}

#[test]
fn the_position_of_an_entry_makes_no_entry_vanish() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    log(
        &wal,
        |it| {
            it.data(b"a").data(b"b");
        },
        Durability::Durable,
    );
    data(&wal, b"c");
    let all = entries(&wal, wal.redo_lsn());
    let committed = wal.committed(wal.redo_lsn()).unwrap();
    let mut logged = committed.entries();
    while let Some(entry) = logged.next().unwrap() {
        // The first of a transaction begins where the transaction before ends; it is still to be replayed then.
        match wal.checkpoint(entry.lsn, 0) {
            Ok(()) => assert!(entries(&wal, wal.redo_lsn()).iter().any(|left| left.0 == entry.transaction)),
            Err(_) => assert_eq!(entries(&wal, wal.redo_lsn()), all, "{}", entry.lsn),
        }
    }
}

#[test]
fn bytes_of_a_payload_never_pass_for_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    data(&wal, b"of the first transaction");
    let commit = data(&wal, b"of the second");
    let segment = std::fs::read(folder.path().join("00000001.wal")).unwrap();
    let nonce = u32::from_le_bytes(segment[40..44].try_into().unwrap());
    // A COMMIT that is right for the place at which the payload will be.
    let at = wal.end().offset() + 24;
    let payload = &segment[commit.offset() as usize + 24..][..24];
    let mut forged = Vec::new();
    let kind = waltool::formats::native::payload::RecordKind::Commit;
    waltool::formats::native::encode::push_record(&mut forged, kind.into(), 0, nonce, at, &[payload]);
    let last = data(&wal, &forged);
    refused(&wal, Lsn::new(1, at));
    refused(&wal, Lsn::new(1, at + 48 - 8));
    assert_eq!(entries(&wal, wal.redo_lsn()).len(), 3);
    wal.checkpoint(last, 0).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()).len(), 0);
}

/// The ways to learn where the log ends.
const ENDS: [fn(&Wal) -> Lsn; 3] =
    [|wal| wal.end(), |wal| wal.recovery().end, |wal| wal.committed(wal.redo_lsn()).unwrap().end()];

#[test]
fn everything_so_far_is_a_position_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    assert_eq!((wal.end(), wal.recovery().end), (wal.redo_lsn(), wal.redo_lsn()), "a new log ends where it begins");
    wal.checkpoint(wal.end(), 0).unwrap();
    assert!(files(folder.path()).is_empty(), "nothing was committed, so nothing is recorded");
    let first = data(&wal, b"one");
    assert!(first < wal.end());
    assert_eq!(wal.end(), wal.committed(wal.redo_lsn()).unwrap().end());
    wal.close().unwrap();

    // After a close the last commit is one that no call gave.
    for end in ENDS {
        let folder = copy(folder.path());
        let wal = Wal::open(folder.path()).unwrap();
        wal.checkpoint(end(&wal), 3).unwrap();
        assert!(entries(&wal, wal.redo_lsn()).is_empty());
        assert_eq!(files(folder.path()).len(), 1, "the log begins again");
        data(&wal, b"two");
        assert_eq!(entries(&wal, wal.redo_lsn()).len(), 1);
    }
}

#[test]
fn a_commit_that_is_still_in_memory_is_a_position() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Wal::open(folder.path()).unwrap();
    let lsn = log(
        &wal,
        |it| {
            it.data(b"buffered");
        },
        Durability::Buffered,
    );
    let later = log(
        &wal,
        |it| {
            it.data(b"not applied");
        },
        Durability::Buffered,
    );
    refused(&wal, Lsn(lsn.0 + 8));
    wal.checkpoint(lsn, 0).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()).len(), 1);
    wal.checkpoint(later, 0).unwrap();
    assert_eq!(entries(&wal, wal.redo_lsn()).len(), 0);
}

#[test]
fn what_is_checkpointed_already_is_taken_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(8192).open(folder.path()).unwrap();
    let lsns: Vec<_> = (0..6u8).map(|number| data(&wal, &[number; 100])).collect();
    wal.checkpoint(lsns[4], 0).unwrap();
    let files = files(folder.path());
    let redo_lsn = wal.redo_lsn();
    for &lsn in &lsns[..5] {
        wal.checkpoint(lsn, 0).unwrap();
    }
    wal.checkpoint(redo_lsn, 0).unwrap();
    // Its segment is gone, so nobody can tell; nothing is left out either way.
    wal.checkpoint(Lsn(lsns[0].0 + 4), 0).unwrap();
    assert_eq!(wal.redo_lsn(), redo_lsn);
    assert_eq!(self::files(folder.path()), files);
    refused(&wal, Lsn(lsns[4].0 + 8));
    assert_eq!(entries(&wal, redo_lsn).len(), 1);
}

#[test]
fn threads_go_on_while_positions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let wal = Options::new().segment_bytes(20_000).open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        let wal = &wal;
        for thread in 0..3u8 {
            scope.spawn(move || (0..60).for_each(|_| _ = data(wal, &[thread; 200])));
        }
        scope.spawn(move || {
            for step in 0..300 {
                let end = wal.end();
                refused(wal, Lsn(end.0.saturating_sub(8 + step % 5 * 8)));
                refused(wal, Lsn(u64::MAX - step));
            }
        });
    });
    assert_eq!(entries(&wal, wal.redo_lsn()).len(), 180);
}
