//! Conditions of a question, with their values.

use rusqlite::types::Value as Sql;

use crate::audit::index::Born;

/// A condition with its values.
#[derive(Default)]
pub(super) struct Where {
    pub parts: Vec<String>,
    pub values: Vec<Sql>,
}

impl Where {
    /// One placeholder for each value.
    pub fn any<V: Into<Sql> + Clone>(&mut self, values: &[V], condition: impl Fn(&str) -> String) {
        if values.is_empty() {
            return;
        }
        let mut either = Vec::new();
        for value in values {
            self.values.push(value.clone().into());
            either.push(condition(&format!("?{}", self.values.len())));
        }
        self.parts.push(format!("({})", either.join(" OR ")));
    }

    /// One of these processes.
    pub fn born(
        &mut self,
        all: &[Born],
        columns: (&str, &str),
        condition: impl Fn(String) -> String,
    ) {
        let Self { parts, values } = self;
        let each = all.iter().map(|born| {
            condition(born.condition(columns, |boot| {
                values.push(boot.to_owned().into());
                format!("?{}", values.len())
            }))
        });
        let either: Vec<String> = each.collect();
        if !either.is_empty() {
            parts.push(format!("({})", either.join(" OR ")));
        }
    }

    pub fn text(&self) -> String {
        if self.parts.is_empty() { "1".into() } else { self.parts.join(" AND ") }
    }
}
