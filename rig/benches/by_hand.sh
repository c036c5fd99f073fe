#!/bin/sh
# What `rig run cells.yaml --filter copy=c01` does, made by hand of docker's commands: a network, two hosts that
# capture, a server and a client, one message, SIGKILL of the client, the captures; then everything is removed.
#
#     by_hand.sh HOST_IMAGE NODE_IMAGE FOLDER
#
# HOST_IMAGE runs tcpdump, NODE_IMAGE has the chat programs, the captures go to FOLDER.
set -eu
hosts=$1 nodes=$2 folder=$3
name=by-hand-$$
subnet=198.19.$(($$ % 128 + 64))

clean() {
    docker rm --force "$name-alice" "$name-server" "$name-left" "$name-hub" >/dev/null 2>&1 || true
    docker network rm "$name" >/dev/null 2>&1 || true
}
trap clean EXIT

# Looks until a file has a text, for ten seconds at most.
await() {
    looks=0
    until grep -q "$2" "$1"; do
        looks=$((looks + 1))
        [ "$looks" -lt 500 ]
        sleep 0.02
    done
}

docker network create --internal --subnet "$subnet.0/24" "$name" >/dev/null
docker run --detach --name "$name-hub" --network "$name" --ip "$subnet.2" "$hosts" -Z root -U -i eth0 -w /hub.pcap >/dev/null
docker run --detach --name "$name-left" --network "$name" --ip "$subnet.3" "$hosts" -Z root -U -i eth0 -w /left.pcap >/dev/null
docker run --detach --name "$name-server" --network "container:$name-hub" --pid "container:$name-hub" \
    "$nodes" chat-server --port 15102 >/dev/null

mkfifo "$folder/input"
: >"$folder/output"
docker run --interactive --name "$name-alice" --network "container:$name-left" --pid "container:$name-left" \
    "$nodes" chat-client "$subnet.2" --port 15102 --name alice <"$folder/input" >"$folder/output" 2>&1 &
exec 3>"$folder/input"
await "$folder/output" "you are alice"
echo ciao >&3
await "$folder/output" ciao
docker kill --signal KILL "$name-alice" >/dev/null
wait $! || true
exec 3>&-
sleep 0.1

docker kill --signal INT "$name-hub" "$name-left" >/dev/null
docker wait "$name-hub" "$name-left" >/dev/null
docker cp "$name-hub:/hub.pcap" "$folder" >/dev/null 2>&1
docker cp "$name-left:/left.pcap" "$folder" >/dev/null 2>&1
test -s "$folder/hub.pcap"
test -s "$folder/left.pcap"

docker rm --force "$name-alice" "$name-server" "$name-left" "$name-hub" >/dev/null
docker network rm "$name" >/dev/null
trap - EXIT
