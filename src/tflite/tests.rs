//! The reader against models that another writer made.

#[path = "../../tests/support/tflite_builder.rs"]
pub mod builder;

use self::builder::{ADD, FLOAT, Field, INT4, INT8, dense, listed, network, quantization, sparsity};
use super::*;

fn parse(model: &builder::Model) -> Result<Model, TfliteError> {
    Model::parse(&model.bytes().into())
}

fn real(model: &Model, name: &str) -> Vec<f32> {
    let constant = model.constant(model.find(name).unwrap()).unwrap().unwrap();
    let Values::Real(values) = constant.values else { panic!("{constant:?}") };
    values
}

#[test]
fn a_model_is_what_was_written() {
    let model = parse(&network()).unwrap();
    let names = |ids: &[TensorId]| ids.iter().map(|id| model.tensor(*id).unwrap().name.as_str()).collect::<Vec<_>>();
    assert_eq!((names(model.inputs()), names(model.outputs())), (vec!["img"], vec!["out"]));
    let image = model.tensor(model.inputs()[0]).unwrap();
    assert_eq!((image.shape.as_slice(), image.signature.as_slice()), (&[1, 4, 4, 2][..], &[-1, 4, 4, 2][..]));
    let operators: Vec<&str> = model.operators().iter().map(|operator| operator.name.as_str()).collect();
    assert_eq!(operators, ["CONV_2D", "PAD", "DENSIFY", "RESHAPE", "RESHAPE", "ADD"]);
    let convolution = &model.operators()[0];
    assert_eq!((convolution.input(2), convolution.input(9)), (None, None));
    let options = convolution.convolution().unwrap();
    assert_eq!((options.strides, options.activation), ([1, 1], Activation::Clip(0.0, 6.0)));
    assert!(model.find("out#8").is_none() && model.tensor(99).is_none());
    // The second tensor of this name has another.
    assert_eq!(model.tensors().filter(|(_, tensor)| tensor.name.starts_with("out#")).count(), 1);
}

#[test]
fn integers_become_the_numbers_they_stand_for() {
    let mut model = network();
    model.constant("four_bits", INT4, &[3], vec![0x8f, 0x07]);
    model.with(4, quantization(&[2.0], &[1], 0));
    model.constant("rows", INT8, &[2, 2], vec![1, 2, 3, 4]);
    model.with(4, quantization(&[1.0, 10.0], &[0, 1], 0));
    let model = parse(&model).unwrap();
    assert_eq!(real(&model, "w"), [2.0, -0.5]);
    assert_eq!(real(&model, "four_bits"), [-4.0, -18.0, 12.0]);
    let second = model.tensors().find(|(_, tensor)| tensor.name.starts_with("rows#")).unwrap().1.name.clone();
    assert_eq!(real(&model, &second), [1.0, 2.0, 20.0, 30.0]);
}

#[test]
fn sparse_constants_have_their_zeros() {
    let model = parse(&network()).unwrap();
    let values = real(&model, "sparse");
    let mut expected = vec![0.0; 36];
    // One block of 2x2, in the first row of blocks, second column.
    for (place, value) in [(2, 1.0), (3, 2.0), (8, 3.0), (9, 4.0)] {
        expected[place] = value;
    }
    assert_eq!(values, expected);

    let broken = [
        sparsity(&[0, 1], &[], vec![dense(6), listed(&[0, 1, 2, 3, 4, 4, 4], &[0, 1, 2, 6])]),
        sparsity(&[0, 1], &[], vec![dense(6), listed(&[0, 1, 2], &[0, 1, 2, 3])]),
        sparsity(&[0, 1], &[], vec![dense(6), listed(&[0, 9, 2, 3, 4, 4, 4], &[0, 1, 2, 3])]),
        sparsity(&[0, 1], &[], vec![dense(6), dense(6)]),
    ];
    for description in broken {
        let mut model = network();
        model.floats("odd", &[6, 6], &[1.0, 2.0, 3.0, 4.0]);
        model.with(6, description);
        let model = parse(&model).unwrap();
        let odd = model.find("odd").unwrap();
        assert_eq!(model.constant(odd), Err(TfliteError::Sparsity { tensor: "odd".into() }));
    }
    for (order, blocks, dimensions) in [
        (&[0, 0][..], &[][..], vec![dense(6), dense(6)]),
        (&[0, 1], &[], vec![dense(6)]),
        (&[0, 1], &[], vec![dense(6), dense(5)]),
        (&[0, 1, 2], &[0], vec![dense(6), dense(6), dense(4)]),
        (&[0, 1, 2], &[7], vec![dense(6), dense(6), dense(1)]),
    ] {
        let mut model = network();
        model.floats("odd", &[6, 6], &[1.0]);
        model.with(6, sparsity(order, blocks, dimensions));
        assert_eq!(parse(&model).unwrap_err(), TfliteError::Sparsity { tensor: "odd".into() });
    }
}

/// Breaks a model.
type Change = fn(&mut builder::Model);

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let broken = |change: Change| {
        let mut model = network();
        change(&mut model);
        parse(&model).unwrap_err().to_string()
    };
    let cases: [(Change, &str); 13] = [
        (|model| model.version = 2, "has version 2"),
        (|model| model.outputs.clear(), "has no outputs"),
        (|model| model.outputs = vec![99], "the list of outputs of the TFLite model names the tensor 99"),
        (|model| model.inputs.clear(), "operator 0 (CONV_2D) of the TFLite model reads `img`"),
        (|model| model.operators.swap(0, 1), "reads `conv`, which nothing computes before it"),
        (|model| model.operator(ADD, &[0, 0], &[2], Vec::new()), "`conv` of the TFLite model is defined more than"),
        (|model| model.operator(ADD, &[0, -2], &[2], Vec::new()), "operator 6 of the TFLite model names the tensor -2"),
        (|model| model.operators[0][0] = (0, Field::Int(77)), "names the operator code 77, of which there are 6"),
        (|model| _ = model.floats("odd", &[2], &[1.0]), "constant `odd` has 4 bytes, but its shape needs 8"),
        (|model| _ = model.tensor("odd", FLOAT, &[1; 9]), "tensor `odd` has the impossible shape [1, 1, 1"),
        (|model| _ = model.tensor("odd", FLOAT, &[-1]), "tensor `odd` has the impossible shape [-1]"),
        (
            |model| {
                model.tensor("odd", INT8, &[3]);
                model.with(4, quantization(&[1.0, 2.0], &[0, 0], 0));
            },
            "the quantization of tensor `odd`",
        ),
        (
            |model| {
                model.tensor("odd", FLOAT, &[3]);
                model.with(10, Field::Int(1));
            },
            "constant `odd` is in another file",
        ),
    ];
    for (change, expected) in cases {
        let text = broken(change);
        assert!(text.contains(expected), "{text} instead of {expected}");
    }
}

#[test]
fn large_constants_lie_behind_the_tables() {
    let written = |offset: u64, size: u64| {
        let mut model = network();
        model.tensor("far", FLOAT, &[2]);
        model.with(2, Field::Int(model.buffers.len() as i32));
        model.buffers.push(vec![(1, Field::Long(offset as i64)), (2, Field::Long(size as i64))]);
        let mut bytes = model.bytes();
        bytes.extend([1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()));
        bytes
    };
    let place = written(2, 8).len() as u64 - 8;
    let model = Model::parse(&written(place, 8).into()).unwrap();
    assert_eq!(real(&model, "far"), [1.5, -2.0]);
    for (offset, size) in [(place + 1, 8), (place, 9), (u64::MAX, 8), (place, u64::MAX), (1 << 40, 0)] {
        let error = Model::parse(&written(offset, size).into()).unwrap_err();
        assert!(matches!(error, TfliteError::Malformed { .. }), "{offset} {size}: {error}");
    }
    let short = Model::parse(&written(place, 4).into()).unwrap_err();
    assert_eq!(short, TfliteError::Length { tensor: "far".into(), expected: 8, found: 4 });
}

#[test]
fn what_nobody_runs_or_reads_is_passed_over() {
    let mut model = network();
    // Graphs of other signatures are not this network.
    model.nested(|model| {
        let odd = model.tensor("odd", FLOAT, &[-7]);
        model.operator(ADD, &[odd, odd], &[odd], Vec::new());
    });
    let mut bytes = model.bytes();
    // Descriptions and labels come as an archive behind the model.
    bytes.extend(b"PK\x03\x04labels.txt PK\x05\x06");
    let with = Model::parse(&bytes.into()).unwrap();
    let without = parse(&network()).unwrap();
    let names = |model: &Model| model.tensors().map(|(_, tensor)| tensor.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&with), names(&without));
    assert_eq!(real(&with, "w"), real(&without, "w"));
}

#[test]
fn variables_that_change_are_states() {
    const CALL_ONCE: i32 = 129;
    const VAR_HANDLE: i32 = 142;
    const READ: i32 = 143;
    const ASSIGN: i32 = 144;
    /// What else happens to the variable.
    type Change = fn(&mut builder::Model, i32);
    let written = |change: Change| {
        let mut model = builder::Model::new();
        let handle = |model: &mut builder::Model| {
            let handle = model.tensor("handle", 13, &[]);
            model.operator(VAR_HANDLE, &[], &[handle], vec![(1, Field::Bytes(b"v".to_vec()))]);
            handle
        };
        let first = model.nested(|model| {
            let (handle, value) = (handle(model), model.floats("value", &[2], &[3.0, 4.0]));
            model.operator(ASSIGN, &[handle, value], &[], Vec::new());
        });
        model.operator(CALL_ONCE, &[], &[], vec![(0, Field::Int(first))]);
        let (handle, read) = (handle(&mut model), model.tensor("read", FLOAT, &[2]));
        model.operator(READ, &[handle], &[read], Vec::new());
        let image = model.tensor("img", FLOAT, &[2]);
        let out = model.tensor("out", FLOAT, &[2]);
        model.operator(ADD, &[image, read], &[out], Vec::new());
        (model.inputs, model.outputs) = (vec![image], vec![out]);
        change(&mut model, handle);
        let model = parse(&model).unwrap();
        model.constant(model.find("read").unwrap()).unwrap().map(|_| real(&model, "read"))
    };
    assert_eq!(written(|_, _| {}), Some(vec![3.0, 4.0]));
    // Set in every run; or never before the first.
    assert_eq!(written(|model, handle| model.operator(ASSIGN, &[handle, model.outputs[0]], &[], Vec::new())), None);
    assert_eq!(written(|model, _| model.operators.remove(0).clear()), None);
}

#[test]
fn other_files_and_parts_of_files_are_refused() {
    for (bytes, told) in [
        (&b"PK\x03\x04........"[..], "not a TFLite model but a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a TFLite model but a Git LFS pointer; the file itself"),
        (b"anything at all", "not a TFLite model: bytes 4 to 7 are not `TFL3`"),
        (b"", "not a TFLite model: bytes"),
    ] {
        let error = Model::parse(&Bytes::from_static(bytes)).unwrap_err();
        assert!(error.to_string().starts_with(told), "{error}");
        assert_eq!(error.hints().len(), usize::from(told.contains("LFS")));
    }
    let bytes = Bytes::from(network().bytes());
    for length in 0..bytes.len() {
        assert!(Model::parse(&bytes.slice(..length)).is_err(), "{length}");
    }
}

#[test]
fn long_names_cannot_be_said_without_end() {
    let mut model = builder::Model::new();
    model.tensor("x", FLOAT, &[1]);
    let mut tensors = vec![model.tensors[0].clone()];
    tensors[0][2] = (3, Field::Bytes(vec![b'n'; MAX_STRUCTURE]));
    model.tensors = tensors;
    assert_eq!(parse(&model).unwrap_err(), TfliteError::TooLarge { limit: MAX_STRUCTURE });
}
