use std::fmt::Write as _;

use super::*;
use crate::formats::native::encode::SPLIT_MIN;
use crate::formats::native::layout::{BLOCK, RecordHeader, payload_crc, rest_of_block};
use crate::formats::native::payload::{WRITE_MAX, Write};

const DOCUMENT: &str = include_str!("../../../../docs/formats/native.md");

fn header() -> SegmentHeader {
    SegmentHeader {
        version: VERSION,
        incompatible: 0,
        compatible: 0,
        number: 1,
        log_id: *b"waltool example.",
        nonce: 0x1b2c_3d4e,
        prev_nonce: 0,
        prev_end: 0,
        first_transaction: 1,
        redo_lsn: Lsn::new(1, RECORDS_START as u32),
        created_ns: 1_767_225_600_000_000_000,
        target_id: [0; 16],
    }
}

fn writer() -> SegmentWriter<Vec<u8>> {
    SegmentWriter::create(Vec::new(), &header()).expect("memory")
}

/// A writer whose first block has `rest` bytes left.
fn writer_with_rest(rest: usize) -> SegmentWriter<Vec<u8>> {
    let mut segment = writer();
    let len = BLOCK - RECORDS_START - rest - RECORD_HEADER;
    segment.append(RecordKind::Data, 0, &vec![1; len]).expect("a record");
    assert_eq!(segment.end() as usize, BLOCK - rest);
    segment
}

struct Found<'a> {
    header: RecordHeader,
    payload: &'a [u8],
}

impl Found<'_> {
    fn is(&self, kind: RecordKind) -> bool {
        self.header.kind == u8::from(kind)
    }

    fn commit(&self) -> Commit {
        assert!(self.is(RecordKind::Commit));
        Commit::parse(self.payload).expect("a commit")
    }
}

/// Every record, by the rules of the format; any byte outside them fails the test.
fn records(bytes: &[u8]) -> Vec<Found<'_>> {
    let (first, twin) = (&bytes[..TWIN], &bytes[TWIN..RECORDS_START]);
    assert_eq!(first, twin);
    assert!(first[HEADER_LEN..].iter().all(|&byte| byte == 0));
    let nonce = SegmentHeader::parse(first).expect("a header").nonce;
    let mut found = Vec::new();
    let mut at = RECORDS_START;
    while at < bytes.len() {
        let rest = rest_of_block(at as u64);
        if rest < RECORD_HEADER {
            assert!(bytes[at..at + rest].iter().all(|&byte| byte == 0));
            at += rest;
            continue;
        }
        let header = RecordHeader::parse(bytes[at..].first_chunk().expect("a whole header")).expect("a record");
        assert_eq!((header.nonce, header.offset as usize), (nonce, at));
        assert!(header.total_len() <= rest, "the record at {at} crosses a block");
        let body = &bytes[at + RECORD_HEADER..at + header.total_len()];
        assert_eq!(payload_crc(body), header.payload_crc);
        let payload = &body[..header.len.into()];
        if header.kind == u8::from(RecordKind::Pad) {
            assert!(payload.iter().all(|&byte| byte == 0) && header.total_len() == rest);
        }
        found.push(Found { header, payload });
        at += header.total_len();
    }
    found
}

/// The form of `hexdump -C`: equal lines are one `*`.
fn hexdump(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut last = None;
    let mut starred = false;
    for (index, line) in bytes.chunks(16).enumerate() {
        if last == Some(line) {
            if !starred {
                out.push_str("*\n");
            }
            starred = true;
            continue;
        }
        (last, starred) = (Some(line), false);
        let hex = |half: &[u8]| half.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let columns = [&line[..line.len().min(8)], &line[line.len().min(8)..]].map(hex).join("  ");
        let text: String =
            line.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { byte.into() } else { '.' }).collect();
        writeln!(out, "{:08x}  {columns:48}  |{text}|", index * 16).expect("memory");
    }
    writeln!(out, "{:08x}", bytes.len()).expect("memory");
    out
}

#[test]
fn the_example_in_the_document_is_what_is_written() {
    let mut segment = writer();
    segment.promise(RECORDS_START as u32).expect("written");
    segment.write(0, b"hello").expect("a write");
    segment.commit(1_767_225_600_000_000_001).expect("a commit");
    segment.promise(segment.end()).expect("written");
    segment.close_mark(1_767_225_600_000_000_002).expect("a mark");
    let dump = hexdump(&segment.finish().expect("memory"));
    assert!(DOCUMENT.contains(&format!("```text\n{dump}```\n")), "docs/formats/native.md should hold:\n{dump}");
}

#[test]
fn a_record_goes_behind_a_short_rest_that_is_zeros_or_a_pad() {
    for rest in [0, 8, 16, 24, 32, 40, 48, 56] {
        let mut segment = writer_with_rest(rest);
        let lsn = segment.append(RecordKind::SetLen, 0, &[0; 8]).expect("a record");
        let bytes = segment.finish().expect("memory");
        let expected = if rest >= 32 { BLOCK - rest } else { BLOCK };
        assert_eq!(lsn.offset() as usize, expected, "rest {rest}");
        let pads: Vec<_> =
            records(&bytes).iter().filter(|found| found.is(RecordKind::Pad)).map(|pad| pad.header.len).collect();
        assert_eq!(pads, if rest == 24 { vec![0] } else { vec![] }, "rest {rest}");
    }
}

#[test]
fn a_commit_names_the_record_behind_the_pad_as_its_first() {
    for rest in [0, 8, 16, 24, 32, 40] {
        let mut segment = writer_with_rest(rest);
        segment.commit(1).expect("a commit");
        segment.write(7, &[2; 100]).expect("a write");
        segment.commit(1).expect("a commit");
        let bytes = segment.finish().expect("memory");
        let records = records(&bytes);
        let [.., write, last] = &records[..] else { panic!("two records") };
        assert!(write.is(RecordKind::Write));
        assert_eq!(last.commit().first_off, write.header.offset, "rest {rest}");
    }
}

#[test]
fn a_record_may_fill_its_block_to_the_last_byte() {
    let mut segment = writer_with_rest(0);
    segment.append(RecordKind::Data, 0, &[3; PAYLOAD_MAX]).expect("a record");
    assert_eq!(segment.end() as usize, 2 * BLOCK);
    assert!(matches!(segment.append(RecordKind::Data, 0, &[3; PAYLOAD_MAX + 1]), Err(WriteError::TooLong { .. })));
    assert!(matches!(segment.append(0, 0, &[]), Err(WriteError::KindZero)));
    assert_eq!(segment.end() as usize, 2 * BLOCK);
    assert_eq!(records(&segment.finish().expect("memory")).len(), 2);
}

#[test]
fn a_long_write_is_split_and_joins_again() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    for rest in [0, 8, 16, 24, 32, 40, 512, 544, 552, 20_000] {
        for len in [1, 511, 512, 513, WRITE_MAX - 1, WRITE_MAX, WRITE_MAX + 1, 200_000] {
            let mut segment = writer_with_rest(rest);
            let entry = Entry::Write { offset: 1 << 40, bytes: &bytes[..len] };
            let end = entry.end_from(segment.end().into()).expect("an end");
            segment.entry(&entry).expect("a write");
            assert_eq!(u64::from(segment.end()), end, "rest {rest}, len {len}");
            let segment = segment.finish().expect("memory");
            let mut joined = Vec::new();
            for found in records(&segment).iter().filter(|found| found.is(RecordKind::Write)) {
                let write = Write::parse(found.payload).expect("a write");
                assert_eq!(write.offset, (1 << 40) + joined.len() as u64);
                joined.extend_from_slice(write.bytes);
                assert!(len > SPLIT_MIN || write.bytes.len() == len, "a short write is whole");
            }
            assert_eq!(joined, bytes[..len], "rest {rest}, len {len}");
        }
    }
}

#[test]
fn data_is_fragmented_and_joins_again() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 241) as u8).collect();
    for len in [0, 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, 100_000] {
        let mut segment = writer_with_rest(600);
        let end = Entry::Data(&bytes[..len]).end_from(segment.end().into()).expect("an end");
        segment.data(&bytes[..len]).expect("data");
        assert_eq!(u64::from(segment.end()), end);
        let segment = segment.finish().expect("memory");
        let records = records(&segment);
        let fragments: Vec<_> = records[1..].iter().filter(|found| found.is(RecordKind::Data)).collect();
        for (index, fragment) in fragments.iter().enumerate() {
            assert_eq!(fragment.header.flags & CONT != 0, index > 0);
            assert_eq!(fragment.header.flags & MORE != 0, index + 1 < fragments.len());
        }
        let joined: Vec<u8> = fragments.iter().flat_map(|fragment| fragment.payload).copied().collect();
        assert_eq!(joined, bytes[..len]);
    }
}

#[test]
fn pages_of_half_a_block_do_not_waste_the_other_half() {
    let mut segment = writer();
    for page in 0..64 {
        segment.write(page * 16384, &[page as u8; 16384]).expect("a write");
    }
    assert!(u64::from(segment.end()) < 64 * 16384 * 102 / 100 + RECORDS_START as u64);
}

#[test]
fn a_write_of_nothing_is_no_record_and_a_write_past_the_end_is_refused() {
    let mut segment = writer();
    segment.write(u64::MAX, &[]).expect("nothing");
    assert_eq!(segment.end() as usize, RECORDS_START);
    assert!(matches!(segment.write(u64::MAX, &[1]), Err(WriteError::TargetRange { .. })));
}

#[test]
fn commit_times_never_go_back_and_numbers_go_on() {
    let mut segment = writer();
    for time_ns in [50, 40, 60] {
        segment.set_len(1).expect("a record");
        segment.commit(time_ns).expect("a commit");
    }
    segment.close_mark(10).expect("a mark");
    let bytes = segment.finish().expect("memory");
    let commits: Vec<_> =
        records(&bytes).iter().filter(|found| found.is(RecordKind::Commit)).map(Found::commit).collect();
    assert_eq!(commits.iter().map(|commit| commit.time_ns).collect::<Vec<_>>(), [50, 50, 60, 60]);
    assert_eq!(commits.iter().map(|commit| commit.transaction).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_commit_appended_as_it_is_counts_and_one_of_a_wrong_length_does_not() {
    let mut segment = writer();
    let commit = Commit { transaction: 41, time_ns: 70, first_off: 8192, durable_off: 0 };
    segment.append(RecordKind::Commit, 0, &commit.encode()).expect("a commit");
    segment.append(RecordKind::Commit, 0, &[0xff; 16]).expect("a record");
    segment.commit(0).expect("a commit");
    let bytes = segment.finish().expect("memory");
    let last = records(&bytes).last().expect("a record").commit();
    assert_eq!((last.transaction, last.time_ns), (42, 70));
}

#[test]
fn commits_promise_what_the_caller_has_synced_and_the_close_mark_all_before_it() {
    let mut segment = writer();
    segment.commit(0).expect("a commit");
    let synced = segment.end();
    segment.promise(synced).expect("written");
    segment.promise(8192).expect("a lower promise changes nothing");
    assert!(matches!(segment.promise(synced + 8), Err(WriteError::Promise { .. })));
    segment.commit(0).expect("a commit");
    let mark = segment.close_mark(0).expect("a mark");
    let bytes = segment.finish().expect("memory");
    let commits: Vec<_> = records(&bytes).iter().map(Found::commit).collect();
    assert_eq!(commits.iter().map(|commit| commit.durable_off).collect::<Vec<_>>(), [0, synced, mark.offset()]);
    assert_eq!(commits[2].first_off, mark.offset());
    assert_eq!(records(&bytes)[2].header.flags, CLOSE);
}

#[test]
fn a_close_mark_does_not_promise_the_padding_before_it() {
    for left in [0, 8, 16, 24, 32, 40] {
        let mut segment = writer();
        segment.data(&vec![1; BLOCK - RECORDS_START - 2 * RECORD_HEADER - Commit::LEN - left]).expect("a record");
        segment.commit(0).expect("a commit");
        assert_eq!(segment.end() as usize, BLOCK - left);
        let mark = segment.close_mark(0).expect("a mark");
        assert_eq!(mark.offset() as usize, BLOCK);
        let bytes = segment.finish().expect("memory");
        assert_eq!(records(&bytes).last().expect("a record").commit().durable_off as usize, BLOCK - left);
    }
}

#[test]
fn nothing_follows_a_close_mark_or_a_seal_and_neither_cuts_a_transaction() {
    let mut closed = writer();
    closed.write(0, b"x").expect("a write");
    assert!(matches!(closed.close_mark(0), Err(WriteError::TransactionOpen { first_off: 8192 })));
    assert!(matches!(closed.seal(2, 3), Err(WriteError::TransactionOpen { .. })));
    closed.commit(0).expect("a commit");
    closed.close_mark(0).expect("a mark");
    assert!(matches!(closed.commit(0), Err(WriteError::Ended)));
    let mut sealed = writer();
    sealed.seal(2, 3).expect("a seal");
    assert!(matches!(sealed.write(0, b"x"), Err(WriteError::Ended)));
    assert_eq!(sealed.last_commit_end() as usize, RECORDS_START);
    assert_eq!(records(&sealed.finish().expect("memory")).len(), 1);
}

#[test]
fn a_segment_ends_below_four_gibibytes() {
    let mut segment = writer();
    segment.end = (SEGMENT_MAX - 40) as u32;
    assert!(matches!(segment.write(0, &[1; 9]), Err(WriteError::SegmentFull { .. })));
    assert!(matches!(segment.commit(0), Err(WriteError::SegmentFull { .. })));
    segment.append(RecordKind::Seal, 0, &[0; 16]).expect("the last bytes");
    assert_eq!(u64::from(segment.end()), SEGMENT_MAX);
}

#[test]
fn a_failed_write_poisons_the_writer() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut segment = SegmentWriter::create(Full(RECORDS_START + 10), &header()).expect("room");
    assert!(matches!(segment.commit(0), Err(WriteError::Io(_))));
    assert!(matches!(segment.commit(0), Err(WriteError::Poisoned)));
    assert!(matches!(segment.flush(), Err(WriteError::Poisoned)));
    assert!(matches!(segment.finish(), Err(WriteError::Poisoned)));
}
