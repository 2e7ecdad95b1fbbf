//! Running an image through an engine with Docker's API: Docker, rootless Docker, Podman.
//!
//! Owns the engine `docker`: finding the socket, handing an image over when the daemon lacks it, and one container for
//! each run, removed at its end (Docker Engine API, 1.41 and later). The container is confined as the embedded engine
//! confines it. Its files belong to the caller: a daemon that runs as root is told the caller's numbers, in a rootless
//! one root *is* the caller.
//!
//! Only SIGKILL of this process leaves a container behind: it carries the label `modelconverter.run`, and runs on.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as ApiMount, MountType, ResourcesUlimits,
};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, ImportImageOptions, InspectContainerOptions, KillContainerOptions,
    RemoveContainerOptions, ResizeContainerTTYOptions, StartContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use self::console::Console;
use super::interruption::Interruptions;
use super::lines::LineCutter;
use super::{
    Access, ContainerOutcome, ContainerRun, Engine, EngineError, ImageArchive, Network, OutputLines, OutputStream,
    Status, Terminal,
};
use crate::hint::Hint;
use crate::progress::{Progress, Silent, Subject};
use crate::units::ByteSize;

mod console;
mod sockets;

pub use sockets::Surroundings;

/// How long a daemon may take to say that it is there.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How often a daemon that says nothing is asked whether the container is still there.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

/// The client's limit for one answer, in seconds; a conversion may take hours, so it is no limit in practice.
const LONGEST_REQUEST: u64 = 7 * 24 * 3600;

/// How much of an archive is handed over at once, in bytes.
const PIECE: usize = 1 << 20;

/// The beginning of what the daemon's own first process prints when it cannot execute the program.
const INIT_FAILED: &str = "[FATAL tini";

/// The engine behind a socket.
#[derive(Clone)]
pub struct Docker {
    surroundings: Surroundings,
    progress: Arc<dyn Progress>,
}

/// A failure of the engine behind a socket.
#[derive(Debug, Error)]
pub enum DockerError {
    /// No daemon answered.
    #[error("no container engine answers at {}", tried.join(", "))]
    NoDaemon {
        /// The addresses tried.
        tried: Vec<String>,
        /// What the last of them said.
        #[source]
        source: Option<bollard::errors::Error>,
    },
    /// The image is neither at hand nor in the daemon.
    #[error("the container engine has no image {reference}")]
    ImageMissing {
        /// The image's name.
        reference: String,
    },
    /// The daemon did not take the image.
    #[error("image {reference} cannot be loaded into the container engine")]
    Load {
        /// The image's name.
        reference: String,
        /// Why not.
        source: bollard::errors::Error,
    },
    /// A request was refused.
    #[error("the container engine cannot {action}")]
    Request {
        /// What was asked.
        action: &'static str,
        /// What it said.
        source: bollard::errors::Error,
    },
    /// The container is gone, or over, and nobody was told.
    #[error("the container engine lost the container")]
    Lost,
    /// This process cannot listen.
    #[error("the container engine cannot be listened to")]
    Listen(#[source] io::Error),
}

impl Hint for DockerError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoDaemon { .. } => vec![
                "start Docker or Podman's socket, or name it in DOCKER_HOST".to_owned(),
                "or run without one: `--engine embedded`".to_owned(),
            ],
            Self::ImageMissing { .. } => {
                vec!["check the name with `docker images`, or leave `--image` away to build the image".to_owned()]
            }
            Self::Load { .. } => vec!["check the free space of the container engine: `docker system df`".to_owned()],
            Self::Lost => vec![
                "look at what the container engine logged; was it started twice, or the container removed?".to_owned(),
                "or run without one: `--engine embedded`".to_owned(),
            ],
            Self::Request { .. } | Self::Listen(_) => Vec::new(),
        }
    }
}

impl Docker {
    /// Makes an engine that looks for its daemon in `surroundings` when it is first needed.
    pub fn new(surroundings: Surroundings) -> Self {
        Self { surroundings, progress: Arc::new(Silent) }
    }

    /// Tells `progress` how the loading of an image goes on.
    #[must_use]
    pub fn with_progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    /// Whether the daemon has an image of this name.
    ///
    /// # Errors
    /// No daemon answers, or it refuses to say.
    pub fn has_image(&self, reference: &str) -> Result<bool, DockerError> {
        runtime()?.block_on(async {
            let client = self.connect().await?;
            Ok(find_image(&client, reference).await?.is_some())
        })
    }

    async fn connect(&self) -> Result<Client, DockerError> {
        let tried = self.surroundings.addresses();
        let mut last = None;
        for address in &tried {
            match answer(address).await {
                Ok(client) => return Ok(client),
                Err(error) => last = Some(error),
            }
        }
        Err(DockerError::NoDaemon { tried, source: last })
    }

    /// Runs, as long as nobody interrupts.
    async fn run_in(
        &self,
        run: &ContainerRun<'_>,
        output: &dyn OutputLines,
        client: &Client,
        image: Image,
        signals: &mut pipe::Receiver,
    ) -> Result<ContainerOutcome, EngineError> {
        let image = match image {
            Image::Arriving(pieces) => tokio::select! {
                loaded = self.load(client, run, pieces) => loaded?,
                signal = next_signal(signals) => return Ok(interrupted(signal)),
            },
            Image::Present(id) => id,
        };
        let body = describe(client, run, image).await?;
        let terminal = body.tty == Some(true);
        let created = client.create_container(None::<CreateContainerOptions>, body).await;
        let created = created.map_err(|source| DockerError::Request { action: "create a container", source })?;
        let result = follow(client, &created.id, run, output, terminal, signals).await;
        let removal = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        let removed = client.remove_container(&created.id, Some(removal)).await;
        let status = result?;
        removed.map_err(|source| DockerError::Request { action: "remove its container", source })?;
        Ok(ContainerOutcome { status, notices: created.warnings })
    }

    /// Hands the image over, and returns the name to run it by.
    async fn load(
        &self,
        client: &Client,
        run: &ContainerRun<'_>,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<String, DockerError> {
        let reference = run.image.reference.clone();
        let refused = |source| DockerError::Load { reference: run.image.reference.clone(), source };
        let subject = Subject::Image(reference.clone());
        self.progress.started(&subject, run.image.archive.and_then(ImageArchive::length));
        let progress = self.progress.clone();
        let told = subject.clone();
        let body = receive(pieces).inspect(move |piece| {
            if let Ok(piece) = piece {
                progress.advanced(&told, ByteSize::new(piece.len() as u64));
            }
        });
        let mut answers = client.import_image(ImportImageOptions::default(), bollard::body_try_stream(body), None);
        let mut result = Ok(());
        while let Some(answer) = answers.next().await {
            result = result.and(answer.map(drop));
        }
        self.progress.ended(&subject, &result);
        result.map_err(refused)?;
        // Engines that keep images as they came know them by the digest of the manifest, so the name must do.
        match find_image(client, &run.image.id.to_string()).await? {
            Some(id) => Ok(id),
            None => find_image(client, &reference).await?.ok_or(DockerError::ImageMissing { reference }),
        }
    }
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn run(&self, run: &ContainerRun<'_>, output: &dyn OutputLines) -> Result<ContainerOutcome, EngineError> {
        check_mounts(run)?;
        let interruptions = Interruptions::listen().map_err(DockerError::Listen)?;
        let runtime = runtime()?;
        let (client, image) = runtime.block_on(async {
            let client = self.connect().await?;
            let image = match run.image.archive {
                Some(_) => find_image(&client, &run.image.id.to_string()).await?,
                None => find_image(&client, &run.image.reference).await?,
            };
            Ok::<_, DockerError>((client, image))
        })?;
        std::thread::scope(|scope| {
            let image = match (image, run.image.archive) {
                (Some(id), _) => Image::Present(id),
                (None, Some(archive)) => {
                    let (sender, receiver) = mpsc::channel(4);
                    scope.spawn(move || send(archive, sender));
                    Image::Arriving(receiver)
                }
                (None, None) => {
                    return Err(DockerError::ImageMissing { reference: run.image.reference.clone() }.into());
                }
            };
            runtime.block_on(async {
                let received = interruptions.received.try_clone().map_err(DockerError::Listen)?;
                let mut signals =
                    pipe::Receiver::from_owned_fd(OwnedFd::from(received)).map_err(DockerError::Listen)?;
                self.run_in(run, output, &client, image, &mut signals).await
            })
        })
    }
}

/// Where the image of a run is.
enum Image {
    /// In the daemon, under this id.
    Present(String),
    /// Coming through this channel, as an archive.
    Arriving(mpsc::Receiver<io::Result<Bytes>>),
}

fn runtime() -> Result<tokio::runtime::Runtime, DockerError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DockerError::Listen)
}

async fn answer(address: &str) -> Result<Client, bollard::errors::Error> {
    let version = bollard::API_DEFAULT_VERSION;
    let client = match address.strip_prefix("unix://") {
        Some(path) => Client::connect_with_unix(path, LONGEST_REQUEST, version)?,
        None if address.starts_with("tcp://") || address.starts_with("http://") => {
            Client::connect_with_http(address, LONGEST_REQUEST, version)?
        }
        None => Client::connect_with_host(address)?,
    };
    match tokio::time::timeout(ANSWERS_WITHIN, client.negotiate_version()).await {
        Ok(client) => client,
        Err(_) => Err(bollard::errors::Error::RequestTimeoutError),
    }
}

/// Returns the id of an image known by a name or an id.
async fn find_image(client: &Client, name: &str) -> Result<Option<String>, DockerError> {
    match client.inspect_image(name).await {
        Ok(image) => Ok(Some(image.id.unwrap_or_else(|| name.to_owned()))),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(source) => Err(DockerError::Request { action: "look for an image", source }),
    }
}

fn check_mounts(run: &ContainerRun<'_>) -> Result<(), EngineError> {
    for mount in &run.mounts {
        mount.source.metadata().map_err(|source| EngineError::MountSource {
            source_path: mount.source.clone(),
            target: mount.target.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Writes the archive into the channel; ends early when nobody listens any more.
fn send(archive: &dyn ImageArchive, sender: mpsc::Sender<io::Result<Bytes>>) {
    struct Pieces(mpsc::Sender<io::Result<Bytes>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let piece = Bytes::copy_from_slice(bytes);
            self.0.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut pieces = io::BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
    if let Err(error) = archive.write_to(&mut pieces).and_then(|()| pieces.flush()) {
        let _ = sender.blocking_send(Err(error));
    }
}

fn receive(pieces: mpsc::Receiver<io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) })
}

/// Returns the container to make for `run`.
async fn describe(client: &Client, run: &ContainerRun<'_>, image: String) -> Result<ContainerCreateBody, EngineError> {
    let info = client.info().await;
    let info = info.map_err(|source| DockerError::Request { action: "describe itself", source })?;
    let security = info.security_options.unwrap_or_default();
    let has = |name: &str| security.iter().any(|option| option.split(',').any(|part| part == format!("name={name}")));
    let (uid, gid) = match has("rootless") {
        true => (0, 0),
        false => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
    };
    let mut mounts = Vec::with_capacity(run.mounts.len());
    for mount in &run.mounts {
        let source = mount.source.canonicalize().map_err(|source| EngineError::MountSource {
            source_path: mount.source.clone(),
            target: mount.target.clone(),
            source,
        })?;
        mounts.push(ApiMount {
            typ: Some(MountType::BIND),
            source: Some(source.display().to_string()),
            target: Some(format!("/{}", mount.target)),
            read_only: Some(mount.access == Access::ReadOnly),
            ..ApiMount::default()
        });
    }
    let memory = run.limits.memory.and_then(|memory| i64::try_from(memory.bytes()).ok());
    let temporary = memory.map_or_else(String::new, |bytes| format!(",size={bytes}"));
    // Some runtimes give a tmpfs the mode of the folder below it instead of the one asked for; the owner can write.
    let tmpfs = format!("rw,exec,nosuid,nodev,mode=1777,uid={uid},gid={gid}");
    let host = HostConfig {
        init: Some(true),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([
            ("/tmp".to_owned(), format!("{tmpfs}{temporary}")),
            ("/run".to_owned(), format!("{tmpfs},size=64m")),
        ])),
        mounts: Some(mounts),
        memory,
        memory_swap: memory,
        nano_cpus: run.limits.cpus.map(|cpus| (cpus * 1e9) as i64),
        network_mode: Some(match run.network {
            Network::None => "none".to_owned(),
            Network::Host => "host".to_owned(),
        }),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        // Files would belong to a stranger under user remapping; the container has no capabilities either way.
        userns_mode: has("userns").then(|| "host".to_owned()),
        shm_size: Some(memory.unwrap_or(1 << 30)),
        ulimits: Some(vec![ResourcesUlimits { name: Some("core".to_owned()), soft: Some(0), hard: Some(0) }]),
        // Output is read once, while it comes; the daemon need not keep it.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..HostConfig::default()
    };
    let shared = run.terminal == Terminal::Inherit;
    let (program, arguments) =
        run.program.split_first().map_or((None, &[][..]), |(program, rest)| (Some(program), rest));
    Ok(ContainerCreateBody {
        image: Some(image),
        hostname: (run.network == Network::None).then(|| "modelconverter".to_owned()),
        user: Some(format!("{uid}:{gid}")),
        entrypoint: program.map(|program| vec![program.clone()]),
        cmd: Some(arguments.to_vec()),
        env: Some(run.environment().iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: Some(format!("/{}", run.working_folder)),
        labels: Some(HashMap::from([("modelconverter.run".to_owned(), std::process::id().to_string())])),
        attach_stdin: Some(shared),
        open_stdin: Some(shared),
        stdin_once: Some(shared),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(shared && io::IsTerminal::is_terminal(&io::stdin()) && io::IsTerminal::is_terminal(&io::stdout())),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

/// Starts the container and stays with it to its end.
async fn follow(
    client: &Client,
    id: &str,
    run: &ContainerRun<'_>,
    output: &dyn OutputLines,
    terminal: bool,
    signals: &mut pipe::Receiver,
) -> Result<Status, EngineError> {
    let shared = run.terminal == Terminal::Inherit;
    let attach = AttachContainerOptions {
        stream: true,
        stdin: shared,
        stdout: true,
        stderr: true,
        ..AttachContainerOptions::default()
    };
    let attached = client.attach_container(id, Some(attach)).await;
    let attached = attached.map_err(|source| DockerError::Request { action: "attach to its container", source })?;
    let (mut lines, mut input) = (attached.output, attached.input);
    client.start_container(id, None::<StartContainerOptions>).await.map_err(|source| cannot_start(source, run))?;

    let console = terminal.then(Console::raw).flatten();
    if let Some((h, w)) = console.as_ref().map(Console::size) {
        // The program falls back to its own idea of the size.
        let _ = client.resize_container_tty(id, ResizeContainerTTYOptions { h, w }).await;
    }
    let (key_sender, mut keys) = mpsc::channel::<Vec<u8>>(16);
    let (stopped, stop) = console::stop().map_err(DockerError::Listen)?;
    let keyboard = shared.then(|| {
        std::thread::spawn(move || {
            console::read_keys(&stopped, |bytes| key_sender.blocking_send(bytes).is_ok());
        })
    });

    let mut listener = Listener::new(run, output);
    let mut wait = client.wait_container(id, None::<WaitContainerOptions>);
    let mut lost = std::pin::pin!(lost(client, id));
    let mut interruption = None;
    let mut keys_open = shared;
    let mut output_open = true;
    let mut ended = None;
    while output_open || ended.is_none() {
        tokio::select! {
            piece = lines.next(), if output_open => match piece {
                Some(Ok(piece)) => listener.take(&piece),
                Some(Err(_)) | None => output_open = false,
            },
            code = wait.next(), if ended.is_none() => ended = Some(exit_code(code)),
            () = &mut lost, if ended.is_none() => return Err(DockerError::Lost.into()),
            signal = next_signal(signals) => {
                let passed_on = if interruption.is_some() { libc::SIGKILL } else { signal };
                interruption.get_or_insert(signal);
                // It fails when the container is over already.
                let _ = client.kill_container(id, Some(KillContainerOptions { signal: passed_on.to_string() })).await;
            }
            bytes = keys.recv(), if keys_open => match bytes {
                Some(bytes) => keys_open = input.write_all(&bytes).await.and(input.flush().await).is_ok(),
                None => {
                    keys_open = false;
                    let _ = input.shutdown().await;
                }
            },
        }
    }
    drop((stop, console));
    if let Some(keyboard) = keyboard {
        // It was told to stop, and copies keys only.
        let _ = keyboard.join();
    }
    let init_failed = listener.finish();
    if let Some(signal) = interruption {
        return Ok(Status::Interrupted(signal));
    }
    let code =
        ended.unwrap_or(Ok(0)).map_err(|source| DockerError::Request { action: "wait for its container", source })?;
    if init_failed && matches!(code, 126 | 127) {
        return Err(program_error(run, code));
    }
    let state = client.inspect_container(id, None::<InspectContainerOptions>).await.ok().and_then(|found| found.state);
    let killed_for_memory = state.and_then(|state| state.oom_killed).unwrap_or(false);
    Ok(if killed_for_memory && code != 0 { Status::KilledForMemory } else { Status::Code(code as i32) })
}

/// Comes to an end when the engine twice in a row knows no such running container. One that ends is told of by then.
async fn lost(client: &Client, id: &str) {
    let mut before = false;
    loop {
        tokio::time::sleep(LOOKS_EVERY).await;
        let now = match client.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(found) => found.state.and_then(|state| state.running) == Some(false),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => true,
            Err(_) => false,
        };
        if before && now {
            return;
        }
        before = now;
    }
}

/// Where the output goes.
struct Listener<'a> {
    lines: Option<(LineCutter<'a>, LineCutter<'a>)>,
    init_failed: bool,
}

impl<'a> Listener<'a> {
    fn new(run: &ContainerRun<'_>, output: &'a dyn OutputLines) -> Self {
        let lines = (run.terminal == Terminal::Piped)
            .then(|| (LineCutter::new(OutputStream::Stdout, output), LineCutter::new(OutputStream::Stderr, output)));
        Self { lines, init_failed: false }
    }

    fn take(&mut self, piece: &LogOutput) {
        let (is_error, bytes) = match piece {
            LogOutput::StdErr { message } => (true, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                (false, message)
            }
        };
        self.init_failed |= is_error && bytes.starts_with(INIT_FAILED.as_bytes());
        match (&mut self.lines, is_error) {
            (Some((_, err)), true) => err.push(bytes),
            (Some((out, _)), false) => out.push(bytes),
            // A shell's own output: where nobody reads it, there is nobody to tell.
            (None, true) => drop(io::stderr().write_all(bytes)),
            (None, false) => {
                let mut stdout = io::stdout();
                drop(stdout.write_all(bytes).and_then(|()| stdout.flush()));
            }
        }
    }

    /// Returns whether the daemon's first process could not execute the program.
    fn finish(self) -> bool {
        if let Some((out, err)) = self.lines {
            out.finish();
            err.finish();
        }
        self.init_failed
    }
}

fn exit_code(
    answer: Option<Result<bollard::models::ContainerWaitResponse, bollard::errors::Error>>,
) -> Result<i64, bollard::errors::Error> {
    match answer {
        Some(Ok(answer)) => Ok(answer.status_code),
        // The client takes every code but zero for an error.
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(error),
        None => Err(bollard::errors::Error::RequestTimeoutError),
    }
}

/// Tells a missing program from a refused container.
fn cannot_start(source: bollard::errors::Error, run: &ContainerRun<'_>) -> EngineError {
    if let bollard::errors::Error::DockerResponseServerError { message, .. } = &source {
        if message.contains("executable file not found")
            || message.contains("exec: ") && message.contains("no such file")
        {
            return program_error(run, 127);
        }
        if message.contains("exec: ") && message.contains("permission denied") {
            return program_error(run, 126);
        }
    }
    DockerError::Request { action: "start its container", source }.into()
}

fn program_error(run: &ContainerRun<'_>, code: i64) -> EngineError {
    let program = run.program.first().cloned().unwrap_or_default();
    let reference = run.image.reference.clone();
    match code {
        127 => EngineError::ProgramNotFound { program, reference },
        _ => {
            EngineError::ProgramNotExecutable { program, reference, source: io::Error::from_raw_os_error(libc::EACCES) }
        }
    }
}

/// Waits for the next signal that this process is sent.
async fn next_signal(signals: &mut pipe::Receiver) -> i32 {
    loop {
        if signals.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
        let mut byte = [0];
        if matches!(signals.try_read(&mut byte), Ok(1)) {
            return i32::from(byte[0]);
        }
    }
}

fn interrupted(signal: i32) -> ContainerOutcome {
    ContainerOutcome { status: Status::Interrupted(signal), notices: Vec::new() }
}
