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
    out.put(&page()?);
    out.finish()?;
    Ok(Exit::Done)
}

/// The page of the tool, with a section for each command in place of the list of them.
fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(command, &mut page)?;
    }
    man.render_extra_section(&mut page)?;
    Ok(page)
}

/// A command's own page, its headings one level down.
fn section(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut own = Vec::new();
    man.render_synopsis_section(&mut own)?;
    man.render_description_section(&mut own)?;
    man.render_options_section(&mut own)?;
    man.render_extra_section(&mut own)?;
    writeln!(page, ".SH \"WALTOOL {}\"", command.get_name().to_uppercase())?;
    let text = String::from_utf8_lossy(&own).replace("\n.SH ", "\n.SS ");
    let text = text.strip_prefix(".SH ").map_or_else(|| text.clone(), |rest| format!(".SS {rest}"));
    page.write_all(text.as_bytes())
}
