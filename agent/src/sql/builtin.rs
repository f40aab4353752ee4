//! What the server brings itself: functions, operators and types of PostgreSQL 15,
//! read from a server's own catalog, and what later versions added. A name that
//! isn't in here is somebody's code.
//!
//! The lists beside this file come from `pg_proc` (name, kind, most volatile of its
//! overloads; `information_schema`'s are qualified), `pg_operator` and `pg_type`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::facts::CallClass;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    Plain,
    Aggregate,
    Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    pub kind: FunctionKind,
    /// May change something, or differ from call to call.
    pub volatile: bool,
    /// The first version that has it.
    pub since: u16,
}

/// A function of the server's own, by its plain name.
pub fn function(name: &str) -> Option<Function> {
    FUNCTIONS.get(name).copied()
}

/// One of `information_schema`'s.
pub fn information_schema_function(name: &str) -> bool {
    INFORMATION_SCHEMA.contains(name)
}

pub fn operator(name: &str) -> bool {
    // What the grammar makes of LIKE and its kin is in the list as ~~ and so on.
    OPERATORS.contains(name)
}

pub fn data_type(name: &str) -> bool {
    TYPES.contains(name)
}

/// What a function does beyond its result. By name alone, whatever the schema: a
/// function somebody wrote under such a name is no better.
pub fn class(name: &str) -> CallClass {
    use CallClass::{Administers, Plain, Reads, RunsText, Session, UnsafeIo, Writes};
    match name {
        "set_config" | "setseed" | "pg_export_snapshot" | "lo_close" | "pg_notify" => Session,
        _ if name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_") => Session,

        "lo_import"
        | "lo_export"
        | "pg_read_file"
        | "pg_read_file_old"
        | "pg_read_binary_file"
        | "pg_stat_file"
        | "pg_current_logfile"
        | "pg_hba_file_rules"
        | "pg_ident_file_mappings"
        | "pg_show_all_file_settings"
        | "pg_logdir_ls"
        | "pg_read_server_files"
        | "xslt_process"
        | "http"
        | "http_get"
        | "http_post"
        | "http_put"
        | "http_delete"
        | "http_patch"
        | "http_head"
        | "lo_manage" => UnsafeIo,
        _ if ["pg_ls_", "pg_file_", "dblink", "postgres_fdw_", "aws_s3", "aws_lambda"]
            .iter()
            .any(|prefix| name.starts_with(prefix)) =>
        {
            UnsafeIo
        }

        "query_to_xml"
        | "query_to_xmlschema"
        | "query_to_xml_and_xmlschema"
        | "cursor_to_xml"
        | "cursor_to_xmlschema"
        | "table_to_xml"
        | "table_to_xmlschema"
        | "table_to_xml_and_xmlschema"
        | "schema_to_xml"
        | "schema_to_xmlschema"
        | "schema_to_xml_and_xmlschema"
        | "database_to_xml"
        | "database_to_xmlschema"
        | "database_to_xml_and_xmlschema"
        | "ts_stat"
        | "ts_rewrite"
        | "crosstab"
        | "connectby"
        | "xpath_table"
        | "currtid2"
        | "pg_background_launch" => RunsText,
        _ if name.starts_with("crosstab") => RunsText,

        "lo_get" | "loread" | "lo_open" => Reads,

        "lo_creat" | "lo_create" | "lo_from_bytea" | "lo_put" | "lowrite" | "lo_truncate"
        | "lo_truncate64" | "lo_unlink" | "setval" => Writes,

        "pg_terminate_backend"
        | "pg_cancel_backend"
        | "pg_reload_conf"
        | "pg_rotate_logfile"
        | "pg_rotate_logfile_old"
        | "pg_promote"
        | "pg_switch_wal"
        | "pg_create_restore_point"
        | "pg_backup_start"
        | "pg_backup_stop"
        | "pg_start_backup"
        | "pg_stop_backup"
        | "pg_wal_replay_pause"
        | "pg_wal_replay_resume"
        | "pg_log_backend_memory_contexts"
        | "pg_log_standby_snapshot"
        | "pg_import_system_collations"
        | "pg_nextoid"
        | "pg_stat_clear_snapshot"
        | "pg_stat_force_next_flush"
        | "pg_extension_config_dump"
        | "gin_clean_pending_list"
        | "pg_sync_replication_slots"
        | "pg_get_wal_summarizer_state"
        | "pg_stop_making_pinned_objects"
        | "pg_restore_relation_stats"
        | "pg_restore_attribute_stats"
        | "pg_clear_relation_stats"
        | "pg_clear_attribute_stats" => Administers,
        "pg_replication_origin_oid" | "pg_replication_origin_progress" => Plain,
        _ if [
            "pg_logical_",
            "pg_replication_",
            "pg_create_",
            "pg_copy_",
            "pg_drop_replication",
            "pg_stat_reset",
            "binary_upgrade_",
            "brin_summarize",
            "brin_desummarize",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix)) =>
        {
            Administers
        }
        _ => Plain,
    }
}

fn kind(letter: Option<&str>) -> FunctionKind {
    match letter {
        Some("a") => FunctionKind::Aggregate,
        Some("w") => FunctionKind::Window,
        _ => FunctionKind::Plain,
    }
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let listed = FUNCTION_LIST.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let name = fields.next().filter(|name| !name.contains('.'))?;
        let kind = kind(fields.next());
        Some((name, Function { kind, volatile: fields.next() == Some("v"), since: 13 }))
    });
    let later = LATER.iter().flat_map(|(since, names)| {
        names.iter().map(|name| {
            let kind = if AGGREGATES_SINCE.contains(name) {
                FunctionKind::Aggregate
            } else {
                FunctionKind::Plain
            };
            (*name, Function { kind, volatile: false, since: *since })
        })
    });
    // The later list wins: it says more of what the first has too.
    listed.chain(later).collect()
});

static INFORMATION_SCHEMA: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    FUNCTION_LIST
        .lines()
        .filter_map(|line| line.split(' ').next()?.strip_prefix("information_schema."))
        .collect()
});

static OPERATORS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("builtin/operators.txt").lines().collect());

static TYPES: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("builtin/types.txt").lines().collect());

const FUNCTION_LIST: &str = include_str!("builtin/functions.txt");

const AGGREGATES_SINCE: &[&str] = &["any_value", "range_agg", "range_intersect_agg"];

/// Functions that came after 13: on an older server the same name can only be
/// somebody's own (a home-made `uuidv7`, say).
const LATER: &[(u16, &[&str])] = &[
    (14, &["bit_count", "date_bin", "trim_array", "unistr", "string_to_table"]),
    (15, &["regexp_count", "regexp_instr", "regexp_like", "regexp_substr"]),
    (
        16,
        &[
            "any_value",
            "array_sample",
            "array_shuffle",
            "date_add",
            "date_subtract",
            "erf",
            "erfc",
            "pg_input_is_valid",
            "pg_input_error_info",
            "random_normal",
            "pg_stat_get_io",
        ],
    ),
    (
        17,
        &[
            "to_bin",
            "to_oct",
            "xmltext",
            "uuid_extract_timestamp",
            "uuid_extract_version",
            "unicode_version",
            "icu_unicode_version",
            "unicode_assigned",
            "pg_basetype",
            "pg_column_toast_chunk_id",
        ],
    ),
    (
        18,
        &[
            "array_sort",
            "array_reverse",
            "casefold",
            "crc32",
            "crc32c",
            "gamma",
            "lgamma",
            "uuidv4",
            "uuidv7",
        ],
    ),
];

#[cfg(test)]
mod tests;
