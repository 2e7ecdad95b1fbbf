//! What is said to the recorder of an image, and what it says.
//!
//! Owns the request and what the recorder's lines amount to ([`Account`]). The recorder is our own program: it runs one
//! network on calibration samples, lets scripts make something of the outputs, and writes what other networks are
//! calibrated with. The files of the images have its source.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::proof::{Feed, Network};

/// What the recorder is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// Files with scripts, each of which defines `run_script`.
    pub scripts: Vec<String>,
    /// What is run; without it scripts are only looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// What network is run on what, and what is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The network, `.onnx` or `.xml`.
    pub network: String,
    /// What runs it.
    pub runtime: Runtime,
    /// What its inputs are fed.
    pub inputs: Vec<Feed>,
    /// The outputs that are wanted; scripts are given all of them.
    pub outputs: Vec<String>,
    /// Samples: each a file of NumPy by the name of its input. Inputs without one are constants.
    pub recorded: Vec<BTreeMap<String, String>>,
    /// The number of the first sample.
    pub first: usize,
    /// What is written of each sample.
    pub results: Vec<Wanted>,
}

/// What runs a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// ONNX Runtime, which is fed samples after preprocessing.
    Onnx,
    /// The vendor's CPU device, which is fed samples as they are.
    Device,
}

/// A file of NumPy written for each sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The folder for the files, which are named after their numbers: `000000.npy`.
    pub folder: String,
    /// What is in them.
    pub content: Content,
}

/// What is in a written file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// This output.
    Output(String),
    /// What `run_script` of this file returns.
    Script(String),
}

impl Request {
    /// Returns the line that the recorder reads.
    pub fn line(&self) -> String {
        // Lists of names and finite numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// What the recorder tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A library is about to read the network.
    Runtime {},
    /// The toolchain has no device to run networks on.
    NoDevice {},
    /// The network cannot be read or run.
    Refused {
        /// What the library says.
        message: String,
    },
    /// The network lacks an output.
    Missing {
        /// Which form of the network.
        network: Network,
        /// The output.
        output: String,
    },
    /// A script cannot be used.
    ScriptFailed {
        /// Its file.
        script: String,
        /// Why not, in one line.
        message: String,
    },
    /// All results of a sample are written.
    Recorded {
        /// Its number.
        sample: usize,
    },
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How many samples have their results.
    pub recorded: usize,
    /// Why there are not more.
    pub trouble: Option<Trouble>,
}

/// Why a recorder stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The toolchain has nothing to run the network on.
    NoDevice,
    /// The network cannot be run, in the library's words.
    Refused(String),
    /// The network lacks this output.
    Missing(String),
    /// A script cannot be used.
    Script {
        /// Its file.
        file: String,
        /// Why not.
        message: String,
    },
}

impl Account {
    /// Takes one event.
    pub fn heed(&mut self, event: Event) {
        let trouble = match event {
            Event::Runtime {} => return,
            Event::Recorded { .. } => {
                self.recorded += 1;
                return;
            }
            Event::NoDevice {} => Trouble::NoDevice,
            Event::Refused { message } => Trouble::Refused(message.split_whitespace().collect::<Vec<_>>().join(" ")),
            Event::Missing { output, .. } => Trouble::Missing(output),
            Event::ScriptFailed { script, message } => Trouble::Script { file: script, message },
        };
        self.trouble.get_or_insert(trouble);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let scripts = vec!["/s.py".to_owned()];
        assert_eq!(Request { scripts: scripts.clone(), run: None }.line(), "{\"scripts\":[\"/s.py\"]}\n");
        let wanted = |content| Wanted { folder: "/made".to_owned(), content };
        let run = Run {
            network: "/m.onnx".to_owned(),
            runtime: Runtime::Onnx,
            inputs: Vec::new(),
            outputs: vec!["y".to_owned()],
            recorded: vec![BTreeMap::from([("x".to_owned(), "/0.npy".to_owned())])],
            first: 7,
            results: vec![wanted(Content::Output("y".to_owned())), wanted(Content::Script("/s.py".to_owned()))],
        };
        let expected = r#"{"scripts":["/s.py"],"run":{"network":"/m.onnx","runtime":"onnx","inputs":[],"outputs":["y"],"recorded":[{"x":"/0.npy"}],"first":7,"results":[{"folder":"/made","content":{"output":"y"}},{"folder":"/made","content":{"script":"/s.py"}}]}}"#;
        assert_eq!(Request { scripts, run: Some(run) }.line(), format!("{expected}\n"));
    }

    #[test]
    fn the_recorder_is_understood() {
        let account = |lines: &[&str]| {
            let mut account = Account::default();
            lines.iter().for_each(|line| account.heed(serde_json::from_str(line).unwrap()));
            account
        };
        let runtime = r#"{"event":"runtime","network":"original","name":"ONNX Runtime","version":"1.19.2"}"#;
        let first = r#"{"event":"recorded","sample":0}"#;
        assert_eq!(account(&[runtime, first]), Account { recorded: 1, trouble: None });
        for (line, trouble) in [
            (r#"{"event":"no-device","message":"none"}"#, Trouble::NoDevice),
            (
                r#"{"event":"refused","network":"original","kind":"Fail","message":"a\n b"}"#,
                Trouble::Refused("a b".to_owned()),
            ),
            (r#"{"event":"missing","network":"imported","output":"y"}"#, Trouble::Missing("y".to_owned())),
            (
                r#"{"event":"script-failed","script":"/s.py","message":"wrong"}"#,
                Trouble::Script { file: "/s.py".to_owned(), message: "wrong".to_owned() },
            ),
        ] {
            assert_eq!(account(&[first, line, runtime]), Account { recorded: 1, trouble: Some(trouble) });
        }
        assert!(serde_json::from_str::<Event>("noise").is_err());
    }
}
