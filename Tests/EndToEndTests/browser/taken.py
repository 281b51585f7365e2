"""Bookings that do not go as planned: the car was just taken, no destination, cancelled, an unknown trip."""

from support import Browser, arguments, badge, check, number_of_cars, shown_name, timeline, until, wait_for_cars

url, drivers = arguments()
with Browser(url) as browser:
    page = browser.open()
    wait_for_cars(page, drivers)

    chosen = page.get_by_test_id("nearby-car").first.get_attribute("data-driver-id")
    page.locator(f"[data-testid=nearby-car][data-driver-id='{chosen}']").click()
    page.get_by_test_id("book").click()
    check(page.locator("#dropoff-error").text_content() == "Choose where to go.", "a missing destination is asked for")
    page.get_by_test_id("suggestion").first.click()

    # Someone else books the car while it is chosen.
    _, driver = browser.api("GET", f"drivers/{chosen}")
    check(page.locator("#panel-title").text_content() == shown_name(driver), "the panel names the chosen driver")
    here = {"lat": driver["lat"], "lon": driver["lon"]}
    other = {"rider_id": "someone-else", "driver_id": driver["id"], "pickup": here, "dropoff": {"lat": 53.557, "lon": 13.26}}
    status, taken = browser.api("POST", "trips", other)
    check(status == 201, "someone else books the chosen car")
    offer = page.get_by_test_id("offer")
    until("the page offers the nearest cars instead", lambda: offer.is_visible() and page.get_by_test_id("offer-car").count() > 0)
    check("just been taken" in offer.text_content(), "and says why")
    status, problem = browser.api("POST", "trips", {**other, "rider_id": "a-third-one"})
    check(status == 409 and problem["code"] == "driver-unavailable" and problem["alternatives"], "a second booking is a 409")

    page.get_by_test_id("offer-car").first.click()
    page.get_by_test_id("book").click()
    until("the offered car is booked", lambda: timeline(page) == "on-the-way")
    page.get_by_test_id("cancel").click()
    check(page.get_by_test_id("cancel").text_content() == "Yes, cancel the trip", "cancelling asks once")
    page.get_by_test_id("cancel").click()
    until("the trip is cancelled", lambda: timeline(page) == "cancelled")
    browser.api("POST", f"trips/{taken['id']}/cancel")
    page.get_by_test_id("again").click()
    until("both cars are free again", lambda: number_of_cars(page) == drivers)
    browser.check_console()

    page = browser.open("#trip=no-such-trip")
    until("an unknown trip is called so", lambda: page.locator("#panel-title").text_content() == "No such trip")
    until("and the badge speaks of the cars", lambda: badge(page) == "Live")
    browser.errors.clear()  # the browser itself tells of the 404

    page = browser.open("#100%")
    wait_for_cars(page, drivers)
    browser.check_console()
