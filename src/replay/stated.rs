//! What a replay says of its target, before it changes it and afterwards; and what was said of it forbids.

use super::sidecar::{self, Mark, Proof, Sidecar, Slot, State};
use super::{Content, Replay, To, Until};
use crate::durable;
use crate::error::{Error, Result};
use crate::format::Identity;
use crate::{quoted, shown};

/// How a replay can go on that was refused.
enum Way {
    /// The sidecar is about another file.
    Other,
    /// The target has more than is wanted.
    Older,
    /// The target lacks what the log has no longer.
    Newer,
}

impl Replay<'_> {
    /// What the target's sidecar says; `None` where it has none, or where the format's segments say nothing of their log.
    pub fn sidecar(&self) -> Option<Mark> {
        self.said.map(|slot| slot.mark)
    }

    /// Up to where the target may hold changes, by its sidecar, where that is behind the commit at which the replay stops.
    pub fn ahead(&self) -> Option<u64> {
        let (identity, said) = (self.identity?, self.said?);
        let same = said.mark.log_id == identity.log_id;
        Some(said.mark.high).filter(|&high| same && high > self.end(&identity))
    }

    /// Replays of this log keep a sidecar when they change a target in place.
    pub fn keeps_sidecar(&self) -> bool {
        self.identity.is_some()
    }

    /// Behind the last commit that is applied. A log without one ends where it begins.
    fn end(&self, identity: &Identity) -> u64 {
        self.survey.stop.and_then(|stop| stop.end_lsn).unwrap_or(identity.begins)
    }

    /// Whether the sidecar lets the target be changed.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not; as [`sidecar::look`].
    pub(super) fn agrees(&self) -> Result<()> {
        let Some(identity) = &self.identity else { return Ok(()) };
        self.must_be_as_it_was(sidecar::look(&**self.log.disk(), &self.file)?)?;
        match (self.said, &self.base) {
            (Some(slot), Some(_)) if self.is_outdated(identity, &slot.mark)? => Ok(()),
            (Some(slot), Some(_)) => self.accepts(identity, &slot.mark),
            // What it says is about a file that is gone.
            (Some(_), None) | (None, _) => Ok(()),
        }
    }

    fn must_be_as_it_was(&self, now: Option<Slot>) -> Result<()> {
        if now == self.said {
            return Ok(());
        }
        let why = "another replay has changed the target since it was looked into; run the command again";
        Err(Error::refused(&self.target, why))
    }

    /// The log itself says what the target is, and the sidecar is about a part of the log that is gone. Its writer always asks the log.
    fn is_outdated(&self, identity: &Identity, mark: &Mark) -> Result<bool> {
        let gone = mark.log_id == identity.log_id && mark.applied < identity.begins;
        Ok((gone || self.writer.is_some()) && self.known_by_log()?.is())
    }

    /// Nothing in the mark speaks against this replay.
    pub(super) fn fits(&self, mark: &Mark) -> bool {
        self.identity.is_some_and(|identity| self.against(&identity, mark).is_none())
    }

    fn accepts(&self, identity: &Identity, mark: &Mark) -> Result<()> {
        let Some((why, way)) = self.against(identity, mark) else { return Ok(()) };
        let beside = sidecar::path_of(&self.file);
        let until = if self.until == Until::End { "" } else { " --until ..." };
        let elsewhere = format!("waltool replay {} --onto BASE --output NEW{until}", quoted(self.log.path()));
        let forget = format!("rm {}", quoted(&beside));
        let ways = match way {
            Way::Other => format!("if another file has its name since:  {forget}"),
            Way::Older => format!("from an older copy BASE of the target:  {elsewhere}"),
            Way::Newer => format!(
                "from a newer copy BASE of the target:              {elsewhere}\n  \
                 if its own program has kept it up to date since:  {forget}"
            ),
        };
        Err(Error::refused(&self.target, format!("{} says that {why}\n  {ways}", shown(&beside))))
    }

    /// What in the mark speaks against this replay, and the way on.
    fn against(&self, identity: &Identity, mark: &Mark) -> Option<(String, Way)> {
        let id = |id| format!("{:032x}", u128::from_be_bytes(id));
        let at = |lsn| self.log.format().position(lsn);
        let log = shown(self.log.path());
        let (begins, end) = (at(identity.begins), at(self.end(identity)));
        let (applied, high) = (at(mark.applied), at(mark.high));
        if mark.log_id != identity.log_id {
            let (its, this) = (id(mark.log_id), id(identity.log_id));
            return Some((format!("it belongs to log {its}, and {log} is log {this}"), Way::Other));
        }
        if mark.target_id != identity.target_id {
            let (its, this) = (id(mark.target_id), id(identity.target_id));
            return Some((format!("it is target {its}, and {log} is about target {this}"), Way::Other));
        }
        if mark.applied < identity.begins {
            let why =
                format!("it holds the log up to {applied}, and {log} begins at {begins}: what was between is gone");
            return Some((why, Way::Newer));
        }
        let holds = format!("it may hold changes up to {high}");
        if mark.high > self.end(identity) && self.survey.reached {
            return Some((format!("{holds}, and --until stops at {end}: later ones are not taken back"), Way::Older));
        }
        if mark.high > self.end(identity) {
            return Some((format!("{holds}, and {log} ends at {end}"), Way::Older));
        }
        // Every mark was made at a commit.
        let met = self.survey.met || mark.high == identity.begins;
        (!met)
            .then(|| (format!("{holds}, where no commit of {log} ends: it had another log, or more of it"), Way::Older))
    }

    /// Makes a change to the target between two statements in its sidecar. At every moment, and whatever fails, the one that
    /// counts is true. `change` returns once it is on the disk; where it is asked to, it also says what the target then holds.
    pub(super) fn stated<T>(&self, to: To<'_>, change: impl FnOnce(bool) -> Result<(T, Option<Content>)>) -> Result<T> {
        let Some(identity) = &self.identity else { return change(false).map(|(changed, _)| changed) };
        let (disk, end) = (self.log.disk(), self.end(identity));
        let proves = self.proves()?;
        let proof = if proves { Proof::Before } else { Proof::None };
        // All of the log there is gets applied, so meanwhile the target can go back to where that begins.
        let (log_id, target_id, applied) = (identity.log_id, identity.target_id, identity.begins);
        let before = Mark { state: State::Replaying, log_id, target_id, applied, high: end, proof };
        let sidecar = Sidecar::open(&**disk, &self.file)?;
        self.must_be_as_it_was(sidecar.as_ref().map(Sidecar::slot))?;
        // What the target is given, no power cut may take from the log.
        self.log.sync()?;
        let sidecar = match sidecar {
            Some(mut sidecar) => {
                // A run that was killed may have left names that are not on the disk: the sidecar's, or the target's.
                durable::sync_dir(&**disk, durable::folder_of(&self.file))?;
                sidecar.say(before)?;
                Some(sidecar)
            }
            // Where the log knows its target, its program will not know what a replay made of it.
            None if to == To::InPlace || proves => Some(Sidecar::create(disk, &self.file, self.beside()?, before)?),
            None => None,
        };
        let (changed, content) = change(proves)?;
        if let Some(mut sidecar) = sidecar {
            let proof = content.map_or(Proof::None, Proof::After);
            sidecar.say(Mark { state: State::Clean, applied: end, proof, ..before })?;
        }
        Ok(changed)
    }

    /// The log itself says what the target is: the sidecar is no longer needed.
    pub(crate) fn forget_sidecar(&self) {
        let (Some(identity), Some(slot)) = (&self.identity, self.said) else { return };
        if slot.mark.log_id == identity.log_id {
            // Best effort: what it says is about a part of the log that is gone, and counts no more.
            let _ = self.log.disk().remove(&sidecar::path_of(&self.file));
        }
    }
}
