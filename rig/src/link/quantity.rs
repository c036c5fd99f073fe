//! Percentages, rates and queue lengths as a matrix file writes them, each with its unit.

use super::settings::Queue;

/// Why a quantity could not be read: a lower-case fragment, and what could be written instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuantityError {
    /// What is wrong.
    pub message: String,
    /// What could be done about it.
    pub hint: &'static str,
}

impl QuantityError {
    pub(super) fn new(message: String, hint: &'static str) -> Self {
        Self { message, hint }
    }
}

/// The highest rate that can be told apart from none, in bits a second.
const MAX_RATE_BPS: f64 = 1e12;

/// The longest queue, in packets and in bytes.
const MAX_QUEUE_PACKETS: u32 = 1_000_000;
const MAX_QUEUE_BYTES: f64 = 1e9;

/// A share written as a percentage: `1%`, `0.1%`; from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, QuantityError> {
    const HINT: &str = "write 0% to 100%, such as 1% or 0.1%";
    let error = |what: &str| QuantityError::new(format!("`{text}` is {what}"), HINT);
    let number = text.trim().strip_suffix('%');
    let number = number.ok_or_else(|| error("not a percentage"))?;
    let percent = decimal(number).ok_or_else(|| error("not a percentage"))?;
    if percent > 100.0 {
        return Err(error("more than all packets"));
    }
    Ok(percent / 100.0)
}

/// A rate in bits a second: `10Mbit`, `1.5Gbit`, `64kbit`.
pub(super) fn rate_bps(text: &str) -> Result<u64, QuantityError> {
    const HINT: &str = "write a rate with its unit: 64kbit, 10Mbit or 1Gbit a second";
    const UNITS: [(&str, f64); 4] = [("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9), ("bit", 1.0)];
    let error = |what: &str| QuantityError::new(format!("`{text}` is {what}"), HINT);
    let bps = with_unit(text, &UNITS).ok_or_else(|| error("not a rate"))?;
    if bps < 1.0 {
        return Err(QuantityError::new(
            format!("a rate of `{text}` lets nothing through"),
            "cut the link to let nothing through",
        ));
    }
    if bps > MAX_RATE_BPS {
        return Err(error("more than any link carries"));
    }
    Ok(whole(bps))
}

/// The length of a queue: `50` packets, or `64KiB`.
pub(super) fn queue(text: &str) -> Result<Queue, QuantityError> {
    const HINT: &str = "write a number of packets such as 50, or a size such as 64KiB";
    const UNITS: [(&str, f64); 5] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("B", 1.0),
    ];
    let error = || QuantityError::new(format!("`{text}` is not the length of a queue"), HINT);
    if let Ok(packets) = text.trim().parse::<u32>() {
        return if (1..=MAX_QUEUE_PACKETS).contains(&packets) {
            Ok(Queue::Packets(packets))
        } else {
            Err(error())
        };
    }
    let bytes = with_unit(text, &UNITS).filter(|bytes| (1.0..=MAX_QUEUE_BYTES).contains(bytes));
    bytes.map(|b| Queue::Bytes(whole(b))).ok_or_else(error)
}

/// A number with one of these units; the longer of two units that end alike stands first.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(decimal(number)? * factor)
}

/// A number in digits with at most one point, which is not negative and not without end.
fn decimal(text: &str) -> Option<f64> {
    let sound = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number = sound.then(|| text.parse::<f64>().ok()).flatten()?;
    number.is_finite().then_some(number)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the callers have bounded it"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_carry_their_units() {
        assert_eq!(share("0.1%"), Ok(0.001));
        assert_eq!(share("100%"), Ok(1.0));
        for wrong in ["1", "101%", "-1%", "%", "x%", "1e1%", "1..2%", "inf%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rate_bps("10Mbit"), Ok(10_000_000));
        assert_eq!(rate_bps("1.5kbit"), Ok(1500));
        for wrong in ["0", "0Mbit", "10", "10mbit", "99999Gbit", "Mbit", "-1Mbit"] {
            assert!(rate_bps(wrong).is_err(), "{wrong}");
        }
        assert_eq!(queue("50"), Ok(Queue::Packets(50)));
        assert_eq!(queue("64KiB"), Ok(Queue::Bytes(65_536)));
        for wrong in ["0", "0B", "-1", "64", "64kib", "9999999"] {
            let read = queue(wrong);
            assert!(read.is_err() || wrong == "64", "{wrong}");
        }
    }
}
