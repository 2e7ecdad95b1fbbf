//! `entry_points.txt` and the scripts that are made of it (Entry points specification; PEP 427 "Recommended installer
//! features").

use crate::image_path::ImagePath;

/// A command that a wheel installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: String,
    module: String,
    attribute: String,
}

impl Command {
    /// Returns the text of its script. Part of layer format 1: another text is another image.
    pub(super) fn script(&self, interpreter: &ImagePath) -> String {
        let Self { module, attribute, .. } = self;
        let first = attribute.split('.').next().unwrap_or(attribute);
        format!(
            "#!/{interpreter}\nimport sys\n\nfrom {module} import {first}\n\nif __name__ == \"__main__\":\n    \
             sys.exit({attribute}())\n"
        )
    }
}

/// Reads the commands of the sections `console_scripts` and `gui_scripts`; the error says what is wrong.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    let mut wanted = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            wanted = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !wanted {
            continue;
        }
        let command = command(line).ok_or_else(|| format!("entry point `{line}` cannot be used"))?;
        if !is_free(&command.name) {
            return Err(format!("command `{}` has a reserved name, or one that is no file name", command.name));
        }
        if commands.iter().any(|earlier| earlier.name == command.name) {
            return Err(format!("command `{}` stands twice", command.name));
        }
        commands.push(command);
    }
    Ok(commands)
}

fn command(line: &str) -> Option<Command> {
    let (name, reference) = line.split_once('=')?;
    // `module:attribute [extra]`: the extras are an old way to name optional dependencies.
    let reference = reference.split('[').next().unwrap_or_default().trim();
    let (module, attribute) = reference.split_once(':')?;
    let (module, attribute) = (module.trim(), attribute.trim());
    let dotted = |text: &str| {
        text.split('.').all(|part| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && part.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        })
    };
    (dotted(module) && dotted(attribute)).then(|| Command {
        name: name.trim().to_owned(),
        module: module.to_owned(),
        attribute: attribute.to_owned(),
    })
}

/// Returns whether a wheel may have a command of that name: a plain file name, and not the interpreter's own.
pub(super) fn is_free(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    let lower = name.to_ascii_lowercase();
    let interpreter = lower.strip_prefix("python").is_some_and(|rest| {
        rest.trim_end_matches(".exe").bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'w')
    });
    plain && !name.is_empty() && !name.starts_with(['.', '-']) && !interpreter && !lower.starts_with("activate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_written_as_scripts() {
        let text =
            "[other]\nx = y\n[console_scripts]\n# no\nmo = mo.__main__:main\n[gui_scripts]\npot=app.run:Run.it [x]\n";
        let commands = commands(text).unwrap();
        assert_eq!(commands.iter().map(|command| command.name.as_str()).collect::<Vec<_>>(), ["mo", "pot"]);
        let interpreter = "/usr/bin/python3.9".parse().unwrap();
        assert_eq!(
            commands[1].script(&interpreter),
            "#!/usr/bin/python3.9\nimport sys\n\nfrom app.run import Run\n\nif __name__ == \"__main__\":\n    sys.exit(Run.it())\n"
        );
    }

    #[test]
    fn reserved_and_broken_commands_are_refused() {
        for line in [
            "python = a:b",
            "python3.9 = a:b",
            "Pythonw.exe = a:b",
            "activate.fish = a:b",
            "../x = a:b",
            "a/b = a:b",
            ".x = a:b",
            " = a:b",
            "x = a",
            "x = a:b;c",
            "x = a:b\u{0}",
            "x = 1a:b",
            "x = a:",
            "x",
        ] {
            assert!(commands(&format!("[console_scripts]\n{line}\n")).is_err(), "{line}");
        }
        assert!(commands("[console_scripts]\nx = a:b\nx = a:c\n").is_err());
        assert!(is_free("pythonic") && is_free("f2py3.9"));
    }
}
