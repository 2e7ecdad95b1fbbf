//! What packages want of each other (Debian policy 7.1, "Syntax of relationship fields"; 7.5, "Virtual packages").

use std::cmp::Ordering;
use std::fmt;

use debversion::Version;
use thiserror::Error;

use crate::hint::Hint;

/// One element of a relationship field: any of its alternatives will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The alternatives, the preferred one first.
    pub alternatives: Vec<Want>,
}

/// A package by name, and which versions of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The package's name. An architecture qualifier (`:any`, `:amd64`) is read and dropped: images have one architecture.
    pub name: String,
    /// The versions that will do; nothing where all will.
    pub version: Option<(Operator, Version)>,
}

/// How a version must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// A text that is no relation.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no relation between packages")]
pub struct RelationError {
    text: String,
}

impl Hint for RelationError {}

/// Reads a version; nothing if it is none.
pub fn version(text: &str) -> Option<Version> {
    Version::parse_lenient(text).ok()
}

/// Reads a relationship field: `Depends`, `Provides`, `Conflicts`.
///
/// # Errors
/// An element that cannot be read.
pub fn read(field: &str) -> Result<Vec<Relation>, RelationError> {
    let elements = field.split(',').map(str::trim).filter(|element| !element.is_empty());
    elements
        .map(|element| {
            let alternatives = element.split('|').map(want).collect::<Option<Vec<_>>>();
            let refused = || RelationError { text: element.to_owned() };
            alternatives.map(|alternatives| Relation { alternatives }).ok_or_else(refused)
        })
        .collect()
}

fn want(text: &str) -> Option<Want> {
    let text = text.trim();
    let (name, rest) = text.find(['(', ' ', '\t']).map_or((text, ""), |at| text.split_at(at));
    let name = name.split(':').next().unwrap_or(name);
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    // Names of two letters at least, the first of them alphanumeric; some real ones have capitals in old archives.
    if name.len() < 2 || !name.bytes().all(|byte| sound(byte.to_ascii_lowercase())) || name.starts_with(['+', '-', '.'])
    {
        return None;
    }
    let rest = rest.trim();
    if rest.is_empty() {
        return Some(Want { name: name.to_owned(), version: None });
    }
    let inner = rest.strip_prefix('(')?.strip_suffix(')')?.trim();
    let digits = inner.find(|letter: char| !matches!(letter, '<' | '=' | '>')).unwrap_or(inner.len());
    let (operator, number) = inner.split_at(digits);
    let operator = match operator {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    Some(Want { name: name.to_owned(), version: Some((operator, version(number.trim())?)) })
}

impl Want {
    /// Returns whether a package of that version will do.
    pub fn takes(&self, found: &Version) -> bool {
        let Some((operator, version)) = &self.version else { return true };
        let order = found.cmp(version);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    /// Returns whether a package with this `Provides` field will do. A name provided without a version satisfies no
    /// want that names one (policy 7.5).
    pub fn takes_provided(&self, provides: &str) -> bool {
        read(provides).unwrap_or_default().iter().flat_map(|relation| &relation.alternatives).any(|provided| {
            provided.name == self.name
                && match (&self.version, &provided.version) {
                    (None, _) => true,
                    (Some(_), Some((Operator::Equal, version))) => self.takes(version),
                    (Some(_), _) => false,
                }
        })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Want {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => formatter.write_str(&self.name),
            Some((operator, version)) => write!(formatter, "{} ({operator} {version})", self.name),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, want) in self.alternatives.iter().enumerate() {
            write!(formatter, "{}{want}", if index == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_printed() {
        let text = "libc6 (>= 2.14), python3:any, debconf (>= 0.5) | debconf-2.0,\n libfoo(<<1:2~rc1)";
        let relations: Vec<String> = read(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(relations, ["libc6 (>= 2.14)", "python3", "debconf (>= 0.5) | debconf-2.0", "libfoo (<< 1:2~rc1)"]);
        for bad in ["a", "libc6 (2)", "libc6 (>= 2", "libc6 (>= )", "libc6 [amd64]", "-x1", "libc6 (=> 2)", "ü-x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_compare_as_the_policy_says() {
        for (want, found, takes) in [
            ("xx (>= 1.10)", "1.9", false),
            ("xx (>= 1.0)", "1.0~rc1", false),
            ("xx (<< 1.0)", "1.0~rc1", true),
            ("xx (= 3.9.2-1)", "3.9.2-1+deb11u7", false),
            ("xx (>= 3.9.2-1~)", "3.9.2-1+deb11u7", true),
            ("xx (>> 2)", "1:1", true),
            ("xx (<= 2)", "2", true),
        ] {
            let want = &read(want).unwrap()[0].alternatives[0];
            assert_eq!(want.takes(&version(found).unwrap()), takes, "{want} {found}");
        }
    }

    #[test]
    fn provided_names_need_versions_where_wants_have_them() {
        for (want, provides, takes) in [
            ("awk", "awk", true),
            ("awk (>= 1)", "awk", false),
            ("awk (>= 1)", "other, awk (= 2)", true),
            ("awk (>= 3)", "awk (= 2)", false),
        ] {
            assert_eq!(read(want).unwrap()[0].alternatives[0].takes_provided(provides), takes, "{want} by {provides}");
        }
    }
}
