# Its last step fails: the program does not know the option.
FROM scratch
COPY bin/ /bin/
RUN ["/bin/chat-server", "--no-such-option"]
