//! The operators of random networks: each writes one step on a value, if that can be read so.

use crate::builder::Node;
use crate::draft::{Draft, How, Value};

type Operator = fn(&mut Draft, &Value, &mut How) -> Option<()>;

/// Those that networks have many of stand more than once.
pub const OPERATORS: [Operator; 80] = [
    convolution,
    convolution,
    convolution,
    convolution,
    pointwise,
    pointwise,
    depthwise,
    transposed_convolution,
    along_a_line,
    activation,
    activation,
    activation,
    bounded,
    clip,
    slope,
    max_pool,
    max_pool,
    average_pool,
    average_pool,
    global_pool,
    local_response,
    batch_norm,
    instance_norm,
    layer_norm,
    length_norm,
    group_norm,
    softmax,
    softmax,
    matmul_constant,
    matmul_constant,
    matmul_itself,
    attention,
    gemm,
    einsum,
    arithmetic,
    arithmetic,
    arithmetic,
    broadcast,
    broadcast,
    constant_arithmetic,
    several_summed,
    choose,
    largest,
    place_of_largest,
    reduce,
    reduce,
    running_sum,
    concat,
    concat,
    split,
    split,
    slice,
    slice,
    gather,
    pad,
    tile,
    expand,
    transpose,
    transpose,
    reshape,
    reshape,
    computed_reshape,
    one_axis_more_or_less,
    shuffle,
    blocks,
    resize,
    resize_as_another,
    volume,
    recurrent,
    sampled,
    scattered,
    picked,
    gated,
    squeeze_and_excite,
    powers,
    logic,
    whole_numbers,
    one_hot,
    standard_moments,
    triangle,
];

fn plain(node: Node) -> Node {
    node
}

/// What a window that moves over `size` elements yields.
fn windows(size: i64, kernel: i64, stride: i64, dilation: i64, pads: i64) -> i64 {
    (size + pads - dilation * (kernel - 1) - 1).div_euclid(stride) + 1
}

fn convolution(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (out, kernel, stride) = (how.of(&[4, 8, 16, 32]), how.of(&[3, 1, 2, 5]), how.of(&[1, 1, 2]));
    let dilation = how.of(&[1, 1, 1, 2]);
    let groups = if how.of(&[false, false, true]) && c % 2 == 0 { 2 } else { 1 };
    let (before, after) = how.of(&[(kernel / 2, kernel / 2), (0, 0), (0, 1), (1, 0)]);
    let side = |size| windows(size, kernel, stride, dilation, before + after);
    let weights = draft.weights(&[out, c / groups, kernel, kernel], c / groups * kernel * kernel);
    let bias = draft.weights(&[out], 1);
    draft.yields("Conv", &[&x.name, &weights, &bias], vec![n, out, side(h), side(w)], |node| {
        node.ints("kernel_shape", &[kernel; 2])
            .ints("strides", &[stride; 2])
            .ints("dilations", &[dilation; 2])
            .ints("pads", &[before, before, after, after])
            .int("group", groups)
    })
}

fn pointwise(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let out = how.of(&[4, 8, 16, 32]);
    let weights = draft.weights(&[out, c, 1, 1], c);
    draft.yields("Conv", &[&x.name, &weights], vec![n, out, h, w], plain)
}

fn depthwise(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let stride = how.of(&[1, 2]);
    let weights = draft.weights(&[c, 1, 3, 3], 9);
    let side = |size| windows(size, 3, stride, 1, 2);
    draft.yields("Conv", &[&x.name, &weights], vec![n, c, side(h), side(w)], |node| {
        node.ints("pads", &[1; 4]).ints("strides", &[stride; 2]).int("group", c)
    })
}

fn transposed_convolution(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, pads, more) = how.of(&[(2, 0, 0), (3, 1, 1), (4, 1, 0)]);
    let groups = if how.flips() && c % 2 == 0 { 2 } else { 1 };
    let weights = draft.weights(&[c, 8 / groups, kernel, kernel], c * kernel * kernel / groups / 4);
    draft.yields("ConvTranspose", &[&x.name, &weights], vec![n, 8, h * 2, w * 2], |node| {
        node.ints("strides", &[2; 2]).ints("pads", &[pads; 4]).ints("output_padding", &[more; 2]).int("group", groups)
    })
}

/// A convolution or a pooling of one dimension.
fn along_a_line(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, length] = x.shape.as_slice().try_into().ok()?;
    if how.flips() {
        let set = |node: Node| node.ints("kernel_shape", &[2]).ints("strides", &[2]);
        return draft.yields(how.of(&["MaxPool", "AveragePool"]), &[&x.name], vec![n, c, length / 2], set);
    }
    let weights = draft.weights(&[8, c, 3], c * 3);
    draft.yields("Conv", &[&x.name, &weights], vec![n, 8, length], |node| node.ints("pads", &[1, 1]))
}

fn activation(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    const ALL: [&str; 13] = [
        "Relu",
        "Relu",
        "Sigmoid",
        "Tanh",
        "LeakyRelu",
        "Elu",
        "HardSigmoid",
        "Softplus",
        "Erf",
        "HardSwish",
        "Softsign",
        "Mish",
        "Selu",
    ];
    let operator = how.of(&ALL);
    let since = match operator {
        "HardSwish" => 14,
        "Mish" => 18,
        _ => 0,
    };
    (draft.opset >= since).then_some(())?;
    draft.yields(operator, &[&x.name], x.shape.clone(), plain)
}

/// Functions that are only fed what is not too large, and no number on which they jump.
fn bounded(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let (low, high) = (draft.scalar(-2.7), draft.scalar(2.9));
    let inner = draft.node("Clip", &[&x.name, &low, &high], plain);
    let aside = draft.scalar(0.1173);
    let inner = draft.node("Add", &[&inner, &aside], plain);
    let operator = how.of(&["Abs", "Neg", "Exp", "Floor", "Sin", "Cos", "Sign", "Ceil", "Atan", "Round"]);
    draft.yields(operator, &[&inner], x.shape.clone(), plain)
}

fn clip(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let (low, high) = how.of(&[(-1.0, 2.0), (0.0, 6.0), (-3.0, -0.25)]);
    let (low, high) = (draft.scalar(low), draft.scalar(high));
    let inputs: &[&str] = if how.flips() { &[&x.name, &low, &high] } else { &[&x.name, &low] };
    draft.yields("Clip", inputs, x.shape.clone(), plain)
}

fn slope(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [_, c, ..] = x.picture()?;
    let slopes = draft.weights(&[c, 1, 1], 4);
    draft.yields("PRelu", &[&x.name, &slopes], x.shape.clone(), plain)
}

fn max_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride, pads) = how.of(&[(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2)]);
    let ceil = i64::from(how.of(&[false, false, true]));
    let side = |size: i64| windows(size + ceil * (stride - 1), kernel, stride, 1, 2 * pads);
    // Where the last window begins behind what there is, ONNX Runtime and the standard differ.
    let begins = |size: i64| (side(size) - 1) * stride < size + pads;
    (h.min(w) >= kernel && begins(h) && begins(w)).then_some(())?;
    draft.yields("MaxPool", &[&x.name], vec![n, c, side(h), side(w)], |node| {
        let node = node.ints("kernel_shape", &[kernel; 2]).ints("strides", &[stride; 2]).ints("pads", &[pads; 4]);
        node.int("ceil_mode", ceil)
    })
}

fn average_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride, pads) = how.of(&[(3, 1, 1), (2, 2, 0), (3, 2, 1)]);
    let counted = i64::from(how.flips());
    let side = |size| windows(size, kernel, stride, 1, 2 * pads);
    (h.min(w) >= kernel).then_some(())?;
    draft.yields("AveragePool", &[&x.name], vec![n, c, side(h), side(w)], |node| {
        let node = node.ints("kernel_shape", &[kernel; 2]).ints("strides", &[stride; 2]).ints("pads", &[pads; 4]);
        node.int("count_include_pad", counted)
    })
}

fn global_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, ..] = x.picture()?;
    let operator = how.of(&["GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"]);
    draft.yields(operator, &[&x.name], vec![n, c, 1, 1], plain)
}

fn local_response(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    x.picture()?;
    draft.yields("LRN", &[&x.name], x.shape.clone(), |node| node.int("size", 3).float("alpha", 0.1))
}

fn batch_norm(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [_, c, _, ..] = x.shape[..] else { return None };
    let (scale, bias) = (draft.positive(c), draft.weights(&[c], 1));
    let (mean, variance) = (draft.weights(&[c], 1), draft.positive(c));
    draft.yields("BatchNormalization", &[&x.name, &scale, &bias, &mean, &variance], x.shape.clone(), plain)
}

fn instance_norm(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [_, c, h, w] = x.picture()?;
    (h * w > 3).then_some(())?;
    let (scale, bias) = (draft.positive(c), draft.weights(&[c], 1));
    let set = |node: Node| node.float("epsilon", 0.01);
    draft.yields("InstanceNormalization", &[&x.name, &scale, &bias], x.shape.clone(), set)
}

/// Written out where the opset has none.
fn layer_norm(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = if how.flips() { x.rank() - 1 } else { how.axis(x)? };
    let sizes = &x.shape[axis..];
    let count: i64 = sizes.iter().product();
    (count > 3 && axis > 0).then_some(())?;
    if draft.opset >= 17 {
        let (scale, bias) = (draft.weights(sizes, 1), draft.weights(sizes, 1));
        let set = |node: Node| node.int("axis", axis as i64).float("epsilon", 0.01);
        return draft.yields("LayerNormalization", &[&x.name, &scale, &bias], x.shape.clone(), set);
    }
    let axes: Vec<i64> = (axis..x.rank()).map(|axis| axis as i64).collect();
    let mean = draft.node("ReduceMean", &[&x.name], |node| node.ints("axes", &axes));
    let centred = draft.node("Sub", &[&x.name, &mean], plain);
    let (two, epsilon) = (draft.scalar(2.0), draft.scalar(0.01));
    let squares = draft.node("Pow", &[&centred, &two], plain);
    let variance = draft.node("ReduceMean", &[&squares], |node| node.ints("axes", &axes));
    let variance = draft.node("Add", &[&variance, &epsilon], plain);
    let deviation = draft.node("Sqrt", &[&variance], plain);
    draft.yields("Div", &[&centred, &deviation], x.shape.clone(), plain)
}

/// Vectors of length one.
fn length_norm(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let length = reduced(draft, "ReduceL2", &x.name, axis, true);
    let least = draft.scalar(0.05);
    let length = draft.node("Clip", &[&length, &least], plain);
    draft.yields("Div", &[&x.name, &length], x.shape.clone(), plain)
}

/// As exporters write it for opsets that lack it.
fn group_norm(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 2 == 0 && c * h * w > 8).then_some(())?;
    let (flat, back) = (draft.integers(&[0, 2, -1]), draft.integers(&[n, c, h, w]));
    let groups = draft.node("Reshape", &[&x.name, &flat], plain);
    let (ones, zeros) = (draft.constant(&[2], &[1.0; 2]), draft.constant(&[2], &[0.0; 2]));
    let set = |node: Node| node.float("epsilon", 0.01);
    let normal = draft.node("InstanceNormalization", &[&groups, &ones, &zeros], set);
    let normal = draft.node("Reshape", &[&normal, &back], plain);
    let scale = draft.weights(&[c, 1, 1], 1);
    draft.yields("Mul", &[&normal, &scale], x.shape.clone(), plain)
}

fn softmax(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)? as i64;
    let operator = how.of(&["Softmax", "Softmax", "LogSoftmax"]);
    draft.yields(operator, &[&x.name], x.shape.clone(), |node| node.int("axis", axis))
}

fn matmul_constant(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (x.rank() > 1).then_some(())?;
    let last = x.rank() - 1;
    let columns = how.of(&[8, 4, 16]);
    let weights = draft.weights(&[x.shape[last], columns], x.shape[last]);
    draft.yields("MatMul", &[&x.name, &weights], x.with(last, columns), plain)
}

/// The product of a value with its transpose.
fn matmul_itself(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let rank = x.rank();
    (rank > 2).then_some(())?;
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(rank - 2, rank - 1);
    let turned = draft.node("Transpose", &[&x.name], |node| node.ints("perm", &order));
    let product = draft.node("MatMul", &[&x.name, &turned], plain);
    let scale = draft.scalar(1.0 / x.shape[rank - 1] as f32);
    draft.yields("Mul", &[&product, &scale], x.with(rank - 1, x.shape[rank - 2]), plain)
}

/// Queries, keys and values of a sequence, in heads.
fn attention(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, length, c] = x.shape.as_slice().try_into().ok()?;
    let (heads, wide) = how.of(&[(2, 4), (1, 8), (4, 4)]);
    let (apart, together) = (draft.integers(&[0, 0, heads, wide]), draft.integers(&[0, 0, heads * wide]));
    let part = |draft: &mut Draft, order: [i64; 4]| {
        let weights = draft.weights(&[c, heads * wide], c);
        let all = draft.node("MatMul", &[&x.name, &weights], plain);
        let apart = draft.node("Reshape", &[&all, &apart], plain);
        draft.node("Transpose", &[&apart], |node| node.ints("perm", &order))
    };
    let query = part(draft, [0, 2, 1, 3]);
    let key = part(draft, [0, 2, 3, 1]);
    let value = part(draft, [0, 2, 1, 3]);
    let scores = draft.node("MatMul", &[&query, &key], plain);
    let scale = draft.scalar((wide as f32).sqrt());
    let scores = draft.node("Div", &[&scores, &scale], plain);
    let scores = draft.node("Softmax", &[&scores], |node| node.int("axis", -1));
    let heads_out = draft.node("MatMul", &[&scores, &value], plain);
    let turned = draft.node("Transpose", &[&heads_out], |node| node.ints("perm", &[0, 2, 1, 3]));
    draft.yields("Reshape", &[&turned, &together], vec![n, length, heads * wide], plain)
}

fn gemm(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [rows, c] = x.shape.as_slice().try_into().ok()?;
    let turned = how.flips();
    let weights = draft.weights(&if turned { [8, c] } else { [c, 8] }, c);
    let bias = draft.weights(&[8], 1);
    let set = |node: Node| node.int("transB", turned.into()).float("alpha", how.of(&[1.0, 0.5]));
    draft.yields("Gemm", &[&x.name, &weights, &bias], vec![rows, 8], set)
}

fn einsum(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    match (x.shape.as_slice(), how.flips()) {
        (&[n, a, b], true) => {
            let set = |node: Node| node.text("equation", "bij,bkj->bik");
            let product = draft.node("Einsum", &[&x.name, &x.name], set);
            let scale = draft.scalar(1.0 / b as f32);
            draft.yields("Mul", &[&product, &scale], vec![n, a, a], plain)
        }
        (&[n, c, h, w], true) => {
            let weights = draft.weights(&[c, 8], c);
            let set = |node: Node| node.text("equation", "nchw,cd->ndhw");
            draft.yields("Einsum", &[&x.name, &weights], vec![n, 8, h, w], set)
        }
        (&[n, c, h, w], false) => {
            let weights = draft.weights(&[c, w], w);
            let set = |node: Node| node.text("equation", "nchw,cw->nch");
            draft.yields("Einsum", &[&x.name, &weights], vec![n, c, h], set)
        }
        _ => None,
    }
}

fn arithmetic(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Add", "Mul", "Sub", "Max", "Min", "Add"]);
    let other = draft.other(how, |shape| shape == x.shape)?;
    draft.yields(operator, &[&x.name, &other.name], x.shape.clone(), plain)
}

fn broadcast(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Add", "Mul", "Sub"]);
    let is_spread = |shape: &[i64]| {
        let behind = x.rank().checked_sub(shape.len());
        behind.is_some_and(|behind| shape.iter().zip(&x.shape[behind..]).all(|(&a, &b)| a == b || a == 1))
    };
    let other = draft.other(how, |shape| is_spread(shape) && shape != x.shape)?;
    let inputs = if how.flips() { [&x.name, &other.name] } else { [&other.name, &x.name] };
    draft.yields(operator, &inputs.map(String::as_str), x.shape.clone(), plain)
}

/// With a constant of one number, one for each channel, or one for each element.
fn constant_arithmetic(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Add", "Mul", "Sub", "Div", "Max"]);
    let (kind, first) = (how.below(3), how.of(&[false, false, true]) && operator != "Div");
    let mut dims = vec![1; x.rank()];
    match kind {
        0 => dims = vec![],
        1 => dims[x.rank().min(2) - 1] = x.shape[x.rank().min(2) - 1],
        _ => dims[1..].copy_from_slice(&x.shape[1..]),
    }
    let count = dims.iter().product();
    let values: Vec<f32> = draft.numbers(count).iter().map(|number| number / 2.0 + 1.0).collect();
    let constant = draft.constant(&dims, &values);
    let inputs = if first { [&constant, &x.name] } else { [&x.name, &constant] };
    draft.yields(operator, &inputs.map(String::as_str), x.shape.clone(), plain)
}

fn several_summed(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Sum", "Mean", "Max"]);
    let mut other = || draft.other(how, |shape| shape == x.shape).map(|value| value.name);
    let (second, third) = (other()?, other()?);
    draft.yields(operator, &[&x.name, &second, &third], x.shape.clone(), plain)
}

fn choose(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let limit = draft.scalar(0.117_31);
    let condition = draft.node(how.of(&["Greater", "Less"]), &[&x.name, &limit], plain);
    if how.flips() {
        let one = |node: Node| node.int("to", 1);
        return draft.yields("Cast", &[&condition], x.shape.clone(), one);
    }
    let otherwise = draft.scalar(-0.5);
    draft.yields("Where", &[&condition, &x.name, &otherwise], x.shape.clone(), plain)
}

fn largest(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    (x.shape[axis] > 2).then_some(())?;
    let count = draft.integers(&[2]);
    let found = draft.several("TopK", &[&x.name, &count], 2, |node| node.int("axis", axis as i64));
    draft.keep(found[0].clone(), x.with(axis, 2))
}

/// Of numbers that are not all the same.
fn place_of_largest(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let aside: Vec<f32> = (0..x.shape[axis]).map(|place| (place * 7 % 11) as f32).collect();
    let mut dims = vec![1; x.rank()];
    dims[axis] = x.shape[axis];
    let aside = draft.constant(&dims, &aside);
    let inner = draft.node("Add", &[&x.name, &aside], plain);
    let place = draft.node(how.of(&["ArgMax", "ArgMin"]), &[&inner], |node| node.int("axis", axis as i64));
    draft.yields("Cast", &[&place], x.with(axis, 1), |node| node.int("to", 1))
}

/// A reduction of one axis, whose place depends on the opset.
fn reduced(draft: &mut Draft, operator: &str, x: &str, axis: usize, keep: bool) -> String {
    let axis = axis as i64;
    if draft.opset >= 18 || operator == "ReduceSum" {
        let axes = draft.integers(&[axis]);
        return draft.node(operator, &[x, &axes], |node| node.int("keepdims", keep.into()));
    }
    draft.node(operator, &[x], |node| node.ints("axes", &[axis]).int("keepdims", keep.into()))
}

fn reduce(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    const ALL: [&str; 7] = ["ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceMean"];
    let (operator, axis, keep) = (how.of(&ALL), how.axis(x)?, how.of(&[true, true, false]));
    let name = reduced(draft, operator, &x.name, axis, keep);
    let mut shape = x.with(axis, 1);
    if !keep {
        shape.remove(axis);
    }
    draft.keep(name, shape)
}

fn running_sum(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    (x.shape[axis] <= 16).then_some(())?;
    let place = draft.tensor(&[], &[axis as i64]);
    let scale = draft.scalar(0.25);
    let sums = draft.node("CumSum", &[&x.name, &place], |node| node.int("reverse", how.flips().into()));
    draft.yields("Mul", &[&sums, &scale], x.shape.clone(), plain)
}

fn concat(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let like = |shape: &[i64]| {
        shape.len() == x.rank() && (0..x.rank()).all(|place| place == axis || shape[place] == x.shape[place])
    };
    let other = draft.other(how, like)?;
    let mut inputs = vec![x.name.as_str(), &other.name];
    let mut size = x.shape[axis] + other.shape[axis];
    if how.of(&[false, false, true]) {
        inputs.push(&x.name);
        size += x.shape[axis];
    }
    draft.yields("Concat", &inputs, x.with(axis, size), |node| node.int("axis", axis as i64))
}

fn split(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis];
    (size > 1).then_some(())?;
    let first = 1 + how.below(size as usize - 1) as i64;
    let sizes = draft.integers(&[first, size - first]);
    let parts = draft.several("Split", &[&x.name, &sizes], 2, |node| node.int("axis", axis as i64));
    draft.keep(parts[0].clone(), x.with(axis, first))?;
    draft.keep(parts[1].clone(), x.with(axis, size - first))
}

fn slice(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis];
    (size >= 4).then_some(())?;
    let (begin, end, step) =
        how.of(&[(1, size - 1, 1), (0, size, 2), (1, size, 2), (-1, -size - 1, -1), (-3, size, 1)]);
    let bounds = [begin, end, axis as i64, step].map(|bound| draft.integers(&[bound]));
    let [begins, ends, axes, steps] = &bounds;
    let from = |place: i64| if place < 0 { (place + size).max(-1) } else { place };
    let count = (from(end) - from(begin) + step - step.signum()) / step;
    draft.yields("Slice", &[&x.name, begins, ends, axes, steps], x.with(axis, count), plain)
}

fn gather(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis] as usize;
    let set = |node: Node| node.int("axis", axis as i64);
    if how.of(&[false, false, true]) {
        let place = draft.tensor(&[], &[how.below(size) as i64]);
        let mut shape = x.shape.clone();
        shape.remove(axis);
        return draft.yields("Gather", &[&x.name, &place], shape, set);
    }
    let places = draft.integers(&[how.below(size), how.below(size), how.below(size)].map(|place| place as i64));
    draft.yields("Gather", &[&x.name, &places], x.with(axis, 3), set)
}

fn pad(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let mode = how.of(&["constant", "reflect", "edge"]);
    (mode != "reflect" || h.min(w) > 2).then_some(())?;
    let [top, left, bottom, right] = how.of(&[[1, 0, 2, 1], [0, 1, 0, 1], [1, 1, 1, 1]]);
    let pads = draft.integers(&[0, 0, top, left, 0, 0, bottom, right]);
    let value = draft.scalar(how.of(&[0.0, 0.5]));
    let inputs: &[&str] = if mode == "constant" { &[&x.name, &pads, &value] } else { &[&x.name, &pads] };
    let shape = vec![n, c, h + top + bottom, w + left + right];
    draft.yields("Pad", inputs, shape, |node| node.text("mode", mode))
}

fn tile(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let mut repeats = vec![1; x.rank()];
    repeats[axis] = 2;
    let repeats = draft.integers(&repeats);
    draft.yields("Tile", &[&x.name, &repeats], x.with(axis, x.shape[axis] * 2), plain)
}

fn expand(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let axis = 1 + x.shape[1..].iter().position(|&size| size == 1)?;
    let shape = x.with(axis, 4);
    let to = draft.integers(&shape);
    draft.yields("Expand", &[&x.name, &to], shape, plain)
}

fn transpose(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (x.rank() > 2).then_some(())?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    for place in (2..x.rank()).rev() {
        order.swap(place, 1 + how.below(place));
    }
    let shape = order.iter().map(|&axis| x.shape[axis]).collect();
    let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
    draft.yields("Transpose", &[&x.name], shape, |node| node.ints("perm", &order))
}

/// To two, three or four axes, the first of them the batch.
fn reshape(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let count: i64 = x.shape[1..].iter().product();
    let divisors: Vec<i64> = (1..=count.min(64)).filter(|size| count % size == 0).collect();
    let first = how.of(&divisors);
    let rest = count / first;
    let shape = match how.below(3) {
        0 => vec![x.shape[0], first, rest],
        1 => vec![x.shape[0], count],
        _ => {
            let second = (1..=rest).filter(|size| rest % size == 0 && size * size <= rest).max()?;
            vec![x.shape[0], first, second, rest / second]
        }
    };
    let to = draft.integers(&shape);
    draft.yields("Reshape", &[&x.name, &to], shape, plain)
}

/// As exporters write it: the batch of the shape, and the rest as one.
fn computed_reshape(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (x.rank() > 2).then_some(())?;
    let whole = draft.node("Shape", &[&x.name], plain);
    let kept = 1 + how.below(2);
    let mut parts = Vec::new();
    for axis in 0..kept {
        let place = draft.integers(&[axis as i64]);
        parts.push(draft.node("Gather", &[&whole, &place], |node| node.int("axis", 0)));
    }
    parts.push(draft.integers(&[-1]));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let to = draft.node("Concat", &parts, |node| node.int("axis", 0));
    let mut shape = x.shape[..kept].to_vec();
    shape.push(x.shape[kept..].iter().product());
    draft.yields("Reshape", &[&x.name, &to], shape, plain)
}

fn one_axis_more_or_less(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let mut shape = x.shape.clone();
    if let Some(axis) = shape.iter().skip(1).position(|&size| size == 1).filter(|_| shape.len() > 2) {
        shape.remove(axis + 1);
        let axes = draft.integers(&[axis as i64 + 1]);
        return draft.yields("Squeeze", &[&x.name, &axes], shape, plain);
    }
    (shape.len() < 4).then_some(())?;
    let axis = 1 + how.below(shape.len());
    shape.insert(axis, 1);
    let axes = draft.integers(&[axis as i64]);
    draft.yields("Unsqueeze", &[&x.name, &axes], shape, plain)
}

/// Channels shuffled in two groups.
fn shuffle(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 2 == 0).then_some(())?;
    let (apart, together) = (draft.integers(&[n, 2, c / 2, h, w]), draft.integers(&x.shape));
    let groups = draft.node("Reshape", &[&x.name, &apart], plain);
    let turned = draft.node("Transpose", &[&groups], |node| node.ints("perm", &[0, 2, 1, 3, 4]));
    draft.yields("Reshape", &[&turned, &together], x.shape.clone(), plain)
}

fn blocks(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    if how.flips() && h % 2 == 0 && w % 2 == 0 {
        let set = |node: Node| node.int("blocksize", 2);
        return draft.yields("SpaceToDepth", &[&x.name], vec![n, c * 4, h / 2, w / 2], set);
    }
    (c % 4 == 0).then_some(())?;
    let mode = how.of(&["DCR", "CRD"]);
    let set = |node: Node| node.int("blocksize", 2).text("mode", mode);
    draft.yields("DepthToSpace", &[&x.name], vec![n, c / 4, h * 2, w * 2], set)
}

fn resize(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (mode, transformation) = how.of(&[
        ("nearest", "asymmetric"),
        ("linear", "half_pixel"),
        ("linear", "align_corners"),
        ("linear", "asymmetric"),
        ("linear", "pytorch_half_pixel"),
        ("cubic", "half_pixel"),
    ]);
    let set = |node: Node| {
        let node = node.text("mode", mode).text("coordinate_transformation_mode", transformation);
        if mode == "nearest" { node.text("nearest_mode", "floor") } else { node }
    };
    if how.of(&[false, false, true]) {
        let (rows, columns) = how.of(&[(h + 3, w + 2), (h * 3 / 2, w * 2), (7, 5)]);
        let to = draft.integers(&[n, c, rows, columns]);
        return draft.yields("Resize", &[&x.name, "", "", &to], vec![n, c, rows, columns], set);
    }
    let scales = draft.constant(&[4], &[1.0, 1.0, 2.0, 2.0]);
    draft.yields("Resize", &[&x.name, "", &scales], vec![n, c, h * 2, w * 2], set)
}

/// To the size of another value, computed as exporters do.
fn resize_as_another(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, ..] = x.picture()?;
    let other = draft.other(how, |shape| shape.len() == 4)?;
    let sizes = draft.node("Shape", &[&other.name], plain);
    let [from, to] = [2, 4].map(|bound| draft.integers(&[bound]));
    let sides = draft.node("Slice", &[&sizes, &from, &to], plain);
    let whole = draft.node("Shape", &[&x.name], plain);
    let [zero, two] = [0, 2].map(|bound| draft.integers(&[bound]));
    let kept = draft.node("Slice", &[&whole, &zero, &two], plain);
    let sizes = draft.node("Concat", &[&kept, &sides], |node| node.int("axis", 0));
    let set = |node: Node| node.text("mode", "linear").text("coordinate_transformation_mode", "half_pixel");
    draft.yields("Resize", &[&x.name, "", "", &sizes], vec![n, c, other.shape[2], other.shape[3]], set)
}

/// A convolution or a pooling of three dimensions, between a picture and a picture.
fn volume(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 2 == 0 && h.min(w) > 2).then_some(())?;
    let (apart, together) = (draft.integers(&[n, 2, c / 2, h, w]), draft.integers(&[n, -1, h, w]));
    let deep = draft.node("Reshape", &[&x.name, &apart], plain);
    let (deep, channels) = if how.flips() {
        let set = |node: Node| node.ints("kernel_shape", &[3; 3]).ints("pads", &[1; 6]);
        (draft.node(how.of(&["MaxPool", "AveragePool"]), &[&deep], set), c)
    } else {
        let weights = draft.weights(&[4, 2, 3, 3, 3], 54);
        (draft.node("Conv", &[&deep, &weights], |node| node.ints("pads", &[1; 6])), 2 * c)
    };
    draft.yields("Reshape", &[&deep, &together], vec![n, channels, h, w], plain)
}

/// LSTM and GRU over the first axis behind the batch, in one direction or two.
fn recurrent(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, length, c] = x.shape[..] else { return None };
    (length <= 16).then_some(())?;
    let (operator, gates) = how.of(&[("LSTM", 4), ("GRU", 3)]);
    let (direction, ways) = how.of(&[("forward", 1), ("bidirectional", 2), ("reverse", 1)]);
    let first = draft.node("Transpose", &[&x.name], |node| node.ints("perm", &[1, 0, 2]));
    let (weights, again) = (draft.weights(&[ways, gates * 4, c], c), draft.weights(&[ways, gates * 4, 4], 4));
    let bias = draft.weights(&[ways, gates * 8], 4);
    let linear = i64::from(how.flips());
    let states = draft.node(operator, &[&first, &weights, &again, &bias], |node| {
        let node = node.int("hidden_size", 4).text("direction", direction);
        if operator == "GRU" { node.int("linear_before_reset", linear) } else { node }
    });
    let turned = draft.node("Transpose", &[&states], |node| node.ints("perm", &[2, 0, 1, 3]));
    let to = draft.integers(&[1, length, ways * 4]);
    draft.yields("Reshape", &[&turned, &to], vec![1, length, ways * 4], plain)
}

/// A picture at places that move with its values.
fn sampled(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, c, h, w] = x.picture()? else { return None };
    (draft.opset >= 16 && c >= 2).then_some(())?;
    let weights = draft.weights(&[2, c, 1, 1], c);
    let moved = draft.node("Conv", &[&x.name, &weights], plain);
    let moved = draft.node("Tanh", &[&moved], plain);
    let grid = draft.node("Transpose", &[&moved], |node| node.ints("perm", &[0, 2, 3, 1]));
    let (mode, border) = ("bilinear", how.of(&["zeros", "border"]));
    draft.yields("GridSample", &[&x.name, &grid], vec![1, c, h, w], |node| {
        node.text("mode", mode).text("padding_mode", border).int("align_corners", how.flips().into())
    })
}

/// Another value put in the place of a part, by indices that are known.
fn scattered(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, rows, columns] = x.shape[..] else { return None };
    (rows > 2).then_some(())?;
    let update = draft.weights(&[2, columns], 1);
    let first = how.below(rows as usize - 1) as i64;
    let places = draft.tensor(&[2, 2], &[0, first, 0, first + 1]);
    draft.yields("ScatterND", &[&x.name, &places, &update], x.shape.clone(), plain)
}

/// Elements at indices that are known.
fn picked(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let shape = x.with(axis, 2);
    let count: i64 = shape.iter().product();
    let places: Vec<i64> = (0..count).map(|place| place * 7 % x.shape[axis]).collect();
    let places = draft.tensor(&shape, &places);
    draft.yields("GatherElements", &[&x.name, &places], shape, |node| node.int("axis", axis as i64))
}

/// SiLU, GELU and gated halves, as exporters write them.
fn gated(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    match how.below(3) {
        0 => {
            let gate = draft.node("Sigmoid", &[&x.name], plain);
            draft.yields("Mul", &[&x.name, &gate], x.shape.clone(), plain)
        }
        1 => {
            let [root, one, half] = [2_f32.sqrt(), 1.0, 0.5].map(|number| draft.scalar(number));
            let inner = draft.node("Div", &[&x.name, &root], plain);
            let inner = draft.node("Erf", &[&inner], plain);
            let inner = draft.node("Add", &[&inner, &one], plain);
            let inner = draft.node("Mul", &[&x.name, &inner], plain);
            draft.yields("Mul", &[&inner, &half], x.shape.clone(), plain)
        }
        _ => {
            let axis = how.axis(x)?;
            (x.shape[axis] % 2 == 0).then_some(())?;
            let half = x.shape[axis] / 2;
            let sizes = draft.integers(&[half, half]);
            let halves = draft.several("Split", &[&x.name, &sizes], 2, |node| node.int("axis", axis as i64));
            let gate = draft.node("Sigmoid", &[&halves[1]], plain);
            draft.yields("Mul", &[&halves[0], &gate], x.with(axis, half), plain)
        }
    }
}

fn squeeze_and_excite(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, ..] = x.picture()?;
    let mean = draft.node("GlobalAveragePool", &[&x.name], plain);
    let (down, up) = (draft.weights(&[4, c, 1, 1], c), draft.weights(&[c, 4, 1, 1], 4));
    let gate = if how.flips() {
        let inner = draft.node("Conv", &[&mean, &down], plain);
        let inner = draft.node("Relu", &[&inner], plain);
        draft.node("Conv", &[&inner, &up], plain)
    } else {
        let weights = draft.weights(&[c, c], c);
        let (flat, back) = (draft.integers(&[n, c]), draft.integers(&[n, c, 1, 1]));
        let inner = draft.node("Reshape", &[&mean, &flat], plain);
        let inner = draft.node("MatMul", &[&inner, &weights], plain);
        draft.node("Reshape", &[&inner, &back], plain)
    };
    let gate = draft.node(how.of(&["Sigmoid", "HardSigmoid"]), &[&gate], plain);
    draft.yields("Mul", &[&x.name, &gate], x.shape.clone(), plain)
}

/// Powers and roots of what is above zero.
fn powers(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [low, high] = [0.25, 6.0].map(|number| draft.scalar(number));
    let inner = draft.node("Clip", &[&x.name, &low, &high], plain);
    let operator = how.of(&["Sqrt", "Reciprocal", "Log", "Pow", "Pow"]);
    if operator != "Pow" {
        return draft.yields(operator, &[&inner], x.shape.clone(), plain);
    }
    let exponent = draft.scalar(how.of(&[2.0, 0.5, -1.0, 3.0, 1.7]));
    draft.yields("Pow", &[&inner, &exponent], x.shape.clone(), plain)
}

fn logic(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [low, high] = [-0.3117, 0.4371].map(|number| draft.scalar(number));
    let above = draft.node("Greater", &[&x.name, &low], plain);
    let below = draft.node("Less", &[&x.name, &high], plain);
    let both = draft.node(how.of(&["And", "Or", "Xor"]), &[&above, &below], plain);
    let both = if how.flips() { draft.node("Not", &[&both], plain) } else { both };
    let zero = draft.scalar(0.0);
    draft.yields("Where", &[&both, &x.name, &zero], x.shape.clone(), plain)
}

/// Integers in between.
fn whole_numbers(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [low, high, scale, aside] = [-3.0, 3.0, 2.3, 0.1173].map(|number| draft.scalar(number));
    let inner = draft.node("Clip", &[&x.name, &low, &high], plain);
    let inner = draft.node("Mul", &[&inner, &scale], plain);
    let inner = draft.node("Add", &[&inner, &aside], plain);
    let to = how.of(&[6, 7]);
    let whole = draft.node("Cast", &[&inner], |node| node.int("to", to));
    let whole = draft.node(how.of(&["Add", "Mul", "Max"]), &[&whole, &whole], plain);
    draft.yields("Cast", &[&whole], x.shape.clone(), |node| node.int("to", 1))
}

fn one_hot(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let &[first, .., last] = x.shape.as_slice() else { return None };
    (first == 1 && x.rank() < 4 && last <= 16).then_some(())?;
    let aside: Vec<f32> = (0..last).map(|place| (place * 7 % 11) as f32).collect();
    let aside = draft.constant(&[last], &aside);
    let inner = draft.node("Add", &[&x.name, &aside], plain);
    let place = draft.node("ArgMax", &[&inner], |node| node.int("axis", -1).int("keepdims", 0));
    let depth = draft.tensor(&[], &[last]);
    let values = draft.constant(&[2], &[0.25, 1.5]);
    draft.yields("OneHot", &[&place, &depth, &values], x.shape.clone(), plain)
}

fn standard_moments(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [_, c, h, w] = x.picture()?;
    (h * w > 3 && c > 1).then_some(())?;
    let axes: &[i64] = if how.flips() { &[2, 3] } else { &[1, 2, 3] };
    // Where all are the same, their deviation is zero.
    let noise = draft.weights(&x.shape, 1);
    let inner = draft.node("Add", &[&x.name, &noise], plain);
    draft.yields("MeanVarianceNormalization", &[&inner], x.shape.clone(), |node| node.ints("axes", axes))
}

fn triangle(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (draft.opset >= 14 && x.rank() > 2).then_some(())?;
    draft.yields("Trilu", &[&x.name], x.shape.clone(), |node| node.int("upper", how.flips().into()))
}
