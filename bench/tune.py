"""Finds the right pool size for echopool; script/bench calls it, and --help explains it."""

import sys

from common import command
from sizing import main

if __name__ == "__main__":
    sys.exit(command.run(main.main, main.fail))
