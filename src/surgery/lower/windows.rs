//! Windows of a picture as columns, and back: convolutions with kernels of a single one.

use super::super::build::{integer, integers_attribute};
use super::super::draft::{Draft, Site};
use super::pooling::Window;
use crate::onnx::element_count;
use crate::onnx::proto::AttributeProto;

/// The largest of these kernels, in elements.
const LARGEST_KERNEL: i64 = 1 << 24;

/// Makes, for each channel, one kernel for each place of the window.
fn kernels_of_one(draft: &mut Draft, channels: i64, kernel: &[i64]) -> Option<String> {
    let places = kernel.iter().try_fold(1_i64, |product, length| product.checked_mul(*length))?;
    let rows = channels.checked_mul(places)?;
    rows.checked_mul(places).filter(|count| *count <= LARGEST_KERNEL)?;
    let ones = (0..rows).flat_map(|row| (0..places).map(move |place| f64::from(u8::from(row % places == place))));
    let ones: Vec<f64> = ones.collect();
    Some(draft.floats(&[&[rows, 1], kernel].concat(), &ones))
}

/// Writes a convolution with a kernel that the network computes as a product of it and all windows.
pub(super) fn computed_kernel(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, weights, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    if !site.varies(weights) {
        return None;
    }
    let (sizes, shape) = (site.sizes(0)?, site.sizes(1)?);
    let (&[results, members], kernel) = shape.split_first_chunk()?;
    let (&[1, channels], _) = sizes.split_first_chunk()? else { return None };
    let groups = site.integer("group").unwrap_or(1);
    if groups < 1 || members.checked_mul(groups)? != channels || results % groups != 0 {
        return None;
    }
    let window = Window::of(site, kernel.to_vec())?;
    let steps = (0..kernel.len()).map(|axis| Some(*window.steps(axis)?.first()?)).collect::<Option<Vec<i64>>>()?;
    let count = |sizes: &[i64]| element_count(sizes).and_then(|count| i64::try_from(count).ok());
    let (places, windows) = (count(kernel)?, count(&steps)?);
    let columns = if places == 1 && window.is_plain() {
        input.to_owned()
    } else {
        let ones = kernels_of_one(draft, channels, kernel)?;
        draft.apply_with("Conv", &[input, &ones], window.attributes(channels))
    };
    let columns = draft.reshape(&columns, &[groups, members.checked_mul(places)?, windows]);
    let rows = draft.reshape(weights, &[groups, results / groups, members.checked_mul(places)?]);
    let product = draft.apply("MatMul", &[&rows, &columns]);
    let mut result = draft.reshape(&product, &[&[1, results], &steps[..]].concat());
    if let Some(shift) = site.input(2) {
        let shift = draft.reshape(shift, &[&[1, results], &vec![1; kernel.len()][..]].concat());
        result = draft.binary("Add", &result, &shift);
    }
    draft.yields(&result, output);
    Some(())
}

/// Gives a convolution of volumes a bias of zeros: the compiler counts on one.
pub(super) fn biased_volume(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    /// Batch, channels, depth, height and width.
    const VOLUME: usize = 5;
    let is_flat = site.integers("kernel_shape").is_some_and(|kernel| kernel.len() + 2 != VOLUME);
    if is_flat || site.input(2).is_some() || site.rank(0)? != VOLUME {
        return None;
    }
    let results = *site.sizes(1)?.first()?;
    let zeros = draft.floats(&[results], &vec![0.0; usize::try_from(results).ok()?]);
    let mut node = site.node.clone();
    node.input.truncate(2);
    node.input.push(zeros);
    draft.keep(node);
    Some(())
}

/// Writes a picture that is put together of overlapping columns as a transposed convolution.
pub(super) fn columns_to_picture(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let (lengths, kernel) = (site.constant_integers(1)?, site.constant_integers(2)?);
    let &[batch, rows, columns] = site.sizes(0)?.as_slice() else { return None };
    let rank = lengths.len();
    let or = |name: &str, value: i64, count: usize| site.integers(name).map_or(vec![value; count], <[i64]>::to_vec);
    let (strides, dilations, pads) = (or("strides", 1, rank), or("dilations", 1, rank), or("pads", 0, 2 * rank));
    let agree = [&kernel, &strides, &dilations].iter().all(|list| list.len() == rank && list.iter().all(|it| *it > 0));
    if !agree || pads.len() != 2 * rank || !site.facts.element(input)?.is_float() {
        return None;
    }
    let places = kernel.iter().try_fold(1_i64, |product, length| product.checked_mul(*length))?;
    if rows % places != 0 {
        return None;
    }
    let channels = rows / places;
    let (mut steps, mut rest) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        let at = |list: &[i64]| list.get(axis).copied();
        let reach = (at(&kernel)? - 1).checked_mul(at(&dilations)?)? + 1;
        let room = at(&lengths)? + at(&pads)? + pads.get(rank + axis)? - reach;
        if room < 0 {
            return None;
        }
        steps.push(room / at(&strides)? + 1);
        rest.push(room % at(&strides)?);
    }
    if steps.iter().product::<i64>() != columns {
        return None;
    }
    let ones = kernels_of_one(draft, channels, &kernel)?;
    let apart = draft.reshape(input, &[&[batch, rows], &steps[..]].concat());
    let mut attributes = vec![
        integers_attribute("kernel_shape", kernel),
        integers_attribute("strides", strides),
        integers_attribute("dilations", dilations),
        integers_attribute("pads", pads),
        integer("group", channels),
    ];
    if rest.iter().any(|rest| *rest != 0) {
        attributes.push(integers_attribute("output_padding", rest));
    }
    let result = draft.apply_with("ConvTranspose", &[&apart, &ones], attributes);
    draft.yields(&result, output);
    Some(())
}

impl Window {
    /// Whether every element is a window.
    fn is_plain(&self) -> bool {
        self.strides.iter().all(|stride| *stride == 1) && !self.is_padded()
    }

    fn attributes(&self, groups: i64) -> Vec<AttributeProto> {
        vec![
            integers_attribute("kernel_shape", self.kernel.clone()),
            integers_attribute("strides", self.strides.clone()),
            integers_attribute("dilations", self.dilations.clone()),
            integers_attribute("pads", self.pads.clone()),
            integer("group", groups),
        ]
    }
}
