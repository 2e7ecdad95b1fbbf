//! Programs run in an image: the conversion, a shell, and what an image needs once before its first use.
//!
//! Owns the shape of the exchange folder on the host, and the relay of events from the container. Must not decide what
//! is converted, nor judge the result.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use super::assemble::{AssembledImage, CONVERTER, cache_key};
use super::image::LoadableImage;
use crate::digest::Digest;
use crate::disk::{self, DiskError, Sharing};
use crate::engine::{
    Access, ContainerOutcome, ContainerRun, Engine, EngineError, Limits, Mount, Network, OutputLines, OutputStream,
    RunnableImage, Status, Terminal,
};
use crate::exchange::{self, ExchangeError, Order, Report};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::oci::ImageReference;
use crate::progress::{Event, Progress, Subject};
use crate::store::{Store, StoreError};
use crate::units::ByteSize;

/// The variable that says how many seconds one tool may run: on the host, and in the image for the converter there.
pub const TOOL_TIME_VARIABLE: &str = "MODELCONVERTER_TOOL_TIMEOUT";

/// A tool that takes longer hangs: the largest networks that a MyriadX can hold take minutes.
pub const TOOL_TIME: Duration = Duration::from_secs(2 * 60 * 60);

/// No report is longer.
const REPORT_LIMIT: ByteSize = ByteSize::new(64 << 20);

/// An image, and what runs it how.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The image.
    pub image: SessionImage<'a>,
    /// Where caches of images are.
    pub store: &'a Store,
    /// What runs it.
    pub engine: &'a dyn Engine,
    /// What the tools may use up.
    pub limits: Limits,
    /// How long one tool of a conversion may run.
    pub tool_time: Duration,
}

/// Which image is run.
#[derive(Clone, Copy)]
pub enum SessionImage<'a> {
    /// One that this program assembled.
    Assembled(&'a AssembledImage),
    /// One that only the container engine has, by its reference.
    Named(&'a str),
}

/// A run that did not come to a report.
#[derive(Debug, Error)]
pub enum DispatchError {
    /// The program could not be run.
    #[error("failed to run the image with the {engine} engine")]
    Engine {
        /// Which engine.
        engine: &'static str,
        /// Why.
        #[source]
        source: Box<EngineError>,
    },
    /// A file of the exchange cannot be read or written.
    #[error("failed to exchange files with the container")]
    Disk(#[from] DiskError),
    /// The store cannot be used.
    #[error("failed to use the store")]
    Store(#[from] StoreError),
    /// A path that is none inside an image.
    #[error("failed to name a place inside the image")]
    Path(#[from] ImagePathError),
    /// The image's own preparation failed.
    #[error("failed to prepare the image: its command ended with {end}")]
    Prepare {
        /// How it ended.
        end: String,
        /// The last lines it wrote.
        last_lines: Vec<String>,
    },
    /// The container ended without a report.
    #[error("the conversion ended without a report: {end}")]
    NoReport {
        /// How it ended.
        end: String,
        /// Whether memory was the reason.
        memory: bool,
        /// The last lines it wrote.
        last_lines: Vec<String>,
    },
    /// The report cannot be read.
    #[error("failed to read the report of the container")]
    Report(#[from] ExchangeError),
    /// Somebody stopped it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

impl Hint for DispatchError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Engine { source, .. } => source.hints(),
            Self::Disk(error) => error.hints(),
            Self::Store(error) => error.hints(),
            Self::Report(error) => error.hints(),
            Self::NoReport { memory: true, .. } => {
                vec!["raise `--memory`, or lower `rvc2.n_workers` so that less is compiled at once".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

impl DispatchError {
    /// Returns what the container wrote last, where that helps.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Prepare { last_lines, .. } | Self::NoReport { last_lines, .. } => last_lines,
            _ => &[],
        }
    }
}

/// Carries an order out in a container.
///
/// `folder` is a folder of the host that holds nothing yet; afterwards its folder `output` holds the result.
/// Lines of the container that are no events go to `noise`.
///
/// # Errors
/// There is no report. A report of a failure is no error here.
pub fn convert(
    session: &Session<'_>,
    order: &Order,
    mut mounts: Vec<Mount>,
    folder: &Path,
    listener: &dyn Listener,
) -> Result<Report, DispatchError> {
    disk::create_folder(&folder.join(exchange::OUTPUT))?;
    disk::write(&folder.join(exchange::ORDER), order.render().as_bytes())?;
    mounts.push(mount(folder, exchange::FOLDER, Access::Writable)?);
    mounts.extend(prepare(session, listener)?);
    let relay = Relay::new(listener);
    let program =
        vec![format!("/{CONVERTER}"), "inside".to_owned(), format!("{}/{}", exchange::FOLDER, exchange::ORDER)];
    let env = BTreeMap::from([(TOOL_TIME_VARIABLE.to_owned(), session.tool_time.as_secs().to_string())]);
    let outcome = run(session, program, env, mounts, Terminal::Piped, &relay)?;
    let report = disk::read_regular_if_exists(&folder.join(exchange::REPORT), REPORT_LIMIT)?;
    match (outcome.status, report) {
        (Status::Interrupted(signal), _) => Err(DispatchError::Interrupted(signal)),
        (_, Some(bytes)) => Ok(Report::parse(&bytes)?),
        (status, None) => Err(DispatchError::NoReport {
            end: described(status),
            memory: matches!(status, Status::KilledForMemory | Status::Signal(libc::SIGKILL)),
            last_lines: relay.last_lines().iter().map(|line| order.with_host_paths(line)).collect(),
        }),
    }
}

/// Runs a program with the terminal of this process; `folder` is seen as `/work`. Returns the program's exit code.
///
/// # Errors
/// The program could not be run.
pub fn shell(
    session: &Session<'_>,
    program: Vec<String>,
    folder: &Path,
    listener: &dyn Listener,
) -> Result<u8, DispatchError> {
    let mut mounts = vec![mount(folder, "work", Access::Writable)?];
    mounts.extend(prepare(session, listener)?);
    let relay = Relay::new(listener);
    let outcome = run(session, program, BTreeMap::new(), mounts, Terminal::Inherit, &relay)?;
    let code = match outcome.status {
        Status::Code(code) => code,
        // As a shell reports a signal.
        Status::Signal(signal) | Status::Interrupted(signal) => 128 + signal,
        Status::KilledForMemory => 128 + libc::SIGKILL,
    };
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Fills the image's cache folder, unless somebody did, and returns its mount.
fn prepare(session: &Session<'_>, listener: &dyn Listener) -> Result<Option<Mount>, DispatchError> {
    let SessionImage::Assembled(image) = session.image else { return Ok(None) };
    let Some(wanted) = &image.prepare else { return Ok(None) };
    let cache = session.store.cache(&cache_key(image.layers_identity(), wanted))?;
    let (files, marker) = (cache.join("files"), cache.join("complete"));
    if disk::metadata(&marker)?.is_none() {
        let _lock = disk::FileLock::wait(&cache.join("lock"), Sharing::Alone)?;
        if disk::metadata(&marker)?.is_none() {
            disk::remove_all(&files)?;
            disk::create_folder(&files)?;
            fill(session, &wanted.command, mount(&files, wanted.cache.as_str(), Access::Writable)?, listener)?;
            disk::write(&marker, b"")?;
        }
    }
    Ok(Some(mount(&files, wanted.cache.as_str(), Access::ReadOnly)?))
}

fn fill(session: &Session<'_>, command: &[String], cache: Mount, listener: &dyn Listener) -> Result<(), DispatchError> {
    let progress = listener.progress();
    let subject = Subject::Step("prepare the image, once".to_owned());
    progress.started(&subject, None);
    let relay = Relay::new(listener);
    // A limit that the user set for a conversion need not be enough for this.
    let session = Session { limits: Limits::default(), ..*session };
    let result =
        run(&session, command.to_vec(), BTreeMap::new(), vec![cache], Terminal::Piped, &relay).and_then(|outcome| {
            match outcome.status {
                Status::Code(0) => Ok(()),
                Status::Interrupted(signal) => Err(DispatchError::Interrupted(signal)),
                status => Err(DispatchError::Prepare { end: described(status), last_lines: relay.last_lines() }),
            }
        });
    progress.ended(&subject, &result);
    result
}

fn run(
    session: &Session<'_>,
    program: Vec<String>,
    env: BTreeMap<String, String>,
    mounts: Vec<Mount>,
    terminal: Terminal,
    relay: &Relay<'_>,
) -> Result<ContainerOutcome, DispatchError> {
    let loadable;
    let image = match session.image {
        SessionImage::Assembled(image) => {
            loadable = LoadableImage::new(image, session.store);
            RunnableImage {
                id: image.id,
                reference: ImageReference::of_toolchain(&image.toolchain).full(),
                trees: image.layers.iter().map(|layer| layer.tree.clone()).collect(),
                env: image.env.clone(),
                archive: Some(&loadable),
            }
        }
        SessionImage::Named(reference) => RunnableImage {
            id: Digest::of(reference.as_bytes()),
            reference: reference.to_owned(),
            trees: Vec::new(),
            env: Default::default(),
            archive: None,
        },
    };
    let run = ContainerRun {
        image,
        program,
        env,
        working_folder: if terminal == Terminal::Inherit { "work".parse()? } else { "tmp".parse()? },
        mounts,
        limits: session.limits,
        network: Network::None,
        terminal,
    };
    let failed = |source| DispatchError::Engine { engine: session.engine.name(), source: Box::new(source) };
    let outcome = session.engine.run(&run, relay).map_err(failed)?;
    for notice in &outcome.notices {
        relay.listener.notice(notice);
    }
    Ok(outcome)
}

fn mount(source: &Path, target: &str, access: Access) -> Result<Mount, ImagePathError> {
    Ok(Mount { source: source.to_owned(), target: target.parse::<ImagePath>()?, access })
}

fn described(status: Status) -> String {
    match status {
        Status::Code(code) => format!("exit code {code}"),
        Status::Signal(signal) | Status::Interrupted(signal) => format!("signal {signal}"),
        Status::KilledForMemory => "it was killed because it used more memory than allowed".to_owned(),
    }
}

/// Somebody who hears what goes on in a container.
pub trait Listener: Sync {
    /// Returns who hears of progress.
    fn progress(&self) -> &dyn Progress;

    /// Takes a line of the container that is no event.
    fn noise(&self, line: &str);

    /// Takes something that people should know.
    fn notice(&self, line: &str);
}

/// Tells events from noise, and keeps the last lines for errors.
struct Relay<'a> {
    listener: &'a dyn Listener,
    last: std::sync::Mutex<std::collections::VecDeque<String>>,
}

/// As many lines as fit on a screen beside the error.
const LAST_LINES: usize = 12;

impl<'a> Relay<'a> {
    fn new(listener: &'a dyn Listener) -> Self {
        Self { listener, last: Default::default() }
    }

    fn last_lines(&self) -> Vec<String> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().cloned().collect()
    }
}

impl OutputLines for Relay<'_> {
    fn line(&self, stream: OutputStream, line: &str) {
        if stream == OutputStream::Stdout
            && line.starts_with('{')
            && let Ok(event) = serde_json::from_str::<Event>(line)
        {
            self.listener.progress().tell(event);
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.to_owned());
        drop(last);
        self.listener.noise(line);
    }
}
