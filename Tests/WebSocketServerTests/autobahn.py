"""Plays Autobahn's cases (kosoku's runner, of PyPI) against a WebSocket echo server, or against a client.

    autobahn.py ws://127.0.0.1:PORT/ PATTERN…
    autobahn.py --client "COMMAND…" PATTERN…        `COMMAND ws://127.0.0.1:PORT` is started

One line for each case that fails, then the counts. What Autobahn would let pass as late or lax is a failure here.
"""

import asyncio
import os
import shlex
import sys

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver


async def results(url, patterns):
    try:
        # One at a time: what a case waits for another's sake counts as its own time.
        return await run_fuzzingclient(url, patterns, None, concurrency=1)
    except FailureError as error:
        return error.results


async def results_of_client(command, patterns):
    try:
        async with run_fuzzingserver(patterns or None, None, host="127.0.0.1", port=0) as server:
            client = await asyncio.create_subprocess_exec(
                *shlex.split(command), f"ws://127.0.0.1:{server.port}", stdout=sys.stderr
            )
            result = asyncio.ensure_future(server.get_result())
            ended = asyncio.ensure_future(client.wait())
            # A client that fails to play all of them leaves nothing to wait for.
            await asyncio.wait([result, ended], return_when=asyncio.FIRST_COMPLETED)
            try:
                return await asyncio.wait_for(result, 10)
            finally:
                if client.returncode is None:
                    client.terminate()
                await ended
    except FailureError as error:
        return error.results


GOOD = {"OK", "INFORMATIONAL"}
passed = failed = 0
if sys.argv[1] == "--client":
    work = results_of_client(sys.argv[2], sys.argv[3:])
else:
    work = results(sys.argv[1], sys.argv[2:])
for case in asyncio.run(work) or []:
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
