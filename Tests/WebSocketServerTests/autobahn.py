"""Plays Autobahn's cases (kosoku's runner, of PyPI) against a WebSocket echo server.

    autobahn.py ws://127.0.0.1:PORT/ PATTERN…

One line for each case that fails, then the counts. What Autobahn would let pass as late or lax is a failure here.
"""

import asyncio
import os
import sys

from kosoku import FailureError, run_fuzzingclient


async def results(url, patterns):
    try:
        return await run_fuzzingclient(url, patterns, None, concurrency=2)
    except FailureError as error:
        return error.results


GOOD = {"OK", "INFORMATIONAL"}
passed = failed = 0
for case in asyncio.run(results(sys.argv[1], sys.argv[2:])) or []:
    if case.behavior.value in GOOD and case.behavior_close.value in GOOD:
        passed += 1
    else:
        failed += 1
        why = case.result if case.behavior.value not in GOOD else case.result_close
        print(f"{case.case_id}: {case.behavior.value}, close {case.behavior_close.value}: {(why or '')[:150]}")
print(f"{passed} passed, {failed} failed")
sys.stdout.flush()
# An ordinary exit aborts in the runner's own threads.
os._exit(0 if passed and not failed else 1)
