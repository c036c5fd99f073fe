//! Sequence number arithmetic.

use std::fmt;
use std::ops::Add;

/// A TCP sequence number. Comparison is modulo 2^32, RFC 9293 section 3.4, hence no `Ord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// How far `self` lies after `earlier`: negative when it lies before it. Right as long as the
    /// two are less than 2^31 apart.
    #[must_use]
    #[inline]
    pub fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// How far `self` lies after `base`, taken that it does not lie before it.
    #[must_use]
    #[inline]
    pub fn relative_to(self, base: Self) -> u32 {
        self.0.wrapping_sub(base.0)
    }

    /// The number before this one.
    #[must_use]
    #[inline]
    pub fn before(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }
}

impl Add<u32> for Seq {
    type Output = Self;

    #[inline]
    fn add(self, len: u32) -> Self {
        Self(self.0.wrapping_add(len))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_wraps() {
        let last = Seq(u32::MAX);
        assert_eq!(last + 2, Seq(1));
        assert_eq!((last + 2).since(last), 2);
        assert_eq!(last.since(last + 2), -2);
        assert_eq!(Seq(1).relative_to(last), 2);
        assert_eq!(Seq(0).before(), last);
    }
}
