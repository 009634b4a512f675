"""The status page in a browser, and what it says without one."""

import contextlib
import json
import re
import shutil
import tempfile
import urllib.request

import pytest

from harness import seconds, wait_for
from live import run_program

webdriver = pytest.importorskip("selenium.webdriver",
                                reason="needs a module that is not installed: selenium")

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

SETTINGS = {"admin.addresses": ["127.0.0.1"], "admin.port": 0, "pool.workers": 2,
            "timeouts.idle_when_full": 0}
TINY = SETTINGS | {"pool.worker_connections": 1}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage"]


@pytest.fixture(autouse=True)
def needs_endpoint():
    if "+admin" not in run_program("-V").stdout:
        pytest.skip("needs the admin endpoint: this build is without libmicrohttpd")


@contextlib.contextmanager
def browsing(*flags):
    """A browser of its own."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs a program that is not installed: chromium, chromedriver")
    with tempfile.TemporaryDirectory(prefix="echopool-browser-") as directory:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in [*FLAGS, f"--user-data-dir={directory}", *flags]:
            options.add_argument(flag)
        driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        driver.set_page_load_timeout(seconds(60))
        try:
            yield driver
        finally:
            driver.quit()


def base(server):
    return "http://" + server.log.wait(r"admin endpoint on (\S+)$")[0][1]


def fetched(server, path):
    with urllib.request.urlopen(base(server) + path, timeout=seconds(20)) as answer:
        return answer.read().decode()


def text_of(driver, name):
    """In one step, as the page may replace its parts between two."""
    return driver.execute_script(
        "return document.getElementById(arguments[0])?.textContent ?? ''", name)


def requests(server):
    """How often the page was asked for."""
    told = fetched(server, "/metrics?workers=0")
    return int(re.search(r'echopool_admin_requests_total{path="/",code="200"} (\d+)', told)[1])


def json_history(server):
    """For how many seconds the server has samples."""
    return len(json.loads(fetched(server, "/status.json"))["history"]["seconds"])


def rows(driver, table):
    """The texts of all cells, row by row."""
    return driver.execute_script(
        "return Array.from(document.querySelectorAll(`#${arguments[0]} tbody tr`),"
        "                  row => Array.from(row.cells, cell => cell.textContent))", table)


def test_the_page_shows_what_happens_updates_itself_and_pauses(start):
    server = start(TINY)
    with browsing("--window-size=1000,1200") as driver:
        driver.get(base(server) + "/")
        assert text_of(driver, "verdict") == "All is well."
        assert text_of(driver, "connections") == "0 of 2"
        clients = [server.connect() for _ in range(3)]
        wait_for(lambda: text_of(driver, "verdict").startswith("Saturated for "), timeout=30)
        assert "127.0.0.1 holds 2 of 2" in text_of(driver, "verdict")
        assert text_of(driver, "queue") == "1 of 1024"
        assert text_of(driver, "connections") == "2 of 2"
        assert ["accepted", "3"] in rows(driver, "newcomers")
        assert driver.title.startswith("Saturated for ")
        pause = driver.find_element(By.ID, "pause")
        pause.send_keys(Keys.ENTER)  # by keyboard
        assert pause.text == "Go on" and pause.get_attribute("aria-pressed") == "true"
        asked = requests(server)
        for client in clients:
            client.close()
        begin = json_history(server)
        wait_for(lambda: json_history(server) >= begin + 5, timeout=30)
        assert text_of(driver, "connections") == "2 of 2"
        assert requests(server) == asked
        pause.click()
        wait_for(lambda: text_of(driver, "verdict") == "All is well.", timeout=30)
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"
                    and "favicon" not in entry["message"]]


def test_it_stops_while_it_is_hidden(start):
    server = start(SETTINGS)
    change = """Object.defineProperty(document, "hidden",
                                      {value: arguments[0], configurable: true});
                document.dispatchEvent(new Event("visibilitychange"));"""
    with browsing() as driver:
        driver.get(base(server) + "/")
        wait_for(lambda: requests(server) >= 2, timeout=30)
        driver.execute_script(change, True)
        age = text_of(driver, "age")
        asked, begin = requests(server), json_history(server)
        wait_for(lambda: json_history(server) >= begin + 5, timeout=30)
        assert requests(server) - asked <= 1  # one may have been under way
        driver.execute_script(change, False)
        wait_for(lambda: text_of(driver, "age") != age, timeout=30)


def test_a_table_is_sorted_by_its_heads_and_stays_so(start):
    server = start(SETTINGS)
    with browsing() as driver:
        driver.get(base(server) + "/")

        def order():
            return [cells[0] for cells in rows(driver, "workers")]

        assert order() == ["0", "1"]
        driver.execute_script("document.querySelector('#workers thead button').click()")
        assert order() == ["1", "0"]
        age = text_of(driver, "age")
        wait_for(lambda: text_of(driver, "age") != age, timeout=30)
        assert order() == ["1", "0"]
        assert driver.execute_script("return document.querySelector('#workers thead th')"
                                     ".getAttribute('aria-sort')") == "descending"


def test_nothing_is_wider_than_a_telephone_and_no_text_is_html(start):
    server = start(SETTINGS | {"admin.hosts": ["a" * 60 + ".example"]})
    with browsing() as driver:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
        driver.get(base(server) + "/")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        shown = driver.find_element(By.CSS_SELECTOR, "pre").text
        assert 'admin.hosts = [ "' + "a" * 60 in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(start, scheme):
    """At least 4.5, of every element that has text of its own (WCAG 2.1, AA)."""
    server = start(SETTINGS)
    with browsing() as driver:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        driver.get(base(server) + "/")
        worst = driver.execute_script("""
            const light = text => {
                const parts = text.match(/[0-9.]+/g).slice(0, 3).map(part => {
                    const share = part / 255;
                    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const paper = element => {
                for (let e = element; e; e = e.parentElement) {
                    const colour = getComputedStyle(e).backgroundColor;
                    if (!/, 0\\)$/.test(colour))
                        return colour;
                }
                return "rgb(255, 255, 255)";
            };
            let worst = 99;
            for (const element of document.querySelectorAll("body *")) {
                if (element.tagName === "BUTTON" || !Array.from(element.childNodes).some(
                        node => node.nodeType === 3 && node.textContent.trim()))
                    continue;
                const a = light(getComputedStyle(element).color), b = light(paper(element));
                worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
            }
            return worst;""")
        assert 4.5 <= worst < 99


def test_without_a_script_it_is_whole_and_loads_itself_again(start):
    server = start(SETTINGS)
    page = fetched(server, "/")
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert "All is well." in page and page.count("<tr>") > 4
    with browsing("--blink-settings=scriptEnabled=false") as driver:
        driver.get(base(server) + "/")
        assert not driver.find_element(By.ID, "pause").is_displayed()
        asked = requests(server)
        wait_for(lambda: requests(server) > asked, timeout=60)
