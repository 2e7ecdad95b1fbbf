//! Paths as people write them, from the command line into the container: names that shells and tools stumble over, links,
//! folders, and files in every key that names one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use onnx_builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use serde_json::Value;
use support::{fail, folder, program, shared_store, succeed};

/// A network with its weights in `w é.bin` beside it, as two files.
fn network() -> (Vec<u8>, Vec<u8>) {
    let weights: Vec<u8> = (0..4 * 3 * 9).flat_map(|index| (index as f32 / 64.0 - 0.8).to_le_bytes()).collect();
    let convolution =
        Node::new("Conv", &["img", "w"], &["out"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]);
    let graph = Graph::new()
        .node(convolution.named("convolution"))
        .initializer(Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "w é.bin")]))
        .input("img", FLOAT, &sizes(&[1, 3, 16, 16]))
        .output("out", FLOAT, &sizes(&[1, 4, 16, 16]));
    (Model::new(graph).opset(12).bytes(), weights)
}

fn plan(folder: &Path, words: &[&str]) -> Value {
    let mut command = program(folder, &folder.join("store"));
    command.args(["--offline", "--json", "convert", "rvc2", "--dry-run", "--output-dir", "r"]);
    serde_json::from_str(&succeed(command.args(words))).unwrap()
}

/// The path on the host of what the container sees at `target`.
fn source<'a>(plan: &'a Value, target: &str) -> &'a str {
    let mounts = plan["mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["target"] == target).unwrap_or_else(|| panic!("{target} in {plan}"));
    mount["source"].as_str().unwrap()
}

#[test]
fn a_model_with_an_impossible_name_is_converted() {
    let folder = folder();
    let (model, weights) = network();
    let odd = "a 'b\n\"ü\" $x;: -c,";
    let place = folder.path().join(odd);
    fs::create_dir(&place).unwrap();
    fs::create_dir(folder.path().join("blobs")).unwrap();
    // As caches of models lie on disks: names link to what they mean.
    for (name, content) in [(format!("{odd}.onnx"), model), ("w é.bin".to_owned(), weights)] {
        let blob = folder.path().join("blobs").join(name.len().to_string());
        fs::write(&blob, content).unwrap();
        symlink(&blob, place.join(&name)).unwrap();
    }
    let path = format!("{odd}/{odd}.onnx");
    let words = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", &path];
    let single = ["rvc2.superblob", "False", "rvc2.number_of_shaves", "4"];
    succeed(program(folder.path(), &shared_store()).args(words).args(single));
    let names: Vec<String> = fs::read_dir(folder.path().join("output/r"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("a_b_") && name.ends_with(".blob")), "{names:?}");
}

#[test]
fn every_key_that_names_a_file_is_looked_up_by_the_same_rules() {
    let folder = folder();
    let (model, weights) = network();
    let at = |path: &str| folder.path().join(path);
    for path in ["conf", "shared_with_container/photos", "elsewhere", "home"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    fs::write(at("conf/net.onnx"), model).unwrap();
    fs::write(at("conf/w é.bin"), weights).unwrap();
    fs::write(at("elsewhere/1.png"), "x").unwrap();
    symlink(at("elsewhere/1.png"), at("shared_with_container/photos/1 é.png")).unwrap();
    for path in ["home/t.json", "conf/tool.conf"] {
        fs::write(at(path), "{}").unwrap();
    }
    let plain = "input_model: net.onnx\ncalibration: { path: photos }\n\
                 rvc2: { mo_args: [--transformations_config, ~/t.json], compile_tool_args: [-c=tool.conf] }\n";
    fs::write(at("conf/plain.yaml"), plain).unwrap();
    let mut command = program(folder.path(), &folder.path().join("store"));
    command.env("HOME", at("home")).args(["--json", "convert", "rvc2", "--dry-run", "--path", "conf/plain.yaml"]);
    let plan: Value = serde_json::from_str(&succeed(&mut command)).unwrap();
    let root = folder.path().canonicalize().unwrap();
    for (target, path) in [
        ("/inputs/0/net.onnx", "conf/net.onnx"),
        ("/inputs/0/w é.bin", "conf/w é.bin"),
        ("/inputs/2/t.json", "home/t.json"),
        ("/inputs/3/tool.conf", "conf/tool.conf"),
    ] {
        assert_eq!(source(&plan, target), root.join(path).to_str().unwrap(), "{target}");
    }
    // Links in a folder mean nothing in a container: another folder stands for it.
    assert!(!source(&plan, "/inputs/1/photos").starts_with(root.to_str().unwrap()), "{plan}");
    let arguments = &plan["order"]["configuration"]["document"]["rvc2"]["compile_tool_args"][0];
    assert_eq!(arguments, "-c=/inputs/3/tool.conf");
}

#[test]
fn folders_and_broken_links_are_refused_where_files_are_wanted() {
    let folder = folder();
    fs::create_dir(folder.path().join("net.onnx")).unwrap();
    symlink("nowhere", folder.path().join("link.onnx")).unwrap();
    for (path, part) in [("net.onnx", "`net.onnx` is a folder"), ("link.onnx", "`link.onnx` is a link to nowhere")] {
        let mut command = program(folder.path(), &folder.path().join("store"));
        let error = fail(command.args(["convert", "rvc2", "--path", path]), 1);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn samples_are_in_a_folder_or_a_zip_file_which_is_seen_early() {
    let folder = folder();
    let (model, weights) = network();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("net.onnx"), model).unwrap();
    fs::write(at("w é.bin"), weights).unwrap();
    fs::write(at("photo.jpg"), "x").unwrap();
    fs::write(at("cut.zip"), "PK\x03\x04").unwrap();
    fs::write(at("whole.zip"), [&b"PK\x05\x06"[..], &[0; 18]].concat()).unwrap();
    let text = "input_model: net.onnx\ninputs:\n  - {name: img, calibration: {path: photo.jpg}}\n";
    fs::write(at("c.yaml"), text).unwrap();
    let resolve = |words: &[&str]| {
        let mut command = program(folder.path(), &at("store"));
        command.args(["config", "resolve", "rvc2"]).args(words);
        command
    };
    let error = fail(&mut resolve(&["--path", "c.yaml"]), 1);
    for part in ["c.yaml:3:37", "`photo.jpg` is neither a folder nor a zip file", "a .zip of it"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = fail(&mut resolve(&["--path", "net.onnx", "calibration.path", "cut.zip"]), 1);
    assert!(error.contains("cannot unpack") && error.contains("cut.zip"), "{error}");
    succeed(&mut resolve(&["--path", "net.onnx", "calibration.path", "whole.zip"]));
}

#[test]
fn a_configuration_may_come_through_a_pipe_and_a_model_may_not() {
    let folder = folder();
    let (model, weights) = network();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("net.onnx"), model).unwrap();
    fs::write(at("w é.bin"), weights).unwrap();
    succeed(Command::new("mkfifo").arg(at("pipe.onnx")));
    let resolve = |path: &str| {
        let mut command = program(folder.path(), &at("store"));
        command.args(["config", "resolve", "rvc2", "--path", path]);
        command
    };
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(b"input_model: net.onnx\n").unwrap();
    drop(write);
    succeed(resolve("/dev/stdin").stdin(read));
    let error = fail(&mut resolve("pipe.onnx"), 1);
    assert!(error.contains("pipe.onnx") && error.contains("it is no regular file"), "{error}");
}

#[test]
fn a_link_to_a_folder_is_a_place_for_results() {
    let folder = folder();
    let (model, weights) = network();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("net.onnx"), model).unwrap();
    fs::write(at("w é.bin"), weights).unwrap();
    fs::create_dir_all(at("disk/results")).unwrap();
    symlink("disk/results", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let words = ["convert", "rvc2", "--to", "native", "--path", "net.onnx"];
    let single = ["rvc2.superblob", "False", "rvc2.number_of_shaves", "4"];
    for _ in 0..2 {
        succeed(program(folder.path(), &shared_store()).args(words).args(["--output-dir", "./link"]).args(single));
        assert!(at("link").is_symlink() && at("disk/results/buildinfo.json").exists());
    }
    assert_eq!(fs::read_dir(at("disk")).unwrap().count(), 1);
    let mut dangling = program(folder.path(), &at("store"));
    let error = fail(dangling.args(words).args(["--output-dir", "./dangling"]).args(single), 1);
    assert!(error.contains("dangling: it is a link that leads nowhere"), "{error}");
}

#[test]
fn what_a_plan_says_of_a_plain_model_is_where_it_lies() {
    let folder = folder();
    let (model, weights) = network();
    fs::write(folder.path().join("net.onnx"), model).unwrap();
    fs::write(folder.path().join("w é.bin"), weights).unwrap();
    let url = format!("file://{}", folder.path().join("net.onnx").display());
    for words in [["--path", "./net.onnx"], ["--path", &url], ["input_model", "net.onnx"]] {
        let plan = plan(folder.path(), &words);
        assert!(source(&plan, "/inputs/0/net.onnx").ends_with("/net.onnx"), "{words:?}");
    }
}
