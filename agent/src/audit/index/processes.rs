//! Processes as rows: those that have connections, and those whose connects the kernel
//! refused.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::definitions::{flow_under, known, tell, text};
use crate::audit::render::parsed;
use crate::audit::statement::key_of;

/// A process by its number and, since numbers are given again, when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Born {
    pub pid: u32,
    /// Nanoseconds after boot, as records tell it in `process.key.started`.
    pub started: Option<u64>,
    /// How the boot's id begins.
    pub boot: Option<String>,
}

impl FromStr for Born {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let read = || {
            let mut parts = written.splitn(3, '@');
            let pid = parts.next()?.parse().ok()?;
            let started = parts.next().map(str::parse).transpose().ok()?;
            let boot = parts.next().map(ToOwned::to_owned);
            Some(Self { pid, started, boot })
        };
        read().ok_or_else(|| {
            format!("`{written}` is no process: a PID, or PID@START as records tell `started`")
        })
    }
}

impl Born {
    /// The condition that a row with these columns is it; a boot's id takes a
    /// placeholder, which `bind` gives.
    pub fn condition(&self, columns: (&str, &str), bind: impl FnOnce(&str) -> String) -> String {
        let mut all = format!("{} = {}", columns.0, self.pid);
        if let Some(started) = self.started {
            // The kernel tells of some by its clock's tick, of others more exactly.
            let tick = started / TICK;
            let (from, to) = (tick.saturating_sub(1) * TICK, (tick + 2).saturating_mul(TICK));
            let to = to.min(i64::MAX.unsigned_abs());
            all += &format!(" AND {0} >= {from} AND {0} < {to}", columns.1);
        }
        if let Some(boot) = &self.boot {
            let boot = bind(boot);
            all += &format!(
                " AND (processes.boot IS NULL OR substr(processes.boot, 1, length({boot})) = {boot})"
            );
        }
        all
    }
}

/// When those began that had a number and were ancestors. One is asked for behind the
/// other: of the first on a host all processes descend.
pub fn starts(database: &Connection, pid: u32) -> rusqlite::Result<Vec<i64>> {
    let mut next = database.prepare_cached(
        "SELECT started FROM ancestors WHERE tgid = ?1 AND started > ?2 ORDER BY started LIMIT 1",
    )?;
    let mut all = Vec::new();
    loop {
        let last = all.last().copied().unwrap_or(-1);
        let found = next.query_row([i64::from(pid), last], |row| row.get(0)).optional()?;
        let Some(started) = found else { return Ok(all) };
        all.push(started);
    }
}

/// The boots in which a number was given at a moment, as the first and the last that
/// descend from it tell.
fn boots(database: &Connection, pid: u32, started: i64) -> rusqlite::Result<Vec<String>> {
    let mut boots = Vec::new();
    for end in ["min", "max"] {
        let sql = format!(
            "SELECT boot FROM processes WHERE id =
             (SELECT {end}(process) FROM ancestors WHERE tgid = ?1 AND started = ?2)"
        );
        let boot: Option<Option<String>> = database
            .prepare_cached(&sql)?
            .query_row([i64::from(pid), started], |row| row.get(0))
            .optional()?;
        boots.push(boot.flatten().unwrap_or_default());
    }
    boots.dedup();
    Ok(boots)
}

/// The processes that had a number, where it wasn't one alone: as they can be asked for.
pub fn namesakes(database: &Connection, pid: u32, tree: bool) -> rusqlite::Result<Vec<String>> {
    let mut found: Vec<(u64, String)> = Vec::new();
    if tree {
        for started in starts(database, pid)?.into_iter().filter(|started| *started > 0) {
            let boots = boots(database, pid, started)?;
            found.extend(boots.into_iter().map(|boot| (started.cast_unsigned(), boot)));
        }
    } else {
        let mut statement = database.prepare_cached(
            "SELECT DISTINCT started, boot FROM processes
             WHERE tgid = ?1 AND started > 0 AND boot IS NOT NULL",
        )?;
        let rows = statement
            .query_map([pid], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?;
        found = rows.collect::<rusqlite::Result<_>>()?;
    }
    found.sort_by(|one, other| (&one.1, one.0).cmp(&(&other.1, other.0)));
    found.dedup_by(|next, one| next.1 == one.1 && next.0 / TICK - one.0 / TICK <= 1);
    let boots = found.iter().any(|(_, boot)| found.iter().any(|(_, other)| other != boot));
    let named = |(started, boot): &(u64, String)| match boot.get(..8).filter(|_| boots) {
        Some(boot) => format!("{pid}@{started}@{boot}"),
        None => format!("{pid}@{started}"),
    };
    Ok(if found.len() > 1 { found.iter().map(named).collect() } else { Vec::new() })
}

pub fn process(database: &Connection, json: &str) -> rusqlite::Result<i64> {
    let hash = key_of(1, json.as_bytes()).to_le_bytes();
    if let Some(id) = known(database, "processes", &hash)? {
        return Ok(id);
    }
    let value = parsed(json);
    let number = |pointer: &str| {
        value.pointer(pointer).and_then(Value::as_u64).and_then(|n| i64::try_from(n).ok())
    };
    let actor = actor(database, &value, number("/uid"))?;
    database
        .prepare_cached(
            "INSERT INTO processes(tgid, started, actor, boot, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            number("/key/tgid"),
            number("/key/started"),
            actor,
            text(&value, "/actor/boot"),
            hash.as_slice(),
        ])?;
    let id = database.last_insert_rowid();
    tell(database, "processes", id, json)?;
    let ancestor = |tgid: Option<i64>, started: Option<i64>| {
        let Some(tgid) = tgid else { return Ok(()) };
        database
            .prepare_cached("INSERT OR IGNORE INTO ancestors VALUES (?1, ?2, ?3)")?
            .execute(params![tgid, started.unwrap_or(0), id])
            .map(drop)
    };
    ancestor(number("/key/tgid"), number("/key/started"))?;
    ancestor(number("/parent"), None)?;
    for above in value.pointer("/actor/ancestry").and_then(Value::as_array).into_iter().flatten() {
        let number = |key: &str| above.get(key).and_then(Value::as_i64);
        ancestor(number("pid"), number("started"))?;
    }
    Ok(id)
}

/// All that a process is asked for by and that others have as well.
fn actor(database: &Connection, process: &Value, uid: Option<i64>) -> rusqlite::Result<i64> {
    let exe = text(process, "/exe");
    let base = exe.and_then(|exe| exe.rsplit('/').next());
    let person = ["/actor/person/name", "/actor/person/user/value"]
        .iter()
        .find_map(|pointer| text(process, pointer));
    let words = words(process);
    let named = [
        text(process, "/comm"),
        exe,
        base,
        text(process, "/user"),
        text(process, "/workload/unit"),
        text(process, "/workload/container"),
        text(process, "/workload/pod"),
        text(process, "/workload/pod_name"),
        text(process, "/workload/namespace"),
        text(process, "/actor/name"),
        person,
        text(process, "/actor/kind"),
    ];
    let hash = key_of(1, json!([named, uid, words]).to_string().as_bytes()).to_le_bytes();
    if let Some(id) = known(database, "actors", &hash)? {
        return Ok(id);
    }
    let [comm, exe, base, user, unit, container, pod, pod_name, namespace, agent, person, kind] =
        named;
    database
        .prepare_cached(
            "INSERT INTO actors(hash, comm, exe, base, uid, user, unit, container, pod, pod_name,
             namespace, agent, person, kind)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            hash.as_slice(),
            comm,
            exe,
            base,
            uid,
            user,
            unit,
            container,
            pod,
            pod_name,
            namespace,
            agent,
            person,
            kind,
        ])?;
    let id = database.last_insert_rowid();
    database
        .prepare_cached("INSERT INTO actor_words(rowid, body) VALUES (?1, ?2)")?
        .execute(params![id, words])?;
    Ok(id)
}

/// What a process may be looked for by: its program, its script, its command line, and
/// the names of where it runs.
fn words(process: &Value) -> String {
    let named = [
        "/comm",
        "/exe",
        "/actor/program/script",
        "/actor/name",
        "/workload/unit",
        "/workload/image",
        "/workload/container_name",
        "/workload/namespace",
        "/workload/pod_name",
    ];
    let command = process.pointer("/command").and_then(Value::as_array);
    let command = command.into_iter().flatten().filter_map(Value::as_str);
    let all = named.iter().filter_map(|pointer| text(process, pointer)).chain(command);
    all.collect::<Vec<_>>().join(" ")
}

/// Who had to do with an event that the kernel or the keeper tells of.
pub struct Observed {
    pub flow: i64,
    pub refused: bool,
}

/// Such an event names no connection of the log's: its process and its destination
/// stand in itself, and are found like those of others.
pub fn observed(database: &Connection, event: &str) -> rusqlite::Result<Option<Observed>> {
    let event = parsed(event);
    let (who, whereto) = match event.get("flow") {
        Some(flow) => {
            let mut rest = flow.clone();
            let who = rest.as_object_mut().and_then(|rest| rest.remove("process"));
            (who.unwrap_or_default(), rest)
        }
        None => (
            event.get("process").cloned().unwrap_or_default(),
            json!({ "destination": event.get("destination"), "netns": event.get("netns") }),
        ),
    };
    if !who.is_object() {
        return Ok(None);
    }
    let process = process(database, &who.to_string())?;
    let whereto = whereto.to_string();
    let key = key_of(2, format!("{process} {whereto}").as_bytes());
    let flow = flow_under(database, key, &whereto, process)?;
    let refused = event.get("event").is_some_and(|event| event == "refused");
    Ok(Some(Observed { flow, refused }))
}

/// Nanoseconds of the clock by which /proc tells starts.
const TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_its_number_its_start_and_its_boot() {
        let born = |text: &str| text.parse::<Born>();
        assert_eq!(born("7"), Ok(Born { pid: 7, started: None, boot: None }));
        let whole = Born { pid: 7, started: Some(9), boot: Some("0f0e".into()) };
        assert_eq!(born("7@9@0f0e"), Ok(whole));
        for wrong in ["", "x", "7@", "7@x", "-1"] {
            assert!(born(wrong).is_err(), "{wrong}");
        }
    }
}
