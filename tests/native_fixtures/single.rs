//! Logs of one segment.
//!
//! Most begin as [`three`]: a WRITE takes 24 + 8 + its bytes, a SETLEN 32, a COMMIT 48, all rounded up to 8.
//!
//! | at | record | promise |
//! |---|---|---|
//! | 8192 | WRITE of 12 bytes at 0 | |
//! | 8240 | COMMIT 1 | 8192 |
//! | 8288 | WRITE of 3000 bytes at 4096 | |
//! | 11320 | SETLEN 8192 | |
//! | 11352 | COMMIT 2 | 8288 |
//! | 11400 | WRITE of 2000 bytes at 100 | |
//! | 13432 | COMMIT 3 | 11400 |
//!
//! So F is 11400, transactions 1 and 2 are proven, and the third is undecided.

use super::support::{Bench, Disk, NEW_YEAR, Noise, SECOND, pattern};
use super::{Case, Damage, Expected, ONE};
use waltool::formats::native::encode::{push_record, push_rest};
use waltool::formats::native::layout::{Lsn, RECORDS_START, SegmentHeader, TWIN};
use waltool::formats::native::payload::{Commit, RecordKind};

pub const C1: u64 = 8288;
pub const SETLEN: u64 = 11320;
pub const C2: u64 = 11400;
pub const COMMIT3: u64 = 13432;
pub const C3: u64 = 13480;
const BLOCK: u64 = 32768;

pub fn two() -> Bench {
    let mut bench = Bench::new();
    bench.write(0, b"hello, world");
    assert_eq!(bench.commit(), C1);
    bench.promise();
    bench.write(4096, &pattern(3000, 2));
    bench.set_len(8192);
    assert_eq!(bench.commit(), C2);
    bench
}

pub fn three() -> Bench {
    let mut bench = two();
    bench.promise();
    assert_eq!(bench.write(100, &pattern(2000, 3)), COMMIT3);
    assert_eq!(bench.commit(), C3);
    bench
}

fn clean() -> Expected {
    Expected::clean(7, 3, C3)
}

/// One damage in the record of transaction 2's WRITE: transaction 1 stands before it, transaction 3 behind.
fn hit_second(damage: Damage) -> Expected {
    Expected {
        verdict: "corrupt",
        records: 2,
        transactions: 1,
        valid_end: (ONE, C1),
        committed_end: (ONE, C1),
        salvageable: 4,
        salvageable_transactions: 1,
        damage: vec![damage],
        ..clean()
    }
}

/// The same in transaction 3's, of which nothing is promised: only its COMMIT stands behind.
fn hit_third(damage: Damage) -> Expected {
    Expected {
        verdict: "torn-tail",
        records: 5,
        transactions: 2,
        valid_end: (ONE, C2),
        committed_end: (ONE, C2),
        salvageable: 1,
        salvageable_transactions: 0,
        damage: vec![damage],
        ..clean()
    }
}

fn torn(offset: u64, len: u64) -> Expected {
    Expected { verdict: "torn-tail", damage: vec![(ONE, offset, len, "cut", None)], ..clean() }
}

pub fn cases() -> Vec<Case> {
    [whole(), torn_tails(), appended(), hit_records(), hit_headers(), nested()].into_iter().flatten().collect()
}

fn whole() -> Vec<Case> {
    let case = |name, origin, bench: Bench, expected| Case { name, origin, disk: bench.disk(), expected };
    let mut closed = three();
    closed.promise();
    assert_eq!(closed.close(), C3 + 48);
    let mut unfinished = three();
    assert_eq!(unfinished.write(7000, &pattern(100, 4)), C3 + 136);
    let mut fragments = Bench::new();
    // 24 + 24552 bytes fill the block; 24 + 15448 go to the next; an empty DATA is a header alone.
    assert_eq!(fragments.data(&pattern(40_000, 1)), BLOCK + 24 + 15448);
    assert_eq!(fragments.data(b""), BLOCK + 24 + 15448 + 24);
    assert_eq!(fragments.commit(), BLOCK + 15544);
    let mut checkpoints = two();
    checkpoints.promise();
    assert_eq!(checkpoints.checkpoint(Lsn::new(1, C2 as u32), 8192), C2 + 40);
    assert_eq!(checkpoints.commit(), C2 + 88);
    checkpoints.promise();
    assert_eq!(checkpoints.close(), C2 + 136);
    let none_undecided = Expected { undecided: 0, ..clean() };
    vec![
        case(
            "clean-open",
            "Three transactions, the first two synced. The writer lives, or died between two records.",
            three(),
            clean(),
        ),
        case(
            "closed",
            "Three transactions, all synced, and a close mark, which is a record and a commit but no transaction.",
            closed,
            Expected {
                records: 8,
                ..Expected { valid_end: (ONE, C3 + 48), committed_end: (ONE, C3 + 48), ..none_undecided.clone() }
            },
        ),
        case(
            "unfinished-transaction",
            "The writer died behind a WRITE, before its COMMIT. The WRITE is intact and belongs to no transaction.",
            unfinished,
            Expected { records: 8, valid_end: (ONE, C3 + 136), ..clean() },
        ),
        case(
            "empty-segment",
            "A new log: headers, no record.",
            Bench::new(),
            Expected { undecided: 0, ..Expected::clean(0, 0, 8192) },
        ),
        case(
            "data-fragments",
            "One transaction of 40,000 bytes of DATA in two fragments, and of an empty DATA.",
            fragments,
            Expected::clean(4, 1, BLOCK + 15544),
        ),
        case(
            "checkpoint",
            "Two transactions, a checkpoint that has applied both in a third, all synced, and a close mark.",
            checkpoints,
            Expected { undecided: 0, ..Expected::clean(8, 3, C2 + 136) },
        ),
        case(
            "never-synced",
            "Five transactions of a writer that never syncs: no COMMIT promises anything, so all are undecided.",
            never_synced(),
            Expected { undecided: 5, ..Expected::clean(10, 5, 8192 + 5 * 88) },
        ),
    ]
}

/// Five transactions of a WRITE of eight bytes (40) and a COMMIT (48).
fn never_synced() -> Bench {
    let mut bench = Bench::without_promise();
    for number in 0..5 {
        bench.write(8 * number, &pattern(8, number as usize));
        bench.commit();
    }
    bench
}

fn torn_tails() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let four = || {
        let mut bench = three();
        // 24 + 8 + 504 bytes.
        assert_eq!(bench.write(7000, &pattern(500, 4)), C3 + 536);
        assert_eq!(bench.commit(), C3 + 584);
        bench.disk()
    };
    vec![
        case(
            "torn-in-record-header",
            "Cut ten bytes into the header of transaction 4's WRITE.",
            four().cut(0, C3 + 10),
            torn(C3, 10),
        ),
        case(
            "torn-in-payload",
            "Cut 200 bytes into the payload of transaction 4's WRITE.",
            four().cut(0, C3 + 224),
            torn(C3, 224),
        ),
        case(
            "torn-in-commit-header",
            "Cut 16 bytes into the COMMIT of transaction 4. Its WRITE is intact and belongs to no transaction.",
            four().cut(0, C3 + 552),
            Expected { records: 8, valid_end: (ONE, C3 + 536), ..torn(C3 + 536, 16) },
        ),
        case(
            "torn-in-commit",
            "Cut behind the header of transaction 4's COMMIT: it says that it is a commit, so it is undecided as transaction 3 is.",
            four().cut(0, C3 + 566),
            Expected { records: 8, valid_end: (ONE, C3 + 536), undecided: 2, ..torn(C3 + 536, 30) },
        ),
        case(
            "zero-tail",
            "Three transactions in a file that was allocated ahead, to the end of its block.",
            three().disk().preallocate(0, BLOCK),
            clean(),
        ),
        case(
            "torn-in-zero-tail",
            "Allocated ahead, and one sector of 512 bytes of transaction 4 arrived without the one before it: zeros up to 13824, which hold the beginning of its record, then its bytes up to 14064.",
            four().preallocate(0, BLOCK).zero(0, C3..13824),
            // The header at 13480 is zeros, which is no record; the block is damage up to its last byte. COMMIT 4, intact at 14016, testifies: undecided.
            Expected { undecided: 2, ..Expected { damage: vec![(ONE, C3, 584, "checksum", None)], ..torn(0, 0) } },
        ),
    ]
}

/// A transaction that a program appends where the file ends, wherever that is: a WRITE of `len` bytes and a COMMIT.
fn append(disk: &mut Disk, transaction: u64, len: usize, durable_off: u32) {
    let nonce = Bench::new().header().nonce;
    let file = disk.file(0);
    let first_off = file.len() as u32;
    push_record(file, RecordKind::Write.into(), 0, nonce, first_off, &[&[9; 8], &pattern(len, 9)]);
    let commit = Commit { transaction, time_ns: NEW_YEAR + transaction * SECOND, first_off, durable_off };
    let offset = file.len() as u32;
    push_record(file, RecordKind::Commit.into(), 0, nonce, offset, &[&commit.encode()]);
}

/// Logs of a program that did not cut a torn tail.
fn appended() -> Vec<Case> {
    let mut promised = three().disk().cut(0, C2 + 200);
    append(&mut promised, 3, 12, C1 as u32);
    assert_eq!(promised.file(0).len(), 11696);
    append(&mut promised, 4, 20_000, 11696);
    assert_eq!(promised.file(0).len(), 31776);
    let nonce = Bench::new().header().nonce;
    push_rest(promised.file(0), nonce, 31776);
    append(&mut promised, 5, 500, 31776);
    let mut unpromised = three().disk().cut(0, C2 + 10);
    append(&mut unpromised, 3, 12, C1 as u32);
    assert_eq!(unpromised.file(0).len(), 11506);
    let hit = Expected {
        verdict: "corrupt",
        records: 5,
        transactions: 2,
        valid_end: (ONE, C2),
        committed_end: (ONE, C2),
        ..clean()
    };
    vec![
        Case {
            name: "appended-behind-tear",
            origin: "Transaction 3 was cut 200 bytes into its WRITE. The program came up again, found two transactions, and appended the third, fourth and fifth at the end of the file, syncing each. The fifth stands in the next block and is read; of the others, in the block of the tear, the COMMITs testify.",
            disk: promised,
            expected: Expected {
                salvageable: 2,
                salvageable_transactions: 1,
                damage: vec![(ONE, C2, BLOCK - C2, "checksum", None)],
                appended_behind: Some((C2, 6, 3)),
                ..hit.clone()
            },
        },
        Case {
            name: "appended-behind-tear-unpromised",
            origin: "Transaction 3 was cut ten bytes into the header of its WRITE, and another transaction 3 was appended there, at no multiple of 8. No COMMIT promises anything behind the tear; but a crash does not bring this about, and what was appended may have been acknowledged.",
            disk: unpromised,
            // The last two bytes of the COMMIT are zeros, and so not of the damage.
            expected: Expected {
                undecided: 2,
                damage: vec![(ONE, C2, 104, "checksum", None)],
                appended_behind: Some((C2, 2, 1)),
                ..hit
            },
        },
    ]
}

fn hit_records() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let second = |flip| (ONE, C1, SETLEN - C1, "checksum", flip);
    let third = |flip| (ONE, C2, COMMIT3 - C2, "checksum", flip);
    vec![
        case(
            "zeroed-sector-below-promise",
            "The 512 bytes from 9216 are zero, inside transaction 2's WRITE; COMMIT 3 promises all below 11400.",
            three().disk().zero(0, 9216..9728),
            hit_second(second(None)),
        ),
        case(
            "zeroed-sector-above-promise",
            "The 512 bytes from 12288 are zero, inside transaction 3's WRITE, which no COMMIT promises.",
            three().disk().zero(0, 12288..12800),
            hit_third(third(None)),
        ),
        case(
            "flipped-bit-below-promise",
            "Bit 3 of byte 9000 is flipped, in transaction 2's WRITE.",
            three().disk().flip(0, 9000, 3),
            hit_second(second(Some((9000, 3)))),
        ),
        case(
            "flipped-bit-above-promise",
            "Bit 6 of byte 12000 is flipped, in transaction 3's WRITE.",
            three().disk().flip(0, 12000, 6),
            hit_third(third(Some((12000, 6)))),
        ),
        case(
            "flipped-bit-in-record-header",
            "Bit 0 of byte 8292 is flipped, in the length of transaction 2's WRITE. The header's checksum puts it back, so reading goes on behind the record.",
            three().disk().flip(0, 8292, 0),
            hit_second(second(Some((8292, 0)))),
        ),
        case(
            "zeroed-record-header",
            "The 24 bytes of the header of transaction 2's WRITE are zero. Its length is lost, and with it all up to the end of the block; COMMIT 3 in there still testifies that the log was synced up to 11400.",
            three().disk().zero(0, C1..C1 + 24),
            // COMMIT 3 testifies that COMMIT 2 was synced; nothing says so of itself.
            Expected {
                salvageable: 0,
                salvageable_transactions: 0,

                ..hit_second((ONE, C1, C3 - C1, "checksum", None))
            },
        ),
        case(
            "flipped-bit-without-promise",
            "A log that was never synced: bit 0 of byte 8312 is flipped, in the WRITE of transaction 2. Nothing promises it, so a crash explains it although three transactions behind it are intact; and all five COMMITs are undecided.",
            never_synced().disk().flip(0, 8312, 0),
            Expected {
                verdict: "torn-tail",
                salvageable: 7,
                salvageable_transactions: 3,
                undecided: 5,
                damage: vec![(ONE, 8280, 40, "checksum", Some((8312, 0)))],
                ..Expected::clean(2, 1, 8280)
            },
        ),
    ]
}

fn hit_headers() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let all_beyond = |end, damage| Expected {
        verdict: "corrupt",
        records: 0,
        transactions: 0,
        valid_end: (ONE, end),
        committed_end: (ONE, end),
        salvageable: 7,
        salvageable_transactions: 3,
        damage: vec![damage],
        ..clean()
    };
    let mut headers_zeroed = three().disk();
    headers_zeroed.file(0)[..RECORDS_START].fill(0);
    let mut sector = three().disk();
    sector.file(0)[..512].copy_from_slice(&Noise(7).bytes(512));
    vec![
        case(
            "header-copy-flipped",
            "Bit 1 of byte 50 is flipped, in the first copy of the segment header. The other copy reads the segment, and says that both had been synced.",
            three().disk().flip(0, 50, 1),
            all_beyond(0, (ONE, 0, 4096, "checksum", Some((50, 1)))),
        ),
        case(
            "header-copy-garbage",
            "The first sector is noise, and with it the first copy of the segment header.",
            sector,
            all_beyond(0, (ONE, 0, 4096, "header", None)),
        ),
        case(
            "header-twin-flipped",
            "Bit 7 of byte 4146 is flipped, in the second copy of the segment header.",
            three().disk().flip(0, TWIN as u64 + 50, 7),
            all_beyond(4096, (ONE, 4096, 4096, "checksum", Some((4146, 7)))),
        ),
        case(
            "both-headers-zeroed",
            "The first 8192 bytes are zero. The records carry the nonce, so they are read; COMMIT 3 promises all below 11400.",
            headers_zeroed,
            all_beyond(0, (ONE, 0, 8192, "header", None)),
        ),
        case(
            "cut-in-header-twin",
            "Cut at 5000. The first copy of the header is intact; a segment gets its name when both are synced.",
            three().disk().cut(0, 5000),
            Expected {
                salvageable: 0,
                salvageable_transactions: 0,
                undecided: 0,
                ..all_beyond(4096, (ONE, 4096, 904, "cut", None))
            },
        ),
        case(
            "cut-to-one-header",
            "Cut at 4096, between the copies of the header: what is missing is a length of zero bytes there.",
            three().disk().cut(0, 4096),
            Expected {
                salvageable: 0,
                salvageable_transactions: 0,
                undecided: 0,
                ..all_beyond(4096, (ONE, 4096, 0, "cut", None))
            },
        ),
    ]
}

/// A whole log inside the records of another.
fn nested() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let inner = three().disk().0.remove(0).1;
    let header = SegmentHeader { created_ns: NEW_YEAR + 1, ..Bench::new().header().clone() };
    let outer = || {
        // The same log id and nonce: an older copy of this very segment.
        let mut bench = Bench::beginning(&header);
        assert_eq!(bench.data(&inner), 8192 + 24 + C3);
        let end = bench.commit();
        assert_eq!(end, 21744);
        bench.promise();
        // 24 + 8 + 10992 bytes fill the block; 24 + 8 + 2488 go to the next.
        assert_eq!(bench.write(0, &inner), BLOCK + 2520);
        assert_eq!(bench.commit(), BLOCK + 2568);
        bench.disk()
    };
    let clean = Expected::clean(5, 2, BLOCK + 2568);
    let hit = |valid_end| Expected {
        verdict: "corrupt",
        records: 0,
        transactions: 0,
        valid_end: (ONE, valid_end),
        committed_end: (ONE, valid_end),
        ..clean.clone()
    };
    vec![
        case(
            "log-in-log",
            "A copy of a log with the same log id and nonce is the payload of a DATA record, and of a WRITE in two records.",
            outer(),
            clean.clone(),
        ),
        case(
            "log-in-log-header-zeroed",
            "The same, and the header of the DATA record is zero: nothing of the inner log comes up. COMMIT 2 in the next block promises all below 21744; its own transaction began inside the damage.",
            outer().zero(0, 8192..8216),
            Expected { salvageable: 2, damage: vec![(ONE, 8192, BLOCK - 8192, "checksum", None)], ..hit(8192) },
        ),
        case(
            "log-in-log-header-flipped",
            "The same, and one bit of the DATA record's header is flipped: it is put back, and reading goes on behind the record.",
            outer().flip(0, 8200, 5),
            Expected {
                salvageable: 4,
                salvageable_transactions: 1,
                damage: vec![(ONE, 8192, 24 + C3, "checksum", Some((8200, 5)))],
                ..hit(8192)
            },
        ),
    ]
}
