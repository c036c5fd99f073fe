//! The attack on a server that takes datagrams.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::noise;
use crate::soak::{Done, Stop, length, quota};

/// Attackers that flood, each from an address that the server does not know.
const FLOODERS: u8 = 100;

/// Datagrams that one of them sends in a burst, and the time between two bursts.
const BURST: usize = 5;
const BURST_EVERY: Duration = Duration::from_millis(100);

/// Attackers that come into the book and leave it, or vanish without a word.
const COMERS: u8 = 20;

/// The largest datagram sent, far more than the server reads.
const LARGE_BYTES: usize = 60_000;

/// Attacks until `stop`, and lets as many users come and go as are owed.
pub(crate) async fn attack(server: SocketAddr, stop: Stop) -> Done {
    let mut flooders = JoinSet::new();
    for number in 1..=FLOODERS {
        flooders.spawn(flood(server, number, stop.clone()));
    }
    let mut comers = JoinSet::new();
    for number in 1..=COMERS {
        comers.spawn(come_and_go(server, number, stop.clone()));
    }
    let came = comers.join_all().await.iter().sum();
    let sent = flooders.join_all().await.iter().sum();
    vec![
        ("datagrams from strangers", sent),
        ("users that came and went", came),
    ]
}

/// Sends bursts of noise until `stop`; tells how many datagrams.
async fn flood(server: SocketAddr, number: u8, stop: Stop) -> u64 {
    let mut rng = noise::rng(number.into());
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 5, number), 0))
        .await
        .unwrap();
    let mut ticks = interval(BURST_EVERY);
    let mut sent = 0;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for _ in 0..BURST {
            // A full buffer of the sender's own is no matter.
            sent += u64::from(socket.try_send_to(&datagram(&mut rng), server).is_ok());
        }
    }
    sent
}

fn datagram(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..8) {
        0 => Vec::new(),
        1 => vec![b'x'; LARGE_BYTES],
        2 => format!("hi {}", noise::text(rng)).into_bytes(),
        3 => format!("tx {}", noise::text(rng)).into_bytes(),
        4 => format!("rc {}", noise::text(rng)).into_bytes(),
        5 => b"ul".to_vec(),
        _ => noise::bytes(rng, 1500),
    }
}

/// Comes into the book its share of times, each time from another port; tells how often.
async fn come_and_go(server: SocketAddr, number: u8, stop: Stop) -> u64 {
    let share = quota().div_ceil(COMERS.into()).max(1);
    let mut ticks = interval(length() / u32::try_from(share).unwrap());
    let mut rng = noise::rng(1000 + u64::from(number));
    for turn in 0.. {
        if turn >= share && stop.is_cancelled() {
            return turn;
        }
        ticks.tick().await;
        let address = Ipv4Addr::new(127, 0, 6, number);
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        let hostile = format!("tx {}", noise::text(&mut rng));
        for datagram in [&format!("hi u{number}-{turn}"), "rj lobby", &hostile] {
            socket.send_to(datagram.as_bytes(), server).await.unwrap();
        }
        // Every second one vanishes without a word.
        if turn % 2 == 0 {
            socket.send_to(b"by", server).await.unwrap();
        }
    }
    unreachable!("a count without an end")
}
