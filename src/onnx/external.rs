//! Tensors whose elements are in other files (ONNX IR specification, "External Tensor Data").
//!
//! Owns reading and writing the description, and moving elements between a model and the files beside it. Must not open
//! anything: whoever does must refuse what leaves the model's folder.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::check::{self, visit_tensors};
use super::proto::{AttributeProto, DataLocation, GraphProto, NodeProto, StringStringEntryProto, TensorProto};
use super::{Model, OnnxError};

/// Elements in a file of their own begin at multiples of this, so that readers can map them.
const ALIGNMENT: u64 = 4096;

/// Tensors of fewer bytes stay in the model: the tools look at shapes, axes and the like before they load weights.
const SMALLEST_OUTSIDE: usize = 1024;

/// Where the elements of one tensor are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalData {
    /// The tensor's name.
    pub tensor: String,
    /// The file, relative to the model's folder, as the model writes it.
    pub location: String,
    /// Where in the file the elements begin, in bytes.
    pub offset: u64,
    /// How many bytes they take; `None` means to the end of the file.
    pub length: Option<u64>,
    /// Whether the file is in the model's folder.
    pub whereabouts: Whereabouts,
}

/// Whether a location stays in the model's folder, judged by its text alone. Symbolic links are for the opener to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whereabouts {
    /// In the folder or below it.
    Inside,
    /// Absolute, climbing out with `..`, or no path at all.
    Outside,
}

impl Whereabouts {
    fn of(location: &str) -> Self {
        // Windows spellings count, so that a model means the same everywhere.
        let absolute = location.starts_with(['/', '\\']) || location.as_bytes().get(1) == Some(&b':');
        let climbs = location.split(['/', '\\']).any(|component| component == "..");
        let is_file = location.split(['/', '\\']).next_back().is_some_and(|last| !matches!(last, "" | "."));
        if absolute || climbs || !is_file || location.contains('\0') { Self::Outside } else { Self::Inside }
    }
}

/// Lists all external tensors of a model.
pub(super) fn list(model: &Model) -> Vec<ExternalData> {
    let mut found = Vec::new();
    // The model is checked, so every description can be read.
    let _: Result<(), OnnxError> = visit_tensors(model, &mut |tensor, place| {
        found.extend(read(tensor, place)?);
        Ok(())
    });
    found
}

/// Reads the description of one tensor, if its elements are in another file.
pub(super) fn read(tensor: &TensorProto, what: &dyn Fn() -> String) -> Result<Option<ExternalData>, OnnxError> {
    if tensor.data_location() != DataLocation::External {
        return Ok(None);
    }
    let bad = |reason| OnnxError::BadExternalData { what: what(), reason };
    let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
    let number = |key: &str, reason: &'static str| match entry(key) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| bad(reason)),
    };
    let location = entry("location").ok_or_else(|| bad("there is no location"))?;
    Ok(Some(ExternalData {
        tensor: tensor.name().to_owned(),
        location: location.to_owned(),
        offset: number("offset", "the offset is no number")?.unwrap_or(0),
        length: number("length", "the length is no number")?,
        whereabouts: Whereabouts::of(location),
    }))
}

/// Puts the elements of every external tensor into the model. They are shared with `files`, by location, not copied.
///
/// # Errors
/// A file is missing, or is too short for a tensor.
pub(super) fn embed(mut model: Model, files: &BTreeMap<String, Bytes>) -> Result<Model, OnnxError> {
    let mut failure = None;
    visit_mut(&mut model, &mut |tensor| {
        if let Err(error) = embed_one(tensor, files) {
            failure.get_or_insert(error);
        }
    });
    failure.map_or(Ok(()), Err)?;
    check::model(&model)?;
    Ok(model)
}

fn embed_one(tensor: &mut TensorProto, files: &BTreeMap<String, Bytes>) -> Result<(), OnnxError> {
    let name = tensor.name.clone();
    let what = || format!("tensor `{}`", name.as_deref().unwrap_or_default());
    let Some(data) = read(tensor, &what)? else { return Ok(()) };
    let bad = |reason| OnnxError::BadExternalData { what: what(), reason };
    let file = files.get(&data.location).ok_or_else(|| bad("its file is missing"))?;
    let start = usize::try_from(data.offset).unwrap_or(usize::MAX);
    let rest = file.len().checked_sub(start).ok_or_else(|| bad("it begins behind the end of its file"))?;
    let length = data.length.map_or(Some(rest), |length| usize::try_from(length).ok().filter(|length| *length <= rest));
    let length = length.ok_or_else(|| bad("it ends behind the end of its file"))?;
    tensor.raw_data = Some(file.slice(start..start + length));
    tensor.external_data = Vec::new();
    tensor.data_location = None;
    Ok(())
}

/// Moves the elements of every large tensor of the main graph out of the model, into one file at `location`. Returns the
/// model and what that file consists of, in order, without copying any of it.
pub(super) fn detach(mut model: Model, location: &str) -> (Model, Vec<Bytes>) {
    let (mut pieces, mut end) = (Vec::new(), 0_u64);
    for tensor in &mut model.graph.initializer {
        let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= SMALLEST_OUTSIDE) else { continue };
        let start = end.next_multiple_of(ALIGNMENT);
        // Less than one unit of alignment.
        pieces.push(Bytes::from(vec![0; usize::try_from(start - end).unwrap_or(0)]));
        end = start + raw.len() as u64;
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
        tensor.external_data = vec![
            entry("location", location.to_owned()),
            entry("offset", start.to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::External as i32);
        pieces.push(raw);
    }
    (model, pieces)
}

/// Calls `visit` for every tensor in the model, wherever it is.
fn visit_mut(model: &mut Model, visit: &mut dyn FnMut(&mut TensorProto)) {
    graph_mut(&mut model.graph, visit);
    for function in &mut model.proto.functions {
        function.node.iter_mut().for_each(|node| node_mut(node, visit));
        function.attribute_proto.iter_mut().for_each(|attribute| attribute_mut(attribute, visit));
    }
}

fn graph_mut(graph: &mut GraphProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    graph.initializer.iter_mut().for_each(&mut *visit);
    let sparse = graph.sparse_initializer.iter_mut();
    sparse.flat_map(|tensor| tensor.values.iter_mut().chain(&mut tensor.indices)).for_each(&mut *visit);
    graph.node.iter_mut().for_each(|node| node_mut(node, visit));
}

fn node_mut(node: &mut NodeProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    node.attribute.iter_mut().for_each(|attribute| attribute_mut(attribute, visit));
}

fn attribute_mut(attribute: &mut AttributeProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors).for_each(&mut *visit);
    let sparse = attribute.sparse_tensor.as_deref_mut().into_iter().chain(&mut attribute.sparse_tensors);
    sparse.flat_map(|tensor| tensor.values.iter_mut().chain(&mut tensor.indices)).for_each(&mut *visit);
    let graphs = attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs);
    graphs.for_each(|graph| graph_mut(graph, visit));
}

#[cfg(test)]
mod tests {
    use super::Whereabouts;

    #[test]
    fn locations_that_leave_the_folder_are_seen() {
        for inside in ["weights.bin", "data/w 1.bin", "a..b", "./w", "模型.onnx_data", "..w"] {
            assert_eq!(Whereabouts::of(inside), Whereabouts::Inside, "{inside}");
        }
        for outside in
            ["", ".", "..", "../w", "a/../../w", "a/..", "/etc/passwd", "\\\\host\\w", "C:\\w", "c:w", "a/", "w\0"]
        {
            assert_eq!(Whereabouts::of(outside), Whereabouts::Outside, "{outside:?}");
        }
    }
}
