//! A new log from the whole transactions of an old one. It keeps the log's and the target's id, the segments' numbers and
//! the transactions' numbers; records move closer together, so their LSNs change, and each segment gets a nonce of its own.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::encode::{place, push_record, push_rest};
use super::layout::{HEADER_LEN, Lsn, RECORD_HEADER, RECORDS_START, RecordHeader, SegmentHeader, TWIN, VERSION};
use super::payload::{CLOSE, Commit, RecordKind, Seal};
use crate::format::{Rebuild, Record};
use crate::span::Fault;

/// A number that nobody chose; from the keys that the standard library draws from the system for its hash maps.
pub(super) fn random_nonce() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

#[derive(Default)]
pub(super) struct Rebuilder {
    header: Option<SegmentHeader>,
    next_nonce: Option<u32>,
    /// Offset of the next record in the segment.
    end: u32,
    /// Where the open transaction begins.
    first: Option<u32>,
    committed_end: u32,
    transaction: u64,
}

impl Rebuilder {
    fn push(&mut self, kind: RecordKind, flags: u8, payload: &[u8], out: &mut Vec<u8>) -> u32 {
        let nonce = self.header.as_ref().map_or(0, |header| header.nonce);
        let at = place(self.end.into(), payload.len()) as u32;
        if at != self.end {
            push_rest(out, nonce, self.end);
        }
        push_record(out, kind.into(), flags, nonce, at, &[payload]);
        self.end = at + (RECORD_HEADER + payload.len().next_multiple_of(8)) as u32;
        at
    }

    fn commit(&mut self, commit: Commit, out: &mut Vec<u8>) {
        let own = place(self.end.into(), Commit::LEN) as u32;
        let first_off = self.first.take().unwrap_or(own);
        // The whole file is synced before it gets its name, so every byte before this transaction is durable when it can be read.
        let commit = Commit { first_off, durable_off: first_off, ..commit };
        self.push(RecordKind::Commit, 0, &commit.encode(), out);
        self.committed_end = self.end;
        self.transaction = commit.transaction + 1;
    }
}

impl Rebuild for Rebuilder {
    fn segment(&mut self, number: Option<u64>, header: Option<&[u8]>, out: &mut Vec<u8>) {
        let old = header.and_then(|bytes| SegmentHeader::parse(&bytes[..bytes.len().min(HEADER_LEN)]).ok());
        let previous = self.header.take();
        let of = |field: fn(&SegmentHeader) -> [u8; 16]| old.as_ref().or(previous.as_ref()).map_or([0; 16], field);
        let number = number.map_or_else(|| old.as_ref().map_or(1, |old| old.number), |number| number as u32);
        let header = SegmentHeader {
            version: VERSION,
            incompatible: 0,
            compatible: 0,
            number,
            log_id: of(|header| header.log_id),
            nonce: self.next_nonce.take().unwrap_or_else(random_nonce),
            prev_nonce: previous.as_ref().map_or(0, |previous| previous.nonce),
            prev_end: if previous.is_some() { self.committed_end } else { 0 },
            first_transaction: self.transaction.max(old.as_ref().map_or(1, |old| old.first_transaction)),
            redo_lsn: old.as_ref().map_or(Lsn::new(number, RECORDS_START as u32), |old| {
                Lsn::new(old.redo_lsn.segment(), RECORDS_START as u32)
            }),
            created_ns: old.as_ref().map_or(0, |old| old.created_ns),
            target_id: of(|header| header.target_id),
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
        match RecordKind::from_u8(head.kind).ok_or(Fault::Type(head.kind))? {
            RecordKind::Seal | RecordKind::Pad => {}
            RecordKind::Commit if head.flags & CLOSE != 0 => {}
            RecordKind::Commit => self.commit(Commit::parse(record.payload).ok_or(Fault::Orphan)?, out),
            kind => {
                let at = self.push(kind, head.flags, record.payload, out);
                self.first.get_or_insert(at);
            }
        }
        Ok(())
    }

    fn end(&mut self, followed: bool, out: &mut Vec<u8>) {
        if followed {
            let next_nonce = *self.next_nonce.insert(random_nonce());
            let next_number = self.header.as_ref().map_or(0, |header| header.number) + 1;
            self.push(RecordKind::Seal, 0, &Seal { next_number, next_nonce }.encode(), out);
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
