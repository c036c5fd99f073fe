# Its last step does not end by itself.
FROM scratch
COPY bin/ /bin/
RUN ["/bin/chat-server", "--port", "15102"]
