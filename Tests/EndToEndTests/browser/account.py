"""Where the gateway asks who somebody is: a guest books, follows, signs out; no token is in reach of a script."""

import re

from support import Browser, arguments, badge, check, timeline, until, wait_for_cars

url, drivers = arguments()
with Browser(url) as browser:
    page = browser.open()
    wait_for_cars(page, drivers)
    account = page.get_by_test_id("account")
    until("somebody is signed in", account.is_visible)
    account.click()
    name = page.get_by_test_id("account-text").text_content()
    check(re.fullmatch(r"rider-[0-9a-f-]{36}", name), "the menu says who")
    page.keyboard.press("Escape")
    check(not page.get_by_test_id("account-menu").is_visible(), "Escape closes the menu")

    check(page.evaluate("document.cookie") == "", "no cookie is in reach of a script")
    stored = page.evaluate("JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])")
    check("eyJ" not in stored, "no token is kept by the page")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    check(sorted(cookies) == ["cabstand-access", "cabstand-refresh"], "the session is two cookies")
    check(all(c["httpOnly"] and c["sameSite"] == "Lax" for c in cookies.values()), "HttpOnly, SameSite=Lax")

    # The nearest car, to the first of the popular places.
    page.get_by_test_id("nearest").click()
    page.locator("#suggestion-list button").first.click()
    until("a car can be booked", lambda: page.get_by_test_id("book").is_visible())
    page.get_by_test_id("book").click()
    until("the car is on the way", lambda: timeline(page) in ("on-the-way", "on-board"))
    trip = re.search(r"#trip=(.+)$", page.evaluate("location.href"))[1]
    check(browser.api("GET", f"trips/{trip}")[0] == 401, "who says nothing sees no trip")
    ask = "([method, path]) => fetch(path, {method}).then(async r => [r.status, await r.json().catch(() => null)])"
    status, body = page.evaluate(ask, ["GET", f"trips/{trip}"])
    check(status == 200 and body["rider_id"] == name, "the trip is the guest's")

    # Another browser is another guest.
    other = browser.open(f"#trip={trip}")
    until("to others there is no such trip", lambda: other.evaluate("document.body.innerText").find("no trip") >= 0)
    check(other.evaluate(ask, ["POST", f"trips/{trip}/cancel"])[0] == 404, "nor can they cancel it")

    # A second window of the same browser is the same guest, and so is a reload.
    window = page.context.new_page()
    window.goto(f"{url}#trip={trip}")
    until("a second window follows the trip", lambda: timeline(window) in ("on-the-way", "on-board"))
    page.reload()
    until("a reload follows the trip", lambda: timeline(page) in ("on-the-way", "on-board"))
    until("under the same name", lambda: page.evaluate(ask, ["GET", "auth/session"])[1].get("subject") == name)

    # The cookies are gone, as when the access token has expired: the page signs in again and goes on.
    page.context.clear_cookies(name="cabstand-access")
    status, body = page.evaluate(ask, ["POST", "auth/session"])
    check(status == 200 and body["subject"] == name, "the refresh token goes on with the same guest")

    # Whoever signs out leaves a guest's trip behind for good, and is told so first.
    page.get_by_test_id("account").click()
    page.get_by_test_id("sign-out").click()
    check("only this guest" in page.get_by_test_id("account-text").text_content(), "the trip would be left behind")
    check(page.evaluate(ask, ["GET", f"trips/{trip}"])[0] == 200, "and nothing has happened yet")
    page.keyboard.press("Escape")
    page.get_by_test_id("account").click()
    check(page.get_by_test_id("account-text").text_content() == name, "the warning is over when the menu closes")
    page.get_by_test_id("sign-out").click()
    page.get_by_test_id("sign-out").click()
    until("signed out", lambda: page.get_by_test_id("sign-in").is_visible())
    check(page.context.cookies() == [], "the cookies are gone")
    until("the other window knows", lambda: window.get_by_test_id("account").get_attribute("aria-label") == "Account: signed out")
    check(page.evaluate(ask, ["GET", f"trips/{trip}"])[0] == 401, "and with them the trip")
    # The map's WebSocket ended with the session, and is opened anew.
    until("cars go on being shown", lambda: badge(page) == "Live")
    page.get_by_test_id("sign-in").click()
    until("a new guest", lambda: page.get_by_test_id("account").get_attribute("aria-label").startswith("Account: guest"))
    check(name not in page.get_by_test_id("account").get_attribute("aria-label"), "with another name")
    # What was refused on purpose is on the console.
    browser.errors = [e for e in browser.errors if "status of 401" not in e and "status of 404" not in e]
    browser.check_console()
