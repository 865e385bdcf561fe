//! The parser of the native format.

use super::alike::Alike;
use super::encode::place;
use super::layout::{
    ALIGN, Answer, BLOCK, HEADER_LEN, HeaderFault, MAGIC, PAYLOAD_MAX, RECORD_HEADER, RECORD_MAGIC, RECORDS_START,
    RecordFault, RecordHeader, SegmentHeader, TWIN, payload_crc, rest_of_block,
};
use super::payload::{CLOSE, Checkpoint, Commit, RecordKind, Seal, SetLen, Write};
use crate::bitflip::{self, Flip, Place};
use crate::bytes::{all_zero, u32_le};
use crate::decode::{self, Begin, Class, Decode, Fork, Input, Meta, Need, Plain, Step, Testimony};
use crate::span::{Fault, Gap, Piece};

/// Searches for a flipped bit cost as much as reading a record some hundred times; a log with more bad records than this is
/// past single-bit evidence.
const FLIP_SEARCHES_MAX: u32 = 64;

/// See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    log_id: Option<[u8; 16]>,
    /// The highest number that a segment so far has in its header.
    highest: Option<u32>,
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
    sealed: Option<u32>,
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
    /// All of it belongs to another log, or to a place in this one that has passed.
    Elsewhere,
}

impl Decode for Decoder {
    fn begin(&mut self, begin: &Begin<'_>) {
        let kept = Self {
            log_id: self.log_id,
            highest: self.highest,
            previous: self.previous,
            flip_searches: self.flip_searches,
            name: begin.number,
            next: begin.next.and_then(either_header),
            last: begin.next.is_none(),
            alone: begin.alone,
            limit: u64::MAX,
            ..Self::default()
        };
        *self = kept;
    }

    #[inline]
    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        if self.area == Area::Records && input.offset < self.limit { self.record(input) } else { self.other(input) }
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

    fn end(&mut self, len: u64) -> Option<Class> {
        let misnamed = self.name.is_some_and(|name| name != u64::from(self.number));
        // Whom the next segment must continue is not known behind a segment in a wrong place.
        let nonce = self.nonce.filter(|_| !misnamed);
        self.previous = Some(Previous { number: self.name.unwrap_or(self.number.into()), nonce });
        let least = match self.area {
            Area::Elsewhere => return None,
            Area::Header | Area::HeaderAfterGap | Area::Twin => RECORDS_START as u64,
            Area::Records if self.is_bounded() => self.limit,
            Area::Records => 0,
        };
        if len < least {
            return Some(Class::damage(Fault::Cut { need: least, have: len }));
        }
        let number = self.sealed.filter(|_| self.last && !self.alone)?;
        Some(Class::Gap(Gap::NoSuccessor { number: number.into() }))
    }

    fn hole(&mut self, offset: u64, len: u64) -> Option<(u64, Class)> {
        let end = (offset + len) / BLOCK as u64 * BLOCK as u64;
        if self.area != Area::Records || end <= offset || (offset < self.limit && self.limit < end) {
            return None;
        }
        Some((end - offset, self.zeros(offset)))
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
            Area::Elsewhere => {
                let block = rest_of_block(input.offset);
                Ok(Step { len: input.upto(block)?.len(), class: Class::Stale })
            }
        }
    }

    /// Behind the end that the successor vouches for: the SEAL that names it, space that was never written, or residue.
    fn behind_limit(&mut self, input: &Input<'_>) -> Result<Step, Need> {
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
        let class = if all_zero(rest) { Class::Unwritten } else { Class::Stale };
        Ok(Step { len: rest.len(), class })
    }

    /// What stands between the last commit and a SEAL that went to the next block.
    fn is_fill(&self, bytes: &[u8]) -> bool {
        let pad = bytes.first_chunk().and_then(|head| RecordHeader::parse(head).ok());
        all_zero(bytes)
            || pad.is_some_and(|pad| pad.kind == u8::from(RecordKind::Pad) && u64::from(pad.offset) == self.limit)
    }

    fn seal_of_next(&self, input: &Input<'_>) -> Option<Meta> {
        let header = self.header_here(input).filter(|header| header.kind == u8::from(RecordKind::Seal))?;
        let seal = Seal::parse(body(input, &header)?.get(..header.len.into())?)?;
        let next = self.next.as_ref()?;
        let named = (seal.next_number, seal.next_nonce) == (next.number, next.nonce);
        named.then(|| Meta { transaction: 0, durable: input.offset, ..self.meta(input.offset) })
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

    fn first_header(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let both = input.upto(RECORDS_START)?;
        let area = input.first(TWIN)?;
        let header = SegmentHeader::parse(&area[..HEADER_LEN]);
        if let Some(newer) = newer(&header) {
            return Ok(newer);
        }
        if let Some(known) = either_header(both) {
            if self.area == Area::Header {
                self.area = Area::HeaderAfterGap;
                if let Some(gap) = self.gap(&known) {
                    let passed = self.highest.is_some_and(|highest| known.number <= highest);
                    if gap == Gap::Foreign || passed {
                        (self.area, self.number) = (Area::Elsewhere, known.number);
                    }
                    return Ok(Step { len: 0, class: Class::Gap(gap) });
                }
            }
            self.accept(known);
        } else {
            self.number = self.name.unwrap_or(0) as u32;
        }
        self.area = Area::Twin;
        Ok(self.header_step(header, area, input.offset))
    }

    fn twin_header(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let area = input.first(RECORDS_START - TWIN)?;
        self.area = Area::Records;
        let parsed = SegmentHeader::parse(&area[..HEADER_LEN]);
        if let Some(newer) = newer(&parsed) {
            return Ok(newer);
        }
        if let (Ok(twin), Some(header)) = (&parsed, &self.header)
            && twin != header
        {
            let crc = |header: &SegmentHeader| u32_le(&header.encode()[HEADER_LEN - 4..]).into();
            let fault = Fault::Identity { found: crc(twin), expected: crc(header) };
            return Ok(Step { len: area.len(), class: Class::damage(fault) });
        }
        Ok(self.header_step(parsed, area, input.offset))
    }

    fn header_step(&mut self, header: Result<SegmentHeader, HeaderFault>, area: &[u8], offset: u64) -> Step {
        let class = match header {
            Err(_) => Class::damage(self.header_fault(&area[..HEADER_LEN], offset)),
            Ok(_) if !all_zero(&area[HEADER_LEN..]) => Class::damage(Fault::Reserved),
            // A segment gets its name only after both headers were synced, and its successor only after all of it was.
            Ok(_) => Class::Header { durable: if self.is_bounded() { self.limit } else { RECORDS_START as u64 } },
        };
        Step { len: area.len(), class }
    }

    fn header_fault(&mut self, bytes: &[u8], offset: u64) -> Fault {
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
    fn gap(&self, header: &SegmentHeader) -> Option<Gap> {
        let number = u64::from(header.number);
        if let Some(name) = self.name.filter(|&name| name != number) {
            return Some(Gap::Misnamed { name, header: number });
        }
        if self.log_id.is_some_and(|log_id| log_id != header.log_id) {
            return Some(Gap::Foreign);
        }
        let previous = self.previous?;
        if number <= previous.number {
            return Some(Gap::Misnamed { name: previous.number + 1, header: number });
        }
        if number != previous.number + 1 {
            return Some(Gap::Missing { first: previous.number + 1, last: number - 1 });
        }
        let found = previous.nonce.filter(|&nonce| nonce != header.prev_nonce)?;
        Some(Gap::Forked { expected: header.prev_nonce.into(), found: found.into() })
    }

    fn accept(&mut self, header: SegmentHeader) {
        self.number = header.number;
        self.highest = self.highest.max(Some(header.number));
        self.nonce = Some(header.nonce);
        self.transaction = header.first_transaction;
        self.log_id.get_or_insert(header.log_id);
        self.limit = self.limit_by_next();
        self.header = Some(header);
    }

    /// Where the segment ends by its successor, if that continues it.
    fn limit_by_next(&self) -> u64 {
        let continues = |next: &&SegmentHeader| {
            self.log_id.is_none_or(|log_id| log_id == next.log_id)
                && next.number == self.number.wrapping_add(1)
                && Some(next.prev_nonce) == self.nonce
        };
        let next = self.next.as_ref().filter(continues);
        next.map_or(u64::MAX, |next| next.prev_end.max(RECORDS_START as u32).into())
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
        let Some((header, body)) = intact else { return self.explain(input) };
        let payload = &body[..header.len.into()];
        Ok(Step { len: header.total_len(), class: self.accept_record(input.offset, &header, payload) })
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
            return Ok(Step { len: record.len(), class: claimed(fault, &header) });
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
        let sound = match kind {
            RecordKind::Write => Write::parse(payload).is_some(),
            RecordKind::Data => true,
            RecordKind::SetLen => SetLen::parse(payload).is_some(),
            RecordKind::Checkpoint => Checkpoint::parse(payload).is_some(),
            RecordKind::Commit => self.commit(offset, header, payload, &mut meta),
            RecordKind::Seal => self.seal(offset, payload, &mut meta),
            RecordKind::Pad if all_zero(payload) => return Class::Padding,
            RecordKind::Pad => return Class::damage(Fault::Reserved),
        };
        if !sound {
            return Class::damage(Fault::Length { len: header.len.into(), max: PAYLOAD_MAX as u64 });
        }
        Class::Record { piece: Piece::Full, body: RECORD_HEADER..RECORD_HEADER + payload.len(), meta }
    }

    #[inline]
    fn meta(&self, offset: u64) -> Meta {
        Meta { lsn: u64::from(self.number) << 32 | offset, transaction: self.transaction, ..Meta::default() }
    }

    fn commit(&mut self, offset: u64, header: &RecordHeader, payload: &[u8], meta: &mut Meta) -> bool {
        let Some(commit) = Commit::parse(payload) else { return false };
        let (first, durable) = (u64::from(commit.first_off), u64::from(commit.durable_off));
        // A commit cannot end a transaction that begins behind it, nor promise what is not yet written.
        if first > offset || durable > offset {
            return false;
        }
        meta.transaction = commit.transaction;
        meta.durable = durable;
        let counts = header.flags & CLOSE == 0;
        meta.commit = Some(decode::Commit { first: Some(first), counts, time: Some(commit.time_ns) });
        self.transaction = commit.transaction.saturating_add(1);
        true
    }

    fn seal(&mut self, offset: u64, payload: &[u8], meta: &mut Meta) -> bool {
        let Some(seal) = Seal::parse(payload) else { return false };
        // Written only after a sync of everything before it.
        meta.durable = offset;
        meta.transaction = 0;
        self.sealed = Some(seal.next_number);
        true
    }

    #[cold]
    fn bad_payload(&mut self, offset: u64, header: &RecordHeader, computed: u32) -> Step {
        self.transaction = 0;
        let len = header.total_len();
        let covered = len - RECORD_HEADER;
        let place = self.search(|| bitflip::crc32(covered, header.payload_crc, computed));
        let flip = match place {
            Some(Place::Covered { byte, bit }) => Some(Flip { offset: offset + (RECORD_HEADER + byte) as u64, bit }),
            // A flip in the stored sum would break the header's own checksum, and that one holds.
            Some(Place::Stored { .. }) | None => None,
        };
        let fault = Fault::Checksum { stored: header.payload_crc.into(), computed: computed.into(), flip };
        Step { len, class: claimed(fault, header) }
    }

    /// The header that stands here with one bit put back, if it is one of this segment and this place.
    fn mend(&self, input: &Input<'_>, flip: Flip) -> Option<RecordHeader> {
        let mut head: [u8; RECORD_HEADER] = *input.bytes.first_chunk()?;
        *head.get_mut(flip.offset.checked_sub(input.offset)? as usize)? ^= 1 << flip.bit;
        self.header_here(&Input { bytes: &head, ..*input })
    }

    /// A record of which one bit of the header is wrong: it is damage, and its length can be believed.
    fn mended(&mut self, input: &Input<'_>, header: &RecordHeader, fault: Fault) -> Result<Step, Need> {
        let record = input.upto(header.total_len())?;
        self.transaction = 0;
        self.testimony = Testimony { durable: promise(input, header).unwrap_or(0), ..Testimony::default() };
        Ok(Step { len: record.len(), class: claimed(fault, header) })
    }

    /// No header stands here: never written, cut, or hit. Its length is lost with it, so reading resumes at the next block.
    #[cold]
    fn no_record(&mut self, input: &Input<'_>, fault: Option<RecordFault>) -> Result<Step, Need> {
        let rest = input.upto(self.rest(input.offset))?;
        if all_zero(rest) {
            return Ok(Step { len: rest.len(), class: self.zeros(input.offset) });
        }
        let fault = match fault {
            None => Fault::Cut { need: RECORD_HEADER as u64, have: rest.len() as u64 },
            Some(RecordFault::Checksum { stored, computed }) => {
                let covered = RECORD_HEADER - 4;
                let place = self.search(|| bitflip::crc32(covered, stored, computed));
                let fault = checksum_fault(stored, computed, place, input.offset, covered);
                if let Some(header) = fault.flip().and_then(|flip| self.mend(input, flip)) {
                    return self.mended(input, &header, fault);
                }
                fault
            }
            Some(RecordFault::Length(len)) => Fault::Length { len: len.into(), max: PAYLOAD_MAX as u64 },
            Some(RecordFault::Kind) => Fault::Type(0),
            Some(RecordFault::Magic(_) | RecordFault::Reserved(_)) => Fault::Reserved,
        };
        self.transaction = 0;
        self.rest_is_damage(input, fault)
    }

    /// An intact header, of another segment or another place.
    #[cold]
    fn misplaced(&mut self, input: &Input<'_>, header: &RecordHeader) -> Result<Step, Need> {
        if self.nonce.is_none() && u64::from(header.offset) == input.offset {
            // Both headers are gone: the records themselves say which segment this was.
            self.nonce = Some(header.nonce);
            self.limit = self.limit_by_next();
            return self.step(input);
        }
        self.transaction = 0;
        let fault = match self.nonce {
            Some(nonce) if nonce != header.nonce => {
                Fault::Identity { found: header.nonce.into(), expected: nonce.into() }
            }
            _ => Fault::Identity { found: header.offset.into(), expected: input.offset },
        };
        self.rest_is_damage(input, fault)
    }

    /// Damage up to the last byte of the block that is not zero.
    fn rest_is_damage(&mut self, input: &Input<'_>, fault: Fault) -> Result<Step, Need> {
        let rest = input.upto(self.rest(input.offset))?;
        let used = rest.iter().rposition(|&byte| byte != 0).map_or(rest.len(), |last| (last + 1).next_multiple_of(8));
        let used = used.min(rest.len());
        self.testimony = self.hidden(&Input { bytes: &rest[..used], ..*input });
        Ok(Step { len: used, class: Class::damage(fault) })
    }

    /// What the commits say to which the length of a hit record does not lead. None of them is taken for a record, lest bytes
    /// of a payload ever be; but a commit with the nonce of this segment and its own offset was written here, and what it
    /// promises had been synced.
    fn hidden(&self, input: &Input<'_>) -> Testimony {
        let mut testimony = Testimony::default();
        let mut ends = Vec::new();
        for at in (ALIGN..input.bytes.len()).step_by(ALIGN) {
            let here = input.skip(at);
            if !here.bytes.starts_with(&COMMIT_START) {
                continue;
            }
            if let Some(durable) = self.header_here(&here).and_then(|header| promise(&here, &header)) {
                testimony.durable = testimony.durable.max(durable);
                ends.push(here.offset + (RECORD_HEADER + Commit::LEN) as u64);
            }
        }
        testimony.commits = ends.iter().filter(|&&end| end > testimony.durable).count() as u64;
        testimony.end = ends.last().copied().unwrap_or(0);
        testimony
    }

    fn search(&mut self, find: impl FnOnce() -> Option<Place>) -> Option<Place> {
        if self.flip_searches == FLIP_SEARCHES_MAX {
            return None;
        }
        self.flip_searches += 1;
        find()
    }
}

/// The payload and padding behind a header, if they are at hand and intact.
#[inline(always)]
fn body<'a>(input: &Input<'a>, header: &RecordHeader) -> Option<&'a [u8]> {
    let body = input.bytes.get(RECORD_HEADER..header.total_len())?;
    (payload_crc(body) == header.payload_crc).then_some(body)
}

/// How every COMMIT begins.
const COMMIT_START: [u8; 3] = [RECORD_MAGIC[0], RECORD_MAGIC[1], RecordKind::Commit as u8];

/// The promise of an intact commit that stands here.
fn promise(input: &Input<'_>, header: &RecordHeader) -> Option<u64> {
    let is_commit = header.kind == u8::from(RecordKind::Commit);
    let payload = body(input, header).filter(|_| is_commit)?.get(..header.len.into())?;
    let durable = Commit::parse(payload)?.durable_off;
    (durable <= header.offset).then_some(durable.into())
}

/// Fewer bytes than a record header before the next block: zeros.
fn block_end(input: &Input<'_>, rest: usize) -> Result<Step, Need> {
    let rest = input.upto(rest)?;
    let class = if all_zero(rest) { Class::Padding } else { Class::damage(Fault::Reserved) };
    Ok(Step { len: rest.len(), class })
}

fn claimed(fault: Fault, header: &RecordHeader) -> Class {
    let claims_commit = header.kind == u8::from(RecordKind::Commit) && header.flags & CLOSE == 0;
    Class::Damage { fault, claims_commit }
}

fn checksum_fault(stored: u32, computed: u32, place: Option<Place>, offset: u64, crc_at: usize) -> Fault {
    let flip = place.map(|place| match place {
        Place::Covered { byte, bit } => Flip { offset: offset + byte as u64, bit },
        Place::Stored { byte, bit } => Flip { offset: offset + (crc_at + byte) as u64, bit },
    });
    Fault::Checksum { stored: stored.into(), computed: computed.into(), flip }
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

/// The header of a segment by its first bytes, from either copy.
pub(super) fn either_header(head: &[u8]) -> Option<SegmentHeader> {
    let at = |at: usize| SegmentHeader::parse(head.get(at..at + HEADER_LEN)?).ok();
    at(0).or_else(|| at(TWIN))
}
