//! The operators of random networks: each writes one step on a value, if that can be read so.

mod elements;
mod pictures;
mod pieces;
mod products;
mod sums;

use crate::builder::Node;
use crate::draft::{Draft, How, Value};

type Operator = fn(&mut Draft, &Value, &mut How) -> Option<()>;

/// Those that networks have many of stand more than once.
pub const OPERATORS: [Operator; 80] = [
    pictures::convolution,
    pictures::convolution,
    pictures::convolution,
    pictures::convolution,
    pictures::pointwise,
    pictures::pointwise,
    pictures::depthwise,
    pictures::transposed_convolution,
    pictures::along_a_line,
    elements::activation,
    elements::activation,
    elements::activation,
    elements::bounded,
    elements::clip,
    pictures::slope,
    pictures::max_pool,
    pictures::max_pool,
    pictures::average_pool,
    pictures::average_pool,
    pictures::global_pool,
    pictures::local_response,
    sums::batch_norm,
    sums::instance_norm,
    sums::layer_norm,
    sums::length_norm,
    sums::group_norm,
    sums::softmax,
    sums::softmax,
    products::matmul_constant,
    products::matmul_constant,
    products::matmul_itself,
    products::attention,
    products::gemm,
    products::einsum,
    elements::arithmetic,
    elements::arithmetic,
    elements::arithmetic,
    elements::broadcast,
    elements::broadcast,
    elements::constant_arithmetic,
    elements::several_summed,
    elements::choose,
    elements::largest,
    elements::place_of_largest,
    sums::reduce,
    sums::reduce,
    sums::running_sum,
    pieces::concat,
    pieces::concat,
    pieces::split,
    pieces::split,
    pieces::slice,
    pieces::slice,
    pieces::gather,
    pictures::pad,
    pieces::tile,
    pieces::expand,
    pieces::transpose,
    pieces::transpose,
    pieces::reshape,
    pieces::reshape,
    pieces::computed_reshape,
    pieces::one_axis_more_or_less,
    pictures::shuffle,
    pictures::blocks,
    pictures::resize,
    pictures::resize_as_another,
    pictures::volume,
    products::recurrent,
    pictures::sampled,
    pieces::scattered,
    pieces::picked,
    elements::gated,
    pictures::squeeze_and_excite,
    elements::powers,
    elements::logic,
    elements::whole_numbers,
    elements::one_hot,
    sums::standard_moments,
    pieces::triangle,
];

/// A node as it is.
pub fn plain(node: Node) -> Node {
    node
}
