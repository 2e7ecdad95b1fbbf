//! Values whose number depends on what a network is fed, such as the boxes that a non-maximum suppression keeps.

use std::collections::HashSet;

use crate::onnx::Model;

/// Operators that keep some of what they are given, by what it is.
const KEEPING: &[&str] = &["Compress", "NonMaxSuppression", "NonZero", "Unique"];

/// The most outputs that are named: a detector may look at each of its classes by itself.
const MOST_NAMED: usize = 12;

/// What is computed of values whose number depends on what the network is fed, their sizes included.
#[derive(Debug)]
pub(super) struct Counted<'model> {
    values: HashSet<&'model str>,
    /// Where the network could end instead, in order.
    pub(super) before: Vec<&'model str>,
}

impl<'model> Counted<'model> {
    /// Goes through a model, of which `variable` depends on what it is fed.
    pub(super) fn of(model: &'model Model, variable: &HashSet<&'model str>) -> Self {
        let mut found = Self { values: HashSet::new(), before: Vec::new() };
        for node in &model.graph().node {
            let inputs = || node.input.iter().map(String::as_str);
            let keeps = KEEPING.contains(&node.op_type()) && inputs().any(|input| variable.contains(input));
            if !keeps && !inputs().any(|input| found.has(input)) {
                continue;
            }
            for input in inputs().filter(|input| variable.contains(input) && !model.is_fed(input)) {
                if !found.has(input) && !found.before.contains(&input) {
                    found.before.push(input);
                }
            }
            found.values.extend(node.output.iter().map(String::as_str).filter(|output| !output.is_empty()));
        }
        found
    }

    pub(super) fn has(&self, value: &str) -> bool {
        self.values.contains(value)
    }
}

/// Returns advice to end the network before all of that, at these values.
pub(super) fn advice<'model>(before: impl Iterator<Item = &'model str>) -> Option<String> {
    let before = listed(before);
    (!before.is_empty())
        .then(|| format!("end the network before it keeps some of the results, with the outputs {before}"))
}

/// Lists values, each once.
pub(super) fn listed<'model>(values: impl Iterator<Item = &'model str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    let more = match all.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named: Vec<String> = all.iter().take(MOST_NAMED).map(|value| format!("`{value}`")).collect();
    named.join(", ") + &more
}
