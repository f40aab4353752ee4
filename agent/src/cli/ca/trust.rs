//! `tidegate ca trust`: the files by which clients come to trust the CA.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::Args;
use serde::Serialize;

use super::runtimes::{self, Runtime};
use super::{Common, SCHEMA, failure, none, page, store};
use crate::cli::exit::{Exit, Failure};
use crate::keeper::{ca, system_bundle};

/// Writes the files by which clients come to trust the CA, and says per runtime
/// what they achieve
///
/// Clients that don't verify (libpq's default) need none of this. Nothing is
/// written but in the folder given, unless `--system` is. Nothing is switched on
/// for anybody: each part says how.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// Where to write them
    #[arg(long, value_name = "FOLDER", default_value = "/etc/tidegate/trust")]
    out: PathBuf,
    /// Write a JVM's trust store too: its own roots and this CA (needs keytool)
    #[arg(long)]
    java: bool,
    /// Put the CA into the system's store too (update-ca-certificates or
    /// update-ca-trust)
    #[arg(long)]
    system: bool,
    /// Take it back instead: the files in the folder, and with `--system` what lies
    /// in the system's store
    #[arg(long, conflicts_with = "java")]
    remove: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
pub(super) struct Given {
    schema: u32,
    pub files: Vec<Written>,
    pub notes: Vec<String>,
    pub runtimes: Vec<Runtime>,
}

#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub path: PathBuf,
    pub what: String,
}

impl Trust {
    pub(super) fn carry_out(self) -> Result<Exit, Failure> {
        let folder = std::path::absolute(&self.out).map_err(|error| cannot(&self.out, &error))?;
        if self.remove {
            return self.take_back(&folder);
        }
        let settings = self.common.settings()?;
        let chain = ca::public(&settings.ca).map_err(failure)?;
        let Some(chain) = chain else { return Err(none(&settings.ca)) };
        let previous = ca::previous(&settings.ca).map_err(failure)?;
        let mut notes = Vec::new();
        let mut own: Vec<Vec<u8>> = Vec::new();
        for der in chain.iter().chain(&previous) {
            if !own.iter().any(|known| known == der.as_ref()) {
                own.push(der.to_vec());
            }
        }
        let facts = chain.first().and_then(|der| ca::facts(der).ok());
        if facts.is_some_and(|facts| facts.constraints.are_none()) {
            notes.push(
                "this CA may sign every name: whoever trusts it trusts this host's root for all of \
                 them; `tidegate ca rotate --permit NAME` makes one that may not"
                    .into(),
            );
        }
        fs::create_dir_all(&folder).map_err(|error| cannot(&folder, &error))?;
        let mut files = Vec::new();
        let mut exit = Exit::Ok;
        let mut store = None;
        if self.java {
            let made = java_store(&folder, &own);
            match made.and_then(|path| fs::read(path).map_err(|error| error.to_string())) {
                Ok(bytes) => store = Some(bytes),
                Err(why) => {
                    exit = Exit::Failed;
                    notes.push(format!("the JVM's trust store was not written: {why}"));
                }
            }
        }
        let java = store.is_some();
        let texts = Texts::new(&folder, &own, store, &mut notes);
        for (name, what, text) in texts.all() {
            let path = folder.join(name);
            write(&path, &text).map_err(|error| cannot(&path, &error))?;
            files.push(Written { path, what: what.into() });
        }
        if java {
            let path = folder.join(STORE);
            let what = "a JVM's roots and the CA; its password is `changeit`".into();
            files.push(Written { path, what });
        }
        if self.system {
            match store::put(&own) {
                Ok(written) => files.extend(
                    written
                        .into_iter()
                        .map(|path| Written { path, what: "the system's store".into() }),
                ),
                Err(why) => {
                    exit = Exit::Failed;
                    notes.push(format!("the system's store was not changed: {why}"));
                }
            }
        }
        let runtimes = runtimes::list(&folder, java);
        let given = Given { schema: SCHEMA, files, notes, runtimes };
        self.common.tell(&given, |out, page, wide| page::given(out, page, &given, wide))?;
        Ok(exit)
    }

    /// What an earlier one has written. There may be no CA any more.
    fn take_back(&self, folder: &Path) -> Result<Exit, Failure> {
        let mut files = Vec::new();
        for name in FILES {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Ok(()) => files.push(Written { path, what: "taken away".into() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot(&path, &error)),
            }
        }
        // What somebody else has put there stays.
        let _ = fs::remove_dir(folder);
        let mut exit = Exit::Ok;
        let mut notes = Vec::new();
        if self.system {
            match store::put(&[]) {
                Ok(_) => notes.push(
                    "the system's store doesn't hold the CA any more; a JVM's may until `keytool \
                     -delete` takes it out there"
                        .into(),
                ),
                Err(why) => {
                    exit = Exit::Failed;
                    notes.push(format!("the system's store was not changed: {why}"));
                }
            }
        }
        let gone = Given { schema: SCHEMA, files, notes, runtimes: Vec::new() };
        self.common.tell(&gone, |out, page, wide| page::given(out, page, &gone, wide))?;
        Ok(exit)
    }
}

/// Every file that may lie in the folder.
const FILES: [&str; 7] =
    ["tidegate.crt", "bundle.pem", "env", "profile.sh", "systemd.conf", "kubernetes.yaml", STORE];
const STORE: &str = "truststore.p12";

/// What the files hold.
struct Texts {
    own: String,
    bundle: String,
    /// Each with the file that it names.
    variables: Vec<(&'static str, &'static str)>,
    /// The JVM's, where it was asked for.
    store: Option<Vec<u8>>,
    folder: String,
}

impl Texts {
    fn new(
        folder: &Path,
        own: &[Vec<u8>],
        store: Option<Vec<u8>>,
        notes: &mut Vec<String>,
    ) -> Self {
        let mut roots = Vec::new();
        let bundle = system_bundle();
        let read = bundle.as_deref().map(|path| {
            fs::read(path).map_err(|error| error.to_string()).and_then(|pem| ca::certificates(&pem))
        });
        match (read, &bundle) {
            (Some(Ok(list)), _) => roots.extend(list),
            (Some(Err(why)), Some(path)) => {
                notes.push(format!(
                    "the system's roots in `{}` can't be read: {why}",
                    path.display()
                ));
            }
            _ => notes.push(
                "this host has no file of roots: the bundle holds the CA alone (Debian: apt \
                 install ca-certificates)"
                    .into(),
            ),
        }
        // The CA may be in the system's store already.
        roots.retain(|root| !own.iter().any(|der| der.as_slice() == root.as_ref()));
        let own: String = own.iter().map(|der| ca::pem(der)).collect();
        let mut bundle = own.clone();
        bundle.extend(roots.iter().map(|der| ca::pem(der)));
        let mut variables = vec![
            ("PGSSLROOTCERT", "bundle.pem"),
            ("NODE_EXTRA_CA_CERTS", "tidegate.crt"),
            ("SSL_CERT_FILE", "bundle.pem"),
        ];
        if store.is_some() {
            variables.push(("JAVA_TOOL_OPTIONS", STORE));
        }
        Self { own, bundle, variables, store, folder: folder.display().to_string() }
    }

    /// The variables, for files that lie in this folder.
    fn variables(&self, folder: &str) -> Vec<(&'static str, String)> {
        let value = |(name, file): &(&'static str, &str)| match *name {
            "JAVA_TOOL_OPTIONS" => (*name, java_options(&format!("{folder}/{file}"))),
            name => (name, format!("{folder}/{file}")),
        };
        self.variables.iter().map(value).collect()
    }

    fn all(&self) -> Vec<(&'static str, &'static str, String)> {
        let folder = &self.folder;
        let lines = |form: &dyn Fn(&str, &str) -> String| -> String {
            self.variables(folder).iter().map(|(name, value)| form(name, value)).collect()
        };
        let env = lines(&|name, value| format!("{name}={value}\n"));
        let profile = lines(&|name, value| format!("export {name}={}\n", quoted(value)));
        vec![
            ("tidegate.crt", "the CA, with those it replaced", self.own.clone()),
            ("bundle.pem", "the CA and the system's roots", self.bundle.clone()),
            ("env", "the variables, for --env-file and EnvironmentFile=", env),
            ("profile.sh", "the same, for /etc/profile.d", profile),
            (
                "systemd.conf",
                "the same, a drop-in for a unit",
                format!("[Service]\nEnvironmentFile=-{folder}/env\n"),
            ),
            ("kubernetes.yaml", "a ConfigMap, and what a pod needs of it", self.kubernetes()),
        ]
    }

    fn kubernetes(&self) -> String {
        let block = |pem: &str| -> String { pem.lines().map(|l| format!("    {l}\n")).collect() };
        let mut text = String::from(
            "# kubectl apply --server-side -n NAMESPACE -f this file; then, in the pods' template:\n#\n\
             #   volumes:\n\
             #     - name: tidegate-trust\n\
             #       configMap: { name: tidegate-trust }\n\
             #   containers:\n\
             #     - volumeMounts:\n\
             #         - { name: tidegate-trust, mountPath: /etc/tidegate/trust, readOnly: true }\n\
             #       env:\n",
        );
        for (name, value) in self.variables("/etc/tidegate/trust") {
            text.push_str(&format!("#         - {{ name: {name}, value: \"{value}\" }}\n"));
        }
        text.push_str(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: tidegate-trust\n  labels:\n    \
             app.kubernetes.io/name: tidegate\ndata:\n  tidegate.crt: |\n",
        );
        text.push_str(&block(&self.own));
        text.push_str("  bundle.pem: |\n");
        text.push_str(&block(&self.bundle));
        if let Some(store) = &self.store {
            let store = BASE64_STANDARD.encode(store);
            text.push_str(&format!("binaryData:\n  {STORE}: {store}\n"));
        }
        text
    }
}

/// What makes a JVM go by this store.
pub(super) fn java_options(store: &str) -> String {
    format!("-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit")
}

/// For a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whole, or not at all: somebody may be reading it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A copy of the JVM's own store, with the CA in it.
fn java_store(folder: &Path, own: &[Vec<u8>]) -> Result<PathBuf, String> {
    let path = folder.join(STORE);
    let fresh = folder.join("truststore.p12.new");
    let _ = fs::remove_file(&fresh);
    let keytool = find("keytool").ok_or(
        "there is no keytool here: run this where a JDK or JRE is, or `keytool -importcert \
         -noprompt -alias tidegate -file tidegate.crt -keystore truststore.p12 -storetype PKCS12`",
    )?;
    // …/bin/keytool → …/lib/security/cacerts
    let home = keytool.canonicalize().ok();
    let cacerts = home
        .as_deref()
        .and_then(|binary| binary.parent()?.parent())
        .map(|home| home.join("lib/security/cacerts"))
        .filter(|cacerts| cacerts.is_file());
    let store = fresh.display().to_string();
    let common = ["-noprompt", "-storepass", "changeit"];
    if let Some(cacerts) = cacerts {
        let cacerts = cacerts.display().to_string();
        let mut import = Command::new(&keytool);
        import.args(["-importkeystore", "-noprompt", "-srckeystore", &cacerts]);
        import.args(["-srcstorepass", "changeit", "-destkeystore", &store]);
        import.args(["-deststoretype", "PKCS12", "-deststorepass", "changeit"]);
        must(&mut import)?;
    }
    for (der, number) in own.iter().zip(1..) {
        let file = folder.join("import.new");
        fs::write(&file, ca::pem(der)).map_err(|error| error.to_string())?;
        let mut import = Command::new(&keytool);
        import.arg("-importcert").args(common).arg("-alias").arg(format!("tidegate-{number}"));
        import.arg("-file").arg(&file).args(["-storetype", "PKCS12", "-keystore", &store]);
        let imported = must(&mut import);
        let _ = fs::remove_file(&file);
        if imported.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        imported?;
    }
    fs::rename(&fresh, &path).map_err(|error| error.to_string())?;
    Ok(path)
}

/// A program on the path, or where administrators' programs are.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub(super) fn must(command: &mut Command) -> Result<(), String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!(
        "`{program}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&text).trim()
    ))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let next = if denied { ": run it with sudo, or name a folder of yours with --out" } else { "" };
    let exit = if denied { Exit::Denied } else { Exit::Failed };
    Failure::text(exit, format!("cannot write `{}`: {error}{next}", path.display()))
}
