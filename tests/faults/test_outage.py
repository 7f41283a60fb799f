"""A run that is paid by a service, which goes away and comes back."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from harness import Bench

from onecard.run.checkpoint import find_checkpoints

pytestmark = pytest.mark.e2e
KEY = "sk-" + "secret" * 5


class Service:
    """Pays by what a completion says; after `left` requests it is down, and tells the key."""

    def __init__(self) -> None:
        self.asked, self.left = 0, 10**6
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked += 1
                answer: dict[str, Any] = {"error": f"down, {self.headers['Authorization']}"}
                if outer.left:
                    outer.left -= 1
                    texts = [one["completion"] for one in asked["completions"]]
                    answer = {"scores": [len(text) % 5 / 4 for text in texts]}
                self.send_response(503 if "error" in answer else 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.mark.fault(
    "a reward service is down in the middle of a run, for longer than the run waits",
    "exit code 1 and a checkpoint; resumed when it is back, the same adapter and metrics; its key"
    " stands in no file and nothing that was printed",
)
def test_a_run_outlives_its_service(
    short_run: tuple[Path, str], service: Service, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, short_run[0] / "base-model")
    url = f"http://127.0.0.1:{service.http.server_port}/score"
    paid = f"{{name: http, url: '{url}', key_from: REWARD_KEY, outage_seconds: 2, weight: 0.1}}"
    rewards = f"rewards=[{{name: correct_answer}}, {paid}]"
    environment = {"REWARD_KEY": KEY}
    whole = bench.run("whole", rewards, environment=environment)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    service.left = int(0.7 * service.asked)
    stopped = bench.run("stopped", rewards, environment=environment)
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert "does not answer (status 503); waiting up to 2 s" in stopped.stdout + stopped.stderr
    assert "`--resume` goes on from the last checkpoint" in stopped.stdout + stopped.stderr
    assert find_checkpoints(bench.checkpoints("stopped"))
    service.left = 10**6
    resumed = bench.run("stopped", rewards, environment=environment, resume=True)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert bench.outcome("stopped") == bench.outcome("whole")
    printed = [done.stdout + done.stderr for done in (whole, stopped, resumed)]
    files = [file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()]
    assert len(files) > 40
    assert not any(KEY.encode() in file for file in files)
    assert not any(KEY in text for text in printed)
