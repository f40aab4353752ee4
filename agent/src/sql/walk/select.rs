//! Queries: SELECT, VALUES, TABLE, set operations.

use std::rc::Rc;

use pg_raw_parse::nodes::{ResTarget, SelectStmt};
use pg_raw_parse::{Node, const_val::ConstValue, raw};

use super::super::effect::{ColumnUse, Effect, Path, Step, Use, Uses};
use super::super::facts::{Doubt, Note, Output, Source, Verb};
use super::super::numbers;
use super::reach::Reach;
use super::scope::{Given, Level, Name, merge};
use super::{Role, Walk};

/// What a bare name means where a table and the answer have a column of it: the table's
/// to GROUP BY, the answer's to ORDER BY and DISTINCT ON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Input,
    Output,
}

impl<'t> Walk<'t, '_> {
    /// A query anywhere; its columns. Must be within [`Walk::expr`] or entered.
    pub(super) fn query(&mut self, of: &'t SelectStmt, used: ColumnUse) -> Vec<Given<'t>> {
        if !self.enter() {
            self.leave();
            self.reach = Reach::TABLE;
            return Vec::new();
        }
        self.effect(Effect::Read);
        let ctes = self.ctes.len();
        if let Some(with) = of.with_clause() {
            self.with(with);
        }
        let given = if of.op == raw::SetOperation::SETOP_NONE {
            self.simple(of, used)
        } else {
            self.set_operation(of, used)
        };
        self.ctes.truncate(ctes);
        self.leave();
        given
    }

    fn set_operation(&mut self, of: &'t SelectStmt, used: ColumnUse) -> Vec<Given<'t>> {
        // A chain of UNIONs leans to the left: walked without recursion.
        let mut arms = Vec::new();
        // From here on rows are compared: which are left tells what is in them.
        let mut compared = None;
        let mut left = of;
        loop {
            if left.op != raw::SetOperation::SETOP_UNION || !left.all {
                compared.get_or_insert(arms.len());
            }
            if let Some(right) = left.rarg() {
                arms.push(right);
            }
            match left.larg() {
                Some(next)
                    if next.op != raw::SetOperation::SETOP_NONE
                        && next.with_clause().is_none()
                        && next.sort_clause().is_empty()
                        && matches!(next.limit_count(), Node::None)
                        && matches!(next.limit_offset(), Node::None)
                        && next.locking_clause().is_empty() =>
                {
                    left = next;
                }
                Some(next) => {
                    arms.push(next);
                    break;
                }
                None => break,
            }
        }
        let mut all: Option<Vec<Given<'t>>> = None;
        let mut reach = Reach::default();
        for (at, arm) in arms.into_iter().enumerate().rev() {
            let given = self.query(arm, used);
            if compared.is_some_and(|first| at >= first) {
                for one in &given {
                    self.used(&one.sources, ColumnUse::Filtered);
                }
            }
            reach = reach.both(self.reach);
            all = Some(match all {
                None => given,
                Some(before) => self.unite(before, given),
            });
        }
        let mut given = all.unwrap_or_default();
        for one in &mut given {
            for source in &mut one.sources {
                source.path.insert(Step::SetOperation);
            }
        }
        // ORDER BY sees the output's names only.
        self.levels.push(Level { outputs: Rc::new(given.clone()), ..Level::default() });
        self.tail(of);
        self.close_arms(of, reach);
        given
    }

    /// Two arms of a set operation, column by column; where a star hides how many
    /// there are, each may be any.
    pub(super) fn unite(
        &mut self,
        before: Vec<Given<'t>>,
        after: Vec<Given<'t>>,
    ) -> Vec<Given<'t>> {
        let clear = |given: &[Given<'t>]| {
            !given.iter().any(|one| matches!(one.name, Name::Star | Name::StarOf(_)))
        };
        if !self.spend(before.len() + after.len()) {
            return before;
        }
        if clear(&before) && clear(&after) && before.len() == after.len() {
            return before
                .into_iter()
                .zip(after)
                .map(|(mut one, other)| {
                    merge(&mut one.sources, &other.sources, Path::NONE);
                    one
                })
                .collect();
        }
        let names: Vec<Name<'t>> = before.iter().map(|one| one.name).collect();
        let mut sources = Vec::new();
        let role = Role { used: ColumnUse::Read, path: Path::of(Step::Unknown) };
        for one in before.into_iter().chain(after) {
            self.add(&mut sources, &one.sources, role);
        }
        if !self.spend(names.len().saturating_mul(sources.len())) {
            return Vec::new();
        }
        names
            .into_iter()
            .map(|name| Given {
                name: match name {
                    Name::Is(name) => Name::Is(name),
                    _ => Name::Star,
                },
                sources: sources.clone(),
            })
            .collect()
    }

    fn simple(&mut self, of: &'t SelectStmt, used: ColumnUse) -> Vec<Given<'t>> {
        let only = only(of.where_clause());
        self.levels.push(Level { only, ..Level::default() });
        for item in of.from_clause() {
            self.from(item);
        }
        let mut given = Vec::new();
        if !of.values_lists().is_empty() {
            given = self.values(of, used);
        }
        for target in of.target_list() {
            self.output(target, used, &mut given);
        }
        self.filter(of.where_clause());
        if let Some(level) = self.levels.last_mut() {
            level.outputs = Rc::new(given.clone());
        }
        for group in of.group_clause() {
            self.sorted(group, First::Input);
        }
        self.filter(of.having_clause());
        for window in of.window_clause() {
            self.filter(window);
        }
        for distinct in of.distinct_clause() {
            match distinct {
                Node::None => given.iter().for_each(|one| self.told_apart(&one.sources)),
                distinct => self.sorted(distinct, First::Output),
            }
        }
        self.tail(of);
        self.close_query(of);
        given
    }

    /// DISTINCT tells of a column which of its values are alike, and no more. Of what is
    /// made of it, or united with others', it tells whether it is one that was put there.
    pub(super) fn told_apart(&mut self, sources: &[Source]) {
        let plain = Path::of(Step::Cast);
        for source in sources.iter().filter(|source| !source.path.within(plain)) {
            self.used(std::slice::from_ref(source), ColumnUse::Filtered);
        }
    }

    /// ORDER BY, LIMIT and locks.
    pub(super) fn tail(&mut self, of: &'t SelectStmt) {
        for sort in of.sort_clause() {
            self.operator_name(sort.use_op());
            self.sorted(sort.node(), First::Output);
        }
        self.filter(of.limit_count());
        self.filter(of.limit_offset());
        if !of.locking_clause().is_empty() {
            self.out.note(Note::RowLocks);
        }
    }

    /// A bare name in ORDER BY, GROUP BY or DISTINCT ON may mean an output column, and a
    /// number does.
    fn sorted(&mut self, node: Node<'t>, first: First) {
        // GROUP BY (1, 2), ROLLUP (1, 2); to ORDER BY, a row is an expression.
        let several = match node {
            Node::GroupingSet(of) => Some(of.content()),
            Node::RowExpr(of) => Some(of.args()),
            _ => None,
        };
        if let Some(several) = several {
            if self.enter() {
                several.iter().for_each(|one| self.sorted(one, first));
            }
            self.leave();
        }
        if let Node::A_Const(of) = node
            && let Some(ConstValue::Integer(number)) = numbers::value(of)
        {
            self.sorted_by_place(number);
        }
        if let Node::ColumnRef(column) = node
            && let (Some(name), 1) =
                (column.fields().first().and_then(Node::as_str), column.fields().len())
        {
            let outputs = self.levels.last().map(|level| Rc::clone(&level.outputs));
            let mut found = false;
            for one in outputs.iter().flat_map(|outputs| outputs.iter()) {
                if one.name == Name::Is(name) {
                    self.used(&one.sources, ColumnUse::Filtered);
                    found = true;
                }
            }
            // Only the catalog knows whether a table has one of that name as well.
            if (found && first == First::Output) || !self.spend(1) {
                return;
            }
        }
        self.filter(node);
    }

    /// By the output of this number, from 1. Where a `*` stands before it, or it is one,
    /// nobody knows which that is.
    fn sorted_by_place(&mut self, number: i32) {
        let outputs = self.levels.last().map(|level| Rc::clone(&level.outputs));
        let outputs = outputs.as_deref().map_or(&[][..], Vec::as_slice);
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let star = |one: &Given<'t>| matches!(one.name, Name::Star | Name::StarOf(_));
        let first_star = outputs.iter().position(star).unwrap_or(outputs.len());
        // All columns of one table, and nothing behind them: the catalog knows which.
        if let (Some(place), Some(last)) = (place, outputs.last())
            && let (Name::StarOf(relation), true) = (last.name, first_star + 1 == outputs.len())
            && let Some(place) = place.checked_sub(first_star)
        {
            self.column_at(relation, place, ColumnUse::Filtered);
            return;
        }
        for (at, one) in outputs.iter().enumerate() {
            let may_be = place >= Some(first_star) && at >= first_star;
            if self.spend(1) && (may_be || place == Some(at)) {
                self.used(&one.sources, ColumnUse::Filtered);
            }
        }
    }

    fn values(&mut self, of: &'t SelectStmt, used: ColumnUse) -> Vec<Given<'t>> {
        let mut columns: Vec<Vec<Source>> = Vec::new();
        for row in of.values_lists() {
            let Node::NodeList(row) = row else { continue };
            for (position, value) in row.iter().enumerate() {
                if columns.len() <= position {
                    columns.push(Vec::new());
                }
                let mut sources = Vec::new();
                self.expr(value, Role { used, path: Path::NONE }, &mut sources);
                if let Some(column) = columns.get_mut(position) {
                    merge(column, &sources, Path::of(Step::SetOperation));
                }
            }
        }
        columns
            .into_iter()
            // column1, column2 …
            .map(|sources| Given { name: Name::Unclear, sources })
            .collect()
    }

    /// One entry of a SELECT list or of RETURNING.
    pub(super) fn output(
        &mut self,
        target: &'t ResTarget,
        used: ColumnUse,
        given: &mut Vec<Given<'t>>,
    ) {
        let role = Role { used, path: Path::NONE };
        if let Node::ColumnRef(column) = target.val() {
            let fields = column.fields();
            if fields.iter().any(|field| matches!(field, Node::A_Star(_))) {
                let parts: Vec<&str> = fields.iter().filter_map(Node::as_str).collect();
                let star = match parts.as_slice() {
                    [] => self.star(role),
                    [alias] => self.qualified_star(None, alias, role),
                    [schema, alias] | [_, schema, alias] => {
                        self.qualified_star(Some(schema), alias, role)
                    }
                    _ => {
                        self.out.doubt(Doubt::Kind("column reference".into()));
                        Vec::new()
                    }
                };
                for one in &star {
                    self.used(&one.sources, used);
                }
                given.extend(star);
                return;
            }
        }
        let mut sources = Vec::new();
        self.expr(target.val(), role, &mut sources);
        // (row).* gives many columns.
        let many = matches!(target.val(), Node::A_Indirection(of)
            if of.indirection().iter().any(|step| matches!(step, Node::A_Star(_))));
        let name = match (target.name(), many) {
            (_, true) => Name::Star,
            (Some(name), _) => Name::Is(name),
            (None, _) => name_of(target.val()),
        };
        given.push(Given { name, sources });
    }

    /// `*`
    pub(super) fn star(&mut self, role: Role) -> Vec<Given<'t>> {
        let items = self.levels.last().map(|level| level.items.clone()).unwrap_or_default();
        let mut given = Vec::new();
        for item in &items {
            // NEW and OLD are not part of a star.
            if item.schema == Some(super::dml::PSEUDO) {
                continue;
            }
            given.extend(self.all_of(item, role));
        }
        given
    }

    /// A whole query as a statement or a hidden one: its verb, bound and rows.
    pub(super) fn select_statement(&mut self, of: &'t SelectStmt) -> Vec<Given<'t>> {
        self.verb(if of.values_lists().is_empty() { Verb::Select } else { Verb::Values });
        let mut made = None;
        if let Some(into) = of.into_clause().or_else(|| leftmost_into(of)) {
            self.verb(Verb::SelectInto);
            self.effect(Effect::Create);
            self.made_by(into);
            made = into
                .rel()
                .map(|range| self.range(range, Uses::of(Use::Defined).with(Use::Written)));
        }
        let given = self.query(of, ColumnUse::Returned);
        let bound = self.reach.all();
        self.bound(bound);
        self.reads(bound);
        if let Some(object) = made {
            self.fills_made(object, &given);
        }
        given
    }

    pub(super) fn returns(&mut self, given: Vec<Given<'t>>) {
        let outputs = given.into_iter().map(|one| Output {
            name: match one.name {
                Name::Is(name) => Some(name.into()),
                _ => None,
            },
            star: matches!(one.name, Name::Star | Name::StarOf(_)),
            sources: one.sources,
        });
        self.out.returns.get_or_insert_default().extend(outputs);
    }
}

fn leftmost_into(of: &SelectStmt) -> Option<&pg_raw_parse::nodes::IntoClause> {
    let mut at = of;
    while let Some(left) = at.larg() {
        at = left;
    }
    at.into_clause()
}

/// The name that a column gets without AS, where it is plain.
fn name_of<'t>(node: Node<'t>) -> Name<'t> {
    match node {
        Node::ColumnRef(of) => {
            of.fields().iter().filter_map(Node::as_str).next_back().map_or(Name::Unclear, Name::Is)
        }
        Node::FuncCall(of) => of
            .funcname()
            .iter()
            .filter_map(Node::as_str)
            .next_back()
            .map_or(Name::Unclear, Name::Is),
        Node::TypeCast(of) => match of.arg() {
            inner @ (Node::ColumnRef(_) | Node::FuncCall(_)) => name_of(inner),
            _ => Name::Unclear,
        },
        Node::A_Indirection(of) => of
            .indirection()
            .iter()
            .filter_map(Node::as_str)
            .next_back()
            .map_or(Name::Unclear, Name::Is),
        _ => Name::Unclear,
    }
}

/// The column that a condition gives one value: `name = 'x'`, and nothing else.
fn only(condition: Node<'_>) -> Option<(&str, &str)> {
    let Node::A_Expr(of) = condition else { return None };
    let equals = matches!(of.kind, raw::A_Expr_Kind::AEXPR_OP)
        && of.name().len() == 1
        && of.name().first().and_then(Node::as_str) == Some("=");
    let Node::ColumnRef(column) = of.lexpr() else { return None };
    let name = column.fields().first().and_then(Node::as_str)?;
    let value = super::calls::text(of.rexpr())?;
    (equals && column.fields().len() == 1).then_some((name, value))
}
