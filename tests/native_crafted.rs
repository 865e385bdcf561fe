//! Logs that somebody forged: any field of a header or a record is changed, and every checksum is right again. Whatever they say, nothing
//! panics, and all who read the log agree about what is committed in it: the report, a log opened to write, its entries, a replay, a salvage.
//!
//! `WALTOOL_STATES` sets how many logs are forged (4,000), `WALTOOL_SEED` the seed of the first.

#[macro_use]
#[path = "support/figure.rs"]
mod figure;

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::{Bench, Disk, Noise, Read, is_fault, pattern, segment_name};
use waltool::formats::native::layout::{
    HEADER_LEN, Lsn, RECORD_HEADER, RecordHeader, SegmentHeader, TWIN, payload_crc,
};
use waltool::formats::native::payload::{CONT, MORE};
use waltool::replay::{Replay, TARGET_MAX, To, Until};
use waltool::span::Kind;
use waltool::vfs::{Disk as Vfs, Sim};
use waltool::wal::{Options, Wal, WalError};
use waltool::{Error, Log, Report, Verdict, salvage};

const LOG: &str = "/log";

/// A log of three to five segments with all that one can hold: fragments, checkpoints, residue, seals, a close mark.
fn sound(noise: &mut Noise) -> Disk {
    let mut bench = Bench::new();
    for segment in 0..3 + noise.below(3) as u32 {
        for _ in 0..noise.below(4) {
            for _ in 0..noise.below(4) {
                let len = [5, 60, 700, 34_000][noise.below(4)];
                match noise.below(5) {
                    0 | 1 => bench.write(noise.below(5000) as u64, &pattern(len, len)),
                    2 => bench.data(&pattern(len, len)),
                    3 => bench.set_len(noise.below(9000) as u64),
                    _ => bench.checkpoint(Lsn::new(1 + noise.below(segment as usize + 1) as u32, 8192), 7),
                };
            }
            bench.commit();
            if noise.below(2) == 0 {
                bench.promise();
            }
        }
        if noise.below(2) == 0 {
            bench.rotate();
        } else {
            bench.write(0, b"never committed");
            let rest = noise.bytes(40);
            bench.recover(|file| file.extend_from_slice(&rest));
        }
    }
    bench.write(1, b"the last");
    bench.commit();
    if noise.below(2) == 0 {
        bench.close();
    }
    bench.disk()
}

/// A value like those that are there: near another, or a limit, or anything.
fn other(noise: &mut Noise, value: u64, known: &[u64]) -> u64 {
    match noise.below(6) {
        0 => value ^ 1 << noise.below(40),
        1 => value.wrapping_add([8, 48, 1, 0_u64.wrapping_sub(8), 0_u64.wrapping_sub(48)][noise.below(5)]),
        2 => [0, 1, 8192, 32_768, u64::from(u32::MAX), u64::MAX][noise.below(6)],
        3 => Lsn::new(noise.below(9) as u32, 8192 + 8 * noise.below(600) as u32).0,
        4 => known[noise.below(known.len())],
        _ => noise.next(),
    }
}

/// Changes a field in both copies of a segment's header.
fn forge_header(disk: &mut Disk, segment: usize, noise: &mut Noise, known: &[u64]) {
    let Ok(mut header) = SegmentHeader::parse(disk.file(segment)) else { return };
    let mut value = |value: u64| other(noise, value, known);
    let field = value(3) % 9;
    match field {
        0 => header.number = value(header.number.into()) as u32,
        1 => header.log_id[3] ^= value(1) as u8,
        2 => header.nonce = value(header.nonce.into()) as u32,
        3 => header.prev_nonce = value(header.prev_nonce.into()) as u32,
        4 => header.prev_end = value(header.prev_end.into()) as u32,
        5 => header.first_transaction = value(header.first_transaction),
        6 => header.redo_lsn = Lsn(value(header.redo_lsn.0)),
        7 => header.created_ns = value(header.created_ns),
        _ => header.target_id[0] ^= value(1) as u8,
    }
    for at in [0, TWIN] {
        disk.file(segment)[at..at + HEADER_LEN].copy_from_slice(&header.encode());
    }
}

/// Changes a field of a record: in its header, or in the words of its payload.
fn forge_record(disk: &mut Disk, (segment, at): (usize, usize), noise: &mut Noise, known: &[u64]) {
    let file = disk.file(segment);
    let Ok(mut header) = RecordHeader::parse(file[at..].first_chunk().unwrap()) else { return };
    let len = usize::from(header.len);
    match noise.below(8) {
        0 => header.kind = 1 + noise.below(7) as u8,
        1 => header.flags ^= 1 << noise.below(4),
        2 => header.nonce = other(noise, header.nonce.into(), known) as u32,
        3 => header.offset = other(noise, header.offset.into(), known) as u32,
        4 if len >= 8 => header.len -= 1 + noise.below(8) as u16,
        _ if len >= 4 => {
            let word = at + RECORD_HEADER + noise.below(len / 4) * 4;
            let wide = (word - at).is_multiple_of(8) && word + 8 <= at + RECORD_HEADER + len && noise.below(2) == 0;
            let bytes = if wide { 8 } else { 4 };
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(&file[word..word + bytes]);
            let value = other(noise, u64::from_le_bytes(value), known).to_le_bytes();
            file[word..word + bytes].copy_from_slice(&value[..bytes]);
        }
        _ => {}
    }
    let end = at + RECORD_HEADER + usize::from(header.len).next_multiple_of(8);
    let body = at + RECORD_HEADER;
    file[body + usize::from(header.len)..end].fill(0);
    header.payload_crc = payload_crc(&file[body..end]);
    file[at..body].copy_from_slice(&header.encode());
}

fn forged(noise: &mut Noise) -> Disk {
    let mut disk = sound(noise);
    let read = disk.scan();
    let records: Vec<_> =
        read.records.iter().map(|record| (record.segment as usize, record.meta.lsn as u32 as usize)).collect();
    let known: Vec<u64> =
        read.records.iter().flat_map(|record| [record.meta.lsn, record.meta.lsn & 0xffff_ffff]).collect();
    for _ in 0..1 + noise.below(3) {
        let segment = noise.below(disk.0.len());
        match noise.below(3) {
            0 => forge_header(&mut disk, segment, noise, &known),
            1 => forge_record(&mut disk, records[noise.below(records.len())], noise, &known),
            // Few records say something of others, so they have a turn of their own.
            _ => {
                let speaks = |record: &&support::Owned| matches!(record.kind, "commit" | "checkpoint" | "seal");
                let speaking: Vec<_> = read.records.iter().filter(speaks).collect();
                let record = speaking[noise.below(speaking.len())];
                forge_record(&mut disk, (record.segment as usize, record.meta.lsn as u32 as usize), noise, &known);
            }
        }
    }
    disk
}

/// An entry, by the LSN of its first record; the bytes of its records joined.
type Entries = Vec<(u64, u64, Vec<u8>)>;

/// What is committed, worked out from the records alone.
#[derive(Default, Debug)]
struct Model {
    /// Complete transactions that count, before the first fault.
    before: u64,
    /// And all of them.
    all: u64,
    /// The entries of those before the first fault; `None` where fragments of one are missing.
    entries: Option<Entries>,
}

impl Model {
    fn of(read: &Read) -> Self {
        let mut model = Self { entries: Some(Vec::new()), ..Self::default() };
        let mut records = read.records.iter().peekable();
        let (mut floors, mut faulty) = (BTreeMap::<u32, u64>::new(), false);
        let mut open: Vec<(u64, u8, u8, Vec<u8>)> = Vec::new();
        for span in &read.spans {
            if is_fault(span) {
                faulty = true;
                if !matches!(span.kind, Kind::Gap(_)) {
                    floors.insert(span.segment, span.end());
                }
            }
            if !matches!(span.kind, Kind::Record(_)) {
                continue;
            }
            let record = records.next().unwrap();
            open.retain(|(lsn, ..)| lsn >> 32 == record.meta.lsn >> 32);
            let (kind, flags) = (record.head[2], record.head[3]);
            let Some(commit) = record.meta.commit else {
                open.push((record.meta.lsn, kind, flags, record.payload.clone()));
                continue;
            };
            let first = commit.first.unwrap();
            let claimed: Vec<_> =
                open.drain(..).filter(|(lsn, kind, ..)| lsn & 0xffff_ffff >= first && matches!(kind, 1..=4)).collect();
            if first < floors.get(&span.segment).copied().unwrap_or(0) {
                continue;
            }
            model.all += u64::from(commit.counts);
            if !faulty {
                model.before += u64::from(commit.counts);
                let joined = joined(record.meta.transaction, claimed);
                model.entries = model.entries.zip(joined).map(|(all, more)| [all, more].concat());
            }
        }
        model
    }
}

/// The entries of one transaction, if the fragments of each follow one another.
fn joined(transaction: u64, records: Vec<(u64, u8, u8, Vec<u8>)>) -> Option<Entries> {
    let mut entries: Entries = Vec::new();
    let mut more = false;
    for (lsn, kind, flags, payload) in records {
        let data = kind == 3;
        if (data && flags & CONT != 0) != more {
            return None;
        }
        if more {
            entries.last_mut()?.2.extend(payload)
        } else {
            entries.push((lsn, transaction, payload))
        }
        more = data && flags & MORE != 0;
    }
    (!more).then_some(entries)
}

/// What a log that is open gives.
fn entries(wal: &Wal, first: u32) -> Result<Entries, WalError> {
    let committed = wal.committed(Lsn::new(first, 8192))?;
    let (mut entries, mut all) = (committed.entries(), Vec::new());
    while let Some(logged) = entries.next()? {
        use waltool::wal::Entry;
        let payload = match logged.entry {
            Entry::Write { offset, bytes } => [&offset.to_le_bytes(), bytes].concat(),
            Entry::SetLen(len) => len.to_le_bytes().to_vec(),
            Entry::Data(bytes) => bytes.to_vec(),
            Entry::Checkpoint { redo_lsn, target_len, state } => {
                use waltool::formats::native::payload::Checkpoint;
                Checkpoint { redo_lsn, target_len, state }.encode()
            }
        };
        all.push((logged.lsn.0, logged.transaction, payload));
    }
    Ok(all)
}

/// The target after a replay of a whole log onto an empty file, by its entries.
fn replayed(read: &Read, entries: &Entries) -> Vec<u8> {
    let mut target = Vec::new();
    for (lsn, _, payload) in entries {
        let kind = read.records.iter().find(|record| record.meta.lsn == *lsn).unwrap().kind;
        let number = || u64::from_le_bytes(payload[..8].try_into().unwrap()) as usize;
        match kind {
            "write" => {
                let end = number() + payload.len() - 8;
                target.resize(end.max(target.len()), 0);
                target[number()..end].copy_from_slice(&payload[8..]);
            }
            "setlen" => target.resize(number(), 0),
            _ => {}
        }
    }
    target
}

fn put(sim: &Sim, folder: &str, disk: &Disk) {
    for (name, bytes) in &disk.0 {
        sim.put(&Path::new(folder).join(name), bytes).unwrap();
    }
}

#[derive(Default, Debug)]
struct Met {
    verdicts: BTreeMap<Verdict, u64>,
    newer: u64,
    opened: u64,
    salvaged: u64,
    replayed: u64,
}

/// Reads a forged log in every way; what disagrees is told.
fn agree(disk: &Disk, met: &mut Met) -> Result<(), String> {
    let sim = Sim::new(1);
    drop(Options::new().disk(sim.disk()).open(LOG).map_err(|error| error.to_string())?);
    put(&sim, LOG, disk);
    let log = Log::open_on(&sim.disk(), LOG.as_ref(), None).map_err(|error| error.to_string())?;
    let report = match Report::of(&log, |_| ()) {
        Ok(report) => report,
        Err(Error::TooNew { .. } | Error::Refused { .. }) => {
            met.newer += 1;
            let opened = Options::new().disk(sim.disk()).open(LOG).map(drop);
            return if opened.is_err() { Ok(()) } else { Err("what cannot be read was opened".into()) };
        }
        Err(error) => return Err(error.to_string()),
    };
    *met.verdicts.entry(report.verdict()).or_default() += 1;
    let read = Read::of(&log, 4096);
    let model = Model::of(&read);
    if (report.prefix.transactions, report.prefix.transactions + report.beyond.transactions)
        != (model.before, model.all)
    {
        return Err(format!("{} and {} complete transactions", report.prefix.transactions, report.beyond.transactions));
    }
    opening(&sim.disk(), &log, &report, &model, met)?;
    replaying(&sim, &log, &report, &read, &model, met)?;
    salvaging(&log, &report, &model, met)
}

fn opening(disk: &Vfs, log: &Log, report: &Report, model: &Model, met: &mut Met) -> Result<(), String> {
    let opened = Options::new().disk(disk.clone()).open(LOG);
    let wal = match (report.verdict(), opened) {
        (Verdict::Clean | Verdict::TornTail, Ok(wal)) => wal,
        (Verdict::Corrupt | Verdict::Incomplete, Err(WalError::Damaged { .. })) => return Ok(()),
        (verdict, opened) => return Err(format!("{verdict}, and opening it: {:?}", opened.err())),
    };
    met.opened += 1;
    let first = log.segments()[0].number.unwrap() as u32;
    match (entries(&wal, first), &model.entries) {
        (Ok(found), Some(expected)) if found == *expected => Ok(()),
        (Err(WalError::Stopped(Error::Refused { .. })), None) => Ok(()),
        (found, expected) => Err(format!("entries {found:?}\nexpected {expected:?}")),
    }
}

fn replaying(sim: &Sim, log: &Log, report: &Report, read: &Read, model: &Model, met: &mut Met) -> Result<(), String> {
    sim.put("/target".as_ref(), &[]).unwrap();
    let replay = Replay::of(log, "/target".as_ref(), Until::End, TARGET_MAX.min(1 << 20), &mut |_| ());
    let replay = match replay {
        Ok(replay) => replay,
        Err(Error::Refused { .. }) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let applied = replay.run(To::InPlace, &mut |_| ());
    match (report.verdict(), applied) {
        (Verdict::Corrupt | Verdict::Incomplete, Err(Error::Refused { .. })) => Ok(()),
        (Verdict::Clean | Verdict::TornTail, Ok(_)) => {
            met.replayed += 1;
            let found = sim.bytes("/target".as_ref()).unwrap();
            let same = model.entries.as_ref().is_none_or(|entries| found == replayed(read, entries));
            if same { Ok(()) } else { Err("the target is another".into()) }
        }
        (verdict, applied) => Err(format!("{verdict}, and replaying it: {applied:?}")),
    }
}

fn salvaging(log: &Log, report: &Report, model: &Model, met: &mut Met) -> Result<(), String> {
    let survey = match salvage::Survey::of(log, &mut |_| ()) {
        Ok(survey) => survey,
        Err(Error::Refused { .. }) if model.all == 0 => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if survey.transactions != model.all {
        return Err(format!("{} transactions to salvage of {}", survey.transactions, model.all));
    }
    let new = survey.write(log, "/salvaged".as_ref(), &mut |_| ()).map_err(|error| error.to_string())?;
    met.salvaged += 1;
    if new.verdict() == Verdict::Clean && new.prefix.transactions == model.all {
        Ok(())
    } else {
        Err(format!("salvage of a log that is {}: {}, {:?}", report.verdict(), new.verdict(), new.prefix))
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn all_who_read_a_forged_log_agree_about_what_is_committed() {
    let (states, first) = (from_environment("WALTOOL_STATES", 4000), from_environment("WALTOOL_SEED", 1));
    let mut met = Met::default();
    for seed in first..first + states {
        let disk = forged(&mut Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        agree(&disk, &mut met).unwrap_or_else(|why| panic!("seed {seed}: {why}\n{:?}", disk.report().faults));
    }
    figure!("{met:?}");
    assert!(met.verdicts.len() == 4 || states < 1000, "{met:?}");
    assert_eq!(segment_name(1), "00000001.wal");
}
