//! The container runtimes that are asked what a container is, and whether they answer.

use std::path::Path;

use super::{Check, Verdict};
use crate::config::Settings;
use crate::keeper::{Greeting, greet_runtime};

const NAME: &str = "container runtimes";
const ROOT: u32 = 0;

pub(super) fn checks(root: &Path, settings: &Settings) -> Vec<Check> {
    vec![asked(root, settings, ROOT)]
}

/// `owner` is whose sockets are believed.
fn asked(root: &Path, settings: &Settings, owner: u32) -> Check {
    let sockets = &settings.identity.runtimes;
    if sockets.is_empty() {
        return Check::ok(NAME, "none is asked: `[identity] runtimes` names none");
    }
    let (mut answer, mut troubles) = (Vec::new(), Vec::new());
    for socket in sockets {
        let name = socket.display();
        match greet_runtime(&root.join(socket.strip_prefix("/").unwrap_or(socket)), owner) {
            Greeting::Absent => {}
            Greeting::Answered => answer.push(name.to_string()),
            Greeting::Others(uid) => {
                troubles.push(format!("{name} is of uid {uid}, and not believed"));
            }
            Greeting::Failed(error) => troubles.push(format!("{name} does not answer: {error}")),
        }
    }
    let mut found = match answer.as_slice() {
        [] => "none answers".to_owned(),
        [one] => format!("{one} answers"),
        many => format!("{} answer", many.join(", ")),
    };
    if troubles.is_empty() {
        if answer.is_empty() {
            found = "none is here".into();
        }
        return Check::ok(NAME, found);
    }
    Check::but(
        NAME,
        Verdict::Warn,
        format!("{found}; {}", troubles.join("; ")),
        "see that it runs, or name the sockets of this host's own in `[identity] runtimes`: what \
         the images, pods and labels of its containers are stays unknown meanwhile",
    )
}

#[cfg(test)]
mod tests;
