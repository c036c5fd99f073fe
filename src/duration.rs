//! Durations on the command line: a number with its unit.

use std::time::Duration;

/// Reads `300ms`, `2s` or `1m`.
///
/// # Errors
/// A sentence fragment with the value and the form wanted.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is not a duration: write a number and ms, s or m, such as 300ms");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        _ => Err(wrong()),
    }
}

/// Reads a duration that must not be zero: something is repeated after it.
///
/// # Errors
/// As [`parse`], or that it is zero.
pub fn parse_period(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err(format!("`{text}` is too short: write at least 1ms")),
        period => Ok(period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_make_a_duration() {
        assert_eq!(parse("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("1m"), Ok(Duration::from_mins(1)));
    }

    #[test]
    fn anything_else_is_named() {
        for text in ["", "5", "ms", "-1s", "1h", "5 s", "99999999999s", "1.5s"] {
            assert!(parse(text).unwrap_err().contains(&format!("`{text}`")));
        }
    }
    #[test]
    fn a_period_is_not_zero() {
        assert_eq!(parse_period("1ms"), Ok(Duration::from_millis(1)));
        assert!(
            parse_period("0s")
                .unwrap_err()
                .starts_with("`0s` is too short")
        );
        assert!(parse_period("5").is_err());
    }
}
