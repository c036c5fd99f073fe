//! Opens the window and carries out what the model asks for.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use iced::futures::{Stream, stream};
use iced::keyboard::{self, Key, key::Named};
use iced::widget::operation;
use iced::{Element, Event, Size, Task, Theme, event, mouse, window};
use jiff::Zoned;
use tokio::sync::mpsc;
use x11rb::connection::Connection;

use super::args::Args;
use super::model::{Effect, Message, Model, Part};
use super::palette::Palette;
use super::style;
use super::view::{self, FIELD};
use super::visit::{self, begin};
use crate::client::exit::{Exit, Failure};
use crate::operator::Console;

/// The size of the window at first, and the smallest, in logical pixels.
const SIZE: Size = Size::new(820.0, 560.0);
const MIN_SIZE: Size = Size::new(280.0, 200.0);

/// How long what the server said last is given to be drawn: a window that is out of sight never draws it.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);

/// Runs the window to its end and prints the line on stderr that a failure deserves.
pub fn main(args: Args) -> Exit {
    let (console, printing) = Console::stdout();
    // Held to the end: an X server may start anew when its only client goes.
    let ended = display().and_then(|_display| run(args, console));
    printing.finish();
    ended.unwrap_or_else(|failure| {
        complain(&failure.message);
        failure.exit
    })
}

/// A connection to the X server, to tell whether a window can be opened: iced would panic where it
/// cannot.
fn display() -> Result<impl Connection, Failure> {
    let failed = |cause: String| Failure {
        exit: Exit::Failed,
        message: format!("failed to open the window: {cause}"),
    };
    if cfg!(target_feature = "crt-static") {
        let cause = "this program is linked statically and cannot load the X libraries: \
                     build it with RUSTFLAGS='-C target-feature=-crt-static'";
        return Err(failed(cause.to_owned()));
    }
    let connected = x11rb::connect(None);
    let (display, _screen) =
        connected.map_err(|error| failed(format!("no X display (DISPLAY): {error}")))?;
    Ok(display)
}

fn run(args: Args, console: Console) -> Result<Exit, Failure> {
    let exit = Rc::new(Cell::new(Exit::Left));
    let last = Rc::clone(&exit);
    let boot = move || Window::open(args.clone(), console.clone(), Rc::clone(&last));
    let settings = window::Settings {
        size: SIZE,
        min_size: Some(MIN_SIZE),
        exit_on_close_request: false,
        ..window::Settings::default()
    };
    iced::application(boot, Window::update, Window::view)
        .title(|window: &Window| window.model.title())
        .theme(|window: &Window| window.theme.clone())
        .scale_factor(|window| window.args.scale)
        .subscription(|_| event::listen_with(heard))
        .default_font(style::FONT)
        .window(settings)
        .run()
        .map_err(|error| Failure {
            exit: Exit::Failed,
            message: format!("failed to open the window: {error}"),
        })?;
    Ok(exit.get())
}

/// The window and what its effects need.
struct Window {
    args: Args,
    model: Model,
    palette: Palette,
    theme: Theme,
    console: Console,
    exit: Rc<Cell<Exit>>,
}

impl Window {
    fn open(args: Args, console: Console, exit: Rc<Cell<Exit>>) -> (Self, Task<Message>) {
        let palette = Palette::of(args.theme);
        let (model, effects) = Model::new(&args.visit.host, args.visit.port, time_of_day);
        let window = Self {
            args,
            model,
            palette,
            theme: style::theme(palette),
            console,
            exit,
        };
        let tasks = window.carry_out(effects);
        (window, tasks)
    }

    fn update(&mut self, message: Message) -> Task<Message> {
        let effects = self.model.update(message);
        self.exit.set(self.model.exit());
        self.carry_out(effects)
    }

    fn view(&self) -> Element<'_, Message> {
        view::view(&self.model, self.palette)
    }

    fn carry_out(&self, effects: Vec<Effect>) -> Task<Message> {
        Task::batch(effects.into_iter().map(|effect| match effect {
            Effect::Begin(number, typed) => {
                let events = begin(self.args.visit.clone(), typed);
                Task::run(all(events), move |event| Message::Visit(number, event))
            }
            Effect::Tell(line) => {
                self.console.show(line);
                Task::none()
            }
            Effect::Complain(cause) => {
                complain(&cause);
                Task::none()
            }
            // Nothing has the other name: the field loses the keyboard.
            Effect::FieldFocus(has) => operation::focus(if has { FIELD } else { "nothing" }),
            Effect::Quit => iced::exit(),
            Effect::AwaitFarewell => Task::perform(
                // Made where it runs: a sleep belongs to the runtime.
                async { tokio::time::sleep(FAREWELL_WAIT).await },
                |()| Message::FarewellOver,
            ),
        }))
    }
}

fn complain(cause: &str) {
    // Without a stderr the exit code has to do.
    let _ = writeln!(io::stderr(), "chat-gui: {cause}");
}

fn time_of_day() -> String {
    Zoned::now().strftime("%H:%M:%S").to_string()
}

fn all(events: mpsc::Receiver<visit::Event>) -> impl Stream<Item = visit::Event> {
    stream::unfold(events, |mut events| async {
        let event = events.recv().await?;
        Some((event, events))
    })
}

/// What keys, pointer and window manager say to the window as a whole.
fn heard(event: Event, status: event::Status, _: window::Id) -> Option<Message> {
    match event {
        Event::Window(window::Event::CloseRequested) => Some(Message::Leave),
        Event::Window(window::Event::Focused) => Some(Message::Attended(true)),
        Event::Window(window::Event::Unfocused) => Some(Message::Attended(false)),
        // Wherever somebody clicks, the text field keeps the keyboard.
        Event::Mouse(mouse::Event::ButtonReleased(_)) => Some(Message::Focus(Part::Field)),
        Event::Keyboard(keyboard::Event::KeyPressed {
            key,
            modifiers,
            physical_key,
            ..
        }) => {
            let command = modifiers.command();
            match key.as_ref() {
                // The field gives the keyboard away on this key, to nobody.
                Key::Named(Named::Escape) => Some(Message::Focus(Part::Field)),
                Key::Named(Named::Tab) => Some(Message::Tab {
                    back: modifiers.shift(),
                }),
                Key::Named(Named::Enter | Named::Space) if status == event::Status::Ignored => {
                    Some(Message::Press)
                }
                _ if command => match key.to_latin(physical_key) {
                    Some('q') => Some(Message::Leave),
                    Some('r') => Some(Message::Reconnect),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}
