//! Any bytes as the packets of a capture. Each begins with its link type (one byte), the seconds
//! since the one before it (one byte) and its length (two bytes).

use rig::analysis::{Analyzer, Options};
use rig::units::Timestamp;
use rig::wire::{Captured, Checksums, Decoder, LinkType, Packet, Transport, arp_operation, decode};

const LINKS: [LinkType; 6] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
    LinkType::Null,
    LinkType::Loop,
];

pub(crate) fn run(bytes: &[u8]) {
    // Wrong checksums end the way into what a packet carries: for some inputs they are ignored.
    let checksums = if bytes.len().is_multiple_of(2) {
        Checksums::Judged
    } else {
        Checksums::Ignored
    };
    let mut decoder = Decoder::default().with_checksums(checksums);
    let mut analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: true,
    });
    let (mut rest, mut frame, mut at) = (bytes, 0, Timestamp(0));
    while let Some((&[link, seconds, high, low], packet)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(packet.len());
        let (data, following) = packet.split_at(len);
        rest = following;
        frame += 1;
        at = Timestamp(at.0 + u64::from(seconds) * 1_000_000_000);
        let captured = Captured {
            frame,
            at,
            link: LINKS[usize::from(link) % LINKS.len()],
            data,
            orig_len_bytes: u32::from(u16::from_be_bytes([high, low])),
            outgoing: link & 0x80 != 0,
        };
        let _ = arp_operation(captured.link, data);
        if let Ok(packet) = decode(captured.link, data, captured.orig_len_bytes) {
            look_at(&packet, data.len());
        }
        if let Ok(packet) = decoder.decode(&captured) {
            look_at(&packet, bytes.len());
            analyzer.push(frame, at, &packet);
        }
        take_given_up(&mut decoder, &mut analyzer, bytes.len());
    }
    decoder.finish();
    take_given_up(&mut decoder, &mut analyzer, bytes.len());
    assert!(decoder.lost_fragments() <= frame);
    let _ = analyzer.finish();
}

fn take_given_up(decoder: &mut Decoder, analyzer: &mut Analyzer, most_bytes: usize) {
    while let Some((frame, at, packet)) = decoder.given_up() {
        look_at(&packet, most_bytes);
        analyzer.push(frame, at, &packet);
    }
}

fn look_at(packet: &Packet<'_>, most_bytes: usize) {
    let _ = (packet.endpoints(), packet.tunnels.to_string());
    let payload = match &packet.transport {
        Transport::Tcp(tcp) => {
            let _ = tcp.options();
            tcp.payload
        }
        Transport::Udp(udp) => udp.payload,
        _ => &[],
    };
    assert!(payload.len() <= most_bytes);
}
