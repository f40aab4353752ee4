//! Programs whose passwords stand behind options that say nothing of it, found at any
//! word of a command line: behind `sudo`, `env`, `timeout`, `docker exec`, `ssh`.

use std::path::Path;

use super::sql;
use super::words::is_secret;

/// Options of one letter that take a password, by program.
const SHORT: &[(&[&str], &[&str], Short)] = &[
    (
        &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlshow",
            "mysqlsh",
            "mysqlcheck",
            "mysqlbinlog",
            "mysqlpump",
            "mysqlslap",
            "mysql_upgrade",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
            "mariadb-import",
            "mariadb-show",
            "mariadb-check",
            "mariadb-binlog",
            "mariadb-backup",
            "mariabackup",
            "mycli",
        ],
        &["-p"],
        Short::Joined,
    ),
    (
        &[SSHPASS, "mongo", "mongosh", "mongodump", "mongorestore", "cqlsh", "mydumper"],
        &["-p"],
        Short::Either,
    ),
    (&["redis-cli", "valkey-cli"], &["-a"], Short::Either),
    (&["sqlcmd", "bcp", "osql"], &["-P"], Short::Either),
    (&["ldapsearch", "ldapmodify", "ldapadd", "ldapwhoami"], &["-w"], Short::Either),
    (&["curl"], &["-u", "-U"], Short::User),
    (&["wget"], &["-u"], Short::User),
];
const SSHPASS: &str = "sshpass";
/// What curl takes before `u` in the same argument: none of these has a value.
const FLAGS: &str = "sSkfLviIngNqjlaBGJORpZ#012346";

/// Their `--password` asks, and takes no value.
const ASKS: &[&str] = &[
    "psql",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "createdb",
    "dropdb",
    "createuser",
    "dropuser",
    "vacuumdb",
    "reindexdb",
    "clusterdb",
    "pg_receivewal",
];

/// Programs to which these letters say something harmless. Right behind a name of the
/// others: then that is of a container, or a host, and this is what runs there.
const OTHERS: &[&str] =
    &["ssh", "scp", "sftp", "ls", "mkdir", "cp", "ps", "nc", "tar", "rsync", "install", "id"];

/// Options behind which the name of a program is no program.
const NAMES: &[&str] = &["-name", "-iname", "-wholename", "--name"];

/// Programs with a `-p` for ports.
const RUNS: &[&str] = &["docker", "podman", "nerdctl"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    /// `-pSECRET` only: a blank after it asks.
    Joined,
    /// `-aSECRET` or `-a SECRET`.
    Either,
    /// `-u USER:SECRET`.
    User,
}

/// What a word holds, and from which byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Plain,
    /// An option's name, whose value is the next word.
    Option,
    Secret(usize),
    /// `USER:SECRET`
    User(usize),
    /// Of SQL; `doubles`: `"` may quote a value in it.
    Statement {
        from: usize,
        doubles: bool,
    },
}

/// Reads a command line, a word at a time.
#[derive(Default)]
pub(super) struct Reader<'a> {
    /// Programs that were named so far. One more takes nothing back: what looks like a
    /// program may be the name of a database.
    named: Vec<&'a str>,
    /// The last word named one more.
    just: bool,
    /// The last word says that the next is a name.
    names: bool,
    next: Option<Part>,
    /// `-p` may be of `docker run`.
    may_be_ports: bool,
}

impl<'a> Reader<'a> {
    pub fn take(&mut self, word: &'a str) -> Part {
        if let Some(part) = self.next.take() {
            let ports = self.may_be_ports && is_ports(word);
            return if ports { Part::Plain } else { part };
        }
        if std::mem::replace(&mut self.names, NAMES.contains(&word)) {
            return Part::Plain;
        }
        let name = program(word);
        if std::mem::take(&mut self.just) && OTHERS.contains(&name) {
            self.named.pop();
        }
        // The first is a program in any case.
        let first = self.named.is_empty();
        if first || is_known(name) {
            if !self.named.contains(&name) {
                self.named.push(name);
                self.just = !first;
            }
            return Part::Plain;
        }
        self.option(word)
    }

    fn option(&mut self, word: &str) -> Part {
        self.may_be_ports = false;
        if let Some((way, at)) = self.short(word) {
            let (joined, rest) = (at < word.len(), word.get(at..).unwrap_or_default());
            let runs = self.named.iter().any(|name| RUNS.contains(name));
            self.may_be_ports = runs;
            return match way {
                _ if runs && is_ports(rest) => Part::Plain,
                Short::Joined if !joined => Part::Plain,
                Short::Joined => Part::Secret(at),
                Short::User if joined => Part::User(at),
                Short::User => {
                    self.next = Some(Part::User(0));
                    Part::Option
                }
                Short::Either => {
                    // What it runs has options of its own.
                    self.named.retain(|name| *name != SSHPASS);
                    if joined {
                        return Part::Secret(at);
                    }
                    self.next = Some(Part::Secret(0));
                    Part::Option
                }
            };
        }
        if word.starts_with('-') && !word.contains(['=', ' ']) && is_secret(word) {
            let asks = self.named.first().is_some_and(|name| ASKS.contains(name));
            if !(asks && word == "--password") {
                self.next = Some(Part::Secret(0));
            }
            return Part::Option;
        }
        if let Some(doubles) = self.takes(word) {
            self.next = Some(Part::Statement { from: 0, doubles });
            return Part::Plain;
        }
        if let Some((option, rest)) = joined(word)
            && let Some(doubles) = self.takes(option)
        {
            return Part::Statement { from: word.len() - rest.len(), doubles };
        }
        let users = ["--user", "--proxy-user"];
        if users.contains(&word) && self.named.contains(&"curl") {
            self.next = Some(Part::User(0));
        }
        Part::Plain
    }

    /// How a program takes this option's secret, and where that begins.
    fn short(&self, word: &str) -> Option<(Short, usize)> {
        SHORT
            .iter()
            .filter(|(names, ..)| self.named.iter().any(|name| names.contains(name)))
            .find_map(|(_, options, way)| {
                let option = options.iter().find(|option| word.starts_with(**option));
                if *way != Short::User || option.is_some() {
                    return Some((*way, option?.len()));
                }
                let letters = word.strip_prefix('-')?;
                let flags = letters.trim_start_matches(|flag| FLAGS.contains(flag));
                let user =
                    options.iter().any(|option| flags.starts_with(option.trim_start_matches('-')));
                user.then(|| (*way, word.len() - flags.len() + 1))
            })
    }

    fn takes(&self, option: &str) -> Option<bool> {
        self.named.iter().find_map(|name| sql::takes(name, option))
    }
}

/// The name of a program's file.
fn program(word: &str) -> &str {
    Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or(word)
}

fn is_known(name: &str) -> bool {
    SHORT.iter().any(|(names, ..)| names.contains(&name))
        || sql::is_client(name)
        || RUNS.contains(&name)
}

/// `5432:5432`, `127.0.0.1:8080:80/tcp`
fn is_ports(text: &str) -> bool {
    let text = text.trim_end_matches("/tcp").trim_end_matches("/udp");
    text.contains(':') && text.bytes().all(|byte| byte.is_ascii_digit() || b".:-".contains(&byte))
}

/// `--command=…`, `-c…`
fn joined(word: &str) -> Option<(&str, &str)> {
    if word.starts_with("--") { word.split_once('=') } else { word.split_at_checked(2) }
}
