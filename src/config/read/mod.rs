//! A tree becomes a [`ConversionConfig`]: every key checked, all problems collected, old spellings noted.

mod encodings;
mod input;
mod target;
mod value;
mod verification;

use std::collections::BTreeMap;

pub use self::encodings::encodings;
use self::value::{Fields, Reader};
use super::links;
use super::tree::{Tree, Value};
use super::{
    ConversionConfig, FileReference, ModelKind, ModelSource, Note, Optimization, Origin, Problem, Problems, Simplifier,
    Stage, StageName, StageSettings, keys,
};

/// A configuration, and what people should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The configuration.
    pub config: ConversionConfig,
    /// Deprecated spellings and values that have no effect.
    pub notes: Vec<Note>,
    /// Where its values were said.
    pub said: Said,
}

/// Where the values of a configuration were said: by key (`stages.a.rvc2.superblob`), as the configuration addresses
/// them after old spellings were replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said(BTreeMap<String, Origin>);

impl Said {
    /// Returns where `key` was said, itself or as part of a whole.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        let mut key = key;
        loop {
            if let Some(origin) = self.0.get(key) {
                return Some(origin);
            }
            key = key.rsplit_once('.')?.0;
        }
    }

    /// Returns where an item of the list `key` was said, if elsewhere than the list.
    pub fn item(&self, key: &str, index: usize) -> Option<&Origin> {
        self.0.get(&format!("{key}.{index}"))
    }

    /// Takes the values of a mapping in whose place is `place`. Mappings inside are taken when they are read.
    fn take(&mut self, fields: Fields<'_>, place: &str) {
        for entry in fields.entries() {
            let whole = match &entry.value.value {
                Value::Map(_) => false,
                Value::List(items) => !items.iter().any(|item| matches!(item.value, Value::Map(_))),
                _ => true,
            };
            if whole {
                let dot = if place.is_empty() || place.ends_with('.') { "" } else { "." };
                let key = format!("{place}{dot}{}", entry.key);
                self.take_items(&key, &entry.value);
                self.set(key, &entry.value.origin);
            }
        }
    }

    /// Items of a list that were said elsewhere than the list.
    fn take_items(&mut self, key: &str, list: &Tree) {
        let Value::List(items) = &list.value else { return };
        for (index, item) in items.iter().enumerate() {
            let same = match (&item.origin, &list.origin) {
                (Origin::File { .. }, Origin::File { .. }) => true,
                (item, list) => item == list,
            };
            if !same {
                self.set(format!("{key}.{index}"), &item.origin);
            }
        }
    }

    /// Says that `key` has its value from `origin`.
    fn set(&mut self, key: String, origin: &Origin) {
        self.0.insert(key, origin.clone());
    }

    /// Says that nobody said `key`.
    fn unset(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// What stands beside the folders of stages.
const OWN_FILES: [&str; 3] = ["buildinfo.json", "config.yaml", "modelconverter.log"];

/// The longest name of a stage, in bytes: names of files are made of it, and file systems take 255.
const LONGEST_STAGE: usize = 200;

/// How many values stages may share, each counted for every stage that gets it.
const MOST_SHARED: usize = 1 << 20;

/// Reads a document.
///
/// # Errors
/// Everything in the document that breaks the schema.
pub fn read(tree: &Tree) -> Result<Reading, Problems> {
    let mut reader = Reader::default();
    let config = reader.document(tree);
    match (Problems::of(reader.problems), config) {
        (Some(problems), _) => Err(problems),
        (None, Some(config)) => {
            let mut notes = reader.notes;
            notes.dedup();
            Ok(Reading { config, notes, said: reader.said })
        }
        // A reader without a result has said why; this is for a reader that forgot.
        (None, None) => Err(Problems::one(Problem::rule(&tree.origin, "the configuration cannot be read"))),
    }
}

impl Reader {
    fn document(&mut self, tree: &Tree) -> Option<ConversionConfig> {
        if tree.value == Value::Null {
            self.problems.push(Problem::advised(
                &tree.origin,
                "`input_model` must be provided",
                "name the model with `input_model: PATH` in the configuration or with `--path PATH`",
            ));
            return None;
        }
        let stages = tree.get("stages").filter(|stages| stages.value != Value::Null);
        let known: Vec<&'static str> = [keys::DOCUMENT, keys::STAGE].into_iter().flat_map(keys::names).collect();
        let fields = self.mapping(tree, "", &known)?;
        let name = fields.some("name").and_then(|tree| self.text(tree, "name"));
        let rich_logging = fields.get("rich_logging").map_or(Some(true), |tree| self.boolean(tree, "rich_logging"));
        let stages = match stages {
            None => {
                let key = name.clone().or_else(|| {
                    let Value::Text(path) = &fields.get("input_model")?.value else { return None };
                    Some(FileReference::new(path.clone()).stem().to_owned())
                });
                // Without a model's name there is nothing to name the stage after, and the stage is refused anyway.
                let origin = fields.some("name").map_or(&tree.origin, |name| &name.origin);
                let key = self.stage_name(origin, key.as_deref().unwrap_or("model"));
                let stages = vec![self.stage(fields, "", key.as_ref())?];
                self.problems.extend(links::wrong_stages(&stages));
                stages
            }
            Some(stages) => self.stages(tree, stages)?,
        };
        let joined = || stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join("-");
        Some(ConversionConfig { name: name.unwrap_or_else(joined), rich_logging: rich_logging?, stages })
    }

    fn stages(&mut self, document: &Tree, stages: &Tree) -> Option<Vec<Stage>> {
        let Value::Map(entries) = &stages.value else {
            self.wrong_type(stages, "stages", "a mapping");
            return None;
        };
        if entries.is_empty() {
            self.rule(&stages.origin, "`stages` must have at least one stage");
            return None;
        }
        let own_keys = keys::names(keys::DOCUMENT);
        let shared = Tree::new(
            Value::Map(
                Fields::of(document)
                    .entries()
                    .iter()
                    .filter(|entry| !own_keys.contains(&entry.key.as_str()))
                    .cloned()
                    .collect(),
            ),
            document.origin.clone(),
        );
        if shared.size().saturating_mul(entries.len()) > MOST_SHARED {
            self.rule(&stages.origin, format!("`stages` has {} stages, too many for all they share", entries.len()));
            return None;
        }
        let known = keys::names(keys::STAGE);
        let mut result = Vec::with_capacity(entries.len());
        for entry in entries {
            let place = format!("stages.{}", entry.key);
            if self.mapping(&entry.value, &place, &known).is_none() {
                continue;
            }
            // Top-level keys reach every stage that lacks them, whole.
            let mut whole = entry.value.clone();
            if let Value::Map(own) = &mut whole.value {
                for shared in Fields::of(&shared).entries() {
                    match own.iter().find(|entry| entry.key == shared.key) {
                        None => own.push(shared.clone()),
                        Some(own) => self.outvoted(&shared.value, &own.origin, &place),
                    }
                }
            }
            self.said.take(Fields::of(&whole), &place);
            let key = self.stage_name(&entry.origin, &entry.key);
            let name = &entry.key;
            if OWN_FILES.contains(&name.as_str()) {
                let rule = format!("`{name}` cannot be the name of a stage: a file among the results has it");
                self.rule(&entry.origin, rule);
            } else if key.is_some() && (name.len() > LONGEST_STAGE || name.starts_with('.')) {
                let rule = format!(
                    "`{name}` cannot be the name of a stage: it begins with a dot, or is longer than {LONGEST_STAGE} bytes"
                );
                self.rule(&entry.origin, rule);
            }
            if let Some(stage) = self.stage(Fields::of(&whole), &format!("{place}."), key.as_ref()) {
                result.push(stage);
            }
        }
        self.problems.extend(links::wrong_stages(&result));
        (result.len() == entries.len()).then_some(result)
    }

    /// Notes the overrides in `shared`, which is for all stages, where the stage at `place` has its own, said at `own`.
    fn outvoted(&mut self, shared: &Tree, own: &Origin, place: &str) {
        if let Origin::Override { key } = &shared.origin {
            let text = format!("`{key}` does not reach `{place}`, of which {own} says it: write `{place}.{key}`");
            self.note(&shared.origin, text);
        } else if let Value::Map(entries) = &shared.value {
            entries.iter().for_each(|entry| self.outvoted(&entry.value, own, place));
        }
    }

    /// Reads the name of a stage.
    pub(super) fn stage_name(&mut self, origin: &Origin, text: &str) -> Option<StageName> {
        let name = text.parse().ok();
        if name.is_none() {
            let rule = "cannot be the name of a folder among the results: it is empty, `.` or `..`, or has a `/`";
            self.rule(origin, format!("`{text}` {rule}"));
        }
        name
    }

    fn stage(&mut self, fields: Fields<'_>, place: &str, name: Option<&StageName>) -> Option<Stage> {
        let model = self.model(fields, place);
        let settings = self.stage_settings(fields, place);
        let defaults = self.input_settings(fields, place);
        let inputs = self.inputs(fields, place);
        let outputs = self.outputs(fields, place);
        if let Some(tree) = fields.get("yolo_input_shape") {
            self.yolo_input_shape(tree, &format!("{place}yolo_input_shape"));
        }
        Some(Stage { name: name?.clone(), model: model?, settings, defaults, inputs: inputs?, outputs: outputs? })
    }

    fn model(&mut self, fields: Fields<'_>, place: &str) -> Option<ModelSource> {
        let Some(tree) = fields.some("input_model") else {
            self.problems.push(Problem::advised(
                fields.origin(),
                format!("`{place}input_model` must be provided"),
                "name the model with `input_model: PATH` in the configuration or with `--path PATH`",
            ));
            return None;
        };
        let weights = fields.some("input_bin");
        let weights = weights.map(|tree| (tree, self.text(tree, &format!("{place}input_bin"))));
        let path = FileReference::new(self.text(tree, &format!("{place}input_model"))?);
        let (path, kind) = match path.suffix().to_ascii_lowercase().as_str() {
            ".onnx" => (path, ModelKind::Onnx),
            ".xml" => (path, ModelKind::Ir),
            // The graph of an IR stands beside its weights, under the same stem.
            ".bin" => (path.with_suffix(".xml"), ModelKind::Ir),
            ".tflite" => (path, ModelKind::Tflite),
            suffix => {
                self.problems.push(unsupported_model(&tree.origin, &path, suffix));
                return None;
            }
        };
        let expected = path.with_suffix(".bin");
        let weights = match (kind, weights) {
            (ModelKind::Ir, Some((tree, Some(given)))) if given != expected.as_str() => {
                self.rule(
                    &tree.origin,
                    format!(
                        "`{place}input_bin` must match `{place}input_model`: expected `{expected}`, found `{given}`"
                    ),
                );
                None
            }
            (ModelKind::Ir, _) => Some(expected),
            (_, Some((tree, _))) => {
                self.note(&tree.origin, format!("`{place}input_bin` has no effect: `{path}` is no IR"));
                None
            }
            (_, None) => None,
        };
        if let Some(tree) = fields.some("input_file_type") {
            // What no target converts is refused by the suffix already.
            let known = ["ONNX", "IR", "TFLITE", "DLC", "HAR", "PYTORCH"];
            match &tree.value {
                Value::Text(text) if text == super::Named::as_str(kind) => {}
                Value::Text(text) if known.contains(&text.as_str()) => {
                    self.note(&tree.origin, format!("`{place}input_file_type` has no effect: `{path}` is {kind}"));
                }
                _ => self.wrong_type(
                    tree,
                    &format!("{place}input_file_type"),
                    "one of `ONNX`, `IR`, `TFLITE`, `DLC`, `HAR`, `PYTORCH`",
                ),
            }
        }
        Some(ModelSource { path, origin: tree.origin.clone(), weights, kind })
    }

    fn stage_settings(&mut self, fields: Fields<'_>, place: &str) -> StageSettings {
        let mut settings = StageSettings::default();
        let at = |key: &str| format!("{place}{key}");
        if let Some(tree) = fields.get("keep_intermediate_outputs") {
            settings.keep_intermediate_outputs =
                self.boolean(tree, &at("keep_intermediate_outputs")).unwrap_or_default();
        }
        if let Some(tree) = fields.get("onnx_simplification") {
            settings.onnx_simplification = self.simplifier(tree, &at("onnx_simplification"));
        }
        if let Some(tree) = fields.get("onnx_optimizations") {
            settings.onnx_optimizations = self.optimizations(tree, &at("onnx_optimizations"));
        }
        if self.disabled(fields, place, "disable_onnx_simplification", "onnx_simplification", "false") {
            settings.onnx_simplification = None;
        }
        for old in ["disable_onnx_optimizations", "disable_onnx_optimization"] {
            if self.disabled(fields, place, old, "onnx_optimizations", "none") {
                settings.onnx_optimizations.clear();
            }
        }
        let mut reference = |key: &str| fields.some(key).and_then(|tree| self.text(tree, &at(key)));
        settings.output_remote_url = reference("output_remote_url").map(FileReference::new);
        settings.intermediate_outputs_remote_url = reference("intermediate_outputs_remote_url").map(FileReference::new);
        settings.put_file_plugin = reference("put_file_plugin");
        settings.verification = self.verification(fields, place);
        self.targets(fields, place, &mut settings);
        settings
    }

    fn simplifier(&mut self, tree: &Tree, key: &str) -> Option<Simplifier> {
        match &tree.value {
            Value::Boolean(false) => None,
            Value::Text(text) if ["no", "off"].contains(&text.as_str()) => None,
            Value::Text(_) => self.named(tree, key),
            _ => {
                self.wrong_type(tree, key, "`onnxsim`, `onnxslim` or false");
                None
            }
        }
    }

    fn optimizations(&mut self, tree: &Tree, key: &str) -> Vec<Optimization> {
        use super::Named;
        match &tree.value {
            Value::Null | Value::Boolean(false) => Vec::new(),
            Value::Boolean(true) => Optimization::ALL.to_vec(),
            Value::Text(text) if ["none", "no", "off"].contains(&text.as_str()) => Vec::new(),
            Value::Text(text) if text == "all" => Optimization::ALL.to_vec(),
            Value::Map(_) => {
                let Some(fields) = self.mapping(tree, key, &keys::choices::<Optimization>()) else { return Vec::new() };
                let mut chosen = Vec::new();
                for optimization in Optimization::ALL {
                    let name = optimization.as_str();
                    if fields.get(name).is_none_or(|tree| self.boolean(tree, &format!("{key}.{name}")) == Some(true)) {
                        chosen.push(*optimization);
                    }
                }
                chosen
            }
            _ => {
                self.wrong_type(tree, key, "`all`, `none` or a mapping of rewritings to booleans");
                Vec::new()
            }
        }
    }

    /// Checks what only models in PyTorch's format would use.
    fn yolo_input_shape(&mut self, tree: &Tree, key: &str) {
        let size = |text: &str| text.parse::<i64>().is_ok_and(|size| (1..=keys::MOST).contains(&size));
        let valid = match &tree.value {
            Value::Null => true,
            Value::Integer(size) => (1..=keys::MOST).contains(size),
            Value::Text(text) => matches!(text.split_whitespace().count(), 1 | 2) && text.split_whitespace().all(size),
            Value::List(items) => {
                matches!(items.len(), 1 | 2)
                    && items
                        .iter()
                        .all(|item| matches!(item.value, Value::Integer(size) if (1..=keys::MOST).contains(&size)))
            }
            _ => false,
        };
        if valid {
            self.note(&tree.origin, "`yolo_input_shape` has no effect: PyTorch models are not converted");
        } else {
            self.wrong_type(tree, key, "a size such as [640, 480], `640 480` or `640`");
        }
    }

    /// Reads a boolean of old and returns whether it turns off what `new: value` turns off now.
    fn disabled(&mut self, fields: Fields<'_>, place: &str, old: &str, new: &str, value: &str) -> bool {
        let Some(tree) = fields.get(old) else { return false };
        let off = self.boolean(tree, &format!("{place}{old}")) == Some(true);
        let instead = if off { format!("write `{new}: {value}`") } else { "leave it out".to_owned() };
        self.note(&tree.origin, format!("`{old}` is deprecated: {instead}"));
        if off && fields.get(new).is_some() {
            self.rule(&tree.origin, format!("cannot specify both `{place}{old}` and `{place}{new}`"));
        }
        if off {
            self.said.set(format!("{place}{new}"), &tree.origin);
        }
        off
    }
}

/// Returns why a file of this suffix is no model that can be converted, and what to do.
pub(super) fn unsupported_model(origin: &Origin, path: &FileReference, suffix: &str) -> Problem {
    let (reason, advice) = match suffix {
        ".pt" | ".pth" => (
            format!("`{path}` is a PyTorch model, which no target converts directly"),
            "export the model to ONNX, for instance with `torch.onnx.export`, and give the .onnx file".to_owned(),
        ),
        ".dlc" | ".har" | ".hef" | ".blob" | ".superblob" => (
            format!("`{path}` is the result of a conversion already"),
            "give the model that it was made from: .onnx, .tflite or .xml with .bin".to_owned(),
        ),
        _ => (
            match suffix {
                "" => format!("`{path}` is no model: its name has no suffix"),
                suffix => format!("unsupported file type `{suffix}` of model `{path}`"),
            },
            "give a model in .onnx, .tflite or .xml with .bin".to_owned(),
        ),
    };
    Problem::advised(origin, reason, advice)
}
