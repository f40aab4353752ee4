//! What an answer answers: the statement, and the one behind its name.

use super::super::gate::{Granted, Judged};
use crate::mask::Catalog;
use crate::mask::lineage::{self, Origins};
use crate::mask::postgres::copy::CopyStyle;
use crate::mask::postgres::messages::Care;
use crate::sql::facts::{Statement, Verb};
use crate::wire::postgres::session::Origin;

/// One statement of what was granted.
#[derive(Clone, Copy)]
pub struct Answered<'g> {
    pub granted: &'g Granted,
    pub index: u32,
}

impl<'g> Answered<'g> {
    pub fn of(origin: Origin<'g, Judged>) -> Option<Self> {
        Some(Self { granted: origin.permit()?, index: origin.index() })
    }

    pub fn statement(self) -> Option<&'g Statement> {
        self.granted.statement.facts.running().nth(self.index as usize)
    }

    /// What it runs that it names: EXECUTE's prepared statement, FETCH's and MOVE's cursor.
    pub fn behind(self) -> Option<&'g Statement> {
        let handle = self.statement()?.handle.as_deref()?;
        let names = |one: &&Statement| {
            matches!(one.verb, Verb::Prepare | Verb::DeclareCursor)
                && one.handle.as_deref() == Some(handle)
        };
        // In the same text before it, the last of that name; else by the session.
        let before = self.granted.statement.facts.running().take(self.index as usize);
        before.filter(names).last().or_else(|| {
            let behind = self.granted.behind.as_ref()?;
            behind.text.facts.running().nth(behind.index as usize).filter(names)
        })
    }

    pub fn origins(self, catalog: &Catalog) -> Origins {
        let Some(statement) = self.statement() else { return Origins::dark() };
        match statement.verb {
            Verb::Execute | Verb::Fetch => match self.behind() {
                Some(behind) => Origins::of(behind, catalog),
                // Bound by the protocol: its text is the statement's own.
                None => Origins::dark(),
            },
            _ => Origins::of(statement, catalog),
        }
    }

    pub fn care(self, catalog: &Catalog) -> Care {
        let Some(statement) = self.statement() else { return Care::Touches };
        let named = matches!(statement.verb, Verb::Execute | Verb::Fetch | Verb::Move);
        let behind = match self.behind() {
            // Nobody knows what it runs.
            None if named => return Care::Touches,
            behind => behind.unwrap_or(statement),
        };
        match lineage::touches(statement, catalog) || lineage::touches(behind, catalog) {
            true => Care::Touches,
            false => Care::Scan,
        }
    }
}

/// How a COPY's stream is written: by its statement, else by what the server says.
pub fn style(origin: Origin<'_, Judged>, binary: bool) -> CopyStyle {
    if binary {
        return CopyStyle::Binary;
    }
    let own = || {
        let span = Answered::of(origin)?.statement()?.span;
        let text = origin.text()?;
        let own = match span {
            Some(span) => text.get(span.start as usize..span.end as usize)?,
            None => text,
        };
        CopyStyle::of(str::from_utf8(own).ok()?)
    };
    own().filter(|style| *style != CopyStyle::Binary).unwrap_or(CopyStyle::Lines)
}

pub fn reads_settings(statement: &Statement) -> bool {
    statement.calls.iter().any(|call| &*call.name == "current_setting")
        || statement
            .objects
            .iter()
            .any(|one| matches!(&*one.name, "pg_settings" | "pg_stat_activity"))
}

/// Where the texts of prepared statements and cursors are.
pub fn reads_handles(statement: &Statement) -> bool {
    let mut all = statement.objects.iter();
    all.any(|one| matches!(&*one.name, "pg_prepared_statements" | "pg_cursors"))
}

pub fn reads_large_objects(statement: &Statement) -> bool {
    statement.calls.iter().any(|call| matches!(&*call.name, "lo_get" | "loread"))
        || statement.objects.iter().any(|one| &*one.name == "pg_largeobject")
}

/// Whether a setting takes any text.
pub fn is_free_setting(name: &[u8]) -> bool {
    name.contains(&b'.')
        || matches!(name, b"application_name" | b"search_path" | b"temp_tablespaces" | b"all")
        || name == b"setting"
}
