//! The thread that leads the batches for which no thread waits, so that what was submitted becomes durable without one.
//!
//! It begins with the first [`Ticket`](super::Ticket) and ends with the log. It has nothing of the log but the group, so it keeps no log
//! open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::error::Result;
use super::group::Group;
use super::meeting::Access;
use super::sync::thread;
use crate::error::Error;

impl Group {
    /// Sees to it that there is a helper.
    pub(super) fn begin_helper(self: &Arc<Self>, access: &mut Access<'_>) -> Result<()> {
        if access.helper.is_some() {
            return Ok(());
        }
        let group = self.clone();
        let begun = thread::Builder::new().name("waltool".into()).spawn(move || group.help());
        access.helper = Some(begun.map_err(|cause| Error::write(self.path(), "begin a thread for", cause))?);
        Ok(())
    }

    fn help(&self) {
        // The helper has nobody to tell of an error, nor of a panic, which is a failure of the log by then: whoever waits is told.
        while let Ok(Ok(next)) = catch_unwind(AssertUnwindSafe(|| self.meeting().with(lead_or_sleep))) {
            match next {
                Next::Look => {}
                Next::Sleep { seen } => self.meeting().help().wait(seen),
                Next::End => return,
            }
        }
    }

    /// Ends the log's writing, and the helper. What was submitted is on the disk then, and what was buffered is written.
    pub(super) fn stop(&self) {
        let written = self.meeting().with(|access| access.turn()?.retire());
        let helper = self.meeting().with(|access| {
            access.end();
            Ok(access.helper.take())
        });
        // Whoever wants to know of errors closes the log before.
        let (Ok(Some(helper)), Ok(()) | Err(_)) = (helper, written) else { return };
        // A waker may drop the log, and the helper may have called it: then it ends by itself.
        if helper.thread().id() != thread::current().id() {
            let _ = helper.join();
        }
    }
}

/// What the helper does next.
enum Next {
    /// It has led a batch, and looks for another.
    Look,
    /// It sleeps, if the bell has not been rung since the look.
    Sleep { seen: u32 },
    /// The log has ended.
    End,
}

/// Leads the present batch, if only the helper can.
fn lead_or_sleep(access: &mut Access<'_>) -> Result<Next> {
    if access.is_ended() {
        return Ok(Next::End);
    }
    let help = access.meeting().help();
    let turn = if access.needs_help() { access.turn_to_lead() } else { None };
    let Some(turn) = turn else { return Ok(Next::Sleep { seen: help.look() }) };
    turn.lead(false)?;
    Ok(Next::Look)
}
