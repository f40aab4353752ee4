//! A container as the kubelet's interface tells it (`runtime.v1`), which containerd,
//! CRI-O and cri-dockerd speak: the container itself, its pod, its image.

use std::collections::HashMap;

use super::protobuf::{Message, each, pair, text};
use super::{
    AnswerError, Asker, Described, LONGEST_REFERENCE, Question, digest, image_id, labels, value,
};
use crate::model::{LONGEST_NAME, Workload, cut};

/// `ListContainersResponse.containers`, of one
#[derive(Debug, Default)]
struct Container<'b> {
    id: &'b str,
    sandbox: &'b str,
    name: &'b str,
    /// As the pod's author wrote it, or as the runtime has resolved it.
    image: &'b str,
    written: &'b str,
    /// An id, or a name with a digest.
    image_ref: &'b str,
    labels: HashMap<&'b str, &'b str>,
}

/// `PodSandboxStatusResponse.status`
#[derive(Debug, Default)]
struct Sandbox<'b> {
    id: &'b str,
    name: &'b str,
    uid: &'b str,
    namespace: &'b str,
    labels: HashMap<&'b str, &'b str>,
}

/// `ImageStatusResponse.image`
#[derive(Debug, Default)]
struct Image<'b> {
    id: &'b str,
    tags: Vec<&'b str>,
    digests: Vec<&'b str>,
}

pub(super) fn version() -> Question {
    question("/runtime.v1.RuntimeService/Version", Message::default())
}

/// `ListContainers` and not `ContainerStatus`: only there is its pod.
pub(super) fn describe(
    id: &str,
    workload: &Workload,
    ask: &mut Asker<'_>,
) -> Result<Described, AnswerError> {
    let filter = Message::default().with(1, id.as_bytes()).bytes();
    let answer = ask(&question(
        "/runtime.v1.RuntimeService/ListContainers",
        Message::default().with(1, &filter),
    ))?;
    let container = Container::read(&answer, id)?;
    let mut whole = true;
    let mut further = |method, message| {
        let answer = ask(&question(method, message));
        whole &= !matches!(answer, Err(AnswerError::Silent(_)));
        answer.unwrap_or_default()
    };
    let pod = further(
        "/runtime.v1.RuntimeService/PodSandboxStatus",
        Message::default().with(1, container.sandbox.as_bytes()),
    );
    let pod = Sandbox::read(&pod, container.sandbox).unwrap_or_default();
    let asked = if container.image_ref.is_empty() { container.image } else { container.image_ref };
    let spec = Message::default().with(1, asked.as_bytes()).bytes();
    let image = further("/runtime.v1.ImageService/ImageStatus", Message::default().with(1, &spec));
    let image = Image::read(&image).unwrap_or_default();

    let mut found = workload.clone();
    let names = [container.written, container.image].into_iter().chain(image.tags);
    let name = names.into_iter().find(|name| !name.is_empty() && image_id(name).is_none());
    found.image = name.and_then(value);
    found.image_id = image_id(image.id).or_else(|| image_id(container.image_ref));
    let references = image.digests.into_iter().chain([container.image_ref]);
    found.image_digest = digest(name, references);
    found.container_name = value(container.name);
    let label = |name: &str| container.labels.get(name).or_else(|| pod.labels.get(name)).copied();
    let either = |own: &str, name: &str| value(own).or_else(|| value(label(name)?));
    found.pod_name = either(pod.name, "io.kubernetes.pod.name");
    found.namespace = either(pod.namespace, "io.kubernetes.pod.namespace");
    if found.pod.is_none() {
        found.pod = either(pod.uid, "io.kubernetes.pod.uid").map(|uid| cut(&uid, LONGEST_NAME));
    }
    // What the kubelet started it keeps running.
    found.managed = Some(true);
    found.labels = labels(label);
    Ok(Described { workload: found, whole })
}

impl<'b> Container<'b> {
    fn read(bytes: &'b [u8], id: &str) -> Result<Self, AnswerError> {
        let mut found = None;
        each(bytes, |field, content| {
            if field == 1 {
                let container = Self::one(content)?;
                // The filter also takes an id's beginning.
                if container.id == id {
                    found = Some(container);
                }
            }
            Ok(())
        })?;
        found.ok_or(AnswerError::NotDescribed)
    }

    fn one(bytes: &'b [u8]) -> Result<Self, AnswerError> {
        let mut one = Self::default();
        each(bytes, |field, content| {
            match field {
                1 => one.id = text(content)?,
                2 => one.sandbox = short(content)?,
                3 => one.name = first(content)?,
                4 => each(content, |field, content| {
                    match field {
                        1 => one.image = short(content)?,
                        18 => one.written = text(content)?,
                        _ => {}
                    }
                    Ok(())
                })?,
                5 => one.image_ref = short(content)?,
                8 => one.labels.extend([pair(content)?]),
                _ => {}
            }
            Ok(())
        })?;
        Ok(one)
    }
}

impl<'b> Sandbox<'b> {
    fn read(bytes: &'b [u8], id: &str) -> Result<Self, AnswerError> {
        let mut pod = Self::default();
        each(bytes, |field, content| if field == 1 { pod.tell(content) } else { Ok(()) })?;
        if pod.id == id { Ok(pod) } else { Err(AnswerError::NotDescribed) }
    }

    fn tell(&mut self, bytes: &'b [u8]) -> Result<(), AnswerError> {
        each(bytes, |field, content| {
            match field {
                1 => self.id = text(content)?,
                2 => each(content, |field, content| {
                    match field {
                        1 => self.name = text(content)?,
                        2 => self.uid = text(content)?,
                        3 => self.namespace = text(content)?,
                        _ => {}
                    }
                    Ok(())
                })?,
                7 => self.labels.extend([pair(content)?]),
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'b> Image<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, AnswerError> {
        let mut image = Self::default();
        each(bytes, |field, content| if field == 1 { image.tell(content) } else { Ok(()) })?;
        Ok(image)
    }

    fn tell(&mut self, bytes: &'b [u8]) -> Result<(), AnswerError> {
        each(bytes, |field, content| {
            match field {
                1 => self.id = text(content)?,
                2 => self.tags.push(text(content)?),
                3 => self.digests.push(text(content)?),
                _ => {}
            }
            Ok(())
        })
    }
}

fn question(method: &'static str, message: Message) -> Question {
    Question::Grpc { method, message: message.bytes(), namespace: None }
}

/// The text of a message's first field.
fn first(bytes: &[u8]) -> Result<&str, AnswerError> {
    pair(bytes).map(|(name, _)| name)
}

/// A text that is asked by in turn; one that is too long for that is none.
fn short(bytes: &[u8]) -> Result<&str, AnswerError> {
    text(bytes).map(|name| if name.len() <= LONGEST_REFERENCE { name } else { "" })
}
