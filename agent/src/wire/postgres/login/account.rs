//! How somebody was logged in: what a record says of it.

use std::fmt;

/// Facts of one login, complete when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As whom the server knows the session.
    pub role: Box<[u8]>,
    /// What the client called itself, where a role was given to it.
    pub claimed: Option<Box<[u8]>>,
    pub way: Way,
    pub why: Why,
    /// What the client was asked for, and what the server.
    pub client: Method,
    pub server: Method,
    /// The verifier that was given doesn't fit the server's any more.
    pub stale: bool,
    /// A verifier was given that can't be read.
    pub broken: bool,
}

/// Who answers the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Way {
    /// The client itself.
    #[default]
    Through,
    /// The client's proof is turned into the server's, by the role's verifier.
    Verifier,
    /// The client's password was asked for in clear, over its TLS leg.
    Cleartext,
    /// The client needs no password: its login is tidegate's.
    Given,
}

/// Why it is this way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nothing stands in the way of what the client and the server say.
    #[default]
    Unhindered,
    /// The server offers a binding to its TLS session, and the client takes none.
    ClientUnbound,
    /// The client's leg has no TLS, so that it is offered none.
    ClientPlain,
    /// The server binds to its own TLS session, the client to ours.
    Bound,
    /// The client is of a kind that has to be asked in clear at once.
    Known,
    /// The verifier didn't fit any more.
    Stale,
    /// The settings want it.
    Settings,
}

/// How one side was authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// Not at all, by a password's standard: trust, a certificate, peer.
    #[default]
    None,
    /// A password or a token in clear.
    Cleartext,
    Md5,
    Scram,
    /// SCRAM bound to the TLS session.
    ScramPlus,
    /// GSS, SSPI, or another SASL mechanism.
    Other,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Through => "through",
            Self::Verifier => "verifier",
            Self::Cleartext => "cleartext",
            Self::Given => "given",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unhindered => "nothing stands in the way",
            Self::ClientUnbound => "the client doesn't bind to TLS",
            Self::ClientPlain => "the client's leg has no TLS",
            Self::Bound => "the server binds to its own TLS session",
            Self::Known => "such clients have to be asked at once",
            Self::Stale => "the verifier doesn't fit any more",
            Self::Settings => "the settings want it",
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Cleartext => "cleartext",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::ScramPlus => "scram-sha-256-plus",
            Self::Other => "other",
        })
    }
}
