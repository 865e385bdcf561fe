//! All measurements of a run, in rounds.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::contestants::{Contestant, Promise};
use crate::figure::{Figure, RECORD_LEN};
use crate::measure::{self, Effort, Figures};
use crate::random::Random;

/// What is measured of all contestants before the next is.
#[derive(Clone, Copy)]
enum Task {
    Durable { threads: usize },
    Unsynced { promise: Promise, len: usize },
    Reopen,
}

/// Figures by contestant, one of each round.
#[derive(Default)]
pub struct Results(BTreeMap<(Figure, &'static str), Vec<f64>>);

impl Results {
    /// Takes down the figures of one measurement.
    pub fn add(&mut self, name: &'static str, figures: Figures) {
        for (figure, value) in figures {
            self.0.entry((figure, name)).or_default().push(value);
        }
    }

    /// The figures that somebody has, in the order of the table.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures: Vec<Figure> = self.0.keys().map(|(figure, _)| *figure).collect();
        figures.dedup();
        figures
    }

    /// A figure of each round.
    pub fn rounds(&self, figure: Figure, name: &'static str) -> Option<&[f64]> {
        self.0.get(&(figure, name)).map(Vec::as_slice)
    }

    /// The median over the rounds.
    pub fn median(&self, figure: Figure, name: &'static str) -> Option<f64> {
        self.rounds(figure, name).map(median)
    }
}

/// The middle one; the lower of two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// A run: who, with how many threads, how often.
pub struct Run<'a> {
    pub contestants: &'a [&'static dyn Contestant],
    pub threads: &'a [usize],
    pub rounds: usize,
    pub effort: Effort,
    pub random: Random,
}

impl Run<'_> {
    /// Measures everything. In every round each task is given to all contestants in turn, in random order, so that those which are
    /// compared run as close to each other as can be.
    pub fn measure(mut self) -> Result<Results> {
        let filled = self.fill()?;
        let mut results = Results::default();
        for round in 1..=self.rounds {
            eprintln!("round {round} of {}", self.rounds);
            for task in self.tasks() {
                let mut order: Vec<usize> = (0..self.contestants.len()).collect();
                self.random.shuffle(&mut order);
                for at in order {
                    let contestant = self.contestants[at];
                    let figures = self.one(task, contestant, filled[at].as_ref());
                    results.add(contestant.name(), figures.with_context(|| contestant.name())?);
                }
            }
        }
        Ok(results)
    }

    fn tasks(&self) -> Vec<Task> {
        let durable = self.threads.iter().map(|&threads| Task::Durable { threads });
        let unsynced = [Promise::Written, Promise::Buffered]
            .into_iter()
            .flat_map(|promise| [RECORD_LEN, 4096].map(|len| Task::Unsynced { promise, len }));
        durable.chain(unsynced).chain([Task::Reopen]).collect()
    }

    /// Writes for each contestant the log that it is to read.
    fn fill(&self) -> Result<Vec<Option<TempDir>>> {
        let fill = |contestant: &&'static dyn Contestant| {
            if contestant.reopen().is_none() {
                return Ok(None);
            }
            eprintln!("{} records for {} to read", self.effort.records, contestant.name());
            let folder = tempfile::tempdir()?;
            measure::fill(*contestant, folder.path(), self.effort.records).with_context(|| contestant.name())?;
            Ok(Some(folder))
        };
        self.contestants.iter().map(fill).collect()
    }

    /// The figures of one contestant, none where it does not take part.
    fn one(&self, task: Task, contestant: &dyn Contestant, filled: Option<&TempDir>) -> Result<Figures> {
        match task {
            Task::Durable { threads } if contestant.offers(Promise::Durable, threads) => {
                measure::durable(contestant, threads, &self.effort)
            }
            Task::Unsynced { promise, len } if contestant.offers(promise, 1) => {
                measure::unsynced(contestant, promise, len, &self.effort)
            }
            Task::Reopen => match (contestant.reopen(), filled) {
                (Some(read), Some(filled)) => measure::reopen(read, filled.path(), &self.effort),
                _ => Ok(Vec::new()),
            },
            Task::Durable { .. } | Task::Unsynced { .. } => Ok(Vec::new()),
        }
    }
}
