//! Vendor tools and their argument lists.
//!
//! Owns [`Invocation`], one run of one tool as a value, what an image says about its tools ([`tools`]), and the
//! arguments of each vendor's tools. Must not start anything; `process` does that.

pub mod compile_arguments;
pub mod complaint;
pub mod driver;
pub mod front_end;
pub mod openvino;
pub mod proof;
pub mod recording;
pub mod tools;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// One run of one tool: complete, printable, comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// What the tool is, for people: `the model optimizer`.
    pub tool: String,
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What is added to the environment.
    pub environment: BTreeMap<String, String>,
    /// The folder it is started in.
    pub working_folder: PathBuf,
    /// What it reads on standard input.
    pub input: String,
}

impl Invocation {
    /// Returns program and arguments as one list, as `buildinfo.json` records them.
    pub fn command(&self) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(program).chain(self.arguments.iter().cloned()).collect()
    }
}
