//! Strings with rules: targets, toolchain versions, artifact names, file names.
//!
//! Owns the newtypes; each is valid by construction. Must not know where the names are used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::hint::{Hint, nearest};

/// A name that breaks its rule.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
    text: String,
}

impl Hint for NameError {
    fn hints(&self) -> Vec<String> {
        let targets = Target::ALL.map(Target::as_str);
        match (self.what, nearest(&self.text, targets)) {
            ("target", Some(target)) => vec![format!("did you mean `{target}`?")],
            _ => Vec::new(),
        }
    }
}

/// A family of Luxonis devices, and with it the vendor tools that compile for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// MyriadX, through Intel OpenVINO.
    Rvc2,
    /// Keem Bay, through Intel OpenVINO.
    Rvc3,
    /// Qualcomm QCS8550, through SNPE (QAIRT).
    Rvc4,
    /// Hailo-8 and its successors, through the Hailo Dataflow Compiler.
    Hailo,
}

impl Target {
    /// All targets, in the order they are listed to people.
    pub const ALL: [Self; 4] = [Self::Rvc2, Self::Rvc3, Self::Rvc4, Self::Hailo];

    /// Returns the name as it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rvc2 => "rvc2",
            Self::Rvc3 => "rvc3",
            Self::Rvc4 => "rvc4",
            Self::Hailo => "hailo",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|target| target.as_str() == text).ok_or_else(|| NameError {
            what: "target",
            rule: "expected rvc2, rvc3, rvc4 or hailo",
            text: text.to_owned(),
        })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Declares a newtype over `String` whose texts obey a rule.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { what: $what, rule: $rule, text: text.to_owned() })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The version of a vendor's tools, as the vendor writes it.
    ///
    /// Accepted: `2021.4.2`, `2.41.0.251128`. Refused: the empty text, `latest/1`, `-1`.
    ToolchainVersion,
    "toolchain version",
    "expected letters, digits, `.`, `_`, `+` and `-`, beginning with a letter or digit",
    |text| text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
);

name!(
    /// The key of an artifact in the lock: unique, and stable as long as the artifact's bytes are.
    ///
    /// Accepted: `libc6_2.31-13+deb11u11_amd64`, `numpy-1.19.5`. Refused: the empty text, `a b`, `a/b`.
    ArtifactId,
    "artifact id",
    "expected letters, digits, `.`, `_`, `+`, `~` and `-`, beginning with a letter or digit",
    |text| text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte))
);

name!(
    /// The name of one file, without any folder.
    ///
    /// Accepted: `openvino-2021.4.0.tar.gz`. Refused: the empty text, `.`, `..`, `a/b`, anything with a NUL.
    FileName,
    "file name",
    "expected one path component",
    |text| !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\0'])
);

name!(
    /// The name of a layer of an image, for people.
    ///
    /// Accepted: `base`, `model-optimizer`. Refused: the empty text, `Base`, `a b`.
    LayerName,
    "layer name",
    "expected lower-case letters, digits and `-`",
    |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
);

/// The vendor tools of one version for one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolchainName {
    /// What the tools compile for.
    pub target: Target,
    /// The vendor's version.
    pub version: ToolchainVersion,
}

/// Prints `rvc2 2021.4.2`.
impl fmt::Display for ToolchainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.target, self.version)
    }
}

/// Operating system and processor of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Platform {
    /// Linux on x86-64.
    #[serde(rename = "linux/amd64")]
    LinuxAmd64,
}

impl Platform {
    /// The name of the processor in OCI documents and Debian packages.
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinuxAmd64 => formatter.write_str("linux/amd64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_obey_their_rules() {
        assert!("2.41.0.251128".parse::<ToolchainVersion>().is_ok());
        assert!("libc6_2.31-13+deb11u11_amd64".parse::<ArtifactId>().is_ok());
        assert!("a..b".parse::<FileName>().is_ok());
        for text in ["", "-1", "latest/1"] {
            assert!(text.parse::<ToolchainVersion>().is_err(), "{text}");
        }
        for text in ["", ".", "..", "a/b", "a\0"] {
            assert!(text.parse::<FileName>().is_err(), "{text}");
        }
        for text in ["", "Base", "a b"] {
            assert!(text.parse::<LayerName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mistyped_target_gets_a_hint() {
        let error = "rcv2".parse::<Target>().unwrap_err();
        assert_eq!(error.hints(), ["did you mean `rvc2`?"]);
    }
}
