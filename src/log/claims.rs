//! Which files are a log's own: nothing else is written under their names, nor among them.

use std::ffi::OsStr;
use std::path::Path;

use super::{Log, folder_of, name_of};
use crate::vfs::{Disk, Vfs};

impl Log {
    /// `path` is a file of this log, by whatever name, or would be taken for one if it were there. Everything in a log's directory is the log's
    /// own; beside a file that is given by itself, what the format knows by name.
    pub fn claims(&self, path: &Path) -> bool {
        let disk = &*self.disk;
        let whole = self.is_folder();
        let folder = if whole { &self.path } else { folder_of(&self.path) };
        let owns = |name: &OsStr| whole || self.format.owns(name);
        if same(disk, folder_of(path), folder) && owns(name_of(path)) {
            return true;
        }
        let is = |other: &Path| same(disk, path, other);
        let named = |name: &OsStr| owns(name) && is(&folder.join(name));
        (0..self.segments.len() as u32).any(|index| is(self.segment_path(index)))
            || disk.stat(path).is_ok() && disk.list(folder).is_ok_and(|names| names.iter().any(|name| named(name)))
    }

    /// The log whose directory `path` is in, or would be in.
    pub fn around(disk: &Disk, path: &Path) -> Option<Self> {
        Self::open_on(disk, folder_of(path), None).ok()
    }

    /// It is a single file, given without its neighbours, which are in the directory of the log `whole`.
    pub fn is_part_of(&self, whole: &Self) -> bool {
        self.alone && same(&*self.disk, folder_of(&self.path), &whole.path)
    }
}

/// Both names lead to one file.
fn same(disk: &dyn Vfs, a: &Path, b: &Path) -> bool {
    let id = |path: &Path| disk.stat(path).map(|file| file.id).ok();
    id(a).is_some_and(|a| id(b) == Some(a))
}
