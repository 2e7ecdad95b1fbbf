//! `config.json` of an NN Archive, version 1.0.
//!
//! Owns the document's types, their JSON and its checks. Keys beyond the schema are refused, except in the metadata of
//! the model and of heads, where the schema leaves room for them and they are carried through.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::carried::{self, Carried};
use super::layout::Layout;
use crate::hint::Hint;
use crate::image_path::ImagePath;

/// The version of the schema that is written.
pub const VERSION: &str = "1.0";

/// The key under which a head names the model that it feeds its results to.
const POSTPROCESSOR: &str = "postprocessor_path";

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of the schema, `major.minor`.
    pub config_version: String,
    /// The model.
    pub model: Model,
}

/// The model of an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Names and files.
    pub metadata: Metadata,
    /// What is fed in, in the model's order.
    pub inputs: Vec<Input>,
    /// What comes out, in the model's order.
    pub outputs: Vec<Output>,
    /// How outputs are decoded on the host or the device. Always written: the schema wants the key, if only with null.
    #[serde(default)]
    pub heads: Option<Vec<Head>>,
}

/// Names and files of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Carried", into = "Carried")]
pub struct Metadata {
    /// The model's name.
    pub name: String,
    /// The model's file in the archive.
    pub path: String,
    /// The type of weights and arithmetic.
    pub precision: Option<DataType>,
    /// Keys beyond the schema, carried through.
    pub extra: Carried,
}

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DataType,
    /// Whether it is a picture.
    pub input_type: InputType,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// The letters of its dimensions; where nothing is said, those that the shape suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// What the device does to a frame before the model sees it.
    pub preprocessing: Preprocessing,
}

/// What kind of data an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Anything.
    Raw,
    /// A picture.
    Image,
}

/// What the device does to a frame before the model sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Subtracted from each channel.
    #[serde(default)]
    pub mean: Option<Vec<f64>>,
    /// Divided through for each channel.
    #[serde(default)]
    pub scale: Option<Vec<f64>>,
    /// Whether the model wants RGB; deprecated in favour of `dai_type`.
    #[serde(default)]
    pub reverse_channels: Option<bool>,
    /// Whether the model wants interleaved channels; deprecated in favour of `dai_type`.
    #[serde(default)]
    pub interleaved_to_planar: Option<bool>,
    /// The frame type of DepthAI that the model wants.
    #[serde(default)]
    pub dai_type: Option<String>,
    /// How frames of another size become the input's. Not written where nobody says it: older readers refuse the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize_mode: Option<ResizeMode>,
}

/// How frames of another size become an input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ResizeMode {
    /// The middle is cut out.
    Crop,
    /// Width and height are stretched each by itself.
    Stretch,
    /// The whole is fitted in, and the rest filled.
    Letterbox,
}

/// One output of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DataType,
    /// Its dimensions, outermost first.
    #[serde(default)]
    pub shape: Option<Vec<u64>>,
    /// The letters of its dimensions.
    #[serde(default)]
    pub layout: Option<Layout>,
}

/// How outputs are decoded: a decoder's name, what it needs to know, and keys that the schema does not have. All of it is
/// carried through unread but for the model that it may name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Carried", into = "Carried")]
pub struct Head(Carried);

/// The types of elements that the schema knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum DataType {
    Int4,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint4,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float16,
    Float32,
    Float64,
    Boolean,
    String,
}

/// A document that breaks the schema.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// No JSON of the schema's shape.
    #[error("the NN Archive's config.json is not of the schema")]
    Shape {
        /// What is wrong and where.
        #[source]
        source: serde_json::Error,
    },
    /// A version that this program cannot know.
    #[error("the NN Archive's config.json has version `{version}`: this program knows 1.x")]
    Version {
        /// The version found.
        version: String,
    },
    /// A rule beyond the shape.
    #[error("the NN Archive's config.json breaks a rule at `{place}`: {rule}")]
    Rule {
        /// The key.
        place: String,
        /// The rule.
        rule: String,
    },
}

impl Hint for DocumentError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Shape { .. } | Self::Rule { .. } => {
                vec!["compare it with the schema of NN Archives, version 1.0".to_owned()]
            }
            Self::Version { .. } => Vec::new(),
        }
    }
}

impl Document {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// The bytes are no JSON, break the schema or one of its rules, or are of an unknown version.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let document: Self = serde_json::from_slice(bytes).map_err(|source| DocumentError::Shape { source })?;
        document.check()?;
        Ok(document)
    }

    /// Returns the document as it stands in an archive: JSON indented by four, with a final newline.
    pub fn render(&self) -> String {
        // Writing plain data into memory cannot fail: there are only text keys and finite or null numbers.
        carried::indented(&serde_json::to_string(self).unwrap_or_default()) + "\n"
    }

    /// Returns the models that heads feed their results to, each once, by their paths in the archive.
    pub fn postprocessors(&self) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for head in self.model.heads.iter().flatten() {
            if let Some(path) = head.postprocessor()
                && !paths.contains(&path)
            {
                paths.push(path);
            }
        }
        paths
    }

    /// Checks the rules that the shape alone does not hold.
    fn check(&self) -> Result<(), DocumentError> {
        let rule = |place: String, rule: String| Err(DocumentError::Rule { place, rule });
        match self.config_version.split_once('.') {
            Some(("1", minor)) if !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit()) => {}
            _ => return Err(DocumentError::Version { version: self.config_version.clone() }),
        }
        for input in &self.model.inputs {
            let place = format!("model.inputs[{}]", input.name);
            if let Some(layout) = &input.layout {
                if layout.rank() != input.shape.len() {
                    return rule(place, format!("layout {layout} does not have the length of shape {:?}", input.shape));
                }
                if layout.position('N').is_some_and(|position| position > 0) {
                    return rule(place, format!("`N` must come first in layout {layout}"));
                }
                if input.input_type == InputType::Image && layout.position('C').is_none() {
                    return rule(place, format!("layout {layout} of an image has no `C`"));
                }
            }
        }
        for output in &self.model.outputs {
            if let (Some(layout), Some(shape)) = (&output.layout, &output.shape)
                && layout.rank() != shape.len()
            {
                let place = format!("model.outputs[{}]", output.name);
                return rule(place, format!("layout {layout} does not have the length of shape {shape:?}"));
            }
        }
        let model = ("model.metadata.path".to_owned(), self.model.metadata.path.clone());
        let others = self.model.heads.iter().flatten().enumerate().filter_map(|(index, head)| {
            Some((format!("model.heads[{index}].metadata.{POSTPROCESSOR}"), head.postprocessor()?))
        });
        for (place, path) in std::iter::once(model).chain(others) {
            if path.starts_with('/') || path.parse::<ImagePath>().is_err() {
                return rule(place, format!("`{path}` is no file inside the archive"));
            }
        }
        Ok(())
    }
}

impl Head {
    /// Returns the outputs that it takes, where it says so: of its own, and for parsers that tell several apart, in its
    /// metadata, such as `yolo_outputs`.
    pub fn outputs(&self) -> Vec<String> {
        let own = self.0.read::<Option<Vec<String>>>("outputs").ok().flatten();
        let metadata = self.metadata();
        let told_apart = metadata.keys().filter(|key| key.ends_with("_outputs")).flat_map(|key| {
            let one = || metadata.text(key).map(|output| vec![output]);
            metadata.read::<Vec<String>>(key).ok().or_else(one).unwrap_or_default()
        });
        let mut outputs: Vec<String> = Vec::new();
        for output in own.into_iter().flatten().chain(told_apart) {
            if !outputs.contains(&output) {
                outputs.push(output);
            }
        }
        outputs
    }

    /// Returns who reads its results.
    pub fn parser(&self) -> String {
        self.0.read("parser").unwrap_or_default()
    }

    /// Returns the path in the archive of the model that this head feeds its results to.
    pub fn postprocessor(&self) -> Option<String> {
        self.metadata().text(POSTPROCESSOR)
    }

    /// Gives the model that this head feeds its results to another path.
    pub fn move_postprocessor(&mut self, path: &str) {
        let mut metadata = self.metadata();
        if metadata.text(POSTPROCESSOR).is_some() {
            metadata.put_text(POSTPROCESSOR, path);
            self.0.put("metadata", serde_json::to_string(&metadata).unwrap_or_default());
        }
    }

    fn metadata(&self) -> Carried {
        // A head has been checked to have an object there.
        self.0.read("metadata").unwrap_or_default()
    }
}

impl TryFrom<Carried> for Head {
    type Error = String;

    fn try_from(keys: Carried) -> Result<Self, String> {
        let wrong = |error| format!("model.heads: {error}");
        keys.read::<String>("parser").map_err(wrong)?;
        keys.read::<Carried>("metadata").map_err(wrong)?;
        for (key, is_right) in [
            ("name", keys.read::<Option<String>>("name").is_ok()),
            ("outputs", keys.read::<Option<Vec<String>>>("outputs").is_ok()),
        ] {
            if keys.has(key) && !is_right {
                return Err(format!("model.heads: `{key}` is not what the schema says"));
            }
        }
        Ok(Self(keys))
    }
}

impl From<Head> for Carried {
    fn from(head: Head) -> Self {
        head.0
    }
}

impl TryFrom<Carried> for Metadata {
    type Error = String;

    fn try_from(mut keys: Carried) -> Result<Self, String> {
        let wrong = |error| format!("model.metadata: {error}");
        let name = keys.read::<String>("name").map_err(wrong)?;
        let path = keys.read::<String>("path").map_err(wrong)?;
        let precision =
            if keys.has("precision") { keys.read::<Option<DataType>>("precision").map_err(wrong)? } else { None };
        ["name", "path", "precision"].into_iter().for_each(|key| keys.remove(key));
        Ok(Self { name, path, precision, extra: keys })
    }
}

impl From<Metadata> for Carried {
    fn from(metadata: Metadata) -> Self {
        let mut keys = metadata.extra;
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let precision = metadata.precision.map(|precision| ("precision", json(precision.as_str())));
        // The schema has no null here: who says nothing means float32.
        let known = precision.into_iter().chain([("path", json(&metadata.path)), ("name", json(&metadata.name))]);
        known.for_each(|(key, json)| keys.prepend(key, json));
        keys
    }
}

impl DataType {
    /// Returns the name in the schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint4 => "uint4",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Float16 => "float16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
            Self::String => "string",
        }
    }
}
