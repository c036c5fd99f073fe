//! Texts with holes: `${node}`, `${address.server}`, `${placement.alice}`.

use super::words::Fault;
use super::{FromText, Located, MAX_RENDERED_BYTES, Place, Problem};

/// A text of the file in which `${…}` stands for something that the cell decides, and `$$` for
/// `$`. Any other `$` is itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Where the text stands.
    pub place: Place,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Literal(String),
    /// `${…}`, with the place of the whole of it.
    Hole(Located<Hole>),
}

/// What `${…}` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hole {
    /// `${node}`: the node's name.
    Node,
    /// `${text}`: what a `say` step says.
    Text,
    /// `${address.NAME}`: the address of a node's host, or of a host.
    Address(String),
    /// `${AXIS}`: the cell's value on an axis.
    Axis(String),
    /// `${AXIS.KEY}`: a setting of that value.
    Setting {
        /// The axis.
        axis: String,
        /// The key.
        key: String,
    },
}

impl Template {
    /// The text with every hole filled.
    ///
    /// # Errors
    /// The first hole that `fill` cannot fill.
    pub fn render(
        &self,
        mut fill: impl FnMut(&Located<Hole>) -> Result<String, Problem>,
    ) -> Result<String, Problem> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Hole(hole) => text.push_str(&fill(hole)?),
            }
            if text.len() > MAX_RENDERED_BYTES {
                let message = format!("the text becomes longer than {MAX_RENDERED_BYTES} bytes");
                return Err(Problem::at(self.place, message));
            }
        }
        Ok(text)
    }

    /// The text, if it has no holes.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        let literals = self.parts.iter().map(|part| match part {
            Part::Literal(literal) => Some(literal.as_str()),
            Part::Hole(_) => None,
        });
        literals.collect()
    }

    /// The hole, if the text is nothing else.
    #[must_use]
    pub fn only_hole(&self) -> Option<&Hole> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(&hole.value),
            _ => None,
        }
    }
}

/// A field of the file whose value is known, or will be once a cell is chosen.
#[derive(Debug, Clone)]
pub enum Field<T> {
    /// The value.
    Fixed(Located<T>),
    /// The text that will be read once its holes are filled.
    Template(Template),
}

impl<T> Field<T> {
    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Fixed(located) => located.place,
            Self::Template(template) => template.place,
        }
    }

    /// The value, where it does not depend on the cell.
    #[must_use]
    pub fn fixed(&self) -> Option<&Located<T>> {
        match self {
            Self::Fixed(located) => Some(located),
            Self::Template(_) => None,
        }
    }
}

impl<T: FromText + Clone> Field<T> {
    /// The value in a cell, whose holes `fill` fills.
    ///
    /// # Errors
    /// A hole that cannot be filled, or a text that is no such value.
    pub fn resolve(
        &self,
        fill: impl FnMut(&Located<Hole>) -> Result<String, Problem>,
    ) -> Result<T, Problem> {
        self.resolve_with(fill, T::from_text)
    }
}

impl<T: Clone> Field<T> {
    /// The same, where it takes more than the text to read the value.
    ///
    /// # Errors
    /// A hole that cannot be filled, or a text that is no such value.
    pub fn resolve_with(
        &self,
        fill: impl FnMut(&Located<Hole>) -> Result<String, Problem>,
        read: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Problem> {
        match self {
            Self::Fixed(located) => Ok(located.value.clone()),
            Self::Template(template) => {
                let text = template.render(fill)?;
                read(&text).map_err(|fault| {
                    let whole = format!("{}, in `{text}`", fault.message);
                    Problem::at(template.place, whole).maybe_hint(fault.hint)
                })
            }
        }
    }
}

/// A piece of a template's text: what it is and its byte range.
pub(super) enum Piece<'t> {
    Literal(&'t str),
    /// The inside of `${…}`, and the range of the whole of it.
    Hole(&'t str, std::ops::Range<usize>),
}

/// Takes a text apart at its holes.
///
/// # Errors
/// A `${` that is not closed.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let dollar = at + found;
        let after = &text[dollar + 1..];
        if after.starts_with('$') {
            pieces.push(Piece::Literal(&text[rest..=dollar]));
            at = dollar + 2;
            rest = at;
        } else if let Some(inside) = after.strip_prefix('{') {
            let Some(len) = inside.find('}') else {
                return Err(Fault {
                    message: "`${` is not closed".to_owned(),
                    hint: Some("write `${name}`, or `$${` for the characters `${`".to_owned()),
                    range: Some(dollar..text.len()),
                });
            };
            pieces.push(Piece::Literal(&text[rest..dollar]));
            let end = dollar + 2 + len + 1;
            pieces.push(Piece::Hole(&inside[..len], dollar..end));
            at = end;
            rest = end;
        } else {
            at = dollar + 1;
        }
    }
    pieces.push(Piece::Literal(&text[rest..]));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(text: &str) -> Vec<String> {
        let pieces = pieces(text).unwrap().into_iter().map(|piece| match piece {
            Piece::Literal(text) => text.to_owned(),
            Piece::Hole(inside, range) => format!("<{inside} {range:?}>"),
        });
        pieces.filter(|piece| !piece.is_empty()).collect()
    }

    #[test]
    fn holes_and_dollars() {
        assert_eq!(taken_apart("no holes"), ["no holes"]);
        assert_eq!(
            taken_apart("a${b}c${d.e}"),
            ["a", "<b 1..5>", "c", "<d.e 6..12>"]
        );
        assert_eq!(taken_apart("$HOME, 5$").concat(), "$HOME, 5$");
        assert_eq!(taken_apart("$$ and $${x}").concat(), "$ and ${x}");
        assert_eq!(taken_apart("$$$${x}$${y}").concat(), "$${x}${y}");
        assert_eq!(
            pieces("ab${c").err().and_then(|fault| fault.range),
            Some(2..5)
        );
    }
}
