# There is no such file.
FROM scratch
ENV STAGE=first
COPY no-such-file /bin/
