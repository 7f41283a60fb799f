"""What a service said, on the disk: the same question is asked once, also by a resumed run."""

import hashlib
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any


class AnswerCache:
    """JSON values by the content of the question. Without a file it remembers nothing."""

    def __init__(self, file: str | None) -> None:
        self.lock = threading.Lock()
        self.table: sqlite3.Connection | None = None
        if file is not None:
            path = Path(file).expanduser()
            path.parent.mkdir(parents=True, exist_ok=True)
            self.table = sqlite3.connect(path, check_same_thread=False)
            self.table.execute("CREATE TABLE IF NOT EXISTS said (question TEXT PRIMARY KEY, value)")
            self.table.commit()

    def find(self, question: Any) -> Any:
        """What was said to a question; None where it was not asked."""
        if self.table is None:
            return None
        with self.lock:
            query = "SELECT value FROM said WHERE question = ?"
            row = self.table.execute(query, (digest(question),)).fetchone()
        return None if row is None else json.loads(row[0])

    def keep(self, question: Any, value: Any) -> None:
        if self.table is None:
            return
        with self.lock:
            row = digest(question), json.dumps(value)
            self.table.execute("INSERT OR REPLACE INTO said VALUES (?, ?)", row)
            self.table.commit()

    def close(self) -> None:
        if self.table is not None:
            self.table.close()


def digest(question: Any) -> str:
    text = json.dumps(question, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
