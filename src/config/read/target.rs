//! The blocks of the targets.

use std::num::NonZeroU32;

use super::value::{Fields, Reader};
use crate::config::keys::{self, Key, Kind};
use crate::config::targets::QuantizationMode;
use crate::config::tree::{Tree, Value};
use crate::config::{
    BlobForm, EncodingsSource, FileReference, FrontEnd, FrontEndChoice, HailoOptions, Rvc2Options, Rvc3Options,
    Rvc4Options, StageSettings, WeightType, yaml,
};
use crate::units::ShaveCount;

/// The keys of one block, with their place for people.
struct Block<'t> {
    fields: Fields<'t>,
    place: String,
    keys: &'static [Key],
}

impl<'t> Block<'t> {
    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }
}

impl Reader {
    /// Reads the blocks of all targets.
    pub(super) fn targets(&mut self, fields: Fields<'_>, place: &str, settings: &mut StageSettings) {
        if let Some(block) = self.block(fields, place, "rvc2", keys::RVC2) {
            settings.rvc2 = self.rvc2(&block);
        }
        if let Some(block) = self.block(fields, place, "rvc3", keys::RVC3) {
            settings.rvc3 = self.rvc3(&block);
        }
        if let Some(block) = self.block(fields, place, "rvc4", keys::RVC4) {
            settings.rvc4 = self.rvc4(&block);
        }
        if let Some(block) = self.block(fields, place, "hailo", keys::HAILO) {
            settings.hailo = self.hailo(&block);
        }
        if let Some(tree) = fields.some("disable_calibration")
            && let Some(disabled) = self.boolean(tree, &format!("{place}disable_calibration"))
        {
            for target in ["rvc2", "rvc3", "rvc4", "hailo"] {
                self.said.set(format!("{place}{target}.disable_calibration"), &tree.origin);
            }
            settings.rvc2.disable_calibration = disabled;
            settings.rvc3.disable_calibration = disabled;
            settings.rvc4.disable_calibration = disabled;
            settings.hailo.disable_calibration = disabled;
        }
        if settings.rvc4.quantization_mode == QuantizationMode::Fp16Standard && !settings.rvc4.disable_calibration {
            settings.rvc4.disable_calibration = true;
            if let Some(tree) = fields.get("rvc4").and_then(|block| block.get("quantization_mode")) {
                self.said.set(format!("{place}rvc4.disable_calibration"), &tree.origin);
            }
        }
    }

    fn block<'t>(&mut self, fields: Fields<'t>, place: &str, key: &str, keys: &'static [Key]) -> Option<Block<'t>> {
        let place = format!("{place}{key}");
        let fields = self.mapping(fields.some(key)?, &place, &keys::names(keys))?;
        Some(Block { fields, place, keys })
    }

    fn flag(&mut self, block: &Block<'_>, key: &str, value: &mut bool) {
        if let Some(tree) = block.fields.get(key) {
            *value = self.boolean(tree, &block.at(key)).unwrap_or(*value);
        }
    }

    /// Reads an integer in the range that the table of keys has for it.
    fn count<T: TryFrom<i64>>(&mut self, block: &Block<'_>, key: &str, value: &mut T) {
        let range = block.keys.iter().find(|known| known.name == key).map(|known| &known.kind);
        if let (Some(tree), Some(Kind::Integer(least, most))) = (block.fields.get(key), range)
            && let Some(count) = self.integer(tree, &block.at(key), *least, *most)
            && let Ok(count) = T::try_from(count)
        {
            *value = count;
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
        let mut count = ShaveCount::EIGHT;
        self.count(block, "number_of_shaves", &mut count);
        options.blob = if superblob { BlobForm::Superblob } else { BlobForm::Blob(count) };
        if let Some(tree) = shaves
            && superblob
            && count != ShaveCount::EIGHT
        {
            let key = block.at("number_of_shaves");
            self.said.unset(&key);
            self.note(
                &tree.origin,
                format!("`{key}` has no effect: a superblob holds all of 1 to 16 shaves; write `superblob: false` for one blob"),
            );
        }
        if block.fields.some("n_workers").is_some() {
            let mut workers = 0;
            self.count(block, "n_workers", &mut workers);
            options.workers = NonZeroU32::new(workers);
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
        self.count(block, "optimization_level", &mut options.optimization_level);
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
        options.encodings = encodings.and_then(|tree| self.encodings_source(tree, &block.at("encodings")));
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
            self.said.set(block.at("encodings"), &tree.origin);
            options.encodings = Some(EncodingsSource::File(FileReference::new(file)));
        }
    }

    fn encodings_source(&mut self, tree: &Tree, key: &str) -> Option<EncodingsSource> {
        let encodings = match &tree.value {
            Value::Text(text) if text.trim_start().starts_with('{') => match yaml::parse(text, key) {
                Ok(Tree { value, .. }) => {
                    let mut inline = Tree::new(value, tree.origin.clone());
                    // What stands inside a text stands where the text does.
                    inline.set_origins(&mut |_| tree.origin.clone());
                    self.encodings(&inline, key)?
                }
                Err(_) => {
                    self.rule(&tree.origin, format!("`{key}` must deserialize to a dict: its text is no JSON"));
                    return None;
                }
            },
            Value::Text(_) => return self.text(tree, key).map(FileReference::new).map(EncodingsSource::File),
            _ => self.encodings(tree, key)?,
        };
        // Whatever it was written as, it has become another thing, which stands where all of it was said.
        self.said.set(key.to_owned(), &tree.origin);
        Some(EncodingsSource::Inline(encodings))
    }

    fn hailo(&mut self, block: &Block<'_>) -> HailoOptions {
        let mut options = HailoOptions::default();
        self.flag(block, "disable_calibration", &mut options.disable_calibration);
        self.flag(block, "force_onnx_names", &mut options.force_onnx_names);
        self.flag(block, "disable_compilation", &mut options.disable_compilation);
        self.arguments(block, "alls", &mut options.alls);
        if let Some(tree) = block.fields.get("optimization_level") {
            match tree.value.as_integer() {
                Some(level @ (-100 | 0..=4)) => options.optimization_level = i8::try_from(level).unwrap_or_default(),
                _ => self.wrong_type(tree, &block.at("optimization_level"), "-100 or an integer from 0 to 4"),
            }
        }
        self.count(block, "compression_level", &mut options.compression_level);
        let mut size = options.batch_size.get();
        self.count(block, "batch_size", &mut size);
        options.batch_size = NonZeroU32::new(size).unwrap_or(options.batch_size);
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
