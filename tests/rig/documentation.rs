//! The matrix files of README.md and docs/matrix.md are without mistakes.

#![expect(clippy::panic, reason = "what cannot be read ends the test")]

use std::path::Path;

use crate::support::examples::{examples, matrices};

#[test]
fn each_example_is_a_file_without_mistakes() {
    let mut count = 0;
    let readme = examples("README.md").swap_remove(0);
    let texts = matrices().into_iter().map(|(_, text)| text);
    for text in texts.chain([readme]) {
        let spec = rig::spec::parse("matrix.md", Path::new(""), text.clone());
        let result = spec.and_then(|spec| rig::plan::validate(&spec));
        if let Err(diagnostics) = result {
            panic!("{text}\n{}", diagnostics.render(rig::spec::Style::Plain));
        }
        count += 1;
    }
    assert!(count > 8, "{count} examples");
}
