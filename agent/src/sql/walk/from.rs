//! FROM: tables, subqueries, joins, functions.

use std::rc::Rc;

use pg_raw_parse::Node;
use pg_raw_parse::nodes::{Alias, JoinExpr, RangeFunction, RangeSubselect, RangeVar};

use super::super::effect::{ColumnUse, Step, Use, Uses};
use super::super::facts::{Doubt, Note, Object, ObjectKind, Way};
use super::dml::PSEUDO;
use super::reach::Reach;
use super::scope::{Given, Gives, Item, Name};
use super::{Role, Walk, names};

impl<'t> Walk<'t, '_> {
    pub(super) fn from(&mut self, node: Node<'t>) {
        if self.enter() {
            self.place(node);
        }
        self.leave();
    }

    fn place(&mut self, node: Node<'t>) {
        match node {
            Node::RangeVar(of) => {
                let item = self.range_item(of);
                self.item(item);
            }
            Node::RangeSubselect(of) => self.subselect(of),
            Node::JoinExpr(of) => self.join(of),
            Node::RangeFunction(of) => self.function_item(of),
            Node::RangeTableSample(of) => {
                self.from(of.relation());
                self.function(names::of_list(of.method()));
                self.exprs(of.args().iter(), Role::FILTER, &mut Vec::new());
                self.filter(of.repeatable());
            }
            Node::RangeTableFunc(of) => {
                let role = Role::READ.through(Step::Function);
                let mut sources = Vec::new();
                self.expr(of.docexpr(), role, &mut sources);
                self.expr(of.rowexpr(), role, &mut sources);
                self.exprs(of.namespaces().iter(), role, &mut sources);
                let mut columns = Vec::new();
                for column in of.columns() {
                    columns.extend(column.colname());
                    if let Some(of) = column.type_name() {
                        self.type_name(of);
                    }
                    self.expr(column.colexpr(), role, &mut sources);
                    self.expr(column.coldefexpr(), role, &mut sources);
                }
                self.opaque(of.alias(), "xmltable", columns, sources);
            }
            Node::JsonTable(of) => {
                self.grammar_call("json_table", 17);
                let role = Role::READ.through(Step::Function);
                let mut sources = Vec::new();
                if let Some(context) = of.context_item() {
                    self.expr(Node::JsonValueExpr(context), role, &mut sources);
                }
                if let Some(path) = of.pathspec() {
                    self.expr(Node::JsonTablePathSpec(path), role, &mut sources);
                }
                self.exprs(of.passing().iter(), role, &mut sources);
                let mut columns = Vec::new();
                for column in of.columns() {
                    self.json_column(column, role, &mut columns, &mut sources);
                }
                if let Some(behaviour) = of.on_error() {
                    self.expr(behaviour.expr(), role, &mut sources);
                }
                self.opaque(of.alias(), "json_table", columns, sources);
            }
            other => self.unknown_kind(other),
        }
    }

    fn json_column(
        &mut self,
        of: &'t pg_raw_parse::nodes::JsonTableColumn,
        role: Role,
        columns: &mut Vec<&'t str>,
        sources: &mut Vec<super::Source>,
    ) {
        if !self.enter() {
            self.leave();
            return;
        }
        columns.extend(of.name());
        if let Some(of) = of.type_name() {
            self.type_name(of);
        }
        if let Some(path) = of.pathspec() {
            self.expr(Node::JsonTablePathSpec(path), role, sources);
        }
        for behaviour in [of.on_empty(), of.on_error()].into_iter().flatten() {
            self.expr(behaviour.expr(), role, sources);
        }
        for inner in of.columns() {
            match inner {
                Node::JsonTableColumn(inner) => self.json_column(inner, role, columns, sources),
                other => self.unknown_kind(other),
            }
        }
        self.leave();
    }

    pub(super) fn item(&mut self, item: Item<'t>) {
        if let Some(level) = self.levels.last_mut() {
            level.items.push(Rc::new(item));
        }
    }

    /// What gives any number of rows: how many tells something of what it is given.
    fn opaque(
        &mut self,
        alias: Option<&'t Alias>,
        name: &'t str,
        columns: Vec<&'t str>,
        sources: Vec<super::Source>,
    ) {
        self.used(&sources, ColumnUse::Filtered);
        let mut renamed = renamed(alias);
        renamed.extend(columns);
        self.item(Item {
            alias: alias.and_then(Alias::aliasname).unwrap_or(name),
            schema: None,
            renamed,
            gives: Gives::Opaque(sources),
        });
    }

    /// A name in FROM: a CTE, else a table.
    fn range_item(&mut self, of: &'t RangeVar) -> Item<'t> {
        let name = of.relname().unwrap_or_default();
        let alias = of.alias();
        let mut schema = of.schemaname();
        let found = self.ctes.iter().rposition(|cte| schema.is_none() && cte.name == name);
        if let Some(slot) = found.filter(|slot| self.ctes.get(*slot).is_some_and(|of| of.pending)) {
            self.read_ahead(slot);
        }
        let cte = found.and_then(|slot| self.ctes.get(slot));
        let reach = cte.map_or(Reach::TABLE, |cte| cte.reach);
        let gives = match cte {
            Some(cte) if cte.pending => {
                self.out.doubt(Doubt::Kind("reference to a later part of WITH RECURSIVE".into()));
                Gives::Opaque(Vec::new())
            }
            Some(cte) => Gives::Known(Rc::clone(&cte.gives)),
            None => Gives::Relation(self.range(of, Uses::of(Use::Read))),
        };
        if alias.is_some() {
            schema = None;
        }
        let renamed = renamed(alias);
        let alias = alias.and_then(Alias::aliasname).unwrap_or(name);
        self.comes(alias, name, reach);
        Item { alias, schema, renamed, gives }
    }

    /// A table as an object.
    pub(super) fn range(&mut self, of: &'t RangeVar, uses: Uses) -> u32 {
        self.range_as(ObjectKind::Relation, of, uses)
    }

    pub(super) fn range_as(&mut self, kind: ObjectKind, of: &'t RangeVar, uses: Uses) -> u32 {
        if uses.contains(Use::Read) {
            self.catalog_read(of);
        }
        let temporary = is_temporary(of);
        if temporary {
            self.out.note(Note::Temporary);
        }
        self.object(Object {
            kind,
            catalog: of.catalogname().map(Into::into),
            schema: of.schemaname().map(Into::into),
            name: of.relname().unwrap_or_default().into(),
            uses,
            temporary,
        })
    }

    fn subselect(&mut self, of: &'t RangeSubselect) {
        let level = self.levels.len().checked_sub(1);
        let hide = |walk: &mut Self, hidden: bool| {
            if let Some(level) = level.and_then(|level| walk.levels.get_mut(level)) {
                level.hidden = hidden;
            }
        };
        hide(self, !of.lateral);
        let given = match of.subquery() {
            Node::SelectStmt(query) => self.query(query, ColumnUse::Read),
            other => {
                let given = self.nested_outputs(other, Way::Cte);
                self.reach = Reach::default();
                given
            }
        };
        hide(self, false);
        let alias = of.alias().and_then(Alias::aliasname).unwrap_or_default();
        self.comes(alias, alias, self.reach);
        self.item(Item {
            alias,
            schema: None,
            renamed: renamed(of.alias()),
            gives: Gives::Known(Rc::new(given)),
        });
    }

    fn join(&mut self, of: &'t JoinExpr) {
        let before = self.levels.last().map_or(0, |level| level.items.len());
        let came = |walk: &Self| walk.levels.last().map_or(0, |level| level.joins.froms.len());
        let first = came(self);
        self.from(of.larg());
        let middle = came(self);
        let right = self.levels.last().map_or(0, |level| level.items.len());
        self.from(of.rarg());
        let using: Vec<&'t str> = of.using_clause().iter().filter_map(|name| name.sval()).collect();
        if let Some(level) = self.levels.last_mut() {
            level.natural |= of.is_natural;
            level.merged.extend(&using);
            level.joins.join(of, first, middle);
        }
        if of.is_natural || !using.is_empty() {
            self.operator("=");
        }
        for name in &using {
            self.bare_column(name, Role::FILTER, &mut Vec::new());
        }
        if of.is_natural {
            self.joined_by_all(before, right);
        }
        self.filter(of.quals());
        if let Some(alias) = of.join_using_alias() {
            let mut given = Vec::new();
            for name in &using {
                let mut sources = Vec::new();
                self.bare_column(name, Role::READ, &mut sources);
                given.push(Given { name: Name::Is(name), sources });
            }
            self.item(Item {
                alias: alias.aliasname().unwrap_or_default(),
                schema: Some(PSEUDO),
                renamed: Vec::new(),
                gives: Gives::Known(Rc::new(given)),
            });
        }
        // An alias hides what it covers.
        if let Some(alias) = of.alias() {
            let Some(level) = self.levels.last_mut() else { return };
            let covered = level.items.split_off(before.min(level.items.len()));
            level.joins.cover(first, alias.aliasname().unwrap_or_default());
            let mut given = Vec::new();
            for item in &covered {
                given.extend(self.all_of(item, Role::READ));
            }
            self.item(Item {
                alias: alias.aliasname().unwrap_or_default(),
                schema: None,
                renamed: renamed(Some(alias)),
                gives: Gives::Known(Rc::new(given)),
            });
        }
    }

    /// NATURAL JOIN of the items from `left` on with those from `right` on: by each name
    /// that both have. Where neither's are known, that may be all.
    fn joined_by_all(&mut self, left: usize, right: usize) {
        let items = self.levels.last().map(|level| level.items.clone()).unwrap_or_default();
        let right = right.min(items.len());
        let left = items.get(left..right).unwrap_or_default();
        let right = items.get(right..).unwrap_or_default();
        let known = names_of(left).or_else(|| names_of(right));
        for item in left.iter().chain(right) {
            let Some(known) = &known else {
                self.whole_row(item, Role::FILTER, &mut Vec::new());
                continue;
            };
            for name in known {
                if let Some(sources) = self.of_item(item, name, false, Role::FILTER) {
                    self.add(&mut Vec::new(), &sources, Role::FILTER);
                }
            }
        }
    }

    fn function_item(&mut self, of: &'t RangeFunction) {
        let role = Role::READ.through(Step::Function);
        let mut sources = Vec::new();
        let mut columns = Vec::new();
        let mut name = "";
        for one in of.functions() {
            let Node::NodeList(pair) = one else {
                self.unknown_kind(one);
                continue;
            };
            for part in pair {
                match part {
                    Node::None => {}
                    // Its columns and their types.
                    Node::NodeList(list) => {
                        for column in list {
                            self.column_type(column, &mut columns);
                        }
                    }
                    Node::FuncCall(call) => {
                        name = names::of_list(call.funcname()).name;
                        self.expr(part, role, &mut sources);
                    }
                    _ => self.expr(part, role, &mut sources),
                }
            }
        }
        for column in of.coldeflist() {
            self.column_type(Node::ColumnDef(column), &mut columns);
        }
        self.opaque(of.alias(), name, columns, sources);
    }

    fn column_type(&mut self, node: Node<'t>, columns: &mut Vec<&'t str>) {
        match node {
            Node::ColumnDef(of) => {
                columns.extend(of.colname());
                if let Some(of) = of.type_name() {
                    self.type_name(of);
                }
            }
            Node::None => {}
            other => self.unknown_kind(other),
        }
    }
}

/// What the columns of items are called, where each is known.
fn names_of<'t>(items: &[Rc<Item<'t>>]) -> Option<Vec<&'t str>> {
    let mut names = Vec::new();
    for item in items {
        let Gives::Known(given) = &item.gives else { return None };
        for (at, one) in given.iter().enumerate() {
            match (item.renamed.get(at).copied(), one.name) {
                (_, Name::Star | Name::StarOf(_)) | (None, Name::Unclear) => return None,
                (Some(name), _) | (None, Name::Is(name)) => names.push(name),
            }
        }
    }
    Some(names)
}

fn renamed(alias: Option<&Alias>) -> Vec<&str> {
    alias
        .map(|alias| alias.colnames().iter().filter_map(Node::as_str).collect())
        .unwrap_or_default()
}

/// Created as temporary, or named in `pg_temp`.
pub(super) fn is_temporary(of: &RangeVar) -> bool {
    of.relpersistence as u8 == b't' || of.schemaname() == Some("pg_temp")
}
