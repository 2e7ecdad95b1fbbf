//! Machines that are not as they should be: disks that are full or read-only, folders with odd names, no home.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::check::{convert, convert_to, fails, is_tidy, model, names};
use crate::support::{program, root, succeed};
use crate::toolchain::{SLOW, folder, made_up};

/// The same command in a mount name space of its own, after a script; its mounts end with it.
fn in_own_mounts(command: &Command, script: &str) -> Command {
    let mut wrapped = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        wrapped.arg("--map-root-user");
    }
    wrapped.args(["--mount", "--", "sh", "-c", &format!("set -e; {script}; cd .; exec \"$0\" \"$@\"")]);
    wrapped.arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped
}

fn read_only(path: &Path) -> String {
    let path = path.display();
    format!("mount --bind '{path}' '{path}'; mount -o remount,bind,ro '{path}'")
}

#[test]
fn a_read_only_cache_that_has_everything_is_enough_for_what_only_reads() {
    let folder = folder();
    let made_up = made_up();
    let store = folder.path().join("store");
    model(folder.path(), "good.onnx");
    succeed(&mut convert(folder.path(), &store, &made_up.project, "good.onnx"));
    // Everything is there, but an engine needs room for what a run needs for a while.
    let command = convert(folder.path(), &store, &made_up.project, "good.onnx");
    let told = fails(&mut in_own_mounts(&command, &read_only(&store)), 3);
    told.says(&["read-only file system", &store.display().to_string()]);
    assert_eq!(names(&folder.path().join("output")), ["result"], "the earlier result stays");
    let mut list = program(folder.path(), &store);
    list.args(["toolchain", "list"]);
    assert!(succeed(&mut in_own_mounts(&list, &read_only(&store))).contains("in the store"));
}

#[test]
fn a_read_only_cache_that_lacks_something_is_told() {
    let folder = folder();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    model(folder.path(), "good.onnx");
    let command = convert(folder.path(), &store, &made_up().project, "good.onnx");
    let told = fails(&mut in_own_mounts(&command, &read_only(&store)), 3);
    told.says(&["read-only file system", &store.display().to_string()]);
    assert!(told.hints().contains("MODELCONVERTER_CACHE_DIR"), "{}", told.text);
    assert!(names(&store).is_empty() && !folder.path().join("output").exists());
}

#[test]
fn a_full_disk_is_told_and_the_store_serves_again_with_more_room() {
    let folder = folder();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    model(folder.path(), "good.onnx");
    let mut command = convert(folder.path(), &store, &made_up().project, "good.onnx");
    command.args(["--tool-version", SLOW]);
    // Enough for the download of the ballast (128 MB) and for not nearly all of its layer; the listing comes last.
    for size in ["64m", "180m"] {
        let mount = format!("mount -t tmpfs -o size={size} none '{}'", store.display());
        let told = fails(&mut in_own_mounts(&command, &mount), 3);
        told.says(&["no space left"]);
        assert!(told.hints().contains("store gc"), "{}", told.text);
        assert!(!folder.path().join("output").exists());
    }
    // On the same full disk: the failure first, then what is left there, then room, then success.
    let script = format!(
        "mount -t tmpfs -o size=180m none '{store}'; ! \"$0\" \"$@\" >/dev/null 2>&1; \
         test -z \"$(ls -A '{store}/scratch')\"; mount -o remount,size=900m '{store}'",
        store = store.display()
    );
    succeed(&mut in_own_mounts(&command, &script));
    assert!(folder.path().join("output/result/good.superblob").exists());
}

#[test]
fn a_full_disk_for_the_result_leaves_nothing_there() {
    nothing_is_left_on_a_disk_of("8k", &[]);
    // The model fills the disk, so that there is no room for the report either: a text of 200000 bytes in it.
    let text = [&b"\x32\xc0\x9a\x0c"[..], &[b' '; 200_000]].concat();
    nothing_is_left_on_a_disk_of("64k", &text);
}

/// Converts onto a disk that is too small; `padding` is added to the model.
fn nothing_is_left_on_a_disk_of(size: &str, padding: &[u8]) {
    let folder = folder();
    let made_up = made_up();
    let path = model(folder.path(), "good.onnx");
    fs::write(&path, [&fs::read(&path).unwrap(), padding].concat()).unwrap();
    let output = folder.path().join("output");
    fs::create_dir(&output).unwrap();
    let command = convert(folder.path(), &made_up.store, &made_up.project, "good.onnx");
    let mount = format!("mount -t tmpfs -o size={size} none '{}'", output.display());
    // The failing command is not the last one: what it leaves is looked at on the same small disk.
    let script = format!("{mount}; ! \"$0\" \"$@\"; ls -A '{}'; exit 0", output.display());
    let shown = succeed(in_own_mounts(&command, &script).arg("--json"));
    assert!(shown.contains("no space left") && shown.contains("\"environment\""), "{shown}");
    // It is this disk, and the store has nothing to do with it.
    assert!(shown.contains(&output.display().to_string()) && !shown.contains("/exchange"), "{shown}");
    assert!(
        shown.contains("free some space on that disk, or choose a place") && !shown.contains("store gc"),
        "{shown}"
    );
    let after = shown.rsplit('}').next().unwrap().trim();
    assert!(after.is_empty() || after == "result.log", "{after}");
}

#[test]
fn a_result_that_reaches_nobody_is_no_success_and_a_reader_that_left_is_no_failure() {
    let folder = folder();
    let store = folder.path().join("store");
    model(folder.path(), "good.onnx");
    for words in [
        &["config", "resolve", "rvc2", "--path", "good.onnx"][..],
        &["--json", "config", "schema"],
        &["toolchain", "list"],
        &["completions", "bash"],
        &["--version"],
        &["convert", "--help"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut child = program(folder.path(), &store);
        let output = child.args(words).stdout(full).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{words:?}: {text}");
        for part in ["could not be written to standard output", "No space left on device", "hint: "] {
            assert!(text.contains(part), "{words:?}: {text}");
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(folder.path(), &store).args(words).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn settings_that_cannot_be_read_are_named() {
    let folder = folder();
    fs::copy(root().join("toolchains.toml"), folder.path().join("toolchains.toml")).unwrap();
    fs::write(folder.path().join("modelconverter.toml"), "[mirrors]\npypy = []\n").unwrap();
    let mut command = program(folder.path(), &folder.path().join("store"));
    let told = fails(command.args(["toolchain", "fetch", "rvc2"]), 1);
    told.says(&["failed to read modelconverter.toml", "unknown key `mirrors.pypy`"]);
    assert!(told.hints().contains("did you mean `mirrors.pypi`?"), "{}", told.text);
}

#[test]
fn a_terminal_has_colours_unless_it_is_dumb_or_they_are_unwanted() {
    let folder = folder();
    for (name, value, is_coloured) in [("TERM", "xterm", true), ("TERM", "dumb", false), ("NO_COLOR", "1", false)] {
        let command = program(folder.path(), &folder.path().join("store"));
        // The terminal of the command is one of `script`.
        let words = format!("'{}' convert rvc2 --path none.onnx", command.get_program().display());
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &words, "/dev/null"]).current_dir(folder.path()).env(name, value);
        terminal.env("MODELCONVERTER_CACHE_DIR", folder.path().join("store"));
        let shown = String::from_utf8(terminal.output().unwrap().stdout).unwrap();
        assert!(shown.contains("error:") && shown.contains('\u{1b}') == is_coloured, "{name}={value}: {shown:?}");
    }
}

#[test]
fn names_with_spaces_and_letters_of_any_language_are_names() {
    let folder = folder();
    let made_up = made_up();
    let place = folder.path().join("mes modèles/模型 №1");
    fs::create_dir_all(&place).unwrap();
    model(&place, "réseau profond.onnx");
    fs::write(place.join("ma configuration.yaml"), "input_model: réseau profond.onnx\n").unwrap();
    let result = "résultats à moi/der erste";
    let mut command = convert_to(
        result,
        folder.path(),
        &made_up.store,
        &made_up.project,
        "mes modèles/模型 №1/ma configuration.yaml",
    );
    succeed(&mut command);
    let made = names(&folder.path().join(result));
    assert!(made.iter().any(|name| name.ends_with(".superblob")), "{made:?}");
    assert_eq!(names(&folder.path().join("résultats à moi")), ["der erste"]);
    // The longest that a file may have, from which others are named.
    let long = format!("{}.onnx", "l".repeat(250));
    model(&place, &long);
    let path = format!("mes modèles/模型 №1/{long}");
    succeed(&mut convert(folder.path(), &made_up.store, &made_up.project, &path));
    assert!(names(&folder.path().join("output/result")).contains(&format!("{}.superblob", "l".repeat(160))));
    // A store with such a name, too.
    let store = folder.path().join("mein Lager ü");
    let mut command = convert(folder.path(), &store, &made_up.project, "mes modèles/模型 №1/réseau profond.onnx");
    succeed(&mut command);
    is_tidy(&store);
}

#[test]
fn a_model_in_a_read_only_folder_is_converted() {
    let folder = folder();
    let made_up = made_up();
    let models = folder.path().join("models");
    fs::create_dir(&models).unwrap();
    model(&models, "good.onnx");
    let command = convert(folder.path(), &made_up.store, &made_up.project, "models/good.onnx");
    succeed(&mut in_own_mounts(&command, &read_only(&models)));
    assert_eq!(names(&models), ["good.onnx"]);
}

#[test]
fn a_result_on_another_file_system_is_put_there_as_a_whole() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "good.onnx");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let place = elsewhere.path().join("result");
    for _ in 0..2 {
        let place = place.display().to_string();
        succeed(&mut convert_to(&place, folder.path(), &made_up.store, &made_up.project, "good.onnx"));
        assert_eq!(names(elsewhere.path()), ["result"]);
    }
    assert!(!folder.path().join("output").exists());
}

#[test]
fn a_place_below_a_file_is_refused() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "good.onnx");
    fs::write(folder.path().join("file"), "").unwrap();
    let mut command = convert_to("file/result", folder.path(), &made_up.store, &made_up.project, "good.onnx");
    fails(&mut command, 3).says(&["file/result"]);
}

#[test]
fn an_ordinary_user_without_permission_is_told() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let allow = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(place.path(), 0o755);
    // The user can reach neither the build folder nor the caller's home.
    let copy = place.path().join("modelconverter");
    fs::copy(env!("CARGO_BIN_EXE_modelconverter"), &copy).unwrap();
    model(place.path(), "good.onnx");
    let run = |store: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
        command.args(["--offline", "convert", "rvc2", "--path", "good.onnx", "--output-dir", "result"]);
        command.current_dir(place.path()).env_clear().env("MODELCONVERTER_CACHE_DIR", store);
        command
    };
    let store = place.path().join("store");
    fails(&mut run(&store), 3).says(&["no permission", &store.display().to_string()]);
    allow(&place.path().join("good.onnx"), 0o000);
    fails(&mut run(&store), 1).says(&["no permission to open", "good.onnx"]);
    assert_eq!(names(place.path()), ["good.onnx", "modelconverter"]);
}

#[test]
fn without_home_the_store_must_be_named() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "good.onnx");
    let mut command = convert(folder.path(), &made_up.store, &made_up.project, "good.onnx");
    command.env_remove("HOME").env_remove("MODELCONVERTER_CACHE_DIR");
    fails(&mut command, 3).says(&["HOME is not set", "MODELCONVERTER_CACHE_DIR"]);
    assert!(!folder.path().join("output").exists());

    let mut command = convert(folder.path(), &made_up.store, &made_up.project, "good.onnx");
    succeed(command.env_remove("HOME"));

    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    succeed(Command::new("cp").args(["-al"]).arg(made_up.store.join("blobs")).arg(&cache));
    fs::create_dir(cache.join("modelconverter")).unwrap();
    fs::rename(cache.join("blobs"), cache.join("modelconverter/blobs")).unwrap();
    let mut command = convert(folder.path(), &made_up.store, &made_up.project, "good.onnx");
    command.env_remove("HOME").env_remove("MODELCONVERTER_CACHE_DIR").env("XDG_CACHE_HOME", &cache).arg("--offline");
    succeed(&mut command);
}

#[test]
fn no_temporary_folder_is_needed_on_the_host() {
    let folder = folder();
    let made_up = made_up();
    model(folder.path(), "good.onnx");
    let mut command = convert(folder.path(), &made_up.store, &made_up.project, "good.onnx");
    succeed(command.env("TMPDIR", "/nonexistent"));
}
