//! The steps of a change to a file, on a disk whose calls fail.

mod between;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use between::Between;
use waltool::Error;
use waltool::durable::Temp;
use waltool::rights::Origin;
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{Access, Disk, Sim, Vfs, VfsFile};

const TARGET: &str = "/target";
const TEMP: &str = "/.target.waltool-tmp";

#[test]
fn a_file_that_cannot_have_its_rights_is_not_left() {
    let sim = Sim::new(1);
    sim.put(Path::new("/like"), b"").unwrap();
    let like = sim.open(Path::new("/like"), Access::Read).unwrap();
    like.set_mode(0o640).unwrap();
    sim.fail_op(Op::SetRights, 1, Failure::Full, Times::Forever);
    let replaced = Origin::in_place_of(&*like, Path::new("/like")).unwrap();
    assert!(matches!(Temp::file(&sim.disk(), Path::new(TARGET), replaced), Err(Error::Write { .. })));
    let another = Origin::another(&*like, Path::new("/like")).unwrap();
    let temp = Temp::file(&sim.disk(), Path::new(TARGET), another).unwrap();
    assert!(matches!(temp.place_new(), Err(Error::Write { .. })));
    assert_eq!(sim.files().len(), 1);
}

#[test]
fn a_lock_that_fails_is_not_one_that_another_holds() {
    let sim = Sim::new(2);
    sim.put(Path::new(TEMP), b"left by a killed run").unwrap();
    sim.fail_op(Op::Lock, 1, Failure::Io, Times::Once);
    assert!(matches!(Temp::file(&sim.disk(), Path::new(TARGET), Origin::Nothing), Err(Error::Write { .. })));
    let temp = Temp::file(&sim.disk(), Path::new(TARGET), Origin::Nothing).unwrap();
    assert!(matches!(Temp::file(&sim.disk(), Path::new(TARGET), Origin::Nothing), Err(Error::Refused { .. })));
    temp.place_new().unwrap();
}

#[test]
fn a_directory_that_is_being_written_is_no_leftover() {
    let sim = Sim::new(3);
    let target = Path::new(TARGET);
    let folder = || Temp::folder(&sim.disk(), target, Origin::Nothing);
    sim.put(Path::new("/.target.waltool-tmp/1"), b"left by a killed run").unwrap();
    let mut temp = folder().unwrap();
    assert_eq!(sim.files().len(), 0, "what was left is gone");
    temp.create(OsStr::new("1"), Origin::Nothing).unwrap();
    assert!(matches!(folder(), Err(Error::Refused { .. })));
    assert!(matches!(Temp::file(&sim.disk(), target, Origin::Nothing), Err(Error::Refused { .. })));
    temp.place_new().unwrap();
    assert_eq!(sim.files().into_keys().collect::<Vec<_>>(), [Path::new("/target/1")]);
}

#[test]
fn a_leftover_of_either_kind_is_removed() {
    let sim = Sim::new(4);
    sim.put(Path::new(TEMP), b"left by a killed run").unwrap();
    drop(Temp::folder(&sim.disk(), Path::new(TARGET), Origin::Nothing).unwrap());
    sim.put(Path::new("/.target.waltool-tmp/1"), b"left by a killed run").unwrap();
    drop(Temp::file(&sim.disk(), Path::new(TARGET), Origin::Nothing).unwrap());
    assert!(sim.files().is_empty());
}

/// Whatever another run does between two calls of this one, one of them has the name and the other is told.
#[test]
fn of_two_runs_that_make_the_same_directory_one_gives_way() {
    let target = Path::new(TARGET);
    let (mut gave_way, mut went_on) = (0, 0);
    for call in 1.. {
        let sim = Sim::new(5);
        let other = Arc::new(Mutex::new(None));
        let (disk, placed) = (sim.disk(), other.clone());
        let between = Between::new(sim.disk(), call, move || {
            let made = Temp::folder(&disk, target, Origin::Nothing);
            *placed.lock().unwrap() = made.ok();
        });
        let disk: Disk = Arc::new(between.clone());
        let mine = Temp::folder(&disk, target, Origin::Nothing);
        if !between.happened() {
            break;
        }
        let other = other.lock().unwrap().take();
        match (mine, other) {
            (Ok(mine), None) => {
                went_on += 1;
                mine.place_new().unwrap();
            }
            (Err(Error::Refused { .. } | Error::Write { .. }), Some(mut other)) => {
                gave_way += 1;
                other.create(OsStr::new("1"), Origin::Nothing).unwrap();
                other.place_new().unwrap();
                assert_eq!(sim.files().len(), 1);
            }
            (mine, other) => panic!("call {call}: {:?}, and the other has it: {}", mine.err(), other.is_some()),
        }
    }
    assert!(gave_way > 0 && went_on > 0, "{gave_way} gave way, {went_on} went on");
}

#[test]
fn after_a_power_cut_a_file_that_was_replaced_has_all_its_rights() {
    let rights = |sim: &Sim| {
        let file = sim.open(Path::new(TARGET), Access::Read).unwrap();
        (file.rights().unwrap(), sim.bytes(Path::new(TARGET)).unwrap())
    };
    let bench = || {
        let sim = Sim::new(6);
        sim.put(Path::new(TARGET), b"old").unwrap();
        let file = sim.open(Path::new(TARGET), Access::Change).unwrap();
        file.set_attribute(OsStr::new("user.note"), Some(b"of the night")).unwrap();
        file.set_owner((7, 8)).unwrap();
        file.set_mode(0o640).unwrap();
        file.sync_all().unwrap();
        (sim, file)
    };
    let replace = |sim: &Sim, file: &dyn VfsFile| -> waltool::Result<()> {
        let temp = Temp::file(&sim.disk(), Path::new(TARGET), Origin::in_place_of(file, Path::new(TARGET))?)?;
        waltool::durable::write_at(temp.handle(), temp.path(), b"new", 0)?;
        temp.replace()
    };
    let (sim, file) = bench();
    let wanted = file.rights().unwrap();
    let before = sim.changes();
    replace(&sim, &*file).unwrap();
    let calls = sim.changes() - before;
    assert_eq!(rights(&sim), (wanted.clone(), b"new".to_vec()));
    for call in 1..=calls {
        let (sim, file) = bench();
        sim.cut_before(sim.changes() + call);
        assert!(replace(&sim, &*file).is_err());
        for seed in 0..50 {
            let (is, bytes) = rights(&sim.crash(seed));
            assert_eq!(is, wanted, "call {call}, power cut {seed}");
            assert!([b"old", b"new"].contains(&bytes.as_slice().try_into().unwrap()), "{bytes:?}");
        }
    }
}

/// Some file systems take what they cannot keep.
#[test]
fn rights_that_were_given_are_read_back() {
    let sim = Sim::new(7);
    let disk: Disk = Arc::new(Between::deaf(sim.disk()));
    let path = Path::new("/like");
    let changes: [fn(&dyn VfsFile); 3] = [
        |file| file.set_owner((7, 8)).unwrap(),
        |file| file.set_mode(0o640).unwrap(),
        |file| file.set_attribute(OsStr::new("user.note"), Some(b"of the night")).unwrap(),
    ];
    for change in changes {
        sim.put(path, b"").unwrap();
        let file = sim.open(path, Access::Change).unwrap();
        change(&*file);
        let (replaced, another) = (Origin::in_place_of(&*file, path).unwrap(), Origin::another(&*file, path).unwrap());
        assert!(matches!(Temp::file(&disk, Path::new(TARGET), replaced), Err(Error::Refused { .. })));
        let private = Temp::file(&disk, Path::new(TARGET), another).unwrap();
        assert!(matches!(private.place_new(), Err(Error::Refused { .. })), "all may read it there");
        file.set_mode(0o644).unwrap();
        let another = Origin::another(&*file, path).unwrap();
        Temp::file(&disk, Path::new(TARGET), another).unwrap().place_new().unwrap();
        sim.remove(Path::new(TARGET)).unwrap();
        sim.remove(path).unwrap();
    }
}
