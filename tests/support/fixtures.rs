//! The logs in `fixtures/`, of every format.

use std::fs;
use std::path::{Path, PathBuf};

use waltool::Log;
use waltool::format::Format;

use super::Segments;

/// A case of a format.
pub struct Fixture {
    /// The folder of the format.
    pub room: String,
    /// The folder of the case.
    pub case: String,
    /// The file or directory that is the log.
    pub path: PathBuf,
    /// The format that the folder is named by.
    pub format: &'static dyn Format,
    /// Its files, in order.
    pub segments: Segments,
}

impl Fixture {
    /// `format/case`, for messages.
    pub fn name(&self) -> String {
        format!("{}/{}", self.room, self.case)
    }

    /// The log in memory.
    pub fn log(&self) -> Log {
        super::log_of(self.format, &self.segments)
    }
}

/// `fixtures/` of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Every case of every format, in the order of their names. A folder without a log fails.
pub fn all() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for room in folders(&root()) {
        for case in folders(&room) {
            fixtures.push(open(&room, &case));
        }
    }
    assert!(!fixtures.is_empty(), "no fixtures in {}", root().display());
    fixtures
}

fn open(room: &Path, case: &Path) -> Fixture {
    let names = ["log", "log.wal", "app.db-wal"];
    let path = names.iter().map(|name| case.join(name)).find(|path| path.exists());
    let path = path.unwrap_or_else(|| panic!("{}: none of {names:?}", case.display()));
    let log = Log::open(&path, waltool::formats::by_name(&name(room)))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let segments = log.segments().iter().zip(0..).map(|(segment, index)| {
        let bytes = fs::read(log.segment_path(index)).unwrap();
        (segment.name.to_str().unwrap().to_owned(), bytes)
    });
    let segments = segments.collect();
    Fixture { room: name(room), case: name(case), format: log.format(), segments, path }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The folders in a folder, by name.
pub fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}
