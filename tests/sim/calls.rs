//! Calls, as a program makes them: the power fails at any of them, and people can read them.

use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{read_exact_at, write_all_at};

use super::*;

#[test]
fn reads_see_what_was_written_before_it_is_durable() {
    let sim = Sim::new(1);
    let file = sim.create_new(Path::new(A), PRIVATE).unwrap();
    write_all_at(&*file, b"hello", 5000).unwrap();
    let mut read = [9; 5005];
    read_exact_at(&*file, &mut read, 0).unwrap();
    assert!(read[..5000].iter().all(|byte| *byte == 0) && &read[5000..] == b"hello");
    assert_eq!(file.read_at(&mut [0; 10], 5005).unwrap(), 0);
    assert_eq!(file.stat().unwrap().len, 5005);
    assert!(sim.unsynced());
}

#[test]
fn a_power_cut_stops_every_call_and_changes_nothing() {
    let workload = |sim: &Sim| -> std::io::Result<()> {
        let file = sim.create_new(Path::new(A), PRIVATE)?;
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
    let file = sim.create_new(Path::new(A), PRIVATE).unwrap();
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
        let file = sim.create_new(Path::new(A), PRIVATE).unwrap();
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
fn a_person_can_read_what_was_called_and_what_waits() {
    let sim = Sim::new(29);
    let folder = Path::new("log");
    sim.create_folder(folder, 0o700).unwrap();
    let file = sim.create_new(Path::new("log/1.tmp"), PRIVATE).unwrap();
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
not durable: /log/1.wal: sectors 0..3; length 0, then 1100
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
