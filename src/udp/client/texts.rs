//! What the user has said, and how much of it has come back: the server says it to its author too.

use crate::protocol::{self, Presence};

/// The texts of one user.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// The name that the server has given the user.
    name: String,
    said: usize,
    heard: usize,
}

impl Texts {
    /// Nothing was said so far by the user whom the server has greeted so.
    pub(super) fn of(greeting: &str) -> Self {
        let name = match protocol::presence(greeting) {
            Some(Presence::Admitted { name, .. }) => name.to_owned(),
            _ => String::new(),
        };
        Self {
            name,
            ..Self::default()
        }
    }

    /// A text was sent.
    pub(super) fn say(&mut self) {
        self.said += 1;
    }

    /// Whether a text of the server is one of the user's own: `alice: …`, or `alice -> bob: …` in a private talk.
    pub(super) fn is_own(&self, text: &str) -> bool {
        text.strip_prefix(self.name.as_str())
            .is_some_and(|rest| rest.starts_with(": ") || rest.starts_with(" -> "))
    }

    /// A text has come back, or was refused.
    pub(super) fn heard(&mut self) {
        self.heard += 1;
    }

    /// Texts of which nothing has come back. A copy of a datagram counts as well, for want of a number in it.
    pub(super) fn unheard(&self) -> usize {
        self.said.saturating_sub(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_texts_are_known_by_their_author() {
        let texts = Texts::of("* you are al; here: alice");
        assert!(texts.is_own("al: ciao") && texts.is_own("al -> alice: psst"));
        assert!(!texts.is_own("alice: ciao") && !texts.is_own("alice -> al: psst"));
    }

    #[test]
    fn what_has_not_come_back_is_counted() {
        let mut texts = Texts::of("* you are al; nobody else is here");
        for _ in 0..3 {
            texts.say();
        }
        texts.heard();
        assert_eq!(texts.unheard(), 2);
        for _ in 0..3 {
            texts.heard();
        }
        assert_eq!(texts.unheard(), 0);
    }
}
