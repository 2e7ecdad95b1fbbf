//! What other tools make of an exported image: skopeo and umoci read it, podman and the container engine whose socket
//! `MODELCONVERTER_TEST_DOCKER` names load it. `tests/run` installs and starts them all; without them the tests fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::engine::ImageArchive;
use modelconverter::oci::{self, Document, Index, validate};
use modelconverter::ops::assemble::{AssembledImage, assemble};
use modelconverter::ops::image::{
    ArchiveForm, Exported, FileChange, LoadableImage, Side, compare, write_archive, write_layout,
};
use modelconverter::progress::Silent;
use modelconverter::store::Store;
use tempfile::TempDir;

#[path = "support/synthetic.rs"]
mod synthetic;

const FORMS: [ArchiveForm; 2] = [ArchiveForm::Compressed, ArchiveForm::Uncompressed];

/// The sample, assembled.
struct Bench {
    folder: TempDir,
    store: Store,
    image: AssembledImage,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let (plan, files) = synthetic::sample(&store, 0);
        let image = assemble(&plan, &store, &files, &synthetic::converter(folder.path()), &Silent).unwrap();
        Self { folder, store, image }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self, form: ArchiveForm) -> (PathBuf, Exported) {
        let path = self.path(&format!("{form:?}.tar"));
        let mut file = fs::File::create(&path).unwrap();
        let exported = write_archive(&self.image, &self.store, form, &mut file, &Silent).unwrap();
        (path, exported)
    }

    fn layout(&self, form: ArchiveForm) -> (PathBuf, Exported) {
        let path = self.path(&format!("{form:?}"));
        let exported = write_layout(&self.image, &self.store, form, &path, &Silent).unwrap();
        (path, exported)
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; start the tests with tests/run"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn our_own_check_finds_layout_and_archive_whole() {
    let bench = Bench::new();
    for form in FORMS {
        let (folder, exported) = bench.layout(form);
        let index = fs::read(folder.join(oci::INDEX)).unwrap();
        let images = validate(&index, |digest| fs::File::open(folder.join(oci::blob_path(digest)))).unwrap();
        assert_eq!((images.len(), images[0].descriptor.digest), (1, exported.manifest));
        let diff_ids: Vec<_> = bench.image.layers.iter().map(|layer| layer.diff_id).collect();
        assert_eq!(images[0].config.rootfs.diff_ids, diff_ids);
        // The file holds the same documents.
        let unpacked = bench.path(&format!("{form:?}.unpacked"));
        fs::create_dir(&unpacked).unwrap();
        run("tar", &["-xf", text(&bench.archive(form).0), "-C", text(&unpacked)]);
        for name in [oci::INDEX, oci::LAYOUT, oci::LEGACY_MANIFEST] {
            assert_eq!(fs::read(unpacked.join(name)).unwrap(), fs::read(folder.join(name)).unwrap());
        }
        let error = write_layout(&bench.image, &bench.store, form, &folder, &Silent).unwrap_err();
        assert!(error.to_string().ends_with("exists"), "{error}");
    }
    let left: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with('.')), "{left:?}");
}

#[test]
fn the_announced_length_is_the_length() {
    let bench = Bench::new();
    let loadable = LoadableImage::new(&bench.image, &bench.store);
    let mut bytes = Vec::new();
    loadable.write_to(&mut bytes).unwrap();
    assert_eq!(loadable.length().unwrap().bytes(), bytes.len() as u64);
}

#[test]
fn skopeo_copies_it_unchanged() {
    let bench = Bench::new();
    for form in FORMS {
        let ((archive, exported), (layout, _)) = (bench.archive(form), bench.layout(form));
        let tag = exported.reference.tag();
        let sources = [format!("oci-archive:{}:{tag}", text(&archive)), format!("oci:{}:{tag}", text(&layout))];
        for (index, source) in sources.iter().enumerate() {
            let copy = bench.path(&format!("copy-{form:?}-{index}"));
            // It fails rather than change a digest.
            run(
                "skopeo",
                &["--insecure-policy", "copy", "--preserve-digests", source, &format!("oci:{}:x", text(&copy))],
            );
            let index = Index::from_bytes(&fs::read(copy.join(oci::INDEX)).unwrap()).unwrap();
            assert_eq!(index.manifests[0].digest, exported.manifest);
        }
        // What older engines read gives the same configuration.
        let copy = bench.path(&format!("copy-{form:?}-docker"));
        let source = format!("docker-archive:{}:{}", text(&archive), exported.reference);
        run("skopeo", &["--insecure-policy", "copy", &source, &format!("oci:{}:x", text(&copy))]);
        let config = run("skopeo", &["inspect", "--config", &format!("oci:{}:x", text(&copy))]);
        assert!(bench.image.layers.iter().all(|layer| config.contains(&layer.diff_id.to_string())), "{config}");
    }
}

/// Returns what stands below a folder: kind, mode, and content or target.
fn listing(root: &Path) -> BTreeMap<String, String> {
    fn add(root: &Path, folder: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                format!("folder {:o}", metadata.mode())
            } else {
                let digest = modelconverter::digest::Digest::of(&fs::read(&path).unwrap());
                format!("{:o} {digest} {} {}", metadata.mode(), metadata.mtime(), metadata.nlink())
            };
            into.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), content);
            if metadata.is_dir() {
                add(root, &path, into);
            }
        }
    }
    let mut found = BTreeMap::new();
    add(root, root, &mut found);
    found
}

#[test]
fn umoci_unpacks_what_was_assembled() {
    let bench = Bench::new();
    for form in FORMS {
        let (layout, exported) = bench.layout(form);
        let bundle = bench.path(&format!("bundle-{form:?}"));
        let image = format!("{}:{}", text(&layout), exported.reference.tag());
        run("umoci", &["unpack", "--rootless", "--image", &image, text(&bundle)]);
        let found = listing(&bundle.join("rootfs"));
        let mut expected = BTreeMap::new();
        for layer in &bench.image.layers {
            expected.extend(listing(&layer.tree));
        }
        // Files in the store keep the time they were written; in the image there is but one.
        for content in expected.values_mut().filter(|content| content.starts_with("10")) {
            let mut words: Vec<&str> = content.split(' ').collect();
            words[2] = "315619200";
            *content = words.join(" ");
        }
        assert_eq!(found, expected);
    }
}

/// Loads both forms, and starts the converter, which is a text here, so that the engine can only fail to run it.
fn assert_loads(program: &str, options: &[&str]) {
    let bench = Bench::new();
    for form in FORMS {
        let (archive, exported) = bench.archive(form);
        let reference = exported.reference.to_string();
        let with = |arguments: &[&str]| run(program, &[options, arguments].concat());
        with(&["load", "--input", text(&archive)]);
        let found = with(&["image", "inspect", "--format", "{{json .}}", &reference]);
        for layer in &bench.image.layers {
            assert!(found.contains(&layer.diff_id.to_string()), "{found}");
        }
        assert!(found.contains("MODELCONVERTER_TOOLCHAIN=rvc2 1.0-test") && found.contains("/usr/bin/modelconverter"));
        with(&["image", "rm", "--force", &reference]);
    }
}

#[test]
fn docker_loads_it() {
    let socket = std::env::var_os("MODELCONVERTER_TEST_DOCKER");
    let socket = socket.expect("MODELCONVERTER_TEST_DOCKER is set: start the tests with tests/run");
    assert_loads("docker", &["--host", &format!("unix://{}", socket.to_str().unwrap().trim_start_matches("unix://"))]);
}

#[test]
fn podman_loads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (root, running) = (folder.path().join("root"), folder.path().join("run"));
    assert_loads("podman", &["--root", text(&root), "--runroot", text(&running), "--storage-driver", "vfs"]);
}

#[test]
fn differences_are_found_between_store_file_and_folder() {
    let bench = Bench::new();
    let (archive, _) = bench.archive(ArchiveForm::Compressed);
    let (layout, _) = bench.layout(ArchiveForm::Uncompressed);
    let sides = [Side::Assembled(&bench.image), Side::Exported(&archive), Side::Exported(&layout)];
    for other in sides {
        assert!(compare(sides[0], other).unwrap().is_empty());
    }
    let (mut plan, files) = synthetic::sample(&bench.store, 0);
    plan.layers[1].content.artifacts.remove(0);
    let extra = synthetic::Artifact::wheel("extra", &[("extra.py", b"")]);
    plan.layers[1].content.artifacts.push(extra.planned(&bench.store));
    plan.layers[0].content.links.insert(synthetic::path("usr/bin/python3"), "python3.10".to_owned());
    let other = assemble(&plan, &bench.store, &files, &synthetic::converter(bench.folder.path()), &Silent).unwrap();
    let difference = compare(Side::Exported(&archive), Side::Assembled(&other)).unwrap();
    let packages: Vec<_> = difference.packages.keys().map(String::as_str).collect();
    assert_eq!(packages, ["extra", "tool"]);
    let change = |path: &str| difference.files.get(&synthetic::path(path)).copied();
    assert_eq!(change("usr/lib/python3/dist-packages/extra.py"), Some(FileChange::Added));
    assert_eq!(change("usr/lib/python3/dist-packages/tool/data.bin"), Some(FileChange::Removed));
    assert_eq!(change("usr/bin/python3"), Some(FileChange::Changed));
    assert_eq!(change("usr/bin/sh"), None);
    let printed = difference.to_string();
    assert!(printed.starts_with("package extra: + 1.0\npackage tool: - 1.0\n"), "{printed}");
    for broken in [bench.path("nowhere"), bench.path("converter"), bench.folder.path().to_owned()] {
        assert!(compare(Side::Exported(&broken), sides[0]).is_err());
    }
}

#[test]
fn the_documents_are_those_of_the_specification() {
    use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};

    let bench = Bench::new();
    let (layout, exported) = bench.layout(ArchiveForm::Compressed);
    let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
    let index = ImageIndex::from_file(layout.join("index.json")).unwrap();
    let entry = &index.manifests()[0];
    assert_eq!(entry.digest().to_string(), exported.manifest.to_string());
    let manifest = ImageManifest::from_file(blob(entry.digest().as_ref())).unwrap();
    assert_eq!(manifest.config().digest().to_string(), exported.id.to_string());
    let config = ImageConfiguration::from_file(blob(manifest.config().digest().as_ref())).unwrap();
    let ids: Vec<String> = bench.image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(config.rootfs().diff_ids(), &ids);
    assert_eq!(manifest.layers().len(), ids.len());
    let entrypoint = config.config().as_ref().and_then(|config| config.entrypoint().clone());
    assert_eq!(entrypoint, Some(vec!["/usr/bin/modelconverter".to_owned()]));
}
