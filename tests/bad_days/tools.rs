//! Vendor tools that fail, crash, hang, eat all memory or lie; and what is in the place of the result meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::check::{convert, fails, is_tidy, model, names, runs};
use crate::support::{peer, said, succeed};
use crate::toolchain::{folder, made_up};

/// Converts `name` with both engines, each of which must fail like this and leave nothing but the log.
fn with_both_engines(name: &str, parts: &[&str], prepare: impl Fn(&mut Command)) {
    for engine in ["embedded", "docker"] {
        let folder = folder();
        model(folder.path(), name);
        let made_up = made_up();
        let mut command = convert(folder.path(), &made_up.store, &made_up.project, name);
        command.args(["--engine", engine]);
        if engine == "docker" {
            command.env("DOCKER_HOST", format!("unix://{}", peer("MODELCONVERTER_TEST_DOCKER")));
        }
        prepare(&mut command);
        let told = fails(&mut command, 3);
        told.says(parts);
        // Memory that runs out may take the converter along, before it has written a line.
        let left = names(&folder.path().join("output"));
        assert!(left == ["result.log"] || (left.is_empty() && name.contains("hungry")), "{engine}: {left:?}");
        assert!(left.is_empty() || told.hints().contains("result.log"), "{}", told.text);
    }
}

#[test]
fn a_tool_that_fails_is_quoted() {
    with_both_engines("fails.onnx", &["exit code 5", "the last words of the vendor", "`fails.onnx`"], |_| {});
}

#[test]
fn a_tool_that_crashes_is_told_by_its_signal() {
    with_both_engines("crashes.onnx", &["signal 11"], |_| {});
}

#[test]
fn a_judge_that_crashes_ends_the_conversion_and_a_device_that_does_only_the_comparison() {
    let made_up = made_up();
    let folder = folder();
    let judge = "judge_dies.onnx";
    model(folder.path(), judge);
    let told = fails(&mut convert(folder.path(), &made_up.store, &made_up.project, judge), 3);
    told.says(&["ONNX Runtime crashed while it ran the original network", "signal 11"]);
    assert!(told.hints().contains("verification.enabled"), "{}", told.text);

    let device = "device_dies.onnx";
    model(folder.path(), device);
    let output = convert(folder.path(), &made_up.store, &made_up.project, device).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let unproven = "the imported network is not proven: the CPU device";
    assert_eq!(said(&output).matches(unproven).count(), 1, "{}", said(&output));
    let info = fs::read_to_string(folder.path().join("output/result/buildinfo.json")).unwrap();
    assert!(info.contains("the CPU device cannot run it: it crashed (signal 6)"), "{info}");
}

#[test]
fn a_tool_that_hangs_is_ended_with_its_children() {
    with_both_engines("hangs_41523.onnx", &["time limit", "2 s", "MODELCONVERTER_TOOL_TIMEOUT"], |command| {
        command.env("MODELCONVERTER_TOOL_TIMEOUT", "2");
    });
    assert!(!runs(&["sleep", "41523"]));
}

#[test]
fn a_tool_that_needs_too_much_memory_is_told_so() {
    with_both_engines("hungry.onnx", &["memory", "--memory"], |command| {
        command.args(["--memory", "300MiB"]);
    });
}

#[test]
fn a_tool_that_lies_is_caught() {
    for (name, parts) in [("garbage.onnx", &["blob"][..]), ("mute.onnx", &["blob"])] {
        let folder = folder();
        model(folder.path(), name);
        let mut command = convert(folder.path(), &made_up().store, &made_up().project, name);
        fails(&mut command, 3).says(parts);
        assert_eq!(names(&folder.path().join("output")), ["result.log"]);
    }
}

#[test]
fn a_tool_that_chatters_does_not_fill_the_memory() {
    let folder = folder();
    model(folder.path(), "chatters.onnx");
    succeed(&mut convert(folder.path(), &made_up().store, &made_up().project, "chatters.onnx"));
    assert!(folder.path().join("output/result/chatters.superblob").exists());
}

fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap_or_default())).collect()
}

#[test]
fn an_earlier_result_is_replaced_by_a_new_one_only() {
    let folder = folder();
    let made_up = made_up();
    for name in ["good.onnx", "better.onnx", "fails.onnx", "garbage.onnx"] {
        model(folder.path(), name);
    }
    let run = |name: &str| convert(folder.path(), &made_up.store, &made_up.project, name);
    let result = folder.path().join("output/result");
    succeed(&mut run("good.onnx"));
    fs::write(result.join("note.txt"), "mine").unwrap();
    let before = content(&result);
    for name in ["fails.onnx", "garbage.onnx"] {
        fails(&mut run(name), 3);
        assert!(content(&result) == before, "the earlier result is untouched");
    }
    succeed(&mut run("better.onnx"));
    assert!(result.join("better.superblob").exists());
    assert!(!result.join("good.superblob").exists() && !result.join("note.txt").exists());
    assert_eq!(names(&folder.path().join("output")), ["result", "result.log"]);
}

#[test]
fn what_is_not_ours_stays() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "good.onnx");
    let output = folder.path().join("output");
    fs::create_dir_all(output.join("result")).unwrap();
    fs::write(output.join("result/thesis.txt"), "years").unwrap();
    let store = folder.path().join("store");
    // Before anything is downloaded or assembled.
    let mut command = convert(folder.path(), &store, &made_up.project, "good.onnx");
    fails(command.arg("--offline"), 1).says(&["refusing to overwrite", "output/result", "--output-dir"]);
    assert_eq!(fs::read(output.join("result/thesis.txt")).unwrap(), b"years");
    fs::remove_dir_all(output.join("result")).unwrap();

    fs::write(output.join("result"), "a file").unwrap();
    let mut command = convert(folder.path(), &store, &made_up.project, "good.onnx");
    fails(command.arg("--offline"), 1).says(&["refusing to overwrite", "not a directory"]);
    fs::remove_file(output.join("result")).unwrap();

    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("thesis.txt"), "years").unwrap();
    std::os::unix::fs::symlink(&elsewhere, output.join("result")).unwrap();
    let mut command = convert(folder.path(), &store, &made_up.project, "good.onnx");
    fails(command.arg("--offline"), 1).says(&["refusing to overwrite"]);
    assert_eq!(names(&elsewhere), ["thesis.txt"]);
    fs::remove_file(output.join("result")).unwrap();

    // An empty folder is nobody's work.
    fs::create_dir(output.join("result")).unwrap();
    succeed(&mut convert(folder.path(), &made_up.store, &made_up.project, "good.onnx"));
    assert!(output.join("result/good.superblob").exists());
    assert_eq!(names(&output), ["result"]);
    is_tidy(&store);
}
