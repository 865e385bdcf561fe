//! The calls that are about a path.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use rustix::io::Errno;

use super::Sim;
use super::calls::{Asked, Failure, Op};
use super::machine::Machine;
use super::names::{Edit, Ino};
use super::open::Open;
use crate::vfs::{Access, OPEN, Stat, Vfs, VfsFile};

impl Sim {
    /// Begins a call that changes what is at `path`.
    fn change(
        &self,
        op: Op,
        name: &'static str,
        path: &Path,
        to: Option<&Path>,
    ) -> io::Result<(MutexGuard<'_, Machine>, Option<Failure>)> {
        let mut machine = self.lock();
        let asked = Asked { op, name, path: path.into(), to: to.map(Arc::from), bytes: None };
        let failure = machine.calls.change(asked)?;
        Ok((machine, failure))
    }

    fn look(&self, op: Op) -> io::Result<MutexGuard<'_, Machine>> {
        let mut machine = self.lock();
        machine.calls.look(op)?;
        Ok(machine)
    }

    fn create(
        &self,
        mut machine: MutexGuard<'_, Machine>,
        name: &'static str,
        path: &Path,
        access: Access,
        mode: u32,
    ) -> io::Result<Box<dyn VfsFile>> {
        let path: Arc<Path> = path.into();
        let failure =
            machine.calls.change(Asked { op: Op::Create, name, path: path.clone(), to: None, bytes: None })?;
        let place = machine.free_place(&path)?;
        let (happens, result) = machine.outcome(failure);
        let ino = happens.then(|| machine.create(place, mode));
        result?;
        let ino = ino.ok_or(Errno::IO)?;
        Ok(Open::boxed(&self.machine, &mut machine, ino, access, path))
    }

    fn rename(&self, name: &'static str, from: &Path, to: &Path, over: bool) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Rename, name, from, Some(to))?;
        let (source, target) = (machine.place(from)?, machine.place(to)?);
        let ino = machine.must_be_at(&source)?;
        let other = machine.at(&target);
        match other {
            Some(_) if !over => return Err(Errno::EXIST.into()),
            Some(other) if other == ino => return Ok(()),
            _ => {}
        }
        let (old, new) = (Machine::full_path(from), Machine::full_path(to));
        if new.starts_with(&old) {
            return Err(Errno::INVAL.into());
        }
        if old.starts_with(&new) {
            return Err(Errno::NOTEMPTY.into());
        }
        if let Some(other) = other {
            may_replace(&machine, ino, other)?;
        }
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.edit(Edit::Move { ino, from: source, to: target });
        }
        result
    }

    fn remove_at(&self, name: &'static str, path: &Path, folder: bool) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Remove, name, path, None)?;
        let at = machine.place(path)?;
        let ino = machine.must_be_at(&at)?;
        match (machine.files.contains_key(&ino), folder) {
            (false, false) => return Err(Errno::ISDIR.into()),
            (true, true) => return Err(Errno::NOTDIR.into()),
            _ => {}
        }
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.edit(Edit::Remove { ino, at });
        }
        result
    }
}

/// As a rename replaces: a file a file, a directory an empty directory.
fn may_replace(machine: &Machine, ino: Ino, other: Ino) -> io::Result<()> {
    match (machine.files.contains_key(&ino), machine.files.contains_key(&other)) {
        (true, true) => Ok(()),
        (true, false) => Err(Errno::ISDIR.into()),
        (false, true) => Err(Errno::NOTDIR.into()),
        (false, false) if machine.list(other).is_empty() => Ok(()),
        (false, false) => Err(Errno::NOTEMPTY.into()),
    }
}

impl Vfs for Sim {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>> {
        let mut machine = self.lock();
        if access == Access::Lock && machine.find(path).is_err() {
            return self.create(machine, "open", path, access, OPEN);
        }
        machine.calls.look(Op::Open)?;
        let ino = machine.find(path)?;
        if !machine.files.contains_key(&ino) && access != Access::Read {
            return Err(Errno::ISDIR.into());
        }
        Ok(Open::boxed(&self.machine, &mut machine, ino, access, path.into()))
    }

    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn VfsFile>> {
        self.create(self.lock(), "create_new", path, Access::Change, mode)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let machine = self.look(Op::Look)?;
        Ok(machine.stat(machine.find(path)?))
    }

    fn stat_link(&self, path: &Path) -> io::Result<Stat> {
        self.stat(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let machine = self.look(Op::Look)?;
        machine.find(path)?;
        Ok(Machine::full_path(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let machine = self.look(Op::Look)?;
        Ok(machine.list(machine.folder(folder)?))
    }

    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Create, "create_folder", path, None)?;
        let place = machine.free_place(path)?;
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.create_folder(place, mode);
        }
        result
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename("rename_new", from, to, false)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename("rename_over", from, to, true)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.remove_at("remove", path, false)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        for name in self.list(path)? {
            let path = path.join(name);
            if self.list(&path).is_ok() {
                self.remove_folder(&path)?;
            } else {
                self.remove(&path)?;
            }
        }
        self.remove_at("remove_folder", path, true)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::SyncFolder, "sync_folder", path, None)?;
        let folder = machine.folder(path)?;
        match failure {
            None | Some(Failure::Short) => machine.names.sync(folder),
            Some(Failure::Interrupted) => return Err(Failure::Interrupted.error()),
            Some(failure @ (Failure::Io | Failure::Full)) => {
                machine.names.fail_sync(folder);
                return Err(failure.error());
            }
        }
        machine.forget();
        Ok(())
    }

    fn len_max(&self, folder: &Path) -> io::Result<u64> {
        let machine = self.look(Op::Look)?;
        machine.folder(folder)?;
        Ok(machine.len_max)
    }

    fn now_ns(&self) -> u64 {
        let mut machine = self.lock();
        let (now, step) = machine.clock;
        machine.clock.0 = now.saturating_add(step);
        now
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut machine = self.look(Op::Random)?;
        machine.random.fill(out);
        Ok(())
    }
}
