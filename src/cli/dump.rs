//! `waltool dump`: every record of a log, and every damage between them.

use waltool::format::Format;
use waltool::report::Report;
use waltool::scan::Scan;
use waltool::{Error, Log, shown};

use super::select::{self, Bound, Meter, Selection};
use super::{Context, Exit, LogArg, message, time};
use crate::print::{Out, Spans, json, quoted, text};

/// Print every record of a log
///
/// Damage does not end it: each damage is a line of its own, and the records behind it are marked `beyond_damage`. The
/// exit code is 0 when all was printed, whatever state the log is in; `--strict` asks for that of the verdict.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DumpArgs {
    #[command(flatten)]
    input: LogArg,
    /// One JSON object a line, payloads in hexadecimal
    #[arg(long, conflicts_with_all = ["hex", "raw"])]
    json: bool,
    /// Show each payload as a panel of hexadecimal and characters
    #[arg(long, conflicts_with = "raw")]
    hex: bool,
    /// Payloads only, byte for byte
    #[arg(long, conflicts_with = "spans")]
    raw: bool,
    /// Leave the payload out of `--json`
    #[arg(long, requires = "json", conflicts_with_all = ["hex", "raw"])]
    no_payload: bool,
    /// Begin at this position of the format, or at the byte @OFFSET
    #[arg(long, value_name = "POS", conflicts_with = "since")]
    from: Option<String>,
    /// End with this position, or with the byte @OFFSET
    #[arg(long, value_name = "POS", conflicts_with = "until")]
    to: Option<String>,
    /// Only transactions committed at this time or later; UTC unless it says otherwise
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<u64>,
    /// Only transactions committed at this time or before
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<u64>,
    /// Only records of this kind; may be given several times
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// At most so many records
    #[arg(long, value_name = "N", conflicts_with = "tail")]
    limit: Option<u64>,
    /// Only the last N of the records that the other options select
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Every byte of the log: fill, stale and unwritten bytes too
    #[arg(long)]
    spans: bool,
    /// Exit with the code of the verdict
    #[arg(long)]
    strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  waltool dump app.db-wal
  waltool dump --json --no-payload --tail 100 app.db-wal | jq .offset
  waltool dump --hex --from @34336 --limit 1 app.db-wal
  waltool dump --since '2026-11-20 02:00' --until 2026-11-20T02:10:00Z metrics.wal";

pub fn run(args: &DumpArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.raw && context.terminal {
        let path = quoted(&args.input.log);
        let why =
            format!("--raw writes bytes that a terminal would obey; redirect it: waltool dump --raw {path} > FILE");
        return Err(Error::Usage(why).into());
    }
    let mut begun = false;
    context.settled(|| {
        let dumped = dump(args, context, &mut begun);
        // What is printed cannot be taken back.
        if begun { Ok(dumped) } else { dumped.map(Ok) }
    })?
}

/// Prints a log. `begun` becomes true before the first of it is printed.
fn dump(args: &DumpArgs, context: &Context, begun: &mut bool) -> anyhow::Result<Exit> {
    let log = context.open(&args.input.log, args.input.format.format)?;
    let selection = selection(args, &log, context)?;
    let mut printer: Box<dyn Spans> = match args {
        DumpArgs { json: true, .. } => Box::new(json::Lines::new(&log, !args.no_payload)),
        DumpArgs { raw: true, .. } => Box::new(text::Raw),
        _ => Box::new(text::Rows::new(&log, context.look, args.hex)),
    };
    let mut dump = Dump { log: &log, selection, printer: &mut *printer, begun, report: None };
    dump.report = args.strict.then(|| Report::new(log.format()));
    let mut out = context.out()?;
    let read = dump.stream(&mut out, context);
    // What was read before an error is worth having.
    out.finish()?;
    read?;
    if dump.selection.beyond() && !(args.json || args.raw) {
        let path = &args.input.log;
        message::warn(format_args!("{}: not all of it is intact; see: waltool verify {}", shown(path), quoted(path)));
    }
    Ok(dump.report.map_or(Exit::Done, |report| report.verdict().into()))
}

/// The scan on its way through the selection to the printer.
struct Dump<'l, 'p> {
    log: &'l Log,
    selection: Selection,
    printer: &'p mut dyn Spans,
    begun: &'p mut bool,
    /// For `--strict`, which reads the log to its end.
    report: Option<Report>,
}

impl Dump<'_, '_> {
    fn stream(&mut self, out: &mut Out, context: &Context) -> anyhow::Result<()> {
        let Self { log, selection, printer, begun, report } = self;
        let progress = context.progress(|| if context.terminal { 0 } else { log.bytes().unwrap_or(0) });
        let (mut listener, mut meter) = (progress.listener(), Meter::default());
        let mut scan = Scan::new(log);
        let mut begin = |printer: &mut dyn Spans, out: &mut Out| {
            if !std::mem::replace(*begun, true) {
                printer.begin(out);
            }
        };
        while !selection.done() || report.is_some() {
            let Some(found) = scan.next()? else { break };
            begin(&mut **printer, out);
            if let Some(report) = report {
                report.add(&found);
            }
            listener(meter.add(&found.span));
            selection.take(&found, log.format(), |found, beyond| printer.span(found, beyond, out));
            out.settle()?;
        }
        begin(&mut **printer, out);
        selection.end(&mut |found, beyond| printer.span(found, beyond, out));
        if let Some(report) = report {
            report.finish();
        }
        Ok(())
    }
}

/// What the arguments select, as far as that takes another reading of the log beforehand.
fn selection(args: &DumpArgs, log: &Log, context: &Context) -> anyhow::Result<Selection> {
    let mut selection = Selection::all();
    let bound = |text: &Option<String>| text.as_deref().map(|text| Bound::parse(text, log)).transpose();
    selection.from = bound(&args.from)?;
    selection.to = bound(&args.to)?;
    selection.kinds = kinds(&args.kind, log.format())?;
    selection.limit = args.limit.unwrap_or(u64::MAX);
    selection.spans = args.spans;
    if args.since.is_some() || args.until.is_some() {
        twice(log, "--since and --until")?;
        narrow(&mut selection, args, log, context)?;
    }
    if let Some(tail) = args.tail {
        twice(log, "--tail")?;
        let progress = context.progress(|| log.bytes().unwrap_or(0));
        let count = select::count(log, selection.clone(), progress.listener())?;
        selection.skip = count.saturating_sub(tail);
        selection.limit = tail.min(count);
        selection.to_end = tail > 0;
    }
    Ok(selection)
}

fn narrow(selection: &mut Selection, args: &DumpArgs, log: &Log, context: &Context) -> anyhow::Result<()> {
    if !log.format().has_time() {
        let why = format!("{} commits carry no time; select with --from and --to", log.format().name());
        return Err(Error::Usage(why).into());
    }
    let progress = context.progress(|| log.bytes().unwrap_or(0));
    let (since, until) = (args.since.unwrap_or(0), args.until.unwrap_or(u64::MAX));
    match select::between(log, since, until, progress.listener())? {
        Some((from, to)) => {
            selection.from = args.since.map_or(selection.from, |_| Some(from));
            selection.to = args.until.map_or(selection.to, |_| Some(to));
        }
        None => selection.limit = 0,
    }
    Ok(())
}

fn twice(log: &Log, option: &str) -> Result<(), Error> {
    if log.is_stream() {
        return Err(Error::Usage(format!(
            "{option} must read the log twice, and standard input can be read only once"
        )));
    }
    Ok(())
}

fn kinds(wanted: &[String], format: &dyn Format) -> Result<Vec<String>, Error> {
    for kind in wanted {
        if !format.kinds().contains(&kind.as_str()) {
            let all = format.kinds().join(", ");
            let kind = waltool::Shown(kind.as_bytes());
            return Err(Error::Usage(format!("{} has no records of kind {kind}; there are: {all}", format.name())));
        }
    }
    Ok(wanted.to_vec())
}
