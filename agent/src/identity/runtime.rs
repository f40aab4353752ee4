//! What container runtimes answer: Docker and Podman by HTTP/1.1, containerd and
//! CRI-O by the kubelet's own interface (CRI, over gRPC), and plain containerd.
//!
//! Nothing here sees a socket: a question begins an exchange, which is given the
//! bytes that came and says what to send, until it has the whole answer.
//!
//! INVARIANT: no answer, however long, torn or wrong, costs more than itself: every
//! length is bounded before anything is kept, and what can't be read describes nothing.

mod containerd;
mod cri;
mod docker;
mod grpc;
mod http;
mod protobuf;

use std::path::Path;

use super::redact;
use crate::model::{LONGEST_NAME, LONGEST_VALUE, Workload, cut, without_tag};

/// Of a whole answer.
pub const LONGEST_ANSWER: usize = 1024 * 1024;
/// Of an image's name, where it is asked by in turn.
const LONGEST_REFERENCE: usize = 1024;
const MOST_LABELS: usize = 12;

/// Labels that say what a container is for.
const LABELS: &[&str] = &[
    "app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "batch.kubernetes.io/job-name",
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.stack.namespace",
    "com.docker.swarm.service.name",
    "com.amazonaws.ecs.task-definition-family",
    "com.hashicorp.nomad.job_name",
    "io.kubernetes.container.name",
    "org.opencontainers.image.source",
    "org.opencontainers.image.version",
    "team",
];

/// Labels by which an orchestrator marks what it keeps running.
const MANAGED: &[&str] = &[
    "com.docker.compose.project",
    "com.docker.swarm.service.name",
    "com.amazonaws.ecs.task-arn",
    "com.hashicorp.nomad.alloc_id",
    "io.kubernetes.pod.name",
    "PODMAN_SYSTEMD_UNIT",
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the answer is no HTTP")]
    NotHttp,
    #[error("the runtime answered {0}")]
    Status(u16),
    #[error("the answer is no gRPC")]
    NotGrpc,
    #[error("the runtime answered gRPC's status {0}")]
    Refused(u32),
    #[error("the answer is longer than {LONGEST_ANSWER} bytes")]
    TooLong,
    #[error("the answer ended early")]
    Short,
    #[error("the answer describes no container")]
    NotDescribed,
    /// Of the socket, not of what came over it.
    #[error("{0}")]
    Silent(String),
}

/// What a runtime speaks on its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tongue {
    Docker,
    Cri,
}

impl Tongue {
    /// By the socket's name: `containerd.sock`, `crio.sock`, `cri-dockerd.sock`; all
    /// others are asked as Docker is.
    pub fn of(socket: &Path) -> Self {
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("containerd") || name.contains("cri") { Self::Cri } else { Self::Docker }
    }

    /// Which runtime it is that listens there, where the name of the socket says it.
    pub fn runtime(socket: &Path) -> Option<&'static str> {
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        [
            ("containerd", "containerd"),
            ("crio", "cri-o"),
            ("docker", "docker"),
            ("podman", "podman"),
        ]
        .into_iter()
        .find_map(|(part, runtime)| name.contains(part).then_some(runtime))
    }

    /// Whether it is the one to ask first about a workload.
    pub fn suits(self, workload: &Workload) -> bool {
        let cri = match workload.runtime.as_deref() {
            Some("containerd" | "cri-o") => true,
            Some(_) => false,
            None => workload.pod.is_some(),
        };
        cri == (self == Self::Cri)
    }

    /// A workload with what the runtime says of its container.
    pub fn describe(
        self,
        workload: &Workload,
        ask: &mut Asker<'_>,
    ) -> Result<Described, AnswerError> {
        let container = workload.container.as_deref().ok_or(AnswerError::NotDescribed)?;
        match self {
            Self::Docker => docker::describe(container, workload, ask),
            Self::Cri => match cri::describe(container, workload, ask) {
                // Not the kubelet's: nerdctl's, ctr's.
                Err(AnswerError::NotDescribed) if workload.pod.is_none() => {
                    containerd::describe(container, workload, ask)
                }
                other => other,
            },
        }
    }

    /// What any runtime of this tongue answers, whatever runs on it.
    pub fn greeting(self) -> Question {
        match self {
            Self::Docker => Question::Http("/_ping".into()),
            Self::Cri => cri::version(),
        }
    }
}

/// Who carries a question to the runtime, and its answer back.
pub type Asker<'a> = dyn FnMut(&Question) -> Result<Vec<u8>, AnswerError> + 'a;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub workload: Workload,
    /// Everything that was asked was answered.
    pub whole: bool,
}

/// What is asked, in the tongue of who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A path of Docker's API.
    Http(String),
    /// A method of gRPC, its message, and containerd's namespace where it is
    /// containerd's own.
    Grpc { method: &'static str, message: Vec<u8>, namespace: Option<&'static str> },
}

impl Question {
    pub fn exchange(&self) -> Exchange {
        match self {
            Self::Http(path) => Exchange::Http(http::Request::new(path)),
            Self::Grpc { method, message, namespace } => {
                Exchange::Grpc(grpc::Call::new(method, message, *namespace))
            }
        }
    }
}

/// One question on its way, over a connection of its own.
#[derive(Debug)]
pub enum Exchange {
    Http(http::Request),
    Grpc(grpc::Call),
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Not all yet; this is to be sent, if anything.
    More(Vec<u8>),
    /// The whole answer.
    All(Vec<u8>),
}

impl Exchange {
    /// What is sent first.
    pub fn opening(&self) -> &[u8] {
        match self {
            Self::Http(request) => request.opening(),
            Self::Grpc(call) => call.opening(),
        }
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<Heard, AnswerError> {
        match self {
            Self::Http(request) => request.take(bytes),
            Self::Grpc(call) => call.take(bytes),
        }
    }
}

/// The labels of note, of which `label` knows the values.
fn labels<'l>(label: impl Fn(&str) -> Option<&'l str>) -> Vec<(String, String)> {
    LABELS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), label(name)?)))
        .take(MOST_LABELS)
        .map(|(name, value)| (name, cut(&redact::text(value), LONGEST_NAME)))
        .collect()
}

fn value(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| cut(text, LONGEST_VALUE))
}

/// The digest by which a registry knows the image, of all under which it lies here:
/// that of the name it was started by, or the first. An image that was made here and
/// never pushed has none.
fn digest<'r>(image: Option<&str>, references: impl Iterator<Item = &'r str>) -> Option<String> {
    let all: Vec<(&str, &str)> = references.filter_map(|text| text.split_once('@')).collect();
    let exact = |image: &str| all.iter().find(|(name, of)| image == format!("{name}@{of}"));
    let named = |image: &str| all.iter().find(|(name, _)| *name == without_tag(image));
    let found = image.and_then(|image| exact(image).or_else(|| named(image)));
    let (_, digest) = found.or_else(|| all.first())?;
    is_digest(digest).then(|| (*digest).to_owned())
}

/// An image's id: of its configuration, the same wherever it lies.
fn image_id(text: &str) -> Option<String> {
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    let id = format!("sha256:{bare}");
    (bare.len() == 64 && is_digest(&id)).then_some(id)
}

/// `algorithm:hex digits`
fn is_digest(text: &str) -> bool {
    text.len() <= LONGEST_DIGEST
        && text.split_once(':').is_some_and(|(algorithm, digits)| {
            !algorithm.is_empty()
                && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
                && digits.len() >= 32
                && digits.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

/// `sha512:` and its digits.
const LONGEST_DIGEST: usize = 7 + 128;

#[cfg(test)]
mod tests;
