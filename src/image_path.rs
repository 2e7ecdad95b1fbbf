//! Paths inside an image.
//!
//! Owns [`ImagePath`]: relative to the image's root, normal, UTF-8, never leaving the root. Tar members, wheel members
//! and recipe destinations all become one before anything else looks at them. Must not touch the host's file system.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::hint::Hint;

/// A path of an entry inside an image, written without a leading slash: `usr/bin/python3.9`.
///
/// Reading drops leading `/` and `./`, empty components and a trailing slash. Refused: `..` as a component, NUL, the
/// root itself, more than 4096 bytes. Ordered bytewise over the whole text, so a folder stands before what is in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(String);

/// A text that is no path of an entry inside an image.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no path below the root: {rule}")]
pub struct ImagePathError {
    text: String,
    rule: &'static str,
}

impl Hint for ImagePathError {}

impl ImagePath {
    /// Returns the text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the folder the entry is in, or nothing for an entry of the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Returns all folders above the entry, nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Returns the last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// Returns the path `relative` below this one.
    ///
    /// # Errors
    /// The same as reading a text.
    pub fn join(&self, relative: &str) -> Result<Self, ImagePathError> {
        format!("{}/{relative}", self.0).parse()
    }
}

impl FromStr for ImagePath {
    type Err = ImagePathError;

    fn from_str(text: &str) -> Result<Self, ImagePathError> {
        let refused = |rule| ImagePathError { text: text.to_owned(), rule };
        if text.contains('\0') {
            return Err(refused("it has a NUL"));
        }
        let mut path = String::with_capacity(text.len());
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => return Err(refused("`..` may leave the root")),
                _ => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(component);
                }
            }
        }
        match path.len() {
            0 => Err(refused("it names the root")),
            1..=4096 => Ok(Self(path)),
            _ => Err(refused("it is longer than 4096 bytes")),
        }
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Serialize for ImagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal_and_stay_inside() {
        for text in ["/usr/bin", "./usr//bin/", "usr/./bin"] {
            assert_eq!(text.parse::<ImagePath>().unwrap().as_str(), "usr/bin");
        }
        for text in ["", "/", ".", "..", "a/../b", "a\0b", &"x/".repeat(3000)] {
            assert!(text.parse::<ImagePath>().is_err(), "{text}");
        }
    }

    #[test]
    fn ancestors_come_nearest_first() {
        let path: ImagePath = "a/b/c".parse().unwrap();
        let ancestors: Vec<String> = path.ancestors().map(|ancestor| ancestor.to_string()).collect();
        assert_eq!(ancestors, ["a/b", "a"]);
    }
}
