//! Embeds the kernel programs in the binary.
//!
//! `cargo xtask build` leaves the linked programs in `target/bpf/tidegate.bpf.o`
//! (`TIDEGATE_BPF_OBJECT` names another file). This script writes
//! `$OUT_DIR/programs.rs`, which defines
//! `pub static PROGRAMS: Option<&[u8]>`, aligned as an ELF parser wants it.
//!
//! INVARIANT: a checkout without a BPF toolchain still builds: no object, or an
//! empty one, is `None`, and what to do about that is the loader's to say.
//! Never builds the programs itself: a `cargo check` must not need a second
//! compiler.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIDEGATE_BPF_OBJECT");

    let object = match env::var_os("TIDEGATE_BPF_OBJECT") {
        Some(named) => {
            let named = PathBuf::from(named);
            if !named.is_file() {
                return Err(format!(
                    "no file at `{}` (TIDEGATE_BPF_OBJECT): unset it, or run `cargo xtask build`",
                    named.display()
                )
                .into());
            }
            named
        }
        None => {
            let manifest = env::var("CARGO_MANIFEST_DIR")?;
            let usual = Path::new(&manifest).join("../target/bpf/tidegate.bpf.o");
            hold_the_place(&usual);
            usual
        }
    };
    println!("cargo::rerun-if-changed={}", object.display());

    let out = PathBuf::from(env::var("OUT_DIR")?);
    let bytes = fs::read(&object).unwrap_or_default();
    let generated = if bytes.is_empty() {
        ABSENT.to_owned()
    } else {
        let copy = out.join("tidegate.bpf.o");
        fs::write(&copy, bytes)?;
        PRESENT.replace("{path}", &format!("{:?}", copy.display().to_string()))
    };
    fs::write(out.join("programs.rs"), generated)?;
    Ok(())
}

/// Cargo runs a script again and again while a file that it watches is missing,
/// and would build the agent anew each time. An empty file, older than
/// everything, keeps it quiet until the programs are there.
fn hold_the_place(object: &Path) {
    if object.exists() {
        return;
    }
    let Some(folder) = object.parent() else { return };
    // Best effort: a read-only checkout only loses the quiet.
    if fs::create_dir_all(folder).is_ok()
        && let Ok(file) = fs::File::create_new(object)
    {
        let _ = file.set_modified(SystemTime::UNIX_EPOCH);
    }
}

const ABSENT: &str = "\
/// The kernel programs: this build has none (`cargo xtask build` makes them).
pub static PROGRAMS: Option<&[u8]> = None;
";

const PRESENT: &str = "\
#[repr(C, align(32))]
struct Aligned<Bytes: ?Sized>(Bytes);
static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!({path}));
/// The kernel programs, as linked by `cargo xtask build`.
pub static PROGRAMS: Option<&[u8]> = Some(&ALIGNED.0);
";
