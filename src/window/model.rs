//! What the window knows, and what it does about what happens. No display is needed for it.

use std::mem;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Source};
use super::members::Members;
use super::visit::{End, Event, Typed};
use crate::client::exit::Exit;
use crate::protocol;
use crate::text;

/// So many messages may wait to be sent; then the text stays in the field.
const LINES_WAITING: usize = 64;

/// The longest text in the field, in bytes; the server may take less, and says so.
pub const MAX_DRAFT_BYTES: usize = 64 * 1024;

/// The line on stdout that says that the window is there.
pub const UP: &str = "* window is up";

/// What happens to the window.
#[derive(Debug, Clone)]
pub enum Message {
    /// The text in the field has changed.
    Draft(String),
    /// The text in the field shall be sent.
    Send,
    /// A new connection is wanted.
    Reconnect,
    /// The user wants to leave.
    Leave,
    /// The keyboard goes to the next part, or to the one before.
    Tab {
        /// To the one before.
        back: bool,
    },
    /// The keyboard goes to this part.
    Focus(Part),
    /// Enter or the space bar, while no text is edited.
    Press,
    /// The window has the keyboard, or has it no more.
    Attended(bool),
    /// The end of the conversation is in view, or is no more.
    AtEnd(bool),
    /// The view shall go to the end of the conversation.
    GoToEnd,
    /// These lines were part of a frame that was drawn.
    Shown(Vec<u64>),
    /// Something has become of the visit with this number.
    Visit(u64, Event),
    /// The farewell has had its time.
    FarewellOver,
}

/// A part of the window that the keyboard can go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The text field.
    Field,
    /// The button that sends.
    Send,
    /// The button that connects again.
    Reconnect,
    /// The button that goes to the unread lines.
    Unread,
}

/// What shall be done outside the model.
#[derive(Debug)]
pub enum Effect {
    /// Begin a visit, in which this is typed.
    Begin(u64, Typed),
    /// Print this on stdout.
    Tell(String),
    /// Print this on stderr.
    Complain(String),
    /// Give the keyboard to the text field, or take it from there.
    FieldFocus(bool),
    /// End the program.
    Quit,
    /// Say that the farewell has had its time, once it has.
    AwaitFarewell,
}

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// It is being made.
    Connecting,
    /// It stands.
    Connected,
    /// The user leaves.
    Leaving,
    /// There is none, and why.
    Ended(String),
}

/// The window.
#[derive(Debug)]
pub struct Model {
    /// The server, as it is shown.
    server: String,
    conversation: Conversation,
    members: Members,
    connection: Connection,
    draft: String,
    /// Why the text in the field was not sent.
    hint: Option<&'static str>,
    focus: Part,
    attended: bool,
    at_end: bool,
    /// Counts the wishes to go to the end of the conversation.
    jumps: u64,
    visit: u64,
    typed: Option<mpsc::Sender<String>>,
    at_once: CancellationToken,
    exit: Exit,
    up: bool,
    /// The line that shall still be seen before the program ends.
    farewell: Option<u64>,
    /// Gives the time of day as it is shown.
    clock: fn() -> String,
}

impl Model {
    /// A window that begins its first visit.
    pub fn new(host: &str, port: u16, clock: fn() -> String) -> (Self, Vec<Effect>) {
        let mut model = Self {
            server: format!("{} port {port}", text::harmless(host.as_bytes())),
            conversation: Conversation::default(),
            members: Members::default(),
            connection: Connection::Connecting,
            draft: String::new(),
            hint: None,
            focus: Part::Field,
            // Where no window manager tells, the window is looked at.
            attended: true,
            at_end: true,
            jumps: 0,
            visit: 0,
            typed: None,
            at_once: CancellationToken::new(),
            exit: Exit::Left,
            up: false,
            farewell: None,
            clock,
        };
        let effects = vec![model.begin(), Effect::FieldFocus(true)];
        (model, effects)
    }

    /// Takes note of what happened and says what shall be done.
    pub fn update(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Draft(text) => self.edit(text),
            Message::Send => self.send(),
            Message::Reconnect => self.reconnect(),
            Message::Leave => self.leave(),
            Message::Tab { back } => self.tab(back),
            Message::Focus(part) => self.focus_on(part),
            Message::Press => match self.focus {
                Part::Field => vec![],
                Part::Send => self.send(),
                Part::Reconnect => self.reconnect(),
                Part::Unread => self.go_to_end(),
            },
            Message::Attended(attended) => {
                self.attended = attended;
                self.note_seen()
            }
            Message::AtEnd(at_end) => {
                self.at_end = at_end;
                self.note_seen()
            }
            Message::GoToEnd => self.go_to_end(),
            Message::Shown(lines) => self.tell(&lines),
            Message::Visit(number, event) if number == self.visit => self.hear(event),
            // Of a visit that another has followed.
            Message::Visit(..) => vec![],
            Message::FarewellOver => vec![Effect::Quit],
        }
    }

    fn begin(&mut self) -> Effect {
        let (typed, lines) = mpsc::channel(LINES_WAITING);
        self.typed = Some(typed);
        self.at_once = CancellationToken::new();
        self.visit += 1;
        self.connection = Connection::Connecting;
        self.exit = Exit::Left;
        let at_once = self.at_once.clone();
        Effect::Begin(self.visit, Typed { lines, at_once })
    }

    fn edit(&mut self, text: String) -> Vec<Effect> {
        self.focus = Part::Field;
        self.hint = None;
        if text.len() <= MAX_DRAFT_BYTES {
            self.draft = text;
        } else {
            self.hint = Some("too long: nothing was put in");
        }
        vec![]
    }

    fn send(&mut self) -> Vec<Effect> {
        let text = text::harmless(self.draft.as_bytes());
        let leaves = protocol::is_quit(&text);
        let mut effects = self.focus_on(Part::Field);
        if text.trim().is_empty() {
            return effects;
        }
        if !matches!(self.connection, Connection::Connected) {
            if leaves {
                return self.leave();
            }
            self.hint = Some("not connected: nothing was sent");
            return effects;
        }
        let taken = self.typed.as_ref().map(|typed| typed.try_send(text));
        if !matches!(taken, Some(Ok(()))) {
            self.hint = Some("too much waits to be sent: try again in a moment");
            return effects;
        }
        self.draft.clear();
        self.hint = None;
        self.conversation.clear_marker();
        if leaves {
            self.connection = Connection::Leaving;
        }
        effects.extend(self.go_to_end());
        effects
    }

    fn reconnect(&mut self) -> Vec<Effect> {
        if !matches!(self.connection, Connection::Ended(_)) {
            return vec![];
        }
        self.say("connecting again".to_owned());
        let mut effects = vec![self.begin()];
        effects.extend(self.focus_on(Part::Field));
        effects
    }

    /// Leaves as the end of input does at the terminal; without a connection at once. The second time the visit is broken
    /// off, and says how much was not heard; the third time nothing is waited for.
    fn leave(&mut self) -> Vec<Effect> {
        self.typed = None;
        match self.connection {
            Connection::Connected => {
                self.connection = Connection::Leaving;
                vec![]
            }
            Connection::Leaving if !self.at_once.is_cancelled() => {
                self.at_once.cancel();
                vec![]
            }
            Connection::Connecting | Connection::Leaving | Connection::Ended(_) => {
                vec![Effect::Quit]
            }
        }
    }

    fn hear(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Connected => {
                self.connection = Connection::Connected;
                self.members = Members::default();
                self.hint = None;
                vec![]
            }
            Event::Line(line) => {
                self.members.hear(&line);
                let number = self.conversation.push(Source::Server, (self.clock)(), line);
                if !(self.attended && self.at_end) {
                    self.conversation.note_unread(number);
                }
                vec![]
            }
            Event::Ended(end) => self.ended(end),
        }
    }

    fn ended(&mut self, end: End) -> Vec<Effect> {
        let left = self.connection == Connection::Leaving;
        self.exit = end.exit;
        self.typed = None;
        self.members = Members::default();
        let mut effects = Vec::new();
        if let Some(cause) = &end.cause {
            self.say(cause.clone());
            effects.push(Effect::Complain(cause.clone()));
        }
        self.connection =
            Connection::Ended(end.cause.unwrap_or_else(|| "you have left".to_owned()));
        if left {
            // What the server said last comes with its FIN: the window would close before it is drawn.
            let waits = !self.at_once.is_cancelled();
            let unseen = |line: &u64| waits && self.at_end && self.conversation.is_untold(*line);
            self.farewell = self.conversation.last_heard().filter(unseen);
            effects.push(match self.farewell {
                Some(_) => Effect::AwaitFarewell,
                None => Effect::Quit,
            });
        }
        effects
    }

    /// A line of the window's own.
    fn say(&mut self, text: String) {
        self.conversation.push(Source::Window, (self.clock)(), text);
    }

    fn tab(&mut self, back: bool) -> Vec<Effect> {
        let parts = self.parts();
        let at = parts
            .iter()
            .position(|&part| part == self.focus)
            .unwrap_or(0);
        let step = if back { parts.len() - 1 } else { 1 };
        self.focus_on(parts[(at + step) % parts.len()])
    }

    /// The parts that the keyboard can go to at present, in order.
    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::Field, Part::Send];
        if self.can_reconnect() {
            parts.push(Part::Reconnect);
        }
        if self.shows_unread() {
            parts.push(Part::Unread);
        }
        parts
    }

    fn focus_on(&mut self, part: Part) -> Vec<Effect> {
        self.focus = part;
        vec![Effect::FieldFocus(part == Part::Field)]
    }

    fn go_to_end(&mut self) -> Vec<Effect> {
        self.jumps += 1;
        vec![]
    }

    fn note_seen(&mut self) -> Vec<Effect> {
        if self.attended && self.at_end {
            self.conversation.note_seen();
        }
        if self.focus == Part::Unread && !self.shows_unread() {
            return self.focus_on(Part::Field);
        }
        vec![]
    }

    fn tell(&mut self, lines: &[u64]) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !mem::replace(&mut self.up, true) {
            effects.push(Effect::Tell(UP.to_owned()));
        }
        for &line in lines {
            if let Some(text) = self.conversation.tell(line) {
                effects.push(Effect::Tell(text.to_owned()));
            }
        }
        if let Some(line) = self.farewell
            && !self.conversation.is_untold(line)
        {
            effects.push(Effect::Quit);
        }
        effects
    }
}

/// What there is to draw.
impl Model {
    /// The server, harmless.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What was said.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Who is there.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Where the connection stands.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The text in the field.
    pub fn draft(&self) -> &str {
        &self.draft
    }

    /// Why the text in the field was not sent.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// Where the keyboard is.
    pub fn focus(&self) -> Part {
        self.focus
    }

    /// Counts the wishes to go to the end of the conversation.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The exit code of the program, if it ended now.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether a new connection can be had.
    pub fn can_reconnect(&self) -> bool {
        matches!(self.connection, Connection::Ended(_))
    }

    /// Whether unread lines are out of view.
    pub fn shows_unread(&self) -> bool {
        !self.at_end && self.conversation.unread() > 0
    }

    /// The state of the connection in words.
    pub fn state(&self) -> String {
        let server = &self.server;
        match &self.connection {
            Connection::Connecting => format!("Connecting to {server}"),
            Connection::Connected => match self.members.own() {
                Some(name) => format!("Connected to {server} as {name}"),
                None => format!("Connected to {server}"),
            },
            Connection::Leaving => format!("Leaving {server}"),
            Connection::Ended(cause) => format!("Not connected: {cause}"),
        }
    }

    /// The window's title.
    pub fn title(&self) -> String {
        let who = match self.members.own() {
            Some(name) => format!("{name} at {}", self.server),
            None => self.server.clone(),
        };
        match self.conversation.unread() {
            0 => format!("{who} - chat"),
            unread => format!("({unread}) {who} - chat"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Window {
        model: Model,
        lines: mpsc::Receiver<String>,
        at_once: CancellationToken,
        told: Vec<String>,
        quits: bool,
    }

    impl Window {
        fn new() -> Self {
            let (model, effects) = Model::new("hub", 15102, || "12:00".to_owned());
            let mut window = Self {
                model,
                lines: mpsc::channel(1).1,
                at_once: CancellationToken::new(),
                told: vec![],
                quits: false,
            };
            window.carry_out(effects);
            window
        }

        fn connected() -> Self {
            let mut window = Self::new();
            window.visit(Event::Connected);
            window
        }

        fn update(&mut self, message: Message) {
            let effects = self.model.update(message);
            self.carry_out(effects);
        }

        fn visit(&mut self, event: Event) {
            self.update(Message::Visit(self.model.visit, event));
        }

        fn hear(&mut self, line: &str) {
            self.visit(Event::Line(line.to_owned()));
        }

        fn lose(&mut self) {
            self.visit(Event::Ended(End {
                exit: Exit::ServerClosed,
                cause: Some("the server at hub port 15102 closed the connection".to_owned()),
            }));
        }

        fn send(&mut self, text: &str) {
            self.update(Message::Draft(text.to_owned()));
            self.update(Message::Send);
        }

        fn carry_out(&mut self, effects: Vec<Effect>) {
            for effect in effects {
                match effect {
                    Effect::Begin(_, typed) => {
                        self.lines = typed.lines;
                        self.at_once = typed.at_once;
                    }
                    Effect::Tell(line) => self.told.push(line),
                    Effect::Complain(_) | Effect::FieldFocus(_) | Effect::AwaitFarewell => {}
                    Effect::Quit => self.quits = true,
                }
            }
        }
    }

    #[test]
    fn what_is_sent_is_typed_and_the_field_is_empty() {
        let mut window = Window::connected();
        window.send("ciao");
        assert_eq!(window.lines.try_recv().unwrap(), "ciao");
        assert_eq!(window.model.draft(), "");
        window.send("  ");
        assert!(window.lines.try_recv().is_err());
    }

    #[test]
    fn without_a_connection_the_text_stays_and_the_reason_is_told() {
        let mut window = Window::new();
        window.send("ciao");
        assert_eq!(window.model.draft(), "ciao");
        assert!(window.model.hint().unwrap().starts_with("not connected"));
    }

    #[test]
    fn a_talk_that_does_not_take_messages_loses_none() {
        let mut window = Window::connected();
        for n in 0..=LINES_WAITING {
            window.send(&n.to_string());
        }
        assert_eq!(window.model.draft(), LINES_WAITING.to_string());
        assert!(window.model.hint().is_some());
        window.lines.try_recv().unwrap();
        window.update(Message::Send);
        assert_eq!(window.model.draft(), "");
    }

    #[test]
    fn quit_is_a_message_and_the_window_ends_with_the_visit() {
        let mut window = Window::connected();
        window.send("quit");
        assert_eq!(window.lines.try_recv().unwrap(), "quit");
        assert!(!window.quits);
        window.visit(Event::Ended(Ok(()).into()));
        assert!(window.quits);
        assert_eq!(window.model.exit(), Exit::Left);
    }

    #[test]
    fn the_exit_code_is_not_that_of_an_earlier_visit() {
        let mut window = Window::connected();
        window.lose();
        assert_eq!(window.model.exit(), Exit::ServerClosed);
        window.update(Message::Reconnect);
        assert_eq!(window.model.exit(), Exit::Left);
    }

    #[test]
    fn the_farewell_is_seen_before_the_window_ends() {
        let leaving = || {
            let mut window = Window::connected();
            window.send("quit");
            window.hear("* goodbye");
            window
        };
        let mut window = leaving();
        window.visit(Event::Ended(Ok(()).into()));
        assert!(!window.quits);
        window.update(Message::Shown(vec![0]));
        assert_eq!(window.told, [UP, "* goodbye"]);
        assert!(window.quits);

        let mut hidden = leaving();
        hidden.visit(Event::Ended(Ok(()).into()));
        hidden.update(Message::FarewellOver);
        assert!(hidden.quits);

        let mut scrolled_up = leaving();
        scrolled_up.update(Message::AtEnd(false));
        scrolled_up.visit(Event::Ended(Ok(()).into()));
        assert!(scrolled_up.quits);
    }

    #[test]
    fn leaving_is_the_end_of_what_is_typed_and_twice_is_at_once() {
        let mut window = Window::connected();
        window.update(Message::Leave);
        let ended = window.lines.try_recv().unwrap_err();
        assert_eq!(ended, mpsc::error::TryRecvError::Disconnected);
        assert!(!window.quits && !window.at_once.is_cancelled());
        window.hear("* goodbye");
        window.update(Message::Leave);
        assert!(window.at_once.is_cancelled());
        window.visit(Event::Ended(End {
            exit: Exit::Unheard,
            cause: Some("2 lines were not heard back".to_owned()),
        }));
        assert!(window.quits, "without waiting for what was said last");
        assert_eq!(window.model.exit(), Exit::Unheard);
    }

    #[test]
    fn a_visit_that_does_not_break_off_is_not_waited_for() {
        let mut window = Window::connected();
        for _ in 0..2 {
            window.update(Message::Leave);
            assert!(!window.quits);
        }
        window.update(Message::Leave);
        assert!(window.quits);
    }

    #[test]
    fn a_lost_connection_is_told_and_can_be_made_again() {
        let mut window = Window::connected();
        window.hear("* you are alice; here: bob");
        window.lose();
        assert!(!window.quits);
        assert_eq!(
            window.model.state(),
            "Not connected: the server at hub port 15102 closed the connection"
        );
        let lost = window.model.visit;
        window.update(Message::Reconnect);
        assert_eq!(window.model.state(), "Connecting to hub port 15102");
        window.update(Message::Visit(lost, Event::Line("late".to_owned())));
        window.visit(Event::Connected);
        window.send("back");
        assert_eq!(window.lines.try_recv().unwrap(), "back");
        assert_eq!(window.model.members().count(), 0);
    }

    #[test]
    fn the_exit_code_is_that_of_the_last_visit() {
        let mut window = Window::connected();
        window.lose();
        window.update(Message::Leave);
        assert!(window.quits);
        assert_eq!(window.model.exit(), Exit::ServerClosed);
    }

    #[test]
    fn a_line_is_told_when_it_was_drawn_and_not_when_it_came() {
        let mut window = Window::connected();
        window.hear("bob: ciao");
        assert!(window.told.is_empty());
        window.update(Message::Shown(vec![]));
        window.update(Message::Shown(vec![0]));
        window.update(Message::Shown(vec![0]));
        assert_eq!(window.told, [UP, "bob: ciao"]);
    }

    #[test]
    fn lines_that_come_unseen_are_marked_until_something_is_said() {
        let mut window = Window::connected();
        window.hear("bob: seen");
        window.update(Message::AtEnd(false));
        window.hear("bob: unseen");
        assert_eq!(window.model.conversation().marker(), Some(1));
        assert!(window.model.shows_unread());
        assert_eq!(window.model.title(), "(1) hub port 15102 - chat");
        window.update(Message::AtEnd(true));
        assert!(!window.model.shows_unread());
        assert_eq!(window.model.conversation().marker(), Some(1));
        window.send("ciao");
        assert_eq!(window.model.conversation().marker(), None);
        window.update(Message::Attended(false));
        window.hear("bob: still there?");
        assert_eq!(window.model.conversation().marker(), Some(2));
    }

    #[test]
    fn tab_goes_round_the_parts_that_are_there() {
        let mut window = Window::connected();
        let focus = |window: &mut Window, back| {
            window.update(Message::Tab { back });
            window.model.focus()
        };
        assert_eq!(focus(&mut window, false), Part::Send);
        assert_eq!(focus(&mut window, false), Part::Field);
        window.lose();
        assert_eq!(focus(&mut window, true), Part::Reconnect);
        window.update(Message::Press);
        assert_eq!(window.model.connection(), &Connection::Connecting);
        assert_eq!(window.model.focus(), Part::Field);
    }

    #[test]
    fn a_paste_without_end_is_left_out() {
        let mut window = Window::connected();
        window.update(Message::Draft("short".to_owned()));
        window.update(Message::Draft("x".repeat(MAX_DRAFT_BYTES + 1)));
        assert_eq!(window.model.draft(), "short");
        assert!(window.model.hint().is_some());
    }
}
