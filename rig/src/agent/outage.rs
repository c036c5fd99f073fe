//! Outages: a host whose cable is pulled, or whose power is gone.
//!
//! While an interface is cut off, filters take whatever the host sends before a capture sees it, and
//! whatever arrives before the kernel does. What arrives is not recorded either: on a wire it would
//! have arrived nowhere.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::filters::{self, Filter, Way};
use super::interfaces::Interface;
use super::processes::Processes;
use super::sockets;
use crate::units::Timestamp;

/// How long programs may take to die, and the kernel to forget their connections.
const GONE_WITHIN: Duration = Duration::from_secs(3);

/// Time between two looks for what is left: the kernel tells nobody.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Every process but the agent, where the agent is the first of its namespace (kill(2)).
const EVERY_OTHER: Pid = Pid::from_raw(-1);

/// The outages of each interface of a capture, by its place in the list. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Outages(Arc<Mutex<Vec<Vec<Outage>>>>);

/// A time during which nothing arrived.
#[derive(Debug, Clone, Copy)]
struct Outage {
    began: Change,
    /// `None` while it goes on.
    ended: Option<Change>,
}

/// When filters came into force, or went out of it. Nobody can say which of the packets in between they took:
/// the kernel has a filter for each way and interface, and changes one after the other.
#[derive(Debug, Clone, Copy)]
struct Change {
    from: Timestamp,
    done: Timestamp,
}

impl Change {
    fn spans(self, at: Timestamp) -> bool {
        self.from <= at && at < self.done
    }
}

/// The outages so far; none begins or ends while this is held.
pub(super) struct Look<'a>(MutexGuard<'a, Vec<Vec<Outage>>>);

impl Look<'_> {
    /// Whether an interface was cut off at that moment.
    pub(super) fn cover(&self, place: usize, at: Timestamp) -> bool {
        let mut outages = self.of(place).iter().rev();
        outages.any(|one| one.began.done <= at && one.ended.is_none_or(|ended| at < ended.from))
    }

    /// Whether an interface was about to be cut off at that moment, or to be put back: a packet that came then
    /// may or may not have reached the kernel.
    pub(super) fn unsure(&self, place: usize, at: Timestamp) -> bool {
        let mut outages = self.of(place).iter().rev();
        outages.any(|one| one.began.spans(at) || one.ended.is_some_and(|ended| ended.spans(at)))
    }

    fn is_cut(&self, place: usize) -> bool {
        let last = self.of(place).last();
        last.is_some_and(|outage| outage.ended.is_none())
    }

    fn of(&self, place: usize) -> &[Outage] {
        self.0.get(place).map_or(&[], Vec::as_slice)
    }
}

impl Outages {
    /// For so many interfaces.
    pub(super) fn of(interfaces: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Vec::new(); interfaces])))
    }

    /// Looks at them.
    pub(super) fn look(&self) -> Look<'_> {
        Look(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cuts interfaces off, and proves that nothing leaves them; gives from when on packets are lost.
    /// Where one of them cannot be cut off, none is.
    pub(super) fn begin(&self, interfaces: &[(usize, &Interface)]) -> io::Result<Timestamp> {
        // The recorder waits meanwhile, so that it looks at no packet of the outage before it knows.
        let mut look = self.look();
        if let Some((_, interface)) = interfaces.iter().find(|(place, _)| look.is_cut(*place)) {
            let label = &interface.public.label;
            return Err(io::Error::other(format!("{label} is cut off already")));
        }
        let each = || interfaces.iter().map(|(_, interface)| *interface);
        each().try_for_each(|one| filters::make_ready(one.index))?;
        let from = Timestamp::now();
        let cut = each().try_for_each(cut_off);
        let done = Timestamp::now();
        if let Err(error) = cut.and_then(|()| each().try_for_each(prove)) {
            for interface in each() {
                // Those that were not reached have no filter.
                restore(interface).ok();
            }
            return Err(error);
        }
        let began = Change { from, done };
        for (place, _) in interfaces {
            if let Some(outages) = look.0.get_mut(*place) {
                outages.push(Outage { began, ended: None });
            }
        }
        Ok(from)
    }

    /// Ends the outage of interfaces; gives since when packets arrive.
    pub(super) fn end(&self, interfaces: &[(usize, &Interface)]) -> io::Result<Timestamp> {
        let mut look = self.look();
        if let Some((_, interface)) = interfaces.iter().find(|(place, _)| !look.is_cut(*place)) {
            let label = &interface.public.label;
            return Err(io::Error::other(format!("{label} is not cut off")));
        }
        let from = Timestamp::now();
        for (_, interface) in interfaces {
            restore(interface)?;
        }
        let done = Timestamp::now();
        for (place, _) in interfaces {
            if let Some(outage) = look.0.get_mut(*place).and_then(|all| all.last_mut()) {
                outage.ended = Some(Change { from, done });
            }
        }
        Ok(from)
    }
}

/// First what leaves, so that nothing that arrives is answered any more.
fn cut_off(interface: &Interface) -> io::Result<()> {
    filters::add(interface.index, Way::Out, Filter::Cut)?;
    filters::add(interface.index, Way::In, Filter::Cut)
}

fn prove(interface: &Interface) -> io::Result<()> {
    filters::verify(interface.index, Way::Out, Filter::Cut)?;
    filters::verify(interface.index, Way::In, Filter::Cut)?;
    filters::prove(interface, Filter::Cut)
}

fn restore(interface: &Interface) -> io::Result<()> {
    let out = filters::remove(interface.index, Way::Out, Filter::Cut);
    filters::remove(interface.index, Way::In, Filter::Cut)?;
    out
}

/// Ends every program of the host and makes its kernel forget their connections. The interfaces are
/// cut off, so nobody hears of it.
pub(super) async fn lose_memory(processes: &Processes) -> io::Result<()> {
    if std::process::id() != 1 {
        let message = "the agent is not the first process of its namespace";
        return Err(io::Error::other(message));
    }
    // A program that is stopped does nothing about the loss of its connections.
    send(Signal::SIGSTOP)?;
    sockets::destroy_all()?;
    send(Signal::SIGKILL)?;
    let started = Instant::now();
    loop {
        let alive = !processes.look().is_empty();
        // What a program left to the kernel as it died.
        let left = sockets::destroy_all()?;
        if !alive && left == 0 {
            return Ok(());
        }
        if started.elapsed() >= GONE_WITHIN {
            let message = if alive {
                "a program does not die: is it paused?".to_owned()
            } else {
                format!("the kernel keeps {left} connections")
            };
            return Err(io::Error::other(message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn send(signal: Signal) -> io::Result<()> {
    match kill(EVERY_OTHER, signal) {
        // There is no other process.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Puts a filter into force at every interface for good, and proves it.
pub(super) fn filter_all(interfaces: &[Interface], filter: Filter) -> io::Result<()> {
    interfaces.iter().try_for_each(|interface| {
        filters::install(interface.index, Way::Out, filter)?;
        filters::prove(interface, filter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(from: u64, done: u64) -> Change {
        Change {
            from: Timestamp(from),
            done: Timestamp(done),
        }
    }

    #[test]
    fn what_comes_between_two_states_is_of_neither() {
        let outages = Outages::of(2);
        outages.look().0[1] = vec![
            Outage {
                began: change(10, 12),
                ended: Some(change(20, 22)),
            },
            Outage {
                began: change(30, 32),
                ended: None,
            },
        ];
        let look = outages.look();
        for at in 0..50 {
            let time = Timestamp(at);
            let (covered, unsure) = (look.cover(1, time), look.unsure(1, time));
            assert_eq!(covered, matches!(at, 12..20 | 32..), "{at}");
            assert_eq!(unsure, matches!(at, 10..12 | 20..22 | 30..32), "{at}");
            assert!(!look.cover(0, time) && !look.unsure(0, time));
        }
    }
}
