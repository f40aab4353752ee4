//! What the server brings itself: functions, operators and types of PostgreSQL 15,
//! read from a server's own catalog, and what later versions added. A name that
//! isn't in here is somebody's code.
//!
//! The lists beside this file come from `pg_proc` (name, kind, most volatile of its
//! overloads, `r` where one gives rows; `information_schema`'s are qualified),
//! `pg_operator` and `pg_type`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::effect::Effect;
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
    /// Gives any number of rows: how many tells something of what it is given.
    pub rows: bool,
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

/// The first version that has a type of the server's own.
pub fn data_type(name: &str) -> Option<u16> {
    let since = if later_by_name(name) { 14 } else { 13 };
    TYPES.contains(name).then_some(since)
}

/// Whole families that came with 14: multiranges, and two kinds of BRIN.
fn later_by_name(name: &str) -> bool {
    name.contains("multirange") || name.contains("brin_bloom") || name.contains("brin_minmax_multi")
}

/// What a function does beyond its result. By name alone, whatever the schema: a
/// function somebody wrote under such a name is no better.
pub fn class(name: &str) -> CallClass {
    use CallClass::{Administers, Deletes, Plain, Reads, RunsText, Session, UnsafeIo, Writes};
    match name {
        "set_config" | "setseed" | "pg_export_snapshot" | "lo_close" | "pg_notify" => Session,
        _ if name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_") => Session,

        // Names and sizes in folders of the server's own, as monitoring asks for them.
        "pg_current_logfile"
        | "pg_ls_waldir"
        | "pg_ls_logdir"
        | "pg_ls_tmpdir"
        | "pg_ls_archive_statusdir"
        | "pg_ls_replslotdir"
        | "pg_ls_logicalmapdir"
        | "pg_ls_logicalsnapdir"
        | "pg_ls_summariesdir" => Reads,

        "lo_import"
        | "lo_export"
        | "pg_read_file"
        | "pg_read_file_old"
        | "pg_read_binary_file"
        | "pg_stat_file"
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
        | "lo_truncate64" | "setval" => Writes,
        "lo_unlink" => Deletes,

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

/// A setting that does something beyond how a session's own texts are read, and what.
pub fn guarded_setting(name: &str) -> Option<(&'static str, Effect)> {
    GUARDED.iter().copied().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// With the first, triggers and rules stop firing; by the others, libraries are loaded.
const GUARDED: &[(&str, Effect)] = &[
    ("session_replication_role", Effect::Administer),
    ("session_preload_libraries", Effect::UnsafeIo),
    ("local_preload_libraries", Effect::UnsafeIo),
    ("shared_preload_libraries", Effect::UnsafeIo),
    ("dynamic_library_path", Effect::UnsafeIo),
];

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
        let since = if later_by_name(name) { 14 } else { 13 };
        let volatile = fields.next() == Some("v");
        Some((name, Function { kind, volatile, rows: fields.next() == Some("r"), since }))
    });
    let later = LATER.iter().flat_map(|(since, names)| {
        names.iter().map(|name| {
            let kind = if AGGREGATES_SINCE.contains(name) {
                FunctionKind::Aggregate
            } else {
                FunctionKind::Plain
            };
            (*name, Function { kind, volatile: false, rows: false, since: *since })
        })
    });
    let mut all: HashMap<_, _> = listed.collect();
    for (name, function) in later {
        // The first list knows more of what both have, but for when it came.
        all.entry(name).or_insert(function).since = function.since;
    }
    all
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

/// Of those that aren't in the first list.
const AGGREGATES_SINCE: &[&str] = &["any_value"];

/// Functions that came after 13: on an older server the same name can only be
/// somebody's own (a home-made `uuidv7`, say).
const LATER: &[(u16, &[&str])] = &[
    (
        14,
        &[
            "array_subscript_handler",
            "bit_count",
            "bit_xor",
            "date_bin",
            "extract",
            "gist_point_sortsupport",
            "hash_record",
            "hash_record_extended",
            "hashtid",
            "hashtidextended",
            "jsonb_subscript_handler",
            "numeric_pl_pg_lsn",
            "pg_column_compression",
            "pg_get_backend_memory_contexts",
            "pg_get_catalog_foreign_keys",
            "pg_get_function_sqlbody",
            "pg_get_statisticsobjdef_columns",
            "pg_get_statisticsobjdef_expressions",
            "pg_get_wal_replay_pause_state",
            "pg_log_backend_memory_contexts",
            "pg_lsn_mii",
            "pg_lsn_pli",
            "pg_stat_get_db_active_time",
            "pg_stat_get_db_idle_in_transaction_time",
            "pg_stat_get_db_session_time",
            "pg_stat_get_db_sessions",
            "pg_stat_get_db_sessions_abandoned",
            "pg_stat_get_db_sessions_fatal",
            "pg_stat_get_db_sessions_killed",
            "pg_stat_get_replication_slot",
            "pg_stat_get_wal",
            "pg_stat_reset_replication_slot",
            "pg_stop_making_pinned_objects",
            "pg_xact_commit_timestamp_origin",
            "range_agg",
            "range_agg_finalfn",
            "range_agg_transfn",
            "range_intersect_agg",
            "range_intersect_agg_transfn",
            "raw_array_subscript_handler",
            "string_to_table",
            "trim_array",
            "unistr",
        ],
    ),
    (
        15,
        &[
            "has_parameter_privilege",
            "multirange_agg_finalfn",
            "multirange_agg_transfn",
            "pg_backup_start",
            "pg_backup_stop",
            "pg_database_collation_actual_version",
            "pg_get_wal_resource_managers",
            "pg_ident_file_mappings",
            "pg_ls_logicalmapdir",
            "pg_ls_logicalsnapdir",
            "pg_ls_replslotdir",
            "pg_settings_get_flags",
            "pg_stat_force_next_flush",
            "pg_stat_get_recovery_prefetch",
            "pg_stat_get_subscription_stats",
            "pg_stat_have_stats",
            "pg_stat_reset_subscription_stats",
            "regexp_count",
            "regexp_instr",
            "regexp_like",
            "regexp_substr",
            "window_dense_rank_support",
            "window_rank_support",
            "window_row_number_support",
            "xid8_larger",
            "xid8_smaller",
        ],
    ),
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
            "pg_split_walfile_name",
            "system_user",
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
            "pg_available_wal_summaries",
            "pg_get_wait_events",
            "pg_ls_summariesdir",
            "pg_stat_get_checkpointer_buffers_written",
            "pg_stat_get_checkpointer_num_requested",
            "pg_stat_get_checkpointer_num_timed",
            "pg_stat_get_checkpointer_restartpoints_performed",
            "pg_stat_get_checkpointer_restartpoints_requested",
            "pg_stat_get_checkpointer_restartpoints_timed",
            "pg_stat_get_checkpointer_stat_reset_time",
            "pg_stat_get_checkpointer_sync_time",
            "pg_stat_get_checkpointer_write_time",
            "pg_wal_summary_contents",
            "to_regtypemod",
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
            "has_largeobject_privilege",
            "lgamma",
            "pg_get_acl",
            "pg_stat_get_checkpointer_num_performed",
            "pg_stat_get_checkpointer_slru_written",
            "uuidv4",
            "uuidv7",
        ],
    ),
];

#[cfg(test)]
mod tests;
