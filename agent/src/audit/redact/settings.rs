//! Which words are what a setting is set to: `SET app.token TO word`. PostgreSQL's own
//! take words of its own and names; what lies in any other is the application's, as a
//! literal is.

use super::code::begins_another;
use super::{Grammar, Token};
use crate::sql::TokenKind;

/// One for each token; empty: none is.
pub(super) fn values(tokens: &[Token<'_>], grammar: Grammar) -> Vec<bool> {
    if !tokens.iter().any(|token| token.is(&["set"])) {
        return Vec::new();
    }
    let mut values = vec![false; tokens.len()];
    let mut start = 0;
    for (at, token) in tokens.iter().enumerate() {
        if begins_another(token) {
            start = at + 1;
        } else if token.is(&["set"])
            && (at == start || keeps_settings(tokens.get(start..at).unwrap_or_default()))
            && let Some(from) = set_to(tokens, at + 1)
        {
            // Without a grammar nobody knows where a value ends.
            mark(tokens, from, grammar == Grammar::Refused && at == start, &mut values);
        }
    }
    values
}

/// What `ALTER … SET …` and `CREATE FUNCTION … SET …` speak of.
fn keeps_settings(before: &[Token<'_>]) -> bool {
    let [first, rest @ ..] = before else { return false };
    let what = rest.iter().find(|word| !word.is(&["or", "replace"]));
    first.is(&["alter", "create"]) && what.is_some_and(|what| what.is(WITH_SETTINGS))
}

/// Where the value begins; `None`: it is none, or one of a setting that is known.
fn set_to(tokens: &[Token<'_>], mut at: usize) -> Option<usize> {
    if tokens.get(at)?.is(&["session", "local", "global"]) {
        at += 1;
    }
    let is_name = |token: &Token<'_>| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
    let name = tokens.get(at).filter(|token| is_name(token))?;
    at += 1;
    let mut own = true;
    while tokens.get(at)?.text == "." && is_name(tokens.get(at + 1)?) {
        (own, at) = (false, at + 2);
    }
    let plain = name.text.trim_matches('"');
    if own && KNOWN.iter().any(|known| plain.eq_ignore_ascii_case(known)) {
        return None;
    }
    // MySQL's `:=`
    if tokens.get(at)?.text == ":" {
        at += 1;
    }
    let to = tokens.get(at)?;
    (to.text == "=" || to.is(&["to"])).then_some(at + 1)
}

/// Values with commas between them; `all`: all that follows.
fn mark(tokens: &[Token<'_>], from: usize, all: bool, values: &mut [bool]) {
    let mut behind_value = false;
    for (token, value) in tokens.iter().zip(values).skip(from) {
        match token.kind {
            TokenKind::Semicolon => return,
            TokenKind::Comma => behind_value = false,
            _ if behind_value && !all => return,
            // A sign.
            TokenKind::Operator if !all => {}
            _ => {
                *value = !token.is(SAYS_NOTHING);
                behind_value = true;
            }
        }
    }
}

const WITH_SETTINGS: &[&str] =
    &["role", "user", "database", "system", "function", "procedure", "routine"];

/// Values of any setting's.
const SAYS_NOTHING: &[&str] = &["default", "on", "off", "true", "false", "yes", "no", "none"];

/// Of PostgreSQL's own, those that take a word or a name: what they are set to tells what
/// a statement does, and nothing of a person.
const KNOWN: &[&str] = &[
    "backslash_quote",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "compute_query_id",
    "constraint_exclusion",
    "datestyle",
    "debug_parallel_query",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_isolation",
    "force_parallel_mode",
    "intervalstyle",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "log_error_verbosity",
    "log_min_error_statement",
    "log_min_messages",
    "log_statement",
    "password_encryption",
    "plan_cache_mode",
    "role",
    "search_path",
    "session_authorization",
    "session_replication_role",
    "synchronous_commit",
    "temp_tablespaces",
    "timezone",
    "track_functions",
    "transaction_isolation",
    "wal_compression",
    "wal_level",
    "xmlbinary",
    "xmloption",
];
