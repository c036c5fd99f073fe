//! Who is let into the book, who is taken out of it, and who is told what. No socket and no clock are
//! in here; what a user asks for is in [`super::commands`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::book::{Book, Removed};
use super::gate::{Allowance, Strangers, Verdict};
use super::limits::{Limits, MAX_NAME_BYTES};
use super::wire::{self, Code, Datagram, MAX_TEXT_BYTES, Malformed};
use crate::names::Name;
use crate::protocol;

/// The users, and what they ask for.
#[derive(Debug)]
pub struct Service {
    pub(super) book: Book,
    pub(super) limits: Limits,
    strangers: Strangers,
    open: bool,
    pub(super) effects: Effects,
}

/// The user that a datagram comes from.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) name: Name,
    pub(super) address: SocketAddr,
}

/// What is to be done when a datagram was dealt with.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be sent, in this order.
    pub datagrams: Vec<(SocketAddr, Arc<str>)>,
    /// To be shown to the operator.
    pub shown: Vec<String>,
}

impl Service {
    /// A service with an empty book.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            book: Book::default(),
            strangers: Strangers::new(limits.stranger_rate, now),
            limits,
            open: true,
            effects: Effects::default(),
        }
    }

    /// Deals with a datagram that came from `from` at `now`.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Effects {
        let known = self.book.user_mut(from).map(|user| {
            user.heard = now;
            (user.name.clone(), user.allowance.judge(now))
        });
        match known {
            Some((name, Verdict::Serve)) => {
                let who = Who {
                    name,
                    address: from,
                };
                self.serve(&who, wire::decode(bytes));
            }
            Some((_, Verdict::Tell)) => {
                let rate = self.limits.rate;
                let told = format!("* too fast: at most {rate} a second; the rest is lost");
                self.tell(from, Code::Notice, &told);
            }
            None if self.strangers.admit(now, from.ip().to_canonical()) => {
                self.welcome(now, from, wire::decode(bytes));
            }
            Some((_, Verdict::Drop)) | None => {}
        }
        std::mem::take(&mut self.effects)
    }

    /// Takes users out of the book from whom nothing has come for too long.
    pub fn forget(&mut self, now: Instant) -> Effects {
        let after = self.limits.forget_after;
        if let Some(limit) = now.checked_sub(after) {
            for address in self.book.silent_since(limit) {
                self.remove(
                    address,
                    &format!("was silent for {after:?} and is forgotten"),
                );
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Says `text` to everybody as the operator.
    pub fn say_as_operator(&mut self, text: &str) -> Effects {
        if text.len() > MAX_TEXT_BYTES {
            self.effects.shown.push(protocol::too_long(MAX_TEXT_BYTES));
            return std::mem::take(&mut self.effects);
        }
        let said = protocol::operator_said(text);
        self.tell_all(self.book.addresses().collect(), Code::Text, &said);
        self.effects.shown.push(said);
        std::mem::take(&mut self.effects)
    }

    /// Lets nobody in from now on.
    pub fn refuse_newcomers(&mut self) {
        self.open = false;
    }

    /// Tells everybody that the server ends.
    pub fn farewell(&mut self) -> Effects {
        let everybody = self.book.addresses().collect();
        let told = "* the server shuts down: goodbye";
        self.tell_all(everybody, Code::Goodbye, told);
        std::mem::take(&mut self.effects)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.book.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.book.is_empty()
    }

    /// A datagram from an address that is not in the book.
    fn welcome(&mut self, now: Instant, from: SocketAddr, datagram: Result<Datagram, Malformed>) {
        match datagram {
            Ok(Datagram {
                code: Code::Hello,
                text,
            }) => match self.admissible(from, &text) {
                Ok(name) => self.admit(now, from, name),
                Err(reason) => self.refuse(from, Some(Code::Hello), &reason),
            },
            // The farewell to one who left may have been lost.
            Ok(Datagram {
                code: Code::Goodbye,
                text,
            }) if text.is_empty() => self.tell(from, Code::Goodbye, GOODBYE),
            // What only servers say: to answer it could keep two of them busy for ever.
            Ok(Datagram {
                code: Code::WhoAreYou | Code::Refused | Code::Notice | Code::Goodbye,
                ..
            }) => {}
            _ => self.tell(from, Code::WhoAreYou, WHO_ARE_YOU),
        }
    }

    /// The name that a stranger may have, or why not.
    fn admissible(&self, from: SocketAddr, text: &str) -> Result<Name, String> {
        let Limits {
            max_users,
            max_per_address,
            ..
        } = self.limits;
        if !self.open {
            return Err("* newcomers are refused".to_owned());
        }
        let name =
            Name::parse(text, MAX_NAME_BYTES).map_err(|e| protocol::name_refused(text, &e))?;
        if self.book.find(&name).is_some() {
            return Err(protocol::name_taken(&name));
        }
        if self.book.len() >= max_users as usize {
            return Err(format!(
                "* the address book is full: {max_users} users at most"
            ));
        }
        if self.book.len_at(from.ip()) >= max_per_address as usize {
            return Err(format!("* {max_per_address} users of one address at most"));
        }
        Ok(name)
    }

    fn admit(&mut self, now: Instant, from: SocketAddr, name: Name) {
        let present: Vec<_> = self.book.users().map(|(name, _)| name.clone()).collect();
        self.tell(
            from,
            Code::Hello,
            &protocol::admitted(&name, present.iter()),
        );
        let shown = SocketAddr::new(from.ip().to_canonical(), from.port());
        tracing::info!(%name, address = %shown, "joined");
        self.effects
            .shown
            .push(format!("* {name} has joined from {shown}"));
        let allowance = Allowance::new(self.limits.rate, self.limits.burst);
        self.book.add(from, name, now, allowance);
    }

    pub(super) fn remove(&mut self, address: SocketAddr, how: &str) {
        let Some(Removed {
            name,
            mut mates,
            talkers,
        }) = self.book.remove(address)
        else {
            return;
        };
        tracing::info!(%name, "{how}");
        let told = format!("* {name} {how}");
        mates.retain(|mate| !talkers.contains(mate));
        self.tell_all(mates, Code::Notice, &told);
        let over = format!("{told}: the private talk is over");
        self.tell_all(talkers, Code::Notice, &over);
        self.effects.shown.push(told);
    }

    pub(super) fn tell(&mut self, to: SocketAddr, code: Code, text: &str) {
        self.tell_all(BTreeSet::from([to]), code, text);
    }

    pub(super) fn tell_all(&mut self, to: BTreeSet<SocketAddr>, code: Code, text: &str) {
        let datagram: Arc<str> = wire::encode(code, text).into();
        let all = to.into_iter().map(|to| (to, Arc::clone(&datagram)));
        self.effects.datagrams.extend(all);
    }

    pub(super) fn refuse(&mut self, to: SocketAddr, code: Option<Code>, reason: &str) {
        self.tell(to, Code::Refused, &wire::refusal(code, reason));
    }
}

/// Answers the last datagram of a user.
pub(super) const GOODBYE: &str = "* goodbye";
const WHO_ARE_YOU: &str = "* your address is not in the book: begin with `hi NAME`";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::udp::testing::{Talk, at};
    use crate::udp::wire::{self, MAX_TEXT_BYTES};

    #[test]
    fn a_newcomer_comes_into_the_book_and_a_repeat_changes_nothing() {
        let mut talk = Talk::new(&[]);
        let answer = talk.say(1, "hi alice");
        assert_eq!(answer, ["1 hi * you are alice; nobody else is here"]);
        assert_eq!(talk.say(2, "hi bob"), ["2 hi * you are bob; here: alice"]);
        assert_eq!(talk.say(2, "hi bob"), ["2 hi * you are bob; here: alice"]);
        let other = talk.say(2, "hi carol");
        assert_eq!(other, ["2 no hi * you are bob already"]);
        assert_eq!(talk.service.len(), 2);
    }

    #[test]
    fn the_same_name_from_another_address_is_taken_until_its_owner_is_gone() {
        let mut talk = Talk::new(&["alice"]);
        let taken = ["9 no hi * the name `Alice` is taken: choose another"];
        assert_eq!(talk.say(9, "hi Alice"), taken);
        assert_eq!(talk.say(1, "by"), ["1 by * goodbye"]);
        // The farewell may have been lost; the address is a stranger's by now.
        assert_eq!(talk.say(1, "by"), ["1 by * goodbye"]);
        assert!(talk.say(9, "hi Alice")[0].starts_with("9 hi "));
    }

    #[test]
    fn names_are_those_of_the_room() {
        let mut talk = Talk::new(&["straße"]);
        let taken = ["9 no hi * the name `STRASSE` is taken: choose another"];
        assert_eq!(talk.say(9, "hi STRASSE"), taken);
        let answer = talk.say(2, "hi cafe\u{301}");
        assert_eq!(answer, ["2 hi * you are café; here: straße"]);
        talk.say(2, "rc ที่");
        assert_eq!(talk.say(2, "pk Strasse").len(), 2);
        assert_eq!(talk.say(1, "rj ที่").last().unwrap(), "1 rj * you are in ที่");
    }

    #[test]
    fn an_address_that_is_not_in_the_book_gets_one_answer_and_nothing_else() {
        let mut talk = Talk::new(&["alice"]);
        talk.say(1, "rc den");
        let oversized = format!("tx {}", "x".repeat(2000));
        for datagram in ["tx ciao", "ul", "ki", "xx", "", &oversized] {
            let answer = talk.say(9, datagram);
            assert_eq!(answer.len(), 1, "{datagram}");
            assert!(answer[0].starts_with("9 wh * "), "{answer:?}");
        }
        assert_eq!(talk.service.len(), 1);
    }

    #[test]
    fn what_only_servers_say_is_not_answered() {
        let mut talk = Talk::new(&["alice"]);
        for datagram in ["wh * who", "no hi * no", "nt * told", "by * goodbye"] {
            assert_eq!(talk.say(9, datagram), Vec::<String>::new(), "{datagram}");
        }
    }

    #[test]
    fn a_line_of_the_operator_that_fits_no_datagram_is_not_sent() {
        let mut talk = Talk::new(&["alice"]);
        let effects = talk
            .service
            .say_as_operator(&"x".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(Talk::told(&effects), Vec::<String>::new());
        assert!(effects.shown[0].contains("too long"), "{effects:?}");
        let longest = "x".repeat(MAX_TEXT_BYTES);
        let told = Talk::told(&talk.service.say_as_operator(&longest));
        assert!(told[0].ends_with(&longest), "{told:?}");
    }

    #[test]
    fn a_bad_name_a_full_book_and_a_full_address_are_told() {
        let mut talk = Talk::new(&[]);
        talk.service.limits.max_per_address = 3;
        for name in ["", "a b", "operator", &"x".repeat(33)] {
            let answer = talk.say(1, &format!("hi {name}"));
            assert!(answer[0].contains("cannot be used: "), "{answer:?}");
        }
        for port in 1..=3 {
            talk.say(port, &format!("hi u{port}"));
        }
        let answer = talk.say(4, "hi u4");
        assert_eq!(answer, ["4 no hi * 3 users of one address at most"]);
        talk.service.limits.max_users = 3;
        let answer = talk.say(4, "hi u4");
        assert_eq!(
            answer,
            ["4 no hi * the address book is full: 3 users at most"]
        );
        talk.service.refuse_newcomers();
        assert_eq!(talk.say(4, "hi u4"), ["4 no hi * newcomers are refused"]);
        assert_eq!(talk.say(1, "ka"), ["1 ka"]);
    }

    #[test]
    fn who_is_silent_is_forgotten_and_a_sign_of_life_is_enough() {
        let mut talk = Talk::new(&["alice", "bob", "carol"]);
        for (user, command) in [(1, "rc den"), (2, "rj den"), (3, "pk alice")] {
            talk.say(user, command);
        }
        talk.now += Duration::from_secs(20);
        talk.say(2, "ka");
        talk.say(3, "ka");
        talk.now += Duration::from_secs(20);
        let told = talk.service.forget(talk.now);
        let how = "* alice was silent for 30s and is forgotten";
        assert_eq!(
            Talk::told(&told),
            [
                format!("2 nt {how}"),
                format!("3 nt {how}: the private talk is over")
            ]
        );
        assert_eq!(told.shown, [how]);
        assert!(talk.say(1, "ka")[0].starts_with("1 wh "));
        assert!(Talk::told(&talk.service.forget(talk.now)).is_empty());
    }

    #[test]
    fn a_user_over_the_rate_is_told_once_and_is_not_silent() {
        let mut talk = Talk::new(&["alice"]);
        let mut told = Vec::new();
        for _ in 0..1000 {
            told.extend(talk.say(1, "ka"));
        }
        assert_eq!(told.len(), 61, "a burst of 60, and one notice");
        let notice = "1 nt * too fast: at most 20 a second; the rest is lost";
        assert_eq!(told[60], notice);
    }

    #[test]
    fn a_flood_of_strangers_is_answered_in_small_part_and_leaves_users_alone() {
        let mut talk = Talk::new(&["alice"]);
        let answered = (0..10_000)
            .filter(|n| !talk.say(10_000 + n, "tx ciao").is_empty())
            .count();
        assert_eq!(answered, 19, "one of the twenty of this second was alice's");
        assert_eq!(talk.say(1, "ka"), ["1 ka"]);
    }

    #[test]
    fn the_operator_and_the_end_reach_everybody() {
        let mut talk = Talk::new(&["alice", "bob"]);
        let mut said = Talk::told(&talk.service.say_as_operator("ciao"));
        said.sort();
        assert_eq!(said, ["1 tx operator: ciao", "2 tx operator: ciao"]);
        let told = talk.service.farewell().datagrams;
        assert_eq!(told.len(), 2);
        assert!(told.iter().any(|(to, _)| *to == at(2)));
        assert!(
            told.iter()
                .all(|(_, d)| d.starts_with("by * the server shuts down"))
        );
    }
    #[test]
    fn random_datagrams_break_no_bound() {
        let codes = [
            "hi u", "by", "tx ", "ul", "rl", "rc r", "rj r", "lv", "pk u", "ki", "\x1b",
        ];
        let mut talk = Talk::new(&[]);
        talk.service.limits.max_users = 50;
        talk.service.limits.max_rooms = 5;
        // A linear congruential generator: the same datagrams each time.
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut answered = 0;
        for _ in 0..50_000 {
            let from = u16::try_from(random(200)).unwrap();
            let code = codes[usize::try_from(random(codes.len() as u64)).unwrap()];
            let digits = random(60);
            let bytes: Vec<u8> = match random(10) {
                0 => (0..random(1400))
                    .map(|n| n.to_le_bytes()[0] ^ 0x9b)
                    .collect(),
                _ => format!("{code}{digits}").into(),
            };
            talk.now += Duration::from_millis(random(50));
            let effects = talk.service.receive(talk.now, at(from), &bytes);
            for (_, datagram) in &effects.datagrams {
                assert!(datagram.len() <= wire::MAX_DATAGRAM_BYTES);
                assert!(!datagram.chars().any(crate::text::acts_on_terminal));
            }
            answered += effects.datagrams.len();
            assert!(talk.service.len() <= 50 && talk.service.book.rooms().len() <= 5);
        }
        assert!(answered > 10_000, "{answered}");
        talk.now += Duration::from_mins(1);
        talk.service.forget(talk.now);
        let nobody = (talk.service.len(), talk.service.book.rooms().len());
        assert_eq!(nobody, (0, 0));
    }
}
