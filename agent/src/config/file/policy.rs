//! `[policy]`.

use toml_edit::TableLike;

use super::{POLICY, Reader, article, boolean, check, path, string, with_article};
use crate::config::draft::{Draft, Located};
use crate::config::policy;

impl Reader<'_> {
    pub(super) fn policy(&mut self, top: &dyn TableLike, draft: &mut Draft) {
        let Some(table) = self.table(top, "policy") else { return };
        self.unknown_keys(table, &POLICY, " in [policy]");
        draft.policy_mode = self.take(table, "mode", |i| policy::mode(string(i)?));
        draft.policy_folder = self.take(table, "folder", |i| check::absolute(path(i)?));
        draft.policy_packs = self.words(table, "packs", policy::pack);
        draft.policy_bare = self.take(table, "bare", boolean);
        draft.policy_enforce_file = self.take(table, "enforce_file", |i| check::absolute(path(i)?));
        draft.policy_enforced = self.words(table, "enforce", policy::workload);
    }

    /// A list of strings, each once.
    fn words(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        check: fn(&str) -> Result<String, String>,
    ) -> Vec<Located<String>> {
        let Some(item) = table.get(key) else { return Vec::new() };
        let Some(array) = item.as_array() else {
            let place = self.place_of(table, key, item);
            let what = with_article(item);
            self.mistakes.add(place, format!("`{key}`: it must be a list of strings, not {what}"));
            return Vec::new();
        };
        let mut list: Vec<Located<String>> = Vec::new();
        for value in array {
            let place = self.place(value.span());
            let word = value
                .as_str()
                .ok_or_else(|| {
                    format!("it is a list of strings, without {}", article(value.type_name()))
                })
                .and_then(check)
                .map_err(|error| format!("`{key}`: {error}"));
            let Some(value) = self.note(&place, word) else { continue };
            if list.iter().any(|one| one.value == value) {
                self.mistakes
                    .add(place, format!("`{key}`: `{value}` is named twice: take one out"));
            } else {
                list.push(Located { value, place });
            }
        }
        list
    }
}
