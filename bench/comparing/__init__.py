"""Measuring echopool beside other servers: what bench/compare.py does."""
