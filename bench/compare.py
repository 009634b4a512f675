#!/usr/bin/python3
"""Measures echopool beside the servers that one would run instead; --help explains it."""

import sys

from common import command
from comparing import main

if __name__ == "__main__":
    sys.exit(command.run(main.main, main.fail))
