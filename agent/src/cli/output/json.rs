//! JSON that is safe on a terminal: what a terminal obeys is written `\u009b`.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::text::obeyed;

pub fn pretty(value: &impl Serialize) -> io::Result<String> {
    Ok(escape(&serde_json::to_string_pretty(value)?))
}

pub fn compact(value: &impl Serialize) -> io::Result<String> {
    Ok(escape(&serde_json::to_string(value)?))
}

pub(super) fn value(value: &impl Serialize) -> io::Result<Value> {
    Ok(serde_json::to_value(value)?)
}

/// Such characters stand in strings only, but for the line feeds of layout.
fn escape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}
