//! Logs and what may happen to them: what a disk does, what a person does, and what nobody but a forger does, who gets
//! the checksums right.

use waltool::checksum::crc32;
use waltool::formats::native::layout::{HEADER_LEN, RECORD_HEADER, RECORD_MAGIC, RECORDS_START, TWIN};

use crate::support::{Bench, Noise, Segments};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    Flip,
    Byte,
    ZeroedSector,
    Garbage,
    Cut,
    Misplaced,
    Appended,
    Swapped,
    Removed,
    Doubled,
    Foreign,
    ForgedHeader,
    ForgedRecord,
}

const SECTOR: usize = 512;

impl Harm {
    pub const ALL: [Self; 13] = [
        Self::Flip,
        Self::Byte,
        Self::ZeroedSector,
        Self::Garbage,
        Self::Cut,
        Self::Misplaced,
        Self::Appended,
        Self::Swapped,
        Self::Removed,
        Self::Doubled,
        Self::Foreign,
        Self::ForgedHeader,
        Self::ForgedRecord,
    ];

    /// Does one of them to a log; the last of its files stays.
    pub fn some(log: &mut Segments, noise: &mut Noise) -> Self {
        let harm = Self::ALL[noise.below(Self::ALL.len())];
        let files = log.len();
        let (file, other) = (noise.below(files), noise.below(files));
        let bytes = &mut log[file].1;
        let at = place(bytes, noise);
        match harm {
            Self::Swapped if file != other => {
                let taken = std::mem::take(bytes);
                log[file].1 = std::mem::replace(&mut log[other].1, taken);
            }
            Self::Removed if files > 1 => drop(log.remove(file)),
            Self::Doubled => log[file].1 = log[other].1.clone(),
            Self::Foreign => {
                let mut bench = Bench::of(b"some other log's");
                let number = u32::from_str_radix(&log[file].0[..8], 16).expect("a segment's name");
                (1..number.min(5)).for_each(|_| bench.recover(|_| {}));
                bench.data(b"of another log");
                bench.commit();
                log[file].1 = bench.disk().0.pop().expect("a segment").1;
            }
            Self::Appended => append(bytes, noise),
            _ if bytes.is_empty() => {}
            Self::Flip => bytes[at] ^= 1 << noise.below(8),
            Self::Byte => bytes[at] = noise.next() as u8,
            Self::ZeroedSector => sector(bytes, at).fill(0),
            Self::Garbage => sector(bytes, at).fill_with(|| noise.next() as u8),
            Self::Cut => bytes.truncate(at),
            Self::Misplaced => {
                let from = place(bytes, noise);
                let taken = sector(bytes, from).to_vec();
                sector(bytes, at).iter_mut().zip(taken).for_each(|(byte, new)| *byte = new);
            }
            Self::ForgedHeader => forge_header(bytes, noise),
            Self::ForgedRecord => forge_record(bytes, noise),
            Self::Swapped | Self::Removed => {}
        }
        harm
    }
}

/// A log of a few segments, with many records in some of its blocks.
pub fn long_log(noise: &mut Noise) -> Segments {
    let mut bench = Bench::new();
    for segment in 0..1 + noise.below(3) {
        match (segment, noise.below(3)) {
            (0, _) => {}
            (_, 0) => bench.recover(|_| {}),
            (_, 1) => bench.recover(|bytes| bytes.extend_from_slice(b"left by a crash")),
            (_, _) => bench.rotate(),
        }
        for _ in 0..noise.below(40) {
            for _ in 0..noise.below(3) {
                let len = if noise.below(12) == 0 { noise.below(40_000) } else { noise.below(900) };
                let bytes = noise.bytes(len + 1);
                match noise.below(8) {
                    0 => bench.set_len(noise.next()),
                    1 => bench.data(&bytes),
                    2 => bench.checkpoint(bench.header().redo_lsn, noise.next()),
                    _ => bench.write(noise.next() % (1 << 40), &bytes),
                };
            }
            bench.commit();
            if noise.below(5) == 0 {
                bench.promise();
            }
        }
    }
    if noise.below(4) == 0 {
        bench.promise();
        bench.close();
    }
    bench.disk().0
}

/// The sector of `at`, or what there is of it.
fn sector(bytes: &mut [u8], at: usize) -> &mut [u8] {
    let from = at / SECTOR * SECTOR;
    let to = bytes.len().min(from + SECTOR);
    &mut bytes[from..to]
}

/// A place in a file: often in a header of a record or of the segment, where bytes mean most.
fn place(bytes: &[u8], noise: &mut Noise) -> usize {
    let records = records(bytes);
    let at = match noise.below(8) {
        0 => noise.below(2) * TWIN + noise.below(HEADER_LEN),
        1..4 if !records.is_empty() => records[noise.below(records.len())] + noise.below(RECORD_HEADER + 8),
        _ => noise.below(bytes.len().max(1)),
    };
    at.min(bytes.len().saturating_sub(1))
}

/// Where records begin, by their magic.
fn records(bytes: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| bytes[*at..].starts_with(&RECORD_MAGIC);
    (RECORDS_START..bytes.len().saturating_sub(RECORD_HEADER)).step_by(8).filter(begins).collect()
}

/// What a program may append that does not look at what is there.
fn append(bytes: &mut Vec<u8>, noise: &mut Noise) {
    match noise.below(4) {
        0 => bytes.resize(bytes.len() + noise.below(70_000), 0),
        1 => {
            let len = 1 + noise.below(3000);
            bytes.extend(noise.bytes(len));
        }
        2 => bytes.extend_from_within(bytes.len() / 2..),
        _ => {
            let mut bench = Bench::new();
            bench.write(0, &noise.bytes(100));
            bench.commit();
            let records = &bench.disk().0[0].1[RECORDS_START..];
            let (at, nonce) =
                (bytes.len(), bytes.get(40..44).map_or([0; 4], |nonce| nonce.try_into().expect("four bytes")));
            bytes.extend_from_slice(records);
            for record in [at, at + 136] {
                if bytes.len() < record + RECORD_HEADER {
                    continue;
                }
                bytes[record + 8..record + 12].copy_from_slice(&nonce);
                bytes[record + 12..record + 16].copy_from_slice(&(record as u32).to_le_bytes());
                sign_record(bytes, record);
            }
        }
    }
}

/// An offset that means something in this file, or nearly.
fn telling(bytes: &[u8], noise: &mut Noise) -> u32 {
    let mut places = records(bytes);
    places.extend([0, RECORDS_START, bytes.len(), u32::MAX as usize]);
    let at = places[noise.below(places.len())] as u32;
    match noise.below(4) {
        0 => at.wrapping_add(8),
        1 => at.wrapping_sub(8),
        _ => at,
    }
}

/// Changes a field of one header or of both, and their checksums.
fn forge_header(bytes: &mut [u8], noise: &mut Noise) {
    let field = [8, 12, 16, 20, 24, 40, 44, 48, 48, 48, 52, 56, 56, 64, 68, 80, 100][noise.below(17)];
    let value = match (field, noise.below(3)) {
        (48 | 64, _) => telling(bytes, noise),
        (_, 0) => noise.next() as u32,
        (_, _) => {
            bytes.get(field..field + 4).map_or(0, |old| u32::from_le_bytes(old.try_into().expect("four bytes"))) + 1
        }
    };
    for copy in [0, TWIN].into_iter().filter(|_| noise.below(4) > 0).collect::<Vec<_>>() {
        if let Some(header) = bytes.get_mut(copy..copy + HEADER_LEN) {
            header[field..field + 4].copy_from_slice(&value.to_le_bytes());
            let sum = crc32(&header[..HEADER_LEN - 4]);
            header[HEADER_LEN - 4..].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Changes a byte of a record's header or four bytes of its payload, and its checksums.
fn forge_record(bytes: &mut [u8], noise: &mut Noise) {
    let records = records(bytes);
    if records.is_empty() {
        return;
    }
    let record = records[noise.below(records.len())];
    match noise.below(3) {
        0 => bytes[record + 2] = noise.below(9) as u8,
        1 => bytes[record + [3, 4, 5, 6][noise.below(4)]] ^= 1 << noise.below(4),
        _ => {
            let (value, at) = (telling(bytes, noise), record + RECORD_HEADER + noise.below(6) * 4);
            if let Some(field) = bytes.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_le_bytes());
            }
        }
    }
    sign_record(bytes, record);
}

fn sign_record(bytes: &mut [u8], record: usize) {
    let len = usize::from(u16::from_le_bytes([bytes[record + 4], bytes[record + 5]]));
    let body = bytes.get(record + RECORD_HEADER..record + RECORD_HEADER + len.next_multiple_of(8)).map(crc32);
    if let Some(sum) = body {
        bytes[record + 16..record + 20].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc32(&bytes[record..record + 20]);
    bytes[record + 20..record + 24].copy_from_slice(&sum.to_le_bytes());
}
