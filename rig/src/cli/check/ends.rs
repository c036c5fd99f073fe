//! `A -> B`: which flows of a capture are meant.

use std::net::{IpAddr, SocketAddr};

use crate::analysis::{Endpoint, Flow};
use crate::spec::{Fault, FromText};
use crate::units::printable;

/// How many of a capture's names a message lists.
const MAX_NAMES_SHOWN: usize = 8;
/// Names further off than this are not what was meant (Damerau-Levenshtein, 0 to 1).
const LEAST_LIKENESS: f64 = 0.6;

/// Which flows are meant, by their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Selector {
    /// As written.
    pub(super) text: String,
    initiator: End,
    responder: End,
}

/// One end; what is not given may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct End {
    /// Any of these: a name may stand for several addresses.
    addresses: Option<Vec<IpAddr>>,
    port: Option<u16>,
}

impl Selector {
    /// Reads `A -> B`, each end `*`, an address, a port, `address:port`, or a name of the capture
    /// alone or with a port.
    pub(in crate::cli) fn read(text: &str, names: &[(IpAddr, String)]) -> Result<Self, Fault> {
        let Some((initiator, responder)) = text.split_once("->") else {
            let mut fault = Fault::new("two ends joined by `->` are expected");
            fault.hint = Some("write `* -> :15102`, or `alice -> 10.0.0.10:15102`".to_owned());
            return Err(fault);
        };
        let read = |part: &str| {
            End::read(part.trim(), names).map_err(|fault| within(text, part.trim(), fault))
        };
        Ok(Self {
            text: text.trim().to_owned(),
            initiator: read(initiator)?,
            responder: read(responder)?,
        })
    }

    pub(in crate::cli) fn means(&self, flow: &Flow) -> bool {
        self.initiator.means(flow.orig) && self.responder.means(flow.resp)
    }
}

/// `fault` of `part`, placed in the text that `part` is a piece of.
fn within(text: &str, part: &str, mut fault: Fault) -> Fault {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    let range = fault.range.unwrap_or(0..part.len());
    fault.range = Some(start + range.start..start + range.end);
    fault
}

impl End {
    fn means(&self, endpoint: Endpoint) -> bool {
        let addresses = self.addresses.as_ref();
        addresses.is_none_or(|addresses| addresses.contains(&endpoint.ip()))
            && self.port.is_none_or(|port| port == endpoint.port())
    }

    fn read(text: &str, names: &[(IpAddr, String)]) -> Result<Self, Fault> {
        if text == "*" {
            return Ok(Self::default());
        }
        if let Ok(endpoint) = text.parse::<SocketAddr>() {
            return Ok(Self {
                addresses: Some(vec![endpoint.ip()]),
                port: Some(endpoint.port()),
            });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self {
                addresses: Some(vec![address]),
                port: None,
            });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(u16::from_text(port)?)),
            None if text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('.') => {
                ("", Some(u16::from_text(text)?))
            }
            None => (text, None),
        };
        let addresses = match name {
            "" if port.is_none() => return Err(Fault::new("an end is missing")),
            "" | "*" => None,
            name => Some(named(name, names)?),
        };
        Ok(Self { addresses, port })
    }
}

/// The addresses of a name.
fn named(name: &str, names: &[(IpAddr, String)]) -> Result<Vec<IpAddr>, Fault> {
    let of_name = names.iter().filter(|(_, known)| known == name);
    let addresses: Vec<_> = of_name.map(|&(address, _)| address).collect();
    if !addresses.is_empty() {
        return Ok(addresses);
    }
    let mut fault = Fault::new(format!(
        "`{}` is not an address, a port or a name in the capture",
        printable(name)
    ));
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
    let mut known: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let near = known
        .iter()
        .map(|known| (likeness(known), *known))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    known.truncate(MAX_NAMES_SHOWN);
    fault.hint = Some(match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "the capture names no address".to_owned(),
        None => format!("the capture names {}", known.join(", ")),
    });
    Err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<(IpAddr, String)> {
        let name = |address: &str, name: &str| (address.parse().unwrap(), name.to_owned());
        vec![
            name("10.0.0.11", "alice"),
            name("10.0.1.11", "alice"),
            name("10.0.0.10", "hub"),
        ]
    }

    fn means(end: &str, endpoint: &str) -> bool {
        let selector = Selector::read(&format!("{end} -> *"), &names()).unwrap();
        selector.initiator.means(endpoint.parse().unwrap())
    }

    #[test]
    fn ends_are_addresses_ports_and_names() {
        for (end, fits, fits_not) in [
            ("*", "10.0.0.11:1", None),
            ("10.0.0.11", "10.0.0.11:1", Some("10.0.0.12:1")),
            ("10.0.0.11:80", "10.0.0.11:80", Some("10.0.0.11:81")),
            ("80", "10.0.0.9:80", Some("10.0.0.9:81")),
            (":80", "10.0.0.9:80", Some("10.0.0.9:81")),
            ("*:80", "10.0.0.9:80", Some("10.0.0.9:81")),
            ("alice", "10.0.1.11:5", Some("10.0.0.10:5")),
            ("alice:80", "10.0.0.11:80", Some("10.0.0.11:81")),
            ("::1", "[::1]:5", Some("[::2]:5")),
            ("[::1]", "[::1]:5", Some("[::2]:5")),
            ("[::1]:80", "[::1]:80", Some("[::1]:81")),
        ] {
            assert!(means(end, fits), "{end} {fits}");
            assert!(
                !fits_not.is_some_and(|other| means(end, other)),
                "{end} {fits_not:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}(->)?.{0,20}") {
            if let Err(Fault { range: Some(range), .. }) = Selector::read(&text, &names()) {
                assert!(text.get(range.clone()).is_some(), "{text:?} {range:?}");
            }
        }
    }

    #[test]
    fn errors_point_into_the_text() {
        for (text, range, message, hint) in [
            ("alice", None, "joined by `->`", "write `* -> :15102`"),
            ("* -> ", Some(4..4), "an end is missing", ""),
            (
                "alicia -> *",
                Some(0..6),
                "`alicia` is not an address",
                "did you mean `alice`?",
            ),
            (
                "* ->  nobody:80",
                Some(6..15),
                "`nobody` is not",
                "the capture names alice, hub",
            ),
            ("* -> hub:http", Some(5..13), "`http` is not a port", ""),
            ("70000 -> *", Some(0..5), "`70000` is not a port", ""),
        ] {
            let fault = Selector::read(text, &names()).unwrap_err();
            assert_eq!(fault.range, range, "{text}");
            assert!(fault.message.contains(message), "{text}: {}", fault.message);
            assert!(fault.hint.unwrap_or_default().contains(hint), "{text}");
        }
    }
}
