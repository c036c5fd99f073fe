#!/usr/bin/env bash
# iced 0.14 forgets that a widget asked for another frame when the widget published a message at the same time.
#
# Versions: iced 0.14.0, iced_winit 0.14.1, iced_runtime 0.14.0 (crates.io), under Xvfb of Debian 12.
#
# Before each frame iced gives every widget `window::Event::RedrawRequested`, and a widget that wants a further frame calls
# `Shell::request_redraw`, as animations do. One expects that frame to come whatever else the widget does. But where a message
# was published, iced tells the application, builds the view anew and gives the event again, for the same frame and up to
# three times; of the answers only the last one counts. A widget that asks once, together with its message, gets nothing:
# it has to ask in each of these rounds. There is no hint: the picture stays as it is until something else happens.
#
# Seen: a widget that asks for one more frame is drawn twice from then on, the frame at hand and the one it asked for; one
# that publishes a message beside it is drawn once.
#
#     asks: 2 frames
#     asks and publishes: 1 frame
#
# The script compiles an application (some minutes) and fails when that changes.
set -euo pipefail

work=$(mktemp -d)
server=''
cleanup() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
    rm -rf -- "$work"
}
trap cleanup EXIT
cd "$work"
command -v Xvfb >/dev/null || apt-get install -qq --yes --no-install-recommends xvfb >/dev/null

mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[dependencies]
iced = { version = "=0.14.0", default-features = false, features = ["advanced", "tiny-skia", "tokio", "x11"] }
iced_runtime = { version = "=0.14.0", default-features = false }
iced_winit = { version = "=0.14.1", default-features = false }
tokio = { version = "1", features = ["time"] }
TOML
cat >src/main.rs <<'RUST'
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use iced::advanced::widget::Tree;
use iced::advanced::{Clipboard, Layout, Shell, Widget, layout, mouse::Cursor, renderer};
use iced::{Element, Event, Length, Rectangle, Renderer, Size, Task, Theme, window};

/// Long enough for what a new window draws by itself.
const SETTLED: Duration = Duration::from_secs(2);

static MAY_ASK: AtomicBool = AtomicBool::new(false);
static HAS_ASKED: AtomicBool = AtomicBool::new(false);
static FRAMES: AtomicU32 = AtomicU32::new(0);

#[derive(Debug, Clone)]
enum Message {
    Settled,
    FromTheWidget,
    Over,
}

struct Probe {
    publishes: bool,
}

impl Widget<Message, Theme, Renderer> for Probe {
    fn size(&self) -> Size<Length> {
        Size::new(Length::Fill, Length::Fill)
    }

    fn layout(&mut self, _: &mut Tree, _: &Renderer, limits: &layout::Limits) -> layout::Node {
        layout::atomic(limits, Length::Fill, Length::Fill)
    }

    fn update(
        &mut self,
        _: &mut Tree,
        event: &Event,
        _: Layout<'_>,
        _: Cursor,
        _: &Renderer,
        _: &mut dyn Clipboard,
        shell: &mut Shell<'_, Message>,
        _: &Rectangle,
    ) {
        let is_frame = matches!(event, Event::Window(window::Event::RedrawRequested(_)));
        if is_frame && MAY_ASK.load(SeqCst) && !HAS_ASKED.swap(true, SeqCst) {
            shell.request_redraw();
            if self.publishes {
                shell.publish(Message::FromTheWidget);
            }
        }
    }

    fn draw(&self, _: &Tree, _: &mut Renderer, _: &Theme, _: &renderer::Style, _: Layout<'_>, _: Cursor, _: &Rectangle) {
        if HAS_ASKED.load(SeqCst) {
            FRAMES.fetch_add(1, SeqCst);
        }
    }
}

fn later(message: Message) -> Task<Message> {
    Task::perform(async { tokio::time::sleep(SETTLED).await }, move |()| message.clone())
}

fn update(_: &mut (), message: Message) -> Task<Message> {
    match message {
        // The window is drawn anew after each message.
        Message::Settled => {
            MAY_ASK.store(true, SeqCst);
            later(Message::Over)
        }
        Message::FromTheWidget => Task::none(),
        Message::Over => {
            println!("{}", FRAMES.load(SeqCst));
            iced::exit()
        }
    }
}

fn view(_: &()) -> Element<'_, Message> {
    Element::new(Probe {
        publishes: std::env::args().len() > 1,
    })
}

fn main() -> iced::Result {
    iced::application(|| ((), later(Message::Settled)), update, view).run()
}
RUST
cargo build --quiet --release

mkfifo display
Xvfb -displayfd 1 -screen 0 640x480x24 -nolisten tcp >display 2>/dev/null &
server=$!
read -r number <display
export DISPLAY=:$number
asks=$(timeout 60 target/release/probe)
publishes=$(timeout 60 target/release/probe publish)
echo "asks: $asks frames"
echo "asks and publishes: $publishes frame"
[[ $asks == 2 && $publishes == 1 ]]
