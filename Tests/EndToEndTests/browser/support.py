"""Drives the map page in Debian's chromium by Playwright. Every check that fails ends the program with status 1."""

import contextlib
import json
import os
import shutil
import sys
import time
import urllib.request

from playwright.sync_api import sync_playwright

# The connection is cut on purpose in some tests: the browser itself reports that on the console.
EXPECTED_NOISE = ("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "WebSocket connection to", "ERR_EMPTY_RESPONSE")

# An operator's, where the gateway asks who somebody is.
TOKEN = os.environ.get("CABSTAND_TOKEN", "")


def check(condition, what):
    if not condition:
        raise SystemExit(f"failed: {what}")
    print(f"ok: {what}", flush=True)


def until(what, probe, seconds=60):
    """Waits until `probe()` is true; answers its value."""
    end = time.monotonic() + seconds
    value = probe()
    while not value:
        if time.monotonic() > end:
            raise SystemExit(f"failed: {what} (not within {seconds} s)")
        time.sleep(0.1)
        value = probe()
    print(f"ok: {what}", flush=True)
    return value


class Browser:
    def __init__(self, url):
        self.url = url
        self.errors = []

    def __enter__(self):
        self.playwright = sync_playwright().start()
        self.chromium = self.playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless=new", "--no-sandbox", "--disable-gpu"])
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.chromium.close()
        self.playwright.stop()

    def open(self, path="", width=1280, height=800, scheme="light", **options):
        """A page in a profile of its own."""
        context = self.chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        page = context.new_page()
        page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.goto(self.url + path)
        return page

    def api(self, method, path, body=None):
        """What the gateway answers: (status, JSON)."""
        data = None if body is None else json.dumps(body).encode()
        fields = {"content-type": "application/json"}
        if TOKEN:
            fields["authorization"] = f"Bearer {TOKEN}"
        request = urllib.request.Request(self.url + path, data, fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def check_console(self):
        bad = [e for e in self.errors if not any(noise in e for noise in EXPECTED_NOISE)]
        check(not bad, f"no error on the console {bad or ''}")


def number_of_cars(page):
    return page.evaluate("window.__map && window.__map.ready ? window.__map.cars : 0")


def wait_for_cars(page, at_least):
    until(f"the page shows {at_least} cars", lambda: number_of_cars(page) >= at_least)


def badge(page):
    return page.get_by_test_id("badge").text_content().strip()


def timeline(page):
    return page.get_by_test_id("timeline").get_attribute("data-state")


def lone_car(page):
    """A car with no other one near it on the screen, within the free part of the map: its id and where it is."""
    return page.evaluate("""() => {
        const cars = __map.carIDs.map(id => [id, ...__map.carAt(id)]);
        const inside = cars.filter(([, x, y]) => x > 60 && x < 780 && y > 110 && y < 680);
        return inside.find(([id, x, y]) => cars.every(c => c[0] === id || Math.hypot(c[1] - x, c[2] - y) > 60)) ?? null;
    }""")


def shown_name(driver):
    """A driver's name as the page shows it to somebody who is not on a trip with them; an operator's answer has the whole one."""
    return driver["name"].split()[0] if TOKEN else driver["name"]


def arguments():
    """The gateway's address and how many simulated drivers there are."""
    return sys.argv[1].rstrip("/") + "/", int(sys.argv[2])
