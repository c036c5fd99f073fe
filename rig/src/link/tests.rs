//! Packets at a link, one after another.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::units::Timestamp;
use crate::wire::synth::{Segment, udp};
use crate::wire::{Checksum, IcmpKind, LinkType, Transport, decode, digest};

const MS: u64 = 1_000_000;
const ETHERNET_BYTES: usize = 14;

const ALICE: &str = "10.0.1.10:4000";
const SERVER: &str = "10.0.2.10:80";
/// The link's address on the second network.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 210);

fn order(settings: Settings) -> LinkOrder {
    let network = |third: u8| Route {
        network: format!("10.0.{third}.0/24").parse().unwrap(),
        via: None,
    };
    LinkOrder {
        addresses: [Ipv4Addr::new(10, 0, 1, 210), OUTSIDE],
        routes: [vec![network(1)], vec![network(2)]],
        settings: [settings, Settings::default()],
        seed: 7,
        masquerade: false,
        rules: Vec::new(),
    }
}

fn with(changes: &[(Key, &str)]) -> Settings {
    let mut settings = Settings::default();
    for (key, text) in changes {
        settings.apply(Setting::read(*key, text).unwrap());
    }
    assert_eq!(settings.clash(), None);
    settings
}

fn rule(event: &str) -> Rule {
    Rule {
        text: event.to_owned(),
        from: Vec::new(),
        to: Vec::new(),
        event: Some(event.to_owned()),
        protocol: None,
        port: None,
        first: 1,
        every: 1,
        count: None,
    }
}

fn segment(from: &str, to: &str, flags: u8, payload: &[u8]) -> Vec<u8> {
    let segment = Segment {
        flags,
        payload,
        ..Segment::new(from.parse().unwrap(), to.parse().unwrap())
    };
    segment.bytes()[ETHERNET_BYTES..].to_vec()
}

fn syn() -> Vec<u8> {
    segment(ALICE, SERVER, 0x02, b"")
}

fn read(packet: &[u8]) -> crate::wire::Packet<'_> {
    let len = u32::try_from(packet.len()).unwrap();
    decode(LinkType::RawIp, packet, len).unwrap()
}

/// When each of so many packets, one a millisecond, leaves; `None` for a lost one.
fn leaving(link: &mut Link, packets: u64) -> Vec<Option<u64>> {
    (0..packets)
        .map(
            |number| match link.take(Side::First, Timestamp(number * MS), &mut syn()) {
                Fate::Sent { due, .. } => Some(due.0),
                _ => None,
            },
        )
        .collect()
}

#[test]
fn a_packet_is_sent_on_with_one_hop_less() {
    let mut link = Link::new(order(with(&[(Key::Delay, "25ms")]))).unwrap();
    let mut packet = syn();
    let before = packet.clone();
    let fate = link.take(Side::First, Timestamp(MS), &mut packet);
    let sent = Fate::Sent {
        due: Timestamp(26 * MS),
        next: Ipv4Addr::new(10, 0, 2, 10),
        twice: false,
        digest: digest(&before),
    };
    assert_eq!(fate, sent);
    assert_eq!(packet[8], before[8] - 1);
    assert_eq!(read(&packet).checksum, Checksum::Credible);
    let account = link.account();
    assert_eq!((account.forwarded, account.deeds.len()), ([1, 0], 0));
}

#[test]
fn the_same_seed_means_the_same_fates() {
    let settings = with(&[
        (Key::Delay, "5ms"),
        (Key::Jitter, "5ms"),
        (Key::Loss, "20%"),
    ]);
    let fates = |seed, settings: &Settings| {
        let order = LinkOrder {
            seed,
            ..order(settings.clone())
        };
        leaving(&mut Link::new(order).unwrap(), 1000)
    };
    assert_eq!(fates(7, &settings), fates(7, &settings));
    assert_ne!(fates(7, &settings), fates(8, &settings));
    // Another jitter loses the same packets.
    let calm = Settings {
        jitter: Duration::ZERO,
        ..settings.clone()
    };
    let lost = |fates: Vec<Option<u64>>| fates.into_iter().map(|f| f.is_none()).collect::<Vec<_>>();
    assert_eq!(lost(fates(7, &settings)), lost(fates(7, &calm)));
}

#[test]
fn losses_are_as_many_and_as_long_as_asked_for() {
    for (burst, mean) in [("1", 1.0..1.2), ("4", 3.6..4.4)] {
        let settings = with(&[(Key::Loss, "10%"), (Key::Burst, burst)]);
        let fates = leaving(&mut Link::new(order(settings)).unwrap(), 100_000);
        let lost = fates.iter().filter(|fate| fate.is_none()).count();
        assert!((9_300..10_700).contains(&lost), "{lost}");
        let bursts = fates
            .windows(2)
            .filter(|p| p[0].is_some() && p[1].is_none());
        let length = f64::from(u32::try_from(lost).unwrap())
            / f64::from(u32::try_from(bursts.count()).unwrap());
        assert!(mean.contains(&length), "{length}");
    }
}

#[test]
fn jitter_has_its_distribution_and_overtakes_nobody() {
    for (distribution, least, most, mean) in [
        ("uniform", 5, 15, 9.5..10.5),
        ("normal", 0, 25, 9.5..10.5),
        ("pareto", 10, 110, 14.0..16.0),
    ] {
        let settings = with(&[
            (Key::Delay, "10ms"),
            (Key::Jitter, "5ms"),
            (Key::Distribution, distribution),
        ]);
        let mut link = Link::new(order(settings)).unwrap();
        let mut last = 0;
        let mut sum = 0;
        let packets = 20_000;
        for number in 0..packets {
            // So far apart that none waits for another.
            let at = number * 1000 * MS;
            let Fate::Sent { due, .. } = link.take(Side::First, Timestamp(at), &mut syn()) else {
                panic!("it is lost");
            };
            link.left(Side::First, syn().len());
            assert!(
                (least * MS..=most * MS).contains(&(due.0 - at)),
                "{}",
                due.0 - at
            );
            assert!(due.0 >= last);
            last = due.0;
            sum += due.0 - at;
        }
        let millis = f64::from(u32::try_from(sum / packets / 1000).unwrap()) / 1000.0;
        assert!(mean.contains(&millis), "{distribution}: {millis}");
        // Close together they keep their order.
        let fates = leaving(
            &mut Link::new(order(with(&[
                (Key::Delay, "10ms"),
                (Key::Jitter, "5ms"),
                (Key::Distribution, distribution),
            ])))
            .unwrap(),
            1000,
        );
        assert!(fates.is_sorted());
    }
}

#[test]
fn only_reordered_packets_overtake() {
    let settings = with(&[(Key::Delay, "10ms"), (Key::Reorder, "10%")]);
    let mut link = Link::new(order(settings)).unwrap();
    let fates = leaving(&mut link, 1000);
    let early = (0..1000).filter(|n| fates[usize::try_from(*n).unwrap()] == Some(n * MS));
    let early = early.count();
    assert!((60..150).contains(&early), "{early}");
    let deeds = link.account().deeds;
    assert!(deeds.iter().all(|deed| deed.what == What::Reordered));
    assert_eq!(deeds.len(), early);
}

#[test]
fn a_rate_spaces_packets_and_its_queue_overflows() {
    // A SYN of 40 bytes takes 10 ms.
    let settings = with(&[(Key::Rate, "32kbit"), (Key::Queue, "3")]);
    let mut link = Link::new(order(settings)).unwrap();
    let fates = leaving(&mut link, 10);
    let spaced: Vec<Option<u64>> = (1..=4).map(|n| Some(n * 10 * MS)).collect();
    assert_eq!(fates[..4], spaced[..]);
    assert_eq!(fates[4..10], [None; 6]);
    let account = link.account();
    assert_eq!(account.lost["queue full"], 6);
    assert_eq!(
        account.deeds[0].what.comment("uplink"),
        "delayed by 10.0ms on link uplink, not 0ns: rate"
    );
    // Once it has drained there is room again.
    let fate = link.take(Side::First, Timestamp(1000 * MS), &mut syn());
    assert!(matches!(fate, Fate::Sent { due: Timestamp(due), .. } if due == 1010 * MS));

    let settings = with(&[(Key::Rate, "32kbit"), (Key::Queue, "100B")]);
    let fates = leaving(&mut Link::new(order(settings)).unwrap(), 10);
    assert_eq!(fates.iter().flatten().count(), 3);
}

#[test]
fn what_is_under_way_is_bounded() {
    let mut link = Link::new(order(with(&[(Key::Delay, "1m")]))).unwrap();
    let packet = segment(ALICE, SERVER, 0x10, &[0; 1400]);
    let mut sent = 0;
    while let Fate::Sent { .. } = link.take(Side::First, Timestamp(sent), &mut packet.clone()) {
        sent += 1;
        assert!(sent < 100_000);
    }
    assert!(sent * 1400 < MAX_UNDER_WAY_BYTES as u64);
    link.left(Side::First, packet.len());
    let fate = link.take(Side::First, Timestamp(sent), &mut packet.clone());
    assert!(matches!(fate, Fate::Sent { .. }));
}

#[test]
fn rules_lose_what_fits_and_count_it() {
    let packets = [
        segment(ALICE, SERVER, 0x02, b""),
        segment(SERVER, ALICE, 0x12, b""),
        segment(ALICE, SERVER, 0x18, b"twelve bytes"),
        segment(SERVER, ALICE, 0x14, b""),
        segment(SERVER, ALICE, 0x11, b""),
        udp(
            ALICE.parse().unwrap(),
            "10.0.2.10:53".parse().unwrap(),
            b"ask",
        )[ETHERNET_BYTES..]
            .to_vec(),
    ];
    let from = |rule: Rule, network: &str| Rule {
        from: vec![network.parse().unwrap()],
        ..rule
    };
    for (rule, lost) in [
        (rule("SYN"), &[0][..]),
        (rule("SYN-ACK"), &[1]),
        (rule("DATA[len=12]"), &[2]),
        (rule("DATA"), &[2, 5]),
        (rule("RST"), &[3]),
        (from(rule("RST"), "10.0.1.0/24"), &[]),
        (from(rule("RST"), "10.0.2.10/32"), &[3]),
        (rule("ANY"), &[0, 1, 2, 3, 4, 5]),
        (
            Rule {
                port: Some(53),
                ..rule("ANY")
            },
            &[5],
        ),
        (
            Rule {
                protocol: Some(Protocol::Udp),
                ..rule("ANY")
            },
            &[5],
        ),
        (
            Rule {
                protocol: Some(Protocol::Tcp),
                event: None,
                ..rule("ANY")
            },
            &[0, 1, 2, 3, 4],
        ),
        (
            Rule {
                first: 3,
                count: Some(1),
                ..rule("ANY")
            },
            &[2],
        ),
        (
            Rule {
                count: Some(2),
                ..rule("ANY")
            },
            &[0, 1],
        ),
        (
            Rule {
                first: 2,
                every: 2,
                ..rule("ANY")
            },
            &[1, 3, 5],
        ),
    ] {
        let mut order = order(Settings::default());
        order.rules = vec![rule.clone()];
        let mut link = Link::new(order).unwrap();
        let taken: Vec<usize> = (0..packets.len())
            .filter(|index| {
                let source = read(&packets[*index]).source;
                let from = if source == ALICE.parse::<SocketAddr>().unwrap().ip() {
                    Side::First
                } else {
                    Side::Second
                };
                link.take(from, Timestamp(0), &mut packets[*index].clone()) == Fate::Lost
            })
            .collect();
        assert_eq!(taken, lost, "{rule:?}");
        assert_eq!(link.account().rules[0].lost, lost.len() as u64);
    }
    let mut order = order(Settings::default());
    order.rules = vec![Rule {
        count: Some(1),
        text: "SYN from alice".to_owned(),
        ..rule("SYN")
    }];
    let mut link = Link::new(order).unwrap();
    link.take(Side::First, Timestamp(3), &mut syn());
    let comment = link.account().deeds[0].what.comment("uplink");
    assert_eq!(comment, "lost on link uplink: rule SYN from alice (1 of 1)");
}

#[test]
fn a_cut_and_a_partition_let_nothing_pass() {
    let mut link = Link::new(order(with(&[(Key::Cut, "true")]))).unwrap();
    let back = || segment(SERVER, ALICE, 0x12, b"");
    assert_eq!(link.take(Side::First, Timestamp(0), &mut syn()), Fate::Lost);
    let fate = link.take(Side::Second, Timestamp(0), &mut back());
    assert!(matches!(fate, Fate::Sent { .. }), "one direction is cut");
    link.set([Settings::default(), Settings::default()]);
    assert!(matches!(
        link.take(Side::First, Timestamp(0), &mut syn()),
        Fate::Sent { .. }
    ));
    let [alice, server] = [ALICE, SERVER].map(|text| {
        let address: std::net::SocketAddrV4 = text.parse().unwrap();
        vec![*address.ip()]
    });
    link.partition(vec![alice.clone(), server.clone()]);
    for mut packet in [syn(), back()] {
        assert_eq!(
            link.take(Side::First, Timestamp(0), &mut packet),
            Fate::Lost
        );
    }
    link.partition(vec![[alice, server].concat()]);
    assert!(matches!(
        link.take(Side::First, Timestamp(0), &mut syn()),
        Fate::Sent { .. }
    ));
    let lost = link.account().lost;
    assert_eq!((lost["cut"], lost["partition"]), (1, 2));
}

#[test]
fn who_sends_too_much_is_told() {
    let mut link = Link::new(order(with(&[(Key::Mtu, "1400")]))).unwrap();
    let mut long = segment(ALICE, SERVER, 0x10, &[7; 1400]);
    let Fate::Answered(answer) = link.take(Side::First, Timestamp(0), &mut long) else {
        panic!("no answer");
    };
    let told = read(&answer);
    let Transport::IcmpError(error) = told.transport else {
        panic!("{told:?}");
    };
    let needed = IcmpKind {
        v6: false,
        icmp_type: 3,
        code: 4,
    };
    assert_eq!((error.kind, error.sender), (needed, ALICE.parse().unwrap()));
    assert_eq!(answer[26..28], 1400_u16.to_be_bytes());
    assert_eq!(answer.len(), 576);
    let mut worn = syn();
    worn[8] = 1;
    let Fate::Answered(answer) = link.take(Side::First, Timestamp(0), &mut worn) else {
        panic!("no answer");
    };
    assert_eq!(answer[20..22], [11, 0]);
    // Errors are not answered with errors.
    let mut error = answer;
    error[8] = 1;
    assert_eq!(link.take(Side::First, Timestamp(0), &mut error), Fate::Lost);
}

fn masqueraded() -> Link {
    let order = LinkOrder {
        masquerade: true,
        ..order(Settings::default())
    };
    Link::new(order).unwrap()
}

#[test]
fn a_masquerade_hides_the_inside() {
    let mut link = masqueraded();
    let mut out = syn();
    let fate = link.take(Side::First, Timestamp(0), &mut out);
    assert!(matches!(fate, Fate::Sent { .. }));
    let outside = SocketAddr::from((OUTSIDE, 4000));
    let server: SocketAddr = SERVER.parse().unwrap();
    assert_eq!(read(&out).endpoints(), Some((outside, server)));
    assert_eq!(read(&out).checksum, Checksum::Credible);

    // Another host with the same port gets another one.
    let mut other = segment("10.0.1.11:4000", SERVER, 0x02, b"");
    link.take(Side::First, Timestamp(0), &mut other);
    let second = SocketAddr::from((OUTSIDE, 1024));
    assert_eq!(read(&other).endpoints(), Some((second, server)));

    let outside = outside.to_string();
    let mut back = segment(SERVER, &outside, 0x12, b"");
    let Fate::Sent { next, .. } = link.take(Side::Second, Timestamp(0), &mut back) else {
        panic!("the answer is lost");
    };
    assert_eq!(
        read(&back).endpoints(),
        Some((server, ALICE.parse().unwrap()))
    );
    assert_eq!(SocketAddr::from((next, 4000)), ALICE.parse().unwrap());

    // A stranger, and who asks for the inside by its own address, meets nobody.
    for mut stranger in [
        segment("10.0.2.11:80", &outside, 0x02, b""),
        segment(SERVER, ALICE, 0x12, b""),
    ] {
        let fate = link.take(Side::Second, Timestamp(0), &mut stranger);
        assert_eq!(fate, Fate::Lost);
    }
    assert_eq!(link.account().lost["no mapping"], 2);
    let comment = link.account().deeds[0].what.comment("uplink");
    assert_eq!(
        comment,
        "translated by link uplink: 10.0.1.10:4000 becomes 10.0.2.210:4000"
    );
}

#[test]
fn a_masquerade_translates_errors_and_what_they_quote() {
    let mut link = masqueraded();
    let mut out = syn();
    link.take(Side::First, Timestamp(0), &mut out);
    // A router further on has had enough of it.
    let mut worn = Link::new(order(Settings::default())).unwrap();
    out[8] = 1;
    let Fate::Answered(mut error) = worn.take(Side::First, Timestamp(0), &mut out) else {
        panic!("no answer");
    };
    let fate = link.take(Side::Second, Timestamp(0), &mut error);
    assert!(matches!(fate, Fate::Sent { .. }), "{:?}", link.account());
    let Transport::IcmpError(told) = read(&error).transport else {
        panic!("no error");
    };
    assert_eq!(told.sender, ALICE.parse().unwrap());
    assert_eq!(told.receiver, SERVER.parse().unwrap());
}

#[test]
fn copies_and_damage_are_told() {
    let settings = with(&[(Key::Duplicate, "100%"), (Key::Corrupt, "100%")]);
    let mut link = Link::new(order(settings)).unwrap();
    let mut packet = syn();
    let fate = link.take(Side::First, Timestamp(0), &mut packet);
    assert!(matches!(fate, Fate::Sent { twice: true, .. }));
    assert_eq!(read(&packet).checksum, Checksum::WrongTransport);
    let deeds: Vec<_> = link.account().deeds.into_iter().map(|d| d.what).collect();
    assert!(
        matches!(deeds[..], [What::Duplicated, What::Corrupted { .. }]),
        "{deeds:?}"
    );
}

#[test]
fn deeds_are_bounded_and_the_rest_is_counted() {
    let mut link = Link::new(order(with(&[(Key::Loss, "100%")]))).unwrap();
    leaving(&mut link, MAX_DEEDS as u64 + 5);
    let account = link.account();
    assert_eq!((account.deeds.len(), account.unrecorded), (MAX_DEEDS, 5));
    assert_eq!(account.unrecorded_losses, 5);
    assert_eq!(account.lost["random"], MAX_DEEDS as u64 + 5);
}
