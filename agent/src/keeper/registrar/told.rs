//! What a program of the host's says: for questions that only such can answer.
//!
//! INVARIANT: bounded in time and in bytes, and only for threads that nobody waits
//! for. The program is of the host's own folders, with an environment of ours.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Its output; nothing where there is no such program, or it takes too long, or says
/// too much.
pub(super) fn told(
    program: &str,
    arguments: &[&str],
    within: Duration,
    most: u64,
) -> Option<Vec<u8>> {
    let until = Instant::now() + within;
    let folder = PATH.split(':').find(|folder| {
        std::fs::metadata(format!("{folder}/{program}")).is_ok_and(|data| data.is_file())
    })?;
    let mut command = Command::new(format!("{folder}/{program}"));
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let alone = crate::keeper::spawning();
    let child = command.spawn();
    drop(alone);
    let mut child = child.ok()?;
    let answer = child.stdout.take().and_then(|mut output| {
        let mut answer = Vec::new();
        let mut block = [0; 16 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            if poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&left)) != Ok(1) {
                return None;
            }
            match output.read(&mut block).ok()? {
                0 => return Some(answer),
                read => answer.extend_from_slice(block.get(..read)?),
            }
            if answer.len() as u64 > most {
                return None;
            }
        }
    });
    // One that has said all has ended, or ends now.
    let _ = child.kill();
    let _ = child.wait();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_too_long_or_says_too_much_isnt_heard() {
        let within = Duration::from_secs(10);
        assert_eq!(told("printf", &["a b"], within, 16).as_deref(), Some(&b"a b"[..]));
        assert_eq!(told("printf", &["a b"], within, 2), None);
        assert_eq!(told("no-such-program", &[], within, 2), None);
        let asked_at = Instant::now();
        assert_eq!(told("sleep", &["60"], Duration::from_millis(200), 2), None);
        assert!(asked_at.elapsed() < within);
    }
}
