//! The simulated disk keeps what a disk keeps, and loses what a disk may lose.

mod calls;
mod failures;
mod model;
mod power;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use waltool::vfs::{Access, PRIVATE, Sim, Vfs, VfsFile};

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
