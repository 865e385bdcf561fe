//! Every state that a power cut can leave, where there are few.

use super::Sim;
use super::fate::{Arrived, Fate};
use super::file::{Length, Version};
use super::machine::Machine;
use super::names::Change;

/// Every state that a power cut can leave if each unsynced sector is either as it was synced or as it was written last, whole:
/// times every length that each file had since its sync, times every subset of the changes of names, times all rights that each
/// file and directory had since its sync. File times are the new ones. The first is the disk to which nothing else arrived.
///
/// States can be equal: a sector behind the end that a file got does not show, nor one of a file that lost its name.
#[derive(Debug)]
pub struct States {
    machine: Machine,
    total: u128,
    next: u128,
}

impl States {
    pub(super) fn new(machine: Machine) -> Self {
        let mut count = Count(1);
        machine.crashed(&mut count, 0);
        Self { machine, total: count.0, next: 0 }
    }

    /// How many there are; `u128::MAX` where they are more.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// The state of this number, from 0 on.
    pub fn get(&self, number: u128) -> Option<Sim> {
        let state = || Sim::of(self.machine.crashed(&mut Digits(number), number as u64));
        (number < self.total).then(state)
    }
}

impl Iterator for States {
    type Item = Sim;

    fn next(&mut self) -> Option<Sim> {
        let state = self.get(self.next)?;
        self.next += 1;
        Some(state)
    }
}

/// Answers a question that has so many answers, with one of `0..answers`. The questions of a disk are always the same.
trait Answer {
    fn answer(&mut self, answers: usize) -> usize;
}

/// The product of all answers.
struct Count(u128);

impl Answer for Count {
    fn answer(&mut self, answers: usize) -> usize {
        self.0 = self.0.saturating_mul(answers as u128);
        0
    }
}

/// A number whose digits are the answers.
struct Digits(u128);

impl Answer for Digits {
    fn answer(&mut self, answers: usize) -> usize {
        let digit = self.0 % answers as u128;
        self.0 /= answers as u128;
        digit as usize
    }
}

impl<T: Answer> Fate for T {
    fn sector(&mut self, old: &[u8], versions: &[Version]) -> Arrived {
        let last = versions.last().is_some_and(|version| *version.bytes != *old);
        let answers = 1 + usize::from(last);
        Arrived::Whole(self.answer(answers) * versions.len())
    }

    fn length(&mut self, lengths: &[Length]) -> u64 {
        let mut distinct: Vec<u64> = Vec::new();
        for Length { len, .. } in lengths {
            if !distinct.contains(len) {
                distinct.push(*len);
            }
        }
        distinct[self.answer(distinct.len())]
    }

    fn rights(&mut self, count: usize) -> usize {
        self.answer(count)
    }

    fn times(&mut self) -> bool {
        true
    }

    fn change(&mut self, _: &Change) -> bool {
        self.answer(2) == 1
    }
}
