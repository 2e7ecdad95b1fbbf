//! The project: its lock, its recipes, its settings; or the built-in ones.
//!
//! Owns [`Project`]. A folder is a project if it, or a folder above it, has a `toolchains.toml`. A project without
//! recipes of its own for a target uses the built-in ones. Must not resolve, fetch or assemble anything.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::Digest;
use crate::disk::{self, DiskError};
use crate::hint::Hint;
use crate::lock::{Lock, LockError, Unknown};
use crate::name::{Target, ToolchainName, ToolchainVersion};
use crate::recipe::{Recipe, RecipeError, RecipeFiles};
use crate::units::ByteSize;

mod built_in {
    include!(concat!(env!("OUT_DIR"), "/built_in.rs"));
}

/// The name of the lock in a project's folder.
pub const LOCK: &str = "toolchains.toml";

/// The name of the settings in a project's folder.
pub const SETTINGS: &str = "modelconverter.toml";

/// Where people place archives by hand, below the project's folder or the working folder.
const EXTRA_PACKAGES: &str = "docker/extra_packages";

/// No document of a project is longer; whatever is longer is something else.
const DOCUMENT_LIMIT: ByteSize = ByteSize::new(64 << 20);

/// A lock, the recipes it was made from, and the settings beside it.
#[derive(Clone, Debug)]
pub struct Project {
    folder: Option<PathBuf>,
    /// Where people are: the folder that was opened.
    start: PathBuf,
    lock: Lock,
    lock_text: String,
    settings: Option<String>,
    recipes: BTreeMap<Target, RecipeFolder>,
}

/// A recipe and where its files are.
#[derive(Clone, Debug)]
pub struct RecipeFolder {
    recipe: Recipe,
    /// The folder on disk; nothing for a built-in recipe.
    folder: Option<PathBuf>,
}

/// A project that cannot be used.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// A file of the project cannot be read or written.
    #[error("failed to use the project")]
    Disk(#[from] DiskError),
    /// The lock is no lock.
    #[error("failed to read the lock {path}")]
    Lock {
        /// Which lock.
        path: String,
        /// Why.
        #[source]
        source: LockError,
    },
    /// A recipe is no recipe.
    #[error("failed to read the recipe {path}")]
    Recipe {
        /// Which recipe.
        path: String,
        /// Why.
        #[source]
        source: RecipeError,
    },
    /// A text of the project is no UTF-8.
    #[error("{path} is no UTF-8 text")]
    NoText {
        /// Which file.
        path: String,
    },
    /// A recipe names a file that is not in its folder.
    #[error("the recipe of {target} names the file `{from}`, which does not exist")]
    MissingFile {
        /// Whose recipe.
        target: Target,
        /// The path below the recipe's folder.
        from: String,
    },
    /// No recipe exists for a target.
    #[error("there is no toolchain for {0} yet")]
    NoRecipe(Target),
    /// The lock has no such toolchain.
    #[error("there is no toolchain {wanted}", wanted = .0.wanted)]
    Unknown(Unknown),
}

impl Hint for ProjectError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Lock { source, .. } => source.hints(),
            Self::Recipe { source, .. } => source.hints(),
            Self::Unknown(unknown) if !unknown.versions.is_empty() => {
                let versions: Vec<&str> = unknown.versions.iter().map(ToolchainVersion::as_str).collect();
                vec![format!("choose one of: {}", versions.join(", "))]
            }
            Self::NoRecipe(_) | Self::Unknown(_) => vec!["see `modelconverter toolchain list`".to_owned()],
            Self::NoText { .. } | Self::MissingFile { .. } => Vec::new(),
        }
    }
}

impl Project {
    /// Opens the project that `start` is in, or the built-in one.
    ///
    /// # Errors
    /// A lock or recipe that cannot be read or used.
    pub fn open(start: &Path) -> Result<Self, ProjectError> {
        let mut folder = None;
        for candidate in start.ancestors() {
            if disk::metadata(&candidate.join(LOCK))?.is_some() {
                folder = Some(candidate.to_owned());
                break;
            }
        }
        let (name, lock_text) = match &folder {
            Some(folder) => {
                let path = folder.join(LOCK);
                (path.display().to_string(), text(&path, disk::read(&path, DOCUMENT_LIMIT)?)?)
            }
            None => {
                let bytes = built_in_file(LOCK).unwrap_or_default();
                (format!("built-in {LOCK}"), text(Path::new(LOCK), bytes.to_vec())?)
            }
        };
        let lock = Lock::parse(&lock_text).map_err(|source| ProjectError::Lock { path: name, source })?;
        let settings_path = folder.as_deref().unwrap_or(start).join(SETTINGS);
        let settings = match disk::read_if_exists(&settings_path, DOCUMENT_LIMIT)? {
            Some(bytes) => Some(text(&settings_path, bytes)?),
            None => None,
        };
        let mut recipes = BTreeMap::new();
        for target in Target::ALL {
            if let Some(recipe) = RecipeFolder::open(folder.as_deref(), target)? {
                recipes.insert(target, recipe);
            }
        }
        Ok(Self { folder, start: start.to_owned(), lock, lock_text, settings, recipes })
    }

    /// Returns the project's folder; nothing where the built-in lock is used.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the folders in which people place archives by hand: of the project, then of where they are.
    pub fn extra_packages(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.folder.iter().map(|folder| folder.join(EXTRA_PACKAGES)).collect();
        folders.push(self.start.join(EXTRA_PACKAGES));
        folders.dedup();
        folders
    }

    /// Returns a path as people in this project's folder would type it.
    pub fn typed<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.start).unwrap_or(path)
    }

    /// Returns the lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Returns the text of the lock, comments included.
    pub fn lock_text(&self) -> &str {
        &self.lock_text
    }

    /// Returns the text of the project's settings, where there are any.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Returns all recipes, by target.
    pub fn recipes(&self) -> impl Iterator<Item = &RecipeFolder> {
        self.recipes.values()
    }

    /// Returns the recipe of a target.
    ///
    /// # Errors
    /// There is none.
    pub fn recipe(&self, target: Target) -> Result<&RecipeFolder, ProjectError> {
        self.recipes.get(&target).ok_or(ProjectError::NoRecipe(target))
    }

    /// Returns the name of a toolchain of the lock: of the version asked for, else of the recipe's default.
    ///
    /// # Errors
    /// There is none.
    pub fn toolchain(&self, target: Target, version: Option<&ToolchainVersion>) -> Result<ToolchainName, ProjectError> {
        let recipe = self.recipe(target)?;
        let version = version.unwrap_or(&recipe.recipe.default_version).clone();
        let name = ToolchainName { target, version };
        self.lock.toolchain(&name).map_err(ProjectError::Unknown)?;
        Ok(name)
    }

    /// Returns the same project with another lock.
    #[must_use]
    pub fn with_lock(&self, lock: &Lock) -> Self {
        Self { lock: lock.clone(), ..self.clone() }
    }

    /// Writes another lock, if its bytes differ, and returns whether they did. A project without a lock of its own
    /// gets one in `start`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_lock(&self, lock: &Lock, start: &Path) -> Result<Option<PathBuf>, ProjectError> {
        let rendered = lock.render(Some(&self.lock_text));
        if rendered == self.lock_text {
            return Ok(None);
        }
        let path = self.folder.as_deref().unwrap_or(start).join(LOCK);
        disk::write(&path, rendered.as_bytes())?;
        Ok(Some(path))
    }
}

impl RecipeFolder {
    fn open(project: Option<&Path>, target: Target) -> Result<Option<Self>, ProjectError> {
        let name = format!("images/{target}/recipe.toml");
        let own = project.map(|folder| folder.join("images").join(target.as_str()));
        if let Some(folder) = own {
            let path = folder.join("recipe.toml");
            if let Some(bytes) = disk::read_if_exists(&path, DOCUMENT_LIMIT)? {
                let recipe = parse(path.display().to_string(), &text(&path, bytes)?)?;
                return Ok(Some(Self { recipe, folder: Some(folder) }));
            }
        }
        let Some(bytes) = built_in_file(&name) else { return Ok(None) };
        let recipe = parse(format!("built-in {name}"), &text(Path::new(&name), bytes.to_vec())?)?;
        Ok(Some(Self { recipe, folder: None }))
    }

    /// Returns the recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the digest of everything that decides one toolchain's pins and layers; nothing for an unknown version.
    ///
    /// # Errors
    /// A file that the recipe names cannot be read.
    pub fn digest(&self, version: &ToolchainVersion) -> Result<Option<Digest>, ProjectError> {
        let Some(toolchain) = self.recipe.toolchain(version) else { return Ok(None) };
        self.recipe.digest(toolchain, |from| self.file(from)).map(Some)
    }

    /// Returns the bytes of a file below the recipe's folder.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub fn file(&self, from: &str) -> Result<Vec<u8>, ProjectError> {
        let target = self.recipe.target;
        let missing = || ProjectError::MissingFile { target, from: from.to_owned() };
        match &self.folder {
            Some(folder) => disk::read_if_exists(&folder.join(from), DOCUMENT_LIMIT)?.ok_or_else(missing),
            None => built_in_file(&format!("images/{target}/{from}")).map(<[u8]>::to_vec).ok_or_else(missing),
        }
    }
}

impl RecipeFiles for RecipeFolder {
    fn read(&self, from: &str) -> io::Result<Vec<u8>> {
        self.file(from).map_err(io::Error::other)
    }
}

fn parse(path: String, text: &str) -> Result<Recipe, ProjectError> {
    text.parse().map_err(|source| ProjectError::Recipe { path, source })
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, ProjectError> {
    String::from_utf8(bytes).map_err(|_| ProjectError::NoText { path: path.display().to_string() })
}

fn built_in_file(name: &str) -> Option<&'static [u8]> {
    built_in::FILES.iter().find(|(path, _)| *path == name).map(|(_, bytes)| *bytes)
}
