//! Standard output behind one buffer.

use std::fmt::{self, Display, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use waltool::Error;
use waltool::format::Position;

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

    /// A number in decimal. Copies a constant number of bytes, which is faster than the right number of them.
    #[inline]
    pub fn number(&mut self, number: u64) {
        let len = decimal_len(number);
        let mut digits = [b'0'; 20];
        let (mut rest, mut at) = (number, len);
        while rest >= 10 {
            let pair = TENS[(rest % 100) as usize];
            digits[at - 2..at].copy_from_slice(&pair);
            (rest, at) = (rest / 100, at - 2);
        }
        if at > 0 {
            digits[0] = b'0' + rest as u8;
        }
        let end = self.buffer.len() + len;
        self.put(&digits);
        self.buffer.truncate(end);
    }

    /// A number in decimal, with blanks before it up to a width.
    pub fn number_right(&mut self, number: u64, width: usize) {
        self.blanks(width.saturating_sub(decimal_len(number)));
        self.number(number);
    }

    /// Text in ASCII, with blanks behind it up to a width.
    pub fn text_left(&mut self, text: &str, width: usize) {
        self.put(text.as_bytes());
        self.blanks(width.saturating_sub(text.len()));
    }

    /// So many blanks.
    pub fn blanks(&mut self, count: usize) {
        self.buffer.resize(self.buffer.len() + count, b' ');
    }

    /// Eight hexadecimal digits.
    #[inline]
    pub fn hex32(&mut self, number: u32) {
        self.put(&super::hex::digits(number));
    }

    /// A position.
    #[inline]
    pub fn position(&mut self, position: Position) {
        match position {
            Position::Number(number) => self.number(number),
            Position::SegmentOffset(lsn) => {
                let mut digits = [b':'; 17];
                digits[..8].copy_from_slice(&super::hex::digits((lsn >> 32) as u32));
                digits[9..].copy_from_slice(&super::hex::digits(lsn as u32));
                self.put(&digits);
            }
        }
    }

    /// Bytes in hexadecimal. Long ones leave in parts, so that memory stays flat.
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

/// The two digits of each number below a hundred.
static TENS: [[u8; 2]; 100] = {
    let mut tens = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        tens[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    tens
};

fn decimal_len(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_those_of_the_standard_library() {
        let lengths = (0..20).flat_map(|n| [10u64.pow(n) - 1, 10u64.pow(n), 10u64.pow(n) + 1]);
        for number in lengths.chain(0..1100).chain([u64::MAX, 1234567890123456789]) {
            assert_eq!(Out::captured(|out| out.number(number)), number.to_string());
        }
    }

    #[test]
    fn columns_are_filled_with_blanks_and_never_cut() {
        let written = Out::captured(|out| {
            out.number_right(42, 5);
            out.text_left("|ab", 5);
            out.number_right(123_456, 3);
        });
        assert_eq!(written, "   42|ab  123456");
    }
}
