//! The import rule, the purity rule and the size rules of the house, checked on the sources.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `src/lib.rs`, lowest first, as its comments name them.
const PURE: [&str; 3] = ["Values", "Formats", "Decisions"];

/// What the pure layers must not name.
const EFFECTS: [&str; 9] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "Instant::now",
    "SystemTime",
    "tokio::",
    "async fn",
    "tempfile::",
];

struct Source {
    module: String,
    path: PathBuf,
    /// The code without its tests and comments.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(root().join("src")).unwrap();
            let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            Source { module: first.trim_end_matches(".rs").to_owned(), code: code.join("\n"), path }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Each module with its place in the order and its layer.
fn order() -> BTreeMap<String, (usize, String)> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut layer = String::new();
    let mut order = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("// ") {
            layer = comment.split(':').next().unwrap().to_owned();
        }
        if let Some(module) = line.strip_prefix("pub mod ") {
            let place = order.len();
            order.insert(module.trim_end_matches(';').to_owned(), (place, layer.clone()));
        }
    }
    assert!(order.len() > 25, "lib.rs declares its modules: {order:?}");
    order
}

#[test]
fn a_module_uses_only_modules_declared_above_it() {
    let order = order();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        let Some((place, _)) = order.get(&source.module) else { continue };
        for piece in source.code.split("crate::").skip(1) {
            let used: String = piece.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            let Some((other, _)) = order.get(&used) else { continue };
            seen += 1;
            if other > place {
                wrong.push(format!("{} uses `{used}`", source.path.display()));
            }
        }
    }
    assert!(seen > 50, "imports are recognised: {seen}");
    assert!(wrong.is_empty(), "imports point upward:\n{}", wrong.join("\n"));
}

#[test]
fn the_pure_layers_have_no_effects() {
    let order = order();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, layer)) = order.get(&source.module) else { continue };
        if !PURE.contains(&layer.as_str()) {
            continue;
        }
        for effect in EFFECTS {
            if source.code.contains(effect) {
                wrong.push(format!("{} names {effect}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "effects in pure layers:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_surface_knows_the_command_line_and_the_environment() {
    let order = order();
    let mut wrong = Vec::new();
    for source in sources() {
        let layer = order.get(&source.module).map_or("", |(_, layer)| layer.as_str());
        if layer != "Surface" && source.module != "lib" && source.module != "main" {
            for word in ["clap::", "crate::ui", "crate::commands"] {
                if source.code.contains(word) {
                    wrong.push(format!("{} names {word}", source.path.display()));
                }
            }
        }
        let reads_environment = source.code.contains("env::var") || source.code.contains("env::args");
        let may = source.path.ends_with("commands/context.rs") || source.path.ends_with("src/lib.rs");
        if reads_environment && !may {
            wrong.push(format!("{} reads the environment", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_children_have_one_owner() {
    let mut wrong = Vec::new();
    for source in sources() {
        // The helper of the embedded engine lives between namespaces, where paths of the host mean nothing.
        if source.path.starts_with(root().join("src/engine/embedded")) || source.path.ends_with("src/store/tests.rs") {
            continue;
        }
        if source.module != "disk" && source.code.contains("std::fs") {
            wrong.push(format!("{} names std::fs", source.path.display()));
        }
        if source.module != "process" && source.code.contains("Command::new(") {
            wrong.push(format!("{} starts processes", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_errors_keep_to_the_house_rules() {
    let mut wrong = Vec::new();
    let vague = ["util", "utils", "common", "helpers", "misc", "manager"];
    for source in sources() {
        let path = source.path.display();
        let stem = source.path.file_stem().unwrap().to_str().unwrap();
        if vague.contains(&stem) || vague.contains(&source.module.as_str()) {
            wrong.push(format!("{path}: a name that says nothing"));
        }
        if !["commands", "ui", "main", "lib"].contains(&source.module.as_str()) {
            for word in ["anyhow", "Other(String)", "serde(flatten)", "serde(untagged)"] {
                if source.code.contains(word) {
                    wrong.push(format!("{path} uses {word}"));
                }
            }
        }
        for word in ["mod mock", "mod fake", "feature = \"test\"", "todo!(", "unimplemented!("] {
            if source.code.contains(word) {
                wrong.push(format!("{path} has {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hosts_are_named_in_one_module_only() {
    let hosts =
        ["debian.org", "pypi.org", "pythonhosted.org", "docker.io", "ghcr.io", "openvinotoolkit.org", "qualcomm.com"];
    let mut wrong = Vec::new();
    for source in sources() {
        for host in hosts {
            // The domain that an image reference without one stands for is part of the grammar of references.
            let is_grammar = host == "docker.io" && source.path.ends_with("src/oci/reference.rs");
            if source.code.contains(host) && !source.path.ends_with("src/defaults.rs") && !is_grammar {
                wrong.push(format!("{} names {host}", source.path.display()));
            }
        }
    }
    for file in ["toolchains.toml", "README.md", "images/rvc2/recipe.toml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for host in hosts {
            if text.contains(host) {
                wrong.push(format!("{file} names {host}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_goes_into_networks_is_the_same_on_every_machine() {
    // The C library computes these differently from machine to machine; `libm` does not.
    let functions = [
        "acos", "asin", "atan", "atan2", "cbrt", "cos", "cosh", "exp", "exp2", "exp_m1", "ln", "ln_1p", "log10",
        "log2", "powf", "sin", "sin_cos", "sinh", "tan", "tanh",
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        if ["calibration", "onnx", "surgery", "tflite", "translation"].contains(&source.module.as_str()) {
            let named = functions.iter().filter(|name| source.code.contains(&format!(".{name}(")));
            wrong.extend(named.map(|name| format!("{} calls `{name}`", source.path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn main_only_calls_the_library() {
    let text = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(text.lines().count() <= 15);
}
