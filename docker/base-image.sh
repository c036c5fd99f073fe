#!/usr/bin/env bash
# base-image.sh IMAGE: makes a Debian base image without a registry.
#
#   docker/base-image.sh debian:bookworm-slim
#
# IMAGE is `debian:SUITE` or `debian:SUITE-slim`. A system of the packages that Debian marks as
# required, and apt, is put together by mmdebstrap from the mirror that this machine's own apt uses
# (Debian's default mirror where it uses none) and imported into the engine under that name. Nothing
# is done when the engine has the image already. mmdebstrap is installed where it is missing and
# this user may install packages. Messages go to stderr, nothing is asked, and nothing but the image
# is left behind.
#
# Exit code: 0 the image is there, 1 it could not be made, 2 wrong arguments.
set -euo pipefail

readonly LOCK_WAIT_SECONDS=600    # another process is making the image: a slow mirror needs minutes
readonly APT_LOCK_WAIT_SECONDS=300
readonly NETWORK_TIMEOUT_SECONDS=30

say() { printf 'base-image: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

if [[ $# -ne 1 || ! $1 =~ ^debian:([a-z]+)(-slim)?$ ]]; then
    say 'usage: docker/base-image.sh debian:SUITE[-slim], such as debian:bookworm-slim'
    exit 2
fi
readonly image=$1 suite=${BASH_REMATCH[1]}

image_exists() { docker image inspect "$image" >/dev/null 2>&1; }

check_engine() {
    have docker || fail 'the docker command is missing: install the package docker.io (docker-cli where there is one)'
    local cause
    cause=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) \
        || fail "no Docker engine answers: $cause"
}

# Runs apt-get as root, by sudo where that asks nothing.
apt_as_root() {
    local -a root=()
    [[ $(id -u) -eq 0 ]] || root=(sudo -n)
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get \
        -o "DPkg::Lock::Timeout=$APT_LOCK_WAIT_SECONDS" \
        -o Dpkg::Use-Pty=0 -o "Acquire::http::Timeout=$NETWORK_TIMEOUT_SECONDS" "$@" </dev/null >&2
}

install_mmdebstrap() {
    local advice="install it (on Debian and Ubuntu: apt-get install mmdebstrap), or pull or load $image yourself"
    have apt-get || fail "mmdebstrap is missing and there is no apt-get to install it: $advice"
    if [[ $(id -u) -ne 0 ]] && ! { have sudo && sudo -n true 2>/dev/null; }; then
        fail "mmdebstrap is missing and this user may not install packages: $advice"
    fi
    say 'mmdebstrap is missing: installing it with apt-get'
    local -a packages=(mmdebstrap debian-archive-keyring)
    apt_as_root install --yes --no-install-recommends -qq "${packages[@]}" \
        || { apt_as_root update -qq && apt_as_root install --yes --no-install-recommends -qq "${packages[@]}"; } \
        || fail "failed to install mmdebstrap: $advice"
}

# The address under which this machine's apt reaches the Debian archive with label $1; empty when
# it does not.
machine_mirror() {
    have apt-get || return 0
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null \
        | awk -F'|' -v label="$1" '$1 == "Debian" && $2 == label && !found { found = 1; print $3 }' \
        || true
}

# What apt.sources of the new system shall be, as mmdebstrap's last arguments; nothing leaves the
# choice to mmdebstrap.
sources() {
    local mirror security
    mirror=$(machine_mirror Debian)
    [[ -n $mirror ]] || return 0
    printf 'deb %s %s main\n' "$mirror" "$suite"
    case $suite in
        unstable | sid | testing | experimental) return 0 ;;
    esac
    printf 'deb %s %s-updates main\n' "$mirror" "$suite"
    security=$(machine_mirror Debian-Security)
    [[ -z $security ]] || printf 'deb %s %s-security main\n' "$security" "$suite"
}

# Settings of this machine's apt without which its mirror does not work.
carry_apt_settings() {
    have apt-config || return 0
    local http='' https='' valid=''
    eval "$(apt-config shell http Acquire::http::Proxy https Acquire::https::Proxy valid Acquire::Check-Valid-Until)"
    # A proxy is for the making alone: containers may not reach it under the same address.
    if [[ -n $http && $http != DIRECT && -z ${http_proxy:-} ]]; then export http_proxy=$http; fi
    if [[ -n $https && $https != DIRECT && -z ${https_proxy:-} ]]; then export https_proxy=$https; fi
    if [[ $valid == false ]]; then options+=(--aptopt='Acquire::Check-Valid-Until "false"'); fi
}

work='' maker=''
cleanup() {
    if [[ -n $maker ]] && kill -TERM "$maker" 2>/dev/null; then
        # It unmounts and removes its own folder before it ends.
        wait "$maker" || true
    fi
    if [[ -n $work ]]; then rm -rf -- "$work"; fi
}

# Removes what runs of this script left that were ended by SIGKILL. Folders carry the process id.
sweep() {
    local old pid
    for old in "${TMPDIR:-/tmp}"/rig-base-image.*.*; do
        pid=${old##*/rig-base-image.}
        pid=${pid%%.*}
        if [[ -O $old && ! -L $old && $pid =~ ^[0-9]+$ ]] && ! kill -0 "$pid" 2>/dev/null; then
            rm -rf -- "$old"
        fi
    done
}

make_image() {
    sweep
    work=$(mktemp -d "${TMPDIR:-/tmp}/rig-base-image.$$.XXXXXXXX")
    # Root of the new system must be able to enter the folder in every mode of mmdebstrap.
    chmod 755 "$work"
    options=(
        --quiet
        --variant=minbase
        --aptopt="Acquire::http::Timeout \"$NETWORK_TIMEOUT_SECONDS\""
        --aptopt='Acquire::Retries "2"'
        --aptopt='APT::Install-Recommends "false"'
        --aptopt='Acquire::Languages "none"'
        --dpkgopt='path-exclude=/usr/share/man/*'
        --dpkgopt='path-exclude=/usr/share/info/*'
        --dpkgopt='path-exclude=/usr/share/locale/*'
        --dpkgopt='path-exclude=/usr/share/doc/*'
        --dpkgopt='path-include=/usr/share/doc/*/copyright'
    )
    carry_apt_settings
    local lines
    lines=$(sources)
    local -a mirrors=()
    [[ -z $lines ]] || mapfile -t mirrors <<<"$lines"

    say "making $image with mmdebstrap (takes about half a minute)"
    # To a file first: an import of half a stream could succeed.
    # In the background: traps run at once while bash waits, and not while a program runs before it.
    # Where setpriv is there, mmdebstrap ends with this script even if that is ended by SIGKILL.
    local -a with_parent=()
    if have setpriv; then with_parent=(setpriv --pdeathsig TERM); fi
    TMPDIR=$work "${with_parent[@]}" mmdebstrap "${options[@]}" "$suite" "$work/base.tar" "${mirrors[@]}" </dev/null >&2 &
    maker=$!
    wait "$maker" \
        || fail "failed to make $image: mmdebstrap ended with code $? (is $suite a suite of Debian, and its mirror reachable?)"
    maker=''
    docker import --change 'CMD ["bash"]' "$work/base.tar" "$image" >/dev/null \
        || fail "failed to import $image into the engine"
}

main() {
    check_engine
    if image_exists; then say "$image is there"; return; fi
    # One process makes it, the others wait for it and find it there. The lock is on this file, so
    # that nothing needs to be made or removed for it.
    exec 9<"${BASH_SOURCE[0]}"
    flock --timeout "$LOCK_WAIT_SECONDS" 9 \
        || fail "another process has been making an image for more than $LOCK_WAIT_SECONDS s: end it, then try again"
    if image_exists; then say "$image is there"; return; fi
    have mmdebstrap || install_mmdebstrap
    trap cleanup EXIT
    # Bash runs the EXIT trap on its way out of these.
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    make_image
    say "made $image"
}

main
