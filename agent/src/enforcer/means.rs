//! What the sessions of a worker have in common: the terms in force, made
//! ready for use.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::hashing::Hashing;
use super::tls::{ClientConfigs, Leaves};
use crate::model::{Der, DestinationTerms, Flow, Passthrough, Protocol, Terms, Verify, Who};
use crate::sql::Cache;
use crate::wire::limits::Limits;
use crate::wire::postgres::session::{Common, Texts};

/// Of the whole process; every worker has a handle.
#[derive(Clone, Debug)]
pub struct Shared {
    pub leaves: Arc<Leaves>,
    pub common: Common,
    pub facts: Arc<Cache>,
    pub hashing: Hashing,
    /// Programs that leave when they are asked for a password in clear once
    /// SCRAM has begun, by their file: they are asked at once.
    pub asked_at_once: Arc<Mutex<HashSet<PathBuf>>>,
}

/// Of one worker.
#[derive(Debug)]
pub struct Means {
    pub shared: Shared,
    pub issuer: Arc<[Der]>,
    destinations: HashMap<String, Arc<Destination>>,
    passthrough: Vec<Passthrough>,
    /// For flows of a destination that the terms don't name (any more).
    fallback: Arc<Destination>,
}

/// One protected destination.
#[derive(Debug)]
pub struct Destination {
    pub terms: DestinationTerms,
    pub roots: Arc<RootCertStore>,
    /// Why there are none: a client certificate that can't be used.
    pub configs: Result<ClientConfigs, String>,
}

impl Shared {
    pub fn new() -> Result<Self, String> {
        let limits = Limits { chunk: CHUNK, ..Limits::default() };
        Ok(Self {
            leaves: Arc::new(Leaves::new().map_err(|error| error.to_string())?),
            common: Common { limits: Arc::new(limits), texts: Arc::new(Texts::default()) },
            facts: Arc::new(Cache::new(FACTS)),
            hashing: Hashing::start().map_err(|error| error.to_string())?,
            asked_at_once: Arc::default(),
        })
    }
}

impl Means {
    pub fn new(shared: Shared, terms: &Terms) -> Self {
        let system = Arc::new(store(&terms.system_roots));
        let destinations = terms
            .destinations
            .iter()
            .map(|terms| {
                (terms.name.clone(), Arc::new(Destination::new(terms.clone(), &system)))
            })
            .collect();
        let nameless = DestinationTerms::named(String::new());
        Self {
            shared,
            issuer: terms.issuer.clone().into(),
            destinations,
            passthrough: terms.passthrough.clone(),
            fallback: Arc::new(Destination::new(nameless, &system)),
        }
    }

    pub fn destination(&self, flow: &Flow) -> &Arc<Destination> {
        self.destinations.get(&flow.rule).unwrap_or(&self.fallback)
    }

    /// Whether somebody has said by name that this one isn't read.
    pub fn passes(&self, flow: &Flow) -> bool {
        self.passthrough.iter().any(|rule| {
            rule.destination.as_ref().is_none_or(|name| *name == flow.rule) && fits(&rule.who, flow)
        })
    }
}

impl Destination {
    fn new(terms: DestinationTerms, system: &Arc<RootCertStore>) -> Self {
        let roots = match &terms.tls.roots {
            None => Arc::clone(system),
            Some(roots) => Arc::new(store(roots)),
        };
        let configs = ClientConfigs::new(terms.tls.client.as_ref()).map_err(|e| e.to_string());
        Self { terms, roots, configs }
    }

    /// The names that a leaf may bear where nothing was verified.
    pub fn configured_names(&self, address: IpAddr) -> Vec<String> {
        let named = self.terms.tls.server_name.clone();
        named.into_iter().chain([address.to_string()]).collect()
    }

    pub fn is_read(&self) -> bool {
        self.terms.protocol == Protocol::Postgres
    }

    pub fn verify(&self) -> Verify {
        self.terms.tls.verify
    }
}

/// Whether all that is asked of a process is so.
pub fn fits(who: &Who, flow: &Flow) -> bool {
    let Who { exe, unit, user, cgroup } = who;
    let process = &flow.process;
    let path = process.exe.as_ref().map(|path| path.to_string_lossy());
    let group = process.cgroup.as_deref().unwrap_or_default();
    let in_unit = |unit: &String| group.split('/').any(|part| part == unit);
    let under = |wanted: &String| {
        let wanted = wanted.trim_end_matches('/');
        group.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    exe.as_ref().is_none_or(|exe| path.as_ref().is_some_and(|path| **path == **exe))
        && unit.as_ref().is_none_or(in_unit)
        && user.is_none_or(|user| process.uid == user)
        && cgroup.as_ref().is_none_or(under)
}

fn store(roots: &[Der]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    // A root that can't be read is one that nothing is trusted by.
    store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.0.as_slice())));
    store
}

/// What is read from a connection at once.
const CHUNK: usize = 64 * 1024;
/// Bytes of texts and facts that are kept for all sessions.
const FACTS: usize = 64 * 1024 * 1024;
