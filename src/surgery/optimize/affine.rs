//! Multiplications and additions beside convolutions.

use super::super::build::float;
use super::super::draft::{Draft, Site, rewrite_nodes};
use super::super::{Pass, PassError};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::{ElementType, Facts, Known, Model, Patch, Reads, element_count, is_onnx_domain, read_floats};

/// What a chain of multiplications and additions does to each channel: `factor * x + shift`.
#[derive(Clone, Debug)]
struct Affine {
    factors: Vec<f64>,
    shifts: Vec<f64>,
}

/// One multiplication or addition of a constant.
pub(super) struct Step {
    /// The place of its node.
    pub(super) place: usize,
    /// What varies.
    pub(super) input: String,
    is_sum: bool,
    /// For each channel.
    values: Vec<f64>,
}

impl Affine {
    fn of(steps: &[&Step], channels: usize) -> Self {
        let (mut factors, mut shifts) = (vec![1.0; channels], vec![0.0; channels]);
        for step in steps {
            for ((factor, shift), value) in factors.iter_mut().zip(&mut shifts).zip(&step.values) {
                if step.is_sum {
                    *shift += value;
                } else {
                    *factor *= value;
                    *shift *= value;
                }
            }
        }
        Self { factors, shifts }
    }
}

/// Reads a node as a multiplication or addition of a constant that is one number, or one for each channel of an image
/// of this rank.
pub(super) fn step(model: &Model, facts: &Facts<'_>, place: usize, rank: usize, channels: usize) -> Option<Step> {
    let node = model.graph().node.get(place)?;
    let is_sum = match node.op_type() {
        "Add" => true,
        "Mul" => false,
        _ => return None,
    };
    let [left, right] = node.input.as_slice() else { return None };
    let (input, constant) = match (facts.constant(left), facts.constant(right)) {
        (None, Some(constant)) => (left, constant),
        (Some(constant), None) => (right, constant),
        _ => return None,
    };
    if !is_onnx_domain(node.domain()) || model.opset() < 7 {
        return None;
    }
    let values = per_channel(constant, rank, channels)?;
    // A constant that stretches its partner is no step.
    let sizes = &facts.shape(input)?.0;
    let has_channels =
        matches!(sizes.get(1), Some(crate::onnx::Dimension::Known(size)) if usize::try_from(*size) == Ok(channels));
    (sizes.len() == rank && has_channels).then(|| Step { place, input: input.clone(), is_sum, values })
}

/// Reads a constant that is one number, or one for each channel, as one for each channel.
fn per_channel(constant: &TensorProto, rank: usize, channels: usize) -> Option<Vec<f64>> {
    let values = read_floats(constant).ok()?;
    if let &[value] = values.as_slice()
        && constant.dims.len() <= rank
    {
        return Some(vec![value; channels]);
    }
    let missing = rank.checked_sub(constant.dims.len())?;
    let along = |axis: usize| axis.checked_sub(missing).and_then(|axis| constant.dims.get(axis)).copied().unwrap_or(1);
    let fits = (0..rank).all(|axis| along(axis) == 1 || axis == 1);
    (fits && values.len() == channels).then_some(values)
}

/// A convolution with constant weights.
pub(super) struct Convolution<'model> {
    pub(super) weights: &'model TensorProto,
    bias: Option<Vec<f64>>,
    pub(super) element: ElementType,
    /// Channels of the input and of the result.
    pub(super) channels: [usize; 2],
    pub(super) rank: usize,
    is_padded: bool,
}

impl<'model> Convolution<'model> {
    pub(super) fn of(site: &Site<'model>) -> Option<Self> {
        let weights = site.constant(1)?;
        let element = ElementType::from_code(weights.data_type()).filter(|element| element.is_float())?;
        let &[results, members, ..] = weights.dims.as_slice() else { return None };
        let groups = site.integer("group").unwrap_or(1);
        let bias = match site.input(2) {
            Some(_) => Some(read_floats(site.constant(2)?).ok()?),
            None => None,
        };
        let is_padded = site.integers("pads").is_some_and(|pads| pads.iter().any(|pad| *pad != 0))
            || !matches!(&*site.text("auto_pad", "NOTSET"), "NOTSET" | "VALID");
        let channels = [usize::try_from(members.checked_mul(groups)?).ok()?, usize::try_from(results).ok()?];
        Some(Self { weights, bias, element, channels, rank: weights.dims.len(), is_padded })
    }
}

/// Returns the place of the one node that a value is for.
pub(super) fn only_reader(reads: &Reads<'_>, value: &str) -> Option<usize> {
    match reads.readers(value) {
        [place] if !reads.is_output(value) => Some(*place),
        _ => None,
    }
}

/// Folds additions and multiplications before a convolution into its weights and bias.
#[derive(Clone, Copy, Debug)]
pub enum FuseBeforeConvolution {
    /// An addition and a multiplication, in either order.
    Pairs,
    /// One addition or multiplication.
    Singles,
}

impl Pass for FuseBeforeConvolution {
    fn name(&self) -> &'static str {
        match self {
            Self::Pairs => "fuse-comb-add-mul-to-conv",
            Self::Singles => "fuse-single-add-mul-to-conv",
        }
    }

    fn reason(&self) -> &'static str {
        "a convolution scales and shifts its input at no cost"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let is_convolution = |node: &NodeProto| node.op_type() == "Conv";
        let mut removed = Vec::new();
        let patch = rewrite_nodes(model, is_convolution, |site, draft| {
            let convolution = Convolution::of(site)?;
            let steps = self.steps(site, &convolution)?;
            let affine = Affine::of(&steps.iter().rev().collect::<Vec<_>>(), convolution.channels[0]);
            // Padding is added after the shift, so a shift before it cannot come after it.
            if convolution.is_padded && affine.shifts.iter().any(|shift| *shift != 0.0) {
                return None;
            }
            let first = steps.last()?;
            fold(site, draft, &convolution, &affine, &first.input)?;
            removed.extend(steps.iter().map(|step| step.place));
            Some(())
        })?;
        Ok(patch.map(|mut patch| {
            patch.removed_nodes.extend(removed);
            patch
        }))
    }
}

impl FuseBeforeConvolution {
    /// The steps before a convolution, the nearest first.
    fn steps(self, site: &Site<'_>, convolution: &Convolution<'_>) -> Option<Vec<Step>> {
        let before = |value: &str| {
            only_reader(site.reads, value)?;
            let place = site.reads.producer(value)?;
            step(site.model, site.facts, place, convolution.rank, convolution.channels[0])
        };
        let near = before(site.input(0)?)?;
        match self {
            Self::Singles => Some(vec![near]),
            Self::Pairs => {
                let far = before(&near.input).filter(|far| far.is_sum != near.is_sum)?;
                Some(vec![near, far])
            }
        }
    }
}

/// Writes the convolution of a site with what `affine` does to its input folded in.
fn fold(site: &Site<'_>, draft: &mut Draft, convolution: &Convolution<'_>, affine: &Affine, input: &str) -> Option<()> {
    draft.begin(site.output(0)?, convolution.element);
    let [channels, results] = convolution.channels;
    let members = usize::try_from(*convolution.weights.dims.get(1)?).ok().filter(|members| *members > 0)?;
    let count = usize::try_from(element_count(&convolution.weights.dims)?).ok()?;
    let taps = count.checked_div(results.checked_mul(members)?).filter(|taps| *taps > 0)?;
    let in_group = results.checked_div(channels / members).filter(|in_group| *in_group > 0)?;
    let mut bias = convolution.bias.clone().unwrap_or_else(|| vec![0.0; results]);
    let groups = affine.factors.chunks_exact(members).zip(affine.shifts.chunks_exact(members));
    // For each result, what is done to the channels of its group.
    let mut of_results = groups.flat_map(|group| std::iter::repeat_n(group, in_group)).zip(&mut bias);
    let mut is_whole = true;
    let weights = draft.changed(convolution.weights, members * taps, |filters| {
        let Some(((factors, shifts), bias)) = of_results.next() else {
            is_whole = false;
            return;
        };
        // One by one, in this order: what is rounded is part of the result.
        if taps == 1 {
            for ((weight, factor), shift) in filters.iter_mut().zip(factors).zip(shifts) {
                *bias += *weight * shift;
                *weight *= factor;
            }
            return;
        }
        for ((filter, factor), shift) in filters.chunks_mut(taps).zip(factors).zip(shifts) {
            filter.iter().for_each(|weight| *bias += *weight * shift);
            filter.iter_mut().for_each(|weight| *weight *= factor);
        }
    })?;
    if !is_whole {
        return None;
    }
    let mut node = site.node.clone();
    input.clone_into(node.input.first_mut()?);
    *node.input.get_mut(1)? = weights;
    if site.input(2).is_some() || bias.iter().any(|value| *value != 0.0) {
        node.input.truncate(2);
        node.input.push(draft.floats(&[i64::try_from(results).ok()?], &bias));
    }
    draft.keep(node);
    Some(())
}

/// Writes additions and multiplications after a convolution as one batch normalization, which tools fold into the
/// convolution.
#[derive(Clone, Copy, Debug)]
pub struct FuseAfterConvolution;

/// The first operator set whose batch normalization is that of all later ones.
const BATCH_NORMALIZATION: i64 = 9;

impl Pass for FuseAfterConvolution {
    fn name(&self) -> &'static str {
        "fuse-add-mul-to-bn"
    }

    fn reason(&self) -> &'static str {
        "a batch normalization behind a convolution costs nothing"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        if model.opset() < BATCH_NORMALIZATION {
            return Ok(None);
        }
        let mut replaced = Vec::new();
        let patch = rewrite_nodes(
            model,
            |node| node.op_type() == "Conv",
            |site, draft| {
                let convolution = Convolution::of(site)?;
                let results = convolution.channels[1];
                let after = |value: &str| {
                    let place = only_reader(site.reads, value)?;
                    let step = step(site.model, site.facts, place, convolution.rank, results)?;
                    let output = site.model.graph().node.get(place)?.output.first()?;
                    Some((step, output.clone()))
                };
                let (near, mut output) = after(site.output(0)?)?;
                let mut steps = vec![near];
                if let Some((far, result)) = after(&output)
                    && steps.iter().all(|near| near.is_sum != far.is_sum)
                {
                    steps.push(far);
                    output = result;
                }
                let affine = Affine::of(&steps.iter().collect::<Vec<_>>(), results);
                draft.keep(site.node.clone());
                draft.begin_more(&output, convolution.element);
                let dims = [i64::try_from(results).ok()?];
                let [scale, shift] = [&affine.factors, &affine.shifts].map(|values| draft.floats(&dims, values));
                let (mean, variance) =
                    (draft.floats(&dims, &vec![0.0; results]), draft.floats(&dims, &vec![1.0; results]));
                let inputs = [site.output(0)?, &scale, &shift, &mean, &variance];
                let result = draft.apply_with("BatchNormalization", &inputs, vec![float("epsilon", 0.0)]);
                draft.yields(&result, &output);
                replaced.extend(steps.iter().map(|step| step.place));
                Some(())
            },
        )?;
        Ok(patch.map(|mut patch| {
            patch.removed_nodes.extend(replaced);
            patch
        }))
    }
}
