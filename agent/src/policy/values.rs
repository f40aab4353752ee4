//! The values that are bound to a statement, as policies can ask for them: so many, each
//! of a type and of a length that can be told.
//!
//! INVARIANT: one value has one form here, however its client has written it, where its
//! type is known and has one; a value that can't be told is there, and says so.

use cedar_policy::RestrictedExpression as Expression;

/// What is bound to `$1`, `$2` ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The server's own name for its type (`int4`); `unknown` where nobody has said it.
    pub kind: &'static str,
    pub is: Is,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Is {
    Null,
    Text(Box<str>),
    /// Too long, or in no form that is read.
    Untold,
}

impl Value {
    pub fn text(kind: &'static str, text: &str) -> Self {
        let plain = match kind {
            "bool" => truth(text).map(Into::into),
            "int2" | "int4" | "int8" => whole(text).map(|number| number.to_string()),
            "uuid" => uuid(text),
            _ => Some(text.to_owned()),
        };
        let plain = plain.filter(|plain| plain.len() <= LONGEST);
        Self { kind, is: plain.map_or(Is::Untold, |plain| Is::Text(plain.into())) }
    }

    fn expression(&self) -> Option<Expression> {
        let mut fields = vec![
            ("type", Expression::new_string(self.kind.to_owned())),
            ("null", Expression::new_bool(self.is == Is::Null)),
            ("known", Expression::new_bool(self.is != Is::Untold)),
        ];
        if let Is::Text(text) = &self.is {
            fields.push(("value", Expression::new_string(text.to_string())));
            if self.kind.starts_with("int") || self.kind == "unknown" {
                fields.extend(whole(text).map(|number| ("number", Expression::new_long(number))));
            }
        }
        Expression::new_record(fields.into_iter().map(|(name, of)| (name.to_owned(), of))).ok()
    }
}

/// `context.parameters`.
pub(super) fn expression(values: &[Value]) -> Option<Expression> {
    let count = i64::try_from(values.len()).unwrap_or(i64::MAX);
    let each = values
        .iter()
        .take(MOST)
        .zip(1..)
        .map(|(value, number)| Some((format!("p{number}"), value.expression()?)));
    let mut fields = each.collect::<Option<Vec<_>>>()?;
    fields.push(("count".to_owned(), Expression::new_long(count)));
    Expression::new_record(fields).ok()
}

/// Its type, as the schema has it.
pub(super) fn type_name() -> String {
    let each: Vec<_> = (1..=MOST).map(|number| format!("    p{number}?: Parameter,\n")).collect();
    format!("{{\n    count: Long,\n{}}}", each.concat())
}

/// The type of one, as the schema has it.
pub(super) const PARAMETER: &str = "// A bound value: as text, and whole numbers as such.\n\
    type Parameter = {\n    type: String,\n    null: Bool,\n    known: Bool,\n    \
    value?: String,\n    number?: Long,\n};\n";

fn whole(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// In any of the spellings that the server takes.
fn truth(text: &str) -> Option<&'static str> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |whole: &str| !text.is_empty() && whole.starts_with(&text);
    if begins("true") || begins("yes") || matches!(&*text, "on" | "1") {
        Some("true")
    } else if begins("false") || begins("no") || matches!(&*text, "of" | "off" | "0") {
        Some("false")
    } else {
        None
    }
}

fn uuid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|sign| !matches!(sign, '-' | '{' | '}')).collect();
    if digits.len() != 32 || !digits.bytes().all(|sign| sign.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = String::new();
    for (digit, place) in digits.to_ascii_lowercase().chars().zip(0..) {
        if matches!(place, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    Some(out)
}

/// More of them are counted, and not told.
pub const MOST: usize = 32;
/// A longer one isn't told.
pub const LONGEST: usize = 1_024;

#[cfg(test)]
mod tests;
