//! Progress on a terminal: a bar, one line for each running cell, and what did not pass above them.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::{KnownTroubles, told};
use super::reporter::{ReportError, Reporter};
use super::text::{line, verdict_word};
use super::{MatrixSource, Screen};
use crate::judge::Verdict;
use crate::run::{Event, ImageState};

/// How often the clock of the bar moves.
const TICK: Duration = Duration::from_millis(250);

/// The most lines of running cells and images that are drawn; the others run unseen.
const MAX_LINES: usize = 16;

/// Shows progress with bars that are redrawn in place.
pub struct Terminal {
    bars: MultiProgress,
    overall: Option<ProgressBar>,
    running: HashMap<String, ProgressBar>,
    done: Counts,
    source: MatrixSource,
    screen: Screen,
    known: KnownTroubles,
}

/// How many cells have which verdict so far.
#[derive(Default)]
struct Counts(Vec<(Verdict, usize)>);

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        match self.0.iter_mut().find(|(known, _)| *known == verdict) {
            Some((_, count)) => *count += 1,
            None => self.0.push((verdict, 1)),
        }
        self.0.sort_by_key(|(verdict, _)| *verdict);
    }

    /// `3 pass, 1 fail`.
    fn show(&self, screen: Screen) -> String {
        let words: Vec<_> = self
            .0
            .iter()
            .map(|(verdict, count)| format!("{count} {}", verdict_word(*verdict, 0, screen)))
            .collect();
        words.join(", ")
    }
}

impl Terminal {
    /// Draws on standard error.
    #[must_use]
    pub fn new(source: MatrixSource, screen: Screen) -> Self {
        Self::on_target(ProgressDrawTarget::stderr(), source, screen)
    }

    fn on_target(target: ProgressDrawTarget, source: MatrixSource, screen: Screen) -> Self {
        Self {
            bars: MultiProgress::with_draw_target(target),
            overall: None,
            running: HashMap::new(),
            done: Counts::default(),
            source,
            screen,
            known: KnownTroubles::default(),
        }
    }

    /// Prints above the bars what is worth a line.
    fn print(&mut self, event: &Event) -> Result<(), ReportError> {
        let Some(lines) = told(event, &self.source, self.screen, &mut self.known) else {
            return Ok(());
        };
        self.bars
            .println(lines.trim_end())
            .map_err(|cause| ReportError::Stream {
                name: "the terminal",
                cause,
            })
    }

    /// Shows `text` on the line of `key`, which appears if there is room.
    fn show(&mut self, key: &str, text: String) {
        if let Some(bar) = self.running.get(key) {
            bar.set_message(text);
        } else if self.running.len() < MAX_LINES {
            let bar = ProgressBar::new_spinner().with_style(style("  {wide_msg}"));
            let bar = match &self.overall {
                Some(overall) => self.bars.insert_before(overall, bar),
                None => self.bars.add(bar),
            };
            bar.set_message(text);
            self.running.insert(key.to_owned(), bar);
        }
    }

    fn hide(&mut self, key: &str) {
        if let Some(bar) = self.running.remove(key) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn begin(&mut self, cells: usize) {
        let total = u64::try_from(cells).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(total).with_style(style(
            "{bar:24} {pos}/{len} cells, {elapsed_precise}  {wide_msg}",
        ));
        let bar = self.bars.add(bar);
        bar.enable_steady_tick(TICK);
        self.overall = Some(bar);
    }

    fn count(&mut self, verdict: Verdict) {
        self.done.add(verdict);
        if let Some(bar) = &self.overall {
            bar.set_message(self.done.show(self.screen));
            bar.inc(1);
        }
    }

    /// Clears every bar away.
    fn end(&mut self) {
        for (_, bar) in self.running.drain() {
            bar.finish_and_clear();
        }
        if let Some(bar) = self.overall.take() {
            bar.finish_and_clear();
        }
    }
}

/// A run that could not begin has no end to tell of.
impl Drop for Terminal {
    fn drop(&mut self) {
        self.end();
    }
}

/// A template is part of this file, so a wrong one shows in its tests.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Reporter for Terminal {
    fn on(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Started { cells, .. } => {
                self.print(event)?;
                self.begin(cells.len());
            }
            Event::Image { name, state } => {
                let key = format!("image {name}");
                match state {
                    ImageState::Working(what) | ImageState::Output(what) => {
                        self.show(&key, format!("image {name}: {}", line(what)));
                    }
                    ImageState::Ready { .. } => {
                        self.hide(&key);
                        self.print(event)?;
                    }
                }
            }
            Event::CellStarted { cell } => self.show(cell, line(cell)),
            Event::Step {
                cell,
                index,
                total,
                text,
            } => {
                let step = index + 1;
                self.show(
                    cell,
                    format!("{step}/{total} {}  {}", line(text), line(cell)),
                );
            }
            Event::CellFinished(report) => {
                self.hide(&report.cell);
                self.count(report.verdict);
                if report.verdict != Verdict::Pass {
                    self.print(event)?;
                }
            }
            Event::Interrupted => self.print(event)?,
            Event::Finished(_) => {
                self.end();
                self.print(event)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::report::sample;

    /// Keeps every line that was ever written.
    #[derive(Debug, Clone, Default)]
    struct Recorder(Arc<Mutex<String>>);

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.write_str("\n")
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn(report: crate::run::RunReport) -> String {
        let screen = Recorder::default();
        // Drawn without a limit on the rate, so that every state is on record.
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut terminal = Terminal::on_target(target, sample::source(), Screen::FILE);
        for event in sample::events(report) {
            terminal.on(&event).unwrap();
        }
        drop(terminal);
        let drawn = screen.0.lock().unwrap();
        drawn.clone()
    }

    #[test]
    fn shows_images_running_cells_with_their_step_and_what_did_not_pass() {
        let drawn = drawn(sample::run_report());
        for part in [
            "image chat: compiling package chat",
            "image chat: ready after 2.10s",
            "1/3 start server, alice  client=netcat,ending=quit",
            "fail         client=netcat,ending=quit (1.23s)",
            "    fail: flow alice -> server fate SF (matrices/chat.yaml:4)",
            "/7 cells",
            "1 pass, 1 fail",
            "left behind: network rig-a1b2c3-lan",
        ] {
            assert!(drawn.contains(part), "`{part}` is missing in:\n{drawn}");
        }
        assert!(
            !drawn.contains("pass         client"),
            "a pass is only counted"
        );
    }

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        let drawn = drawn(sample::hostile_report());
        for hostile in ["\u{1b}[2J", "\u{1b}]0", "\u{202e}", "\u{9b}", "\u{7}"] {
            assert!(!drawn.contains(hostile));
        }
        assert!(drawn.contains("\\u{1b}[2J"));
    }
}
