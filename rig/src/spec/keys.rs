//! Keys of a keyboard: `a`, `enter`, `ctrl+q`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FromText;
use super::words::{Fault, suggestion};

/// A key, and what is held down meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chord {
    /// Held down, in this order.
    pub held: Vec<Modifier>,
    /// Pressed and released.
    pub key: Key,
}

/// A key that is held down while another is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Modifier {
    /// Control.
    Ctrl,
    /// Shift.
    Shift,
    /// Alt.
    Alt,
    /// The key with a logo.
    Super,
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// The one that types this character.
    Char(char),
    /// Enter.
    Enter,
    /// Tab.
    Tab,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Insert.
    Insert,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Left arrow.
    Left,
    /// Right arrow.
    Right,
    /// Up arrow.
    Up,
    /// Down arrow.
    Down,
    /// The menu key.
    Menu,
    /// F1 to F12, by their number.
    Function(u8),
}

const MODIFIERS: [(&str, Modifier); 4] = [
    ("ctrl", Modifier::Ctrl),
    ("shift", Modifier::Shift),
    ("alt", Modifier::Alt),
    ("super", Modifier::Super),
];

const KEYS: [(&str, Key); 17] = [
    ("space", Key::Char(' ')),
    ("enter", Key::Enter),
    ("tab", Key::Tab),
    ("escape", Key::Escape),
    ("backspace", Key::Backspace),
    ("delete", Key::Delete),
    ("insert", Key::Insert),
    ("home", Key::Home),
    ("end", Key::End),
    ("page-up", Key::PageUp),
    ("page-down", Key::PageDown),
    ("left", Key::Left),
    ("right", Key::Right),
    ("up", Key::Up),
    ("down", Key::Down),
    ("menu", Key::Menu),
    ("f1", Key::Function(1)),
];

/// The highest number of a function key.
const MAX_FUNCTION: u8 = 12;

/// As a file writes it.
impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for held in &self.held {
            let found = MODIFIERS.iter().find(|(_, modifier)| modifier == held);
            write!(f, "{}+", found.map_or("", |(name, _)| name))?;
        }
        let named = KEYS.iter().find(|(_, key)| *key == self.key);
        match (named, self.key) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Key::Char(only)) => write!(f, "{only}"),
            (None, Key::Function(number)) => write!(f, "f{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

impl FromText for Chord {
    fn from_text(text: &str) -> Result<Self, Fault> {
        // The key `+` stands at the end, behind the `+` that joins it to what is held.
        let (held, key) = if text == "+" {
            (None, text)
        } else if let Some(held) = text.strip_suffix("++") {
            (Some(held), "+")
        } else {
            let split = text.rsplit_once('+');
            split.map_or((None, text), |(held, key)| (Some(held), key))
        };
        let held = held.map_or(Ok(Vec::new()), |held| {
            held.split('+').map(modifier).collect::<Result<_, _>>()
        });
        Ok(Self {
            held: held?,
            key: self::key(key)?,
        })
    }
}

fn modifier(word: &str) -> Result<Modifier, Fault> {
    let found = MODIFIERS.iter().find(|(name, _)| *name == word);
    found.map(|(_, modifier)| *modifier).ok_or_else(|| {
        let names = MODIFIERS.map(|(name, _)| name);
        Fault {
            hint: Some(format!("these are held: {}", names.join(", "))),
            ..Fault::new(format!("`{word}` is not held while another key is pressed"))
        }
    })
}

fn key(word: &str) -> Result<Key, Fault> {
    let mut chars = word.chars();
    if let (Some(only), None) = (chars.next(), chars.next())
        && !only.is_control()
    {
        return Ok(Key::Char(only));
    }
    let function = word.strip_prefix('f').and_then(|n| n.parse().ok());
    if let Some(number @ 1..=MAX_FUNCTION) = function {
        return Ok(Key::Function(number));
    }
    let found = KEYS.iter().find(|(name, _)| *name == word);
    found.map(|(_, key)| *key).ok_or_else(|| {
        let names = KEYS.iter().map(|(name, _)| *name);
        let hint = match suggestion(word, names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write a character, or a name such as enter, escape, page-up or f1".to_owned(),
        };
        Fault {
            hint: Some(hint),
            ..Fault::new(format!("`{word}` is not a key"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chord(held: &[Modifier], key: Key) -> Chord {
        Chord {
            held: held.to_vec(),
            key,
        }
    }

    #[test]
    fn keys_are_characters_and_names_with_what_is_held() {
        for (text, read) in [
            ("q", chord(&[], Key::Char('q'))),
            ("è", chord(&[], Key::Char('è'))),
            ("+", chord(&[], Key::Char('+'))),
            ("ctrl++", chord(&[Modifier::Ctrl], Key::Char('+'))),
            ("ctrl+q", chord(&[Modifier::Ctrl], Key::Char('q'))),
            (
                "ctrl+shift+page-up",
                chord(&[Modifier::Ctrl, Modifier::Shift], Key::PageUp),
            ),
            ("f12", chord(&[], Key::Function(12))),
            ("alt+space", chord(&[Modifier::Alt], Key::Char(' '))),
        ] {
            assert_eq!(read.to_string(), text);
            assert_eq!(Chord::from_text(text), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        for (text, message) in [
            ("", "`` is not a key"),
            ("ctrl+", "`` is not a key"),
            ("q+", "`q` is not held while another key is pressed"),
            ("f13", "`f13` is not a key"),
            ("entre", "`entre` is not a key"),
            ("strg+q", "`strg` is not held while another key is pressed"),
            ("++q", "`` is not held while another key is pressed"),
            ("\u{1b}", "`\u{1b}` is not a key"),
        ] {
            let fault = Chord::from_text(text).unwrap_err();
            assert_eq!(fault.message, message, "{text}");
            assert!(fault.hint.is_some(), "{text}");
        }
    }
}
