//! Keys of a display's keyboard, pressed by the XTEST extension.
//!
//! A character that the keyboard lacks gets a key of its own, one that nobody uses, for as long as
//! the display lives: a program that reads its keys late finds each still meaning what it meant.

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::{CURRENT_TIME, NONE};

use super::server::{Server, ServerError};
use crate::spec::{Chord, Key, Modifier};

/// Keysyms of X (X11 protocol, appendix A; keysymdef.h).
const ENTER: u32 = 0xff0d;
const TAB: u32 = 0xff09;
const SHIFT: u32 = 0xffe1;
const FIRST_FUNCTION: u32 = 0xffbe;

/// Keysyms of keys for players, browsers and lamps (XF86keysym.h): keys that no step presses.
const SPECIAL_KEYS: std::ops::RangeInclusive<u32> = 0x1008_fe00..=0x1008_ffff;

/// What a Unicode character's keysym has beside its number.
const UNICODE: u32 = 0x0100_0000;

/// What a display's keys mean.
struct Keyboard {
    first: u8,
    /// Keysyms of each key: without Shift, with it, and others.
    keys: Vec<Vec<u32>>,
}

/// A key to press, perhaps with Shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stroke {
    code: u8,
    shift: bool,
}

impl Server {
    /// Types a text into the window that has the focus.
    pub(super) fn type_text(&self, text: &str) -> Result<(), ServerError> {
        let symbols: Vec<u32> = text.chars().map(symbol_of).collect();
        let keyboard = self.keyboard_with(&symbols)?;
        for symbol in symbols {
            self.strike(&keyboard, &[], symbol)?;
        }
        self.sync()
    }

    /// Presses keys, one after another.
    pub(super) fn press(&self, chords: &[Chord]) -> Result<(), ServerError> {
        let symbols: Vec<u32> = chords
            .iter()
            .map(|chord| symbol_of_key(chord.key))
            .collect();
        let keyboard = self.keyboard_with(&symbols)?;
        for (chord, symbol) in chords.iter().zip(symbols) {
            let held: Vec<u32> = chord.held.iter().copied().map(symbol_of_modifier).collect();
            self.strike(&keyboard, &held, symbol)?;
        }
        self.sync()
    }

    fn strike(&self, keyboard: &Keyboard, held: &[u32], symbol: u32) -> Result<(), ServerError> {
        let find = |symbol| {
            let stroke = keyboard.find(symbol);
            stroke.ok_or_else(|| format!("the keyboard has no key for keysym {symbol:#x}"))
        };
        let stroke = find(symbol)?;
        let mut down = Vec::new();
        for &held in held {
            down.push(find(held)?.code);
        }
        if stroke.shift && !held.contains(&SHIFT) {
            down.push(find(SHIFT)?.code);
        }
        down.push(stroke.code);
        for &code in &down {
            self.key(KEY_PRESS_EVENT, code)?;
        }
        for &code in down.iter().rev() {
            self.key(KEY_RELEASE_EVENT, code)?;
        }
        Ok(())
    }

    fn key(&self, event: u8, code: u8) -> Result<(), ServerError> {
        self.connection
            .xtest_fake_input(event, code, CURRENT_TIME, NONE, 0, 0, 0)?
            .ignore_error();
        Ok(())
    }

    /// The keyboard, on which each of `symbols` has a key.
    fn keyboard_with(&self, symbols: &[u32]) -> Result<Keyboard, ServerError> {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let count = last.saturating_sub(first).saturating_add(1);
        let reply = self
            .connection
            .get_keyboard_mapping(first, count)?
            .reply()?;
        let width = usize::from(reply.keysyms_per_keycode).max(1);
        let keys = reply.keysyms.chunks(width).map(<[u32]>::to_vec).collect();
        let mut keyboard = Keyboard { first, keys };
        for &symbol in symbols {
            if keyboard.find(symbol).is_some() {
                continue;
            }
            let code = keyboard.give_key(symbol).ok_or_else(|| {
                let missing = char::from_u32(symbol & !UNICODE).unwrap_or('\u{fffd}');
                format!("no key is left for the character {missing:?}: too many different ones were typed")
            })?;
            // Twice, since a letter alone would mean its small form, and the other with Shift.
            self.connection
                .change_keyboard_mapping(1, code, 2, &[symbol, symbol])?
                .check()?;
        }
        Ok(keyboard)
    }
}

impl Keyboard {
    /// How a symbol is typed: better without Shift than with it.
    fn find(&self, symbol: u32) -> Option<Stroke> {
        let at_level = |level: usize| {
            let at = self
                .keys
                .iter()
                .position(|key| key.get(level) == Some(&symbol));
            at.and_then(|at| self.code(at))
        };
        let plain = at_level(0).map(|code| Stroke { code, shift: false });
        plain.or_else(|| at_level(1).map(|code| Stroke { code, shift: true }))
    }

    /// Gives a symbol a key that nobody uses.
    fn give_key(&mut self, symbol: u32) -> Option<u8> {
        let is_free = |key: &Vec<u32>| {
            let unused = |symbol: &u32| *symbol == 0 || SPECIAL_KEYS.contains(symbol);
            key.iter().all(unused)
        };
        // From the end: keys without any meaning are there.
        let at = self.keys.iter().rposition(is_free)?;
        self.keys[at] = vec![symbol, symbol];
        self.code(at)
    }

    fn code(&self, at: usize) -> Option<u8> {
        u8::try_from(at).ok()?.checked_add(self.first)
    }
}

/// The keysym of a character.
fn symbol_of(c: char) -> u32 {
    match c {
        '\n' => ENTER,
        '\t' => TAB,
        // ISO 8859-1 is the first part of both.
        '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{ff}' => u32::from(c),
        _ => UNICODE | u32::from(c),
    }
}

fn symbol_of_key(key: Key) -> u32 {
    match key {
        Key::Char(c) => symbol_of(c),
        Key::Enter => ENTER,
        Key::Tab => TAB,
        Key::Escape => 0xff1b,
        Key::Backspace => 0xff08,
        Key::Delete => 0xffff,
        Key::Insert => 0xff63,
        Key::Home => 0xff50,
        Key::Left => 0xff51,
        Key::Up => 0xff52,
        Key::Right => 0xff53,
        Key::Down => 0xff54,
        Key::PageUp => 0xff55,
        Key::PageDown => 0xff56,
        Key::End => 0xff57,
        Key::Menu => 0xff67,
        Key::Function(number) => FIRST_FUNCTION + u32::from(number.saturating_sub(1)),
    }
}

fn symbol_of_modifier(modifier: Modifier) -> u32 {
    match modifier {
        Modifier::Ctrl => 0xffe3,
        Modifier::Shift => SHIFT,
        Modifier::Alt => 0xffe9,
        Modifier::Super => 0xffeb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_without_a_key_gets_one_that_nobody_uses() {
        let mut keyboard = Keyboard {
            first: 8,
            keys: vec![
                vec![u32::from('a'), u32::from('A')],
                vec![0x1008_ff11, 0],
                vec![0, 0],
            ],
        };
        let stroke = |code, shift| Some(Stroke { code, shift });
        assert_eq!(keyboard.find(symbol_of('a')), stroke(8, false));
        assert_eq!(keyboard.find(symbol_of('A')), stroke(8, true));
        assert_eq!(keyboard.find(symbol_of('你')), None);
        assert_eq!(keyboard.give_key(symbol_of('你')), Some(10));
        assert_eq!(keyboard.find(symbol_of('你')), stroke(10, false));
        assert_eq!(keyboard.give_key(symbol_of('è')), Some(9));
        assert_eq!(keyboard.give_key(symbol_of('é')), None);
    }

    #[test]
    fn characters_and_keys_have_their_keysyms() {
        assert_eq!(symbol_of('~'), 0x7e);
        assert_eq!(symbol_of('è'), 0xe8);
        assert_eq!(symbol_of('€'), 0x0100_20ac);
        assert_eq!(symbol_of('\n'), ENTER);
        assert_eq!(symbol_of_key(Key::Function(12)), 0xffc9);
    }
}
