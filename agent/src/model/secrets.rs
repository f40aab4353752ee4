//! Which functions of SQL are given secrets: the log and the command lines ask
//! alike.

/// How the names of functions begin whose arguments are keys, or what keys open.
pub const KEYED: &[&str] = &[
    "crypt",
    "encrypt",
    "decrypt",
    "hmac",
    "pgp_",
    "aes_",
    "des_",
    "crypto_",
    "dearmor",
    "pgsodium",
    "create_secret",
    "update_secret",
];
/// … whose arguments are connection strings.
pub const CONNECTING: &[&str] = &["dblink"];
