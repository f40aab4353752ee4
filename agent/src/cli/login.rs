//! `tidegate login`: roles that log in by their verifier.
//!
//! A password is asked for once, proven to the server and forgotten; what is
//! kept is what the server itself keeps of it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::dial::{Server, Tls, Verify};
use super::exit::{Exit, Failure};
use super::output::{self, Format, Page, Table};
use super::password;
use crate::config::logins::{self, DEFAULT_LOGINS, KeptLogin};
use crate::config::{self, Overrides, ProtectTarget, Settings};
use crate::model::Secret;
use crate::wire::postgres::scram::Verifier;

/// Keep verifiers of roles, so that channel binding works through the gate
///
/// A server that offers SCRAM-SHA-256-PLUS binds a login to its own TLS session.
/// With a role's verifier the agent proves the client itself, and logs in at the
/// server with what the client's proof yields. No password is stored.
#[derive(Debug, Args)]
pub struct Login {
    /// The file of verifiers
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_LOGINS)]
    file: PathBuf,
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    #[arg(hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Add(Add),
    Ls(List),
    Rm(Remove),
    Import(Import),
}

/// Ask for a role's password, prove it to the server, and keep its verifier
#[derive(Debug, Args)]
struct Add {
    /// A destination of the settings, or HOST[:PORT]
    server: String,
    role: String,
    /// Where the server is, if its name doesn't say it
    #[arg(long, value_name = "HOST:PORT")]
    at: Option<String>,
    /// Read the password from the first line of this file (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The database to log in at [default: postgres]
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    database: String,
    /// What is checked of the server's certificate
    #[arg(long, value_enum, default_value = "full", conflicts_with = "no_tls")]
    verify: Verify,
    /// Trust these certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "no_tls")]
    roots: Option<PathBuf>,
    /// The name that the certificate must bear [default: the host's]
    #[arg(long, value_name = "NAME", conflicts_with = "no_tls")]
    server_name: Option<String>,
    /// Speak without TLS
    #[arg(long)]
    no_tls: bool,
    /// How long the server may take for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// List the roles whose verifiers are kept
#[derive(Debug, Args)]
struct List {
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// Forget a role's verifier
#[derive(Debug, Args)]
struct Remove {
    /// As `ls` shows it
    server: String,
    role: String,
}

/// Keep the verifiers of a dump: lines of `role,verifier`
///
/// As from: COPY (SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword
/// LIKE 'SCRAM%') TO STDOUT WITH CSV
#[derive(Debug, Args)]
struct Import {
    /// A destination of the settings, or HOST[:PORT]
    server: String,
    /// `-`: stdin
    #[arg(default_value = "-")]
    dump: PathBuf,
}

impl Login {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        match &self.what {
            What::Add(add) => self.add(add),
            What::Ls(list) => self.list(list),
            What::Rm(remove) => self.remove(remove),
            What::Import(import) => self.import(import),
        }
    }

    fn add(&self, add: &Add) -> Result<Exit, Failure> {
        let settings = config::resolve(self.config.as_deref(), Overrides::default())?;
        let (name, known) = server(&settings, &add.server);
        let at = match &add.at {
            Some(at) => at.clone(),
            None => known.ok_or_else(|| {
                let text = format!(
                    "`{}` doesn't say where the server is: add `--at HOST:PORT`",
                    add.server
                );
                Failure::text(Exit::Usage, text)
            })?,
        };
        let server = Server {
            at: &at,
            name: add.server_name.as_deref(),
            tls: if add.no_tls { Tls::Never } else { Tls::Always(add.verify) },
            roots: add.roots.as_deref(),
            bpffs: &settings.bpffs,
            within: Duration::from_secs(add.timeout),
        };
        let password = password::of(add.password_file.as_deref(), &add.role, &at)?;
        let verifier = server.prove(&add.role, password, &add.database)?;
        self.keep(&name, &[(add.role.clone(), verifier)])?;
        super::say(&format!("kept the verifier of `{}` at `{name}`", add.role));
        super::say("a running agent takes it up on `tidegate reload`");
        Ok(Exit::Ok)
    }

    fn keep(&self, server: &str, verifiers: &[(String, Verifier)]) -> Result<(), Failure> {
        logins::change(&self.file, |list| {
            for (role, verifier) in verifiers {
                list.retain(|known| !(known.server == server && known.role == *role));
                list.push(KeptLogin {
                    server: server.into(),
                    role: role.clone(),
                    verifier: Secret(verifier.to_text().as_bytes().to_vec()),
                });
            }
        })?;
        Ok(())
    }

    fn list(&self, list: &List) -> Result<Exit, Failure> {
        #[derive(Serialize)]
        struct Shown<'l> {
            schema: u32,
            logins: Vec<Kept<'l>>,
        }
        #[derive(Serialize)]
        struct Kept<'l> {
            server: &'l str,
            role: &'l str,
            iterations: Option<u32>,
        }
        let kept = logins::read(&self.file)?;
        let iterations = |login: &KeptLogin| {
            Verifier::parse(&login.verifier.0).ok().map(|verifier| verifier.iterations().get())
        };
        let logins: Vec<_> = kept
            .iter()
            .map(|login| Kept {
                server: &login.server,
                role: &login.role,
                iterations: iterations(login),
            })
            .collect();
        match list.output {
            Format::Table | Format::Wide => {
                let mut table = Table::new(0, &["SERVER", "ROLE", "ITERATIONS"]);
                for login in &logins {
                    let iterations = login.iterations.map(|count| count.to_string());
                    table.row(vec![
                        login.server.into(),
                        login.role.into(),
                        iterations.unwrap_or_else(|| "unreadable".into()).into(),
                    ]);
                }
                let mut out = output::stdout();
                table.write(&mut out, Page::of_stdout())?;
                out.flush()?;
            }
            Format::Jsonl => {
                for login in &logins {
                    output::document(Format::Jsonl, login)?;
                }
            }
            machine => output::document(machine, &Shown { schema: 1, logins })?,
        }
        Ok(Exit::Ok)
    }

    fn remove(&self, remove: &Remove) -> Result<Exit, Failure> {
        let settings = config::resolve(self.config.as_deref(), Overrides::default())?;
        let (name, _) = server(&settings, &remove.server);
        let Remove { server, role } = remove;
        let gone = logins::change(&self.file, |list| {
            let before = list.len();
            let is = |login: &KeptLogin| login.server == *server || login.server == name;
            list.retain(|login| !(is(login) && login.role == *role));
            before > list.len()
        })?;
        if !gone {
            let text = format!("no verifier of `{role}` at `{server}` is kept: see `login ls`");
            return Err(Failure::text(Exit::Failed, text));
        }
        super::say(&format!("forgot the verifier of `{role}` at `{server}`"));
        Ok(Exit::Ok)
    }

    fn import(&self, import: &Import) -> Result<Exit, Failure> {
        let settings = config::resolve(self.config.as_deref(), Overrides::default())?;
        let (name, _) = server(&settings, &import.server);
        let text = password::text_of(&import.dump)?;
        let mut found = Vec::new();
        let mut faults = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match dump_line(line) {
                Ok(one) => found.push(one),
                Err(error) => faults.push(format!("line {number}: {error}")),
            }
        }
        if !faults.is_empty() {
            return Err(Failure::text(Exit::Usage, faults.join("\n")));
        }
        self.keep(&name, &found)?;
        super::say(&format!("kept {} verifiers for `{name}`", found.len()));
        Ok(Exit::Ok)
    }
}

/// `role,verifier`, the role quoted as CSV where it must be. A verifier holds no
/// comma. What is wrong is told without the verifier.
fn dump_line(line: &str) -> Result<(String, Verifier), String> {
    let form = || "it isn't of the form `role,verifier`".to_owned();
    let (role, verifier) = line.rsplit_once(',').ok_or_else(form)?;
    let plain = |field: &str| match field.strip_prefix('"').and_then(|f| f.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => field.to_owned(),
    };
    let (role, verifier) = (plain(role), plain(verifier.trim_end()));
    if role.is_empty() {
        return Err(form());
    }
    let verifier = Verifier::parse(verifier.as_bytes())
        .map_err(|error| format!("the verifier of `{role}`: {error}"))?;
    Ok((role, verifier))
}

/// The name to keep a server under, and where it is, as far as that is said.
fn server(settings: &Settings, word: &str) -> (String, Option<String>) {
    let known = settings.protect.iter().find(|protect| protect.name == word);
    if let Some(protect) = known {
        let at = match &protect.target {
            ProtectTarget::Host { host, port } => Some(format!("{host}:{port}")),
            ProtectTarget::Network { address, prefix, port }
                if u32::from(*prefix) == if address.is_ipv4() { 32 } else { 128 } =>
            {
                Some(std::net::SocketAddr::new(*address, *port).to_string())
            }
            _ => None,
        };
        return (word.into(), at);
    }
    let bracketed = word.ends_with(']');
    let has_port = !bracketed
        && word.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        });
    let at = if has_port {
        word.to_owned()
    } else if word.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("[{word}]:{DEFAULT_PORT}")
    } else {
        format!("{word}:{DEFAULT_PORT}")
    };
    (at.clone(), Some(at))
}

const DEFAULT_PORT: u16 = 5432;

#[cfg(test)]
mod tests;
