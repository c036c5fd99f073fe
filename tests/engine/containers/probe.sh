#!/bin/sh
# Says what a program finds around it, a line each.
echo "args: $(cat /args)"
# Without what the rig sends beside it.
context=$(cd /context && find . -type f ! -name '.rig[.-]*' | sed 's:^\./::' | LC_ALL=C sort)
echo "context: $(echo $context)."
echo "conf: $(cat /etc/who/who.conf)"
echo "site: $(ls /srv/site | tr '\n' ' ')"
echo "links: $(head -c 4 /srv/site/users) $(/srv/site/latest) $(cat /run/probe.conf)"
echo "modes: $(stat -c '%a %U' /etc/who/who.conf /srv/site/deep/run.sh /srv/site/deep /etc/who | tr '\n' ' ')"
if (echo more >> /etc/who/who.conf) 2> /dev/null; then
    echo "write: to a copy"
else
    echo "write: refused"
fi
echo "id: $(id -u):$(id -g)"

# Bits of a set of capabilities(7).
bits() {
    set=0x$(sed -n "s/^$1:[[:space:]]*//p" /proc/self/status)
    echo "NET_ADMIN $((set >> 12 & 1)) SYS_PTRACE $((set >> 19 & 1)) SYS_NICE $((set >> 23 & 1))"
}
echo "bounds: $(bits CapBnd)"
echo "has: $(bits CapEff)"

kind() { echo "$(stat -f -c %T "$1") $(($(stat -f -c '%b * %S' "$1") / 1024)) K"; }
echo "memory: $(kind /memory), $(kind /tmp)"
head -c 8388608 /dev/zero > /memory/full 2> /dev/null
echo "memory holds $(($(stat -c %s /memory/full) >> 20)) MiB"
echo "files: $(ulimit -Sn) $(ulimit -Hn), core $(ulimit -c)"
echo over
