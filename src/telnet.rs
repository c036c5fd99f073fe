//! Telnet's commands among the bytes of a peer (RFC 854, RFC 855), taken out before anything is a line.
//!
//! A telnet client says such things unasked: ctrl-C is `IAC IP, IAC DO TIMING-MARK`, and it shows nothing
//! more until the mark is answered (RFC 860). Here every option is refused, which RFC 854 allows at any
//! time, and a refusal needs no answer, so that no two sides keep each other busy. The byte 255 is never
//! part of UTF-8: who is no telnet says none of this.

use memchr::memchr2;

/// "Interpret as command": begins each command, and stands for itself when it is doubled.
const IAC: u8 = 255;

/// Verbs that an option follows.
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;

/// Begins a subnegotiation, and ends it.
const SB: u8 = 250;
const SE: u8 = 240;

/// "Are you there?"
const AYT: u8 = 246;

/// The first byte that is a command at all: those of RFC 1184 come before [`SE`].
const FIRST_COMMAND: u8 = 236;

/// A subnegotiation is at most so long, in bytes: what never ends must not swallow all that follows.
const SUBNEGOTIATION_BYTES: u16 = 1024;

/// Takes telnet's commands out of a stream of bytes, wherever the stream is cut.
#[derive(Debug, Default)]
pub struct Telnet {
    state: State,
    refusals: Vec<u8>,
    asked: bool,
}

/// What the bytes so far have begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Text.
    #[default]
    Text,
    /// Text whose last byte is CR: LF or NUL belongs to it.
    Return,
    /// A command.
    Command,
    /// A verb, whose option follows.
    Verb(u8),
    /// A subnegotiation of so many bytes.
    Sub(u16),
    /// The same, and a command in it.
    SubCommand(u16),
}

/// What a peer's commands ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Refuses the options that were asked for: to be sent as it is.
    pub refusals: Vec<u8>,
    /// Whether the peer has asked if somebody is there (AYT), and wants to see a sign of it.
    pub asked: bool,
}

impl Telnet {
    /// Gives the text in `bytes` to `use_text`, piece by piece. `CR NUL`, telnet's other line end, becomes CR LF.
    pub fn take(&mut self, bytes: &[u8], mut use_text: impl FnMut(&[u8])) {
        let plain = matches!(self.state, State::Text | State::Return);
        let in_return = self.state == State::Return && bytes.first() == Some(&0);
        // Nearly always, and as fast as the bytes can be read.
        if plain && !in_return && memchr2(IAC, 0, bytes).is_none() {
            self.after_text(bytes.last());
            use_text(bytes);
            return;
        }
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.step(byte, &mut text);
        }
        use_text(&text);
    }

    /// What the commands so far ask for, if anything.
    pub fn reply(&mut self) -> Option<Reply> {
        if self.refusals.is_empty() && !self.asked {
            return None;
        }
        Some(Reply {
            refusals: std::mem::take(&mut self.refusals),
            asked: std::mem::take(&mut self.asked),
        })
    }

    fn step(&mut self, byte: u8, text: &mut Vec<u8>) {
        match (self.state, byte) {
            (State::Text | State::Return, IAC) => self.state = State::Command,
            (State::Return, 0) => self.text(b'\n', text),
            (State::Text | State::Return, _) | (State::Command, IAC) => self.text(byte, text),
            (State::Verb(verb), option) => self.negotiate(verb, option),
            (State::Sub(_), IAC) => self.within(State::SubCommand),
            (State::SubCommand(_), IAC) | (State::Sub(_), _) => self.within(State::Sub),
            (State::SubCommand(_), SE) => self.state = State::Text,
            // Within a subnegotiation it means that its end was left out.
            (State::Command | State::SubCommand(_), _) => self.command(byte, text),
        }
    }

    fn text(&mut self, byte: u8, text: &mut Vec<u8>) {
        text.push(byte);
        self.after_text(Some(&byte));
    }

    fn after_text(&mut self, last: Option<&u8>) {
        self.state = match last {
            Some(b'\r') => State::Return,
            Some(_) => State::Text,
            None => self.state,
        };
    }

    fn command(&mut self, byte: u8, text: &mut Vec<u8>) {
        self.state = match byte {
            WILL..=DONT => State::Verb(byte),
            SB => State::Sub(0),
            AYT => {
                self.asked = true;
                State::Text
            }
            // The rest asks for nothing that there is here: nothing to interrupt, no line to erase.
            FIRST_COMMAND.. => State::Text,
            // No telnet says this: a damaged byte of somebody else, which stays one.
            _ => {
                text.push(IAC);
                return self.text(byte, text);
            }
        };
    }

    /// Refuses what is asked for; what is refused or given up by the peer is so already.
    fn negotiate(&mut self, verb: u8, option: u8) {
        let refusal = match verb {
            DO => Some(WONT),
            WILL => Some(DONT),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.refusals.extend([IAC, refusal, option]);
        }
        self.state = State::Text;
    }

    /// Goes on within a subnegotiation, unless it is too long to be one.
    fn within(&mut self, next: fn(u16) -> State) {
        let (State::Sub(bytes) | State::SubCommand(bytes)) = self.state else {
            return;
        };
        self.state = if bytes < SUBNEGOTIATION_BYTES {
            next(bytes + 1)
        } else {
            State::Text
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of `bytes`, taken in pieces of `size`, and what is asked for.
    fn taken(bytes: &[u8], size: usize) -> (Vec<u8>, Reply) {
        let mut telnet = Telnet::default();
        let (mut text, mut all) = (Vec::new(), Reply::default());
        for piece in bytes.chunks(size) {
            telnet.take(piece, |piece| text.extend_from_slice(piece));
            let reply = telnet.reply().unwrap_or_default();
            all.refusals.extend(reply.refusals);
            all.asked |= reply.asked;
        }
        (text, all)
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        taken(bytes, bytes.len()).0
    }

    #[test]
    fn commands_are_no_text_however_they_are_cut() {
        let bytes = [
            &b"one\xff\xf1\r\n"[..],                            // NOP
            b"t\xff\xfd\x06w\xff\xfb\x1fo\n",                   // DO TIMING-MARK, WILL NAWS
            b"\xff\xfa\x1f\x00\x50\xff\xff\x18\xff\xf0three\n", // SB NAWS 80 65304 SE
            b"f\xff\xf4o\xff\xf6ur\n",                          // IP, AYT
            b"fi\xff\xfe\x01ve\xff\xfc\x01\n",                  // DONT, WONT: no answer
        ];
        let bytes = bytes.concat();
        for size in 1..=bytes.len() {
            let (text, reply) = taken(&bytes, size);
            assert_eq!(text, b"one\r\ntwo\nthree\nfour\nfive\n", "pieces of {size}");
            assert_eq!(reply.refusals, b"\xff\xfc\x06\xff\xfe\x1f");
            assert!(reply.asked);
        }
    }

    #[test]
    fn a_doubled_command_byte_is_one_byte_of_text() {
        for size in 1..=4 {
            assert_eq!(taken(b"a\xff\xffb", size).0, b"a\xffb");
        }
        assert_eq!(text(b"\xff\xff\xff\xff"), b"\xff\xff");
    }

    #[test]
    fn a_byte_that_is_no_command_stays_damaged_text() {
        assert_eq!(text(b"\xff\nla\xffba\xff\x00"), b"\xff\nla\xffba\xff\x00");
    }

    #[test]
    fn carriage_return_and_nul_end_a_line_however_they_are_cut() {
        for size in 1..=10 {
            assert_eq!(taken(b"one\r\0two\r\n\0", size).0, b"one\r\ntwo\r\n\0");
            assert_eq!(taken(b"one\r\xff\xf1\0two", size).0, b"one\r\0two");
        }
    }

    #[test]
    fn a_subnegotiation_without_end_does_not_swallow_what_follows() {
        let long = [&b"\xff\xfa"[..], &[b'x'; 2000], b"\nhello\n"].concat();
        assert!(text(&long).ends_with(b"x\nhello\n"));
        // Its end was left out: the next command ends it.
        assert_eq!(text(b"\xff\xfa\x18x\xff\xf1hello"), b"hello");
    }

    #[test]
    fn a_flood_of_requests_is_answered_byte_by_byte_and_kept_no_longer() {
        let mut telnet = Telnet::default();
        for _ in 0..1000 {
            telnet.take(&b"\xff\xfd\x01".repeat(1365), |text| {
                assert!(text.is_empty());
            });
            assert_eq!(telnet.reply().unwrap().refusals.len(), 3 * 1365);
        }
        assert_eq!(telnet.reply(), None);
        assert_eq!(telnet.refusals.capacity(), 0);
    }
}
