//! What a power cut leaves, by chance.

use std::ffi::OsStr;

use waltool::vfs::{OPEN, OPEN_FOLDER, Rights, write_all_at};

use super::*;

#[test]
fn what_was_synced_survives_every_power_cut() {
    let sim = Sim::new(2);
    let file = sim.create_new(Path::new(A), PRIVATE).unwrap();
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
fn a_long_write_may_arrive_up_to_any_page() {
    let sim = Sim::new(33);
    let file = synced(&sim, A, &[1; 100]);
    write_all_at(&*file, &[2; 10_000], 100).unwrap();
    let lengths: BTreeSet<_> = crashes_of(&sim, A, 500).into_iter().flatten().map(|bytes| bytes.len()).collect();
    assert_eq!(lengths, BTreeSet::from([100, 4096, 8192, 10_100]));
}

#[test]
fn cutting_a_file_may_clear_the_rest_of_a_sector_before_it_arrives() {
    let sim = Sim::new(34);
    let file = synced(&sim, A, &[1; 1024]);
    file.set_len(100).unwrap();
    let met: BTreeSet<_> = sim.states().map(|state| bytes(&state, A).unwrap()).collect();
    let cleared = [vec![1; 100], vec![0; 412], vec![1; 512]].concat();
    assert_eq!(met, BTreeSet::from([vec![1; 1024], vec![1; 100], cleared]));
}

#[test]
fn a_name_is_not_durable_before_the_one_that_it_came_from_is_gone() {
    let sim = Sim::new(35);
    sim.put(Path::new("/one/x"), b"x").unwrap();
    sim.create_folder(Path::new("/two"), 0o700).unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    sim.rename_new(Path::new("/one/x"), Path::new("/two/x")).unwrap();
    sim.rename_new(Path::new("/two/x"), Path::new("/two/y")).unwrap();
    sim.sync_folder(Path::new("/two")).unwrap();
    assert_eq!(crashes(&sim, 100), BTreeSet::from([Files::from([("/two/y".into(), b"x".to_vec())])]));
}

#[test]
fn rights_are_durable_after_a_sync_of_all_and_one_of_those_since_before_it() {
    let sim = Sim::new(36);
    let file = synced(&sim, A, b"x");
    let attribute = OsStr::new("user.origin");
    file.set_attribute(attribute, Some(b"night 7")).unwrap();
    file.set_owner((7, 8)).unwrap();
    file.set_mode(0o640).unwrap();
    file.sync_data().unwrap();
    let rights = |sim: Sim| {
        let Rights { mode, owner, attributes } = open(&sim, A).rights().unwrap();
        (attributes.get(attribute).cloned(), owner, mode)
    };
    let met = || (0..100).map(|seed| rights(sim.crash(seed))).collect::<BTreeSet<_>>();
    let value = Some(b"night 7".to_vec());
    let given = |value: Option<&[u8]>, owner, mode| (value.map(<[u8]>::to_vec), owner, mode);
    let own = (1000, 1000);
    let all = [given(None, own, 0o600), (value.clone(), own, 0o600), (value.clone(), (7, 8), 0o600)];
    let last = (value, (7, 8), 0o640);
    let all = all.into_iter().chain([last.clone()]).collect::<BTreeSet<_>>();
    assert_eq!((met(), sim.states().total()), (all, 4));
    file.sync_all().unwrap();
    assert_eq!((met(), sim.states().total()), (BTreeSet::from([last.clone()]), 1));
    file.set_attribute(attribute, None).unwrap();
    assert_eq!(met(), BTreeSet::from([last, (None, (7, 8), 0o640)]));
}

#[test]
fn rights_of_a_directory_are_durable_after_a_sync_of_it() {
    let sim = Sim::new(37);
    let path = Path::new("/log");
    sim.create_folder(path, 0o700).unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    sim.open(path, Access::Read).unwrap().set_mode(0o750).unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    let modes = || (0..50).map(|seed| sim.crash(seed).stat(path).unwrap().mode).collect::<BTreeSet<_>>();
    assert!(sim.unsynced());
    assert_eq!((modes(), sim.states().total()), (BTreeSet::from([0o700, 0o750]), 2));
    sim.sync_folder(path).unwrap();
    assert_eq!((modes(), sim.states().total()), (BTreeSet::from([0o750]), 1));
}

#[test]
fn what_is_created_lacks_what_the_umask_takes() {
    let sim = Sim::new(38);
    let mode = |path: &str| sim.stat(Path::new(path)).unwrap().mode;
    sim.create_new(Path::new("/a"), OPEN).unwrap();
    sim.set_umask(0o077);
    sim.create_new(Path::new("/b"), OPEN).unwrap();
    sim.create_folder(Path::new("/c"), OPEN_FOLDER).unwrap();
    sim.open(Path::new("/d"), Access::Lock).unwrap();
    assert_eq!(["/a", "/b", "/c", "/d"].map(mode), [0o644, 0o600, 0o700, 0o600]);
}

#[test]
fn times_are_those_of_the_clock_and_durable_after_a_sync_of_all() {
    let sim = Sim::new(37);
    let path = Path::new(A);
    let times = |sim: &Sim| {
        let times = sim.stat(path).unwrap().times;
        (times.modified_ns, times.changed_ns)
    };
    sim.set_clock(100, 0);
    let file = synced(&sim, A, b"x");
    sim.set_clock(200, 0);
    write_all_at(&*file, b"y", 0).unwrap();
    sim.set_clock(300, 0);
    sim.rename_over(path, Path::new(B)).unwrap();
    sim.rename_over(Path::new(B), path).unwrap();
    sim.sync_folder(Path::new("/")).unwrap();
    assert_eq!(times(&sim), (200, 300));
    file.sync_data().unwrap();
    let after = || (0..50).map(|seed| times(&sim.crash(seed))).collect::<BTreeSet<_>>();
    assert_eq!(after(), BTreeSet::from([(100, 100), (200, 300)]));
    file.sync_all().unwrap();
    assert_eq!(after(), BTreeSet::from([(200, 300)]));
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
    let file = sim.create_new(Path::new(A), PRIVATE).unwrap();
    write_all_at(&*file, b"bytes", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(crashes_of(&sim, A, 100), BTreeSet::from([None, Some(b"bytes".to_vec())]));

    let file = sim.create_new(Path::new(B), PRIVATE).unwrap();
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
    sim.create_new(path, PRIVATE).unwrap().sync_all().unwrap();
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
