//! The attack on a server that takes connections.
//!
//! Attackers have addresses of their own in 127.0.0.0/8. So many connections are closed by them that
//! one address would run out of ports: each is in `TIME_WAIT` for a minute.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::noise;
use crate::soak::{Done, Stop, length, quota};

/// How hard a server is attacked.
pub(crate) struct Strength {
    /// Attackers that open and close connections.
    churners: u8,
    /// Attackers that send random bytes, hostile text and long lines.
    noisy: u8,
    /// Connections at a time that say nothing, or have sent FIN and read nothing.
    silent: u8,
    /// Connections at a time on which a byte a second comes.
    slow: u8,
    /// How long the silent and the slow stay.
    hold: Duration,
    /// Time between two such visits of one attacker.
    pause: Duration,
    /// Time between two visits of noise.
    noise_pause: Duration,
}

/// For a server that serves many at once.
pub(crate) const MANY: Strength = Strength {
    churners: 16,
    noisy: 4,
    silent: 200,
    slow: 50,
    hold: Duration::from_secs(20),
    pause: Duration::ZERO,
    noise_pause: Duration::ZERO,
};

/// For a server that serves one after the other: whoever stays keeps the others waiting.
pub(crate) const ONE_BY_ONE: Strength = Strength {
    churners: 16,
    noisy: 2,
    silent: 2,
    slow: 1,
    hold: Duration::from_millis(1500),
    pause: Duration::from_secs(6),
    noise_pause: Duration::from_millis(500),
};

/// A byte a second.
const SLOW_EVERY: Duration = Duration::from_secs(1);

/// How long a connection may take, and what is written on it.
const SERVER_WAIT: Duration = Duration::from_secs(30);

/// An attacker reads until nothing has come for this time, or all of this time.
const QUIET: Duration = Duration::from_millis(50);
const READ_WAIT: Duration = Duration::from_millis(500);

/// Random bytes of one visit, at most.
const RANDOM_BYTES: usize = 16 * 1024;

/// The attackers' kinds, by the third byte of their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Churner = 1,
    Noisy = 2,
    Silent = 3,
    Slow = 4,
}

#[derive(Debug, Default)]
struct Counters {
    churned: AtomicU64,
    noisy: AtomicU64,
    bytes: AtomicU64,
    silent: AtomicU64,
    slow_bytes: AtomicU64,
}

/// One attacker.
#[derive(Clone)]
struct Attacker {
    server: SocketAddr,
    kind: Kind,
    number: u8,
    hold: Duration,
    pause: Duration,
    stop: Stop,
    counters: Arc<Counters>,
}

/// Attacks until `stop`, and opens and closes as many connections as are owed.
pub(crate) async fn attack(server: SocketAddr, strength: &Strength, stop: Stop) -> Done {
    let counters = Arc::new(Counters::default());
    let mut attackers = JoinSet::new();
    for (kind, count) in [
        (Kind::Churner, strength.churners),
        (Kind::Noisy, strength.noisy),
        (Kind::Silent, strength.silent),
        (Kind::Slow, strength.slow),
    ] {
        for number in 1..=count {
            let attacker = Attacker {
                server,
                kind,
                number,
                hold: strength.hold,
                pause: match kind {
                    Kind::Noisy => strength.noise_pause,
                    _ => strength.pause,
                },
                stop: stop.clone(),
                counters: Arc::clone(&counters),
            };
            attackers.spawn(attacker.run(strength.churners));
        }
    }
    // The first failure is the one to tell.
    while let Some(ended) = attackers.join_next().await {
        ended.unwrap();
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    vec![
        ("connections opened and closed", count(&counters.churned)),
        ("visits of noise", count(&counters.noisy)),
        ("bytes of it", count(&counters.bytes)),
        ("silent connections", count(&counters.silent)),
        ("bytes sent one a second", count(&counters.slow_bytes)),
    ]
}

impl Attacker {
    async fn run(self, churners: u8) {
        match self.kind {
            Kind::Churner => self.churn(churners).await,
            Kind::Noisy => self.until_stop(Self::make_noise).await,
            Kind::Silent => self.until_stop(Self::say_nothing).await,
            Kind::Slow => self.until_stop(Self::dribble).await,
        }
    }

    /// Visits over and over; a visit is cut short at the end.
    async fn until_stop(&self, visit: impl AsyncFn(&Self, u64)) {
        for turn in 0.. {
            let whole = async {
                visit(self, turn).await;
                sleep(self.pause).await;
            };
            if self.stop.run_until_cancelled(whole).await.is_none() {
                return;
            }
        }
    }

    /// Opens and closes its share of connections, spread over the time.
    async fn churn(&self, churners: u8) {
        let share = quota().div_ceil(churners.into()).max(1);
        let period = length() / u32::try_from(share).unwrap();
        let mut ticks = interval(period.max(Duration::from_micros(1)));
        for turn in 0.. {
            if turn >= share && self.stop.is_cancelled() {
                return;
            }
            ticks.tick().await;
            self.open_and_close(turn).await;
        }
    }

    /// The ways of closing take turns.
    async fn open_and_close(&self, turn: u64) {
        let mut stream = self.connect().await;
        match turn % 4 {
            0 => {}
            1 => stream.set_zero_linger().unwrap(),
            2 => {
                // What the server sends is left unread, so that the kernel resets.
                let _ = stream
                    .write_all(format!("churn-{}\n", self.number).as_bytes())
                    .await;
            }
            _ => {
                let _ = stream.shutdown().await;
                read_a_while(&mut stream).await;
            }
        }
        drop(stream);
        self.add(|counters| &counters.churned, 1);
    }

    /// Random bytes, or a name and hostile text, or requests of a browser that lost its way, or commands of telnet, or a
    /// line of a mebibyte.
    async fn make_noise(&self, turn: u64) {
        let mut rng = noise::rng(turn * 256 + u64::from(self.number));
        let mut stream = self.connect().await;
        let bytes = match turn % 5 {
            0 => noise::bytes(&mut rng, RANDOM_BYTES),
            1 => {
                let texts: Vec<_> = (0..20).map(|_| noise::text(&mut rng)).collect();
                let name = format!("{}\nnoise-{}\n", noise::text(&mut rng), self.number);
                format!("{name}{}\n", texts.join("\n")).into_bytes()
            }
            2 => noise::requests(&mut rng).into_bytes(),
            3 => [b"telnet\n", noise::telnet(&mut rng).as_slice()].concat(),
            _ => [b"long\n", noise::long_line(&mut rng).as_slice()].concat(),
        };
        // The server may be done with such a visitor at any time.
        let written = timeout(SERVER_WAIT, stream.write_all(&bytes)).await;
        read_a_while(&mut stream).await;
        self.add(|counters| &counters.noisy, 1);
        if matches!(written, Ok(Ok(()))) {
            self.add(|counters| &counters.bytes, bytes.len() as u64);
        }
    }

    /// Says nothing, or has said already that it will not, and reads nothing.
    async fn say_nothing(&self, turn: u64) {
        let mut stream = self.connect().await;
        self.add(|counters| &counters.silent, 1);
        if (turn + u64::from(self.number)).is_multiple_of(2) {
            let _ = stream.shutdown().await;
        }
        sleep(self.hold).await;
    }

    /// A byte a second, a name and a line of text among them.
    async fn dribble(&self, _turn: u64) {
        let mut stream = self.connect().await;
        let until = Instant::now() + self.hold;
        for byte in format!("s{}\nslowly\n", self.number).bytes().cycle() {
            if stream.write_all(&[byte]).await.is_err() || Instant::now() >= until {
                return;
            }
            self.add(|counters| &counters.slow_bytes, 1);
            sleep(SLOW_EVERY).await;
        }
    }

    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        let address = Ipv4Addr::new(127, 0, self.kind as u8, self.number);
        socket.bind((address, 0).into()).unwrap();
        let connected = timeout(SERVER_WAIT, socket.connect(self.server)).await;
        connected
            .expect("a connection in time")
            .expect("a connection")
    }

    fn add(&self, counter: impl Fn(&Counters) -> &AtomicU64, count: u64) {
        counter(&self.counters).fetch_add(count, Ordering::Relaxed);
    }
}

/// Reads for a moment, or until nothing more comes.
async fn read_a_while(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    let until = Instant::now() + READ_WAIT;
    while Instant::now() < until
        && let Ok(Ok(1..)) = timeout(QUIET, stream.read(&mut bytes)).await
    {}
}
