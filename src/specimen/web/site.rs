//! The example site, and writes it into a folder.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::picture::{bitmap, icon};
use crate::client::{Exit, Failure, program};

/// Writes the example site into a folder
///
/// `index.html` is a page by itself, `page.html` one with a style sheet and pictures, of which
/// `pictures/large.bmp` has 531990 bytes; `result.html` is where `/redirect` of `specimen web-server` leads.
/// Files of the same names are overwritten.
///
/// Exit codes: 0 written, 1 a file cannot be written, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder, which is made if it is not there
    pub folder: PathBuf,
}

/// Small pictures of `page.html`, so many that a browser opens further connections for them.
const SMALL_PICTURES: u8 = 8;

/// Writes the site.
pub fn main(args: &Args) -> Exit {
    let written = write(&args.folder);
    program::report(
        "specimen",
        written.map_err(|error| Failure {
            exit: Exit::Failed,
            message: error.to_string(),
        }),
    )
}

/// Writes the site into `folder`.
///
/// # Errors
/// A file cannot be written; the message names it.
pub fn write(folder: &Path) -> io::Result<()> {
    for (name, content) in files() {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|e| {
                io::Error::new(e.kind(), format!("failed to write {}: {e}", path.display()))
            })?;
    }
    Ok(())
}

/// Every file: its path below the folder, and what is in it.
fn files() -> Vec<(String, Cow<'static, [u8]>)> {
    let text = |name: &str, text: &'static str| (name.to_owned(), text.as_bytes().into());
    let mut files = vec![
        text("index.html", include_str!("site/index.html")),
        text("page.html", include_str!("site/page.html")),
        text("result.html", include_str!("site/result.html")),
        text("style.css", include_str!("site/style.css")),
        ("favicon.ico".to_owned(), icon([0x99, 0x55, 0x11]).into()),
        ("pictures/large.bmp".to_owned(), large().into()),
    ];
    files.extend((1..=SMALL_PICTURES).map(|number| {
        let stripes = move |column: u16, _| {
            if (column / 4).is_multiple_of(number.into()) {
                0x33
            } else {
                0xcc
            }
        };
        (
            format!("pictures/small-{number}.bmp"),
            bitmap(32, 32, stripes).into(),
        )
    }));
    files
}

/// 531990 bytes: rings that spread from the middle.
fn large() -> Vec<u8> {
    const WIDTH: u16 = 752;
    const HEIGHT: u16 = 706;
    bitmap(WIDTH, HEIGHT, |column, row| {
        let [x, y] = [column.abs_diff(WIDTH / 2), row.abs_diff(HEIGHT / 2)].map(u32::from);
        ((x * x + y * y) / 256 % 256).to_le_bytes()[0]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_picture_has_the_length_of_the_reports() {
        assert_eq!(large().len(), 531_990);
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        let files = files();
        let page = include_str!("site/page.html");
        let named: Vec<_> = page.split('"').filter(|text| text.contains('.')).collect();
        assert_eq!(named.len(), 2 + usize::from(SMALL_PICTURES), "{named:?}");
        for name in named {
            assert!(files.iter().any(|(file, _)| file == name), "{name}");
        }
    }
}
