//! Calls that fail, and disks that lie.

use std::io::ErrorKind;

use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{read_exact_at, write_all_at};

use super::*;

#[test]
fn calls_of_one_kind_can_be_made_to_fail() {
    let sim = Sim::new(20);
    let file = sim.create_new(Path::new(A), PRIVATE).unwrap();
    sim.fail_op(Op::Write, 2, Failure::Short, Times::Once);
    assert_eq!(file.write_at(&[1; 100], 0).unwrap(), 100);
    assert!((1..100).contains(&file.write_at(&[1; 100], 0).unwrap()));
    sim.fail_op(Op::Read, 1, Failure::Interrupted, Times::Once);
    assert_eq!(file.read_at(&mut [0], 0).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
    sim.fail(sim.changes() + 1, Failure::Full, Times::Forever);
    assert_eq!(file.write_at(&[2; 100], 0).unwrap(), 100, "over bytes that have their room");
    assert_eq!(file.write_at(&[1; 100], 8192).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(sim.create_new(Path::new(B), PRIVATE).err().unwrap().kind(), ErrorKind::StorageFull);
    sim.heal();
    sim.create_new(Path::new(B), PRIVATE).unwrap();
}

/// A file of ones, over which twos were written before a sync failed.
fn failed_sync(seed: u64) -> (Sim, Box<dyn VfsFile>) {
    let sim = Sim::new(seed);
    let file = synced(&sim, A, &[1; 8 * 512]);
    write_all_at(&*file, &[2; 8 * 512], 0).unwrap();
    sim.fail_op(Op::Sync, 1, Failure::Io, Times::Once);
    assert!(file.sync_data().is_err());
    (sim, file)
}

#[test]
fn a_failed_sync_lies_as_linux_does() {
    let mut lies = 0;
    for seed in 0..50 {
        let (sim, file) = failed_sync(seed);
        let new = Some(vec![2; 8 * 512]);
        assert_eq!(bytes(&sim, A), new, "seed {seed}: reads see it");
        file.sync_data().unwrap();
        let crashed = bytes(&sim.crash(seed), A);
        assert_eq!(sim.to_string().contains("lost by a failed sync"), crashed != new, "seed {seed}");
        assert_eq!(crashes_of(&sim, A, 20), BTreeSet::from([crashed.clone()]), "seed {seed}: nothing waits any more");
        file.drop_clean();
        assert_eq!(bytes(&sim, A), crashed, "seed {seed}: reads see the disk");
        lies += usize::from(crashed != new);
    }
    assert!(lies >= 40, "{lies}");
}

#[test]
fn what_a_failed_sync_lost_is_written_by_who_writes_it_again() {
    for seed in 0..50 {
        let (sim, file) = failed_sync(seed);
        write_all_at(&*file, &[3; 8], 0).unwrap();
        file.sync_data().unwrap();
        let after = bytes(&sim.crash(0), A).unwrap();
        assert_eq!(
            after[..512],
            [vec![3; 8], vec![2; 504]].concat(),
            "seed {seed}: its sector, and nothing else of it"
        );
    }
}

#[test]
fn a_failed_sync_of_a_directory_is_not_made_good_by_the_next() {
    let sim = Sim::new(24);
    sim.create_new(Path::new(A), PRIVATE).unwrap();
    sim.fail_op(Op::SyncFolder, 1, Failure::Io, Times::Once);
    assert!(sim.sync_folder(Path::new("/")).is_err());
    sim.create_new(Path::new(B), PRIVATE).unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    assert_eq!(crashes_of(&sim, A, 100).len(), 2);
    assert_eq!(crashes_of(&sim, B, 100).len(), 1);
}

#[test]
fn a_failed_change_of_names_may_have_happened_unless_the_disk_was_full() {
    let renamed = |seed: u64, failure: Failure| {
        let sim = Sim::new(seed);
        sim.put(Path::new(A), b"x").unwrap();
        sim.fail(1, failure, Times::Once);
        assert!(sim.rename_new(Path::new(A), Path::new(B)).is_err());
        bytes(&sim, B).is_some()
    };
    let met = |failure| (0..50).map(|seed| renamed(seed, failure)).collect::<BTreeSet<_>>();
    assert_eq!(met(Failure::Io), BTreeSet::from([false, true]));
    assert_eq!(met(Failure::Full), BTreeSet::from([false]));
    assert_eq!(met(Failure::Interrupted), BTreeSet::from([false]));
}

#[test]
fn a_failed_write_may_have_written_a_part() {
    let written = |seed: u64| {
        let sim = Sim::new(seed);
        let file = synced(&sim, A, &[1; 100]);
        sim.fail(1, Failure::Io, Times::Once);
        assert!(file.write_at(&[2; 100], 0).is_err());
        let bytes = bytes(&sim, A).unwrap();
        let part = bytes.iter().take_while(|byte| **byte == 2).count();
        assert!(bytes[part..].iter().all(|byte| *byte == 1), "seed {seed}");
        part
    };
    let met: BTreeSet<_> = (0..200).map(written).collect();
    assert!(met.contains(&0) && met.contains(&100) && met.len() > 20);
}

#[test]
fn interrupted_calls_go_through_when_they_are_repeated() {
    let sim = Sim::new(25);
    let file = synced(&sim, A, b"");
    sim.fail(1, Failure::Interrupted, Times::Forever);
    sim.fail_op(Op::Read, 1, Failure::Short, Times::Forever);
    write_all_at(&*file, &[7; 3000], 0).unwrap();
    let mut read = [0; 3000];
    read_exact_at(&*file, &mut read, 0).unwrap();
    assert_eq!(read, [7; 3000]);
    assert!(sim.changes() == 2 && sim.looks() > 2);
}

#[test]
fn a_full_disk_has_the_room_that_was_reserved() {
    let sim = Sim::new(26);
    let file = synced(&sim, A, b"");
    let stored = file.stat().unwrap().stored;
    file.reserve(0, 100_000).unwrap();
    assert!(file.stat().unwrap().stored >= stored + 100_000 && file.stat().unwrap().len == 0);
    sim.fail_op(Op::Write, 1, Failure::Full, Times::Forever);
    assert_eq!(file.write_at(&[1; 100_000], 0).unwrap(), 100_000);
    assert!(file.write_at(&[1; 100_000], 110_000).is_err());
    file.reserve(50_000, 200_000).unwrap();
    assert_eq!(file.write_at(&[1; 10_000], 150_000).unwrap(), 10_000);
    file.set_len(100_000).unwrap();
    assert!(file.write_at(&[1; 10_000], 150_000).is_err(), "who cuts a file gives up its room behind the end");
}

#[test]
fn a_disk_that_lies_rots_loses_and_misplaces() {
    let sim = small_sectors(28, 4);
    let path = Path::new(A);
    let file = synced(&sim, A, b"oldoldoldold");
    write_all_at(&*file, b"NEWN", 4).unwrap();
    file.sync_data().unwrap();
    assert!(sim.rot(path, 1, 0x80) && !sim.rot(path, 12, 1) && !sim.rot(Path::new(B), 0, 1));
    assert_eq!(bytes(&sim, A).unwrap(), b"o\xecdoNEWNdold");
    assert!(sim.misplace(path, 1, 2));
    assert_eq!(bytes(&sim, A).unwrap(), b"o\xecdoldolNEWN");
    write_all_at(&*file, b"1234", 4).unwrap();
    file.sync_data().unwrap();
    let sim = sim.crash(1);
    assert!(sim.lose(path, 1) && !sim.lose(path, 3));
    assert_eq!(bytes(&sim, A).unwrap(), b"o\xecdoldolNEWN");
    assert!(sim.lose(path, 0), "and before the first sync it was nothing");
    assert_eq!(bytes(&sim.crash(1), A).unwrap(), b"\0\0\0\0ldolNEWN");
}
