//! Image configurations (OCI image specification, "config.md"), without clocks.

use serde::{Deserialize, Serialize};

use super::{CREATED, Document};
use crate::digest::DiffId;
use crate::name::Platform;

/// What an image is and how its processes begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The processor: `amd64`.
    pub architecture: String,
    /// How processes begin.
    #[serde(default)]
    pub config: ProcessDefaults,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// One record for each layer, lowest first.
    #[serde(default)]
    pub history: Vec<History>,
    /// The operating system: `linux`.
    pub os: String,
    /// The layers.
    pub rootfs: RootFilesystem,
}

/// How processes of an image begin where nobody says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProcessDefaults {
    /// Program and first arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub entrypoint: Vec<String>,
    /// The environment: `KEY=value`, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub env: Vec<String>,
    /// The working folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

/// How a layer came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether there is no layer for this record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFilesystem {
    /// Their digests, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl ImageConfig {
    /// Puts a configuration together from layers, lowest first, each with what made it.
    pub fn new(
        platform: Platform,
        config: ProcessDefaults,
        layers: impl IntoIterator<Item = (DiffId, String)>,
    ) -> Self {
        let (diff_ids, history) = layers
            .into_iter()
            .map(|(diff_id, created_by)| {
                let history =
                    History { created: Some(CREATED.to_owned()), created_by: Some(created_by), empty_layer: false };
                (diff_id, history)
            })
            .unzip();
        Self {
            architecture: platform.architecture().to_owned(),
            config,
            created: Some(CREATED.to_owned()),
            history,
            os: "linux".to_owned(),
            rootfs: RootFilesystem { diff_ids, kind: "layers".to_owned() },
        }
    }
}

impl Document for ImageConfig {
    const NAME: &'static str = "image configuration";
}

/// Reads `null`, which Go writes for an empty list, as an empty list.
fn or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_of_others_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"]},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"empty_layer":true}]}"#;
        let config = ImageConfig::from_bytes(text.as_bytes()).unwrap();
        assert!(config.config.env.is_empty() && config.history[0].empty_layer);
        assert!(ImageConfig::from_bytes(br#"{"os":"linux"}"#).is_err());
    }
}
