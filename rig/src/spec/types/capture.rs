//! How hosts are captured.

use crate::spec::Field;

/// What a file says of the captures of its hosts, or of that of one.
#[derive(Debug, Clone, Default)]
pub struct CaptureSpec {
    /// Memory for the packets of an interface that were not written yet.
    pub ring: Option<Field<RingSize>>,
    /// How much of each packet is recorded.
    pub snap: Option<Field<SnapLen>>,
    /// Where the times of packets come from.
    pub time: Option<Field<TimeSource>>,
}

/// The size of a ring, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize(pub u32);

/// How many bytes of a packet are recorded, from the Ethernet header on; none for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapLen(pub Option<u32>);

/// Where the times of packets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The kernel's real-time clock, when the kernel gets a packet or sends it.
    #[default]
    Software,
}
