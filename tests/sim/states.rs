//! All that a power cut can leave, one after the other.

use waltool::vfs::write_all_at;

use super::*;

#[test]
fn all_states_are_as_many_as_they_say_and_all_different() {
    let sim = small_sectors(21, 4);
    let file = synced(&sim, A, &[1; 12]);
    sim.put(Path::new(B), b"b").unwrap();
    write_all_at(&*file, &[2; 8], 0).unwrap();
    write_all_at(&*file, &[2; 4], 12).unwrap();
    sim.remove(Path::new(B)).unwrap();
    sim.create_new(Path::new("/c"), PRIVATE).unwrap();
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
