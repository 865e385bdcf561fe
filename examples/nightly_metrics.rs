//! A nightly job: adds the night's samples to the totals that a dashboard reads. Whenever it died, run it again: nothing is counted twice.
//!
//! `nightly_metrics FILE NIGHT < samples`, where NIGHT is a date and each line of the samples is a name and a number. FILE is text in lines of
//! one length: the last night that is in, a total for each metric, and, for readers to check, how many there are and how much together.
//!
//! ```text
//! night                          2026-11-20
//! orders                               4711
//! refunds                                12
//! 2 metrics                            4723
//! ```

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind};

use waltool::wal::DurableFile;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a line, its end included.
const LINE: usize = 42;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [file, night] = &arguments[..] else {
        eprintln!("usage: nightly_metrics FILE NIGHT < samples");
        std::process::exit(2);
    };
    if let Err(error) = run(file, night) {
        eprintln!("nightly_metrics: night {night}: {error}");
        std::process::exit(1);
    }
}

fn run(path: &str, night: &str) -> Result<()> {
    // Whatever happened to the last run, the file now has every night that is in the log.
    let file = DurableFile::open(path)?;
    let old = read(path)?;
    if old.first().is_some_and(|line| night <= value_of(line)) {
        println!("night {night} is in already");
        return Ok(file.close()?);
    }

    let new = add(&old, night, &io::read_to_string(io::stdin())?)?;
    let mut transaction = file.begin();
    for (number, line) in new.iter().enumerate().filter(|(number, line)| old.get(*number) != Some(line)) {
        transaction.write((number * LINE) as u64, line.as_bytes());
    }
    // Or the end of a longer file would stay behind the last line.
    transaction.set_len((new.len() * LINE) as u64);
    transaction.commit()?;
    println!("night {night} is in"); // The log has it, on the disk. The file is as it was.

    file.close()?; // Now the file has it too: whoever reads it sees the old one or the new one.
    Ok(())
}

/// The lines of the file; none where there is no file yet.
fn read(path: &str) -> Result<Vec<String>> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        text => Ok(text?.split_inclusive('\n').map(String::from).collect()),
    }
}

/// The lines as they are with the samples of another night.
fn add(old: &[String], night: &str, samples: &str) -> Result<Vec<String>> {
    let known = old.get(1..old.len().saturating_sub(1)).unwrap_or_default();
    let mut totals = known.iter().map(|line| sample(line)).collect::<Result<Vec<_>>>()?;
    for line in samples.lines() {
        let (name, value) = sample(line)?;
        match totals.iter_mut().find(|(other, _)| *other == name) {
            Some((_, total)) => *total = total.checked_add(value).ok_or_else(|| format!("too much: {line}"))?,
            None => totals.push((name, value)),
        }
    }
    let sum: u128 = totals.iter().map(|(_, total)| u128::from(*total)).sum();
    let mut lines = vec![line("night", night)?];
    for (name, total) in &totals {
        lines.push(line(name, total)?);
    }
    lines.push(line(&format!("{} metrics", totals.len()), sum)?);
    Ok(lines)
}

fn sample(line: &str) -> Result<(&str, u64)> {
    let name = line.split(' ').next().unwrap_or_default();
    let value = value_of(line).parse().map_err(|_| format!("not a name and a number: {line}"))?;
    Ok((name, value))
}

fn value_of(line: &str) -> &str {
    line.trim_end().rsplit(' ').next().unwrap_or_default()
}

fn line(name: &str, value: impl Display) -> Result<String> {
    let line = format!("{name:20} {value:>20}\n");
    if line.len() == LINE { Ok(line) } else { Err(format!("does not fit into a line: {name} {value}").into()) }
}
