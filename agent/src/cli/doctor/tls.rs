//! Whether TLS can be ended: the host's CA.

use std::path::Path;

use super::{Check, Verdict};
use crate::config::{CaSettings, Settings};
use crate::keeper::ca::{self, Authority, CaError};
use crate::model::Protocol;

const NAME: &str = "certificate authority";
const SOON: i64 = 30 * 86_400;

pub(super) fn checks(root: &Path, settings: &Settings) -> Vec<Check> {
    vec![authority(root, settings)]
}

fn authority(root: &Path, settings: &Settings) -> Check {
    let read = settings
        .protect
        .iter()
        .filter(|protect| !protect.exclude && protect.service.protocol != Protocol::Unread);
    let names: Vec<&str> = read.clone().map(|protect| protect.name.as_str()).collect();
    if names.is_empty() {
        return Check::ok(NAME, "not needed: no protected destination is read");
    }
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let files =
        CaSettings { certificate: below(&settings.ca.certificate), key: below(&settings.ca.key) };
    let authority = match Authority::load(&files) {
        Ok(Some(authority)) => authority,
        Ok(None) => {
            return Check::but(
                NAME,
                Verdict::Warn,
                format!(
                    "there is none: connections with TLS to `{}` can't be read",
                    names.join("`, `")
                ),
                "tidegate ca init, or let `tidegate run` make one at its start",
            );
        }
        Err(CaError::Read { error, path })
            if error.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            return Check::but(
                NAME,
                Verdict::Unknown,
                format!("`{path}` can't be read ({error})"),
                "run `tidegate doctor` as root",
            );
        }
        Err(error) => {
            return Check::but(
                NAME,
                Verdict::Fail,
                error.to_string(),
                "put that right, or make a new one: tidegate ca rotate",
            );
        }
    };
    let left = authority.facts.not_after - ca::now();
    let days = left / 86_400;
    if left <= 0 {
        return Check::but(
            NAME,
            Verdict::Warn,
            "it has expired: clients that verify refuse what it signs",
            "tidegate ca rotate",
        );
    }
    if left < SOON {
        let finding = format!("it expires in {days} days");
        return Check::but(NAME, Verdict::Warn, finding, "tidegate ca rotate");
    }
    let strangers: Vec<String> = read
        .flat_map(ca::names_of)
        .filter(|name| !authority.permits(name))
        .map(|name| name.to_string())
        .collect();
    if !strangers.is_empty() {
        return Check::but(
            NAME,
            Verdict::Warn,
            format!(
                "it is not for `{}`: clients that verify refuse what it signs for them",
                strangers.join("`, `")
            ),
            "tidegate ca rotate",
        );
    }
    let scope = match authority.facts.constraints.shown() {
        _ if authority.facts.constraints.are_none() => "every name".to_owned(),
        list => list.join(", "),
    };
    Check::ok(NAME, format!("for {scope}, good for {days} days"))
}

#[cfg(test)]
mod tests;
