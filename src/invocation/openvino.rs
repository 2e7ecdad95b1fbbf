//! Arguments of OpenVINO's Model Optimizer and compile tool (RVC2).
//!
//! Owns what we say to the two tools, by [`Dialect`]. The user's own arguments come first and win: where they have a
//! flag, ours is left out. Mean, scale and channel order are not among ours, because they stand in the model already.

use std::collections::BTreeMap;

use super::compile_arguments;
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
    // the user's consent to both, neither is set; nor where a name means something else there, as the model says the
    // same.
    let can_be_told = wanted.inputs.iter().all(|(name, _)| is_plain(name)) && !wanted.inputs.is_empty();
    if can_be_told && !arguments.has("--input") && !arguments.has("--input_shape") {
        let names: Vec<&str> = wanted.inputs.iter().map(|(name, _)| name.as_str()).collect();
        let shapes: Vec<String> = wanted.inputs.iter().map(|(_, shape)| bracketed(shape)).collect();
        arguments.add("--input", &[&names.join(",")]);
        arguments.add("--input_shape", &[&shapes.join(",")]);
    }
    if let Some(outputs) = &wanted.outputs {
        arguments.add("--output", &[&outputs.join(",")]);
    }
    arguments.list
}

/// Returns the arguments of `compile_tool` that make `blob` of the IR `network` with the plugin options in `config`.
///
/// The user's flags may have one dash or two, as the tool reads them (gflags).
pub fn compile_tool(user: &[String], network: &str, blob: &str, config: &str) -> Vec<String> {
    // The user's own file is read by us and its options are in ours.
    let mut arguments = Arguments { list: without(user, "c"), dashes: Dashes::OneOrTwo };
    arguments.add("-d", &["MYRIAD"]);
    if !arguments.has("-iop") {
        arguments.add("-ip", &["U8"]);
    }
    arguments.add("-m", &[network]);
    arguments.add("-o", &[blob]);
    arguments.add("-c", &[config]);
    arguments.list
}

/// Returns a list without a flag, in whatever way it is written, and without its value.
fn without(list: &[String], flag: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = list.iter();
    while let Some(word) = words.next() {
        match compile_arguments::flag(word) {
            Some((name, None)) if name == flag => drop(words.next()),
            Some((name, Some(_))) if name == flag => {}
            _ => kept.push(word.clone()),
        }
    }
    kept
}

/// Returns our options of the MYRIAD plugin for this number of shaves.
pub fn plugin_options(shaves: &str, dialect: Dialect) -> BTreeMap<String, String> {
    // Without a stream count of one, more than 8 shaves fail: the default asks for two streams. What is first in a shape is
    // not cut to one: by default the plugin takes it for a batch and compiles for one of it.
    let mut options = vec![
        ("MYRIAD_DETECT_NETWORK_BATCH", "NO"),
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

/// Whether a name is nothing but a name in `--input`: there, others are told apart, and have shapes, types and values.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-') && !name.contains(['[', ']', '{', '}', '(', ')', ',']) && !name.contains("->")
}

fn bracketed(shape: &[u64]) -> String {
    format!("[{}]", shape.iter().map(u64::to_string).collect::<Vec<String>>().join(","))
}

/// An argument list that begins with the user's.
struct Arguments {
    list: Vec<String>,
    dashes: Dashes,
}

/// How many dashes a flag has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dashes {
    /// As many as we write.
    AsWritten,
    /// One and two mean the same.
    OneOrTwo,
}

impl Arguments {
    fn after(user: &[String]) -> Self {
        Self { list: user.to_vec(), dashes: Dashes::AsWritten }
    }

    /// Returns whether the list has `flag`, with its value behind a space or a `=`.
    fn has(&self, flag: &str) -> bool {
        self.list.iter().any(|word| match self.dashes {
            Dashes::AsWritten => word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')),
            Dashes::OneOrTwo => {
                compile_arguments::flag(word).is_some_and(|(name, _)| name == flag.trim_start_matches('-'))
            }
        })
    }

    /// Adds `flag` with its values, unless the list has it.
    fn add(&mut self, flag: &str, values: &[&str]) {
        if !self.has(flag) {
            self.list.push(flag.to_owned());
            self.list.extend(values.iter().map(|value| (*value).to_owned()));
        }
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
    fn outputs_are_passed() {
        let cut = Optimization { outputs: Some(vec!["x".into(), "y".into()]), ..wanted() };
        let arguments = model_optimizer(Dialect::OpenVino2022, &[], &cut);
        assert!(arguments.windows(2).any(|pair| pair == ["--output", "x,y"]));
    }

    #[test]
    fn the_compile_tool_gets_one_file_of_options() {
        let plain = compile_tool(&[], "m.xml", "m.blob", "m.conf");
        assert_eq!(plain, words("-d MYRIAD -ip U8 -m m.xml -o m.blob -c m.conf"));
        for (users, expected) in [
            ("-iop a:U8 -c mine.conf", "-iop a:U8 -d MYRIAD -m m.xml -o m.blob -c m.conf"),
            ("-ip FP16", "-ip FP16 -d MYRIAD -m m.xml -o m.blob -c m.conf"),
            ("--ip=FP16 --c=mine.conf", "--ip=FP16 -d MYRIAD -m m.xml -o m.blob -c m.conf"),
            ("--c mine.conf -op FP32", "-op FP32 -d MYRIAD -ip U8 -m m.xml -o m.blob -c m.conf"),
            ("-d MYRIAD", "-d MYRIAD -ip U8 -m m.xml -o m.blob -c m.conf"),
        ] {
            assert_eq!(compile_tool(&words(users), "m.xml", "m.blob", "m.conf"), words(expected), "{users}");
        }
        let options = plugin_options("6", Dialect::OpenVino2022);
        let expected = "MYRIAD_DETECT_NETWORK_BATCH NO\nMYRIAD_ENABLE_MX_BOOT NO\nMYRIAD_NUMBER_OF_CMX_SLICES 6\nMYRIAD_NUMBER_OF_SHAVES 6\n\
                        MYRIAD_THROUGHPUT_STREAMS 1\n";
        assert_eq!(plugin_options_file(&options), expected);
    }

    /// Flags with their values; a flag stands once.
    fn pairs(arguments: &[String]) -> BTreeMap<&str, &str> {
        let mut pairs = BTreeMap::new();
        let mut words = arguments.iter().map(String::as_str).peekable();
        while let Some(flag) = words.next() {
            let value = words.next_if(|next| !next.starts_with('-')).unwrap_or_default();
            assert_eq!(pairs.insert(flag, value), None, "{flag} stands twice in {arguments:?}");
        }
        pairs
    }

    /// What the earlier tool says to the Model Optimizer (run by us with stub tools) and what we say for the same order:
    /// the same but for names and shapes in options of their own, the name of the IR, and mean, scale and channel order,
    /// which stand in the model.
    #[test]
    fn the_model_optimizer_is_told_what_the_earlier_tool_told_it() {
        let golden_2022 = "--output_dir /I --output out --compress_to_fp16 --input img[1,3,8,8]{f32} \
                           --mean_values img[123.675,116.28,103.53] --scale_values img[58.395,57.12,57.375] \
                           --reverse_input_channels --input_model /I/toy.onnx";
        let golden_2021 = "--output_dir /I --output out --data_type FP16 --input img[1,3,8,8]{f16} \
                           --reverse_input_channels --input_model /I/toy.onnx";
        let order = Optimization {
            model: "/I/toy.onnx".into(),
            folder: "/I".into(),
            name: "toy".into(),
            inputs: vec![("img".into(), vec![1, 3, 8, 8])],
            outputs: Some(vec!["out".into()]),
            weights: WeightType::Float16,
        };
        for (dialect, golden) in [(Dialect::OpenVino2022, golden_2022), (Dialect::OpenVino2021, golden_2021)] {
            let golden = words(golden);
            let mut expected = pairs(&golden);
            for in_the_model in ["--mean_values", "--scale_values", "--reverse_input_channels"] {
                expected.remove(in_the_model);
            }
            expected.extend([("--input", "img"), ("--input_shape", "[1,3,8,8]"), ("--model_name", "toy")]);
            for user in [&[][..], &["--log_level".to_owned(), "DEBUG".to_owned()]] {
                let ours = model_optimizer(dialect, user, &order);
                assert_eq!(ours[..user.len()], *user, "the user's come first");
                expected.extend(pairs(user));
                assert_eq!(pairs(&ours), expected);
            }
        }
    }

    #[test]
    fn names_that_mean_something_else_to_the_model_optimizer_are_not_told() {
        for (name, is_told) in [("img", true), ("in put:0", true), ("x,y", false), ("x[0]", false), ("-x", false)] {
            let order = Optimization {
                model: "m.onnx".into(),
                folder: "/I".into(),
                name: "m".into(),
                inputs: vec![(name.into(), vec![1])],
                outputs: None,
                weights: WeightType::Float16,
            };
            let ours = model_optimizer(Dialect::OpenVino2021, &[], &order);
            assert_eq!(ours.iter().any(|word| word.starts_with("--input_shape")), is_told, "{name}: {ours:?}");
        }
    }

    #[test]
    fn the_compile_tool_is_told_what_the_earlier_tool_told_it() {
        let golden = [
            ("", "-d MYRIAD -ip U8 -m /I/toy.xml -o /O/toy-rvc2.blob -c /C"),
            ("-ip FP16", "-ip FP16 -d MYRIAD -m /I/toy.xml -o /O/toy-rvc2.blob -c /C"),
        ];
        for (user, golden) in golden {
            assert_eq!(compile_tool(&words(user), "/I/toy.xml", "/O/toy-rvc2.blob", "/C"), words(golden));
        }
        let keys = |dialect| plugin_options("6", dialect).into_keys().collect::<Vec<_>>();
        assert!(!keys(Dialect::OpenVino2021).contains(&"MYRIAD_ENABLE_MX_BOOT".to_owned()));
        assert_eq!(plugin_options("6", Dialect::OpenVino2022)["MYRIAD_ENABLE_MX_BOOT"], "NO");
    }
}
