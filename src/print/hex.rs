//! Bytes in hexadecimal: encoded in a row, and as a panel of offset, bytes and characters.

use super::{ASIDE, Look, Out};

const PER_ROW: usize = 16;

const fn pairs() -> [[u8; 2]; 256] {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digit(byte as u8 >> 4), digit(byte as u8 & 15)];
        byte += 1;
    }
    pairs
}

static PAIRS: [[u8; 2]; 256] = pairs();

/// Appends two digits for each byte.
#[inline]
pub fn encode(bytes: &[u8], buffer: &mut Vec<u8>) {
    buffer.reserve(2 * bytes.len());
    let (rows, rest) = bytes.as_chunks::<PER_ROW>();
    for row in rows {
        // Arithmetic instead of a table, and one kind of digit at a time: this the compiler turns into vectors.
        let (high, low) = (row.map(|byte| digit(byte >> 4)), row.map(|byte| digit(byte & 15)));
        let pairs: [[u8; 2]; PER_ROW] = std::array::from_fn(|at| [high[at], low[at]]);
        buffer.extend_from_slice(pairs.as_flattened());
    }
    for &byte in rest {
        buffer.extend_from_slice(&PAIRS[byte as usize]);
    }
}

#[inline(always)]
const fn digit(nibble: u8) -> u8 {
    nibble + b'0' + (nibble > 9) as u8 * (b'a' - b'9' - 1)
}

/// The eight digits of a number.
#[inline]
pub fn digits(number: u32) -> [u8; 8] {
    let mut digits = [0; 8];
    let (room, _) = digits.as_chunks_mut::<2>();
    for (pair, byte) in room.iter_mut().zip(number.to_be_bytes()) {
        *pair = PAIRS[byte as usize];
    }
    digits
}

/// The panel: 16 bytes a row, indented, offsets counted from the first byte.
pub fn panel(bytes: &[u8], look: Look, out: &mut Out) {
    for (row, bytes) in bytes.chunks(PER_ROW).enumerate() {
        let offset = look.paint(ASIDE, format_args!("{:08x}", row * PER_ROW)).to_string();
        out.text(format_args!("    {offset} "));
        for at in 0..PER_ROW {
            out.put(if at == PER_ROW / 2 { b"  " } else { b" " });
            match bytes.get(at) {
                Some(&byte) => out.put(&PAIRS[byte as usize]),
                None => out.put(b"  "),
            }
        }
        out.put(b"  |");
        for &byte in bytes {
            out.put(if (b' '..=b'~').contains(&byte) { std::slice::from_ref(&byte) } else { b"." });
        }
        out.put(b"|\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_two_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut encoded = Vec::new();
        encode(&bytes, &mut encoded);
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(String::from_utf8(encoded).expect("ASCII"), expected);
    }

    #[test]
    fn a_panel_has_offsets_bytes_and_characters_and_hides_controls() {
        let panel = Out::captured(|out| panel(b"SQLite format 3\0\x1b[2J", Look::default(), out));
        let expected = "    \
    00000000  53 51 4c 69 74 65 20 66  6f 72 6d 61 74 20 33 00  |SQLite format 3.|
    00000010  1b 5b 32 4a                                       |.[2J|
";
        assert_eq!(panel, expected);
    }
}
