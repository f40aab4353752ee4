//! Policies and their tests on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure};
use crate::policy::Source;

/// Where the operator's own policies are.
pub(super) const FOLDER: &str = crate::config::POLICY_FOLDER;

/// A file of tests and the policies beside it.
pub(super) struct TestFile {
    pub source: Source,
    pub beside: Vec<Source>,
}

/// Files as given, folders by their `.cedar` files. Nothing given: the operator's
/// own, where there are any.
pub(super) fn policies(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let named = !paths.is_empty();
    let own = [PathBuf::from(FOLDER)];
    let paths = match paths {
        [] if Path::new(FOLDER).is_dir() => own.as_slice(),
        paths => paths,
    };
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = listed(path, ".cedar")?;
            if named && files.is_empty() {
                let shown = path.display();
                let why = "policies are files called NAME.cedar, and those of folders within it";
                let error = format!("there are no policies in `{shown}`: {why} are not read");
                return Err(Failure::text(Exit::Usage, error));
            }
            for file in files {
                all.push(source(&file)?);
            }
        } else {
            all.push(source(path)?);
        }
    }
    Ok(all)
}

pub(super) fn tests(paths: &[PathBuf]) -> Result<Vec<TestFile>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        let files = if path.is_dir() { walked(path)? } else { vec![path.clone()] };
        for file in files {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or_else(|| Path::new("."));
            let beside = listed(folder, ".cedar")?;
            let beside = beside.iter().map(|file| source(file)).collect::<Result<_, _>>()?;
            all.push(TestFile { source: source(&file)?, beside });
        }
    }
    Ok(all)
}

/// The test files of a folder and of those within it.
fn walked(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut all = listed(folder, ".test.toml")?;
    for inner in entries(folder)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        all.extend(walked(&inner)?);
    }
    Ok(all)
}

fn listed(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let ends = |path: &PathBuf| path.to_string_lossy().ends_with(ending) && path.is_file();
    Ok(entries(folder)?.into_iter().filter(ends).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?;
        let mut all =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        all.sort();
        Ok(all)
    };
    read().map_err(|error| cannot(folder, &error))
}

fn source(path: &Path) -> Result<Source, Failure> {
    let text = fs::read_to_string(path).map_err(|error| cannot(path, &error))?;
    Ok(Source { name: path.to_string_lossy().into(), text: text.into() })
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::text(Exit::Usage, format!("cannot read `{}`: {error}", path.display()))
}
