# Node image of web servers and clients, ours and those of other authors: nginx, python3's http.server,
# curl, wget. `/srv/site` is the example site, which each of the servers serves.
#
# The build context is an archive that rig makes: `bin/` holds the programs of the cargo package.
FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        curl nginx-light python3 wget \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY bin/specimen /bin/
RUN specimen web-site /srv/site
# nginx as far as it can be like ours: the same folder, port, redirect, ends of idle connections (after 1 s, or 30 s) and
# log. It runs as one process, so that a signal to it is one to the server.
RUN printf '%s\n' \
    'daemon off; master_process off; pid /run/nginx.pid; error_log stderr;' \
    'events {}' \
    'http {' \
    '  include /etc/nginx/mime.types;' \
    '  log_format short "$request_method $request_uri = $status";' \
    '  access_log /dev/stdout short;' \
    '  keepalive_timeout 1;' \
    '  client_header_timeout 1;' \
    '  server {' \
    '    listen 8888;' \
    '    root /srv/site;' \
    '    location = /redirect { return 301 /result.html; }' \
    '  }' \
    '}' > /etc/nginx/web-1s.conf \
    && sed 's/_timeout 1;/_timeout 30;/' /etc/nginx/web-1s.conf > /etc/nginx/web-30s.conf
