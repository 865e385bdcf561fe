//! The steps of a change to a file, on a disk whose calls fail.

use std::path::Path;

use waltool::Error;
use waltool::durable::Temp;
use waltool::rights::Origin;
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{Access, Sim, Vfs};

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
