//! The servers under hostile traffic over loopback, while others who behave go on talking.
//!
//! Each server is attacked for `SOAK_SECONDS` (5 where nothing is said). It must not end, its memory
//! stays below a bound, those who behave lose no message and see none out of order, and at the end
//! every descriptor and every place is given back. What was done and measured is printed.
//!
//! | module | what it holds |
//! |---|---|
//! | [`subject`] | a server, and what the kernel tells of it |
//! | [`soak`] | attacks a server for the time, measures and judges |
//! | [`noise`] | hostile names, messages and bytes, from a seed |
//! | [`stream`] | the attack on a server that takes connections |
//! | [`datagrams`] | the attack on a server that takes datagrams |
//! | [`room`], [`one_to_one`], [`book`] | those who behave, in each chat |
//! | [`visitor`] | who behaves at the web server |
//!
//! A further server is a further test: a [`subject::Subject`], its attack, and those who behave.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod book;
mod datagrams;
mod noise;
mod one_to_one;
mod room;
mod soak;
mod stream;
mod subject;
mod visitor;

use soak::{Stop, alone, soak};
use subject::Subject;

/// What a server may have resident at its peak, in KiB.
const ROOM_KIB: u64 = 64 * 1024;
const ONE_TO_ONE_KIB: u64 = 32 * 1024;
const DATAGRAMS_KIB: u64 = 32 * 1024;
const WEB_KIB: u64 = 64 * 1024;

/// Places of the web server: more than those who attack it by staying take.
const WEB_PLACES: &str = "512";

#[test]
fn room() {
    alone(async {
        let places = room::PLACES.to_string();
        let server = Subject::start("chat-server", &["--max-connections", &places]);
        let stop = Stop::new();
        let members = room::join(server.address).await;
        let attack = stream::attack(server.address, &stream::MANY, stop.clone());
        soak(&server, ROOM_KIB, members.talk(stop.clone()), attack, stop).await;
        room::fill(server.address).await;
        server.gives_back().await;
    });
}

#[test]
fn one_to_one() {
    alone(async {
        let mut server = Subject::start("chat-server", &["--one-to-one"]);
        let stop = Stop::new();
        let guest = one_to_one::Guest::new(&mut server);
        let attack = stream::attack(server.address, &stream::ONE_BY_ONE, stop.clone());
        soak(
            &server,
            ONE_TO_ONE_KIB,
            guest.visit(stop.clone()),
            attack,
            stop,
        )
        .await;
    });
}

#[test]
fn datagrams() {
    alone(async {
        let server = Subject::start("chat-udp", &["server", "--forget-after", "5s"]);
        let stop = Stop::new();
        let users = book::join(server.address).await;
        let attack = datagrams::attack(server.address, stop.clone());
        soak(
            &server,
            DATAGRAMS_KIB,
            users.talk(stop.clone()),
            attack,
            stop,
        )
        .await;
        book::is_empty(server.address).await;
    });
}

#[test]
fn web() {
    alone(async {
        let site = tempfile::tempdir().unwrap();
        let folder = site.path().to_owned();
        let path = folder.to_str().unwrap();
        let mut make = assert_cmd::Command::cargo_bin("specimen").unwrap();
        make.args(["web-site", path]).assert().success();
        let server = Subject::start(
            "specimen",
            &["web-server", path, "--max-connections", WEB_PLACES],
        );
        let stop = Stop::new();
        let attack = stream::attack(server.address, &stream::MANY, stop.clone());
        let (address, until) = (server.address, stop.clone());
        let visitor = async move { visitor::visit(address, &folder, until).await };
        soak(&server, WEB_KIB, visitor, attack, stop).await;
    });
}
