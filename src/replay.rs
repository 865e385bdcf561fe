//! Applies the committed records of a log to a target, whole transactions only.
//!
//! The log is read twice: a [`Survey`] finds the commit to stop at and everything that speaks against the replay, then the
//! records up to that commit are applied. Redo is absolute, so replaying twice equals once. Memory is flat.
//!
//! A change in place stands between two statements in a [`sidecar`] of the target, for formats whose segments say which log they
//! are of.

pub mod content;
mod known;
mod made;
pub mod sidecar;
mod stated;
mod survey;

use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};

pub use content::Content;
pub(crate) use known::Known;
pub use survey::{Stop, Survey, Until};

use crate::decode::HEAD_LEN;
use crate::durable::{self, Gather};
use crate::error::{Error, Result};
use crate::format::{Identity, Lock, Op, Record};
use crate::locks::{self, Held};
use crate::log::{Log, name_of};
use crate::quarantine::Kept;
use crate::report::Place;
use crate::rights::{Origin, Source};
use crate::scan::Scan;
use crate::verdict::Verdict;
use crate::vfs::{self, Disk, Vfs, VfsFile};
use sidecar::Slot;
use survey::{Write, identity};

/// The longest that a target may become unless the caller says otherwise, in bytes.
pub const TARGET_MAX: u64 = 1 << 40;

/// Where the result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// In the target's place, in one step, once all of it is written and synced. It keeps all rights to the target; see
    /// [`rights`](crate::rights).
    Replace,
    /// To a new file, which has that name once all of it is written and synced. Nobody has more rights to it than to the target, or to the
    /// log where there is no target. The target stays as it is.
    New(&'a Path),
    /// Into the target as it stands. An interruption leaves it half written, and its sidecar says so; the same replay finishes it.
    InPlace,
}

/// A replay that has been looked into and not yet begun.
pub struct Replay<'l> {
    log: &'l Log,
    /// As it was named.
    target: PathBuf,
    /// The file itself, behind any symbolic link: that is replaced, not the link.
    file: PathBuf,
    /// Kept open to the end: closing any handle of a file gives up this process's record locks on it.
    base: Option<(Box<dyn VfsFile>, u64)>,
    /// What that holds, once it was read.
    content: OnceCell<Content>,
    until: Until,
    /// The log begins with its target empty.
    holds_all: bool,
    /// The log's lock, where it is held already.
    writer: Option<&'l Held>,
    /// What the log's first header says, where the format keeps sidecars.
    identity: Option<Identity>,
    /// What the sidecar said when the replay was looked into.
    said: Option<Slot>,
    /// What it does.
    pub survey: Survey,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes made to the target.
    pub changes: u64,
    /// Writes that were left out because a later one covers them.
    pub outdated: u64,
}

impl<'l> Replay<'l> {
    /// Looks into a replay of `log` onto `target`, up to `until`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a wrong target (the log itself above all), for one that would become longer than `target_max`
    /// bytes, and where there is no commit to stop at; [`Error::Read`].
    pub fn of(
        log: &'l Log,
        target: &Path,
        until: Until,
        target_max: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        if log.claims(target) {
            return Err(Error::refused(
                target,
                "it is a file of the log, or in its directory; name the file that the log is about",
            ));
        }
        let disk = &**log.disk();
        let (base, file) = match disk.canonicalize(target) {
            Ok(file) => (Some(crate::log::open_regular(disk, target)?), file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && begins_empty(log) => (None, target.into()),
            Err(source) => return Err(Error::read(target, source)),
        };
        let head = match &base {
            Some((base, len)) => head(&**base, *len).map_err(|source| Error::read(target, source))?,
            None => Vec::new(),
        };
        if let Some(what) = no_target(log.disk(), &file, &head) {
            return Err(Error::refused(target, format!("it is {what}; name the file that the log is about")));
        }
        let identity = log.format().identity(&log.head(0, HEAD_LEN)?);
        // One that cannot be read is in the way of some replays only; `permits` says of which.
        let said = identity.and_then(|_| sidecar::look(disk, &file).ok().flatten());
        let len = base.as_ref().map_or(0, |(_, len)| *len);
        let survey = Survey::of(log, until, (len, &head), said.map(|slot| slot.mark.high), progress)?;
        if let (None, Some(_)) = (&base, survey.said.fact) {
            // There was a file before the log.
            return Err(Error::read(target, io::ErrorKind::NotFound.into()));
        }
        if survey.len_max > target_max {
            let why = format!(
                "the replay would make it {} bytes long, over {target_max}; --max-target-size BYTES permits more",
                survey.len_max
            );
            return Err(Error::refused(target, why));
        }
        if let (None, Some(first)) = (survey.stop, survey.first_commit) {
            let why = format!("its first commit is at {}, behind what --until names", log.format().position(first));
            return Err(Error::refused(log.path(), why));
        }
        let (content, holds_all) = (OnceCell::new(), begins_empty(log));
        let target = target.into();
        Ok(Self { log, target, file, base, content, until, holds_all, writer: None, identity, said, survey })
    }

    /// The caller is the writer of the log: it holds the lock itself, this one, and writes nothing until this is done.
    #[must_use]
    pub fn by_the_writer(mut self, lock: &'l Held) -> Self {
        self.writer = Some(lock);
        self
    }

    /// The verdict that the result is subject to: what is damaged behind the commit that was asked for is no concern of it.
    pub fn verdict(&self) -> Verdict {
        if self.survey.reached { Verdict::Clean } else { self.survey.report.verdict() }
    }

    /// Whether the target may be changed. A new file may always be written: its state is the one at the last commit before
    /// the damage, and [`verdict`](Self::verdict) says that more is missing.
    ///
    /// # Errors
    /// [`Error::Refused`], also by what the target's sidecar says; as [`sidecar::look`].
    pub fn permits(&self, to: To<'_>) -> Result<()> {
        let damaged = matches!(self.verdict(), Verdict::Corrupt | Verdict::Incomplete);
        match to {
            To::New(path) => self.may_create(path),
            To::Replace | To::InPlace if damaged => Err(Error::refused(&self.target, self.why_not())),
            To::Replace | To::InPlace => self.agrees(),
        }
    }

    fn may_create(&self, path: &Path) -> Result<()> {
        durable::may_create(self.log.disk(), path, Some(self.log))?;
        // It would be taken to speak of the new file.
        let beside = sidecar::path_of(path);
        if self.identity.is_some() { durable::must_be_free(&**self.log.disk(), &beside) } else { Ok(()) }
    }

    fn why_not(&self) -> String {
        let report = &self.survey.report;
        let proof = report.proof().map(|proof| proof.to_string()).unwrap_or_default();
        let state = match self.survey.stop {
            Some(stop) => format!("the commit at {}", self.log.format().position(stop.lsn)),
            None => "what it was before the log".into(),
        };
        format!(
            "the log is {}: {proof}. The target would stay behind at {state}; --output NEW writes that state elsewhere",
            report.verdict()
        )
    }

    /// Applies the log; `progress` hears how many bytes of it have been read. When it returns, the result is on the disk under its name.
    ///
    /// # Errors
    /// As [`permits`](Self::permits); [`Error::Refused`] while a program has the target locked, and where the log changed since
    /// it was looked into; [`Error::Write`]. The target is then as it was, unless it was changed in place.
    pub fn run(&self, to: To<'_>, progress: &mut dyn FnMut(u64)) -> Result<Applied> {
        self.permits(to)?;
        let disk = &**self.log.disk();
        let taken = match to {
            To::Replace | To::InPlace if self.writer.is_none() => Some(locks::hold(disk, &self.lock())?),
            _ => None,
        };
        let lock = self.writer.or(taken.as_ref());
        match (to, &self.base) {
            (To::New(path), _) => self.make(path, self.beside()?, progress)?.name(),
            (To::Replace, _) | (To::InPlace, None) => Ok(self.make_in_place(progress)?.place(lock)?.applied),
            (To::InPlace, Some(_)) => {
                let file = durable::open_for_change(disk, &self.file)?;
                self.stated(to, |proves| {
                    check(lock, disk)?;
                    let applied = self.apply(&*file, &self.file, progress)?;
                    durable::sync(&*file, &self.file)?;
                    Ok((applied, proves.then(|| Content::of(&*file, &self.file)).transpose()?))
                })
            }
        }
    }

    /// A lock in the log's database is, for the target, the same lock in the target.
    fn lock(&self) -> Lock {
        match self.log.format().lock(self.log.segment_path(0)) {
            Lock::Record { start, len, .. } => Lock::Record { path: self.file.clone(), start, len },
            other => other,
        }
    }

    /// What a file that takes the target's place, or the place where it would be, has its rights from.
    fn in_its_place(&self) -> Result<Origin> {
        match &self.base {
            Some((file, _)) => Origin::in_place_of(&**file, &self.target),
            // To the log's writer it is a new file; whoever finds a log makes it of that.
            None if self.writer.is_some() => Ok(Origin::Nothing),
            None => self.beside(),
        }
    }

    /// What another file that holds what the target does has its rights from: the target, or else the log.
    fn beside(&self) -> Result<Origin> {
        if let Some((file, _)) = &self.base {
            return Origin::another(&**file, &self.target);
        }
        let disk = &**self.log.disk();
        let segment = Source::at(disk, self.log.segment_path(0))?;
        let folder = self.log.is_folder().then(|| Source::at(disk, self.log.path())).transpose()?;
        Ok(Origin::Another(folder.iter().fold(segment, Source::within)))
    }
    fn apply(&self, file: &dyn VfsFile, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Applied> {
        let Some(stop) = self.survey.stop else { return Ok(Applied::default()) };
        let mut applying = Applying {
            survey: &self.survey,
            out: Gather::new(file, path),
            paged: self.log.format().paged(),
            number: 0,
            applied: Applied::default(),
        };
        let mut scan = Scan::new(self.log);
        let mut abandoned = self.survey.abandoned.iter().peekable();
        let (mut seen, mut read) = (0, 0);
        while let Some(found) = scan.next()? {
            let span = found.span;
            read += span.len;
            progress(read);
            seen = found.header.map_or(seen, |header| identity(seen, header));
            let place = Place { segment: span.segment, offset: span.offset };
            if place >= stop.end {
                break;
            }
            let Some(record) = &found.record else { continue };
            while abandoned.next_if(|(_, end)| *end <= place).is_some() {}
            let counts = abandoned.peek().is_none_or(|(start, _)| place < *start);
            applying.record(self.log, record, counts)?;
            if span.end() == stop.end.offset && span.segment == stop.end.segment && record.meta.lsn == stop.lsn {
                if seen != self.survey.identity_at_stop {
                    break;
                }
                applying.finish()?;
                return Ok(applying.applied);
            }
        }
        Err(Error::refused(self.log.path(), "the log changed while it was read; run the command again"))
    }

    /// The point where it was to stop.
    pub fn until(&self) -> Until {
        self.until
    }

    /// The target, as it was named.
    pub fn target(&self) -> &Path {
        &self.target
    }
}

/// Fails where the log's lock is no longer what others would ask for.
fn check(lock: Option<&Held>, disk: &dyn Vfs) -> Result<()> {
    lock.map_or(Ok(()), |lock| lock.check(disk))
}

/// A log that holds its target's whole history needs no target to begin with.
fn begins_empty(log: &Log) -> bool {
    !log.format().paged() && log.segments().first().is_some_and(|segment| segment.number == Some(1))
}

/// What else than a target the file is, as its name or its first bytes say.
fn no_target(disk: &Disk, file: &Path, head: &[u8]) -> Option<String> {
    if Kept::parse(file).is_some() {
        return Some("a quarantine file, which `repair --undo` puts back".into());
    }
    if sidecar::is_one(file, head) {
        return Some("a sidecar, which says how far a log has reached its target".into());
    }
    let around = Log::around(disk, file).filter(|around| around.format().owns(name_of(file)))?;
    Some(format!("a file of the log {}", crate::shown(around.path())))
}

fn head(file: &dyn VfsFile, len: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; len.min(HEAD_LEN as u64) as usize];
    vfs::read_exact_at(file, &mut head, 0)?;
    Ok(head)
}

/// The second reading.
struct Applying<'a> {
    survey: &'a Survey,
    out: Gather<'a>,
    paged: bool,
    /// Writes of the log up to here.
    number: u64,
    applied: Applied,
}

impl Applying<'_> {
    fn record(&mut self, log: &Log, record: &Record<'_>, counts: bool) -> Result<()> {
        let mut failed = Ok(());
        let replayed = log.format().replay(record, &mut |op| {
            let done = self.op(op, counts);
            failed = std::mem::replace(&mut failed, Ok(())).and(done);
        });
        failed?;
        replayed.map_err(|fault| Error::refused(log.path(), format!("a record cannot be applied: {fault}")))
    }

    fn op(&mut self, op: Op<'_>, counts: bool) -> Result<()> {
        let (offset, bytes) = match op {
            Op::Write { offset, bytes } => (offset, bytes),
            Op::SetLen(_) if self.paged || !counts => return Ok(()),
            Op::SetLen(len) => {
                self.applied.changes += 1;
                return self.out.set_len(len);
            }
        };
        self.number += 1;
        let write = Write { number: self.number, offset, len: bytes.len() as u64 };
        let dropped = self.paged && offset >= self.survey.len;
        if !counts || dropped {
            return Ok(());
        }
        if self.survey.latest.outdates(&write) {
            self.applied.outdated += 1;
            return Ok(());
        }
        self.applied.changes += 1;
        self.out.write(bytes, offset)
    }

    fn finish(&mut self) -> Result<()> {
        if self.paged { self.out.set_len(self.survey.len) } else { self.out.flush() }
    }
}
