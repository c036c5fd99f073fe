# Node image of the chat programs: static binaries and nothing else.
#
# The build context is an archive that rig makes: `bin/` holds the programs of the cargo package.
FROM scratch
ENV PATH=/bin
COPY bin/ /bin/
