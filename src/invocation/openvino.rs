//! Arguments of OpenVINO's Model Optimizer and compile tool (RVC2).
//!
//! Owns what we say to the two tools, by [`Dialect`]. The user's own arguments come first and win: where they have a
//! flag, ours is left out. Mean, scale and channel order are not among ours, because they stand in the model already.

use std::collections::BTreeMap;

use super::tools::Dialect;
use crate::config::WeightType;

/// What the Model Optimizer is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optimization {
    /// The model.
    pub model: String,
    /// Where the IR goes.
    pub folder: String,
    /// The stem of the IR's files.
    pub name: String,
    /// Inputs with their shapes, outermost dimension first.
    pub inputs: Vec<(String, Vec<u64>)>,
    /// Inputs that are replaced by a constant, with the constant as the tool reads it.
    pub frozen: Vec<(String, String)>,
    /// Outputs, if not all of the model's.
    pub outputs: Option<Vec<String>>,
    /// The type of the weights.
    pub weights: WeightType,
}

/// Returns the arguments of the Model Optimizer.
pub fn model_optimizer(dialect: Dialect, user: &[String], wanted: &Optimization) -> Vec<String> {
    let mut arguments = Arguments::after(user);
    arguments.add("--input_model", &[&wanted.model]);
    arguments.add("--output_dir", &[&wanted.folder]);
    arguments.add("--model_name", &[&wanted.name]);
    match (dialect, wanted.weights) {
        (Dialect::OpenVino2021, WeightType::Float16) => arguments.add("--data_type", &["FP16"]),
        (Dialect::OpenVino2021, WeightType::Float32) => arguments.add("--data_type", &["FP32"]),
        (Dialect::OpenVino2022, WeightType::Float16) => arguments.add("--compress_to_fp16", &[]),
        (Dialect::OpenVino2022, WeightType::Float32) => {}
    }
    // Names and shapes in separate options: the tool mistakes names for others when shapes stand in `--input`. Without
    // the user's consent to both, neither is set.
    if !arguments.has("--input") && !arguments.has("--input_shape") && !wanted.inputs.is_empty() {
        let names: Vec<&str> = wanted.inputs.iter().map(|(name, _)| name.as_str()).collect();
        let shapes: Vec<String> = wanted.inputs.iter().map(|(_, shape)| bracketed(shape)).collect();
        arguments.add("--input", &[&names.join(",")]);
        arguments.add("--input_shape", &[&shapes.join(",")]);
    }
    if !wanted.frozen.is_empty() {
        let frozen: Vec<String> = wanted.frozen.iter().map(|(name, value)| format!("{name}->{value}")).collect();
        arguments.add("--freeze_placeholder_with_value", &[&frozen.join(",")]);
    }
    if let Some(outputs) = &wanted.outputs {
        arguments.add("--output", &[&outputs.join(",")]);
    }
    arguments.list
}

/// Returns the arguments of `compile_tool` that make `blob` of the IR `network` with the plugin options in `config`.
pub fn compile_tool(user: &[String], network: &str, blob: &str, config: &str) -> Vec<String> {
    let mut arguments = Arguments::after(user);
    arguments.add("-d", &["MYRIAD"]);
    if !arguments.has("-iop") {
        arguments.add("-ip", &["U8"]);
    }
    arguments.add("-m", &[network]);
    arguments.add("-o", &[blob]);
    // The user's own file is read by us and its options are in ours.
    arguments.replace("-c", config);
    arguments.list
}

/// Returns our options of the MYRIAD plugin for this number of shaves.
pub fn plugin_options(shaves: &str, dialect: Dialect) -> BTreeMap<String, String> {
    // Without a stream count of one, more than 8 shaves fail: the default asks for two streams.
    let mut options = vec![
        ("MYRIAD_NUMBER_OF_CMX_SLICES", shaves),
        ("MYRIAD_NUMBER_OF_SHAVES", shaves),
        ("MYRIAD_THROUGHPUT_STREAMS", "1"),
    ];
    if dialect == Dialect::OpenVino2022 {
        // These releases open a device otherwise.
        options.push(("MYRIAD_ENABLE_MX_BOOT", "NO"));
    }
    options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Returns a file of plugin options as `compile_tool` reads it.
pub fn plugin_options_file(options: &BTreeMap<String, String>) -> String {
    options.iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}

fn bracketed(shape: &[u64]) -> String {
    format!("[{}]", shape.iter().map(u64::to_string).collect::<Vec<String>>().join(","))
}

/// An argument list that begins with the user's.
struct Arguments {
    list: Vec<String>,
}

impl Arguments {
    fn after(user: &[String]) -> Self {
        Self { list: user.to_vec() }
    }

    /// Returns whether the list has `flag`, with its value behind a space or a `=`.
    fn has(&self, flag: &str) -> bool {
        self.position(flag).is_some()
    }

    fn position(&self, flag: &str) -> Option<usize> {
        self.list
            .iter()
            .position(|word| word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    }

    /// Adds `flag` with its values, unless the list has it.
    fn add(&mut self, flag: &str, values: &[&str]) {
        if !self.has(flag) {
            self.list.push(flag.to_owned());
            self.list.extend(values.iter().map(|value| (*value).to_owned()));
        }
    }

    /// Sets `flag` to `value`, whatever the list has.
    fn replace(&mut self, flag: &str, value: &str) {
        while let Some(at) = self.position(flag) {
            let whole = self.list.remove(at);
            if whole == flag && at < self.list.len() {
                self.list.remove(at);
            }
        }
        self.list.extend([flag.to_owned(), value.to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn wanted() -> Optimization {
        Optimization {
            model: "/w/m.onnx".into(),
            folder: "/w".into(),
            name: "m".into(),
            inputs: vec![("a".into(), vec![1, 3, 8, 8]), ("b".into(), vec![1, 10])],
            frozen: Vec::new(),
            outputs: None,
            weights: WeightType::Float16,
        }
    }

    #[test]
    fn the_two_dialects_differ_in_the_weights_only() {
        let old = model_optimizer(Dialect::OpenVino2021, &[], &wanted());
        let expected = "--input_model /w/m.onnx --output_dir /w --model_name m --data_type FP16 --input a,b \
                        --input_shape [1,3,8,8],[1,10]";
        assert_eq!(old, words(expected));
        let new = model_optimizer(Dialect::OpenVino2022, &[], &wanted());
        assert_eq!(new.join(" "), old.join(" ").replace("--data_type FP16", "--compress_to_fp16"));
        let full = Optimization { weights: WeightType::Float32, ..wanted() };
        assert!(model_optimizer(Dialect::OpenVino2021, &[], &full).join(" ").contains("--data_type FP32"));
        assert!(!model_optimizer(Dialect::OpenVino2022, &[], &full).join(" ").contains("fp16"));
    }

    #[test]
    fn the_users_arguments_come_first_and_win() {
        let user = words("--input=a --data_type=FP32 --scale 2");
        let arguments = model_optimizer(Dialect::OpenVino2021, &user, &wanted());
        assert_eq!(arguments[..4], user[..]);
        assert!(!arguments.iter().any(|word| word == "--input_shape" || word == "FP16"));
    }

    #[test]
    fn constants_and_outputs_are_passed() {
        let cut = Optimization {
            frozen: vec![("t".into(), "[1.5 2.0]".into())],
            outputs: Some(vec!["x".into(), "y".into()]),
            ..wanted()
        };
        let arguments = model_optimizer(Dialect::OpenVino2022, &[], &cut);
        assert!(arguments.windows(2).any(|pair| pair == ["--freeze_placeholder_with_value", "t->[1.5 2.0]"]));
        assert!(arguments.windows(2).any(|pair| pair == ["--output", "x,y"]));
    }

    #[test]
    fn the_compile_tool_gets_one_file_of_options() {
        let plain = compile_tool(&[], "m.xml", "m.blob", "m.conf");
        assert_eq!(plain, words("-d MYRIAD -ip U8 -m m.xml -o m.blob -c m.conf"));
        let user = compile_tool(&words("-iop a:U8 -c mine.conf"), "m.xml", "m.blob", "m.conf");
        assert_eq!(user, words("-iop a:U8 -d MYRIAD -m m.xml -o m.blob -c m.conf"));
        let options = plugin_options("6", Dialect::OpenVino2022);
        let expected = "MYRIAD_ENABLE_MX_BOOT NO\nMYRIAD_NUMBER_OF_CMX_SLICES 6\nMYRIAD_NUMBER_OF_SHAVES 6\n\
                        MYRIAD_THROUGHPUT_STREAMS 1\n";
        assert_eq!(plugin_options_file(&options), expected);
    }
}
