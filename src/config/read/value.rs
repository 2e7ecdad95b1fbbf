//! Single values of a document, read with all problems collected.

use super::Said;
use crate::config::problem::near;
use crate::config::tree::{Entry, Tree, Value};
use crate::config::{Fault, Named, Note, Origin, Problem};

/// Collects problems and notes while a document is read.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    pub(super) said: Said,
}

/// The keys of one mapping.
#[derive(Clone, Copy)]
pub(super) struct Fields<'t> {
    tree: &'t Tree,
}

impl<'t> Fields<'t> {
    /// Returns the keys of a tree, whatever they are.
    pub(super) const fn of(tree: &'t Tree) -> Self {
        Self { tree }
    }

    /// Returns all keys with their values.
    pub(super) fn entries(self) -> &'t [Entry] {
        match &self.tree.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the value of `key`.
    pub(super) fn get(self, key: &str) -> Option<&'t Tree> {
        self.tree.get(key)
    }

    /// Returns the value of `key`, unless it is null.
    pub(super) fn some(self, key: &str) -> Option<&'t Tree> {
        self.get(key).filter(|tree| tree.value != Value::Null)
    }

    /// Returns where the mapping stands.
    pub(super) const fn origin(self) -> &'t Origin {
        &self.tree.origin
    }
}

impl Reader {
    /// Takes a problem in.
    pub(super) fn problem(&mut self, origin: &Origin, fault: Fault) {
        self.problems.push(Problem { origin: origin.clone(), fault });
    }

    /// Takes the problem of a broken rule in.
    pub(super) fn rule(&mut self, origin: &Origin, rule: impl Into<String>) {
        self.problems.push(Problem::rule(origin, rule));
    }

    /// Takes a note in.
    pub(super) fn note(&mut self, origin: &Origin, text: impl Into<String>) {
        self.notes.push(Note { origin: origin.clone(), text: text.into() });
    }

    /// Takes the problem of a value of another type in.
    pub(super) fn wrong_type(&mut self, tree: &Tree, key: &str, expected: impl Into<String>) {
        let fault = Fault::Type { key: key.to_owned(), expected: expected.into(), found: tree.value.describe() };
        self.problem(&tree.origin, fault);
    }

    /// Reads a mapping whose keys are all in `known`.
    pub(super) fn mapping<'t>(&mut self, tree: &'t Tree, place: &str, known: &[&'static str]) -> Option<Fields<'t>> {
        let Value::Map(entries) = &tree.value else {
            if place.is_empty() {
                self.rule(
                    &tree.origin,
                    format!("the configuration must be a mapping, found {}", tree.value.describe()),
                );
            } else {
                self.wrong_type(tree, place, "a mapping");
            }
            return None;
        };
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let place = if place.is_empty() { "the configuration".to_owned() } else { format!("`{place}`") };
                let fault = Fault::UnknownKey { key: entry.key.clone(), place, near: near(&entry.key, known) };
                self.problem(&entry.origin, fault);
            }
        }
        let fields = Fields { tree };
        self.said.take(fields, place);
        Some(fields)
    }

    /// Reads a list.
    pub(super) fn list<'t>(&mut self, tree: &'t Tree, key: &str) -> Option<&'t [Tree]> {
        match &tree.value {
            Value::List(items) => Some(items),
            _ => {
                self.wrong_type(tree, key, "a list");
                None
            }
        }
    }

    /// Reads a text.
    pub(super) fn text(&mut self, tree: &Tree, key: &str) -> Option<String> {
        match &tree.value {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            Value::Text(_) => {
                self.rule(&tree.origin, format!("`{key}` must not be empty"));
                None
            }
            _ => {
                self.wrong_type(tree, key, "a text");
                None
            }
        }
    }

    /// Reads a boolean, or one of the words that people type for one.
    pub(super) fn boolean(&mut self, tree: &Tree, key: &str) -> Option<bool> {
        let value = match &tree.value {
            Value::Boolean(value) => Some(*value),
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" | "t" | "y" => Some(true),
                "false" | "no" | "off" | "0" | "f" | "n" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if value.is_none() {
            self.wrong_type(tree, key, "true or false");
        }
        value
    }

    /// Reads an integer from `least` to `most`.
    pub(super) fn integer(&mut self, tree: &Tree, key: &str, least: i64, most: i64) -> Option<i64> {
        let expected = || match (least, most) {
            (i64::MIN, i64::MAX) => "an integer".to_owned(),
            (_, most) if most >= i64::from(i32::MAX) => format!("an integer of at least {least}"),
            _ => format!("an integer from {least} to {most}"),
        };
        let value = tree.value.as_integer().filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.wrong_type(tree, key, expected());
        }
        value
    }

    /// Reads a finite number.
    pub(super) fn number(&mut self, tree: &Tree, key: &str) -> Option<f64> {
        let value = match &tree.value {
            Value::Integer(value) => Some(*value as f64),
            Value::Float(value) => Some(*value).filter(|value| value.is_finite()),
            _ => None,
        };
        if value.is_none() {
            self.wrong_type(tree, key, "a finite number");
        }
        value
    }

    /// Reads the name of one variant of an enumeration.
    pub(super) fn named<T: Named>(&mut self, tree: &Tree, key: &str) -> Option<T> {
        let expected: Vec<&'static str> = T::ALL.iter().map(|variant| variant.as_str()).collect();
        let Value::Text(text) = &tree.value else {
            let expected = expected.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            self.wrong_type(tree, key, format!("one of {expected}"));
            return None;
        };
        let found = T::ALL.iter().copied().find(|variant| variant.as_str() == text);
        if found.is_none() {
            let near = near(text, &expected);
            self.problem(&tree.origin, Fault::Choice { key: key.to_owned(), expected, found: text.clone(), near });
        }
        found
    }

    /// Reads a list of texts.
    pub(super) fn texts(&mut self, tree: &Tree, key: &str) -> Option<Vec<String>> {
        let items = self.list(tree, key)?;
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::Text(text) => texts.push(text.clone()),
                _ => self.wrong_type(item, &format!("{key}.{index}"), "a text"),
            }
        }
        (texts.len() == items.len()).then_some(texts)
    }
}
