//! `tidegate policy explain`: one statement, and all that is made of it.

mod shown;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use self::shown::{Known, Shown, shown};
use super::{page, running};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{self, Format, Page};
use crate::config::{self, Overrides, Settings};
use crate::mask::{Corrections, holds_dots};
use crate::model::{ActorKind, Principal, Timestamp, Trace};
use crate::policy::catalog::supposed_code;
use crate::policy::trial::named_group;
use crate::policy::vocabulary::Action;
use crate::policy::{
    Circumstances, Layers, NoCatalog, Question, Scene, Set, Source, Stance, Subject, Supposed,
    Target, Transaction, Verdict, Why,
};
use crate::sql::facts::Setting;
use crate::sql::{Cell, Facts, LexingState, cell, constants};

/// Says what a statement does, whether it may run, by which policies, and what of its
/// result is masked
///
/// What is refused at its login is told so, whatever its statement is. It exits with 0
/// if the statement may run, 3 if it is refused and 4 if it waits for an approval. The policies are those of the settings, unless others are named. Nothing
/// is run, and no database is asked: what a column holds is told by its name, by
/// `--masked` and by what `tidegate classify set` has kept, and what of somebody's own a
/// name may mean by `--code`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The statement; several, divided by `;`, are one request
    sql: String,
    /// Who asks: a kind of workload (terminal, agent, notebook, pipeline, service,
    /// unplaced), or an executable's path
    #[arg(long = "as", value_name = "WHO", default_value = "unplaced")]
    who: String,
    /// The person behind it
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// A group it is in, as KIND:NAME (unit, container, namespace, service_account,
    /// team, group); may be given several times
    #[arg(long = "group", value_name = "KIND:NAME")]
    groups: Vec<String>,
    /// The database, as SERVER/DATABASE or DATABASE
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    db: String,
    /// The destination's label; without one it counts as production
    #[arg(long, value_name = "LABEL")]
    env: Option<String>,
    /// The database's role
    #[arg(long, value_name = "NAME", default_value = "app")]
    role: String,
    /// The session's search_path
    #[arg(long, value_name = "PATH")]
    search_path: Option<String>,
    /// Where the transaction stands: idle, open, failed, pipeline
    #[arg(long, value_name = "STATE", default_value = "idle")]
    transaction: Transaction,
    /// A column that is masked for it, as TABLE.COLUMN or SCHEMA.TABLE.COLUMN; may be
    /// given several times
    #[arg(long = "masked", value_name = "COLUMN")]
    masked: Vec<String>,
    /// A function or an operator that somebody has made under a name of the server's, or a
    /// type that runs code, as NAME or SCHEMA.NAME; may be given several times
    #[arg(long = "code", value_name = "NAME")]
    code: Vec<String>,
    /// As if a value bound to the statement, or the data of its COPY, held what a mask
    /// wrote; what stands in its text is seen
    #[arg(long)]
    carries_masked: bool,
    /// As if the workload were enforced: services are in shadow else
    #[arg(long)]
    enforced: bool,
    /// The settings file, whose policies are explained where none are named here
    /// [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Files of policies, or folders of them, instead of the settings'; may be given
    /// several times
    #[arg(long = "policies", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A pack to lay over the default policies; may be given several times
    #[arg(long = "pack", value_name = "NAME")]
    packs: Vec<String>,
    /// Without the default policies
    #[arg(long)]
    bare: bool,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
}

/// Everything that is told.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    pub schema: u32,
    pub verdict: &'static str,
    /// In shadow: what would have been.
    pub would: Option<&'static str>,
    pub message: Option<String>,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub approvers: Vec<String>,
    pub actor: Principal,
    pub server: String,
    pub database: String,
    pub environment: String,
    pub labelled: bool,
    pub generation: String,
    pub policies: usize,
    pub asked: Vec<Asked>,
    pub decided_by: Vec<Decided>,
    pub flags: Vec<Decided>,
    pub shown: Vec<Shown>,
    pub facts: Arc<Facts>,
}

#[derive(Debug, Serialize)]
pub(super) struct Asked {
    pub action: String,
    pub thing: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Decided {
    pub policy: Option<String>,
    pub place: Option<String>,
    pub severity: Option<String>,
    pub reason: String,
    pub action: Option<String>,
    pub thing: Option<String>,
}

const SCHEMA: u32 = 2;

impl Explain {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let settings = self.settings()?;
        let set = self.set(&settings)?;
        let cell = Cell::start(cell::Settings::default())?;
        let explanation = self.explain(&set, &settings, &cell, Timestamp::now())?;
        match self.output {
            Format::Table | Format::Wide => {
                let wide = self.output == Format::Wide;
                page::explanation(&explanation, wide, &mut output::stdout(), Page::of_stdout())?;
            }
            form => output::document(form, &explanation)?,
        }
        Ok(match explanation.verdict {
            "refuse" => Exit::Denied,
            "hold" => Exit::Waiting,
            _ => Exit::Ok,
        })
    }

    fn actor(&self) -> Result<Principal, Failure> {
        let path = self.who.starts_with('/');
        let kind = if path { Ok(ActorKind::Unplaced) } else { self.who.parse() };
        let usage = |error: String| Failure::text(Exit::Usage, error);
        let kind: ActorKind =
            kind.map_err(|error| usage(format!("{error}, or an executable's whole path")))?;
        let groups = self.groups.iter().map(|group| named_group(group));
        Ok(Principal {
            kind,
            workload: self.who.clone(),
            person: self.person.clone(),
            user: None,
            program: path.then(|| self.who.clone()),
            groups: groups.collect::<Result<_, _>>().map_err(usage)?,
        })
    }

    /// As they are for an agent on this host. What can't be read is said, and left out.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = config::resolve(self.config.as_deref(), Overrides::default())?;
        if let Err(failure) = running::complete(&mut settings.policy) {
            if self.names_policies() {
                return Ok(settings);
            }
            return Err(failure);
        }
        if let Err(failure) = crate::cli::classify::complete(&mut settings.classes) {
            crate::cli::say(&format!("without what was said of columns: {failure}"));
        }
        Ok(settings)
    }

    fn names_policies(&self) -> bool {
        !self.paths.is_empty() || !self.packs.is_empty() || self.bare
    }

    /// The policies named here, else the host's own.
    pub(super) fn set(&self, settings: &Settings) -> Result<Set, Failure> {
        if self.names_policies() {
            let (paths, packs) = (self.paths.clone(), self.packs.clone());
            return super::Over { paths, packs, bare: self.bare }.set();
        }
        let policy = &settings.policy;
        let source = |(name, text): &(String, String)| Source {
            name: name.as_str().into(),
            text: text.as_str().into(),
        };
        Ok(Set::load(&Layers {
            bare: policy.bare,
            packs: policy.packs.clone(),
            own: policy.sources.iter().map(source).collect(),
        })?)
    }

    pub(super) fn explain(
        &self,
        set: &Set,
        settings: &Settings,
        cell: &Cell,
        now: Timestamp,
    ) -> Result<Explanation, Failure> {
        let actor = self.actor()?;
        let (server, database) = self.db.rsplit_once('/').unwrap_or(("db", &self.db));
        let target = Target {
            server: server.into(),
            environment: self.env.clone(),
            database: database.into(),
            role: self.role.as_str().into(),
            search_path: self.search_path.as_deref().map(Into::into),
            anywhere: false,
            temporary: Vec::new(),
        };
        let state =
            LexingState { search_path: target.search_path.clone(), ..LexingState::default() };
        let facts = Arc::new(cell.read(self.sql.as_bytes(), &state));
        let target = where_it_leads(&facts, target);
        let stance = Stance::of(actor.kind, self.enforced);
        let subject = Subject::new(actor.clone());
        let scene = Scene::new(target);
        let written = constants(self.sql.as_bytes(), state.strings);
        let circumstances = Circumstances {
            transaction: self.transaction,
            carries: match self.carries_masked {
                true => Trace::Certain,
                false => written.map(|one| holds_dots(&one, true)).max().unwrap_or_default(),
            },
            ..Circumstances::new(now)
        };
        let corrections = Corrections::of(0, &settings.classes.words, Some(server), database)
            .map_err(|error| Failure::text(Exit::Usage, error))?;
        if let Some(alone) = self.masked.iter().find(|path| !path.contains('.')) {
            let error = format!("`{alone}` names no table: write TABLE.COLUMN");
            return Err(Failure::text(Exit::Usage, error));
        }
        let known = Known { masked: &self.masked, corrections };
        let question = Question {
            subject: &subject,
            scene: &scene,
            facts: &facts,
            prepared: &[],
            circumstances,
            catalog: &NoCatalog,
        };
        let masked = known.masked_for(set, &question);
        let code = &supposed_code(&self.code);
        let question =
            Question { catalog: &Supposed { masked: &masked, scanned: &[], code }, ..question };
        let verdict = set.decide(&question, stance);
        let ruling = Arc::clone(verdict.ruling());
        let session = set.connect(&subject, &scene, &Circumstances::new(now));
        let turned_away = !session.allows() && stance == Stance::Enforced;
        let words = match &verdict {
            _ if turned_away => Some(session.words()),
            Verdict::Refuse(refusal) => Some(refusal.words()),
            Verdict::Hold(hold) => Some(hold.words()),
            Verdict::Allow(_) if !session.allows() => Some(session.words()),
            Verdict::Allow(_) => (!ruling.allows()).then(|| ruling.words()),
        };
        let would = match &verdict {
            _ if turned_away => None,
            Verdict::Allow(_) if !session.allows() => Some("would_refuse"),
            Verdict::Allow(permit) => permit.would(),
            _ => None,
        };
        let login = (Action::Connect, "the database".to_owned());
        let asked = std::iter::once(login).chain(set.asked(&question));
        // No approval is for a login.
        let approvers = ruling.approvers().filter(|_| !turned_away).unwrap_or_default();
        let of_statement = set.ruling_on_each(&question);
        let causes = session.causes.iter().chain(&of_statement.causes);
        Ok(Explanation {
            schema: SCHEMA,
            verdict: if turned_away { "refuse" } else { verdict.as_str() },
            would,
            message: words.as_ref().map(|words| words.message.clone()),
            detail: words.as_ref().and_then(|words| words.detail.clone()),
            hint: words.and_then(|words| words.hint),
            approvers: approvers.into_iter().map(Into::into).collect(),
            actor,
            server: server.into(),
            database: database.into(),
            environment: scene.environment().into(),
            labelled: self.env.is_some(),
            generation: set.generation().to_string(),
            policies: set.policies().len(),
            asked: asked
                .map(|(action, thing)| Asked { action: action.to_string(), thing })
                .collect(),
            decided_by: causes.map(Decided::by_cause).collect(),
            flags: ruling.flags.iter().map(|policy| Decided::by_policy(policy)).collect(),
            shown: shown(set, &question, &known, stance == Stance::Shadow),
            facts: Arc::clone(&facts),
        })
    }
}

impl Decided {
    fn by_policy(policy: &crate::policy::Policy) -> Self {
        Self {
            policy: Some(policy.id.to_string()),
            place: Some(policy.place.to_string()),
            severity: policy.severity.as_deref().map(Into::into),
            reason: policy.reason.as_deref().unwrap_or("no reason is given").into(),
            action: None,
            thing: None,
        }
    }

    fn by_cause(cause: &crate::policy::Cause) -> Self {
        let by = |reason: &str| Self {
            policy: None,
            place: None,
            severity: None,
            reason: reason.into(),
            action: None,
            thing: None,
        };
        let decided = match &cause.why {
            Why::Forbidden(policy) => Self::by_policy(policy),
            Why::NotPermitted => by("no policy permits it"),
            Why::Unknown(policy, _) => Self::by_policy(policy),
            Why::Failed(error) => by(error),
            Why::TooMuch => by("it touches too many things at once"),
        };
        Self { action: Some(cause.action.to_string()), thing: Some(cause.thing.clone()), ..decided }
    }
}

/// A text that sets the path on its way: a name behind that means either.
fn where_it_leads(facts: &Facts, mut target: Target) -> Target {
    if facts.running().count() < 2 {
        return target;
    }
    for effect in facts.session().filter(|one| matches!(&*one.setting, "search_path" | "*")) {
        let path = target.search_path.as_deref().unwrap_or("\"$user\", public");
        match &effect.value {
            Setting::To(set) => target.search_path = Some(format!("{set}, {path}").into()),
            Setting::Default => {}
            Setting::Dynamic => target.anywhere = true,
        }
    }
    target
}
