//! A login of a command's own at a server: to have a password proven, or to ask a
//! few questions. Goes past the gate, where root has it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::exit::{Exit, Failure};
use crate::keeper::direct;
use crate::wire::limits::Limits;
use crate::wire::postgres::errand::{Errand, Errands, Most, Rows, Wish};
use crate::wire::postgres::login::{Chance, Leg};
use crate::wire::postgres::scram::{Password, Verifier, end_point_hash};
use crate::wire::postgres::{Framer, Side, TLS_REQUEST, TlsAnswer, write_request};

/// Where to log in, and what to believe.
pub struct Server<'s> {
    /// `HOST:PORT`, or the path of a Unix socket.
    pub at: &'s str,
    pub name: Option<&'s str>,
    pub tls: Tls,
    pub roots: Option<&'s Path>,
    pub bpffs: &'s Path,
    pub within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Never,
    /// Where the server has it; nothing is checked.
    IfThere,
    Always(Verify),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// The chain and the name
    Full,
    /// The chain
    Ca,
    /// Nothing
    None,
}

/// Why there is no session.
#[derive(Debug)]
pub enum Unheard {
    /// The server asks for a password, and none was given.
    Password,
    Failed(Failure),
}

/// A session of our own.
pub struct Session<'s> {
    server: &'s Server<'s>,
    stream: Stream,
    framer: Framer,
    errand: Errand,
    out: Vec<u8>,
}

impl Server<'_> {
    /// Logs in, and yields the verifier of the password that was right.
    pub fn prove(
        &self,
        role: &str,
        password: Password,
        database: &str,
    ) -> Result<Verifier, Failure> {
        let most = Most { rows: 0, bytes: 0 };
        let mut session =
            self.log_in(role, Some(password), database, most).map_err(|unheard| match unheard {
                Unheard::Failed(failure) => failure,
                Unheard::Password => Failure::text(Exit::Denied, "a password is needed"),
            })?;
        let verifier = session.errand.take_verifier();
        let method = session.errand.method();
        session.end();
        verifier.ok_or_else(|| {
            let text = format!(
                "the server let `{role}` in by `{method}`, not by SCRAM: there is no verifier to \
                 keep, and the gate needs none"
            );
            Failure::text(Exit::Failed, text)
        })
    }

    /// `most`: of what any question is answered with.
    pub fn log_in(
        &self,
        role: &str,
        password: Option<Password>,
        database: &str,
        most: Most,
    ) -> Result<Session<'_>, Unheard> {
        let (stream, leg) = self.connect().map_err(Unheard::Failed)?;
        let chance = Chance::draw().ok_or_else(|| {
            let text = "the system gives no random numbers";
            Unheard::Failed(Failure::text(Exit::Failed, text))
        })?;
        let limits = Arc::new(Limits::default());
        let known = password.is_some();
        let password = password.unwrap_or_else(|| Password::new(Vec::new()));
        let wish = Wish { role, password, database, leg, nonce: chance.to_server, most };
        let mut out = Vec::new();
        let errand = Errand::begin(wish, &limits, &mut out)
            .map_err(|error| Unheard::Failed(failed(error)))?;
        let framer = Framer::new(Side::Server, limits);
        let mut session = Session { server: self, stream, framer, errand, out };
        session.log_in(role, known)?;
        Ok(session)
    }
    fn broke(&self, error: &io::Error) -> Failure {
        let at = self.at;
        let text = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("`{at}` doesn't answer within {} s", self.within.as_secs())
            }
            _ => format!("the connection to `{at}` broke: {error}"),
        };
        Failure::text(Exit::Failed, text)
    }

    fn connect(&self) -> Result<(Stream, Leg), Failure> {
        if self.at.starts_with('/') {
            let socket = self.unix().map_err(|error| {
                Failure::text(Exit::Failed, format!("cannot connect to `{}`: {error}", self.at))
            })?;
            return Ok((Stream::Unix(socket), Leg::Plain));
        }
        let mut tcp = self.dial()?;
        let verify = match self.tls {
            Tls::Never => return Ok((Stream::Plain(tcp), Leg::Plain)),
            Tls::IfThere => Verify::None,
            Tls::Always(verify) => verify,
        };
        let mut request = Vec::new();
        write_request(TLS_REQUEST, &mut request)
            .map_err(|fault| Failure::text(Exit::Failed, fault))?;
        let mut answer = [0];
        tcp.write_all(&request)
            .and_then(|()| tcp.read_exact(&mut answer))
            .map_err(|error| self.broke(&error))?;
        let [byte] = answer;
        let answer = TlsAnswer::decode(byte);
        if self.tls == Tls::IfThere && answer == Ok(TlsAnswer::No) {
            return Ok((Stream::Plain(tcp), Leg::Plain));
        }
        if answer != Ok(TlsAnswer::Tls) {
            let text = format!("`{}` has no TLS: add `--no-tls` if that is right", self.at);
            return Err(Failure::text(Exit::Failed, text));
        }
        let host = self.name.unwrap_or_else(|| host_of(self.at));
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failure::text(Exit::Usage, format!("`{host}`: {error}")))?;
        let config = Arc::new(self.config(verify)?);
        let tls = |error: &dyn std::fmt::Display| {
            let text = format!(
                "TLS with `{}` failed: {error}: see `--roots`, `--server-name` and `--verify`",
                self.at
            );
            Failure::text(Exit::Failed, text)
        };
        let mut connection = ClientConnection::new(config, name).map_err(|error| tls(&error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).map_err(|error| tls(&error))?;
        }
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let leg = Leg::Tls(certificate.and_then(|certificate| end_point_hash(certificate)));
        Ok((Stream::Tls(Box::new(StreamOwned::new(connection, tcp))), leg))
    }

    fn unix(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.at)?;
        stream.set_read_timeout(Some(self.within))?;
        stream.set_write_timeout(Some(self.within))?;
        Ok(stream)
    }

    fn dial(&self) -> Result<TcpStream, Failure> {
        let at = self.at;
        let cannot = |error: io::Error| {
            Failure::text(Exit::Failed, format!("cannot connect to `{at}`: {error}"))
        };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in at.to_socket_addrs().map_err(cannot)? {
            match direct::dial(self.bpffs, address, self.within) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(cannot(last))
    }

    fn config(&self, verify: Verify) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let failed = |error: &dyn std::fmt::Display| Failure::text(Exit::Failed, error);
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let mut given = Vec::new();
        let chain = match verify {
            Verify::None => None,
            Verify::Full | Verify::Ca => {
                let roots = Arc::new(self.roots(&mut given)?);
                let chain =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                        .build()
                        .map_err(|error| failed(&error))?;
                Some(chain)
            }
        };
        let lenient = Lenient { chain, given, provider, verify };
        Ok(versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(lenient))
            .with_no_client_auth())
    }

    fn roots(&self, given: &mut Vec<CertificateDer<'static>>) -> Result<RootCertStore, Failure> {
        let named = std::env::var_os("SSL_CERT_FILE");
        let file = match self.roots {
            Some(path) => path,
            None => named
                .as_deref()
                .map(Path::new)
                .into_iter()
                .chain(BUNDLES.iter().map(Path::new))
                .find(|path| path.is_file())
                .ok_or_else(|| {
                    Failure::text(Exit::Failed, "this host has no file of roots: add `--roots`")
                })?,
        };
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::text(
                Exit::Usage,
                format!("cannot read roots of `{}`: {error}", file.display()),
            )
        };
        let pem = std::fs::read(file).map_err(|error| cannot(&error))?;
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| cannot(&error))?;
            let added = store.add(certificate.clone());
            // Of a system's many roots some may be of a form that is not known.
            if self.roots.is_some() {
                added.map_err(|error| cannot(&error))?;
                given.push(certificate);
            }
        }
        if store.is_empty() {
            return Err(cannot(&"it holds no certificate in PEM form"));
        }
        Ok(store)
    }
}

impl Session<'_> {
    /// `known`: the password was given.
    fn log_in(&mut self, role: &str, known: bool) -> Result<(), Unheard> {
        let failed = |error| Unheard::Failed(failed(error));
        loop {
            self.send().map_err(Unheard::Failed)?;
            while let Some(frame) = self.framer.frame().map_err(failed)? {
                // AuthenticationOk is the one that asks for nothing.
                let asks = frame.tag == b'R' && frame.body().first_chunk() != Some(&[0; 4]);
                if asks && !known {
                    return Err(Unheard::Password);
                }
                let next = self.errand.server(&frame, &mut self.out).map_err(failed)?;
                match next {
                    Errands::Derive(derivation) => {
                        self.errand.derived(&derivation.run(), &mut self.out).map_err(failed)?;
                    }
                    Errands::Ready => {
                        self.framer.consume_framed();
                        return Ok(());
                    }
                    Errands::Refused(refused) => {
                        // Some errors are no matter of the password: which, the
                        // server says.
                        let exit =
                            if refused.sqlstate == "28P01" { Exit::Denied } else { Exit::Failed };
                        let text = format!("the server says: {refused}");
                        return Err(Unheard::Failed(Failure::text(exit, text)));
                    }
                    Errands::Denied(denial) => {
                        let text = denial.message(role);
                        return Err(Unheard::Failed(Failure::text(Exit::Failed, text)));
                    }
                    Errands::Going | Errands::Answered(_) => {}
                }
                self.framer.consume_framed();
            }
            if self.out.is_empty() {
                self.receive().map_err(Unheard::Failed)?;
            }
        }
    }

    /// The rows of an answer, as text.
    pub fn ask(&mut self, question: &str) -> Result<Rows, Failure> {
        self.errand.ask(question, &[], &mut self.out).map_err(failed)?;
        loop {
            self.send()?;
            while let Some(frame) = self.framer.frame().map_err(failed)? {
                let next = self.errand.server(&frame, &mut self.out).map_err(failed)?;
                self.framer.consume_framed();
                match next {
                    Errands::Answered(Ok(rows)) => return Ok(rows),
                    Errands::Answered(Err(refused)) | Errands::Refused(refused) => {
                        let exit =
                            if refused.sqlstate == "42501" { Exit::Denied } else { Exit::Failed };
                        return Err(Failure::text(exit, format!("the server says: {refused}")));
                    }
                    _ => {}
                }
            }
            if self.out.is_empty() {
                self.receive()?;
            }
        }
    }

    pub fn end(mut self) {
        let mut out = Vec::new();
        if self.errand.end(&mut out).is_ok() {
            // It has all been said.
            drop(self.stream.io().write_all(&out));
        }
    }

    fn send(&mut self) -> Result<(), Failure> {
        let Self { server, stream, out, .. } = self;
        let sent = stream.io().write_all(out).and_then(|()| stream.io().flush());
        sent.map_err(|error| server.broke(&error))?;
        out.clear();
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let Self { server, stream, framer, .. } = self;
        match stream.io().read(framer.room()) {
            Ok(0) => Err(Failure::text(
                Exit::Failed,
                format!("`{}` closed the connection before all was said", server.at),
            )),
            Ok(count) => {
                framer.filled(count);
                Ok(())
            }
            Err(error) => Err(server.broke(&error)),
        }
    }
}

fn failed(error: crate::wire::postgres::WireError) -> Failure {
    Failure::new(Exit::Failed, error)
}

/// Without the port, and without brackets.
fn host_of(at: &str) -> &str {
    let host = at.rsplit_once(':').map_or(at, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

enum Stream {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

impl Stream {
    fn io(&mut self) -> &mut dyn Both {
        match self {
            Self::Plain(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }
}

/// Checks as much of a certificate as it was told to; the handshake's signature
/// always.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// A server may show the very certificate that was given as a root: one
    /// that signed itself, as PostgreSQL's packages make it.
    given: Vec<CertificateDer<'static>>,
    provider: Arc<rustls::crypto::CryptoProvider>,
    verify: Verify,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.given.iter().any(|root| root.as_ref() == end_entity.as_ref()) {
            if self.verify == Verify::Full {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&certificate, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let checked =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // The name is checked last: the chain is good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify == Verify::Ca => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Where systems keep their roots.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
