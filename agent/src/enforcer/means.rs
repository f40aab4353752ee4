//! What the sessions of a worker have in common: the terms in force, made
//! ready for use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::askings::Askings;
use super::cancels::Cancels;
use super::catalogs::Catalogs;
use super::hashing::Hashing;
use super::postgres::{Known, Understood};
use super::seats::Seats;
use super::tls::{ClientConfigs, Leaves};
use crate::audit::{Log, Subjects};
use crate::mask::HashKey;
use crate::model::{
    ActorKind, Der, DestinationTerms, Flow, Kind, Login, Passthrough, PolicyMode, PolicyTerms,
    Protocol, Terms, Verify, Who,
};
use crate::policy::{self, Layers, Set, Source, Stance};
use crate::sql::{Alike, Cache, Cell, cell};
use crate::wire::limits::Limits;
use crate::wire::postgres::session::{Common, Texts};

/// Of the whole process; every worker has a handle.
#[derive(Clone)]
pub struct Shared {
    pub leaves: Arc<Leaves>,
    pub common: Common,
    pub texts: Arc<Cache<Understood>>,
    pub alike: Arc<Alike>,
    pub subjects: Arc<Subjects>,
    /// Where everything is recorded; every session makes a connection of it.
    pub log: Log,
    pub rulings: Arc<policy::Cache>,
    pub catalogs: Arc<Catalogs>,
    pub cell: Arc<Cell>,
    pub hashing: Hashing,
    /// The statements that wait and may be cancelled.
    pub cancels: Cancels,
    /// Which processes of servers' have a session to themselves, as the settings say.
    pub seats: Seats,
    pub askings: Arc<Askings>,
}

/// Of one worker.
#[derive(Debug)]
pub struct Means {
    pub shared: Shared,
    pub issuer: Arc<[Der]>,
    destinations: HashMap<String, Arc<Destination>>,
    passthrough: Vec<Passthrough>,
    pub policies: Policies,
    /// The key of the marks that stand for masked values.
    pub marks: HashKey,
    /// For flows of a destination that the terms don't name (any more).
    fallback: Arc<Destination>,
}

/// The policies in force.
#[derive(Clone, Debug)]
pub struct Policies {
    pub set: Arc<Set>,
    mode: PolicyMode,
    /// Services that are no longer in shadow, by unit.
    enforced: Vec<String>,
}

/// One protected destination.
#[derive(Debug)]
pub struct Destination {
    pub terms: DestinationTerms,
    pub roots: Arc<RootCertStore>,
    /// Why there are none: a client certificate that can't be used.
    pub configs: Result<ClientConfigs, String>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub fn new() -> Result<Self, String> {
        let cell = Cell::start(cell::Settings { processes: true, ..Default::default() });
        let limits = Limits { chunk: CHUNK, ..Limits::default() };
        Ok(Self {
            leaves: Arc::new(Leaves::new().map_err(|error| error.to_string())?),
            common: Common { limits: Arc::new(limits), texts: Arc::new(Texts::default()) },
            texts: Arc::new(Cache::new(FACTS)),
            alike: Arc::default(),
            subjects: Arc::default(),
            log: Log::off(),
            rulings: Arc::new(policy::Cache::new(RULINGS)),
            catalogs: Arc::default(),
            cell: Arc::new(cell.map_err(|error| error.to_string())?),
            hashing: Hashing::start().map_err(|error| error.to_string())?,
            cancels: Cancels::default(),
            seats: Seats::default(),
            askings: Arc::default(),
        })
    }
}

impl Shared {
    /// What texts were found to be.
    pub fn known(&self) -> Known<'_> {
        Known { alike: &self.alike, subjects: &self.subjects, log: &self.log }
    }
}

impl Means {
    /// `before`: the policies in force until now. Those of the terms were checked
    /// before they came; should they be no good all the same, nothing changes.
    pub fn new(shared: Shared, terms: &Terms, before: Option<&Policies>) -> Result<Self, String> {
        let system = Arc::new(store(&terms.system_roots));
        let destinations = terms
            .destinations
            .iter()
            .map(|terms| (terms.name.clone(), Arc::new(Destination::new(terms.clone(), &system))))
            .collect();
        let nameless = DestinationTerms::named(String::new());
        let policies = match (Policies::load(&terms.policy), before) {
            (Ok(policies), _) => policies,
            (Err(why), Some(before)) => {
                tracing::error!("the policies are no good, and the ones before stay: {why}");
                before.clone()
            }
            (Err(why), None) => return Err(why),
        };
        shared.catalogs.correct(terms.generation, &terms.classes);
        Ok(Self {
            shared,
            issuer: terms.issuer.clone().into(),
            destinations,
            passthrough: terms.passthrough.clone(),
            policies,
            marks: HashKey::new(&terms.marks.0),
            fallback: Arc::new(Destination::new(nameless, &system)),
        })
    }

    pub fn destination(&self, flow: &Flow) -> &Arc<Destination> {
        self.destinations.get(&flow.rule).unwrap_or(&self.fallback)
    }

    pub fn destination_named(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.get(name)
    }

    /// Whether somebody has said by name that this one isn't read. An AI agent
    /// always is, and who couldn't be read in time may be one.
    pub fn passes(&self, flow: &Flow) -> bool {
        flow.actor.kind != Kind::Agent
            && flow.actor.was_read()
            && self.passthrough.iter().any(|rule| {
                rule.destination.as_ref().is_none_or(|name| *name == flow.rule)
                    && fits(&rule.who, flow)
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

    /// The role of ours that this workload logs in as.
    pub fn login(&self, flow: &Flow) -> Option<&Login> {
        self.terms.auth.logins.iter().find(|login| fits(&login.who, flow))
    }

    pub fn verify(&self) -> Verify {
        self.terms.tls.verify
    }
}

impl Policies {
    fn load(terms: &PolicyTerms) -> Result<Self, String> {
        let PolicyTerms { mode, bare, packs, own, enforced } = terms;
        let source = |(name, text): &(String, String)| Source {
            name: name.as_str().into(),
            text: text.as_str().into(),
        };
        let layers = match mode {
            // Nobody is refused anything, and nothing is decided.
            PolicyMode::Off => {
                let own = ("off".to_owned(), ANYTHING.to_owned());
                Layers { bare: true, packs: Vec::new(), own: vec![source(&own)] }
            }
            PolicyMode::Shadow | PolicyMode::Enforce => {
                Layers { bare: *bare, packs: packs.clone(), own: own.iter().map(source).collect() }
            }
        };
        let set = Set::load(&layers).map_err(|mistakes| mistakes.to_string())?;
        Ok(Self { set: Arc::new(set), mode: *mode, enforced: enforced.clone() })
    }

    /// Nothing is decided for anybody.
    pub fn is_off(&self) -> bool {
        self.mode == PolicyMode::Off
    }

    /// What becomes of what is decided about a workload of this kind, by its names.
    pub fn stance(&self, kind: ActorKind, names: &[String]) -> Stance {
        match self.mode {
            PolicyMode::Off | PolicyMode::Shadow => Stance::Shadow,
            PolicyMode::Enforce => {
                let enforced = self.enforced.iter().any(|name| names.contains(name));
                Stance::of(kind, enforced)
            }
        }
    }
}

/// Whether all that is asked of a process is so.
fn fits(who: &Who, flow: &Flow) -> bool {
    let Who { exe, unit, user, cgroup } = who;
    let process = &flow.process;
    let path = process.exe.as_ref().map(|path| path.to_string_lossy());
    let group = process.cgroup.as_deref().unwrap_or_default();
    let in_unit = |name: &String| units(group, *user).any(|unit| unit == name);
    let under = |wanted: &String| {
        let wanted = wanted.trim_end_matches('/');
        let rest = process.cgroup.as_deref().and_then(|group| group.strip_prefix(wanted));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    exe.as_ref().is_none_or(|exe| path.as_ref().is_some_and(|path| **path == **exe))
        && unit.as_ref().is_none_or(in_unit)
        && user.is_none_or(|user| process.uid == user)
        && cgroup.as_ref().is_none_or(under)
}

/// The slices and the unit that a cgroup lies in, as far as an administrator has named them:
/// what lies below a unit, its own processes may call as they like. So may a user below his
/// session manager: that counts where this very user is asked for.
fn units(group: &str, user: Option<u32>) -> impl Iterator<Item = &str> {
    let manager = user.map(|uid| format!("user@{uid}.service"));
    let mut below = false;
    group.split('/').filter(|part| !part.is_empty()).take_while(move |part| {
        let counts = !below;
        below |= !part.ends_with(".slice") && manager.as_deref() != Some(part);
        counts
    })
}

fn store(roots: &[Der]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    // A root that can't be read is one that nothing is trusted by.
    store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.0.as_slice())));
    store
}

const ANYTHING: &str = "@id(\"off\")\npermit (principal, action, resource);";
/// Rulings that are kept for all sessions.
const RULINGS: usize = 65_536;
/// What is read from a connection at once.
const CHUNK: usize = 64 * 1024;
/// Bytes of texts and facts that are kept for all sessions.
const FACTS: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
