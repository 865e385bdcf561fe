//! Measures durable appends of waltool beside those of other write-ahead logs, in one run. README.md says what and how.

mod contestants;
mod figure;
mod measure;
mod place;
mod random;
mod rounds;
mod table;

use std::env;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;

use contestants::{ALL, Contestant, Promise};
use measure::Effort;
use random::Random;
use rounds::Run;

/// Measures durable appends of waltool beside those of other write-ahead logs, on the file system of TMPDIR
#[derive(Parser)]
struct Args {
    /// Only these contestants
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Threads that append durably [default: 1,4,16,64]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Rounds, whose medians are shown [default: 7]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds of one measurement [default: 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// Records in the logs that are read [default: 500000]
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Of the order in which contestants take turns [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// A few seconds in all, to see that everything runs; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Measures nothing: each contestant makes so many durable appends on one thread, for strace to count their syncs
    #[arg(long, value_name = "N")]
    appends: Option<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let contestants = args.contestants()?;
    if let Some(appends) = args.appends {
        return append(&contestants, appends);
    }
    let scheduled = place::schedule();
    let threads = args.threads()?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 7 });
    ensure!(rounds > 0, "no rounds, no medians");
    let effort = args.effort()?;
    let seed = args.seed.unwrap_or_else(random_seed);

    println!("{}; {scheduled}", place::describe(&env::temp_dir())?);
    println!("{rounds} rounds of {:?}, order by seed {seed}, records of {} bytes\n", effort.span, figure::RECORD_LEN);
    let run = Run { contestants: &contestants, threads: &threads, rounds, effort, random: Random::new(seed) };
    let results = run.measure()?;

    let names: Vec<&str> = contestants.iter().map(|contestant| contestant.name()).collect();
    println!("{}", table::medians(&results, &names));
    match table::comparisons(&results) {
        none if none.is_empty() => println!("Nothing to compare: waltool, or everybody else, took no part."),
        comparisons => print!("{}", table::verdict(&comparisons)),
    }
    Ok(())
}

impl Args {
    fn contestants(&self) -> Result<Vec<&'static dyn Contestant>> {
        let named = |name: &String| ALL.iter().any(|contestant| contestant.name() == name);
        if let Some(stranger) = self.only.iter().find(|name| !named(name)) {
            let known: Vec<&str> = ALL.iter().map(|contestant| contestant.name()).collect();
            bail!("nobody is called {stranger}; there are {}", known.join(", "));
        }
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        Ok(ALL.iter().copied().filter(|contestant| wanted(contestant.name())).collect())
    }

    fn threads(&self) -> Result<Vec<usize>> {
        ensure!(!self.threads.contains(&0), "no threads, no appends");
        Ok(match (self.threads.is_empty(), self.quick) {
            (false, _) => self.threads.clone(),
            (true, true) => vec![1, 16],
            (true, false) => vec![1, 4, 16, 64],
        })
    }

    fn effort(&self) -> Result<Effort> {
        let seconds = self.seconds.unwrap_or(if self.quick { 0.05 } else { 1.0 });
        Ok(Effort {
            span: Duration::try_from_secs_f64(seconds)?,
            unsynced_bytes: if self.quick { 1 << 20 } else { 48 << 20 },
            records: self.records.unwrap_or(if self.quick { 1000 } else { 500_000 }),
        })
    }
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn append(contestants: &[&'static dyn Contestant], appends: u64) -> Result<()> {
    let record = measure::record(figure::RECORD_LEN);
    for contestant in contestants.iter().filter(|contestant| contestant.offers(Promise::Durable, 1)) {
        let folder = tempfile::tempdir()?;
        contestant.with_log(folder.path(), Promise::Durable, 1, &mut |log| {
            (0..appends).try_for_each(|_| log.append(0, &record))
        })?;
        println!("{}: {appends} durable appends", contestant.name());
    }
    Ok(())
}
