//! The two documents that host and container share: [`Order`] down, [`Report`] up.
//!
//! Owns their JSON and the places of the exchange folder inside the container. While the order is carried out, the
//! container prints one JSON object for each [`Event`](crate::progress::Event) on its standard output; every other line
//! there is log. Both documents have a version from the first day; a newer one is refused by name. Must not read or
//! write files, and must never hold a secret.

mod proof;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::proof::{Attestation, Comparison, Distance, Finding, Proof};
pub use crate::config::PreprocessingPlace;
use crate::config::{ConversionConfig, FrontEnd, StageName};
use crate::digest::Digest;
use crate::hint::Hint;
use crate::name::{FileName, Target, ToolchainName, ToolchainVersion};
use crate::nn_archive;
use crate::units::ByteSize;

/// The version of both documents.
pub const VERSION: u32 = 1;

/// Where the container sees the exchange folder.
pub const FOLDER: &str = "/exchange";

/// The name of the order in the exchange folder.
pub const ORDER: &str = "order.json";

/// The name of the report in the exchange folder.
pub const REPORT: &str = "report.json";

/// The name of the folder in the exchange folder that results are written to.
pub const OUTPUT: &str = "output";

/// The name of the log among the results.
pub const LOG: &str = "modelconverter.log";

/// The folder in the container that the files of the configuration lie in.
pub const INPUTS_FOLDER: &str = "/inputs";

/// What the container is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Order {
    /// The version of the document.
    pub version: u32,
    /// What is compiled for.
    pub target: Target,
    /// The version of the vendor's tools.
    pub tool_version: ToolchainVersion,
    /// The image that carries the order out, by the digest of its configuration, for the record.
    #[serde(default)]
    pub image: Option<Digest>,
    /// What is converted, with paths as the container sees them.
    pub configuration: ConversionConfig,
    /// What the configuration's files and the folders of results are to the host, by their paths in the container, for
    /// messages and for the record that repeats the conversion: paths, or URLs without what may be secret. Models and
    /// weights are not among them: copies of them stand beside the record.
    #[serde(default)]
    pub host_paths: BTreeMap<String, String>,
    /// The NN Archive that the configuration came from, whose heads are carried through.
    #[serde(default)]
    pub source_archive: Option<SourceArchive>,
    /// The stage with the main model, where there are several.
    #[serde(default)]
    pub main_stage: Option<StageName>,
    /// What is made.
    pub form: OutputForm,
    /// Where mean, scale and colours are applied.
    #[serde(default)]
    pub preprocessing: PreprocessingPlace,
    /// What was found worth knowing in the configuration, for the log.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The name of the folder that the results end in on the host, for logs and records.
    pub output_folder: FileName,
}

/// An NN Archive that a configuration came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceArchive {
    /// The name of its file, up to the ending that makes it an archive.
    pub name: FileName,
    /// Its `config.json`.
    pub document: nn_archive::Document,
}

/// How the models of an order get into NN Archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packing {
    /// There are none.
    Nothing,
    /// Each stage into one of its own.
    Each,
    /// Both stages into one, as they were in the archive they came from.
    Together {
        /// The stage that the archive describes.
        main: StageName,
        /// The stage that is fed by a head of the other.
        second: StageName,
    },
}

/// What is made of the compiled model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputForm {
    /// The compiled model alone.
    Native,
    /// The compiled model and an NN Archive around it.
    NnArchive,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Report {
    /// The version of the document.
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The tools that took part, with their versions in their own words.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
    /// What was done, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What was rewritten in the model, in order.
    #[serde(default)]
    pub rewritings: Vec<Rewriting>,
    /// Who read the model.
    #[serde(default)]
    pub front_end: Option<FrontEndReport>,
    /// Whether the networks compute what the originals do, by stage.
    #[serde(default)]
    pub proofs: Vec<Proof>,
    /// What people should know although all went well, one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything was made and checked.
    Success {
        /// The results, the main one first.
        artifacts: Vec<Artifact>,
    },
    /// Something failed; what lies in the output folder is for looking at only.
    Failure(Failure),
}

/// A file among the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Artifact {
    /// The path below the output folder, with `/` between components.
    pub path: String,
    /// Its size.
    pub size: ByteSize,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// What it is.
    pub kind: ArtifactKind,
}

/// What a file among the results is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// A MyriadX blob for one number of shaves.
    Blob,
    /// A MyriadX blob with patches to all numbers of shaves.
    Superblob,
    /// A network for Qualcomm's runtime.
    Dlc,
    /// A network for Hailo's runtime.
    Hef,
    /// An NN Archive.
    NnArchive,
    /// The configuration that repeats the conversion.
    Configuration,
    /// The record of versions and command lines.
    BuildInfo,
    /// The log.
    Log,
    /// A file between model and result.
    Intermediate,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Failure {
    /// Who can do something about it.
    pub kind: FailureKind,
    /// What failed and why, outermost first; never empty.
    pub messages: Vec<String>,
    /// What to do next, most useful first.
    #[serde(default)]
    pub hints: Vec<String>,
    /// The path of the full log below the output folder.
    #[serde(default)]
    pub log: Option<String>,
    /// The vendor's tool that failed.
    #[serde(default)]
    pub tool: Option<ToolFailure>,
}

/// Who can do something about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Words on the command line.
    Usage,
    /// The configuration, the model or other files of the user.
    Project,
    /// The machine, or a vendor's tool.
    Environment,
    /// This program.
    Internal,
}

/// A vendor's tool that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolFailure {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How it ended.
    pub end: ToolEnd,
    /// The last lines it printed.
    pub last_lines: Vec<String>,
}

/// How a vendor's tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolEnd {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By us, because it did not end in this many milliseconds.
    TimedOut(u64),
    /// It could not be started.
    NotStarted,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// Its name, as in progress events.
    pub name: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The most memory that its processes held at once, where it ran any.
    #[serde(default)]
    pub peak_memory: Option<ByteSize>,
}

/// A rewriting of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rewriting {
    /// The pass.
    pub pass: String,
    /// Why it was needed.
    pub reason: String,
    /// The nodes that were rewritten.
    pub nodes: Vec<String>,
}

/// Who read the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FrontEndReport {
    /// The reader.
    pub front_end: FrontEnd,
    /// Why this one.
    pub reason: String,
}

/// A document that cannot be taken.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// Not the document's shape.
    #[error("the {what} is not of the expected shape")]
    Shape {
        /// Which document.
        what: &'static str,
        /// What is wrong and where.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer program.
    #[error("the {what} has version {found}: this program knows {VERSION}")]
    Version {
        /// Which document.
        what: &'static str,
        /// The version found.
        found: u32,
    },
}

impl Hint for ExchangeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Version { .. } => {
                vec![
                    "use the same version of modelconverter on the host and in the image; `image build` makes one"
                        .to_owned(),
                ]
            }
            Self::Shape { .. } => Vec::new(),
        }
    }
}

impl Order {
    /// Reads `order.json`.
    ///
    /// # Errors
    /// The bytes are no order, or one of a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ExchangeError> {
        parse(bytes, "order")
    }

    /// Returns the text of `order.json`.
    pub fn render(&self) -> String {
        render(self)
    }

    /// Returns a text that names files as the container sees them with the names that they have on the host.
    pub fn with_host_paths(&self, text: &str) -> String {
        // The longer one of two that begin alike comes first.
        self.host_paths.iter().rev().fold(text.to_owned(), |text, (inside, host)| {
            let mut named = String::with_capacity(text.len());
            let mut from = 0;
            for (at, _) in text.match_indices(inside.as_str()) {
                let end = at + inside.len();
                // `/inputs/1` is not the beginning of `/inputs/10`, nor the end of `/home/inputs/1`.
                let goes_on = text.get(end..).is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
                let is_inner = text.get(..at).is_some_and(|start| start.ends_with(char::is_alphanumeric));
                named.push_str(text.get(from..at).unwrap_or_default());
                named.push_str(if goes_on || is_inner { inside } else { host });
                from = end;
            }
            named.push_str(text.get(from..).unwrap_or_default());
            named
        })
    }

    /// Returns how the models get into NN Archives.
    pub fn packing(&self) -> Packing {
        let feeds = |source: &SourceArchive| !source.document.postprocessors().is_empty();
        let stages: Vec<&StageName> = self.configuration.stages.iter().map(|stage| &stage.name).collect();
        match (self.form, stages.as_slice()) {
            (OutputForm::Native, _) => Packing::Nothing,
            // The order in which a source archive becomes stages.
            (OutputForm::NnArchive, [main, second]) if self.source_archive.as_ref().is_some_and(feeds) => {
                Packing::Together { main: (*main).clone(), second: (*second).clone() }
            }
            (OutputForm::NnArchive, _) => Packing::Each,
        }
    }

    /// Returns where mean, scale and colours of a stage are applied. The second model of an archive has no description
    /// that could leave them to the device.
    pub fn preprocessing_of(&self, stage: &StageName) -> PreprocessingPlace {
        match self.packing() {
            Packing::Together { second, .. } if second == *stage => PreprocessingPlace::Model,
            _ => self.preprocessing,
        }
    }

    /// Returns which toolchain is wanted.
    pub fn toolchain(&self) -> ToolchainName {
        ToolchainName { target: self.target, version: self.tool_version.clone() }
    }
}

impl Report {
    /// Reads `report.json`.
    ///
    /// # Errors
    /// The bytes are no report, or one of a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ExchangeError> {
        parse(bytes, "report")
    }

    /// Returns the text of `report.json`.
    pub fn render(&self) -> String {
        render(self)
    }

    /// Returns the report of an order that ended in this way, with nothing else to tell.
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            version: VERSION,
            outcome,
            tools: BTreeMap::new(),
            steps: Vec::new(),
            rewritings: Vec::new(),
            front_end: None,
            proofs: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// The one key that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn parse<T: for<'de> Deserialize<'de>>(bytes: &[u8], what: &'static str) -> Result<T, ExchangeError> {
    let shape = |source| ExchangeError::Shape { what, source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(shape)?;
    if version != VERSION {
        return Err(ExchangeError::Version { what, found: version });
    }
    serde_json::from_slice(bytes).map_err(shape)
}

fn render<T: Serialize>(document: &T) -> String {
    // Writing plain data into memory cannot fail: all keys are texts.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let tree = crate::config::yaml::parse(
            "stages:\n  zebra:\n    input_model: /inputs/a.onnx\n    shape: [1, 3, 8, 8]\n  ant:\n    input_model: /inputs/b.onnx\n",
            "model.yaml",
        );
        Order {
            version: VERSION,
            target: Target::Rvc2,
            tool_version: "2021.4.2".parse().unwrap(),
            image: Some(Digest::of(b"image")),
            configuration: crate::config::read::read(&tree.unwrap()).unwrap().config,
            host_paths: BTreeMap::from([("/inputs/1/pictures".to_owned(), "/home/u/pictures".to_owned())]),
            source_archive: None,
            main_stage: Some("zebra".parse().unwrap()),
            form: OutputForm::NnArchive,
            preprocessing: PreprocessingPlace::Model,
            notes: vec!["`a` is deprecated".to_owned()],
            output_folder: "out".parse().unwrap(),
        }
    }

    #[test]
    fn an_order_survives_the_way_with_stages_in_order_and_origins() {
        let order = order();
        let text = order.render();
        let back = Order::parse(text.as_bytes()).unwrap();
        assert_eq!(back.render(), text);
        let names: Vec<&str> = back.configuration.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["zebra", "ant"]);
        let origin = back.configuration.stages[0].defaults.shape.origin().unwrap();
        assert_eq!(origin.to_string(), "model.yaml:4:12");
    }

    #[test]
    fn places_of_the_container_are_named_as_on_the_host() {
        let host_paths = [
            ("/exchange", "/home/u/output"),
            ("/exchange/output", "/home/u/output/r"),
            ("/inputs/1/x", "s3://b/x"),
            ("/inputs/1/x.yaml", "/exchange/x.yaml"),
        ];
        let host_paths = host_paths.map(|(inside, host)| (inside.to_owned(), host.to_owned())).into();
        let order = Order { host_paths, ..order() };
        for (text, named) in [
            ("cannot write /exchange/report.json", "cannot write /home/u/output/report.json"),
            ("/exchange/output/a.log, /exchange/output", "/home/u/output/r/a.log, /home/u/output/r"),
            ("`/inputs/1/x/1.png` of /inputs/1/x", "`s3://b/x/1.png` of s3://b/x"),
            ("/inputs/1/xy /home/exchange/x", "/inputs/1/xy /home/exchange/x"),
        ] {
            assert_eq!(order.with_host_paths(text), named);
        }
    }

    #[test]
    fn the_models_of_an_archive_stay_together() {
        let document = |heads: &str| {
            let json = format!(
                r#"{{"config_version": "1.0", "model": {{"metadata": {{"name": "zebra", "path": "a.onnx"}},
                "inputs": [], "outputs": [], "heads": {heads}}}}}"#
            );
            nn_archive::Document::parse(json.as_bytes()).unwrap()
        };
        let feeding = r#"[{"parser": "P", "metadata": {"z": 0.10, "postprocessor_path": "b.onnx"}}]"#;
        let from = |heads: &str| {
            let source = SourceArchive { name: "net.v2".parse().unwrap(), document: document(heads) };
            Order { source_archive: Some(source), preprocessing: PreprocessingPlace::Archive, ..order() }
        };
        let together = from(feeding);
        let [main, second] = ["zebra", "ant"].map(|name| name.parse::<StageName>().unwrap());
        assert_eq!(together.packing(), Packing::Together { main: main.clone(), second: second.clone() });
        assert_eq!(together.preprocessing_of(&main), PreprocessingPlace::Archive);
        assert_eq!(together.preprocessing_of(&second), PreprocessingPlace::Model);
        assert_eq!(from("null").packing(), Packing::Each);
        assert_eq!(order().packing(), Packing::Each);
        assert_eq!(Order { form: OutputForm::Native, ..from(feeding) }.packing(), Packing::Nothing);
        let text = together.render();
        assert!(text.contains("0.10"), "digits stay: {text}");
        assert_eq!(Order::parse(text.as_bytes()).unwrap().source_archive, together.source_archive);
    }

    #[test]
    fn a_report_survives_the_way() {
        let mut report = Report::new(Outcome::Failure(Failure {
            kind: FailureKind::Environment,
            messages: vec!["failed to compile".to_owned(), "the tool ended with status 1".to_owned()],
            hints: vec!["look at the log".to_owned()],
            log: Some(LOG.to_owned()),
            tool: Some(ToolFailure {
                command: vec!["mo".to_owned()],
                end: ToolEnd::Code(1),
                last_lines: vec!["[ ERROR ]".to_owned()],
            }),
        }));
        report.front_end = Some(FrontEndReport { front_end: FrontEnd::Mo, reason: "asked for".to_owned() });
        report.proofs = vec![Proof::none("main".parse().unwrap(), "it was switched off")];
        assert_eq!(Report::parse(report.render().as_bytes()).unwrap(), report);
        let success = Report::new(Outcome::Success {
            artifacts: vec![Artifact {
                path: "a.superblob".to_owned(),
                size: ByteSize::new(0),
                sha256: Digest::of(b""),
                kind: ArtifactKind::Superblob,
            }],
        });
        assert_eq!(Report::parse(success.render().as_bytes()).unwrap(), success);
    }

    #[test]
    fn other_documents_are_refused() {
        let text = order().render();
        let newer = text.replacen("\"version\": 1", "\"version\": 2, \"more\": true", 1);
        let error = Order::parse(newer.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the order has version 2: this program knows 1");
        let unknown = text.replacen("\"version\": 1", "\"version\": 1, \"more\": true", 1);
        assert!(matches!(Order::parse(unknown.as_bytes()), Err(ExchangeError::Shape { .. })));
        let misspelt = text.replacen("\"input_model\"", "\"input_modle\"", 1);
        assert!(matches!(Order::parse(misspelt.as_bytes()), Err(ExchangeError::Shape { .. })));
        for bytes in [&b""[..], b"{}", b"[]", b"\xff", b"{\"version\": -1}"] {
            assert!(Order::parse(bytes).is_err() && Report::parse(bytes).is_err());
        }
    }
}
