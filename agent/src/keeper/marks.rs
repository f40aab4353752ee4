//! The key of this host's marks: a masked value has the same mark as long as the
//! key stays, so that who joins or groups by it finds the same again.
//!
//! It lies beside the CA's key, and root alone may read it.

use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::rand;

use crate::config::CaSettings;
use crate::model::Secret;

const NAME: &str = "marks.key";
const LENGTH: usize = 32;

/// The key, made if there is none. `Err`: it can't be kept, and holds for this run.
pub fn key(ca: &CaSettings) -> Result<Secret, (Secret, String)> {
    let path = ca.key.with_file_name(NAME);
    kept(&path).map_err(|error| {
        let why = format!(
            "the key of masked values' marks can't be kept in `{}`: {error}; after a restart the \
             same value has another mark",
            path.display()
        );
        // Without randomness marks would be the same on every host.
        (Secret(fresh().unwrap_or_default().to_vec()), why)
    })
}

fn kept(path: &Path) -> io::Result<Secret> {
    match std::fs::File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
            if bytes.len() == LENGTH {
                return Ok(Secret(bytes));
            }
            Err(io::Error::other(format!("it has not {LENGTH} bytes: remove it for a new one")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = fresh()?;
            let mut file =
                std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&bytes).and_then(|()| file.sync_all())?;
            Ok(Secret(bytes.to_vec()))
        }
        Err(error) => Err(error),
    }
}

fn fresh() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the machine gives no random numbers"))?;
    Ok(bytes)
}
