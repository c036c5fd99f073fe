//! Reads images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use super::read::Reader;
use super::tree::{Node as Tree, Value};
use super::{
    BaseImage, CargoBuild, Image, ImageBuild, ImageOrigin, Linking, Located, Place, Problem,
};
use crate::units::ImageName;

/// The key of an image that is not built.
const REFERENCE: &str = "reference";

/// The keys of an image.
const KEYS: [&str; 7] = [
    "dockerfile",
    "context",
    "args",
    "target",
    "cargo",
    "base",
    REFERENCE,
];

/// The most arguments of a build.
const MAX_ARGUMENTS: usize = 100;

/// The longest value of a build argument, in bytes: all of them are part of one request's address.
const MAX_ARGUMENT_BYTES: usize = 4096;

impl Reader<'_> {
    pub(super) fn images(&mut self, node: &Tree) -> IndexMap<ImageName, Image> {
        let entries = self.named(node, "images");
        let read = entries.iter().filter_map(|(key, value)| {
            let image = self.image(key.place, value)?;
            Some((ImageName::new(&key.value).ok()?, image))
        });
        read.collect()
    }

    fn image(&mut self, place: Place, node: &Tree) -> Option<Image> {
        let fields = self.fields(node, "an image", place, &KEYS)?;
        if let Some(reference) = fields.get(REFERENCE) {
            for other in KEYS.into_iter().filter(|key| *key != REFERENCE) {
                if let Some((key, _)) = fields.entry(other) {
                    let message = format!("an image has either `reference` or `{other}`");
                    self.problem(Problem::at(key.place, message));
                }
            }
            let origin = ImageOrigin::Reference(self.base(reference, "`reference`")?);
            return Some(Image { place, origin });
        }
        let Some(dockerfile) = fields.get("dockerfile") else {
            self.problem(
                Problem::at(place, "an image needs `dockerfile` or `reference`")
                    .hint("`reference: name:tag` takes an image that is there or can be pulled"),
            );
            return None;
        };
        let build = ImageBuild {
            dockerfile: self.path(dockerfile)?,
            context: self.optional(fields, "context", Self::path)?,
            args: self
                .optional(fields, "args", Self::build_args)?
                .unwrap_or_default(),
            target: self.optional(fields, "target", Self::stage)?,
            cargo: self.optional(fields, "cargo", Self::cargo)?,
            base: self.optional(fields, "base", |reader, node| reader.base(node, "`base`"))?,
        };
        let origin = ImageOrigin::Build(Box::new(build));
        Some(Image { place, origin })
    }

    /// The arguments of a build (`ARG` of a Dockerfile), which may be empty texts.
    fn build_args(&mut self, node: &Tree) -> Option<BTreeMap<String, Located<String>>> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                self.expected(node, "build arguments: a map");
                return None;
            }
        };
        if let Some((key, _)) = entries.get(MAX_ARGUMENTS) {
            let message = format!("more than {MAX_ARGUMENTS} build arguments");
            self.problem(Problem::at(key.place, message));
        }
        let mut args = BTreeMap::new();
        for (key, value) in entries {
            let mut chars = key.value.chars();
            let first = chars
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !first || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let message = format!("`{}` is not the name of a build argument", key.value);
                let hint = "use letters, digits and `_`, and begin with no digit";
                self.problem(Problem::at(key.place, message).hint(hint));
                continue;
            }
            let Some(scalar) = self.scalar(value, "a text, the argument's value") else {
                continue;
            };
            self.without_holes(value, &scalar.text);
            if scalar.text.len() > MAX_ARGUMENT_BYTES {
                let message = format!("the value is longer than {MAX_ARGUMENT_BYTES} bytes");
                self.problem(Problem::at(value.place, message));
            }
            let text = Located::new(scalar.text.clone(), key.place);
            args.insert(key.value.clone(), text);
        }
        Some(args)
    }

    /// The name of a stage of a Dockerfile.
    fn stage(&mut self, node: &Tree) -> Option<Located<String>> {
        self.word(node, "the name of a stage")
    }

    /// A path, relative ones joined to the folder of the file.
    fn path(&mut self, node: &Tree) -> Option<Located<PathBuf>> {
        let text = self.text(node, "a path")?;
        Some(Located::new(self.dir.join(text.value), text.place))
    }

    /// The reference of an image, `name:tag`.
    fn reference_text(&mut self, node: &Tree) -> Option<Located<String>> {
        let text = self.text(node, "a reference such as debian:bookworm-slim")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
        if text.value.starts_with('-') || !text.value.chars().all(allowed) {
            let message = format!("`{}` is not a reference of an image", text.value);
            self.problem(Problem::at(text.place, message).hint("write `name:tag`"));
            return None;
        }
        Some(text)
    }

    /// The name of a package, or a map with more.
    fn cargo(&mut self, node: &Tree) -> Option<CargoBuild> {
        let Value::Map(_) = node.value else {
            return Some(CargoBuild {
                folder: self.dir.to_owned(),
                package: self.package(node)?,
                profile: None,
                features: Vec::new(),
                link: Linking::default(),
            });
        };
        let known = ["package", "profile", "features", "link"];
        let fields = self.fields(node, "`cargo`", node.place, &known)?;
        let package = self.required(fields, "package");
        let package = package.and_then(|node| self.package(node));
        let profile = self.optional(fields, "profile", |reader, node| {
            reader.word(node, "the name of a profile")
        });
        let features = self.optional(fields, "features", Self::features);
        let link = self.optional(fields, "link", |reader, node| {
            reader.word(node, "`static` or `dynamic`")
        });
        Some(CargoBuild {
            folder: self.dir.to_owned(),
            package: package?,
            profile: profile?,
            features: features?.unwrap_or_default(),
            link: link?.map_or(Linking::default(), |link| link.value),
        })
    }

    fn package(&mut self, node: &Tree) -> Option<Located<String>> {
        self.word(node, "the name of a package")
    }

    /// Names of features, one or a list.
    fn features(&mut self, node: &Tree) -> Option<Vec<Located<String>>> {
        let read: Vec<_> = node
            .one_or_more()
            .iter()
            .map(|item| self.word(item, "the name of a feature"))
            .collect();
        read.into_iter().collect()
    }

    fn base(&mut self, node: &Tree, what: &'static str) -> Option<BaseImage> {
        if let Value::Scalar(_) = node.value {
            let image = self.reference_text(node)?;
            return Some(BaseImage { image, make: None });
        }
        let fields = self.fields(node, what, node.place, &["image", "make"])?;
        let image = self.required(fields, "image")?;
        let image = self.reference_text(image)?;
        let make = self.optional(fields, "make", Self::path)?;
        Some(BaseImage { image, make })
    }
}
