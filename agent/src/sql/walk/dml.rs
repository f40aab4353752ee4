//! INSERT, UPDATE, DELETE, MERGE.

use pg_raw_parse::nodes::{
    Alias, DeleteStmt, InsertStmt, MergeStmt, MergeWhenClause, RangeVar, ResTarget,
    ReturningClause, UpdateStmt,
};
use pg_raw_parse::{Node, raw};

use super::super::effect::{ColumnUse, Effect, Path, Step, Use, Uses};
use super::super::facts::{Bound, Doubt, Fill, ObjectKind, Source, Verb};
use super::bound::{Others, Target, of_condition};
use super::scope::{Given, Gives, Item, Level, Name};
use super::{Role, Walk};

/// Marks items that a star leaves out and that bare names don't mean: EXCLUDED,
/// OLD, NEW, the alias of a USING. No schema can have this name.
pub(super) const PSEUDO: &str = "\0";

/// What a data-modifying statement is about.
struct Written<'t> {
    object: u32,
    alias: &'t str,
    relation: &'t str,
}

#[derive(Default)]
struct NamesBeside<'t> {
    names: Vec<&'t str>,
    numbered: bool,
}

impl NamesBeside<'_> {
    fn others(&self) -> Others<'_> {
        Others { names: &self.names, numbered: self.numbered }
    }
}

impl<'t> Walk<'t, '_> {
    fn written(&mut self, of: Option<&'t RangeVar>) -> Option<Written<'t>> {
        let Some(range) = of else {
            self.out.doubt(Doubt::Kind("statement without a table".into()));
            return None;
        };
        let object = self.range(range, Uses::of(Use::Written));
        self.target(object);
        self.catalog_written(range);
        let relation = range.relname().unwrap_or_default();
        let alias = range.alias().and_then(Alias::aliasname).unwrap_or(relation);
        self.item(Item {
            alias,
            schema: if range.alias().is_some() { None } else { range.schemaname() },
            renamed: Vec::new(),
            gives: Gives::Relation(object),
        });
        Some(Written { object, alias, relation })
    }

    /// What the other items of the written table's FROM surely have.
    fn names_beside(&self) -> NamesBeside<'t> {
        let mut found = NamesBeside::default();
        let items = self.levels.last().map_or(&[][..], |level| &level.items);
        for item in items.iter().skip(1) {
            found.names.extend(&item.renamed);
            match &item.gives {
                // Its own columns only the catalog knows.
                Gives::Relation(_) => continue,
                Gives::Opaque(_) => {}
                Gives::Known(given) => {
                    for one in given.iter() {
                        match one.name {
                            Name::Is(name) => found.names.push(name),
                            Name::Unclear => found.numbered = true,
                            Name::Star | Name::StarOf(_) => {}
                        }
                    }
                }
            }
            // A function's only column, or the whole row.
            found.names.push(item.alias);
        }
        found.names.sort_unstable();
        found
    }

    /// `SET a = …, (b, c) = …` and the column list of INSERT.
    fn assigned(&mut self, object: u32, target: &'t ResTarget) {
        self.column(object, target.name(), ColumnUse::Written, true);
        let mut sources = Vec::new();
        for step in target.indirection() {
            // A document gets it as a key.
            if let Node::A_Indices(index) = step {
                self.expr(index.lidx(), Role::READ.through(Step::Unknown), &mut sources);
                self.expr(index.uidx(), Role::READ.through(Step::Unknown), &mut sources);
            }
        }
        self.expr(target.val(), Role::READ, &mut sources);
        self.fill(object, target.name(), None, sources);
    }

    /// A table is filled with rows: into these columns, or into all in their order.
    pub(super) fn fills(&mut self, object: u32, names: &[Option<&'t str>], rows: &[Given<'t>]) {
        let mut any = false;
        for (place, given) in rows.iter().enumerate() {
            // Behind a star nobody knows which is which.
            any |= matches!(given.name, Name::Star | Name::StarOf(_));
            let name = names.get(place).copied().flatten().filter(|_| !any);
            let place = u32::try_from(place).ok().filter(|_| !any);
            self.fill(object, name, place, given.sources.clone());
        }
    }

    /// … and one that is made of them has their names.
    pub(super) fn fills_made(&mut self, object: u32, rows: &[Given<'t>]) {
        let names: Vec<Option<&'t str>> = rows
            .iter()
            .map(|given| match given.name {
                Name::Is(name) => Some(name),
                _ => None,
            })
            .collect();
        self.fills(object, &names, rows);
    }

    fn fill(
        &mut self,
        object: u32,
        column: Option<&'t str>,
        place: Option<u32>,
        sources: Vec<Source>,
    ) {
        if !sources.is_empty() {
            self.out.fills.push(Fill { object, place, column: column.map(Into::into), sources });
        }
    }

    /// A column of a table that has rows already gets this for each of them.
    pub(super) fn refills(&mut self, object: u32, column: Option<&'t str>, value: Node<'t>) {
        if matches!(value, Node::None) {
            return;
        }
        let mut sources = Vec::new();
        self.expr(value, Role::READ, &mut sources);
        // Also where no column goes in: a function may bring what is sensitive.
        self.out.fills.push(Fill { object, place: None, column: column.map(Into::into), sources });
    }

    /// What lies in one table is shown by another one, under the same names.
    pub(super) fn takes_rows(&mut self, object: u32, from: u32) {
        let column = self.column(from, None, ColumnUse::Read, true);
        let sources = vec![Source { column, path: Path::NONE }];
        self.out.fills.push(Fill { object, place: None, column: None, sources });
    }

    fn returning(
        &mut self,
        of: Option<&'t ReturningClause>,
        written: Option<&Written<'t>>,
    ) -> Vec<Given<'t>> {
        let (Some(of), Some(written)) = (of, written) else { return Vec::new() };
        let mut pseudo = |name: &'t str| {
            self.item(Item {
                alias: name,
                schema: Some(PSEUDO),
                renamed: Vec::new(),
                gives: Gives::Relation(written.object),
            });
        };
        pseudo("old");
        pseudo("new");
        for option in of.options() {
            pseudo(option.value().unwrap_or_default());
        }
        self.effect(Effect::Read);
        let mut given = Vec::new();
        for one in of.exprs() {
            match one {
                Node::ResTarget(target) => self.output(target, ColumnUse::Returned, &mut given),
                other => self.unknown_kind(other),
            }
        }
        given
    }

    /// INVARIANT for all four: what is opened (level, CTEs) is closed.
    pub(super) fn insert(&mut self, of: &'t InsertStmt) -> Vec<Given<'t>> {
        self.verb(Verb::Insert);
        self.effect(Effect::Insert);
        let ctes = self.ctes.len();
        if let Some(with) = of.with_clause() {
            self.with(with);
        }
        // The rows don't see the table.
        let mut values: Vec<Source> = Vec::new();
        let mut rows: Vec<Given<'t>> = Vec::new();
        if let Node::SelectStmt(query) = of.select_stmt() {
            let reads = query.values_lists().is_empty();
            if reads && self.part.is_none() && !query.from_clause().is_empty() {
                self.effect(Effect::Read);
            }
            let before = self.own_effects();
            let given = self.query(query, ColumnUse::Read);
            self.reads(self.reach.all());
            if !reads {
                // VALUES alone read nothing; what is called in them counts.
                self.forget_read(before);
            }
            for one in &given {
                self.add(&mut values, &one.sources, Role::READ);
            }
            rows = given;
        }
        self.levels.push(Level::default());
        let written = self.written(of.relation());
        if let Some(written) = &written {
            if of.cols().is_empty() {
                self.column(written.object, None, ColumnUse::Written, true);
            }
            let names: Vec<Option<&'t str>> = of
                .cols()
                .iter()
                .map(|column| match column {
                    Node::ResTarget(target) => target.name(),
                    _ => None,
                })
                .collect();
            self.fills(written.object, &names, &rows);
            for column in of.cols() {
                match column {
                    Node::ResTarget(target) => self.assigned(written.object, target),
                    other => self.unknown_kind(other),
                }
            }
            if let Some(conflict) = of.on_conflict_clause() {
                self.item(Item {
                    alias: "excluded",
                    schema: Some(PSEUDO),
                    renamed: Vec::new(),
                    gives: Gives::Opaque(values),
                });
                if let Some(infer) = conflict.infer() {
                    for element in infer.index_elems() {
                        self.index_element(element);
                    }
                    self.filter(infer.where_clause());
                }
                if conflict.action == raw::OnConflictAction::ONCONFLICT_UPDATE {
                    self.effect(Effect::Update);
                }
                for target in conflict.target_list() {
                    self.assigned(written.object, target);
                }
                self.filter(conflict.where_clause());
            }
        }
        let given = self.returning(of.returning_clause(), written.as_ref());
        self.close_written();
        self.ctes.truncate(ctes);
        given
    }

    pub(super) fn update(&mut self, of: &'t UpdateStmt) -> Vec<Given<'t>> {
        self.verb(Verb::Update);
        self.effect(Effect::Update);
        let ctes = self.ctes.len();
        if let Some(with) = of.with_clause() {
            self.with(with);
        }
        self.levels.push(Level::default());
        let written = self.written(of.relation());
        for item in of.from_clause() {
            self.effect(Effect::Read);
            self.from(item);
        }
        if let Some(written) = &written {
            let names = self.names_beside();
            let target = Target::new(written.alias, written.relation).beside(
                of.with_clause(),
                of.from_clause().iter(),
                names.others(),
            );
            self.bound(of_condition(of.where_clause(), target));
            for target in of.target_list() {
                self.assigned(written.object, target);
            }
        }
        self.filter(of.where_clause());
        let given = self.returning(of.returning_clause(), written.as_ref());
        self.close_written();
        self.ctes.truncate(ctes);
        given
    }

    pub(super) fn delete(&mut self, of: &'t DeleteStmt) -> Vec<Given<'t>> {
        self.verb(Verb::Delete);
        self.effect(Effect::Delete);
        let ctes = self.ctes.len();
        if let Some(with) = of.with_clause() {
            self.with(with);
        }
        self.levels.push(Level::default());
        let written = self.written(of.relation());
        for item in of.using_clause() {
            self.effect(Effect::Read);
            self.from(item);
        }
        if let Some(written) = &written {
            let names = self.names_beside();
            let target = Target::new(written.alias, written.relation).beside(
                of.with_clause(),
                of.using_clause().iter(),
                names.others(),
            );
            self.bound(of_condition(of.where_clause(), target));
        }
        self.filter(of.where_clause());
        let given = self.returning(of.returning_clause(), written.as_ref());
        self.close_written();
        self.ctes.truncate(ctes);
        given
    }

    pub(super) fn merge(&mut self, of: &'t MergeStmt) -> Vec<Given<'t>> {
        self.verb(Verb::Merge);
        self.effect(Effect::Read);
        let ctes = self.ctes.len();
        if let Some(with) = of.with_clause() {
            self.with(with);
        }
        self.levels.push(Level::default());
        let written = self.written(of.relation());
        self.from(of.source_relation());
        self.filter(of.join_condition());
        if let Some(written) = &written {
            let names = self.names_beside();
            let target = Target::new(written.alias, written.relation).beside(
                of.with_clause(),
                std::iter::once(of.source_relation()),
                names.others(),
            );
            for clause in of.merge_when_clauses() {
                self.merge_clause(of, clause, written, target);
            }
        }
        let given = self.returning(of.returning_clause(), written.as_ref());
        self.close_written();
        self.ctes.truncate(ctes);
        given
    }

    fn merge_clause(
        &mut self,
        merge: &'t MergeStmt,
        of: &'t MergeWhenClause,
        written: &Written<'t>,
        target: Target<'_>,
    ) {
        use raw::CmdType as C;
        self.filter(of.condition());
        let unmatched = of.match_kind == raw::MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_SOURCE;
        match of.command_type {
            C::CMD_INSERT => self.effect(Effect::Insert),
            C::CMD_UPDATE => self.effect(Effect::Update),
            C::CMD_DELETE => self.effect(Effect::Delete),
            C::CMD_NOTHING => {}
            _ => self.out.doubt(Doubt::Kind("action of MERGE".into())),
        }
        if matches!(of.command_type, C::CMD_UPDATE | C::CMD_DELETE) {
            // What the source doesn't match is bounded by the action's own condition
            // only.
            let matched = if unmatched {
                Bound::Unbounded
            } else {
                of_condition(merge.join_condition(), target)
            };
            self.bound(matched.min(of_condition(of.condition(), target)));
        }
        if of.command_type == C::CMD_INSERT && of.target_list().is_empty() {
            self.column(written.object, None, ColumnUse::Written, true);
        }
        let mut names: Vec<Option<&'t str>> = Vec::new();
        for one in of.target_list() {
            match one {
                Node::ResTarget(one) => {
                    names.push(one.name());
                    self.assigned(written.object, one);
                }
                other => self.unknown_kind(other),
            }
        }
        for (place, value) in of.values().iter().enumerate() {
            let mut sources = Vec::new();
            self.expr(value, Role::READ, &mut sources);
            let name = names.get(place).copied().flatten();
            self.fill(written.object, name, u32::try_from(place).ok(), sources);
        }
    }

    fn own_effects(&self) -> super::super::effect::Effects {
        self.part
            .and_then(|part| self.out.parts.get(part))
            .map_or(self.out.effects, |part| part.effects)
    }

    fn forget_read(&mut self, before: super::super::effect::Effects) {
        // A subquery in the values has read something after all.
        let reads =
            self.out.objects.iter().any(|object| {
                object.kind == ObjectKind::Relation && object.uses.contains(Use::Read)
            });
        if before.contains(Effect::Read) || reads {
            return;
        }
        match self.part.and_then(|part| self.out.parts.get_mut(part)) {
            Some(part) => part.effects = part.effects.without(Effect::Read),
            None => self.out.effects = self.out.effects.without(Effect::Read),
        }
    }
}
