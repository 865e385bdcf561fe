//! The sliding buffer between a segment's bytes and its parser: the only place that reads log bytes in bulk.
//!
//! Reads of 256 KiB stay in a core's second-level cache while they are checked and lent to the caller.

use std::io::{self, Read};
use std::sync::Arc;

use crate::vfs::VfsFile;

/// Bytes that one read asks for.
pub const WINDOW: usize = 256 * 1024;

/// Where bytes come from.
pub enum Source {
    /// A regular file of this length: what is appended later is not looked at.
    File {
        /// Open for reading.
        file: Box<dyn VfsFile>,
        /// Its length when it was opened.
        len: u64,
    },
    /// Bytes that cannot be read twice.
    Stream(Box<dyn Read + Send>),
    /// Bytes in memory.
    Memory(Arc<[u8]>),
}

impl Source {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::File { file, len } => {
                    let left = len.saturating_sub(offset).min(buffer.len() as u64) as usize;
                    file.read_at(&mut buffer[..left], offset)
                }
                Self::Stream(stream) => stream.read(buffer),
                Self::Memory(bytes) => {
                    let rest = bytes.get(offset as usize..).unwrap_or_default();
                    let len = rest.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&rest[..len]);
                    Ok(len)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// The bytes from `offset` to the next that are really stored; 0 where there is no hole, or nobody knows.
    pub fn hole(&self, offset: u64) -> u64 {
        match self {
            Self::File { file, len } => file.hole(offset, *len),
            Self::Stream(_) | Self::Memory(_) => 0,
        }
    }
}

/// The bytes at hand of one segment.
pub struct Window {
    source: Source,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset in the segment of `buffer[start]`.
    offset: u64,
    chunk: usize,
    ended: bool,
}

impl Window {
    /// A window at `offset` of the source, that reads `chunk` bytes at a time. `buffer` is reused.
    pub fn new(source: Source, offset: u64, chunk: usize, buffer: Vec<u8>) -> Self {
        Self { source, buffer, start: 0, end: 0, offset, chunk: chunk.max(1), ended: false }
    }

    /// What is at hand.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Where the window begins in the segment.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Nothing more will come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The range of the next `len` bytes, for [`taken`](Self::taken), and a move behind them.
    pub fn take(&mut self, len: usize) -> usize {
        let at = self.start;
        assert!(len <= self.end - at, "a step longer than its input");
        self.start += len;
        self.offset += len as u64;
        at
    }

    /// Bytes taken since the last [`fill`](Self::fill), by their place in the buffer.
    pub fn taken(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Reads until `need` bytes are at hand or the source ends. What was taken before is gone after this.
    pub fn fill(&mut self, need: usize) -> io::Result<()> {
        while self.end - self.start < need && !self.ended {
            let room = need.max(self.chunk);
            if self.buffer.len() < self.start + room {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
                if self.buffer.len() < room {
                    self.buffer.resize(room, 0);
                }
            }
            let to = self.buffer.len().min(self.end + self.chunk);
            let at = self.offset + (self.end - self.start) as u64;
            match self.source.read_at(&mut self.buffer[self.end..to], at)? {
                0 => self.ended = true,
                n => self.end += n,
            }
        }
        Ok(())
    }

    /// Passes `len` bytes that are known to be zeros without reading them.
    pub fn pass(&mut self, len: u64) {
        let held = len.min((self.end - self.start) as u64);
        self.start += held as usize;
        self.offset += len;
        if held < len {
            (self.start, self.end, self.ended) = (0, 0, false);
        }
    }

    /// Begins again at `offset`, with fresh bytes. Not for streams.
    pub fn restart(&mut self, offset: u64) {
        (self.start, self.end, self.offset, self.ended) = (0, 0, offset, false);
    }

    /// Whether a file has these bytes at `offset` now.
    pub fn still_has(&mut self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let mut now = vec![0; bytes.len()];
        let mut filled = 0;
        while filled < now.len() {
            match self.source.read_at(&mut now[filled..], offset + filled as u64)? {
                0 => return Ok(false),
                n => filled += n,
            }
        }
        Ok(now == bytes)
    }

    /// See [`Source::hole`].
    pub fn hole(&self) -> u64 {
        self.source.hole(self.offset)
    }

    /// The buffer, for the next window.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The length that the source had when it was opened, for a file.
    pub fn file_len(&self) -> Option<u64> {
        match &self.source {
            Source::File { len, .. } => Some(*len),
            Source::Stream(_) | Source::Memory(_) => None,
        }
    }

    /// The length that a file has now; of anything else, what was read of it.
    pub fn len_now(&self) -> io::Result<u64> {
        match &self.source {
            Source::File { file, .. } => Ok(file.stat()?.len),
            Source::Stream(_) | Source::Memory(_) => Ok(self.offset + self.bytes().len() as u64),
        }
    }
}
