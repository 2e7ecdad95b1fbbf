//! The operator set that all tools for MyriadX read.
//!
//! Readers of an older set take a newer one for the newest they know, and silently misread what has changed since: a
//! reduction whose axes became an input then reduces all axes. So a model either has every node in an old form, or it is
//! refused.

use super::super::build::{integer, integers_attribute};
use super::super::draft::{Draft, Site};
use super::super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Dimension, ElementType, Facts, Known, Model, Patch, Reads, is_onnx_domain, node_label, subgraphs};

/// Writes all nodes in the forms of the newest operator set that a tool reads, if all can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldForms {
    /// What the importer of OpenVINO 2021.4.2 reads: opset 13.
    Importer,
    /// What its Model Optimizer reads: opset 12. It would not find axes that are an input, and take a `Softmax` along
    /// one axis for one along all axes behind, too.
    Optimizer,
}

impl OldForms {
    /// The newest operator set that is read.
    pub const fn newest(self) -> i64 {
        match self {
            Self::Importer => 13,
            Self::Optimizer => 12,
        }
    }
}

impl Pass for OldForms {
    fn name(&self) -> &'static str {
        match self {
            Self::Importer => "old-forms",
            Self::Optimizer => "old-forms-for-the-optimizer",
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Importer => "the tools of OpenVINO 2021.4.2 read ONNX up to opset 13",
            Self::Optimizer => "the Model Optimizer of OpenVINO 2021.4.2 reads ONNX up to opset 12",
        }
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        if model.opset() <= self.newest() {
            return Ok(None);
        }
        let (facts, reads) = (model.facts(), model.reads());
        let mut draft = Draft::for_opset(model, self.newest());
        let own = String::new;
        let mut patch = Patch {
            removed_domains: [own()].into(),
            added_domains: [(own(), self.newest())].into(),
            ..Patch::default()
        };
        for (place, node) in model.graph().node.iter().enumerate() {
            let site = Site { node, facts, reads, model };
            match self.restated(&site, &mut draft) {
                Some(Form::Same) => {}
                Some(Form::Other) => patch.replace(place, draft.take()),
                None => return Ok(None),
            }
        }
        let node = model.graph().node.first().map(node_label);
        let node = node.unwrap_or_else(|| node_label(&NodeProto::default()));
        patch.added_initializers = draft.finish().map_err(|source| PassError::Constant { node, source })?;
        Ok(Some(patch))
    }
}

/// Lists the places of the nodes of a model of a newer operator set that have no form in the one that is read.
pub fn without_old_form(model: &Model, forms: OldForms) -> Vec<usize> {
    if model.opset() <= forms.newest() {
        return Vec::new();
    }
    let (facts, reads) = (Facts::of(model), Reads::of(model.graph()));
    let mut draft = Draft::for_opset(model, forms.newest());
    let nodes = model.graph().node.iter().enumerate();
    let site = |node| Site { node, facts: &facts, reads: &reads, model };
    nodes.filter(|(_, node)| forms.restated(&site(node), &mut draft).is_none()).map(|(place, _)| place).collect()
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
    "SwiGLU",
    "Swish",
    "TensorScatter",
    "Trilu",
];

impl OldForms {
    fn restated(self, site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
        let form = restated(site, draft)?;
        match (self, form) {
            // Both steps at once are never needed: what the importer reads is what the optimizer's forms are made of.
            (Self::Optimizer, Form::Same) => optimizer_form(site, draft),
            (_, form) => Some(form),
        }
    }
}

/// The form of a node of opset 13 in opset 12.
fn optimizer_form(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    if !is_onnx_domain(site.node.domain()) {
        return Some(Form::Same);
    }
    let name = match site.node.op_type() {
        "ReduceSum" | "Squeeze" | "Unsqueeze" => "axes",
        "Split" => "split",
        "Hardmax" | "LogSoftmax" | "Softmax" => return softmax(site, draft),
        _ => return Some(Form::Same),
    };
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| attribute.name() != "noop_with_empty_axes");
    node.input.truncate(1);
    if site.input(1).is_some() {
        let values = site.constant_integers(1)?;
        if values.is_empty() && site.integer("noop_with_empty_axes") == Some(1) {
            return None;
        }
        if !values.is_empty() {
            node.attribute.push(integers_attribute(name, values));
        }
    } else if site.integer("noop_with_empty_axes") == Some(1) {
        return None;
    }
    draft.keep(node);
    Some(Form::Other)
}

fn softmax(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let sizes = &site.facts.shape(site.input(0)?)?.0;
    let axis = Site::axis(site.integer("axis").unwrap_or(-1), sizes.len())?;
    let last = sizes.len() - 1;
    let along = |axis: usize| vec![integer("axis", axis as i64)];
    let alone = sizes.iter().skip(axis + 1).all(|size| *size == Dimension::Known(1));
    if alone {
        let result = draft.apply_with(site.node.op_type(), &[site.input(0)?], along(axis));
        draft.yields(&result, site.output(0)?);
        return Some(Form::Other);
    }
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.swap(axis, last);
    let turned = draft.transpose(site.input(0)?, &order);
    let result = draft.apply_with(site.node.op_type(), &[&turned], along(last));
    let back = draft.transpose(&result, &order);
    draft.yields(&back, site.output(0)?);
    Some(Form::Other)
}

/// The form of a node in opset 13.
fn restated(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let node = site.node;
    if !is_onnx_domain(node.domain()) {
        return Some(Form::Same);
    }
    if YOUNG.contains(&node.op_type()) || subgraphs(node).flat_map(|graph| &graph.node).any(may_differ) {
        return None;
    }
    draft.begin(node.output.first()?, ElementType::Float32);
    if has_young_type(site) {
        return None;
    }
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
        "Range" => without(site, draft, &["stash_type"], true),
        "SpaceToDepth" => space_to_depth(site, draft),
        "ScatterElements" | "ScatterND" => without(site, draft, &["reduction"], text("reduction", "none")),
        "RoiAlign" => {
            let old = site.text("coordinate_transformation_mode", "half_pixel") == "output_half_pixel";
            without(site, draft, &["coordinate_transformation_mode"], old)
        }
        _ => Some(Form::Same),
    }
}

/// Whether a node computes with elements that its operator takes in newer operator sets only.
fn has_young_type(site: &Site<'_>) -> bool {
    let element = site.input(0).and_then(|input| site.facts.element(input));
    let is = |types: &[ElementType]| element.is_some_and(|element| types.contains(&element));
    match site.node.op_type() {
        "Add" | "Div" | "Mul" | "Sub" => {
            is(&[ElementType::Uint8, ElementType::Int8, ElementType::Uint16, ElementType::Int16])
        }
        "ReduceMax" | "ReduceMin" => is(&[ElementType::Boolean]),
        "IsInf" => is(&[ElementType::Float16]),
        _ => false,
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

/// From opset 28 on, blocks may come behind the channels (`CRD`): those that come before them are put there.
fn space_to_depth(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    if site.text("mode", "DCR") != "CRD" {
        return without(site, draft, &["mode"], true);
    }
    let &[batch, channels, height, width] = site.sizes(0)?.as_slice() else { return None };
    let side = site.integer("blocksize").filter(|side| *side > 0)?;
    let area = side.checked_mul(side)?;
    let size = integer("blocksize", side);
    let blocks = draft.apply_with("SpaceToDepth", &[site.input(0)?], vec![size]);
    let apart = draft.reshape(&blocks, &[batch, area, channels, height / side, width / side]);
    let behind = draft.transpose(&apart, &[0, 2, 1, 3, 4]);
    let joined = draft.reshape(&behind, &[batch, channels.checked_mul(area)?, height / side, width / side]);
    draft.yields(&joined, site.output(0)?);
    Some(Form::Other)
}

fn reduction(site: &Site<'_>, draft: &mut Draft) -> Option<Form> {
    let does_nothing = site.integer("noop_with_empty_axes") == Some(1);
    let names = ["noop_with_empty_axes", "axes"];
    let axes = match site.input(1) {
        // Axes that count from the end need no rank.
        Some(_) => site.constant_integers(1)?,
        None if does_nothing => return None,
        None => return without(site, draft, &names[..1], true),
    };
    if axes.is_empty() && does_nothing {
        return None;
    }
    let mut node = site.node.clone();
    node.input.truncate(1);
    node.attribute.retain(|attribute| !names.contains(&attribute.name()));
    // Without any, all axes are meant.
    if !axes.is_empty() {
        node.attribute.push(integers_attribute("axes", axes));
    }
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
