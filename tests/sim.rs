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

#[test]
fn all_states_are_as_many_as_they_say_and_all_different() {
    let sim = small_sectors(21, 4);
    let file = synced(&sim, A, &[1; 12]);
    sim.put(Path::new(B), b"b").unwrap();
    write_all_at(&*file, &[2; 8], 0).unwrap();
    write_all_at(&*file, &[2; 4], 12).unwrap();
    sim.remove(Path::new(B)).unwrap();
    sim.create_new(Path::new("/c")).unwrap();
    // Two sectors within the old length, one behind it that shows only with the new one, and two names.
    let states = sim.states();
    assert_eq!(states.total(), 2 * 2 * 2 * 2 * 2 * 2);
    let met: Vec<Files> = states.map(|sim| sim.files()).collect();
    assert_eq!(met.len(), 64);

    let mut expected = BTreeSet::new();
    for bits in 0..64 {
        let is = |bit: usize| bits >> bit & 1 == 1;
        let sector = |new: bool| if new { [2; 4] } else { [1; 4] };
        let mut a = [sector(is(0)), sector(is(1)), [1; 4]].concat();
        if is(2) {
            a.extend(if is(3) { [2; 4] } else { [0; 4] });
        }
        let names = [(A, true, a), (B, !is(4), b"b".to_vec()), ("/c", is(5), Vec::new())];
        let files = names.into_iter().filter(|(_, there, _)| *there).map(|(name, _, bytes)| (name.into(), bytes));
        expected.insert(files.collect::<Files>());
    }
    assert_eq!(met.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(expected.len(), 48, "where the length is lost, so is the last sector");
}

#[test]
fn all_states_of_sectors_that_show_are_different() {
    let sim = small_sectors(22, 8);
    let file = synced(&sim, A, &[1; 64]);
    write_all_at(&*file, &[2; 64], 0).unwrap();
    sim.rename_new(Path::new(A), Path::new(B)).unwrap();
    let states = sim.states();
    assert_eq!(states.total(), 512);
    assert_eq!(states.map(|sim| sim.files()).collect::<BTreeSet<_>>().len(), 512);
    let states = sim.states();
    assert_eq!(states.get(0).unwrap().files(), Files::from([(A.into(), vec![1; 64])]));
    assert_eq!(states.get(511).unwrap().files(), Files::from([(B.into(), vec![2; 64])]));
    assert!(states.get(512).is_none());
}

#[test]
fn a_synced_disk_has_one_state() {
    let sim = Sim::new(23);
    synced(&sim, A, &[1; 5000]);
    assert_eq!(sim.states().total(), 1);
    assert_eq!(sim.states().map(|state| state.files()).collect::<Vec<_>>(), [sim.files()]);
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
    sim.create_new(Path::new(A)).unwrap();
    sim.fail_op(Op::SyncFolder, 1, Failure::Io, Times::Once);
    assert!(sim.sync_folder(Path::new("/")).is_err());
    sim.create_new(Path::new(B)).unwrap();
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
    assert!(file.write_at(&[1; 100_000], 100_000).is_err());
}

#[test]
fn holes_are_where_nothing_was_written() {
    let sim = Sim::new(27);
    let file = synced(&sim, A, b"begin");
    write_all_at(&*file, b"end", 1 << 40).unwrap();
    let len = file.stat().unwrap().len;
    assert!(len == (1 << 40) + 3 && file.stat().unwrap().stored <= 8192);
    assert_eq!(file.hole(0, len), 0);
    assert_eq!(file.hole(5000, len), (1 << 40) - 5000);
    assert_eq!(file.hole(1 << 40, len), 0);
    assert_eq!(file.hole(5000, 6000), 1000);
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

#[test]
fn a_person_can_read_what_was_called_and_what_waits() {
    let sim = Sim::new(29);
    let folder = Path::new("log");
    sim.create_folder(folder, 0o700).unwrap();
    let file = sim.create_new(Path::new("log/1.tmp")).unwrap();
    write_all_at(&*file, &[1; 1000], 100).unwrap();
    sim.fail_op(Op::Sync, 1, Failure::Interrupted, Times::Once);
    assert!(file.sync_data().is_err());
    sim.rename_new(Path::new("log/1.tmp"), Path::new("log/1.wal")).unwrap();
    sim.cut_before(6);
    assert!(sim.sync_folder(folder).is_err());
    let expected = "\
call 1: create_folder log
call 2: create_new log/1.tmp
call 3: write_at log/1.tmp 100..1100
call 4: sync_data log/1.tmp (Interrupted)
call 5: rename_new log/1.tmp to log/1.wal
the power is off
not durable: /log/1.wal: sectors 0..3; length 0, then 100, 1100
not durable: the name log
not durable: the name 1.tmp
not durable: 1.tmp renamed to 1.wal
";
    assert_eq!(sim.to_string(), expected);
}

#[test]
fn a_fork_goes_its_own_way() {
    let sim = Sim::new(30);
    let file = synced(&sim, A, b"both");
    write_all_at(&*file, b"more", 4).unwrap();
    let fork = sim.fork();
    assert_eq!((fork.changes(), crashes(&fork, 50)), (sim.changes(), crashes(&sim, 50)));
    write_all_at(&*open(&fork, A), b"fork", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!((bytes(&sim, A).unwrap(), bytes(&fork, A).unwrap()), (b"bothmore".to_vec(), b"forkmore".to_vec()));
    assert!(fork.unsynced() && !sim.unsynced());
}

#[test]
fn a_directory_is_removed_name_by_name() {
    let sim = Sim::new(31);
    for path in ["/d/1", "/d/2", "/d/e/3"] {
        sim.put(Path::new(path), b"x").unwrap();
    }
    let left = |cut: u64| {
        let sim = sim.fork();
        sim.cut_before(cut);
        assert_eq!(sim.remove_folder(Path::new("/d")).is_ok(), cut == 6);
        sim.files().len()
    };
    assert_eq!([1, 2, 3, 4, 5, 6].map(left), [3, 2, 1, 0, 0, 0]);
}

#[test]
fn several_threads_write_to_one_file() {
    let sim = Sim::new(32);
    let file = synced(&sim, A, b"");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                (0..100)
                    .for_each(|n| write_all_at(&**file, &[thread + 1; 10], u64::from(thread) * 1000 + n * 10).unwrap());
            });
        }
    });
    file.sync_data().unwrap();
    let expected: Vec<u8> = (1..=4).flat_map(|value| [value; 1000]).collect();
    assert_eq!(bytes(&sim.crash(1), A).unwrap(), expected);
    assert_eq!(sim.changes(), 401);
}
