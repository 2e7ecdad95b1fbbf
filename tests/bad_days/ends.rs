//! Interrupted, killed, at once: what a process leaves when it does not come to its own end, and what the next one makes
//! of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::check::{convert, convert_to, is_tidy, layers, model, names, runs, signal, start, told, until};
use crate::server::{Reply, Server};
use crate::support::{peer, program, said, succeed};
use crate::toolchain::{SLOW, folder, made_up, serve};

/// Waits for a command that was interrupted, and checks what it says.
fn interrupted(child: Child, what: &str) {
    let output = child.wait_with_output().unwrap();
    told(&output, 130, what).says(&["interrupted"]);
}

/// Reads standard error until a line has these words.
fn wait_for(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut seen) = (String::new(), String::new());
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.contains(words) {
            // What follows is read by nobody; the pipe stays open all the same.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            return;
        }
        seen.push_str(&line);
        line.clear();
    }
    panic!("`{words}` was never said:\n{seen}");
}

/// Waits for a command that was interrupted and whose standard error was read by [`wait_for`].
fn interrupted_as_document(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "interrupted", "{document}");
}

#[test]
fn interrupted_while_downloading() {
    let folder = folder();
    let (project, store) = (folder.path().join("project"), folder.path().join("store"));
    let (documents, is_silent) = (made_up().documents.clone(), Arc::new(AtomicBool::new(true)));
    let silence = is_silent.clone();
    let server = Server::start(move |request| match serve(&documents, request) {
        reply if silence.load(Ordering::SeqCst) => reply.cut(100_000).silent(),
        reply => reply,
    });
    fs::create_dir(&project).unwrap();
    made_up().copied(&project, &server.url(""));
    model(&project, "good.onnx");
    let before = names(&project);
    let child = start(convert(&project, &store, &project, "good.onnx").arg("--json"));
    until("the download begins", || {
        names(&store.join("partial"))
            .iter()
            .any(|name| fs::metadata(store.join("partial").join(name)).is_ok_and(|metadata| metadata.len() >= 100_000))
    });
    signal(&child, libc::SIGINT);
    interrupted(child, "while downloading");
    assert_eq!(names(&project), before);
    is_tidy(&store);

    is_silent.store(false, Ordering::SeqCst);
    succeed(&mut convert(&project, &store, &project, "good.onnx"));
    assert!(project.join("output/result/good.superblob").exists());
    let resumed = server.requests().iter().filter_map(crate::server::Request::offset).collect::<Vec<_>>();
    assert_eq!(resumed, [100_000], "what had come was kept");
    is_tidy(&store);
}

/// Brings the artifacts of the slow toolchain into a store of its own, and starts to assemble it.
fn assembling(folder: &Path, store: &Path) -> Child {
    model(folder, "good.onnx");
    let made_up = made_up();
    fs::create_dir_all(store.join("blobs")).unwrap();
    let blobs = made_up.store.join("blobs/sha256");
    succeed(Command::new("cp").args(["-al"]).arg(&blobs).arg(store.join("blobs/sha256")));
    let mut command = convert(folder, store, &made_up.project, "good.onnx");
    let child = start(command.args(["--json", "--offline", "--tool-version", SLOW]));
    until("the assembly begins", || {
        let mut all = Vec::new();
        below(&store.join("scratch"), &mut all);
        // The kernel says how much was written already.
        all.iter().any(|path| {
            path.ends_with("usr/share/ballast") && fs::metadata(path).is_ok_and(|metadata| metadata.size() > 0)
        })
    });
    child
}

fn below(folder: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), all);
        }
        all.push(entry.path());
    }
}

#[test]
fn interrupted_while_assembling() {
    let folder = folder();
    let store = folder.path().join("store");
    let child = assembling(folder.path(), &store);
    signal(&child, libc::SIGINT);
    interrupted(child, "while assembling");
    assert!(!folder.path().join("output").exists());
    assert!(layers(&store).is_empty());
    is_tidy(&store);
    let mut command = convert(folder.path(), &store, &made_up().project, "good.onnx");
    succeed(command.args(["--offline", "--tool-version", SLOW]));
    assert!(folder.path().join("output/result/good.superblob").exists());
    is_tidy(&store);
}

#[test]
fn killed_while_assembling() {
    let folder = folder();
    let store = folder.path().join("store");
    let mut child = assembling(folder.path(), &store);
    signal(&child, libc::SIGKILL);
    child.wait().unwrap();
    assert!(!names(&store.join("scratch")).is_empty());
    let mut command = convert(folder.path(), &store, &made_up().project, "good.onnx");
    succeed(command.args(["--offline", "--tool-version", SLOW]));
    assert!(folder.path().join("output/result/good.superblob").exists());
    is_tidy(&store);
}

#[test]
fn interrupted_while_preparing() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "good.onnx");
    let store = folder.path().join("store");
    fs::create_dir_all(&store).unwrap();
    // What stays: other tests use the store at the same time, and their temporary files come and go.
    for kept in ["blobs", "trees"] {
        succeed(Command::new("cp").arg("-al").arg(made_up.store.join(kept)).arg(&store));
    }
    let run = || {
        let mut command = convert(folder.path(), &store, &made_up.project, "good.onnx");
        command.args(["--offline", "--tool-version", SLOW]);
        command
    };
    let child = start(run().arg("--json"));
    until("the preparation begins", || runs_below("/usr/bin/sh\0-c\0sleep 2;", &child));
    signal(&child, libc::SIGINT);
    interrupted(child, "while preparing");
    assert!(!folder.path().join("output").exists());
    is_tidy(&store);
    succeed(&mut run());
    assert!(folder.path().join("output/result/good.superblob").exists());
    is_tidy(&store);
}

/// Whether a descendant of `child` has such a command line.
fn runs_below(line: &str, child: &Child) -> bool {
    let parent = |process: u32| -> Option<u32> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        text.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.any(|process| {
        let is_it = fs::read(format!("/proc/{process}/cmdline"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(line));
        is_it && std::iter::successors(Some(process), |process| parent(*process)).any(|process| process == child.id())
    })
}

#[test]
fn interrupted_while_compiling() {
    for (engine, seconds, number) in
        [("embedded", "52611", libc::SIGINT), ("embedded", "52612", libc::SIGTERM), ("docker", "52613", libc::SIGINT)]
    {
        let folder = folder();
        let made_up = made_up();
        // Another run of the tests must not be taken for this one.
        let seconds = &format!("{seconds}{}", std::process::id());
        let name = format!("hangs_{seconds}.onnx");
        model(folder.path(), &name);
        model(folder.path(), "good.onnx");
        let run = |name: &str| {
            let mut command = convert(folder.path(), &made_up.store, &made_up.project, name);
            command.args(["--engine", engine]);
            if engine == "docker" {
                command.env("DOCKER_HOST", format!("unix://{}", peer("MODELCONVERTER_TEST_DOCKER")));
            }
            command
        };
        let mut child = start(run(&name).args(["--json", "--verbose"]));
        wait_for(&mut child, &format!("compiling for {seconds} s"));
        signal(&child, number);
        interrupted_as_document(child);
        until("the tool is gone", || !runs(&["sleep", seconds]));
        let left = names(&folder.path().join("output"));
        assert!(left.is_empty() || left == ["result.log"], "{engine}: {left:?}");
        succeed(&mut run("good.onnx"));
        assert!(folder.path().join("output/result/good.superblob").exists());
    }
}

#[test]
fn killed_while_compiling() {
    let folder = folder();
    let made_up = made_up();
    let seconds = &format!("52621{}", std::process::id());
    let hanging = &format!("hangs_{seconds}.onnx");
    model(folder.path(), hanging);
    model(folder.path(), "good.onnx");
    let run = |name: &str| convert(folder.path(), &made_up.store, &made_up.project, name);
    succeed(&mut run("good.onnx"));
    let before = fs::read(folder.path().join("output/result/good.superblob")).unwrap();
    let mut child = start(run(hanging).arg("--verbose"));
    wait_for(&mut child, &format!("compiling for {seconds} s"));
    signal(&child, libc::SIGKILL);
    child.wait().unwrap();
    until("the tool is gone", || !runs(&["sleep", seconds]));
    assert_eq!(fs::read(folder.path().join("output/result/good.superblob")).unwrap(), before);
    succeed(&mut run("good.onnx"));
    assert_eq!(names(&folder.path().join("output")), ["result"], "what the dead process left is gone");
}

#[test]
fn conversions_at_once_do_not_meet() {
    let folder = folder();
    let made_up = made_up();
    // Six results for two places. Who finds the result of another there, that came meanwhile, goes beside it; who began
    // later replaces it.
    let children: Vec<Child> = (0..6)
        .map(|index| {
            let (name, place) = (format!("good_{index}.onnx"), format!("place_{}", index % 2));
            model(folder.path(), &name);
            start(&mut convert_to(&place, folder.path(), &made_up.store, &made_up.project, &name))
        })
        .collect();
    let mut places = BTreeMap::new();
    for (index, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        let main = Path::new(stdout.lines().next().unwrap().split(" (").next().unwrap());
        let place = main.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let named = format!("place_{}", index % 2);
        assert!(place.starts_with(&named), "{place}");
        assert_eq!(said(&output).contains("was changed by somebody else"), place != named, "{}", said(&output));
        places.entry(place).or_insert_with(Vec::new).push(format!("good_{index}"));
    }
    assert!(places.contains_key("place_0") && places.contains_key("place_1"));
    assert_eq!(names(&folder.path().join("output")), places.keys().cloned().collect::<Vec<_>>());
    for (place, stems) in places {
        let result = names(&folder.path().join("output").join(place));
        let superblobs: Vec<&String> = result.iter().filter(|name| name.ends_with(".superblob")).collect();
        assert_eq!(superblobs.len(), 1, "{result:?}");
        let stem = superblobs[0].trim_end_matches(".superblob");
        assert!(result.contains(&format!("{stem}.onnx")), "{result:?} is one result");
        assert!(stems.iter().any(|told| told == stem), "{stems:?} were put there, not {stem}");
    }
}

#[test]
fn two_first_runs_at_once_share_the_work() {
    let folder = folder();
    let (project, store) = (folder.path().join("project"), folder.path().join("store"));
    let documents = made_up().documents.clone();
    let server = Server::start(move |request| serve(&documents, request));
    fs::create_dir(&project).unwrap();
    made_up().copied(&project, &server.url(""));
    let children: Vec<Child> = ["one", "two"]
        .iter()
        .map(|name| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            model(&folder, "good.onnx");
            start(convert(&folder, &store, &project, "good.onnx").args(["--tool-version", SLOW]))
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    for name in ["one", "two"] {
        assert!(folder.path().join(name).join("output/result/good.superblob").exists());
    }
    let packages = server.requests().iter().filter(|request| request.path.ends_with(".deb")).count();
    assert_eq!(packages, 2, "each package is downloaded once");
    is_tidy(&store);
}

#[test]
fn a_reply_of_nothing_is_no_reason_to_hang() {
    let folder = folder();
    let (project, store) = (folder.path().join("project"), folder.path().join("store"));
    let server = Server::start(|_| Reply::new(200, ""));
    fs::create_dir(&project).unwrap();
    made_up().copied(&project, &server.url(""));
    model(&project, "good.onnx");
    let told = crate::check::fails(&mut convert(&project, &store, &project, "good.onnx"), 3);
    told.says(&["made-up-shell"]);
    assert!(!project.join("output").exists());
    is_tidy(&store);
}

#[test]
fn interrupted_in_a_container_that_this_program_did_not_start() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "hangs_52631.onnx");
    let docker = || {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", peer("MODELCONVERTER_TEST_DOCKER")));
        command
    };
    let archive = folder.path().join("image.tar");
    let mut export = program(&made_up.project, &made_up.store);
    succeed(export.args(["image", "export", "rvc2", "--output"]).arg(&archive));
    succeed(docker().args(["load", "--input"]).arg(&archive));
    fs::remove_file(&archive).unwrap();
    let (name, volume) = (format!("bad-days-{}", std::process::id()), format!("{}:/work", folder.path().display()));
    let before = names(folder.path());
    let mut child = start(
        docker()
            .args(["run", "--rm", "--network", "none", "--name", &name, "--volume", &volume, "--workdir", "/work"])
            .args(["modelconverter/rvc2:2021.4.2", "--json", "--verbose", "convert", "rvc2"])
            .args(["--path", "hangs_52631.onnx", "--output-dir", "./result"]),
    );
    wait_for(&mut child, "compiling for 52631 s");
    succeed(docker().args(["kill", "--signal", "INT", &name]));
    interrupted_as_document(child);
    assert!(!runs(&["sleep", "52631"]));
    assert_eq!(names(folder.path()), before);
}
