# Node image of programs by other authors that talk to ours: both netcats (nc.openbsd, which `nc` is too, and
# nc.traditional), ncat, socat, telnet of the GNU inetutils, and BusyBox, whose `busybox nc` is a third netcat.
FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        netcat-openbsd netcat-traditional ncat socat inetutils-telnet busybox \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
