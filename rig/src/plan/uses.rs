//! The steps that the values of a cell bring along.

use super::cell::Placement;
use crate::spec::{Problem, StepSpec, UseSpec, ValueSteps};

/// How deep uses may be nested.
const MAX_NESTED: usize = 16;

/// What a `use` stands for in a cell: nothing where the cell's value has no such steps.
///
/// # Errors
/// The cell has no value on the axis, or the value names its steps where they are used without a name,
/// or the other way round.
pub(super) fn steps<'a>(
    placement: &Placement<'a>,
    used: &UseSpec,
) -> Result<&'a [StepSpec], Problem> {
    let axis = used.axis.as_str();
    let (value, chosen) = placement
        .chosen(axis)
        .ok_or_else(|| placement.lacks(axis, used.place))?;
    let mismatch = |message: String, hint: String| {
        let problem = Problem::at(used.place, message).hint(hint);
        Err(problem.other(chosen.place, "this value"))
    };
    match (&chosen.steps, &used.part) {
        (ValueSteps::None, _) => Ok(&[]),
        (ValueSteps::All(steps), None) => Ok(steps),
        (ValueSteps::Parts(parts), Some(part)) => Ok(parts.get(part).map_or(&[], Vec::as_slice)),
        (ValueSteps::Parts(parts), None) => match parts.keys().next() {
            None => Ok(&[]),
            Some(part) => mismatch(
                format!("the steps of `{axis}={value}` have names"),
                format!("write `use: {axis}.{part}`"),
            ),
        },
        (ValueSteps::All(_), Some(part)) => mismatch(
            format!("the steps of `{axis}={value}` have no names"),
            format!("write `do: {{ {part}: […] }}`"),
        ),
    }
}

/// Whether a use may stand below others.
///
/// # Errors
/// It is one of them, or they are too many.
pub(super) fn may_nest(outer: &[&UseSpec], used: &UseSpec) -> Result<(), Problem> {
    let name = |used: &UseSpec| (used.axis.clone(), used.part.clone());
    if outer.iter().any(|outer| name(outer) == name(used)) {
        let part = used.part.as_ref();
        let part = part.map_or_else(String::new, |part| format!(".{part}"));
        let message = format!("the steps of `{}{part}` use themselves", used.axis);
        return Err(Problem::at(used.place, message));
    }
    if outer.len() >= MAX_NESTED {
        let message = format!("`use` is nested deeper than {MAX_NESTED} levels");
        return Err(Problem::at(used.place, message));
    }
    Ok(())
}
