//! `tidegate classify`: what a database's columns hold, how that is known, and what
//! an operator says instead. The catalog is read and judged by the very code that
//! judges it in the way of connections.

mod conninfo;
mod filled;
mod kept;
mod page;

pub(super) use kept::complete;

use std::net::ToSocketAddrs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::dial::{Server, Session, Tls, Unheard, Verify};
use super::exit::{Exit, Failure};
use super::output::Format;
use super::password;
use crate::config::{self, ClassSettings, Overrides, ProtectTarget, Settings, classes};
use crate::mask::learn::{Learner, Question};
use crate::mask::{Catalog, Class, Corrections};
use crate::model::{ColumnWord, DatabaseName};
use crate::wire::postgres::errand::Most;
use crate::wire::postgres::scram::Password;
use conninfo::{Wanted, Words};
use page::Report;

/// Shows what a database's columns hold, and why; and corrects it
///
/// Reads the catalog (no row of any table) and tells each sensitive column, its
/// class, what is done to it where no policy says otherwise, and what gave it away:
/// its name, type or comment, what a view makes it of (lineage), or an operator's
/// word (policy). Tables that were filled with something sensitive are told as the
/// agent on this host has seen it (lineage, filled). Columns that only their content gives away are found as answers
/// pass, and aren't told here.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Classify {
    #[command(flatten)]
    look: Look,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    Set(kept::Set),
    Unset(kept::Unset),
    List(kept::List),
    Filled(filled::List),
    Forget(filled::Forget),
}

#[derive(Debug, Args)]
struct Look {
    /// The database: `host=… port=… dbname=… user=…`, `postgres://…`, or its name
    ///
    /// What isn't said is taken from PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD
    /// and `~/.pgpass`, as PostgreSQL's own programs do; a password that the server
    /// asks for and nobody has said is asked at the terminal.
    #[arg(long, value_name = "CONNECTION")]
    db: Option<String>,
    /// All columns, also those that hold nothing sensitive
    #[arg(long)]
    all: bool,
    /// Only tables of this name, or `schema.table`; `*` stands for any signs
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// The destination of the settings that this server is [default: the one that
    /// its address fits]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Read the password from the first line of this file (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What is checked of the server's certificate [default: by `sslmode`, else full]
    #[arg(long, value_enum, conflicts_with = "no_tls")]
    verify: Option<Verify>,
    /// Trust these certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "no_tls")]
    roots: Option<PathBuf>,
    /// The name that the certificate must bear [default: the host's]
    #[arg(long, value_name = "NAME", conflicts_with = "no_tls")]
    server_name: Option<String>,
    /// Speak without TLS
    #[arg(long)]
    no_tls: bool,
    /// How long the server may take for an answer, in seconds [default: by
    /// `connect_timeout`, else 30]
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: Option<u64>,
    #[command(flatten)]
    place: Place,
}

/// Where the words on columns are kept.
#[derive(Debug, Args)]
struct Place {
    /// The file of corrections [default: the settings' `classes`]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl Place {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = config::resolve(self.config.as_deref(), Overrides::default())?;
        if let Some(file) = &self.file {
            settings.classes = ClassSettings { file: file.clone(), words: Vec::new() };
        }
        Ok(settings)
    }
}

impl Classify {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        match &self.what {
            None => self.look.carry_out(),
            Some(What::Set(set)) => set.carry_out(),
            Some(What::Unset(unset)) => unset.carry_out(),
            Some(What::List(list)) => list.carry_out(),
            Some(What::Filled(list)) => list.carry_out(),
            Some(What::Forget(forget)) => forget.carry_out(),
        }
    }
}

impl Look {
    fn carry_out(&self) -> Result<Exit, Failure> {
        let usage = |text: String| Failure::text(Exit::Usage, text);
        let db = self.db.as_deref().ok_or_else(|| {
            usage("which database? `tidegate classify --db \"host=… dbname=… user=…\"`".into())
        })?;
        let variable = |name: &str| std::env::var(name).ok();
        let wanted = Words::parse(db)
            .and_then(|words| words.complete(variable))
            .map_err(|why| usage(format!("`--db`: {why}")))?;
        let mut settings = self.place.settings()?;
        complete(&mut settings.classes)?;
        let destination = match &self.server {
            Some(name) => Some(name.clone()),
            None => destination(&settings, &wanted),
        };
        let at = wanted.at();
        let words = &settings.classes.words;
        let corrections = Corrections::of(0, words, destination.as_deref(), &wanted.database)
            .map_err(|error| usage(error.to_string()))?;
        let learnt = self.learn(&settings, &wanted, &at, destination.as_deref(), corrections)?;
        let filter = self.table.as_deref().map(page::Filter::parse).transpose().map_err(usage)?;
        let report = Report::of(&learnt.catalog, &learnt.types, filter.as_ref(), self.all);
        report.show(self.output, &at, &wanted.database, destination.as_deref())?;
        for word in words {
            let here = word.database.as_deref().is_none_or(|name| name == wanted.database)
                && (word.server.is_none() || word.server == destination);
            if here && !is_there(&learnt.catalog, word) {
                super::say(&format!(
                    "`{}` is classified, and there is no such column here",
                    classes::written(word)
                ));
            }
        }
        if learnt.unread > 0 {
            super::say(&format!("{} rows of the catalog could not be read", learnt.unread));
        }
        Ok(Exit::Ok)
    }

    fn learn(
        &self,
        settings: &Settings,
        wanted: &Wanted,
        at: &str,
        destination: Option<&str>,
        corrections: Corrections,
    ) -> Result<Learnt, Failure> {
        let tls = match (self.no_tls, self.verify, wanted.tls) {
            (true, ..) => Tls::Never,
            (_, Some(verify), _) => Tls::Always(verify),
            (_, None, Some(tls)) => tls,
            (_, None, None) => Tls::Always(Verify::Full),
        };
        let seconds = self.timeout.or(wanted.timeout).unwrap_or(USUAL_TIMEOUT);
        // With `hostaddr` the name is still the one that is believed.
        let name = self.server_name.as_deref().or(Some(&*wanted.host));
        let server = Server {
            at,
            name,
            tls,
            roots: self.roots.as_deref().or(wanted.roots.as_deref()),
            bpffs: &settings.bpffs,
            within: Duration::from_secs(seconds),
        };
        let mut session = self.log_in(&server, wanted, at)?;
        let mut learner = Learner::default();
        for question in Question::ALL {
            for row in session.ask(question.sql())? {
                learner.row(*question, row.iter().map(|value| value.as_deref()));
            }
        }
        let mut types = page::Types::new();
        for row in session.ask(TYPES)? {
            let text = |place: usize| str::from_utf8(row.get(place)?.as_deref()?).ok();
            let number = |place: usize| text(place)?.parse::<u32>().ok();
            if let (Some(relation), Some(column), Some(name)) = (number(0), number(1), text(2)) {
                types.insert((relation, u16::try_from(column).unwrap_or_default()), name.into());
            }
        }
        // Who may not ask for it is known without it, as in the way of connections.
        let system = session.ask(IDENTITY).ok().and_then(|rows| {
            let value = rows.into_iter().next()?.into_iter().next()??;
            String::from_utf8(value.to_vec()).ok()
        });
        session.end();
        let name = DatabaseName {
            destination: destination.unwrap_or_default().to_owned(),
            system: system.unwrap_or_default(),
            database: wanted.database.to_string(),
        };
        let unread = learner.unread();
        let mut catalog = Catalog::default();
        catalog.correct(&Arc::new(corrections));
        for filled in filled::of(&settings.classes.filled(), &name) {
            let _ = catalog.carry((&filled).into());
        }
        learner.finish(&mut catalog);
        Ok(Learnt { catalog, types, unread })
    }

    /// Who has said no password is asked for it when the server asks.
    fn log_in<'s>(
        &self,
        server: &'s Server<'s>,
        wanted: &Wanted,
        at: &str,
    ) -> Result<Session<'s>, Failure> {
        let said = match &self.password_file {
            Some(file) => Some(password::of(Some(file), &wanted.user, at)?),
            None => {
                let found = wanted.password.clone().map_or_else(|| in_passfile(wanted), Some);
                found.map(|text| Password::new(text.into_bytes()))
            }
        };
        let enter = |password| server.log_in(&wanted.user, password, &wanted.database, MOST);
        let entered = match enter(said) {
            Err(Unheard::Password) => enter(Some(password::of(None, &wanted.user, at)?)),
            entered => entered,
        };
        entered.map_err(|unheard| match unheard {
            Unheard::Failed(failure) => failure,
            Unheard::Password => Failure::text(Exit::Denied, "the server asks for a password"),
        })
    }
}

/// What was read of a database.
struct Learnt {
    catalog: Catalog,
    types: page::Types,
    unread: u64,
}

fn is_there(catalog: &Catalog, word: &ColumnWord) -> bool {
    catalog
        .named(Some(&word.schema), &word.table)
        .any(|relation| relation.columns.iter().any(|one| *one.name == *word.column))
}

/// The password of `~/.pgpass`, if nobody else can read it.
fn in_passfile(wanted: &Wanted) -> Option<String> {
    let home = std::env::home_dir();
    let file = wanted.passfile.clone().or_else(|| conninfo::default_passfile(home.as_deref()))?;
    let metadata = std::fs::metadata(&file).ok().filter(std::fs::Metadata::is_file)?;
    if metadata.mode() & 0o077 != 0 {
        let file = file.display();
        super::say(&format!("`{file}` is left aside: others can read it: run `chmod 600 {file}`"));
        return None;
    }
    wanted.password_in(&password::text_of(&file).ok()?)
}

/// The destination that covers a server most closely.
fn destination(settings: &Settings, wanted: &Wanted) -> Option<String> {
    let mut places: Vec<ProtectTarget> = Vec::new();
    let Wanted { host, hostaddr, port, .. } = wanted;
    if host.starts_with('/') {
        return None;
    }
    if let Ok(target) = ProtectTarget::parse(&bracketed(host, *port)) {
        places.push(target);
    }
    let at = (hostaddr.as_deref().unwrap_or(host), *port);
    for address in at.to_socket_addrs().into_iter().flatten() {
        places.extend(ProtectTarget::parse(&address.to_string()));
    }
    let closeness = |target: &ProtectTarget| match target {
        ProtectTarget::Host { .. } => 1_000,
        ProtectTarget::Network { prefix, .. } => 1 + u32::from(*prefix),
        ProtectTarget::Port(_) => 0,
    };
    let covers = |target: &ProtectTarget| places.iter().any(|place| place.is_within(target));
    settings
        .protect
        .iter()
        .filter(|protect| covers(&protect.target))
        .max_by_key(|protect| closeness(&protect.target))
        .filter(|protect| !protect.exclude)
        .map(|protect| protect.name.clone())
}

fn bracketed(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The names of all classes.
fn class_names() -> Vec<&'static str> {
    Class::ALL.iter().map(|class| class.as_str()).collect()
}

/// As enforcers ask who a server is.
const IDENTITY: &str = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
/// How types are written, modifiers and all: [`Question`]s only ask what they are.
const TYPES: &str = "SELECT a.attrelid, a.attnum, \
     pg_catalog.format_type(a.atttypid, a.atttypmod) \
     FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid \
     WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,f,p}') \
     AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped \
     ORDER BY c.oid, a.attnum \
     LIMIT 500000";
/// As many rows as any question asks for; bytes of one answer.
const MOST: Most = Most { rows: 500_000, bytes: 512 << 20 };
const USUAL_TIMEOUT: u64 = 30;

/// For messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
