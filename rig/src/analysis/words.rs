//! What there is to say of a flow, in words.

use super::fast_open::{FastOpen, FastOpenOutcome};
use super::flow::{Ended, Flow, Opener, Sender, Side, TcpFlags};
use super::multipath::{DataFin, Fallback, Joined, Multipath};
use super::reset::{Confidence, Reset};
use super::rfc9293::RfcState;
use super::trouble::Trouble;
use crate::units::show_duration;

impl Flow {
    /// What is remarkable about it, each a fragment; `>` and `<` say whose packets it is about. Empty for most
    /// flows.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.is_unremarkable() {
            return remarks;
        }
        if !self.tunnels.is_empty() {
            remarks.push(format!("in {}", self.tunnels));
        }
        for error in &self.icmp_errors {
            remarks.push(format!("{} x{}", error.name, error.count));
        }
        let wrong = self.orig_side.checksum_errors + self.resp_side.checksum_errors;
        if wrong > 0 {
            remarks.push(format!("wrong checksum x{wrong}"));
        }
        if let Some(fast_open) = &self.fast_open {
            remarks.extend(of_fast_open(fast_open));
        }
        if let Some(multipath) = &self.multipath {
            of_multipath(multipath, &mut remarks);
        }
        let both_open = self.opened_by == Some(Opener::Both);
        for (side, sender) in [
            (&self.orig_side, Sender::Initiator),
            (&self.resp_side, Sender::Responder),
        ] {
            let reset = self.reset.filter(|reset| reset.by == sender);
            of_side(side, reset, sender.arrow(), both_open, &mut remarks);
        }
        if self.ended == Some(Ended::Reuse) {
            remarks.push("ports used again".to_owned());
        }
        remarks
    }

    /// Whether there is nothing to say, which is so of most.
    fn is_unremarkable(&self) -> bool {
        let nothing_of = |side: &Side| {
            side.trouble.is_none()
                && side.unacked_bytes == 0
                && side.checksum_errors == 0
                && side.path.is_none()
                && !side.fin_unacknowledged
        };
        self.tunnels.is_empty()
            && self.icmp_errors.is_empty()
            && self.fast_open.is_none()
            && self.multipath.is_none()
            && self.reset.is_none()
            && self.ended.is_none()
            && nothing_of(&self.orig_side)
            && nothing_of(&self.resp_side)
    }
}

/// What Fast Open did, where it did anything.
fn of_fast_open(told: &FastOpen) -> Option<String> {
    let bytes = told.bytes;
    let accepted = told.accepted_bytes();
    let renewed = told.answer.is_some_and(|answer| answer.gives_cookie);
    let and = if renewed { ", and a cookie given" } else { "" };
    let text = match told.outcome() {
        FastOpenOutcome::Given => "asked for a Fast Open cookie, given".to_owned(),
        FastOpenOutcome::NotGiven => "asked for a Fast Open cookie, none given".to_owned(),
        FastOpenOutcome::Accepted if accepted < bytes => {
            format!("{bytes} bytes in the SYN, {accepted} accepted{and}")
        }
        FastOpenOutcome::Accepted => format!("{bytes} bytes in the SYN, accepted{and}"),
        FastOpenOutcome::Refused => format!("{bytes} bytes in the SYN, not accepted{and}"),
        FastOpenOutcome::Unanswered if bytes > 0 => format!("{bytes} bytes in the SYN"),
        FastOpenOutcome::Unanswered | FastOpenOutcome::Unused => return None,
    };
    Some(format!("> {text}"))
}

fn of_side(
    side: &Side,
    reset: Option<Reset>,
    arrow: char,
    both_open: bool,
    remarks: &mut Vec<String>,
) {
    let none = Trouble::default();
    let trouble = side.trouble.as_deref().unwrap_or(&none);
    let mut say = |text: String| remarks.push(format!("{arrow} {text}"));
    if trouble.syn_repeats > 0 {
        let times = u64::from(trouble.syn_repeats) + 1;
        let answers = arrow == '<' && !both_open;
        let what = if answers { "SYN-ACK" } else { "SYN" };
        say(format!("{what} sent {times} times"));
    }
    let repeats = u64::from(trouble.last_repeats);
    // A SYN is sent again without what came with it.
    let often = if repeats > 0 && side.state != Some(RfcState::SynSent) {
        format!(", sent {} times", repeats + 1)
    } else {
        String::new()
    };
    if side.unacked_bytes > 0 {
        say(format!(
            "{} bytes never acknowledged{often}",
            side.unacked_bytes
        ));
    }
    // Its own RST came before the peer could have.
    let is_cut_short = reset.is_some_and(|reset| reset.unread.is_some()) && repeats == 0;
    if side.fin_unacknowledged && !is_cut_short {
        let often = if side.unacked_bytes > 0 { "" } else { &often };
        say(format!("FIN never acknowledged{often}"));
    }
    if trouble.fin_probes > 0 {
        say("FIN sent again as tail loss probe".to_owned());
    }
    if !trouble.zero_window_time.is_zero() {
        say(format!(
            "window zero for {}",
            show_duration(trouble.zero_window_time)
        ));
    }
    if trouble.unanswered_keep_alives > 0 {
        let then = if reset.is_some() { ", then RST" } else { "" };
        say(format!(
            "{} keep-alives unanswered{then}",
            trouble.unanswered_keep_alives
        ));
    }
    if trouble.copies > 0 {
        let packets = if trouble.copies == 1 {
            "packet"
        } else {
            "packets"
        };
        say(format!(
            "{} {packets} came again, captured or delivered twice",
            trouble.copies
        ));
    }
    if let Some(reset) = reset {
        of_reset(&reset, &mut say);
    }
    if let Some(path) = side.path {
        if path.lost > 0 {
            say(format!("{} lost", path.lost));
        }
        if let Some(delay) = path.mean_delay() {
            say(format!("after {}", show_duration(delay)));
        }
    }
}

fn of_multipath(multipath: &Multipath, remarks: &mut Vec<String>) {
    let name = multipath
        .token
        .map_or_else(String::new, |token| format!(" {token}"));
    let role = match multipath.joined {
        None => "",
        Some(Joined::Accepted) => ", joined",
        Some(Joined::Refused) => ", join refused",
        Some(Joined::Unfinished) => ", join not finished",
    };
    remarks.push(match multipath.fallback {
        None => format!("MPTCP{name}{role}"),
        Some(Fallback::NotAnswered) => "MPTCP offered and not answered: plain TCP".to_owned(),
        Some(Fallback::NotConfirmed) => format!("MPTCP{name} not confirmed: plain TCP"),
        Some(Fallback::InfiniteMapping) => format!("MPTCP{name} given up: plain TCP"),
    });
    let aborter = multipath.connection.and_then(|one| one.fastclosed_by);
    for (place, sender) in [Sender::Initiator, Sender::Responder]
        .into_iter()
        .enumerate()
    {
        let arrow = sender.arrow();
        if aborter == Some(sender) {
            remarks.push(format!("{arrow} fastclosed the connection"));
        }
        if let Some((by, reason)) = multipath.reset_reason
            && by == sender
            // A fast close gives the reason that is none.
            && !(reason.0 == 0 && aborter == Some(sender))
        {
            let (number, name) = (reason.0, reason.name());
            remarks.push(format!("{arrow} RST with reason {number} ({name})"));
        }
        let again = multipath.reinjected_bytes[place];
        if again > 0 {
            remarks.push(format!(
                "{arrow} {again} bytes sent again with the same data numbers"
            ));
        }
        let fin = multipath.connection.and_then(|one| one.sides[place].fin);
        if fin == Some(DataFin::Sent) {
            remarks.push(format!("{arrow} DATA_FIN never acknowledged"));
        }
    }
}

fn of_reset(reset: &Reset, say: &mut impl FnMut(String)) {
    use RfcState::{Established, FinWait1, FinWait2, TimeWait};
    let without_socket = !reset.flags.has(TcpFlags::ACK);
    let is_gone = without_socket && matches!(reset.state, Some(FinWait1 | FinWait2 | TimeWait));
    // What a kernel sends that has no socket has no options, and on Linux an identification of zero.
    let is_usual = reset.unlike.hop_limit.is_none() && !reset.unlike.out_of_window;
    let unlike = if is_gone && is_usual {
        Vec::new()
    } else {
        reset.unlike.words()
    };
    if reset.foreign == Some(Confidence::Certain) {
        say("RST of somebody else".to_owned());
    } else if !unlike.is_empty() {
        let unlike = unlike.join(" and ");
        say(format!("RST not like its other segments: {unlike}"));
    }
    match reset.state {
        _ if reset.foreign.is_some() => {}
        _ if is_gone => {
            say("RST: its socket is gone".to_owned());
        }
        Some(Established) if without_socket => {
            say("RST without ACK, as of a host without that socket, or a filter".to_owned());
        }
        _ if reset.unread == Some(Confidence::Certain) => {
            say(format!(
                "RST over unread data, at most {} bytes",
                reset.unanswered_bytes
            ));
        }
        _ if reset.unread.is_some() => {
            let unanswered = match reset.unanswered_bytes {
                0 => String::new(),
                bytes => format!(", {bytes} bytes unanswered"),
            };
            say(format!("RST after its FIN, over unread data{unanswered}"));
        }
        _ => {}
    }
}
