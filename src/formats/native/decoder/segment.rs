//! The beginning and the end of a segment, and its place in the chain.

use super::damage::checksum_fault;
use super::{Area, Decoder, Previous, body};
use crate::bitflip;
use crate::bytes::{all_zero, u32_le};
use crate::decode::{Class, Input, Meta, Need, Step, Testimony};
use crate::formats::native::encode::place;
use crate::formats::native::layout::{
    Answer, HEADER_LEN, HeaderFault, Lsn, MAGIC, RECORD_HEADER, RECORDS_START, RecordHeader, SegmentHeader, TWIN,
    payload_crc, rest_of_block,
};
use crate::formats::native::payload::{RecordKind, Seal};
use crate::span::{Fault, Gap, Piece};

impl Decoder {
    pub(super) fn first_header(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let both = input.upto(RECORDS_START)?;
        let area = input.first(TWIN)?;
        let header = SegmentHeader::parse(&area[..HEADER_LEN]);
        if let Some(newer) = newer(&header) {
            return Ok(newer);
        }
        if let Some(known) = SegmentHeader::from_either_of(both, self.name) {
            if self.area == Area::Header {
                self.area = Area::HeaderAfterGap;
                if let Some(gap) = self.gap(&known) {
                    // Among others, a segment under another's name would count twice, or too early.
                    let misplaced = matches!(gap, Gap::Misnamed { .. }) && !self.alone;
                    if gap == Gap::Foreign || misplaced {
                        let area = if misplaced { Area::Elsewhere } else { Area::Foreign };
                        (self.area, self.number) = (area, known.number);
                    }
                    return Ok(Step { len: 0, class: Class::Gap(gap) });
                }
            }
            self.accept(known);
        } else {
            self.number = self.name.unwrap_or(0) as u32;
            self.nonce = self.nonce_by_neighbours();
            self.limit = self.limit_by_next();
        }
        self.area = Area::Twin;
        Ok(self.header_step(header, area, input.offset))
    }

    pub(super) fn twin_header(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let area = input.first(RECORDS_START - TWIN)?;
        self.area = Area::Records;
        let parsed = SegmentHeader::parse(&area[..HEADER_LEN]);
        if let Some(newer) = newer(&parsed) {
            return Ok(newer);
        }
        Ok(self.header_step(parsed, area, input.offset))
    }

    pub(super) fn header_step(&mut self, header: Result<SegmentHeader, HeaderFault>, area: &[u8], offset: u64) -> Step {
        // A segment gets its name only after both headers were synced, and its successor only after all of it was.
        let durable = if self.is_bounded() { self.limit } else { RECORDS_START as u64 };
        let fault = match &header {
            Err(_) => self.header_fault(&area[..HEADER_LEN], offset),
            Ok(header) if self.header.as_ref().is_some_and(|known| known != header) => self.other_header(header),
            Ok(_) if !all_zero(&area[HEADER_LEN..]) => Fault::Reserved,
            Ok(header) => {
                let class = Class::Header { durable, transaction: header.first_transaction };
                return Step { len: area.len(), class };
            }
        };
        self.testimony = Testimony { durable, ..Testimony::default() };
        Step { len: area.len(), class: Class::damage(fault) }
    }

    /// A copy of the header that differs from the one that the segment is read by.
    fn other_header(&self, found: &SegmentHeader) -> Fault {
        let crc = |header: &SegmentHeader| u32_le(&header.encode()[HEADER_LEN - 4..]).into();
        Fault::Identity { found: crc(found), expected: self.header.as_ref().map_or(0, crc) }
    }

    pub(super) fn header_fault(&mut self, bytes: &[u8], offset: u64) -> Fault {
        let (checked, stored) = bytes.split_at(HEADER_LEN - 4);
        let (stored, computed) = (u32_le(stored), payload_crc(checked));
        let place = self.search(|| bitflip::crc32(checked.len(), stored, computed));
        // Other magic is another file, unless one bit makes the difference.
        if stored == computed || (place.is_none() && !bytes.starts_with(&MAGIC)) {
            return Fault::Header;
        }
        checksum_fault(stored, computed, place, offset, checked.len())
    }

    /// What is missing or wrong between the previous segment and this one.
    pub(super) fn gap(&self, header: &SegmentHeader) -> Option<Gap> {
        let number = u64::from(header.number);
        if let Some(name) = self.name.filter(|&name| name != number) {
            return Some(Gap::Misnamed { name, header: number });
        }
        if self.log_id.is_some_and(|log_id| log_id != header.log_id) {
            return Some(Gap::Foreign);
        }
        self.previous.and_then(|previous| between(&previous, header)).or_else(|| ahead(header).filter(|_| !self.alone))
    }

    pub(super) fn accept(&mut self, header: SegmentHeader) {
        self.number = header.number;
        self.nonce = Some(header.nonce);
        self.transaction = header.first_transaction;
        self.log_id.get_or_insert(header.log_id);
        self.limit = self.limit_by_next();
        self.header = Some(header);
    }

    /// The nonce by the next segment's header, or by the SEAL of the one before.
    fn nonce_by_neighbours(&self) -> Option<u32> {
        let follows = |next: &&SegmentHeader| {
            self.log_id.is_none_or(|log_id| log_id == next.log_id) && next.number == self.number.wrapping_add(1)
        };
        let next = self.next.as_ref().filter(follows);
        let seal = self.previous.and_then(|previous| previous.sealed).filter(|seal| seal.next_number == self.number);
        next.map(|next| next.prev_nonce).or(seal.map(|seal| seal.next_nonce))
    }

    /// Where the segment ends by its successor, if that continues it.
    pub(super) fn limit_by_next(&self) -> u64 {
        let continues = |next: &&SegmentHeader| {
            self.log_id.is_none_or(|log_id| log_id == next.log_id)
                && next.number == self.number.wrapping_add(1)
                && Some(next.prev_nonce) == self.nonce
        };
        let next = self.next.as_ref().filter(continues);
        next.map_or(u64::MAX, |next| next.prev_end.max(RECORDS_START as u32).into())
    }

    /// Behind the end that the successor vouches for: the SEAL that names it, space that was never written, or residue.
    pub(super) fn behind_limit(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let seal_at = place(self.limit, Seal::LEN);
        if let Some(fill) = seal_at.checked_sub(input.offset).map(|fill| fill as usize) {
            let bytes = input.upto(fill + RECORD_HEADER + Seal::LEN)?;
            if bytes.get(..fill).is_some_and(|bytes| self.is_fill(bytes))
                && let Some(meta) = self.seal_of_next(&input.skip(fill))
            {
                let body = RECORD_HEADER..RECORD_HEADER + Seal::LEN;
                let seal = Step { len: body.end, class: Class::Record { piece: Piece::Full, body, meta } };
                return Ok(if fill > 0 { Step { len: fill, class: Class::Padding } } else { seal });
            }
        }
        let rest = input.upto(rest_of_block(input.offset))?;
        let class = match self.second_writer(&Input { bytes: rest, ..*input }) {
            Some(fault) => Class::damage(fault),
            None if all_zero(rest) => Class::Unwritten,
            None => Class::Stale,
        };
        Ok(Step { len: rest.len(), class })
    }

    /// What stands between the last commit and a SEAL that went to the next block.
    pub(super) fn is_fill(&self, bytes: &[u8]) -> bool {
        let pad = bytes.first_chunk().and_then(|head| RecordHeader::parse(head).ok());
        all_zero(bytes)
            || pad.is_some_and(|pad| pad.kind == u8::from(RecordKind::Pad) && u64::from(pad.offset) == self.limit)
    }

    pub(super) fn seal_of_next(&self, input: &Input<'_>) -> Option<Meta> {
        let header = self.header_here(input).filter(|header| header.kind == u8::from(RecordKind::Seal))?;
        let seal = Seal::parse(body(input, &header)?.get(..header.len.into())?)?;
        let next = self.next.as_ref()?;
        let named = (seal.next_number, seal.next_nonce) == (next.number, next.nonce);
        named.then(|| Meta { transaction: 0, durable: input.offset, ..self.meta(input.offset) })
    }
}

/// What is missing or wrong between a segment and the one of this header, which comes next.
fn between(previous: &Previous, header: &SegmentHeader) -> Option<Gap> {
    let number = u64::from(header.number);
    if number <= previous.number {
        return Some(Gap::Misnamed { name: previous.number + 1, header: number });
    }
    if number != previous.number + 1 {
        return Some(Gap::Missing { first: previous.number + 1, last: number - 1 });
    }
    if let Some(found) = previous.nonce.filter(|&nonce| nonce != header.prev_nonce) {
        return Some(Gap::Forked { expected: header.prev_nonce.into(), found: found.into() });
    }
    let last = previous.last?;
    if last.end != header.prev_end.into() {
        return Some(Gap::End { number, end: header.prev_end.into() });
    }
    let mismatch = Gap::Transaction { number, first: header.first_transaction, expected: last.next };
    (last.next != header.first_transaction).then_some(mismatch)
}

/// Replay cannot have started behind the beginning of a segment when that was created.
fn ahead(header: &SegmentHeader) -> Option<Gap> {
    let (redo, own) = (header.redo_lsn, Lsn::new(header.number, RECORDS_START as u32));
    let (segment, offset) = (redo.segment().into(), redo.offset().into());
    (redo > own).then_some(Gap::Ahead { number: header.number.into(), segment, offset })
}

fn newer(header: &Result<SegmentHeader, HeaderFault>) -> Option<Step> {
    let fault = header.as_ref().err().filter(|fault| fault.answer() == Answer::TooNew)?;
    let (what, value) = match *fault {
        HeaderFault::Version(version) => ("version", version.into()),
        HeaderFault::Incompatible(flags) => ("incompatible flags", flags.into()),
        HeaderFault::HeaderLength(len) => ("header length", len.into()),
        _ => return None,
    };
    Some(Step { len: HEADER_LEN, class: Class::Newer { what, value } })
}
