//! `waltool formats`: what is understood.

use comfy_table::{ContentArrangement, Table, presets};
use waltool::format::Format;
use waltool::formats::FORMATS;

use super::{Context, Exit};
use crate::print::json;

/// List the formats that are understood
#[derive(clap::Args)]
pub struct FormatsArgs {
    /// One JSON object a format
    #[arg(long)]
    json: bool,
}

/// What can be done with a log of a format.
fn verbs(format: &dyn Format) -> &'static [&'static str] {
    match format.name() {
        "native" => &["dump", "verify", "copy", "repair", "replay", "load"],
        _ => &["dump", "verify", "copy", "repair", "replay"],
    }
}

pub fn run(args: &FormatsArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut out = context.out()?;
    if args.json {
        for format in FORMATS {
            json::format(*format, verbs(*format), &mut out);
        }
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["name", "what it is", "verbs", "checksum", "recognised by"]);
        if let Some(width) = context.look.width {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width as u16);
        }
        for format in FORMATS {
            let verbs = verbs(*format).join(" ");
            let row = [format.name(), format.about(), &verbs, format.checksum(), format.recognised_by()];
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.to_string().lines() {
            out.line(line.trim_end());
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}
