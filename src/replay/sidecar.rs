//! The file beside a target that says how far a log has been applied to it: `<target>.waltool-applied`.
//!
//! ```text
//! file   0             4096          8192
//!        +-------------+-------------+
//!        | slot        | slot        |   each in a page of its own: a torn write takes one of them
//!        +-------------+-------------+
//!
//! slot   0      8     10      12      16        24       40          56        64     72    80    84   124   128   4096
//!        +------+-----+-------+-------+---------+--------+-----------+---------+------+-----+-----+----+-----+-----+
//!        |magic | ver | state |proven |sequence | log id | target id | applied | high | len | CRC | 0  | CRC | 0   |
//!        +------+-----+-------+-------+---------+--------+-----------+---------+------+-----+-----+----+-----+-----+
//! ```
//!
//! Little-endian. A slot is valid if and only if
//! 1. bytes 0..8 are [`MAGIC`];
//! 2. bytes 124..128 are the CRC-32 of bytes 0..124;
//! 3. the version is at most [`VERSION`], and not 0 (else it is newer than this code, not broken);
//! 4. bytes 84..124 and 128..4096 are zero; in version 1 the field at 12 and bytes 72..84 too; in version 2 the field at 12 is 1, and in the
//!    state replaying bytes 72..84 are zero;
//! 5. the sequence number is odd in the first slot; even, and not 0, in the second;
//! 6. the state is 1 (replaying) and `applied` is at most `high`, or it is 2 (clean) and they are equal.
//!
//! A sidecar is valid if and only if it is 8192 bytes long and one of its slots is valid at least; the one of the higher sequence number counts.
//! A new state goes to the other slot and is synced, so whatever becomes of that write, one of the two states is there.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Content;
use crate::durable::{self, Temp};
use crate::error::{Error, Result};
use crate::rights::Origin;
use crate::vfs::{self, Access, Disk, Vfs, VfsFile};
use crate::{bytes, checksum};

/// The first bytes of a slot. The high bit and the line end inside show damage by a transfer in text mode.
pub const MAGIC: [u8; 8] = *b"\x89WALA\r\n\x1a";
/// The highest version read here. Each slot has the lowest that can say it.
pub const VERSION: u16 = 2;
/// What the name of a sidecar has behind the target's.
const SUFFIX: &str = ".waltool-applied";
/// What a slot has to itself: no write and no bad sector takes both.
pub const PAGE: usize = 4096;
/// The length of a sidecar.
pub const LEN: usize = 2 * PAGE;

mod slot {
    use super::Range;

    pub const MAGIC: Range<usize> = 0..8;
    pub const VERSION: Range<usize> = 8..10;
    pub const STATE: Range<usize> = 10..12;
    pub const PROVEN: Range<usize> = 12..16;
    pub const SEQUENCE: Range<usize> = 16..24;
    pub const LOG_ID: Range<usize> = 24..40;
    pub const TARGET_ID: Range<usize> = 40..56;
    pub const APPLIED: Range<usize> = 56..64;
    pub const HIGH: Range<usize> = 64..72;
    pub const LEN: Range<usize> = 72..80;
    pub const CONTENT_CRC: Range<usize> = 80..84;
    pub const ZERO_A: Range<usize> = 84..124;
    pub const CHECKED: Range<usize> = 0..124;
    pub const CRC: Range<usize> = 124..128;
    pub const ZERO_B: Range<usize> = 128..super::PAGE;
}

/// Whether the target is at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being changed, or a run that changed it was interrupted.
    Replaying,
    /// It is at one commit, and that is on the disk.
    Clean,
}

impl State {
    const ALL: [Self; 2] = [Self::Replaying, Self::Clean];

    /// Its name in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replaying => "replaying",
            Self::Clean => "clean",
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Replaying => 1,
            Self::Clean => 2,
        }
    }
}

/// What was compared with the log's own statements about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: the log makes none, or the target was in no state of it.
    None,
    /// Before the replay the target was in a state of the log.
    Before,
    /// So it was, and the replay made this of it.
    After(Content),
}

/// What is said of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whether it is at rest.
    pub state: State,
    /// The log that is applied to it.
    pub log_id: [u8; 16],
    /// The target that the log is about; zeros where it does not say.
    pub target_id: [u8; 16],
    /// All of the log below this LSN is applied and synced in the target.
    pub applied: u64,
    /// The target holds nothing of the log from this LSN on.
    pub high: u64,
    /// What shows that it is the log's target.
    pub proof: Proof,
}

/// A mark as it stands in a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From 1; each new mark has the next.
    pub sequence: u64,
    /// What it says.
    pub mark: Mark,
}

enum Fault {
    Broken,
    Newer(u16),
}

impl Slot {
    /// Where in the sidecar a slot of this sequence number stands.
    fn page(sequence: u64) -> usize {
        if sequence.is_multiple_of(2) { 1 } else { 0 }
    }

    fn encode(&self) -> Vec<u8> {
        let Mark { state, log_id, target_id, applied, high, proof } = self.mark;
        let mut page = vec![0; PAGE];
        let version: u16 = if proof == Proof::None { 1 } else { VERSION };
        page[slot::MAGIC].copy_from_slice(&MAGIC);
        page[slot::VERSION].copy_from_slice(&version.to_le_bytes());
        page[slot::STATE].copy_from_slice(&state.number().to_le_bytes());
        page[slot::SEQUENCE].copy_from_slice(&self.sequence.to_le_bytes());
        page[slot::LOG_ID].copy_from_slice(&log_id);
        page[slot::TARGET_ID].copy_from_slice(&target_id);
        page[slot::APPLIED].copy_from_slice(&applied.to_le_bytes());
        page[slot::HIGH].copy_from_slice(&high.to_le_bytes());
        page[slot::PROVEN].copy_from_slice(&u32::from(proof != Proof::None).to_le_bytes());
        if let Proof::After(Content { len, crc }) = proof {
            page[slot::LEN].copy_from_slice(&len.to_le_bytes());
            page[slot::CONTENT_CRC].copy_from_slice(&crc.to_le_bytes());
        }
        let sum = checksum::crc32(&page[slot::CHECKED]);
        page[slot::CRC].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// Reads the slot at `index`; `page` is all of it. The CRC is checked before the version is believed.
    fn parse(page: &[u8; PAGE], index: usize) -> Result<Self, Fault> {
        if page[slot::MAGIC] != MAGIC || bytes::u32_le(&page[slot::CRC]) != checksum::crc32(&page[slot::CHECKED]) {
            return Err(Fault::Broken);
        }
        let version = bytes::u16_le(&page[slot::VERSION]);
        if !(1..=VERSION).contains(&version) {
            return Err(Fault::Newer(version));
        }
        let number = bytes::u16_le(&page[slot::STATE]);
        let state = State::ALL.into_iter().find(|state| state.number() == number).ok_or(Fault::Broken)?;
        let sequence = bytes::u64_le(&page[slot::SEQUENCE]);
        let (applied, high) = (bytes::u64_le(&page[slot::APPLIED]), bytes::u64_le(&page[slot::HIGH]));
        let content = Content { len: bytes::u64_le(&page[slot::LEN]), crc: bytes::u32_le(&page[slot::CONTENT_CRC]) };
        let proof = match (version, bytes::u32_le(&page[slot::PROVEN]), state) {
            (1, 0, _) => Proof::None,
            (2, 1, State::Replaying) => Proof::Before,
            (2, 1, State::Clean) => Proof::After(content),
            _ => return Err(Fault::Broken),
        };
        let has_content = matches!(proof, Proof::After(_)) || content == Content { len: 0, crc: 0 };
        let zero = [slot::ZERO_A, slot::ZERO_B].into_iter().all(|zero| bytes::all_zero(&page[zero]));
        let in_order = match state {
            State::Replaying => applied <= high,
            State::Clean => applied == high,
        };
        if !zero || !has_content || !in_order || sequence == 0 || Self::page(sequence) != index {
            return Err(Fault::Broken);
        }
        let (log_id, target_id) = (id(&page[slot::LOG_ID]), id(&page[slot::TARGET_ID]));
        Ok(Self { sequence, mark: Mark { state, log_id, target_id, applied, high, proof } })
    }
}

fn id(field: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(field);
    id
}

/// The sidecar of `target`, which is the file itself and no symbolic link to it.
pub fn path_of(target: &Path) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

/// The file, which begins with `head`, is a sidecar by its name or its content.
pub(super) fn is_one(file: &Path, head: &[u8]) -> bool {
    file.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) || head.starts_with(&MAGIC)
}

/// What the sidecar of `target` says; `None` where there is none.
///
/// # Errors
/// [`Error::Refused`] where both slots are damaged, [`Error::TooNew`], [`Error::Read`].
pub fn look(disk: &dyn Vfs, target: &Path) -> Result<Option<Slot>> {
    let path = path_of(target);
    match disk.open(&path, Access::Read) {
        Ok(file) => read(&*file, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::read(&path, source)),
    }
}

fn read(file: &dyn VfsFile, path: &Path) -> Result<Slot> {
    let failed = |source| Error::read(path, source);
    let stat = file.stat().map_err(failed)?;
    crate::log::regular(path, stat.kind)?;
    // After a failed sync memory may hold what the disk has not, and the next mark must not be written over what it has.
    file.drop_clean();
    let mut bytes = vec![0; stat.len.min(LEN as u64) as usize];
    vfs::read_exact_at(file, &mut bytes, 0).map_err(failed)?;
    let mut newest: Option<Slot> = None;
    for (index, page) in bytes.as_chunks::<PAGE>().0.iter().enumerate() {
        match Slot::parse(page, index) {
            Ok(slot) if newest.is_none_or(|newest| newest.sequence < slot.sequence) => newest = Some(slot),
            Ok(_) | Err(Fault::Broken) => {}
            Err(Fault::Newer(version)) => {
                let (offset, value) = ((index * PAGE) as u64, version.into());
                return Err(Error::TooNew { path: path.into(), offset, what: "version", value });
            }
        }
    }
    newest.filter(|_| stat.len == LEN as u64).ok_or_else(|| damaged(path))
}

fn damaged(path: &Path) -> Error {
    let why = format!(
        "it is damaged, so how far the log has reached the target is not known\n  \
         from an older copy BASE of the target:     waltool replay LOG --onto BASE --output NEW\n  \
         if nothing later than is asked for has:    rm {}",
        crate::quoted(path)
    );
    Error::refused(path, why)
}

/// A sidecar, open to be changed. Nobody else can change it until this is dropped.
pub struct Sidecar {
    file: Box<dyn VfsFile>,
    path: PathBuf,
    slot: Slot,
}

impl Sidecar {
    /// Opens the sidecar of `target`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Refused`] while another run has it open; as [`look`].
    pub fn open(disk: &dyn Vfs, target: &Path) -> Result<Option<Self>> {
        let path = path_of(target);
        let file = match disk.open(&path, Access::Change) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|source| Error::write(&path, "open for writing", source))?,
        };
        if !file.try_lock().map_err(|source| Error::write(&path, "lock", source))? {
            return Err(Error::refused(&path, "another waltool is changing its target"));
        }
        let slot = read(&*file, &path)?;
        Ok(Some(Self { file, path, slot }))
    }

    /// Creates the sidecar of `target`, with the rights that `origin` says, and opens it. When it returns, the mark is on the disk; before that
    /// nothing has the name.
    ///
    /// # Errors
    /// [`Error::Write`]; as [`open`](Self::open).
    pub fn create(disk: &Disk, target: &Path, origin: Origin, mark: Mark) -> Result<Self> {
        let path = path_of(target);
        let slot = Slot { sequence: 1, mark };
        let temp = Temp::file(disk, &path, origin)?;
        durable::write_at(temp.handle(), temp.path(), &slot.encode(), 0)?;
        durable::set_len(temp.handle(), temp.path(), LEN as u64)?;
        temp.place_new()?;
        match Self::open(&**disk, target)? {
            Some(sidecar) if sidecar.slot == slot => Ok(sidecar),
            _ => Err(Error::refused(&path, "another waltool is changing its target")),
        }
    }

    /// What it says.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Says something new. When it returns, that is on the disk.
    ///
    /// # Errors
    /// [`Error::Write`]: it then says the new or the old.
    pub fn say(&mut self, mark: Mark) -> Result<()> {
        let slot = Slot { sequence: self.slot.sequence + 1, mark };
        let offset = Slot::page(slot.sequence) * PAGE;
        durable::write_at(&*self.file, &self.path, &slot.encode(), offset as u64)?;
        durable::sync_data(&*self.file, &self.path)?;
        self.slot = slot;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        state: State::Replaying,
        log_id: [1; 16],
        target_id: [2; 16],
        applied: 1 << 32,
        high: 5 << 32,
        proof: Proof::None,
    };

    fn page(sequence: u64, mark: Mark) -> [u8; PAGE] {
        Slot { sequence, mark }.encode().try_into().expect("a page")
    }

    fn is_valid(page: &[u8; PAGE], index: usize) -> bool {
        Slot::parse(page, index).is_ok()
    }

    /// What holds but for its CRC.
    fn summed(mut page: [u8; PAGE]) -> [u8; PAGE] {
        let sum = checksum::crc32(&page[slot::CHECKED]);
        page[slot::CRC].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_slot_reads_as_it_was_written() {
        let clean = Mark { state: State::Clean, applied: MARK.high, ..MARK };
        let after = Proof::After(Content { len: 1 << 40, crc: u32::MAX });
        for mark in [MARK, clean, Mark { proof: Proof::Before, ..MARK }, Mark { proof: after, ..clean }] {
            let slot = Slot { sequence: 7, mark };
            assert!(matches!(Slot::parse(&page(7, mark), 0), Ok(read) if read == slot));
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_no_slot() {
        let whole = page(1, MARK);
        for bit in 0..8 * PAGE {
            let mut hit = whole;
            hit[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Slot::parse(&hit, 0), Err(Fault::Broken)), "bit {bit}");
        }
    }

    #[test]
    fn a_slot_stands_where_its_number_says() {
        for sequence in 1..5 {
            let index = (sequence as usize + 1) % 2;
            assert!(is_valid(&page(sequence, MARK), index) && !is_valid(&page(sequence, MARK), 1 - index));
        }
        assert!(!is_valid(&page(0, MARK), 1) && !is_valid(&page(0, MARK), 0));
    }

    #[test]
    fn a_slot_that_contradicts_itself_is_none() {
        assert!(!is_valid(&page(1, Mark { state: State::Clean, ..MARK }), 0));
        assert!(!is_valid(&page(1, Mark { applied: MARK.high + 1, ..MARK }), 0));
        for (at, value) in
            [(slot::STATE.start, 0), (slot::STATE.start, 3), (slot::PROVEN.start, 1), (slot::LEN.start, 1), (100, 1)]
        {
            let mut wrong = page(1, MARK);
            wrong[at] = value;
            assert!(matches!(Slot::parse(&summed(wrong), 0), Err(Fault::Broken)), "{value} at {at}");
        }
    }

    #[test]
    fn another_version_is_newer_and_not_broken() {
        let mut newer = page(1, MARK);
        newer[slot::VERSION.start] = 3;
        assert!(matches!(Slot::parse(&summed(newer), 0), Err(Fault::Newer(3))));
    }
}
