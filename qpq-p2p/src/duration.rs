//! Durations as people write them: `500ms`, `30s`, `5m`, `24h`, `7d`; a bare number is seconds.

use std::time::Duration;

/// Why a text is not taken for a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It is none.
    #[error("a duration is a number with ms, s, m, h or d, such as 30s or 24h")]
    Form,
    /// It is one of more than 100 years.
    #[error("a duration is at most 36500d")]
    TooLong,
}

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// The longest duration that is accepted: a hundred years, so that no clock arithmetic can overflow.
const LONGEST_MS: u64 = 100 * 365 * 86_400_000;

/// Reads a duration.
///
/// # Errors
/// [`DurationError`] for anything but digits and one known unit, or for more than 100 years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(DurationError::Form)?;
    let factor = match unit {
        _ if number.is_empty() => return Err(DurationError::Form),
        "" => 1_000,
        unit => UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, ms)| *ms)
            .ok_or(DurationError::Form)?,
    };
    // A number of digits that is none to Rust is too large for it.
    let number: Option<u64> = number.parse().ok();
    let ms = number
        .and_then(|number| number.checked_mul(factor))
        .filter(|ms| *ms <= LONGEST_MS)
        .ok_or(DurationError::TooLong)?;
    Ok(Duration::from_millis(ms))
}

/// The same for people, in the largest unit that fits without a rest: `24 h`, `90 s`.
pub fn for_people(duration: Duration) -> String {
    let ms = duration.as_millis();
    let fits = |(_, unit): &&(&str, u64)| ms > 0 && ms.is_multiple_of(u128::from(*unit));
    // A day is told as 24 h: that is how the lifetime of an invite is spoken of.
    let units = || {
        UNITS
            .iter()
            .filter(|(name, _)| *name != "d" || ms > 2 * 86_400_000)
    };
    match units().rev().find(fits) {
        Some((name, unit)) => format!("{} {name}", ms / u128::from(*unit)),
        None => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn every_unit_is_read_and_a_bare_number_is_seconds() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("10", 10_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "1.5h",
            " 1s",
            "1 s",
            "1w",
            "1S",
            "1e3",
            "99999999999999999999w",
            "１s",
        ] {
            assert_eq!(parse(text), Err(DurationError::Form), "{text:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_told_the_limit_which_itself_is_taken() {
        for text in ["99999999999999999999", "36501d", "1000000d", "3153600000001ms"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text:?}");
        }
        let told = DurationError::TooLong.to_string();
        let (_, limit) = told.rsplit_once(' ').unwrap();
        assert_eq!(parse(limit).unwrap(), Duration::from_millis(LONGEST_MS));
    }

    #[test]
    fn durations_are_shown_without_a_rest() {
        for (text, shown) in [
            ("24h", "24 h"),
            ("7d", "7 d"),
            ("90s", "90 s"),
            ("60s", "1 m"),
            ("1500ms", "1500 ms"),
            ("0", "0 ms"),
        ] {
            assert_eq!(for_people(parse(text).unwrap()), shown);
        }
    }
}
