"""What waiting for a reward service costs, and what asking many at once saves: make services

Writes docs/services.md. A server on this machine takes 50 ms for each request, as a small judge
may; a batch is 64 groups of 4 completions, a group in a request.
"""

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from onecard.files.atomic import write_atomic
from onecard.types import Problem, Rollout
from rewards.answer.section import Answer
from rewards.judges.http import Http
from rewards.scoring import BatchScorer
from rewards.section import Scoring

PAGE = Path(__file__).parent.parent / "docs/services.md"
SECONDS, GROUPS, SIZE = 0.05, 64, 4
TIMES = 3  # the median of as many is told
HEAD = f"""# What waiting for a service costs

Made by `make services`: a batch of {GROUPS} groups of {SIZE} completions, a group in a request, to
a server on this machine that takes {SECONDS * 1000:.0f} ms for each. One row after another, each
the median of {TIMES}. "times as fast" is against asking one after the other.

| what is asked | seconds a batch | requests a second | times as fast |
|---|---|---|---|
"""


@contextmanager
def server(dropped: float = 0.0) -> Iterator[str]:
    """The address of a server that drops that share of its connections."""
    chance = random.Random(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(SECONDS)
            if chance.random() < dropped:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(200)
            self.end_headers()
            scores = [float(len(one["completion"])) for one in asked["completions"]]
            self.wfile.write(json.dumps({"scores": scores}).encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    http = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/score"
    finally:
        http.shutdown()
        http.server_close()


def batch() -> list[Rollout]:
    found = []
    for group in range(GROUPS):
        problem = Problem(str(group), f"question {group}", "18")
        found += [Rollout(problem, "a" * k, k, group=group) for k in range(1, SIZE + 1)]
    return found


def seconds_of(concurrency: int, services: int = 1, dropped: float = 0.0) -> float:
    """The median time of a batch; it is scored rightly, or this fails."""
    found = []
    with server(dropped) as url:
        rewards = [
            Http(
                name="http",
                called=f"service-{number}",
                url=url,
                concurrency=concurrency,
                groups_per_request=1,
            )
            for number in range(services)
        ]
        with closing(BatchScorer(rewards, Answer(), Scoring(), say=lambda _: None)) as scorer:
            rollouts = batch()
            for _ in range(TIMES):
                begun = time.monotonic()
                scored = scorer.score(rollouts)
                found.append(time.monotonic() - begun)
                assert all(one.total == services * one.rollout.tokens for one in scored)
                assert scorer.faults == 0
    return sorted(found)[TIMES // 2]


def main() -> None:
    alone = seconds_of(1)
    rows = [("one request after the other", alone, 1)]
    rows += [(f"{many} at once", seconds_of(many), 1) for many in (8, 32)]
    rows.append(("8 at once, of two services each", seconds_of(8, services=2), 2))
    rows.append(("8 at once, 5 % of the connections dropped", seconds_of(8, dropped=0.05), 1))
    lines = []
    for what, seconds, services in rows:
        speed, factor = services * GROUPS / seconds, services * alone / seconds
        lines.append(f"| {what} | {seconds:.2f} | {speed:.0f} | {factor:.1f} |")
    page = HEAD + "\n".join(lines) + "\n"
    print(page)
    write_atomic(PAGE, page)


if __name__ == "__main__":
    main()
