//! The matrix files that stand in README.md and docs/matrix.md.

use std::fs;

use super::workspace_file;

/// The blocks of YAML in a document.
pub(crate) fn examples(document: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace_file(document)).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// Takes a file apart at its top-level keys.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            Some((key, _)) if !line.starts_with([' ', '#']) => {
                sections.push((key.to_owned(), format!("{line}\n")));
            }
            _ => {
                let (_, section) = sections.last_mut().unwrap();
                section.push_str(line);
                section.push('\n');
            }
        }
    }
    sections
}

/// The examples of docs/matrix.md, each put in place of the same sections of the complete file
/// that stands first there; with the keys of the sections that it replaces.
pub(crate) fn matrices() -> Vec<(Vec<String>, String)> {
    let examples = examples("docs/matrix.md");
    let base = sections(&examples[0]);
    let rest = examples.iter().skip(1).map(String::as_str);
    std::iter::once("")
        .chain(rest)
        .map(|example| {
            let replaced = sections(example);
            let kept = base
                .iter()
                .filter(|(key, _)| !replaced.iter().any(|(k, _)| k == key));
            let text = kept.chain(&replaced).map(|(_, text)| text.as_str());
            let text = text.collect();
            (replaced.into_iter().map(|(key, _)| key).collect(), text)
        })
        .collect()
}
