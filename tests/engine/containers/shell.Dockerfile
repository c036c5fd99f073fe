ARG GREETING=unset
FROM debian:bookworm-slim AS shell
ARG GREETING=unset
ARG EMPTY=unset
RUN printf '%s|%s|\n' "$GREETING" "$EMPTY" > /args
RUN mkdir -p /srv/site && echo image > /srv/site/of-the-image
COPY . /context
FROM shell AS other
RUN echo other > /args
