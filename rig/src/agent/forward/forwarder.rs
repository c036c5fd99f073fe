//! The thread that forwards.

use std::io;
use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use tokio::sync::oneshot;

use super::batch::{BATCH, Inbox, Received, send};
use super::neighbours::{
    Arp, ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, Found, Mac, Neighbours,
};
use crate::agent::interfaces::Interface;
use crate::agent::protocol::LinkChange;
use crate::agent::sys;
use crate::link::{Fate, Link, LinkAccount, LinkOrder, Loss, Schedule, Side};
use crate::pattern::PatternError;
use crate::units::Timestamp;

/// What may wait in the kernel until the thread runs: some hundred milliseconds of a fast sender.
const RECEIVE_BYTES: libc::c_int = 32 * 1024 * 1024;

/// The longest that the thread sleeps.
const SLEEP: Duration = Duration::from_secs(1);

/// How long the kernel may have no room for a frame to be sent, and in how many steps it is asked.
const ROOM_WITHIN: Duration = Duration::from_millis(1);
const ROOM_ATTEMPTS: u32 = 20;

/// Batches that are taken from one side before the other one has its turn.
const BATCHES_AT_ONCE: u32 = 4;

/// A link at work.
#[derive(Debug)]
pub(in crate::agent) struct Forwarder {
    orders: Sender<Order>,
    wake: Arc<EventFd>,
}

#[derive(Debug)]
enum Order {
    Change(LinkChange, oneshot::Sender<Result<Timestamp, PatternError>>),
    End(oneshot::Sender<LinkAccount>),
}

impl Forwarder {
    /// Begins to forward between the two interfaces that have the addresses of the link. The
    /// kernel loses these addresses: from now on it is here that they are answered for.
    pub(in crate::agent) fn start(order: LinkOrder, interfaces: &[Interface]) -> io::Result<Self> {
        let addresses = order.addresses;
        let mut ports = Vec::new();
        for address in addresses {
            let of_address =
                |interface: &&Interface| interface.public.addresses.contains(&address.into());
            let interface = interfaces.iter().find(of_address).ok_or_else(|| {
                io::Error::other(format!("no interface has the address {address}"))
            })?;
            ports.push(Port::open(interface)?);
        }
        let ports: [Port; 2] = ports
            .try_into()
            .map_err(|_| io::Error::other("a link has two interfaces"))?;
        for interface in interfaces {
            if interface
                .public
                .addresses
                .iter()
                .any(|a| addresses.iter().any(|b| a == b))
            {
                sys::remove_address(&interface.public.name)?;
            }
        }
        let link = Link::new(order).map_err(io::Error::other)?;
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let (orders, given) = channel();
        let worker = Worker {
            link,
            ports,
            addresses,
            schedule: Schedule::default(),
            neighbours: Neighbours::new(),
            outgoing: [Vec::new(), Vec::new()],
            dropped: 0,
        };
        let waker = Arc::clone(&wake);
        std::thread::Builder::new()
            .name("forwarder".to_owned())
            .spawn(move || worker.run(&given, &waker))?;
        Ok(Self { orders, wake })
    }

    /// Changes what the link does; gives the time just before.
    pub(in crate::agent) async fn change(&self, change: LinkChange) -> io::Result<Timestamp> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Change(change, reply))?;
        answer.await.map_err(|_| gone())?.map_err(io::Error::other)
    }

    /// Ends; gives what the link did.
    pub(in crate::agent) async fn finish(self) -> io::Result<LinkAccount> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::End(reply))?;
        answer.await.map_err(|_| gone())
    }

    fn order(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| gone())?;
        self.wake.write(1)?;
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that forwards has ended")
}

/// One interface of a link.
#[derive(Debug)]
struct Port {
    socket: OwnedFd,
    mac: Mac,
}

impl Port {
    fn open(interface: &Interface) -> io::Result<Self> {
        let socket = sys::packet_socket()?;
        let fd = socket.as_fd();
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1)?;
        sys::make_room(fd, RECEIVE_BYTES)?;
        sys::ignore_outgoing(fd)?;
        sys::bind_to_interface(fd, interface.index)?;
        Ok(Self {
            socket,
            mac: interface.public.mac,
        })
    }
}

/// A packet under way.
#[derive(Debug)]
struct Departure {
    from: Side,
    arrived: Timestamp,
    /// What it was known by then.
    digest: u64,
    next: Ipv4Addr,
    twice: bool,
    /// The frame; its Ethernet header is filled in when it leaves.
    frame: Vec<u8>,
}

/// What the thread has.
struct Worker {
    link: Link,
    ports: [Port; 2],
    addresses: [Ipv4Addr; 2],
    schedule: Schedule<Departure>,
    neighbours: Neighbours<Departure>,
    /// Frames that leave now, by the side on which they do.
    outgoing: [Vec<Vec<u8>>; 2],
    /// Frames that the kernel did not take, or gave cut.
    dropped: u64,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>, wake: &EventFd) {
        sys::sharpen_timers();
        let mut inbox = Inbox::new();
        loop {
            let mut busy = false;
            for side in Side::BOTH {
                match self.receive(side, &mut inbox) {
                    Ok(more) => busy |= more,
                    Err(error) => tracing::error!(%error, "a side of the link receives no more"),
                }
            }
            self.depart();
            let woken = if busy { Ok(true) } else { self.wait(wake) };
            if let Err(error) = woken {
                tracing::error!(%error, "the link forwards no more");
                return;
            }
            // Nobody may have given an order; reading tells.
            wake.read().ok();
            if self.obey(orders).is_break() {
                return;
            }
        }
    }

    /// Does what was ordered meanwhile; breaks where that is to end, or nobody is there to order.
    fn obey(&mut self, orders: &Receiver<Order>) -> ControlFlow<()> {
        loop {
            match orders.try_recv() {
                Ok(Order::Change(change, reply)) => {
                    // Whoever asked may have given up meanwhile.
                    reply.send(self.change(change)).ok();
                }
                Ok(Order::End(reply)) => {
                    reply.send(self.account()).ok();
                    return ControlFlow::Break(());
                }
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
    }

    fn change(&mut self, change: LinkChange) -> Result<Timestamp, PatternError> {
        let at = Timestamp::now();
        match change {
            LinkChange::Set(settings) => self.link.set(*settings),
            LinkChange::Lose(rule) => self.link.lose(*rule)?,
            LinkChange::Partition(groups) => self.link.partition(groups),
        }
        Ok(at)
    }

    fn account(&self) -> LinkAccount {
        let mut account = self.link.account();
        account.dropped += self.dropped;
        for port in &self.ports {
            match sys::packet_statistics(port.socket.as_fd()) {
                Ok(counted) => account.dropped += u64::from(counted.tp_drops),
                Err(error) => {
                    tracing::warn!(%error, "what the kernel dropped is not known");
                    account.dropped += 1;
                }
            }
        }
        account
    }

    /// Takes what has arrived at a side; gives whether there may be more.
    fn receive(&mut self, side: Side, inbox: &mut Inbox) -> io::Result<bool> {
        for _ in 0..BATCHES_AT_ONCE {
            let count = inbox.fill(self.ports[side.index()].socket.as_fd())?;
            for frame in inbox.frames() {
                self.take(side, &frame);
            }
            self.depart();
            if count < BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, side: Side, frame: &Received<'_>) {
        let Some((header, payload)) = frame.data.split_first_chunk::<ETHERNET_BYTES>() else {
            return;
        };
        let own = self.ports[side.index()].mac;
        let is_for_us = header[..6] == own;
        if header[12..] == ETHERTYPE_ARP {
            if let Some(arp) = Arp::read(payload) {
                self.take_arp(side, &arp);
            }
            return;
        }
        if !is_for_us || header[12..] != ETHERTYPE_IPV4 {
            return;
        }
        if frame.cut {
            self.dropped += 1;
            return;
        }
        let mut packet = payload.to_vec();
        match self.link.take(side, frame.at, &mut packet) {
            Fate::Sent {
                due,
                next,
                twice,
                digest,
            } => {
                let mut leaving = Vec::with_capacity(ETHERNET_BYTES + packet.len());
                leaving.extend([0; ETHERNET_BYTES]);
                leaving.extend(packet);
                let departure = Departure {
                    from: side,
                    arrived: frame.at,
                    digest,
                    next,
                    twice,
                    frame: leaving,
                };
                self.schedule.push(due, departure);
            }
            Fate::Answered(answer) => {
                let mut answer = [&[0; ETHERNET_BYTES][..], &answer].concat();
                answer[..6].copy_from_slice(&header[6..12]);
                answer[6..12].copy_from_slice(&own);
                answer[12..14].copy_from_slice(&ETHERTYPE_IPV4);
                self.outgoing[side.index()].push(answer);
            }
            Fate::Lost => {}
        }
    }

    fn take_arp(&mut self, side: Side, arp: &Arp) {
        let (mac, host) = arp.sender;
        let own = (self.ports[side.index()].mac, self.addresses[side.index()]);
        if arp.is_request && arp.target.1 == own.1 {
            let reply = Arp {
                is_request: false,
                sender: own,
                target: arp.sender,
            };
            self.outgoing[side.index()].push(reply.frame());
        }
        for departure in self.neighbours.learn(side, host, mac) {
            self.leave(side, mac, departure);
        }
    }

    /// Sends what is due by now.
    fn depart(&mut self) {
        let now = Timestamp::now();
        while let Some(departure) = self.schedule.pop_due(now) {
            let (from, len) = (departure.from, departure.frame.len() - ETHERNET_BYTES);
            self.link.left(from, len);
            let to = from.other();
            let next = departure.next;
            match self.neighbours.find(to, next, departure, now) {
                Found::Known(mac, departure) => self.leave(to, mac, departure),
                Found::Ask => self.ask(to, next),
                Found::Waits => {}
                Found::Refused(departure) => self.give_up(&departure),
            }
        }
        let (again, given_up) = self.neighbours.overdue(now);
        for (side, host) in again {
            self.ask(side, host);
        }
        for departure in given_up {
            self.give_up(&departure);
        }
        for side in Side::BOTH {
            self.send_out(side);
        }
    }

    fn leave(&mut self, to: Side, mac: Mac, mut departure: Departure) {
        departure.frame[..6].copy_from_slice(&mac);
        departure.frame[6..12].copy_from_slice(&self.ports[to.index()].mac);
        departure.frame[12..14].copy_from_slice(&ETHERTYPE_IPV4);
        let copy = departure.twice.then(|| departure.frame.clone());
        let outgoing = &mut self.outgoing[to.index()];
        outgoing.push(departure.frame);
        outgoing.extend(copy);
    }

    fn ask(&mut self, side: Side, host: Ipv4Addr) {
        let request = Arp {
            is_request: true,
            sender: (self.ports[side.index()].mac, self.addresses[side.index()]),
            target: ([0; 6], host),
        };
        self.outgoing[side.index()].push(request.frame());
    }

    fn give_up(&mut self, departure: &Departure) {
        let Departure {
            from,
            arrived,
            digest,
            ..
        } = *departure;
        self.link.lost(from, arrived, digest, Loss::NoNeighbour);
    }

    /// Hands over to the kernel what leaves on one side.
    fn send_out(&mut self, side: Side) {
        let frames = &mut self.outgoing[side.index()];
        let socket = self.ports[side.index()].socket.as_fd();
        let mut gone = 0;
        let mut attempts = 0;
        while gone < frames.len() && attempts < ROOM_ATTEMPTS {
            match send(socket, &frames[gone..]) {
                Ok(0) => {
                    attempts += 1;
                    let mut fds = [PollFd::new(socket, PollFlags::POLLOUT)];
                    ppoll(&mut fds, Some(TimeSpec::from_duration(ROOM_WITHIN)), None).ok();
                }
                Ok(sent) => {
                    gone += sent;
                    attempts = 0;
                }
                Err(error) => {
                    tracing::warn!(%error, "a frame could not be sent");
                    break;
                }
            }
        }
        self.dropped += (frames.len() - gone) as u64;
        frames.clear();
    }

    /// Waits until there is something to do.
    fn wait(&self, wake: &EventFd) -> io::Result<bool> {
        let due = [self.schedule.next_due(), self.neighbours.next_due()];
        let now = Timestamp::now();
        let left = due.into_iter().flatten().map(|due| due.since(now)).min();
        let left = left.unwrap_or(SLEEP).min(SLEEP);
        let [first, second] = self.ports.each_ref().map(|port| port.socket.as_fd());
        let mut fds = [wake.as_fd(), first, second].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
