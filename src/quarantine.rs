//! What a repair takes out of a log is kept first, byte for byte, in a file of its own beside the log or in another folder:
//! `<segment>.<what>-at-<offset>.<CRC-32 of the content>.quarantine`. The name says where the bytes belong and vouches
//! for them, so putting them back needs nothing else.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::durable::{self, CHUNK, Temp};
use crate::error::{Error, Result};
use crate::rights::Origin;
use crate::sparse::{self, Sum};
use crate::vfs::{self, Access, Disk, Vfs, VfsFile};

/// What was done to the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// Everything from the offset on was cut off.
    Cut,
    /// One byte was changed; the content is the byte as it was.
    Byte,
}

impl Taken {
    fn word(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Byte => "byte",
        }
    }
}

/// A quarantine file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// The segment's file name.
    pub segment: OsString,
    /// What was done.
    pub taken: Taken,
    /// Where in the segment, in bytes.
    pub offset: u64,
    /// CRC-32 of the content.
    pub sum: u32,
}

impl Kept {
    /// What a file name says; `None` if it is not the name of a quarantine file.
    pub fn parse(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_bytes();
        let name = name.strip_suffix(b".quarantine")?;
        let (rest, sum) = split_last(name)?;
        let (segment, what) = split_last(rest)?;
        let sum = std::str::from_utf8(sum).ok().filter(|sum| sum.len() == 8)?;
        let (what, offset) = std::str::from_utf8(what).ok()?.split_once("-at-")?;
        let taken = [Taken::Cut, Taken::Byte].into_iter().find(|taken| taken.word() == what)?;
        Some(Self {
            path: path.into(),
            segment: OsString::from_vec(segment.to_vec()),
            taken,
            offset: offset.parse().ok()?,
            sum: u32::from_str_radix(sum, 16).ok()?,
        })
    }

    fn name(segment: &OsStr, taken: Taken, offset: u64, sum: Option<u32>) -> OsString {
        let mut name = segment.to_owned();
        name.push(format!(".{}-at-{offset}.", taken.word()));
        match sum {
            Some(sum) => name.push(format!("{sum:08x}.quarantine")),
            None => name.push("quarantine"),
        }
        name
    }

    /// Opens it, if its content is what its name vouches for.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not; [`Error::Read`].
    pub fn open(&self, disk: &dyn Vfs) -> Result<(Box<dyn VfsFile>, u64)> {
        let (file, len) = crate::log::open_regular(disk, &self.path)?;
        let sum = sum_of(&*file, &self.path)?;
        if sum != self.sum {
            let why = format!("its content has CRC {sum:08x}, not the one in its name; it is damaged itself");
            return Err(Error::refused(&self.path, why));
        }
        Ok((file, len))
    }
}

fn split_last(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

fn sum_of(file: &dyn VfsFile, path: &Path) -> Result<u32> {
    let mut sum = Sum::default();
    sparse::read(file, path, 0, u64::MAX, |_, part| {
        sum.add(&part);
        Ok(())
    })?;
    Ok(sum.finish())
}

/// Keeps the bytes of `segment` from `offset` on: all of them for [`Taken::Cut`], one for [`Taken::Byte`]. `folder` is where
/// the file goes, beside the segment if `None`. Nobody has more rights to it than to the segment. When it returns, the file is on the disk under its name. The same bytes kept before by an
/// interrupted run are used; other files are never touched.
///
/// # Errors
/// [`Error::Write`] (a full disk, say): nothing is left behind. [`Error::Refused`] where other bytes have the name.
pub fn keep(disk: &Disk, segment: &Path, taken: Taken, offset: u64, folder: Option<&Path>) -> Result<Kept> {
    let failed = |source| Error::read(segment, source);
    let source = disk.open(segment, Access::Read).map_err(failed)?;
    let origin = Origin::another(&*source, segment)?;
    let folder = folder.unwrap_or_else(|| durable::folder_of(segment));
    let name = segment.file_name().unwrap_or_default();
    let temp = Temp::file(disk, &folder.join(Kept::name(name, taken, offset, None)), origin)?;
    let sum = match taken {
        Taken::Cut => durable::copy_tail(&*source, segment, offset, temp.handle(), temp.path())?.1,
        Taken::Byte => {
            let mut byte = [0];
            vfs::read_exact_at(&*source, &mut byte, offset).map_err(failed)?;
            durable::write_at(temp.handle(), temp.path(), &byte, 0)?;
            crc32fast::hash(&byte)
        }
    };
    let path = folder.join(Kept::name(name, taken, offset, Some(sum)));
    let kept = Kept { path: path.clone(), segment: name.into(), taken, offset, sum };
    if disk.stat_link(&path).is_err() {
        temp.place_new_as(&path)?;
        return Ok(kept);
    }
    let (there, _) = kept.open(&**disk)?;
    if !same(&*there, temp.handle()).map_err(|source| Error::read(&path, source))? {
        return Err(Error::refused(&path, "other bytes are kept under this name; move that file away, then run again"));
    }
    durable::sync(&*there, &path)?;
    durable::sync_dir(&**disk, folder)?;
    Ok(kept)
}

fn same(a: &dyn VfsFile, b: &dyn VfsFile) -> io::Result<bool> {
    let len = a.stat()?.len;
    if len != b.stat()?.len {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    while offset < len {
        let n = (len - offset).min(CHUNK as u64) as usize;
        vfs::read_exact_at(a, &mut left[..n], offset)?;
        vfs::read_exact_at(b, &mut right[..n], offset)?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
        offset += n as u64;
    }
    Ok(true)
}

/// The quarantine files in `folder` of the segments that `ours` knows.
///
/// # Errors
/// [`Error::Read`].
pub fn find(disk: &dyn Vfs, folder: &Path, ours: &dyn Fn(&OsStr) -> bool) -> Result<Vec<Kept>> {
    let names = disk.list(folder).map_err(|source| Error::read(folder, source))?;
    let parsed = names.iter().filter_map(|name| Kept::parse(&folder.join(name)));
    let mut kept: Vec<_> = parsed.filter(|kept| ours(&kept.segment)).collect();
    kept.sort_by(|a, b| (&a.segment, a.taken, a.offset, a.sum).cmp(&(&b.segment, b.taken, b.offset, b.sum)));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_the_bytes_belong() {
        let path = Path::new("x/app.db-wal.cut-at-34336.5f3a0c2e.quarantine");
        let kept = Kept::parse(path).expect("a name of a quarantine file");
        assert_eq!((kept.segment.as_os_str(), kept.taken, kept.offset), (OsStr::new("app.db-wal"), Taken::Cut, 34336));
        assert_eq!(kept.sum, 0x5f3a_0c2e);
        assert_eq!(Kept::name(&kept.segment, kept.taken, kept.offset, Some(kept.sum)), path.file_name().unwrap());
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in ["app.db-wal", "a.cut-at-1.quarantine", "a.cut-at-x.00000000.quarantine", "a.cut-at-1.0.quarantine"]
        {
            assert_eq!(Kept::parse(Path::new(name)), None, "{name}");
        }
    }
}
