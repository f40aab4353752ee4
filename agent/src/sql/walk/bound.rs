//! Does a condition bound the rows? One that is the same for every row doesn't,
//! however it is dressed up.
//!
//! Errs to the strict side: a condition that cannot be followed bounds nothing, and where
//! there are too many to follow, the statement isn't understood.

mod among;
mod back;
mod depends;
mod idle;
pub(super) mod steps;

use pg_raw_parse::nodes::{A_Expr, CaseExpr, SelectStmt, SubLink, WithClause};
use pg_raw_parse::{Node, const_val::ConstValue, raw};

use self::depends::{columns, same};
use super::super::facts::Bound;
use super::super::numbers;
use super::calls::truth;

/// Whose columns count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'t> {
    /// What the written table is called in the statement; `None`: any column
    /// counts.
    pub(super) alias: Option<&'t str>,
    pub(super) relation: &'t str,
    /// Names under which WITH gives all its rows back.
    given: [&'t str; 4],
    /// What is joined with it says of these names that it has them: then the target
    /// hasn't, else the server would call them ambiguous.
    others: Others<'t>,
    /// It is joined with itself: by the same column each row finds itself.
    again: bool,
    /// Within a subquery that has tables of its own: bare names are theirs.
    inner: bool,
    depth: u32,
}

impl<'t> Target<'t> {
    pub(super) fn new(alias: &'t str, relation: &'t str) -> Self {
        Self { alias: Some(alias), relation, ..Self::ANY }
    }

    /// With what stands beside it in its statement.
    pub(super) fn beside(
        self,
        with: Option<&'t WithClause>,
        others: impl Iterator<Item = Node<'t>>,
        names: Others<'t>,
    ) -> Self {
        let target = Self { others: names, ..back::with(self, with) };
        Self { again: back::meets_itself(others, target), ..target }
    }

    const ANY: Self = Self {
        alias: None,
        relation: "",
        given: [""; 4],
        others: Others { names: &[], numbered: false },
        again: false,
        inner: false,
        depth: 0,
    };

    /// As deep, but for all columns of whatever it is about.
    fn any(self) -> Self {
        Self { depth: self.depth, ..Self::ANY }
    }

    fn deeper(self) -> Option<Self> {
        (self.depth < DEEPEST && steps::take()).then_some(Self { depth: self.depth + 1, ..self })
    }
}

/// Names of columns that something else surely has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others<'t> {
    /// Sorted.
    pub(super) names: &'t [&'t str],
    /// And `column1`, `column2` … of VALUES.
    pub(super) numbered: bool,
}

impl Others<'_> {
    fn have(self, name: &str) -> bool {
        let numbered = |name: &str| {
            let place = name.strip_prefix("column");
            place.is_some_and(|place| place.bytes().all(|digit| digit.is_ascii_digit()))
        };
        self.names.binary_search(&name).is_ok() || self.numbered && numbered(name)
    }
}

/// What a condition leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// No row.
    Empty,
    Some,
    /// Usually nearly all.
    Most,
    /// Every row, or all or none.
    Open,
}

/// The bound that a condition sets on the target.
pub(super) fn of_condition<'t>(condition: Node<'t>, target: Target<'t>) -> Bound {
    match shape(condition, false, target) {
        Shape::Empty | Shape::Some => Bound::Bounded,
        Shape::Most => Bound::Weak,
        Shape::Open => Bound::Unbounded,
    }
}

/// … on whatever it is about.
pub(super) fn of_rows(condition: Node<'_>) -> Bound {
    of_condition(condition, Target::ANY)
}

/// … on the rows of one table, the only one that the query reads.
pub(super) fn of_one(condition: Node<'_>, alias: &str, relation: &str) -> Bound {
    of_condition(condition, Target::new(alias, relation))
}

/// Whether a condition picks among the rows of what is called so there. A bare name may
/// be of anything.
pub(super) fn names(condition: Node<'_>, alias: &str) -> bool {
    let target = Target { inner: true, ..Target::new(alias, alias) };
    of_condition(condition, target) != Bound::Unbounded
}

/// The bound of one SELECT's rows.
pub(super) fn of_select(of: &SelectStmt) -> Bound {
    if of.from_clause().is_empty() {
        Bound::NotApplicable
    } else if limited(of) {
        Bound::Bounded
    } else {
        of_rows(of.where_clause())
    }
}

/// Whether its rows are made of several.
pub(super) fn aggregates(of: &SelectStmt) -> bool {
    of.target_list().iter().any(|of| depends::aggregate(of.val()))
}

/// A LIMIT that is one: not ALL, not NULL.
pub(super) fn limited(of: &SelectStmt) -> bool {
    match of.limit_count() {
        Node::None => false,
        Node::ParamRef(_) => true,
        Node::TypeCast(of) if matches!(of.arg(), Node::ParamRef(_)) => true,
        count => integer(count).is_some_and(|count| count <= MOST_AT_ONCE),
    }
}

fn flip(shape: Shape) -> Shape {
    match shape {
        Shape::Empty => Shape::Open,
        Shape::Open => Shape::Empty,
        other => other,
    }
}

fn shape<'t>(node: Node<'t>, negated: bool, target: Target<'t>) -> Shape {
    let Some(target) = target.deeper() else { return Shape::Open };
    if let Some(value) = truth(node) {
        return if value != negated { Shape::Open } else { Shape::Empty };
    }
    match node {
        Node::A_Const(of) if of.isnull => Shape::Empty,
        Node::BoolExpr(of) => {
            use raw::BoolExprType as B;
            let mut args = of.args().iter();
            match (of.boolop, negated) {
                (B::NOT_EXPR, _) => {
                    args.next().map_or(Shape::Open, |arg| shape(arg, !negated, target))
                }
                // One that bounds is enough.
                (B::AND_EXPR, false) | (B::OR_EXPR, true) => {
                    args.map(|arg| shape(arg, negated, target)).min().unwrap_or(Shape::Open)
                }
                _ => {
                    let widest =
                        args.map(|arg| shape(arg, negated, target)).max().unwrap_or(Shape::Open);
                    let arms: Vec<_> = of.args().iter().take(MOST_ARMS).collect();
                    if depends::complementary(&arms, negated) { Shape::Open } else { widest }
                }
            }
        }
        Node::TypeCast(of) => shape(of.arg(), negated, target),
        Node::CollateClause(of) => shape(of.arg(), negated, target),
        Node::NullTest(of) => {
            let is_null = (of.nulltesttype == raw::NullTestType::IS_NULL) != negated;
            let known = columns(of.arg(), target);
            // Every row has a place and a version.
            let always = known.iter().all(|column| OWN.contains(column));
            if known.is_empty() || always {
                if is_null && always && !known.is_empty() { Shape::Empty } else { Shape::Open }
            } else if is_null {
                Shape::Some
            } else if boolean(of.arg()) {
                Shape::Open
            } else {
                Shape::Most
            }
        }
        Node::BooleanTest(of) => boolean_test(of.arg(), of.booltesttype, negated, target),
        Node::A_Expr(of) => operator(of, negated, target),
        Node::SubLink(of) => sub_link(of, negated, target),
        Node::CaseExpr(of) => case(of, negated, target),
        Node::CoalesceExpr(of) => {
            let mut shapes = of
                .args()
                .iter()
                .filter(|arg| !null(*arg))
                .map(|arg| shape(arg, negated, target))
                .collect::<Vec<_>>()
                .into_iter();
            match shapes.next() {
                None => Shape::Empty,
                Some(Shape::Open) => Shape::Open,
                Some(first) => {
                    if shapes.any(|shape| shape == Shape::Open) {
                        Shape::Most
                    } else {
                        first
                    }
                }
            }
        }
        Node::MinMaxExpr(of) => {
            of.args().iter().map(|arg| shape(arg, negated, target)).max().unwrap_or(Shape::Open)
        }
        Node::CurrentOfExpr(_) => Shape::Some,
        Node::FuncCall(of) => {
            let args: Vec<_> = of.args().iter().collect();
            match args.as_slice() {
                _ if columns(node, target).is_empty() => Shape::Open,
                // int4eq(id, id), texteq(name, name)
                [one, other] if same(*one, *other) => Shape::Open,
                // starts_with(name, '')
                [_, other] if super::calls::text(*other) == Some("") => Shape::Open,
                [_] => Shape::Most,
                _ => Shape::Some,
            }
        }
        Node::ColumnRef(_) | Node::A_Indirection(_) => {
            if columns(node, target).is_empty() {
                Shape::Open
            } else {
                Shape::Some
            }
        }
        other => {
            if columns(other, target).is_empty() {
                Shape::Open
            } else {
                Shape::Most
            }
        }
    }
}

fn boolean_test<'t>(
    arg: Node<'t>,
    test: raw::BoolTestType::Type,
    negated: bool,
    target: Target<'t>,
) -> Shape {
    use raw::BoolTestType as T;
    let test = match (test, negated) {
        (test, false) => test,
        (T::IS_TRUE, true) => T::IS_NOT_TRUE,
        (T::IS_NOT_TRUE, true) => T::IS_TRUE,
        (T::IS_FALSE, true) => T::IS_NOT_FALSE,
        (T::IS_NOT_FALSE, true) => T::IS_FALSE,
        (T::IS_UNKNOWN, true) => T::IS_NOT_UNKNOWN,
        (_, true) => T::IS_UNKNOWN,
    };
    // Never true may be never false either: then it is NULL, and IS NOT … holds.
    let or_null = |shape| if shape == Shape::Empty { Shape::Open } else { shape };
    match test {
        T::IS_TRUE => shape(arg, false, target),
        T::IS_FALSE => shape(arg, true, target),
        T::IS_NOT_TRUE => or_null(shape(arg, true, target)),
        T::IS_NOT_FALSE => or_null(shape(arg, false, target)),
        T::IS_UNKNOWN if !columns(arg, target).is_empty() => Shape::Some,
        _ => Shape::Open,
    }
}

fn case<'t>(of: &'t CaseExpr, negated: bool, target: Target<'t>) -> Shape {
    let whole = !matches!(of.arg(), Node::None);
    // Each result is looked at once: nested ones would double the work otherwise.
    let mut shapes = Vec::new();
    let mut all_open = true;
    for when in of.args() {
        let Node::CaseWhen(when) = when else { return Shape::Open };
        let met = if !whole {
            shape(when.expr(), false, target)
        } else if same(of.arg(), when.expr())
            || columns(of.arg(), target).is_empty() && columns(when.expr(), target).is_empty()
        {
            Shape::Open
        } else {
            Shape::Some
        };
        if met == Shape::Empty {
            continue;
        }
        let result = shape(when.result(), negated, target);
        if !whole && truth(when.expr()) == Some(true) {
            shapes.push(result);
            return shapes.into_iter().max().unwrap_or(Shape::Open);
        }
        all_open &= result == Shape::Open;
        // Met by some rows, these are what an open result leaves.
        shapes.push(if result == Shape::Open { met } else { result });
    }
    let last = match of.defresult() {
        Node::None => Shape::Empty,
        last => shape(last, negated, target),
    };
    let conditional = shapes.iter().any(|shape| *shape != Shape::Open);
    shapes.push(match last {
        Shape::Open if !all_open || shapes.is_empty() => {
            if conditional {
                Shape::Most
            } else {
                Shape::Open
            }
        }
        // Whatever the conditions say, all rows pass.
        Shape::Open => return Shape::Open,
        last => last,
    });
    shapes.into_iter().max().unwrap_or(Shape::Open)
}

fn operator<'t>(of: &'t A_Expr, negated: bool, target: Target<'t>) -> Shape {
    use raw::A_Expr_Kind as K;
    let (left, right) = (of.lexpr(), of.rexpr());
    let name = super::names::of_list(of.name()).name;
    match of.kind {
        K::AEXPR_OP => depends::comparison(name, left, right, negated, target),
        K::AEXPR_NOT_DISTINCT => depends::comparison("=", left, right, negated, target),
        K::AEXPR_DISTINCT if null(left) || null(right) => {
            if negated {
                Shape::Some
            } else {
                Shape::Most
            }
        }
        K::AEXPR_DISTINCT => depends::comparison("<>", left, right, negated, target),
        K::AEXPR_LIKE | K::AEXPR_ILIKE | K::AEXPR_SIMILAR => {
            let negated = negated != name.starts_with('!');
            among::pattern(left, right, '%', negated, target)
        }
        K::AEXPR_IN => {
            let negated = negated != (name == "<>");
            among::listed(left, right, negated, target)
        }
        K::AEXPR_OP_ANY | K::AEXPR_OP_ALL => {
            let all = of.kind == K::AEXPR_OP_ALL;
            if columns(left, target).is_empty() && columns(right, target).is_empty() {
                Shape::Open
            } else if all != negated {
                // Of an empty array anything is true for ALL.
                if among::empty_array(right) { Shape::Open } else { Shape::Most }
            } else if name == "=" {
                match among::elements(right) {
                    Some(array) => among::listed(left, Node::NodeList(array), false, target),
                    None => among::listed(left, right, false, target),
                }
            } else if let (Some(array), Some(any)) = (among::elements(right), wildcard(name)) {
                let one = |one| among::pattern(left, one, any, name.starts_with('!'), target);
                array.iter().map(one).max().unwrap_or(Shape::Empty)
            } else {
                Shape::Most
            }
        }
        K::AEXPR_BETWEEN | K::AEXPR_BETWEEN_SYM => {
            let own = columns(left, target);
            let dependent = |bound: Node<'t>| {
                let bound = columns(bound, target);
                !bound.is_empty() && bound == own
            };
            let loose = match right {
                Node::NodeList(list) => {
                    let ends: Vec<_> = list.iter().collect();
                    let endless = |name, end: Option<&Node<'t>>| {
                        end.is_some_and(|end| {
                            idle::beyond(name, *end) || depends::literal_truth(*end).is_some()
                        })
                    };
                    ends.iter().all(|end| dependent(*end))
                        || endless(">=", ends.first()) && endless("<=", ends.last())
                }
                _ => true,
            };
            match (own.is_empty() && columns(right, target).is_empty(), loose, negated) {
                (true, ..) | (_, true, _) => Shape::Open,
                (_, _, true) => Shape::Most,
                _ => Shape::Some,
            }
        }
        K::AEXPR_NOT_BETWEEN | K::AEXPR_NOT_BETWEEN_SYM => {
            if columns(left, target).is_empty() {
                Shape::Open
            } else if negated {
                Shape::Some
            } else {
                Shape::Most
            }
        }
        _ => {
            if columns(left, target).is_empty() && columns(right, target).is_empty() {
                Shape::Open
            } else {
                Shape::Most
            }
        }
    }
}

/// Of LIKE's patterns, and of regular expressions.
fn wildcard(operator: &str) -> Option<char> {
    match operator.trim_start_matches('!') {
        "~~" | "~~*" => Some('%'),
        "~" | "~*" => Some('.'),
        _ => None,
    }
}

fn sub_link<'t>(of: &'t SubLink, negated: bool, target: Target<'t>) -> Shape {
    use raw::SubLinkType as S;
    let Node::SelectStmt(query) = of.subselect() else { return Shape::Open };
    let own = columns(of.testexpr(), target);
    let correlated = !columns(of.subselect(), target).is_empty();
    match of.sub_link_type {
        S::EXISTS_SUBLINK => exists(query, negated, target),
        // (id = 1) IN (SELECT true UNION SELECT false)
        S::ANY_SUBLINK if boolean(of.testexpr()) => Shape::Open,
        S::ANY_SUBLINK if !own.is_empty() => {
            if negated {
                Shape::Most
            } else {
                back::gives_back(query, of.testexpr(), target)
            }
        }
        S::ALL_SUBLINK if !own.is_empty() => {
            if negated {
                Shape::Some
            } else {
                Shape::Most
            }
        }
        _ if correlated => Shape::Some,
        _ => Shape::Open,
    }
}

fn exists<'t>(query: &'t SelectStmt, negated: bool, target: Target<'t>) -> Shape {
    let Some(target) = target.deeper() else { return Shape::Open };
    if query.op != raw::SetOperation::SETOP_NONE {
        let arms = [query.larg(), query.rarg()];
        return arms
            .into_iter()
            .flatten()
            .map(|arm| exists(arm, negated, target))
            .max()
            .unwrap_or(Shape::Open);
    }
    let inner = Target { inner: target.inner || !query.from_clause().is_empty(), ..target };
    let correlated = !columns(Node::SelectStmt(query), target).is_empty();
    // A lone aggregate always gives a row; a limit may take them all.
    let aggregate = query.group_clause().is_empty() && aggregates(query);
    let cut =
        !matches!(query.limit_count(), Node::None) || !matches!(query.limit_offset(), Node::None);
    if !correlated || aggregate || (cut && negated) {
        return Shape::Open;
    }
    let mut narrowest = back::apart_from_itself(query, target)
        .map(|condition| shape(condition, false, inner))
        .min()
        .unwrap_or(Shape::Open);
    for item in query.from_clause() {
        // What an outer join doesn't find, it gives all the same.
        if let Node::JoinExpr(join) = item
            && join.jointype == raw::JoinType::JOIN_INNER
        {
            narrowest = narrowest.min(shape(join.quals(), false, inner));
        }
    }
    match (narrowest, negated) {
        (Shape::Open, _) => Shape::Open,
        (Shape::Empty, negated) => {
            if negated {
                flip(Shape::Empty)
            } else {
                Shape::Empty
            }
        }
        (Shape::Most, false) => Shape::Most,
        _ => Shape::Some,
    }
}

/// Gives a truth value by its form alone, so that asking whether it is NULL asks
/// next to nothing.
fn boolean(node: Node<'_>) -> bool {
    match node {
        Node::BoolExpr(_) | Node::NullTest(_) | Node::BooleanTest(_) => true,
        Node::SubLink(of) => of.sub_link_type == raw::SubLinkType::EXISTS_SUBLINK,
        Node::A_Expr(of) => {
            of.kind != raw::A_Expr_Kind::AEXPR_NULLIF
                && (of.kind != raw::A_Expr_Kind::AEXPR_OP
                    || depends::comparing(super::names::of_list(of.name()).name))
        }
        Node::TypeCast(of) => boolean(of.arg()),
        Node::CollateClause(of) => boolean(of.arg()),
        _ => false,
    }
}

fn null(node: Node<'_>) -> bool {
    match node {
        Node::A_Const(of) => of.isnull,
        Node::TypeCast(of) => null(of.arg()),
        _ => false,
    }
}

fn integer(node: Node<'_>) -> Option<i64> {
    match node {
        Node::A_Const(of) => match numbers::value(of)? {
            ConstValue::Integer(value) => Some(value.into()),
            ConstValue::Float(text) => text.parse().ok(),
            _ => None,
        },
        Node::TypeCast(of) => integer(of.arg()),
        _ => None,
    }
}

/// Columns of the server's own, which no row is without.
const OWN: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax"];
/// Conditions nested deeper are taken to bound nothing.
const DEEPEST: u32 = 100;
/// A limit above it is none.
const MOST_AT_ONCE: i64 = 1_000_000;
/// Of longer ORs only so many arms are compared with each other.
const MOST_ARMS: usize = 16;
