//! TLS on both legs, while a connection opens.
//!
//! INVARIANT: the client's handshake is answered only once the server's certificate was
//! seen and verified as the settings ask; what can't be had is told within TLS, where the
//! client has begun it.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::{Opened, Stage, Then};
use crate::enforcer::means::{Destination, Means};
use crate::enforcer::postgres::words::{CONNECTION_FAILURE, Fatal};
use crate::enforcer::postgres::{Ask, Carriage, Fault, Turn};
use crate::enforcer::relay::Io;
use crate::enforcer::tls::{
    Hello, Leaf, Tls, TlsError, Verified, VerifyRefused, Wanted, has_postgres_alpn, names_of,
    verified_names, verify,
};
use crate::model::{MOST_CHAIN_BYTES, TlsCarried, Verify};
use crate::wire::postgres::session::Greeting;
use crate::wire::postgres::{Side as WireSide, TLS_REQUEST, TlsAnswer, WireError, write_request};

impl<I: Io> Carriage<I> {
    /// The client has opened in plain text, and the settings ask for TLS.
    pub(super) fn ask_for_us(&mut self, opened: Opened) -> Result<bool, Fault> {
        self.stage = Stage::AskedForUs(opened);
        if self.speaks_no_tls {
            return Err(Fault::fatal(no_tls("it speaks none")));
        }
        self.ask_for_tls()?;
        Ok(true)
    }

    pub(super) fn ask_for_tls(&mut self) -> Result<(), Fault> {
        let mut request = Vec::new();
        write_request(TLS_REQUEST, &mut request)
            .map_err(|fault| WireError::new(WireSide::Inside, fault))?;
        self.say_upstream(&request)
    }

    /// The server's answer to the client's request for TLS is the client's
    /// answer.
    pub(super) fn answer(&mut self, greeting: Greeting) -> Result<bool, Fault> {
        match self.upstream.framer.tls_answer()? {
            None => {
                self.stage = Stage::Asked(greeting);
                return Ok(false);
            }
            Some(TlsAnswer::Tls) => {
                self.upstream.framer.consume_framed();
                self.say_client(b"S")?;
                self.stage = Stage::Hello { greeting, hello: Vec::new() };
            }
            Some(TlsAnswer::No) => {
                self.upstream.framer.consume_framed();
                self.say_client(b"N")?;
                self.speaks_no_tls = true;
                self.stage = Stage::Greeting(greeting);
            }
            // An error in plain text: it is all that the server will say.
            Some(TlsAnswer::Error) => self.stage = Stage::Ending,
            Some(TlsAnswer::Gss) => return Err(Fault::fatal(no_tls("it answered with `G`"))),
        }
        Ok(true)
    }

    pub(super) fn answer_us(&mut self, opened: Opened) -> Result<bool, Fault> {
        match self.upstream.framer.tls_answer()? {
            None => {
                self.stage = Stage::AskedForUs(opened);
                return Ok(false);
            }
            Some(TlsAnswer::Tls) => self.upstream.framer.consume_framed(),
            // The stage is one in which the client hears it. What a server says in plain
            // text, anybody on the way may have said.
            Some(answer) => {
                self.stage = Stage::AskedForUs(opened);
                return Err(Fault::fatal(no_tls(match answer {
                    TlsAnswer::Error => "it answered with an error (see its own log)",
                    _ => "it speaks none",
                })));
            }
        }
        let secured = self.secure_upstream(&Hello::default());
        self.stage = Stage::Upstream(Then::Open(opened));
        secured.map(|()| true)
    }

    pub(super) fn hello(&mut self, greeting: Greeting, hello: Vec<u8>) -> Result<bool, Fault> {
        let said = match Hello::read(&hello) {
            Ok(Some(said)) => said,
            Ok(None) if hello.len() < LONGEST_HELLO => {
                self.stage = Stage::Hello { greeting, hello };
                return Ok(false);
            }
            Ok(None) => {
                return Err(Fault::ClientTls(TlsError::Unwritable(
                    "its first message has no end".into(),
                )));
            }
            Err(error) => return Err(Fault::ClientTls(error)),
        };
        self.carried.asked_name.clone_from(&said.name);
        let secured = self.secure_upstream(&said);
        self.stage = Stage::Upstream(Then::Client { greeting, hello });
        secured.map(|()| true)
    }

    /// Starts TLS with the server, as the client would have: the same name
    /// asked for, the same protocol offered.
    fn secure_upstream(&mut self, said: &Hello) -> Result<(), Fault> {
        let address = self.flow.destination.0.ip();
        let tls = towards(&self.destination, address, said).map_err(Fault::UpstreamTls)?;
        self.upstream.secure(tls).map_err(Fault::UpstreamTls)
    }

    /// The upstream's handshake is over, or not: who is it?
    pub(super) fn upstream_shaken(
        &mut self,
        then: Then,
        turn: &mut Turn<'_>,
    ) -> Result<bool, Fault> {
        let Some(tls) = self.upstream.tls.as_ref().filter(|tls| tls.is_ready()) else {
            self.stage = Stage::Upstream(then);
            return Ok(false);
        };
        let chain = tls.peer_chain().unwrap_or_default();
        let verified = verify(
            chain,
            &self.destination.roots,
            self.destination.verify(),
            self.destination.terms.tls.server_name.as_deref(),
            self.carried.asked_name.as_deref(),
        );
        let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
        self.carried.upstream_tls = Some(tls_version(tls));
        self.carried.verified = Some(match &verified {
            Ok(Verified::Full(name)) => format!("full: `{name}`"),
            Ok(Verified::Nameless) => "chain only: no name was known".into(),
            Ok(Verified::Chain) => {
                "chain only: the settings ask for no name (verify = \"ca\")".into()
            }
            Ok(Verified::Not(why)) => format!("not: {why}"),
            Err(VerifyRefused(why)) => format!("refused: {why}"),
        });
        let verified = match (verified, then) {
            (Err(refused), Then::Client { greeting, hello }) => {
                self.stage = Stage::Upstream(Then::Client { greeting, hello });
                self.doom(unverified(&refused), turn.means)?;
                return Ok(true);
            }
            (Err(refused), then) => {
                self.stage = Stage::Upstream(then);
                return Err(Fault::fatal(unverified(&refused)));
            }
            (Ok(_), Then::Open(opened)) => return self.opened(opened, turn.means),
            (Ok(verified), Then::Client { greeting, hello }) => {
                self.stage = Stage::Upstream(Then::Client { greeting, hello });
                verified
            }
        };
        let address = self.flow.destination.0.ip();
        let certificate = chain.first().map(Vec::as_slice).unwrap_or_default();
        let configured = self.destination.configured_names(address);
        let trusted = match (&verified, self.destination.verify()) {
            (Verified::Full(_) | Verified::Chain | Verified::Nameless, _) => {
                let known = self.destination.terms.tls.server_name.as_deref();
                let asked = [self.carried.asked_name.as_deref(), known];
                let names = verified_names(certificate, &asked);
                // A certificate for a common name alone is for nobody who verifies.
                Some(if names.is_empty() { configured } else { names })
            }
            (Verified::Not(_), Verify::None) => Some(configured),
            (Verified::Not(_), _) => None,
        };
        match trusted.filter(|_| !turn.means.issuer.is_empty()) {
            Some(names) => {
                let wanted = Wanted { names, issuer: Arc::clone(&turn.means.issuer) };
                if let Some(leaf) = turn.means.shared.leaves.known(&wanted) {
                    self.show(&leaf)?;
                } else if chain.iter().map(Vec::len).sum::<usize>() > MOST_CHAIN_BYTES {
                    self.carried.leaf = Some("not signed: the server's chain is too long".into());
                    self.show_untrusted(wanted.names, turn.means)?;
                } else {
                    turn.asks.push(Ask::Sign { wanted: wanted.clone(), chain });
                    let Stage::Upstream(Then::Client { greeting, hello }) =
                        std::mem::replace(&mut self.stage, Stage::Moving)
                    else {
                        return Ok(false);
                    };
                    self.stage = Stage::Leaf { greeting, hello, wanted };
                }
            }
            None => self.show_untrusted(names_of(certificate), turn.means)?,
        }
        Ok(true)
    }

    /// The keeper has answered.
    pub(in crate::enforcer::postgres) fn take_leaf(
        &mut self,
        leaf: Result<Arc<Leaf>, String>,
        means: &Means,
    ) -> Result<(), Fault> {
        let Stage::Leaf { wanted, .. } = &self.stage else { return Ok(()) };
        match leaf {
            Ok(leaf) => self.show(&leaf),
            Err(why) => {
                self.carried.leaf = Some(format!("not signed: {why}"));
                let names = wanted.names.clone();
                self.show_untrusted(names, means)
            }
        }
    }

    /// What the server would have said can't be had; the client is let into
    /// TLS to be told why.
    pub(super) fn doom(&mut self, fatal: Fatal, means: &Means) -> Result<(), Fault> {
        self.doomed = Some(fatal);
        self.show_untrusted(Vec::new(), means)
    }

    /// A leaf that nobody has signed: for a server that isn't known.
    fn show_untrusted(&mut self, names: Vec<String>, means: &Means) -> Result<(), Fault> {
        let mut names = names;
        if names.is_empty() {
            let asked = self.carried.asked_name.clone();
            names.push(asked.unwrap_or_else(|| self.flow.destination.0.ip().to_string()));
        }
        let leaf = means.shared.leaves.untrusted(names).map_err(Fault::ClientTls)?;
        self.show(&leaf)
    }

    /// Begins TLS with the client, with this certificate.
    fn show(&mut self, leaf: &Leaf) -> Result<(), Fault> {
        let (greeting, hello) = match std::mem::replace(&mut self.stage, Stage::Moving) {
            Stage::Upstream(Then::Client { greeting, hello })
            | Stage::Leaf { greeting, hello, .. } => (greeting, hello),
            other => {
                self.stage = other;
                return Ok(());
            }
        };
        if self.carried.leaf.is_none() {
            let signed = if leaf.trusted { "signed" } else { "unsigned" };
            self.carried.leaf = Some(signed.into());
        }
        let alpn = self.upstream.tls.as_ref().is_some_and(|tls| has_postgres_alpn(tls.common()));
        let tls = Tls::server(leaf.config(alpn)).map_err(Fault::ClientTls)?;
        self.end_point.clone_from(&leaf.end_point);
        self.stage = Stage::Client(greeting);
        self.client.secure_with(tls, hello).map_err(|error| self.client_tls(error))
    }

    /// A client that doesn't take our certificate says so by an alert.
    pub(super) fn client_tls(&mut self, error: TlsError) -> Fault {
        if let TlsError::Rustls(rustls::Error::AlertReceived(alert)) = &error {
            self.carried.rejected = Some(format!("{alert:?}"));
        }
        Fault::ClientTls(error)
    }

    pub(super) fn upstream_tls_failed(
        &mut self,
        error: TlsError,
        means: &Means,
    ) -> Result<(), Fault> {
        // Unasked, a handshake that fails is how a server says that it knows no
        // such thing: its client may try another way.
        if let Stage::Upstream(Then::Client { .. }) = &self.stage
            && !self.unasked
        {
            let fatal = Fatal::new(
                CONNECTION_FAILURE,
                format!("tidegate can't reach the server: its TLS failed: {error}"),
            );
            return self.doom(fatal, means);
        }
        Err(Fault::UpstreamTls(error))
    }
}

/// TLS with a destination's server, as a client who said this would have it.
pub fn towards(destination: &Destination, address: IpAddr, said: &Hello) -> Result<Tls, TlsError> {
    let configured = destination.terms.tls.server_name.as_deref();
    let name = said.name.as_deref().or(configured);
    let name = name
        .and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(address.into()));
    let configs = destination.configs.as_ref().map_err(|why| TlsError::Unwritable(why.clone()))?;
    let mut config = configs.of(said.postgres);
    if !said.others.is_empty() {
        Arc::make_mut(&mut config).alpn_protocols.clone_from(&said.others);
    }
    Tls::client(config, name)
}

pub(super) fn tls_version(tls: &Tls) -> TlsCarried {
    let common = tls.common();
    let version = match common.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        _ => "unknown",
    };
    let suite = common.negotiated_cipher_suite();
    TlsCarried {
        version: version.into(),
        suite: suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
    }
}

fn unverified(refused: &VerifyRefused) -> Fatal {
    Fatal::new(CONNECTION_FAILURE, format!("tidegate does not talk to this server: {}", refused.0))
        .hint("the destination's settings ask for a verified server (verify, roots, server_name)")
}

fn no_tls(why: &str) -> Fatal {
    Fatal::new(CONNECTION_FAILURE, format!("the server can't be reached by TLS: {why}"))
        .hint("the destination's settings ask for TLS upstream (upstream_tls = \"always\")")
}

const LONGEST_HELLO: usize = 64 * 1024;
