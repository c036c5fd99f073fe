//! From the path of a request to a file of the folder, and to no other.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};
use percent_encoding::percent_decode_str;

/// What a path that ends in `/` stands for.
const INDEX: &str = "index.html";

/// The longest path that is looked up, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// A folder whose files are served.
#[derive(Debug)]
pub struct Folder(Dir);

/// A file to be served.
#[derive(Debug)]
pub struct Found {
    /// The open file.
    pub file: File,
    /// Its length in bytes.
    pub len: u64,
    /// Its content type, by its name.
    pub content_type: &'static str,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// It cannot be opened; the message names it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Dir::open_ambient_dir(path, ambient_authority())
            .map(Self)
            .map_err(|e| {
                io::Error::new(
                    e.kind(),
                    format!("failed to open folder {}: {e}", path.display()),
                )
            })
    }

    /// The file that the path of a request, such as `/pictures/small.bmp`, stands for. None where the
    /// path is refused, where there is no such file, and where it leads out of the folder, by a
    /// symbolic link too.
    pub fn find(&self, path: &str) -> Option<Found> {
        let path = relative(path)?;
        // A pipe must not hold the server up; that it is no file is seen below.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = self.0.open_with(&path, &options).ok()?;
        let metadata = file.metadata().ok()?;
        metadata.is_file().then(|| Found {
            len: metadata.len(),
            content_type: content_type(&path),
            file,
        })
    }
}

/// The path of a request as a path below the folder. None where it is refused: parts that begin
/// with a dot, dots, slashes and backslashes that are encoded, control characters, bad UTF-8.
fn relative(path: &str) -> Option<PathBuf> {
    let path = path
        .strip_prefix('/')
        .filter(|path| path.len() <= MAX_PATH_BYTES)?;
    let mut below = PathBuf::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let plain = match decoded(part)? {
            name if name.is_empty() && last => INDEX.to_owned(),
            name if name.is_empty() || name.starts_with('.') => return None,
            name => name,
        };
        below.push(plain);
    }
    Some(below)
}

/// A part of a path with its percent signs resolved; none where that changes what the part is.
fn decoded(part: &str) -> Option<String> {
    let text = percent_decode_str(part).decode_utf8().ok()?;
    let count = |text: &str| text.matches(['.', '/', '\\']).count();
    let harmless = count(&text) == count(part) && !text.contains(char::is_control);
    harmless.then(|| text.into_owned())
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("bmp") => "image/bmp",
        Some("ico") => "image/x-icon",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_a_path_below_the_folder() {
        let below = |path| relative(path).map(|path| path.display().to_string());
        assert_eq!(below("/").as_deref(), Some("index.html"));
        assert_eq!(below("/a/b.css").as_deref(), Some("a/b.css"));
        assert_eq!(below("/a/").as_deref(), Some("a/index.html"));
        assert_eq!(
            below("/caff%C3%A8%20nero.txt").as_deref(),
            Some("caffè nero.txt")
        );
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for path in [
            "",
            "index.html",
            "//etc/passwd",
            "/../secret",
            "/a/../../secret",
            "/./a",
            "/.git/config",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/%2E./secret",
            "/a%2Fb",
            "/a%5cb",
            "/index%2ehtml",
            "/a%00b",
            "/a%0d%0ab",
            "/%ff",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
        assert_eq!(
            relative(&format!("/{}", "a".repeat(MAX_PATH_BYTES + 1))),
            None
        );
    }

    #[test]
    fn only_files_of_the_folder_are_found() {
        let temp = tempfile::tempdir().unwrap();
        let site = temp.path().join("site");
        std::fs::create_dir_all(site.join("sub")).unwrap();
        std::fs::write(temp.path().join("secret"), "secret").unwrap();
        std::fs::write(site.join("page.html"), "ciao").unwrap();
        symlink("page.html", site.join("inside")).unwrap();
        symlink("../secret", site.join("outside")).unwrap();
        symlink(temp.path().join("secret"), site.join("absolute")).unwrap();
        symlink("..", site.join("up")).unwrap();
        nix::unistd::mkfifo(&site.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let folder = Folder::open(&site).unwrap();
        let found = folder.find("/page.html").unwrap();
        assert_eq!(
            (found.len, found.content_type),
            (4, "text/html; charset=utf-8")
        );
        assert!(folder.find("/inside").is_some());
        for path in [
            "/outside",
            "/absolute",
            "/up/secret",
            "/sub",
            "/sub/",
            "/pipe",
            "/none",
        ] {
            assert!(folder.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Folder::open(Path::new("/no/such/folder")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("failed to open folder /no/such/folder: ")
        );
    }
}
