//! The file of verifiers that `tidegate login` keeps: who can log in where
//! without a password being stored.
//!
//! Never: a verifier in a mistake's text; a file that others can read, or that
//! is half written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml_edit::{Document, Item};

use super::kept::{self, quoted};
use super::{Mistakes, Place, file};
use crate::model::Secret;

/// Where it is, unless it is named.
pub const DEFAULT_LOGINS: &str = "/etc/tidegate/logins";

/// One role at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLogin {
    /// A destination's name in the settings, or `host:port`.
    pub server: String,
    pub role: String,
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`
    pub verifier: Secret,
}

const KEYS: [&str; 3] = ["server", "role", "verifier"];
const HEAD: &str = "\
# Verifiers of roles, kept by `tidegate login`. No password is in here; but who
# reads this can guess at passwords, and can pass as the server.
";
const MOST_BYTES: u64 = 8 << 20;

/// Reads the file; one that isn't there holds nothing.
pub fn read(path: &Path) -> Result<Vec<KeptLogin>, Mistakes> {
    let name = path.display().to_string();
    let whole = |text: String| Mistakes::one(Place::Named(name.clone()), text);
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => {
            let metadata =
                file.metadata().map_err(|error| whole(format!("cannot read it: {error}")))?;
            if metadata.mode() & 0o077 != 0 {
                let mode = metadata.mode() & 0o777;
                return Err(whole(format!(
                    "others can read or write it (mode {mode:o}): run `chmod 600 {name}`"
                )));
            }
            file.take(MOST_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| whole(format!("cannot read it: {error}")))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(whole(format!("cannot read it: {error}"))),
    }
    parse(&text, &name)
}

/// Checks the file's text; `name` is how mistakes name it.
pub fn parse(text: &str, name: &str) -> Result<Vec<KeptLogin>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let place = |at| Place::at(text, name, at);
    let document = match Document::parse(text) {
        Ok(document) => document,
        // What TOML says of a text may quote it.
        Err(error) => {
            let why = "this is not TOML: was it edited by hand?";
            return Err(Mistakes::one(place(error.span()), why.into()));
        }
    };
    let mut list = Vec::new();
    for (key, item) in document.as_table() {
        let Some(tables) = item.as_array_of_tables().filter(|_| key == "login") else {
            mistakes.add(place(item.span()), file::unknown("table", key, &["[[login]]"]));
            continue;
        };
        for table in tables {
            for (key, item) in table {
                if !KEYS.contains(&key) {
                    mistakes.add(place(item.span()), file::unknown("key", key, &KEYS));
                }
            }
            let mut word = |key: &str| match table.get(key).map(Item::as_str) {
                Some(Some(word)) if !word.is_empty() => Some(word.to_owned()),
                Some(_) => {
                    let at = place(table.get(key).and_then(Item::span));
                    mistakes.add(at, format!("`{key}`: it must be a text that isn't empty"));
                    None
                }
                None => {
                    mistakes.add(place(table.span()), format!("a login needs `{key}`"));
                    None
                }
            };
            let (server, role, verifier) = (word("server"), word("role"), word("verifier"));
            if let Some(verifier) = &verifier
                && !looks_right(verifier)
            {
                let at = place(table.get("verifier").and_then(Item::span));
                mistakes.add(
                    at,
                    "`verifier`: it isn't of the form \
                     `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`: run `tidegate login add` \
                     again",
                );
            } else if let (Some(server), Some(role), Some(verifier)) = (server, role, verifier) {
                let twice = list
                    .iter()
                    .any(|known: &KeptLogin| known.server == server && known.role == role);
                if twice {
                    let text = format!("`{role}` at `{server}` stands here twice");
                    mistakes.add(place(table.span()), text);
                }
                let verifier = Secret(verifier.into_bytes());
                list.push(KeptLogin { server, role, verifier });
            }
        }
    }
    if mistakes.is_empty() { Ok(list) } else { Err(mistakes.sorted()) }
}

/// Its shape; what is in it, who logs in with it finds out.
fn looks_right(verifier: &str) -> bool {
    let Some(rest) = verifier.strip_prefix("SCRAM-SHA-256$") else { return false };
    let parts: Vec<&str> = rest.split(['$', ':']).collect();
    let base64 = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
    };
    matches!(parts.as_slice(), [count, keys @ ..] if keys.len() == 3
        && count.parse::<u32>().is_ok_and(|count| count > 0)
        && keys.iter().all(base64))
}

/// Lets the file be changed, while nobody else does.
pub fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut Vec<KeptLogin>) -> T,
) -> Result<T, Mistakes> {
    kept::change(
        path,
        0o600,
        || read(path),
        |list| {
            let changed = change(list);
            list.sort_by(|one, other| (&one.server, &one.role).cmp(&(&other.server, &other.role)));
            (text(list), changed)
        },
    )
}

fn text(list: &[KeptLogin]) -> String {
    let mut text = HEAD.to_owned();
    for KeptLogin { server, role, verifier } in list {
        let verifier = String::from_utf8_lossy(&verifier.0);
        text += "\n[[login]]\n";
        for (key, value) in KEYS.iter().zip([server.as_str(), role, &verifier]) {
            text += &format!("{key} = {}\n", quoted(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy";

    fn login(server: &str, role: &str) -> KeptLogin {
        let verifier = Secret(VERIFIER.into());
        KeptLogin { server: server.into(), role: role.into(), verifier }
    }

    #[test]
    fn what_is_written_is_read() {
        let list = vec![login("db:5432", "app"), login("a \"b\" \\ \u{7} ü", "o\n[[login]]")];
        assert_eq!(parse(&text(&list), "logins").unwrap(), list);
    }

    #[test]
    fn it_is_replaced_whole_and_for_root_alone() {
        let folder = std::env::temp_dir().join(format!("tidegate-logins-{}", std::process::id()));
        let path = folder.join("logins");
        assert_eq!(read(&path).unwrap(), []);
        change(&path, |list| list.push(login("db:5432", "b"))).unwrap();
        change(&path, |list| list.push(login("db:5432", "a"))).unwrap();
        let expected = [login("db:5432", "a"), login("db:5432", "b")];
        assert_eq!(read(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&path, open).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
        assert!(change(&path, Vec::clear).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines_and_no_secret() {
        let text = format!(
            "[[login]]\nserver = \"db\"\nrole = \"app\"\nverifer = \"{VERIFIER}\"\n\n\
             [[login]]\nserver = 5\nrole = \"app\"\nverifier = \"geheim\"\n\n\
             [[login]]\nserver = \"db\"\nrole = \"x\"\nverifier = \"{VERIFIER}\"\n\n\
             [[login]]\nserver = \"db\"\nrole = \"x\"\nverifier = \"{VERIFIER}\"\n\n[logins]\n"
        );
        let told = parse(&text, "logins").unwrap_err().to_string();
        assert_eq!(
            told,
            "logins:1:1: a login needs `verifier`\n\
             logins:4:11: unknown key `verifer`: did you mean `verifier`?\n\
             logins:7:10: `server`: it must be a text that isn't empty\n\
             logins:9:12: `verifier`: it isn't of the form \
             `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`: run `tidegate login add` again\n\
             logins:16:1: `x` at `db` stands here twice\n\
             logins:21:1: unknown table `logins`: did you mean `[[login]]`?"
        );
        assert!(!told.contains("geheim"));
        let broken = parse("verifier = \"geheim", "logins").unwrap_err().to_string();
        assert!(!broken.contains("geheim"), "{broken}");
    }
}
