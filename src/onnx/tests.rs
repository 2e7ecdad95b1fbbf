//! Reading, checking, binding, cutting and writing models, on models made by a builder of its own.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use builder::{Dim, FLOAT, Graph, INT64, Node, STRING, Tensor, sizes};

#[path = "../../tests/support/onnx_builder.rs"]
pub(crate) mod builder;

/// `y = relu(x * w)`, all of shape [1, 2].
fn small() -> Graph {
    Graph::new()
        .input("x", FLOAT, &sizes(&[1, 2]))
        .initializer(Tensor::floats("w", &[2], &[2.0, 3.0]))
        .node(Node::new("Mul", &["x", "w"], &["m"]).named("scale"))
        .node(Node::new("Relu", &["m"], &["y"]))
        .output("y", FLOAT, &sizes(&[1, 2]))
}

fn parse(graph: Graph) -> Result<Model, OnnxError> {
    Model::parse(builder::Model::new(graph).bytes().into())
}

#[test]
fn a_model_is_read_as_it_was_written() {
    let model = parse(small().value("m", FLOAT, &[Dim::Symbol("n"), Dim::Unknown])).unwrap();
    assert_eq!((model.ir_version(), model.opset(), model.producer()), (8, 13, ("test builder", "")));
    let input = &model.inputs()[0];
    assert_eq!((input.name.as_str(), input.element(), input.is_static()), ("x", Some(ElementType::Float32), true));
    assert_eq!(model.value("m").unwrap().shape().unwrap().to_string(), "[n, ?]");
    assert_eq!(model.value("w").unwrap().shape().unwrap().known(), Some(vec![2]));
    assert_eq!(model.value("nothing"), None);
    assert_eq!(node_label(&model.graph().node[1]).to_string(), "Relu `y`");
}

#[test]
fn a_round_trip_keeps_everything() {
    let nested = Graph::new().node(Node::new("Relu", &["x"], &["inner"])).output("inner", FLOAT, &[]);
    let graph = small()
        .node(Node::new("If", &["c"], &["z"]).graph("then_branch", &nested).graph("else_branch", &nested))
        .node(Node::new("Odd", &["z"], &["o"]).domain("odd").ints("list", &[-1, 300]).text("t", "é").float("f", -0.5))
        .initializer(Tensor::typed_floats("t", &[2, 1], &[1.0, f32::MIN]))
        .initializer(Tensor::raw("c", builder::BOOL, &[], &[1]))
        .output("o", FLOAT, &[Dim::Symbol("n")]);
    let bytes = builder::Model::new(graph).domain("odd", 1).bytes();
    let model = Model::parse(bytes.clone().into()).unwrap();
    let saved = model.save();
    assert_eq!(saved.len(), model.saved_len());
    assert_eq!(saved.len(), bytes.len(), "nothing is lost and nothing is added");
    assert_eq!(Model::parse(saved.clone().into()).unwrap(), model);
    let mut written = Vec::new();
    model.write_to(&mut written).unwrap();
    assert!(written == saved);
}

#[test]
fn weights_are_shared_not_copied() {
    let weights: Vec<f32> = (0..100_000).map(|index| index as f32).collect();
    let graph = small().initializer(Tensor::floats("large", &[100_000], &weights));
    let bytes = Bytes::from(builder::Model::new(graph).bytes());
    let model = Model::parse(bytes.clone()).unwrap();
    let raw = model.graph().initializer[1].raw_data.as_ref().unwrap();
    assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));

    /// Notes the largest piece it is given, and from where.
    struct Pieces(Vec<u8>, Vec<std::ops::Range<*const u8>>);
    impl std::io::Write for Pieces {
        fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
            self.1.push(piece.as_ptr_range());
            self.0.extend_from_slice(piece);
            Ok(piece.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut pieces = Pieces(Vec::new(), Vec::new());
    model.write_to(&mut pieces).unwrap();
    assert!(pieces.1.contains(&raw.as_ptr_range()), "the weights reach the writer from where they lie");
    assert!(pieces.0 == model.save());
}

#[test]
fn a_failing_writer_is_reported() {
    let model = parse(small()).unwrap();
    let mut full = [0_u8; 10];
    assert!(matches!(model.write_to(&mut &mut full[..]), Err(SaveError::Write(_))));
}

#[test]
fn what_is_no_model_is_named() {
    let whole = builder::Model::new(small()).bytes();
    let text = |bytes: &[u8]| Model::parse(Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
    let cases: [(&[u8], &str); 11] = [
        (b"", "the ONNX model is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not an ONNX model but a PNG image"),
        (b"import onnx\nprint(1)\n", "not an ONNX model but a text file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\0\0\0\0TFL3", "not an ONNX model but a TFLite model"),
        (b"\0\0\0\0", "not an ONNX model: byte 0 begins no valid protobuf field"),
        (&[0xff; 64], "byte 0 begins no valid protobuf field"),
        (&[0x08, 0x08], "there is no graph"),
        (&[0x3a, 0x00], "does not say which opset"),
        (&[0x3a, 0x00, 0x42, 0x02, 0x10, 0x0d], "has no outputs"),
        (&[0x3a, 0x04, 0x0a, 0x02, 0x22, 0x09], "byte 4 begins no valid protobuf field"),
    ];
    for (bytes, expected) in cases {
        let error = text(bytes);
        assert!(error.contains(expected), "{error}");
    }
    for length in 1..whole.len() {
        // Cut where the opset import is gone, but the graph is whole, it is a model without a version.
        assert!(Model::parse(Bytes::copy_from_slice(&whole[..length])).is_err(), "{length}");
    }
    assert!(text(&whole[..whole.len() / 2]).contains("truncated"), "{}", text(&whole[..whole.len() / 2]));
}

#[test]
fn nodes_are_put_in_order() {
    let relu = |input: &str, output: &str| Node::new("Relu", &[input], &[output]);
    let nested = Graph::new().node(relu("late", "inner")).output("inner", FLOAT, &[]);
    let graph = Graph::new()
        .input("x", FLOAT, &[])
        .node(relu("x", "first"))
        .node(Node::new("If", &["x"], &["i"]).graph("then_branch", &nested))
        .node(relu("b", "late"))
        .node(relu("x", "b"))
        .node(relu("i", "y"))
        .output("y", FLOAT, &[]);
    let model = Model::parse(builder::Model::new(graph).bytes().into()).unwrap();
    let order: Vec<&str> = model.graph().node.iter().map(|node| node.output[0].as_str()).collect();
    assert_eq!(order, ["first", "b", "late", "i", "y"]);
}

#[test]
fn contradictions_are_named() {
    let named = |name: &str| Node::new("Relu", &["x"], &["r"]).named(name);
    let with_tensor = |tensor: Tensor| small().initializer(tensor);
    let relu = |input: &str, output: &str| Node::new("Relu", &[input], &[output]);
    let nested = |value: &str| Graph::new().node(relu(value, "inner")).output("inner", FLOAT, &[]);
    let cases = [
        (small().node(Node::new("", &["x"], &["r"]).named("odd")), "node 2 (`odd`) of the ONNX model has no operator"),
        (small().node(named("a")).node(named("b")), "value `r` of the ONNX model is defined more than once"),
        (small().input("x", FLOAT, &[]), "value `x` of the ONNX model is defined more than once"),
        (small().node(relu("y", "x")), "value `x`"),
        (with_tensor(Tensor::floats("w", &[0], &[])), "value `w`"),
        (small().node(relu("gone", "r")), "Relu `r` reads `gone`, which nothing"),
        (small().output("gone", FLOAT, &[]), "output `gone` is not defined"),
        (
            small().node(relu("c", "a")).node(relu("a", "b")).node(relu("b", "c")),
            "form a cycle: Relu `a` -> Relu `b` -> Relu `c` -> Relu `a`",
        ),
        (small().node(relu("a", "a")), "form a cycle: Relu `a` -> Relu `a`"),
        (
            small().node(Node::new("If", &["x"], &["i"]).graph("then_branch", &nested("late").node(relu("x", "late")))),
            "Relu `inner` reads `late` before Relu `late` computes it",
        ),
        (
            small().node(Node::new("If", &["x"], &["i"]).graph("then_branch", &nested("never"))),
            "Relu `inner` reads `never`, which nothing",
        ),
        (with_tensor(Tensor::floats("t", &[-2], &[])), "initializer `t` has the negative dimension -2"),
        (with_tensor(Tensor::floats("t", &[i64::MAX, 3], &[])), "initializer `t` has too many elements"),
        (with_tensor(Tensor::floats("t", &[i64::MAX], &[])), "initializer `t` has too many elements"),
        (
            with_tensor(Tensor::floats("t", &[3], &[0.0; 2])),
            "`t` has 8 bytes of data, but its dimensions [3] of float32 need 12",
        ),
        (with_tensor(Tensor::typed_floats("t", &[3], &[0.0; 2])), "`t` has 2 values of data"),
        (with_tensor(Tensor::raw("t", 99, &[], &[])), "initializer `t` has the unknown element type 99"),
        (with_tensor(Tensor::raw("t", STRING, &[1], b"a")), "is text, but has raw data"),
        (with_tensor(Tensor::raw("t", builder::UINT8, &[2], &[1])), "1 bytes of data"),
        (with_tensor(Tensor::floats("", &[], &[1.0])), "an initializer of the ONNX model has no name"),
        (with_tensor(Tensor::external("t", FLOAT, &[2], &[])), "external data of initializer `t` is not described"),
        (
            with_tensor(Tensor::external("t", FLOAT, &[2], &[("location", "w"), ("offset", "-1")])),
            "the offset is no number",
        ),
        (with_tensor(Tensor::external("t", FLOAT, &[2], &[("location", "w"), ("length", "7")])), "7 bytes of data"),
        (
            small().node(Node::new("Constant", &[], &["k"]).tensor("value", &Tensor::floats("", &[2], &[0.0]))),
            "attribute `value` of Constant `k` has 4 bytes",
        ),
        (small().value("m", FLOAT, &sizes(&[-2])), "value `m` has the negative dimension -2"),
        (small().value("m", FLOAT, &sizes(&[1 << 40, 1 << 40])), "value `m` has too many elements"),
        (small().value("m", 77, &[]), "value `m` has the unknown element type 77"),
        (small().output("y", FLOAT, &[]), "value `y`"),
    ];
    for (graph, expected) in cases {
        let error = parse(graph).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
    let no_opset = builder::Model::new(small()).opset(0).domain("odd", 1).bytes();
    assert!(matches!(Model::parse(no_opset.into()), Err(OnnxError::NoOpset)));
    let bad_opset = builder::Model::new(small()).opset(-3).bytes();
    assert!(matches!(Model::parse(bad_opset.into()), Err(OnnxError::BadOpset { version: -3, .. })));
}

#[test]
fn small_files_cannot_take_much_memory() {
    // Two bytes a node, two hundred bytes in memory.
    let nodes = vec![[0x0a, 0x00]; 12_000_000].concat();
    let mut bytes = vec![0x3a];
    prost::encode_length_delimiter(nodes.len(), &mut bytes).unwrap();
    bytes.extend(nodes);
    assert!(matches!(Model::parse(bytes.into()), Err(OnnxError::TooLarge { .. })));

    // Graph in attribute in node in graph, a thousand times.
    let mut nested = Graph::new();
    for _ in 0..1000 {
        nested = Graph::new().node(Node::new("If", &[], &[]).graph("g", &nested));
    }
    assert!(matches!(parse(nested), Err(OnnxError::TooDeep { .. })));
}

#[test]
fn damaged_models_never_panic() {
    let whole = builder::Model::new(small().value("m", FLOAT, &[Dim::Symbol("n")])).bytes();
    for index in 0..whole.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff, whole[index] ^ 1, whole[index] ^ 8] {
            let mut damaged = whole.clone();
            damaged[index] = value;
            if let Ok(model) = Model::parse(damaged.into()) {
                assert_eq!(Model::parse(model.save().into()).unwrap(), model);
            }
        }
    }
}

#[test]
fn external_data_is_listed() {
    let inside = Tensor::external("a", FLOAT, &[2], &[("location", "w.bin"), ("offset", "64"), ("length", "8")]);
    let outside = Tensor::external("", FLOAT, &[2], &[("location", "../w.bin")]);
    let graph = small().initializer(inside).node(Node::new("Constant", &[], &["k"]).tensor("value", &outside));
    let model = parse(graph).unwrap();
    let found = model.external_data();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].offset, found[0].length, found[0].whereabouts), (64, Some(8), Whereabouts::Inside));
    assert_eq!((found[1].location.as_str(), found[1].whereabouts), ("../w.bin", Whereabouts::Outside));
}

#[test]
fn initializers_are_no_inputs() {
    let graph = small().input("w", FLOAT, &sizes(&[2]));
    let model = Model::parse(builder::Model::new(graph).ir(3).bytes().into()).unwrap();
    assert_eq!(model.inputs().len(), 1);
}

fn dynamic() -> Model {
    let graph = Graph::new()
        .input("image", FLOAT, &[Dim::Symbol("n"), Dim::Size(3), Dim::Symbol("h"), Dim::Size(-1)])
        .input("length", INT64, &[Dim::Symbol("n")])
        .input("zero", FLOAT, &sizes(&[0, 2]))
        .node(Node::new("Relu", &["image"], &["y"]))
        .value("length", INT64, &[])
        .output("y", FLOAT, &[Dim::Symbol("n"), Dim::Size(3), Dim::Symbol("h"), Dim::Symbol("w")]);
    parse(graph).unwrap()
}

fn shapes(shapes: &[(&str, &[i64])]) -> BTreeMap<String, Vec<i64>> {
    shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
}

#[test]
fn shapes_are_bound_throughout() {
    let model = dynamic();
    let names = |model: &Model| dynamic_inputs(model).into_iter().map(|input| input.name).collect::<Vec<_>>();
    assert_eq!(names(&model), ["image", "length", "zero"]);
    let bound = bind_shapes(&model, &shapes(&[("image", &[1, 3, 8, 9])])).unwrap();
    assert_eq!(names(&bound), ["zero"], "`n` is known now, so `length` is");
    assert_eq!(bound.outputs()[0].shape().unwrap().to_string(), "[1, 3, 8, w]");
    let bound = bind_shapes(&bound, &shapes(&[("zero", &[4, 2])])).unwrap();
    assert_eq!(names(&bound), [""; 0]);
    // Exporters use one symbol for unrelated sizes.
    let torn = bind_shapes(&model, &shapes(&[("image", &[1, 3, 8, 9]), ("length", &[5])])).unwrap();
    assert_eq!(torn.outputs()[0].shape().unwrap().to_string(), "[?, 3, 8, w]");
    assert_eq!(bind_shapes(&model, &BTreeMap::new()).unwrap(), model);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let model = dynamic();
    let cases: [(&str, &[i64], &str); 5] = [
        ("imgae", &[1], "the model has no input `imgae`; its inputs are `image`, `length`, `zero`"),
        ("image", &[1, 3, 8], "has the shape [n, 3, h, ?], which has 4 dimensions, not the 3 of [1, 3, 8]"),
        ("image", &[1, 3, 0, 8], "every size must be positive"),
        ("image", &[1, 3, -1, 8], "every size must be positive"),
        ("image", &[i64::MAX, 3, 8, 8], "every size must be positive, and their product a number"),
    ];
    for (name, wanted, expected) in cases {
        let error = bind_shapes(&model, &shapes(&[(name, wanted)])).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = bind_shapes(&model, &shapes(&[("imgae", &[1])])).unwrap_err();
    assert_eq!(error.hints(), ["did you mean `image`?"]);
}

fn branched() -> Model {
    let relu = |input: &str, output: &str, name: &str| Node::new("Relu", &[input], &[output]).named(name);
    let nested = Graph::new().node(Node::new("Add", &["b", "v"], &["inner"])).output("inner", FLOAT, &[]);
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2]))
        .input("c", builder::BOOL, &[])
        .input("unused", FLOAT, &sizes(&[2]))
        .initializer(Tensor::floats("v", &[2], &[1.0, 2.0]))
        .initializer(Tensor::floats("k", &[2], &[1.0, 2.0]))
        .node(Node::new("Constant", &[], &["five"]).float("value_float", 5.0))
        .node(relu("x", "a", "first"))
        .node(relu("a", "b", "second"))
        .node(
            Node::new("If", &["c"], &["i"]).named("choice").graph("then_branch", &nested).graph("else_branch", &nested),
        )
        .node(Node::new("Mul", &["i", "k"], &["y"]).named("last"))
        .value("a", FLOAT, &sizes(&[2]))
        .output("y", FLOAT, &sizes(&[2]));
    parse(graph).unwrap()
}

#[test]
fn graphs_are_cut_at_values_and_nodes() {
    let model = branched();
    let cut = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cut = select_outputs(&model, &names)?;
        let graph = cut.graph();
        Model::from_proto(cut.clone().into_proto()).unwrap();
        let join = |names: Vec<&str>| names.join(" ");
        Ok::<_, SelectError>([
            join(graph.output.iter().map(|output| output.name()).collect()),
            join(graph.node.iter().map(|node| node.name()).collect()),
            join(graph.initializer.iter().map(|tensor| tensor.name()).collect()),
            join(graph.input.iter().map(|input| input.name()).collect()),
        ])
    };
    assert_eq!(cut(&["a"]).unwrap(), ["a", "first", "", "x unused"]);
    assert_eq!(cut(&["second", "a"]).unwrap(), ["b a", "first second", "", "x unused"]);
    assert_eq!(cut(&["i"]).unwrap(), ["i", "first second choice", "v", "x c unused"], "nested graphs read `b` and `v`");
    assert_eq!(cut(&["y"]).unwrap()[1], "first second choice last");
    assert_eq!(cut(&["x"]).unwrap(), ["x", "", "", "x unused"]);
    let error = cut(&["secnod"]).unwrap_err();
    assert_eq!(error.to_string(), "the model has no output, intermediate value or node `secnod`; its outputs are `y`");
    assert_eq!(error.hints(), ["did you mean `second`?"]);
    assert!(matches!(cut(&["v"]), Err(SelectError::Constant { .. })));
    assert!(matches!(cut(&["five"]), Err(SelectError::Constant { .. })));
    assert!(matches!(cut(&["a", "first"]), Err(SelectError::Duplicate { .. })));
    assert!(matches!(cut(&[]), Err(SelectError::Nothing)));
    let names = ["b".to_owned()];
    let output = &select_outputs(&model, &names).unwrap().outputs()[0];
    assert_eq!(output.element(), Some(ElementType::Float32), "an intermediate value's type follows from its producer");
}

#[test]
fn patches_that_do_not_fit_are_refused() {
    let model = || parse(small()).unwrap();
    let refused = |patch: Patch| patch.apply(model()).unwrap_err().to_string();
    let mut patch = Patch::default();
    patch.removed_nodes.insert(2);
    assert_eq!(refused(patch), "the patch names node 2, but the graph has 2");
    let mut patch = Patch::default();
    patch.removed_nodes.insert(0);
    assert_eq!(refused(patch), "the patched model is not valid");
    let patch = Patch { removed_inputs: ["w".to_owned()].into(), ..Patch::default() };
    assert_eq!(refused(patch), "the patch removes `w`, which is no input of the graph");
    let patch = Patch { removed_initializers: ["x".to_owned()].into(), ..Patch::default() };
    assert_eq!(refused(patch), "the patch removes `x`, which is no initializer of the graph");
    let patch = Patch { added_initializers: vec![integers("w", &[], &[1])], ..Patch::default() };
    assert_eq!(refused(patch), "the patch adds initializer `w`, but there is one");
    assert_eq!(Patch::default().apply(model()).unwrap(), model());
}
