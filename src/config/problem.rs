//! What is wrong with a configuration: all of it at once, each with its place.

use std::fmt;

use thiserror::Error;

use super::Origin;
use crate::hint::{Hint, nearest};

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Error, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The text is no YAML.
    #[error("no valid YAML: {message}")]
    Yaml {
        /// What the reader of YAML says.
        message: String,
    },
    /// A key that the schema does not have.
    #[error("unknown key `{key}` in {place}{}", near.map(|near| format!(", the nearest valid key is `{near}`")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// The mapping it stands in.
        place: String,
        /// The valid key that looks most like it.
        near: Option<&'static str>,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, found {found}")]
    Type {
        /// The key.
        key: String,
        /// What is wanted.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A text that is none of the known ones.
    #[error("`{key}` must be one of {}, found `{found}`{}", list(expected), near.map(|near| format!(", the nearest is `{near}`")).unwrap_or_default())]
    Choice {
        /// The key.
        key: String,
        /// The known ones.
        expected: Vec<&'static str>,
        /// What stands there.
        found: String,
        /// The known one that looks most like it.
        near: Option<&'static str>,
    },
    /// A rule of the schema beyond types.
    #[error("{rule}")]
    Rule {
        /// The rule and what breaks it.
        rule: String,
        /// What to do about it.
        advice: Option<String>,
    },
    /// An override that cannot be applied.
    #[error("invalid option `{key}`: {rule}")]
    Override {
        /// The key as typed.
        key: String,
        /// Why not.
        rule: String,
    },
}

/// Something that people should know about a configuration that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub origin: Origin,
    /// What, as a lower-case fragment.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Made => formatter.write_str(&self.text),
            origin => write!(formatter, "{origin}: {}", self.text),
        }
    }
}

impl Problem {
    /// Returns the problem of a broken rule.
    pub fn rule(origin: &Origin, rule: impl Into<String>) -> Self {
        Self { origin: origin.clone(), fault: Fault::Rule { rule: rule.into(), advice: None } }
    }

    /// Returns whether both are about the same value of a file, which stands in several places of the configuration.
    fn is_same_mistake(&self, other: &Self) -> bool {
        let same_fault = match (&self.fault, &other.fault) {
            (Fault::UnknownKey { key, .. }, Fault::UnknownKey { key: other, .. }) => key == other,
            (Fault::Type { expected, .. }, Fault::Type { expected: other, .. }) => expected == other,
            (Fault::Choice { expected, .. }, Fault::Choice { expected: other, .. }) => expected == other,
            _ => false,
        };
        same_fault && self.origin == other.origin && matches!(self.origin, Origin::File { .. })
    }

    /// Returns the problem of a broken rule about which something can be said.
    pub fn advised(origin: &Origin, rule: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { origin: origin.clone(), fault: Fault::Rule { rule: rule.into(), advice: Some(advice.into()) } }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Made => self.fault.fmt(formatter),
            origin => write!(formatter, "{origin}: {}", self.fault),
        }
    }
}

impl Problems {
    /// Returns the problems, ordered by place, or nothing if there are none.
    pub fn of(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|left, right| left.origin.cmp(&right.origin));
        // A value that several stages share is wrong once.
        problems.dedup_by(|next, first| next == first || next.is_same_mistake(first));
        if problems.is_empty() { None } else { Some(Self(problems)) }
    }

    /// Returns a single problem.
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// Returns all problems, ordered by place.
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
}

/// Prints one line for each problem.
impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [problem] => problem.fmt(formatter),
            problems => {
                write!(formatter, "the configuration has {} problems", problems.len())?;
                problems.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
            }
        }
    }
}

impl Hint for Problems {
    fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> = Vec::new();
        for problem in &self.0 {
            if let Fault::Rule { advice: Some(advice), .. } = &problem.fault
                && !hints.contains(advice)
            {
                hints.push(advice.clone());
            }
        }
        hints
    }
}

/// Returns the candidate that looks most like `word`.
pub(super) fn near(word: &str, candidates: &[&'static str]) -> Option<&'static str> {
    let folded = word.to_lowercase();
    if let Some(same) = candidates.iter().find(|candidate| candidate.to_lowercase() == folded) {
        return Some(same);
    }
    let found = nearest(word, candidates.iter().copied())?;
    candidates.iter().copied().find(|candidate| *candidate == found)
}

fn list(words: &[&'static str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the name of a model that looks most like `word`.
pub(super) fn closest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    nearest(word, names.iter().copied())
}
