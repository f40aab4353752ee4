//! Which database, as PostgreSQL's own programs are told: keywords and values, or a
//! URI; what neither says is taken from their variables and `~/.pgpass`.
//!
//! Never: a word passed over in silence that would change where the login goes, or
//! what of the server is believed; a password in an error.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::dial::{Tls, Verify};

#[cfg(test)]
mod tests;

/// What was said, word by word.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words {
    pub host: Option<String>,
    /// Where the host is, if its name isn't to be resolved.
    pub hostaddr: Option<String>,
    pub port: Option<String>,
    pub database: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub passfile: Option<PathBuf>,
    pub sslmode: Option<String>,
    pub roots: Option<PathBuf>,
    pub timeout: Option<String>,
}

/// Where to log in, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    pub host: String,
    pub hostaddr: Option<String>,
    pub port: u16,
    pub database: String,
    pub user: String,
    /// As it was said or in a variable; `~/.pgpass` is looked at later.
    pub password: Option<String>,
    pub passfile: Option<PathBuf>,
    pub tls: Option<Tls>,
    pub roots: Option<PathBuf>,
    pub timeout: Option<u64>,
}

/// Taken in without a word: nothing that matters here hangs on them.
const IGNORED: [&str; 17] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "load_balance_hosts",
];

impl Words {
    /// `host=… dbname=…`, `postgres://…`, or a database's name alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        for scheme in ["postgres://", "postgresql://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return Self::of_uri(rest);
            }
        }
        if text.contains('=') {
            return Self::of_keywords(text);
        }
        if text.is_empty() {
            return Err("it is empty: write `host=… dbname=… user=…` or `postgres://…`".into());
        }
        Ok(Self { database: Some(text.to_owned()), ..Self::default() })
    }

    fn of_keywords(text: &str) -> Result<Self, String> {
        let mut words = Self::default();
        let mut signs = text.chars().peekable();
        loop {
            while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
            if signs.peek().is_none() {
                return Ok(words);
            }
            let mut key = String::new();
            while let Some(sign) = signs.next_if(|sign| *sign != '=' && !sign.is_whitespace()) {
                key.push(sign);
            }
            while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
            if signs.next() != Some('=') {
                return Err(format!("behind `{key}` an `=` is missing"));
            }
            while signs.next_if(|sign| sign.is_whitespace()).is_some() {}
            let quoted = signs.next_if_eq(&'\'').is_some();
            let mut value = String::new();
            let mut closed = !quoted;
            while let Some(sign) = signs.next_if(|sign| quoted || !sign.is_whitespace()) {
                match sign {
                    '\'' if quoted => {
                        closed = true;
                        break;
                    }
                    '\\' => value.extend(signs.next()),
                    sign => value.push(sign),
                }
            }
            if !closed {
                return Err(format!("the quote of `{key}` isn't closed"));
            }
            words.set(&key, value)?;
        }
    }

    /// Behind `postgres://`.
    fn of_uri(text: &str) -> Result<Self, String> {
        let mut words = Self::default();
        let (place, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (account, at) = match authority.rsplit_once('@') {
            Some((account, at)) => (account, at),
            None => ("", authority),
        };
        let (user, password) = match account.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (account, None),
        };
        let (host, port) = if let Some(rest) = at.strip_prefix('[') {
            let (host, rest) =
                rest.split_once(']').ok_or("the `[` of the address isn't closed by `]`")?;
            let port = match rest.strip_prefix(':') {
                Some(port) => port,
                None if rest.is_empty() => "",
                None => return Err("behind the address's `]` only `:PORT` may stand".into()),
            };
            (host, port)
        } else {
            at.split_once(':').unwrap_or((at, ""))
        };
        let parts = [
            ("user", Some(user)),
            ("password", password),
            ("host", Some(host)),
            ("port", Some(port)),
            ("dbname", Some(database)),
        ];
        for (key, value) in parts {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                words.set(key, percent_decoded(value, key)?)?;
            }
        }
        for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| "a parameter behind `?` has no `=`".to_owned())?;
            let key = percent_decoded(key, "a parameter")?;
            let value = percent_decoded(value, &key)?;
            // As JDBC has it, and libpq for its sake.
            if key == "ssl" && value == "true" {
                words.set("sslmode", "require".into())?;
            } else {
                words.set(&key, value)?;
            }
        }
        Ok(words)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        let place = match key {
            "host" => &mut self.host,
            "hostaddr" => &mut self.hostaddr,
            "port" => &mut self.port,
            "dbname" => &mut self.database,
            "user" => &mut self.user,
            "password" => &mut self.password,
            "sslmode" => &mut self.sslmode,
            "connect_timeout" => &mut self.timeout,
            "passfile" => {
                self.passfile = Some(value.into());
                return Ok(());
            }
            "sslrootcert" => {
                self.roots = (value != "system").then(|| value.into());
                return Ok(());
            }
            key if IGNORED.contains(&key) => return Ok(()),
            key => {
                return Err(format!(
                    "`{key}` is not taken here: `host`, `hostaddr`, `port`, `dbname`, `user`, \
                     `password`, `passfile`, `sslmode`, `sslrootcert` and `connect_timeout` are"
                ));
            }
        };
        *place = (!value.is_empty()).then_some(value);
        Ok(())
    }

    /// With what the variables say, and what holds where nobody says anything.
    pub fn complete(self, variable: impl Fn(&str) -> Option<String>) -> Result<Wanted, String> {
        let or = |word: Option<String>, name: &str| {
            word.or_else(|| variable(name).filter(|value| !value.is_empty()))
        };
        let port = or(self.port, "PGPORT").unwrap_or_else(|| "5432".into());
        let hostaddr = or(self.hostaddr, "PGHOSTADDR");
        let host = or(self.host, "PGHOST").or_else(|| hostaddr.clone());
        let host = host.unwrap_or_else(|| "localhost".into());
        if host.contains(',') || port.contains(',') {
            return Err("it names several servers: ask one at a time".into());
        }
        if host.starts_with('@') {
            return Err(format!("`{host}` is an abstract socket, and none is dialled here"));
        }
        let port = match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("`{port}` is no port")),
        };
        let user = or(self.user, "PGUSER").or_else(|| variable("USER"));
        let user = user.ok_or("it doesn't say as whom to log in: add `user=…`")?;
        let tls = or(self.sslmode, "PGSSLMODE").map(|mode| tls(&mode)).transpose()?;
        let timeout = match or(self.timeout, "PGCONNECT_TIMEOUT") {
            Some(text) => match text.parse::<u64>() {
                Ok(0) => None,
                Ok(seconds) => Some(seconds.clamp(2, 600)),
                Err(_) => return Err(format!("`connect_timeout`: `{text}` is no whole number")),
            },
            None => None,
        };
        Ok(Wanted {
            database: or(self.database, "PGDATABASE").unwrap_or_else(|| user.clone()),
            password: or(self.password, "PGPASSWORD"),
            passfile: self.passfile.or_else(|| variable("PGPASSFILE").map(PathBuf::from)),
            roots: self.roots.or_else(|| {
                variable("PGSSLROOTCERT").filter(|path| path != "system").map(PathBuf::from)
            }),
            host,
            hostaddr,
            port,
            user,
            tls,
            timeout,
        })
    }
}

impl Wanted {
    /// What is connected to: `HOST:PORT`, or the path of a socket.
    pub fn at(&self) -> String {
        let Self { host, port, .. } = self;
        if host.starts_with('/') {
            return format!("{host}/.s.PGSQL.{port}");
        }
        let host = self.hostaddr.as_ref().unwrap_or(host);
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }

    /// The password that a file of passwords has for it.
    pub fn password_in(&self, text: &str) -> Option<String> {
        // Sockets are `localhost` there.
        let host = if self.host.starts_with('/') { "localhost" } else { &self.host };
        let port = self.port.to_string();
        let wanted = [host, &port, &self.database, &self.user];
        text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let fields = fields(line);
            let [place @ .., password] = fields.as_slice() else { return None };
            let fits = place.len() == wanted.len()
                && place
                    .iter()
                    .zip(wanted)
                    .all(|((field, plain), wanted)| (field == "*" && *plain) || field == wanted);
            fits.then(|| password.0.clone())
        })
    }
}

/// Of a line `host:port:database:user:password`, with whether it has no backslash.
fn fields(line: &str) -> Vec<(String, bool)> {
    let mut all = vec![(String::new(), true)];
    let mut signs = line.trim_end_matches('\r').chars();
    while let Some(sign) = signs.next() {
        let full = all.len() >= 5;
        let Some((field, plain)) = all.last_mut() else { break };
        match sign {
            '\\' => {
                field.extend(signs.next());
                *plain = false;
            }
            ':' if !full => all.push((String::new(), true)),
            sign => field.push(sign),
        }
    }
    all
}

fn tls(mode: &str) -> Result<Tls, String> {
    match mode {
        "disable" => Ok(Tls::Never),
        "allow" | "prefer" => Ok(Tls::IfThere),
        "require" => Ok(Tls::Always(Verify::None)),
        "verify-ca" => Ok(Tls::Always(Verify::Ca)),
        "verify-full" => Ok(Tls::Always(Verify::Full)),
        other => Err(format!(
            "`sslmode`: `{other}` is none: it is `disable`, `prefer`, `require`, `verify-ca` or \
             `verify-full`"
        )),
    }
}

fn percent_decoded(text: &str, what: &str) -> Result<String, String> {
    let wrong = || format!("`{what}`: a `%` must be followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| format!("`{what}` is no text in UTF-8"))
}

/// Where passwords are kept, unless it is said.
pub fn default_passfile(home: Option<&Path>) -> Option<PathBuf> {
    home.map(|home| home.join(".pgpass"))
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words")
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wanted({})", self.at())
    }
}
