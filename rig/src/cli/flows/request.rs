//! What is asked: the arguments as complete types.

use std::net::IpAddr;
use std::time::Duration;

use super::super::args::FlowsArgs;
use super::super::captures::checksums;
use super::super::check::diagnostics;
use super::filter::Filter;
use super::record::ConnLog;
use super::select::Ends;
use crate::analysis::{Flow, Timeouts};
use crate::spec::{Diagnostics, Fault};
use crate::units::parse_duration;
use crate::wire::Checksums;

/// Timeouts while a file is followed, where none are given: Zeek's.
const FOLLOWED: Timeouts = Timeouts {
    tcp: Some(Duration::from_mins(5)),
    udp: Some(Duration::from_mins(1)),
};

/// How flows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Columns,
    Json,
    Csv,
    /// One flow segment by segment.
    Ladder(u64),
}

/// What the capture is asked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) form: Form,
    pub(super) timeouts: Timeouts,
    pub(super) follow: bool,
    pub(super) checksums: Checksums,
    pub(super) selection: Selection,
}

impl Request {
    pub(super) fn read(args: &FlowsArgs) -> Result<Self, Diagnostics> {
        let given = Timeouts {
            tcp: timeout("--tcp-timeout", args.tcp_timeout.as_deref())?,
            udp: timeout("--udp-timeout", args.udp_timeout.as_deref())?,
        };
        let timeouts = if args.follow {
            Timeouts {
                tcp: given.tcp.or(FOLLOWED.tcp),
                udp: given.udp.or(FOLLOWED.udp),
            }
        } else {
            given
        };
        let form = match args.ladder {
            Some(number) => Form::Ladder(number),
            None if args.json => Form::Json,
            None if args.csv => Form::Csv,
            None => Form::Columns,
        };
        let filter = args.condition.as_deref().map(|text| {
            Filter::parse(text).map_err(|fault| diagnostics("--where", text, vec![fault]))
        });
        Ok(Self {
            form,
            timeouts,
            follow: args.follow,
            checksums: checksums(args.no_checksums),
            selection: Selection {
                ends: args.flow.clone(),
                read: None,
                filter: filter.transpose()?,
            },
        })
    }

    /// Whether flows are shown while the capture is still read.
    pub(super) fn streams(&self) -> bool {
        self.timeouts != Timeouts::default()
    }
}

/// Which flows are meant.
#[derive(Debug)]
pub(super) struct Selection {
    /// As written; names in them are those of the capture.
    ends: Vec<String>,
    read: Option<Vec<Ends>>,
    filter: Option<Filter>,
}

impl Selection {
    /// Takes in the names that the ends may have. Only the first call counts.
    pub(super) fn resolve(&mut self, names: &[(IpAddr, String)]) -> Result<(), Diagnostics> {
        if self.read.is_none() {
            let ends = self.ends.iter().map(|text| {
                Ends::read(text, names).map_err(|fault| diagnostics("--flow", text, vec![fault]))
            });
            self.read = Some(ends.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    /// Whether the ends of a flow are meant; all are where none are named.
    pub(super) fn means(&self, flow: &Flow) -> bool {
        let ends = self.read.as_deref().unwrap_or_default();
        ends.is_empty() || ends.iter().any(|ends| ends.mean(flow))
    }

    /// Whether a flow fulfils the condition.
    pub(super) fn holds(&self, flow: &ConnLog<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.holds(flow))
    }

    pub(super) fn has_condition(&self) -> bool {
        self.filter.is_some()
    }
}

fn timeout(option: &str, text: Option<&str>) -> Result<Option<Duration>, Diagnostics> {
    let Some(text) = text else { return Ok(None) };
    match parse_duration(text) {
        Ok(Duration::ZERO) => {
            let fault = Fault::new("a timeout of zero would end every flow at once");
            Err(diagnostics(option, text, vec![fault]))
        }
        Ok(duration) => Ok(Some(duration)),
        Err(error) => Err(diagnostics(
            option,
            text,
            vec![Fault::new(error.to_string())],
        )),
    }
}
