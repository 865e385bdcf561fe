//! A new log from the whole transactions of an old one.
//!
//! It keeps the log's and the target's id and the transactions' numbers, so a jump in these shows what was lost. Records move
//! closer together, and segments close the gap of a missing one, so LSNs change: those in checkpoints are put back to the
//! beginning of their segment. Each segment gets a nonce of its own.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::encode::{end_of, place, push_record, push_rest};
use super::layout::{
    HEADER_LEN, Lsn, RECORD_HEADER, RECORDS_START, RecordHeader, SEGMENT_MAX, SegmentHeader, TWIN, VERSION, padded,
};
use super::payload::{Checkpoint, Commit, RecordKind, Seal};
use crate::format::{Rebuild, Record};
use crate::span::Fault;

/// An id that nobody chose.
fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    id.chunks_mut(4).for_each(|part| part.copy_from_slice(&random_nonce().to_le_bytes()));
    id
}

/// A number that nobody chose; from the keys that the standard library draws from the system for its hash maps.
pub(super) fn random_nonce() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

#[derive(Default)]
pub(super) struct Rebuilder {
    /// Log id and target id.
    identity: Option<([u8; 16], [u8; 16])>,
    header: Option<SegmentHeader>,
    /// The segments' old and new numbers, so far.
    numbers: Vec<(u32, u32)>,
    next_nonce: Option<u32>,
    /// Offset of the next record in the segment.
    end: u32,
    /// Where the open transaction begins.
    first: Option<u32>,
    committed_end: u32,
    transaction: u64,
}

/// What a segment keeps free for a SEAL, in this block or the next.
const SEAL_ROOM: u64 = (2 * (RECORD_HEADER + Seal::LEN)) as u64;

fn parse(header: &[u8]) -> Option<SegmentHeader> {
    SegmentHeader::parse(header).ok()
}

impl Rebuilder {
    fn push(&mut self, kind: RecordKind, flags: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<u32, Fault> {
        let end = end_of(self.end.into(), payload.len());
        // Records that filled their blocks before may not do so now, so a segment near its largest size can outgrow it.
        let Some(end) = u32::try_from(end).ok().filter(|_| end + SEAL_ROOM <= SEGMENT_MAX) else {
            return Err(Fault::Length { len: end, max: SEGMENT_MAX - SEAL_ROOM });
        };
        let nonce = self.header.as_ref().map_or(0, |header| header.nonce);
        let at = end - (RECORD_HEADER + padded(payload.len())) as u32;
        if at != self.end {
            push_rest(out, nonce, self.end);
        }
        push_record(out, kind.into(), flags, nonce, at, &[payload]);
        self.end = end;
        Ok(at)
    }

    fn commit(&mut self, commit: Commit, out: &mut Vec<u8>) -> Result<(), Fault> {
        let own = place(self.end.into(), Commit::LEN) as u32;
        let first_off = self.first.take().unwrap_or(own);
        // The whole file is synced before it gets its name, so every byte before this transaction is durable when it can be read.
        let commit = Commit { first_off, durable_off: first_off, ..commit };
        self.push(RecordKind::Commit, 0, &commit.encode(), out)?;
        self.committed_end = self.end;
        self.transaction = commit.transaction.saturating_add(1);
        Ok(())
    }

    /// [`push`](Self::push) kept room for it.
    fn seal(&mut self, seal: &Seal, out: &mut Vec<u8>) {
        let nonce = self.header.as_ref().map_or(0, |header| header.nonce);
        let at = place(self.end.into(), Seal::LEN) as u32;
        if at != self.end {
            push_rest(out, nonce, self.end);
        }
        push_record(out, RecordKind::Seal.into(), 0, nonce, at, &[&seal.encode()]);
        self.end = at + (RECORD_HEADER + Seal::LEN) as u32;
    }

    /// Where replay must start in the new log when it had to start at `old`: at the beginning of that segment, since records
    /// have moved, or of the next that there is. To apply a record twice is harmless; to leave one out is not.
    fn redo(&self, old: Lsn) -> Lsn {
        let present = self.numbers.iter().find(|(number, _)| *number >= old.segment()).or(self.numbers.last());
        Lsn::new(present.map_or(1, |(_, number)| *number), RECORDS_START as u32)
    }
}

impl Rebuild for Rebuilder {
    fn belong(&mut self, header: &[u8]) {
        self.identity = self.identity.or(parse(header).map(|header| (header.log_id, header.target_id)));
    }

    fn segment(&mut self, number: Option<u64>, header: Option<&[u8]>, out: &mut Vec<u8>) {
        let old = header.and_then(parse);
        let previous = self.header.take();
        let known = old.as_ref().map(|old| (old.log_id, old.target_id));
        // Without any header, a log of its own.
        let (log_id, target_id) = *self.identity.get_or_insert_with(|| known.unwrap_or_else(|| (random_id(), [0; 16])));
        let number = number.map_or_else(|| old.as_ref().map_or(1, |old| old.number), |number| number as u32);
        // A jump to the next number that is left comes with its COMMIT.
        let first_transaction = match previous {
            Some(_) => self.transaction,
            None => old.as_ref().map_or(1, |old| old.first_transaction),
        };
        self.transaction = first_transaction;
        self.numbers.push((old.as_ref().map_or(number, |old| old.number), number));
        let header = SegmentHeader {
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            number,
            log_id,
            nonce: self.next_nonce.take().unwrap_or_else(random_nonce),
            prev_nonce: previous.as_ref().map_or(0, |previous| previous.nonce),
            prev_end: if previous.is_some() { self.committed_end } else { 0 },
            first_transaction,
            redo_lsn: self.redo(old.as_ref().or(previous.as_ref()).map_or(Lsn::default(), |header| header.redo_lsn)),
            created_ns: old.as_ref().or(previous.as_ref()).map_or(0, |header| header.created_ns),
            target_id,
        };
        let start = out.len();
        out.resize(start + RECORDS_START, 0);
        for at in [start, start + TWIN] {
            out[at..at + HEADER_LEN].copy_from_slice(&header.encode());
        }
        (self.end, self.committed_end, self.first) = (RECORDS_START as u32, RECORDS_START as u32, None);
        self.header = Some(header);
    }

    fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let head = record.head.first_chunk().and_then(|head| RecordHeader::parse(head).ok()).ok_or(Fault::Header)?;
        let kind = RecordKind::from_u8(head.kind).ok_or(Fault::Type(head.kind))?;
        if let Some((old, _)) = self.numbers.last_mut() {
            // Where the old header is lost, its records still know its number.
            *old = Lsn(record.meta.lsn).segment();
        }
        let checkpoint;
        let payload = match kind {
            RecordKind::Seal | RecordKind::Pad => return Ok(()),
            RecordKind::Commit if !record.meta.commit.is_some_and(|commit| commit.counts) => return Ok(()),
            RecordKind::Commit => return self.commit(Commit::parse(record.payload).ok_or(Fault::Orphan)?, out),
            RecordKind::Checkpoint => {
                let old = Checkpoint::parse(record.payload).ok_or(Fault::Orphan)?;
                checkpoint = Checkpoint { redo_lsn: self.redo(old.redo_lsn), ..old }.encode();
                &checkpoint[..]
            }
            RecordKind::Write | RecordKind::SetLen | RecordKind::Data => record.payload,
        };
        let at = self.push(kind, head.flags, payload, out)?;
        self.first.get_or_insert(at);
        Ok(())
    }

    fn end(&mut self, followed: bool, out: &mut Vec<u8>) {
        if followed {
            let next_nonce = *self.next_nonce.insert(random_nonce());
            let next_number = self.header.as_ref().map_or(0, |header| header.number) + 1;
            self.seal(&Seal { next_number, next_nonce }, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nonces_differ() {
        assert_ne!((random_nonce(), random_nonce()), (random_nonce(), random_nonce()));
    }
}
