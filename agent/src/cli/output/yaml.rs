//! JSON's values as YAML, in the plainest form that every reader takes.

use serde_json::Value;

use super::text::obeyed;

/// One document, ending in a line feed.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(list) if !list.is_empty() => sequence(list, 0, &mut text),
        Value::Object(map) if !map.is_empty() => mapping(map, 0, &mut text),
        flat => {
            scalar(flat, &mut text);
            text.push('\n');
        }
    }
    text
}

fn sequence(list: &[Value], depth: usize, text: &mut String) {
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            indent(depth, text);
        }
        text.push_str("- ");
        match value {
            Value::Array(inner) if !inner.is_empty() => sequence(inner, depth + 1, text),
            Value::Object(inner) if !inner.is_empty() => mapping(inner, depth + 1, text),
            flat => {
                scalar(flat, text);
                text.push('\n');
            }
        }
    }
}

/// The first key stands where the writer is: at a line's start, or behind `- `.
fn mapping(map: &serde_json::Map<String, Value>, depth: usize, text: &mut String) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            indent(depth, text);
        }
        string(key, text);
        text.push(':');
        match value {
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                indent(depth + 1, text);
                sequence(inner, depth + 1, text);
            }
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                indent(depth + 1, text);
                mapping(inner, depth + 1, text);
            }
            flat => {
                text.push(' ');
                scalar(flat, text);
                text.push('\n');
            }
        }
    }
}

fn indent(depth: usize, text: &mut String) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

fn scalar(value: &Value, text: &mut String) {
    match value {
        Value::String(words) => string(words, text),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
        other => text.push_str(&other.to_string()),
    }
}

/// Bare only where no version of YAML could read something else into it.
fn string(words: &str, text: &mut String) {
    if bare(words) {
        text.push_str(words);
        return;
    }
    text.push('"');
    for c in words.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if obeyed(c) && u32::from(c) <= 0xff => {
                text.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if obeyed(c) && u32::from(c) <= 0xffff => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if obeyed(c) => text.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

fn bare(words: &str) -> bool {
    const RESERVED: [&str; 10] =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf"];
    let mut bytes = words.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'/')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        && !RESERVED.contains(&words.to_ascii_lowercase().as_str())
}
