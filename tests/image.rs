//! The real toolchain image: the bytes that the lock promises, whatever the surroundings, and what other tools make of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{program, root, shared_store, succeed};

const REFERENCE: &str = "modelconverter/rvc2:2021.4.2";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A store that holds the shared store's downloads and nothing that was made of them.
fn store_with_artifacts(folder: &Path) -> std::path::PathBuf {
    succeed(program(folder, &shared_store()).args(["toolchain", "fetch", "rvc2"]));
    let store = folder.join("store");
    fs::create_dir(&store).unwrap();
    succeed(Command::new("cp").arg("-a").arg(shared_store().join("blobs")).arg(&store));
    store
}

fn export(command: &mut Command) -> Value {
    serde_json::from_str(&succeed(command.args(["--json", "image", "export", "rvc2", "--output", "image.tar"])))
        .unwrap()
}

#[test]
fn other_surroundings_make_the_bytes_that_the_lock_promises() {
    let (here, there) = (folder(), folder());
    let ordinary = export(&mut program(here.path(), &shared_store()));

    // Assembly checks the diff ids of the lock, export the digests of the compressed layers.
    let store = store_with_artifacts(there.path());
    let temporary = there.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let mut odd = program(there.path(), &store);
    odd.env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8").env("TMPDIR", &temporary);
    // SAFETY: umask and sched_setaffinity are system calls without locks or memory of this process.
    unsafe {
        odd.pre_exec(|| {
            libc::umask(0o077);
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(0, &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one);
            Ok(())
        });
    }
    let odd = export(&mut odd);
    assert_eq!(odd["manifest"], ordinary["manifest"]);
    let read = |folder: &Path| fs::read(folder.join("image.tar")).unwrap();
    assert!(read(here.path()) == read(there.path()), "the files are the same, byte for byte");
}

#[test]
fn the_sceptic_sees_two_assemblies_alike() {
    let text = succeed(program(root(), &shared_store()).args(["--json", "image", "build", "rvc2", "--twice"]));
    let layers: Value = serde_json::from_str(&text).unwrap();
    let lock = fs::read_to_string(root().join("toolchains.toml")).unwrap();
    assert_eq!(layers.as_array().unwrap().len(), 5, "{layers}");
    for layer in layers.as_array().unwrap() {
        for key in ["diff_id", "compressed"] {
            assert!(lock.contains(layer[key].as_str().unwrap()), "{layer}");
        }
    }
}

#[test]
fn skopeo_and_umoci_take_the_real_image_unchanged() {
    let folder = folder();
    let exported = export(&mut program(folder.path(), &shared_store()));
    let run = |program: &str, words: &[&str]| succeed(Command::new(program).args(words).current_dir(folder.path()));
    let tag = format!("docker.io/{REFERENCE}");
    let inspected: Value = serde_json::from_str(&run("skopeo", &["inspect", "oci-archive:image.tar"])).unwrap();
    assert_eq!(inspected["Digest"], exported["manifest"], "{inspected}");
    run("skopeo", &["copy", "--quiet", "--preserve-digests", "oci-archive:image.tar", "oci:layout:image"]);
    let copied: Value = serde_json::from_str(&run("skopeo", &["inspect", "oci:layout:image"])).unwrap();
    assert_eq!(copied["Digest"], exported["manifest"], "{tag}");
    run("umoci", &["raw", "unpack", "--image", "layout:image", "unpacked"]);
    for path in ["usr/bin/modelconverter", "usr/bin/python3.9", "usr/share/modelconverter/toolchain.toml"] {
        assert!(folder.path().join("unpacked").join(path).exists(), "{path}");
    }
    // The folder form is the same image.
    succeed(
        program(folder.path(), &shared_store())
            .args(["image", "export", "rvc2", "--format", "layout", "--output", "ours"]),
    );
    let ours: Value = serde_json::from_str(&run("skopeo", &["inspect", "oci:ours"])).unwrap();
    assert_eq!(ours["Digest"], exported["manifest"]);
}

#[test]
fn the_compressed_image_is_small() {
    let folder = folder();
    export(&mut program(folder.path(), &shared_store()));
    // The program of a test build is several times the size of a released one, so its layer is not counted.
    let text = succeed(program(folder.path(), &shared_store()).args(["--json", "image", "show", "rvc2"]));
    let facts: Value = serde_json::from_str(&text).unwrap();
    let sizes = facts["layers"].as_array().unwrap().iter().map(|layer| layer["compressed_size"].as_u64().unwrap());
    let size: u64 = sizes.sum();
    assert!(size < 80_000_000, "{size}: the goal for the whole image is 100 MB");
}

#[test]
fn an_image_compared_with_its_own_export_is_alike() {
    let folder = folder();
    export(&mut program(folder.path(), &shared_store()));
    let output =
        program(folder.path(), &shared_store()).args(["--json", "image", "diff", "rvc2", "image.tar"]).output();
    let difference: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(difference["packages"], serde_json::json!({}));
    // The export has the converter besides.
    let files: Vec<&String> = difference["files"].as_object().unwrap().keys().collect();
    assert_eq!(files, ["usr/bin/modelconverter"]);
}
