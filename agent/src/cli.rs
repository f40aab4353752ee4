//! placeholder
use std::process::ExitCode;

use crate::enforcer;

pub fn main() -> ExitCode {
    let outcome = enforcer_arguments().map(|options| enforcer::run(options?));
    match outcome {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
        None => ExitCode::from(2),
    }
}

/// `enforcer --user UID:GID [--writable DIR …] --channel FD …`
fn enforcer_arguments() -> Option<Result<enforcer::Options, enforcer::EnforcerError>> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "enforcer" {
        return None;
    }
    let (mut user, mut writable, mut channels) = (None, Vec::new(), Vec::new());
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--user" => {
                let (uid, gid) = value.split_once(':')?;
                user = Some((uid.parse().ok()?, gid.parse().ok()?));
            }
            "--writable" => writable.push(value.into()),
            "--channel" => channels.push(value.parse().ok()?),
            _ => return None,
        }
    }
    let (uid, gid) = user?;
    Some(enforcer::channels(&channels).map(|channels| enforcer::Options {
        uid,
        gid,
        writable,
        channels,
    }))
}
