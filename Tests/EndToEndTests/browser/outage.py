"""The gateway dies and comes back. Prints LIVE when it may be killed and DOWN when it may be started again."""

from support import Browser, arguments, badge, check, number_of_cars, until, wait_for_cars

url, drivers = arguments()
with Browser(url) as browser:
    page = browser.open()
    wait_for_cars(page, drivers)
    print("LIVE", flush=True)
    until("the badge says that the connection is gone", lambda: badge(page).startswith(("Reconnecting", "Offline")))
    check(number_of_cars(page) == drivers, "the cars stay on the map")
    until("a long outage is called offline", lambda: badge(page) == "Offline", 90)
    print("DOWN", flush=True)
    retry = page.locator("#retry")

    def back():
        if retry.is_visible():
            retry.click()
            page.wait_for_timeout(1000)
        return badge(page) == "Live"

    until("the badge says Live again", back, 90)
    until("the cars are there again", lambda: number_of_cars(page) == drivers, 90)
    browser.check_console()
