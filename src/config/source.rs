//! What `--path` names, as far as its suffix tells.

use super::merge::Override;
use super::read::unsupported_model;
use super::tree::{Tree, Value};
use super::{FileReference, Origin, Problem, Problems};
use crate::name::Target;

/// What `--path` names.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A bare model: no configuration but these overrides, which go before the user's.
    Model(Vec<Override>),
    /// A configuration in YAML or JSON.
    Document,
    /// An NN Archive.
    Archive,
    /// A folder or file that only its content tells: an NN Archive if it is a folder or a tar, a configuration if not.
    Unclear,
}

impl Source {
    /// Decides what `path` is for a conversion to `target`.
    ///
    /// # Errors
    /// The file is a model that cannot be converted, or not for this target.
    pub fn of(path: &FileReference, target: Target) -> Result<Self, Problems> {
        let origin = Origin::Path { path: path.to_string() };
        let pair = |key: &str, value: &FileReference| Override {
            key: key.to_owned(),
            value: Tree::new(Value::Text(value.as_str().to_owned()), origin.clone()),
        };
        if path.as_str().is_empty() {
            let advice = "name a configuration, a model or an NN Archive; is a variable of the shell empty?";
            return Err(Problems::one(Problem::advised(&Origin::Made, "`--path` is empty", advice)));
        }
        let suffix = path.suffix().to_ascii_lowercase();
        let name = path.file_name().to_ascii_lowercase();
        match suffix.as_str() {
            ".onnx" | ".tflite" => Ok(Self::Model(vec![pair("input_model", path)])),
            ".xml" | ".bin" => {
                if !matches!(target, Target::Rvc2 | Target::Rvc3) {
                    return Err(Problems::one(Problem::advised(
                        &origin,
                        format!("`{path}` is a model of OpenVINO, which {target} cannot convert"),
                        "give the ONNX model that it was made from",
                    )));
                }
                let (graph, weights) = (path.with_suffix(".xml"), path.with_suffix(".bin"));
                let graph = if suffix == ".xml" { path.clone() } else { graph };
                let weights = if suffix == ".bin" { path.clone() } else { weights };
                Ok(Self::Model(vec![pair("input_model", &graph), pair("input_bin", &weights)]))
            }
            ".pt" | ".pth" | ".dlc" | ".har" | ".hef" | ".blob" | ".superblob" => {
                Err(Problems::one(unsupported_model(&origin, path, &suffix)))
            }
            ".zip" | ".7z" | ".rar" | ".lzma" | ".lz4" | ".lz" | ".br" | ".z" => Err(Problems::one(Problem::advised(
                &origin,
                format!("NN Archives in the form `{suffix}` cannot be read"),
                "pack it as .tar, .tar.gz, .tar.bz2, .tar.xz or .tar.zst, or give the folder with its files",
            ))),
            ".yaml" | ".yml" | ".json" => Ok(Self::Document),
            ".tar" | ".tgz" | ".txz" | ".tbz2" => Ok(Self::Archive),
            _ if name.contains(".tar.") => Ok(Self::Archive),
            _ => Ok(Self::Unclear),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_decides() {
        let of = |path: &str, target| Source::of(&FileReference::new(path), target);
        let pairs = |path: &str| match of(path, Target::Rvc2) {
            Ok(Source::Model(pairs)) => {
                pairs.iter().map(|pair| format!("{} {}", pair.key, pair.value.value.describe())).collect::<Vec<_>>()
            }
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(pairs("a/b.v2.onnx"), ["input_model the text `a/b.v2.onnx`"]);
        let both = ["input_model the text `m/net.xml`", "input_bin the text `m/net.bin`"];
        assert_eq!(pairs("m/net.xml"), both);
        assert_eq!(pairs("m/net.bin"), both);
        for (path, source) in [
            ("a.yaml", Source::Document),
            ("a.JSON", Source::Document),
            ("my.model.tar.xz", Source::Archive),
            ("folder", Source::Unclear),
            ("folder/", Source::Unclear),
            (".onnx", Source::Unclear),
        ] {
            assert_eq!(of(path, Target::Rvc4), Ok(source), "{path}");
        }
        for (path, target, message) in [
            ("", Target::Rvc2, "`--path` is empty"),
            ("a.pt", Target::Rvc2, "`--path a.pt`: `a.pt` is a PyTorch model, which no target converts directly"),
            ("a.tar.lz4", Target::Rvc2, "`--path a.tar.lz4`: NN Archives in the form `.lz4` cannot be read"),
            ("a.dlc", Target::Rvc4, "`--path a.dlc`: `a.dlc` is the result of a conversion already"),
            ("a.xml", Target::Rvc4, "`--path a.xml`: `a.xml` is a model of OpenVINO, which rvc4 cannot convert"),
        ] {
            assert_eq!(of(path, target).unwrap_err().to_string(), message);
        }
    }
}
