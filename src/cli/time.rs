//! Times as people write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Nanoseconds since 1970, from RFC 3339, or from a date with or without a time, which is UTC like all that is printed.
pub fn parse(text: &str) -> Result<u64, String> {
    let instant = text.parse::<Timestamp>().or_else(|_| {
        let civil: DateTime = text.parse()?;
        Ok::<_, jiff::Error>(civil.to_zoned(TimeZone::UTC)?.timestamp())
    });
    let wrong = || "not a time like 2026-11-20T02:10:00Z or \"2026-11-20 02:10\" (UTC)".to_string();
    let instant = instant.map_err(|_| wrong())?;
    u64::try_from(instant.as_nanosecond()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_people_write_a_minute_are_one_minute() {
        let minute = 1_795_140_600_000_000_000;
        for text in [
            "2026-11-20T02:10:00Z",
            "2026-11-20 02:10Z",
            "2026-11-20 02:10",
            "2026-11-20T03:10:00+01:00",
            "2026-11-20 02:10:00",
        ] {
            assert_eq!(parse(text), Ok(minute), "{text}");
        }
        assert_eq!(parse("2026-11-20T02:10:00.000000001Z"), Ok(minute + 1));
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "yesterday", "1969-12-31", "02:10", "2026-13-01"] {
            assert!(parse(text).unwrap_err().contains("2026-11-20T02:10:00Z"), "{text}");
        }
    }
}
