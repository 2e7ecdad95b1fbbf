//! Names of projects and of wheel files (PEP 503 "Normalized Names", PEP 427 "File name convention").

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;
use thiserror::Error;

use super::tags::Tag;
use crate::hint::Hint;

/// The name of a project in its normal form.
///
/// Reading lowers letters and makes one `-` of each run of `-`, `_` and `.`. Accepted: `OpenVINO_dev`. Refused: the
/// empty text, `-x`, `a b`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(String);

/// A text that is no name of a project or wheel.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no name of {what}")]
pub struct NameError {
    text: String,
    what: &'static str,
}

impl Hint for NameError {}

impl ProjectName {
    /// Returns the normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let bytes = text.as_bytes();
        let sound = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
        if !sound || !alphanumeric(bytes.first().copied()) || !alphanumeric(bytes.last().copied()) {
            return Err(NameError { text: text.to_owned(), what: "a Python project" });
        }
        let mut name = String::with_capacity(text.len());
        for letter in text.chars() {
            match letter {
                '-' | '_' | '.' if name.ends_with('-') => {}
                '-' | '_' | '.' => name.push('-'),
                other => name.push(other.to_ascii_lowercase()),
            }
        }
        Ok(Self(name))
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What the file name of a wheel says.
///
/// Accepted: `openvino-2021.4.2-3976-cp39-cp39-manylinux2014_x86_64.whl`. Refused: `x.tar.gz`, `x-1-any.whl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    /// The project.
    pub project: ProjectName,
    /// The version.
    pub version: Version,
    /// The build number and the rest of the build tag; decides among wheels of one version and tag.
    pub build: (u64, String),
    /// Every combination of the compressed tags.
    pub tags: Vec<Tag>,
}

impl FromStr for WheelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError { text: text.to_owned(), what: "a wheel" };
        let parts: Vec<&str> = text.strip_suffix(".whl").ok_or_else(refused)?.split('-').collect();
        let (project, version, build, tags) = match parts.as_slice() {
            [project, version, python, abi, platform] => (project, version, "", [python, abi, platform]),
            [project, version, build, python, abi, platform] => (project, version, *build, [python, abi, platform]),
            _ => return Err(refused()),
        };
        let digits = build.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(build.len());
        let (number, rest) = build.split_at(digits);
        if !build.is_empty() && number.is_empty() {
            return Err(refused());
        }
        let number = if number.is_empty() { 0 } else { number.parse().map_err(|_| refused())? };
        let mut combinations = Vec::new();
        let [pythons, abis, platforms] = tags;
        for python in pythons.split('.') {
            for abi in abis.split('.') {
                for platform in platforms.split('.') {
                    if python.is_empty() || abi.is_empty() || platform.is_empty() || combinations.len() > 10_000 {
                        return Err(refused());
                    }
                    combinations.push(Tag {
                        python: python.to_owned(),
                        abi: abi.to_owned(),
                        platform: platform.to_owned(),
                    });
                }
            }
        }
        Ok(Self {
            project: project.parse().map_err(|_| refused())?,
            version: version.replace('_', "-").parse().map_err(|_| refused())?,
            build: (number, rest.to_owned()),
            tags: combinations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_become_normal() {
        for text in ["openvino-dev", "OpenVINO_dev", "openvino._-dev"] {
            assert_eq!(text.parse::<ProjectName>().unwrap().as_str(), "openvino-dev");
        }
        for text in ["", "-x", "x-", "a b", "ü"] {
            assert!(text.parse::<ProjectName>().is_err(), "{text}");
        }
    }

    #[test]
    fn wheel_names_are_taken_apart() {
        let wheel: WheelName = "openvino_dev-2021.4.2-3976b-py2.py3-none-any.whl".parse().unwrap();
        assert_eq!(wheel.project.as_str(), "openvino-dev");
        assert_eq!(wheel.version.to_string(), "2021.4.2");
        assert_eq!(wheel.build, (3976, "b".to_owned()));
        assert_eq!(wheel.tags.len(), 2);
        for text in
            ["x.tar.gz", "x-1-any.whl", "x-1-b-py3-none-any.whl", "x-one-py3-none-any.whl", "x-1-py3..-none-any.whl"]
        {
            assert!(text.parse::<WheelName>().is_err(), "{text}");
        }
    }
}
