//! Displays of nodes, and what is done at their windows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Input;
use super::cell::Placement;
use crate::spec::{
    Chord, DISPLAY, DisplaySize, Field, Place, Problem, SaySpec, Template, WindowStep,
    display_is_given,
};
use crate::units::{NodeName, ScreenName};

/// The number of a host's first display; low numbers are those of people.
const FIRST_DISPLAY: u16 = 10;

/// The most pictures of a cell that steps may take.
const MAX_SCREENS: usize = 100;

/// A display of a node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayPlan {
    /// What tells it from the other displays of its host.
    pub number: u16,
    /// How large it is.
    pub size: DisplaySize,
}

impl DisplayPlan {
    /// The name by which programs know it: `:10`.
    #[must_use]
    pub fn name(&self) -> String {
        format!(":{}", self.number)
    }
}

/// What is done at the windows of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowAct {
    /// Do what a person does at a window.
    Gesture {
        /// What.
        gesture: Gesture,
        /// Part of the window's title; without it, the only window or the one that has the focus.
        window: Option<String>,
    },
    /// Take a picture of the display.
    Screenshot(ScreenName),
    /// Wait for a window with this in its title.
    Await(String),
}

/// What a person does at a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gesture {
    /// Types a text; each line end is the key Enter.
    Type(String),
    /// Presses keys, one after another.
    Press(Vec<Chord>),
    /// Clicks at a point, in pixels from the top left corner of the display.
    Click {
        /// From the left.
        x: u16,
        /// From the top.
        y: u16,
        /// The button as X counts them: 1 left, 2 middle, 3 right.
        button: u8,
    },
}

impl Gesture {
    /// How transcripts show it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Type(text) => text.trim_end().to_owned(),
            Self::Press(keys) => format!("({})", show_keys(keys)),
            Self::Click { x, y, button } => format!("({} at {x}, {y})", click_word(*button)),
        }
    }
}

impl WindowAct {
    /// How reports name a step that does this.
    pub(super) fn describe(&self, node: &NodeName) -> String {
        match self {
            Self::Gesture { gesture, .. } => match gesture {
                Gesture::Type(text) => format!("type {node} {text:?}"),
                Gesture::Press(keys) => format!("key {node} {}", show_keys(keys)),
                Gesture::Click { x, y, button } => {
                    format!("{} {node} at {x}, {y}", click_word(*button))
                }
            },
            Self::Screenshot(name) => format!("screenshot {node} {name}"),
            Self::Await(title) => format!("until a window of {node} {title:?}"),
        }
    }
}

fn click_word(button: u8) -> &'static str {
    match button {
        2 => "middle click",
        3 => "right click",
        _ => "click",
    }
}

fn show_keys(keys: &[Chord]) -> String {
    let shown: Vec<String> = keys.iter().map(ToString::to_string).collect();
    shown.join(" ")
}

/// The display of a node, if its program has one.
pub(super) fn display(
    placement: &Placement<'_>,
    node: &NodeName,
) -> Result<Option<DisplayPlan>, Problem> {
    let spec_of = |node: &NodeName| {
        let placed = placement.nodes.get(node)?;
        let program = placement.spec.implementations.get(placed.implementation)?;
        Some((placed.host, program.display?))
    };
    let Some((host, display)) = spec_of(node) else {
        return Ok(None);
    };
    let own = placement.spec.nodes.get(node);
    if let Some(given) = own.and_then(|own| own.env.get(DISPLAY)) {
        return Err(display_is_given(given.place));
    }
    let before = placement.nodes.keys().take_while(|name| **name != node);
    let before = before.filter(|name| spec_of(name).is_some_and(|(other, _)| other == host));
    // A file has at most MAX_NODES nodes.
    let index = u16::try_from(before.count()).unwrap_or(u16::MAX);
    Ok(Some(DisplayPlan {
        number: FIRST_DISPLAY.saturating_add(index),
        size: display.size,
    }))
}

/// What a step does at a window of a node.
pub(super) fn act(
    placement: &Placement<'_>,
    step: Place,
    node: &NodeName,
    spec: &WindowStep,
) -> Result<WindowAct, Problem> {
    let Some(display) = display(placement, node)? else {
        return Err(no_display(placement, step, node));
    };
    let named = |window: &Option<Template>| {
        let window = window.as_ref();
        window
            .map(|title| placement.render(title, node))
            .transpose()
    };
    Ok(match spec {
        WindowStep::Type { text, window } => WindowAct::Gesture {
            gesture: type_gesture(text, |text| placement.render(text, node))?,
            window: named(window)?,
        },
        WindowStep::Press { keys, window } => WindowAct::Gesture {
            gesture: press(placement, node, keys)?,
            window: named(window)?,
        },
        &WindowStep::Click { x, y, button } => {
            let DisplaySize { width, height } = display.size;
            if x >= width || y >= height {
                let message = format!("{x}, {y} is outside the display, {width}x{height}");
                return Err(Problem::at(step, message));
            }
            WindowAct::Gesture {
                gesture: Gesture::Click { x, y, button },
                window: None,
            }
        }
        WindowStep::Screenshot(name) => WindowAct::Screenshot(name.clone()),
        WindowStep::Await(title) => WindowAct::Await(placement.render(title, node)?),
    })
}

fn no_display(placement: &Placement<'_>, step: Place, node: &NodeName) -> Problem {
    let placed = placement.nodes.get(node);
    let name = placed.map_or("", |placed| placed.implementation);
    let message = format!("implementation `{name}` has no `display`, and `{node}` is one");
    let problem = Problem::at(step, message).hint("add `display: {}` to it");
    match placement.spec.implementations.get(name) {
        Some(program) => problem.other(program.place, "the implementation"),
        None => problem,
    }
}

/// Sees to it that every picture of a cell has a name of its own.
pub(super) fn note_screen(
    screens: &mut HashMap<ScreenName, Place>,
    step: Place,
    act: &WindowAct,
) -> Result<(), Problem> {
    let WindowAct::Screenshot(name) = act else {
        return Ok(());
    };
    if let Some(first) = screens.insert(name.clone(), step) {
        let message = format!("screenshot `{name}` is taken twice in a cell");
        return Err(Problem::at(step, message).other(first, "taken first"));
    }
    if screens.len() > MAX_SCREENS {
        let message = format!("more than {MAX_SCREENS} screenshots in a cell");
        return Err(Problem::at(step, message));
    }
    Ok(())
}

/// What a person types, on a terminal or at a window; `fill` fills the holes of the text.
pub(super) fn typed(
    spec: &SaySpec,
    fill: impl FnOnce(&Template) -> Result<String, Problem>,
) -> Result<Input, Problem> {
    match spec {
        SaySpec::Stdin(text) => Ok(Input::Stdin(fill(text)?.into_bytes())),
        SaySpec::Type(text) => type_text(text, fill),
    }
}

/// The same, at a window.
pub(super) fn type_text(
    text: &Template,
    fill: impl FnOnce(&Template) -> Result<String, Problem>,
) -> Result<Input, Problem> {
    type_gesture(text, fill).map(Input::Window)
}

fn type_gesture(
    text: &Template,
    fill: impl FnOnce(&Template) -> Result<String, Problem>,
) -> Result<Gesture, Problem> {
    let typed = fill(text)?;
    let has_key = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    match typed.chars().find(|c| !has_key(c)) {
        Some(c) => {
            let message = format!("no key types the character {}", c.escape_unicode());
            Err(Problem::at(text.place, message).hint("a `key` step presses keys by their names"))
        }
        None => Ok(Gesture::Type(typed)),
    }
}

/// The keys that a person presses.
pub(super) fn press(
    placement: &Placement<'_>,
    node: &NodeName,
    keys: &[Field<Chord>],
) -> Result<Gesture, Problem> {
    let chords = keys.iter().map(|key| placement.resolve(key, Some(node)));
    Ok(Gesture::Press(chords.collect::<Result<_, _>>()?))
}
