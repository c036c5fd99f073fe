//! The capture of a host: a ring for each interface, a thread that writes what comes out of them
//! to a file, and the proof that nothing is missing from it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{getsockopt, sockopt::SocketError};
use tokio::sync::{mpsc, oneshot};

use super::interfaces::{Interface, MAX_INTERFACES};
use super::outage::Outages;
use super::paths::Paths;
use super::protocol::{InterfaceProof, PathProbe};
use super::ring::{Frame, Ring, SNAPLEN_BYTES};
use super::sentinel::{Sentinels, Stage};
use super::spool::Spool;
use super::sys;
use crate::pcapng::{self, Direction, InterfaceId, Record, Section, Statistics, Writer};
use crate::plan::CapturePlan;
use crate::units::Timestamp;
use crate::wire::{LinkType, Transport, decode};

/// How long a sentinel may take from being sent to coming out of its ring. It takes about 5 ms;
/// the rest is for a machine that is busy with other things.
const SENTINEL_WITHIN: Duration = Duration::from_secs(3);

/// The longest time for which the reader sleeps while no ring says that it has packets.
const LOOK_EVERY_MS: u16 = 1000;

/// The largest capture, in bytes of packets. What comes later counts as dropped.
const MAX_CAPTURE_BYTES: u64 = 1024 * 1024 * 1024;

/// A sentinel came out of the ring of this interface, by its place in the list.
type Seen = (usize, Stage);

/// A capture that records.
#[derive(Debug)]
pub(super) struct Capture {
    interfaces: Vec<Interface>,
    outages: Outages,
    paths: Paths,
    sentinels: Sentinels,
    /// What sentinels are sent through: a socket's own packets do not come back to its ring, but
    /// those of another do.
    sender: OwnedFd,
    seen: mpsc::Receiver<Seen>,
    opened: BTreeSet<usize>,
    recorder: RecorderThread,
}

impl Capture {
    /// Opens a ring on every interface, starts to record into the file at `path`, and proves by a
    /// sentinel on each that it does. An interface that does not record is an error.
    pub(super) async fn open(
        path: &Path,
        interfaces: Vec<Interface>,
        plan: CapturePlan,
        paths: Paths,
    ) -> io::Result<Self> {
        let sentinels = Sentinels::new();
        let (report, seen) = mpsc::channel(2 * MAX_INTERFACES);
        let outages = Outages::of(interfaces.len());
        let mut recorder = Recorder::new(path, &interfaces, plan, sentinels, report)?;
        recorder.outages = outages.clone();
        recorder.paths = paths.clone();
        let recorder = recorder.start()?;
        let mut capture = Self {
            interfaces,
            outages,
            paths,
            sentinels,
            sender: sys::packet_socket()?,
            seen,
            opened: BTreeSet::new(),
            recorder,
        };
        capture.opened = capture.prove(Stage::Opening).await;
        let missing = (0..capture.interfaces.len()).find(|place| !capture.opened.contains(place));
        if let Some(place) = missing {
            return Err(io::Error::other(format!(
                "the capture on {} does not record: its sentinel was not seen within {}s",
                capture.interfaces[place].public.label,
                SENTINEL_WITHIN.as_secs()
            )));
        }
        Ok(capture)
    }

    /// The interfaces that are recorded.
    pub(super) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// When which of them has been cut off.
    pub(super) fn outages(&self) -> &Outages {
        &self.outages
    }

    /// What has come of the probes of paths.
    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Sends a probe out of the interface with the address that it names.
    pub(super) fn probe(&self, probe: &PathProbe) -> io::Result<()> {
        let has_address = |one: &&Interface| one.public.addresses.contains(&probe.on.into());
        let interface = self.interfaces.iter().find(has_address);
        let interface =
            interface.ok_or_else(|| io::Error::other(format!("no interface has {}", probe.on)))?;
        let frame = self.paths.frame(probe, interface.public.mac);
        let frame = frame.ok_or_else(|| io::Error::other("the cell has no links"))?;
        sys::send_frame(self.sender.as_fd(), interface.index, &frame)
    }

    /// Proves that the capture is complete up to now, and closes its file.
    pub(super) async fn close(mut self) -> io::Result<Vec<InterfaceProof>> {
        let closed = self.prove(Stage::Closing).await;
        let counts = self.recorder.finish().await?;
        let proofs = self.interfaces.into_iter().zip(counts).enumerate();
        Ok(proofs
            .map(|(place, (interface, counts))| InterfaceProof {
                label: interface.public.label,
                received: counts.statistics.received,
                dropped: counts.statistics.dropped,
                unsure: counts.unsure,
                opened: self.opened.contains(&place),
                closed: closed.contains(&place),
            })
            .collect())
    }

    /// Sends a sentinel out of each interface; gives those on which it was recorded in time.
    async fn prove(&mut self, stage: Stage) -> BTreeSet<usize> {
        let mut awaited = BTreeSet::new();
        for (place, interface) in self.interfaces.iter().enumerate() {
            let frame = self.sentinels.frame(stage, interface.public.mac);
            match sys::send_frame(self.sender.as_fd(), interface.index, &frame) {
                Ok(()) => {
                    awaited.insert(place);
                }
                Err(error) => {
                    let label = &interface.public.label;
                    tracing::warn!(interface = label, %error, "the sentinel could not be sent");
                }
            }
        }
        let mut recorded = BTreeSet::new();
        let all = async {
            while recorded != awaited {
                let Some((place, of)) = self.seen.recv().await else {
                    break;
                };
                if of == stage {
                    recorded.insert(place);
                }
            }
        };
        if tokio::time::timeout(SENTINEL_WITHIN, all).await.is_err() {
            tracing::warn!(?stage, "not every sentinel was recorded in time");
        }
        recorded
    }
}

/// The thread that records; it ends when this is dropped.
#[derive(Debug)]
struct RecorderThread {
    stop: Arc<EventFd>,
    result: oneshot::Receiver<io::Result<Vec<Counts>>>,
}

impl RecorderThread {
    /// Ends the recording; gives what each ring counted once the file is complete.
    async fn finish(mut self) -> io::Result<Vec<Counts>> {
        self.stop.write(1)?;
        (&mut self.result)
            .await
            .map_err(|_| io::Error::other("the thread that records panicked"))?
    }
}

impl Drop for RecorderThread {
    fn drop(&mut self) {
        if let Err(error) = self.stop.write(1) {
            tracing::warn!(%error, "the thread that records could not be told to end");
        }
    }
}

/// What was counted at one ring.
#[derive(Debug)]
struct Counts {
    statistics: Statistics,
    /// Packets that came while the interface was being cut off or put back.
    unsure: u64,
}

/// Takes packets from the rings to the file.
struct Recorder {
    rings: Vec<Ring>,
    writer: Writer<Spool>,
    ids: Vec<InterfaceId>,
    /// Packets of each ring that are not, or not whole, in the file.
    lost: Vec<u64>,
    /// Packets of each ring that the kernel may or may not have got.
    unsure: Vec<u64>,
    written_bytes: u64,
    /// Why nothing is written any more.
    failed: Option<io::Error>,
    sentinels: Sentinels,
    report: mpsc::Sender<Seen>,
    outages: Outages,
    paths: Paths,
}

impl Recorder {
    fn new(
        path: &Path,
        interfaces: &[Interface],
        plan: CapturePlan,
        sentinels: Sentinels,
        report: mpsc::Sender<Seen>,
    ) -> io::Result<Self> {
        let file = Spool::new(File::create(path)?)?;
        let section = Section {
            application: concat!("rig ", env!("CARGO_PKG_VERSION")).to_owned(),
            os: "Linux".to_owned(),
            ..Section::default()
        };
        let mut writer = Writer::new(file, &section).map_err(io::Error::other)?;
        let mut ids = Vec::with_capacity(interfaces.len());
        for interface in interfaces {
            let description = pcapng::Interface {
                name: interface.public.label.clone(),
                description: interface.public.name.clone(),
                link: LinkType::Ethernet,
                snaplen_bytes: plan.snap_bytes.unwrap_or(SNAPLEN_BYTES),
            };
            ids.push(
                writer
                    .add_interface(&description)
                    .map_err(io::Error::other)?,
            );
        }
        Ok(Self {
            rings: open_rings(interfaces, plan)?,
            writer,
            lost: vec![0; ids.len()],
            unsure: vec![0; ids.len()],
            ids,
            written_bytes: 0,
            failed: None,
            sentinels,
            report,
            outages: Outages::default(),
            paths: Paths::default(),
        })
    }

    fn start(self) -> io::Result<RecorderThread> {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let (sender, result) = oneshot::channel();
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                let mut recorder = self;
                let counts = recorder.run(&stopped).and_then(|()| recorder.finish());
                // The rings are dropped after this: the kernel takes tens of milliseconds to let
                // go of one. Nobody may be waiting any more.
                let _ = sender.send(counts);
            })?;
        Ok(RecorderThread { stop, result })
    }

    fn run(&mut self, stop: &EventFd) -> io::Result<()> {
        loop {
            let stopped = self.wait(stop)?;
            for place in 0..self.rings.len() {
                self.take_from(place);
            }
            if stopped {
                return Ok(());
            }
        }
    }

    /// Waits for packets; gives whether the recording shall end.
    fn wait(&self, stop: &EventFd) -> io::Result<bool> {
        let mut fds: Vec<_> = std::iter::once(stop.as_fd())
            .chain(self.rings.iter().map(Ring::as_fd))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, PollTimeout::from(LOOK_EVERY_MS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        for (ring, fd) in self.rings.iter().zip(&fds[1..]) {
            // An interface that went down leaves an error at its ring, which would wake the poll
            // again and again until it is read.
            if fd.revents().is_some_and(|r| r.contains(PollFlags::POLLERR)) {
                let error = getsockopt(ring, SocketError)?;
                tracing::warn!(error, "an interface is gone");
            }
        }
        Ok(fds[0].any().unwrap_or(true))
    }

    /// Writes what is ready in a ring.
    fn take_from(&mut self, place: usize) {
        let Self {
            rings,
            writer,
            ids,
            lost,
            unsure,
            written_bytes,
            failed,
            sentinels,
            report,
            outages,
            paths,
        } = self;
        let mut unwritten = 0;
        let outages = outages.look();
        let damaged = rings[place].read_ready(|frame| {
            if let Some(number) = paths.recognise(frame.data) {
                if !frame.outgoing {
                    paths.note(number);
                }
                return;
            }
            // It reached the interface of a machine that is not there.
            if !frame.outgoing && outages.cover(place, frame.at) {
                return;
            }
            if !frame.outgoing && outages.unsure(place, frame.at) && says_something(&frame) {
                unsure[place] += 1;
            }
            let stage = sentinels.recognise(frame.data);
            *written_bytes += frame.data.len() as u64;
            if failed.is_some() || *written_bytes > MAX_CAPTURE_BYTES {
                unwritten += 1;
            } else if let Err(error) = write(writer, ids[place], &frame, stage) {
                tracing::error!(%error, "nothing more is recorded");
                *failed = Some(io::Error::other(error));
            }
            if let Some(stage) = stage.filter(|_| frame.outgoing) {
                // Nobody waits for a sentinel any more when the channel is closed or full.
                let _ = report.try_send((place, stage));
            }
        });
        lost[place] += unwritten + damaged;
    }

    /// Completes the file.
    fn finish(&mut self) -> io::Result<Vec<Counts>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let at = Timestamp::now();
        let mut all = Vec::with_capacity(self.rings.len());
        for (place, ring) in self.rings.iter_mut().enumerate() {
            let (received, dropped) = ring.statistics()?;
            let statistics = Statistics {
                received,
                dropped: dropped + self.lost[place],
            };
            self.writer
                .statistics(self.ids[place], at, &statistics)
                .map_err(io::Error::other)?;
            all.push(Counts {
                statistics,
                unsure: self.unsure[place],
            });
        }
        self.writer.flush().map_err(io::Error::other)?;
        Ok(all)
    }
}

/// Opens a ring on each interface, all at the same time: to make one the kernel waits for every
/// processor to pass a quiet moment, tens of milliseconds, and the waits overlap.
fn open_rings(interfaces: &[Interface], plan: CapturePlan) -> io::Result<Vec<Ring>> {
    std::thread::scope(|scope| {
        let open = |interface: &Interface| {
            let (index, label) = (interface.index, interface.public.label.clone());
            scope.spawn(move || {
                Ring::open(index, plan).map_err(|error| {
                    let mib = plan.ring_bytes / (1024 * 1024);
                    io::Error::new(
                        error.kind(),
                        format!("a ring of {mib} MiB on {label}: {error}"),
                    )
                })
            })
        };
        let opening: Vec<_> = interfaces.iter().map(open).collect();
        opening
            .into_iter()
            .map(|ring| {
                ring.join()
                    .map_err(|_| io::Error::other("a thread that opens a ring panicked"))?
            })
            .collect()
    })
}

/// Flags of TCP (RFC 9293, section 3.1).
const FIN_SYN_RST: u8 = 0x07;

/// Whether it matters that a packet reached the kernel: a datagram, or a segment with more than an
/// acknowledgement, which the next one repeats.
fn says_something(frame: &Frame<'_>) -> bool {
    let packet = decode(LinkType::Ethernet, frame.data, frame.orig_len_bytes);
    packet.is_ok_and(|packet| match packet.transport {
        Transport::Tcp(tcp) => tcp.flags & FIN_SYN_RST != 0 || tcp.payload_len_bytes > 0,
        Transport::Udp(_) => true,
        _ => false,
    })
}

fn write(
    writer: &mut Writer<Spool>,
    interface: InterfaceId,
    frame: &Frame<'_>,
    stage: Option<Stage>,
) -> Result<(), pcapng::WriteError> {
    let comments = stage.map(|stage| vec![stage.comment().to_owned()]);
    writer.write(&Record {
        interface,
        at: frame.at,
        direction: Some(if frame.outgoing {
            Direction::Outbound
        } else {
            Direction::Inbound
        }),
        orig_len_bytes: frame.orig_len_bytes,
        data: Cow::Borrowed(frame.data),
        comments: comments.map_or(Cow::Borrowed(&[]), Cow::Owned),
        delivery: None,
    })
}
