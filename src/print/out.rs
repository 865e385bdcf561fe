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

    /// Up to N bytes, put together by `write`.
    #[inline(always)]
    pub fn brief<const N: usize>(&mut self, write: impl FnOnce(&mut Brief<'_, N>)) {
        let start = self.buffer.len();
        self.put(&[0; N]);
        let Some(room) = self.buffer[start..].first_chunk_mut() else { return };
        let mut brief = Brief { room, len: 0 };
        write(&mut brief);
        let end = start + brief.len;
        self.buffer.truncate(end);
    }

    /// A number in decimal.
    #[inline]
    pub fn number(&mut self, number: u64) {
        self.brief::<DECIMAL>(|brief| brief.number(number));
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
        self.brief::<DECIMAL>(|brief| brief.position(position));
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

/// Room for a number in decimal as [`Brief::number`] writes it, or for a position.
pub const DECIMAL: usize = 24;

/// A few bytes under way. How many there are stays in a register, where that of a buffer which can grow is in memory: a line
/// of twenty parts waits twenty times for that.
pub struct Brief<'o, const N: usize> {
    room: &'o mut [u8; N],
    len: usize,
}

impl<const N: usize> Brief<'_, N> {
    /// Bytes as they are. Caller's duty: all of them fit in N, here and below.
    #[inline(always)]
    pub fn put(&mut self, bytes: &[u8]) {
        self.room[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// A number in decimal. Takes room for eight digits at a time, of which the zeros in front are given back.
    #[inline(always)]
    pub fn number(&mut self, number: u64) {
        let (high, low) = (number / 100_000_000, number % 100_000_000);
        if high > 0 {
            self.long_number(high, low);
        } else {
            self.short_number(low);
        }
    }

    #[inline]
    fn long_number(&mut self, high: u64, low: u64) {
        match (high / 100_000_000, high % 100_000_000) {
            (0, middle) => self.short_number(middle),
            (top, middle) => {
                self.short_number(top);
                self.put(&eight_digits(middle).to_le_bytes());
            }
        }
        self.put(&eight_digits(low).to_le_bytes());
    }

    #[inline(always)]
    fn short_number(&mut self, number: u64) {
        let digits = eight_digits(number);
        let zeros = (digits & 0x000f_0f0f_0f0f_0f0f | 1 << 56).trailing_zeros() / 8;
        self.put(&(digits >> (8 * zeros)).to_le_bytes());
        self.len -= zeros as usize;
    }

    /// A position.
    #[inline(always)]
    pub fn position(&mut self, position: Position) {
        match position {
            Position::Number(number) => self.number(number),
            Position::SegmentOffset(lsn) => {
                self.put(&super::hex::digits((lsn >> 32) as u32));
                self.put(b":");
                self.put(&super::hex::digits(lsn as u32));
            }
        }
    }
}

/// The digits of a number below 10^8, the first in the lowest byte. Halves the number until each byte has its digit: two lanes
/// of four digits, four of two, eight of one. The factors are the reciprocals of 100 and 10, exact for lanes this small.
#[inline(always)]
fn eight_digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | ((twos - tens * 10) << 8);
    ones | 0x3030_3030_3030_3030
}

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
