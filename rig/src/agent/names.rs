//! The name service of the host: it answers look-ups from the host's own `/etc/hosts`, and at once.
//!
//! Programs find each other's names in `/etc/hosts` by themselves. What stands there not, such as a name that is wrong
//! or an IPv6 address, they ask a name server for, and one on a closed network never answers: each look-up then takes
//! as long as the program's patience (twice 5 s with glibc's defaults, resolv.conf(5)). What this server does not
//! know does not exist.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddrV4};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ToName, Ttl};
use domain::rdata::{A, Aaaa, Ptr};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::protocol::NAME_SERVER;
use crate::plan::NAME_SERVER_PORT;

/// What the host's programs are told about name servers. Shorter patience would not matter: each question is answered.
fn resolver_configuration() -> String {
    format!(
        "# The name service of rig: names of /etc/hosts, and no others.\nnameserver {NAME_SERVER}\n"
    )
}

/// The longest question that is read, in bytes: what resolvers ask without EDNS (RFC 1035, section 2.3.4) is shorter by
/// far, and what they say with it fits a packet.
const MAX_QUESTION_BYTES: usize = 1500;

/// How much of the file of names is read, in bytes.
const MAX_HOSTS_BYTES: u64 = 1024 * 1024;

/// How long an answer may be kept, in seconds: a program may change the file.
const KEPT_FOR: Ttl = Ttl::ZERO;

/// Errors of receiving in a row after which the service gives up.
const MAX_ERRORS: u32 = 100;

/// The server, as long as it lives.
#[derive(Debug)]
pub(super) struct NameService(JoinHandle<()>);

impl NameService {
    /// Serves names.
    pub(super) fn start() -> io::Result<Self> {
        let socket = listen(SocketAddrV4::new(NAME_SERVER, NAME_SERVER_PORT))?;
        Ok(Self(tokio::spawn(serve(socket, Path::new("/etc/hosts")))))
    }
}

/// Has the host's programs ask for names at [`NAME_SERVER`].
pub(super) fn direct_programs() -> io::Result<()> {
    // Written in place: the engine shows this very file to the containers of the host's programs.
    fs::write("/etc/resolv.conf", resolver_configuration())
}

impl Drop for NameService {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A socket that shares its port with programs that bind it for all addresses and allow that (`SO_REUSEADDR`).
fn listen(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    UdpSocket::from_std(socket.into())
}

async fn serve(socket: UdpSocket, hosts: &'static Path) {
    let mut question = [0; MAX_QUESTION_BYTES];
    let mut errors = 0;
    while errors < MAX_ERRORS {
        let (length, from) = match socket.recv_from(&mut question).await {
            Ok(received) => received,
            Err(error) => {
                errors += 1;
                tracing::debug!(%error, "no question for a name could be received");
                continue;
            }
        };
        errors = 0;
        if let Some(answer) = answer(&question[..length], &read_names(hosts)) {
            // Whoever asks under an address that cannot be answered ends nothing.
            if let Err(error) = socket.send_to(&answer, from).await {
                tracing::debug!(%error, %from, "a question for a name could not be answered");
            }
        }
    }
    tracing::warn!("names are not served any more: {MAX_ERRORS} errors in a row");
}

/// Names and addresses, as hosts(5) has them.
type Names = Vec<(IpAddr, Vec<String>)>;

fn read_names(hosts: &Path) -> Names {
    let mut text = Vec::new();
    let read =
        fs::File::open(hosts).and_then(|file| file.take(MAX_HOSTS_BYTES).read_to_end(&mut text));
    if let Err(error) = read {
        tracing::debug!(%error, "the file of names could not be read");
    }
    parse_names(&String::from_utf8_lossy(&text))
}

fn parse_names(text: &str) -> Names {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        Some((address, words.map(str::to_owned).collect()))
    };
    text.lines().filter_map(line).collect()
}

/// The answer to a question; none to what is no question.
fn answer(question: &[u8], names: &Names) -> Option<Vec<u8>> {
    let message = Message::from_octets(question).ok()?;
    // Whoever answers an answer may be answered for ever.
    if message.header().qr() {
        return None;
    }
    let refuse = |code| {
        let refusal = MessageBuilder::new_vec().start_error(&message, code);
        Some(refusal.finish())
    };
    if message.header().opcode() != Opcode::QUERY {
        return refuse(Rcode::NOTIMP);
    }
    let Ok(asked) = message.sole_question() else {
        return refuse(Rcode::FORMERR);
    };
    if !matches!(asked.qclass(), Class::IN | Class::ANY) {
        return refuse(Rcode::REFUSED);
    }
    let name = asked.qname().to_name::<Vec<u8>>();
    let wants = |kind| [kind, Rtype::ANY].contains(&asked.qtype());
    let found = look_up(&name, names);
    let code = if found.is_empty() {
        Rcode::NXDOMAIN
    } else {
        Rcode::NOERROR
    };
    let mut builder = MessageBuilder::new_vec()
        .start_answer(&message, code)
        .ok()?;
    builder.header_mut().set_aa(true);
    builder.header_mut().set_ra(true);
    for entry in found {
        let pushed = match entry {
            Entry::Address(IpAddr::V4(address)) if wants(Rtype::A) => {
                builder.push((&name, KEPT_FOR, A::new(address)))
            }
            Entry::Address(IpAddr::V6(address)) if wants(Rtype::AAAA) => {
                builder.push((&name, KEPT_FOR, Aaaa::new(address)))
            }
            Entry::Name(of) if wants(Rtype::PTR) => builder.push((&name, KEPT_FOR, Ptr::new(of))),
            _ => Ok(()),
        };
        pushed.ok()?;
    }
    let mut additional = builder.additional();
    if message.opt().is_some() {
        // RFC 6891, section 6.1.1: whoever understands EDNS says so.
        let size = u16::try_from(MAX_QUESTION_BYTES).unwrap_or(u16::MAX);
        let opt = additional.opt(|opt| {
            opt.set_udp_payload_size(size);
            Ok(())
        });
        opt.ok()?;
    }
    Some(additional.finish())
}

/// What stands behind a name.
enum Entry {
    Address(IpAddr),
    Name(Name<Vec<u8>>),
}

fn look_up(name: &Name<Vec<u8>>, names: &Names) -> Vec<Entry> {
    let is = |other: &str| {
        other
            .parse::<Name<Vec<u8>>>()
            .is_ok_and(|other| other.name_eq(name))
    };
    let addresses = names
        .iter()
        .filter(|(_, of)| of.iter().any(|other| is(other)))
        .map(|(address, _)| Entry::Address(*address));
    let reverse = names.iter().filter_map(|(address, of)| {
        let own = Name::<Vec<u8>>::reverse_from_addr(*address).ok()?;
        let first = of.first()?.parse().ok()?;
        own.name_eq(name).then_some(Entry::Name(first))
    });
    addresses.chain(reverse.take(1)).collect()
}

#[cfg(test)]
mod tests {
    use domain::rdata::AllRecordData;

    use super::*;

    const HOSTS: &str = "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n\n# 1.2.3.4 gone\n\
        10.0.0.10 Server hub # here\n10.0.0.11\tserver\nnonsense server\n";

    fn ask(name: &str, kind: Rtype) -> Vec<u8> {
        let mut question = MessageBuilder::new_vec();
        question.header_mut().set_id(0x1234);
        question.header_mut().set_rd(true);
        let mut question = question.question();
        question
            .push((name.parse::<Name<Vec<u8>>>().unwrap(), kind))
            .unwrap();
        question.finish()
    }

    /// The code and the data of an answer, in words.
    fn answered(question: &[u8]) -> String {
        let answer = answer(question, &parse_names(HOSTS)).unwrap();
        let message = Message::from_octets(&answer[..]).unwrap();
        assert_eq!(&answer[..2], &question[..2]);
        assert!(message.header().qr());
        let mut words = vec![message.header().rcode().to_string()];
        let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
        words.extend(records.map(|record| record.unwrap().data().to_string()));
        words.join(" ")
    }

    #[test]
    fn names_of_the_file_are_known_in_any_case_and_no_others() {
        for (name, kind, expected) in [
            ("server", Rtype::A, "NOERROR 10.0.0.10 10.0.0.11"),
            ("SERVER.", Rtype::A, "NOERROR 10.0.0.10 10.0.0.11"),
            ("server", Rtype::AAAA, "NOERROR"),
            ("server", Rtype::HTTPS, "NOERROR"),
            ("server", Rtype::from_int(65_000), "NOERROR"),
            ("server", Rtype::ANY, "NOERROR 10.0.0.10 10.0.0.11"),
            ("localhost", Rtype::AAAA, "NOERROR ::1"),
            ("hub", Rtype::A, "NOERROR 10.0.0.10"),
            ("10.0.0.10.in-addr.arpa", Rtype::PTR, "NOERROR Server."),
            ("10.0.0.10.in-addr.arpa", Rtype::A, "NOERROR"),
            ("12.0.0.10.in-addr.arpa", Rtype::PTR, "NXDOMAIN"),
            ("gone", Rtype::A, "NXDOMAIN"),
            ("server.lan", Rtype::A, "NXDOMAIN"),
            ("here", Rtype::AAAA, "NXDOMAIN"),
            (".", Rtype::NS, "NXDOMAIN"),
        ] {
            assert_eq!(answered(&ask(name, kind)), expected, "{name} {kind}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused_or_left() {
        let question = ask("server", Rtype::A);
        let changed = |place: usize, byte| {
            let mut bytes = question.clone();
            bytes[place] = byte;
            bytes
        };
        // Status, no question, another class, cut off.
        assert_eq!(answered(&changed(2, 2 << 3)), "NOTIMP");
        assert_eq!(answered(&changed(5, 0)), "FORMERR");
        assert_eq!(answered(&changed(5, 2)), "FORMERR");
        assert_eq!(answered(&changed(question.len() - 1, 3)), "REFUSED");
        assert_eq!(answered(&question[..question.len() - 3]), "FORMERR");
        let names = parse_names(HOSTS);
        assert_eq!(answer(&changed(2, 0x81), &names), None);
        assert_eq!(answer(&question[..11], &names), None);
        assert_eq!(answer(&[], &names), None);
    }

    #[tokio::test]
    async fn questions_are_answered_over_the_network() {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let service = NameService(tokio::spawn(serve(socket, Path::new("/etc/hosts"))));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..2 {
            // What makes no sense is no end of it.
            client.send_to(b"?", address).await.unwrap();
            client
                .send_to(&ask("no.such.name", Rtype::A), address)
                .await
                .unwrap();
            let mut bytes = [0; MAX_QUESTION_BYTES];
            let length = client.recv(&mut bytes).await.unwrap();
            let message = Message::from_octets(&bytes[..length]).unwrap();
            assert_eq!(message.header().rcode(), Rcode::NXDOMAIN);
        }
        drop(service);
    }
}
