//! What a statement did, by the server's own account: its counters of rows written, the
//! rows of its catalogs, its settings.
//!
//! INVARIANT: everything is asked in the session that did it, before its transaction
//! ends, so nothing that others do is taken for its own.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use tidegate::sql::{Effect, Effects};
use tidegate_tests::wire::Connection;

/// One thing that was done. The name is what it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Deed {
    Inserted(String),
    Updated(String),
    Deleted(String),
    /// Rows came into a table that the same statement has made.
    Filled(String),
    /// A table has another file, and nothing in it.
    Emptied(String),
    Created(String),
    /// What belongs to another object came, went or changed: an index, a constraint …
    Altered(String),
    Dropped(String),
    Granted(String),
    /// A catalog without objects of its own was written.
    Stored(String),
    /// Large objects, which are rows of a catalog.
    Large(String),
    Set(String),
}

impl Deed {
    /// The effects that a server shows, when they come about.
    pub const SHOWN: Effects = Effects::of(Effect::Insert)
        .with(Effect::Update)
        .with(Effect::Delete)
        .with(Effect::Truncate)
        .with(Effect::Create)
        .with(Effect::Alter)
        .with(Effect::Drop)
        .with(Effect::Grant);

    /// One of these must be among a statement's effects.
    pub fn wanted(&self) -> Effects {
        let any = |effects: &[Effect]| effects.iter().copied().collect::<Effects>();
        let defined = any(&[Effect::Create, Effect::Alter, Effect::Drop]);
        match self {
            Self::Inserted(_) => any(&[Effect::Insert]),
            Self::Updated(_) => any(&[Effect::Update]),
            Self::Deleted(_) => any(&[Effect::Delete]),
            Self::Filled(_) | Self::Created(_) => any(&[Effect::Create]),
            Self::Emptied(_) => any(&[Effect::Truncate, Effect::Alter, Effect::Administer]),
            Self::Altered(_) => defined,
            Self::Dropped(_) => any(&[Effect::Drop]),
            Self::Granted(_) => any(&[Effect::Grant]),
            Self::Stored(_) => defined.with(Effect::Grant).with(Effect::Administer),
            Self::Large(_) => any(&[Effect::Insert, Effect::Update, Effect::Delete, Effect::Drop]),
            Self::Set(_) => Effects::NONE,
        }
    }
}

/// What the sessions ask. They are somebody's who may look at everything, since a
/// session may have taken any role.
pub const FUNCTIONS: &str = r"
CREATE SCHEMA watch;
GRANT USAGE ON SCHEMA watch TO PUBLIC;
CREATE FUNCTION watch.counted() RETURNS TABLE (kind text, key text, value text)
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT 'number', '', pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text
    UNION ALL
    SELECT 'rows', relation, inserted || ' ' || updated || ' ' || deleted || ' ' || name
    FROM (
        SELECT oid::pg_catalog.text AS relation, relname::pg_catalog.text AS name,
            pg_catalog.pg_stat_get_xact_tuples_inserted(oid) AS inserted,
            pg_catalog.pg_stat_get_xact_tuples_updated(oid) AS updated,
            pg_catalog.pg_stat_get_xact_tuples_deleted(oid) AS deleted
        FROM pg_catalog.pg_class WHERE relkind IN ('r', 'm')
    ) AS relations
    WHERE inserted + updated + deleted > 0
    UNION ALL
    SELECT 'setting', name, setting FROM pg_catalog.pg_settings WHERE source = 'session'
    UNION ALL
    SELECT 'setting', 'role', pg_catalog.current_setting('role')
    UNION ALL
    SELECT 'setting', 'session_authorization', session_user
$$;
-- Of a catalog's rows, those written since a transaction began.
CREATE FUNCTION watch.rows(catalog text, key text, acl text, since bigint)
RETURNS TABLE (known text, rights text, belongs text, file text, digest text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY EXECUTE pg_catalog.format($query$
        SELECT (%1$s)::pg_catalog.text, (%2$s)::pg_catalog.text,
            EXISTS (
                SELECT FROM pg_catalog.pg_depend
                WHERE classid = %3$L::pg_catalog.regclass AND objid = %6$s
                    AND deptype IN ('i', 'a', 'P', 'S')
            )::pg_catalog.text,
            document ->> 'relfilenode' || ' ' || (document ->> 'relkind'),
            pg_catalog.md5((document - $names${%4$s}$names$::pg_catalog.text[])::pg_catalog.text)
        FROM (
            SELECT *, pg_catalog.to_jsonb(catalog) AS document FROM pg_catalog.%3$I AS catalog
            WHERE xmin::pg_catalog.text::pg_catalog.int8 >= %5$s
                AND (%3$L <> 'pg_attribute' OR %2$s IS NOT NULL)
        ) AS written
        $query$, key, acl, catalog, acl || ',relpages,reltuples,relallvisible,relfilenode,'
        'relhasindex,relhasrules,relhastriggers,relhassubclass,reltoastrelid,relfrozenxid,'
        'relminmxid,relchecks,datfrozenxid,datminmxid', since, CASE key WHEN 'oid' THEN key ELSE '0' END);
END
$$;
CREATE FUNCTION watch.keys(catalog text, key text) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY EXECUTE pg_catalog.format(
        'SELECT (%s)::pg_catalog.text FROM pg_catalog.%I', key, catalog);
END
$$;
CREATE FUNCTION watch.size(relation oid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER AS 'SELECT pg_catalog.pg_relation_size(relation)';
";

struct Kind {
    name: String,
    /// What tells its rows apart, and who may what with them: SQL.
    key: String,
    acl: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    acl: Option<String>,
    belongs: bool,
    file: Option<String>,
    digest: String,
}

/// By catalog, then by key.
type Objects = HashMap<String, HashMap<String, Row>>;

/// What is known of a database, so that a change shows.
#[derive(Default)]
pub struct Watch {
    /// Catalogs whose rows are objects.
    kinds: Vec<Kind>,
    objects: Objects,
    /// What undoes the changes since the transaction began, the last one last.
    undo: Vec<(String, String, Option<Row>)>,
    /// The number from which on transactions were seen, and what users had made before.
    since: String,
    older: HashSet<(String, String)>,
    /// Of the transaction, by the relation's number.
    rows: HashMap<String, [u64; 3]>,
    settings: HashMap<String, String>,
}

/// What was found after one statement.
pub struct Found {
    pub deeds: Vec<Deed>,
    /// The transaction has a number: something is stored.
    pub numbered: bool,
    /// Rows were written, the catalogs' included.
    pub wrote: bool,
}

impl Watch {
    /// Learns all there is.
    pub fn new(connection: &mut Connection) -> Result<Self> {
        let mut watch = Self { kinds: kinds(connection)?, ..Self::default() };
        watch.objects = watch.all(connection, "0")?;
        for (catalog, rows) in &watch.objects {
            let older = rows.keys().filter(|key| !is_servers(key));
            watch.older.extend(older.map(|key| (catalog.clone(), key.clone())));
        }
        watch.since = connection
            .value("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())")?;
        watch.settings = counted(connection)?.settings;
        Ok(watch)
    }

    /// Learns anew what may have changed unseen.
    pub fn learn(&mut self, connection: &mut Connection) -> Result<()> {
        let now = self.all(connection, &self.since)?;
        for (catalog, now) in now {
            let known = self.objects.entry(catalog.clone()).or_default();
            let older = |key: &str| self.older.contains(&(catalog.clone(), key.to_owned()));
            known.retain(|key, _| is_servers(key) || older(key));
            known.extend(now);
        }
        self.count(connection)
    }

    /// What stands now is nothing that the next statement does.
    pub fn count(&mut self, connection: &mut Connection) -> Result<()> {
        let Counted { rows, settings, .. } = counted(connection)?;
        self.rows = rows.into_iter().map(|(relation, (count, _))| (relation, count)).collect();
        self.settings = settings;
        Ok(())
    }

    fn all(&self, connection: &mut Connection, since: &str) -> Result<Objects> {
        let mut all = Objects::new();
        for kind in &self.kinds {
            all.insert(kind.name.clone(), rows(connection, kind, since)?.into_iter().collect());
        }
        Ok(all)
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        self.undo.clear();
        self.rows.clear();
    }

    /// It has ended, and what was done in it is kept or not.
    pub fn end(&mut self, kept: bool) {
        for (catalog, key, row) in self.undo.drain(..).rev().filter(|_| !kept) {
            let rows = self.objects.entry(catalog).or_default();
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        self.rows.clear();
    }

    /// What was done since it was last asked, in a transaction that is open.
    pub fn look(&mut self, connection: &mut Connection) -> Result<Found> {
        let Counted { number, rows: counts, settings } = counted(connection)?;
        let mut deeds = Vec::new();
        let changed = |name: &&String| self.settings.get(*name) != settings.get(*name);
        let names: HashSet<&String> = self.settings.keys().chain(settings.keys()).collect();
        deeds.extend(names.into_iter().filter(changed).cloned().map(Deed::Set));
        let mut moved = Vec::new();
        let mut tables = Vec::new();
        for (relation, (count, name)) in &counts {
            let before = self.rows.get(relation).copied().unwrap_or_default();
            // TRUNCATE begins to count anew.
            let more = |at: usize| count[at].saturating_sub(before[at]);
            let more = [more(0), more(1), more(2)];
            if more == [0; 3] {
                continue;
            }
            if is_servers(relation) {
                moved.push((name.clone(), more))
            } else {
                tables.push((relation, name, more))
            }
        }
        let wrote = !moved.is_empty() || !tables.is_empty();
        let since = number.clone().unwrap_or_else(|| "0".into());
        let mut made = HashSet::new();
        for (name, more) in &moved {
            let kind = self.kinds.iter().find(|kind| kind.name == *name);
            let Some(kind) = kind.filter(|_| number.is_some()) else {
                deeds.extend(stored(name));
                continue;
            };
            for (key, row) in rows(connection, kind, &since)? {
                let what = format!("{name} {key}");
                let known = self.objects.entry(name.clone()).or_default();
                let before = known.insert(key.clone(), row.clone());
                self.undo.push((name.clone(), key.clone(), before.clone()));
                let Some(before) = before else {
                    let belongs = row.belongs || is_part(name);
                    deeds.push(match name.as_str() {
                        "pg_default_acl" | "pg_parameter_acl" | "pg_attribute" => {
                            Deed::Granted(what)
                        }
                        "pg_largeobject_metadata" => Deed::Large(what),
                        _ if belongs => Deed::Altered(what),
                        _ => Deed::Created(what),
                    });
                    made.insert(key);
                    continue;
                };
                if before.acl != row.acl {
                    deeds.push(Deed::Granted(what.clone()));
                }
                if before.digest != row.digest && name != "pg_attribute" {
                    deeds.push(Deed::Altered(what.clone()));
                }
                let table = row.file.as_deref().is_some_and(|file| file.ends_with(['r', 'm']));
                if table && before.file != row.file {
                    let size = connection.value(&format!("SELECT watch.size({key})"))?;
                    deeds.extend((size == "0").then_some(Deed::Emptied(what)));
                }
            }
            if more[2] > 0 && name != "pg_attribute" {
                let there: HashSet<String> = keys(connection, kind)?.into_iter().collect();
                let known = self.objects.entry(name.clone()).or_default();
                for (key, row) in known.extract_if(|key, _| !there.contains(key)) {
                    let what = format!("{name} {key}");
                    let belongs = row.belongs || is_part(name);
                    deeds.push(match name.as_str() {
                        // They go with what they are about.
                        "pg_default_acl" | "pg_parameter_acl" => Deed::Stored(what),
                        "pg_largeobject_metadata" => Deed::Large(what),
                        _ if belongs => Deed::Altered(what),
                        _ => Deed::Dropped(what),
                    });
                    self.undo.push((name.clone(), key, Some(row)));
                }
            }
        }
        for (relation, name, [inserted, updated, deleted]) in tables {
            let new = made.contains(relation.as_str());
            let name = || name.clone();
            if inserted > 0 {
                deeds.push(if new { Deed::Filled(name()) } else { Deed::Inserted(name()) });
            }
            deeds.extend((updated > 0).then(|| Deed::Updated(name())));
            deeds.extend((deleted > 0).then(|| Deed::Deleted(name())));
        }
        self.rows = counts.into_iter().map(|(relation, (count, _))| (relation, count)).collect();
        self.settings = settings;
        Ok(Found { deeds, numbered: number.is_some(), wrote })
    }
}

/// Numbers below are the server's own objects'.
const FIRST_OF_USERS: u64 = 16384;

/// Whether a row was there before anybody used the database, by its number.
fn is_servers(key: &str) -> bool {
    let number = key.split(' ').next().unwrap_or_default();
    number.parse::<u64>().is_ok_and(|number| number < FIRST_OF_USERS)
}

/// A catalog that only says more about the objects of others.
fn is_part(catalog: &str) -> bool {
    matches!(
        catalog,
        "pg_attrdef" | "pg_constraint" | "pg_amop" | "pg_amproc" | "pg_enum" | "pg_rewrite"
    )
}

fn stored(catalog: &str) -> Option<Deed> {
    match catalog {
        // Who depends on whom follows from the rest.
        "pg_depend" | "pg_shdepend" => None,
        "pg_largeobject" => Some(Deed::Large(catalog.into())),
        "pg_auth_members" => Some(Deed::Granted(catalog.into())),
        _ => Some(Deed::Stored(catalog.into())),
    }
}

/// Catalogs whose rows have a number of their own, and columns, of which others may have
/// been given rights.
fn kinds(connection: &mut Connection) -> Result<Vec<Kind>> {
    const KINDS: &str = "SELECT relname, \
        CASE relname WHEN 'pg_attribute' THEN 'attrelid || '' '' || attnum' ELSE 'oid' END, \
        coalesce((SELECT attname FROM pg_catalog.pg_attribute AS a \
            WHERE a.attrelid = c.oid AND attname ~ '^[a-z]+acl$' AND attnum > 0), 'NULL') \
        FROM pg_catalog.pg_class AS c \
        WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' \
            AND relname <> 'pg_largeobject' \
            AND (relname = 'pg_attribute' OR EXISTS (SELECT FROM pg_catalog.pg_attribute AS a \
                WHERE a.attrelid = c.oid AND attname = 'oid'))";
    let kind = |row: Vec<Option<String>>| {
        let mut parts = row.into_iter().flatten();
        let mut next = || parts.next().context("a catalog's row is short");
        Ok(Kind { name: next()?, key: next()?, acl: next()? })
    };
    table(connection, KINDS)?.into_iter().map(kind).collect()
}

fn rows(connection: &mut Connection, kind: &Kind, since: &str) -> Result<Vec<(String, Row)>> {
    let Kind { name, key, acl } = kind;
    let asked = format!("SELECT * FROM watch.rows('{name}', $${key}$$, '{acl}', {since})");
    let row = |row: Vec<Option<String>>| {
        let [key, acl, belongs, file, digest] =
            row.try_into().map_err(|row| anyhow::anyhow!("not a row: {row:?}"))?;
        let belongs = belongs.as_deref() == Some("true");
        let digest = digest.context("no digest")?;
        Ok((key.context("no key")?, Row { acl, belongs, file, digest }))
    };
    table(connection, &asked)?.into_iter().map(row).collect()
}

fn keys(connection: &mut Connection, kind: &Kind) -> Result<Vec<String>> {
    let Kind { name, key, .. } = kind;
    let asked = format!("SELECT watch.keys('{name}', $${key}$$)");
    Ok(table(connection, &asked)?.into_iter().flatten().flatten().collect())
}

struct Counted {
    number: Option<String>,
    rows: HashMap<String, ([u64; 3], String)>,
    settings: HashMap<String, String>,
}

fn counted(connection: &mut Connection) -> Result<Counted> {
    let mut counted = Counted { number: None, rows: HashMap::new(), settings: HashMap::new() };
    for row in table(connection, "SELECT kind, key, value FROM watch.counted()")? {
        let [kind, key, value] =
            row.try_into().map_err(|row| anyhow::anyhow!("not a row: {row:?}"))?;
        let key = key.context("no key")?;
        match kind.as_deref() {
            Some("number") => counted.number = value,
            Some("rows") => {
                let value = value.context("no counts")?;
                let mut parts = value.splitn(4, ' ');
                let mut next = || parts.next().context("counts are missing");
                let count = [next()?.parse()?, next()?.parse()?, next()?.parse()?];
                counted.rows.insert(key, (count, next()?.into()));
            }
            _ => {
                counted.settings.insert(key, value.unwrap_or_default());
            }
        }
    }
    Ok(counted)
}

/// The rows of an answer.
pub fn table(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let said = connection.query(sql)?;
    let error = said.iter().find(|message| message.kind == b'E');
    ensure!(error.is_none(), "{sql}: {:?}", error.and_then(|error| error.field(b'M')));
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    said.iter()
        .filter(|message| message.kind == b'D')
        .map(|row| Ok(row.columns()?.into_iter().map(|value| value.map(text)).collect()))
        .collect()
}
