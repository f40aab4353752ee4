//! What is spoken at a destination, and how its TLS and its logins are dealt
//! with: the settings, as they were checked. The files that they name are read
//! by the keeper.

use std::path::PathBuf;

use crate::model::{AuthMode, Pooling, Protocol, Verify};

/// How a destination's connections are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub protocol: Protocol,
    pub tls: TlsSettings,
    pub auth: AuthSettings,
    pub pooling: Pooling,
    /// Who reads the databases' definitions; `None`: sessions do.
    pub catalog: Option<AccountSettings>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    pub verify: Verify,
    /// `None`: the host's roots.
    pub roots: Option<PathBuf>,
    /// `None`: the destination's host name, where it has one.
    pub server_name: Option<String>,
    pub client: Option<ClientFiles>,
    /// TLS upstream even where the client has none.
    pub upstream_always: bool,
}

/// Shown to a server that asks; both as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthSettings {
    pub mode: AuthMode,
    pub forbid_cleartext: bool,
    /// A file of roles' SCRAM verifiers.
    pub verifiers: Option<PathBuf>,
    pub query: Option<QuerySettings>,
    pub logins: Vec<LoginSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
    pub role: String,
    pub password_file: PathBuf,
    pub database: String,
    pub query: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    pub role: String,
    /// Its first line is the password.
    pub password_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSettings {
    pub who: WhoSettings,
    pub role: String,
    /// Its first line is the password.
    pub password_file: PathBuf,
}

/// Which processes; nothing set fits everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhoSettings {
    pub exe: Option<String>,
    pub unit: Option<String>,
    /// A name or a number.
    pub user: Option<String>,
    pub cgroup: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassthroughSettings {
    pub who: WhoSettings,
    /// A destination's name; `None`: all of them.
    pub to: Option<String>,
}

/// Where the host's CA is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Asks for a role's verifier where nothing else is written. The verifier is
/// the last column; a role that may not log in has none.
pub(super) const DEFAULT_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL \
                                        ELSE rolpassword END FROM pg_authid WHERE rolname = $1 \
                                        AND rolcanlogin";
pub(super) const DEFAULT_DATABASE: &str = "postgres";

impl Service {
    /// Nothing configured but the protocol.
    pub fn of(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }
}

impl Default for CaSettings {
    fn default() -> Self {
        Self {
            certificate: PathBuf::from("/etc/tidegate/ca.crt"),
            key: PathBuf::from("/etc/tidegate/ca.key"),
        }
    }
}

// ---- single values ----------------------------------------------------------

pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    word("protocol", text, &[("postgres", Protocol::Postgres), ("unread", Protocol::Unread)])
}

pub(super) fn verify(text: &str) -> Result<Verify, String> {
    let words = [
        ("mirror", Verify::Mirror),
        ("full", Verify::Full),
        ("ca", Verify::Ca),
        ("none", Verify::None),
    ];
    word("value", text, &words)
}

pub(super) fn auth(text: &str) -> Result<AuthMode, String> {
    word(
        "value",
        text,
        &[
            ("auto", AuthMode::Auto),
            ("through", AuthMode::Through),
            ("verifier", AuthMode::Verifier),
            ("cleartext", AuthMode::Cleartext),
        ],
    )
}

pub(super) fn pooling(text: &str) -> Result<Pooling, String> {
    word("value", text, &[("auto", Pooling::Auto), ("session", Pooling::Session)])
}

/// True: always.
pub(super) fn upstream(text: &str) -> Result<bool, String> {
    word("value", text, &[("follow", false), ("always", true)])
}

/// True: forbidden.
pub(super) fn cleartext(text: &str) -> Result<bool, String> {
    word("value", text, &[("allow", false), ("forbid", true)])
}

fn word<T: Copy>(what: &str, text: &str, known: &[(&str, T)]) -> Result<T, String> {
    known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        super::file::unknown(what, text, &words)
    })
}

/// A host name or an address, as a certificate bears it.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(address.to_string());
    }
    super::protect::host_name(text).map_err(|_| {
        format!("`{text}` is neither a host name nor an address, such as `db.example`")
    })
}

/// `file:/etc/tidegate/app.password`
pub(super) fn secret_file(text: &str) -> Result<PathBuf, String> {
    let Some(path) = text.strip_prefix("file:") else {
        // What was written may be the password itself: it is not repeated.
        return Err("a secret is not written here: write `file:` and the absolute path of a file \
                    that holds it"
            .into());
    };
    super::check::absolute(PathBuf::from(path))
}

/// A role, a database: what PostgreSQL takes as a name.
pub(super) fn identifier(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.len() <= 63 && !text.contains('\0');
    if fine { Ok(text.to_owned()) } else { Err("a name has 1 to 63 bytes".into()) }
}

pub(super) fn query(text: &str) -> Result<String, String> {
    if text.contains('\0') || text.len() > 8192 {
        return Err("a query has at most 8192 bytes, none of them zero".into());
    }
    if text.contains("$1") {
        Ok(text.to_owned())
    } else {
        Err("it must ask for the role by `$1`, such as `… WHERE rolname = $1`".into())
    }
}
