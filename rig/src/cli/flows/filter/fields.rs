//! The fields of a flow, by name.

use std::borrow::Cow;
use std::net::IpAddr;

use super::super::multipath::MptcpLog;
use super::super::record::ConnLog;
use crate::analysis::{
    Closer, Confidence, DataFin, Ended, Fallback, FastOpenOutcome, Joined, MultipathFate, Opener,
    RfcState, Role, Sender,
};
use crate::wire::Tunnels;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// A whole number.
    Count,
    /// A time span, compared with durations.
    Span,
    /// A moment, compared with seconds since 1970.
    Moment,
    Address,
    Bool,
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several numbers, which nothing is compared with.
    List,
}

/// What a field of one flow holds.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Value<'a> {
    Count(u64),
    Seconds(f64),
    Address(IpAddr),
    Bool(bool),
    Text(Cow<'a, str>),
    List(&'a [f64]),
    /// The flow has nothing to say here.
    Absent,
}

/// A field: its name, what it holds, and how to get at it.
pub(in super::super) struct Field {
    pub(in super::super) name: &'static str,
    pub(in super::super) kind: Kind,
    pub(in super::super) get: for<'a> fn(&'a ConnLog<'a>) -> Value<'a>,
}

impl Value<'_> {
    /// As a cell of a CSV file; empty where there is nothing.
    pub(in super::super) fn cell(&self) -> Cow<'_, str> {
        match self {
            Value::Count(n) => n.to_string().into(),
            Value::Seconds(s) => s.to_string().into(),
            Value::Address(address) => address.to_string().into(),
            Value::Bool(b) => b.to_string().into(),
            Value::Text(text) => text.as_ref().into(),
            Value::List(list) => {
                let list: Vec<_> = list.iter().map(f64::to_string).collect();
                list.join(" ").into()
            }
            Value::Absent => "".into(),
        }
    }
}

const SIDES: Kind = Kind::Word(&["initiator", "responder"]);
const CLOSERS: Kind = Kind::Word(&["initiator", "responder", "neither"]);
const CONFIDENCES: Kind = Kind::Word(&["likely", "certain"]);
const FAST_OPENS: Kind = Kind::Word(&[
    "given",
    "not-given",
    "accepted",
    "refused",
    "unused",
    "unanswered",
]);
const STATES: Kind = Kind::Word(&[
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
]);
const FATES: Kind = Kind::Word(&[
    "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH",
]);

macro_rules! fields {
    ($($name:literal $kind:expr, |$log:ident| $value:expr;)*) => {
        /// Every field, in the order of the JSON objects.
        pub(in super::super) const FIELDS: &[Field] = &[$(Field {
            name: $name,
            kind: $kind,
            get: |$log| $value,
        }),*];
    };
}

fn count(n: u32) -> Value<'static> {
    Value::Count(n.into())
}

fn small(n: Option<impl Into<u64>>) -> Value<'static> {
    n.map_or(Value::Absent, |n| Value::Count(n.into()))
}

fn seconds(s: Option<f64>) -> Value<'static> {
    s.map_or(Value::Absent, Value::Seconds)
}

/// `gre/mpls`, the outermost first.
fn tunnels(tunnels: Tunnels) -> Value<'static> {
    if tunnels.is_empty() {
        Value::Absent
    } else {
        Value::Text(tunnels.to_string().into())
    }
}

/// `no timestamps, IP id 0`.
fn words(words: &[String]) -> Value<'_> {
    if words.is_empty() {
        Value::Absent
    } else {
        Value::Text(words.join(", ").into())
    }
}

fn text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Absent, |text| Value::Text(text.into()))
}

/// A field of Multipath TCP, which most flows have nothing to say for.
fn mptcp<'a>(log: &'a ConnLog<'a>, get: fn(&'a MptcpLog) -> Value<'a>) -> Value<'a> {
    log.mptcp.as_deref().map_or(Value::Absent, get)
}

fields! {
    "ts" Kind::Moment, |f| Value::Seconds(f.ts);
    "uid" Kind::Text, |f| Value::Text(Cow::Borrowed(&f.uid));
    "id.orig_h" Kind::Address, |f| Value::Address(f.orig_h);
    "id.orig_p" Kind::Count, |f| small(Some(f.orig_p));
    "id.resp_h" Kind::Address, |f| Value::Address(f.resp_h);
    "id.resp_p" Kind::Count, |f| small(Some(f.resp_p));
    "proto" Kind::Word(&["tcp", "udp"]), |f| Value::Text(Cow::Borrowed(f.proto.name()));
    "duration" Kind::Span, |f| Value::Seconds(f.duration);
    "orig_bytes" Kind::Count, |f| Value::Count(f.orig_bytes);
    "resp_bytes" Kind::Count, |f| Value::Count(f.resp_bytes);
    "conn_state" FATES, |f| Value::Text(Cow::Borrowed(f.conn_state.name()));
    "missed_bytes" Kind::Count, |f| Value::Count(f.missed_bytes);
    "history" Kind::Text, |f| Value::Text(Cow::Borrowed(f.history));
    "orig_pkts" Kind::Count, |f| Value::Count(f.orig_pkts);
    "orig_ip_bytes" Kind::Count, |f| Value::Count(f.orig_ip_bytes);
    "resp_pkts" Kind::Count, |f| Value::Count(f.resp_pkts);
    "resp_ip_bytes" Kind::Count, |f| Value::Count(f.resp_ip_bytes);
    "orig_name" Kind::Text, |f| text(f.orig_name);
    "resp_name" Kind::Text, |f| text(f.resp_name);
    "closed_by" CLOSERS, |f| text(f.closed_by.map(Closer::name));
    "completeness" Kind::Count, |f| small(f.completeness);
    "orig_retransmissions" Kind::Count, |f| count(f.orig_retransmissions);
    "resp_retransmissions" Kind::Count, |f| count(f.resp_retransmissions);
    "checksum_errors" Kind::Count, |f| Value::Count(f.checksum_errors);
    "tunnel" Kind::Text, |f| tunnels(f.tunnel);
    "icmp_errors" Kind::Count, |f| Value::Count(f.icmp_errors.iter().map(|error| error.count).sum());
    "orig_lost" Kind::Count, |f| small(f.orig_lost);
    "resp_lost" Kind::Count, |f| small(f.resp_lost);
    "orig_delay" Kind::Span, |f| seconds(f.orig_delay);
    "resp_delay" Kind::Span, |f| seconds(f.resp_delay);
    "ts_nanoseconds" Kind::Text, |f| text(f.ts_nanoseconds.as_deref());
    "first_frame" Kind::Count, |f| Value::Count(f.first_frame);
    "number" Kind::Count, |f| Value::Count(f.number);
    "opened_by" Kind::Word(&["initiator", "both"]), |f| text(f.opened_by.map(Opener::name));
    "orig_state" STATES, |f| text(f.orig_state.map(RfcState::name));
    "resp_state" STATES, |f| text(f.resp_state.map(RfcState::name));
    "orig_mss" Kind::Count, |f| small(f.orig_mss);
    "orig_window_scale" Kind::Count, |f| small(f.orig_window_scale);
    "orig_sack_permitted" Kind::Bool, |f| Value::Bool(f.orig_sack_permitted);
    "orig_timestamps" Kind::Bool, |f| Value::Bool(f.orig_timestamps);
    "resp_mss" Kind::Count, |f| small(f.resp_mss);
    "resp_window_scale" Kind::Count, |f| small(f.resp_window_scale);
    "resp_sack_permitted" Kind::Bool, |f| Value::Bool(f.resp_sack_permitted);
    "resp_timestamps" Kind::Bool, |f| Value::Bool(f.resp_timestamps);
    "fast_open" FAST_OPENS, |f| text(f.fast_open.map(FastOpenOutcome::name));
    "fast_open_bytes" Kind::Count, |f| count(f.fast_open_bytes);
    "fast_open_accepted_bytes" Kind::Count, |f| count(f.fast_open_accepted_bytes);
    "orig_unacked_bytes" Kind::Count, |f| Value::Count(f.orig_unacked_bytes);
    "resp_unacked_bytes" Kind::Count, |f| Value::Count(f.resp_unacked_bytes);
    "reset_by" SIDES, |f| text(f.reset_by.map(Sender::name));
    "reset_flags" Kind::Text, |f| text(f.reset_flags.as_deref());
    "reset_foreign" CONFIDENCES, |f| text(f.reset_foreign.map(Confidence::name));
    "reset_unlike" Kind::Text, |f| words(&f.reset_unlike);
    "reset_unacked_bytes" Kind::Count, |f| small(f.reset_unacked_bytes);
    "reset_unanswered_bytes" Kind::Count, |f| small(f.reset_unanswered_bytes);
    "reset_unread" CONFIDENCES, |f| text(f.reset_unread.map(Confidence::name));
    "remarks" Kind::Text, |f| words(&f.remarks);
    "ended" Kind::Word(&["timeout", "reuse"]), |f| text(f.ended.map(Ended::name));
    "orig_fast_retransmissions" Kind::Count, |f| count(f.orig_fast_retransmissions);
    "orig_rto_retransmissions" Kind::Count, |f| count(f.orig_rto_retransmissions);
    "orig_tail_loss_probes" Kind::Count, |f| count(f.orig_tail_loss_probes);
    "orig_probe_or_rto_retransmissions" Kind::Count, |f| count(f.orig_probe_or_rto_retransmissions);
    "orig_spurious_retransmissions" Kind::Count, |f| count(f.orig_spurious_retransmissions);
    "orig_out_of_order" Kind::Count, |f| count(f.orig_out_of_order);
    "orig_duplicate_acks" Kind::Count, |f| count(f.orig_duplicate_acks);
    "orig_zero_windows" Kind::Count, |f| count(f.orig_zero_windows);
    "orig_window_fulls" Kind::Count, |f| count(f.orig_window_fulls);
    "orig_zero_window_probes" Kind::Count, |f| count(f.orig_zero_window_probes);
    "orig_keep_alives" Kind::Count, |f| count(f.orig_keep_alives);
    "orig_unanswered_keep_alives" Kind::Count, |f| count(f.orig_unanswered_keep_alives);
    "orig_syn_repeats" Kind::Count, |f| count(f.orig_syn_repeats);
    "orig_copies" Kind::Count, |f| count(f.orig_copies);
    "orig_zero_window_time" Kind::Span, |f| Value::Seconds(f.orig_zero_window_time);
    "orig_retransmission_gaps" Kind::List, |f| Value::List(&f.orig_retransmission_gaps);
    "resp_fast_retransmissions" Kind::Count, |f| count(f.resp_fast_retransmissions);
    "resp_rto_retransmissions" Kind::Count, |f| count(f.resp_rto_retransmissions);
    "resp_tail_loss_probes" Kind::Count, |f| count(f.resp_tail_loss_probes);
    "resp_probe_or_rto_retransmissions" Kind::Count, |f| count(f.resp_probe_or_rto_retransmissions);
    "resp_spurious_retransmissions" Kind::Count, |f| count(f.resp_spurious_retransmissions);
    "resp_out_of_order" Kind::Count, |f| count(f.resp_out_of_order);
    "resp_duplicate_acks" Kind::Count, |f| count(f.resp_duplicate_acks);
    "resp_zero_windows" Kind::Count, |f| count(f.resp_zero_windows);
    "resp_window_fulls" Kind::Count, |f| count(f.resp_window_fulls);
    "resp_zero_window_probes" Kind::Count, |f| count(f.resp_zero_window_probes);
    "resp_keep_alives" Kind::Count, |f| count(f.resp_keep_alives);
    "resp_unanswered_keep_alives" Kind::Count, |f| count(f.resp_unanswered_keep_alives);
    "resp_syn_repeats" Kind::Count, |f| count(f.resp_syn_repeats);
    "resp_copies" Kind::Count, |f| count(f.resp_copies);
    "resp_zero_window_time" Kind::Span, |f| Value::Seconds(f.resp_zero_window_time);
    "resp_retransmission_gaps" Kind::List, |f| Value::List(&f.resp_retransmission_gaps);
    "mptcp_subflow" Kind::Word(&["initial", "join"]), |f| mptcp(f, |m| text(m.mptcp_subflow.map(Role::name)));
    "mptcp_token" Kind::Text, |f| mptcp(f, |m| text(m.mptcp_token.as_deref()));
    "mptcp_version" Kind::Count, |f| mptcp(f, |m| small(m.mptcp_version));
    "mptcp_fallback" Kind::Word(&["not-answered", "not-confirmed", "infinite-mapping"]), |f| mptcp(f, |m| text(m.mptcp_fallback.map(Fallback::name)));
    "mptcp_join" Kind::Word(&["accepted", "refused", "unfinished"]), |f| mptcp(f, |m| text(m.mptcp_join.map(Joined::name)));
    "mptcp_subflows" Kind::Count, |f| mptcp(f, |m| small(m.mptcp_subflows));
    "mptcp_state" Kind::Word(&["open", "half-closed", "orderly", "fastclosed", "reset"]), |f| mptcp(f, |m| text(m.mptcp_state.map(MultipathFate::name)));
    "mptcp_closed_by" SIDES, |f| mptcp(f, |m| text(m.mptcp_closed_by.map(Sender::name)));
    "mptcp_fastclosed_by" SIDES, |f| mptcp(f, |m| text(m.mptcp_fastclosed_by.map(Sender::name)));
    "mptcp_reset_by" SIDES, |f| mptcp(f, |m| text(m.mptcp_reset_by.map(Sender::name)));
    "mptcp_reset_reason" Kind::Count, |f| mptcp(f, |m| small(m.mptcp_reset_reason));
    "orig_mptcp_key" Kind::Text, |f| mptcp(f, |m| text(m.orig_mptcp_key.as_deref()));
    "orig_mptcp_address_id" Kind::Count, |f| mptcp(f, |m| small(m.orig_mptcp_address_id));
    "orig_mptcp_bytes" Kind::Count, |f| mptcp(f, |m| small(m.orig_mptcp_bytes));
    "orig_mptcp_acked_bytes" Kind::Count, |f| mptcp(f, |m| small(m.orig_mptcp_acked_bytes));
    "orig_mptcp_reinjected_bytes" Kind::Count, |f| mptcp(f, |m| Value::Count(m.orig_mptcp_reinjected_bytes));
    "orig_mptcp_data_fin" Kind::Word(&["sent", "acknowledged"]), |f| mptcp(f, |m| text(m.orig_mptcp_data_fin.map(DataFin::name)));
    "resp_mptcp_key" Kind::Text, |f| mptcp(f, |m| text(m.resp_mptcp_key.as_deref()));
    "resp_mptcp_address_id" Kind::Count, |f| mptcp(f, |m| small(m.resp_mptcp_address_id));
    "resp_mptcp_bytes" Kind::Count, |f| mptcp(f, |m| small(m.resp_mptcp_bytes));
    "resp_mptcp_acked_bytes" Kind::Count, |f| mptcp(f, |m| small(m.resp_mptcp_acked_bytes));
    "resp_mptcp_reinjected_bytes" Kind::Count, |f| mptcp(f, |m| Value::Count(m.resp_mptcp_reinjected_bytes));
    "resp_mptcp_data_fin" Kind::Word(&["sent", "acknowledged"]), |f| mptcp(f, |m| text(m.resp_mptcp_data_fin.map(DataFin::name)));
}

#[cfg(test)]
mod tests {
    use super::super::super::record::schema;
    use super::*;

    #[test]
    fn every_field_of_the_json_objects_is_here_in_the_same_order() {
        let schema = schema();
        let properties = schema.get("properties").unwrap().as_object().unwrap();
        let names: Vec<_> = properties.keys().map(String::as_str).collect();
        let here: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(here, names);
    }
}
