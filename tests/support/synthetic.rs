//! A small toolchain made for tests: packages, a wheel, a vendor's archive, recipe files, and the plan of their image.

#![allow(dead_code, reason = "each test binary uses another part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Write};
use std::path::Path;

use modelconverter::digest::Digest;
use modelconverter::image_path::ImagePath;
use modelconverter::lock::{Pin, Platform};
use modelconverter::name::ToolchainName;
use modelconverter::plan::image::{ImagePlan, LayerContent, LayerPlan, PlannedArtifact, Unpacking};
use modelconverter::recipe::{FileRecipe, RecipeFiles};
use modelconverter::store::Store;
use modelconverter::units::ByteSize;

/// A member of an archive.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    Folder(&'a str),
    File(&'a str, u32, &'a [u8]),
    Symlink(&'a str, &'a str),
    Hardlink(&'a str, &'a str),
}

/// Returns a tar of these members with times and owners that must not matter.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (index, member) in members.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_600_000_000 + index as u64);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mode(0o777);
        header.set_size(0);
        match *member {
            Member::Folder(path) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o700);
                builder.append_data(&mut header, path, io::empty()).unwrap();
            }
            Member::File(path, mode, content) => {
                header.set_size(content.len() as u64);
                header.set_mode(mode);
                builder.append_data(&mut header, path, content).unwrap();
            }
            Member::Symlink(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, target).unwrap();
            }
            Member::Hardlink(path, target) => {
                header.set_entry_type(tar::EntryType::Link);
                builder.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

/// Returns a Debian package.
pub fn deb(package: &str, scripts: &[(&str, &str)], members: &[Member<'_>]) -> Vec<u8> {
    let stanza = format!("Package: {package}\nVersion: 1.0\nArchitecture: all\nDescription: test\n");
    let mut control = vec![Member::File("./control", 0o644, stanza.as_bytes())];
    control.push(Member::File("./md5sums", 0o644, b"d41d8cd98f00b204e9800998ecf8427e  usr/share/doc/x\n"));
    control.extend(scripts.iter().map(|(name, text)| Member::File(name, 0o755, text.as_bytes())));
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar", tar(&control)), ("data.tar", tar(members))]
    {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len()).unwrap();
        bytes.extend(&content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Returns a pure wheel with these files.
pub fn wheel(project: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    use base64::Engine as _;
    let info = format!("{project}-1.0.dist-info");
    let mut members: Vec<(String, Vec<u8>)> =
        files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
    members
        .push((format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n").into()));
    members.push((format!("{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into()));
    members
        .push((format!("{info}/entry_points.txt"), format!("[console_scripts]\n{project} = {project}:main\n").into()));
    let mut record = String::new();
    for (path, content) in &members {
        let digest = hex::decode(Digest::of(content).hex()).unwrap();
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        record.push_str(&format!("{path},sha256={digest},{}\n", content.len()));
    }
    record.push_str(&format!("{info}/RECORD,,\n"));
    members.push((format!("{info}/RECORD"), record.into()));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in &members {
        zip.start_file(path.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// An artifact before it has an id.
#[derive(Clone)]
pub struct Artifact {
    pub id: String,
    pub file: String,
    pub bytes: Vec<u8>,
    pub unpacking: Unpacking,
}

impl Artifact {
    pub fn deb(package: &str, members: &[Member<'_>]) -> Self {
        let (scripts, package) = (BTreeMap::new(), package.to_owned());
        Self {
            id: package.clone(),
            file: format!("{package}_1.0_all.deb"),
            bytes: deb(&package, &[], members),
            unpacking: Unpacking::Debian { package, scripts },
        }
    }

    pub fn wheel(project: &str, files: &[(&str, &[u8])]) -> Self {
        let unpacking = Unpacking::Wheel {
            site_packages: path("usr/lib/python3/dist-packages"),
            scripts: path("usr/bin"),
            interpreter: path("usr/bin/python3.9"),
        };
        let file = format!("{project}-1.0-py3-none-any.whl");
        Self { id: project.to_owned(), file, bytes: wheel(project, files), unpacking }
    }

    pub fn archive(name: &str, folder: &str, members: &[Member<'_>]) -> Self {
        let unpacking = Unpacking::Archive { folder: path(folder), strip: 1, include: Vec::new() };
        Self { id: name.to_owned(), file: format!("{name}.tar"), bytes: tar(members), unpacking }
    }

    /// Puts the bytes into the store.
    pub fn planned(&self, store: &Store) -> PlannedArtifact {
        let pin = Pin { size: ByteSize::new(self.bytes.len() as u64), sha256: Digest::of(&self.bytes) };
        store.insert(&mut &self.bytes[..], pin).unwrap();
        PlannedArtifact {
            id: self.id.parse().unwrap(),
            file: self.file.parse().unwrap(),
            size: pin.size,
            sha256: pin.sha256,
            unpacking: self.unpacking.clone(),
        }
    }
}

pub fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

/// Returns a layer of nothing but these artifacts.
pub fn layer(name: &str, store: &Store, artifacts: &[Artifact]) -> LayerPlan {
    let content = LayerContent {
        artifacts: artifacts.iter().map(|artifact| artifact.planned(store)).collect(),
        files: Vec::new(),
        folders: BTreeSet::new(),
        links: BTreeMap::new(),
        exclude: Vec::new(),
        ca_bundle: false,
        lowest: false,
    };
    LayerPlan { name: name.parse().unwrap(), content, expected: None, allow_missing: BTreeMap::new() }
}

/// Returns an image of these layers.
pub fn plan(mut layers: Vec<LayerPlan>) -> ImagePlan {
    if let Some(lowest) = layers.first_mut() {
        lowest.content.lowest = true;
    }
    ImagePlan {
        toolchain: ToolchainName { target: "rvc2".parse().unwrap(), version: "1.0-test".parse().unwrap() },
        platform: Platform::LinuxAmd64,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]),
        prepare: None,
        layers,
        library_folders: Vec::new(),
        restricted: Vec::new(),
    }
}

/// The files of the recipe's folder.
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl RecipeFiles for Files {
    fn read(&self, from: &str) -> io::Result<Vec<u8>> {
        self.0.get(from).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

pub fn no_files() -> Files {
    Files(BTreeMap::new())
}

/// Returns a toolchain with something of everything, its artifacts in an order that `turn` decides.
pub fn sample(store: &Store, turn: usize) -> (ImagePlan, Files) {
    let long = format!("usr/share/{}/{}", "d".repeat(120), "n".repeat(120));
    let many: Vec<(String, Vec<u8>)> =
        (0..300).map(|index| (format!("usr/share/many/{index}"), vec![index as u8; index * 37])).collect();
    let mut members = vec![
        Member::Folder("./usr/share/many/"),
        Member::File("./usr/share/größe", 0o600, b"not ASCII"),
        Member::File(&long, 0o644, b"long"),
    ];
    members.extend(many.iter().map(|(path, content)| Member::File(path, 0o640, content)));
    let mut base = vec![
        Artifact::deb(
            "base-files",
            &[
                Member::Folder("./tmp/"),
                Member::File("./bin/sh", 0o4755, b"#!shell"),
                Member::Hardlink("./bin/rbash", "./bin/sh"),
                Member::Symlink("./bin/awk", "../usr/bin/mawk"),
                Member::File("./lib/x86_64-linux-gnu/libc.txt", 0o644, b"libc"),
                Member::Symlink("./lib64/ld.txt", "../lib/x86_64-linux-gnu/libc.txt"),
                Member::File("./usr/share/doc/base-files/changelog", 0o644, b"left out"),
            ],
        ),
        Artifact::deb(
            "ca-certificates",
            &[
                Member::File("./usr/share/ca-certificates/b.crt", 0o644, b"-----B-----\r\n"),
                Member::File("./usr/share/ca-certificates/a/a.crt", 0o644, b"-----A-----"),
                Member::File("./usr/share/same", 0o644, b"same"),
            ],
        ),
        Artifact::deb("many", &members),
        Artifact::deb("same", &[Member::File("./usr/share/same", 0o644, b"same")]),
    ];
    let big: Vec<u8> = (0..3_000_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    let mut tool = vec![
        Artifact::wheel("tool", &[("tool/__init__.py", b"def main(): pass\n"), ("tool/data.bin", &big)]),
        Artifact::archive(
            "vendor",
            "opt/vendor",
            &[Member::File("top/bin/run", 0o755, b"#!/bin/sh\n"), Member::Symlink("top/latest", "bin/run")],
        ),
    ];
    let (base_turn, tool_turn) = (turn % base.len(), turn % tool.len());
    base.rotate_left(base_turn);
    tool.rotate_left(tool_turn);
    let mut base = layer("base", store, &base);
    base.content.ca_bundle = true;
    base.content.exclude = vec!["usr/share/doc/**".to_owned()];
    base.content.folders = BTreeSet::from([path("exchange"), path("var/tmp")]);
    base.content.links = BTreeMap::from([(path("usr/bin/python3"), "python3.9".to_owned())]);
    let to = path("etc/tool.toml");
    base.content.files = vec![FileRecipe { from: "tool.toml".to_owned(), to, executable: false }];
    let files = Files(BTreeMap::from([("tool.toml".to_owned(), b"a = 1\n".to_vec())]));
    (plan(vec![base, layer("tool", store, &tool)]), files)
}

/// Writes something that stands for the converter's program.
pub fn converter(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("converter");
    std::fs::write(&path, "#!converter").unwrap();
    path
}
