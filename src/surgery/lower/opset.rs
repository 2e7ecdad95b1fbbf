//! The operator set that all tools for MyriadX read.
//!
//! Readers of an older set take a newer one for the newest they know, and silently misread what has changed since: a
//! reduction whose axes became an input then reduces all axes. So a model either has every node in an old form, or it is
//! refused.

use super::super::build::integers_attribute;
use super::super::draft::{Draft, Site};
use super::super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Facts, Model, Patch, Reads, TensorError, is_onnx_domain, node_label, subgraphs};

/// The newest operator set that the importer of OpenVINO 2021.4.2 reads.
pub const NEWEST: i64 = 13;

/// Writes all nodes in the forms of the newest operator set that is read, if all can be.
#[derive(Clone, Copy, Debug)]
pub struct OldForms;

impl Pass for OldForms {
    fn name(&self) -> &'static str {
        "old-forms"
    }

    fn reason(&self) -> &'static str {
        "the tools of OpenVINO 2021.4.2 read ONNX up to opset 13"
    }

    fn apply(&self, model: &Model) -> Result<Option<Patch>, PassError> {
        if model.opset() <= NEWEST {
            return Ok(None);
        }
        let (facts, reads) = (Facts::of(model), Reads::of(model.graph()));
        let mut draft = Draft::for_opset(model, NEWEST);
        let own = String::new;
        let mut patch =
            Patch { removed_domains: [own()].into(), added_domains: [(own(), NEWEST)].into(), ..Patch::default() };
        for (place, node) in model.graph().node.iter().enumerate() {
            let site = Site { node, facts: &facts, reads: &reads, model };
            match restated(&site, &mut draft) {
                Some(Form::Same) => {}
                Some(Form::Other) => patch.replace(place, draft.take()),
                None => return Ok(None),
            }
        }
        let constant = |source: TensorError| PassError::Constant {
            node: model.graph().node.first().map(node_label).unwrap_or_else(|| node_label(&NodeProto::default())),
            source,
        };
        patch.added_initializers = draft.finish().map_err(constant)?;
        Ok(Some(patch))
    }
}

/// Lists the places of the nodes of a model of a newer operator set that have no form in an older one.
pub fn without_old_form(model: &Model) -> Vec<usize> {
    if model.opset() <= NEWEST {
        return Vec::new();
    }
    let (facts, reads) = (Facts::of(model), Reads::of(model.graph()));
    let mut draft = Draft::for_opset(model, NEWEST);
    let nodes = model.graph().node.iter().enumerate();
    let site = |node| Site { node, facts: &facts, reads: &reads, model };
    nodes.filter(|(_, node)| restated(&site(node), &mut draft).is_none()).map(|(place, _)| place).collect()
}

/// Whether a node looks different in an older operator set.
enum Form {
    Same,
    /// The draft has the nodes.
    Other,
}

/// Operators that are younger than the newest operator set that is read.
const YOUNG: &[&str] = &[
    "AffineGrid",
    "Attention",
    "Bernoulli",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "BlackmanWindow",
    "CastLike",
    "CenterCropPad",
    "Col2Im",
    "DFT",
    "DeformConv",
    "Gelu",
    "GridSample",
    "GroupNormalization",
    "HammingWindow",
    "HannWindow",
    "HardSwish",
    "ImageDecoder",
    "LayerNormalization",
    "MelWeightMatrix",
    "Mish",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "RMSNormalization",
    "RegexFullMatch",
    "RotaryEmbedding",
    "STFT",
    "SequenceMap",
    "StringConcat",
    "StringSplit",
    "Swish",
    "TensorScatter",
    "Trilu",
];

fn restated(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let node = site.node;
    if !is_onnx_domain(node.domain()) {
        return Some(Form::Same);
    }
    if YOUNG.contains(&node.op_type()) || subgraphs(node).flat_map(|graph| &graph.node).any(|node| may_differ(node)) {
        return None;
    }
    draft.begin(node.output.first()?, crate::onnx::ElementType::Float32);
    let is = |name: &str, value: i64| site.integer(name).is_none_or(|found| found == value);
    let text = |name: &str, value: &str| site.text(name, value) == value;
    match node.op_type() {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSumSquare" => reduction(site, draft),
        "Split" => split(site, draft),
        "Pad" => pad(site, draft),
        "Resize" => resize(site, draft),
        "Shape" => shape(site, draft),
        "BatchNormalization" => without(site, draft, &["training_mode"], is("training_mode", 0) && !site.is_read(1)),
        "Reshape" => {
            let has_zero = || site.constant_integers(1).is_none_or(|sizes| sizes.contains(&0));
            without(site, draft, &["allowzero"], is("allowzero", 0) || !has_zero())
        }
        "AveragePool" | "LpPool" => {
            let dilated = site.integers("dilations").is_some_and(|values| values.iter().any(|value| *value != 1));
            let names: &[&str] = if node.op_type() == "LpPool" { &["dilations", "ceil_mode"] } else { &["dilations"] };
            without(site, draft, names, !dilated && (node.op_type() != "LpPool" || is("ceil_mode", 0)))
        }
        "Cast" => without(site, draft, &["saturate", "round_mode"], true),
        "QuantizeLinear" | "DequantizeLinear" => {
            let names = ["saturate", "block_size", "output_dtype", "precision"];
            without(site, draft, &names, is("block_size", 0))
        }
        "GRU" | "LSTM" | "RNN" => without(site, draft, &["layout"], is("layout", 0)),
        "ScatterElements" | "ScatterND" => without(site, draft, &["reduction"], text("reduction", "none")),
        "RoiAlign" => {
            let old = site.text("coordinate_transformation_mode", "half_pixel") == "output_half_pixel";
            without(site, draft, &["coordinate_transformation_mode"], old)
        }
        _ => Some(Form::Same),
    }
}

/// Whether a node of a nested graph may look different in an older operator set. Nested graphs are rewritten only after
/// they became part of the main one.
fn may_differ(node: &NodeProto) -> bool {
    const CHANGED: &[&str] = &["BatchNormalization", "Pad", "Resize", "RoiAlign", "ScatterND", "Shape", "Split"];
    let operator = node.op_type();
    let reduces = operator.starts_with("Reduce") && operator != "ReduceSum" && node.input.len() > 1;
    is_onnx_domain(node.domain()) && (YOUNG.contains(&operator) || CHANGED.contains(&operator) || reduces)
        || subgraphs(node).flat_map(|graph| &graph.node).any(may_differ)
}

/// Leaves out attributes that older operator sets do not have, if they say what is meant without them.
fn without(site: &Site<'_>, draft: &mut Draft, names: &[&str], agrees: bool) -> Option<Form> {
    if !names.iter().any(|name| site.attribute(name).is_some()) {
        return agrees.then_some(Form::Same);
    }
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| !names.contains(&attribute.name()));
    draft.keep(node);
    agrees.then_some(Form::Other)
}

fn reduction(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    if site.input(1).is_none() && site.integer("noop_with_empty_axes") != Some(1) {
        return without(site, draft, &["noop_with_empty_axes"], true);
    }
    let axes = match site.input(1) {
        // Axes that count from the end need no rank.
        Some(_) => site.constant_integers(1).filter(|axes| !axes.is_empty())?,
        None => return None,
    };
    let mut node = site.node.clone();
    node.input.truncate(1);
    node.attribute.retain(|attribute| !matches!(attribute.name(), "noop_with_empty_axes" | "axes"));
    node.attribute.push(integers_attribute("axes", axes));
    draft.keep(node);
    Some(Form::Other)
}

fn split(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let Some(parts) = site.integer("num_outputs") else { return Some(Form::Same) };
    let sizes = site.sizes(0)?;
    let size = *sizes.get(Site::axis(site.integer("axis").unwrap_or(0), sizes.len())?)?;
    if parts < 1 || usize::try_from(parts).ok()? != site.node.output.len() {
        return None;
    }
    // The last part is shorter if the size does not divide.
    let length = (size + parts - 1) / parts;
    let lengths: Vec<i64> = (0..parts).map(|part| (size - part * length).clamp(0, length)).collect();
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| attribute.name() != "num_outputs");
    node.input.truncate(1);
    node.input.push(draft.integers(&lengths));
    draft.keep(node);
    Some(Form::Other)
}

fn pad(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    if site.text("mode", "constant") == "wrap" {
        return None;
    }
    if site.input(3).is_none() {
        return Some(Form::Same);
    }
    let rank = site.rank(0)?;
    let (axes, pads) = (site.constant_integers(3)?, site.constant_integers(1)?);
    if pads.len() != 2 * axes.len() {
        return None;
    }
    let (before, behind) = pads.split_at(axes.len());
    let mut all = vec![0; 2 * rank];
    for ((axis, before), behind) in axes.iter().zip(before).zip(behind) {
        let axis = Site::axis(*axis, rank)?;
        *all.get_mut(axis)? = *before;
        *all.get_mut(rank + axis)? = *behind;
    }
    let mut node = site.node.clone();
    *node.input.get_mut(1)? = draft.integers(&all);
    node.input.truncate(if site.input(2).is_some() { 3 } else { 2 });
    draft.keep(node);
    Some(Form::Other)
}

fn shape(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let (start, end) = (site.integer("start"), site.integer("end"));
    if start.is_none() && end.is_none() {
        return Some(Form::Same);
    }
    let whole = draft.apply("Shape", &[site.input(0)?]);
    let part = draft.slice(&whole, &[0], &[start.unwrap_or(0)], &[end.unwrap_or(i64::MAX)]);
    draft.yields(&part, site.output(0)?);
    Some(Form::Other)
}

fn resize(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let policy = site.text("keep_aspect_ratio_policy", "stretch") == "stretch";
    let names = ["antialias", "axes", "keep_aspect_ratio_policy"];
    if site.text("coordinate_transformation_mode", "half_pixel") == "half_pixel_symmetric"
        || site.integer("antialias") == Some(1)
    {
        return None;
    }
    if policy && site.attribute("axes").is_none() {
        return without(site, draft, &names, true);
    }
    let plan = super::resize::Plan::of(site)?;
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| !names.contains(&attribute.name()));
    node.input.truncate(1);
    node.input.extend([String::new(), String::new()]);
    if let Some(scales) = plan.given_scales {
        *node.input.get_mut(2)? = draft.floats(&[scales.len() as i64], &scales);
    } else {
        node.input.push(draft.integers(&plan.sizes));
    }
    draft.keep(node);
    Some(Form::Other)
}
