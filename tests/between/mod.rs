//! A disk on which something happens before a call of one's choice: whatever another program might do just then.

#![allow(dead_code)] // each test uses a part of it

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waltool::vfs::{Access, Disk, OPEN, Rights, Stat, Vfs, VfsFile};

/// Reads give this many bytes at most, so that things happen within a file too.
const READ_MAX: usize = 3000;

type Act = Box<dyn FnMut() + Send>;

/// What happens, and when.
struct Moment {
    /// Calls until then.
    left: u64,
    /// Calls until it happens again.
    again: Option<u64>,
    /// Away while it happens.
    act: Option<Act>,
}

/// The disk, as seen by the one who is interrupted.
#[derive(Clone)]
pub struct Between {
    disk: Disk,
    moment: Arc<Mutex<Moment>>,
    /// See [`deaf`](Self::deaf).
    deaf: bool,
}

impl Between {
    /// `act` happens before the `n`-th call from now, counted from 1.
    pub fn new(disk: Disk, n: u64, act: impl FnMut() + Send + 'static) -> Self {
        Self::of(disk, Moment { left: n, again: None, act: Some(Box::new(act)) })
    }

    /// `act` happens before every `n`-th call.
    #[allow(dead_code, reason = "one of the tests uses it")]
    pub fn every(disk: Disk, n: u64, act: impl FnMut() + Send + 'static) -> Self {
        Self::of(disk, Moment { left: n, again: Some(n), act: Some(Box::new(act)) })
    }

    /// It happens before the `n`-th call from now.
    #[allow(dead_code, reason = "not every test uses it")]
    pub fn after(&self, n: u64) {
        self.moment().left = n;
    }

    /// The call has come.
    #[allow(dead_code, reason = "not every test uses it")]
    pub fn happened(&self) -> bool {
        self.moment().left == 0
    }

    fn moment(&self) -> MutexGuard<'_, Moment> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) -> &Disk {
        let mut moment = self.moment();
        let now = moment.left == 1;
        moment.left = if now { moment.again.unwrap_or(0) } else { moment.left.saturating_sub(1) };
        let act = if now { moment.act.take() } else { None };
        // It may be that other threads go on meanwhile, or that what happens is a panic.
        drop(moment);
        if let Some(mut act) = act {
            act();
            self.moment().act = Some(act);
        }
        &self.disk
    }

    fn of(disk: Disk, moment: Moment) -> Self {
        Self { disk, moment: Arc::new(Mutex::new(moment)), deaf: false }
    }

    /// A disk that says it gives rights, and on which all new files have the same.
    #[allow(dead_code, reason = "one of the tests uses it")]
    pub fn deaf(disk: Disk) -> Self {
        Self { deaf: true, ..Self::new(disk, 0, || ()) }
    }

    fn file(&self, file: Box<dyn VfsFile>) -> Box<dyn VfsFile> {
        Box::new(File { file, between: self.clone() })
    }
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Vfs for Between {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn VfsFile>> {
        Ok(self.file(self.call().open(path, access)?))
    }

    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn VfsFile>> {
        let mode = if self.deaf { OPEN } else { mode };
        Ok(self.file(self.call().create_new(path, mode)?))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.call().stat(path)
    }

    fn stat_link(&self, path: &Path) -> io::Result<Stat> {
        self.call().stat_link(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.call().canonicalize(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.call().list(folder)
    }

    fn create_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call().create_folder(path, mode)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call().rename_new(from, to)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call().rename_over(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call().remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.call().remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call().sync_folder(path)
    }

    fn len_max(&self, folder: &Path) -> io::Result<u64> {
        self.call().len_max(folder)
    }

    fn now_ns(&self) -> u64 {
        self.disk.now_ns()
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.disk.random(out)
    }
}

struct File {
    file: Box<dyn VfsFile>,
    between: Between,
}

impl File {
    fn call(&self) -> &dyn VfsFile {
        self.between.call();
        &*self.file
    }
}

impl VfsFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = buffer.len().min(READ_MAX);
        self.call().read_at(&mut buffer[..len], offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.call().write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call().set_len(len)
    }

    fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        self.call().reserve(from, to)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call().sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.call().sync_all()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.call().stat()
    }

    fn rights(&self) -> io::Result<Rights> {
        self.call().rights()
    }

    fn set_owner(&self, owner: (u32, u32)) -> io::Result<()> {
        if self.between.deaf { Ok(()) } else { self.call().set_owner(owner) }
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        if self.between.deaf { Ok(()) } else { self.call().set_mode(mode) }
    }

    fn set_attribute(&self, name: &OsStr, value: Option<&[u8]>) -> io::Result<()> {
        if self.between.deaf { Ok(()) } else { self.call().set_attribute(name, value) }
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.call().try_lock()
    }

    fn hole(&self, offset: u64, len: u64) -> u64 {
        self.file.hole(offset, len)
    }
}
