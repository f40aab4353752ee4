//! What an interpreter runs, read from its arguments.

use std::path::Path;

use super::redact;

/// Code that stands in the arguments themselves.
pub const INLINE: &str = "-c";

/// How a program takes its script.
struct Interpreter {
    names: &'static [&'static str],
    /// Options after which code follows.
    code: &'static [&'static str],
    /// Options after which a module follows.
    module: &'static [&'static str],
    /// Options whose next argument is theirs.
    value: &'static [&'static str],
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        code: &["-c"],
        module: &["-m"],
        value: &["-W", "-X", "--check-hash-based-pycs"],
    },
    Interpreter {
        names: &["node", "nodejs", "bun", "deno", "tsx", "ts-node"],
        code: &["-e", "--eval", "-p", "--print", "-pe"],
        module: &[],
        value: &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "-C",
            "--conditions",
            "--env-file",
            "--title",
            "--max-old-space-size",
        ],
    },
    Interpreter {
        names: &["ruby", "jruby"],
        code: &["-e"],
        module: &[],
        value: &["-I", "-r", "-C"],
    },
    Interpreter { names: &["perl"], code: &["-e", "-E"], module: &[], value: &["-I"] },
    Interpreter {
        names: &["php"],
        code: &["-r", "-R", "-B", "-E"],
        module: &[],
        value: &["-d", "-c", "-z", "-S", "-t"],
    },
    Interpreter {
        names: &["bash", "sh", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish"],
        code: &["-c"],
        module: &[],
        value: &["-O", "+O", "-o", "+o", "--rcfile", "--init-file"],
    },
    Interpreter { names: &["R", "Rscript"], code: &["-e"], module: &[], value: &["-g"] },
];

/// Java's options that take the next argument.
const JAVA_VALUES: &[&str] = &[
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--add-reads",
    "--add-exports",
    "--add-opens",
    "--limit-modules",
    "--patch-module",
    "--enable-native-access",
    "-d",
    "--describe-module",
    "--source",
];

/// A file's path, `-m module`, a class, or [`INLINE`]; nothing for programs
/// that interpret nothing, and for interpreters that read from their input. The
/// arguments are as they came; what is returned has no secrets in it.
pub fn of(exe: Option<&Path>, arguments: &[String], folder: Option<&Path>) -> Option<String> {
    raw(exe, arguments, folder).map(|script| redact::text(&script))
}

fn raw(exe: Option<&Path>, arguments: &[String], folder: Option<&Path>) -> Option<String> {
    let first = arguments.first().map(Path::new);
    let name = exe.or(first)?.file_name()?.to_str()?;
    let rest = arguments.get(1..).unwrap_or_default();
    if is_java(name) {
        return java(rest, folder);
    }
    let name = plain(name);
    if name == "busybox" {
        let applet = first?.file_name()?.to_str()?;
        let (applet, rest) = if applet == "busybox" {
            (rest.first()?.as_str(), rest.get(1..).unwrap_or_default())
        } else {
            (applet, rest)
        };
        return INTERPRETERS
            .iter()
            .find(|one| one.names.contains(&applet))
            .and_then(|one| read(one, rest, folder));
    }
    let interpreter = INTERPRETERS.iter().find(|one| one.names.contains(&name))?;
    read(interpreter, rest, folder)
}

fn is_java(name: &str) -> bool {
    name == "java" || name == "javaw"
}

/// `python3.11` is python, `perl5.36.0` perl.
fn plain(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

fn read(one: &Interpreter, arguments: &[String], folder: Option<&Path>) -> Option<String> {
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            return rest.next().map(|file| whole(file, folder));
        }
        if !argument.starts_with(['-', '+']) || argument.len() == 1 {
            // `-` is the standard input.
            if argument.len() == 1 && argument.starts_with('-') {
                return None;
            }
            // deno and bun name what to do first.
            if argument == "run" && one.names.contains(&"deno") {
                continue;
            }
            return Some(whole(argument, folder));
        }
        if let Some(file) = argument.strip_prefix("--file=") {
            return Some(whole(file, folder));
        }
        if argument == "-f" && one.names.contains(&"php") {
            return rest.next().map(|file| whole(file, folder));
        }
        if one.module.contains(&argument) {
            return rest.next().map(|module| format!("-m {module}"));
        }
        if let Some(module) = argument.strip_prefix("-m")
            && one.module.contains(&"-m")
        {
            return Some(format!("-m {module}"));
        }
        if one.code.contains(&argument) || is_bundle(argument, one) {
            return Some(INLINE.to_owned());
        }
        // What follows are the arguments of what comes by the standard input.
        if one.names.contains(&"bash") && argument == "-s" {
            return None;
        }
        // A name to be looked for where programs lie.
        if argument == "-S" && (one.names.contains(&"ruby") || one.names.contains(&"perl")) {
            return rest.find(|next| !next.starts_with('-')).map(str::to_owned);
        }
        if one.value.contains(&argument) {
            rest.next();
        }
    }
    None
}

/// `-lc` of a shell, `-ne` of perl, `-Wc` of python: letters of which one
/// takes code.
fn is_bundle(argument: &str, one: &Interpreter) -> bool {
    let Some(letters) = argument.strip_prefix('-') else { return false };
    if letters.starts_with('-') || !letters.bytes().all(|b| b.is_ascii_alphabetic()) {
        return false;
    }
    // What takes a value of its own ends the bundle.
    let valued = |letter: char| one.value.iter().any(|option| *option == format!("-{letter}"));
    for letter in letters.chars() {
        if one.code.iter().any(|option| *option == format!("-{letter}")) {
            return true;
        }
        if valued(letter) {
            return false;
        }
    }
    false
}

fn java(arguments: &[String], folder: Option<&Path>) -> Option<String> {
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "-jar" => return rest.next().map(|file| whole(file, folder)),
            "-m" | "--module" => return rest.next().map(|module| format!("-m {module}")),
            _ if JAVA_VALUES.contains(&argument) => {
                rest.next();
            }
            _ if argument.starts_with("--module=") => {
                return argument.strip_prefix("--module=").map(|module| format!("-m {module}"));
            }
            _ if argument.starts_with(['-', '@']) => {}
            // A single source file is run as it is.
            _ if argument.ends_with(".java") => return Some(whole(argument, folder)),
            _ => return Some(argument.to_owned()),
        }
    }
    None
}

/// A relative path below the folder that the process is in.
fn whole(file: &str, folder: Option<&Path>) -> String {
    match folder {
        Some(folder) if !file.starts_with('/') && !file.contains("://") => {
            let file = file.strip_prefix("./").unwrap_or(file);
            folder.join(file).display().to_string()
        }
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests;
