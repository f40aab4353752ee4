//! Conditions that hold a value against many: patterns, lists and arrays.

use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;

use super::super::calls::text;
use super::depends::{columns, complementary, literal_truth, same};
use super::{MOST_ARMS, Shape, Target, back, boolean, idle, shape};

/// LIKE and regular expressions: a pattern that everything fits bounds nothing.
pub(super) fn pattern<'t>(
    value: Node<'t>,
    pattern: Node<'t>,
    any: char,
    negated: bool,
    target: Target<'t>,
) -> Shape {
    let own = columns(value, target);
    let others = columns(pattern, target);
    if own.is_empty() && others.is_empty() {
        return Shape::Open;
    }
    if !negated && own.len() == 1 && own == others {
        return Shape::Open;
    }
    let pattern = match pattern {
        // LIKE … ESCAPE, SIMILAR TO
        Node::FuncCall(of) if text(pattern).is_none() => {
            idle::literal(pattern).or_else(|| of.args().first().and_then(idle::literal))
        }
        other => idle::literal(other),
    };
    let fits_all = pattern.as_deref().is_some_and(|pattern| {
        if any == '%' {
            !pattern.is_empty() && pattern.chars().all(|c| c == '%')
                // SIMILAR TO '(%)', '%|x'
                || pattern.split(['|', '(', ')']).any(|part| {
                    !part.is_empty() && part.chars().all(|c| c == '%')
                })
        } else {
            pattern
                .split('|')
                .any(|part| part.chars().all(|c| "^$.*?()+".contains(c)) && !part.contains('+'))
                || !pattern.contains(|c: char| c.is_alphanumeric())
                || idle::found_in_all(pattern)
        }
    });
    let mostly = pattern.is_some_and(|pattern| pattern.chars().all(|c| "%_".contains(c)));
    match (fits_all, negated) {
        (true, false) => Shape::Open,
        (true, true) => Shape::Empty,
        (false, true) => Shape::Most,
        _ if mostly => Shape::Most,
        _ => Shape::Some,
    }
}

/// IN and = ANY.
pub(super) fn listed<'t>(
    value: Node<'t>,
    list: Node<'t>,
    negated: bool,
    target: Target<'t>,
) -> Shape {
    let own = columns(value, target);
    let listed = columns(list, target);
    if own.is_empty() && listed.is_empty() {
        return Shape::Open;
    }
    // true IN (id = 1, id <> 1)
    if let (Some(value), Node::NodeList(list)) = (literal_truth(value), list) {
        let negated = negated == value;
        let arms: Vec<_> = list.iter().take(MOST_ARMS).collect();
        if complementary(&arms, negated) {
            return Shape::Open;
        }
        let shapes = list.iter().map(|one| shape(one, negated, target));
        return shapes.max().unwrap_or(Shape::Open);
    }
    // (id = 1) = ANY ('{t,f}')
    if boolean(value) && !matches!(list, Node::NodeList(_)) {
        return Shape::Open;
    }
    if negated {
        return Shape::Most;
    }
    if let Node::NodeList(list) = list {
        let truths = |value| list.iter().any(|one| literal_truth(one) == Some(value));
        if truths(true) && truths(false) {
            return Shape::Open;
        }
    }
    if let Some(shape) = back::of_array(list, value, target) {
        return shape;
    }
    let itself = |one: Node<'t>| {
        same(value, one) || {
            let one = columns(one, target);
            !own.is_empty() && one == own
        }
    };
    let found = match list {
        Node::NodeList(list) => list.iter().any(itself),
        other => itself(other),
    };
    if found { Shape::Open } else { Shape::Some }
}

pub(super) fn elements(node: Node<'_>) -> Option<&NodeList> {
    match node {
        Node::A_ArrayExpr(of) => Some(of.elements()),
        Node::TypeCast(of) => elements(of.arg()),
        _ => None,
    }
}

pub(super) fn empty_array(node: Node<'_>) -> bool {
    elements(node).is_some_and(NodeList::is_empty)
        || text(node).is_some_and(|text| text.trim() == "{}")
}
