//! A container as Docker's API tells it, and Podman's in its place.

use serde_json::Value;

use super::{AnswerError, Asker, Described, MANAGED, Question, digest, image_id, labels, value};
use crate::model::{LONGEST_NAME, LONGEST_VALUE, Workload, cut};

pub(super) fn describe(
    container: &str,
    workload: &Workload,
    ask: &mut Asker<'_>,
) -> Result<Described, AnswerError> {
    let answer = ask(&Question::Http(format!("/containers/{container}/json")))?;
    let mut found = workload.clone();
    let name = tell(&answer, container, &mut found)?;
    let Some(image) = found.image_id.clone() else {
        return Ok(Described { workload: found, whole: true });
    };
    // The image may be gone while its container runs: then it has no digest.
    let answer = ask(&Question::Http(format!("/images/{image}/json")));
    let whole = !matches!(answer, Err(AnswerError::Silent(_)));
    if let Some(json) = answer.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok())
        && json.get("Id").and_then(Value::as_str) == Some(&image)
    {
        let digests = json.get("RepoDigests").and_then(Value::as_array).into_iter().flatten();
        found.image_digest = digest(name.as_deref(), digests.filter_map(Value::as_str));
    }
    Ok(Described { workload: found, whole })
}

/// Adds what a container's description says; gives its image's whole name.
fn tell(
    body: &[u8],
    container: &str,
    workload: &mut Workload,
) -> Result<Option<String>, AnswerError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| AnswerError::NotDescribed)?;
    let at = |path: &str| json.pointer(path).and_then(Value::as_str);
    if at("/Id") != Some(container) {
        return Err(AnswerError::NotDescribed);
    }
    let image = at("/Config/Image");
    workload.image = image.and_then(value);
    // What Docker calls the image is its id; no registry knows that.
    workload.image_id = at("/Image").and_then(image_id);
    workload.container_name = at("/Name").and_then(|name| value(name.trim_start_matches('/')));
    let all = json.pointer("/Config/Labels").and_then(Value::as_object);
    let label = |name: &str| all.and_then(|all| all.get(name)).and_then(Value::as_str);
    workload.pod_name = label("io.kubernetes.pod.name").map(|name| cut(name, LONGEST_VALUE));
    workload.namespace = label("io.kubernetes.pod.namespace").map(|name| cut(name, LONGEST_VALUE));
    if workload.pod.is_none() {
        workload.pod = label("io.kubernetes.pod.uid").map(|uid| cut(uid, LONGEST_NAME));
    }
    let restart = at("/HostConfig/RestartPolicy/Name").unwrap_or("no");
    workload.managed = Some(
        MANAGED.iter().any(|name| label(name).is_some())
            || matches!(restart, "always" | "unless-stopped" | "on-failure"),
    );
    workload.labels = labels(label);
    Ok(image.map(str::to_owned))
}
