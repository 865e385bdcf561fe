//! A path becomes a log: a format, and segments in their order. Opens files, and parses nothing but names.
//!
//! Nothing is created or locked, and where the system permits it not even the time of access changes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::format::{CLUE_LEN, Clue, Format, Match, Segments};
use crate::formats;
use crate::span::Gap;
use crate::window::Source;

/// Listings of a directory after which the last one is taken.
const LISTINGS_MAX: u32 = 64;

/// A write-ahead log found somewhere: its format, and its segments in order.
pub struct Log {
    path: PathBuf,
    format: &'static dyn Format,
    segments: Vec<Segment>,
    alone: bool,
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
        let metadata = std::fs::metadata(path).map_err(|source| Error::read(path, source))?;
        if metadata.is_dir() { Self::directory(path, format) } else { Self::file(path, format) }
    }

    fn file(path: &Path, format: Option<&'static dyn Format>) -> Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_owned();
        let format = match format {
            Some(format) => format,
            None => {
                let (file, len) = open_regular(path)?;
                let head = read_head(&file, CLUE_LEN).map_err(|source| Error::read(path, source))?;
                detect(path, &Clue { name: &name, head: &head, whole: head.len() as u64 == len })?
            }
        };
        open_regular(path)?;
        let number = format.segment_number(&name);
        let segments = vec![Segment { name, number, origin: Origin::File(path.into()) }];
        Ok(Self { path: path.into(), format, segments, alone: true })
    }

    fn directory(path: &Path, format: Option<&'static dyn Format>) -> Result<Self> {
        let names = list_twice(path)?;
        let mut best: Option<(Match, &'static dyn Format, Vec<Segment>)> = None;
        for &candidate in formats::FORMATS {
            if candidate.segments() == Segments::One || format.is_some_and(|f| f.name() != candidate.name()) {
                continue;
            }
            let segments = in_order(path, &names, candidate);
            let Some(sure) = surest(candidate, &segments)? else { continue };
            if best.as_ref().is_none_or(|(other, ..)| sure > *other) {
                best = Some((sure, candidate, segments));
            }
        }
        match best {
            Some((_, format, segments)) => Ok(Self { path: path.into(), format, segments, alone: false }),
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
        Ok(Self { path: path.into(), format, segments, alone: true })
    }

    /// A log in memory: segments by name, in their order.
    pub fn memory(format: &'static dyn Format, segments: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let segments = segments.into_iter().map(|(name, bytes)| {
            let name = OsString::from(name);
            Segment { number: format.segment_number(&name), name, origin: Origin::Memory(bytes.into()) }
        });
        Self { path: PathBuf::from("memory"), format, segments: segments.collect(), alone: false }
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

    /// `path` is a file of this log, or would be taken for one if it were there: nothing else may be written under that name.
    pub fn claims(&self, path: &Path) -> bool {
        let id = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        let is = |other: &Path| id(other).is_some_and(|other| id(path) == Some(other));
        let folder = if self.path.is_dir() { &self.path } else { folder_of(&self.path) };
        let among = || id(folder_of(path)) == id(folder);
        let named = || self.format.segment_number(name_of(path)).is_some();
        (0..self.segments.len() as u32).any(|index| is(self.segment_path(index))) || among() && named()
    }

    /// What was missing when the log was opened has been written since.
    pub fn went_on(&self, gap: Gap) -> bool {
        let Gap::NoSuccessor { number } = gap else { return false };
        let is_later = |name: &OsString| self.format.segment_number(name).is_some_and(|other| other >= number);
        !self.alone && list(&self.path).is_ok_and(|names| names.iter().any(is_later))
    }

    /// Opens a segment for reading from its start.
    ///
    /// # Errors
    /// As [`open`](Self::open). A stream opens once.
    pub fn source(&self, index: u32) -> Result<Source> {
        match &self.segments[index as usize].origin {
            Origin::Memory(bytes) => Ok(Source::Memory(bytes.clone())),
            Origin::File(path) => open_regular(path).map(|(file, len)| Source::File { file, len }),
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
                let (file, _) = open_regular(path)?;
                read_head(&file, len).map_err(|source| Error::read(path, source))
            }
        }
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
                Origin::File(path) => std::fs::metadata(path).map_err(|source| Error::read(path, source))?.len(),
            };
        }
        Ok(sum)
    }
}

/// Opens a regular file for reading, without blocking on a fifo and without touching its time of access.
///
/// # Errors
/// [`Error::NotRegular`], [`Error::Read`].
pub fn open_regular(path: &Path) -> Result<(File, u64)> {
    let failed = |source: io::Error| Error::read(path, source);
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    let what = match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a fifo"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    };
    if let Some(what) = what {
        return Err(Error::NotRegular { path: path.into(), what });
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    // Only a file's owner may read it without leaving a trace in its time of access.
    let file = rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty())
        .or_else(|_| rustix::fs::open(path, flags, Mode::empty()))
        .map_err(|errno| failed(errno.into()))?;
    let file = File::from(file);
    let len = file.metadata().map_err(failed)?.len();
    Ok((file, len))
}

fn read_head(file: &File, len: usize) -> io::Result<Vec<u8>> {
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

fn list(path: &Path) -> Result<Vec<OsString>> {
    let entries = std::fs::read_dir(path).map_err(|source| Error::read(path, source))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    names.collect::<io::Result<_>>().map_err(|source| Error::read(path, source))
}

/// The names of a directory in which segments come and go: a single listing may have one and lack the one before it, as it takes
/// time, but not the same twice.
fn list_twice(path: &Path) -> Result<Vec<OsString>> {
    let sorted = || {
        list(path).map(|mut names| {
            names.sort();
            names
        })
    };
    let mut names = sorted()?;
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
fn surest(format: &dyn Format, segments: &[Segment]) -> Result<Option<Match>> {
    let mut best = None;
    for segment in segments.first().into_iter().chain(segments.last()) {
        let Origin::File(path) = &segment.origin else { continue };
        let (file, len) = open_regular(path)?;
        let head = read_head(&file, CLUE_LEN).map_err(|source| Error::read(path, source))?;
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
