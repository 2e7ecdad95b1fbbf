//! Packages that are not the pinned ones, that nobody should unpack, or that contradict each other; locks that nobody
//! should trust.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use modelconverter::digest::Digest;

use crate::check::{convert, fails, is_tidy, layers, model, names};
use crate::server::{Reply, Server, nobody};
use crate::support::{program, succeed};
use crate::toolchain::{RECIPE_HEAD, archive, folder, made_up, package, project, serve};

/// A copy of the made-up project and an empty store, with packages from `server`.
fn copy(folder: &Path, server: &str) -> (PathBuf, PathBuf) {
    let project = folder.join("project");
    fs::create_dir(&project).unwrap();
    made_up().copied(&project, server);
    model(&project, "good.onnx");
    (project, folder.join("store"))
}

/// Checks that a run that could not get its packages left nothing.
fn nothing_came(project: &Path, store: &Path, before: &[String]) {
    assert_eq!(names(project), before);
    assert!(layers(store).is_empty());
    assert!(names(&store.join("blobs/sha256")).is_empty());
    is_tidy(store);
}

#[test]
fn packages_with_other_bytes_are_refused() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(&str, Change, &[&str]); 3] = [
        (
            "wrong",
            |mut bytes| {
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            },
            &["sha256:"],
        ),
        (
            "truncated",
            |mut bytes| {
                bytes.truncate(1000);
                bytes
            },
            &["1000"],
        ),
        (
            "oversized",
            |mut bytes| {
                bytes.extend([0; 1000]);
                bytes
            },
            &["expected"],
        ),
    ];
    for (what, change, parts) in cases {
        let folder = folder();
        let documents = made_up().documents.clone();
        let server = Server::start(move |request| match documents.get(&request.path) {
            Some(bytes) => Reply::file(request, &change(bytes.clone()), "\"1\""),
            None => Reply::new(404, ""),
        });
        let (project, store) = copy(folder.path(), &server.url(""));
        let before = names(&project);
        let told = fails(&mut convert(&project, &store, &project, "good.onnx"), 3);
        told.says(&["made-up-shell_1.0_amd64.deb", &server.host(), "expected", "found"]).says(parts);
        nothing_came(&project, &store, &before);
        assert!(names(&store.join("partial")).is_empty(), "{what}: {:?}", names(&store.join("partial")));
    }
}

#[test]
fn no_network_is_told_with_what_is_missing() {
    let folder = folder();
    let (project, store) = copy(folder.path(), &nobody());
    let before = names(&project);
    let told = fails(&mut convert(&project, &store, &project, "good.onnx"), 3);
    told.says(&["made-up-shell"]);
    nothing_came(&project, &store, &before);
    let told = fails(convert(&project, &store, &project, "good.onnx").arg("--offline"), 3);
    told.says(&["made-up-shell"]);
    let mut command = convert(&project, &store, &project, "good.onnx");
    fails(command.env("MODELCONVERTER_OFFLINE", "1"), 3).says(&["made-up-shell"]);
    nothing_came(&project, &store, &before);
    // A lock needs its index.
    let recipe = project.join("images/rvc2/recipe.toml");
    fs::write(&recipe, fs::read_to_string(&recipe).unwrap().replace("sleep 2", "sleep 3")).unwrap();
    let lock = fs::read(project.join("toolchains.toml")).unwrap();
    fails(program(&project, &store).arg("lock"), 3).says(&["InRelease"]);
    fails(program(&project, &store).args(["lock", "--offline"]), 3).says(&["InRelease"]);
    assert!(fs::read(project.join("toolchains.toml")).unwrap() == lock, "the lock stays");
}

#[test]
fn locks_that_nobody_should_trust_are_refused() {
    let folder = folder();
    let (project, store) = copy(folder.path(), &nobody());
    let path = project.join("toolchains.toml");
    let good = fs::read_to_string(&path).unwrap();
    let pinned = good.lines().find(|line| line.starts_with("sha256 = ")).unwrap();
    let another = format!("sha256 = \"{}\"", Digest::of(b"another").hex());
    let cases = [
        (good.replace("version = 1\nlayer", "version = 2\nlayer"), &["format 2", "newer"][..]),
        (good.replace("layer-format = 1", "layer-format = 9"), &["layer format", "9"]),
        (good.replacen(pinned, &another, 1), &["modelconverter lock"]),
        (good.replacen("kind = \"debian\"", "kind = \"debain\"", 1), &["toolchains.toml"]),
        (good.replacen("[[toolchain]]", "[[toolchain]", 1), &["toolchains.toml"]),
        (String::new(), &["toolchains.toml"]),
        ("<<<<<<< HEAD\n".to_owned() + &good, &["toolchains.toml"]),
    ];
    for (text, parts) in cases {
        assert!(text != good);
        fs::write(&path, &text).unwrap();
        for words in [&["toolchain", "list"][..], &["convert", "rvc2", "--path", "good.onnx"], &["lock", "--check"]] {
            let told = fails(program(&project, &store).args(words), 1);
            told.says(&["toolchains.toml"]).says(parts);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nobody repairs it unasked");
    }
    fs::write(&path, b"\xff\xfe").unwrap();
    fails(program(&project, &store).args(["toolchain", "list"]), 1).says(&["toolchains.toml", "no UTF-8"]);
    assert!(!project.join("output").exists());
}

#[test]
fn a_lock_that_does_not_fit_its_recipe_is_refused() {
    let folder = folder();
    let (project, store) = copy(folder.path(), &nobody());
    let driver = project.join("images/rvc2/driver");
    fs::write(&driver, fs::read_to_string(&driver).unwrap() + "\n# changed\n").unwrap();
    let told = fails(&mut convert(&project, &store, &project, "good.onnx"), 1);
    told.says(&["recipe", "modelconverter lock"]);
    let checked = program(&project, &store).args(["lock", "--check", "--json"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(document["agrees"], false, "{document}");
    fs::remove_file(&driver).unwrap();
    fails(&mut convert(&project, &store, &project, "good.onnx"), 1).says(&["`driver`", "does not exist"]);
    fs::write(project.join("images/rvc2/recipe.toml"), "recipe = 1\nrecipes = 2\n").unwrap();
    fails(&mut convert(&project, &store, &project, "good.onnx"), 1).says(&["recipe.toml"]);
    assert!(!project.join("output").exists());
}

/// One toolchain of one layer with these lines.
fn recipe(lines: &str) -> String {
    format!("{RECIPE_HEAD}\n[[toolchain]]\nversion = \"2021.4.2\"\n[[toolchain.layer]]\nname = \"only\"\n{lines}\n")
}

#[test]
fn a_maintainer_script_without_a_verdict_is_refused_with_its_digest() {
    let folder = folder();
    let (project_folder, store) = (folder.path().join("project"), folder.path().join("store"));
    let script = b"#!/bin/sh\nuseradd somebody\n";
    let documents = archive(&[package("made-up-scripted", &[("DEBIAN/postinst", script), ("usr/share/x", b"x")])]);
    let server = Server::start(move |request| serve(&documents, request));
    project(&project_folder, &recipe("debian = [\"made-up-scripted\"]"), &server.url(""));
    let lock = fs::read(project_folder.join("toolchains.toml")).unwrap();
    let told = fails(program(&project_folder, &store).arg("lock"), 1);
    told.says(&["postinst", "made-up-scripted", &Digest::of(script).hex()]);
    assert!(fs::read(project_folder.join("toolchains.toml")).unwrap() == lock);
    is_tidy(&store);
}

/// A wheel with these files.
fn wheel(project: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let info = format!("{project}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n");
    let own: [(String, &[u8]); 2] = [
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ];
    let given = files.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes));
    let all: Vec<(String, &[u8])> = own.into_iter().chain(given).collect();
    let mut record = String::new();
    for (name, bytes) in &all {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
        let digest = base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            hex::decode(Digest::of(bytes).hex()).unwrap(),
        );
        record.push_str(&format!("{name},sha256={digest},{}\n", bytes.len()));
    }
    record.push_str(&format!("{info}/RECORD,,\n"));
    zip.start_file(format!("{info}/RECORD"), zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(record.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// A package index with these wheels.
fn index(wheels: &[(&str, Vec<u8>)]) -> Server {
    let mut documents = BTreeMap::new();
    for (project, bytes) in wheels {
        let file = format!("{project}-1.0-py3-none-any.whl");
        let page = serde_json::json!({ "meta": { "api-version": "1.1" }, "name": project, "versions": ["1.0"], "files": [{
            "filename": file, "url": format!("../../files/{file}"), "size": bytes.len(),
            "hashes": { "sha256": Digest::of(bytes).hex() },
        }] });
        documents.insert(format!("/simple/{project}/"), page.to_string().into_bytes());
        documents.insert(format!("/files/{file}"), bytes.clone());
    }
    Server::start(move |request| {
        let reply = serve(&documents, request);
        let is_page = request.path.starts_with("/simple/");
        if is_page { reply.header("Content-Type", "application/vnd.pypi.simple.v1+json") } else { reply }
    })
}

/// Locks wheels, which must be refused when they are put together.
fn refused_wheels(wheels: &[(&str, Vec<u8>)], parts: &[&str]) {
    let folder = folder();
    let (project_folder, store) = (folder.path().join("project"), folder.path().join("store"));
    let server = index(wheels);
    let names_of: Vec<String> = wheels.iter().map(|(project, _)| format!("\"{project}\"")).collect();
    project(&project_folder, &recipe(&format!("pypi = [{}]", names_of.join(", "))), &server.url(""));
    let lock = fs::read(project_folder.join("toolchains.toml")).unwrap();
    let told = fails(program(&project_folder, &store).arg("lock"), 1);
    told.says(parts);
    assert!(fs::read(project_folder.join("toolchains.toml")).unwrap() == lock);
    assert!(layers(&store).is_empty());
    is_tidy(&store);
}

#[test]
fn two_wheels_that_own_one_path_are_refused() {
    let one = wheel("one", &[("shared/x.py", b"1"), ("one.py", b"")]);
    let two = wheel("two", &[("shared/x.py", b"2"), ("two.py", b"")]);
    refused_wheels(&[("one", one), ("two", two)], &["shared/x.py", "one-1.0", "two-1.0", "exclude"]);
}

#[test]
fn wheels_that_leave_their_folder_are_refused() {
    for (name, part) in [
        ("../../../../etc/cron.d/x", "`..` may leave the root"),
        ("/etc/passwd", "its name is an absolute path"),
        ("a/../../../../../etc/x", "`..` may leave the root"),
    ] {
        refused_wheels(&[("evil", wheel("evil", &[(name, b"x")]))], &["evil-1.0-py3-none-any.whl", name, part]);
    }
}

enum Member<'a> {
    File(&'a str, u64),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Device(&'a str),
}

/// A tar whose names are written as they are, whatever a decent library thinks of them.
fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        let mut header = tar::Header::new_ustar();
        let (name, kind, size, target) = match member {
            Member::File(name, size) => (name, tar::EntryType::Regular, *size, ""),
            Member::Link(name, target) => (name, tar::EntryType::Symlink, 0, *target),
            Member::HardLink(name, target) => (name, tar::EntryType::Link, 0, *target),
            Member::Device(name) => (name, tar::EntryType::Block, 0, ""),
        };
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        bytes.extend(header.as_bytes());
        // A member that says it is huge has no bytes behind it: it must be refused by what it says.
        let length = if size < 1 << 20 { size.div_ceil(512) * 512 } else { 0 };
        bytes.resize(bytes.len() + usize::try_from(length).unwrap(), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn archives_that_nobody_should_unpack_are_refused() {
    let cases: [(&str, Vec<Member<'_>>, &[&str]); 6] = [
        ("parent", vec![Member::File("../../../escaped", 1)], &["`..` may leave the root"]),
        ("inner parent", vec![Member::File("a/../../../../escaped", 1)], &["`..` may leave the root"]),
        (
            "through a link",
            vec![Member::Link("way", "/"), Member::File("way/escaped", 1)],
            &["`way` above it is no folder"],
        ),
        ("hard link", vec![Member::HardLink("passwd", "../../../../etc/passwd")], &["../../../../etc/passwd"]),
        ("device", vec![Member::Device("disk")], &["disk"]),
        ("bomb", vec![Member::File("huge", 1 << 36)], &["64.0 GiB, more than 16.0 GiB"]),
    ];
    for (what, members, parts) in cases {
        let folder = folder();
        let (project_folder, store) = (folder.path().join("project"), folder.path().join("store"));
        let archive =
            "[[toolchain.layer.archive]]\nfile = \"vendor.tar\"\nobtain = \"ask the vendor\"\nfolder = \"/opt\"";
        project(&project_folder, &recipe(archive), &nobody());
        fs::write(project_folder.join("vendor.tar"), tar(&members)).unwrap();
        succeed(program(&project_folder, &store).arg("lock"));
        fails(program(&project_folder, &store).args(["image", "build", "rvc2"]), 1).says(&["vendor.tar", "import"]);
        let lock = fs::read(project_folder.join("toolchains.toml")).unwrap();
        let before = names(folder.path());
        let mut command = program(&project_folder, &store);
        let told = fails(command.args(["--offline", "toolchain", "import", "vendor.tar"]), 1);
        assert!(fs::read(project_folder.join("toolchains.toml")).unwrap() == lock, "{what}: the lock stays");
        told.says(&["vendor.tar", "cannot be unpacked"]).says(parts);
        assert!(told.hints().contains("publisher"), "{}", told.text);
        assert_eq!(names(folder.path()), before, "{what}");
        assert!(layers(&store).is_empty(), "{what}");
        assert!(!Path::new("/escaped").exists() && !store.join("escaped").exists(), "{what}");
        is_tidy(&store);
    }
}

#[test]
fn a_file_placed_by_hand_that_is_another_one_is_named() {
    let folder = folder();
    let (project_folder, store) = (folder.path().join("project"), folder.path().join("store"));
    let archive = "[[toolchain.layer.archive]]\nfile = \"vendor.tar\"\nobtain = \"ask the vendor\"\nfolder = \"/opt\"";
    project(&project_folder, &recipe(archive), &nobody());
    fs::write(project_folder.join("vendor.tar"), tar(&[Member::File("x", 1)])).unwrap();
    succeed(program(&project_folder, &store).arg("lock"));
    succeed(program(&project_folder, &store).args(["toolchain", "import", "vendor.tar"]));
    // The next one has a truncated copy.
    let extra = project_folder.join("docker/extra_packages");
    fs::create_dir_all(&extra).unwrap();
    fs::write(extra.join("vendor.tar"), "cut").unwrap();
    let other = folder.path().join("other");
    let told = fails(program(&project_folder, &other).args(["image", "build", "rvc2"]), 3);
    told.says(&["docker/extra_packages/vendor.tar", "expected", "found"]);
    fails(program(&project_folder, &other).args(["toolchain", "import", "docker/extra_packages/vendor.tar"]), 1)
        .says(&["vendor.tar", "other bytes"]);
    assert_eq!(names(&extra), ["vendor.tar"]);
    is_tidy(&other);
}
