//! Names of nodes and hosts resolve inside the programs: those that a resolver reads in its own way, or
//! takes for another one, cannot be given.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::read::Reader;
use super::tree::Node as Tree;
use super::{Located, Problem};

/// Domains that mean something of their own, with everything below them, and what.
const DOMAINS: [(&str, &str); 14] = [
    (
        "localhost",
        "every host takes it for itself (RFC 6761, 6.3)",
    ),
    ("localhost.localdomain", "every host takes it for itself"),
    (
        "invalid",
        "resolvers answer that there is no such name (RFC 6761, 6.4)",
    ),
    (
        "test",
        "resolvers may answer that there is no such name (RFC 6761, 6.2)",
    ),
    ("example", "it is kept for documents (RFC 6761, 6.5)"),
    ("example.com", "it is kept for documents (RFC 6761, 6.5)"),
    ("example.net", "it is kept for documents (RFC 6761, 6.5)"),
    ("example.org", "it is kept for documents (RFC 6761, 6.5)"),
    ("local", "it is asked for by multicast DNS (RFC 6762, 3)"),
    ("onion", "programs refuse to look it up (RFC 7686, 2)"),
    ("docker.internal", "it means the machine of the engine"),
    ("containers.internal", "it means the machine of the engine"),
    ("docker.for.mac", "it means the machine of the engine"),
    ("docker.for.win", "it means the machine of the engine"),
];

/// What engines write into `/etc/hosts` of every container.
const ENGINES_OWN: [&str; 6] = [
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
];

impl Reader<'_> {
    /// Notes every host and node whose name would not resolve to it.
    pub(super) fn resolvable(&mut self, hosts: Option<&Tree>, nodes: Option<&Tree>) {
        let mut seen: HashMap<String, (&str, &Located<String>)> = HashMap::new();
        for (what, section) in [("host", hosts), ("node", nodes)] {
            for (key, _) in section.map_or(&[][..], Tree::entries) {
                if let Some(why) = meaning(&key.value) {
                    let message = format!("a {what} cannot be called `{}`: {why}", key.value);
                    let hint = "its name must resolve to its address inside the programs";
                    self.problem(Problem::at(key.place, message).hint(hint));
                }
                let first = seen.entry(key.value.to_ascii_lowercase());
                let &mut (other, first) = first.or_insert((what, key));
                if first.value != key.value {
                    let (name, twin) = (&key.value, &first.value);
                    let message =
                        format!("{what} `{name}` differs from {other} `{twin}` in case alone");
                    let problem = Problem::at(key.place, message)
                        .other(first.place, "the other one")
                        .hint("resolvers take both for the same name (RFC 4343)");
                    self.problem(problem);
                }
            }
        }
    }
}

/// What a resolver takes a name for, if it is not just a name.
fn meaning(name: &str) -> Option<String> {
    if let Some(address) = inet_aton(name) {
        return Some(format!("resolvers take it for the address {address}"));
    }
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if ENGINES_OWN.contains(&name) {
        return Some("engines give every container an address of that name".to_owned());
    }
    let is_below = |domain: &str| {
        let rest = name.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let mut domains = DOMAINS.iter();
    let (_, why) = domains.find(|(domain, _)| is_below(domain))?;
    Some((*why).to_owned())
}

/// The address that a text is to `inet_aton(3)`: one to four numbers with dots between them, decimal,
/// octal or hexadecimal, of which the last fills what the others leave.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let mut numbers = Vec::new();
    for part in text.splitn(5, '.') {
        numbers.push(c_number(part)?);
    }
    let (last, first) = numbers.split_last()?;
    let left_bits = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?)?;
    if first.len() > 3 || first.iter().any(|&number| number > 0xff) {
        return None;
    }
    if u64::from(*last) >= 1 << left_bits {
        return None;
    }
    let first = first.iter().zip([24, 16, 8]);
    let first = first.fold(0, |bits, (number, shift)| bits | number << shift);
    Some(Ipv4Addr::from_bits(first | last))
}

/// A number as C writes it (`strtoul(3)` with base 0), of 32 bits.
fn c_number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign, which the function does not.
    let all_digits = digits.chars().all(|c| c.is_digit(radix));
    let number = u32::from_str_radix(digits, radix);
    number.ok().filter(|_| all_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_addresses_as_the_c_library_reads_them() {
        let read = |text: &str| inet_aton(text).map(|address| address.to_string());
        for (text, address) in [
            ("10", "0.0.0.10"),
            ("0x7f", "0.0.0.127"),
            ("0X7F.1", "127.0.0.1"),
            ("0177.1", "127.0.0.1"),
            ("1.2.65535", "1.2.255.255"),
            ("1.16777215", "1.255.255.255"),
            ("4294967295", "255.255.255.255"),
            ("192.168.0.1", "192.168.0.1"),
            ("00", "0.0.0.0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(address), "{text}");
        }
        for name in [
            "1e3",
            "0x",
            "08",
            "10a",
            "1.2.65536",
            "1.16777216",
            "4294967296",
            "256.1",
            "1.2.3.256",
            "1.2.3.4.5",
            "10.",
            "1..2",
            "a.1",
            "1.a",
            "0xg",
            "0x-1",
            "pc1",
            "1-2",
            "",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn domains_have_everything_below_them() {
        for name in [
            "localhost",
            "LocalHost",
            "a.localhost",
            "localhost.",
            "local",
            "printer.local",
            "onion",
            "host.docker.internal",
            "gateway.docker.internal",
            "ip6-loopback",
            "docker.for.mac.localhost",
        ] {
            assert!(meaning(name).is_some(), "{name}");
        }
        for name in [
            "localhosts",
            "mylocalhost",
            "tests",
            "local.a",
            "internal",
            "a-local",
        ] {
            assert_eq!(meaning(name), None, "{name}");
        }
    }
}
