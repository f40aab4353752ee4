//! `tidegate ca init` and `tidegate ca rotate`.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Report, failure, none, page};
use crate::cli::exit::{Exit, Failure};
use crate::cli::say;
use crate::config::Settings;
use crate::keeper::ca::{self, DAYS, Made, Permit, Plan, Scope};

/// Makes a CA for this host
///
/// It is this host's own, signs servers' certificates only, and only for the
/// protected destinations' host names and networks and those permitted here.
/// Its key is readable by root alone. Where there is a CA, `rotate` replaces it.
#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    kind: Kind,
    #[command(flatten)]
    common: Common,
}

/// Makes a new CA in the place of the old one
///
/// The old one's certificate stays among those that `tidegate ca trust` gives
/// out until it expires. The running agent signs with the old one until
/// `tidegate reload`: give the new one out before that.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    kind: Kind,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Kind {
    /// The CA's name [default: tidegate, the host's name and something random]
    #[arg(long, value_name = "NAME")]
    cn: Option<String>,
    /// For how many days it is good
    #[arg(long, value_name = "DAYS", default_value_t = DAYS)]
    days: u32,
    /// Permit this host name, with all below it, or this network too; several
    /// times for more
    #[arg(long, value_name = "NAME|CIDR", value_parser = Permit::parse)]
    permit: Vec<Permit>,
    /// Permit every name: needed where a destination is just a port
    #[arg(long, conflicts_with = "permit")]
    unconstrained: bool,
    /// Use a company's intermediate instead: its certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "from_key")]
    #[arg(conflicts_with_all = ["cn", "days", "permit", "unconstrained"])]
    from_cert: Option<PathBuf>,
    /// The intermediate's key, as PEM and not encrypted
    #[arg(long, value_name = "FILE", requires = "from_cert")]
    from_key: Option<PathBuf>,
    /// What stands between the intermediate and its root, as PEM
    #[arg(long, value_name = "FILE", requires = "from_cert")]
    chain: Option<PathBuf>,
}

impl Init {
    pub(super) fn carry_out(self) -> Result<Exit, Failure> {
        let settings = self.common.settings()?;
        let made = self.kind.make(&settings)?;
        ca::write(&made, &settings.ca).map_err(failure)?;
        tell(&self.common, &settings)?;
        say(
            "next: `tidegate reload` if the agent runs; `tidegate ca trust` for clients that verify",
        );
        Ok(Exit::Ok)
    }
}

impl Rotate {
    pub(super) fn carry_out(self) -> Result<Exit, Failure> {
        let settings = self.common.settings()?;
        if ca::public(&settings.ca).map_err(failure)?.is_none() {
            return Err(none(&settings.ca));
        }
        let made = self.kind.make(&settings)?;
        ca::replace(&made, &settings.ca).map_err(failure)?;
        tell(&self.common, &settings)?;
        say("next: 1. `tidegate ca trust`, and give its files to all who had the old ones; \
             2. then `tidegate reload`: until then the agent signs with the old CA");
        Ok(Exit::Ok)
    }
}

impl Kind {
    fn make(self, settings: &Settings) -> Result<Made, Failure> {
        if let (Some(certificate), Some(key)) = (&self.from_cert, &self.from_key) {
            return ca::import(certificate, key, self.chain.as_deref()).map_err(failure);
        }
        let Scope { mut permits, nameless } = Scope::of(settings);
        if self.unconstrained {
            permits.clear();
        } else if self.permit.is_empty() && !nameless.is_empty() {
            return Err(Failure::text(
                Exit::Usage,
                format!(
                    "`{}` names no host, so that the CA's names aren't known: give those of the \
                     databases (`--permit db.example`, `--permit 10.0.0.0/8`), or \
                     `--unconstrained` for a CA that may sign any name",
                    nameless.join("`, `")
                ),
            ));
        } else if self.permit.is_empty() && permits.is_empty() {
            return Err(Failure::text(
                Exit::Usage,
                "no protected destination is read, so that the CA's names aren't known: give \
                 `--permit`, or `--unconstrained`",
            ));
        } else {
            permits.extend(self.permit);
            permits.sort();
            permits.dedup();
        }
        ca::make(&Plan { name: self.cn, days: self.days, permits }).map_err(failure)
    }
}

fn tell(common: &Common, settings: &Settings) -> Result<(), Failure> {
    let report = Report::of(settings)?.ok_or_else(|| none(&settings.ca))?;
    common.tell(&report, |out, page, _| page::report(out, page, &report))
}
