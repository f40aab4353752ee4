//! The packets before a session: requests for encryption, a cancel, a startup.

use super::{Authenticating, Common, client_error};
use crate::wire::postgres::error::{Fault, WireError};
use crate::wire::postgres::opening::{CancelRequest, Opening, Startup};

/// A connection on which nothing has been settled.
#[derive(Debug)]
pub struct Greeting {
    common: Common,
    tls_asked: bool,
    gss_asked: bool,
    encrypted: bool,
}

/// What the client opens with.
#[derive(Debug)]
#[must_use]
pub enum Greeted<'f> {
    /// A TLS handshake lies in the buffer, unasked.
    DirectTls(Greeting),
    /// To be answered by one byte.
    TlsRequest(Greeting),
    /// To be answered by one byte.
    GssRequest(Greeting),
    /// The whole of this connection: another session is to be cancelled.
    Cancel(CancelRequest<'f>),
    Startup(Startup<'f>, Authenticating),
}

impl Greeting {
    pub fn new(common: Common) -> Self {
        Self { common, tls_asked: false, gss_asked: false, encrypted: false }
    }

    /// TLS is up: all that follows comes through it.
    pub fn encrypted(self) -> Self {
        Self { encrypted: true, ..self }
    }

    /// Takes a packet. `behind` is the number of bytes that came after it: behind
    /// a request for encryption there must be none.
    pub fn packet<'f>(self, packet: Opening<'f>, behind: usize) -> Result<Greeted<'f>, WireError> {
        let asks = matches!(packet, Opening::TlsRequest | Opening::GssRequest);
        if asks && behind > 0 {
            return Err(client_error(Fault::AheadOfEncryption));
        }
        let again =
            |message| client_error(Fault::OutOfPlace { message, phase: "it was asked for before" });
        match packet {
            Opening::DirectTls if self.encrypted || self.tls_asked || self.gss_asked => {
                Err(again("a TLS handshake"))
            }
            Opening::DirectTls => Ok(Greeted::DirectTls(Self { tls_asked: true, ..self })),
            Opening::TlsRequest if self.encrypted || self.tls_asked => Err(again("SSLRequest")),
            Opening::TlsRequest => Ok(Greeted::TlsRequest(Self { tls_asked: true, ..self })),
            Opening::GssRequest if self.encrypted || self.gss_asked => Err(again("GSSENCRequest")),
            Opening::GssRequest => Ok(Greeted::GssRequest(Self { gss_asked: true, ..self })),
            Opening::Cancel(cancel) => Ok(Greeted::Cancel(cancel)),
            Opening::Startup(startup) => {
                let next = Authenticating::new(self.common, &startup);
                Ok(Greeted::Startup(startup, next))
            }
        }
    }
}
