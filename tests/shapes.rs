//! The shape of the scan against logs unlike the two formats it has: records in fragments of blocks, rolling checksums,
//! pages with continuation, text commands; each in several segments. The decoders here are small models of LevelDB,
//! etcd, PostgreSQL and Redis logs.

use waltool::decode::{Begin, Class, Decode, Input, Meta, Need, Step};
use waltool::formats::native::Native;
use waltool::span::{Fault, Kind, Piece};
use waltool::{Log, Scan};

fn meta(lsn: u64) -> Meta {
    Meta { lsn, ..Meta::default() }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn checksum(stored: u32, computed: u32) -> Class {
    Class::damage(Fault::Checksum { stored: stored.into(), computed: computed.into(), flip: None })
}

/// 64-byte blocks; a fragment is crc32, len (1 byte), type (1 full, 2 first, 3 middle, 4 last), payload.
#[derive(Default)]
struct Blocks;

const BLOCK: usize = 64;

impl Decode for Blocks {
    fn begin(&mut self, _: &Begin<'_>) {}

    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let left = BLOCK - input.offset as usize % BLOCK;
        if left < 6 {
            return Ok(Step { len: input.upto(left)?.len(), class: Class::Padding });
        }
        let head = input.first(6)?;
        if head == [0; 6] {
            return Ok(Step { len: input.upto(left)?.len(), class: Class::Unwritten });
        }
        let len = 6 + head[4] as usize;
        let pieces = [Piece::Full, Piece::First, Piece::Middle, Piece::Last];
        let bad = |class| Ok(Step { len: input.upto(left)?.len(), class });
        let Some(piece) = pieces.get((head[5] as usize).wrapping_sub(1)) else {
            return bad(Class::damage(Fault::Type(head[5])));
        };
        if len > left {
            return bad(Class::damage(Fault::Length { len: len as u64, max: left as u64 }));
        }
        let whole = input.first(len)?;
        let (stored, computed) = (u32_at(whole, 0), crc32fast::hash(&whole[4..]));
        if stored != computed {
            return bad(checksum(stored, computed));
        }
        Ok(Step { len, class: Class::Record { piece: *piece, body: 6..len, meta: meta(input.offset) } })
    }
}

fn blocks(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let (mut rest, mut first) = (&record[..], true);
        loop {
            let left = BLOCK - out.len() % BLOCK;
            if left < 6 {
                out.resize(out.len() + left, 0);
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(left - 6));
            let kind = match (first, later.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            let mut body = vec![now.len() as u8, kind];
            body.extend_from_slice(now);
            out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
            out.extend_from_slice(&body);
            (rest, first) = (later, false);
            if rest.is_empty() {
                break;
            }
        }
    }
    out
}

/// len (4 bytes), running crc, payload. The crc of each record is seeded by the one before, across segments.
#[derive(Default)]
struct Rolling {
    crc: u32,
}

fn roll(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

impl Decode for Rolling {
    fn begin(&mut self, _: &Begin<'_>) {}

    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let head = input.first(8)?;
        let len = u32_at(head, 0) as usize;
        if len > 4096 {
            let fault = Fault::Length { len: len as u64, max: 4096 };
            return Ok(Step { len: 1, class: Class::damage(fault) });
        }
        let whole = input.first(8 + len)?;
        let (stored, computed) = (u32_at(whole, 4), roll(self.crc, &whole[8..]));
        self.crc = stored;
        if stored != computed {
            return Ok(Step { len: 8 + len, class: checksum(stored, computed) });
        }
        Ok(Step {
            len: 8 + len,
            class: Class::Record { piece: Piece::Full, body: 8..8 + len, meta: meta(input.offset) },
        })
    }
}

fn rolling(crc: &mut u32, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        *crc = roll(*crc, record);
        out.extend_from_slice(&(record.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(record);
    }
    out
}

/// 64-byte pages of 4 bytes (magic 0xd1, page number, bytes of a record continued from before); records are len, crc,
/// payload, and run over page borders; the checksum is known only at the end.
#[derive(Default)]
struct Pages {
    page: u8,
    crc: crc32fast::Hasher,
    left: usize,
    stored: u32,
}

impl Decode for Pages {
    fn begin(&mut self, _: &Begin<'_>) {
        *self = Self::default();
    }

    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let at = input.offset as usize % BLOCK;
        if at == 0 {
            let head = input.first(4)?;
            let class = if head[0] == 0xd1 && head[1] == self.page {
                Class::Header { durable: 0, transaction: 0 }
            } else {
                let page = u64::from(self.page);
                Class::damage(Fault::Identity { found: head[1].into(), expected: page })
            };
            self.page += 1;
            return Ok(Step { len: 4, class });
        }
        let room = BLOCK - at;
        if self.left == 0 {
            if room < 6 {
                return Ok(Step { len: input.upto(room)?.len(), class: Class::Padding });
            }
            let head = input.first(6)?;
            if head == [0; 6] {
                return Ok(Step { len: input.upto(room)?.len(), class: Class::Unwritten });
            }
            let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
            let now = len.min(room - 6);
            let whole = input.first(6 + now)?;
            self.stored = u32_at(head, 2);
            self.crc = crc32fast::Hasher::new();
            return Ok(self.piece(6 + now, 6, whole, len - now, true, input.offset));
        }
        let now = self.left.min(room);
        let whole = input.first(now)?;
        Ok(self.piece(now, 0, whole, self.left - now, false, input.offset))
    }
}

impl Pages {
    fn piece(&mut self, len: usize, head: usize, whole: &[u8], left: usize, first: bool, offset: u64) -> Step {
        self.crc.update(&whole[head..]);
        self.left = left;
        let computed = self.crc.clone().finalize();
        let piece = match (first, left == 0) {
            (true, true) => Piece::Full,
            (true, false) => Piece::First,
            (false, false) => Piece::Middle,
            (false, true) => Piece::Last,
        };
        let class = if left == 0 && computed != self.stored {
            checksum(self.stored, computed)
        } else {
            Class::Record { piece, body: head..len, meta: meta(offset) }
        };
        Step { len, class }
    }
}

fn pages(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let header = |out: &mut Vec<u8>| {
        if out.len().is_multiple_of(BLOCK) {
            out.extend([0xd1, (out.len() / BLOCK) as u8, 0, 0]);
        }
    };
    for record in records {
        header(&mut out);
        if BLOCK - out.len() % BLOCK < 6 {
            out.resize(out.len().next_multiple_of(BLOCK), 0);
            header(&mut out);
        }
        out.extend((record.len() as u16).to_le_bytes());
        out.extend(crc32fast::hash(record).to_le_bytes());
        for &byte in record {
            header(&mut out);
            out.push(byte);
        }
    }
    out
}

/// `$len CR LF payload CR LF`: no checksum, and a length that is text of unknown size.
#[derive(Default)]
struct Text;

impl Decode for Text {
    fn begin(&mut self, _: &Begin<'_>) {}

    fn step(&mut self, input: &Input<'_>) -> Result<Step, Need> {
        let line = input.upto(12)?;
        let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
            let cut = Fault::Cut { need: 12, have: line.len() as u64 };
            return Ok(Step { len: line.len(), class: Class::damage(cut) });
        };
        let number = std::str::from_utf8(&line[1..end.max(1)]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(len) = number.filter(|&len| line[0] == b'$' && len < 100_000) else {
            return Ok(Step { len: 1, class: Class::damage(Fault::Type(line[0])) });
        };
        let total = end + 2 + len + 2;
        let whole = input.first(total)?;
        if &whole[total - 2..] != b"\r\n" {
            return Ok(Step { len: end + 2, class: Class::damage(Fault::NoEnd) });
        }
        Ok(Step {
            len: total,
            class: Class::Record { piece: Piece::Full, body: end + 2..total - 2, meta: meta(input.offset) },
        })
    }
}

fn text(records: &[Vec<u8>]) -> Vec<u8> {
    let each = records.iter().map(|record| [format!("${}\r\n", record.len()).as_bytes(), record, b"\r\n"].concat());
    each.collect::<Vec<_>>().concat()
}

/// What a scan came to: spans, and the payloads of records.
#[derive(Debug, PartialEq)]
struct Read {
    spans: Vec<waltool::span::Span>,
    records: Vec<Vec<u8>>,
}

fn read(log: &Log, decoder: Box<dyn Decode + Send>, window: usize) -> Read {
    let mut scan = Scan::with(log, decoder).window(window);
    let mut read = Read { spans: Vec::new(), records: Vec::new() };
    while let Some(found) = scan.next().unwrap() {
        read.spans.push(found.span);
        read.records.extend(found.record.map(|record| record.payload.to_vec()));
    }
    read
}

fn records() -> Vec<Vec<u8>> {
    let lens = [3, 40, 200, 1, 61, 58, 2, 130, 52, 7];
    lens.iter().enumerate().map(|(i, &len)| (0..len).map(|at| (at * 7 + i + 1) as u8).collect()).collect()
}

type Make = fn() -> Box<dyn Decode + Send>;

/// Each shape: its name, its decoder, and a log of two segments.
fn shapes() -> Vec<(&'static str, Make, Vec<Vec<u8>>)> {
    let (all, mut crc) = (records(), 0);
    let (a, b) = all.split_at(6);
    vec![
        ("blocks", || Box::new(Blocks), vec![blocks(a), blocks(b)]),
        ("rolling", || Box::<Rolling>::default(), vec![rolling(&mut crc, a), rolling(&mut crc, b)]),
        ("pages", || Box::<Pages>::default(), vec![pages(a), pages(b)]),
        ("text", || Box::new(Text), vec![text(a), text(b)]),
    ]
}

fn log(segments: &[Vec<u8>]) -> Log {
    Log::memory(&Native, segments.iter().enumerate().map(|(i, bytes)| (format!("{i}"), bytes.clone())))
}

fn assert_partition(read: &Read, segments: &[Vec<u8>]) {
    for (index, segment) in segments.iter().enumerate() {
        let mut at = 0;
        for span in read.spans.iter().filter(|span| span.segment == index as u32) {
            assert_eq!(span.offset, at, "{:?}", read.spans);
            at = span.end();
        }
        assert_eq!(at, segment.len() as u64, "{:?}", read.spans);
    }
}

#[test]
fn every_shape_gives_back_its_records_and_accounts_for_every_byte() {
    for (name, decoder, segments) in shapes() {
        let read = read(&log(&segments), decoder(), 4096);
        assert_eq!(read.records, records(), "{name}");
        assert_partition(&read, &segments);
        assert!(!read.spans.iter().any(|span| matches!(span.kind, Kind::Damage(_) | Kind::Torn(_))), "{name}");
    }
}

#[test]
fn spans_do_not_depend_on_the_window() {
    for (name, decoder, mut segments) in shapes() {
        let middle = segments[0].len() / 2;
        segments[0][middle] ^= 0x10;
        let log = log(&segments);
        let whole = read(&log, decoder(), 1 << 20);
        for window in [1, 7, 64, 100, 5000] {
            assert_eq!(read(&log, decoder(), window), whole, "{name} by {window}");
        }
    }
}

#[test]
fn every_cut_of_a_clean_log_gives_a_prefix_and_no_damage() {
    for (name, decoder, segments) in shapes() {
        let single = &segments[..1];
        let all = read(&log(single), decoder(), 4096).records;
        for cut in 0..single[0].len() {
            let cut_segment = [single[0][..cut].to_vec()];
            let read = read(&log(&cut_segment), decoder(), 64);
            assert!(all.starts_with(&read.records), "{name} cut at {cut}");
            assert!(
                !read.spans.iter().any(|span| matches!(span.kind, Kind::Damage(_))),
                "{name} cut at {cut}: {:?}",
                read.spans
            );
            assert_partition(&read, &cut_segment);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_checked_format_loses_records_but_adds_none() {
    for (name, decoder, segments) in shapes().into_iter().filter(|(name, ..)| *name != "text") {
        let all = records();
        let (mut flips, mut kept) = (0, 0);
        for bit in 0..segments[0].len() * 8 {
            let mut hit = segments.clone();
            hit[0][bit / 8] ^= 1 << (bit % 8);
            let read = read(&log(&hit), decoder(), 512);
            assert_partition(&read, &hit);
            assert!(read.records.iter().all(|record| all.contains(record)), "{name}, bit {bit}");
            flips += 1;
            kept += usize::from(read.records.len() == all.len());
        }
        // Only padding that the models do not check may hide a flip.
        assert!(kept * 8 < flips, "{name}: {kept} of {flips} flips went unseen");
    }
}

#[test]
fn damage_is_followed_by_the_records_behind_it() {
    for (name, decoder, segments) in shapes().into_iter().filter(|(name, ..)| *name != "text") {
        let mut hit = segments.clone();
        hit[0][100] ^= 1;
        let read = read(&log(&hit), decoder(), 512);
        let damage = read.spans.iter().position(|span| matches!(span.kind, Kind::Damage(_)));
        let damage = damage.unwrap_or_else(|| panic!("{name}: no damage in {:?}", read.spans));
        assert!(read.spans[damage..].iter().any(|span| matches!(span.kind, Kind::Record(_))), "{name}");
        assert!(read.records.len() >= 4, "{name}: {} records", read.records.len());
    }
}
