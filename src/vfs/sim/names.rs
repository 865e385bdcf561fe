//! The names: what is durable of them, and the changes that wait.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use super::fate::Fate;
use super::granted::Granted;
use crate::vfs::Rights;

/// The number of a file or directory; it is never used again.
pub(super) type Ino = u64;

/// The directory that everything is in.
pub(super) const ROOT: Ino = 1;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: Ino,
    pub(super) name: OsString,
}

/// What happens to names, in one step.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Create { ino: Ino, at: Place },
    Move { ino: Ino, from: Place, to: Place },
    Remove { ino: Ino, at: Place },
}

/// An edit that is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The moment of the call that made it; no other change has it.
    pub(super) call: u64,
    edit: Edit,
    /// The directories still to be synced until it is durable.
    awaits: BTreeSet<Ino>,
    /// A sync of its directory failed and took it for written: no later one writes it.
    stuck: bool,
}

impl Change {
    pub(super) fn edit(&self) -> &Edit {
        &self.edit
    }

    fn places(&self) -> (&Place, Option<&Place>) {
        match &self.edit {
            Edit::Create { at, .. } | Edit::Remove { at, .. } => (at, None),
            Edit::Move { from, to, .. } => (from, Some(to)),
        }
    }

    pub(super) fn ino(&self) -> Ino {
        match self.edit {
            Edit::Create { ino, .. } | Edit::Move { ino, .. } | Edit::Remove { ino, .. } => ino,
        }
    }

    fn in_folder(&self, folder: Ino) -> bool {
        let (one, other) = self.places();
        one.folder == folder || other.is_some_and(|place| place.folder == folder)
    }

    /// It cannot be durable without `earlier`: both are about one name or one file.
    fn follows(&self, earlier: &Self) -> bool {
        let ((a, b), (c, d)) = (self.places(), earlier.places());
        let among = |place: &Place| place == c || Some(place) == d;
        self.ino() == earlier.ino() || among(a) || b.is_some_and(among)
    }
}

/// Directories and what they hold. A file or directory has one name at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    folders: BTreeMap<Ino, BTreeMap<OsString, Ino>>,
}

impl Tree {
    pub(super) fn get(&self, folder: Ino, name: &OsStr) -> Option<Ino> {
        self.folders.get(&folder)?.get(name).copied()
    }

    pub(super) fn list(&self, folder: Ino) -> impl Iterator<Item = (&OsString, Ino)> {
        self.folders.get(&folder).into_iter().flatten().map(|(name, ino)| (name, *ino))
    }

    pub(super) fn has(&self, ino: Ino) -> bool {
        self.folders.values().any(|names| names.values().any(|other| *other == ino))
    }

    fn set(&mut self, ino: Ino, at: &Place) {
        self.folders.entry(at.folder).or_default().insert(at.name.clone(), ino);
    }

    fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Create { ino, at } => self.set(*ino, at),
            Edit::Move { ino, to, .. } => {
                for names in self.folders.values_mut() {
                    names.retain(|_, other| other != ino);
                }
                self.set(*ino, to);
            }
            Edit::Remove { at, .. } => {
                if let Some(names) = self.folders.get_mut(&at.folder) {
                    names.remove(&at.name);
                }
            }
        }
    }

    /// All that can be reached from the root, the root with it.
    pub(super) fn reachable(&self) -> BTreeSet<Ino> {
        let (mut found, mut open) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(folder) = open.pop() {
            open.extend(self.list(folder).map(|(_, ino)| ino).filter(|ino| found.insert(*ino)));
        }
        found
    }
}

#[derive(Clone, Debug)]
pub(super) struct Names {
    cached: Arc<Tree>,
    durable: Arc<Tree>,
    pending: Vec<Change>,
    /// The rights of each directory.
    rights: Arc<BTreeMap<Ino, Granted>>,
}

impl Names {
    pub(super) fn new(root: Rights) -> Self {
        Self {
            cached: Arc::default(),
            durable: Arc::default(),
            pending: Vec::new(),
            rights: Arc::new(BTreeMap::from([(ROOT, Granted::new(root))])),
        }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.cached
    }

    pub(super) fn pending(&self) -> &[Change] {
        &self.pending
    }

    /// The rights of a directory; `None` if it is none.
    pub(super) fn rights(&self, ino: Ino) -> Option<&Rights> {
        self.rights.get(&ino).map(Granted::now)
    }

    pub(super) fn add_folder(&mut self, ino: Ino, rights: Rights) {
        Arc::make_mut(&mut self.rights).insert(ino, Granted::new(rights));
    }

    pub(super) fn set_rights(&mut self, ino: Ino, rights: Rights) {
        if let Some(granted) = Arc::make_mut(&mut self.rights).get_mut(&ino) {
            granted.set(rights);
        }
    }

    /// The rights of a directory are not durable.
    pub(super) fn rights_wait(&self) -> bool {
        self.rights.values().any(Granted::wait)
    }

    pub(super) fn edit(&mut self, edit: Edit, call: u64) {
        Arc::make_mut(&mut self.cached).apply(&edit);
        let mut change = Change { call, edit, awaits: BTreeSet::new(), stuck: false };
        let (one, other) = change.places();
        change.awaits = other.into_iter().chain([one]).map(|place| place.folder).collect();
        self.pending.push(change);
    }

    /// The names in the directory are on the disk then, except those that an earlier sync failed to write.
    pub(super) fn sync(&mut self, folder: Ino) {
        for change in self.pending.iter_mut().filter(|change| !change.stuck) {
            change.awaits.remove(&folder);
        }
        self.make_durable();
        if self.rights.get(&folder).is_some_and(Granted::wait)
            && let Some(granted) = Arc::make_mut(&mut self.rights).get_mut(&folder)
        {
            granted.sync();
        }
    }

    /// All names are on the disk then.
    pub(super) fn sync_all(&mut self) {
        self.durable = self.cached.clone();
        self.pending.clear();
    }

    /// A sync that fails: the changes are taken for written, and only chance brings them to the disk.
    pub(super) fn fail_sync(&mut self, folder: Ino) {
        for change in self.pending.iter_mut().filter(|change| change.in_folder(folder)) {
            change.stuck = true;
        }
    }

    /// Writes the changes that await nothing, and those before them without which they cannot be.
    fn make_durable(&mut self) {
        let mut done: Vec<&Change> = Vec::new();
        for change in self.pending.iter().rev() {
            if change.awaits.is_empty() || done.iter().any(|later| later.follows(change)) {
                done.push(change);
            }
        }
        if !done.is_empty() {
            let durable = Arc::make_mut(&mut self.durable);
            done.iter().rev().for_each(|change| durable.apply(&change.edit));
            let calls: BTreeSet<u64> = done.iter().map(|change| change.call).collect();
            self.pending.retain(|change| !calls.contains(&change.call));
        }
    }

    /// A power cut may leave a name to it.
    pub(super) fn mentions(&self) -> BTreeSet<Ino> {
        let trees = [&self.cached, &self.durable].into_iter().flat_map(|tree| tree.folders.values());
        trees.flat_map(|names| names.values().copied()).chain(self.pending.iter().map(Change::ino)).collect()
    }

    /// The names when the power is back.
    pub(super) fn settle(&self, fate: &mut dyn Fate) -> Self {
        let mut tree = self.durable.clone();
        for change in &self.pending {
            if fate.change(change) {
                Arc::make_mut(&mut tree).apply(&change.edit);
            }
        }
        let settled = |granted: &Granted, fate: &mut dyn Fate| Granted::new(granted.settle(fate));
        let rights = match self.rights_wait() {
            true => Arc::new(self.rights.iter().map(|(ino, granted)| (*ino, settled(granted, fate))).collect()),
            false => self.rights.clone(),
        };
        Self { cached: tree.clone(), durable: tree, pending: Vec::new(), rights }
    }
}
