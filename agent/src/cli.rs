//! placeholder
use std::process::ExitCode;

use crate::enforcer;

pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("canary") {
        let _ = crate::keeper::canary::child(args[3].parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if args.get(1).map(String::as_str) == Some("run") {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        let mut s = crate::config::Settings::default();
        s.cgroup = Some(args[2].clone().into());
        s.bpffs = args[3].clone().into();
        s.control = args[4].clone().into();
        s.listen_port = args[5].parse().unwrap();
        s.protect[0].target = crate::config::ProtectTarget::Port(args[6].parse().unwrap());
        s.debug_programs = args.get(7).is_some();
        let s2 = s.clone();
        if let Err(e) = crate::keeper::run(s, Box::new(move || Ok(s2.clone()))) {
            eprintln!("tidegate: {e}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
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
