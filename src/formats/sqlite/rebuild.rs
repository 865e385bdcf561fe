//! A new log from frames of an old one.

use super::guess::Geometry;
use super::layout::{FRAME_HEADER_LEN, Frame, HEADER_LEN, Header, PAGE_SIZE_MAX, PAGE_SIZES};
use crate::checksum::{Order, Sum};
use crate::format::{Rebuild, Record};
use crate::span::Fault;

/// Chains frames anew behind a header that looks like the old log's.
#[derive(Default)]
pub(super) struct Rebuilder {
    /// What the old header says; nothing where it was hit.
    old: Option<Geometry>,
    /// The new log, once its header is written.
    new: Option<Written>,
}

struct Written {
    geometry: Geometry,
    sum: Sum,
}

impl Written {
    fn header(geometry: Geometry, out: &mut Vec<u8>) -> Self {
        let Geometry { order, frame_len, salts, checkpoint } = geometry;
        let header = Header::encode(order, frame_len - FRAME_HEADER_LEN, checkpoint, salts);
        out.extend_from_slice(&header);
        Self { geometry, sum: Header::parse(&header).sum }
    }
}

impl Rebuild for Rebuilder {
    fn segment(&mut self, _: Option<u64>, header: Option<&[u8]>, _: &mut Vec<u8>) {
        let header = header.filter(|bytes| bytes.len() == HEADER_LEN).map(Header::parse);
        *self = Self { old: header.and_then(|header| Geometry::of(&header)), new: None };
    }

    fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let old = parse(record)?;
        let new = self.new.get_or_insert_with(|| {
            // Little-endian is what every processor of these days writes, and SQLite reads both.
            let plain = Geometry { order: Order::Little, frame_len: 0, salts: old.salts, checkpoint: 0 };
            let geometry = Geometry { frame_len: FRAME_HEADER_LEN + record.payload.len(), ..self.old.unwrap_or(plain) };
            Written::header(geometry, out)
        });
        let max = new.geometry.frame_len - FRAME_HEADER_LEN;
        if record.payload.len() != max {
            return Err(Fault::Length { len: record.payload.len() as u64, max: max as u64 });
        }
        let frame = Frame { salts: new.geometry.salts, ..old };
        let (head, sum) = frame.encode(new.geometry.order, new.sum, record.payload);
        out.extend_from_slice(&head);
        out.extend_from_slice(record.payload);
        new.sum = sum;
        Ok(())
    }

    fn end(&mut self, _: bool, out: &mut Vec<u8>) {
        if let (Some(geometry), None) = (self.old, &self.new) {
            self.new = Some(Written::header(geometry, out));
        }
    }
}

/// A record's frame header, if the record can be a frame.
pub(super) fn parse(record: &Record<'_>) -> Result<Frame, Fault> {
    let (len, max) = (record.payload.len() as u64, PAGE_SIZE_MAX as u64);
    if record.head.len() != FRAME_HEADER_LEN || !PAGE_SIZES.contains(&record.payload.len()) {
        return Err(Fault::Length { len, max });
    }
    let frame = Frame::parse(record.head);
    if frame.page == 0 {
        return Err(Fault::Identity { found: 0, expected: 1 });
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::super::layout::Salts;
    use super::*;
    use crate::decode::Meta;

    fn record<'a>(head: &'a [u8], payload: &'a [u8]) -> Record<'a> {
        Record { meta: Meta::default(), head, payload }
    }

    #[test]
    fn frames_are_chained_anew_behind_a_header_like_the_old_one() {
        let old_salts = Salts { salt1: 9, salt2: 8 };
        let header = Header::encode(Order::Big, 512, 4, old_salts);
        let image = [7; 512];
        let frame = Frame { page: 3, commit_size: 5, salts: old_salts, sum: Sum { s0: 1, s1: 2 } };
        let (head, _) = frame.encode(Order::Big, Sum { s0: 77, s1: 0 }, &image);
        let (mut rebuilder, mut out) = (Rebuilder::default(), Vec::new());
        rebuilder.segment(None, Some(&header), &mut out);
        assert_eq!(rebuilder.record(&record(&head, &image), &mut out), Ok(()));
        rebuilder.end(false, &mut out);
        assert_eq!(out[..HEADER_LEN], header);
        let (head, _) = frame.encode(Order::Big, Header::parse(&header).sum, &image);
        assert_eq!(out[HEADER_LEN..], [&head[..], &image].concat());
    }

    #[test]
    fn without_a_header_the_first_frame_says_what_the_log_was() {
        let image = [7; 1024];
        let salts = Salts { salt1: 9, salt2: 8 };
        let (head, _) =
            Frame { page: 3, commit_size: 5, salts, sum: Sum::default() }.encode(Order::Little, Sum::default(), &image);
        let (mut rebuilder, mut out) = (Rebuilder::default(), Vec::new());
        rebuilder.segment(None, None, &mut out);
        assert_eq!(rebuilder.record(&record(&head, &image), &mut out), Ok(()));
        assert_eq!(out[..HEADER_LEN], Header::encode(Order::Little, 1024, 0, salts));
        let other = rebuilder.record(&record(&head, &image[..512]), &mut out);
        assert_eq!(other, Err(Fault::Length { len: 512, max: 1024 }));
    }

    #[test]
    fn a_log_without_transactions_is_its_header() {
        let header = Header::encode(Order::Little, 4096, 1, Salts { salt1: 1, salt2: 2 });
        let (mut rebuilder, mut out) = (Rebuilder::default(), Vec::new());
        rebuilder.segment(None, Some(&header), &mut out);
        rebuilder.end(false, &mut out);
        assert_eq!(out, header);
    }

    #[test]
    fn what_cannot_be_a_frame_is_refused() {
        let mut out = Vec::new();
        for (head, payload) in [(24, 511), (24, 0), (0, 512), (24, 512)] {
            let refused = Rebuilder::default().record(&record(&vec![0; head], &vec![0; payload]), &mut out);
            assert!(refused.is_err(), "{head} and {payload} bytes");
        }
        assert!(out.is_empty());
    }
}
