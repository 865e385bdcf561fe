//! A result that is made under another name, and takes the target's place in one step.

use std::path::Path;

use super::content::{self, Content};
use super::{Applied, Replay, To, check};
use crate::durable::{self, Temp};
use crate::error::{Error, Result};
use crate::format::Seen;
use crate::locks::Held;
use crate::rights::Origin;

/// All that the target will be, in a file beside it. Dropped before it was placed, it is removed.
pub(crate) struct Made<'r, 'l> {
    replay: &'r Replay<'l>,
    temp: Temp,
    applied: Applied,
}

impl<'l> Replay<'l> {
    /// Makes what is to take the target's place, under another name. The target stays as it is.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn make_in_place(&self, progress: &mut dyn FnMut(u64)) -> Result<Made<'_, 'l>> {
        self.make(&self.file, self.in_its_place()?, progress)
    }

    /// Makes the result under another name beside `path`, the name that it is to have.
    pub(super) fn make(&self, path: &Path, origin: Origin, progress: &mut dyn FnMut(u64)) -> Result<Made<'_, 'l>> {
        let temp = Temp::file(self.log.disk(), path, origin)?;
        if let Some((file, len)) = &self.base {
            let kept = if self.log.format().paged() { self.survey.len.min(*len) } else { *len };
            durable::copy_prefix(&**file, &self.target, kept, temp.handle(), temp.path(), &mut |_| ())?;
        }
        let applied = self.apply(temp.handle(), temp.path(), progress)?;
        Ok(Made { replay: self, temp, applied })
    }
}

impl Made<'_, '_> {
    /// What it holds; all of it is read.
    pub(crate) fn content(&self) -> Result<Content> {
        Content::of(self.temp.handle(), self.temp.path())
    }

    /// Gives it the name that it was made for, which must be free.
    pub(super) fn name(self) -> Result<Applied> {
        self.temp.place_new().map(|()| self.applied)
    }

    /// Puts it in the target's place. When it returns, that is on the disk.
    pub(crate) fn place(self, lock: Option<&Held>) -> Result<Placed> {
        let Self { replay, temp, applied } = self;
        replay.stated(To::Replace, |proves| {
            let content = proves.then(|| Content::of(temp.handle(), temp.path())).transpose()?;
            let made = temp.handle().stat().map_err(|source| Error::read(temp.path(), source))?;
            check(lock.or(replay.writer), &**replay.log.disk())?;
            match replay.base {
                Some(_) => temp.replace()?,
                None => temp.place_new()?,
            }
            let placed = replay.log.disk().stat(&replay.file);
            let placed = placed.map_err(|source| Error::read(&replay.target, source))?;
            // If somebody has put another file there or changed this one meanwhile, it shows here or is left to be read.
            let same = (placed.id, placed.len, placed.times.modified_ns) == (made.id, made.len, made.times.modified_ns);
            let seen = content::settled(&placed).filter(|_| same);
            Ok((Placed { applied, seen }, content))
        })
    }
}

/// What took the target's place.
pub(crate) struct Placed {
    pub(crate) applied: Applied,
    /// What the file system says of it, if that can be relied on later.
    pub(crate) seen: Option<Seen>,
}
