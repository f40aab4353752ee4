//! The terms under which connections are carried: what an enforcer must know of
//! the settings. The keeper reads every file that they name, and hands them
//! over whole; an enforcer opens none.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Sent at the start of an enforcer, and again whenever something changed.
/// Connections that are open keep the terms they began with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The generation of settings; a flow bears the one it was decided under.
    pub generation: u32,
    pub destinations: Vec<DestinationTerms>,
    /// The host's trusted roots, as DER certificates.
    pub system_roots: Vec<Der>,
    /// The host CA's certificate and what stands between it and a root, as DER:
    /// what a leaf is sent with. Empty: there is no CA, and TLS can't be ended.
    pub issuer: Vec<Der>,
    pub passthrough: Vec<Passthrough>,
    pub policy: PolicyTerms,
    /// What operators say that columns hold.
    pub classes: Vec<ColumnWord>,
    /// The key of the marks that stand for masked values: the same value has the
    /// same mark on this host.
    pub marks: Secret,
}

/// The terms of one protected destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationTerms {
    /// As in [`super::Flow::rule`].
    pub name: String,
    pub protocol: Protocol,
    /// What policies know it as; `None` counts as production.
    pub environment: Option<String>,
    pub tls: TlsTerms,
    pub auth: AuthTerms,
    pub pooling: Pooling,
    /// Who reads its databases' definitions; `None`: sessions do.
    pub catalog: Option<Account>,
}

impl DestinationTerms {
    /// The terms of a destination of which nothing is said but its name.
    pub fn named(name: String) -> Self {
        Self {
            name,
            protocol: Protocol::default(),
            environment: None,
            tls: TlsTerms::default(),
            auth: AuthTerms::default(),
            pooling: Pooling::default(),
            catalog: None,
        }
    }
}

/// What is spoken at a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Postgres,
    /// It is carried as it comes, and recorded as unread.
    Unread,
}

/// For how long a session has a process of the server to itself, should a pooler stand
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// For a transaction, unless the process is the one that the login announced.
    #[default]
    Auto,
    /// For its whole life: so the operator says.
    Session,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsTerms {
    pub verify: Verify,
    /// The name that the server's certificate must bear, where one is
    /// configured: the destination's host name, or `server_name`.
    pub server_name: Option<String>,
    /// `None`: the host's roots.
    pub roots: Option<Vec<Der>>,
    /// What the upstream leg presents when the server asks.
    pub client: Option<ClientCertificate>,
    /// The upstream leg has TLS even where the client leg, which never leaves
    /// this host, has none. Else it has TLS exactly if the client has.
    pub upstream_always: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// The chain and the name; a server that can't be verified is shown to the
    /// client as one that can't, by a certificate that nobody trusts. So the
    /// client decides as it would without us, and the record says what was found.
    #[default]
    Mirror,
    /// The chain and the name, or no connection.
    Full,
    /// The chain.
    Ca,
    /// Nothing; the record says so.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    pub chain: Vec<Der>,
    /// PKCS #8, PKCS #1 or SEC1.
    pub key: Secret,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthTerms {
    pub mode: AuthMode,
    /// Whether a password may be asked in clear over the client's TLS leg,
    /// where nothing better can be had.
    pub forbid_cleartext: bool,
    pub verifiers: Vec<RoleVerifier>,
    pub query: Option<AuthQuery>,
    /// Roles that workloads log in with; the first that fits.
    pub logins: Vec<Login>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// A verifier where one is given, else through, else in clear.
    #[default]
    Auto,
    /// Through only.
    Through,
    /// By a verifier only.
    Verifier,
    /// In clear over the client's TLS leg only.
    Cleartext,
}

/// A role's SCRAM verifier: `SCRAM-SHA-256$iterations:salt$stored:server`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleVerifier {
    pub role: String,
    pub verifier: Secret,
}

/// Asks the server itself for verifiers, with an account of the agent's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthQuery {
    pub role: String,
    pub password: Secret,
    pub database: String,
    /// `$1` is the role; it yields the verifier in its last column.
    pub query: String,
}

/// An account of the agent's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub role: String,
    pub password: Secret,
}

/// A workload that logs in as a role of ours, whatever it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    pub who: Who,
    pub role: String,
    pub password: Secret,
}

/// Which processes: all that is set must fit; nothing set fits everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub exe: Option<String>,
    pub unit: Option<String>,
    pub user: Option<u32>,
    pub cgroup: Option<String>,
}

/// Who is not read at a destination: by name, never learnt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passthrough {
    pub who: Who,
    /// The destination's name; `None`: all of them.
    pub destination: Option<String>,
}

/// An operator's word on what a column holds: `tidegate classify set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnWord {
    /// The destination's name; `None`: each.
    pub server: Option<String>,
    /// As its clients call it; `None`: each.
    pub database: Option<String>,
    pub schema: String,
    pub table: String,
    pub column: String,
    /// `None`: nothing sensitive, whatever is found of it.
    pub class: Option<String>,
}

/// What may run, and on whom that is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyTerms {
    pub mode: PolicyMode,
    /// Without the default policies.
    pub bare: bool,
    /// By name, each one of [`PACKS`].
    pub packs: Vec<String>,
    /// The operator's own: each file's name and text. They were held against the
    /// schema before they came here. None where nothing is decided.
    pub own: Vec<(String, String)>,
    /// Services that are no longer in shadow, by their workload's name.
    pub enforced: Vec<String>,
}

/// What follows from a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It is carried out, on services once they are named for it.
    #[default]
    Enforce,
    /// It is recorded, and changes nothing for anybody.
    Shadow,
    /// Nothing is decided.
    Off,
}

/// The packs of policies that come with the agent.
pub const PACKS: [&str; 2] = ["ai-agents", "read-only"];

/// A certificate's DER.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Der(pub Vec<u8>);

/// Bytes that no log and no error shows.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Der {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Der({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
