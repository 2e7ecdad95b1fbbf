//! The project's `modelconverter.toml`: the engine, and `[mirrors]`.
//!
//! ```toml
//! engine = "docker"
//!
//! [mirrors]
//! debian = ["https://mirror.example/debian"]
//! debian-security = ["https://mirror.example/debian-security"]
//! pypi = ["https://mirror.example/simple"]
//! oci = ["registry.example/mirrors"]
//!
//! [mirrors.https]
//! openvino = ["https://mirror.example/openvino"]
//! ```

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Base, SourcesError};
use crate::hint::nearest;

/// The name of the project's settings file.
pub const FILE: &str = "modelconverter.toml";

/// Where each kind is fetched from, each list in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Roots of Debian archives by the archive's name in the lock: `debian`, `debian-security`.
    pub debian: BTreeMap<String, Vec<Base>>,
    /// Roots of Simple repository APIs (PEP 503).
    pub pypi: Vec<Base>,
    /// Roots of vendors' servers by origin.
    pub https: BTreeMap<String, Vec<Base>>,
    /// Registries, each with an optional path before the repository.
    pub oci: Vec<Base>,
}

impl Mirrors {
    /// Reads the text of `modelconverter.toml`.
    ///
    /// # Errors
    /// No TOML, an unknown key, a value that is no list of base URLs.
    pub fn parse(text: &str) -> Result<Self, SourcesError> {
        let document: Table = text.parse().map_err(|error| malformed(text, &error))?;
        let mut mirrors = Self::default();
        for (key, value) in &document {
            match (key.as_str(), value) {
                ("mirrors", Value::Table(table)) => mirrors.read(table)?,
                ("mirrors", _) => return Err(SourcesError::Shape { key: key.clone(), expected: "a table" }),
                ("engine", Value::String(_)) => {}
                ("engine", _) => return Err(SourcesError::Shape { key: key.clone(), expected: "a text" }),
                _ => return Err(unknown(key, "", &["engine", "mirrors"])),
            }
        }
        Ok(mirrors)
    }

    /// Returns the engine that the text of `modelconverter.toml` chooses, as it is typed there.
    ///
    /// # Errors
    /// No TOML.
    pub fn engine(text: &str) -> Result<Option<String>, SourcesError> {
        let document: Table = text.parse().map_err(|error| malformed(text, &error))?;
        Ok(document.get("engine").and_then(Value::as_str).map(str::to_owned))
    }

    fn read(&mut self, table: &Table) -> Result<(), SourcesError> {
        for (key, value) in table {
            match key.as_str() {
                "debian" | "debian-security" => {
                    self.debian.insert(key.clone(), bases(&format!("mirrors.{key}"), value, Base::parse)?);
                }
                "pypi" => self.pypi = bases("mirrors.pypi", value, Base::parse)?,
                "oci" => self.oci = bases("mirrors.oci", value, Base::parse_registry)?,
                "https" => {
                    let origins = value.as_table().ok_or_else(|| SourcesError::Shape {
                        key: "mirrors.https".to_owned(),
                        expected: "a table of origins",
                    })?;
                    for (origin, value) in origins {
                        let list = bases(&format!("mirrors.https.{origin}"), value, Base::parse)?;
                        self.https.insert(origin.clone(), list);
                    }
                }
                _ => return Err(unknown(key, "mirrors.", &["debian", "debian-security", "pypi", "https", "oci"])),
            }
        }
        Ok(())
    }
}

/// Says where and what, but quotes nothing: a line of the file may hold a password.
fn malformed(text: &str, error: &toml::de::Error) -> SourcesError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    SourcesError::Malformed { line: before.lines().count().max(1), reason: error.message().to_owned() }
}

fn unknown(key: &str, prefix: &str, known: &[&'static str]) -> SourcesError {
    let nearest = nearest(key, known.iter().copied()).map(|nearest| format!("{prefix}{nearest}"));
    SourcesError::UnknownKey { key: format!("{prefix}{key}"), nearest }
}

fn bases(key: &str, value: &Value, parse: fn(&str) -> Option<Base>) -> Result<Vec<Base>, SourcesError> {
    let shape = || SourcesError::Shape { key: key.to_owned(), expected: "a list of base URLs" };
    let base = |value: &Value| {
        let text = value.as_str().ok_or_else(shape)?;
        parse(text).ok_or_else(|| SourcesError::Url { key: key.to_owned() })
    };
    value.as_array().ok_or_else(shape)?.iter().map(base).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn all_kinds_are_read() {
        let mirrors = Mirrors::parse(
            r#"
            [mirrors]
            debian = ["https://a/debian", "http://b/debian/"]
            debian-security = []
            pypi = ["https://u:p@a/simple"]
            oci = ["registry.example:5000/x"]
            [mirrors.https]
            openvino = ["https://a/openvino"]
            "#,
        )
        .unwrap();
        assert_eq!(mirrors.debian["debian"].len(), 2);
        assert!(mirrors.debian["debian-security"].is_empty());
        assert!(mirrors.pypi[0].credentials().is_some());
        assert_eq!(mirrors.oci[0].host(), "registry.example:5000");
        assert_eq!(mirrors.https["openvino"][0].to_string(), "https://a/openvino");
        assert_eq!(Mirrors::parse("").unwrap(), Mirrors::default());
    }

    #[test]
    fn bad_settings_are_refused_with_their_key() {
        for (text, message, hint) in [
            ("[mirors]", "unknown key `mirors`", Some("did you mean `mirrors`?")),
            ("[mirrors]\npypy = []", "unknown key `mirrors.pypy`", Some("did you mean `mirrors.pypi`?")),
            ("[mirrors]\nxyz = []", "unknown key `mirrors.xyz`", None),
            ("mirrors = 1", "`mirrors` is not a table", None),
            ("[mirrors]\npypi = \"https://a\"", "`mirrors.pypi` is not a list of base URLs", None),
            ("[mirrors]\nhttps = []", "`mirrors.https` is not a table of origins", None),
            (
                "[mirrors.https]\nx = [\"ftp://u:s3cret@a\"]",
                "`mirrors.https.x` has an entry that is no http or https URL",
                None,
            ),
        ] {
            let error = Mirrors::parse(text).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hints().first().map(String::as_str), hint, "{text}");
        }
    }
    #[test]
    fn a_broken_file_is_not_quoted() {
        let error = Mirrors::parse("[mirrors]\npypi = [\"https://u:s3cret@a/\"\noci = 1\n").unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("line") && !text.contains("s3cret"), "{text}");
    }
}
