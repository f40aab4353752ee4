//! Which statement it is. Every kind of the grammar has its arm, here or in one of
//! the files beside; any other is a doubt.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{CopyStmt, CreateTableAsStmt, DefElem, ExplainStmt, IntoClause};
use pg_raw_parse::{Node, raw};

use super::super::effect::{ColumnUse, Effect, Effects, Path, Step, Use, Uses};
use super::super::facts::{Bound, Doubt, Note, Output, Part, Source, Verb, Way};
use super::scope::{Given, Gives, Item, Level};
use super::{Role, Walk, names};

impl<'t> Walk<'t, '_> {
    /// A statement of its own; its rows become the result.
    pub(super) fn statement(&mut self, node: Node<'t>) {
        if !self.enter() {
            self.leave();
            return;
        }
        let (given, rows) = self.rows(node);
        if rows {
            self.returns(given);
        }
        self.leave();
    }

    /// The columns of a statement that may give rows, and whether it does.
    fn rows(&mut self, node: Node<'t>) -> (Vec<Given<'t>>, bool) {
        match node {
            Node::SelectStmt(of) => (self.select_statement(of), self.out.verb != Verb::SelectInto),
            Node::InsertStmt(of) => (self.insert(of), of.returning_clause().is_some()),
            Node::UpdateStmt(of) => (self.update(of), of.returning_clause().is_some()),
            Node::DeleteStmt(of) => (self.delete(of), of.returning_clause().is_some()),
            Node::MergeStmt(of) => (self.merge(of), of.returning_clause().is_some()),
            other => {
                self.utility(other);
                (Vec::new(), false)
            }
        }
    }

    pub(super) fn nested(&mut self, node: Node<'t>, way: Way) {
        self.nested_outputs(node, way);
    }

    /// A statement within this one, that runs with it.
    pub(super) fn nested_outputs(&mut self, node: Node<'t>, way: Way) -> Vec<Given<'t>> {
        if !self.enter() {
            self.leave();
            return Vec::new();
        }
        let index = self.out.parts.len();
        self.out.parts.push(Part {
            verb: Verb::Unknown,
            way,
            effects: Effects::NONE,
            bound: Bound::NotApplicable,
            target: None,
        });
        let outer = self.part.replace(index);
        let (given, _) = self.rows(node);
        self.part = outer;
        self.leave();
        given
    }

    fn utility(&mut self, node: Node<'t>) {
        match node {
            Node::CopyStmt(of) => self.copy(of),
            Node::ExplainStmt(of) => self.explain(of),
            Node::CreateTableAsStmt(of) => self.create_table_as(of),
            Node::PrepareStmt(of) => {
                self.verb(Verb::Prepare);
                self.handle(of.name());
                for of in of.argtypes() {
                    self.type_name(of);
                }
                let given = self.nested_outputs(of.query(), Way::Prepare);
                // EXECUTE will give these.
                self.returns(given);
            }
            Node::ExecuteStmt(of) => {
                self.verb(Verb::Execute);
                self.handle(of.name());
                // What it runs is known to the session, not here.
                self.effect(Effect::Execute);
                self.out.doubt(Doubt::Dynamic);
                self.exprs(of.params().iter(), Role::READ, &mut Vec::new());
                self.unknown_rows();
            }
            Node::DeclareCursorStmt(of) => {
                self.verb(Verb::DeclareCursor);
                self.handle(of.portalname());
                let given = self.nested_outputs(of.query(), Way::Cursor);
                // FETCH will give these.
                self.returns(given);
            }
            Node::FetchStmt(of) => {
                self.verb(if of.ismove { Verb::Move } else { Verb::Fetch });
                self.handle(of.portalname());
                // What is skipped is read as well.
                self.effect(Effect::Read);
                if !of.ismove {
                    self.unknown_rows();
                }
            }
            Node::ClosePortalStmt(of) => {
                self.verb(Verb::CloseCursor);
                self.handle(of.portalname());
            }
            Node::DeallocateStmt(of) => {
                self.verb(Verb::Deallocate);
                self.handle(of.name());
            }
            Node::CallStmt(of) => {
                self.verb(Verb::Call);
                match of.funccall() {
                    Some(call) => self.expr(Node::FuncCall(call), Role::READ, &mut Vec::new()),
                    None => self.unknown_kind(node),
                }
                // A procedure may end transactions and do all else.
                self.effect(Effect::Execute);
                self.unknown_rows();
            }
            Node::DoStmt(of) => {
                self.verb(Verb::Do);
                self.block(of);
            }
            other => self.manage(other),
        }
    }

    pub(super) fn handle(&mut self, name: Option<&'t str>) {
        self.out.handle = name.map(Into::into);
    }

    /// Rows of which nothing is known here.
    pub(super) fn unknown_rows(&mut self) {
        self.out.returns = Some(vec![Output { name: None, star: true, sources: Vec::new() }]);
    }

    fn copy(&mut self, of: &'t CopyStmt) {
        self.verb(Verb::Copy);
        let outside = of.is_program || of.filename().is_some();
        if outside {
            self.effect(Effect::UnsafeIo);
        }
        for option in of.options() {
            self.expr(option.arg(), Role::READ, &mut Vec::new());
        }
        if of.is_from {
            self.effect(Effect::Import);
            self.effect(Effect::Insert);
        } else {
            self.effect(Effect::Export);
            self.effect(Effect::Read);
        }
        if let Node::None = of.query() {
            let Some(range) = of.relation() else {
                self.out.doubt(Doubt::Kind("COPY of nothing".into()));
                return;
            };
            let used = if of.is_from { Use::Written } else { Use::Read };
            let object = self.range(range, Uses::of(used));
            let used = if of.is_from { ColumnUse::Written } else { ColumnUse::Returned };
            let mut outputs = Vec::new();
            for name in of.attlist().iter().filter_map(Node::as_str) {
                let column = self.column(object, Some(name), used, true);
                outputs.push(Output {
                    name: Some(name.into()),
                    star: false,
                    sources: vec![Source { column, path: Path::NONE }],
                });
            }
            if of.attlist().is_empty() {
                let column = self.column(object, None, used, true);
                let sources = vec![Source { column, path: Path::NONE }];
                outputs.push(Output { name: None, star: true, sources });
            }
            if of.is_from {
                self.catalog_written(range);
                self.levels.push(Level::default());
                self.item(Item {
                    alias: range.relname().unwrap_or_default(),
                    schema: range.schemaname(),
                    renamed: Vec::new(),
                    gives: Gives::Relation(object),
                });
                self.filter(of.where_clause());
                self.levels.pop();
            } else if !outside {
                self.out.returns = Some(outputs);
            }
            let bound = if of.is_from { Bound::NotApplicable } else { Bound::Unbounded };
            self.bound(bound);
            self.reads(bound);
        } else {
            let given = self.nested_outputs(of.query(), Way::Copy);
            if !outside {
                self.returns(given);
            }
        }
    }

    fn explain(&mut self, of: &'t ExplainStmt) {
        self.verb(Verb::Explain);
        self.effect(Effect::Read);
        let analyze = flag(of.options().iter(), "analyze");
        for option in of.options() {
            self.read(option.arg());
        }
        let objects = self.out.objects.len();
        let part = self.out.parts.len();
        let reads = self.out.reads;
        self.nested(of.query(), if analyze { Way::ExplainAnalyze } else { Way::Explain });
        if !analyze {
            // Planned, not run; planning runs code all the same.
            let planned = Effects::of(Effect::Read)
                .with(Effect::Execute)
                .with(Effect::UnsafeIo)
                .with(Effect::Administer)
                .with(Effect::Unknown);
            for part in self.out.parts.iter_mut().skip(part) {
                part.effects = part.effects.iter().filter(|e| planned.contains(*e)).collect();
                part.bound = Bound::NotApplicable;
            }
            for object in self.out.objects.iter_mut().skip(objects) {
                object.uses = Uses::of(Use::Read);
            }
            self.out.session.clear();
            self.out.reads = reads;
        }
        // Plans show constants, estimates and, analysed, counts of the data.
        let sources = (0..self.out.columns.len())
            .filter_map(|column| u32::try_from(column).ok())
            .map(|column| Source { column, path: Path::of(Step::Unknown) })
            .collect();
        self.out.returns = Some(vec![Output { name: None, star: false, sources }]);
    }

    fn create_table_as(&mut self, of: &'t CreateTableAsStmt) {
        self.verb(Verb::CreateTableAs);
        self.effect(Effect::Create);
        if of.if_not_exists {
            self.out.note(Note::IfNotExists);
        }
        if let Some(into) = of.into() {
            self.made_by(into);
            for option in into.options() {
                self.read(option);
            }
            if let Some(range) = into.rel() {
                let kind = if of.objtype == raw::ObjectType::OBJECT_MATVIEW {
                    super::super::facts::ObjectKind::MaterializedView
                } else {
                    super::super::facts::ObjectKind::Relation
                };
                let object = self.range_as(kind, range, Uses::of(Use::Defined).with(Use::Written));
                let given = self.nested_outputs(of.query(), Way::CreateTableAs);
                match into.col_names().is_empty() {
                    true => self.fills_made(object, &given),
                    false => {
                        let names: Vec<_> = into.col_names().iter().map(Node::as_str).collect();
                        self.fills(object, &names, &given);
                    }
                }
                self.out.returns = None;
                return;
            }
        }
        self.nested(of.query(), Way::CreateTableAs);
        self.out.returns = None;
    }

    pub(super) fn made_by(&mut self, into: &'t IntoClause) {
        if into.on_commit == raw::OnCommitAction::ONCOMMIT_DROP {
            self.out.note(Note::DropsAtCommit);
        }
    }

    /// CREATE SCHEMA's and others' statements that stand in a list.
    pub(super) fn nested_all(&mut self, list: &'t NodeList, way: Way) {
        for node in list {
            match node {
                Node::None => {}
                Node::NodeList(inner) => {
                    if self.enter() {
                        self.nested_all(inner, way);
                    }
                    self.leave();
                }
                Node::RawStmt(of) => self.nested(of.stmt(), way),
                other => self.nested(other, way),
            }
        }
    }

    pub(super) fn index_element(&mut self, node: Node<'t>) {
        match node {
            Node::IndexElem(of) => {
                if let Some(name) = of.name() {
                    self.bare_column(name, Role::FILTER, &mut Vec::new());
                }
                self.filter(of.expr());
                let _class = names::of_list(of.opclass());
            }
            other => self.filter(other),
        }
    }
}

/// An option that is on when it is named without a value. The last one counts; what
/// can't be told is on.
pub(super) fn flag<'t>(options: impl Iterator<Item = &'t DefElem>, name: &str) -> bool {
    let mut on = false;
    for option in options {
        if option.defname() == Some(name) {
            on = match option.arg() {
                Node::None => true,
                Node::Integer(value) => value.ival != 0,
                Node::Boolean(value) => value.boolval,
                Node::String(value) => !matches!(
                    value.sval().unwrap_or_default().to_lowercase().as_str(),
                    "false" | "off" | "0" | "no"
                ),
                _ => true,
            };
        }
    }
    on
}
