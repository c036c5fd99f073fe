//! Reads checks.

use super::names::Kind;
use super::read::{Fields, Reader, Scope};
use super::tree::Node as Tree;
use super::{
    CheckSpec, CheckSpecKind, ClosedBy, Copies, ExitSpec, Field, FlowCheckSpec, FlowEnds, Located,
    MAX_STEPS, Problem, SocketPattern, Stream,
};
use crate::units::MarkName;

/// What a check can be about, with the keys that go with each; `when` goes with all.
const KINDS: [(&str, &[&str]); 5] = [
    (
        "flow",
        &[
            "flow",
            "nth",
            "count",
            "fate",
            "closed-by",
            "pattern",
            "never",
            "when",
        ],
    ),
    ("exit", &["exit", "code", "signal", "running", "when"]),
    ("heard", &["heard", "text", "count", "when"]),
    ("output", &["output", "contains", "stream", "count", "when"]),
    ("sockets", &["sockets", "at", "has", "lacks", "when"]),
];

/// Keys of checks that do not tell what the check is about.
const DETAILS: [&str; 17] = [
    "nth",
    "count",
    "fate",
    "closed-by",
    "pattern",
    "never",
    "when",
    "code",
    "signal",
    "running",
    "text",
    "contains",
    "stream",
    "at",
    "has",
    "lacks",
    "within",
];

/// States of TCP sockets by their names in RFC 9293 section 3.3.2, and that of UDP sockets.
const SOCKET_STATES: [&str; 12] = [
    "LISTEN",
    "SYN_SENT",
    "SYN_RECEIVED",
    "ESTABLISHED",
    "FIN_WAIT_1",
    "FIN_WAIT_2",
    "CLOSE_WAIT",
    "CLOSING",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSED",
    "UNCONN",
];

/// What timers of TCP sockets are for.
const SOCKET_TIMERS: [&str; 4] = ["retransmit", "keepalive", "time-wait", "probe"];

impl Reader<'_> {
    pub(super) fn checks(&mut self, node: &Tree) -> Vec<CheckSpec> {
        let items = self.list(node, "checks");
        if let Some(first) = items.get(MAX_STEPS) {
            let message = format!("more than {MAX_STEPS} checks");
            self.problem(Problem::at(first.place, message));
            return Vec::new();
        }
        items.iter().filter_map(|item| self.check(item)).collect()
    }

    fn check(&mut self, node: &Tree) -> Option<CheckSpec> {
        let kinds = KINDS.map(|(kind, _)| kind);
        let kind = self.kind_of(node, "a check", &kinds, &DETAILS)?;
        let (_, keys) = KINDS.into_iter().find(|(name, _)| *name == kind)?;
        let fields = self.fields(node, "this check", node.place, keys)?;
        let when = self.optional(fields, "when", Self::when);
        let subject = fields.get(kind)?;
        let kind = match kind {
            "flow" => self.flow_check(subject, fields),
            "exit" => self.exit_check(subject, fields),
            "heard" => self.output_check(subject, fields, "text", Some(Stream::Stdout)),
            "output" => {
                let stream = self.optional(fields, "stream", Self::stream);
                stream.and_then(|stream| self.output_check(subject, fields, "contains", stream))
            }
            _ => self.socket_check(subject, fields),
        };
        Some(CheckSpec {
            place: node.place,
            when: when?.unwrap_or_default(),
            kind: kind?,
        })
    }

    fn flow_check(&mut self, subject: &Tree, fields: Fields<'_>) -> Option<CheckSpecKind> {
        let ends: Option<Field<FlowEnds>> = self.field(subject, "a flow such as `alice -> server`");
        let ends = ends.filter(|ends| self.flow_ends_are_nodes(ends));
        let nth = self.optional(fields, "nth", |r, node| r.field(node, "a position"));
        let count = self.optional(fields, "count", |r, node| r.field(node, "a count"));
        let fate = fields
            .get("fate")
            .map(|node| self.fields_list(node, "a fate"));
        let closed_by = self.optional(fields, "closed-by", |r, node| {
            r.field(node, "a node, `initiator` or `responder`")
        });
        let closed_by = closed_by.filter(|by| self.closer_is_an_end(by.as_ref(), ends.as_ref()));
        let pattern = self.optional(fields, "pattern", Self::pattern);
        let never = fields
            .get("never")
            .map(|node| self.fields_list(node, "an event"));
        Some(CheckSpecKind::Flow(Box::new(FlowCheckSpec {
            ends: ends?,
            nth: nth?,
            count: count?,
            fate: fate.unwrap_or_default(),
            closed_by: closed_by?,
            pattern: pattern?,
            never: never.unwrap_or_default(),
        })))
    }

    fn flow_ends_are_nodes(&mut self, ends: &Field<FlowEnds>) -> bool {
        let Some(Located { value, place }) = ends.fixed() else {
            return true;
        };
        let initiator = self.defined(Kind::Node, value.initiator.node.as_str(), *place);
        initiator & self.defined(Kind::Node, value.responder.node.as_str(), *place)
    }

    /// Whether a node that must have closed is at an end of the flow; notes it if not.
    fn closer_is_an_end(
        &mut self,
        by: Option<&Field<ClosedBy>>,
        ends: Option<&Field<FlowEnds>>,
    ) -> bool {
        let Some(Located {
            value: ClosedBy::Node(node),
            place,
        }) = by.and_then(Field::fixed)
        else {
            return true;
        };
        let Some(ends) = ends.and_then(Field::fixed) else {
            return self.defined(Kind::Node, node.as_str(), *place);
        };
        if let Err(problem) = super::closing_side(node, &ends.value, *place) {
            self.problem(problem);
            return false;
        }
        true
    }

    fn exit_check(&mut self, subject: &Tree, fields: Fields<'_>) -> Option<CheckSpecKind> {
        let node = self.node_name(subject);
        let keys = ["code", "signal", "running"];
        let end = match self.exactly_one(fields, "an exit check", &keys)? {
            ("code", codes) => {
                let codes = self.fields_list(codes, "an exit code");
                (!codes.is_empty()).then_some(ExitSpec::Codes(codes))
            }
            ("signal", signal) => self.field(signal, "a signal").map(ExitSpec::Signal),
            (_, running) => self
                .choice(
                    running,
                    "`true`, the only thing to say of `running`",
                    &["true"],
                )
                .map(|_| ExitSpec::Running),
        };
        Some(CheckSpecKind::Exit {
            node: node?,
            end: end?,
        })
    }

    fn stream(&mut self, node: &Tree) -> Option<Stream> {
        let stream = self.choice(node, "an output", &["stdout", "stderr"])?;
        Some(if stream == "stdout" {
            Stream::Stdout
        } else {
            Stream::Stderr
        })
    }

    fn output_check(
        &mut self,
        subject: &Tree,
        fields: Fields<'_>,
        text_key: &str,
        stream: Option<Stream>,
    ) -> Option<CheckSpecKind> {
        let node = self.node_name(subject);
        let text = self.required(fields, text_key);
        let text = text.and_then(|node| self.template(node, "a text", Scope::Node));
        let count = self.optional(fields, "count", |r, node| r.field(node, "a count"));
        let once = Field::Fixed(Located::new(Copies::SOME, fields.place));
        Some(CheckSpecKind::Output {
            node: node?,
            stream,
            text: text?,
            count: count?.unwrap_or(once),
        })
    }

    fn socket_check(&mut self, subject: &Tree, fields: Fields<'_>) -> Option<CheckSpecKind> {
        let node = self.node_name(subject);
        let mark = self.required(fields, "at");
        let mark = mark.and_then(|node| self.word::<MarkName>(node, "the name of a mark"));
        let mark = mark.filter(|mark| self.defined(Kind::Mark, mark.value.as_str(), mark.place));
        let (has, lacks) = self.rows_asked(fields, "a sockets check")?;
        Some(CheckSpecKind::Sockets {
            node: node?,
            mark: mark?,
            has,
            lacks,
        })
    }

    /// The rows that a socket table must and must not have; `what` asks for them.
    pub(super) fn rows_asked(
        &mut self,
        fields: Fields<'_>,
        what: &str,
    ) -> Option<(Vec<SocketPattern>, Vec<SocketPattern>)> {
        if fields.get("has").is_none() && fields.get("lacks").is_none() {
            let message = format!("{what} needs `has` or `lacks`");
            self.problem(Problem::at(fields.place, message));
            return None;
        }
        let has = self.socket_patterns(fields.get("has"));
        let lacks = self.socket_patterns(fields.get("lacks"));
        Some((has?, lacks?))
    }

    fn socket_patterns(&mut self, node: Option<&Tree>) -> Option<Vec<SocketPattern>> {
        let Some(node) = node else {
            return Some(Vec::new());
        };
        let items = node.one_or_more();
        let rows: Vec<_> = items.iter().map(|item| self.socket_pattern(item)).collect();
        rows.into_iter().collect()
    }

    fn socket_pattern(&mut self, node: &Tree) -> Option<SocketPattern> {
        let known = [
            "proto",
            "state",
            "port",
            "remote-port",
            "recv-q",
            "send-q",
            "timer",
            "retransmits",
            "owner",
            "count",
        ];
        let fields = self.fields(node, "a row of a socket table", node.place, &known)?;
        let proto = self.optional(fields, "proto", |r, node| {
            r.choice(node, "a protocol", &["tcp", "udp"])
        });
        let state = self.optional(fields, "state", |r, node| {
            r.choice(node, "a state of a socket", &SOCKET_STATES)
        });
        let port = self.optional(fields, "port", |r, node| r.word::<u16>(node, "a port"));
        let remote_port = self.optional(fields, "remote-port", |r, node| {
            r.word::<u16>(node, "a port")
        });
        let bytes = "a number of bytes";
        let recv_q = self.optional(fields, "recv-q", |r, node| r.number(node, bytes, u32::MAX));
        let send_q = self.optional(fields, "send-q", |r, node| r.number(node, bytes, u32::MAX));
        let count = self.optional(fields, "count", |r, node| r.word::<Copies>(node, "a count"));
        let timer = self.optional(fields, "timer", |r, node| {
            r.choice(node, "a timer", &SOCKET_TIMERS)
        });
        let retransmits = self.optional(fields, "retransmits", |r, node| {
            r.word::<Copies>(node, "a count")
        });
        let owner = self.optional(fields, "owner", |r, node| {
            r.choice(node, "an owner", &["program", "nobody"])
        });
        Some(SocketPattern {
            timer: timer?.map(str::to_owned),
            retransmits: retransmits?.map(|count| count.value),
            owned: owner?.map(|owner| owner == "program"),
            proto: proto?.map(str::to_owned),
            state: state?.map(str::to_owned),
            port: port?.map(|port| port.value),
            remote_port: remote_port?.map(|port| port.value),
            recv_q: recv_q?,
            send_q: send_q?,
            count: count?.map(|count| count.value),
        })
    }
}
