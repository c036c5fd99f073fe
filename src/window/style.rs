//! How the window's parts look in a palette.

use iced::border;
use iced::widget::{button, container, scrollable, text_input};
use iced::{Background, Border, Color, Font, Theme};

use super::palette::{Palette, Rgb};

/// The font that is embedded: Latin, Greek and Cyrillic. Other scripts are drawn with the system's.
pub(super) const FONT: Font = Font::with_name("Fira Sans");

/// How round corners are, in logical pixels.
const RADIUS: f32 = 5.0;

/// A colour as iced takes it.
pub(super) fn colour([red, green, blue]: Rgb) -> Color {
    Color::from_rgb8(red, green, blue)
}

/// The theme that iced's own parts are drawn with.
pub(super) fn theme(palette: Palette) -> Theme {
    let base = iced::theme::Palette {
        background: colour(palette.ground),
        text: colour(palette.text),
        primary: colour(palette.accent),
        success: colour(palette.accent),
        warning: colour(palette.trouble),
        danger: colour(palette.trouble),
    };
    Theme::custom("chat", base)
}

/// A part around the conversation.
///
/// The conversation itself lies on the window's own ground: to fill a part of it anew for each frame, cut
/// to what has changed, takes the renderer longer than all the words on it.
pub(super) fn panel(palette: Palette) -> container::Style {
    container::Style::default().background(colour(palette.panel))
}

/// A line between parts.
pub(super) fn rule(palette: Palette) -> container::Style {
    container::Style::default().background(colour(palette.rule))
}

/// A button; one that has the keyboard has a frame around it.
pub(super) fn press(palette: Palette, has_keyboard: bool, status: button::Status) -> button::Style {
    let ground = match status {
        button::Status::Active | button::Status::Disabled => palette.button,
        button::Status::Hovered | button::Status::Pressed => palette.button_hover,
    };
    let frame = if has_keyboard { palette.text } else { ground };
    button::Style {
        background: Some(Background::Color(colour(ground))),
        text_color: colour(palette.on_button),
        border: border::rounded(RADIUS).width(2).color(colour(frame)),
        ..button::Style::default()
    }
}

/// The text field.
pub(super) fn field(palette: Palette, status: text_input::Status) -> text_input::Style {
    let (edge, width) = match status {
        text_input::Status::Focused { .. } => (palette.accent, 2.0),
        _ => (palette.edge, 1.0),
    };
    text_input::Style {
        background: Background::Color(colour(palette.ground)),
        border: border::rounded(RADIUS).width(width).color(colour(edge)),
        icon: colour(palette.muted),
        placeholder: colour(palette.muted),
        value: colour(palette.text),
        selection: colour(palette.selection),
    }
}

/// A list that scrolls.
pub(super) fn list(
    palette: Palette,
    theme: &Theme,
    status: scrollable::Status,
) -> scrollable::Style {
    let mut style = scrollable::default(theme, status);
    style.vertical_rail.background = None;
    style.vertical_rail.scroller.background = Background::Color(colour(palette.edge));
    style.vertical_rail.scroller.border = Border::default().rounded(RADIUS);
    style
}
