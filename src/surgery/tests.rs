//! Passes are judged by what the network computes before and after them.

use std::collections::BTreeMap;

use super::evaluate::{Array, array, evaluate};
use super::*;
use crate::onnx::tests::builder::{self, Dim, FLOAT, FLOAT16, Graph, INT8, Node, Tensor, UINT8, sizes};
use crate::onnx::{ElementType, OnnxError};

fn model(graph: Graph, opset: i64) -> Model {
    Model::parse(builder::Model::new(graph).opset(opset).bytes().into()).unwrap()
}

fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

/// Compares element by element.
fn assert_close(found: &[Array], expected: &[Array], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.dims, expected.dims);
        for (found, expected) in found.values.iter().zip(&expected.values) {
            assert!((found - expected).abs() <= tolerance, "{found} instead of {expected}");
        }
    }
}

/// Writes and reads a model, to be sure that what passes make is what a reader sees.
fn reread(model: &Model) -> Model {
    Model::parse(model.save().into()).unwrap()
}

#[test]
fn hard_sigmoid_computes_the_same() {
    let samples = [-1e4, -3.0, -2.5, -1.0, 0.0, 0.4, 2.5, 3.0, 1e4];
    let input = array(&[1, 9], &samples);
    for opset in [6, 10, 11, 13, 17] {
        for element in [FLOAT, FLOAT16] {
            for parameters in [None, Some((1.0 / 6.0, 0.5)), Some((0.0, 2.0)), Some((-0.3, -0.1))] {
                let plain = Node::new("HardSigmoid", &["r"], &["y"]).named("act");
                let node = match parameters {
                    Some((alpha, beta)) => plain.float("alpha", alpha).float("beta", beta),
                    None => plain,
                };
                let graph = Graph::new()
                    .input("x", element, &sizes(&[1, 9]))
                    // The type of `r` follows from that of `x`.
                    .node(Node::new("Identity", &["x"], &["r"]))
                    .node(node)
                    .output("y", element, &sizes(&[1, 9]));
                let before = model(graph, opset);
                let (after, operations) = operate(before.clone(), &[&LowerHardSigmoid]).unwrap();
                let after = reread(&after);
                assert_eq!(operators(&after), ["Identity", "Mul", "Add", "Clip"]);
                let tolerance = if element == FLOAT16 { 0.02 } else { 1e-6 };
                let inputs = [("x", input.clone())];
                assert_close(&evaluate(&after, &inputs), &evaluate(&before, &inputs), tolerance);
                for constant in &after.graph().initializer {
                    assert_eq!(constant.data_type(), element, "constants have the type of what they meet");
                }
                assert_eq!(operations.len(), 1);
                assert_eq!(operations[0].removed_nodes, ["HardSigmoid `act`"]);
                assert_eq!(operations[0].added_nodes.len(), 3);
            }
        }
    }
}

#[test]
fn hard_sigmoid_of_unknown_type_is_named() {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[1]))
        .node(Node::new("Odd", &["x"], &["o"]).domain("odd"))
        .node(Node::new("HardSigmoid", &["o"], &["y"]).named("act"))
        .node(Node::new("Identity", &["y"], &["z"]))
        .output("z", FLOAT, &sizes(&[1]));
    let bytes = builder::Model::new(graph).domain("odd", 1).bytes();
    let error = operate(Model::parse(bytes.into()).unwrap(), &[&LowerHardSigmoid]).unwrap_err();
    let SurgeryError::Pass { source: PassError::UnknownElementType { node, value }, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((node.to_string().as_str(), value.as_str()), ("HardSigmoid `act`", "o"));
    assert_eq!(error.hints().len(), 1);
}

#[test]
fn names_that_are_taken_are_avoided() {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[1]))
        .initializer(Tensor::floats("y/scaled/constant", &[], &[9.0]))
        .node(Node::new("HardSigmoid", &["x"], &["y"]).named("y/scaled"))
        .node(Node::new("Mul", &["y", "y/scaled/constant"], &["z"]).named("y/Clip"))
        .output("z", FLOAT, &sizes(&[1]));
    let before = model(graph, 13);
    let (after, _) = operate(before.clone(), &[&LowerHardSigmoid]).unwrap();
    let inputs = [("x", array(&[1], &[0.3]))];
    assert_close(&evaluate(&after, &inputs), &evaluate(&before, &inputs), 1e-6);
    let names: std::collections::BTreeSet<_> = after.graph().node.iter().map(|node| node.name()).collect();
    assert_eq!(names.len(), 4);
}

#[test]
fn constants_stop_being_inputs() {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2]))
        .input("w", FLOAT, &sizes(&[2]))
        .initializer(Tensor::floats("w", &[2], &[2.0, 3.0]))
        .node(Node::new("Mul", &["x", "w"], &["y"]))
        .output("y", FLOAT, &sizes(&[2]));
    let before = Model::parse(builder::Model::new(graph).ir(3).bytes().into()).unwrap();
    let (after, operations) = operate(before.clone(), &[&FreeInitializers]).unwrap();
    assert_eq!(after.graph().input.len(), 1);
    assert_eq!(after.ir_version(), 4, "before version 4 every initializer has to be an input");
    assert_eq!(operations[0].removed_inputs, ["w"]);
    let inputs = [("x", array(&[2], &[1.0, -1.0]))];
    assert_eq!(evaluate(&after, &inputs), evaluate(&before, &inputs));
    let (again, operations) = operate(after.clone(), &[&FreeInitializers]).unwrap();
    assert_eq!((again, operations), (after, Vec::new()));
}

#[test]
fn the_onnx_domain_is_written_plainly() {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2]))
        .node(Node::new("Relu", &["x"], &["a"]).domain("ai.onnx").named("first"))
        .node(Node::new("Relu", &["a"], &["y"]))
        .output("y", FLOAT, &sizes(&[2]));
    let before = model(graph, 13);
    let (after, operations) = operate(before.clone(), &[&PlainDomain]).unwrap();
    assert!(reread(&after).graph().node.iter().all(|node| node.domain().is_empty()));
    assert_eq!((operations.len(), operations[0].removed_nodes.as_slice()), (1, &["Relu `first`".to_owned()][..]));
    let inputs = [("x", array(&[2], &[1.0, -1.0]))];
    assert_eq!(evaluate(&after, &inputs), evaluate(&before, &inputs));
}

#[test]
fn dead_code_goes_and_live_code_stays() {
    let nested = Graph::new().node(Node::new("Add", &["a", "v"], &["inner"])).output("inner", FLOAT, &[]);
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2]))
        .input("idle", FLOAT, &sizes(&[2]))
        .initializer(Tensor::floats("v", &[2], &[1.0, 2.0]))
        .initializer(Tensor::floats("dead", &[2], &[1.0, 2.0]))
        .initializer(Tensor::floats("out", &[1], &[5.0]))
        .initializer(Tensor::raw("c", builder::BOOL, &[], &[1]))
        .node(Node::new("Relu", &["x"], &["a"]))
        .node(Node::new("Mul", &["a", "dead"], &["d1"]).named("d1"))
        .node(Node::new("Relu", &["d1"], &["d2"]).named("d2"))
        .node(Node::new("If", &["c"], &["y"]).graph("then_branch", &nested).graph("else_branch", &nested))
        .value("d1", FLOAT, &sizes(&[2]))
        .output("y", FLOAT, &sizes(&[2]))
        .output("out", FLOAT, &sizes(&[1]));
    let before = model(graph, 13);
    let (after, operations) = operate(before.clone(), &[&DeadCode]).unwrap();
    assert_eq!(operators(&after), ["Relu", "If"]);
    assert_eq!(after.graph().initializer.len(), 3);
    assert_eq!(after.graph().value_info.len(), 0);
    assert_eq!(after.graph().input.len(), 2);
    assert_eq!(operations.len(), 1);
    assert_eq!(operations[0].removed_nodes, ["Mul `d1`", "Relu `d2`"]);
    let inputs = [("x", array(&[2], &[1.0, -1.0])), ("idle", array(&[2], &[0.0; 2]))];
    assert_eq!(evaluate(&after, &inputs), evaluate(&before, &inputs));
}

fn preprocess(reverse: bool, mean: &[f64], scale: &[f64], layout: &str) -> InputPreprocessing {
    InputPreprocessing { reverse_channels: reverse, mean: mean.into(), scale: scale.into(), layout: layout.into() }
}

/// `y = relu(x)` of a shape.
fn relu(dims: &[i64], element: i32) -> Graph {
    let dims = sizes(dims);
    Graph::new().input("x", element, &dims).node(Node::new("Relu", &["x"], &["y"])).output("y", element, &dims)
}

fn with(input: &str, wanted: InputPreprocessing) -> Preprocess {
    Preprocess::new(BTreeMap::from([(input.to_owned(), wanted)]))
}

#[test]
fn inputs_are_reversed_then_centred_then_scaled() {
    /// Shape, what is wanted, input, expected output, expected operators.
    type Case<'a> = (&'a [i64], InputPreprocessing, &'a [f64], &'a [f64], &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        // Mean and scale stand in the order of the network's own channels, which come after the reversal.
        (
            &[1, 3, 1, 2],
            preprocess(true, &[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0], "NCHW"),
            &[10.0, 11.0, 20.0, 21.0, 30.0, 31.0],
            &[29.0, 30.0, 9.0, 9.5, 1.75, 2.0],
            &["Split", "Concat", "Sub", "Mul", "Relu"],
        ),
        (
            &[1, 1, 2, 3],
            preprocess(true, &[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0], "NHWC"),
            &[10.0, 20.0, 30.0, 11.0, 21.0, 31.0],
            &[29.0, 9.0, 1.75, 30.0, 9.5, 2.0],
            &["Split", "Concat", "Sub", "Mul", "Relu"],
        ),
        (&[2, 1], preprocess(true, &[], &[], "CH"), &[1.0, 2.0], &[2.0, 1.0], &["Split", "Concat", "Relu"]),
        (
            &[1, 1, 1, 2],
            preprocess(true, &[100.0], &[50.0], "NCHW"),
            &[150.0, 200.0],
            &[1.0, 2.0],
            &["Sub", "Mul", "Relu"],
        ),
        (
            &[1, 4],
            preprocess(false, &[1.0, 2.0, 3.0, 4.0], &[], "NC"),
            &[5.0, 5.0, 5.0, 5.0],
            &[4.0, 3.0, 2.0, 1.0],
            &["Sub", "Relu"],
        ),
        (&[2, 2], preprocess(false, &[], &[2.0], ""), &[2.0, 4.0, 6.0, 8.0], &[1.0, 2.0, 3.0, 4.0], &["Mul", "Relu"]),
        (&[1, 2], preprocess(false, &[0.0, 0.0], &[1.0], "NC"), &[1.0, 2.0], &[1.0, 2.0], &["Relu"]),
        (&[1, 2], InputPreprocessing::default(), &[1.0, 2.0], &[1.0, 2.0], &["Relu"]),
        (
            &[2, 1, 2],
            preprocess(true, &[1.0, 0.0], &[], "nhc"),
            &[1.0, 2.0, 3.0, 4.0],
            &[1.0, 1.0, 3.0, 3.0],
            &["Split", "Concat", "Sub", "Relu"],
        ),
    ];
    for opset in [6, 11, 13, 18] {
        for (dims, wanted, input, expected, nodes) in &cases {
            let before = model(relu(dims, FLOAT), opset);
            let (after, operations) = operate(before, &[&with("x", wanted.clone()), &DeadCode]).unwrap();
            let after = reread(&after);
            assert_eq!(operators(&after), *nodes, "{wanted:?}");
            let dims: Vec<usize> = dims.iter().map(|&size| size as usize).collect();
            let found = evaluate(&after, &[("x", array(&dims, input))]);
            assert_close(&found, &[array(&dims, expected)], 1e-6);
            assert_eq!(operations.len(), usize::from(nodes.len() > 1));
            for name in after.graph().node.iter().flat_map(|node| &node.output).filter(|name| name.starts_with("x/")) {
                if !name.starts_with("x/channel") {
                    assert_eq!(after.value(name).unwrap().element(), Some(ElementType::Float32));
                }
            }
        }
    }
}

#[test]
fn halves_meet_halves_and_integers_are_only_reversed() {
    let before = model(relu(&[1, 2], FLOAT16), 13);
    let (after, _) = operate(before, &[&with("x", preprocess(true, &[1.0, 2.0], &[255.0], "NC"))]).unwrap();
    let halves = after.graph().initializer.iter().filter(|tensor| tensor.data_type() == FLOAT16).count();
    assert_eq!(halves, 2);
    let before = model(relu(&[1, 2], UINT8), 13);
    let (after, _) = operate(before.clone(), &[&with("x", preprocess(true, &[], &[], "NC"))]).unwrap();
    assert_eq!(operators(&after), ["Split", "Concat", "Relu"]);
    // Of other integers the compiler reverses no channels.
    let others = model(relu(&[1, 2], INT8), 13);
    let (after, _) = operate(others, &[&with("x", preprocess(true, &[], &[], "NC"))]).unwrap();
    assert_eq!(operators(&after), ["Cast", "Split", "Concat", "Cast", "Relu"]);
    let error = operate(before, &[&with("x", preprocess(false, &[1.0], &[], "NC"))]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "mean and scale need an input of floating numbers, but `x` is uint8");
}

#[test]
fn all_readers_of_an_input_are_rewired() {
    let nested = |shadow: &str| {
        Graph::new()
            .node(Node::new("Relu", &["x"], &[shadow]))
            .node(Node::new("Identity", &[shadow], &["inner"]))
            .output("inner", FLOAT, &[])
    };
    let other = Graph::new().output("x", FLOAT, &[]);
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[1, 2]))
        .input("c", builder::BOOL, &[])
        .node(Node::new("If", &["c"], &["i"]).graph("then_branch", &nested("s")).graph("else_branch", &other))
        .node(Node::new("Add", &["x", "x"], &["y"]))
        .output("i", FLOAT, &sizes(&[1, 2]))
        .output("x", FLOAT, &sizes(&[1, 2]))
        .output("y", FLOAT, &sizes(&[1, 2]));
    let before = model(graph, 13);
    let (after, operations) = operate(before, &[&with("x", preprocess(true, &[1.0, 2.0], &[], "NC"))]).unwrap();
    assert_eq!(operations[0].rewired, [("x".to_owned(), "x/centred".to_owned())]);
    for condition in [0.0, 1.0] {
        let inputs = [("x", array(&[1, 2], &[5.0, 7.0])), ("c", array(&[], &[condition]))];
        let found = evaluate(&reread(&after), &inputs);
        let centred = array(&[1, 2], &[6.0, 3.0]);
        assert_close(&found, &[centred.clone(), centred, array(&[1, 2], &[12.0, 6.0])], 1e-9);
    }
}

#[test]
fn a_nested_value_of_the_same_name_is_left_alone() {
    let nested = Graph::new()
        .initializer(Tensor::floats("x", &[1, 2], &[8.0, 9.0]))
        .node(Node::new("Identity", &["x"], &["inner"]))
        .output("inner", FLOAT, &[]);
    let graph = relu(&[1, 2], FLOAT)
        .initializer(Tensor::raw("c", builder::BOOL, &[], &[1]))
        .node(Node::new("If", &["c"], &["i"]).graph("then_branch", &nested).graph("else_branch", &nested))
        .output("i", FLOAT, &sizes(&[1, 2]));
    let (after, _) = operate(model(graph, 13), &[&with("x", preprocess(false, &[1.0], &[], "NC"))]).unwrap();
    let found = evaluate(&after, &[("x", array(&[1, 2], &[5.0, 7.0]))]);
    assert_close(&found, &[array(&[1, 2], &[4.0, 6.0]), array(&[1, 2], &[8.0, 9.0])], 0.0);
}

#[test]
fn preprocessing_that_cannot_be_done_is_refused() {
    let three = || relu(&[1, 3, 2, 2], FLOAT);
    let dynamic = || {
        let dims = [Dim::Size(1), Dim::Symbol("c")];
        Graph::new().input("x", FLOAT, &dims).node(Node::new("Relu", &["x"], &["y"])).output("y", FLOAT, &dims)
    };
    let cases = [
        (three(), "X", preprocess(true, &[], &[], "NCHW"), "the model has no input `X` to preprocess"),
        (
            three(),
            "x",
            preprocess(true, &[], &[], "NCH"),
            "layout NCH of input `x` has 3 letters, but its shape [1, 3, 2, 2] has 4 dimensions",
        ),
        (
            three(),
            "x",
            preprocess(true, &[], &[], "NDHW"),
            "the reversal of channels of input `x` needs a dimension of channels, but its layout is `NDHW`",
        ),
        (
            three(),
            "x",
            preprocess(false, &[1.0, 2.0, 3.0], &[], ""),
            "mean of input `x` needs a dimension of channels, but its layout is ``",
        ),
        (three(), "x", preprocess(false, &[1.0, 2.0], &[], "NCHW"), "input `x` has 3 channels, but mean has 2 values"),
        (
            three(),
            "x",
            preprocess(false, &[], &[1.0, 2.0, 3.0, 4.0], "NCHW"),
            "input `x` has 3 channels, but scale has 4 values",
        ),
        (
            three(),
            "x",
            preprocess(false, &[], &[1.0, 0.0, 3.0], "NCHW"),
            "scale of input `x` holds 0, which float32 cannot be computed with",
        ),
        (three(), "x", preprocess(false, &[f64::NAN], &[], "NCHW"), "mean of input `x` holds NaN"),
        (three(), "x", preprocess(false, &[], &[f64::INFINITY], "NCHW"), "scale of input `x` holds inf"),
        (
            relu(&[1], FLOAT16),
            "x",
            preprocess(false, &[1e6], &[], "C"),
            "mean of input `x` holds 1000000, which float16",
        ),
        (
            dynamic(),
            "x",
            preprocess(true, &[], &[], "NC"),
            "the channels of input `x` cannot be reversed: how many there are is not known",
        ),
    ];
    for (graph, input, wanted, expected) in cases {
        let error = operate(model(graph, 13), &[&with(input, wanted)]).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with(expected), "{source}\nexpected: {expected}");
    }
}

/// Adds an `Identity` for ever.
struct Endless;

impl Pass for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn reason(&self) -> &'static str {
        "to show that the rounds are bounded"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let mut node = model.graph().node[0].clone();
        node.output[0] = format!("e{}", model.graph().node.len());
        Ok(Some(Patch { inserted_nodes: [(0, vec![node])].into(), ..Patch::default() }))
    }
}

#[test]
fn passes_without_end_and_invalid_patches_are_caught() {
    let error = operate(model(relu(&[1], FLOAT), 13), &[&Endless]).unwrap_err();
    assert!(matches!(error, SurgeryError::NoFixedPoint { pass: "endless", .. }));

    struct Broken;
    impl Pass for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn reason(&self) -> &'static str {
            "to show that its patch is refused"
        }
        fn apply<'model>(&self, _: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
            Ok(Some(Patch { removed_nodes: [0].into(), ..Patch::default() }))
        }
    }
    let error = operate(model(relu(&[1], FLOAT), 13), &[&Broken]).unwrap_err();
    let SurgeryError::Patch { source: PatchError::Invalid(OnnxError::UndefinedOutput { value }), .. } = error else {
        panic!("{error}");
    };
    assert_eq!(value, "y");
}

#[test]
fn damaged_models_are_refused_or_rewritten_but_never_panic() {
    let nested = Graph::new().node(Node::new("Relu", &["x"], &["inner"])).output("inner", FLOAT, &[]);
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[1, 3]))
        .initializer(Tensor::raw("c", builder::BOOL, &[], &[1]))
        .node(Node::new("HardSigmoid", &["x"], &["h"]).float("alpha", 0.1))
        .node(Node::new("If", &["c"], &["i"]).graph("then_branch", &nested).graph("else_branch", &nested))
        .node(Node::new("Add", &["h", "i"], &["y"]).domain("ai.onnx"))
        .output("y", FLOAT, &sizes(&[1, 3]));
    let whole = builder::Model::new(graph).bytes();
    let preprocess = with("x", preprocess(true, &[1.0, 2.0, 3.0], &[2.0], "NC"));
    let passes: [&dyn Pass; 11] = [
        &FreeInitializers,
        &PlainDomain,
        &InlineFunctions,
        &InlineBranches,
        &UnrollLoops,
        &FoldConstants,
        &RemoveNoOps,
        &LowerHardSigmoid,
        &preprocess,
        &DeadCode,
        &UnusedDomains,
    ];
    let mut rewritten = 0;
    for index in 0..whole.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff, whole[index] ^ 1, whole[index] ^ 2, whole[index] ^ 0x10] {
            let mut damaged = whole.clone();
            damaged[index] = value;
            let Ok(model) = Model::parse(damaged.into()) else {
                continue;
            };
            let _ = crate::onnx::select_outputs(&model, &["h".to_owned(), "i".to_owned()]);
            match operate(model, &passes) {
                Ok((model, _)) => {
                    rewritten += 1;
                    support::unsupported(&model, support::FrontEnd::Importer);
                    support::unsupported(&model, support::FrontEnd::ModelOptimizer);
                    assert_eq!(reread(&model), model);
                }
                Err(SurgeryError::Patch { pass, source }) => panic!("{pass}: {source:?}"),
                Err(_) => {}
            }
        }
    }
    assert!(rewritten > 100, "{rewritten}");
}
