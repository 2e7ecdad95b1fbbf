//! Configurations as documents that read back the same.
//!
//! The keys are the reference's, in the order of its schema; every key is written, so that the document says what was
//! decided and not what some version's defaults were.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::read;
use super::tree::{Entry, Tree, Value};
use super::{
    BlobForm, Calibration, CalibrationKeys, ChannelValues, ConversionConfig, DataType, Encoding, EncodingsSource,
    FrozenValue, HailoOptions, InputEntry, InputSettings, LinkSource, Named, Number, Optimization, Origin, OutputEntry,
    ResolvedConfig, ResolvedInput, ResolvedOutput, Rvc2Options, Rvc3Options, Rvc4Options, Setting, Stage,
    StageSettings, Verification, WeightType,
};
use crate::nn_archive::Layout;

impl ConversionConfig {
    /// Returns the configuration as a document.
    pub fn to_tree(&self) -> Tree {
        let mut document = Document::default();
        document.put("name", text(&self.name));
        document.put("rich_logging", Value::Boolean(self.rich_logging));
        match self.stages.as_slice() {
            // The flat form gives its stage the name of the whole.
            [stage] if stage.name.as_str() == self.name => stage.put_keys(&mut document),
            stages => {
                let mut all = Document::default();
                for stage in stages {
                    let mut keys = Document::default();
                    stage.put_keys(&mut keys);
                    all.put(stage.name.as_str(), keys.value());
                }
                document.put("stages", all.value());
            }
        }
        Tree::made(document.value())
    }

    /// Returns the configuration as YAML text that reads back the same.
    pub fn to_yaml(&self) -> String {
        to_yaml(&self.to_tree())
    }
}

impl ResolvedConfig {
    /// Returns a configuration that says everything that was decided, and so resolves to the same again.
    pub fn to_config(&self) -> ConversionConfig {
        let stages = self.stages.iter().map(|stage| Stage {
            name: stage.name.clone(),
            model: stage.model.clone(),
            settings: stage.settings.clone(),
            defaults: InputSettings::default(),
            inputs: stage.inputs.iter().map(input_entry).collect(),
            outputs: stage.outputs.iter().map(output_entry).collect(),
        });
        ConversionConfig { name: self.name.clone(), rich_logging: self.rich_logging, stages: stages.collect() }
    }

    /// Returns the configuration as the text of a `config.yaml` that repeats the conversion.
    pub fn to_yaml(&self) -> String {
        self.to_config().to_yaml()
    }
}

/// Returns a tree as YAML text.
pub fn to_yaml(tree: &Tree) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    // Writing plain data into memory cannot fail; if the crate ever refuses, JSON is YAML too.
    serde_saphyr::to_string_with_options(tree, options)
        .or_else(|_| serde_json::to_string_pretty(tree))
        .unwrap_or_default()
}

/// A mapping in the making.
#[derive(Default)]
struct Document(Vec<Entry>);

impl Document {
    fn put(&mut self, key: &str, value: Value) {
        self.put_from(key, value, &Origin::Made);
    }

    fn put_from(&mut self, key: &str, value: Value, origin: &Origin) {
        let value = Tree::new(value, origin.clone());
        self.0.push(Entry { key: key.to_owned(), origin: origin.clone(), value });
    }

    /// Puts what was said; silence leaves no key.
    fn put_setting<T>(&mut self, key: &str, setting: &Setting<T>, value: impl FnOnce(&T) -> Value) {
        match setting {
            Setting::Absent => {}
            Setting::Null(origin) => self.put_from(key, Value::Null, origin),
            Setting::Given(given, origin) => self.put_from(key, value(given), origin),
        }
    }

    fn value(self) -> Value {
        Value::Map(self.0)
    }
}

impl Stage {
    fn put_keys(&self, document: &mut Document) {
        document.put_from("input_model", text(self.model.path.as_str()), &self.model.origin);
        document.put("input_bin", self.model.weights.as_ref().map_or(Value::Null, |weights| text(weights.as_str())));
        document.put("input_file_type", named(self.model.kind));
        put_input_settings(document, &self.defaults);
        // No entries mean all of the model's.
        if !self.inputs.is_empty() {
            document.put("inputs", list(&self.inputs, input));
        }
        if !self.outputs.is_empty() {
            document.put("outputs", list(&self.outputs, output));
        }
        put_settings(document, &self.settings);
    }
}

/// Returns the keys of a stage beyond its model, inputs and outputs, each with its value.
pub(super) fn settings(settings: &StageSettings) -> Tree {
    let mut document = Document::default();
    put_settings(&mut document, settings);
    Tree::made(document.value())
}

fn put_settings(document: &mut Document, settings: &StageSettings) {
    document.put("keep_intermediate_outputs", Value::Boolean(settings.keep_intermediate_outputs));
    document.put("onnx_simplification", settings.onnx_simplification.map_or(Value::Boolean(false), named));
    let mut optimizations = Document::default();
    for optimization in Optimization::ALL {
        let chosen = settings.onnx_optimizations.contains(optimization);
        optimizations.put(optimization.as_str(), Value::Boolean(chosen));
    }
    document.put("onnx_optimizations", optimizations.value());
    let reference = |reference: &Option<super::FileReference>| optional(reference, |url| text(url.as_str()));
    document.put("output_remote_url", reference(&settings.output_remote_url));
    document.put("intermediate_outputs_remote_url", reference(&settings.intermediate_outputs_remote_url));
    document.put("put_file_plugin", optional(&settings.put_file_plugin, |name| text(name)));
    document.put("verification", verification(&settings.verification));
    document.put("rvc2", rvc2(&settings.rvc2));
    document.put("rvc3", rvc3(&settings.rvc3));
    document.put("rvc4", rvc4(&settings.rvc4));
    document.put("hailo", hailo(&settings.hailo));
}

fn put_input_settings(document: &mut Document, settings: &InputSettings) {
    document.put_setting("shape", &settings.shape, |value| shape(value));
    document.put_setting("layout", &settings.layout, layout);
    document.put_setting("data_type", &settings.data_type, |value| named(*value));
    document.put_setting("encoding", &settings.encoding, |value| encoding(*value));
    document.put_setting("mean_values", &settings.mean_values, channel_values);
    document.put_setting("scale_values", &settings.scale_values, channel_values);
    document.put_setting("calibration", &settings.calibration, calibration);
}

fn input(entry: &InputEntry) -> Tree {
    let mut document = Document::default();
    document.put("name", text(&entry.name));
    put_input_settings(&mut document, &entry.settings);
    document.put("frozen_value", entry.frozen_value.as_ref().map_or(Value::Null, frozen));
    Tree::new(document.value(), entry.origin.clone())
}

fn output(entry: &OutputEntry) -> Tree {
    let mut document = Document::default();
    document.put("name", text(&entry.name));
    document.put("shape", optional(&entry.shape, |value| shape(value)));
    document.put("layout", optional(&entry.layout, layout));
    document.put("data_type", entry.data_type.map_or(Value::Null, named));
    Tree::new(document.value(), entry.origin.clone())
}

fn verification(block: &Verification) -> Value {
    let mut document = Document::default();
    document.put("enabled", Value::Boolean(block.enabled));
    document.put("device", Value::Boolean(block.device));
    document.put("samples", Value::Integer(block.samples.into()));
    document.put("seed", Value::Integer(block.seed.into()));
    document.put("cosine", number(block.tolerance.cosine));
    document.put("relative", number(block.tolerance.relative));
    document.put("absolute", number(block.tolerance.absolute));
    document.put("differing", number(block.tolerance.differing));
    document.value()
}

fn rvc2(options: &Rvc2Options) -> Value {
    let mut document = Document::default();
    document.put("disable_calibration", Value::Boolean(options.disable_calibration));
    document.put("mo_args", texts(&options.mo_args));
    document.put("compile_tool_args", texts(&options.compile_tool_args));
    document.put("compress_to_fp16", Value::Boolean(options.weights == WeightType::Float16));
    let (superblob, shaves) = match options.blob {
        BlobForm::Superblob => (true, crate::units::ShaveCount::EIGHT),
        BlobForm::Blob(shaves) => (false, shaves),
    };
    document.put("number_of_shaves", Value::Integer(shaves.into()));
    document.put("superblob", Value::Boolean(superblob));
    document.put("n_workers", options.workers.map_or(Value::Null, |workers| Value::Integer(workers.get().into())));
    document.put("front_end", named(options.front_end));
    document.value()
}

fn rvc3(options: &Rvc3Options) -> Value {
    let mut document = Document::default();
    document.put("disable_calibration", Value::Boolean(options.disable_calibration));
    document.put("mo_args", texts(&options.mo_args));
    document.put("compile_tool_args", texts(&options.compile_tool_args));
    document.put("compress_to_fp16", Value::Boolean(options.weights == WeightType::Float16));
    document.put("pot_target_device", named(options.pot_target_device));
    document.value()
}

fn rvc4(options: &Rvc4Options) -> Value {
    let mut document = Document::default();
    document.put("disable_calibration", Value::Boolean(options.disable_calibration));
    document.put("snpe_onnx_to_dlc_args", texts(&options.snpe_onnx_to_dlc_args));
    document.put("snpe_dlc_quant_args", texts(&options.snpe_dlc_quant_args));
    document.put("snpe_dlc_graph_prepare_args", texts(&options.snpe_dlc_graph_prepare_args));
    document.put("keep_raw_images", Value::Boolean(options.keep_raw_images));
    document.put("use_per_channel_quantization", Value::Boolean(options.use_per_channel_quantization));
    document.put("use_per_row_quantization", Value::Boolean(options.use_per_row_quantization));
    document.put("optimization_level", Value::Integer(options.optimization_level.into()));
    document.put("quantization_mode", named(options.quantization_mode));
    document.put("htp_socs", list(&options.htp_socs, |soc| Tree::made(named(*soc))));
    let encodings = |encodings: &EncodingsSource| match encodings {
        EncodingsSource::File(file) => text(file.as_str()),
        EncodingsSource::Inline(encodings) => encodings.to_tree().value,
    };
    document.put("encodings", optional(&options.encodings, encodings));
    document.put("strict_quantization_overrides", Value::Boolean(options.strict_quantization_overrides));
    document.put("normalize_io_encodings", Value::Boolean(options.normalize_io_encodings));
    document.value()
}

fn hailo(options: &HailoOptions) -> Value {
    let mut document = Document::default();
    document.put("disable_calibration", Value::Boolean(options.disable_calibration));
    document.put("force_onnx_names", Value::Boolean(options.force_onnx_names));
    document.put("optimization_level", Value::Integer(options.optimization_level.into()));
    document.put("compression_level", Value::Integer(options.compression_level.into()));
    document.put("batch_size", Value::Integer(options.batch_size.get().into()));
    document.put("disable_compilation", Value::Boolean(options.disable_compilation));
    document.put("alls", texts(&options.alls));
    document.put("hw_arch", named(options.hw_arch));
    document.value()
}

fn input_entry(input: &ResolvedInput) -> InputEntry {
    let channels = |values: &Option<Vec<f64>>| match values {
        Some(values) => made(ChannelValues::Each(values.clone())),
        None => Setting::Null(Origin::Made),
    };
    let settings = InputSettings {
        shape: made(input.shape.clone()),
        layout: made(input.layout.clone()),
        data_type: made(input.data_type),
        encoding: made(input.encoding),
        mean_values: channels(&input.mean_values),
        scale_values: channels(&input.scale_values),
        calibration: made(calibration_keys(&input.calibration)),
    };
    InputEntry { name: input.name.clone(), origin: Origin::Made, settings, frozen_value: input.frozen_value.clone() }
}

fn output_entry(output: &ResolvedOutput) -> OutputEntry {
    OutputEntry {
        name: output.name.clone(),
        origin: Origin::Made,
        shape: output.shape.clone(),
        layout: output.layout.clone(),
        data_type: Some(output.data_type),
    }
}

fn calibration_keys(calibration: &Calibration) -> CalibrationKeys {
    // A count beyond what the schema can write is as good as all.
    let count = |count: u64| i64::try_from(count).unwrap_or(-1);
    let keys = CalibrationKeys::default();
    match calibration {
        Calibration::Images { path, max_images, resize_method } => CalibrationKeys {
            path: Some(path.clone()),
            max_images: Some(max_images.map_or(-1, count)),
            resize_method: Some(*resize_method),
            ..keys
        },
        Calibration::Random { max_images, min_value, max_value, mean, standard_deviation, data_type } => {
            CalibrationKeys {
                max_images: Some(count(*max_images)),
                min_value: Some(*min_value),
                max_value: Some(*max_value),
                mean: Some(*mean),
                standard_deviation: Some(*standard_deviation),
                data_type: Some(*data_type),
                ..keys
            }
        }
        Calibration::Link { stage, source } => {
            let (output, script) = match source {
                LinkSource::Output(name) => (Some(name.clone()), None),
                LinkSource::Script(script) => (None, Some(script.clone())),
            };
            CalibrationKeys { stage: Some(stage.clone()), output, script, ..keys }
        }
    }
}

fn calibration(keys: &CalibrationKeys) -> Value {
    if keys.random {
        return text("random");
    }
    let mut document = Document::default();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            document.put(key, value);
        }
    };
    put("path", keys.path.as_ref().map(|path| text(path.as_str())));
    put("max_images", keys.max_images.map(Value::Integer));
    put("resize_method", keys.resize_method.map(named));
    put("min_value", keys.min_value.map(number));
    put("max_value", keys.max_value.map(number));
    put("mean", keys.mean.map(number));
    put("std", keys.standard_deviation.map(number));
    put("data_type", keys.data_type.map(named::<DataType>));
    put("stage", keys.stage.as_ref().map(|stage| text(stage.as_str())));
    put("output", keys.output.as_deref().map(text));
    put("script", keys.script.as_deref().map(text));
    document.value()
}

fn channel_values(values: &ChannelValues) -> Value {
    match values {
        ChannelValues::Same(value) => number(*value),
        ChannelValues::Each(values) => list(values, |value| Tree::made(number(*value))),
        ChannelValues::Imagenet => text("imagenet"),
    }
}

fn encoding(encoding: Encoding) -> Value {
    let mut document = Document::default();
    document.put("from", named(encoding.from));
    document.put("to", named(encoding.to));
    document.value()
}

fn frozen(value: &FrozenValue) -> Value {
    let number = |number: &Number| match *number {
        Number::Integer(value) => Value::Integer(value),
        Number::Float(value) => Value::Float(value),
        Number::Boolean(value) => Value::Boolean(value),
    };
    match value {
        FrozenValue::Scalar(value) => number(value),
        FrozenValue::List(values) => list(values, |value| Tree::made(number(value))),
    }
}

fn made<T>(value: T) -> Setting<T> {
    Setting::Given(value, Origin::Made)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(items: &[String]) -> Value {
    list(items, |item| Tree::made(text(item)))
}

fn named<T: Named>(value: T) -> Value {
    text(value.as_str())
}

fn layout(layout: &Layout) -> Value {
    text(layout.as_str())
}

/// Dimensions are read as 32-bit integers, so none is cut off here.
fn shape(shape: &[u64]) -> Value {
    list(shape, |size| Tree::made(Value::Integer(i64::try_from(*size).unwrap_or(i64::MAX))))
}

/// Whole numbers lose nothing as integers and read better.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::Integer(value as i64) } else { Value::Float(value) }
}

fn optional<T>(value: &Option<T>, write: impl FnOnce(&T) -> Value) -> Value {
    value.as_ref().map_or(Value::Null, write)
}

fn list<T>(items: &[T], write: impl Fn(&T) -> Tree) -> Value {
    Value::List(items.iter().map(write).collect())
}

/// A configuration on its way to another process: the document, and where its values were said.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    document: Tree,
    origins: BTreeMap<String, String>,
}

impl Serialize for ConversionConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.to_tree();
        let mut origins = BTreeMap::new();
        document.visit_origins(&mut |path, origin| {
            if *origin != Origin::Made {
                origins.insert(path.to_owned(), origin.to_string());
            }
        });
        Wire { document, origins }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ConversionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { mut document, mut origins } = Wire::deserialize(deserializer)?;
        document.set_origins(&mut |path| match origins.remove(path) {
            Some(origin) => Origin::Told { origin },
            None => Origin::Made,
        });
        read(&document).map(|reading| reading.config).map_err(serde::de::Error::custom)
    }
}

impl Serialize for ResolvedConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_config().to_tree().serialize(serializer)
    }
}
