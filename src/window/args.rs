//! The command line of the window.

use clap::ValueEnum;

use crate::client::Visit;

/// A chat client with a window
///
/// Enter sends, `quit`, `exit`, ctrl-Q or closing the window leaves, ctrl-R connects again. Each message
/// that the window has shown is printed on stdout, one a line; failures are one line on stderr.
///
/// Exit codes, those of the last visit: 0 left as asked, 1 another failure, 2 wrong arguments, 3
/// connection refused, 4 timed out, 5 reset by peer, 6 no such host, 7 the server closed the connection, 9 left, but not
/// everything that was said was heard back.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "chat-gui", version)]
pub struct Args {
    /// Where to, and how
    #[command(flatten)]
    pub visit: Visit,

    /// The window's colours
    #[arg(long, value_enum, default_value_t = Theme::Dark)]
    pub theme: Theme,

    /// How large everything is drawn: 2 is twice as large
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = scale)]
    pub scale: f32,
}

/// The window's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
}

/// The smallest and the largest scale.
const SCALES: std::ops::RangeInclusive<f32> = 0.5..=4.0;

fn scale(text: &str) -> Result<f32, String> {
    text.parse()
        .ok()
        .filter(|scale| SCALES.contains(scale))
        .ok_or_else(|| {
            let (least, most) = (SCALES.start(), SCALES.end());
            format!("`{text}` is not a scale: write a number from {least} to {most}, such as 1.5")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_a_number_within_its_range() {
        assert_eq!(scale("1.5"), Ok(1.5));
        for text in ["0", "0.4", "4.1", "NaN", "inf", "-1", "big", ""] {
            assert!(scale(text).unwrap_err().contains(&format!("`{text}`")));
        }
    }
}
