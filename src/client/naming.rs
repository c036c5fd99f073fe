//! When the server has asked for a name, and when the user may speak.
//!
//! A name given on the command line answers a request and is never sent unasked: a server that
//! does not ask (a foreign room, a one-to-one server) must not get it as a message. And what the
//! user types must not be taken for a name. So it is held back while a request may still come, and
//! while the answer to one is open.

use crate::protocol;

/// What a received line asks of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// To send the name now.
    SendName,
    /// The name was refused; the server asks again.
    Refused,
}

/// Where the exchange of names stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// No line has come yet.
    Unknown,
    /// A room of ours has greeted; its request follows.
    Greeted,
    /// The name was sent.
    Answered,
    /// The user speaks. `unsent` says whether the name may still be asked for.
    Free {
        /// No request has been answered yet.
        unsent: bool,
    },
}

impl Naming {
    /// How it begins, with a name at hand or without.
    pub fn new(has_name: bool) -> Self {
        if has_name {
            Self::Unknown
        } else {
            Self::Free { unsent: false }
        }
    }

    /// Whether what the user types has to wait.
    pub fn holds(self) -> bool {
        !matches!(self, Self::Free { .. })
    }

    /// No request, or no answer, came in time: the user speaks.
    pub fn give_up(&mut self) {
        *self = Self::Free {
            unsent: *self != Self::Answered,
        };
    }

    /// Takes note of a line of the server.
    pub fn hear(&mut self, line: &str) -> Step {
        let asked = line == protocol::NAME_REQUEST;
        let (next, step) = match *self {
            Self::Unknown | Self::Greeted | Self::Free { unsent: true } if asked => {
                (Self::Answered, Step::SendName)
            }
            Self::Answered if asked => (Self::Free { unsent: false }, Step::Refused),
            Self::Answered if line.starts_with(protocol::ADMITTED) => {
                (Self::Free { unsent: false }, Step::Nothing)
            }
            Self::Unknown if line == protocol::ROOM_GREETING => (Self::Greeted, Step::Nothing),
            Self::Unknown => (Self::Free { unsent: true }, Step::Nothing),
            same => (same, Step::Nothing),
        };
        *self = next;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_of_ours_gets_the_name_and_then_the_messages() {
        let mut naming = Naming::new(true);
        assert!(naming.holds());
        assert_eq!(naming.hear(protocol::ROOM_GREETING), Step::Nothing);
        assert!(naming.holds());
        assert_eq!(naming.hear(protocol::NAME_REQUEST), Step::SendName);
        assert!(naming.holds());
        assert_eq!(
            naming.hear("* you are alice; nobody else is here"),
            Step::Nothing
        );
        assert!(!naming.holds());
    }

    #[test]
    fn a_refused_name_is_not_sent_again() {
        let mut naming = Naming::new(true);
        naming.hear(protocol::ROOM_GREETING);
        naming.hear(protocol::NAME_REQUEST);
        assert_eq!(
            naming.hear("* the name `alice` is taken: choose another"),
            Step::Nothing
        );
        assert_eq!(naming.hear(protocol::NAME_REQUEST), Step::Refused);
        assert!(!naming.holds());
        assert_eq!(naming.hear(protocol::NAME_REQUEST), Step::Nothing);
    }

    #[test]
    fn a_server_that_does_not_ask_never_gets_the_name() {
        for first in [
            "<announce> 127.0.0.1 is connected as <user4>.",
            protocol::ONE_TO_ONE_GREETING,
        ] {
            let mut naming = Naming::new(true);
            assert_eq!(naming.hear(first), Step::Nothing);
            assert!(!naming.holds());
            assert_eq!(naming.hear("what is * your name?"), Step::Nothing);
        }
        let mut silent = Naming::new(true);
        silent.give_up();
        assert!(!silent.holds());
    }

    #[test]
    fn a_late_request_is_answered_once() {
        let mut naming = Naming::new(true);
        naming.give_up();
        assert_eq!(naming.hear(protocol::NAME_REQUEST), Step::SendName);
        naming.give_up();
        assert_eq!(naming.hear(protocol::NAME_REQUEST), Step::Nothing);
    }

    #[test]
    fn without_a_name_the_user_answers() {
        let mut naming = Naming::new(false);
        assert!(!naming.holds());
        assert_eq!(naming.hear(protocol::NAME_REQUEST), Step::Nothing);
    }
}
