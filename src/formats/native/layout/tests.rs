use super::*;

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        version: VERSION,
        incompatible: 0,
        compatible: 0x8000_0001,
        number: 42,
        log_id: *b"the name of a lg",
        nonce: 0xdead_beef,
        prev_nonce: 0x0bad_cafe,
        prev_end: 0xffff_8000,
        first_transaction: u64::MAX,
        redo_lsn: Lsn::new(41, 8192),
        created_ns: 1_767_225_600_000_000_000,
        target_id: *b"and of a target.",
    }
}

fn record_header() -> RecordHeader {
    RecordHeader { kind: 200, flags: 0xa5, len: 32744, nonce: 1, offset: u32::MAX, payload_crc: 7 }
}

/// The encoded header with one change, under a right CRC.
fn segment_with(at: usize, value: u8) -> [u8; HEADER_LEN] {
    let mut bytes = segment_header().encode();
    bytes[at] = value;
    let sum = checksum::crc32(&bytes[header::CHECKED]);
    bytes[header::CRC].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn record_with(at: usize, value: u8) -> [u8; RECORD_HEADER] {
    let mut bytes = record_header().encode();
    bytes[at] = value;
    let sum = checksum::crc32(&bytes[record::CHECKED]);
    bytes[record::CRC].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn a_segment_header_is_read_back() {
    let header = segment_header();
    assert_eq!(SegmentHeader::parse(&header.encode()), Ok(header));
}

#[test]
fn a_record_header_is_read_back() {
    let header = record_header();
    assert_eq!(RecordHeader::parse(&header.encode()), Ok(header));
    assert_eq!(header.total_len(), BLOCK);
}

#[test]
fn every_single_bit_flip_of_a_segment_header_is_refused() {
    let bytes = segment_header().encode();
    for bit in 0..HEADER_LEN * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let fault = SegmentHeader::parse(&flipped).expect_err("a flipped header");
        let expected = if bit < 64 { Answer::NotOurs } else { Answer::Broken };
        assert_eq!(fault.answer(), expected, "bit {bit}: {fault}");
    }
}

#[test]
fn every_single_bit_flip_of_a_record_header_is_refused() {
    let bytes = record_header().encode();
    for bit in 0..RECORD_HEADER * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let fault = RecordHeader::parse(&flipped).expect_err("a flipped header");
        assert!(matches!(fault, RecordFault::Checksum { .. }), "bit {bit}: {fault}");
    }
}

#[test]
fn not_ours_too_new_and_broken_are_three_answers() {
    let cases = [
        (segment_with(8, 2), HeaderFault::Version(2), Answer::TooNew),
        (segment_with(9, 1), HeaderFault::Version(257), Answer::TooNew),
        (segment_with(10, 160), HeaderFault::HeaderLength(160), Answer::TooNew),
        (segment_with(15, 1), HeaderFault::Incompatible(1 << 24), Answer::TooNew),
        (segment_with(55, 1), HeaderFault::Reserved, Answer::Broken),
        (segment_with(123, 1), HeaderFault::Reserved, Answer::Broken),
        (segment_with(0, 0), HeaderFault::NotOurs, Answer::NotOurs),
    ];
    for (bytes, fault, answer) in cases {
        assert_eq!(SegmentHeader::parse(&bytes), Err(fault));
        assert_eq!(fault.answer(), answer);
    }
}

#[test]
fn a_header_transferred_as_text_is_recognised() {
    for mangled in MAGIC_MANGLED {
        let mut bytes = mangled.to_vec();
        bytes.extend_from_slice(&segment_header().encode()[8..]);
        assert_eq!(SegmentHeader::parse(&bytes), Err(HeaderFault::TextMode), "{mangled:x?}");
    }
}

#[test]
fn a_cut_header_is_told_from_another_file() {
    let bytes = segment_header().encode();
    assert_eq!(SegmentHeader::parse(&[]), Err(HeaderFault::NotOurs));
    for have in 1..HEADER_LEN {
        assert_eq!(SegmentHeader::parse(&bytes[..have]), Err(HeaderFault::Cut { have }));
    }
    assert_eq!(SegmentHeader::parse(b"SQLite format 3\0"), Err(HeaderFault::NotOurs));
}

#[test]
fn an_intact_record_header_that_breaks_a_rule_names_it() {
    assert_eq!(RecordHeader::parse(&record_with(0, 0)), Err(RecordFault::Magic([0, 0xe7])));
    assert_eq!(RecordHeader::parse(&record_with(7, 1)), Err(RecordFault::Reserved(256)));
    assert_eq!(RecordHeader::parse(&record_with(4, 0xe9)), Err(RecordFault::Length(32745)));
    assert_eq!(RecordHeader::parse(&record_with(2, 0)), Err(RecordFault::Kind));
}

#[test]
fn zeros_and_ones_are_no_record() {
    assert!(RecordHeader::parse(&[0; RECORD_HEADER]).is_err());
    assert!(RecordHeader::parse(&[0xff; RECORD_HEADER]).is_err());
}

#[test]
fn a_body_is_padded_to_eight() {
    assert_eq!([0, 1, 7, 8, 9, PAYLOAD_MAX].map(padded), [0, 8, 8, 8, 16, PAYLOAD_MAX]);
    assert_eq!([0, 8192, 32767, 32768].map(rest_of_block), [BLOCK, 24576, 1, BLOCK]);
}
