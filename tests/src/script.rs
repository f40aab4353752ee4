//! psql's scripts, as far as PostgreSQL's own tests need it: which statements they
//! send, in which order, with which data for their COPYs.
//!
//! Not psql: `\if`, `\gset` and the like are passed over, and a statement that needed
//! what they would have set fails at the server, as the reader of it should expect.

use std::collections::HashMap;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Statement(String),
    /// The lines of a COPY FROM STDIN, which is the statement before.
    Data(String),
    /// A session of its own begins.
    Connect,
}

/// Cuts a script into its steps. `environment` is what `\getenv` finds.
pub fn steps(text: &str, environment: &HashMap<String, String>) -> Vec<Step> {
    let mut variables: HashMap<String, String> = HashMap::new();
    let (mut steps, mut current, mut data) = (Vec::new(), String::new(), None::<String>);
    let mut reading = Reading::default();
    for line in text.lines() {
        if let Some(lines) = &mut data {
            if line == "\\." {
                steps.extend(data.take().map(Step::Data));
            } else {
                lines.push_str(line);
                lines.push('\n');
            }
            continue;
        }
        let mut rest = line;
        loop {
            let Some(cut) = reading.next(rest) else {
                current.push_str(rest);
                current.push('\n');
                reading.line_ends();
                break;
            };
            match cut {
                Cut::Ends(at) => {
                    let (head, tail) = rest.split_at(at);
                    current.push_str(head);
                    data = data.or(finish(&mut current, &mut steps, &variables));
                    reading = Reading::default();
                    rest = &tail[1..];
                }
                Cut::Command(at) => {
                    let (head, tail) = rest.split_at(at);
                    let word = tail.split_whitespace().next().unwrap_or_default();
                    current.push_str(head);
                    if word.starts_with("\\g") && !word.starts_with("\\getenv")
                        || word == "\\crosstabview"
                    {
                        data = data.or(finish(&mut current, &mut steps, &variables));
                        reading = Reading::default();
                    } else if word == "\\;" {
                        current.push(';');
                        rest = &tail[2..];
                        continue;
                    } else if word == "\\c" || word == "\\connect" {
                        steps.push(Step::Connect);
                    } else {
                        set(tail, environment, &mut variables);
                    }
                    break;
                }
            }
        }
    }
    steps
}

/// A statement is whole. `Some`: what follows is its data.
fn finish(
    current: &mut String,
    steps: &mut Vec<Step>,
    variables: &HashMap<String, String>,
) -> Option<String> {
    let statement = filled(std::mem::take(current).trim(), variables);
    if statement.is_empty() {
        return None;
    }
    let lower = statement.to_lowercase();
    let takes = lower.starts_with("copy") && lower.contains("from stdin");
    steps.push(Step::Statement(statement));
    takes.then(String::new)
}

/// `\getenv name VARIABLE` and `\set name word …`.
fn set(
    command: &str,
    environment: &HashMap<String, String>,
    variables: &mut HashMap<String, String>,
) {
    let mut words = command.split_whitespace();
    match (words.next(), words.next()) {
        (Some("\\getenv"), Some(name)) => {
            let value = words.next().and_then(|name| environment.get(name));
            variables.extend(value.map(|value| (name.to_owned(), value.clone())));
        }
        (Some("\\set"), Some(name)) => {
            let value: String = words
                .map(|word| match word.strip_prefix(':') {
                    Some(name) => variables.get(name).cloned().unwrap_or_default(),
                    None => word.trim_matches('\'').to_owned(),
                })
                .collect();
            variables.insert(name.to_owned(), value);
        }
        _ => {}
    }
}

fn filled(statement: &str, variables: &HashMap<String, String>) -> String {
    let mut filled = statement.to_owned();
    for (name, value) in variables {
        let literal = format!("'{}'", value.replace('\'', "''"));
        filled = filled.replace(&format!(":'{name}'"), &literal);
        filled = filled.replace(&format!(":\"{name}\""), &format!("\"{value}\""));
    }
    filled
}

enum Cut {
    /// A semicolon that ends the statement.
    Ends(usize),
    /// A command of psql's.
    Command(usize),
}

/// Where in a statement the reader is.
#[derive(Debug, Default)]
struct Reading {
    inside: Inside,
    brackets: u32,
    /// Within BEGIN ATOMIC … END.
    atomic: u32,
    word: String,
    before: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// A string that knows backslashes, or not.
    Single(bool),
    Double,
    Dollar(String),
    Line,
    Block(u32),
}

impl Reading {
    fn line_ends(&mut self) {
        if self.inside == Inside::Line {
            self.inside = Inside::Nothing;
        }
        self.word_ends();
    }

    fn word_ends(&mut self) {
        let word = std::mem::take(&mut self.word).to_lowercase();
        match word.as_str() {
            "" => return,
            "atomic" if self.before == "begin" => self.atomic += 1,
            "case" if self.atomic > 0 => self.atomic += 1,
            "end" if self.atomic > 0 => self.atomic -= 1,
            _ => {}
        }
        self.before = word;
    }

    /// The next place at which something ends, on this line.
    fn next(&mut self, line: &str) -> Option<Cut> {
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (rest, byte) = (&line.as_bytes()[at..], bytes[at]);
            let mut step = 1;
            match &mut self.inside {
                Inside::Line => return None,
                Inside::Single(escapes) => match byte {
                    b'\\' if *escapes => step = 2,
                    b'\'' => self.inside = Inside::Nothing,
                    _ => {}
                },
                Inside::Double if byte == b'"' => self.inside = Inside::Nothing,
                Inside::Double => {}
                Inside::Dollar(tag) => {
                    if rest.starts_with(tag.as_bytes()) {
                        step = tag.len();
                        self.inside = Inside::Nothing;
                    }
                }
                Inside::Block(depth) => {
                    if rest.starts_with(b"*/") {
                        step = 2;
                        *depth -= 1;
                        if *depth == 0 {
                            self.inside = Inside::Nothing;
                        }
                    } else if rest.starts_with(b"/*") {
                        step = 2;
                        *depth += 1;
                    }
                }
                Inside::Nothing => {
                    let part = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
                    if part || byte == b'$' && !self.word.is_empty() {
                        self.word.push(char::from(byte));
                        at += 1;
                        continue;
                    }
                    let escapes = self.word.eq_ignore_ascii_case("e");
                    self.word_ends();
                    match byte {
                        b'\'' => self.inside = Inside::Single(escapes),
                        b'"' => self.inside = Inside::Double,
                        b'$' => {
                            if let Some(tag) = dollar(rest) {
                                step = tag.len();
                                self.inside = Inside::Dollar(tag);
                            }
                        }
                        b'-' if rest.starts_with(b"--") => self.inside = Inside::Line,
                        b'/' if rest.starts_with(b"/*") => {
                            step = 2;
                            self.inside = Inside::Block(1);
                        }
                        b'(' => self.brackets += 1,
                        b')' => self.brackets = self.brackets.saturating_sub(1),
                        b';' if self.brackets == 0 && self.atomic == 0 => {
                            return Some(Cut::Ends(at));
                        }
                        b'\\' => return Some(Cut::Command(at)),
                        _ => {}
                    }
                }
            }
            at += step;
        }
        None
    }
}

/// `$tag$` at the beginning.
fn dollar(rest: &[u8]) -> Option<String> {
    let end = rest.iter().skip(1).position(|byte| *byte == b'$')? + 1;
    let tag = std::str::from_utf8(&rest[1..end]).ok()?;
    let named = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| format!("${tag}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let environment = HashMap::from([("DIR".to_owned(), "/x".to_owned())]);
        steps(text, &environment)
            .into_iter()
            .map(|step| match step {
                Step::Statement(text) => text,
                Step::Data(text) => format!("data {text}"),
                Step::Connect => "connect".into(),
            })
            .collect()
    }

    #[test]
    fn statements_end_where_psql_ends_them() {
        assert_eq!(cut("select 1; select\n 2;"), ["select 1", "select\n 2"]);
        assert_eq!(
            cut("select ';', \";\", E'\\';', $$;$$, $a$;$$;$a$ /* ; /* ; */ ; */ -- ;\n;").len(),
            1
        );
        assert_eq!(cut("create rule r as on x do (a; b); select 1;").len(), 2);
        assert_eq!(cut("create function f() begin atomic select 1; select case when a then b end; end; select 1;").len(), 2);
        assert_eq!(cut("select 1 \\gset\nselect 2;"), ["select 1", "select 2"]);
        assert_eq!(cut("select 1\\; select 2;"), ["select 1; select 2"]);
    }

    #[test]
    fn data_and_variables_are_followed() {
        let text = "\\getenv dir DIR\n\\set file :dir '/data'\ncopy t from :'file';\n\
                    copy t from stdin;\n1\n\\.\n\\c -\nselect 1;";
        assert_eq!(
            cut(text),
            ["copy t from '/x/data'", "copy t from stdin", "data 1\n", "connect", "select 1"]
        );
    }
}
