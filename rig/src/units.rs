//! Quantities and names that every stage shares.

use std::fmt;
use std::num::NonZero;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment of the engine's real-time clock, in nanoseconds since the UNIX epoch.
///
/// Captures carry the same clock (`SO_TIMESTAMPNS`), so packets and events of a run compare.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present moment; zero when the clock stands before the epoch.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Time from `earlier` to `self`; zero when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the epoch with nanosecond digits, as Zeek's `ts`.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        // One division of a count that a double holds gives the double that is nearest to the decimal fraction.
        if self.0.is_multiple_of(1000) {
            return as_f64(self.0 / 1000) / 1e6;
        }
        // Through `Duration`, which adds the fraction last: a division of the whole count would
        // spoil the seventh digit.
        Duration::from_nanos(self.0).as_secs_f64()
    }
}

/// A duration in seconds as the double that is nearest to its decimal fraction, so that it is shown with at most nine
/// digits behind the point.
#[must_use]
pub fn decimal_seconds(duration: Duration) -> f64 {
    match u64::try_from(duration.as_nanos()) {
        Ok(nanos) if nanos < 1 << f64::MANTISSA_DIGITS => as_f64(nanos) / 1e9,
        _ => duration.as_secs_f64(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts that a double holds, or of which it keeps what matters"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No unit, or one that is not known.
    #[error("`{0}` is not a duration: write a number with its unit, such as 200ms, 2s or 1m")]
    Duration(String),
    /// Not columns and rows, or too many of them.
    #[error("`{0}` is not the size of a terminal: write columns and rows, such as 80x24, at most {cols}x{rows}", cols = TerminalSize::MAX_COLUMNS, rows = TerminalSize::MAX_ROWS)]
    TerminalSize(String),
}

/// The size of a terminal, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Cells of a row.
    pub columns: NonZero<u16>,
    /// Rows.
    pub rows: NonZero<u16>,
}

impl TerminalSize {
    /// What a terminal has that is given no size.
    pub const USUAL: Self = Self {
        columns: NonZero::new(80).unwrap(),
        rows: NonZero::new(24).unwrap(),
    };
    /// The most columns.
    pub const MAX_COLUMNS: u16 = 500;
    /// The most rows.
    pub const MAX_ROWS: u16 = 200;
}

impl FromStr for TerminalSize {
    type Err = UnitError;

    /// Reads `80x24`: columns and rows.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let read =
            |text: &str, max: u16| text.parse().ok().filter(|n: &NonZero<u16>| n.get() <= max);
        let size = text.split_once('x').and_then(|(columns, rows)| {
            Some(Self {
                columns: read(columns, Self::MAX_COLUMNS)?,
                rows: read(rows, Self::MAX_ROWS)?,
            })
        });
        size.ok_or_else(|| UnitError::TerminalSize(text.to_owned()))
    }
}

impl fmt::Display for TerminalSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.rows)
    }
}

/// Reads a duration that carries its unit: `ns`, `us`, `ms`, `s`, `m` or `h`.
///
/// ```
/// # use rig::units::parse_duration;
/// assert_eq!(parse_duration("1.5s").unwrap().as_millis(), 1500);
/// assert!(parse_duration("15").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError::Duration(text.to_owned());
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(split);
    let number: f64 = number.parse().map_err(|_| error())?;
    let seconds = match unit {
        "ns" => number / 1e9,
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| error())
}

/// Writes a duration with the unit that suits its size: `850ns`, `12.3ms`, `4.80s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2}s")
    } else if seconds >= 1e-3 {
        format!("{:.1}ms", seconds * 1e3)
    } else if seconds >= 1e-6 {
        format!("{:.1}us", seconds * 1e6)
    } else {
        format!("{}ns", duration.as_nanos())
    }
}

/// A duration as a matrix file would have it: `300ms`, `1500ms`, `2m`.
#[must_use]
pub fn written_duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 5] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
    ];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fits = |(_, unit): &&(&str, u128)| nanos >= *unit && nanos.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

/// Replaces what a terminal would act upon (control characters, bidirectional marks) by visible
/// escapes, so that a program's output or a name from a file cannot steer the reader's screen.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_terminal(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A path as people would write it: without `.`, and without what a `..` takes back. For messages alone, since the
/// kernel may go elsewhere at a `..` behind a symbolic link.
#[must_use]
pub fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match (component, plain.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            _ => plain.push(component),
        }
    }
    if plain.as_os_str().is_empty() {
        plain.push(".");
    }
    plain
}

/// Whether a terminal acts upon `c` instead of showing it (C0, C1, and the bidirectional and
/// invisible formatting characters of Unicode TR 36).
#[must_use]
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A name was not of the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a name: use letters, digits, `-`, `_` and `.`, begin with a letter or digit, at most {MAX_NAME_BYTES} characters", printable(.0))]
pub struct NameError(pub String);

/// The longest name of a node, host, network, axis or axis value, in bytes.
pub const MAX_NAME_BYTES: usize = 40;

/// Checks that `text` can serve as a name: safe in a path, a container's name and a terminal.
pub fn check_name(text: &str) -> Result<(), NameError> {
    let mut chars = text.chars();
    let first_ok = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest_ok = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if first_ok && rest_ok && text.len() <= MAX_NAME_BYTES {
        Ok(())
    } else {
        Err(NameError(text.to_owned()))
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes `text` as a name when [`check_name`] allows it.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check_name(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// A node: one program of a cell.
    NodeName
}
name_type! {
    /// A host: one network namespace of a cell.
    HostName
}
name_type! {
    /// A network: one broadcast domain of a cell.
    NetworkName
}
name_type! {
    /// An image as a matrix file names it.
    ImageName
}
name_type! {
    /// A moment at which socket tables are read.
    MarkName
}
name_type! {
    /// A picture of a display.
    ScreenName
}

/// A signal by its POSIX name without `SIG`, and its number on Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

/// Name and number of each signal, in number order.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// A signal's name was not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a signal: use a name such as TERM, KILL, INT, HUP, STOP or CONT", printable(.0))]
pub struct SignalError(pub String);

impl Signal {
    /// `SIGKILL`.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// `SIGINT`.
    pub const INT: Self = Self(libc::SIGINT);
    /// `SIGTERM`.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// `SIGSTOP`.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// `SIGCONT`.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// Reads `KILL` or `SIGKILL`, in any case.
    pub fn new(text: &str) -> Result<Self, SignalError> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        SIGNALS
            .iter()
            .find(|(name, _)| *name == bare)
            .map(|&(_, number)| Self(number))
            .ok_or_else(|| SignalError(text.to_owned()))
    }

    /// The signal with this number on Linux, if it is one of the named ones.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        SIGNALS
            .iter()
            .find(|&&(_, n)| n == number)
            .map(|&(_, n)| Self(n))
    }

    /// Its number on Linux.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name without `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        SIGNALS
            .iter()
            .find(|&&(_, n)| n == self.0)
            .map_or("?", |&(name, _)| name)
    }
}

impl TryFrom<String> for Signal {
    type Error = SignalError;
    fn try_from(text: String) -> Result<Self, SignalError> {
        Self::new(&text)
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.name().to_owned()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_without_detours() {
        for (path, plain) in [
            (
                "rig/matrices/../../docker/base-image.sh",
                "docker/base-image.sh",
            ),
            ("./a/./b", "a/b"),
            ("../../a/../b", "../../b"),
            ("/../a", "/a"),
            ("/tmp/x/../y", "/tmp/y"),
            ("a/..", "."),
            ("a/../..", ".."),
        ] {
            assert_eq!(plain_path(Path::new(path)), Path::new(plain), "{path}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        for wrong in [
            "",
            "12",
            "s",
            "1 s",
            "-1s",
            "1.2.3s",
            "1e9h",
            "99999999999999999999h",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_written_as_in_a_file() {
        for text in ["300ms", "1500ms", "2m", "90s", "1h", "7us", "1001ns", "0s"] {
            assert_eq!(written_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn names_are_safe_in_paths_and_terminals() {
        assert!(NodeName::new("alice-2").is_ok());
        for wrong in ["", ".", "../x", "-a", "a b", "a\u{1b}[2J", &"x".repeat(41)] {
            assert!(NodeName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn escapes_and_bidirectional_marks_become_visible() {
        assert_eq!(printable("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
        assert_eq!(printable("ciao è 🙂"), "ciao è 🙂");
    }

    #[test]
    fn signals_by_name() {
        assert_eq!(Signal::new("sigkill"), Ok(Signal::KILL));
        assert_eq!(Signal::new("USR1").map(Signal::number), Ok(10));
        assert!(Signal::new("9").is_err());
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
    }
}
