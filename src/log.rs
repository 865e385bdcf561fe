//! A path becomes a log: a format, and segments in their order. Opens files, and parses nothing but names.
//!
//! Nothing is created or locked, and where the system permits it not even the time of access changes.

mod claims;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::format::{CLUE_LEN, Clue, Format, Match, Segments};
use crate::formats;
use crate::span::Gap;
use crate::vfs::{self, Access, Disk, Kind, Vfs, VfsFile};
use crate::window::Source;

/// Listings of a directory after which the last one is taken.
const LISTINGS_MAX: u32 = 64;

/// A write-ahead log found somewhere: its format, and its segments in order.
pub struct Log {
    disk: Disk,
    path: PathBuf,
    format: &'static dyn Format,
    segments: Vec<Segment>,
    alone: bool,
    /// Segments were left out: those that it begins with say nothing of those before.
    rest: bool,
}

/// One file of a log.
pub struct Segment {
    /// Its name, relative to the log.
    pub name: OsString,
    /// The number in its name, where the format gives it one.
    pub number: Option<u64>,
    origin: Origin,
}

enum Origin {
    File(PathBuf),
    Stream(Mutex<Option<Source>>),
    Memory(Arc<[u8]>),
}

impl Log {
    /// Opens `path`: a file, a directory of segments, or `-` for standard input. `format` overrides detection.
    ///
    /// # Errors
    /// [`Error::Unknown`] when no format knows it, [`Error::NotRegular`], [`Error::Read`].
    pub fn open(path: &Path, format: Option<&'static dyn Format>) -> Result<Self> {
        if path == Path::new("-") {
            return Self::stream(path, Box::new(io::stdin()), format);
        }
        Self::open_on(&vfs::real(), path, format)
    }

    /// Opens `path` on `disk`: a file or a directory of segments. `format` overrides detection.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: &Disk, path: &Path, format: Option<&'static dyn Format>) -> Result<Self> {
        let stat = disk.stat(path).map_err(|source| Error::read(path, source))?;
        match stat.kind {
            Kind::Folder => Self::directory(disk, path, format),
            _ => Self::file(disk, path, format),
        }
    }

    fn file(disk: &Disk, path: &Path, format: Option<&'static dyn Format>) -> Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_owned();
        let format = match format {
            Some(format) => format,
            None => {
                let (file, len) = open_regular(&**disk, path)?;
                let head = read_head(&*file, CLUE_LEN).map_err(|source| Error::read(path, source))?;
                detect(path, &Clue { name: &name, head: &head, whole: head.len() as u64 == len })?
            }
        };
        open_regular(&**disk, path)?;
        let number = format.segment_number(&name);
        let segments = vec![Segment { name, number, origin: Origin::File(path.into()) }];
        Ok(Self { disk: disk.clone(), path: path.into(), format, segments, alone: true, rest: false })
    }

    fn directory(disk: &Disk, path: &Path, format: Option<&'static dyn Format>) -> Result<Self> {
        let names = list_twice(&**disk, path)?;
        let mut best: Option<(Match, &'static dyn Format, Vec<Segment>)> = None;
        for &candidate in formats::FORMATS {
            if candidate.segments() == Segments::One || format.is_some_and(|f| f.name() != candidate.name()) {
                continue;
            }
            let segments = in_order(path, &names, candidate);
            let Some(sure) = surest(&**disk, candidate, &segments)? else { continue };
            if best.as_ref().is_none_or(|(other, ..)| sure > *other) {
                best = Some((sure, candidate, segments));
            }
        }
        match best {
            Some((_, format, segments)) => {
                Ok(Self { disk: disk.clone(), path: path.into(), format, segments, alone: false, rest: false })
            }
            None => Err(Error::Unknown { path: path.into(), why: why_no_segments(path, &names) }),
        }
    }

    /// A log that arrives as a stream and can be read once. `path` is only its name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn stream(path: &Path, mut stream: Box<dyn Read + Send>, format: Option<&'static dyn Format>) -> Result<Self> {
        let mut head = Vec::new();
        let read = stream.by_ref().take(CLUE_LEN as u64).read_to_end(&mut head);
        read.map_err(|source| Error::read(path, source))?;
        let clue = Clue { name: path.as_os_str(), head: &head, whole: head.len() < CLUE_LEN };
        let format = match format {
            Some(format) => format,
            None => detect(path, &clue)?,
        };
        let source = Source::Stream(Box::new(io::Cursor::new(head).chain(stream)));
        let origin = Origin::Stream(Mutex::new(Some(source)));
        let segments = vec![Segment { name: path.into(), number: None, origin }];
        Ok(Self { disk: vfs::real(), path: path.into(), format, segments, alone: true, rest: false })
    }

    /// A log in memory: segments by name, in their order.
    pub fn memory(format: &'static dyn Format, segments: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let segments = segments.into_iter().map(|(name, bytes)| {
            let name = OsString::from(name);
            Segment { number: format.segment_number(&name), name, origin: Origin::Memory(bytes.into()) }
        });
        let (disk, path) = (vfs::real(), PathBuf::from("memory"));
        Self { disk, path, format, segments: segments.collect(), alone: false, rest: false }
    }

    /// The file system that it is on; the system's own for one in memory or from a stream.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The same log without the segments below `number`: what a reading from there on takes. Nobody asks it for those before.
    pub fn since(mut self, number: u64) -> Self {
        self.rest = true;
        self.segments.retain(|segment| segment.number.is_none_or(|other| other >= number));
        self
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// Its segments, in order; at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// It is a single file, given without the neighbours it may have.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// All segments of a directory: what is not among them is missing.
    pub(crate) fn is_all(&self) -> bool {
        !self.alone && !self.rest
    }

    /// Its path is a directory now.
    pub fn is_folder(&self) -> bool {
        is_folder(&*self.disk, &self.path)
    }

    /// It can be read once only.
    pub fn is_stream(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment.origin, Origin::Stream(_)))
    }

    /// The path of a segment, for messages and for opening.
    pub fn segment_path(&self, index: u32) -> &Path {
        match &self.segments[index as usize] {
            Segment { origin: Origin::File(path), .. } => path,
            Segment { name, .. } => Path::new(name),
        }
    }

    /// What was missing when the log was opened has been written since.
    pub fn went_on(&self, gap: Gap) -> bool {
        let Gap::NoSuccessor { number } = gap else { return false };
        let is_later = |name: &OsString| self.format.segment_number(name).is_some_and(|other| other >= number);
        !self.alone && self.disk.list(&self.path).is_ok_and(|names| names.iter().any(is_later))
    }

    /// Opens a segment for reading from its start.
    ///
    /// # Errors
    /// As [`open`](Self::open). A stream opens once.
    pub fn source(&self, index: u32) -> Result<Source> {
        match &self.segments[index as usize].origin {
            Origin::Memory(bytes) => Ok(Source::Memory(bytes.clone())),
            Origin::File(path) => open_regular(&*self.disk, path).map(|(file, len)| Source::File { file, len }),
            Origin::Stream(source) => {
                let source = source.lock().map_or(None, |mut source| source.take());
                source.ok_or_else(|| {
                    Error::Usage(format!("{}: a stream can be read only once", crate::shown(&self.path)))
                })
            }
        }
    }

    /// The first `len` bytes of a segment, or fewer where it is shorter; nothing of a stream.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn head(&self, index: u32, len: usize) -> Result<Vec<u8>> {
        match &self.segments[index as usize].origin {
            Origin::Memory(bytes) => Ok(bytes[..len.min(bytes.len())].to_vec()),
            Origin::Stream(_) => Ok(Vec::new()),
            Origin::File(path) => {
                let (file, _) = open_regular(&*self.disk, path)?;
                read_head(&*file, len).map_err(|source| Error::read(path, source))
            }
        }
    }

    /// When it returns, everything that can be read of the log is on the disk, if it was written segment by segment: each is synced before
    /// the next gets its name. Of a log that is not in files nothing needs to be.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn sync(&self) -> Result<()> {
        let Some(Segment { origin: Origin::File(path), .. }) = self.segments.last() else { return Ok(()) };
        let (file, _) = open_regular(&*self.disk, path)?;
        file.sync_all().map_err(|source| Error::write(path, "sync", source))?;
        let folder = folder_of(path);
        self.disk.sync_folder(folder).map_err(|source| Error::write(folder, "sync", source))
    }

    /// Bytes of all segments together, as far as that is known before reading.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for segment in &self.segments {
            sum += match &segment.origin {
                Origin::Memory(bytes) => bytes.len() as u64,
                Origin::Stream(_) => 0,
                Origin::File(path) => len_of(&*self.disk, path)?,
            };
        }
        Ok(sum)
    }
}

/// Opens a regular file for reading, without blocking on a fifo and without touching its time of access. Gives its length too.
///
/// # Errors
/// [`Error::NotRegular`], [`Error::Read`].
pub fn open_regular(disk: &dyn Vfs, path: &Path) -> Result<(Box<dyn VfsFile>, u64)> {
    let failed = |source: io::Error| Error::read(path, source);
    regular(path, disk.stat(path).map_err(failed)?.kind)?;
    let file = disk.open(path, Access::Read).map_err(failed)?;
    let len = file.stat().map_err(failed)?.len;
    Ok((file, len))
}

/// Fails where what `path` names, which is of this kind, is no regular file.
///
/// # Errors
/// [`Error::NotRegular`].
pub(crate) fn regular(path: &Path, kind: Kind) -> Result<()> {
    let what = match kind {
        Kind::File => return Ok(()),
        Kind::Folder => "a directory",
        Kind::Link => "a symbolic link",
        Kind::Other(what) => what,
    };
    Err(Error::NotRegular { path: path.into(), what })
}

/// The length of a file that is not open.
///
/// # Errors
/// [`Error::Read`].
pub(crate) fn len_of(disk: &dyn Vfs, path: &Path) -> Result<u64> {
    Ok(disk.stat(path).map_err(|source| Error::read(path, source))?.len)
}

/// `path` is a directory.
pub(crate) fn is_folder(disk: &dyn Vfs, path: &Path) -> bool {
    disk.stat(path).is_ok_and(|stat| stat.kind == Kind::Folder)
}

fn read_head(file: &dyn VfsFile, len: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// The names of a directory in which segments come and go: a single listing may have one and lack the one before it, as it takes
/// time, but not the same twice.
fn list_twice(disk: &dyn Vfs, path: &Path) -> Result<Vec<OsString>> {
    let sorted = || {
        let mut names = disk.list(path).map_err(|source| Error::read(path, source))?;
        names.sort();
        Ok(names)
    };
    let mut names: Vec<OsString> = sorted()?;
    for _ in 0..LISTINGS_MAX {
        let again = sorted()?;
        if again == names {
            break;
        }
        names = again;
    }
    Ok(names)
}

fn in_order(folder: &Path, names: &[OsString], format: &dyn Format) -> Vec<Segment> {
    let numbered = names.iter().filter_map(|name| Some((format.segment_number(name)?, name)));
    let mut segments: Vec<_> = numbered
        .map(|(number, name)| Segment {
            name: name.clone(),
            number: Some(number),
            origin: Origin::File(folder.join(name)),
        })
        .collect();
    segments.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    segments
}

/// How sure a format is of a directory: by its first segment, or by its last where the first is hit.
fn surest(disk: &dyn Vfs, format: &dyn Format, segments: &[Segment]) -> Result<Option<Match>> {
    let mut best = None;
    for segment in segments.first().into_iter().chain(segments.last()) {
        let Origin::File(path) = &segment.origin else { continue };
        let (file, len) = open_regular(disk, path)?;
        let head = read_head(&*file, CLUE_LEN).map_err(|source| Error::read(path, source))?;
        let clue = Clue { name: &segment.name, head: &head, whole: head.len() as u64 == len };
        best = best.max(Some(format.probe(&clue)).filter(|&sure| sure > Match::No));
    }
    Ok(best)
}

fn detect(path: &Path, clue: &Clue<'_>) -> Result<&'static dyn Format> {
    let sure = formats::FORMATS.iter().map(|format| (format.probe(clue), *format));
    match sure.max_by_key(|(sure, _)| *sure) {
        Some((Match::No, _)) | None => Err(Error::Unknown { path: path.into(), why: what_else(path, clue) }),
        Some((_, format)) => Ok(format),
    }
}

/// What an unknown file looks like, and the command that would have worked.
fn what_else(path: &Path, clue: &Clue<'_>) -> String {
    let quoted = crate::quoted(path);
    let head = clue.head;
    if head.is_empty() {
        "the file is empty, and its name says nothing; use --format NAME if you know what it was".into()
    } else if head.starts_with(b"SQLite format 3\0") {
        format!("this is a SQLite database, not its log; try {}-wal", crate::shown(path))
    } else if head.starts_with(&[0x1f, 0x8b]) {
        format!("this is gzip; try: zcat {quoted} | waltool verify -")
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        format!("this is zstd; try: zstdcat {quoted} | waltool verify -")
    } else if crate::bytes::all_zero(head) {
        "it begins with nothing but zeros; use --format NAME if you know what it was".into()
    } else if std::str::from_utf8(&head[..head.len().min(512)]).is_ok() {
        "this is text; `waltool formats` lists what is understood".into()
    } else {
        "no known signature or checksum; `waltool formats` lists what is understood, --format NAME overrides".into()
    }
}

fn why_no_segments(path: &Path, names: &[OsString]) -> String {
    let wal = names.iter().find(|name| name.as_encoded_bytes().ends_with(b"-wal"));
    match wal {
        Some(wal) => format!(
            "a directory without segments; a SQLite log is named by its file: {}",
            crate::shown(&path.join(wal))
        ),
        None => "a directory without segments of a known format; `waltool formats` lists what is understood".into(),
    }
}

/// The name of a file, for people who passed a path without one.
pub fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}

/// The directory that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
