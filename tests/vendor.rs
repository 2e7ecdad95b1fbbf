//! Toolchains with a vendor's archive that only its user has: from `toolchain import` to a blob, with a stand-in archive.
//!
//! The stand-in has the layout of the vendor's and two scripts in place of the tools. They refuse any command line but
//! the one that the real tools are meant to get, and hand out what the real tools of 2021.4.2 made of the same network.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use onnx_builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use serde_json::Value;
use support::{fail, folder, program, read_with_depthai, root, shared_store, succeed};

/// The vendor's name of the archive, the name users know, and the folder inside.
const FILE: &str = "l_openvino_toolkit_dev_ubuntu20_p_2021.4.582.tgz";
const KNOWN_AS: &str = "openvino-2021.4.0.tar.gz";
const TOP: &str = "l_openvino_toolkit_dev_ubuntu20_p_2021.4.582";
const EXTRA: &str = "docker/extra_packages";
const OF_2021_4_0: [&str; 2] = ["--tool-version", "2021.4.0"];

/// Takes the Model Optimizer's place.
const MODEL_OPTIMIZER: &str = r#"
import os, pathlib, shutil, sys
words = [word for word in sys.argv[1:]]
if words[:2] == ["--log_level", "DEBUG"]:
    print("[ DEBUG ] as the user asked")
    words = words[2:]
pairs = dict(zip(words[::2], words[1::2]))
model = pathlib.Path(pairs.pop("--input_model"))
folder, name = pathlib.Path(pairs.pop("--output_dir")), pairs.pop("--model_name")
expected = {"--data_type": "FP16", "--input": "img", "--input_shape": "[1,3,16,16]"}
assert pairs == expected, f"{pairs} is not {expected}"
assert len(words) == 12, words
assert model.read_bytes(), model
assert "/opt/intel/deployment_tools/ngraph/lib" in os.environ["LD_LIBRARY_PATH"].split(":")
print("Model Optimizer version: \t2021.4.0-stand-in")
here = pathlib.Path(__file__).parent
for ending in ("xml", "bin"):
    shutil.copyfile(here / "fixture" / f"network.{ending}", folder / f"{name}.{ending}")
"#;

/// Takes the compile tool's place.
const COMPILE_TOOL: &str = r#"#!/usr/bin/python3.9
import pathlib, sys
print("Inference Engine: \n\tIE version ......... 2021.4.0\n\tBuild ........... 2021.4.0-stand-in")
words = sys.argv[1:]
flags, values = words[::2], words[1::2]
assert flags == ["-d", "-ip", "-m", "-o", "-c"], flags
device, precision, network, blob, config = values
assert (device, precision) == ("MYRIAD", "U8"), values
options = dict(line.split(" ") for line in pathlib.Path(config).read_text().splitlines())
shaves = options.pop("MYRIAD_NUMBER_OF_SHAVES")
expected = {
    "MYRIAD_DETECT_NETWORK_BATCH": "NO",
    "MYRIAD_NUMBER_OF_CMX_SLICES": shaves,
    "MYRIAD_THROUGHPUT_STREAMS": "1",
}
assert options == expected, f"{options} is not {expected}"
here = pathlib.Path(__file__).parent
optimizer = here.parents[1] / "model_optimizer"
assert pathlib.Path(network).read_bytes() == (optimizer / "fixture/network.xml").read_bytes(), network
pathlib.Path(blob).write_bytes((here / "fixture" / f"{shaves}.blob").read_bytes())
print("Done. LoadNetwork time elapsed: 1 ms")
"#;

fn network() -> Vec<u8> {
    let weights: Vec<f32> = (0..108_u16).map(|index| (f32::from(index * 37 % 101) - 50.0) / 64.0).collect();
    let convolution = Node::new("Conv", &["img", "w"], &["out"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]);
    let graph = Graph::new()
        .node(convolution)
        .initializer(Tensor::floats("w", &[4, 3, 3, 3], &weights))
        .input("img", FLOAT, &sizes(&[1, 3, 16, 16]))
        .output("out", FLOAT, &sizes(&[1, 4, 16, 16]));
    Model::new(graph).opset(12).bytes()
}

/// What the real tools of 2021.4.2 make of the network.
fn real() -> &'static Path {
    static OUTPUT: OnceLock<PathBuf> = OnceLock::new();
    OUTPUT.get_or_init(|| {
        let folder = folder().keep();
        fs::write(folder.join("network.onnx"), network()).unwrap();
        let words = ["convert", "rvc2", "--path", "network.onnx", "--to", "native", "--output-dir", "r"];
        succeed(program(&folder, &shared_store()).args(words));
        folder.join("output/r")
    })
}

/// What the stand-in has beside or instead of its usual members.
enum Edition {
    Whole,
    /// Another build: other bytes, the same files.
    Other,
    /// An edition without the compile tool, as the vendor has too.
    WithoutCompileTool,
}

/// Makes a stand-in archive.
fn stand_in(edition: &Edition) -> Vec<u8> {
    let mut members: Vec<Member> = vec![
        ("bin/setupvars.sh".into(), 0o755, b"exit 1\n".to_vec()),
        ("deployment_tools/model_optimizer/mo.py".into(), 0o644, MODEL_OPTIMIZER.into()),
        ("licensing/EULA.txt".into(), 0o644, b"not for passing on\n".to_vec()),
    ];
    let intermediate = real().join("intermediate_outputs");
    for ending in ["xml", "bin"] {
        let content = fs::read(intermediate.join(format!("network.{ending}"))).unwrap();
        members.push((format!("deployment_tools/model_optimizer/fixture/network.{ending}"), 0o644, content));
    }
    let tool = "deployment_tools/tools/compile_tool";
    if !matches!(edition, Edition::WithoutCompileTool) {
        members.push((format!("{tool}/compile_tool"), 0o755, COMPILE_TOOL.into()));
        members.extend(blobs(tool));
    }
    let build = if matches!(edition, Edition::Other) { "583" } else { "582" };
    members.push(("deployment_tools/inference_engine/version.txt".into(), 0o644, build.into()));
    archive(TOP, &members)
}

/// Makes the stand-in of 2022.3.1, whose Model Optimizer is the real one, from public packages.
fn stand_in_2022() -> Vec<u8> {
    let tool = COMPILE_TOOL
        .replace("\"MYRIAD_THROUGHPUT", "\"MYRIAD_ENABLE_MX_BOOT\": \"NO\", \"MYRIAD_THROUGHPUT")
        .replace(
            "optimizer = here.parents[1] / \"model_optimizer\"\n",
            "assert 'runtime/lib/intel64' in os.environ['LD_LIBRARY_PATH']\n",
        )
        .replace("(optimizer / \"fixture/network.xml\").read_bytes()", "pathlib.Path(network).read_bytes()")
        .replace(
            "assert pathlib.Path(network)",
            "assert b'version=\"11\"' in pathlib.Path(network).read_bytes()[:200]\nassert pathlib.Path(network)",
        )
        .replace("import pathlib, sys", "import os, pathlib, sys")
        .replace("2021.4.0", "2022.3.1");
    let mut members = vec![("tools/compile_tool/compile_tool".to_owned(), 0o755, tool.into_bytes())];
    members.extend(blobs("tools/compile_tool"));
    members.push(("runtime/version.txt".to_owned(), 0o644, b"2022.3.1-9227".to_vec()));
    archive("./l_openvino_toolkit_ubuntu20_2022.3.1.9227.cf2c7da5689_x86_64", &members)
}

type Member = (String, u32, Vec<u8>);

/// The blobs that a stand-in compile tool hands out.
fn blobs(folder: &str) -> impl Iterator<Item = Member> {
    (1..=16).map(move |shaves| {
        let content = fs::read(real().join(format!("intermediate_outputs/blobs/network_{shaves}shave.blob"))).unwrap();
        (format!("{folder}/fixture/{shaves}.blob"), 0o644, content)
    })
}

fn archive(top: &str, members: &[Member]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (path, mode, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        archive.append_data(&mut header, format!("{top}/{path}"), content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// Somebody's project folder and store.
struct Person {
    folder: tempfile::TempDir,
    store: PathBuf,
}

impl Person {
    /// Somebody who has this lock, the network, and a store.
    fn new(lock: &str, store: PathBuf) -> Self {
        let folder = folder();
        fs::write(folder.path().join("toolchains.toml"), lock).unwrap();
        fs::write(folder.path().join("network.onnx"), network()).unwrap();
        Self { folder, store }
    }

    /// Somebody else: everything public is in the store already, as that saves the network.
    fn with_own_store(lock: &str) -> Self {
        let mut person = Self::new(lock, PathBuf::new());
        person.store = person.path("store");
        fs::create_dir(&person.store).unwrap();
        let blobs = shared_store().join("blobs");
        succeed(Command::new("cp").args(["-a", "--reflink=auto"]).arg(blobs).arg(person.path("store/blobs")));
        person
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn run(&self, words: &[&str]) -> String {
        succeed(program(self.folder.path(), &self.store).args(words))
    }

    fn refused(&self, words: &[&str], code: i32) -> String {
        fail(program(self.folder.path(), &self.store).args(words), code)
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("toolchains.toml")).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["--json"][..], words].concat())).unwrap()
    }

    fn convert(&self, name: &str, words: &[&str]) -> PathBuf {
        let convert = ["convert", "rvc2", "--path", "network.onnx", "--to", "native", "--output-dir", name];
        self.run(&[&convert[..], &OF_2021_4_0, words].concat());
        self.path("output").join(name)
    }
}

/// The lock of this project, with a comment of somebody's.
fn commented_lock() -> String {
    let text = fs::read_to_string(root().join("toolchains.toml")).unwrap();
    let artifact = "[[artifact]]\nid = \"l_openvino_toolkit_dev_ubuntu20_p_2021.4.582\"";
    assert!(text.contains(artifact));
    text.replace(artifact, &format!("# ours, from the shelf on the left\n{artifact}"))
}

/// The lock after an import of the stand-in, made once.
fn imported() -> &'static (String, String) {
    static LOCK: OnceLock<(String, String)> = OnceLock::new();
    LOCK.get_or_init(|| {
        let person = Person::new(&commented_lock(), shared_store());
        person.write(KNOWN_AS, &stand_in(&Edition::Whole));
        let said = person.run(&["toolchain", "import", KNOWN_AS]);
        (person.lock(), said)
    })
}

fn diff_ids(facts: &Value) -> Vec<String> {
    let layers = facts["layers"].as_array().unwrap().iter().filter(|layer| layer["name"] != "converter");
    layers.map(|layer| layer["diff_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_the_archive_the_way_to_it_is_said() {
    let person = Person::new(&commented_lock(), shared_store());
    let list = person.run(&["toolchain", "list"]);
    let line = list.lines().find(|line| line.contains("2021.4.0")).unwrap();
    assert!(line.contains("needs import") && line.contains(FILE), "{list}");
    let convert = ["convert", "rvc2", "--path", "network.onnx", "--tool-version", "2021.4.0"];
    let text = person.refused(&convert, 1);
    for part in [FILE, "is not pinned", "download ", "2021.4/", "modelconverter toolchain import", KNOWN_AS] {
        assert!(text.contains(part), "`{part}` in\n{text}");
    }
    let check = person.run(&["lock", "--check"]);
    assert!(check.contains("lock and recipes agree") && check.contains(&format!("waits for {FILE}")), "{check}");

    // A file placed by hand is found, but nothing uses bytes that the lock does not pin.
    person.write(&format!("{EXTRA}/{KNOWN_AS}"), b"whatever");
    for words in [&convert[..], &["image", "build", "rvc2", "--tool-version", "2021.4.0"]] {
        let text = person.refused(words, 1);
        assert!(text.contains(&format!("run `modelconverter toolchain import {EXTRA}/{KNOWN_AS}`")), "{text}");
    }
    let text = person.refused(&["toolchain", "fetch", "rvc2", "--tool-version", "2021.4.0"], 3);
    assert!(text.contains("run `modelconverter toolchain import ") && text.contains(EXTRA), "{text}");
}

#[test]
fn wrong_files_are_refused_and_bar_nothing() {
    let person = Person::new(&commented_lock(), shared_store());
    person.write("strange.tgz", b"strange");
    let text = person.refused(&["toolchain", "import", "strange.tgz"], 1);
    assert!(text.contains("strange.tgz is no artifact of the lock") && text.contains(FILE), "{text}");
    let text = person.refused(&["toolchain", "import", "nowhere.tgz"], 1);
    assert!(text.contains("nowhere.tgz"), "{text}");

    person.write(KNOWN_AS, b"<html>please accept the licence</html>");
    let text = person.refused(&["toolchain", "import", KNOWN_AS], 1);
    assert!(text.contains("cannot be unpacked") && text.contains("the lock does not pin"), "{text}");
    person.write(KNOWN_AS, &stand_in(&Edition::WithoutCompileTool));
    let text = person.refused(&["toolchain", "import", KNOWN_AS], 1);
    assert!(text.contains("has no program `/opt/intel/deployment_tools/tools/compile_tool/compile_tool`"), "{text}");
    let whole = stand_in(&Edition::Whole);
    person.write(KNOWN_AS, &whole[..whole.len() / 2]);
    // Where a member ends too early, nobody knows whether the file or the disk is to blame.
    person.refused(&["toolchain", "import", KNOWN_AS], 3);
    assert_eq!(person.lock(), commented_lock());

    person.write(KNOWN_AS, &whole);
    person.run(&["toolchain", "import", KNOWN_AS]);
    assert_eq!(person.lock(), imported().0);
}

#[test]
fn an_import_completes_the_lock_and_says_what_is_next() {
    let (lock, said) = imported();
    assert!(said.contains("nobody had pinned it before"), "{said}");
    assert!(said.contains("`modelconverter convert rvc2 --tool-version 2021.4.0 --path MODEL`"), "{said}");
    assert!(lock.contains("# ours, from the shelf on the left\n[[artifact]]\nid = \"l_openvino"), "comments stay");
    let person = Person::new(lock, shared_store());
    let check = person.run(&["lock", "--check"]);
    assert!(check.contains("lock and recipes agree") && !check.contains("2021.4.0"), "{check}");
    assert!(
        person
            .run(&["toolchain", "list"])
            .lines()
            .any(|line| { line.contains("2021.4.0") && line.contains("in the store") })
    );
    let before = Person::new(&commented_lock(), shared_store()).json(&["toolchain", "show", "rvc2"]);
    assert_eq!(person.json(&["toolchain", "show", "rvc2"]), before, "other toolchains are as they were");
    let archive = person.json(&[&["toolchain", "show", "rvc2"][..], &OF_2021_4_0].concat());
    let artifacts: Vec<&Value> =
        archive["layers"].as_array().unwrap().iter().flat_map(|layer| layer["artifacts"].as_array().unwrap()).collect();
    let vendors = artifacts.iter().find(|artifact| artifact["file"] == FILE).unwrap();
    assert_eq!(vendors["redistributable"], false, "{vendors}");
    // Nothing is left to do: a second import changes nothing.
    person.write(KNOWN_AS, &stand_in(&Edition::Whole));
    let again = person.run(&["toolchain", "import", KNOWN_AS]);
    assert!(!again.contains("nobody had pinned"), "{again}");
    assert_eq!(person.lock(), *lock);
}

#[test]
fn the_vendors_tools_get_the_command_lines_that_they_understand() {
    let person = Person::new(&imported().0, shared_store());
    let output = person.convert("all", &["rvc2.mo_args", r#"["--log_level","DEBUG"]"#]);
    let superblob = output.join("network.superblob");
    assert!(fs::read(&superblob).unwrap() == fs::read(real().join("network.superblob")).unwrap());
    assert_eq!(read_with_depthai("superblob", &superblob)["16"]["shaves"], 16);
    let record: Value = serde_json::from_slice(&fs::read(output.join("buildinfo.json")).unwrap()).unwrap();
    assert_eq!(record["toolchain"], "rvc2 2021.4.0", "{record}");
    assert_eq!(record["compile_tool_version"], "2021.4.0", "{record}");
    assert_eq!(record["model_optimizer_version"], "2021.4.0-stand-in", "{record}");
    let single = person.convert("one", &["rvc2.superblob", "False", "rvc2.number_of_shaves", "6"]);
    let expected = real().join("intermediate_outputs/blobs/network_6shave.blob");
    assert!(fs::read(single.join("network.blob")).unwrap() == fs::read(expected).unwrap());

    // The stand-in refuses other words, and that is told as the tool's failure.
    let words = ["convert", "rvc2", "--path", "network.onnx", "rvc2.compile_tool_args", r#"["--ip=FP16"]"#];
    let text = person.refused(&[&words[..], &OF_2021_4_0].concat(), 3);
    assert!(text.contains("AssertionError") && text.contains("--ip=FP16"), "{text}");
}

#[test]
fn the_optimizer_of_2022_and_its_compile_tool_understand_each_other() {
    // A folder that is in no project gets a lock of its own.
    let person = Person { folder: tempfile::tempdir().unwrap(), store: shared_store() };
    person.write("network.onnx", &network());
    person.write("openvino-2022.3.1.tar.gz", &stand_in_2022());
    let said = person.run(&["toolchain", "import", "openvino-2022.3.1.tar.gz"]);
    assert!(said.contains(&person.path("toolchains.toml").display().to_string()), "{said}");
    assert!(said.contains("`modelconverter convert rvc2 --tool-version 2022.3.1 --path MODEL`"), "{said}");
    let words = ["convert", "rvc2", "--path", "network.onnx", "--to", "native", "--output-dir", "r"];
    person.run(&[&words[..], &["--tool-version", "2022.3.1"]].concat());
    let output = person.path("output/r");
    assert!(fs::read(output.join("network.superblob")).unwrap() == fs::read(real().join("network.superblob")).unwrap());
    let record: Value = serde_json::from_slice(&fs::read(output.join("buildinfo.json")).unwrap()).unwrap();
    assert!(record["model_optimizer_version"].as_str().unwrap().starts_with("2022.3.1"), "{record}");
    let arguments = record["cmd_info"]["model_optimizer"].as_array().unwrap();
    assert!(arguments.iter().any(|word| word == "--compress_to_fp16"), "{record}");
}

#[test]
fn others_with_the_same_lock_get_the_same_image_or_are_refused() {
    let lock = &imported().0;
    let build = [&["image", "build", "rvc2"][..], &OF_2021_4_0].concat();
    let first = Person::new(lock, shared_store()).json(&build);

    let same = Person::with_own_store(lock);
    fs::remove_file(vendors_blob(&same)).unwrap();
    same.write(&format!("{EXTRA}/{KNOWN_AS}"), &stand_in(&Edition::Whole));
    assert_eq!(diff_ids(&same.json(&build)), diff_ids(&first));
    let twice = [&build[..], &["--twice"]].concat();
    assert!(same.run(&twice).contains("both assemblies made the same bytes"));

    let other = Person::with_own_store(lock);
    fs::remove_file(vendors_blob(&other)).unwrap();
    other.write(&format!("{EXTRA}/{KNOWN_AS}"), &stand_in(&Edition::Other));
    let text = other.refused(&build, 3);
    assert!(text.contains(KNOWN_AS) && text.contains("is not the pinned file"), "{text}");
    let text = other.refused(&["toolchain", "import", &format!("{EXTRA}/{KNOWN_AS}")], 1);
    assert!(text.contains("other bytes") && text.contains("expected") && text.contains("found"), "{text}");
    assert_eq!(other.lock(), *lock);
}

/// Where the stand-in lies in somebody's store.
fn vendors_blob(person: &Person) -> PathBuf {
    let archive = stand_in(&Edition::Whole);
    let mut hash = Command::new("sha256sum");
    let file = person.path("archive");
    fs::write(&file, archive).unwrap();
    let digest = succeed(hash.arg(&file)).split(' ').next().unwrap().to_owned();
    let mut found = Vec::new();
    files(&person.store, &mut found);
    found.into_iter().find(|path| path.ends_with(&digest)).unwrap()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn an_image_that_must_not_be_passed_on_says_so() {
    let person = Person::new(&imported().0, shared_store());
    for (version, file) in
        [("2021.4.0", FILE), ("2021.4.2", "openvino-2021.4.2-3976-cp39-cp39-manylinux2014_x86_64.whl")]
    {
        let output = person.path(version);
        let export = ["image", "export", "rvc2", "--tool-version", version, "--format", "layout", "--uncompressed"];
        let mut command = program(person.folder.path(), &person.store);
        let made = command.args(export).arg("--output").arg(&output).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success() && said.contains("do not let you pass it on") && said.contains(file), "{said}");
        let index: Value = serde_json::from_slice(&fs::read(output.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let manifest = fs::read(output.join("blobs/sha256").join(digest)).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["annotations"]["org.modelconverter.redistributable"], "false", "{manifest}");
    }
}
