//! A flow as a JSON object: `conn.log`'s fields, and some that Zeek does not have.

use std::net::IpAddr;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use super::multipath::MptcpLog;
use super::names::Names;
use crate::analysis::{
    Closer, Confidence, ConnState, Ended, FastOpen, FastOpenOutcome, Flow, IcmpErrors, Opener,
    Proto, RfcState, Sender, Side, Trouble,
};
use crate::units::{Timestamp, decimal_seconds};
use crate::wire::Tunnels;

/// A flow by the field names of Zeek's `conn.log`, in its order and with its meaning; `orig_name` and
/// what follows it is not Zeek's.
///
/// Fields that a flow has nothing to say for are left out: a count that is left out is zero, a flag
/// is false.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "A flow of `rig flows --json`")]
#[expect(clippy::struct_excessive_bools, reason = "the fields of a record")]
pub(super) struct ConnLog<'a> {
    /// First packet, seconds since 1970.
    pub(super) ts: f64,
    /// Identifier in Zeek's form, made from the flow, the same each time.
    pub(super) uid: String,
    /// Address of the initiator.
    #[serde(rename = "id.orig_h")]
    pub(super) orig_h: IpAddr,
    /// Port of the initiator.
    #[serde(rename = "id.orig_p")]
    pub(super) orig_p: u16,
    /// Address of the responder.
    #[serde(rename = "id.resp_h")]
    pub(super) resp_h: IpAddr,
    /// Port of the responder.
    #[serde(rename = "id.resp_p")]
    pub(super) resp_p: u16,
    /// Transport protocol.
    pub(super) proto: Proto,
    /// First to last packet, in seconds.
    pub(super) duration: f64,
    /// Payload bytes of the initiator: by sequence numbers for TCP, by UDP length for UDP.
    pub(super) orig_bytes: u64,
    /// Payload bytes of the responder.
    pub(super) resp_bytes: u64,
    /// How it ended.
    pub(super) conn_state: ConnState,
    /// Bytes that were acknowledged and are not in the capture.
    pub(super) missed_bytes: u64,
    /// What was seen, a letter each, capital for the initiator.
    pub(super) history: &'a str,
    /// Packets of the initiator.
    pub(super) orig_pkts: u64,
    /// Their length by the IP header.
    pub(super) orig_ip_bytes: u64,
    /// Packets of the responder.
    pub(super) resp_pkts: u64,
    /// Their length by the IP header.
    pub(super) resp_ip_bytes: u64,
    /// The capture's name for the initiator's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_name: Option<&'a str>,
    /// The capture's name for the responder's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_name: Option<&'a str>,
    /// Who sent the first FIN or RST; `neither` where that came under the name of a side that did not send it.
    pub(super) closed_by: Option<Closer>,
    /// Wireshark's `tcp.completeness`; absent for UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completeness: Option<u8>,
    /// Segments of the initiator of which a part was sent before.
    pub(super) orig_retransmissions: u32,
    /// Segments of the responder of which a part was sent before.
    pub(super) resp_retransmissions: u32,
    /// Segments or datagrams with a wrong checksum, both sides together.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) checksum_errors: u64,
    /// The encapsulations that its first packet came in, the outermost first.
    #[serde(skip_serializing_if = "Tunnels::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub(super) tunnel: Tunnels,
    /// ICMP errors about its packets, by kind.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) icmp_errors: &'a [IcmpErrors],
    /// Packets of the initiator that never arrived; only where several captures are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_lost: Option<u64>,
    /// Packets of the responder that never arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_lost: Option<u64>,
    /// Mean time that packets of the initiator were under way, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_delay: Option<f64>,
    /// Mean time that packets of the responder were under way, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_delay: Option<f64>,
    /// First packet, seconds since 1970 with all digits, as text; only where it has more than a number of JSON can
    /// hold: nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ts_nanoseconds: Option<String>,
    /// Number of its first frame.
    pub(super) first_frame: u64,
    /// Its number, from 1 on, in the order of first packets.
    pub(super) number: u64,
    /// Who sent a SYN that answers none; absent where none was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opened_by: Option<Opener>,
    /// State of the initiator after the last packet; absent where the capture does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_state: Option<RfcState>,
    /// State of the responder after the last packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_state: Option<RfcState>,
    /// Maximum segment size that the initiator's SYN announced, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_mss: Option<u16>,
    /// Window scale shift that the initiator's SYN offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_window_scale: Option<u8>,
    /// Whether the initiator's SYN permitted selective acknowledgements.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_sack_permitted: bool,
    /// Whether the initiator's SYN carried timestamps.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_timestamps: bool,
    /// Maximum segment size that the responder's SYN announced, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_mss: Option<u16>,
    /// Window scale shift that the responder's SYN offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_window_scale: Option<u8>,
    /// Whether the responder's SYN permitted selective acknowledgements.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_sack_permitted: bool,
    /// Whether the responder's SYN carried timestamps.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_timestamps: bool,
    /// What came of a Fast Open option (RFC 7413) in the initiator's SYN, or of payload in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fast_open: Option<FastOpenOutcome>,
    /// Payload of the initiator's SYN in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) fast_open_bytes: u32,
    /// Of these, acknowledged by the SYN-ACK.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) fast_open_accepted_bytes: u32,
    /// Payload of the initiator that was captured and never acknowledged, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_unacked_bytes: u64,
    /// Payload of the responder that was captured and never acknowledged, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_unacked_bytes: u64,
    /// Who sent the first RST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_by: Option<Sender>,
    /// Its flags, `RST` or `RST, ACK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_flags: Option<String>,
    /// Whether another sent it than the side under whose name it came, and how sure that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_foreign: Option<Confidence>,
    /// In what it is not like the other segments of that side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reset_unlike: Vec<String>,
    /// Payload, sent to the side that reset the connection, that it never acknowledged: nobody
    /// read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_unacked_bytes: Option<u64>,
    /// Payload that the side which reset the connection acknowledged and sent no payload and no
    /// FIN after: perhaps nobody read it. A FIN that RST with ACK follows on is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_unanswered_bytes: Option<u64>,
    /// Whether it tells that data was thrown away which nobody had read, and how sure that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_unread: Option<Confidence>,
    /// What is remarkable about it, in words; `>` and `<` say whose packets it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remarks: Vec<String>,
    /// Why it ended before the capture did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<Ended>,
    /// Retransmissions of the initiator that duplicate acknowledgements called for.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_fast_retransmissions: u32,
    /// Retransmissions of the initiator after a timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_rto_retransmissions: u32,
    /// Tail loss probes of the initiator.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_tail_loss_probes: u32,
    /// Retransmissions of the initiator that are one or the other.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_probe_or_rto_retransmissions: u32,
    /// Retransmissions of the initiator of what was acknowledged already.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_spurious_retransmissions: u32,
    /// Segments of the initiator that came after what follows them.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_out_of_order: u32,
    /// Repeated acknowledgements of the initiator.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_duplicate_acks: u32,
    /// Segments of the initiator that announce a window of zero.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_zero_windows: u32,
    /// Segments of the initiator that fill the peer's window.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_window_fulls: u32,
    /// Segments of the initiator that ask a peer without room.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_zero_window_probes: u32,
    /// Segments of the initiator that only make the peer answer.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_keep_alives: u32,
    /// Of these, the last ones, after which the peer sent nothing more.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_unanswered_keep_alives: u32,
    /// SYNs or SYN-ACKs that the initiator sent again.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_syn_repeats: u32,
    /// Packets of the initiator that were captured or delivered twice, not sent again, by their identification.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_copies: u32,
    /// How long the initiator announced a window of zero, in seconds.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_zero_window_time: f64,
    /// Seconds from the segment before, of those that take up sequence numbers, to each
    /// retransmission of the initiator; the first 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) orig_retransmission_gaps: Vec<f64>,
    /// Retransmissions of the responder that duplicate acknowledgements called for.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_fast_retransmissions: u32,
    /// Retransmissions of the responder after a timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_rto_retransmissions: u32,
    /// Tail loss probes of the responder.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_tail_loss_probes: u32,
    /// Retransmissions of the responder that are one or the other.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_probe_or_rto_retransmissions: u32,
    /// Retransmissions of the responder of what was acknowledged already.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_spurious_retransmissions: u32,
    /// Segments of the responder that came after what follows them.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_out_of_order: u32,
    /// Repeated acknowledgements of the responder.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_duplicate_acks: u32,
    /// Segments of the responder that announce a window of zero.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_zero_windows: u32,
    /// Segments of the responder that fill the peer's window.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_window_fulls: u32,
    /// Segments of the responder that ask a peer without room.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_zero_window_probes: u32,
    /// Segments of the responder that only make the peer answer.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_keep_alives: u32,
    /// Of these, the last ones, after which the peer sent nothing more.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_unanswered_keep_alives: u32,
    /// SYNs or SYN-ACKs that the responder sent again.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_syn_repeats: u32,
    /// Packets of the responder that were captured or delivered twice, not sent again, by their identification.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_copies: u32,
    /// How long the responder announced a window of zero, in seconds.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_zero_window_time: f64,
    /// Seconds from the segment before, of those that take up sequence numbers, to each
    /// retransmission of the responder; the first 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resp_retransmission_gaps: Vec<f64>,
    /// What it has to do with Multipath TCP, whose fields stand behind the others.
    #[serde(skip)]
    pub(super) mptcp: Option<Box<MptcpLog>>,
}

impl<'a> ConnLog<'a> {
    #[expect(clippy::too_many_lines, reason = "a line for each field")]
    pub(super) fn of(flow: &'a Flow, names: &'a Names) -> Self {
        let (orig, resp) = (&flow.orig_side, &flow.resp_side);
        let (orig_syn, resp_syn) = (orig.syn.as_ref(), resp.syn.as_ref());
        let fast_open = flow.fast_open.as_ref();
        let none = Trouble::default();
        let [orig_trouble, resp_trouble] =
            [orig, resp].map(|side| side.trouble.as_deref().unwrap_or(&none));
        Self {
            ts: flow.first.as_secs_f64(),
            uid: uid(flow),
            orig_h: flow.orig.ip(),
            orig_p: flow.orig.port(),
            resp_h: flow.resp.ip(),
            resp_p: flow.resp.port(),
            proto: flow.proto,
            duration: decimal_seconds(flow.duration()),
            orig_bytes: orig.bytes,
            resp_bytes: resp.bytes,
            conn_state: flow.conn_state,
            missed_bytes: orig.missed_bytes + resp.missed_bytes,
            history: &flow.history,
            orig_pkts: orig.pkts,
            orig_ip_bytes: orig.ip_bytes,
            resp_pkts: resp.pkts,
            resp_ip_bytes: resp.ip_bytes,
            orig_name: names.name(flow.orig.ip()),
            resp_name: names.name(flow.resp.ip()),
            closed_by: flow.closed_by,
            completeness: (flow.proto == Proto::Tcp).then_some(flow.completeness),
            orig_retransmissions: orig_trouble.retransmissions,
            resp_retransmissions: resp_trouble.retransmissions,
            checksum_errors: orig.checksum_errors + resp.checksum_errors,
            tunnel: flow.tunnels,
            icmp_errors: &flow.icmp_errors,
            orig_lost: orig.path.map(|path| path.lost),
            resp_lost: resp.path.map(|path| path.lost),
            orig_delay: delay(orig),
            resp_delay: delay(resp),
            ts_nanoseconds: nanoseconds(flow.first),
            first_frame: flow.first_frame,
            number: flow.number,
            opened_by: flow.opened_by,
            orig_state: orig.state,
            resp_state: resp.state,
            orig_mss: orig_syn.and_then(|syn| syn.mss_bytes),
            orig_window_scale: orig_syn.and_then(|syn| syn.window_scale),
            orig_sack_permitted: orig_syn.is_some_and(|syn| syn.sack_permitted),
            orig_timestamps: orig_syn.is_some_and(|syn| syn.timestamps),
            resp_mss: resp_syn.and_then(|syn| syn.mss_bytes),
            resp_window_scale: resp_syn.and_then(|syn| syn.window_scale),
            resp_sack_permitted: resp_syn.is_some_and(|syn| syn.sack_permitted),
            resp_timestamps: resp_syn.is_some_and(|syn| syn.timestamps),
            fast_open: fast_open.map(FastOpen::outcome),
            fast_open_bytes: fast_open.map_or(0, |told| told.bytes),
            fast_open_accepted_bytes: fast_open.map_or(0, FastOpen::accepted_bytes),
            orig_unacked_bytes: orig.unacked_bytes,
            resp_unacked_bytes: resp.unacked_bytes,
            reset_by: flow.reset.map(|reset| reset.by),
            reset_flags: flow.reset.map(|reset| reset.flags.to_string()),
            reset_foreign: flow.reset.and_then(|reset| reset.foreign),
            reset_unlike: unlike(flow),
            reset_unacked_bytes: flow.reset.map(|reset| reset.unacked_bytes),
            reset_unanswered_bytes: flow.reset.map(|reset| reset.unanswered_bytes),
            reset_unread: flow.reset.and_then(|reset| reset.unread),
            remarks: flow.remarks(),
            ended: flow.ended,
            orig_fast_retransmissions: orig_trouble.fast_retransmissions,
            orig_rto_retransmissions: orig_trouble.rto_retransmissions,
            orig_tail_loss_probes: orig_trouble.tail_loss_probes,
            orig_probe_or_rto_retransmissions: orig_trouble.probe_or_rto_retransmissions,
            orig_spurious_retransmissions: orig_trouble.spurious_retransmissions,
            orig_out_of_order: orig_trouble.out_of_order,
            orig_duplicate_acks: orig_trouble.duplicate_acks,
            orig_zero_windows: orig_trouble.zero_windows,
            orig_window_fulls: orig_trouble.window_fulls,
            orig_zero_window_probes: orig_trouble.zero_window_probes,
            orig_keep_alives: orig_trouble.keep_alives,
            orig_unanswered_keep_alives: orig_trouble.unanswered_keep_alives,
            orig_syn_repeats: orig_trouble.syn_repeats,
            orig_copies: orig_trouble.copies,
            orig_zero_window_time: decimal_seconds(orig_trouble.zero_window_time),
            orig_retransmission_gaps: gaps(orig_trouble),
            resp_fast_retransmissions: resp_trouble.fast_retransmissions,
            resp_rto_retransmissions: resp_trouble.rto_retransmissions,
            resp_tail_loss_probes: resp_trouble.tail_loss_probes,
            resp_probe_or_rto_retransmissions: resp_trouble.probe_or_rto_retransmissions,
            resp_spurious_retransmissions: resp_trouble.spurious_retransmissions,
            resp_out_of_order: resp_trouble.out_of_order,
            resp_duplicate_acks: resp_trouble.duplicate_acks,
            resp_zero_windows: resp_trouble.zero_windows,
            resp_window_fulls: resp_trouble.window_fulls,
            resp_zero_window_probes: resp_trouble.zero_window_probes,
            resp_keep_alives: resp_trouble.keep_alives,
            resp_unanswered_keep_alives: resp_trouble.unanswered_keep_alives,
            resp_syn_repeats: resp_trouble.syn_repeats,
            resp_copies: resp_trouble.copies,
            resp_zero_window_time: decimal_seconds(resp_trouble.zero_window_time),
            resp_retransmission_gaps: gaps(resp_trouble),
            mptcp: flow
                .multipath
                .as_deref()
                .map(|told| Box::new(MptcpLog::of(told))),
        }
    }
}

/// `1700000000.123456789`, where there are digits beyond the microsecond.
fn nanoseconds(at: Timestamp) -> Option<String> {
    const NANOS: u64 = 1_000_000_000;
    let beyond = !at.0.is_multiple_of(1000);
    beyond.then(|| format!("{}.{:09}", at.0 / NANOS, at.0 % NANOS))
}

fn unlike(flow: &Flow) -> Vec<String> {
    flow.reset
        .map_or_else(Vec::new, |reset| reset.unlike.words())
}

fn delay(side: &Side) -> Option<f64> {
    let delay = side.path?.mean_delay()?;
    Some(decimal_seconds(delay))
}

/// The JSON Schema of the objects, draft 2020-12.
pub(super) fn schema() -> schemars::Schema {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut more = MptcpLog::json_schema(&mut generator);
    let mut schema = generator.into_root_schema_for::<ConnLog<'_>>();
    let of = |schema: &mut schemars::Schema| schema.get_mut("properties").map(Value::take);
    if let (Some(Value::Object(mut all)), Some(Value::Object(more))) =
        (of(&mut schema), of(&mut more))
    {
        all.extend(more);
        schema.insert("properties".to_owned(), Value::Object(all));
    }
    schema
}

/// Whether a count is zero, or a flag not set: most are, and are left out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn gaps(trouble: &Trouble) -> Vec<f64> {
    let gaps = trouble.retransmission_gaps.iter();
    gaps.copied().map(decimal_seconds).collect()
}

/// An identifier in the form of Zeek's, derived from the flow, so that the same capture gives the
/// same ones each time.
fn uid(flow: &Flow) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const LETTERS: usize = 17;
    // Ten digits at a time: dividing 128 bits costs ten times what dividing 64 does.
    const TEN_DIGITS: u128 = 62_u128.pow(10);
    // FNV-1a of 128 bits: identifiers need not resist anybody, only differ.
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = OFFSET;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    eat(&[flow.proto as u8]);
    for endpoint in [flow.orig, flow.resp] {
        match endpoint.ip() {
            IpAddr::V4(v4) => eat(&v4.octets()),
            IpAddr::V6(v6) => eat(&v6.octets()),
        }
        eat(&endpoint.port().to_be_bytes());
    }
    eat(&flow.first.0.to_be_bytes());
    eat(&flow.first_frame.to_be_bytes());
    let mut uid = String::with_capacity(1 + LETTERS);
    uid.push('C');
    for (part, letters) in [(hash % TEN_DIGITS, 10), (hash / TEN_DIGITS % TEN_DIGITS, 7)] {
        let mut part = u64::try_from(part).unwrap_or_default();
        for _ in 0..letters {
            let digit = usize::try_from(part % 62).unwrap_or_default();
            uid.push(char::from(ALPHABET[digit]));
            part /= 62;
        }
    }
    uid
}
