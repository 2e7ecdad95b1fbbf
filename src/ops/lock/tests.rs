use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::digest::DiffId;
use crate::fetch::FetchError;
use crate::lock::Pin;
use crate::python::metadata::Metadata;
use crate::python::name::ProjectName;
use crate::python::simple::IndexFile;
use crate::recipe::DebianSuite;
use crate::units::ByteSize;

const RECIPE: &str = r#"
    recipe = 1
    target = "rvc2"
    platform = "linux/amd64"
    default-version = "1.0"
    [debian]
    suite = [{ archive = "debian", suite = "bullseye", component = "main" }]
    [python]
    version = "3.9"
    glibc = "2.31"
    interpreter = "/usr/bin/python3.9"
    site-packages = "/usr/lib/python3/dist-packages"
    scripts = "/usr/bin"
    [[toolchain]]
    version = "1.0"
    [[toolchain.layer]]
    name = "base"
    debian = ["bash"]
    file = [{ from = "a", to = "/etc/a" }]
    [[toolchain.layer]]
    name = "vendor"
    pypi = ["tool"]
    [[toolchain.layer.archive]]
    file = "vendor.tgz"
    obtain = "ask the vendor"
    folder = "/opt"
"#;

/// Files that all have the same content.
struct Files(&'static [u8]);

impl RecipeFiles for Files {
    fn read(&self, _from: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }
}

/// Indexes in memory; counts what it is asked for.
#[derive(Default)]
struct Fake {
    /// Name, version, other fields, postinst.
    debian: Vec<(&'static str, &'static str, &'static str, &'static str)>,
    /// Packages that can be had although they are not listed.
    unlisted: Vec<(&'static str, &'static str, &'static str, &'static str)>,
    wheels: Vec<&'static str>,
    codename: &'static str,
    /// Further fields of every wheel's metadata.
    metadata: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn deb(&self, path: &str) -> Option<Vec<u8>> {
        let (name, version, fields, postinst) =
            self.debian.iter().chain(&self.unlisted).find(|(name, version, ..)| path == Self::path(name, version))?;
        let tar = |files: &[(&str, &str)]| {
            let mut builder = ::tar::Builder::new(Vec::new());
            for (name, content) in files.iter().filter(|(_, content)| !content.is_empty()) {
                let mut header = ::tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                header.set_mode(0o644);
                builder.append_data(&mut header, name, content.as_bytes()).unwrap();
            }
            builder.into_inner().unwrap()
        };
        let control = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}\n");
        let control = tar(&[("control", &control), ("postinst", postinst)]);
        let data = tar(&[("usr/x", name)]);
        let mut bytes = b"!<arch>\n".to_vec();
        for (member, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data)] {
            bytes.extend(format!("{member:<16}{:<32}{:<10}`\n", "", content.len()).bytes());
            bytes.extend_from_slice(content);
        }
        Some(bytes)
    }

    fn path(name: &str, version: &str) -> String {
        format!("pool/{name}_{version}_amd64.deb")
    }

    fn packages(&self) -> Vec<u8> {
        let stanza = |(name, version, fields, _): &(&str, &str, &str, &str)| {
            let path = Self::path(name, version);
            let bytes = self.deb(&path).unwrap();
            let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}Filename: {path}\nSize: {}\nSHA256: {}\n\n",
                bytes.len(),
                Digest::of(&bytes).hex()
            )
        };
        self.debian.iter().map(stanza).collect::<String>().into_bytes()
    }

    fn missing(what: &str) -> ObtainError {
        let source = FetchError::DocumentOffline { document: what.to_owned() };
        ObtainError::Fetch { what: what.to_owned(), source }
    }
}

impl Indexes for Fake {
    fn release(&self, _suite: &DebianSuite) -> Result<SignedText, ObtainError> {
        self.asked.lock().unwrap().push("release".to_owned());
        let packages = self.packages();
        let (length, digest) = (packages.len(), Digest::of(&packages).hex());
        let text = format!("Codename: {}\nSHA256:\n {digest} {length} main/binary-amd64/Packages.gz\n", self.codename);
        Ok(SignedText { text, signature: Signature::NotVerified { reason: "no keyring".to_owned() } })
    }

    fn index(&self, _suite: &DebianSuite, _path: &str, _pin: Pin) -> Result<Vec<u8>, ObtainError> {
        Ok(self.packages())
    }

    fn package(&self, _archive: &str, path: &str, pin: Pin) -> Result<Vec<u8>, ObtainError> {
        self.asked.lock().unwrap().push(path.to_owned());
        let bytes = self.deb(path).ok_or_else(|| Self::missing(path))?;
        assert_eq!(Digest::of(&bytes), pin.sha256);
        Ok(bytes)
    }

    fn files(&self, project: &ProjectName) -> Result<Vec<IndexFile>, ObtainError> {
        let names = self.wheels.iter().filter(|name| name.starts_with(project.as_str()));
        let file = |name: &&str| IndexFile {
            name: name.parse().unwrap(),
            url: String::new(),
            sha256: Some(Digest::of(name.as_bytes())),
            size: Some(ByteSize::new(7)),
            requires_python: None,
            yanked: None,
            has_metadata: false,
        };
        Ok(names.map(file).collect())
    }

    fn metadata(&self, project: &ProjectName, _file: &IndexFile) -> Result<Metadata, ObtainError> {
        Ok(format!("Name: {project}\nVersion: 1\n{}", self.metadata).parse().unwrap())
    }
}

fn fake() -> Fake {
    Fake {
        debian: vec![("bash", "5", "Depends: libc6 (>= 2)", ""), ("libc6", "2.1", "", "")],
        wheels: vec!["tool-1.0-py3-none-any.whl"],
        codename: "bullseye",
        ..Fake::default()
    }
}

fn run(old: Option<&Lock>, recipe: &str, moves: Moves, indexes: &Fake) -> Result<Resolved, LockingError> {
    let recipe: Recipe = recipe.parse().unwrap();
    resolve(old, &[RecipeWithFiles { recipe: &recipe, files: &Files(b"a") }], &moves, indexes)
}

fn ids(lock: &Lock) -> Vec<&str> {
    lock.artifacts().map(|artifact| artifact.id.as_str()).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[test]
fn a_recipe_becomes_a_lock_that_fits_it() {
    let resolved = run(None, RECIPE, Moves::None, &fake()).unwrap();
    assert_eq!(ids(&resolved.lock), ["bash_5_amd64", "libc6_2.1_amd64", "tool-1.0-py3-none-any", "vendor"]);
    assert_eq!(Lock::parse(&resolved.lock.render(None)).unwrap(), resolved.lock);
    assert_eq!(resolved.notes[0].to_string(), "index of debian bullseye: not verified: no keyring");
    let recipe: Recipe = RECIPE.parse().unwrap();
    let (same, other) = (Files(b"a"), Files(b"b"));
    let fits = check(&resolved.lock, &[RecipeWithFiles { recipe: &recipe, files: &same }]).unwrap();
    assert_eq!(fits, []);
    let stale = check(&resolved.lock, &[RecipeWithFiles { recipe: &recipe, files: &other }]).unwrap();
    assert!(matches!(stale[..], [Stale::Changed { .. }]), "{stale:?}");
    assert!(matches!(check(&resolved.lock, &[]).unwrap()[..], [Stale::Superfluous(_)]));
    // The vendor's archive has no pin, so that there is nothing to measure.
    assert_eq!(unmeasured(&resolved.lock).count(), 0);
}

#[test]
fn pins_stay_until_they_are_told_to_move() {
    let first = run(None, RECIPE, Moves::None, &fake()).unwrap().lock;
    let mut newer = fake();
    newer.debian = vec![("bash", "6", "Depends: libc6 (>= 2)", ""), ("libc6", "2.2", "", "")];
    newer.unlisted = fake().debian;
    newer.wheels.push("tool-2.0-py3-none-any.whl");

    assert_eq!(run(Some(&first), RECIPE, Moves::None, &newer).unwrap().lock, first);
    assert!(newer.asked.lock().unwrap().is_empty(), "a lock that fits needs no network");

    let changed = RECIPE.replace("\"bash\"", "\"bash\", \"libc6\"");
    let kept = run(Some(&first), &changed, Moves::None, &newer).unwrap();
    assert_eq!(ids(&kept.lock), ids(&first));

    let one = run(Some(&first), RECIPE, Moves::One("libc6".to_owned()), &newer).unwrap();
    assert_eq!(ids(&one.lock), ["bash_5_amd64", "libc6_2.2_amd64", "tool-1.0-py3-none-any", "vendor"]);
    let lines: Vec<String> = one.changes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["~ libc6: 2.1 -> 2.2"]);

    let all = run(Some(&first), RECIPE, Moves::All, &newer).unwrap();
    assert_eq!(ids(&all.lock), ["bash_6_amd64", "libc6_2.2_amd64", "tool-2.0-py3-none-any", "vendor"]);

    // An older version that is nowhere any more cannot stay, and people are told.
    newer.unlisted.clear();
    let moved = run(Some(&first), &changed, Moves::None, &newer).unwrap();
    assert_eq!(ids(&moved.lock), ["bash_6_amd64", "libc6_2.2_amd64", "tool-1.0-py3-none-any", "vendor"]);
    assert!(moved.notes.iter().any(|note| note.to_string().contains("libc6 2.1 could not be kept")));

    let error = run(Some(&first), RECIPE, Moves::One("zsh".to_owned()), &newer).unwrap_err();
    assert!(error.to_string().contains("`zsh`"), "{error}");
}

#[test]
fn unknown_scripts_stop_with_their_text_and_a_stanza_to_paste() {
    let mut indexes = fake();
    indexes.debian = vec![("bash", "5", "", "#!/bin/sh\nmake links\n"), ("libc6", "2.1", "", "")];
    let LockingError::Scripts { scripts } = run(None, RECIPE, Moves::None, &indexes).unwrap_err() else { panic!() };
    let text = scripts[0].to_string();
    assert!(text.contains("--- postinst of bash 5\n    #!/bin/sh\n    make links\n"), "{text}");
    let judged = format!("{RECIPE}\n{}", scripts[0].proposal());
    let resolved = run(None, &judged, Moves::None, &indexes).unwrap();
    // A script of the same name with other bytes is another script.
    indexes.debian[0].3 = "#!/bin/sh\nmake other links\n";
    assert!(matches!(run(Some(&resolved.lock), &judged, Moves::All, &indexes), Err(LockingError::Scripts { .. })));
    let withdrawn: Recipe = RECIPE.parse().unwrap();
    let stale = check(&resolved.lock, &[RecipeWithFiles { recipe: &withdrawn, files: &Files(b"a") }]).unwrap();
    assert!(matches!(stale[..], [Stale::Verdict { .. }]), "{stale:?}");
}

#[test]
fn failures_name_who_and_what() {
    for (from, to, part) in [
        ("\"bash\"", "\"basch\"", "there is no such package"),
        ("\"tool\"", "\"tools\"", "no such project"),
        ("\"tool\"", "\"tool>3\"", "layer `vendor` wants `tool>3`; there is 1.0"),
        ("glibc = \"2.31\"", "glibc = \"musl\"", "`musl` is no version of glibc 2"),
    ] {
        let error = run(None, &RECIPE.replace(from, to), Moves::None, &fake()).unwrap_err();
        assert!(chain(&error).contains(part), "{part}: {}", chain(&error));
    }
    let mut other = fake();
    other.codename = "trixie";
    let error = run(None, RECIPE, Moves::None, &other).unwrap_err();
    assert!(chain(&error).contains("its `InRelease` is of `trixie`"), "{}", chain(&error));
}

#[test]
fn bytes_are_filled_in_once_all_pins_are_there() {
    let pinned = RECIPE.replace("[[toolchain.layer.archive]]", "[[unused]]");
    let without_archive = pinned.split("[[unused]]").next().unwrap();
    let resolved = run(None, without_archive, Moves::None, &fake()).unwrap();
    let bytes = LayerBytes {
        diff_id: DiffId(Digest::of(b"tar")),
        size: ByteSize::new(1),
        compressed: Digest::of(b"gz"),
        compressed_size: ByteSize::new(1),
    };
    let measured = measure(&resolved.lock, |_, name| {
        assert_eq!(name.to_string(), "rvc2 1.0");
        Ok::<_, LockError>(vec![bytes; 2])
    })
    .unwrap();
    assert!(measured.toolchains()[0].layers.iter().all(|layer| layer.bytes == Some(bytes)));
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    unmeasured(&measured).for_each(|_| *counted.entry("unmeasured").or_default() += 1);
    assert!(counted.is_empty());
    // A newer package takes the bytes away again; the same packages keep them.
    let again = run(Some(&measured), without_archive, Moves::All, &fake()).unwrap();
    assert_eq!(again.lock, measured);
    let mut newer = fake();
    newer.debian.push(("libc6", "2.2", "", ""));
    let moved = run(Some(&measured), without_archive, Moves::All, &newer).unwrap();
    assert!(moved.lock.toolchains()[0].layers.iter().all(|layer| layer.bytes.is_none()));
}

#[test]
fn licences_of_wheels_come_from_the_recipe_then_from_the_wheel() {
    let own = |key: &str| {
        RECIPE.replace("[[toolchain]]", &format!("[python.licence]\n\"{key}\" = {{ licence = \"LicenseRef-Ours\", redistributable = false }}\n[[toolchain]]"))
    };
    for (recipe, metadata, licence, redistributable) in [
        (RECIPE.to_owned(), "", None, true),
        (RECIPE.to_owned(), "License: MIT\n", Some("MIT"), true),
        (RECIPE.to_owned(), "License: Proprietary - Vendor\n", Some("LicenseRef-Proprietary"), false),
        (own("tool"), "License: MIT\n", Some("LicenseRef-Ours"), false),
        (own("tool==1.0"), "License: MIT\n", Some("LicenseRef-Ours"), false),
        (own("tool==2.0"), "License: MIT\n", Some("MIT"), true),
    ] {
        let lock = run(None, &recipe, Moves::None, &Fake { metadata, ..fake() }).unwrap().lock;
        let wheel = lock.artifacts().find(|artifact| matches!(artifact.source, Source::Pypi { .. })).unwrap();
        assert_eq!((wheel.licence.as_deref(), wheel.redistributable), (licence, redistributable), "{metadata}");
    }
    let before = run(None, RECIPE, Moves::None, &fake()).unwrap().lock;
    let after = run(Some(&before), &own("tool"), Moves::None, &fake()).unwrap();
    let changes: Vec<String> = after.changes.iter().map(ToString::to_string).collect();
    let expected = "~ licence of tool-1.0-py3-none-any: unknown -> LicenseRef-Ours, not redistributable";
    assert!(changes.iter().any(|change| change == expected), "{changes:?}");
}

#[test]
fn toolchains_that_wait_for_files_are_named_with_them() {
    let lock = run(None, RECIPE, Moves::None, &fake()).unwrap().lock;
    let found: Vec<(String, String)> =
        waiting(&lock).map(|(name, files)| (name.to_string(), files[0].to_string())).collect();
    assert_eq!(found, [("rvc2 1.0".to_owned(), "vendor.tgz".to_owned())]);
    let id = lock.artifacts().find(|artifact| artifact.pin.is_none()).unwrap().id.clone();
    let pin = Pin { size: ByteSize::new(1), sha256: Digest::of(b"v") };
    assert_eq!(waiting(&lock.pinned(&id, pin)).count(), 0);
}
