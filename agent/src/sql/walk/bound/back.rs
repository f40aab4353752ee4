//! Subqueries that give a table's own rows back: each of its rows finds itself in them.
//!
//! Errs to the strict side: a join that may leave all rows is taken to do so.

use pg_raw_parse::nodes::{JoinExpr, SelectStmt, WithClause};
use pg_raw_parse::{Node, raw};

use super::super::names;
use super::depends::columns;
use super::{Shape, Target, integer, limited, shape};

/// `id IN (SELECT id FROM the same table)`, `id IN (SELECT t.id)`: what such a list
/// leaves of the target.
pub(super) fn gives_back<'t>(query: &'t SelectStmt, value: Node<'t>, target: Target<'t>) -> Shape {
    let Some(target) = target.deeper() else { return Shape::Open };
    if query.op != raw::SetOperation::SETOP_NONE {
        // EXCEPT and INTERSECT give less; which is left to the strict side.
        let arms = [query.larg(), query.rarg()].into_iter().flatten();
        return arms.map(|arm| gives_back(arm, value, target)).max().unwrap_or(Shape::Open);
    }
    if limited(query) {
        return Shape::Some;
    }
    let inner = Target { inner: target.inner || !query.from_clause().is_empty(), ..target };
    let own = columns(value, target);
    let outer = query.target_list().iter().any(|one| {
        let given = columns(one.val(), inner);
        !given.is_empty() && given == own
    });
    if query.values_lists().iter().any(|row| columns(row, target) == own) {
        return Shape::Open;
    }
    if outer { left_by(query, target) } else { rows(query, target) }
}

/// The same of an array: `ARRAY(SELECT …)`, `(SELECT array_agg(…) …)`. `None`: it is none.
pub(super) fn of_array<'t>(node: Node<'t>, value: Node<'t>, target: Target<'t>) -> Option<Shape> {
    use raw::SubLinkType as S;
    match node {
        Node::TypeCast(of) => of_array(of.arg(), value, target),
        Node::SubLink(of) => {
            let Node::SelectStmt(query) = of.subselect() else { return None };
            let collects = of.sub_link_type == S::ARRAY_SUBLINK
                || of.sub_link_type == S::EXPR_SUBLINK && gives(query, "array_agg");
            collects.then(|| gives_back(query, value, target))
        }
        _ => None,
    }
}

/// Whether a node asks for the least or the greatest of the target's own, or how many
/// there are.
pub(super) fn asks_for<'t>(node: Node<'t>, function: &str, target: Target<'t>) -> bool {
    let Node::SubLink(of) = node else { return false };
    let Node::SelectStmt(query) = of.subselect() else { return false };
    gives(query, function) && rows(query, target) == Shape::Open
}

/// Whether a query is of one value, which this function makes.
pub(super) fn gives(query: &SelectStmt, function: &str) -> bool {
    let mut targets = query.target_list().iter();
    let first = targets.next().map(|one| one.val());
    targets.next().is_none()
        && matches!(first, Some(Node::FuncCall(of)) if names::of_list(of.funcname()).name == function)
}

/// The parts of a subquery's condition, without those by which a row of the target's
/// finds itself: `EXISTS (SELECT FROM t AS other WHERE other.id = t.id)`.
pub(super) fn apart_from_itself<'t>(
    query: &'t SelectStmt,
    target: Target<'t>,
) -> impl Iterator<Item = Node<'t>> {
    let again = query
        .from_clause()
        .iter()
        .any(|item| matches!(item, Node::RangeVar(of) if of.relname() == Some(target.relation)));
    let parts: Vec<Node<'t>> = match query.where_clause() {
        Node::BoolExpr(of) if of.boolop == raw::BoolExprType::AND_EXPR => {
            of.args().iter().collect()
        }
        condition => vec![condition],
    };
    parts.into_iter().filter(move |part| !(again && finds_itself(*part)))
}

fn finds_itself(condition: Node<'_>) -> bool {
    let Node::A_Expr(of) = condition else { return false };
    of.kind == raw::A_Expr_Kind::AEXPR_OP
        && names::of_list(of.name()).name == "="
        && alike(of.lexpr(), of.rexpr())
}

/// Whether both are columns of one name.
pub(super) fn alike(one: Node<'_>, other: Node<'_>) -> bool {
    let last = |node| match node {
        Node::ColumnRef(of) => of.fields().iter().filter_map(Node::as_str).next_back(),
        _ => None,
    };
    last(one).is_some() && last(one) == last(other)
}

/// Whether all of the target's rows stand among what it is joined with.
pub(super) fn meets_itself<'t>(
    mut others: impl Iterator<Item = Node<'t>>,
    target: Target<'t>,
) -> bool {
    others.any(|item| reached(item, target) == Shape::Open)
}

fn left_by<'t>(query: &'t SelectStmt, target: Target<'t>) -> Shape {
    match shape(query.where_clause(), false, target.any()) {
        Shape::Empty => Shape::Some,
        left => left,
    }
}

/// The target, with the names under which this gives all its rows back. Each of its
/// queries is looked at once, by what the names before it mean.
pub(super) fn with<'t>(mut target: Target<'t>, of: Option<&'t WithClause>) -> Target<'t> {
    for cte in of.into_iter().flat_map(|with| with.ctes()) {
        let Node::SelectStmt(query) = cte.ctequery() else { continue };
        if rows(query, target) == Shape::Open
            && let Some(free) = target.given.iter_mut().find(|name| name.is_empty())
        {
            *free = cte.ctename().unwrap_or_default();
        }
    }
    target
}

/// How many of the target's rows a query gives; those that it never looks at are few.
fn rows<'t>(query: &'t SelectStmt, target: Target<'t>) -> Shape {
    let Some(target) = target.deeper() else { return Shape::Open };
    if limited(query) {
        return Shape::Some;
    }
    if query.op != raw::SetOperation::SETOP_NONE {
        let arms = [query.larg(), query.rarg()].into_iter().flatten();
        return arms.map(|arm| rows(arm, target)).max().unwrap_or(Shape::Open);
    }
    let target = with(target, query.with_clause());
    let from = query.from_clause().iter().map(|item| reached(item, target));
    from.max().unwrap_or(Shape::Some).min(left_by(query, target))
}

fn reached<'t>(item: Node<'t>, target: Target<'t>) -> Shape {
    let Some(target) = target.deeper() else { return Shape::Open };
    match item {
        Node::RangeVar(of) => {
            let name = of.relname().unwrap_or_default();
            let all = name == target.relation || target.given.contains(&name);
            if all && !name.is_empty() { Shape::Open } else { Shape::Some }
        }
        Node::RangeSubselect(of) => match of.subquery() {
            Node::SelectStmt(inner) => rows(inner, target),
            _ => Shape::Some,
        },
        Node::RangeTableSample(of) => {
            let all = of.args().iter().any(|share| integer(share).is_none_or(|share| share >= 100));
            if all { reached(of.relation(), target) } else { Shape::Some }
        }
        Node::JoinExpr(of) => joined(of, target),
        _ => Shape::Some,
    }
}

fn joined<'t>(of: &'t JoinExpr, target: Target<'t>) -> Shape {
    use raw::JoinType as J;
    let left = reached(of.larg(), target);
    let right = reached(of.rarg(), target);
    match of.jointype {
        J::JOIN_LEFT => left,
        J::JOIN_RIGHT => right,
        J::JOIN_FULL => left.max(right),
        _ => {
            let by_name = of.is_natural || !of.using_clause().is_empty();
            let narrows = !matches!(of.quals(), Node::None)
                && shape(of.quals(), false, target.any()) < Shape::Most;
            // With itself each row finds at least itself.
            if narrows || by_name { left.min(right) } else { left.max(right) }
        }
    }
}
