//! What a person reads of the results.

use std::fmt::Write;

use crate::contestants::OURS;
use crate::figure::{Bound, Figure};
use crate::rounds::{Results, median};

/// The medians: a line per figure, a column per contestant.
pub fn medians(results: &Results, names: &[&'static str]) -> String {
    let mut table = format!("{:<30}", "medians");
    for name in names {
        let _ = write!(table, "{name:>18}");
    }
    table.push('\n');
    for figure in results.figures() {
        let _ = write!(table, "{:<30}", figure.to_string());
        for &name in names {
            let cell = results.median(figure, name).map_or("-".into(), grouped);
            let _ = write!(table, "{cell:>18}");
        }
        table.push('\n');
    }
    table
}

/// A number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio of waltool to the best of some others.
#[derive(Debug, PartialEq)]
pub struct Comparison {
    pub figure: Figure,
    /// The best of those that waltool is compared with here.
    pub other: &'static str,
    /// The ratio of each round, in rising order.
    pub ratios: Vec<f64>,
    pub bound: Bound,
}

impl Comparison {
    fn ratio(&self) -> f64 {
        median(&self.ratios)
    }

    fn holds(&self) -> bool {
        self.bound.holds(self.ratio())
    }
}

/// Every comparison that has a goal, or is good to know, and whose both sides were measured.
pub fn comparisons(results: &Results) -> Vec<Comparison> {
    let goals = |figure: Figure| figure.goals().into_iter().map(move |(others, bound)| (figure, others, bound));
    let compare = |(figure, others, bound): (Figure, &[&'static str], Bound)| {
        let ours = results.rounds(figure, OURS)?;
        let other = best(results, figure, others)?;
        let theirs = results.rounds(figure, other)?;
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        ratios.sort_by(f64::total_cmp);
        Some(Comparison { figure, other, ratios, bound })
    };
    results.figures().into_iter().flat_map(goals).filter_map(compare).collect()
}

fn best(results: &Results, figure: Figure, names: &[&'static str]) -> Option<&'static str> {
    let measured = names.iter().filter_map(|&name| Some((name, results.median(figure, name)?)));
    let (name, _) =
        measured.reduce(|best, next| if (next.1 > best.1) == figure.more_is_better() { next } else { best })?;
    Some(name)
}

/// The ratios beside their goals, and how many are held.
pub fn verdict(comparisons: &[Comparison]) -> String {
    let mut table = format!(
        "{:<30}{:<18}{:>8}  {:<18}{:<10}\n",
        "waltool / the best of them", "which is", "ratio", "lowest to highest", "goal"
    );
    for comparison in comparisons {
        let [.., highest] = comparison.ratios[..] else { continue };
        let spread = format!("{:.2} to {highest:.2}", comparison.ratios[0]);
        let word = match (comparison.bound, comparison.holds()) {
            (Bound::Open, _) => "",
            (_, true) => "held",
            (_, false) => "missed",
        };
        let (figure, other, bound) = (comparison.figure.to_string(), comparison.other, comparison.bound.to_string());
        let _ = writeln!(table, "{figure:<30}{other:<18}{:>8.2}  {spread:<18}{bound:<10}{word}", comparison.ratio());
    }
    let asked = || comparisons.iter().filter(|comparison| comparison.bound != Bound::Open);
    let held = asked().filter(|comparison| comparison.holds()).count();
    let _ = writeln!(table, "\nheld {held}, missed {}", asked().count() - held);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Bound::{AtLeast, AtMost};

    const FOUR: Figure = Figure::Durable { threads: 4 };
    const P50: Figure = Figure::Latency { threads: 16, percentile: 50 };

    fn results(rounds: &[(&'static str, Figure, f64)]) -> Results {
        let mut results = Results::default();
        for &(name, figure, value) in rounds {
            results.add(name, vec![(figure, value)]);
        }
        results
    }

    fn lines(comparisons: &[Comparison]) -> Vec<(&'static str, f64, Bound, bool)> {
        comparisons.iter().map(|one| (one.other, one.ratio(), one.bound, one.holds())).collect()
    }

    #[test]
    fn a_rate_is_compared_with_the_highest_of_the_peers_and_with_gather() {
        let results =
            results(&[(OURS, FOUR, 300.0), ("fjall", FOUR, 50.0), ("sqlite", FOUR, 150.0), ("gather", FOUR, 400.0)]);
        assert_eq!(
            lines(&comparisons(&results)),
            [("sqlite", 2.0, AtLeast(1.5), true), ("gather", 0.75, AtLeast(0.95), false)]
        );
    }

    #[test]
    fn a_latency_is_compared_with_the_lowest_of_the_peers() {
        let results = results(&[(OURS, P50, 90.0), ("raft-engine", P50, 400.0), ("okaywal", P50, 100.0)]);
        assert_eq!(lines(&comparisons(&results))[0], ("okaywal", 0.9, AtMost(0.70), false));
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_within_the_rounds() {
        let rounds = [(10.0, 10.0), (40.0, 20.0), (90.0, 30.0)];
        let mut all = Results::default();
        for (ours, theirs) in rounds {
            all.add(OURS, vec![(FOUR, ours)]);
            all.add("okaywal", vec![(FOUR, theirs)]);
        }
        assert_eq!(comparisons(&all)[0].ratios, [1.0, 2.0, 3.0]);
        assert!(verdict(&comparisons(&all)).contains("held 1, missed 0"));
    }

    #[test]
    fn without_waltool_nothing_is_compared() {
        assert_eq!(comparisons(&results(&[("fjall", FOUR, 50.0), ("gather", FOUR, 400.0)])), []);
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!([7.4, 999.6, 1234567.0].map(grouped), ["7", "1,000", "1,234,567"]);
    }
}
