//! The keys of `[audit]`.

use toml_edit::TableLike;

use super::{Reader, boolean, check, path, string, time};
use crate::config::audit::{self, AuditDraft};

pub(in crate::config) const AUDIT: [&str; 9] = [
    "enabled",
    "folder",
    "text",
    "durability",
    "keep",
    "keep_size",
    "segment_size",
    "flood_rate",
    "flood_burst",
];

impl Reader<'_> {
    pub(super) fn audit(&mut self, table: &dyn TableLike, draft: &mut AuditDraft) {
        self.unknown_keys(table, &AUDIT, " in [audit]");
        draft.enabled = self.take(table, "enabled", boolean);
        draft.folder = self.take(table, "folder", |i| check::absolute(path(i)?));
        draft.text = self.take(table, "text", |i| audit::text(string(i)?));
        draft.durability = self.take(table, "durability", |i| audit::durability(string(i)?));
        draft.keep = self.take(table, "keep", |i| time(i, audit::KEEP));
        for (key, slot, range) in [
            ("keep_size", &mut draft.keep_size, audit::KEEP_SIZE),
            ("segment_size", &mut draft.segment_size, audit::SEGMENT),
            ("flood_rate", &mut draft.flood_rate, audit::RATE),
            ("flood_burst", &mut draft.flood_burst, audit::RATE),
        ] {
            *slot = self.take(table, key, |i| audit::size(string(i)?, range));
        }
    }
}
