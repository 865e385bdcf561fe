//! How long a target can be. A transaction that would make it longer is refused when it is committed: once it is in the log, no checkpoint could
//! be made any more.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::error::Result;
use super::transaction::Changes;
use crate::durable::folder_of;
use crate::error::Error;
use crate::formats::native::encode::WriteError;
use crate::vfs::Disk;

/// Files of this length are possible wherever a log is: nobody needs to be asked.
const ANYWHERE: u64 = (1 << 31) - 1;

/// The bound of one target.
pub(super) struct Reach {
    disk: Disk,
    target: PathBuf,
    max: OnceLock<u64>,
}

impl Reach {
    pub(super) fn new(disk: &Disk, target: &Path) -> Self {
        Self { disk: disk.clone(), target: target.into(), max: OnceLock::new() }
    }

    /// How long the target can be, where it is to be `len` bytes long and that is too much. The file system is asked once, by the first that is long.
    pub(super) fn exceeded_by(&self, len: u64) -> Result<Option<u64>, Error> {
        if len <= ANYWHERE {
            return Ok(None);
        }
        let max = match self.max.get() {
            Some(&max) => max,
            None => self.ask()?,
        };
        Ok((len > max).then_some(max))
    }

    fn ask(&self) -> Result<u64, Error> {
        let folder = folder_of(&self.target);
        let asked = self.disk.len_max(folder);
        let max = asked.map_err(|cause| Error::write(folder, "find out how long its files can be", cause))?;
        Ok(*self.max.get_or_init(|| max))
    }

    /// Refuses what the target cannot hold.
    pub(super) fn admits(&self, changes: &Changes) -> Result<()> {
        let len = changes.entries().map(|entry| entry.reach()).max().unwrap_or(0);
        match self.exceeded_by(len)? {
            Some(max) => Err(WriteError::TargetMax { path: self.target.clone(), len, max }.into()),
            None => Ok(()),
        }
    }
}
