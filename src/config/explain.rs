//! A resolved configuration with the origin of every value, as people and programs ask for it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read::Said;
use super::resolve::{Decision, InputDecisions, OutputDecisions, Resolution};
use super::tree::{Tree, Value};
use super::{ConversionConfig, Note, Origin, Stage};

/// A resolved configuration that tells where each of its values comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The configuration, which reads back the same.
    config: Tree,
    /// Where the values come from, by key.
    origins: BTreeMap<String, Told>,
    /// What people should know.
    notes: Vec<ToldNote>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ToldNote {
    text: String,
    origin: Told,
}

/// An origin for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Told {
    File {
        file: String,
        line: u64,
        column: u64,
    },
    Override {
        key: String,
        /// Which `KEY VALUE` pair of the command line, counted from 1.
        number: Option<usize>,
    },
    Path {
        path: String,
    },
    Archive,
    Model,
    Default,
    /// As another process told it.
    Other {
        origin: String,
    },
}

/// Explains a resolution of `written`, whose values were said as `said` tells.
///
/// `words` are the `KEY VALUE` pairs of the command line, one word each; `notes` is all there is to know.
pub fn explain(
    resolution: &Resolution,
    written: &ConversionConfig,
    said: &Said,
    words: &[String],
    notes: &[Note],
) -> Explanation {
    let config = resolution.config.to_config();
    let tree = config.to_tree();
    let explainer = Explainer { resolution, written, said, words };
    let mut origins = BTreeMap::new();
    for (key, value) in leaves(&tree) {
        if let Some(source) = explainer.source(&tree, &key) {
            explainer.tell(&key, &source, value, &mut origins);
        }
    }
    let told = |note: &Note| ToldNote { text: note.text.clone(), origin: explainer.told(&note.origin) };
    Explanation { config: tree.clone(), origins, notes: notes.iter().map(told).collect() }
}

/// Lists all keys that have a value, with lists of plain values as one.
fn leaves(tree: &Tree) -> Vec<(String, &Tree)> {
    fn walk<'t>(key: String, tree: &'t Tree, leaves: &mut Vec<(String, &'t Tree)>) {
        let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        match &tree.value {
            Value::Map(entries) if !entries.is_empty() => {
                entries.iter().for_each(|entry| walk(below(&entry.key), &entry.value, leaves));
            }
            Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
                items.iter().enumerate().for_each(|(index, item)| walk(below(&index.to_string()), item, leaves));
            }
            _ => leaves.push((key, tree)),
        }
    }
    let mut found = Vec::new();
    walk(String::new(), tree, &mut found);
    found
}

/// Where a value comes from.
enum Source {
    /// It was said under one of these keys, the first that was; nobody said it if none was.
    Said(Vec<String>),
    /// The model says it.
    Model,
}

struct Explainer<'a> {
    resolution: &'a Resolution,
    written: &'a ConversionConfig,
    said: &'a Said,
    words: &'a [String],
}

impl Explainer<'_> {
    /// Returns where the value of `key` of the resolved document comes from.
    fn source(&self, tree: &Tree, key: &str) -> Option<Source> {
        // The document has the flat form if its one stage has the name of the whole.
        let flat = tree.get("stages").is_none();
        for (index, stage) in self.written.stages.iter().enumerate() {
            let place = if flat { String::new() } else { format!("stages.{}.", stage.name) };
            let Some(rest) = key.strip_prefix(&place) else { continue };
            // What was written may have had stages even so.
            let staged = format!("stages.{}.", stage.name);
            return Some(match rest.split('.').collect::<Vec<_>>().as_slice() {
                ["inputs", position, rest @ ..] => {
                    self.of_input(index, stage, position.parse().ok()?, rest, [place.as_str(), &staged])
                }
                ["outputs", position, rest @ ..] => {
                    self.of_output(index, stage, position.parse().ok()?, rest, [place.as_str(), &staged])
                }
                _ => Source::Said(vec![key.to_owned(), format!("{staged}{rest}")]),
            });
        }
        Some(Source::Said(vec![key.to_owned()]))
    }

    fn of_input(&self, stage: usize, written: &Stage, position: usize, rest: &[&str], places: [&str; 2]) -> Source {
        let name = self.resolution.config.stages.get(stage).and_then(|stage| stage.inputs.get(position));
        let entry = written.inputs.iter().position(|entry| name.is_some_and(|input| input.name == entry.name));
        let decisions = self.resolution.decisions.get(stage).and_then(|stage| stage.inputs.get(position));
        let is_frozen = entry.and_then(|entry| written.inputs.get(entry)).is_some_and(|it| it.frozen_value.is_some());
        let decision = match (rest, decisions) {
            (["name"], _) if entry.is_none() => Decision::Model,
            (["name"], _) => Decision::Own,
            (["frozen_value"], _) if is_frozen => Decision::Own,
            ([key, ..], Some(decisions)) => of_input(decisions, key),
            _ => Decision::Default,
        };
        sources(decision, entry.map(|entry| format!("inputs.{entry}")), rest, places)
    }

    fn of_output(&self, stage: usize, written: &Stage, position: usize, rest: &[&str], places: [&str; 2]) -> Source {
        // Where outputs are named, they stand in that order.
        let entry = (position < written.outputs.len()).then_some(position);
        let decisions = self.resolution.decisions.get(stage).and_then(|stage| stage.outputs.get(position));
        let decision = match (rest, decisions) {
            (["name"], _) => {
                if entry.is_some() {
                    Decision::Own
                } else {
                    Decision::Model
                }
            }
            ([key, ..], Some(decisions)) => of_output(decisions, key),
            _ => Decision::Default,
        };
        sources(decision, entry.map(|entry| format!("outputs.{entry}")), rest, places)
    }

    /// Tells the origin of a value, and of the items of a list that overrides changed.
    fn tell(&self, key: &str, source: &Source, value: &Tree, origins: &mut BTreeMap<String, Told>) {
        let Source::Said(keys) = source else {
            origins.insert(key.to_owned(), Told::Model);
            return;
        };
        let found = keys.iter().find_map(|key| Some((key, self.said.origin(key)?)));
        let Some((said, origin)) = found else {
            origins.insert(key.to_owned(), Told::Default);
            return;
        };
        origins.insert(key.to_owned(), self.told(origin));
        let Value::List(items) = &value.value else { return };
        for index in 0..items.len() {
            if let Some(item) = self.said.item(said, index).filter(|item| *item != origin) {
                origins.insert(format!("{key}.{index}"), self.told(item));
            }
        }
    }

    fn told(&self, origin: &Origin) -> Told {
        match origin {
            Origin::File { file, line, column } => Told::File { file: file.clone(), line: *line, column: *column },
            Origin::Override { key } => {
                let pairs: Vec<&[String]> = self.words.chunks(2).collect();
                let number = pairs.iter().rposition(|pair| pair.first() == Some(key)).map(|index| index + 1);
                Told::Override { key: key.clone(), number }
            }
            Origin::Path { path } => Told::Path { path: path.clone() },
            Origin::Archive => Told::Archive,
            Origin::Told { origin } => Told::Other { origin: origin.clone() },
            Origin::Made => Told::Default,
        }
    }
}

fn of_input(decisions: &InputDecisions, key: &str) -> Decision {
    match key {
        "shape" => decisions.shape,
        "layout" => decisions.layout,
        "data_type" => decisions.data_type,
        "encoding" => decisions.encoding,
        "mean_values" => decisions.mean_values,
        "scale_values" => decisions.scale_values,
        "calibration" => decisions.calibration,
        _ => Decision::Default,
    }
}

fn of_output(decisions: &OutputDecisions, key: &str) -> Decision {
    match key {
        "shape" => decisions.shape,
        "layout" => decisions.layout,
        "data_type" => decisions.data_type,
        _ => Decision::Default,
    }
}

/// Returns the keys under which a decision was said, in either form of the document.
fn sources(decision: Decision, entry: Option<String>, rest: &[&str], places: [&str; 2]) -> Source {
    let rest = rest.join(".");
    let own = entry.map(|entry| format!("{entry}.{rest}"));
    let keys: Vec<String> = match decision {
        Decision::Model => return Source::Model,
        Decision::Default => Vec::new(),
        Decision::Own => own.into_iter().collect(),
        Decision::Global => vec![rest],
        Decision::Both => own.into_iter().chain([rest]).collect(),
    };
    Source::Said(keys.iter().flat_map(|key| places.map(|place| format!("{place}{key}"))).collect())
}
