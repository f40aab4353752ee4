//! The file of workloads that are out of shadow, which `tidegate enforce` keeps.
//!
//! Never: a file that others can write, or that is half written.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml_edit::Document;

use super::kept::{self, quoted};
use super::{Mistakes, Place, file, policy};

#[cfg(test)]
mod tests;

/// Where it is, unless it is named.
pub const DEFAULT_ENFORCED: &str = "/etc/tidegate/enforced.toml";
const KEY: &str = "enforce";
const HEAD: &str = "\
# Services out of shadow, kept by `tidegate enforce`. Those that the settings name
# under `policy.enforce` are out of it too.
";
const MOST_BYTES: u64 = 1 << 20;

/// Reads the file; one that isn't there holds nothing.
pub fn read(path: &Path) -> Result<Vec<String>, Mistakes> {
    let name = path.display().to_string();
    let whole = |text: String| Mistakes::one(Place::Named(name.clone()), text);
    let cannot = |error: io::Error| whole(format!("cannot read it: {error}"));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    // A pipe would keep us waiting.
    if !metadata.is_file() {
        return Err(whole("it is no regular file".into()));
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(whole(format!(
            "others can write it (mode {mode:o}), and so put services back in shadow: run `chmod \
             go-w {name}`"
        )));
    }
    if metadata.len() > MOST_BYTES {
        return Err(whole(format!("it has more than {MOST_BYTES} bytes")));
    }
    parse(&fs::read_to_string(path).map_err(cannot)?, &name)
}

/// Checks the file's text; `name` is how mistakes name it.
fn parse(text: &str, name: &str) -> Result<Vec<String>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let place = |at| Place::at(text, name, at);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let why = error.message().lines().next().unwrap_or_default().to_owned();
            return Err(Mistakes::one(place(error.span()), format!("this is not TOML: {why}")));
        }
    };
    let mut list: Vec<String> = Vec::new();
    for (key, item) in document.as_table() {
        let Some(words) = item.as_array().filter(|_| key == KEY) else {
            mistakes.add(place(item.span()), file::unknown("list", key, &[KEY]));
            continue;
        };
        for word in words {
            let at = place(word.span());
            match word.as_str().ok_or_else(|| "it must be a text".into()).and_then(policy::workload)
            {
                Ok(word) if !list.contains(&word) => list.push(word),
                Ok(_) => {}
                Err(why) => mistakes.add(at, why),
            }
        }
    }
    if mistakes.is_empty() { Ok(list) } else { Err(mistakes.sorted()) }
}

/// Reads the file, lets its list be changed and writes it anew: by one at a time.
pub fn change<T>(path: &Path, with: impl FnOnce(&mut Vec<String>) -> T) -> Result<T, Mistakes> {
    kept::change(
        path,
        0o644,
        || read(path),
        |list| {
            let changed = with(list);
            let words: Vec<String> =
                list.iter().map(|word| format!("    {},\n", quoted(word))).collect();
            (format!("{HEAD}{KEY} = [\n{}]\n", words.concat()), changed)
        },
    )
}

/// A workload's name, checked as the settings check it.
pub fn workload(text: &str) -> Result<String, String> {
    policy::workload(text)
}
