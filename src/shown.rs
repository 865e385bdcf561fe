//! Bytes from a disk (names, keys, paths) made safe to show: nothing in them can move a terminal's cursor.

use std::fmt::{self, Display, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as text for people: control characters, and bytes that are not UTF-8, are escaped as `\xNN`.
pub fn shown(path: &Path) -> Shown<'_> {
    Shown(path.as_os_str().as_bytes())
}

/// Bytes that print escaped. See [`shown`].
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(
    /// The bytes as found.
    pub &'a [u8],
);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    // Bidirectional overrides reorder a line on screen; they are as good as control characters.
                    c if c.is_control()
                        || ('\u{202a}'..='\u{202e}').contains(&c)
                        || ('\u{2066}'..='\u{2069}').contains(&c) =>
                    {
                        write!(f, "\\u{{{:x}}}", c as u32)?;
                    }
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(Shown(b"a\x1b[2J\n\xff.wal").to_string(), "a\\u{1b}[2J\\n\\xff.wal");
        assert_eq!(Shown("größe".as_bytes()).to_string(), "größe");
    }
}
