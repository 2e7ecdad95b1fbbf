//! The engines, asked the same questions: what does a program inside see, reach, write and gain, and what is left of it?
//!
//! Every probe runs in the embedded engine as root (when the tests are), as an ordinary user, with hard links instead of
//! an overlay, through the container engine whose socket `MODELCONVERTER_TEST_DOCKER` names
//! (`tests/support/docker-engine` starts one), and in bubblewrap as an independent judge.
//!
//! An engine runs in a process of its own, so that it can be another user's, be interrupted and be killed: this very
//! test binary, started again for the test [`host_process`].

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use modelconverter::engine::docker::{Docker, Surroundings};
use modelconverter::engine::embedded::{Embedded, Union};
use modelconverter::engine::{
    Access, ContainerRun, Engine, EngineError, Limits, Mount, Network, OutputLines, OutputStream, RunnableImage,
    Status, Terminal,
};
use modelconverter::hint::Hint;
use modelconverter::units::ByteSize;
use serde::{Deserialize, Serialize};

#[path = "support/rootfs.rs"]
mod rootfs;

use rootfs::Rootfs;

/// Names the file with the [`Probe`] of a [`host_process`].
const PROBE: &str = "MODELCONVERTER_TEST_PROBE";
const DOCKER: &str = "MODELCONVERTER_TEST_DOCKER";
const REFERENCE: &str = "modelconverter/engine-test:1";
const NOBODY: u32 = 65534;

/// Who runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    EmbeddedRoot,
    EmbeddedUser,
    HardLinksUser,
    DockerRoot,
    DockerUser,
    BubblewrapUser,
}

use Place::{BubblewrapUser, DockerRoot, DockerUser, EmbeddedRoot, EmbeddedUser, HardLinksUser};

/// All places that the user of the tests can be in.
fn places() -> Vec<Place> {
    let all = [EmbeddedRoot, EmbeddedUser, HardLinksUser, DockerRoot, DockerUser, BubblewrapUser];
    all.into_iter().filter(|place| is_root() || !matches!(place, EmbeddedRoot | DockerRoot)).collect()
}

fn engines() -> Vec<Place> {
    places().into_iter().filter(|place| *place != BubblewrapUser).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Place {
    fn is_docker(self) -> bool {
        matches!(self, DockerRoot | DockerUser)
    }

    /// The user and group that the engine runs as.
    fn user(self) -> u32 {
        match self {
            EmbeddedRoot | DockerRoot => 0,
            _ if is_root() => NOBODY,
            _ => rustix::process::geteuid().as_raw(),
        }
    }
}

/// One run, as told to a [`host_process`].
#[derive(Clone, Serialize, Deserialize)]
struct Probe {
    place: Place,
    folder: PathBuf,
    program: Vec<String>,
    env: BTreeMap<String, String>,
    working_folder: String,
    /// Source, target, and whether it is writable.
    mounts: Vec<(PathBuf, String, bool)>,
    memory: Option<u64>,
    cpus: Option<f64>,
    host_network: bool,
    /// Whether the program gets the terminal of its engine.
    terminal: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// `code 7`, `signal 9`, `memory`, `interrupted 2`, or `error`.
    ended: String,
    exit_code: i32,
    message: String,
    hints: Vec<String>,
    notices: Vec<String>,
    out: Vec<String>,
    err: Vec<String>,
}

impl Answer {
    fn text(&self) -> String {
        self.out.join("\n")
    }
}

/// A rootfs, folders to mount, and the executables where every user can reach them.
struct Fixture {
    folder: tempfile::TempDir,
    rootfs: Rootfs,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("engine-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let rootfs = Rootfs::build(folder.path());
        for (name, original) in
            [("tests", std::env::current_exe().unwrap()), ("helper", env!("CARGO_BIN_EXE_modelconverter").into())]
        {
            let copy = folder.path().join(name);
            fs::hard_link(&original, &copy).or_else(|_| fs::copy(&original, &copy).map(drop)).unwrap();
        }
        for name in ["in", "scratch-0", &format!("scratch-{}", DockerUser.user())] {
            let _ = fs::create_dir(folder.path().join(name));
        }
        fs::write(folder.path().join("in/given"), "given").unwrap();
        let fixture = Self { folder, rootfs };
        for place in places() {
            fixture.give(&fixture.scratch(place), place);
            let out = fixture.out(place);
            fs::create_dir_all(&out).unwrap();
            fixture.give(&out, place);
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn scratch(&self, place: Place) -> PathBuf {
        self.path(&format!("scratch-{}", place.user()))
    }

    fn out(&self, place: Place) -> PathBuf {
        self.path(&format!("out-{place:?}"))
    }

    fn give(&self, path: &Path, place: Place) {
        if is_root() {
            std::os::unix::fs::chown(path, Some(place.user()), Some(place.user())).unwrap();
        }
    }

    fn script(&self, place: Place, script: &str) -> Probe {
        self.program(place, &["/bin/sh", "-c", script])
    }

    fn program(&self, place: Place, program: &[&str]) -> Probe {
        Probe {
            place,
            folder: self.folder.path().to_owned(),
            program: program.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            working_folder: "tmp".to_owned(),
            mounts: vec![(self.path("in"), "in".to_owned(), false), (self.out(place), "out".to_owned(), true)],
            memory: None,
            cpus: None,
            host_network: false,
            terminal: false,
        }
    }

    /// Runs the probe to its end.
    fn ask(&self, probe: &Probe) -> Answer {
        if probe.place == BubblewrapUser { self.ask_bubblewrap(probe) } else { self.start(probe, &[]).finish() }
    }

    /// Starts an engine in a process of its own, below the words of `wrapper`.
    fn start(&self, probe: &Probe, wrapper: &[&str]) -> Host {
        self.start_as(probe.place.user(), probe, wrapper)
    }

    fn start_as(&self, user: u32, probe: &Probe, wrapper: &[&str]) -> Host {
        if probe.place.is_docker() {
            docker_socket();
        }
        let mut file = tempfile::Builder::new().prefix("probe-").tempfile_in(self.folder.path()).unwrap();
        file.write_all(&serde_json::to_vec(probe).unwrap()).unwrap();
        let file = file.into_temp_path().keep().unwrap();
        let lines = file.with_extension("lines");
        fs::write(&lines, "").unwrap();
        for path in [&file, &lines] {
            self.give(path, probe.place);
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let answer = file.with_extension("answer");
        fs::write(&answer, "").unwrap();
        self.give(&answer, probe.place);

        let tests = self.path("tests");
        let words = [tests.to_str().unwrap(), "host_process", "--exact", "--nocapture", "--test-threads=1"];
        let words: Vec<&str> = wrapper.iter().copied().chain(words).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(PROBE, &file).stdin(Stdio::null()).stdout(Stdio::null());
        if is_root() && user != 0 {
            command.uid(user).gid(user);
        }
        Host { child: command.spawn().unwrap(), lines, answer }
    }

    fn ask_bubblewrap(&self, probe: &Probe) -> Answer {
        let mut command = Command::new("bwrap");
        command.args([
            "--unshare-all",
            "--unshare-user",
            "--disable-userns",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
        ]);
        command.args(["--uid", "0", "--gid", "0", "--clearenv", "--chdir", &format!("/{}", probe.working_folder)]);
        command.arg("--ro-bind").arg(self.rootfs.merged()).arg("/");
        command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run"]);
        command.args(["--remount-ro", "/dev", "--tmpfs", "/dev/shm"]);
        if probe.host_network {
            command.arg("--share-net");
        }
        for (source, target, writable) in &probe.mounts {
            command.arg(if *writable { "--bind" } else { "--ro-bind" }).arg(source).arg(format!("/{target}"));
        }
        for (name, value) in Rootfs::env().into_iter().chain([("HOME".into(), "/tmp".into())]).chain(probe.env.clone())
        {
            command.args(["--setenv", &name, &value]);
        }
        command.args(&probe.program);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        // SAFETY: umask has no preconditions.
        unsafe {
            command.pre_exec(|| {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
                Ok(())
            });
        }
        let output = command.output().expect("bubblewrap judges these tests (Debian: apt-get install bubblewrap)");
        let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
        let exit_code = output.status.code().unwrap_or(-1);
        Answer {
            ended: format!("code {exit_code}"),
            exit_code,
            out: lines(&output.stdout),
            err: lines(&output.stderr),
            ..Answer::default()
        }
    }
}

/// An engine at work in another process.
struct Host {
    child: Child,
    lines: PathBuf,
    answer: PathBuf,
}

impl Host {
    fn finish(mut self) -> Answer {
        let status = self.child.wait().unwrap();
        let text = fs::read(&self.answer).unwrap();
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("no answer ({error}): {status}"))
    }

    /// Waits until the program printed `line`.
    fn wait_for(&mut self, line: &str) {
        until(&format!("the program says `{line}`"), || {
            assert!(self.child.try_wait().unwrap().is_none(), "the engine ended before the program said `{line}`");
            fs::read_to_string(&self.lines).unwrap().lines().any(|said| said == line)
        });
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether any process of this machine has `word` among its arguments.
fn runs(word: &str) -> bool {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes
        .into_iter()
        .any(|arguments| arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

/// Not a test of its own: runs one engine for the others, when it is told to.
#[test]
fn host_process() {
    let Some(file) = std::env::var_os(PROBE).map(PathBuf::from) else { return };
    let probe: Probe = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let recorder = Recorder {
        lines: Mutex::new((
            fs::OpenOptions::new().append(true).open(file.with_extension("lines")).unwrap(),
            Vec::new(),
        )),
    };
    let scratch = probe.folder.join(format!("scratch-{}", probe.place.user()));
    let embedded = Embedded::new(&scratch).with_helper(&probe.folder.join("helper"));
    let engine: Box<dyn Engine> = match probe.place {
        EmbeddedRoot | EmbeddedUser => Box::new(embedded),
        HardLinksUser => Box::new(embedded.with_union(Union::HardLinks)),
        DockerRoot | DockerUser => Box::new(docker()),
        BubblewrapUser => unreachable!("bubblewrap is no engine"),
    };
    let rootfs = probe.folder.clone();
    let archive = probe.place.is_docker().then(|| Rootfs::at(&rootfs).archive(REFERENCE));
    let run = ContainerRun {
        image: RunnableImage {
            id: archive.as_ref().map_or(modelconverter::digest::Digest::of(b""), |archive| archive.id),
            reference: REFERENCE.to_owned(),
            trees: Rootfs::at(&rootfs).trees(),
            env: Rootfs::env(),
            archive: archive.as_ref().map(|archive| archive as _),
        },
        program: probe.program.clone(),
        env: probe.env.clone(),
        working_folder: probe.working_folder.parse().unwrap(),
        mounts: probe
            .mounts
            .iter()
            .map(|(source, target, writable)| Mount {
                source: source.clone(),
                target: target.parse().unwrap(),
                access: if *writable { Access::Writable } else { Access::ReadOnly },
            })
            .collect(),
        limits: Limits { memory: probe.memory.map(ByteSize::new), cpus: probe.cpus },
        network: if probe.host_network { Network::Host } else { Network::None },
        terminal: if probe.terminal { Terminal::Inherit } else { Terminal::Piped },
    };
    let mut answer = Answer::default();
    match engine.run(&run, &recorder) {
        Ok(outcome) => {
            answer.ended = match outcome.status {
                Status::Code(code) => format!("code {code}"),
                Status::Signal(signal) => format!("signal {signal}"),
                Status::KilledForMemory => "memory".to_owned(),
                Status::Interrupted(signal) => format!("interrupted {signal}"),
            };
            answer.exit_code = outcome.status.exit_code();
            answer.notices = outcome.notices;
        }
        Err(error) => {
            answer.ended = "error".to_owned();
            answer.exit_code = error.exit_code().map_or(-1, i32::from);
            answer.hints = error.hints();
            answer.message = chain(&error);
        }
    }
    for (stream, line) in recorder.lines.into_inner().unwrap().1 {
        match stream {
            OutputStream::Stdout => answer.out.push(line),
            OutputStream::Stderr => answer.err.push(line),
        }
    }
    fs::write(file.with_extension("answer"), serde_json::to_vec(&answer).unwrap()).unwrap();
    std::process::exit(0);
}

fn chain(error: &EngineError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn docker_socket() -> String {
    std::env::var(DOCKER).unwrap_or_else(|_| {
        panic!("{DOCKER} is not set; start a container engine with: export {DOCKER}=$(tests/support/docker-engine)")
    })
}

fn docker() -> Docker {
    Docker::new(Surroundings { docker_host: Some(format!("unix://{}", docker_socket())), ..Surroundings::default() })
}

struct Recorder {
    lines: Mutex<(fs::File, Vec<(OutputStream, String)>)>,
}

impl OutputLines for Recorder {
    fn line(&self, stream: OutputStream, line: &str) {
        let mut lines = self.lines.lock().unwrap();
        writeln!(lines.0, "{line}").unwrap();
        lines.1.push((stream, line.to_owned()));
    }
}

#[test]
fn the_layers_are_one_root() {
    let fixture = Fixture::new();
    for place in places() {
        let answer = fixture.ask(&fixture.script(place, "cat /etc/layer; echo; cat /in/given; echo; pwd; id -u"));
        let user = if place == DockerUser { place.user() } else { 0 }.to_string();
        assert_eq!(answer.out, ["high", "given", "/tmp", &user], "{place:?}: {answer:?}");
    }
}

#[test]
fn other_processes_are_not_seen() {
    let fixture = Fixture::new();
    let marker = format!("4242.{}", std::process::id());
    let mut sleeper = Sleeper(Command::new("sleep").arg(&marker).stdout(Stdio::null()).spawn().unwrap());
    for place in places() {
        let answer = fixture.ask(
            &fixture.script(place, "for p in /proc/[0-9]*; do cat $p/cmdline 2>/dev/null; echo; done; kill -9 -1"),
        );
        assert!(!answer.text().contains(&marker), "{place:?}: {answer:?}");
        assert!(answer.out.len() <= 4, "{place:?}: {answer:?}");
        let processes = fixture.ask(&fixture.script(place, "echo $$"));
        assert_ne!(processes.out, ["1"], "{place:?}: PID 1 is a first process that passes signals on");
    }
    assert!(sleeper.0.try_wait().unwrap().is_none(), "a process inside killed one outside");
}

/// A process that ends with its test, also with one that fails.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn the_network_is_reached_only_when_asked() {
    let fixture = Fixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let script = format!("tail -n +3 /proc/net/dev | cut -d: -f1; nc -w 3 127.0.0.1 {port} </dev/null && echo reached");
    for place in places() {
        let answer = fixture.ask(&fixture.script(place, &script));
        let seen: Vec<&str> = answer.out.iter().map(|line| line.trim()).collect();
        assert!(!seen.contains(&"reached"), "{place:?}: {answer:?}");
        // Tunnels that the kernel puts into every new network namespace are down and lead nowhere.
        let foreign = ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];
        assert!(seen.iter().all(|name| *name == "lo" || foreign.contains(name)), "{place:?}: {answer:?}");
        let answer = fixture.ask(&Probe { host_network: true, ..fixture.script(place, &script) });
        assert_eq!(answer.out.last().map(String::as_str), Some("reached"), "{place:?}: {answer:?}");
    }
}

#[test]
fn only_the_given_places_can_be_written() {
    let fixture = Fixture::new();
    let before = fixture.rootfs.inventory();
    let script = "for d in / /bin /etc /in /dev /dev/pts /proc /proc/sys/kernel /var /home /usr /lib /mnt; do
            touch $d/new 2>/dev/null && echo wrote $d/new; done
        for f in /etc/layer /in/given /bin/busybox /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern \
                /proc/sysrq-trigger /proc/sys/vm/drop_caches; do
            (echo > $f) 2>/dev/null && echo wrote $f; done
        rm /etc/layer 2>/dev/null && echo removed
        chmod 777 /bin/busybox 2>/dev/null && echo changed
        for d in /tmp /run /dev/shm /out; do touch $d/new || echo not $d; done";
    for place in places() {
        // The kernel's pattern is the machine's own; nothing may be able to change it.
        let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap();
        let probe = fixture.script(place, script);
        let answer = fixture.ask(&probe);
        let mut wrote = answer.out.clone();
        // Docker's root owns the container's own /dev, a tmpfs.
        wrote.retain(|line| !(place == DockerRoot && line == "wrote /dev/new"));
        assert_eq!(wrote, Vec::<String>::new(), "{place:?}: {answer:?}");
        assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern, "{place:?}");
        assert!(fixture.out(place).join("new").exists(), "{place:?}");
        assert!(!fixture.path("in/new").exists(), "{place:?}");
    }
    assert_eq!(fixture.rootfs.inventory(), before, "the layers are as they were");
}

#[test]
fn no_privilege_is_there_or_can_be_gained() {
    let fixture = Fixture::new();
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status
        mount -t tmpfs none /tmp 2>/dev/null && echo mounted
        mount -o remount,rw / 2>/dev/null && echo remounted
        umount /proc 2>/dev/null && echo unmounted
        unshare -U true 2>/dev/null && echo user namespace
        unshare -m true 2>/dev/null && echo mount namespace
        mknod /tmp/disk b 8 0 2>/dev/null && echo device
        chown 1:1 /out 2>/dev/null && echo owner changed
        chroot /tmp true 2>/dev/null && echo root changed
        touch /tmp/a && chmod 4755 /tmp/a
        test \"$(/other-user/id -u)\" = \"$(id -u)\" || echo user changed
        cat /proc/1/environ 2>/dev/null | grep -q . && echo environment read
        ls /proc/1/root/ 2>/dev/null | grep -qx boot && echo host root";
    for place in places() {
        let answer = fixture.ask(&fixture.script(place, script));
        let mut expected: Vec<String> =
            ["Inh", "Prm", "Eff", "Bnd", "Amb"].iter().map(|set| format!("Cap{set}:\t0000000000000000")).collect();
        expected.push("NoNewPrivs:\t1".to_owned());
        let mut out = answer.out.clone();
        if place == BubblewrapUser || place.is_docker() {
            // They hide less of their first process than we ask of ourselves.
            out.retain(|line| line != "environment read");
        }
        assert_eq!(out, expected, "{place:?}: {answer:?}");
    }
}

#[test]
fn status_and_output_come_through() {
    let fixture = Fixture::new();
    for place in places() {
        for (script, exit_code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)] {
            let answer = fixture.ask(&fixture.script(place, script));
            assert_eq!(answer.exit_code, exit_code, "{place:?} {script}: {answer:?}");
        }
        let answer = fixture.ask(&fixture.script(place, "echo one; echo two >&2; echo three; printf four >&2"));
        assert_eq!(
            (answer.out, answer.err),
            (vec!["one".into(), "three".into()], vec!["two".into(), "four".to_owned()])
        );
        let answer = fixture.ask(&fixture.script(place, "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"));
        assert_eq!(answer.out.len(), 3000, "{place:?}");
        assert_eq!(answer.out.last().map(String::as_str), Some("2999"), "{place:?}");
    }
}

#[test]
fn missing_and_broken_programs_are_named() {
    let fixture = Fixture::new();
    for place in engines() {
        for (program, exit_code) in [("/bin/missing", 127), ("/etc/plain", 126), ("/etc", 126)] {
            let answer = fixture.ask(&fixture.program(place, &[program]));
            assert_eq!(
                (answer.ended.as_str(), answer.exit_code),
                ("error", exit_code),
                "{place:?} {program}: {answer:?}"
            );
            assert!(answer.message.contains(program) && answer.message.contains(REFERENCE), "{place:?}: {answer:?}");
        }
    }
}

#[test]
fn mounts_are_made_where_they_are_asked_for() {
    let fixture = Fixture::new();
    for place in engines() {
        let (given, out) = (fixture.path("in"), fixture.out(place));
        let mounts = vec![
            (out.clone(), "not/there/yet".to_owned(), true),
            (given.join("given"), "etc/a-file".to_owned(), false),
            (given.clone(), "var/run/inside".to_owned(), false),
        ];
        let script = "cat /etc/a-file /var/run/inside/given /run/inside/given; touch /not/there/yet/made; pwd";
        let probe = Probe { mounts, working_folder: "work/here".to_owned(), ..fixture.script(place, script) };
        let answer = fixture.ask(&probe);
        assert_eq!(answer.out, ["givengivengiven/work/here"], "{place:?}: {answer:?}");
        assert!(out.join("made").exists(), "{place:?}");

        let mounts = vec![(fixture.path("nowhere"), "in".to_owned(), false)];
        let answer = fixture.ask(&Probe { mounts, ..fixture.script(place, "true") });
        assert_eq!(answer.ended, "error", "{place:?}");
        assert!(answer.message.contains("nowhere") && answer.message.contains("/in"), "{place:?}: {answer:?}");
    }
}

#[test]
fn a_read_only_mount_is_read_only_all_the_way_down() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("in/below")).unwrap();
    let mount = format!(
        "mount -t tmpfs none {0} && chmod 777 {0} && exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups \"${{@:2}}\"",
        fixture.path("in/below").display()
    );
    for place in [EmbeddedRoot, EmbeddedUser] {
        let user = place.user().to_string();
        let probe = fixture.script(place, "ls -d /in/below && touch /in/below/new");
        // The host process starts as root, mounts in a namespace of its own, and becomes the user then.
        let wrapper = ["unshare", "-m", "bash", "-c", &mount, "bash", &user];
        let answer = fixture.start_as(0, &probe, &wrapper).finish();
        assert_eq!(answer.ended, "code 1", "{place:?}: {answer:?}");
        assert!(answer.err.join(" ").contains("Read-only file system"), "{place:?}: {answer:?}");
    }
}

#[test]
fn the_environment_is_exactly_the_given_one() {
    let fixture = Fixture::new();
    for place in places() {
        let env =
            BTreeMap::from([("GIVEN".to_owned(), "a b=ü\n".to_owned()), ("FROM_IMAGE".to_owned(), "no".to_owned())]);
        let answer = fixture.ask(&Probe { env, ..fixture.program(place, &["/bin/env"]) });
        let seen: BTreeSet<&str> = answer
            .out
            .iter()
            .map(String::as_str)
            .filter(|line| {
                // Docker sets its own host name, bubblewrap the folder; no engine of ours may do either.
                !(place.is_docker() && line.starts_with("HOSTNAME=")
                    || place == BubblewrapUser && line.starts_with("PWD="))
            })
            .collect();
        let expected = BTreeSet::from(["FROM_IMAGE=no", "GIVEN=a b=ü", "", "HOME=/tmp", "PATH=/bin"]);
        assert_eq!(seen, expected, "{place:?}");
    }
}

#[test]
fn output_belongs_to_the_caller() {
    let fixture = Fixture::new();
    for place in places() {
        let answer =
            fixture.ask(&fixture.script(place, "mkdir /out/folder && echo x > /out/folder/file; cd; pwd; touch here"));
        assert_eq!((answer.exit_code, answer.text().as_str()), (0, "/tmp"), "{place:?}: {answer:?}");
        for (name, mode) in [("folder", 0o755), ("folder/file", 0o644)] {
            let metadata = fs::metadata(fixture.out(place).join(name)).unwrap();
            assert_eq!(metadata.uid(), place.user(), "{place:?}");
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{place:?}");
        }
    }
}

#[test]
fn memory_is_limited() {
    let fixture = Fixture::new();
    for place in engines() {
        let memory = Some(64 << 20);
        let answer = fixture.ask(&Probe { memory, ..fixture.script(place, "tail /dev/zero; exit $?") });
        assert_eq!((answer.ended.as_str(), answer.exit_code), ("memory", 137), "{place:?}: {answer:?}");
        // Two processes that each stay below the limit.
        let script = "fill() { (head -c 50m /dev/zero; sleep 1) | tail -n 1 | wc -c; }; fill & fill; wait; exit 3";
        let answer = fixture.ask(&Probe { memory, ..fixture.script(place, script) });
        assert_eq!(answer.ended, "memory", "{place:?}: {answer:?}");
        let answer =
            fixture.ask(&Probe { memory, ..fixture.script(place, "head -c 8m /dev/zero | tail -n 1 | wc -c") });
        assert_eq!((answer.ended.as_str(), answer.text().as_str()), ("code 0", "8388608"), "{place:?}: {answer:?}");
        let honest = answer.notices.iter().any(|notice| notice.contains("memory"));
        let weaker = !place.is_docker() && place.user() != 0 && !may_make_cgroups();
        if weaker {
            assert!(honest, "{place:?}: {answer:?}");
        }
        if place == EmbeddedRoot && may_make_cgroups() {
            assert!(!honest, "{place:?}: {answer:?}");
        }
    }
    assert_eq!(left_cgroups(), Vec::<PathBuf>::new());
}

#[test]
fn processors_are_limited() {
    let fixture = Fixture::new();
    for place in engines().into_iter().filter(|place| !place.is_docker()) {
        let script = "nproc; echo ready; while ! test -e /out/go; do sleep 0.05; done";
        let mut host = fixture.start(&Probe { cpus: Some(1.0), ..fixture.script(place, script) }, &[]);
        host.wait_for("ready");
        let quotas: Vec<String> = cgroups_of(&host.child)
            .iter()
            .flat_map(|folder| ["cpu.cfs_quota_us", "cpu.max"].map(|name| fs::read_to_string(folder.join(name))))
            .flatten()
            .collect();
        fs::write(fixture.out(place).join("go"), "").unwrap();
        let answer = host.finish();
        let by_kernel = quotas.iter().any(|quota| quota.starts_with("100000"));
        let by_binding = answer.out.first().map(String::as_str) == Some("1");
        let alone = std::thread::available_parallelism().unwrap().get() == 1;
        assert!(by_kernel || by_binding, "{place:?}: {quotas:?} {answer:?}");
        assert_eq!(answer.notices.is_empty(), by_kernel || alone, "{place:?}: {answer:?}");
    }
    assert_eq!(left_cgroups(), Vec::<PathBuf>::new());
}

/// Whether this user can make a cgroup where these tests run.
fn may_make_cgroups() -> bool {
    is_root() && cgroup_folders("").iter().any(|folder| folder.join("memory.limit_in_bytes").exists())
        || Path::new("/sys/fs/cgroup/cgroup.controllers").exists() && is_root()
}

/// Folders of all hierarchies whose name begins with `prefix`.
fn cgroup_folders(prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    found.push(entry.path());
                }
                folders.push(entry.path());
            }
        }
    }
    found
}

fn cgroups_of(host: &Child) -> Vec<PathBuf> {
    cgroup_folders(&format!("modelconverter-{}-", host.id()))
}

/// Cgroups of engines that are no more.
fn left_cgroups() -> Vec<PathBuf> {
    let owner_lives = |folder: &PathBuf| {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        name.split('-').nth(1).is_some_and(|process| Path::new("/proc").join(process).exists())
    };
    cgroup_folders("modelconverter-").into_iter().filter(|folder| !owner_lives(folder)).collect()
}

#[test]
fn an_interrupted_program_ends_and_leaves_nothing() {
    use rustix::process::Signal;

    let fixture = Fixture::new();
    for (number, place) in engines().into_iter().enumerate() {
        let marker = format!("77{number}.{}", std::process::id());
        let polite =
            format!("trap 'echo asked; exit 5' INT TERM HUP; echo ready; while :; do sleep 0.05; done; : {marker}");
        for (signal, ended) in
            [(Signal::INT, "interrupted 2"), (Signal::TERM, "interrupted 15"), (Signal::HUP, "interrupted 1")]
        {
            let mut host = fixture.start(&fixture.script(place, &polite), &[]);
            host.wait_for("ready");
            host.signal(signal);
            let answer = host.finish();
            assert_eq!(answer.ended, ended, "{place:?}: {answer:?}");
            assert_eq!(answer.out, ["ready", "asked"], "{place:?}");
        }
        // The program does not listen, and has a child that does not either: the second signal ends both.
        let stubborn = format!("trap '' INT; sleep {marker} & echo ready; while :; do sleep 0.05; done");
        let mut host = fixture.start(&fixture.script(place, &stubborn), &[]);
        host.wait_for("ready");
        host.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(100));
        assert!(host.child.try_wait().unwrap().is_none(), "{place:?}: the first signal only asks");
        host.signal(Signal::INT);
        let answer = host.finish();
        assert_eq!(answer.ended, "interrupted 2", "{place:?}: {answer:?}");
        assert!(!runs(&marker), "{place:?}: a process is left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(fixture.folder.path().to_str().unwrap()), "{place:?}: a mount is left");
        assert_eq!(fs::read_dir(fixture.scratch(place)).unwrap().count(), 0, "{place:?}: a file is left");
    }
}

#[test]
fn nothing_survives_the_death_of_the_engine() {
    let fixture = Fixture::new();
    for (number, place) in engines().into_iter().filter(|place| !place.is_docker()).enumerate() {
        let marker = format!("88{number}.{}", std::process::id());
        let script = format!("trap '' INT TERM HUP; sleep {marker} & echo ready; sleep {marker}");
        let mut host = fixture.start(&fixture.script(place, &script), &[]);
        host.wait_for("ready");
        assert!(runs(&marker), "{place:?}: the probe sees what it looks for");
        host.child.kill().unwrap();
        host.child.wait().unwrap();
        until(&format!("{place:?}: every process is gone"), || !runs(&marker));
    }
}

#[test]
fn children_that_outlive_the_program_are_ended() {
    let fixture = Fixture::new();
    for (number, place) in engines().into_iter().enumerate() {
        let marker = format!("99{number}.{}", std::process::id());
        let answer = fixture.ask(&fixture.script(place, &format!("sleep {marker} & exit 4")));
        assert_eq!(answer.ended, "code 4", "{place:?}: {answer:?}");
        until(&format!("{place:?}: every process is gone"), || !runs(&marker));
    }
}

#[test]
fn a_kernel_that_forbids_user_namespaces_is_named() {
    let fixture = Fixture::new();
    // A user namespace of its own has a limit of its own; root in it without capabilities is an ordinary user.
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \"$@\"";
    let probe = fixture.script(EmbeddedUser, "true");
    let answer = fixture.start(&probe, &["unshare", "-Ur", "bash", "-c", forbid, "bash"]).finish();
    assert_eq!(answer.ended, "error", "{answer:?}");
    assert!(answer.hints.iter().any(|hint| hint.contains("user.max_user_namespaces")), "{answer:?}");
    assert!(answer.hints.iter().any(|hint| hint.contains("--engine docker")), "{answer:?}");
}

#[test]
fn a_shell_gets_the_terminal() {
    let fixture = Fixture::new();
    for place in engines() {
        let script = "test -t 0 && test -t 1 && test -t 2 && echo yes > /out/terminal; exit 6";
        let probe = Probe { terminal: true, ..fixture.script(place, script) };
        let wrapper = ["bash", "-c", "exec script --quiet --return --command \"$*\" /dev/null", "bash"];
        let answer = fixture.start(&probe, &wrapper).finish();
        assert_eq!(answer.ended, "code 6", "{place:?}: {answer:?}");
        assert_eq!(fs::read_to_string(fixture.out(place).join("terminal")).unwrap(), "yes\n", "{place:?}");
    }
}

/// A run of a program in an image that the container engine has.
fn in_docker(reference: &str, program: &[&str]) -> ContainerRun<'static> {
    ContainerRun {
        image: RunnableImage {
            id: modelconverter::digest::Digest::of(b""),
            reference: reference.to_owned(),
            trees: Vec::new(),
            env: BTreeMap::new(),
            archive: None,
        },
        program: program.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        working_folder: "tmp".parse().unwrap(),
        mounts: Vec::new(),
        limits: Limits::default(),
        network: Network::None,
        terminal: Terminal::Piped,
    }
}

#[test]
fn an_image_is_found_by_its_name() {
    let fixture = Fixture::new();
    fixture.ask(&fixture.script(DockerUser, "true"));
    let docker = docker();
    assert!(docker.has_image(REFERENCE).unwrap());
    assert!(!docker.has_image("modelconverter/engine-test:missing").unwrap());
    let run = |reference: &str| {
        let recorder = Recorder { lines: Mutex::new((tempfile::tempfile().unwrap(), Vec::new())) };
        docker.run(&in_docker(reference, &["/bin/true"]), &recorder)
    };
    assert_eq!(run(REFERENCE).unwrap().status, Status::Code(0));
    let missing = chain(&run("modelconverter/engine-test:missing").unwrap_err());
    assert!(missing.contains("modelconverter/engine-test:missing"), "{missing}");
}

/// Hands connections on to the socket of a container engine, but nothing that it says once it was asked to tell of the
/// end of a container, nor that a connection ends.
fn deaf(socket: &Path, to: String) {
    fn hand_on(mut from: UnixStream, mut to: UnixStream, is_waiting: Arc<AtomicBool>, is_client: bool) {
        let mut buffer = [0; 1 << 14];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let part = &buffer[..count];
            if is_client && part.windows(6).any(|word| word == b"/wait ") {
                is_waiting.store(true, Ordering::SeqCst);
            }
            if (is_client || !is_waiting.load(Ordering::SeqCst)) && to.write_all(part).is_err() {
                return;
            }
        }
        if is_client {
            let _ = to.shutdown(Shutdown::Both);
        } else {
            std::thread::park();
        }
    }
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = UnixStream::connect(&to).unwrap();
            let is_waiting = Arc::new(AtomicBool::new(false));
            let (from, to, asked) = (client.try_clone().unwrap(), server.try_clone().unwrap(), is_waiting.clone());
            std::thread::spawn(move || hand_on(from, to, asked, true));
            std::thread::spawn(move || hand_on(server, client, is_waiting, false));
        }
    });
}

#[test]
fn a_container_that_is_gone_is_not_waited_for() {
    let fixture = Fixture::new();
    fixture.ask(&fixture.script(DockerUser, "true"));
    let socket = fixture.folder.path().join("deaf.sock");
    deaf(&socket, docker_socket());
    let docker = Docker::new(Surroundings {
        docker_host: Some(format!("unix://{}", socket.display())),
        ..Surroundings::default()
    });
    let marker = format!("55.{}", std::process::id());
    let run = in_docker(REFERENCE, &["/bin/sleep", &marker]);
    let recorder = Recorder { lines: Mutex::new((tempfile::tempfile().unwrap(), Vec::new())) };
    let error = std::thread::scope(|scope| {
        let running = scope.spawn(|| docker.run(&run, &recorder));
        until("the program runs", || runs(&marker));
        let daemon = format!("unix://{}", docker_socket());
        let ask =
            |words: &[&str]| Command::new("docker").args(["--host", &daemon]).args(words).output().unwrap().stdout;
        let all = String::from_utf8(ask(&["ps", "--no-trunc", "--format", "{{.ID}} {{.Command}}"])).unwrap();
        let line = all.lines().find(|line| line.contains(&marker)).unwrap();
        ask(&["rm", "--force", line.split(' ').next().unwrap()]);
        running.join().unwrap().unwrap_err()
    });
    assert!(chain(&error).contains("lost the container"), "{}", chain(&error));
    assert!(error.hints().iter().any(|hint| hint.contains("--engine embedded")), "{:?}", error.hints());
}

#[test]
fn a_missing_daemon_is_told_with_its_addresses() {
    let nowhere = Docker::new(Surroundings {
        docker_host: Some("unix:///nowhere/docker.sock".to_owned()),
        ..Surroundings::default()
    });
    let error = EngineError::from(nowhere.has_image("any").unwrap_err());
    assert!(chain(&error).contains("/nowhere/docker.sock"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("--engine embedded")));
}
