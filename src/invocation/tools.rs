//! `toolchain.toml` inside an image: which tools there are and how they are started.
//!
//! Owns the file's shape. Every image has one; the pipeline reads it instead of guessing from a version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Invocation;
use crate::hint::Hint;
use crate::name::{Target, ToolchainVersion};

/// Where the file stands in every image.
pub const PLACE: &str = "/usr/share/modelconverter/toolchain.toml";
/// The newest version of the file format, and the only one there is.
pub const FORMAT: u32 = 1;

/// The tools of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tools {
    /// The version of the file format.
    pub format: u32,
    /// What the tools compile for.
    pub target: Target,
    /// The vendor's version.
    pub version: ToolchainVersion,
    /// How the vendor's tools are spoken to.
    pub dialect: Dialect,
    /// What turns a model into the vendor's own representation.
    pub model_optimizer: Program,
    /// What compiles.
    pub compiler: Compiler,
    /// What runs networks to compare their outputs, if the image has it.
    #[serde(default)]
    pub prover: Option<Program>,
    /// What runs a network on calibration samples and writes its outputs, if the image has it.
    #[serde(default)]
    pub recorder: Option<Program>,
}

/// How the vendor's tools are spoken to; releases differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// OpenVINO up to 2021.4: `--data_type`, IR version 10.
    #[serde(rename = "openvino-2021")]
    OpenVino2021,
    /// OpenVINO from 2022.1 on: `--compress_to_fp16`, IR version 11.
    #[serde(rename = "openvino-2022")]
    OpenVino2022,
}

/// What compiles a network to blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum Compiler {
    /// Our driver of the Inference Engine, for wheels: reads ONNX and IR, compiles many at once.
    Driver(Program),
    /// The vendor's `compile_tool`, for archives: reads IR, compiles one.
    CompileTool(Program),
}

/// How a tool is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Program {
    /// The program, absolute.
    pub program: PathBuf,
    /// Arguments before all others.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// What is added to its environment, and to its alone.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// A file that says nothing usable about tools.
#[derive(Debug, Error)]
pub enum ToolsError {
    /// The text is not of the file's shape.
    #[error("`toolchain.toml` of the image cannot be understood")]
    Shape(#[source] toml::de::Error),
    /// The file is of a later version.
    #[error("`toolchain.toml` of the image has format {found}, this program knows format {FORMAT}")]
    Newer {
        /// The version found.
        found: u32,
    },
}

impl Hint for ToolsError {
    fn hints(&self) -> Vec<String> {
        vec!["use the converter that the image was built with, or build the image again".to_owned()]
    }
}

impl Tools {
    /// Reads the text of a `toolchain.toml`.
    ///
    /// # Errors
    /// A text of another shape or of a later format.
    pub fn parse(text: &str) -> Result<Self, ToolsError> {
        /// The one key that every version has.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let versioned: Versioned = toml::from_str(text).map_err(ToolsError::Shape)?;
        if versioned.format != FORMAT {
            return Err(ToolsError::Newer { found: versioned.format });
        }
        toml::from_str(text).map_err(ToolsError::Shape)
    }
}

impl Program {
    /// Returns a run of the tool with further arguments.
    pub fn invocation(&self, tool: &str, arguments: Vec<String>, working_folder: &Path) -> Invocation {
        Invocation {
            tool: tool.to_owned(),
            program: self.program.clone(),
            arguments: self.arguments.iter().cloned().chain(arguments).collect(),
            environment: self.env.clone(),
            working_folder: working_folder.to_owned(),
            input: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_images_are_understood() {
        for (version, text) in [
            ("2021.4.0", include_str!("../../images/rvc2/files/2021.4.0/toolchain.toml")),
            ("2021.4.2", include_str!("../../images/rvc2/files/2021.4.2/toolchain.toml")),
            ("2022.3.1", include_str!("../../images/rvc2/files/2022.3.1/toolchain.toml")),
        ] {
            let tools = Tools::parse(text).unwrap();
            assert_eq!((tools.target, tools.version.as_str()), (Target::Rvc2, version));
            assert!(tools.prover.is_some() && tools.recorder.is_some());
            assert_eq!(tools.dialect == Dialect::OpenVino2022, version.starts_with("2022"));
        }
    }

    #[test]
    fn later_formats_and_unknown_keys_are_refused() {
        assert!(matches!(Tools::parse("format = 2\nanything = 1"), Err(ToolsError::Newer { found: 2 })));
        let text = include_str!("../../images/rvc2/files/2021.4.2/toolchain.toml").replace("program =", "programme =");
        assert!(matches!(Tools::parse(&text), Err(ToolsError::Shape(_))));
    }
}
