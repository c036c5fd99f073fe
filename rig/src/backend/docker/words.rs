//! What engines and their runtimes say, and what it means.
//!
//! An engine answers with a status that is the same for many causes and a text for people. Whatever the rig
//! must tell apart by such a text is told apart here and nowhere else: each function names who says it, in
//! which version, and is tested on what was recorded. docs/engines.md tells where and when that was.

use bollard::errors::Error as EngineError;
use bollard::models::SystemVersion;

/// Who made an engine, where the rig goes different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    /// Docker Engine, and whatever does not say that it is another one.
    Docker,
    /// Podman, behind its interface that is compatible with Docker's.
    Podman,
}

impl Brand {
    /// By the components of an engine's version. Podman 5.8.6 has a `"Podman Engine"` and, as Docker does, an
    /// `"Engine"`.
    pub(super) fn of(version: &SystemVersion) -> Self {
        let mut components = version.components.iter().flatten();
        if components.any(|component| component.name == "Podman Engine") {
            Self::Podman
        } else {
            Self::Docker
        }
    }
}

/// Why a runtime did not take a kernel setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingRefusal {
    /// The kernel has no such setting in a network namespace.
    Unknown,
    /// The kernel does not take the value.
    BadValue,
    /// Something else.
    Other,
}

/// Whether the operating system does not let this user open the engine's socket. On connecting, with a
/// capital or not: `error trying to connect: Permission denied (os error 13)`.
pub(super) fn forbids_socket(why: &str) -> bool {
    why.contains("ermission denied")
}

/// Whether a network was refused because its addresses are taken.
///
/// - Docker 20.10, 26.1, 28.5: `Pool overlaps with other one on this address space`;
/// - Docker, where the networks' bridges meet: `networks have overlapping IPv4`;
/// - Podman 4.3.1, 5.4.2, 5.8.6: `subnet 198.18.252.0/24 is already used on the host or by another config`.
pub(super) fn is_taken_subnet(why: &str) -> bool {
    why.contains("overlap") || why.contains("is already used on the host or by another config")
}

/// Whether a network was refused because the engine does not know the mode of its gateway. Docker 27 has
/// the option and not the mode. Docker 28.5.2 says of a mode that it does not know: `failed to parse
/// com.docker.network.bridge.gateway_mode_ipv4 value: nonsense (unknown gateway mode nonsense)`.
pub(super) fn refuses_gateway_mode(why: &str) -> bool {
    why.contains("gateway_mode_ipv4") || why.contains("unknown gateway mode")
}

/// Whether containers are still on a network that shall go.
///
/// - Docker 20.10: `error while removing network: network rig-x id 0f… has active endpoints`;
/// - Docker 28.5.2: `error while removing network: network rig-x has active endpoints (name:"…" id:"…")`;
/// - Podman 5.8.6: `"rig-x" has associated containers with it. Use -f to forcibly delete containers and
///   pods: network is being used`.
pub(super) fn is_network_in_use(why: &str) -> bool {
    why.contains("active endpoints") || why.contains("network is being used")
}

/// Whether somebody else's removal of a container is under way. Docker: `removal of container 0f… is
/// already in progress`.
pub(super) fn is_removal_under_way(why: &str) -> bool {
    why.contains("is already in progress")
}

/// Whether an image has gone together with one that was built on it. Docker 20.10: `unrecognized image ID
/// sha256:0f…`.
pub(super) fn is_image_gone(why: &str) -> bool {
    why.contains("unrecognized image ID")
}

/// Whether a layer stays for a container that is made from it.
///
/// - Docker 20.10, 28.5: `conflict: unable to delete 0f… (cannot be forced) - image is being used by running container
///   1a…`;
/// - Podman 5.8.6: `image 0f… is in use: image used by 1a…: image is in use by a container: consider listing external containers and
///   force-removing image`.
pub(super) fn is_layer_in_use(why: &str) -> bool {
    why.contains("is being used by") || why.contains("is in use by a container")
}

/// Whether a freeze was given up since a process did not come to rest in time. runc on version 1 of
/// cgroups: `unable to freeze`.
pub(super) fn is_not_at_rest(why: &str) -> bool {
    why.contains("unable to freeze")
}

/// Whether a list of containers could not be read because of a state that Docker has no word for: Podman
/// 4.3.1, 5.4.2 and 5.8.6 say `stopped` of a container for 0.1 to 0.2 s after its program has ended.
pub(super) fn is_passing_state(error: &EngineError) -> bool {
    matches!(error, EngineError::JsonDataError { message, .. } if message.contains("unknown variant `stopped`"))
}

/// Whether an image has no such user or group. Docker 20.10: `unable to find user nobodi: no matching entries in passwd
/// file`, `unable to find group …`.
pub(super) fn is_unknown_user(why: &str) -> bool {
    why.contains("unable to find ")
}

/// Which limit of resources a runtime may not set so high, by its number (getrlimit(2)). runc 1.1: `error setting rlimit
/// type 7: operation not permitted`.
pub(super) fn refused_limit(why: &str) -> Option<usize> {
    let (_, number) = why.split_once("rlimit type ")?;
    let digits = number.find(|c: char| !c.is_ascii_digit());
    number[..digits.unwrap_or(number.len())].parse().ok()
}

/// Which of the kernel settings (`net.ipv4.tcp_fin_timeout`) a runtime refused when it set up a container,
/// and why.
///
/// - runc 1.1: `open /proc/sys/net/ipv4/no_such: no such file or directory`, `write
///   /proc/sys/net/ipv4/tcp_fin_timeout: invalid argument`;
/// - runc 1.3.6: `open sysctl net.ipv4.no_such file: unsafe procfs detected: openat2
///   fsmount:fscontext:proc/./sys/net/ipv4/no_such: no such file or directory`, `failed to write sysctl
///   net.ipv4.tcp_fin_timeout = "abc": write fsmount:fscontext:proc/./sys/net/ipv4/tcp_fin_timeout: invalid argument`;
/// - crun 1.21, 1.28: ``open `/proc/sys/net/ipv4/no_such`: No such file or directory``, ``write to
///   `/proc/sys/net/ipv4/tcp_fin_timeout`: Invalid argument``.
pub(super) fn refused_setting<'a>(
    why: &str,
    keys: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, SettingRefusal)> {
    let key = keys.into_iter().find(|key| {
        let file = format!("sys/{}", key.replace('.', "/"));
        names(why, &file) || names(why, key)
    })?;
    let lower = why.to_ascii_lowercase();
    let refusal = if lower.contains("no such file or directory") {
        SettingRefusal::Unknown
    } else if lower.contains("invalid argument") {
        SettingRefusal::BadValue
    } else {
        SettingRefusal::Other
    };
    Some((key, refusal))
}

/// Whether a text has a name that is not the beginning or the end of a longer one.
fn names(text: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + name.len()..].chars();
        let next = after.next();
        let longer = matches!(next, Some('.' | '/')) && after.next().is_some_and(goes_on);
        !before.is_some_and(|c| goes_on(c) || c == '.') && !next.is_some_and(goes_on) && !longer
    })
}

/// Whether a build asked for a file that its context lacks.
///
/// - Docker 20.10: `COPY failed: file not found in build context or excluded by .dockerignore: stat bin/x: file
///   does not exist`;
/// - Podman 5.8.6: `building at STEP "COPY bin/x /x": checking on sources under "/var/tmp/…/build": copier: stat:
///   "/bin/x": no such file or directory`.
pub(super) fn lacks_in_context(why: &str) -> bool {
    why.contains("not found in build context") || why.contains("copier: stat:")
}

/// What the machine says when a build fails that no Dockerfile can mend.
const MACHINE_SAYS: [&str; 9] = [
    "setrlimit",
    "no space left on device",
    "cannot allocate memory",
    "temporary failure resolving",
    "temporary failure in name resolution",
    "could not resolve host",
    "network is unreachable",
    "tls handshake timeout",
    "i/o timeout",
];

/// Whether a build failed for reasons of the machine, by what the engine or the last lines of a step say.
///
/// - Podman 5.8.6 with crun, under a limit of the machine: `setrlimit RLIMIT_NOFILE: Operation not permitted`;
/// - the kernel, through anybody (`ENOSPC`, `ENOMEM`, `ENETUNREACH`): `No space left on device`;
/// - apt, glibc and curl where there is no name server: `Temporary failure resolving 'deb.debian.org'`;
/// - Docker where a registry does not answer: `net/http: TLS handshake timeout`, `i/o timeout`.
pub(super) fn blames_machine(said: &str) -> bool {
    let lower = said.to_ascii_lowercase();
    MACHINE_SAYS.iter().any(|words| lower.contains(words))
}

/// The layer that a line of a build's output names as made by a step.
///
/// - Docker's classic builder: ` ---> 0123456789ab`;
/// - Podman: `--> 0123456789ab`.
pub(super) fn layer_of_step(line: &str) -> Option<&str> {
    let line = line.trim();
    let id = line
        .strip_prefix("---> ")
        .or_else(|| line.strip_prefix("--> "))?;
    let is_id = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;

    #[test]
    fn users_and_limits_that_are_refused() {
        let user = "unable to find user nobodi: no matching entries in passwd file";
        assert!(is_unknown_user(user) && !is_unknown_user("permission denied"));
        let limit = "error setting rlimit type 7: operation not permitted: unknown";
        assert_eq!(refused_limit(limit), Some(7));
        assert_eq!(refused_limit("rlimit type x"), None);
        assert_eq!(refused_limit(user), None);
    }

    const KEYS: [&str; 3] = [
        "net.ipv4.tcp_fin",
        "net.ipv4.no_such",
        "net.ipv4.tcp_fin_timeout",
    ];

    fn version(names: &[&str]) -> SystemVersion {
        let component = |name: &&str| SystemVersionComponents {
            name: (*name).to_owned(),
            ..SystemVersionComponents::default()
        };
        SystemVersion {
            components: Some(names.iter().map(component).collect()),
            ..SystemVersion::default()
        }
    }

    #[test]
    fn an_engine_is_known_by_its_components() {
        let podman = version(&["Podman Engine", "Conmon", "OCI Runtime (crun)", "Engine"]);
        assert_eq!(Brand::of(&podman), Brand::Podman);
        let docker = version(&["Engine", "containerd", "runc", "docker-init"]);
        assert_eq!(Brand::of(&docker), Brand::Docker);
        assert_eq!(Brand::of(&SystemVersion::default()), Brand::Docker);
    }

    #[test]
    fn a_socket_of_others_is_told() {
        assert!(forbids_socket(
            "error trying to connect: Permission denied (os error 13)"
        ));
        assert!(!forbids_socket("Connection refused (os error 111)"));
    }

    #[test]
    fn taken_addresses_are_told_by_every_engine() {
        for why in [
            "Pool overlaps with other one on this address space",
            "invalid pool request: Pool overlaps with other one on this address space",
            "networks have overlapping IPv4",
            "subnet 198.18.252.0/24 is already used on the host or by another config",
        ] {
            assert!(is_taken_subnet(why), "{why}");
        }
        assert!(!is_taken_subnet("network with name x already exists"));
    }

    #[test]
    fn an_unknown_mode_of_gateways_is_told() {
        assert!(refuses_gateway_mode(
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: nonsense \
             (unknown gateway mode nonsense)"
        ));
        assert!(!refuses_gateway_mode(
            "Pool overlaps with other one on this address space"
        ));
    }

    #[test]
    fn what_is_in_use_or_going_is_told() {
        for why in [
            "error while removing network: network rig-x id 0f has active endpoints",
            "error while removing network: network er-n has active endpoints (name:\"er-u\" id:\"e35547e04067\")",
            "\"NET\" has associated containers with it. Use -f to forcibly delete containers and pods: \
             network is being used",
        ] {
            assert!(is_network_in_use(why), "{why}");
        }
        assert!(!is_network_in_use("network x not found"));
        assert!(is_removal_under_way(
            "removal of container 0f is already in progress"
        ));
        assert!(!is_removal_under_way("No such container: 0f"));
        assert!(is_image_gone("unrecognized image ID sha256:0f"));
        assert!(!is_image_gone("No such image: 0f"));
        for why in [
            "conflict: unable to delete 0f (cannot be forced) - image is being used by running container 1a",
            "conflict: unable to delete 0f (must be forced) - image is being used by stopped container 1a",
            "image 0f is in use: image used by 1a: image is in use by a container: consider listing external containers and \
             force-removing image",
        ] {
            assert!(is_layer_in_use(why), "{why}");
        }
        assert!(!is_layer_in_use(
            "conflict: unable to delete 0f (cannot be forced) - image has dependent child images"
        ));
        assert!(is_not_at_rest(
            "Cannot pause container 0f: OCI runtime pause failed: unable to freeze: unknown"
        ));
        assert!(!is_not_at_rest("Container 0f is not running"));
    }

    #[test]
    fn a_state_that_passes_is_told_from_a_list_that_cannot_be_read() {
        let broken = |message: &str| EngineError::JsonDataError {
            message: message.to_owned(),
            column: 4319,
        };
        assert!(is_passing_state(&broken(
            "unknown variant `stopped`, expected one of ``, `created`, `running` at line 1 column 4319"
        )));
        assert!(!is_passing_state(&broken(
            "expected value at line 1 column 1"
        )));
        assert!(!is_passing_state(&EngineError::RequestTimeoutError));
    }

    #[test]
    fn refused_settings_are_told_by_every_runtime() {
        use SettingRefusal::{BadValue, Unknown};
        let create = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
                      container process: error during container init: ";
        for (said, key, refusal) in [
            (
                "open /proc/sys/net/ipv4/no_such: no such file or directory: unknown",
                KEYS[1],
                Unknown,
            ),
            (
                "write /proc/sys/net/ipv4/tcp_fin_timeout: invalid argument: unknown",
                KEYS[2],
                BadValue,
            ),
            (
                "open sysctl net.ipv4.no_such file: unsafe procfs detected: openat2 \
                 fsmount:fscontext:proc/./sys/net/ipv4/no_such: no such file or directory",
                KEYS[1],
                Unknown,
            ),
            (
                "failed to write sysctl net.ipv4.tcp_fin_timeout = \"abc\": write \
                 fsmount:fscontext:proc/./sys/net/ipv4/tcp_fin_timeout: invalid argument",
                KEYS[2],
                BadValue,
            ),
            (
                "open `/proc/sys/net/ipv4/no_such`: No such file or directory",
                KEYS[1],
                Unknown,
            ),
            (
                "write to `/proc/sys/net/ipv4/tcp_fin_timeout`: Invalid argument",
                KEYS[2],
                BadValue,
            ),
        ] {
            let whole = format!("{create}{said}");
            assert_eq!(
                refused_setting(&whole, KEYS),
                Some((key, refusal)),
                "{said}"
            );
        }
    }

    #[test]
    fn a_failure_that_names_no_setting_is_none_of_them() {
        for why in [
            "open /proc/sys/net/ipv4/no_such_thing: no such file or directory",
            "open sysctl net.ipv4.no_such.eth0 file: no such file or directory",
            "driver failed programming external connectivity",
        ] {
            assert_eq!(refused_setting(why, KEYS), None, "{why}");
        }
        let why = "write sysctl key net.ipv4.no_such: permission denied.";
        let refused = Some(("net.ipv4.no_such", SettingRefusal::Other));
        assert_eq!(refused_setting(why, KEYS), refused);
    }

    #[test]
    fn failures_of_builds_are_told_apart() {
        for why in [
            "COPY failed: file not found in build context or excluded by .dockerignore: stat bin/x: file does not exist",
            "building at STEP \"COPY bin/x /x\": checking on sources under \"/var/tmp/libpod_builder574785272/build\": \
             copier: stat: \"/bin/x\": no such file or directory",
        ] {
            assert!(lacks_in_context(why), "{why}");
            assert!(!blames_machine(why), "{why}");
        }
        for why in [
            "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied",
            "write /var/lib/docker/tmp/x: no space left on device",
            "Temporary failure resolving 'deb.debian.org'",
            "curl: (6) Could not resolve host: example.org",
            "Get \"https://registry-1.docker.io/v2/\": net/http: TLS handshake timeout",
            "dial tcp 192.0.2.1:443: i/o timeout",
            "lookup registry-1.docker.io on 10.0.2.3:53: dial udp 10.0.2.3:53: connect: network is unreachable",
        ] {
            assert!(blames_machine(why), "{why}");
            assert!(!lacks_in_context(why), "{why}");
        }
        assert!(!blames_machine(
            "The command '/bin/sh -c false' returned a non-zero code: 1"
        ));
    }

    #[test]
    fn steps_of_a_build_name_their_layers() {
        assert_eq!(layer_of_step(" ---> 0123456789ab"), Some("0123456789ab"));
        assert_eq!(layer_of_step("--> 7ba7abcdef01"), Some("7ba7abcdef01"));
        assert_eq!(layer_of_step(" ---> Running in 0123456789ab"), None);
        assert_eq!(layer_of_step("--> Using cache 0123456789ab"), None);
        assert_eq!(layer_of_step("0123456789ab"), None);
    }
}
