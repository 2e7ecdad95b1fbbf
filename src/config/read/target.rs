//! The blocks of the targets.

use std::num::NonZeroU32;

use super::value::{Fields, Reader};
use crate::config::targets::QuantizationMode;
use crate::config::tree::{Tree, Value};
use crate::config::{
    BlobForm, EncodingsSource, FileReference, FrontEnd, FrontEndChoice, HailoOptions, Rvc2Options, Rvc3Options,
    Rvc4Options, StageSettings, WeightType, yaml,
};
use crate::units::ShaveCount;

/// The keys of the block `rvc2`.
const RVC2_KEYS: [&str; 8] = [
    "disable_calibration",
    "mo_args",
    "compile_tool_args",
    "compress_to_fp16",
    "number_of_shaves",
    "superblob",
    "n_workers",
    "front_end",
];

/// The keys of the block `rvc3`.
const RVC3_KEYS: [&str; 5] =
    ["disable_calibration", "mo_args", "compile_tool_args", "compress_to_fp16", "pot_target_device"];

/// The keys of the block `rvc4`.
const RVC4_KEYS: [&str; 13] = [
    "disable_calibration",
    "snpe_onnx_to_dlc_args",
    "snpe_dlc_quant_args",
    "snpe_dlc_graph_prepare_args",
    "keep_raw_images",
    "use_per_channel_quantization",
    "use_per_row_quantization",
    "optimization_level",
    "quantization_mode",
    "htp_socs",
    "encodings",
    "strict_quantization_overrides",
    "normalize_io_encodings",
];

/// The keys of the block `hailo`.
const HAILO_KEYS: [&str; 8] = [
    "disable_calibration",
    "force_onnx_names",
    "optimization_level",
    "compression_level",
    "batch_size",
    "disable_compilation",
    "alls",
    "hw_arch",
];

/// The keys of one block, with their place for people.
struct Block<'t> {
    fields: Fields<'t>,
    place: String,
}

impl<'t> Block<'t> {
    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }
}

impl Reader {
    /// Reads the blocks of all targets.
    pub(super) fn targets(&mut self, fields: Fields<'_>, place: &str, settings: &mut StageSettings) {
        if let Some(block) = self.block(fields, place, "rvc2", &RVC2_KEYS) {
            settings.rvc2 = self.rvc2(&block);
        }
        if let Some(block) = self.block(fields, place, "rvc3", &RVC3_KEYS) {
            settings.rvc3 = self.rvc3(&block);
        }
        if let Some(block) = self.block(fields, place, "rvc4", &RVC4_KEYS) {
            settings.rvc4 = self.rvc4(&block);
        }
        if let Some(block) = self.block(fields, place, "hailo", &HAILO_KEYS) {
            settings.hailo = self.hailo(&block);
        }
        if let Some(tree) = fields.some("disable_calibration")
            && let Some(disabled) = self.boolean(tree, &format!("{place}disable_calibration"))
        {
            settings.rvc2.disable_calibration = disabled;
            settings.rvc3.disable_calibration = disabled;
            settings.rvc4.disable_calibration = disabled;
            settings.hailo.disable_calibration = disabled;
        }
        if settings.rvc4.quantization_mode == QuantizationMode::Fp16Standard {
            settings.rvc4.disable_calibration = true;
        }
    }

    fn block<'t>(&mut self, fields: Fields<'t>, place: &str, key: &str, known: &[&'static str]) -> Option<Block<'t>> {
        let place = format!("{place}{key}");
        let fields = self.mapping(fields.some(key)?, &place, known)?;
        Some(Block { fields, place })
    }

    fn flag(&mut self, block: &Block<'_>, key: &str, value: &mut bool) {
        if let Some(tree) = block.fields.get(key) {
            *value = self.boolean(tree, &block.at(key)).unwrap_or(*value);
        }
    }

    fn arguments(&mut self, block: &Block<'_>, key: &str, value: &mut Vec<String>) {
        if let Some(tree) = block.fields.get(key) {
            *value = self.texts(tree, &block.at(key)).unwrap_or_default();
        }
    }

    fn weight_type(&mut self, block: &Block<'_>) -> WeightType {
        let mut compress = true;
        self.flag(block, "compress_to_fp16", &mut compress);
        if compress { WeightType::Float16 } else { WeightType::Float32 }
    }

    fn rvc2(&mut self, block: &Block<'_>) -> Rvc2Options {
        let mut options = Rvc2Options { weights: self.weight_type(block), ..Rvc2Options::default() };
        self.flag(block, "disable_calibration", &mut options.disable_calibration);
        self.arguments(block, "mo_args", &mut options.mo_args);
        self.arguments(block, "compile_tool_args", &mut options.compile_tool_args);
        let mut superblob = true;
        self.flag(block, "superblob", &mut superblob);
        let shaves = block.fields.get("number_of_shaves");
        let count = shaves.and_then(|tree| self.integer(tree, &block.at("number_of_shaves"), 1, 16));
        let count = count.and_then(|count| ShaveCount::try_from(count).ok()).unwrap_or(ShaveCount::EIGHT);
        options.blob = if superblob { BlobForm::Superblob } else { BlobForm::Blob(count) };
        if let Some(tree) = shaves
            && superblob
            && count != ShaveCount::EIGHT
        {
            let key = block.at("number_of_shaves");
            self.note(
                &tree.origin,
                format!("`{key}` has no effect: a superblob holds all of 1 to 16 shaves; write `superblob: false` for one blob"),
            );
        }
        if let Some(tree) = block.fields.some("n_workers") {
            let workers = self.integer(tree, &block.at("n_workers"), 1, i64::from(u32::MAX));
            options.workers = workers.and_then(|workers| u32::try_from(workers).ok()).and_then(NonZeroU32::new);
        }
        if let Some(tree) = block.fields.get("front_end") {
            options.front_end = self.named(tree, &block.at("front_end")).unwrap_or(FrontEndChoice::Auto);
        }
        options
    }

    fn rvc3(&mut self, block: &Block<'_>) -> Rvc3Options {
        let mut options = Rvc3Options { weights: self.weight_type(block), ..Rvc3Options::default() };
        self.flag(block, "disable_calibration", &mut options.disable_calibration);
        self.arguments(block, "mo_args", &mut options.mo_args);
        self.arguments(block, "compile_tool_args", &mut options.compile_tool_args);
        if let Some(tree) = block.fields.get("pot_target_device") {
            options.pot_target_device =
                self.named(tree, &block.at("pot_target_device")).unwrap_or(options.pot_target_device);
        }
        options
    }

    fn rvc4(&mut self, block: &Block<'_>) -> Rvc4Options {
        let mut options = Rvc4Options::default();
        self.flag(block, "disable_calibration", &mut options.disable_calibration);
        self.arguments(block, "snpe_onnx_to_dlc_args", &mut options.snpe_onnx_to_dlc_args);
        self.arguments(block, "snpe_dlc_quant_args", &mut options.snpe_dlc_quant_args);
        self.arguments(block, "snpe_dlc_graph_prepare_args", &mut options.snpe_dlc_graph_prepare_args);
        self.flag(block, "keep_raw_images", &mut options.keep_raw_images);
        self.flag(block, "use_per_channel_quantization", &mut options.use_per_channel_quantization);
        self.flag(block, "use_per_row_quantization", &mut options.use_per_row_quantization);
        self.flag(block, "strict_quantization_overrides", &mut options.strict_quantization_overrides);
        self.flag(block, "normalize_io_encodings", &mut options.normalize_io_encodings);
        if let Some(tree) = block.fields.get("optimization_level") {
            let level = self.integer(tree, &block.at("optimization_level"), 1, 3);
            options.optimization_level = level.and_then(|level| level.try_into().ok()).unwrap_or_default();
        }
        if let Some(tree) = block.fields.get("quantization_mode") {
            options.quantization_mode =
                self.named(tree, &block.at("quantization_mode")).unwrap_or(options.quantization_mode);
        }
        if let Some(tree) = block.fields.get("htp_socs")
            && let Some(items) = self.list(tree, &block.at("htp_socs"))
        {
            let socs = items.iter().enumerate();
            let key = block.at("htp_socs");
            options.htp_socs = socs.filter_map(|(index, item)| self.named(item, &format!("{key}.{index}"))).collect();
            if items.is_empty() {
                self.rule(&tree.origin, format!("`{key}` must name at least one chip"));
            }
        }
        let encodings = block.fields.some("encodings");
        options.encodings = encodings.and_then(|tree| self.encodings(tree, &block.at("encodings")));
        self.quantization_overrides(block, &mut options);
        options
    }

    /// Takes `--quantization_overrides FILE` out of the converter's arguments: it is another spelling of `encodings`.
    fn quantization_overrides(&mut self, block: &Block<'_>, options: &mut Rvc4Options) {
        const FLAG: &str = "--quantization_overrides";
        let Some(tree) = block.fields.get("snpe_onnx_to_dlc_args") else { return };
        let mut kept = Vec::with_capacity(options.snpe_onnx_to_dlc_args.len());
        let mut files = Vec::new();
        let mut arguments = std::mem::take(&mut options.snpe_onnx_to_dlc_args).into_iter();
        while let Some(argument) = arguments.next() {
            if argument == FLAG {
                match arguments.next() {
                    Some(file) => files.push(file),
                    None => self
                        .rule(&tree.origin, format!("`{FLAG}` in `{}` has no file", block.at("snpe_onnx_to_dlc_args"))),
                }
            } else if let Some(file) = argument.strip_prefix(FLAG).and_then(|rest| rest.strip_prefix('=')) {
                files.push(file.to_owned());
            } else {
                kept.push(argument);
            }
        }
        options.snpe_onnx_to_dlc_args = kept;
        if files.len() + usize::from(options.encodings.is_some()) > 1 {
            let rule = format!("cannot specify both `{}` and `{FLAG}`, nor either twice", block.at("encodings"));
            self.rule(&tree.origin, rule);
        }
        if let Some(file) = files.pop() {
            options.encodings = Some(EncodingsSource::File(FileReference::new(file)));
        }
    }

    fn encodings(&mut self, tree: &Tree, key: &str) -> Option<EncodingsSource> {
        let inline;
        let tree = match &tree.value {
            Value::Text(text) if text.trim_start().starts_with('{') => {
                inline = match yaml::parse(text, key) {
                    Ok(inner) => inner,
                    Err(_) => {
                        self.rule(&tree.origin, format!("`{key}` must deserialize to a dict: its text is no JSON"));
                        return None;
                    }
                };
                &Tree::new(inline.value, tree.origin.clone())
            }
            Value::Text(_) => return self.text(tree, key).map(FileReference::new).map(EncodingsSource::File),
            _ => tree,
        };
        let groups =
            self.mapping(tree, key, &["activation_encodings", "param_encodings", "version", "quantizer_args"])?;
        for group in ["activation_encodings", "param_encodings"] {
            if let Some(tree) = groups.get(group)
                && !matches!(tree.value, Value::Map(_) | Value::List(_))
            {
                self.wrong_type(tree, &format!("{key}.{group}"), "a list or dict");
            }
        }
        Some(EncodingsSource::Inline(tree.to_json()))
    }

    fn hailo(&mut self, block: &Block<'_>) -> HailoOptions {
        let mut options = HailoOptions::default();
        self.flag(block, "disable_calibration", &mut options.disable_calibration);
        self.flag(block, "force_onnx_names", &mut options.force_onnx_names);
        self.flag(block, "disable_compilation", &mut options.disable_compilation);
        self.arguments(block, "alls", &mut options.alls);
        if let Some(tree) = block.fields.get("optimization_level") {
            match tree.value {
                Value::Integer(-100) => options.optimization_level = -100,
                Value::Integer(level @ 0..=4) => options.optimization_level = i8::try_from(level).unwrap_or_default(),
                _ => self.wrong_type(tree, &block.at("optimization_level"), "-100 or an integer from 0 to 4"),
            }
        }
        if let Some(tree) = block.fields.get("compression_level") {
            let level = self.integer(tree, &block.at("compression_level"), 0, 5);
            options.compression_level = level.and_then(|level| level.try_into().ok()).unwrap_or_default();
        }
        if let Some(tree) = block.fields.get("batch_size") {
            let size = self.integer(tree, &block.at("batch_size"), 1, i64::from(u32::MAX));
            let size = size.and_then(|size| u32::try_from(size).ok()).and_then(NonZeroU32::new);
            options.batch_size = size.unwrap_or(options.batch_size);
        }
        if let Some(tree) = block.fields.get("hw_arch") {
            options.hw_arch = self.named(tree, &block.at("hw_arch")).unwrap_or(options.hw_arch);
        }
        options
    }
}

impl crate::config::Named for FrontEndChoice {
    const ALL: &'static [Self] = &[Self::Auto, Self::Only(FrontEnd::Importer), Self::Only(FrontEnd::Mo)];

    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Only(FrontEnd::Importer) => "importer",
            Self::Only(FrontEnd::Mo) => "mo",
        }
    }
}
