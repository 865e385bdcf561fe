//! Past the calls: what a test looks up, puts there and damages.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Sim;
use super::file::File;
use super::machine::Machine;
use super::names::{Ino, Place, ROOT};
use crate::vfs::{OPEN_FOLDER, PRIVATE};

/// Past the calls: nothing of this is counted, is made to fail, or minds that the power is off.
impl Sim {
    /// What reads of a file see, all of it.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.with_file(path, |file| file.bytes())
    }

    /// What reads of all files see, by their paths from the root on: `/log/00000001.wal`.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let machine = self.lock();
        let named = machine.named().into_iter();
        named.filter_map(|(path, ino)| Some((path, machine.files.get(&ino)?.bytes()))).collect()
    }

    /// Puts a file there, or other bytes into one that is there. They are durable, and so are all names on the disk from then on.
    /// A file that was not there is its owner's only. Directories on the way are created.
    ///
    /// # Errors
    /// Where a file is in the way of a directory, or the other way round.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.lock();
        let (ino, now_ns) = (machine.file_for(path)?, machine.clock.0);
        machine.file(ino)?.put(bytes, now_ns);
        machine.names.sync_all();
        Ok(())
    }

    /// Flips the bits of `mask` in a byte on the disk, as rot does. Reads see that, unless newer bytes of its sector wait to
    /// be written. `false`, here and below: there is nothing of the kind on the disk.
    pub fn rot(&self, path: &Path, offset: u64, mask: u8) -> bool {
        let rot = |file: &mut File| {
            let (sector, at) = (offset / file.sector() as u64, (offset % file.sector() as u64) as usize);
            let len = file.durable_sector(sector).map_or(0, |bytes| bytes.len());
            at < len && file.damage(sector, |bytes| bytes[at] ^= mask)
        };
        self.with_file(path, rot).unwrap_or(false)
    }

    /// A sector on the disk is again what it was before it was synced last, or zeros if it was nothing: the disk said that it had
    /// written it, and had not.
    pub fn lose(&self, path: &Path, sector: u64) -> bool {
        self.with_file(path, |file| lose(file, sector)).unwrap_or(false)
    }

    /// A sector on the disk was written over another one of the file, and not to its own place, which is again what it was before.
    pub fn misplace(&self, path: &Path, sector: u64, to_sector: u64) -> bool {
        let misplace = |file: &mut File| {
            let Some(bytes) = file.durable_sector(sector) else { return false };
            let over = |other: &mut [u8]| {
                let len = other.len().min(bytes.len());
                other[..len].copy_from_slice(&bytes[..len]);
            };
            file.damage(to_sector, over) && lose(file, sector)
        };
        self.with_file(path, misplace).unwrap_or(false)
    }

    fn with_file<T>(&self, path: &Path, act: impl FnOnce(&mut File) -> T) -> Option<T> {
        let mut machine = self.lock();
        let ino = machine.find(path).ok()?;
        machine.files.get_mut(&ino).map(act)
    }
}

fn lose(file: &mut File, sector: u64) -> bool {
    let before = file.sector_before(sector);
    file.damage(sector, |bytes| bytes.copy_from_slice(&before[..bytes.len()]))
}

impl Machine {
    /// The file at `path`, which is created if need be, as are directories on the way.
    fn file_for(&mut self, path: &Path) -> io::Result<Ino> {
        let full = Self::full_path(path);
        let mut folder = ROOT;
        let mut names = full.iter().skip(1).peekable();
        while let Some(name) = names.next() {
            let place = Place { folder, name: name.to_owned() };
            let there = self.at(&place);
            if names.peek().is_none() {
                return Ok(there.unwrap_or_else(|| self.create(place, PRIVATE)));
            }
            folder = there.unwrap_or_else(|| self.create_folder(place, OPEN_FOLDER));
            if self.names.rights(folder).is_none() {
                return Err(Errno::NOTDIR.into());
            }
        }
        Err(Errno::ISDIR.into())
    }
}
