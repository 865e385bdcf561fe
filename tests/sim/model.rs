//! Against other models: the real disk, and small ones that are slow and plain.

use std::fmt::Debug;
use std::io;

use waltool::vfs::{OPEN, OPEN_FOLDER, Stat, real, write_all_at};

use super::*;

/// Numbers below a bound, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// One disk of the two, and where its files are.
struct Side {
    disk: waltool::vfs::Disk,
    root: PathBuf,
    open: Vec<Box<dyn VfsFile>>,
}

/// What a call says, without what differs from disk to disk.
fn said<T: Debug>(result: io::Result<T>) -> String {
    format!("{:?}", result.map_err(|error| (error.kind(), error.raw_os_error())))
}

fn known(stat: Stat) -> impl Debug {
    (stat.kind, stat.mode, (stat.kind == waltool::vfs::Kind::File).then_some((stat.len, stat.links)))
}

impl Side {
    fn keep(&mut self, file: io::Result<Box<dyn VfsFile>>) -> String {
        said(file.map(|file| self.open.push(file)))
    }

    fn step(&mut self, dice: &mut Dice) -> String {
        let names = ["a", "b", "d", "d/a", "d/e", "d/e/b", "a/x", "d/../b"];
        let (one, other) = (self.root.join(dice.of(&names)), self.root.join(dice.of(&names)));
        let (offset, len) = (dice.below(9000), dice.below(5000));
        let access = *dice.of(&[Access::Read, Access::Change, Access::Lock]);
        match dice.below(14) {
            0 => self.keep(self.disk.create_new(&one, *dice.of(&[PRIVATE, OPEN]))),
            1 | 2 => self.keep(self.disk.open(&one, access)),
            3 => said(self.disk.stat(&one).map(known)),
            4 => said(self.disk.list(&one).map(|names| names.into_iter().collect::<BTreeSet<_>>())),
            5 => said(self.disk.create_folder(&one, OPEN_FOLDER)),
            6 => said(self.disk.rename_new(&one, &other)),
            7 | 8 => said(self.disk.rename_over(&one, &other)),
            9 => said(self.disk.remove(&one)),
            10 => said(self.disk.remove_folder(&one)),
            _ if self.open.is_empty() => String::new(),
            11 => {
                let at = dice.below(self.open.len() as u64) as usize;
                drop(self.open.swap_remove(at));
                String::new()
            }
            _ => use_file(&**dice.of(&self.open), dice.below(7), offset, len),
        }
    }
}

fn use_file(file: &dyn VfsFile, what: u64, offset: u64, len: u64) -> String {
    let mut read = vec![9; len as usize];
    match what {
        0 | 1 => said(file.write_at(&vec![offset as u8; len as usize], offset)),
        2 => said(file.set_len(offset)),
        3 => said(file.try_lock()),
        4 => said(file.stat().map(known)),
        5 => said(file.set_mode(0o600 | offset as u32 & 0o77)),
        _ => said(file.read_at(&mut read, offset).map(|len| (len, read))),
    }
}

/// What permissions new files of this process lack.
fn umask(folder: &Path) -> u32 {
    let file = real().create_new(&folder.join("umask"), OPEN).unwrap();
    let mode = file.stat().unwrap().mode;
    std::fs::remove_file(folder.join("umask")).unwrap();
    real().create_folder(&folder.join("umask"), OPEN_FOLDER).unwrap();
    let of_folders = real().stat(&folder.join("umask")).unwrap().mode;
    std::fs::remove_dir(folder.join("umask")).unwrap();
    assert_eq!(mode, OPEN & of_folders);
    OPEN_FOLDER & !of_folders
}

#[test]
fn without_a_fault_it_does_what_the_real_disk_does() {
    let mut outcomes = BTreeSet::new();
    for seed in 1..=300 {
        let folder = tempfile::tempdir().unwrap();
        let sim = Sim::new(seed);
        sim.create_folder(Path::new("/root"), 0o700).unwrap();
        sim.set_umask(umask(folder.path()));
        let mut real = Side { disk: real(), root: folder.path().into(), open: Vec::new() };
        let mut simulated = Side { disk: sim.disk(), root: "/root".into(), open: Vec::new() };
        for step in 0..150 {
            let seed = seed * 1_000_003 + step;
            let (expected, got) = (real.step(&mut Dice(seed)), simulated.step(&mut Dice(seed)));
            assert!(expected == got, "seed {seed}: the real one {expected:.200}, the simulated {got:.200}\n{sim}");
            outcomes.insert(expected.chars().take(60).collect::<String>());
        }
    }
    assert!(outcomes.len() > 100, "{} outcomes", outcomes.len());
}

/// A file, plainly: all that it was since its sync, and the bytes that may be anything.
#[derive(Default)]
struct Plain {
    since: Vec<Vec<u8>>,
    free: BTreeSet<usize>,
}

impl Plain {
    fn now(&self) -> Vec<u8> {
        self.since.last().unwrap().clone()
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut now = self.now();
        now.resize(now.len().max(at + bytes.len()), 0);
        now[at..at + bytes.len()].copy_from_slice(bytes);
        let synced = &self.since[0];
        self.free.extend((at..at + bytes.len()).filter(|&at| synced.get(at) != Some(&now[at])));
        self.since.push(now);
    }

    fn set_len(&mut self, len: usize) {
        let mut now = self.now();
        now.resize(len, 0);
        self.since.push(now);
    }

    fn sync(&mut self) {
        *self = Self { since: vec![self.now()], free: BTreeSet::new() };
    }

    fn check(&self, bytes: &[u8], about: &str) {
        assert!(self.since.iter().any(|was| was.len() == bytes.len()), "{about}: {} bytes", bytes.len());
        for (at, byte) in bytes.iter().enumerate() {
            let was = self.since.iter().any(|was| was.get(at).unwrap_or(&0) == byte);
            assert!(was || self.free.contains(&at), "{about}: {byte:#x} at {at}");
        }
    }
}

#[test]
fn no_power_cut_leaves_bytes_that_it_may_not() {
    let mut states = 0;
    for seed in 1..=100 {
        let mut dice = Dice(seed);
        let sim = small_sectors(seed, *dice.of(&[1, 7, 16, 512]));
        let file = synced(&sim, A, b"synced");
        let mut plain = Plain { since: vec![b"synced".to_vec()], free: BTreeSet::new() };
        for _ in 0..dice.below(30) {
            let (at, value, len) = (dice.below(300) as usize, dice.below(3) as u8, dice.below(100) as usize + 1);
            match dice.below(8) {
                0..=4 => {
                    write_all_at(&*file, &vec![value; len], at as u64).unwrap();
                    plain.write(at, &vec![value; len]);
                }
                5 | 6 => {
                    file.set_len(at as u64).unwrap();
                    plain.set_len(at);
                }
                _ => {
                    file.sync_data().unwrap();
                    plain.sync();
                }
            }
            assert_eq!(bytes(&sim, A).unwrap(), plain.now(), "seed {seed}");
            let about = |crash: u64| format!("seed {seed}, power cut {crash}\n{sim}");
            (0..20).for_each(|crash| plain.check(&bytes(&sim.crash(crash), A).unwrap(), &about(crash)));
            sim.states().take(20).for_each(|state| plain.check(&bytes(&state, A).unwrap(), &about(0)));
            states += 20;
        }
    }
    assert!(states > 15_000, "{states}");
}

/// What happened to a name.
#[derive(Clone, Copy, Debug)]
enum Change {
    Create(u8, u8),
    Rename(u8, u8),
    Remove(u8),
}

/// The names after some of the changes: which file has each.
fn named(synced: &BTreeMap<u8, u8>, changes: impl Iterator<Item = Change>) -> BTreeMap<u8, u8> {
    let mut names = synced.clone();
    for change in changes {
        match change {
            Change::Create(file, name) => drop(names.insert(name, file)),
            Change::Remove(name) => drop(names.remove(&name)),
            Change::Rename(file, to) => {
                names.retain(|_, other| *other != file);
                names.insert(to, file);
            }
        }
    }
    names
}

fn path(name: u8) -> PathBuf {
    PathBuf::from(format!("/{name}"))
}

#[test]
fn names_after_a_power_cut_are_those_of_any_subset_of_the_changes() {
    let mut largest = 0;
    for seed in 1..=200 {
        let mut dice = Dice(seed);
        let sim = Sim::new(seed);
        let (mut synced, mut changes) = (BTreeMap::new(), Vec::new());
        for file in 0..20 {
            let now = named(&synced, changes.iter().copied());
            let (one, other) = (dice.below(4) as u8, dice.below(4) as u8);
            match (dice.below(4), now.get(&one)) {
                _ if changes.len() > 6 => {
                    sim.sync_folder(Path::new("/")).unwrap();
                    (synced, changes) = (now, Vec::new());
                }
                (0 | 1, None) => {
                    write_all_at(&*sim.create_new(&path(one), PRIVATE).unwrap(), &[file], 0).unwrap();
                    sim.open(&path(one), Access::Change).unwrap().sync_data().unwrap();
                    changes.push(Change::Create(file, one));
                }
                (0 | 1, Some(&file)) if one != other => {
                    sim.rename_over(&path(one), &path(other)).unwrap();
                    changes.push(Change::Rename(file, other));
                }
                (2, Some(_)) => {
                    sim.remove(&path(one)).unwrap();
                    changes.push(Change::Remove(one));
                }
                _ => {}
            }
            let subset =
                |bits: u32| changes.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, c)| *c);
            let files =
                |names: BTreeMap<u8, u8>| names.into_iter().map(|(name, file)| (path(name), vec![file])).collect();
            let legal: BTreeSet<Files> =
                (0..1 << changes.len()).map(|bits| files(named(&synced, subset(bits)))).collect();
            let met: BTreeSet<Files> = sim.states().map(|state| state.files()).collect();
            assert!(met == legal, "seed {seed}: {changes:?}\n{met:?}\n{legal:?}");
            assert!(crashes(&sim, 20).is_subset(&legal), "seed {seed}");
            largest = largest.max(legal.len());
        }
    }
    assert!(largest > 20, "{largest}");
}
