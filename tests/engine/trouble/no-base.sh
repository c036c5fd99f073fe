#!/bin/sh
# A program that cannot make the image it is asked for.
echo "no-base: there is nothing to make $1 from" >&2
exit 1
