//! Random configurations that are right: what is written of them reads back the same, here and with other readers.

use modelconverter::config::{ConversionConfig, read, resolve, yaml};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::facts;
use crate::overrides::ask;

/// Three kinds of inputs, two kinds of outputs.
const MODEL: &str = "input images float32 batch,3,224,224\ninput gray float32 1,1,8,8\ninput vector int64 1,5\n\
                     output output float32 1,10\noutput map float16 1,4,7,7\ninner middle float32 1,4,9,9\n";

fn words(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(words).prop_map(|word| json!(word)).boxed()
}

fn flag() -> BoxedStrategy<Value> {
    prop_oneof![3 => any::<bool>().prop_map(|flag| json!(flag)), 1 => words(&["yes", "off", "True", "0"])].boxed()
}

fn integer(range: std::ops::RangeInclusive<i64>) -> BoxedStrategy<Value> {
    range.prop_map(|number| json!(number)).boxed()
}

/// Numbers of all sizes, none zero.
fn number() -> BoxedStrategy<Value> {
    let float = prop::num::f64::NORMAL.prop_filter("finite", |number| number.is_finite());
    prop_oneof![float.prop_map(|number| json!(number)), select(vec![1, -3, 255]).prop_map(|number| json!(number))]
        .boxed()
}

/// Texts that readers of YAML like to take for something else.
fn text() -> BoxedStrategy<Value> {
    let tricky = words(&[
        "on",
        "No",
        "y",
        "~",
        "null",
        "1e3",
        "0o7",
        "010",
        "1:30",
        "0x1f",
        "-",
        "--x",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "[a",
        "{a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'a",
        "\"a",
        "a\nb",
        "a\n",
        "\ta",
        " a ",
        "é",
        "🦀",
        "\\",
        "<<",
        "=",
        "2024-01-01",
        "1_000",
        ".inf",
        ".5",
        "+1",
        "|",
        ">",
        "? a",
        "a\u{85}b",
        "\u{feff}a",
        "a\u{7f}",
    ]);
    prop_oneof![tricky, "[ -~]{1,12}".prop_map(|text| json!(text)), "\\PC{1,8}".prop_map(|text| json!(text))].boxed()
}

fn texts() -> BoxedStrategy<Value> {
    vec(text(), 0..3).prop_map(Value::Array).boxed()
}

/// A mapping that says some of these keys.
fn mapping(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    keys.into_iter()
        .fold(Just(Map::new()).boxed(), |whole, (key, value)| {
            (whole, option::weighted(0.4, value))
                .prop_map(move |(mut whole, value)| {
                    whole.extend(value.map(|value| (key.to_owned(), value)));
                    whole
                })
                .boxed()
        })
        .prop_map(Value::Object)
        .boxed()
}

fn verification() -> BoxedStrategy<Value> {
    mapping(vec![
        ("enabled", flag()),
        ("device", flag()),
        ("samples", integer(1..=100)),
        ("seed", integer(0..=4_294_967_295)),
        ("cosine", (0.0..=1.0).prop_map(|number| json!(number)).boxed()),
        ("relative", (0.0..1e9).prop_map(|number| json!(number)).boxed()),
    ])
}

fn rvc2() -> BoxedStrategy<Value> {
    mapping(vec![
        ("disable_calibration", flag()),
        ("mo_args", texts()),
        ("compile_tool_args", texts()),
        ("compress_to_fp16", flag()),
        ("number_of_shaves", integer(1..=16)),
        ("superblob", flag()),
        ("n_workers", integer(1..=9)),
        ("front_end", words(&["auto", "importer", "mo"])),
    ])
}

fn rvc3() -> BoxedStrategy<Value> {
    mapping(vec![
        ("disable_calibration", flag()),
        ("mo_args", texts()),
        ("compile_tool_args", texts()),
        ("compress_to_fp16", flag()),
        ("pot_target_device", words(&["VPU", "ANY"])),
    ])
}

fn encodings() -> BoxedStrategy<Value> {
    let entry = mapping(vec![
        ("bitwidth", select(vec![4, 8, 16, 32]).prop_map(|bits| json!(bits)).boxed()),
        ("is_sym", flag()),
        ("dtype", words(&["int", "FLOAT"])),
        ("min", number()),
        ("max", vec(number(), 2).prop_map(Value::Array).boxed()),
        ("scale", vec(number(), 2).prop_map(Value::Array).boxed()),
        ("offset", integer(-300..=300)),
    ]);
    let group = (text(), entry).prop_map(|(name, entry)| json!({name.as_str().unwrap(): [entry]})).boxed();
    mapping(vec![("activation_encodings", group.clone()), ("param_encodings", group)])
}

fn rvc4() -> BoxedStrategy<Value> {
    // The flag for encodings is another way to say `encodings`.
    let plain = texts().prop_filter("no flag", |texts| !texts.to_string().contains("--quantization_overrides")).boxed();
    mapping(vec![
        ("disable_calibration", flag()),
        ("snpe_onnx_to_dlc_args", plain),
        ("snpe_dlc_quant_args", texts()),
        ("snpe_dlc_graph_prepare_args", texts()),
        ("keep_raw_images", flag()),
        ("use_per_channel_quantization", flag()),
        ("use_per_row_quantization", flag()),
        ("optimization_level", integer(1..=3)),
        ("quantization_mode", words(&["INT8_STANDARD", "INT16_STANDARD", "FP16_STANDARD", "CUSTOM"])),
        ("htp_socs", vec(words(&["sm8550", "sm8650", "qcs6490"]), 1..3).prop_map(Value::Array).boxed()),
        ("encodings", prop_oneof![encodings(), words(&["e.json", "s3://b/e.json"])].boxed()),
        ("strict_quantization_overrides", flag()),
        ("normalize_io_encodings", flag()),
    ])
}

fn hailo() -> BoxedStrategy<Value> {
    mapping(vec![
        ("disable_calibration", flag()),
        ("force_onnx_names", flag()),
        ("optimization_level", prop_oneof![integer(0..=4), integer(-100..=-100)].boxed()),
        ("compression_level", integer(0..=5)),
        ("batch_size", integer(1..=64)),
        ("disable_compilation", flag()),
        ("alls", texts()),
        ("hw_arch", words(&["hailo8", "hailo8l", "hailo15h"])),
    ])
}

fn calibration() -> BoxedStrategy<Value> {
    let images = mapping(vec![("max_images", integer(-2..=9)), ("resize_method", words(&["RESIZE", "CROP", "PAD"]))]);
    let images = (images, text()).prop_map(|(mut images, path)| {
        images["path"] = path;
        images
    });
    let random = mapping(vec![
        ("max_images", integer(0..=9)),
        ("min_value", integer(-9..=0)),
        ("max_value", integer(1..=9)),
        ("mean", number()),
        ("std", integer(0..=40)),
        ("data_type", words(&["float32", "uint8"])),
    ]);
    prop_oneof![images, random, words(&["random"])].boxed()
}

fn channels(count: usize) -> BoxedStrategy<Value> {
    prop_oneof![number(), vec(number(), count).prop_map(Value::Array), Just(Value::Null)].boxed()
}

fn input(name: &'static str) -> BoxedStrategy<Value> {
    let (shapes, layouts, count): (Vec<Value>, &'static [&'static str], _) = match name {
        "images" => (vec![json!([1, 3, 224, 224]), json!([0, 3, 32, 64])], &["NCHW", "nchw"], 3),
        "gray" => (vec![json!([1, 1, 8, 8]), json!([1, 1, 9, 8])], &["NCHW"], 1),
        _ => (vec![json!([1, 5])], &["NC"], 5),
    };
    let encoding = if count == 3 {
        let pair = json!({"from": "RGB", "to": "BGR"});
        prop_oneof![words(&["RGB", "BGR", "NONE"]), Just(pair), Just(json!({"to": "RGB"})), Just(Value::Null)].boxed()
    } else {
        words(&["NONE"])
    };
    let frozen = prop_oneof![
        number(),
        vec(number(), if count == 5 { 5 } else { 1 }).prop_map(Value::Array),
        flag().prop_filter("flag", Value::is_boolean)
    ];
    mapping(vec![
        ("shape", select(shapes).boxed()),
        ("layout", words(layouts)),
        ("data_type", words(&["float32", "float16", "uint8", "int64"])),
        ("encoding", encoding),
        ("mean_values", channels(count)),
        ("scale_values", channels(count)),
        ("calibration", calibration()),
        ("frozen_value", frozen.boxed()),
    ])
    .prop_map(move |mut keys| {
        keys["name"] = json!(name);
        keys
    })
    .boxed()
}

fn stage() -> BoxedStrategy<Value> {
    let inputs = (option::of(input("vector")), option::of(input("images")), option::of(input("gray")))
        .prop_map(|(first, second, third)| json!([first, second, third].into_iter().flatten().collect::<Vec<_>>()));
    let outputs = select(vec![
        json!([]),
        json!([{"name": "output"}]),
        json!([{"name": "map", "layout": "NCHW"}, {"name": "output", "data_type": "int8", "shape": [1, 2, 5], "layout": "nab"}]),
        json!([{"name": "middle"}]),
    ]);
    let optimizations = mapping(vec![("fuse_add_mul_to_bn", flag()), ("substitute_sub_with_add", flag())]);
    let keys = mapping(vec![
        ("inputs", inputs.boxed()),
        ("outputs", outputs.boxed()),
        ("mean_values", number()),
        ("scale_values", number()),
        ("encoding", words(&["RGB", "BGR"])),
        ("data_type", words(&["float32", "uint8"])),
        ("calibration", calibration()),
        ("keep_intermediate_outputs", flag()),
        ("onnx_simplification", prop_oneof![words(&["onnxsim", "onnxslim"]), Just(json!(false))].boxed()),
        ("onnx_optimizations", prop_oneof![optimizations, words(&["all", "none"]), Just(Value::Null)].boxed()),
        ("output_remote_url", text()),
        ("intermediate_outputs_remote_url", text()),
        ("put_file_plugin", text()),
        ("disable_calibration", flag()),
        ("verification", verification()),
        ("rvc2", rvc2()),
        ("rvc3", rvc3()),
        ("rvc4", rvc4()),
        ("hailo", hailo()),
    ]);
    let model = words(&["m.onnx", "models/resnet 18.v2.onnx", "s3://b/x.tflite", "on.xml", "1.bin"]);
    (keys, model)
        .prop_map(|(mut keys, model)| {
            keys["input_model"] = model;
            keys
        })
        .boxed()
}

pub(crate) fn configuration() -> BoxedStrategy<Value> {
    let flat = (stage(), option::of("[a-z][a-z0-9 ._-]{0,8}")).prop_map(|(mut stage, name)| {
        if let Some(name) = name {
            stage["name"] = json!(name);
        }
        stage
    });
    let link = prop_oneof![
        Just(json!({"stage": "1.5", "script": "run.py"})),
        text().prop_map(|script| json!({"stage": "1.5", "script": script})),
    ];
    let staged = (vec(stage(), 1..3), stage(), option::of(link), flag()).prop_map(|(stages, shared, link, colours)| {
        // Names that a careless writer would leave without quotes.
        let mut stages: Map<String, Value> = ["1.5", "on"].map(str::to_owned).into_iter().zip(stages).collect();
        if let (Some(link), Some(last)) = (link, stages.get_mut("on")) {
            last["calibration"] = link;
        }
        let mut whole = shared;
        // A model of one stage is not the model of all.
        whole.as_object_mut().unwrap().remove("input_model");
        whole["stages"] = Value::Object(stages);
        whole["rich_logging"] = colours;
        whole
    });
    prop_oneof![2 => flat, 1 => staged].boxed()
}

/// The document as JSON of plain letters, which is YAML whatever is in its texts.
fn plain(document: &Value) -> String {
    let escaped = |letter: char| {
        if matches!(letter, ' '..='~') {
            return letter.to_string();
        }
        letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    document.to_string().chars().map(escaped).collect()
}

fn resolved(text: &str) -> Result<resolve::Resolution, String> {
    let facts = facts(MODEL);
    let tree = yaml::parse(text, "f.yaml").map_err(|problems| problems.to_string())?;
    let config = read::read(&tree).map_err(|problems| problems.to_string())?.config;
    resolve::resolve(&config, &|_| Some(facts.clone())).map_err(|problems| problems.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_the_same(document in configuration()) {
        let text = plain(&document);
        let first = resolved(&text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?.config;
        let written = first.to_yaml();
        let again = resolved(&written).map_err(|problems| TestCaseError::fail(format!("{problems}\n{written}")))?.config;
        prop_assert_eq!(&again.to_yaml(), &written);
        prop_assert_eq!((&again.name, again.rich_logging), (&first.name, first.rich_logging));
        prop_assert_eq!(again.stages.len(), first.stages.len());
        for (again, first) in again.stages.iter().zip(&first.stages) {
            prop_assert_eq!(&again.name, &first.name);
            prop_assert_eq!((&again.model.path, &again.model.weights), (&first.model.path, &first.model.weights));
            prop_assert_eq!(&again.settings, &first.settings);
            prop_assert_eq!(&again.inputs, &first.inputs);
            prop_assert_eq!(&again.outputs, &first.outputs);
        }
    }

    #[test]
    fn what_is_told_to_a_container_is_what_was_read(document in configuration()) {
        let config = read::read(&yaml::parse(&plain(&document), "f.yaml").unwrap()).unwrap().config;
        let told: ConversionConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        let facts = facts(MODEL);
        let resolved = |config| resolve::resolve(config, &|_| Some(facts.clone())).unwrap().config.to_yaml();
        prop_assert_eq!(resolved(&told), resolved(&config));
    }
}

/// The earlier tool and most others read YAML with PyYAML, by the rules of YAML 1.1.
#[test]
fn what_is_written_reads_alike_with_pyyaml() {
    let mut runner = TestRunner::deterministic();
    let strategy = configuration();
    let documents = (0..100).map(|_| plain(&strategy.new_tree(&mut runner).unwrap().current()));
    let written: Vec<String> = documents.map(|text| resolved(&text).unwrap().config.to_yaml()).collect();
    let answers = ask("yaml_reader.py", &json!(written));
    for (text, answer) in written.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(&yaml::parse(text, "f.yaml").unwrap().to_json(), answer, "{text}");
    }
}

/// The files that people have are read as PyYAML reads them, but for what YAML 1.1 has in store: `no` is false there, and
/// `1e-12` a text.
#[test]
fn files_read_alike_with_pyyaml() {
    let texts: Vec<String> = crate::cases("valid", "resolved")
        .into_iter()
        .filter(|case| case.name != "verification")
        .map(|case| case.yaml)
        .collect();
    let answers = ask("yaml_reader.py", &json!(texts));
    for (text, answer) in texts.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(&yaml::parse(text, "f.yaml").unwrap().to_json(), answer, "{text}");
    }
}
