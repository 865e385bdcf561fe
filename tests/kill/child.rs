//! The program that is killed.

use std::fmt;
use std::io::Write;
use std::path::Path;

use waltool::formats::native::layout::Lsn;
use waltool::wal::{Durability, Options, Wal};

use super::support::{Noise, pattern};

const THREADS: u32 = 4;

/// A transaction: which opening of the log, which thread in it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub session: u32,
    pub thread: u32,
    pub number: u32,
}

impl Name {
    const LEN: usize = 12;

    fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        for (part, value) in bytes.chunks_mut(4).zip([self.session, self.thread, self.number]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// The name that the data of a transaction begins with.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let field = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
        Some(Self { session: field(0)?, thread: field(4)?, number: field(8)? })
    }

    fn noise(self) -> Noise {
        let mixed = [self.session, self.thread, self.number].iter().fold(1_u64, |mixed, &field| {
            (mixed ^ u64::from(field)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        });
        Noise(mixed | 1)
    }

    /// What the transaction holds: data that begins with its name, and perhaps a write.
    pub fn content(self) -> (Vec<u8>, Option<(u64, Vec<u8>)>) {
        let mut noise = self.noise();
        let mut len = || match noise.below(16) {
            0..12 => noise.below(300),
            12..15 => noise.below(5000),
            _ => noise.below(120_000),
        };
        let (data, bytes) = (len(), len());
        let data = [&self.encode()[..], &pattern(data, self.number as usize)].concat();
        let write = (bytes % 2 == 1).then(|| (bytes as u64 * 7, pattern(bytes, self.thread as usize)));
        (data, write)
    }

    pub fn durability(self) -> Durability {
        let durabilities = [Durability::Durable, Durability::Durable, Durability::Written, Durability::Buffered];
        durabilities[(self.noise().next() % 4) as usize]
    }
}

/// What the child says.
#[derive(Clone, Copy, Debug)]
pub enum Line {
    /// It is about to open the log, or has.
    Step,
    /// A commit has returned.
    Committed { thread: u32, number: u32, lsn: Lsn },
    /// It is about to say that all up to there is applied.
    Applied(Lsn),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step => write!(f, "@ step"),
            Self::Committed { thread, number, lsn } => write!(f, "@ committed {thread} {number} {}", lsn.0),
            Self::Applied(lsn) => write!(f, "@ applied {}", lsn.0),
        }
    }
}

impl Line {
    /// A line of the child's; others are the test harness's.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix("@ ")?.trim_end().split(' ');
        let kind = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect("a number");
        Some(match kind {
            "step" => Self::Step,
            "committed" => Self::Committed { thread: number() as u32, number: number() as u32, lsn: Lsn(number()) },
            "applied" => Self::Applied(Lsn(number())),
            other => panic!("{other}"),
        })
    }

    /// One line is one write: a kill does not cut it.
    fn say(&self) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{self}").and_then(|()| out.flush()).expect("somebody listens");
    }
}

/// Opens the log and commits until it is killed.
pub fn write(path: &Path, session: u32) {
    Line::Step.say();
    let options = Options::new().segment_bytes(150_000).zero_fill(session.is_multiple_of(3));
    let wal = options.open(path).expect("what a kill left can be opened");
    Line::Step.say();
    let wal = &wal;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || commit_for_ever(wal, session, thread));
        }
    });
}

fn commit_for_ever(wal: &Wal, session: u32, thread: u32) {
    for number in 0.. {
        let name = Name { session, thread, number };
        let (data, write) = name.content();
        let mut transaction = wal.begin();
        transaction.data(&data);
        if let Some((offset, bytes)) = &write {
            transaction.write(*offset, bytes);
        }
        let lsn = transaction.commit_with(name.durability()).expect("a commit");
        Line::Committed { thread, number, lsn }.say();
        if thread == 0 && number % 11 == 10 {
            Line::Applied(lsn).say();
            wal.checkpoint(lsn, 0).expect("a checkpoint");
        }
    }
}
