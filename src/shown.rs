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

/// A path as a shell takes it, for commands that are printed to be copied.
pub fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./+-:@%,".contains(byte);
    let text = match bytes {
        [] => "''".into(),
        _ if bytes.iter().all(plain) => String::from_utf8_lossy(bytes).into_owned(),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
            _ => ansi_c_quoted(bytes),
        },
    };
    if text.starts_with('-') && text != "-" { format!("./{text}") } else { text }
}

fn ansi_c_quoted(bytes: &[u8]) -> String {
    let escaped = bytes.iter().map(|&byte| match byte {
        b'\'' | b'\\' => format!("\\{}", byte as char),
        b' '..=b'~' => (byte as char).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("$'{}'", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(Shown(b"a\x1b[2J\n\xff.wal").to_string(), "a\\u{1b}[2J\\n\\xff.wal");
        assert_eq!(Shown("größe".as_bytes()).to_string(), "größe");
    }

    #[test]
    fn a_path_in_a_command_can_be_pasted_into_a_shell() {
        let quoted = |bytes: &[u8]| quoted(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(quoted(b"/var/lib/app.db-wal"), "/var/lib/app.db-wal");
        assert_eq!(quoted(b"my db-wal"), "'my db-wal'");
        assert_eq!(quoted(b"it's"), r"'it'\''s'");
        assert_eq!(quoted(b"a\x1b\xff'"), r"$'a\x1b\xff\''");
        assert_eq!(quoted(b"-rf"), "./-rf");
    }
}
