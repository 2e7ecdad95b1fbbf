//! `KEY VALUE` pairs: how keys are walked and what values are, against observations of the earlier tool and CPython.

use std::io::Write;
use std::process::{Command, Stdio};

use modelconverter::config::{Override, literal, merge, yaml};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{peer, root};
use crate::{at, resolved_json, try_resolved};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Gives a reader of `tests/readers` a JSON document and returns its answer.
pub(crate) fn ask(reader: &str, task: &Value) -> Value {
    let mut child = Command::new(peer("MODELCONVERTER_TEST_PYTHON"))
        .arg(root().join("tests/readers").join(reader))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{reader} ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the earlier tool was seen to take, and what it made of it.
#[test]
fn what_was_taken_is_taken_alike() {
    let all = |on: bool| json!({"fuse_add_mul_to_bn": on, "substitute_div_with_mul": on});
    for (pairs, address, expected) in [
        (&["onnx_simplification", "False"][..], "onnx_simplification", json!(false)),
        (&["onnx_optimizations", "none"], "onnx_optimizations", all(false)),
        (&["onnx_optimizations", "all"], "onnx_optimizations", all(true)),
        (&["onnx_optimizations", "True"], "onnx_optimizations", all(true)),
        (&["onnx_optimizations", "False"], "onnx_optimizations", all(false)),
        (&["onnx_optimizations", "None"], "onnx_optimizations", all(false)),
        (&["calibration", "random"], "inputs.0.calibration.max_images", json!(20)),
        (&["layout", "nhwc", "shape", "(1,8,8,3)"], "inputs.0.layout", json!("NHWC")),
        (&["shape", "[1,3,8,8]"], "inputs.0.shape", json!([1, 3, 8, 8])),
        (&["rvc2.mo_args", r#"["--x","5"]"#], "rvc2.mo_args", json!(["--x", "5"])),
        (&["rvc2.superblob", "true"], "rvc2.superblob", json!(true)),
        (&["rvc2.superblob", "no"], "rvc2.superblob", json!(false)),
        (&["rvc2.superblob", "0"], "rvc2.superblob", json!(false)),
        (&["encoding", "{'from':'BGR','to':'RGB'}"], "inputs.0.encoding.from", json!("BGR")),
        (&["mean_values", "'imagenet'"], "inputs.0.mean_values.0", json!(123.675)),
        (&["mean_values", "-.5"], "inputs.0.mean_values.1", json!(-0.5)),
        (&["mean_values", "1e-3"], "inputs.0.mean_values.1", json!(0.001)),
        (&["rvc2.superblob", "False", "rvc2.number_of_shaves", "0x10"], "rvc2.number_of_shaves", json!(16)),
        (&["output_remote_url", "s3://b/x"], "output_remote_url", json!("s3://b/x")),
        (
            &["rvc4.encodings", r#"{"param_encodings": {"w": [{"is_sym": true}]}}"#],
            "rvc4.encodings.param_encodings.w.0.is_symmetric",
            json!("True"),
        ),
        // An index behind the end appends.
        (&["inputs.5.name", "images"], "inputs.0.name", json!("images")),
        (&["inputs.0.name", "images", "inputs.0.encoding", "RGB"], "inputs.0.encoding.to", json!("RGB")),
        // Later pairs win.
        (&["name", "a", "name", "b"], "name", json!("b")),
    ] {
        let found =
            resolved_json("input_model: m.onnx\n", &words(pairs)).unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
        match (&expected, at(&found, address)) {
            (Value::Object(keys), found) => {
                keys.iter().for_each(|(key, value)| assert_eq!(&found[key], value, "{pairs:?}"))
            }
            (expected, found) => assert_eq!(found, expected, "{pairs:?}"),
        }
    }
}

/// What the earlier tool was seen to refuse, and still is refused: with its words, and with the pair named.
#[test]
fn what_was_refused_is_refused_alike() {
    for (pairs, message) in [
        (&["shape", "1 3 8 8"][..], "override `shape`: `shape` must be a list of integers"),
        (&["encoding", "rgb"], "override `encoding`: `encoding` must be one of"),
        (&["rvc4.htp_socs", "sm8650"], "override `rvc4.htp_socs`: `rvc4.htp_socs` must be a list"),
        (&["rvc2.mo_args", "['--x',5]"], "override `rvc2.mo_args`: `rvc2.mo_args.1` must be a text"),
        (&["inputs.x.name", "y"], "override `inputs.x.name`: `inputs` must be a list"),
        (
            &["inputs.name", "y", "inputs.0.name", "z"],
            "invalid option `inputs.0.name`: `0`: int keys and `+` are not allowed",
        ),
        (
            &["inputs.0.name", "y", "inputs.name", "z"],
            "invalid option `inputs.name`: `name`: only int keys and `+` are allowed for list values",
        ),
        (
            &["input_model.x", "y"],
            "invalid option `input_model.x`: `x`: only dict values can be accessed with string keys",
        ),
        (&["mean_values", "none"], "`mean_values` must be a number"),
        (&["mean_values", "yes"], "`mean_values` must be a number"),
        (&["rvc2.superblob"], "invalid number of overrides"),
        (&["a", "1", "b"], "invalid number of overrides"),
        (&["rvc2.superblobs", "1"], "unknown key `superblobs` in `rvc2`, the nearest valid key is `superblob`"),
    ] {
        let found = try_resolved("input_model: m.onnx\n", &words(pairs)).unwrap_err().to_string();
        assert!(found.contains(message), "{pairs:?}: {found}");
    }
}

/// What the earlier tool refused, crashed on or let pass, and what is right: the rows of docs/differences.md.
#[test]
fn what_differs_differs_as_documented() {
    for (pairs, address, expected) in [
        (&["onnx_simplification", "false"][..], "onnx_simplification", json!(false)),
        (&["onnx_optimizations", "false"], "onnx_optimizations.fuse_add_mul_to_bn", json!(false)),
        (&["calibration", "null"], "inputs.0.calibration.max_images", json!(20)),
        (&["calibration", "None"], "inputs.0.calibration.max_images", json!(20)),
        (&["inputs.0.name", "images", "inputs.0.calibration", "random"], "inputs.0.calibration.std", json!(35)),
        (&["outputs.+.name", "output"], "outputs.0.name", json!("output")),
        (&["inputs.+.name", "images"], "inputs.0.name", json!("images")),
        (&["rvc2.n_workers", "null"], "rvc2.n_workers", json!(null)),
        (&["encoding", "{from: BGR}"], "inputs.0.encoding.to", json!("BGR")),
        (&["mean_values", "[1, 2, 3] # of the training set"], "inputs.0.mean_values.2", json!(3)),
        // With one stage of the whole's name, the flat form says the same.
        (&["stages.a.input_model", "n.onnx", "name", "a"], "input_model", json!("n.onnx")),
        // Without stages in the file, this makes some, and what stood at the top holds for them.
        (&["stages.a.scale_values", "2", "name", "b"], "stages.a.inputs.0.scale_values.0", json!(2)),
        (&["stages.a.scale_values", "2", "name", "b"], "stages.a.input_model", json!("m.onnx")),
    ] {
        let found =
            resolved_json("input_model: m.onnx\n", &words(pairs)).unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
        assert_eq!(at(&found, address), &expected, "{pairs:?}");
    }
    for (pairs, message) in [
        (&["scale_values", "0"][..], "`scale_values` must not be zero"),
        (&["rvc2.superblob", "False", "rvc2.number_of_shaves", "17"], "must be an integer from 1 to 16"),
        (&["mean_values", "[1, 2]"], "the length of `mean_values` of input `images` must match its channels"),
    ] {
        let found = try_resolved("input_model: m.onnx\n", &words(pairs)).unwrap_err().to_string();
        assert!(found.contains(message), "{pairs:?}: {found}");
    }
}

/// Every override is told at once, and each problem names its pair.
#[test]
fn everything_wrong_is_told_at_once_wherever_it_was_said() {
    let yaml = "input_model: m.onnx\nmaen_values: 1\nrvc2: {superblob: maybe}\n";
    let pairs = words(&["rvc4.htp_soc", "1", "hailo.batch_size", "0", "scale_values", "x"]);
    let found = try_resolved(yaml, &pairs).unwrap_err().to_string();
    for message in [
        "the configuration has 5 problems",
        "f.yaml:2:1: unknown key `maen_values` in the configuration, the nearest valid key is `mean_values`",
        "f.yaml:3:19: `rvc2.superblob` must be true or false, found the text `maybe`",
        "override `rvc4.htp_soc`: unknown key `htp_soc` in `rvc4`, the nearest valid key is `htp_socs`",
        "override `hailo.batch_size`: `hailo.batch_size` must be an integer of at least 1, found `0`",
        "override `scale_values`: `scale_values` must be a number",
    ] {
        assert!(found.contains(message), "{message} in {found}");
    }
}

/// Texts near to Python literals.
fn literal_like() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        "[0-9]{1,3}",
        "[-+]?[0-9]{0,3}\\.[0-9]{0,2}([eE][-+]?[0-9]{1,3})?",
        "0[xXoObB]_?[0-9a-f_]{0,4}",
        "[0-9_.eExj]{1,6}",
        "'[a-z\\\\nxu0-7 #]{0,5}'",
        "\"[a-z\\\\'é ]{0,5}\"",
        "[ruRUbBf]{1,2}'[a-z\\\\]{0,3}'",
        "('''|\"\"\")[a-z'\"\n]{0,4}('''|\"\"\")",
        prop::sample::select(vec![
            "True",
            "False",
            "None",
            "true",
            "null",
            "...",
            "inf",
            "9223372036854775808",
            "set()"
        ])
        .prop_map(str::to_owned),
    ];
    let value = atom.prop_recursive(3, 12, 4, |inner| {
        let items = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            (items(), prop::bool::ANY).prop_map(|(items, comma)| format!(
                "[{}{}]",
                items.join(", "),
                if comma { "," } else { "" }
            )),
            (items(), prop::bool::ANY).prop_map(|(items, comma)| format!(
                "({}{})",
                items.join(" ,"),
                if comma { "," } else { "" }
            )),
            prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
            items().prop_map(|items| items.join(" ")),
            items().prop_map(|items| items.join(",")),
            inner.clone().prop_map(|value| format!("-{value}")),
            inner.prop_map(|value| format!("{value} # said")),
        ]
    });
    (value, prop::sample::select(vec!["", " ", "\n", "\t "]))
        .prop_map(|(value, space)| format!("{}{value}{space}", space.trim_matches('\n')))
}

/// Values are what CPython's `ast.literal_eval` says, where it says something; what it does not read is a text, JSON or
/// YAML.
#[test]
fn values_are_what_python_says() {
    let mut runner = TestRunner::deterministic();
    let strategy = literal_like();
    let mut texts: Vec<String> = (0..6_000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    texts.extend(words(&[
        "5",
        "-.5",
        "1e-3",
        "0x10",
        "[1,3,8,8]",
        "(1,3,8,8)",
        "{'from':'RGB'}",
        r#"["--x","5"]"#,
        "['--x',5]",
        "True",
        "None",
        "true",
        "null",
        "none",
        "yes",
        "s3://b/x",
        "RGB",
        "1 3 8 8",
        "\"'imagenet'\"",
        "1 # one",
        "# nothing",
        "",
        " ",
        "1,\n2",
        "[1,\n2]",
        "-(5)",
        "--5",
        "+-5",
        "-True",
        "1_000",
        "1__0",
        "0_0",
        "00",
        "007",
        "1e1_0",
        "1_e5",
        "1e5_",
        "0x_f",
        "0x",
        "1.",
        ".",
        "1..2",
        "1j",
        "1e400",
        "-1e400",
        "'a' 'b'",
        "'a'\n'b'",
        "'\\N{DASH}'",
        "'\\ud800'",
        "'\\x4'",
        "'\\400'",
        "u'x'",
        "r'\\'",
    ]));
    let answers = ask("literal_reader.py", &json!(texts));
    let mut judged = 0;
    let mut wrong = Vec::new();
    for (text, answer) in texts.iter().zip(answers.as_array().unwrap()) {
        let found = literal::value(text, "key").to_json();
        if let Some(expected) = answer.get("value") {
            judged += 1;
            if &found != expected {
                wrong.push(format!("{text:?} is {expected} and became {found}"));
            }
        } else if answer.get("other").is_none() {
            let trimmed = text.trim();
            let ours = ["true", "false", "null"].contains(&trimmed) || trimmed.starts_with(['[', '{']);
            if !ours && found != json!(text) {
                wrong.push(format!("{text:?} is no literal and became {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(judged > 1_000, "{judged} literals among {}", texts.len());
}

#[test]
fn pairs_change_only_what_they_name() {
    let yaml = "a: {b: [1, {c: 2}]}\nd: x\n";
    let document = yaml::parse(yaml, "f.yaml").unwrap();
    let pairs = Override::pairs(&words(&["a.b.1.c", "3", "a.b.+", "4"])).unwrap();
    let merged = merge::merge(document, &pairs).unwrap();
    assert_eq!(merged.to_json(), json!({"a": {"b": [1, {"c": 3}, 4]}, "d": "x"}));
    let mut origins = Vec::new();
    merged.visit_origins(&mut |path, origin| origins.push(format!("{path} {origin}")));
    for line in ["a.b.0 f.yaml:1:9", "a.b.1.c override `a.b.1.c`", "a.b.2 override `a.b.+`", "d f.yaml:2:4"] {
        assert!(origins.iter().any(|found| found == line), "{line} in {origins:?}");
    }
}
