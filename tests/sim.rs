//! The simulated disk keeps what a disk keeps, and loses what a disk may lose.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{Access, Sim, Vfs, VfsFile, read_exact_at, write_all_at};

type Files = BTreeMap<PathBuf, Vec<u8>>;

const A: &str = "/a";
const B: &str = "/b";

fn small_sectors(seed: u64, sector: usize) -> Sim {
    Sim::with_sector(seed, NonZeroUsize::new(sector).unwrap())
}

fn open(sim: &Sim, path: &str) -> Box<dyn VfsFile> {
    sim.open(Path::new(path), Access::Change).unwrap()
}

fn bytes(sim: &Sim, path: &str) -> Option<Vec<u8>> {
    sim.bytes(Path::new(path))
}

/// A file of these bytes, durable, and open.
fn synced(sim: &Sim, path: &str, bytes: &[u8]) -> Box<dyn VfsFile> {
    sim.put(Path::new(path), bytes).unwrap();
    open(sim, path)
}

/// What the disk holds after each of these seeds.
fn crashes(sim: &Sim, seeds: u64) -> BTreeSet<Files> {
    (0..seeds).map(|seed| sim.crash(seed).files()).collect()
}

/// The same, of one file.
fn crashes_of(sim: &Sim, path: &str, seeds: u64) -> BTreeSet<Option<Vec<u8>>> {
    (0..seeds).map(|seed| bytes(&sim.crash(seed), path)).collect()
}

#[test]
fn reads_see_what_was_written_before_it_is_durable() {
    let sim = Sim::new(1);
    let file = sim.create_new(Path::new(A)).unwrap();
    write_all_at(&*file, b"hello", 5000).unwrap();
    let mut read = [9; 5005];
    read_exact_at(&*file, &mut read, 0).unwrap();
    assert!(read[..5000].iter().all(|byte| *byte == 0) && &read[5000..] == b"hello");
    assert_eq!(file.read_at(&mut [0; 10], 5005).unwrap(), 0);
    assert_eq!(file.stat().unwrap().len, 5005);
    assert!(sim.unsynced());
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let sim = Sim::new(2);
    let file = sim.create_new(Path::new(A)).unwrap();
    write_all_at(&*file, &[7; 3000], 0).unwrap();
    file.sync_data().unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    assert!(!sim.unsynced());
    assert_eq!(crashes_of(&sim, A, 200), BTreeSet::from([Some(vec![7; 3000])]));
    // What is written beside them in their last sector puts none of them at risk.
    write_all_at(&*file, &[8; 3000], 3000).unwrap();
    for seed in 0..500 {
        let after = bytes(&sim.crash(seed), A).unwrap();
        assert!(after.len() >= 3000 && after[..3000] == [7; 3000], "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_may_be_lost_or_kept_or_torn() {
    let sim = Sim::new(3);
    let file = synced(&sim, A, &[1; 1024]);
    write_all_at(&*file, &[2; 1024], 0).unwrap();
    let met = crashes_of(&sim, A, 500);
    assert!(met.contains(&Some(vec![1; 1024])) && met.contains(&Some(vec![2; 1024])));
    assert!(met.contains(&Some([[1; 512], [2; 512]].concat())), "the later sector alone");
    assert!(met.iter().flatten().any(|bytes| bytes[..512].contains(&1) && bytes[..512].contains(&2)), "a torn sector");
    assert!(met.iter().flatten().any(|bytes| bytes.iter().any(|byte| ![1, 2].contains(byte))), "garbage");
}

#[test]
fn a_sector_may_have_any_value_that_it_had_since_its_sync() {
    let sim = Sim::new(4);
    let file = synced(&sim, A, &[0; 512]);
    (1..=5).for_each(|value| write_all_at(&*file, &[value; 512], 0).unwrap());
    let met = crashes_of(&sim, A, 2000);
    assert!((0..=5).all(|value| met.contains(&Some(vec![value; 512]))));
}

#[test]
fn every_state_of_a_write_of_two_sectors_is_met() {
    const SIZE: usize = 4;
    let sim = small_sectors(5, SIZE);
    let file = synced(&sim, A, &[1; 2 * SIZE]);
    write_all_at(&*file, &[2; 2 * SIZE], 0).unwrap();
    // Each sector is a run of one value and a run of the other; one of them may be empty.
    let sector = |front: u8, at: usize| (0..SIZE).map(|i| if i < at { front } else { 3 - front }).collect::<Vec<_>>();
    let sectors: BTreeSet<_> =
        [1, 2].into_iter().flat_map(|front| (0..=SIZE).map(move |at| sector(front, at))).collect();
    assert_eq!(sectors.len(), 2 * SIZE);
    let met = crashes_of(&sim, A, 20_000);
    for (one, other) in sectors.iter().flat_map(|one| sectors.iter().map(move |other| (one, other))) {
        let whole = [&one[..], &other[..]].concat();
        assert!(met.contains(&Some(whole.clone())), "{whole:?}");
    }
}

#[test]
fn the_length_may_arrive_before_the_bytes_and_the_bytes_before_the_length() {
    let sim = Sim::new(6);
    let file = synced(&sim, A, b"");
    write_all_at(&*file, &[5; 600], 0).unwrap();
    let met = crashes_of(&sim, A, 500);
    assert!(met.contains(&Some(Vec::new())) && met.contains(&Some(vec![0; 600])) && met.contains(&Some(vec![5; 600])));
    // No length that it never had.
    assert!(met.iter().flatten().all(|bytes| [0, 600].contains(&bytes.len())));
}

#[test]
fn garbage_is_only_where_something_was_being_written() {
    let sim = Sim::new(7);
    let file = synced(&sim, A, &[1; 100]);
    write_all_at(&*file, &[0; 50], 200).unwrap();
    let mut garbage = false;
    for seed in 0..2000 {
        let after = bytes(&sim.crash(seed), A).unwrap();
        assert_eq!(after[..100], [1; 100], "seed {seed}");
        assert!(after[100..].iter().take(100).all(|byte| *byte == 0), "seed {seed}: the gap was never written");
        garbage |= after.iter().skip(200).any(|byte| *byte != 0);
    }
    assert!(garbage, "zeros that are written behind the end are bytes like all others");
}

#[test]
fn a_file_cut_and_grown_again_shows_its_old_bytes_only_after_a_power_cut() {
    let sim = Sim::new(8);
    let file = synced(&sim, A, &[1; 2000]);
    file.set_len(100).unwrap();
    file.set_len(2000).unwrap();
    assert_eq!(bytes(&sim, A).unwrap(), [vec![1; 100], vec![0; 1900]].concat());
    let met = crashes_of(&sim, A, 500);
    assert!(met.contains(&Some(vec![1; 2000])) && met.contains(&Some(vec![1; 100])));
    assert!(met.contains(&Some([vec![1; 100], vec![0; 1900]].concat())));
    file.sync_data().unwrap();
    assert_eq!(crashes_of(&sim, A, 100), BTreeSet::from([bytes(&sim, A)]));
}

#[test]
fn a_rename_is_undone_by_a_power_cut_until_its_directory_is_synced() {
    let sim = Sim::new(9);
    sim.put(Path::new(A), b"new").unwrap();
    sim.put(Path::new(B), b"old").unwrap();
    sim.rename_over(Path::new(A), Path::new(B)).unwrap();
    let name = |path: &str, bytes: &[u8]| (PathBuf::from(path), bytes.to_vec());
    let before = Files::from([name(A, b"new"), name(B, b"old")]);
    let after = Files::from([name(B, b"new")]);
    assert_eq!(crashes(&sim, 200), BTreeSet::from([before, after.clone()]));
    sim.sync_folder(Path::new("/")).unwrap();
    assert_eq!(crashes(&sim, 200), BTreeSet::from([after]));
}

#[test]
fn a_name_does_not_make_its_bytes_durable_nor_bytes_their_name() {
    let sim = Sim::new(10);
    let file = sim.create_new(Path::new(A)).unwrap();
    write_all_at(&*file, b"bytes", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(crashes_of(&sim, A, 100), BTreeSet::from([None, Some(b"bytes".to_vec())]));

    let file = sim.create_new(Path::new(B)).unwrap();
    write_all_at(&*file, b"bytes", 0).unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    assert!(crashes_of(&sim, B, 100).contains(&Some(Vec::new())));
}

#[test]
fn names_are_kept_and_lost_each_for_itself() {
    let sim = Sim::new(11);
    for name in ["/0", "/1", "/2"] {
        sim.put(Path::new(name), b"").unwrap();
    }
    for name in ["/0", "/1", "/2"] {
        sim.remove(Path::new(name)).unwrap();
    }
    assert_eq!(crashes(&sim, 500).len(), 8);
}

#[test]
fn a_file_in_a_new_directory_is_lost_with_the_directory() {
    let sim = Sim::new(12);
    let (folder, path) = (Path::new("/new"), Path::new("/new/file"));
    sim.create_folder(folder, 0o700).unwrap();
    sim.create_new(path).unwrap().sync_all().unwrap();
    sim.sync_folder(folder).unwrap();
    assert_eq!(crashes_of(&sim, "/new/file", 100).len(), 2);
    sim.sync_folder(Path::new("/")).unwrap();
    assert_eq!(crashes_of(&sim, "/new/file", 100), BTreeSet::from([Some(Vec::new())]));
    assert_eq!(sim.crash(1).stat(folder).unwrap().mode, 0o700);
}

#[test]
fn a_rename_between_directories_is_durable_when_both_are_synced() {
    let sim = Sim::new(13);
    sim.put(Path::new("/one/file"), b"x").unwrap();
    sim.put(Path::new("/two/other"), b"y").unwrap();
    sim.rename_new(Path::new("/one/file"), Path::new("/two/file")).unwrap();
    sim.sync_folder(Path::new("/two")).unwrap();
    assert_eq!(crashes(&sim, 100).len(), 2);
    sim.sync_folder(Path::new("/one")).unwrap();
    assert_eq!(crashes(&sim, 100).len(), 1);
    assert_eq!(bytes(&sim, "/two/file").unwrap(), b"x");
}

#[test]
fn a_power_cut_stops_every_call_and_changes_nothing() {
    let workload = |sim: &Sim| -> std::io::Result<()> {
        let file = sim.create_new(Path::new(A))?;
        write_all_at(&*file, b"one", 0)?;
        file.sync_data()?;
        sim.rename_new(Path::new(A), Path::new(B))?;
        sim.sync_folder(Path::new("/"))
    };
    let mut ends = Vec::new();
    for n in 1.. {
        let sim = Sim::new(14);
        sim.cut_before(n);
        let result = workload(&sim);
        if !sim.is_off() {
            assert!(result.is_ok() && sim.changes() == 5, "{result:?}");
            break;
        }
        assert!(result.is_err() && sim.changes() == n - 1);
        assert!(sim.stat(Path::new("/")).is_err() && sim.random(&mut [0]).is_err(), "reads fail too");
        ends.push(sim.files().into_iter().collect::<Vec<_>>());
    }
    let name = |path: &str, bytes: &[u8]| vec![(PathBuf::from(path), bytes.to_vec())];
    assert_eq!(ends, [vec![], name(A, b""), name(A, b"one"), name(A, b"one"), name(B, b"one")]);
}

#[test]
fn a_killed_process_loses_its_locks_and_nothing_else() {
    let sim = Sim::new(15);
    let file = sim.create_new(Path::new(A)).unwrap();
    write_all_at(&*file, b"cached", 0).unwrap();
    assert!(file.try_lock().unwrap());
    let next = sim.kill();
    assert_eq!(bytes(&next, A).unwrap(), b"cached");
    assert!(open(&next, A).try_lock().unwrap());
    assert!(next.unsynced() && crashes_of(&next, A, 100).contains(&None));
}

#[test]
fn a_lock_is_held_by_one_open_file_until_it_is_dropped() {
    let sim = Sim::new(16);
    let path = Path::new("/LOCK");
    let first = sim.open(path, Access::Lock).unwrap();
    let second = sim.open(path, Access::Lock).unwrap();
    assert!(first.try_lock().unwrap() && first.try_lock().unwrap() && !second.try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
    assert!(sim.crash(1).open(path, Access::Lock).unwrap().try_lock().unwrap());
}

#[test]
fn one_seed_gives_one_disk() {
    let run = |seed: u64| {
        let sim = Sim::new(seed);
        let file = sim.create_new(Path::new(A)).unwrap();
        let mut noise = [0; 2000];
        sim.random(&mut noise).unwrap();
        write_all_at(&*file, &noise, 0).unwrap();
        let times = (sim.now_ns(), sim.now_ns());
        let states: Vec<_> = (0..50).map(|seed| sim.crash(seed).files()).collect();
        (noise, times, states)
    };
    assert!(run(17) == run(17));
    assert!(run(17).0 != run(18).0 && run(17).2 != run(18).2);
    assert!(run(17).1.0 < run(17).1.1);
}

#[test]
fn what_is_random_after_a_power_cut_was_not_random_before() {
    let sim = Sim::new(19);
    let random = |sim: &Sim| {
        let mut bytes = [0; 16];
        sim.random(&mut bytes).unwrap();
        bytes
    };
    let disks = [sim.crash(0), sim.crash(1), sim.kill(), sim.crash(0).crash(0), sim.clone()];
    let met: BTreeSet<_> = disks.iter().flat_map(|disk| [random(disk), random(disk)]).collect();
    assert_eq!(met.len(), 10);
}

#[test]
fn calls_of_one_kind_can_be_made_to_fail() {
    let sim = Sim::new(20);
    let file = sim.create_new(Path::new(A)).unwrap();
    sim.fail_op(Op::Write, 2, Failure::Short, Times::Once);
    assert_eq!(file.write_at(&[1; 100], 0).unwrap(), 100);
    assert!((1..100).contains(&file.write_at(&[1; 100], 0).unwrap()));
    sim.fail_op(Op::Read, 1, Failure::Interrupted, Times::Once);
    assert_eq!(file.read_at(&mut [0], 0).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
    sim.fail(sim.changes() + 1, Failure::Full, Times::Forever);
    assert_eq!(file.write_at(&[2; 100], 0).unwrap(), 100, "over bytes that have their room");
    assert_eq!(file.write_at(&[1; 100], 8192).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(sim.create_new(Path::new(B)).err().unwrap().kind(), ErrorKind::StorageFull);
    sim.heal();
    sim.create_new(Path::new(B)).unwrap();
}
