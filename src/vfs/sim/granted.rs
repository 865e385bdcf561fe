//! Who may do what with a file or directory: what it is now, what it was since it was durable.

use super::fate::Fate;
use crate::vfs::Rights;

/// The rights that are durable, and those since, in their order.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    durable: Rights,
    since: Vec<Rights>,
}

impl Granted {
    pub(super) fn new(durable: Rights) -> Self {
        Self { durable, since: Vec::new() }
    }

    pub(super) fn now(&self) -> &Rights {
        self.since.last().unwrap_or(&self.durable)
    }

    pub(super) fn set(&mut self, rights: Rights) {
        if rights != *self.now() {
            self.since.push(rights);
        }
    }

    /// Something of them is not durable.
    pub(super) fn wait(&self) -> bool {
        !self.since.is_empty()
    }

    pub(super) fn sync(&mut self) {
        if let Some(now) = self.since.pop() {
            *self = Self::new(now);
        }
    }

    /// Those that a power cut leaves.
    pub(super) fn settle(&self, fate: &mut dyn Fate) -> Rights {
        let arrived = if self.wait() { fate.rights(self.since.len() + 1) } else { 0 };
        arrived.checked_sub(1).map_or(&self.durable, |at| &self.since[at]).clone()
    }
}
