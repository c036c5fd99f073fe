//! The name service of the host: it answers look-ups from the host's own `/etc/hosts`, and at once.
//!
//! Programs find each other's names in `/etc/hosts` by themselves. What stands there not, such as a name that is wrong
//! or an IPv6 address, they ask a name server for, and one on a closed network never answers: each look-up then takes
//! as long as the program's patience (twice 5 s with glibc's defaults, resolv.conf(5)). What this server does not
//! know does not exist.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ToName as _, Ttl};
use domain::rdata::{A, Aaaa, Ptr};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use super::protocol::NAME_SERVER;
use crate::plan::NAME_SERVER_PORT;

/// Where nobody can be asked: an address for documentation (RFC 5737), to which a closed network has no route, so that
/// asking fails at once. At a loopback address a program that has the port of all addresses would get the questions.
const NO_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

/// What the host's programs are told about name servers.
fn resolver_configuration(server: Ipv4Addr) -> String {
    format!("# rig: the names of /etc/hosts, and no others.\nnameserver {server}\n")
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

/// How long the thread waits for a question before it looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The server, as long as it lives. It has a thread of its own: programs may ask as much as they like.
#[derive(Debug)]
pub(super) struct NameService(Arc<AtomicBool>);

impl NameService {
    /// Serves names.
    pub(super) fn start() -> io::Result<Self> {
        let socket = listen(SocketAddrV4::new(NAME_SERVER, NAME_SERVER_PORT))?;
        Self::on(socket, Path::new("/etc/hosts"))
    }

    fn on(socket: UdpSocket, hosts: &'static Path) -> io::Result<Self> {
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        std::thread::Builder::new()
            .name("names".to_owned())
            .spawn(move || serve(&socket, &mut Known::new(hosts), &seen))?;
        Ok(Self(over))
    }
}

impl Drop for NameService {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has the host's programs ask for names at [`NAME_SERVER`] where they are `served`, and nobody otherwise.
pub(super) fn direct_programs(served: bool) -> io::Result<()> {
    let asked = if served { NAME_SERVER } else { NO_SERVER };
    // Written in place: the engine shows this very file to the containers of the host's programs.
    fs::write("/etc/resolv.conf", resolver_configuration(asked))
}

/// A socket that shares its port with programs that bind it for all addresses and allow that (`SO_REUSEADDR`).
fn listen(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(socket.into())
}

fn serve(socket: &UdpSocket, known: &mut Known, over: &AtomicBool) {
    let mut question = [0; MAX_QUESTION_BYTES];
    let mut errors = 0;
    while errors < MAX_ERRORS && !over.load(Ordering::Relaxed) {
        let (length, from) = match socket.recv_from(&mut question) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                errors += 1;
                tracing::debug!(%error, "no question for a name could be received");
                continue;
            }
        };
        errors = 0;
        if let Some(answer) = answer(&question[..length], known.names()) {
            // Whoever asks under an address that cannot be answered ends nothing.
            if let Err(error) = socket.send_to(&answer, from) {
                tracing::debug!(%error, %from, "a question for a name could not be answered");
            }
        }
    }
    if errors == MAX_ERRORS {
        tracing::warn!("names are not served any more: {MAX_ERRORS} errors in a row");
    }
}

/// The names of a file, read again when it has changed.
struct Known {
    file: &'static Path,
    /// When it was changed, and its length, as it was read last.
    version: Option<(SystemTime, u64)>,
    names: Names,
}

impl Known {
    fn new(file: &'static Path) -> Self {
        Self {
            file,
            version: None,
            names: Names::default(),
        }
    }

    fn names(&mut self) -> &Names {
        let version = fs::metadata(self.file)
            .and_then(|file| Ok((file.modified()?, file.len())))
            .ok();
        if version.is_none() || version != self.version {
            self.names = Names::read(self.file);
            self.version = version;
        }
        &self.names
    }
}

/// Names and addresses, as hosts(5) has them; names without regard to case (RFC 4343).
#[derive(Debug, Default)]
struct Names {
    addresses: HashMap<String, Vec<IpAddr>>,
    /// The first name of each address, by the name under which it is asked for: `10.0.0.10.in-addr.arpa`.
    reverse: HashMap<String, String>,
}

impl Names {
    fn read(file: &Path) -> Self {
        let mut text = Vec::new();
        let read =
            File::open(file).and_then(|file| file.take(MAX_HOSTS_BYTES).read_to_end(&mut text));
        if let Err(error) = read {
            tracing::debug!(%error, "the file of names could not be read");
        }
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
                continue;
            };
            let reverse = Name::<Vec<u8>>::reverse_from_addr(address);
            for (place, word) in words.enumerate() {
                let name = key(word);
                found.addresses.entry(name).or_default().push(address);
                if let (0, Ok(reverse)) = (place, &reverse) {
                    let first = found.reverse.entry(key(&reverse.to_string()));
                    first.or_insert_with(|| word.to_owned());
                }
            }
        }
        found
    }

    fn look_up(&self, name: &str) -> Vec<Entry> {
        let addresses = self.addresses.get(name).into_iter().flatten();
        let reverse = self.reverse.get(name).and_then(|name| name.parse().ok());
        let addresses = addresses.map(|address| Entry::Address(*address));
        addresses.chain(reverse.map(Entry::Name)).collect()
    }
}

/// A name as it is looked up: in lower case, without the dot of the root.
fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
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
    let found = names.look_up(&key(&name.to_string()));
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
        let answer = answer(question, &Names::parse(HOSTS)).unwrap();
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
        let names = Names::parse(HOSTS);
        assert_eq!(answer(&changed(2, 0x81), &names), None);
        assert_eq!(answer(&question[..11], &names), None);
        assert_eq!(answer(&[], &names), None);
    }

    #[test]
    fn questions_are_answered_over_the_network() {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let service = NameService::on(socket, Path::new("/etc/hosts")).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..2 {
            // What makes no sense is no end of it.
            client.send_to(b"?", address).unwrap();
            client
                .send_to(&ask("no.such.name", Rtype::A), address)
                .unwrap();
            let mut bytes = [0; MAX_QUESTION_BYTES];
            let length = client.recv(&mut bytes).unwrap();
            let message = Message::from_octets(&bytes[..length]).unwrap();
            assert_eq!(message.header().rcode(), Rcode::NXDOMAIN);
        }
        drop(service);
    }
}
