//! The node tests of the onnx package judge what kernels compute (`tests/surgery`); here is what those do not have:
//! limits, undefined results, and nonsense.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::onnx::proto::{AttributeProto, TensorProto};

fn node(operator: &str, inputs: usize, outputs: usize) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: (0..inputs).map(|place| format!("i{place}")).collect(),
        output: (0..outputs).map(|place| format!("o{place}")).collect(),
        ..NodeProto::default()
    }
}

fn with(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto { name: Some(name.to_owned()), i: Some(value), ..AttributeProto::default() });
    node
}

fn whole(element: ElementType, sizes: &[usize], values: &[i128]) -> Option<Array> {
    Some(Array::of_whole(element, sizes.to_vec(), values).unwrap())
}

fn run(node: &NodeProto, inputs: &[Option<Array>]) -> Option<Array> {
    evaluate(node, 21, inputs, 1 << 20).map(|mut results| results.remove(0))
}

#[test]
fn integers_are_divided_as_onnx_says() {
    let pair =
        |left: i128, right: i128| [whole(ElementType::Int32, &[], &[left]), whole(ElementType::Int32, &[], &[right])];
    let result = |node: &NodeProto, left, right| run(node, &pair(left, right)).and_then(|it| it.to_integer());
    let (division, modulo) = (node("Div", 2, 1), node("Mod", 2, 1));
    let c_like = with(node("Mod", 2, 1), "fmod", 1);
    for (left, right, quotient, rest, c_rest) in
        [(7, 2, 3, 1, 1), (-7, 2, -3, 1, -1), (7, -2, -3, -1, 1), (-7, -2, 3, -1, -1), (-6, 2, -3, 0, 0)]
    {
        assert_eq!(result(&division, left, right), Some(quotient), "{left} / {right}");
        assert_eq!(result(&modulo, left, right), Some(rest), "{left} mod {right}");
        assert_eq!(result(&c_like, left, right), Some(c_rest), "{left} fmod {right}");
    }
    assert_eq!(result(&division, 1, 0), None, "nothing is defined, so nothing is computed");
    assert_eq!(result(&modulo, 1, 0), None);
    assert_eq!(result(&division, i32::MIN.into(), -1), Some(i64::from(i32::MIN)), "wraps");
    assert_eq!(result(&node("Add", 2, 1), i32::MAX.into(), 1), Some(i64::from(i32::MIN)), "wraps");
}

#[test]
fn what_no_integer_is_near_stays() {
    let cast = with(node("Cast", 1, 1), "to", ElementType::Int32.code().into());
    let float = |value: f64| [Array::of_floats(ElementType::Float32, vec![], &[value])];
    for (value, expected) in [
        (-1.9, Some(-1)),
        (1.9, Some(1)),
        (f64::NAN, None),
        (f64::INFINITY, None),
        (3e9, None),
        (-2147483648.0, Some(-2147483648)),
    ] {
        assert_eq!(run(&cast, &float(value)).and_then(|it| it.to_integer()), expected, "{value}");
    }
}

#[test]
fn large_results_are_left_alone() {
    let shape = |sizes: &[i64]| [Array::integers(vec![sizes.len()], sizes)];
    let node = node("ConstantOfShape", 1, 1);
    assert_eq!(run(&node, &shape(&[256, 1024])).unwrap().count(), 256 * 1024, "one megabyte");
    for sizes in [&[256, 1025][..], &[i64::MAX, i64::MAX], &[i64::MAX], &[-1]] {
        assert_eq!(run(&node, &shape(sizes)), None, "{sizes:?}");
    }
    let range = node_range();
    let scalar = |value: i64| Array::integers(Vec::new(), &[value]);
    assert_eq!(run(&range, &[scalar(i64::MIN), scalar(i64::MAX), scalar(1)]), None);
    assert_eq!(run(&range, &[scalar(5), scalar(-5), scalar(i64::MIN)]).unwrap().to_integers(), Some(vec![5]));
}

fn node_range() -> NodeProto {
    node("Range", 3, 1)
}

#[test]
fn reshapes_share_their_elements() {
    let input = Array::new(ElementType::Float32, vec![2, 3], vec![0; 24].into()).unwrap();
    let flat = run(&node("Flatten", 1, 1), &[Some(input.clone())]).unwrap();
    assert_eq!(flat.bytes().as_ptr(), input.bytes().as_ptr());
}

const OPERATORS: [&str; 61] = [
    "Split",
    "Dropout",
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Concat",
    "Expand",
    "Tile",
    "Pad",
    "DepthToSpace",
    "SpaceToDepth",
    "Gather",
    "GatherElements",
    "GatherND",
    "ScatterElements",
    "ScatterND",
    "Compress",
    "OneHot",
    "NonZero",
    "Unique",
    "Trilu",
    "Constant",
    "ConstantOfShape",
    "Shape",
    "Size",
    "Range",
    "EyeLike",
    "Cast",
    "CastLike",
    "MatMul",
    "Gemm",
    "QuantizeLinear",
    "DequantizeLinear",
    "ArgMax",
    "ArgMin",
    "CumSum",
    "Softmax",
    "LogSoftmax",
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceLogSumExp",
    "ReduceProd",
    "Where",
    "Clip",
    "Max",
    "Mean",
    "Add",
    "Mul",
    "Div",
    "Mod",
    "Pow",
    "BitShift",
    "Equal",
    "Neg",
    "Relu",
    "Not",
];

/// Numbers at which arithmetic breaks.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![6 => -3_i64..5, 1 => select(vec![i64::MIN, i64::MAX, i64::from(i32::MAX), 1 << 40])]
}

fn array() -> impl Strategy<Value = Option<Array>> {
    use ElementType::*;
    let elements = select(vec![Float32, Float16, Int64, Int64, Int32, Uint8, Boolean, Complex64]);
    (elements, vec(0_usize..4, 0..4), vec(number(), 27)).prop_map(|(element, sizes, numbers)| {
        let count = sizes.iter().product();
        let numbers = || numbers.iter().copied().cycle().take(count);
        match element {
            Float32 | Float16 => Array::of_floats(element, sizes, &numbers().map(|it| it as f64).collect::<Vec<_>>()),
            Complex64 => Array::new(element, sizes, vec![0; 8 * count].into()),
            _ => Array::of_whole(element, sizes, &numbers().map(i128::from).collect::<Vec<_>>()),
        }
    })
}

fn attribute() -> impl Strategy<Value = AttributeProto> {
    let names = select(vec![
        "axis",
        "axes",
        "perm",
        "keepdims",
        "starts",
        "ends",
        "pads",
        "blocksize",
        "split",
        "to",
        "k",
        "batch_dims",
        "shape",
        "allowzero",
        "fmod",
        "start",
        "end",
        "value_ints",
        "upper",
        "exclusive",
        "sorted",
        "noop_with_empty_axes",
        "dtype",
    ]);
    (names, number(), vec(number(), 0..4), 0_usize..4).prop_map(|(name, value, list, text)| AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        ints: list,
        f: Some(value as f32),
        s: Some(["reflect", "wrap", "edge", "CRD"].map(bytes::Bytes::from).into_iter().nth(text).unwrap()),
        t: Some(Box::new(TensorProto::default())),
        ..AttributeProto::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_is_computed_or_refused_but_never_panics(
        operator in select(OPERATORS.to_vec()),
        inputs in vec(array(), 0..5),
        attributes in vec(attribute(), 0..4),
        outputs in 1_usize..3,
        opset in select(vec![1_i64, 6, 9, 11, 13, 18, 21]),
    ) {
        let node = NodeProto { attribute: attributes, ..node(operator, inputs.len(), outputs) };
        for result in evaluate(&node, opset, &inputs, 1 << 12).into_iter().flatten() {
            prop_assert_eq!(result.count() * result.width(), result.bytes().len());
        }
    }

    #[test]
    fn operands_are_repeated_as_expand_repeats_them(
        sizes in vec(1_usize..4, 0..4),
        ones in vec(any::<bool>(), 8),
        numbers in vec(-9_i128..9, 64),
    ) {
        let shrunk = |skip: usize| -> Vec<usize> {
            sizes.iter().zip(ones.iter().skip(skip)).map(|(size, one)| if *one { 1 } else { *size }).collect()
        };
        let array = |sizes: Vec<usize>| {
            let count = sizes.iter().product();
            Array::of_whole(ElementType::Int64, sizes, &numbers.iter().copied().take(count).collect::<Vec<_>>()).unwrap()
        };
        let (left, right) = (array(shrunk(0)), array(shrunk(4)));
        let whole: Vec<i64> = left.sizes().iter().zip(right.sizes()).map(|(one, other)| *one.max(other) as i64).collect();
        let target = Array::integers(vec![whole.len()], &whole);
        let expand = |array: &Array| run(&node("Expand", 2, 1), &[Some(array.clone()), target.clone()]).unwrap();
        let sum = run(&node("Sub", 2, 1), &[Some(left.clone()), Some(right.clone())]).unwrap();
        let (one, other) = (expand(&left).to_integers().unwrap(), expand(&right).to_integers().unwrap());
        let expected: Vec<i64> = one.iter().zip(&other).map(|(one, other)| one - other).collect();
        prop_assert_eq!(sum.to_integers().unwrap(), expected);
    }
}
