//! From packets to what is shown.

use std::io::{self, Write};
use std::time::Instant;

use super::super::say::{packets_in_no_flow, wrong_checksums};
use super::columns::{self, Columns};
use super::filter::FIELDS;
use super::ladder;
use super::line;
use super::names::Names;
use super::record::ConnLog;
use super::request::{Form, Request, Selection};
use crate::analysis::{Analyzer, Feed, Flow, Options, PassedOver, WrongChecksums};
use crate::pcapng::Frame;
use crate::reconcile::Fate;
use crate::spec::Diagnostics;
use crate::units::Timestamp;

/// Why showing flows ended early.
pub(super) enum SessionError {
    /// An argument does not fit the capture.
    Argument(Diagnostics),
    /// What was asked for is not in the capture.
    Missing(String),
    /// They cannot be written.
    Write(io::Error),
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<csv::Error> for SessionError {
    fn from(error: csv::Error) -> Self {
        Self::Write(error.into())
    }
}

/// Takes packets in and shows the flows that end.
#[expect(clippy::struct_excessive_bools, reason = "independent of each other")]
pub(super) struct Session<W: Write> {
    analyzer: Analyzer,
    feed: Feed,
    wrong_checksums: WrongChecksums,
    pub(super) names: Names,
    selection: Selection,
    form: Form,
    streams: bool,
    /// Somebody watches, so that what is shown must be seen at once.
    watched: bool,
    /// Width of the terminal, if it is one.
    width: Option<u16>,
    out: W,
    /// An object while it is written: filling a vector costs less than many small writes.
    line: Vec<u8>,
    begun: bool,
    rows: Option<Columns>,
    found: bool,
    shown: u64,
    /// The last packet: when it was captured, and when it was read.
    last: Option<(Timestamp, Instant)>,
}

/// What there is to tell beside the flows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rest {
    passed_over: PassedOver,
    wrong_checksums: WrongChecksums,
    /// There was no flow at all.
    is_empty: bool,
}

impl Rest {
    /// In words, what is worth telling.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        let passed_over = packets_in_no_flow(&self.passed_over, self.is_empty);
        let checksums = wrong_checksums(&self.wrong_checksums, &self.passed_over);
        passed_over.into_iter().chain(checksums)
    }
}

impl<W: Write> Session<W> {
    pub(super) fn new(request: Request, out: W, width: Option<u16>) -> Self {
        let streams = request.streams();
        let mut analyzer = Analyzer::new(Options::default()).with_timeouts(request.timeouts);
        if let Form::Ladder(number) = request.form {
            analyzer = analyzer.keeping_steps_of(number);
        }
        Self {
            analyzer,
            feed: Feed::default().with_checksums(request.checksums),
            wrong_checksums: WrongChecksums::default(),
            names: Names::default(),
            rows: (request.form == Form::Columns && !streams).then(Columns::new),
            selection: request.selection,
            form: request.form,
            streams,
            watched: request.follow,
            width,
            out,
            line: Vec::new(),
            begun: false,
            found: false,
            shown: 0,
            last: None,
        }
    }

    /// Shows what is shown at once from now on: somebody waits for more to come.
    pub(super) fn watch(&mut self) {
        self.watched = true;
    }

    /// Takes in a packet.
    #[inline]
    pub(super) fn push(&mut self, frame: &Frame<'_>) {
        let Frame {
            number,
            link,
            record,
        } = frame;
        self.feed.push(&mut self.analyzer, *number, *link, record);
    }

    /// Takes in a packet of several captures that were put together, and what became of it.
    pub(super) fn push_reconciled(&mut self, frame: &Frame<'_>, fate: Fate) {
        let Frame {
            number,
            link,
            record,
        } = frame;
        self.feed
            .push_with_fate(&mut self.analyzer, *number, *link, record, fate);
    }

    /// Whether flows have ended that can be shown.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.analyzer.has_ended()
    }

    /// Notes the time of a packet, for [`Session::idle`].
    pub(super) fn read_at(&mut self, at: Timestamp) {
        self.last = Some((at, Instant::now()));
    }

    /// Lets the capture's clock go on while no packets come, and shows what ends by that.
    pub(super) fn idle(&mut self) -> Result<(), SessionError> {
        if let Some((at, read)) = self.last {
            let waited = u64::try_from(read.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.analyzer.expire(Timestamp(at.0.saturating_add(waited)));
        }
        self.show_ended()
    }

    /// Shows the flows that have ended so far.
    pub(super) fn show_ended(&mut self) -> Result<(), SessionError> {
        for flow in self.analyzer.take_ended() {
            self.show(&flow)?;
        }
        if self.watched {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Shows the flows that are left.
    pub(super) fn finish(mut self) -> Result<Rest, SessionError> {
        self.begin()?;
        let mut analyzer = std::mem::replace(&mut self.analyzer, Analyzer::new(Options::default()));
        let passed_over = std::mem::take(&mut self.feed).finish(&mut analyzer);
        for flow in analyzer.into_flows() {
            self.show(&flow)?;
        }
        if let Some(rows) = &self.rows {
            rows.write(&mut self.out, self.width)?;
        }
        if let Form::Ladder(number) = self.form
            && !self.found
        {
            let flows = self.shown;
            let message = format!("there is no flow {number}: the capture has {flows}");
            return Err(SessionError::Missing(message));
        }
        self.out.flush()?;
        Ok(Rest {
            passed_over,
            wrong_checksums: self.wrong_checksums,
            is_empty: self.shown == 0,
        })
    }

    /// What stands before the first flow.
    fn begin(&mut self) -> Result<(), SessionError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let names = self.names.as_read();
        self.selection
            .resolve(names)
            .map_err(SessionError::Argument)?;
        if self.form == Form::Csv {
            let names = FIELDS.iter().map(|field| field.name);
            self.csv(names)?;
        }
        if self.form == Form::Columns && self.streams {
            columns::write_headings(&mut self.out)?;
        }
        Ok(())
    }

    fn show(&mut self, flow: &Flow) -> Result<(), SessionError> {
        self.begin()?;
        self.shown += 1;
        self.wrong_checksums.add(flow);
        if let Form::Ladder(number) = self.form {
            if flow.number == number {
                self.found = true;
                ladder::draw(&mut self.out, flow, &self.names)?;
            }
            return Ok(());
        }
        if !self.selection.means(flow) {
            return Ok(());
        }
        // Columns need no object unless there is a condition.
        if self.form == Form::Columns && !self.selection.has_condition() {
            return self.show_row(flow);
        }
        let record = ConnLog::of(flow, &self.names);
        if !self.selection.holds(&record) {
            return Ok(());
        }
        match self.form {
            Form::Json => {
                self.line.clear();
                line::append(&mut self.line, &record, record.mptcp.as_deref())
                    .map_err(io::Error::from)?;
                self.out.write_all(&self.line)?;
            }
            Form::Csv => {
                let cells: Vec<_> = FIELDS
                    .iter()
                    .map(|field| (field.get)(&record).cell().into_owned())
                    .collect();
                self.csv(cells)?;
            }
            Form::Columns | Form::Ladder(_) => self.show_row(flow)?,
        }
        Ok(())
    }

    fn show_row(&mut self, flow: &Flow) -> Result<(), SessionError> {
        let row = columns::row(flow, &self.names);
        match &mut self.rows {
            Some(rows) => {
                let connection = flow.multipath.as_ref().and_then(|one| one.token);
                rows.push(&row, connection);
            }
            None => columns::write_row(&mut self.out, &row)?,
        }
        Ok(())
    }

    /// One line of CSV, RFC 4180 but for the line's end.
    fn csv<C: AsRef<[u8]>>(
        &mut self,
        cells: impl IntoIterator<Item = C>,
    ) -> Result<(), SessionError> {
        let mut writer = csv::Writer::from_writer(&mut self.out);
        writer.write_record(cells)?;
        writer.flush()?;
        Ok(())
    }
}
