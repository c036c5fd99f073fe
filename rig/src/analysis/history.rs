//! Zeek's `history`: one letter for each kind of thing seen, capital for the initiator.

use super::flow::Sender;

/// The most letters that are kept. Most are written once a side; only repeated SYN, FIN and RST
/// with ever other sequence numbers could make more.
pub(super) const MAX_LETTERS: usize = 31;

/// The letters in the order in which they were first seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct History {
    letters: [u8; MAX_LETTERS],
    len: u8,
}

impl History {
    /// Adds a letter, given as the initiator's capital.
    pub(super) fn add(&mut self, sender: Sender, capital: u8) {
        let letter = match sender {
            Sender::Initiator => capital,
            Sender::Responder => capital.to_ascii_lowercase(),
        };
        if let Some(place) = self.letters.get_mut(usize::from(self.len)) {
            *place = letter;
            self.len += 1;
        }
    }

    /// Adds a letter at the 1st, 10th, 100th, … time that its event is seen.
    pub(super) fn add_scaled(&mut self, sender: Sender, capital: u8, times: u32) {
        if is_power_of_ten(times) {
            self.add(sender, capital);
        }
    }

    /// As `conn.log` shows it.
    pub(super) fn text(&self) -> String {
        let letters = &self.letters[..usize::from(self.len)];
        letters.iter().copied().map(char::from).collect()
    }

    /// Whether it is a SYN of the initiator, then nothing of it but what Zeek lets stand before a
    /// RST of the initiator: `^?S[^HAFGIQ]*R`.
    pub(super) fn is_syn_then_reset(&self) -> bool {
        let letters = &self.letters[..usize::from(self.len)];
        let letters = letters.strip_prefix(b"^").unwrap_or(letters);
        let Some(rest) = letters.strip_prefix(b"S") else {
            return false;
        };
        let stop = rest.iter().position(|letter| b"HAFGIQR".contains(letter));
        stop.is_some_and(|at| rest[at] == b'R')
    }
}

fn is_power_of_ten(mut n: u32) -> bool {
    while n >= 10 && n.is_multiple_of(10) {
        n /= 10;
    }
    n == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_letters_stand_for_powers_of_ten() {
        let mut history = History::default();
        for times in 1..=1000 {
            history.add_scaled(Sender::Initiator, b'T', times);
        }
        assert_eq!(history.text(), "TTTT");
    }

    #[test]
    fn letters_beyond_the_bound_are_left_out() {
        let mut history = History::default();
        for _ in 0..100 {
            history.add(Sender::Responder, b'S');
        }
        assert_eq!(history.text(), "s".repeat(MAX_LETTERS));
    }

    #[test]
    fn a_reset_after_a_syn_alone() {
        for (text, expected) in [
            ("SR", true),
            ("^SR", true),
            ("SWSR", true),
            ("SR^", true),
            ("SAR", false),
            ("ShR", true),
            ("S", false),
            ("R", false),
        ] {
            let mut history = History::default();
            for letter in text.bytes() {
                let (sender, capital) = if letter.is_ascii_lowercase() {
                    (Sender::Responder, letter.to_ascii_uppercase())
                } else {
                    (Sender::Initiator, letter)
                };
                history.add(sender, capital);
            }
            assert_eq!(history.is_syn_then_reset(), expected, "{text}");
        }
    }
}
