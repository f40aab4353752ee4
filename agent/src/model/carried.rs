//! How a connection was carried: what the enforcer has to say of it when it
//! ends.

use serde::{Deserialize, Serialize};

use super::Protocol;

/// All texts are safe to show; what a client says is cut to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub protocol: Protocol,
    /// Somebody said by name that it isn't to be read.
    pub passthrough: bool,
    /// Nothing but a request to cancel another session's statement.
    pub cancel: bool,
    pub replication: bool,
    pub client_tls: Option<TlsCarried>,
    pub upstream_tls: Option<TlsCarried>,
    /// How far the server's identity is known.
    pub verified: Option<String>,
    /// The certificate that the client was shown: signed by the host's CA or not.
    pub leaf: Option<String>,
    /// The name that the client asked for (SNI).
    pub asked_name: Option<String>,
    /// The alert by which the client turned our certificate down.
    pub rejected: Option<String>,
    /// The protocol's version.
    pub version: Option<String>,
    pub role: Option<String>,
    pub database: Option<String>,
    pub application: Option<String>,
    /// How the client was authenticated, and how the server let us in.
    pub auth: Option<String>,
    /// The SQLSTATE by which the server refused the login.
    pub refused_login: Option<String>,
    /// What the policies say of the session itself, where they don't allow it.
    pub admission: Option<Admission>,
    /// Why tidegate ended it.
    pub fault: Option<String>,
}

/// That somebody may not have a session at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// It was refused; in shadow it would have been.
    pub refused: bool,
    /// The policies that decided it.
    pub policies: Vec<String>,
    /// Which policies were in force.
    pub generation: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCarried {
    pub version: String,
    pub suite: String,
}
