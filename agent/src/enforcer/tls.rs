//! TLS on one leg: records in, plaintext out, and the other way round. No
//! sockets: who holds one moves the bytes.
//!
//! INVARIANT: an idle connection owns no buffer; half a record is kept, and
//! nothing else.
//!
//! Never: a plaintext byte before the handshake is over.

mod configs;
mod leaf;
mod names;
mod verify;

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

pub use configs::{ClientConfigs, has_postgres_alpn};
pub use leaf::{Leaf, Leaves, Wanted};
pub use names::{names_of, verified_names};
pub use verify::{Refused as VerifyRefused, Verified, verify};

/// One connection's TLS, as client or as server.
pub struct Tls {
    end: End,
    /// The head of a record whose rest hasn't come.
    partial: Vec<u8>,
    /// The other side said that it will send no more.
    ended: bool,
    /// The handshake is over: plaintext may be sent.
    ready: bool,
}

enum End {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    #[error("its records can't be written: {0}")]
    Unwritable(String),
}

/// What a ClientHello says, before anything is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The name that the client asks for (SNI).
    pub name: Option<String>,
    /// It offers ALPN `postgresql`.
    pub postgres: bool,
    /// What it offers where that isn't among it: the server may turn it down.
    pub others: Vec<Vec<u8>>,
}

impl Tls {
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        Ok(Self::new(End::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self::new(End::Server(UnbufferedServerConnection::new(config)?)))
    }

    fn new(end: End) -> Self {
        Self { end, partial: Vec::new(), ended: false, ready: false }
    }

    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The other side has closed its direction in TLS.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many bytes of a record lie in front of what is read next.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    pub fn common(&self) -> &CommonState {
        match &self.end {
            End::Client(client) => client,
            End::Server(server) => server,
        }
    }

    /// The certificates that the other side showed, its own first.
    pub fn peer_chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.common().peer_certificates()
    }

    /// Takes what was read: `records` begins with what [`Tls::partial`] held.
    /// Plaintext goes to `plain`, what the protocol itself has to say to `out`
    /// – also where this fails: the alert.
    pub fn take(
        &mut self,
        records: &mut [u8],
        out: &mut Vec<u8>,
        mut plain: impl FnMut(&[u8]),
    ) -> Result<(), TlsError> {
        let mut rest = records;
        let taken = loop {
            let (discard, going) = match &mut self.end {
                End::Client(client) => {
                    let UnbufferedStatus { discard, state } = client.process_tls_records(rest);
                    (discard, step(state, out, &mut plain, &mut self.ended, &mut self.ready))
                }
                End::Server(server) => {
                    let UnbufferedStatus { discard, state } = server.process_tls_records(rest);
                    (discard, step(state, out, &mut plain, &mut self.ended, &mut self.ready))
                }
            };
            rest = rest.get_mut(discard..).unwrap_or_default();
            match going {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = taken {
            self.last_words(out);
            return Err(error);
        }
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            // A fresh one: most records are whole, and an idle leg keeps none.
            self.partial = rest.to_vec();
        }
        Ok(())
    }

    /// Says what the handshake has to say without having read anything: a
    /// client's first words.
    pub fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.take(&mut [], out, |_| {})
    }

    /// Appends `plain` as records.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        if plain.is_empty() {
            return Ok(());
        }
        loop {
            let sealed = match &mut self.end {
                End::Client(client) => seal(client.process_tls_records(&mut []).state, plain, out),
                End::Server(server) => seal(server.process_tls_records(&mut []).state, plain, out),
            };
            if let Some(sealed) = sealed.transpose() {
                return sealed;
            }
        }
    }

    /// Says goodbye in TLS.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let room = &mut [0; 128];
        let written = match &mut self.end {
            End::Client(client) => finish(client.process_tls_records(&mut []).state, room),
            End::Server(server) => finish(server.process_tls_records(&mut []).state, room),
        };
        out.extend_from_slice(room.get(..written).unwrap_or_default());
    }

    /// After an error: the alert that says why.
    fn last_words(&mut self, out: &mut Vec<u8>) {
        for _ in 0..4 {
            let said = match &mut self.end {
                End::Client(client) => alert(client.process_tls_records(&mut []).state, out),
                End::Server(server) => alert(server.process_tls_records(&mut []).state, out),
            };
            if !said {
                return;
            }
        }
    }
}

type State<'c, 'i, D> = Result<ConnectionState<'c, 'i, D>, rustls::Error>;

/// One state of the machine; whether there is more to do with these bytes.
fn step<D>(
    state: State<'_, '_, D>,
    out: &mut Vec<u8>,
    plain: &mut impl FnMut(&[u8]),
    ended: &mut bool,
    ready: &mut bool,
) -> Result<bool, TlsError> {
    match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                plain(record?.payload);
            }
            Ok(true)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, out)?;
            Ok(true)
        }
        ConnectionState::TransmitTlsData(data) => {
            // It lies in `out`, in its place.
            data.done();
            Ok(true)
        }
        ConnectionState::PeerClosed => {
            *ended = true;
            Ok(true)
        }
        ConnectionState::Closed => {
            *ended = true;
            Ok(false)
        }
        ConnectionState::WriteTraffic(_) => {
            *ready = true;
            Ok(false)
        }
        // Early data is never offered and never taken.
        _ => Ok(false),
    }
}

fn encode<D>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, D>,
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let start = out.len();
    let needed = match data.encode(&mut []) {
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(()),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
    };
    out.resize(start + needed, 0);
    data.encode(out.get_mut(start..).unwrap_or_default())
        .map(drop)
        .map_err(|error| TlsError::Unwritable(error.to_string()))
}

/// `None`: the machine had something else to say first.
fn seal<D>(
    state: State<'_, '_, D>,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<()>, TlsError> {
    match state? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let start = out.len();
            // A guess that is right but for the last records of very long input.
            let records = plain.len() / RECORD + 1;
            let mut wanted = plain.len() + records * OVERHEAD;
            loop {
                out.resize(start + wanted, 0);
                match traffic.encrypt(plain, out.get_mut(start..).unwrap_or_default()) {
                    Ok(written) => {
                        out.truncate(start + written);
                        return Ok(Some(()));
                    }
                    Err(EncryptError::InsufficientSize(size)) if size.required_size > wanted => {
                        wanted = size.required_size;
                    }
                    Err(error) => {
                        out.truncate(start);
                        return Err(TlsError::Unwritable(error.to_string()));
                    }
                }
            }
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out).map(|()| None),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(None)
        }
        ConnectionState::PeerClosed => Ok(None),
        _ => Err(TlsError::Unwritable("the connection takes no data any more".into())),
    }
}

fn finish<D>(state: State<'_, '_, D>, room: &mut [u8]) -> usize {
    match state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            traffic.queue_close_notify(room).unwrap_or(0)
        }
        _ => 0,
    }
}

fn alert<D>(state: State<'_, '_, D>, out: &mut Vec<u8>) -> bool {
    match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out).is_ok(),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            true
        }
        _ => false,
    }
}

impl Hello {
    /// Reads a ClientHello. `None`: more of it is to come.
    pub fn read(mut bytes: &[u8]) -> Result<Option<Self>, TlsError> {
        let mut acceptor = Acceptor::default();
        while !bytes.is_empty() {
            acceptor
                .read_tls(&mut bytes)
                .map_err(|error| TlsError::Unwritable(error.to_string()))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let offered: Vec<&[u8]> = hello.alpn().into_iter().flatten().collect();
                    let postgres = offered.contains(&ALPN);
                    let others = if postgres { &[][..] } else { &offered };
                    return Ok(Some(Self {
                        name: hello.server_name().map(str::to_ascii_lowercase),
                        postgres,
                        others: others.iter().map(|name| name.to_vec()).collect(),
                    }));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// PostgreSQL's name in ALPN.
pub const ALPN: &[u8] = b"postgresql";
const RECORD: usize = 16 * 1024;
/// A record's header, nonce, tag and type: none needs more.
const OVERHEAD: usize = 64;
