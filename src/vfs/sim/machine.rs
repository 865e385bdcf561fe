//! All that a simulated disk is, behind its lock: names, files, calls, clock and chance.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::calls::{Calls, Failure};
use super::fate::{Amount, Fate};
use super::file::File;
use super::names::{Edit, Ino, Names, Place, ROOT};
use super::rng::Rng;
use crate::vfs::{Attributes, FileTimes, Kind, LEN_MAX, Rights, Stat};

/// Where the clock starts: 2026-01-01 00:00:00 UTC.
const START_NS: u64 = 1_767_225_600_000_000_000;
/// What it advances by with every look at it: a millisecond.
const STEP_NS: u64 = 1_000_000;
/// The number of the device.
const DEVICE: u64 = 1;
/// Whoever runs the test.
const OWNER: (u32, u32) = (1000, 1000);
/// What permissions new files lack.
const UMASK: u32 = 0o022;
/// Permissions of the directory that everything is in.
const ROOT_MODE: u32 = 0o755;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) names: Names,
    pub(super) files: BTreeMap<Ino, File>,
    pub(super) calls: Calls,
    /// The open file that holds the lock of each file or directory that is locked.
    locks: BTreeMap<Ino, u64>,
    /// The time at the next look, and what each look adds.
    pub(super) clock: (u64, u64),
    /// Gives out what [`Vfs::random`](crate::vfs::Vfs::random) does.
    pub(super) random: Rng,
    /// Decides how failing calls fail.
    pub(super) chance: Rng,
    pub(super) umask: u32,
    /// No file can be longer.
    pub(super) len_max: u64,
    next_ino: Ino,
    next_handle: u64,
    sector: usize,
}

/// Rights of something new.
fn granted(mode: u32) -> Rights {
    Rights { mode: mode & 0o7777, owner: OWNER, attributes: Attributes::new() }
}

impl Machine {
    pub(super) fn new(seed: u64, sector: usize) -> Self {
        Self {
            names: Names::new(granted(ROOT_MODE)),
            files: BTreeMap::new(),
            calls: Calls::default(),
            locks: BTreeMap::new(),
            clock: (START_NS, STEP_NS),
            random: Rng::new(seed).branch(1),
            chance: Rng::new(seed).branch(2),
            umask: UMASK,
            len_max: LEN_MAX,
            next_ino: ROOT + 1,
            next_handle: 1,
            sector,
        }
    }

    /// Another disk with these names and files, on which nothing was called.
    fn restarted(&self, names: Names, files: BTreeMap<Ino, File>, salt: u64) -> Self {
        let (random, chance) = (self.random.branch(salt), self.chance.branch(salt));
        let calls = self.calls.restarted();
        Self { names, files, calls, locks: BTreeMap::new(), random, chance, ..*self }
    }

    /// The disk after the power is back. `salt` makes what is random there differ from what was random here.
    pub(super) fn crashed(&self, fate: &mut dyn Fate, salt: u64) -> Self {
        let names = self.names.settle(fate);
        let reachable = names.tree().reachable();
        // A file decides its fate even where its name is lost, so that the questions to fate are always the same.
        let settled = self.files.iter().map(|(ino, file)| (*ino, file.settle(fate)));
        let files = settled.filter(|(ino, _)| reachable.contains(ino)).collect();
        self.restarted(names, files, salt)
    }

    /// The disk after the process died.
    pub(super) fn killed(&self) -> Self {
        let mut machine = self.restarted(self.names.clone(), self.files.clone(), u64::MAX);
        machine.close_all();
        machine
    }

    /// Nobody has a file open any more.
    pub(super) fn close_all(&mut self) {
        self.locks.clear();
        self.files.values_mut().for_each(|file| file.opened = 0);
        self.forget();
    }

    /// Lets go of files that nobody can reach again, whatever happens.
    pub(super) fn forget(&mut self) {
        let mentioned = self.names.mentions();
        self.files.retain(|ino, file| file.opened > 0 || mentioned.contains(ino));
    }

    /// How much is unsynced.
    pub(super) fn amount(&self) -> Amount {
        let mut amount = Amount { sectors: 0, lengths: 0, changes: self.names.pending().len(), calls: (u64::MAX, 0) };
        let mut seen = |call: u64| amount.calls = (amount.calls.0.min(call), amount.calls.1.max(call));
        for file in self.files.values() {
            amount.sectors += file.dirty().len();
            amount.lengths += usize::from(file.lengths().len() > 1);
            file.dirty().values().flatten().for_each(|version| seen(version.call));
            file.lengths().iter().skip(1).for_each(|length| seen(length.call));
        }
        self.names.pending().iter().for_each(|change| seen(change.call));
        amount.calls.0 = amount.calls.0.min(amount.calls.1);
        amount
    }

    /// A file or directory that has a name.
    pub(super) fn find(&self, path: &Path) -> io::Result<Ino> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let mut way = vec![ROOT];
        for component in path.components() {
            let here = *way.last().unwrap_or(&ROOT);
            match component {
                Component::Normal(name) => {
                    let next = self.names.tree().get(self.as_folder(here)?, name);
                    way.push(next.ok_or(Errno::NOENT)?);
                }
                Component::ParentDir => {
                    self.as_folder(here)?;
                    way.pop();
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(*way.last().unwrap_or(&ROOT))
    }

    /// A directory that has a name.
    pub(super) fn folder(&self, path: &Path) -> io::Result<Ino> {
        self.as_folder(self.find(path)?)
    }

    fn as_folder(&self, ino: Ino) -> io::Result<Ino> {
        let is = self.names.rights(ino).is_some();
        if is { Ok(ino) } else { Err(Errno::NOTDIR.into()) }
    }

    /// The place that a path names, whether or not something is there.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let name = path.file_name().ok_or(Errno::EXIST)?.to_owned();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.folder(parent)?,
            _ => ROOT,
        };
        Ok(Place { folder, name })
    }

    /// What is at a place.
    pub(super) fn at(&self, place: &Place) -> Option<Ino> {
        self.names.tree().get(place.folder, &place.name)
    }

    /// What must be at a place.
    pub(super) fn must_be_at(&self, place: &Place) -> io::Result<Ino> {
        self.at(place).ok_or(Errno::NOENT.into())
    }

    /// A place that must be free.
    pub(super) fn free_place(&self, path: &Path) -> io::Result<Place> {
        let place = self.place(path)?;
        if self.at(&place).is_some() { Err(Errno::EXIST.into()) } else { Ok(place) }
    }

    /// A path from the root on, without detours. What is on the way is known to be there.
    pub(super) fn full_path(path: &Path) -> PathBuf {
        path.components().fold(PathBuf::from("/"), |mut full, component| {
            match component {
                Component::Normal(name) => full.push(name),
                Component::ParentDir => drop(full.pop()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
            full
        })
    }

    pub(super) fn create(&mut self, at: Place, mode: u32) -> Ino {
        let ino = self.next_ino();
        let mut file = File::new(self.sector, granted(mode & !self.umask));
        file.touch(self.clock.0);
        self.files.insert(ino, file);
        self.edit(Edit::Create { ino, at });
        ino
    }

    pub(super) fn create_folder(&mut self, at: Place, mode: u32) -> Ino {
        let ino = self.next_ino();
        self.names.add_folder(ino, granted(mode & !self.umask));
        self.edit(Edit::Create { ino, at });
        ino
    }

    fn next_ino(&mut self) -> Ino {
        self.next_ino += 1;
        self.next_ino - 1
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        let now_ns = self.clock.0;
        if let Edit::Move { ino, .. } | Edit::Remove { ino, .. } = edit
            && let Some(file) = self.files.get_mut(&ino)
        {
            file.touch_node(now_ns);
        }
        self.names.edit(edit, self.calls.moment());
    }

    /// Notes that a file is open, and gives that opening a number.
    pub(super) fn opened(&mut self, ino: Ino) -> u64 {
        if let Some(file) = self.files.get_mut(&ino) {
            file.opened += 1;
        }
        self.next_handle += 1;
        self.next_handle - 1
    }

    pub(super) fn closed(&mut self, ino: Ino, handle: u64) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.opened = file.opened.saturating_sub(1);
        }
        if self.locks.get(&ino) == Some(&handle) {
            self.locks.remove(&ino);
        }
    }

    /// Takes a lock for an opening, unless another has it.
    pub(super) fn lock(&mut self, ino: Ino, handle: u64) -> bool {
        *self.locks.entry(ino).or_insert(handle) == handle
    }

    /// A file that is open or has a name.
    pub(super) fn file(&mut self, ino: Ino) -> io::Result<&mut File> {
        self.files.get_mut(&ino).ok_or(Errno::ISDIR.into())
    }

    pub(super) fn stat(&self, ino: Ino) -> Stat {
        let links = u64::from(ino == ROOT || self.names.tree().has(ino));
        let id = (DEVICE, ino);
        match self.files.get(&ino) {
            Some(file) => {
                let Rights { mode, owner, .. } = *file.rights();
                let times = file.times();
                Stat { kind: Kind::File, len: file.len(), stored: file.stored(), id, links, mode, owner, times }
            }
            None => {
                let (mode, owner) = self.names.rights(ino).map_or((0, OWNER), |rights| (rights.mode, rights.owner));
                let times = FileTimes::default();
                Stat { kind: Kind::Folder, len: 0, stored: 0, id, links, mode, owner, times }
            }
        }
    }

    /// The rights of a file or directory.
    pub(super) fn rights(&self, ino: Ino) -> io::Result<Rights> {
        let folder = || self.names.rights(ino);
        self.files.get(&ino).map(File::rights).or_else(folder).cloned().ok_or(Errno::NOENT.into())
    }

    pub(super) fn set_rights(&mut self, ino: Ino, rights: Rights) {
        match self.files.get_mut(&ino) {
            Some(file) => {
                file.set_rights(rights);
                file.touch_node(self.clock.0);
            }
            None => self.names.set_rights(ino, rights),
        }
    }

    /// Whether a call that is made to fail happens all the same, and what it says.
    pub(super) fn outcome(&mut self, failure: Option<Failure>) -> (bool, io::Result<()>) {
        match failure {
            None | Some(Failure::Short) => (true, Ok(())),
            Some(Failure::Io) => (self.chance.coin(), Err(Failure::Io.error())),
            Some(failure) => (false, Err(failure.error())),
        }
    }

    /// A part of `len` bytes: often nothing or all.
    pub(super) fn part(&mut self, len: usize) -> usize {
        match self.chance.below(4) {
            0 => 0,
            1 => len,
            _ => self.chance.index(len + 1),
        }
    }

    /// A part of `len` bytes, one at least if there is one, and not all if there are two.
    pub(super) fn short(&mut self, len: usize) -> usize {
        len.min(1 + self.chance.index(len.saturating_sub(1)))
    }

    /// Every file that has a name, with its path.
    pub(super) fn named(&self) -> Vec<(PathBuf, Ino)> {
        let (mut found, mut open) = (Vec::new(), vec![(PathBuf::from("/"), ROOT)]);
        while let Some((path, folder)) = open.pop() {
            for (name, ino) in self.names.tree().list(folder) {
                let list: &mut Vec<_> = if self.files.contains_key(&ino) { &mut found } else { &mut open };
                list.push((path.join(name), ino));
            }
        }
        found
    }

    pub(super) fn list(&self, folder: Ino) -> Vec<OsString> {
        self.names.tree().list(folder).map(|(name, _)| name.clone()).collect()
    }
}
