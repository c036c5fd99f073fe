# Node image of a browser: Chromium, used without a window. An image of its own, since it is large (800 MB).
FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        chromium \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
# Switches off what a browser does unasked; its start script adds these to its arguments.
RUN printf '%s\n' \
    'CHROMIUM_FLAGS="$CHROMIUM_FLAGS --no-sandbox --disable-gpu --no-first-run --user-data-dir=/tmp/profile"' \
    'CHROMIUM_FLAGS="$CHROMIUM_FLAGS --disable-background-networking --disable-component-update --disable-sync"' \
    'CHROMIUM_FLAGS="$CHROMIUM_FLAGS --disable-default-apps --disable-domain-reliability"' \
    > /etc/chromium.d/quiet
