//! Reads displays, and the steps at windows.

use super::names::Kind;
use super::read::{Fields, Reader, Scope};
use super::tree::{Node as Tree, Value};
use super::words::Fault;
use super::{
    ActionSpec, Chord, DEFAULT_DISPLAY, DisplaySize, DisplaySpec, Field, FromText, Implementation,
    LeaveSpec, Place, Problem, ReadySpec, SaySpec, Template, WindowStep,
};
use crate::units::ScreenName;

/// The smallest width and height of a display, in pixels.
pub const MIN_DISPLAY_SIDE: u16 = 64;
/// The largest width and height of a display, in pixels.
pub const MAX_DISPLAY_SIDE: u16 = 4096;

/// The environment variable that names a display.
pub(crate) const DISPLAY: &str = "DISPLAY";

/// How the names of pictures end that the rig takes by itself, behind the name of the node.
pub const LAST_SCREEN: &str = "-at-the-end";

/// Buttons of a mouse by their names, and the numbers that X gives them.
const BUTTONS: [(&str, u8); 3] = [("left", 1), ("middle", 2), ("right", 3)];

/// The file sets [`DISPLAY`] of a program that has a display.
pub(crate) fn display_is_given(place: Place) -> Problem {
    let message = format!("`{DISPLAY}` is set by the rig: the program has a display");
    Problem::at(place, message)
}

impl FromText for DisplaySize {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let side = |text: &str| {
            let side = text.parse().ok();
            side.filter(|side| (MIN_DISPLAY_SIDE..=MAX_DISPLAY_SIDE).contains(side))
        };
        let sides = text.split_once('x');
        sides
            .and_then(|(width, height)| {
                let (width, height) = (side(width)?, side(height)?);
                Some(Self { width, height })
            })
            .ok_or_else(|| Fault {
                hint: Some(format!(
                    "write width and height in pixels, {MIN_DISPLAY_SIDE} to {MAX_DISPLAY_SIDE} \
                     each: `800x600`"
                )),
                ..Fault::new(format!("`{text}` is not the size of a display"))
            })
    }
}

impl Reader<'_> {
    pub(super) fn display(&mut self, node: &Tree) -> Option<DisplaySpec> {
        let fields = self.fields(node, "`display`", node.place, &["size"])?;
        let size = self.optional(fields, "size", |reader, node| {
            reader.word::<DisplaySize>(node, "the size of a display")
        })?;
        Some(DisplaySpec {
            place: node.place,
            size: size.map_or(DEFAULT_DISPLAY, |size| size.value),
        })
    }

    /// Notes what only a program with a display can do, and what one with a display cannot have.
    pub(super) fn needs_display(&mut self, program: &Implementation, fields: Fields<'_>) {
        if program.display.is_some() {
            if let Some(value) = program.env.get(DISPLAY) {
                self.problem(display_is_given(value.place));
            }
            return;
        }
        let at_window = [
            ("ready", matches!(program.ready, Some(ReadySpec::Window(_)))),
            ("join", matches!(program.join, Some(SaySpec::Type(_)))),
            ("say", matches!(program.say, Some(SaySpec::Type(_)))),
            (
                "leave",
                matches!(program.leave, Some(LeaveSpec::Type(_) | LeaveSpec::Keys(_))),
            ),
        ];
        let named = at_window.iter().filter(|(_, is_at_window)| *is_at_window);
        for (key, node) in named.filter_map(|(key, _)| Some((key, fields.get(key)?))) {
            let message = format!("this `{key}` needs a window, and the program has no display");
            let hint = "add `display: {}` to the implementation";
            self.problem(Problem::at(node.place, message).hint(hint));
        }
    }

    /// `type`, `key`, `click` or `screenshot`.
    pub(super) fn window_step(
        &mut self,
        action: &str,
        node: &Tree,
        fields: Fields<'_>,
    ) -> Option<ActionSpec> {
        let name = self.reference(node, Kind::Node);
        let step = match action {
            "type" => self.type_step(fields),
            "key" => self.key_step(fields),
            "click" => self.click_step(fields),
            _ => self.screenshot_step(fields),
        };
        Some(ActionSpec::Window {
            node: name?,
            step: step?,
        })
    }

    fn type_step(&mut self, fields: Fields<'_>) -> Option<WindowStep> {
        let text = self.required(fields, "text");
        let text = text.and_then(|node| self.template(node, "a text", Scope::Node));
        let window = self.window_named(fields);
        let text = text?;
        if text.literal().is_some_and(|text| text.is_empty()) {
            self.problem(Problem::at(text.place, "`text` is empty: nothing is typed"));
            return None;
        }
        let window = window?;
        Some(WindowStep::Type { text, window })
    }

    fn key_step(&mut self, fields: Fields<'_>) -> Option<WindowStep> {
        let keys = self.required(fields, "press");
        let keys = keys.and_then(|node| self.chords(node));
        let window = self.window_named(fields);
        Some(WindowStep::Press {
            keys: keys?,
            window: window?,
        })
    }

    /// One chord, or a list of them.
    pub(super) fn chords(&mut self, node: &Tree) -> Option<Vec<Field<Chord>>> {
        let items = node.one_or_more();
        if items.is_empty() {
            self.problem(Problem::at(node.place, "no key is named"));
            return None;
        }
        let chords: Vec<_> = items
            .iter()
            .map(|item| self.field(item, "a key such as enter or ctrl+q"))
            .collect();
        chords.into_iter().collect()
    }

    #[expect(
        clippy::option_option,
        reason = "missing and wrong are different things here"
    )]
    fn window_named(&mut self, fields: Fields<'_>) -> Option<Option<Template>> {
        self.optional(fields, "window", |reader, node| {
            reader.template(node, "a part of a title", Scope::Node)
        })
    }

    fn click_step(&mut self, fields: Fields<'_>) -> Option<WindowStep> {
        let at = self.required(fields, "at");
        let at = at.and_then(|node| self.point(node));
        let button = self.optional(fields, "button", |reader, node| {
            let names = BUTTONS.map(|(name, _)| name);
            let chosen = reader.choice(node, "a button: left, middle or right", &names)?;
            BUTTONS.iter().find(|(name, _)| *name == chosen)
        });
        let (x, y) = at?;
        let (_, button) = *button?.unwrap_or(&BUTTONS[0]);
        Some(WindowStep::Click { x, y, button })
    }

    /// `[x, y]` in pixels from the top left corner of a display.
    fn point(&mut self, node: &Tree) -> Option<(u16, u16)> {
        let Value::Seq(items) = &node.value else {
            self.expected(node, "a point: `[x, y]`");
            return None;
        };
        let [x, y] = items.as_slice() else {
            let message = "a point has two numbers: `[x, y]`";
            self.problem(Problem::at(node.place, message));
            return None;
        };
        let max = u32::from(MAX_DISPLAY_SIDE - 1);
        let x = self.number(x, "a number of pixels", max);
        let y = self.number(y, "a number of pixels", max);
        Some((u16::try_from(x?).ok()?, u16::try_from(y?).ok()?))
    }

    fn screenshot_step(&mut self, fields: Fields<'_>) -> Option<WindowStep> {
        let name = self.required(fields, "name")?;
        let name = self.word::<ScreenName>(name, "a name")?;
        if name.value.as_str().ends_with(LAST_SCREEN) {
            let message = format!("names that end with `{LAST_SCREEN}` belong to the rig");
            self.problem(Problem::at(name.place, message));
            return None;
        }
        Some(WindowStep::Screenshot(name.value))
    }

    /// `until: { window: NODE, title: TEXT }`.
    pub(super) fn until_window(&mut self, node: &Tree) -> Option<ActionSpec> {
        let fields = self.fields(node, "this `until`", node.place, &["window", "title"])?;
        let name = self.required(fields, "window");
        let name = name.and_then(|node| self.node_name(node));
        let title = self.required(fields, "title");
        let title = title.and_then(|node| self.template(node, "a part of a title", Scope::Node));
        Some(ActionSpec::Window {
            node: name?,
            step: WindowStep::Await(title?),
        })
    }
}
