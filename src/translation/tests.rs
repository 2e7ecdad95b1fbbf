//! What is translated and what is not. Whether translations compute the right numbers is judged elsewhere, by others.

use super::*;
use crate::tflite::tests::builder::{
    self, ADD, CUSTOM, DILATE, FLOAT, INT8, SPARSE_TO_DENSE, WHERE, blocks, network, pieces, quantization, recurrent,
};

fn read(model: &builder::Model) -> tflite::Model {
    tflite::Model::parse(&model.bytes().into()).unwrap()
}

fn wanted(order: Order, outputs: &[&str]) -> Wanted {
    let input = WantedInput { name: "img".into(), shape: vec![1, 4, 4, 2], order };
    Wanted { inputs: vec![input], outputs: outputs.iter().map(|&name| name.to_owned()).collect() }
}

fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

#[test]
fn pictures_are_transposed_where_they_must_be() {
    let model = read(&network());
    let first = translate(&model, &wanted(Order::ChannelsFirst, &["out"])).unwrap();
    assert_eq!(
        operators(&first.model),
        ["Conv", "Clip", "Pad", "Reshape", "Add"],
        "one channel needs no transposition"
    );
    assert_eq!(first.model.inputs()[0].shape().unwrap().to_string(), "[1, 2, 4, 4]");
    let stored = translate(&model, &wanted(Order::AsStored, &["out"])).unwrap();
    assert_eq!(operators(&stored.model), ["Transpose", "Conv", "Clip", "Pad", "Reshape", "Add"]);
    assert_eq!(stored.model.inputs()[0].shape().unwrap().to_string(), "[1, 4, 4, 2]");
    for translation in [first, stored] {
        assert_eq!(translation.model.outputs()[0].name, "out");
        assert_eq!((translation.unrounded.len(), translation.real_outputs.len()), (0, 0));
        assert_eq!(translation.model.opset(), 11);
    }
}

/// The network with an operator of the model's own behind it, and one that has no translation.
fn with_strangers() -> builder::Model {
    let mut model = network();
    let out = model.outputs[0];
    let (custom, best) = (model.tensor("custom", FLOAT, &[1, 36]), model.tensor("best", FLOAT, &[1, 36]));
    model.operator(CUSTOM, &[out], &[custom], Vec::new());
    model.operator(WHERE, &[custom], &[best], Vec::new());
    model.outputs = vec![best];
    model
}

#[test]
fn operators_without_a_translation_are_named_with_advice() {
    let model = read(&with_strangers());
    let error = translate(&model, &wanted(Order::AsStored, &["best"])).unwrap_err();
    let text = error.to_string();
    for expected in [
        "operator 6, Mine (`custom`): an operator of the model's own",
        "operator 7, WHERE (`best`): has a result whose size",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(
        error.hints(),
        [
            "end the network before Mine: `outputs: [{name: \"out\"}]`",
            "leave post-processing out when the model is converted to TFLite",
            "or export the model to ONNX from where it was trained",
        ]
    );
}

#[test]
fn what_no_network_of_onnx_does_is_refused_with_its_reason() {
    for (code, expected) in [
        (24, "RNN (`out`): keeps a state between runs"),
        (27, "SVDF (`out`): keeps a state between runs"),
        (16, "LSTM (`out`): keeps a state between runs"),
        (143, "READ_VARIABLE (`out`): keeps a state between runs"),
        (15, "LSH_PROJECTION (`out`): looks up words or features in lists of any length, which no network does"),
        (31, "CALL (`out`): is nothing that the format's own runtime runs"),
        (103, "UNIQUE (`out`): has a result whose size depends on what is computed"),
        (121, "NON_MAX_SUPPRESSION_V5 (`out`): chooses among boxes one after the other, which no network does"),
        (137, "HASHTABLE_FIND (`out`): looks keys up in a table, which no network does"),
        (149, "MULTINOMIAL (`out`): draws random numbers, so nobody could tell whether the result is right"),
        (159, "BITCAST (`out`): takes the bits of numbers for numbers of another type"),
        (197, "STABLEHLO_DOT_GENERAL (`out`): is of another dialect, and nothing that the format's own runtime runs"),
        (207, "STABLEHLO_SHIFT_LEFT (`out`): moves bits up, beyond what the device keeps of whole numbers"),
        (209, "STABLEHLO_CASE (`out`): chooses among branches by number, which are not written out"),
        (300, "BUILTIN_300 (`out`): has no translation"),
    ] {
        let mut model = builder::Model::new();
        let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
        let out = model.tensor("out", FLOAT, &[1, 4, 4, 2]);
        model.operator(code, &[image], &[out], Vec::new());
        (model.inputs, model.outputs) = (vec![image], vec![out]);
        let error = translate(&read(&model), &wanted(Order::AsStored, &["out"])).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn pieces_are_lists_of_places() {
    let translation = translate(&read(&pieces()), &wanted(Order::AsStored, &["out"])).unwrap();
    let found = operators(&translation.model);
    assert_eq!(found.iter().filter(|operator| **operator == "Slice").count(), 4, "{found:?}");
    assert_eq!(found.iter().filter(|operator| **operator == "Gather").count(), 1, "{found:?}");
}

#[test]
fn what_could_be_of_any_size_is_refused() {
    for (distance, expected) in [
        (i32::MAX, "moves elements together, or further apart than 128"),
        (0, "moves elements together, or further apart than 128"),
        (3, "has a result of another size than it says"),
    ] {
        let mut model = builder::Model::new();
        let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
        let distances = model.ints("distances", &[4], &[1, distance, 1, 1]);
        let (fill, out) = (model.floats("fill", &[], &[0.0]), model.tensor("out", FLOAT, &[1, 4, 4, 2]));
        model.operator(DILATE, &[image, distances, fill], &[out], Vec::new());
        (model.inputs, model.outputs) = (vec![image], vec![out]);
        let error = translate(&read(&model), &wanted(Order::AsStored, &["out"])).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{distance}: {error}");
    }
    // A few bytes say a constant that no machine holds.
    let mut model = builder::Model::new();
    let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
    let (places, sizes) = (model.ints("places", &[1, 2], &[0, 0]), model.ints("sizes", &[2], &[1 << 20; 2]));
    let (one, out) = (model.floats("one", &[], &[1.0]), model.tensor("out", FLOAT, &[1 << 20, 1 << 20]));
    model.operator(SPARSE_TO_DENSE, &[places, sizes, one, one], &[out], Vec::new());
    (model.inputs, model.outputs) = (vec![image], vec![out]);
    let error = translate(&read(&model), &wanted(Order::AsStored, &["out"])).unwrap_err();
    assert!(error.to_string().ends_with("puts values among more than 131072 elements"), "{error}");
}

#[test]
fn a_network_can_end_before_what_thins_out_its_boxes() {
    let mut model = network();
    let (out, boxes) = (model.outputs[0], model.tensor("boxes", FLOAT, &[1, 10, 4]));
    model.own_operator("TFLite_Detection_PostProcess", &[out], &[boxes], &[]);
    model.outputs = vec![boxes];
    let error = translate(&read(&model), &wanted(Order::AsStored, &["boxes"])).unwrap_err();
    assert!(error.to_string().ends_with("(`boxes`): chooses among boxes one after the other, which no network does"));
    assert_eq!(
        error.hints()[..2],
        [
            "end the network before TFLite_Detection_PostProcess: `outputs: [{name: \"out\"}]`",
            "leave post-processing out when the model is converted to TFLite",
        ]
    );
}

#[test]
fn operators_of_tensorflow_are_named() {
    let mut model = network();
    let (out, best) = (model.outputs[0], model.tensor("best", FLOAT, &[1, 36]));
    model.own_operator("FlexWhere", &[out], &[best], &[]);
    model.outputs = vec![best];
    let error = translate(&read(&model), &wanted(Order::AsStored, &["best"])).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("FlexWhere (`best`): an operator of TensorFlow's, which a model in TFLite only names"),
        "{error}"
    );
    assert_eq!(
        error.hints(),
        [
            "end the network before FlexWhere: `outputs: [{name: \"out\"}]`",
            "convert the model to TFLite without `SELECT_TF_OPS`, with layers that TFLite has",
            "or export the model to ONNX from where it was trained",
        ]
    );
}

#[test]
fn a_network_is_not_ended_at_what_is_computed_from_constants() {
    let mut model = with_strangers();
    let (some, sum) = (model.floats("some", &[1], &[1.0]), model.tensor("sum", FLOAT, &[1]));
    model.operator(ADD, &[some, some], &[sum], Vec::new());
    let (out, result) = (model.outputs[0], model.tensor("result", FLOAT, &[1, 36]));
    model.operator(CUSTOM, &[out, sum], &[result], Vec::new());
    model.outputs = vec![result];
    // The strangers before it are not asked for.
    let wanted = Wanted {
        inputs: vec![WantedInput { name: "best".into(), shape: vec![1, 36], order: Order::AsStored }],
        outputs: vec!["result".into()],
    };
    let error = translate(&read(&model), &wanted).unwrap_err();
    assert_eq!(error.hints()[0], "end the network before Mine: `outputs: [{name: \"best\"}]`");
}

#[test]
fn impossible_options_of_an_operator_of_mediapipe_are_named() {
    for (content, expected) in [
        (vec![1_i32, 2, 0], "an impossible stride: 0"),
        (vec![3, 2, 2], "an impossible padding: 3"),
        (vec![2, 2], "an impossible stride: 0"),
        (Vec::new(), "an impossible padding: 0"),
    ] {
        let mut model = builder::Model::new();
        let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
        let (weights, bias) = (model.floats("w", &[1, 2, 2, 2], &[1.0; 8]), model.floats("b", &[1], &[0.0]));
        let out = model.tensor("out", FLOAT, &[1, 8, 8, 1]);
        model.own_operator("Convolution2DTransposeBias", &[image, weights, bias], &[out], &content);
        (model.inputs, model.outputs) = (vec![image], vec![out]);
        let error = translate(&read(&model), &wanted(Order::AsStored, &["out"])).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{content:?}: {error}");
    }
}

#[test]
fn a_convolution_between_blocks_is_one_with_gaps() {
    let model = read(&blocks());
    let whole = translate(&model, &wanted(Order::ChannelsFirst, &["values", "places"])).unwrap();
    assert_eq!(operators(&whole.model), ["Conv", "TopK", "Cast", "Reshape", "Reshape"]);
    let inside = translate(&model, &wanted(Order::ChannelsFirst, &["convolved", "values"])).unwrap();
    assert!(operators(&inside.model).contains(&"Pad"), "what is wanted is computed");
}

#[test]
fn limits_of_cells_are_written_out_only_where_cells_can_reach_them() {
    const TANH: i8 = 4;
    for (steps, limit, activation, expected) in [
        (10_i32, 10.0, TANH, Ok(("LSTM", 1))),
        (11, 10.0, TANH, Ok(("MatMul", 11))),
        (200, 0.0, TANH, Ok(("LSTM", 1))),
        (200, 10.0, TANH, Err("does more in its 200 steps than ONNX knows; up to 128 are written out")),
        (10, 0.0, 1, Err("has another activation than the hyperbolic tangent")),
    ] {
        let mut wanted = wanted(Order::AsStored, &["out"]);
        wanted.inputs[0].shape = vec![1, u64::from(steps.unsigned_abs()), 1];
        let translation = translate(&read(&recurrent(steps, limit, activation)), &wanted);
        match (translation, expected) {
            (Ok(translation), Ok((operator, count))) => {
                let found = operators(&translation.model).into_iter().filter(|found| *found == operator).count();
                assert_eq!(found, count, "{steps} {limit}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().ends_with(expected), "{error}"),
            (found, _) => panic!("{steps} {limit}: {found:?}"),
        }
    }
}

#[test]
fn loops_are_written_out_where_it_is_known_how_often_they_go_round() {
    let translated = |limit: Option<i32>| {
        let model = read(&builder::repeated(limit));
        let input = |id: &usize| {
            let tensor = model.tensor(*id).unwrap();
            let shape = tensor.shape.iter().map(|size| u64::try_from(*size).unwrap()).collect();
            WantedInput { name: tensor.name.clone(), shape, order: Order::AsStored }
        };
        let wanted = Wanted { inputs: model.inputs().iter().map(input).collect(), outputs: vec!["out".into()] };
        translate(&model, &wanted)
    };
    assert_eq!(operators(&translated(Some(3)).unwrap().model), ["Add", "Add", "Add", "Identity"]);
    assert_eq!(operators(&translated(Some(0)).unwrap().model), ["Identity"]);
    for limit in [None, Some(i32::MAX)] {
        let text = translated(limit).unwrap_err().to_string();
        assert!(text.contains("WHILE (`end`): repeats as often as what is computed says, or too often"), "{text}");
    }
}

#[test]
fn a_network_can_be_cut() {
    let model = read(&with_strangers());
    let before = translate(&model, &wanted(Order::AsStored, &["out", "conv"])).unwrap();
    let names: Vec<String> = before.model.outputs().into_iter().map(|output| output.name).collect();
    assert_eq!(names, ["out", "conv"]);
    let inner = WantedInput { name: "pad".into(), shape: vec![1, 6, 6, 1], order: Order::ChannelsFirst };
    let inside = translate(&model, &Wanted { inputs: vec![inner], outputs: vec!["out".into()] }).unwrap();
    assert_eq!(operators(&inside.model), ["Reshape", "Add"]);
    assert_eq!(inside.model.inputs()[0].shape().unwrap().to_string(), "[1, 1, 6, 6]");
}

#[test]
fn what_does_not_exist_is_named() {
    let model = read(&network());
    let error = |wanted: &Wanted| translate(&model, wanted).unwrap_err().to_string();
    assert_eq!(error(&wanted(Order::AsStored, &["no"])), "the TFLite model has no tensor `no`");
    let nothing = Wanted { inputs: Vec::new(), outputs: vec!["out".into()] };
    assert!(error(&nothing).starts_with("output `out` needs `img`, which is neither among the inputs nor"));
    // The batch is open, but only that of the input.
    let mut other = wanted(Order::AsStored, &["out"]);
    other.inputs[0].shape[0] = 2;
    assert!(error(&other).contains("CONV_2D (`conv`): has a result whose shape does not follow from its operands"));
    let mut other = wanted(Order::AsStored, &["out"]);
    other.inputs[0].shape[1] = 8;
    assert_eq!(error(&other), "input `img` of the TFLite model has the shape [1, 4, 4, 2], not [1, 8, 4, 2]");
}

#[test]
fn integers_outside_are_kept_in_front_and_become_real_behind() {
    let mut model = builder::Model::new();
    let image = model.tensor("img", INT8, &[1, 4, 4, 2]);
    model.with(4, quantization(&[0.5], &[-128], 0));
    let out = model.tensor("out", INT8, &[1, 4, 4, 2]);
    model.with(4, quantization(&[0.25], &[-128], 0));
    model.operator(ADD, &[image, image], &[out], Vec::new());
    (model.inputs, model.outputs) = (vec![image], vec![out]);
    let translation = translate(&read(&model), &wanted(Order::AsStored, &["out"])).unwrap();
    // The result's integers stand for 0 to 63.75, so an activation may have been left out.
    assert_eq!(operators(&translation.model), ["Sub", "Mul", "Add", "Clip"]);
    assert_eq!(translation.unrounded, ["ADD `out`"]);
    assert_eq!(translation.real_outputs, ["out"]);
    assert_eq!(translation.quantized_inputs, [QuantizedInput { name: "img".into(), element: ElementType::Int8 }]);
    for value in translation.model.inputs().iter().chain(&translation.model.outputs()) {
        assert_eq!(value.element(), Some(ElementType::Float32));
    }
}
