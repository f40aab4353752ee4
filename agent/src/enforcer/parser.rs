//! The two ends of what reads long texts: the process that parses and can do
//! nothing else, and the enforcer's thread that is given one after the other.
//!
//! `keeper --connected parser processes--> enforcer --those given up--> keeper`

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::fences::{self, User};
use super::{EnforcerError, inherited};
use crate::channel::{Channel, ChannelError, FromCell, ToCell};
use crate::sql::cell::lanes::Lanes;
use crate::sql::cell::process;

/// A parser process's whole life: what is asked comes by the standard input, and the
/// answers go to the standard output. It ends when nobody holds the other end.
pub fn parse(uid: u32, gid: u32) -> Result<(), EnforcerError> {
    // Whatever else whoever started it had open is no business of its own.
    inherited::close_others();
    // Where memory is short, this goes first. What can't be written stays as it was.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let fences = fences::raise_for_parser(User { uid, gid }, process::confine)?;
    if fences.seccomp != "full" {
        tracing::warn!("the parser process goes on with fewer fences: {}", fences.seccomp);
    }
    process::serve(io::stdin(), io::stdout()).map_err(EnforcerError::Parser)
}

/// Takes the processes that the keeper starts, for as long as it does.
pub fn take(channel: Option<OwnedFd>, lanes: Option<&Arc<Lanes>>) -> Result<(), EnforcerError> {
    let Some(lanes) = lanes.cloned() else { return Ok(()) };
    let Some(channel) = channel else {
        lanes.abandon();
        return Ok(());
    };
    let channel = Arc::new(Channel::<FromCell, ToCell>::new(channel));
    let back = Arc::clone(&channel);
    lanes.tell_given_up(Box::new(move |pid| {
        // A keeper that is gone or far behind: it ends by itself, unless it hangs.
        let _ = back.send(&FromCell::GivenUp { pid }, &[]);
    }));
    thread::Builder::new()
        .name("parsers".into())
        .spawn(move || {
            let why = listen(&channel, &lanes);
            if !matches!(why, ChannelError::Closed) {
                tracing::error!("no more parser processes are taken: {why}");
            }
            lanes.abandon();
        })
        .map(drop)
        .map_err(EnforcerError::Parser)
}

fn listen(channel: &Channel<FromCell, ToCell>, lanes: &Lanes) -> ChannelError {
    loop {
        match channel.receive() {
            Ok(received) => {
                let ToCell::Parser { lane, pid } = received.message;
                match <[OwnedFd; 1]>::try_from(received.descriptors) {
                    Ok([socket]) => {
                        if let Err(error) = lanes.attach(lane, socket, pid) {
                            tracing::error!("a parser process can't be used: {error}");
                        }
                    }
                    Err(got) => {
                        let count = got.len();
                        return ChannelError::Malformed(format!("{count} descriptors, not 1"));
                    }
                }
            }
            Err(ChannelError::WouldBlock) => {
                // Whatever woke it, the channel is looked at again.
                let _ = poll(&mut [PollFd::new(channel, PollFlags::IN)], None);
            }
            Err(error) => return error,
        }
    }
}
