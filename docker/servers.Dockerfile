# Node image of ten servers that one meets everywhere, with their clients where these are small: redis, nginx, haproxy,
# PostgreSQL, sshd, mosquitto, memcached, lighttpd, ngircd and vsftpd. The build context is the folder `servers/`, their
# configurations.
#
# PostgreSQL can do without LLVM (`jit=off`), which would be a quarter of the image.
FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        haproxy lighttpd memcached mosquitto mosquitto-clients netcat-openbsd ngircd nginx-light openssh-server \
        postgresql-15 redis-server socat vsftpd \
    && rm -rf /usr/lib/*/libLLVM-14.so.1 /usr/lib/postgresql/15/lib/bitcode \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
# A key with which root may log in as root.
RUN mkdir -p /run/sshd /var/run/vsftpd/empty /root/.ssh \
    && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 \
    && cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
COPY . /etc/servers/
