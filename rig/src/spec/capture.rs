//! Reads how hosts are captured.

use super::read::Reader;
use super::tree::Node as Tree;
use super::words::Fault;
use super::{CaptureSpec, FromText, RingSize, SnapLen, TimeSource};

/// The least and the most memory of a ring, in bytes. Below it is no room for the longest packets of a moment.
const RING_BYTES: [u64; 2] = [1024 * 1024, 1024 * 1024 * 1024];

/// The least and the most of a packet that is recorded, in bytes: all headers of TCP over IPv6, and what a block of a
/// ring holds.
const SNAP_BYTES: [u64; 2] = [128, 128 * 1024 - 128];

/// The longer of two units that end alike stands first.
const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

impl Reader<'_> {
    /// `{ ring: 64MiB, snap: 128B, time: software }`
    pub(super) fn capture(&mut self, node: &Tree) -> Option<CaptureSpec> {
        let known = ["ring", "snap", "time"];
        let fields = self.fields(node, "`capture`", node.place, &known)?;
        let ring = self.optional(fields, "ring", |r, node| r.field(node, "a size"));
        let snap = self.optional(fields, "snap", |r, node| r.field(node, "a size, or `none`"));
        let time = self.optional(fields, "time", |r, node| r.field(node, "`software`"));
        Some(CaptureSpec {
            ring: ring?,
            snap: snap?,
            time: time?,
        })
    }
}

impl FromText for RingSize {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let hint = "write 1MiB to 1GiB, such as 64MiB";
        let bytes = size(text).ok_or_else(|| not_a_size(text, hint))?;
        within(bytes, RING_BYTES)
            .map(Self)
            .ok_or_else(|| out_of_bounds(text, "the memory of a ring", hint))
    }
}

impl FromText for SnapLen {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let hint = "write 128B to 130944B, such as 256B, or `none` for whole packets";
        if text == "none" {
            return Ok(Self(None));
        }
        let bytes = size(text).ok_or_else(|| not_a_size(text, hint))?;
        within(bytes, SNAP_BYTES)
            .map(|bytes| Self(Some(bytes)))
            .ok_or_else(|| out_of_bounds(text, "what is recorded of a packet", hint))
    }
}

impl FromText for TimeSource {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = |message: String, hint: &str| Fault {
            hint: Some(hint.to_owned()),
            ..Fault::new(message)
        };
        match text {
            "software" => Ok(Self::Software),
            "hardware" => Err(fault(
                "no interface of a host has times of hardware".to_owned(),
                "hosts have virtual interfaces (veth, lo), and a kernel captures what a host sends before any \
                 hardware has it: write `software`",
            )),
            other => Err(fault(
                format!("`{other}` is not a source of times"),
                "write `software`",
            )),
        }
    }
}

/// A whole number with a unit, and perhaps blanks between.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number = number.trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.then(|| number.parse().ok()).flatten()?;
    number.checked_mul(*factor)
}

fn within(bytes: u64, [least, most]: [u64; 2]) -> Option<u32> {
    let bytes = (least..=most).contains(&bytes).then_some(bytes)?;
    u32::try_from(bytes).ok()
}

fn not_a_size(text: &str, hint: &str) -> Fault {
    Fault {
        hint: Some(hint.to_owned()),
        ..Fault::new(format!("`{text}` is not a size"))
    }
}

fn out_of_bounds(text: &str, what: &str, hint: &str) -> Fault {
    Fault {
        hint: Some(hint.to_owned()),
        ..Fault::new(format!("`{text}` cannot be {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_their_units_and_have_bounds() {
        let ring = |text| RingSize::from_text(text).map(|ring| ring.0);
        assert_eq!(ring("64MiB"), Ok(64 << 20));
        assert_eq!(ring("64 MiB"), Ok(64 << 20));
        assert_eq!(ring("1GiB"), Ok(1 << 30));
        for wrong in [
            "64", "MiB", "0MiB", "512KiB", "2GiB", "-1MiB", "1.5MiB", "64MB", "",
        ] {
            assert!(ring(wrong).is_err(), "{wrong}");
        }
        let snap = |text| SnapLen::from_text(text).map(|snap| snap.0);
        assert_eq!(snap("128 B"), Ok(Some(128)));
        assert_eq!(snap("2KiB"), Ok(Some(2048)));
        assert_eq!(snap("none"), Ok(None));
        for wrong in ["127B", "128", "128KiB", "whole", "99999999999999999999B"] {
            assert!(snap(wrong).is_err(), "{wrong}");
        }
    }
}
