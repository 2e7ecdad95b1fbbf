//! Tensors whose elements are in other files (ONNX IR specification, "External Tensor Data").
//!
//! Owns reading the description. Must not open anything: whoever does must refuse what leaves the model's folder.

use super::check::visit_tensors;
use super::proto::{DataLocation, TensorProto};
use super::{Model, OnnxError};

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
        found.extend(read(tensor, &place())?);
        Ok(())
    });
    found
}

/// Reads the description of one tensor, if its elements are in another file.
pub(super) fn read(tensor: &TensorProto, what: &str) -> Result<Option<ExternalData>, OnnxError> {
    if tensor.data_location() != DataLocation::External {
        return Ok(None);
    }
    let bad = |reason| OnnxError::BadExternalData { what: what.to_owned(), reason };
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
