//! The model as a picture.
//!
//! From the top: who is talked with and the connection's state; the conversation, and the members
//! beside it where there is room; a rule that says so where newer lines are below; the line that is
//! typed.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::model::Model;
use super::scrollback::Extent;

/// Narrower terminals have no list of members beside the conversation.
const MIN_WIDTH_FOR_MEMBERS: u16 = 60;

/// Widest list of members, its border included.
const MAX_MEMBERS_WIDTH: u16 = 26;

/// What stands before the line that is typed.
const PROMPT: &str = "> ";

/// What the empty line says.
const HINT: &str = "type a message; quit leaves, PgUp scrolls";

/// Colours that tell authors apart; names do so without them.
const AUTHORS: [Color; 6] = [
    Color::Cyan,
    Color::Green,
    Color::Yellow,
    Color::Magenta,
    Color::Blue,
    Color::Red,
];

/// Where everything is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Areas {
    header: Rect,
    pub(super) conversation: Rect,
    members: Option<Rect>,
    rule: Rect,
    entry: Rect,
}

/// Divides the terminal.
pub(super) fn areas(model: &Model) -> Areas {
    let whole = Rect::new(0, 0, model.size.width, model.size.height);
    // What is typed goes before all else where the terminal is very low.
    let header_rows = u16::from(whole.height > 4);
    let rule_rows = u16::from(whole.height > 3);
    let [header, body, rule, entry] = Layout::vertical([
        Constraint::Length(header_rows),
        Constraint::Fill(1),
        Constraint::Length(rule_rows),
        Constraint::Length(1),
    ])
    .areas(whole);
    let beside = whole.width >= MIN_WIDTH_FOR_MEMBERS && model.roster.count() > 0;
    let (conversation, members) = if beside {
        let width = members_width(model);
        let [conversation, members] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(body);
        (conversation, Some(members))
    } else {
        (body, None)
    };
    Areas {
        header,
        conversation,
        members,
        rule,
        entry,
    }
}

/// How the conversation is measured: its height, and how many rows lines take.
pub(super) fn extent(area: Rect, rows: &dyn Fn(&str) -> usize) -> Extent<'_> {
    Extent {
        height: area.height.into(),
        rows,
    }
}

/// How many rows a line takes.
pub(super) fn rows_of(line: &str, width: u16) -> usize {
    paragraph(vec![styled(line, None)]).line_count(width)
}

/// Draws the model.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let areas = areas(model);
    header(frame, areas.header, model);
    conversation(frame, areas.conversation, model);
    if let Some(area) = areas.members {
        members(frame, area, model);
    }
    rule(frame, areas.rule, model);
    entry(frame, areas.entry, model);
}

fn header(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let style = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Block::new().style(style), area);
    let mut state = format!(" {} ", model.state());
    if areas(model).members.is_none() && model.roster.count() > 0 {
        state = format!(" {}, {} here ", model.state(), model.roster.count());
    }
    let state = Line::from(state).alignment(Alignment::Right);
    let taken = u16::try_from(state.width()).unwrap_or(u16::MAX);
    let [left, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(taken)]).areas(area);
    // Where there is no room for all of it, the host says more than its port.
    let host = model.peer.split(' ').next().unwrap_or_default();
    let fits = |text: &&str| Line::raw(*text).width() < usize::from(left.width);
    let peer = [model.peer.as_str(), host].into_iter().find(fits);
    frame.render_widget(Line::from(format!(" {}", peer.unwrap_or_default())), left);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(state.style(bold), right);
}

fn conversation(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = |line: &str| rows_of(line, area.width);
    let view = model.scrollback.view(&extent(area, &rows));
    let own = model.roster.own();
    let lines = view.lines.iter().map(|line| styled(line, own)).collect();
    // A conversation that does not fill the view stands at its end, where it goes on.
    let free = area
        .height
        .saturating_sub(u16::try_from(view.rows).unwrap_or(u16::MAX));
    let [_, area] = Layout::vertical([Constraint::Length(free), Constraint::Fill(1)]).areas(area);
    let above = u16::try_from(view.above).unwrap_or(u16::MAX);
    frame.render_widget(paragraph(lines).scroll((above, 0)), area);
}

fn paragraph(lines: Vec<Line<'_>>) -> Paragraph<'_> {
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

/// A line of the conversation: notices stand back, authors stand out.
fn styled<'a>(line: &'a str, own: Option<&str>) -> Line<'a> {
    let author = line.split_once(": ").filter(|(author, _)| {
        !author.is_empty() && !author.starts_with('*') && !author.contains(char::is_whitespace)
    });
    if line.starts_with("* ") {
        return Line::styled(line, Style::new().add_modifier(Modifier::DIM));
    }
    let Some((author, _)) = author else {
        return Line::raw(line);
    };
    let (name, rest) = line.split_at(author.len() + 1);
    let style = Style::new().add_modifier(Modifier::BOLD);
    let style = if own == Some(author) {
        style
    } else {
        let sum = author.bytes().map(usize::from).sum::<usize>();
        style.fg(AUTHORS[sum % AUTHORS.len()])
    };
    Line::from(vec![Span::styled(name, style), Span::raw(rest)])
}

fn members_width(model: &Model) -> u16 {
    let names = model.roster.own().into_iter().chain(model.roster.others());
    let widest = names.map(|name| Line::raw(name).width()).max();
    // Border, a space on either side, and ` (you)`.
    let width = widest.unwrap_or_default() + 3 + " (you)".len();
    u16::try_from(width)
        .unwrap_or(u16::MAX)
        .min(MAX_MEMBERS_WIDTH)
}

fn members(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let dim = Style::new().add_modifier(Modifier::DIM);
    let block = Block::new().borders(Borders::LEFT).border_style(dim);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let title = Line::styled(format!(" {} here", model.roster.count()), bold);
    let own = model.roster.own().map(|name| format!(" {name} (you)"));
    let others = model.roster.others().map(|name| format!(" {name}"));
    let room = usize::from(inner.height).saturating_sub(1);
    let known = 1 + model.roster.others().count();
    let fits = known + usize::from(model.roster.unnamed() > 0) <= room;
    let shown = if fits { known } else { room.saturating_sub(1) };
    let names = own.into_iter().chain(others).take(shown).map(Line::from);
    let mut lines: Vec<_> = [title].into_iter().chain(names).collect();
    let more = model.roster.unnamed().saturating_add(known - shown);
    if more > 0 {
        lines.push(Line::styled(format!(" and {more} more"), dim));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn rule(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let words = match (model.note, model.scrollback.unread()) {
        (Some(note), _) => Span::styled(format!(" {note} "), bold),
        (None, Some(0)) => Span::raw(" earlier lines; End goes back "),
        (None, Some(1)) => Span::styled(" 1 new line below; End goes there ", bold),
        (None, Some(n)) => Span::styled(format!(" {n} new lines below; End goes there "), bold),
        (None, None) => Span::raw(""),
    };
    let dim = Style::new().add_modifier(Modifier::DIM);
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(dim)
        .title(Line::from(words).alignment(Alignment::Center));
    frame.render_widget(block, area);
}

fn entry(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let prompt = u16::try_from(PROMPT.len()).unwrap_or_default();
    let [mark, text] =
        Layout::horizontal([Constraint::Length(prompt), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::raw(PROMPT), mark);
    if model.entry.text().is_empty() {
        let dim = Style::new().add_modifier(Modifier::DIM);
        frame.render_widget(Line::styled(HINT, dim), text);
        frame.set_cursor_position((text.x, text.y));
        return;
    }
    // The cursor needs a cell of its own behind the text.
    let width = usize::from(text.width).saturating_sub(1);
    let (cursor, left) = model.entry.cursor(width);
    let scroll = u16::try_from(left).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(model.entry.text()).scroll((0, scroll)), text);
    let x = u16::try_from(cursor.saturating_sub(left)).unwrap_or(u16::MAX);
    let last = text.width.saturating_sub(1);
    frame.set_cursor_position((text.x + x.min(last), text.y));
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::layout::Size;

    use super::*;

    const ROOM: [&str; 8] = [
        "* welcome to the chat room: say `quit` to leave",
        "* your name?",
        "* you are alice; here: bob, carol, 日本語",
        "bob: ciao",
        "alice: perché no? 日本語, and a message that is so long that it takes more than one row of the view",
        "* dave has joined",
        "dave: \\u{1b}[2J and \\u{202e} are only text",
        "carol: 👨\u{200d}👩\u{200d}👧 שלום",
    ];

    fn model(width: u16, height: u16, lines: &[&str]) -> Model {
        let mut model = Model::new("hub.example port 15102".to_owned());
        model.size = Size::new(width, height);
        for line in lines {
            model.hear((*line).to_owned());
        }
        model
    }

    fn picture(model: &Model) -> String {
        let size = model.size;
        let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let cursor = terminal.get_cursor_position().unwrap();
        format!("{}cursor: {cursor}", terminal.backend())
    }

    #[test]
    fn a_room() {
        insta::assert_snapshot!(picture(&model(80, 24, &ROOM)));
    }

    #[test]
    fn a_small_terminal() {
        let mut model = model(40, 10, &ROOM);
        model.paste("a line that is longer than the terminal is wide");
        insta::assert_snapshot!(picture(&model));
    }

    #[test]
    fn newer_lines_are_below() {
        let mut model = model(80, 9, &ROOM);
        model.press(KeyEvent::new(KeyCode::PageUp, KeyModifiers::NONE));
        model.hear("bob: unseen".to_owned());
        model.hear("bob: unseen too".to_owned());
        insta::assert_snapshot!(picture(&model));
    }

    #[test]
    fn more_members_than_rows() {
        let names: Vec<_> = (0..20).map(|n| format!("member-{n}")).collect();
        let admitted = format!("* you are alice; here: {} and 7 more", names.join(", "));
        insta::assert_snapshot!(picture(&model(80, 10, &[&admitted])));
    }

    #[test]
    fn more_members_than_can_be_counted() {
        let names: Vec<_> = (0..20).map(|n| format!("member-{n}")).collect();
        let admitted = format!(
            "* you are alice; here: {} and {} more",
            names.join(", "),
            u64::MAX
        );
        let picture = picture(&model(80, 10, &[&admitted]));
        assert!(picture.contains("and 18446744"), "{picture}");
    }

    #[test]
    fn every_size_has_a_picture() {
        for width in [1, 2, 3, 5, 20, 59, 60, 80] {
            for height in [1, 2, 3, 4, 5, 10] {
                let mut model = model(width, height, &ROOM);
                model.paste("日本語 and more text than fits");
                model.press(KeyEvent::new(KeyCode::PageUp, KeyModifiers::NONE));
                picture(&model);
            }
        }
    }

    #[test]
    fn a_line_has_as_many_rows_as_it_is_measured() {
        for line in ROOM {
            for width in 1..50 {
                let rows = u16::try_from(rows_of(line, width)).unwrap();
                let mut terminal = Terminal::new(TestBackend::new(width, rows + 1)).unwrap();
                let drawn = terminal.draw(|frame| {
                    frame.render_widget(paragraph(vec![styled(line, None)]), frame.area());
                });
                let buffer = drawn.unwrap().buffer;
                let used = |y| (0..width).any(|x| buffer[(x, y)].symbol() != " ");
                assert!(used(rows - 1) && !used(rows), "{width}: {line}");
            }
        }
    }
}
