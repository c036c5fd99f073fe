//! The window in the loop that `iced_winit` runs it in, without a display: no line may wait for a frame that nobody
//! asks for.

use iced::advanced::clipboard;
use iced::advanced::renderer::Style;
use iced::window::{self, RedrawRequest};
use iced::{Color, Event, Pixels, Renderer, Size, Theme, mouse};
use iced_runtime::UserInterface;
use iced_runtime::user_interface::{Cache, State};

use super::model::{Effect, Message, Model, UP};
use super::palette::Palette;
use super::visit;
use super::{style, view};

const SIZE: Size = Size::new(820.0, 560.0);

/// How often the view is made anew within one frame at most (`iced_winit` 0.14.1, `run_instance`).
const ROUNDS_OF_A_FRAME: usize = 3;

/// Frames after which a window that still asks for one will always.
const MAX_FRAMES: usize = 10_000;

/// A window whose text field has not the keyboard: no cursor blinks, which would ask for frames.
struct Loop {
    model: Model,
    cache: Cache,
    renderer: Renderer,
    theme: Theme,
    palette: Palette,
    /// What waits to be told to the model.
    messages: Vec<Message>,
    wants_frame: bool,
    visit: u64,
    told: Vec<String>,
}

impl Loop {
    fn new() -> Self {
        let (model, effects) = Model::new("hub", 15102, || "12:00:00".to_owned());
        let palette = Palette::of(super::args::Theme::Light);
        let mut new = Self {
            model,
            cache: Cache::new(),
            renderer: Renderer::new(style::FONT, Pixels(15.0)),
            theme: style::theme(palette),
            palette,
            messages: Vec::new(),
            wants_frame: true,
            visit: 0,
            told: Vec::new(),
        };
        new.carry_out(effects);
        new.come(visit::Event::Connected);
        new
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Begin(number, _) => self.visit = number,
                Effect::Tell(line) if line == UP => {}
                Effect::Tell(line) => self.told.push(line),
                _ => {}
            }
        }
    }

    /// Something comes from the visit's thread.
    fn come(&mut self, event: visit::Event) {
        self.messages.push(Message::Visit(self.visit, event));
    }

    fn tell_model(&mut self) {
        for message in std::mem::take(&mut self.messages) {
            let effects = self.model.update(message);
            self.carry_out(effects);
        }
    }

    /// The end of a turn of the event loop (`AboutToWait`).
    fn end_turn(&mut self) {
        if !self.messages.is_empty() {
            self.tell_model();
            self.wants_frame = true;
        }
    }

    /// A frame (`RedrawRequested`), if one was asked for.
    fn frame(&mut self) -> bool {
        if !std::mem::take(&mut self.wants_frame) {
            return false;
        }
        let request = Event::Window(window::Event::RedrawRequested(iced::time::Instant::now()));
        for round in 1.. {
            let cache = std::mem::take(&mut self.cache);
            let view = view::view(&self.model, self.palette);
            let mut interface = UserInterface::build(view, SIZE, cache, &mut self.renderer);
            let waiting = self.messages.len();
            let (state, _) = interface.update(
                std::slice::from_ref(&request),
                mouse::Cursor::Unavailable,
                &mut self.renderer,
                &mut clipboard::Null,
                &mut self.messages,
            );
            if self.messages.len() == waiting || round == ROUNDS_OF_A_FRAME {
                let style = Style {
                    text_color: Color::BLACK,
                };
                interface.draw(
                    &mut self.renderer,
                    &self.theme,
                    &style,
                    mouse::Cursor::Unavailable,
                );
                self.cache = interface.into_cache();
                if let State::Updated { redraw_request, .. } = state {
                    self.wants_frame |= redraw_request == RedrawRequest::NextFrame;
                }
                break;
            }
            self.cache = interface.into_cache();
            self.tell_model();
        }
        true
    }

    /// Goes on until no frame is asked for.
    fn rest(&mut self) {
        for _ in 0..MAX_FRAMES {
            self.end_turn();
            if !self.frame() {
                return;
            }
        }
        panic!("it asks for frames without end");
    }
}

#[test]
fn a_line_that_comes_while_a_frame_is_drawn_is_shown_too() {
    let mut window = Loop::new();
    window.rest();
    window.come(visit::Event::Line("bob: one".to_owned()));
    window.end_turn();
    window.frame();
    // It comes in the turn in which the next frame tells of the first: the model learns of both at once.
    window.come(visit::Event::Line("bob: two".to_owned()));
    assert!(window.frame());
    window.rest();
    assert_eq!(window.told, ["bob: one", "bob: two"]);
}

/// Bursts of messages, in every order of messages, turns and frames that a busy machine can make of them.
#[test]
fn no_line_of_thousands_of_bursts_waits_for_a_frame_that_nobody_asks_for() {
    const BURSTS: u32 = 3000;
    let mut random = fastrand::Rng::with_seed(20);
    let mut window = Loop::new();
    let mut said = Vec::new();
    for burst in 0..BURSTS {
        for n in 0..random.u32(1..6) {
            let line = match random.u32(0..20) {
                0 => format!("bob: {burst}.{n} {}", "and so on ".repeat(60)),
                _ => format!("bob: {burst}.{n}"),
            };
            window.come(visit::Event::Line(line.clone()));
            said.push(line);
            match random.u32(0..4) {
                0 => window.end_turn(),
                1 => {
                    window.frame();
                }
                2 => {
                    window.end_turn();
                    window.frame();
                }
                _ => {}
            }
        }
        window.rest();
        assert_eq!(
            window.told.len(),
            said.len(),
            "burst {burst}: {:?}",
            said.last()
        );
    }
    assert_eq!(window.told, said);
}
