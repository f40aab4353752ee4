//! What an interpreter runs, read from its arguments.

use std::path::Path;

use super::redact;

/// Code that stands in the arguments themselves.
pub const INLINE: &str = "-c";

/// How a program takes its script.
#[derive(Clone, Copy)]
struct Interpreter {
    names: &'static [&'static str],
    /// Options after which code follows.
    code: &'static [&'static str],
    /// Options after which a module follows.
    module: &'static [&'static str],
    /// Options whose next argument is theirs. One of a single letter may stand behind
    /// others of its kind: `-euo pipefail`.
    value: &'static [&'static str],
    /// Options of more than a letter with one `-` that take nothing.
    words: &'static [&'static str],
    /// Letters behind which all that stands in the same argument is theirs.
    rest: &'static str,
    /// … and letters behind which these signs are.
    some: &'static [(char, &'static str)],
    /// What is run comes by the standard input.
    input: &'static str,
}

const NONE: Interpreter = Interpreter {
    names: &[],
    code: &[],
    module: &[],
    value: &[],
    words: &[],
    rest: "",
    some: &[],
    input: "",
};
const DIGITS: &str = "0123456789";

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        code: &["-c"],
        module: &["-m"],
        value: &["-W", "-X", "--check-hash-based-pycs"],
        rest: "WX",
        ..NONE
    },
    Interpreter {
        names: &["node", "nodejs", "tsx", "ts-node"],
        code: &["-e", "--eval", "-p", "--print"],
        value: NODE_VALUES,
        ..NONE
    },
    Interpreter {
        names: &["bun"],
        code: &["-e", "--eval", "-p", "--print"],
        value: &[
            "-r",
            "--preload",
            "--require",
            "--import",
            "--cwd",
            "--env-file",
            "-c",
            "--tsconfig-override",
        ],
        ..NONE
    },
    Interpreter {
        names: &["deno"],
        value: &[
            "-c",
            "--config",
            "--import-map",
            "--cert",
            "--location",
            "--seed",
            "-L",
            "--log-level",
            "--ext",
            "--preload",
        ],
        ..NONE
    },
    Interpreter {
        names: &["ruby", "jruby"],
        code: &["-e"],
        value: &[
            "-I",
            "-r",
            "-C",
            "-X",
            "-E",
            "--encoding",
            "--external-encoding",
            "--internal-encoding",
            "--backtrace-limit",
            "--disable",
            "--dump",
            "--enable",
        ],
        rest: "IrCXEFKxi",
        some: &[('0', DIGITS), ('W', DIGITS), ('T', DIGITS)],
        ..NONE
    },
    Interpreter {
        names: &["perl"],
        code: &["-e", "-E"],
        value: &["-I"],
        rest: "IFDmMxiV",
        some: &[('0', "0123456789abcdefABCDEFx"), ('l', DIGITS), ('C', "0123456789IOEioADSLa")],
        ..NONE
    },
    Interpreter {
        names: &["php"],
        code: &["-r", "-R", "-B", "-E"],
        value: &["-d", "-c", "-z", "-S", "-t"],
        rest: "dczSt",
        ..NONE
    },
    Interpreter {
        names: &["bash", "sh", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish"],
        code: &["-c"],
        value: &["-O", "+O", "-o", "+o", "--rcfile", "--init-file", "-rcfile", "-init-file"],
        words: &[
            "-debug",
            "-debugger",
            "-login",
            "-noediting",
            "-noprofile",
            "-norc",
            "-posix",
            "-pretty-print",
            "-restricted",
            "-verbose",
        ],
        input: "s",
        ..NONE
    },
    Interpreter { names: &["R", "Rscript"], code: &["-e"], value: &["-g"], ..NONE },
];

/// As `node --help` has them with `=...`, of versions 18 to 24.
const NODE_VALUES: &[&str] = &[
    "-C",
    "-r",
    "--allow-fs-read",
    "--allow-fs-write",
    "--build-sea",
    "--build-snapshot-config",
    "--conditions",
    "--cpu-prof-dir",
    "--cpu-prof-interval",
    "--cpu-prof-name",
    "--debug-port",
    "--diagnostic-dir",
    "--disable-proto",
    "--disable-warning",
    "--dns-result-order",
    "--env-file",
    "--env-file-if-exists",
    "--es-module-specifier-resolution",
    "--experimental-config-file",
    "--experimental-default-type",
    "--experimental-loader",
    "--experimental-policy",
    "--experimental-sea-config",
    "--experimental-specifier-resolution",
    "--heap-prof-dir",
    "--heap-prof-interval",
    "--heap-prof-name",
    "--heapsnapshot-near-heap-limit",
    "--heapsnapshot-signal",
    "--icu-data-dir",
    "--import",
    "--input-type",
    "--inspect-port",
    "--inspect-publish-uid",
    "--loader",
    "--localstorage-file",
    "--max-http-header-size",
    "--network-family-autoselection-attempt-timeout",
    "--openssl-config",
    "--policy-integrity",
    "--redirect-warnings",
    "--report-dir",
    "--report-directory",
    "--report-filename",
    "--report-signal",
    "--require",
    "--run",
    "--secure-heap",
    "--secure-heap-min",
    "--snapshot-blob",
    "--test-concurrency",
    "--test-coverage-branches",
    "--test-coverage-exclude",
    "--test-coverage-functions",
    "--test-coverage-include",
    "--test-coverage-lines",
    "--test-global-setup",
    "--test-isolation",
    "--test-name-pattern",
    "--test-reporter",
    "--test-reporter-destination",
    "--test-rerun-failures",
    "--test-shard",
    "--test-skip-pattern",
    "--test-timeout",
    "--title",
    "--tls-cipher-list",
    "--tls-keylog",
    "--trace-event-categories",
    "--trace-event-file-pattern",
    "--trace-require-module",
    "--unhandled-rejections",
    "--use-largepages",
    "--v8-pool-size",
    "--watch-kill-signal",
    "--watch-path",
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

/// A file's path, `-m module`, a class, [`INLINE`], or `@` and the file in which java's
/// class stands (nobody else reads that: it may be one that its user may not); nothing
/// for programs that interpret nothing, and for interpreters that read from their
/// input. The arguments are as they came; what is returned has no secrets in it.
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
            .and_then(|one| read(one, applet, rest, folder));
    }
    let interpreter = INTERPRETERS.iter().find(|one| one.names.contains(&name))?;
    read(interpreter, name, rest, folder)
}

fn is_java(name: &str) -> bool {
    name == "java" || name == "javaw"
}

/// `python3.11` is python, `perl5.36.0` perl.
fn plain(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

fn read(
    one: &Interpreter,
    name: &str,
    arguments: &[String],
    folder: Option<&Path>,
) -> Option<String> {
    let mut rest = arguments.iter().map(String::as_str);
    // To be looked for where programs lie.
    let mut by_name = false;
    let of = |name: &str| one.names.contains(&name);
    while let Some(argument) = rest.next() {
        // A shell's `-` ends its options too; another's is the standard input.
        if argument == "--" || argument == "-" && of("sh") {
            return rest.next().map(|file| whole(file, folder));
        }
        if argument == "-" {
            return None;
        }
        let is_option = argument.starts_with('-') || argument.starts_with('+') && of("sh");
        if !is_option {
            // These name what to do first.
            let is_order = match name {
                "deno" | "bun" => argument == "run",
                "node" | "nodejs" => argument == "inspect",
                _ => false,
            };
            if is_order {
                continue;
            }
            return Some(if by_name { argument.to_owned() } else { whole(argument, folder) });
        }
        if let Some(file) = argument.strip_prefix("--file=") {
            return Some(whole(file, folder));
        }
        if argument == "-f" && of("php") {
            return rest.next().map(|file| whole(file, folder));
        }
        let (option, own) = match argument.split_once('=') {
            Some((option, _)) if option.starts_with("--") => (option, true),
            _ => (argument, false),
        };
        if one.code.contains(&option) {
            return Some(INLINE.to_owned());
        }
        if one.value.contains(&option) {
            if !own {
                rest.next();
            }
            continue;
        }
        if option.starts_with("--") || one.words.contains(&option) {
            continue;
        }
        match letters(argument, one) {
            Letters::Code => return Some(INLINE.to_owned()),
            Letters::Module("") => return rest.next().map(|module| format!("-m {module}")),
            Letters::Module(module) => return Some(format!("-m {module}")),
            Letters::Input => return None,
            Letters::Options { values, named } => {
                by_name |= named;
                for _ in 0..values {
                    rest.next();
                }
            }
        }
    }
    None
}

/// What an argument of single letters says: `-lc` of a shell, `-ne` of perl, `-Wc` of
/// python.
enum Letters<'a> {
    Code,
    /// What stands behind it in the same argument.
    Module(&'a str),
    Input,
    Options {
        /// How many of the arguments that follow are theirs.
        values: usize,
        /// What is run is a name that is looked for.
        named: bool,
    },
}

fn letters<'a>(argument: &'a str, one: &Interpreter) -> Letters<'a> {
    let (mut values, mut named) = (0, false);
    let sign = argument.get(..1).unwrap_or_default();
    let mut rest = argument.get(1..).unwrap_or_default();
    while let Some(letter) = rest.chars().next().filter(char::is_ascii_alphanumeric) {
        rest = rest.get(1..).unwrap_or_default();
        let option = format!("{sign}{letter}");
        if one.code.contains(&option.as_str()) {
            return Letters::Code;
        }
        if one.module.contains(&option.as_str()) {
            return Letters::Module(rest);
        }
        if one.input.contains(letter) && sign == "-" {
            return Letters::Input;
        }
        let is_whole = one.rest.contains(letter) && !rest.is_empty();
        if is_whole {
            break;
        }
        values += usize::from(one.value.contains(&option.as_str()));
        named |= letter == 'S' && (one.names.contains(&"ruby") || one.names.contains(&"perl"));
        if let Some((_, signs)) = one.some.iter().find(|(of, _)| *of == letter) {
            rest = rest.trim_start_matches(|sign| signs.contains(sign));
        }
    }
    Letters::Options { values, named }
}

fn java(arguments: &[String], folder: Option<&Path>) -> Option<String> {
    let mut rest = arguments.iter().map(String::as_str);
    // A file with more arguments, of which the class may be one; who follows it may be
    // its argument only.
    let mut in_file = None;
    let (mut files, mut source) = (true, false);
    while let Some(argument) = rest.next() {
        match argument {
            "-jar" => return rest.next().map(|file| whole(file, folder)),
            "-m" | "--module" => return rest.next().map(|module| format!("-m {module}")),
            "-disable-@files" => files = false,
            _ if JAVA_VALUES.contains(&argument) => {
                source |= argument == "--source";
                rest.next();
            }
            _ if argument.starts_with("--module=") => {
                return argument.strip_prefix("--module=").map(|module| format!("-m {module}"));
            }
            _ if argument.starts_with('@') && files => {
                let file = argument.trim_start_matches('@');
                in_file = in_file.or(Some(format!("@{}", whole(file, folder))));
            }
            _ if argument.starts_with('-') => source |= argument.starts_with("--source="),
            _ if in_file.is_some() => return in_file,
            // A single source file is run as it is.
            _ if source || argument.ends_with(".java") => return Some(whole(argument, folder)),
            _ => return Some(argument.to_owned()),
        }
    }
    in_file
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
