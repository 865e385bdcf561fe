//! An open file of a simulated disk.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::calls::{Asked, Failure, Op};
use super::machine::Machine;
use super::names::Ino;
use crate::vfs::{Access, Rights, Stat, VfsFile};

pub(super) type Shared = Arc<Mutex<Machine>>;

/// The machine stays whole if a thread panics while it holds the lock: nothing is changed by halves.
pub(super) fn lock(machine: &Shared) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Open {
    machine: Shared,
    ino: Ino,
    handle: u64,
    access: Access,
    path: Arc<Path>,
}

impl Open {
    /// Opens a file for whoever holds the lock on `machine`.
    pub(super) fn boxed(
        shared: &Shared,
        machine: &mut Machine,
        ino: Ino,
        access: Access,
        path: Arc<Path>,
    ) -> Box<dyn VfsFile> {
        let handle = machine.opened(ino);
        Box::new(Self { machine: shared.clone(), ino, handle, access, path })
    }

    fn change(
        &self,
        op: Op,
        name: &'static str,
        bytes: Option<(u64, u64)>,
    ) -> io::Result<(MutexGuard<'_, Machine>, Option<Failure>)> {
        let mut machine = lock(&self.machine);
        let path = self.path.clone();
        let failure = machine.calls.change(Asked { op, name, path, to: None, bytes })?;
        Ok((machine, failure))
    }

    /// A file that was opened to be read cannot be changed; which error says so depends on the call.
    fn must_be_writable(&self, otherwise: Errno) -> io::Result<()> {
        if self.access == Access::Read { Err(otherwise.into()) } else { Ok(()) }
    }

    fn set_rights(&self, name: &'static str, change: impl FnOnce(&mut Rights)) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::SetRights, name, None)?;
        let mut rights = machine.rights(self.ino)?;
        let (happens, result) = machine.outcome(failure);
        if happens {
            change(&mut rights);
            machine.set_rights(self.ino, rights);
        }
        result
    }

    fn sync(&self, name: &'static str, rights: bool) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Sync, name, None)?;
        let mut chance = machine.chance.clone();
        let file = machine.file(self.ino)?;
        match failure {
            None | Some(Failure::Short) => file.sync(rights),
            Some(Failure::Interrupted) => {}
            Some(Failure::Io | Failure::Full) => file.fail_sync(&mut chance),
        }
        machine.chance = chance;
        failure.filter(|failure| *failure != Failure::Short).map_or(Ok(()), |failure| Err(failure.error()))
    }
}

impl VfsFile for Open {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut machine = lock(&self.machine);
        let part = match machine.calls.look(Op::Read)? {
            Some(_) => machine.short(buffer.len()),
            None => buffer.len(),
        };
        Ok(machine.file(self.ino)?.read(offset, &mut buffer[..part]))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add(bytes.len() as u64);
        let (mut machine, failure) = self.change(Op::Write, "write_at", Some((offset, end)))?;
        self.must_be_writable(Errno::BADF)?;
        if end > machine.len_max {
            return Err(Errno::FBIG.into());
        }
        let room = machine.file(self.ino)?.has_room(offset..end);
        let (part, result) = match failure {
            Some(Failure::Full) if room => (bytes.len(), Ok(bytes.len())),
            None => (bytes.len(), Ok(bytes.len())),
            Some(Failure::Interrupted) => (0, Err(Failure::Interrupted.error())),
            Some(Failure::Short) => {
                let part = machine.short(bytes.len());
                (part, Ok(part))
            }
            Some(failure @ (Failure::Io | Failure::Full)) => (machine.part(bytes.len()), Err(failure.error())),
        };
        let (call, now_ns) = (machine.calls.moment(), machine.clock.0);
        let file = machine.file(self.ino)?;
        file.write(offset, &bytes[..part], call);
        if part > 0 {
            file.touch(now_ns);
        }
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::SetLen, "set_len", Some((0, len)))?;
        self.must_be_writable(Errno::INVAL)?;
        if len > machine.len_max {
            return Err(Errno::FBIG.into());
        }
        let (happens, result) = machine.outcome(failure);
        let (call, now_ns) = (machine.calls.moment(), machine.clock.0);
        if happens {
            let file = machine.file(self.ino)?;
            file.set_len(len, call);
            file.touch(now_ns);
        }
        result
    }

    fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        let (mut machine, failure) = self.change(Op::Reserve, "reserve", Some((from, to)))?;
        self.must_be_writable(Errno::BADF)?;
        if to > machine.len_max {
            return Err(Errno::FBIG.into());
        }
        let (happens, result) = machine.outcome(failure);
        if happens {
            machine.file(self.ino)?.reserve(from..to);
        }
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync("sync_data", false)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync("sync_all", true)
    }

    fn stat(&self) -> io::Result<Stat> {
        let mut machine = lock(&self.machine);
        machine.calls.look(Op::Look)?;
        Ok(machine.stat(self.ino))
    }

    fn rights(&self) -> io::Result<Rights> {
        let mut machine = lock(&self.machine);
        machine.calls.look(Op::Look)?;
        machine.rights(self.ino)
    }

    fn set_owner(&self, owner: (u32, u32)) -> io::Result<()> {
        self.set_rights("set_owner", |rights| rights.owner = owner)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.set_rights("set_mode", |rights| rights.mode = mode & 0o7777)
    }

    fn set_attribute(&self, name: &OsStr, value: Option<&[u8]>) -> io::Result<()> {
        self.set_rights("set_attribute", |rights| match value {
            Some(value) => drop(rights.attributes.insert(name.to_owned(), value.to_vec())),
            None => drop(rights.attributes.remove(name)),
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut machine = lock(&self.machine);
        machine.calls.look(Op::Lock)?;
        Ok(machine.lock(self.ino, self.handle))
    }

    fn hole(&self, offset: u64, len: u64) -> u64 {
        let mut machine = lock(&self.machine);
        let stored = machine.file(self.ino).ok().and_then(|file| file.next_stored(offset));
        stored.unwrap_or(len).min(len).saturating_sub(offset)
    }

    fn drop_clean(&self) {
        let mut machine = lock(&self.machine);
        if !machine.calls.is_off()
            && let Ok(file) = machine.file(self.ino)
        {
            file.drop_clean();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.machine).closed(self.ino, self.handle);
    }
}
