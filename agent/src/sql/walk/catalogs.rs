//! What it means to write to a table of the server's own: its rows are the objects of
//! the database, who owns them and who may what with them; `pg_settings` writes the
//! session's settings. And what it means to read one that shows files.

use pg_raw_parse::nodes::RangeVar;

use super::super::effect::Effect;
use super::super::facts::{Scope, SessionEffect, Setting};
use super::Walk;

impl<'t> Walk<'t, '_> {
    /// A table or view is read.
    pub(super) fn catalog_read(&mut self, range: &'t RangeVar) {
        let name = range.relname().unwrap_or_default();
        let own = range.schemaname().is_none_or(|schema| schema == "pg_catalog");
        if own && name.starts_with("pg_") && FILES.contains(&name) {
            self.effect(Effect::UnsafeIo);
        }
    }

    /// A superuser may do this with INSERT, UPDATE, DELETE, MERGE and COPY, as to any table.
    pub(super) fn catalog_written(&mut self, range: &'t RangeVar) {
        let name = range.relname().unwrap_or_default();
        // Over the roles: what is deleted from it is a role.
        let roles = range.schemaname() == Some("information_schema") && name == "enabled_roles";
        if !roles && range.schemaname().is_some_and(|schema| schema != "pg_catalog") {
            return;
        }
        if name == "pg_settings" {
            // Its rule calls set_config, for everybody and for whichever rows are meant.
            self.effect(Effect::Administer);
            self.session(SessionEffect {
                setting: "*".into(),
                value: Setting::Dynamic,
                scope: Scope::Session,
            });
        }
        if roles || CATALOGS.binary_search(&name).is_ok() {
            for effect in [Effect::Create, Effect::Alter, Effect::Drop, Effect::Grant] {
                self.effect(effect);
            }
        }
    }
}

/// Views of what stands in files of the server's, which only functions that read such show.
const FILES: &[&str] = &["pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings"];

/// Of all versions, with the views through which the server lets them be written. In order.
const CATALOGS: &[&str] = &[
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_authid",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_group",
    "pg_index",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_largeobject_metadata",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_parameter_acl",
    "pg_partitioned_table",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_range",
    "pg_replication_origin",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_stat_database_conflicts",
    "pg_statistic",
    "pg_statistic_ext",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_tablespace",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user_mapping",
];

#[cfg(test)]
mod tests {
    use super::CATALOGS;

    #[test]
    fn they_are_found() {
        assert!(CATALOGS.is_sorted());
    }
}
