//! What a scan holds back: spans whose meaning depends on what comes next.

use std::ops::Range;

use crate::decode::{Hidden, Meta};
use crate::span::{Fault, Kind, Span};
use crate::tally::Unproven;

/// A span on its way out, with where its bytes are.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) span: Span,
    pub(super) body: Body,
    pub(super) claims: Unproven,
    pub(super) durable: u64,
    pub(super) transaction: u64,
    pub(super) hidden: Hidden,
}

impl Item {
    pub(super) fn new(span: Span, body: Body) -> Self {
        let (claims, hidden) = (Unproven::default(), Hidden::default());
        Self { span, body, claims, durable: 0, transaction: 0, hidden }
    }

    /// What stands from here on may be sound, whatever stands before it.
    fn begins_anew(&self) -> bool {
        matches!(self.span.kind, Kind::Damage(Fault::Unlinked { .. }))
    }

    /// Takes in the neighbour behind it. What proves the most is what the whole is called by.
    fn absorb(&mut self, next: Item) {
        if let (Kind::Damage(own), Kind::Damage(fault)) = (self.span.kind, next.span.kind)
            && fault.contradicts()
            && !own.contradicts()
        {
            self.span.kind = next.span.kind;
        }
        self.span.len += next.span.len;
        self.claims.append(next.claims);
        self.durable = self.durable.max(next.durable);
        self.hidden.join(next.hidden);
    }
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Header(Range<usize>),
    Record { meta: Meta, head: Range<usize>, payload: Range<usize> },
    Joined(Meta),
}

/// What follows the last good record of a segment: a few spans, neighbours of one kind joined.
#[derive(Default)]
pub(super) struct Doubt(Vec<Item>);

/// More changes of kind than this in a row are one damage: a bound on memory, met by noise only.
const DOUBT_MAX: usize = 16;

impl Doubt {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where it begins.
    pub(super) fn start(&self) -> Option<u64> {
        self.0.first().map(|item| item.span.offset)
    }

    /// Not all of it is stale, unwritten or fill.
    pub(super) fn has_damage(&self) -> bool {
        self.0.iter().any(|item| matches!(item.span.kind, Kind::Damage(_)))
    }

    /// There is none after all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn push(&mut self, item: Item) {
        if self.0.len() == DOUBT_MAX {
            self.collapse();
        }
        match self.0.last_mut() {
            Some(last) if last.span.kind.name() == item.span.kind.name() && !item.begins_anew() => last.absorb(item),
            _ => self.0.push(item),
        }
    }

    /// All of it, as one damage with the first fault, or with one that proves more.
    fn collapse(&mut self) {
        let faults = || self.0.iter().filter_map(|item| item.span.kind.fault());
        let fault = faults().find(Fault::contradicts).or_else(|| faults().next()).unwrap_or(Fault::Hole);
        let joined = self.0.drain(..).reduce(|mut all, item| {
            all.absorb(item);
            all
        });
        self.0.extend(joined.map(|mut item| {
            item.span.kind = Kind::Damage(fault);
            item
        }));
    }

    /// Something good follows, so all of it is damage; fill right before the good stays fill, and what begins anew there
    /// stays by itself.
    pub(super) fn resolve_before_good(&mut self) -> impl Iterator<Item = Item> + use<> {
        let last = self.0.pop_if(|item| item.span.kind == Kind::Padding || item.begins_anew());
        self.collapse();
        self.0.drain(..).chain(last).collect::<Vec<_>>().into_iter()
    }

    /// The segment ends: bad bytes are a torn tail in the last one, and damage where another follows.
    pub(super) fn resolve_at_end(&mut self, last: bool) -> impl Iterator<Item = Item> + use<> {
        let mut items = std::mem::take(&mut self.0);
        for item in &mut items {
            if let (Kind::Damage(fault), true) = (item.span.kind, last) {
                item.span.kind = Kind::Torn(fault);
            }
        }
        items.into_iter()
    }
}
