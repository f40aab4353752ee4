//! Logins by SSH as the journal tells of them: `journalctl -o json`.
//!
//! INVARIANT: a line is believed by the fields that journald itself adds (those that
//! begin with `_`), never by what its sender says of itself: anybody may send one.

use serde_json::Value;

use super::facts::Accepted;
use super::person::accepted;

/// Who an sshd, which started at this time (microseconds since 1970), has let in. Of
/// several lines the first that says it.
pub fn accepted_in(lines: &str, sshd: u32, started: u64) -> Option<Accepted> {
    lines.lines().find_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| entry.get(name).and_then(Value::as_str);
        let program = field("_COMM").filter(|name| matches!(*name, "sshd" | "sshd-session"))?;
        let at: u64 = field("__REALTIME_TIMESTAMP")?.parse().ok()?;
        let own = field("_UID") == Some("0") && field("_PID")?.parse() == Ok(sshd);
        // Numbers are given again: what stands before its start is another's.
        if !own || at.saturating_add(CLOCKS) < started {
            return None;
        }
        accepted(&format!("{program}[{sshd}]: {}", field("MESSAGE")?), sshd)
    })
}

/// How far the two clocks may be apart.
const CLOCKS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 prints a login by OpenSSH 9.2, its longest fields left out.
    const LINE: &str = r#"{"_HOSTNAME":"db-client-1","_TRANSPORT":"syslog","SYSLOG_FACILITY":"4","_UID":"0","_GID":"0","_COMM":"sshd","_EXE":"/usr/sbin/sshd","_PID":"1187","SYSLOG_IDENTIFIER":"sshd","SYSLOG_PID":"1187","_SYSTEMD_UNIT":"ssh.service","PRIORITY":"6","__REALTIME_TIMESTAMP":"1763827201123456","__MONOTONIC_TIMESTAMP":"86412345678","_BOOT_ID":"6f1e0c6c3f0b4f6f9f4e4b1a2c3d4e5f","MESSAGE":"Accepted publickey for alice from 192.0.2.7 port 51514 ssh2: ED25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"}"#;
    const STARTED: u64 = 1_763_827_200_900_000;

    #[test]
    fn a_login_is_found_with_its_key() {
        let closed = LINE.replace("Accepted publickey for alice", "Connection closed by");
        let lines = format!("{closed}\n{LINE}\n");
        let found = accepted_in(&lines, 1187, STARTED).unwrap();
        assert_eq!((found.user.as_str(), found.address.as_str()), ("alice", "192.0.2.7"));
        assert_eq!(
            found.key.as_deref(),
            Some("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU")
        );
        let session = LINE.replace(r#""_COMM":"sshd""#, r#""_COMM":"sshd-session""#);
        assert!(accepted_in(&session, 1187, STARTED).is_some());
    }

    #[test]
    fn what_others_send_in_sshds_name_is_not_believed() {
        for (from, to) in [
            (r#""_UID":"0""#, r#""_UID":"1000""#),
            (r#""_COMM":"sshd""#, r#""_COMM":"logger""#),
            (r#""_PID":"1187""#, r#""_PID":"1188""#),
            // Of an sshd that had the number before.
            ("1763827201123456", "1763820000000000"),
            ("publickey for", "publickey"),
            (r#""MESSAGE":"#, r#""MESSAGE":[65],"X":"#),
        ] {
            assert!(LINE.contains(from), "{from}");
            assert_eq!(accepted_in(&LINE.replace(from, to), 1187, STARTED), None, "{from}");
        }
        assert_eq!(accepted_in("no json\n", 1187, STARTED), None);
    }
}
