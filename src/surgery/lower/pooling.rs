//! Pooling and transposed convolution, in the forms that are read rightly.

use super::super::build::{integer, integers_attribute, text};
use super::super::draft::{Draft, Site};
use super::comparisons::magnitude;
use crate::onnx::element_count;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::{is_onnx_domain, read_floats};

/// The window of a pooling or convolution along each axis of space.
pub(super) struct Window {
    pub(super) sizes: Vec<i64>,
    pub(super) kernel: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    /// Before each axis, then behind each.
    pub(super) pads: Vec<i64>,
}

impl Window {
    /// Reads the attributes; `None` where a size is not known.
    pub(super) fn of(site: &Site<'_>, kernel: Vec<i64>) -> Option<Self> {
        let sizes = site.sizes(0)?.get(2..)?.to_vec();
        let rank = sizes.len();
        let or_ones = |name: &str| site.integers(name).map_or(vec![1; rank], <[i64]>::to_vec);
        let pads = site.integers("pads").map_or(vec![0; 2 * rank], <[i64]>::to_vec);
        let mut window = Self { sizes, kernel, strides: or_ones("strides"), dilations: or_ones("dilations"), pads };
        let agree = [&window.kernel, &window.strides, &window.dilations].iter().all(|values| values.len() == rank);
        let positive = window.kernel.iter().chain(&window.strides).chain(&window.dilations).all(|value| *value > 0);
        if !agree || !positive {
            return None;
        }
        match &*site.text("auto_pad", "NOTSET") {
            "NOTSET" => {}
            "VALID" => window.pads = vec![0; 2 * rank],
            // With dilations, ONNX and ONNX Runtime do not agree what that is.
            _ if window.is_dilated() => return None,
            "SAME_UPPER" => window.pads = window.same_pads(true)?,
            "SAME_LOWER" => window.pads = window.same_pads(false)?,
            _ => return None,
        }
        (window.pads.len() == 2 * rank && window.pads.iter().all(|pad| *pad >= 0)).then_some(window)
    }

    /// The padding with which there are as many windows as strides go into each size, rounded up; an odd element is behind or
    /// before.
    fn same_pads(&self, is_behind: bool) -> Option<Vec<i64>> {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for (axis, size) in self.sizes.iter().enumerate() {
            let stride = *self.strides.get(axis)?;
            let last = (size.checked_add(stride)? - 1) / stride - 1;
            let total = last.checked_mul(stride)?.checked_add(self.reach(axis)?)?.checked_sub(*size)?.max(0);
            let (less, more) = (total / 2, total - total / 2);
            before.push(if is_behind { less } else { more });
            behind.push(if is_behind { more } else { less });
        }
        Some([before, behind].concat())
    }

    /// How many elements a window goes over, along an axis.
    fn reach(&self, axis: usize) -> Option<i64> {
        (self.kernel.get(axis)? - 1).checked_mul(*self.dilations.get(axis)?)?.checked_add(1)
    }

    /// Pads so much that incomplete windows, which are kept, are complete.
    pub(super) fn complete(&mut self) -> Option<()> {
        let rank = self.sizes.len();
        for axis in 0..rank {
            let [_, steps] = self.steps(axis)?;
            let end = (steps - 1).checked_mul(*self.strides.get(axis)?)?.checked_add(self.reach(axis)?)?;
            let room = self.sizes.get(axis)?.checked_add(*self.pads.get(axis)?)?;
            let behind = self.pads.get_mut(rank + axis)?;
            *behind = (*behind).max(end.checked_sub(room)?);
        }
        Some(())
    }

    pub(super) fn is_dilated(&self) -> bool {
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
        let room = size.checked_add(before)?.checked_add(behind)?.checked_sub(self.reach(axis)?)?;
        if room < 0 {
            return None;
        }
        let floor = room / stride + 1;
        let mut ceiling = floor + i64::from(room % stride != 0);
        // A window that would begin behind the data does not count.
        if (ceiling - 1).checked_mul(stride).is_none_or(|start| start >= size + before) {
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
    let mut window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    let power = site.integer("p").unwrap_or(2);
    if site.integer("ceil_mode") == Some(1) {
        window.complete()?;
    }
    let powers = match power {
        1 => magnitude(draft, input),
        2 => draft.binary("Mul", input, input),
        power => {
            let size = magnitude(draft, input);
            draft.with_number("Pow", &size, power as f64)
        }
    };
    let sums = if window.is_dilated() {
        window.sum(site, draft, &powers, 1.0)?
    } else {
        let attributes = vec![
            integers_attribute("kernel_shape", window.kernel.clone()),
            integers_attribute("strides", window.strides.clone()),
            integers_attribute("pads", window.pads.clone()),
            integer("count_include_pad", 1),
        ];
        let means = draft.apply_with("AveragePool", &[&powers], attributes);
        draft.with_number("Mul", &means, element_count(&window.kernel)? as f64)
    };
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

/// Operators that yield nothing below zero.
const NEVER_NEGATIVE: [&str; 7] = ["Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"];

/// Pools a copy of what a `Pad` of numbers yields: OpenVINO makes a border of the pooling of it, which never counts. Measured
/// in its CPU device, and left where nothing is below zero, as that border makes no difference then.
pub(super) fn max_pool_of_padded(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    let producer = |value: &str| site.model.graph().node.get(site.reads.producer(value)?);
    let node = producer(input).filter(|node| node.op_type() == "Pad" && is_onnx_domain(node.domain()))?;
    let pad = Site { node, ..*site };
    if pad.text("mode", "constant") != "constant" || pad.input(3).is_some() || site.is_read(1) {
        return None;
    }
    let is_zero = match (site.opset(), pad.input(2)) {
        (..11, _) => pad.float("value", 0.0) == 0.0,
        (_, None) => true,
        _ => read_floats(pad.constant(2)?).ok()?.first() == Some(&0.0),
    };
    let kernel = site.integers("kernel_shape")?;
    let window = Window::of(site, kernel.to_vec())?;
    let pads = if site.opset() < 11 { pad.integers("pads")?.to_vec() } else { pad.constant_integers(1)? };
    let axes = kernel.len();
    let inner = |side: &[i64], axis: usize| side.get(side.len() - axes + axis).copied();
    let (before, behind) = pads.split_at_checked(pads.len() / 2).filter(|(before, _)| before.len() >= axes)?;
    let sees_data = |(axis, length): (usize, &i64)| {
        let own = [window.pads.get(axis)?, window.pads.get(axes + axis)?];
        let new = [inner(before, axis)?, inner(behind, axis)?];
        new.iter().zip(own).all(|(new, own)| new.saturating_add(*own) < *length).then_some(())
    };
    let never_negative = producer(pad.input(0)?)
        .is_some_and(|node| is_onnx_domain(node.domain()) && NEVER_NEGATIVE.contains(&node.op_type()));
    if is_zero && never_negative && kernel.iter().enumerate().all(|axis| sees_data(axis).is_some()) {
        return None;
    }
    let copy = draft.apply("Max", &[input, input]);
    let mut pool = site.node.clone();
    pool.input.first_mut()?.clone_from(&copy);
    draft.keep(pool);
    Some(())
}

/// Leaves out the wish for incomplete windows where there are none. Those of volumes, which the compiler does not have, become
/// complete by padding, which never counts.
pub(super) fn complete_max_pool(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let mut window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    if site.integer("ceil_mode") != Some(1) || site.is_read(1) {
        return None;
    }
    if window.is_complete() {
        draft.keep(altered(site, vec![("ceil_mode", None)]));
        return Some(());
    }
    draft.keep(window.completed(site)?);
    Some(())
}

/// Writes means of windows of which some are incomplete and whose padding counts.
pub(super) fn incomplete_averages(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let is_set = |name: &str| site.integer(name) == Some(1);
    let window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    if !is_set("ceil_mode") || !is_set("count_include_pad") || window.is_complete() {
        return None;
    }
    average_pool(site, draft)
}

/// Writes means of windows whose elements lie apart, or some of which are incomplete and whose padding counts (ONNX operator
/// sets 7 to 22).
pub(super) fn average_pool(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let mut window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    let ceil = site.integer("ceil_mode") == Some(1);
    let counts_pads = site.integer("count_include_pad") == Some(1);
    if !window.is_dilated() {
        if ceil && window.is_complete() {
            draft.keep(altered(site, vec![("ceil_mode", None)]));
            return Some(());
        }
        if ceil && !counts_pads {
            draft.keep(window.completed(site)?);
            return Some(());
        }
        if !ceil {
            return None;
        }
    }
    // Padding that only makes windows complete never counts.
    let counted: Vec<(i64, i64)> = (0..window.sizes.len())
        .map(|axis| {
            let (before, behind) = (*window.pads.get(axis)?, *window.pads.get(window.sizes.len() + axis)?);
            let size = *window.sizes.get(axis)?;
            Some(if counts_pads { (-before, size + behind) } else { (0, size) })
        })
        .collect::<Option<_>>()?;
    if ceil {
        window.complete()?;
    }
    let mut shares = vec![1.0];
    let mut dims = vec![1, 1];
    for (axis, (first, end)) in counted.into_iter().enumerate() {
        let along = window.counts(axis, first..end)?;
        dims.push(i64::try_from(along.len()).ok()?);
        let room = shares.len().checked_mul(along.len())?;
        if room > MOST_ELEMENTS || along.contains(&0) {
            return None;
        }
        shares = shares.iter().flat_map(|share| along.iter().map(move |count| share / *count as f64)).collect();
    }
    let uniform = shares.first().copied().filter(|first| shares.iter().all(|share| share == first));
    let mut result = window.sum(site, draft, input, uniform.unwrap_or(1.0))?;
    if uniform.is_none() {
        let shares = draft.floats(&dims, &shares);
        result = draft.binary("Mul", &result, &shares);
    }
    draft.yields(&result, output);
    Some(())
}

/// The most elements that are written out.
const MOST_ELEMENTS: usize = 1 << 24;

impl Window {
    /// The pooling of volumes with so much padding that incomplete windows are complete.
    fn completed(&mut self, site: &Site<'_>) -> Option<NodeProto> {
        const SPACE: usize = 3;
        if self.sizes.len() != SPACE || self.is_dilated() {
            return None;
        }
        self.complete()?;
        let pads = integers_attribute("pads", self.pads.clone());
        Some(altered(site, vec![("ceil_mode", None), ("auto_pad", None), ("pads", Some(pads))]))
    }

    /// How many elements of each window along an axis lie in a range.
    fn counts(&self, axis: usize, counted: std::ops::Range<i64>) -> Option<Vec<i64>> {
        let [steps, _] = self.steps(axis)?;
        let (kernel, stride) = (*self.kernel.get(axis)?, *self.strides.get(axis)?);
        let (dilation, before) = (*self.dilations.get(axis)?, *self.pads.get(axis)?);
        if steps.checked_mul(kernel)? > i64::try_from(MOST_ELEMENTS).ok()? {
            return None;
        }
        let count = |step: i64| {
            let taps = (0..kernel).map(|tap| step * stride - before + tap * dilation);
            taps.filter(|place| counted.contains(place)).count() as i64
        };
        Some((0..steps).map(count).collect())
    }

    /// Sums the elements of each window, each times a weight. The compiler has no convolution of volumes by channels.
    fn sum(&self, site: &Site<'_>, draft: &mut Draft, value: &str, weight: f64) -> Option<String> {
        let channels = *site.sizes(0)?.get(1)?;
        if self.sizes.len() > 2 && channels != 1 {
            return None;
        }
        let dims = [&[channels, 1], &self.kernel[..]].concat();
        let count = element_count(&dims).and_then(|count| usize::try_from(count).ok());
        let weights = vec![weight; count.filter(|count| *count <= MOST_ELEMENTS)?];
        let weights = draft.floats(&dims, &weights);
        let attributes = vec![
            integers_attribute("kernel_shape", self.kernel.clone()),
            integers_attribute("strides", self.strides.clone()),
            integers_attribute("dilations", self.dilations.clone()),
            integers_attribute("pads", self.pads.clone()),
            integer("group", channels),
        ];
        Some(draft.apply_with("Conv", &[value, &weights], attributes))
    }
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
