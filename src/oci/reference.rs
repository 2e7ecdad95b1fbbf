//! Names of images in container engines: `modelconverter/rvc2:2021.4.2`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::hint::Hint;
use crate::name::ToolchainName;

/// The registry that engines mean where a name has none. It is part of the full names that containerd keeps, not a place
/// that anything is fetched from.
const IMPLIED_REGISTRY: &str = "docker.io";

/// The name of an image in a container engine: repository and tag.
///
/// Accepted: `modelconverter/rvc2:2021.4.2`, `localhost:5000/a/b:1`. Refused: a name without a tag, upper case in the
/// repository, a digest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    repository: String,
    tag: String,
}

/// A text that is no name of an image.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no image name: {rule}")]
pub struct ReferenceError {
    text: String,
    rule: &'static str,
}

impl Hint for ReferenceError {
    fn hints(&self) -> Vec<String> {
        vec!["write repository and tag, for example `modelconverter/rvc2:2021.4.2`".to_owned()]
    }
}

impl ImageReference {
    /// Returns the name under which the image of a toolchain is known.
    pub fn of_toolchain(name: &ToolchainName) -> Self {
        // A plus sign, which versions may have, is not allowed in tags.
        Self { repository: format!("modelconverter/{}", name.target), tag: name.version.as_str().replace('+', "_") }
    }

    /// Returns the tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the name with its registry, as containerd keeps it.
    pub fn full(&self) -> String {
        let first = self.repository.split('/').next().unwrap_or_default();
        let has_registry = self.repository.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        if has_registry { self.to_string() } else { format!("{IMPLIED_REGISTRY}/{self}") }
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refused = |rule| ReferenceError { text: text.to_owned(), rule };
        if text.contains('@') {
            return Err(refused("a digest names no image that can be tagged"));
        }
        let (repository, tag) = text.rsplit_once(':').ok_or_else(|| refused("it has no tag"))?;
        if tag.contains('/') {
            return Err(refused("it has no tag"));
        }
        let tag_is_valid = tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && tag.len() <= 128
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !tag_is_valid {
            return Err(refused("the tag has other characters than letters, digits, `.`, `_` and `-`"));
        }
        let component_is_valid = |component: &str| {
            component.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
                && component
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:".contains(&byte))
        };
        if !repository.split('/').all(component_is_valid) {
            return Err(refused(
                "the repository has other characters than lower-case letters, digits, `.`, `_` and `-`",
            ));
        }
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.repository, self.tag)
    }
}

impl fmt::Debug for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_have_a_full_form() {
        for (text, full) in [
            ("modelconverter/rvc2:2021.4.2", "docker.io/modelconverter/rvc2:2021.4.2"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("example.com/a:latest", "example.com/a:latest"),
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), reference.full().as_str()), (text, full));
        }
        for text in ["", "a", "localhost:5000/a", "A/b:1", "a/b:", "a//b:1", "a:1@sha256:00", "a:1+2", "../a:1"] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
