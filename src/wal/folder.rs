//! The directory of a log: created where there is none, and refused where it holds something else. A directory that is not a log's own is
//! left as it is, without a lock file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::durable;
use crate::error::{Error, Result};
use crate::format::{CLUE_LEN, Clue, Format, Match};
use crate::formats::native::{LOCK, Native};
use crate::log::Log;
use crate::vfs::{Disk, Kind};

/// What a file system keeps in its topmost directory: a log may have a file system of its own.
const OF_THE_SYSTEM: &str = "lost+found";
/// So many names are listed of what is in the way.
const NAMED: usize = 3;

/// Sees to it that `path` is a directory that a log can be opened in. Where there is none, it is created with the permissions `mode` less the umask;
/// its name is on the disk when this returns.
pub(super) fn prepare(disk: &Disk, path: &Path, mode: u32) -> Result<()> {
    match disk.stat(path) {
        Ok(stat) if stat.kind == Kind::Folder => must_be_ours(disk, path),
        Ok(_) => Err(Error::Usage(format!("{}: a log is a directory, and this is none", crate::shown(path)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(disk, path, mode),
        Err(cause) => Err(Error::read(path, cause)),
    }
}

fn create(disk: &Disk, path: &Path, mode: u32) -> Result<()> {
    disk.create_folder(path, mode).map_err(|cause| Error::write(path, "create", cause))?;
    durable::sync_dir(&**disk, durable::folder_of(path)).inspect_err(|_| {
        // Later syncs may do nothing for this name and succeed. The next opening is to make it again.
        let _ = disk.remove_folder(path);
    })
}

/// Fails where the directory holds something, and that is no log.
fn must_be_ours(disk: &Disk, path: &Path) -> Result<()> {
    let mut names = disk.list(path).map_err(|cause| Error::read(path, cause))?;
    names.sort();
    let is_segment = |name: &&OsString| Native.segment_number(name).is_some();
    let segments: Vec<_> = names.iter().filter(is_segment).collect();
    if segments.is_empty() {
        let strange: Vec<_> = names.iter().filter(|name| !Native.owns(name) && *name != OF_THE_SYSTEM).collect();
        return if strange.is_empty() { Ok(()) } else { Err(refused(path, &strange)) };
    }
    // A writer has been here: what has become of its segments is for the report.
    if names.iter().any(|name| name == LOCK) {
        return Ok(());
    }
    for name in &segments {
        if is_recognised(disk, path, name)? {
            return Ok(());
        }
    }
    Err(refused(path, &segments))
}

/// The content of a segment, and not only its name, is that of the format.
fn is_recognised(disk: &Disk, folder: &Path, name: &OsStr) -> Result<bool> {
    let head = Log::open_on(disk, &folder.join(name), Some(&Native))?.head(0, CLUE_LEN)?;
    Ok(Native.probe(&Clue { name, head: &head, whole: false }) > Match::Name)
}

fn refused(path: &Path, strange: &[&OsString]) -> Error {
    let shown: Vec<_> = strange.iter().take(NAMED).map(|name| crate::shown(Path::new(name)).to_string()).collect();
    let more = match strange.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let why = format!(
        "the directory holds something else than a log: {}{more}\n  a log has a directory of its own: name one that is empty, or that does not exist yet",
        shown.join(", ")
    );
    Error::refused(path, why)
}
