//! What a database is made of, as lines that can be compared: its catalogs, its rows,
//! its settings.

use std::collections::BTreeMap;

use anyhow::Result;

/// A line for each thing, by what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog(BTreeMap<String, String>);

/// Catalogs of which every version of every row counts.
const TABLES: &[&str] = &[
    "pg_class",
    "pg_attribute",
    "pg_attrdef",
    "pg_index",
    "pg_constraint",
    "pg_type",
    "pg_proc",
    "pg_aggregate",
    "pg_operator",
    "pg_opclass",
    "pg_cast",
    "pg_collation",
    "pg_conversion",
    "pg_namespace",
    "pg_rewrite",
    "pg_trigger",
    "pg_event_trigger",
    "pg_policy",
    "pg_description",
    "pg_shdescription",
    "pg_seclabel",
    "pg_depend",
    "pg_shdepend",
    "pg_inherits",
    "pg_partitioned_table",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_enum",
    "pg_range",
    "pg_language",
    "pg_extension",
    "pg_default_acl",
    "pg_init_privs",
    "pg_largeobject_metadata",
    "pg_largeobject",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_user_mapping",
    "pg_publication",
    "pg_publication_rel",
    "pg_subscription",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_authid",
    "pg_auth_members",
    "pg_db_role_setting",
    "pg_database",
    "pg_tablespace",
];

/// What is no table, whole.
const VIEWS: &[&str] = &["pg_prepared_xacts", "pg_file_settings"];

impl Catalog {
    /// As it is now: the catalogs, the rows of every table of the schemas that aren't
    /// the server's own, the sequences, and which server it is. `ask` gives rows as
    /// lines, columns joined by `|`.
    pub fn read(mut ask: impl FnMut(&str) -> Result<String>) -> Result<Self> {
        let mut parts: Vec<String> =
            TABLES.iter().map(|table| versions(table, &format!("pg_catalog.{table}"))).collect();
        parts.extend(VIEWS.iter().map(|view| {
            format!("SELECT '{view}', coalesce(string_agg(v::text, ';' ORDER BY v::text), '') FROM {view} v")
        }));
        parts.push(
            "SELECT 'slots', coalesce(string_agg(slot_name, ';'), '') FROM pg_replication_slots"
                .into(),
        );
        parts.push("SELECT 'server', pg_postmaster_start_time()::text".into());
        let listed = "SELECT format('%I.%I', nspname, relname), relkind FROM pg_class c \
                      JOIN pg_namespace n ON n.oid = relnamespace \
                      WHERE (relkind IN ('r', 'S') OR relkind = 'm' AND relispopulated) AND nspname !~ '^pg_(catalog|toast|temp)' \
                      AND nspname <> 'information_schema' ORDER BY 1";
        for line in ask(listed)?.lines() {
            let Some((name, kind)) = line.rsplit_once('|') else { continue };
            let literal = name.replace('\'', "''");
            parts.push(match kind {
                "S" => format!(
                    "SELECT 'value of {literal}', last_value || ' ' || is_called FROM {name}"
                ),
                _ => versions(&format!("rows of {literal}"), name),
            });
        }
        let told = ask(&parts.join(" UNION ALL "))?;
        let pairs = told.lines().filter_map(|line| line.split_once('|'));
        Ok(Self(pairs.map(|(what, is)| (what.to_owned(), is.to_owned())).collect()))
    }

    /// What differs, by name; empty: nothing.
    pub fn changes(&self, since: &Self) -> Vec<String> {
        let names = self.0.keys().chain(since.0.keys());
        let mut changed: Vec<String> =
            names.filter(|name| self.0.get(*name) != since.0.get(*name)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

/// Who made each row, and where it lies: any change of it changes that.
fn versions(what: &str, table: &str) -> String {
    format!(
        "SELECT '{what}', count(*) || ' ' || \
         coalesce(sum(hashtextextended(xmin::text || ctid::text, 0)), 0) FROM {table}"
    )
}
