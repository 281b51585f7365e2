"""Signing in at an OpenID provider (oidc-provider-mock) by authorization code and PKCE, a booking under that name, signing out."""

import re
from urllib.parse import parse_qs, urlsplit

from support import Browser, arguments, check, timeline, until, wait_for_cars

url, drivers = arguments()
ASK = "([method, path]) => fetch(path, {method}).then(async r => [r.status, await r.json().catch(() => null)])"


def label(page):
    return page.get_by_test_id("account").get_attribute("aria-label")


def to_provider(page):
    """Goes where people sign in; what the gateway has sent along."""
    if not page.get_by_test_id("account-menu").is_visible():
        page.get_by_test_id("account").click()
    page.get_by_test_id("log-in").click()
    page.get_by_placeholder("sub").wait_for()
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def open_page():
    page = browser.open()
    # The provider's pages have their style from elsewhere; nothing leaves this machine.
    page.context.route(re.compile("^https:"), lambda route: route.fulfill(body="", content_type="text/css"))
    return page


with Browser(url) as browser:
    page = open_page()
    wait_for_cars(page, drivers)
    until("a guest is signed in", lambda: label(page).startswith("Account: guest"))
    wanted = to_provider(page)
    check(wanted["response_type"] == "code" and wanted["code_challenge_method"] == "S256", "by code and PKCE")
    check(wanted["client_id"] == "cabstand-page" and wanted["redirect_uri"] == f"{url}auth/callback", "as whom, and back where")
    check(all(len(wanted[name]) == 43 for name in ("state", "nonce", "code_challenge")), "with state, nonce and challenge")

    page.get_by_role("button", name="Deny").click()
    # This provider leaves `state` out of its refusals: to the gateway they answer nothing.
    until("who does not want to is a guest", lambda: "Try again" in page.get_by_test_id("account-text").text_content())
    check(page.url == url and label(page).startswith("Account: guest"), "and the page says so once")
    page.keyboard.press("Escape")

    wanted = to_provider(page)
    page.get_by_role("button", name="ada", exact=True).click()
    until("Ada is signed in", lambda: label(page) == "Account: Ada Lovelace")
    check(page.url == url, "and back on the page")
    name = page.evaluate(ASK, ["GET", "auth/session"])[1]["subject"]
    check(re.fullmatch(r"[\w-]{43}", name), "under a name that is nobody else's")
    check(page.evaluate("document.cookie") == "", "no cookie is in reach of a script")
    stored = page.evaluate("JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])")
    check("eyJ" not in stored, "no token is kept by the page")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies(url) if cookie["name"].startswith("cabstand")}
    check(sorted(cookies) == ["cabstand-access", "cabstand-name", "cabstand-refresh"], "nothing is left of signing in")
    check(all(c["httpOnly"] and c["sameSite"] == "Lax" for c in cookies.values()), "HttpOnly, SameSite=Lax")

    # An answer that was used already, and one that somebody else sends a browser on with.
    other = open_page()
    wait_for_cars(other, drivers)
    forged = f"{url}auth/callback?code=stolen&state={wanted['state']}"
    for victim in (other, page):
        before = victim.evaluate(ASK, ["GET", "auth/session"])[1]["subject"]
        victim.goto(forged)
        until("a foreign answer signs nobody in", lambda: "another browser" in victim.get_by_test_id("account-text").text_content())
        check(victim.evaluate(ASK, ["GET", "auth/session"])[1]["subject"] == before, "nor out")

    wait_for_cars(page, drivers)
    page.keyboard.press("Escape")
    page.get_by_test_id("nearest").click()
    page.locator("#suggestion-list button").first.click()
    until("a car can be booked", lambda: page.get_by_test_id("book").is_visible())
    page.get_by_test_id("book").click()
    until("the car is on the way", lambda: timeline(page) in ("on-the-way", "on-board"))
    trip = re.search(r"#trip=(.+)$", page.evaluate("location.href"))[1]
    status, body = page.evaluate(ASK, ["GET", f"trips/{trip}"])
    check(status == 200 and body["rider_id"] == name, "the trip is Ada's")
    check(other.evaluate(ASK, ["GET", f"trips/{trip}"])[0] == 404, "and nobody else's")

    # Another of her browsers: the same person, and their trip.
    to_provider(other)
    other.get_by_role("button", name="ada", exact=True).click()
    until("Ada in another browser", lambda: label(other) == "Account: Ada Lovelace")
    check(other.evaluate(ASK, ["GET", f"trips/{trip}"])[0] == 200, "has her trip")

    page.get_by_test_id("account").click()
    page.get_by_test_id("sign-out").click()
    until("signed out", lambda: label(page) == "Account: signed out")
    check([c for c in page.context.cookies(url) if c["name"].startswith("cabstand")] == [], "the cookies are gone")
    check(page.evaluate(ASK, ["GET", f"trips/{trip}"])[0] == 401, "and with them the trip")
    check(page.get_by_test_id("log-in").is_visible(), "who has signed out may sign in")
    check(other.evaluate(ASK, ["GET", f"trips/{trip}"])[0] == 200, "the other browser's session goes on")
    # What was refused on purpose is on the console.
    browser.errors = [e for e in browser.errors if "status of 401" not in e and "status of 404" not in e]
    browser.check_console()
