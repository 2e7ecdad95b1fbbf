//! `convert rvc2` from the command line to files that DepthAI reads: real packages, real image, real compiler.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use support::{fail, peer, program, read_with_depthai, root, shared_store, succeed};

const SAMPLE: &str = "shared_with_container/models/text_direction/text_direction.yaml";

fn sample() -> String {
    root().join(SAMPLE).display().to_string()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The sample, converted once by the embedded engine as this user.
fn converted() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = folder().keep();
        let sample = sample();
        succeed(program(&folder, &shared_store()).args([
            "convert",
            "rvc2",
            "--path",
            &sample,
            "--output-dir",
            "result",
        ]));
        folder.join("output/result")
    })
}

fn only(folder: &Path, ending: &str) -> PathBuf {
    let names: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let found: Vec<&PathBuf> = names.iter().filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "one *{ending} in {names:?}");
    found[0].clone()
}

fn products(folder: &Path) -> [Vec<u8>; 2] {
    [".superblob", ".rvc2.tar.xz"].map(|ending| fs::read(only(folder, ending)).unwrap())
}

#[test]
fn depthai_reads_the_superblob_for_every_number_of_shaves() {
    let facts = read_with_depthai("superblob", &only(converted(), ".superblob"));
    for shaves in 1..=16 {
        let blob = &facts[shaves.to_string()];
        assert_eq!(blob["shaves"], shaves, "{facts}");
        assert_eq!(blob["inputs"]["x"]["type"], "U8F", "{blob}");
    }
}

#[test]
fn depthai_reads_the_nn_archive() {
    let facts = read_with_depthai("nn_archive", &only(converted(), ".rvc2.tar.xz"));
    let input = &facts["inputs"][0];
    assert_eq!(input["shape"], serde_json::json!([1, 3, 48, 192]), "{facts}");
    assert_eq!(input["layout"], "NCHW");
    assert_eq!(input["dai_type"], "BGR888p");
    assert_eq!(facts["superblob"]["16"]["shaves"], 16);
}

#[test]
fn the_output_folder_has_what_the_readme_says() {
    for name in
        ["buildinfo.json", "config.yaml", "modelconverter.log", "intermediate_outputs", ".modelconverter_output"]
    {
        assert!(converted().join(name).exists(), "{name}");
    }
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(converted().join("buildinfo.json")).unwrap()).unwrap();
    assert_eq!(record["is_superblob"], true, "{record}");
}

#[test]
fn the_record_proves_that_the_network_was_not_changed() {
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["proof"].clone();
    let proof = read(&fs::read(converted().join("buildinfo.json")).unwrap());
    for (network, runtime) in [("rewritten", "ONNX Runtime 1.19.2"), ("imported", "OpenVINO CPU 2021.4.2")] {
        let comparison = &proof[network]["compared"];
        assert_eq!(comparison["runtime"], runtime, "{proof}");
        let [distance] = &comparison["outputs"].as_array().unwrap()[..] else { panic!("{proof}") };
        assert!(distance["cosine"].as_f64().unwrap() > 0.9999, "{proof}");
        assert!(distance["relative"].as_f64().unwrap() < 0.001, "{proof}");
    }
    // The last digits of the figures depend on the processor: the archive goes without, and is the same everywhere.
    let mut command = Command::new("tar");
    command.arg("-xOf").arg(only(converted(), ".rvc2.tar.xz")).arg("buildinfo.json");
    let archived = read(succeed(&mut command).as_bytes());
    assert_eq!(archived["imported"]["alike"]["outputs"].as_array().unwrap().len(), 1, "{archived}");
    assert!(!archived.to_string().contains("largest"), "{archived}");
}

#[test]
fn a_second_conversion_makes_the_same_bytes() {
    let folder = folder();
    succeed(program(folder.path(), &shared_store()).args([
        "convert",
        "rvc2",
        "--path",
        &sample(),
        "--output-dir",
        "r",
    ]));
    assert!(products(&folder.path().join("output/r")) == products(converted()));
}

#[test]
fn the_written_configuration_repeats_the_conversion() {
    let folder = folder();
    let written = converted().join("config.yaml").display().to_string();
    succeed(program(folder.path(), &shared_store()).args(["convert", "rvc2", "--path", &written, "--output-dir", "r"]));
    let [superblob, _] = products(&folder.path().join("output/r"));
    assert!(superblob == products(converted())[0]);
}

#[test]
fn an_ordinary_user_gets_the_same_bytes_and_owns_them() {
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // The user can reach neither the build folder nor the store of root: both are copied to a place of its own.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let place = home.path().display().to_string();
    let copy = |from: &Path, to: &str| {
        succeed(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(home.path().join(to)));
    };
    copy(Path::new(env!("CARGO_BIN_EXE_modelconverter")), "modelconverter");
    copy(&root().join("shared_with_container"), "models");
    converted();
    fs::create_dir(home.path().join("store")).unwrap();
    copy(&shared_store().join("blobs"), "store/blobs");
    succeed(Command::new("chown").args(["-R", "65534:65534", &place]));
    let config = format!("{place}/models/models/text_direction/text_direction.yaml");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(home.path().join("modelconverter"))
        .args(["--offline", "convert", "rvc2", "--path", &config, "--output-dir", "r"])
        .current_dir(home.path())
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap())
        .env("HOME", &place)
        .env("MODELCONVERTER_CACHE_DIR", home.path().join("store"));
    succeed(&mut command);
    let result = home.path().join("output/r");
    assert!(products(&result) == products(converted()));
    assert_eq!(fs::metadata(only(&result, ".superblob")).unwrap().uid(), 65534);
}

#[test]
fn the_docker_engine_makes_the_same_bytes() {
    let folder = folder();
    succeed(
        program(folder.path(), &shared_store())
            .env("DOCKER_HOST", format!("unix://{}", peer("MODELCONVERTER_TEST_DOCKER")))
            .args(["convert", "rvc2", "--engine", "docker", "--path", &sample(), "--output-dir", "r"]),
    );
    assert!(products(&folder.path().join("output/r")) == products(converted()));
}

#[test]
fn an_exported_image_converts_without_the_program_on_the_host() {
    let folder = folder();
    let docker = || {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", peer("MODELCONVERTER_TEST_DOCKER")));
        command.current_dir(folder.path());
        command
    };
    succeed(program(folder.path(), &shared_store()).args(["image", "export", "rvc2", "--output", "rvc2.tar"]));
    succeed(docker().args(["load", "--input", "rvc2.tar"]));
    let work = format!("{}:/work", folder.path().display());
    let models = format!("{}:/models:ro", root().join("shared_with_container/models").display());
    succeed(docker().args(["run", "--rm", "--network", "none", "--volume", &work, "--volume", &models]).args([
        "--workdir",
        "/work",
        "modelconverter/rvc2:2021.4.2",
        "convert",
        "rvc2",
        "--path",
        "/models/text_direction/text_direction.yaml",
        "--output-dir",
        "r",
    ]));
    assert!(products(&folder.path().join("output/r")) == products(converted()));
}

#[test]
fn both_front_ends_make_a_blob_that_depthai_reads() {
    let folder = folder();
    for front_end in ["importer", "mo"] {
        succeed(program(folder.path(), &shared_store()).args([
            "convert",
            "rvc2",
            "--path",
            &sample(),
            "--output-dir",
            front_end,
            "--to",
            "native",
            "rvc2.front_end",
            front_end,
            "rvc2.superblob",
            "False",
            "rvc2.number_of_shaves",
            "6",
        ]));
        let blob = only(&folder.path().join("output").join(front_end), ".blob");
        assert_eq!(read_with_depthai("blob", &blob)["shaves"], 6);
    }
}

#[test]
fn the_plan_is_printed_and_nothing_is_done() {
    let folder = folder();
    let text = succeed(program(folder.path(), &folder.path().join("store")).args([
        "--offline",
        "--json",
        "convert",
        "rvc2",
        "--dry-run",
        "--path",
        &sample(),
    ]));
    let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(plan["toolchain"], "rvc2 2021.4.2", "{plan}");
    assert!(!folder.path().join("output").exists());
}

#[test]
fn without_network_and_artifacts_the_missing_ones_are_listed() {
    let folder = folder();
    let text = fail(
        program(folder.path(), &folder.path().join("store")).args([
            "--offline",
            "convert",
            "rvc2",
            "--path",
            &sample(),
        ]),
        3,
    );
    assert!(text.contains("openvino-2021.4.2"), "{text}");
    assert!(!folder.path().join("output").exists(), "nothing is left");
}

#[test]
fn bad_words_and_bad_models_are_told_apart() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("picture.onnx", b"\x89PNG\r\n\x1a\n");
    write("empty.onnx", b"");
    write("unknown.yaml", b"input_model: missing.onnx\nmean_value: 1\n");
    write("missing.yaml", b"input_model: missing.onnx\n");
    let sample = sample();
    let model = root().join("shared_with_container/models/text_direction");
    let model = fs::read_dir(model)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .unwrap();
    let model = model.to_str().unwrap();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["--path", "picture.onnx"], 1, &["picture.onnx"]),
        (&["--path", "empty.onnx"], 1, &["empty.onnx"]),
        (&["--path", "nowhere.onnx"], 1, &["nowhere.onnx", "does not exist"]),
        (&["--path", "unknown.yaml"], 1, &["unknown.yaml:2:1", "mean_value", "mean_values"]),
        (&["--path", "missing.yaml"], 1, &["missing.onnx", "does not exist"]),
        (&["--path", model], 1, &["`x`", "shape"]),
        (&["--path", model, "inputs.0.name", "y", "inputs.0.shape", "[1,3,48,192]"], 1, &["`y`", "`x`"]),
        (&["--path", &sample, "rvc2.superblob"], 2, &["override"]),
        (&["--path", &sample, "rvc2.number_of_shaves", "17", "rvc2.superblob", "False"], 1, &["17", "1 to 16"]),
        (&["--path", &sample, "--tool-version", "1.2.3"], 1, &["1.2.3", "2021.4.2"]),
        (&["--path", &sample, "--memory", "big"], 2, &["not a valid size"]),
    ];
    for (words, code, parts) in cases {
        let text = fail(program(folder.path(), &shared_store()).args(["convert", "rvc2"]).args(*words), *code);
        for part in *parts {
            assert!(text.contains(part), "{words:?}: `{part}` in\n{text}");
        }
    }
}

#[test]
fn a_folder_that_is_not_ours_is_not_overwritten() {
    let folder = folder();
    let foreign = folder.path().join("output/mine");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
    let text = fail(
        program(folder.path(), &shared_store()).args(["convert", "rvc2", "--path", &sample(), "--output-dir", "mine"]),
        1,
    );
    assert!(text.contains("refusing to overwrite") || text.contains("Refusing to overwrite"), "{text}");
    assert_eq!(fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "years of work");
}
