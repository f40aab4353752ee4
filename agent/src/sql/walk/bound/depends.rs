//! What a condition's parts depend on: columns of the target, once everything
//! that cancels itself out is gone.

use std::collections::BTreeSet;

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{A_Expr, ColumnRef};
use pg_raw_parse::{Node, raw};

use super::super::super::builtin::{self, FunctionKind};
use super::super::super::numbers;
use super::super::calls::{text, truth};
use super::super::names;
use super::among::pattern;
use super::{Shape, Target, back, idle, integer, null, shape, steps};

/// The target's columns in an expression. Empty: it is the same for every row.
pub(super) fn columns<'t>(node: Node<'t>, target: Target<'t>) -> BTreeSet<&'t str> {
    let mut found = BTreeSet::new();
    collect(node, target, &mut found);
    found
}

fn collect<'t>(node: Node<'t>, target: Target<'t>, found: &mut BTreeSet<&'t str>) {
    // Too deep: as if it held no column, which is the strict side.
    let Some(target) = target.deeper() else { return };
    match node {
        Node::ColumnRef(of) => {
            let parts: Vec<&str> = of.fields().iter().filter_map(Node::as_str).collect();
            let name = parts.last().copied().unwrap_or("*");
            let counts = match (target.alias, parts.len()) {
                (None, _) => true,
                // t.* or t as a whole row, too.
                (Some(alias), 1) => name == alias || !target.inner && !target.others.have(name),
                (Some(alias), count) => {
                    let star = of.fields().len() > count;
                    let at = if star { count.checked_sub(1) } else { count.checked_sub(2) };
                    at.and_then(|at| parts.get(at)) == Some(&alias)
                }
            };
            // All rows of a table have the same.
            if counts && name != "tableoid" {
                found.insert(name);
            }
        }
        Node::A_Expr(of) if of.kind == raw::A_Expr_Kind::AEXPR_OP => {
            let (left, right) = (of.lexpr(), of.rexpr());
            let zero = |node| integer(node) == Some(0);
            let cancels = match names::of_list(of.name()).name {
                "-" | "/" | "#" => same(left, right),
                "*" | "&" => zero(left) || zero(right),
                "^" => zero(right),
                "%" => same(left, right) || integer(right).is_some_and(|n| n.abs() == 1),
                _ => false,
            };
            if !cancels {
                collect(left, target, found);
                collect(right, target, found);
            }
        }
        Node::A_Expr(of) => {
            let nothing = of.kind == raw::A_Expr_Kind::AEXPR_NULLIF && same(of.lexpr(), of.rexpr());
            if !nothing {
                collect(of.lexpr(), target, found);
                collect(of.rexpr(), target, found);
            }
        }
        Node::BoolExpr(of) => each(of.args(), target, found),
        Node::NullTest(of) => collect(of.arg(), target, found),
        Node::BooleanTest(of) => collect(of.arg(), target, found),
        Node::TypeCast(of) => collect(of.arg(), target, found),
        Node::CollateClause(of) => collect(of.arg(), target, found),
        Node::NamedArgExpr(of) => collect(of.arg(), target, found),
        Node::FuncCall(of) if idle::call(of) => {}
        Node::FuncCall(of) => each(of.args(), target, found),
        // (t).name is t.name.
        Node::A_Indirection(of) => match (of.arg(), of.indirection().first()) {
            (Node::ColumnRef(row), Some(Node::String(field)))
                if target.alias.is_some() && only_name(row) == target.alias =>
            {
                found.insert(field.sval().unwrap_or("*"));
            }
            (row, _) => {
                collect(row, target, found);
                each(of.indirection(), target, found);
            }
        },
        Node::A_Indices(of) => {
            collect(of.lidx(), target, found);
            collect(of.uidx(), target, found);
        }
        Node::A_ArrayExpr(of) => each(of.elements(), target, found),
        Node::RowExpr(of) => each(of.args(), target, found),
        Node::NodeList(list) => each(list, target, found),
        Node::CoalesceExpr(of) => each(of.args(), target, found),
        Node::MinMaxExpr(of) => each(of.args(), target, found),
        Node::XmlExpr(of) => each(of.args(), target, found),
        Node::ResTarget(of) => collect(of.val(), target, found),
        Node::JsonIsPredicate(of) => collect(of.expr(), target, found),
        Node::CaseExpr(of) => {
            collect(of.arg(), target, found);
            for when in of.args() {
                if let Node::CaseWhen(when) = when {
                    collect(when.expr(), target, found);
                    collect(when.result(), target, found);
                }
            }
            collect(of.defresult(), target, found);
        }
        Node::SubLink(of) => {
            collect(of.testexpr(), target, found);
            collect(of.subselect(), target, found);
        }
        Node::SelectStmt(of) => {
            let inner = Target { inner: target.inner || !of.from_clause().is_empty(), ..target };
            for one in of.target_list() {
                collect(one.val(), inner, found);
            }
            for condition in [of.where_clause(), of.having_clause()] {
                // One that always holds makes no row differ from another.
                if !always(condition) {
                    collect(condition, inner, found);
                }
            }
            for list in of.values_lists() {
                collect(list, inner, found);
            }
            for item in of.from_clause() {
                collect(item, inner, found);
            }
            for arm in [of.larg(), of.rarg()].into_iter().flatten() {
                collect(Node::SelectStmt(arm), inner, found);
            }
        }
        Node::JoinExpr(of) => {
            collect(of.larg(), target, found);
            collect(of.rarg(), target, found);
            collect(of.quals(), target, found);
        }
        Node::RangeSubselect(of) => collect(of.subquery(), target, found),
        Node::RangeFunction(of) => each(of.functions(), target, found),
        _ => {}
    }
}

/// Whether it holds wherever it stands, as far as that is told without following it.
fn always(condition: Node<'_>) -> bool {
    use raw::A_Expr_Kind::AEXPR_OP;
    match condition {
        Node::BoolExpr(of) => match of.boolop {
            raw::BoolExprType::OR_EXPR => of.args().iter().any(always),
            raw::BoolExprType::AND_EXPR => of.args().iter().all(always),
            _ => false,
        },
        Node::A_Expr(of) if of.kind == AEXPR_OP && names::of_list(of.name()).name == "=" => {
            same(of.lexpr(), of.rexpr())
        }
        other => truth(other) == Some(true),
    }
}

fn only_name(of: &ColumnRef) -> Option<&str> {
    let mut fields = of.fields().iter();
    let first = fields.next().and_then(Node::as_str);
    first.filter(|_| fields.next().is_none())
}

fn each<'t>(list: &'t NodeList, target: Target<'t>, found: &mut BTreeSet<&'t str>) {
    for one in list {
        collect(one, target, found);
    }
}

/// The same expression twice, as far as that can be seen.
pub(super) fn same(one: Node<'_>, other: Node<'_>) -> bool {
    equal(one, other, 40)
}

fn equal(one: Node<'_>, other: Node<'_>, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1).filter(|_| steps::take()) else { return false };
    let lists = |one: &NodeList, other: &NodeList| {
        one.len() == other.len() && one.iter().zip(other).all(|(a, b)| equal(a, b, depth))
    };
    match (one, other) {
        // id, t.id and public.t.id are taken for one: the strict side.
        (Node::ColumnRef(a), Node::ColumnRef(b)) => {
            let last = |of: &pg_raw_parse::list::NodeList| of.len().checked_sub(1);
            match (last(a.fields()), last(b.fields())) {
                (Some(x), Some(y)) => {
                    a.fields().get(x).and_then(Node::as_str)
                        == b.fields().get(y).and_then(Node::as_str)
                        && (x == 0 || y == 0 || lists(a.fields(), b.fields()))
                }
                _ => false,
            }
        }
        (Node::TypeCast(a), b) => equal(a.arg(), strip(b), depth),
        (a, Node::TypeCast(b)) => equal(strip(a), b.arg(), depth),
        (Node::CollateClause(a), b) => equal(a.arg(), strip(b), depth),
        (a, Node::CollateClause(b)) => equal(strip(a), b.arg(), depth),
        (Node::A_Const(a), Node::A_Const(b)) => match (numbers::value(a), numbers::value(b)) {
            (Some(a), Some(b)) => format!("{a}") == format!("{b}"),
            _ => false,
        },
        (Node::String(a), Node::String(b)) => a.sval() == b.sval(),
        (Node::A_Star(_), Node::A_Star(_)) => true,
        (Node::ParamRef(a), Node::ParamRef(b)) => a.number == b.number,
        (Node::A_Expr(a), Node::A_Expr(b)) => {
            a.kind == b.kind
                && lists(a.name(), b.name())
                && equal_or_none(a.lexpr(), b.lexpr(), depth)
                && equal_or_none(a.rexpr(), b.rexpr(), depth)
        }
        (Node::FuncCall(a), Node::FuncCall(b)) => {
            lists(a.funcname(), b.funcname()) && lists(a.args(), b.args())
        }
        (Node::RowExpr(a), Node::RowExpr(b)) => lists(a.args(), b.args()),
        (Node::A_ArrayExpr(a), Node::A_ArrayExpr(b)) => lists(a.elements(), b.elements()),
        (Node::CoalesceExpr(a), Node::CoalesceExpr(b)) => lists(a.args(), b.args()),
        (Node::BoolExpr(a), Node::BoolExpr(b)) => a.boolop == b.boolop && lists(a.args(), b.args()),
        (Node::NullTest(a), Node::NullTest(b)) => {
            a.nulltesttype == b.nulltesttype && equal(a.arg(), b.arg(), depth)
        }
        (Node::NodeList(a), Node::NodeList(b)) => lists(a, b),
        _ => false,
    }
}

fn strip(node: Node<'_>) -> Node<'_> {
    match node {
        Node::TypeCast(of) => of.arg(),
        Node::CollateClause(of) => of.arg(),
        other => other,
    }
}

fn equal_or_none(one: Node<'_>, other: Node<'_>, depth: u32) -> bool {
    matches!((one, other), (Node::None, Node::None)) || equal(one, other, depth)
}

pub(super) fn comparing(name: &str) -> bool {
    matches!(
        name,
        "=" | "<>"
            | "!="
            | "<"
            | ">"
            | "<="
            | ">="
            | "~"
            | "!~"
            | "~*"
            | "!~*"
            | "~~"
            | "!~~"
            | "~~*"
            | "!~~*"
            | "^@"
            | "@>"
            | "<@"
            | "&&"
            | "?"
            | "?|"
            | "?&"
            | "@@"
    )
}

fn opposite(name: &str) -> Option<&'static str> {
    Some(match name {
        "=" => "<>",
        "<>" | "!=" => "=",
        "<" => ">=",
        ">=" => "<",
        ">" => "<=",
        "<=" => ">",
        "~" => "!~",
        "!~" => "~",
        _ => return None,
    })
}

/// Arms of an OR of which two leave nothing out together.
pub(super) fn complementary(arms: &[Node<'_>], negated: bool) -> bool {
    let opposed = |one: Node<'_>, other: Node<'_>| match (one, other) {
        (Node::NullTest(a), Node::NullTest(b)) => {
            a.nulltesttype != b.nulltesttype && same(a.arg(), b.arg())
        }
        (Node::BoolExpr(a), b) if a.boolop == raw::BoolExprType::NOT_EXPR => {
            a.args().first().is_some_and(|a| same(a, b))
        }
        (Node::BooleanTest(a), Node::BooleanTest(b)) => {
            a.booltesttype != b.booltesttype && same(a.arg(), b.arg())
        }
        (Node::A_Expr(a), Node::A_Expr(b)) => {
            if let (Some((x, left)), Some((y, other))) = (picks(a), picks(b))
                && same(left, other)
                && (a.kind, b.kind) != (raw::A_Expr_Kind::AEXPR_OP, raw::A_Expr_Kind::AEXPR_OP)
            {
                return x != y;
            }
            let (x, y) = (names::of_list(a.name()).name, names::of_list(b.name()).name);
            let plain = |of: raw::A_Expr_Kind::Type| of == raw::A_Expr_Kind::AEXPR_OP;
            if !plain(a.kind) || !plain(b.kind) {
                return (a.kind, b.kind)
                    == (raw::A_Expr_Kind::AEXPR_BETWEEN, raw::A_Expr_Kind::AEXPR_NOT_BETWEEN)
                    && same(a.lexpr(), b.lexpr())
                    || a.kind == b.kind
                        && x.trim_start_matches('!') == y.trim_start_matches('!')
                        && x != y
                        && same(a.lexpr(), b.lexpr())
                        && same(a.rexpr(), b.rexpr());
            }
            // id > 5 OR 6 > id
            let ((x, left, right), (y, other, bound)) = (constant_last(a), constant_last(b));
            // id = 1 OR id = 2
            if x == "=" && y == "=" || !same(left, other) {
                return false;
            }
            if same(right, bound) {
                // Negated, an AND of these is what stands here.
                let y = if y == "!=" { "<>" } else { y };
                return opposite(x) == Some(y)
                    || matches!((x, y), (">=", "<=") | ("<=", ">="))
                    || (!negated && matches!((x, y), ("<>", "<>")));
            }
            // id <> 1 OR id <> 2; id < 10 OR id > 5
            match (integer(right), integer(bound)) {
                (Some(m), Some(n)) => match (x, y) {
                    ("<>" | "!=", "<>" | "!=") => true,
                    ("<" | "<=", ">" | ">=") => m >= n,
                    (">" | ">=", "<" | "<=") => m <= n,
                    _ => false,
                },
                _ => false,
            }
        }
        _ => false,
    };
    arms.iter().enumerate().any(|(position, one)| {
        arms.iter()
            .enumerate()
            .any(|(other_position, other)| position != other_position && opposed(*one, *other))
    })
}

/// Whether it picks by listed values, or picks all others.
fn picks(of: &A_Expr) -> Option<(bool, Node<'_>)> {
    use raw::A_Expr_Kind as K;
    let name = names::of_list(of.name()).name;
    let listed = matches!(of.kind, K::AEXPR_OP | K::AEXPR_IN);
    let picks = match name {
        "=" => true,
        "<>" | "!=" => false,
        _ => return None,
    };
    listed.then(|| (picks, of.lexpr()))
}

/// A comparison with its constant on the right.
fn constant_last(of: &A_Expr) -> (&str, Node<'_>, Node<'_>) {
    let name = names::of_list(of.name()).name;
    match (of.lexpr(), of.rexpr()) {
        (left @ (Node::A_Const(_) | Node::ParamRef(_)), right) => (turned(name), right, left),
        (left, right) => (name, left, right),
    }
}

pub(super) fn comparison<'t>(
    name: &str,
    left: Node<'t>,
    right: Node<'t>,
    negated: bool,
    target: Target<'t>,
) -> Shape {
    // (…) = true, (…) <> false
    for (side, other) in [(left, right), (right, left)] {
        if let (Some(value), true) = (literal_truth(side), matches!(name, "=" | "<>" | "!="))
            && literal_truth(other).is_none()
        {
            let inverted = (name == "=") != value;
            return shape(other, negated != inverted, target);
        }
    }
    // Never true, never false.
    if (null(left) || null(right)) && comparing(name) {
        return Shape::Empty;
    }
    let (own, others) = (columns(left, target), columns(right, target));
    if own.is_empty() && others.is_empty() {
        return constant(name, left, right, negated);
    }
    let (name, told) = match (negated, opposite(name)) {
        (true, Some(name)) => (name, true),
        (negated, _) => (name, !negated),
    };
    let equals = matches!(name, "=" | ">=" | "<=" | "@>" | "<@" | "&&" | "~=" | "^@");
    if same(left, right) {
        return if equals || matches!(name, "~" | "~*" | "~~") {
            Shape::Open
        } else {
            Shape::Empty
        };
    }
    // id = id + 0, id <= abs(id): the column compared with itself.
    if target.again && !target.inner && name == "=" && back::alike(left, right) {
        return Shape::Open;
    }
    if (equals || matches!(name, "<" | ">")) && own.len() == 1 && own == others {
        return Shape::Open;
    }
    let sides = [(left, right, name), (right, left, turned(name))];
    for (side, other, name) in sides.into_iter().filter(|_| told) {
        // length(name) >= 0, -1 < abs(id)
        if idle::may_loosen(other)
            && idle::never_negative(side)
            && idle::loose(name, integer(other))
            || idle::beyond(name, other)
            || matches!((name, literal_truth(other)), ("<=", Some(true)) | (">=", Some(false)))
        {
            return Shape::Open;
        }
        if matches!((name, text(other)), (">", Some(""))) {
            return Shape::Most;
        }
        // id <= (SELECT max(id) FROM the same table)
        let (most, all) = match name {
            "<" => ("max", Shape::Most),
            "<=" => ("max", Shape::Open),
            ">" => ("min", Shape::Most),
            ">=" => ("min", Shape::Open),
            _ => ("", Shape::Some),
        };
        if !most.is_empty() && back::asks_for(other, most, target) {
            return all;
        }
        let (held, holder) = if name == "<@" { (side, other) } else { (other, side) };
        if matches!(name, "<@" | "@>" | "&&")
            && let Some(shape) = back::of_array(holder, held, target)
        {
            return shape;
        }
    }
    if own.iter().chain(&others).all(|column| VERSIONS.contains(column)) {
        return Shape::Most;
    }
    match name {
        "<>" | "!=" => Shape::Most,
        "~" | "~*" => pattern(left, right, '.', false, target),
        "!~" | "!~*" => pattern(left, right, '.', true, target),
        "~~" | "~~*" => pattern(left, right, '%', negated, target),
        "!~~" | "!~~*" => pattern(left, right, '%', !negated, target),
        _ if negated => Shape::Most,
        _ => Shape::Some,
    }
}

/// Which transactions have touched a row: nearly all have been by one and by none.
const VERSIONS: &[&str] = &["xmin", "xmax", "cmin", "cmax"];

fn turned(name: &str) -> &str {
    match name {
        "@>" => "<@",
        "<@" => "@>",
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}

pub(super) fn literal_truth(node: Node<'_>) -> Option<bool> {
    match strip(node) {
        Node::A_Const(of) if numbers::is_boolean(of) => truth(node),
        _ => None,
    }
}

/// A comparison without any of the target's columns: all rows or none. Only what
/// surely holds for none bounds.
fn constant(name: &str, left: Node<'_>, right: Node<'_>, negated: bool) -> Shape {
    let order = match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        // Texts: only whether they are equal is the same in every collation.
        _ => match (text(left), text(right)) {
            (Some(left), Some(right)) if left == right => Some(std::cmp::Ordering::Equal),
            (Some(_), Some(_)) if plain(left) && plain(right) => {
                return match (name, negated) {
                    ("=", false) | ("<>" | "!=", true) => Shape::Empty,
                    _ => Shape::Open,
                };
            }
            _ => None,
        },
    };
    let Some(order) = order else { return Shape::Open };
    let holds = match name {
        "=" => order.is_eq(),
        "<>" | "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => return Shape::Open,
    };
    if holds != negated { Shape::Open } else { Shape::Empty }
}

/// Without a cast, which could make two texts one value.
fn plain(node: Node<'_>) -> bool {
    matches!(node, Node::A_Const(_))
}

pub(super) fn aggregate(node: Node<'_>) -> bool {
    match node {
        Node::FuncCall(of) => {
            builtin::function(names::of_list(of.funcname()).name)
                .is_some_and(|function| function.kind == FunctionKind::Aggregate)
                || of.args().iter().any(aggregate)
        }
        Node::TypeCast(of) => aggregate(of.arg()),
        Node::A_Expr(of) => aggregate(of.lexpr()) || aggregate(of.rexpr()),
        _ => false,
    }
}
