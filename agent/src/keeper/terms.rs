//! Settings → terms: every file that the settings name is read here, on a
//! thread that may wait, and all that is wrong with them is told at once.
//!
//! Never: a secret in an error. What a parser says of a secret's text is not
//! passed on.

mod roots;

pub use roots::bundle;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};

use super::ca::{self, Authority, Name};
use super::marks;
use crate::config::classes;
use crate::config::logins::{self, KeptLogin};
use crate::config::{
    AccountSettings, AuthSettings, ClientFiles, LoginSettings, PolicySettings, Protect,
    ProtectTarget, QuerySettings, Settings, TlsSettings, WhoSettings,
};
use crate::model::{
    Account, AuthQuery, AuthTerms, ClientCertificate, Der, DestinationTerms, Login, Passthrough,
    PolicyTerms, Protocol, RoleVerifier, Secret, Terms, TlsTerms, Verify, Who,
};

/// Of any file that the settings name.
const MOST_BYTES: u64 = 8 << 20;
const LONGEST_PASSWORD: usize = 1024;

/// All that follows from the settings and the files they name.
pub struct Prepared {
    /// Without their generation: the gate knows it.
    pub terms: Terms,
    pub grounds: Arc<Grounds>,
    /// What should be known, and stops nothing.
    pub notes: Vec<String>,
}

/// What the signer decides by.
#[derive(Default)]
pub struct Grounds {
    pub authority: Option<Authority>,
    /// By a destination's name.
    pub destinations: HashMap<String, Ground>,
}

/// One destination's.
pub struct Ground {
    pub protocol: Protocol,
    pub verify: Verify,
    /// The name that the server's certificate must bear.
    pub server_name: Option<Name>,
    /// All names that it is configured by.
    pub configured: Vec<Name>,
    pub roots: Arc<Vec<TrustAnchor<'static>>>,
}

/// Reads everything, or tells all that is wrong, a line each.
pub fn prepare(settings: &Settings) -> Result<Prepared, String> {
    let mut faults = Faults(Vec::new());
    let mut notes = Vec::new();
    let authority = match Authority::load(&settings.ca) {
        Ok(authority) => authority,
        Err(error) => {
            faults.0.push(format!("[ca]: {error}"));
            None
        }
    };
    let issuer = authority.as_ref().map(|authority| authority.chain.clone()).unwrap_or_default();
    // What an earlier CA of ours signed proves nothing of a server either.
    let mut own = issuer.clone();
    match ca::previous(&settings.ca) {
        Ok(list) => own.extend(list.iter().map(|der| Der(der.to_vec()))),
        Err(error) => faults.0.push(format!("[ca]: {error}")),
    }
    let system_roots = roots::of_system(&own, &mut notes);
    let anchors = Arc::new(anchors(&system_roots));
    let kept = logins::read(&settings.logins).unwrap_or_else(|mistakes| {
        faults.0.extend(mistakes.to_string().lines().map(str::to_owned));
        Vec::new()
    });
    let mut destinations = Vec::new();
    let mut grounds = HashMap::new();
    for protect in settings.protect.iter().filter(|protect| !protect.exclude) {
        let mut of = Of { faults: &mut faults, whose: &protect.name };
        let terms = DestinationTerms {
            name: protect.name.clone(),
            protocol: protect.service.protocol,
            environment: protect.environment.clone(),
            tls: of.tls(protect, &protect.service.tls),
            auth: with_kept(of.auth(&protect.service.auth), protect, &kept),
            pooling: protect.service.pooling,
            catalog: protect.service.catalog.as_ref().and_then(|account| of.account(account)),
        };
        let roots = match &terms.tls.roots {
            Some(roots) => Arc::new(self::anchors(roots)),
            None => Arc::clone(&anchors),
        };
        let server_name = terms.tls.server_name.as_deref().and_then(Name::parse);
        let ground = Ground {
            protocol: terms.protocol,
            verify: terms.tls.verify,
            server_name,
            configured: names_of(protect),
            roots,
        };
        grounds.insert(protect.name.clone(), ground);
        destinations.push(terms);
    }
    for word in &settings.classes.words {
        if let Some(server) = word.server.as_deref().filter(|name| !grounds.contains_key(*name)) {
            notes.push(format!(
                "the class of `{}` is for `{server}`, and no destination is called so",
                classes::written(word)
            ));
        }
    }
    let mut passthrough = Vec::new();
    for one in &settings.passthrough {
        let mut of = Of { faults: &mut faults, whose: "passthrough" };
        if let Some(who) = of.who(&one.who) {
            passthrough.push(Passthrough { who, destination: one.to.clone() });
        }
    }
    if let Some(authority) = &authority {
        notes.extend(shortcomings(authority, settings));
    }
    if !faults.0.is_empty() {
        return Err(faults.0.join("\n"));
    }
    let marks = marks::key(&settings.ca).unwrap_or_else(|(key, why)| {
        notes.push(why);
        key
    });
    Ok(Prepared {
        terms: Terms {
            generation: 0,
            destinations,
            system_roots,
            issuer,
            passthrough,
            policy: policy(&settings.policy),
            classes: settings.classes.words.clone(),
            marks,
        },
        grounds: Arc::new(Grounds { authority, destinations: grounds }),
        notes,
    })
}

/// The roles that `tidegate login` has kept for this destination: by its name,
/// for its very target, or for a server within it. Those of the settings' own
/// file come first.
fn with_kept(mut auth: AuthTerms, protect: &Protect, kept: &[KeptLogin]) -> AuthTerms {
    let target = |login: &KeptLogin| ProtectTarget::parse(&login.server).ok();
    let named = |login: &&KeptLogin| {
        login.server == protect.name || target(login).as_ref() == Some(&protect.target)
    };
    let within = |login: &&KeptLogin| {
        !named(login) && target(login).is_some_and(|inner| inner.is_within(&protect.target))
    };
    for login in kept.iter().filter(named).chain(kept.iter().filter(within)) {
        let verifier = login.verifier.clone();
        auth.verifiers.push(RoleVerifier { role: login.role.clone(), verifier });
    }
    auth
}

/// The texts were read and checked before they became settings: what is in them is
/// nothing that this room knows.
fn policy(settings: &PolicySettings) -> PolicyTerms {
    PolicyTerms {
        mode: settings.mode,
        bare: settings.bare,
        packs: settings.packs.clone(),
        own: settings.sources.clone(),
        enforced: settings.enforced.clone(),
    }
}

/// What the CA can't do for these settings.
fn shortcomings(authority: &Authority, settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    let left = authority.facts.not_after - ca::now();
    if left <= 0 {
        notes.push(
            "the CA has expired: clients that verify refuse its leaves: `tidegate ca rotate`"
                .into(),
        );
    } else if left < 30 * 86_400 {
        notes.push(format!("the CA expires in {} days: `tidegate ca rotate`", left / 86_400));
    }
    for protect in settings.protect.iter().filter(|p| !p.exclude) {
        if protect.service.protocol == Protocol::Unread {
            continue;
        }
        for name in names_of(protect) {
            if !authority.permits(&name) {
                notes.push(format!(
                    "the CA is not for `{name}`: clients that verify refuse its leaves for `{}`: \
                     `tidegate ca rotate` makes one that is",
                    protect.name
                ));
            }
        }
    }
    notes
}

/// The names that a destination is configured by.
pub fn names_of(protect: &Protect) -> Vec<Name> {
    let mut names: Vec<Name> =
        protect.service.tls.server_name.iter().filter_map(|name| Name::parse(name)).collect();
    match &protect.target {
        ProtectTarget::Host { host, .. } => names.extend(Name::parse(host)),
        ProtectTarget::Network { address, prefix, .. } => {
            if u32::from(*prefix) == if address.is_ipv4() { 32 } else { 128 } {
                names.push(Name::Address(*address));
            }
        }
        ProtectTarget::Port(_) => {}
    }
    names.dedup();
    names
}

struct Faults(Vec<String>);

/// Faults of one destination.
struct Of<'f> {
    faults: &'f mut Faults,
    whose: &'f str,
}

impl Of<'_> {
    fn fault(&mut self, key: &str, what: impl std::fmt::Display) {
        let whose = self.whose;
        self.faults.0.push(format!("`{whose}`: `{key}`: {what}"));
    }

    fn tls(&mut self, protect: &Protect, tls: &TlsSettings) -> TlsTerms {
        let host = match &protect.target {
            ProtectTarget::Host { host, .. } => Some(host.clone()),
            _ => None,
        };
        TlsTerms {
            verify: tls.verify,
            server_name: tls.server_name.clone().or(host),
            roots: tls.roots.as_deref().map(|path| self.roots(path)),
            client: tls.client.as_ref().and_then(|files| self.client(files)),
            upstream_always: tls.upstream_always,
        }
    }

    fn roots(&mut self, path: &Path) -> Vec<Der> {
        let pem = match read_file(path) {
            Ok(pem) => pem,
            Err(error) => {
                self.fault("roots", cannot_read(path, &error));
                return Vec::new();
            }
        };
        match ca::certificates(&pem) {
            Ok(list) if list.is_empty() => {
                self.fault(
                    "roots",
                    format!("`{}` holds no certificate in PEM form", path.display()),
                );
                Vec::new()
            }
            Ok(list) => {
                for (index, der) in list.iter().enumerate() {
                    if let Err(error) = webpki::anchor_from_trusted_cert(der) {
                        let nth = index + 1;
                        self.fault(
                            "roots",
                            format!(
                                "certificate {nth} of `{}` is no root: {error}",
                                path.display()
                            ),
                        );
                    }
                }
                list.iter().map(|der| Der(der.to_vec())).collect()
            }
            Err(what) => {
                self.fault("roots", format!("`{}`: {what}", path.display()));
                Vec::new()
            }
        }
    }

    fn client(&mut self, files: &ClientFiles) -> Option<ClientCertificate> {
        let chain = match read_file(&files.certificate) {
            Ok(pem) => ca::certificates(&pem).unwrap_or_default(),
            Err(error) => {
                self.fault("client_cert", cannot_read(&files.certificate, &error));
                // The key's own faults are told as well.
                let _ = self.key(&files.key);
                return None;
            }
        };
        if chain.is_empty() {
            let path = files.certificate.display();
            self.fault("client_cert", format!("`{path}` holds no certificate in PEM form"));
        }
        let key = self.key(&files.key)?;
        if chain.is_empty() {
            return None;
        }
        let secret = Secret(key.secret_der().to_vec());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        if rustls::sign::CertifiedKey::from_der(chain.clone(), key, &provider).is_err() {
            self.fault(
                "client_key",
                format!(
                    "`{}` is not the key of `{}`, or of a kind that TLS doesn't know",
                    files.key.display(),
                    files.certificate.display()
                ),
            );
            return None;
        }
        let chain = chain.iter().map(|der| Der(der.to_vec())).collect();
        Some(ClientCertificate { chain, key: secret })
    }

    fn key(&mut self, path: &Path) -> Option<PrivateKeyDer<'static>> {
        let pem = self.secret_file("client_key", path)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).ok();
        if key.is_none() {
            let path = path.display();
            self.fault(
                "client_key",
                format!("`{path}` holds no unencrypted private key in PEM form"),
            );
        }
        key
    }

    fn auth(&mut self, auth: &AuthSettings) -> AuthTerms {
        AuthTerms {
            mode: auth.mode,
            forbid_cleartext: auth.forbid_cleartext,
            verifiers: auth.verifiers.as_deref().map(|p| self.verifiers(p)).unwrap_or_default(),
            query: auth.query.as_ref().and_then(|query| self.query(query)),
            logins: auth.logins.iter().filter_map(|login| self.login(login)).collect(),
        }
    }

    /// `"role" "SCRAM-SHA-256$…"`, one a line, as PgBouncer's userlist has it.
    fn verifiers(&mut self, path: &Path) -> Vec<RoleVerifier> {
        const KEY: &str = "verifiers";
        let Some(bytes) = self.secret_file(KEY, path) else { return Vec::new() };
        let shown = path.display();
        let Ok(text) = String::from_utf8(bytes) else {
            self.fault(KEY, format!("`{shown}` is no text in UTF-8"));
            return Vec::new();
        };
        let mut list = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            match entry(line) {
                Ok((role, verifier)) => {
                    list.push(RoleVerifier { role, verifier: Secret(verifier.into_bytes()) });
                }
                Err(what) => self.fault(KEY, format!("`{shown}`, line {number}: {what}")),
            }
        }
        list
    }

    fn query(&mut self, query: &QuerySettings) -> Option<AuthQuery> {
        Some(AuthQuery {
            role: query.role.clone(),
            password: self.password("auth_query.password_file", &query.password_file)?,
            database: query.database.clone(),
            query: query.query.clone(),
        })
    }

    fn account(&mut self, account: &AccountSettings) -> Option<Account> {
        let password = self.password("catalog.password_file", &account.password_file)?;
        Some(Account { role: account.role.clone(), password })
    }

    fn login(&mut self, login: &LoginSettings) -> Option<Login> {
        let who = self.who(&login.who);
        let password = self.password("login.from", &login.password_file);
        Some(Login { who: who?, role: login.role.clone(), password: password? })
    }

    fn password(&mut self, key: &str, path: &Path) -> Option<Secret> {
        let bytes = self.secret_file(key, path)?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = first.strip_suffix(b"\r").unwrap_or(first);
        let path = path.display();
        if first.is_empty() {
            self.fault(key, format!("`{path}` has an empty first line: the password goes there"));
            return None;
        }
        if first.len() > LONGEST_PASSWORD || first.contains(&0) {
            self.fault(key, format!("the first line of `{path}` is no password"));
            return None;
        }
        Some(Secret(first.to_vec()))
    }

    fn who(&mut self, who: &WhoSettings) -> Option<Who> {
        let user = match &who.user {
            None => None,
            Some(name) => {
                let uid = name.parse().ok().or_else(|| super::user(name).map(|(uid, _)| uid));
                if uid.is_none() {
                    self.fault("user", format!("there is no user `{name}` in /etc/passwd"));
                    return None;
                }
                uid
            }
        };
        Some(Who { exe: who.exe.clone(), unit: who.unit.clone(), user, cgroup: who.cgroup.clone() })
    }

    fn secret_file(&mut self, key: &str, path: &Path) -> Option<Vec<u8>> {
        match read_file(path) {
            Ok(bytes) => {
                let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
                if mode & 0o007 != 0 {
                    let path = path.display();
                    self.fault(
                        key,
                        format!("`{path}` can be read by everybody (mode {mode:04o}): `chmod 600 {path}`"),
                    );
                    return None;
                }
                Some(bytes)
            }
            Err(error) => {
                self.fault(key, cannot_read(path, &error));
                None
            }
        }
    }
}

/// Two words in double quotes; a quote within is doubled.
fn entry(line: &str) -> Result<(String, String), &'static str> {
    const FORM: &str = "write it as `\"role\" \"SCRAM-SHA-256$…\"`";
    let (role, rest) = quoted(line).ok_or(FORM)?;
    let (verifier, rest) = quoted(rest.trim_start()).ok_or(FORM)?;
    if !rest.trim().is_empty() || role.is_empty() {
        return Err(FORM);
    }
    if !verifier.starts_with("SCRAM-SHA-256$") {
        return Err("this is no SCRAM verifier: passwords and md5 hashes are not taken");
    }
    Ok((role, verifier))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let (before, after) = rest.split_once('"')?;
        word.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                word.push('"');
                rest = more;
            }
            None => return Some((word, after)),
        }
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("cannot read `{}`: {error}", path.display())
}

/// A whole regular file, up to a bound. A pipe would keep us waiting.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn anchors(roots: &[Der]) -> Vec<TrustAnchor<'static>> {
    roots
        .iter()
        .filter_map(|Der(der)| {
            let der = CertificateDer::from(der.as_slice());
            webpki::anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests;
