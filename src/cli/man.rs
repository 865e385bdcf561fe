//! `waltool man`: one manual page for the whole tool, from the arguments themselves.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, Context, Exit};

/// Print the manual page
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waltool man | man -l -
  waltool man > /usr/local/share/man/man1/waltool.1")]
pub struct ManArgs {}

pub fn run(_: &ManArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut out = context.out()?;
    out.text(page()?);
    out.finish()?;
    Ok(Exit::Done)
}

/// What roff needs before the first apostrophe; every section brings it along, and one is enough.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The page of the tool, with a section for each command in place of the list of them.
fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let mut page = roff(&command, &[Man::render_title, Man::render_name_section, Man::render_synopsis_section])?;
    page += &roff(&command, &[Man::render_description_section, Man::render_options_section])?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        page += &format!(".SH \"WALTOOL {}\"\n", command.get_name().to_uppercase());
        page += &section(command)?;
    }
    page += &roff(&command, &[Man::render_extra_section])?;
    Ok(format!("{PREAMBLE}{page}"))
}

/// A command's own page, its headings one level down, without the options that all commands have.
fn section(command: &clap::Command) -> io::Result<String> {
    let common = ["color", "help"];
    let command = command.clone().mut_args(|arg| {
        let hide = common.contains(&arg.get_id().as_str());
        arg.hide(hide)
    });
    let parts: [Part; 4] = [
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
        Man::render_extra_section,
    ];
    let own = roff(&command, &parts)?;
    Ok(own.lines().map(|line| line.replacen(".SH ", ".SS ", 1) + "\n").collect())
}

type Part = fn(&Man, &mut dyn Write) -> io::Result<()>;

fn roff(command: &clap::Command, parts: &[Part]) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    for part in parts {
        part(&man, &mut page)?;
    }
    Ok(String::from_utf8_lossy(&page).replace(PREAMBLE, ""))
}
