//! The login: from the startup packet to the first ReadyForQuery.
//!
//! Follows what the server asks and what the client answers; which of it is
//! passed through and which is answered by tidegate itself is not decided here.

use super::{CancelKey, Common, Gate, Parameters, Session, Settled, client_error, server_error};
use crate::wire::limits::Limits;
use crate::wire::postgres::backend::{self, Authentication, Backend};
use crate::wire::postgres::error::{Fault, WireError};
use crate::wire::postgres::fields::Fields;
use crate::wire::postgres::framer::Frame;
use crate::wire::postgres::frontend::{self, Credential, Frontend};
use crate::wire::postgres::opening::{Startup, Version};
use crate::wire::postgres::splice::Pass;

#[derive(Debug)]
pub struct Authenticating {
    common: Common,
    version: Version,
    replication: bool,
    asked: Option<CredentialKind>,
    accepted: bool,
    parameters: Parameters,
    key: Option<CancelKey>,
}

/// How to read the client's next credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    Password,
    SaslInitial,
    SaslResponse,
    /// GSS or SSPI.
    Token,
}

/// What a client frame is during the login.
#[derive(Debug)]
#[must_use]
pub enum ClientLogin<'f> {
    Credential(Pass, CredentialKind, Credential<'f>),
    /// It belongs to the session that isn't there yet: keep it
    /// ([`super::super::Framer::put_back`]) and read no further.
    Early,
    Terminate(Pass),
}

/// What a server frame is during the login.
#[derive(Debug)]
#[must_use]
pub enum ServerLogin<'f, G: Gate> {
    Going(Authenticating, Pass, Said<'f>),
    Ready(Box<Session<G>>, Pass),
    /// The server ended the login.
    Failed(Pass, Fields<'f>),
}

#[derive(Debug)]
pub enum Said<'f> {
    Asks(Authentication<'f>),
    Accepted,
    Other(Backend<'f>),
}

impl Authenticating {
    pub(super) fn new(common: Common, startup: &Startup<'_>) -> Self {
        Self {
            common,
            version: startup.version,
            replication: startup.replication(),
            asked: None,
            accepted: false,
            parameters: Parameters::default(),
            key: None,
        }
    }

    /// What the client was asked for and hasn't answered.
    pub fn asked(&self) -> Option<CredentialKind> {
        self.asked
    }

    /// The client was asked by us, and not what the server asks.
    pub(in crate::wire::postgres) fn ask(&mut self, asked: Option<CredentialKind>) {
        self.asked = asked;
    }

    pub(in crate::wire::postgres) fn limits(&self) -> &Limits {
        &self.common.limits
    }

    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub fn client<'f>(&mut self, frame: &Frame<'f>) -> Result<ClientLogin<'f>, WireError> {
        let pass = Pass::new(frame.span);
        match frame.tag {
            b'X' => Ok(ClientLogin::Terminate(pass)),
            b'p' => {
                let Some(kind) = self.asked.take() else {
                    return Err(client_error(Fault::OutOfPlace {
                        message: "a credential",
                        phase: "none was asked for",
                    }));
                };
                let message = Frontend::decode(frame.tag, frame.body(), &self.common.limits)
                    .map_err(client_error)?;
                let Frontend::Credential(credential) = message else {
                    return Ok(ClientLogin::Early);
                };
                Ok(ClientLogin::Credential(pass, kind, credential))
            }
            tag if self.asked.is_some() => Err(client_error(Fault::OutOfPlace {
                message: frontend::name(tag),
                phase: "a credential was asked for",
            })),
            _ => Ok(ClientLogin::Early),
        }
    }

    pub fn server<'f, G: Gate>(
        mut self,
        frame: &Frame<'f>,
    ) -> Result<ServerLogin<'f, G>, WireError> {
        let pass = Pass::new(frame.span);
        let message =
            Backend::decode(frame.tag, frame.body(), &self.common.limits).map_err(server_error)?;
        let out_of_place =
            |phase| server_error(Fault::OutOfPlace { message: backend::name(frame.tag), phase });
        let said = match message {
            Backend::Authentication(_) if self.accepted => {
                return Err(out_of_place("the login is over"));
            }
            Backend::Authentication(Authentication::Ok) => {
                self.accepted = true;
                self.asked = None;
                Said::Accepted
            }
            Backend::Authentication(authentication) => {
                self.asked = match authentication {
                    Authentication::Cleartext
                    | Authentication::Crypt { .. }
                    | Authentication::Md5 { .. } => Some(CredentialKind::Password),
                    Authentication::Sasl { .. } => Some(CredentialKind::SaslInitial),
                    Authentication::SaslContinue(_) => Some(CredentialKind::SaslResponse),
                    Authentication::Gss | Authentication::Sspi | Authentication::GssContinue(_) => {
                        Some(CredentialKind::Token)
                    }
                    _ => None,
                };
                Said::Asks(authentication)
            }
            Backend::ErrorResponse(fields) => return Ok(ServerLogin::Failed(pass, fields)),
            Backend::NegotiateProtocolVersion(negotiation) => {
                // Servers say either the whole version or the minor one alone.
                self.version.minor = self.version.minor.min(negotiation.newest as u16);
                Said::Other(message)
            }
            Backend::NoticeResponse(_) => Said::Other(message),
            Backend::ParameterStatus(parameter) if self.accepted => {
                self.parameters.set(&self.common.limits, parameter.name, parameter.value);
                Said::Other(message)
            }
            Backend::BackendKeyData(key) if self.accepted => {
                self.key = Some(CancelKey { process: key.process, secret: key.secret.into() });
                Said::Other(message)
            }
            Backend::ReadyForQuery(transaction) if self.accepted => {
                let Self { common, version, replication, parameters, key, .. } = self;
                let settled = Settled { version, parameters, key, replication, transaction };
                return Ok(ServerLogin::Ready(Box::new(Session::new(common, settled)), pass));
            }
            _ if self.accepted => return Err(out_of_place("the session is being set up")),
            _ => return Err(out_of_place("the client isn't authenticated")),
        };
        Ok(ServerLogin::Going(self, pass, said))
    }
}
