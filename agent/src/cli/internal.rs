//! What only the keeper starts, with descriptors or pipes of its making.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use crate::{enforcer, keeper};

/// Relays connections for the keeper that started it
#[derive(Debug, Args)]
pub struct Enforcer {
    /// Who to become
    #[arg(long, value_name = "UID:GID", value_parser = user)]
    user: (u32, u32),
    /// A folder to write in
    #[arg(long, value_name = "FOLDER")]
    writable: Vec<PathBuf>,
    /// The log's channel and folder
    #[arg(long, value_name = "FD,FOLDER", value_parser = log)]
    log: Option<(RawFd, PathBuf)>,
    /// The channel by which parser processes come
    #[arg(long, value_name = "FD")]
    parsers: Option<RawFd>,
    /// A worker's channel: an open descriptor
    #[arg(long, value_name = "FD", required = true)]
    channel: Vec<RawFd>,
}

/// Parses long statements for the enforcer that holds the other end of its standard
/// input and output
#[derive(Debug, Args)]
pub struct ParseCell {
    /// Who to become
    #[arg(long, value_name = "UID:GID", value_parser = user)]
    user: (u32, u32),
}

/// Connects to an address for each line it reads
#[derive(Debug, Args)]
pub struct Canary {
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
}

impl Enforcer {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let (uid, gid) = self.user;
        enforcer::channels(&self.channel)
            .and_then(|channels| {
                let of_log = self.log.as_ref().map(|(number, _)| *number);
                let log = enforcer::log_channel(self.log, &self.channel)?;
                let others: Vec<RawFd> = self.channel.iter().copied().chain(of_log).collect();
                let parsers = enforcer::parsers_channel(self.parsers, &others)?;
                Ok(enforcer::Options { uid, gid, writable: self.writable, log, parsers, channels })
            })
            .and_then(enforcer::run)
            .map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok(Exit::Ok)
    }
}

impl ParseCell {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let (uid, gid) = self.user;
        enforcer::parse(uid, gid).map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok(Exit::Ok)
    }
}

impl Canary {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        keeper::canary::child(self.to)
            .map_err(|error| Failure::text(Exit::Failed, format!("the canary ended: {error}")))?;
        Ok(Exit::Ok)
    }
}

fn log(text: &str) -> Result<(RawFd, PathBuf), String> {
    text.split_once(',')
        .and_then(|(number, folder)| Some((number.parse().ok()?, folder.into())))
        .ok_or_else(|| "a number and a folder joined by `,`".into())
}

fn user(text: &str) -> Result<(u32, u32), String> {
    text.split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        .ok_or_else(|| "two numbers joined by `:`".into())
}
