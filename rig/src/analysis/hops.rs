//! Hop limits, by which packets show that they came another way.

/// The hop limit that most packets have (the time to live of IPv4), the earlier one of equals; none where there is none.
pub fn usual_hop_limit(of_packets: impl Iterator<Item = u8> + Clone) -> Option<u8> {
    let mut counts = [0_usize; 1 << u8::BITS];
    for hops in of_packets.clone() {
        counts[usize::from(hops)] += 1;
    }
    let most = counts.iter().max().copied();
    let mut of_packets = of_packets;
    of_packets.find(|hops| Some(counts[usize::from(*hops)]) == most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_decide_and_the_first_of_equals() {
        for (hops, usual) in [
            (&[][..], None),
            (&[64], Some(64)),
            (&[64, 255], Some(64)),
            (&[255, 64, 64], Some(64)),
            (&[1, 2, 2, 1], Some(1)),
        ] {
            assert_eq!(usual_hop_limit(hops.iter().copied()), usual, "{hops:?}");
        }
    }
}
