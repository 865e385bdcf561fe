//! Printers: the only writers to standard output. Events in, text or JSON out; what comes from a log is escaped here.

pub mod changes;
pub mod hex;
pub mod json;
mod out;
pub mod report;
pub mod text;

use std::fmt::{self, Display};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use waltool::scan::Found;

pub use out::Out;
pub use waltool::quoted;

/// How text looks: colours, and the width to keep to on a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Colours may be used.
    pub color: bool,
    /// Columns of the terminal; `None` where lines may be as long as they are.
    pub width: Option<usize>,
}

pub const GOOD: Style = AnsiColor::Green.on_default().bold();
pub const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const HIT: Style = AnsiColor::Red.on_default();
pub const ASIDE: Style = Style::new().dimmed();
pub const LABEL: Style = Style::new().bold();

impl Look {
    /// `text` in a style, where colours may be used.
    pub fn paint<T: Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.color { style } else { Style::new() }, text }
    }
}

/// Text in a style. See [`Look::paint`].
pub struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { style, text } = self;
        write!(f, "{style}")?;
        text.fmt(f)?;
        write!(f, "{style:#}")
    }
}

/// What a dump does with each span that was selected.
pub trait Spans {
    /// Before the first.
    fn begin(&mut self, out: &mut Out);
    /// The next: a record's line where it has one, else the span's. `beyond` says that damage stands before it.
    fn span(&mut self, found: &Found<'_>, beyond: bool, out: &mut Out);
}

/// Bytes with a unit: "536 bytes", "76.5 KiB".
pub struct Size(
    /// How many.
    pub u64,
);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let text = match self.0 {
            1 => "1 byte".to_string(),
            n if n < 1024 => format!("{n} bytes"),
            n => {
                // 1023.95 KiB would be rounded to 1024.0.
                let mut unit = 0;
                let mut amount = n as f64 / 1024.0;
                while amount >= 1023.95 && unit + 1 < UNITS.len() {
                    amount /= 1024.0;
                    unit += 1;
                }
                format!("{amount:.1} {}", UNITS[unit])
            }
        };
        f.pad(&text)
    }
}

/// Nanoseconds since 1970, as RFC 3339 in UTC.
pub struct Time(
    /// Them.
    pub u64,
);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every u64 of nanoseconds is before the year 2555, well inside what a timestamp holds.
        let time = Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?;
        time.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_round_upwards_into_the_next() {
        let cases = [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (78288, "76.5 KiB")];
        for (bytes, text) in cases {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(Size(1024 * 1024 - 1).to_string(), "1.0 MiB");
        assert_eq!(Size(u64::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn times_print_in_utc_to_the_nanosecond() {
        assert_eq!(Time(1_795_140_600_000_000_001).to_string(), "2026-11-20T02:10:00.000000001Z");
        assert!(Time(u64::MAX).to_string().starts_with("2554-"));
    }
}
