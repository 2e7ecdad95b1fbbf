//! Settings that say where each kind of artifact is fetched from.
//!
//! Owns the reading of the project's `[mirrors]` and of the machine's own settings (pip, apt), and [`Sources`], the
//! result: for each kind, bases in the order project, machine, built-in default. Must not read files or the environment
//! (see `fetch::machine`), and must not know any host (see `defaults`). Secrets in URLs never print.

pub mod apt;
mod base;
mod mirrors;
pub mod pip;
pub mod simple;

use std::collections::BTreeMap;
use std::path::PathBuf;

use thiserror::Error;

use crate::hint::Hint;

pub use base::{Base, Credentials, shown};
pub use mirrors::{FILE, Mirrors};
pub use pip::Pip;

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Settings that cannot be used. The values are not shown: they may hold secrets.
#[derive(Debug, Error)]
pub enum SourcesError {
    /// No TOML. The file is not quoted.
    #[error("settings are not well formed: line {line}: {reason}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What the reader expected.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key with the tables around it.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A value of the wrong type.
    #[error("`{key}` is not {expected}")]
    Shape {
        /// The key with the tables around it.
        key: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A base that cannot be one.
    #[error("`{key}` has an entry that is no http or https URL")]
    Url {
        /// The key with the tables around it.
        key: String,
    },
    /// A setting of pip that cannot be used.
    #[error("pip's setting `{key}` cannot be understood")]
    Pip {
        /// The setting, as pip's files name it.
        key: String,
    },
}

impl Hint for SourcesError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => vec![format!("did you mean `{nearest}`?")],
            Self::Pip { .. } => vec!["see what pip reads with `pip config debug`".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// The machine's own settings, as found in its files and its environment.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The environment.
    pub environment: Environment,
    /// pip's configuration files, the weakest first.
    pub pip_files: Vec<String>,
    /// apt's files of sources.
    pub apt_sources: Vec<(apt::Form, String)>,
    /// apt's configuration files, the weakest first.
    pub apt_files: Vec<String>,
    /// The files that hold registry credentials, the strongest first.
    pub registry_files: Vec<PathBuf>,
}

/// Where everything is fetched from, and how.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// For each kind, bases in order of preference.
    pub mirrors: Mirrors,
    /// pip's settings besides its indexes.
    pub pip: Pip,
    /// apt's proxies.
    pub apt_proxies: apt::Proxies,
    /// The files that hold registry credentials, the strongest first.
    pub registry_files: Vec<PathBuf>,
    /// Folders where people place files by hand.
    pub extra_packages: Vec<PathBuf>,
}

impl Sources {
    /// Settles where things come from: the project first, then the machine, then `defaults`.
    ///
    /// # Errors
    /// A setting of pip that cannot be understood.
    pub fn settle(project: &Mirrors, machine: &Machine, defaults: &Mirrors) -> Result<Self, SourcesError> {
        let pip = Pip::settle(machine.pip_files.iter().map(String::as_str), &machine.environment)?;
        let mut apt = BTreeMap::new();
        for (form, text) in &machine.apt_sources {
            apt::sources(text, *form, &mut apt);
        }
        let of_machine = Mirrors { debian: apt, pypi: pip.indexes.clone(), ..Mirrors::default() };
        let nothing = Vec::new();
        let chain = [project, &of_machine, defaults];
        let pypi = if pip.indexes_are_ignored { [&project.pypi, &nothing, &nothing] } else { chain.map(|m| &m.pypi) };
        let mirrors = Mirrors {
            debian: by_name(chain.map(|mirrors| &mirrors.debian)),
            pypi: distinct(pypi),
            https: by_name(chain.map(|mirrors| &mirrors.https)),
            oci: distinct(chain.map(|mirrors| &mirrors.oci)),
        };
        Ok(Self {
            mirrors,
            pip,
            apt_proxies: apt::Proxies::parse(machine.apt_files.iter().map(String::as_str)),
            registry_files: machine.registry_files.clone(),
            extra_packages: Vec::new(),
        })
    }
}

fn distinct<'a>(lists: impl IntoIterator<Item = &'a Vec<Base>>) -> Vec<Base> {
    let mut all = Vec::new();
    for base in lists.into_iter().flatten() {
        if !all.contains(base) {
            all.push(base.clone());
        }
    }
    all
}

fn by_name(maps: [&BTreeMap<String, Vec<Base>>; 3]) -> BTreeMap<String, Vec<Base>> {
    let names = maps.into_iter().flat_map(BTreeMap::keys);
    names.map(|name| (name.clone(), distinct(maps.iter().filter_map(|map| map.get(name))))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_comes_first_then_the_machine_then_the_defaults() {
        let project =
            Mirrors::parse("[mirrors]\ndebian = [\"https://project/debian\"]\npypi = [\"https://project/simple\"]\n")
                .unwrap();
        let defaults = Mirrors::parse(
            "[mirrors]\ndebian = [\"http://default/debian\"]\npypi = [\"https://default/simple\"]\n[mirrors.https]\nvendor = [\"https://v/\"]\n",
        )
        .unwrap();
        let machine = Machine {
            environment: [("PIP_INDEX_URL".to_owned(), "https://machine/simple".to_owned())].into(),
            apt_sources: vec![(
                apt::Form::Lines,
                "deb http://machine/debian x main\ndeb http://default/debian x main\n".to_owned(),
            )],
            ..Machine::default()
        };
        let texts = |bases: &[Base]| bases.iter().map(Base::to_string).collect::<Vec<_>>();
        let sources = Sources::settle(&project, &machine, &defaults).unwrap();
        assert_eq!(
            texts(&sources.mirrors.debian["debian"]),
            ["https://project/debian", "http://machine/debian", "http://default/debian"]
        );
        assert_eq!(
            texts(&sources.mirrors.pypi),
            ["https://project/simple", "https://machine/simple", "https://default/simple"]
        );
        assert_eq!(texts(&sources.mirrors.https["vendor"]), ["https://v/"]);

        let mut machine = machine;
        machine.environment.insert("PIP_NO_INDEX".to_owned(), "1".to_owned());
        let sources = Sources::settle(&project, &machine, &defaults).unwrap();
        assert_eq!(texts(&sources.mirrors.pypi), ["https://project/simple"]);
    }
}
