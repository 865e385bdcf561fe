//! Write-ahead logs: write one that survives crashes, and read, judge, repair and replay the logs that others left.
//!
//! The command `waltool` is made of this library; `README.md` shows how it rescues a damaged log. The bytes of the
//! native format are described in `docs/formats/native.md`.
//!
//! # A file that survives a crash
//!
//! A program that rewrites a file can leave half of it: after a crash, a power cut, on a full disk.
//! [`DurableFile`](wal::DurableFile) logs the change first, makes the log durable, and then replaces the file in one
//! step. Whoever reads the file sees the old state or the new one.
//!
//! ```
//! use waltool::wal::DurableFile;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("totals.txt");
//! let mut file = DurableFile::open(&path)?; // Whatever happened before, the file now has all that was committed.
//! let text = b"2026-11-20: 4711 orders, 12 refunds\n";
//! let mut transaction = file.begin();
//! transaction.write(0, text).set_len(text.len() as u64);
//! transaction.commit()?; // It is in the log, on the disk. The file is unchanged.
//! file.checkpoint()?; // The file is replaced.
//!
//! let shorter = b"2026-11-21: closed\n";
//! let mut transaction = file.begin();
//! // Without `set_len` the end of the longer text would stay after the shorter one.
//! transaction.write(0, shorter).set_len(shorter.len() as u64);
//! transaction.commit()?;
//! file.close()?;
//! assert_eq!(std::fs::read(&path)?, shorter);
//! # Ok(())
//! # }
//! ```
//!
//! # A log of your own operations
//!
//! A program that keeps its state elsewhere (in memory, in another store) logs its operations with [`Wal`](wal::Wal),
//! and reads them again when it starts. Threads share the log; commits that arrive together share one sync.
//!
//! ```
//! use waltool::wal::{Entry, Wal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.wal");
//! # {
//! let wal = Wal::open(&path)?;
//! let mut transaction = wal.begin();
//! transaction.data(b"order 4711").data(b"stock -1");
//! transaction.commit()?; // Both are on the disk, or, after a crash before this line, neither.
//! # }
//!
//! // After a restart: the operations that the state does not have yet.
//! let wal = Wal::open(&path)?;
//! let mut state: Vec<Vec<u8>> = Vec::new();
//! let committed = wal.committed(wal.redo_lsn())?;
//! let mut entries = committed.entries();
//! while let Some(logged) = entries.next()? {
//!     if let Entry::Data(operation) = logged.entry {
//!         state.push(operation.to_vec());
//!     }
//! }
//! assert_eq!(state, [b"order 4711".to_vec(), b"stock -1".to_vec()]);
//!
//! // Once the state itself is stored and synced, the log may forget these operations.
//! wal.checkpoint(committed.end(), 0)?;
//! wal.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A damaged log
//!
//! [`Log`] opens a log of any format that is known, [`Report`] judges it, and [`Scan`] gives every byte of it as a
//! [span](span::Span): records, headers, padding, damage. Reading changes nothing.
//!
//! ```
//! use waltool::span::Kind;
//! use waltool::{Log, Report, Scan, Verdict};
//! # use waltool::wal::Wal;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.wal");
//! # let wal = Wal::open(&path)?;
//! # for _ in 0..3 {
//! #     let mut transaction = wal.begin();
//! #     transaction.data(b"order 4711");
//! #     transaction.commit()?;
//! # }
//! # wal.close()?;
//! # let segment = path.join("00000001.wal");
//! # let mut bytes = std::fs::read(&segment)?;
//! # bytes[8192 + 30] ^= 1;
//! # std::fs::write(&segment, bytes)?;
//! let log = Log::open(&path, None)?;
//! let report = Report::of(&log, |_bytes_read| {})?;
//! assert_eq!(report.verdict(), Verdict::Corrupt);
//! println!("{}: {}", report.verdict(), report.proof().map(|proof| proof.to_string()).unwrap_or_default());
//! assert_eq!(report.beyond.transactions, 2); // complete, after the damage
//!
//! let mut scan = Scan::new(&log);
//! while let Some(found) = scan.next()? {
//!     if let Kind::Damage(fault) = found.span.kind {
//!         println!("{} bytes at offset {}: {fault}", found.span.len, found.span.offset);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `cli`, on by default, builds the command `waltool` and brings its crates (arguments, tables, JSON). It adds nothing
//! to the library. A program that uses the library takes `default-features = false`, and then depends on three
//! crates: `crc32fast`, `rustix` and `thiserror`.
//!
//! # Modules
//!
//! - To write: [`wal`]. On another file system, or a simulated one that loses its power in tests: [`vfs`].
//! - To read: [`log`], [`scan`], [`span`], [`report`], [`verdict`]; what is known of each format: [`formats`].
//! - To change what is there: [`repair`], [`salvage`], [`replay`], [`copy`], [`load`]. Each makes a plan, keeps what it
//!   removes, and can be run again after a crash at any moment.
//!
//! The other modules are the parts that these are made of. From the bottom up, each using only those before it:
//! [`bytes`], [`checksum`], [`bitflip`], [`error`], [`vfs`]; [`span`], [`tally`], [`decode`], [`format`](mod@format);
//! [`formats`]; [`log`], [`scan`]; [`verdict`], [`report`], [`ranges`]; [`durable`], [`locks`]; [`plan`], [`repair`],
//! [`quarantine`], [`salvage`], [`replay`], [`load`], [`copy`]; [`wal`].

pub mod bitflip;
pub mod bytes;
pub mod checksum;
pub mod copy;
pub mod decode;
pub mod durable;
pub mod error;
pub mod format;
pub mod formats;
pub mod load;
pub mod locks;
pub mod log;
mod parallel;
pub mod plan;
pub mod quarantine;
pub mod ranges;
pub mod repair;
pub mod replay;
pub mod report;
pub mod rights;
pub mod salvage;
pub mod scan;
mod shown;
pub mod span;
mod sparse;
pub mod tally;
pub mod verdict;
pub mod vfs;
pub mod wal;
mod window;

pub use error::{Error, Result};
pub use log::Log;
pub use report::Report;
pub use scan::Scan;
pub use shown::{Shown, quoted, shown};
pub use verdict::Verdict;

/// README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
