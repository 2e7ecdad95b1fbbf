//! Processes that die, race or find no room: what they leave in the store.
//!
//! The tests start this very binary again in a role of its own and kill it; the product has no hook for them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "children speak to their test")]

#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use modelconverter::digest::{DiffId, Digest};
use modelconverter::disk::DiskError;
use modelconverter::fetch::{Cause, FetchError, FetchOptions, Fetcher, Wanted};
use modelconverter::hint::Hint;
use modelconverter::lock::{Artifact, Pin, Source};
use modelconverter::ops::store as operations;
use modelconverter::progress::{Event, Moment, Progress, Silent};
use modelconverter::sources::{Base, Sources};
use modelconverter::store::{Judgement, Store, StoreError};
use modelconverter::units::ByteSize;
use server::{Reply, Request, Server};

/// Says which role a child plays.
const ROLE: &str = "MODELCONVERTER_TEST_ROLE";

/// The store of a child.
const STORE: &str = "MODELCONVERTER_TEST_STORE";

/// The address a child fetches from.
const BASE: &str = "MODELCONVERTER_TEST_BASE";

fn content() -> Vec<u8> {
    (0..3_000_001_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn pin(content: &[u8]) -> Pin {
    Pin { size: ByteSize::new(content.len() as u64), sha256: Digest::of(content) }
}

fn artifact() -> Artifact {
    Artifact {
        id: "a.bin".parse().unwrap(),
        file: "a.bin".parse().unwrap(),
        source: Source::Https { origin: "vendor".to_owned(), path: "a.bin".to_owned() },
        pin: Some(pin(&content())),
        licence: None,
        redistributable: true,
    }
}

fn fetch(store: &Store, base: &str, progress: &dyn Progress) -> Result<(), FetchError> {
    let mut sources = Sources::default();
    sources.mirrors.https.insert("vendor".to_owned(), vec![Base::parse(base).unwrap()]);
    let fetcher =
        Fetcher::new(sources, FetchOptions { first_wait: Duration::from_millis(1), ..FetchOptions::default() });
    let artifact = artifact();
    let wanted = Wanted { artifact: &artifact, also_known_as: BTreeSet::new() };
    fetcher.fetch(&[wanted], store, progress).map(drop)
}

/// Prints what is said.
struct Aloud;

impl Progress for Aloud {
    fn tell(&self, event: Event) {
        if let Moment::Said { line } = event.moment {
            println!("said: {line}");
        }
    }
}

/// Not a test of its own: the body of the children.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = std::env::var_os(STORE).unwrap();
    let store = Store::open(Path::new(&store)).unwrap();
    match role.as_str() {
        "fetch" => {
            fetch(&store, &std::env::var(BASE).unwrap(), &Aloud).unwrap();
            println!("fetched");
        }
        "churn" => churn(&store),
        "full" => on_a_full_disk(&store),
        "read-only" => on_a_read_only_store(&store),
        other => panic!("{other}"),
    }
}

fn spawn(role: &str, store: &Path, base: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    started(&mut Command::new(std::env::current_exe().unwrap()), role, store, base)
}

fn started(command: &mut Command, role: &str, store: &Path, base: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(STORE, store)
        .env(BASE, base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Reads on until a line ends with `text`.
fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) {
    let mut seen = Vec::new();
    for line in lines {
        let line = line.unwrap();
        if line.ends_with(text) {
            return;
        }
        seen.push(line);
    }
    panic!("`{text}` was never said: {seen:?}");
}

fn finished(mut child: Child, lines: Lines<BufReader<ChildStdout>>) -> ExitStatus {
    lines.for_each(drop);
    child.wait().unwrap()
}

fn kill(mut child: Child) {
    // SIGKILL: the process gets no chance to tidy up.
    child.kill().unwrap();
    child.wait().unwrap();
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A server whose first reply breaks off after a megabyte and leaves the connection open.
fn stalling() -> Server {
    let content = content();
    Server::start(move |request| match request.before {
        0 => Reply::file(request, &content, "\"1\"").cut(1 << 20).silent(),
        _ => Reply::file(request, &content, "\"1\""),
    })
}

#[test]
fn a_download_killed_in_the_middle_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let server = stalling();
    let (child, _lines) = spawn("fetch", &root, &server.url(""));
    let partial = root.join("partial").join(pin(&content()).sha256.hex());
    while std::fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 1 << 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(entries(&root.join("blobs/sha256")).is_empty());
    kill(child);

    let store = Store::open(&root).unwrap();
    assert_eq!(entries(&root.join("scratch")).len(), 1, "the dead session is gone");
    fetch(&store, &server.url(""), &Silent).unwrap();
    assert!(store.blob(&pin(&content()).sha256).unwrap().is_some());
    let asked: Vec<_> = server.requests().iter().map(Request::offset).collect();
    assert_eq!(asked, [None, Some(1 << 20)]);
    assert!(entries(&root.join("partial")).is_empty());
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let content = content();
    let proxy = Server::start(move |request| Reply::file(request, &content, "\"1\""));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("http_proxy", proxy.url("").replace("http://", "http://me:s3cret@")).env_remove("no_proxy");
    let (child, lines) = started(command.env_remove("NO_PROXY"), "fetch", &root, "http://vendor.invalid/");
    assert!(finished(child, lines).success());
    assert_eq!(proxy.requests()[0].path, "http://vendor.invalid/a.bin");
    assert!(proxy.requests()[0].headers.contains_key("proxy-authorization"));
}

#[test]
fn of_two_processes_one_downloads_and_the_other_waits() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let content = content();
    let (release, released) = mpsc::channel();
    let (asked, was_asked) = mpsc::channel();
    let released = Mutex::new(released);
    let server = Arc::new(Server::start(move |request| {
        asked.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Reply::file(request, &content, "\"1\"")
    }));
    let (first, first_lines) = spawn("fetch", &root, &server.url(""));
    was_asked.recv().unwrap();
    let (second, mut second_lines) = spawn("fetch", &root, &server.url(""));
    wait_for(&mut second_lines, "another process is downloading it; waiting");
    release.send(()).unwrap();
    wait_for(&mut second_lines, "fetched");
    assert!(finished(first, first_lines).success());
    assert!(finished(second, second_lines).success());
    assert_eq!(server.requests().len(), 1);
    assert_eq!(entries(&root.join("blobs/sha256")).len(), 1);
}

#[test]
fn a_process_whose_rival_is_killed_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let server = stalling();
    let (first, _first_lines) = spawn("fetch", &root, &server.url(""));
    while server.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (second, mut second_lines) = spawn("fetch", &root, &server.url(""));
    wait_for(&mut second_lines, "another process is downloading it; waiting");
    kill(first);
    wait_for(&mut second_lines, "fetched");
    assert!(finished(second, second_lines).success());
    assert_eq!(entries(&root.join("blobs/sha256")).len(), 1);
}

/// Stores ever new things until it is killed; says a line after each.
fn churn(store: &Store) {
    for round in 0_u32.. {
        let bytes = [std::process::id().to_le_bytes(), round.to_le_bytes()].concat().repeat(20_000);
        store.insert(&mut &bytes[..], pin(&bytes)).unwrap();
        let staged = store.stage_tree().unwrap();
        for name in 0..20 {
            std::fs::write(staged.path().join(name.to_string()), &bytes).unwrap();
        }
        staged.commit(&DiffId(Digest::of(&bytes))).unwrap();
        store.write_document("layer", &Digest::of(&bytes).hex(), &bytes).unwrap();
        println!("round");
    }
}

#[test]
fn a_store_whose_users_are_killed_at_any_moment_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    for round in 0..12_u64 {
        let (mut first, mut second) = (spawn("churn", &root, ""), spawn("churn", &root, ""));
        wait_for(&mut first.1, "round");
        wait_for(&mut second.1, "round");
        // Somewhere in the middle of the next round, another place each time.
        std::thread::sleep(Duration::from_micros(700 * round));
        kill(first.0);
        kill(second.0);

        let store = Store::open(&root).unwrap();
        assert_eq!(entries(&root.join("scratch")).len(), 1, "only the session of this process");
        let whole = |_: &DiffId, tree: &Path| match entries(tree).len() {
            20 => Judgement::Intact,
            count => Judgement::Broken { reason: format!("{count} files") },
        };
        // A tree that was renamed but not yet marked counts as absent; it is the only thing that can be found.
        let verified = operations::verify(&store, &whole, &Silent).unwrap();
        assert!(verified.intact >= 2);
        assert!(verified.broken.iter().all(|broken| broken.reason == "its making was cut short"), "{verified}");
        assert!(operations::verify(&store, &whole, &Silent).unwrap().broken.is_empty());
        for key in store.documents("layer").unwrap() {
            assert_eq!(Digest::of(&store.document("layer", &key).unwrap().unwrap()).hex(), key);
        }
    }
    let store = Store::open(&root).unwrap();
    let collected = operations::gc(&store, &[], modelconverter::store::Kept::default()).unwrap();
    assert!(collected.removed.size() > ByteSize::default());
    assert_eq!(operations::info(&store).unwrap().kinds.iter().map(|kind| kind.kind).collect::<Vec<_>>(), ["scratch"]);
}

/// A shell in a mount name space of its own that runs `script` and then this binary as a child.
fn in_own_mounts(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!("set -e; {script}; exec \"$0\" \"$@\"");
    command.args(["--mount", "--", "sh", "-c", &script]).arg(std::env::current_exe().unwrap());
    command
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|request| Reply::file(request, &content(), "\"1\""));
    let mount = format!("mount -t tmpfs -o size=2m none {}", quoted(folder.path()));
    let (child, lines) = started(&mut in_own_mounts(&mount), "full", &folder.path().join("store"), &server.url(""));
    assert!(finished(child, lines).success());
}

fn on_a_full_disk(store: &Store) {
    let small = b"small";
    store.insert(&mut &small[..], pin(small)).unwrap();
    let content = content();
    let full = |error: &StoreError| matches!(error, StoreError::Disk { source: DiskError::NoSpace { .. }, .. });
    let error = store.insert(&mut &content[..], pin(&content)).unwrap_err();
    assert!(full(&error), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("store gc")));
    let error = fetch(store, &std::env::var(BASE).unwrap(), &Silent).unwrap_err();
    let FetchError::Failed { failures, .. } = &error else { panic!("{error}") };
    assert!(matches!(&failures[0].cause, Cause::Store(cause) if full(cause)), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");
    // The disk is full now, and the store still serves.
    assert!(store.blob(&pin(small).sha256).unwrap().is_some());
    assert!(Store::open(store.root()).unwrap().blob(&pin(small).sha256).unwrap().is_some());
    // Making room is possible, and then it works again.
    operations::gc(store, &[], modelconverter::store::Kept::default()).unwrap();
    let medium = &content[..1 << 20];
    store.insert(&mut &medium[..], pin(medium)).unwrap();
}

#[test]
fn a_read_only_store_serves_and_says_why_it_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root).unwrap();
    let content = content();
    store.insert(&mut &content[..], pin(&content)).unwrap();
    let staged = store.stage_tree().unwrap();
    std::fs::write(staged.path().join("a"), "a").unwrap();
    staged.commit(&DiffId(Digest::of(b"tree"))).unwrap();
    store.write_document("layer", "a", b"facts").unwrap();
    drop(store);
    let path = quoted(folder.path());
    let mount = format!("mount --bind {path} {path}; mount -o remount,bind,ro {path}");
    let (child, lines) = started(&mut in_own_mounts(&mount), "read-only", &root, "");
    assert!(finished(child, lines).success());
}

fn on_a_read_only_store(store: &Store) {
    let content = content();
    assert!(store.blob(&pin(&content).sha256).unwrap().is_some());
    assert!(store.tree(&DiffId(Digest::of(b"tree"))).unwrap().is_some());
    assert_eq!(store.document("layer", "a").unwrap().unwrap(), b"facts");
    // What is there needs no network and no writing.
    fetch(store, "http://127.0.0.1:9/", &Silent).unwrap();
    assert!(operations::info(store).unwrap().size() > ByteSize::new(3_000_000));
    let errors = [
        store.insert(&mut &b"x"[..], pin(b"x")).map(drop),
        store.stage_tree().map(drop),
        store.write_document("layer", "b", b"").map(drop),
        store.scratch().map(drop),
        store.lock("x").map(drop),
        operations::gc(store, &[], modelconverter::store::Kept::default()).map(drop),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(&error, StoreError::Disk { source: DiskError::ReadOnly { .. }, .. }), "{error:?}");
        assert!(error.to_string().contains(store.root().to_str().unwrap()));
        assert!(!error.hints().is_empty());
    }
    let broken = |_: &DiffId, _: &Path| Judgement::Broken { reason: "judged so".to_owned() };
    let verified = operations::verify(store, &broken, &Silent).unwrap();
    assert_eq!((verified.intact, verified.broken.len(), verified.broken[0].removed), (1, 1, false));
}
