"""A town with more free cars than a list holds: the live list is played by this script, everything else is the gateway's."""

import json

from support import Browser, arguments, check, until, wait_for_cars

url, drivers = arguments()
with Browser(url) as browser:
    _, listed = browser.api("GET", "drivers/available")
    cars = listed["drivers"]
    views = []
    sockets = []

    def send(shown, truncated):
        for socket in sockets:
            socket.send(json.dumps({
                "type": "drivers", "version": 1, "generated_at": "2026-01-01T00:00:00.000Z", "stale": False,
                "drivers": shown, "truncated": truncated}))

    def received(text):
        message = json.loads(text)
        if message["type"] == "view":
            views.append(message)
            send(cars, True)

    def opened(socket):
        sockets.append(socket)
        socket.on_message(received)
        send(cars, True)

    context = browser.chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda e: browser.errors.append(str(e)))
    page.route_web_socket(lambda address: "ws/drivers/available" in address, opened)
    page.goto(url)
    wait_for_cars(page, drivers)
    until("a list that is cut makes the page ask for its view", lambda: page.evaluate("1") and len(views) > 0)

    def width(view):
        west, _, east, _ = (float(part) for part in view["bbox"].split(","))
        return east - west

    for button, is_narrower in (("#zoom-in", True), ("#zoom-out", False)):
        before, known = views[-1], len(views)
        page.locator(button).click()
        until(f"{button} asks for the new view", lambda: page.evaluate("1") and len(views) > known)
        page.wait_for_timeout(600)
        check((width(views[-1]) < width(before)) == is_narrower, f"{button} asks for a {'narrower' if is_narrower else 'wider'} one")
    known = len(views)
    page.set_viewport_size({"width": 900, "height": 700})
    until("a window that is resized asks, too", lambda: page.evaluate("1") and len(views) > known)
    page.wait_for_timeout(1500)
    known = len(views)
    page.wait_for_timeout(1500)
    check(len(views) == known, "a view that stands still is not asked for again")

    def first():
        return page.get_by_test_id("nearby-car").first.get_attribute("data-driver-id")

    nearest = first()

    def is_listed():
        send([car for car in cars if car["id"] != nearest], True)
        return page.locator(f"[data-testid=nearby-car][data-driver-id='{nearest}']").count() > 0

    # The first lists come before the answer of the gateway, which is asked for the cars around the pick-up.
    for _ in range(3):
        is_listed()
        page.wait_for_timeout(500)
    until("a car near the pick-up is listed though a cut list leaves it out", is_listed)

    chosen = page.get_by_test_id("nearby-car").first.get_attribute("data-driver-id")
    page.locator(f"[data-testid=nearby-car][data-driver-id='{chosen}']").click()
    others = [car for car in cars if car["id"] != chosen]
    send(others, True)
    page.wait_for_timeout(1000)
    check(not page.get_by_test_id("offer").is_visible(), "a car that a cut list leaves out is not taken")
    name = next(car["name"] for car in cars if car["id"] == chosen)
    check(page.locator("#panel-title").text_content() == name, "and stays chosen")

    _, car = browser.api("GET", f"drivers/{chosen}")
    here = {"lat": car["lat"], "lon": car["lon"]}
    status, trip = browser.api("POST", "trips", {
        "rider_id": "someone-else", "driver_id": chosen, "pickup": here, "dropoff": {"lat": 53.557, "lon": 13.26}})
    check(status == 201, "someone else books it")

    def is_offered():
        send(others, True)
        return page.get_by_test_id("offer").is_visible()

    until("now it is taken", is_offered)
    browser.api("POST", f"trips/{trip['id']}/cancel")
    browser.check_console()
