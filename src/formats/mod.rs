//! The formats: one room each. A new format is one `mod` and one line in [`FORMATS`].

pub mod native;
pub mod sqlite;

use crate::format::Format;

/// Every format that is understood.
pub static FORMATS: &[&dyn Format] = &[&native::Native, &sqlite::Sqlite];

/// The format of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}
