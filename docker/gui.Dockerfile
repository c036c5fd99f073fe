# Node image of the window client: linked dynamically, since X libraries are loaded at run time.
#
# The build context is an archive that rig makes: `bin/` holds the programs of the cargo package. The
# base must not be older than the machine that compiles: a program runs with the C library that it was
# linked with or a newer one.
FROM debian:trixie-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        libx11-6 libx11-xcb1 libxcursor1 libxi6 libxkbcommon-x11-0 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY bin/ /usr/local/bin/
RUN why=$(chat-gui --version 2>&1 >/dev/null) || { \
        echo "chat-gui does not start on $(. /etc/os-release && echo "$PRETTY_NAME"): $why"; \
        echo "This machine's C library is newer than the image's: let docker/gui.Dockerfile begin FROM a newer Debian."; \
        exit 1; \
    }
