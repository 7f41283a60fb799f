"""A page that shows a run while it trains, on this machine alone.

    python -m onecard.watch runs/tiny                the newest numbers, curves and completions
    python -m onecard.watch runs/tiny --port 9000    at another port

It reads what is in the run folder and changes nothing. When the run has finished, the page is its
report.
"""

import argparse
import sys
import time
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

from onecard.console.command import run_command
from onecard.report.progress import is_finished, read_progress
from onecard.report.reading import read_facts_so_far
from onecard.report.rendering import render
from onecard.report.report import draw_all
from onecard.run.folder import EVALUATIONS, RECIPE
from onecard.run.lock import is_at_work
from onecard.target import unknown_run
from onecard.types import UserError

PORT = 8765
REST = 5  # a page that takes a second to make is made every six seconds at most
HERE = "127.0.0.1"
# A page elsewhere, whose name was made to point here, is not answered.
NAMES = (HERE, "localhost")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m onecard.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="a run folder, such as runs/tiny")
    parser.add_argument("--port", type=int, default=PORT, help=f"(default: {PORT})")
    args = parser.parse_args(arguments)
    return run_command(lambda: serve(args.run, args.port), stopped="")


def serve(folder: Path, port: int) -> None:
    """Show a run until Ctrl-C. Raises UserError where there is no run, or the port is taken."""
    if not (folder / RECIPE).is_file():
        raise unknown_run(str(folder))
    watcher = Watcher(folder)
    try:
        server = ThreadingHTTPServer((HERE, port), handler_of(watcher))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {error}; choose another one") from None
    with server:
        print(f"http://{HERE}:{server.server_address[1]}/ shows {folder}; Ctrl-C ends this")
        sys.stdout.flush()
        server.serve_forever()


class Watcher:
    """The page of a run, for several browsers at once.

    It is made again where a file of the run has changed since, but not all the time: of a long run
    it takes seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: object = None
        self.text = ""
        self.rest_until = 0.0
        self.one_at_a_time = Lock()

    def page(self) -> str:
        """Raises UserError where a file is being written at this moment."""
        with self.one_at_a_time:
            return self.newest()

    def newest(self) -> str:
        files = sorted([*self.folder.glob("*.json*"), *self.folder.glob("report.html")])
        asked = sorted(place.name for place in (self.folder / EVALUATIONS).glob("*"))
        times = [(file.name, file.stat().st_mtime_ns) for file in files]
        seen = [is_at_work(self.folder), asked, times]
        if seen != self.seen and time.monotonic() >= self.rest_until:
            begun = time.monotonic()
            self.text = page_of(self.folder)
            self.seen, now = seen, time.monotonic()
            self.rest_until = now + REST * (now - begun)
        return self.text


def page_of(folder: Path) -> str:
    """A finished run's report; of another one, how far it is."""
    report = folder / "report.html"
    if is_finished(folder) and report.is_file():
        return report.read_text(encoding="utf-8")
    progress = read_progress(folder)
    facts = read_facts_so_far(folder)
    curves = draw_all(folder, facts["recipe"]["stages"], facts["asked"])
    return render("watch.html", **facts, progress=progress, curves=curves)


def host_of(header: str) -> str | None:
    """The name by which a browser asks; None for what is no name."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def handler_of(watcher: Watcher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if host_of(self.headers.get("Host", "")) not in NAMES:
                self.send_error(403, "asked by another name than this machine's own")
            elif self.path != "/":
                self.send_error(404)
            else:
                self.answer()

        def answer(self) -> None:
            try:
                page = watcher.page()
            except Exception as error:  # most likely a file that is being written
                page = f"<h1>try again</h1><p>{escape(f'{type(error).__name__}: {error}')}</p>"
                self.send(503, page, {"Refresh": "3"})
                return
            self.send(200, page)

        def send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
            page = text.encode("utf-8", "replace")
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """The terminal is not told of every visit."""

    return Handler


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
