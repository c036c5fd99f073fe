//! Options of a TCP segment, RFC 9293 section 3.1.

use serde::Serialize;

/// Kinds of options, by IANA's list of TCP option kind numbers.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const TIMESTAMPS: u8 = 8;
    pub(super) const FAST_OPEN: u8 = 34;
    pub(super) const EXPERIMENT: u8 = 254;
}

/// What marks Fast Open among experiments, RFC 7413 section 4.1.1: it was one before it had a kind.
const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];

/// Options of a TCP segment that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// Maximum segment size, RFC 9293 section 3.7.1.
    pub mss_bytes: Option<u16>,
    /// Window scale shift, RFC 7323 section 2.
    pub window_scale: Option<u8>,
    /// SACK permitted, RFC 2018 section 2.
    pub sack_permitted: bool,
    /// Timestamps, RFC 7323 section 3: value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// Fast Open, RFC 7413 section 4.1.1.
    pub fast_open: Option<Cookie>,
}

/// What a Fast Open option holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cookie {
    /// Nothing: the sender asks for a cookie (`tcp.options.tfo.request`).
    Request,
    /// A cookie (`tcp.options.tfo.cookie`).
    Given,
}

impl TcpOptions {
    /// Reads options up to the first one that does not fit. Unknown ones are passed over, as RFC 9293 asks
    /// (section 3.1, MUST-6), and so are those of a wrong length.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut options = Self::default();
        for (kind, value) in each(bytes) {
            match (kind, value) {
                (kind::MAXIMUM_SEGMENT_SIZE, &[high, low]) => {
                    options.mss_bytes = Some(u16::from_be_bytes([high, low]));
                }
                (kind::WINDOW_SCALE, &[shift]) => options.window_scale = Some(shift),
                (kind::SACK_PERMITTED, []) => options.sack_permitted = true,
                (kind::TIMESTAMPS, value) => options.timestamps = timestamps(value),
                (kind::FAST_OPEN, cookie) => options.fast_open = fast_open(cookie),
                (kind::EXPERIMENT, value) => {
                    if let Some(cookie) = value.strip_prefix(&FAST_OPEN_EXPERIMENT) {
                        options.fast_open = fast_open(cookie);
                    }
                }
                _ => {}
            }
        }
        options
    }
}

fn timestamps(value: &[u8]) -> Option<(u32, u32)> {
    let both: [u8; 8] = value.try_into().ok()?;
    let both = u64::from_be_bytes(both);
    let [value, echo] = [both >> 32, both & u64::from(u32::MAX)];
    Some((u32::try_from(value).ok()?, u32::try_from(echo).ok()?))
}

/// A cookie has 4 to 16 bytes, an even number of them.
fn fast_open(cookie: &[u8]) -> Option<Cookie> {
    match cookie.len() {
        0 => Some(Cookie::Request),
        4..=16 if cookie.len().is_multiple_of(2) => Some(Cookie::Given),
        _ => None,
    }
}

/// Kind and value of each option, up to the end of the list or the first one that does not fit.
pub(super) fn each(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (&kind, rest) = bytes.split_first()?;
            match kind {
                kind::END => return None,
                kind::NO_OPERATION => bytes = rest,
                _ => {
                    let len = usize::from(*rest.first()?);
                    // The length counts kind and length, too.
                    let value = bytes.get(2..len)?;
                    bytes = &bytes[len..];
                    return Some((kind, value));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_behind_an_unknown_option_is_read() {
        let bytes = [
            &[2, 4, 5, 180][..],
            &[30, 4, 1, 1],
            &[1, 3, 3, 7],
            &[4, 2],
            &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            &[34, 2],
            &[0, 2, 4, 0, 0],
        ]
        .concat();
        let options = TcpOptions {
            mss_bytes: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((1, 2)),
            fast_open: Some(Cookie::Request),
        };
        assert_eq!(TcpOptions::read(&bytes), options);
    }

    #[test]
    fn a_cookie_is_told_from_a_request_for_one() {
        let given = Some(Cookie::Given);
        for (bytes, read) in [
            (&[34, 2][..], Some(Cookie::Request)),
            (&[34, 6, 1, 2, 3, 4], given),
            (&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8], given),
            (&[34, 5, 1, 2, 3], None),
            (&[34, 4, 1, 2], None),
            (&[254, 4, 0xf9, 0x89], Some(Cookie::Request)),
            (&[254, 8, 0xf9, 0x89, 1, 2, 3, 4], given),
            (&[254, 4, 1, 2], None),
            (&[34, 12, 1, 2], None),
        ] {
            assert_eq!(TcpOptions::read(bytes).fast_open, read, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            prop_assert!(each(&bytes).count() <= bytes.len() / 2);
            let _ = TcpOptions::read(&bytes);
        }
    }
}
