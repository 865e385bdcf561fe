//! The parser of the native format.

mod damage;
mod segment;

use std::any::Any;

use super::alike::Alike;
use super::layout::{
    ALIGN, BLOCK, PAYLOAD_MAX, RECORD_HEADER, RECORDS_START, RecordHeader, SegmentHeader, payload_crc, rest_of_block,
};
use super::payload::{CLOSE, Checkpoint, Commit, RecordKind, Seal, SetLen, Write};
use crate::bytes::all_zero;
use crate::decode::{self, Begin, Class, Decode, Fork, Input, Meta, Need, Plain, Step, Testimony};
use crate::span::{Fault, Gap, Piece};
use damage::claimed;

/// See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    log_id: Option<[u8; 16]>,
    previous: Option<Previous>,
    name: Option<u64>,
    /// The header of the following segment.
    next: Option<SegmentHeader>,
    last: bool,
    alone: bool,
    header: Option<SegmentHeader>,
    area: Area,
    /// Number of the segment: the upper half of its LSNs.
    number: u32,
    nonce: Option<u32>,
    /// What stands here and behind is residue: the successor says that the log ended before.
    limit: u64,
    sealed: Option<Seal>,
    /// The last COMMIT before the limit.
    committed: Option<Committed>,
    /// Something below the limit is damaged.
    damaged: bool,
    transaction: u64,
    flip_searches: u32,
    /// The last plain record, whose nonce is the segment's.
    alike: Alike,
    /// Of the last step that was damage.
    testimony: Testimony,
}

#[derive(Clone, Copy, Debug)]
struct Previous {
    number: u64,
    nonce: Option<u32>,
    sealed: Option<Seal>,
    /// Where its last COMMIT ends and which transaction is the next; `None` where damage may have hidden that COMMIT.
    last: Option<Committed>,
}

/// Where a COMMIT ends, and the number of the transaction that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Committed {
    end: u64,
    next: u64,
}

/// Which part of the segment comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Area {
    #[default]
    Header,
    /// The header again, its gap having been told.
    HeaderAfterGap,
    Twin,
    Records,
    /// All of it belongs to another log.
    Foreign,
    /// All of it belongs to another place in this log.
    Elsewhere,
}

impl Decode for Decoder {
    fn begin(&mut self, begin: &Begin<'_>) {
        let follower = begin.number.map(|number| number + 1);
        let kept = Self {
            log_id: self.log_id.or(begin.log_id),
            previous: self.previous,
            flip_searches: self.flip_searches,
            name: begin.number,
            next: begin.next.and_then(|head| SegmentHeader::from_either_of(head, follower)),
            last: begin.next.is_none(),
            alone: begin.alone,
            limit: u64::MAX,
            ..Self::default()
        };
        *self = kept;
    }

    #[inline]
    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let step = if self.area == Area::Records && input.offset < self.limit {
            self.record(input)
        } else {
            self.other(input)
        };
        self.damaged |= matches!(step, Ok(Step { class: Class::Damage { .. }, .. }));
        step
    }

    #[inline(always)]
    fn plain(&mut self, input: &Input<'_>) -> Option<Plain> {
        if self.area != Area::Records || input.offset >= self.limit {
            return None;
        }
        let start = input.bytes.first_chunk()?;
        if !self.alike.begins(start) {
            self.alike = Alike::of(start).filter(|alike| Some(alike.nonce()) == self.nonce)?;
        }
        let body = self.alike.body(input)?;
        Some(Plain { len: self.alike.total_len(), body, meta: self.meta(input.offset) })
    }

    fn testimony(&mut self) -> Testimony {
        std::mem::take(&mut self.testimony)
    }

    fn copy(&self) -> Option<Box<dyn Decode + Send>> {
        Some(Box::new(self.clone()))
    }

    fn end(&mut self, len: u64) -> Option<Class> {
        if self.area == Area::Foreign && self.previous.is_none() {
            // The log begins after it, wherever that is.
            return None;
        }
        let misnamed = self.name.is_some_and(|name| name != u64::from(self.number));
        // Whom the next segment must continue is not known behind a segment in a wrong place.
        let nonce = self.nonce.filter(|_| !misnamed);
        let number = self.name.unwrap_or(self.number.into());
        self.previous = Some(Previous { number, nonce, sealed: self.sealed, last: self.last_before(len) });
        let least = match self.area {
            Area::Foreign | Area::Elsewhere => return None,
            Area::Header | Area::HeaderAfterGap | Area::Twin => RECORDS_START as u64,
            Area::Records if self.is_bounded() => self.limit,
            Area::Records => 0,
        };
        if len < least {
            self.testimony = Testimony { durable: least, ..Testimony::default() };
            return Some(Class::damage(Fault::Cut { need: least, have: len }));
        }
        let seal = self.sealed.filter(|_| self.last && !self.alone)?;
        Some(Class::Gap(Gap::NoSuccessor { number: seal.next_number.into() }))
    }

    fn hole(&mut self, offset: u64, len: u64) -> Option<(u64, Class)> {
        let end = (offset + len) / BLOCK as u64 * BLOCK as u64;
        if self.area != Area::Records || end <= offset || (offset < self.limit && self.limit < end) {
            return None;
        }
        Some((end - offset, self.zeros(offset)))
    }

    fn follow(&mut self, before: &dyn Decode) {
        let before: &dyn Any = before;
        if let Some(before) = before.downcast_ref::<Self>() {
            // Both may have met the one before the fork; the later counts.
            self.committed = self.committed.max(before.committed);
            self.sealed = self.sealed.or(before.sealed);
        }
    }

    fn fork(&self, near: u64) -> Option<Fork> {
        let offset = near.max(RECORDS_START as u64).next_multiple_of(BLOCK as u64);
        self.nonce?;
        let decoder = Self { area: Area::Records, ..self.clone() };
        Some(Fork { decoder: Box::new(decoder), offset, counts_from: offset })
    }
}

impl Decoder {
    #[cold]
    fn other(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        match self.area {
            Area::Header | Area::HeaderAfterGap => self.first_header(input),
            Area::Twin => self.twin_header(input),
            Area::Records => self.behind_limit(input),
            Area::Foreign | Area::Elsewhere => {
                let block = rest_of_block(input.offset);
                Ok(Step { len: input.upto(block)?.len(), class: Class::Stale })
            }
        }
    }

    /// The end of the segment's last COMMIT, for who continues it; the segment is `len` bytes long.
    fn last_before(&self, len: u64) -> Option<Committed> {
        let none = |header: &SegmentHeader| Committed { end: RECORDS_START as u64, next: header.first_transaction };
        let complete = self.area == Area::Records && !self.damaged && self.is_bounded() && self.limit <= len;
        self.committed.or(self.header.as_ref().map(none)).filter(|_| complete)
    }

    /// The successor says where the segment ends.
    fn is_bounded(&self) -> bool {
        self.limit != u64::MAX
    }

    /// What zeros are where a record may begin. Below an end that is vouched for they were something else.
    fn zeros(&self, offset: u64) -> Class {
        if self.is_bounded() && offset < self.limit { Class::damage(Fault::Hole) } else { Class::Unwritten }
    }

    /// The bytes from `offset` to the end of its block, or to the end that the successor vouches for.
    fn rest(&self, offset: u64) -> usize {
        rest_of_block(offset).min(usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// The record header that stands here, if it is at hand, intact and in its place.
    #[inline(always)]
    fn header_here(&self, input: &Input<'_>) -> Option<RecordHeader> {
        let header = RecordHeader::parse(input.bytes.first_chunk()?).ok()?;
        let belongs = Some(header.nonce) == self.nonce && u64::from(header.offset) == input.offset;
        (belongs && header.total_len() <= rest_of_block(input.offset)).then_some(header)
    }

    /// Takes what stands at a position where a record may begin: behind a record, behind a record header that is intact
    /// though its payload is not, or at the start of a block.
    #[inline]
    fn record(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let intact = self.header_here(input).and_then(|header| Some((header, body(input, &header)?)));
        let step = match intact {
            Some((header, body)) => {
                let payload = &body[..header.len.into()];
                Step { len: header.total_len(), class: self.accept_record(input.offset, &header, payload) }
            }
            None => self.explain(input)?,
        };
        if step.class.is_doubtful() {
            // What is damaged, or looks as if it had never been written, may have been a commit.
            self.transaction = 0;
        }
        Ok(step)
    }

    /// What stands here, if it is not an intact record that is wholly at hand.
    #[cold]
    fn explain(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let rest = rest_of_block(input.offset);
        if rest < RECORD_HEADER {
            return block_end(input, rest);
        }
        let Some(head) = input.upto(RECORD_HEADER)?.first_chunk() else { return self.no_record(input, None) };
        let header = match RecordHeader::parse(head) {
            Ok(header) => header,
            Err(fault) => return self.no_record(input, Some(fault)),
        };
        if Some(header.nonce) != self.nonce || u64::from(header.offset) != input.offset {
            return self.misplaced(input, &header);
        }
        let len = header.total_len();
        if len > rest {
            let max = (rest - RECORD_HEADER) as u64;
            return self.rest_is_damage(input, Fault::Length { len: header.len.into(), max });
        }
        let record = input.upto(len)?;
        if record.len() < len {
            let fault = Fault::Cut { need: len as u64, have: record.len() as u64 };
            if self.holds_another(input, record.len())? {
                return self.rest_is_damage(input, fault);
            }
            return Ok(Step { len: record.len(), class: claimed(fault, &header) });
        }
        if self.holds_another(input, len)? {
            let (stored, computed) = (header.payload_crc.into(), payload_crc(&record[RECORD_HEADER..]).into());
            return self.rest_is_damage(input, Fault::Checksum { stored, computed, flip: None });
        }
        Ok(self.bad_payload(input.offset, &header, payload_crc(&record[RECORD_HEADER..])))
    }

    /// What an intact record of this segment is.
    #[inline]
    fn accept_record(&mut self, offset: u64, header: &RecordHeader, payload: &[u8]) -> Class {
        let Some(kind) = RecordKind::from_u8(header.kind) else {
            return Class::Newer { what: "record type", value: header.kind.into() };
        };
        if header.flags & !kind.flags() != 0 {
            return Class::Newer { what: "record flags", value: header.flags.into() };
        }
        let mut meta = self.meta(offset);
        let length = Fault::Length { len: header.len.into(), max: PAYLOAD_MAX as u64 };
        let sound = match kind {
            RecordKind::Write => Write::parse(payload).map(drop).ok_or(length),
            RecordKind::Data => Ok(()),
            RecordKind::SetLen => SetLen::parse(payload).map(drop).ok_or(length),
            RecordKind::Checkpoint => Checkpoint::parse(payload)
                .filter(|checkpoint| checkpoint.flags() == header.flags)
                .ok_or(length)
                .and_then(|checkpoint| self.checkpoint(meta.lsn, &checkpoint)),
            RecordKind::Commit => {
                Commit::parse(payload).ok_or(length).and_then(|commit| self.commit(offset, header, &commit, &mut meta))
            }
            RecordKind::Seal => Seal::parse(payload).ok_or(length).map(|seal| self.seal(offset, seal, &mut meta)),
            RecordKind::Pad if all_zero(payload) => return Class::Padding,
            RecordKind::Pad => Err(Fault::Reserved),
        };
        if let Err(fault) = sound {
            return Class::damage(fault);
        }
        Class::Record { piece: Piece::Full, body: RECORD_HEADER..RECORD_HEADER + payload.len(), meta }
    }

    #[inline]
    fn meta(&self, offset: u64) -> Meta {
        Meta { lsn: u64::from(self.number) << 32 | offset, transaction: self.transaction, ..Meta::default() }
    }

    /// Replay cannot start after the record that says so. Without a header it is not known where the record is in the log.
    fn checkpoint(&self, own: u64, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let found = checkpoint.redo_lsn.0;
        if self.header.is_some() && found > own { Err(Fault::Ahead { found, own }) } else { Ok(()) }
    }

    fn commit(&mut self, offset: u64, header: &RecordHeader, commit: &Commit, meta: &mut Meta) -> Result<(), Fault> {
        let (first, durable) = (u64::from(commit.first_off), u64::from(commit.durable_off));
        // A commit cannot end a transaction that begins behind it, nor promise what is not yet written.
        if first.max(durable) > offset {
            return Err(Fault::Ahead { found: first.max(durable), own: offset });
        }
        meta.transaction = commit.transaction;
        meta.durable = durable;
        // A mark of closing claims no records.
        let counts = header.flags & CLOSE == 0 || first < offset;
        meta.commit = Some(decode::Commit { first: Some(first), counts, time: Some(commit.time_ns) });
        self.transaction = commit.transaction.saturating_add(1);
        self.committed = Some(Committed { end: offset + header.total_len() as u64, next: self.transaction });
        Ok(())
    }

    fn seal(&mut self, offset: u64, seal: Seal, meta: &mut Meta) {
        // Written only after a sync of everything before it, but for what fills a block that has no room for it.
        let filled = if offset.is_multiple_of(BLOCK as u64) { RECORD_HEADER + Seal::LEN - ALIGN } else { 0 };
        meta.durable = offset.saturating_sub(filled as u64);
        meta.transaction = 0;
        self.sealed = Some(seal);
    }
}

/// The payload and padding behind a header, if they are at hand and intact.
#[inline(always)]
fn body<'a>(input: &Input<'a>, header: &RecordHeader) -> Option<&'a [u8]> {
    let body = input.bytes.get(RECORD_HEADER..header.total_len())?;
    (payload_crc(body) == header.payload_crc).then_some(body)
}

/// Fewer bytes than a record header before the next block: zeros.
fn block_end(input: &Input<'_>, rest: usize) -> Result<Step, Need> {
    let rest = input.upto(rest)?;
    let class = if all_zero(rest) { Class::Padding } else { Class::damage(Fault::Reserved) };
    Ok(Step { len: rest.len(), class })
}
