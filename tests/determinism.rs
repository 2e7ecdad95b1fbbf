//! The same inputs give the same bytes, whatever the surroundings; golden digests guard the bytes; contradicting and
//! hostile inputs are refused by name.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use modelconverter::digest::{DiffId, Digest};
use modelconverter::hint::Hint;
use modelconverter::lock::LayerBytes;
use modelconverter::ops::assemble::{AssembleError, AssembledImage, Converter, Effort, Reuse, assemble, assemble_with};
use modelconverter::ops::image::{ArchiveForm, assemble_twice, measure, write_archive};
use modelconverter::plan::image::{ImagePlan, Unpacking};
use modelconverter::progress::Silent;
use modelconverter::store::Store;
use modelconverter::units::ByteSize;

#[path = "support/synthetic.rs"]
mod synthetic;

use synthetic::{Artifact, Files, Member, converter, layer, no_files, path, plan, sample};

/// Tells a process of this very binary to assemble the sample, and where.
const FOLDER: &str = "MODELCONVERTER_TEST_ASSEMBLE";

/// How the artifacts are ordered in such a process, and its umask.
const TURN: &str = "MODELCONVERTER_TEST_TURN";
const UMASK: &str = "MODELCONVERTER_TEST_UMASK";

fn store(folder: &Path) -> Store {
    Store::open(&folder.join("store")).unwrap()
}

fn build(plan: &ImagePlan, store: &Store, files: &Files) -> Result<AssembledImage, AssembleError> {
    assemble_with(plan, store, files, Converter::None, Effort::default(), &Silent)
}

/// Assembles and returns the error with all its causes, as people read them.
fn refused(plan: &ImagePlan, store: &Store) -> String {
    let error = build(plan, store, &no_files()).unwrap_err();
    let mut text = String::new();
    let mut cause = Some(&error as &dyn std::error::Error);
    while let Some(error) = cause {
        text.push_str(&format!("{error}\n"));
        cause = error.source();
    }
    text
}

/// The other side of [`surroundings_do_not_matter`]; by itself it does nothing.
#[test]
fn assembling_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let number = |name| u32::from_str_radix(&std::env::var(name).unwrap(), 8).unwrap();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(number(UMASK)));
    let folder = Path::new(&folder);
    let store = store(folder);
    let (plan, files) = sample(&store, number(TURN) as usize);
    let image = build(&plan, &store, &files).unwrap();
    let lines: Vec<String> = measure(&image, &Silent).unwrap().iter().map(|bytes| format!("{bytes:?}")).collect();
    std::fs::write(folder.join("result"), lines.join("\n")).unwrap();
}

#[test]
fn surroundings_do_not_matter() {
    let assemble = |turn: &str, umask: &str, processors: &str, environment: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let temporary = folder.path().join("temporary");
        std::fs::create_dir(&temporary).unwrap();
        let status = Command::new("taskset")
            .args(["-c", processors])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "assembling_process"])
            .env(FOLDER, folder.path())
            .env(TURN, turn)
            .env(UMASK, umask)
            .env("TMPDIR", &temporary)
            .envs(environment.iter().copied())
            .current_dir(&temporary)
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        std::fs::read_to_string(folder.path().join("result")).unwrap()
    };
    let last = std::thread::available_parallelism().unwrap().get() - 1;
    let expected = assemble("0", "022", &format!("0-{last}"), &[]);
    assert_eq!(expected.lines().count(), 2);
    assert_eq!(assemble("1", "077", "0", &[("TZ", "America/Anchorage"), ("LC_ALL", "C")]), expected);
    assert_eq!(assemble("3", "000", &last.to_string(), &[("TZ", "Asia/Tokyo"), ("LC_ALL", "de_DE.UTF-8")]), expected);
}

#[test]
fn the_bytes_of_the_sample_never_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (plan, files) = sample(&store, 0);
    let image = assemble(&plan, &store, &files, &converter(folder.path()), &Silent).unwrap();
    let mut archive = Vec::new();
    let exported = write_archive(&image, &store, ArchiveForm::Compressed, &mut archive, &Silent).unwrap();
    let mut plain = Vec::new();
    let loadable = write_archive(&image, &store, ArchiveForm::Uncompressed, &mut plain, &Silent).unwrap();
    let mut found: Vec<String> = image.layers.iter().map(|layer| format!("{} {}", layer.name, layer.diff_id)).collect();
    found.push(format!("config {}", image.id));
    found.push(format!("manifest {}, uncompressed {}", exported.manifest, loadable.manifest));
    found.push(format!("archive {}, uncompressed {}", Digest::of(&archive), Digest::of(&plain)));
    insta::assert_snapshot!(found.join("\n"), @r#"
        base sha256:9af9e9a90fafa79f8d2327a998149b9374b685166696843557668bfa4698ef9d
        tool sha256:075b0871bf927d599151cdbb046f68b75d577251c5f3d879bc8579e967ef2150
        converter sha256:522dbee272160f3e384011ccf65d667a3206e1598968720da82fb1400facdb42
        config sha256:c9ca2459e027a472723dcb87d25da106561e28dda810ad170f21082d90e225db
        manifest sha256:c4833f1cecbfd0e1d4c8e3090fc85a236c66f684b40962265d50a5b7fee0238a, uncompressed sha256:92d7fd191aa472cd976809a58671feb2aeaa43399afadd6931376ec2dd30940a
        archive sha256:cf5f2993b78ba71d9c2c320c4bbe7c116d8f66a680f7fdc3bb068e45b5d16fbb, uncompressed sha256:d6747f3c39b98ef840b14e953038b95bfb4b6c59d042dbf6aecd7068e6d79d34
        "#);
}

#[test]
fn the_sample_is_what_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (plan, files) = sample(&store, 0);
    let image = assemble(&plan, &store, &files, &converter(folder.path()), &Silent).unwrap();
    let [base, tool, own]: &[_; 3] = image.layers.as_slice().try_into().unwrap();
    let read = |path: &str| std::fs::read_to_string(base.tree.join(path)).unwrap();
    let link = |path: &str| std::fs::read_link(base.tree.join(path)).unwrap().into_os_string().into_string().unwrap();
    let about = |path: &str| std::fs::metadata(base.tree.join(path)).unwrap();
    assert_eq!(link("bin"), "usr/bin");
    assert_eq!((read("usr/bin/sh"), about("usr/bin/sh").mode() & 0o7777), ("#!shell".to_owned(), 0o755));
    assert_eq!(about("usr/bin/sh").ino(), about("usr/bin/rbash").ino());
    assert_eq!(link("usr/bin/awk"), "/usr/bin/mawk");
    assert_eq!(link("usr/lib64/ld.txt"), "/lib/x86_64-linux-gnu/libc.txt");
    assert_eq!(about("tmp").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(about("usr/share/many/7").permissions().mode() & 0o7777, 0o644);
    assert_eq!(read("etc/ssl/certs/ca-certificates.crt"), "-----A-----\n-----B-----\n");
    assert!(read("var/lib/dpkg/status.d/many").starts_with("Package: many\nVersion: 1.0\n"));
    assert!(read("var/lib/dpkg/status.d/many.md5sums").contains("usr/share/doc/x"));
    assert_eq!((read("etc/tool.toml"), link("usr/bin/python3")), ("a = 1\n".to_owned(), "python3.9".to_owned()));
    assert!(about("exchange").is_dir() && !base.tree.join("usr/share/doc/base-files/changelog").exists());
    let script = std::fs::read_to_string(tool.tree.join("usr/bin/tool")).unwrap();
    assert!(script.starts_with("#!/usr/bin/python3.9\n"), "{script}");
    assert!(tool.tree.join("opt/vendor/bin/run").is_file());
    assert_eq!(std::fs::read_to_string(own.tree.join("usr/bin/modelconverter")).unwrap(), "#!converter");
    assert_eq!(image.env.get("MODELCONVERTER_TOOLCHAIN").map(String::as_str), Some("rvc2 1.0-test"));
}

#[test]
fn a_second_build_needs_no_artifacts_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (plan, files) = sample(&store, 0);
    let first = build(&plan, &store, &files).unwrap();
    for artifact in plan.artifacts() {
        std::fs::remove_file(store.blob(&artifact.sha256).unwrap().unwrap()).unwrap();
    }
    let made = std::fs::metadata(&first.layers[0].tree).unwrap().ctime_nsec();
    assert_eq!(build(&plan, &store, &files).unwrap(), first);
    assert_eq!(std::fs::metadata(&first.layers[0].tree).unwrap().ctime_nsec(), made);
    // A recipe file that changed is noticed, and then an artifact is needed.
    let other = Files(BTreeMap::from([("tool.toml".to_owned(), b"a = 2\n".to_vec())]));
    let error = build(&plan, &store, &other).unwrap_err();
    assert!(
        error.to_string().ends_with("is not in the store") && error.hints()[0].contains("toolchain fetch"),
        "{error}"
    );
}

#[test]
fn a_changed_upper_layer_leaves_the_lower_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (mut plan, files) = sample(&store, 0);
    let first = build(&plan, &store, &files).unwrap();
    for artifact in &plan.layers[0].content.artifacts {
        std::fs::remove_file(store.blob(&artifact.sha256).unwrap().unwrap()).unwrap();
    }
    plan.layers[1].content.folders.insert(path("opt/new"));
    let second = build(&plan, &store, &files).unwrap();
    assert_eq!(second.layers[0], first.layers[0]);
    assert_ne!(second.layers[1].diff_id, first.layers[1].diff_id);
}

#[test]
fn the_lock_is_checked_at_every_build() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (mut plan, files) = sample(&store, 0);
    let image = build(&plan, &store, &files).unwrap();
    let measured = measure(&image, &Silent).unwrap();
    for (layer, bytes) in std::iter::zip(&mut plan.layers, &measured) {
        layer.expected = Some(*bytes);
    }
    assert!(build(&plan, &store, &files).is_ok());
    let wrong = DiffId(Digest::of(b"wrong"));
    plan.layers[1].expected = Some(LayerBytes { diff_id: wrong, ..measured[1] });
    let remake = Effort { reuse: Reuse::Nothing, ..Effort::default() };
    for effort in [Effort::default(), remake] {
        let error = assemble_with(&plan, &store, &files, Converter::None, effort, &Silent).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("layer `tool`") && text.contains(&wrong.to_string()), "{text}");
        assert!(text.contains(&measured[1].diff_id.to_string()), "{text}");
    }
    // The compressed form is checked when it is made.
    plan.layers[1].expected = Some(LayerBytes { compressed: wrong.0, ..measured[1] });
    let image = build(&plan, &store, &files).unwrap();
    let error = write_archive(&image, &store, ArchiveForm::Compressed, &mut Vec::new(), &Silent).unwrap_err();
    assert!(error.to_string().contains("compressed form of layer `tool`"), "{error}");
}

#[test]
fn assembling_twice_agrees_and_a_changed_tree_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (plan, files) = sample(&store, 0);
    let reproduced = assemble_twice(&plan, &store, &files, &Silent).unwrap();
    let image = build(&plan, &store, &files).unwrap();
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(reproduced.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(), diff_ids);
    std::fs::write(image.layers[0].tree.join("usr/bin/sh"), "#!other").unwrap();
    for form in [ArchiveForm::Compressed, ArchiveForm::Uncompressed] {
        let error = write_archive(&image, &store, form, &mut Vec::new(), &Silent).unwrap_err();
        assert!(error.to_string().contains("changed") && error.hints()[0].contains("store verify"), "{error}");
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (plan, files) = sample(&store, 0);
    let diff_ids = |threads| {
        let effort = Effort { threads: NonZero::new(threads).unwrap(), reuse: Reuse::Nothing };
        let image = assemble_with(&plan, &store, &files, Converter::None, effort, &Silent).unwrap();
        image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>()
    };
    let expected = diff_ids(1);
    for threads in [2, 3, 16] {
        assert_eq!(diff_ids(threads), expected);
    }
}

#[test]
fn contradictions_name_both_sides() {
    let file = |content: &'static [u8]| Member::File("./usr/x", 0o644, content);
    let cases: [(&str, Member<'_>, Member<'_>, &[&str]); 7] = [
        ("other bytes", file(b"1"), file(b"2"), &["`/usr/x`", "a_1.0_all.deb", "b_1.0_all.deb", "another content"]),
        ("other mode", file(b"1"), Member::File("./usr/x", 0o755, b"1"), &["another content"]),
        ("file and folder", file(b"1"), Member::Folder("./usr/x/"), &["a file in a_1.0", "a folder in b_1.0"]),
        (
            "file and below",
            file(b"1"),
            Member::File("./usr/x/y", 0o644, b""),
            &["`/usr/x` is a file", "a folder in b_1.0"],
        ),
        ("link and file", Member::Symlink("./usr/x", "y"), file(b"1"), &["a link in a_1.0", "a file in b_1.0"]),
        (
            "link and below",
            Member::Symlink("./usr/x", "/etc"),
            Member::File("./usr/x/y", 0o644, b""),
            &["a link in a_1.0"],
        ),
        ("other targets", Member::Symlink("./usr/x", "y"), Member::Symlink("./usr/x", "z"), &["another content"]),
    ];
    for (case, one, other, parts) in cases {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let (a, b) = (Artifact::deb("a", &[one]), Artifact::deb("b", &[other]));
        let text = refused(&plan(vec![layer("base", &store, &[a.clone(), b.clone()])]), &store);
        assert!(parts.iter().all(|part| text.contains(part)), "{case}: {text}");
        // In two layers, the layers are named.
        let text = refused(&plan(vec![layer("low", &store, &[a]), layer("high", &store, &[b])]), &store);
        assert!(text.contains("/usr/x") && text.contains("`low`") && text.contains("`high`"), "{case}: {text}");
    }
}

#[test]
fn two_wheels_owning_one_path_are_refused_unless_they_agree() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let wheels = |content: &[u8]| {
        let one = Artifact::wheel("one", &[("shared/__init__.py", b"")]);
        plan(vec![layer("tool", &store, &[one, Artifact::wheel("two", &[("shared/__init__.py", content)])])])
    };
    build(&wheels(b""), &store, &no_files()).unwrap();
    let text = refused(&wheels(b"x"), &store);
    assert!(text.contains("one-1.0-py3-none-any.whl") && text.contains("two-1.0-py3-none-any.whl"), "{text}");
}

#[test]
fn hostile_members_are_refused_and_leave_nothing_outside() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let outside = folder.path().join("outside");
    let through = Member::Symlink("./x", outside.to_str().unwrap());
    let up = Member::Symlink("./x", "../../../../outside");
    for (case, members) in [
        ("through an absolute link", vec![through, Member::File("./x/evil", 0o644, b"")]),
        ("over the root by a link", vec![up, Member::File("./x/evil", 0o644, b"")]),
        ("hard link to nothing", vec![Member::Hardlink("./a", "./nothing")]),
        ("the same file twice", vec![Member::File("./a", 0o644, b"1"), Member::File("./a", 0o644, b"2")]),
    ] {
        let plan = plan(vec![layer("base", &store, &[Artifact::deb("evil", &members)])]);
        let text = refused(&plan, &store);
        assert!(text.contains("evil") || text.contains("refused"), "{case}: {text}");
        assert!(!outside.exists(), "{case}");
    }
    // Absolute and climbing names, which the tar library does not even write.
    for name in ["../evil", "/../evil", "a/../../evil"] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, std::io::empty()).unwrap();
        let mut archive = Artifact::archive("evil", "opt", &[]);
        archive.bytes = builder.into_inner().unwrap();
        archive.unpacking = Unpacking::Archive { folder: path("opt"), strip: 0, include: Vec::new() };
        let text = refused(&plan(vec![layer("base", &store, &[archive])]), &store);
        assert!(text.contains("evil"), "{name}: {text}");
    }
}

#[test]
fn changed_bytes_in_the_store_never_enter_an_image() {
    for make in [
        || Artifact::deb("a", &[Member::File("./usr/x", 0o644, b"content")]),
        || Artifact::wheel("a", &[("a/x.py", b"content")]),
        || Artifact::archive("a", "opt", &[Member::File("top/x", 0o644, b"content")]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let mut plan = plan(vec![layer("base", &store, &[make()])]);
        let artifact = plan.layers[0].content.artifacts[0].clone();
        let image = build(&plan, &store, &no_files()).unwrap();
        let measured = measure(&image, &Silent).unwrap();
        let blob = store.blob(&artifact.sha256).unwrap().unwrap();
        let sound = std::fs::read(&blob).unwrap();
        std::fs::set_permissions(&blob, std::fs::Permissions::from_mode(0o644)).unwrap();
        let again = Effort { reuse: Reuse::Nothing, ..Effort::default() };
        for expected in [None, Some(measured[0])] {
            plan.layers[0].expected = expected;
            let mut changed = 0;
            for at in (0..sound.len()).step_by(131) {
                let mut bytes = sound.clone();
                bytes[at] ^= 1;
                std::fs::write(&blob, bytes).unwrap();
                match assemble_with(&plan, &store, &no_files(), Converter::None, again, &Silent) {
                    // Bytes that readers pass over, such as times, need not be noticed where the layer is right.
                    Ok(found) => assert_eq!((found.id, expected.is_some()), (image.id, true)),
                    Err(error) => {
                        assert!(matches!(error, AssembleError::Artifact { .. }), "{error}");
                        assert!(error.hints()[0].contains("store verify"));
                        changed += 1;
                    }
                }
            }
            assert!(changed > 0, "{changed}");
        }
    }
}

#[test]
fn an_unjudged_script_stops_the_build() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut artifact = Artifact::deb("a", &[]);
    artifact.bytes = synthetic::deb("a", &[("postinst", "#!/bin/sh\n")], &[]);
    let text = refused(&plan(vec![layer("base", &store, &[artifact.clone()])]), &store);
    assert!(text.contains("package a has a `postinst` script that the lock does not know"), "{text}");
    let scripts = BTreeMap::from([("postinst".to_owned(), Digest::of(b"#!/bin/sh\n"))]);
    artifact.unpacking = Unpacking::Debian { package: "a".to_owned(), scripts };
    build(&plan(vec![layer("base", &store, &[artifact])]), &store, &no_files()).unwrap();
}

#[test]
fn missing_certificates_recipe_files_and_artifacts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut bundle = layer("base", &store, &[]);
    bundle.content.ca_bundle = true;
    assert!(refused(&plan(vec![bundle]), &store).contains("no certificates"));
    let (sample, _) = sample(&store, 0);
    assert!(refused(&sample, &store).contains("file `tool.toml` of the recipe cannot be read"));
    let mut missing = layer("base", &store, &[Artifact::deb("a", &[])]);
    missing.content.artifacts[0].sha256 = Digest::of(b"nowhere");
    assert!(refused(&plan(vec![missing]), &store).contains("a_1.0_all.deb"));
}

#[test]
fn a_missing_library_is_named_unless_the_recipe_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    // Any program of this machine that is linked dynamically.
    let program = std::fs::read("/bin/ls").unwrap();
    let artifact = Artifact::archive("tool", "opt", &[Member::File("top/ls", 0o755, &program)]);
    let mut layer = layer("tool", &store, &[artifact]);
    let text = refused(&plan(vec![layer.clone()]), &store);
    assert!(text.contains("libc.so.6 (for /opt/ls)"), "{text}");
    let names = text.lines().next().unwrap().split(": ").nth(1).unwrap();
    for name in names.split(", ").filter_map(|part| part.split(' ').next()) {
        layer.allow_missing.insert(name.to_owned(), "tested".to_owned());
    }
    build(&plan(vec![layer]), &store, &no_files()).unwrap();
}

#[test]
fn an_empty_image_has_a_layer_for_the_merged_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let image = build(&plan(vec![layer("base", &store, &[])]), &store, &no_files()).unwrap();
    // Four links, usr, its four folders, and the end of the stream.
    assert_eq!(image.layers[0].size, ByteSize::new(512 * (4 + 1 + 4 + 2)));
}
