"""The examples for Prometheus and Grafana hold for a running server."""

import json
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from harness import CHECKOUT, seconds, wait_for
from live import needs_program, run_program

EXAMPLES = CHECKOUT / "config" / "monitoring"
DASHBOARD = json.loads((EXAMPLES / "grafana.json").read_text(encoding="utf-8"))
ADMIN = {"admin.addresses": ["127.0.0.1"], "admin.port": 0, "pool.workers": 2}
NAME = re.compile(r"\b(?:echopool|process)_\w+")


def promtool(*arguments):
    return subprocess.run([needs_program("promtool"), *map(str, arguments)], capture_output=True,
                          text=True, timeout=seconds(60), check=False)


@pytest.mark.parametrize("arguments", [
    ("check", "rules", EXAMPLES / "alerts.yml"), ("check", "config", EXAMPLES / "prometheus.yml"),
    ("test", "rules", Path(__file__).with_name("alerts.test.yml"))],
    ids=["rules", "config", "alerts fire when they should"])
def test_promtool_finds_no_fault(arguments):
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def endpoint(start):
    """A server with an admin endpoint that has echoed something, and where that is."""
    if "+admin" not in run_program("-V").stdout:
        pytest.skip("needs the admin endpoint: this build is without libmicrohttpd")
    server = start(ADMIN)
    server.connect().echo()
    return server.log.wait(r"admin endpoint on (\S+)$")[0][1]


def scraped(endpoint):
    with urllib.request.urlopen(f"http://{endpoint}/metrics", timeout=seconds(20)) as answer:
        return answer.read().decode()


def test_promtool_finds_no_fault_in_the_metrics(endpoint):
    done = subprocess.run([needs_program("promtool"), "check", "metrics"], input=scraped(endpoint),
                          capture_output=True, text=True, timeout=seconds(60), check=False)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr


def expressions():
    """All expressions of the dashboard, and those of the alerts."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    rules = (EXAMPLES / "alerts.yml").read_text(encoding="utf-8")
    return found, re.findall(r"^ +expr: (.*)$", rules, re.MULTILINE)


def test_every_name_in_dashboard_and_alerts_is_one_that_is_told(endpoint):
    told = set(re.findall(r"^(\w+)[ {]", scraped(endpoint), re.MULTILINE))
    for text in sum(expressions(), []):
        assert set(NAME.findall(text)) <= told, text
        assert NAME.findall(text) or text.startswith("up{")


class Prometheus:
    """A Prometheus of its own that scrapes one endpoint each second; a context manager."""

    def __init__(self, directory, endpoint):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        config = (EXAMPLES / "prometheus.yml").read_text(encoding="utf-8")
        config = config.replace("127.0.0.1:9707", endpoint).replace("15s", "1s")
        (directory / "prometheus.yml").write_text(config)
        (directory / "alerts.yml").write_text((EXAMPLES / "alerts.yml").read_text())
        self.process = subprocess.Popen(
            [needs_program("prometheus"), f"--config.file={directory}/prometheus.yml",
             f"--storage.tsdb.path={directory}/data", f"--web.listen-address={self.address}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def query(self, text):
        """The values that an expression has now; None while it does not answer."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": text})
        try:
            with urllib.request.urlopen(url, timeout=seconds(20)) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it starts
                return None
            raise AssertionError(f"{text}: {error.read().decode()}") from None
        except OSError:
            assert self.process.poll() is None, "Prometheus has ended"
            return None
        assert found["status"] == "success", found
        return found["data"]["result"]


def test_every_query_of_the_dashboard_has_an_answer_from_prometheus(endpoint, tmp_path):
    needs_program("prometheus")
    dashboard, alerts = expressions()
    with Prometheus(tmp_path, endpoint) as prometheus:
        # A rate needs two scrapes.
        wait_for(lambda: prometheus.query("rate(echopool_sent_bytes_total[1m])"), timeout=60,
                 what="two scrapes")
        for text in dashboard:
            plain = text.replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert prometheus.query(plain), text
        for text in alerts:
            assert prometheus.query(text) == [], text  # all is well
