//! `METADATA`: what a wheel wants (core metadata specification; PEP 508, PEP 440 for an interpreter's markers).

use std::io::{Read, Seek};
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, VersionOrUrl};
use thiserror::Error;

use super::name::{ProjectName, WheelName};
use super::tags::Interpreter;
use crate::hint::Hint;
use crate::intake::zip::ZipFile;
use crate::intake::{IntakeError, Limits};
use crate::name::FileName;
use crate::units::ByteSize;

/// The longest description that comes with the fields.
const LONGEST: ByteSize = ByteSize::new(16 << 20);

/// What a wheel states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Its project.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// What it wants, markers included, in the order of the file.
    pub requires: Vec<Requirement>,
    /// Its licence as an SPDX expression, where it states one, or states one in words that mean exactly one.
    pub licence: Option<String>,
    /// Whether it says that its licence is proprietary.
    pub is_proprietary: bool,
}

/// A project and which versions of it, under a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The text it was read from.
    pub text: String,
    /// The project.
    pub project: ProjectName,
    /// The versions that will do.
    pub versions: VersionSpecifiers,
    /// The extras that are wanted of it.
    pub extras: Vec<ExtraName>,
    marker: pep508_rs::MarkerTree,
}

/// The place where markers are decided.
#[derive(Clone, Debug)]
pub struct Markers(MarkerEnvironment);

/// Metadata that cannot be used.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// A requirement that cannot be read.
    #[error("`{text}` is no requirement: {reason}")]
    Requirement {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A field that must be there, or cannot be read.
    #[error("metadata has no usable field `{0}`")]
    Field(&'static str),
    /// The wheel around it cannot be read.
    #[error("wheel `{name}` cannot be read")]
    Wheel {
        /// The wheel.
        name: FileName,
        /// Why.
        #[source]
        source: IntakeError,
    },
    /// The wheel has none, or none that fits its name.
    #[error("wheel `{name}` has no metadata that fits its name")]
    Missing {
        /// The wheel.
        name: FileName,
    },
    /// A version of the interpreter that is none.
    #[error("`{text}` is no version of Python")]
    Python {
        /// The text.
        text: String,
    },
}

impl Hint for MetadataError {}

impl Markers {
    /// Returns the markers of a CPython on Linux, x86-64.
    ///
    /// # Errors
    /// The version is none.
    pub fn new(interpreter: Interpreter) -> Result<Self, MetadataError> {
        let version = format!("3.{}", interpreter.minor);
        // The recipe fixes no patch release; no wheel's markers that are known to us ask for one.
        let full = format!("{version}.0");
        let builder = MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &full,
            os_name: "posix",
            platform_machine: "x86_64",
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: &full,
            python_version: &version,
            sys_platform: "linux",
        };
        builder.try_into().map(Self).map_err(|_| MetadataError::Python { text: full.clone() })
    }

    /// Returns whether a `Requires-Python` text takes the interpreter. One that cannot be read takes none.
    pub fn takes(&self, requires_python: &str) -> bool {
        let specifiers: Result<VersionSpecifiers, _> = requires_python.parse();
        // Compared without the patch release, as far as that goes: `>=3.9.1` must not exclude 3.9.
        specifiers.is_ok_and(|specifiers| {
            let version = &self.0.python_version().version;
            let newest = Version::new(version.release().iter().copied().chain([99]));
            specifiers.contains(version) || specifiers.contains(&newest)
        })
    }
}

impl Requirement {
    /// Returns whether it is asked for in an environment, by something with these extras.
    pub fn applies(&self, markers: &Markers, extras: &[ExtraName]) -> bool {
        self.marker.evaluate(&markers.0, extras)
    }
}

impl FromStr for Requirement {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, MetadataError> {
        let refused = |reason: String| MetadataError::Requirement { text: text.to_owned(), reason };
        let requirement: pep508_rs::Requirement<url::Url> =
            text.parse().map_err(|error: pep508_rs::Pep508Error<url::Url>| {
                refused(error.to_string().lines().next().unwrap_or_default().to_owned())
            })?;
        let versions = match requirement.version_or_url {
            None => VersionSpecifiers::empty(),
            Some(VersionOrUrl::VersionSpecifier(versions)) => versions,
            Some(VersionOrUrl::Url(_)) => return Err(refused("it names an address, not versions".to_owned())),
        };
        let project = requirement.name.to_string().parse();
        Ok(Self {
            text: text.to_owned(),
            project: project.map_err(|error| refused(format!("{error}")))?,
            versions,
            extras: requirement.extras,
            marker: requirement.marker,
        })
    }
}

impl FromStr for Metadata {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, MetadataError> {
        let mut fields: Vec<(&str, String)> = Vec::new();
        // The fields end at the first empty line; a description may follow.
        for line in text.lines().take_while(|line| !line.is_empty()) {
            match (line.starts_with([' ', '\t']), line.split_once(':'), fields.last_mut()) {
                (true, _, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                (false, Some((name, value)), _) => fields.push((name, value.trim().to_owned())),
                _ => {}
            }
        }
        let field = |wanted: &'static str| {
            fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
        };
        let parsed = |wanted| field(wanted).ok_or(MetadataError::Field(wanted));
        let requires = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Requires-Dist"));
        Ok(Self {
            project: parsed("Name")?.parse().map_err(|_| MetadataError::Field("Name"))?,
            version: parsed("Version")?.parse().map_err(|_| MetadataError::Field("Version"))?,
            requires: requires.map(|(_, value)| value.parse()).collect::<Result<_, _>>()?,
            licence: licence(field("License-Expression"), field("License")).map(str::to_owned),
            is_proprietary: field("License").is_some_and(|text| text.to_ascii_lowercase().contains("proprietary"))
                || fields.iter().any(|(name, value)| {
                    name.eq_ignore_ascii_case("Classifier") && value == "License :: Other/Proprietary License"
                }),
        })
    }
}

/// Returns the licence as an SPDX expression: as it is stated (PEP 639), or from the older free text, where the words
/// leave no doubt.
fn licence<'a>(expression: Option<&'a str>, text: Option<&'a str>) -> Option<&'a str> {
    /// What packagers wrote before there were expressions.
    const WORDS: [(&str, &str); 10] = [
        ("MIT", "MIT"),
        ("MIT License", "MIT"),
        ("BSD-3-Clause", "BSD-3-Clause"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("new BSD License", "BSD-3-Clause"),
        ("PSFL", "PSF-2.0"),
        ("Apache-2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License v2.0", "Apache-2.0"),
        ("OSI Approved :: Apache Software License", "Apache-2.0"),
    ];
    expression.or_else(|| WORDS.iter().find(|(words, _)| Some(*words) == text).map(|(_, licence)| *licence))
}

impl Metadata {
    /// Reads the metadata inside a wheel.
    ///
    /// # Errors
    /// The wheel is damaged, or has no metadata for the name and version of its file.
    pub fn of_wheel(name: &FileName, wheel: impl Read + Seek) -> Result<Self, MetadataError> {
        let damaged = |source| MetadataError::Wheel { name: name.clone(), source };
        let missing = || MetadataError::Missing { name: name.clone() };
        let named: WheelName = name.as_str().parse().map_err(|_| missing())?;
        let mut zip = ZipFile::open(name.as_str(), wheel, Limits::PACKAGE).map_err(damaged)?;
        let members = zip.members().map_err(damaged)?;
        let member = members.iter().find(|member| {
            matches!(member.path.as_str().split_once('/'), Some((folder, "METADATA")) if folder.ends_with(".dist-info"))
        });
        let metadata: Self = zip.text(member.ok_or_else(missing)?, LONGEST).map_err(damaged)?.parse()?;
        if metadata.project == named.project && metadata.version == named.version {
            Ok(metadata)
        } else {
            Err(missing())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markers() -> Markers {
        Markers::new(Interpreter::new("3.9", "2.31").unwrap()).unwrap()
    }

    #[test]
    fn metadata_is_read() {
        let text = "Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0\nLicense-Expression: MIT\nSummary: a\n  b\n\
            Requires-Dist: numpy (<1.20,>=1.16.6)\nRequires-Dist: enum34 ; python_version < \"3.4\"\n\
            Requires-Dist: pytest ; extra == 'test'\n\nName: no\nRequires-Dist: no\n";
        let metadata: Metadata = text.parse().unwrap();
        assert_eq!((metadata.project.as_str(), metadata.licence.as_deref()), ("some-thing", Some("MIT")));
        let applied = |extras: &[ExtraName]| -> Vec<&str> {
            let requires = metadata.requires.iter().filter(|requirement| requirement.applies(&markers(), extras));
            requires.map(|requirement| requirement.project.as_str()).collect()
        };
        assert_eq!(applied(&[]), ["numpy"]);
        assert_eq!(applied(&["test".parse().unwrap()]), ["numpy", "pytest"]);
        assert!(metadata.requires[0].versions.contains(&"1.19.5".parse().unwrap()));
    }

    #[test]
    fn broken_metadata_is_refused() {
        for text in [
            "",
            "Name: a\n",
            "Name: -\nVersion: 1\n",
            "Name: a\nVersion: one\n",
            "Name: a\nVersion: 1\nRequires-Dist: a b c\n",
            "Name: a\nVersion: 1\nRequires-Dist: a @ https://x.example/a.whl\n",
        ] {
            assert!(text.parse::<Metadata>().is_err(), "{text}");
        }
    }

    #[test]
    fn interpreters_are_taken_or_not() {
        for (text, takes) in [
            (">=3.6", true),
            (">=3.9.1", true),
            ("<3.9", false),
            (">=3.10", false),
            ("!=3.0.*, <4", true),
            ("x", false),
        ] {
            assert_eq!(markers().takes(text), takes, "{text}");
        }
    }

    #[test]
    fn licences_are_taken_from_words_that_mean_one() {
        let read = |fields: &str| -> Metadata {
            format!("Metadata-Version: 2.1\nName: tool\nVersion: 1\n{fields}\n").parse().unwrap()
        };
        for (fields, licence, is_proprietary) in [
            ("License-Expression: PSF-2.0", Some("PSF-2.0"), false),
            ("License-Expression: MIT\nLicense: Apache 2.0", Some("MIT"), false),
            ("License: 3-Clause BSD License", Some("BSD-3-Clause"), false),
            ("License: OSI Approved :: Apache Software License", Some("Apache-2.0"), false),
            ("License: BSD", None, false),
            ("License: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License", None, false),
            ("License: Proprietary - Intel", None, true),
            ("Classifier: License :: Other/Proprietary License", None, true),
            ("", None, false),
        ] {
            let metadata = read(fields);
            assert_eq!((metadata.licence.as_deref(), metadata.is_proprietary), (licence, is_proprietary), "{fields}");
        }
    }
}
