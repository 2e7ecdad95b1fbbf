//! Every key of the schema: its default, what it takes and what it refuses, wherever and however it is said.

use std::collections::BTreeSet;

use modelconverter::config::keys::{self, Key};
use modelconverter::config::{Fault, Origin};
use serde_json::{Value, json};

use crate::{at, resolved_json, try_resolved};

/// A key by its address in a flat configuration, what stands there when nobody says it, values it takes with what they
/// become, and values it refuses.
struct Row(&'static str, Value, Vec<(&'static str, Value)>, &'static [&'static str]);

/// A value that becomes itself.
fn same(text: &'static str) -> (&'static str, Value) {
    (text, serde_json::from_str(text).unwrap())
}

fn flag(key: &'static str, default: bool) -> Row {
    let words = ["true", "1", "'yes'", "'on'", "'True'", "t", "y"].map(|word| (word, json!(true))).into_iter();
    let no_words = ["false", "0", "'no'", "'OFF'", "f", "n"].map(|word| (word, json!(false)));
    Row(key, json!(default), words.chain(no_words).collect(), &["2", "null", "maybe", "[true]", "{}", "1.5"])
}

fn texts(key: &'static str) -> Row {
    let valid = vec![same("[]"), same(r#"["--x", "5"]"#), same(r#"["--x=y z", ""]"#)];
    Row(key, json!([]), valid, &["--x 5", "['--x', 5]", "null", "{a: b}", "[[x]]", "3"])
}

fn choice(key: &'static str, default: Value, words: &[&'static str], invalid: &'static [&'static str]) -> Row {
    Row(key, default, words.iter().map(|word| (*word, json!(word))).collect(), invalid)
}

/// Section 3.2: a stage, without its inputs and outputs.
fn stage_rows() -> Vec<Row> {
    let all = |on: bool| {
        json!({"fuse_add_mul_to_bn": on, "fuse_comb_add_mul_to_conv": on, "fuse_single_add_mul_to_conv": on,
               "fuse_split_concat_to_conv": on, "substitute_sub_with_add": on, "substitute_div_with_mul": on})
    };
    let but_one = || {
        let mut but_one = all(true);
        but_one["substitute_sub_with_add"] = json!(false);
        but_one
    };
    let url = |key| Row(key, json!(null), vec![same(r#""s3://bucket/x""#), same("null")], &["5", "[]", "''", "{}"]);
    vec![
        Row(
            "input_model",
            json!("m.onnx"),
            vec![same(r#""models/a b.onnx""#), same(r#""s3://b/m.onnx""#), ("n.bin", json!("n.xml"))],
            &["5", "[m.onnx]", "''", "m.h5", "m", "m.pt", "m.pth", "m.dlc", "m.har"],
        ),
        Row("input_bin", json!(null), vec![("x.bin", json!(null)), same("null")], &["5", "[]", "''"]),
        // The suffix of the model tells; another word than the suffix's is noted.
        Row(
            "input_file_type",
            json!("ONNX"),
            ["ONNX", "IR", "TFLITE", "DLC", "HAR", "PYTORCH", "null"].map(|word| (word, json!("ONNX"))).into(),
            &["onnx", "5", "ONNXX", "[]"],
        ),
        flag("keep_intermediate_outputs", true),
        Row(
            "onnx_simplification",
            json!("onnxsim"),
            vec![
                same(r#""onnxsim""#),
                same(r#""onnxslim""#),
                same("false"),
                ("'off'", json!(false)),
                ("'no'", json!(false)),
            ],
            &["true", "null", "onnx", "ONNXSIM", "1", "[]"],
        ),
        Row(
            "onnx_optimizations",
            all(true),
            vec![
                ("all", all(true)),
                ("true", all(true)),
                ("{}", all(true)),
                ("none", all(false)),
                ("null", all(false)),
                ("false", all(false)),
                ("{substitute_sub_with_add: false}", but_one()),
                ("{substitute_sub_with_add: 'no', fuse_add_mul_to_bn: true}", but_one()),
            ],
            &["some", "5", "[all]", "{fuse: true}", "{fuse_add_mul_to_bn: 3}", "{fuse_add_mul_to_bn: null}"],
        ),
        url("output_remote_url"),
        url("intermediate_outputs_remote_url"),
        url("put_file_plugin"),
    ]
}

/// Section 3.6: the blocks of the targets.
fn target_rows() -> Vec<Row> {
    let number =
        |key, default: i64, valid: Vec<(&'static str, Value)>, invalid| Row(key, json!(default), valid, invalid);
    let encodings = json!({"activation_encodings": {"x": [{"bitwidth": 8}]}, "param_encodings": {}});
    let mut rows = vec![
        flag("rvc2.disable_calibration", false),
        texts("rvc2.mo_args"),
        texts("rvc2.compile_tool_args"),
        flag("rvc2.compress_to_fp16", true),
        flag("rvc2.superblob", true),
        Row("rvc2.n_workers", json!(null), vec![same("1"), same("4294967295"), same("null")], &["0", "-1", "x", "1.5"]),
        choice("rvc2.front_end", json!("auto"), &["auto", "importer", "mo"], &["MO", "null", "5", "[]"]),
        flag("rvc3.disable_calibration", false),
        texts("rvc3.mo_args"),
        texts("rvc3.compile_tool_args"),
        flag("rvc3.compress_to_fp16", true),
        choice("rvc3.pot_target_device", json!("VPU"), &["VPU", "ANY"], &["vpu", "CPU", "null", "1"]),
        flag("rvc4.disable_calibration", false),
        texts("rvc4.snpe_onnx_to_dlc_args"),
        texts("rvc4.snpe_dlc_quant_args"),
        texts("rvc4.snpe_dlc_graph_prepare_args"),
        flag("rvc4.keep_raw_images", false),
        flag("rvc4.use_per_channel_quantization", true),
        flag("rvc4.use_per_row_quantization", false),
        flag("rvc4.strict_quantization_overrides", false),
        flag("rvc4.normalize_io_encodings", true),
        number(
            "rvc4.optimization_level",
            2,
            vec![same("1"), same("2"), ("3.0", json!(3))],
            &["0", "4", "null", "x", "1.5"],
        ),
        choice(
            "rvc4.quantization_mode",
            json!("INT8_STANDARD"),
            &[
                "INT8_STANDARD",
                "INT8_ACCURACY_FOCUSED",
                "INT8_INT16_MIXED",
                "INT8_INT16_MIXED_ACCURACY_FOCUSED",
                "INT16_STANDARD",
                "FP16_STANDARD",
                "CUSTOM",
            ],
            &["int8_standard", "INT8", "null", "8"],
        ),
        Row(
            "rvc4.htp_socs",
            json!(["sm8550"]),
            vec![same(r#"["sm8350", "sm8450", "sm8550", "sm8650", "qcs6490", "qcs8550"]"#)],
            &["sm8650", "[]", "[SM8550]", "null", "[5]"],
        ),
        Row(
            "rvc4.encodings",
            json!(null),
            vec![
                same("null"),
                same(r#""e.json""#),
                ("{activation_encodings: {x: {bw: 8}}}", encodings.clone()),
                (r#"'{"activation_encodings": {"x": [{"bitwidth": 8}]}}'"#, encodings),
            ],
            &["[]", "5", "''", "'{'", "{activation_encoding: {}}", "{activation_encodings: 5}"],
        ),
        flag("hailo.disable_calibration", false),
        flag("hailo.force_onnx_names", true),
        number(
            "hailo.optimization_level",
            2,
            vec![same("-100"), same("0"), same("4"), ("1.0", json!(1))],
            &["-1", "5", "-99", "null", "x"],
        ),
        number("hailo.compression_level", 2, vec![same("0"), same("5")], &["-1", "6", "null"]),
        number("hailo.batch_size", 8, vec![same("1"), same("4294967295")], &["0", "-8", "null", "4294967296"]),
        flag("hailo.disable_compilation", false),
        texts("hailo.alls"),
        choice(
            "hailo.hw_arch",
            json!("hailo8"),
            &["hailo8", "hailo8l", "hailo8r", "hailo10h", "hailo15h", "hailo15m"],
            &["hailo9", "Hailo8", "null", "8"],
        ),
    ];
    rows.extend([
        flag("verification.enabled", true),
        flag("verification.device", true),
        number("verification.samples", 2, vec![same("1"), same("100")], &["0", "101", "null", "x"]),
        number("verification.seed", 0, vec![same("0"), same("4294967295")], &["-1", "4294967296", "null"]),
        Row("verification.cosine", json!(0.999), vec![same("0"), same("1"), same("0.5")], &["1.5", "-1", "x", "null"]),
        Row("verification.relative", json!(0.05), vec![same("0"), same("7.5")], &["-1", "x", "null", ".inf"]),
        Row("verification.absolute", json!(1e-6), vec![same("0"), same("7.5")], &["-1", "x", "null"]),
        Row("verification.differing", json!(0.001), vec![same("0"), same("1")], &["1.5", "-1", "x", "null"]),
    ]);
    // A superblob has all shave counts; the number is for one blob.
    rows.push(number(
        "rvc2.number_of_shaves",
        8,
        vec![same("8"), ("4", json!(8)), ("1", json!(8))],
        &["0", "17", "null", "x"],
    ));
    rows
}

/// Sections 3.3, 3.5 and 3.7: what may be said for one input or for all of them; the input is a picture of three
/// channels.
fn input_rows() -> Vec<Row> {
    let random =
        json!({"max_images": 20, "min_value": 0, "max_value": 255, "mean": 127.5, "std": 35, "data_type": "float32"});
    let with = |key: &str, value: Value| {
        let mut keys = random.clone();
        keys[key] = value;
        keys
    };
    let images = |count: i64, method: &str| json!({"path": "pictures", "max_images": count, "resize_method": method});
    let colors = |from: &str, to: &str| json!({"from": from, "to": to});
    vec![
        Row(
            "shape",
            json!([1, 3, 224, 224]),
            vec![
                same("[1, 3, 64, 32]"),
                ("[0, 3, 64, 32]", json!([1, 3, 64, 32])),
                ("[-1, 3, 64, 32]", json!([1, 3, 64, 32])),
                ("[1.0, 3, 64, 32]", json!([1, 3, 64, 32])),
                ("null", json!([1, 3, 224, 224])),
            ],
            &[
                "1 3 8 8",
                "[1, 0, 8, 8]",
                "[1, -1, 8, 8]",
                "[1, x, 8, 8]",
                "[1, 2.5]",
                "5",
                "{}",
                "[1, 3]",
                "[-2, 3, 8, 8]",
            ],
        ),
        Row(
            "layout",
            json!("NCHW"),
            vec![same(r#""NCHW""#), ("nchw", json!("NCHW")), ("nCWh", json!("NCWH")), ("null", json!("NCHW"))],
            &["NCCW", "NC-W", "5", "[N, C, H, W]", "é"],
        ),
        Row(
            "data_type",
            json!("float32"),
            keys::choices::<modelconverter::config::DataType>()
                .into_iter()
                .map(|word| (word, json!(word)))
                .chain([("null", json!("float32"))])
                .collect(),
            &["Float32", "fp16", "f32", "5", "[]"],
        ),
        Row(
            "encoding",
            colors("RGB", "BGR"),
            vec![
                ("RGB", colors("RGB", "RGB")),
                ("BGR", colors("BGR", "BGR")),
                ("NONE", colors("NONE", "NONE")),
                ("{from: BGR}", colors("BGR", "BGR")),
                ("{to: RGB}", colors("RGB", "RGB")),
                ("{from: BGR, to: RGB}", colors("BGR", "RGB")),
                ("{from_: BGR, to: RGB}", colors("BGR", "RGB")),
                ("{from: null, to: null}", colors("RGB", "BGR")),
                ("{}", colors("RGB", "BGR")),
                ("null", colors("RGB", "BGR")),
            ],
            &["rgb", "5", "[RGB]", "{from: rgb}", "{form: RGB}", "{from: RGB, to: NONE}", "RGBA"],
        ),
        Row(
            "mean_values",
            json!(null),
            vec![
                ("127", json!([127, 127, 127])),
                same("[1, 2.5, -3]"),
                ("imagenet", json!([123.675, 116.28, 103.53])),
                same("null"),
                ("0", json!([0, 0, 0])),
            ],
            &["[]", "[1, 2]", "[1, x, 3]", "'127'", "ImageNet", "{}", "[[1], 2, 3]", ".nan", ".inf"],
        ),
        Row(
            "scale_values",
            json!(null),
            vec![
                ("255", json!([255, 255, 255])),
                same("[1, 2.5, -3]"),
                ("imagenet", json!([58.395, 57.12, 57.375])),
                same("null"),
            ],
            &["[]", "0", "[1, 0, 1]", "0.0", "[1, 2, 3, 4]", "x", "{}", ".nan"],
        ),
        Row(
            "calibration",
            random.clone(),
            vec![
                ("random", random.clone()),
                ("null", random.clone()),
                ("{}", random.clone()),
                ("{max_images: 5}", with("max_images", json!(5))),
                ("{max_images: -1}", random.clone()),
                ("{min_value: -1.5}", with("min_value", json!(-1.5))),
                ("{max_value: 1}", with("max_value", json!(1))),
                ("{mean: 0}", with("mean", json!(0))),
                ("{std: 2}", with("std", json!(2))),
                ("{data_type: uint8}", with("data_type", json!("uint8"))),
                ("{path: pictures}", images(-1, "RESIZE")),
                ("{path: pictures, max_images: 7}", images(7, "RESIZE")),
                ("{path: pictures, max_images: -3}", images(-1, "RESIZE")),
                ("{path: pictures, resize_method: CROP}", images(-1, "CROP")),
                ("{path: pictures, resize_method: PAD}", images(-1, "PAD")),
                ("{path: pictures, stage: null, output: null, script: null}", images(-1, "RESIZE")),
            ],
            &[
                "5",
                "'pictures'",
                "[]",
                "{path: 5}",
                "{path: ''}",
                "{pathh: x}",
                "{path: x, resize_method: pad}",
                "{path: x, std: 2}",
                "{path: x, stage: s, output: y}",
                "{resize_method: PAD}",
                "{max_images: x}",
                "{max_images: 1.5}",
                "{min_value: x}",
                "{max_value: [1]}",
                "{mean: x}",
                "{std: true}",
                "{data_type: fp32}",
                "{min_value: 2, max_value: 1}",
                "{stage: 5}",
                "{stage: s}",
                "{output: y}",
                "{script: run.py}",
                "{stage: s, output: y, script: run.py}",
                "{stage: s, output: y}",
            ],
        ),
    ]
}

/// The `KEY: VALUE` of a flat configuration, in a line of its own.
fn said(key: &str, value: &str) -> String {
    let (outer, inner) = match key.split_once('.') {
        Some((block, key)) => (block, format!("{{{key}: {value}}}")),
        None => (key, value.to_owned()),
    };
    format!("{outer}: {inner}")
}

fn indented(line: &str) -> String {
    format!("  {line}")
}

/// All ways to say a key of a stage: flat, in a stage, for all stages, and as an override. The address of its value is
/// the same but for the stage's.
fn ways(key: &str, value: &str) -> Vec<(&'static str, String, Vec<String>)> {
    let line = said(key, value);
    let (model, own_model) =
        if key == "input_model" { ("", "") } else { ("input_model: m.onnx\n", "input_model: m.onnx") };
    let none = Vec::new;
    vec![
        ("flat", format!("name: f\n{model}{line}\n"), none()),
        ("staged", format!("name: f\nstages:\n a:\n  {own_model}\n{}\n", indented(&line)), none()),
        ("shared", format!("name: f\n{line}\nstages:\n a: {{ {own_model} }}\n"), none()),
        ("override", format!("name: f\n{model}\n"), vec![key.to_owned(), value.to_owned()]),
    ]
}

fn check(row: &Row, address: impl Fn(&str) -> String) {
    let Row(key, default, valid, invalid) = row;
    let silent = resolved_json("name: f\ninput_model: m.onnx\n", &[]).unwrap();
    assert_eq!(at(&silent, &address(key)), default, "the default of {key}");
    for (value, expected) in valid {
        for (way, yaml, words) in ways(key, value) {
            let place = if way == "staged" || way == "shared" { "stages.a." } else { "" };
            let found =
                resolved_json(&yaml, &words).unwrap_or_else(|problems| panic!("{way} {key} {value}: {problems}"));
            assert_eq!(at(&found, &format!("{place}{}", address(key))), expected, "{way} {key} {value}");
        }
    }
    for value in *invalid {
        for (way, yaml, words) in ways(key, value) {
            let problems = match try_resolved(&yaml, &words) {
                Ok(_) => panic!("{way} {key} takes {value}"),
                Err(problems) => problems,
            };
            let line =
                1 + yaml.lines().position(|line| line.trim_start().starts_with(&said(key, ""))).unwrap_or(0) as u64;
            for problem in problems.all() {
                let right = match &problem.origin {
                    Origin::File { line: found, .. } => way != "override" && (*found == line || key.contains('.')),
                    Origin::Override { .. } => way == "override",
                    other => panic!("{other}"),
                };
                assert!(right, "{way} {key} {value} is refused elsewhere: {problem}");
                let text = problem.to_string();
                assert!(
                    text.contains(key.rsplit('.').next().unwrap())
                        || text.contains("calibrated")
                        || text.contains(value),
                    "{way} {key}: {text}"
                );
            }
        }
    }
}

#[test]
fn every_key_of_a_stage_has_its_default_and_takes_and_refuses_its_values() {
    stage_rows().iter().for_each(|row| check(row, str::to_owned));
}

#[test]
fn every_key_of_a_target_has_its_default_and_takes_and_refuses_its_values() {
    target_rows().iter().for_each(|row| check(row, str::to_owned));
}

#[test]
fn every_key_of_all_inputs_has_its_default_and_takes_and_refuses_its_values() {
    input_rows().iter().for_each(|row| check(row, |key| format!("inputs.0.{key}")));
}

#[test]
fn what_is_said_for_an_input_wins_over_what_is_said_for_all_and_null_turns_it_off() {
    let calibration = |count: i64| json!({"path": "own", "max_images": count, "resize_method": "RESIZE"});
    let random = || json!({"max_images": 20, "min_value": 0, "max_value": 255, "mean": 127.5, "std": 35, "data_type": "float32"});
    let same = |color: &str| json!({"from": color, "to": color});
    let model = json!([1, 3, 224, 224]);
    for (key, all, own, expected, off) in [
        ("shape", "[1, 3, 8, 8]", "[1, 3, 9, 9]", json!([1, 3, 9, 9]), model),
        ("layout", "NCWH", "NCHW", json!("NCHW"), json!("NCHW")),
        ("data_type", "int8", "uint8", json!("uint8"), json!("float32")),
        ("encoding", "RGB", "BGR", same("BGR"), json!({"from": "RGB", "to": "BGR"})),
        ("mean_values", "1", "[2, 3, 4]", json!([2, 3, 4]), json!(null)),
        ("scale_values", "imagenet", "2", json!([2, 2, 2]), json!(null)),
        ("calibration", "{path: all, max_images: 3}", "{path: own}", calibration(3), random()),
        ("calibration", "{std: 1}", "{path: own, max_images: 4}", calibration(4), random()),
        ("calibration", "{path: all}", "random", random(), random()),
        // `random` for all inputs is how people say: forget the data.
        ("calibration", "random", "{path: own}", random(), random()),
    ] {
        let resolved = |own: &str| {
            let yaml = format!("input_model: m.onnx\n{key}: {all}\ninputs: [{{name: images{own}}}]\n");
            at(
                &resolved_json(&yaml, &[]).unwrap_or_else(|problems| panic!("{key}: {problems}")),
                &format!("inputs.0.{key}"),
            )
            .clone()
        };
        assert_eq!(resolved(&format!(", {key}: {own}")), expected, "{key}: {own} over {all}");
        assert_eq!(resolved(&format!(", {key}: null")), off, "{key}: null over {all}");
        // Nothing that is said for inputs reaches outputs.
        let yaml = format!("input_model: m.onnx\n{key}: {own}\n");
        let outputs = at(&resolved_json(&yaml, &[]).unwrap(), "outputs").clone();
        // What an output of other sizes is, the configuration does not know.
        let (shape, layout) = if key == "shape" { (json!(null), json!(null)) } else { (json!([1, 10]), json!("NC")) };
        assert_eq!(outputs, json!([{"name": "output", "shape": shape, "layout": layout, "data_type": "float32"}]));
    }
}

#[test]
fn entries_of_inputs_and_outputs_take_their_keys_and_refuse_others() {
    let entry = |list: &str, keys: &str| {
        let yaml = format!("input_model: m.onnx\n{list}: [{{{keys}}}]\n");
        resolved_json(&yaml, &[]).map(|json| at(&json, &format!("{list}.0")).clone()).map_err(|error| error.to_string())
    };
    for (keys, key, expected) in [
        ("name: images", "name", json!("images")),
        ("name: images", "frozen_value", json!(null)),
        ("name: images, frozen_value: 3", "frozen_value", json!(3)),
        ("name: images, frozen_value: [2.5]", "frozen_value", json!([2.5])),
        ("name: images, shape: [1, 1, 1, 2], frozen_value: [1, 2.5]", "frozen_value", json!([1, 2.5])),
        ("name: images, frozen_value: true", "frozen_value", json!(true)),
        ("name: images, freeze_value: 3", "frozen_value", json!(3)),
    ] {
        assert_eq!(entry("inputs", keys).unwrap().get(key).unwrap_or(&Value::Null), &expected, "{keys}");
    }
    for (keys, message) in [
        ("shape: [1]", "unable to determine name for input `inputs.0`"),
        ("name: ''", "`inputs.0.name` must not be empty"),
        ("name: [x]", "`inputs.0.name` must be a text"),
        ("name: other", "input `other` not found"),
        ("name: images, frozen_value: x", "`inputs.0.frozen_value` must be a number or a flat list of numbers"),
        ("name: images, frozen_value: [[1]]", "`inputs.0.frozen_value` must be a number or a flat list of numbers"),
        ("name: images, frozen_value: [1, 2]", "`frozen_value` of input `images` has 2 numbers"),
        ("name: images, frozen_value: 1, freeze_value: 1", "cannot specify both"),
        ("name: images, froze_value: 1", "the nearest valid key is `frozen_value`"),
        ("name: images, layout: NHW", "must match its shape"),
        ("name: images}, {name: images", "names the input `images` twice"),
    ] {
        let found = entry("inputs", keys).unwrap_err();
        assert!(found.contains(message), "{keys}: {found}");
    }
    for (keys, expected) in [
        ("name: output", json!({"name": "output", "shape": [1, 10], "layout": "NC", "data_type": "float32"})),
        (
            "name: output, shape: [1, 2, 5], layout: nab, data_type: float16",
            json!({"name": "output", "shape": [1, 2, 5], "layout": "NAB", "data_type": "float16"}),
        ),
        (
            "name: output, shape: null, layout: null, data_type: null",
            json!({"name": "output", "shape": [1, 10], "layout": "NC", "data_type": "float32"}),
        ),
    ] {
        assert_eq!(entry("outputs", keys).unwrap(), expected, "{keys}");
    }
    for (keys, message) in [
        ("data_type: int8", "unable to determine name for output `outputs.0`"),
        ("name: other", "output `other` not found"),
        ("name: output, encoding: RGB", "unknown key `encoding` in `outputs.0`"),
        ("name: output, shape: [1, 2], layout: N", "must match"),
        ("name: output}, {name: output", "names the output `output` twice"),
    ] {
        let found = entry("outputs", keys).unwrap_err();
        assert!(found.contains(message), "{keys}: {found}");
    }
}

#[test]
fn links_between_stages_name_an_earlier_stage_and_what_they_take_of_it() {
    let two = |calibration: &str| {
        let yaml =
            format!("stages:\n a: {{input_model: a.onnx}}\n b: {{input_model: b.onnx, calibration: {calibration}}}\n");
        resolved_json(&yaml, &[]).map(|json| at(&json, "stages.b.inputs.0.calibration").clone())
    };
    assert_eq!(two("{stage: a, output: output}").unwrap(), json!({"stage": "a", "output": "output"}));
    let script = r#"{stage: a, script: "def run_script(outputs):\n  return outputs['y']\n"}"#;
    let expected = "def run_script(outputs):\n  return outputs['y']\n";
    assert_eq!(two(script).unwrap(), json!({"stage": "a", "script": expected}));
    for (calibration, message) in [
        ("{stage: b, output: output}", "stage `b` is calibrated on its own results"),
        ("{stage: c, output: output}", "`b` is calibrated on results of `c`, which is no stage"),
        ("{stage: a, output: y}", "output `y` of `a`, which has none such"),
        ("{stage: a}", "either `output` or `script` must be provided"),
        ("{stage: a, output: y, script: x.py}", "cannot specify both `output` and `script`"),
        ("{stage: a, output: y, path: x}", "mixes the keys of images and a link to a stage"),
        ("{stage: a/b, output: y}", "cannot be the name of a folder"),
    ] {
        let found = two(calibration).unwrap_err().to_string();
        assert!(found.contains(message), "{calibration}: {found}");
    }
}

#[test]
fn the_whole_has_a_name_colours_and_stages() {
    let keys = |yaml: &str| resolved_json(yaml, &[]).map_err(|problems| problems.to_string());
    for (yaml, name) in [
        ("input_model: models/resnet 18.v2.onnx", "resnet 18.v2"),
        ("input_model: m.onnx\nname: net", "net"),
        ("input_model: m.onnx\nname: null", "m"),
        ("stages: {a: {input_model: m.onnx}, b: {input_model: m.onnx}}", "a-b"),
        ("name: pipe\nstages: {a: {input_model: m.onnx}}", "pipe"),
        ("stages: null\ninput_model: m.onnx", "m"),
    ] {
        let found = keys(yaml).unwrap();
        assert_eq!(at(&found, "name"), name, "{yaml}");
        assert_eq!(at(&found, "rich_logging"), &json!(true));
        assert_eq!(found.get("stages").is_some(), name == "a-b" || name == "pipe", "{yaml}");
    }
    assert_eq!(at(&keys("input_model: m.onnx\nrich_logging: 'off'").unwrap(), "rich_logging"), &json!(false));
    for (yaml, message) in [
        ("input_model: m.onnx\nname: 5", "`name` must be a text"),
        ("input_model: m.onnx\nname: a/b", "`a/b` cannot be the name of a folder"),
        ("input_model: m.onnx\nrich_logging: null", "`rich_logging` must be true or false"),
        ("stages: [a]", "`stages` must be a mapping"),
        ("stages: {}", "`stages` must have at least one stage"),
        ("stages: {a: null}", "`stages.a` must be a mapping"),
        ("stages: {a: {input_model: m.onnx, name: x}}", "unknown key `name` in `stages.a`"),
        ("stages: {a: {}}", "`stages.a.input_model` must be provided"),
        ("stages: {a/b: {input_model: m.onnx}}", "`a/b` cannot be the name of a folder"),
        ("stages: {a: {input_model: m.onnx, stages: {}}}", "unknown key `stages` in `stages.a`"),
        ("mean_values: 1", "`input_model` must be provided"),
    ] {
        let found = keys(yaml).unwrap_err();
        assert!(found.contains(message), "{yaml}: {found}");
    }
}

#[test]
fn what_several_stages_share_is_wrong_once() {
    let yaml = "rvc2: {superblobb: 1, mo_args: x}\ninput_file_type: FILE\nstages:\n a: {input_model: m.onnx}\n b: {input_model: n.onnx}\n";
    let problems = try_resolved(yaml, &[]).unwrap_err();
    assert_eq!(problems.all().len(), 3, "{problems}");
}

#[test]
fn stages_share_no_more_than_memory_holds() {
    let inputs: String = (0..3000).map(|index| format!("- {{name: i{index}}}\n")).collect();
    let stages: String = (0..400).map(|index| format!(" s{index}: {{input_model: m.onnx}}\n")).collect();
    let found = try_resolved(&format!("inputs:\n{inputs}stages:\n{stages}"), &[]).unwrap_err().to_string();
    assert!(found.contains("too many for all they share"), "{found}");
}

#[test]
fn old_spellings_are_taken_with_a_note() {
    for (yaml, address, expected, note) in [
        (
            "disable_onnx_simplification: true",
            "onnx_simplification",
            json!(false),
            "write `onnx_simplification: false`",
        ),
        ("disable_onnx_simplification: false", "onnx_simplification", json!("onnxsim"), "leave it out"),
        (
            "disable_onnx_optimizations: true",
            "onnx_optimizations.fuse_add_mul_to_bn",
            json!(false),
            "write `onnx_optimizations: none`",
        ),
        (
            "disable_onnx_optimization: true",
            "onnx_optimizations.fuse_add_mul_to_bn",
            json!(false),
            "write `onnx_optimizations: none`",
        ),
        ("disable_onnx_optimization: false", "onnx_optimizations.fuse_add_mul_to_bn", json!(true), "leave it out"),
        ("inputs: [{name: images, freeze_value: 1}]", "inputs.0.frozen_value", json!(1), "write `frozen_value`"),
        ("encoding: {from_: BGR}", "inputs.0.encoding.from", json!("BGR"), "write `from`"),
        ("yolo_input_shape: [640, 480]", "inputs.0.shape.2", json!(224), "PyTorch models are not converted"),
        ("yolo_input_shape: 640 480", "inputs.0.shape.2", json!(224), "PyTorch models are not converted"),
        ("yolo_input_shape: '640'", "inputs.0.shape.2", json!(224), "PyTorch models are not converted"),
        ("yolo_input_shape: 640", "inputs.0.shape.2", json!(224), "PyTorch models are not converted"),
        ("rvc2: {number_of_shaves: 4}", "rvc2.number_of_shaves", json!(8), "has no effect: a superblob holds all"),
        ("input_file_type: IR", "input_file_type", json!("ONNX"), "`input_file_type` has no effect"),
        ("input_bin: x.bin", "input_model", json!("m.onnx"), "`input_bin` has no effect"),
    ] {
        let outcome = try_resolved(&format!("input_model: m.onnx\n{yaml}\n"), &[])
            .unwrap_or_else(|error| panic!("{yaml}: {error}"));
        assert_eq!(at(&outcome.json(), address), &expected, "{yaml}");
        assert!(outcome.notes.iter().any(|found| found.text.contains(note)), "{yaml}: {:?}", outcome.notes);
    }
    for yaml in [
        "disable_onnx_simplification: true\nonnx_simplification: onnxslim",
        "disable_onnx_optimizations: true\nonnx_optimizations: all",
        "disable_onnx_optimization: true\nonnx_optimizations: all",
        "disable_onnx_simplification: maybe",
        "disable_onnx_optimizations: null",
        "disable_onnx_optimization: 5",
        "yolo_input_shape: [640, 0]",
        "yolo_input_shape: [1, 2, 3]",
        "yolo_input_shape: big",
        "yolo_input_shape: ''",
    ] {
        assert!(try_resolved(&format!("input_model: m.onnx\n{yaml}\n"), &[]).is_err(), "{yaml}");
    }
}

#[test]
fn calibration_is_turned_off_for_all_targets_at_once() {
    for (yaml, expected) in [
        ("disable_calibration: true", [true; 4]),
        ("disable_calibration: true\nrvc4: {disable_calibration: false}", [true; 4]),
        ("disable_calibration: false\nrvc3: {disable_calibration: true}", [false; 4]),
        ("disable_calibration: null\nrvc3: {disable_calibration: true}", [false, true, false, false]),
        ("rvc4: {quantization_mode: FP16_STANDARD}", [false, false, true, false]),
        ("disable_calibration: false\nrvc4: {quantization_mode: FP16_STANDARD}", [false, false, true, false]),
        ("rvc4: {quantization_mode: INT16_STANDARD}", [false; 4]),
    ] {
        let found = resolved_json(&format!("input_model: m.onnx\n{yaml}\n"), &[]).unwrap();
        let found = ["rvc2", "rvc3", "rvc4", "hailo"]
            .map(|target| at(&found, &format!("{target}.disable_calibration")).clone());
        assert_eq!(found, expected.map(Value::Bool), "{yaml}");
    }
}

#[test]
fn single_blobs_have_a_number_of_shaves() {
    for shaves in 1..=16 {
        let yaml = format!("input_model: m.onnx\nrvc2: {{superblob: false, number_of_shaves: {shaves}}}\n");
        assert_eq!(at(&resolved_json(&yaml, &[]).unwrap(), "rvc2.number_of_shaves"), &json!(shaves));
    }
}

/// Section 3.11.
#[test]
fn encodings_come_to_one_form() {
    let inline = |group: &str| {
        let yaml = format!("input_model: m.onnx\nrvc4: {{encodings: {{activation_encodings: {group}}}}}\n");
        resolved_json(&yaml, &[])
            .map(|json| at(&json, "rvc4.encodings.activation_encodings").clone())
            .map_err(|problems| problems.to_string())
    };
    for (group, expected) in [
        ("{x: [{bitwidth: 8, dtype: int}]}", json!({"x": [{"bitwidth": 8, "dtype": "int"}]})),
        (
            "{x: {bw: 16, is_sym: true, dtype: INT}}",
            json!({"x": [{"bitwidth": 16, "is_symmetric": "True", "dtype": "int"}]}),
        ),
        (
            "{x: {bitwidth: 8, bw: 16, is_symmetric: 'False', is_sym: true}}",
            json!({"x": [{"bitwidth": 8, "is_symmetric": "False"}]}),
        ),
        ("[{name: x, bw: 4, enc_type: PER_TENSOR}]", json!({"x": [{"bitwidth": 4}]})),
        (
            "[{name: x, scale: [0.5], offset: [-128], min: [-1], max: [1.5]}]",
            json!({"x": [{"min": -1, "max": 1.5, "scale": 0.5, "offset": -128}]}),
        ),
        (
            "{x: {bw: 8, scale: [0.5, 0.25], offset: [1, 2], min: [0]}}",
            json!({"x": [{"bitwidth": 8, "min": 0, "scale": 0.5, "offset": 1}, {"bitwidth": 8, "min": 0, "scale": 0.25, "offset": 2}]}),
        ),
        ("{x: [{bw: 8}, {bw: 16}]}", json!({"x": [{"bitwidth": 8}, {"bitwidth": 16}]})),
        ("{x: {dtype: Float, min: null, comment: [1]}}", json!({"x": [{"dtype": "float"}]})),
        ("{}", json!({})),
        ("null", json!({})),
    ] {
        assert_eq!(inline(group).unwrap(), expected, "{group}");
    }
    for (group, message) in [
        ("5", "must be a list or dict"),
        ("{x: 5}", "must be a dict encoding entry"),
        ("[5]", "must be a dict encoding entry"),
        ("[{bw: 8}]", "has no tensor name"),
        ("{x: {scale: [1, 2], offset: [1, 2, 3]}}", "matching lengths"),
        ("{x: {scale: []}}", "matching lengths"),
        ("{x: {bw: 5}}", "must be 4, 8, 16 or 32"),
        ("{x: {dtype: uint}}", "must be one of `int`, `float`"),
        ("{x: {is_sym: maybe}}", "must be true or false"),
        ("{x: {scale: y}}", "must be a finite number"),
        ("{x: {offset: 1.5}}", "must be an integer"),
    ] {
        let found = inline(group).unwrap_err();
        assert!(found.contains(message), "{group}: {found}");
    }
    let file = |arguments: &str, key: &str| {
        let yaml = format!("input_model: m.onnx\nrvc4: {{snpe_onnx_to_dlc_args: {arguments}{key}}}\n");
        resolved_json(&yaml, &[]).map(|json| at(&json, "rvc4").clone())
    };
    for arguments in ["[--a, --quantization_overrides, q.json, b]", "[--a, --quantization_overrides=q.json, b]"] {
        let found = file(arguments, "").unwrap();
        assert_eq!((&found["encodings"], &found["snpe_onnx_to_dlc_args"]), (&json!("q.json"), &json!(["--a", "b"])));
    }
    for (arguments, key) in [
        ("[--quantization_overrides, q.json]", ", encodings: e.json"),
        ("[--quantization_overrides=q.json, --quantization_overrides=r.json]", ""),
        ("[--quantization_overrides]", ""),
    ] {
        assert!(file(arguments, key).is_err(), "{arguments}{key}");
    }
}

/// No key of the table is left out here: a new one needs a row.
#[test]
fn every_key_is_tested() {
    let rows: BTreeSet<&str> = [stage_rows(), target_rows(), input_rows()].iter().flatten().map(|row| row.0).collect();
    let elsewhere = [
        "inputs",
        "outputs",
        "rvc2",
        "rvc3",
        "rvc4",
        "hailo",
        "verification",
        "disable_calibration",
        "yolo_input_shape",
        "disable_onnx_simplification",
        "disable_onnx_optimizations",
        "disable_onnx_optimization",
    ];
    let known = |prefix: &str, table: &[Key]| {
        for key in table {
            let address = format!("{prefix}{}", key.name);
            assert!(rows.contains(address.as_str()) || elsewhere.contains(&key.name), "no row for {address}");
        }
    };
    known("", keys::STAGE);
    for (block, table) in [
        ("verification.", keys::VERIFICATION),
        ("rvc2.", keys::RVC2),
        ("rvc3.", keys::RVC3),
        ("rvc4.", keys::RVC4),
        ("hailo.", keys::HAILO),
    ] {
        known(block, table);
    }
    assert_eq!(keys::names(keys::DOCUMENT), ["name", "rich_logging", "stages"]);
    let input = keys::names(keys::INPUT);
    assert!(input.iter().all(|key| rows.contains(key) || ["name", "frozen_value", "freeze_value"].contains(key)));
    assert_eq!(keys::names(keys::OUTPUT), ["name", "shape", "layout", "data_type"]);
    let calibration = keys::names(keys::CALIBRATION_DATA);
    let tried: String =
        input_rows().iter().flat_map(|row| row.2.iter().map(|(text, _)| *text).chain(row.3.iter().copied())).collect();
    assert!(calibration.iter().all(|key| tried.contains(&format!("{key}:"))), "{calibration:?}");
}

/// Documents for judges of the schema: each with what the reader finds wrong in its grammar.
pub(crate) fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    for row in [stage_rows(), target_rows(), input_rows()].iter().flatten() {
        let values = row.2.iter().map(|(value, _)| *value).chain(row.3.iter().copied());
        for value in values.filter(|value| ![".nan", ".inf"].contains(value)) {
            documents.extend(ways(row.0, value).into_iter().filter(|(_, _, words)| words.is_empty()).map(|way| way.1));
            if input_rows().iter().any(|input| input.0 == row.0) {
                documents.push(format!("input_model: m.onnx\ninputs: [{{name: images, {}: {value}}}]\n", row.0));
            }
        }
    }
    documents
}

/// Whether a problem is one of grammar, which a JSON Schema can tell too.
pub(crate) fn is_grammar(fault: &Fault) -> bool {
    matches!(fault, Fault::UnknownKey { .. } | Fault::Type { .. } | Fault::Choice { .. })
}
