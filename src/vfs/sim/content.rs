//! Bytes in pages that are shared until one of their owners changes them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a page. What no page holds is zeros: a hole.
pub(super) const PAGE: usize = 4096;

/// The bytes of a file, without its length. A copy costs nothing until it is changed, and then only the pages that are.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pages: Arc<BTreeMap<u64, Arc<[u8; PAGE]>>>,
}

impl Content {
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) {
        for (page, within, part) in pages(offset, out.len()) {
            match self.pages.get(&page) {
                Some(bytes) => out[part].copy_from_slice(&bytes[within]),
                None => out[part].fill(0),
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let own = Arc::make_mut(&mut self.pages);
        for (page, within, part) in pages(offset, bytes.len()) {
            let page = own.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within].copy_from_slice(&bytes[part]);
        }
    }

    /// Makes everything from `len` on zeros.
    pub(super) fn cut(&mut self, len: u64) {
        let (last, within) = (len / PAGE as u64, (len % PAGE as u64) as usize);
        let dirty = |page: &Arc<[u8; PAGE]>| page[within..].iter().any(|byte| *byte != 0);
        if self.pages.range(last + 1..).next().is_none() && !self.pages.get(&last).is_some_and(dirty) {
            return;
        }
        let own = Arc::make_mut(&mut self.pages);
        own.split_off(&(last + u64::from(within > 0)));
        if let Some(page) = own.get_mut(&last) {
            Arc::make_mut(page)[within..].fill(0);
        }
    }

    /// Bytes that pages hold.
    pub(super) fn stored(&self) -> u64 {
        (self.pages.len() * PAGE) as u64
    }

    /// The first byte from `offset` on that a page holds.
    pub(super) fn next_stored(&self, offset: u64) -> Option<u64> {
        let (page, _) = self.pages.range(offset / PAGE as u64..).next()?;
        Some(offset.max(page * PAGE as u64))
    }

    /// The bytes of `range` that pages hold, in runs of a page at most.
    pub(super) fn runs(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let size = PAGE as u64;
        let own = self.pages.range(range.start / size..range.end.div_ceil(size).max(range.start / size));
        own.map(move |(page, _)| range.start.max(page * size)..range.end.min((page + 1) * size))
    }
}

/// The pages under `len` bytes at `offset`: number, range within the page, range of the bytes.
fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let start = (at % PAGE as u64) as usize;
        let part = (PAGE - start).min(len - done);
        let item = (at / PAGE as u64, start..start + part, done..done + part);
        done += part;
        (part > 0).then_some(item)
    })
}
