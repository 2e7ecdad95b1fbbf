//! Running one program in one image, whatever runs it.
//!
//! Owns the description of a run ([`ContainerRun`]), its result ([`ContainerOutcome`]) and the trait [`Engine`] that
//! connects the two. An engine knows images as unpacked layer trees and as an archive; it must not know recipes, locks,
//! orders or targets.
//!
//! Every engine gives a program the same surroundings: a read-only root, writable `/tmp`, `/run` and `/dev/shm`, the
//! given mounts, no network unless asked, no capabilities, no way to new privileges, exactly the environment of
//! [`ContainerRun::environment`], umask 022, and files in writable mounts owned by the caller.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::units::ByteSize;

pub mod docker;
pub mod embedded;
mod interruption;
mod lines;

pub use lines::{LONGEST_LINE, OutputLines, OutputStream};

/// Something that runs a program in an image and waits for it.
pub trait Engine {
    /// Returns the name people choose the engine by.
    fn name(&self) -> &'static str;

    /// Runs the program to its end, telling `output` each line while it runs.
    ///
    /// SIGINT, SIGTERM, SIGHUP and SIGQUIT sent to this process meanwhile are passed on to the program; the second one
    /// kills it. Nothing of the run is left behind in either case.
    ///
    /// # Errors
    /// The program could not be started; a program that started and failed is an outcome.
    fn run(&self, run: &ContainerRun<'_>, output: &dyn OutputLines) -> Result<ContainerOutcome, EngineError>;
}

/// Everything one run of a program in an image is.
pub struct ContainerRun<'a> {
    /// What the program sees as its root.
    pub image: RunnableImage<'a>,
    /// The program, absolute inside the image, and its arguments.
    pub program: Vec<String>,
    /// Variables set over those of the image.
    pub env: BTreeMap<String, String>,
    /// The folder the program starts in; made if the image has none.
    pub working_folder: ImagePath,
    /// Files and folders of the host that the program sees.
    pub mounts: Vec<Mount>,
    /// What the program may use up.
    pub limits: Limits,
    /// What the program may reach.
    pub network: Network,
    /// Where the program's input and output are.
    pub terminal: Terminal,
}

/// An image in the two forms that engines understand.
pub struct RunnableImage<'a> {
    /// The digest of the image's configuration, by which Docker knows an image.
    pub id: Digest,
    /// The name a container engine gives the image: `modelconverter/rvc2:2021.4.2`.
    pub reference: String,
    /// The unpacked layers, lowest first; empty for an image that only a daemon has.
    pub trees: Vec<PathBuf>,
    /// The variables that the image sets.
    pub env: BTreeMap<String, String>,
    /// The same image as a file that Docker loads; `None` for an image that only a daemon has.
    pub archive: Option<&'a dyn ImageArchive>,
}

/// An image that can be written as an archive `docker load` accepts.
pub trait ImageArchive: Sync {
    /// Returns the length of the archive where it is known before writing.
    fn length(&self) -> Option<ByteSize>;

    /// Writes the whole archive.
    ///
    /// # Errors
    /// `to` fails, or the layers cannot be read.
    fn write_to(&self, to: &mut dyn Write) -> io::Result<()>;
}

/// A file or folder of the host seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the host.
    pub source: PathBuf,
    /// Where the program sees it; the mount point is made if the image has none.
    pub target: ImagePath,
    /// What the program may do with it.
    pub access: Access,
}

/// What a program may do with a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only, everything mounted below the source included.
    ReadOnly,
    /// Read and write, as far as the caller may.
    Writable,
}

/// What a program may use up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The memory of all processes together.
    pub memory: Option<ByteSize>,
    /// Processor time per time, in processors: 1.5 is one and a half.
    pub cpus: Option<f64>,
}

/// What a program may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A loopback interface and nothing else.
    None,
    /// The network of the host.
    Host,
}

/// Where a program's input and output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Those of this process: for a shell.
    Inherit,
    /// No input; output by lines to an [`OutputLines`].
    Piped,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerOutcome {
    /// How the program ended.
    pub status: Status,
    /// What was asked and could only be given in a weaker form; one sentence each.
    pub notices: Vec<String>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited by itself with this code.
    Code(i32),
    /// It died of this signal.
    Signal(i32),
    /// It ended badly after one of its processes was killed for using more memory than allowed.
    KilledForMemory,
    /// This process was sent this signal and passed it on; the program has ended.
    Interrupted(i32),
}

impl Status {
    /// Returns the exit code that shells use for it: the program's own, or 128 and the signal.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) | Self::Interrupted(signal) => 128 + signal,
            Self::KilledForMemory => 128 + libc::SIGKILL,
        }
    }
}

impl ContainerRun<'_> {
    /// Returns the environment of the program: the image's, then the run's, and a `HOME` that any user can write to
    /// where neither sets one.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([("HOME".to_owned(), "/tmp".to_owned())]);
        environment.extend(self.image.env.clone());
        environment.extend(self.env.clone());
        environment
    }
}

/// A program that could not be run.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The program is not in the image.
    #[error("no program `{program}` in the image {reference}")]
    ProgramNotFound {
        /// The program as given.
        program: String,
        /// The image's name.
        reference: String,
    },
    /// The program is in the image and cannot be executed.
    #[error("`{program}` in the image {reference} cannot be executed")]
    ProgramNotExecutable {
        /// The program as given.
        program: String,
        /// The image's name.
        reference: String,
        /// Why not.
        source: io::Error,
    },
    /// A file or folder to mount is not there.
    #[error("{} cannot be mounted at /{target}", source_path.display())]
    MountSource {
        /// The path on the host.
        source_path: PathBuf,
        /// The path inside.
        target: ImagePath,
        /// Why not.
        source: io::Error,
    },
    /// The embedded engine failed.
    #[error(transparent)]
    Embedded(#[from] embedded::EmbeddedError),
    /// The container engine behind a socket failed.
    #[error(transparent)]
    Docker(#[from] docker::DockerError),
}

impl EngineError {
    /// Returns the exit code that shells use for the failure: 127 for a missing program, 126 for one that cannot be
    /// executed.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::ProgramNotFound { .. } => Some(127),
            Self::ProgramNotExecutable { .. } => Some(126),
            _ => None,
        }
    }
}

impl Hint for EngineError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::ProgramNotFound { .. } | Self::ProgramNotExecutable { .. } => {
                vec!["name the program by its absolute path inside the image".to_owned()]
            }
            Self::MountSource { .. } => vec!["check the path and that you may read it".to_owned()],
            Self::Embedded(error) => error.hints(),
            Self::Docker(error) => error.hints(),
        }
    }
}
