//! Logs of several segments.
//!
//! Most are [`chained`]: segment 1 holds transactions 1 and 2 (five records up to 11400) and a SEAL of 32 bytes, segment 2 holds
//! transaction 3 (a WRITE of 48 bytes and a COMMIT, up to 8288) and a SEAL, segment 3 transaction 4, the same up to 8288. In
//! the last one no sync is promised, so its commit is undecided; a later segment proves all others.

use super::single::{C1, C2, SETLEN, two};
use super::support::{Bench, Disk, Noise};
use super::{Case, Damage, Expected, ONE, THREE, TWO};
use waltool::formats::native::layout::{HEADER_LEN, Lsn, SegmentHeader, TWIN};

/// A transaction of a WRITE of twelve bytes, from 8192 to 8288.
fn small(bench: &mut Bench) {
    bench.write(0, b"a good night");
    assert_eq!(bench.commit(), C1);
}

fn chained() -> Disk {
    let mut bench = two();
    bench.rotate();
    small(&mut bench);
    bench.rotate();
    small(&mut bench);
    bench.disk()
}

const SEALED1: u64 = C2 + 32;
const SEALED2: u64 = C1 + 32;

fn clean() -> Expected {
    Expected { valid_end: (THREE, C1), committed_end: (THREE, C1), ..Expected::clean(6 + 3 + 2, 4, 0) }
}

/// Segment 1 is whole, its SEAL included, and what follows it does not continue it.
fn broken_after_first(salvageable: u64, transactions: u64, damage: Vec<Damage>) -> Expected {
    Expected {
        verdict: "incomplete",
        records: 6,
        transactions: 2,
        valid_end: (ONE, SEALED1),
        committed_end: (ONE, C2),
        salvageable,
        salvageable_transactions: transactions,
        damage,
        ..clean()
    }
}

/// A segment that both copies of another header begin.
fn reheaded(mut disk: Disk, segment: usize, change: impl FnOnce(&mut SegmentHeader)) -> Disk {
    let mut header = SegmentHeader::parse(disk.file(segment)).unwrap();
    change(&mut header);
    for at in [0, TWIN] {
        disk.file(segment)[at..at + HEADER_LEN].copy_from_slice(&header.encode());
    }
    disk
}

pub fn cases() -> Vec<Case> {
    [whole(), gaps(), hits()].into_iter().flatten().collect()
}

fn whole() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let mut closed = two();
    closed.rotate();
    small(&mut closed);
    closed.rotate();
    small(&mut closed);
    closed.promise();
    assert_eq!(closed.close(), C1 + 48);
    let mut just_rotated = two();
    just_rotated.rotate();
    let mut recovered = two();
    recovered.write(50, b"never committed");
    recovered.recover(|file| file.extend_from_slice(&Noise(3).bytes(700)));
    small(&mut recovered);
    let mut refused = two();
    refused.promise();
    // A WRITE of 24 + 8 + 1600 bytes, of which a sector is lost, and its COMMIT, which arrived.
    let write_end = refused.write(60, &[9; 1600]);
    assert_eq!(write_end, C2 + 1632);
    assert_eq!(refused.commit(), C2 + 1680);
    refused.recover_at(C2, 3, |file| file[12288..12800].fill(0));
    small(&mut refused);
    let second =
        |records| Expected { valid_end: (TWO, C1), committed_end: (TWO, C1), ..Expected::clean(records, 3, 0) };
    vec![
        case("rotated", "Three segments, each sealed for the next; the last is open.", chained(), clean()),
        case(
            "rotated-closed",
            "The same, and the last segment is closed.",
            closed.disk(),
            Expected {
                records: 12,
                undecided: 0,
                valid_end: (THREE, C1 + 48),
                committed_end: (THREE, C1 + 48),
                ..clean()
            },
        ),
        case(
            "just-rotated",
            "Segment 1 is sealed, segment 2 has headers and no record. What is committed last stands in segment 1.",
            just_rotated.disk(),
            Expected {
                records: 6,
                transactions: 2,
                valid_end: (TWO, 8192),
                committed_end: (ONE, C2),
                undecided: 0,
                ..clean()
            },
        ),
        case(
            "residue",
            "A crash left a WRITE without COMMIT (24 + 8 + 16 bytes) and 700 bytes of noise in segment 1; recovery began segment 2, which says that segment 1 ends before them. Neither is damage.",
            recovered.disk(),
            Expected { stale_bytes: 48 + 700, ..second(5 + 2) },
        ),
        case(
            "residue-with-commit",
            "A crash lost a sector of transaction 3's WRITE in segment 1, but its COMMIT arrived. Recovery counted segment 1 up to 11400 and began segment 2 with another transaction 3. The old one is never evidence.",
            refused.disk(),
            Expected { stale_bytes: 1680, ..second(5 + 2) },
        ),
        case(
            "torn-seal",
            "The crash came while the SEAL was written: segment 2 is there and vouches for segment 1, so half a SEAL is residue.",
            {
                let mut bench = two();
                bench.rotate();
                bench.disk().cut(0, C2 + 20)
            },
            Expected {
                records: 5,
                transactions: 2,
                valid_end: (TWO, 8192),
                committed_end: (ONE, C2),
                undecided: 0,
                stale_bytes: 20,
                ..clean()
            },
        ),
    ]
}

fn gaps() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let mut foreign = chained();
    let mut stranger = Bench::of(b"some other log..");
    small(&mut stranger);
    stranger.rotate();
    small(&mut stranger);
    *foreign.file(1) = stranger.disk().0.remove(1).1;
    let mut doubled = chained().lose(2);
    doubled.0.push((THREE.into(), doubled.0[1].1.clone()));
    // Segment 2 of a log that went another way after segment 1: other nonces.
    let forked = reheaded(chained().lose(2), 1, |header| header.prev_nonce ^= 1);
    let lost = |salvageable, transactions, damage| Expected {
        records: 0,
        transactions: 0,
        valid_end: (TWO, 0),
        committed_end: (TWO, 0),
        ..broken_after_first(salvageable, transactions, damage)
    };
    let mut written_on = two();
    for _ in 0..2 {
        assert_eq!(written_on.promise(), written_on.end());
        written_on.write(0, b"a good night");
        written_on.commit();
    }
    written_on.recover_at(C2, 3, |_| ());
    small(&mut written_on);
    let written_on = written_on.disk();
    let mut stray = reheaded(chained(), 2, |header| header.redo_lsn = Lsn::new(2, 8192)).lose(0);
    let mut other = Bench::of(b"some other log..");
    small(&mut other);
    stray.0.insert(0, other.disk().0.remove(0));
    vec![
        case(
            "foreign-segment-in-front",
            "The log begins with segment 2, by the header of segment 3, and segment 1 of another log was put before it. Two of the three segments are of the log.",
            stray,
            Expected {
                valid_end: (ONE, 0),
                committed_end: (ONE, 0),
                stale_bytes: C1,
                ..lost(3 + 2, 2, vec![(ONE, 0, 0, "foreign-segment", None)])
            },
        ),
        case(
            "two-writers",
            "Recovery ended segment 1 at 11400 and began segment 2, and the program before it wrote on in segment 1: transaction 3, 96 bytes, a sync, and transaction 4, whose COMMIT promises 11496. The program that recovered would have counted what is promised.",
            written_on,
            Expected {
                verdict: "corrupt",
                records: 5,
                valid_end: (ONE, C2),
                ..broken_after_first(2, 1, vec![(ONE, C2, 192, "two-writers", None)])
            },
        ),
        case(
            "lowest-segment-lost",
            "Segment 1 is not there. By every header replay starts in it, and no checkpoint was committed, so nobody was allowed to remove it.",
            chained().lose(0),
            lost(3 + 2, 2, vec![(TWO, 0, 0, "missing-segment", None)]),
        ),
        case(
            "redo-beyond-end",
            "The header of segment 2 says that replay starts in segment 9. Nothing in a log can say so before there is a segment 9.",
            reheaded(chained(), 1, |header| header.redo_lsn = Lsn::new(9, 8192)),
            broken_after_first(3 + 2, 2, vec![(TWO, 0, 0, "redo-ahead", None)]),
        ),
        case(
            "prev-end-inside-transaction",
            "The header of segment 2 says that segment 1 ends at 11320, inside transaction 2, where no COMMIT ends. What is behind that in segment 1 is residue by that word.",
            reheaded(chained(), 1, |header| header.prev_end = SETLEN as u32),
            Expected {
                records: 3,
                transactions: 1,
                valid_end: (ONE, SETLEN),
                committed_end: (ONE, C1),
                stale_bytes: SEALED1 - SETLEN,
                ..broken_after_first(3 + 2, 2, vec![(TWO, 0, 0, "end-mismatch", None)])
            },
        ),
        case(
            "first-transaction-skips",
            "The header of segment 2 says that it begins with transaction 8. Segment 1, which is intact up to its end, ends with transaction 2.",
            reheaded(chained(), 1, |header| header.first_transaction = 8),
            broken_after_first(3 + 2, 2, vec![(TWO, 0, 0, "transaction-mismatch", None)]),
        ),
        case(
            "missing-segment",
            "Segment 2 is not there. Segment 1 was sealed for it.",
            chained().lose(1),
            broken_after_first(2, 1, vec![(THREE, 0, 0, "missing-segment", None)]),
        ),
        case(
            "missing-successor",
            "Segments 2 and 3 are not there. The SEAL of segment 1 proves that there was a segment 2.",
            chained().lose(2).lose(1),
            Expected { undecided: 0, ..broken_after_first(0, 0, vec![(ONE, SEALED1, 0, "missing-successor", None)]) },
        ),
        case(
            "foreign-segment",
            "Segment 2 is that of another log. Its bytes are nobody's records here.",
            foreign,
            Expected { stale_bytes: C1, ..broken_after_first(2, 1, vec![(TWO, 0, 0, "foreign-segment", None)]) },
        ),
        case(
            "swapped-segments",
            "Segments 2 and 3 have each other's names. Neither is read, so nothing is replayed backwards.",
            chained().swap(1, 2),
            Expected {
                undecided: 0,
                stale_bytes: SEALED2 + C1,
                ..broken_after_first(
                    0,
                    0,
                    vec![(TWO, 0, 0, "misplaced-segment", None), (THREE, 0, 0, "misplaced-segment", None)],
                )
            },
        ),
        case(
            "doubled-segment",
            "Segment 2, sealed, is there again under the name of segment 3. The copy is not read, so nothing counts twice.",
            doubled,
            Expected {
                records: 9,
                transactions: 3,
                valid_end: (TWO, SEALED2),
                committed_end: (TWO, C1),
                undecided: 0,
                stale_bytes: SEALED2,
                ..broken_after_first(0, 0, vec![(THREE, 0, 0, "misplaced-segment", None)])
            },
        ),
        case(
            "forked-segment",
            "Segment 2 continues a segment 1 with another nonce: another version of this log.",
            forked,
            // Sealed for a segment 3 that is not there either.
            Expected {
                undecided: 0,
                ..broken_after_first(
                    3,
                    1,
                    vec![(TWO, 0, 0, "forked-segment", None), (TWO, SEALED2, 0, "missing-successor", None)],
                )
            },
        ),
    ]
}

fn hits() -> Vec<Case> {
    let case = |name, origin, disk, expected| Case { name, origin, disk, expected };
    let first_transaction = |salvageable, transactions, damage| Expected {
        verdict: "corrupt",
        records: 2,
        transactions: 1,
        valid_end: (ONE, C1),
        committed_end: (ONE, C1),
        salvageable,
        salvageable_transactions: transactions,
        damage: vec![damage],
        ..clean()
    };
    let end = SEALED1;
    vec![
        case(
            "cut-below-prev-end",
            "Segment 1 is cut at 9000, inside the WRITE of transaction 2; segment 2 says that it was valid up to 11400.",
            chained().cut(0, 9000),
            first_transaction(5, 2, (ONE, C1, 9000 - C1, "cut", None)),
        ),
        case(
            "cut-between-records-below-prev-end",
            "Segment 1 is cut at 8288, between two transactions; segment 2 says that it was valid up to 11400.",
            chained().cut(0, C1),
            first_transaction(5, 2, (ONE, C1, 0, "cut", None)),
        ),
        case(
            "zeroed-below-prev-end",
            "All of segment 1 from 8288 on is zero. Zeros at the end of a log are space never written, but segment 2 says that it was valid up to 11400.",
            chained().zero(0, C1..end),
            first_transaction(5, 2, (ONE, C1, C2 - C1, "hole", None)),
        ),
        case(
            "headers-zeroed-before-last",
            "Both headers of segment 2 are zero. Its records say which segment they are of, and segment 3 where it ends.",
            chained().zero(1, 0..8192),
            Expected {
                verdict: "corrupt",
                damage: vec![(TWO, 0, 8192, "header", None)],
                ..broken_after_first(5, 2, Vec::new())
            },
        ),
    ]
}
