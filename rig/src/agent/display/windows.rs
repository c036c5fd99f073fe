//! The windows that a display shows.

use std::fmt;

use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, InputFocus, MapState,
    Window, WindowClass,
};
use x11rb::{CURRENT_TIME, NONE};

use super::server::{Server, ServerError};

/// How much of a title is read, in units of four bytes.
const MAX_TITLE_UNITS: u32 = 256;

/// How many windows of a display are looked at.
const MAX_WINDOWS: usize = 1000;

/// How many windows an error names.
const MAX_TOLD: usize = 8;

/// How deep windows are searched for the one that has the focus.
const MAX_DEPTH: usize = 64;

/// The smaller side of what a person takes for a window, in pixels: toolkits keep windows of one
/// pixel for their own ends.
const MIN_SIDE: u16 = 2;

/// A window of a program that can be seen, with nothing around it: a child of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) id: Window,
    pub(super) title: String,
    x: i16,
    y: i16,
    width: u16,
    height: u16,
    /// A menu or a tooltip: it takes clicks and never the focus.
    pub(super) is_popup: bool,
}

impl Shown {
    pub(super) fn contains(&self, x: u16, y: u16) -> bool {
        let within = |at: u16, from: i16, len: u16| {
            let at = i32::from(at) - i32::from(from);
            (0..i32::from(len)).contains(&at)
        };
        within(x, self.x, self.width) && within(y, self.y, self.height)
    }
}

/// `"xterm" (484x316 at 0, 0)`.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, width, height, x, y) = (&self.title, self.width, self.height, self.x, self.y);
        write!(f, "\"{title}\" ({width}x{height} at {x}, {y})")
    }
}

/// What the display shows, for the end of an error.
pub(super) fn tell(windows: &[Shown]) -> String {
    if windows.is_empty() {
        return "it shows no window".to_owned();
    }
    let told = windows.iter().take(MAX_TOLD).map(ToString::to_string);
    let told: Vec<String> = told.collect();
    let more = match windows.len().saturating_sub(MAX_TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("it shows {}{more}", told.join(", "))
}

impl Server {
    /// Asks to be told when a window comes or goes, or another title shows.
    pub(super) fn watch(&self) -> Result<(), ServerError> {
        let mask = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::PROPERTY_CHANGE;
        let wanted = ChangeWindowAttributesAux::new().event_mask(mask);
        self.connection
            .change_window_attributes(self.root, &wanted)?
            .check()?;
        Ok(())
    }

    /// The windows that can be seen, the lowest first. With `watch`, changes of their titles will
    /// be told.
    pub(super) fn windows(&self, watch: bool) -> Result<Vec<Shown>, ServerError> {
        let tree = self.connection.query_tree(self.root)?.reply()?;
        let mut shown = Vec::new();
        for id in tree.children.into_iter().take(MAX_WINDOWS) {
            if watch {
                let mask = EventMask::PROPERTY_CHANGE;
                let wanted = ChangeWindowAttributesAux::new().event_mask(mask);
                // A window that has gone meanwhile is no error.
                self.connection
                    .change_window_attributes(id, &wanted)?
                    .ignore_error();
            }
            shown.extend(self.window(id)?);
        }
        Ok(shown)
    }

    /// A window, if it can be seen.
    fn window(&self, id: Window) -> Result<Option<Shown>, ServerError> {
        let attributes = self.connection.get_window_attributes(id)?;
        let geometry = self.connection.get_geometry(id)?;
        let (Ok(attributes), Ok(geometry)) = (attributes.reply(), geometry.reply()) else {
            // It has gone meanwhile; a connection that is lost is told by the next request.
            return Ok(None);
        };
        let is_seen = attributes.map_state == MapState::VIEWABLE
            && attributes.class == WindowClass::INPUT_OUTPUT
            && geometry.width.min(geometry.height) >= MIN_SIDE;
        if !is_seen {
            return Ok(None);
        }
        Ok(Some(Shown {
            id,
            title: self.title(id)?,
            x: geometry.x,
            y: geometry.y,
            width: geometry.width,
            height: geometry.height,
            is_popup: attributes.override_redirect,
        }))
    }

    /// The title of a window, empty where it has none.
    fn title(&self, id: Window) -> Result<String, ServerError> {
        for property in [self.title_atom, AtomEnum::WM_NAME.into()] {
            let request = self.connection.get_property(
                false,
                id,
                property,
                AtomEnum::ANY,
                0,
                MAX_TITLE_UNITS,
            )?;
            let Ok(reply) = request.reply() else {
                return Ok(String::new());
            };
            if reply.format != 8 {
                continue;
            }
            // Inter-Client Communication Conventions 2.7.1: STRING is ISO 8859-1.
            return Ok(if reply.type_ == u32::from(AtomEnum::STRING) {
                reply.value.iter().copied().map(char::from).collect()
            } else {
                String::from_utf8_lossy(&reply.value).into_owned()
            });
        }
        Ok(String::new())
    }

    /// The top-level window among `windows` that has the focus, itself or in a part of it.
    pub(super) fn focused<'w>(
        &self,
        windows: &'w [Shown],
    ) -> Result<Option<&'w Shown>, ServerError> {
        let mut id = self.connection.get_input_focus()?.reply()?.focus;
        for _ in 0..MAX_DEPTH {
            if let Some(window) = windows.iter().find(|window| window.id == id) {
                return Ok(Some(window));
            }
            // None and PointerRoot are no windows.
            if id <= u32::from(InputFocus::POINTER_ROOT) || id == self.root {
                break;
            }
            match self.connection.query_tree(id)?.reply() {
                Ok(tree) if tree.parent != NONE => id = tree.parent,
                _ => break,
            }
        }
        Ok(None)
    }

    /// Gives a window the focus, unless it or a part of it has it.
    pub(super) fn focus(&self, window: &Shown) -> Result<(), ServerError> {
        if self.focused(std::slice::from_ref(window))?.is_some() {
            return Ok(());
        }
        self.connection
            .set_input_focus(InputFocus::POINTER_ROOT, window.id, CURRENT_TIME)?
            .check()?;
        Ok(())
    }
}
