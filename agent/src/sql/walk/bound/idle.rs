//! Values that are the same for every row, or always on one side of a bound, although a
//! column stands in them: `left(name, 0)`, `length(name) + 1`, `tags @> '{}'`.

use pg_raw_parse::Node;
use pg_raw_parse::nodes::FuncCall;

use super::super::calls::text;
use super::super::names;
use super::among::empty_array;
use super::back;
use super::depends::same;
use super::{integer, null};

/// Whether what a function is given makes its result the same for every row.
pub(super) fn call(of: &FuncCall) -> bool {
    let args: Vec<_> = of.args().iter().collect();
    let number =
        |place: usize, number: i64| args.get(place).copied().and_then(integer) == Some(number);
    let blank = |place: usize| args.get(place).copied().and_then(text) == Some("");
    let twice = match args.as_slice() {
        [one, other, ..] => same(*one, *other),
        _ => false,
    };
    match names::of_list(of.funcname()).name {
        // The same for every row, whatever they are given.
        "pg_typeof" | "num_nulls" | "num_nonnulls" | "pg_column_size" => true,
        "left" | "right" | "repeat" | "power" | "pow" => number(1, 0),
        "substr" | "substring" => number(2, 0),
        "mod" => number(1, 1) || twice,
        "strpos" | "position" => blank(1) || twice,
        "to_char" => blank(1),
        "format" => args.first().copied().and_then(text).is_some_and(|form| !form.contains('%')),
        "div" | "replace" | "btrim" | "ltrim" | "rtrim" | "translate" => twice,
        _ => false,
    }
}

/// Whether a value is never below zero.
pub(super) fn never_negative(node: Node<'_>) -> bool {
    size(node, 20)
}

fn size(node: Node<'_>, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    if integer(node).is_some_and(|number| number >= 0) {
        return true;
    }
    match node {
        Node::TypeCast(of) => size(of.arg(), depth),
        Node::FuncCall(of) => NEVER_NEGATIVE.contains(&names::of_list(of.funcname()).name),
        Node::A_Expr(of) if matches!(names::of_list(of.name()).name, "+" | "*") => {
            size(of.lexpr(), depth) && size(of.rexpr(), depth)
        }
        Node::CoalesceExpr(of) => of.args().iter().all(|arg| size(arg, depth)),
        Node::MinMaxExpr(of) if of.op == pg_raw_parse::raw::MinMaxOp::IS_GREATEST => {
            of.args().iter().any(|arg| size(arg, depth))
        }
        Node::SubLink(of) => match of.subselect() {
            Node::SelectStmt(query) => back::gives(query, "count"),
            _ => false,
        },
        _ => false,
    }
}

/// Whether it is a number: asked before anybody looks at one.
pub(super) fn may_loosen(bound: Node<'_>) -> bool {
    match bound {
        Node::A_Const(_) => true,
        Node::TypeCast(of) => may_loosen(of.arg()),
        _ => false,
    }
}

/// `size >= 0`, `size > -1`, `size <> -1`
pub(super) fn loose(name: &str, bound: Option<i64>) -> bool {
    match (name, bound) {
        (">=", Some(bound)) => bound <= 0,
        (">" | "<>", Some(bound)) => bound < 0,
        _ => false,
    }
}

/// A comparison with a constant that nothing lies beyond.
pub(super) fn beyond(name: &str, bound: Node<'_>) -> bool {
    let text = text(bound).map(|text| text.trim().to_ascii_lowercase());
    match (name, text.as_deref()) {
        ("<" | "<=", Some("infinity" | "inf" | "+infinity")) => true,
        (">" | ">=", Some("-infinity" | "-inf")) => true,
        (">=" | "^@", Some("")) => true,
        ("@>", Some("{}" | "[]")) => true,
        ("@>", _) => empty_array(bound),
        ("<@", text) => text.is_some_and(|text| ENDLESS.contains(&text)) || endless(bound),
        _ => false,
    }
}

/// `int4range(NULL, NULL)`
fn endless(node: Node<'_>) -> bool {
    match node {
        Node::TypeCast(of) => endless(of.arg()),
        Node::FuncCall(of) => {
            let mut args = of.args().iter();
            names::of_list(of.funcname()).name.ends_with("range")
                && args.next().is_some_and(null)
                && args.next().is_some_and(null)
        }
        _ => false,
    }
}

const ENDLESS: &[&str] = &["(,)", "[,)", "(,]", "[,]", "{(,)}"];

/// A text, also one that is put together of literals.
pub(super) fn literal(node: Node<'_>) -> Option<String> {
    folded(node, 20)
}

fn folded(node: Node<'_>, depth: u32) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    if let Some(text) = text(node) {
        return Some(text.to_owned());
    }
    match node {
        Node::TypeCast(of) => folded(of.arg(), depth),
        Node::A_Expr(of) if names::of_list(of.name()).name == "||" => {
            Some(folded(of.lexpr(), depth)? + &folded(of.rexpr(), depth)?)
        }
        Node::FuncCall(of) if names::of_list(of.funcname()).name == "concat" => {
            of.args().iter().map(|arg| folded(arg, depth)).collect()
        }
        // LIKE … ESCAPE, SIMILAR TO
        Node::FuncCall(of) if names::of_list(of.funcname()).name.ends_with("_escape") => {
            folded(of.args().first()?, depth)
        }
        Node::FuncCall(of) if names::of_list(of.funcname()).name == "repeat" => {
            let text = folded(of.args().first()?, depth)?;
            let times = integer(of.args().get(1)?)?;
            Some(text.repeat(times.clamp(0, 16).try_into().ok()?))
        }
        _ => None,
    }
}

/// Whether a regular expression is found in every text, since it is found in none at all:
/// `x*`, `a?|b`.
pub(super) fn found_in_all(pattern: &str) -> bool {
    pattern.split('|').any(|part| {
        let bare = part.strip_prefix('^').or_else(|| part.strip_suffix('$')).unwrap_or(part);
        let mut signs = bare.chars().peekable();
        let mut any = false;
        while let Some(sign) = signs.next() {
            match sign {
                '\\' => skip_past(&mut signs, None),
                '[' => skip_past(&mut signs, Some(']')),
                // What is grouped isn't followed.
                '(' | ')' | '^' | '$' => return false,
                _ => {}
            }
            match signs.next_if(|next| matches!(next, '*' | '?' | '{')) {
                Some('{') if signs.next() == Some('0') => {
                    if signs.next() != Some(',') {
                        return false;
                    }
                    skip_past(&mut signs, Some('}'));
                }
                Some('*' | '?') if signs.peek() == Some(&'?') => skip_past(&mut signs, None),
                Some('*' | '?') => {}
                _ => return false,
            }
            any = true;
        }
        any
    })
}

/// Past the next sign, and on to behind this one.
fn skip_past(signs: &mut impl Iterator<Item = char>, last: Option<char>) {
    let mut next = signs.next();
    while last.is_some() && next.is_some() && next != last {
        next = signs.next();
    }
}

const NEVER_NEGATIVE: &[&str] = &[
    "length",
    "char_length",
    "character_length",
    "octet_length",
    "bit_length",
    "abs",
    "array_length",
    "cardinality",
    "json_array_length",
    "jsonb_array_length",
    "position",
    "strpos",
    "ascii",
    "random",
];
