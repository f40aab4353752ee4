//! A container of plain containerd's, by its own interface: what `nerdctl` and `ctr`
//! start in their default namespace. The kubelet's interface doesn't know these.

use std::collections::HashMap;

use super::protobuf::{Message, each, pair, text};
use super::{
    AnswerError, Asker, Described, LONGEST_REFERENCE, MANAGED, Question, is_digest, labels, value,
};
use crate::model::Workload;

pub(super) fn describe(
    id: &str,
    workload: &Workload,
    ask: &mut Asker<'_>,
) -> Result<Described, AnswerError> {
    let answer = ask(&question("/containerd.services.containers.v1.Containers/Get", id))?;
    let (mut found_id, mut image, mut all) = ("", "", HashMap::new());
    each(&answer, |field, content| {
        if field != 1 {
            return Ok(());
        }
        // Of its other fields one is the whole of its settings, with its environment:
        // that isn't read.
        each(content, |field, content| {
            match field {
                1 => found_id = text(content)?,
                2 => all.extend([pair(content)?]),
                3 => image = text(content)?,
                _ => {}
            }
            Ok(())
        })
    })?;
    if found_id != id {
        return Err(AnswerError::NotDescribed);
    }
    let mut found = workload.clone();
    let label = |name: &str| all.get(name).copied();
    found.image = value(image);
    found.container_name = label("nerdctl/name").and_then(value);
    found.managed = Some(
        MANAGED.iter().any(|name| label(name).is_some())
            || label("containerd.io/restart.status") == Some("running"),
    );
    found.labels = labels(label);
    if image.is_empty() || image.len() > LONGEST_REFERENCE {
        return Ok(Described { workload: found, whole: true });
    }
    let answer = ask(&question("/containerd.services.images.v1.Images/Get", image));
    let whole = !matches!(answer, Err(AnswerError::Silent(_)));
    let target = answer.unwrap_or_default();
    found.image_digest = target_digest(&target).unwrap_or_default();
    Ok(Described { workload: found, whole })
}

/// `GetImageResponse.image.target.digest`
fn target_digest(answer: &[u8]) -> Result<Option<String>, AnswerError> {
    let mut digest = None;
    each(answer, |field, image| match field {
        1 => each(image, |field, target| match field {
            3 => each(target, |field, content| {
                if field == 2 {
                    digest = Some(text(content)?.to_owned()).filter(|text| is_digest(text));
                }
                Ok(())
            }),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })?;
    Ok(digest)
}

/// Both methods are asked by a name in the first field.
fn question(method: &'static str, name: &str) -> Question {
    let message = Message::default().with(1, name.as_bytes()).bytes();
    Question::Grpc { method, message, namespace: Some("default") }
}
