//! What became of a packet, written beside it as data: comments are for people, who may write anything into them.

/// A private enterprise number: the one for examples (RFC 5612). The project has none of its own, so the text of the
/// option names it.
pub(super) const ENTERPRISE: u32 = 32_473;

/// What became of a packet beyond the place that recorded it.
///
/// It stands in a custom option of the packet (draft-ietf-opsawg-pcapng, section 3.5.1, `opt_custom`, 2988: text that
/// goes along when the packet is copied).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// It never arrived.
    Lost,
    /// It arrived with other bytes, of which its receiver makes nothing.
    Corrupted,
    /// It was recorded where it arrived, and not where it was sent, though that place was recording.
    Unsent,
}

impl Delivery {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Lost, Self::Corrupted, Self::Unsent];

    /// The text of the option.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Lost => "rig packet lost",
            Self::Corrupted => "rig packet corrupted",
            Self::Unsent => "rig packet unsent",
        }
    }

    /// What an option says, by its enterprise and its text.
    pub(super) fn read(enterprise: u32, text: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter().filter(|_| enterprise == ENTERPRISE);
        all.find(|delivery| delivery.text().as_bytes() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_somebody_else_says_nothing() {
        for delivery in Delivery::ALL {
            let text = delivery.text().as_bytes();
            assert_eq!(Delivery::read(ENTERPRISE, text), Some(delivery));
            assert_eq!(Delivery::read(ENTERPRISE + 1, text), None);
            assert_eq!(Delivery::read(ENTERPRISE, &text[1..]), None);
            assert_eq!(Delivery::read(ENTERPRISE, &[text, b" "].concat()), None);
        }
    }
}
