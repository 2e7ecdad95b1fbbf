//! What every failure is checked for.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{program, said};
use crate::toolchain::network;

/// A failure as both forms tell it.
pub struct Told {
    /// What stands on standard error.
    pub text: String,
    /// What stands on standard output.
    pub document: serde_json::Value,
}

impl Told {
    /// Checks that people and programs are told all of these.
    pub fn says(&self, parts: &[&str]) -> &Self {
        let document = self.document.to_string();
        for part in parts {
            assert!(self.text.contains(part), "`{part}` in\n{}", self.text);
            let quoted = serde_json::Value::from(*part).to_string();
            assert!(document.contains(quoted.trim_matches('"')), "`{part}` in {document}");
        }
        self
    }

    pub fn hints(&self) -> String {
        self.document["error"]["hints"].to_string()
    }
}

/// Runs the program, which must fail with this exit code, and tell why as text and as a document.
pub fn fails(command: &mut Command, code: i32) -> Told {
    command.arg("--json");
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    told(&output, code, &format!("{command:?}"))
}

pub fn told(output: &std::process::Output, code: i32, what: &str) -> Told {
    assert_eq!(output.status.code(), Some(code), "{what}\n{}", said(output));
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{what}: {error}\n{}", said(output)));
    let kind = match code {
        1 => "project",
        2 => "usage",
        3 => "environment",
        130 => "interrupted",
        other => panic!("no failure has the code {other}"),
    };
    assert_eq!(document["error"]["kind"], kind, "{document}");
    assert!(!document["error"]["message"].as_str().unwrap().starts_with("error"), "{document}");
    assert!(text.contains("error: "), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    Told { text, document }
}

/// The names in a folder, sorted; none where there is no folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.collect()).unwrap_or_else(|_| Vec::new());
    let mut names: Vec<String> =
        entries.into_iter().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Checks that a conversion that failed early left nothing in its working folder but what was there.
pub fn nothing_made(folder: &Path, before: &[String]) {
    assert_eq!(names(folder), before, "nothing is left in {}", folder.display());
}

/// Checks that no process uses the store, and that none has left anything temporary there.
pub fn is_tidy(store: &Path) {
    assert!(names(&store.join("scratch")).is_empty(), "{:?}", names(&store.join("scratch")));
}

/// The layers of toolchains in a store; the program's own layer depends on no package.
pub fn layers(store: &Path) -> Vec<PathBuf> {
    let trees = store.join("trees/sha256");
    let folders = names(&trees).into_iter().map(|name| trees.join(name)).filter(|path| path.is_dir());
    folders.filter(|tree| !tree.join("usr/bin/modelconverter").exists()).collect()
}

/// Writes the network that converts well under another name, which tells the made-up compiler what to do.
pub fn model(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, network().bytes()).unwrap();
    path
}

/// Whether a process with these words in its command line exists.
pub fn runs(words: &[&str]) -> bool {
    let wanted = words.join("\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(&wanted))
}

/// Waits until something holds. The limit is for tests that fail.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a command in a process group of its own, as a shell does. The program leaves signals alone that are ignored
/// when it starts, and whoever started the tests may have ignored them, so they are given their defaults.
pub fn start(command: &mut Command) -> Child {
    let defaults = || {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: touches no memory.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: what runs between fork and exec calls nothing but `signal`, which may be called there.
    unsafe { command.pre_exec(defaults) };
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal to every process of a command, as a terminal does.
pub fn signal(child: &Child, signal: i32) {
    let group = i32::try_from(child.id()).unwrap();
    // SAFETY: touches no memory; the child has not been waited for, so its number is its own.
    assert_eq!(unsafe { libc::kill(-group, signal) }, 0);
}

/// A conversion of `model` in `folder` with the made-up tools, whose result goes to `output/result`.
pub fn convert(folder: &Path, store: &Path, project: &Path, model: &str) -> Command {
    convert_to("result", folder, store, project, model)
}

/// The same with another place for the result.
pub fn convert_to(place: &str, folder: &Path, store: &Path, project: &Path, model: &str) -> Command {
    // The project is found from the working folder upwards.
    for name in ["toolchains.toml", "modelconverter.toml", "images"] {
        let (from, to) = (project.join(name), folder.join(name));
        if from.exists() && !to.exists() {
            std::os::unix::fs::symlink(from, to).unwrap();
        }
    }
    let mut command = program(folder, store);
    command.args(["convert", "rvc2", "--path", model, "--output-dir", place]);
    command
}
