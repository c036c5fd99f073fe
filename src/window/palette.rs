//! The colours of both themes, and their contrast.

use super::args::Theme;

/// A colour: red, green and blue.
pub type Rgb = [u8; 3];

/// The colours of a theme. No colour says anything that is not also said in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    /// Behind the conversation.
    pub ground: Rgb,
    /// Behind everything around it.
    pub panel: Rgb,
    /// Words.
    pub text: Rgb,
    /// Words of less weight: times, notices.
    pub muted: Rgb,
    /// Authors, the marker, what has the keyboard.
    pub accent: Rgb,
    /// Words on a button.
    pub on_button: Rgb,
    /// A button.
    pub button: Rgb,
    /// A button under the pointer.
    pub button_hover: Rgb,
    /// Words that tell of trouble.
    pub trouble: Rgb,
    /// The edge of the text field.
    pub edge: Rgb,
    /// Lines between the parts; they carry no meaning.
    pub rule: Rgb,
    /// Behind selected text.
    pub selection: Rgb,
}

/// Light words on a dark ground.
const DARK: Palette = Palette {
    ground: [0x16, 0x1a, 0x20],
    panel: [0x1f, 0x25, 0x2d],
    text: [0xe8, 0xea, 0xed],
    muted: [0xa3, 0xab, 0xb6],
    accent: [0x7c, 0xb7, 0xff],
    on_button: [0xff, 0xff, 0xff],
    button: [0x24, 0x60, 0xa8],
    button_hover: [0x1c, 0x4f, 0x8d],
    trouble: [0xff, 0xa0, 0x8f],
    edge: [0x6f, 0x7a, 0x88],
    rule: [0x33, 0x3b, 0x46],
    selection: [0x2c, 0x4f, 0x7c],
};

/// Dark words on a light ground.
const LIGHT: Palette = Palette {
    ground: [0xff, 0xff, 0xff],
    panel: [0xf1, 0xf3, 0xf6],
    text: [0x1b, 0x1f, 0x24],
    muted: [0x59, 0x61, 0x6c],
    accent: [0x0b, 0x57, 0xa8],
    on_button: [0xff, 0xff, 0xff],
    button: [0x0b, 0x57, 0xa8],
    button_hover: [0x08, 0x45, 0x87],
    trouble: [0xa5, 0x22, 0x12],
    edge: [0x76, 0x7f, 0x8b],
    rule: [0xd5, 0xda, 0xe1],
    selection: [0xbf, 0xda, 0xf7],
};

impl Palette {
    /// The colours of a theme.
    pub const fn of(theme: Theme) -> Self {
        match theme {
            Theme::Dark => DARK,
            Theme::Light => LIGHT,
        }
    }
}

/// Contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio").
pub fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Relative luminance, from 0 to 1 (WCAG 2.2).
fn luminance(colour: Rgb) -> f64 {
    let [red, green, blue] = colour.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2, 1.4.3 (AA): text.
    const TEXT: f64 = 4.5;

    /// WCAG 2.2, 1.4.11 (AA): edges of what can be used, and of what has the keyboard.
    const PART: f64 = 3.0;

    #[test]
    fn contrast_is_that_of_the_standard() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-9);
        assert!((contrast([0x77; 3], [255; 3]) - 4.48).abs() < 0.01);
    }

    #[test]
    fn both_themes_are_readable() {
        for theme in [Theme::Dark, Theme::Light] {
            let p = Palette::of(theme);
            for (ink, paper, least) in [
                (p.text, p.ground, TEXT),
                (p.text, p.panel, TEXT),
                (p.text, p.selection, TEXT),
                (p.muted, p.ground, TEXT),
                (p.muted, p.panel, TEXT),
                (p.accent, p.ground, TEXT),
                (p.accent, p.panel, TEXT),
                (p.trouble, p.ground, TEXT),
                (p.trouble, p.panel, TEXT),
                (p.on_button, p.button, TEXT),
                (p.on_button, p.button_hover, TEXT),
                (p.edge, p.ground, PART),
                (p.edge, p.panel, PART),
            ] {
                let is = contrast(ink, paper);
                assert!(is >= least, "{theme:?}: {ink:x?} on {paper:x?} is {is:.2}");
            }
        }
    }
}
