//! Long files are often mostly holes: they are passed by their length, not read. A checksum over a hole takes as many steps as
//! its length has bits.

use std::io;
use std::path::Path;

use crc32fast::Hasher;

use crate::error::{Error, Result};
use crate::vfs::VfsFile;

/// Bytes that one read asks for.
const CHUNK: usize = 1024 * 1024;

/// A part of a file.
pub(crate) enum Part<'a> {
    /// Bytes that are stored.
    Bytes(&'a [u8]),
    /// So many zeros that are not.
    Hole(u64),
}

/// Gives the bytes of `file` from `from` up to `to` to `each`, with their offsets, in order. Where they end: before `to` if the
/// file does.
///
/// # Errors
/// [`Error::Read`] of `path`, or what `each` says.
pub(crate) fn read(
    file: &dyn VfsFile,
    path: &Path,
    from: u64,
    to: u64,
    mut each: impl FnMut(u64, Part<'_>) -> Result<()>,
) -> Result<u64> {
    let failed = |source: io::Error| Error::read(path, source);
    let to = to.min(file.stat().map_err(failed)?.len);
    let mut buffer = vec![0; CHUNK];
    let mut offset = from;
    while offset < to {
        let passed = file.hole(offset, to);
        if passed >= CHUNK as u64 {
            each(offset, Part::Hole(passed))?;
            offset += passed;
            continue;
        }
        let len = (to - offset).min(CHUNK as u64) as usize;
        match file.read_at(&mut buffer[..len], offset) {
            Ok(0) => break,
            Ok(n) => {
                each(offset, Part::Bytes(&buffer[..n]))?;
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(offset)
}

/// The CRC-32 of parts, as if the holes had been read.
#[derive(Default)]
pub(crate) struct Sum(Hasher);

impl Sum {
    /// Takes the next part in.
    pub(crate) fn add(&mut self, part: &Part<'_>) {
        match *part {
            Part::Bytes(bytes) => self.0.update(bytes),
            Part::Hole(len) => self.0.combine(&zeros(len)),
        }
    }

    /// The sum.
    pub(crate) fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// The sum of `len` zeros: of 1, 2, 4, … zeros, joined as the bits of `len` say.
fn zeros(len: u64) -> Hasher {
    let (mut sum, mut power) = (Hasher::new(), Hasher::new());
    power.update(&[0]);
    for bit in 0..u64::BITS - len.leading_zeros() {
        if len >> bit & 1 == 1 {
            sum.combine(&power);
        }
        power.combine(&power.clone());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs;

    #[test]
    fn a_hole_has_the_sum_of_its_zeros() {
        for len in [0_u64, 1, 2, 3, 255, 4096, 100_001] {
            assert_eq!(zeros(len).finalize(), crc32fast::hash(&vec![0; len as usize]), "{len}");
        }
    }

    #[test]
    fn a_sparse_file_is_read_like_a_full_one() {
        let file = tempfile::tempfile().expect("a temporary file");
        vfs::write_all_at(&file, b"head", 10).expect("room");
        vfs::write_all_at(&file, b"tail", 9_000_000).expect("room");
        let (mut sum, mut holes, mut at) = (Sum::default(), 0, 3);
        let end = read(&file, Path::new("x"), 3, u64::MAX, |offset, part| {
            assert_eq!(offset, at);
            at += match part {
                Part::Bytes(bytes) => bytes.len() as u64,
                Part::Hole(len) => len,
            };
            holes += u64::from(matches!(part, Part::Hole(_)));
            sum.add(&part);
            Ok(())
        });
        assert_eq!((end.expect("readable"), at), (9_000_004, 9_000_004));
        let mut all = vec![0; 9_000_001];
        vfs::read_exact_at(&file, &mut all, 3).expect("readable");
        assert_eq!(sum.finish(), crc32fast::hash(&all));
        // A file system that knows no holes reads them; this one is expected to know them.
        assert!(holes <= 1);
    }
}
