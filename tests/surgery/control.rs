//! Branches, loops and functions: written out, or refused by name.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::onnx::proto::{FunctionProto, ModelProto, NodeProto, OperatorSetIdProto};
use modelconverter::surgery::support::{FrontEnd, unsupported};
use modelconverter::surgery::{PassError, SurgeryError, operate};

use crate::builder::{self, BOOL, Dim, FLOAT, Graph, INT64, Node, Tensor, sizes};
use crate::pairs::{PASSES, Pair, assert_same, rewritten};

fn model(graph: Graph, opset: i64) -> Model {
    Model::parse(builder::Model::new(graph).opset(opset).bytes().into()).unwrap()
}

fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

fn pair(name: &str, before: Model, expected: &[&str]) -> Pair {
    let (after, _) = rewritten(&before, &PASSES);
    assert_eq!(operators(&after), expected, "{name}");
    Pair { name: name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 0.0 }
}

/// A branch that reads `x` and has a constant and names that the other branch has too.
fn branch(operator: &str) -> Graph {
    Graph::new()
        .initializer(Tensor::floats("k", &[1], &[0.5]))
        .node(Node::new(operator, &["x", "k"], &["inner"]).named("work"))
        .node(Node::new("Relu", &["inner"], &["result"]))
        .node(Node::new("Identity", &["x"], &["same"]))
        .output("result", FLOAT, &[])
        .output("same", FLOAT, &[])
}

#[test]
fn branches_that_are_decided_are_plain() {
    let whole = |condition: Graph| {
        condition
            .input("x", FLOAT, &sizes(&[2, 3]))
            .node(
                Node::new("If", &["c"], &["y", "z"])
                    .named("choice")
                    .graph("then_branch", &branch("Add"))
                    .graph("else_branch", &branch("Mul")),
            )
            .node(Node::new("Neg", &["z"], &["n"]))
            .output("y", FLOAT, &sizes(&[2, 3]))
            .output("n", FLOAT, &sizes(&[2, 3]))
    };
    let truth = |byte: u8| Graph::new().initializer(Tensor::raw("c", BOOL, &[], &[byte]));
    // The rank of `x` decides, as exporters write it.
    let computed = Graph::new()
        .initializer(Tensor::integers("three", &[], &[3]))
        .node(Node::new("Shape", &["x"], &["s"]))
        .node(Node::new("Shape", &["s"], &["r"]))
        .node(Node::new("Squeeze", &["r"], &["rank"]))
        .node(Node::new("Equal", &["rank", "three"], &["c"]));
    let same = Graph::new()
        .input("x", FLOAT, &sizes(&[2, 3]))
        .input("c", BOOL, &[])
        .node(
            Node::new("If", &["c"], &["y", "z"])
                .graph("then_branch", &branch("Add"))
                .graph("else_branch", &branch("Add")),
        )
        .output("y", FLOAT, &sizes(&[2, 3]))
        .output("z", FLOAT, &sizes(&[2, 3]));
    assert_same(&[
        pair("true", model(whole(truth(1)), 13), &["Add", "Relu", "Neg"]),
        pair("false", model(whole(truth(0)), 11), &["Mul", "Relu", "Neg"]),
        pair("computed", model(whole(computed), 13), &["Mul", "Relu", "Neg"]),
        pair("the same", model(same, 13), &["Add", "Relu", "Identity"]),
    ]);
}

/// A network whose input `c`, of some shape, decides between two branches.
fn undecided(condition: &[i64], yes: &Graph, no: &Graph) -> Model {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2, 3]))
        .input("c", BOOL, &sizes(condition))
        .node(Node::new("If", &["c"], &["y", "z"]).graph("then_branch", yes).graph("else_branch", no))
        .output("y", FLOAT, &[Dim::Unknown, Dim::Unknown])
        .output("z", FLOAT, &[Dim::Unknown, Dim::Unknown]);
    model(graph, 13)
}

#[test]
fn a_branch_that_depends_on_the_input_is_chosen() {
    // Numbers without end in the branch that is not taken stay there.
    let endless = Graph::new()
        .initializer(Tensor::floats("k", &[1], &[f32::INFINITY]))
        .node(Node::new("Mul", &["x", "k"], &["inner"]))
        .node(Node::new("Identity", &["x"], &["same"]))
        .output("inner", FLOAT, &[])
        .output("same", FLOAT, &[]);
    let computed = Graph::new()
        .input("x", FLOAT, &sizes(&[2, 3]))
        .node(Node::new("ReduceMax", &["x"], &["most"]).int("keepdims", 0))
        .initializer(Tensor::floats("half", &[], &[0.5]))
        .node(Node::new("Less", &["most", "half"], &["dark"]))
        .node(
            Node::new("If", &["dark"], &["y", "z"])
                .graph("then_branch", &branch("Add"))
                .graph("else_branch", &branch("Mul")),
        )
        .output("y", FLOAT, &sizes(&[2, 3]))
        .output("z", FLOAT, &sizes(&[2, 3]));
    let both = ["Add", "Relu", "Mul", "Relu", "Where", "Where"];
    assert_same(&[
        pair("fed", undecided(&[], &branch("Add"), &branch("Mul")), &both),
        pair(
            "fed in brackets",
            undecided(&[1], &branch("Add"), &branch("Mul")),
            &["Add", "Relu", "Mul", "Relu", "Reshape", "Where", "Where"],
        ),
        pair("endless", undecided(&[], &branch("Add"), &endless), &["Add", "Relu", "Mul", "Where", "Where"]),
        pair(
            "endless, the other way",
            undecided(&[], &endless, &branch("Add")),
            &["Mul", "Add", "Relu", "Where", "Where"],
        ),
        pair("computed", model(computed, 13), &["ReduceMax", "Less", "Add", "Relu", "Mul", "Relu", "Where", "Where"]),
    ]);
}

#[test]
fn branches_of_different_shapes_stay_and_are_refused() {
    let one = Graph::new()
        .initializer(Tensor::floats("k", &[1, 1], &[0.5]))
        .node(Node::new("Identity", &["k"], &["inner"]))
        .node(Node::new("Relu", &["x"], &["positive"]))
        .output("inner", FLOAT, &[])
        .output("positive", FLOAT, &[]);
    let kept = undecided(&[], &one, &branch("Add"));
    let refusals = unsupported(&rewritten(&kept, &PASSES).0, FrontEnd::Importer);
    assert_eq!(
        refusals[0].reason,
        "the tools for MyriadX know no branches, and its two branches give values of different types or shapes"
    );
    assert_same(&[pair("of different shapes", kept, &["If"])]);
}

/// Adds the number of the round to the state, and collects twice the state.
fn body(condition: Node) -> Graph {
    Graph::new()
        .input("i", INT64, &[])
        .input("go", BOOL, &[])
        .input("state", FLOAT, &sizes(&[2, 3]))
        .initializer(Tensor::floats("two", &[1, 1], &[2.0]))
        .node(Node::new("Cast", &["i"], &["number"]).int("to", 1))
        .node(Node::new("Add", &["state", "number"], &["next"]).named("step"))
        .node(Node::new("Mul", &["next", "two"], &["twice"]))
        .node(Node::new("Constant", &[], &["three"]).tensor("value", &Tensor::integers("", &[], &[3])))
        .node(condition)
        .output("on", BOOL, &[])
        .output("next", FLOAT, &sizes(&[2, 3]))
        .output("twice", FLOAT, &sizes(&[2, 3]))
}

fn looped(trips: &[i64], condition: Node) -> Graph {
    let graph = Graph::new().input("x", FLOAT, &sizes(&[2, 3]));
    let (graph, count) = match trips {
        [trips] => (graph.initializer(Tensor::integers("m", &[], &[*trips])), "m"),
        _ => (graph, ""),
    };
    graph
        .node(Node::new("Loop", &[count, "", "x"], &["y", "all"]).named("loop").graph("body", &body(condition)))
        .output("y", FLOAT, &[Dim::Unknown, Dim::Unknown])
        .output("all", FLOAT, &[Dim::Unknown, Dim::Unknown, Dim::Unknown])
}

#[test]
fn loops_of_a_known_number_of_rounds_are_written_out() {
    let passed_on = || Node::new("Identity", &["go"], &["on"]);
    let counted = || Node::new("Less", &["i", "three"], &["on"]);
    let rounds = |count: usize| -> Vec<&str> {
        let steps = std::iter::repeat_n(["Add", "Mul"], count).flatten();
        let parts = std::iter::repeat_n("Unsqueeze", count);
        steps.chain(parts).chain(["Concat"]).collect()
    };
    assert_same(&[
        pair("two rounds", model(looped(&[2], passed_on()), 13), &rounds(2)),
        pair("an older form", model(looped(&[3], passed_on()), 11), &rounds(3)),
        pair("until a counter says so", model(looped(&[], counted()), 13), &rounds(4)),
        pair("at most", model(looped(&[9], counted()), 13), &rounds(4)),
        pair("no round", model(looped(&[0], passed_on()), 13), &["Identity", "Identity"]),
    ]);
}

#[test]
fn scans_are_written_out() {
    let body = Graph::new()
        .input("sum", FLOAT, &sizes(&[2]))
        .input("part", FLOAT, &sizes(&[2]))
        .node(Node::new("Add", &["sum", "part"], &["next"]))
        .node(Node::new("Mul", &["next", "next"], &["square"]))
        .output("next", FLOAT, &sizes(&[2]))
        .output("square", FLOAT, &sizes(&[2]));
    let scan = |backward: i64, axis: i64| {
        Graph::new()
            .input("start", FLOAT, &sizes(&[2]))
            .input("x", FLOAT, &sizes(&[2, 3]))
            .node(
                Node::new("Scan", &["start", "x"], &["y", "squares"])
                    .graph("body", &body)
                    .int("num_scan_inputs", 1)
                    .ints("scan_input_axes", &[1])
                    .ints("scan_input_directions", &[backward])
                    .ints("scan_output_axes", &[axis])
                    .ints("scan_output_directions", &[backward]),
            )
            .output("y", FLOAT, &[Dim::Unknown])
            .output("squares", FLOAT, &[Dim::Unknown, Dim::Unknown])
    };
    let mut expected = ["Gather", "Add", "Mul"].repeat(3);
    expected.extend(["Unsqueeze", "Unsqueeze", "Unsqueeze", "Concat"]);
    assert_same(&[
        pair("forward", model(scan(0, 0), 13), &expected),
        pair("backward", model(scan(1, -1), 11), &expected),
    ]);
}

#[test]
fn endless_loops_are_refused_by_name() {
    let graph = looped(&[], Node::new("Identity", &["go"], &["on"]));
    let error = operate(model(graph, 13), &PASSES).unwrap_err();
    let SurgeryError::Pass { pass: "unroll-loops", source: PassError::TooManyNodes { node, .. } } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(node.to_string(), "Loop `loop`");
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn import(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: text(domain), version: Some(version) }
}

fn call(operator: &str, domain: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: text(operator),
        domain: text(domain),
        input: inputs.iter().map(|it| (*it).to_owned()).collect(),
        output: outputs.iter().map(|it| (*it).to_owned()).collect(),
        ..NodeProto::default()
    }
}

fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: text(name),
        domain: text("local"),
        input: vec!["a".to_owned(), "b".to_owned()],
        output: vec!["c".to_owned()],
        node: nodes,
        opset_import: vec![import("", 13), import("local", 1)],
        ..FunctionProto::default()
    }
}

/// A model whose only node calls `Outer` with the attribute `slope`.
fn calling(functions: Vec<FunctionProto>) -> ModelProto {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2, 3]))
        .node(Node::new("Outer", &["x"], &["y"]).domain("local").float("slope", 0.25))
        .output("y", FLOAT, &sizes(&[2, 3]));
    let bytes = builder::Model::new(graph).domain("local", 1).bytes();
    let mut proto = Model::parse(bytes.into()).unwrap().into_proto();
    proto.functions = functions;
    proto
}

#[test]
fn functions_are_written_out() {
    let with_slope = |own: &str, given: &str| {
        let mut leaky = call("LeakyRelu", "", &["a"], &["d"]);
        leaky.attribute = vec![modelconverter::onnx::proto::AttributeProto {
            name: text(own),
            r#type: Some(1),
            ref_attr_name: text(given),
            ..Default::default()
        }];
        leaky
    };
    let mut outer = function(
        "Outer",
        vec![
            with_slope("alpha", "slope"),
            call("Inner", "local", &["d"], &["e"]),
            call("Inner", "local", &["e", "d"], &["c"]),
        ],
    );
    outer.attribute = vec!["slope".to_owned()];
    let inner = function("Inner", vec![call("Clip", "", &["a", ""], &["d"]), call("Neg", "", &["d"], &["c"])]);
    let before = Model::from_proto(calling(vec![outer, inner])).unwrap();
    let (after, operations) = rewritten(&before, &PASSES);
    assert_eq!(operators(&after), ["LeakyRelu", "Clip", "Neg", "Clip", "Neg"]);
    assert!(after.functions().is_empty());
    assert_eq!(after.opsets(), BTreeMap::from([("", 13)]));
    assert!(operations.iter().any(|it| it.pass == "unused-domains"));
    assert_same(&[Pair { name: "functions".to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 0.0 }]);
}

#[test]
fn functions_that_never_end_are_refused_by_name() {
    let outer = function("Outer", vec![call("Inner", "local", &["a"], &["c"])]);
    let inner = function("Inner", vec![call("Outer", "local", &["a"], &["c"])]);
    let error = operate(Model::from_proto(calling(vec![outer, inner])).unwrap(), &PASSES).unwrap_err();
    let SurgeryError::Pass { source: PassError::RecursiveFunction { function }, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(function, "local.Outer");
}

#[test]
fn functions_that_double_and_double_are_refused_by_name() {
    let name = |level: usize| if level == 0 { "Outer".to_owned() } else { format!("F{level}") };
    let level = |level: usize| {
        let next = name(level + 1);
        function(&name(level), vec![call(&next, "local", &["a"], &["d"]), call(&next, "local", &["d"], &["c"])])
    };
    let leaf = function(&name(40), vec![call("Neg", "", &["a"], &["c"])]);
    let functions = (0..40).map(level).chain([leaf]).collect();
    let error = operate(Model::from_proto(calling(functions)).unwrap(), &PASSES).unwrap_err();
    assert!(matches!(&error, SurgeryError::Pass { source: PassError::TooManyNodes { .. }, .. }), "{error:?}");
    let chain = |place: usize| function(&name(place), vec![call(&name(place + 1), "local", &["a"], &["c"])]);
    let functions = (0..100).map(chain).chain([function("F100", vec![call("Neg", "", &["a"], &["c"])])]).collect();
    let error = operate(Model::from_proto(calling(functions)).unwrap(), &PASSES).unwrap_err();
    assert!(matches!(&error, SurgeryError::Pass { source: PassError::DeepFunctions { .. }, .. }), "{error:?}");
}
