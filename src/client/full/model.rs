//! All that is shown; what lines and keys change in it.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Size;
use tui_input::InputRequest;

use super::draw;
use super::entry::{Entry, Recall};
use super::roster::Roster;
use super::scrollback::Scrollback;
use crate::protocol;

/// The front end's state.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The server, as the user named it.
    pub(super) peer: String,
    pub(super) scrollback: Scrollback,
    pub(super) roster: Roster,
    pub(super) entry: Entry,
    /// Why what was typed last was not taken.
    pub(super) note: Option<&'static str>,
    /// Size of the terminal.
    pub(super) size: Size,
    asked: bool,
    leaving: bool,
}

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing but another picture.
    Draw,
    /// A line for the server.
    Send(String),
    /// The end of input.
    Leave,
    /// The shell back, for a while.
    Suspend,
    /// Everything drawn anew.
    Redraw,
}

impl Model {
    /// What is shown of a talk with `peer`.
    pub(super) fn new(peer: String) -> Self {
        Self {
            peer,
            ..Self::default()
        }
    }

    /// Takes in a line of the server.
    pub(super) fn hear(&mut self, line: String) {
        self.roster.hear(&line);
        self.asked = line == protocol::NAME_REQUEST;
        self.scrollback.push(line);
    }

    /// Takes in text that was pasted.
    pub(super) fn paste(&mut self, text: &str) {
        self.note = None;
        self.entry.insert(text);
    }

    /// Takes in a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Draw;
        }
        self.note = None;
        let held = key.modifiers - KeyModifiers::SHIFT;
        match (key.code, held) {
            (KeyCode::Enter, _) | (KeyCode::Char('j' | 'm'), KeyModifiers::CONTROL) => {
                return self.submit();
            }
            (KeyCode::Char('c'), KeyModifiers::CONTROL) => return self.leave(),
            (KeyCode::Char('d'), KeyModifiers::CONTROL) if self.entry.text().is_empty() => {
                return self.leave();
            }
            (KeyCode::Char('z'), KeyModifiers::CONTROL) => return Wish::Suspend,
            (KeyCode::Char('l'), KeyModifiers::CONTROL) => return Wish::Redraw,
            (KeyCode::PageUp, _) => self.scroll(Way::Up),
            (KeyCode::PageDown, _) => self.scroll(Way::Down),
            (KeyCode::End, _) if self.scrollback.unread().is_some() => self.scrollback.follow(),
            (KeyCode::Up, _) | (KeyCode::Char('p'), KeyModifiers::CONTROL) => {
                self.entry.recall(Recall::Older);
            }
            (KeyCode::Down, _) | (KeyCode::Char('n'), KeyModifiers::CONTROL) => {
                self.entry.recall(Recall::Newer);
            }
            (KeyCode::Char(c), KeyModifiers::NONE) => self.entry.insert(c.encode_utf8(&mut [0; 4])),
            other => {
                if let Some(request) = edit(other) {
                    self.entry.edit(request);
                }
            }
        }
        Wish::Draw
    }

    /// The line cannot be sent now: it stays where it can be sent again.
    pub(super) fn refuse(&mut self, line: String) {
        self.entry.give_back(line);
        self.note = Some("too much waits to be sent: try again");
    }

    /// The connection's state, in words.
    pub(super) fn state(&self) -> String {
        match self.roster.own() {
            _ if self.leaving => "leaving".to_owned(),
            Some(name) => format!("connected as {name}"),
            None if self.asked => "connected, without a name".to_owned(),
            None => "connected".to_owned(),
        }
    }

    fn submit(&mut self) -> Wish {
        let line = self.entry.take();
        if line.trim().is_empty() {
            return Wish::Draw;
        }
        self.scrollback.follow();
        Wish::Send(line)
    }

    /// Takes note of a line that goes to the server. Only a room of ours says it to its author too.
    pub(super) fn sent(&mut self, line: &str) {
        if protocol::is_quit(line) {
            self.leaving = true;
        } else if self.roster.own().is_none() {
            self.scrollback.push(format!("> {line}"));
        }
    }

    fn leave(&mut self) -> Wish {
        self.leaving = true;
        Wish::Leave
    }

    fn scroll(&mut self, way: Way) {
        let area = draw::areas(self).conversation;
        let rows = |line: &str| draw::rows_of(line, area.width);
        let extent = draw::extent(area, &rows);
        // One row of the page before stays in view.
        let page = extent.height.saturating_sub(1).max(1);
        match way {
            Way::Up => self.scrollback.up(page, &extent),
            Way::Down => self.scrollback.down(page, &extent),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// The keys of a line editor, as in the line mode.
fn edit(key: (KeyCode, KeyModifiers)) -> Option<InputRequest> {
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
    const ALT: KeyModifiers = KeyModifiers::ALT;
    Some(match key {
        (KeyCode::Left, CONTROL | ALT) | (KeyCode::Char('b'), ALT) => InputRequest::GoToPrevWord,
        (KeyCode::Right, CONTROL | ALT) | (KeyCode::Char('f'), ALT) => InputRequest::GoToNextWord,
        (KeyCode::Left, _) | (KeyCode::Char('b'), CONTROL) => InputRequest::GoToPrevChar,
        (KeyCode::Right, _) | (KeyCode::Char('f'), CONTROL) => InputRequest::GoToNextChar,
        (KeyCode::Home, _) | (KeyCode::Char('a'), CONTROL) => InputRequest::GoToStart,
        (KeyCode::End, _) | (KeyCode::Char('e'), CONTROL) => InputRequest::GoToEnd,
        (KeyCode::Backspace, ALT) | (KeyCode::Char('w'), CONTROL) => InputRequest::DeletePrevWord,
        (KeyCode::Backspace, _) | (KeyCode::Char('h'), CONTROL) => InputRequest::DeletePrevChar,
        (KeyCode::Delete, CONTROL) | (KeyCode::Char('d'), ALT) => InputRequest::DeleteNextWord,
        (KeyCode::Delete, _) | (KeyCode::Char('d'), CONTROL) => InputRequest::DeleteNextChar,
        (KeyCode::Char('u'), CONTROL) => InputRequest::DeleteFromStart,
        (KeyCode::Char('k'), CONTROL) => InputRequest::DeleteTillEnd,
        (KeyCode::Char('y'), CONTROL) => InputRequest::Yank,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn control(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    fn typed(text: &str) -> Model {
        let mut model = Model::new("hub port 15102".to_owned());
        model.size = Size::new(40, 10);
        for c in text.chars() {
            assert_eq!(model.press(key(KeyCode::Char(c))), Wish::Draw);
        }
        model
    }

    #[test]
    fn enter_sends_what_was_typed_and_edited() {
        let mut model = typed("ciaoo");
        model.press(key(KeyCode::Left));
        model.press(key(KeyCode::Backspace));
        model.press(control('a'));
        model.press(key(KeyCode::Char('>')));
        // A pipe's line end is a key too, ctrl-J.
        assert_eq!(model.press(control('j')), Wish::Send(">ciao".to_owned()));
        assert_eq!(model.press(key(KeyCode::Enter)), Wish::Draw);
        model.press(key(KeyCode::Up));
        assert_eq!(model.entry.text(), ">ciao");
        model.press(control('u'));
        assert_eq!(model.entry.text(), "");
    }

    #[test]
    fn the_end_of_input_leaves_and_deletes_where_there_is_something() {
        let mut model = typed("x");
        model.press(key(KeyCode::Left));
        assert_eq!(model.press(control('d')), Wish::Draw);
        assert_eq!(model.entry.text(), "");
        assert_eq!(model.press(control('d')), Wish::Leave);
        assert_eq!(typed("x").press(control('c')), Wish::Leave);
        assert_eq!(model.state(), "leaving");
    }

    #[test]
    fn the_state_is_told_in_words() {
        let mut model = typed("");
        assert_eq!(model.state(), "connected");
        model.hear(protocol::NAME_REQUEST.to_owned());
        assert_eq!(model.state(), "connected, without a name");
        model.hear("* you are alice; nobody else is here".to_owned());
        assert_eq!(model.state(), "connected as alice");
        model.sent("quit");
        assert_eq!(model.state(), "leaving");
    }

    #[test]
    fn a_line_that_could_not_be_sent_is_kept_and_said_so() {
        let mut model = typed("ciao");
        let Wish::Send(line) = model.press(key(KeyCode::Enter)) else {
            panic!("not sent")
        };
        model.refuse(line);
        assert_eq!(model.entry.text(), "ciao");
        assert!(model.note.is_some());
        model.press(key(KeyCode::Right));
        assert!(model.note.is_none());
    }

    #[test]
    fn what_a_foreign_server_does_not_repeat_is_shown_all_the_same() {
        let mut model = typed("");
        model.sent("ciao");
        assert_eq!(model.scrollback.last(), Some("> ciao"));
        model.hear("* you are alice; nobody else is here".to_owned());
        model.sent("ciao");
        assert!(model.scrollback.last().unwrap().starts_with("* you are"));
    }

    #[test]
    fn pages_go_up_and_down_and_sending_goes_to_the_end() {
        let mut model = typed("");
        for n in 0..100 {
            model.hear(format!("bob: {n}"));
        }
        model.press(key(KeyCode::PageUp));
        model.press(key(KeyCode::PageUp));
        model.press(key(KeyCode::PageDown));
        assert_eq!(model.scrollback.unread(), Some(0));
        model.hear("bob: more".to_owned());
        assert_eq!(model.scrollback.unread(), Some(1));
        model.press(key(KeyCode::End));
        assert_eq!(model.scrollback.unread(), None);
        model.press(key(KeyCode::PageUp));
        model.press(key(KeyCode::Char('x')));
        model.press(key(KeyCode::Enter));
        assert_eq!(model.scrollback.unread(), None);
    }
}
