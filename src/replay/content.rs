//! What a file holds, as far as a length and a checksum tell it; and what the file system says of it.

use std::fmt;
use std::path::Path;

use crate::error::Result;
use crate::format::Seen;
use crate::report::Counted;
use crate::sparse::{self, Sum};
use crate::vfs::{Stat, VfsFile};

/// The content of a file. Two files of one length that differ have the same checksum once in 2³², whatever they hold and however little
/// they differ; a burst of changes of 32 bits or fewer never goes unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes of it.
    pub len: u64,
    /// Their CRC-32.
    pub crc: u32,
}

impl Content {
    /// Reads all of a file; holes take no time.
    ///
    /// # Errors
    /// [`Error::Read`](crate::Error::Read).
    pub(crate) fn of(file: &dyn VfsFile, path: &Path) -> Result<Self> {
        let mut sum = Sum::default();
        let len = sparse::read(file, path, 0, u64::MAX, |_, part| {
            sum.add(&part);
            Ok(())
        })?;
        Ok(Self { len, crc: sum.finish() })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, CRC-32 {:08x}", Counted(self.len, "byte"), self.crc)
    }
}

/// What the file system says of a file whose content is known, if every later change of the content will show in it.
///
/// The file system's clock advances in steps, so a change in the same step as the one before does not show in its times. But a change of
/// the content sets its modification to a time that is not before the present `changed`. Where the present modification is before that, it
/// shows.
pub(crate) fn settled(stat: &Stat) -> Option<Seen> {
    let seen = Seen { inode: stat.id.1, times: stat.times };
    (stat.times.modified_ns < stat.times.changed_ns).then_some(seen)
}
