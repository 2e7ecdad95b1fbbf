//! Reading the machine's own settings: pip's and apt's files, and where registry credentials lie.

use std::path::{Path, PathBuf};

use crate::disk;
use crate::sources::{Environment, Machine, apt, pip};
use crate::units::ByteSize;

/// No file of settings is larger.
const LIMIT: ByteSize = ByteSize::new(1 << 20);

/// Reads the settings of the machine below `root` (`/` but in tests), for a process with this environment.
///
/// What does not exist or cannot be read is passed over: these files belong to others.
pub fn read(root: &Path, environment: &Environment) -> Machine {
    let text = |path: &Path| {
        let below = path.strip_prefix("/").map_or_else(|_| path.to_owned(), |path| root.join(path));
        disk::read(&below, LIMIT).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    };
    let folder = |path: &str| disk::list(&root.join(path)).unwrap_or_default();
    let mut apt_sources = Vec::new();
    apt_sources.extend(text(Path::new("/etc/apt/sources.list")).map(|text| (apt::Form::Lines, text)));
    for path in folder("etc/apt/sources.list.d") {
        let form = match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => apt::Form::Lines,
            Some("sources") => apt::Form::Paragraphs,
            _ => continue,
        };
        apt_sources.extend(read_text(&path).map(|text| (form, text)));
    }
    let mut apt_files: Vec<String> = folder("etc/apt/apt.conf.d").iter().filter_map(|path| read_text(path)).collect();
    apt_files.extend(text(Path::new("/etc/apt/apt.conf")));
    Machine {
        pip_files: pip::files(environment).iter().filter_map(|path| text(path)).collect(),
        apt_sources,
        apt_files,
        registry_files: registry_files(environment),
        environment: environment.clone(),
    }
}

fn read_text(path: &Path) -> Option<String> {
    disk::read(path, LIMIT).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Returns where Docker and Podman keep credentials, the strongest first.
fn registry_files(environment: &Environment) -> Vec<PathBuf> {
    let path = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("HOME");
    let mut files = Vec::new();
    files.extend(path("REGISTRY_AUTH_FILE"));
    let docker = path("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    files.extend(docker.map(|folder| folder.join("config.json")));
    files.extend(path("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")));
    let config = path("XDG_CONFIG_HOME").or_else(|| home.map(|home| home.join(".config")));
    files.extend(config.map(|folder| folder.join("containers/auth.json")));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_machine_are_found() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/apt/sources.list", "deb http://a/debian x main"),
            ("etc/apt/sources.list.d/b.sources", "Types: deb"),
            ("etc/apt/sources.list.d/c.list", "deb"),
            ("etc/apt/sources.list.d/d.save", "no"),
            ("etc/apt/apt.conf.d/10proxy", "x"),
            ("etc/pip.conf", "[global]"),
            ("home/a/.config/pip/pip.conf", "[install]"),
        ] {
            let path = root.path().join(path);
            disk::create_folder(path.parent().unwrap()).unwrap();
            disk::write(&path, text.as_bytes()).unwrap();
        }
        let environment = [("HOME".to_owned(), "/home/a".to_owned())].into();
        let machine = read(root.path(), &environment);
        assert_eq!(machine.pip_files, ["[global]", "[install]"]);
        assert_eq!(machine.apt_sources.len(), 3);
        assert_eq!(machine.apt_files, ["x"]);
        let expected = ["/home/a/.docker/config.json", "/home/a/.config/containers/auth.json"];
        assert_eq!(machine.registry_files, expected.map(PathBuf::from));
        assert!(read(&root.path().join("none"), &Environment::new()).apt_sources.is_empty());
    }
}
