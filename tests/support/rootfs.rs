//! A small image made of the static busybox of this machine: as two layer trees, as their union, and as an archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use modelconverter::digest::Digest;
use modelconverter::engine::ImageArchive;
use modelconverter::units::ByteSize;

const APPLETS: [&str; 30] = [
    "sh", "true", "ls", "cat", "id", "touch", "mount", "umount", "ps", "mkdir", "env", "sleep", "nc", "unshare",
    "mknod", "chown", "chmod", "chroot", "tail", "head", "grep", "cut", "sort", "nproc", "stat", "ln", "kill", "wc",
    "pwd", "rm",
];

/// The image, below one folder.
pub struct Rootfs {
    folder: PathBuf,
}

impl Rootfs {
    /// Makes the image in an empty folder.
    pub fn build(folder: &Path) -> Self {
        let rootfs = Self { folder: folder.to_owned() };
        for name in ["low", "high"] {
            rootfs.fill(&rootfs.folder.join(name), name);
        }
        let merged = rootfs.folder.join("merged");
        for name in ["low", "high"] {
            rootfs.fill(&merged, name);
        }
        // What the engines make themselves, bubblewrap wants to find.
        for name in ["proc", "dev", "tmp", "run", "in", "out"] {
            fs::create_dir(merged.join(name)).unwrap();
        }
        rootfs
    }

    /// Takes the image that is in a folder already.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn fill(&self, tree: &Path, layer: &str) {
        let bin = tree.join("bin");
        let etc = tree.join("etc");
        for folder in [&bin, &etc, &tree.join("var")] {
            fs::create_dir_all(folder).unwrap();
        }
        match layer {
            "low" => {
                fs::copy(busybox(), bin.join("busybox")).unwrap();
                fs::write(etc.join("layer"), "low").unwrap();
                fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
                fs::write(etc.join("plain"), "no program").unwrap();
                let _ = fs::remove_file(tree.join("var/run"));
                symlink("/run", tree.join("var/run")).unwrap();
                // A program that would change the user, if that were possible.
                let other = tree.join("other-user/id");
                fs::create_dir(tree.join("other-user")).unwrap();
                fs::copy(busybox(), &other).unwrap();
                let _ = std::os::unix::fs::chown(&other, Some(12345), Some(12345));
                fs::set_permissions(&other, fs::Permissions::from_mode(0o6755)).unwrap();
            }
            _ => {
                fs::write(etc.join("layer"), "high").unwrap();
                for applet in APPLETS {
                    symlink("busybox", bin.join(applet)).unwrap();
                }
            }
        }
    }

    /// Returns the layers, lowest first.
    pub fn trees(&self) -> Vec<PathBuf> {
        vec![self.folder.join("low"), self.folder.join("high")]
    }

    /// Returns the union of the layers.
    pub fn merged(&self) -> PathBuf {
        self.folder.join("merged")
    }

    /// Returns every path with its length and mode, to see whether a run changed something.
    pub fn inventory(&self) -> BTreeMap<PathBuf, (u64, u32)> {
        let mut found = BTreeMap::new();
        let mut folders = self.trees();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, (metadata.len(), metadata.permissions().mode()));
            }
        }
        found
    }

    /// Returns the variables the image sets.
    pub fn env() -> BTreeMap<String, String> {
        BTreeMap::from([("PATH".to_owned(), "/bin".to_owned()), ("FROM_IMAGE".to_owned(), "yes".to_owned())])
    }

    /// Returns the same image for `docker load`, under the name `reference`.
    pub fn archive(&self, reference: &str) -> Archive {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for tree in self.trees() {
            let mut builder = tar::Builder::new(Vec::new());
            builder.follow_symlinks(false);
            builder.append_dir_all(".", tree).unwrap();
            let bytes = builder.into_inner().unwrap();
            diff_ids.push(Digest::of(&bytes).to_string());
            layers.push(bytes);
        }
        let env: Vec<String> = Self::env().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
            "os": "linux",
            "config": { "Env": env },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        Archive { reference: reference.to_owned(), id: Digest::of(&config), config, layers }
    }
}

/// An image as Docker loads it.
pub struct Archive {
    reference: String,
    /// The digest of the configuration.
    pub id: Digest,
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl ImageArchive for Archive {
    fn length(&self) -> Option<ByteSize> {
        None
    }

    fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut builder = tar::Builder::new(to);
        let mut append = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, bytes)
        };
        let names: Vec<String> = (0..self.layers.len()).map(|number| format!("{number}.tar")).collect();
        let manifest =
            serde_json::json!([{ "Config": "config.json", "RepoTags": [self.reference], "Layers": names }]).to_string();
        append("manifest.json", manifest.as_bytes())?;
        append("config.json", &self.config)?;
        for (name, bytes) in names.iter().zip(&self.layers) {
            append(name, bytes)?;
        }
        builder.finish()
    }
}

fn busybox() -> &'static Path {
    let path = Path::new("/bin/busybox");
    assert!(path.exists(), "these tests need a static busybox (Debian: apt-get install busybox-static)");
    path
}
