"""A whole ride: cars move, a click opens the right driver, three clicks book, the timeline walks to its end."""

import math
import re
import time

from support import Browser, arguments, badge, check, lone_car, number_of_cars, shown_name, timeline, until, wait_for_cars

url, drivers = arguments()
with Browser(url) as browser:
    page = browser.open()
    wait_for_cars(page, drivers)
    check(badge(page) == "Live", "the badge says Live")
    check(page.get_by_test_id("count").text_content() == f"{drivers} cars available", "the count is the number of cars")

    positions = "() => Object.fromEntries(__map.carIDs.map(id => [id, __map.carAt(id)]))"
    before = page.evaluate(positions)
    time.sleep(3)
    after = page.evaluate(positions)
    moved = [i for i in before if i in after and abs(before[i][0] - after[i][0]) + abs(before[i][1] - after[i][1]) > 2]
    check(len(moved) > drivers / 2, f"most cars have moved ({len(moved)} of {drivers})")
    check(page.evaluate("__map.framesDrawn") > 20, "cars glide: many frames are drawn")

    # A click on the map opens the driver who is there; Escape goes back.
    def click_a_car():
        found = until("a car stands alone", lambda: lone_car(page))
        x, y = page.evaluate("id => __map.carAt(id)", found[0])
        page.mouse.click(x, y)
        _, driver = browser.api("GET", f"drivers/{found[0]}")
        until("the click opens the right driver", lambda: page.locator("#panel-title").text_content() == shown_name(driver))
        return found[0]

    # A point of the map that the car is heading for: behind it, a one-way ring road can make a short ride a long one.
    def ahead(car, pixels):
        x, y = page.evaluate("id => __map.carAt(id)", car)
        heading = math.radians(browser.api("GET", f"drivers/{car}")[1]["heading"])
        for distance in (pixels, pixels / 2, -pixels):
            point = x + distance * math.sin(heading), y - distance * math.cos(heading)
            if 30 < point[0] < 850 and 90 < point[1] < 700:
                break
        return point

    click_a_car()
    page.keyboard.press("Escape")
    until("Escape goes back", lambda: page.get_by_test_id("nearest").is_visible())

    # A car, a pick-up and a destination by taps on the map on its way, book. Of some tries the one with a short ride:
    # one-way streets can make a long way of a short one.
    def plan():
        car = click_a_car()
        for field, pixels in (("search-pickup", 60), ("search-dropoff", 120)):
            clear = page.locator(f"#{field[7:]} .clear")
            if clear.is_visible():
                clear.click()

            def tapped():
                # Where another car happens to be, the tap chooses that one: then once more.
                page.get_by_test_id(field).focus()
                page.mouse.click(*ahead(car, pixels))
                page.wait_for_timeout(500)
                return page.get_by_test_id(field).input_value() != ""

            until(f"a tap on the map is the {field[7:]}", tapped)
        until("the ride is measured", lambda: page.locator("#stats dd").count() == 3)
        to_pickup, _, whole = page.locator("#stats dd").all_text_contents()
        return int(to_pickup.split()[0]) + int(whole.split()[0])

    for _ in range(6):
        if plan() <= 3:
            break
        page.reload()
        wait_for_cars(page, drivers)
    name = page.locator("#panel-title").text_content()
    page.get_by_test_id("book").click()
    until("the car is on the way", lambda: timeline(page) == "on-the-way")
    trip_id = until("the trip is in the address", lambda: re.search(r"#trip=(.+)$", page.evaluate("location.href")))[1]
    _, trip = browser.api("GET", f"trips/{trip_id}")
    check(shown_name(trip["driver"]) == name and trip["status"] == "in_progress", "the gateway knows the trip")
    until("the booked car has left the list", lambda: number_of_cars(page) <= drivers - 1)

    # A second window follows the same trip; so does a reload.
    other = page.context.new_page()
    other.goto(f"{url}#trip={trip_id}")
    until("a second window follows the trip", lambda: timeline(other) in ("on-the-way", "on-board"))
    page.reload()
    until("a reload follows the trip", lambda: timeline(page) in ("on-the-way", "on-board"))

    until("the rider is on board", lambda: timeline(page) in ("on-board", "completed"), 400)
    until("the trip is completed", lambda: timeline(page) == "completed", 400)
    until("in the second window too", lambda: timeline(other) == "completed")
    check(page.locator("#timeline li.done").count() == 4, "every step of the timeline is done")
    _, trip = browser.api("GET", f"trips/{trip_id}")
    check(trip["status"] == "completed" and trip["picked_up_at"] and trip["ended_at"], "the gateway says completed too")
    page.get_by_test_id("again").click()
    until("the car is free again", lambda: number_of_cars(page) == drivers)
    browser.check_console()
