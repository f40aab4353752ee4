//! How a command reaches the running agent.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::output::safe;
use crate::config::{self, Overrides, Settings};
use crate::control::{Answer, Client, Order};

#[derive(Debug, Args)]
#[command(next_help_heading = "Agent")]
pub struct Reach {
    /// The agent's control socket [default: the settings']
    #[arg(long, value_name = "PATH", env = "TIDEGATE_CONTROL", hide_env_values = true)]
    pub control: Option<PathBuf>,
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
}

impl Reach {
    /// The control socket: as named, else as the settings say. Settings with a
    /// mistake don't keep anybody from asking how the agent is.
    pub fn path(&self) -> PathBuf {
        if let Some(path) = &self.control {
            return path.clone();
        }
        match config::resolve(self.config.as_deref(), Overrides::default()) {
            Ok(settings) => settings.control,
            Err(mistakes) => {
                let path = Settings::default().control;
                super::say(&format!("{mistakes}\nusing the control socket {}", path.display()));
                path
            }
        }
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.path())?)
    }

    /// Gives an order that is answered with words, and passes them on.
    pub fn order(&self, order: &Order) -> Result<Exit, Failure> {
        for answer in self.client()?.ask(order)? {
            match answer? {
                Answer::Done { message } => {
                    for line in message.lines() {
                        super::say(&safe(line));
                    }
                }
                other => return Err(unexpected(other)),
            }
        }
        Ok(Exit::Ok)
    }
}

/// An answer that ends the command: the agent's refusal, or none of the kind
/// that was asked for.
pub fn unexpected(answer: Answer) -> Failure {
    match answer {
        Answer::Failed { error } => Failure::text(Exit::Failed, error),
        Answer::Denied { error } => Failure::text(Exit::Denied, error),
        _ => Failure::text(
            Exit::Failed,
            "the agent gave an answer of another kind: are both of one version?",
        ),
    }
}
