"""Light, dark, phone, small and keyboard: screenshots go to the folder given as the third argument."""

import sys

from support import Browser, arguments, check, number_of_cars, until, wait_for_cars

url, drivers = arguments()
folder = sys.argv[3]

UNNAMED = """() => [...document.querySelectorAll('button, input, a, [role]')]
    .filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.textContent.trim()
        || document.querySelector(`label[for="${e.id}"]`)) && !e.getAttribute('aria-labelledby'))
    .map(e => e.outerHTML.slice(0, 80))"""
TOO_WIDE = "() => document.documentElement.scrollWidth > innerWidth"

with Browser(url) as browser:
    for name, width, height, scheme, options in [
        ("light", 1280, 800, "light", {}),
        ("dark", 1280, 800, "dark", {}),
        ("phone", 390, 844, "light", {"device_scale_factor": 2, "has_touch": True, "is_mobile": True}),
        ("small", 320, 640, "dark", {}),
        ("zoomed", 640, 400, "light", {"device_scale_factor": 2}),
    ]:
        page = browser.open(width=width, height=height, scheme=scheme, reduced_motion="reduce", **options)
        wait_for_cars(page, drivers)
        page.wait_for_timeout(800)
        page.screenshot(path=f"{folder}/{name}.png")
        check(not page.evaluate(TOO_WIDE), f"{name}: nothing sticks out")
        check(page.evaluate(UNNAMED) == [], f"{name}: every control has a name")
        check(page.locator("#attribution a[href*=openstreetmap]").is_visible(), f"{name}: the map's makers are named")
        page.context.close()

    page = browser.open()
    wait_for_cars(page, drivers)
    check(page.evaluate("document.documentElement.dataset.theme") == "light", "the system's theme holds")
    page.locator("#theme").click()
    page.reload()
    check(page.evaluate("document.documentElement.dataset.theme") == "dark", "a chosen theme is kept")

    # By keys alone.
    wait_for_cars(page, drivers)
    page.locator("#map").focus()
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    until("Enter opens the second nearest car", lambda: page.get_by_test_id("book").is_visible())
    page.keyboard.press("Escape")
    until("Escape goes back", lambda: page.get_by_test_id("nearest").is_visible())
    check(page.evaluate("document.activeElement.id") == "map", "and gives the focus back")

    # What a driver calls himself is text.
    name = "<img src=x onerror=\"document.title='owned'\"><script>1</script>"
    status, driver = browser.api("POST", "drivers", {
        "name": name, "vehicle": {"make": "<b>", "model": "</p>", "color": "red", "plate": "&lt;", "category": "standard"},
        "lat": 53.5572, "lon": 13.2615})
    check(status == 201, "a driver with markup for a name registers")
    browser.api("PATCH", f"drivers/{driver['id']}/status", {"status": "available"})
    until("he is on the map", lambda: driver["id"] in page.evaluate("__map.carIDs"))
    row = page.locator(f"[data-testid=nearby-car][data-driver-id='{driver['id']}']")
    until("he is in the list", lambda: row.count() == 1)
    check(name in row.text_content(), "his name is shown as he wrote it")
    row.click()
    until("so it is in the panel", lambda: page.locator("#panel-title").text_content() == name)
    check(page.locator("#panel img, #panel script").count() == 0 and page.title() != "owned", "and nothing of it runs")
    browser.api("PATCH", f"drivers/{driver['id']}/status", {"status": "offline"})
    until("offline, he is gone", lambda: number_of_cars(page) == drivers)
    browser.check_console()
