"""Riders and maps inside the cluster, while somebody restarts things outside.

    TOKEN=… load.py URL [--strict]     until /tmp/stop exists; the last line is a summary as JSON. TOKEN is an operator's

Keep-alive clients ask for lists and book, each on one connection of its own; maps hold WebSockets and come back as the
API says. At the end everything acknowledged is asked for again, and every map is compared with the list.
--strict: no request may fail at all. Otherwise failures are counted, and only what was acknowledged is judged.
"""

import asyncio
import json
import os
import random
import sys
import time
import uuid

import aiohttp

URL = sys.argv[1]
STRICT = "--strict" in sys.argv
WHO = {"authorization": f"Bearer {os.environ['TOKEN']}"}
READERS, BOOKERS, MAPS, DRIVERS = 8, 4, 50, 24
# Far from the simulated cars.
LAT, LON = 52.52, 13.405
AREA = f"lat={LAT}&lon={LON}&radius_m=5000"

failures = []
requests = 0
booked = {}  # trip id -> whether its completion was acknowledged
closes = []  # (code, seconds since the start) of every WebSocket that the gateway closed
lists = {}  # map -> its last list
stopping = asyncio.Event()
began = time.monotonic()


def session():
    return aiohttp.ClientSession(
        headers=WHO, connector=aiohttp.TCPConnector(limit=1), timeout=aiohttp.ClientTimeout(total=15), raise_for_status=False
    )


async def ask(client, method, path, expected, **options):
    """One request; answers (status, body) or None after a failure that was noted."""
    global requests
    requests += 1
    try:
        async with client.request(method, URL + path, **options) as answer:
            body = await answer.json()
            if answer.status not in expected:
                raise ValueError(f"{answer.status} {json.dumps(body)[:300]}")
            return answer.status, body
    except Exception as error:
        failures.append(f"{time.monotonic() - began:.1f} s {method} {path}: {type(error).__name__} {error}")
        return None


async def reader():
    async with session() as client:
        while not stopping.is_set():
            await ask(client, "GET", f"/drivers/available?{AREA}&limit=10", {200})
            await asyncio.sleep(0.02)


async def booker(number):
    async with session() as client:
        count = 0
        while not stopping.is_set():
            count += 1
            rider = f"{uuid.uuid4()}"
            order = {
                "rider_id": rider,
                "pickup": {"lat": LAT + random.uniform(-0.01, 0.01), "lon": LON},
                "dropoff": {"lat": 52.53, "lon": 13.38},
            }
            answer = await ask(
                client, "POST", "/trips", {201, 409}, json=order, headers={"idempotency-key": rider}
            )
            if answer and answer[0] == 201:
                trip = answer[1]["id"]
                booked[trip] = False
                if await ask(client, "POST", f"/trips/{trip}/complete", {200}):
                    booked[trip] = True
            await asyncio.sleep(0.05)


async def map_page(number):
    """A page with a map: takes every list, comes back after a close or a lost connection."""
    url = URL.replace("http", "ws", 1) + f"/ws/drivers/available?{AREA}"
    wait = 0.2
    async with aiohttp.ClientSession(headers=WHO) as client:
        while not stopping.is_set():
            try:
                async with client.ws_connect(url, max_msg_size=0) as socket:
                    wait = 0.2
                    while True:
                        message = await socket.receive()
                        if message.type == aiohttp.WSMsgType.TEXT:
                            content = json.loads(message.data)
                            if content["type"] == "drivers":
                                lists[number] = content
                        else:
                            closes.append((socket.close_code, round(time.monotonic() - began, 2)))
                            break
            except Exception:
                # A refused connection: the browser waits and tries again.
                wait = min(wait * 2, 2)
            lists.pop(number, None)
            await asyncio.sleep(random.uniform(0, wait))


async def register(client):
    for number in range(DRIVERS):
        driver = {
            "id": f"load-{number}",
            "name": f"Load {number}",
            "lat": LAT + number * 0.0002,
            "lon": LON,
            "vehicle": {"make": "Opel", "model": "Astra", "color": "red", "plate": f"B-LO {number}", "category": "standard"},
        }
        await ask(client, "POST", "/drivers", {200, 201}, json=driver)
        # After an earlier run it may still be on a trip.
        await ask(client, "PATCH", f"/drivers/load-{number}/status", {200, 409}, json={"status": "available"})


async def verdict(client):
    """What was acknowledged is there, and every map shows what the list says."""
    wrong = []
    for trip, completed in booked.items():
        answer = await ask(client, "GET", f"/trips/{trip}", {200})
        if not answer:
            wrong.append(f"trip {trip} was acknowledged and is gone")
        elif completed and answer[1]["status"] != "completed":
            wrong.append(f"trip {trip} was completed and is {answer[1]['status']}")
        elif not completed:
            # The completion was not acknowledged: said again, it holds.
            await ask(client, "POST", f"/trips/{trip}/complete", {200})
    end = time.monotonic() + 60
    while True:
        answer = await ask(client, "GET", f"/drivers/available?{AREA}&limit=1000", {200})
        here = {driver["id"] for driver in answer[1]["drivers"]} if answer else set()
        shown = [frozenset(driver["id"] for driver in content["drivers"]) for content in lists.values()]
        same = len(shown) == MAPS and all(ids == here for ids in shown)
        stale = any(content.get("stale") for content in lists.values())
        if same and len(here) == DRIVERS and not stale:
            return wrong
        if time.monotonic() > end:
            odd = sum(ids != here for ids in shown)
            wrong.append(f"of {MAPS} maps {len(shown)} have a list, {odd} another one than REST; {len(here)} of {DRIVERS} drivers free")
            return wrong
        await asyncio.sleep(0.5)


async def main():
    async with session() as client:
        await register(client)
        maps = [asyncio.create_task(map_page(number)) for number in range(MAPS)]
        work = [asyncio.create_task(reader()) for _ in range(READERS)]
        work += [asyncio.create_task(booker(number)) for number in range(BOOKERS)]
        print("ready", flush=True)
        while not os.path.exists("/tmp/stop"):
            await asyncio.sleep(0.2)
        stopping.set()
        await asyncio.gather(*work)
        during = list(failures)
        failures.clear()
        wrong = await verdict(client)
        for task in maps:
            task.cancel()
    codes = {}
    for code, _ in closes:
        codes[str(code)] = codes.get(str(code), 0) + 1
    moments = sorted(moment for code, moment in closes if code == 1001)
    if STRICT:
        wrong += during
        if set(codes) - {"1001"}:
            wrong.append(f"WebSockets closed with {codes}")
    print(
        json.dumps(
            {
                "requests": requests,
                "failed": len(during),
                "failures": during[:5],
                "acknowledged": len(booked),
                "trips": list(booked),
                "closes": codes,
                "closed_1001_over_s": round(moments[-1] - moments[0], 2) if moments else 0,
                "wrong": wrong[:10],
            }
        )
    )
    sys.exit(1 if wrong else 0)


asyncio.run(main())
