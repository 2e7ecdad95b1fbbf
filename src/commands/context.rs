//! The environment, the working folder, the terminal and the location of the store, read once.
//!
//! The only place that reads environment variables; everything below gets values.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Global, dotenv};
use crate::defaults;
use crate::digest::Digest;
use crate::disk::{self, TemporaryFolder};
use crate::engine::docker::{Docker, Surroundings};
use crate::engine::embedded::Embedded;
use crate::engine::{ContainerOutcome, ContainerRun, Engine, EngineError, OutputLines};
use crate::fetch::{self, FetchOptions, Fetcher, Network};
use crate::hint::Hint;
use crate::name::ToolchainName;
use crate::ops::assemble::{self, AssembledImage, Converter, Effort};
use crate::ops::complete::CompleteError;
use crate::ops::dispatch::{TOOL_TIME, TOOL_TIME_VARIABLE};
use crate::ops::ready::{self, ReadyError, Workshop};
use crate::plan::convert::EngineChoice;
use crate::progress::Progress;
use crate::project::{Project, SETTINGS};
use crate::remote::{Remote, RemoteOptions, Variables};
use crate::sources::{Mirrors, Sources};
use crate::store::Store;
use crate::ui::{Bars, Colours, Failure, Kind, Motion, Printer};
use crate::units::ByteSize;

/// How much of what was downloaded is kept, and unless somebody says so.
const MOST_DOWNLOADS: &str = "MODELCONVERTER_CACHE_MAX_SIZE";
const DEFAULT_MOST_DOWNLOADS: &str = "50GiB";

/// What a command knows besides its arguments.
pub(super) struct Context {
    /// The only mouth.
    pub(super) printer: Printer,
    /// Progress for people.
    pub(super) bars: Arc<Bars>,
    /// Whether the network may be used.
    pub(super) network: Network,
    environment: BTreeMap<String, String>,
}

impl Context {
    /// Reads the process's surroundings.
    pub(super) fn new(global: &Global) -> Self {
        let mut environment: BTreeMap<String, String> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if let Ok(folder) = env::current_dir() {
            dotenv::add(&folder, &mut environment);
        }
        let set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let colours = if set("NO_COLOR") || is_dumb { Colours::Unwanted } else { global.colours() };
        let motion = if is_dumb { Motion::Still } else { Motion::Moving };
        let offline = global.offline || set("MODELCONVERTER_OFFLINE");
        Self {
            printer: Printer::new(global.verbosity(), global.form(), colours),
            bars: Arc::new(Bars::new(global.verbosity(), motion)),
            network: if offline { Network::Offline } else { Network::Online },
            environment,
        }
    }

    /// Begins the log for developers on standard error, if `MODELCONVERTER_LOG` says what to log (`debug`,
    /// `modelconverter::fetch=trace`); off by default.
    pub(super) fn begin_log(&self) {
        if let Some(filter) = self.variable("MODELCONVERTER_LOG") {
            let filter = tracing_subscriber::EnvFilter::new(filter);
            // A second log in one process would be a second call of `run`; the first one stays.
            let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        }
    }

    /// Returns an environment variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns how long one tool of a conversion may run.
    pub(super) fn tool_time(&self) -> Result<Duration, Failure> {
        let Some(text) = self.variable(TOOL_TIME_VARIABLE) else { return Ok(TOOL_TIME) };
        match text.parse::<u64>() {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            _ => {
                let message = format!("`{TOOL_TIME_VARIABLE}` must be a number of seconds above zero, found `{text}`");
                Err(Failure::new(Kind::Usage, message))
            }
        }
    }

    /// Returns the working folder.
    pub(super) fn working_folder(&self) -> Result<PathBuf, Failure> {
        env::current_dir().map_err(|error| {
            Failure::new(Kind::Environment, "failed to find the working folder").caused([error.to_string()])
        })
    }

    /// Returns the root of the store: `MODELCONVERTER_CACHE_DIR`, else `modelconverter` below the user's cache folder
    /// (XDG Base Directory specification).
    pub(super) fn store_root(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = self.variable("MODELCONVERTER_CACHE_DIR") {
            return Ok(PathBuf::from(folder));
        }
        if let Some(folder) = self.variable("XDG_CACHE_HOME").map(Path::new).filter(|folder| folder.is_absolute()) {
            return Ok(folder.join("modelconverter"));
        }
        let home = self.variable("HOME").ok_or_else(|| {
            Failure::new(Kind::Environment, "failed to find a folder for the store: HOME is not set")
                .hinted(["set MODELCONVERTER_CACHE_DIR to a folder with some room".to_owned()])
        })?;
        Ok(Path::new(home).join(".cache/modelconverter"))
    }

    /// Returns the folder for what goes away with this process.
    pub(super) fn temporary(&self) -> &Path {
        Path::new(self.variable("TMPDIR").unwrap_or("/tmp"))
    }

    /// Opens the project that the working folder is in.
    pub(super) fn project(&self) -> Result<Project, Failure> {
        Project::open(&self.working_folder()?).map_err(|error| Failure::of(Kind::Project, &error))
    }

    /// Opens the store.
    pub(super) fn store(&self) -> Result<Store, Failure> {
        Store::open(&self.store_root()?).map_err(|error| Failure::of(Kind::Environment, &error))
    }

    /// Makes the fetcher of a project: its mirrors, then the machine's settings, then the public defaults.
    pub(super) fn fetcher(&self, project: &Project) -> Result<Fetcher, Failure> {
        let wrong = |error| Failure::of(Kind::Project, &error);
        let mirrors = Mirrors::parse(project.settings().unwrap_or_default()).map_err(|error| {
            let failure = Failure::new(Kind::Project, format!("failed to read {SETTINGS}"));
            failure.caused([error.to_string()]).hinted(error.hints())
        })?;
        let machine = fetch::read_machine(Path::new("/"), &self.environment);
        let mut sources = Sources::settle(&mirrors, &machine, &defaults::mirrors()).map_err(wrong)?;
        sources.extra_packages = project.extra_packages();
        Ok(Fetcher::new(sources, FetchOptions { network: self.network, ..FetchOptions::default() }))
    }

    /// Returns who brings files of other machines and takes results there.
    pub(super) fn remote(&self) -> Remote<'_> {
        let names = ["AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST"];
        let is_meant = |(name, _): &(&String, &String)| names.iter().any(|start| name.starts_with(start));
        let variables = self.environment.iter().filter(is_meant);
        let options = RemoteOptions {
            folder: self.downloads(),
            most: self.most_downloads(),
            variables: Variables::new(variables.map(|(name, value)| (name.clone(), value.clone()))),
            home: self.variable("HOME").map(PathBuf::from),
            network: self.network,
            ..RemoteOptions::default()
        };
        Remote::new(options, self.progress())
    }

    /// Returns how much of what was downloaded is kept; nothing for all.
    fn most_downloads(&self) -> Option<ByteSize> {
        let text = self.variable(MOST_DOWNLOADS).unwrap_or(DEFAULT_MOST_DOWNLOADS);
        match text.parse::<ByteSize>() {
            Ok(most) => Some(most).filter(|most| most.bytes() > 0),
            Err(error) => {
                self.printer.warn(format!("{MOST_DOWNLOADS}: {error}; downloads are kept"));
                None
            }
        }
    }

    /// Returns the folder of what was downloaded from other machines; nothing where there is no place.
    pub(super) fn downloads(&self) -> Option<PathBuf> {
        if self.inside().is_some() && self.variable("MODELCONVERTER_CACHE_DIR").is_none() {
            // In an image nothing stays; and often nothing else can be written to.
            return Some(PathBuf::from("/tmp/modelconverter-downloads"));
        }
        Some(self.store_root().ok()?.join("remote"))
    }

    /// Makes the image of a toolchain ready to run.
    pub(super) fn image(
        &self,
        project: &Project,
        store: &Store,
        name: &ToolchainName,
    ) -> Result<AssembledImage, Failure> {
        let converter = self.program()?;
        let fetcher = self.fetcher(project)?;
        let workshop = Workshop { project, store, fetcher: &fetcher };
        let plan = ready::plan(project, name).map_err(ready_failure)?;
        ready::image(workshop, &plan, Converter::Program(&converter), Effort::default(), self.progress())
            .map_err(ready_failure)
    }

    /// Returns whether the image of a toolchain is in the store; one that cannot be planned is not. Makes no store.
    pub(super) fn has_image(&self, project: &Project, name: &ToolchainName) -> Result<bool, Failure> {
        let root = self.store_root()?;
        let folder = disk::metadata(&root).map_err(|error| Failure::of(Kind::Environment, &error))?;
        match (folder, ready::plan(project, name)) {
            (Some(_), Ok(plan)) => ready::is_assembled(project, &self.store()?, &plan).map_err(ready_failure),
            _ => Ok(false),
        }
    }

    /// Returns the engine that was chosen: by the arguments or the environment, by the project, or the embedded one.
    pub(super) fn engine(&self, chosen: Option<EngineChoice>, store: &Store) -> Result<Box<dyn Engine>, Failure> {
        Ok(match chosen.unwrap_or(EngineChoice::Embedded) {
            EngineChoice::Embedded => {
                let scratch = store.scratch().map_err(|error| Failure::of(Kind::Environment, &error))?;
                Box::new(EmbeddedInScratch { engine: Embedded::new(scratch.path()), _scratch: scratch })
            }
            EngineChoice::Docker => Box::new(self.docker()),
        })
    }

    /// Returns the first of these references that the container engine has.
    pub(super) fn named_image(&self, references: &[String]) -> Result<String, Failure> {
        let docker = self.docker();
        for reference in references {
            if docker.has_image(reference).map_err(|error| Failure::of(Kind::Environment, &error))? {
                return Ok(reference.clone());
            }
        }
        let message = format!("the container engine has no image {}", references.join(" or "));
        Err(Failure::new(Kind::Environment, message)
            .hinted(["leave out `--image` to use the image that the lock pins".to_owned()]))
    }

    fn docker(&self) -> Docker {
        let variable = |name: &str| self.variable(name).map(str::to_owned);
        Docker::new(Surroundings::read(variable)).with_progress(self.bars.clone())
    }

    /// Returns who hears of progress.
    pub(super) fn progress(&self) -> &dyn Progress {
        self.bars.as_ref()
    }

    /// Returns this program's own executable.
    pub(super) fn program(&self) -> Result<PathBuf, Failure> {
        env::current_exe().map_err(|error| {
            Failure::new(Kind::Environment, "failed to find the program's own executable").caused([error.to_string()])
        })
    }

    /// Returns the identity of the toolchain's layers of the image that this process runs in; nothing on a host.
    pub(super) fn image_id(&self) -> Option<Digest> {
        self.variable(assemble::LAYERS_VARIABLE)?.parse().ok()
    }

    /// Returns the toolchain of the image that this process runs in; nothing on a host.
    pub(super) fn inside(&self) -> Option<ToolchainName> {
        let (target, version) = self.variable(assemble::TOOLCHAIN_VARIABLE)?.split_once(' ')?;
        Some(ToolchainName { target: target.parse().ok()?, version: version.parse().ok()? })
    }
}

/// The embedded engine, and the folder it needs as long as it lives.
struct EmbeddedInScratch {
    engine: Embedded,
    _scratch: TemporaryFolder,
}

impl Engine for EmbeddedInScratch {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn run(&self, run: &ContainerRun<'_>, output: &dyn OutputLines) -> Result<ContainerOutcome, EngineError> {
        self.engine.run(run, output)
    }
}

/// Tells apart what the project and what the machine is to blame for.
pub(super) fn ready_failure(error: ReadyError) -> Failure {
    let kind = match error {
        ReadyError::Project(_) | ReadyError::Plan { .. } => Kind::Project,
        ReadyError::Assemble { ref source, .. } if source.is_about_the_project() => Kind::Project,
        ReadyError::Obtain { .. } | ReadyError::Assemble { .. } => Kind::Environment,
    };
    Failure::of(kind, &error)
}

/// The same for the images that a lock is completed with.
pub(super) fn complete_failure(error: CompleteError) -> Failure {
    match error {
        CompleteError::Ready(ReadyError::Assemble { ref source, .. }) if source.is_about_artifacts() => {
            Failure::of(Kind::Project, &error)
        }
        CompleteError::Ready(error) => ready_failure(error),
        CompleteError::Lock(_) => Failure::of(Kind::Internal, &error),
        CompleteError::Tools { .. } | CompleteError::NoTool { .. } => Failure::of(Kind::Project, &error),
        CompleteError::Image(_) | CompleteError::Disk { .. } => Failure::of(Kind::Environment, &error),
    }
}
