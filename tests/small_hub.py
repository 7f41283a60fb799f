"""The few of the Hugging Face hub's answers that a look and a push need, on this machine; and what
was pushed.
"""

import base64
import json
from http.server import BaseHTTPRequestHandler
from typing import Any


class Hub(BaseHTTPRequestHandler):
    """Says who is asking and what is there, and takes a commit; keeps every request."""

    known: dict[str, Any]  # what a repository is, by its name
    seen: list[tuple[str, str, bytes]]  # method, path and body of each request

    def do_GET(self) -> None:
        self.seen.append(("GET", self.path, b""))
        name = self.path.removeprefix("/api/models/").partition("?")[0]
        if self.path.startswith("/api/whoami"):
            known = self.headers["Authorization"] == "Bearer hf_secret"
            self.answer(
                {"name": "me", "type": "user", "orgs": []} if known else {"error": "no"},
                200 if known else 401,
            )
        elif name.endswith("/auth-check") and name.removesuffix("/auth-check") in self.known:
            gated = self.known[name.removesuffix("/auth-check")].get("gated")
            self.answer({}, 403 if gated else 200, {"X-Error-Code": "GatedRepo"} if gated else None)
        elif name in self.known:
            self.answer({"id": name, "siblings": [], "private": True} | self.known[name])
        else:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(("POST", self.path, body))
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.answer(
                {
                    "files": [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for file in files
                    ]
                }
            )
        elif self.path.endswith("/api/repos/create"):
            self.answer(
                {"url": f"http://{self.headers['Host']}/me/mine", "name": "me/mine", "id": "1"}
            )
        elif "/commit/" in self.path:
            self.answer(
                {
                    "commitUrl": f"http://{self.headers['Host']}/me/mine/commit/1",
                    "commitOid": "1" * 40,
                    "success": True,
                }
            )
        else:
            self.answer({})

    def answer(
        self, content: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def pushed(seen: list[tuple[str, str, bytes]]) -> dict[str, bytes]:
    """The files of the one commit among the requests."""
    (commit,) = (body for method, path, body in seen if method == "POST" and "/commit/" in path)
    lines = [json.loads(line) for line in commit.decode().splitlines()]
    return {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in lines
        if line["key"] == "file"
    }


def created(seen: list[tuple[str, str, bytes]]) -> list[dict[str, Any]]:
    return [json.loads(body) for _, path, body in seen if path.endswith("/api/repos/create")]
