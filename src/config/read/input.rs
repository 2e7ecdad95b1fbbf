//! The keys of inputs and outputs.

use std::collections::BTreeSet;

use super::value::{Fields, Reader};
use crate::config::keys;
use crate::config::tree::{Tree, Value};
use crate::config::{
    CalibrationKeys, ChannelValues, Color, Encoding, FileReference, FrozenValue, InputEntry, InputSettings, Number,
    OutputEntry, Setting, Shape,
};
use crate::nn_archive::Layout;

impl Reader {
    /// Reads the keys that may stand with one input or globally.
    pub(super) fn input_settings(&mut self, fields: Fields<'_>, place: &str) -> InputSettings {
        let at = |key: &str| format!("{place}{key}");
        InputSettings {
            shape: setting(fields.get("shape"), |tree| self.shape(tree, &at("shape"))),
            layout: setting(fields.get("layout"), |tree| self.layout(tree, &at("layout"))),
            data_type: setting(fields.get("data_type"), |tree| self.data_type(tree, &at("data_type"))),
            encoding: setting(fields.get("encoding"), |tree| self.encoding(tree, &at("encoding"))),
            mean_values: setting(fields.get("mean_values"), |tree| {
                self.channel_values(tree, &at("mean_values"), Role::Mean)
            }),
            scale_values: setting(fields.get("scale_values"), |tree| {
                self.channel_values(tree, &at("scale_values"), Role::Scale)
            }),
            calibration: setting(fields.get("calibration"), |tree| self.calibration(tree, &at("calibration"))),
        }
    }

    /// Reads `inputs`.
    pub(super) fn inputs(&mut self, fields: Fields<'_>, place: &str) -> Option<Vec<InputEntry>> {
        let Some(tree) = fields.some("inputs") else { return Some(Vec::new()) };
        let key = format!("{place}inputs");
        let known = keys::names(keys::INPUT);
        let mut names = BTreeSet::new();
        let items = self.list(tree, &key)?;
        let mut entries: Vec<InputEntry> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = format!("{key}.{index}");
            let Some(fields) = self.mapping(item, &place, &known) else { continue };
            let settings = self.input_settings(fields, &format!("{place}."));
            let frozen_value = self.frozen_value(fields, &place);
            let Some(name) = self.tensor_name(fields, &place, "input") else { continue };
            if !names.insert(name.clone()) {
                self.rule(fields.origin(), format!("`{key}` names the input `{name}` twice"));
            }
            entries.push(InputEntry { name, origin: fields.origin().clone(), settings, frozen_value });
        }
        (entries.len() == items.len()).then_some(entries)
    }

    /// Reads `outputs`.
    pub(super) fn outputs(&mut self, fields: Fields<'_>, place: &str) -> Option<Vec<OutputEntry>> {
        let Some(tree) = fields.some("outputs") else { return Some(Vec::new()) };
        let key = format!("{place}outputs");
        let known = keys::names(keys::OUTPUT);
        let mut names = BTreeSet::new();
        let items = self.list(tree, &key)?;
        let mut entries: Vec<OutputEntry> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = format!("{key}.{index}");
            let Some(fields) = self.mapping(item, &place, &known) else { continue };
            let shape = fields.some("shape").and_then(|tree| self.shape(tree, &format!("{place}.shape")));
            let layout = fields.some("layout").and_then(|tree| self.layout(tree, &format!("{place}.layout")));
            let data_type =
                fields.some("data_type").and_then(|tree| self.data_type(tree, &format!("{place}.data_type")));
            if let (Some(shape), Some(layout)) = (&shape, &layout)
                && shape.len() != layout.rank()
            {
                self.rule(fields.origin(), format!("the length of `{place}.layout` must match `{place}.shape`"));
            }
            let Some(name) = self.tensor_name(fields, &place, "output") else { continue };
            if !names.insert(name.clone()) {
                self.rule(fields.origin(), format!("`{key}` names the output `{name}` twice"));
            }
            entries.push(OutputEntry { name, origin: fields.origin().clone(), shape, layout, data_type });
        }
        (entries.len() == items.len()).then_some(entries)
    }

    fn tensor_name(&mut self, fields: Fields<'_>, place: &str, what: &str) -> Option<String> {
        match fields.some("name") {
            Some(tree) => match &tree.value {
                // Tensors of some exporters have numbers for names.
                Value::Integer(number) => Some(number.to_string()),
                _ => self.text(tree, &format!("{place}.name")),
            },
            None => {
                // What is said outside of `inputs` goes to an input that nobody names.
                let otherwise =
                    if what == "input" { "; for the only input, write its keys without `inputs`" } else { "" };
                let message = format!("unable to determine name for {what} `{place}`: `name` is missing{otherwise}");
                self.rule(fields.origin(), message);
                None
            }
        }
    }

    fn shape(&mut self, tree: &Tree, key: &str) -> Option<Shape> {
        let Value::List(items) = &tree.value else {
            self.wrong_type(tree, key, "a list of integers such as [1, 3, 224, 224]");
            return None;
        };
        let mut shape = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}.{index}");
            // A leading 0 or -1 is a batch of any size; this program converts for a batch of one.
            let least = if index == 0 { -1 } else { 1 };
            let size = self.integer(item, &key, least, i64::from(i32::MAX))?;
            shape.push(size.max(1).unsigned_abs());
        }
        Some(shape)
    }

    fn layout(&mut self, tree: &Tree, key: &str) -> Option<Layout> {
        // A scalar has the empty layout.
        let layout = match &tree.value {
            Value::Text(text) => text.parse::<Layout>().ok(),
            _ => None,
        };
        if layout.is_none() {
            self.wrong_type(tree, key, "one letter per dimension, each once, such as `NCHW`");
        }
        layout
    }

    fn encoding(&mut self, tree: &Tree, key: &str) -> Option<Encoding> {
        let encoding = match &tree.value {
            Value::Text(_) => Encoding::same(self.named(tree, key)?),
            Value::Map(_) => {
                let fields = self.mapping(tree, key, &keys::names(keys::COLORS))?;
                // The reference writes `from_` into its own records and then cannot read them.
                let from = fields.some("from").or(fields.some("from_"));
                let from = from.map_or(Some(Color::Rgb), |tree| self.named(tree, &format!("{key}.from")))?;
                let to = fields.some("to").map_or(Some(Color::Bgr), |tree| self.named(tree, &format!("{key}.to")))?;
                if let Some(tree) = fields.get("from_") {
                    if fields.some("from").is_none() {
                        self.said.set(format!("{key}.from"), &tree.origin);
                    }
                    self.note(&tree.origin, format!("`{key}.from_` is deprecated: write `from`"));
                }
                Encoding { from, to }
            }
            _ => {
                self.wrong_type(tree, key, "one of `RGB`, `BGR`, `GRAY`, `NONE`, or a mapping with `from` and `to`");
                return None;
            }
        };
        match (encoding.from, encoding.to) {
            (Color::Gray, _) | (_, Color::Gray) => Some(Encoding::same(Color::Gray)),
            (Color::None, Color::None) => Some(encoding),
            (Color::None, other) | (other, Color::None) => {
                let other = crate::config::Named::as_str(other);
                self.rule(
                    &tree.origin,
                    format!(
                        "`{key}` cannot have `NONE` on one side and `{other}` on the other: there is no such conversion"
                    ),
                );
                None
            }
            _ => Some(encoding),
        }
    }

    fn channel_values(&mut self, tree: &Tree, key: &str, role: Role) -> Option<ChannelValues> {
        let values = match &tree.value {
            Value::Text(text) if text == "imagenet" => return Some(ChannelValues::Imagenet),
            Value::Integer(_) | Value::Float(_) => ChannelValues::Same(self.channel_value(tree, key, role)?),
            Value::List(items) if !items.is_empty() => {
                let values = items.iter().enumerate();
                let values: Vec<Option<f64>> =
                    values.map(|(index, item)| self.channel_value(item, &format!("{key}.{index}"), role)).collect();
                ChannelValues::Each(values.into_iter().collect::<Option<_>>()?)
            }
            _ => {
                self.wrong_type(tree, key, "a number, a list of numbers with at least one, or `imagenet`");
                return None;
            }
        };
        Some(values)
    }

    fn channel_value(&mut self, tree: &Tree, key: &str, role: Role) -> Option<f64> {
        let value = self.number(tree, key)?;
        if role == Role::Scale && value == 0.0 {
            self.rule(&tree.origin, format!("`{key}` must not be zero: values are divided by it"));
            return None;
        }
        Some(value)
    }

    fn frozen_value(&mut self, fields: Fields<'_>, place: &str) -> Option<FrozenValue> {
        let old = fields.get("freeze_value");
        if let Some(old) = old {
            self.note(&old.origin, "`freeze_value` is deprecated: write `frozen_value`");
            self.said.set(format!("{place}.frozen_value"), &old.origin);
            if fields.get("frozen_value").is_some() {
                self.rule(
                    &old.origin,
                    format!("cannot specify both `{place}.freeze_value` and `{place}.frozen_value`"),
                );
            }
        }
        let tree = fields.some("frozen_value").or(old.filter(|old| old.value != Value::Null))?;
        let key = format!("{place}.frozen_value");
        let number = |reader: &mut Self, tree: &Tree| match tree.value {
            Value::Integer(value) => Some(Number::Integer(value)),
            Value::Float(value) if value.is_finite() => Some(Number::Float(value)),
            Value::Boolean(value) => Some(Number::Boolean(value)),
            _ => {
                reader.wrong_type(tree, &key, "a number or a flat list of numbers");
                None
            }
        };
        match &tree.value {
            Value::List(items) => {
                let numbers: Vec<Option<Number>> = items.iter().map(|item| number(self, item)).collect();
                numbers.into_iter().collect::<Option<_>>().map(FrozenValue::List)
            }
            _ => number(self, tree).map(FrozenValue::Scalar),
        }
    }

    fn calibration(&mut self, tree: &Tree, key: &str) -> Option<CalibrationKeys> {
        if matches!(&tree.value, Value::Text(text) if text == "random") {
            return Some(CalibrationKeys { random: true, ..CalibrationKeys::default() });
        }
        let Value::Map(_) = &tree.value else {
            self.wrong_type(tree, key, "`random` or a mapping");
            return None;
        };
        let fields = self.mapping(tree, key, &keys::names(keys::CALIBRATION_DATA))?;
        let at = |name: &str| format!("{key}.{name}");
        let texts = ["path", "stage", "output", "script"]
            .map(|name| fields.some(name).and_then(|tree| self.text(tree, &at(name))));
        let numbers = ["min_value", "max_value", "mean", "std"]
            .map(|name| fields.some(name).and_then(|tree| self.number(tree, &at(name))));
        let [path, stage, output, script] = texts;
        let [min_value, max_value, mean, standard_deviation] = numbers;
        let keys = CalibrationKeys {
            random: false,
            path: path.map(FileReference::new),
            max_images: fields
                .some("max_images")
                .and_then(|tree| self.integer(tree, &at("max_images"), i64::MIN, i64::MAX)),
            resize_method: fields.some("resize_method").and_then(|tree| self.named(tree, &at("resize_method"))),
            min_value,
            max_value,
            mean,
            standard_deviation,
            data_type: fields.some("data_type").and_then(|tree| self.data_type(tree, &at("data_type"))),
            stage: stage.and_then(|stage| self.stage_name(&tree.origin, &stage)),
            output,
            script,
        };
        let kinds = [
            ("images", keys.path.is_some() || keys.resize_method.is_some()),
            ("random data", keys.min_value.or(keys.max_value).or(keys.mean).or(keys.standard_deviation).is_some()),
            ("a link to a stage", keys.stage.is_some() || keys.output.is_some() || keys.script.is_some()),
        ];
        let named: Vec<&str> = kinds.iter().filter(|(_, named)| *named).map(|(kind, _)| *kind).collect();
        if named.len() > 1 {
            self.rule(&tree.origin, format!("`{key}` mixes the keys of {}", named.join(" and ")));
            return None;
        }
        if keys.standard_deviation.is_some_and(|deviation| deviation < 0.0) {
            self.rule(&tree.origin, format!("`{key}.std` must not be negative"));
        }
        if keys.stage.is_some() && keys.output.is_none() && keys.script.is_none() {
            self.rule(&tree.origin, format!("either `output` or `script` must be provided in `{key}`"));
        }
        if keys.output.is_some() && keys.script.is_some() {
            self.rule(&tree.origin, format!("cannot specify both `output` and `script` in `{key}`"));
        }
        Some(keys)
    }

    fn data_type(&mut self, tree: &Tree, key: &str) -> Option<crate::config::DataType> {
        self.named(tree, key)
    }
}

/// What values of channels are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// They are subtracted.
    Mean,
    /// They are divided by.
    Scale,
}

/// Tells silence, null and a value apart.
fn setting<T>(tree: Option<&Tree>, read: impl FnOnce(&Tree) -> Option<T>) -> Setting<T> {
    match tree {
        None => Setting::Absent,
        Some(tree) if tree.value == Value::Null => Setting::Null(tree.origin.clone()),
        // A value that cannot be read has been reported; what stands here then is never looked at.
        Some(tree) => read(tree).map_or(Setting::Absent, |value| Setting::Given(value, tree.origin.clone())),
    }
}
