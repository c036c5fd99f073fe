//! The room: names, messages, comings and goings.

use crate::support::{Server, is_refused};

#[test]
fn a_newcomer_is_greeted_asked_for_a_name_and_let_in() {
    let server = Server::start(&[]);
    let mut alice = server.connect();
    assert_eq!(
        alice.line().unwrap(),
        "* welcome to the chat room: say `quit` to leave"
    );
    assert_eq!(alice.line().unwrap(), "* your name?");
    alice.send("alice\n");
    assert_eq!(
        alice.line().unwrap(),
        "* you are alice; nobody else is here"
    );
}

#[test]
fn a_message_goes_to_every_member_marked_with_its_author() {
    let server = Server::start(&[]);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    let mut carol = server.join("carol");
    alice.send("ciao\n");
    for member in [&mut alice, &mut bob, &mut carol] {
        assert_eq!(member.hear("ciao"), "alice: ciao");
    }
    assert_eq!(server.program.hear("ciao"), "alice: ciao");
}

#[test]
fn a_taken_name_is_refused_with_a_reason_and_asked_for_again() {
    let server = Server::start(&[]);
    let _alice = server.join("alice");
    let mut other = server.connect();
    other.hear("* your name?");
    other.send("Alice\n");
    assert_eq!(
        other.line().unwrap(),
        "* the name `Alice` is taken: choose another"
    );
    assert_eq!(other.line().unwrap(), "* your name?");
    other.send("two words\n");
    assert!(
        other
            .line()
            .unwrap()
            .starts_with("* the name `two words` cannot be used: use letters")
    );
    assert_eq!(other.line().unwrap(), "* your name?");
    other.send("bob\n");
    assert_eq!(other.line().unwrap(), "* you are bob; here: alice");
}

#[test]
fn a_name_of_any_script_is_taken_in_each_of_its_spellings() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut stay = Vec::new();
    for (given, shown, same) in [
        ("हिन्दी", "हिन्दी", "हिन्दी"),
        ("மணி", "மணி", "மணி"),
        ("မြန်မာ", "မြန်မာ", "မြန်မာ"),
        ("cafe\u{301}", "café", "CAFÉ"),
        ("straße", "straße", "STRASSE"),
        ("Σίσυφος", "Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ] {
        let mut alice = server.connect();
        alice.send(format!("{given}\n"));
        alice.hear(&format!("* you are {shown}; "));
        assert_eq!(bob.line().unwrap(), format!("* {shown} has joined"));
        let mut other = server.connect();
        other.send(format!("{same}\n"));
        other.hear(&format!("* the name `{same}` is taken"));
        alice.send("ciao\n");
        assert_eq!(bob.line().unwrap(), format!("{shown}: ciao"));
        stay.push(alice);
    }
}

#[test]
fn a_leaver_is_gone_at_once_and_may_come_back_on_a_new_port() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    for _ in 0..3 {
        let mut alice = server.join("alice");
        bob.hear("* alice has joined");
        alice.send("quit\n");
        assert_eq!(
            alice.line().unwrap(),
            "* goodbye",
            "the farewell is all that a leaver hears"
        );
        assert_eq!(alice.line(), None);
        bob.hear("* alice has left");
    }
}

#[test]
fn a_member_that_closes_without_a_word_leaves_too() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let alice = server.join("alice");
    drop(alice);
    bob.hear("* alice has left");
}

#[test]
fn empty_messages_are_never_sent() {
    let server = Server::start(&[]);
    let mut alice = server.join("alice");
    alice.send("\n\r\n   \n\t\nciao\n");
    assert_eq!(alice.line().unwrap(), "alice: ciao");
}

#[test]
fn after_stop_newcomers_are_refused_and_the_room_goes_on() {
    let mut server = Server::start(&[]);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    server.program.say("stop");
    server.program.hear("* newcomers are refused");
    assert!(is_refused(server.address));
    alice.send("still here\n");
    assert_eq!(bob.hear("still"), "alice: still here");
    server.program.say("good evening");
    assert_eq!(bob.hear("evening"), "operator: good evening");
    server.program.say("close");
    assert_eq!(bob.hear("shuts down"), "* the server shuts down: goodbye");
    assert_eq!(bob.line(), None);
    drop((alice, bob));
    assert!(server.program.ended().success());
}

#[test]
fn the_end_of_stdin_closes_nothing() {
    let mut server = Server::start(&[]);
    server.program.end_stdin();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    alice.send("anybody?\n");
    bob.hear("alice: anybody?");
    assert!(server.program.is_running());
}

#[test]
fn nobody_can_speak_as_the_server_or_the_operator() {
    let server = Server::start(&[]);
    let mut alice = server.connect();
    alice.hear("* your name?");
    alice.send("operator\n");
    assert_eq!(
        alice.line().unwrap(),
        "* the name `operator` cannot be used: it is reserved"
    );
    for name in [
        "* bob",
        "bob\u{200b}",
        "bob\u{202e}",
        "\u{202e}bob",
        "bo\u{200d}b",
    ] {
        alice.send(format!("{name}\n"));
        alice.hear("cannot be used");
    }
    alice.send("alice\n* the server shuts down: goodbye\n");
    assert_eq!(
        alice.hear("shuts down"),
        "alice: * the server shuts down: goodbye"
    );
}
