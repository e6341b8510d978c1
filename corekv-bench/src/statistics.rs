//! Whether two servers differ, and by what factor: tests that assume no distribution.
//!
//! Samples that have nothing to do with each other are judged by a permutation test of the rank sum (Wilcoxon 1945, Mann and Whitney 1947):
//! if the servers are equal, each way of exchanging them is as likely as the one that was seen. The
//! factor is the Hodges-Lehmann estimate (the median of the ratios of all pairs), and its interval
//! holds the factors that the same test does not reject (Moses 1965). Samples that come in pairs are
//! judged by the signed ranks of the logarithms of their ratios (Wilcoxon 1945): if the servers are
//! equal, each ratio is as likely as its inverse. The factor is then the median of the means of all
//! pairs of logarithms.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A difference that chance makes less often than this is called one. Three results are judged at
/// a time, so that chance makes any of them differ in one case of a hundred (Bonferroni).
pub const SIGNIFICANCE: f64 = 0.01 / 3.0;

/// How many standard deviations from the mean a normal variable is with that probability.
const DEVIATIONS: f64 = 2.935;

/// Fewer samples per side than this can't show a difference, however large it is.
pub const SAMPLES_MIN: usize = 6;

/// Fewer pairs than this can't show a difference, however large it is.
pub const PAIRS_MIN: usize = 10;

/// Up to so many samples every exchange is looked at, and beyond it random ones are.
const EXACT_MAX: usize = 16;

/// How many random exchanges are looked at.
const EXCHANGES: u32 = 20_000;

/// How two sets of samples compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    /// The median of the first set.
    pub a: f64,
    /// The median of the second set.
    pub b: f64,
    /// The factor from the first to the second.
    pub ratio: f64,
    /// The ends of its confidence interval; those of all three results hold in 99 % of cases.
    pub interval: (f64, f64),
    /// How often chance alone makes a difference that is as large.
    pub p: f64,
}

/// What the samples show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No difference.
    Equal,
    /// The second is higher.
    Higher,
    /// The second is lower.
    Lower,
}

impl Verdict {
    /// The name in reports and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

impl Contrast {
    /// What it shows.
    pub fn verdict(&self) -> Verdict {
        match self.ratio {
            _ if self.p >= SIGNIFICANCE => Verdict::Equal,
            ratio if ratio > 1.0 => Verdict::Higher,
            ratio if ratio < 1.0 => Verdict::Lower,
            _ => Verdict::Equal,
        }
    }

    /// Compares samples that have nothing to do with each other. Nothing if there are too few.
    pub fn independent(a: &[f64], b: &[f64]) -> Option<Self> {
        if a.len().min(b.len()) < SAMPLES_MIN {
            return None;
        }
        let ratios = sorted(a.iter().flat_map(|one| b.iter().map(move |other| other / one)));
        let (n, m) = (a.len() as f64, b.len() as f64);
        let spread = (n * m * (n + m + 1.0) / 12.0).sqrt();
        Some(Self {
            a: median(a),
            b: median(b),
            ratio: middle(&ratios),
            interval: interval(&ratios, n * m / 2.0 - DEVIATIONS * spread),
            p: rank_sum(a, b),
        })
    }
}

impl Contrast {
    /// Compares samples of which those with the same number were taken at about the same time.
    /// Nothing if there are too few, or if one is not above 0.
    pub fn paired(a: &[f64], b: &[f64]) -> Option<Self> {
        if a.len() != b.len() || a.len() < PAIRS_MIN || a.iter().chain(b).any(|&it| it <= 0.0) {
            return None;
        }
        let logs: Vec<f64> = a.iter().zip(b).map(|(one, other)| (other / one).ln()).collect();
        let means = sorted(logs.iter().enumerate().flat_map(|(index, one)| {
            logs[index..].iter().map(move |other| f64::midpoint(*one, *other))
        }));
        let n = logs.len() as f64;
        let spread = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
        let (from, to) = interval(&means, n * (n + 1.0) / 4.0 - DEVIATIONS * spread);
        Some(Self {
            a: median(a),
            b: median(b),
            ratio: middle(&means).exp(),
            interval: (from.exp(), to.exp()),
            p: signed_ranks(&logs),
        })
    }
}

/// The middle of these numbers, of which there is at least one.
pub fn median(numbers: &[f64]) -> f64 {
    middle(&sorted(numbers.iter().copied()))
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

/// What is left when so many are cut off at each end.
fn interval(sorted: &[f64], cut: f64) -> (f64, f64) {
    let cut = (cut.max(0.0) as usize).min((sorted.len() - 1) / 2);
    (sorted[cut], sorted[sorted.len() - 1 - cut])
}

/// The place of each number in the order of all; equal ones share theirs.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_unstable_by(|&one, &other| numbers[one].total_cmp(&numbers[other]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut next = 0;
    for equal in order.chunk_by(|&one, &other| numbers[one] == numbers[other]) {
        let shared = next as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|&index| ranks[index] = shared);
        next += equal.len();
    }
    ranks
}

/// Counts how many of the exchanges are as far from the expectation as what was seen.
struct Tally {
    expected: f64,
    seen: f64,
    as_far: u32,
    all: u32,
}

impl Tally {
    fn new(expected: f64, seen: f64) -> Self {
        // Sums of halves are exact, so that equal ones compare as such.
        Self { expected, seen: (seen - expected).abs(), as_far: 0, all: 0 }
    }

    fn add(&mut self, sum: f64) {
        self.as_far += u32::from((sum - self.expected).abs() >= self.seen);
        self.all += 1;
    }

    fn share(&self) -> f64 {
        f64::from(self.as_far) / f64::from(self.all)
    }
}

/// The same numbers give the same answer.
fn random() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(1)
}

fn rank_sum(a: &[f64], b: &[f64]) -> f64 {
    let mut ranks = ranks(&[a, b].concat());
    let (count, all) = (a.len(), ranks.len());
    let expected = count as f64 * (all as f64 + 1.0) / 2.0;
    let mut tally = Tally::new(expected, ranks[..count].iter().sum());
    if all <= EXACT_MAX {
        let chosen = (0_u32..1 << all).filter(|mask| mask.count_ones() as usize == count);
        for mask in chosen {
            tally.add(sum_where(&ranks, mask));
        }
        return tally.share();
    }
    // What was seen is one of the exchanges.
    tally.add(ranks[..count].iter().sum());
    let mut random = random();
    for _ in 0..EXCHANGES {
        for index in 0..count {
            let other = index + (random.next_u64() % (all - index) as u64) as usize;
            ranks.swap(index, other);
        }
        tally.add(ranks[..count].iter().sum());
    }
    tally.share()
}

fn signed_ranks(differences: &[f64]) -> f64 {
    let sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    let mut ranks = ranks(&sizes);
    // What is no difference speaks for neither side.
    let zero = differences.iter().zip(&mut ranks).filter(|(difference, _)| **difference == 0.0);
    zero.for_each(|(_, rank)| *rank = 0.0);
    let positive = differences.iter().zip(&ranks).filter(|(difference, _)| **difference > 0.0);
    let mut tally =
        Tally::new(ranks.iter().sum::<f64>() / 2.0, positive.map(|(_, rank)| rank).sum());
    if ranks.len() <= EXACT_MAX {
        (0_u32..1 << ranks.len()).for_each(|mask| tally.add(sum_where(&ranks, mask)));
        return tally.share();
    }
    // What was seen is one of the cases.
    tally.add(tally.expected + tally.seen);
    let mut random = random();
    for _ in 0..EXCHANGES {
        let chosen = ranks.iter().filter(|_| random.next_u64() >> 63 == 1);
        tally.add(chosen.sum());
    }
    tally.share()
}

fn sum_where(ranks: &[f64], mask: u32) -> f64 {
    ranks.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1).map(|(_, rank)| rank).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_books_come_out() {
        // Of the 924 ways to split twelve samples, two separate them fully.
        let low = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let high = low.map(|value| value + 6.0);
        let contrast = Contrast::independent(&low, &high).unwrap();
        assert!((contrast.p - 2.0 / 924.0).abs() < 1e-12, "{contrast:?}");
        assert_eq!((contrast.a, contrast.b, contrast.verdict()), (3.5, 9.5, Verdict::Higher));
        assert_eq!(Contrast::independent(&high, &low).unwrap().verdict(), Verdict::Lower);
        assert_eq!(Contrast::independent(&low[1..], &high), None);
    }

    #[test]
    fn pairs_are_judged_by_their_signed_ranks() {
        // Of the 1024 ways to sign ten ranks, two give them all one sign.
        let a: Vec<f64> = (1..=10).map(f64::from).collect();
        let b: Vec<f64> = a.iter().zip(1..).map(|(a, i)| a * (1.05 + f64::from(i) / 1e6)).collect();
        let contrast = Contrast::paired(&a, &b).unwrap();
        assert!((contrast.p - 2.0 / 1024.0).abs() < 1e-12, "{contrast:?}");
        assert!((contrast.ratio - 1.05).abs() < 1e-4 && contrast.verdict() == Verdict::Higher);
        let (low, high) = contrast.interval;
        assert!(low <= contrast.ratio && contrast.ratio <= high, "{contrast:?}");
        assert_eq!(Contrast::paired(&b, &a).unwrap().verdict(), Verdict::Lower);
        assert_eq!(Contrast::paired(&a[1..], &b[1..]), None);
        assert_eq!(Contrast::paired(&a, &a).unwrap().p, 1.0);
        // The one that is against the others is the least of them: P(W <= 1) = 2/1024 a side.
        let mut mixed = b;
        mixed[0] = a[0] / 1.05;
        assert!((Contrast::paired(&a, &mixed).unwrap().p - 4.0 / 1024.0).abs() < 1e-12);
    }

    #[test]
    fn random_signs_come_close_to_all_of_them() {
        // Seventeen of one sign: two cases of 131072.
        let logs: Vec<f64> = (1..=17).map(f64::from).collect();
        assert!(signed_ranks(&logs) < 0.0005);
        let logs: Vec<f64> =
            (1..=17).map(|n| if n % 2 == 0 { -1.0 } else { 1.0 } * f64::from(n)).collect();
        assert!(signed_ranks(&logs) > 0.5);
    }

    #[test]
    fn what_is_the_same_is_equal() {
        let same = [7.0; 20];
        let contrast = Contrast::independent(&same, &same).unwrap();
        assert_eq!((contrast.p, contrast.ratio, contrast.interval), (1.0, 1.0, (1.0, 1.0)));
        assert_eq!(contrast.verdict(), Verdict::Equal);
    }

    #[test]
    fn random_exchanges_come_close_to_all_of_them() {
        // The rank sum of 9 and 8 samples has 24310 splits, of which two separate them fully.
        let a: Vec<f64> = (1..=9).map(f64::from).collect();
        let b: Vec<f64> = (10..=17).map(f64::from).collect();
        assert!(rank_sum(&a, &b) < 0.0005);
        let (a, b): (Vec<f64>, Vec<f64>) =
            (1..=9).map(|n| (f64::from(2 * n), f64::from(2 * n - 1))).unzip();
        assert!(rank_sum(&a, &b) > 0.5);
    }

    #[test]
    fn equal_numbers_share_their_ranks() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [2.5, 1.0, 2.5, 4.0]);
    }
}
