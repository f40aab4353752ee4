//! What only a replication connection can ask for.
//!
//! None of it can be masked, so that it is refused before it begins: who may not
//! see all is told so by the first word, and not by an answer that is no use.

use crate::mask::Unshowable;
use crate::policy::Words;

/// Whether this is a walsender's own command, and no SQL. The server goes by the
/// first word too.
pub fn is_command(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'));
    let (word, _) = text.split_at(end.unwrap_or(text.len()));
    COMMANDS.iter().any(|command| word.eq_ignore_ascii_case(command))
}

/// Whose answers would be masked.
pub fn refusal() -> Words {
    Words {
        message: format!("tidegate: {}", Unshowable::Replication),
        detail: None,
        hint: Some("let who replicates see everything, by a policy of its own".into()),
    }
}

const COMMANDS: &[&[u8]] = &[
    b"ALTER_REPLICATION_SLOT",
    b"BASE_BACKUP",
    b"CREATE_REPLICATION_SLOT",
    b"DROP_REPLICATION_SLOT",
    b"IDENTIFY_SYSTEM",
    b"READ_REPLICATION_SLOT",
    b"START_REPLICATION",
    b"TIMELINE_HISTORY",
    b"UPLOAD_MANIFEST",
];

#[cfg(test)]
mod tests {
    use super::is_command;

    #[test]
    fn commands_are_told_by_their_first_word() {
        for command in ["IDENTIFY_SYSTEM", " \tstart_replication SLOT x", "base_backup(LABEL 'x')"]
        {
            assert!(is_command(command.as_bytes()), "{command}");
        }
        for sql in ["", "SHOW wal_level", "SELECT IDENTIFY_SYSTEM", "IDENTIFY_SYSTEMS", "\u{df}"] {
            assert!(!is_command(sql.as_bytes()), "{sql}");
        }
    }
}
