//! Conditions of a question, with their values.

use rusqlite::types::Value as Sql;

/// Conditions with their values, whose placeholders are numbered in one row.
#[derive(Default)]
pub(super) struct Where {
    pub parts: Vec<String>,
    pub values: Vec<Sql>,
}

impl Where {
    /// The placeholder of a value.
    pub fn bind(&mut self, value: impl Into<Sql>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    pub fn numbered<V: Into<Sql> + Clone>(&mut self, values: &[V]) -> Vec<String> {
        values.iter().map(|value| self.bind(value.clone())).collect()
    }

    /// One of these, if any is asked for.
    pub fn each<V: Into<Sql> + Clone>(
        &mut self,
        values: &[V],
        condition: impl Fn(&str) -> String,
    ) -> Option<String> {
        let each: Vec<String> =
            self.numbered(values).iter().map(|value| condition(value)).collect();
        (!each.is_empty()).then(|| format!("({})", each.join(" OR ")))
    }

    /// A column is one of these.
    pub fn of(&mut self, column: &str, values: &[String]) -> Option<String> {
        let values = self.numbered(values);
        (!values.is_empty()).then(|| format!("{column} IN ({})", values.join(", ")))
    }

    pub fn any<V: Into<Sql> + Clone>(&mut self, values: &[V], condition: impl Fn(&str) -> String) {
        let either = self.each(values, condition);
        self.parts.extend(either);
    }

    pub fn text(&self) -> String {
        if self.parts.is_empty() { "1".into() } else { self.parts.join(" AND ") }
    }
}
