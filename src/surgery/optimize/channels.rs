//! Channels that are taken apart and joined in another order.

use super::super::draft::{Site, rewrite_nodes};
use super::super::{Pass, PassError};
use super::affine::{Convolution, only_reader, step};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{Known, Patch, is_onnx_domain, read_floats};

/// The longest chain between the joined channels and the convolution.
const LONGEST_CHAIN: usize = 8;

/// Reorders the weights of a convolution instead of the channels of its input.
#[derive(Clone, Copy, Debug)]
pub struct FuseChannelOrder;

impl Pass for FuseChannelOrder {
    fn name(&self) -> &'static str {
        "fuse-split-concat-to-conv"
    }

    fn reason(&self) -> &'static str {
        "a convolution takes the channels of its input in any order at no cost"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let nodes = &model.graph().node;
        let mut removed = Vec::new();
        let patch = rewrite_nodes(
            model,
            |node| node.op_type() == "Conv",
            |site, draft| {
                let convolution = Convolution::of(site)?;
                let [channels, _] = convolution.channels;
                if site.integer("group").unwrap_or(1) != 1 {
                    return None;
                }
                // Back through what treats each channel for itself.
                let mut chain = Vec::new();
                let mut value = site.input(0)?.to_owned();
                let mut place = site.reads.producer(&value)?;
                only_reader(site.reads, &value)?;
                while nodes.get(place)?.op_type() != "Concat" {
                    let step = step(model, site.facts, place, convolution.rank, channels)?;
                    only_reader(site.reads, &step.input)?;
                    value.clone_from(&step.input);
                    chain.push(step);
                    place = site.reads.producer(&value)?;
                    if chain.len() > LONGEST_CHAIN {
                        return None;
                    }
                }
                let (source, split, order) = order(site, place, channels)?;

                draft.begin(site.output(0)?, convolution.element);
                for step in chain.iter().rev() {
                    let node = nodes.get(step.place)?;
                    let mut node = node.clone();
                    let constant = node.input.iter_mut().find(|input| **input != step.input)?;
                    let tensor = site.facts.constant(constant)?;
                    if let Some(values) = reordered(tensor, &order)? {
                        *constant = draft.floats(&tensor.dims, &values);
                    }
                    let varying = node.input.iter_mut().find(|input| **input == step.input)?;
                    if step.input == value {
                        source.clone_into(varying);
                    }
                    draft.keep(node);
                }
                let mut node = site.node.clone();
                if chain.is_empty() {
                    source.clone_into(node.input.first_mut()?);
                }
                let weights = read_floats(convolution.weights).ok()?;
                let taps: i64 = convolution.weights.dims.get(2..)?.iter().product();
                let taps = usize::try_from(taps).ok()?;
                let at = |place: usize| {
                    let (outer, channel, tap) = (place / (taps * channels), place / taps % channels, place % taps);
                    let from = order.iter().position(|source| *source == channel)?;
                    weights.get((outer * channels + from) * taps + tap).copied()
                };
                let turned = (0..weights.len()).map(at).collect::<Option<Vec<f64>>>()?;
                *node.input.get_mut(1)? = draft.floats(&convolution.weights.dims, &turned);
                draft.keep(node);
                removed.extend(chain.iter().map(|step| step.place).chain([place, split]));
                Some(())
            },
        )?;
        Ok(patch.map(|mut patch| {
            patch.removed_nodes.extend(removed);
            patch
        }))
    }
}

/// Reads a `Concat` as a new order of all channels of one value: the value, the place of its `Split`, and for each new
/// channel the old one.
fn order(site: &Site<'_>, place: usize, channels: usize) -> Option<(String, usize, Vec<usize>)> {
    let nodes = &site.model.graph().node;
    let concat = nodes.get(place)?;
    let axis =
        |node: &NodeProto| node.attribute.iter().find(|attribute| attribute.name() == "axis").and_then(|it| it.i);
    let split = site.reads.producer(concat.input.first()?)?;
    let source = nodes.get(split)?;
    let is_own = |node: &NodeProto| is_onnx_domain(node.domain()) && axis(node) == Some(1);
    if source.op_type() != "Split" || !is_own(source) || !is_own(concat) || source.output.len() != channels {
        return None;
    }
    let position = |input: &String| source.output.iter().position(|output| output == input);
    let order = concat.input.iter().map(position).collect::<Option<Vec<usize>>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let is_order = sorted.iter().copied().eq(0..channels);
    let is_free = source.output.iter().all(|output| only_reader(site.reads, output) == Some(place));
    (is_order && is_free).then_some((source.input.first()?.clone(), split, order))
}

/// The values of a constant for channels in their old order; `None` inside if there is one value for all.
fn reordered(tensor: &TensorProto, order: &[usize]) -> Option<Option<Vec<f64>>> {
    let values = read_floats(tensor).ok()?;
    if values.len() == 1 {
        return Some(None);
    }
    let old = (0..order.len()).map(|channel| {
        let new = order.iter().position(|source| *source == channel)?;
        values.get(new).copied()
    });
    old.collect::<Option<Vec<f64>>>().map(Some)
}
