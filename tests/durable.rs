//! The steps of a change to a file, on a disk whose calls fail.

use std::path::Path;

use waltool::Error;
use waltool::durable::{Temp, create_new};
use waltool::vfs::sim::{Failure, Op, Times};
use waltool::vfs::{Sim, Vfs};

const TARGET: &str = "/target";
const TEMP: &str = "/.target.waltool-tmp";

#[test]
fn a_file_that_cannot_have_its_owner_is_not_left() {
    let sim = Sim::new(1);
    sim.put(Path::new("/like"), b"").unwrap();
    let like = sim.stat(Path::new("/like")).unwrap();
    sim.fail_op(Op::SetRights, 1, Failure::Full, Times::Forever);
    assert!(matches!(create_new(&sim, Path::new("/a"), Some(&like)), Err(Error::Write { .. })));
    assert!(matches!(Temp::file(&sim.disk(), Path::new(TARGET), Some(&like)), Err(Error::Write { .. })));
    assert_eq!(sim.files().len(), 1);
}

#[test]
fn a_lock_that_fails_is_not_one_that_another_holds() {
    let sim = Sim::new(2);
    sim.put(Path::new(TEMP), b"left by a killed run").unwrap();
    sim.fail_op(Op::Lock, 1, Failure::Io, Times::Once);
    assert!(matches!(Temp::file(&sim.disk(), Path::new(TARGET), None), Err(Error::Write { .. })));
    let temp = Temp::file(&sim.disk(), Path::new(TARGET), None).unwrap();
    assert!(matches!(Temp::file(&sim.disk(), Path::new(TARGET), None), Err(Error::Refused { .. })));
    temp.place_new().unwrap();
}
