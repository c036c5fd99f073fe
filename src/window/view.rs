//! The window's contents.

use iced::widget::{
    button, column, container, responsive, row, scrollable, space, text, text_input,
};
use iced::{Element, Length, Size};

use super::model::{Connection, Message, Model, Part};
use super::palette::Palette;
use super::style::{self, colour};
use super::transcript::Transcript;

/// Name of the text field among the widgets.
pub(super) const FIELD: &str = "field";

/// Sizes, in logical pixels.
const TEXT_SIZE: u32 = 15;
const SMALL_SIZE: u32 = 13;
const PADDING: u16 = 12;
const GAP: u32 = 10;
const MEMBERS_WIDTH: f32 = 170.0;

/// A narrower window has no room for the members.
const MEMBERS_FROM_WIDTH: f32 = 520.0;

/// So many members are listed; the others are counted.
const MEMBERS_LISTED: usize = 500;

/// The whole window.
pub(super) fn view(model: &Model, palette: Palette) -> Element<'_, Message> {
    // Each part keeps its place, also where there is nothing to show: the field would lose the keyboard
    // otherwise.
    let unread = if model.shows_unread() {
        unread(model, palette)
    } else {
        space().into()
    };
    column![
        header(model, palette),
        rule(palette),
        responsive(move |size| middle(model, palette, size)),
        rule(palette),
        unread,
        footer(model, palette),
    ]
    .into()
}

/// The state of the connection.
fn header(model: &Model, palette: Palette) -> Element<'_, Message> {
    let ink = match model.connection() {
        Connection::Connected => palette.text,
        Connection::Connecting | Connection::Leaving => palette.muted,
        Connection::Ended(_) => palette.trouble,
    };
    let state = text(model.state())
        .size(TEXT_SIZE)
        .color(colour(ink))
        .wrapping(text::Wrapping::WordOrGlyph)
        .width(Length::Fill);
    let mut parts = row![state].spacing(GAP).align_y(iced::Center);
    if model.can_reconnect() {
        parts = parts.push(press(
            "Reconnect",
            Part::Reconnect,
            Message::Reconnect,
            model,
            palette,
        ));
    }
    container(parts)
        .padding([8, PADDING])
        .center_y(Length::Shrink)
        .style(move |_| style::panel(palette))
        .into()
}

/// The conversation, and the members where there is room.
fn middle(model: &Model, palette: Palette, size: Size) -> Element<'_, Message> {
    let transcript = Transcript::new(model.conversation(), palette, model.jumps());
    let mut parts = row![Element::from(transcript)];
    if size.width >= MEMBERS_FROM_WIDTH {
        parts = parts
            .push(
                container(space())
                    .width(1)
                    .height(Length::Fill)
                    .style(move |_| style::rule(palette)),
            )
            .push(members(model, palette));
    }
    parts.into()
}

fn members(model: &Model, palette: Palette) -> Element<'_, Message> {
    let members = model.members();
    let (title, names) = match (model.connection(), members.own()) {
        (_, Some(own)) => {
            let mut names: Vec<_> = members
                .names()
                .take(MEMBERS_LISTED)
                .map(|name| {
                    let you = if name == own { " (you)" } else { "" };
                    format!("{name}{you}")
                })
                .collect();
            let others = members.count().saturating_sub(names.len());
            if others > 0 {
                names.push(format!("and {others} more"));
            }
            (format!("Members ({})", members.count()), names.join("\n"))
        }
        (Connection::Connected, None) => (
            "Members".to_owned(),
            "The server has not told who is here.".to_owned(),
        ),
        _ => ("Members".to_owned(), "Not connected.".to_owned()),
    };
    let ink = if members.own().is_some() {
        palette.text
    } else {
        palette.muted
    };
    let names = text(names)
        .size(SMALL_SIZE)
        .color(colour(ink))
        .line_height(1.5)
        .wrapping(text::Wrapping::WordOrGlyph)
        .width(Length::Fill);
    let list = scrollable(names)
        .height(Length::Fill)
        .style(move |theme, status| style::list(palette, theme, status));
    let title = text(title).size(SMALL_SIZE).color(colour(palette.muted));
    column![title, list]
        .spacing(6)
        .padding([10, PADDING])
        .width(MEMBERS_WIDTH)
        .into()
}

/// Says that there are unread lines further down, and goes there.
fn unread(model: &Model, palette: Palette) -> Element<'_, Message> {
    let words = match model.conversation().unread() {
        1 => "1 new message below".to_owned(),
        count => format!("{count} new messages below"),
    };
    container(press(words, Part::Unread, Message::GoToEnd, model, palette))
        .center_x(Length::Fill)
        .padding([6, PADDING])
        .into()
}

/// The text field and the button that sends.
fn footer(model: &Model, palette: Palette) -> Element<'_, Message> {
    let field = text_input("Write a message", model.draft())
        .id(FIELD)
        .on_input(Message::Draft)
        .on_submit(Message::Send)
        .size(TEXT_SIZE)
        .padding([8, 10])
        .style(move |_, status| style::field(palette, status));
    let send = press("Send", Part::Send, Message::Send, model, palette);
    let mut parts = column![row![field, send].spacing(GAP).align_y(iced::Center)].spacing(6);
    if let Some(hint) = model.hint() {
        parts = parts.push(text(hint).size(SMALL_SIZE).color(colour(palette.trouble)));
    }
    container(parts)
        .padding([10, PADDING])
        .style(move |_| style::panel(palette))
        .into()
}

fn press<'a>(
    words: impl text::IntoFragment<'a>,
    part: Part,
    message: Message,
    model: &Model,
    palette: Palette,
) -> Element<'a, Message> {
    let has_keyboard = model.focus() == part;
    button(text(words).size(TEXT_SIZE))
        .padding([7, 14])
        .on_press(message)
        .style(move |_, status| style::press(palette, has_keyboard, status))
        .into()
}

fn rule(palette: Palette) -> Element<'static, Message> {
    container(space())
        .width(Length::Fill)
        .height(1)
        .style(move |_| style::rule(palette))
        .into()
}
