//! Integers in slices. Each read takes a slice of exactly the integer's width: the caller names the field's range
//! once, in its layout, and a wrong range is a bug that the first test meets.

macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident: $int:ty, $from:ident;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(field: &[u8]) -> $int {
            match field.try_into() {
                Ok(array) => <$int>::$from(array),
                Err(_) => panic!("a {}-byte field read from {} bytes", size_of::<$int>(), field.len()),
            }
        }
    )*};
}

reads! {
    /// A little-endian `u16`.
    u16_le: u16, from_le_bytes;
    /// A little-endian `u32`.
    u32_le: u32, from_le_bytes;
    /// A little-endian `u64`.
    u64_le: u64, from_le_bytes;
    /// A big-endian `u16`.
    u16_be: u16, from_be_bytes;
    /// A big-endian `u32`.
    u32_be: u32, from_be_bytes;
}

/// Whether every byte is zero.
#[inline]
pub fn all_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<32>();
    words.iter().all(|word| *word == [0; 32]) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_told_from_a_single_bit_at_any_place() {
        for len in [0, 1, 31, 32, 33, 100] {
            let mut bytes = vec![0; len];
            assert!(all_zero(&bytes));
            for at in 0..len {
                bytes[at] = 0x80;
                assert!(!all_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
