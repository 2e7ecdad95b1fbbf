//! What is said between the converter and its driver of the Inference Engine (`compile_blobs.py`).
//!
//! Owns [`Request`], one JSON line in, and [`Event`], JSON lines out. The driver is in the image, the converter is its
//! last layer; both change together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compile_arguments::CompileArguments;
use super::openvino::plugin_options;
use crate::units::{ByteSize, ShaveCount};

/// The environment variable that tells the driver how many compiles run at once. It is not in the request, because the
/// request is recorded with the result, and the result does not depend on the machine.
pub const WORKERS_VARIABLE: &str = "MODELCONVERTER_WORKERS";

/// What the driver is asked to compile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The network, `.onnx` or `.xml`.
    pub network: String,
    /// Shapes that bind dynamic dimensions, by input.
    pub shapes: BTreeMap<String, Vec<u64>>,
    /// Where the IR is written, without suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serialize: Option<String>,
    /// For which numbers of shaves, in this order.
    pub shaves: Vec<ShaveCount>,
    /// An empty folder for what the vendor's library exports.
    pub scratch: String,
    /// Where blobs go; `{shaves}` stands for the number.
    pub blob: String,
    /// Options of the plugin; `{shaves}` stands for the number.
    pub config: BTreeMap<String, String>,
    /// The type of all inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_precision: Option<String>,
    /// The type of all outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_precision: Option<String>,
    /// Types by name of input or output.
    pub precisions: BTreeMap<String, String>,
    /// The layout of all inputs that have as many dimensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_layout: Option<String>,
    /// The layout of all outputs that have as many dimensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_layout: Option<String>,
    /// Layouts by name of input or output.
    pub layouts: BTreeMap<String, String>,
}

/// Files of one compile step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The network, `.onnx` or `.xml`.
    pub network: String,
    /// Where the IR is written, without suffix.
    pub serialize: Option<String>,
    /// An empty folder.
    pub scratch: String,
    /// Where blobs go; `{shaves}` stands for the number.
    pub blob: String,
}

impl Request {
    /// Returns the request to compile `places.network`; `options` are plugin options that win over ours.
    pub fn new(
        places: Places,
        shaves: Vec<ShaveCount>,
        arguments: &CompileArguments,
        options: &BTreeMap<String, String>,
    ) -> Self {
        // Without this option the plugin wants a device before it compiles (2480 is the MyriadX).
        let mut config = BTreeMap::from([("VPU_MYRIAD_PLATFORM".to_owned(), "VPU_MYRIAD_2480".to_owned())]);
        config.extend(plugin_options("{shaves}", super::tools::Dialect::OpenVino2021));
        config.extend(options.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self {
            network: places.network,
            shapes: BTreeMap::new(),
            serialize: places.serialize,
            shaves,
            scratch: places.scratch,
            blob: places.blob,
            config,
            input_precision: arguments.input_precision.clone(),
            output_precision: arguments.output_precision.clone(),
            precisions: arguments.precisions.clone(),
            input_layout: arguments.input_layout.clone(),
            output_layout: arguments.output_layout.clone(),
            layouts: arguments.layouts.clone(),
        }
    }

    /// Returns the line that the driver reads.
    pub fn line(&self) -> String {
        // Maps of strings and numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// What the driver tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The version of the library.
    Version {
        /// As the library says it.
        inference_engine: String,
    },
    /// The network was read.
    Network {
        /// Its name.
        name: String,
        /// Its inputs, by name.
        inputs: Vec<End>,
        /// Its outputs, by name.
        outputs: Vec<End>,
    },
    /// The network cannot be read.
    Unreadable {
        /// What the library says.
        message: String,
    },
    /// A blob is complete.
    Compiled {
        /// Its number of shaves.
        shaves: ShaveCount,
        /// Where it is.
        path: String,
        /// The largest resident memory of the process that made it.
        peak_memory: ByteSize,
    },
    /// A blob cannot be made.
    Failed {
        /// Its number of shaves.
        shaves: ShaveCount,
        /// What the library says.
        message: String,
    },
    /// The process that made a blob was ended by a signal.
    Killed {
        /// Its number of shaves.
        shaves: ShaveCount,
        /// The signal's number.
        signal: i32,
    },
}

/// An input or output of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its name.
    pub name: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// The type of its elements.
    pub precision: String,
    /// Its layout.
    pub layout: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_user_options_win() {
        let places = Places {
            network: "/m.onnx".into(),
            serialize: None,
            scratch: "/s".into(),
            blob: "/b/{shaves}.blob".into(),
        };
        let options = BTreeMap::from([("MYRIAD_THROUGHPUT_STREAMS".to_owned(), "2".to_owned())]);
        let arguments = CompileArguments::parse(&[]).unwrap();
        let request = Request::new(places, ShaveCount::all().collect(), &arguments, &options);
        assert_eq!(request.config["MYRIAD_THROUGHPUT_STREAMS"], "2");
        assert_eq!(request.config["MYRIAD_NUMBER_OF_SHAVES"], "{shaves}");
        let line = request.line();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#""input_precision":"U8""#), "{line}");
    }

    #[test]
    fn events_of_the_driver_are_understood() {
        let compiled = r#"{"event":"compiled","shaves":3,"path":"/x","peak_memory":5}"#;
        let expected = Event::Compiled {
            shaves: ShaveCount::try_from(3).unwrap(),
            path: "/x".into(),
            peak_memory: ByteSize::new(5),
        };
        assert_eq!(serde_json::from_str::<Event>(compiled).unwrap(), expected);
        for wrong in [r#"{"event":"compiled","shaves":17,"path":"/x","peak_memory":5}"#, r#"{"event":"new"}"#, "noise"]
        {
            assert!(serde_json::from_str::<Event>(wrong).is_err(), "{wrong}");
        }
    }
}
