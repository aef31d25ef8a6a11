//! From the processor's clock to nanoseconds.

/// Moments of which both are known: in order of ticks, and of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Vec<(u64, u64)>);

impl Clock {
    /// A clock from moments in any order. Those of the second kind may be damaged, and are left out where they
    /// contradict the first.
    pub(crate) fn new(mut moments: Vec<(u64, u64)>, others: Vec<(u64, u64)>) -> Clock {
        moments.sort_unstable();
        moments.dedup_by(|later, earlier| later.0 <= earlier.0 || later.1 <= earlier.1);
        for (ticks, ns) in others {
            let place = moments.partition_point(|&(at, _)| at < ticks);
            let before = place.checked_sub(1).and_then(|i| moments.get(i)).copied();
            let fits = before.is_some_and(|(at, time)| at < ticks && time < ns)
                && moments.get(place).is_none_or(|&(at, time)| at > ticks && time > ns);
            if fits {
                moments.insert(place, (ticks, ns));
            }
        }
        Clock(moments)
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
        // Only absurd moments are so far apart that this is too much.
        let passed = distance.checked_mul(i128::from(to.1 - from.1)).unwrap_or(0) / i128::from(to.0 - from.0);
        u64::try_from(i128::from(origin.1) + passed).unwrap_or(0)
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
    }
}
