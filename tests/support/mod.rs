//! What the suites share: the program in a clean environment, a store that lives as long as the build folder, peers.

#![allow(dead_code, reason = "each suite uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A store that keeps downloads between test runs: what comes out of it is verified by the product.
pub fn shared_store() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A new folder that goes away with its value.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The program with an emptied environment, started in `folder`, using `store`.
pub fn program(folder: &Path, store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelconverter"));
    command.current_dir(folder).env_clear();
    for name in [
        "PATH",
        "HOME",
        "PIP_INDEX_URL",
        "PIP_CERT",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "SSL_CERT_FILE",
    ] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("MODELCONVERTER_CACHE_DIR", store);
    command
}

/// Runs a command that must succeed and returns what it wrote on standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} ended with {}\n{}", output.status, said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that must fail with this exit code and returns what it wrote on standard error.
pub fn fail(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}", said(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both streams of a process.
pub fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A variable that `tests/run` sets.
pub fn peer(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the tests with tests/run"))
}

/// What DepthAI, which shares no code with us, reads in a file that we wrote. `kind` is blob, superblob or nn_archive.
pub fn read_with_depthai(kind: &str, file: &Path) -> serde_json::Value {
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    let text = succeed(command.arg(root().join("tests/readers/depthai_reader.py")).arg(kind).arg(file));
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {text}"))
}
