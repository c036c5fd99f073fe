#!/usr/bin/env python3
"""Runs every command of rig that reads captures over folders of them, and holds the flows against tshark's streams.

    tests/sweep/sweep.py [--rig PROGRAM] [--tshark PROGRAM] [--seconds N] [--list] FOLDER...

Nothing of rig is trusted here: each command has a bounded time, and what ends by a signal, with a panic or not in time
is a fault (exit code 1). Differences from tshark are counted by class and are no fault by themselves; --list names
each. docs/analysis.md has a table and says what the classes mean.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Files that begin so are captures, packed ones among them.
MAGICS = [
    bytes.fromhex(magic)
    for magic in "0a0d0d0a a1b2c3d4 d4c3b2a1 a1b23c4d 4d3cb2a1 a1b2cd34 34cdb2a1 1f8b 28b52ffd".split()
]

# The checks that `rig check --expect` is tried with: any flow passes, so that a fault is one of reading.
CHECKS = 'checks: [{ flow: "* -> *", count: 0.. }]\n'

# Exit codes that rig documents (docs/exit-codes.md).
EXIT_CODES = {0: "ok", 1: "fails", 2: "input", 3: "machine", 4: "inconclusive"}

# The fields that are asked of tshark, for each TCP segment.
FIELDS = [
    "frame.number",
    "tcp.stream",
    "tcp.flags",
    "tcp.completeness",
    "tcp.analysis.retransmission",
]

FIN, SYN, RST = 1, 2, 4

# What `history` of rig has for a FIN and a RST.
FINS, RSTS = set("Ff"), set("Rr")


def run(command, seconds):
    """The exit code, or a word for what is a fault; and what it said."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return "not in time", b"", b""
    code = done.returncode
    if code < 0:
        return f"signal {-code}", done.stdout, done.stderr
    if b"panicked at" in done.stderr or code == 101:
        return "panic", done.stdout, done.stderr
    return EXIT_CODES.get(code, f"exit code {code}"), done.stdout, done.stderr


def commands(rig, capture, folder):
    """Each command by the name that it has in the table."""
    flows = [rig, "flows"]
    return {
        "flows": [*flows, capture],
        "flows --json": [*flows, "--json", capture],
        "flows --ladder": [*flows, "--ladder", "1", capture],
        "learn": [rig, "learn", capture],
        "check --expect": [rig, "check", "--expect", f"{folder}/checks.yaml", capture],
        "merge": [rig, "merge", "-o", "/dev/null", capture],
        "flows, twice": [*flows, "--json", capture, f"{folder}/same"],
    }


def streams_of_tshark(tshark, capture, seconds):
    """Streams by their first frame; none where tshark gives none."""
    command = [tshark, "-n", "-2", "-r", capture, "-Y", "tcp && !icmp && !icmpv6", "-T", "fields"]
    command += ["-E", "occurrence=l", "-o", "tcp.check_checksum:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    outcome, told, _ = run(command, seconds)
    if outcome not in ("ok", "input"):
        return None
    streams = {}
    for line in told.decode(errors="replace").splitlines():
        cells = line.split("\t")
        if len(cells) != len(FIELDS) or not cells[1]:
            continue
        frame, number, flags, completeness, again = cells
        flags = int(flags, 16) if flags else 0
        stream = streams.setdefault(number, {"first": int(frame), "flags": 0, "again": 0})
        stream["flags"] |= flags
        stream["again"] += bool(again)
        # Of the last frame of the second pass: what the whole stream has.
        stream["completeness"] = int(completeness or 0)
    return {stream["first"]: stream for stream in streams.values()}


def flows_of_rig(told):
    """TCP flows by their first frame."""
    flows = {}
    for line in told.decode(errors="replace").splitlines():
        flow = json.loads(line)
        if flow["proto"] == "tcp":
            flows[flow["first_frame"]] = flow
    return flows


def compare(flows, streams):
    """Classes of differences with the frames that flows begin with."""
    differences = []
    for first in sorted(flows.keys() | streams.keys()):
        flow, stream = flows.get(first), streams.get(first)
        if flow is None or stream is None:
            differences.append(("only rig has it" if stream is None else "only tshark has it", first))
            continue
        history = set(flow["history"])
        again = flow["orig_retransmissions"] + flow["resp_retransmissions"]
        for name, is_other in [
            ("FIN", bool(history & FINS) != bool(stream["flags"] & FIN)),
            ("RST", bool(history & RSTS) != bool(stream["flags"] & RST)),
            ("retransmissions", again != stream["again"]),
            ("completeness", flow["completeness"] != stream["completeness"]),
        ]:
            if is_other:
                differences.append((name, first))
    return differences


def is_capture(path):
    try:
        with open(path, "rb") as file:
            begin = file.read(4)
    except OSError:
        return False
    return any(begin.startswith(magic) for magic in MAGICS)


def sweep(arguments, capture, folder):
    """What became of one capture."""
    same = pathlib.Path(folder) / f"{os.getpid()}-{abs(hash(capture))}"
    same.mkdir()
    # A copy, since a file that is named twice is one.
    shutil.copyfile(capture, same / "same")
    (same / "checks.yaml").write_text(CHECKS)
    outcomes, flows = {}, {}
    for name, command in commands(arguments.rig, capture, str(same)).items():
        outcome, told, said = run(command, arguments.seconds)
        outcomes[name] = (outcome, said.decode(errors="replace").strip())
        if name == "flows --json":
            try:
                flows = flows_of_rig(told)
            except (ValueError, KeyError) as error:
                outcomes[name] = (f"no JSON: {error}", "")
    streams = streams_of_tshark(arguments.tshark, capture, arguments.seconds)
    shutil.rmtree(same)
    return outcomes, flows, streams


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rig", default="rig", metavar="PROGRAM")
    parser.add_argument("--tshark", default="tshark", metavar="PROGRAM")
    parser.add_argument("--seconds", type=float, default=30, metavar="N", help="how long each command may take")
    parser.add_argument("--list", action="store_true", help="name each difference")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    arguments = parser.parse_args()
    captures = sorted(
        str(path)
        for folder in arguments.folders
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file() and is_capture(path)
    )
    outcomes, classes = collections.defaultdict(collections.Counter), collections.Counter()
    faults, unread, both, equal, only = [], 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        swept = pool.map(lambda capture: sweep(arguments, capture, folder), captures)
        for capture, (of_it, flows, streams) in zip(captures, swept):
            for name, (outcome, said) in of_it.items():
                outcomes[name][outcome] += 1
                if outcome not in EXIT_CODES.values():
                    faults.append(f"{capture}: rig {name}: {outcome}: {said[-200:]}")
            if streams is None:
                unread += 1
                continue
            differences = compare(flows, streams)
            classes.update(name for name, _ in differences)
            together = flows.keys() & streams.keys()
            both += len(together)
            only += len(flows.keys() ^ streams.keys())
            equal += len(together - {first for _, first in differences})
            if arguments.list:
                for name, first in differences:
                    print(f"{capture}: frame {first}: {name}")
    print(f"{len(captures)} captures, of which tshark does not read {unread}")
    print()
    columns = sorted({outcome for of_it in outcomes.values() for outcome in of_it})
    print("| command | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, of_it in outcomes.items():
        print(f"| `rig {name}` | " + " | ".join(str(of_it[column]) for column in columns) + " |")
    print()
    print("| TCP flows | count |")
    print("|---|---|")
    print(f"| begin with the same frame in both | {both} |")
    print(f"| of these equal in all that is compared | {equal} |")
    for name, count in classes.most_common():
        print(f"| {name} | {count} |")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
