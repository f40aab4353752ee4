//! What a container runtime answers: HTTP/1.1 as Docker and Podman speak it on
//! their sockets, and the description of a container in it.

use serde_json::Value;

use super::redact;
use crate::model::{LONGEST_NAME, LONGEST_VALUE, Workload, cut};

/// Of a whole answer.
pub const LONGEST_ANSWER: usize = 1024 * 1024;
const LONGEST_HEAD: usize = 16 * 1024;
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
    #[error("the answer is longer than {LONGEST_ANSWER} bytes")]
    TooLong,
    #[error("the answer ended early")]
    Short,
    #[error("the answer describes no container")]
    NotDescribed,
}

/// A request for a container's description.
pub fn request(container: &str) -> String {
    // The id is hex digits and dashes: nothing of it can end the line.
    format!(
        "GET /containers/{container}/json HTTP/1.1\r\nHost: localhost\r\nAccept: \
         application/json\r\nConnection: close\r\n\r\n"
    )
}

/// Whether `bytes` is a whole answer already.
pub fn is_whole(bytes: &[u8]) -> Result<bool, AnswerError> {
    match body(bytes) {
        Ok(_) => Ok(true),
        Err(AnswerError::Short) if bytes.len() < LONGEST_ANSWER => Ok(false),
        Err(AnswerError::Short) => Err(AnswerError::TooLong),
        Err(error) => Err(error),
    }
}

/// The body of an answer; of one without a length what came until its end.
pub fn body(bytes: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let head_end = bytes.windows(4).take(LONGEST_HEAD).position(|four| four == b"\r\n\r\n");
    let Some(head_end) = head_end else {
        let begun = b"HTTP/1.".get(..bytes.len().min(7)).unwrap_or_default();
        let fine = bytes.len() < LONGEST_HEAD && bytes.starts_with(begun);
        return Err(if fine { AnswerError::Short } else { AnswerError::NotHttp });
    };
    let head = String::from_utf8_lossy(bytes.get(..head_end).unwrap_or_default()).into_owned();
    let rest = bytes.get(head_end + 4..).unwrap_or_default();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok())
        .ok_or(AnswerError::NotHttp)?;
    if status != 200 {
        return Err(AnswerError::Status(status));
    }
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return chunked(rest);
    }
    let length = match header("content-length") {
        Some(length) => length.parse::<usize>().map_err(|_| AnswerError::NotHttp)?,
        None => return Err(AnswerError::NotHttp),
    };
    if length > LONGEST_ANSWER {
        return Err(AnswerError::TooLong);
    }
    rest.get(..length).map(<[u8]>::to_vec).ok_or(AnswerError::Short)
}

fn chunked(mut rest: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(AnswerError::Short)?;
        let size = rest.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let size = size.and_then(|line| {
            usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok()
        });
        let size = size.ok_or(AnswerError::NotHttp)?;
        if size > LONGEST_ANSWER || body.len() + size > LONGEST_ANSWER {
            return Err(AnswerError::TooLong);
        }
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..end + 2 + size).ok_or(AnswerError::Short)?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).ok_or(AnswerError::Short)?;
    }
}

/// Adds what the runtime says of a container to what its cgroup said.
pub fn describe(body: &[u8], workload: &mut Workload) -> Result<(), AnswerError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| AnswerError::NotDescribed)?;
    let text = |value: &Value| {
        value.as_str().filter(|text| !text.is_empty()).map(|text| cut(text, LONGEST_VALUE))
    };
    let id = json.get("Id").and_then(Value::as_str);
    if id.is_none() || id != workload.container.as_deref() {
        return Err(AnswerError::NotDescribed);
    }
    let at = |path: &str| json.pointer(path);
    // Podman has the name beside the digest; Docker's `Image` is the digest.
    workload.image = at("/ImageName").and_then(text).or_else(|| at("/Config/Image").and_then(text));
    workload.image_digest =
        at("/ImageDigest").and_then(text).or_else(|| at("/Image").and_then(text));
    workload.container_name = at("/Name")
        .and_then(Value::as_str)
        .map(|name| cut(name.trim_start_matches('/'), LONGEST_VALUE));
    let labels = at("/Config/Labels").and_then(Value::as_object);
    let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
    workload.pod_name = label("io.kubernetes.pod.name").map(|name| cut(name, LONGEST_VALUE));
    workload.namespace = label("io.kubernetes.pod.namespace").map(|name| cut(name, LONGEST_VALUE));
    if workload.pod.is_none() {
        workload.pod = label("io.kubernetes.pod.uid").map(|uid| cut(uid, LONGEST_NAME));
    }
    let restart = at("/HostConfig/RestartPolicy/Name").and_then(Value::as_str).unwrap_or("no");
    workload.managed = Some(
        MANAGED.iter().any(|name| label(name).is_some())
            || matches!(restart, "always" | "unless-stopped" | "on-failure"),
    );
    workload.labels = LABELS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), label(name)?)))
        .take(MOST_LABELS)
        .map(|(name, value)| (name, cut(&redact::text(value), LONGEST_NAME)))
        .collect();
    Ok(())
}

#[cfg(test)]
mod tests;
