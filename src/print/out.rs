//! Standard output behind one buffer.

use std::fmt::{self, Display, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use waltool::Error;

/// The buffer is written out when it holds this much.
const FULL: usize = 64 * 1024;
/// What a pipe may hold: fewer and longer writes for the reader at its other end.
#[cfg(target_os = "linux")]
const PIPE: usize = 1024 * 1024;

/// Standard output. Writing into it cannot fail; [`settle`](Out::settle), at the end of each line, says what did.
pub struct Out {
    file: File,
    buffer: Vec<u8>,
    full: usize,
    failed: Option<io::Error>,
}

impl Out {
    /// Standard output of this process; on a terminal each line is shown at once.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated.
    pub fn stdout(terminal: bool) -> Result<Self, Error> {
        let file = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        // Only a pipe has a size, and a user may be over their limit of pages; it works without.
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE);
        Ok(Self::new(file.into(), if terminal { 0 } else { FULL }))
    }

    fn new(file: File, full: usize) -> Self {
        Self { file, buffer: Vec::with_capacity(FULL + FULL / 4), full, failed: None }
    }

    /// Bytes as they are. Inlined, a literal is a few stores instead of a call.
    #[inline(always)]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Text as it is.
    #[inline]
    pub fn text(&mut self, text: impl Display) {
        // A `String`'s and this buffer's writing never fails.
        let _ = write!(self, "{text}");
    }

    /// Text and a line's end.
    pub fn line(&mut self, text: impl Display) {
        self.text(text);
        self.put(b"\n");
    }

    /// A number in decimal.
    #[inline]
    pub fn number(&mut self, number: u64) {
        self.put(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Eight hexadecimal digits.
    #[inline]
    pub fn hex32(&mut self, number: u32) {
        self.hex(&number.to_be_bytes());
    }

    /// Bytes in hexadecimal. Long ones leave in parts, so that memory stays flat.
    #[inline]
    pub fn hex(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(FULL / 2) {
            if self.buffer.len() >= FULL {
                self.write_out();
            }
            super::hex::encode(part, &mut self.buffer);
        }
    }

    /// What `print` writes, instead of writing it.
    pub fn taken(&mut self, print: impl FnOnce(&mut Out)) -> Vec<u8> {
        let start = self.buffer.len();
        print(self);
        self.buffer.split_off(start)
    }

    /// A line is complete: writes out when enough has come together.
    ///
    /// # Errors
    /// [`Error::Write`] for whatever failed since the last time.
    #[inline]
    pub fn settle(&mut self) -> Result<(), Error> {
        if self.buffer.len() >= self.full { self.flush() } else { Ok(()) }
    }

    /// Writes out all there is.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out();
        self.failed.take().map_or(Ok(()), |error| Err(failed(error)))
    }

    /// Nothing more will come.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn finish(mut self) -> Result<(), Error> {
        self.flush()
    }

    fn write_out(&mut self) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(&self.buffer).err();
        }
        self.buffer.clear();
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

fn failed(source: io::Error) -> Error {
    Error::write(Path::new("standard output"), "write", source)
}

#[cfg(test)]
impl Out {
    /// What `print` writes, as text.
    pub fn captured(print: impl FnOnce(&mut Out)) -> String {
        let file = File::options().write(true).open("/dev/null").expect("the null device");
        let mut out = Self::new(file, FULL);
        print(&mut out);
        String::from_utf8(out.buffer).expect("UTF-8")
    }
}
