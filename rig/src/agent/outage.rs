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
    from: Timestamp,
    /// `None` while it goes on.
    until: Option<Timestamp>,
}

/// The outages so far; none begins or ends while this is held.
pub(super) struct Look<'a>(MutexGuard<'a, Vec<Vec<Outage>>>);

impl Look<'_> {
    /// Whether an interface was cut off at that moment.
    pub(super) fn cover(&self, place: usize, at: Timestamp) -> bool {
        self.0.get(place).is_some_and(|outages| {
            let mut outages = outages.iter().rev();
            outages.any(|one| one.from <= at && one.until.is_none_or(|until| at < until))
        })
    }

    fn is_cut(&self, place: usize) -> bool {
        let last = self.0.get(place).and_then(|outages| outages.last());
        last.is_some_and(|outage| outage.until.is_none())
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

    /// Cuts interfaces off, and proves that nothing leaves them; gives from when on nothing arrives.
    /// Where one of them cannot be cut off, none is.
    pub(super) fn begin(&self, interfaces: &[(usize, &Interface)]) -> io::Result<Timestamp> {
        // The recorder waits meanwhile, so that it looks at no packet of the outage before it knows.
        let mut look = self.look();
        if let Some((_, interface)) = interfaces.iter().find(|(place, _)| look.is_cut(*place)) {
            let label = &interface.public.label;
            return Err(io::Error::other(format!("{label} is cut off already")));
        }
        let cut = interfaces.iter().try_for_each(|(_, one)| cut_off(one));
        if let Err(error) = cut {
            for (_, interface) in interfaces {
                // Those that were not reached have no filter.
                restore(interface).ok();
            }
            return Err(error);
        }
        let from = Timestamp::now();
        for (place, _) in interfaces {
            if let Some(outages) = look.0.get_mut(*place) {
                outages.push(Outage { from, until: None });
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
        let until = Timestamp::now();
        for (place, interface) in interfaces {
            restore(interface)?;
            if let Some(outage) = look.0.get_mut(*place).and_then(|all| all.last_mut()) {
                outage.until = Some(until);
            }
        }
        Ok(until)
    }
}

/// First what leaves, so that nothing that arrives is answered any more.
fn cut_off(interface: &Interface) -> io::Result<()> {
    filters::install(interface.index, Way::Out, Filter::Cut)?;
    filters::install(interface.index, Way::In, Filter::Cut)?;
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
