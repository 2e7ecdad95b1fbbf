//! Pooling and transposed convolution, in the forms that are read rightly.

use super::super::build::{integer, integers_attribute, text};
use super::super::draft::{Draft, Site};
use super::comparisons::magnitude;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::{is_onnx_domain, read_floats};

/// The window of a pooling or convolution along each axis of space.
pub(super) struct Window {
    sizes: Vec<i64>,
    pub(super) kernel: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    /// Before each axis, then behind each.
    pub(super) pads: Vec<i64>,
}

impl Window {
    /// Reads the attributes; `None` where a size is not known or padding is left to the tool.
    pub(super) fn of(site: &Site<'_>, kernel: Vec<i64>) -> Option<Self> {
        let sizes = site.sizes(0)?.get(2..)?.to_vec();
        let rank = sizes.len();
        let or_ones = |name: &str| site.integers(name).map_or(vec![1; rank], <[i64]>::to_vec);
        let pads = site.integers("pads").map_or(vec![0; 2 * rank], <[i64]>::to_vec);
        let pads = match &*site.text("auto_pad", "NOTSET") {
            "NOTSET" => pads,
            "VALID" => vec![0; 2 * rank],
            _ => return None,
        };
        let window = Self { sizes, kernel, strides: or_ones("strides"), dilations: or_ones("dilations"), pads };
        let agree = [&window.kernel, &window.strides, &window.dilations].iter().all(|values| values.len() == rank);
        let positive = window.kernel.iter().chain(&window.strides).chain(&window.dilations).all(|value| *value > 0);
        (agree && positive && window.pads.len() == 2 * rank).then_some(window)
    }

    fn is_dilated(&self) -> bool {
        self.dilations.iter().any(|dilation| *dilation != 1)
    }

    pub(super) fn is_padded(&self) -> bool {
        self.pads.iter().any(|pad| *pad != 0)
    }

    /// The number of windows along an axis if incomplete ones are left out, and if they are kept.
    pub(super) fn steps(&self, axis: usize) -> Option<[i64; 2]> {
        let at = |values: &[i64], place: usize| values.get(place).copied();
        let (before, behind) = (at(&self.pads, axis)?, at(&self.pads, self.sizes.len() + axis)?);
        let (size, stride) = (at(&self.sizes, axis)?, at(&self.strides, axis)?);
        let reach = (at(&self.kernel, axis)? - 1).checked_mul(at(&self.dilations, axis)?)? + 1;
        let room = size + before + behind - reach;
        if room < 0 {
            return None;
        }
        let (floor, mut ceiling) = (room / stride + 1, (room + stride - 1) / stride + 1);
        // A window that would begin behind the data does not count.
        if (ceiling - 1) * stride >= size + before {
            ceiling -= 1;
        }
        Some([floor, ceiling])
    }

    /// Whether keeping incomplete windows makes no difference.
    fn is_complete(&self) -> bool {
        (0..self.sizes.len()).all(|axis| self.steps(axis).is_some_and(|[floor, ceiling]| floor == ceiling))
    }
}

/// Copies the node of a site with other attributes: `None` removes one.
fn altered(site: &Site<'_>, changes: Vec<(&str, Option<AttributeProto>)>) -> NodeProto {
    let mut node = site.node.clone();
    for (name, change) in changes {
        node.attribute.retain(|attribute| attribute.name() != name);
        node.attribute.extend(change);
    }
    node
}

pub(super) fn lp_pool(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let kernel = site.integers("kernel_shape")?;
    let window = Window::of(site, kernel.to_vec())?;
    let power = site.integer("p").unwrap_or(2);
    if window.is_dilated() || site.integer("ceil_mode") == Some(1) {
        return None;
    }
    let powers = match power {
        1 => magnitude(draft, input),
        2 => draft.binary("Mul", input, input),
        power => {
            let size = magnitude(draft, input);
            draft.with_number("Pow", &size, power as f64)
        }
    };
    let attributes = vec![
        integers_attribute("kernel_shape", window.kernel.clone()),
        integers_attribute("strides", window.strides.clone()),
        integers_attribute("pads", window.pads.clone()),
        integer("count_include_pad", 1),
    ];
    let means = draft.apply_with("AveragePool", &[&powers], attributes);
    let count: i64 = window.kernel.iter().product();
    let sums = draft.with_number("Mul", &means, count as f64);
    let result = match power {
        1 => sums,
        2 => draft.unary("Sqrt", &sums),
        power => draft.with_number("Pow", &sums, 1.0 / power as f64),
    };
    draft.yields(&result, output);
    Some(())
}

/// Lets a pooling have the border that a layer before it puts around its input: what is less than everything counts in
/// neither. The compiler knows no infinity to pad with.
pub(super) fn padded_max_pool(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let place = site.reads.producer(site.input(0)?)?;
    let node = site.model.graph().node.get(place)?;
    let pad = Site { node, ..*site };
    let is_pad = node.op_type() == "Pad" && is_onnx_domain(node.domain()) && pad.input(3).is_none();
    if !is_pad || pad.text("mode", "constant") != "constant" || site.integer("ceil_mode") == Some(1) {
        return None;
    }
    let (pads, value) = match site.opset() {
        // Before operator set 11 both are attributes.
        ..11 => (pad.integers("pads")?.to_vec(), pad.float("value", 0.0)),
        _ => (pad.constant_integers(1)?, *read_floats(pad.constant(2)?).ok()?.first()?),
    };
    let window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    let rank = window.kernel.len();
    let counts = value.is_nan() || value > f64::from(f32::MIN);
    if counts || window.is_dilated() || pads.len() != 2 * (rank + 2) {
        return None;
    }
    let (before, behind) = pads.split_at_checked(rank + 2)?;
    let mut all = Vec::new();
    for (side, own) in [before, behind].into_iter().zip(window.pads.chunks(rank.max(1))) {
        let (outer, inner) = side.split_at_checked(2)?;
        if outer != [0, 0] {
            return None;
        }
        // Every window has to see something inside.
        for ((new, own), length) in inner.iter().zip(own).zip(&window.kernel) {
            let both = new.checked_add(*own).filter(|both| *new >= 0 && both < length)?;
            all.push(both);
        }
    }
    let mut pool = altered(site, vec![("auto_pad", None), ("pads", Some(integers_attribute("pads", all)))]);
    pool.input.first_mut()?.replace_range(.., pad.input(0)?);
    draft.keep(pool);
    Some(())
}

/// The largest window that is written out, in elements.
const LARGEST_WINDOW: i64 = 64;
/// Lower than anything that the device computes with: it has halves.
const LOWEST: f64 = -65504.0;

pub(super) fn dilated_max_pool(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    if site.is_read(1) {
        return None;
    }
    let window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    let ceil = site.integer("ceil_mode") == Some(1);
    if ceil && !window.is_complete() {
        return None;
    }
    if !window.is_dilated() {
        if ceil {
            draft.keep(altered(site, vec![("ceil_mode", None)]));
            return Some(());
        }
        return None;
    }
    let rank = window.sizes.len();
    if window.kernel.iter().product::<i64>() > LARGEST_WINDOW || site.opset() < 11 {
        return None;
    }
    let mut padded = input.to_owned();
    if window.is_padded() {
        let (before, behind) = window.pads.split_at(rank);
        let pads = draft.integers(&[&[0, 0], before, &[0, 0], behind].concat());
        let lowest = draft.number(LOWEST);
        padded = draft.apply("Pad", &[input, &pads, &lowest]);
    }
    let axes = draft.integers(&(2..rank as i64 + 2).collect::<Vec<_>>());
    let strides = draft.integers(&window.strides);
    let mut taps: Vec<Vec<i64>> = vec![Vec::new()];
    for (length, dilation) in window.kernel.iter().zip(&window.dilations) {
        let longer = |tap: &Vec<i64>| {
            let tap = tap.clone();
            (0..*length).map(move |place| [&tap[..], &[place * dilation]].concat())
        };
        taps = taps.iter().flat_map(longer).collect();
    }
    let mut parts = Vec::new();
    for starts in taps {
        let ends = starts.iter().enumerate().map(|(axis, start)| {
            let [steps, _] = window.steps(axis)?;
            Some(start + (steps - 1) * window.strides.get(axis)? + 1)
        });
        let ends: Vec<i64> = ends.collect::<Option<_>>()?;
        let (starts, ends) = (draft.integers(&starts), draft.integers(&ends));
        parts.push(draft.apply("Slice", &[&padded, &starts, &ends, &axes, &strides]));
    }
    let result = parts.into_iter().reduce(|left, right| draft.apply("Max", &[&left, &right]))?;
    draft.yields(&result, output);
    Some(())
}

pub(super) fn average_pool(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    let ceil = site.integer("ceil_mode") == Some(1);
    if ceil && !window.is_complete() {
        return None;
    }
    if !window.is_dilated() {
        if ceil {
            draft.keep(altered(site, vec![("ceil_mode", None)]));
            return Some(());
        }
        return None;
    }
    if window.is_padded() && site.integer("count_include_pad") != Some(1) {
        return None;
    }
    // Every tap of the window has the same weight.
    let channels = *site.sizes(0)?.get(1)?;
    let count: i64 = window.kernel.iter().product();
    let weight = 1.0 / count as f64;
    let weights = vec![weight; usize::try_from(count.checked_mul(channels)?).ok()?];
    let weights = draft.floats(&[&[channels, 1], &window.kernel[..]].concat(), &weights);
    let attributes = vec![
        integers_attribute("kernel_shape", window.kernel.clone()),
        integers_attribute("strides", window.strides.clone()),
        integers_attribute("dilations", window.dilations.clone()),
        integers_attribute("pads", window.pads.clone()),
        integer("group", channels),
    ];
    let result = draft.apply_with("Conv", &[input, &weights], attributes);
    draft.yields(&result, output);
    Some(())
}

/// States the padding that `output_shape` or `auto_pad` ask for.
pub(super) fn convolution_output_shape(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let auto = site.text("auto_pad", "NOTSET").into_owned();
    let same = matches!(auto.as_str(), "SAME_UPPER" | "SAME_LOWER");
    let wanted = site.integers("output_shape");
    if !same && wanted.is_none() {
        return None;
    }
    let sizes = site.sizes(0)?.get(2..)?.to_vec();
    let kernel = site.sizes(1)?.get(2..)?.to_vec();
    let rank = sizes.len();
    let or = |name: &str, value: i64| site.integers(name).map_or(vec![value; rank], <[i64]>::to_vec);
    let (strides, dilations, extra) = (or("strides", 1), or("dilations", 1), or("output_padding", 0));
    let (mut before, mut behind, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..rank {
        let at = |values: &[i64]| values.get(axis).copied();
        let stride = at(&strides)?;
        let target = match wanted {
            // Some write the sizes of batch and channels too.
            Some(shape) => *shape.get(shape.len().checked_sub(rank)? + axis)?,
            None => at(&sizes)?.checked_mul(stride)?,
        };
        let reach = (at(&kernel)? - 1).checked_mul(at(&dilations)?)? + 1;
        let total = stride.checked_mul(at(&sizes)? - 1)? + at(&extra)? + reach - target;
        // What is missing is added behind, where it does not make another step.
        let missing = (-total).max(0);
        if at(&extra)?.checked_add(missing)? >= stride.max(at(&dilations)?) && missing > 0 {
            return None;
        }
        more.push(at(&extra)? + missing);
        let total = total.max(0);
        let half = total / 2;
        let first = if auto == "SAME_UPPER" { half } else { total - half };
        before.push(first);
        behind.push(total - first);
    }
    let pads = integers_attribute("pads", [before, behind].concat());
    let mut changes = vec![("auto_pad", None), ("output_shape", None), ("pads", Some(pads))];
    if more != extra {
        changes.push(("output_padding", Some(integers_attribute("output_padding", more))));
    }
    draft.keep(altered(site, changes));
    Some(())
}

/// Gives a transposed convolution along one axis a second axis of size 1.
pub(super) fn flat_transposed_convolution(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, weights, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let kernel = site.sizes(1)?;
    let &[_, _, length] = kernel.as_slice() else { return None };
    if site.rank(0)? != 3 {
        return None;
    }
    let one = |name: &str, value: i64| site.integers(name).and_then(|values| values.first().copied()).unwrap_or(value);
    let pads = match site.integers("pads") {
        Some(&[before, behind]) => vec![0, before, 0, behind],
        Some(_) => return None,
        None => vec![0; 4],
    };
    let mut attributes = vec![
        integers_attribute("kernel_shape", vec![1, length]),
        integers_attribute("strides", vec![1, one("strides", 1)]),
        integers_attribute("dilations", vec![1, one("dilations", 1)]),
        integers_attribute("output_padding", vec![0, one("output_padding", 0)]),
        integer("group", site.integer("group").unwrap_or(1)),
    ];
    match &*site.text("auto_pad", "NOTSET") {
        "NOTSET" => attributes.push(integers_attribute("pads", pads)),
        other => attributes.push(text("auto_pad", other)),
    }
    let flat = draft.squeezing("Unsqueeze", input, &[2]);
    let weights = draft.squeezing("Unsqueeze", weights, &[2]);
    let mut inputs = vec![flat.as_str(), weights.as_str()];
    inputs.extend(site.input(2));
    let wide = draft.apply_with("ConvTranspose", &inputs, attributes);
    let result = draft.squeezing("Squeeze", &wide, &[2]);
    draft.yields(&result, output);
    Some(())
}
