//! Matrix files without mistakes: their cells, and the plan of a cell.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot be read ends the test"
)]

use std::path::Path;

use rig::link::Route;
use rig::matrix::{expand, select};
use rig::plan::{Plan, Subnet, networks_needed, plan};
use rig::spec::{Spec, load, parse};

fn example() -> Spec {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rig/good/chat-endings.yaml");
    load(&file).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn planned(spec: &Spec, cell: &str) -> Plan {
    let matrix = expand(spec).unwrap();
    let cell = matrix.cells.iter().find(|c| c.name == cell).unwrap();
    let subnets = [1, 2, 3].map(|third| Subnet::containing([10, 9, third, 0].into()));
    plan(spec, cell, &subnets[..networks_needed(spec, cell).count]).unwrap()
}

/// The steps and the checks of a plan, each in a line.
fn steps_and_checks(plan: &Plan) -> [Vec<&str>; 2] {
    let steps = plan.steps.iter().map(|step| step.text.as_str());
    let checks = plan.checks.iter().map(|check| check.text.as_str());
    [steps.collect(), checks.collect()]
}

/// A plan without what only patterns and places would add.
fn shown(plan: &Plan) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{}\n", plan.cell);
    for network in &plan.networks {
        writeln!(text, "network {} {}", network.name, network.subnet).unwrap();
    }
    for host in &plan.hosts {
        let interfaces = host.interfaces.iter();
        let interfaces = interfaces.map(|i| format!("{}={}", i.network, i.address));
        let interfaces: Vec<String> = interfaces.collect();
        let name = &host.name;
        let sysctls = host
            .sysctls
            .iter()
            .map(|(key, setting)| (key, &setting.value));
        let sysctls: std::collections::BTreeMap<_, _> = sysctls.collect();
        writeln!(text, "host {name} {} {sysctls:?}", interfaces.join(" ")).unwrap();
    }
    for node in &plan.nodes {
        let (name, host, program) = (&node.name, &node.host, &node.implementation);
        writeln!(
            text,
            "node {name} on {host} is {program} from {}",
            node.image
        )
        .unwrap();
        writeln!(text, "  command {:?}", node.command).unwrap();
        writeln!(text, "  env {:?} ready {:?}", node.env, node.ready).unwrap();
        writeln!(text, "  names {:?}", node.names).unwrap();
    }
    for step in &plan.steps {
        let (line, within) = (step.place.line, step.within);
        writeln!(text, "step (line {line}, {within:?}) {}", step.text).unwrap();
        writeln!(text, "  {:?}", step.action).unwrap();
    }
    for check in &plan.checks {
        writeln!(text, "check (line {}) {}", check.place.line, check.text).unwrap();
    }
    text
}

/// Compares with the snapshot beside the files.
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("good");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn cells_of_the_example() {
    let matrix = expand(&example()).unwrap();
    let cells = matrix.cells.iter().map(|cell| format!("{}\n", cell.name));
    let excluded = matrix.excluded.iter();
    let excluded = excluded.map(|e| format!("excluded {}: {:?}\n", e.cell.name, e.reason));
    let text: String = cells.chain(excluded).collect();
    assert_snapshot("cells", &text);
}

#[test]
fn plan_of_a_cell_on_one_host() {
    let name = "server=ours,client=netcat,placement=local,ending=quit";
    assert_snapshot("plan-one-host", &shown(&planned(&example(), name)));
}

#[test]
fn plan_of_a_cell_on_three_hosts() {
    let name = "server=ncat-room,client=terminal,placement=cross-host,ending=kill-client";
    assert_snapshot("plan-three-hosts", &shown(&planned(&example(), name)));
}

#[test]
fn hosts_and_links_get_routes_and_those_that_are_not_needed_are_left_out() {
    let text = include_str!("good/two-links.yaml");
    let spec = parse("two-links.yaml", Path::new(""), text.to_owned());
    let spec = spec.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let plan = planned(&spec, "placement=far");
    let names: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["hub", "left", "uplink", "trunk"]);
    // By third number of the address: lan is 1, mid is 2, wan is 3.
    let shown = |routes: &[Route]| -> Vec<String> {
        let shown = routes.iter().map(|route| match route.via {
            Some(via) => format!("{} via {via}", route.network),
            None => route.network.to_string(),
        });
        shown.collect()
    };
    let left = &plan.routes[&plan.nodes[1].host];
    assert_eq!(
        shown(left),
        ["10.9.2.0/24 via 10.9.1.210", "10.9.3.0/24 via 10.9.1.210"]
    );
    let uplink = &plan.links[0].order;
    assert_eq!(shown(&uplink.routes[0]), ["10.9.1.0/24"]);
    assert_eq!(
        shown(&uplink.routes[1]),
        ["10.9.2.0/24", "10.9.3.0/24 via 10.9.2.211"]
    );
    assert_eq!(plan.nodes[1].names["server"].to_string(), "10.9.3.10");
    assert_eq!(uplink.settings[0].delay.as_millis(), 30);
    assert_eq!(uplink.settings[1].delay.as_millis(), 5);
    let checks: Vec<&str> = plan.checks.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(
        checks,
        [
            "lost on uplink: SYN from alice",
            "lost on uplink: RST to left"
        ]
    );
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(
        steps,
        [
            "start server, alice",
            "cut uplink from lan",
            "mend uplink from lan",
            "link trunk set loss 0.1%, rate 10000000bit",
            "partition alice | hub",
            "heal the partition",
            "lose RST to left on uplink",
        ]
    );

    let near = planned(&spec, "placement=near");
    assert!(near.links.is_empty() && near.routes.is_empty() && near.checks.is_empty());
    assert_eq!(near.steps.len(), 1);
}

#[test]
fn an_absent_node_takes_its_steps_and_checks_along() {
    let name = "server=ours,client=terminal,placement=cross-host,ending=kill-server";
    let plan = planned(&example(), name);
    assert!(plan.nodes.iter().all(|node| node.name.as_str() != "bob"));
    assert!(plan.hosts.iter().all(|host| host.name.as_str() != "far"));
    assert!(plan.steps.iter().all(|step| !step.text.contains("bob")));
    assert_eq!(plan.steps[0].text, "start server, alice");
    let checks: Vec<&str> = plan
        .checks
        .iter()
        .map(|check| check.text.as_str())
        .collect();
    assert_eq!(
        checks,
        [
            "flow alice -> server:15102 count 1 pattern",
            "sockets server at before-ending",
            "exit server by SIGKILL",
        ]
    );
}

#[test]
fn filters_choose_by_whole_pairs_or_parts_of_names() {
    let cells = expand(&example()).unwrap().cells;
    let count = |filters: &[&str]| {
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        select(&cells, &filters).map(|cells| cells.len())
    };
    assert_eq!(count(&[]), Ok(22));
    assert_eq!(count(&["server=ours"]), Ok(12));
    assert_eq!(count(&["server=ours,ending=quit"]), Ok(4));
    assert_eq!(count(&["kill"]), Ok(16));
    assert_eq!(count(&["placement=cross"]), Ok(11));
    assert_eq!(count(&["server=ours,client=netcat", "ending=quit"]), Ok(10));
    let error = count(&["server=ours", "client=telnet"]).unwrap_err();
    assert_eq!(error.to_string(), "no cell fits `--filter client=telnet`");
}

#[test]
fn a_matrix_without_axes_is_one_cell_of_its_name() {
    let text = "version: 1\nname: alone\nimages: { i: { reference: i } }\n\
        implementations: { p: { image: i, run: [p] } }\n\
        networks: { lan: }\nhosts: { h: [lan] }\nnodes: { n: { on: h, is: p } }\n\
        steps: [{ start: n }]\n";
    let spec = parse("x.yaml", Path::new(""), text.to_owned()).unwrap();
    let matrix = rig::plan::validate(&spec).unwrap();
    assert_eq!(matrix.cells.len(), 1);
    assert_eq!(matrix.cells[0].name, "alone");
}

#[test]
fn one_two_and_three_clients_need_a_when_on_the_nodes_alone() {
    let text = "version: 1\nname: crowd\nimages: { i: { reference: i } }\n\
        implementations: { p: { image: i, run: [p], leave: { stdin: eof } } }\n\
        networks: { lan: }\nhosts: { h: lan, g: lan }\n\
        matrix: { clients: [1, 2, 3] }\n\
        nodes:\n  server: { on: h, is: p }\n  a: { on: g, is: p }\n  \
        b: { on: g, is: p, when: { clients: [2, 3] } }\n  \
        c: { on: g, is: p, when: { clients: 3 } }\n\
        steps: [{ start: [server, a] }, { start: [b, c] }, { leave: c }, { leave: a }]\n\
        checks:\n  - { flow: a -> server, count: \"${clients}\" }\n  \
        - { flow: b -> server }\n  - { exit: c, code: 0 }\n";
    let spec = parse("x.yaml", Path::new(""), text.to_owned()).unwrap();
    let shapes: Vec<_> = rig::plan::validate(&spec)
        .unwrap()
        .cells
        .iter()
        .map(|cell| {
            let subnets = [Subnet::containing([10, 0, 0, 0].into())];
            let plan = plan(&spec, cell, &subnets).unwrap();
            let [steps, checks] = steps_and_checks(&plan);
            format!("{}; {}", steps.join(", "), checks.join(", "))
        })
        .collect();
    assert_eq!(
        shapes,
        [
            "start server, a, leave a; flow a -> server count 1",
            "start server, a, start b, leave a; flow a -> server count 2, flow b -> server",
            "start server, a, start b, c, leave c, leave a; \
         flow a -> server count 3, flow b -> server, exit c code 0",
        ]
    );
}

#[test]
fn include_brings_back_what_exclude_took_out_in_its_place() {
    let text = include_str!("good/small.yaml").replace(
        "nodes:",
        "exclude:\n  - { ending: [leave, kill], reason: all }\n\
         include:\n  - { ending: leave }\nnodes:",
    );
    let spec = parse("x.yaml", Path::new(""), text).unwrap();
    let matrix = expand(&spec).unwrap();
    let names: Vec<&str> = matrix.cells.iter().map(|cell| cell.name.as_str()).collect();
    assert_eq!(names, ["client=netcat,ending=leave"]);
    assert_eq!(matrix.excluded.len(), 1);
    assert_eq!(matrix.excluded[0].reason.as_deref(), Some("all"));
}

/// The cells of `ragged.yaml` with what is done and checked in each.
#[test]
fn listed_cells_may_lack_an_axis_and_their_steps_come_from_several() {
    let text = include_str!("good/ragged.yaml");
    let spec = parse("ragged.yaml", Path::new(""), text.to_owned());
    let spec = spec.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let matrix = rig::plan::validate(&spec);
    let matrix = matrix.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let told = matrix.cells.iter().map(|cell| {
        let plan = planned(&spec, &cell.name);
        let [steps, checks] = steps_and_checks(&plan).map(|lines| lines.join("; "));
        format!("{}\n  steps {steps}\n  checks {checks}\n", cell.name)
    });
    let excluded = matrix.excluded.iter();
    let excluded = excluded.map(|e| format!("excluded {}: {:?}\n", e.cell.name, e.reason));
    assert_snapshot("ragged", &told.chain(excluded).collect::<String>());
}

#[test]
fn lists_leave_out_the_axes_that_a_cell_lacks() {
    let list = |args: &[&str]| rig_list_of("ragged.yaml", args);
    let (code, stdout, stderr) = list(&["--excluded", "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let rows: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lacking = |row: &&serde_json::Value| row["values"].get("client").is_none();
    let lacking: Vec<_> = rows.iter().filter(lacking).collect();
    assert_eq!(lacking.len(), 3);
    assert_eq!(lacking[0]["name"], "server=ours,ending=idle");
    let keys: Vec<&String> = lacking[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "values", "excluded"], "nothing of the file");
    let (code, stdout, _) = list(&["--filter", "client=netcat,ending=quit"]);
    assert_eq!((code, stdout.lines().count()), (Some(0), 3), "{stdout}");
}

fn rig_list(args: &[&str]) -> (Option<i32>, String, String) {
    rig_list_of("chat-endings.yaml", args)
}

fn rig_list_of(file: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rig"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rig/good"))
        .arg("list")
        .arg(file)
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn lists_have_cells_on_stdout_and_excluded_ones_beside_them() {
    let (code, stdout, stderr) = rig_list(&[]);
    assert_eq!((code, stdout.lines().count()), (Some(0), 22));
    assert_eq!(stderr, "2 cells excluded, see --excluded\n");

    let (code, stdout, stderr) = rig_list(&["--excluded"]);
    assert_eq!((code, stdout.lines().count()), (Some(0), 22));
    assert_eq!(stderr.lines().count(), 2);
    assert!(stderr.starts_with("excluded server=ncat-room,client=netcat,placement=local"));
    assert!(
        stderr.contains(": ncat's room says no farewell\n"),
        "{stderr}"
    );

    let (code, stdout, stderr) = rig_list(&["--json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let rows: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 24);
    assert_eq!(rows[1]["values"]["ending"], "kill-client");
    assert_eq!(rows.iter().filter(|row| row["excluded"] == true).count(), 2);
}

#[test]
fn lists_by_filter() {
    let (code, stdout, stderr) = rig_list(&["--filter", "client=netcat,ending=quit"]);
    assert_eq!(
        (code, stdout.lines().count(), stderr.as_str()),
        (Some(0), 2, "")
    );
    let (code, stdout, stderr) = rig_list(&["--filter", "client=\u{1b}[2J"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_eq!(stderr, "rig: no cell fits `--filter client=\\u{1b}[2J`\n");
}
