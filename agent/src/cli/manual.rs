//! `tidegate completions` and `tidegate man`.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::output;

/// Prints a shell's completions
///
/// For bash: tidegate completions bash > /etc/bash_completion.d/tidegate
#[derive(Debug, Args)]
pub struct Completions {
    shell: Shell,
}

/// Prints the manual as a man page, with every command
///
/// To read it: tidegate man | man -l -
#[derive(Debug, Args)]
pub struct Man {}

impl Completions {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::arguments(), "tidegate", &mut text);
        print(&text)
    }
}

impl Man {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        print(&page()?)
    }
}

/// One page: the command's own, then a section for each of its commands.
pub(super) fn page() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let mut command = super::arguments();
    command.build();
    let main = clap_mangen::Man::new(command.clone());
    main.render_title(&mut text)?;
    main.render_name_section(&mut text)?;
    main.render_synopsis_section(&mut text)?;
    main.render_description_section(&mut text)?;
    main.render_options_section(&mut text)?;
    for inner in command.get_subcommands() {
        section(&mut text, inner, "TIDEGATE")?;
    }
    main.render_extra_section(&mut text)?;
    main.render_version_section(&mut text)?;
    Ok(text)
}

/// A command's section, and those of the commands within it.
fn section(text: &mut Vec<u8>, command: &clap::Command, above: &str) -> Result<(), Failure> {
    if command.is_hide_set() || command.get_name() == "help" {
        return Ok(());
    }
    let name = format!("{above} {}", command.get_name().to_uppercase());
    writeln!(text, ".SH \"{name}\"")?;
    let page = clap_mangen::Man::new(command.clone());
    let mut part = Vec::new();
    page.render_synopsis_section(&mut part)?;
    page.render_description_section(&mut part)?;
    page.render_options_section(&mut part)?;
    // The inner page's sections are parts of this one's.
    text.extend(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").into_bytes());
    for inner in command.get_subcommands() {
        section(text, inner, &name)?;
    }
    Ok(())
}

fn print(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = output::stdout();
    out.write_all(text)?;
    out.flush()?;
    Ok(Exit::Ok)
}
