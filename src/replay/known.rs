//! Whether a target is in a state of its log. A log may say what its target was and what it was about to be; and a replay says beside the
//! target what it made of it.

use super::Replay;
use super::content::{self, Content};
use super::sidecar::{Proof, State};
use super::survey::Survey;
use crate::error::{Error, Result};
use crate::format::{Role, Seen, TargetState};

/// What a log says of its target at one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stated {
    /// Where.
    pub(crate) lsn: u64,
    pub(crate) content: Content,
    pub(crate) role: Role,
}

impl Stated {
    pub(super) fn new(lsn: u64, (len, state): (u64, TargetState)) -> Self {
        Self { lsn, content: Content { len, crc: state.crc }, role: state.role }
    }
}

/// What the committed records of a log say of its target.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The last fact.
    pub(crate) fact: Option<Stated>,
    /// The last of all.
    pub(crate) last: Option<Stated>,
    count: u64,
    /// Whether one of them says this.
    sought: Option<Content>,
    found: bool,
}

impl Said {
    pub(super) fn seeking(sought: Option<Content>) -> Self {
        Self { sought, ..Self::default() }
    }

    pub(super) fn add(&mut self, stated: Stated) {
        if let Role::Fact(_) = stated.role {
            self.fact = Some(stated);
        }
        self.last = Some(stated);
        self.count += 1;
        self.found |= self.sought == Some(stated.content);
    }
}

/// What is known of a target before it is changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// The log does not say what its target is.
    Unsaid,
    /// It is in a state of the log: the file system says of it what it said when that was stated, or there is nothing and must be nothing.
    Unchanged,
    /// It is in a state of the log: its content is, which was read. `seen` is what the file system says of it, if that can be relied on.
    Read { content: Content, seen: Option<Seen> },
    /// It is in none. Its content, if there is a target.
    Not(Option<Content>),
}

impl Known {
    /// It is in a state of the log.
    pub(super) fn is(&self) -> bool {
        matches!(self, Self::Unchanged | Self::Read { .. })
    }
}

impl Replay<'_> {
    /// Whether the target is in a state of the log, as far as the log says, or else a replay of it. The content is read only where the file
    /// system does not say that it is unchanged.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn known(&self) -> Result<Known> {
        match self.known_by_log()? {
            Known::Not(Some(content)) if self.known_by_sidecar(content) => Ok(Known::Read { content, seen: None }),
            known => Ok(known),
        }
    }

    pub(super) fn known_by_log(&self) -> Result<Known> {
        let said = &self.survey.said;
        let from_nothing = self.holds_all && said.fact.is_none();
        // A log that its program writes for this file alone has all of the file.
        let all_is_said = said.last.is_some() || self.writer.is_some() && self.survey.changes > 0;
        if said.fact.is_none() && !(from_nothing && all_is_said) {
            return Ok(Known::Unsaid);
        }
        let Some((file, _)) = &self.base else {
            return Ok(if from_nothing { Known::Unchanged } else { Known::Not(None) });
        };
        let look = || file.stat().map_err(|source| Error::read(&self.target, source));
        let stat = look()?;
        let settled = content::settled(&stat);
        let unchanged = |fact: &Stated| {
            fact.content.len == stat.len && settled.is_some_and(|seen| fact.role == Role::Fact(Some(seen)))
        };
        if said.fact.as_ref().is_some_and(unchanged) {
            return Ok(Known::Unchanged);
        }
        let content = self.content()?;
        let is = |stated: &Option<Stated>| stated.is_some_and(|stated| stated.content == content);
        let known = is(&said.fact) || is(&said.last) || from_nothing && content.len == 0 || self.seek(content)?;
        if !known {
            return Ok(Known::Not(Some(content)));
        }
        let seen = settled.filter(|_| look().is_ok_and(|now| now == stat));
        Ok(Known::Read { content, seen })
    }

    /// One of the statements of the log is this. They are not kept: a writer whose disk is full states something with each attempt.
    fn seek(&self, content: Content) -> Result<bool> {
        if self.survey.said.count <= 2 {
            return Ok(false);
        }
        let said = Said::seeking(Some(content));
        Ok(Survey::read(self.log, self.until, (0, &[]), None, said, &mut |_| ())?.said.found)
    }

    /// A replay of this log has made this content of a target that was in a state of it.
    fn known_by_sidecar(&self, content: Content) -> bool {
        self.said.is_some_and(|slot| slot.mark.proof == Proof::After(content) && self.fits(&slot.mark))
    }

    /// A replay of this log into the target was interrupted, and can be run again.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.said.is_some_and(|slot| slot.mark.state == State::Replaying && self.fits(&slot.mark))
    }

    /// Whether the result will be a state of the log, so that it can be told to be one.
    pub(super) fn proves(&self) -> Result<bool> {
        // A writer says itself what the target is.
        if self.writer.is_some() {
            return Ok(false);
        }
        let goes_on = self.said.is_some_and(|slot| slot.mark.proof == Proof::Before) && self.is_interrupted();
        Ok(goes_on || self.known()?.is())
    }

    /// What the target holds before it is changed; read once.
    fn content(&self) -> Result<Content> {
        if let (None, Some((file, _))) = (self.content.get(), &self.base) {
            let content = Content::of(&**file, &self.target)?;
            return Ok(*self.content.get_or_init(|| content));
        }
        Ok(self.content.get().copied().unwrap_or(Content { len: 0, crc: 0 }))
    }
}
