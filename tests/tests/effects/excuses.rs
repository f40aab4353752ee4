//! What a server does that no text names: each kind with its reason, and each looked
//! for at the server before it is believed.

use anyhow::Result;
use tidegate::sql::effect::Use;
use tidegate::sql::{Effect, Facts, Verb};
use tidegate_tests::wire::Connection;

use crate::deeds::{Deed, table};

/// Why what was done need not be among the facts' effects. `None`: it must be.
pub fn excuse(
    deed: &Deed,
    facts: &Facts,
    connection: &mut Connection,
) -> Result<Option<&'static str>> {
    let written = |statement: &tidegate::sql::Statement| {
        let uses = |one: &&tidegate::sql::facts::Object| {
            [Use::Written, Use::Dropped].iter().any(|of| one.uses.contains(*of))
        };
        let names = statement.objects.iter().filter(uses).map(|one| one.name.to_string());
        names.collect::<Vec<_>>()
    };
    let rows = matches!(deed, Deed::Inserted(_) | Deed::Updated(_) | Deed::Deleted(_));
    let effects = facts.effects();
    let all = |verbs: &[Verb]| facts.running().all(|statement| verbs.contains(&statement.verb));
    if let Deed::Set(setting) = deed {
        let sets = |name: &str| facts.session().any(|one| &*one.setting == name);
        return Ok(match setting.as_str() {
            "role" if sets("session_authorization") => Some("another user has no role yet"),
            "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => {
                Some("a transaction begins with the session's defaults")
            }
            _ => None,
        });
    }
    let kept = matches!(deed, Deed::Altered(_) | Deed::Stored(_));
    if (rows || kept) && all(&[Verb::Refresh]) {
        return Ok(Some("REFRESH fills a view and its indexes anew, which is its update"));
    }
    if all(&[Verb::Discard]) {
        return Ok(Some("DISCARD drops temporary tables of the session's own"));
    }
    let upkeep = [Verb::Reindex, Verb::Cluster, Verb::Vacuum, Verb::Analyze];
    if matches!(deed, Deed::Altered(_)) && all(&upkeep) {
        return Ok(Some("upkeep says in the catalog where and how it left things"));
    }
    let names: Vec<String> = facts.running().flat_map(written).collect();
    let literals: Vec<String> =
        names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    let list = if literals.is_empty() { "''".to_owned() } else { literals.join(", ") };
    // The tables that the text names, with their partitions and children, and those that
    // views stand for.
    let tables = format!(
        "WITH RECURSIVE named (oid) AS (\
            SELECT oid FROM pg_catalog.pg_class WHERE relname IN ({list}) \
            UNION SELECT next.oid FROM named, LATERAL (\
                SELECT inhrelid AS oid FROM pg_catalog.pg_inherits WHERE inhparent = named.oid \
                UNION ALL SELECT d.refobjid FROM pg_catalog.pg_rewrite AS r, pg_catalog.pg_depend AS d \
                WHERE r.ev_class = named.oid AND d.objid = r.oid \
                    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) AS next)"
    );
    let mut there = |what: &str| -> Result<bool> {
        Ok(!table(connection, &format!("{tables} {what} LIMIT 1"))?.is_empty())
    };
    if rows && effects.writes() {
        if there(
            "SELECT FROM pg_catalog.pg_trigger AS t, named \
             WHERE t.tgrelid = named.oid AND NOT t.tgisinternal",
        )? {
            return Ok(Some("a trigger's function did it"));
        }
        if there(
            "SELECT FROM pg_catalog.pg_rewrite AS r, named \
             WHERE r.ev_class = named.oid AND r.rulename <> '_RETURN'",
        )? {
            return Ok(Some("a rule did it"));
        }
        if there(
            "SELECT FROM pg_catalog.pg_constraint AS c, named \
             WHERE c.confrelid = named.oid AND c.contype = 'f' \
                AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))",
        )? {
            return Ok(Some("a foreign key's action did it"));
        }
    }
    if effects.writes()
        && there(
            "SELECT FROM pg_catalog.pg_index AS i, named \
             WHERE i.indrelid = named.oid AND i.indexprs IS NOT NULL",
        )?
    {
        return Ok(Some("an index calls somebody's function"));
    }
    if rows
        && effects.define()
        && there("SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'")?
    {
        return Ok(Some("an event trigger's function did it"));
    }
    let moves = matches!(deed, Deed::Inserted(_) | Deed::Deleted(_));
    if moves
        && effects.contains(Effect::Update)
        && there(
            "SELECT FROM pg_catalog.pg_class AS c, named \
             WHERE c.oid = named.oid AND c.relispartition",
        )?
    {
        return Ok(Some("an updated row went to another partition"));
    }
    Ok(None)
}
