//! What the engine tells its helper process, and what the helper tells back.
//!
//! Owns [`Description`] and [`Reply`], both JSON, written and read by the same program: no version, no promise. Paths
//! are written as hex, because a path of the host need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPath(pub(super) PathBuf);

impl Serialize for HostPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0.as_os_str().as_bytes()))
    }
}

impl<'de> Deserialize<'de> for HostPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = hex::decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
        Ok(Self(OsString::from_vec(bytes).into()))
    }
}

/// Everything the helper must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) root: Root,
    /// An existing folder of the host that the helper may mount over, in its own mount namespace.
    pub(super) foothold: HostPath,
    pub(super) program: Vec<String>,
    /// `NAME=value`, sorted.
    pub(super) environment: Vec<String>,
    pub(super) working_folder: String,
    pub(super) binds: Vec<Bind>,
    pub(super) host_network: bool,
    pub(super) own_session: bool,
    /// The files that put a process into the cgroups of the run.
    pub(super) cgroups: Vec<HostPath>,
    /// The processors the program may use; empty for all.
    pub(super) processors: Vec<usize>,
    /// The bytes of memory that the helper itself must watch over.
    pub(super) watched_memory: Option<u64>,
    /// The size of `/tmp` as the option of a tmpfs.
    pub(super) temporary_size: String,
}

/// Where the root comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Root {
    /// The union of these folders, lowest first.
    Overlay(Vec<HostPath>),
    /// One folder, which holds the union already.
    Merged(HostPath),
}

/// One file or folder seen inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bind {
    pub(super) source: HostPath,
    pub(super) target: String,
    pub(super) is_folder: bool,
    pub(super) writable: bool,
}

/// What the helper tells when it is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Something on the way to the program failed.
    Failed(Failure),
    /// The program ended.
    Ended {
        /// As `waitpid` gives it.
        wait_status: i32,
        /// A process was killed because all of them used more than the watched memory.
        killed_for_memory: bool,
    },
}

/// A step that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) step: Step,
    /// What it was about, for people.
    pub(super) subject: String,
    pub(super) errno: i32,
}

/// The steps that can fail, as far as they matter to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// Making the namespaces.
    Namespaces,
    /// Writing the user mapping of the new user namespace.
    UserMapping,
    /// Mounting the layers over each other.
    Overlay,
    /// Mounting anything else, or making a mount point.
    Mount,
    /// Entering a cgroup, setting a limit, giving up a privilege.
    Confinement,
    /// Executing the program.
    Execute,
}
