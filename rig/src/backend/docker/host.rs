//! A host: the container of an agent, with the host's interfaces.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig,
    NetworkConnectRequest, NetworkingConfig,
};
use bollard::query_parameters::StartContainerOptions;
use tokio::sync::Semaphore;

use super::agent_link::AgentLink;
use super::cell::{Containers, Role};
use super::engine::{Shared, answered, attached_container, bounded, cause};
use super::labels;
use super::networks;
use super::words::{self, SettingRefusal};
use crate::agent::protocol::{HostInterface, Names, Request, Response};
use crate::backend::BackendError;
use crate::plan::{CapturePlan, HostPlan, InterfacePlan, Plan};
use crate::units::printable;

/// What an agent needs: offloads and addresses, packet sockets, the port of name servers, and a look at the sockets of
/// programs that are not its children. Engines may be set up to give none of these by default.
const CAPABILITIES: [&str; 4] = ["NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_PTRACE"];

/// What an agent tells of: its warnings too, which stand in the rig's own log (`RIG_LOG=debug`).
const AGENT_LOG: &str = "RIG_LOG=warn";

/// The kernel's name of the loopback interface.
const LOOPBACK: &str = "lo";

/// A host that exists and has not been started.
#[derive(Debug)]
pub(super) struct CreatedHost {
    pub(super) plan: HostPlan,
    pub(super) container: String,
}

/// Makes the container of a host, with every interface in place.
pub(super) async fn create(
    containers: &Arc<Containers>,
    plan: &Plan,
    host: &HostPlan,
    prefix: &str,
) -> Result<CreatedHost, BackendError> {
    let shared = &containers.shared;
    let name = format!("{prefix}-host-{}", host.name);
    let operation = format!("make host `{}`", host.name);
    let body = ContainerCreateBody {
        image: Some(shared.images().agent.clone()),
        hostname: Some(host.name.to_string()),
        env: Some(vec![AGENT_LOG.to_owned()]),
        labels: Some(shared.labels(&[
            (labels::CELL, &plan.cell),
            (labels::HOST, host.name.as_str()),
        ])),
        host_config: Some(HostConfig {
            network_mode: Some(host.interfaces.first().map_or_else(
                || "none".to_owned(),
                |first| network_name(shared, plan, first),
            )),
            cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            // What an agent writes are its answers, captures among them: the engine would keep them all on disk.
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            extra_hosts: Some(names_on(plan, host)),
            sysctls: Some(
                host.sysctls
                    .iter()
                    .map(|(key, setting)| (key.clone(), setting.value.clone()))
                    .collect(),
            ),
            ..HostConfig::default()
        }),
        networking_config: host.interfaces.first().map(|first| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                network_name(shared, plan, first),
                endpoint(first),
            )])),
        }),
        ..attached_container()
    };
    let container = containers
        .create(Role::Host, &operation, &name, body)
        .await?;
    // Engines before API 1.44 take one network at creation.
    for interface in host.interfaces.iter().skip(1) {
        let network = network_name(shared, plan, interface);
        let request = NetworkConnectRequest {
            container: container.clone(),
            endpoint_config: Some(endpoint(interface)),
        };
        bounded(&operation, shared.client.connect_network(&network, request)).await?;
    }
    Ok(CreatedHost {
        plan: host.clone(),
        container,
    })
}

/// Starts the container of a host, when it is its turn.
pub(super) async fn start(
    containers: &Containers,
    host: &CreatedHost,
    turns: &Semaphore,
) -> Result<Arc<AgentLink>, BackendError> {
    let shared = &containers.shared;
    let name = &host.plan.name;
    let operation = format!("start host `{name}`");
    // Podman sets the container up when it is attached to, Docker when it is started.
    let refused = |error| start_error(&host.plan, &operation, &cause(&error));
    let attached = answered(&operation, shared.attaching(&host.container)).await?;
    let attached = attached.map_err(refused)?;
    let link = Arc::new(AgentLink::new(name.clone(), attached));
    containers.hold(&host.container, &link);
    // Never closed: whoever waits gets a turn.
    let _turn = turns.acquire().await;
    let options = None::<StartContainerOptions>;
    let request = shared.client.start_container(&host.container, options);
    answered(&operation, request).await?.map_err(refused)?;
    Ok(link)
}

/// Tells a kernel setting that is refused, the file's fault, from a failure of the engine.
fn start_error(host: &HostPlan, operation: &str, why: &str) -> BackendError {
    let keys = host.sysctls.keys().map(String::as_str);
    let refused = words::refused_setting(why, keys);
    let refused = refused.and_then(|(key, why)| Some((host.sysctls.get_key_value(key)?, why)));
    let Some(((key, setting), refusal)) = refused else {
        return BackendError::machine(format!("{operation}: {}", printable(why)));
    };
    let reason = match refusal {
        SettingRefusal::Unknown => {
            "the kernel has no such setting in a network namespace".to_owned()
        }
        SettingRefusal::BadValue => {
            format!("the kernel does not take the value `{}`", setting.value)
        }
        SettingRefusal::Other => why.to_owned(),
    };
    let message = format!("{operation}: set `{key}`: {}", printable(&reason));
    BackendError::input(message, setting.place)
}

/// Waits until the agent of a started host records. Should its controller vanish, it lives on for
/// `linger`.
pub(super) async fn open(
    link: &AgentLink,
    plan: &Plan,
    host: &CreatedHost,
    linger: Duration,
    path_key: Option<u64>,
) -> Result<(), BackendError> {
    let name = &host.plan.name;
    let networks = host
        .plan
        .interfaces
        .iter()
        .map(|interface| (IpAddr::V4(interface.address), interface.network.to_string()))
        .collect();
    let request = Request::Open {
        host: name.to_string(),
        networks,
        linger,
        routes: plan.routes.get(name).cloned().unwrap_or_default(),
        link: plan.link(name).map(|link| Box::new(link.order.clone())),
        stealth: host.plan.stealth,
        names: if plan.has_name_server(name) {
            Names::Left
        } else {
            Names::Served
        },
        path_key,
        capture: host.plan.capture,
    };
    // A filter or a ring that the kernel refuses is what the file asks for.
    let answer = link.ask(request).await.map_err(|error| {
        let asked = host.plan.stealth || host.plan.capture != CapturePlan::default();
        if asked {
            error.or_at(host.plan.place)
        } else {
            error
        }
    });
    let Response::Opened { interfaces } = answer? else {
        return Err(BackendError::machine(format!(
            "start host `{name}`: its agent gave an answer to another question"
        )));
    };
    for warning in interfaces.iter().filter_map(offload_warning) {
        tracing::warn!(cell = plan.cell, host = %name, "{warning}");
    }
    tracing::debug!(cell = plan.cell, host = %name, "host is up and records");
    Ok(())
}

/// What to say of an interface whose packets may be longer than those on a wire; nothing of
/// loopback, which is no wire on any machine.
fn offload_warning(interface: &HostInterface) -> Option<String> {
    if interface.name == LOOPBACK || interface.offloads_left.is_empty() {
        return None;
    }
    Some(format!(
        "interface {} keeps {} on: segment lengths may not be those of a wire",
        printable(&interface.name),
        printable(&interface.offloads_left.join(", "))
    ))
}

fn network_name(shared: &Shared, plan: &Plan, interface: &InterfacePlan) -> String {
    let subnet = plan
        .networks
        .iter()
        .find(|network| network.name == interface.network)
        .map(|network| network.subnet);
    subnet.map_or_else(String::new, |subnet| networks::name(&shared.run, subnet))
}

fn endpoint(interface: &InterfacePlan) -> EndpointSettings {
    EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(interface.address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    }
}

/// Entries of /etc/hosts, which the programs of a host share with its agent.
fn names_on(plan: &Plan, host: &HostPlan) -> Vec<String> {
    let names: BTreeMap<&String, &Ipv4Addr> = plan
        .nodes
        .iter()
        .filter(|node| node.host == host.name)
        .flat_map(|node| &node.names)
        .collect();
    names
        .into_iter()
        .map(|(name, address)| format!("{name}:{address}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_left_on_are_told_of_interfaces_with_a_wire() {
        let interface = |name: &str, offloads: &[&str]| HostInterface {
            name: name.to_owned(),
            label: "alice@lan".to_owned(),
            mac: [0; 6],
            addresses: vec![],
            mtu_bytes: 1500,
            offloads_left: offloads.iter().map(|&name| name.to_owned()).collect(),
        };
        assert_eq!(
            offload_warning(&interface("eth0", &["tso", "gro"])).as_deref(),
            Some("interface eth0 keeps tso, gro on: segment lengths may not be those of a wire")
        );
        assert_eq!(offload_warning(&interface("eth0", &[])), None);
        assert_eq!(offload_warning(&interface("lo", &["tso"])), None);
    }
}
