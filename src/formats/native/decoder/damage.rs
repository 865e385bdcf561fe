//! What stands where no intact record does, and what it still says.

use std::ops::Range;

use super::{Decoder, body};
use crate::bitflip::{self, Flip, Place};
use crate::bytes::all_zero;
use crate::decode::{Class, Decode, Hidden, Input, Need, Opening, Step, Testimony};
use crate::formats::native::layout::{PAYLOAD_MAX, RECORD_HEADER, RECORD_MAGIC, RecordFault, RecordHeader, record};
use crate::formats::native::payload::{CLOSE, Commit, RecordKind, Seal};
use crate::span::Fault;

/// Searches for a flipped bit cost as much as reading a record some hundred times; a log with more bad records than this is
/// past single-bit evidence.
const FLIP_SEARCHES_MAX: u32 = 64;

/// Bytes that are looked through for a record's beginning at a time.
const STRETCH: usize = 64;

impl Decoder {
    #[cold]
    pub(super) fn bad_payload(&mut self, offset: u64, header: &RecordHeader, computed: u32) -> Step {
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
    pub(super) fn mend(&self, input: &Input<'_>, flip: Flip) -> Option<RecordHeader> {
        let mut head: [u8; RECORD_HEADER] = *input.bytes.first_chunk()?;
        *head.get_mut(flip.offset.checked_sub(input.offset)? as usize)? ^= 1 << flip.bit;
        self.header_here(&Input { bytes: &head, ..*input })
    }

    /// A record of which one bit of the header is wrong: it is damage, and its length can be believed.
    pub(super) fn mended(&mut self, input: &Input<'_>, header: &RecordHeader, fault: Fault) -> Result<Step, Need> {
        let record = input.upto(header.total_len())?;
        self.testimony = Testimony {
            durable: commit(input, header).map_or(0, |commit| commit.durable_off.into()),
            ..Testimony::default()
        };
        Ok(Step { len: record.len(), class: claimed(fault, header) })
    }

    /// No header stands here: never written, cut, or hit. Its length is lost with it, so reading resumes at the next block.
    #[cold]
    pub(super) fn no_record(&mut self, input: &Input<'_>, fault: Option<RecordFault>) -> Result<Step, Need> {
        let rest = input.upto(self.rest(input.offset))?;
        if all_zero(rest) {
            return Ok(Step { len: rest.len(), class: self.zeros(input.offset) });
        }
        let fault = match fault {
            None => Fault::Cut { need: RECORD_HEADER as u64, have: rest.len() as u64 },
            Some(RecordFault::Checksum { stored, computed }) => {
                let covered = RECORD_HEADER - 4;
                // So few bytes that no number of searches matters.
                let place = bitflip::crc32(covered, stored, computed);
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
        self.rest_is_damage(input, fault)
    }

    /// An intact header, of another segment or another place.
    #[cold]
    pub(super) fn misplaced(&mut self, input: &Input<'_>, header: &RecordHeader) -> Result<Step, Need> {
        if self.nonce.is_none() && u64::from(header.offset) == input.offset {
            // Both headers are gone: the records themselves say which segment this was.
            self.nonce = Some(header.nonce);
            self.limit = self.limit_by_next();
            return self.step(input);
        }
        let fault = match self.nonce {
            Some(nonce) if nonce != header.nonce => {
                Fault::Identity { found: header.nonce.into(), expected: nonce.into() }
            }
            _ => Fault::Identity { found: header.offset.into(), expected: input.offset },
        };
        self.rest_is_damage(input, fault)
    }

    /// Damage up to the last byte of the block that is not zero.
    pub(super) fn rest_is_damage(&mut self, input: &Input<'_>, fault: Fault) -> Result<Step, Need> {
        let rest = input.upto(self.rest(input.offset))?;
        let used = rest.iter().rposition(|&byte| byte != 0).map_or(rest.len(), |last| (last + 1).next_multiple_of(8));
        let used = used.min(rest.len());
        self.testimony = self.hidden(&Input { bytes: rest, ..*input });
        Ok(Step { len: used, class: Class::damage(fault) })
    }

    /// Whether a record of this segment begins among the `len` bytes of what stands here: then they are not the payload that the header here
    /// announces. It never came, and somebody wrote on behind what there was of it.
    pub(super) fn holds_another(&self, input: &Input<'_>, len: usize) -> Result<bool, Need> {
        let rest = Input { bytes: input.upto(self.rest(input.offset))?, ..*input };
        Ok(places(rest.bytes).take_while(|&at| at < len).any(|at| self.header_here(&rest.skip(at)).is_some()))
    }

    /// What the commits say to which the length of a hit record does not lead. None of them is taken for a record, lest bytes
    /// of a payload ever be; but a commit with the nonce of this segment and its own offset was written here, and what it
    /// promises had been synced.
    pub(super) fn hidden(&self, input: &Input<'_>) -> Testimony {
        let mut testimony = Testimony::default();
        for at in places(input.bytes) {
            let here = input.skip(at);
            if here.bytes.get(record::KIND) != Some(&RecordKind::Commit.into()) {
                continue;
            }
            let Some((header, commit)) =
                self.header_here(&here).and_then(|header| Some((header, commit(&here, &header)?)))
            else {
                continue;
            };
            testimony.durable = testimony.durable.max(commit.durable_off.into());
            let first = u64::from(commit.first_off);
            let counts = header.flags & CLOSE == 0 || first < here.offset;
            if counts {
                testimony.commits.push(here.offset + header.total_len() as u64);
            }
            testimony.hidden.join(Hidden {
                opening: Opening { transaction: commit.transaction, first },
                last: if counts { commit.transaction } else { 0 },
                records: first.checked_sub(input.offset).and_then(|from| self.records(input, from, at)).unwrap_or(0),
            });
        }
        testimony
    }

    /// What proves that a program wrote on here after another had begun the next segment. Who begins it counts all that a commit promises, so a
    /// promise beyond the end that it names was given later; and a seal names a segment that was there.
    pub(super) fn second_writer(&self, input: &Input<'_>) -> Option<Fault> {
        let next = self.next.as_ref()?;
        let fault = |at: usize| {
            let here = input.skip(at);
            let header = self.header_here(&here)?;
            if let Some(commit) = commit(&here, &header) {
                let durable = u64::from(commit.durable_off);
                return (durable > self.limit).then_some(Fault::WrittenOn {
                    at: here.offset,
                    durable,
                    end: self.limit,
                });
            }
            let is_seal = header.kind == u8::from(RecordKind::Seal);
            let seal = Seal::parse(body(&here, &header).filter(|_| is_seal)?.get(..header.len.into())?)?;
            let other = (seal.next_number, seal.next_nonce) != (next.number, next.nonce);
            let (found, expected) = (seal.next_nonce.into(), next.nonce.into());
            other.then_some(Fault::SealedForAnother { at: here.offset, found, expected })
        };
        std::iter::once(0).chain(places(input.bytes)).find_map(fault)
    }

    /// How many records there are from one place to the record at another, if all are intact and lead there.
    fn records(&self, input: &Input<'_>, from: u64, to: usize) -> Option<u64> {
        let (mut at, mut count) = (usize::try_from(from).ok()?, 1);
        while at < to {
            let here = input.skip(at);
            let header = self.header_here(&here)?;
            body(&here, &header)?;
            (at, count) = (at + header.total_len(), count + 1);
        }
        (at == to).then_some(count)
    }

    pub(super) fn search(&mut self, find: impl FnOnce() -> Option<Place>) -> Option<Place> {
        if self.flip_searches == FLIP_SEARCHES_MAX {
            return None;
        }
        self.flip_searches += 1;
        find()
    }
}

/// The intact commit that stands here.
fn commit(input: &Input<'_>, header: &RecordHeader) -> Option<Commit> {
    let is_commit = header.kind == u8::from(RecordKind::Commit);
    let payload = body(input, header).filter(|_| is_commit)?.get(..header.len.into())?;
    Commit::parse(payload).filter(|commit| commit.first_off.max(commit.durable_off) <= header.offset)
}

/// Where a record may begin in `bytes`, by its magic, but for their beginning. A program that appends at the end of a torn file does
/// not ask whether that is a place for a record, so any is looked at.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |at: &usize| bytes[*at..].starts_with(&RECORD_MAGIC);
    let stretches = (1..bytes.len()).step_by(STRETCH).map(|from| from..bytes.len().min(from + STRETCH));
    // Without a branch for each byte the compiler compares many at once.
    let holds_any = |stretch: &Range<usize>| {
        let (first, second) = (&bytes[stretch.clone()], &bytes[bytes.len().min(stretch.start + 1)..]);
        let pairs = first.iter().zip(second);
        pairs.fold(false, |any, (&a, &b)| any | ((a == RECORD_MAGIC[0]) & (b == RECORD_MAGIC[1])))
    };
    stretches.filter(holds_any).flatten().filter(begins)
}

pub(super) fn claimed(fault: Fault, header: &RecordHeader) -> Class {
    let claims_commit = header.kind == u8::from(RecordKind::Commit) && header.flags & CLOSE == 0;
    Class::Damage { fault, claims_commit }
}

pub(super) fn checksum_fault(stored: u32, computed: u32, place: Option<Place>, offset: u64, crc_at: usize) -> Fault {
    let flip = place.map(|place| match place {
        Place::Covered { byte, bit } => Flip { offset: offset + byte as u64, bit },
        Place::Stored { byte, bit } => Flip { offset: offset + (crc_at + byte) as u64, bit },
    });
    Fault::Checksum { stored: stored.into(), computed: computed.into(), flip }
}
