//! The widget that draws the conversation. Only the rows in view are laid out and drawn, and it tells
//! which lines were part of a frame once that frame is on the screen.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem;
use std::ops::Range;

use iced::advanced::layout::{self, Layout};
use iced::advanced::renderer::{self, Quad, Renderer as _};
use iced::advanced::text::{self, Paragraph as _, Renderer as _, Span};
use iced::advanced::widget::tree::{self, Tree};
use iced::advanced::{Clipboard, Shell, Widget};
use iced::keyboard::{self, Key, key::Named};
use iced::mouse::{self, Cursor};
use iced::{
    Border, Element, Event, Length, Pixels, Point, Rectangle, Renderer, Size, Theme, alignment,
    border, window,
};

use super::conversation::{Conversation, Line, Row};
use super::model::Message;
use super::palette::{Palette, Rgb};
use super::scroll::{Placed, Rows, Scroll};
use super::style::{FONT, colour};

type Paragraph = <Renderer as text::Renderer>::Paragraph;

/// Sizes, in logical pixels.
const TEXT_SIZE: f32 = 15.0;
const TIME_SIZE: f32 = 12.0;
const TIME_WIDTH: f32 = 62.0;
const LINE_HEIGHT: f32 = 21.0;
const LINE_GAP: f32 = 4.0;
const MARKER_HEIGHT: f32 = 26.0;
const MARKER_WIDTH: f32 = 92.0;
const PADDING: f32 = 12.0;
const BAR_WIDTH: f32 = 10.0;
const MIN_THUMB: f32 = 24.0;

/// How far one notch of the wheel and one press of an arrow go, in logical pixels.
const STEP: f32 = 3.0 * LINE_HEIGHT;

/// So much of the old view stays in view when a page is turned.
const PAGE_OVERLAP: f32 = LINE_HEIGHT;

/// So many rows stay laid out; beyond that those out of view are dropped.
const LAID_OUT: usize = 512;

/// What stands on the unread marker.
const MARKER: &str = "new messages";

/// The conversation, drawn.
pub(super) struct Transcript<'a> {
    conversation: &'a Conversation,
    palette: Palette,
    jumps: u64,
}

impl<'a> Transcript<'a> {
    /// Draws `conversation`; goes to its end each time that `jumps` has grown.
    pub(super) fn new(conversation: &'a Conversation, palette: Palette, jumps: u64) -> Self {
        Self {
            conversation,
            palette,
            jumps,
        }
    }
}

#[derive(Default)]
struct State {
    scroll: Scroll,
    laid_out: HashMap<u64, Paragraph>,
    width: f32,
    placed: Vec<Placed>,
    jumps: u64,
    was_at_end: bool,
    is_dragged: bool,
    /// Whether there was a frame since the last step towards the end.
    has_drawn: Cell<bool>,
    /// The lines whose end was part of the latest frame, not told yet.
    drawn: RefCell<Vec<u64>>,
    /// Whether the first frame was told of.
    is_up: bool,
}

/// The rows of a conversation, laid out where their height is asked for.
struct LaidOut<'a> {
    conversation: &'a Conversation,
    palette: Palette,
    paragraphs: &'a mut HashMap<u64, Paragraph>,
    width: f32,
}

impl Rows for LaidOut<'_> {
    fn range(&self) -> Range<u64> {
        self.conversation.rows()
    }

    fn height(&mut self, number: u64) -> f32 {
        let Some((row, line)) = self.conversation.row(number) else {
            return LINE_HEIGHT;
        };
        let (width, palette) = (self.width, self.palette);
        let paragraph = self
            .paragraphs
            .entry(number)
            .or_insert_with(|| paragraph(row, line, width, palette));
        let text = paragraph.min_height().max(LINE_HEIGHT);
        text + above(row, self.conversation) + if row.is_last { LINE_GAP } else { 0.0 }
    }
}

/// The space above the text of a row: the unread marker's, where it stands there.
fn above(row: &Row, conversation: &Conversation) -> f32 {
    if row.bytes.start == 0 && conversation.marker() == Some(row.line) {
        MARKER_HEIGHT
    } else {
        0.0
    }
}

fn paragraph(row: &Row, line: &Line, width: f32, palette: Palette) -> Paragraph {
    let piece = &line.text[row.bytes.clone()];
    let author = line.author_len().filter(|_| row.bytes.start == 0);
    let (author, rest) = piece.split_at(author.unwrap_or(0));
    let ink = if line.is_notice() {
        palette.muted
    } else {
        palette.text
    };
    let spans: [Span<'_, ()>; 2] = [
        Span::new(author).color(colour(palette.accent)),
        Span::new(rest).color(colour(ink)),
    ];
    Paragraph::with_spans(text::Text {
        content: &spans,
        bounds: Size::new(width, f32::INFINITY),
        size: Pixels(TEXT_SIZE),
        line_height: text::LineHeight::Absolute(Pixels(LINE_HEIGHT)),
        font: FONT,
        align_x: text::Alignment::Default,
        align_y: alignment::Vertical::Top,
        shaping: text::Shaping::Advanced,
        wrapping: text::Wrapping::WordOrGlyph,
    })
}

impl Transcript<'_> {
    /// Brings the state up to date with the conversation, right before a frame is drawn.
    fn before_frame(&self, state: &mut State, size: Size, shell: &mut Shell<'_, Message>) {
        // The frame before this one is on the screen by now.
        let drawn = mem::take(&mut *state.drawn.borrow_mut());
        if state.has_drawn.get() {
            tracing::trace!(rows = state.placed.len(), "a frame is on the screen");
        }
        if !drawn.is_empty() || (state.has_drawn.get() && !state.is_up) {
            state.is_up = true;
            shell.publish(Message::Shown(drawn));
        }
        let width = (size.width - 2.0 * PADDING - TIME_WIDTH - BAR_WIDTH).max(1.0);
        if (width - state.width).abs() > f32::EPSILON {
            state.width = width;
            state.laid_out.clear();
        }
        let goes_to_end = state.jumps != self.jumps;
        state.jumps = self.jumps;
        self.with_rows(state, size, |scroll, rows, _| {
            if goes_to_end {
                scroll.to_end(rows);
            }
        });
        if state.has_drawn.replace(false) {
            self.with_rows(state, size, |scroll, rows, height| {
                scroll.follow(rows, height);
            });
        }
        // Not only where a step was taken: when a message was published, `iced` tells the model all that waits,
        // lines that have come meanwhile too, and asks again before the same frame. Of what is requested only
        // the last answer counts.
        let mut arrived = true;
        self.with_rows(state, size, |scroll, rows, _| {
            arrived = scroll.has_arrived(rows);
        });
        self.place(state, size);
        let at_end = state.scroll.follows();
        if at_end != state.was_at_end {
            state.was_at_end = at_end;
            shell.publish(Message::AtEnd(at_end));
        }
        if !arrived || !state.is_up || self.untold_in_view(state) {
            shell.request_redraw();
        }
    }

    fn with_rows(
        &self,
        state: &mut State,
        size: Size,
        change: impl FnOnce(&mut Scroll, &mut LaidOut<'_>, f32),
    ) {
        let mut rows = LaidOut {
            conversation: self.conversation,
            palette: self.palette,
            paragraphs: &mut state.laid_out,
            width: state.width,
        };
        change(&mut state.scroll, &mut rows, view_height(size));
    }

    fn place(&self, state: &mut State, size: Size) {
        let mut placed = Vec::new();
        self.with_rows(state, size, |scroll, rows, height| {
            placed = scroll.placed(rows, height);
        });
        if state.laid_out.len() > LAID_OUT {
            let (first, last) = ends(&placed);
            state.laid_out.retain(|row, _| (first..=last).contains(row));
        }
        state.placed = placed;
    }

    /// Whether a line in view was not told of yet: another frame must follow this one.
    fn untold_in_view(&self, state: &State) -> bool {
        let mut rows = state.placed.iter().map(|placed| placed.row);
        rows.any(|row| {
            let row = self.conversation.row(row);
            row.is_some_and(|(row, _)| row.is_last && self.conversation.is_untold(row.line))
        })
    }

    /// Goes where a key leads; false where it leads nowhere.
    fn press(&self, key: &Key, command: bool, state: &mut State, size: Size) -> bool {
        let page = (view_height(size) - PAGE_OVERLAP).max(LINE_HEIGHT);
        let Key::Named(key) = key else { return false };
        let mut led = true;
        self.with_rows(state, size, |scroll, rows, height| match key {
            Named::PageUp => scroll.by(-page, rows, height),
            Named::PageDown => scroll.by(page, rows, height),
            Named::ArrowUp => scroll.by(-STEP, rows, height),
            Named::ArrowDown => scroll.by(STEP, rows, height),
            Named::Home if command => scroll.to_row(rows.range().start, rows, height),
            Named::End if command => scroll.to_end(rows),
            _ => led = false,
        });
        led
    }

    /// Goes where the thumb of the scroll bar was dragged to.
    fn drag(&self, y: f32, state: &mut State, size: Size) {
        let rows = self.conversation.rows();
        let part = f64::from((y / view_height(size)).clamp(0.0, 1.0));
        let count = rows.end - rows.start;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count is one that fits, and a row more or less is not seen"
        )]
        let row = rows.start + (part * count as f64) as u64;
        self.with_rows(state, size, |scroll, rows, height| {
            if row >= rows.range().end {
                scroll.to_end(rows);
            } else {
                scroll.to_row(row, rows, height);
            }
        });
    }

    /// The thumb of the scroll bar; none where everything is in view.
    fn thumb(&self, state: &State, bounds: Rectangle) -> Option<Rectangle> {
        let rows = self.conversation.rows();
        let (first, last) = ends(&state.placed);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a pixel more or less is not seen"
        )]
        let (count, before, shown) = (
            (rows.end - rows.start) as f32,
            first.saturating_sub(rows.start) as f32,
            (last + 1).saturating_sub(first) as f32,
        );
        if count <= shown {
            return None;
        }
        let height = (bounds.height * shown / count).max(MIN_THUMB);
        let top = (bounds.height - height) * before / (count - shown);
        Some(Rectangle {
            x: bounds.x + bounds.width - BAR_WIDTH,
            y: bounds.y + top,
            width: BAR_WIDTH - 2.0,
            height,
        })
    }
}

/// The first and the last row in view.
fn ends(placed: &[Placed]) -> (u64, u64) {
    let row = |placed: Option<&Placed>| placed.map_or(0, |placed| placed.row);
    (row(placed.first()), row(placed.last()))
}

/// What of the widget's height rows can be in.
fn view_height(size: Size) -> f32 {
    (size.height - PADDING).max(1.0)
}

impl Widget<Message, Theme, Renderer> for Transcript<'_> {
    fn tag(&self) -> tree::Tag {
        tree::Tag::of::<State>()
    }

    fn state(&self) -> tree::State {
        tree::State::new(State {
            was_at_end: true,
            ..State::default()
        })
    }

    fn size(&self) -> Size<Length> {
        Size::new(Length::Fill, Length::Fill)
    }

    fn layout(&mut self, _: &mut Tree, _: &Renderer, limits: &layout::Limits) -> layout::Node {
        layout::atomic(limits, Length::Fill, Length::Fill)
    }

    fn update(
        &mut self,
        tree: &mut Tree,
        event: &Event,
        layout: Layout<'_>,
        cursor: Cursor,
        _: &Renderer,
        _: &mut dyn Clipboard,
        shell: &mut Shell<'_, Message>,
        _: &Rectangle,
    ) {
        let state = tree.state.downcast_mut::<State>();
        let bounds = layout.bounds();
        let size = bounds.size();
        let used = match event {
            Event::Window(window::Event::RedrawRequested(_)) => {
                self.before_frame(state, size, shell);
                return;
            }
            Event::Keyboard(keyboard::Event::KeyPressed { key, modifiers, .. }) => {
                self.press(key, modifiers.command(), state, size)
            }
            Event::Mouse(mouse::Event::WheelScrolled { delta }) if cursor.is_over(bounds) => {
                let up = match *delta {
                    mouse::ScrollDelta::Lines { y, .. } => y * STEP,
                    mouse::ScrollDelta::Pixels { y, .. } => y,
                };
                self.with_rows(state, size, |scroll, rows, height| {
                    scroll.by(-up, rows, height);
                });
                true
            }
            Event::Mouse(mouse::Event::ButtonPressed(mouse::Button::Left)) => {
                match cursor.position_in(bounds) {
                    Some(at) if at.x >= size.width - BAR_WIDTH => {
                        state.is_dragged = true;
                        self.drag(at.y, state, size);
                        true
                    }
                    _ => false,
                }
            }
            Event::Mouse(mouse::Event::CursorMoved { position }) if state.is_dragged => {
                self.drag(position.y - bounds.y, state, size);
                true
            }
            Event::Mouse(mouse::Event::ButtonReleased(mouse::Button::Left)) => {
                state.is_dragged = false;
                false
            }
            _ => false,
        };
        if used {
            shell.capture_event();
            shell.request_redraw();
        }
    }

    fn draw(
        &self,
        tree: &Tree,
        renderer: &mut Renderer,
        _: &Theme,
        _: &renderer::Style,
        layout: Layout<'_>,
        _: Cursor,
        _: &Rectangle,
    ) {
        let state = tree.state.downcast_ref::<State>();
        let bounds = layout.bounds();
        renderer.with_layer(bounds, |renderer| {
            for placed in &state.placed {
                self.draw_row(state, renderer, bounds, *placed);
            }
        });
        if let Some(thumb) = self.thumb(state, bounds) {
            fill(renderer, thumb, border::rounded(4), self.palette.edge);
        }
        state.has_drawn.set(true);
    }
}

impl Transcript<'_> {
    fn draw_row(&self, state: &State, renderer: &mut Renderer, bounds: Rectangle, placed: Placed) {
        let Some((row, line)) = self.conversation.row(placed.row) else {
            return;
        };
        let Some(paragraph) = state.laid_out.get(&placed.row) else {
            return;
        };
        let marker = above(row, self.conversation);
        let left = bounds.x + PADDING;
        let top = bounds.y + PADDING / 2.0 + placed.top;
        if marker > 0.0 {
            self.draw_marker(renderer, bounds, top);
        }
        let top = top + marker;
        if row.bytes.start == 0 {
            let at = Point::new(left, top + (TEXT_SIZE - TIME_SIZE) / 2.0);
            write(renderer, &line.time, at, self.palette.muted, TIME_WIDTH);
        }
        let text = Rectangle {
            x: left + TIME_WIDTH,
            y: top,
            width: state.width,
            height: paragraph.min_height().max(LINE_HEIGHT),
        };
        let mut clip = text;
        if !line.text.is_ascii() {
            // Marks piled up on a letter must stay within their row, and the renderer cuts nothing off
            // where the measured text fits.
            clip.height -= 1.0;
        }
        renderer.fill_paragraph(paragraph, text.position(), colour(self.palette.text), clip);
        let end = placed.top + marker + text.height;
        if row.is_last
            && end <= view_height(bounds.size()) + 1.0
            && self.conversation.is_untold(row.line)
        {
            state.drawn.borrow_mut().push(row.line);
        }
    }

    /// A line across, with words on it.
    fn draw_marker(&self, renderer: &mut Renderer, bounds: Rectangle, top: f32) {
        let middle = top + MARKER_HEIGHT / 2.0 - 2.0;
        let left = bounds.x + PADDING + TIME_WIDTH;
        let words = MARKER_WIDTH;
        for (x, width) in [
            (bounds.x + PADDING, TIME_WIDTH - 8.0),
            (
                left + words,
                bounds.width - BAR_WIDTH - 2.0 * PADDING - TIME_WIDTH - words,
            ),
        ] {
            let line = Rectangle {
                x,
                y: middle,
                width: width.max(0.0),
                height: 1.0,
            };
            fill(renderer, line, Border::default(), self.palette.accent);
        }
        let at = Point::new(left, middle - LINE_HEIGHT / 2.0 + 1.0);
        write(renderer, MARKER, at, self.palette.accent, words);
    }
}

fn fill(renderer: &mut Renderer, bounds: Rectangle, border: Border, paint: Rgb) {
    let quad = Quad {
        bounds,
        border,
        ..Quad::default()
    };
    renderer.fill_quad(quad, colour(paint));
}

/// A few small words, known to be narrower than `width`.
fn write(renderer: &mut Renderer, words: &str, at: Point, ink: Rgb, width: f32) {
    let text = text::Text {
        content: words.to_owned(),
        bounds: Size::new(f32::INFINITY, LINE_HEIGHT),
        size: Pixels(TIME_SIZE),
        line_height: text::LineHeight::Absolute(Pixels(LINE_HEIGHT)),
        font: FONT,
        align_x: text::Alignment::Default,
        align_y: alignment::Vertical::Top,
        shaping: text::Shaping::Basic,
        wrapping: text::Wrapping::None,
    };
    let place = Rectangle::new(at, Size::new(width, LINE_HEIGHT));
    renderer.fill_text(text, at, colour(ink), place);
}

impl<'a> From<Transcript<'a>> for Element<'a, Message> {
    fn from(transcript: Transcript<'a>) -> Self {
        Self::new(transcript)
    }
}
