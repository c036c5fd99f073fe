# Stages and arguments for what names others.
ARG RELEASE=bookworm MIRROR
FROM debian:$RELEASE AS first
FROM --platform=linux/amd64 first AS last
ARG DEBUG
