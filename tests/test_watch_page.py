"""The page that shows a run while it trains: what it says, to whom, and that it renews itself."""

import json
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from test_browser import BROWSER, OPTIONS

from onecard.files.formats import write_json, write_jsonl
from onecard.recipe.file import load_recipe
from onecard.run.folder import Run, open_run
from onecard.watch.__main__ import HERE, Watcher, handler_of, main

pytestmark = pytest.mark.unit
ATTACK = "</pre><script>document.title = 'owned'</script>"


def line(step: int) -> dict[str, float]:
    """A step's metrics: each takes 3 s."""
    times = {"time/generation": 1.0, "time/reward": 0.5, "time/training": 1.5}
    return {"step": step, "loss": 0.0, "reward": step / 100, "answers/correct": 0.25, **times}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run of the tiny recipe at work: 20 of 80 steps of GRPO are done."""
    run = open_run(tmp_path, "tiny", load_recipe("recipes/tiny.yaml").resolved())
    write_jsonl(run.folder / "sft.jsonl", [{"step": 400, "loss": 0.5}])
    write_jsonl(run.metrics, [line(step) for step in range(1, 21)])
    write_jsonl(run.health, [])
    completion: dict[str, object] = {
        "question": "1 + 1?",
        "completion": ATTACK,
        "verdict": "correct",
    }
    completion |= {"paid": "correct_answer 1", "advantage": 0.5, "steps": []}
    write_json(run.completions, {"step": 20, "completions": [completion]})
    yield run
    if run.lock:
        run.lock.close()


@pytest.fixture
def address(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a page that is made again at once."""
    monkeypatch.setattr("onecard.watch.__main__.REST", 0)
    server = ThreadingHTTPServer((HERE, 0), handler_of(Watcher(run.folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://{HERE}:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def get(address: str, host: str | None = None) -> str:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_says_how_far_a_run_is(run: Run, address: str) -> None:
    page = get(address)
    assert "tiny: running" in page
    assert "step 20 of 80, about 3:00 left" in page  # 60 steps of 3 s
    assert "<td>reward</td><td>0.055</td><td>0.155</td><td>0.2</td>" in page
    assert "No alarm" in page
    assert "Some completions of step 20" in page
    assert ATTACK not in page
    write_jsonl(run.metrics, [line(step) for step in range(1, 22)])
    assert "step 21 of 80" in get(address)


def test_says_that_nobody_is_at_work(run: Run, address: str) -> None:
    assert run.lock is not None
    run.lock.close()
    run.lock = None
    page = get(address)
    assert "tiny: stopped" in page
    assert "--resume" in page


def test_before_the_last_stage_it_shows_the_one_under_way(run: Run, address: str) -> None:
    run.metrics.unlink()
    write_jsonl(run.folder / "sft.jsonl", [{"step": 7, "loss": 0.5}])
    page = get(address)
    assert "<b>SFT</b>, step 7 of 400" in page
    (run.folder / "sft.jsonl").unlink()
    assert "before SFT" in get(address)


def test_an_evaluation_is_seen_as_it_begins(run: Run, address: str) -> None:
    assert "<b>GRPO</b>" in get(address)
    run.evaluation("tiny", "after").mkdir(parents=True)
    assert "<b>evaluation after training</b>" in get(address)


def test_what_cannot_be_read_is_asked_for_again(run: Run, address: str) -> None:
    recipe = run.recipe.read_text(encoding="utf-8")
    run.recipe.write_text("[", encoding="utf-8")
    write_jsonl(run.metrics, [line(1)])
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        get(address)
    assert refused.value.headers["Refresh"] == "3"
    run.recipe.write_text(recipe, encoding="utf-8")
    assert "step 1 of 80" in get(address)


def test_a_finished_run_that_is_made_longer_is_at_work_again(run: Run, address: str) -> None:
    write_json(run.folder / "results.json", {})
    (run.folder / "report.html").write_text("the report", encoding="utf-8")
    assert "tiny: running" in get(address)


def test_a_finished_run_is_its_report(run: Run, address: str) -> None:
    write_json(run.folder / "results.json", {})
    (run.folder / "report.html").write_text("the report", encoding="utf-8")
    assert run.lock is not None
    run.lock.close()
    run.lock = None
    assert get(address) == "the report"


def test_of_a_run_that_this_version_cannot_train_the_report_is_shown(
    run: Run, address: str
) -> None:
    with run.recipe.open("a", encoding="utf-8") as recipe:
        recipe.write("removed_key: 1\n")
    test_a_finished_run_is_its_report(run, address)


def test_a_page_that_takes_long_is_not_made_all_the_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("onecard.watch.__main__.time.monotonic", lambda: now[0])

    def slow(folder: Path) -> str:
        now[0] += 2
        return f"{len(run.metrics.read_text().splitlines())} steps"

    monkeypatch.setattr("onecard.watch.__main__.page_of", slow)
    watcher = Watcher(run.folder)
    assert watcher.page() == "20 steps"
    write_jsonl(run.metrics, [line(step) for step in range(1, 31)])
    now[0] += 1
    assert watcher.page() == "20 steps"
    now[0] += 60
    assert watcher.page() == "30 steps"


def test_a_line_that_is_being_written_is_shown_a_moment_later(run: Run, address: str) -> None:
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write('{"step": 21, "lo')
        file.flush()
        assert "step 20 of 80" in get(address)
        file.write('ss": 0.0}\n')
    assert "step 21 of 80" in get(address)


def test_a_page_elsewhere_cannot_read_it_by_another_name(address: str) -> None:
    port = address.rpartition(":")[2]
    assert "tiny: running" in get(address, f"localhost:{port}")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(address, f"elsewhere.example:{port}")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(address, "[::1")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{address}/metrics.jsonl")


def test_what_cannot_be_shown_is_refused(
    run: Run, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.folder.parent)]) == 2
    assert "there is no run" in capsys.readouterr().err
    port = address.rpartition(":")[2]
    assert main([str(run.folder), "--port", port]) == 2
    assert "choose another one" in capsys.readouterr().err


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
def test_renews_itself_in_a_browser(run: Run, address: str) -> None:
    """The second time that it is asked for, there is one step more."""
    whole = run.metrics.read_text(encoding="utf-8")
    asked = 0

    class Grows(Watcher):
        def page(self) -> str:
            nonlocal asked
            asked += 1
            more = json.dumps(line(21)) + "\n" if asked > 1 else ""
            run.metrics.write_text(whole + more, encoding="utf-8")
            return super().page()

    server = ThreadingHTTPServer((HERE, 0), handler_of(Grows(run.folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as profile:
        command = [str(BROWSER), *OPTIONS, f"--user-data-dir={profile}", "--dump-dom"]
        command.remove("--virtual-time-budget=3000")
        command += ["--virtual-time-budget=7000", f"http://{HERE}:{server.server_port}/"]
        document = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout
    server.shutdown()
    server.server_close()
    assert asked >= 2
    assert "step 21 of 80" in document
    assert "<title>tiny: running</title>" in document
