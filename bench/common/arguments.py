"""Parsers of option values for argparse. Their errors say what is right."""

import argparse
import re


def whole_numbers(lowest, highest):
    """A parser for a comma-separated list of whole numbers within bounds."""
    def parse(text):
        words = text.split(",")
        if not all(re.fullmatch(r"\d{1,7}", word) and lowest <= int(word) <= highest
                   for word in words):
            raise argparse.ArgumentTypeError(
                f"{text}: expected whole numbers from {lowest} to {highest}, with commas between")
        return list(dict.fromkeys(map(int, words)))
    return parse


def whole_number(lowest, highest):
    """A parser for one whole number within bounds."""
    def parse(text):
        if not re.fullmatch(r"\d{1,7}", text) or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(
                f"{text}: expected a whole number from {lowest} to {highest}")
        return int(text)
    return parse


def seconds(lowest):
    """A parser for seconds from lowest to an hour; lowest 0: from 0.001, or 0."""
    least = lowest or 0.001

    def parse(text):
        value = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else -1
        if not least <= value <= 3600 and value != lowest:
            raise argparse.ArgumentTypeError(f"{text}: expected seconds, from {least} to 3600"
                                             + ("" if lowest else ", or 0"))
        return value
    return parse
