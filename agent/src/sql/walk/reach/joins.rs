//! What a query's rows come from, and which of it a condition picks among: where several
//! are joined, those that it names and those that are tied to these.
//!
//! Errs to the strict side: what isn't seen to be tied gives all its rows.

use pg_raw_parse::nodes::JoinExpr;
use pg_raw_parse::{Node, raw};

use super::super::bound::{names, of_one, of_rows};
use super::super::names::of_list;
use super::Reach;
use crate::sql::Bound;

#[derive(Clone, Debug, Default)]
pub(in super::super) struct Joins<'t> {
    pub froms: Vec<From<'t>>,
    /// The conditions by which they are joined.
    quals: Vec<Node<'t>>,
    /// Those from one to before another are joined by the names of columns.
    named: Vec<(usize, usize)>,
    /// Each is looked at once for each: of a long text nothing is told apart.
    long: bool,
}

/// Something that a query reads from.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct From<'t> {
    alias: &'t str,
    relation: &'t str,
    pub reach: Reach,
    /// An outer join puts a row of NULLs where it has none.
    may_miss: bool,
}

impl<'t> Joins<'t> {
    pub fn comes(&mut self, alias: &'t str, relation: &'t str, reach: Reach, long: bool) {
        self.long |= long;
        self.froms.push(From { alias, relation, reach, may_miss: false });
    }

    /// Those from `first` on, and those from `middle` on, are the sides of a join.
    pub fn join(&mut self, of: &'t JoinExpr, first: usize, middle: usize) {
        use raw::JoinType as J;
        let (left, right) = match of.jointype {
            J::JOIN_INNER => (false, false),
            J::JOIN_LEFT => (false, true),
            J::JOIN_RIGHT => (true, false),
            _ => (true, true),
        };
        for (at, from) in self.froms.iter_mut().enumerate().skip(first) {
            from.may_miss |= if at < middle { left } else { right };
        }
        if of.is_natural || !of.using_clause().is_empty() {
            self.named.push((first, self.froms.len()));
        }
        if !matches!(of.quals(), Node::None) {
            self.quals.push(of.quals());
        }
    }

    /// The join of those from `first` on has a name of its own.
    pub fn cover(&mut self, first: usize, alias: &'t str) {
        let tied = self.tied(&self.quals);
        let covered = self.froms.split_off(first.min(self.froms.len()));
        let mut reach = covered.iter().fold(Reach::default(), |all, from| all.both(from.reach));
        if !one(tied.get(first..).unwrap_or_default()) {
            reach = reach.whole();
        }
        self.named.retain(|(from, _)| *from < first);
        self.comes(alias, alias, reach, false);
    }

    /// What the condition leaves of each; and whether each row of one comes with all of
    /// another.
    pub fn picked(&self, condition: Node<'t>) -> (Vec<Bound>, bool) {
        if let [only] = self.froms.as_slice() {
            return (vec![of_one(condition, only.alias, only.relation)], false);
        }
        let (bound, count) = (of_rows(condition), self.froms.len());
        let conditions: Vec<Node<'t>> = parts(condition).collect();
        let all: Vec<Node<'t>> = conditions.iter().chain(&self.quals).copied().collect();
        let tied = self.tied(&all);
        let mut chosen: Vec<usize> = Vec::new();
        let mut any = false;
        for part in conditions.into_iter().take(MOST_PARTS) {
            let may_miss = |at: usize| self.froms.get(at).is_none_or(|from| from.may_miss);
            match self.named_in(part).as_slice() {
                // A bare name, of any of them.
                [] if of_rows(part) != Bound::Unbounded => {
                    any |= rejects_null(part) || !(0..count).any(may_miss);
                }
                [at] if rejects_null(part) || !may_miss(*at) => chosen.push(*at),
                _ => {}
            }
        }
        let whole = !one(&tied);
        let picks = |group: &usize| chosen.iter().any(|at| tied.get(*at) == Some(group));
        let left = |group| if any && !whole || picks(group) { bound } else { Bound::Unbounded };
        (tied.iter().map(left).collect(), whole)
    }

    /// By a number for each: those of one number are tied to one another.
    fn tied(&self, conditions: &[Node<'t>]) -> Vec<usize> {
        let mut tied: Vec<usize> = (0..self.froms.len()).collect();
        let mut tie = |one: usize, other: usize| {
            let (from, to) = (tied.get(one).copied(), tied.get(other).copied());
            let groups = tied.iter_mut().filter(|group| Some(**group) == from);
            groups.for_each(|group| *group = to.unwrap_or(*group));
        };
        for (first, end) in &self.named {
            (*first..*end).for_each(|at| tie(at, *first));
        }
        let each = conditions.iter().flat_map(|condition| parts(*condition));
        for part in each.take(MOST_PARTS) {
            if let [first, others @ ..] = self.named_in(part).as_slice() {
                others.iter().for_each(|other| tie(*other, *first));
            }
        }
        tied
    }

    fn named_in(&self, condition: Node<'t>) -> Vec<usize> {
        if self.long || self.froms.len() > MOST_JOINED {
            return Vec::new();
        }
        let all = self.froms.iter().enumerate();
        all.filter(|(_, from)| names(condition, from.alias)).map(|(at, _)| at).collect()
    }
}

fn one(tied: &[usize]) -> bool {
    tied.iter().all(|group| Some(group) == tied.first())
}

/// What must all hold.
fn parts(condition: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    let mut parts = match condition {
        Node::None => Vec::new(),
        condition => vec![condition],
    };
    // Brackets are gone: a few within one another are written so on purpose.
    for _ in 0..4 {
        let flat = parts.iter().flat_map(|part| match part {
            Node::BoolExpr(of) if of.boolop == raw::BoolExprType::AND_EXPR => {
                of.args().iter().collect()
            }
            part => vec![*part],
        });
        parts = flat.take(MOST_PARTS).collect();
    }
    parts.into_iter()
}

/// Whether it never holds for a column that is NULL.
fn rejects_null(condition: Node<'_>) -> bool {
    use raw::A_Expr_Kind as K;
    let Node::A_Expr(of) = condition else { return false };
    let plain = match of.kind {
        K::AEXPR_OP => matches!(of_list(of.name()).name, "=" | "<" | ">" | "<=" | ">="),
        K::AEXPR_IN | K::AEXPR_OP_ANY => of_list(of.name()).name == "=",
        K::AEXPR_BETWEEN | K::AEXPR_LIKE | K::AEXPR_ILIKE => true,
        _ => false,
    };
    let column = |node| match node {
        Node::TypeCast(of) => matches!(of.arg(), Node::ColumnRef(_)),
        node => matches!(node, Node::ColumnRef(_)),
    };
    plain && (column(of.lexpr()) || column(of.rexpr()))
}

/// Of more nothing is told apart.
const MOST_JOINED: usize = 16;
const MOST_PARTS: usize = 64;
