//! From the processor's clock to nanoseconds.

use std::collections::BTreeMap;

/// Moments of which both are known: in order of ticks, and of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Vec<(u64, u64)>);

impl Clock {
    /// A clock from moments in any order. Those of the second kind may be damaged, and are left out where they
    /// contradict the first.
    pub(crate) fn new(mut moments: Vec<(u64, u64)>, others: Vec<(u64, u64)>) -> Clock {
        moments.sort_unstable();
        moments.dedup_by(|later, earlier| later.0 <= earlier.0 || later.1 <= earlier.1);
        let mut moments: BTreeMap<u64, u64> = moments.into_iter().collect();
        for (ticks, ns) in others {
            let before = moments.range(..ticks).next_back();
            let after = moments.range(ticks..).next();
            let fits = before.is_some_and(|(_, &time)| time < ns)
                && after.is_none_or(|(&at, &time)| at > ticks && time > ns);
            if fits {
                moments.insert(ticks, ns);
            }
        }
        Clock(moments.into_iter().collect())
    }

    /// The time of a tick, by the moments around it, or by the first and the last one.
    pub(crate) fn ns(&self, ticks: u64) -> u64 {
        let behind = self.0.partition_point(|&(at, _)| at <= ticks);
        let (Some(&first), Some(&last)) = (self.0.first(), self.0.last()) else { return ticks };
        let before = behind.checked_sub(1).and_then(|i| self.0.get(i)).copied();
        let (from, to) = match (before, self.0.get(behind).copied()) {
            // Moments close to each other tell the time well and the rate badly.
            (Some(from), Some(to)) if to.0 - from.0 > 1 << 16 => (from, to),
            _ => (first, last),
        };
        let origin = before.unwrap_or(first);
        if to.0 == from.0 {
            return origin.1;
        }
        let distance = i128::from(ticks) - i128::from(origin.0);
        // Only absurd moments are so far apart that a product or the sum is too much.
        let passed = distance.saturating_mul(i128::from(to.1 - from.1)) / i128::from(to.0 - from.0);
        let time = i128::from(origin.1).saturating_add(passed);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn between_before_and_behind_known_moments() {
        let clock = Clock::new(vec![(3_000_000, 1_000), (1_000_000, 0)], vec![(9_000_000, 4_000), (2, 70)]);
        assert_eq!(clock.ns(1_000_000), 0);
        assert_eq!(clock.ns(2_000_000), 500);
        assert_eq!(clock.ns(6_000_000), 2_500);
        assert_eq!(clock.ns(11_000_000), 5_000);
        assert_eq!(clock.ns(0), 0);
    }

    #[test]
    fn without_moments_and_with_absurd_ones() {
        assert_eq!(Clock::default().ns(7), 7);
        assert_eq!(Clock::new(vec![(5, 100)], Vec::new()).ns(u64::MAX), 100);
        let clock = Clock::new(vec![(0, 0), (1, u64::MAX), (u64::MAX, 3)], vec![(1, 1)]);
        for ticks in [0, 1, 2, u64::MAX / 2, u64::MAX] {
            clock.ns(ticks);
        }
        // A time behind a moment which it is too far from for any number.
        let clock = Clock::new(vec![(0, 0)], vec![(1, (1 << 63) + 1)]);
        assert_eq!([0, 1, u64::MAX - 1].map(|ticks| clock.ns(ticks)), [0, (1 << 63) + 1, u64::MAX]);
        let clock = Clock::new(vec![(u64::MAX - 1, 0), (u64::MAX, u64::MAX)], Vec::new());
        assert_eq!([0, u64::MAX - 1, u64::MAX].map(|ticks| clock.ns(ticks)), [0, 0, u64::MAX]);
    }

    /// Each of the second kind is left out where it contradicts those before it, in whatever order they come.
    #[test]
    fn moments_in_falling_order() {
        let falling: Vec<(u64, u64)> = (1..1000).rev().map(|i| (i << 20, i * 1000)).collect();
        let clock = Clock::new(vec![(0, 0)], [falling, vec![(5 << 20, 1), (7 << 19, 9000)]].concat());
        assert_eq!([0, 3 << 20, 7 << 19, 999 << 20].map(|ticks| clock.ns(ticks)), [0, 3000, 3500, 999_000]);
    }
}
