//! Whether a capture shows too little because its checksums are wrong.

use super::flow::{Flow, Side};
use super::passed_over::PassedOver;

/// Fewer wrong checksums than this may be damage on the way, in however small a capture.
const LEAST_WRONG: u64 = 3;

/// How much of a capture counts for nothing since its checksums are wrong. Damage on the way strikes
/// here and there; where most of a capture or of a direction has it, the capture was rewritten, or
/// taken before a network card filled the checksums in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WrongChecksums {
    /// Of the packets that initiators and responders sent: all, and those with a wrong checksum.
    initiators: Tally,
    responders: Tally,
    /// Sides of flows, most of whose packets have a wrong checksum.
    sides: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    packets: u64,
    wrong: u64,
}

impl Tally {
    fn of(side: &Side) -> Self {
        Self {
            packets: side.pkts,
            wrong: side.checksum_errors,
        }
    }

    fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.wrong = self.wrong.saturating_add(other.wrong);
    }

    fn is_mostly_wrong(self) -> bool {
        self.wrong >= LEAST_WRONG && self.wrong > self.packets / 2
    }
}

impl WrongChecksums {
    /// Takes in a flow.
    #[inline]
    pub fn add(&mut self, flow: &Flow) {
        let (initiator, responder) = (Tally::of(&flow.orig_side), Tally::of(&flow.resp_side));
        self.initiators.add(initiator);
        self.responders.add(responder);
        let sides = [initiator, responder];
        self.sides += sides.iter().filter(|side| side.is_mostly_wrong()).count() as u64;
    }

    /// What is to be said of it, where it is most of the capture or of a direction.
    /// Packets whose IP header has a wrong checksum are in no flow: these are in `passed_over`.
    #[must_use]
    pub fn told(&self, passed_over: &PassedOver) -> Option<String> {
        let mut all = Tally {
            packets: passed_over.ip_checksum,
            wrong: passed_over.ip_checksum,
        };
        all.add(self.initiators);
        all.add(self.responders);
        let share = |of: Tally, whose: &str| {
            let Tally { packets, wrong } = of;
            format!("{wrong} of {packets} packets{whose} have a wrong checksum")
        };
        let what = if all.is_mostly_wrong() {
            share(all, "")
        } else if self.initiators.is_mostly_wrong() {
            share(self.initiators, " from initiators")
        } else if self.responders.is_mostly_wrong() {
            share(self.responders, " from responders")
        } else if self.sides > 0 {
            let flows = if self.sides == 1 { "flow" } else { "flows" };
            let sides = self.sides;
            format!("most packets that one side of {sides} {flows} sent have a wrong checksum")
        } else {
            return None;
        };
        Some(format!(
            "{what} and count for nothing, as for their receiver"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::tests::{Script, analyze};
    use super::*;

    fn told(flows: &[[(u64, u64); 2]], ip: u64) -> String {
        let mut wrong = WrongChecksums::default();
        for [orig, resp] in flows {
            let mut flow = analyze(&Script::new().play(">S"), Options::default()).remove(0);
            for (side, (pkts, errors)) in [(&mut flow.orig_side, orig), (&mut flow.resp_side, resp)]
            {
                side.pkts = *pkts;
                side.checksum_errors = *errors;
            }
            wrong.add(&flow);
        }
        let passed_over = PassedOver {
            ip_checksum: ip,
            ..PassedOver::default()
        };
        let told = wrong.told(&passed_over).unwrap_or_default();
        told.split(" have ").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn most_of_a_capture_or_of_a_direction_is_told() {
        for (flows, ip, expected) in [
            (&[[(4, 0), (4, 0)]][..], 0, ""),
            (&[[(4, 3), (4, 2)]], 0, "5 of 8 packets"),
            (&[[(3, 3), (0, 0)]], 0, "3 of 3 packets"),
            (&[[(1, 1), (0, 0)]], 0, ""),
            (&[[(1, 1), (0, 0)]], 1, ""),
            (&[[(1, 1), (0, 0)]], 2, "3 of 3 packets"),
            (&[[(5, 1), (3, 3)]], 0, "3 of 3 packets from responders"),
            (&[[(5, 3), (5, 0)]], 0, "3 of 5 packets from initiators"),
            (&[[(3, 2), (5, 0)]], 0, ""),
            (&[[(4, 0), (4, 0)]], 9, "9 of 17 packets"),
            (&[[(4, 0), (4, 0)]], 8, ""),
            // Damage here and there.
            (&[[(4, 2), (4, 1)]], 0, ""),
            (&[[(2, 2), (1, 0)], [(9, 0), (9, 0)]], 0, ""),
            (
                &[[(3, 3), (1, 0)], [(9, 0), (9, 0)]],
                0,
                "most packets that one side of 1 flow sent",
            ),
        ] {
            assert_eq!(told(flows, ip), expected, "{flows:?} {ip}");
        }
    }
}
